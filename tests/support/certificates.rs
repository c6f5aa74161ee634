//! Certificates for servers and clients of tests, made by `openssl` as an operator would.

use std::process::{Command, Stdio};

use super::services::stdout_of;
use super::world::World;

/// Makes `NAME.pem` and `NAME.key`, vouched for by `by` or by itself, for these names.
pub(crate) fn certify(world: &World, name: &str, by: Option<&str>, names: &str) {
    let path = |name: &str| world.path(name).display().to_string();
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args([
        "-subj",
        &format!("/CN={name}"),
        "-keyout",
        &path(&format!("{name}.key")),
        "-out",
        &path(&format!("{name}.pem")),
    ]);
    match by {
        None => openssl.args(["-addext", "keyUsage=critical,keyCertSign"]),
        Some(by) => openssl.args(["-CA", &path(&format!("{by}.pem")), "-CAkey", &path(&format!("{by}.key"))]).args([
            "-addext",
            &format!("subjectAltName={names}"),
            "-addext",
            "basicConstraints=critical,CA:false",
        ]),
    };
    stdout_of(openssl.stdin(Stdio::null()).stderr(Stdio::null()));
}
