//! Whole inventories: tables of scripts and what must be said of them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "tests")]
#![expect(clippy::disallowed_types, reason = "bash itself is the oracle for quote removal")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command as Process, Stdio};

use proptest::prelude::*;

use crate::limits::{MAX_BYTES, MAX_DEPTH};
use crate::reader;
use crate::{Cwd, Effect, EffectKind, Inventory, OpaqueReason, Resolved, Value, Via, ast, inventory, program};

/// The one place that knows the API: what an inventory says, in a line. Words, effects and opaque items have a group
/// each, in order; a group that is empty is left out.
fn told(script: &str) -> String {
    tell(&inventory(script.as_bytes()))
}

fn tell(inventory: &Inventory) -> String {
    let opaque: Vec<&str> = inventory.opaque().iter().map(|item| item.reason.as_str()).collect();
    let groups = [("", programs(inventory)), ("+ ", effects(inventory)), ("! ", opaque.join(", "))];
    let shown = groups.iter().filter(|(_, text)| !text.is_empty()).map(|(sign, text)| format!("{sign}{text}"));
    shown.collect::<Vec<_>>().join(" ")
}

fn check(script: &str, expected: &str) {
    check_all(&[(script, expected)]);
}

fn check_all(rows: &[(&str, &str)]) {
    let differs = |(script, expected): &&(&str, &str)| told(script) != *expected;
    let wrong: Vec<_> = rows.iter().filter(differs).map(|row| (row, told(row.0))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The program of each command, `?` for one that is not known.
fn programs(inventory: &Inventory) -> String {
    let ran = inventory.commands().iter().filter(|command| command.resolved != Resolved::None);
    ran.map(|command| command.invocation.words.first().map_or("?", String::as_str)).collect::<Vec<_>>().join(" ")
}

fn effects(inventory: &Inventory) -> String {
    let all = inventory.commands().iter().flat_map(|command| &command.effects);
    all.map(effect).collect::<Vec<_>>().join(", ")
}

fn effect(effect: &Effect) -> String {
    let kind = match effect.kind {
        EffectKind::Read => "read",
        EffectKind::Write => "write",
        EffectKind::Delete => "delete",
        EffectKind::Execute => "execute",
        EffectKind::Import => "import",
        EffectKind::Connect => {
            let peer = effect.peer.as_ref().map(|peer| format!("{}:{}", peer.host, peer.port));
            return format!("connect {}", peer.unwrap_or_else(|| "?".to_owned()));
        }
    };
    let (tree, from) = (if effect.tree { "-tree" } else { "" }, if effect.from_start { "^" } else { "" });
    format!("{kind}{tree} {from}{}", value(&effect.target.value))
}

fn value(value: &Value) -> String {
    match value {
        Value::Literal(text) => text.clone(),
        Value::Home(rest) => format!("~{rest}"),
        Value::Pipe { .. } => "|".to_owned(),
        Value::Below(roots) => format!("{}/*", roots.iter().map(self::value).collect::<Vec<_>>().join(" ")),
        Value::Pattern { prefix } => format!("{prefix}*"),
        Value::Dynamic { prefix } => format!("?{prefix}"),
    }
}

#[test]
fn examples_of_the_tables() {
    let mut examples = 0;
    let mut wrong = Vec::new();
    for (file, entry) in program::table::each_file() {
        let entry = entry.unwrap();
        assert!(!entry.about.is_empty(), "{file}: why is it there?");
        assert!(!entry.example.is_empty(), "{file}: no example");
        for example in &entry.example {
            examples += 1;
            let inventory = inventory(example.script.as_bytes());
            let opaque: Vec<OpaqueReason> = inventory.opaque().iter().map(|item| item.reason).collect();
            let mut differs = |what: &str, is: String, said: String| {
                if is != said {
                    wrong.push(format!("{file}: {}\n  {what} is   {is}\n  {what} said {said}", example.script));
                }
            };
            differs("runs", programs(&inventory), example.runs.join(" "));
            differs("opaque", format!("{opaque:?}"), format!("{:?}", example.opaque));
            if let Some(said) = &example.effects {
                differs("effects", effects(&inventory), said.join(", "));
            }
            let first = inventory.commands().first().map(|command| command.invocation.clone()).unwrap_or_default();
            if let Some(said) = &example.sets {
                let set = inventory.commands().iter().flat_map(|command| &command.assignments);
                let names: Vec<&str> = set.map(|assignment| assignment.name.as_str()).collect();
                differs("sets", names.join(" "), said.join(" "));
            }
            if let Some(said) = &example.flags {
                differs("flags", format!("{:?}", first.flags), format!("{:?}", said.iter().collect::<BTreeSet<_>>()));
            }
            if let Some(said) = &example.groups {
                differs("groups", format!("{:?}", first.groups), format!("{:?}", said.iter().collect::<BTreeSet<_>>()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {examples} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert!(examples > 150, "only {examples} examples");
}

#[test]
fn shapes() {
    check_all(&[
        ("ls", "ls + read ."),
        ("ls;ls", "ls ls + read ., read ."),
        ("ls a&&ls b||ls c", "ls ls ls + read a, read b, read c"),
        ("ls a\nls b # c `rm`\n\n# d\n", "ls ls + read a, read b"),
        ("echo a |& cat | wc -l", "echo cat wc"),
        ("echo a |\n cat", "echo cat"),
        ("echo a && # why\n cat b", "echo cat + read b"),
        ("sleep 1 & cat a", "sleep cat + read a"),
        ("! grep -q a b", "grep + read b"),
        ("(cd a; ls) > out", "cd ls + read ., write out"),
        ("{ echo a; echo b; } 2>&1 >>out", "echo echo + write out"),
        ("A=1 B='x y' env", "env"),
        ("A=1", ""),
        (">out", "+ write out"),
        ("cat <in >out 2>>err", "cat + read in, write out, write err"),
        ("cat &>a", "cat + write a"),
        ("cat &>>a", "cat + write a"),
        ("cat >|a", "cat + write a"),
        ("cat >& a", "cat + write a"),
        ("cat 2>&1 <&3 >&- 3<&-", "cat"),
        ("cat <<< \"$x\" y", "cat + read y"),
        ("cat > \"$x\"", "cat + write ?"),
        ("cat > a*", "cat + write a*"),
        ("cat > ~/a", "cat + write ~/a"),
        ("cat > /dev/tcp/Example.com/80", "cat + connect example.com:80"),
        ("cat < /dev/udp/$h/53", "cat + connect ?"),
        ("cat <<EOF\na $x ${y} \\$(rm) \\`rm\\`\nEOF\nls", "cat ls + read ."),
        ("cat <<'EOF'\n$(rm x)\nEOF", "cat"),
        ("cat <<\\EOF\n`rm x`\nEOF", "cat"),
        ("cat <<-EOF\n\ta\n\tEOF\nls", "cat ls + read ."),
        ("cat <<A\na\nA\ncat <<B\nb\nB\nls", "cat cat ls + read ."),
        ("cat <<EOF && rm x\na\nEOF", "cat rm + delete x"),
        ("echo \"$(cat a)\" $(cat b)", "echo cat cat + read a, read b"),
        ("echo \"$(echo \"$(cat a)\")\"", "echo echo cat + read a"),
        ("echo $(<a)", "echo + read a"),
        ("x=$(cat a) cat b", "cat cat + read b, read a"),
        ("cat > $(echo f)", "cat echo + write f"),
        ("cat > $(a f)", "cat a + write ?"),
        ("touch {a,b}/{1..2} c", "touch + write a/1, write a/2, write b/1, write b/2, write c"),
        ("cat a*/../b", "cat + read ?a"),
        ("cat {/etc/x,$y}", "cat + read ?"),
        ("cat - < a 2> b", "cat + read a, write b"),
        ("echo $((1 + 2)) \"${x:-a b}\" ${x%.*} ${#x} ${a[0]} $? $$", "echo"),
        ("\\time -p rm x", "time rm + delete x"),
        ("time rm x", "rm + delete x"),
        ("/bin/rm -rf x", "rm + delete-tree x"),
        ("'r'm x", "rm + delete x"),
        ("ls \\\n  a", "ls + read a"),
        ("\"ls\" $'\\x61'", "ls + read a"),
    ]);
}

#[test]
fn compound_commands() {
    check_all(&[
        ("ls a; for i in b; do rm c; done; ls d", "ls rm ls + read a, delete c, read d"),
        ("ls a && if rm b; then :; fi", "ls rm : + read a, delete b"),
        ("if a; then b; elif c; then d; else e; fi", "a b c d e"),
        ("while rm x; do :; done", "rm : + delete x"),
        ("until rm x; do :; done < in", "rm : + delete x, read in"),
        ("case x in (x|y) rm a;; *) ls b;& z) ;; esac", "rm ls + delete a, read b"),
        ("case $(a) in $(b)) ;; esac", "a b"),
        ("for ((i=0; i<3; i++)); do rm b; done", "rm + delete b"),
        ("for f in $(a); do rm b; done", "a rm + delete b"),
        ("f() { rm x; }; f", "f rm + delete x"),
        ("f() { rm x; }", "rm + delete x"),
        ("function f { rm x; }; f", "f rm + delete x"),
        ("function f() ( rm x ) > out; f", "f rm + delete x, write out"),
        ("f()\nif a; then rm x; fi\nf", "f a rm + delete x"),
        ("[[ -f x && ! ( $a == b || c =~ ^(d|e)$ ) ]] && ls y", "ls + read y"),
        ("[[ a < b ]] || rm x", "rm + delete x"),
        ("[[ -n $(rm x) ]]", "rm + delete x"),
        ("((x=1)); rm y", "rm + delete y"),
        ("((x = 1 + 2, y = x * 2)) && echo $((y % 3))", "echo"),
        ("coproc rm x", "rm + delete x"),
        ("coproc NAME { rm x; }", "rm + delete x"),
        ("time { rm y; }", "rm + delete y"),
        ("a=(1 \"$(rm x)\" [2]=z)", "rm + delete x"),
        ("a[$(rm x)]=1", "rm + delete x ! arithmetic"),
        ("a[1]=x b+=(y) c", "c"),
        ("echo `date`", "echo date"),
        ("echo `ls a` `rm b`", "echo ls rm + read a, delete b"),
        ("echo `echo \\`rm x\\``", "echo echo rm + delete x"),
        ("! rm y | cat", "rm cat + delete y"),
        ("time -p rm y", "rm + delete y"),
        ("diff <(ls a) <(ls b)", "diff ls ls + read a, read b"),
        ("cat < <(rm x)", "cat rm + delete x"),
        ("tee >(rm x) y", "tee rm + write y, delete x"),
        ("echo ${x:-$(rm y)}", "echo rm + delete y"),
        ("echo \"${x:-`rm y`}\"", "echo rm + delete y"),
        (
            "echo ${x#`rm y`} ${x%%$(rm z)} ${x//a/$(rm w)} ${x^$(rm v)}",
            "echo rm rm rm rm + delete y, delete z, delete w, delete v",
        ),
        ("echo \"${x/\\}/a}\"; rm y", "echo rm + delete y"),
        ("echo $((echo 1); (rm x))", "echo echo rm + delete x"),
        ("cat <<EOF\n$(rm x)\nEOF", "cat rm + delete x"),
        ("cat <<EOF\n\t`rm x`\nEOF", "cat rm + delete x"),
        ("cat <<-EOF\n\ta ${b:-$(rm x)}\n\tEOF", "cat rm + delete x"),
        ("cat <<EOF\na \\\n b\nEOF\nls", "cat ls + read ."),
        ("cat <<A <<B\na\nA\nb\nB\nls", "cat ls + read ."),
        ("cat <<EOF 2>&1 | tee f\na\nEOF", "cat tee + write f"),
        ("echo \"`echo \\\"a b\\\"`\"", "echo echo"),
        ("x=$a/$b.c; ls a", "ls + read a"),
        ("[ \"$a\" \"$b\" ] || ls a", "[ ls + read a ! arithmetic"),
        ("[ ! -f \"$a\" ] && [ a = \"$b\" -o 1 -lt 2 ]", "[ ["),
        ("{ cat <<EOF; ls a; }\nx\nEOF", "cat ls + read a"),
        ("if a; then cat <<EOF\nx\nEOF\nfi", "a cat"),
        ("a &&\\\nb ||\\\n c", "a b c"),
        ("ls a\\\nb", "ls + read ab"),
    ]);
}

#[test]
fn variables() {
    check_all(&[
        ("d=build; rm -rf \"$d\"", "rm + delete-tree build"),
        ("d=build; rm -rf \"${d}/x\" $d", "rm + delete-tree build/x, delete-tree build"),
        ("d=build && e=$d/x; cat $e", "cat + read build/x"),
        ("x='rm y'; $x", "rm + delete y"),
        ("x='a b'; cat $x \"$x\"", "cat + read a, read b, read a b"),
        ("x=; cat $x y \"$x\"", "cat + read y, read "),
        ("x='*.c'; cat $x", "cat + read *"),
        ("x=a cat $x", "cat + read ?"),
        ("x=a; x=b cat $x", "cat + read a"),
        ("x=a; x=b :; cat $x", ": cat + read a"),
        ("for f in a b; do rm \"$f.o\"; done", "rm rm + delete a.o, delete b.o"),
        ("for f in d/*.c; do cat \"$f\" \"$f.o\" \"x/$f\"; done", "cat + read d/*, read d/*, read x/d/*"),
        ("for f in *; do cat \"$f/../x\"; done", "cat + read ?"),
        ("for PATH in /tmp; do ls; done", "ls + read ."),
        ("for f in a b; do break; done; for g in x; do cat $g; break; done", "break cat break + read ?"),
        ("for i in 1 2; do echo $((i + 1)); done", "echo echo"),
        ("i=0; while [ $i -lt 3 ]; do echo $i; i=$((i + 1)); done", "[ echo"),
        ("i=0; while a; do ((i++)); done; echo $((i))", "a echo"),
        ("i=0; while a; do i=$(b); done; echo $((i))", "a b echo ! arithmetic"),
        ("if a; then d=x; else d=y; fi; cat $d", "a cat + read ?"),
        ("if a; then d=x; else d=x; fi; cat $d", "a cat + read x"),
        ("d=x; a && d=y; cat $d", "a cat + read ?"),
        ("d=x; (d=y); cat $d", "cat + read x"),
        ("d=x; echo | d=y; cat $d", "echo cat + read x"),
        ("d=x; read d; cat $d", "read cat + read ?"),
        ("d=x; printf -v d y; cat $d", "printf cat + read ?"),
        ("d=x; eval 'd=y'; cat $d", "eval cat + read y"),
        ("d=x; eval \"$z\"; cat $d", "eval cat + read ? ! inline-code"),
        ("d=x; . ./z; cat $d", ". cat + read ./z, read ? ! script-file"),
        ("d=x; f() { d=y; }; f; cat $d", "f cat + read ?"),
        ("d=x; f() { local d=y; }; f; cat $d", "f local cat + read ?"),
        ("d=x; unset d; cat $d", "unset cat + read ?"),
        ("d=x; trap 'd=y' USR1; cat $d", "trap cat + read ?"),
        ("readonly d=x; d=y; cat $d", "readonly cat + read ?"),
        ("declare -i d=1; d=x; cat $d", "declare cat + read ? ! arithmetic"),
        ("export d=x; cat $d", "export cat + read x"),
        ("declare d=x; cat $d", "declare cat + read x"),
        ("d=x; for d in a b; do :; done; cat $d", ": : cat + read b"),
        ("d=x; while a; do cat $d; d=y; done", "a cat + read ?"),
        ("d=x; ${d:=y} z", "? ! dynamic-program"),
        ("d=x; echo ${e:=$d}; cat $d", "echo cat + read x"),
        ("IFS=/; d=a/b; cat $d", "cat + read ?"),
        ("cat \"$HOME/x\" $HOME ${HOME}/y \"$HOME\"z", "cat + read ~/x, read ~, read ~/y, read ?"),
        ("HOME=/y; cat \"$HOME/x\"", "cat + read /y/x"),
        ("d=~/x; cat $d \"$d/y\" $d.z", "cat + read ~/x, read ~/x/y, read ~/x.z"),
        ("d=$HOME; e=$d/b; cat $d \"$e\" a$d", "cat + read ~, read ~/b, read ?a"),
        ("export d=\"$HOME/x\"; cat \"$d/y\"", "export cat + read ~/x/y"),
        ("d=~/x; $d/p y", "p"),
        ("d=~/x; HOME=/y; cat $d ~ ~/z", "cat + read ~/x, read /y, read /y/z"),
        ("HOME=$1; cat ~/z", "cat + read ?"),
        ("export d=~/x; cat $d", "export cat + read ~/x"),
        ("export HOME=/y d=$HOME/x; cat $d", "export cat + read ? ! dynamic-option"),
        ("HOME=/y; d=~/x; cat $d", "cat + read ?"),
        ("HOME=$1; d=$HOME/x; export e=$HOME/x; cat $d $e", "export cat + read ?, read ? ! dynamic-option"),
        ("d=~/'a b'; cat $d", "cat + read ?"),
        ("d=~root/x; cat $d", "cat + read ?"),
        ("d=~/x; IFS=/; cat $d", "cat + read ?"),
        ("f() { cat \"$1\" \"$2\"; }; f a", "f cat + read a, read ?"),
        ("f() { cat \"$@\"; }; f a b", "f cat + read a, read b"),
        ("f() { shift; cat \"$1\"; }; f a b", "f shift cat + read ?"),
        ("cat $1", "cat + read ?"),
        ("RANDOM=x; cat $RANDOM", "cat + read ?"),
        ("cmd=\"curl http://x | sh\"; echo \"$cmd\"", "echo"),
        ("d=x; trap 'd=y' EXIT; cat $d", "trap cat + read x"),
        ("d=x; f() { d=y; local d=x; }; f; cat $d", "f local cat + read ?"),
        ("d=x; f() { d=y; a && return; d=x; }; f; cat $d", "f a return cat + read ?"),
        ("d=x; d=y e=$(cat $d)", "cat + read y"),
        ("d=x; d=y export d; cat $d", "export cat + read ?"),
        ("local d=x; cat $d", "local cat + read ?"),
        ("d=; echo ${d:=y} $(cat $d)", "echo cat + read ?"),
        ("d=x; export d=y > $d; cat $d", "export cat + write x, read ?"),
        ("d=x; { d=y; } > /z/z; cat $d", "cat + write /z/z, read ?"),
        ("d=x; { d=y; } 2>/dev/null; cat $d", "cat + write /dev/null, read y"),
    ]);
}

/// Whatever way an expression, a loop or a line takes, what is thought to be known behind it is.
#[test]
fn ways_that_are_not_taken() {
    check_all(&[
        ("n='a[$(rm x)]'; ((0 && (n=5))); echo $((n))", "echo ! arithmetic"),
        ("((n=5)); echo $((n))", "echo"),
        ("n='a[$(rm x)]'; : ${HOME:-$((n=5))}; echo $((n))", ": echo ! arithmetic"),
        ("n='a[$(rm x)]'; a > f$((n=5)); echo $((n))", "a echo + write ?f ! arithmetic"),
        ("n='a[$(rm x)]'; [[ '' && $((n=5)) ]]; echo $((n))", "echo ! arithmetic"),
        ("n='a[$(rm x)]'; for ((i=0;i<2;n=i,i++)); do echo $((n)); done", "echo ! arithmetic"),
        ("d=x\n: $((1 / 0)); d=y\ncat $d", ": cat + read ?"),
        ("d=x\n: $((1 + 2)); d=y\ncat $d", ": cat + read y"),
        ("d=x; eval ': $((1 / 0)); d=y'; cat $d", "eval : cat + read ?"),
        ("readonly r=1; d=x\nr=2; d=y\ncat $d", "readonly cat + read ?"),
        ("f() { cat \"$1\"; a || f y; }; f x", "f cat a f cat a f + read x, read ?"),
        (
            "g() { cat \"$1\"; }; g x; f() { a && return; g() { :; }; }; f; g y",
            "g cat f a return g cat : + read x, read y",
        ),
        ("while a; do cat f; f() { cd b; }; f; done", "a cat f cd cd + read f"),
        ("x=a; { : ${y?oops}; x=b; }\ncat $x", ": cat + read ?"),
        ("x=a; { : \"${y:?oops}\"; x=b; }; cat $x", ": cat + read b"),
        ("x=a; set -u\n{ : $y; x=b; }\ncat $x", "set : cat + read ?"),
        ("x=a; set -o nounset\n{ [[ $y ]]; x=b; }\ncat $x", "set cat + read ?"),
        ("x=a; set -euo pipefail\n{ : $x $((1 + 2)) \"$@\" $(:); x=b; }\ncat $x", "set : : cat + read b"),
        ("x=a\n{ : $y; x=b; }\ncat $x", ": cat + read b"),
        ("x=a; [ -f b ] || exit() { :; }; if a; then x=c; exit; fi; cat $x", "[ a exit : cat + read ?"),
        ("x=; { :; } 3<<< \"${x:=y}\"; cat $x", ": cat + read ?"),
        ("x=1; { cat $x; } 3<<< $((x=5))", "cat + read ?"),
        ("x=1; f() { cat $x; } 3<<< $((x=5)); f", "f cat + read ?"),
        ("{ bash; } <<< 'rm y' 3<<< $(cat)", "bash rm cat + delete y"),
        ("{ { bash; } 3<<< $(cat); } <<< 'rm y'", "bash cat ! stdin-code"),
        ("ulimit -n 3; x=$(echo a); cat $x b$(echo c)", "ulimit echo cat echo + read ?, read ?b"),
        ("ulimit -c 0; ulimit -a; ulimit -Sn; x=$(echo a); cat $x", "ulimit ulimit ulimit echo cat + read a"),
        ("while a; do cat b$(echo c); ulimit -v 9; done", "a cat echo ulimit + read ?b"),
        ("ulimit -n 3; bash -c 'cat b$(echo c)'", "ulimit bash cat echo + read ?b"),
        ("x=a; f() { typeset x; cat $x/b; }; f", "f typeset cat + read ?"),
        ("IFS=0; timeout $((501)) ls", "timeout ls + read . ! dynamic-option, dynamic-option"),
        ("IFS=0; timeout \"$((501))\" ls", "timeout ls + read . ! dynamic-option"),
    ]);
}

#[test]
fn functions_and_aliases() {
    check_all(&[
        ("ls () ( rm x ); ls y", "ls rm + delete x"),
        ("ls y; ls() { rm x; }", "ls rm + read y, delete x"),
        ("a && ls() { rm x; }; ls y", "a ls rm + read y, delete x"),
        ("f() { f; }; f", "f f f"),
        ("f() { g; }; g() { rm x; }; f", "f g rm + delete x"),
        ("f() { cd a; }; f; cat x", "f cd cat + read x"),
        ("command_not_found_handle() { rm x; }; y", "y rm + delete x"),
        ("(f() { rm x; }); f", "f rm + delete x"),
        ("f() { rm x; }; unset -f f; f", "unset f rm + delete x"),
        ("eval -- 'rm x'", "eval rm + delete x"),
        ("f() { ls; }; command f", "command f ls + read ."),
        ("trap 'rm x' EXIT; trap - INT", "trap trap rm + delete x"),
        ("alias l='ls -l'\nl", "alias ls l + read . ! unknown-syntax"),
        ("eval 'f() { rm x; }'; f", "eval f rm + delete x"),
        // What may have taken a function away leaves a program of its name.
        ("ls() { :; }; while a; do ls b; unset -f ls; done", "a ls : unset + read b"),
        ("ls() { unset -f ls; :; }; for i in *; do ls b; done", "ls unset : + read b"),
        ("ls() { :; }; trap 'unset -f ls' DEBUG; ls b", "trap ls : unset + read b"),
        ("trap 'unset -f ls' USR1; ls() { :; }; ls b", "trap ls : unset + read b"),
        ("ls() { :; }; g() { unset ls; }; while a; do ls b; g; done", "a ls : g unset + read b"),
        ("ls() { :; }; while a; do ls b; command unset ls; done", "a ls : command unset + read b"),
        ("ls() { :; }; g() { x=1; }; while a; do ls b; unset x; g; shift; done", "a ls : unset g shift"),
        ("ls() { :; }; g() { :; }; trap g INT; ls b", "trap ls : g :"),
        ("ls() { :; }; unset g; ls b", "unset ls :"),
        ("f() { trap 'set -- b' DEBUG; cat \"$1\"; }; f a", "f trap cat set + read ?"),
        ("trap 'set -- b' USR1; f() { cat \"$1\"; }; f a", "trap f cat set + read ?"),
    ]);
}

/// What one script leaves behind changes what the next one in the same shell comes to.
#[test]
fn scripts_of_one_shell() {
    for (first, second, expected) in [
        ("f() { cat a \"$1\"; }", "cd b; f c", "cd f cat + read a, read c"),
        ("f() { rm x; }; unset -f f", "f", "f rm + delete x"),
        ("a && f() { rm x; }", "f", "f rm + delete x"),
        ("(f() { rm x; })", "f", "f"),
        ("f() { g; }; g() { rm x; }", "f", "f g rm + delete x"),
        ("alias l='ls -l'", "l x", "l ! unknown-syntax"),
        ("readonly d=x", "d=y; cat $d", "cat + read ?"),
        ("declare -i d", "d=y; cat $d", "cat + read ?"),
        ("set -u", "x=a; { : $y; x=b; }\ncat $x", ": cat + read ?"),
        ("trap 'unset -f ls' USR1", "ls() { :; }; ls b", "ls : + read b"),
        ("ulimit -n 3", "cat a$(echo b)", "cat echo + read ?a"),
        ("d=x", "cat $d", "cat + read ?"),
        ("IFS=/", "d=a/b; cat $d", "cat + read ?"),
        ("HOME=/x", "cat $HOME", "cat + read ?"),
        (". ./x", "d=a; cat $d; ls", "cat ls + read ?, read ."),
        ("ls", "d=a; cat $d", "cat + read a"),
        ("ls 'a", "d=a; cat $d", "cat + read ?"),
    ] {
        let before = inventory(first.as_bytes());
        let told = tell(&crate::inventory_in(second.as_bytes(), before.leaves()));
        assert_eq!(told, expected, "{first} / {second}");
    }
}

#[test]
fn a_shell_adds_up() {
    let first = inventory(b"shopt -s nullglob; f() { :; }");
    let second = crate::inventory_in(b"g() { :; }", first.leaves());
    assert!(second.leaves().vanishing);
    assert_eq!(second.leaves().functions.keys().collect::<Vec<_>>(), ["f", "g"]);
    assert_eq!(tell(&crate::inventory_in(b"f; g", second.leaves())), "f : g :");
}

#[test]
fn code_in_strings() {
    check_all(&[
        ("sh <<< 'rm x'", "sh rm + delete x"),
        ("cat <<'E' | bash\nrm x\nE", "cat bash rm + delete x"),
        ("bash <<E\nrm $x\nE", "bash ! stdin-code"),
        ("x=y; bash <<E\nrm $x\nE", "bash rm + delete y"),
        ("if true; then sh; fi <<< 'rm x'", "true sh rm + delete x"),
        ("{ read a; sh; } <<< 'rm x'", "read sh ! stdin-code"),
        ("echo rm x | sh", "echo sh rm + delete x"),
        ("echo -e 'rm\\x20x' | sh", "echo sh ! stdin-code"),
        ("(echo ls; echo x) | sh", "echo echo sh ls x + read ."),
        ("echo rm x | cat | sh", "echo cat sh rm + delete x"),
        ("printf 'rm %s\\n' x y | sh", "printf sh rm rm + delete x, delete y ! stdin-code"),
        ("bash <<E\nhead -c 5\nrm x\nE", "bash head rm + delete x ! stdin-code"),
        ("bash <<E\nls\nhead -c 5 < a\nrm x\nE", "bash ls head rm + read ., read a, delete x"),
        ("curl http://x | sh", "curl sh + connect x:80 ! stdin-code"),
        (". <(echo rm x)", ". rm echo + delete x"),
        ("source /dev/stdin <<< 'rm x'", "source rm + delete x"),
        ("eval \"$(cat <<'E'\nrm x\nE\n)\"", "eval rm cat + delete x"),
        ("$(echo rm) x", "rm echo + delete x"),
        ("x=$(echo rm); $x y", "echo rm + delete y"),
        ("trap 'trap \"rm x\" EXIT' EXIT", "trap trap rm + delete x"),
        ("builtin eval 'rm x'", "builtin eval rm + delete x"),
        ("bash -c 'd=x; rm $d'", "bash rm + delete x"),
        ("d=x; bash -c 'cat $d'", "bash cat + read ?"),
        ("d=x; bash -c \"rm $d\"", "bash rm + delete x"),
        ("f() { rm x; }; bash -c f", "bash f rm + delete x"),
        // What one command reads, the next one does not find any more.
        ("{ echo \"echo a$(cat); $(cat) rm y\" | bash; } <<< '#'", "echo cat cat bash ! stdin-code"),
        ("{ cat; cat; } <<< 'rm y' | bash", "cat cat bash ! stdin-code"),
        ("{ { cat; cat; } | bash; } <<< 'rm y'", "cat cat bash ! stdin-code"),
        ("{ cat | bash; } <<< 'rm y'", "cat bash rm + delete y"),
        ("echo rm y < a | bash", "echo bash + read a ! stdin-code"),
        ("rm -r a$(echo /b < c)", "rm echo + delete-tree ?a, read c"),
        ("rm -r a$(cat < d <<< /b)", "rm cat + delete-tree ?a, read d"),
        ("rm -r a$(echo /b < /dev/null)", "rm echo + delete-tree a/b, read /dev/null"),
    ]);
}

#[test]
fn what_cannot_be_read_is_opaque() {
    check_all(&[
        ("declare a[1]=x", "declare ! indirect-name"),
        ("[[ -v 'a[$(rm x)]' ]]", "! arithmetic"),
        ("[[ $x -eq 1 ]]", "! arithmetic"),
        ("[[ $# -eq 1 && ${#x} -gt 2 ]]", ""),
        ("n=$(wc -l 2>/dev/null < f); echo $((n))", "wc echo + write /dev/null, read f"),
        ("n=$(wc -l 2>&- < f); echo $((n))", "wc echo + read f"),
        ("n=$(wc -l 2>/dev/stdout < f); echo $((n))", "wc echo + write /dev/stdout, read f ! arithmetic"),
        ("((x))", "! arithmetic"),
        ("echo $(( $(a) + 1 ))", "echo a ! arithmetic"),
        ("echo ${x@P}", "echo ! unknown-syntax"),
        ("echo $[a]", "! unknown-syntax"),
        ("echo \"${x/<(rm y)/b}\"", "! unknown-syntax"),
        ("echo \"${x%%>(rm y)}\"", "! unknown-syntax"),
        ("[[ -n \"${x^<(rm y)}\" ]]", "! unknown-syntax"),
        ("cat <<< \"${x#<(rm y)}\"", "! unknown-syntax"),
        (": \"${x?<(rm y)}\"", "! unknown-syntax"),
        ("echo \"${x/\\<(rm)/<y}\"", "echo"),
        ("echo ${ rm x; }", "! unknown-syntax"),
        ("echo $((a[1]))", "echo ! arithmetic"),
        ("echo $((rm) + (x))", "! unknown-syntax"),
        ("cat <<EOF\nEO\\\nF\nrm x", "! unknown-syntax"),
        ("cat <<$x\n$x\n", "! unknown-syntax"),
        ("echo $(cat <<'E'\nEx; rm y)\nE\n)", "! unknown-syntax"),
        ("> x time rm y", "! unknown-syntax"),
        ("true | time rm y", "! unknown-syntax"),
        ("A=1 ! rm y", "! unknown-syntax"),
        // What brush does not read, or reads otherwise.
        ("select x in a; do rm b; done", "! unknown-syntax"),
        ("! time -p rm y | cat", "! unknown-syntax"),
        ("time -p -- rm x", "! unknown-syntax"),
        ("echo a>(rm x)", "! unknown-syntax"),
        ("echo $(case a in a) rm y;; esac)", "! unknown-syntax"),
        ("echo $(# )\nrm y)", "! unknown-syntax"),
        ("{fd}>x rm y", "! unknown-syntax"),
        ("rm {\\\nfd}>x", "! unknown-syntax"),
        ("rm {f\\\nd}>x", "! unknown-syntax"),
        ("rm {fd\\\n}>x", "! unknown-syntax"),
        ("rm {fd}\\\n>x", "! unknown-syntax"),
        ("nl -s {a[\"0\"]}>/dev/null -b /etc/passwd", "! unknown-syntax"),
        ("nl {a[0]}<x", "! unknown-syntax"),
        ("nl {a[0]} <x", "nl + read {a*, read x"),
        ("BASH_CMDS[7]=/bin/rm; 7 x", "7 ! reserved-variable"),
        (": ${BASH_CMDS[7]:=/bin/rm}; 7 x", ": 7 ! reserved-variable"),
        ("((BASH_CMDS[7]=1))", "! arithmetic, reserved-variable"),
        ("shopt -s expand_aliases\nBASH_ALIASES[ls]='rm x;'\nls", "shopt ls + read . ! arithmetic, reserved-variable"),
        ("FUNCNEST=1; f", "f ! reserved-variable"),
        ("local FUNCNEST=1; f", "local f ! reserved-variable"),
        ("shopt -s failglob", "shopt ! unknown-option"),
        ("printf '%n' PATH; x=safe; printf '/..%-5.*ln' 3 x; cat $x", "printf printf cat + read ?"),
        ("x=safe; command printf '%n' x; cat $x", "command printf cat + read ?"),
        ("env printf '%n' \"$x\"", "env printf"),
        ("x=safe; printf \"$y\" x; cat $x", "printf cat + read ? ! dynamic-option"),
        ("y='%s\\n'; printf \"$y\" \"$x\"; printf '100%%\\n%s' \"$x\"", "printf printf"),
        ("ls {f\\\nd}", "ls + read {fd}"),
        // Under `nocaseglob` this may find a file of the option's name.
        ("sort --OUTPUT=* x", "sort + read --OUTPUT=*, read x ! dynamic-option"),
        ("sort --output=* x", "sort + write ?, read x"),
        ("( ( ls a ) )", "! unknown-syntax"),
        ("ls !(a)", "! unknown-syntax"),
        ("$x", "? ! dynamic-program"),
        ("$(cat a) b", "? cat + read a ! dynamic-program"),
        ("/bin/r[m] x", "? ! dynamic-program"),
        ("r{m,$y} x", "? ! dynamic-program"),
        ("~root/x", "? ! dynamic-program"),
        ("echo $((a))", "echo ! arithmetic"),
        ("echo ${a[i]}", "echo ! arithmetic"),
        ("echo ${x:i}", "echo ! arithmetic"),
        ("echo ${!x}", "echo ! indirect-name"),
        ("echo ${!x@} ${!x[@]}", "echo"),
        ("echo $'\\xff'", "echo ! unknown-syntax"),
        ("echo ab?$'\\xff'*$x", "echo ! unknown-syntax"),
        // bash takes continuations out of a document first: these run `cat x`, and nothing.
        ("cat <<E\n$(cat 'x\\\n')\nE", "! unknown-syntax"),
        ("cat <<E\n$(# \\\nrm x\n)\nE", "! unknown-syntax"),
        ("cat <<E\na \\\n$(rm x)\nE", "cat rm + delete x"),
        ("echo x > ./run; ./run", "echo run + write ./run ! written-then-run"),
        ("sh < x", "sh + read x ! stdin-code"),
    ]);
}

/// In double quotes, too, the word behind `-` and `+` becomes as many words as `$@` has.
#[test]
fn words_that_become_several() {
    check_all(&[
        ("timeout \"5${1+$@}\" ls", "timeout ls + read . ! dynamic-option, dynamic-option"),
        ("timeout \"5${a+${a[@]}}\" ls", "timeout ls + read . ! dynamic-option, dynamic-option"),
        ("timeout \"5${a:-${b+$@}}\" ls", "timeout ls + read . ! dynamic-option, dynamic-option"),
        ("env A=\"${1+$@}\" ls", "env ls + read . ! dynamic-option, dynamic-option"),
        ("timeout \"5${1+$*}\" ls", "timeout ls + read ."),
        ("timeout \"5${1#$@}\" ls", "timeout ls + read ."),
    ]);
}

/// Forms that tree-sitter-bash reads without an error and wrongly. Each runs `rm`, as bash was seen to do.
#[test]
fn silent_misreads_hide_nothing() {
    for script in [
        "\"${x:-`rm y`}\"",
        "echo ${z#$(rm y)}",
        "echo ${z##$(rm y)}",
        "echo ${z%$(rm y)}",
        "echo ${z%%$(rm y)}",
        "echo ${z^$(rm y)}",
        "echo ${z,,$(rm y)}",
        "echo ${z//b/`rm y`}",
        "cat <<EOF\n`rm y`\nEOF",
        "cat <<EOF\n $(rm y)\nEOF",
        "cat <<-EOF\n\t$(rm y)\n\tEOF",
        "echo `date` `rm y`",
        "ls `pwd`/`rm y`",
        "r\\\nm y",
        "echo \"$\\\n(rm y)\"",
        "echo $\\\n(rm y)",
        "echo \\`echo \\\\\\`rm y\\\\\\`\\`; rm y",
        "time rm y",
        "time -p -- rm y",
        "time ! rm y",
        "time { rm y; }",
        "! { rm y; }",
        "coproc { rm y; }",
        "_=1 rm y",
        "if time rm y; then :; fi",
        "\\ egrep; rm y",
        "[abc]; rm y",
        "[rm] y",
        "--x=\"1\" rm y",
        "$'rm\\0zzz' y",
        "a&\\\n&rm y",
        "true|\\\n|rm y",
        "echo <\\\n(rm y)",
        "ls\\\n;rm y",
        "echo $(\\\n(rm y))",
        "echo \"a\"#b; rm y",
        "echo a\\\n#b; rm y",
        "echo {fd}>x; rm y",
        "echo 2\\\n>x; rm y",
        "true \\\n&& rm y",
        "cat <<'E F'\nE F\nrm y",
        "cat << E\nE \nE\nrm y",
        "cat <<\"\"\n\nrm y",
        "cat <<E\\\nE\nEE\nrm y",
        "echo $(case a in a) rm y;; esac)",
        "echo $(echo ')'; rm y)",
        "echo $(# )\nrm y)",
        "echo \"$(echo \")\"; rm y)\"",
        "echo '\\'; rm y; echo '\\'",
        "echo \"\\\\\"; rm y; echo \"\\\\\"",
        "echo $'\\''; rm y; echo $'\\''",
        "echo \"$'\"; rm y; echo \"'\"",
        "echo a b\\ ; rm y",
        "echo ${x}; rm y # }",
        "2>&1 rm y",
        "<x >y rm z",
        "{ rm y; }",
        "( rm y )",
        "rm y &",
    ] {
        let inventory = inventory(script.as_bytes());
        let shown = inventory
            .commands()
            .iter()
            .any(|command| command.invocation.words.first().is_some_and(|word| word == "rm"));
        assert!(shown || !inventory.opaque().is_empty(), "{script}\n{inventory:#?}");
    }
}

/// Each line of these is read by itself. So is each two of them, one behind the other: tree-sitter-bash takes the end of a line for a blank
/// behind some, if some other line follows.
#[test]
fn what_is_read_line_by_line_is_read_as_a_script() {
    let lines = [
        "ls",
        "ls -la src | head",
        "cat a | sort | uniq -c | head -5",
        "cat a |& sort | tail -3",
        "! cat a | sort | grep -q x",
        "grep -n 'a b' src/*.c",
        "make 2>&1 | tail -20",
        "make >log 2>&1 || cat log | tail | sort",
        "echo done > out.txt",
        "cat < in | sort | uniq > out",
        "exec 3<in",
        "A=1 B=2",
        "A=$(cat a | sort | head -1)",
        "for f in a b; do cat \"$f\" | sort | head; done",
        "if cat a | sort | grep -q x; then echo y; else echo n > b; fi",
        "while read -r l; do echo \"$l\" | tr a b | cat; done < in",
        "case $x in a) cat a | sort | head;; *) ls > out;; esac",
        "f() { cat a | sort | head; }",
        "{ cat a | sort | head; } > out",
        "(cat a | sort | head)",
        "cat <<E\nx\nE",
        "cat <<E | sort | head\nx\nE",
        "sleep 1 &",
        "cat a | sort | head &",
        "cat a | sort | head;",
        "cat a | sort | head # why",
        "test -f a && cat a | sort | head",
        "export A=b",
        "time cat a | sort | head",
        "echo \"a\nb\" | sort | head",
        "echo 'a;\nb' | sort | head",
        "cat a | sort |\n  head",
        "cat a \\\n  b | sort | head",
    ];
    let mut wrong = Vec::new();
    let mut read = |script: String| {
        let inventory = inventory(script.as_bytes());
        if let Some(unread) = inventory.opaque().iter().find(|item| item.reason == OpaqueReason::UnknownSyntax) {
            wrong.push(format!("{script}\n  {}", unread.detail));
        }
        let names = inventory.commands().iter().flat_map(|command| command.invocation.words.first().cloned());
        names.fold(BTreeMap::new(), |mut names, name| {
            *names.entry(name).or_insert(0) += 1;
            names
        })
    };
    for (first, second) in lines.iter().flat_map(|first| lines.iter().map(move |second| (first, second))) {
        let mut both = read((*first).to_owned());
        for (name, times) in read((*second).to_owned()) {
            *both.entry(name).or_insert(0) += times;
        }
        assert_eq!(read(format!("{first}\n{second}")), both, "{first}\n{second}");
        read(format!("if true\nthen\n{first}\n{second}\nfi\n"));
        read(format!("{{\n{first}\n\n{second}\n}} 2>&1"));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), lines.len().pow(2) * 5, wrong.join("\n"));
}

/// bash takes `-` behind `>&` for a token of its own, so that what follows is a word: its program, if there was none before. And it writes
/// a substitution anew before it runs it, which changes what a coprocess in it runs.
#[test]
fn what_bash_alone_reads_so_is_not_read() {
    for script in [
        "<& -rm echo k",
        "2>& -cat echo /etc/shadow",
        "rm -rf 2>& -/x k",
        "<&\\\n-rm echo",
        ">&\t-sudo echo id",
        "echo $(coproc ls)",
        "cat <(coproc ls)",
        "echo \"$(if true; then coproc ls; fi)\"",
    ] {
        let inventory = inventory(script.as_bytes());
        assert!(
            inventory.opaque().iter().any(|item| item.reason == OpaqueReason::UnknownSyntax),
            "{script}: {inventory:#?}"
        );
    }
    // What is missing at the end of code in a word is told within the script.
    for script in ["eval !", "bash -c !", "eval time"] {
        let inventory = inventory(script.as_bytes());
        assert!(
            inventory.opaque().iter().all(|item| item.span.end <= script.len()),
            "{script}: {:?}",
            inventory.opaque()
        );
    }
    for script in ["exec 3>& -", "ls 2>& - k", "ls 2>&- k", "coproc ls", "echo $(coproc C { ls; })"] {
        let inventory = inventory(script.as_bytes());
        assert!(inventory.opaque().is_empty(), "{script}: {:?}", inventory.opaque());
    }
}

/// Where two readings differ nothing is said: each of these is read differently by tree-sitter-bash.
#[test]
fn readings_that_differ_say_nothing() {
    for (script, reason) in [
        ("\\ egrep x", "differently"),
        ("--x=\"1\" ls", "differently"),
        ("1a=b", "differently"),
        ("[abc]", "a construct that one of the parsers does not know"),
    ] {
        let inventory = inventory(script.as_bytes());
        assert!(inventory.commands().is_empty() && inventory.truncated, "{script}");
        assert!(inventory.opaque()[0].detail.contains(reason), "{script}: {}", inventory.opaque()[0].detail);
    }
}

#[test]
fn limits() {
    let deep = |open: &str, close: &str, times: usize| format!("{}true{}", open.repeat(times), close.repeat(times));
    let most = MAX_DEPTH as usize;
    for (script, detail) in [
        (vec![b'a'; MAX_BYTES + 1024], "the command is 66560 bytes long; the limit is 65536"),
        (b"echo a\0b".to_vec(), "there is a NUL byte at byte 6"),
        (b"echo \xff".to_vec(), "not valid UTF-8 at byte 5"),
        (Vec::new(), "the command is empty"),
        (b" \t\n# only this\n".to_vec(), "the command is empty"),
        (deep("true $(", ")", most + 1).into_bytes(), "nested deeper than the limit of 64"),
        (deep("( ", ")", most + 1).into_bytes(), "nested deeper than the limit of 64"),
        (deep("{ ", ";}", 20_000 / 2).into_bytes(), "nested deeper than the limit of 64"),
        (deep("\"$(", ")\"", 10_000).into_bytes(), "nested deeper than the limit of 64"),
        (format!("{}true", "sudo ".repeat(10_000)).into_bytes(), "nested deeper than the limit of 64"),
        (format!("echo $(({}))", deep("(", ")", most + 1)).into_bytes(), "nested deeper than the limit of 64"),
        (format!("(({}))", deep("(", ")", 3000)).into_bytes(), "nested deeper than the limit of 64"),
        (
            format!("for (({};;)); do x; done", deep("(", ")", most + 1)).into_bytes(),
            "nested deeper than the limit of 64",
        ),
        (format!("{}=1", deep("a[", "]", most + 1)).into_bytes(), "nested deeper than the limit of 64"),
        (format!("echo {}", deep("${a:-", "}", most + 1)).into_bytes(), "nested deeper than the limit of 64"),
        (format!("echo {}", deep("$((", "))", most + 1)).into_bytes(), "nested deeper than the limit of 64"),
        (format!("[[ {} ]]", deep("! ", "", most + 1)).into_bytes(), "nested deeper than the limit of 64"),
        (format!("[[ {} ]]", deep("( ", " )", most + 1)).into_bytes(), "nested deeper than the limit of 64"),
        (format!("[[ a =~ {} ]]", deep("(", ")", most + 1)).into_bytes(), "nested deeper than the limit of 64"),
        (deep("coproc ", "", most + 1).into_bytes(), "nested deeper than the limit of 64"),
        (b"echo 'a".to_vec(), "unterminated single quote"),
        (b"echo \"a".to_vec(), "unterminated double quote"),
        (b"echo $'a".to_vec(), "unterminated `$'`"),
        (b"echo $(a".to_vec(), "unterminated `$(`"),
        (b"(ls".to_vec(), "never closed"),
        (b"ls )".to_vec(), "syntax error"),
        (b"ls && ; ls".to_vec(), "a command is missing"),
        (b"| ls".to_vec(), "a command is missing"),
        (b"ls > ".to_vec(), "a redirection without a target"),
        (b"cat <<EOF\na".to_vec(), "the here-document `EOF` is not closed"),
        (b"cat <<EOF".to_vec(), "the here-document `EOF` has no body"),
        (b"ls ;; rm x".to_vec(), "`;;` outside of `case`"),
        (b"ls \\".to_vec(), "a backslash at the very end"),
        (b"if true; then ls".to_vec(), "`if` without `fi`"),
        (b"for f in a; do ls".to_vec(), "a loop without `done`"),
        (b"fi".to_vec(), "the reserved word `fi` stands here"),
        (format!("{}true", "true | ".repeat(400)).into_bytes(), "pairs of commands feed each other"),
        (format!("echo {}", "x{1..60} ".repeat(2000)).into_bytes(), "come to more than 65536 words"),
        (
            format!("x='{}'\n{}", "a ".repeat(15_000), "echo $x;".repeat(5)).into_bytes(),
            "come to more than 65536 words",
        ),
        (format!("x=a;{}{}", "x=$x$x;".repeat(16), "echo $x;".repeat(300)).into_bytes(), "more than 16777216 bytes"),
        (format!("x=a;{}cat{}", "x=$x$x;".repeat(16), " <$x".repeat(300)).into_bytes(), "more than 16777216 bytes"),
        (
            (0..1001).map(|index| format!("f{index}(){{ :;}};")).collect::<String>().into_bytes(),
            "more than 1000 functions are defined",
        ),
    ] {
        let inventory = inventory(&script);
        let shown = String::from_utf8_lossy(&script).chars().take(40).collect::<String>();
        assert!(inventory.commands().is_empty() && inventory.truncated && !inventory.parsed(), "{shown}");
        assert_eq!(inventory.opaque().len(), 1, "{shown}");
        let item = &inventory.opaque()[0];
        assert_eq!((item.reason, item.command), (OpaqueReason::UnknownSyntax, None), "{shown}");
        assert!(item.detail.contains(detail), "{shown}: {}", item.detail);
        assert!(item.text.len() <= 200 && item.span.end <= script.len(), "{shown}");
    }
    assert!(inventory(deep("true $(", ")", most).as_bytes()).parsed());
    assert!(inventory(format!("echo $(({}))", deep("(", ")", most - 1)).as_bytes()).parsed());
    assert!(inventory(format!("echo {}", deep("${a:-", "}", most)).as_bytes()).parsed());
    let json = format!("cat > x.json <<'E'\n{}\nE\necho '{}'", "[[{\"a\": [1, (2)".repeat(1000), "{[(".repeat(1000));
    assert!(inventory(json.as_bytes()).parsed());
    assert!(inventory(&[b"true ".repeat(MAX_BYTES / 5), b"a".to_vec()].concat()).parsed());
}

/// What can stand inside of itself: what opens it, what stands in the middle, what closes it, and what is around all.
const NESTS: [(&str, &str, &str, &str, &str); 44] = [
    ("(", "1", ")", "echo $((", "))"),
    ("(", "1", ")", "((", "))"),
    ("( ", "1", " )", "(( ", " ))"),
    ("(", "1", ")", "for ((i = 0; ", "; )); do true; done"),
    ("$((", "1", "))", "echo ", ""),
    ("1 + $((", "1", "))", "((", "))"),
    ("a[", "1", "]", "", "=1"),
    ("a[", "1", "]", "echo $((", "))"),
    ("a[", "1", "]", "((", "))"),
    ("${a[", "1", "]}", "echo ", ""),
    ("[", "1", "]=1", "a=(", ")"),
    ("! ", "a", "", "[[ ", " ]]"),
    ("( ", "a", " )", "[[ ", " ]]"),
    ("! ( ", "a", " )", "[[ ", " ]]"),
    ("(", "a", ")", "[[ a =~ ", " ]]"),
    ("@(", "a", ")", "[[ a == ", " ]]"),
    ("${a:-", "x", "}", "echo ", ""),
    ("${a:-", "x", "}", "echo \"", "\""),
    ("\"${a:-", "x", "}\"", "echo ", ""),
    ("${a:-", "$(x)", "}", "echo ", ""),
    ("${a#", "x", "}", "echo ", ""),
    ("${a:", "1", "}", "echo ", ""),
    ("${a/", "x", "}", "echo ", ""),
    ("${a:-", "x", "}", "cat <<E\n", "\nE"),
    ("$(", "x", ")", "echo ", ""),
    ("\"$(", "x", ")\"", "echo ", ""),
    ("<(x ", "x", ")", "cat ", ""),
    ("`", "x", "`", "echo ", ""),
    ("$[", "1", "]", "echo ", ""),
    ("(", "x", ")", "", ""),
    ("( ", "x", " )", "", ""),
    ("(\n", "x", "\n)", "", ""),
    ("{ ", "x", "; }", "", ""),
    ("{a,", "b", "}", "echo ", ""),
    ("if ", "x", "; then x; fi", "", ""),
    ("while x; do ", "x", "; done", "", ""),
    ("for a in b; do ", "x", "; done", "", ""),
    ("case x in x) ", "x", " ;; esac", "", ""),
    ("f() { ", "x", "; }", "", ""),
    ("function f ", "{ x; }", "", "", ""),
    ("coproc ", "x", "", "", ""),
    ("time ", "x", "", "", ""),
    ("! ", "x", "", "", ""),
    ("x && ( ", "x", " )", "", ""),
];

/// A stack overflow would end the whole server, not only the thread: a thread of it has 2 MiB.
/// What is followed turn by turn and value by value ends somewhere, and nothing is known behind that.
#[test]
fn what_is_followed_is_bounded() {
    let doubled = |times: usize| format!("x=aaaaaaaaaa;{}cat $x", "x=$x$x;".repeat(times));
    assert!(told(&doubled(2)).ends_with("aaaa"));
    assert_eq!(told(&doubled(60)), "cat + read ?");
    let words = "a b c d e f g h i j k l m n o p q r s t u v w x y z A B C D";
    let body = "[[ a ]];".repeat(300);
    assert_eq!(told(&format!("for a in {words}; do for b in {words}; do {body} done; done; cat $b")), "cat + read ?");
    let nested = |times: usize| format!("{}{body}{}", "for x in 1 2; do ".repeat(times), " done;".repeat(times));
    assert_eq!(told(&nested(20)), "");
    assert_eq!(told(&format!("f() {{ {body} }}; {}", "f;".repeat(500))), vec!["f"; 500].join(" "));
    let printed = format!("x=a;{}cat $(printf '{}' {})", "x=$x$x;".repeat(16), "%s".repeat(9), "$x ".repeat(9));
    assert_eq!(told(&printed), "cat printf + read ?");
}

fn survives(script: String) {
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    thread.spawn(move || inventory(script.as_bytes()).parsed()).unwrap().join().unwrap();
}

#[test]
fn no_nesting_overflows_the_stack() {
    for (open, middle, close, before, behind) in NESTS {
        let most = 10_000.min((MAX_BYTES - 100) / (open.len() + close.len()));
        for times in [MAX_DEPTH as usize + 1, most] {
            survives(format!("{before}{}{middle}{}{behind}", open.repeat(times), close.repeat(times)));
            survives(format!("{before}{}", open.repeat(times)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_mixture_overflows_the_stack(kinds in prop::collection::vec(0..NESTS.len(), 1..4), times in 30_usize..2_000) {
        let nests: Vec<_> = kinds.iter().map(|kind| NESTS[*kind]).collect();
        let all: Vec<_> = nests.iter().cycle().take(times).collect();
        let opened: String = all.iter().map(|(open, _, _, before, _)| format!("{before}{open}")).collect();
        let closed: String = all.iter().rev().map(|(_, _, close, _, behind)| format!("{close}{behind}")).collect();
        survives(format!("{opened}x{closed}"));
        survives(opened);
    }
}

#[test]
fn assignments() {
    for (script, expected) in [
        ("A=1", "A=1!"),
        ("A=1 ls", "A=1"),
        ("A= ls", "A="),
        ("A+=x", "A=?!"),
        ("PATH=~/bin:$PATH", "PATH=?!"),
        ("A=~/x ls", "A=~/x"),
        ("A=a:~/x ls", "A=?a:"),
        ("A='b c'd\"$e\" ls", "A=?b cd"),
        ("export A=1 B=$x C", "A=1! B=?!"),
        ("export 'A=x y'", "A=x y!"),
        ("export A+=x", "A=?!"),
        ("readonly A=1", "A=1!"),
        ("local A=1", "A=1!"),
        ("env A=1 B='x y' ls", "A=1 B=x y"),
        ("sudo A=1 ls", "A=1"),
        ("command export A=1", "A=1!"),
        ("env export A=1", ""),
        ("read -r A B", "A=?! B=?!"),
        ("printf -v A x", "A=?!"),
        ("unset A", "A=!"),
    ] {
        let inventory = inventory(script.as_bytes());
        let all = inventory.commands().iter().flat_map(|command| &command.assignments);
        let told = |one: &crate::Assignment| {
            format!("{}={}{}", one.name, value(&one.value.value), if one.persistent { "!" } else { "" })
        };
        assert_eq!(all.map(told).collect::<Vec<_>>().join(" "), expected, "{script}");
    }
}

/// The directory of the last command: steps, `?` behind one that must be enterable.
#[test]
fn directories() {
    for (script, expected) in [
        ("x", ""),
        ("cd a && x", "a"),
        ("cd a; x", "a?"),
        ("cd a\nx", "a?"),
        ("cd a & x", ""),
        ("cd a || x", ""),
        ("cd a || y; x", "a?"),
        ("! cd a && x", ""),
        ("cd a && cd b && x", "a b"),
        ("cd a && cd b; x", "a? b?"),
        ("cd a; cd b; x", "a? b?"),
        ("echo && cd a && x", "a"),
        ("echo && cd a; x", "unknown"),
        ("cd a | x", ""),
        ("cd a | true; x", ""),
        ("(cd a); x", ""),
        ("(cd a && x)", "a"),
        ("{ cd a; }; x", "a?"),
        ("{ cd a; } && x", "a"),
        ("echo $(cd a) && x", ""),
        ("cd && x", "~"),
        ("cd ~/a && x", "~/a"),
        ("cd -P -- -a && x", "-a"),
        ("cd - && x", "unknown"),
        ("cd '' && x", "unknown"),
        ("cd a b && x", "unknown"),
        ("cd $a && x", "unknown"),
        ("cd a* && x", "unknown"),
        ("cd -@ a && x", "unknown"),
        ("HOME=/y cd && x", "unknown"),
        ("CDPATH=/ cd a && x", "unknown"),
        ("HOME=/y builtin cd && x", "unknown"),
        ("cd a > /z/z; x", "unknown"),
        ("cd a > /z/z && x", "a"),
        ("cd a 2> /dev/null; x", "a?"),
        ("{ cd a; } > /z/z; x", "unknown"),
        ("trap 'cd a' DEBUG; x", "unknown"),
        ("trap 'cd a' EXIT; x", ""),
        ("f() { cd a; }; while :; do f; done; x", "unknown"),
        ("pushd a && x", "a"),
        ("pushd +1 && x", "unknown"),
        ("popd; x", "unknown"),
        ("eval 'cd a'; x", "a?"),
        ("eval \"cd $a\"; x", "unknown"),
        (". ./f; x", "unknown"),
        ("$y; x", "unknown"),
        ("builtin cd a && x", "a"),
        ("command cd a && x", "a"),
        ("env cd a && x", ""),
        ("mkdir a; cd a; x", "a?"),
        ("mv a b; cd a; x", "unknown"),
        ("y; cd a; x", "unknown"),
        ("y; cd a && x", "a"),
        ("env -C a x", "a"),
        ("cd a && env -C b x", "a b"),
        ("env -C $a x", "unknown"),
        ("find . -execdir x \\;", "unknown"),
        ("su bob -c x", ""),
        ("su - bob -c x", "unknown"),
        ("pkexec x", "unknown"),
        ("start-stop-daemon -S -x x", "unknown"),
        ("start-stop-daemon -d /a -S -x x", "/a"),
        ("cd a && bash -c 'cd b && x'", "a b"),
        ("cd a && bash -c 'cd b'; x", "a?"),
        ("cd a || exit 1; x", "a"),
        // bash refuses to leave while a job is stopped, and jobs stop under job control.
        ("set -m; cd a || exit 1; x", "a?"),
        ("set -o monitor; cd a || exit 1; x", "unknown"),
        ("shopt -os monitor; cd a || exit 1; x", "unknown"),
        ("set $o; cd a || exit 1; x", "unknown"),
    ] {
        let inventory = inventory(script.as_bytes());
        let last =
            inventory.commands().iter().rev().find(|command| command.program.value.literal() == Some("x")).unwrap();
        let told = match &last.cwd {
            Cwd::Unknown => "unknown".to_owned(),
            Cwd::Known(steps) => {
                let step =
                    |step: &crate::CdStep| format!("{}{}", value(&step.to), if step.must_exist { "?" } else { "" });
                steps.iter().map(step).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(told, expected, "{script}");
    }
}

/// What a session still has is never left out of the next script's reading.
#[test]
fn a_function_that_cannot_be_read_again_refuses_the_script() {
    let mut shell = crate::Shell::new();
    shell.functions.insert("f".to_owned(), (vec!["f() {".to_owned()], true));
    let told = crate::inventory_in(b"f", &shell);
    assert_eq!(told.opaque().len(), 1);
    assert!(told.opaque()[0].detail.contains("function `f` cannot be read"), "{}", told.opaque()[0].detail);
    assert!(told.commands().is_empty());
    let left = crate::inventory_in(b"set -m", &crate::Shell::new());
    let next = crate::inventory_in(b"cd a || exit 1; x", left.leaves());
    let stays = |steps: &[crate::CdStep]| steps[0].must_exist;
    assert!(matches!(&next.commands().last().unwrap().cwd, Cwd::Known(steps) if stays(steps)), "it may have come back");
}

/// A relative redirection is opened where the shell is, not where `-C` leads.
#[test]
fn redirections_stay_behind_when_a_program_moves() {
    check("git -C a log > b", "git + write ^b");
    check("git -C a log > $b", "git + write ^?");
    check("git -C a log > b*", "git + write ^?");
    check("git log > b", "git + write b");
    check("git -C a log > /b", "git + write /b");
    check("make -C a 2> ~/b", "make + write ~/b ! script-file");
}

/// What a pattern matches begins like it, and so is the same option; where letters do not count it may be another one.
#[test]
fn an_option_with_a_pattern_in_its_value_is_that_option() {
    check("grep x --include=*.py f", "grep + read f");
    check("grep x --include=*.{py,js} f", "grep + read f");
    check("grep --file=* f", "grep + read ?, read f");
    check("grep x --FILE=* f", "grep + read ?, read-tree --FILE=*, read-tree f");
    check("tar cf a --checkpoint-action={exec=rm,dot} b", "tar rm + read-tree b, read a, write a ! unknown-option");
}

/// Where commands stand and what feeds them: `name(via parent flags <upstream >downstream)`.
#[test]
fn positions_and_flows() {
    for (script, expected) in [
        ("a", "a(top)"),
        ("a && b || c; d", "a(top) b(top cond) c(top cond) d(top)"),
        ("a & b", "a(top bg) b(top)"),
        ("a && b &", "a(top bg) b(top cond bg)"),
        ("a | b | c", "a(pipe0 >12) b(pipe1 <0 >2) c(pipe2 <01)"),
        ("(a; b) | c", "a(pipe0 d1 >2) b(pipe0 d1 >2) c(pipe1 <01)"),
        ("{ a | b; } | c", "a(pipe0 d1 >12) b(pipe1 d1 <0 >2) c(pipe1 <01)"),
        ("a | sudo b | c", "a(pipe0 >123) sudo(pipe1 <0 >3) b(sudo^1 <0 >3) c(pipe2 <012)"),
        ("a | xargs -n1 b", "a(pipe0 >12) xargs(pipe1 <0) b(xargs^1 <0)"),
        ("echo $(a) | b", "echo(pipe0 >2) a(subst d1 >2) b(pipe1 <01)"),
        ("bash -c 'a | b'", "bash(top) a(pipe0^0 d1 >2) b(pipe1^0 d1 <1)"),
        ("bash -c \"$(a)\"", "bash(top <1) a(subst d1 >0)"),
        ("bash <<< \"$(a)\"", "bash(top <1) a(subst d1 >0)"),
        ("$(a)", "?(top <1) a(subst d1 >0)"),
        ("eval \"$(a)\"", "eval(top <1) a(subst d1 >0)"),
        ("echo \"$(a)\"", "echo(top) a(subst d1)"),
        ("sudo env A=1 b", "sudo(top) env(sudo^0) b(env^1)"),
        ("true && bash -c 'a' &", "true(top bg) bash(top cond bg) a(bash'^1 d1 cond bg)"),
        ("find . -exec a {} \\; -exec b {} +", "find(top) a(find^0) b(find^0)"),
    ] {
        let inventory = inventory(script.as_bytes());
        let ids = |sign: &str, ids: &[crate::CommandId]| {
            let digits: String = ids.iter().map(|id| id.0.to_string()).collect();
            if digits.is_empty() { String::new() } else { format!(" {sign}{digits}") }
        };
        let told = inventory.commands().iter().map(|command| {
            let via = match &command.via {
                Via::Substitution => "subst".to_owned(),
                Via::ProcessSubstitution => "procsub".to_owned(),
                Via::Subshell => "subshell".to_owned(),
                Via::Function(name) => format!("function {name}"),
                Via::Alias => "alias".to_owned(),
                Via::Trap => "trap".to_owned(),
                Via::Coproc => "coproc".to_owned(),
                Via::Variable(name) => format!("${name}"),
                Via::Top => "top".to_owned(),
                Via::Pipe(part) => format!("pipe{part}"),
                Via::Wrapper(words) => words.clone(),
                Via::Code(shell) => format!("{shell}'"),
            };
            let parent = command.parent.map(|id| format!("^{}", id.0)).unwrap_or_default();
            let depth = if command.depth > 0 { format!(" d{}", command.depth) } else { String::new() };
            let name = command.invocation.words.first().map_or("?", String::as_str);
            let flags = [(command.conditional, " cond"), (command.background, " bg")];
            let flags: String = flags.iter().filter(|(is, _)| *is).map(|(_, flag)| *flag).collect();
            let (up, down) = (ids("<", &command.upstream), ids(">", &command.downstream));
            format!("{name}({via}{parent}{depth}{flags}{up}{down})")
        });
        assert_eq!(told.collect::<Vec<_>>().join(" "), expected, "{script}");
    }
}

#[test]
fn spans_point_into_the_script() {
    for (script, program, expected) in [
        ("ls; A=1 rm -rf x >y; ls", "rm", "A=1 rm -rf x >y"),
        ("sudo -u x rm y", "rm", "rm y"),
        ("bash -c 'ls; rm y'", "rm", "rm y"),
        ("bash -c \"ls; rm y\"", "rm", "rm y"),
        ("bash -c 'ls; 'rm\\ y", "rm", "'ls; 'rm\\ y"),
        ("bash -c \"bash -c 'rm y'\"", "rm", "rm y"),
        ("echo \"$(rm y)\"", "rm", "rm y"),
        ("echo é; rm y", "rm", "rm y"),
    ] {
        let inventory = inventory(script.as_bytes());
        let command =
            inventory.commands().iter().find(|one| one.invocation.words.first().is_some_and(|word| word == program));
        let span = command.unwrap().span;
        assert_eq!(&script[span.start..span.end], expected, "{script}");
    }
}

#[test]
fn unread_code_says_where_it_stands() {
    let inventory = inventory(b"ls; bash -c 'ls; rm !(x)'; rm !(a)");
    let told: Vec<_> =
        inventory.opaque().iter().map(|item| (item.text.as_str(), item.command.map(|id| id.0))).collect();
    assert_eq!(told, [("rm !(x)", Some(1)), ("rm !(a)", None)]);
}

#[test]
fn json_shape() {
    let json = serde_json::to_value(inventory(b"A=1 cat <in | wc -l")).unwrap();
    let keys = |value: &serde_json::Value| {
        // In the order of the alphabet, whether or not the JSON library keeps that of the text.
        let keys: std::collections::BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        keys.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(&json), "commands parser truncated undeterminable");
    assert_eq!(json["parser"]["ts"], true);
    let command = &json["commands"][0];
    assert_eq!(
        keys(command),
        "argv background conditional cwd depth downstream effects env flags groups id inline_code operands options parent \
         program redirects resolved span upstream via words"
    );
    assert_eq!(command["span"], serde_json::json!([0, 11]));
    assert_eq!(command["via"], "pipe(0)");
    assert_eq!(command["program"]["value"], serde_json::json!({"literal": "cat"}));
    assert_eq!(command["effects"][0]["kind"], "read");
    assert_eq!(command["cwd"], serde_json::json!({"known": []}));
}

/// Every builtin of the bash at hand is one of ours, and has a table: none can pass for a harmless program.
#[test]
fn builtins_are_known() {
    let listed = bash("compgen -b", &[]);
    for name in std::str::from_utf8(&listed).unwrap().lines() {
        let quoted = format!("'{name}'");
        let inventory = inventory(quoted.as_bytes());
        assert_eq!(inventory.commands()[0].resolved, Resolved::Builtin, "{name}");
        let untold = inventory.opaque().iter().any(|item| item.detail.contains("no table"));
        assert!(!untold, "{name} has no table");
    }
}

/// What bash makes of each word; a NUL ends it.
fn bash_words(words: &str) -> Vec<String> {
    let printed = bash(&format!("printf '%s\\0' {words}"), &[("LC_ALL", "C.UTF-8"), ("HOME", "/h")]);
    let mut words: Vec<_> =
        printed.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    words.pop();
    words
}

fn bash(code: &str, environment: &[(&str, &str)]) -> Vec<u8> {
    let mut shell = Process::new("bash");
    // Nothing can be made in this directory, and nothing that comes and goes is there for a pattern to match.
    shell.args(["--norc", "--noprofile", "-c", code]).current_dir("/proc/self/task").stdin(Stdio::null());
    shell.envs(environment.iter().copied()).stderr(Stdio::null()).output().unwrap().stdout
}

/// The literal words that we read, if all are.
fn our_words(words: &str) -> Option<Vec<String>> {
    let script = format!("printf '%s\\0' {words}");
    let reading = reader::read(script.as_bytes(), 0).ok().filter(|reading| reading.rest.is_none())?;
    let [statement] = reading.script.statements.as_slice() else { return None };
    let [ast::Part::Simple(command)] = statement.first.parts.as_slice() else { return None };
    let literal = |arg: &ast::Arg| match &arg.word.value {
        Value::Literal(text) => Some(text.clone()),
        Value::Home(rest) => Some(format!("/h{rest}")),
        _ => None,
    };
    command.words.iter().skip(2).map(literal).collect()
}

#[test]
fn quotes_are_removed_as_bash_does() {
    let literal = [
        "a",
        "'a b'",
        "\"a b\"",
        "a'b'\"c\"d",
        "\\a\\ \\'\\\"\\\\",
        "\"\\a\\$\\`\\\"\\\\\"",
        "''",
        "\"\"",
        "a''b",
        "'a'\\''b'",
        "$'a\\nb\\tc'",
        "$'\\a\\b\\e\\E\\f\\r\\v'",
        "$'\\'\\\"\\\\\\?'",
        "$'\\101\\60\\7'",
        "$'\\x41\\x4a\\x7'",
        "$'\\u41\\U00000042'",
        "$'a\\0b'c",
        "$'\\400x'y",
        "$'\\x0z'",
        "$'\\ca\\cZ'",
        "$'\\q\\9'",
        "$'\\xg'",
        "$'\\ug'",
        "$'é\\x41'",
        "$'\\303\\251'",
        "a$",
        "$",
        "\"$\"",
        "\"a$ b\"",
        "$%a",
        "\"$'a'\"",
        "a#b",
        "a~",
        "a~b",
        "{}",
        "{a}",
        "a{b",
        "}",
        "a}b",
        "[",
        "a]",
        "a=b",
        "A=b",
        "-x",
        "--",
        "-",
        "!",
        "a!b",
        "%1",
        "^a",
        "a,b",
        "a:b",
        "@",
        "+a",
        "~",
        "~/a\\ b",
        "~/'*'",
        "'~'",
        "\\~",
        "\"~/a\"",
        "'*'",
        "\\*",
        "\"?\"",
        "\\{a,b}",
        "'{a,b}'",
        "é",
        "日本",
        "'\u{1F600}'",
        "\"a\nb\"",
        "'a\nb'",
        "\"a\\\nb\"",
        "a\rb",
        "\"\t\"",
        "a\\\tb",
        "in",
        "]]",
        "if",
        "time",
        "a\u{a0}b",
        "a\x0bb",
        "'a'$'b'\"c\"",
        "\"a\"'b'\\c$'d'",
    ];
    for word in literal {
        assert_eq!(our_words(word), Some(bash_words(word)), "{word:?}");
    }
}

/// Words that bash expands, or that depend on the machine, are never literal.
#[test]
fn what_bash_expands_is_not_literal() {
    for word in [
        "$x",
        "\"$x\"",
        "${x}",
        "a$1",
        "$@",
        "\"$*\"",
        "$?",
        "$$",
        "$!",
        "$-",
        "$_",
        "$((1))",
        "*",
        "a?",
        "[a]",
        "a[b]c",
        "[\"]\"a]",
        "{a,b}",
        "{1..3}",
        "{a,'b'}",
        "a{b,c}d",
        "{a,b",
        "~root",
        "~+",
        "~-",
        "~\"/x\"",
        "A=~/b",
        "A=b:~",
        "$\"a\"",
        "$'\\u00e9'",
        "$'\\xff'",
        "$'\\c\\\\'",
        "$'\\x{41}'",
        "~/*",
        "$x*",
        "{$x,b}",
    ] {
        assert_eq!(our_words(word), None, "{word:?}");
    }
}

/// Pieces from which words are made that no expansion touches.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_./:%@^,=+-]{1,4}",
        "'[^'\\x00]{0,4}'",
        "\"[^\"\\\\$`\\x00]{0,4}\"",
        r#""\\[$`"\\a-z ]""#,
        r"\\[^\n\x00]",
        r"\$'([a-z ]|\\[abefnrtv\\'0-7x])[a-f0-9]{0,2}'",
        Just("\"\\\n\"".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn literal_words_are_what_bash_makes_of_them(words in prop::collection::vec(prop::collection::vec(piece(), 1..4), 1..4)) {
        let words = words.iter().map(|pieces| pieces.concat()).collect::<Vec<_>>().join(" ");
        if let Some(ours) = our_words(&words) {
            prop_assert_eq!(ours, bash_words(&words), "{:?}", words);
        }
    }

    #[test]
    fn nothing_panics_and_nothing_is_lost(script in script()) {
        let inventory = inventory(script.as_bytes());
        prop_assert!(!inventory.commands().is_empty() || !inventory.opaque().is_empty());
        for (index, command) in inventory.commands().iter().enumerate() {
            prop_assert_eq!(command.id.0 as usize, index);
            prop_assert!(command.span.start <= command.span.end && command.span.end <= script.len());
            prop_assert!(command.parent.is_none_or(|parent| (parent.0 as usize) < index));
        }
        for item in inventory.opaque() {
            prop_assert!(item.span.end <= script.len() && !item.detail.is_empty());
        }
        prop_assert_eq!(inventory.parsed(), !inventory.opaque().iter().any(|item| item.reason == OpaqueReason::UnknownSyntax));
    }

    #[test]
    fn no_bytes_panic(script in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = inventory(&script);
    }

    /// Whatever stands around it: a program that bash starts is in the inventory, or something is opaque.
    #[test]
    fn what_bash_runs_is_listed(script in prop_oneof![script(), well_formed()]) {
        let marker = "command_not_found_handle() { printf '%s\\0' \"$1\" >&9; }; PATH=/nowhere; exec 9>&1 >/dev/null 2>&1\n";
        let inventory = inventory(script.as_bytes());
        if inventory.opaque().is_empty() {
            let printed = bash(&format!("{marker}{script}\nwait"), &[]);
            let printed = String::from_utf8_lossy(&printed);
            for ran in printed.split('\0').filter(|name| !name.is_empty()) {
                let listed = inventory.commands().iter().any(|command| command.argv.first().is_some_and(|word| word.value.literal() == Some(ran)));
                prop_assert!(listed, "{ran:?} ran, but is not listed: {script:?}");
            }
        }
    }
}

/// Scripts from the pieces that matter to the grammar, many of them broken.
fn script() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "aa",
        "bb",
        "cc",
        " ",
        " ",
        " ",
        "\n",
        ";",
        "; ",
        " && ",
        " || ",
        " | ",
        " |& ",
        " & ",
        "(",
        ")",
        "( ",
        " )",
        "{ ",
        "; }",
        "$(",
        ")",
        "\"",
        "\"",
        "'",
        "'",
        "\\",
        "\\\n",
        "$",
        "$x",
        "${x}",
        "${x:-",
        "}",
        "$((",
        "))",
        "`",
        "#",
        " #",
        "=",
        "A=",
        "A=1 ",
        "!",
        "! ",
        "time ",
        "time -p ",
        " > /dev/null",
        " 2>&1",
        " < /dev/null",
        " >&2",
        "<<E",
        "<<'E'\n",
        "\nE\n",
        "<<-E",
        "<<<",
        "<(",
        "[",
        "]",
        "[ ",
        " ]",
        "[[ ",
        " ]]",
        "if ",
        "then ",
        "fi",
        "for ",
        "do ",
        "done",
        "case ",
        "esac",
        "coproc ",
        "function ",
        "~",
        "*",
        "?",
        "{a,b}",
        "$'",
        "\\'",
        "\\\"",
        "\t",
        "env ",
        "command ",
        "exec ",
        "eval ",
        "bash -c ",
        "xargs ",
        "cd ",
        "é",
        "--x=1 ",
        "_=1 ",
        "-",
        "echo ",
        "builtin ",
        "\r",
    ]);
    prop::collection::vec(pieces, 1..14).prop_map(|pieces| pieces.concat())
}

/// Scripts that bash accepts, mostly, with commands in every place where the grammar allows them.
fn well_formed() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "aa",
        "b'b'",
        "\\cc",
        "\"d\"d",
        "$'e\\x65'",
        "f''f",
        "echo",
        "true",
        "command gg",
        "! hh",
        "time ii",
        "A=1 jj",
        "A='1 2' B=$x kk",
    ]);
    let simple = name.clone().prop_map(str::to_owned);
    simple.prop_recursive(4, 24, 3, move |script| {
        let join = prop::sample::select(vec![
            " && ",
            " || ",
            " | ",
            "|&",
            "; ",
            " & ",
            "\n",
            " # x' \"\n",
            " \\\n && ",
            ";\n\n",
        ]);
        let around = prop::sample::select(vec![
            ("( ", " )"),
            ("{ ", "; }"),
            ("echo $(", ")"),
            ("echo \"a $(", ") b\""),
            ("A=$(", ") mm"),
            ("A=\"$(", ")\""),
            ("nn 2>&1 \"$(", ")\" >/dev/null"),
            ("cat <<'E'\n$(zz)\nE\n", ""),
            ("oo <<E\n\\$(zz) $x\nE\n", ""),
            ("echo \"$(cat <<'E'\n'\" ) `zz\nE\n)\"; ", ""),
            ("eval '", "'"),
            ("command ", ""),
            ("builtin ", ""),
            ("pp \\\n ", ""),
            ("echo $((1 + 2)) ${x:-zz} '", "'"),
            ("echo \"\\$(", ")\""),
            ("echo \\$\\(", "\\)"),
            ("true || ", ""),
            ("! ", ""),
            ("{ ", "; } </dev/null 2>&1 | qq"),
            ("( ", " ) >/dev/null & rr"),
        ]);
        prop_oneof![
            (script.clone(), join, script.clone()).prop_map(|(one, join, two)| format!("{one}{join}{two}")),
            (around, script.clone()).prop_map(|((before, behind), inner)| format!("{before}{inner}{behind}")),
            (name.clone(), script).prop_map(|(name, inner)| format!("{name} $({inner}) x")),
        ]
    })
}
