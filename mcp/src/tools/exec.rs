//! `exec`: judge a command and, if it is allowed, run it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use palisade_runner::{
    Call, Client, Failure, Follower, Grep, KeepError, MAX_REASON, Outcome, Pipeline, Stop, TerminalSize, View,
};
use rmcp::model::JsonObject;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::render::{self, Reply};
use crate::tools::{arguments, object};

/// Longest time that a command may be given.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// How long a call waits for a command's end before it leaves it as a job.
pub(super) const YIELD: Duration = Duration::from_secs(10);

/// The same for a client that comes back for the end by itself: to its model a task costs no more than a wait.
const YIELD_TO_TASK: Duration = Duration::from_secs(2);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExecArguments {
    command: String,
    session: Option<String>,
    cwd: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    stdin: Option<String>,
    timeout_ms: Option<u64>,
    yield_ms: Option<u64>,
    #[serde(default)]
    tty: bool,
    rows: Option<u16>,
    cols: Option<u16>,
    max_output: Option<usize>,
    keep: Option<String>,
    grep: Option<String>,
    grep_context: Option<usize>,
    #[serde(default)]
    ansi: Ansi,
    reason: Option<String>,
}

/// What becomes of escape sequences in the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ansi {
    #[default]
    Strip,
    /// Colours and other renditions stay.
    Keep,
}

/// With `as_task` the client can be told the end later. Whoever says when to leave, or wants an input to write to, has asked for a job and
/// gets that.
pub(crate) async fn call(
    pipeline: &Arc<Pipeline>,
    client: Client,
    stop: Stop,
    given: Option<JsonObject>,
    as_task: bool,
    follower: Follower,
) -> Reply {
    let given: ExecArguments = match arguments(pipeline, given) {
        Ok(given) => given,
        Err(reply) => return *reply,
    };
    let view =
        match view(shown(pipeline, given.max_output), given.keep.as_deref(), given.grep.as_deref(), given.grep_context)
        {
            Ok(view) => view,
            Err(error) => return Reply::bad_argument(&pipeline.redact(&error)),
        };
    let terminal = match terminal(given.tty, given.rows, given.cols) {
        Ok(terminal) => terminal,
        Err(error) => return Reply::bad_argument(&pipeline.redact(error)),
    };
    if let Some(reason) = given.reason.as_deref().filter(|reason| reason.len() > MAX_REASON) {
        let error = format!("`reason` is {} bytes long; the limit is {MAX_REASON}", reason.len());
        return Reply::bad_argument(&pipeline.redact(&error));
    }
    let script = match script(given.command, &given.env, given.stdin.as_deref()) {
        Ok(script) => script,
        Err(error) => return Reply::bad_argument(&pipeline.redact(&error)),
    };
    let as_task = as_task && given.yield_ms.is_none() && terminal.is_none();
    let usual = if as_task { YIELD_TO_TASK } else { YIELD };
    let shown_so = as_task.then(|| view.clone());
    let call = Call {
        script,
        session: given.session,
        cwd: given.cwd,
        timeout: given.timeout_ms.map(|time| Duration::from_millis(time).min(MAX_TIMEOUT)),
        view: Some(view),
        reason: given.reason.unwrap_or_default(),
        client,
        live: None,
        follower,
        stop,
        yields: Some(given.yield_ms.map_or(usual, Duration::from_millis)),
        terminal,
        input: None,
        orders: None,
        apart: false,
        colours: given.ansi == Ansi::Keep,
    };
    let outcome = match Box::pin(pipeline.submit(call)).await {
        // Who waits for a person, and where, is `approval`'s to say.
        Ok(Outcome::Ask(pending)) => pipeline.ask(*pending, Duration::ZERO).await,
        other => other,
    };
    reply(outcome, shown_so)
}

/// What is told of a command; `view` is how its end is to be shown, if whoever called is told it later.
pub(crate) fn reply(outcome: Result<Outcome, Failure>, view: Option<View>) -> Reply {
    match outcome {
        Ok(Outcome::Ran(result)) => render::ran(&result),
        Ok(Outcome::Running(result)) => render::running(&result, view),
        Ok(Outcome::Denied(refusal)) => render::denied(&refusal),
        Ok(Outcome::Ask(pending)) => render::unregistered(&pending),
        Ok(Outcome::Unanswered(unanswered)) => render::unanswered(&unanswered),
        Err(failure) => render::failed(&failure),
    }
}

/// The terminal that is asked for.
fn terminal(tty: bool, rows: Option<u16>, cols: Option<u16>) -> Result<Option<TerminalSize>, &'static str> {
    if !tty {
        let sized = rows.is_some() || cols.is_some();
        return if sized { Err("`rows` and `cols` go with `tty`") } else { Ok(None) };
    }
    let usual = TerminalSize::default();
    Ok(Some(TerminalSize { rows: rows.unwrap_or(usual.rows), cols: cols.unwrap_or(usual.cols) }))
}

/// Characters of each stream that a result shows: as the settings say, unless it is asked for others.
pub(crate) fn shown(pipeline: &Pipeline, asked: Option<usize>) -> usize {
    asked.unwrap_or(pipeline.budget().max_chars)
}

/// What to show of each stream.
pub(crate) fn view(
    max_chars: usize,
    keep: Option<&str>,
    grep: Option<&str>,
    context: Option<usize>,
) -> Result<View, String> {
    if grep.is_none() && context.is_some() {
        return Err("`grep_context` goes with `grep`".to_owned());
    }
    let mut view = View::chars(max_chars);
    view.keep = keep.map(str::parse).transpose().map_err(|error: KeepError| format!("`keep`: {error}"))?;
    let grep = grep.map(|pattern| Grep::new(pattern, context.unwrap_or(0))).transpose();
    view.grep = grep.map_err(|error| format!("`grep`: {error}"))?;
    Ok(view)
}

/// The command with its variables and its input, as one text that means exactly that: what is judged is what runs.
fn script(command: String, env: &BTreeMap<String, String>, stdin: Option<&str>) -> Result<Vec<u8>, String> {
    let mut script = String::new();
    for (name, value) in env {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) || !name.bytes().all(plain) {
            return Err(format!("`env`: `{name}` is not the name of a variable"));
        }
        script.push_str(&format!("export {name}='{}'\n", value.replace('\'', "'\\''")));
    }
    let Some(stdin) = stdin else {
        script.push_str(&command);
        return Ok(script.into_bytes());
    };
    // A line that the input does not have ends it.
    let end =
        (0_usize..).map(|number| format!("PALISADE_INPUT_{number}")).find(|end| !stdin.lines().any(|line| line == end));
    let end = end.unwrap_or_default();
    let last = if stdin.is_empty() || stdin.ends_with('\n') { "" } else { "\n" };
    script.push_str(&format!("{{\n{command}\n}} <<'{end}'\n{stdin}{last}{end}\n"));
    Ok(script.into_bytes())
}

pub(crate) fn schema() -> Value {
    let omitted = json!({ "type": "object", "additionalProperties": {
        "type": "object", "properties": { "bytes": { "type": "integer" }, "lines": { "type": "integer" } } } });
    object(
        &json!({
            "status": { "type": "string", "enum": ["done", "running", "timed_out", "cancelled", "limited", "denied", "approval_required", "session_lost", "failed"] },
            "exit_code": { "type": "integer" },
            "signal": { "type": "integer" },
            "limit": { "type": "string" },
            "stdout": { "type": "string" },
            "stderr": { "type": "string" },
            "cwd": { "type": "string" },
            "duration_ms": { "type": "integer" },
            "job": { "type": "string" },
            "cursor": { "type": "string" },
            "waiting_for_input": { "type": "boolean" },
            "waiting_for_approval": { "type": "array", "items": { "type": "string" } },
            "lossy": { "type": "boolean" },
            "omitted": omitted,
            "searched": { "type": "object" },
            "redactions": { "type": "object", "additionalProperties": { "type": "integer" } },
            "denied": { "type": "array", "items": { "type": "object" } },
            "denied_more": { "type": "integer" },
            "hints": { "type": "array", "items": { "type": "string" } },
            "lost": { "type": "string" },
            "late": { "type": "string", "enum": ["not_begun", "may_run", "unsettled"] },
            "cause": { "type": "string" },
            "restarted": { "type": "string" },
            "checkpoint": { "type": "string" },
            "reading": { "type": "object", "properties": { "read": { "type": "integer" }, "of": { "type": "integer" } } },
            "error": { "type": "string" },
            "approval": { "type": "object" },
            "decision": { "type": "object" },
            "verdict": { "type": "object" },
        }),
        &["status"],
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn variables_and_input_become_part_of_the_text() {
        let env = BTreeMap::from([("A".to_owned(), "it's $x".to_owned())]);
        let text = |stdin: Option<&str>| String::from_utf8(script("cat".to_owned(), &env, stdin).unwrap()).unwrap();
        assert_eq!(text(None), "export A='it'\\''s $x'\ncat");
        let fed = text(Some("one\nPALISADE_INPUT_0\ntwo"));
        assert!(
            fed.ends_with("{\ncat\n} <<'PALISADE_INPUT_1'\none\nPALISADE_INPUT_0\ntwo\nPALISADE_INPUT_1\n"),
            "{fed}"
        );
        for script in [text(None), fed] {
            let bash = std::process::Command::new("bash")
                .arg("-c")
                .arg(format!("{script}\necho \"$A\""))
                .stdin(std::process::Stdio::null())
                .output()
                .unwrap();
            assert!(bash.stdout.ends_with(b"it's $x\n") && bash.stderr.is_empty(), "{bash:?}");
        }
        for name in ["", "1a", "a b", "a=b", "a[0]"] {
            assert!(
                script(String::new(), &BTreeMap::from([(name.to_owned(), String::new())]), None).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn views_say_what_is_wrong_with_them() {
        assert!(view(9, Some("head:3,tail:4"), Some("err(or)?"), Some(2)).is_ok());
        for (keep, grep, context, word) in
            [(Some("few"), None, None, "keep"), (None, Some("("), None, "grep"), (None, None, Some(1), "grep_context")]
        {
            assert!(view(9, keep, grep, context).unwrap_err().contains(word));
        }
    }
}
