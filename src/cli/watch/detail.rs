//! One act, or one request, whole: the lines that a person reads before they judge it.

use palisade_runner::control::wire::Request;
use ratatui::style::Color;
use ratatui::text::{Line, Span};

use super::act::{Act, Verdict};
use super::drawing::{colour, dim, fit, verdict};
use super::text::{amount, duration, moment};
use crate::cli::report;

/// Everything that is known of one act.
pub(super) fn about(act: &Act) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            lines.push(Line::from(vec![
                Span::styled(format!(" {name:<10} "), dim()),
                Span::raw(report::printable(value)),
            ]));
        }
    };
    fact("when", &moment(act.at));
    fact("agent", &act.agent);
    fact("user", &act.user);
    fact("session", &act.session);
    fact("directory", &act.cwd);
    fact("record", &format!("{} of {}", act.seq, act.chain));
    fact("decision", &act.request);
    fact("programs", &joined(&act.programs));
    fact("effects", &joined(&act.effects));
    fact("policies", &joined(&act.policies));
    fact("opaque", &joined(&act.opaque));
    fact("errors", &joined(&act.errors));
    let word = act.verdict.map_or("", Verdict::as_str);
    let style = act.verdict.map_or_else(dim, verdict);
    lines.push(Line::from(vec![Span::styled(" verdict    ", dim()), Span::styled(word, style)]));
    lines.push(Line::default());
    for line in act.text.split('\n') {
        lines.push(Line::from(vec![Span::styled("   | ", dim()), Span::raw(report::printable(line))]));
    }
    lines.push(Line::default());
    if !act.words.is_empty() {
        lines.push(Line::styled(" what the agent says of it, which nobody has checked:", colour(Color::Yellow)));
        lines.extend(act.words.split('\n').map(|line| Line::from(format!("   \" {}", report::printable(line)))));
        lines.push(Line::default());
    }
    for reason in &act.reasons {
        let policy = if reason.policy.is_empty() { "no permit" } else { &reason.policy };
        let place = if reason.place.is_empty() { String::new() } else { format!(" ({})", reason.place) };
        let head = report::one_line(&format!("{policy}{place}"));
        lines.push(Line::from(vec![Span::raw(" "), Span::styled(head, verdict(Verdict::Deny))]));
        lines.push(Line::from(format!("   {}", report::printable(&reason.reason))));
        lines.push(Line::styled(format!("   on: {}", report::one_line(&reason.text)), dim()));
        if !reason.suggest.is_empty() {
            lines.push(Line::from(format!("   instead: {}", report::printable(&reason.suggest))));
        }
    }
    for answer in &act.answers {
        let word = if answer.granted { "granted" } else { "refused" };
        lines.push(Line::from(format!(" {word} by {}", report::one_line(&answer.by))));
    }
    if let Some(outcome) = &act.outcome {
        let (out, err) = (amount(outcome.out), amount(outcome.err));
        let text = format!(
            " {} after {}, stdout {out}, stderr {err}",
            report::one_line(&outcome.text),
            duration(outcome.micros)
        );
        lines.push(Line::from(text));
        if outcome.redactions > 0 {
            lines.push(Line::from(format!(" {} secrets were taken out", outcome.redactions)));
        }
    }
    for refused in &act.refusals {
        let policy = if refused.policy.is_empty() { "no permit" } else { &refused.policy };
        let text = format!(" refused while it ran: {} ({policy})", refused.what);
        lines.push(Line::styled(report::printable(&text), verdict(Verdict::Deny)));
    }
    if act.refused_more > 0 {
        lines.push(Line::from(format!(" and {} more", act.refused_more)));
    }
    lines
}

/// Everything that an answer would be about.
pub(super) fn about_request(request: Option<&Request<String>>) -> Vec<Line<'static>> {
    let Some(request) = request else {
        return vec![Line::from(" this request waits no more: it was answered, withdrawn, or is too old")];
    };
    let short = &request.short;
    let mut lines = Vec::new();
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            let value = Span::raw(report::printable(value));
            lines.push(Line::from(vec![Span::styled(format!(" {name:<10} "), dim()), value]));
        }
    };
    fact("request", &short.id);
    fact("agent", &format!("{} for {}", short.agent, short.user));
    fact("what", &request.kind);
    fact("session", &request.session);
    if request.joined {
        fact("also", "asked in a session and without one: a yes is to one of them, once");
    }
    fact("directory", &short.cwd);
    fact("asked", &format!("{} s ago, {} s left", short.age_s, short.expires_s));
    let granted = if short.granted_by.is_empty() { "nobody yet".to_owned() } else { short.granted_by.join(", ") };
    fact("yes from", &format!("{granted}, of {} needed", short.quorum));
    fact("opaque", &request.opaque.join(", "));
    fact("opens", &request.opens.join(", "));
    lines.push(Line::default());
    for line in short.command.split('\n') {
        lines.push(Line::from(vec![Span::styled("   | ", dim()), Span::raw(report::printable(line))]));
    }
    if short.hidden > 0 {
        let hidden = format!(
            " not all of it is shown: {} characters look like secrets, and a yes is to them, too",
            short.hidden
        );
        lines.push(Line::from(Span::styled(hidden, verdict(Verdict::Deny))));
    }
    lines.push(Line::default());
    for effect in &request.effects {
        let via = if effect.via.is_empty() { String::new() } else { format!(" via {}", effect.via.join(" › ")) };
        let text = format!("{:8} {}{via}  ({})", effect.action, effect.resource, effect.policies.join(", "));
        let style = if effect.decision == "allow" { verdict(Verdict::Allow) } else { verdict(Verdict::Ask) };
        let word = Span::styled(format!(" {} ", fit(&effect.decision, 5)), style);
        lines.push(Line::from(vec![word, Span::raw(report::printable(&text.replace('\n', "⏎")))]));
    }
    for reason in &request.reasons {
        let policy = if reason.policy.is_empty() { "no permit" } else { &reason.policy };
        let head = report::one_line(&format!("{policy} ({})", reason.place));
        lines.push(Line::from(vec![Span::raw(" "), Span::styled(head, verdict(Verdict::Ask))]));
        lines.push(Line::from(format!("   {}", report::printable(&reason.reason))));
    }
    for file in &request.files {
        let hash = if file.sha256.is_empty() { "cannot be read" } else { &file.sha256 };
        lines.push(Line::styled(report::printable(&format!(" bound to {} = {hash}", file.path)), dim()));
    }
    if !request.said.is_empty() {
        lines.push(Line::default());
        lines.push(Line::styled(" what the agent says of it, which nobody has checked:", colour(Color::Yellow)));
        lines.extend(request.said.split('\n').map(|line| Line::from(format!("   \" {}", report::printable(line)))));
    }
    lines
}

fn joined(texts: &[Box<str>]) -> String {
    texts.join(", ")
}
