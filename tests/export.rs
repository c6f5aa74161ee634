//! Copies of the record: a server that is killed goes on where it was, settings that make no sense are refused, and files
//! are what they say.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::certificates::certify;
use crate::support::services::has_program;
use crate::support::world::World;

fn serve(world: &World, settings: &str) -> Child {
    let mut serve = world.palisade();
    serve.args(["serve", "--config", settings]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    serve.spawn().expect("a server")
}

/// All records of this world, by chain and number.
fn on_record(world: &World) -> BTreeSet<(String, u64)> {
    let lines = |file: &std::path::PathBuf| {
        let chain = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file).expect("a record");
        let seqs = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["seq"].as_u64());
        seqs.map(|seq| (chain.clone(), seq.expect("a number"))).collect::<Vec<_>>()
    };
    world.records().iter().flat_map(lines).collect()
}

#[test]
fn a_server_that_is_killed_is_followed_by_one_that_goes_on() {
    let world = World::new();
    for command in ["true", "echo one", "sudo ls"] {
        let _ = world.run(command);
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let settings = world.write("s.toml", &format!("[export.syslog]\nto = 'tcp://{address}'\n")).display().to_string();
    let mut seen = BTreeSet::new();
    for round in 0..2 {
        let mut server = serve(&world, &settings);
        let stream = listener.accept().expect("a connection").0;
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a deadline");
        let mut reader = BufReader::new(stream);
        let mut take = |seen: &mut BTreeSet<(String, u64)>| {
            let mut length = Vec::new();
            reader.read_until(b' ', &mut length).expect("a length");
            let text = String::from_utf8(length).expect("digits");
            let Ok(length) = text.trim_end().parse() else { return false };
            let mut message = vec![0; length];
            reader.read_exact(&mut message).expect("a message");
            let message = String::from_utf8(message).expect("UTF-8");
            let parameter = |name: &str| {
                let (_, rest) = message.split_once(&format!(" {name}=\"")).expect("a parameter");
                rest.split_once('"').expect("its end").0.to_owned()
            };
            seen.insert((parameter("chain"), parameter("seq").parse().expect("a number")));
            true
        };
        if round == 0 {
            for _ in 0..4 {
                assert!(take(&mut seen));
            }
            server.kill().expect("killed");
            let _ = server.wait();
            let _ = world.run("echo meanwhile");
        } else {
            // Its client leaves; what there is to send is sent first.
            drop(server.stdin.take());
            while take(&mut seen) {}
            assert!(server.wait().expect("it ends").success());
        }
    }
    let all = on_record(&world);
    assert!(all.is_subset(&seen), "{:?} are missing", all.difference(&seen).collect::<Vec<_>>());
}

#[test]
fn exports_that_make_no_sense_are_refused_where_they_stand() {
    let world = World::new();
    for (settings, line, said) in [
        ("[export.syslog]\nto = 'tls://h'\n", 2, "tcp://host:port"),
        ("[export.syslog]\n\nto = 'udp://h:1'\nbody = 'cef'\n", 4, "cef"),
        ("[export.syslog]\nbody = 'ocsf'\n", 1, "to"),
        ("[export.otlp]\nendpoint = 'ftp://h/v1/logs'\n", 2, "expected a URL"),
        ("[export.otlp]\nendpoint = 'h'\n", 2, "expected a URL"),
        ("[export]\nkafka = 1\n", 2, "kafka"),
    ] {
        let file = world.write("s.toml", settings).display().to_string();
        let ended = world.call(&["run", "--config", &file, "true"]);
        assert_eq!(ended.code, Some(125), "{settings}: {ended:?}");
        assert!(
            ended.stderr.contains(&format!("s.toml:{line}")) && ended.stderr.contains(said),
            "{settings}: {ended:?}"
        );
    }
}

#[test]
fn a_server_does_not_start_without_what_secures_its_copies() {
    let world = World::new();
    world.write("junk.pem", "no certificate");
    for (settings, said) in [
        ("[export.syslog]\nto = 'tls://h:6514'\n", "`roots` is missing"),
        ("\n[export.otlp]\nendpoint = 'https://h/v1/logs'\n", "`roots` is missing"),
        ("[export.syslog]\nto = 'tcp://h:601'\nroots = 'x.pem'\n", "`roots` has no use without TLS"),
        ("[export.otlp]\nendpoint = 'http://h/v1/logs'\nkey = 'x.key'\n", "`key` has no use without TLS"),
        ("[export.syslog]\nto = 'tls://h:6514'\nroots = 'gone.pem'\n", "gone.pem"),
        ("[export.syslog]\nto = 'tls://h:6514'\nroots = 'junk.pem'\n", "it holds no certificate"),
    ] {
        let file = world.write("s.toml", settings).display().to_string();
        let ended = world.call(&["serve", "--config", &file]);
        assert_eq!(ended.code, Some(1), "{settings}: {ended:?}");
        let line = settings.chars().take_while(|character| *character == '\n').count() + 1;
        let place = format!("s.toml:{line}:");
        assert!(ended.stderr.contains(&place) && ended.stderr.contains(said), "{settings}: {ended:?}");
    }
    // Whoever can change what vouches for a collector reads the record.
    std::os::unix::fs::symlink(world.path("junk.pem"), world.workspace().join("link.pem")).expect("a link");
    for inside in ["r.pem", "link.pem"] {
        let inside = world.workspace().join(inside);
        let settings = format!("[export.syslog]\nto = 'tls://h:6514'\nroots = '{}'\n", inside.display());
        let file = world.write("s.toml", &settings).display().to_string();
        let ended = world.call(&["serve", "--config", &file]);
        assert!(ended.code == Some(1) && ended.stderr.contains("within the agent's reach"), "{ended:?}");
    }
}

/// A collector that speaks TLS, asks for a certificate, and prints what comes.
struct Secured(Child);

impl Drop for Secured {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Secured {
    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        BufReader::new(self.0.stdout.take().expect("its output")).lines().map_while(Result::ok)
    }
}

#[test]
fn copies_go_over_tls_to_a_collector_that_is_vouched_for_and_to_no_other() {
    if has_program("openssl").is_none() || has_program("python3").is_none() {
        return;
    }
    let world = World::new();
    certify(&world, "authority", None, "");
    certify(&world, "others", None, "");
    certify(&world, "collector", Some("authority"), "IP:127.0.0.1");
    certify(&world, "palisade", Some("authority"), "DNS:palisade");
    assert_eq!(world.run("echo one").code, Some(0));
    let path = |name: &str| world.path(name).display().to_string();
    for kind in ["syslog", "otlp"] {
        for (roots, own, expected) in [
            ("others", true, Some("UnknownIssuer")),
            // Who sends a request at once may find the connection closed before it reads why.
            ("authority", false, Some(if kind == "syslog" { "CertificateRequired" } else { "" })),
            ("authority", true, None),
        ] {
            let mut python = Command::new("python3");
            python.args(["-c", include_str!("support/collector.py"), kind]);
            python.args([path("collector.pem"), path("collector.key"), path("authority.pem")]);
            let mut collector = Secured(python.stdout(Stdio::piped()).spawn().expect("a collector"));
            let mut lines = collector.lines();
            let port = lines.next().expect("its port");
            let place = match kind {
                "syslog" => format!("to = 'tls://127.0.0.1:{port}'"),
                _ => format!("endpoint = 'https://127.0.0.1:{port}/v1/logs'"),
            };
            let shown = if own { "certificate = 'palisade.pem'\nkey = 'palisade.key'\n" } else { "" };
            let settings = format!("[export.{kind}]\n{place}\nroots = '{roots}.pem'\n{shown}");
            let settings = world.write("s.toml", &settings).display().to_string();
            let _ = std::fs::remove_file(
                world
                    .records()
                    .first()
                    .and_then(|file| file.parent())
                    .expect("the record")
                    .join(format!("export-{kind}.cursor")),
            );
            let mut command = world.palisade();
            command.args(["serve", "--config", &settings]).stdin(Stdio::piped()).stdout(Stdio::null());
            let mut server = command.stderr(Stdio::piped()).spawn().expect("a server");
            let Some(expected) = expected else {
                let seen = lines.by_ref().take_while(|line| !line.contains("echo one")).count();
                assert!(seen < 100, "{kind}: a copy of the decision came");
                drop(server.stdin.take());
                assert!(server.wait().expect("it ends").success());
                continue;
            };
            let log = BufReader::new(server.stderr.take().expect("its log")).lines().map_while(Result::ok);
            let refused = log.into_iter().find(|line| line.contains("does not take records")).expect("a warning");
            assert!(refused.contains(expected), "{kind}, {roots}: {refused}");
            drop(server.stdin.take());
            let _ = server.wait();
            drop(collector);
            assert!(!lines.any(|line| line.contains("echo one")), "{kind}: nothing came");
        }
    }
}

#[test]
fn files_in_every_form() {
    let world = World::new();
    assert_eq!(world.run("echo one").code, Some(0));
    assert_eq!(world.run("sudo ls").code, Some(126));
    let lines = |arguments: &[&str]| -> Vec<String> {
        let ended = world.call(&[&["audit", "export", "--format"], arguments].concat());
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended.stdout.lines().map(str::to_owned).collect()
    };
    let events: Vec<Value> = lines(&["ocsf"]).iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(events.len(), on_record(&world).len());
    let launches: Vec<&Value> = events.iter().filter(|event| event["type_uid"] == 100_701).collect();
    let shown = |event: &&Value| (event["process"]["cmd_line"].clone(), event["action_id"].clone());
    assert_eq!(
        launches.iter().map(shown).collect::<Vec<_>>(),
        [(json!("echo one"), json!(1)), (json!("sudo ls"), json!(2))]
    );

    let denied = lines(&["syslog", "--decision", "deny"]);
    assert_eq!(denied.len(), 1);
    assert!(denied[0].starts_with("<108>1 ") && denied[0].contains("effect=\"deny\""), "{denied:?}");

    let request: Value = serde_json::from_str(&lines(&["otlp", "--kind", "outcome"]).concat()).expect("JSON");
    let logs = request["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().expect("a list");
    assert_eq!((logs.len(), &logs[0]["eventName"]), (1, &json!("palisade.outcome")));

    let ended = world.call(&["audit", "export", "--format", "asciicast"]);
    assert!(ended.code == Some(1) && ended.stderr.contains("--session"), "{ended:?}");
    let shell = world.records().iter().find_map(|file| {
        let text = std::fs::read_to_string(file).expect("a record");
        let line = text.lines().find(|line| line.contains("echo one"))?;
        serde_json::from_str::<Value>(line).expect("JSON")["shell"].as_str().map(str::to_owned)
    });
    let shell = shell.expect("a shell");
    let cast = world.path("one.cast").display().to_string();
    let ended = world.call(&["audit", "export", "--format", "asciicast", "--session", &shell, "-o", &cast]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = std::fs::read_to_string(&cast).expect("a file");
    assert!(text.starts_with("{\"") && text.contains("\"version\":2") && text.contains("$ echo one\\r\\n"), "{text}");
    let ended = world.call(&["audit", "export", "--format", "ocsf", "-o", &cast]);
    assert!(ended.code == Some(1) && ended.stderr.contains("not there yet"), "{ended:?}");
}

/// What the record holds goes out, and no more: not even to a socket that everybody can read.
#[test]
fn no_secret_goes_out() {
    let world = World::new();
    let socket = world.path("log");
    let log = UnixDatagram::bind(&socket).expect("a socket");
    log.set_read_timeout(Some(Duration::from_secs(60))).expect("a deadline");
    assert_eq!(world.run("A=ghp_0123456789abcdefghijABCDEFGHIJ012345 true").code, Some(0));
    let settings = format!("[export.syslog]\nto = 'unix:{}'\nbody = 'ocsf'\n", socket.display());
    let settings = world.write("s.toml", &settings).display().to_string();
    let mut server = serve(&world, &settings);
    let mut buffer = vec![0; 1 << 16];
    let mut kinds = Vec::new();
    while kinds.len() < 4 {
        let length = log.recv(&mut buffer).expect("a message");
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(!message.contains("ghp_0123456789"), "{message}");
        let (_, event) = message.split_once('\u{feff}').expect("a text");
        kinds.push(serde_json::from_str::<Value>(event).expect("JSON")["metadata"]["event_code"].clone());
    }
    assert_eq!(kinds, ["start", "decision", "outcome", "stop"]);
    drop(server.stdin.take());
    let _ = server.wait();
}
