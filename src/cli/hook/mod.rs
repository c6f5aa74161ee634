//! `hook`: answers an AI client that asks before it uses a tool.
//!
//! ```text
//! JSON of a client ─ clients/*.rs ─▶ ToolUse, with Acts ─ script.rs ─▶ texts ─ judge.rs ─▶ Said ─ clients/*.rs ─▶ JSON, status
//! ```
//!
//! Decides what is said of an act: nothing where policy allows it, and a denial where anything goes wrong. Clients go on when a hook fails
//! (`docs/clients.md`), so that whatever is not understood, takes too long or panics becomes an answer that denies.

mod act;
mod clients;
mod judge;
mod script;
mod wrap;

use std::io::{self, Read as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use palisade_runner::Pipeline;
use serde_json::Value;

use self::act::{Said, ToolAct};
use self::clients::{Protocol, Spoken};
use crate::cli::args::{Hook, HookMode};
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::cli::standby::wire::{Question, Verdict};

/// Bytes of a client's request, at most. A file that it writes stands in it as a whole.
const MOST: u64 = 32 << 20;

/// How long an answer may take. Clients stop waiting after 60 seconds or more, and then go on.
const DEADLINE: Duration = Duration::from_secs(20);

/// One answer is given, whoever is first: the judgement, the clock or a panic.
static ANSWERED: AtomicBool = AtomicBool::new(false);
static ANSWERING: Mutex<()> = Mutex::new(());

pub(crate) fn run(args: &Hook) -> Exit {
    let protocol = clients::of(args.client);
    let mode = args.mode();
    std::panic::set_hook(Box::new(move |_| end(protocol.failed("Palisade has panicked", mode))));
    std::thread::spawn(move || {
        std::thread::sleep(DEADLINE);
        end(protocol.failed("Palisade has not come to an answer in time", mode));
    });
    let spoken = match answer(args, protocol) {
        Ok(spoken) => spoken,
        Err(why) => protocol.failed(&why, mode),
    };
    end(spoken)
}

/// Gives the answer, and ends the process.
fn end(spoken: Spoken) -> ! {
    let _one_at_a_time = ANSWERING.lock();
    if !ANSWERED.swap(true, Ordering::SeqCst) {
        let written = io::stdout().write_all(spoken.stdout.as_bytes()).and_then(|()| io::stdout().flush());
        report::complain(&spoken.stderr);
        // What nobody could read has not been said: the status says it once more where a client honours that.
        std::process::exit(if written.is_err() { clients::BLOCKED } else { i32::from(spoken.status) });
    }
    std::process::exit(clients::BLOCKED)
}

fn answer(args: &Hook, protocol: &'static Protocol) -> Result<Spoken, String> {
    let mut text = Vec::new();
    let read = io::stdin().lock().take(MOST + 1).read_to_end(&mut text);
    read.map_err(|error| format!("the client's request cannot be read: {error}"))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MOST {
        return Err(format!("the client's request is longer than {MOST} bytes"));
    }
    let request: Value =
        serde_json::from_slice(&text).map_err(|error| format!("the client's request is no JSON: {error}"))?;
    let event = protocol.read(&request)?;
    let mode = args.mode();
    let mut said = Said::Nothing;
    let mut scripts = Vec::new();
    for act in &event.acts {
        said = said.and(match (act, mode) {
            (ToolAct::Command { text, is_background }, HookMode::Wrap) => {
                Said::Rewrite(wrap::command(args, &event, text, *is_background)?)
            }
            // What is to be seen is what would become of it once it is wrapped.
            (ToolAct::Command { text, .. }, HookMode::Shadow) => {
                judge::judge(args, &event, text.clone().into_bytes(), None, true)?
            }
            (ToolAct::Tool(name), _) => judge::judge(args, &event, Vec::new(), Some(name), false)?,
            (ToolAct::Unknown(name), _) => Said::Ask(format!(
                "Palisade cannot tell what the tool `{}` of this client does.",
                report::printable(name)
            )),
            (act, _) => {
                scripts.extend(script::of(act));
                Said::Nothing
            }
        });
    }
    if !scripts.is_empty() {
        said = said.and(judge::judge(args, &event, scripts.join(b"; ".as_slice()), None, false)?);
    }
    if mode == HookMode::Shadow {
        said = Said::Nothing;
    }
    Ok(protocol.answer(&event, &said))
}

/// What a pipeline says to a question of another process's hook.
///
/// # Errors
/// If the question cannot be judged, or the record cannot be written.
pub(crate) async fn verdict(pipeline: &Pipeline, question: &Question) -> Result<Verdict, CliError> {
    judge::of(pipeline, question).await
}
