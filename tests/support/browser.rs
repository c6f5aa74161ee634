//! A real browser: headless Chromium, spoken to over a pair of pipes in its own protocol.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::services::has_program;
use super::until;

/// One window.
pub(crate) struct Browser {
    process: Child,
    answers: BufReader<ChildStdout>,
    session: Option<String>,
    calls: u64,
    /// What the page complained of, and exceptions.
    pub(crate) complaints: Vec<Value>,
    _home: tempfile::TempDir,
}

impl Browser {
    /// An empty window. `None`: there is no Chromium, and the test should end here.
    pub(crate) fn open() -> Option<Self> {
        has_program("chromium")?;
        let home = tempfile::tempdir().expect("a directory");
        // Chromium's own sandbox cannot be had by root; what it shows here is ours.
        let script = "exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
                      --window-size=1280,800 --user-data-dir=\"$1\" --remote-debugging-pipe about:blank \
                      3<&0 4>&1 0</dev/null 1>/dev/null 2>&1";
        let mut chromium = Command::new("sh");
        chromium.args(["-c", script, "sh"]).arg(home.path());
        let mut process = chromium.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut browser = Self { process, answers, session: None, calls: 0, complaints: Vec::new(), _home: home };
        let page = until("a window", || {
            let targets = browser.call("Target.getTargets", &json!({}));
            let page =
                targets["targetInfos"].as_array().and_then(|all| all.iter().find(|one| one["type"] == "page").cloned());
            page.ok_or(targets)
        });
        let attached = browser.call("Target.attachToTarget", &json!({ "targetId": page["targetId"], "flatten": true }));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, &json!({}));
        }
        Some(browser)
    }

    /// Goes to an address.
    pub(crate) fn go(&mut self, address: &str) {
        self.call("Page.navigate", &json!({ "url": address }));
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", &parameters);
        answer["result"].get("value").cloned().unwrap_or(answer)
    }

    /// Waits for an expression to be true.
    pub(crate) fn comes_true(&mut self, expression: &str) {
        until(expression, || match self.value(expression) {
            Value::Bool(true) => Ok(()),
            other => Err(format!("{other} {}", self.value("document.body?.innerText"))),
        });
    }

    /// One call of the protocol.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let pipe = self.process.stdin.as_mut().expect("a pipe");
        write!(pipe, "{message}\0").and_then(|()| pipe.flush()).expect("it listens");
        loop {
            let mut answer = Vec::new();
            self.answers.read_until(0, &mut answer).expect("it answers");
            answer.pop();
            let answer: Value = serde_json::from_slice(&answer).expect("JSON");
            if answer["id"] == self.calls {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
            if matches!(answer["method"].as_str(), Some("Log.entryAdded" | "Runtime.exceptionThrown")) {
                self.complaints.push(answer["params"].clone());
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}
