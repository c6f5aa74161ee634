//! Many sessions, jobs and bytes at one host at once, whose server has limits.

use serde_json::{Value, json};

use crate::support::services::Sshd;
use crate::support::site::{Site, runs, ssh_target, until, with_key};

/// Sessions that are opened at the same time: more than the server lets be on their way to be logged in.
const SESSIONS: u64 = 24;

/// Calls that are under way together, and their answers in the order of the calls.
fn together(site: &mut Site, calls: Vec<(&str, Value)>) -> Vec<Value> {
    const FIRST: u64 = 1_000_000;
    let mut answers = vec![Value::Null; calls.len()];
    for (id, (tool, arguments)) in (FIRST..).zip(&calls) {
        site.server.call(id, tool, arguments);
    }
    while answers.iter().any(Value::is_null) {
        let answer = site.server.receive();
        let place = answer["id"].as_u64().and_then(|id| id.checked_sub(FIRST)).and_then(|at| usize::try_from(at).ok());
        if let Some(slot) = place.and_then(|place| answers.get_mut(place)) {
            *slot = answer["result"].clone();
        }
    }
    answers
}

#[test]
fn a_hosts_limits_are_kept_to() {
    let Some(sshd) = Sshd::up(&["limits"]) else { return };
    let mut site = Site::new(&ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519")));
    // Of those that come at once some would be hung up on.
    let opened = together(&mut site, (0..SESSIONS).map(|_| ("session_open", json!({ "target": "web" }))).collect());
    let names: Vec<&str> = opened
        .iter()
        .map(|opened| opened["structuredContent"]["session"].as_str().unwrap_or_else(|| panic!("{opened}")))
        .collect();
    let said =
        (0..).zip(&names).map(|(number, session)| json!({ "session": session, "command": format!("echo {number}") }));
    let said = together(&mut site, said.map(|arguments| ("exec", arguments)).collect());
    for (number, said) in said.iter().enumerate() {
        assert_eq!(said["structuredContent"]["stdout"], format!("{number}\n"), "{said}");
    }
    let (first, rest) = names.split_first().expect("a session");
    together(&mut site, rest.iter().map(|session| ("session_close", json!({ "session": session }))).collect());
    // A session with its jobs takes more programs than one login may run: 2 and 7 are 3 logins of 3.
    let job =
        |number: usize| json!({ "session": first, "command": format!("sleep {}; cat", 670 + number), "yield_ms": 0 });
    let begun = together(&mut site, (0..7).map(|number| ("exec", job(number))).collect());
    for begun in &begun {
        assert_eq!(begun["structuredContent"]["status"], "running", "{begun}");
    }
    until("they began", || (670..677).all(|number| runs(&number.to_string())));
    let (_, text) = site.call("exec", &job(7));
    let one_more = text.split_whitespace().find(|word| word.starts_with("j-")).map(str::to_owned);
    let text = one_more.map_or(text, |job| site.read_to_end(&job).1);
    assert!(text.contains("3 logins are full") && text.contains("MaxSessions"), "{text}");
    // What ends makes room.
    let ended = begun_job(&begun[3]);
    site.call("job_signal", &json!({ "job": ended, "signal": "KILL" }));
    until("it went on", || !runs("673"));
    site.read_to_end(&ended);
    let (begun, text) = site.call("exec", &job(8));
    assert_eq!(begun["status"], "running", "{text}");
    until("it did not begin", || runs("678"));
    assert_eq!(site.exec(first, "echo on")["stdout"], "on\n");
    site.call("session_close", &json!({ "session": first }));
    until("something was left", || !(670..679).any(|number| runs(&number.to_string())));
}

fn begun_job(begun: &Value) -> String {
    begun["structuredContent"]["job"].as_str().expect("a job").to_owned()
}

/// Where one login is full the next one leads to the very same host: one of another key, be it known, is another.
#[test]
fn a_further_login_is_at_the_same_host() {
    let Some(sshd) = Sshd::up(&["limits"]) else { return };
    let dir = sshd.variable("PALISADE_SSH_DIR");
    let file = format!("{dir}/known_hosts");
    let mut site = Site::new(&ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519")));
    let session = site.open("web");
    // The login is full once this one has begun: it is said to run before that.
    let first = json!({ "session": session, "command": "sleep 690", "yield_ms": 0 });
    assert_eq!(site.call("exec", &first).0["status"], "running");
    until("it did not begin", || runs("690"));
    let job = json!({ "session": session, "command": "cat", "yield_ms": 0 });
    let known = std::fs::read_to_string(&file).expect("the known hosts");
    let (shown, others): (Vec<&str>, Vec<&str>) = known.lines().partition(|line| line.contains("ed25519"));
    assert!(!shown.is_empty() && !others.is_empty(), "{known}");
    for (lines, words) in [(others.join("\n") + "\n", "is not the host any more"), (String::new(), "is not known")] {
        std::fs::write(&file, lines).expect("written");
        let (_, text) = site.call("exec", &job);
        let begun = text.split_whitespace().find(|word| word.starts_with("j-")).map(str::to_owned);
        let text = begun.map_or(text, |job| site.read_to_end(&job).1);
        assert!(text.contains(words), "{text}");
    }
    std::fs::write(&file, known).expect("written");
    let (begun, text) = site.call("exec", &job);
    assert_eq!(begun["status"], "running", "{text}");
    site.call("job_write", &json!({ "job": begun["job"], "input": "typed\n", "eof": true }));
    let (ended, text) = site.read_to_end(begun["job"].as_str().expect("a job"));
    assert_eq!(ended["stdout"], "typed\n", "{text}");
}

/// What nobody reads, in a job over the same connection, is in nobody's way and is not kept.
#[test]
fn a_flood_that_nobody_reads_stalls_nobody() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    for tty in [false, true] {
        let mut site = Site::new(&ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519")));
        let (session, other) = (site.open("web"), site.open("web"));
        // What is made once, such as the redactor's caches, is there by then.
        site.exec(&session, "seq 1 300000");
        let before = resident(&site);
        let mut most = before;
        let command = "yes 'a line that nobody reads' | head -c 30000000; cat";
        let job = site.call("exec", &json!({ "session": session, "command": command, "tty": tty, "yield_ms": 0 })).0;
        let job = job["job"].as_str().expect("a job").to_owned();
        // Whoever is behind the flood is not answered before the deadline. How long an answer takes says the bench.
        for number in 0..10 {
            for session in [&session, &other] {
                let said = site.exec_for(session, &format!("echo {number}"), 10_000);
                assert_eq!(said["stdout"], format!("{number}\n"), "{said}");
                most = most.max(resident(&site));
            }
        }
        site.call("job_write", &json!({ "job": job, "input": "", "eof": true }));
        let (ended, text) = site.read_to_end(&job);
        assert_eq!(ended["exit_code"], 0, "{}", text.lines().next().unwrap_or_default());
        assert!(ended["omitted"]["stdout"]["bytes"].as_u64().unwrap_or_default() > 29_000_000, "{}", ended["omitted"]);
        let grown = most.max(resident(&site)) - before;
        // Half of what came. How little it is says the bench: what the allocator holds on to is now more and now less.
        assert!(grown < 15 << 10, "the server grew by {grown} KiB");
    }
}

/// The server's own memory, in KiB (proc(5), RssAnon): without its program's pages, which come as they are used.
fn resident(site: &Site) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", site.server.child.id())).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
