//! awk programs without pipes, redirections, `getline`, `system`, extensions and changes of the file list.
//!
//! All awks read what is vouched for alike. Where they differ, or where it is not plain whether a `/` divides, the
//! program is refused.

use super::{MAX_CODE, Touched};
use crate::inventory::EffectKind;

/// The files that a program prints into, if it does nothing else but work on the text it is given.
pub(crate) fn awk(program: &str) -> Option<Vec<Touched>> {
    let mut scan = Scan {
        rest: program,
        before: Before::Operator,
        brackets: Vec::new(),
        printing: false,
        calls: Vec::new(),
        defined: Vec::new(),
        written: Vec::new(),
    };
    let read = program.len() <= MAX_CODE && scan.all().is_some() && scan.brackets.is_empty();
    let known = scan.calls.iter().all(|name| FUNCTIONS.contains(&name.as_str()) || scan.defined.contains(name));
    (read && known).then_some(scan.written)
}

/// Functions that compute.
const FUNCTIONS: &[&str] = &[
    "and", "asort", "asorti", "atan2", "compl", "cos", "exp", "gensub", "gsub", "index", "int", "isarray", "length",
    "log", "lshift", "match", "mktime", "or", "patsplit", "rand", "rshift", "sin", "split", "sprintf", "sqrt", "srand",
    "strftime", "strtonum", "sub", "substr", "systime", "tolower", "toupper", "typeof", "xor",
];

/// Names that reach out of the program, or change what it reads.
const REFUSED: &[&str] = &[
    "ARGC",
    "ARGIND",
    "ARGV",
    "FUNCTAB",
    "PROCINFO",
    "SYMTAB",
    "adump",
    "close",
    "dcgettext",
    "bindtextdomain",
    "extension",
    "fflush",
    "getline",
    "include",
    "load",
    "namespace",
    "stopme",
    "system",
];

/// Words behind which a `/` begins a pattern.
const BEFORE_PATTERN: &[&str] = &["do", "else", "in", "print", "printf", "return", "case"];

/// Words behind which it is not plain what a `/` is.
const STATEMENTS: &[&str] =
    &["BEGIN", "END", "BEGINFILE", "ENDFILE", "break", "continue", "delete", "exit", "next", "nextfile"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Operator,
    Operand,
    Unclear,
}

struct Scan<'p> {
    rest: &'p str,
    before: Before,
    /// For each bracket that is open: what closes it, and whether it holds a condition.
    brackets: Vec<(char, bool)>,
    /// A `>` would send what is printed to a file.
    printing: bool,
    calls: Vec<String>,
    defined: Vec<String>,
    written: Vec<Touched>,
}

impl Scan<'_> {
    fn all(&mut self) -> Option<()> {
        let mut condition = false;
        while let Some(first) = self.rest.chars().next() {
            let was_condition = std::mem::take(&mut condition);
            match first {
                ' ' | '\t' => {
                    condition = was_condition;
                    self.skip(1)?;
                }
                '\n' => {
                    // A line may go on behind a comma, so that nothing is said about what is printed.
                    self.before = Before::Operator;
                    self.skip(1)?;
                }
                '\\' => {
                    self.rest.starts_with("\\\n").then(|| self.skip(2)).flatten()?;
                    if self.rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
                        return None; // some might take it for the rest of a name
                    }
                }
                '#' => self.comment()?,
                '"' => {
                    self.text()?;
                    self.before = Before::Operand;
                }
                '/' => self.slash()?,
                '0'..='9' => self.number()?,
                '.' if self.rest.get(1..)?.starts_with(|c: char| c.is_ascii_digit()) => self.number()?,
                'a'..='z' | 'A'..='Z' | '_' => condition = self.word()?,
                '(' => {
                    self.brackets.push((')', was_condition));
                    self.before = Before::Operator;
                    self.skip(1)?;
                }
                '[' => {
                    self.brackets.push((']', false));
                    self.before = Before::Operator;
                    self.skip(1)?;
                }
                '{' => {
                    self.brackets.push(('}', false));
                    self.statement()?;
                }
                ')' | ']' | '}' => {
                    let (_, held_condition) = self.brackets.pop().filter(|(close, _)| *close == first)?;
                    if first == '}' {
                        self.statement()?;
                    } else {
                        self.before = if held_condition { Before::Operator } else { Before::Operand };
                        self.skip(1)?;
                    }
                }
                ';' => self.statement()?,
                '>' => self.greater()?,
                _ => self.operator()?,
            }
        }
        Some(())
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }

    fn statement(&mut self) -> Option<()> {
        // A `;` inside the brackets of `for` ends no printing, and there is none.
        self.printing = false;
        self.before = Before::Operator;
        self.skip(1)
    }

    fn comment(&mut self) -> Option<()> {
        let length = self.rest.find('\n').unwrap_or(self.rest.len());
        let comment = self.rest.get(..length)?;
        (!comment.contains(['\\', '\r'])).then_some(())?;
        self.skip(length)
    }

    fn text(&mut self) -> Option<String> {
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    let text = self.rest.get(1..at)?.to_owned();
                    self.skip(at + 1)?;
                    return Some(text);
                }
                '\\' => _ = chars.next().filter(|(_, c)| *c != '\n')?,
                '\n' | '\r' => return None,
                _ => {}
            }
        }
        None
    }

    fn slash(&mut self) -> Option<()> {
        match self.before {
            Before::Operand => self.operator(),
            Before::Operator => self.pattern(),
            Before::Unclear => None,
        }
    }

    /// Up to the next `/`, which must not stand in brackets: awks differ about those.
    fn pattern(&mut self) -> Option<()> {
        let mut class: Option<usize> = None;
        let mut chars = self.rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            match (c, class) {
                ('\n' | '\r', _) => return None,
                ('\\', _) => {
                    let (_, next) = chars.next()?;
                    if next == '\n' || class.is_some() && matches!(next, '[' | ']') {
                        return None;
                    }
                }
                ('/', None) => {
                    self.before = Before::Operand;
                    return self.skip(at + 1);
                }
                ('/', Some(_)) => return None,
                ('[', None) => {
                    if chars.peek().is_some_and(|(_, c)| *c == '^') {
                        chars.next();
                    }
                    if chars.peek().is_some_and(|(_, c)| *c == ']') {
                        return None;
                    }
                    class = Some(at);
                }
                ('[', Some(_)) => {
                    // `[[:alpha:]_]`
                    chars.next().filter(|(_, c)| *c == ':')?;
                    while chars.next_if(|(_, c)| c.is_ascii_lowercase()).is_some() {}
                    chars.next().filter(|(_, c)| *c == ':')?;
                    chars.next().filter(|(_, c)| *c == ']')?;
                }
                (']', Some(_)) => class = None,
                _ => {}
            }
        }
        None
    }

    fn number(&mut self) -> Option<()> {
        let length = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(self.rest.len());
        let number = self.rest.get(..length)?;
        let letters = number.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let exponent = letters.is_empty()
            || letters.strip_prefix(['e', 'E']).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
            || number.starts_with("0x") && number.bytes().skip(2).all(|byte| byte.is_ascii_hexdigit());
        self.before = Before::Operand;
        exponent.then_some(())?;
        self.skip(length)
    }

    /// True if a condition follows in brackets.
    fn word(&mut self) -> Option<bool> {
        let length = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let word = self.rest.get(..length)?.to_owned();
        let behind = self.rest.get(length..)?;
        if REFUSED.contains(&word.as_str()) || behind.starts_with("::") {
            return None;
        }
        self.skip(length)?;
        if matches!(word.as_str(), "function" | "func") {
            // The name of a function, which then stands before a bracket like a builtin's.
            let name = self.rest.trim_start_matches(' ');
            let length = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
            let (defined, rest) = name.split_at_checked(length)?;
            if REFUSED.contains(&defined) || FUNCTIONS.contains(&defined) {
                return None;
            }
            self.defined.push(defined.to_owned());
            self.rest = rest;
            self.before = Before::Operator;
            return Some(false);
        }
        let condition = matches!(word.as_str(), "if" | "while" | "for" | "switch");
        let statement = condition || BEFORE_PATTERN.contains(&word.as_str()) || STATEMENTS.contains(&word.as_str());
        if !statement && self.rest.starts_with('(') {
            self.calls.push(word.clone());
        }
        if matches!(word.as_str(), "print" | "printf") {
            self.printing = true;
        }
        self.before = match word.as_str() {
            _ if condition || BEFORE_PATTERN.contains(&word.as_str()) => Before::Operator,
            _ if STATEMENTS.contains(&word.as_str()) => Before::Unclear,
            "length" if !self.rest.starts_with('(') => Before::Unclear,
            _ => Before::Operand,
        };
        Some(condition)
    }

    /// A comparison, unless something is printed and no bracket is open around it.
    fn greater(&mut self) -> Option<()> {
        let inside = self.brackets.last().is_some_and(|(close, _)| *close != '}');
        let appends = self.rest.starts_with(">>");
        if !self.printing || inside {
            return if appends { None } else { self.operator() };
        }
        self.rest = self.rest.get(if appends { 2 } else { 1 }..)?.trim_start_matches(' ');
        let target = self.text()?;
        let ends = self.rest.trim_start_matches(' ');
        self.before = Before::Operand;
        (ends.is_empty() || ends.starts_with([';', '}', '\n'])).then_some(())?;
        self.prints_into(target)
    }

    /// Some names are no files: descriptors, pipes and, to gawk, peers (`/inet/tcp/…`).
    fn prints_into(&mut self, target: String) -> Option<()> {
        let standard = matches!(target.as_str(), "/dev/stderr" | "/dev/stdout");
        let special = ["/dev/", "/inet", "-", "|"].iter().any(|begin| target.starts_with(begin));
        if !standard {
            (!special && !target.is_empty() && !target.contains(['\\', '\r'])).then_some(())?;
            self.written.push((EffectKind::Write, target));
        }
        Some(())
    }

    fn operator(&mut self) -> Option<()> {
        const OPERATORS: &[&str] = &[
            "&&", "||", "==", "!=", "<=", ">=", "+=", "-=", "*=", "/=", "%=", "^=", "**", "!~", "+", "-", "*", "/",
            "%", "^", "!", "<", ">", "=", "~", "?", ":", ",", "$",
        ];
        if self.rest.starts_with("++") || self.rest.starts_with("--") {
            self.before = Before::Unclear;
            return self.skip(2);
        }
        let op = OPERATORS.iter().find(|op| self.rest.starts_with(**op))?;
        self.before = Before::Operator;
        self.skip(op.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awk_programs() {
        for program in [
            "{print $1}",
            "{print \"rm\", $1}",
            "NR==1||NR==2",
            "BEGIN{FS=\"\\t\"}{n+=$2}END{print n}",
            "",
            "1",
            "!seen[$0]++",
            "/a/",
            "/a\\/b/ {print}",
            "/[[:space:]]+$/",
            "/[^a-z]/ && !/x/",
            "$1 ~ /^a/ || $2 !~ /b$/",
            "$3 > 10",
            "$3 > 10 {print $1}",
            "{ if ($1 > 2) print $1 }",
            "{ if ($1 > 2) print $1; else print $2 }",
            "{ print ($1 > 2) }",
            "{ print ($1 > 2 ? \"a\" : \"b\") }",
            "{ x = $1 > 2; print x }",
            "{ max = ($1 > max) ? $1 : max } END { print max }",
            "$1 > max { max = $1 } END { print max }",
            "{ print \"x\" > \"/dev/stderr\" }",
            "{ printf \"%s\\n\", $1 > \"/dev/stdout\"; next }",
            "{ printf \"%5.2f %s\\n\", $1/1024, $2 }",
            "{ printf(\"%d\\n\", ($1+$2)/2) }",
            "{ gsub(/a/, \"b\"); print }",
            "{ sub(\"x\", \"|\"); print substr($0, 1, 5), length($0), length }",
            "{ n = split($0, a, /,/); for (i = 1; i <= n; i++) print a[i] }",
            "{ for (k in c) { print k, c[k] } }",
            "{ c[$1]++ } END { for (k in c) print c[k], k }",
            "BEGIN { while (i < 3) { i++; print i } }",
            "BEGIN { do { i++ } while (i < 3) }",
            "function f(a, b) { return a > b ? a : b } { print f($1, $2) }",
            "NR % 2 == 0",
            "NR > 1 && NR <= 5 { print FILENAME \":\" FNR }",
            "/start/,/end/",
            "{ $2 = \"\"; print $0 }",
            "{ print toupper(substr($1,1,1)) tolower(substr($1,2)) }",
            "BEGIN { OFS=\",\" } { $1=$1; print }",
            "# a comment | system\n{ print }",
            "{ print $NF }",
            "{ print $(NF-1) }",
            "{ delete a[$1]; next }",
            "BEGIN { print ENVIRON[\"HOME\"] }",
            "{ print \"a|b>c`\" }",
            "{ if (/x/) /y/ }",
            "length > 72",
            "length($0) > 72",
            "{ s += $1 } END { print s / NR }",
            "{ print a[1] / 2 }",
            "{ print -1, +2, !3, 2^3, 1e3, .5 }",
            "{\n  print $1,\n    $2\n}",
            "{ print $1 \\\n }",
            "match($0, /a+/) { print RSTART, RLENGTH }",
            "BEGIN { printf \"%c\", 65 }",
            "{ print strftime(\"%Y\", $1) }",
            "END { exit n > 0 }",
        ] {
            assert_eq!(awk(program), Some(Vec::new()), "{program}");
        }
        for program in [
            "BEGIN{system(\"rm\")}",
            "{print | \"sh\"}",
            "{\"ls\" | getline x}",
            "{getline < \"/etc/shadow\"}",
            "BEGIN{ARGV[1]=\"/etc/shadow\"}",
            "@load \"x\"",
            "BEGIN{f=\"sys\\x74em\"; @f()}",
            "{print |& \"sh\"}",
            "a|||b",
            "sys\\\ntem(1)",
            "{ print $1 > $2 }",
            "{ print $1 > \"f\" $2 }",
            "{ print \"x\" > \"/dev/stderr\" $1 }",
            "{ print $1 > 2 }",
            "{ a++ / 2; system(1) / 3 }",
            "{ length / 2; system(1) / 3 }",
            "/[/]/ { system(1) } /]/",
            "/[]/]/ { system(1) }",
            "/[^]/]/",
            "/a[/b|c/",
            "/a\n/",
            "\"a\nb\"",
            "\"a",
            "/a",
            "{ print \"x\" | \"cat 1>&2\" }",
            "{ close(\"x\") }",
            "{ fflush() }",
            "BEGIN { SYMTAB[\"x\"] = 1 }",
            "BEGIN { PROCINFO[\"x\", \"pty\"] = 1 }",
            "@include \"x\"",
            "@namespace \"x\"",
            "{ awk::system(1) }",
            "BEGIN { extension(\"x\", \"y\") }",
            "function system(x) {}",
            "function f(x) { system(x) }",
            "{ `ls` }",
            "{ print $1 \\ x }",
            "# x \\\n{ print }",
            "# x\r{ print }",
            "{ print",
            "print }",
            "{ print ) }",
            "{ ( } )",
            "0xg",
            "1system(2)",
            "{ print $1 } | x",
            "{ unknown(1) }",
            "{ print a / b > \"f\" # / \n}",
            "{ print > \"/dev/sda\" }",
            "{ print > \"/inet/tcp/0/h/9\" }",
            "{ print > \"\\x2fetc\" }",
            "{ print > \"\" }",
            "{ print > \"f\" \"g\" }",
            "{ print > \"f\", 1 }",
        ] {
            assert_eq!(awk(program), None, "{program}");
        }
    }

    #[test]
    fn what_is_printed_into_a_file() {
        for program in [
            "{print > \"f\"}",
            "{ print >> \"f\" }",
            "{ print(1) > \"f\" }",
            "{ print (1)(2) > \"f\" }",
            "{ printf \"x\" > \"f\" }",
            "{ print a[1] > \"f\" }",
            "{ if (x) print > \"f\" }",
            "{ x = 1; print x > \"f\" }",
            "{ print; print > \"f\" }",
            "{ print a\n > \"f\" }",
            "{ print a,\n b > \"f\" }",
            "{ for (;;) print > \"f\" }",
        ] {
            assert_eq!(awk(program), Some(vec![(EffectKind::Write, "f".to_owned())]), "{program}");
        }
    }
}
