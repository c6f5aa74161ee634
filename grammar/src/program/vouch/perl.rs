//! Perl one-liners that edit and print text.
//!
//! What is vouched for: words, variables and operators from short lists, patterns without code and without variables in
//! them. Perl decides by what stands before a `/` whether it divides; where that is not plain the program is refused.

use super::MAX_CODE;

/// A program that touches nothing but text, for `-e`, `-n` and `-p`.
pub(crate) fn perl(code: &str) -> bool {
    let plain = code.len() <= MAX_CODE && code.bytes().all(|byte| byte == b'\n' || (b' '..0x7f).contains(&byte));
    let mut scan = Scan { rest: code, before: Before::Operator, depth: 0 };
    plain && scan.all().is_some() && scan.depth == 0
}

/// Functions and operators that are words.
const WORDS: &[&str] = &[
    "BEGIN", "END", "STDERR", "STDOUT", "abs", "and", "chomp", "chr", "cmp", "cos", "defined", "else", "elsif", "eq",
    "exit", "exp", "foreach", "for", "ge", "gt", "hex", "if", "index", "int", "join", "keys", "last", "lc", "lcfirst",
    "le", "length", "local", "log", "lt", "my", "ne", "next", "not", "oct", "or", "ord", "print", "printf", "push",
    "rand", "reverse", "rindex", "say", "scalar", "shift", "sin", "splice", "split", "sprintf", "sqrt", "substr",
    "time", "uc", "ucfirst", "undef", "unless", "values", "while", "x", "xor",
];

/// Words behind which a `/` begins a pattern.
const BEFORE_PATTERN: &[&str] = &["BEGIN", "END", "and", "else", "if", "not", "or", "unless", "while", "split", "xor"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// An operand is expected.
    Operator,
    /// An operator is expected.
    Operand,
    /// A function, behind which it is not plain what `/` and the like are.
    Function,
}

struct Scan<'c> {
    rest: &'c str,
    before: Before,
    depth: usize,
}

impl Scan<'_> {
    fn all(&mut self) -> Option<()> {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\n']);
            let Some(first) = self.rest.chars().next() else { return Some(()) };
            match first {
                'a'..='z' | 'A'..='Z' => self.word()?,
                '0'..='9' => self.number()?,
                '$' => self.variable()?,
                '@' => self.array()?,
                '"' => self.quoted(true)?,
                '\'' => self.quoted(false)?,
                '/' if self.before == Before::Operator => {
                    self.skip(1)?;
                    self.pattern('/')?;
                    self.flags()?;
                    self.before = Before::Operand;
                }
                _ => self.operator()?,
            }
        }
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }

    fn name(&mut self) -> &str {
        let rest = self.rest;
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, rest) = rest.split_at_checked(length).unwrap_or_default();
        self.rest = rest;
        name
    }

    fn word(&mut self) -> Option<()> {
        let before = self.before;
        let word = self.name().to_owned();
        // `=>` makes a name of any word, `::` and `'` make it part of another one.
        if self.rest.starts_with([':', '\'']) || self.rest.trim_start().starts_with("=>") {
            return None;
        }
        match word.as_str() {
            "s" | "tr" | "y" | "m" if before != Before::Operand => return self.editing(&word),
            // `x3` repeats three times.
            _ if before == Before::Operand
                && word.strip_prefix('x').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())) => {}
            "split" if !self.separator_follows() => return None,
            _ if !WORDS.contains(&word.as_str()) => return None,
            _ => {}
        }
        let operator = matches!(
            word.as_str(),
            "and" | "or" | "not" | "x" | "xor" | "eq" | "ne" | "lt" | "gt" | "le" | "ge" | "cmp"
        );
        self.before = match () {
            () if operator || BEFORE_PATTERN.contains(&word.as_str()) => Before::Operator,
            () => Before::Function,
        };
        Some(())
    }

    /// `s/…/…/`, `tr/…/…/`, `m/…/`.
    fn editing(&mut self, word: &str) -> Option<()> {
        let delimiter =
            self.rest.chars().next().filter(|c| matches!(c, '/' | '|' | ',' | '!' | '#' | ':' | '%' | '~'))?;
        self.skip(1)?;
        match word {
            "m" => self.pattern(delimiter)?,
            "s" => {
                self.pattern(delimiter)?;
                let text = self.part(delimiter)?;
                interpolated(&text)?;
            }
            _ => {
                self.part(delimiter)?;
                self.part(delimiter)?;
            }
        }
        self.flags()?;
        self.before = Before::Operand;
        Some(())
    }

    /// `e` runs the replacement, and what is not known may as well.
    fn flags(&mut self) -> Option<()> {
        self.name().bytes().all(|flag| b"gimsxcdr".contains(&flag)).then_some(())
    }

    fn pattern(&mut self, delimiter: char) -> Option<()> {
        let text = self.part(delimiter)?;
        let code = text.contains("(?{") || text.contains("(??") || text.contains("(?p") || text.contains("(*");
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' => _ = chars.next(),
                '@' => return None,
                '$' if !matches!(chars.peek(), None | Some(')' | '|')) => return None,
                _ => {}
            }
        }
        (!code && !text.contains("\\N{")).then_some(())
    }

    /// Up to the delimiter, which a backslash protects.
    fn part(&mut self, delimiter: char) -> Option<String> {
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                chars.next()?;
            } else if c == delimiter {
                let (text, rest) = self.rest.split_at_checked(at)?;
                let text = text.to_owned();
                self.rest = rest.get(1..)?;
                return Some(text);
            }
        }
        None
    }

    fn quoted(&mut self, double: bool) -> Option<()> {
        self.skip(1)?;
        let text = self.part(if double { '"' } else { '\'' })?;
        if double {
            interpolated(&text)?;
        }
        self.before = Before::Operand;
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let length = self.rest.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(self.rest.len());
        self.skip(length)?;
        if let Some(fraction) =
            self.rest.strip_prefix('.').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        {
            let length = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
            self.skip(1 + length)?;
        }
        if self.rest.starts_with(|c: char| c.is_ascii_alphabetic() && c != 'x')
            || self.rest.starts_with('x') && length == 1
        {
            return None;
        }
        self.before = Before::Operand;
        Some(())
    }

    /// `$_`, `$.`, `$1`, `$name`, with `[…]` or `{…}` behind it.
    fn variable(&mut self) -> Option<()> {
        self.skip(1)?;
        if self.rest.starts_with("#F") {
            self.skip(1)?;
        }
        if self.rest.starts_with(['.', '&']) {
            self.skip(1)?;
            self.before = Before::Operand;
            return Some(());
        }
        let name = self.name().to_owned();
        self.before = Before::Operand;
        harmless_name(&name).then_some(())
    }

    fn array(&mut self) -> Option<()> {
        self.skip(1)?;
        let name = self.name().to_owned();
        self.before = Before::Operand;
        harmless_name(&name).then_some(())
    }

    fn operator(&mut self) -> Option<()> {
        const TWO: [&str; 26] = [
            "++", "--", "**", "=~", "!~", "==", "!=", "<=", ">=", "&&", "||", "//", "..", "+=", "-=", "*=", "/=", ".=",
            "%=", "x=", "||", "=>", "->", "::", "<<", ">>",
        ];
        const REFUSED: [&str; 6] = ["=>", "->", "::", "<<", ">>", "<>"];
        if REFUSED.iter().any(|op| self.rest.starts_with(op)) {
            return None;
        }
        let first = self.rest.chars().next()?;
        let two = TWO.iter().any(|op| self.rest.starts_with(op));
        let unary = matches!(first, '-' | '+' | '!' | '(' | ')' | '{' | '}' | ';' | '[' | ']' | ',');
        // Behind a function `<`, `%`, `&`, `*`, `?` and `.` may begin an operand.
        if self.before != Before::Operand && !unary {
            return None;
        }
        if first == '-'
            && self.before != Before::Operand
            && self.rest.get(1..)?.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            return None; // a file test
        }
        match first {
            '(' | '[' | '{' => self.depth += 1,
            ')' | ']' | '}' => self.depth = self.depth.checked_sub(1)?,
            '+' | '-' | '*' | '/' | '%' | '.' | '<' | '>' | '=' | '!' | '?' | ':' | ',' | ';' | '&' | '|' | '^' => {}
            _ => return None,
        }
        // `print {…}` computes where it prints to.
        if first == '{' && self.before == Before::Function {
            return None;
        }
        self.before = match first {
            ')' | ']' => Before::Operand,
            '}' => Before::Function,
            _ if two && (self.rest.starts_with("++") || self.rest.starts_with("--")) => self.before,
            _ => Before::Operator,
        };
        let binds = self.rest.starts_with("=~") || self.rest.starts_with("!~");
        self.skip(if two { 2 } else { 1 })?;
        (!binds || self.pattern_follows()).then_some(())
    }

    /// A pattern that is written as one: in a text, code would not be seen.
    fn pattern_follows(&self) -> bool {
        let rest = self.rest.trim_start_matches(' ');
        let behind = ["tr", "s", "m", "y"].iter().find_map(|word| rest.strip_prefix(word));
        let delimited = |rest: &str| rest.starts_with(['/', '|', ',', '!', '#', ':', '%', '~']);
        rest.starts_with('/') || behind.is_some_and(delimited)
    }

    /// `split /…/`, or one character in quotes.
    fn separator_follows(&self) -> bool {
        let rest = self.rest.trim_start_matches([' ', '(']);
        let mut chars = rest.chars();
        let (first, text, last) = (chars.next(), chars.next(), chars.next());
        let quoted = matches!(first, Some('"' | '\'')) && first == last && !matches!(text, Some('\\' | '('));
        rest.starts_with('/') || quoted && chars.as_str().trim_start().starts_with(',')
    }
}

/// Names of the program's own; those in capitals are Perl's, but for the fields of a line.
fn harmless_name(name: &str) -> bool {
    name == "_"
        || name == "F"
        || !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) && name != "0"
        || name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.contains("__")
}

/// Text in which variables are filled in: digits and names of the program's own, no subscripts and no code.
fn interpolated(text: &str) -> Option<()> {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                'N' | 'c' => return None,
                _ => {}
            },
            '@' => return None,
            '$' => {
                let mut name = String::new();
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                if name.is_empty() {
                    chars.next_if(|c| matches!(c, '&' | '.'))?;
                } else if !harmless_name(&name) {
                    return None;
                }
                // A subscript is code; `F[0]` is harmless.
                let rest: String = chars.clone().take_while(|c| *c != ']').collect();
                let field =
                    rest.strip_prefix('[').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
                if rest.starts_with("::") || rest.starts_with(['{', '-', '\'']) || rest.starts_with('[') && !field {
                    return None;
                }
            }
            _ => {}
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perl_programs() {
        for code in [
            "",
            "s/a/b/",
            "s/a/b/g; s|x|y|i",
            "s/(\\w+)/<$1>/g",
            "s/^\\s+|\\s+$//g",
            "tr/a-z/A-Z/",
            "y/a/b/",
            "print",
            "print if /x/",
            "print unless m/x$/i",
            "print if $. == 5",
            "print if 5 .. 10",
            "print if $. >= 5 and $. <= 10",
            "next if /^#/; print",
            "last if $. > 3",
            "print $1 if /(\\d+)/",
            "print \"$1\\n\" if /(a|b)/",
            "print \"rm -rf /\\n\"",
            "print \"$.: $_\"",
            "print 'rm -rf /'",
            "print 1+1",
            "print 2**10, \"\\n\"",
            "print \"a\" x 3",
            "print \"=\" x80",
            "print $F[0]",
            "print \"$F[0] $F[2]\\n\"",
            "print join(\",\", @F)",
            "$n += $F[1]; END { print $n }",
            "$seen{$_}++ or print",
            "print unless $seen{$_}++",
            "if (/a/) { print } else { s/b/c/; print }",
            "printf(\"%d\\n\", 3/2)",
            "print scalar reverse \"abc\"",
            "chomp; print length($_), \"\\n\"",
            "my $x = 1; print $x * 2",
            "print STDERR \"x\"",
            "print uc $_",
            "exit 1 if $_ eq \"x\"",
            "BEGIN { $n = 1 } print $n++",
            "print (1 + 2)",
            "say for 1 .. 3",
            "$_ = lc; print",
            "print ((split /,/)[1])",
            "print join \"-\", split(\",\", $_)",
            "$a =~ s/x/y/; print $a / 2",
        ] {
            assert!(perl(code), "{code}");
        }
        for code in [
            "system 'rm'",
            "system(\"rm\")",
            "exec 'rm'",
            "`rm`",
            "qx/rm/",
            "qx(rm)",
            "open(F, 'x')",
            "unlink 'x'",
            "print `rm`",
            "eval 'x'",
            "do 'x.pl'",
            "require x",
            "use x",
            "s/a/system('rm')/e",
            "s/a/b/ee",
            "s/a/b/gee",
            "s{a}{b}e",
            "s(a)(b)",
            "s'a'b'e",
            "s/(?{system('rm')})//",
            "/(??{1})/",
            "/@{[system 'rm']}/",
            "s/a/@{[system 'rm']}/",
            "print \"@{[system 'rm']}\"",
            "print \"${\\system('rm')}\"",
            "print \"$x[system('rm')]\"",
            "print \"$x{rm}\"",
            "print \"$x->[0]\"",
            "s/a/$x{`rm`}/",
            "s/$x/b/",
            "/$x/",
            "/a$b/",
            "$x->()",
            "&f",
            "&$x",
            "$x = sub { 1 }",
            "goto x",
            "-e 'x'",
            "-l $x and print",
            "<STDIN>",
            "<*>",
            "while (<>) { print }",
            "print <x>",
            "$^X",
            "$0 = 'x'",
            "$| = 1",
            "$, = 1",
            "$; = 1",
            "$SIG{ALRM} = 'x'",
            "$ENV{PATH}",
            "@ARGV = ('rm|')",
            "push @ARGV, 'rm|'",
            "$ARGV = 'x'",
            "$INC{x}",
            "@{x}",
            "${x}",
            "%x",
            "*x = *y",
            "x::y()",
            "CORE::system('x')",
            "print{x} 1",
            "fork",
            "kill 9, 1",
            "sort f @x",
            "map { f } @x",
            "f()",
            "f",
            "q(x)",
            "qq{@{[1]}}",
            "<<x\nrm\nx",
            "__END__",
            "=pod",
            "$_ =~ '(?{system(1)})'",
            "$_ =~ \"(\" . \"?{1})\"",
            "$_ =~ sprintf(1)",
            "split '(?{1})', $_",
            "split '(' . '?{1})', $_",
            "split sprintf(1), $_",
            "# x",
            "1 / 2; system('rm') / 1",
            "print /x/ ; system 'rm'; /",
            "length /x/; system('rm')",
            "time /1; system('x') # /",
            "print %x",
            "print $x{a} / 2; system('rm'); /",
            "s/a",
            "s/a/b",
            "\"a",
            "(1",
            "1)",
            "s/a/b/\u{1}",
            "é",
            "a => 1",
            "local $SIG{ALRM}",
            "print 0x41",
            "1.e5",
            "no strict",
            "format =",
            "dump",
            "sleep 1",
            "tie $x, 'y'",
            "bless $x",
            "$x = \\&f",
            "\\$x",
        ] {
            assert!(!perl(code), "{code}");
        }
    }
}
