//! How a command ended: the status for its caller, and what standard error says of it.

use std::fmt::Write as _;

use palisade_runner::{DecisionNote, ExecResult, Explained, Redacted, Refusal, Standing, Status, Unanswered};

use crate::cli::exit::Exit;
use crate::cli::report;

/// The end of a command, as its caller gets it.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The status.
    pub(crate) exit: Exit,
    /// Lines for standard error, or nothing.
    pub(crate) told: String,
}

/// The end of one that has run; `signalled`: a signal to this process has stopped it.
pub(crate) fn finished(result: &ExecResult, signalled: bool) -> Ended {
    let mut told = String::new();
    for denied in &result.denied {
        told.push_str(&report::denied_program(denied));
    }
    if result.denied_more > 0 {
        let _ = writeln!(told, "palisade: denied at execve: {} more times", result.denied_more);
    }
    for hint in &result.hints {
        let _ = writeln!(told, "palisade: {hint}");
    }
    if let Some(checkpoint) = &result.checkpoint {
        let _ = writeln!(told, "palisade: the workspace as it was before: checkpoint {checkpoint}");
    }
    for (rule, count) in &result.redactions {
        let _ = writeln!(told, "palisade: redacted {rule}: {count}");
    }
    let exit = match result.status {
        // A session whose shell has ended with its command: the next one starts another.
        Status::Done | Status::SessionLost if result.exit_code.or(result.signal).is_some() => {
            match (result.exit_code, result.signal) {
                (Some(code), _) => Exit::Command(u8::try_from(code).unwrap_or(u8::MAX)),
                (None, Some(signal)) => {
                    Exit::Command(u8::try_from(signal).map_or(u8::MAX, |signal| signal.saturating_add(128)))
                }
                (None, None) => Exit::Failed,
            }
        }
        Status::TimedOut => {
            told.push_str("palisade: timed out; everything it had started was ended\n");
            Exit::TimedOut
        }
        // As a shell reports a command that was killed.
        Status::Limited => {
            let limit = result.limit.map_or("", |limit| limit.as_str());
            let _ = writeln!(told, "palisade: limit: {limit}; everything it had started was ended");
            Exit::Command(137)
        }
        // As a shell reports a command that Ctrl-C ended; quietly, if it was only that nobody reads on.
        Status::Cancelled if signalled => Exit::Command(130),
        Status::Cancelled => Exit::Command(141),
        Status::Done | Status::SessionLost | Status::Running => {
            let why = result.lost.as_ref().map_or("the session was lost", Redacted::as_str);
            let _ = writeln!(told, "error: {why}");
            Exit::Failed
        }
    };
    Ended { exit, told }
}

/// The end of one that policy denied: nothing has run.
pub(crate) fn denied(refusal: &Refusal) -> Ended {
    let reasons = report::reasons(&refusal.explained.of_refusal());
    Ended { exit: Exit::Denied, told: format!("palisade: denied ({})\n{reasons}", refusal.decision.id) }
}

/// The end of one that waits for a person's yes: nothing has run.
pub(crate) fn unanswered(verdict: &Explained, decision: &DecisionNote) -> Ended {
    let reasons = report::reasons(&verdict.of_refusal());
    let told = format!("palisade: needs a person's yes, and nobody gave it ({})\n{reasons}", decision.id);
    Ended { exit: Exit::Denied, told }
}

/// The same, where the request for it stays.
pub(crate) fn waits(unanswered: &Unanswered) -> Ended {
    let Unanswered { explained, standing, .. } = unanswered;
    let reasons = report::reasons(&explained.of_refusal());
    let how = match standing {
        Standing::Waiting { id, expires_s, quorum, yes } => {
            let people =
                if *quorum > 1 { format!(" (of {quorum} people, {yes} have said yes)") } else { String::new() };
            let minutes = expires_s.div_ceil(60);
            format!(
                "a person says yes with `palisade approvals grant {id}` within {minutes} minutes{people}, from a terminal that was open \
                 before the agent's client. Then run this command again"
            )
        }
        Standing::Denied { by, reason, .. } => {
            let why =
                if reason.is_empty() { String::new() } else { format!(": {}", report::printable(reason.as_str())) };
            format!("{by} has said no{why}")
        }
        Standing::Full { max } => {
            format!("{max} requests wait for a person already; run it again once some are answered")
        }
    };
    let told = format!("palisade: needs a person's yes\n{reasons}palisade: {how}\n");
    Ended { exit: Exit::Denied, told }
}
