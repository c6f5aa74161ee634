//! What the terminal view looks like. Every text of the record goes through [`report::one_line`] or [`report::printable`]:
//! nothing that an agent wrote moves the cursor or turns what stands beside it.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph, Wrap};

use super::act::{Act, ActKind, Verdict};
use super::detail::{about, about_request};
use super::model::SessionRow;
use super::terminal::{Mode, Pane, TerminalView};
use super::text::{clock, duration};
use crate::cli::report;

/// Below this only one pane is shown.
const WIDE: u16 = 72;

pub(super) fn draw(frame: &mut Frame<'_>, view: &mut TerminalView) {
    let area = frame.area();
    let alarms = view.model.notices().count().min(3);
    let alarms = if area.height < 10 { alarms.min(1) } else { alarms };
    // Where there is no room for both, what waits is a pane like the others.
    let fits = area.height >= 16 && !view.waiting.is_empty();
    let waiting = if fits { view.waiting.len().min(4) + 2 } else { 0 };
    let heights = [
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(u16::try_from(waiting).unwrap_or_default()),
        Constraint::Length(u16::try_from(alarms).unwrap_or_default()),
        Constraint::Length(1),
    ];
    let [head, body, asked, notices, foot] = Layout::vertical(heights).areas(area);
    frame.render_widget(Paragraph::new(header(view)), head);
    if fits {
        requests(frame, asked, view);
    }
    if view.pane == Pane::Requests && !fits {
        requests(frame, body, view);
    } else if area.width >= WIDE {
        let [left, right] = Layout::horizontal([Constraint::Length(30), Constraint::Min(1)]).areas(body);
        sessions(frame, left, view);
        acts(frame, right, view);
    } else if view.pane == Pane::Sessions {
        sessions(frame, body, view);
    } else {
        acts(frame, body, view);
    }
    let told: Vec<Line<'_>> = view
        .model
        .notices()
        .rev()
        .take(alarms)
        .map(|told| {
            let style = if told.alarm { alarm() } else { colour(Color::Yellow) };
            Line::styled(format!(" {}", report::one_line(&told.text)), style)
        })
        .collect();
    frame.render_widget(Paragraph::new(told), notices);
    frame.render_widget(Paragraph::new(footer(view)), foot);
    let body = body.union(asked);
    match view.mode.clone() {
        Mode::Detail(id, line) => {
            let lines = view
                .model
                .act(id)
                .map(about)
                .unwrap_or_else(|| vec![Line::from("this is too long ago: `palisade audit show` still has it")]);
            whole(frame, body, view, " details ", lines, line);
        }
        Mode::Request(id, line) => whole(frame, body, view, " a request ", about_request(view.waits(&id)), line),
        Mode::Confirm { given, line, .. } => {
            whole(frame, body, view, " a request ", about_request(view.waits(&given.id)), line);
        }
        Mode::Browse | Mode::Search(_) => {}
    }
}

fn header(view: &TerminalView) -> Line<'static> {
    let totals = view.model.totals();
    let dot = || Span::styled(" · ", dim());
    let mut spans = vec![
        Span::styled(" palisade watch ", Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!("{} live", view.model.live())),
        dot(),
        Span::styled(format!("{} allow", totals.allowed), verdict(Verdict::Allow)),
        dot(),
        Span::styled(format!("{} ask", totals.asked), verdict(Verdict::Ask)),
        dot(),
        Span::styled(format!("{} deny", totals.denied), verdict(Verdict::Deny)),
        dot(),
        Span::raw(format!("{} refused at execve", totals.refused)),
        dot(),
        Span::raw(format!("{} redacted", totals.redactions)),
        dot(),
        Span::raw(format!("{} records", totals.records)),
    ];
    if totals.alarms > 0 {
        spans.insert(1, Span::styled(format!("{} ALARMS ", totals.alarms), alarm()));
    }
    spans.push(Span::styled(format!("  {}", report::one_line(&view.directory)), dim()));
    Line::from(spans)
}

fn footer(view: &TerminalView) -> Line<'static> {
    match &view.mode {
        Mode::Search(typed) => {
            Line::from(vec![Span::raw(format!(" /{}", report::printable(typed))), Span::styled("█", dim())])
        }
        Mode::Detail(..) => Line::styled(" ↑↓ scroll  esc back", dim()),
        Mode::Request(..) => Line::styled(" ↑↓ scroll  g grant  x deny  esc back", dim()),
        Mode::Confirm { given, typed, .. } => {
            let act = if given.yes { "grant" } else { "deny" };
            let text = format!(
                " to {act} {}, type {} and press enter: {}",
                report::one_line(&given.id),
                given.word(),
                report::printable(typed)
            );
            Line::from(vec![
                Span::styled(text, colour(Color::Yellow).add_modifier(Modifier::BOLD)),
                Span::styled("█", dim()),
            ])
        }
        Mode::Browse => {
            let mut spans = vec![Span::styled(
                " ↑↓ move  enter details  tab pane  / search  a allow  d deny  w ask  c clear  q quit",
                dim(),
            )];
            if !view.waiting.is_empty() {
                spans.insert(0, Span::styled(" g grant  x deny ", colour(Color::Yellow)));
            }
            if !view.said.is_empty() {
                spans.insert(0, Span::styled(format!(" {} ", report::one_line(&view.said)), reversed()));
            }
            let mut chosen = Vec::new();
            chosen.extend(view.verdict.map(|verdict| verdict.as_str().to_owned()));
            chosen.extend((!view.search.is_empty()).then(|| format!("/{}", report::one_line(&view.search))));
            if !chosen.is_empty() {
                spans.insert(0, Span::styled(format!(" {} ", chosen.join(" ")), reversed()));
            }
            Line::from(spans)
        }
    }
}

fn sessions(frame: &mut Frame<'_>, area: Rect, view: &mut TerminalView) {
    let now = Timestamp::now();
    let sessions = view.model.sessions();
    let mut lines = vec![vec![Line::from(" all sessions")]];
    lines.extend(sessions.iter().map(|session| about_session(session, now)));
    let at = sessions.iter().position(|session| Some(&session.key) == view.session.as_ref()).map_or(0, |at| at + 1);
    if let Some(chosen) = lines.get_mut(at) {
        chosen.iter_mut().for_each(|line| line.style = reversed());
    }
    let block = block(format!(" sessions {} ", sessions.len()), view.pane == Pane::Sessions);
    let height = usize::from(block.inner(area).height);
    // From the first on that leaves room for the chosen one.
    let mut first = 0;
    while lines.iter().take(at + 1).skip(first).map(Vec::len).sum::<usize>() > height && first < at {
        first += 1;
    }
    let shown: Vec<Line<'_>> = lines.into_iter().skip(first).flatten().take(height).collect();
    frame.render_widget(Paragraph::new(shown).block(block), area);
    if view.pane == Pane::Sessions {
        view.page = height / 2;
    }
}

fn requests(frame: &mut Frame<'_>, area: Rect, view: &mut TerminalView) {
    let (focused, all, at) = (view.pane == Pane::Requests, view.waiting.len(), view.request_at());
    let height = usize::from(block(String::new(), focused).inner(area).height);
    let first = (at + 1).saturating_sub(height);
    let mut title = format!(" waiting for an answer {all} ");
    if all > height {
        let keys = if focused { "↑↓ show" } else { "tab and ↑↓ show" };
        title = format!("{title}· {} to {} are here, {keys} the others ", first + 1, (first + height).min(all));
    }
    let block = block(title, focused).title_style(colour(Color::Yellow).add_modifier(Modifier::BOLD));
    let lines = view.waiting.iter().enumerate().skip(first).take(height);
    let lines = lines.map(|(place, request)| {
        let short = &request.short;
        let line = Line::from(vec![
            Span::styled(format!(" {} ", fit(&short.id, 13)), colour(Color::Yellow)),
            Span::styled(format!("{} ", fit(&short.agent, 12)), colour(Color::Cyan)),
            Span::styled(format!("{:>6}, {:>6} left ", report::age(short.age_s), report::age(short.expires_s)), dim()),
            Span::raw(report::one_line(&short.command)),
        ]);
        if place == at && focused { line.style(reversed()) } else { line }
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
    if focused {
        view.page = height;
    }
}

/// Two lines: who and since when; what came of it.
fn about_session(session: &SessionRow, now: Timestamp) -> Vec<Line<'static>> {
    let (mark, style) = match (&session.ended, session.running) {
        (Some(_), _) => ("○", dim()),
        (None, 0) => ("●", colour(Color::Green)),
        (None, _) => ("▶", colour(Color::Green)),
    };
    let name = if session.name.is_empty() { "single commands" } else { &session.name };
    let first = Line::from(vec![
        Span::styled(format!(" {mark} "), style),
        Span::raw(fit(&session.agent, 14)),
        Span::styled(format!(" {}", clock(session.last, now)), dim()),
    ]);
    let mut second = vec![Span::styled(format!("   {} ", fit(name, 15)), dim())];
    for (count, of) in
        [(session.allowed, Verdict::Allow), (session.asked, Verdict::Ask), (session.denied, Verdict::Deny)]
    {
        second.push(Span::styled(format!("{count} "), if count == 0 { dim() } else { verdict(of) }));
    }
    vec![first, Line::from(second)]
}

fn acts(frame: &mut Frame<'_>, area: Rect, view: &mut TerminalView) {
    let now = Timestamp::now();
    let rows = view.rows();
    let at = view.cursor(&rows);
    let session = view.session.as_ref().and_then(|key| view.model.session(key));
    let of = session.map(|session| format!("of {} ", report::one_line(&session.agent))).unwrap_or_default();
    let live = if view.act.is_none() { "· live " } else { "" };
    let block = block(format!(" history {of}{} {live}", rows.len()), view.pane == Pane::Acts);
    let height = usize::from(block.inner(area).height);
    let first = (at + 1).saturating_sub(height.div_ceil(2)).min(rows.len().saturating_sub(height));
    let mut lines: Vec<Line<'_>> = Vec::with_capacity(height);
    for (place, act) in rows.iter().enumerate().skip(first).take(height) {
        let waits = view.waits(&act.request).map(|request| request.short.age_s);
        let line = about_act(act, waits, now, area.width >= 60, session.is_none());
        lines.push(if place == at && view.pane == Pane::Acts { line.style(reversed()) } else { line });
    }
    if lines.is_empty() {
        lines.push(Line::styled(" nothing yet", dim()));
    }
    frame.render_widget(Paragraph::new(lines).block(block), area);
    if view.pane == Pane::Acts {
        view.page = height;
    }
}

fn about_act(act: &Act, waits: Option<u64>, now: Timestamp, wide: bool, with_agent: bool) -> Line<'static> {
    let (word, style) = match (act.verdict, act.strictest()) {
        (Some(Verdict::Deny), _) => ("deny ", verdict(Verdict::Deny)),
        (Some(Verdict::Ask), _) => ("ask  ", verdict(Verdict::Ask)),
        // Something that it started was refused.
        (_, Some(Verdict::Deny)) => ("allow", verdict(Verdict::Deny)),
        (Some(Verdict::Allow), _) => ("allow", verdict(Verdict::Allow)),
        (None, _) => ("     ", dim()),
    };
    let mut spans = vec![Span::styled(format!(" {} ", clock(act.at, now)), dim()), Span::styled(word, style)];
    let (ending, style) = ending(act, waits);
    spans.push(Span::styled(format!(" {} ", fit(&ending, if wide { 18 } else { 9 })), style));
    if wide && with_agent {
        spans.push(Span::styled(format!("{} ", fit(&act.agent, 12)), colour(Color::Cyan)));
    }
    let kind = match act.kind {
        ActKind::Command => "",
        ActKind::Input => "input: ",
        ActKind::Signal => "signal: ",
        ActKind::Connection => "connect: ",
        ActKind::Refusal => "execve: ",
        ActKind::Session => "session ",
        ActKind::Policy => "policy: ",
        ActKind::Stop => "stop: ",
        ActKind::Other => "",
    };
    spans.push(Span::raw(format!("{kind}{}", report::one_line(&act.text))));
    Line::from(spans)
}

/// How it ended, or why it has not. `waits` is how many seconds it has waited for a person, if it does.
fn ending(act: &Act, waits: Option<u64>) -> (String, Style) {
    if let Some(outcome) = &act.outcome {
        let style = if outcome.fine { dim() } else { colour(Color::Yellow) };
        return (format!("{} · {}", outcome.text, duration(outcome.micros)), style);
    }
    match (act.kind, act.verdict) {
        (ActKind::Command, Some(Verdict::Allow)) => ("running".to_owned(), colour(Color::Green)),
        (_, Some(Verdict::Ask)) => match act.answers.last() {
            Some(answer) if answer.granted && act.used => (format!("used, yes: {}", answer.by), dim()),
            Some(answer) if answer.granted => (format!("yes: {}", answer.by), colour(Color::Green)),
            Some(answer) => (format!("no: {}", answer.by), colour(Color::Red)),
            None => match waits {
                Some(seconds) => (format!("waits {}", report::age(seconds)), colour(Color::Yellow)),
                // The record does not tell whether the server asked a person, or a person let the time run out.
                None => ("no yes given".to_owned(), dim()),
            },
        },
        (_, Some(Verdict::Deny)) => {
            // `policies` has the permits of its other parts as well.
            let reason = act.reasons.first().map(|reason| &reason.policy).or(act.policies.first());
            (reason.filter(|policy| !policy.is_empty()).map_or("no permit", |policy| policy).to_owned(), dim())
        }
        _ => (String::new(), dim()),
    }
}

fn whole(frame: &mut Frame<'_>, area: Rect, view: &mut TerminalView, title: &str, lines: Vec<Line<'_>>, from: u16) {
    frame.render_widget(Clear, area);
    let text = Paragraph::new(lines).wrap(Wrap { trim: false }).block(block(title.to_owned(), true));
    view.page = usize::from(area.height.saturating_sub(3));
    frame.render_widget(text.scroll((from, 0)), area);
}

fn block(title: String, focused: bool) -> Block<'static> {
    let style = if focused { colour(Color::Cyan) } else { dim() };
    Block::bordered().border_type(BorderType::Rounded).border_style(style).title(title)
}

/// So many columns of a text, filled up with blanks.
pub(super) fn fit(text: &str, columns: usize) -> String {
    let mut fitting = String::new();
    let mut width = 0;
    let text = report::one_line(text);
    let whole = Span::raw(text.as_str()).width() <= columns;
    for character in text.chars() {
        let wide = Span::raw(character.to_string()).width();
        if width + wide > columns.saturating_sub(usize::from(!whole)) {
            break;
        }
        width += wide;
        fitting.push(character);
    }
    if !whole {
        fitting.push('…');
        width += 1;
    }
    fitting.push_str(&" ".repeat(columns.saturating_sub(width)));
    fitting
}

pub(super) fn verdict(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Allow => colour(Color::Green),
        Verdict::Ask => colour(Color::Yellow),
        Verdict::Deny => colour(Color::Red).add_modifier(Modifier::BOLD),
    }
}

fn alarm() -> Style {
    colour(Color::Red).add_modifier(Modifier::BOLD | Modifier::REVERSED)
}

pub(super) fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn reversed() -> Style {
    Style::new().add_modifier(Modifier::REVERSED)
}

/// A colour, unless the person wants none (<https://no-color.org>).
pub(super) fn colour(colour: Color) -> Style {
    static NONE: std::sync::LazyLock<bool> =
        std::sync::LazyLock::new(|| std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()));
    if *NONE { Style::new() } else { Style::new().fg(colour) }
}
