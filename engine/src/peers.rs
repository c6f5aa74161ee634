//! Which peers policies let a session reach: whether any at all, and whether an address is permitted for its own sake.
//!
//! The second is what a name needs that means an address inside of somebody's network: a policy that permits a host by name
//! says nothing of where that name leads, and whoever keeps the name decides that anew with each answer (DNS rebinding).
//! Not decided here: which addresses need such a permit, and the connection itself, which is an act like others.

use std::net::{IpAddr, Ipv4Addr};

use cedar_policy::{Effect, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use crate::acts::Act;
use crate::bundle::Bundle;
use crate::cedar_values::{Built, uid};
use crate::facts::Facts;
use crate::request::RequestBuilder;
use crate::verdict;

/// A connection that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// The peer's name or address.
    pub host: &'a str,
    /// The address that it means.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The trusted program that wants it; empty for any other.
    pub program: &'a str,
}

/// Addresses of no particular kind. What is permitted for one of them as well is not permitted for its address.
const ORDINARY: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)), IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9))];

pub(crate) fn may_connect(bundle: &Bundle, facts: &Facts) -> bool {
    // An id that cannot be built is nobody's permit.
    let (Ok(action), Ok(own)) = (uid("Action", "connect"), principals(facts)) else { return false };
    let mut permitted = false;
    for policy in bundle.index.about(&action).filter(|policy| concerns(policy, &own)) {
        match policy.effect() {
            Effect::Permit => permitted = true,
            Effect::Forbid if is_unconditional(policy) => return false,
            Effect::Forbid => {}
        }
    }
    permitted
}

/// Whether a policy's scope lets it decide about the principal who is, or is in, these.
pub(crate) fn concerns(policy: &Policy, own: &[EntityUid]) -> bool {
    match policy.principal_constraint() {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::Is(kind) => kind.to_string() == "Agent",
        PrincipalConstraint::IsIn(kind, uid) => kind.to_string() == "Agent" && own.contains(&uid),
        PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) => own.contains(&uid),
    }
}

/// The agent, and its roles.
pub(crate) fn principals(facts: &Facts) -> Built<Vec<EntityUid>> {
    let roles = facts.principal.roles.iter().map(|role| uid("Role", role));
    roles.chain([uid("Agent", &facts.principal.agent)]).collect()
}

/// Whether it holds for every peer, whatever the circumstances.
fn is_unconditional(policy: &Policy) -> bool {
    let every = matches!(policy.resource_constraint(), ResourceConstraint::Any | ResourceConstraint::Is(_));
    every && !policy.has_non_scope_constraint()
}

pub(crate) fn grants_address(
    bundle: &Bundle,
    builder: &RequestBuilder<'_>,
    wanted: &Connection<'_>,
    approved: bool,
) -> bool {
    let literal = wanted.address.to_canonical().to_string();
    // By the name that it goes by, and by the address itself where a policy names that.
    let permits = |host: &str, address: IpAddr| {
        let act = Act::Connect {
            host: host.to_owned(),
            address: Some(address),
            port: wanted.port,
            program: wanted.program.to_owned(),
        };
        verdict::permitting(bundle, builder, &builder.act(&act), approved)
    };
    let own = |host: &str, elsewhere: &dyn Fn(IpAddr) -> Option<Vec<String>>| {
        let Some(here) = permits(host, wanted.address) else { return false };
        ORDINARY.into_iter().all(|ordinary| {
            let there = elsewhere(ordinary).unwrap_or_default();
            here.iter().any(|policy| !there.contains(policy))
        })
    };
    permits(wanted.host, wanted.address).is_some()
        && (own(wanted.host, &|ordinary| permits(wanted.host, ordinary))
            || own(&literal, &|ordinary| permits(&ordinary.to_string(), ordinary)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::request::tests::{engine, facts};

    #[test]
    fn a_network_is_for_those_who_may_have_a_connection() {
        let permit = |scope: &str| format!("@id(\"p\") permit ({scope});");
        for (policies, expected) in [
            (String::new(), false),
            (permit("principal, action, resource"), true),
            (permit("principal, action == Action::\"connect\", resource"), true),
            (permit("principal, action in Action::\"activity\", resource"), true),
            (permit("principal, action == Action::\"read\", resource"), false),
            (permit("principal, action in [Action::\"fileAccess\", Action::\"execute\"], resource"), false),
            (permit("principal in Role::\"role\", action == Action::\"connect\", resource"), true),
            (permit("principal in Role::\"other\", action == Action::\"connect\", resource"), false),
            (permit("principal == Agent::\"agent\", action == Action::\"connect\", resource == Host::\"a.b\""), true),
            (permit("principal == Agent::\"other\", action == Action::\"connect\", resource"), false),
        ] {
            assert_eq!(engine(&policies).may_connect(&facts()), expected, "{policies}");
        }
        let forbid = "@id(\"f\") forbid (principal, action == Action::\"connect\", resource)";
        for (rest, expected) in [(";", false), (" when { context.port == 25 };", true)] {
            let policies = permit("principal, action, resource") + forbid + rest;
            assert_eq!(engine(&policies).may_connect(&facts()), expected, "{policies}");
        }
    }

    #[test]
    fn an_address_is_granted_for_its_own_sake() {
        let all = "resource";
        let named = "resource == Host::\"mirror.example\"";
        let literal = "resource == Host::\"10.1.2.3\"";
        let within = "when { resource has ip && resource.ip.isInRange(ip(\"10.0.0.0/8\")) }";
        let everywhere = "when { resource has ip && resource.ip.isInRange(ip(\"0.0.0.0/0\")) }";
        let not_local = "unless { resource.loopback }";
        for (scope, condition, host, expected) in [
            (all, "", "mirror.example", false),
            (all, "", "10.1.2.3", false),
            (named, "", "mirror.example", false),
            (named, within, "mirror.example", true),
            (all, within, "mirror.example", true),
            (all, within, "10.1.2.3", true),
            (all, everywhere, "mirror.example", false),
            (all, not_local, "mirror.example", false),
            (literal, "", "10.1.2.3", true),
            (literal, "", "mirror.example", false),
        ] {
            let policy = format!("@id(\"p\") permit (principal, action == Action::\"connect\", {scope}) {condition};");
            let engine = engine(&policy);
            let wanted = Connection { host, address: "10.1.2.3".parse().unwrap(), port: 443, program: "" };
            assert_eq!(engine.grants_address(&facts(), &wanted, false), expected, "{policy} {host}");
        }
    }

    #[test]
    fn the_sessions_own_host_has_an_address_too() {
        let when = "when { resource has ip && resource.ip.isLoopback() }";
        let engine = engine(&format!("@id(\"p\") permit (principal, action == Action::\"connect\", resource) {when};"));
        let act = |address: &str| Act::Connect {
            host: "localhost".to_owned(),
            address: address.parse().ok(),
            port: 80,
            program: String::new(),
        };
        assert_eq!(engine.judge(&facts(), &act("127.0.0.1"), false).decision, crate::Decision::Allow);
        assert_eq!(engine.judge(&facts(), &act("10.0.0.1"), false).decision, crate::Decision::Deny);
    }

    #[test]
    fn a_forbid_by_address_holds_for_a_name() {
        let engine = engine("@id(\"p\") permit (principal, action == Action::\"connect\", resource);");
        let connect = |host: &str, address: &str| {
            let act =
                Act::Connect { host: host.to_owned(), address: address.parse().ok(), port: 80, program: String::new() };
            engine.judge(&facts(), &act, true).decision
        };
        for address in ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "fe80::1"] {
            assert_eq!(connect("harmless.example", address), crate::Decision::Deny, "{address}");
        }
        assert_eq!(connect("harmless.example", "1.1.1.1"), crate::Decision::Allow);
        // What is said of an address cannot make it another.
        assert_eq!(connect("169.254.169.254", "1.1.1.1"), crate::Decision::Deny);
    }
}
