//! Which commands do the same in `sh`: the builtins that all three shells have, with what all three take.
//!
//! A program is the same program wherever it is started from. What is a builtin in one shell and a program in another, takes other
//! options, or makes other words of its operands, is not.

use std::collections::BTreeSet;

use super::{Differs, is_own_variable};
use crate::inventory::{Command, Resolved};
use crate::word::{Word, is_name, starts_name};

/// What a builtin may be given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Operands, whatever they are, and no options.
    Anything,
    /// One operand at most, and `-L` or `-P`.
    Directory,
    /// `-v` or `-V`, or a program.
    Lookup,
    /// Text without backslashes; no option but a first `-n`.
    Text,
    /// A format of the usual letters, and operands.
    Format,
    /// `NAME` and `NAME=value`, whose values are one word each in every shell.
    Definitions,
    /// `-r`, and names.
    Names,
    /// Options of one letter that all have, or `--` and operands.
    Options,
    /// Names of variables, or names behind `-v` or `-f`.
    Forgotten,
    /// An expression of at most four words.
    Expression,
    /// A path with a `/`.
    Script,
    /// Numbers of processes, and a signal.
    Signal,
    /// Digits.
    Mask,
}

/// The builtins. What is not here is refused.
const BUILTINS: [(&str, Takes); 27] = [
    (".", Takes::Script),
    (":", Takes::Anything),
    ("[", Takes::Expression),
    ("break", Takes::Anything),
    ("cd", Takes::Directory),
    ("command", Takes::Lookup),
    ("continue", Takes::Anything),
    ("echo", Takes::Text),
    ("eval", Takes::Anything),
    ("exec", Takes::Anything),
    ("exit", Takes::Anything),
    ("export", Takes::Definitions),
    ("false", Takes::Anything),
    ("getopts", Takes::Anything),
    ("kill", Takes::Signal),
    ("printf", Takes::Format),
    ("pwd", Takes::Directory),
    ("read", Takes::Names),
    ("readonly", Takes::Definitions),
    ("return", Takes::Anything),
    ("set", Takes::Options),
    ("shift", Takes::Anything),
    ("test", Takes::Expression),
    ("true", Takes::Anything),
    ("umask", Takes::Mask),
    ("unset", Takes::Forgotten),
    ("wait", Takes::Anything),
];

/// Builtins of POSIX whose prefix assignments last in sh and not in bash.
const SPECIAL: [&str; 15] = [
    ".", ":", "break", "continue", "eval", "exec", "exit", "export", "readonly", "return", "set", "shift", "times",
    "trap", "unset",
];

/// Names that are builtins of dash or ash, and programs to bash.
const OTHERS: [&str; 2] = ["chdir", "hist"];

/// Operators of `test` that all have and agree about.
const OPERATORS: [&str; 29] = [
    "!", "!=", "-S", "-b", "-c", "-d", "-e", "-eq", "-f", "-g", "-ge", "-gt", "-h", "-k", "-L", "-le", "-lt", "-n",
    "-ne", "-p", "-r", "-s", "-t", "-u", "-w", "-x", "-z", "=", "]",
];

/// Looks at one command; `functions` are those that there may be.
pub(crate) fn check(command: &Command, functions: &BTreeSet<String>) -> Result<(), Differs> {
    let name = command.invocation.words.first().map_or("", String::as_str);
    let differs = |what: String| Err(Differs { span: command.span, what });
    if let Some(own) = command.assignments.iter().find(|assignment| is_own_variable(&assignment.name)) {
        return differs(format!("setting `{}`, of which bash has an idea of its own", own.name));
    }
    // dash and ash look at `%builtin` in it for where their builtins stand: behind a directory, a program there goes before them.
    let path = |value: &Word| value.value.literal().is_some_and(|value| !value.contains('%'));
    if command.assignments.iter().any(|assignment| assignment.name == "PATH" && !path(&assignment.value)) {
        return differs("a `PATH` that is not written out".to_owned());
    }
    let reads = command.resolved == Resolved::Builtin && name == "read";
    if !reads && command.assignments.iter().any(|assignment| assignment.name == "IFS") {
        return differs("setting `IFS` for more than a `read`".to_owned());
    }
    let prefixed = command.assignments.iter().any(|assignment| !assignment.persistent);
    match command.resolved {
        Resolved::Builtin => {}
        Resolved::Function if prefixed => return differs("a variable that is set for a function alone".to_owned()),
        Resolved::Name if OTHERS.contains(&name) => return differs(format!("`{name}`, a builtin of some shells")),
        _ => return Ok(()),
    }
    if prefixed && SPECIAL.contains(&name) {
        return differs(format!("a variable that is set for `{name}` alone"));
    }
    let Some((_, takes)) = BUILTINS.iter().find(|(builtin, _)| *builtin == name) else {
        return differs(format!("the builtin `{name}`"));
    };
    // What a wrapper is given to run is a command of its own.
    let words = command.argv.get(1..).unwrap_or_default();
    if fits(*takes, words, functions) { Ok(()) } else { differs(format!("`{name}` with these words")) }
}

/// Whether a function may have this name: all take it for one, and none has it already.
pub(crate) fn is_function(name: &str) -> bool {
    let plain = name.bytes().next().is_some_and(starts_name) && name.bytes().all(is_name);
    plain && !is_own_variable(name) && !OTHERS.contains(&name) && !crate::program::is_builtin(name)
}

fn fits(takes: Takes, words: &[Word], functions: &BTreeSet<String>) -> bool {
    let literal = |word: &Word| word.value.literal().map(str::to_owned);
    let first = words.first().and_then(literal);
    let operand = |word: &Word| literal(word).is_none_or(|text| !text.starts_with(['-', '+']));
    let name = |word: &Word| literal(word).is_some_and(|text| is_variable(&text));
    match takes {
        Takes::Anything => words.iter().take(1).all(operand),
        Takes::Directory => {
            let behind = words.iter().skip_while(|word| matches!(literal(word).as_deref(), Some("-L" | "-P")));
            let behind: Vec<&Word> = behind.collect();
            let plain =
                |word: &&Word| literal(word).is_none_or(|text| text == "-" || !text.is_empty() && operand(word));
            behind.len() < 2 && behind.iter().all(plain)
        }
        // An error in a builtin that it runs ends no script, as it would without it.
        Takes::Lookup => first.is_some_and(|text| {
            matches!(text.as_str(), "-v" | "-V") || !text.starts_with('-') && !crate::program::is_builtin(&text)
        }),
        Takes::Text => {
            let texts = words.get(usize::from(first.as_deref() == Some("-n"))..).unwrap_or_default();
            let begins = texts.first().and_then(literal).is_some_and(|text| text.starts_with('-'));
            !begins && texts.iter().filter_map(literal).all(|text| !text.contains('\\'))
        }
        Takes::Format => first.is_some_and(|format| is_format(&format)),
        Takes::Definitions => words.iter().all(is_definition),
        Takes::Names => {
            let names = words.get(usize::from(first.as_deref() == Some("-r"))..).unwrap_or_default();
            !names.is_empty() && names.iter().all(name)
        }
        Takes::Options => match first.as_deref() {
            None => false,
            Some("--") => true,
            Some(text) if text.starts_with(['-', '+']) => words.iter().all(|word| literal(word).is_some_and(is_option)),
            Some(_) => true,
        },
        Takes::Forgotten => match first.as_deref() {
            Some("-v" | "-f") => words.iter().skip(1).all(name),
            // bash would take one that is no variable for a function.
            _ => words.iter().all(|word| name(word) && literal(word).is_some_and(|text| !functions.contains(&text))),
        },
        Takes::Expression => words.len() <= 5 && words.iter().all(|word| literal(word).is_none_or(is_term)),
        Takes::Script => first.is_some_and(|path| path.contains('/') && !path.starts_with('-')) && words.len() == 1,
        Takes::Signal => words.iter().enumerate().all(|(at, word)| match literal(word) {
            None => at > 0,
            Some(text) => match text.strip_prefix('-') {
                Some(signal) => {
                    at == 0 && !signal.is_empty() && signal.bytes().all(|byte| byte.is_ascii_alphanumeric())
                }
                None => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()),
            },
        }),
        Takes::Mask => words.len() <= 1 && first.is_none_or(|mask| mask.bytes().all(|byte| byte.is_ascii_digit())),
    }
}

fn is_variable(name: &str) -> bool {
    name.bytes().next().is_some_and(starts_name) && name.bytes().all(is_name) && !is_own_variable(name) && name != "IFS"
}

/// `NAME` or `NAME=value`; bash makes one word of a value in any case, older shells only of a quoted one.
fn is_definition(word: &Word) -> bool {
    let (name, value) = word.raw.split_once('=').unwrap_or((&word.raw, ""));
    let quoted =
        value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).is_some_and(|rest| !rest.contains('"'));
    let plain = !value.contains(['$', '*', '?', '[', '~', '\\', '`', '"']);
    is_variable(name) && (quoted || plain)
}

/// Options of `set` that change how much of a script runs or which words a pattern comes to, and nothing else.
fn is_option(text: String) -> bool {
    let letters = text.strip_prefix(['-', '+']).unwrap_or_default();
    !letters.is_empty() && letters.bytes().all(|byte| b"Cefux".contains(&byte))
}

/// A word of `test`: an operator that all have, or a text that none takes for one.
fn is_term(text: String) -> bool {
    let number =
        text.strip_prefix('-').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()));
    let like = text.starts_with('-') || matches!(text.as_str(), "==" | "=~" | "<" | ">" | "(" | ")" | "!");
    OPERATORS.contains(&text.as_str()) || number || !like
}

/// A format of `printf` that all print alike.
fn is_format(format: &str) -> bool {
    let mut rest = format.chars();
    if format.starts_with('-') {
        return false;
    }
    while let Some(letter) = rest.next() {
        let same = match letter {
            '\\' => matches!(rest.next(), Some('n' | 't' | 'r' | '\\')),
            '%' => loop {
                match rest.next() {
                    Some('0'..='9' | '.' | '-') => {}
                    last => break matches!(last, Some('s' | 'd' | 'i' | 'u' | 'x' | 'X' | 'o' | 'c' | '%')),
                }
            },
            _ => true,
        };
        if !same {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use crate::{Shell, inventory_in};

    #[test]
    fn what_a_builtin_is_given_is_the_same_to_all() {
        let is_read = |script: &str| inventory_in(script.as_bytes(), &Shell::posix()).parsed();
        for script in [
            "cd /a; cd -P ..; cd -; pwd -P",
            "echo -n a; echo; echo \"$x\"",
            "printf '%s\\n' a; printf '%5d%%' 3",
            "export A=1 B=\"$x\" C; readonly D='a b'",
            "PATH=/usr/bin:/bin; PATH=/opt/bin make",
            "IFS= read -r a b; read x",
            "set -eu; set +f; set -- -a \"$x\"",
            "unset x y; f() { ls; }; unset -f f",
            "[ -f a ] && [ ! -d \"$b\" ] && test \"$x\" != y && [ 1 -lt -2 ]",
            "command ls; command -v git",
            ". ./env; umask 022; kill -TERM 12; kill \"-9\" 1; exec ls",
            "A=1 make; A=1 printf a",
        ] {
            let inventory = inventory_in(script.as_bytes(), &Shell::posix());
            assert!(inventory.parsed(), "{script}: {:?}", inventory.opaque());
        }
        for script in [
            "cd a b",
            "cd ''",
            "cd -e a",
            "echo -e a",
            "echo -ne a",
            "echo 'a\\tb'",
            "x='a\\tb'; echo \"$x\"",
            "printf '\\x41'",
            "printf '%q' a",
            "printf -v x a",
            "printf \"$f\"",
            "export A=$x",
            "export A=*",
            "export -n A",
            "PATH=/x:%builtin",
            "PATH=\"$PATH:/x\"",
            "PATH=$x ls",
            "read PATH",
            "for PATH in /x:%builtin; do ls; done",
            "IFS=:; ls $x",
            "read -a x",
            "read",
            "set -o pipefail",
            "set -k",
            "set $x",
            "f() { ls; }; unset f",
            "unset $x",
            "[ a == b ]",
            "[ a -a b ]",
            "[ -v x ]",
            "test a '<' b",
            "command eval 'shift 9'; rm x",
            "command cd ..",
            "command -p ls",
            ". env",
            "umask u=rwx",
            "kill %1",
            "exec -a x ls",
            "A=1 export B",
            "f() { ls; }; A=1 f",
            "cd() { ls; }",
            "command() { ls; }",
            "a-b() { ls; }",
            "palisade_report() { ls; }",
            "chdir() { ls; }",
            "chdir /",
            "UID=1",
            "PS4='$(ls)'",
            "trap ls EXIT",
            "local x",
            "let x=1",
            "source ./a",
            "declare x",
            "shopt -s extglob",
            "pushd /",
            "alias a=b",
            "type ls",
            "ulimit -n 1",
            "eval 'echo {a,b}'",
        ] {
            assert!(!is_read(script), "{script}");
        }
        // What bash reads is another matter.
        assert!(inventory_in(b"[[ a ]] && echo {a,b}", &Shell::new()).parsed());
    }
}
