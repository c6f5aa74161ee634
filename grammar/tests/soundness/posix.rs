//! What `sh` runs is in the inventory of a script that is read for it, as what bash runs is.
//!
//! Scripts for a session at a target without bash are judged as bash reads them, and are refused where that may be something else in
//! `sh`. Here those that are not refused run under dash and busybox's ash: what they do there must be told, and what they print must
//! be what they print under bash.

use std::process::{Command, Stdio};

use palisade_grammar::{Inventory, Shell, inventory_in};

use crate::cage::{ASH, Cage, DASH, REAL};
use crate::{Rows, amount, chosen, cover, follow, gaps, generate};

fn in_sh(script: &str) -> Inventory {
    inventory_in(script.as_bytes(), &Shell::posix())
}

/// The rows of the other tests, and what is generated for them: what is let through does nothing in `sh` that is not told.
#[test]
fn what_sh_runs_is_told() {
    let Some(cage) = Cage::available() else { return };
    let rows: Rows = toml::from_str(include_str!("rows.toml")).unwrap();
    let rows = rows.rows.into_iter().flat_map(|row| row.scripts);
    let (seed, count) = amount();
    let seeds = || (0..count).map(|index| seed.wrapping_add(index));
    let made = seeds().map(generate::script).chain(seeds().map(follow::script));
    let scripts = chosen(rows.chain(made).chain(SAME.map(str::to_owned)).collect(), 2);
    let claims = |script: &&String| !script.contains('\0') && cover::determined(&in_sh(script));
    let claimed: Vec<&str> = scripts.iter().filter(claims).map(String::as_str).collect();
    assert!(
        claimed.len() as u64 * 5 > amount().1,
        "only {} of {} scripts are let through",
        claimed.len(),
        scripts.len()
    );
    let known = gaps();
    for shell in [DASH, ASH] {
        let Some(cage) = cage.with(shell) else { continue };
        let ran = cage.run(&claimed);
        // Busybox may run programs of its own in the place of others, which do it in their way: this is about the shell.
        let is_plain = |script: &str| shell != ASH || !script.split(|letter| !is_named(letter)).any(is_program);
        let judged = claimed.iter().zip(&ran).filter(|(script, _)| is_plain(script));
        let programs: usize = judged.clone().map(|(_, ran)| ran.trace.execs.len() - 1).sum();
        assert!(programs > 50, "only {programs} programs ran");
        let judged = judged.map(|(script, ran)| (script, cover::misses(&in_sh(script), ran)));
        let wrong: Vec<String> = judged
            .filter(|(script, misses)| {
                let own = |miss: &str| shell == ASH && OWN.iter().any(|begin| miss.starts_with(begin));
                !misses.iter().all(|miss| own(miss) || known.iter().any(|gap| gap.holds(script, miss)))
            })
            .map(|(script, misses)| format!("--- {script:?}: {misses:?}"))
            .collect();
        let shell = shell.first().copied().unwrap_or_default();
        eprintln!("{shell}: {} of {} scripts, {programs} programs", claimed.len(), scripts.len());
        assert!(wrong.is_empty(), "{shell}: {} scripts did what is not told\n{}", wrong.len(), wrong.join("\n"));
    }
}

/// Busybox starts itself again for these, under their names, and `watch` a shell.
const OWN: [&str; 3] = ["executed [\"time\"", "executed [\"watch\"", "executed [\"sh\", \"-c\""];

fn is_named(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_.+-".contains(letter)
}

fn is_program(word: &str) -> bool {
    REAL.lines().any(|name| name == word)
}

/// They print the same, and end with the same status.
#[test]
fn what_sh_prints_is_what_bash_prints() {
    let shells = [&["dash"][..], &["busybox", "sh"]];
    for script in SAME {
        assert!(in_sh(script).parsed(), "{script}: {:?}", in_sh(script).opaque());
        let expected = printed(&["bash"], script).unwrap();
        for shell in shells {
            // The cage says so where one has to be there.
            let Some(found) = printed(shell, script) else { continue };
            assert_eq!(found, expected, "{shell:?}: {script}");
        }
    }
}

fn printed(shell: &[&str], script: &str) -> Option<(String, Option<i32>)> {
    let mut command = Command::new(shell.first()?);
    let command = command.args(shell.get(1..)?).args(["-c", "eval \"$1\"", "sh", script]).stdin(Stdio::null());
    let output =
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/h").current_dir("/usr").output().ok()?;
    Some((String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code()))
}

/// What people write, with something that prints how it was understood.
const SAME: [&str; 40] = [
    "echo a  'b  c' \"d\"; printf '%s\\n' \"$HOME\" ~ ~/x",
    "x=1; y=${x:-2}; z=${nope:-2}; echo $x $y $z ${nope+a} ${x+a} ${#x}",
    "f=a/b.tar.gz; echo ${f%.*} ${f%%.*} ${f#*/} ${f##*.}",
    "i=0; while [ $i -lt 3 ]; do echo $i; i=$((i + 1)); done",
    "for x in a 'b c' d; do echo \"<$x>\"; done",
    "for x in lib/*.nope; do echo $x; done",
    "case abc in x|a*) echo one;; *) echo two;; esac",
    "case abc in (x) echo one;; *) echo two;; esac",
    "f() { echo \"$1-$#\"; return 3; }; f a b; echo $?",
    "false || echo or; true && echo and; ! true; echo $?",
    "(cd / && pwd); pwd; { echo a; echo b; } | cat",
    "x=$(echo a; echo b); echo \"$x\"; echo $x",
    "echo \"$(echo \"$(echo deep)\")\"",
    "cat <<E\n$HOME ${x-no} \\$x\nE\necho after",
    "cat <<'E'\n$HOME `x` \\$x\nE",
    "cat <<-E\n\ta\n\tb\n\tE\necho after",
    "echo a >/dev/null; echo b 2>&1; cat /nope 2>/dev/null; echo $?",
    "set -- a 'b c'; echo $# \"$@\"; for x in \"$@\"; do echo \"<$x>\"; done; shift; echo $1",
    "set -- a b; for x; do echo $x; done; for x in $*; do echo $x; done",
    "x='a b'; for y in $x; do echo $y; done; for y in \"$x\"; do echo $y; done",
    "if [ -d / ] && [ ! -f / ]; then echo yes; elif true; then echo no; else echo never; fi",
    "[ a = a ] && [ a != b ] && [ -n a ] && [ -z '' ] && [ 2 -gt 1 ]; echo $?",
    "echo $((1 + 2 * 3)) $((7 / 2)) $((7 % 2)) $((1 << 4)) $((3 > 2)) $((010))",
    "export A=1; B=2 env | grep -e ^A -e ^B | sort; echo \"${B-none}\"",
    "export A=\"a b\"; echo $A; readonly C=x; echo $C",
    "printf '%s-%d\\n' a 1 b 2; printf '%5s|%-3s|%03d\\n' x y 7; printf 'a\\tb\\n'",
    "printf 'a\\nb\\n' | while read -r l; do echo \"<$l>\"; done",
    "printf ' a  b \\n' | { IFS= read -r l; echo \"<$l>\"; }",
    "printf 'a b c\\n' | { read -r x y; echo \"$x-$y\"; }",
    "eval 'echo a; x=5'; echo $x; unset x; echo ${x-gone}",
    "command -v cat >/dev/null && echo there; command echo2 2>/dev/null; echo $?",
    "true; echo $?; false; echo $?; (exit 7); echo $?; sh_nope 2>/dev/null; echo $?",
    "x=a; x=\"$x\"b; echo ${x}c; echo \"a\\\"b\"; echo 'a'\\''b'",
    "echo a \\\n  b; echo c # d\n# e\necho f",
    "exec 3>&1; echo x >&3; exec 3>&-; echo y",
    "echo \"a$\" a$ $ '$x' \\$x \"\\$x\"",
    "set -e; echo a; false; echo b",
    "set -u; echo a; echo ${nope-ok}",
    "set -f; echo *; set +f; cd /; echo usr/bi[n] us?",
    "until false; do echo once; break; done; while true; do break; done; echo {} HEAD~1 a{}b",
];
