//! Level `default` where the machine offers no namespaces: in a container with the engine's own filter and capabilities, and where
//! user namespaces are switched off. What is missing is told, `strict` refuses, and what `default` promises is held.
//!
//! The container is given this binary; its programs are its image's.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::services::{Docker, run, skip, stdout_of};
use crate::support::world::World;

/// Tries everything once, in a directory of its own below `$1`; each answer stands behind its name. `P` is the program.
const SCRIPT: &str = r#"
set -u
export HOME=$1/home XDG_STATE_HOME=$1/state
mkdir -p "$1/work" "$HOME/.ssh"
cd "$1/work" || exit 9
echo 'the private key' > "$HOME/.ssh/id_ed25519"
printf '[sandbox]\nlevel = "strict"\n' > "$1/strict.toml"
answer() { # NAME COMMAND...
    local name=$1 out
    shift
    out=$("$@" 2>&1)
    echo "$name: $? $(echo "$out" | tr '\n' ' ')"
}
attack() { # NAME TEXT: a program of the workspace, whose text nobody judges
    printf '#!/bin/bash\n%s\n' "$2" > attack
    chmod +x attack
    answer "$1" "$P" run ./attack
}
answer doctor "$P" doctor
answer strict "$P" run --config "$1/strict.toml" 'echo started'
answer doctor-strict "$P" doctor --config "$1/strict.toml"
answer works "$P" run 'echo one > in && cat in'
answer pipes "$P" run 'cat in | grep -c one'
answer denied "$P" run 'cat ~/.ssh/id_ed25519'
attack key "cat $HOME/.ssh/id_ed25519"
attack write "echo x > $1/outside"
attack record "cat $1/state/palisade/audit/*"
attack server 'cat /proc/$PPID/environ; for p in /proc/[0-9]*; do tr "\0" "\n" < $p/environ | grep ^MARK=; done'
attack kill 'for p in /proc/[0-9]*; do case ${p#/proc/} in $$|$PPID) ;; *) kill -9 ${p#/proc/} ;; esac; done 2>/dev/null; echo on'
attack namespaces 'unshare -r true'
attack capabilities 'grep -cE "^Cap(Inh|Prm|Eff|Amb):.0*$" /proc/self/status'
attack leftover "setsid sleep $2 >/dev/null 2>&1 & sleep 0.5; pgrep -cf 'sleep $2'"
for _ in 1 2 3 4 5 6 7 8 9 10; do
    pgrep -f "sleep $2" >/dev/null || break
    sleep 0.2
done
answer left pgrep -f "sleep $2"
answer outside test -e "$1/outside"
"#;

fn hold(told: &str) {
    let answer = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let line = line.unwrap_or_else(|| panic!("no answer to {name}:\n{told}"));
        line.split_once(' ').map(|(status, text)| (status.to_owned(), text.to_owned())).expect("a status")
    };
    let (status, text) = answer("doctor");
    assert_eq!(status, "0", "{text}");
    for part in
        ["missing  namespaces: refused: ", "missing  mounts: ", "missing  network: always off", "ok       guard: "]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    for name in ["strict", "doctor-strict"] {
        let (status, text) = answer(name);
        assert_eq!(status, if name == "strict" { "125" } else { "2" }, "{name}: {text}");
        assert!(text.contains("level `strict` needs namespaces and the kernel refuses them"), "{text}");
        assert!(text.contains("user.max_user_namespaces") && !text.contains("started"), "{text}");
    }
    assert_eq!(answer("works"), ("0".to_owned(), "one ".to_owned()), "{told}");
    assert_eq!(answer("pipes"), ("0".to_owned(), "1 ".to_owned()), "{told}");
    assert_eq!(answer("denied").0, "126", "{told}");
    for name in ["key", "write", "record", "namespaces"] {
        assert_ne!(answer(name).0, "0", "{name}: {told}");
    }
    // The guard answers, and where it is asked nothing the kernel does.
    assert!(answer("key").1.contains("denied at execve") && answer("write").1.contains("Permission denied"), "{told}");
    for name in ["key", "record", "server"] {
        let (_, text) = answer(name);
        assert!(!text.contains("the private key") && !text.contains("\"kind\"") && !text.contains("MARK="), "{told}");
    }
    // Of its own session it may end what it likes, and nothing else.
    assert_eq!(answer("kill"), ("0".to_owned(), "on ".to_owned()), "{told}");
    assert_eq!(answer("leftover").0, "0", "{told}");
    assert_eq!(answer("capabilities"), ("0".to_owned(), "4 ".to_owned()), "{told}");
    assert_eq!((answer("left").0, answer("outside").0), ("1".to_owned(), "1".to_owned()), "{told}");
}

#[test]
fn in_an_unprivileged_container() {
    let Some(docker) = Docker::up() else { return };
    let binary = env!("CARGO_BIN_EXE_palisade");
    // What the binary is linked to that the image has not.
    let linked = stdout_of(Command::new("ldd").arg(binary));
    let paths = linked.lines().filter_map(|line| line.split("=> ").nth(1)?.split(' ').next());
    let libraries = paths.filter(|path| Path::new(path).is_absolute()).map(|path| format!("{path}:{path}:ro"));
    let binds: Vec<String> = libraries.chain([format!("{binary}:/palisade:ro")]).collect();
    let container = docker.container_with("palisade-confined-test", &binds);
    for user in ["1000:1000", "0:0"] {
        let place = format!("/var/tmp/{}", user.split(':').next().unwrap_or_default());
        let script = format!("export MARK=secret P=/palisade; set -- {place} 98.{}\n{SCRIPT}", std::process::id());
        let told = container.bash(user, &script);
        hold(&told.replace('\r', ""));
    }
}

#[test]
fn without_user_namespaces() {
    // A user namespace in which there can be no further one, and a root in it without any capability.
    let inside = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-U", "-r", "bash", "-c", "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all --bounding-set=-all bash -c \"$0\" confined \"$@\""]);
        command.arg(script).stdin(Stdio::null());
        command
    };
    if !run(&mut inside("true")).status.success() {
        skip::<()>("namespaces", "no user namespace can be made to switch them off in");
        return;
    }
    let world = World::new();
    let (place, mark) = (world.path("confined"), format!("98.{}", std::process::id()));
    let mut command = inside(SCRIPT);
    command.arg(&place).arg(mark).env("P", env!("CARGO_BIN_EXE_palisade")).env("MARK", "secret");
    hold(&stdout_of(&mut command));
}
