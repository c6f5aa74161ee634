//! Calls that are answered later: what a client that knows tasks gets, what the others get, and that a task is nothing but its call.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::elicitation::{Modern, RELEASE, SITS_THERE, TWO, answers, begun, forms, state, yes};
use crate::policy::recorded;
use crate::serve::Server;
use crate::support::people::{CAROL, Office};
use crate::support::until;
use crate::support::world::World;

/// A program that ends when the workspace says so.
const WAITS: &str = "#!/bin/bash\necho begun\nuntil [ -e go ]; do sleep 0.05; done\necho over\nexit 3\n";

/// What a client says that knows tasks, and what besides.
pub(crate) fn knows_tasks(besides: &Value) -> Value {
    let mut capabilities = besides.clone();
    capabilities["extensions"] = json!({ "io.modelcontextprotocol/tasks": {} });
    capabilities
}

fn exec(arguments: &Value) -> Value {
    json!({ "name": "exec", "arguments": arguments })
}

/// The name of the task in an answer.
fn name(answer: &Value) -> String {
    let task = &answer["result"];
    assert_eq!((&task["resultType"], &task["status"]), (&json!("task"), &json!("working")), "{answer}");
    assert!(task["ttlMs"].as_u64().is_some_and(|left| left > 60_000), "{answer}");
    assert!(task["pollIntervalMs"].as_u64().is_some_and(|often| often >= 1000), "{answer}");
    for at in ["createdAt", "lastUpdatedAt"] {
        assert!(task[at].as_str().is_some_and(|at| at.ends_with('Z')), "{answer}");
    }
    assert!(task["_meta"]["audit"]["seq"].as_u64().is_some_and(|seq| seq > 0), "{answer}");
    let name = task["taskId"].as_str().expect("a name");
    assert!(name.starts_with("t-") && name.len() == 34, "{name}");
    name.to_owned()
}

impl Modern {
    fn call(&mut self, command: &str, capabilities: &Value) -> Value {
        self.ask("tools/call", &exec(&json!({ "command": command })), &knows_tasks(capabilities))
    }

    fn task(&mut self, method: &str, name: &str) -> Value {
        self.ask(method, &json!({ "taskId": name }), &knows_tasks(&json!({})))
    }

    /// How a task stands once it does not work any more.
    fn settled(&mut self, name: &str) -> Value {
        until("end", || {
            let told = self.task("tasks/get", name);
            assert_eq!(told["result"]["resultType"], "complete", "{told}");
            if told["result"]["status"] == "working" { Err(told) } else { Ok(told["result"].clone()) }
        })
    }
}

#[test]
fn what_takes_long_is_a_task_to_whoever_knows_those_and_a_job_to_others() {
    let world = World::new();
    world.program("waits", WAITS);
    let mut client = Modern::start(&world, "");
    let found = client.ask("server/discover", &json!({}), &json!({}));
    assert_eq!(
        found["result"]["capabilities"]["extensions"],
        json!({ "io.modelcontextprotocol/tasks": {} }),
        "{found}"
    );

    // What is done at once is answered at once.
    let quick = client.call("echo quick", &json!({}));
    assert_eq!(quick["result"]["structuredContent"]["stdout"], "quick\n", "{quick}");
    let task = name(&client.call("./waits", &json!({})));
    let working = client.task("tasks/get", &task);
    assert_eq!(working["result"]["status"], "working", "{working}");
    let about = working["result"]["statusMessage"].as_str().expect("a message").to_owned();
    let job = about.split([' ', ';']).find(|word| word.starts_with("j-")).expect("its job").to_owned();
    // It is a job as any other.
    let listed = client.ask("tools/call", &json!({ "name": "list", "arguments": { "kind": "jobs" } }), &json!({}));
    assert!(listed["result"]["content"][0]["text"].as_str().is_some_and(|text| text.contains(&job)), "{listed}");
    world.write("work/go", "");
    let ended = client.settled(&task);
    assert_eq!((&ended["status"], &ended["taskId"]), (&json!("completed"), &json!(task)), "{ended}");
    let result = &ended["result"];
    assert_eq!((&result["isError"], &result["structuredContent"]["exit_code"]), (&json!(false), &json!(3)), "{ended}");
    assert_eq!(result["structuredContent"]["stdout"], "begun\nover\n", "all of it, from its beginning");
    assert!(result["content"][0]["text"].as_str().is_some_and(|text| text.starts_with("[exit 3 · ")), "{ended}");
    assert!(result["_meta"]["audit"]["seq"].as_u64().is_some(), "{ended}");
    // It can be asked for again, and an end is an end.
    assert_eq!(client.task("tasks/cancel", &task)["result"]["resultType"], "complete");
    assert_eq!(client.settled(&task)["result"], *result);
    fs::remove_file(world.path("work/go")).expect("removed");

    // Who says how long to wait, or wants an input, has asked for a job; who does not know tasks gets none.
    for (arguments, capabilities) in [
        (json!({ "command": "./waits", "yield_ms": 100 }), knows_tasks(&json!({}))),
        (json!({ "command": "cat", "yield_ms": 0 }), knows_tasks(&json!({}))),
        (json!({ "command": "read -r x", "tty": true }), knows_tasks(&json!({}))),
        (json!({ "command": "./waits", "yield_ms": 100 }), json!({})),
    ] {
        let left = client.ask("tools/call", &exec(&arguments), &capabilities);
        assert_eq!(left["result"]["resultType"], "complete", "{left}");
        assert_eq!(left["result"]["structuredContent"]["status"], "running", "{arguments}: {left}");
    }
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let params = |name: &str| json!({ "taskId": name, "inputResponses": {} });
        let told = client.ask(method, &params(&task), &forms());
        assert_eq!(told["error"]["code"], -32021, "{told}");
        assert!(told["error"]["data"]["requiredCapabilities"]["extensions"].is_object(), "{told}");
        for unknown in ["t-00000000000000000000000000000000", "", &job] {
            let told = client.ask(method, &params(unknown), &knows_tasks(&json!({})));
            assert_eq!(told["error"]["code"], -32602, "{method} {unknown}: {told}");
        }
        let told = client.ask(method, &json!({}), &knows_tasks(&json!({})));
        assert_eq!(told["error"]["code"], -32602, "{method}: {told}");
    }
    // Nobody else's connection knows it.
    let mut other = Modern::start(&world, "");
    assert_eq!(other.task("tasks/get", &task)["error"]["code"], -32602);
}

#[test]
fn a_task_asks_about_a_running_program() {
    let world = World::new();
    world.program("release", RELEASE);
    let mut client = Modern::start(&world, SITS_THERE);
    let task = name(&client.call("./release", &forms()));
    let params = json!({ "taskId": task });
    let asked = until("it asks", || {
        let told = client.ask("tasks/get", &params, &knows_tasks(&forms()));
        if told["result"]["status"] == "input_required" { Ok(told) } else { Err(told) }
    });
    let questions = asked["result"]["inputRequests"].as_object().expect("questions");
    let (key, question) = questions.iter().next().expect("a question");
    assert!(
        question["params"]["message"].as_str().is_some_and(|text| text.contains("/git push origin main")),
        "{asked}"
    );
    let answer = json!({ "taskId": task, "inputResponses": { key: yes() } });
    client.ask("tasks/update", &answer, &knows_tasks(&forms()));
    let ended = client.settled(&task);
    assert_eq!(ended["result"]["structuredContent"]["stdout"], "behind 128\n", "{ended}");
    assert_eq!(answers(&world), [("alice".to_owned(), "client".to_owned(), true)]);
}

#[test]
fn the_older_protocol_has_no_tasks() {
    let world = World::new();
    world.program("waits", WAITS);
    let mut serve = world.palisade();
    serve.arg("serve");
    let mut server = Server::silent(serve);
    let client = json!({ "name": "by-hand", "version": "1" });
    let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": knows_tasks(&json!({ "tasks": {} })), "clientInfo": client });
    server.send(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello }));
    let greeted = server.receive();
    assert_eq!(greeted["result"]["protocolVersion"], "2025-11-25");
    assert!(greeted["result"]["capabilities"].get("extensions").is_none(), "{greeted}");
    let params =
        json!({ "name": "exec", "arguments": { "command": "./waits", "yield_ms": 100 }, "task": { "ttl": 60_000 } });
    server.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }));
    let left = server.receive();
    assert_eq!(left["result"]["structuredContent"]["status"], "running", "{left}");
    for (method, params) in
        [("tasks/get", json!({ "taskId": "t" })), ("tasks/list", json!({})), ("tasks/result", json!({ "taskId": "t" }))]
    {
        server.send(&json!({ "jsonrpc": "2.0", "id": 2, "method": method, "params": params }));
        assert_eq!(server.receive()["error"]["code"], -32601, "{method}");
    }
}

pub(crate) fn running(mark: &str) -> usize {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.split(|byte| *byte == 0).any(|word| word == mark.as_bytes())).count()
}

#[test]
fn a_task_that_is_cancelled_or_left_alone_ends_with_all_that_it_has_started() {
    let world = World::new();
    let mark = format!("{}.5", 60_000 + std::process::id());
    world.program(
        "long",
        &format!("#!/bin/bash\nsleep {mark} &\nsetsid -f sleep {mark}\n(trap '' TERM INT; sleep {mark}) &\nwait\n"),
    );
    let ends = |count: usize| {
        let record = world.record();
        let ends: Vec<Value> =
            record.iter().filter(|line| line["kind"] == "outcome").map(|line| line["exit"].clone()).collect();
        assert_eq!((ends.len(), running(&mark)), (count, 0), "{ends:?}");
        ends.last().cloned().unwrap_or_default()
    };
    let mut client = Modern::start(&world, "");
    let task = name(&client.call("./long", &json!({})));
    assert_eq!(running(&mark), 3);
    assert_eq!(client.task("tasks/cancel", &task)["result"], json!({ "resultType": "complete" }));
    let ended = client.settled(&task);
    assert_eq!(ended["status"], "cancelled", "{ended}");
    assert!(ended.get("result").is_none(), "{ended}");
    assert_eq!(ends(1), json!({ "reason": "cancelled" }));

    // Its client hangs up.
    let _task = name(&client.call("./long", &json!({})));
    assert_eq!(running(&mark), 3);
    drop(client);
    ends(2);
    assert_eq!(world.record().last().map(|line| line["kind"].clone()), Some(json!("stop")));

    // Nobody asks for it any more.
    let mut client = Modern::start(&world, "[session]\nidle = \"1s\"\n");
    let task = client.call("./long", &json!({}))["result"]["taskId"].as_str().expect("a task").to_owned();
    recorded(&world, "its end", |line| line["exit"]["reason"] == "idle");
    // Its end is on record before the task hears of it: who asks in between has asked for it, and it is kept that long again.
    until("forgotten", || {
        let told = client.task("tasks/get", &task);
        if told["error"]["code"] == -32602 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1200));
        Err(told)
    });
}

#[test]
fn a_task_waits_for_a_person_wherever_that_person_answers() {
    let Some(office) = office() else { return };
    let mut client = Modern::of(office.serve_silent());
    let waits = |client: &mut Modern, command: &str| {
        let task = name(&client.call(command, &json!({})));
        let told = client.task("tasks/get", &task)["result"].clone();
        assert_eq!(told["status"], "working", "{told}");
        let about = told["statusMessage"].as_str().expect("a message").to_owned();
        let listed = office.waiting(CAROL);
        let id = listed.last().and_then(|waiting| waiting["id"].as_str()).expect("an id").to_owned();
        assert!(about.contains(&format!("palisade approvals show {id}")), "{about}");
        (task, id)
    };
    let (task, id) = waits(&mut client, "git push origin main");
    let granted = office.person(CAROL, &["approvals", "grant", &id, "--yes"]);
    assert_eq!(granted.code, Some(0), "{granted:?}");
    let ended = client.settled(&task);
    assert_eq!(
        (&ended["status"], &ended["result"]["structuredContent"]["status"]),
        (&json!("completed"), &json!("done")),
        "{ended}"
    );
    // Git has no such remote: what counts is that it was started.
    assert_eq!(begun(&office.world), 1);

    let (task, id) = waits(&mut client, "git push origin other");
    assert_eq!(office.person(CAROL, &["approvals", "deny", &id, "--reason", "not now"]).code, Some(0));
    let ended = client.settled(&task);
    assert_eq!((&ended["status"], &ended["result"]["isError"]), (&json!("completed"), &json!(true)), "{ended}");
    assert!(ended["result"]["content"][0]["text"].as_str().is_some_and(|text| text.contains("not now")), "{ended}");

    // Who does not want to wait any more has nothing run by a yes that comes too late.
    let (task, id) = waits(&mut client, "git push origin third");
    client.task("tasks/cancel", &task);
    assert_eq!(client.settled(&task)["status"], "cancelled");
    let _granted = office.person(CAROL, &["approvals", "grant", &id, "--yes"]);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(begun(&office.world), 1);

    // Nor does it wait longer than its request.
    drop(client);
    let world = World::new();
    let mut client = Modern::start(&world, "[approvals]\nexpire = \"1s\"\n");
    let task = name(&client.call("git push origin main", &json!({})));
    let ended = client.settled(&task);
    assert_eq!(ended["result"]["structuredContent"]["status"], "approval_required", "{ended}");
    assert_eq!(begun(&world), 0);
}

/// An office in which pushing takes one person's yes, who may sit at the client.
fn office() -> Option<Office> {
    let people =
        format!("[people.\"uid:{CAROL}\"]\nroles = [\"approver\"]\n[people.alice]\nroles = [\"answers-in-client\"]\n");
    let office = Office::new(&format!("policies = \"site\"\n[agent]\nuser = \"alice\"\n{people}"))?;
    fs::create_dir_all(office.world.path("etc/site")).expect("a directory");
    office.world.write("etc/site/one.cedar", &one());
    Some(office)
}

fn one() -> String {
    TWO.replace("@quorum(\"2\")", "")
}

#[test]
fn a_task_asks_the_person_at_its_client() {
    let Some(office) = office() else { return };
    let mut client = Modern::of(office.serve_silent());
    let both = knows_tasks(&forms());
    let command = exec(&json!({ "command": "git push origin main" }));
    // First of all by the call itself, as anybody is asked; nobody answers, and the call goes on to wait.
    let carried = state(&client.ask("tools/call", &command, &both));
    let mut again = command.clone();
    again["requestState"] = carried;
    again["inputResponses"] = json!({ "approval": { "action": "cancel" } });
    let task = name(&client.ask("tools/call", &again, &both));
    let get = |client: &mut Modern, capabilities: &Value| {
        client.ask("tasks/get", &json!({ "taskId": task }), capabilities)["result"].clone()
    };
    assert_eq!(get(&mut client, &both)["status"], "working", "nobody is asked the same twice");

    // A yes to what other policies asked is none to what these ask, and that is another question.
    let id = office.waiting(CAROL)[0]["id"].as_str().expect("an id").to_owned();
    office.world.write("etc/site/one.cedar", &one().replace("Publishing needs two", "Publishing needs one"));
    recorded(&office.world, "the reload", |line| line["kind"] == "policy_reload");
    until("withdrawal", || {
        let waiting = office.waiting(CAROL);
        if waiting.iter().all(|waiting| waiting["id"] != json!(id)) { Ok(()) } else { Err(waiting) }
    });
    assert_eq!(office.person(CAROL, &["approvals", "grant", &id, "--yes"]).code, Some(1));
    let asked = until("question", || {
        let told = get(&mut client, &both);
        if told["status"] == "input_required" { Ok(told) } else { Err(told) }
    });
    assert_eq!(begun(&office.world), 0);
    let (key, question) = asked["inputRequests"].as_object().and_then(|asked| asked.iter().next()).expect("a question");
    assert_eq!(question["method"], "elicitation/create", "{asked}");
    assert!(
        question["params"]["message"].as_str().is_some_and(|text| text.contains("  | git push origin main")),
        "{asked}"
    );
    // Who does not say so in this very request is not asked.
    let unasked = get(&mut client, &knows_tasks(&json!({})));
    assert_eq!((&unasked["status"], unasked.get("inputRequests")), (&json!("working"), None), "{unasked}");
    let say = |client: &mut Modern, key: &str, answer: &Value| {
        let params = json!({ "taskId": task, "inputResponses": { key: answer } });
        let told = client.ask("tasks/update", &params, &both);
        assert_eq!(told["result"], json!({ "resultType": "complete" }), "{told}");
    };
    // An answer to nothing is none.
    say(&mut client, "approval", &yes());
    assert_eq!(get(&mut client, &both)["status"], "input_required");
    assert_eq!(begun(&office.world), 0);
    say(&mut client, key, &yes());
    let ended = client.settled(&task);
    assert_eq!(ended["result"]["structuredContent"]["status"], "done", "{ended}");
    assert_eq!(
        (begun(&office.world), answers(&office.world).last().cloned()),
        (1, Some(("alice".to_owned(), "client".to_owned(), true)))
    );
    // The answer was used up with the question.
    say(&mut client, key, &yes());
    assert_eq!(begun(&office.world), 1);
}
