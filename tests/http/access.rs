//! Tokens that count, and every way not to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::signature::KeyPair as _;
use serde_json::{Value, json};

use super::issuer::{ISSUER, Issuer, claims, message, now, publish, settings};
use super::{Site, URL, modern, tool_call};
use crate::support::world::World;

const ALICE: &str =
    "[serve.principals.build-agent]\nuser = \"alice\"\nroles = [\"developer\"]\noauth = { subject = \"alice\" }\n";

/// Where a client that is refused looks for more.
const METADATA: &str = "resource_metadata=\"https://palisade.example/.well-known/oauth-protected-resource/mcp\"";

#[test]
fn only_a_token_that_is_true_for_this_server_and_now_counts() {
    let world = World::new();
    let (own, other) = (Issuer::new("one"), Issuer::new("one"));
    publish(&world, &[&own]);
    let site = Site::start(&world, &format!("{}{ALICE}", settings()));
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list",
                       "params": { "_meta": tool_call("x", &json!({}))["params"]["_meta"] } });
    let mut told = Vec::new();
    let mut check = |name: &str, token: &str, status: u16, why: &str| {
        let answer = site.tell(token, &list);
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        let challenge = match status {
            200 => String::new(),
            401 => {
                format!("Bearer error=\"invalid_token\", error_description=\"{why}\", scope=\"palisade\", {METADATA}")
            }
            _ if why.is_empty() => String::new(),
            _ => format!(
                "Bearer error=\"insufficient_scope\", error_description=\"{why}\", scope=\"palisade\", {METADATA}"
            ),
        };
        assert_eq!(answer.header("www-authenticate"), challenge, "{name}");
        assert!(status != 200 || answer.message()["result"]["tools"].is_array(), "{name}: {answer:?}");
        told.push(token.to_owned());
    };
    let with = |changes: Value| own.token("alice", &changes);
    let head = json!({ "alg": "ES256", "kid": "one" });
    let headed = |changes: Value| {
        let mut head = head.clone();
        head.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        own.sign(&head, &claims("alice", &json!({})))
    };

    check("as it should be", &with(json!({})), 200, "");
    check("for several servers", &with(json!({ "aud": ["https://x.example", URL] })), 200, "");
    check("within the clocks' difference", &with(json!({ "exp": now() - 5, "nbf": now() + 5 })), 200, "");
    check("scopes as a list", &with(json!({ "scope": null, "scp": ["palisade"] })), 200, "");
    check(
        "no key named, and only one there",
        &own.sign(&json!({ "alg": "ES256" }), &claims("alice", &json!({}))),
        200,
        "",
    );

    check("nothing like a token", "x", 401, "the token is no signed JSON web token");
    check("three empty parts", "..", 401, "the token is no signed JSON web token");
    check("too long", &"x".repeat(20_000), 401, "the token is no signed JSON web token");
    check("expired", &with(json!({ "exp": now() - 60 })), 401, "the token has expired");
    check("without an end", &with(json!({ "exp": null })), 401, "the token is no signed JSON web token");
    check("with an end that is a text", &with(json!({ "exp": "later" })), 401, "the token is no signed JSON web token");
    check("not yet", &with(json!({ "nbf": now() + 600 })), 401, "the token is not valid yet");
    check(
        "of a foreign issuer",
        &with(json!({ "iss": "https://issuer.example.evil.example" })),
        401,
        "the token is of another issuer",
    );
    check(
        "for another server",
        &with(json!({ "aud": "https://palisade.example/" })),
        401,
        "the token is for another server",
    );
    check("for nobody", &with(json!({ "aud": [] })), 401, "the token is for another server");
    check(
        "of another kind",
        &headed(json!({ "typ": "id+jwt" })),
        401,
        "the token is of another kind than an access token",
    );
    check(
        "with an unknown extension",
        &headed(json!({ "crit": ["b64"], "b64": false })),
        401,
        "the token is of another kind than an access token",
    );
    check("by a key of the same name", &other.token("alice", &json!({})), 401, "the token's signature is wrong");
    check(
        "by a key that it brings along",
        &other.sign(
            &json!({ "alg": "ES256", "kid": "one", "jwk": other.public(), "jku": "https://evil.example/keys" }),
            &claims("alice", &json!({})),
        ),
        401,
        "the token's signature is wrong",
    );
    check(
        "by an unknown key",
        &headed(json!({ "kid": "two" })),
        401,
        "the token is signed by a key that is not the issuer's",
    );
    let good = with(json!({}));
    let (body, signature) = good.rsplit_once('.').expect("three parts");
    let (first, _) = body.split_once('.').expect("three parts");
    let richer = URL_SAFE_NO_PAD.encode(claims("root", &json!({})).to_string());
    check(
        "changed after it was signed",
        &format!("{first}.{richer}.{signature}"),
        401,
        "the token's signature is wrong",
    );
    check("with the signature cut", body, 401, "the token is no signed JSON web token");

    for (name, algorithm) in [("none", "none"), ("None", "None"), ("empty", "")] {
        let unsigned = message(&json!({ "alg": algorithm, "kid": "one" }), &claims("alice", &json!({})));
        for signature in ["", signature] {
            let token = format!("{unsigned}.{signature}");
            check(name, &token, 401, "the token is signed by an algorithm that is not accepted");
        }
    }
    // A public key is nobody's secret: whatever form of it the attacker takes for one.
    let point = own.key.public_key().as_ref();
    let forms = [
        point.to_vec(),
        point[1..].to_vec(),
        own.public().to_string().into_bytes(),
        std::fs::read(world.path("keys.json")).expect("a key set"),
    ];
    for form in forms {
        for (algorithm, kind) in [("HS256", hmac::HMAC_SHA256), ("HS512", hmac::HMAC_SHA512)] {
            let unsigned = message(&json!({ "alg": algorithm, "kid": "one" }), &claims("alice", &json!({})));
            let tag = hmac::sign(&hmac::Key::new(kind, &form), unsigned.as_bytes());
            let token = format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));
            check(algorithm, &token, 401, "the token is signed by an algorithm that is not accepted");
        }
    }
    check(
        "RS256 by an elliptic key",
        &headed(json!({ "alg": "RS256" })),
        401,
        "the token is signed by a key that is not the issuer's",
    );

    check("with too few scopes", &with(json!({ "scope": "other" })), 403, "the token says too little");
    check("without scopes", &with(json!({ "scope": null })), 403, "the token says too little");
    check("of somebody else", &own.token("mallory", &json!({})), 403, "");
    check("of nobody", &with(json!({ "sub": null, "client_id": "alice" })), 403, "");

    let bare = site.ask("POST /mcp", &modern(&list), &list.to_string());
    assert_eq!(
        (bare.status, bare.header("www-authenticate")),
        (401, format!("Bearer scope=\"palisade\", {METADATA}").as_str())
    );
    for head in [
        ("authorization", format!("Basic {good}")),
        ("authorization", good.clone()),
        ("cookie", format!("token={good}")),
    ] {
        let head = [&modern(&list)[..], &[(head.0, &head.1)]].concat();
        assert_eq!(site.ask("POST /mcp", &head, &list.to_string()).status, 401, "{head:?}");
    }
    let queried = site.ask(&format!("POST /mcp?access_token={good}"), &modern(&list), &list.to_string());
    assert_eq!(queried.status, 401);
    let bearer = format!("Bearer {good}");
    let twice = [&modern(&list)[..], &[("authorization", &bearer), ("authorization", &bearer)]].concat();
    assert_eq!(site.ask("POST /mcp", &twice, &list.to_string()).status, 401);

    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"] {
        let answer = site.ask(&format!("GET {path}"), &[], "");
        let expected = json!({ "resource": URL, "authorization_servers": [ISSUER], "scopes_supported": ["palisade"],
                               "bearer_methods_supported": ["header"], "resource_name": "Palisade" });
        assert_eq!((answer.status, answer.message()), (200, expected), "{path}");
    }

    // Nothing of a token is in the log, whatever of it is asked for, nor on record.
    let (status, log) = site.stop();
    assert_eq!(status, Some(0), "{log}");
    let record = world.record().iter().map(Value::to_string).collect::<String>();
    for part in told.iter().flat_map(|token| token.split('.')).filter(|part| part.len() > 20) {
        assert!(!log.contains(part) && !record.contains(part), "`{part}` in {log}");
    }
}

#[test]
fn who_was_not_let_in_is_on_record_and_does_not_fill_it() {
    let world = World::new();
    let (own, other) = (Issuer::new("one"), Issuer::new("one"));
    publish(&world, &[&own]);
    let site = Site::start(&world, &format!("{}{ALICE}", settings()));
    let list = tool_call("list", &json!({}));
    for _ in 0..20 {
        assert_eq!(site.tell(&other.token("alice", &json!({})), &list).status, 401);
    }
    // Who shows nothing only asks what to show.
    assert_eq!(site.ask("POST /mcp", &[], "{}").status, 401);
    let logins = || world.record().into_iter().filter(|line| line["kind"] == "login").collect::<Vec<_>>();
    let first = logins().first().cloned().expect("an entry, before the answer");
    assert!(first["why"].as_str().is_some_and(|why| why.contains("sign")), "{first}");
    assert!(first["from"].as_str().is_some_and(|from| from.starts_with("127.0.0.1:")), "{first}");
    site.stop();
    let told: u64 = logins().iter().map(|line| 1 + line["more"].as_u64().unwrap_or(0)).sum();
    assert_eq!(told, 20, "each counts: {:?}", logins());
    assert!(logins().len() < 20, "{:?}", logins());
}

#[test]
fn a_key_that_the_issuer_has_changed_is_looked_for_and_no_oftener_than_may_be() {
    let world = World::new();
    let (old, new, newer) = (Issuer::new("old"), Issuer::new("new"), Issuer::new("newer"));
    publish(&world, &[&old]);
    let site = Site::start(&world, &format!("{}{ALICE}", settings()));
    let status = |issuer: &Issuer| site.tell(&issuer.token("alice", &json!({})), &tool_call("list", &json!({}))).status;
    assert_eq!((status(&old), status(&old)), (200, 200));
    publish(&world, &[&new]);
    // Asked for by the first token that names it; what is gone from the set is no key any more.
    assert_eq!((status(&new), status(&old)), (200, 401));
    // Not again within half a minute, whatever tokens name.
    publish(&world, &[&newer]);
    assert_eq!((status(&newer), status(&new)), (401, 200));
}
