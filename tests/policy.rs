//! `policy`: validate, test, lint, format, compare; over the example directory and over directories that are wrong.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::world::{Ended, World, repository};

fn example() -> String {
    repository().join("policies/example").display().to_string()
}

/// A policy directory with these files.
pub(crate) fn directory(world: &World, name: &str, files: &[(&str, &str)]) -> String {
    for (file, text) in files {
        let path = world.path(name).join(file);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, text).expect("written");
    }
    world.path(name).display().to_string()
}

const PERMIT: &str = "@id(\"all\") @reason(\"r\") permit (principal, action, resource);\n";

#[test]
fn cases_are_judged_again_at_each_save() {
    let world = World::new();
    let case = |expect: &str| format!("[[case]]\nname = \"a\"\nrun = \"true\"\nexpect = \"{expect}\"\n");
    let (good, bad) = (case("allow"), case("deny"));
    let site = directory(&world, "site", &[("p.cedar", PERMIT), ("cases/c.toml", &good)]);
    let mut watch = world.palisade();
    watch.args(["policy", "watch", &site]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watch = watch.spawn().expect("it starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let mut says = |words: &str| {
        let line = lines.by_ref().map(|line| line.expect("text")).find(|line| line.contains(words));
        assert!(line.is_some(), "{words}");
    };
    says("1 case, 0 failed");
    directory(&world, "site", &[("cases/c.toml", &bad)]);
    says("1 case, 1 failed");
    // What does not parse is told, and mended.
    let mut told = BufReader::new(watch.stderr.take().expect("a pipe")).lines().map(|line| line.expect("text"));
    directory(&world, "site", &[("p.cedar", "permit (principal")]);
    assert!(told.any(|line| line.contains("p.cedar:1:")));
    directory(&world, "site", &[("p.cedar", PERMIT), ("cases/c.toml", &good)]);
    says("1 case, 0 failed");
    watch.kill().and_then(|()| watch.wait()).expect("it ends");
    let missing = world.call(&["policy", "watch", "/no/such/place"]);
    assert!(
        missing.code == Some(1) && missing.stderr.contains("`/no/such/place` does not exist\nhelp: `/` has no `no`"),
        "{missing:?}"
    );
    let nothing = world.call(&["policy", "watch", "developer"]);
    assert!(nothing.code == Some(1) && nothing.stderr.contains("there is nothing to watch"), "{nothing:?}");
}

#[test]
fn valid_and_invalid_sets() {
    let world = World::new();
    for (name, text, code, said) in [
        ("good", PERMIT, 0, "policies are valid"),
        ("parse", "permit (principal, action resource);", 2, "p.cedar:1:"),
        ("id", "permit (principal, action, resource);", 2, "has no `@id"),
        ("twice", &format!("{PERMIT}{PERMIT}"), 2, "already taken"),
        ("guard", "@id(\"guard-opaque\") permit (principal, action, resource);", 2, "already taken"),
        ("typo", "@id(\"a\") permit (principal, action == Action::\"exce\", resource);", 2, "exce"),
    ] {
        let path = directory(&world, name, &[("p.cedar", text)]);
        let ended = world.call(&["policy", "validate", &path]);
        assert_eq!(ended.code, Some(code), "{name}: {ended:?}");
        assert!(ended.stdout.contains(said), "{name}: {ended:?}");
        let json: Value = world.call(&["policy", "validate", "--json", &path]).json();
        assert_eq!(json["findings"].as_array().map(Vec::is_empty), Some(code == 0), "{json}");
    }
    assert_eq!(world.call(&["policy", "validate", &example()]).code, Some(0));
    assert_eq!(world.call(&["policy", "validate", "/no/such/place"]).code, Some(1));
    for profile in ["developer", "readonly", "regulated"] {
        assert_eq!(world.call(&["policy", "validate", "--profile", profile]).code, Some(0), "{profile}");
    }
}

/// A site's one forbid, which says that everything else is the profile's.
const NO_NPM: &str = "@id(\"site-no-npm\") @reason(\"No npm here.\") forbid (principal, action == Action::\"exec\", resource in Program::\"npm\");\n";

#[test]
fn a_directory_stands_on_a_profile() {
    let world = World::new();
    let about = "extends = \"developer\"\n";
    let case = "[[case]]\nname = 'npm'\nrun = 'npm test'\nsandboxed = true\nguarded = true\nexpect = 'deny'\nby = ['site-no-npm']\nas = { agent = 'a', user = 'u', roles = ['developer'] }\n";
    let site = directory(&world, "site", &[("p.cedar", NO_NPM), ("palisade.toml", about), ("cases/c.toml", case)]);
    let tested = world.call(&["policy", "test", "--coverage", "--min", "100", &site]);
    assert_eq!(tested.code, Some(0), "only what the site wrote has to be tried: {tested:?}");
    assert!(tested.stdout.contains("1 case, 0 failed"), "{tested:?}");
    let linted = world.call(&["policy", "lint", &site]);
    assert_eq!(linted.code, Some(0), "{linted:?}");
    assert!(!linted.stdout.contains("profiles/"), "{linted:?}");
    for (command, code) in [("npm test", 2), ("cargo build", 0), ("sudo ls", 2), ("pip install x", 3)] {
        assert_eq!(world.call(&["check", "--policies", &site, command]).code, Some(code), "{command}");
    }
    // The same by the settings.
    let plain = directory(&world, "plain", &[("p.cedar", NO_NPM)]);
    assert_eq!(world.call(&["check", "--policies", &plain, "cargo build"]).code, Some(2), "nothing permits it");
    let settings = world.write("palisade.toml", &format!("policies = \"{plain}\"\n{about}")).display().to_string();
    for (command, code) in [("npm test", 2), ("cargo build", 0)] {
        assert_eq!(world.call(&["check", "--config", &settings, command]).code, Some(code), "{command}");
    }
    // What a site copies from its profile says nothing new, and an id of the profile's is taken.
    let (_, (_, profile)) = palisade_policies::PROFILES[0];
    let first = profile.split_inclusive(";\n").next().expect("a policy");
    let copied = directory(&world, "copied", &[("p.cedar", first), ("palisade.toml", about)]);
    let refused = world.call(&["policy", "validate", &copied]);
    assert!(refused.code == Some(2) && refused.stdout.contains("already taken at profiles/"), "{refused:?}");
    let other = first.replacen("@id(\"", "@id(\"my-", 1);
    let copied = directory(&world, "copied", &[("p.cedar", &other), ("palisade.toml", about)]);
    let linted = world.call(&["policy", "lint", &copied]);
    assert!(linted.stdout.contains("it says the same as `dev-"), "{linted:?}");

    let wrong = |name: &str, file: &str, text: &str, said: &str| {
        let path = directory(&world, name, &[("p.cedar", NO_NPM), (file, text)]);
        let ended = world.call(&["policy", "validate", &path]);
        assert!(ended.code == Some(1) && ended.stderr.contains(said), "{name}: {ended:?}");
    };
    wrong("name", "palisade.toml", "extends = \"develper\"", "palisade.toml:1:11: no profile is called `develper`");
    wrong("key", "palisade.toml", "extend = \"developer\"", "unknown field `extend`");
    wrong("none", "palisade.toml", "", "missing field `extends`");
    for (text, said) in [
        (about.to_owned(), "palisade.toml:1:11: `extends` says what your own `policies` stand on"),
        (format!("policies = \"{site}\"\nextends = \"readonly\"\n"), "`extends` is `readonly`, which is not what"),
        (format!("policies = \"{plain}\"\nextends = \"x\"\n"), "palisade.toml:2:11: no profile is called `x`"),
    ] {
        world.write("palisade.toml", &text);
        let ended = world.call(&["check", "--config", &settings, "ls"]);
        assert!(ended.code == Some(1) && ended.stderr.contains(said), "{text}: {ended:?}");
    }
}

#[test]
fn what_the_binary_holds_is_shown() {
    let world = World::new();
    let show = |arguments: &[&str]| world.call(&[&["policy", "show"], arguments].concat());
    for profile in ["developer", "readonly", "regulated"] {
        assert!(show(&["profile"]).stdout.lines().any(|line| line.starts_with(&format!("{profile}\t"))), "{profile}");
        let shown = show(&["profile", profile]);
        assert_eq!(shown.code, Some(0), "{shown:?}");
        // What is printed is a policy set by itself, but for the guards, which hold in any case.
        let (_, own) = shown.stdout.split_once("// ==== base/").expect("the guards come first");
        let path = directory(&world, profile, &[("p.cedar", &format!("// {own}"))]);
        assert_eq!(world.call(&["policy", "validate", &path]).code, Some(0), "{profile}");
    }
    for (arguments, said) in [
        (&["schema"][..], "entity Command in"),
        (&["schema", "useTool"], "action useTool"),
        (&["groups", "secrets"], "[paths.secrets]"),
        (&["groups"], "[hosts."),
        (&["programs"], "\nkubectl\n"),
        (&["programs", "git push"], "  flags: --all --atomic"),
        (&["programs", "git"], "Program::\"git remote add\""),
    ] {
        let shown = show(arguments);
        assert!(shown.code == Some(0) && shown.stdout.contains(said), "{arguments:?}: {shown:?}");
    }
    assert!(!show(&["groups", "secrets"]).stdout.contains("[paths.runs-later]"));
    for (arguments, said) in [
        (["profile", "x"], "no profile is called `x`"),
        (["schema", "x"], "nothing in the schema is called `x`"),
        (["groups", "tmp"], "the groups are: paths.system"),
        (["groups", "secret"], "did you mean `secrets`? the groups are: paths.system"),
        (["schema", "Comand"], "did you mean `Command`? `palisade policy show schema`"),
        (["programs", "git psuh"], "did you mean `git push`? `palisade policy show programs`"),
        (["programs", "no-such-program"], "no table describes `no-such-program`"),
    ] {
        let shown = show(&arguments);
        assert!(shown.code == Some(1) && shown.stderr.contains(said), "{arguments:?}: {shown:?}");
    }
}

/// A rule on hours is tried as the people of a place read their clocks, in winter and in summer.
#[test]
fn a_case_names_the_place_whose_clock_it_means() {
    let world = World::new();
    let hours = "@id(\"hours\") @reason(\"r\") forbid (principal, action, resource) unless { context.clock.timeOfDay < duration(\"18h\") };\n\
                 @id(\"winter\") @reason(\"r\") forbid (principal, action, resource) when { context.clock.now < datetime(\"2026-11-18T16:00:00Z\") };\n";
    let case = |at: &str, expect: &str, by: &str| {
        format!("[[case]]\nname = \"{at}\"\nrun = \"true\"\nat = {at}\nexpect = \"{expect}\"\nby = [{by}]\n")
    };
    let cases = [
        "[defaults]\ntime-zone = \"Europe/Zurich\"\n".to_owned(),
        case("2026-11-18T17:30:00", "allow", "\"all\""),
        case("2026-11-18T17:30:00Z", "deny", "\"hours\""),
        case("2026-11-18T16:30:00", "deny", "\"winter\""),
        case("2027-07-15T16:30:00Z", "deny", "\"hours\""),
        format!("{}time-zone = \"UTC\"\n", case("2026-11-18T17:30:01Z", "allow", "\"all\"")),
    ];
    let policies = format!("{PERMIT}{hours}");
    let site = directory(&world, "site", &[("p.cedar", &policies), ("cases/c.toml", &cases.concat())]);
    let ended = world.call(&["policy", "test", &site]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "5 cases, 0 failed\n"), "{ended:?}");
}

#[test]
fn cases_in_every_format() {
    let world = World::new();
    let case = |name: &str, run: &str, expect: &str| {
        format!("[[case]]\nname = '{name}'\nrun = '{run}'\nexpect = '{expect}'\n")
    };
    let cases = format!("{}{}", case("a <good> one", "ls", "allow"), case("a bad one", "ls", "deny"));
    let path = directory(&world, "site", &[("p.cedar", PERMIT), ("cases/c.toml", &cases)]);
    let test = |format: &str| {
        let ended = world.call(&["policy", "test", "--format", format, &path]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        ended.stdout
    };
    let human = test("human");
    assert!(human.contains("FAILED a bad one") && human.contains("c.toml:6"), "{human}");
    assert!(human.contains("expected deny, got allow by all") && human.ends_with("2 cases, 1 failed\n"), "{human}");
    let json: Value = serde_json::from_str(&test("json")).expect("JSON");
    assert_eq!((&json["total"], &json["failed"]), (&2.into(), &1.into()));
    assert_eq!(json["cases"][1]["decision"], "allow");
    let junit = test("junit");
    assert!(junit.contains("a &lt;good&gt; one") && junit.contains("failures=\"1\""), "{junit}");
    let tap = test("tap");
    assert!(tap.starts_with("TAP version 14\n1..2\nok 1 - a <good> one\nnot ok 2 - a bad one\n"), "{tap}");
}

#[test]
fn the_example_passes_and_is_covered() {
    let world = World::new();
    let ended = world.call(&["policy", "test", "--coverage", "--min", "85", &example()]);
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    let look = "[[case]]\nname = 'look'\nrun = 'ls'\nexpect = 'allow'\n";
    let thin = directory(&world, "thin", &[("p.cedar", &format!("{PERMIT}{NO_NPM}")), ("cases/c.toml", look)]);
    let ended = world.call(&["policy", "test", "--coverage", "--min", "100", &thin]);
    assert_eq!(ended.code, Some(2), "{}", ended.stdout);
    assert!(ended.stderr.contains("--min"), "{ended:?}");
    for profile in ["developer", "readonly", "regulated"] {
        let ended: Ended = world.call(&["policy", "test", "--profile", profile]);
        assert_eq!(ended.code, Some(0), "{profile}: {}", ended.stdout);
        // By its name alone, unless a file has that name.
        let named: Ended = world.call(&["policy", "test", profile]);
        assert_eq!((named.code, &named.stdout), (Some(0), &ended.stdout), "{named:?}");
    }
}

/// What is misspelt is told with what is near it, and what ends too early with what was expected.
#[test]
fn validate_offers_what_is_near() {
    let world = World::new();
    for (policy, says) in [
        ("permit (principal, action == Action::\"exect\", resource);", "did you mean `Action::\"exec\"`?"),
        (
            "permit (principal, action == Action::\"exec\", resource) when { context.aproved };",
            "did you mean `approved`?",
        ),
        ("permit (principal in Rol::\"x\", action == Action::\"exec\", resource);", "did you mean `Role`?"),
        ("permit (principal, action == Action::\"exec\", resource in CommandGroup::\"networkk\");", "`network`"),
        ("permit (principal, action == Action::\"read\", resource in PathGroup::\"secret\");", "`secrets`"),
        ("permit (principal, action == Action::\"exec\", resource in Program::\"git psuh\");", "`git push`"),
        ("permit (principal, action == Action::\"exec\", resource)", "`;`"),
    ] {
        let file = world.write("near.cedar", &format!("@id(\"p\")\n{policy}\n"));
        let ended = world.call(&["policy", "validate", file.to_str().expect("a path")]);
        assert!(ended.code == Some(2) && ended.stdout.contains(says), "{policy}: {ended:?}");
    }
}

/// The directory of a bank begins with a profile. Its cases try every clause of its own, and there is nothing to find in it.
#[test]
fn the_banks_directory_is_tried_whole() {
    let world = World::new();
    let bank = repository().join("policies/bank").display().to_string();
    let tested = world.call(&["policy", "test", "--coverage", "--min", "100", &bank]);
    assert_eq!(tested.code, Some(0), "{tested:?}");
    let cases: usize =
        tested.stdout.lines().find_map(|line| line.split_once(" cases,")?.0.parse().ok()).expect("a count");
    assert!(cases >= 40, "{}", tested.stdout);
    let linted = world.call(&["policy", "lint", &bank]);
    assert!(linted.code == Some(0) && linted.stdout.contains("0 errors, 0 warnings"), "{linted:?}");
    assert_eq!(world.call(&["policy", "fmt", "--check", &bank]).code, Some(0));
    // It takes from what the profile allows, and gives its agents the two hosts alone.
    let sandbox = world.call(&["policy", "explain-sandbox", "--policies", &bank]);
    assert!(sandbox.stdout.contains("Policies are told `session.pathsHeld` = true."), "{sandbox:?}");
}

/// A dry run on this machine is about directories that are there; one for another machine is about names.
#[test]
fn a_dry_run_refuses_directories_that_are_not_there() {
    let world = World::new();
    for (arguments, says) in [
        (&["check", "--workspace", "/no/such", "ls"][..], Some("workspace `/no/such` does not exist")),
        (&["check", "--cwd", "no/such", "ls"], Some("starting directory")),
        (&["check", "--transport", "ssh", "--workspace", "/no/such", "ls"], None),
    ] {
        let ended = world.call(arguments);
        match says {
            Some(says) => assert!(ended.code == Some(1) && ended.stderr.contains(says), "{arguments:?}: {ended:?}"),
            None => assert!(matches!(ended.code, Some(0 | 2)), "{arguments:?}: {ended:?}"),
        }
    }
}

#[test]
fn cases_that_cannot_be_read_are_an_error() {
    let world = World::new();
    for (name, files, said) in [
        ("none", &[("p.cedar", PERMIT)][..], "no case"),
        ("typo", &[("p.cedar", PERMIT), ("cases/c.toml", "[[case]]\nname = 'x'\nrunn = 'ls'\n")], "c.toml:3"),
        ("group", &[("p.cedar", PERMIT), ("groups.toml", "[paths.x]\npatterns = []\n")], "reason"),
    ] {
        let path = directory(&world, name, files);
        let verb = if name == "group" { "validate" } else { "test" };
        let files = if name == "group" { directory(&world, name, &[("cases/c.toml", "")]) } else { path };
        let ended = world.call(&["policy", verb, &files]);
        assert_eq!(ended.code, Some(1), "{name}: {ended:?}");
        assert!(ended.stderr.contains(said), "{name}: {ended:?}");
    }
}

#[test]
fn what_ships_is_clean() {
    let world = World::new();
    for profile in ["developer", "readonly", "regulated"] {
        let ended = world.call(&["policy", "lint", "--profile", profile]);
        assert_eq!(ended.code, Some(0), "{profile}: {}", ended.stdout);
    }
    assert_eq!(world.call(&["policy", "lint", &example()]).code, Some(0));
    let policies = repository().join("policies").display().to_string();
    let ended = world.call(&["policy", "fmt", "--check", &policies]);
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
}

#[test]
fn findings_in_every_format() {
    let world = World::new();
    let bad = "// A header.\n\n@id(\"p\")\nforbid (principal, action == Action::\"exec\", resource in CommandGroup::\"priviledge\");\n";
    let path = directory(&world, "bad", &[("p.cedar", bad)]);
    let ended = world.call(&["policy", "lint", &path]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stdout.contains("p.cedar:3: p: nothing is in CommandGroup `priviledge`; did you mean `privilege`?"));
    let json = world.call(&["policy", "lint", "--format", "json", &path]).json();
    assert_eq!((&json[0]["rule"], &json[0]["line"]), (&"unknown-group".into(), &3.into()), "{json}");
    let sarif = world.call(&["policy", "lint", "--format", "sarif", &path]).json();
    assert_eq!(sarif["version"], "2.1.0");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&"unknown-group".into(), &"error".into()));
    let location = &result["locations"][0]["physicalLocation"];
    assert!(location["artifactLocation"]["uri"].as_str().is_some_and(|uri| uri.starts_with("file:///")), "{result}");
    assert_eq!(location["region"]["startLine"], 3);
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"].as_array().expect("rules");
    assert!(rules.iter().any(|rule| rule["id"] == "unknown-group"));
}

#[test]
fn formatting_changes_the_layout_and_nothing_else() {
    let world = World::new();
    let ugly =
        "// A header.\n\n// About p.\n@id(\"p\")   permit(principal,action,\nresource)   when{context has approved};\n";
    let ugly = ugly.replace("context has approved", "true == principal.verified");
    let path = directory(&world, "ugly", &[("p.cedar", &ugly.replace("action,", "action == Action::\"exec\","))]);
    let print = |world: &World| world.call(&["policy", "validate", "--json", &path]).json()["policies"].clone();
    let before = print(&world);
    assert_eq!(world.call(&["policy", "fmt", "--check", &path]).code, Some(2));
    assert_eq!(world.call(&["policy", "fmt", &path]).code, Some(0));
    assert_eq!(world.call(&["policy", "fmt", "--check", &path]).code, Some(0));
    assert_eq!(print(&world), before);
    let text = std::fs::read_to_string(world.path("ugly/p.cedar")).expect("read");
    assert!(text.starts_with("// A header.\n\n// About p.\n@id(\"p\")\npermit (\n"), "{text}");
    // One that does not parse leaves all as they are.
    let broken = directory(&world, "broken", &[("a.cedar", &ugly), ("p.cedar", "permit (")]);
    let ended = world.call(&["policy", "fmt", &broken]);
    assert!(ended.code == Some(1) && ended.stdout.is_empty(), "{ended:?}");
    for (file, text) in [("a.cedar", ugly.as_str()), ("p.cedar", "permit (")] {
        assert_eq!(std::fs::read_to_string(world.path("broken").join(file)).expect("read"), text);
    }
    // What is no file stays what it is.
    let socket = world.path("socket.cedar");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let ended = world.call(&["policy", "fmt", &socket.display().to_string()]);
    assert!(ended.code == Some(1) && ended.stderr.contains("is no regular file"), "{ended:?}");
    let kind = socket.symlink_metadata().expect("a socket").file_type();
    assert!(std::os::unix::fs::FileTypeExt::is_socket(&kind));
}

#[test]
fn decisions_that_change_are_named_with_their_policies() {
    let world = World::new();
    let cases = "[[case]]\nname = 'push'\nrun = 'git push https://x.example.com/a main'\nexpect = 'allow'\n\
                 [[case]]\nname = 'look'\nrun = 'ls'\nexpect = 'allow'\n";
    let cases = format!("[defaults]\nguarded = true\n{cases}");
    let old = directory(&world, "old", &[("p.cedar", PERMIT), ("cases/c.toml", &cases)]);
    let forbid = "@id(\"no-push\") @reason(\"r\") forbid (principal, action == Action::\"exec\", resource in Program::\"git push\");";
    let new = directory(&world, "new", &[("p.cedar", &format!("{PERMIT}{forbid}"))]);
    let ended = world.call(&["policy", "diff", &old, &new]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stdout.contains("- all, + no-push\n  allow → deny  git push"), "{}", ended.stdout);
    assert!(ended.stdout.contains("2 compared, 1 decided otherwise"), "{}", ended.stdout);
    assert_eq!(world.call(&["policy", "diff", &old, &old]).code, Some(0));
    let record = [
        "{\"kind\":\"start\"}",
        "{\"kind\":\"decision\",\"cmd\":\"git push https://x.example.com/a main\",\"cwd\":\"/tmp\",\"who\":{\"agent\":\"a\",\"user\":\"u\",\"roles\":[]},\"transport\":{\"kind\":\"local\"}}",
        "{\"kind\":\"decision\",\"cmd\":\"echo [redacted:x]\"}",
        "{\"kind\":\"decision\",\"cmd\":\"ls\"}",
    ];
    let record = world.write("record.jsonl", &record.join("\n")).display().to_string();
    let json = world.call(&["policy", "diff", "--json", "--replay", &record, &old, &new]).json();
    assert_eq!((&json["compared"], &json["skipped"]), (&2.into(), &1.into()), "{json}");
    assert_eq!(
        (&json["changes"][0]["old"]["decision"], &json["changes"][0]["new"]["decision"]),
        (&"allow".into(), &"deny".into())
    );
}

/// A real record, replayed: what was decided with facts that are gone is said to be so.
#[test]
fn what_a_replay_cannot_know_is_told() {
    let world = World::new();
    let old = directory(&world, "old", &[("p.cedar", &site(""))]);
    let ask = "@id(\"ask-touch\") @reason(\"r\") forbid (principal, action == Action::\"exec\", resource in Program::\"touch\") unless { context.approved };";
    let new = directory(&world, "new", &[("p.cedar", &site(ask))]);
    for (command, code) in [
        ("echo one", 0),
        ("cd sub && cat x", 126),
        ("echo ghp_0123456789abcdefghijABCDEFGHIJ012345", 0),
        ("touch y", 0),
    ] {
        let ended = world.call(&["run", "--policies", &old, command]);
        assert_eq!(ended.code, Some(code), "{command}: {ended:?}");
    }
    let records: String = world.records().iter().map(|file| std::fs::read_to_string(file).expect("a record")).collect();
    // As a version wrote them that did not tell what was asked.
    let without = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        line.as_object_mut().expect("an object").remove("asked");
        line.to_string() + "\n"
    };
    let records: String = records.lines().map(without).collect();
    let record = world.write("all.jsonl", &records).display().to_string();
    // The directory was not there when it was asked about.
    std::fs::create_dir(world.path("work/sub")).expect("a directory");
    let ended = world.call(&["policy", "diff", "--replay", &record, &old, &new]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for said in [
        "- do, - files, + ask-touch\n  allow → ask  touch y",
        "3 compared, 1 decided otherwise, 0 for other reasons, 1 left out",
        "as the first of a fresh session in the workspace of the settings, on the files, links and programs that are here now",
        "a secret in it was redacted",
        "deny then, allow by the same policies now  cd sub && cat x",
    ] {
        assert!(ended.stdout.contains(said), "{said}\n{}", ended.stdout);
    }
    let json = world.call(&["policy", "diff", "--json", "--replay", &record, &new, &old]).json();
    assert_eq!((&json["replay"]["byOtherPolicies"], &json["skipped"]), (&3.into(), &1.into()), "{json}");
    assert_eq!(json["replay"]["leftOut"][0]["why"], "a secret in it was redacted");
}

/// A yes on record counts for the decision behind it, and for no other.
#[test]
fn a_replay_keeps_to_what_a_person_said() {
    let world = World::new();
    let ask = "@id(\"ask-touch\") @reason(\"r\") forbid (principal, action == Action::\"exec\", resource in Program::\"touch\") unless { context.approved };";
    let set = directory(&world, "set", &[("p.cedar", &site(ask))]);
    let digest = world.call(&["policy", "validate", "--json", &set]).json()["policySet"].clone();
    let line = |req: &str, effect: &str| {
        serde_json::json!({ "kind": "decision", "req": req, "cmd": "touch y", "cwd": world.workspace(), "policy_set": digest,
                "decision": { "effect": effect } })
        .to_string()
    };
    let yes = serde_json::json!({ "kind": "approval", "of": "a", "granted": true }).to_string();
    let record = [line("a", "ask"), yes, line("b", "allow"), line("c", "allow")].join("\n");
    let record = world.write("record.jsonl", &record).display().to_string();
    let json = world.call(&["policy", "diff", "--json", "--replay", &record, &set, &set]).json();
    let unlike = json["replay"]["notAsRecorded"].as_array().expect("a list");
    assert_eq!((unlike.len(), &unlike[0]["line"], &unlike[0]["judged"]), (1, &4.into(), &"ask".into()), "{json}");
}

/// A site whose sessions start: everything in the workspace, and the system to read.
fn site(more: &str) -> String {
    format!(
        "@id(\"do\") permit (principal, action in [Action::\"exec\", Action::\"openSession\"], resource);\n\
         @id(\"files\") permit (principal, action in [Action::\"fileAccess\", Action::\"execute\"], resource) when {{ resource in context.workspace || resource in PathGroup::\"temp\" }};\n\
         @id(\"system\") permit (principal, action in [Action::\"read\", Action::\"execute\"], resource in PathGroup::\"system\");\n{more}"
    )
}

#[test]
fn the_sandbox_is_explained_with_its_policies() {
    let world = World::new();
    let ended = world.call(&["policy", "explain-sandbox"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let workspace = world.workspace().canonicalize().expect("real").display().to_string();
    assert!(ended.stdout.contains(&format!("rwdx {workspace}  (dev-files-in-workspace)")), "{}", ended.stdout);
    assert!(ended.stdout.contains("secrets-unreadable  (secrets)"), "{}", ended.stdout);
    // About commands on whole trees, which is nothing that the kernel is asked for.
    assert!(!ended.stdout.contains("secrets-not-below"), "{}", ended.stdout);
    let mounts = palisade_runner::sandbox::probe().mounts;
    for profile in ["developer", "readonly"] {
        let told = world.call(&["policy", "explain-sandbox", "--profile", profile]).stdout;
        assert!(told.contains(&format!("`session.pathsHeld` = {mounts}")), "{profile}: {told}");
        // It runs what lies in a cache that sessions can write.
        assert!(!told.contains("privileged: corepack"), "{profile}: {told}");
    }
    // Its rules look at the session's age and at the acting program, which no rule of the kernel's knows.
    let regulated = world.call(&["policy", "explain-sandbox", "--profile", "regulated"]).stdout;
    assert!(regulated.contains("reg-time-box  (`context.session.age`)"), "{regulated}");
    assert!(regulated.contains("`session.pathsHeld` = false"), "{regulated}");
    world.write("work/.env", "A=b");
    let masked = world.call(&["policy", "explain-sandbox"]).stdout;
    assert_eq!(masked.contains(&format!("hidden    {workspace}/.env\n")), mounts, "{masked}");
    // The profile permits git to connect to code hosts.
    let isolated = palisade_runner::sandbox::probe().namespaces != palisade_runner::sandbox::Namespaces::None;
    let network = if isolated { "Network: by the session's proxy alone" } else { "Network: off: policies permit" };
    assert!(ended.stdout.contains(network), "{}", ended.stdout);
    let connects = world.call(&["check", "git clone https://github.com/a/b.git"]);
    assert_eq!(connects.code, Some(0), "{connects:?}");
    let readonly = world.call(&["policy", "explain-sandbox", "--profile", "readonly", "--json"]).json();
    let rules = readonly["rules"].as_array().expect("rules");
    let own = rules.iter().find(|rule| rule["path"] == workspace.as_str()).expect("the workspace");
    assert_eq!(own["rights"], "r---");
    assert_eq!(
        readonly["network"],
        if isolated { "proxy" } else { "off" },
        "a host that the site names may be looked at"
    );
    let held: Vec<&str> =
        readonly["limits"].as_array().expect("limits").iter().filter_map(|l| l["name"].as_str()).collect();
    assert_eq!(held, ["processes", "memory", "free-disk"], "without settings");
    let limits = world.write(
        "state/limits.toml",
        "[sandbox.limits]\nprocesses = 99\nmemory = \"1GiB\"\ncpu = 90\nfree-disk = \"64MiB\"\n",
    );
    let limits = limits.to_str().expect("UTF-8");
    let human = world.call(&["policy", "explain-sandbox", "--config", limits]).stdout;
    assert!(human.contains("Limit: memory 1GiB, held by server.\n"), "{human}");
    assert!(human.contains("Limit: cpu 90s, held by kernel and server.\n"), "{human}");
    // A verdict tells the same, for those who only look there.
    let verdict = world.call(&["check", "--json", "--config", limits, "ls"]).json();
    let explained = world.call(&["policy", "explain-sandbox", "--json", "--config", limits]).json();
    for key in ["starts", "mounts", "masks", "searched", "network", "limits"] {
        assert_eq!(verdict["sandbox"][key], explained[key], "{key}");
        assert!(!explained[key].is_null(), "{key}");
    }
    let rights = |rules: &Value| {
        let rule = rules.as_array()?.iter().find(|rule| rule["path"] == workspace.as_str())?.clone();
        Some(rule["rights"].as_str()?.to_owned())
    };
    assert_eq!(rights(&verdict["sandbox"]["rules"]).as_deref(), Some("rwdx"), "{verdict:#}");
    assert_eq!(verdict["sandbox"]["masks"].as_array().map(Vec::is_empty), Some(!mounts), "{verdict:#}");
    let remote = world.call(&["check", "--json", "--transport", "ssh", "--target", "web", "ls"]).json();
    assert!(remote["sandbox"].is_null(), "{remote:#}");
    // A forbid below a permit is a hole: it is told, with the policy that makes it.
    let hole = format!(
        "{PERMIT}@id(\"f\") @reason(\"r\") forbid (principal, action == Action::\"read\", resource in PathGroup::\"vault\");"
    );
    let groups = format!("[paths.vault]\nreason = \"r\"\npatterns = [\"{workspace}/vault\"]\n");
    let policies = directory(&world, "hole", &[("p.cedar", &hole), ("groups.toml", &groups)]);
    let ended = world.call(&["policy", "explain-sandbox", "--policies", &policies]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stdout.contains(&format!("{workspace}/vault in {workspace}")), "{}", ended.stdout);
}

/// Waits until the newest record holds a line that fits.
pub(crate) fn recorded(world: &World, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let begun = std::time::Instant::now();
    loop {
        // The last line may be half written.
        let text = world.records().pop().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if let Some(found) = lines.into_iter().rev().find(&fits) {
            return found;
        }
        assert!(begun.elapsed().as_secs() < 60, "{what} is not on record:\n{text}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_running_server_takes_only_policies_that_pass() {
    let world = World::new();
    let case = "[defaults]\nsandboxed = true\n[[case]]\nname = 'look'\nrun = 'ls'\nexpect = 'allow'\n";
    let path = directory(&world, "live", &[("p.cedar", PERMIT), ("cases/c.toml", case)]);
    let set = |world: &World| world.call(&["policy", "validate", "--json", &path]).json()["policySet"].clone();
    let first = set(&world);
    let mut server = world.palisade();
    server.args(["serve", "--policies", &path]).stdin(std::process::Stdio::piped());
    let mut server = server.stdout(std::process::Stdio::null()).spawn().expect("the binary starts");
    let digest = |value: &Value| value.as_str().map(|text| text.trim_start_matches("sha256:").to_owned());
    recorded(&world, "the start", |line| line["kind"] == "start");
    let look = |text: &str| {
        std::fs::write(world.path("live/p.cedar"), text).expect("written");
        let hangup = std::process::Command::new("kill").args(["-HUP", &server.id().to_string()]).status();
        assert!(hangup.is_ok_and(|status| status.success()));
    };
    let forbid = "@id(\"no-ls\") @reason(\"r\") forbid (principal, action == Action::\"exec\", resource in";
    for (name, text, said) in [
        ("does not parse", "permit (".to_owned(), "p.cedar:1"),
        ("has a lint error", format!("{PERMIT}{forbid} CommandGroup::\"nothing\");"), "nothing is in CommandGroup"),
        ("fails its case", format!("{PERMIT}{forbid} Program::\"ls\");"), "the case `look` fails"),
    ] {
        look(&text);
        let refused = recorded(&world, name, |line| {
            line["kind"] == "policy_reload" && line["refused"].as_str().is_some_and(|why| why.contains(said))
        });
        assert_eq!(digest(&refused["policy_set"]), digest(&first), "{refused}");
    }
    look(&format!("{PERMIT}{forbid} Program::\"cat\");"));
    let taken = recorded(&world, "the change", |line| line["kind"] == "policy_reload" && line["refused"].is_null());
    assert_eq!((digest(&taken["before"]), digest(&taken["policy_set"])), (digest(&first), digest(&set(&world))));
    assert_ne!(digest(&first), digest(&taken["policy_set"]));
    drop(server.stdin.take());
    assert!(server.wait().is_ok_and(|status| status.success()));
    let record = world.records().pop().expect("a record").display().to_string();
    assert_eq!(world.call(&["audit", "verify", &record]).code, Some(0));
}

#[test]
fn whoever_sees_a_server_on_record_may_send_it_signals() {
    let mask = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("signals").trim();
        u64::from_str_radix(caught, 16).expect("hexadecimal")
    };
    // HUP, INT and TERM are the kernel's numbers 1, 2 and 15: each has the bit below its number.
    let wanted = 1 | 1 << 1 | 1 << 14;
    for _ in 0..3 {
        let world = World::new();
        let mut server = world.palisade();
        server.arg("serve").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
        let mut server = server.spawn().expect("the binary starts");
        let begun = std::time::Instant::now();
        while world.records().iter().all(|file| std::fs::read(file).is_ok_and(|text| text.is_empty())) {
            assert!(begun.elapsed().as_secs() < 60, "nothing is on record");
        }
        assert_eq!(mask(server.id()) & wanted, wanted);
        drop(server.stdin.take());
        assert!(server.wait().is_ok_and(|status| status.success()));
    }
}

/// Every block of the authors' guide, in order: files are written, commands run with the exit status that is told.
#[test]
fn the_authors_guide_works_as_it_stands() {
    let world = World::new();
    let guide = std::fs::read_to_string(repository().join("docs/authoring.md")).expect("the guide");
    let (mut files, mut commands) = (0, 0);
    let mut parts = guide.split("\n```");
    while let (Some(_prose), Some(block)) = (parts.next(), parts.next()) {
        let (head, body) = block.split_once('\n').expect("a block");
        let mut words = head.split(' ');
        let kind = words.next().unwrap_or_default();
        if let Some(file) = words.next().and_then(|word| word.strip_prefix("file=")) {
            let path = world.path("site").join(file);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            let before = std::fs::read_to_string(&path).unwrap_or_default();
            let before = if words.next() == Some("append") { format!("{before}\n\n") } else { String::new() };
            std::fs::write(&path, format!("{before}{body}\n")).expect("written");
            files += 1;
            continue;
        }
        assert_eq!(kind, "console", "a block that nothing runs: {block}");
        for line in body.lines() {
            let line = line.strip_prefix("$ palisade ").expect("a command");
            let (line, code) = line.split_once("  # exit ").unwrap_or((line, "0"));
            let code: i32 = code.trim().parse().expect("a status");
            let mut bash = std::process::Command::new("bash");
            bash.args(["-c", &format!("{} {line}", env!("CARGO_BIN_EXE_palisade"))]);
            for (name, value) in world.palisade().get_envs() {
                match value {
                    Some(value) => bash.env(name, value),
                    None => bash.env_remove(name),
                };
            }
            let ended = Ended::of(bash.current_dir(world.path("")));
            assert_eq!(ended.code, Some(code), "{line}\n{}{}", ended.stdout, ended.stderr);
            commands += 1;
        }
    }
    assert!(files >= 6 && commands >= 8, "{files} files, {commands} commands");
    // And over MCP, in a session as without one.
    let site = world.path("site").display().to_string();
    works_over_mcp(&world, &["--policies", &site, "--role", "developer", "--role", "payments"]);
}

/// A client finds tools, opens a session and works in a repository.
pub(crate) fn works_over_mcp(world: &World, arguments: &[&str]) {
    let mut server = Server::start_with(world, arguments);
    server.call(1, "session_open", &json!({}));
    let opened = server.receive();
    let session = opened["result"]["structuredContent"]["session"].as_str().expect("a session");
    let day = |name: &str| {
        format!("git init -q {name} 2>/dev/null; cd {name}; echo a > b; git status --short; git log | head -5")
    };
    for (id, arguments) in
        [(2, json!({ "command": day("one") })), (3, json!({ "command": day("other"), "session": session }))]
    {
        server.call(id, "exec", &arguments);
        let ran = server.receive();
        assert_eq!(ran["result"]["structuredContent"]["exit_code"], 0, "{ran}");
    }
}

/// A case means what a real machine with those files would say: the shipped cases, each judged in both.
#[test]
fn a_case_says_what_a_machine_with_those_files_does() {
    let world = World::new();
    let home = world.path("home").display().to_string();
    let mut compared = 0;
    for profile in ["developer", "readonly", "regulated"] {
        let file = repository().join(format!("policies/cases/{profile}.toml"));
        let text = std::fs::read_to_string(file).expect("cases").replace("/home/alice", &home);
        let table: toml::Table = text.parse().expect("TOML");
        let defaults = table["defaults"].as_table().expect("defaults");
        for path in defaults["files"].as_array().expect("files").iter().filter_map(toml::Value::as_str) {
            let path = path.strip_prefix("~/").map_or_else(|| format!("app/{path}"), str::to_owned);
            let path = world.path("home").join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, "").expect("written");
        }
        let cases: Vec<&toml::Table> =
            table["case"].as_array().expect("cases").iter().filter_map(toml::Value::as_table).collect();
        // Cases tell of a kernel that holds no names, as at this level.
        let settings = world.write("state/compat.toml", "[sandbox]\nlevel = \"compat\"\n");
        // What the command line cannot say is left out, and so is what this machine may have elsewhere.
        let plain = |case: &&&toml::Table| {
            let known = ["name", "run", "expect", "by", "by-at-least", "guarded", "approved"];
            let run = case.get("run").and_then(toml::Value::as_str).unwrap_or_default();
            case.contains_key("run")
                && case.keys().all(|key| known.contains(&key.as_str()))
                && !["/tmp/", "just", "/usr/src", "api.example.com"].iter().any(|text| run.contains(text))
        };
        let cases: Vec<&&toml::Table> = cases.iter().filter(plain).collect();
        let lines: String = cases
            .iter()
            .map(|case| {
                let flag = |key: &str, default: bool| case.get(key).and_then(toml::Value::as_bool).unwrap_or(default);
                let line = serde_json::json!({ "command": case["run"].as_str(), "workspace": format!("{home}/app"),
                    "user": "alice", "roles": ["developer"], "guarded": flag("guarded", true), "approved": flag("approved", false) });
                format!("{line}\n")
            })
            .collect();
        let mut check = world.palisade();
        check
            .env("PATH", "/usr/bin:/bin")
            .args(["check", "--batch", "--profile", profile, "--config"])
            .arg(settings)
            .stdin(std::process::Stdio::piped());
        let mut child = check.stdout(std::process::Stdio::piped()).spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, lines.as_bytes()));
        let output = child.wait_with_output().expect("it ends");
        assert!(writer.join().is_ok_and(|written| written.is_ok()));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let mut differ = Vec::new();
        for (case, line) in cases.iter().zip(text.lines()) {
            let verdict: Value = serde_json::from_str(line).expect("JSON");
            if verdict["decision"].as_str() != case["expect"].as_str() {
                differ.push(format!("{profile}: {:?}: {:?}\n{:#}", case["name"], case["run"], verdict["reasons"]));
            }
            compared += 1;
        }
        assert!(differ.is_empty(), "{}", differ.join("\n"));
    }
    assert!(compared > 150, "{compared}");
}
