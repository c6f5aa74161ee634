//! Transport security: certificates of servers and clients, and keys that are fetched.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::json;

use super::issuer::{Issuer, publish, settings};
use super::{Site, TOKEN, give_out, modern, tool_call};
use crate::support::certificates::certify;
use crate::support::services::has_program;
use crate::support::until;
use crate::support::world::{Ended, World};

/// What `curl` is answered: the status, and the body.
fn curl(world: &World, site: &Site, arguments: &[&str]) -> (u16, String) {
    let list = tool_call("list", &json!({}));
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "300", "-w", "\n%{http_code}", "--cacert"]).arg(world.path("authority.pem"));
    for (name, value) in modern(&list) {
        curl.args(["-H", &format!("{name}: {value}")]);
    }
    curl.args(["--data-binary", &list.to_string()]).args(arguments).arg(format!("https://{}/mcp", site.authority));
    let ended = Ended::of(&mut curl);
    let (body, status) = ended.stdout.rsplit_once('\n').unwrap_or(("", ""));
    (status.parse().unwrap_or(0), format!("{body}{}", ended.stderr))
}

#[test]
fn a_client_is_who_its_certificate_says() {
    if has_program("openssl").is_none() || has_program("curl").is_none() {
        return;
    }
    let world = World::new();
    certify(&world, "authority", None, "");
    certify(&world, "others", None, "");
    certify(&world, "server", Some("authority"), "IP:127.0.0.1");
    certify(&world, "agent", Some("authority"), "URI:spiffe://example/build,DNS:build.example");
    certify(&world, "stranger", Some("authority"), "URI:spiffe://example/build/x,DNS:build.example");
    certify(&world, "forged", Some("others"), "URI:spiffe://example/build");
    give_out(&world, "token", TOKEN);
    let tls = "[serve.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclients = \"authority.pem\"\n";
    let row =
        "[serve.principals.build]\nuser = \"u\"\nroles = [\"developer\"]\ncertificate = \"spiffe://example/build\"\n";
    let site = Site::start(&world, &format!("{tls}{row}"));
    let with = |name: &str, more: &[&str]| {
        let files = [world.path(&format!("{name}.pem")), world.path(&format!("{name}.key"))];
        let [certificate, key] = files.map(|file| file.display().to_string());
        curl(&world, &site, &[&["--cert", &certificate, "--key", &key][..], more].concat())
    };
    let answer = with("agent", &[]);
    assert!(answer.0 == 200 && answer.1.contains("sessions"), "{answer:?}");
    assert_eq!(with("stranger", &[]).0, 403);
    // A token is not made up for by a certificate.
    assert_eq!(with("agent", &["-H", "authorization: Bearer x"]).0, 401);
    // The handshake fails: nobody vouches for it.
    assert_eq!(with("forged", &[]).0, 0);
    assert_eq!(curl(&world, &site, &[]).0, 401);
    // In the clear nothing is answered.
    assert_eq!(site.ask("POST /mcp", &[], "{}").status, 0);
    let (status, log) = site.stop();
    assert_eq!(status, Some(0), "{log}");
}

/// Serves this directory over TLS, and says on each line of its output what was asked for.
const KEY_SERVER: &str = "
import http.server, ssl, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        print('asked', flush=True)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('server.pem', 'server.key')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
";

#[test]
fn keys_are_fetched_from_an_issuer_that_somebody_vouches_for() {
    if has_program("openssl").is_none() || has_program("python3").is_none() {
        return;
    }
    let world = World::new();
    certify(&world, "authority", None, "");
    certify(&world, "others", None, "");
    certify(&world, "server", Some("authority"), "IP:127.0.0.1");
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    publish(&world, &[&old]);
    let mut python = Command::new("python3");
    python.args(["-c", KEY_SERVER]).current_dir(world.path("")).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = python.spawn().expect("it starts");
    let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
    let port = lines.next().expect("a line").expect("readable");
    let row =
        "[serve.principals.build-agent]\nuser = \"alice\"\nroles = [\"developer\"]\noauth = { subject = \"alice\" }\n";
    let with = |roots: &str| {
        let keys = format!("\"https://127.0.0.1:{port}/keys.json\"\nroots = \"{roots}\"");
        Site::start(&world, &format!("{}{row}", settings().replace("\"keys.json\"", &keys)))
    };
    let status = |site: &Site, issuer: &Issuer| {
        site.tell(&issuer.token("alice", &json!({})), &tool_call("list", &json!({}))).status
    };

    let site = with("authority.pem");
    assert_eq!((status(&site, &old), status(&site, &old), status(&site, &new)), (200, 200, 401));
    publish(&world, &[&new]);
    // Half a minute has to pass until it is asked again.
    assert_eq!((status(&site, &new), status(&site, &old)), (401, 200));
    drop(site);

    let site = with("others.pem");
    assert_eq!(status(&site, &new), 503);
    // The log is read beside the answers.
    until("word of it", || if site.log().contains("UnknownIssuer") { Ok(()) } else { Err(site.log()) });
    drop(site);
    server.kill().and_then(|()| server.wait()).expect("ended");
    let asked = lines.map_while(Result::ok).filter(|line| line == "asked").count();
    assert_eq!(asked, 2, "once at the beginning, and once for a token by an unknown key");
}
