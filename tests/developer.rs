//! Profile `developer` in a real repository: what a coding agent does all day runs, in a session that nothing but the
//! sandbox holds.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::json;

use crate::serve::Server;
use crate::support::people::call;
use crate::support::world::World;

/// A repository with a makefile, and an identity to commit with.
fn repository() -> World {
    let world = World::new();
    fs::create_dir_all(world.path("work/src/deep")).expect("a directory");
    world.write("work/Makefile", "all:\n\t@echo built in $(CURDIR)\n");
    world.write("work/src/a.txt", "x,1\ny,2\n");
    world.write("home/.gitconfig", "[user]\n\tname = t\n\temail = t@example.invalid\n");
    for arguments in
        [&["init", "--quiet", "--initial-branch=main"][..], &["add", "."], &["commit", "--quiet", "-m", "first"]]
    {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.invalid"]).args(arguments);
        assert!(git.current_dir(world.workspace()).status().is_ok_and(|status| status.success()), "{arguments:?}");
    }
    world
}

#[test]
fn make_runs_at_the_top_of_the_repository() {
    let world = repository();
    let top = world.workspace().display().to_string();
    let command = "cd \"$(git rev-parse --show-toplevel)\" && make";
    let deep = world.path("work/src/deep").display().to_string();
    for arguments in [&["run", command][..], &["run", "--cwd", &deep, command]] {
        let ended = world.call(arguments);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains(&format!("built in {top}")), "{ended:?}");
    }
}

/// One after the other, each judged and run: with what it must print.
#[test]
fn an_hour_of_work_runs() {
    let world = repository();
    for (command, printed) in [
        ("git clone ./ copy && cd copy && git log --oneline | head -3 | wc -l", "1"),
        (
            "git checkout -q -b topic && echo z,3 >> src/a.txt && git add src/a.txt && git commit -qm more && git log --oneline | wc -l",
            "2",
        ),
        ("sed -i.bak 's/^x/w/' src/a.txt && diff src/a.txt src/a.txt.bak | wc -l; rm src/a.txt.bak", "4"),
        ("grep -rn 'w,1' src", "src/a.txt:1:w,1"),
        ("find src -name '*.txt' -exec wc -l {} +", "3 src/a.txt"),
        ("awk -F, '{ s += $2 } END { print s }' src/a.txt", "6"),
        ("git stash -q", ""),
        ("git stash pop -q", ""),
        ("git diff --stat | tail -1", "1 file changed"),
        ("git commit -qam change", ""),
        ("git switch -q main", ""),
        ("echo n > note && git add note && git commit -qm note", ""),
        ("git switch -q topic", ""),
        ("git rebase -q main", ""),
        ("git log --oneline | wc -l", "4"),
        ("git archive --format=tar HEAD -o ../work/app.tar", ""),
        ("tar tf app.tar | sort | head -2 | tail -1", "note"),
        ("tar czf src.tgz src && tar tzf src.tgz | head -1", "src/"),
        ("sleep 0.1 & wait; echo waited", "waited"),
        ("printf 'int main(void) { return 0; }' > m.c && gcc m.c -o m && ./m && echo linked", "linked"),
        ("for f in src/*.txt; do echo \"- $f\"; done", "- src/a.txt"),
        (
            "mkdir -p .vscode deep/__pycache__ && touch deep/x.pyc && find . -name __pycache__ -type d -prune -exec rm -rf {} +",
            "",
        ),
        ("find . -name '*.pyc' -exec rm -f {} \\; && find deep | wc -l; rm -r deep", "1"),
        ("printf 'b\\na\\n' | sort | uniq -c | head -1 | tr -s ' '", "1 a"),
    ] {
        let ended = world.run(command);
        assert_eq!(ended.code, Some(0), "{command}\n{ended:?}");
        assert!(ended.stdout.contains(printed), "{command}\n{ended:?}");
    }
}

/// A person's skills for agents are read, which is enough for an interpreter, and no program changes them.
#[test]
fn skills_of_the_person_are_used_and_stay_as_they_are() {
    let world = repository();
    fs::create_dir_all(world.path("home/.claude/skills/count/bin")).expect("a directory");
    world.write("home/.claude/skills/count/SKILL.md", "Count lines.\n");
    world.write("home/.claude/skills/count/bin/count.sh", "#!/bin/sh\nwc -l < \"$1\"\n");
    world.write("home/.claude/.credentials.json", "{}\n");
    let script = world.path("home/.claude/skills/count/bin/count.sh");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a program");
    for (command, code, printed) in [
        ("cat ~/.claude/skills/count/SKILL.md", 0, "Count lines."),
        ("sh ~/.claude/skills/count/bin/count.sh src/a.txt", 0, "2"),
        (
            "/usr/bin/python3 -c 'import os; os.execv(os.path.expanduser(\"~/.claude/skills/count/bin/count.sh\"), [\"c\"])' || echo kept",
            0,
            "kept",
        ),
        (
            "/usr/bin/python3 -c 'import os; open(os.path.expanduser(\"~/.claude/skills/x\"), \"w\")' || echo kept",
            0,
            "kept",
        ),
        (
            "/usr/bin/python3 -c 'import os; open(os.path.expanduser(\"~/.claude/.credentials.json\"))' || echo kept",
            0,
            "kept",
        ),
    ] {
        let ended = world.run(command);
        assert_eq!(ended.code, Some(code), "{command}\n{ended:?}");
        assert!(ended.stdout.contains(printed), "{command}\n{ended:?}");
    }
    assert!(!world.path("home/.claude/skills/x").exists());
}

/// What Palisade does not read completely is the code of another shell: each program in it is decided when it is executed.
#[test]
fn a_script_that_not_every_parser_reads_runs_in_a_shell_of_its_own() {
    let world = repository();
    for (command, printed) in [
        ("select x in a b; do echo \"chosen $x\"; break; done <<< 2", "chosen b"),
        ("coproc J { echo it; }; read -r l <&\"${J[0]}\"; echo \"read $l\"", "read it"),
        ("exec {fd}>out; echo n >&$fd; exec {fd}>&-; cat out", "n"),
        ("g() { echo \"in g $1\"; }; export -f g; bash -c 'g x'", "in g x"),
        ("shopt -s extglob\necho s!(x)c", "src"),
        ("bash -O extglob -c 'echo s!(x)c'", "src"),
        ("cat <<'E'\nit's\nE\nselect x in a; do echo \"$x\"; break; done <<< 1", "it's\na"),
    ] {
        let ended = world.call(&["check", command]);
        assert_eq!(ended.code, Some(0), "{command}\n{ended:?}");
        let ended = world.run(command);
        assert!(ended.stdout.contains(printed), "{command}\n{ended:?}");
    }
    let ended = world.run("echo a\nselect x in a; do echo \"$x\"; break; done\necho \"open");
    assert!(ended.code == Some(126) && ended.stdout.is_empty(), "a syntax error refuses the whole: {ended:?}");
    let ended = world.run("echo a\nf() ls\necho b");
    assert!(ended.code == Some(2) && ended.stdout.is_empty(), "nothing runs of what bash cannot read: {ended:?}");
}

#[test]
fn what_such_a_script_starts_is_decided_and_elsewhere_it_is_refused() {
    let world = repository();
    let publishing = "select x in a; do git push https://example.com/a HEAD; break; done <<< 1";
    let ended = world.run(publishing);
    assert!(ended.stderr.contains("ask-git-push") && ended.stderr.contains("at execve"), "{ended:?}");
    let choosing = "select x in a; do echo \"$x\"; break; done <<< 1";
    for arguments in [
        &["check", "--unguarded", choosing][..],
        &["check", "--profile", "regulated", choosing],
        &["check", "--profile", "readonly", choosing],
        &["check", "--unguarded", "bash -c 'select x in a; do echo 1; done'"],
        // A command with a right of its own is not vouched for beside such code.
        &["check", "git push && bash -c 'select x in a; do echo 1; done'"],
    ] {
        let ended = world.call(arguments);
        assert!(ended.code == Some(2) && ended.stdout.contains("guard-unparsed"), "{arguments:?}\n{ended:?}");
    }
}

/// A version manager hands a here-document on to the interpreter. That no program has written it is known, whatever has run before.
#[test]
fn a_here_document_is_code_of_the_agents_own_behind_another_program_too() {
    let world = repository();
    world.program("src/python", "#!/bin/bash\nexec /usr/bin/python3 \"$@\"\n");
    world.program("src/later", "#!/bin/bash\nsleep 0.3\nexec /usr/bin/curl -s http://localhost:1/\n");
    world.program("src/ready", "#!/bin/bash\n: > ready\nexec /usr/bin/python3 -\n");
    // The reader is there first, and the writer is a program that the session knows.
    let late = "(until [ -e ready ]; do :; done; for ((i = 0; i < 100000; i++)); do :; done; \
                exec curl -s http://localhost:1/) | src/ready";
    let before = "curl -s http://localhost:1/; ";
    for (code, printed) in [
        ("src/python - <<'E'\nprint(6 * 7)\nE", Some("42\n")),
        ("src/python <<< 'print(6 * 7)'", Some("42\n")),
        ("for i in 1 2; do src/python - <<E\nprint($i)\nE\ndone", Some("1\n2\n")),
        ("curl -s http://localhost:1/ | src/python -", None),
        ("src/later | src/python -", None),
        (late, None),
        ("mkfifo p; curl -s http://localhost:1/ > p & src/python - < p; wait", None),
    ] {
        let ended = world.run(&format!("{before}{code}"));
        match printed {
            Some(printed) => assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), printed), "{code}\n{ended:?}"),
            None => assert!(ended.stderr.contains("no-download-to-shell"), "{code}\n{ended:?}"),
        }
    }
}

#[test]
fn a_session_is_told_that_nothing_of_such_a_script_is_kept() {
    let world = repository();
    let mut server = Server::start_with(&world, &[]);
    let session = call(&mut server, "session_open", &json!({}))["session"].clone();
    let script = "cd src && kept=no && select x in a; do echo \"$x\"; break; done <<< 1";
    let ran = call(&mut server, "exec", &json!({ "command": script, "session": session }));
    assert_eq!((&ran["stdout"], &ran["exit_code"]), (&json!("a\n"), &json!(0)), "{ran}");
    assert!(ran["hints"][0].as_str().is_some_and(|hint| hint.contains("`bash -c`")), "{ran}");
    let after = call(&mut server, "exec", &json!({ "command": "echo \"[$kept]\" *", "session": session }));
    assert_eq!(after["stdout"], "[] Makefile src\n", "{after}");
    assert_eq!(after.get("hints"), None, "{after}");
}

/// A directory that no policy opens is closed by the kernel, and the rest of the line runs. Where a policy forbids to read it, and where
/// nothing holds the session, the command is denied.
#[test]
fn a_list_of_a_closed_directory_is_left_to_the_kernel() {
    let world = repository();
    for (directory, file) in [("home/notes", "private.txt"), ("home/.ssh", "id_ed25519")] {
        fs::create_dir_all(world.path(directory)).expect("a directory");
        world.write(&format!("{directory}/{file}"), "x");
    }
    let notes = world.path("home/notes").display().to_string();
    for (command, program) in [
        (format!("find {notes} -name '*.txt' 2>/dev/null; echo went"), "find"),
        (format!("ls {notes} 2>/dev/null; echo went"), "ls"),
        ("find / -maxdepth 1 -name etc 2>/dev/null; echo went".to_owned(), "find"),
        // Behind code of the session's own, which may have made links.
        (format!("printf x | sh; find {notes} -name '*.txt' 2>/dev/null; echo went"), "find"),
    ] {
        let ended = world.run(&command);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "went\n"), "{command}: {ended:?}");
        assert!(ended.stderr.contains("is closed to this session, so"), "{command}: {ended:?}");
        assert!(ended.stderr.contains(&format!("`{program} /")), "{command}: {ended:?}");
        let dry = world.call(&["check", "--unguarded", &command]);
        assert_ne!(dry.code, Some(0), "{command}: {dry:?}");
    }
    let ended = world.run("df -P . / | tail -n +2 | wc -l");
    assert_eq!((ended.code, ended.stdout.trim()), (Some(0), "2"), "{ended:?}");
    let secrets = world.path("home/.ssh").display().to_string();
    for command in [format!("ls {secrets}"), format!("cat {notes}/private.txt"), format!("grep -r x {notes}")] {
        let ended = world.run(&command);
        assert_eq!(ended.code, Some(126), "{command}: {ended:?}");
    }
}
