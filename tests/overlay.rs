//! An agent that works on a view: the workspace stays as it is until somebody applies what was done there, and every decision is about
//! what the view shows.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use serde_json::{Value, json};

use crate::checkpoints::{ask, open, policies};
use crate::serve::Server;
use crate::support::services;
use crate::support::world::{Ended, World};

/// A workspace whose agents work on a view. None: this machine offers none.
fn viewed() -> Option<World> {
    let world = World::new();
    world.write("palisade.toml", "[workspace]\nmode = \"overlay\"\n");
    let tried = view(&world, &["run", "true"]);
    if tried.code != Some(0) && tried.stderr.contains("the kernel refuses it") {
        return services::skip("overlay", "no overlay can be mounted in a namespace");
    }
    Some(world)
}

/// A verb with the settings and a profile that lets a restore be.
fn view(world: &World, arguments: &[&str]) -> Ended {
    let policies = policies(world, "");
    with(world, arguments, policies.to_str().expect("text"))
}

fn with(world: &World, arguments: &[&str], policies: &str) -> Ended {
    let settings = world.path("palisade.toml");
    let context = ["--config", settings.to_str().expect("text"), "--policies", policies];
    // The command stands last, where one does.
    let (verb, rest) = arguments.split_at(if ["workspace", "checkpoint"].contains(&arguments[0]) { 2 } else { 1 });
    world.call(&[verb, &context, rest].concat())
}

fn read(world: &World, name: &str) -> Option<String> {
    fs::read_to_string(world.path("work").join(name)).ok()
}

fn serve(world: &World) -> Server {
    let (settings, policies) = (world.path("palisade.toml"), policies(world, ""));
    let [settings, policies] = [&settings, &policies].map(|path| path.to_str().expect("text").to_owned());
    Server::start_with(world, &["--config", &settings, "--policies", &policies])
}

fn exec(server: &mut Server, arguments: Value) -> Value {
    ask(server, "exec", &arguments)["structuredContent"].clone()
}

fn names(listed: &Value) -> Vec<(String, String)> {
    let text = |entry: &Value, key: &str| entry[key].as_str().expect("text").to_owned();
    listed.as_array().expect("a list").iter().map(|entry| (text(entry, "path"), text(entry, "change"))).collect()
}

#[test]
fn the_workspace_stays_as_it_is_until_a_view_is_applied() {
    let Some(world) = viewed() else { return };
    for (name, text) in [("changed", "one\ntwo\n"), ("deleted", "x"), ("mode", "m"), ("kind", "k"), ("kept", "k")] {
        world.write(&format!("work/{name}"), text);
    }
    fs::create_dir_all(world.path("work/tree/deep")).expect("a directory");
    world.write("work/tree/deep/file", "below");
    // What a script's words would be denied for, a program of the agent's does by itself.
    world.program("link", "#!/usr/bin/perl\nunlink 'link'; symlink '/etc/passwd', 'link';\n");
    let inode = fs::metadata(world.path("work/kept")).expect("a file").ino();
    let secret = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    for script in [
        "echo one > changed; rm deleted; chmod 700 mode; rm kind; mkdir kind; rm -r tree; mkdir tree",
        "echo in > kind/in; ./link",
        &format!("echo {secret} > token"),
    ] {
        let ran = view(&world, &["run", script]);
        assert_eq!(ran.code, Some(0), "{script}: {ran:?}");
    }
    let untouched = || {
        let state = ["changed", "deleted", "mode", "kind", "tree/deep/file"].map(|name| read(&world, name).is_some());
        state == [true; 5] && read(&world, "changed").as_deref() == Some("one\ntwo\n")
    };
    assert!(untouched() && read(&world, "token").is_none());
    // Another process of the same principal goes on where it was left.
    assert_eq!(view(&world, &["run", "cat changed kind/in"]).stdout, "one\nin\n");
    let listed = view(&world, &["workspace", "list", "--json"]).json();
    assert_eq!((&listed[0]["agent"], &listed[0]["in_use"]), (&json!("agent"), &json!(false)), "{listed}");
    let differs = view(&world, &["workspace", "diff", "--json"]);
    assert!(!differs.stdout.contains(secret), "{differs:?}");
    let expected = [
        ("changed", "modified"),
        ("deleted", "deleted"),
        ("kind", "type"),
        ("kind/in", "added"),
        ("link", "type"),
        ("mode", "mode"),
        ("token", "added"),
        ("tree/deep", "deleted"),
        ("tree/deep/file", "deleted"),
    ];
    let found = names(&differs.json());
    assert_eq!(found, expected.map(|(path, change)| (path.to_owned(), change.to_owned())), "{differs:?}");
    let shown = view(&world, &["workspace", "diff"]);
    assert!(shown.stdout.contains("M changed\n    @@ -1,2 +1 @@\n     one\n    -two\n"), "{shown:?}");
    assert!(shown.stdout.contains("[redacted:github-token"), "{shown:?}");
    let planned = view(&world, &["workspace", "apply", "--dry-run", "--json"]).json();
    assert_eq!((&planned["dry_run"], &planned["conflicts"]["count"]), (&json!(true), &json!(0)), "{planned}");
    assert!(untouched(), "nothing is done in a dry run");
    let applied = view(&world, &["workspace", "apply", "--json"]);
    assert_eq!((applied.code, &applied.json()["emptied"]), (Some(0), &json!(true)), "{applied:?}");
    assert_eq!(read(&world, "changed").as_deref(), Some("one\n"));
    assert_eq!((read(&world, "deleted"), read(&world, "kind/in").as_deref()), (None, Some("in\n")));
    assert_eq!(fs::metadata(world.path("work/mode")).expect("a file").permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_link(world.path("work/link")).expect("a link").to_str(), Some("/etc/passwd"));
    assert_eq!(fs::read_dir(world.path("work/tree")).expect("a directory").count(), 0);
    assert_eq!(
        fs::metadata(world.path("work/kept")).expect("a file").ino(),
        inode,
        "what was not changed is not written"
    );
    let restores: Vec<_> = world.record().into_iter().filter(|line| line["kind"] == "restore").collect();
    assert_eq!(restores[0]["delete"], json!(["deleted", "tree/deep", "tree/deep/file"]), "{restores:?}");
    assert!(restores[0]["write"].as_array().is_some_and(|paths| paths.contains(&json!("changed"))), "{restores:?}");
    // The checkpoint from before is one of the workspace's own.
    let undo = applied.json()["undo"].as_str().expect("a checkpoint").to_owned();
    let back = view(&world, &["checkpoint", "restore", &undo]);
    assert_eq!((back.code, read(&world, "changed").as_deref()), (Some(0), Some("one\ntwo\n")), "{back:?}");
    assert_eq!(read(&world, "tree/deep/file").as_deref(), Some("below"));
    assert_eq!(view(&world, &["workspace", "diff"]).stdout, "no changes\n");
}

#[test]
fn what_others_changed_since_is_a_conflict() {
    let Some(world) = viewed() else { return };
    for name in ["mine", "both", "gone"] {
        world.write(&format!("work/{name}"), "then");
    }
    let ran = view(&world, &["run", "echo agent > mine; echo agent > both; echo agent > new; rm gone"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    world.write("work/both", "theirs");
    world.write("work/new", "theirs");
    world.write("work/gone", "theirs");
    let applied = view(&world, &["workspace", "apply", "--json"]);
    let told = applied.json();
    assert_eq!((applied.code, &told["emptied"]), (Some(1), &json!(false)), "{applied:?}");
    assert_eq!(told["conflicts"]["paths"], json!(["both", "new"]), "{told}");
    assert_eq!(told["left"]["paths"], json!(["gone"]), "{told}");
    assert_eq!(
        ["mine", "both", "new", "gone"].map(|name| read(&world, name).unwrap_or_default()),
        ["agent\n", "theirs", "theirs", "theirs"]
    );
    let forced = view(&world, &["workspace", "apply", "--force", "--json"]);
    assert_eq!(forced.json()["write"]["paths"], json!(["both", "new"]), "{forced:?}");
    assert_eq!(
        ["both", "new", "gone"].map(|name| read(&world, name).unwrap_or_default()),
        ["agent\n", "agent\n", "theirs"]
    );
    // What somebody else made is not deleted, forced or not, and the view says so until it is given up.
    assert_eq!(forced.code, Some(1), "{forced:?}");
    assert_eq!(view(&world, &["workspace", "discard"]).code, Some(0));
    let gone = world.record().into_iter().find(|line| line["kind"] == "discard").expect("an entry");
    assert_eq!((&gone["write"], &gone["delete"]), (&json!(["both", "mine", "new"]), &json!(["gone"])), "{gone}");
    assert!(gone["by"].is_string() && gone["view"].as_str().is_some_and(|view| view.starts_with("view-")), "{gone}");
    assert_eq!(view(&world, &["workspace", "diff"]).stdout, "no changes\n");
    assert_eq!(view(&world, &["run", "cat both gone"]).stdout, "agent\ntheirs");
}

#[test]
fn a_commit_that_was_made_in_a_view_is_applied_with_it() {
    let Some(world) = viewed() else { return };
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"];
        Ended::of(Command::new("git").args(identity).args(arguments).current_dir(world.workspace()))
    };
    world.write("work/file", "one");
    assert_eq!(
        [git(&["init", "-q"]), git(&["add", "."]), git(&["commit", "-qm", "first"])].map(|done| done.code),
        [Some(0); 3]
    );
    let commit = "git -c user.name=a -c user.email=a@example.invalid commit -qm second";
    let ran = view(&world, &["run", &format!("echo two > file && git add file && {commit}")]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(git(&["log", "--format=%s"]).stdout, "first\n");
    let applied = view(&world, &["workspace", "apply"]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert_eq!(git(&["log", "--format=%s"]).stdout, "second\nfirst\n");
    assert_eq!((git(&["status", "--short"]).stdout.as_str(), git(&["fsck"]).code), ("", Some(0)));
}

#[test]
fn applying_a_view_is_no_way_round_a_rule() {
    let Some(world) = viewed() else { return };
    world.write("work/frozen", "then");
    assert_eq!(view(&world, &["run", "echo now > frozen; echo now > free"]).code, Some(0));
    let rule = "@id(\"hands-off\")\n@reason(\"Not to be changed.\")\nforbid (principal, action == Action::\"write\", resource)\n\
                when { resource in Path::\"WORK/frozen\" };\n";
    let strict = policies(&world, &rule.replace("WORK", world.workspace().to_str().expect("text")));
    let refused = with(&world, &["workspace", "apply", "--force"], strict.to_str().expect("text"));
    assert_eq!((refused.code, refused.stderr.contains("hands-off")), (Some(126), true), "{refused:?}");
    assert_eq!((read(&world, "frozen").as_deref(), read(&world, "free")), (Some("then"), None));
    // The shipped profile wants a person's yes, and there is none.
    let settings = world.path("palisade.toml");
    let asked = world.call(&["workspace", "apply", "--config", settings.to_str().expect("text")]);
    assert_eq!((asked.code, read(&world, "free")), (Some(126), None), "{asked:?}");
}

/// The server reads what a decision rests on in the view: where a link leads, what a directory holds, what a script is.
#[test]
fn decisions_are_about_the_view() {
    let Some(world) = viewed() else { return };
    let secret = world.path("home/.ssh/id_ed25519");
    fs::create_dir_all(world.path("work/d")).expect("a directory");
    world.write("work/d/file", "harmless");
    world.write("work/notes", "harmless");
    symlink("notes", world.path("work/real")).expect("a link");
    let lead = format!(
        "#!/usr/bin/perl\nunlink 'notes', 'real'; symlink '{0}', 'notes'; symlink '{0}', 'd/key'; open F, '>', 'real'; print F \"plain\\n\";\n",
        secret.display()
    );
    world.program("lead", &lead);
    let mut server = serve(&world);
    let session = open(&mut server);
    let made = exec(&mut server, json!({ "session": session, "command": "./lead" }));
    assert_eq!(made["exit_code"], 0, "{made}");
    let denied = |server: &mut Server, command: &str| {
        let told = ask(server, "exec", &json!({ "session": session, "command": command }));
        assert_eq!(
            (&told["isError"], &told["structuredContent"]["status"]),
            (&json!(true), &json!("denied")),
            "{command}: {told}"
        );
        assert!(!told.to_string().contains("the private key"), "{command}: {told}");
    };
    // A name that is a plain file in the workspace, and in the view leads to a secret.
    denied(&mut server, "cat notes");
    denied(&mut server, "cat d/k*");
    // And the other way round.
    let plain = exec(&mut server, json!({ "session": session, "command": "cat real" }));
    assert_eq!(plain["stdout"], "plain\n", "{plain}");
    // What the workspace itself is made meanwhile does not show where the view has something else.
    fs::remove_file(world.path("work/real")).expect("a link");
    symlink(&secret, world.path("work/real")).expect("a link");
    let plain = exec(&mut server, json!({ "session": session, "command": "cat real" }));
    assert_eq!(plain["stdout"], "plain\n", "{plain}");
    // A directory that the agent made, and one that it took away: where `cd` leads, and with it every name.
    for (command, shown) in
        [("mkdir made", ""), ("rm -r d", ""), ("cd made", ""), ("cd ..; ls", "lead\nmade\nnotes\nreal\n")]
    {
        let done = exec(&mut server, json!({ "session": session, "command": command }));
        assert_eq!(
            (&done["exit_code"], done["stdout"].as_str().unwrap_or_default()),
            (&json!(0), shown),
            "{command}: {done}"
        );
    }
    // It is there in the workspace, and gone in the view: where `..` would lead from it is not known.
    // The kernel decides, in the view.
    let tried = exec(&mut server, json!({ "session": session, "command": "cat d/../notes" }));
    assert_eq!((&tried["status"], &tried["exit_code"]), (&json!("done"), &json!(1)), "{tried}");
    // Neither what lies behind the view nor the place of views is in reach.
    let views = world.path("state/palisade/views");
    let inner = fs::read_dir(&views).expect("views").next().expect("a view").expect("an entry").path();
    for path in [inner.join("upper/real"), inner.join("base"), views] {
        denied(&mut server, &format!("cat {}", path.display()));
    }
    drop(server);
    let started = world.record().into_iter().find(|line| line["kind"] == "start").expect("a start");
    assert!(started["view"].as_str().is_some_and(|view| view.starts_with("view-")), "{started}");
}

/// Shells that are started apart, terminals and later sessions all find the one view; checkpoints are of the view.
#[test]
fn all_sessions_of_a_principal_share_the_view() {
    let Some(world) = viewed() else { return };
    world.write("work/file", "then");
    let mut server = serve(&world);
    let (one, other) = (open(&mut server), open(&mut server));
    let taken = ask(&mut server, "checkpoint", &json!({ "session": one }))["structuredContent"].clone();
    let ran = |server: &mut Server, arguments: Value| {
        let done = exec(server, arguments);
        (done["exit_code"].clone(), done["stdout"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(ran(&mut server, json!({ "session": one, "command": "echo now > file" })).0, 0);
    assert_eq!(ran(&mut server, json!({ "session": other, "command": "cat file" })).1, "now\n");
    assert_eq!(ran(&mut server, json!({ "command": "cat file" })).1, "now\n");
    assert_eq!(ran(&mut server, json!({ "command": "cat file", "tty": true })).1.trim(), "now");
    let back = ask(&mut server, "restore", &json!({ "session": one, "checkpoint": taken["checkpoint"] }));
    assert_eq!(back["structuredContent"]["write"]["paths"], json!(["file"]), "{back}");
    assert_eq!(ran(&mut server, json!({ "session": other, "command": "cat file" })).1, "then");
    assert_eq!(ran(&mut server, json!({ "session": other, "command": "echo new > new" })).0, 0);
    // While somebody lives in it nobody else does, and nothing of it is applied or given up.
    for arguments in [&["run", "true"][..], &["workspace", "apply"], &["workspace", "discard"]] {
        let refused = view(&world, arguments);
        assert_ne!(refused.code, Some(0), "{arguments:?}");
        assert!(refused.stderr.contains("in use by process"), "{arguments:?}: {refused:?}");
    }
    let shown = view(&world, &["workspace", "diff"]);
    assert!(shown.stderr.contains("in use") && shown.stdout.contains("A new"), "{shown:?}");
    assert_eq!(view(&world, &["check", "cat new"]).code, Some(0));
    let elsewhere = view(&world, &["run", "--agent", "other", "cat file; ls new"]);
    assert!(
        elsewhere.stdout.starts_with("then") && elsewhere.code != Some(0),
        "another principal has another: {elsewhere:?}"
    );
    drop(server);
    assert_eq!((read(&world, "file").as_deref(), read(&world, "new")), (Some("then"), None));
    let listed = view(&world, &["checkpoint", "list"]);
    assert_eq!((listed.code, listed.stdout.as_str()), (Some(0), ""), "what was taken in the view is of the view");
}

/// Whoever may change what the workspace lies in finds the view there, too.
#[test]
fn a_directory_above_leads_to_the_view() {
    let Some(world) = viewed() else { return };
    fs::create_dir_all(world.path("above/inner")).expect("a directory");
    world.write("above/inner/file", "then");
    let (above, inner) = (world.path("above"), world.path("above/inner"));
    let [above, inner] = [&above, &inner].map(|path| path.to_str().expect("text"));
    let script = format!("echo now > file; echo now > ../beside; cat {above}/inner/file; mv {inner} {above}/moved");
    let ran = view(&world, &["run", "--workspace", inner, "--write", above, &script]);
    assert!(ran.stdout == "now\n" && ran.code != Some(0), "{ran:?}");
    assert_eq!(fs::read_to_string(world.path("above/inner/file")).ok().as_deref(), Some("then"));
    assert_eq!(fs::read_to_string(world.path("above/beside")).ok().as_deref(), Some("now\n"), "no view covers it");
}

/// What an agent can do to its own files does not hide them from whoever looks, nor lead what is applied astray.
#[test]
fn an_agent_hides_nothing_in_its_view() {
    let Some(world) = viewed() else { return };
    fs::create_dir_all(world.path("outside")).expect("a directory");
    fs::create_dir_all(world.path("work/sub")).expect("a directory");
    world.write("work/sub/file", "then");
    let mark = "import os; os.setxattr('marked', 'user.overlay.whiteout', b'y')";
    world.write("work/mark.py", mark);
    let outside = world.path("outside");
    let lead = format!("#!/usr/bin/perl\nunlink 'sub/file'; rmdir 'sub'; symlink '{}', 'sub';\n", outside.display());
    world.program("lead", &lead);
    let script = "echo x > marked; mkfifo pipe; echo h > '\u{202e}name'; printf 'a\\033[2Jb\\n' > escape; ./lead";
    let ran = view(&world, &["run", script]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // The kernel keeps its marks from whoever writes through the view, or gives them another name.
    let _refused_or_escaped = view(&world, &["run", "python3 mark.py"]);
    let shown = view(&world, &["workspace", "diff"]);
    for part in ["A marked", "? pipe (special)", "A \u{fffd}name", "a\u{fffd}[2Jb", "T sub (link)", "D sub/file"] {
        assert!(shown.stdout.contains(part), "{part}: {shown:?}");
    }
    // Somebody puts a way out where the view has a directory.
    let nested = view(&world, &["run", "mkdir way; echo in > way/in"]);
    assert_eq!(nested.code, Some(0), "{nested:?}");
    symlink(&outside, world.path("work/way")).expect("a link");
    let applied = view(&world, &["workspace", "apply", "--json"]);
    assert_eq!(applied.json()["left_out"], json!(["pipe: special"]), "{applied:?}");
    assert_eq!(fs::read_dir(&outside).expect("a directory").count(), 0, "{applied:?}");
    assert_eq!(fs::read_link(world.path("work/sub")).ok(), Some(outside.clone()), "{applied:?}");
    let forced = view(&world, &["workspace", "apply", "--force", "--json"]);
    assert_eq!(fs::read_dir(&outside).expect("a directory").count(), 0, "{forced:?}");
    assert_eq!(read(&world, "way/in").as_deref(), Some("in\n"), "{forced:?}");
    assert_eq!(view(&world, &["workspace", "diff"]).stdout.lines().count(), 2, "the pipe alone is left");
}

#[test]
fn what_does_not_go_with_a_view_is_refused() {
    let world = World::new();
    let cases: [(&str, &[&str], &str); 4] = [
        ("mode = \"overlay\"\n[targets.x]\ndocker = { container = \"x\" }\n", &["run", "true"], "have targets"),
        ("mode = \"overlay\"\nviews = \"work/views\"\n", &["run", "true"], "one in the other"),
        ("mode = \"copy\"\n", &["run", "true"], "palisade.toml:2"),
        ("mode = \"overlay\"\n", &["serve", "--http", "unix:SOCKET"], "is for one principal"),
    ];
    for (settings, arguments, told) in cases {
        world.write("palisade.toml", &format!("[workspace]\n{settings}"));
        let settings = world.path("palisade.toml");
        let socket = format!("unix:{}", world.path("socket").display());
        let arguments: Vec<&str> =
            arguments.iter().map(|word| if *word == "unix:SOCKET" { socket.as_str() } else { word }).collect();
        let (verb, rest) = arguments.split_at(1);
        let refused = world.call(&[verb, &["--config", settings.to_str().expect("text")], rest].concat());
        assert!(matches!(refused.code, Some(1 | 125)), "{told}: {refused:?}");
        assert!(refused.stderr.contains(told), "{told}: {refused:?}");
    }
}

/// The same without privilege, where a user namespace gives what the mount takes. Root alone can become somebody else.
#[test]
fn a_view_needs_no_privilege() {
    if !fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0) {
        return services::skip("root", "other users can be had by root alone").unwrap_or_default();
    }
    let Some(world) = viewed() else { return };
    world.write("work/file", "then");
    fs::remove_dir_all(world.path("state")).expect("the state of root");
    let root = world.path("");
    let owned = Command::new("chown").args(["-R", "65533:65533"]).arg(&root).status();
    assert!(owned.is_ok_and(|status| status.success()));
    let binary = world.path("palisade");
    fs::copy(env!("CARGO_BIN_EXE_palisade"), &binary).expect("a copy");
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65533", "--regid=65533", "--clear-groups"]).arg(&binary).args(arguments);
        command.current_dir(world.workspace()).env_clear().env("PATH", "/usr/bin:/bin");
        Ended::of(command.env("HOME", world.path("home")).env("XDG_STATE_HOME", world.path("state")))
    };
    let (settings, policies) = (world.path("palisade.toml"), policies(&world, ""));
    let context = ["--config", settings.to_str().expect("text"), "--policies", policies.to_str().expect("text")];
    let ran = as_nobody(&[&["run"], &context[..], &["echo now > file; mkdir d; cat file"]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout, "now\n", "{ran:?}");
    assert_eq!(read(&world, "file").as_deref(), Some("then"));
    let applied = as_nobody(&[&["workspace", "apply"], &context[..]].concat());
    assert_eq!((applied.code, read(&world, "file").as_deref()), (Some(0), Some("now\n")), "{applied:?}");
}
