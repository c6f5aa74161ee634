//! What a session reaches through its proxy, and what it does not: real programs, a real server on the loopback device, and
//! policies that permit or forbid it.
//!
//! Needs a machine that offers network namespaces, and curl, git and python3.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot be set up fails"
)]

mod attempts;
mod everyday;
mod inspection;
#[path = "../sessions/place.rs"]
#[expect(dead_code, reason = "it serves the tests of sessions, too")]
mod place;
mod server;

use std::net::IpAddr;

use palisade_runner::ExecResult;
use palisade_sandbox::{Namespaces, probe};

use crate::place::Place;
use crate::server::Server;

/// Everything but connections; those to the server's own port on the loopback device, by these names.
fn policy(extra: &str) -> String {
    format!(
        r#"
@id("acts") permit(principal, action in Action::"activity", resource)
  unless {{ action in [Action::"fileAccess", Action::"execute"] || action == Action::"connect" }};
@id("workspace") permit(principal, action in [Action::"fileAccess", Action::"execute"], resource) when {{ resource in context.workspace }};
@id("temp") permit(principal, action in [Action::"fileAccess", Action::"execute"], resource) when {{ resource in PathGroup::"temp" }};
@id("system") permit(principal, action in [Action::"read", Action::"execute"], resource in PathGroup::"system");
@id("devices") permit(principal, action in [Action::"read", Action::"write"], resource in PathGroup::"devices");
@id("approved") permit(principal, action in Action::"activity", resource)
  when {{ context.approved }} unless {{ action == Action::"connect" && context.port == 9 }};
@id("approves") permit(principal, action == Action::"approve", resource);
{extra}
"#
    )
}

/// A permit for `localhost` at one port, and for where that leads.
fn local(port: u16) -> String {
    policy(&format!(
        r#"@id("local") permit(principal, action == Action::"connect", resource == Host::"localhost") when {{ context.port == {port} }};
@id("near") permit(principal, action == Action::"connect", resource)
  when {{ context.port == {port} && resource has ip && resource.ip.isInRange(ip("127.0.0.1/32")) }};"#
    ))
}

fn can() -> bool {
    probe().namespaces != Namespaces::None
}

/// A place with a server that it may reach by the name `localhost` and by its address.
fn world() -> Option<(Place, Server)> {
    if !can() {
        return None;
    }
    let server = Server::start("127.0.0.1".parse::<IpAddr>().unwrap());
    Some((Place::with(&local(server.port), |_| {}), server))
}

/// The entries of the record about connections: effect, peer, program.
fn connections(place: &Place) -> Vec<(String, String, String)> {
    let text = |entry: &serde_json::Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let entries = place.record().into_iter().filter(|entry| entry["kind"] == "connect");
    entries.map(|entry| (text(&entry, "effect"), text(&entry, "peer"), text(&entry, "program"))).collect()
}

/// The peers that were refused, as the result tells.
fn refused(result: &ExecResult) -> Vec<String> {
    result.denied.iter().map(|denied| denied.peer.to_string()).filter(|peer| !peer.is_empty()).collect()
}
