//! What policy forbids below a permit is held by the kernel: for what is there when a session starts, and whatever runs in it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use palisade_runner::{Call, Outcome};
use palisade_sandbox as sandbox;
use palisade_sandbox::plan::Level;

use crate::place::{POLICY, Place};

const FORBIDS: &str = r#"
@id("secret") @reason("r") forbid(principal, action in [Action::"fileAccess", Action::"execute"], resource in PathGroup::"secrets");
@id("hooks") @reason("r") forbid(principal, action in Action::"fileChange", resource in PathGroup::"runs-later");
"#;

/// Python, and what it says: a program whose text nobody reads, with `.env`, `deep/key.pem` and `.git/hooks` in the workspace.
const ATTEMPTS: &[(&str, &str)] = &[
    // A file of variables is read as an empty one.
    ("repr(open('.env').read())", "''"),
    ("open('.env', 'w')", "OSError"),
    ("open('.env', 'a')", "PermissionError"),
    ("os.truncate('.env', 3)", "PermissionError"),
    ("open('deep/key.pem').read()", "PermissionError"),
    ("os.chmod('.env', 0o600)", "OSError"),
    ("os.remove('.env')", "OSError"),
    ("os.rename('.env', 'e')", "OSError"),
    ("os.link('.env', 'e')", "OSError"),
    ("open('.git/hooks/pre-commit').read()", "hook"),
    ("open('.git/hooks/pre-commit', 'w')", "PermissionError"),
    ("open('.git/hooks/new', 'w')", "PermissionError"),
    ("os.rename('.git/hooks', '.git/h')", "PermissionError"),
    ("open('free.txt', 'w').write('x')", "1"),
    ("open('free.txt').read()", "x"),
];

fn fill(workspace: &Path) {
    for directory in ["deep", ".git/hooks"] {
        std::fs::create_dir_all(workspace.join(directory)).expect("a directory");
    }
    // git does not take the file, so that it may be shown empty.
    let ignored = (".gitignore", ".env\n");
    for (name, text) in [(".env", "TOP"), ("deep/key.pem", "TOP"), (".git/hooks/pre-commit", "hook"), ignored] {
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
    let look = "for d in ('sub', 'zub'):\n try: print(open(d + '/.env').read() or 'empty')\n except OSError as e: print(e.errno)\n";
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
    assert_eq!(place.alone("/usr/bin/python3 look.py").await.stdout.as_str(), "empty\n2\n");
}

/// A place that a policy names by its path is held as one of a group is.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_a_policy_names_is_held() {
    if !sandbox::probe().mounts {
        return;
    }
    let private = r#"@id("private") @reason("r") forbid(principal, action in [Action::"fileAccess", Action::"execute"], resource in Path::"/WORK/private");"#;
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

/// Masks hold the rules by name: policies are told that the kernel holds all, unless a rule goes by something else and the settings do
/// not accept that.
#[tokio::test(flavor = "multi_thread")]
async fn path_rules_count_as_held_unless_one_goes_by_more_than_names() {
    let told = r#"@id("told") @reason("r") forbid(principal, action == Action::"exec", resource in Program::"id")
        unless { context.session.pathsHeld };"#;
    let by_extension = r#"@id("keys") @reason("r") forbid(principal, action == Action::"read", resource)
        when { resource.extension == "key" };"#;
    for (more, accept, held) in [
        ("", &[][..], true),
        (by_extension, &[], false),
        (by_extension, &["secret"], false),
        (by_extension, &["keys"], true),
    ] {
        let place = Place::with(&format!("{POLICY}{FORBIDS}{told}{more}"), |settings| {
            settings.accept = accept.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        });
        let call = Call { script: b"id -u".to_vec(), ..Call::default() };
        let outcome = place.pipeline.submit(call).await.expect("an outcome");
        let ran = matches!(outcome, Outcome::Ran(_));
        assert_eq!(ran, held && sandbox::probe().mounts, "{more} {accept:?}: {outcome:?}");
    }
}

/// More than can be masked directly in the workspace, which cannot be hidden: there is no session where policies were told that the kernel
/// holds the names, or the level is `strict`. Elsewhere what has its whole name in a pattern is covered first.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_is_not_complete_is_told() {
    if !sandbox::probe().mounts {
        return;
    }
    let by_extension = r#"@id("keys") @reason("r") forbid(principal, action == Action::"read", resource)
        when { resource.extension == "key" };"#;
    for (more, level, opens) in
        [("", Level::Default, false), (by_extension, Level::Strict, false), (by_extension, Level::Default, true)]
    {
        let place = Place::with(&format!("{POLICY}{FORBIDS}{more}"), |settings| settings.level = level);
        let workspace = place.root.path().join("work");
        fill(&workspace);
        for number in 0..=sandbox::MAX_NAMED {
            std::fs::write(workspace.join(format!("{number}.pem")), "").expect("a file");
        }
        let opened = place.pipeline.sessions().open(None, &palisade_runner::Client::default()).await;
        match (opens, opened) {
            (true, Ok(opened)) => {
                let held = opened.sandbox.expect("a sandbox");
                assert!(!held.searched && held.masks >= sandbox::MAX_NAMED);
                let record = place.record();
                let begun = record.iter().find(|entry| entry["kind"] == "open").expect("it is on record");
                assert_eq!(begun["sandbox"]["degraded"], serde_json::json!(["names-not-searched"]), "{begun}");
                std::fs::write(workspace.join("try.py"), attempts()).expect("a program");
                let result = place.alone("/usr/bin/python3 try.py").await;
                assert!(result.stdout.as_str().starts_with("''\n") && !result.stdout.as_str().contains("TOP"));
            }
            (false, Err(failure)) => assert!(failure.what.as_str().contains("too many"), "{failure:?}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Whatever an agent fills the workspace with, the next session's masks stand.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_names_or_files_switches_no_mask_off() {
    if !sandbox::probe().mounts {
        return;
    }
    type Happens = fn(&Path);
    let rows: [(&str, Happens); 4] = [
        ("names in the workspace", |work| (0..300).for_each(|number| touch(&work.join(format!("{number}.pem"))))),
        ("names in one directory", |work| {
            std::fs::create_dir(work.join("flood")).expect("a directory");
            (0..3_000).for_each(|number| touch(&work.join(format!("flood/{number}.pem"))));
        }),
        ("names in many directories", |work| {
            for number in 0..2_500 {
                std::fs::create_dir_all(work.join(format!("a/{number}/b"))).expect("a directory");
                touch(&work.join(format!("a/{number}/b/x.pem")));
            }
        }),
        ("files", |work| (0..21_000).for_each(|number| touch(&work.join(format!("{number}"))))),
    ];
    for (what, flood) in rows {
        let place = Place::with(&format!("{POLICY}{FORBIDS}"), |_| {});
        let workspace = place.root.path().join("work");
        flood(&workspace);
        fill(&workspace);
        std::fs::write(workspace.join("try.py"), attempts()).expect("a program");
        let result = place.alone("/usr/bin/python3 try.py").await;
        let said: Vec<&str> = result.stdout.as_str().lines().collect();
        let expected: Vec<&str> = ATTEMPTS.iter().map(|(_, said)| *said).collect();
        assert_eq!(said, expected, "{what}: {result:?}");
    }
}

fn touch(file: &Path) {
    std::fs::write(file, "").expect("a file");
}

/// Python that a session runs, and what it says, where a repository lies in the workspace: without hooks, with a second name of a secret
/// file, and with a certificate that is nobody's secret.
const MORE: &[(&str, &str)] = &[
    // What holds a masked path keeps its name.
    ("os.rename('.git', 'git2')", "OSError 16"),
    ("os.rename('.vscode', 'v')", "OSError 16"),
    ("os.rename('sub/repo', 'sub/r')", "OSError 16"),
    ("os.rename('sub', 's')", "OSError 16"),
    ("os.rmdir('.git/hooks')", "OSError 16"),
    ("open('.git/hooks/pre-commit', 'w')", "OSError 13"),
    ("open('.vscode/tasks.json', 'w')", "OSError 30"),
    ("os.rename('sub/repo/.git/config', 'sub/repo/.git/x')", "OSError 16"),
    ("open('sub/wt/.git', 'w')", "OSError 30"),
    // What does not is free.
    ("open('.git/index', 'w').write('x')", "1"),
    ("os.rename('.git/index', '.git/index2')", "None"),
    ("os.rename('packages', 'p')", "None"),
    ("open('p/one/.vscode/settings.json').read()", "{}"),
    // An older hard link to a masked file.
    ("open('second').read()", "OSError 13"),
    ("open('hook-link', 'w')", "OSError 30"),
    ("open('ca.pem').read()[5:22]", "BEGIN CERTIFICATE"),
    ("open('server.pem').read()", "OSError 13"),
];

#[tokio::test(flavor = "multi_thread")]
async fn parents_of_masks_other_links_and_certificates() {
    if !sandbox::probe().mounts {
        return;
    }
    let place = Place::with(&format!("{POLICY}{FORBIDS}"), |_| {});
    let workspace = place.root.path().join("work");
    let certificate = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n";
    let key = "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n";
    for directory in [".git", ".vscode", "sub/repo/.git/hooks", "sub/wt", "packages/one/.vscode"] {
        std::fs::create_dir_all(workspace.join(directory)).expect("a directory");
    }
    for (name, text) in [
        (".env", "TOP"),
        (".vscode/tasks.json", "{}"),
        ("sub/repo/.git/config", "[core]\n"),
        ("sub/repo/.git/hooks/pre-commit", "hook"),
        ("sub/wt/.git", "gitdir: ../repo/.git\n"),
        ("packages/one/.vscode/settings.json", "{}"),
        ("ca.pem", certificate),
        ("server.pem", &format!("{certificate}{key}")),
    ] {
        std::fs::write(workspace.join(name), text).expect("a file");
    }
    std::fs::hard_link(workspace.join(".env"), workspace.join("second")).expect("a link");
    std::fs::hard_link(workspace.join("sub/repo/.git/hooks/pre-commit"), workspace.join("hook-link")).expect("a link");
    let tries =
        MORE.iter().map(|(code, _)| format!("try: print({code})\nexcept OSError as e: print('OSError', e.errno)\n"));
    std::fs::write(workspace.join("try.py"), format!("import os\n{}", tries.collect::<String>())).expect("a program");
    let result = place.alone("/usr/bin/python3 try.py").await;
    let said: Vec<&str> = result.stdout.as_str().lines().collect();
    let expected: Vec<&str> = MORE.iter().map(|(_, said)| *said).collect();
    assert_eq!(said, expected, "{result:?}");
    assert!(workspace.join(".git/hooks").is_dir());
}

/// A root that a policy names is covered whatever it is called; one that is not there keeps the session from starting.
#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_place_below_a_permitted_one_is_covered_or_there_is_no_session() {
    if !sandbox::probe().mounts {
        return;
    }
    let vault = r#"@id("vault") @reason("r") forbid(principal, action in [Action::"fileAccess", Action::"execute"], resource in PathGroup::"vault");"#;
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
        let opened = place.pipeline.sessions().open(None, &palisade_runner::Client::default()).await;
        match (exists, opened) {
            (true, Ok(opened)) => assert_eq!(opened.sandbox.expect("a sandbox").masks, 1),
            (false, Err(failure)) => assert!(failure.what.as_str().contains("policy forbids"), "{failure:?}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Waits for a file `done`, then until each of these is covered, and tells how each is in the end.
const WATCHER: &str = r#"
import os, time
def state(name):
    try: return open(name).read() or 'empty'
    except OSError as e: return e.errno
print(state('.env'))
open('ready', 'w')
end = time.monotonic() + 30
names = ('.env', 'x.pem', 'new/deep/.env')
while time.monotonic() < end and not os.path.exists('done'): time.sleep(0.005)
while time.monotonic() < end and any(state(n) not in (13, 'empty') for n in names): time.sleep(0.005)
print([state(n) for n in names])
"#;

/// What an editor saves by putting another file in its place, and what is made from outside later, is covered in a session that runs.
#[tokio::test(flavor = "multi_thread")]
async fn masks_stay_on_while_a_command_runs() {
    if !sandbox::probe().mounts {
        return;
    }
    let place = Place::with(&format!("{POLICY}{FORBIDS}"), |_| {});
    let workspace = place.root.path().join("work");
    fill(&workspace);
    std::fs::write(workspace.join("watch.py"), WATCHER).expect("a program");
    let shell = place.open().await;
    let work = workspace.clone();
    let outside = std::thread::spawn(move || {
        while !work.join("ready").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::fs::write(work.join(".env.new"), "TOP").expect("a file");
        std::fs::rename(work.join(".env.new"), work.join(".env")).expect("moved");
        std::fs::write(work.join("x.pem"), "TOP").expect("a file");
        std::fs::create_dir_all(work.join("new/deep")).expect("a directory");
        std::fs::write(work.join("new/deep/.env"), "TOP").expect("a file");
        touch(&work.join("done"));
    });
    assert_eq!(shell.says("/usr/bin/python3 watch.py").await, "empty\n['empty', 13, 'empty']\n");
    outside.join().expect("it did");
}

/// At the next command in any case, however soon that comes.
#[tokio::test(flavor = "multi_thread")]
async fn masks_stand_again_before_the_next_command() {
    if !sandbox::probe().mounts {
        return;
    }
    let place = Place::with(&format!("{POLICY}{FORBIDS}"), |_| {});
    let workspace = place.root.path().join("work");
    fill(&workspace);
    let look = "import sys\nfor n in sys.argv[1:]:\n try: print(open(n).read() or 'empty')\n except OSError as e: print(e.errno)\n";
    std::fs::write(workspace.join("look.py"), look).expect("a program");
    let shell = place.open().await;
    assert_eq!(shell.says("/usr/bin/python3 look.py .env").await, "empty\n");
    for round in 0..5 {
        std::fs::write(workspace.join("saved"), "TOP").expect("a file");
        std::fs::rename(workspace.join("saved"), workspace.join(".env")).expect("moved");
        let later = format!("later{round}/sub");
        std::fs::create_dir_all(workspace.join(&later)).expect("a directory");
        std::fs::write(workspace.join(&later).join("id_rsa"), "TOP").expect("a file");
        let said = shell.says(&format!("/usr/bin/python3 look.py .env {later}/id_rsa")).await;
        assert_eq!(said, "empty\n13\n", "{round}");
    }
}

/// What a session's own programs make under such a name is theirs: in the same command, in the next one, and after a rename.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_name_that_a_session_makes_is_its_own() {
    if !sandbox::probe().mounts {
        return;
    }
    let place = Place::with(&format!("{POLICY}{FORBIDS}"), |_| {});
    let workspace = place.root.path().join("work");
    let make = "import os, time\nos.mkdir('d')\nfor n in ('own.pem', 'd/in.pem', 'tmp'): open(n, 'w').write('own')\n\
                os.rename('tmp', 'moved.pem'); os.rename('d', 'e')\ntime.sleep(0.3)\n\
                print([open(n).read() for n in ('own.pem', 'e/in.pem', 'moved.pem')])\n";
    let again = "print([open(n).read() for n in ('own.pem', 'e/in.pem', 'moved.pem')])\n";
    std::fs::write(workspace.join("make.py"), make).expect("a program");
    std::fs::write(workspace.join("again.py"), again).expect("a program");
    let shell = place.open().await;
    let expected = "['own', 'own', 'own']\n";
    assert_eq!(shell.says("/usr/bin/python3 make.py").await, expected);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(shell.says("/usr/bin/python3 again.py").await, expected);
}

/// Announces names by calls that fail, moves one directory, and waits as [`WATCHER`] does.
const ANNOUNCER: &str = r#"
import os, time
work = os.getcwd()
def fails(call, *names):
    try: call(*names)
    except OSError: return
    raise SystemExit('%s went well' % (names,))
def state(name):
    try: return open(name).read() or 'empty'
    except OSError as e: return e.errno
os.mkdir('/tmp/other'); os.mkdir('old'); os.rename('old', 'moved')
end = time.monotonic() + 30
names = ('late.pem', 'made/.env', 'moved/.env')
def announce():
    fails(os.rename, 'nowhere', work); fails(os.link, 'nowhere', 'late.pem'); fails(os.rename, '/tmp/other', 'made')
announce()
open('ready', 'w')
while time.monotonic() < end and not os.path.exists('done'):
    if not os.path.exists('made'): announce()
while time.monotonic() < end and any(state(n) not in (13, 'empty') for n in names): time.sleep(0.005)
print([state(n) for n in names])
"#;

/// A call that fails gives nothing a name: what a person makes there meanwhile is not the session's own. Nor is what comes into a
/// directory after the session has renamed it.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_only_announced_is_nobodys_own() {
    if !sandbox::probe().mounts {
        return;
    }
    let place = Place::with(&format!("{POLICY}{FORBIDS}"), |_| {});
    let workspace = place.root.path().join("work");
    std::fs::write(workspace.join("announce.py"), ANNOUNCER).expect("a program");
    let shell = place.open().await;
    let work = workspace.clone();
    let outside = std::thread::spawn(move || {
        while !work.join("ready").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Kernel times of birth go by ticks of up to 10 ms.
        std::thread::sleep(Duration::from_millis(50));
        std::fs::write(work.join("moved/.env"), "TOP").expect("a file");
        std::fs::write(work.join("late.pem"), "TOP").expect("a file");
        std::fs::create_dir(work.join("made")).expect("a directory");
        std::fs::write(work.join("made/.env"), "TOP").expect("a file");
        touch(&work.join("done"));
    });
    assert_eq!(shell.says("/usr/bin/python3 announce.py").await, "[13, 'empty', 'empty']\n");
    outside.join().expect("it did");
}

/// A directory that is made and filled is looked through while the kernel tells of the same files: what is seen twice is still the
/// session's own, and what comes from outside in its place is not.
#[tokio::test(flavor = "multi_thread")]
async fn an_own_file_that_is_seen_twice_is_not_covered() {
    if !sandbox::probe().mounts {
        return;
    }
    let place = Place::with(&format!("{POLICY}{FORBIDS}"), |_| {});
    let workspace = place.root.path().join("work");
    let make = "import os, time\ntime.sleep(0.1)\nfor n in range(40):\n os.makedirs(f'd{n}/e')\n \
                for r in range(3):\n  open(f'd{n}/e/lock', 'w').write('own'); os.rename(f'd{n}/e/lock', f'd{n}/e/x.pem')\n\
                time.sleep(0.2)\nprint({open(f'd{n}/e/x.pem', 'r+').read() for n in range(40)})\n\
                for n in range(40): os.rename(f'd{n}/e/x.pem', f'd{n}/e/y.pem')\n";
    std::fs::write(workspace.join("make.py"), make).expect("a program");
    let shell = place.open().await;
    assert_eq!(shell.says("/usr/bin/python3 make.py").await, "{'own'}\n");
    // The rename that the session has announced is seen by then.
    std::thread::sleep(Duration::from_millis(200));
    std::fs::write(workspace.join("saved"), "TOP").expect("a file");
    std::fs::rename(workspace.join("saved"), workspace.join("d7/e/y.pem")).expect("moved");
    std::fs::write(
        workspace.join("look.py"),
        "try: print(open('d7/e/y.pem').read())\nexcept OSError as e: print(e.errno)\n",
    )
    .expect("a program");
    assert_eq!(shell.says("/usr/bin/python3 look.py").await, "13\n");
}

/// Python that a session runs where nothing of that was there before, and what it says: 13 where some other program would run it later.
const PLANTS: &[(&str, &str)] = &[
    ("open('.mcp.json', 'w')", "13"),
    ("open('.envrc', 'w')", "13"),
    ("os.mkdir('.claude')", "13"),
    ("os.mkdir('.husky')", "None"),
    ("os.mkdir('.vscode')", "None"),
    ("open('.vscode/tasks.json', 'w')", "13"),
    ("os.rename('x', '.vscode/tasks.json')", "13"),
    ("os.link('x', '.vscode/settings.json')", "13"),
    ("os.symlink('x', '.envrc')", "13"),
    ("os.symlink('.vscode', 'v')", "None"),
    ("open('v/tasks.json', 'w')", "13"),
    ("os.symlink('.envrc', 'dangling')", "None"),
    ("open('dangling', 'w')", "13"),
    ("os.chdir('.vscode')", "None"),
    ("open('launch.json', 'w')", "13"),
    ("os.chdir('..')", "None"),
    ("os.open('mcp.json', os.O_CREAT | os.O_WRONLY, dir_fd=os.open('.vscode', os.O_RDONLY))", "13"),
    ("os.rename('tree', '.opencode')", "13"),
    ("os.rename('tree', 'repo/.vscode')", "13"),
    // A repository of the session's own.
    ("subprocess.run(['/usr/bin/env', 'git', 'init', '-q', 'sub']).returncode", "0"),
    ("open('sub/.git/hooks/pre-commit', 'w')", "13"),
    ("open('sub/.git/hooks/other.sample', 'w').write('x')", "1"),
    ("open('sub/.git/commondir', 'w')", "13"),
    ("os.makedirs('g/hooks')", "None"),
    ("open('g/hooks/pre-commit', 'w').write('x')", "1"),
    ("os.mkdir('new')", "None"),
    ("os.rename('g', 'new/.git')", "13"),
    ("os.symlink('../g', 'new/.git')", "13"),
    ("os.makedirs('new/.git')", "None"),
    ("os.symlink('../../g/hooks', 'new/.git/hooks')", "13"),
    ("os.rename('g/hooks', 'new/.git/hooks')", "13"),
    ("open('.git', 'w').write('gitdir: g')", "13"),
    ("os.rename('g', '.git')", "13"),
    ("os.rename('tree', '.vscode2')", "None"),
    ("open('sub/.git/index', 'w').write('x')", "1"),
    // By the way of what a process has open.
    ("open(f'/proc/{os.getpid()}/cwd/.envrc', 'w')", "13"),
    ("open('/proc/self/cwd/.envrc', 'w')", "13"),
    ("open(f'/proc/self/task/{os.getpid()}/cwd/.envrc', 'w')", "13"),
    ("open(f'/proc/self/../{os.getpid()}/cwd/.envrc', 'w')", "13"),
    ("open(f'/proc/{os.getpid()}/root{os.getcwd()}/.envrc', 'w')", "13"),
    ("open(f'/proc/self/fd/{os.open(\".\", os.O_RDONLY)}/.envrc', 'w')", "13"),
    ("open(f'/dev/fd/{os.open(\".\", os.O_RDONLY)}/.vscode/tasks.json', 'w')", "13"),
    ("os.chdir(f'/proc/{os.getpid()}')", "None"),
    ("os.mkdir(work + '/apart')", "None"),
    ("os.chdir(work)", "None"),
    ("os.symlink(f'/proc/{os.getpid()}/cwd', 'own')", "None"),
    ("open('own/.envrc', 'w')", "40"),
    ("os.symlink('/proc/self/cwd', 'self')", "None"),
    ("open('self/.envrc', 'w')", "2"),
    ("open('/dev/stdout', 'w').write('')", "0"),
    ("open('/dev/fd/1', 'w').write('')", "0"),
    ("subprocess.run(['/bin/bash', '-c', 'tee >(cat >/dev/null) >/dev/null </dev/null']).returncode", "0"),
    // And one that was there.
    ("open('repo/.envrc', 'w')", "13"),
    ("open('repo/.git/hooks/pre-commit', 'w')", "13"),
    ("open('repo/.git/commondir', 'w')", "13"),
    // What packages carry.
    ("os.makedirs('node_modules/p/.vscode')", "None"),
    ("open('node_modules/p/.vscode/settings.json', 'w').write('x')", "1"),
    ("open('x.txt', 'w').write('x')", "1"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_later_cannot_be_planted() {
    let offer = sandbox::probe();
    if !offer.mounts || offer.guards().is_err() {
        return;
    }
    let clients = r#"@id("clients") @reason("r") forbid(principal, action in Action::"fileChange", resource in PathGroup::"client-config");"#;
    let place = Place::with(&format!("{POLICY}{FORBIDS}{clients}"), |_| {});
    let workspace = place.root.path().join("work");
    std::fs::create_dir_all(workspace.join("repo/.git")).expect("a directory");
    std::fs::create_dir(workspace.join("tree")).expect("a directory");
    touch(&workspace.join("x"));
    let tries = PLANTS
        .iter()
        .map(|(code, _)| format!("try: print({code})\nexcept OSError as e: print(e.errno)\n"))
        .collect::<String>();
    std::fs::write(workspace.join("try.py"), format!("import os, subprocess\nwork = os.getcwd()\n{tries}"))
        .expect("a program");
    let result = place.alone("/usr/bin/python3 try.py").await;
    let said: Vec<&str> = result.stdout.as_str().lines().collect();
    let expected: Vec<&str> = PLANTS.iter().map(|(_, said)| *said).collect();
    assert_eq!(said, expected, "{result:?}");
    assert!(result.denied.iter().any(|denied| denied.policy.as_str() == "hooks"), "{:?}", result.denied);
    for name in [".mcp.json", ".envrc", ".claude", ".vscode/tasks.json", "sub/.git/hooks/pre-commit"] {
        assert!(!workspace.join(name).exists(), "{name}");
    }
}

/// After a session that tried everything, a person's commit runs nothing of the agent's.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_outside_runs_nothing_of_the_agents() {
    let offer = sandbox::probe();
    if !offer.mounts || offer.guards().is_err() {
        return;
    }
    let place = Place::with(&format!("{POLICY}{FORBIDS}"), |_| {});
    let workspace = place.root.path().join("work");
    let git = |arguments: &[&str]| {
        let git = std::process::Command::new("git").current_dir(&workspace).args(arguments).output();
        git.expect("git").status.success()
    };
    assert!(git(&["init", "-q", "."]));
    std::fs::remove_dir_all(workspace.join(".git/hooks")).expect("no hooks");
    let attack = r#"
import os, shutil
hook = '#!/bin/sh\ntouch RAN\n'
def attempt(act):
    try: act()
    except OSError as e: pass
def write(name):
    with open(name, 'w') as f: f.write(hook)
    os.chmod(name, 0o755)
def copied_back():
    os.rename('.git', 'old'); shutil.copytree('old', '.git'); write('.git/hooks/pre-commit')
def other_git():
    shutil.copytree('.git', 'g'); os.makedirs('g/hooks', exist_ok=True); write('g/hooks/pre-commit'); os.rename('g', '.git')
def configured():
    with open('.git/config', 'a') as f: f.write('[core]\n hooksPath = h\n')
def replaced():
    shutil.copy('.git/config', '.git/c'); os.rename('.git/c', '.git/config')
def elsewhere():
    os.makedirs('h', exist_ok=True); write('h/pre-commit')
    with open('.git/commondir', 'w') as f: f.write('../h')
for act in (copied_back, other_git, elsewhere, configured, replaced,
            lambda: write('.git/hooks/pre-commit'), lambda: os.rmdir('.git/hooks'),
            lambda: os.symlink('../h', '.git/hooks'), lambda: os.rename('h', '.git/hooks'),
            lambda: shutil.rmtree('.git')):
    attempt(act)
"#;
    std::fs::write(workspace.join("attack.py"), attack).expect("a program");
    let kept = workspace.join(".git/HEAD");
    let head = std::fs::read(&kept).expect("a repository");
    let result = place.alone("/usr/bin/python3 attack.py").await;
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    // The last attempt may have removed what git can do without.
    std::fs::write(&kept, head).expect("written");
    for directory in ["objects", "refs"] {
        std::fs::create_dir_all(workspace.join(".git").join(directory)).expect("a directory");
    }
    std::fs::write(workspace.join("file"), "x").expect("a file");
    assert!(git(&["add", "file"]));
    assert!(git(&["-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "-q", "-m", "m"]));
    assert!(!workspace.join("RAN").exists());
    let config = std::fs::read_to_string(workspace.join(".git/config")).expect("the configuration");
    assert!(!config.contains("hooksPath"), "{config}");
}
