//! Ordinary programs and the variables that tell them of the proxy.

use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use palisade_runner::{Call, Client, Outcome};

use crate::place::Place;
use crate::{connections, local, policy, refused, world};

#[tokio::test(flavor = "multi_thread")]
async fn programs_find_the_proxy_by_themselves() {
    let Some((place, server)) = world() else { return };
    let shell = place.open().await;
    let url = format!("http://localhost:{}", server.port);
    let python = format!("import urllib.request as u; print(u.urlopen('{url}/python').read().decode(), end='')");
    let rows = [
        (format!("curl -sS {url}/curl"), "here is /curl\n"),
        (format!("curl -sS -p {url}/tunnel"), "here is /tunnel\n"),
        (format!("curl -sS -d some=data {url}/post"), "here is /post\n"),
        (
            format!(
                "head -c 100000 /dev/zero | curl -sS -H 'Transfer-Encoding: chunked' --data-binary @- {url}/chunks"
            ),
            "here is /chunks\n",
        ),
        (format!("curl -sS --socks5-hostname 127.0.0.1:3128 --proxy '' {url}/socks"), ""),
        (format!("env -u http_proxy curl -sS -x socks5h://127.0.0.1:3128 {url}/socks"), "here is /socks\n"),
        (format!("curl -sS http://127.0.0.1:{}/address", server.port), "here is /address\n"),
        (format!("curl -sS http://127.1:{}/short", server.port), "here is /short\n"),
        (format!("curl -sS {url}/a {url}/b"), "here is /a\nhere is /b\n"),
        (format!("/usr/bin/python3 -c \"{python}\""), "here is /python\n"),
    ];
    for (script, expected) in rows.iter().filter(|(_, expected)| !expected.is_empty()) {
        let result = shell.run(script).await;
        assert_eq!(result.stdout.as_str(), *expected, "{script}: {result:?}");
    }
    let made = connections(&place);
    assert!(made.iter().all(|(effect, ..)| effect == "allow"), "{made:?}");
    assert!(made.contains(&("allow".to_owned(), format!("localhost:{}", server.port), "curl".to_owned())), "{made:?}");
    // A plain request is passed on as what was understood of it.
    let seen = server.requests().concat();
    assert!(!seen.to_lowercase().contains("proxy-connection"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn git_clones_where_git_alone_may_connect() {
    if !crate::can() {
        return;
    }
    let server = crate::server::Server::start("127.0.0.1".parse().unwrap());
    let port = server.port;
    let place = Place::with(
        &policy(&format!(
            r#"@id("code") permit(principal, action == Action::"connect", resource == Host::"localhost")
  when {{ context.program == Program::"git" && context.port == {port} }};
@id("near") permit(principal, action == Action::"connect", resource)
  when {{ context.program == Program::"git" && resource has ip && resource.ip.isLoopback() }};"#
        )),
        |_| {},
    );
    let made = Command::new("/bin/bash")
        .args(["-c", "git init -q -b main r && cd r && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m first && cd .. && git clone -q --bare r r.git && cd r.git && git update-server-info"])
        .current_dir(place.root.path().join("home"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    server.give(place.root.path().join("home"));
    let shell = place.open().await;
    let log = shell.says(&format!("git clone -q http://localhost:{port}/r.git && git -C r log --format=%s")).await;
    assert_eq!(log, "first\n");
    let all = connections(&place);
    assert!(
        !all.is_empty()
            && all.iter().all(|(effect, _, program)| (effect.as_str(), program.as_str()) == ("allow", "git")),
        "{all:?}"
    );
    // A part of git that git did not start to fetch or to push does what its input says.
    let log = shell.says(&format!("git remote add far http://localhost:{port}/r.git; cd r; git fetch -q; git pull -q; git log --format=%s; git ls-remote -q --heads | wc -l")).await;
    assert_eq!(log, "first\n1\n");
    let ask = "printf 'list\\n\\n'";
    for helper in ["git remote-http", "/usr/lib/git-core/git-remote-http", "git -c alias.p='remote-http' p"] {
        let result = shell.run(&format!("{ask} | {helper} far http://localhost:{port}/r.git")).await;
        assert!(!result.stdout.as_str().contains("refs/heads/main"), "{helper}: {result:?}");
        assert_eq!(refused(&result), [format!("localhost:{port}")], "{helper}: {result:?}");
    }
    // A hook that `git fetch` runs is not git.
    let hook = format!(
        "#!/bin/sh\n{ask} >in; (exec git remote-http far http://localhost:{port}/r.git <in >out 2>&1)\nexit 0\n"
    );
    std::fs::write(place.root.path().join("work/hook"), hook).unwrap();
    let result = shell
        .run("cp ../hook .git/hooks/reference-transaction; chmod +x .git/hooks/*; git fetch -q origin main:other; rm .git/hooks/reference-transaction; git log other --format=%s; cd ..")
        .await;
    assert_eq!(
        (result.stdout.as_str(), refused(&result)),
        ("first\n", vec![format!("localhost:{port}"); 1]),
        "{result:?}"
    );
    // A git that is traced may be made to say anything.
    let allowed = || connections(&place).iter().filter(|(effect, ..)| effect == "allow").count();
    let before = allowed();
    let result = shell.run("strace -o /dev/null git -C r fetch -q || echo failed").await;
    assert_eq!((result.stdout.as_str(), allowed()), ("failed\n", before), "{result:?}");
    // What was a directory when the text was judged is no host's when git starts.
    let set = format!("git -C r remote set-url near http://localhost:{port}/r.git");
    shell.run(&format!("git -C r remote add near ../r; mkfifo p; (cat p; {set}; echo set >p) >/dev/null &")).await;
    let result = shell.run("echo go >p; cat p; cd r; git fetch near; cd ..").await;
    assert_eq!((result.stdout.as_str(), refused(&result)), ("set\n", vec![format!("localhost:{port}")]), "{result:?}");
    // Others are not git, whatever they run, are called or hand over.
    let python = format!(
        r#"import socket,os
s=socket.create_connection(('127.0.0.1',3128)); s.sendall(b'CONNECT localhost:{port} HTTP/1.1\r\n\r\n'); print(s.recv(99)[:12])"#
    );
    let handed = format!(
        r#"import socket,os,subprocess
a,b=socket.socketpair()
s=socket.create_connection(('127.0.0.1',3128))
p=subprocess.Popen(['git','cat-file','--batch'],cwd='r',stdin=subprocess.PIPE,stdout=s.fileno())
socket.send_fds(a,[b'x'],[s.fileno()]); s.sendall(b'CONNECT localhost:{port} HTTP/1.1\r\n'); os.dup(s.fileno()); s.close()
t=socket.socket(fileno=socket.recv_fds(b,9,1)[1][0]); t.sendall(b'\r\n'); print(t.recv(99)[:12])"#
    );
    let unconnected = format!(
        r#"import socket,os,subprocess
a,b=socket.socketpair()
s=socket.socket()
p=subprocess.Popen(['git','cat-file','--batch'],cwd='r',stdin=subprocess.PIPE,stdout=s.fileno())
s.connect(('127.0.0.1',3128)); s.sendall(b'CONNECT localhost:{port} HTTP/1.1\r\n'); s.sendall(b'\r\n')
socket.send_fds(a,[b'x'],[s.fileno()]); s.close()
t=socket.socket(fileno=socket.recv_fds(b,9,1)[1][0]); print(t.recv(99)[:12])"#
    );
    std::fs::write(place.root.path().join("work/unconnected.py"), unconnected).unwrap();
    std::fs::write(place.root.path().join("work/python.py"), python).unwrap();
    std::fs::write(place.root.path().join("work/handed.py"), handed).unwrap();
    for script in [
        "/usr/bin/python3 python.py",
        "/usr/bin/python3 handed.py",
        "/usr/bin/python3 unconnected.py",
        "(exec -a git /usr/bin/python3 python.py)",
    ] {
        let result = shell.run(script).await;
        assert_eq!(result.stdout.as_str(), "b'HTTP/1.1 403'\n", "{script}: {result:?}");
        assert_eq!(refused(&result), [format!("localhost:{port}")], "{script}: {result:?}");
    }
}

/// Not the number that stands for users without a map.
const ORDINARY: u32 = 54321;

/// The proxy knows their programs too: the first process of their sessions keeps more from them than from root.
#[test]
fn the_same_holds_for_an_ordinary_user() {
    if !crate::can() || !palisade_sandbox::probe().root {
        return;
    }
    // By descriptor, so that the user needs no way to the file.
    let program = std::fs::File::open("/proc/self/exe").unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(home.path(), Some(ORDINARY), Some(ORDINARY)).unwrap();
    command.args(["--nocapture", "programs_find_the_proxy", "git_clones_where_git_alone"]);
    command.env("HOME", home.path()).current_dir("/").uid(ORDINARY).gid(ORDINARY);
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.contains(" 2 passed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_with_its_policy() {
    if !crate::can() {
        return;
    }
    let extra = r#"@id("mail") @reason("No mail from here.") forbid(principal, action == Action::"connect", resource) when { context.port == 25 };"#;
    let place = Place::with(&(local(1) + extra), |_| {});
    let shell = place.open().await;
    // The text of the command names no peer.
    let fetch = |url: &str| {
        format!(
            "/usr/bin/python3 - <<'E'\nimport urllib.request as u\ntry: u.urlopen('{url}')\nexcept Exception as e: print(e.code, e.read().decode(), end='')\nE"
        )
    };
    let result = shell.run(&fetch("http://localhost:25/")).await;
    assert_eq!(result.stdout.as_str(), "403 palisade: mail: No mail from here.\n", "{result:?}");
    let denied = &result.denied[0];
    assert_eq!(
        (denied.policy.as_str(), denied.reason.as_str(), denied.peer.as_str()),
        ("mail", "No mail from here.", "localhost:25")
    );
    let result = shell.run(&fetch("http://other.invalid/")).await;
    assert!(
        result.stdout.as_str().starts_with("403 palisade: No policy permits `connect other.invalid:80`"),
        "{result:?}"
    );
    let made = connections(&place);
    assert_eq!(made[0], ("deny".to_owned(), "localhost:25".to_owned(), "python3".to_owned()));
    // However often a script tries.
    let result = shell.run("/usr/bin/python3 -c \"\nimport socket\nfor _ in range(50):\n s=socket.create_connection(('127.0.0.1',3128)); s.sendall(b'CONNECT a.invalid:1 HTTP/1.1\\r\\n\\r\\n'); s.recv(9)\"").await;
    assert_eq!((refused(&result).len(), connections(&place).len()), (1, made.len() + 1), "{result:?}");
}

/// More than are told or recorded are counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_scan_is_counted() {
    let Some((place, _)) = world() else { return };
    let shell = place.open().await;
    let scan = "import socket\nfor p in range(300):\n s=socket.create_connection(('127.0.0.1',3128)); s.sendall(b'CONNECT a.invalid:%d HTTP/1.1\\r\\n\\r\\n'%(p+1)); s.recv(9)";
    let result = shell.run(&format!("/usr/bin/python3 -c \"{scan}\"")).await;
    assert_eq!((refused(&result).len(), result.denied_more), (20, 280), "{result:?}");
    assert_eq!(connections(&place).len(), 256);
    // Behind the command's end there is no result that could count them.
    let late = format!("(sleep 0.3; exec /usr/bin/python3 -c \"{scan}\nopen('done', 'w')\") >/dev/null 2>&1 &");
    shell.run(&late).await;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !place.root.path().join("work/done").exists() {
        assert!(std::time::Instant::now() < until, "the scan does not end");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let counted: Vec<_> = place.record().into_iter().filter(|entry| entry["kind"] == "denial").collect();
    let more: Vec<_> = counted.iter().map(|entry| entry["more"].as_u64().unwrap_or_default()).collect();
    assert_eq!(more, [1, 2, 4, 8, 16, 32], "{counted:?}");
}

/// A client that has said all it wants may close its side and read on, as `nc -N` does.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_finished_for_a_client_that_only_listens() {
    let Some((place, server)) = world() else { return };
    let shell = place.open().await;
    let code = format!(
        "import socket\ns=socket.create_connection(('127.0.0.1',3128)); s.settimeout(5)\ns.sendall(b'GET http://localhost:{}/half HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'); s.shutdown(1)\nout=b''\nwhile b'/half' not in out: out+=s.recv(999)\nprint(out[:12])",
        server.port
    );
    for _ in 0..5 {
        assert_eq!(shell.says(&format!("/usr/bin/python3 -c \"{code}\"")).await, "b'HTTP/1.1 200'\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_is_to_the_peer_that_was_shown() {
    let Some((_, server)) = world() else { return };
    let other = crate::server::Server::start("127.0.0.1".parse().unwrap());
    let place = Place::with(&policy(""), |_| {});
    let shell = place.open().await;
    let script = format!(
        "curl -sS http://127.0.0.1:{}/shown; /usr/bin/python3 -c \"import urllib.request as u; u.urlopen('http://127.0.0.1:{}/not-shown')\"",
        server.port, other.port
    );
    // Policy does not ask about a peer that a command only writes down, so the person does not see it.
    let written = format!("git init -q n; git -C n remote add e http://127.0.0.1:{}/x; {script}", other.port);
    for script in [&script, &written] {
        let result = shell.run(script).await;
        assert_eq!(result.stdout.as_str(), "here is /shown\n", "{result:?}");
        assert_eq!(refused(&result), [format!("127.0.0.1:{}", other.port)], "{script}");
        assert!(other.requests().is_empty());
    }
    // For that script, not for the next one.
    let result = shell
        .run(&format!(
            "/usr/bin/python3 -c \"import urllib.request as u; u.urlopen('http://127.0.0.1:{}/later')\"",
            server.port
        ))
        .await;
    assert_eq!(refused(&result), [format!("127.0.0.1:{}", server.port)], "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_permit_there_is_no_network() {
    let none = policy("").replace(
        "unless { action == Action::\"connect\" && context.port == 9 }",
        "unless { action == Action::\"connect\" }",
    );
    let forbid = r#"@id("none") forbid(principal, action == Action::"connect", resource);"#;
    let place = Place::with(&(none + forbid), |_| {});
    let opened = place.pipeline.sessions().open(None, &Client::default()).await.unwrap();
    let sandbox = serde_json::to_value(&opened.sandbox).unwrap();
    assert_eq!(sandbox["network"], "not-permitted");
    let call = Call {
        script: b"/usr/bin/python3 -c 'import socket; socket.socket()'; echo \"[$http_proxy]\"".to_vec(),
        ..Call::default()
    };
    match place.pipeline.submit(call).await.unwrap() {
        Outcome::Ran(result) => {
            assert!(result.stderr.as_str().contains("Permission denied"), "{result:?}");
            assert_eq!(result.stdout.as_str(), "[]\n");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_tells_of_its_network() {
    let Some((place, _)) = world() else { return };
    let opened = place.pipeline.sessions().open(None, &Client::default()).await.unwrap();
    assert_eq!(serde_json::to_value(&opened.sandbox).unwrap()["network"], "proxy");
}
