//! What git may change in the repository that a person gives to an agent: its settings, as long as git runs nothing for them.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::people::call;
use crate::support::world::{Ended, World};

/// A world whose workspace is a repository with one commit.
fn world() -> World {
    let world = World::new();
    let script = "git init -q -b main && echo a > a && git add a && git -c user.name=P -c user.email=p@example.com commit -qm a \
                  && git remote add up https://example.com/up && git config core.sshCommand 'ssh -4'";
    let ended = Ended::of(Command::new("sh").args(["-c", script]).current_dir(world.workspace()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    world
}

fn setting(world: &World, name: &str) -> String {
    let ended =
        Ended::of(Command::new("git").args(["config", "--local", "--get", name]).current_dir(world.workspace()));
    ended.stdout.trim().to_owned()
}

#[test]
fn git_changes_harmless_settings_of_a_repository() {
    let world = world();
    let ended = world.run(
        "git config user.name Ada && git config user.email ada@example.com && \
         git remote add fork https://github.com/example/example.git && git checkout -q -b topic && \
         git branch -q --set-upstream-to=main && git config --get user.name && git remote -v | wc -l; \
         export PS1='(venv) ' && git branch -q side && git branch -q -u main side && git branch -q -d side",
    );
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "Ada\n4\n"), "{ended:?}");
    assert_eq!(setting(&world, "user.name"), "Ada");
    assert_eq!(setting(&world, "remote.fork.url"), "https://github.com/example/example.git");
    assert_eq!(setting(&world, "branch.topic.merge"), "refs/heads/main");
    assert!(!world.path("work/.git/config.lock").exists());
}

/// What git would run later, and whatever another program puts there, is kept out; the person's settings stay as they are.
#[test]
fn what_git_would_run_later_is_not_set() {
    let world = world();
    let before = fs::read_to_string(world.path("work/.git/config")).expect("a file");
    let other = "import os\nopen('.git/config.lock', 'w').write('[user]\\n\\tname = Eve\\n')\nos.rename('.git/config.lock', '.git/config')\n";
    world.write("work/other.py", other);
    for command in [
        "git config alias.x '!./x'",
        "git config core.fsmonitor ./x",
        "git config core.sshCommand ./x",
        "git config --unset core.sshCommand",
        "git config include.path ../x",
        "git remote add x ext::./x",
        "git remote add origin https://example.com/evil",
        "git config push.default current",
        "git config remote.up.pushurl https://example.com/evil",
        "git config remote.up.url https://example.com/evil",
        "git config remote.https://example.com/up.url https://example.com/evil",
        "git config remote.pushDefault ./evil",
        "git config core.repositoryformatversion 99",
        "git config extensions.worktreeConfig true",
        "git config include.path /dev/zero",
        "exec /usr/bin/python3 other.py",
        "exec /usr/bin/python3 -c \"open('.git/config', 'a').write('[alias]\\n\\tx = !./x\\n')\"",
    ] {
        world.program("try", &format!("#!/bin/sh\n{command}\n"));
        let ended = world.run("./try");
        assert_ne!(ended.code, Some(0), "{command}: {ended:?}");
        assert_eq!(fs::read_to_string(world.path("work/.git/config")).expect("a file"), before, "{command}");
        let _ = fs::remove_file(world.path("work/.git/config.lock"));
    }
}

/// What a sparse checkout sets for a worktree is put among the repository's own settings, where a person's git finds it as well.
#[test]
fn a_sparse_checkout_is_the_repositorys() {
    let world = world();
    let made = "mkdir one two && echo 1 > one/a && echo 2 > two/b && git add . && \
                git -c user.name=P -c user.email=p@example.com commit -qm b";
    let person = |command: &str| Ended::of(Command::new("sh").args(["-c", command]).current_dir(world.workspace()));
    let ended = person(made);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = world.run("git sparse-checkout set one && ls && git status --short && git sparse-checkout list");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "a\none\none\n"), "{ended:?}");
    let seen = person(
        "git status --short; git sparse-checkout list; git config --get core.sparseCheckout; git config --get core.sshCommand",
    );
    assert_eq!(seen.stdout, "one\ntrue\nssh -4\n", "{seen:?}");
    assert!(!world.path("work/.git/config.worktree").exists());
    let ended =
        world.run("git sparse-checkout add two && ls && git sparse-checkout disable && ls && git status --short");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "a\none\ntwo\na\none\ntwo\n"), "{ended:?}");
    // A new clone is as good.
    let ended = world.run(
        "git clone -q --sparse . copy && ls copy && git -C copy sparse-checkout set one && ls copy && rm -rf copy",
    );
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "a\na\none\n"), "{ended:?}");
    // Where a worktree has settings of its own, they stay.
    let ended = person("git config extensions.worktreeConfig true && git config --worktree core.sshCommand 'ssh -6'");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = world.run("git sparse-checkout set two && ls");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "a\ntwo\n"), "{ended:?}");
    let seen = person("git config --get core.sshCommand; git sparse-checkout list");
    assert_eq!(seen.stdout, "ssh -6\ntwo\n", "{seen:?}");
    let ended = world.run("git config --worktree core.fsmonitor ./x");
    assert_ne!(ended.code, Some(0), "{ended:?}");
    let _for_sessions_alone = world.run("git config --worktree core.hooksPath x");
    let seen = person("cat .git/config.worktree");
    assert!(!seen.stdout.contains("fsmonitor") && !seen.stdout.contains("hooksPath"), "{seen:?}");
}

/// `check` foretells what the guard does to settings, by the settings that are there.
#[test]
fn the_text_is_judged_as_the_guard_judges_the_settings() {
    let world = world();
    let before = fs::read_to_string(world.path("work/.git/config")).expect("a file");
    let verdict = |command: &str| Ended::of(world.palisade().args(["check", command]));
    for command in [
        "git remote set-url up https://example.com/other",
        "git remote add --mirror=push copy https://example.com/other",
        // A bare `git push` would go there.
        "git remote add origin https://example.com/evil",
        "git config remote.up.url https://example.com/evil",
        "git config set alias.x '!./x'",
        "git config core.editor ./x",
        "git config core.sshCommand ./x",
        "git remote add x ext::./x",
        "mkdir -p d && cd d && git config core.fsmonitor ./x",
    ] {
        let ended = verdict(command);
        assert!(ended.code == Some(2) && ended.stdout.contains("no-hook-changes"), "{command}: {ended:?}");
        let ended = world.run(command);
        assert_eq!(ended.code, Some(126), "{command}: {ended:?}");
        assert_eq!(fs::read_to_string(world.path("work/.git/config")).expect("a file"), before, "{command}");
    }
    for command in [
        "git remote add fork https://example.com/fork",
        "git remote add scratch /tmp/scratch.git",
        "git config alias.st 'status -sb'",
        "git config core.editor vim",
        "git init -q own && git -C own remote add a ./x && git -C own remote set-url a ./y && git -C own remote rm a",
    ] {
        let ended = verdict(command);
        assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
        let ended = world.run(command);
        assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
    }
}

/// What git has set in an earlier command is the agent's, until a person sets it. What a person has set stays.
#[test]
fn what_git_has_set_it_may_change_and_take_away() {
    let world = world();
    let own = |command: &str| Ended::of(Command::new("sh").args(["-c", command]).current_dir(world.workspace()));
    let ended =
        own("git branch theirs && git config branch.theirs.remote up && git config branch.theirs.merge refs/heads/x");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let allowed = |command: &str| {
        let ended = Ended::of(world.palisade().args(["check", command]));
        assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
        let ended = world.run(command);
        assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
    };
    for command in [
        "git remote add fork https://example.com/fork",
        "git remote set-url fork https://example.com/other",
        "git remote rename fork mine",
        "git remote remove mine",
        "git config alias.st status",
        "git config alias.st 'status -sb'",
        "git config --unset alias.st",
    ] {
        allowed(command);
    }
    assert_eq!(setting(&world, "remote.mine.url") + &setting(&world, "remote.fork.url"), "");
    let ended = own("git remote add fork https://example.com/other && git config alias.st 'status -sb'");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // What a person has set since stays, whatever sessions make of it for themselves.
    let before = fs::read_to_string(world.path("work/.git/config")).expect("a file");
    for command in [
        "git remote remove fork",
        "git config alias.st log",
        "git branch --unset-upstream theirs",
        "git config branch.theirs.merge refs/heads/y",
    ] {
        allowed(command);
        assert_eq!(fs::read_to_string(world.path("work/.git/config")).expect("a file"), before, "{command}");
    }
}

/// A person's git finds none of what would lead it astray, and the session's own git works with all of it, in each command.
#[test]
fn what_would_mislead_a_persons_git_is_for_sessions_alone() {
    let world = world();
    let before = fs::read_to_string(world.path("work/.git/config")).expect("a file");
    let allowed = |command: &str| {
        let ended = Ended::of(world.palisade().args(["check", command]));
        assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
        let ended = world.run(command);
        assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
        assert_eq!(fs::read_to_string(world.path("work/.git/config")).expect("a file"), before, "{command}");
        ended.stdout
    };
    allowed("git init -q --bare hub.git && git remote add hub ./hub.git");
    assert_eq!(allowed("git remote | sort | xargs"), "hub up\n");
    let ended = world.run("git remote add twin ./hub.git");
    assert!(ended.stderr.contains("for commands under Palisade alone"), "{ended:?}");
    allowed("git remote remove twin");
    allowed("git push -q -u hub main && git fetch -q hub");
    assert_eq!(allowed("git rev-parse --abbrev-ref main@{upstream}"), "hub/main\n");
    assert_eq!(allowed("git -C hub.git log --oneline main | wc -l"), "1\n");
    allowed("mkdir -p hooks && echo 'echo hooked >&2' > hooks/pre-commit && chmod +x hooks/pre-commit");
    allowed("sed -i '1i #!/bin/sh' hooks/pre-commit && git config core.hooksPath hooks");
    let ended = world.run("git -c user.name=A -c user.email=a@b.c commit -q --allow-empty -m b");
    assert!(ended.code == Some(0) && ended.stderr.contains("hooked"), "{ended:?}");
    for command in [
        "git branch --unset-upstream main",
        "git remote set-url up ./hub.git && git fetch -q up",
        "git remote rename hub centre && git remote remove centre",
        "git config --unset remote.up.fetch",
    ] {
        allowed(command);
    }
    // Outside there is nothing of it, and what a person sets counts from then on.
    let own = |arguments: &[&str]| Ended::of(Command::new("git").args(arguments).current_dir(world.workspace()));
    assert_eq!(own(&["remote", "-v"]).stdout.lines().count(), 2);
    assert_eq!(own(&["config", "core.hooksPath"]).stdout, "");
    let ended = own(&["-c", "user.name=P", "-c", "user.email=p@x.y", "commit", "-q", "--allow-empty", "-m", "c"]);
    assert!(ended.code == Some(0) && !ended.stderr.contains("hooked"), "{ended:?}");
    assert_eq!(own(&["config", "remote.up.url", "https://example.com/later"]).code, Some(0));
    assert_eq!(world.run("git config remote.up.url").stdout, "https://example.com/later\n");
    let ended = world.run("git config user.name Ada && git config core.hooksPath");
    assert!(ended.stdout == "hooks\n" && ended.stderr.is_empty(), "{ended:?}");
    assert_eq!(setting(&world, "user.name") + &setting(&world, "core.hooksPath"), "Ada");
}

/// Two sessions, and a person meanwhile: each sees at its next command what the others have set, and nobody takes away what is not theirs.
#[test]
fn sessions_see_what_others_have_set() {
    let world = world();
    let mut server = Server::start_with(&world, &[]);
    let open = |server: &mut Server| call(server, "session_open", &json!({}))["session"].clone();
    let (one, other) = (open(&mut server), open(&mut server));
    let exec = |server: &mut Server, session: &Value, command: &str| {
        let ran = call(server, "exec", &json!({ "command": command, "session": session }));
        assert_eq!(ran["exit_code"], 0, "{command}: {ran}");
        ran["stdout"].as_str().unwrap_or_default().to_owned()
    };
    exec(&mut server, &other, "git config user.name Ada");
    exec(&mut server, &one, "git init -q --bare hub.git && git remote add hub ./hub.git");
    assert_eq!(exec(&mut server, &other, "git remote | xargs"), "hub up\n");
    exec(&mut server, &other, "git config user.email ada@example.com && git config core.hooksPath hooks");
    assert_eq!(exec(&mut server, &one, "git config core.hooksPath && git remote | xargs"), "hooks\nhub up\n");
    exec(&mut server, &one, "git remote remove hub && git config --unset core.hooksPath && git config user.name Bea");
    assert_eq!(exec(&mut server, &one, "git config user.name && git remote"), "Bea\nup\n");
    // In place, as an editor may write.
    let file = world.path("work/.git/config");
    let text = fs::read_to_string(&file).expect("a file").replace("Bea", "Cleo");
    fs::write(&file, text).expect("a file");
    for session in [&one, &other] {
        assert_eq!(exec(&mut server, session, "git config user.name && git remote"), "Cleo\nup\n");
    }
    assert_eq!(setting(&world, "user.email"), "ada@example.com");
}

/// git's directory cannot be removed, since a part of it is kept. So it is not emptied half-way either.
#[test]
fn a_persons_repository_is_not_half_removed() {
    let world = world();
    world.write("work/Makefile", "clean:\n\trm -rf .git\n");
    for command in ["rm -rf .git && git init -q", "rm -r .git", "mv .git saved", "make -s clean"] {
        let ended = world.run(command);
        assert!(ended.code != Some(0) && ended.stderr.contains("no-hook-changes-below"), "{command}: {ended:?}");
        let log = Ended::of(Command::new("git").args(["log", "--oneline"]).current_dir(world.workspace()));
        assert!(log.code == Some(0) && log.stdout.lines().count() == 1, "{command}: {log:?}");
    }
    // What finds its files below a directory leaves the directory alone.
    for command in ["find . -name '*.pyc' -delete", "git stash -q -u && git stash pop -q && git clean -fdqn"] {
        let ended = world.run(command);
        assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
    }
    // What a session has made goes as a whole.
    let ended = world.run("git init -q own && git -C own commit --allow-empty -qm x; rm -rf own && ls");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "Makefile\na\n"), "{ended:?}");
    let ended = world.run("git clone -q . copy");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = world.run("rm -rf copy/.git && rm -rf copy && ls");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "Makefile\na\n"), "{ended:?}");
}

/// What a person has committed can be read from the repository, so no mask keeps git from it. All else of such a name stays masked.
#[test]
fn a_key_that_is_committed_is_no_secret() {
    let world = world();
    fs::create_dir(world.path("work/t")).expect("a directory");
    world.write("work/t/server.key", "-----BEGIN PRIVATE KEY-----\nfor tests\n-----END PRIVATE KEY-----\n");
    let add = "git add -A && git -c user.name=P -c user.email=p@example.com commit -qm 'Add a key'";
    let ended = Ended::of(Command::new("sh").args(["-c", add]).current_dir(world.workspace()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    world.write("work/t/other.key", "-----BEGIN PRIVATE KEY-----\nof a person\n-----END PRIVATE KEY-----\n");
    world.write("work/.gitignore", "other.key\n");
    for (command, printed) in [
        ("git status --short", "?? .gitignore\n"),
        ("wc -l < t/server.key", "3\n"),
        ("git add -A && git -c user.name=A -c user.email=a@b.c commit -qam b && git stash list | wc -l", "0\n"),
    ] {
        let verdict = Ended::of(world.palisade().args(["check", command]));
        assert_eq!(verdict.code, Some(0), "{command}: {verdict:?}");
        let ended = world.run(command);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), printed), "{command}: {ended:?}");
    }
    let ended = world.run("wc -l < t/other.key");
    assert_eq!(ended.code, Some(126), "{ended:?}");
    // Who is given the names one by one meets an error at that file alone.
    let ended = world.run("find t -name '*.key' | sort | xargs wc -l");
    assert!(
        ended.stdout.contains("3 t/server.key") && ended.stderr.contains("t/other.key: Permission denied"),
        "{ended:?}"
    );
    let ended = world.run("git config alias.a log; git config core.hooksPath h && git config core.hooksPath");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "h\n"), "{ended:?}");
}

/// In one session git sees at once what it has set, and what a person changes meanwhile.
#[test]
fn a_session_sees_what_it_has_set_for_itself() {
    let world = world();
    let ended = world.run(
        "git init -q --bare hub.git && git remote add hub ./hub.git && git push -q hub main && git remote | sort | xargs && \
         git remote remove up && git remote && git config user.name Ada && git config user.name && git config --get-regexp 'remote.*url'",
    );
    let expected = "hub up\nhub\nAda\nremote.hub.url ./hub.git\n";
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), expected), "{ended:?}");
    // A program of the session changes neither of the two files.
    world.write("work/other.py", "open('.git/config', 'a').write('[core]\\n\\tsshCommand = ./x\\n')\n");
    let ended = world.run("git remote add hub2 ./hub.git && /usr/bin/python3 other.py");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let seen = world.run("cat .git/config").stdout;
    assert!(seen.contains("hub2") && !seen.contains("./x"), "{seen}");
}

/// A client keeps working trees among its own files. One of them is a workspace like any other, with settings of the client's in it.
#[test]
fn a_working_tree_of_a_client_is_a_workspace() {
    let world = world();
    let tree = world.path("work/.claude/worktrees/topic");
    let add = ["worktree", "add", "-q", ".claude/worktrees/topic"];
    let ended = Ended::of(Command::new("git").args(add).current_dir(world.workspace()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let run = |command: &str| Ended::of(world.palisade().args(["run", command]).current_dir(&tree));
    let ended = run(
        "echo b > b && mkdir d && touch d/e && git add -A && git -c user.name=A -c user.email=a@b.c commit -qm b && \
                     /usr/bin/python3 -c \"open('c', 'w')\" && rm c && git log --oneline | wc -l",
    );
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "2\n"), "{ended:?}");
    for command in [
        "mkdir .claude",
        "echo '{}' > .mcp.json",
        "/usr/bin/python3 -c \"import os; os.mkdir('.claude')\"",
        "/usr/bin/python3 -c \"open('.mcp.json', 'w')\"",
        "/usr/bin/python3 -c \"open('../../settings.json', 'w')\"",
        "echo x > ../x",
    ] {
        let ended = run(command);
        assert_ne!(ended.code, Some(0), "{command}: {ended:?}");
    }
    let ended = world.run("echo x > .claude/worktrees/topic/b");
    assert_eq!(ended.code, Some(126), "{ended:?}");
    assert_eq!(fs::read_to_string(tree.join("b")).expect("a file"), "b\n");
}

/// A name that runs later is not made by a detour: over something that is there already, with the directory around it, by an exchange of
/// two names, or in the directories of submodules and worktrees.
#[test]
fn names_that_run_later_are_not_planted_by_a_detour() {
    let world = world();
    fs::create_dir_all(world.path("work/.git/modules/lib")).expect("a directory");
    fs::create_dir_all(world.path("work/.git/worktrees/wt")).expect("a directory");
    let plant = "import ctypes, os, socket, sys\n\
                 def new(name): open(name, 'w').write('evil'); return name\n\
                 def over_socket(name):\n    socket.socket(socket.AF_UNIX).bind(name); os.rename(new('x'), name)\n\
                 def over_directory(name, inside):\n    os.makedirs(name); os.mkdir('d'); new('d/' + inside); os.rename('d', name)\n\
                 def exchanged(name):\n    os.mkdir('e'); os.mkdir(name); new('e/settings.json')\n    \
                 assert ctypes.CDLL(None).renameat2(-100, b'e', -100, name.encode(), 2) == 0\n\
                 def moved(to):\n    os.makedirs('.git/z/hooks'); new('.git/z/hooks/post-checkout'); os.rename('.git/z', to)\n\
                 def through_link(to):\n    os.symlink('/proc/self/cwd', 'link'); os.makedirs('.git/y/hooks')\n    \
                 new('.git/y/hooks/post-checkout'); os.rename('link/.git/y', to)\n\
                 eval(sys.argv[1])\n";
    world.write("work/plant.py", plant);
    for (attempt, planted) in [
        ("over_socket('.envrc')", ".envrc"),
        ("over_socket('.git/commondir')", ".git/commondir"),
        ("over_directory('.vscode', 'tasks.json')", ".vscode/tasks.json"),
        ("exchanged('.claude')", ".claude/settings.json"),
        ("moved('.git/modules/new')", ".git/modules/new/hooks/post-checkout"),
        ("through_link('.git/modules/other')", ".git/modules/other/hooks/post-checkout"),
        ("new('.git/modules/lib/commondir')", ".git/modules/lib/commondir"),
    ] {
        let ended = world.run(&format!("/usr/bin/python3 plant.py \"{attempt}\""));
        assert_eq!(ended.code, Some(1), "{attempt}: {ended:?}");
        assert!(!fs::metadata(world.path("work").join(planted)).is_ok_and(|about| about.is_file()), "{attempt}");
    }

    // The top of what was granted for writing is a person's workspace as well.
    let other = tempfile::tempdir_in("/var/tmp").expect("a directory");
    for name in [".envrc", ".mcp.json", ".git/commondir"] {
        fs::create_dir_all(other.path().join(".git")).expect("a directory");
        let (directory, file) = (other.path().display().to_string(), other.path().join(name));
        let code = format!("open({:?}, 'w')", file.display().to_string());
        world.write("work/write.py", &code);
        let ended = world.call(&["run", "--write", &directory, "/usr/bin/python3 write.py"]);
        assert_eq!(ended.code, Some(1), "{name}: {ended:?}");
        assert!(!file.exists(), "{name}");
    }
}

/// Who may not write a hook is told where one can go, by the text's judgement as by the guard's.
#[test]
fn a_refused_hook_is_told_of_the_directory_for_hooks() {
    let world = world();
    world.write("work/Makefile", "hook:\n\techo 'exit 0' > .git/hooks/pre-commit\n");
    for command in ["echo 'exit 0' > .git/hooks/pre-commit", "make -s hook"] {
        let ended = world.run(command);
        assert_ne!(ended.code, Some(0), "{command}: {ended:?}");
        assert!(ended.stderr.contains("`git config core.hooksPath DIRECTORY`"), "{command}: {ended:?}");
    }
    assert!(!world.path("work/.git/hooks/pre-commit").exists());
}

/// Hooks lie where the person's git looks for them, whatever that directory is called. No session changes them there, and where the
/// person's git does not look they are files of the project.
#[test]
fn hooks_that_the_person_has_set_up_stay_as_they_are() {
    for (named, kept) in [(".githooks", ".githooks"), (".husky/_", ".husky")] {
        let world = world();
        let script = format!(
            "mkdir -p {named} && echo 'echo ran >> ../ran' > {named}/pre-commit && chmod +x {named}/pre-commit && \
             git config core.hooksPath {named}"
        );
        let ended = Ended::of(Command::new("sh").args(["-c", &script]).current_dir(world.workspace()));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        world.write("work/plant.py", "import sys\nopen(sys.argv[1], 'w').write('touch ../planted')\n");
        for name in [format!("{named}/pre-commit"), format!("{kept}/new")] {
            let ended = world.run(&format!("echo 'touch ../planted' > {name}"));
            assert_eq!(ended.code, Some(126), "{name}: {ended:?}");
            let ended = world.run(&format!("/usr/bin/python3 plant.py {name} 2>/dev/null || echo kept"));
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "kept\n"), "{name}: {ended:?}");
        }
        let script = "git -c user.name=P -c user.email=p@example.com commit -q --allow-empty -m more";
        let ended = Ended::of(Command::new("sh").args(["-c", script]).current_dir(world.workspace()));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(world.path("ran").exists() && !world.path("planted").exists());
    }
    let world = world();
    let ended =
        world.run("mkdir -p .husky/_ && echo x > .husky/pre-commit && git config core.hooksPath .husky/_ && echo set");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "set\n"), "{ended:?}");
    assert_eq!(setting(&world, "core.hooksPath"), "");
}
