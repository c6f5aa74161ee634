//! Approvals: who can say yes to what, what a yes lifts, and all that it does not. Real servers, real users, real processes.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::people::{AGENT, CAROL, DAVE, Office, call, only, until};
use crate::support::site::real;
use crate::support::terminal::Terminal;
use crate::support::world::World;

/// A site where pushing takes a yes of those with the role `approver`, and deploying of two.
const SITE: &str = r#"
@id("all-but-files") permit (principal, action in Action::"activity", resource) unless { resource is Path };
@id("own-files") permit (principal, action in [Action::"fileAccess", Action::"execute"], resource)
when { resource in context.workspace || resource in [PathGroup::"temp", PathGroup::"devices"] };
@id("system-files") permit (principal, action in [Action::"read", Action::"execute"], resource)
when { resource in [PathGroup::"system", PathGroup::"toolchains", PathGroup::"granted-read"] };
@id("checkpoints") permit (principal, action in [Action::"checkpoint", Action::"restore"], resource);
@id("approved-write") permit (principal, action == Action::"write", resource) when { context.approved };
@id("ask-push") @reason("Publishing needs a person's yes.")
forbid (principal, action == Action::"exec", resource in Program::"git push") unless { context.approved };
@id("ask-deploy") @reason("Deploying needs two.") @quorum("2")
forbid (principal, action == Action::"exec", resource) when { resource.program == "deploy.sh" } unless { context.approved };
@id("ask-outside") @reason("That is not in the workspace.")
forbid (principal, action == Action::"write", resource)
unless { resource in context.workspace || resource in PathGroup::"temp" || resource in PathGroup::"devices" || context.approved };
@id("ask-input") @reason("Text may be code.")
forbid (principal, action == Action::"sendInput", resource) unless { context.approved };
@id("approvers") permit (principal in Role::"approver", action == Action::"approve", resource);
@id("not-oneself") @reason("Nobody says yes to their own agent.")
forbid (principal, action == Action::"approve", resource) when { principal == context.agent.user };
@id("look") permit (principal, action == Action::"observe", resource);
@id("stop") permit (principal in Role::"approver", action == Action::"stop", resource);
"#;

fn people() -> String {
    format!(
        "[people.\"uid:{CAROL}\"]\nroles = [\"approver\"]\n[people.\"uid:{DAVE}\"]\nroles = [\"approver\"]\n\
         [people.\"uid:{AGENT}\"]\nroles = [\"approver\"]\n"
    )
}

/// An office under the site's policies.
pub(crate) fn site(settings: &str) -> Option<Office> {
    let office = Office::new(&format!("policies = \"site\"\n{settings}\n{}", people()))?;
    fs::create_dir_all(office.world.path("etc/site")).expect("a directory");
    office.world.write("etc/site/site.cedar", SITE);
    office.world.program("deploy.sh", "#!/bin/sh\necho deployed\n");
    office.give_to_the_agent();
    Some(office)
}

fn exec(server: &mut Server, command: &str) -> Value {
    call(server, "exec", &json!({ "command": command }))
}

/// Asks for it, and tells the id under which it waits.
/// Asks for it without waiting for the person, who may be there, and tells the id under which it waits.
fn asked(server: &mut Server, command: &str) -> String {
    waits(&call(server, "exec", &json!({ "command": command, "yield_ms": 1 })))
}

fn waits(result: &Value) -> String {
    assert_eq!(result["status"], "approval_required", "{result}");
    assert_eq!(result["approval"]["state"], "waiting", "{result}");
    result["approval"]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_yes_lets_the_very_call_run_once() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let id = asked(&mut server, "git push origin main");
    assert_eq!(asked(&mut server, "git push origin main"), id, "the same call waits once");
    let listed = office.waiting(CAROL);
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!((&listed[0]["id"], &listed[0]["command"]), (&json!(id), &json!("git push origin main")));
    let shown = office.person(CAROL, &["approvals", "show", &id]);
    for part in ["git push origin main", "ask   exec     git push", "ask-push", "Publishing needs a person's yes."] {
        assert!(shown.stdout.contains(part), "{part}: {shown:?}");
    }
    let granted = office.person(CAROL, &["approvals", "grant", &id, "--yes", "--reason", "fine"]);
    assert_eq!(granted.code, Some(0), "{granted:?}");
    // Every other call is another one.
    for other in [
        json!({ "command": "git push origin main " }),
        json!({ "command": "git push origin main", "cwd": "." }),
        json!({ "command": "git push origin main", "env": { "A": "1" } }),
        json!({ "command": "git push origin main --force" }),
    ] {
        assert_ne!(waits(&call(&mut server, "exec", &other)), id, "{other}");
    }
    let ran = exec(&mut server, "git push origin main");
    assert_eq!((&ran["status"], &ran["exit_code"]), (&json!("done"), &json!(128)), "git itself says no: {ran}");
    let again = asked(&mut server, "git push origin main");
    assert_ne!(again, id, "it was used up");
    // What is on record: who, from where, and that the decision rests on it.
    let record = office.world.record();
    let approval = record.iter().find(|line| line["kind"] == "approval").expect("on record");
    assert_eq!(
        [
            &approval["of"],
            &approval["granted"],
            &approval["by"],
            &approval["from"],
            &approval["uid"],
            &approval["reason"]
        ],
        [&json!(id), &json!(true), &json!(format!("uid:{CAROL}")), &json!("control"), &json!(CAROL), &json!("fine")],
        "{approval}"
    );
    assert!(record.iter().any(|line| line["under"] == json!(id) && line["decision"]["effect"] == "allow"));
    // A server that begins anew knows of no yes.
    let granted = office.person(CAROL, &["approvals", "grant", &again, "--yes"]);
    assert_eq!(granted.code, Some(0), "{granted:?}");
    drop(server);
    let mut server = office.serve(&[]);
    asked(&mut server, "git push origin main");
    let late = office.person(CAROL, &["approvals", "grant", &again, "--yes"]);
    assert_eq!(late.code, Some(1), "{late:?}");
}

#[test]
fn only_whom_policy_lets_says_yes_and_never_the_agent() {
    let Some(office) = site("") else { return };
    let mut terminal = office.terminal();
    let mut server = office.serve(&[]);
    let id = asked(&mut server, "git push origin main");
    let grant = format!("approvals grant {id} --yes");
    let words: Vec<&str> = grant.split(' ').collect();
    let refused = |ended: &crate::support::world::Ended, why: &str| {
        assert_eq!(ended.code, Some(2), "{why}: {ended:?}");
        assert!(ended.stderr.contains(why), "{why}: {ended:?}");
    };
    // Root is a user like any other, and has no role here.
    refused(&office.person(0, &words), "no policy permits it");
    refused(&office.person(0, &["approvals", "deny", &id]), "no policy permits it");
    // The agent's own user has the role, but it is its agent.
    refused(&terminal.run(&office.line(&grant)), "Nobody says yes to their own agent.");
    // From a terminal that is younger than its client, whatever policy says.
    refused(&office.person(AGENT, &words), "younger than the agent's client");
    let mut later = office.terminal();
    refused(&later.run(&office.line(&grant)), "younger than the agent's client");
    // Out of the client's own tree, as it is, in a session of its own, and cut loose.
    let line = office.line(&grant);
    refused(&office.agent(&line), "in the process tree of the agent's own client");
    refused(&office.agent(&format!("setsid -w {line}")), "in the process tree of the agent's own client");
    let out = office.world.workspace().join("loose");
    let loose =
        format!("(setsid bash -c '{line} >loose.new 2>&1; echo \"<$?>\" >>loose.new; mv loose.new loose' &) ; true");
    assert_eq!(office.agent(&loose).code, Some(0));
    until("what has cut itself loose has its answer", || out.exists());
    let told = fs::read_to_string(&out).expect("an answer");
    assert!(told.contains("younger than the agent's client") && told.contains("<2>"), "{told}");
    assert_eq!(asked(&mut server, "git push origin main"), id, "nobody has said yes");
    let no = office.person(CAROL, &["approvals", "deny", &id, "--reason", "not on a Sunday"]);
    assert_eq!(no.code, Some(0), "{no:?}");
    let denied = exec(&mut server, "git push origin main");
    assert_eq!((&denied["status"], &denied["approval"]["state"]), (&json!("denied"), &json!("denied")), "{denied}");
    assert_eq!(denied["approval"]["reason"], "not on a Sunday");
    // What was decided of it in all is no, whatever policy alone said.
    assert_eq!((&denied["decision"]["effect"], &denied["verdict"]["decision"]), (&json!("deny"), &json!("deny")));
    let late = office.person(CAROL, &words);
    assert_eq!(late.code, Some(1), "{late:?}");
}

#[test]
fn a_part_of_an_id_is_answered_with_the_whole() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let (one, other) = (asked(&mut server, "git push origin main"), asked(&mut server, "git push origin next"));
    let (chain, _) = one.split_once('-').expect("an id");
    for (part, help) in [
        (chain.get(..4).expect("eight digits"), format!("an answer needs the whole id: `{one}`, `{other}`")),
        (chain, format!("an answer needs the whole id: `{one}`, `{other}`")),
        ("zz", "`palisade approvals list` shows what waits".to_owned()),
    ] {
        let ended = office.person(CAROL, &["approvals", "grant", part, "--yes"]);
        assert!(ended.code == Some(1) && ended.stderr.contains(&help), "{part}: {ended:?}");
    }
    assert_eq!(exec(&mut server, "git push origin main")["approval"]["id"], json!(one), "nobody has said yes");
}

#[test]
fn what_takes_two_takes_two_different_people() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let id = asked(&mut server, "./deploy.sh");
    let grant = ["approvals", "grant", id.as_str(), "--yes"];
    let first = office.person(CAROL, &grant);
    assert!(first.code == Some(0) && first.stdout.contains("1 of 2"), "{first:?}");
    let twice = office.person(CAROL, &grant);
    assert!(twice.code == Some(1) && twice.stderr.contains("different people"), "{twice:?}");
    let still = exec(&mut server, "./deploy.sh");
    assert_eq!((&still["approval"]["quorum"], &still["approval"]["yes"]), (&json!(2), &json!(1)), "{still}");
    assert_eq!(office.person(DAVE, &grant).code, Some(0));
    let ran = exec(&mut server, "./deploy.sh");
    assert_eq!((&ran["status"], &ran["stdout"]), (&json!("done"), &json!("deployed\n")), "{ran}");
}

#[test]
fn a_yes_is_to_what_the_files_held() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let id = asked(&mut server, "./deploy.sh");
    for person in [CAROL, DAVE] {
        assert_eq!(office.person(person, &["approvals", "grant", &id, "--yes"]).code, Some(0));
    }
    let shown = office.person(CAROL, &["approvals", "show", &id, "--json"]).json();
    assert!(shown["files"][0]["path"].as_str().is_some_and(|path| path.ends_with("/deploy.sh")), "{shown}");
    office.world.program("deploy.sh", "#!/bin/sh\necho something else\n");
    assert_ne!(asked(&mut server, "./deploy.sh"), id);
    office.world.program("deploy.sh", "#!/bin/sh\necho deployed\n");
    assert_eq!(exec(&mut server, "./deploy.sh")["stdout"], "deployed\n", "what was shown may still run");

    // However many there are.
    let names: Vec<String> = (0..300).map(|number| format!("part-{number:03}.sh")).collect();
    for name in &names {
        office.world.program(name, "#!/bin/sh\n");
    }
    let parts: String = names.iter().map(|name| format!("./{name}\n")).collect();
    let all = format!("./deploy.sh\n{parts}");
    let id = asked(&mut server, &all);
    assert_eq!(asked(&mut server, &all), id, "it is the same call still");
    office.world.program("part-299.sh", "#!/bin/sh\necho something else\n");
    assert_ne!(asked(&mut server, &all), id);
}

/// Whatever runs a file, and however it comes by it.
#[test]
fn a_yes_is_to_code_that_is_not_in_the_text() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    office.world.program("code", "echo one\n");
    fs::create_dir(office.world.path("work/pack")).expect("a directory");
    office.world.program("pack/__main__.py", "1\n");
    for command in [
        "bash code; git push",
        ". ./code; git push",
        "python3 code; git push",
        "make -f code; git push",
        "bash < code; git push",
        "python3 - < code; git push",
        "cat code | bash; git push",
        "bash -c \"$(cat code)\"; git push",
        "eval \"$(< code)\"; git push",
        "python3 pack; git push",
    ] {
        let id = asked(&mut server, command);
        assert_eq!(asked(&mut server, command), id, "{command}: the same call");
        office.world.program("code", "echo two\n");
        office.world.program("pack/__main__.py", "2\n");
        assert_ne!(asked(&mut server, command), id, "{command}");
        office.world.program("code", "echo one\n");
        office.world.program("pack/__main__.py", "1\n");
    }
}

/// What is hidden from a person as a secret may be what the agent wants nobody to see.
#[test]
fn a_person_is_told_what_is_not_shown() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let key = "A".repeat(64);
    let hides = format!(
        ": '-----BEGIN OPENSSH PRIVATE KEY-----\n{key}\n'; git push; : '{key}\n-----END OPENSSH PRIVATE KEY-----'"
    );
    for (command, hidden) in [("git push", false), (hides.as_str(), true)] {
        let id = asked(&mut server, command);
        let shown = office.person(CAROL, &["approvals", "show", &id]);
        assert_eq!(shown.stdout.contains("NOT ALL OF IT IS SHOWN: "), hidden, "{shown:?}");
        let told = office.person(CAROL, &["approvals", "show", &id, "--json"]).json();
        assert_eq!(
            told["short"]["hidden"].as_u64().or(told["hidden"].as_u64()).is_some_and(|hidden| hidden > 60),
            hidden,
            "{told}"
        );
    }
}

/// No permit to look at everything is needed to answer what one may answer.
#[test]
fn whoever_may_approve_something_sees_it() {
    let Some(office) = site("") else { return };
    let look = "@id(\"look\") permit (principal, action == Action::\"observe\", resource);\n";
    assert!(SITE.contains(look));
    office.world.write("etc/site/site.cedar", &SITE.replace(look, ""));
    let mut server = office.serve(&[]);
    let none = office.person(CAROL, &["approvals", "list", "--json"]);
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), "[]\n"), "{none:?}");
    let id = asked(&mut server, "git push origin main");
    for (user, code) in [(CAROL, 0), (DAVE + 1, 2), (AGENT, 2)] {
        for verb in [&["list"][..], &["show", &id]] {
            let ended = office.person(user, &[&["approvals"], verb].concat());
            assert_eq!(ended.code, Some(code), "{user} {verb:?}: {ended:?}");
            assert_eq!(ended.stdout.contains("git push origin main"), code == 0, "{user} {verb:?}: {ended:?}");
        }
    }
    // Whoever wants to answer is told of answering: one has no permit, the other's user may not say yes to their own agent.
    let stranger = DAVE + 1;
    for (user, said) in [
        (stranger, format!("policy does not let `uid:{stranger}` see or answer this request: no policy permits it\n")),
        (
            AGENT,
            format!(
                "policy does not let `uid:{AGENT}` approve this: Nobody says yes to their own agent. (not-oneself)\n"
            ),
        ),
    ] {
        let ended = office.person(user, &["approvals", "grant", &id, "--yes"]);
        assert!(ended.code == Some(2) && ended.stderr.contains(&said), "{said}: {ended:?}");
    }
    let granted = office.person(CAROL, &["approvals", "grant", &id, "--yes"]);
    assert_eq!(granted.code, Some(0), "{granted:?}");
}

/// Of the windows of one tmux those are the person's that were there before the agent's client. It could have opened any other.
#[test]
fn a_window_that_was_open_before_the_client_is_a_persons() {
    let world = World::new();
    let Some(terminal) = Terminal::open("windows", (150, 40), &world.palisade(), "PS1='ready ' exec sh") else {
        return;
    };
    terminal.shows(&["ready"]);
    // The client's window is older than the next one, and the client is younger than both.
    terminal.window("PS1='theirs ' exec sh", false);
    terminal.shows(&["theirs"]);
    terminal.window("PS1='second ' exec sh", false);
    terminal.shows(&["second"]);
    // The kernel tells when a process began in hundredths of a second.
    std::thread::sleep(Duration::from_millis(20));
    let (into, out) = (world.path("into"), world.path("out"));
    assert!(Command::new("mkfifo").args([&into, &out]).status().expect("mkfifo").success());
    let program = env!("CARGO_BIN_EXE_palisade");
    let (work, shown) = (world.workspace().display().to_string(), [into.display(), out.display()]);
    terminal.choose("1");
    let serve = format!("{program} serve --agent asker < {} > {}; exit $?", shown[0], shown[1]);
    world.write("work/client", &format!("cd {work}; {serve}"));
    terminal.types(&format!("sh {work}/client"));
    terminal.press(&["Enter"]);
    let mut into = fs::OpenOptions::new().write(true).open(&into).expect("a pipe");
    let mut lines = BufReader::new(fs::File::open(&out).expect("a pipe")).lines();
    let mut ask = |message: &Value| -> Value {
        writeln!(into, "{message}").expect("written");
        serde_json::from_str(&lines.next().expect("a line").expect("readable")).expect("JSON")
    };
    let hello =
        json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    ask(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello }));
    let push = json!({ "name": "exec", "arguments": { "command": "git push origin main", "yield_ms": 0 } });
    let waiting = ask(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": push }));
    let id = waits(&waiting["result"]["structuredContent"]);
    terminal.window("exec sh", false);
    for (window, word, said) in [
        ("3", "grant", "your terminal is younger than the agent's client"),
        ("2", "grant", "granted by"),
        ("0", "show", "granted"),
    ] {
        terminal.choose(window);
        let yes = if word == "grant" { "--yes" } else { "" };
        terminal.types(&format!("{program} approvals {word} {id} {yes}"));
        terminal.press(&["Enter"]);
        terminal.shows(&[said]);
    }
}

/// The home directory would be opened for a new name in it, and below it lies what nothing could keep from the command.
#[test]
fn nobody_is_asked_for_what_could_not_be_done() {
    let world = World::new();
    world.write("work/file", "x");
    fs::create_dir(world.path("work/tree")).expect("a directory");
    let mut server = Server::start_with(&world, &[]);
    for command in ["cp -r tree ~/copy", "ln -s file ~/link", "mkdir ~/a/b", "mkdir ~/c && rmdir ~/c"] {
        server.exec(1, command);
        let result = server.receive()["result"].clone();
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        assert_eq!(result["structuredContent"]["status"], "denied", "{command}: {result}");
        let is_judged =
            text.contains("Nobody is asked: a yes would open `") && text.contains("`mkdir` a directory there first");
        assert!(is_judged || command.contains("rmdir"), "{command}: {text}");
        assert!(text.chars().count() <= 400, "{command}: {text}");
    }
    // Nor for what the session's user cannot change.
    let shut = world.path("shut");
    fs::create_dir(&shut).expect("a directory");
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o555)).expect("a mode");
    server.exec(2, &format!("mkdir -p {0}/a/b && echo x > {0}/a/b/c", shut.display()));
    let result = server.receive()["result"].clone();
    let text = result["content"][0]["text"].as_str().unwrap_or_default();
    let said = format!("Nobody is asked: the session's user cannot change `{}`", real(&shut.display().to_string()));
    assert!(result["structuredContent"]["status"] == "denied" && text.contains(&said), "{text}");
    assert!(world.record().iter().all(|line| line["kind"] != "outcome" && line["kind"] != "approval"));
}

/// What the text makes a directory or file of is made for it, and opened alone.
#[test]
fn new_places_outside_are_made_and_nothing_beside_them_is_opened() {
    let Some(office) = Office::new("profile = \"developer\"") else { return };
    let home = office.world.path("home");
    for directory in ["home/big", "work/src"] {
        fs::create_dir_all(office.world.path(directory)).expect("a directory");
    }
    fs::write(home.join("big/there"), "a person's\n").expect("written");
    office.world.write("work/file", "x\n");
    let author = ["-C", "src", "-c", "user.name=a", "-c", "user.email=a@b.c"];
    let commit = [&author[..], &["commit", "--quiet", "-m", "a"]].concat();
    for arguments in [&["init", "--quiet", "src"][..], &["-C", "src", "add", ".envrc"], &commit] {
        // What runs later is a repository's to hold.
        if arguments.contains(&"add") {
            office.world.write("work/src/.envrc", "echo later\n");
        }
        let mut git = Command::new("git");
        let status = git.args(arguments).current_dir(office.world.workspace()).status();
        assert!(status.is_ok_and(|status| status.success()), "{arguments:?}");
    }
    let reach = "for place in ~/in ~/big/in ~/big/there; do echo x > $place; cat $place; mkdir $place.d; done 2>/dev/null\n\
                 cat ~/big/there; rm ~/big/there; echo in > ~/mine/in; cat ~/mine/in; rm ~/mine/in; echo x > ~/mine/.envrc; mkdir ~/mine\n";
    office.world.write("work/reach.sh", reach);
    office.give_to_the_agent();
    let mut terminal = office.terminal();
    let mut server = office.serve(&[]);
    let mut granted = |server: &mut Server, command: &str| {
        let id = asked(server, command);
        let shown = terminal.run(&office.line(&format!("approvals show {id} --json")));
        let shown: Value = serde_json::from_str(&shown.stdout).expect("JSON");
        let yes = terminal.run(&office.line(&format!("approvals grant {id} --yes")));
        assert_eq!(yes.code, Some(0), "{command}: {yes:?}");
        (shown["opens"].clone(), exec(server, command))
    };
    let place = |name: &str| home.join(name).display().to_string();
    let directory = |name: &str| json!([format!("rwd- {} (a new directory)", place(name))]);
    let file = |name: &str| json!([format!("-w-- {} (a new file)", place(name))]);
    for (command, opens, made) in [
        ("mkdir ~/proj", directory("proj"), "proj"),
        // As the refusal of `cp file ~/copy` says.
        ("cp file ~/proj/copy", json!([format!("-w-- {}", place("proj"))]), "proj/copy"),
        ("mkdir -m 700 ~/shut", directory("shut"), "shut"),
        ("mkdir -p ~/deep/er/est && echo x > ~/deep/er/est/f", directory("deep/er/est"), "deep/er/est/f"),
        ("mkdir ~/one ~/one/two", directory("one"), "one/two"),
        ("echo x > ~/new.txt", file("new.txt"), "new.txt"),
        ("cat file | tee ~/big/copy", file("big/copy"), "big/copy"),
        ("touch ~/big/empty", file("big/empty"), "big/empty"),
        ("git init ~/big/a", directory("big/a"), "big/a/.git/config"),
        ("git clone src ~/big/b", directory("big/b"), "big/b/.envrc"),
        ("git clone src ~/none/c", directory("none/c"), "none/c/.git/config"),
        ("git -C src worktree add ~/big/tree", directory("big/tree"), "big/tree/.git"),
    ] {
        let (shown, ran) = granted(&mut server, command);
        assert_eq!(shown, opens, "{command}");
        assert_eq!((&ran["status"], &ran["exit_code"]), (&json!("done"), &json!(0)), "{command}: {ran}");
        assert!(home.join(made).exists(), "{command}: {ran}");
    }
    let mode = fs::metadata(home.join("shut")).expect("made").permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    assert_eq!(fs::read_to_string(home.join("new.txt")).expect("a file"), "x\n");
    // What comes to nothing leaves nothing.
    for command in
        ["git clone absent ~/big/d", "git clone absent ~/more/d", "false && mkdir ~/big/d", "touch -c ~/big/d"]
    {
        let (_, ran) = granted(&mut server, command);
        assert_eq!(ran["status"], "done", "{command}: {ran}");
        assert!(!home.join("big/d").exists() && !home.join("more").exists(), "{command}: {ran}");
    }
    // All else stays as closed as it was, and the directory is new only once.
    let (_, ran) = granted(&mut server, "mkdir ~/mine; sh reach.sh");
    assert_eq!((&ran["stdout"], &ran["exit_code"]), (&json!("in\n"), &json!(1)), "{ran}");
    assert_eq!(fs::read_to_string(home.join("big/there")).expect("a file"), "a person's\n");
    for name in ["in", "in.d", "big/in", "big/in.d", "big/there.d", "mine/in", "mine/.envrc"] {
        assert!(!home.join(name).exists(), "{name}");
    }
    // Nor does what runs later become the command's to make, in a new repository either.
    office.world.write("work/hook.sh", "echo x > ~/hooked/.git/hooks/pre-commit; echo x > ~/hooked/.envrc\n");
    let (_, ran) = granted(&mut server, "git init ~/hooked; sh hook.sh");
    assert_eq!(ran["status"], "done", "{ran}");
    assert!(home.join("hooked/.envrc").exists() && !home.join("hooked/.git/hooks/pre-commit").exists(), "{ran}");
    // A yes to a new place is none to what somebody has put there meanwhile.
    let id = asked(&mut server, "mkdir -p ~/later");
    assert_eq!(terminal.run(&office.line(&format!("approvals grant {id} --yes"))).code, Some(0));
    fs::create_dir(home.join("later")).expect("a directory");
    office.give_to_the_agent();
    assert_ne!(asked(&mut server, "mkdir -p ~/later"), id);
}

/// What a yes opens is where the new names are made, however deep they lie.
#[test]
fn directories_outside_are_made_with_those_above_them() {
    let Some(office) = site("") else { return };
    let out = office.world.path("out");
    fs::create_dir(&out).expect("a directory");
    fs::set_permissions(&out, fs::Permissions::from_mode(0o777)).expect("a mode");
    let mut server = office.serve(&[]);
    let command = format!("mkdir -p {0}/a/b/c && echo x > {0}/a/b/c/d", real(&out.display().to_string()));
    let id = asked(&mut server, &command);
    assert_eq!(office.person(CAROL, &["approvals", "grant", &id, "--yes"]).code, Some(0));
    let ran = exec(&mut server, &command);
    assert_eq!(ran["exit_code"], 0, "{ran}");
    assert_eq!(fs::read_to_string(out.join("a/b/c/d")).expect("written"), "x\n");
}

#[test]
fn what_waits_is_listed_as_it_comes_and_as_it_is_answered() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let mut watch = office.persons(CAROL, &["approvals", "list", "--watch", "--json"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let mut next =
        || -> Value { serde_json::from_str(&lines.next().expect("a line").expect("readable")).expect("JSON") };
    let first = asked(&mut server, "git push");
    let listed = next();
    assert_eq!((&listed["id"], &listed["state"]), (&json!(first), &json!("waiting")), "{listed}");
    let second = asked(&mut server, "git push origin main");
    assert_eq!(next()["id"], json!(second));
    assert_eq!(office.person(CAROL, &["approvals", "grant", &first, "--yes"]).code, Some(0));
    let granted = next();
    assert_eq!((&granted["id"], &granted["state"]), (&json!(first), &json!("granted")), "{granted}");
    let plain = office.person(CAROL, &["approvals", "list"]).stdout;
    let ages = plain.lines().filter(|line| line.contains(" s, ") && line.contains(" min left  "));
    assert_eq!(ages.count(), 2, "how long each has waited, and has left: {plain}");
    watch.kill().and_then(|()| watch.wait()).expect("it ends");
}

/// A person is asked once for what is done, whatever the agent says of it or wants to see.
#[test]
fn equal_requests_are_one() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let id = asked(&mut server, "git push");
    let mut same = json!({ "command": "git push" });
    for (name, value) in [
        ("reason", json!("another")),
        ("max_output", json!(99)),
        ("keep", json!("tail:3")),
        ("timeout_ms", json!(9_000)),
        ("yield_ms", json!(50)),
    ] {
        same[name] = value;
        assert_eq!(waits(&call(&mut server, "exec", &same)), id, "{same}");
    }
    assert_eq!(office.waiting(CAROL).len(), 1);
    for (name, value) in [("cwd", json!("/")), ("tty", json!(true)), ("stdin", json!("y")), ("yield_ms", json!(0))] {
        let mut other = json!({ "command": "git push" });
        other[name] = value;
        assert_ne!(waits(&call(&mut server, "exec", &other)), id, "{other}");
    }
    assert_eq!(office.person(CAROL, &["approvals", "grant", &id, "--yes"]).code, Some(0));
    same["yield_ms"] = json!(60_000);
    assert_eq!(call(&mut server, "exec", &same)["status"], "done");
}

/// With a session and without, as long as that makes no other call of it.
#[test]
fn equal_requests_with_a_session_and_without_are_one() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let mut open = || call(&mut server, "session_open", &json!({}))["session"].clone();
    let (one, other) = (open(), open());
    let push = |server: &mut Server, session: &Value, command: &str| {
        call(server, "exec", &json!({ "command": command, "session": session, "yield_ms": 1 }))
    };
    let id = asked(&mut server, "git push");
    assert_eq!(waits(&push(&mut server, &one, "git push")), id);
    assert_eq!(waits(&push(&mut server, &other, "git push")), id);
    assert_eq!(office.waiting(CAROL).len(), 1);
    assert_eq!(office.person(CAROL, &["approvals", "grant", &id, "--yes"]).code, Some(0));
    let runs = |server: &mut Server, session: &Value, command: &str| {
        let ran = call(server, "exec", &json!({ "command": command, "session": session }));
        assert_eq!(ran["status"], "done", "{command}: {ran}");
    };
    let shown = office.person(CAROL, &["approvals", "show", &id]);
    assert!(shown.stdout.contains("asked in a session and without one"), "{shown:?}");
    runs(&mut server, &one, "git push");
    // It is used up, and each session's own request is one by itself.
    let own = waits(&push(&mut server, &one, "git push"));
    let others = waits(&push(&mut server, &other, "git push"));
    assert!(own != id && others != own, "{own} {others}");
    // What stays in a session is another matter, and so is what runs in one that is no longer as new.
    for changes in ["cd /usr; git push", "A=1; git push"] {
        assert_ne!(asked(&mut server, changes), waits(&push(&mut server, &one, changes)), "{changes}");
    }
    runs(&mut server, &other, "export A=1");
    assert_ne!(asked(&mut server, "git push x"), waits(&push(&mut server, &other, "git push x")));
    let moved = json!({ "command": "git push y", "session": one, "cwd": "/usr" });
    assert_ne!(asked(&mut server, "git push y"), waits(&call(&mut server, "exec", &moved)));
    // A yes is to what was seen: not to a call that comes afterwards.
    let id = waits(&push(&mut server, &one, "git push z"));
    assert_eq!(office.person(CAROL, &["approvals", "grant", &id, "--yes"]).code, Some(0));
    assert_ne!(asked(&mut server, "git push z"), id);
    runs(&mut server, &one, "git push z");
}

#[test]
fn other_policies_and_another_state_are_another_request() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let session = call(&mut server, "session_open", &json!({}))["session"].clone();
    let push = json!({ "command": "git push", "session": session });
    let id = waits(&call(&mut server, "exec", &push));
    assert_eq!(office.person(CAROL, &["approvals", "grant", &id, "--yes"]).code, Some(0));
    call(&mut server, "exec", &json!({ "command": "git() { echo mine; }", "session": session }));
    let other = call(&mut server, "exec", &push);
    assert_ne!(other["approval"]["id"], json!(id), "{other}");

    let id = asked(&mut server, "git push");
    assert_eq!(office.person(CAROL, &["approvals", "grant", &id, "--yes"]).code, Some(0));
    office.world.write("etc/site/site.cedar", &format!("{SITE}// another text\n"));
    until("the policies are others", || {
        office.world.record().iter().any(|line| line["kind"] == "policy_reload" && line["refused"].is_null())
    });
    assert_ne!(asked(&mut server, "git push"), id);
    // What waits when the policies change is asked anew: a yes to the old request would let nothing run.
    let outdated = asked(&mut server, "git push origin other");
    let reloads = || office.world.record().iter().filter(|line| line["kind"] == "policy_reload").count();
    let before = reloads();
    office.world.write("etc/site/site.cedar", &format!("{SITE}// a third text\n"));
    until("the policies are others again", || reloads() > before);
    until("nobody is asked any more", || office.waiting(CAROL).iter().all(|waiting| waiting["id"] != json!(outdated)));
    let late = office.person(CAROL, &["approvals", "grant", &outdated, "--yes"]);
    assert!(late.code == Some(1) && late.stderr.contains("no request"), "{late:?}");
}

#[test]
fn nobody_answers_in_time() {
    let Some(office) = site("[approvals]\nexpire = \"1s\"") else { return };
    let mut server = office.serve(&[]);
    let id = asked(&mut server, "git push");
    until("it is too late", || office.waiting(CAROL).is_empty());
    let late = office.person(CAROL, &["approvals", "grant", &id, "--yes"]);
    assert!(late.code == Some(1) && late.stderr.contains("no request"), "{late:?}");
    assert_ne!(asked(&mut server, "git push"), id);
}

#[test]
fn a_call_that_waits_goes_on_by_itself() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    // Where nobody is who could answer, the agent is told so at once.
    let told = call(&mut server, "exec", &json!({ "command": "git push", "yield_ms": 3_600_000 }));
    waits(&told);
    // Carol looks, and so she is there.
    assert_eq!(office.waiting(CAROL).len(), 1);
    server.call(70, "exec", &json!({ "command": "git push", "yield_ms": 60_000 }));
    let id = office.waiting(CAROL)[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(office.person(CAROL, &["approvals", "grant", &id, "--yes"]).code, Some(0));
    assert_eq!(server.receive()["result"]["structuredContent"]["status"], "done");
    server.call(71, "exec", &json!({ "command": "git push", "yield_ms": 60_000 }));
    until("it waits", || office.waiting(CAROL).len() == 1);
    let id = office.waiting(CAROL)[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(office.person(CAROL, &["approvals", "deny", &id]).code, Some(0));
    assert_eq!(server.receive()["result"]["structuredContent"]["status"], "denied");
}

#[test]
fn each_request_is_lifted_once_at_execve_too() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let looped = "for i in 1 2 3; do git push; done; true";
    let id = asked(&mut server, looped);
    assert_eq!(office.person(CAROL, &["approvals", "grant", &id, "--yes"]).code, Some(0));
    server.call(80, "exec", &json!({ "command": looped }));
    // A no is told to the third as well: nobody is asked twice.
    let second = running(&office, |_| true);
    assert_eq!(office.person(CAROL, &["approvals", "deny", &second]).code, Some(0));
    let ran = server.receive()["result"]["structuredContent"].clone();
    assert_eq!(ran["status"], "done", "{ran}");
    let stderr = ran["stderr"].as_str().unwrap_or_default();
    assert_eq!(stderr.matches("fatal: ").count(), 1, "one got as far as git: {ran}");
    assert_eq!(ran["denied"][0]["policy"], "ask-push", "{ran}");
}

/// The id of the program that waits in its `execve` and is such.
fn running(office: &Office, is_it: impl Fn(&str) -> bool) -> String {
    let mut found = None;
    until("a program waits for a person", || {
        let waits = |waiting: &Value| waiting["running"] == json!(true) && waiting["state"] == "waiting";
        let waiting = office.waiting(CAROL).into_iter().filter(waits);
        found = waiting.filter_map(|waiting| waiting["id"].as_str().map(str::to_owned)).find(|id| is_it(id));
        found.is_some()
    });
    found.expect("an id")
}

/// Somebody looks, and is there for the next minutes.
fn is_there(office: &Office) {
    office.waiting(CAROL);
}

fn reason(result: &Value) -> &str {
    result["denied"][0]["reason"].as_str().unwrap_or_default()
}

#[test]
fn a_running_program_waits_for_a_yes_at_its_execve() {
    let Some(office) = site("") else { return };
    office.world.program("release", "#!/bin/sh\ngit push origin main\necho behind $?\n");
    office.give_to_the_agent();
    let mut server = office.serve(&[]);
    is_there(&office);
    server.call(80, "exec", &json!({ "command": "./release" }));
    let id = running(&office, |_| true);
    let shown = office.person(CAROL, &["approvals", "show", &id]);
    for part in ["git push origin main", "a process waits to become this program", "started by: ", "ask-push"] {
        assert!(shown.stdout.contains(part), "{part}: {shown:?}");
    }
    // The agent's own user has the role, and does not say yes to its agent.
    let line = office.line(&format!("approvals grant {id} --yes"));
    assert_eq!(office.agent(&line).code, Some(2));
    assert_eq!(running(&office, |_| true), id);
    assert_eq!(office.person(CAROL, &["approvals", "grant", &id, "--yes"]).code, Some(0));
    let ran = server.receive()["result"]["structuredContent"].clone();
    assert_eq!((&ran["status"], &ran["stdout"]), (&json!("done"), &json!("behind 128\n")), "git itself says no: {ran}");
    assert!(ran["denied"].is_null(), "{ran}");
    let record = office.world.record();
    let effects = |key: &str| -> Vec<Value> {
        let entries = record.iter().filter(|line| line["kind"] == "execution" && line[key] == json!(id));
        entries.map(|line| line["effect"].clone()).collect()
    };
    assert_eq!((effects("ask"), effects("under")), (vec![json!("ask")], vec![json!("allow")]));
    assert!(record.iter().any(|line| line["kind"] == "approval" && line["of"] == json!(id)));

    // It was used up, and others go on meanwhile.
    let session = call(&mut server, "session_open", &json!({}))["session"].clone();
    let job = call(&mut server, "exec", &json!({ "command": "./release", "session": session, "yield_ms": 0 }));
    let again = running(&office, |_| true);
    assert_ne!(again, id);
    let read = call(&mut server, "job_read", &json!({ "job": job["job"] }));
    assert_eq!(read["waiting_for_approval"], json!([again]), "{read}");
    assert_eq!(exec(&mut server, "echo others")["stdout"], "others\n");
    assert_eq!(office.person(CAROL, &["approvals", "deny", &again, "--reason", "not now"]).code, Some(0));
    let mut ended = Value::Null;
    until("it has ended", || {
        ended = call(&mut server, "job_read", &json!({ "job": job["job"] }));
        ended["status"] == "done"
    });
    assert_eq!(ended["stdout"], "behind 126\n", "{ended}");
    assert!(reason(&ended).contains("said no: not now"), "{ended}");
}

#[test]
fn others_of_the_session_go_on_while_one_waits() {
    let Some(office) = site("") else { return };
    office.world.program("release", "#!/bin/sh\ngit push &\nexpr 1 + 1\n/bin/echo others\nwait\n");
    office.give_to_the_agent();
    let mut server = office.serve(&[]);
    is_there(&office);
    let job = call(&mut server, "exec", &json!({ "command": "./release", "yield_ms": 0 }))["job"].clone();
    let id = running(&office, |_| true);
    until("the others have run", || call(&mut server, "job_read", &json!({ "job": job }))["stdout"] == "2\nothers\n");
    assert_eq!(running(&office, |_| true), id, "and it waits still");
    // Whoever waits may die, and its request goes with it.
    let killed = call(&mut server, "job_signal", &json!({ "job": job, "signal": "KILL" }));
    assert_ne!(killed["status"], "failed", "{killed}");
    until("nothing waits any more", || office.waiting(CAROL).is_empty());
    let late = office.person(CAROL, &["approvals", "grant", &id, "--yes"]);
    assert_eq!(late.code, Some(1), "{late:?}");
}

#[test]
fn nobody_is_waited_for_who_is_not_there() {
    let Some(office) = site("") else { return };
    office.world.program("release", "#!/bin/sh\ngit push\n");
    office.give_to_the_agent();
    let mut server = office.serve(&[]);
    // One who may not say yes is nobody to be waited for, and the agent is not either.
    assert_eq!(office.person(0, &["approvals", "list"]).code, Some(0));
    office.agent(&office.line("approvals list"));
    let ran = exec(&mut server, "./release");
    assert_eq!((&ran["status"], &ran["exit_code"]), (&json!("done"), &json!(126)), "{ran}");
    let told = "Publishing needs a person's yes. A person could allow it, and nobody can be asked here: ";
    assert!(reason(&ran).starts_with(told), "{ran}");
    assert!(office.waiting(CAROL).is_empty());
}

#[test]
fn a_program_that_waits_too_long_is_refused() {
    let Some(office) = site("[approvals]\nexpire = \"1s\"") else { return };
    office.world.program("release", "#!/bin/sh\ngit push\n");
    office.give_to_the_agent();
    let mut server = office.serve(&[]);
    is_there(&office);
    let ran = exec(&mut server, "./release");
    assert_eq!(ran["exit_code"], 126, "{ran}");
    assert!(reason(&ran).contains("A person was asked, and nobody answered within 1 s."), "{ran}");
}

#[test]
fn a_yes_at_execve_is_to_what_the_file_held() {
    let Some(office) = site("") else { return };
    office.world.program("release", "#!/bin/sh\n./deploy.sh\n");
    office.give_to_the_agent();
    let mut server = office.serve(&[]);
    is_there(&office);
    server.call(80, "exec", &json!({ "command": "./release" }));
    let id = running(&office, |_| true);
    let shown = office.person(CAROL, &["approvals", "show", &id, "--json"]).json();
    let is_bound = |file: &Value| file["path"].as_str().is_some_and(|path| path.ends_with("/deploy.sh"));
    assert!(shown["files"].as_array().is_some_and(|files| files.iter().any(is_bound)), "{shown}");
    office.world.program("deploy.sh", "#!/bin/sh\necho something else\n");
    for person in [CAROL, DAVE] {
        assert_eq!(office.person(person, &["approvals", "grant", &id, "--yes"]).code, Some(0));
    }
    // What stands there now is another request.
    let other = running(&office, |other| other != id);
    assert_eq!(office.person(CAROL, &["approvals", "deny", &other]).code, Some(0));
    let ran = server.receive()["result"]["structuredContent"].clone();
    assert_eq!((&ran["stdout"], &ran["exit_code"]), (&Value::Null, &json!(126)), "{ran}");
}

#[test]
fn what_the_kernel_would_refuse_runs_in_a_shell_of_its_own() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let session = call(&mut server, "session_open", &json!({}))["session"].clone();
    let set = json!({ "command": "A=kept", "session": session });
    assert_eq!(call(&mut server, "exec", &set)["status"], "done");
    let there = office.world.path("outside/there");
    fs::write(&there, "").expect("a file");
    office.give_to_the_agent();
    let write = format!("A=lost; echo \"yes\" > {}", there.display());
    let write = json!({ "command": write, "session": session });
    let id = waits(&call(&mut server, "exec", &write));
    let shown = office.person(CAROL, &["approvals", "show", &id, "--json"]).json();
    assert_eq!(shown["opens"], json!([format!("-w-- {}", there.display())]), "{shown}");
    assert_eq!(office.person(CAROL, &["approvals", "grant", &id, "--yes"]).code, Some(0));
    let ran = call(&mut server, "exec", &write);
    assert_eq!((&ran["status"], &ran["exit_code"]), (&json!("done"), &json!(0)), "{ran}");
    assert_eq!(fs::read_to_string(&there).expect("a file"), "yes\n");
    let state = call(&mut server, "exec", &json!({ "command": "echo $A", "session": session }));
    assert_eq!(state["stdout"], "kept\n", "the session is as it was: {state}");
    // The next one is held to the rules as before.
    let other =
        call(&mut server, "exec", &json!({ "command": format!("echo no >> {}", there.display()), "session": session }));
    assert_eq!(other["status"], "approval_required", "{other}");
}

#[test]
fn a_yes_to_making_a_file_is_none_to_changing_one() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let session = call(&mut server, "session_open", &json!({}))["session"].clone();
    let new = office.world.path("outside/new");
    let write = json!({ "command": format!("echo yes > {}", new.display()), "session": session });
    let id = waits(&call(&mut server, "exec", &write));
    let shown = office.person(CAROL, &["approvals", "show", &id, "--json"]).json();
    assert_eq!(shown["opens"], json!([format!("-w-- {} (a new file)", new.display())]), "{shown}");
    assert_eq!(office.person(CAROL, &["approvals", "grant", &id, "--yes"]).code, Some(0));
    fs::write(&new, "somebody's\n").expect("a file");
    office.give_to_the_agent();
    let other = waits(&call(&mut server, "exec", &write));
    assert_ne!(other, id, "what the yes opens is another place now");
    assert_eq!(fs::read_to_string(&new).expect("a file"), "somebody's\n");
}

#[test]
fn what_is_typed_into_a_job_is_asked_for_too() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let job = call(&mut server, "exec", &json!({ "command": "cat", "yield_ms": 0 }))["job"].clone();
    let write = json!({ "job": job, "input": "hello\n" });
    let id = waits(&call(&mut server, "job_write", &write));
    let shown = office.person(CAROL, &["approvals", "show", &id, "--json"]).json();
    assert_eq!((&shown["kind"], &shown["command"]), (&json!("input"), &json!("hello\n")), "{shown}");
    assert_eq!(office.person(CAROL, &["approvals", "grant", &id, "--yes"]).code, Some(0));
    let other = call(&mut server, "job_write", &json!({ "job": job, "input": "hello" }));
    assert_ne!(waits(&other), id);
    let wrote = call(&mut server, "job_write", &write);
    assert_eq!(wrote["status"], "running", "{wrote}");
    let read = json!({ "job": job });
    until("it has come out again", || call(&mut server, "job_read", &read)["stdout"] == json!("hello\n"));
    assert_ne!(waits(&call(&mut server, "job_write", &write)), id);
}

#[test]
fn a_session_cannot_reach_the_socket_and_nobody_can_hold_it_up() {
    let Some(office) = site("") else { return };
    office.world.write(
        "work/reach.py",
        "import socket, sys\ntry:\n    s = socket.socket(socket.AF_UNIX)\n    s.connect(sys.argv[1])\n    print('connected')\n\
         except OSError as error:\n    print('errno', error.errno)\n",
    );
    let mut server = office.serve(&[]);
    let socket = only(&office.world.path("control"));
    assert_eq!(fs::metadata(&socket).expect("a socket").permissions().mode() & 0o777, 0o666);
    let tried = exec(&mut server, &format!("/usr/bin/python3 reach.py {}", socket.display()));
    // It is not in the session's own `/tmp`.
    assert_eq!(tried["stdout"], "errno 2\n", "{tried}");
    let looked = exec(&mut server, &format!("ls -l {}", socket.display()));
    assert_eq!(looked["exit_code"], 2, "nor does it see that it is there: {looked}");
    let read = exec(&mut server, &format!("cat {}", socket.display()));
    assert_eq!(read["status"], "denied", "{read}");
    // Garbage, and peers that never read or never write.
    let mut silent = Vec::new();
    for number in 0..1_000 {
        let mut stream = UnixStream::connect(&socket).expect("it listens");
        let line: &[u8] = match number % 5 {
            0 => b"\xff\xfe\n",
            1 => b"{\"v\":1,\"say\":{\"answer\":{\"id\":\"x\",\"yes\":1}}}\n",
            2 => b"{\"v\":9}\n",
            3 => b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
            _ => b"\n",
        };
        let _refused = stream.write_all(line);
        if number < 100 {
            silent.push(stream);
            continue;
        }
        let mut answer = String::new();
        let _cut_off = stream.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.contains("\"failed\""), "{answer}");
    }
    let id = asked(&mut server, "git push");
    assert_eq!(
        office.person(CAROL, &["approvals", "grant", &id, "--yes"]).code,
        Some(0),
        "others are served meanwhile"
    );
    drop(silent);
    drop(server);
    assert!(!socket.exists(), "it goes with its server");
}

#[test]
fn a_dead_servers_socket_is_swept_and_a_living_ones_stays() {
    let Some(office) = site("") else { return };
    let control = office.world.path("control");
    let dead = control.join("00000000.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).expect("a socket"));
    office.give_to_the_agent();
    let one = office.serve(&[]);
    assert!(!dead.exists());
    let first = only(&control);
    let two = office.serve(&[]);
    assert!(first.exists());
    assert_eq!(fs::read_dir(&control).expect("a directory").count(), 2);
    drop((one, two));
    // One that others can change is not used.
    fs::set_permissions(&control, fs::Permissions::from_mode(0o777)).expect("a mode");
    let ended = office.person(AGENT, &["serve"]);
    assert!(ended.code == Some(1) && ended.stderr.contains("can be changed by others"), "{ended:?}");
}

#[test]
fn a_person_is_asked_at_the_terminal_or_says_so() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let id = asked(&mut server, "git push");
    let nobody = office.person(CAROL, &["approvals", "grant", &id]);
    assert!(nobody.code == Some(1) && nobody.stderr.contains("nobody is there"), "{nobody:?}");
    for wrong in ["", "x", "00000000-1", &format!("{id}0"), "5f3a9c01"] {
        let unknown = office.person(CAROL, &["approvals", "grant", wrong, "--yes"]);
        assert_eq!(unknown.code, Some(1), "{wrong}: {unknown:?}");
    }
}

#[test]
fn a_yes_to_a_restore_is_to_what_it_would_do() {
    let Some(office) = site("") else { return };
    let ask = "@id(\"ask-back\") @reason(\"Later work is lost.\")\n\
               forbid (principal, action == Action::\"restore\", resource) unless { context.approved };\n";
    office.world.write("etc/site/back.cedar", ask);
    office.world.write("work/file", "then");
    office.give_to_the_agent();
    let mut server = office.serve(&[]);
    let session = call(&mut server, "session_open", &json!({}))["session"].clone();
    let taken = call(&mut server, "checkpoint", &json!({ "session": session }));
    let back = json!({ "session": session, "checkpoint": taken["checkpoint"] });
    let write = |server: &mut Server, command: &str| {
        let ran = call(server, "exec", &json!({ "session": session, "command": command }));
        assert_eq!(ran["exit_code"], 0, "{ran}");
    };
    write(&mut server, "echo now > file");
    let id = waits(&call(&mut server, "restore", &back));
    let shown = office.person(CAROL, &["approvals", "show", &id]);
    assert!(shown.stdout.contains("put back 1, delete 0") && shown.stdout.contains("write file"), "{shown:?}");
    let granted = office.person(CAROL, &["approvals", "grant", &id, "--yes"]);
    assert_eq!(granted.code, Some(0), "{granted:?}");
    // It would do more by now than what the yes was to.
    write(&mut server, "echo more > made");
    let again = waits(&call(&mut server, "restore", &back));
    assert_ne!(again, id);
    let made = office.world.path("work/made");
    assert!(made.exists());
    assert_eq!(office.person(CAROL, &["approvals", "grant", &again, "--yes"]).code, Some(0));
    let done = call(&mut server, "restore", &back);
    let record = office.world.record();
    let restores: Vec<_> = record.iter().filter(|line| line["kind"] == "restore").collect();
    let asked: Vec<_> = restores.iter().filter_map(|line| line["ask"].as_str()).collect();
    assert!(asked.contains(&id.as_str()) && asked.contains(&again.as_str()), "{restores:?}");
    let under: Vec<_> = restores.iter().filter_map(|line| line["under"].as_str()).collect();
    assert_eq!(under, [again.as_str()], "{restores:?}");
    assert_eq!((done["write"]["count"].clone(), done["delete"]["count"].clone()), (json!(1), json!(1)), "{done}");
    assert_eq!(
        (fs::read_to_string(office.world.path("work/file")).ok().as_deref(), made.exists()),
        (Some("then"), false)
    );
}

#[test]
fn who_reads_the_record_is_policys_to_say() {
    for (role, code) in [("approver", 126), ("auditor", 0)] {
        let settings = format!("profile = \"regulated\"\n[people.root]\nroles = [\"{role}\"]");
        let Some(office) = Office::new(&settings) else { return };
        let mut server = office.serve(&[]);
        exec(&mut server, "ls");
        drop(server);
        let record = office.world.records().pop().expect("a record").display().to_string();
        for verb in [&["audit", "show"][..], &["audit", "replay"], &["audit", "prove", "1", &record]] {
            let ended = office.person(0, verb);
            assert_eq!(ended.code, Some(code), "{role} {verb:?}: {ended:?}");
            let no = "policy does not let `root` observe the record of `uid:48151`";
            assert_eq!(ended.stderr.contains(no), code != 0, "{ended:?}");
            assert_eq!(ended.stdout.is_empty(), code != 0, "{ended:?}");
        }
    }
}
