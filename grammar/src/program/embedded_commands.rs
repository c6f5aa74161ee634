//! Commands that code of other languages names outright.
//!
//! This file decides what is listed of code that is not read: literal texts that a call hands to a shell or to the
//! system, and lines that a program of commands hands to a shell. The code stays opaque whatever is found, so that this
//! may guess: it only makes sure that a command which a policy forbids is seen where anyone can see it.

use super::last_component;
use super::table::{self, Builtin, Role};

/// A command that stands in code of another language.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EmbeddedCommand {
    /// Code of a shell.
    Code(String),
    /// Words of a command.
    Words(Vec<String>),
}

/// Longer code is not looked at.
const MAX_CODE: usize = 16 * 1024;
/// More is not listed of one piece of code.
const MAX_COMMANDS: usize = 64;

/// What hands its first literal to a shell or to the system; a dot stands for whatever parts a name from its module's.
const CALLS: &[&str] = &[
    "async-shell-command",
    "callCommand",
    "callProcess",
    "call-process",
    "capture2",
    "capture2e",
    "capture3",
    "check_call",
    "check_output",
    "create_subprocess_exec",
    "create_subprocess_shell",
    "esyscmd",
    "exec",
    "execFile",
    "execFileSync",
    "execSync",
    "execl",
    "execle",
    "execlp",
    "execlpe",
    "execv",
    "execve",
    "execvp",
    "execvpe",
    "Deno.Command",
    "getoutput",
    "getstatusoutput",
    "jobstart",
    "os.cmd",
    "os.execute",
    "os_execute",
    "passthru",
    "pcntl_exec",
    "pipe",
    "popen",
    "Popen",
    "popen2",
    "popen3",
    "posix_spawn",
    "posix_spawnp",
    "proc_open",
    "Process.Start",
    "Process.run",
    "ProcessBuilder",
    "process-lines",
    "rawSystem",
    "readCreateProcess",
    "readProcess",
    "readpipe",
    "run-program",
    "shell-command",
    "shell-command-to-string",
    "shell",
    "shell_exec",
    "spawn",
    "spawnCommand",
    "spawnProcess",
    "spawnSync",
    "spawnl",
    "spawnlp",
    "spawnv",
    "spawnve",
    "spawnvp",
    "syscmd",
    "System.cmd",
    "System.shell",
    "system",
    "system2",
    "systemlist",
    "termopen",
    "unix",
    "write18",
];

/// The same, where the code says elsewhere what it means.
const CALLS_OF: &[(&str, &str)] = &[
    ("run", "subprocess"),
    ("call", "subprocess"),
    ("run", "`"),
    ("exec", "child_process"),
    ("start", "Process"),
    ("script", "do shell"),
];

/// The commands that code in this role names.
pub(crate) fn embedded_commands(role: Role, code: &str) -> Vec<EmbeddedCommand> {
    let mut found = Vec::new();
    if code.len() > MAX_CODE {
        return found;
    }
    calls(role, code, &mut found);
    match role {
        Role::Awk => awk(code, &mut found),
        Role::Sed => sed(code, &mut found),
        Role::Perl | Role::Ruby | Role::Php => backticks(code, &mut found),
        Role::Commands => code.lines().for_each(|line| escape(line, &mut found)),
        Role::Sql => code.lines().flat_map(|line| line.split(';')).for_each(|line| escape(line, &mut found)),
        Role::Code => bare(code, &mut found),
        _ => {}
    }
    if role == Role::Sql {
        programs(code, &mut found);
    }
    // Commands are parts of the code: more than there is of it would only be read again and again.
    let mut left = code.len();
    let mut listed = Vec::new();
    for told in found.into_iter().take(MAX_COMMANDS) {
        let length = match &told {
            EmbeddedCommand::Code(code) => code.len(),
            EmbeddedCommand::Words(words) => words.iter().map(String::len).sum(),
        };
        if length <= left && !listed.contains(&told) {
            left -= length;
            listed.push(told);
        }
    }
    listed
}

/// Whether a word looks like a program: one that a table describes, or one by its path.
pub(crate) fn is_program(word: &str) -> bool {
    let table = || table::find(&last_component(word)).ok().flatten();
    !word.starts_with('-') && table().is_some_and(|entry| entry.builtin != Builtin::Only)
}

fn calls(role: Role, code: &str, found: &mut Vec<EmbeddedCommand>) {
    let mut rest = code;
    while let Some(start) = rest.find(starts_path) {
        let path = rest.get(start..).unwrap_or_default();
        let length = path.find(|letter| !is_path(letter)).unwrap_or(path.len());
        let (name, behind) = path.split_at_checked(length).unwrap_or_default();
        // `getattr(os, "system")("rm x")`: the name stands in a text, behind which something may be called.
        let within = rest.get(..start).unwrap_or_default().chars().next_back().filter(|quote| "'\"".contains(*quote));
        let behind = match within.and_then(|quote| behind.strip_prefix(quote)) {
            Some(after) => after.strip_prefix([')', ']']).filter(|after| after.starts_with('(')).unwrap_or_default(),
            None => behind,
        };
        rest = path.get(length..).unwrap_or_default();
        let name = name.replace("::", ".").replace(':', ".");
        let is = |call: &str| name.strip_suffix(call).is_some_and(|before| before.is_empty() || before.ends_with('.'));
        let python_code = matches!(role, Role::Python | Role::Node) && name.ends_with("exec");
        let known = CALLS.iter().any(|call| is(call)) && !python_code;
        let named = CALLS_OF.iter().any(|(call, with)| is(call) && code.contains(with));
        if known || named {
            found.extend(call(behind).or_else(|| variable(code, behind)).or_else(|| unquoted_call(&name, behind)));
        } else if is("open") || is("open3") || is("open2") {
            found.extend(opened(behind));
        } else if ["eval", "exec"].into_iter().any(is)
            && let (Some(inner), _) = literals(behind)
            && let [inner] = inner.as_slice()
        {
            calls(role, inner, found);
        } else if is("qx") || matches!(role, Role::Ruby) && name == "x" && code.contains(&format!("%x{behind}")) {
            found.extend(delimited(behind.trim_start()).map(|(text, _)| EmbeddedCommand::Code(text.to_owned())));
        }
        if found.len() >= MAX_COMMANDS {
            return;
        }
    }
}

fn starts_path(letter: char) -> bool {
    letter.is_ascii_alphabetic() || letter == '_'
}

fn is_path(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_.:-".contains(letter)
}

/// One text is code of a shell, several are words; a list with one blank text is both to somebody.
fn call(behind: &str) -> Option<EmbeddedCommand> {
    let (texts, list) = literals(behind);
    let texts = texts?;
    let first = texts.first()?;
    let blank = first.trim().contains(' ');
    match (texts.len(), list, blank) {
        _ if first.trim().is_empty() => None,
        (1, ..) | (_, false, true) => Some(EmbeddedCommand::Code(first.trim_start_matches('!').to_owned())),
        _ => Some(EmbeddedCommand::Words(texts)),
    }
}

/// `c = "rm x"; system(c)`.
fn variable(code: &str, behind: &str) -> Option<EmbeddedCommand> {
    let word = behind.trim_start().strip_prefix('(')?.trim_start().trim_start_matches('$');
    let name = word.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').next()?;
    let mut uses = code.match_indices(name).filter(|_| !name.is_empty());
    uses.find_map(|(at, _)| {
        let value = code.get(at + name.len()..)?.trim_start().strip_prefix('=')?;
        call(value)
    })
}

/// `syscmd(rm x)` of m4, `\write18{rm x}` of TeX.
fn unquoted_call(name: &str, behind: &str) -> Option<EmbeddedCommand> {
    let (open, close) = if name == "write18" { ('{', '}') } else { ('(', ')') };
    let inner = behind.strip_prefix(open).filter(|_| name == "write18" || name.ends_with("syscmd"))?;
    inner.split(close).next().map(|code| EmbeddedCommand::Code(code.to_owned()))
}

/// `open(F, "rm x|")`, `open("|rm x")`, `open(F, "-|", "rm", "x")`.
fn opened(behind: &str) -> Option<EmbeddedCommand> {
    let (texts, _) = literals(behind);
    let texts = texts?;
    match texts.split_first()? {
        (mode, [code]) if matches!(mode.trim(), "-|" | "|-") => Some(EmbeddedCommand::Code(code.clone())),
        (mode, words) if matches!(mode.trim(), "-|" | "|-") => Some(EmbeddedCommand::Words(words.to_vec())),
        (text, _) => {
            let text = text.trim();
            let code = text.strip_prefix('|').or_else(|| text.strip_suffix('|'))?;
            Some(EmbeddedCommand::Code(code.to_owned()))
        }
    }
}

/// The literal texts with which the words of a call begin, and whether they stand in a list.
fn literals(behind: &str) -> (Option<Vec<String>>, bool) {
    let mut rest = behind.trim_start_matches('*').trim_start();
    rest = rest.strip_prefix('(').unwrap_or(rest).trim_start();
    rest = without_handle(rest);
    if let Some(words) = rest.strip_prefix("qw").and_then(|rest| delimited(rest.trim_start())) {
        return (Some(words.0.split_whitespace().map(str::to_owned).collect()), true);
    }
    let list = rest.starts_with(['[', '{']) && !rest.starts_with("[[");
    let mut texts = Vec::new();
    while let Some((mut first, mut behind)) = text(rest) {
        while let Some((more, end)) = joined(behind) {
            first.push_str(&more);
            behind = end;
        }
        texts.push(first);
        let Some(next) = behind.trim_start().strip_prefix(',') else { break };
        rest = next.trim_start();
    }
    (Some(texts).filter(|texts| !texts.is_empty()), list)
}

/// A first word that is no text: `open(F, …)`, `spawnlp(os.P_WAIT, …)`, `run(args=…)`.
fn without_handle(text: &str) -> &str {
    let letters = |letter: char| letter.is_ascii_alphanumeric() || "_.$ *&:".contains(letter);
    let Some(end) = text.find(|letter| !letters(letter)) else { return text };
    let rest = text.get(end..).unwrap_or_default();
    match rest.strip_prefix([',', '=']) {
        Some(rest) if end > 0 => rest.trim_start(),
        _ => text,
    }
}

/// `"r" + "m x"`, `'r' . 'm x'`, `"r" "m x"`.
fn joined(behind: &str) -> Option<(String, &str)> {
    let rest = behind.trim_start();
    let operator = ["..", "+", ".", "<>", "++", "~"].into_iter().find_map(|sign| rest.strip_prefix(sign));
    text(operator.unwrap_or(rest).trim_start()).filter(|_| !rest.starts_with(['[', '{', '(']))
}

/// A literal text and what stands behind it.
fn text(code: &str) -> Option<(String, &str)> {
    let code = code.trim_start_matches(['[', '{', '(', ' ', '\n']).trim_start();
    let code = ["rb", "br", "fr", "r", "b", "u", "f", "c"]
        .into_iter()
        .find_map(|prefix| code.strip_prefix(prefix).filter(|rest| rest.starts_with(['\'', '"'])))
        .unwrap_or(code);
    for mark in ["qq", "q"] {
        let quoted = code.strip_prefix(mark).filter(|rest| rest.starts_with(['(', '{', '/', '[', '|', '!']));
        if let Some((text, rest)) = quoted.and_then(delimited) {
            return Some((text.to_owned(), rest));
        }
    }
    for triple in ["\"\"\"", "'''"] {
        if let Some(inner) = code.strip_prefix(triple) {
            return inner.split_once(triple).map(|(text, rest)| (decoded(text), rest));
        }
    }
    let quote = code.chars().next().filter(|quote| ['\'', '"', '`'].contains(quote))?;
    let inner = code.get(1..)?;
    let mut escaped = false;
    let end = inner.find(|letter| {
        let ends = !escaped && letter == quote;
        escaped = !escaped && letter == '\\';
        ends
    });
    // m4 quotes with two signs.
    let end = end.or_else(|| inner.find('\'').filter(|_| quote == '`'))?;
    Some((decoded(inner.get(..end)?), inner.get(end + 1..)?))
}

/// A text between two signs of the code's choice.
fn delimited(code: &str) -> Option<(&str, &str)> {
    let open = code.chars().next().filter(|open| open.is_ascii_punctuation())?;
    let close = match open {
        '(' => ')',
        '{' => '}',
        '[' => ']',
        '<' => '>',
        other => other,
    };
    code.get(1..)?.split_once(close)
}

/// The escapes that these languages share.
fn decoded(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, behind) = rest.split_at_checked(at).unwrap_or_default();
        out.push_str(before);
        let mut letters = behind.chars().skip(1);
        let Some(letter) = letters.next() else { break };
        let digits = |from: usize, most: usize, radix: u32| {
            let digits = behind.get(from..).unwrap_or_default();
            let length = digits.chars().take(most).take_while(|digit| digit.is_digit(radix)).count();
            let code = digits.get(..length).and_then(|digits| u32::from_str_radix(digits, radix).ok());
            code.and_then(char::from_u32).filter(|letter| *letter != '\0').map(|letter| (letter, from + length))
        };
        let plain = |letter: char| Some((letter, 1 + letter.len_utf8()));
        let read = match letter {
            'n' => Some(('\n', 2)),
            't' => Some(('\t', 2)),
            'r' | 'e' | 'a' | '\n' => Some((' ', 2)),
            'x' => digits(2, 2, 16),
            'u' => digits(2, 4, 16),
            '0'..='7' => digits(1, 3, 8),
            other => plain(other),
        };
        let (letter, used) = read.unwrap_or((letter, 1 + letter.len_utf8()));
        out.push(letter);
        rest = behind.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

fn backticks(code: &str, found: &mut Vec<EmbeddedCommand>) {
    for text in code.split('`').skip(1).step_by(2).filter(|text| !text.trim().is_empty()) {
        found.push(EmbeddedCommand::Code(decoded(text)));
    }
}

/// `"rm x" | getline`, `print | "rm x"`.
fn awk(code: &str, found: &mut Vec<EmbeddedCommand>) {
    let mut rest = code;
    let mut piped = false;
    while let Some(at) = rest.find('"') {
        let before = rest.get(..at).unwrap_or_default().trim_end();
        piped |= before.strip_suffix('&').unwrap_or(before).ends_with('|');
        let Some((mut told, mut behind)) = text(rest.get(at..).unwrap_or_default()) else { return };
        while let Some((more, end)) = Some(behind.trim_start()).filter(|next| next.starts_with('"')).and_then(text) {
            told.push_str(&more);
            behind = end;
        }
        let next = behind.trim_start().strip_prefix('|').map(|next| next.trim_start_matches(['&', ' ']));
        if piped || next.is_some_and(|next| next.starts_with("getline")) {
            found.push(EmbeddedCommand::Code(told));
        }
        (rest, piped) = (behind, false);
    }
}

/// `1e rm x`, `s/a/rm x/e`.
fn sed(code: &str, found: &mut Vec<EmbeddedCommand>) {
    for line in code.lines() {
        let starts = line.match_indices([';', '{']).map(|(at, sign)| at + sign.len());
        for command in std::iter::once(0).chain(starts).filter_map(|at| without_address(line.get(at..)?)) {
            let runs =
                |code: &&str| code.trim_start().starts_with(|sign: char| sign.is_ascii_alphabetic() || sign == '/');
            if let Some(code) = command.strip_prefix('e').filter(runs) {
                found.push(EmbeddedCommand::Code(code.to_owned()));
                break;
            }
            found.extend(command.strip_prefix('s').and_then(substituted));
        }
    }
}

/// `1,/x/e rm`: what stands behind the lines that a command is for.
fn without_address(command: &str) -> Option<&str> {
    let signs = |sign: char| sign.is_ascii_digit() || " ,$!~+".contains(sign);
    let mut rest = command.trim_start_matches(signs);
    while let Some(pattern) = rest.strip_prefix('/') {
        rest = pattern.split_once('/')?.1.trim_start_matches(signs);
    }
    Some(rest)
}

fn substituted(command: &str) -> Option<EmbeddedCommand> {
    let sign = command.chars().next().filter(|sign| sign.is_ascii_punctuation())?;
    let mut parts = command.get(1..)?.split(sign).skip(1);
    let (text, flags) = (parts.next()?, parts.next()?);
    let flags = flags.split([';', '}', ' ']).next().unwrap_or_default();
    let evaluates = flags.contains('e') && flags.chars().all(|flag| flag.is_ascii_alphanumeric());
    evaluates.then(|| EmbeddedCommand::Code(text.to_owned()))
}

/// A line of an editor, a calculator, a debugger or a database client that runs a shell command.
fn escape(line: &str, found: &mut Vec<EmbeddedCommand>) {
    const WORDS: [&str; 12] = [
        "shell ",
        "system ",
        ".shell ",
        ".system ",
        "platform shell ",
        "pager ",
        "\\P ",
        "terminal ",
        "term ",
        "ter ",
        "te ",
        "pipe ",
    ];
    if let Some(recipe) = line.strip_prefix('\t') {
        found.push(EmbeddedCommand::Code(recipe.trim_start_matches(['@', '-', '+']).to_owned()));
    }
    let line = line.trim().trim_start_matches([':', ' ']);
    for mark in ["$(shell ", "%("] {
        let called = line.split(mark).skip(1).filter_map(|rest| rest.split(')').next());
        found.extend(called.map(|code| EmbeddedCommand::Code(code.to_owned())));
    }
    // `all: x; rm x` of make.
    let recipe = line.split_once(':').and_then(|(_, rule)| rule.split_once(';')).map(|(_, recipe)| recipe);
    found.extend(recipe.map(|code| EmbeddedCommand::Code(code.to_owned())));
    let lower = line.to_ascii_lowercase();
    if let Some(word) = WORDS.iter().find(|word| lower.starts_with(&word.to_ascii_lowercase())) {
        let code = line.get(word.len()..).unwrap_or_default();
        let code = if *word == "pipe " { code.rsplit('|').next().unwrap_or_default() } else { code };
        found.push(EmbeddedCommand::Code(unquoted(code.trim_end_matches(';'))));
    } else if line.starts_with(['.', '\\', '|']) && line.contains('|') {
        let code = line.rsplit('|').next().unwrap_or_default();
        found.push(EmbeddedCommand::Code(code.trim_end_matches(['"', '\'']).to_owned()));
    } else if let Some((_, (_, code))) = line
        .split_once("\\g")
        .or_else(|| line.split_once("\\o"))
        .and_then(|(start, rest)| Some((start, rest.split_once('|')?)))
    {
        found.push(EmbeddedCommand::Code(code.to_owned()));
    } else if let Some((_, code)) = line.split_once("\\!") {
        found.push(EmbeddedCommand::Code(code.to_owned()));
    } else if let Some(code) = scheduled(line) {
        found.push(EmbeddedCommand::Code(code.to_owned()));
    } else if let Some(code) = banged(line) {
        found.push(EmbeddedCommand::Code(code.to_owned()));
    }
}

fn unquoted(code: &str) -> String {
    let code = code.trim();
    let inner = code.strip_prefix('\'').and_then(|code| code.strip_suffix('\''));
    inner.unwrap_or(code).to_owned()
}

/// What stands behind a `!` that is no part of a command's name (`w!`) and no comparison (`!=`).
fn banged(line: &str) -> Option<&str> {
    line.match_indices('!').find_map(|(at, _)| {
        let (before, code) = (line.get(..at)?.trim_end_matches('!'), line.get(at + 1..)?);
        let word = before.rsplit(|sign: char| !sign.is_ascii_alphabetic()).next().unwrap_or_default();
        let stands = word.is_empty() || matches!(word, "r" | "re" | "rea" | "read" | "norm" | "normal");
        let runs =
            code.trim_start().starts_with(|sign: char| sign.is_ascii_alphanumeric() || "/._~$\"'({".contains(sign));
        (stands && runs).then_some(code)
    })
}

/// The command of a line of a crontab.
fn scheduled(line: &str) -> Option<&str> {
    let time = |field: &str| field.bytes().all(|byte| byte.is_ascii_digit() || b"*/,-".contains(&byte));
    if let Some(rest) = line.strip_prefix('@') {
        return rest.split_once(' ').map(|(_, code)| code);
    }
    let mut rest = line;
    for _ in 0..5 {
        let (field, behind) = rest.split_once([' ', '\t'])?;
        if field.is_empty() || !time(field) {
            return None;
        }
        rest = behind.trim_start();
    }
    Some(rest)
}

/// `COPY t TO PROGRAM 'rm x'`.
fn programs(code: &str, found: &mut Vec<EmbeddedCommand>) {
    let lower = code.to_ascii_lowercase();
    for (at, word) in lower.match_indices("program") {
        let behind = code.get(at + word.len()..).unwrap_or_default().trim_start();
        found.extend(
            Some(behind)
                .filter(|behind| behind.starts_with(['\'', '"']))
                .and_then(text)
                .map(|(text, _)| EmbeddedCommand::Code(text)),
        );
    }
}

/// `spawn rm x` and `exec rm x` of Tcl.
fn bare(code: &str, found: &mut Vec<EmbeddedCommand>) {
    let shells = code.split("$`").skip(1).filter_map(|rest| rest.split('`').next());
    found.extend(shells.map(|code| EmbeddedCommand::Code(code.to_owned())));
    for command in code.split(['\n', ';', '[', '{']) {
        let words = ["spawn ", "exec ", "system "].into_iter().find_map(|word| command.trim_start().strip_prefix(word));
        let words = words.map(|words| words.split([']', '}']).next().unwrap_or_default().trim_start());
        let words = words.map(|words| words.trim_start_matches("-noecho ").trim_start_matches("-ignorestderr "));
        found.extend(
            words
                .filter(|words| words.starts_with(|c: char| c.is_ascii_alphabetic() || "/.".contains(c)))
                .map(|words| EmbeddedCommand::Code(words.to_owned())),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_other_code() {
        for (role, code, said) in [
            (Role::Python, "import os; os.system('rm x')", "rm x;"),
            (Role::Python, "import subprocess; subprocess.run(['rm', '-r', \"x\"], check=True)", "rm|-r|x;"),
            (Role::Python, "from subprocess import *; run('rm x', shell=True)", "rm x;"),
            (Role::Python, "import os; os.execvp('rm', ['rm', 'x'])", "rm|rm|x;"),
            (Role::Python, "import os; os.spawnlp(os.P_WAIT, 'rm', 'rm', 'x')", "rm|rm|x;"),
            (Role::Python, "__import__('os').popen(\"\"\"rm x\"\"\").read()", "rm x;"),
            (Role::Python, "exec(\"import os; os.system('rm x')\")", "rm x;"),
            (Role::Python, "import os; os.system('r' + 'm x')", "rm x;"),
            (Role::Python, "import os; os.system('\\x72m x')", "rm x;"),
            (Role::Python, "c = 'rm x'; os.system(c)", "rm x;"),
            (Role::Python, "getattr(os, 'system')('rm x')", "rm x;"),
            (Role::Python, "cursor.execute('rm x'); print('system')", ""),
            (Role::Node, "require('child_process').execSync('rm x', {encoding: 'utf8'})", "rm x;"),
            (Role::Node, "require(\"child_process\").spawn(\"rm\", [\"x\"])", "rm|x;"),
            (Role::Node, "const {exec} = require('child_process'); exec(`rm x`)", "rm x;"),
            (Role::Node, "/a/.exec('rm x')", ""),
            (Role::Perl, "exec 'rm', 'x'", "rm|x;"),
            (Role::Perl, "exec qw(rm x)", "rm|x;"),
            (Role::Perl, "system(q{rm x}); print 1", "rm x;"),
            (Role::Perl, "print `rm x`", "rm x;"),
            (Role::Perl, "print qx{rm x}", "rm x;"),
            (Role::Perl, "open(F, 'rm x|'); open(my $g, '-|', 'rm', 'y')", "rm x;rm|y;"),
            (Role::Ruby, "system \"rm x\"; IO.popen(['rm', 'y'])", "rm x;rm|y;"),
            (Role::Ruby, "puts %x(rm x)", "rm x;"),
            (Role::Ruby, "open('|rm x')", "rm x;"),
            (Role::Php, "<?php shell_exec(\"rm x\"); echo `rm y`;", "rm x;rm y;"),
            (Role::Code, "os.execute('rm x'); io.popen(\"rm y\")", "rm x;rm y;"),
            (Role::Code, "os:cmd(\"rm x\")", "rm x;"),
            (Role::Code, "(shell-command \"rm x\")", "rm x;"),
            (Role::Code, "run(`rm x`)", "rm x;"),
            (Role::Code, "spawn rm x; expect eof", "rm x;"),
            (Role::Code, "syscmd(`rm x')", "rm x;"),
            (Role::Awk, "BEGIN { system(\"rm x\"); print \"a\" | \"rm y\"; \"rm z\" | getline }", "rm x;rm y;rm z;"),
            (Role::Awk, "{ print $1 \"|\" $2 }", ""),
            (Role::Sed, "1e rm x", " rm x;"),
            (Role::Sed, "s/a/rm x/e;p", "rm x;"),
            (Role::Sed, "/a/e rm x", " rm x;"),
            (Role::Sed, "s/a/end/;w f", ""),
            (Role::Commands, "1 2 +\n!rm x", "rm x;"),
            (Role::Commands, "H\nr !rm x\nw! f\nq", "rm x;"),
            (Role::Commands, ":%!rm x", "rm x;"),
            (Role::Commands, "silent !rm x", "rm x;"),
            (Role::Commands, "call system('rm x')", "rm x;"),
            (Role::Commands, "shell rm x", "rm x;"),
            (Role::Commands, "*/5 * * * * rm x", "rm x;"),
            (Role::Commands, "all: a; rm x", " rm x;"),
            (Role::Commands, "all:\n\trm x", "rm x;"),
            (Role::Commands, "%(rm x)", "rm x;"),
            (Role::Code, "syscmd(rm x)", "rm x;"),
            (Role::Commands, "1 2 !=a", ""),
            (Role::Sql, ".shell rm x", "rm x;"),
            (Role::Sql, ".output |rm x", "rm x;"),
            (Role::Sql, "select 1;\n\\! rm x", " rm x;"),
            (Role::Sql, "select 1; system rm x", "rm x;"),
            (Role::Sql, "select 1 \\g |rm x", "rm x;"),
            (Role::Sql, "COPY t TO PROGRAM 'rm x'", "rm x;"),
            (Role::Sql, "SELECT a != b FROM t", ""),
        ] {
            let found: String = embedded_commands(role, code)
                .into_iter()
                .map(|told| match told {
                    EmbeddedCommand::Code(code) => format!("{code};"),
                    EmbeddedCommand::Words(words) => format!("{};", words.join("|")),
                })
                .collect();
            assert_eq!(found, said, "{code}");
        }
    }
}
