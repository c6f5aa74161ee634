//! Settings, flags and what is wrong with them.

use std::fs;

use crate::support::world::{Ended, World};

#[test]
fn a_wrong_setting_is_told_with_its_place_and_nothing_runs() {
    let world = World::new();
    let file = world.write("state/palisade.toml", "");
    let file = file.to_str().expect("UTF-8");
    for (text, said) in [
        ("profil = \"developer\"\n", "palisade.toml:1:1: unknown field `profil`"),
        ("[agent]\nname = 3\n", "palisade.toml:2:8: "),
        ("[sandbox]\nlevel = \"lax\"\n", "palisade.toml:2:9: unknown variant `lax`"),
        (
            "[clock]\ntime-zone = \"Mars/Phobos\"\n",
            "palisade.toml:2:13: `clock.time-zone`: there is no time zone `Mars/Phobos`",
        ),
        ("[session]\ntimeout = \"soon\"\n", "palisade.toml:2:11: `session.timeout` is `soon`, which is not a time"),
        (
            "[sandbox]\nlimits = { open-files = 64 }\n",
            "palisade.toml:2:25: `sandbox.limits.open-files` is `64`, which is not 256 or more",
        ),
        ("[session]\nmax = 0\n", "palisade.toml:2:7: `session.max` is `0`, which is not a number from 1 to 1000"),
        // As many as a semaphore cannot count.
        ("[session]\nmax = 9223372036854775807\n", "`session.max` is `9223372036854775807`, which is not a number"),
        (
            "profile = \"readonly\"\npolicies = \"site\"\n",
            "palisade.toml:1:11: `profile` and `policies` exclude each other",
        ),
        ("[agent]\nname = \"\\u001b[2J\"\n[session]\ntimeout = \"\\u001b[2J\"\n", "`session.timeout` is `\\u{1b}[2J`"),
        ("# [targets.web]\n[targets.web2]\n[targets.web]\n", "palisade.toml:3:2: the target `web` needs one of"),
        ("[targets.web]\nssh = { host = \"h\" }\n", "palisade.toml:1:2: the target `web` needs `user`, or an `alias`"),
        ("\n[targets.web]\n", "palisade.toml:2:2: the target `web` needs one of `ssh` and `docker`"),
        ("[targets.web]\nssh = { host = \"-oX\", user = \"u\" }\n", "the target `web` has `host` = `-oX`"),
        ("[targets.web]\nssh = { host = \"h\", user = \"u\", pasword = 1 }\n", "unknown field `pasword`"),
        ("[targets.web]\nssh = { host = \"h\", user = \"u\", password = \"x\" }\n", "palisade.toml:2:44: "),
        ("[targets.web]\nssh = { host = \"h\", user = \"u\", timeout = \"soon\" }\n", "`timeout` = `soon`"),
        ("[targets.web]\nworkspace = \"srv\"\nssh = { host = \"h\", user = \"u\" }\n", "`workspace` = `srv`"),
        ("[targets.ci]\ndocker = { }\n", "needs one of `container` and `image`"),
        (
            "[targets.ci]\nstate = \"here\"\ndocker = { container = \"x\" }\n",
            "has `state` = `here`, which is not an absolute path",
        ),
        ("[targets.ci]\ndocker = { container = \"../x\" }\n", "no name of a container"),
        (
            "[targets.web]\nremote_guard = true\nssh = { host = \"h\", user = \"u\" }\n",
            "needs a `workspace` that its user's home does not lie in",
        ),
        (
            "[targets.web]\nssh = { host = \"h\", user = \"u\" }\n",
            "palisade.toml:1:2: the target `web` needs a `workspace` that its user's home does not lie in: whoever can write \
             there says what the next login runs; or set `remote_guard = false` for sessions that nothing holds there",
        ),
        (
            "[targets.web]\nremote_guard = true\nworkspace = \"/home\"\nssh = { host = \"h\", user = \"u\" }\n",
            "needs a `workspace` that its user's home does not lie in",
        ),
        (
            "[targets.ci]\nremote_guard = true\nworkspace = \"/srv\"\nstate = \"/srv/s\"\ndocker = { container = \"x\" }\n",
            "has a `state` in its `workspace`",
        ),
        ("[targets.ci]\nremote_guard = 1\ndocker = { container = \"x\" }\n", "palisade.toml:2:16: "),
        (
            "[targets.ci]\nremote_guard = false\nremote_guard_binary = \"p\"\ndocker = { container = \"x\" }\n",
            "has a `remote_guard_binary` and `remote_guard = false`",
        ),
        ("[targets.\"a b\"]\ndocker = { container = \"x\" }\n", "has a name that is not made of"),
        ("[sandbox]\nenvironment = [\"LD_PRELOAD\"]\n", "palisade.toml:2:16: the variable `LD_PRELOAD` cannot"),
        (
            "[sandbox]\naccept = [\"secrets-unreadable\",\n  \"no-such-rule\"]\n",
            "palisade.toml:3:3: `sandbox.accept` names `no-such-rule`",
        ),
        ("[groups.paths]\nx = [\"/a\", \"relative\"]\n", "palisade.toml:2:12: path pattern `relative` of group `x`"),
        ("[groups.paths]\nx = [\"/srv/**\"]\n", "`/srv/**` of group `x` has `**` elsewhere than at its beginning"),
        ("profile = \"developr\"\n", "palisade.toml:1:11: no profile is called `developr`"),
        ("policies = \"no-such-directory\"\n", "no-such-directory"),
        ("[checkpoint]\nautomatic = \"always\"\n", "palisade.toml:2:13: unknown variant `always`"),
        (
            "[checkpoint]\nkeep = 0\n",
            "palisade.toml:2:8: `checkpoint.keep` is `0`, which is not a number from 1 to 500",
        ),
        ("[checkpoint]\nkeep = 501\n", "`checkpoint.keep` is `501`"),
        ("this is not TOML\n", "palisade.toml:1:"),
    ] {
        fs::write(file, text).expect("written");
        let ended = world.call(&["run", "--config", file, "touch ran"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(125), ""), "{text}: {ended:?}");
        assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains(said), "{text}: {ended:?}");
        let ended = world.call(&["check", "--config", file, "ls"]);
        assert_eq!(ended.code, Some(1), "{text}: {ended:?}");
        assert!(!world.path("work/ran").exists(), "{text}");
    }
}

#[test]
fn a_wrong_policy_is_told_with_its_place_and_nothing_runs() {
    let world = World::new();
    let policy = |text: &str| world.write("state/site.cedar", text);
    for (text, said) in [
        ("@id(\"a\")\npermit (principal, action, resource", "site.cedar:2:36: unexpected end of input"),
        (
            "@id(\"a\")\npermit (principal, action == Action::\"exec\", resource)\nwhen { resource.colour };",
            "site.cedar:3:8: ",
        ),
        ("permit (principal, action, resource);", "site.cedar:1:1: this policy has no `@id"),
        ("@id(\"guard-opaque\") permit (principal, action, resource);", "already taken"),
    ] {
        let path = policy(text);
        let path = path.to_str().expect("UTF-8");
        let ended = world.call(&["run", "--policies", path, "touch ran"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(125), ""), "{text}: {ended:?}");
        assert!(ended.stderr.contains(said), "{text}: {ended:?}");
        assert!(!world.path("work/ran").exists(), "{text}");
    }
}

/// Twelve hours ahead of UTC it is another half of the day, whenever that is asked.
#[test]
fn the_settings_say_where_the_clock_is_read() {
    let world = World::new();
    let morning = "@id(\"all\") permit (principal, action, resource);\n@id(\"morning\") @reason(\"It is early.\")\n\
                   forbid (principal, action == Action::\"exec\", resource) when { context.clock.timeOfDay < duration(\"12h\") };\n";
    fs::create_dir_all(world.path("site")).expect("a directory");
    let policies = world.write("site/site.cedar", morning);
    let code = |zone: &str| {
        let file = world.write("state/palisade.toml", &format!("[clock]\ntime-zone = \"{zone}\"\n"));
        let mut check = world.palisade();
        check
            .args(["check", "true", "--config"])
            .arg(file)
            .arg("--policies")
            .arg(policies.parent().expect("a directory"));
        Ended::of(&mut check).code
    };
    // Noon may pass between two of them.
    let seen = (0..3).map(|_| [code("Etc/UTC"), code("Etc/GMT-12")]).collect::<Vec<_>>();
    assert!(seen.iter().any(|codes| matches!(codes, [Some(0), Some(2)] | [Some(2), Some(0)])), "{seen:?}");
}

#[test]
fn a_workspace_has_to_be_a_directory() {
    let world = World::new();
    let file = world.write("state/file", "");
    for (workspace, said) in
        [("/no/such/directory", "does not exist"), (file.to_str().expect("UTF-8"), "is not a directory")]
    {
        let ended = world.call(&["run", "--workspace", workspace, "ls"]);
        assert_eq!(ended.code, Some(125), "{ended:?}");
        assert!(ended.stderr.contains(said), "{ended:?}");
    }
}

#[test]
fn a_cloned_repository_does_not_bring_its_own_rules() {
    let world = World::new();
    world.write("work/palisade.toml", "this would be an error if it were read");
    assert_eq!(world.run("ls").code, Some(0));
    // Rules that the agent could change are not used to run anything.
    world.write("work/site.cedar", "@id(\"all\") permit (principal, action, resource);");
    let ended = world.call(&["run", "--policies", "site.cedar", "ls"]);
    assert_eq!(ended.code, Some(125), "{ended:?}");
    assert!(ended.stderr.contains("lies inside the workspace"), "{ended:?}");
    // To look at them is another matter.
    assert_eq!(world.call(&["check", "--policies", "site.cedar", "ls"]).code, Some(0));
}

#[test]
fn site_policies_replace_the_profile_but_not_the_guards() {
    let world = World::new();
    let path = world.write("state/site.cedar", "@id(\"all\") permit (principal, action, resource);");
    let path = path.to_str().expect("UTF-8");
    let judge = |command: &str| world.call(&["check", "--policies", path, command]);
    assert_eq!(judge("sudo ls").code, Some(0));
    for command in ["curl http://169.254.169.254/", "cat ~/.config/palisade/palisade.toml", "ls 'a"] {
        assert_eq!(judge(command).code, Some(2), "{command}");
    }
}

#[test]
fn granted_directories_are_readable_or_writable_and_no_more() {
    let world = World::new();
    fs::create_dir(world.path("shared")).expect("a directory");
    world.write("shared/file", "shared\n");
    let shared = world.path("shared");
    let shared = shared.to_str().expect("UTF-8");
    let read = format!("cat {shared}/file");
    let write = format!("echo new > {shared}/new");
    let call = |flags: &[&str], command: &str| {
        let mut arguments = vec!["run"];
        arguments.extend(flags);
        arguments.push(command);
        world.call(&arguments).code
    };
    assert_eq!(call(&[], &read), Some(126));
    assert_eq!(call(&["--read", shared], &read), Some(0));
    assert_eq!(call(&["--read", shared], &write), Some(126));
    assert!(!world.path("shared/new").exists());
    assert_eq!(call(&["--write", shared], &write), Some(0));
    assert!(world.path("shared/new").exists());
    // What the agent may change is nobody's word for what a program is.
    world.write("shared/git", "#!/bin/sh\n");
    let judged = world.call(&["check", "--write", shared, &format!("{shared}/git status")]);
    assert_eq!(judged.code, Some(3), "{judged:?}");
    // A grant that would open the record, or a key below it, is refused.
    let state = world.path("state");
    let ended = world.call(&["run", "--read", state.to_str().expect("UTF-8"), "ls"]);
    assert_eq!((ended.code, ended.stderr.contains("within the agent's reach")), (Some(125), true), "{ended:?}");
    let home = world.path("home");
    let ended = world.call(&["run", "--read", home.to_str().expect("UTF-8"), "ls"]);
    assert_eq!((ended.code, ended.stderr.contains("policy forbids")), (Some(125), true), "{ended:?}");
}

#[test]
fn nothing_is_gone_by_where_the_agent_says_what_it_leads_to() {
    let world = World::new();
    let text = &crate::reload::policies(crate::reload::ALL);
    for directory in ["rules", "linked", "work/sub"] {
        std::fs::create_dir_all(world.path(directory)).expect("a directory");
    }
    world.write("rules/p.cedar", text);
    world.write("empty.toml", "");
    for (target, link) in [
        ("empty.toml", "work/s.toml"),
        ("rules", "work/rules"),
        ("work/later.cedar", "linked/p.cedar"),
        ("work/rules", "twice"),
        ("rules", "fine"),
    ] {
        std::os::unix::fs::symlink(world.path(target), world.path(link)).expect("a link");
    }
    world.write("work/later.cedar", text);
    for (flag, path, is_refused) in [
        ("--config", "work/s.toml", true),
        ("--config", "empty.toml", false),
        ("--config", "work/sub/../../empty.toml", true),
        ("--config", "work/../empty.toml", false),
        ("--policies", "work/rules", true),
        ("--policies", "linked", true),
        ("--policies", "twice", true),
        ("--policies", "fine", false),
        ("--policies", "rules/p.cedar", false),
    ] {
        let named = world.path(".").join(path).display().to_string();
        let ended = world.call(&["run", flag, &named, "echo hi"]);
        let refused = ended.code == Some(125) && ended.stderr.contains("within the agent's reach");
        assert_eq!((refused, ended.stdout == "hi\n"), (is_refused, !is_refused), "{flag} {path}: {ended:?}");
    }
}

#[test]
fn values_of_named_variables_are_secrets() {
    let world = World::new();
    world.program("say", "#!/bin/sh\necho 'it is correct-horse-battery'\n");
    let file = world.write("state/palisade.toml", "[redact]\nenvironment = [\"*_PHRASE\"]\n");
    let mut command = world.palisade();
    command.env("MY_PHRASE", "correct-horse-battery").args(["run", "--config"]).arg(file).arg("./say");
    let ended = crate::support::world::Ended::of(&mut command);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stdout.contains("correct-horse") && ended.stdout.contains("[redacted:"), "{ended:?}");

    // One that is too short to be searched for is not passed over in silence.
    let file = world.path("state/palisade.toml");
    let mut command = world.palisade();
    command.env("MY_PHRASE", "abc").args(["doctor", "--config"]).arg(file);
    let ended = crate::support::world::Ended::of(&mut command);
    assert!(ended.stderr.contains("the value of `MY_PHRASE` is not redacted"), "{ended:?}");
}

#[test]
fn values_in_named_files_are_secrets() {
    let world = World::new();
    world.program("say", "#!/bin/sh\necho 'it is correct-horse-battery'\n");
    let secrets = world.write("state/netrc", "machine h login me password correct-horse-battery\n");
    // A relative name is meant from the settings file, not from where the command starts.
    for named in [secrets.to_str().expect("UTF-8"), "netrc", "./../state/netrc"] {
        let file = world.write("state/palisade.toml", &format!("[redact]\nfiles = [{named:?}, \"not-there\"]\n"));
        let run = |verb: &[&str]| {
            let mut command = world.palisade();
            let (verb, arguments) = verb.split_first().expect("a verb");
            command.arg(verb).arg("--config").arg(&file).args(arguments);
            crate::support::world::Ended::of(&mut command)
        };
        let ended = run(&["run", "./say"]);
        assert_eq!(ended.code, Some(0), "{named}: {ended:?}");
        assert!(
            !ended.stdout.contains("correct-horse") && ended.stdout.contains("[redacted:netrc"),
            "{named}: {ended:?}"
        );
        // One that is not there hides nothing, which is said.
        let missing = format!("`{}`, which is not there", world.path("state/not-there").display());
        for ended in [ended, run(&["doctor"])] {
            assert!(ended.stderr.contains(&missing), "{named}: {ended:?}");
        }
    }
}

#[test]
fn trusted_directories_are_meant_from_the_settings_file() {
    let world = World::new();
    fs::create_dir(world.path("state/tools")).expect("a directory");
    world.write("state/tools/git", "#!/bin/sh\n");
    let git = world.path("state/tools/git");
    fs::set_permissions(&git, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let settings = |text: &str| world.write("state/palisade.toml", text);
    let judge = |file: std::path::PathBuf| {
        let command = format!("{} status", git.display());
        let judged = world.call(&["check", "--json", "--config", file.to_str().expect("UTF-8"), &command]).json();
        judged["requests"][0]["determining"].to_string()
    };
    let trusted = "dev-read-only-commands";
    assert!(!judge(settings("")).contains(trusted));
    let seen = judge(settings("[sandbox]\ntrusted = [\"tools\"]\n"));
    assert!(seen.contains(trusted), "{seen}");
}

#[test]
fn a_site_brings_rules_of_its_own_and_sees_what_they_hit() {
    let world = World::new();
    let rule = |example: &str| {
        format!(
            "[[rule]]\nid = 'site-key'\ndescription = 'a key'\nanchors = ['SITE-']\npattern = 'SITE-[0-9]{{6}}'\n\
             examples = [{{ secret = '{example}' }}]\ncounter-examples = ['SITE-']\n"
        )
    };
    let input = world.write("state/input", "one\na SITE-123456 b\n");
    let redact = |world: &World, rules: &std::path::Path| {
        let mut command = world.palisade();
        command.args(["redact", "--explain", "--rules"]).arg(rules).stdin(fs::File::open(&input).expect("a file"));
        crate::support::world::Ended::of(&mut command)
    };
    world.write("state/site.toml", &rule("SITE-000000"));
    let ended = redact(&world, &world.path("state/site.toml"));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "one\na [redacted:site-key] b\n"), "{ended:?}");
    assert!(ended.stderr.contains("line 2, byte 6, 11 bytes: site-key"), "{ended:?}");

    world.write("state/site.toml", &rule("SITE-00"));
    let ended = redact(&world, &world.path("state/site.toml"));
    assert!(ended.code == Some(1) && ended.stderr.contains("does not hold its example"), "{ended:?}");
}

#[test]
fn doctor_says_what_this_machine_can_enforce() {
    let world = World::new();
    let ended = world.call(&["doctor"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("landlock") && ended.stdout.ends_with("ready\n"), "{ended:?}");
    let json = world.call(&["doctor", "--json"]).json();
    assert!(json["landlock_abi"].as_u64().is_some_and(|abi| abi >= 6), "{json}");
}

#[test]
fn doctor_says_which_targets_nothing_holds() {
    let world = World::new();
    let docker = "docker = { container = \"x\" }\n";
    let settings = format!("[targets.held]\n{docker}[targets.open]\nremote_guard = false\n{docker}");
    let settings = world.write("state/site.toml", &settings).display().to_string();
    let told = world.call(&["doctor", "--config", &settings]);
    let targets: Vec<&str> = told.stdout.lines().filter(|line| line.contains(" target ")).collect();
    assert_eq!(
        targets,
        [
            "ok       target held: sessions there run under the sandbox and the exec guard, or do not open",
            "missing  target open: nothing holds sessions there; take `remote_guard = false` out of its settings where it \
             is a Linux",
        ],
        "{told:?}"
    );
    let json = world.call(&["doctor", "--json", "--config", &settings]).json();
    let expected = serde_json::json!([{ "target": "held", "guarded": true }, { "target": "open", "guarded": false }]);
    assert_eq!(json["targets"], expected, "{json}");
}

#[test]
fn redact_takes_secrets_out_of_a_stream() {
    let world = World::new();
    let token = format!("ghp_{}", "0123456789abcdefghijABCDEFGHIJ012345");
    let input = world.write("state/input", &format!("a {token} b\nordinary line\n"));
    let mut command = world.palisade();
    command.arg("redact").stdin(fs::File::open(input).expect("a file"));
    let ended = crate::support::world::Ended::of(&mut command);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stdout.contains(&token) && ended.stdout.ends_with(" b\nordinary line\n"), "{ended:?}");

    let line = serde_json::json!({
        "id": "1", "data": base64("a hunter2hunter2 b"), "cuts": [4, 9],
        "known": [{ "name": "PASS", "b": base64("hunter2hunter2") }],
    });
    let input = world.write("state/batch", &format!("{line}\nnonsense\n"));
    let mut command = world.palisade();
    command.args(["redact", "--batch"]).stdin(fs::File::open(input).expect("a file"));
    let ended = crate::support::world::Ended::of(&mut command);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let mut lines = ended.stdout.lines();
    let first: serde_json::Value = serde_json::from_str(lines.next().unwrap_or_default()).expect("JSON");
    assert_eq!(first["id"], "1");
    let out = first["out"].as_str().expect("base64");
    assert!(out != base64("a hunter2hunter2 b") && out.starts_with(&base64("a [")[..3]), "{first}");
    assert!(lines.next().is_some_and(|line| line.contains("line 2: ")));
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
