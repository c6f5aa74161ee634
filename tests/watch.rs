//! `watch`: a real server's record, in a real terminal, in a pipe, and in a real browser.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::approvals::site;
use crate::serve::Server;
use crate::support::browser::Browser;
use crate::support::people::call;
use crate::support::terminal::Terminal;
use crate::support::until;
use crate::support::world::World;

/// A script whose text would do harm wherever it is taken for anything else.
const HOSTILE: &str = "echo '</script><script>window.harm=1</script><img src=x onerror=window.harm=2>' \
                       '\u{1b}[2J\u{1b}]0;owned\u{7}' '\u{202e}drow' '\u{200b}' 'javascript:window.harm=3'";

/// A server with a few commands behind it.
fn busy(world: &World) -> Server {
    let mut server = Server::start_with(world, &["--agent", "build-agent"]);
    for (id, command) in (1_u64..).zip(["echo hello", "sudo ls /root", HOSTILE, "false"]) {
        server.exec(id, command);
        server.receive();
    }
    server
}

fn watch(world: &World, arguments: &[&str]) -> Command {
    let mut watch = world.palisade();
    watch.arg("watch").args(arguments);
    watch
}

/// What a shell says that has run the view: how it ended, and whether the terminal is as it was.
const VIEW: &str = "before=$(stty -g); palisade watch; echo \"ended $?\"; [ \"$before\" = \"$(stty -g)\" ] && echo restored; exec sleep 600";

fn view(world: &World, name: &str, size: (u16, u16)) -> Option<Terminal> {
    let script = VIEW.replace("palisade watch", &format!("{} watch", env!("CARGO_BIN_EXE_palisade")));
    Terminal::open(name, size, &world.palisade(), &script)
}

#[test]
fn the_view_shows_what_sessions_do() {
    let world = World::new();
    let Some(terminal) = view(&world, "shows", (300, 40)) else { return };
    terminal.shows(&["nothing yet"]);
    let mut server = busy(&world);
    let screen = terminal.shows(&["echo hello", "sudo ls /root", "1 deny", "exit 1", "build-agent", "1 live"]);
    // Whatever the script holds stays in its line.
    let hostile = screen.lines().find(|line| line.contains("</script>")).expect("a line");
    assert!(hostile.contains("[2J") && hostile.contains("javascript:"), "{screen}");
    let raw = terminal.coloured();
    assert!(!screen.contains(['\u{202e}', '\u{200b}', '\u{7}']) && !raw.contains("\u{1b}[2J"), "{screen}");
    assert!(raw.contains("38;5;1m"), "{raw:?}");

    // One verdict, then why.
    terminal.press(&["d"]);
    until("denials alone", || {
        let screen = terminal.screen();
        if screen.contains("history 1") && !screen.contains("echo hello") { Ok(()) } else { Err(screen) }
    });
    terminal.press(&["Enter"]);
    terminal.shows(&["no-sudo (", ".cedar:", "verdict    deny", "| sudo ls /root"]);
    terminal.press(&["Escape"]);
    terminal.shows(&["tab pane"]);
    terminal.press(&["c"]);
    terminal.shows(&["echo hello"]);

    // A search, and what comes while it is in force.
    terminal.press(&["/"]);
    terminal.types("Needle");
    terminal.press(&["Enter"]);
    terminal.shows(&["history 0"]);
    server.exec(9, "echo needle");
    server.receive();
    terminal.shows(&["history 1", "echo needle", "/needle"]);
    terminal.press(&["c"]);

    for (columns, rows) in [(60, 20), (30, 8), (8, 2), (1, 1), (200, 50)] {
        terminal.resize(columns, rows);
        if columns > 20 {
            terminal.shows(&["history", "deny"]);
        }
    }
    terminal.press(&["q"]);
    terminal.shows(&["ended 0", "restored"]);
}

#[test]
fn the_terminal_is_given_back_however_the_view_ends() {
    let world = World::new();
    for (name, end) in [("ctrl-c", "C-c"), ("key", "q"), ("term", "TERM"), ("hup", "HUP"), ("int", "INT")] {
        let Some(terminal) = view(&world, name, (80, 24)) else { return };
        terminal.shows(&["palisade watch"]);
        if end.len() > 3 || end == "INT" || end == "HUP" {
            let home = world.path("home");
            let processes = until("its process", || view_of(home.to_str().expect("UTF-8")));
            let killed = Command::new("kill").args(["-s", end, &processes]).status();
            assert!(killed.is_ok_and(|status| status.success()), "{name}");
        } else {
            terminal.press(&[end]);
        }
        let screen = terminal.shows(&["ended 0", "restored"]);
        assert!(!screen.contains("palisade watch"), "{name}: {screen}");
    }
}

#[test]
fn a_view_ends_with_its_terminal() {
    let world = World::new();
    let Some(terminal) = view(&world, "gone", (80, 24)) else { return };
    terminal.shows(&["palisade watch"]);
    let home = world.path("home");
    let home = home.to_str().expect("UTF-8");
    until("its process", || view_of(home));
    drop(terminal);
    until("its end", || view_of(home).map_or(Ok(()), Err));
}

/// The process of the view that runs with this home.
fn view_of(home: &str) -> Result<String, String> {
    let environment = format!("HOME={home}");
    for entry in fs::read_dir("/proc").expect("processes").flatten() {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let is_view = words.ends_with(b"palisade\0watch\0");
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        // A process that hides its memory is known by its parent's environment.
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap_or_default();
        let inherited = fs::read(format!("/proc/{parent}/environ")).unwrap_or_default();
        let has = |bytes: &[u8]| bytes.split(|byte| *byte == 0).any(|variable| variable == environment.as_bytes());
        if is_view && (has(&environ) || has(&inherited)) {
            return Ok(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Err(environment)
}

#[test]
fn without_a_terminal_or_colours_it_says_so_or_does_without() {
    let world = World::new();
    for arguments in [
        &[][..],
        &["--decision", "deny"],
        &["--json"],
        &["--serve", "0.0.0.0:0"],
        &["--serve", "x"],
        &["--serve", "--follow"],
    ] {
        let ended = crate::support::world::Ended::of(&mut watch(&world, arguments));
        assert_eq!(ended.code, Some(1), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains("error: "), "{arguments:?}: {ended:?}");
    }
    assert_eq!(world.run("sudo ls").code, Some(126));
    let script = format!("NO_COLOR=1 {} watch", env!("CARGO_BIN_EXE_palisade"));
    let Some(terminal) = Terminal::open("plain", (90, 20), &world.palisade(), &script) else { return };
    terminal.shows(&["deny", "sudo ls"]);
    let raw = terminal.coloured();
    assert!(!raw.contains("38;5;"), "{raw:?}");
}

#[test]
fn policy_says_who_may_watch() {
    let world = World::new();
    assert_eq!(world.run("echo hello").code, Some(0));
    let nobody = world.write("home/nobody.toml", "policies = \"silent.cedar\"\n");
    world.write(
        "home/silent.cedar",
        "@id(\"all-but-looking\") @reason(\"x\") permit (principal, action in Action::\"activity\", resource) unless { resource is Path };\n",
    );
    let nobody = nobody.to_str().expect("UTF-8");
    for how in ["--follow", "--serve"] {
        let ended = crate::support::world::Ended::of(&mut watch(&world, &["--config", nobody, how]));
        assert_eq!(ended.code, Some(126), "{how}: {ended:?}");
        assert!(ended.stderr.contains("observe") && ended.stdout.is_empty(), "{how}: {ended:?}");
    }
}

#[test]
fn a_record_that_somebody_changes_is_told_at_once() {
    let world = World::new();
    let mut server = busy(&world);
    let Some(terminal) = view(&world, "changed", (150, 30)) else { return };
    terminal.shows(&["echo hello"]);
    let file = world.records().pop().expect("a record");
    let text = fs::read_to_string(&file).expect("text");
    let changed = OpenOptions::new().write(true).truncate(true).custom_flags(0).open(&file);
    changed.and_then(|mut file| file.write_all(text.replace("hello", "world").as_bytes())).expect("written");
    server.exec(9, "echo after");
    server.receive();
    OpenOptions::new()
        .append(true)
        .open(&file)
        .and_then(|mut file| file.write_all(b"not a record\n"))
        .expect("written");
    terminal.shows(&["ALARM", "a line is no record"]);
}

#[test]
fn an_approval_is_answered_in_the_view() {
    let world = World::new();
    let Some(terminal) = view(&world, "answers", (130, 40)) else { return };
    terminal.shows(&["nothing yet"]);
    let mut serve = Command::new("sh");
    serve.args(["-c", "\"$0\" serve --agent asker; exit $?", env!("CARGO_BIN_EXE_palisade")]);
    for (name, value) in world.palisade().get_envs() {
        match value {
            Some(value) => serve.env(name, value),
            None => serve.env_remove(name),
        };
    }
    serve.current_dir(world.workspace());
    let mut server = Server::of(serve);
    let asked = |server: &mut Server, id: u64, command: &str| {
        let reason = "it is \u{1b}[2J done";
        server.call(id, "exec", &json!({ "command": command, "yield_ms": 0, "reason": reason }));
        server.receive()["result"]["structuredContent"].clone()
    };
    let first = asked(&mut server, 1, "git push origin main");
    assert_eq!(first["status"], "approval_required", "{first}");
    terminal.shows(&["waiting for an answer 1", "asker", "git push origin main", "waits "]);
    terminal.press(&["g"]);
    let shown = terminal.shows(&["ask-git-push", "what the agent says of it", "type yes and press enter"]);
    assert!(shown.contains("[2J done") && !terminal.coloured().contains("\u{1b}[2J"), "{shown}");
    // Another word is no answer.
    terminal.types("ye");
    terminal.press(&["Enter"]);
    terminal.shows(&["no answer was given", "waiting for an answer 1"]);
    terminal.press(&["x"]);
    terminal.shows(&["type no and press enter"]);
    terminal.types("no");
    terminal.press(&["Enter"]);
    terminal.shows(&["denied by", "no: "]);
    until("no request", || {
        let screen = terminal.screen();
        if screen.contains("waiting for an answer") { Err(screen) } else { Ok(()) }
    });
    assert_eq!(world.record().iter().filter(|line| line["kind"] == "approval" && line["granted"] == false).count(), 1);
}

#[test]
fn the_view_says_that_more_wait_than_it_shows() {
    let world = World::new();
    // `run` asks no person without a terminal, so that no person owes an answer.
    assert_eq!(world.call(&["run", "git push origin alone"]).code, Some(126));
    let Some(terminal) = view(&world, "many", (130, 40)) else { return };
    let shown = terminal.shows(&["git push origin alone", "no yes given"]);
    assert!(!shown.contains("no answer"), "{shown}");
    let mut serve = world.palisade();
    serve.arg("serve");
    let mut server = Server::of(serve);
    for id in 1..=6 {
        server.call(id, "exec", &json!({ "command": format!("git push origin b{id}"), "yield_ms": 0 }));
        assert_eq!(server.receive()["result"]["structuredContent"]["status"], "approval_required");
    }
    terminal.shows(&["waiting for an answer 6 · 1 to 4 are here, tab and ↑↓ show the others"]);
    terminal.press(&["Tab", "End"]);
    terminal.shows(&["waiting for an answer 6 · 3 to 6 are here, ↑↓ show the others", "git push origin b6"]);
}

#[test]
fn a_yes_that_is_typed_in_the_view_lets_the_call_run() {
    // Somebody else than the agent's user, with a terminal of their own.
    let Some(office) = site("[people.root]\nroles = [\"approver\"]\n") else { return };
    let mut server = office.serve(&[]);
    let record = office.world.path("state/palisade/audit").display().to_string();
    let script = office.line(&format!("watch {record}"));
    let Some(terminal) = Terminal::open("grants", (130, 40), &office.world.palisade(), &script) else { return };
    let ask = json!({ "command": "git push origin main", "yield_ms": 0 });
    assert_eq!(call(&mut server, "exec", &ask)["status"], "approval_required");
    terminal.shows(&["waiting for an answer 1", "git push origin main"]);
    terminal.press(&["g"]);
    terminal.shows(&["type yes and press enter"]);
    terminal.types("y");
    terminal.press(&["Enter"]);
    terminal.shows(&["granted by root", "yes: root"]);
    let run = call(&mut server, "exec", &ask);
    assert!(run["status"] != "approval_required" && run["status"] != "denied", "{run}");
    terminal.shows(&["used, yes: root"]);
}

#[test]
fn lines_follow_over_files_and_end_with_their_reader() {
    let world = World::new();
    let settings = world.write("home/small.toml", "[audit]\nrotate = { size = \"2KiB\" }\n");
    let settings = settings.to_str().expect("UTF-8");
    let run = |command: &str| {
        let ended = world.call(&["run", "--config", settings, command]);
        assert!(matches!(ended.code, Some(0 | 126)), "{ended:?}");
    };
    run("echo before");
    let start = |arguments: &[&str]| {
        let mut child =
            watch(&world, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        (child, lines)
    };
    let (mut all, mut all_lines) = start(&["--follow", "--since", "1h"]);
    let (mut new, new_lines) = start(&["--follow", "--since", "1h", "--json", "--decision", "deny"]);
    let mut next = |text: &str| {
        let found = all_lines.by_ref().map(|line| line.expect("text")).find(|line| line.contains(text));
        assert!(found.is_some(), "{text}");
    };
    next("echo before");
    for number in 0..3 {
        run(&format!("echo {number}"));
        next(&format!("echo {number}"));
        next("stop");
    }
    run("sudo ls");
    next("deny");
    let mut denied = new_lines.map(|line| serde_json::from_str::<Value>(&line.expect("text")).expect("a record"));
    assert_eq!(denied.next().expect("a record")["cmd"], "sudo ls");
    // Nobody reads any more, and nothing more is written.
    drop((denied, all_lines));
    for child in [&mut all, &mut new] {
        let status = until("its end", || child.try_wait().expect("a child").ok_or("it runs"));
        assert_eq!(status.code(), Some(0));
    }
}

/// `watch --serve`, and where it is.
struct Page {
    child: Child,
    address: String,
}

impl Page {
    fn serve(world: &World) -> Self {
        let mut child = watch(world, &["--serve"]).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut address = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut address).expect("an address");
        Self { child, address: address.trim().to_owned() }
    }

    fn host(&self) -> &str {
        self.address.strip_prefix("http://").and_then(|rest| rest.split('/').next()).expect("a host")
    }

    fn token(&self) -> &str {
        self.address.split('#').nth(1).expect("a token")
    }

    /// The beginning of an answer to a request with these lines at its head.
    fn ask(&self, first: &str, lines: &[&str]) -> String {
        self.send(first, lines, "")
    }

    /// The same, with this behind the head.
    fn send(&self, first: &str, lines: &[&str], body: &str) -> String {
        let mut stream = TcpStream::connect(self.host()).expect("it listens");
        write!(stream, "{first} HTTP/1.1\r\n{}\r\n\r\n{body}", lines.join("\r\n")).expect("written");
        let mut answer = Vec::new();
        let mut block = [0; 4096];
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            match stream.read(&mut block).expect("an answer") {
                0 => break,
                read => answer.extend_from_slice(&block[..read]),
            }
        }
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A request whose head does not end is given up, and takes no place from the next one.
#[test]
fn half_a_request_is_not_waited_for() {
    let world = World::new();
    let page = Page::serve(&world);
    let mut half: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(page.host()).expect("a place in the queue")).collect();
    for stream in &mut half {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: ").expect("sent");
    }
    let host = format!("host: {}", page.host());
    assert!(page.ask("GET /", &[&host]).starts_with("HTTP/1.1 200"));
    let first = half.first_mut().expect("a connection");
    let mut answer = Vec::new();
    let _reset = first.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("200"), "{answer:?}");
}

#[test]
fn the_page_answers_nobody_without_the_token_or_from_elsewhere() {
    let world = World::new();
    let page = Page::serve(&world);
    let (host, bearer) = (format!("host: {}", page.host()), format!("authorization: Bearer {}", page.token()));
    let wrong = format!("{}x", &bearer[..bearer.len() - 1]);
    let other = format!("host: localhost:{}", page.host().rsplit(':').next().expect("a port"));
    for (first, lines, status) in [
        ("GET /", &[host.as_str()][..], 200),
        ("GET /", &[other.as_str()], 200),
        ("GET /live", &[&host, &bearer], 200),
        ("GET /live", &[&host, &bearer, "sec-fetch-site: same-origin"], 200),
        ("GET /live", &[&host], 401),
        ("GET /live", &[&host, &wrong], 401),
        ("GET /live", &[&host, "authorization: Bearer "], 401),
        ("GET /live", &[&host, &format!("cookie: token={}", page.token())], 401),
        ("GET /live", &["host: evil.example", &bearer], 421),
        ("GET /", &["host: evil.example"], 421),
        ("GET /live", &[&host, &bearer, "origin: http://evil.example"], 403),
        ("GET /live", &[&host, &bearer, "sec-fetch-site: cross-site"], 403),
        ("POST /live", &[&host, &bearer, "content-length: 0"], 405),
        ("OPTIONS /live", &[&host, "origin: http://evil.example"], 403),
        ("GET /../etc/passwd", &[&host, &bearer], 404),
        ("GET /favicon.ico", &[&host], 404),
    ] {
        let answer = page.ask(first, lines);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{first} {lines:?}: {answer}");
        let lower = answer.to_lowercase();
        for header in [
            "content-security-policy: default-src 'none'; script-src 'sha256-",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(lower.contains(header), "{first}: {header}: {answer}");
        }
        assert!(!lower.contains("access-control") && !lower.contains("set-cookie"), "{answer}");
        assert!(!lower.contains("unsafe-inline") && !answer.contains(page.token()), "{answer}");
    }
    let mut page = page;
    let ended = Command::new("kill").arg(page.child.id().to_string()).status();
    assert!(ended.is_ok_and(|status| status.success()));
    let status = until("its end", || page.child.try_wait().expect("a child").ok_or("it runs"));
    assert_eq!(status.code(), Some(0));
}

/// By whoever has the code, which is in the terminal alone, and by a word for each answer.
#[test]
fn a_request_is_answered_on_the_page() {
    let Some(office) = site("[people.root]\nroles = [\"approver\"]\n") else { return };
    let mut server = office.serve(&[]);
    let record = office.world.path("state/palisade/audit").display().to_string();
    let mut page = office.world.palisade();
    page.args(["watch", &record, "--serve", "--answer", "--config"]).arg(&office.config);
    let mut child = page.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut printed = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || printed.next().expect("a line").expect("text");
    let (address, code) = (next(), next());
    let code = code.rsplit(' ').next().expect("a code").to_owned();
    let page = Page { child, address };
    let ask = json!({ "command": "git push origin main", "yield_ms": 0 });
    let id = call(&mut server, "exec", &ask)["approval"]["id"].as_str().expect("an id").to_owned();

    // Neither the token nor the code alone is enough.
    let (host, bearer) = (format!("host: {}", page.host()), format!("authorization: Bearer {}", page.token()));
    let answer = |code: &str, lines: &[&str]| {
        let body = json!({ "id": id, "word": "yes", "code": code }).to_string();
        let length = format!("content-length: {}", body.len());
        page.send("POST /answer", &[lines, &[&length]].concat(), &body)
    };
    assert!(answer(&code, &[&host]).starts_with("HTTP/1.1 401 "));
    assert!(answer("AAAA-AAAA-AAAA-AAAA", &[&host, &bearer]).starts_with("HTTP/1.1 403 "));
    assert!(answer(&code, &[&host, &bearer, "origin: http://evil.example"]).starts_with("HTTP/1.1 403 "));

    let Some(mut browser) = Browser::open() else { return };
    browser.go(&page.address);
    browser.comes_true("document.querySelectorAll('#waiting details').length === 1");
    browser.comes_true("/^waits [0-9]+ s, [0-9]+ min left$/.test(document.querySelector('#waiting time').textContent)");
    browser.comes_true("document.querySelector('.act .end').textContent.startsWith('waits ')");
    let shown = browser.value("document.querySelector('#waiting pre').textContent");
    let shown = shown.as_str().expect("text");
    assert!(shown.contains("ask   exec     git push") && shown.contains("Publishing needs a person's yes."), "{shown}");
    assert!(!browser.value("document.documentElement.outerHTML").as_str().expect("a page").contains(&code));
    // It is to be used at any size, by day and by night.
    for (width, scheme) in [(390, "light"), (820, "dark"), (1600, "dark")] {
        let size = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        browser.call("Emulation.setDeviceMetricsOverride", &size);
        browser.call(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }),
        );
        browser.value("document.querySelector('#waiting details').open = true");
        let fits = "[document.documentElement.scrollWidth <= innerWidth, document.querySelector('#waiting button').offsetWidth > 0]";
        assert_eq!(browser.value(fits), json!([true, true]), "{width}");
    }
    // A screen reader tells what each is for, and keys that are typed into a field are the field's.
    let tree = browser.call("Accessibility.getFullAXTree", &json!({}));
    let nodes = tree["nodes"].as_array().expect("nodes");
    let named = |role: &str, name: &str| {
        nodes.iter().any(|node| node["role"]["value"] == role && node["name"]["value"] == name)
    };
    for (role, name) in [
        ("region", "Waiting for an answer"),
        ("textbox", "The code that palisade printed"),
        ("textbox", "yes or no"),
        ("button", "Answer"),
        ("navigation", "Sessions"),
        ("listbox", "What was done"),
    ] {
        assert!(named(role, name), "{role} {name}");
    }
    let key = |browser: &mut Browser, key: &str| {
        let down = json!({ "type": "keyDown", "key": key, "text": key });
        browser.call("Input.dispatchKeyEvent", &down);
    };
    let pressed = "document.querySelector('#totals .ask').closest('button').getAttribute('aria-pressed')";
    key(&mut browser, "w");
    browser.comes_true(&format!("{pressed} === 'true'"));
    browser.value("document.querySelectorAll('#waiting input')[1].focus()");
    key(&mut browser, "w");
    browser.comes_true("document.querySelectorAll('#waiting input')[1].value === 'w'");
    assert_eq!(browser.value(pressed), json!("true"));
    let types = |code: &str, word: &str| {
        format!(
            "{{ const [code, word] = document.querySelectorAll('#waiting input'); code.value = '{code}'; word.value = '{word}'; document.querySelector('#waiting button').click(); }}"
        )
    };
    let says = |words: &str| format!("document.querySelector('#waiting .said').textContent.includes('{words}')");
    browser.value(&types("BBBB-BBBB-BBBB-BBBB", "yes"));
    browser.comes_true(&says("the code is not the one"));
    browser.value(&types(&code, "ye"));
    browser.comes_true(&says("type yes or no"));
    assert_eq!(call(&mut server, "exec", &ask)["status"], "approval_required", "nothing has been granted");
    browser.value("document.querySelector('#totals .waiting').closest('button').click()");
    browser.comes_true("document.querySelectorAll('.act').length === 1");
    browser.value(&types(&code.to_lowercase(), "yes"));
    browser.comes_true("document.querySelectorAll('#waiting details').length === 0");
    let ran = call(&mut server, "exec", &ask);
    assert!(ran["status"] == "running" || ran["status"] == "done", "{ran}");
    let record = office.world.record();
    let approval = record.iter().find(|line| line["kind"] == "approval").expect("on record");
    assert_eq!((&approval["of"], &approval["by"], &approval["from"]), (&json!(id), &json!("root"), &json!("control")));
}

#[test]
fn the_page_shows_the_record_as_text_and_nothing_else() {
    let world = World::new();
    let mut server = busy(&world);
    let page = Page::serve(&world);
    let Some(mut browser) = Browser::open() else { return };

    // Without the token there is a page, and nothing on it.
    browser.go(&page.address.replace(page.token(), "AAAA"));
    browser.comes_true("document.getElementById('state').textContent.includes('not valid')");
    assert_eq!(browser.value("document.querySelectorAll('.act').length"), json!(0));
    browser.value("sessionStorage.clear()");
    browser.complaints.clear();
    browser.go("about:blank");

    browser.go(&page.address);
    browser.comes_true("document.getElementById('state').textContent === 'live'");
    browser.comes_true("document.querySelectorAll('.act').length >= 4");
    assert_eq!(browser.value("location.hash + location.search"), json!(""));
    let text = browser.value("document.querySelector('.list').innerText");
    let text = text.as_str().expect("text");
    assert!(text.contains("</script><script>window.harm=1") && text.contains("javascript:window.harm=3"), "{text}");
    assert!(text.contains("\\u{1b}[2J") && text.contains("\\u{202e}drow") && text.contains("\\u{200b}"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{200b}']), "{text:?}");
    let counts = "[document.scripts.length, document.images.length, document.links.length, document.forms.length, typeof window.harm]";
    assert_eq!(browser.value(counts), json!([1, 0, 0, 0, "undefined"]));

    // Live, with filters, a search and details.
    server.exec(9, "echo later; sudo id");
    server.receive();
    browser.comes_true("document.querySelector('.act .text').textContent === 'echo later; sudo id'");
    browser.value("document.querySelector('#totals .deny').closest('button').click()");
    browser.comes_true("[...document.querySelectorAll('.act .verdict')].every((word) => word.textContent === 'deny')");
    assert_eq!(browser.value("document.querySelectorAll('.act').length"), json!(2));
    browser.value("document.querySelector('.act').click()");
    browser.comes_true("document.getElementById('detail').innerText.includes('no-sudo')");
    browser.comes_true("/[a-z]+\\.cedar:[0-9]+/.test(document.querySelector('.place').textContent)");
    browser.value("document.querySelector('#totals .deny').closest('button').click()");
    browser.value("{ const box = document.getElementById('search'); box.value = 'HELLO'; box.dispatchEvent(new Event('input')); }");
    browser.comes_true("document.querySelectorAll('.act').length === 1");

    // The export is what is shown.
    let downloads = world.path("home");
    let allow = json!({ "behavior": "allow", "downloadPath": downloads });
    let session = browser.call("Browser.setDownloadBehavior", &allow);
    assert!(session.is_object());
    browser.value("document.getElementById('export').click()");
    let exported = until("an export", || {
        let mut files = fs::read_dir(&downloads).expect("a directory").flatten().map(|entry| entry.path());
        files.find(|path| path.extension().is_some_and(|end| end == "jsonl")).ok_or("none")
    });
    let exported = until("its lines", || {
        let text = fs::read_to_string(&exported).unwrap_or_default();
        if text.ends_with('\n') { Ok(text) } else { Err(text) }
    });
    assert_eq!(exported.lines().count(), 1, "{exported}");
    let line: Value = serde_json::from_str(&exported).expect("JSON");
    assert_eq!((&line["text"], &line["verdict"]), (&json!("echo hello"), &json!("allow")));

    // Neither markup nor another script gets in, even if the page wanted it to.
    let refused = browser
        .value("(() => { try { document.body.innerHTML = '<b>x</b>'; return 'set' } catch { return 'refused' } })()");
    assert_eq!(refused, json!("refused"));
    assert!(
        browser.complaints.iter().all(|one| !one.to_string().contains("exceptionDetails")),
        "{:?}",
        browser.complaints
    );

    // Another page gets nothing, token or not.
    browser.go("data:text/html,<title>other</title>");
    let fetched = format!(
        "fetch('http://{}/live', {{ headers: {{ authorization: 'Bearer {}' }} }}).then(() => 'read', () => 'refused')",
        page.host(),
        page.token()
    );
    browser.comes_true("document.title === 'other'");
    assert_eq!(browser.value(&fetched), json!("refused"));
}
