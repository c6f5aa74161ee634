//! What is the same in `sh`: the texts that bash, dash and busybox's ash take for the very same commands.
//!
//! A session at a target without bash runs in whatever `sh` is there, and its scripts are judged as bash reads them. This file decides
//! which of the forms that a text is written in mean the same to all three; `posix/commands.rs` decides the same of what its commands
//! are given. Both know a part of the language and say no to all else, so that what is not known here is never run: `tests/posix/`
//! runs what is let through under all three and compares.
//!
//! The text is looked at by itself, and not as the tree that bash's grammar makes of it: another shell sees no such tree. Where a
//! script stops early in one of the shells (dash gives up at errors that bash passes over) it has run a part of what was judged, and
//! nothing else.

pub(crate) mod commands;

use crate::span::Span;
use crate::word::{is_break, is_name, starts_name};

/// Substitutions within each other that are looked into.
const MAX_DEPTH: u32 = 16;

/// Words that are syntax to bash and programs to others, or the other way round; wherever they stand, for what stands where is for
/// the shell to know.
const WORDS: [&str; 6] = ["[[", "]]", "coproc", "function", "select", "time"];

/// Variables in which bash keeps something of its own, or which change what it does.
const VARIABLES: [&str; 53] = [
    "CDPATH",
    "CHILD_MAX",
    "COLUMNS",
    "COMPREPLY",
    "COPROC",
    "DIRSTACK",
    "EMACS",
    "ENV",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "EXECIGNORE",
    "FCEDIT",
    "FIGNORE",
    "FUNCNAME",
    "FUNCNEST",
    "GLOBIGNORE",
    "GLOBSORT",
    "GROUPS",
    "HOSTFILE",
    "HOSTNAME",
    "HOSTTYPE",
    "IGNOREEOF",
    "INPUTRC",
    "INSIDE_EMACS",
    "LINENO",
    "LINES",
    "MACHTYPE",
    "MAIL",
    "MAILCHECK",
    "MAILPATH",
    "MAPFILE",
    "OPTERR",
    "OSTYPE",
    "PIPESTATUS",
    "POSIXLY_CORRECT",
    "PS0",
    "PS1",
    "PS2",
    "PS3",
    "PS4",
    "RANDOM",
    "REPLY",
    "SECONDS",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "TIMEFORMAT",
    "TMOUT",
    "UID",
    "_",
    "auto_resume",
    "histchars",
];

/// The same, by how their names begin.
const FAMILIES: [&str; 6] = ["BASH", "COMP_", "HIST", "PROMPT_", "READLINE_", "palisade_"];

/// Whether a shell may have its own idea of this variable.
pub(crate) fn is_own_variable(name: &str) -> bool {
    VARIABLES.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

/// What is not the same, and where.
#[derive(Debug)]
pub(crate) struct Differs {
    pub(crate) span: Span,
    pub(crate) what: String,
}

/// Looks at the forms of a text that bash's grammar has read completely.
///
/// # Errors
/// The first form that is not known to be the same.
pub(crate) fn forms(text: &[u8]) -> Result<(), Differs> {
    let mut scanner =
        Scanner { text, at: 0, begin: None, name: Vec::new(), opened: false, documents: Vec::new(), depth: 0 };
    scanner.commands(false)
}

/// A here-document whose body begins behind the next newline.
struct Document {
    delimiter: Vec<u8>,
    quoted: bool,
    strips: bool,
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// Where the word began that goes on here.
    begin: Option<usize>,
    /// What the word's last part has said since a `/`, quotes taken off: `.*` is not the same everywhere.
    name: Vec<u8>,
    /// The word stands behind `<` or `>`.
    opened: bool,
    documents: Vec<Document>,
    depth: u32,
}

impl Scanner<'_> {
    /// Commands up to the end of the text, or up to the bracket that ends a substitution.
    fn commands(&mut self, inside: bool) -> Result<(), Differs> {
        let mut open = 0_u32;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\n' => {
                    self.word_ends(inside)?;
                    self.at += 1;
                    self.bodies()?;
                }
                b'(' => {
                    self.opens()?;
                    open += 1;
                }
                b')' if inside && open == 0 => {
                    self.word_ends(inside)?;
                    self.at += 1;
                    return Ok(());
                }
                b')' => {
                    self.word_ends(inside)?;
                    // The pattern of a `case` ends with one that nothing has opened.
                    open = open.saturating_sub(1);
                    self.at += 1;
                }
                b'<' | b'>' => self.redirection(inside)?,
                byte if is_break(byte) => self.operator(byte, inside)?,
                b'#' if self.begin.is_none() => self.comment(inside)?,
                _ => self.part(byte)?,
            }
        }
        self.word_ends(inside)?;
        match (inside, self.documents.is_empty()) {
            (true, _) => Err(self.differs(1, "a substitution that does not end")),
            (false, false) => Err(self.differs(1, "a here-document that does not end")),
            (false, true) => Ok(()),
        }
    }

    /// A blank, `;`, `&` or `|`.
    fn operator(&mut self, byte: u8, inside: bool) -> Result<(), Differs> {
        self.word_ends(inside)?;
        match (byte, self.peek(1), self.peek(2)) {
            (b'&', Some(b'>'), _) => return Err(self.differs(2, "`&>`; write `>FILE 2>&1`")),
            (b'|', Some(b'&'), _) => return Err(self.differs(2, "`|&`; write `2>&1 |`")),
            (b';', Some(b'&'), _) | (b';', Some(b';'), Some(b'&')) => {
                return Err(self.differs(3, "an arm of `case` that falls through"));
            }
            _ => {}
        }
        self.at += 1;
        Ok(())
    }

    fn opens(&mut self) -> Result<(), Differs> {
        let word = self.word();
        if !word.is_empty() && !is_variable(word) {
            return Err(self.differs(1, "a bracket inside a word"));
        }
        if self.peek(1) == Some(b'(') {
            return Err(self.differs(2, "`((`; write `[ … ]`, or a blank between the brackets"));
        }
        // The name of a function, or nothing.
        self.begin = None;
        self.at += 1;
        Ok(())
    }

    fn comment(&mut self, inside: bool) -> Result<(), Differs> {
        let before = self.at.checked_sub(1).and_then(|at| self.text.get(at));
        if inside || !before.is_none_or(|byte| b" \t\n;".contains(byte)) {
            return Err(self.differs(1, "a comment here"));
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        Ok(())
    }

    /// One part of a word.
    fn part(&mut self, byte: u8) -> Result<(), Differs> {
        let next = self.peek(1);
        if byte == b'\\' && next == Some(b'\n') {
            return self.continued();
        }
        let begins = self.begin.is_none();
        self.begin.get_or_insert(self.at);
        match byte {
            b'\\' => {
                self.name.extend(next);
                self.at += 2;
            }
            b'\'' => self.single()?,
            b'"' => self.double()?,
            b'`' => return Err(self.differs(1, "a backtick; write `$( … )`")),
            b'$' if self.opened => {
                return Err(self.differs(1, "a file's name that is expanded unquoted behind `<` or `>`; quote it"));
            }
            b'$' => {
                self.dollar(false)?;
                self.name.push(0);
            }
            b'{' if begins && next.is_some_and(|next| b" \t\n".contains(&next)) => self.at += 1,
            b'{' if next == Some(b'}') => self.literal(2),
            b'{' => return Err(self.differs(1, "an unquoted brace; quote it, or write each word out")),
            b'~' => self.tilde(begins)?,
            b'*' | b'?' | b'[' => self.glob(byte)?,
            b']' if matches!((next, self.peek(2)), (Some(b'='), _) | (Some(b'+'), Some(b'='))) => {
                return Err(self.differs(2, "an assignment to an element"));
            }
            b'+' if next == Some(b'=') && is_variable(self.word()) => {
                return Err(self.differs(2, "`+=`; write the whole value"));
            }
            _ => self.literal(1),
        }
        Ok(())
    }

    fn literal(&mut self, length: usize) {
        for at in self.at..self.at + length {
            match self.text.get(at) {
                Some(b'/') => self.name.clear(),
                byte => self.name.extend(byte),
            }
        }
        self.at += length;
    }

    /// A line that goes on in the next one, between two words.
    fn continued(&mut self) -> Result<(), Differs> {
        let before = self.at.checked_sub(1).and_then(|at| self.text.get(at));
        let between = self.begin.is_none() && before.is_some_and(|byte| b" \t".contains(byte));
        if !between || self.peek(2) == Some(b'#') {
            return Err(self.differs(2, "a line that goes on in the next one, but for between two words"));
        }
        self.at += 2;
        Ok(())
    }

    fn tilde(&mut self, begins: bool) -> Result<(), Differs> {
        let before = self.at.checked_sub(1).and_then(|at| self.text.get(at));
        let ends = self.peek(1).is_none_or(|next| next == b'/' || is_break(next));
        if begins && !ends || !begins && before.is_some_and(|byte| b"=:".contains(byte)) {
            return Err(self.differs(1, "`~`, but for `~` and `~/` at the beginning of a word; write `$HOME`"));
        }
        self.literal(1);
        Ok(())
    }

    fn glob(&mut self, byte: u8) -> Result<(), Differs> {
        if byte == b'[' && self.peek(1) == Some(b'^') {
            return Err(self.differs(2, "`[^`; write `[!`"));
        }
        if self.opened {
            return Err(self.differs(1, "a pattern behind `<` or `>`"));
        }
        // bash leaves `.` and `..` out, dash does not.
        if matches!(self.name.as_slice(), b"." | b"..") {
            return Err(self.differs(1, "a pattern behind a dot, which may mean `..`"));
        }
        self.literal(1);
        Ok(())
    }

    fn single(&mut self) -> Result<(), Differs> {
        let rest = self.text.get(self.at + 1..).unwrap_or_default();
        let Some(length) = rest.iter().position(|byte| *byte == b'\'') else {
            return Err(self.differs(1, "a quote that does not end"));
        };
        self.at += 1;
        self.literal(length);
        self.at += 1;
        Ok(())
    }

    fn double(&mut self) -> Result<(), Differs> {
        self.at += 1;
        loop {
            match self.peek(0) {
                None => return Err(self.differs(1, "a quote that does not end")),
                Some(b'"') => break,
                Some(b'`') => return Err(self.differs(1, "a backtick; write `$( … )`")),
                Some(b'\\') => self.at += 2,
                Some(b'$') => {
                    self.dollar(true)?;
                    self.name.push(0);
                }
                Some(_) => self.literal(1),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// `$` and what it begins.
    fn dollar(&mut self, quoted: bool) -> Result<(), Differs> {
        match (self.peek(1), self.peek(2)) {
            (Some(b'\'' | b'"'), _) if !quoted => Err(self.differs(2, "`$'…'` and `$\"…\"`; write it in plain quotes")),
            (Some(b'('), Some(b'(')) => self.arithmetic(),
            (Some(b'('), _) => self.substitution(),
            (Some(b'{'), _) => self.parameter(),
            (Some(b'['), _) => Err(self.differs(2, "`$[…]`; write `$((…))`")),
            (Some(byte), _) if starts_name(byte) => {
                self.at += 1;
                self.variable()
            }
            (Some(byte), _) if b"123456789?#@*$!".contains(&byte) => {
                self.at += 2;
                Ok(())
            }
            (Some(b'0' | b'-'), _) => Err(self.differs(2, "`$0` and `$-`, which tell of the shell itself")),
            (Some(b'\\'), Some(b'\n')) => Err(self.differs(3, "a line that goes on within an expansion")),
            _ => {
                self.at += 1;
                Ok(())
            }
        }
    }

    /// A variable's name, which begins here.
    fn variable(&mut self) -> Result<(), Differs> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !is_name(*byte)).unwrap_or(rest.len());
        let name = String::from_utf8_lossy(rest.get(..length).unwrap_or_default());
        if is_own_variable(&name) {
            return Err(self.differs(length, &format!("the variable `{name}`, of which bash has an idea of its own")));
        }
        self.at += length;
        Ok(())
    }

    fn substitution(&mut self) -> Result<(), Differs> {
        if self.depth >= MAX_DEPTH {
            return Err(self.differs(2, "substitutions nested this deep"));
        }
        self.depth += 1;
        self.at += 2;
        let outer = (self.begin.take(), std::mem::take(&mut self.name), std::mem::take(&mut self.opened));
        self.commands(true)?;
        (self.begin, self.name, self.opened) = outer;
        self.depth -= 1;
        Ok(())
    }

    /// `$((…))` of plain numbers, variables and operators.
    fn arithmetic(&mut self) -> Result<(), Differs> {
        const OTHER: &str = "arithmetic beyond numbers, variables and the operators of sh";
        self.at += 3;
        let mut open = 0_u32;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b')'), Some(b')')) if open == 0 => break,
                (Some(b'('), _) => open += 1,
                (Some(b')'), _) if open > 0 => open -= 1,
                (Some(b'*'), Some(b'*')) | (Some(b'+'), Some(b'+')) | (Some(b'-'), Some(b'-')) => {
                    return Err(self.differs(2, OTHER));
                }
                (Some(b'$'), Some(next)) if starts_name(next) || next.is_ascii_digit() && next != b'0' => {}
                (Some(byte), _) if starts_name(byte) => {
                    self.variable()?;
                    continue;
                }
                // A name behind a number would begin within it.
                (Some(byte), next) if byte.is_ascii_digit() && !next.is_some_and(starts_name) => {}
                (Some(byte), _) if b" \t+-*/%<>=!&|^~?:".contains(&byte) => {}
                _ => return Err(self.differs(1, OTHER)),
            }
            self.at += 1;
        }
        self.at += 2;
        Ok(())
    }

    /// `${…}` with the operators of POSIX and a plain word behind them.
    fn parameter(&mut self) -> Result<(), Differs> {
        const OTHER: &str = "an expansion with more than the operators of sh and a plain word";
        self.at += 2;
        let length = self.peek(0) == Some(b'#') && self.peek(1).is_some_and(starts_name);
        self.at += usize::from(length);
        match self.peek(0) {
            Some(byte) if starts_name(byte) => self.variable()?,
            Some(byte) if byte.is_ascii_digit() && byte != b'0' => {
                while self.peek(0).is_some_and(|byte| byte.is_ascii_digit()) {
                    self.at += 1;
                }
            }
            Some(byte) if b"?#@*$!".contains(&byte) && self.peek(1) == Some(b'}') => self.at += 1,
            _ => return Err(self.differs(1, OTHER)),
        }
        let pattern = match (self.peek(0), self.peek(1)) {
            (Some(b'}'), _) => {
                self.at += 1;
                return Ok(());
            }
            _ if length => return Err(self.differs(1, OTHER)),
            (Some(b':'), Some(b'-' | b'=' | b'?' | b'+')) => {
                self.at += 2;
                false
            }
            (Some(b'-' | b'=' | b'?' | b'+'), _) => {
                self.at += 1;
                false
            }
            (Some(byte @ (b'%' | b'#')), next) => {
                self.at += if next == Some(byte) { 2 } else { 1 };
                true
            }
            _ => return Err(self.differs(1, OTHER)),
        };
        loop {
            match self.peek(0) {
                Some(b'}') => break,
                Some(byte) if byte.is_ascii_alphanumeric() || b"_./,@=-".contains(&byte) => self.at += 1,
                Some(b'*' | b'?' | b':') if pattern => self.at += 1,
                _ => return Err(self.differs(1, OTHER)),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// `<`, `>` and what follows of the operator; for here-documents and copies of descriptors the word behind it as well.
    fn redirection(&mut self, inside: bool) -> Result<(), Differs> {
        let word = self.word();
        let number = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
        if number && word.len() > 1 || word.last() == Some(&b'}') {
            return Err(self.differs(1, "a descriptor that is no single digit"));
        }
        self.word_ends(inside)?;
        let behind = self.text.get(self.at..).unwrap_or_default();
        let length = match behind {
            [b'<', b'<', b'<', ..] => return Err(self.differs(3, "`<<<`; write a here-document")),
            [b'<' | b'>', b'(', ..] => return Err(self.differs(2, "a process substitution")),
            [b'<', b'<', ..] if inside => return Err(self.differs(2, "a here-document in a substitution")),
            [b'<', b'<', b'-', ..] => return self.announced(3, true),
            [b'<', b'<', ..] => return self.announced(2, false),
            [_, b'&', b'0'..=b'9' | b'-', rest @ ..] if rest.first().is_none_or(|byte| is_break(*byte)) => 3,
            [_, b'&', ..] => return Err(self.differs(2, "`>&` with a file or a descriptor of two digits")),
            [b'<', b'>', ..] | [b'>', b'>' | b'|', ..] => 2,
            _ => 1,
        };
        self.at += length;
        self.opened = length < 3;
        while self.opened && self.peek(0).is_some_and(|byte| b" \t".contains(&byte)) {
            self.at += 1;
        }
        Ok(())
    }

    /// A here-document's operator and its delimiter.
    fn announced(&mut self, length: usize, strips: bool) -> Result<(), Differs> {
        self.at += length;
        while self.peek(0).is_some_and(|byte| b" \t".contains(&byte)) {
            self.at += 1;
        }
        let quote = self.peek(0).filter(|byte| b"'\"".contains(byte));
        self.at += usize::from(quote.is_some());
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| !is_name(*byte)).unwrap_or(rest.len());
        let delimiter = rest.get(..end).unwrap_or_default().to_vec();
        self.at += end;
        let closed = quote.is_none() || self.peek(0) == quote;
        self.at += usize::from(quote.is_some());
        if delimiter.is_empty() || !closed || !self.peek(0).is_none_or(is_break) {
            return Err(self.differs(1, "a here-document whose end is no plain word"));
        }
        self.documents.push(Document { delimiter, quoted: quote.is_some(), strips });
        Ok(())
    }

    /// The bodies of the here-documents that were announced in the line that has just ended.
    fn bodies(&mut self) -> Result<(), Differs> {
        for Document { delimiter, quoted, strips } in std::mem::take(&mut self.documents) {
            loop {
                let rest = self.text.get(self.at..).unwrap_or_default();
                let length = rest.iter().position(|byte| *byte == b'\n');
                let line = rest.get(..length.unwrap_or(rest.len())).unwrap_or_default();
                let tabs = line.iter().take_while(|byte| strips && **byte == b'\t').count();
                let last = line.get(tabs..) == Some(delimiter.as_slice());
                let end = self.at + line.len();
                if !last && !quoted {
                    self.line(end)?;
                }
                self.at = end;
                match length {
                    Some(_) => self.at += 1,
                    None if last => {}
                    None => return Err(self.differs(1, "a here-document that does not end")),
                }
                if last {
                    break;
                }
            }
        }
        Ok(())
    }

    /// A line of a here-document in which something is expanded.
    fn line(&mut self, end: usize) -> Result<(), Differs> {
        while self.at < end {
            match (self.peek(0), self.peek(1)) {
                (Some(b'`'), _) => return Err(self.differs(1, "a backtick; write `$( … )`")),
                (Some(b'\\'), _) if self.at + 1 >= end => {
                    return Err(self.differs(1, "a line that goes on in the next one in a here-document"));
                }
                (Some(b'\\'), _) => self.at += 2,
                (Some(b'$'), Some(b'(')) => return Err(self.differs(2, "a substitution in a here-document")),
                (Some(b'$'), _) => self.dollar(true)?,
                _ => self.at += 1,
            }
        }
        if self.at > end { Err(self.differs(1, "an expansion over several lines in a here-document")) } else { Ok(()) }
    }

    fn word_ends(&mut self, inside: bool) -> Result<(), Differs> {
        let word = self.word();
        let known = WORDS.iter().find(|known| known.as_bytes() == word).copied();
        let known = known.or((inside && word == b"case").then_some("case"));
        if let Some(known) = known {
            let what = format!("the word `{known}`; quote it where it is no command");
            return Err(Differs { span: Span::new(self.at - word.len(), self.at), what });
        }
        self.begin = None;
        self.opened = false;
        self.name.clear();
        Ok(())
    }

    /// What is written of the word so far.
    fn word(&self) -> &[u8] {
        self.begin.and_then(|begin| self.text.get(begin..self.at)).unwrap_or_default()
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn differs(&self, length: usize, what: &str) -> Differs {
        let end = (self.at + length).min(self.text.len());
        Differs { span: Span::new(self.at.min(end), end), what: what.to_owned() }
    }
}

fn is_variable(word: &[u8]) -> bool {
    word.first().copied().is_some_and(starts_name) && word.iter().all(|byte| is_name(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_in_sh_is_let_through() {
        for text in [
            "ls -l | grep x >log 2>&1 && echo ok || exit 1; true &",
            "if [ -f \"$x\" ]; then cat <a >>b; elif ! false; then :; else pwd; fi",
            "for f in *.c a/?.h [a-c]*; do cc -o \"${f%.c}\" \"$f\"; done",
            "while read -r line; do printf '%s\\n' \"$line\"; done <f",
            "case $1 in a|b) ls;; (c) pwd;; *) exit;; esac",
            "x=$(cd /a && pwd); y=$((x + 1)); echo \"$x ${y:-none} ${#x} $# $@ $? $$\"",
            "f() { echo \"$1\"; }; f a",
            "cat <<E\n$x ${y}\nE\ncat <<-'E'\n\t$(rm)\n\tE\n",
            "find . -name '*.o' -exec rm {} \\;",
            "git diff HEAD~1 -- a # all of it",
            "ls ~ ~/a 'it''s' \"$(ls \"$(pwd)\")\"",
            "a \\\n b; { ls; }; ( ls )",
            "awk '{ print $1 }' f; sed 's/[^a]//' f; echo '$[x] `y` ${z:1}'",
            "exec 3<f; cat <&3; exec 3<&-",
        ] {
            assert!(forms(text.as_bytes()).is_ok(), "{text}: {:?}", forms(text.as_bytes()));
        }
    }

    #[test]
    fn what_is_not_is_stopped() {
        for text in [
            "[[ a ]]",
            "((x))",
            "echo $'a'",
            "echo $\"a\"",
            "echo a{b,c}",
            "echo {1..3}",
            "ls &>x",
            "ls &>>x",
            "ls |& cat",
            "ls >& x",
            "ls 10>x",
            "ls >&12",
            "ls {fd}>x",
            "cat <<< x",
            "cat <(ls)",
            "ls > >(cat)",
            "a=(b c)",
            "a[0]=x",
            "a+=x",
            "function f { ls; }",
            "select x in a; do ls; done",
            "coproc ls",
            "time ls",
            "case a in a) ls;& b) ls;; esac",
            "case a in a) ls;;& b) ls;; esac",
            "echo ${x:0:1}",
            "echo ${x/a/b}",
            "echo ${!x}",
            "echo ${x^}",
            "echo ${x@Q}",
            "echo ${x[0]}",
            "echo ${x:-'a'}",
            "echo ${x:-$(ls)}",
            "echo \"${x:-\"a\"}\"",
            "echo $[1]",
            "echo $((x++))",
            "echo $((2**3))",
            "echo $((a[0]))",
            "echo $((10#3))",
            "echo $(( $(ls) ))",
            "echo `ls`",
            "echo \"`ls`\"",
            "echo ~user ~+ x=~ PATH=a:~/b",
            "ls [^a]",
            "ls >*.c",
            "ls >$x",
            "ls 2>.*",
            "ls .*",
            "ls a/.*",
            "ls a/..?",
            "ls '.'*",
            "echo $RANDOM",
            "echo ${BASH_VERSION}",
            "echo $UID",
            "echo $_ $0 $-",
            "cat <<E\n`ls`\nE\n",
            "cat <<E\n$(ls)\nE\n",
            "cat <<E\na\\\nE\nE\n",
            "echo $(cat <<E\nx\nE\n)",
            "echo $(case a in a) ls;; esac)",
            "echo $(ls # )\n)",
            "l\\\ns",
            "&\\\n>x",
            "echo \"$\\\n(ls)\"",
            "@(a)",
        ] {
            assert!(forms(text.as_bytes()).is_err(), "{text}");
        }
    }
}
