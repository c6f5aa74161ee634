//! Results as JSON and as compact text: clients show one or the other, so that every fact stands in both.
//!
//! Only [`Redacted`] text, numbers and our own words go in.

use std::fmt::Write as _;

use palisade_audit::Anchor;
use palisade_runner::{
    CheckpointNote, DecisionNote, DeniedProgram, ExecResult, Explained, Failure, JobNote, LeftOut, Omitted, Opened,
    Pending, PendingAct, ReadingAhead, Redacted, Refusal, RestoreNote, SessionNote, Standing, Status, Taken,
    TargetNote, Unanswered, View,
};
use rmcp::model::{CallToolResponse, CallToolResult, ContentBlock, JsonObject, MetaObject};
use serde_json::{Value, json};

/// A tool's answer.
pub(crate) struct Reply {
    structured: Value,
    text: String,
    is_error: bool,
    anchor: Option<Anchor>,
    goes_on: GoesOn,
}

/// What is still to come of a call behind its answer.
#[derive(Clone, Debug)]
pub(crate) enum GoesOn {
    /// Nothing: this is its end.
    No,
    /// It waits for a person under this request.
    Waits(Redacted),
    /// It runs as this job, and its end is to be shown so.
    Runs { job: Redacted, view: Box<View> },
}

impl Reply {
    /// Arguments that do not fit the tool.
    pub(crate) fn bad_argument(error: &Redacted) -> Self {
        let text = format!("[error] the arguments do not fit: {error}");
        Self {
            structured: json!({ "status": "failed", "error": text }),
            text,
            is_error: true,
            anchor: None,
            goes_on: GoesOn::No,
        }
    }

    /// What is still to come of it.
    pub(crate) fn goes_on(&self) -> &GoesOn {
        &self.goes_on
    }

    /// The request under which what was called for waits for a person.
    pub(crate) fn waits(&self) -> Option<&str> {
        match &self.goes_on {
            GoesOn::Waits(id) => Some(id.as_str()),
            GoesOn::No | GoesOn::Runs { .. } => None,
        }
    }

    /// The requests under which programs of a job that still runs wait for a person at their `execve`.
    pub(crate) fn programs_that_wait(&self) -> impl Iterator<Item = &str> {
        let ids = self.structured.get("waiting_for_approval").and_then(Value::as_array);
        ids.into_iter().flatten().filter_map(Value::as_str)
    }

    /// Whether it tells of a command that was ended because nobody wanted it any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.structured.get("status").and_then(Value::as_str) == Some(Status::Cancelled.as_str())
    }

    pub(crate) fn into_response(self, head: Anchor) -> CallToolResponse {
        CallToolResponse::Complete(self.into_result(head))
    }

    pub(crate) fn into_result(self, head: Anchor) -> CallToolResult {
        let anchor = self.anchor.unwrap_or(head);
        let mut result = CallToolResult::success(vec![ContentBlock::text(self.text)]);
        result.structured_content = Some(self.structured);
        result.is_error = Some(self.is_error);
        result.meta = Some(meta_of(anchor));
        result
    }
}

/// Where in the record something stands.
pub(crate) fn meta_of(anchor: Anchor) -> MetaObject {
    let mut meta = JsonObject::new();
    meta.insert("audit".to_owned(), json!({ "seq": anchor.seq, "head": anchor.head.to_string() }));
    MetaObject(meta)
}

/// A script that runs on as a job. `view` is how its end is to be shown, if somebody is to be told of it.
pub(crate) fn running(result: &ExecResult, view: Option<View>) -> Reply {
    let goes_on = match (&result.job, view) {
        (Some(job), Some(view)) if result.status == Status::Running => {
            GoesOn::Runs { job: job.clone(), view: Box::new(view) }
        }
        _ => GoesOn::No,
    };
    Reply { goes_on, ..ran(result) }
}

/// A script that ran. A non-zero exit is a result, not an error.
pub(crate) fn ran(result: &ExecResult) -> Reply {
    let mut text = format!("[{}]\n", one_line(&header(result)));
    if let Some(lost) = &result.lost {
        let _ = writeln!(text, "[session lost] {}", one_line(lost.as_str()));
    }
    if let Some(late) = result.late {
        let _ = writeln!(text, "[target late] {}", late.told());
    }
    if let Some(restarted) = &result.restarted {
        let _ = writeln!(text, "[session restarted: {}]", one_line(restarted.as_str()));
    }
    for denied in &result.denied {
        let when = if denied.is_execution() { "denied at execve" } else { "denied" };
        let _ = writeln!(text, "[{when}] {}", cut(&one_line(&denied_program(denied)), MAX_REFUSAL));
    }
    if result.denied_more > 0 {
        let _ = writeln!(text, "[denied] {} more times", result.denied_more);
    }
    for hint in &result.hints {
        let _ = writeln!(text, "[hint] {}", one_line(hint.as_str()));
    }
    stream(&mut text, "stdout", &result.stdout);
    stream(&mut text, "stderr", &result.stderr);
    Reply { structured: to_value(result), text, is_error: false, anchor: Some(result.anchor), goes_on: GoesOn::No }
}

/// A stream behind its length in bytes, which stands in the header too. Everything of ours comes before the first stream, and so many
/// bytes are its own, whatever it says of itself.
fn stream(text: &mut String, name: &str, shown: &Redacted) {
    if shown.is_empty() {
        return;
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let _ = writeln!(text, "[{name}: {} bytes]", shown.as_str().len());
    text.push_str(shown.as_str());
}

/// What a program or an agent has named must not begin a line that looks like ours.
fn one_line(text: &str) -> String {
    let shown = |character: char| match character {
        '\n' => '\u{23ce}',
        '\u{2028}' | '\u{2029}' => '\u{fffd}',
        other if other.is_control() => '\u{fffd}',
        other => other,
    };
    text.chars().map(shown).collect()
}

fn denied_program(denied: &DeniedProgram) -> String {
    let policy = if denied.policy.is_empty() { "no permit" } else { denied.policy.as_str() };
    let mut text = format!("{}: {policy}: {}", denied.what(), denied.reason);
    if !denied.suggestion.is_empty() {
        let _ = write!(text, " — instead: {}", denied.suggestion);
    }
    text
}

fn header(result: &ExecResult) -> String {
    let mut parts = Vec::new();
    match (result.status, result.exit_code, result.signal) {
        (Status::TimedOut, _, _) => parts.push("timed out".to_owned()),
        (Status::Cancelled, _, _) => parts.push("cancelled".to_owned()),
        (Status::Limited, _, _) => parts.push(format!("limit: {}", result.limit.map_or("", |limit| limit.as_str()))),
        (_, Some(code), _) => parts.push(format!("exit {code}")),
        (_, None, Some(signal)) => parts.push(format!("signal {signal}")),
        (status, None, None) => parts.push(status.as_str().to_owned()),
    }
    if let Some(cause) = result.cause {
        parts.push(format!("ended by {}", cause.as_str()));
    }
    if result.waiting_for_input {
        parts.push("waiting for input".to_owned());
    }
    for id in &result.waiting_for_approval {
        parts.push(format!("a program waits for a person's approval, {id}"));
    }
    if let Some(checkpoint) = &result.checkpoint {
        parts.push(format!("before: checkpoint {checkpoint}"));
    }
    if let Some(ReadingAhead { read, of }) = result.reading {
        parts.push(format!("not begun: reading the workspace for a checkpoint, {read} of {of}"));
    }
    if let Some(job) = &result.job {
        parts.push(format!("job {job}"));
    }
    if let Some(cursor) = &result.cursor {
        parts.push(format!("cursor {cursor}"));
    }
    if result.lossy {
        parts.push("bytes that are no UTF-8 are shown as \u{fffd}".to_owned());
    }
    parts.push(format!("{} ms", result.duration.as_millis()));
    if !result.cwd.is_empty() {
        parts.push(result.cwd.to_string());
    }
    for (stream, Omitted { bytes, lines }) in &result.omitted {
        parts.push(format!("{stream}: {bytes} bytes, {lines} lines omitted"));
    }
    for (stream, search) in &result.searched {
        parts.push(format!("{stream}: {} matching", search.matched));
        if search.unsearched_bytes > 0 {
            parts.push(format!("{stream}: {} bytes not searched", search.unsearched_bytes));
        }
    }
    for (rule, count) in &result.redactions {
        parts.push(format!("redacted {rule}: {count}"));
    }
    for (name, shown) in [("stdout", &result.stdout), ("stderr", &result.stderr)] {
        if !shown.is_empty() {
            parts.push(format!("{name} {} bytes", shown.as_str().len()));
        }
    }
    parts.push(note(&result.decision));
    parts.join(" · ")
}

fn note(decision: &DecisionNote) -> String {
    let policies: Vec<&str> = decision.policies.iter().map(Redacted::as_str).collect();
    if policies.is_empty() { decision.id.to_string() } else { format!("{} by {}", decision.id, policies.join(", ")) }
}

/// A script that was denied.
pub(crate) fn denied(refusal: &Refusal) -> Reply {
    not_allowed("denied", &refusal.explained, &refusal.decision, &refusal.anchor, "")
}

/// A script that needs a person's yes and waits for none.
pub(crate) fn unregistered(pending: &Pending) -> Reply {
    not_allowed("approval_required", pending.explained(), pending.decision(), pending.anchor(), "")
}

/// Something for a job that needs a person's yes, likewise.
pub(crate) fn unregistered_act(pending: &PendingAct) -> Reply {
    not_allowed("approval_required", pending.explained(), pending.decision(), pending.anchor(), "")
}

/// Something that needs a person's yes, and where that stands.
pub(crate) fn unanswered(unanswered: &Unanswered) -> Reply {
    let Unanswered { explained, decision, anchor, standing } = unanswered;
    let status = match standing {
        Standing::Denied { .. } => "denied",
        Standing::Waiting { .. } | Standing::Full { .. } => "approval_required",
    };
    let told = match standing {
        Standing::Waiting { id, expires_s, quorum, yes } => {
            let people = if *quorum > 1 { format!(" of {quorum} people, {yes} have said yes;") } else { String::new() };
            format!(
                "approval {id}:{people} waits {expires_s} s for a person (`palisade approvals`). Once it is granted, repeat this very \
                 call"
            )
        }
        Standing::Denied { id, by, reason } => {
            let why = if reason.is_empty() { String::new() } else { format!(": {}", one_line(reason.as_str())) };
            format!("approval {id}: denied by {by}{why}")
        }
        Standing::Full { max } => {
            format!(
                "no approval can be asked for: {max} requests wait for a person already; wait until some are answered"
            )
        }
    };
    let mut reply = not_allowed(status, explained, decision, anchor, &told);
    if let Standing::Waiting { id, .. } = standing {
        reply.goes_on = GoesOn::Waits(id.clone());
    }
    if let Some(structured) = reply.structured.as_object_mut() {
        structured.insert("approval".to_owned(), to_value(standing));
    }
    reply
}

/// Characters of what a model reads of one refusal. The list beside it and the decision's resource have the rest.
const MAX_REFUSAL: usize = 400;

/// Characters of a passage of the script that a reason is about.
const MAX_ABOUT: usize = 60;

/// `told` is what comes last, such as where a request for approval stands.
fn not_allowed(
    status: &'static str,
    explained: &Explained,
    decision: &DecisionNote,
    anchor: &Anchor,
    told: &str,
) -> Reply {
    let explained = explained.of_refusal();
    let mut text = format!("[{} · {}]\n", status.replace('_', " "), decision.id);
    let told = if told.is_empty() { String::new() } else { format!("{}\n", cut(told, MAX_REFUSAL / 2)) };
    text.push_str(&why(&explained, MAX_REFUSAL.saturating_sub(length(&text) + length(&told))));
    text.push_str(&told);
    let structured = explained.refused(status, decision);
    Reply { structured, text, is_error: true, anchor: Some(*anchor), goes_on: GoesOn::No }
}

/// Why something was refused, within so many characters: the first reasons in words, the policies of the others by name.
fn why(explained: &Explained, most: usize) -> String {
    let mut text = String::new();
    let mut others: Vec<&str> = Vec::new();
    for (at, reason) in explained.reasons.iter().enumerate() {
        let policy = if reason.policy.is_empty() { "no permit" } else { reason.policy.as_str() };
        let about = cut(&one_line(reason.text.as_str()), MAX_ABOUT);
        let because = one_line(reason.reason.as_str());
        // Where nothing permits it, the reason says what.
        let is_said = because.contains(&format!("`{about}`"));
        let about = if is_said { String::new() } else { format!(" — `{about}`") };
        let mut told = format!("{policy}: {because}{about}\n");
        if !reason.suggest.is_empty() {
            let _ = writeln!(told, "  instead: {}", one_line(reason.suggest.as_str()));
        }
        // What could not be read often stands behind the command that is refused for it.
        let opaque = explained.opaque.iter().find(|opaque| at == 0 && opaque.span[0] >= reason.span[0]);
        if let Some(opaque) = opaque {
            let _ = writeln!(told, "{}: {}", opaque.reason, one_line(opaque.detail.as_str()));
        }
        match others.is_empty() && length(&text) + length(&told) + ALSO <= most {
            true => text.push_str(&told),
            false if at == 0 => text.push_str(&sentences(&told, most.saturating_sub(ALSO))),
            false => others.push(policy),
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if !others.is_empty() {
        let room = most.saturating_sub(length(&text) + 1);
        let _ = writeln!(text, "{}", list("also: ", &others, room));
    }
    text
}

/// Characters that are kept for the names of further policies.
const ALSO: usize = 60;

/// Characters of what a model reads of a session that was opened. The structured result has what holds it, whole.
const MAX_OPENED: usize = 200;

/// Characters of a directory's path in that.
const MAX_CWD: usize = 50;

/// A text, or its end behind `…` if it has more characters.
fn end(text: &str, most: usize) -> String {
    match length(text).checked_sub(most) {
        None | Some(0) => text.to_owned(),
        Some(more) => ['…'].into_iter().chain(text.chars().skip(more + 1)).collect(),
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// A text, or its beginning with `…` if it has more characters: whole words, and no code that does not end.
fn cut(text: &str, most: usize) -> String {
    if length(text) <= most {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(most.saturating_sub(2)).collect();
    if let Some(word) = kept.rfind(char::is_whitespace).filter(|word| word * 2 > kept.len()) {
        kept.truncate(word);
    }
    let is_code = kept.matches('`').count() % 2 == 1;
    kept.push('…');
    if is_code {
        kept.push('`');
    }
    kept
}

/// As many whole sentences as there is room for, so that no way out ends in its middle; of a first one that is too long, its beginning.
fn sentences(text: &str, most: usize) -> String {
    let ends = text.match_indices(['.', ';', '\n']).map(|(at, end)| at + end.len());
    let parts = ends.filter_map(|at| text.split_at_checked(at));
    let whole = parts.filter(|(before, behind)| before.ends_with('\n') || behind.starts_with([' ', '\n']));
    let whole = whole.map(|(before, _)| before).take_while(|whole| length(whole) <= most);
    match whole.last().filter(|whole| length(whole) * 3 > most) {
        Some(whole) => whole.trim_end_matches(';').to_owned(),
        None => cut(text, most),
    }
}

/// Names behind a word, as many of them as there is room for.
fn list(word: &str, names: &[&str], most: usize) -> String {
    let mut text = word.to_owned();
    for (at, name) in names.iter().enumerate() {
        let between = if at == 0 { "" } else { ", " };
        let more = if at + 1 == names.len() { 0 } else { 3 };
        if length(&text) + length(between) + length(name) + more > most {
            text.push_str(between);
            text.push('…');
            break;
        }
        text.push_str(between);
        text.push_str(name);
    }
    text
}

fn reasons(explained: &Explained, text: &mut String) {
    for reason in &explained.reasons {
        let policy = if reason.policy.is_empty() { "no permit" } else { reason.policy.as_str() };
        let (reason_text, about) = (one_line(reason.reason.as_str()), one_line(reason.text.as_str()));
        let _ = writeln!(text, "{policy}: {reason_text} — `{about}`");
        if !reason.nearest.is_empty() {
            let _ = writeln!(text, "  {}", one_line(reason.nearest.as_str()));
        }
        if !reason.suggest.is_empty() {
            let _ = writeln!(text, "  instead: {}", one_line(reason.suggest.as_str()));
        }
    }
    for opaque in explained.opaque.iter().filter(|opaque| !opaque.detail.is_empty()) {
        let _ = writeln!(text, "{}: {}", opaque.reason, one_line(opaque.detail.as_str()));
    }
    if let Some(LeftOut { requests, opaque, reasons }) = explained.omitted {
        let _ = writeln!(
            text,
            "left out here: {requests} requests, {opaque} passages that could not be read, {reasons} reasons; a decision that was made is \
             whole as the resource `palisade://decisions/ID`"
        );
    }
}

/// A dry run.
pub(crate) fn explained(explained: &Explained) -> Reply {
    let explained = explained.in_short();
    let mut text = format!("[{} · {}]\n", explained.decision.as_str(), explained.policy_set);
    for request in &explained.requests {
        let determining: Vec<&str> = request.determining.iter().map(Redacted::as_str).collect();
        let _ = writeln!(
            text,
            "{} {} `{}` ({})",
            request.decision.as_str(),
            request.action,
            one_line(request.resource.as_str()),
            if determining.is_empty() { "no permit".to_owned() } else { determining.join(", ") }
        );
    }
    reasons(&explained, &mut text);
    Reply { structured: to_value(&explained), text, is_error: false, anchor: None, goes_on: GoesOn::No }
}

/// A session that was opened.
pub(crate) fn opened(opened: &Opened) -> Reply {
    let mut layers: Vec<String> = Vec::new();
    if let Some(held) = &opened.sandbox {
        let (level, network) = (to_value(&held.level), to_value(&held.network));
        layers.push(format!("level {level} · guarded {} · network {network}", held.guarded));
        if !held.searched {
            layers.push("not all names searched".to_owned());
        }
    }
    if let Some(there) = &opened.target {
        layers.push(format!("target {}", to_value(&there.target)));
        layers.extend(there.shell.map(|shell| format!("shell {}", to_value(&shell))));
    }
    let mut structured = to_value(opened);
    if opened.target.is_some() && opened.sandbox.is_none() {
        layers.push("nothing holds it there: no sandbox, no exec guard".to_owned());
        if let Some(structured) = structured.as_object_mut() {
            structured.insert("guarded".to_owned(), Value::Bool(false));
        }
    }
    let how = match (opened.restarted, opened.state_lost) {
        (false, _) => "",
        (true, false) if opened.functions_lost => {
            " · restarted; functions, which `sh` does not list, background processes and open files are gone"
        }
        (true, false) => " · restarted with its last state; background processes and open files are gone",
        (true, true) => " · restarted; its state was too much to keep",
    };
    let layers = layers.join(" · ");
    let cwd = end(&one_line(opened.cwd.as_str()), MAX_CWD);
    let text = cut(&format!("[session {} · {cwd}{how}]\n{layers}", opened.session), MAX_OPENED);
    Reply { structured, text, is_error: false, anchor: Some(opened.anchor), goes_on: GoesOn::No }
}

/// A session that was closed.
pub(crate) fn closed() -> Reply {
    Reply {
        structured: json!({ "closed": true }),
        text: "[closed]".to_owned(),
        is_error: false,
        anchor: None,
        goes_on: GoesOn::No,
    }
}

/// A checkpoint that was taken.
pub(crate) fn taken(taken: &Taken) -> Reply {
    let note = &taken.note;
    let mut text = format!("[checkpoint {} · {} files · {} bytes", note.checkpoint, note.files, note.bytes);
    if note.uncovered > 0 {
        let _ = write!(text, " · {} not covered", note.uncovered);
    }
    text.push_str("]\n");
    for left_out in &taken.not_covered {
        let _ = writeln!(text, "not covered: {}", one_line(left_out.as_str()));
    }
    Reply { structured: to_value(taken), text, is_error: false, anchor: Some(taken.anchor), goes_on: GoesOn::No }
}

/// What a restore did, or would do.
pub(crate) fn restored(note: &RestoreNote) -> Reply {
    let would = if note.dry_run { "would go back to" } else { "back at" };
    let mut text = format!("[{would} {}", note.checkpoint);
    if note.dry_run {
        let _ = write!(text, " · {}", note.decision.effect.as_str());
    }
    if let Some(undo) = &note.undo {
        let _ = write!(text, " · before: checkpoint {undo}");
    }
    text.push_str("]\n");
    let kinds = [
        ("put back", &note.write),
        ("deleted", &note.delete),
        ("changed by others", &note.conflicts),
        ("left", &note.left),
    ];
    for (what, paths) in kinds.into_iter().filter(|(_, paths)| paths.count > 0) {
        let _ = writeln!(text, "{what}: {}", paths.count);
        for path in &paths.paths {
            let _ = writeln!(text, "  {}", one_line(path.as_str()));
        }
    }
    for failed in &note.failed {
        let _ = writeln!(text, "failed: {}", one_line(failed.as_str()));
    }
    Reply {
        structured: to_value(note),
        text,
        is_error: !note.failed.is_empty(),
        anchor: Some(note.anchor),
        goes_on: GoesOn::No,
    }
}

/// Entries of a list that are shown: a thousand checkpoints are more than a model wants to read.
const LISTED: usize = 100;

/// A list of all that there is, some of which is shown, each on a line.
fn listed<T: serde::Serialize>(kind: &str, all: usize, shown: &[T], line: impl Fn(&T, &mut String)) -> Reply {
    let omitted = all - shown.len();
    let mut text = format!("[{all} {kind}]\n");
    for one in shown {
        line(one, &mut text);
        text.push('\n');
    }
    let mut structured = JsonObject::new();
    structured.insert(kind.to_owned(), to_value(&shown));
    if omitted > 0 {
        let _ = writeln!(text, "left out here: {omitted}");
        structured.insert("omitted".to_owned(), json!(omitted));
    }
    Reply { structured: structured.into(), text, is_error: false, anchor: None, goes_on: GoesOn::No }
}

fn first<T>(all: &[T]) -> &[T] {
    all.get(..LISTED).unwrap_or(all)
}

/// The checkpoints of the workspace, oldest first; of many, the newest.
pub(crate) fn checkpoints(notes: &[CheckpointNote], ahead: Option<ReadingAhead>) -> Reply {
    let newest = notes.get(notes.len().saturating_sub(LISTED)..).unwrap_or_default();
    let mut reply = listed("checkpoints", notes.len(), newest, |note, text| {
        let label = one_line(note.label.as_str());
        let before = if note.automatic { "before " } else { "" };
        let CheckpointNote { checkpoint, taken, files, session, .. } = note;
        let _ = write!(text, "{checkpoint} · {taken} · {files} files · {session} · {before}{label}");
    });
    if let (Some(ahead), Some(fields)) = (ahead, reply.structured.as_object_mut()) {
        let _ = writeln!(reply.text, "reading the workspace, {} of {}", ahead.read, ahead.of);
        fields.insert("reading".to_owned(), to_value(&ahead));
    }
    reply
}

/// The open sessions.
pub(crate) fn sessions(notes: &[SessionNote]) -> Reply {
    listed("sessions", notes.len(), first(notes), |note, text| {
        let cwd = one_line(note.cwd.as_str());
        let _ = write!(text, "{} · {cwd} · {} commands · {} s", note.session, note.commands, note.age_s);
        if let Some(target) = &note.target {
            let _ = write!(text, " · at {target}");
        }
        if let Some(job) = &note.job {
            let _ = write!(text, " · held by {job}");
        }
        if note.suspended {
            text.push_str(" · its shell starts again with the next command, since the policies have changed");
        }
        if let Some(ended) = &note.ended {
            let _ = write!(text, " · ended: {ended}");
        }
    })
}

/// The jobs.
pub(crate) fn jobs(notes: &[JobNote]) -> Reply {
    listed("jobs", notes.len(), first(notes), |note, text| {
        let _ = write!(text, "{} · {}", note.job, note.status.as_str());
        match (note.exit_code, note.signal) {
            (Some(code), _) => _ = write!(text, " · exit {code}"),
            (None, Some(signal)) => _ = write!(text, " · signal {signal}"),
            (None, None) => {}
        }
        if let Some(cause) = note.cause {
            let _ = write!(text, " · ended by {}", cause.as_str());
        }
        if note.waiting_for_input {
            text.push_str(" · waiting for input");
        }
        for id in &note.waiting_for_approval {
            let _ = write!(text, " · waiting for approval {id}");
        }
        let _ = write!(text, " · {} s · {}", note.age_s, one_line(note.command.as_str()));
    })
}

/// The targets.
pub(crate) fn targets(notes: &[TargetNote]) -> Reply {
    listed("targets", notes.len(), first(notes), |note, text| {
        let _ = write!(text, "{} · {} · {}", note.target, note.transport, one_line(note.place.as_str()));
    })
}

/// Something that could not be done.
pub(crate) fn failed(failure: &Failure) -> Reply {
    let mut text = format!("[error] {}", failure.what);
    if !failure.help.is_empty() {
        let _ = write!(text, "\nhelp: {}", failure.help);
    }
    let status = if failure.session_lost { Status::SessionLost.as_str() } else { "failed" };
    let structured = json!({ "status": status, "error": text });
    Reply { structured, text, is_error: true, anchor: None, goes_on: GoesOn::No }
}

fn to_value(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_else(|_| json!({ "status": "failed" }))
}

#[cfg(test)]
mod tests {
    use super::sentences;

    #[test]
    fn a_way_out_ends_with_a_sentence() {
        let told = "p: No.\n  instead: Name a file. Or use `git -c NAME=VALUE` for one command.\n";
        for (most, shown) in [
            (200, told),
            (70, "p: No.\n  instead: Name a file."),
            (30, "p: No.\n  instead: Name a file."),
            // Only the reason fits: a part of the way out is better than none.
            (26, "p: No.\n  instead: Name…"),
        ] {
            assert_eq!(sentences(told, most), shown, "{most}");
        }
    }
}
