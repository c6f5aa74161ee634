//! Attempts to reach more than policy permits, each seen to have failed by the server that it was for.
//!
//! `attempts.txt` holds a name and a line of Python each, behind `PRELUDE`. Of two servers the session may reach `OPEN`; nothing may
//! arrive at `SECRET`, no path but `/one` at the other, and nothing may be printed but by a row's own check.

use std::collections::{BTreeMap, BTreeSet};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::{Duration, Instant};

use palisade_runner::Client;

use crate::place::Place;
use crate::server::Server;
use crate::{can, local, refused, world};

const TABLE: &str = include_str!("attempts.txt");

const PRELUDE: &str = r#"
import ctypes, fcntl, os, socket, struct, sys, time
def got(): print('ESCAPED')
def open_():
    s = socket.create_connection(('127.0.0.1', 3128)); s.settimeout(12); return s
def drain(s):
    out = b''
    try:
        while True:
            more = s.recv(65536)
            if not more: break
            out += more
            if len(out) > 1 << 20: break
    except OSError: pass
    return out
def raw(data):
    s = open_(); s.sendall(data); s.shutdown(socket.SHUT_WR); s.settimeout(1); return drain(s)
def plain(text, says=None):
    out = raw(text.encode())
    if says and says not in out[:20]: print('ESCAPED', out)
def connect(peer):
    s = open_(); s.sendall(f'CONNECT {peer} HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
    out = s.recv(4096)
    if b' 200 ' in out[:20]: print('ESCAPED', out)
def second(one, two, ok=b'200'):
    s = open_(); s.sendall(one.encode()); time.sleep(0.3); first = s.recv(65536)
    if ok not in first[:20]: print('ESCAPED not even the first', first)
    s.settimeout(2)
    try: s.sendall(two.encode()); drain(s)
    except OSError: pass
def socks(address, command=1):
    s = open_(); s.sendall(b'\x05\x01\x00'); s.recv(2); s.sendall(bytes([5, command, 0]) + address)
    out = s.recv(10)
    if out[1:2] == b'\0': print('ESCAPED', out)
def endless():
    s = open_(); s.sendall(b'GET http://localhost/ HTTP/1.1\r\nX: ')
    sent = 0
    try:
        while sent < 8 << 20: sent += s.send(b'x' * 65536)
        print('ESCAPED', sent)
    except OSError: pass
"#;

#[tokio::test(flavor = "multi_thread")]
async fn none_gets_further_than_policy_lets_it() {
    let Some((place, server)) = world() else { return };
    let (escaped, count) = attempt(&place, &server, |_| true).await;
    assert!(escaped.is_empty(), "{escaped:#?}");
    assert!(count >= 60, "{count}");
}

/// What the others are worth: under a policy that permits it, these arrive.
#[tokio::test(flavor = "multi_thread")]
async fn some_get_there_where_policy_lets_them() {
    let Some((_, server)) = world() else { return };
    let all = crate::policy(
        r#"@id("all") permit(principal, action == Action::"connect", resource) when { context.port != 9 };
@id("near") permit(principal, action == Action::"connect", resource) when { resource has ip && resource.ip.isLoopback() };"#,
    );
    let place = Place::with(&all, |_| {});
    let arrive = ["other-port", "other-port-by-address", "absolute-other", "host-is-another", "tunnel-with-host"];
    let (escaped, _) = attempt(&place, &server, |row| arrive.contains(&row)).await;
    assert_eq!(escaped.keys().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(arrive), "{escaped:#?}");
}

/// Makes each attempt of the table: those that got there, and how; and how many there were.
async fn attempt(place: &Place, server: &Server, chosen: impl Fn(&str) -> bool) -> (BTreeMap<String, String>, usize) {
    let secret = Server::start("127.0.0.1".parse().unwrap());
    let name = format!("palisade-test-{}-{}", std::process::id(), secret.port);
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let (open, hidden, host) = (server.port, secret.port, host.trim());
    let known = format!("OPEN, SECRET, HOSTNAME, ABSTRACT = {open}, {hidden}, {host:?}, {name:?}\n");
    std::fs::write(place.root.path().join("work/prelude.py"), format!("{PRELUDE}\n{known}")).unwrap();
    let shell = place.open().await;
    let mut escaped = BTreeMap::new();
    let mut count = 0;
    let rows = TABLE.lines().map(|line| line.split_once(" | ").unwrap());
    for (row, code) in rows.filter(|(row, _)| chosen(row)) {
        let tried =
            format!("from prelude import *\ntry: {code}\nexcept OSError as error: print(error)\nprint('tried')\n");
        std::fs::write(place.root.path().join("work/attempt.py"), tried).unwrap();
        let (before, hidden) = (server.requests().len(), secret.requests().len());
        let result = shell.run("/usr/bin/python3 attempt.py").await;
        assert!(result.stdout.as_str().ends_with("tried\n"), "{row}: {result:?}");
        let arrived = server.requests().split_off(before).concat();
        let wrong = arrived.contains("/two") && !is_data(row);
        if result.stdout.as_str().contains("ESCAPED") || wrong || secret.requests().len() > hidden {
            escaped.insert(row.to_owned(), format!("{result:?}, {arrived:?}"));
        }
        count += 1;
    }
    shell.is_well("the attempts").await;
    (escaped, count)
}

/// Of these the second request is, rightly, the first one's body or a tunnel's contents.
fn is_data(row: &str) -> bool {
    row == "connection-drops-length"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_near_needs_more_than_a_permit_for_the_name() {
    if !can() {
        return;
    }
    let server = Server::start("127.0.0.1".parse().unwrap());
    let everything = crate::policy(r#"@id("all") permit(principal, action == Action::"connect", resource);"#);
    let by_name =
        crate::policy(r#"@id("name") permit(principal, action == Action::"connect", resource == Host::"localhost");"#);
    for policy in [everything, by_name] {
        let place = Place::with(&policy, |_| {});
        let shell = place.open().await;
        for host in ["localhost", "127.0.0.1"] {
            let result = shell
                .run(&format!(
                    // Asked through the proxy, which clients of loopback are told to leave out.
                    "env -u no_proxy -u NO_PROXY /usr/bin/python3 -c \"import urllib.request as u; u.urlopen('http://{host}:{}/')\"",
                    server.port
                ))
                .await;
            assert_eq!(refused(&result), [format!("{host}:{}", server.port)], "{policy}: {result:?}");
        }
    }
    assert!(server.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_many_connections_cost_little_and_end_with_the_session() {
    let Some((place, server)) = world() else { return };
    let shell = place.open().await;
    let open = r#"
import socket, time
held = []
for _ in range(64 + 64 + 8):
    s = socket.socket(); s.settimeout(0.2)
    try: s.connect(('127.0.0.1', 3128)); s.sendall(b'GET http://localhost'); held.append(s)
    except OSError: break
began = time.monotonic()
held[0].settimeout(30)
print(held[0].recv(20)[9:12], 5 < time.monotonic() - began < 20, len(held) <= 64 + 66)
"#;
    std::fs::write(place.root.path().join("work/slow.py"), open).unwrap();
    assert_eq!(shell.says("/usr/bin/python3 slow.py").await, "b'408' True True\n");
    // It serves the session again, and another one meanwhile has its own.
    let url = format!("http://localhost:{}/after", server.port);
    assert_eq!(shell.says(&format!("curl -sS {url}")).await, "here is /after\n");
    // A connection that is open when its session ends, ends.
    let script = format!(
        "/usr/bin/python3 -c \"import socket,time; s=socket.create_connection(('127.0.0.1',3128)); s.sendall(b'CONNECT localhost:{} HTTP/1.1\\r\\n\\r\\n'); s.recv(99); s.sendall(b'GET /held HTTP/1.1'); time.sleep(60)\" & sleep 1",
        server.port
    );
    shell.run(&script).await;
    let before = established(server.port);
    assert!(before > 0, "{:?}", server.requests());
    place.pipeline.sessions().close(&shell.name).await.unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    while established(server.port) > 0 {
        assert!(Instant::now() < until, "a connection has outlived its session");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Connections of this machine's that are open to a port.
fn established(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let wanted = format!(":{port:04X} 01 ");
    table.lines().filter(|line| line.contains(&wanted)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_one_sessions_alone() {
    if !can() {
        return;
    }
    let server = Server::start("127.0.0.1".parse().unwrap());
    // The second place's sessions have a proxy too, which permits them something else.
    let (first, second) = (Place::with(&local(server.port), |_| {}), Place::with(&local(1), |_| {}));
    let (one, two) = (first.open().await, second.open().await);
    let fetch = format!(
        "/usr/bin/python3 -c \"import urllib.request as u; print(u.urlopen('http://localhost:{}/').status)\"",
        server.port
    );
    assert_eq!(one.says(&fetch).await, "200\n");
    let result = two.run(&fetch).await;
    assert_eq!((result.stdout.as_str(), refused(&result).len()), ("", 1), "{result:?}");
    // Neither does the machine have it.
    assert!(std::net::TcpStream::connect(("127.0.0.1", 3128)).is_err());
    let opened = first.pipeline.sessions().open(None, &Client::default()).await.unwrap();
    drop(opened);
}
