//! The library: its examples do what they show, and its front page stays small.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::services::{Docker, Sshd};
use crate::support::site::{POLICY, real, ssh_target, with_key};
use crate::support::world::{Ended, World, cargo, features, repository};

/// An example, built with the tests: by `cargo test` without a selection, else here, by the same cargo and from what it has built.
fn example(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_palisade")).with_file_name("examples").join(name);
    let mut cargo = cargo();
    cargo.args(["build", "--workspace", "--locked", "--offline", "--quiet", "--example", name]).args(features());
    let built = cargo.status();
    assert!(built.is_ok_and(|status| status.success()) && path.is_file(), "{}", path.display());
    path
}

/// An example in a world of its own.
fn shown(world: &World, name: &str, arguments: &[&str]) -> Ended {
    let mut command = Command::new(example(name));
    command.args(arguments).current_dir(world.workspace()).env("HOME", world.path("home"));
    command.env("XDG_STATE_HOME", world.path("state")).env_remove("XDG_CONFIG_HOME").env_remove("PALISADE_CONFIG");
    let ended = Ended::of(&mut command);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{name}: {ended:?}");
    ended
}

#[test]
fn the_local_example_runs_denies_goes_back_and_kills() {
    let world = World::new();
    let workspace = world.workspace().display().to_string();
    let stdout = shown(&world, "local", &[&workspace]).stdout;
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.first(), Some(&format!("Done Some(3): hello from {workspace}").as_str()), "{stdout}");
    assert!(lines.get(1).is_some_and(|line| line.starts_with("Denied: ")), "{stdout}");
    assert_eq!(
        lines.get(2..),
        Some(&["notes.txt has changed", "deleted again: 1", "Running in the background", "Cancelled when killed"][..]),
        "{stdout}"
    );
    assert!(!world.path("work/notes.txt").exists(), "it went back");
    // All of it is on record, under the name that the example gives its agent.
    let record = world.record();
    assert!(record.iter().any(|entry| entry.to_string().contains("hello from")), "{record:?}");
    let verified = world.call(&["audit", "verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[test]
fn the_policy_example_shows_its_own_policies() {
    let world = World::new();
    let stdout = shown(&world, "policy", &[&world.workspace().display().to_string()]).stdout;
    for line in [
        "allow: ls -l",
        "deny: git push origin main",
        "  site-no-push-to-main: `main` is changed by merge requests alone. Push a branch by its name: git push origin BRANCH.",
        "ask: mkdir release",
        "  site-ask-mkdir: A person looks at new directories first. ",
    ] {
        assert!(stdout.lines().any(|shown| shown == line), "`{line}`: {stdout}");
    }
    assert!(
        stdout.lines().any(|line| line.starts_with("Denied by ") && line.contains("site-no-push-to-main")),
        "{stdout}"
    );
}

#[test]
fn the_approve_example_runs_what_was_said_yes_to_and_nothing_else() {
    for (answer, ran) in [("no", false), ("yes", true)] {
        let world = World::new();
        let stdout = shown(&world, "approve", &[&world.workspace().display().to_string(), answer]).stdout;
        let with = if ran { "with Yes: Done" } else { "with No: ApprovalRequired" };
        let expected = ["without a callback: ApprovalRequired", "asked: mkdir release", with];
        assert_eq!(stdout.lines().collect::<Vec<_>>(), expected, "{stdout}");
        assert_eq!(world.path("work/release").exists(), ran, "{stdout}");
    }
}

/// Settings with one target, and the policy for tests.
fn settings(world: &World, target: &str) -> String {
    fs::create_dir_all(world.path("site")).expect("a directory");
    world.write("site/site.cedar", POLICY);
    let text = format!("policies = \"site/site.cedar\"\n{target}");
    world.write("settings.toml", &text).display().to_string()
}

#[test]
fn the_ssh_example_opens_a_session_there() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let world = World::new();
    let settings = settings(&world, &ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519")));
    let there = real(sshd.variable("PALISADE_SSH_DIR"));
    let stdout = shown(&world, "ssh", &[&settings, "web"]).stdout;
    assert!(stdout.starts_with(&format!("Done in {there}:\nLinux\n{there}\nDenied by ")), "{stdout}");
    assert!(stdout.contains("guard-opaque"), "{stdout}");
}

#[test]
fn the_docker_example_opens_a_session_there() {
    let Some(docker) = Docker::up() else { return };
    let container = docker.container("palisade-embed-test");
    let (name, socket) = (container.name(), docker.socket());
    let target = format!(
        "[targets.ci]\nremote_guard = false\nworkspace = \"/tmp\"\ndocker = {{ container = \"{name}\", socket = \"{socket}\" }}\n"
    );
    let world = World::new();
    let settings = settings(&world, &target);
    let stdout = shown(&world, "docker", &[&settings, "ci"]).stdout;
    assert!(stdout.starts_with("Done in /tmp:\nLinux\n/tmp\nDenied by "), "{stdout}");
    assert!(stdout.contains("guard-opaque"), "{stdout}");
}

/// What is longer shows no one how to begin.
#[test]
fn examples_are_short_and_the_page_shows_one() {
    let page = fs::read_to_string(repository().join("docs/embed.md")).expect("docs/embed.md");
    for entry in fs::read_dir(repository().join("examples")).expect("the examples").flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|kind| kind == "rs") {
            let text = fs::read_to_string(&path).expect("an example");
            assert!(text.lines().count() < 40, "{}", path.display());
        }
    }
    let approve = fs::read_to_string(repository().join("examples/approve.rs")).expect("an example");
    assert!(page.contains(&format!("```rust\n{approve}```")), "docs/embed.md shows examples/approve.rs as it is");
}

/// What `cargo doc` lists on the first page.
#[test]
fn the_library_shows_few_things() {
    let text = fs::read_to_string(repository().join("src/lib.rs")).expect("src/lib.rs");
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join(" ");
    let mut public = BTreeSet::new();
    for statement in code.split(';').map(str::trim) {
        let Some((_, shown)) = statement.split_once("pub use ") else { continue };
        assert!(!shown.contains('*'), "`{shown}` shows what nobody has listed");
        let names = shown.rsplit_once("::").map_or(shown, |(_, names)| names);
        public.extend(names.trim_matches(['{', '}', ' ']).split(',').map(str::trim).filter(|name| !name.is_empty()));
    }
    let modules = code.matches("pub mod ").count() + code.matches("pub fn ").count();
    assert!((20..60).contains(&(public.len() + modules)), "{public:?}");
    for inside in ["Pipeline", "Grant", "Settings", "spawn", "Call"] {
        assert!(!public.contains(inside), "{inside} is not for those who embed");
    }
}
