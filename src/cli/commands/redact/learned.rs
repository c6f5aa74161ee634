//! `redact --learned`: what running servers have learned to redact, and dropping what is no secret.
//!
//! Nothing is kept beyond a server's life, so the servers that run know all of it.

use std::fmt::Write as _;

use palisade_redact::LearnedFrom;
use palisade_runner::control::client::Server;
use palisade_runner::control::wire::{Answer, Ask, Learned, Which};

use crate::cli::args::{Context, Redact};
use crate::cli::commands;
use crate::cli::commands::approvals::{ask_all, servers, told};
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError, one_line, printable};

pub(super) fn run(args: &Redact) -> Result<Exit, CliError> {
    let servers = servers(&Context { config: args.config.clone(), ..Context::default() })?;
    match &args.dropped {
        Some(id) => drop_one(servers, id, args.json),
        None if args.drop_all => drop_all(&servers, args.json),
        None => list(&servers, args.json),
    }
}

/// How a verb ends that was told so by its servers.
#[derive(Default)]
struct ServerReplies {
    failed: bool,
    refused: bool,
}

impl ServerReplies {
    fn tell(&mut self, answer: &Answer<String>) {
        match told(answer) {
            Exit::Findings => self.refused = true,
            _ => self.failed = true,
        }
    }

    fn exit(&self) -> Exit {
        match (self.failed, self.refused) {
            (true, _) => Exit::Error,
            (false, true) => Exit::Findings,
            (false, false) => Exit::Fine,
        }
    }
}

fn list(servers: &[Server], json: bool) -> Result<Exit, CliError> {
    let (answers, failed) = ask_all(servers, &Ask::Learned);
    let (mut learned, mut more, mut met) = (Vec::new(), 0, ServerReplies { failed, refused: false });
    let nobody_runs = answers.is_empty() && !failed;
    for (_, answer) in answers {
        match answer {
            Answer::Learned { values, older } => {
                learned.extend(values);
                more += older;
            }
            other => met.tell(&other),
        }
    }
    learned.sort_by(|one: &Learned<String>, other| one.at.cmp(&other.at));
    if more > 0 {
        report::complain(&format!("palisade: {more} older values are not listed\n"));
    }
    if nobody_runs {
        report::complain("palisade: no server runs here; what one has learned ends with it\n");
    }
    if json {
        report::print(&commands::json(&learned)?);
    } else if learned.is_empty() && !nobody_runs && met.exit() == Exit::Fine {
        report::print("no value is learned\n");
    } else {
        let texts: String = learned.iter().map(text).collect();
        report::print(&texts);
    }
    Ok(met.exit())
}

fn drop_one(mut servers: Vec<Server>, id: &str, json: bool) -> Result<Exit, CliError> {
    let chain = id.split('-').next().unwrap_or_default();
    servers.retain(|server| server.chain() == chain);
    let (answers, failed) = ask_all(&servers, &Ask::Unlearn { which: Which::One(id.to_owned()) });
    let mut met = ServerReplies { failed, refused: false };
    for (_, answer) in answers {
        match answer {
            Answer::Unlearned(ids) => return dropped(&ids, json),
            Answer::Unknown => {}
            other => met.tell(&other),
        }
    }
    match met.exit() {
        Exit::Fine => {
            let what = format!("no running server has learned a value of the id `{}`", one_line(id));
            let help =
                "`palisade redact --learned` lists them; name the server's settings with `--config`, if it has its own";
            Err(CliError::new(what, help))
        }
        exit => Ok(exit),
    }
}

fn drop_all(servers: &[Server], json: bool) -> Result<Exit, CliError> {
    let (answers, failed) = ask_all(servers, &Ask::Unlearn { which: Which::All });
    let (mut ids, mut met) = (Vec::new(), ServerReplies { failed, refused: false });
    if answers.is_empty() && !failed {
        report::complain("palisade: no server runs here; what one has learned ends with it\n");
    }
    for (_, answer) in answers {
        match answer {
            Answer::Unlearned(more) => ids.extend(more),
            other => met.tell(&other),
        }
    }
    dropped(&ids, json)?;
    Ok(met.exit())
}

fn dropped(ids: &[String], json: bool) -> Result<Exit, CliError> {
    let lines = || ids.iter().map(|id| format!("{} is dropped\n", printable(id))).collect();
    report::print(&if json { commands::json(&serde_json::json!({ "dropped": ids }))? } else { lines() });
    Ok(Exit::Fine)
}

/// A value in two lines: how to recognise it, and where it came from.
fn text(learned: &Learned<String>) -> String {
    let Learned { id, agent, user, session, from, name, program, at, length, shown, mark, redacted } = learned;
    let mut text = format!("{}  {length} bytes", printable(id));
    if !shown.is_empty() {
        let _ = write!(text, " {}", printable(shown));
    }
    let times = if *redacted == 1 { "once".to_owned() } else { format!("{redacted} times") };
    let _ = writeln!(text, "  {}  redacted {times}", printable(mark));
    let name = printable(name);
    let origin = match from {
        LearnedFrom::Variable => format!("the variable {name}"),
        LearnedFrom::Argument => format!("{name} of {}", printable(program)),
        LearnedFrom::Script => format!("a command, by the rule {name}"),
        LearnedFrom::Output => format!("output, by the rule {name}"),
    };
    let session = if session.is_empty() { "no session".to_owned() } else { printable(session) };
    let who = format!("{} for {}", printable(agent), printable(user));
    let _ = writeln!(text, "  from {origin}; {}, {session}, {who}", printable(at));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_names_does_not_act_on_the_terminal() {
        let evil = || "a\u{1b}[2J\u{202e}\nfrom nowhere".to_owned();
        let learned = Learned {
            id: evil(),
            agent: evil(),
            user: evil(),
            session: evil(),
            from: LearnedFrom::Argument,
            name: evil(),
            program: evil(),
            at: evil(),
            length: 9,
            shown: evil(),
            mark: evil(),
            redacted: 2,
        };
        let shown = text(&learned);
        assert_eq!(shown.lines().count(), 2, "{shown}");
        assert!(!shown.chars().any(|shown| shown != '\n' && (shown.is_control() || shown == '\u{202e}')), "{shown:?}");
    }
}
