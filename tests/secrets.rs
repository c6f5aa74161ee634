//! No surface shows a secret: results, errors, notifications, the record, and what the server logs when it logs everything.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::people::call;
use crate::support::world::World;

/// A value that only the settings say is a secret, and its name.
const PLANTED: (&str, &str) = ("PLANTED_PHRASE", "sunflower-Field-0451x");
/// A token of a shape that a rule knows, in two halves.
const TOKEN: (&str, &str) = ("ghp_0123456789abcdef", "ghijABCDEFGHIJ012345");
/// Everything, of the protocol library too.
const VERBOSE: &str = "trace,rmcp=trace,rmcp::service=trace,rmcp::transport=trace,palisade=trace,palisade_runner=trace";

fn token() -> String {
    [TOKEN.0, TOKEN.1].concat()
}

/// Texts none of which may be shown: the values, and what Base64 makes of them.
fn forbidden() -> [String; 4] {
    let planted = PLANTED.1.to_owned();
    [planted, token(), "c3VuZmxvd2VyLUZpZWxkLTA0".to_owned(), "Z2hwXzAxMjM0NTY3ODlhYmNkZWZnaGlq".to_owned()]
}

fn assert_silent(surface: &str, text: &str) {
    for secret in forbidden() {
        assert!(!text.contains(&secret), "{surface} shows `{secret}`: {text}");
    }
}

/// A world with both secrets about, and the settings that name one of them.
fn world() -> (World, std::path::PathBuf) {
    let world = World::new();
    let (planted, token) = (PLANTED.1, token());
    let print = format!("echo 'it is {planted}'; printf %s {planted} | base64; echo token: {token}; echo {token} >&2");
    world.program("leak", &format!("#!/bin/sh\n{print}\n"));
    world.program("linger", &format!("#!/bin/sh\n{print}\nsleep 0.7\n{print}\nsleep 0.7\n"));
    world.write(&format!("work/{planted}.txt"), "");
    fs::create_dir(world.path(&format!("work/at-{token}"))).expect("a directory");
    let settings = world.write("state/palisade.toml", "[redact]\nenvironment = [\"PLANTED_*\"]\n");
    (world, settings)
}

fn palisade(world: &World) -> Command {
    let mut command = world.palisade();
    command.env(PLANTED.0, PLANTED.1).env("PALISADE_LOG", VERBOSE);
    command
}

/// Calls that lead a secret to each place where something is told.
fn calls() -> Vec<(&'static str, &'static str, Value)> {
    let (planted, token) = (PLANTED.1, token());
    vec![
        ("output", "exec", json!({ "command": "./leak" })),
        ("echoed command", "exec", json!({ "command": format!("echo {token} {planted}") })),
        ("file names", "exec", json!({ "command": "ls" })),
        ("error of a program", "exec", json!({ "command": format!("cat ./none-{token} ./none-{planted}") })),
        ("where it ends", "exec", json!({ "command": format!("cd at-{token} && pwd") })),
        ("denial", "exec", json!({ "command": format!("sudo ./{planted} --password {token}") })),
        ("a program that is not there", "exec", json!({ "command": format!("./{planted} {token}") })),
        ("no shell", "exec", json!({ "command": format!("echo '{token} {planted}") })),
        ("place to start in", "exec", json!({ "command": "pwd", "cwd": format!("none-{token}") })),
        ("reason", "exec", json!({ "command": "./leak", "reason": format!("{planted} {token}") })),
        ("filtered output", "exec", json!({ "command": "./leak", "grep": "it is|token" })),
        (
            "what is explained",
            "explain",
            json!({ "command": format!("curl -u me:{token} https://x.example/{planted}") }),
        ),
        ("target", "session_open", json!({ "target": format!("{token}") })),
        ("session", "exec", json!({ "command": "true", "session": format!("{token}") })),
        ("job", "job_read", json!({ "job": format!("{token}") })),
        ("progress", "exec", json!({ "command": "./linger" })),
        ("background", "exec", json!({ "command": "./linger", "yield_ms": 0 })),
        ("list", "list", json!({ "kind": "jobs" })),
    ]
}

#[test]
fn no_surface_of_a_server_shows_a_secret_whatever_is_logged() {
    let (world, settings) = world();
    let log = world.path("state/log");
    let mut serve = palisade(&world);
    serve.arg("serve").arg("--config").arg(&settings).stderr(fs::File::create(&log).expect("a file"));
    let mut server = Server::of(serve);
    for (id, (surface, tool, arguments)) in (1_u64..).zip(calls()) {
        let meta = json!({ "progressToken": format!("p{id}") });
        let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
        server.send(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }));
        loop {
            let told = server.receive();
            assert_silent(surface, &told.to_string());
            if told["id"] == id {
                assert!(told["result"].is_object() || told["error"].is_object(), "{surface}: {told}");
                break;
            }
        }
    }
    // Settings that are wrong are told in the log, and on record.
    fs::write(&settings, format!("no-such-key = '{} {}'\n", PLANTED.1, token())).expect("written");
    let begun = Instant::now();
    while !fs::read_to_string(&log).expect("a log").contains("no-such-key") {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is logged");
        std::thread::sleep(Duration::from_millis(100));
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.child.id())).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
    let killed = Command::new("kill").args(["-ABRT", &server.child.id().to_string()]).status().expect("kill");
    assert!(killed.success());
    let status = server.child.wait().expect("it ends");
    assert!(!status.core_dumped(), "{status}");
    drop(server);

    every_file(&world.path("state"), &mut |path, text| {
        if path != settings {
            assert_silent(&path.display().to_string(), text);
        }
    });
}

#[test]
fn neither_the_terminal_nor_the_record_shows_a_secret() {
    let (world, settings) = world();
    let token = token();
    for command in ["./leak", &format!("cat ./none-{token}"), &format!("sudo -p {token}"), "ls", "./linger"] {
        for json in [&["--json"][..], &[]] {
            let mut run = palisade(&world);
            run.arg("run").args(json).arg("--config").arg(&settings).arg(command);
            let output = run.output().expect("it runs");
            assert_silent(command, &String::from_utf8_lossy(&output.stdout));
            assert_silent(command, &String::from_utf8_lossy(&output.stderr));
        }
    }
    every_file(&world.path("state/palisade"), &mut |path, text| assert_silent(&path.display().to_string(), text));
}

/// Whoever has the record finds what was redacted, by rule, in the outcome that the result's anchor names; not the value.
#[test]
fn a_redaction_can_be_looked_up_by_its_record() {
    let (world, settings) = world();
    let mut serve = palisade(&world);
    serve.env("PALISADE_LOG", "off").arg("serve").arg("--config").arg(&settings);
    let mut server = Server::of(serve);
    server.exec(1, "./leak");
    let answer = server.receive();
    let shown = &answer["result"]["structuredContent"];
    assert_eq!(shown["redactions"]["github-token"], 2, "{answer}");
    assert_eq!(shown["redactions"][PLANTED.0], 2, "{answer}");
    drop(server);
    let record = world.record();
    let outcome = record.iter().find(|line| line["kind"] == "outcome").expect("an outcome");
    assert_eq!(outcome["redactions"], shown["redactions"], "{outcome}");
    assert_eq!(outcome["req"], shown["decision"]["id"], "{outcome}");
    assert_silent("the record", &format!("{record:?}"));
}

/// A prompt is seen although no line break follows: whoever is to answer would wait for it.
#[test]
fn a_prompt_appears_while_the_stream_is_silent() {
    let (world, settings) = world();
    let mut redact = world.palisade();
    redact.env("PALISADE_CONFIG", settings).env(PLANTED.0, PLANTED.1);
    let mut child = redact.arg("redact").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let (mut stdin, mut stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let (sender, shown) = mpsc::channel();
    std::thread::spawn(move || {
        let mut byte = [0];
        while stdout.read(&mut byte).is_ok_and(|count| count == 1) && sender.send(byte[0]).is_ok() {}
    });
    let expect = |text: &str| {
        for wanted in text.bytes() {
            assert_eq!(
                shown.recv_timeout(Duration::from_secs(30)).map(char::from),
                Ok(char::from(wanted)),
                "of `{text}`"
            );
        }
    };
    stdin.write_all(format!("it is {}\nPassword: ", PLANTED.1).as_bytes()).expect("written");
    expect("it is [redacted:PLANTED_PHRASE#");
    let _fingerprint: Vec<u8> = shown.iter().take_while(|byte| *byte != b'\n').collect();
    expect("Password: ");
    // The first half of a token does not.
    stdin.write_all(TOKEN.0.as_bytes()).expect("written");
    assert!(shown.recv_timeout(Duration::from_millis(300)).is_err(), "half of a token was shown");
    // What stands below a password may go on with it, so that it waits for one more line.
    stdin.write_all(format!("{}\nnext line\n", TOKEN.1).as_bytes()).expect("written");
    expect("[redacted:github-token#");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}

/// However much comes, and whatever it is full of, no more than 8 MiB are needed for it.
#[test]
fn a_long_stream_takes_no_more_memory_than_a_short_one() {
    let world = World::new();
    let mut child =
        world.palisade().arg("redact").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let line = |n: usize| match n % 9 {
        0 => format!("DB_PASSWORD=EXAMPLE{n:020x}\n"),
        1 => format!("\u{1b}[3{}mcoloured\u{1b}[0m {n}\r\n", n % 8),
        _ => format!("-rw-r--r-- 1 build build {n:>8} Jan  2 03:04 target/release/deps/libitem-{n:016x}.rlib\n"),
    };
    let part = |part: usize| (0..8_000).map(|n| line(part * 8_000 + n)).collect::<String>();
    let mut peaks = Vec::new();
    // What was compiled for the first part, and what was learned, is there for the others.
    for until in [4, 40] {
        for number in until / 2..until {
            stdin.write_all(part(number).as_bytes()).expect("written");
        }
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("a status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak").trim().to_owned();
        peaks.push(peak.trim_end_matches(" kB").parse::<u64>().expect("a number"));
    }
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
    assert!(peaks[1] <= peaks[0] + 8 * 1024, "KiB at most: {peaks:?}");
}

/// An agent's later sessions read its own `.env`. Other agents' sessions do not. Once another writer changes the file, nobody's session does.
#[test]
fn what_an_agent_has_written_it_reads_later() {
    let world = World::new();
    let print = "/usr/bin/python3 -c 'print(open(\".env\").read())'";
    let run = |agent: &str, command: &str| world.call(&["run", "--agent", agent, command]);
    let writes = |command: &str| {
        let ended = run("one", command);
        assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
    };
    let reads = |text: &str| {
        for command in ["cat .env", "sh -c 'cat .env'", print] {
            let ended = run("one", command);
            assert_eq!((ended.code, ended.stdout.trim()), (Some(0), text), "{command}: {ended:?}");
        }
    };
    let is_closed_to = |agent: &str| {
        for command in ["cat .env", "sh -c 'cat .env'", print, "echo PORT=1 > .env", "rm .env"] {
            let ended = run(agent, command);
            assert!(ended.code != Some(0) && !ended.stdout.contains("PORT"), "{command}: {ended:?}");
        }
    };
    // What is not there yet can be removed: a program of the script makes it.
    writes("/usr/bin/env true; rm -f new.key new.p12");
    writes("echo PORT=3000 > .env");
    reads("PORT=3000");
    is_closed_to("other");
    // What a program has run before, the kernel covers whatever it may have put there.
    for command in ["python3 x.py; cat .env", "cat .en*", "python3 - <<'E'\nprint()\nE\ngrep -h PORT .*env"] {
        let ended = run("one", command);
        assert_eq!((ended.code, ended.stdout.trim()), (Some(0), "PORT=3000"), "{command}: {ended:?}");
        assert_ne!(run("other", command).code, Some(0), "{command}");
    }
    writes("git init -q && git add .env && mv .env other.env");
    writes("mv other.env .env && git rm -q --cached .env");
    writes("/usr/bin/python3 -c 'open(\".env\", \"a\").write(\"HOST=h\")' && sed -i s/3000/4000/ .env");
    reads("PORT=4000\nHOST=h");
    // A person appends a key.
    let mut file = fs::OpenOptions::new().append(true).open(world.path("work/.env")).expect("the file");
    file.write_all(b"PORT_KEY=k\n").expect("a write");
    is_closed_to("one");

    // The same while the session that made the file has no command that runs.
    fs::remove_file(world.path("work/.env")).expect("the file");
    let mut server = Server::start_with(&world, &[]);
    let session = call(&mut server, "session_open", &json!({}))["session"].clone();
    let mut exec = |command: &str| call(&mut server, "exec", &json!({ "command": command, "session": session }));
    assert_eq!(exec("echo PORT=3000 > .env")["exit_code"], 0);
    assert_eq!(exec("echo HOST=h >> .env; sh -c 'cat .env'")["stdout"], "PORT=3000\nHOST=h\n");
    fs::write(world.path("work/.env"), "PORT_KEY=k\n").expect("the file");
    for command in ["cat .env", "sh -c 'cat .env'", print] {
        let ended = exec(command);
        assert!(!ended.to_string().contains("PORT_KEY"), "{command}: {ended}");
    }
    drop(server);
    let ended = world.run(print);
    assert!(ended.code != Some(0) && !ended.stdout.contains("PORT_KEY"), "{ended:?}");
}

/// A person installs packages beside an agent that works: each file is made empty, and covered for its name.
#[test]
fn a_file_of_variables_is_empty_to_programs_and_the_result_says_so() {
    let world = World::new();
    world.write("work/.env", "API_KEY=of-the-person\n");
    world.write("work/README", "text\n");
    // The names stand nowhere in a text that is read.
    world.write("work/show.py", "import sys\nprint(open('.'.join(sys.argv[1:])).read(), end='')\n");
    let changes =
        ["open(name, 'w')", "open(name, 'a')", "os.remove(name)", "os.chmod(name, 0o666)", "os.rename(name, 'x')"];
    let changes = changes.map(|change| format!("try:\n    {change}\n    print(\"{change}\")\nexcept OSError: pass\n"));
    world.write("work/change.py", &format!("import os\nname = ''.join(['.e', 'nv'])\n{}", changes.concat()));
    let mut server = Server::start_with(&world, &[]);
    let session = call(&mut server, "session_open", &json!({}))["session"].clone();
    let mut exec = |command: &str| call(&mut server, "exec", &json!({ "command": command, "session": session }));
    let tells = |ran: &Value| ran["hints"].to_string().contains("programs of this session find");

    let quiet = exec("cat README; ls -a");
    assert!(quiet["exit_code"] == 0 && quiet.get("hints").is_none(), "{quiet}");
    let ran = exec("/usr/bin/python3 show.py '' env");
    assert!(ran["exit_code"] == 0 && ran["stdout"].is_null() && tells(&ran), "{ran}");
    assert!(ran["hints"][0].as_str().is_some_and(|hint| hint.contains("work/.env` holds secrets")), "{ran}");
    let ran = exec("cp -r . $TMPDIR/copy && wc -c < $TMPDIR/copy/.env");
    assert!(ran["exit_code"] == 0 && ran["stdout"] == "0\n" && tells(&ran), "{ran}");
    // tar opens no empty file.
    let ran = exec("tar cf - . | tar xOf - ./.env | wc -c");
    assert!(ran["exit_code"] == 0 && ran["stdout"] == "0\n", "{ran}");
    let quiet = exec("cat README");
    assert!(quiet.get("hints").is_none(), "{quiet}");

    // Where git would commit the empty file, it is closed.
    let git = |script: &str| {
        assert!(
            Command::new("sh")
                .args(["-c", script])
                .current_dir(world.workspace())
                .status()
                .is_ok_and(|status| status.success())
        )
    };
    git("git init -q repo && echo API_KEY=of-the-person > repo/.env && echo text > repo/README");
    let ran = exec("git -C repo add -A");
    assert!(
        ran["exit_code"] != 0 && ran["stderr"].as_str().is_some_and(|text| text.contains("Permission denied")),
        "{ran}"
    );
    git("echo .env > repo/.gitignore");
    world.write("work/repo/.env", "API_KEY=of-the-person-still\n");
    let later = |command: &str| world.run(&format!("cd repo && {command}"));
    let ended = later("git add -A && git ls-files");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ".gitignore\nREADME\n"), "{ended:?}");
    let ended = later("/usr/bin/python3 ../show.py '' env");
    assert!(ended.code == Some(0) && ended.stderr.contains("programs of this session find"), "{ended:?}");

    // By name it is refused, and nothing changes it.
    assert_eq!(exec("cat .env")["status"], "denied");
    let ran = exec("/usr/bin/python3 change.py");
    assert!(ran["exit_code"] == 0 && ran["stdout"].is_null(), "{ran}");
    assert_eq!(fs::read_to_string(world.path("work/.env")).expect("the file"), "API_KEY=of-the-person\n");

    // So is one that a person makes meanwhile. A key is closed.
    world.write("work/.env.local", "API_KEY=another\n");
    world.write("work/server.key", "-----BEGIN PRIVATE KEY-----\nQQ==\n-----END PRIVATE KEY-----\n");
    let ran = exec("/usr/bin/python3 show.py '' env local");
    assert!(ran["exit_code"] == 0 && ran["stdout"].is_null() && tells(&ran), "{ran}");
    let ran = exec("/usr/bin/python3 show.py server key");
    assert!(
        ran["exit_code"] != 0 && ran["stderr"].as_str().is_some_and(|text| text.contains("PermissionError")),
        "{ran}"
    );
}

#[test]
fn a_certificate_that_a_person_installs_meanwhile_opens_once_it_is_whole() {
    let world = World::new();
    world.write("work/README", "");
    let mut server = Server::start_with(&world, &[]);
    let session = call(&mut server, "session_open", &json!({}))["session"].clone();
    let mut exec = |command: &str| call(&mut server, "exec", &json!({ "command": command, "session": session }));
    assert_eq!(exec("true")["exit_code"], 0);
    fs::create_dir(world.path("work/lib")).expect("a directory");
    for name in ["cacert.pem", "server.pem"] {
        world.write(&format!("work/lib/{name}"), "");
    }
    // The empty files are covered.
    let print = "/usr/bin/python3 -c 'print(open(\"lib/cacert.pem\").read())'";
    assert_ne!(exec(print)["exit_code"], 0);
    let certificate = "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n";
    fs::write(world.path("work/lib/cacert.pem"), certificate).expect("the file");
    let key = "-----BEGIN PRIVATE KEY-----\nQQ==\n-----END PRIVATE KEY-----\n";
    fs::write(world.path("work/lib/server.pem"), format!("{certificate}{key}")).expect("the file");
    let end = Instant::now() + Duration::from_secs(60);
    while exec(print)["exit_code"] != 0 {
        assert!(Instant::now() < end, "{}", exec(print));
        sleep(Duration::from_millis(200));
    }
    assert_ne!(exec(&print.replace("cacert", "server"))["exit_code"], 0);
    // It is covered again as soon as it is something else.
    fs::write(world.path("work/lib/cacert.pem"), key).expect("the file");
    assert_ne!(exec(print)["exit_code"], 0);
    fs::write(world.path("work/lib/cacert.pem"), certificate).expect("the file");
    fs::remove_file(world.path("work/lib/server.pem")).expect("the file");
    let end = Instant::now() + Duration::from_secs(60);
    while exec("rm -r lib")["exit_code"] != 0 {
        assert!(Instant::now() < end, "{}", exec("ls -l lib"));
        sleep(Duration::from_millis(200));
    }
    assert!(!world.path("work/lib").exists());
}

/// What the first command of a session may read, because it is no key yet, is a key to the session once it is one.
#[test]
fn a_certificate_that_becomes_a_key_is_closed() {
    let world = World::new();
    world.write("work/ca.pem", "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n");
    world.write("work/public.pem", "-----BEGIN PUBLIC KEY-----\nQQ==\n-----END PUBLIC KEY-----\n");
    let mut server = Server::start_with(&world, &[]);
    let session = call(&mut server, "session_open", &json!({}))["session"].clone();
    let mut exec = |command: &str| call(&mut server, "exec", &json!({ "command": command, "session": session }));
    assert_eq!(exec("grep -c CERTIFICATE ca.pem")["stdout"], "2\n");
    let ended = exec("git init -q && git add ca.pem && git diff --no-index --quiet ca.pem ca.pem");
    assert_eq!(ended["exit_code"], 0, "{ended}");
    let ended = exec("git add public.pem && grep -c PUBLIC public.pem");
    assert_eq!(ended["stdout"], "2\n", "{ended}");
    let key = world.write("work/new", "-----BEGIN PRIVATE KEY-----\nfor tests\n-----END PRIVATE KEY-----\n");
    fs::rename(key, world.path("work/ca.pem")).expect("a name");
    let ended = exec("sh -c 'grep -c tests *.pem'");
    assert!(ended["exit_code"] != 0 && ended["stdout"] != "1\n", "{ended}");
}

fn every_file(directory: &Path, see: &mut dyn FnMut(&Path, &str)) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            every_file(&path, see);
        } else if let Ok(bytes) = fs::read(&path) {
            see(&path, &String::from_utf8_lossy(&bytes));
        }
    }
}
