//! `doctor --try`: everyday steps under the settings that hold, and what changes a failure.

use std::fs;

use serde_json::Value;

use crate::support::services::has_program;
use crate::support::world::{World, repository};

fn trial<'a>(told: &'a Value, name: &str) -> &'a Value {
    let trials = told["trials"].as_array().expect("a list");
    trials.iter().find(|trial| trial["name"] == name).unwrap_or_else(|| panic!("no `{name}`: {told}"))
}

#[test]
fn everything_works_as_shipped() {
    let world = World::new();
    world.link_toolchain();
    let ended = world.call(&["doctor", "--try"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.ends_with("everything works\n"), "{ended:?}");
    assert!(ended.stdout.lines().count() > 12, "{ended:?}");
    // What was run is on record like any other command, and nothing of it is left behind.
    let commands = world.record().iter().filter(|line| line["kind"] == "decision").count();
    assert!(commands > 4, "{commands} decisions");
    assert_eq!(fs::read_dir(world.workspace()).expect("the workspace").count(), 0);
}

#[test]
fn what_fails_is_told_with_its_policy_and_the_change() {
    if has_program("make").is_none() {
        return;
    }
    let world = World::new();
    world.link_toolchain();
    let policies = world.path("policies");
    fs::create_dir(&policies).expect("a directory");
    fs::copy(repository().join("policies/profiles/developer.cedar"), policies.join("developer.cedar")).expect("a copy");
    let rule = "@id(\"no-make\")\n@reason(\"Builds are the server's.\")\n@suggest(\"Push, and let the server build.\")\n\
                forbid (principal, action == Action::\"exec\", resource in Program::\"make\");\n";
    world.write("policies/site.cedar", rule);
    let policies = policies.display().to_string();
    let ended = world.call(&["doctor", "--try", "--json", "--policies", &policies]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let told = ended.json();
    let made = trial(&told, "make and its shell");
    assert_eq!(made["state"], "fails", "{made}");
    let cause = &made["causes"][0];
    assert_eq!(cause["policy"], "no-make", "{made}");
    assert!(cause["place"].as_str().is_some_and(|place| place.contains("site.cedar:")), "{made}");
    assert_eq!(cause["change"], "instead: Push, and let the server build.", "{made}");
    assert_eq!(trial(&told, "looking around")["state"], "works", "{told}");

    let page = world.call(&["doctor", "--try", "--policies", &policies]);
    assert_eq!(page.code, Some(2), "{page:?}");
    assert!(page.stdout.contains("fails    make and its shell\n         make"), "{page:?}");
    assert!(page.stdout.contains("steps fail\n"), "{page:?}");
}

#[test]
fn the_workspace_of_a_trial_is_its_own() {
    let world = World::new();
    let refused = world.call(&["doctor", "--try", "--workspace", "."]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("--try"), "{refused:?}");
}
