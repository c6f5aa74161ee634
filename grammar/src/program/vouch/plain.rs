//! Programs of node, Ruby and PHP that print literals and what they compute from them.
//!
//! One small part that these languages have in common: literals, operators, listed names and listed methods. A bracket
//! that could look a property up by its name, or call what a text names, is refused.

use super::{MAX_CODE, Touched};
use crate::inventory::EffectKind;

/// A program of node, and what it touches.
pub(crate) fn node(code: &str) -> Option<Vec<Touched>> {
    const NAMES: &[&str] = &[
        "console.log",
        "console.error",
        "console.info",
        "console.warn",
        "JSON.stringify",
        "JSON.parse",
        "Math.PI",
        "Math.E",
        "Math.abs",
        "Math.max",
        "Math.min",
        "Math.floor",
        "Math.ceil",
        "Math.round",
        "Math.sqrt",
        "Math.pow",
        "Math.random",
        "Math.trunc",
        "Math.log",
        "Math.log2",
        "Math.log10",
        "process.version",
        "process.versions",
        "process.versions.node",
        "process.versions.v8",
        "process.platform",
        "process.arch",
        "process.cwd",
        "process.argv",
        "process.exit",
        "process.pid",
        "process.uptime",
        "process.memoryUsage",
        "Date.now",
        "Number",
        "String",
        "Boolean",
        "parseInt",
        "parseFloat",
        "isNaN",
        "encodeURIComponent",
        "decodeURIComponent",
        "encodeURI",
        "decodeURI",
        "Object.keys",
        "Object.values",
        "Object.entries",
        "Array.isArray",
        "Number.isInteger",
        "Number.MAX_SAFE_INTEGER",
        "true",
        "false",
        "null",
        "undefined",
        "NaN",
        "Infinity",
        "typeof",
    ];
    const METHODS: &[&str] = &[
        "length",
        "toString",
        "toFixed",
        "toUpperCase",
        "toLowerCase",
        "trim",
        "split",
        "join",
        "slice",
        "substring",
        "includes",
        "indexOf",
        "lastIndexOf",
        "startsWith",
        "endsWith",
        "padStart",
        "padEnd",
        "repeat",
        "concat",
        "reverse",
        "sort",
        "keys",
        "values",
        "at",
        "charAt",
        "charCodeAt",
        "codePointAt",
        "flat",
        "version",
        "name",
        "dependencies",
        "devDependencies",
        "scripts",
        "engines",
        "main",
        "type",
    ];
    let node = Language {
        names: NAMES,
        methods: METHODS,
        functions: &[],
        double: &['`'],
        index: false,
        sigils: false,
        require: true,
    };
    node.read(code)
}

/// A Ruby program.
pub(crate) fn ruby(code: &str) -> bool {
    const NAMES: &[&str] = &[
        "puts",
        "print",
        "p",
        "pp",
        "RUBY_VERSION",
        "RUBY_PLATFORM",
        "RUBY_ENGINE",
        "RUBY_PATCHLEVEL",
        "Time.now",
        "Time.now.to_i",
        "Dir.pwd",
        "ARGV",
        "true",
        "false",
        "nil",
        "Math.sqrt",
        "Integer",
        "Float",
        "String",
        "STDIN.read",
        "JSON.parse",
        "JSON.generate",
        "JSON.pretty_generate",
        "rand",
    ];
    const METHODS: &[&str] = &[
        "upcase",
        "downcase",
        "capitalize",
        "swapcase",
        "reverse",
        "length",
        "size",
        "to_s",
        "to_i",
        "to_f",
        "to_a",
        "inspect",
        "join",
        "sort",
        "uniq",
        "sum",
        "max",
        "min",
        "first",
        "last",
        "strip",
        "chomp",
        "split",
        "chars",
        "lines",
        "bytes",
        "abs",
        "round",
        "floor",
        "ceil",
        "keys",
        "values",
        "include",
        "count",
        "flatten",
        "compact",
        "center",
        "ljust",
        "rjust",
        "even",
        "odd",
        "zero",
        "hex",
        "oct",
        "ord",
        "chr",
    ];
    let ruby = Language {
        names: NAMES,
        methods: METHODS,
        functions: &[],
        double: &['#', '`'],
        index: true,
        sigils: false,
        require: false,
    };
    !code.contains("<<") && !code.contains(":") && ruby.read(code).is_some()
}

/// A PHP program, as `php -r` takes it.
pub(crate) fn php(code: &str) -> bool {
    const NAMES: &[&str] = &[
        "echo",
        "print",
        "PHP_VERSION",
        "PHP_EOL",
        "PHP_OS",
        "PHP_OS_FAMILY",
        "PHP_INT_MAX",
        "PHP_INT_SIZE",
        "PHP_MAJOR_VERSION",
        "PHP_MINOR_VERSION",
        "M_PI",
        "true",
        "false",
        "null",
        "JSON_PRETTY_PRINT",
        "array",
    ];
    const FUNCTIONS: &[&str] = &[
        "phpversion",
        "php_uname",
        "php_sapi_name",
        "json_encode",
        "json_decode",
        "strlen",
        "strtoupper",
        "strtolower",
        "ucfirst",
        "trim",
        "str_repeat",
        "strrev",
        "substr",
        "implode",
        "explode",
        "count",
        "max",
        "min",
        "abs",
        "round",
        "floor",
        "ceil",
        "sqrt",
        "pow",
        "intdiv",
        "time",
        "date",
        "md5",
        "sha1",
        "crc32",
        "base64_encode",
        "base64_decode",
        "bin2hex",
        "dechex",
        "hexdec",
        "urlencode",
        "urldecode",
        "htmlspecialchars",
        "number_format",
        "sprintf",
        "printf",
        "var_dump",
        "print_r",
        "var_export",
        "array_sum",
        "range",
        "sort",
        "uniqid",
        "random_int",
        "memory_get_usage",
        "getcwd",
        "gettype",
        "intval",
        "strval",
        "in_array",
        "str_contains",
        "str_pad",
        "extension_loaded",
        "function_exists",
        "get_loaded_extensions",
        "ini_get",
    ];
    let php = Language {
        names: NAMES,
        methods: &[],
        functions: FUNCTIONS,
        double: &['$', '{'],
        index: true,
        sigils: false,
        require: false,
    };
    !code.contains("<<") && !code.contains("?>") && php.read(code).is_some()
}

struct Language {
    /// Names that are harmless as they are, with what stands behind their dots.
    names: &'static [&'static str],
    /// Names that are harmless behind a dot, of any value.
    methods: &'static [&'static str],
    /// Names that must be called.
    functions: &'static [&'static str],
    /// What may not stand in a text in double quotes.
    double: &'static [char],
    /// A value may be indexed.
    index: bool,
    /// Variables.
    sigils: bool,
    /// `require` of a JSON file.
    require: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Value,
    /// A name that may be called.
    Callable,
    /// A name that takes words behind it without brackets.
    Word,
}

impl Language {
    fn read(&self, code: &str) -> Option<Vec<Touched>> {
        let plain = code.bytes().all(|byte| byte == b'\n' || (b' '..0x7f).contains(&byte));
        if !plain || code.len() > MAX_CODE || self.sigils {
            return None;
        }
        let mut touched = Vec::new();
        let mut rest = code;
        let mut before = Before::Nothing;
        while let Some(first) = rest.chars().next() {
            let after = rest.get(first.len_utf8()..)?;
            match first {
                ' ' => rest = after,
                '\'' | '"' => {
                    rest = self.text(first, after)?;
                    before = Before::Value;
                }
                '0'..='9' => {
                    let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                    rest = rest.get(length..)?;
                    if let Some(fraction) =
                        rest.strip_prefix('.').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
                    {
                        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
                    }
                    if rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                        return None;
                    }
                    before = Before::Value;
                }
                'a'..='z' | 'A'..='Z' | '_' => {
                    let (name, behind) = dotted(rest);
                    if name == "require" && self.require {
                        let (path, behind) = required(behind)?;
                        touched.push((EffectKind::Read, path.clone()));
                        // Where the file is not there, one whose name goes on is run.
                        touched.push((EffectKind::Execute, path));
                        (rest, before) = (behind, Before::Value);
                        continue;
                    }
                    let call = behind.trim_start_matches(' ').starts_with('(');
                    before = match () {
                        () if before == Before::Value || before == Before::Callable => return None,
                        () if self.functions.contains(&name) && call => Before::Callable,
                        () if self.names.contains(&name) => {
                            if call {
                                Before::Callable
                            } else {
                                Before::Word
                            }
                        }
                        () => return None,
                    };
                    rest = behind;
                }
                '.' if before != Before::Nothing && after.starts_with(|c: char| c.is_ascii_lowercase()) => {
                    let length = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                    let (name, behind) = after.split_at_checked(length)?;
                    if !self.methods.contains(&name) {
                        return None;
                    }
                    (rest, before) = (behind, Before::Callable);
                }
                '(' => {
                    if before == Before::Value {
                        return None;
                    }
                    (rest, before) = (after, Before::Nothing);
                }
                '[' => {
                    if before != Before::Nothing && before != Before::Word && !self.index {
                        return None;
                    }
                    if before == Before::Word && !self.index {
                        return None;
                    }
                    (rest, before) = (after, Before::Nothing);
                }
                ')' | ']' => (rest, before) = (after, Before::Value),
                '\n' | ';' | ',' => (rest, before) = (after, Before::Nothing),
                '-' | '+' | '!' => {
                    if after.starts_with(first) || after.starts_with('>') {
                        return None;
                    }
                    (rest, before) = (after, Before::Nothing);
                }
                // Behind anything but a value these may begin a literal or a comment.
                '*' | '%' | '/' | '<' | '>' | '=' | '?' | ':' | '.' | '&' | '|'
                    if before == Before::Value || before == Before::Callable || after.starts_with('=') =>
                {
                    let comment =
                        first == '/' && after.starts_with(['/', '*']) || first == '<' && after.starts_with('!');
                    let more = after.trim_start_matches(['=', '&', '|', '*', '>', '<']);
                    if comment || before == Before::Nothing || before == Before::Word {
                        return None;
                    }
                    if first == '=' && !after.starts_with('=') {
                        return None;
                    }
                    (rest, before) = (more, Before::Nothing);
                }
                _ => return None,
            }
        }
        Some(touched)
    }

    /// A text up to its quote.
    fn text<'c>(&self, quote: char, text: &'c str) -> Option<&'c str> {
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => {
                    // Octal, hexadecimal and other escapes are left out: they could spell what is looked for here.
                    chars.next().filter(|(_, next)| matches!(next, 'n' | 't' | '\\' | '\'' | '"'))?;
                }
                '\n' => return None,
                c if c == quote => return text.get(at + 1..),
                c if quote == '"' && self.double.contains(&c) => return None,
                _ => {}
            }
        }
        None
    }
}

/// A name with dots in it, and what is behind it.
fn dotted(text: &str) -> (&str, &str) {
    let mut length = 0;
    loop {
        let rest = text.get(length..).unwrap_or_default();
        let part = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        length += part;
        let more = rest.get(part..).unwrap_or_default().strip_prefix('.');
        if part == 0 || more.is_none_or(|more| !more.starts_with(|c: char| c.is_ascii_alphabetic())) {
            return text.split_at_checked(length).unwrap_or_default();
        }
        length += 1;
    }
}

/// `('./x.json')`.
fn required(text: &str) -> Option<(String, &str)> {
    let inside =
        text.strip_prefix("('").map(|rest| (rest, "')")).or(text.strip_prefix("(\"").map(|rest| (rest, "\")")))?;
    let (path, behind) = inside.0.split_once(inside.1)?;
    let plain = path.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_' | '-'));
    let local = path.starts_with("./") || path.starts_with("../") || path.starts_with('/');
    (plain && local && path.ends_with(".json")).then(|| (path.to_owned(), behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_programs() {
        for code in [
            "",
            "1+1",
            "1 + 2 * (3 - 4) / 5 % 6",
            "console.log(1)",
            "console.log('rm -rf /', \"x\")",
            "console.log(JSON.stringify([1, 'a', null]))",
            "process.version",
            "process.versions.node",
            "console.log(process.version); console.log(process.platform)",
            "Math.max(1, 2)",
            "'abc'.toUpperCase().length",
            "[1,2,3].join('-')",
            "2 ** 10",
            "1 === 1",
            "1 < 2 ? 'a' : 'b'",
            "typeof 1",
            "Date.now()",
            "process.exit(1)",
            "encodeURIComponent('a b')",
        ] {
            assert_eq!(node(code), Some(Vec::new()), "{code}");
        }
        let touched =
            vec![(EffectKind::Read, "./package.json".to_owned()), (EffectKind::Execute, "./package.json".to_owned())];
        assert_eq!(node("require('./package.json').version"), Some(touched.clone()));
        assert_eq!(node("console.log(require(\"./package.json\").version)"), Some(touched));
        for code in [
            "require('fs')",
            "require('./x.js')",
            "require('./x')",
            "require('x.json')",
            "require('./x.json' + y)",
            "require(`./x.json`)",
            "require",
            "require('child_process').execSync('rm')",
            "eval('1')",
            "Function('x')()",
            "new Function('x')",
            "[]['constructor']",
            "'a'['constructor']",
            "(1)['constructor']",
            "console['log']",
            "console.log['constructor']",
            "console.log.constructor('x')()",
            "'a'.constructor",
            "console.log.call",
            "process.binding('x')",
            "process.mainModule",
            "process.env.X",
            "process.kill(1)",
            "process.stdout.write('x')",
            "globalThis",
            "this",
            "import('fs')",
            "import fs from 'fs'",
            "`${1}`",
            "x = 1",
            "let x = 1",
            "var x",
            "() => 1",
            "function f() {}",
            "console.log(1) // x",
            "/x/.test('x')",
            "1 /* x */",
            "<!-- x",
            "1 --> x",
            "{a: 1}",
            "\u{e9}",
            "1\r2",
            "'\\x41'",
            "'\\u0041'",
            "'a",
            "console.log(1)(2)",
            "'a'('b')",
            "console\n.log(1)",
            "console . log",
            "\\u0065val('1')",
            "#!x",
            "@x",
            "Object.assign(1)",
            "[].map(1)",
            "[1][0]",
            "1..constructor",
            "1.constructor",
        ] {
            assert_eq!(node(code), None, "{code}");
        }
    }

    #[test]
    fn ruby_programs() {
        for code in [
            "puts 1",
            "puts 1+1",
            "puts 'rm -rf /'",
            "puts \"a\\n\"",
            "print 'a', 'b'",
            "p [1, 2].sum",
            "puts RUBY_VERSION",
            "puts 'abc'.upcase.reverse",
            "puts Time.now",
            "p 7 % 3",
            "puts JSON.parse(STDIN.read)['a']",
        ] {
            assert!(ruby(code), "{code}");
        }
        for code in [
            "system 'rm'",
            "`rm`",
            "puts `rm`",
            "puts %x(rm)",
            "puts %x{rm}",
            "%x(rm)",
            "puts \"#{`rm`}\"",
            "exec 'rm'",
            "eval 'x'",
            "puts 1.send('x')",
            "puts 'a'.instance_eval('x')",
            "open('|rm')",
            "File.read('x')",
            "IO.popen('x')",
            "Kernel.system('x')",
            "Kernel::system('x')",
            "require 'x'",
            "load 'x'",
            "puts <<A\nx\nA",
            "puts :a",
            "puts /x/",
            "$x",
            "@x",
            "puts ARGF.read",
            "puts DATA",
            "__END__",
            "BEGIN { x }",
            "[1].each { |x| y }",
            "at_exit { x }",
            "x = 1",
            "puts \"\\x60\"",
            "puts gets",
            "# x",
            "puts ?a",
            "JSON.load('x')",
            "puts &x",
            "puts *x",
        ] {
            assert!(!ruby(code), "{code}");
        }
    }

    #[test]
    fn php_programs() {
        for code in [
            "echo 1;",
            "echo 1+1;",
            "echo 'rm -rf /';",
            "echo PHP_VERSION;",
            "echo phpversion();",
            "echo strlen('abc') . \"\\n\";",
            "echo json_encode([1, 2]);",
            "print 'a';",
            "var_dump(1 == 1);",
        ] {
            assert!(php(code), "{code}");
        }
        for code in [
            "system('rm');",
            "echo `rm`;",
            "'system'('rm');",
            "('system')('rm');",
            "['system'][0]('rm');",
            "echo \"{$x}\";",
            "echo \"$x\";",
            "$x = 1;",
            "include 'x';",
            "require 'x';",
            "eval('x');",
            "file_get_contents('x');",
            "array_map('system', ['rm']);",
            "usort($x, 'system');",
            "echo <<<A\nx\nA;",
            "?>x<?php",
            "// x",
            "# x",
            "/* x */",
            "new X;",
            "X::f();",
            "f();",
            "\\system('x');",
            "phpinfo();",
            "echo strlen;",
            "json_encode('a')('b');",
            "\"\\x73ystem\"('x');",
            "mail('a');",
            "function f() {}",
            "@f();",
            "exit(system('x'));",
        ] {
            assert!(!php(code), "{code}");
        }
    }
}
