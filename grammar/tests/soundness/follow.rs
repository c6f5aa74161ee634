//! Random scripts about what is followed: variables, directories, functions, arguments and standard input, and every way
//! of changing them that may or may not be taken.
//!
//! Nothing here is hard to read, so that most of these scripts claim to be determined. Values stand as arguments of
//! markers and as names of files, where a wrong one shows.

use crate::generate::Random;

/// The script of a seed.
pub(crate) fn script(seed: u64) -> String {
    let mut random = Random::new(seed ^ 0x5EED_F011);
    let room = random.between(3, 14);
    let mut maker = Maker { random, room };
    let start = maker.list(0);
    // What is thought to be known at the end is asked for.
    format!("{start}\nm0 \"$v\" $w; echo > out; f b")
}

struct Maker {
    random: Random,
    room: usize,
}

impl Maker {
    fn list(&mut self, depth: usize) -> String {
        let mut list = self.statement(depth);
        for _ in 0..self.random.below(if depth == 0 { 5 } else { 3 }) {
            let join = self.random.pick(&["; ", "; ", "\n", "\n", " && ", " || ", " & wait; ", " # it\n"]);
            list = format!("{list}{}{}", if list.ends_with('\n') { "" } else { join }, self.statement(depth));
        }
        list
    }

    fn statement(&mut self, depth: usize) -> String {
        if self.room == 0 || depth > 4 {
            return self.usage();
        }
        self.room -= 1;
        match self.random.below(20) {
            0..=3 => self.usage(),
            4..=8 => self.change(depth),
            9 | 10 => self.moving(depth),
            11..=14 => self.compound(depth),
            15 | 16 => self.function(depth),
            17 => self.code(depth),
            18 => self.leaving(),
            _ => self.input(depth),
        }
    }

    fn variable(&mut self) -> &'static str {
        self.random.pick(&["v", "w"])
    }

    fn value(&mut self, depth: usize) -> String {
        let other = self.variable();
        match self.random.below(14) {
            0 => format!("${other}"),
            1 => format!("\"${{{other}}}x\""),
            2 => format!("${other}$v"),
            3 => "$1".to_owned(),
            4 => "$#".to_owned(),
            5 => "$((1 + 2))".to_owned(),
            6 if depth < 3 => format!("$({})", self.list(depth + 2)),
            7 => "'b c'".to_owned(),
            8 => "''".to_owned(),
            9 => "'a*'".to_owned(),
            10 => "5".to_owned(),
            11 => "'a[$(m9)]'".to_owned(),
            _ => (self.random.pick(&["a", "b", "dir", "dir/f", "-n", "{a,b}", "~", "a:b"])).to_owned(),
        }
    }

    /// A command that shows what is known.
    fn usage(&mut self) -> String {
        let (name, marker) = (self.variable(), self.random.below(9));
        match self.random.below(17) {
            0..=2 => format!("m{marker} \"${name}\""),
            3 => format!("m{marker} ${name}"),
            4 => format!("m{marker} \"$v.$w\""),
            5 => format!("echo > \"g${name}\""),
            6 => format!("m{marker} \"$1\""),
            7 => format!("m{marker} \"$@\""),
            8 => format!("m{marker} ${{1}}x $2"),
            9 => format!("m{marker} ${{{name}}}x*"),
            10 => format!("cat > g <<E\n${name}\nE\n"),
            11 => format!("m{marker} \"$(m1 \"${name}\")\""),
            12 => format!("m{marker} <(m1 ${name})"),
            13 => format!("${name} x"),
            14 => format!("m{marker} $(({name} + 1))"),
            15 => format!("[[ ${name} -eq 1 ]]"),
            _ => format!("echo m{marker} > g"),
        }
    }

    fn change(&mut self, depth: usize) -> String {
        let name = self.variable();
        let value = self.value(depth);
        let bad = self.random.pick(&["", "", "", "", " > /no/x", " 2> /dev/null", " < none", " <&7", " > g"]);
        match self.random.below(40) {
            0..=7 => format!("{name}={value}"),
            8 => format!("v={value} w=$v"),
            9 => format!("v={value} w=$(m1 \"$v\")"),
            10 => format!("{name}+={value}"),
            11 => format!("{name}={value} m1 \"${name}\""),
            12 => format!("{name}={value} f \"${name}\""),
            13 => format!(
                "{name}={value} {}",
                self.random.pick(&[":", "eval :", "export v", "command :", "cd dir", "read w"])
            ),
            14 => format!("export {name}={value}{bad}"),
            15 => format!("local {name}={value}{bad}"),
            16 => format!("declare {name}={value}"),
            17 => format!("readonly {name}"),
            18 => format!("unset {name}"),
            19 => format!(
                "(({name}={}))",
                self.random.pick(&["5", "1, w = 2", "w", "0 && (w = 3)", "1 ? 2 : (w = 4)", "1 / 0"])
            ),
            20 => format!("(({name}++))"),
            21 => format!("read {name} <<< {value}"),
            22 => format!("printf -v {name} %s {value}"),
            23 => format!(": ${{{name}:={value}}}"),
            24 => format!("m1 \"${{{name}={value}}}\" \"${name}\" $(m2 \"${name}\")"),
            25 => format!("set -- {value} b"),
            26 => "shift".to_owned(),
            27 => format!("IFS={}", self.random.pick(&[":", "a", "''"])),
            28 => "unset -f f".to_owned(),
            29 => format!("{name}={value}{bad}"),
            30 => format!(
                "{name}=$(({}))",
                self.random.pick(&["1 / 0", "v = 3", "w++", "2 + w", "0 || (v = 7)", "08", "1 / $#"])
            ),
            31 => format!("let {name}=3"),
            32 => format!("declare -{} {name}={value}", self.random.pick(&["i", "u", "r", "g", "x"])),
            33 => "shopt -s nullglob".to_owned(),
            34 => format!("{name}[0]={value}"),
            35 => format!("{name}=(a b); {name}[1]={value}"),
            36 => "unset IFS".to_owned(),
            37 => format!("m1 > \"g$(({name}=4))\""),
            38 => format!(": \"${{HOME:-$(({name}=4))}}\" \"${{none:-$(({name}=6))}}\""),
            _ => format!("export {name}={value} > \"g${name}\""),
        }
    }

    fn moving(&mut self, depth: usize) -> String {
        let to = self.random.pick(&["dir", "..", "sub", "none", "\"$v\"", "dir/../sub", ".", "a"]);
        match self.random.below(12) {
            0..=2 => format!("cd {to}"),
            3 => format!("cd {to} && {}", self.usage()),
            4 => format!("cd {to} || {}", self.statement(depth + 1)),
            5 => format!("(cd {to}; {})", self.usage()),
            6 => format!("cd {to} | {}", self.usage()),
            7 => format!("cd {to} > /no/x"),
            8 => format!("pushd {to} > /dev/null; popd"),
            9 => format!("mkdir -p n && cd {to}"),
            10 => format!("eval cd {to}"),
            _ => "cd -".to_owned(),
        }
    }

    fn closed(&mut self, depth: usize) -> String {
        let list = self.list(depth + 1);
        if list.ends_with('\n') { list } else { list + self.random.pick(&["; ", "\n", " & "]) }
    }

    fn inline(&mut self, depth: usize) -> String {
        let list = self.list(depth + 1);
        if list.ends_with('\n') { format!("{{ {list}}}") } else { format!("{{ {list}; }}") }
    }

    fn compound(&mut self, depth: usize) -> String {
        let (name, body) = (self.variable(), self.closed(depth));
        let value = self.value(depth);
        let end = self.random.pick(&["", "", "", " > /no/x", " 2> /dev/null", " > g", " <<< b", " <&7"]);
        let whole = match self.random.below(18) {
            0 => format!("{{ {body}}}"),
            1 => format!("( {body})"),
            2 => format!("if {}then {body}else {}fi", self.closed(depth), self.closed(depth)),
            3 => format!("if [ \"${name}\" = a ]; then {body}fi"),
            4 | 5 => format!("for {name} in a {value}; do {body}done"),
            6 => format!("for i in $(echo 1 2); do {body}done"),
            7 => format!("for i in $v; do {body}done"),
            8 => format!("for i; do {body}done"),
            9 => format!("n=0; while [ $n != 2 ]; do n=$((n + 1)); {body}done"),
            10 => format!("until {}do {body}break; done", self.closed(depth)),
            11 => format!("while {}do {body}break; done", self.closed(depth)),
            12 => format!("for ((n = 0; n < 2; n++)); do {body}done"),
            13 => format!(
                "case {value} in a) {body};; $(({name} = 3))) {} {} *) {} ;; esac",
                self.usage(),
                self.random.pick(&[";;", ";&", ";;&"]),
                self.usage()
            )
            .replace("\n;;", ";;")
            .replace("; ;;", ";;"),
            14 => format!("{} | {}", self.inline(depth), self.inline(depth)),
            15 => format!("! {}", self.inline(depth)),
            16 => format!("{} && {} || {}", self.inline(depth), self.inline(depth), self.inline(depth)),
            _ => format!("[[ {value} && -n $(({name} = 4)) || ${name} == a ]]"),
        };
        format!("{whole}{end}")
    }

    fn function(&mut self, depth: usize) -> String {
        let name = self.random.pick(&["f", "f", "g", "m5", "cd"]);
        let call = format!("{name} {}", self.random.pick(&["", "a", "b c", "\"$v\"", "$w", "\"$@\"", "'b c' <<< m3"]));
        let body = self.closed(depth);
        match self.random.below(9) {
            0 => call,
            1 => format!("{name}() {{ {body}}}"),
            2 => format!("{name}() ( {body}); {call}"),
            3 => format!("{name}() {{ {body}}} > /no/x; {call}"),
            4 => format!("{name}() for i; do {body}done; {call}"),
            5 => format!("{name}() {{ m1 \"$1\"; [ \"$1\" = b ] || {name} b; {body}}}; {call}"),
            6 => format!("m8 && {name}() {{ {body}}}; {call}"),
            7 => format!("({name}() {{ {body}}}; {call}); {call}"),
            _ => format!("{name}() {{ {body}}}; {call}; {call}"),
        }
    }

    fn quoted(code: &str) -> String {
        format!("'{}'", code.replace('\'', "'\\''"))
    }

    fn code(&mut self, depth: usize) -> String {
        let inner = self.list(depth + 1);
        let quoted = Self::quoted(&inner);
        match self.random.below(13) {
            0..=3 => format!("eval {quoted}"),
            4 => format!("bash -c {quoted} x a b"),
            5 => format!("bash <<< {quoted}"),
            6 => format!("echo {quoted} | bash"),
            7 => format!("trap {quoted} EXIT"),
            8 => format!("trap {quoted} USR1; kill -USR1 $$"),
            9 => format!("trap {quoted} {}", self.random.pick(&["DEBUG", "ERR", "RETURN"])),
            10 => format!("sh -c {quoted}"),
            11 => format!("bash <<'E'\n{inner}\nE\n"),
            _ => format!("shopt -s expand_aliases\nalias ll={quoted}\nll"),
        }
    }

    fn leaving(&mut self) -> String {
        (self.random.pick(&[
            "return",
            "m1 && return",
            "m1 || return 1",
            "break",
            "m1 && break",
            "continue",
            "exit",
            "m1 || exit",
            "(exit)",
            "set -e",
            "false",
            "return 2> /dev/null",
            ": ${none?}",
            "break 2",
        ]))
        .to_owned()
    }

    fn input(&mut self, depth: usize) -> String {
        let first = match self.random.below(12) {
            0 => "read x".to_owned(),
            1 => ": $(read x)".to_owned(),
            2 => "(read x)".to_owned(),
            3 => "f <<< m4".to_owned(),
            4 => "x=$(head -c 3)".to_owned(),
            5 => "eval : <<< m3".to_owned(),
            6 => "[[ $(read x) ]]".to_owned(),
            7 => "m1 <(read x)".to_owned(),
            8 => "read x <&3".to_owned(),
            9 => "{ read x; } & wait".to_owned(),
            10 => "echo $((1 + $(read x; echo 1)))".to_owned(),
            _ => self.usage(),
        };
        let first = if first.ends_with('\n') { first } else { first + "; " };
        let end = self.random.pick(&[
            "<<< $'cat <<E\\nm1\\nE\\n'",
            "<<< $'m1 a\\nm2 b'",
            "3<&0 <<< $'m1 a\\nm2 b'",
            "<<< m3 3<&0",
        ]);
        match self.random.below(4) {
            0 | 1 => format!("{{ {first}bash; }} {end}"),
            2 => format!("{{ {first}{}\nbash; }} {end}", self.usage()),
            _ => format!("echo 'm1 a' | {{ {first}bash; {}\n}}", self.statement(depth + 1)),
        }
    }
}
