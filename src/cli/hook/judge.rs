//! Asks policy: through the stand-by process, or by itself where there is none.

use palisade_runner::{Call, Client, Decision, Explained, ExplainedReason, Pipeline, Settings};

use super::act::{Said, ToolUse};
use crate::cli::args::{Context, Hook, HookMode};
use crate::cli::commands;
use crate::cli::report::{self, CliError};
use crate::cli::standby::client;
use crate::cli::standby::wire::{Question, Verdict};
use crate::config;

/// What policy says to a script that the client runs itself, or to a tool of another server's.
///
/// # Errors
/// If policy cannot be asked, or the record cannot be written.
pub(super) fn judge(
    args: &Hook,
    event: &ToolUse,
    script: Vec<u8>,
    server_tool: Option<&String>,
    held: bool,
) -> Result<Said, String> {
    let context = Context { cwd: Some(event.cwd.clone()), ..args.context.clone() };
    if let Some(project) = &event.project {
        let moved = std::env::set_current_dir(project);
        moved.map_err(|error| format!("{} cannot be entered: {error}", project.display()))?;
    }
    let (client, mode) = (args.client.name(), args.mode().name());
    let question = Question {
        script,
        server_tool: server_tool.cloned(),
        held,
        cwd: event.cwd.clone(),
        client: format!("{client} (hook)"),
        reason: format!("{}, by the hook of {client} ({mode})", event.tool),
    };
    let verdict = match client::ask(&context, question.clone()).map_err(|error| error.to_string())? {
        Some(verdict) => verdict,
        None => alone(&context, &question).map_err(|error| error.to_string())?,
    };
    let told = format!("Palisade: {}", verdict.text);
    Ok(match verdict.decision {
        Decision::Allow => Said::Nothing,
        Decision::Ask => Said::Ask(told),
        Decision::Deny => Said::Deny(told),
    })
}

/// In this process.
fn alone(context: &Context, question: &Question) -> Result<Verdict, CliError> {
    commands::begin_to_probe();
    let settings: Settings = config::load(context, config::SHELL)?;
    commands::runtime()?.block_on(async {
        let pipeline = Pipeline::open(settings)?;
        let verdict = of(&pipeline, question).await;
        pipeline.shut_down().await?;
        verdict
    })
}

/// What this pipeline says.
///
/// # Errors
/// As [`Pipeline::consult`].
pub(super) async fn of(pipeline: &Pipeline, question: &Question) -> Result<Verdict, CliError> {
    let client = Client::self_declared(question.client.clone());
    if let Some(tool) = &question.server_tool {
        let decision = if pipeline.consult_tool(tool, &client)? { Decision::Allow } else { Decision::Deny };
        let text = format!("no policy permits the tool `{}` (`useTool`)", report::printable(tool));
        return Ok(Verdict { decision, text });
    }
    let cwd = question.cwd.to_str().map(str::to_owned);
    let (script, reason) = (question.script.clone(), question.reason.clone());
    let (explained, note) =
        pipeline.consult(&Call { script, cwd, reason, client, ..Call::default() }, question.held).await?;
    Ok(Verdict { decision: explained.decision, text: text(&explained, note.id.as_str()) })
}

/// Characters of the reasons, at most.
const MOST: usize = 400;

/// The reasons, as an agent is told them: each policy once, with a way out, as many as there is room for.
fn text(explained: &Explained, id: &str) -> String {
    let explained = explained.of_refusal();
    let mut text = String::new();
    for (at, reason) in explained.reasons.iter().enumerate() {
        let same = |earlier: &&ExplainedReason| earlier.policy == reason.policy && earlier.reason == reason.reason;
        if explained.reasons.iter().take(at).any(|earlier| same(&earlier)) {
            continue;
        }
        let policy = reason.policy.as_str();
        let policy = if policy.is_empty() { String::new() } else { format!("{policy}: ") };
        let way_out = if reason.suggest.is_empty() { String::new() } else { format!(" {}", reason.suggest) };
        let told = format!("{policy}{}{way_out} ", reason.reason);
        if !text.is_empty() && text.chars().count() + told.chars().count() > MOST {
            break;
        }
        text.push_str(&told);
    }
    text.push_str(&format!("({id})"));
    text
}

impl HookMode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Wrap => "wrap",
            Self::Shadow => "shadow",
        }
    }
}
