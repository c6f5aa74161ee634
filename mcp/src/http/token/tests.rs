//! Tokens that another implementation signed, with keys that are gone, and what becomes of them when one thing is another.

use serde_json::{Value, json};

use super::super::keys;
use super::*;

/// Public keys, and for each algorithm a token; all were made with PyJWT.
const SIGNED: &str = include_str!("signed.json");

/// Within all of them.
const NOW: f64 = 1_950_000_000.0;

fn rules() -> Rules {
    Rules {
        issuer: "https://issuer.example".to_owned(),
        audience: "https://palisade.example/mcp".to_owned(),
        algorithms: Algorithm::ALL.into(),
    }
}

fn signed() -> (Vec<IssuerKey>, BTreeMap<String, String>) {
    let all: Value = serde_json::from_str(SIGNED).unwrap();
    (keys::parse(SIGNED.as_bytes()).unwrap().to_vec(), serde_json::from_value(all["tokens"].clone()).unwrap())
}

#[test]
fn every_algorithm_is_checked_as_others_sign() {
    let (keys, tokens) = signed();
    assert_eq!(tokens.len(), Algorithm::ALL.len());
    for (name, token) in &tokens {
        let claims = verify(token, &keys, &rules(), NOW).unwrap();
        let scopes = ["deploy", "palisade"].map(str::to_owned).into();
        assert_eq!(
            (claims.subject.as_deref(), claims.client.as_deref(), &claims.scopes),
            (Some("build"), Some("cli"), &scopes)
        );
        assert_eq!(claims.others.get("groups"), Some(&json!(["eng"])), "{name}");

        // One that the operator does not take.
        let algorithm: Algorithm = name.parse().unwrap();
        let mut fewer = rules();
        fewer.algorithms.remove(&algorithm);
        assert_eq!(verify(token, &keys, &fewer, NOW), Err(Fault::Algorithm), "{name}");
        // The key is for another one, as its issuer says.
        let other = if algorithm == Algorithm::RS256 { Algorithm::PS256 } else { Algorithm::RS256 };
        let bound: Vec<IssuerKey> = keys.iter().cloned().map(|key| IssuerKey { only: Some(other), ..key }).collect();
        assert_eq!(verify(token, &bound, &rules(), NOW), Err(Fault::UnknownKey), "{name}");
        // Any bit of the signature.
        let (message, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            bytes[at] ^= 1;
            let changed = format!("{message}.{}", URL_SAFE_NO_PAD.encode(&bytes));
            assert_eq!(verify(&changed, &keys, &rules(), NOW), Err(Fault::Signature), "{name} {at}");
            bytes[at] ^= 1;
        }
        assert_eq!(verify(&format!("{message}."), &keys, &rules(), NOW), Err(Fault::Signature), "{name}");
        assert_eq!(verify(&format!("{token}="), &keys, &rules(), NOW), Err(Fault::Malformed), "{name}");
    }
}

#[test]
fn a_token_counts_for_its_server_and_its_time_alone() {
    let (keys, tokens) = signed();
    let token = tokens.get("ES256").unwrap();
    for (now, expected) in [
        (2_000_000_029.0, None),
        (2_000_000_030.0, Some(Fault::Expired)),
        (1_899_999_970.0, None),
        (1_899_999_969.0, Some(Fault::NotYet)),
        (0.0, Some(Fault::NotYet)),
        (f64::NAN, Some(Fault::Expired)),
    ] {
        assert_eq!(verify(token, &keys, &rules(), now).err(), expected, "{now}");
    }
    let with = |change: fn(&mut Rules)| {
        let mut rules = rules();
        change(&mut rules);
        verify(token, &keys, &rules, NOW).err()
    };
    assert_eq!(with(|rules| rules.issuer.push('/')), Some(Fault::Issuer));
    assert_eq!(with(|rules| rules.audience.push('/')), Some(Fault::Audience));
    // What is read of a body is read only once its signature is good.
    let (_, [first, body, _]) = (0, <[&str; 3]>::try_from(token.split('.').collect::<Vec<_>>()).unwrap());
    assert_eq!(verify(&format!("{first}.{body}x.AAAA"), &keys, &rules(), NOW).err(), Some(Fault::Signature));
    assert_eq!(verify(token, &[], &rules(), NOW).err(), Some(Fault::UnknownKey));
}

#[test]
fn no_algorithm_is_known_that_a_public_key_does_not_check() {
    for name in ["none", "None", "", "HS256", "HS384", "HS512", "rs256", "ES256K", "dir"] {
        assert_eq!(name.parse::<Algorithm>(), Err(UnknownAlgorithm), "{name}");
    }
}
