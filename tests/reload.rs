//! What a reload of policies does to sessions that are open, and which settings a running server takes.

use std::process::Command;

use serde_json::{Value, json};

use crate::policy::{directory, recorded};
use crate::serve::Server;
use crate::support::world::World;

/// A server whose policies change under it, and one id for each call.
struct Live<'w> {
    world: &'w World,
    server: Server,
    id: u64,
}

/// Programs may run, and touch the workspace as `actions` says.
pub(crate) fn policies(actions: &str) -> String {
    format!(
        "@id(\"do\") permit (principal, action in [Action::\"exec\", Action::\"setEnv\", Action::\"openSession\", Action::\"useTool\"], resource);\n\
         @id(\"files\") permit (principal, action in [{actions}], resource) when {{ resource in context.workspace || resource in PathGroup::\"temp\" }};\n\
         @id(\"system\") permit (principal, action in [Action::\"read\", Action::\"execute\"], resource in PathGroup::\"system\");\n"
    )
}

pub(crate) const ALL: &str = "Action::\"read\", Action::\"write\", Action::\"delete\", Action::\"execute\"";
const LOOK: &str = "Action::\"read\", Action::\"execute\"";

impl<'w> Live<'w> {
    fn start(world: &'w World, arguments: &[&str]) -> Self {
        let server = Server::start_with(world, arguments);
        recorded(world, "the start", |line| line["kind"] == "start");
        Self { world, server, id: 0 }
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.id += 1;
        self.server.call(self.id, tool, arguments);
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let answer = self.server.receive();
        assert_eq!(answer["id"], self.id, "{answer}");
        answer["result"].clone()
    }

    fn open(&mut self) -> String {
        let opened = self.call("session_open", &json!({}));
        opened["structuredContent"]["session"].as_str().unwrap_or_else(|| panic!("{opened}")).to_owned()
    }

    fn run(&mut self, session: &str, command: &str) -> Value {
        self.call("exec", &json!({ "command": command, "session": session, "timeout_ms": 20_000 }))
    }

    /// Runs it until it is denied: the change is on record before it holds.
    fn run_until_denied(&mut self, session: &str, command: &str) -> Value {
        let begun = std::time::Instant::now();
        loop {
            let ran = self.run(session, command);
            if ran["structuredContent"]["status"] == "denied" {
                return ran;
            }
            assert!(begun.elapsed().as_secs() < 60, "{ran}");
        }
    }

    /// Changes a file, says so, and waits for what the record tells of it.
    fn change(&self, file: &str, text: &str) -> Value {
        let before = self.world.record().last().map_or(0, |line| line["seq"].as_u64().unwrap_or(0));
        std::fs::write(self.world.path(file), text).expect("written");
        let hangup = Command::new("kill").args(["-HUP", &self.server.child.id().to_string()]).status();
        assert!(hangup.is_ok_and(|status| status.success()));
        recorded(self.world, "the reload", |line| {
            line["kind"] == "policy_reload" && line["seq"].as_u64().is_some_and(|seq| seq > before)
        })
    }
}

/// By itself a server looks every two seconds, and takes what it has seen twice. One signal is enough, and is not waited for.
#[test]
fn a_signal_has_a_change_taken_at_once() {
    let world = World::new();
    let path = directory(&world, "live", &[("p.cedar", &policies(ALL))]);
    let live = Live::start(&world, &["--policies", &path]);
    // On a busy machine one of them may take long.
    let is_soon = (0..5).any(|attempt| {
        let begun = std::time::Instant::now();
        let taken = live.change("live/p.cedar", &format!("{}// {attempt}\n", policies(ALL)));
        assert!(taken["refused"].is_null(), "{taken}");
        begun.elapsed().as_millis() < 1_800
    });
    assert!(is_soon);
}

#[test]
fn a_session_that_may_do_less_starts_again_and_one_that_may_do_the_same_goes_on() {
    let world = World::new();
    world.program("writer", "#!/bin/bash\necho written > made-by-program && echo wrote\n");
    world.program("long", "#!/bin/bash\ntouch begun\nsleep 60\n");
    let path = directory(&world, "live", &[("p.cedar", &policies(ALL))]);
    let mut live = Live::start(&world, &["--policies", &path]);
    let session = live.open();
    assert_eq!(live.run(&session, "X=kept; echo a > file")["structuredContent"]["exit_code"], 0);

    // Nothing for the kernel changes: the shell goes on, and what it runs next is decided anew.
    let forbid =
        "@id(\"no-cat\") @reason(\"r\") forbid (principal, action == Action::\"exec\", resource in Program::\"cat\");";
    let taken = live.change("live/p.cedar", &format!("{}{forbid}", policies(ALL)));
    assert!(taken["refused"].is_null(), "{taken}");
    let denied = live.run_until_denied(&session, "cat file");
    assert_eq!(live.run(&session, "echo $X")["structuredContent"]["stdout"], "kept\n");
    assert_eq!(denied["structuredContent"]["decision"]["policies"], json!(["no-cat"]));
    assert_eq!(live.run(&session, "./writer")["structuredContent"]["stdout"], "wrote\n");

    // The kernel would have to take back what the shell was given: it ends, in the middle of a command too, and another
    // takes its place.
    let busy = live.open();
    live.id += 1;
    live.server.call(live.id, "exec", &json!({ "command": "./long", "session": busy, "timeout_ms": 60_000 }));
    let begun = std::time::Instant::now();
    while !world.path("work/begun").exists() {
        assert!(begun.elapsed().as_secs() < 60, "it did not start");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let taken = live.change("live/p.cedar", &policies(LOOK));
    assert!(taken["refused"].is_null(), "{taken}");
    let ended = live.answer();
    assert_eq!(ended["structuredContent"]["status"], "cancelled", "{ended}");
    assert_eq!(ended["structuredContent"]["cause"], "policy_reload", "{ended}");
    for (session, said) in [(&session, "kept\n"), (&busy, "\n")] {
        let closed =
            recorded(&world, "the close", |line| line["kind"] == "close" && line["session"] == session.as_str());
        assert_eq!(closed["reason"], "policy-reload", "{closed}");
        let listed = live.call("list", &json!({ "kind": "sessions" }));
        assert!(listed.to_string().contains("starts again with the next command"), "{listed}");
        let again = live.run(session, "echo $X");
        assert_eq!(again["structuredContent"]["stdout"], said, "{again}");
        let told = again["content"][0]["text"].as_str().unwrap_or_default();
        assert!(told.contains("[session restarted: policy set sha256:"), "{again}");
        assert!(live.run(session, "echo").get("restarted").is_none());
    }

    // It is held to less, also by the kernel: what a program writes is in no command's text.
    std::fs::remove_file(world.path("work/made-by-program")).expect("it was there");
    let refused = live.run(&session, "./writer");
    assert_ne!(refused["structuredContent"]["exit_code"], 0, "{refused}");
    assert!(!world.path("work/made-by-program").exists());
    assert_eq!(live.run(&session, "echo b > file")["structuredContent"]["status"], "denied");
}

#[test]
fn groups_of_the_settings_are_taken_and_what_else_they_say_takes_a_restart() {
    let world = World::new();
    let forbid = "@id(\"no-vault\") @reason(\"r\") forbid (principal, action in [Action::\"fileAccess\", Action::\"execute\"], resource in PathGroup::\"vault\");";
    let groups = "[paths.vault]\nreason = \"r\"\npatterns = []\n";
    let path =
        directory(&world, "live", &[("p.cedar", &format!("{}{forbid}", policies(ALL))), ("groups.toml", groups)]);
    let settings = |more: &str| format!("policies = '{path}'\n{more}");
    let file = world.write("palisade.toml", &settings("")).display().to_string();
    world.write("work/plans", "p");
    let mut live = Live::start(&world, &["--config", &file]);
    let session = live.open();
    assert_eq!(live.run(&session, "cat plans")["structuredContent"]["stdout"], "p");

    let taken = live.change("palisade.toml", &settings("[groups.paths]\nvault = ['**/plans']\n"));
    assert!(taken["refused"].is_null(), "{taken}");
    assert_ne!(taken["before"], taken["policy_set"], "{taken}");
    assert_eq!(world.record()[0]["verb"], "serve");
    // Where there are mounts, a session is to be held by the name too: a running shell cannot be, and ends.
    if palisade_runner::sandbox::probe().mounts {
        recorded(&world, "the close", |line| line["kind"] == "close" && line["session"] == session.as_str());
    }
    let denied = live.run_until_denied(&session, "cat plans");
    assert_eq!(denied["structuredContent"]["decision"]["policies"], json!(["no-vault"]), "{denied}");

    for (more, said) in [
        ("[groups.paths]\nvault = ['relative']\n", "vault"),
        ("no-such-key = 1\n", "no-such-key"),
        ("[audit]\npath = '/tmp/elsewhere'\n", "take a restart"),
    ] {
        let refused = live.change("palisade.toml", &settings(more));
        assert!(refused["refused"].as_str().is_some_and(|why| why.contains(said)), "{more}: {refused}");
        assert_eq!(live.run(&session, "cat plans")["structuredContent"]["status"], "denied", "{more}");
    }
    // A file of the set that leads into the workspace would be the agent's to write.
    world.write("work/more.cedar", "@id(\"more\") permit (principal, action, resource);\n");
    std::os::unix::fs::symlink(world.path("work/more.cedar"), world.path(&format!("{path}/more.cedar")))
        .expect("a link");
    let refused = live.change("palisade.toml", &settings(""));
    assert!(refused["refused"].as_str().is_some_and(|why| why.contains("within the agent's reach")), "{refused}");
    std::fs::remove_file(world.path(&format!("{path}/more.cedar"))).expect("removed");
    let refused = live.change("palisade.toml", "profile = 'readonly'\n");
    assert!(refused["refused"].as_str().is_some_and(|why| why.contains("take a restart")), "{refused}");
    assert_eq!(live.run(&session, "echo still here")["structuredContent"]["stdout"], "still here\n");

    // The rest is not looked at: no line on record, and no other role.
    let lines = world.record().iter().filter(|line| line["kind"] == "policy_reload").count();
    let groups = "[groups.paths]\nvault = ['**/plans']\n";
    live.change("palisade.toml", &settings(groups));
    let more = format!("{groups}[agent]\nroles = ['other']\n");
    std::fs::write(world.path("palisade.toml"), settings(&more)).expect("written");
    std::thread::sleep(std::time::Duration::from_secs(5));
    let now = world.record().iter().filter(|line| line["kind"] == "policy_reload").count();
    assert_eq!(now, lines + 1);
}

#[test]
fn a_secret_that_is_new_in_a_file_reaches_sessions_that_are_open() {
    let world = World::new();
    world.program("say", "#!/bin/sh\necho 'it is quiet-Harbour-0451x'\n");
    world.write("state/token", "former-Harbour-1540y\n");
    let settings = world.write("state/palisade.toml", "[redact]\nfiles = ['token']\n").display().to_string();
    let mut live = Live::start(&world, &["--config", &settings]);
    let session = live.open();
    assert_eq!(live.run(&session, "./say")["structuredContent"]["stdout"], "it is quiet-Harbour-0451x\n");
    world.write("state/token", "quiet-Harbour-0451x\n");
    let begun = std::time::Instant::now();
    loop {
        // It is taken two looks later, with or without a signal.
        let ran = live.run(&session, "./say");
        let shown = ran["structuredContent"]["stdout"].as_str().expect("output");
        if !shown.contains("Harbour") {
            assert!(shown.starts_with("it is [redacted:token"), "{ran}");
            break;
        }
        assert!(begun.elapsed().as_secs() < 60, "{ran}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let former = live.run(&session, "echo former-Harbour-1540y")["structuredContent"]["stdout"].clone();
    assert!(former.as_str().is_some_and(|shown| shown.starts_with("[redacted:token")), "{former}");
}
