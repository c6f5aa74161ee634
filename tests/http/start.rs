//! Settings with which no server starts, and sockets in the file system.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use serde_json::json;

use super::issuer::{Issuer, publish, settings};
use super::{Answer, Site, TOKEN, first_line, give_out, modern, send, serve, tool_call, with_token};
use crate::support::world::World;

#[test]
fn no_server_starts_that_would_not_know_whom_it_serves() {
    let world = World::new();
    give_out(&world, "token", TOKEN);
    give_out(&world, "short", "too-short");
    give_out(&world, "open", TOKEN);
    std::fs::set_permissions(world.path("open"), std::fs::Permissions::from_mode(0o644)).expect("a mode");
    publish(&world, &[&Issuer::new("one")]);
    let row = |proof: &str| format!("[serve.principals.a]\nuser = \"u\"\nroles = []\n{proof}\n");
    let good = row("token-file = \"token\"");
    let oauth = settings();
    let tls = "[serve.tls]\ncertificate = \"none.pem\"\nkey = \"none.key\"\n";
    let local = "127.0.0.1:0";
    for (name, settings, address, said) in [
        ("no principals", String::new(), local, "nobody would have to prove who they are"),
        ("no principals, tokens", oauth.clone(), local, "nobody would have to prove"),
        ("no table", "[serve]\nprincipals = {}\n".to_owned(), local, "nobody would have to prove"),
        ("not an address", good.clone(), "localhost:80", "`localhost:80` is no address to listen on"),
        ("not a path", good.clone(), "unix:socket", "`unix:socket` is no address"),
        (
            "no TLS",
            good.clone(),
            "0.0.0.0:0",
            "`0.0.0.0:0` can be reached from other machines, and there is no `serve.tls`",
        ),
        ("no TLS, version 6", good.clone(), "[::]:0", "can be reached from other machines"),
        ("no name", format!("{tls}{good}"), "0.0.0.0:0", "there is no `serve.url`"),
        ("no certificate", format!("{tls}{good}"), local, "`serve.tls.certificate`"),
        (
            "a name in the clear",
            format!("[serve]\nurl = \"http://palisade.example/mcp\"\n{good}"),
            local,
            "begins with `http:`",
        ),
        (
            "a name without a path",
            format!("[serve]\nurl = \"https://palisade.example\"\n{good}"),
            local,
            "which is no URL of this server",
        ),
        (
            "a name with a query",
            format!("[serve]\nurl = \"https://palisade.example/mcp?x\"\n{good}"),
            local,
            "which is no URL of this server",
        ),
        ("any page", format!("[serve]\norigins = [\"*\"]\n{good}"), local, "`serve.origins` is `*`"),
        ("an unknown key", format!("[serve]\nanyone = true\n{good}"), local, "unknown field `anyone`"),
        ("no proof", row(""), local, "the principal `a` needs one of"),
        (
            "two proofs",
            row("uid = 0\ntoken-file = \"token\""),
            local,
            "the principal `a` has `token-file` and `uid`, and",
        ),
        (
            "no subject",
            format!("{oauth}{}", row("oauth = { claims = { groups = \"eng\" } }")),
            local,
            "neither `subject` nor `client`",
        ),
        ("no issuer", row("oauth = { subject = \"s\" }"), local, "there is no `serve.oauth`"),
        ("no authority for clients", row("certificate = \"spiffe://x/a\""), local, "there is no `serve.tls.clients`"),
        ("no URI", row("certificate = \"alice\""), local, "no URI"),
        ("a user over a network", row("uid = 0"), local, "does not listen on `unix:PATH`"),
        ("a short token", row("token-file = \"short\""), local, "32 letters"),
        ("an open token", row("token-file = \"open\""), local, "other users can read it"),
        ("no token", row("token-file = \"none\""), local, "`token-file`: "),
        (
            "a shared secret",
            oauth.replace("scopes", "algorithms = [\"HS256\"]\nscopes") + &good,
            local,
            "`serve.oauth.algorithms` is `HS256`",
        ),
        (
            "no algorithm",
            oauth.replace("scopes", "algorithms = [\"none\"]\nscopes") + &good,
            local,
            "`serve.oauth.algorithms` is `none`",
        ),
        (
            "keys in the clear",
            oauth.replace("keys.json", "http://issuer.example/keys") + &good,
            local,
            "`serve.oauth.keys`",
        ),
        ("no keys", oauth.replace("keys.json", "none.json") + &good, local, "`serve.oauth.keys`"),
        ("keys within reach", oauth.replace("keys.json", "work/keys.json") + &good, local, "lies inside the workspace"),
        (
            "the same twice",
            format!("{good}{}", good.replace("principals.a", "principals.b")),
            local,
            "are proven by the same",
        ),
        (
            "one workspace for two",
            format!(
                "[sandbox]\nlevel = \"strict\"\n{oauth}{good}{}",
                row("oauth = { subject = \"s\" }").replace("principals.a", "principals.b")
            ),
            local,
            "the workspaces of the principals",
        ),
        (
            "a name with a slash",
            good.replace("principals.a", "principals.\"../a\""),
            local,
            "has a name that is not made of",
        ),
    ] {
        let (mut child, mut lines) = serve(&world, &settings, address);
        let mut text = String::new();
        lines.read_to_string(&mut text).expect("readable");
        assert_eq!(child.wait().expect("ended").code(), Some(1), "{name}: {text}");
        assert!(text.contains("error: ") && text.contains(said), "{name}: {text}");
    }
    assert!(world.records().is_empty(), "{:?}", world.records());
    let (mut child, mut lines) = serve(&world, &good, &format!("unix:{}", world.path("work/socket").display()));
    let mut text = String::new();
    lines.read_to_string(&mut text).expect("readable");
    assert!(
        child.wait().is_ok_and(|status| status.code() == Some(1)) && text.contains("lies in the workspace"),
        "{text}"
    );
}

#[test]
fn several_principals_need_more_than_the_default_level() {
    let world = World::new();
    for name in ["a", "b"] {
        give_out(&world, &format!("token-{name}"), &format!("{TOKEN}-{name}"));
        std::fs::create_dir_all(world.path(&format!("agents/{name}"))).expect("a directory");
    }
    let row =
        |name: &str| format!("[serve.principals.{name}]\nuser = \"u\"\nroles = []\ntoken-file = \"token-{name}\"\n");
    let places = format!("[workspace]\npath = \"{}/{{agent}}\"\n", world.path("agents").display());
    let (mut child, mut lines) = serve(&world, &format!("{places}{}{}", row("a"), row("b")), "127.0.0.1:0");
    let mut text = String::new();
    lines.read_to_string(&mut text).expect("readable");
    assert_eq!(child.wait().expect("ended").code(), Some(1), "{text}");
    assert!(text.contains("there are several principals, and `sandbox.level` is not `strict`"), "{text}");
}

/// Asks over a socket in the file system.
fn ask(path: &std::path::Path, request: &str, head: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = UnixStream::connect(path).expect("it listens");
    send(&mut stream, request, &[&[("host", "localhost")], head].concat(), body);
    Answer::of(&mut stream)
}

#[test]
fn at_a_socket_in_the_file_system_the_kernel_says_who_somebody_is() {
    let world = World::new();
    let path = world.path("socket");
    let address = format!("unix:{}", path.display());
    let list = tool_call("list", &json!({}));
    let own = format!(
        "[serve.principals.a]\nuser = \"u\"\nroles = [\"developer\"]\nuid = {}\n",
        rustix::process::geteuid().as_raw()
    );
    for (name, settings, status, mode) in [
        ("without settings", String::new(), 200, 0o600),
        ("its own user", own.clone(), 200, 0o600),
        ("another user", own.replace("uid = ", "uid = 1"), 403, 0o666),
    ] {
        let (mut child, mut lines) = serve(&world, &settings, &address);
        let said = first_line(&mut child, &mut lines);
        assert!(said.ends_with(&format!(" at {address}")), "{said}");
        let site = Site::of(child, lines, String::new());
        let file = std::fs::metadata(&path).expect("a socket");
        assert_eq!(file.permissions().mode() & 0o777, mode, "{name}");
        let answer = ask(&path, "POST /mcp", &modern(&list), &list.to_string());
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert_eq!(site.stop().0, Some(0), "{name}");
        assert!(!path.exists(), "{name}");
    }
}

#[test]
fn an_operator_asks_at_a_socket_of_its_own() {
    let (world, site) = with_token("[serve]\nadmin = \"admin\"");
    let path = world.path("admin");
    assert_eq!(std::fs::metadata(&path).expect("a socket").permissions().mode() & 0o777, 0o600);
    let health = ask(&path, "GET /healthz", &[], "");
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    site.call(TOKEN, "session_open", &json!({}));
    assert_eq!(site.tell("wrong", &tool_call("list", &json!({}))).status, 401);
    let metrics = ask(&path, "GET /metrics", &[], "");
    assert_eq!(metrics.status, 200);
    for line in [
        "palisade_sessions{principal=\"build-agent\"} 1",
        "palisade_jobs{principal=\"build-agent\"} 0",
        "palisade_http_answers_total{status=\"200\"} 1",
        "palisade_http_answers_total{status=\"401\"} 1",
        "palisade_connections_total 2",
    ] {
        assert!(metrics.body.lines().any(|told| told == line), "no `{line}` in {}", metrics.body);
    }
    assert!(!metrics.body.contains(TOKEN) && !metrics.body.contains("wrong"));
    assert_eq!(ask(&path, "POST /metrics", &[], "").status, 405);
    assert_eq!(ask(&path, "POST /mcp", &[], "").status, 404);
    // Clients do not find it.
    assert_eq!(site.ask("GET /metrics", &[], "").status, 404);
}
