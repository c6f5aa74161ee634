//! Tasks over HTTP: they are their principal's, whatever connection they began on, and nothing of them outlives the server.

use std::fs;

use serde_json::{Value, json};

use super::{Site, TOKEN, modern, send, tool_call, with_token};
use crate::support::until;
use crate::tasks::{knows_tasks, running};

/// A message of somebody who knows tasks.
pub(super) fn knowing(method: &str, params: &Value) -> Value {
    let mut message = tool_call("", &json!({}));
    let mut meta = message["params"]["_meta"].clone();
    meta["io.modelcontextprotocol/clientCapabilities"] = knows_tasks(&json!({}));
    message["method"] = json!(method);
    message["params"] = params.clone();
    message["params"]["_meta"] = meta;
    message
}

pub(super) fn exec(command: &str) -> Value {
    knowing("tools/call", &json!({ "name": "exec", "arguments": { "command": command } }))
}

fn get(site: &Site, task: &Value) -> Value {
    site.tell(TOKEN, &knowing("tasks/get", &json!({ "taskId": task }))).message()
}

#[test]
fn a_task_is_its_principals_on_every_connection_and_ends_with_the_server() {
    let (world, site) = with_token("");
    let mark = format!("{}.15", 50_000 + std::process::id());
    world.program("long", &format!("#!/bin/bash\nsleep {mark} &\nsetsid -f sleep {mark}\ntouch begun\nuntil [ -e go ]; do sleep 0.05; done\nkill %1\necho over\n"));
    let wait = |count: usize| {
        until("such processes", || match running(&mark) {
            there if there == count => Ok(()),
            there => Err(there),
        });
    };
    // One connection for the call, and another for each look.
    let begun = site.tell(TOKEN, &exec("./long")).message();
    assert_eq!(begun["result"]["resultType"], "task", "{begun}");
    let task = &begun["result"]["taskId"];
    assert_eq!(get(&site, task)["result"]["status"], "working");
    assert_eq!(running(&mark), 2);
    // What leads a request to its task is that task's name, or it is another's request.
    let message = knowing("tasks/get", &json!({ "taskId": task }));
    let bearer = format!("Bearer {TOKEN}");
    let head: Vec<_> = modern(&message).into_iter().filter(|(name, _)| *name != "mcp-name").collect();
    for other in [&[][..], &[("mcp-name", "t-0")]] {
        let head = [&head[..], other, &[("authorization", bearer.as_str())]].concat();
        let answer = site.ask("POST /mcp", &head, &message.to_string());
        assert_eq!((answer.status, &answer.message()["error"]["code"]), (400, &json!(-32020)), "{answer:?}");
    }
    fs::write(world.path("work/go"), "").expect("written");
    let ended = until("end", || {
        let told = get(&site, task);
        if told["result"]["status"] == "working" { Err(told) } else { Ok(told["result"].clone()) }
    });
    assert_eq!(ended["result"]["structuredContent"]["stdout"], "over\n", "{ended}");
    wait(0);
    fs::remove_file(world.path("work/go")).expect("removed");

    // Who is gone before there is a task has none.
    fs::remove_file(world.path("work/begun")).expect("removed");
    let message = exec("./long");
    let head = [&modern(&message)[..], &[("host", site.authority.as_str()), ("authorization", &bearer)]].concat();
    let mut stream = site.connect();
    send(&mut stream, "POST /mcp", &head, &message.to_string());
    wait(2);
    drop(stream);
    wait(0);

    // One that runs, and one that waits for a person, are no reason to go on.
    for command in ["./long", "git push origin main"] {
        let begun = site.tell(TOKEN, &exec(command)).message();
        assert_eq!(begun["result"]["resultType"], "task", "{begun}");
    }
    let (status, log) = site.stop();
    assert_eq!((status, running(&mark)), (Some(0), 0), "{log}");
    let kinds: Vec<Value> = world.record().iter().map(|line| line["kind"].clone()).collect();
    assert_eq!(kinds.last(), Some(&json!("stop")), "{kinds:?}");
}
