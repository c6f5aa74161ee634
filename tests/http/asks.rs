//! Over HTTP too a person at the client is asked, in both eras; and what one principal is asked or told is no other's.

use std::process::Command;

use serde_json::{Value, json};

use super::issuer::{Issuer, publish, settings};
use super::tasks::{exec, knowing};
use super::{Site, TOKEN, tool_call, with_token};
use crate::support::services::mcp_client_python;
use crate::support::world::{Ended, World, repository};

#[test]
fn the_reference_client_puts_the_question_over_http() {
    let Some(python) = mcp_client_python() else { return };
    for mode in ["auto", "legacy"] {
        let (world, site) = with_token("[people.alice]\nroles = [\"answers-in-client\"]\n");
        let mut client = Command::new(&python);
        client.arg(repository().join("tests/support/mcp_http_client.py"));
        let seen = Ended::of(client.args([mode, &format!("http://{}/mcp", site.authority), TOKEN, "asks"]));
        assert_eq!(seen.code, Some(0), "{mode}: {seen:?} {}", site.log());
        let seen = seen.json();
        for (name, status) in [("yes", "done"), ("no", "denied"), ("nothing", "approval_required")] {
            assert_eq!(seen[name]["structured"]["status"], status, "{mode} {name}: {}", seen[name]);
        }
        let answers =
            world.record().iter().filter(|line| line["kind"] == "approval" && line["from"] == "client").count();
        assert_eq!(answers, 2, "{mode}");
    }
}

const TWO: &str = "
[sandbox]
level = \"strict\"
[people.alice]
roles = [\"answers-in-client\"]
[people.bob]
roles = [\"answers-in-client\"]
[serve.principals.alices]
user = \"alice\"
roles = [\"developer\"]
oauth = { subject = \"alice\" }
[serve.principals.bobs]
user = \"bob\"
roles = [\"developer\"]
oauth = { subject = \"bob\" }
";

#[test]
fn what_one_is_asked_or_told_is_no_others() {
    if palisade_runner::sandbox::probe().separates_principals().is_err() {
        return;
    }
    let world = World::new();
    for name in ["alices", "bobs"] {
        std::fs::create_dir_all(world.path(&format!("agents/{name}"))).expect("a directory");
    }
    let issuer = Issuer::new("one");
    publish(&world, &[&issuer]);
    let places = format!("[workspace]\npath = \"{}/{{agent}}\"\n", world.path("agents").display());
    let site = Site::start(&world, &format!("{places}{}{TWO}", settings()));
    let (alice, bob) = (issuer.token("alice", &json!({})), issuer.token("bob", &json!({})));
    let ask = |who: &str, method: &str, params: &Value| {
        let mut message = tool_call("exec", &json!({}));
        let meta = message["params"]["_meta"].clone();
        message["method"] = json!(method);
        message["params"] = params.clone();
        message["params"]["_meta"] = meta;
        message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({ "elicitation": {} });
        let uri = params["uri"].as_str().map(str::to_owned);
        let authorization = format!("Bearer {who}");
        let mut head = super::modern(&message);
        head.push(("authorization", &authorization));
        head.extend(uri.as_deref().map(|uri| ("mcp-name", uri)));
        site.ask("POST /mcp", &head, &message.to_string()).message()
    };
    let push = json!({ "name": "exec", "arguments": { "command": "git push origin main" } });
    let asked = ask(&alice, "tools/call", &push);
    let state = &asked["result"]["requestState"];
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let mut retry = push.clone();
    retry["requestState"] = state.clone();
    retry["inputResponses"] = json!({ "approval": { "action": "accept", "content": { "decision": "allow-once" } } });
    let foreign = ask(&bob, "tools/call", &retry);
    assert_eq!(foreign["error"]["code"], -32602, "{foreign}");
    let own = ask(&alice, "tools/call", &retry);
    assert_eq!(own["result"]["structuredContent"]["status"], "done", "{own}");

    let session = ask(&alice, "tools/call", &json!({ "name": "session_open", "arguments": {} }));
    let session = session["result"]["structuredContent"]["session"].as_str().expect("a name").to_owned();
    let job = json!({ "name": "exec", "arguments": { "command": "echo hers", "yield_ms": 0 } });
    let job = ask(&alice, "tools/call", &job)["result"]["structuredContent"].clone();
    let (name, decision) = (job["job"].as_str().expect("a job"), job["decision"]["id"].as_str().expect("an id"));
    for uri in [
        format!("palisade://sessions/{session}/transcript"),
        format!("palisade://jobs/{name}/output"),
        format!("palisade://decisions/{decision}"),
    ] {
        let read = |who: &str| ask(who, "resources/read", &json!({ "uri": uri }));
        assert!(read(&alice)["result"]["contents"][0]["text"].is_string(), "{uri}: {}", read(&alice));
        let his = read(&bob);
        assert_eq!((&his["error"]["code"], &his["error"]["data"]["uri"]), (&json!(-32602), &json!(uri)), "{his}");
        let none = ask(&bob, "resources/read", &json!({ "uri": uri.replace(&session, "s-0").replace(name, "j-0") }));
        assert_eq!(his["error"]["message"], none["error"]["message"], "as one that nobody has");
        let listed = ask(&bob, "resources/list", &json!({})).to_string();
        assert!(
            listed.contains("palisade://policy") && !listed.contains(&session) && !listed.contains(name),
            "{listed}"
        );
    }

    let task = site.tell(&alice, &exec("git push origin other")).message()["result"]["taskId"].clone();
    let unknown = json!("t-00000000000000000000000000000000");
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let tell = |who: &str, task: &Value| {
            let params = json!({ "taskId": task, "inputResponses": { "approval": { "action": "accept" } } });
            site.tell(who, &knowing(method, &params)).message()["error"].clone()
        };
        assert_eq!(
            (tell(&bob, &task)["code"].clone(), tell(&bob, &task)),
            (json!(-32602), tell(&bob, &unknown)),
            "{method}"
        );
    }
    let hers = site.tell(&alice, &knowing("tasks/get", &json!({ "taskId": task }))).message();
    assert_eq!(hers["result"]["status"], "working", "{hers}");
}
