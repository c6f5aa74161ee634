//! How a step ended, told from its result.

use serde_json::Value;

use super::table::Step;

/// Exit statuses of `check`.
const ALLOW: i32 = 0;
const ASK: i32 = 3;
const DENY: i32 = 2;

/// How a step ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// What the table says was seen.
    Ok,
    /// A person was asked, by these policies.
    Asked { reasons: Vec<String> },
    /// It was denied before it ran.
    Denied { reasons: Vec<String> },
    /// It ran, and something that it started was denied.
    DeniedAtExecve { programs: Vec<String> },
    /// `check` and `run` decided it in different ways.
    Disagreed { check: Option<i32>, run: String },
    /// It ran, and ended in another way than the table says.
    Failed { exit: String, line: String },
}

impl Ending {
    /// Of plain bash.
    pub(super) fn of_bare(step: &Step, code: Option<i32>, output: &str) -> Self {
        if step.is_met(code.map(i64::from), output) { Self::Ok } else { Self::failed(code.map(i64::from), output) }
    }

    /// Of a result as `run --json` and the tool `exec` give it.
    pub(super) fn of(step: &Step, result: &Value) -> Self {
        let status = result["status"].as_str().unwrap_or("none");
        let stopped = match status {
            "approval_required" => Some(Self::Asked { reasons: reasons(result) }),
            "denied" => Some(Self::Denied { reasons: reasons(result) }),
            _ => None,
        };
        let is_wanted = match &stopped {
            Some(Self::Asked { .. }) => step.asks || step.denied,
            Some(_) => step.denied,
            None => false,
        };
        if let Some(stopped) = stopped {
            return if is_wanted { Self::Ok } else { stopped };
        }
        let text = |name: &str| result[name].as_str().unwrap_or_default();
        let output = format!("{}{}", text("stdout"), text("stderr"));
        let code = result["exit_code"].as_i64();
        let denied = || result["denied"].as_array().into_iter().flatten();
        // A pipe to `tail` hides that something did not start. A peer that a program does without is another matter: npm asks for its own
        // newest version.
        let programs: Vec<String> = denied().filter(|one| one["peer"].is_null()).map(program).collect();
        let is_whole = programs.is_empty();
        let is_met = match (step.asks, step.denied) {
            (true, _) => false,
            (_, true) => code != Some(0),
            _ => status == "done" && step.is_met(code, &output) && is_whole,
        };
        if is_met {
            Self::Ok
        } else if !programs.is_empty() {
            Self::DeniedAtExecve { programs }
        } else if status == "done" {
            Self::failed(code, &output)
        } else {
            Self::Failed { exit: status.to_owned(), line: last_line(&format!("{output}\n{}", text("lost"))) }
        }
    }

    /// Where the exit status of `check` and what became of the same command by `run` are not of one decision.
    pub(super) fn disagreement(check: Option<i32>, result: &Value) -> Option<Self> {
        let run = result["status"].as_str().unwrap_or("none");
        let decided = match run {
            "approval_required" => Some(ASK),
            // `check` says what policy says; that the kernel could not hold a yes to it is known where it would run.
            "denied" if nobody_is_asked(result) => Some(ASK),
            "denied" => Some(DENY),
            _ => Some(ALLOW),
        };
        (check != decided).then(|| Self::Disagreed { check, run: run.to_owned() })
    }

    fn failed(code: Option<i64>, output: &str) -> Self {
        let exit = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        Self::Failed { exit, line: last_line(output) }
    }

    pub(super) fn is_ok(&self) -> bool {
        *self == Self::Ok
    }

    /// A word for it, and what there is to say.
    pub(super) fn told(&self) -> (&'static str, String) {
        match self {
            Self::Ok => ("ok", String::new()),
            Self::Asked { reasons } => ("asked", reasons.join("; ")),
            Self::Denied { reasons } => ("denied before running", reasons.join("; ")),
            Self::DeniedAtExecve { programs } => ("denied at execve", programs.join("; ")),
            Self::Disagreed { check, run } => {
                ("check and run disagree", format!("check exits {check:?}, run says {run}"))
            }
            Self::Failed { exit, line } => ("failed", format!("exit {exit}: {line}")),
        }
    }
}

impl Step {
    /// Whether a command that was not held up has shown what it has to.
    fn is_met(&self, code: Option<i64>, output: &str) -> bool {
        let ended = match code {
            Some(0) => !self.fails,
            // 126 and 127: it did not begin.
            Some(126 | 127) | None => false,
            Some(_) => self.fails,
        };
        ended && self.prints.iter().all(|text| output.contains(text))
    }
}

/// A person would be asked, if a yes could be carried out.
fn nobody_is_asked(result: &Value) -> bool {
    let told = result["verdict"]["reasons"].as_array().into_iter().flatten();
    let mut reasons = told.filter_map(|reason| reason["reason"].as_str());
    reasons.any(|reason| reason.contains("Nobody is asked: a yes would open "))
}

fn reasons(result: &Value) -> Vec<String> {
    let told = result["verdict"]["reasons"].as_array().into_iter().flatten();
    let word = |reason: &Value, name: &str| reason[name].as_str().unwrap_or_default().to_owned();
    let mut lines: Vec<String> =
        told.map(|reason| format!("{}: {}", word(reason, "policy"), word(reason, "text"))).collect();
    if lines.is_empty() {
        let policies = result["decision"]["policies"].as_array().into_iter().flatten();
        lines.extend(policies.filter_map(Value::as_str).map(str::to_owned));
    }
    lines.dedup();
    lines
}

fn program(denied: &Value) -> String {
    let word = |name: &str| denied[name].as_str().unwrap_or_default();
    format!("{} ({})", word("program"), word("policy"))
}

fn last_line(text: &str) -> String {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    line.chars().take(300).collect()
}
