//! What policy forbids below a permit is held by the kernel: for what is there when a session starts, and whatever runs in it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use palisade_runner::{Call, Outcome, sandbox};

use crate::place::{POLICY, Place};

const FORBIDS: &str = r#"
@id("secret") @reason("r") forbid(principal, action in Action::"fileAccess", resource in PathGroup::"secrets");
@id("hooks") @reason("r") forbid(principal, action in Action::"fileChange", resource in PathGroup::"runs-later");
"#;

/// Python, and what it says: a program whose text nobody reads, with `.env`, `deep/key.pem` and `.git/hooks` in the workspace.
const ATTEMPTS: &[(&str, &str)] = &[
    ("open('.env').read()", "PermissionError"),
    ("open('deep/key.pem').read()", "PermissionError"),
    ("os.chmod('.env', 0o600)", "OSError"),
    ("os.remove('.env')", "OSError"),
    ("os.rename('.env', 'e')", "OSError"),
    ("os.link('.env', 'e')", "OSError"),
    ("open('.git/hooks/pre-commit').read()", "hook"),
    ("open('.git/hooks/pre-commit', 'w')", "OSError"),
    ("open('.git/hooks/new', 'w')", "OSError"),
    ("os.rename('.git/hooks', '.git/h')", "OSError"),
    ("open('free.txt', 'w').write('x')", "1"),
    ("open('free.txt').read()", "x"),
];

fn fill(workspace: &Path) {
    for directory in ["deep", ".git/hooks"] {
        std::fs::create_dir_all(workspace.join(directory)).expect("a directory");
    }
    for (name, text) in [(".env", "TOP"), ("deep/key.pem", "TOP"), (".git/hooks/pre-commit", "hook")] {
        std::fs::write(workspace.join(name), text).expect("a file");
    }
}

fn attempts() -> String {
    let tries = ATTEMPTS.iter().map(|(code, _)| {
        format!(
            "try: print({code})\nexcept OSError as e: print(e.__class__.__name__ if e.errno == 13 else 'OSError')\n"
        )
    });
    format!("import os\n{}", tries.collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_nobody_reads_cannot_reach_what_policy_forbids_below_a_permit() {
    let place = Place::with(&format!("{POLICY}{FORBIDS}"), |_| {});
    let workspace = place.root.path().join("work");
    fill(&workspace);
    std::fs::write(workspace.join("try.py"), attempts()).expect("a program");
    let result = place.alone("/usr/bin/python3 try.py").await;
    let said: Vec<&str> = result.stdout.as_str().lines().collect();
    let expected: Vec<&str> = ATTEMPTS.iter().map(|(_, said)| *said).collect();
    if sandbox::probe().mounts {
        assert_eq!(said, expected, "{result:?}");
        assert_eq!(std::fs::read_to_string(workspace.join(".env")).expect("still there"), "TOP");
    } else {
        // As it would be without masks: the table shows something.
        assert_ne!(said, expected);
    }
}

/// A program of another session may rename what is on the way to such a file just when a session begins: that one is begun anew, or not.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_moved_while_a_session_begins_does_not_lie_open_in_it() {
    if !sandbox::probe().mounts {
        return;
    }
    let place = Place::with(&format!("{POLICY}{FORBIDS}"), |_| {});
    let workspace = place.root.path().join("work");
    std::fs::create_dir(workspace.join("sub")).expect("a directory");
    std::fs::write(workspace.join("sub/.env"), "TOP").expect("a file");
    let look =
        "for d in ('sub', 'zub'):\n try: print(open(d + '/.env').read())\n except OSError as e: print(e.errno)\n";
    std::fs::write(workspace.join("look.py"), look).expect("a program");
    let call = || Call { script: "/usr/bin/python3 look.py".into(), ..Call::default() };
    let over = AtomicBool::new(false);
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for (from, to) in [("sub", "zub"), ("zub", "sub")] {
                    std::fs::rename(workspace.join(from), workspace.join(to)).expect("moved");
                    std::thread::sleep(Duration::from_millis(4));
                }
            }
        });
        let said = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let mut said = Vec::new();
                for _ in 0..8 {
                    said.push(match place.pipeline.submit(call()).await {
                        Ok(Outcome::Ran(result)) => result.stdout.as_str().to_owned(),
                        Ok(other) => panic!("{other:?}"),
                        Err(failure) => failure.what.as_str().to_owned(),
                    });
                }
                said
            })
        });
        over.store(true, Ordering::Relaxed);
        said
    });
    assert!(said.iter().all(|said| !said.contains("TOP")), "{said:?}");
    assert!(said.iter().any(|said| said.contains("are being moved about")), "nothing was moved in time: {said:?}");
    assert_eq!(place.alone("/usr/bin/python3 look.py").await.stdout.as_str(), "13\n2\n");
}

/// A place that a policy names by its path is held as one of a group is.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_a_policy_names_is_held() {
    if !sandbox::probe().mounts {
        return;
    }
    let private = r#"@id("private") @reason("r") forbid(principal, action in Action::"fileAccess", resource in Path::"/WORK/private");"#;
    let place = Place::with(&format!("{POLICY}{private}"), |_| {});
    let workspace = place.root.path().join("work");
    std::fs::create_dir(workspace.join("private")).expect("a directory");
    std::fs::write(workspace.join("private/x"), "TOP").expect("a file");
    std::fs::write(workspace.join("p.py"), "print(open('private/x').read())").expect("a program");
    let result = place.alone("/usr/bin/python3 p.py").await;
    assert!(!result.stdout.as_str().contains("TOP") && result.stderr.as_str().contains("Permission"), "{result:?}");
}

/// What a session did to the directories is not the way round the masks of the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_cannot_hide_a_name_from_the_next_one() {
    if !sandbox::probe().mounts {
        return;
    }
    for (prepare, attempt) in [
        ("import os; os.rename('deep', b'v\\xff')", "import os; print(open(b'v\\xff/key.pem').read())"),
        (
            "import os; os.mkdir('deep/in'); os.chmod('deep', 0)",
            "import os; os.chmod('deep', 0o700); print(open('deep/key.pem').read())",
        ),
        (
            "import os; os.mkdir('deep/in'); os.chmod('deep', 0o400)",
            "import os; os.chmod('deep', 0o700); print(open('deep/key.pem').read())",
        ),
    ] {
        let place = Place::with(&format!("{POLICY}{FORBIDS}"), |_| {});
        let workspace = place.root.path().join("work");
        fill(&workspace);
        std::fs::write(workspace.join("prepare.py"), prepare).expect("a program");
        std::fs::write(workspace.join("attempt.py"), attempt).expect("a program");
        let first = place.alone("/usr/bin/python3 prepare.py").await;
        assert_eq!(first.stderr.as_str(), "", "{first:?}");
        let second = place.alone("/usr/bin/python3 attempt.py").await;
        assert!(!second.stdout.as_str().contains("TOP"), "{prepare}: {second:?}");
        assert!(second.stderr.as_str().contains("Error"), "{prepare}: {second:?}");
    }
}

/// The settings accept both rules by name: then policies are told that the kernel holds the rest.
#[tokio::test(flavor = "multi_thread")]
async fn path_rules_count_as_held_once_those_by_name_are_accepted() {
    let told = r#"@id("told") @reason("r") forbid(principal, action == Action::"exec", resource in Program::"id")
        unless { context.session.pathsHeld };"#;
    let named = ["secret", "hooks", "guard-client-config"];
    let by_extension = r#"@id("keys") @reason("r") forbid(principal, action == Action::"read", resource)
        when { resource.extension == "key" };"#;
    for (more, accept, held) in [
        ("", &named[..], true),
        ("", &["secret"], false),
        ("", &[], false),
        (by_extension, &named, false),
        (by_extension, &["secret", "hooks", "guard-client-config", "keys"], true),
    ] {
        let place = Place::with(&format!("{POLICY}{FORBIDS}{told}{more}"), |settings| {
            settings.accept = accept.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        });
        let call = palisade_runner::Call { script: b"id -u".to_vec(), ..palisade_runner::Call::default() };
        let outcome = place.pipeline.submit(call).await.expect("an outcome");
        let ran = matches!(outcome, palisade_runner::Outcome::Ran(_));
        assert_eq!(ran, held && sandbox::probe().mounts, "{more} {accept:?}: {outcome:?}");
    }
}

/// More than can be searched: whoever was told that the kernel holds it gets no session, others do.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_does_not_end_is_told() {
    if !sandbox::probe().mounts {
        return;
    }
    for accept in [&["secret", "hooks", "guard-client-config"][..], &[]] {
        let place = Place::with(&format!("{POLICY}{FORBIDS}"), |settings| {
            settings.accept = accept.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        });
        let workspace = place.root.path().join("work");
        for number in 0..=sandbox::MAX_NAMED {
            std::fs::write(workspace.join(format!("{number}.pem")), "").expect("a file");
        }
        let opened = place.pipeline.open_session(None, &palisade_runner::Client::default()).await;
        match (accept.is_empty(), opened) {
            (true, Ok(opened)) => {
                let held = opened.sandbox.expect("a sandbox");
                assert!(!held.searched && held.masks == sandbox::MAX_NAMED);
                let record = place.record();
                let begun = record.iter().find(|entry| entry["kind"] == "open").expect("it is on record");
                assert_eq!(begun["sandbox"]["degraded"], serde_json::json!(["names-not-searched"]), "{begun}");
            }
            (false, Err(failure)) => assert!(failure.what.as_str().contains("too many"), "{failure:?}"),
            other => panic!("{other:?}"),
        }
    }
}

/// A root that a policy names is covered whatever it is called; one that is not there keeps the session from starting.
#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_place_below_a_permitted_one_is_covered_or_there_is_no_session() {
    if !sandbox::probe().mounts {
        return;
    }
    let vault = r#"@id("vault") @reason("r") forbid(principal, action in Action::"fileAccess", resource in PathGroup::"vault");"#;
    for exists in [true, false] {
        let place = Place::with(POLICY, |settings| {
            let bundle = palisade_engine::Bundle::load(vec![palisade_engine::Source {
                name: "test.cedar".to_owned(),
                text: format!("{POLICY}{vault}"),
            }]);
            let (file, text) = palisade_policies::GROUPS;
            let home = &settings.surroundings.home;
            let mut groups = palisade_engine::Vocabulary::parse(file, text, home).expect("the shipped groups");
            let inner = settings.surroundings.workspace.child("vault").expect("a name");
            groups.add("vault", inner.as_str(), home).expect("a pattern");
            settings.engine =
                palisade_runner::Policies::new(palisade_engine::Engine::new(bundle.expect("it loads"), groups));
        });
        let workspace = place.root.path().join("work");
        if exists {
            std::fs::create_dir(workspace.join("vault")).expect("a directory");
            std::fs::write(workspace.join("vault/gold"), "TOP").expect("a file");
        }
        let opened = place.pipeline.open_session(None, &palisade_runner::Client::default()).await;
        match (exists, opened) {
            (true, Ok(opened)) => assert_eq!(opened.sandbox.expect("a sandbox").masks, 1),
            (false, Err(failure)) => assert!(failure.what.as_str().contains("policy forbids"), "{failure:?}"),
            other => panic!("{other:?}"),
        }
    }
}
