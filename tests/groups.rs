//! Control groups: the kernel itself refuses what is too much for a session, and of its group nothing stays.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::people::call;
use crate::support::services::lacks;
use crate::support::until;
use crate::support::world::World;

const TWENTY: &str = "[sandbox.limits]\nprocesses = 20\n";

/// The group of this process, where a server that it starts can make control groups that bound processes, as `doctor` finds: in
/// that one, or beside it.
fn groups(world: &World) -> Option<PathBuf> {
    let found = world.call(&["doctor", "--json"]).json();
    if !found["groups"].as_array().is_some_and(|groups| groups.contains(&json!("pids"))) {
        let why = found["groups_refused"].as_str().expect("a reason").to_owned();
        assert!(!why.is_empty(), "{found}");
        return lacks("cgroup", &why);
    }
    let read = |path: &str| fs::read_to_string(path).expect("the kernel's word");
    let (own, mounts) = (read("/proc/self/cgroup"), read("/proc/self/mounts"));
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).expect("a group").to_owned();
    let mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|fields| fields[2] == "cgroup2");
    Some(Path::new(mount.expect("a mount")[1]).join(own))
}

/// The groups of one server's sessions.
fn of(place: &Path, server: u32) -> Vec<PathBuf> {
    let places = [Some(place), place.parent()].into_iter().flatten();
    let entries = places.flat_map(|place| fs::read_dir(place).expect("groups").flatten());
    let is_its = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&format!("palisade-{server}-"));
    entries.filter(is_its).map(|entry| entry.path()).collect()
}

#[test]
fn the_kernel_bounds_a_session_in_a_group_of_its_own() {
    let world = World::new();
    let Some(place) = groups(&world) else { return };
    let settings = world.write("s.toml", TWENTY).display().to_string();

    let mut server = Server::start_with(&world, &["--config", &settings]);
    let pid = server.child.id();
    let opened = call(&mut server, "session_open", &json!({}));
    let held = opened["sandbox"]["limits_held_by"]["processes"].clone();
    assert_eq!(held, "kernel+server", "{opened}");
    let exec = |server: &mut Server, command: &str| -> Value {
        call(server, "exec", &json!({ "command": command, "session": opened["session"] }))
    };
    let own = of(&place, pid);
    assert_eq!(own.len(), 1, "{own:?}");
    assert_eq!(fs::read_to_string(own[0].join("pids.max")).expect("a limit").trim(), "21");
    let inside = || fs::read_to_string(own[0].join("cgroup.procs")).unwrap_or_default();
    assert!(!inside().trim().is_empty(), "the shell is not in its group");

    let many = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do sleep 600 & done; wait";
    let ended = exec(&mut server, many);
    assert_eq!((&ended["status"], &ended["limit"]), (&json!("limited"), &json!("processes")), "{ended}");
    assert_eq!(exec(&mut server, "echo still here")["stdout"], "still here\n");

    // Killed, a server leaves a group behind that nothing is in; the next one removes it.
    server.child.kill().expect("killed");
    let _status = server.child.wait();
    until("nothing lives", || if inside().trim().is_empty() { Ok(()) } else { Err(inside()) });
    assert_eq!(world.run("true").code, Some(0));
    until(
        "the group is gone",
        || if of(&place, pid).is_empty() { Ok(()) } else { Err(format!("{:?}", of(&place, pid))) },
    );
}
