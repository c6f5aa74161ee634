//! What the server watches, and what becomes of a session that nobody can watch.

use std::sync::Arc;
use std::time::Duration;

use super::super::disk::Disks;
use super::super::meter::{Exceeded, Meter, unwatched};
use super::*;

/// Long enough for the busiest machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// As root nothing is closed to the server, which counts on; [`all_of_it_holds_for_an_unprivileged_server`] runs this as another.
#[test]
fn a_directory_that_is_closed_to_the_server_has_passed_its_limit() {
    if geteuid().is_root() {
        return;
    }
    for script in ["chmod 0 $W", "mkdir -p $W/a/b && chmod 0 $W/a"] {
        let place = Place::new();
        let script = format!("{script}; sleep 100").replace("$W", place.path("work"));
        let launch = place.bash(&script, pipe().1);
        let process = Arc::new(spawn(prepare(&place.plan(), launch).unwrap()).unwrap());
        let disks = Disks::of(&place.plan(), Path::new(place.path("work")));
        let limits = Limits { disk: Some(1 << 30), ..Limits::default() };
        let meter = Meter::start(&process, limits, disks).unwrap().unwrap();
        let passed = runtime().block_on(async {
            let mut watch = meter.watch().await;
            tokio::time::timeout(TIMEOUT, watch.exceeded()).await
        });
        assert_eq!(passed.ok(), Some(Exceeded::Disk), "{script}");
        process.kill().unwrap();
        finish(&process);
        let open = |path: &Path| std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700));
        let work = Path::new(place.path("work"));
        open(work).unwrap();
        let _not_there = open(&work.join("a"));
    }
}

/// Nobody has it mapped, so that no watch sees it.
#[test]
fn shared_memory_is_bounded_without_a_watch() {
    each_world(|world| {
        if world != Namespaces::Root {
            return;
        }
        let place = Place::new();
        let limits = Limits { memory: Some(8 << 20), ..place.plan().limits };
        let (output, stdout) = pipe();
        let code =
            "import ctypes; get = ctypes.CDLL(None).shmget; print([get(0, 3 << 20, 0o1600) >= 0 for _ in range(4)])";
        let launch = Launch {
            program: "/usr/bin/python3".into(),
            argv: ["python3", "-c", code].map(OsString::from).into(),
            ..place.bash("", stdout)
        };
        let plan = SandboxPlan { limits, ..place.plan() };
        let process = spawn(prepare_in(world, has_mounts(world), &plan, launch).unwrap()).unwrap();
        assert_eq!(read(output), "[True, True, False, False]\n", "{world:?}");
        finish(&process);
    });
}

/// The kernel may have killed it before the server has looked.
#[test]
fn processor_time_is_counted_once_more_at_the_end() {
    let place = Place::new();
    let spin = "echo begun; read; i=0; while ((i++ < 400000)); do :; done; echo done; sleep 100";
    let (output, stdout) = pipe();
    let (stdin, mut input) = pipe();
    let launch = Launch { stdin, ..place.bash(spin, stdout) };
    let process = Arc::new(spawn(prepare(&place.plan(), launch).unwrap()).unwrap());
    let mut output = File::from(output);
    let mut line = |text: &[u8]| {
        let mut line = vec![0; text.len()];
        std::io::Read::read_exact(&mut output, &mut line).unwrap();
        assert_eq!(line, text);
    };
    line(b"begun\n");
    // Far below what the loop spends, and far above it.
    let [mut strict, mut mild] =
        [Duration::from_millis(50), Duration::from_secs(1000)].map(|cpu| unwatched(&process, cpu));
    assert_eq!(strict.at_the_end(), None);
    std::io::Write::write_all(&mut input, b"go\n").unwrap();
    line(b"done\n");
    assert_eq!(strict.at_the_end(), Some(Exceeded::Cpu));
    assert_eq!(mild.at_the_end(), None);
    process.kill().unwrap();
    finish(&process);
}

#[test]
fn a_session_whose_watch_comes_to_grief_is_ended() {
    let place = Place::new();
    let process = Arc::new(place.start(Namespaces::None, place.bash("sleep 100", pipe().1)).unwrap());
    let watched = super::super::meter::watched(&process, Limits::default());
    let died = std::thread::spawn(move || {
        let _watched = watched;
        panic!("on purpose");
    });
    assert!(died.join().is_err());
    let ended = runtime().block_on(async { tokio::time::timeout(TIMEOUT, process.wait()).await });
    assert!(ended.is_ok());
}
