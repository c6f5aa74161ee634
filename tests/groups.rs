//! Control groups: the kernel itself refuses what is too much for a session, and of its group nothing stays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::people::call;
use crate::support::services::skip;
use crate::support::until;
use crate::support::world::World;

const TWENTY: &str = "[sandbox.limits]\nprocesses = 20\n";

/// Where control groups of version 2 are mounted, if root can make some there that bound processes. A machine may mount both versions, and
/// keep a controller in the first as long as that is mounted: where nobody has made a group with it, it is set free.
fn groups() -> Option<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        return skip("root", "only root has a control group to make others in, without systemd");
    }
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let mounted = |kind: &str, option: &str| {
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let fits = |fields: &Vec<&str>| fields[2] == kind && fields[3].split(',').any(|one| one == option);
        mounts.find(fits).map(|fields| PathBuf::from(fields[1]))
    };
    let place = mounted("cgroup2", "rw")?;
    if let Some(first) = mounted("cgroup", "pids") {
        let all = fs::read_to_string("/proc/cgroups").expect("controllers");
        let rows = all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let unused = rows.into_iter().any(|row| row.len() > 2 && row[0] == "pids" && row[2] == "1");
        if unused {
            let _busy = Command::new("umount").arg(first).status();
        }
    }
    let has = |place: &Path| fs::read_to_string(place.join("cgroup.controllers")).is_ok_and(|all| all.contains("pids"));
    if has(&place) { Some(place) } else { skip("cgroup", "no controller `pids` in version 2") }
}

/// The groups of one server's sessions.
fn of(place: &Path, server: u32) -> Vec<String> {
    let entries = fs::read_dir(place).expect("groups").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&format!("palisade-{server}-"))).collect()
}

#[test]
fn the_kernel_bounds_a_session_in_a_group_of_its_own() {
    let Some(place) = groups() else { return };
    let world = World::new();
    let settings = world.write("s.toml", TWENTY).display().to_string();
    let found = world.call(&["doctor", "--json"]).json();
    if Path::new("/run/systemd/system").exists() && found["groups"] == json!([]) {
        let _systemds: Option<()> = skip("cgroup", "the groups are systemd's");
        return;
    }
    assert!(found["groups"].as_array().is_some_and(|groups| groups.contains(&json!("pids"))), "{found}");

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
    assert_eq!(fs::read_to_string(place.join(&own[0]).join("pids.max")).expect("a limit").trim(), "21");
    let inside = exec(&mut server, "cat /proc/self/cgroup");
    assert!(inside["stdout"].as_str().is_some_and(|text| text.contains(&own[0])), "{inside}");

    let many = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do sleep 600 & done; wait";
    let ended = exec(&mut server, many);
    assert_eq!((&ended["status"], &ended["limit"]), (&json!("limited"), &json!("processes")), "{ended}");
    assert_eq!(exec(&mut server, "echo still here")["stdout"], "still here\n");

    // Killed, a server leaves a group behind that nothing is in; the next one removes it.
    server.child.kill().expect("killed");
    let _status = server.child.wait();
    let inside = || fs::read_to_string(place.join(&own[0]).join("cgroup.procs")).unwrap_or_default();
    until("nothing lives", || if inside().trim().is_empty() { Ok(()) } else { Err(inside()) });
    assert_eq!(world.run("true").code, Some(0));
    until("the group is gone", || if of(&place, pid).is_empty() { Ok(()) } else { Err(of(&place, pid)) });
}
