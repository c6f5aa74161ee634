//! What an agent's own copy of an installer gets from a registry, and what it does not: the registry speaks TLS, and policy lets `pip`
//! connect to it.

use std::path::Path;

use palisade_engine::AbsolutePath;
use palisade_runner::Settings;
use palisade_runner::caches::Caches;
use palisade_runner::facts::real_directory;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::place::Place;
use crate::server::Server;
use crate::{connections, policy, refused};

/// Asks for a tunnel to `localhost` at the port that its first word is, and there says what its second one is, which names a method, a
/// target, a field and a body. Prints the status, or the kind of error.
const CLIENT: &str = r#"#!/usr/bin/python3
import http.client, os, socket, ssl, sys
port, method, target, field, body = int(open("port").read()), *open("request").read().split("|")
trust = ssl.create_default_context(cafile=os.environ["PIP_CERT"])
def ask():
    if method == "plain":
        stream = socket.create_connection(("127.0.0.1", 3128))
        stream.sendall(f"CONNECT localhost:{port} HTTP/1.1\r\n\r\nGET {target} HTTP/1.1\r\n\r\n".encode())
        return [line for line in stream.makefile("rb")][0].split()[1].decode()
    if method == "socks":
        stream = socket.create_connection(("127.0.0.1", 3128))
        stream.sendall(b"\x05\x01\x00")
        stream.recv(2)
        stream.sendall(b"\x05\x01\x00\x03\x09localhost" + port.to_bytes(2, "big"))
        return str(stream.recv(2)[1])
    connection = http.client.HTTPSConnection("127.0.0.1", 3128, context=trust)
    connection.set_tunnel("localhost", port)
    connection.request(method, target, body=body or None, headers=dict([field.split(":")]) if field else {})
    return str(connection.getresponse().status)
try:
    print(ask())
except Exception as error:
    print(type(error).__name__, error)
"#;

/// A registry on the loopback device, and the file that vouches for it.
fn registry(directory: &Path, file: &str) -> Server {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    std::fs::write(directory.join(file), authority.pem()).unwrap();
    let server = ServerConfig::builder_with_provider(std::sync::Arc::new(default_provider()));
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Server::secured("127.0.0.1".parse().unwrap(), server.with_single_cert(vec![own.der().clone()], key).unwrap())
}

/// The settings of a session whose agent has caches, and whose machine trusts the registry.
fn trusting(settings: &mut Settings, trusted: &Path) {
    let at = |path: &Path| AbsolutePath::new(path.to_str().unwrap()).unwrap();
    let home = real_directory(trusted.parent().unwrap()).unwrap();
    let base = at(&Path::new(home.as_str()).join("cache/agents"));
    let workspace = settings.surroundings.workspace.clone();
    settings.caches = Caches::of(&base, &home, "tester", "agent", &workspace);
    settings.environment.push(("PIP_CERT".into(), trusted.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_copy_of_pip_fetches_and_says_nothing_else() {
    if !crate::can() {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    let server = registry(files.path(), "trusted.pem");
    let stranger = registry(files.path(), "unknown.pem");
    let ports = format!("[{}, {}].contains(context.port)", server.port, stranger.port);
    let place = Place::with(
        &policy(&format!(
            r#"@id("registry") permit(principal, action == Action::"connect", resource == Host::"localhost")
  when {{ context.program == Program::"pip" && {ports} }};
@id("near") permit(principal, action == Action::"connect", resource)
  when {{ context.program == Program::"pip" && resource has ip && resource.ip.isLoopback() }};"#
        )),
        |settings| trusting(settings, &files.path().join("trusted.pem")),
    );
    let shell = place.open().await;
    let work = place.root.path().join("work");
    std::fs::create_dir(work.join("bin")).unwrap();
    shell.says(&format!("cat >bin/pip <<'X'\n{CLIENT}X\nchmod +x bin/pip; cp bin/pip bin/other; touch req.txt")).await;
    let port = |port: u16| std::fs::write(work.join("port"), port.to_string()).unwrap();
    let install = "bin/pip install --require-hashes -r req.txt";
    let denied = |server: &Server| vec![format!("localhost:{}", server.port)];

    port(server.port);
    for (request, status) in [
        ("GET|/simple/six/|User-Agent:secret|", "200"),
        ("HEAD|/simple/six/|Host:other.example|", "200"),
        ("GET|/simple/six/|Authorization:secret|", "200"),
        ("POST|/simple/six/||", "403"),
        ("PUT|/secret||secret", "403"),
        ("DELETE|/simple/six/||", "403"),
        ("GET|/simple/?secret||", "403"),
        ("GET|/simple/six/||secret", "403"),
        ("GET|http://other.example/secret||", "400"),
        ("plain|/secret||", "200"),
        ("socks|||", "2"),
    ] {
        std::fs::write(work.join("request"), request).unwrap();
        let result = shell.run(install).await;
        assert_eq!(result.stdout.as_str().trim(), status, "{request}: {result:?}");
    }
    // By its path from elsewhere, and as the module of an interpreter, it is the same.
    std::fs::write(work.join("request"), "GET|/by-path||").unwrap();
    for start in ["$PWD/bin/pip", "sh -c 'exec bin/pip \"$@\"' sh", "./bin/../bin/pip"] {
        let result = shell.run(&format!("{start} install --require-hashes -r req.txt")).await;
        assert_eq!(result.stdout.as_str(), "200\n", "{start}: {result:?}");
    }
    let allowed = connections(&place).iter().filter(|(effect, ..)| effect == "allow").count();
    // All that the registry has heard: what only fetches, and of that what names a file and its form.
    let heard = server.requests();
    let heard: Vec<&str> = heard.iter().map(String::as_str).filter(|heard| !heard.is_empty()).collect();
    assert_eq!(heard.len(), 6, "{heard:?}");
    for request in &heard {
        let first = request.lines().next().unwrap();
        assert!(
            first.starts_with("GET /simple/six/ ")
                || first.starts_with("HEAD /simple/six/ ")
                || first == "GET /by-path HTTP/1.1"
        );
        assert!(!request.contains("secret") && !request.contains("other"), "{request}");
        assert!(request.contains(&format!("\r\nHost: localhost:{}\r\n", server.port)), "{request}");
    }

    // Other code of the workspace gets no connection, nor does the copy where it is to stay away from the network.
    for other in
        ["bin/other install --require-hashes -r req.txt", "bin/pip list", "bin/pip install --no-index -r req.txt"]
    {
        let result = shell.run(other).await;
        assert_eq!(refused(&result), denied(&server), "{other}: {result:?}");
    }
    // Nor a program that the copy starts.
    let script = "#!/bin/sh\nexec /usr/bin/python3 bin/other\n";
    std::fs::write(work.join("bin/pip3"), script).unwrap();
    let result = shell.run("chmod +x bin/pip3; bin/pip3 install --require-hashes -r req.txt").await;
    assert_eq!(refused(&result), denied(&server), "{result:?}");
    assert_eq!(connections(&place).iter().filter(|(effect, ..)| effect == "allow").count(), allowed);

    // A registry that the machine does not trust is told nothing.
    port(stranger.port);
    let result = shell.run(install).await;
    assert_eq!(result.stdout.as_str(), "502\n", "{result:?}");
    assert!(stranger.requests().iter().all(String::is_empty), "{:?}", stranger.requests());
    // No session reads the authority's key.
    let key = files.path().join("cache/authority/key.pem");
    assert!(key.is_file());
    let result = shell.run(&format!("/usr/bin/python3 -c 'open(\"{}\")' 2>&1 | tail -n 1", key.display())).await;
    assert!(result.stdout.as_str().contains("denied") || result.stdout.as_str().contains("No such file"), "{result:?}");
}
