//! Small languages inside arguments: which awk, sed and jq programs are surely harmless.
//!
//! This file decides which code we vouch for: code that can neither run a program nor touch a file by itself. It knows
//! a small safe part of each language and says no to all else.

use super::BUILTINS;

/// An awk program without pipes, redirections, `getline`, `system`, extensions and changes of the file list.
pub(crate) fn awk(program: &str) -> bool {
    const FORBIDDEN: [&str; 8] = ["system", "getline", "ARGV", "ARGC", "SYMTAB", "PROCINFO", "close", "fflush"];
    let without_or = program.replace("||", "  ");
    let plain = !without_or.contains(['|', '@', '`', '\\']) && compares(&without_or);
    plain && !FORBIDDEN.iter().any(|word| program.contains(word)) || awk_with_escapes(program)
}

/// Whether each `>` compares: only behind `print` and `printf` it names a file. Where such a statement ends is read
/// from text in which no string, regular expression or comment can begin.
fn compares(program: &str) -> bool {
    program.match_indices('>').all(|(at, _)| {
        let before = program.get(..at).unwrap_or_default();
        before
            .rsplit_once("print")
            .is_none_or(|(_, since)| !since.contains(['"', '/', '#']) && since.contains([';', '}']))
    })
}

/// Escapes are harmless inside a program that holds none of the characters and names above even when unescaped.
fn awk_with_escapes(program: &str) -> bool {
    let plain = program.replace("\\n", " ").replace("\\t", " ").replace("\\.", " ").replace("\\/", " ");
    !plain.contains('\\') && plain != program && awk(&plain)
}

/// Shell code that bash, dash and the like read alike. `$'\\'; x #'` is one word to bash and runs x in dash.
pub(crate) fn posix_shell(code: &str) -> bool {
    const DIFFER: [&str; 12] = ["$'", "$\"", "&>", ">&", "|&", "<<<", "<(", ">(", "+=", "export", "readonly", "local"];
    // `>&2` and `2>&1` are the same everywhere.
    let duplicates = |digit: char| format!(">&{digit}");
    let plain = ('0'..='9').fold(code.to_owned(), |plain, digit| plain.replace(&duplicates(digit), " "));
    !DIFFER.iter().any(|form| plain.contains(form))
}

/// Shell code of plain words, quotes and the few operators that csh, fish, zsh and bash all read alike: no expansion,
/// no escape, no history, no descriptor.
pub(crate) fn plain_shell(code: &str) -> bool {
    plain_letters(code) && plain_words(code)
}

/// Every word that can be a command means the same to all: `set path=x` looks up programs elsewhere in csh.
fn plain_words(code: &str) -> bool {
    const SAME: [&str; 7] = ["cd", "echo", "exit", "false", "kill", "pwd", "true"];
    let unquoted = code.replace(['\'', '"'], "");
    let mut words = unquoted.split([' ', ';', '|', '&', '<', '>']);
    words.all(|word| {
        let assigns = word.contains('=') && !word.starts_with('-');
        !assigns && (SAME.contains(&word) || BUILTINS.binary_search(&word).is_err())
    })
}

fn plain_letters(code: &str) -> bool {
    let mut rest = code.chars().peekable();
    let mut within_word = false;
    while let Some(letter) = rest.next() {
        let plain = match letter {
            '\'' | '"' => loop {
                match rest.next() {
                    Some(end) if end == letter => break true,
                    None | Some('\\' | '!' | '$' | '`' | '\n') => break false,
                    Some(_) => {}
                }
            },
            '&' => rest.next() == Some('&') && rest.next() == Some(' '),
            '|' => {
                let twice = rest.next_if_eq(&'|').is_some();
                rest.next() == Some(' ') || twice && rest.next().is_none()
            }
            '>' => {
                rest.next_if_eq(&'>');
                !within_word && rest.peek().is_some_and(|next| *next == ' ' || next.is_ascii_alphanumeric())
            }
            '<' => !within_word && rest.peek().is_some_and(|next| *next == ' ' || next.is_ascii_alphanumeric()),
            '=' => within_word,
            ' ' | ';' => true,
            _ => letter.is_ascii_alphanumeric() || "_./,:@%+-".contains(letter),
        };
        if !plain {
            return false;
        }
        within_word = !" ;&|<>".contains(letter);
    }
    true
}

/// A jq program that reads no module or data file by itself.
pub(crate) fn jq(program: &str) -> bool {
    !["import", "include", "modulemeta"].iter().any(|word| program.contains(word))
}

/// A yq expression that names no file, builds no expression and runs nothing, whichever yq it is for.
pub(crate) fn yq(expression: &str) -> bool {
    let subcommand = matches!(expression, "e" | "eval" | "ea" | "eval-all");
    subcommand || jq(expression) && !["load", "eval", "system"].iter().any(|word| expression.contains(word))
}

/// SQL that a client can neither take for a command of its own nor a server for one to touch files or run programs.
/// Tables may have columns of the names that are refused; it is refused all the same.
pub(crate) fn sql(code: &str) -> bool {
    const REFUSED: [&str; 36] = [
        "attach",
        "benchmark",
        "connect",
        "connectby",
        "copy",
        "crosstab",
        "cursor_to_xml",
        "delimiter",
        "do",
        "dumpfile",
        "edit",
        "execute",
        "extension",
        "foreign",
        "fsdir",
        "function",
        "handler",
        "import",
        "infile",
        "install",
        "language",
        "load",
        "outfile",
        "pager",
        "plugin",
        "prepare",
        "procedure",
        "program",
        "server",
        "soname",
        "source",
        "system",
        "tee",
        "ts_stat",
        "uescape",
        "vacuum",
    ];
    const STEMS: [&str; 18] = [
        "dblink",
        "lo_",
        "load_",
        "lsmode",
        "pg_file",
        "pg_ls",
        "pg_read",
        "pg_stat_file",
        "pragma_",
        "query_to",
        "readfile",
        "sys_",
        "temp_store_dir",
        "data_store_dir",
        "trusted_",
        "writable_",
        "writefile",
        "zipfile",
    ];
    if shows_schema(code) {
        return true;
    }
    let code = code.to_ascii_lowercase();
    let mut words = code.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let harmless = |word: &str| !REFUSED.contains(&word) && !STEMS.iter().any(|stem| word.starts_with(stem));
    let client = code.lines().any(|line| line.trim_start().starts_with(['.', '!', '#'])) || code.contains('\\');
    !client && words.all(harmless) && !code.contains("library") && !code.contains("preload")
}

/// A dot command of SQLite that only shows what the data base is like, or how results look.
fn shows_schema(command: &str) -> bool {
    const SHOWS: [&str; 9] =
        [".databases", ".dbinfo", ".dump", ".fullschema", ".headers", ".indexes", ".mode", ".schema", ".tables"];
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._ ".contains(letter);
    command.chars().all(plain) && command.split(' ').next().is_some_and(|name| SHOWS.contains(&name))
}

/// A sed script of addresses and the commands that only edit: no `e`, `r`, `w`, `R`, `W`, `F`, no flag `e` or `w`.
pub(crate) fn sed(script: &str) -> bool {
    let mut sed = Sed { rest: script.as_bytes(), labels: false };
    // Some versions take a label to the end of its line: no other line may then begin as something else.
    sed.script() && !(sed.labels && script.contains('\n'))
}

struct Sed<'a> {
    rest: &'a [u8],
    labels: bool,
}

impl Sed<'_> {
    fn script(&mut self) -> bool {
        loop {
            self.skip(b" \t\n;");
            if self.rest.is_empty() {
                return true;
            }
            if !self.command() {
                return false;
            }
        }
    }

    fn command(&mut self) -> bool {
        if !self.addresses() {
            return false;
        }
        match self.next() {
            Some(b'p' | b'd' | b'n' | b'N' | b'g' | b'G' | b'h' | b'H' | b'x' | b'D' | b'P' | b'=') => self.ends(),
            Some(b'{' | b'}') => true,
            Some(b'q' | b'Q') => {
                self.skip(b"0123456789 ");
                self.ends()
            }
            Some(b's') => self.delimited(2) && self.flags() && self.ends(),
            Some(b'y') => self.delimited(2) && self.ends(),
            Some(b'a' | b'i' | b'c') => self.text(),
            Some(b':' | b'b' | b't' | b'T') => {
                self.labels = true;
                self.label()
            }
            _ => false,
        }
    }

    fn addresses(&mut self) -> bool {
        if !self.address() {
            return false;
        }
        if self.rest.first() == Some(&b',') {
            self.next();
            self.skip(b" ");
            if matches!(self.rest.first(), Some(b'+' | b'~')) {
                self.next();
            }
            if !self.address() {
                return false;
            }
        }
        self.skip(b" !");
        true
    }

    /// A number, `$`, `first~step`, `/regex/`, or nothing.
    fn address(&mut self) -> bool {
        match self.rest.first() {
            Some(b'$') => _ = self.next(),
            Some(b'/') => {
                if !self.delimited(1) {
                    return false;
                }
                self.skip(b"I");
            }
            _ => self.skip(b"0123456789~"),
        }
        self.skip(b" ");
        true
    }

    /// The delimiter, then so many parts that each end with it; a backslash keeps the next character from ending one.
    fn delimited(&mut self, parts: usize) -> bool {
        let Some(delimiter) = self.next().filter(|byte| !b"\\\n".contains(byte) && byte.is_ascii()) else {
            return false;
        };
        for _ in 0..parts {
            loop {
                match self.next() {
                    None => return false,
                    Some(b'\\') if self.next().is_none() => return false,
                    Some(byte) if byte == delimiter => break,
                    Some(_) => {}
                }
            }
        }
        true
    }

    fn flags(&mut self) -> bool {
        self.skip(b"gpiI0123456789");
        true
    }

    fn label(&mut self) -> bool {
        self.skip(b" ");
        while self.rest.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
            self.next();
        }
        self.ends()
    }

    /// One line of text, which must not go on behind a backslash.
    fn text(&mut self) -> bool {
        let length = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
        let line = self.rest.get(..length).unwrap_or_default();
        let plain = !line.contains(&b'\\');
        self.rest = self.rest.get(length..).unwrap_or_default();
        plain
    }

    /// A command ends with a separator or the script.
    fn ends(&mut self) -> bool {
        self.skip(b" \t");
        matches!(self.rest.first(), None | Some(b';' | b'\n' | b'}'))
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip(&mut self, bytes: &[u8]) {
        while self.rest.first().is_some_and(|byte| bytes.contains(byte)) {
            self.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sed_scripts() {
        for script in [
            "s/a/b/",
            "s/;/ rm /",
            "1,10p",
            "$d",
            "/x/d;s|a|b|g",
            "1!G;h;$!d",
            "s/a/\\//gp",
            "/^#/Id",
            "2q",
            "1i text",
            "0~3d",
            "/a/,+2p",
            "s/e/w/2",
            "y/abc/xyz/",
            "/a/{s/b/c/;p}",
            ":a;N;$!ba;s/x/ /g",
            ":a;s/x/y/;ta",
            "/a/b;d",
            "",
        ] {
            assert!(sed(script), "{script}");
        }
        for script in [
            "1e rm",
            "e",
            "s/a/rm/e",
            "w f",
            "s/a/b/w f",
            "r f",
            "R f",
            "W f",
            "s/a/b/we",
            "s/a/b/ge",
            "1!e",
            "{e\n}",
            "F",
            "s/a/b",
            "/a",
            "s\\a\\b\\",
            "a\\\ne rm",
            "l 5",
            "v",
            "b x e",
            ":a\ne rm",
            "/x/b;e rm",
            ":a;s/x\n e rm/y/",
            "s/a/b/m;e",
            "\\,x,e",
            "s/[/]/e/",
            "i\\",
        ] {
            assert!(!sed(script), "{script}");
        }
    }

    #[test]
    fn awk_programs() {
        for program in [
            "{print $1}",
            "{print \"rm\", $1}",
            "NR==1||NR==2",
            "BEGIN{FS=\"\\t\"}{n+=$2}END{print n}",
            "NR>1",
            "$3>=100{print $1}",
            "{print $1; if ($2 > 3) n++}",
        ] {
            assert!(awk(program), "{program}");
        }
        for program in [
            "BEGIN{system(\"rm\")}",
            "{print > \"f\"}",
            "{print | \"sh\"}",
            "{\"ls\" | getline x}",
            "{getline < \"/etc/shadow\"}",
            "BEGIN{ARGV[1]=\"/etc/shadow\"}",
            "@load \"x\"",
            "BEGIN{f=\"sys\\x74em\"}",
            "{print |& \"sh\"}",
            "a|||b",
            "{print $1 > 5}",
            "{print \";\" > \"f\"}",
            "/\"/{print \";\">\"f\"}",
            "{print $1 # ;\n > \"f\"}",
            "{printf(\"x\") > \"f\"}",
            "{print $1,\n$2 > \"f\"}",
            "{print; print $1 >> $2}",
            "sys\\\ntem(1)",
        ] {
            assert!(!awk(program), "{program}");
        }
    }

    #[test]
    fn posix_shell_code() {
        for code in ["ls -l 2>&1 | grep x", "cd a && make >log", "echo \"$x\" '$y'", "A=1 b"] {
            assert!(posix_shell(code), "{code}");
        }
        for code in ["echo $'\\'; rm x #'", "a &> b", "a >& b", "a |& b", "A+=x rm y", "export A=$x", "a <<< b"] {
            assert!(!posix_shell(code), "{code}");
        }
    }

    #[test]
    fn plain_shell_code() {
        for code in ["ls -l; grep 'a(b' x.c", "cd a && make >log", "ls --color=no | wc > n", "a \"b; c\" || d", ""] {
            assert!(plain_shell(code), "{code}");
        }
        for code in [
            "echo '\\'; rm x; echo '\\'",
            "echo (rm x)",
            "echo \"$(rm x)\"",
            "echo $x",
            "echo !rm",
            "echo '!rm'",
            "echo \"\\\"; rm x; \"",
            "a 2>b",
            "a 2>&1",
            "a >& b",
            "a >! b",
            "a & b",
            "a &| b",
            "a |& b",
            "=ls",
            "ls =ls",
            "ls ~x",
            "ls *(e)",
            "a # b",
            "a {b,c}",
            "a\nb",
            "a 'b",
            "a ^ b",
            "set path=x; ls",
            "s'e't path; ls",
            "path=x; ls",
            "alias ls 'rm x'; ls",
            "hash ls; ls",
        ] {
            assert!(!plain_shell(code), "{code}");
        }
    }

    #[test]
    fn sql_statements() {
        for code in [
            "SELECT * FROM users WHERE id = 1",
            "select count(*) from attachments; drop table edited",
            "INSERT INTO t VALUES ('it''s', 'a@b.c')",
            "CREATE TABLE t (a, b)",
            "PRAGMA table_info(t)",
            "explain analyze select 1",
            "show tables",
            ".tables",
            ".schema users",
        ] {
            assert!(sql(code), "{code}");
        }
        for code in [
            ".shell rm x",
            ".schema |rm",
            ".tables\n.shell rm x",
            "select 1;\n .system rm x",
            "\\! rm x",
            "select 1; \\! rm x",
            "system rm x",
            "SELECT readfile('/etc/shadow')",
            "select \"WriteFile\"('a', 'b')",
            "select edit/**/('a', 'vi')",
            "ATTACH 'x' AS y",
            "vacuum into 'x'",
            "select load_extension('x')",
            "COPY t TO PROGRAM 'rm x'",
            "copy t from '/etc/passwd'",
            "select pg_read_file('/etc/passwd')",
            "select lo_import('/etc/passwd')",
            "select * into outfile '/tmp/x' from t",
            "select load_file('/etc/passwd')",
            "load data local infile 'x' into table t",
            "select * from fsdir('.')",
            "do $$ begin end $$",
            "pragma writable_schema=1",
            "set session_preload_libraries = 'x'",
            "select * from query_to_xml('x', true, true, '')",
            "SELECT U&'!0063' UESCAPE '!'",
            "create virtual table t using zipfile('x')",
        ] {
            assert!(!sql(code), "{code}");
        }
    }

    #[test]
    fn jq_programs() {
        assert!(jq(".a[] | select(.b > 1)"));
        for program in ["import \"/etc/secret\" as $s; $s", "include \"x\"; f", "\"x\" | modulemeta"] {
            assert!(!jq(program), "{program}");
        }
    }

    #[test]
    fn yq_expressions() {
        for expression in [".a.b", ".a = 1 | .b += [\"x\"]", "select(.a > 1) | keys"] {
            assert!(yq(expression), "{expression}");
        }
        for expression in [
            "load(\"/etc/shadow\")",
            "load_str(\"x\")",
            "eval(\"lo\" + \"ad(.a)\")",
            "system(\"rm\")",
            "include \"x\"; f",
        ] {
            assert!(!yq(expression), "{expression}");
        }
    }
}
