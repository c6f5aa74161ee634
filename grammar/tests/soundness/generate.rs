//! Random scripts from bash's grammar, leaning to what is easily misread.
//!
//! Programs are the markers `m0` to `m9`, which do nothing; what matters is in which positions they stand. A script may be
//! broken on purpose: what counts is that what bash runs of it is told.

/// Numbers that follow from a seed alone.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or_default()
    }

    pub(crate) fn between(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let index = self.below(from.len());
        *from.get(index).unwrap()
    }

    /// True once in `times`.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// The script of a seed.
pub(crate) fn script(seed: u64) -> String {
    let mut random = Random::new(seed);
    let room = random.between(1, 12);
    let mut maker = Maker { random, room };
    let mut script = maker.list(0);
    if maker.random.once_in(4) {
        for _ in 0..maker.random.between(1, 2) {
            script = maker.damaged(&script);
        }
    }
    script
}

struct Maker {
    random: Random,
    /// Constructs that the script may still get.
    room: usize,
}

impl Maker {
    fn list(&mut self, depth: usize) -> String {
        let mut script = self.statement(depth);
        for _ in 0..self.random.below(if depth == 0 { 3 } else { 2 }) {
            let next = self.statement(depth);
            script = self.joined(&script, &next);
        }
        script
    }

    fn joined(&mut self, first: &str, next: &str) -> String {
        if first.ends_with('\n') {
            return format!("{first}{next}");
        }
        // A comment may hold anything; what follows is on a line of its own.
        let joins = [
            "; ",
            ";",
            "\n",
            "\n\n",
            " && ",
            " || ",
            " & ",
            "&",
            " # it's `m9` $(m9) \"\n",
            " \\\n && ",
            " &&\n",
            " ||\\\n",
            ";\n# )\n",
            " &&# x\n",
        ];
        format!("{first}{}{next}", self.random.pick(&joins))
    }

    /// The same with what has to stand before a closing word.
    fn closed(&mut self, depth: usize) -> String {
        let list = self.list(depth);
        if list.ends_with('\n') {
            return list;
        }
        format!("{list}{}", self.random.pick(&["; ", ";", "\n", " &\n", " # x\n", ";\\\n "]))
    }

    fn statement(&mut self, depth: usize) -> String {
        match self.random.below(8) {
            0 => self.pipeline(depth),
            1 => format!(
                "{}{}",
                self.random.pick(&["! ", "time ", "time -p ", "! ! ", "time -p -- ", "time ! ", "! time ", "!\\\n "]),
                self.command(depth)
            ),
            _ => self.command(depth),
        }
    }

    fn pipeline(&mut self, depth: usize) -> String {
        let mut parts = Vec::new();
        for _ in 0..self.random.between(2, 3) {
            let part = self.command(depth + 1);
            parts.push(if part.ends_with('\n') { format!("{{ {part}}}") } else { part });
        }
        parts.join(self.random.pick(&[" | ", "|", " |& ", "|\n", " | # x\n", " \\\n| ", "|\\\n"]))
    }

    fn command(&mut self, depth: usize) -> String {
        if self.room == 0 || depth > 4 {
            return self.simple(depth);
        }
        self.room -= 1;
        match self.random.below(20) {
            0..=7 => self.simple(depth),
            8..=11 => self.compound(depth),
            12 => self.function(depth),
            13 | 14 => self.code(depth),
            15 => self.wrapped(depth),
            16 => self.through_variable(depth),
            17 => self.here_document(depth),
            18 => self.state(depth),
            _ => self.odd(depth),
        }
    }

    fn simple(&mut self, depth: usize) -> String {
        let mut words = Vec::new();
        if self.random.once_in(6) {
            let value = self.word(depth + 1);
            words.push(format!(
                "{}{}{value}",
                self.random.pick(&["A", "_", "b1", "m0"]),
                self.random.pick(&["=", "=", "+="])
            ));
        }
        if self.random.once_in(12) {
            words.push(self.redirection(depth));
        }
        words.push(self.name());
        for _ in 0..self.random.below(4) {
            words.push(self.word(depth + 1));
        }
        if self.random.once_in(5) {
            words.push(self.redirection(depth));
        }
        words.join(self.random.pick(&[" ", " ", " ", "\t", "  ", " \\\n"]))
    }

    fn marker(&mut self) -> String {
        format!("m{}", self.random.below(10))
    }

    /// A program's name, however it is written.
    fn name(&mut self) -> String {
        let digit = self.random.below(10);
        match self.random.below(20) {
            0 => format!("\"m{digit}\""),
            1 => format!("m'{digit}'"),
            2 => format!("\\m{digit}"),
            3 => format!("$'\\x6d{digit}'"),
            4 => format!("m\\\n{digit}"),
            5 => format!("''m{digit}\"\""),
            6 => format!("/usr/bin/m{digit}"),
            7 => format!("m{{{digit},}}"),
            8 => format!("$'m{digit}\\0x'"),
            9 => (self.random.pick(&[
                "echo",
                "true",
                "printf '%s\\n'",
                ":",
                "command m1",
                "builtin echo",
                "test x =",
                "cat",
                "exec m2",
                "[ -n",
            ]))
            .to_owned(),
            _ => format!("m{digit}"),
        }
    }

    fn redirection(&mut self, depth: usize) -> String {
        let target = match self.random.below(6) {
            0 => self.word(depth + 1),
            1 => format!("{}({})", self.random.pick(&["<", ">"]), self.list(depth + 1).trim_end_matches('\n')),
            2 => "\"f\"".to_owned(),
            _ => (self.random.pick(&["f", "dir/f", "/dev/null", "./g", "'f g'"])).to_owned(),
        };
        match self.random.below(8) {
            0 => "2>&1".to_owned(),
            1 => format!("<<< {target}"),
            2 => format!("{{fd}}> {target}"),
            3 => format!("&> {target}"),
            4 => format!("2>> {target}"),
            5 => format!(">| {target}"),
            6 => format!("< {target}"),
            _ => format!("> {target}"),
        }
    }

    fn word(&mut self, depth: usize) -> String {
        if self.room == 0 || depth > 4 || self.random.once_in(2) {
            return (self.random.pick(&WORDS)).to_owned();
        }
        self.room -= 1;
        match self.random.below(14) {
            0..=3 => self.substitution(depth),
            4 | 5 => format!(
                "\"{}{}{}\"",
                self.random.pick(&["", "a ", "'", "\\\"", "#"]),
                self.substitution(depth),
                self.random.pick(&["", " b", "'", "\\\\", ")"])
            ),
            6..=8 => self.parameter(depth),
            9 => self.arithmetic(depth),
            10 => format!("{}({})", self.random.pick(&["<", ">"]), self.list(depth + 1)),
            11 => format!("{{{},{}}}", self.random.pick(&WORDS), self.substitution(depth)),
            12 => format!("{}{}", self.word(depth + 1), self.word(depth + 1)),
            _ => format!("$\"{}\"", self.substitution(depth)),
        }
    }

    fn substitution(&mut self, depth: usize) -> String {
        let inner = self.list(depth + 1);
        match self.random.below(8) {
            0..=3 => format!("$({inner})"),
            4 => format!("$( {inner}{})", if inner.ends_with('\n') { "" } else { " # )\n" }),
            5 => format!("`{}`", inner.replace('\\', "\\\\").replace('`', "\\`")),
            6 => format!("`{}`", inner.replace('`', "\\`")),
            _ => format!("$(\\\n{inner})"),
        }
    }

    /// `${…}` with something in it.
    fn parameter(&mut self, depth: usize) -> String {
        let name = self.random.pick(&["x", "unset", "1", "@", "#", "?", "a[0]", "!x", "x[$(m3)]"]);
        let operator =
            self.random.pick(&[":-", "-", ":=", ":+", "+", "#", "##", "%", "%%", "/a/", "//a/", "^", ",,", ":", "@"]);
        let inner = match self.random.below(4) {
            0 => "'}'".to_owned(),
            1 => "\\}".to_owned(),
            _ => self.word(depth + 1),
        };
        let whole = format!("${{{name}{operator}{inner}}}");
        if self.random.once_in(2) { format!("\"{whole}\"") } else { whole }
    }

    fn arithmetic(&mut self, depth: usize) -> String {
        let inner = match self.random.below(4) {
            0 => "1+2".to_owned(),
            1 => format!("a[{}]", self.substitution(depth)),
            2 => format!("1 + {}", self.substitution(depth)),
            _ => format!("({}) + 1", self.substitution(depth)),
        };
        match self.random.below(4) {
            0 => format!("$[{inner}]"),
            1 => format!("$(({inner}))"),
            2 => format!("$(( {inner} ))"),
            _ => format!("\"$(({inner}))\""),
        }
    }

    fn compound(&mut self, depth: usize) -> String {
        let depth = depth + 1;
        let body = self.closed(depth);
        let whole = match self.random.below(14) {
            0 => format!("{{ {body}}}"),
            1 => format!("({})", self.list(depth)),
            2 => format!("( {body})"),
            3 => format!("if {}then {body}fi", self.closed(depth)),
            4 => format!(
                "if {}then :; elif {}then {body}else {}fi",
                self.closed(depth),
                self.closed(depth),
                self.closed(depth)
            ),
            5 => format!("for i in {} {}; do {body}done", self.word(depth), self.word(depth)),
            6 => format!("for ((i=0; i<2; i++)){}do {body}done", self.random.pick(&["; ", "\n", " "])),
            7 => format!("while {}do {body}break; done", self.closed(depth)),
            8 => format!("until ! {}do {body}break; done", self.closed(depth)),
            9 => self.case(depth, &body),
            10 => format!("select i in a b; do {body}break; done <<< 1"),
            11 => format!(
                "[[ {} {} {} ]] && {}",
                self.word(depth),
                self.random.pick(&["==", "!=", "=~", "<", "-nt", "-eq"]),
                self.word(depth),
                self.simple(depth)
            ),
            12 => format!("(( {} )) || {}", self.arithmetic(depth), self.simple(depth)),
            _ => format!("for i do {body}done; for i in a\ndo {}done", self.closed(depth)),
        };
        if self.random.once_in(6) { format!("{whole} {}", self.redirection(depth)) } else { whole }
    }

    fn case(&mut self, depth: usize, body: &str) -> String {
        let subject = self.word(depth);
        let pattern = match self.random.below(5) {
            0 => self.word(depth),
            1 => "(a|b)".to_owned(),
            2 => "a|\"b)\"".to_owned(),
            3 => "esac | (a".to_owned(),
            _ => "*".to_owned(),
        };
        let end = self.random.pick(&[";;", ";&", ";;&", "\n;;", ""]);
        let pattern = pattern.trim_end_matches(')');
        format!("case {subject} in {pattern}) {body}{end} *) {}\nesac", self.simple(depth))
    }

    fn function(&mut self, depth: usize) -> String {
        let name = self.random.pick(&["fn", "m0", "m1", "echo", "cd", "f-n", "g"]);
        let body = self.closed(depth + 1);
        let definition = match self.random.below(5) {
            0 => format!("{name}() {{ {body}}}"),
            1 => format!("function {name} {{ {body}}}"),
            2 => format!("{name} () ( {body})"),
            3 => format!("function {name}() {{ {body}}} > f"),
            _ => format!("{name}()\n{{\n{body}}}"),
        };
        let call = if self.random.once_in(5) { String::new() } else { format!("; {name} {}", self.word(depth + 1)) };
        format!("{definition}{call}")
    }

    /// A script as a word of another.
    fn code(&mut self, depth: usize) -> String {
        let inner = self.list(depth + 1);
        let quoted = self.quoted(&inner);
        match self.random.below(8) {
            0 | 1 => format!("eval {quoted}"),
            2 => format!("eval m4 {quoted}"),
            3 | 4 => format!("bash -c {quoted}"),
            5 => format!("sh -c {quoted} a b"),
            6 => format!("trap {quoted} EXIT"),
            _ => format!("bash <<< {quoted}"),
        }
    }

    fn quoted(&mut self, code: &str) -> String {
        match self.random.below(5) {
            0 | 1 => format!("'{}'", code.replace('\'', "'\\''")),
            2 => {
                let escaped = code.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('`', "\\`");
                format!("\"{escaped}\"")
            }
            3 => format!("$'{}'", code.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n")),
            _ => format!("\"{}\"", code.replace('"', "\\\"")), // what stands in it is expanded first
        }
    }

    fn wrapped(&mut self, depth: usize) -> String {
        let inner = self.simple(depth + 1);
        let plain = format!("{} {}", self.marker(), self.random.pick(&WORDS));
        match self.random.below(14) {
            0 => format!("env A=1 {inner}"),
            1 => format!("env -i -u B {plain}"),
            2 => format!("timeout -s KILL 5 {plain}"),
            3 => format!("nice -n 1 {plain}"),
            4 => format!("nohup {plain}"),
            5 => format!("echo a b | xargs -n1 {plain}"),
            6 => format!("xargs -I% {plain} x% <<< a"),
            7 => format!("find dir -name f -exec {plain} {{}} \\;"),
            8 => format!("find dir -ex\\ec {plain} {{}} +"),
            9 => format!("setsid -w {plain}"),
            10 => format!("stdbuf -o0 {plain}"),
            11 => format!("flock f {plain}"),
            12 => format!("env -C dir {plain} > f"),
            _ => format!("exec -a x {plain}"),
        }
    }

    fn through_variable(&mut self, depth: usize) -> String {
        let marker = self.marker();
        match self.random.below(11) {
            0 => format!("v={marker}; $v a"),
            1 => format!("v={marker}; \"$v\" a"),
            2 => format!("v='{marker} a'; ${{v}}"),
            3 => format!("a=({marker} {}); \"${{a[@]}}\"", self.word(depth + 1)),
            4 => format!("v=$({marker}); {} \"$v\"", self.marker()),
            5 => format!("v='{marker}'; eval \"$v\""),
            6 => format!("v=m; ${{v}}{}", self.random.below(10)),
            7 => format!("set -- {marker} a; \"$@\""),
            8 => format!("for v in {marker} {}; do $v x; done", self.marker()),
            9 => format!("read -r v <<< {marker}; $v"),
            _ => format!(
                "v='a[$({marker})]'; {}",
                self.random.pick(&[
                    "echo $((v))",
                    "[[ v -eq 0 ]]",
                    "declare -i n=v",
                    "test -v \"$v\"",
                    "echo ${a[v]}",
                    "unset \"$v\"",
                    "let v"
                ])
            ),
        }
    }

    fn here_document(&mut self, depth: usize) -> String {
        let body = match self.random.below(5) {
            0 => "plain 'text' \"here\"".to_owned(),
            1 => format!(" \t{}", self.substitution(depth)),
            2 => self.parameter(depth),
            3 => format!("\\$(m9) \\`m9\\` {}", self.word(depth + 1)),
            _ => format!("a \\\n{}", self.substitution(depth)),
        };
        let rest = match self.random.below(7) {
            0 => format!(" | {}", self.marker()),
            1 => format!(" && {} \"$({})\"", self.marker(), self.marker()),
            2 => format!("; {}", self.simple(depth + 1)),
            3 => " > f 2>&1".to_owned(),
            4 => " &".to_owned(),
            _ => String::new(),
        };
        let reader = (self.random.pick(&["cat", "m5", "m6 -", "bash", "{ m7; }"])).to_owned();
        match self.random.below(6) {
            0 => format!("{reader} <<'E'{rest}\n{body}\nE\n"),
            1 => format!("{reader} <<-E{rest}\n\t{body}\n\tE\n"),
            2 => format!("{reader} <<\\E{rest}\n{body}\nE\n"),
            3 => format!("{reader} <<\"E F\"{rest}\n{body}\nE F\n"),
            4 => format!("{reader} 3<<A <<E{rest}\n{body}\nA\n{body}\nE\n"),
            _ => format!("{reader} <<E{rest}\n{body}\nE\n"),
        }
    }

    /// What changes how later text is taken.
    fn state(&mut self, depth: usize) -> String {
        let marker = self.marker();
        match self.random.below(11) {
            0 => "cd dir".to_owned(),
            1 => format!("cd dir && {marker} > f"),
            2 => "pushd dir; popd".to_owned(),
            3 => format!("shopt -s extglob\n{marker} @(a|!(b)) +({})", self.random.pick(&["a", "$(m8)"])),
            4 => format!("shopt -s expand_aliases\nalias ll='{marker} a'\nll"),
            5 => format!("shopt -s expand_aliases\nalias m0='{marker} ' x=m2\nm0 x"),
            6 => format!("set -e; {}", self.simple(depth + 1)),
            7 => format!("local_() {{ local v=$({marker}); }}; local_"),
            8 => format!("exec > f; {marker}"),
            9 => format!("declare -A h=([$({marker})]=1)"),
            _ => format!("a[$({marker})]=1"),
        }
    }

    fn odd(&mut self, depth: usize) -> String {
        let marker = self.marker();
        match self.random.below(12) {
            0 => format!("coproc {marker} a"),
            1 => format!("coproc N {{ {}}}", self.closed(depth + 1)),
            2 => format!("if time {marker}; then :; fi"),
            3 => format!("> f {marker}"),
            4 => format!("2>&1 {marker} 2\\\n>f"),
            5 => format!("exec {{fd}}>f; {marker} >&$fd"),
            6 => format!("{marker} a{{1,2}} {{$({}),x}}", self.marker()),
            7 => format!("[ -n \"$({marker})\" -a x ]"),
            8 => format!("{marker} $'\\'' ; {} $'a\\'b'", self.marker()),
            9 => format!("printf -v x %s \"$({marker})\""),
            10 => format!("{marker} a#b # $({}) '", self.marker()) + "\n",
            _ => format!("case x in x) {marker};; esac; echo $(case x in x) {};; esac)", self.marker()),
        }
    }

    /// One character or token more or less, somewhere.
    fn damaged(&mut self, script: &str) -> String {
        let mut letters: Vec<char> = script.chars().collect();
        let at = self.random.below(letters.len() + 1);
        let add = match self.random.below(4) {
            0 | 1 => "\\\n",
            2 => self.random.pick(&[
                "'", "\"", "`", "\\", "$", " ", "#", "\n", "(", ")", "{", "}", ";", "!", "&", "\r", "=", "<", "\u{a0}",
            ]),
            _ => {
                if at < letters.len() {
                    letters.remove(at);
                }
                ""
            }
        };
        let behind: String = letters.split_off(at.min(letters.len())).into_iter().collect();
        letters.into_iter().collect::<String>() + add + &behind
    }
}

/// Words that run nothing by themselves.
const WORDS: [&str; 34] = [
    "a",
    "b",
    "a.txt",
    "-x",
    "--",
    "''",
    "\"b c\"",
    "'$(m9)'",
    "'`m9`'",
    "\\$\\(m9\\)",
    "\"\\$(m9)\"",
    "\"\\`m9\\`\"",
    "$x",
    "\"$x\"",
    "$1",
    "\"$@\"",
    "$?",
    "*",
    "?",
    "[ab]",
    "{a,b}",
    "~",
    "~/a",
    "a#b",
    "a=b",
    "$'\\''",
    "$'a\\nb'",
    "!",
    "{",
    "}",
    "if",
    "time",
    "\"a'b\"",
    "'a\"b'",
];
