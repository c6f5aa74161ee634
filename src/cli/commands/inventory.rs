//! `inventory`: what a text would run, without any policy.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal};
use std::os::unix::ffi::OsStrExt;

use palisade_grammar::{Command, Cwd, Effect, EffectKind, Resolved, Value, Via};
use palisade_redact::Redactor;
use serde::{Deserialize, Serialize};

use crate::cli::args::Inventory;
use crate::cli::commands;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config;

#[derive(Debug, Deserialize)]
#[serde(rename = "Line")]
struct InventoryInput {
    id: Option<String>,
    command: String,
}

#[derive(Serialize)]
struct InventoryOutput<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(flatten)]
    inventory: &'a palisade_grammar::Inventory,
}

pub(crate) fn run(args: &Inventory) -> Result<Exit, CliError> {
    let redactor = config::redactor()?;
    if args.batch {
        return batch(&redactor);
    }
    let command = args.command.as_ref().map(|command| command.as_bytes()).unwrap_or_default();
    let inventory = palisade_grammar::inventory(command);
    if args.text || !args.json && std::io::stdout().is_terminal() {
        report::print(redactor.text(&readable(&inventory)).as_str());
        return Ok(Exit::Fine);
    }
    let safe = commands::redacted(&inventory, &redactor)?;
    // And once more as a whole: a name and its value are two texts here.
    report::print(&format!("{}\n", redactor.text(&format!("{safe:#}"))));
    Ok(Exit::Fine)
}

fn batch(redactor: &Redactor) -> Result<Exit, CliError> {
    let mut exit = Exit::Fine;
    for (index, line) in std::io::stdin().lock().split(b'\n').enumerate() {
        let line = line.map_err(|error| CliError::new(format!("cannot read standard input: {error}"), ""))?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let text = match commands::read_line::<InventoryInput>(&line, r#"{"command": "ls -l"}"#) {
            Ok(line) => {
                let inventory = palisade_grammar::inventory(line.command.as_bytes());
                commands::json(&commands::redacted(&InventoryOutput { id: line.id, inventory: &inventory }, redactor)?)?
            }
            Err(error) => {
                exit = Exit::Error;
                commands::bad_line(&line, index + 1, &error, redactor)?
            }
        };
        if !report::print(redactor.text(&text).as_str()) {
            return Ok(exit);
        }
    }
    Ok(exit)
}

/// What runs, what is touched and what is not known, one line each.
fn readable(inventory: &palisade_grammar::Inventory) -> String {
    let mut text = String::new();
    for command in inventory.commands() {
        let indent = "  ".repeat(command.depth as usize);
        let words: Vec<String> = command.argv.iter().map(|word| shown(&word.value)).collect();
        let words = if words.is_empty() { "(no command)".to_owned() } else { words.join(" ") };
        _ = writeln!(text, "{:>3}  {indent}{words}{}", command.id.0 + 1, place(command));
        let below = |line: String| format!("     {indent}  {line}\n");
        for assignment in &command.assignments {
            let lasts = if assignment.persistent { "sets" } else { "sets for it alone" };
            text.push_str(&below(format!("{lasts} {}={}", assignment.name, shown(&assignment.value.value))));
        }
        for effect in &command.effects {
            text.push_str(&below(touched(effect)));
        }
        if let Some(outward) = &command.invocation.outward {
            text.push_str(&below(format!("does {}", shown_outward(outward))));
        }
        for item in inventory.opaque().iter().filter(|item| item.command == Some(command.id)) {
            text.push_str(&below(format!("? {}: {}", item.reason.as_str(), item.detail)));
        }
    }
    for item in inventory.opaque().iter().filter(|item| item.command.is_none()) {
        let (start, end) = (item.span.start, item.span.end);
        _ = writeln!(text, "  ?  {}: {} (bytes {start} to {end}: `{}`)", item.reason.as_str(), item.detail, item.text);
    }
    let (commands, unknown) = (inventory.commands().len(), inventory.opaque().len());
    _ = writeln!(
        text,
        "{commands} commands, {unknown} unknown{}",
        if inventory.parsed() { "" } else { ", not read completely" }
    );
    text
}

/// How bash gets there, and where it runs.
fn place(command: &Command) -> String {
    let mut notes = Vec::new();
    match &command.via {
        Via::Top => {}
        Via::Pipe(0) => notes.push("first of a pipe".to_owned()),
        Via::Pipe(_) => notes.push("in a pipe".to_owned()),
        Via::Wrapper(wrapper) => notes.push(format!("run by {wrapper}")),
        Via::Code(shell) => notes.push(format!("code of {shell}")),
        Via::Substitution => notes.push("in a substitution".to_owned()),
        Via::ProcessSubstitution => notes.push("in a process substitution".to_owned()),
        Via::Subshell => notes.push("in a subshell".to_owned()),
        Via::Function(name) => notes.push(format!("in the function {name}")),
        Via::Alias => notes.push("in an alias".to_owned()),
        Via::Trap => notes.push("in a trap".to_owned()),
        Via::Coproc => notes.push("in a coprocess".to_owned()),
        Via::Variable(name) => notes.push(format!("in the variable {name}")),
    }
    match command.resolved {
        Resolved::Builtin => notes.push("builtin".to_owned()),
        Resolved::Function => notes.push("a function".to_owned()),
        Resolved::Path | Resolved::Name | Resolved::None | Resolved::Unknown => {}
    }
    match &command.cwd {
        Cwd::Unknown => notes.push("in a directory that is not known".to_owned()),
        Cwd::Known(steps) => notes.extend(steps.last().map(|step| format!("in {}", shown(&step.to)))),
    }
    notes.extend(command.conditional.then(|| "perhaps".to_owned()));
    notes.extend(command.background.then(|| "in the background".to_owned()));
    if notes.is_empty() { String::new() } else { format!("    ({})", notes.join(", ")) }
}

/// What a command does beyond its workspace: `destroy, by word also observe: pod x (kubernetes, namespace=prod)`.
pub(crate) fn shown_outward(outward: &palisade_grammar::Outward) -> String {
    let names = |effects: &std::collections::BTreeSet<palisade_grammar::OutwardEffect>| {
        let all = effects.len() == palisade_grammar::OutwardEffect::ALL.len();
        let names: Vec<&str> = effects.iter().map(|effect| effect.as_str()).collect();
        if all { "anything (no row knows this verb)".to_owned() } else { names.join(", ") }
    };
    let mut text = if outward.effects.is_empty() { "nothing for certain".to_owned() } else { names(&outward.effects) };
    if !outward.possible.is_empty() {
        _ = write!(text, "; perhaps {}", names(&outward.possible));
    }
    if !outward.target.is_empty() {
        _ = write!(text, ": {}", outward.target.escape_debug());
    }
    let scope: Vec<String> = outward.scope.iter().map(|(word, place)| format!(", {word}={place}")).collect();
    _ = write!(text, " ({}{})", outward.system, scope.concat().escape_debug());
    text
}

fn touched(effect: &Effect) -> String {
    let does = match effect.kind {
        EffectKind::Read => "reads",
        EffectKind::Write => "writes",
        EffectKind::Delete => "deletes",
        EffectKind::Execute => "loads",
        EffectKind::Import => "may load modules from",
        EffectKind::Connect => "talks to",
    };
    let peer = effect.peer.as_ref().map(|peer| format!("{}:{}", peer.host, peer.port));
    let target = peer.unwrap_or_else(|| shown(&effect.target.value));
    format!("{does} {target}{}", if effect.tree { " and all below" } else { "" })
}

/// A word: `…` stands for what is not known.
fn shown(value: &Value) -> String {
    match value {
        Value::Literal(text) if text.is_empty() || text.contains(char::is_whitespace) => {
            format!("'{}'", text.escape_debug())
        }
        Value::Literal(text) => text.escape_debug().to_string(),
        Value::Home(rest) => format!("~{rest}"),
        Value::Pattern { prefix } => format!("{prefix}*"),
        Value::Below(roots) => roots.iter().map(|root| format!("{}/*", shown(root))).collect::<Vec<_>>().join(" or "),
        Value::Pipe { .. } => "<(…)".to_owned(),
        Value::Dynamic { prefix } => format!("{prefix}…"),
    }
}
