//! The exec guard with the shipped policies: what no text told is decided when it is executed.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::people::call;
use crate::support::terminal::Terminal;
use crate::support::world::{Ended, World};

/// A repository to work in.
fn world() -> World {
    let world = World::new();
    let git = Command::new("git").args(["init", "--quiet"]).current_dir(world.workspace()).status();
    assert!(git.is_ok_and(|status| status.success()));
    world
}

fn json(world: &World, command: &str) -> (Ended, Value) {
    let ended = world.call(&["run", "--json", command]);
    let value = serde_json::from_str(ended.stdout.lines().last().unwrap_or_default()).unwrap_or_default();
    (ended, value)
}

fn denied(result: &Value) -> Vec<&str> {
    let denied = result["denied"].as_array().map(Vec::as_slice).unwrap_or_default();
    denied.iter().map(|program| program["policy"].as_str().unwrap_or_default()).collect()
}

/// A program of the workspace, and the policies that refuse what it tries. Everything here is allowed to start: its text
/// is a file, which nobody has read.
const TRIED: &[(&str, &[&str])] = &[
    ("#!/bin/sh\ngit push origin main", &["ask-git-push"]),
    ("#!/bin/bash\nx=git y=push; \"$x\" \"$y\" origin main", &["ask-git-push"]),
    ("#!/bin/bash\nenv git push; timeout 5 git push", &["ask-git-push", "ask-git-push"]),
    ("#!/bin/bash\n(exec -a harmless git push)", &["ask-git-push"]),
    (
        "#!/usr/bin/python3\nimport os, shutil\nos.symlink(shutil.which('git'), 'other')\nos.system('./other push')",
        &["ask-git-push"],
    ),
    ("#!/bin/bash\n/usr/bin/su --version", &["no-sudo"]),
    ("#!/usr/bin/su\n", &["no-sudo"]),
    ("#!/bin/bash\nprintf '#!/usr/bin/su\\n' > inner; chmod +x inner; ./inner", &["no-sudo"]),
    ("#!/usr/bin/python3\nimport subprocess\nsubprocess.run(['git', 'push'])", &["ask-git-push"]),
    ("#!/usr/bin/python3\nimport os\nos.system('git push')", &["ask-git-push"]),
    (
        "#!/usr/bin/python3\nimport os, shutil\nos.execve(os.open(shutil.which('git'), 0), ['x', 'push'], {})",
        &["ask-git-push"],
    ),
    (
        "#!/usr/bin/python3\nimport os\nfd = os.memfd_create('x')\nos.write(fd, open('/usr/bin/true', 'rb').read())\nos.execve(fd, ['x'], {})",
        &[""],
    ),
    ("#!/usr/bin/perl\nsystem('git', 'push')", &["ask-git-push"]),
    // Variables for a git that may reach a host, by every way that leads to it.
    ("#!/bin/bash\nLD_PRELOAD=./x.so git fetch https://github.com/a/b", &["guard-loader-env"]),
    ("#!/bin/bash\nexport GIT_SSH_COMMAND=./x; git fetch https://github.com/a/b", &["guard-loader-env"]),
    ("#!/bin/bash\nexport GIT_CONFIG_COUNT=0; git ls-remote https://github.com/a/b", &["guard-loader-env"]),
    ("#!/bin/bash\nLD_PRELOAD=./x.so nice env timeout 9 git fetch https://github.com/a/b", &["guard-loader-env"]),
    ("#!/bin/bash\necho https://github.com/a/b | LD_AUDIT=./x.so xargs git fetch", &["guard-loader-env"]),
    ("#!/bin/bash\nf() { git fetch https://github.com/a/b; }; LD_PRELOAD=./x.so f", &["guard-loader-env"]),
    ("#!/bin/bash\n(LD_PRELOAD=./x.so exec -a ls git fetch https://github.com/a/b)", &["guard-loader-env"]),
    (
        "#!/bin/bash\nprintf 'export LD_PRELOAD=./x.so\\na:\\n\\t@sh -c \"sh -c \\\\\"git fetch https://github.com/a/b; :\\\\\"; :\"\\n' > Makefile; make",
        &["guard-loader-env"],
    ),
    (
        "#!/usr/bin/python3\nimport os, subprocess\nenv = dict(os.environ, LD_PRELOAD='./x.so')\nsubprocess.run(['sh', '-c', 'sh -c \"sh -c \\\\\\\"git fetch https://github.com/a/b; :\\\\\\\"; :\"; :'], env=env)",
        &["guard-loader-env"],
    ),
    ("#!/bin/bash\nexport NEW_LOADER=./x; git fetch https://github.com/a/b", &["guard-unlisted-env"]),
    (
        "#!/usr/bin/python3\nimport os, subprocess\nsubprocess.run(['git', 'fetch', 'https://github.com/a/b'], env=dict(os.environ, NEW_LOADER='./x'))",
        &["guard-unlisted-env"],
    ),
    (
        "#!/bin/bash\nmkdir bin; cp /usr/bin/true bin/git; PATH=$PWD/bin:$PATH /usr/bin/git fetch https://github.com/a/b",
        &["guard-loader-env"],
    ),
    (
        "#!/bin/bash\nmkdir bin; cp /usr/bin/true bin/git; PATH=bin:$PATH /usr/bin/git fetch https://github.com/a/b",
        &["guard-loader-env"],
    ),
    ("#!/bin/bash\ncat ~/.ssh/id_ed25519", &["secrets-unreadable"]),
    ("#!/bin/bash\ncp x .git/hooks/pre-commit", &["no-hook-changes"]),
    ("#!/bin/bash\nbase64 -d <<< bHM= | sh", &["no-decode-to-shell"]),
    ("#!/bin/bash\nmkfifo p; base64 -d <<< bHM= > p & sh < p; wait", &["no-decode-to-shell"]),
    ("#!/bin/bash\nsh < <(base64 -d <<< bHM=)", &["no-decode-to-shell"]),
    ("#!/bin/bash\nnpm install left-pad", &["ask-install-node"]),
    // The same words, which lead to another file by now.
    (
        "#!/usr/bin/python3\nimport os\nfor name in 'true', 'true', 'su':\n    os.symlink('/usr/bin/' + name, 'y')\n    os.rename('y', 'x')\n    os.system('./x --version')",
        &["no-sudo"],
    ),
    // The same variables for the same words, from a program that only calls itself git.
    (SAME_VARIABLES, &["guard-loader-env"]),
    // A fork of this script is not a child of the git that takes its place, later or at once.
    (
        "#!/bin/bash\nexec git cat-file --batch < <(sleep 0.2; GIT_DIR=x git fetch https://github.com/a/b)",
        &["guard-loader-env"],
    ),
    (STALE_FORK, &["guard-loader-env"]),
    // What is loaded into a git does not set variables in its name.
    (IN_GIT, &["guard-loader-env"]),
    // The interpreter of a pipe hides behind a name.
    (
        "#!/usr/bin/python3\nimport os\nos.symlink('/bin/sh', 'x')\nos.system('echo bHM= | base64 -d | ./x')",
        &["no-decode-to-shell"],
    ),
];

const SAME_VARIABLES: &str = r##"#!/usr/bin/python3
import os, subprocess
FALSE = """#!/usr/bin/python3
import os
entries = [entry for entry in open('seen').read().split(chr(0)) if entry]
os.execve('/usr/bin/git', ['git', 'fetch', 'https://github.com/a/b'], dict(entry.split('=', 1) for entry in entries))
"""
def run(program, seen):
    subprocess.run([program, '-c', 'alias.x=!env -0', 'x'], stdout=open(seen, 'w'))
run('git', 'seen')
open('git', 'w').write(FALSE)
os.chmod('git', 0o755)
run('./git', 'none')"##;

const IN_GIT: &str = r#"#!/bin/bash
cat > in.c <<'E'
#include <stdlib.h>
#include <unistd.h>
__attribute__((constructor)) static void go(void) {
    if (!getenv("LD_PRELOAD")) return;
    unsetenv("LD_PRELOAD");
    setenv("GIT_SSH_COMMAND", "./x", 1);
    execlp("git", "git", "fetch", "git@github.com:a/b", (char *)0);
}
E
cc -shared -fPIC -o in.so in.c
# The same words, and what their parent has changed for them: nothing.
cat > again <<'E'
#!/bin/bash
git status
test "$1" = end || LD_PRELOAD=$PWD/in.so exec ./again end
E
chmod +x again && ./again"#;

const STALE_FORK: &str = r#"#!/usr/bin/python3
import os
executed, writer = os.pipe()
kept, held = os.pipe()
if os.fork() == 0:
    os.close(writer)
    os.set_inheritable(held, True)
    os.read(executed, 1)
    os.execve('/usr/bin/git', ['git', 'fetch', 'https://github.com/a/b'], dict(os.environ, GIT_DIR='x'))
os.dup2(kept, 0)
os.close(held)
os.execvp('git', ['git', 'cat-file', '--batch'])"#;

#[test]
fn what_a_program_starts_is_decided() {
    for (text, policies) in TRIED {
        let world = world();
        world.program("tries", text);
        world.program("npm", "#!/bin/sh\necho not this one\n");
        // Where there is no npm, an exec of it would fail before it is judged.
        if text.contains("npm install") && !fs::exists("/usr/bin/npm").unwrap_or_default() {
            continue;
        }
        let (ended, result) = json(&world, "./tries");
        let mut seen = denied(&result);
        seen.sort_unstable();
        let expected: Vec<&str> = policies.to_vec();
        for policy in &expected {
            assert!(seen.contains(policy), "{text}\n{policy:?} is not among {seen:?}\n{ended:?}");
        }
        assert!(seen.iter().all(|policy| expected.contains(policy)), "{text}\n{seen:?}\n{ended:?}");
    }
}

/// What a program of the workspace hands to programs that have no more rights than itself is its own affair.
const FREE: &[(&str, &str)] = &[
    ("LD_LIBRARY_PATH=. LD_PRELOAD= ls tries", "tries\n"),
    ("PATH=$PWD/bin:$PATH; mkdir -p bin; printf '#!/bin/sh\\necho mine\\n' > bin/cc; chmod +x bin/cc; cc", "mine\n"),
    ("PYTHONPATH=lib /usr/bin/python3 -c 'import sys; print(\"lib\" in sys.path[1])'", "True\n"),
    ("export GIT_PAGER=cat GIT_AUTHOR_NAME=a; git log --oneline -0; git rev-parse --show-prefix", "\n"),
    ("BASH_ENV=/dev/null bash -c 'echo $BASH_ENV'", "/dev/null\n"),
    ("MAKEFLAGS=-s make -f /dev/null -v | head -c 8", "GNU Make"),
    ("LC_ALL=C.ISO-8859-1 sort < /dev/null; LANG=xx env echo done", "done\n"),
    (
        "export PATH=$PWD/venv/bin:$PATH; mkdir -p venv/bin; test -d r || git init -q r; git -C r status --short; echo $?",
        "0\n",
    ),
    // A relative entry, as in husky's hooks: no other git lies there.
    (
        "mkdir -p rel/bin; printf 'export PATH=rel/bin:$PATH\\ngit --version | head -c 11\\n' > hook; sh hook",
        "git version",
    ),
    // What no table knows runs without the right to connect.
    (
        "git --git-dir=.git --work-tree=. status --short >/dev/null; git -h >/dev/null; git x 2>/dev/null; echo $?",
        "1\n",
    ),
    (
        "export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z; git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x; git log -1 --format=%cI",
        "2020-01-01T00:00:00Z\n",
    ),
    // A push into the workspace takes what is there already.
    (
        "test -d r.git || git init -q --bare r.git; git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x; git push -q ./r.git HEAD:refs/heads/m && echo pushed",
        "pushed\n",
    ),
    ("echo own > new.pem; cat new.pem; cp new.pem .env; cat .env; rm new.pem .env", "own\nown\n"),
    ("cat /nonexistent 2>/dev/null; test -e /root/x; ls /nonexistent 2>/dev/null; echo on", "on\n"),
];

#[test]
fn what_gains_nothing_is_not_refused() {
    for (command, stdout) in FREE {
        let world = world();
        world.program("tries", &format!("#!/bin/bash\n{command}\n"));
        // By a program of the workspace, and in the text.
        for command in ["./tries", command] {
            let (ended, result) = json(&world, command);
            assert_eq!(denied(&result), [""; 0], "{command}: {ended:?}");
            if command == "./tries" || !command.contains("/nonexistent") {
                assert_eq!(result["stdout"], *stdout, "{command}: {ended:?}");
            }
        }
    }
}

/// A running program may try to change what lies outside, as own code may: the kernel refuses it.
#[test]
fn what_the_kernel_refuses_is_left_to_it() {
    let world = world();
    fs::create_dir(world.path("kept")).expect("a directory");
    world.write("kept/file", "kept\n");
    let kept = world.path("kept");
    let tries = format!(
        "#!/bin/bash\nrm -r {0}; touch {0}/new /usr/local/palisade-none; cd /usr/lib; echo 'int x;' | cc -E -xc - >/dev/null && echo read",
        kept.display()
    );
    world.program("tries", &tries);
    let (ended, result) = json(&world, "./tries");
    assert_eq!((denied(&result), result["stdout"].as_str()), (vec![], Some("read\n")), "{ended:?}");
    assert_eq!(fs::read_to_string(kept.join("file")).unwrap_or_default(), "kept\n");
    assert!(!kept.join("new").exists() && !fs::exists("/usr/local/palisade-none").unwrap_or_default());
    // The text is asked about.
    let (ended, _) = json(&world, &format!("rm -r {}", kept.display()));
    assert!(ended.stderr.contains("no-delete-outside-workspace"), "{ended:?}");
}

/// A refused variable is told with its value, who set it and what would have got it.
#[test]
fn a_refused_variable_is_told_with_who_set_it() {
    let world = world();
    world.program("tries", "#!/bin/sh\nexport LD_PRELOAD=./x.so\nmake -s\n");
    world.write("work/Makefile", "a:\n\t@env LD_AUDIT=./y.so git fetch https://github.com/a/b\n");
    let (ended, result) = json(&world, "./tries");
    let told = result["denied"][0]["reason"].as_str().unwrap_or_default();
    assert!(told.contains("LD_PRELOAD=./x.so") || told.contains("LD_AUDIT=./y.so"), "{ended:?}");
    assert!(told.contains("set by") && told.contains("for git"), "{ended:?}");
}

/// What the text says to the letter was judged by the name that it says; the file behind that is seen only when it is executed.
#[test]
fn the_text_s_own_words_are_decided_by_the_file_s_name_too() {
    for (link, command, policies) in [
        ("/usr/bin/su", "./x --version", &["no-sudo"][..]),
        ("/bin/sh", "base64 -d <<< bHM= | ./x", &["no-decode-to-shell"]),
        ("/usr/bin/true", "./x --version && /usr/bin/awk 'BEGIN {}' && echo 'exit 0' | sh", &[]),
    ] {
        let world = world();
        std::os::unix::fs::symlink(link, world.path("work/x")).expect("a link");
        let (ended, result) = json(&world, command);
        assert_eq!(denied(&result), policies, "{command}: {ended:?}");
    }
}

/// A copy of the shell runs on with the script's text after the shell itself has become a program, whose child it is not.
#[test]
fn what_an_exchanged_shell_left_behind_is_its_own() {
    let world = world();
    let policy = r#"
@id("any") @reason("Everything.") permit (principal, action == Action::"exec", resource);
@id("no-spawned-id") @reason("No program asks.")
forbid (principal, action == Action::"exec", resource in Program::"id") when { resource.spawned };"#;
    let policy = world.write("site.cedar", policy);
    let policy = policy.to_str().expect("UTF-8");
    for command in ["(sleep 0.2; id -u) & exec sleep 1", "(sleep 0.2; id -u) & exec env sleep 1"] {
        let ended = world.call(&["run", "--json", "--policies", policy, command]);
        let result: Value = serde_json::from_str(ended.stdout.lines().last().unwrap_or_default()).unwrap_or_default();
        assert_eq!(denied(&result), [""; 0], "{command}: {ended:?}");
        assert!(result["stdout"].as_str().is_some_and(|id| id.trim().parse::<u32>().is_ok()), "{command}: {ended:?}");
    }
}

/// At its terminal, which the program cannot reach, a person is asked while the program waits.
#[test]
fn a_running_program_is_asked_about_at_the_terminal() {
    let world = world();
    world.program("tries", "#!/bin/sh\necho yes >/dev/tty\ngit push origin main\necho \"status $?\"\n");
    let mut answered = Vec::new();
    for (name, answer, status) in
        [("ask-yes", "yes", "failed to push"), ("ask-y", "Y", "failed to push"), ("ask-no", "yep", "status 126")]
    {
        let script = format!(
            "cd {}; {} run ./tries; exec sleep 600",
            world.workspace().display(),
            env!("CARGO_BIN_EXE_palisade")
        );
        let Some(terminal) = Terminal::open(name, (200, 50), &world.palisade(), &script) else { return };
        terminal.shows(&["a process waits to become this program", "push origin main", "Type y to allow"]);
        terminal.types(answer);
        terminal.press(&["Enter"]);
        terminal.shows(&[status]);
        let answers =
            world.record().into_iter().filter(|line| line["kind"] == "approval" && line["from"] == "terminal");
        answered.push(answers.map(|line| line["granted"].clone()).collect::<Vec<_>>());
    }
    assert_eq!(answered, [true, true, false].map(|granted| vec![Value::Bool(granted)]));
}

#[test]
fn a_refusal_is_told_in_full() {
    let world = world();
    world.program("tries", "#!/bin/sh\ngit push origin main\necho \"status $?\"\n");
    let (_, result) = json(&world, "./tries");
    assert_eq!(result["stdout"], "status 126\n", "{result}");
    let told = &result["denied"][0];
    assert_eq!(told["argv"], serde_json::json!(["git", "push", "origin", "main"]), "{told}");
    assert!(told["program"].as_str().is_some_and(|program| program.ends_with("/git")), "{told}");
    let reason = "Publishing needs a person's yes. A person could allow it, and nobody can be asked here: ";
    assert!(told["reason"].as_str().is_some_and(|told| told.starts_with(reason)), "{told}");
    assert_eq!(told["suggestion"], "Commit, and let the person push.", "{told}");
    let record = world.record();
    let outcome = record.iter().find(|line| line["kind"] == "outcome").expect("an outcome");
    assert_eq!(outcome["denied"][0]["policy"], "ask-git-push", "{outcome}");
    // For people, too.
    let ended = world.run("./tries");
    assert!(ended.stderr.contains("denied at execve") && ended.stderr.contains("ask-git-push"), "{ended:?}");
    assert!(ended.stderr.contains("instead: Commit"), "{ended:?}");
    // A secret among the words is redacted there as well.
    world.program("tries", "#!/bin/sh\ngit push https://x:ghp_0123456789abcdefghijABCDEFGHIJ012345@example.invalid/\n");
    let ended = world.call(&["run", "--json", "./tries"]);
    assert!(!ended.stdout.contains("ghp_0123456789"), "{ended:?}");
}

#[test]
fn a_failure_on_what_the_sandbox_holds_is_explained() {
    let world = world();
    let home = world.path("home");
    world.program("tries", &format!("#!/bin/sh\nset -e\n: > {}/new\n", home.display()));
    let (ended, result) = json(&world, "./tries");
    let hints = result["hints"].as_array().map(Vec::as_slice).unwrap_or_default();
    let told = hints.first().and_then(Value::as_str).unwrap_or_default();
    assert!(told.contains("/home/new` is outside") && told.contains("work`, `$TMPDIR`"), "{ended:?}");
    let (_, result) = json(&world, "false");
    assert_eq!(result.get("hints"), None, "{result}");
}

/// What is computed while the script runs is decided with the words that come of it, as the agent's own command.
#[test]
fn computed_words_are_decided_when_they_are_known() {
    let world = world();
    world.write("work/words", "push origin main");
    for (command, stdout, policies) in [
        ("git $(cat words); echo behind", "behind\n", &["ask-git-push"][..]),
        ("cd \"$(git rev-parse --show-toplevel)\" && git rev-parse --show-prefix", "\n", &[]),
        ("cat <(echo through a pipe)", "through a pipe\n", &[]),
        ("diff <(echo a) <(echo a) && echo same", "same\n", &[]),
    ] {
        let (ended, result) = json(&world, command);
        assert_eq!(result["stdout"], stdout, "{command}: {ended:?}");
        assert_eq!(denied(&result), policies, "{command}: {ended:?}");
    }
}

/// What is everyday goes on without a refusal, and with its own exit status.
#[test]
fn everyday_programs_are_not_in_the_way_of_the_guard() {
    let world = world();
    world.write("work/Makefile", "all: a b\n\t@cat a b | sort | tail -1\na b:\n\t@echo $@ > $@\n");
    world.write("work/script.py", "import subprocess\nprint(subprocess.check_output(['sort'], input=b'b\\na\\n'))\n");
    world.write("work/configure", "#!/bin/sh\nset -e\nfor tool in sed awk grep; do command -v $tool >/dev/null || exit 1; done\nwork=$(mktemp -d)\nfor i in 1 2 3; do echo \"$i\" | sed s/1/one/ >> $work/out; done\ncat $work/out | tr '\\n' ' '; rm -rf $work\n");
    for (command, stdout) in [
        ("make -j2", "b\n"),
        ("/usr/bin/python3 script.py", "b'a\\nb\\n'\n"),
        ("sh configure", "one 2 3 "),
        (
            "git add Makefile && git -c user.name=t -c user.email=t@example.invalid commit -qm x && git log --format=%s",
            "x\n",
        ),
        ("seq 40 | xargs -n 1 -P 4 echo | wc -l", "40\n"),
        ("find . -maxdepth 1 -name Makefile -exec wc -l {} \\; | cut -d' ' -f1", "4\n"),
        ("perl -v >/dev/null && echo perl", "perl\n"),
        ("env FOO=bar sh -c 'echo $FOO'", "bar\n"),
        ("nice -n 1 timeout 9 sh -c 'exit 3'; echo $?", "3\n"),
        ("sleep 0.05 & wait $!; echo $?", "0\n"),
        ("git stash list; git grep -c all; git diff --stat", "Makefile:1\n"),
    ] {
        let (ended, result) = json(&world, command);
        assert!(denied(&result).is_empty(), "{command}: {ended:?}");
        assert_eq!(result["stdout"], stdout, "{command}: {ended:?}");
    }
}

/// The text of a script says what its programs read. What an earlier command of the session has run does not count for that.
#[test]
fn code_that_the_text_gives_does_not_depend_on_earlier_commands() {
    let world = world();
    let mut server = crate::serve::Server::start_with(&world, &[]);
    let session = call(&mut server, "session_open", &serde_json::json!({}))["session"].clone();
    let mut exec =
        |command: &str| call(&mut server, "exec", &serde_json::json!({ "command": command, "session": session }));
    exec("curl -s http://127.0.0.1:9/ | cat");
    let ran = exec("/usr/bin/python3 - <<'END'\nprint(6 * 7)\nEND\n");
    assert_eq!(ran["stdout"], "42\n", "{ran}");
    let piped = exec("curl -s http://127.0.0.1:9/ | /usr/bin/python3 -");
    assert!(piped.to_string().contains("no-download-to-shell"), "{piped}");
}
