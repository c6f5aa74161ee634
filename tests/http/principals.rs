//! Several principals in one server: none finds what another has, by whatever name.

use std::fs;

use serde_json::{Value, json};

use super::issuer::{Issuer, publish, settings};
use super::{LEGACY, Site, initialize};
use crate::support::world::World;

const TWO: &str = "
[sandbox]
level = \"strict\"
[serve.principals.alices]
user = \"alice\"
roles = [\"developer\"]
oauth = { subject = \"alice\" }
[serve.principals.bobs]
user = \"bob\"
roles = [\"developer\", \"deployer\"]
oauth = { client = \"bobs-client\", claims = { groups = \"eng\" }, scopes = [\"deploy\"] }
";

#[test]
fn a_handle_of_another_principals_is_as_unknown_as_none() {
    if palisade_runner::sandbox::probe().separates_principals().is_err() {
        return;
    }
    let world = World::new();
    for name in ["alices", "bobs"] {
        fs::create_dir_all(world.path(&format!("agents/{name}"))).expect("a directory");
    }
    let issuer = Issuer::new("one");
    publish(&world, &[&issuer]);
    let places = format!("[workspace]\npath = \"{}/{{agent}}\"\n", world.path("agents").display());
    let site = Site::start(&world, &format!("{places}{}{TWO}", settings()));
    let alice = issuer.token("alice", &json!({}));
    let bobs = json!({ "sub": null, "client_id": "bobs-client", "groups": ["eng", "x"], "scope": "palisade deploy" });
    let bob = issuer.token("", &bobs);

    // Who is whose, and who is nobody.
    for (name, changes, status) in [
        ("of no group", json!({ "groups": null }), 403),
        ("of another group", json!({ "groups": ["engine"] }), 403),
        ("with too few scopes", json!({ "scope": "palisade" }), 403),
        ("two at once", json!({ "sub": "alice" }), 403),
        ("bob", json!({}), 200),
    ] {
        let mut all = bobs.clone();
        all.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        let answer = site.tell(&issuer.token("", &all), &super::tool_call("list", &json!({})));
        assert_eq!(answer.status, status, "{name}: {answer:?}");
    }

    let open = |who: &str| {
        let opened = site.call(who, "session_open", &json!({}));
        opened["structuredContent"]["session"].as_str().unwrap_or_else(|| panic!("{opened}")).to_owned()
    };
    let (hers, his) = (open(&alice), open(&bob));
    let place = site.call(&bob, "exec", &json!({ "command": "pwd", "session": his }));
    assert_eq!(place["structuredContent"]["stdout"], format!("{}\n", world.path("agents/bobs").display()));
    let job = site.call(&alice, "exec", &json!({ "command": "cat", "yield_ms": 0 }));
    let job = job["structuredContent"]["job"].as_str().unwrap_or_else(|| panic!("{job}")).to_owned();
    let checkpoint = site.call(&alice, "checkpoint", &json!({ "session": hers }));
    let checkpoint =
        checkpoint["structuredContent"]["checkpoint"].as_str().unwrap_or_else(|| panic!("{checkpoint}")).to_owned();

    let none = |text: &str| text.replace(&hers, "NAME").replace(&job, "NAME").replace(&checkpoint, "NAME");
    for (tool, of, arguments) in [
        ("exec", "session", json!({ "command": "pwd" })),
        ("exec", "session", json!({ "command": "pwd", "yield_ms": 0 })),
        ("explain", "session", json!({ "command": "pwd" })),
        ("session_close", "session", json!({})),
        ("session_open", "session", json!({})),
        ("checkpoint", "session", json!({})),
        ("restore", "session", json!({ "checkpoint": checkpoint })),
        ("restore", "checkpoint", json!({ "session": his })),
        ("job_read", "job", json!({})),
        ("job_write", "job", json!({ "input": "x\n" })),
        ("job_signal", "job", json!({ "signal": "KILL" })),
    ] {
        let with = |name: &str| {
            let mut all = arguments.clone();
            all[of] = json!(name);
            let result = site.call(&bob, tool, &all);
            assert_eq!(result["isError"], true, "{tool} {of}: {result}");
            none(result["content"][0]["text"].as_str().unwrap_or_default()).replace("s-00000000000000000000", "NAME")
        };
        let (theirs, nobodys) = match of {
            "session" => (with(&hers), with("s-00000000000000000000")),
            "job" => (with(&job), with("s-00000000000000000000")),
            _ => (with(&checkpoint), with("s-00000000000000000000")),
        };
        assert_eq!(theirs, nobodys, "{tool} {of}");
    }
    for (kind, whose) in [("sessions", &hers), ("jobs", &job), ("checkpoints", &checkpoint)] {
        let seen = |who: &str| site.call(who, "list", &json!({ "kind": kind })).to_string().contains(whose.as_str());
        assert!(seen(&alice) && !seen(&bob), "{kind}");
    }
    // She has it all as it was.
    assert_eq!(
        site.call(&alice, "exec", &json!({ "command": "echo here", "session": hers }))["structuredContent"]["stdout"],
        "here\n"
    );

    // A protocol session is its principal's too.
    let session = initialize(&site, &alice);
    let listed = json!({ "jsonrpc": "2.0", "id": 5, "method": "tools/list" }).to_string();
    let status = |who: &str, request: &str, body: &str| {
        let bearer = format!("Bearer {who}");
        let head = [&LEGACY[..], &[("authorization", &bearer), ("mcp-session-id", &session)]].concat();
        site.ask(request, &head, body).status
    };
    assert_eq!(status(&bob, "POST /mcp", &listed), 404);
    assert_eq!(status(&bob, "GET /mcp", ""), 404);
    status(&bob, "DELETE /mcp", "");
    assert_eq!(status(&alice, "POST /mcp", &listed), 200);

    // On record each under its own name, with how it was proven.
    assert_eq!(site.stop().0, Some(0));
    let mut seen = Vec::new();
    for file in world.records() {
        let text = fs::read_to_string(file).expect("a record");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a JSON line"));
        let who: Vec<Value> = lines.filter(|line| line["kind"] == "decision").map(|line| line["who"].clone()).collect();
        assert!(!who.is_empty() && who.windows(2).all(|two| two[0] == two[1]), "{who:?}");
        seen.push((who[0]["agent"].clone(), who[0]["user"].clone(), who[0]["auth"].clone()));
    }
    seen.sort_by_key(|(agent, ..)| agent.to_string());
    assert_eq!(
        seen,
        [(json!("alices"), json!("alice"), json!("oauth")), (json!("bobs"), json!("bob"), json!("oauth")),]
    );
}
