//! A command of a client's, rewritten so that the client's own shell has Palisade run it.

use std::ffi::{OsStr, OsString};

use super::act::ToolUse;
use crate::cli::args::{Hook, HookClient};
use crate::cli::foreground::words::quote;
use crate::cli::standby::client;

/// The rewritten command: this very program, as `sh`, in the conversation's session.
///
/// # Errors
/// If this program's own path cannot be told.
pub(super) fn command(args: &Hook, event: &ToolUse, text: &str, is_background: bool) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| format!("Palisade's own path cannot be told: {error}"))?;
    let mut words: Vec<OsString> = vec![program.into(), "sh".into()];
    words.extend(args.context.words());
    if let Some(project) = &event.project {
        let moved = std::env::set_current_dir(project);
        moved.map_err(|error| format!("{} cannot be entered: {error}", project.display()))?;
    }
    // Wherever the command is to run: no directory that the agent names becomes a workspace by that.
    let place = std::env::current_dir().map_err(|error| format!("the current directory cannot be told: {error}"))?;
    words.extend(["--at".into(), place.into()]);
    // The client's shell may stand in a sandbox of the client's, in which none could be started.
    if let Some(name) = client::warm(&args.context) {
        words.push("--standby".into());
        words.push(name.into());
    }
    if let Some(session) = &event.session {
        words.push("--session".into());
        words.push(format!("{}-{session}", args.client.name()).into());
        if is_background {
            words.push("--beside".into());
        }
        // The others start each call anew, and their models count on that.
        if args.client != HookClient::Claude {
            words.push("--stateless".into());
        }
    }
    words.extend(["-c".into(), OsString::from(text)]);
    let quoted: Vec<Vec<u8>> = words.iter().map(|word| quote(OsStr::new(word), false)).collect();
    String::from_utf8(quoted.join(&b' '))
        .map_err(|_| "Palisade's own path is no text that a client could take".to_owned())
}
