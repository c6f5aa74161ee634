//! What a person sees: errors with their help, verdicts with a caret under the text.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};

use miette::Diagnostic;
use palisade_redact::printable::is_plain;
use palisade_runner::{DeniedProgram, Explained, Failure, OpenError, Redacted};

pub(crate) use palisade_redact::printable::printable;

use crate::config::ConfigError;

/// Why a verb could not do what it was asked to.
#[derive(Debug)]
pub(crate) struct CliError {
    what: String,
    help: String,
}

impl CliError {
    /// Something in our own words.
    pub(crate) fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { what: what.into(), help: help.into() }
    }

    /// An error with its causes and help.
    pub(crate) fn of(error: &(impl Diagnostic + ?Sized)) -> Self {
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            let _ = write!(what, ": {next}");
            cause = next.source();
        }
        Self { what, help: error.help().map(|help| help.to_string()).unwrap_or_default() }
    }

    /// `error: …` and, where there is one, `help: …`, a line each.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("error: {}\n", harmless(&self.what));
        if !self.help.is_empty() {
            let _ = writeln!(text, "help: {}", harmless(&self.help));
        }
        text
    }

    /// Prints that to stderr.
    pub(crate) fn print(&self) {
        // Nobody reads stderr: there is nobody left to tell.
        let _ = io::stderr().write_all(self.text().as_bytes());
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        Self::new(failure.what.to_string(), failure.help.to_string())
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::of(&error)
    }
}

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        Self::of(&error)
    }
}

/// A text of several lines in which each character that a terminal would act on is written as its number: `\u{1b}`.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_plain(character) || character == '\n' {
            shown.push(character);
        } else {
            shown.extend(character.escape_unicode());
        }
    }
    shown
}

/// Clears a terminal and goes to its first place (ECMA-48, ED and CUP).
pub(crate) const CLEARED: &str = "\u{1b}[2J\u{1b}[H";

/// Writes to standard output; false if nobody reads it any more.
pub(crate) fn print(text: &str) -> bool {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

/// Writes to standard error.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Whether a person sits in front of standard input and standard error.
pub(crate) fn has_person() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Whether what a person has typed is a yes: `y` or `yes`, and nothing else.
pub(crate) fn is_yes(answer: &[u8]) -> bool {
    let answer = answer.trim_ascii();
    [&b"y"[..], b"yes"].iter().any(|yes| answer.eq_ignore_ascii_case(yes))
}

/// A verdict for a person: each request on a line, then each reason with a caret under the text.
pub(crate) fn verdict(explained: &Explained) -> String {
    let mut text = format!("{}: {}\n", explained.decision.as_str(), one_line(explained.command.as_str()));
    for request in &explained.requests {
        let policies: Vec<&str> = request.determining.iter().map(Redacted::as_str).collect();
        let policies = if policies.is_empty() { "nothing permits it".to_owned() } else { policies.join(", ") };
        let via: Vec<&str> = request.via.iter().map(Redacted::as_str).collect();
        let via = if via.is_empty() { String::new() } else { printable(&format!(" via {}", via.join(" › "))) };
        let _ = writeln!(
            text,
            "  {:5} {:8} {}{via}  ({policies})",
            request.decision.as_str(),
            request.action,
            one_line(request.resource.as_str())
        );
    }
    if !explained.checkpoint.is_empty() {
        let policies: Vec<&str> = explained.checkpoint.iter().map(Redacted::as_str).collect();
        let _ = writeln!(text, "  behind a checkpoint  ({})", policies.join(", "));
    }
    text.push_str(&reasons(explained));
    text
}

/// Why a script is not allowed.
pub(crate) fn reasons(explained: &Explained) -> String {
    let mut text = String::new();
    for reason in &explained.reasons {
        let policy = match (reason.policy.is_empty(), reason.place.is_empty()) {
            (true, _) => "no permit".to_owned(),
            (false, true) => reason.policy.to_string(),
            (false, false) => format!("{} ({})", reason.policy, reason.place),
        };
        let _ = writeln!(text, "{policy}: {}", printable(reason.reason.as_str()));
        text.push_str(&caret(explained.command.as_str(), reason.span));
        if !reason.nearest.is_empty() {
            let _ = writeln!(text, "  {}", printable(reason.nearest.as_str()));
        }
        if !reason.suggest.is_empty() {
            let _ = writeln!(text, "  instead: {}", printable(reason.suggest.as_str()));
        }
    }
    for opaque in explained.opaque.iter().filter(|opaque| !opaque.detail.is_empty()) {
        let _ = writeln!(text, "{}: {}", opaque.reason, printable(opaque.detail.as_str()));
    }
    text
}

/// What was refused while a command ran, and what would be allowed.
pub(crate) fn denied_program(denied: &DeniedProgram) -> String {
    let policy = if denied.policy.is_empty() { "no permit" } else { denied.policy.as_str() };
    let mut text = String::new();
    if denied.is_execution() {
        let words: Vec<&str> = denied.argv.iter().map(Redacted::as_str).collect();
        let _ = writeln!(text, "palisade: denied at execve: {}", printable(denied.program.as_str()));
        let _ = writeln!(text, "{policy}: {}\n  {}", printable(denied.reason.as_str()), printable(&words.join(" ")));
    } else {
        let _ = writeln!(text, "palisade: denied: {}", printable(&denied.what()));
        let _ = writeln!(text, "{policy}: {}", printable(denied.reason.as_str()));
    }
    if !denied.suggestion.is_empty() {
        let _ = writeln!(text, "  instead: {}", printable(denied.suggestion.as_str()));
    }
    text
}

/// Characters of a script's line that are shown with a reason.
const MAX_LINE: usize = 160;

/// The line that a span stands in, with a caret under each of its characters. Nothing if the text shown is not the text
/// that the span was measured in, as when something was redacted.
fn caret(script: &str, [start, end]: [usize; 2]) -> String {
    let (Some(before), Some(inside)) = (script.get(..start), script.get(start..end)) else { return String::new() };
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let Some(line) = script.get(line_start..).and_then(|rest| rest.lines().next()) else { return String::new() };
    if script.contains("[redacted:") || inside.is_empty() {
        return String::new();
    }
    let indent = before.get(line_start..).unwrap_or_default().chars().count();
    let width = inside.lines().next().unwrap_or_default().chars().count().max(1);
    // Of a long line the part that is meant, with some of what stands before it.
    let length = line.chars().count();
    let from = if length > MAX_LINE { indent.saturating_sub(MAX_LINE / 4) } else { 0 };
    let shown: String = line.chars().skip(from).take(MAX_LINE).collect();
    let begun = if from > 0 { "…" } else { "" };
    let cut = if length > from + MAX_LINE { "…" } else { "" };
    let blank = " ".repeat(indent - from + begun.chars().count());
    let carets = "^".repeat(width.min(from + MAX_LINE - indent));
    format!("  {begun}{}{cut}\n  {blank}{carets}\n", printable(&shown))
}

/// JSON with all in its texts escaped that [`printable()`] replaces; such characters stand nowhere else in it.
pub(crate) fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if is_plain(character) || character == '\n' {
            escaped.push(character);
        } else {
            let units =
                character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
            escaped.push_str(&units);
        }
    }
    escaped
}

/// The whole script, each line marked, so that nobody says yes to what was cut off.
pub(crate) fn script(explained: &Explained) -> String {
    marked(explained.command.as_str())
}

/// A text of the agent's, each line marked, so that none looks like ours.
pub(crate) fn marked(text: &str) -> String {
    text.split('\n').map(|line| format!("  | {}\n", printable(line))).collect()
}

/// So many seconds, in the largest unit of which there are two.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

pub(crate) fn one_line(text: &str) -> String {
    let mut line: String = text.chars().take(160).collect();
    if line.len() < text.len() {
        line.push('…');
    }
    printable(&line.replace('\n', "⏎"))
}

/// A number of things: `1 case`, `2 cases`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_text_it_means() {
        assert_eq!(caret("ls\nsudo ls é", [3, 10]), "  sudo ls é\n  ^^^^^^^\n");
        assert_eq!(caret("é sudo", [3, 7]), "  é sudo\n    ^^^^\n");
        assert_eq!(caret("x", [5, 9]), "");
        let long = format!("{} && sudo ls && {}", "x".repeat(200), "y".repeat(200));
        let shown = caret(&long, [204, 211]);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.first().map(|line| line.chars().count()), Some(MAX_LINE + 4), "{shown}");
        assert!(shown.starts_with("  …x") && shown.contains("y…\n"), "{shown}");
        let marked = lines
            .first()
            .into_iter()
            .flat_map(|line| line.chars())
            .zip(lines.last().into_iter().flat_map(|line| line.chars()));
        let under: String = marked.filter_map(|(letter, mark)| (mark == '^').then_some(letter)).collect();
        assert_eq!(under, "sudo ls");
    }

    #[test]
    fn json_is_read_as_it_was_and_moves_nothing() {
        let text = "a\u{9b}2J\u{202e}\u{7f}\u{e0041}\u{1b}\n\u{e9}\u{1f600}";
        let json = serde_json::Value::from(text).to_string();
        let shown = escaped(&format!("{json}\n"));
        assert_eq!(serde_json::from_str::<String>(&shown).ok().as_deref(), Some(text));
        assert_eq!(shown, "\"a\\u009b2J\\u202e\\u007f\\udb40\\udc41\\u001b\\n\u{e9}\u{1f600}\"\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(one_line("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb⏎c");
        assert_eq!(harmless("a\u{1b}[2Jb\nc\u{202e}é"), "a\\u{1b}[2Jb\nc\\u{202e}é");
        assert_eq!(printable("a\u{202e}b\u{200b}é"), "a\u{fffd}b\u{fffd}é");
    }
}
