//! Ast → inventory: every simple command, how bash gets to it, what feeds it and where it runs.
//!
//! This file decides what the text runs. It owns recursion into code that the text holds, and every limit. What a
//! program makes of its words is [`crate::program`]'s decision.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Instant;

use crate::ast::{Arg, Assign, Join, Note, Part, Pipeline, Redirect, Script, SimpleCommand, Statement};
use crate::inventory::directory::Place;
use crate::inventory::{
    Assignment, Command, CommandId, Effect, EffectKind, Inventory, Opaque, OpaqueReason, Parser, Redirection, Resolved,
    Via,
};
use crate::lower;
use crate::program::{self, Child, Directory, peer};
use crate::reader::{self, MAX_DEPTH, Mark, MarkKind, Stop};
use crate::span::Span;
use crate::word::{Value, Word};

/// Bytes that a script may have; every real command seen is far below.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// Pairs of commands of which one feeds the other; beyond it a script is refused rather than described in gigabytes.
const MAX_FLOWS: usize = 65_536;

/// Bytes of a script that an opaque item quotes.
const MAX_QUOTE: usize = 200;

/// Reads a script. What is wrong with it becomes opaque items; it never fails.
pub(crate) fn inventory(script: &[u8]) -> Inventory {
    let mut collector = Collector {
        text: script,
        deadline: Instant::now() + lower::PARSE_DEADLINE,
        commands: Vec::new(),
        opaque: Vec::new(),
        flows: 0,
        settled: true,
    };
    match collector.top() {
        Ok(()) => collector.finish(),
        Err(Refusal { span, detail }) => refused(script, span, detail),
    }
}

/// Nothing is said about a script but why.
fn refused(script: &[u8], span: Span, detail: String) -> Inventory {
    let span = Span::new(span.start.min(script.len()), span.end.min(script.len()));
    let (reason, text) = (OpaqueReason::UnknownSyntax, quote(script, span));
    Inventory {
        script: script.to_vec(),
        commands: Vec::new(),
        opaque: vec![Opaque { span, reason, text, detail, command: None }],
        parser: Parser { ts: false },
        truncated: true,
    }
}

/// Why a whole script is refused.
struct Refusal {
    span: Span,
    detail: String,
}

struct Collector<'a> {
    text: &'a [u8],
    deadline: Instant,
    commands: Vec<Command>,
    opaque: Vec<Opaque>,
    flows: usize,
    /// Nothing so far can have made or removed a directory other than by `mkdir`.
    settled: bool,
}

/// What a command inherits from where it stands.
#[derive(Clone)]
struct Setting {
    parent: Option<CommandId>,
    via: Via,
    depth: u32,
    /// Wrappers and code around it, which count towards the nesting limit with `depth`.
    wrapped: u32,
    conditional: bool,
    background: bool,
    frame: Frame,
    /// bash itself looks the command up, so that a builtin goes before a program.
    shell: bool,
}

/// How spans of a piece of code relate to the submitted script.
#[derive(Clone, Copy)]
enum Frame {
    /// The code stands in the script as it is, from this byte on.
    At(usize),
    /// The code is decoded: everything in it is said to stand where its word stands.
    Within(Span),
}

impl Frame {
    fn map(self, span: Span) -> Span {
        match self {
            Self::At(start) => Span::new(span.start + start, span.end + start),
            Self::Within(whole) => whole,
        }
    }
}

impl Collector<'_> {
    fn top(&mut self) -> Result<(), Refusal> {
        let text = self.text;
        let whole = Span::new(0, text.len());
        limits(text).map_err(|detail| Refusal { span: whole, detail })?;
        let (script, rest) = self.agreed(text, 0).map_err(|stop| match stop {
            Stop::Refuse { span, detail } | Stop::Unsupported { span, detail, .. } => Refusal { span, detail },
        })?;
        let setting = Setting {
            parent: None,
            via: Via::Top,
            depth: 0,
            wrapped: 0,
            conditional: false,
            background: false,
            frame: Frame::At(0),
            shell: true,
        };
        self.script(&script, &setting, Place::start())?;
        if let Some(rest) = rest {
            self.unread(rest, &setting);
        }
        if self.commands.is_empty() && self.opaque.is_empty() {
            let detail = "the command is empty; write a command besides blanks and comments".to_owned();
            return Err(Refusal { span: whole, detail });
        }
        Ok(())
    }

    fn finish(mut self) -> Inventory {
        written_then_run(&self.commands, self.text, &mut self.opaque);
        self.disclaim();
        let ts = !self.opaque.iter().any(|item| item.reason == OpaqueReason::UnknownSyntax);
        let script = self.text.to_vec();
        Inventory { script, commands: self.commands, opaque: self.opaque, parser: Parser { ts }, truncated: false }
    }

    /// What cannot be vouched for is not read-only either. A computed word alone is no reason where the program is
    /// started by `execve`: it is judged again there, with its real words.
    fn disclaim(&mut self) {
        for item in &self.opaque {
            let Some(command) = item.command.and_then(|id| self.commands.get_mut(id.0 as usize)) else { continue };
            if item.reason != OpaqueReason::DynamicOption || command.resolved == Resolved::Builtin {
                command.invocation.groups.remove("read-only");
            }
        }
    }

    /// Two readings of one text. Where they differ nothing is said about any of it.
    fn agreed(&self, text: &[u8], depth: u32) -> Result<(Script, Option<reader::Rest>), Stop> {
        let reading = reader::read(text, depth)?;
        let outline = lower::outline(text, self.deadline)?;
        let read_to = reading.rest.as_ref().map_or(usize::MAX, |rest| rest.span.start);
        if let Some(span) = outline.unknown.filter(|span| span.start < read_to) {
            return Err(Stop::Refuse { span, detail: "a construct that one of two parsers does not know".to_owned() });
        }
        let mut ours = reading.marks;
        ours.sort_unstable();
        let theirs = outline.marks.into_iter().filter(|mark| mark.span.start < read_to);
        if let Some(span) = first_difference(text, &ours, theirs) {
            let detail = format!("two parsers read this differently, at byte {}; write it more plainly", span.start);
            return Err(Stop::Refuse { span, detail });
        }
        Ok((reading.script, reading.rest))
    }

    fn unread(&mut self, rest: reader::Rest, setting: &Setting) {
        let span = setting.frame.map(rest.span);
        let (reason, text) = (rest.reason, quote(self.text, span));
        self.opaque.push(Opaque { span, reason, text, detail: rest.detail, command: setting.parent });
    }

    fn script(&mut self, script: &Script, setting: &Setting, mut place: Place) -> Result<Place, Refusal> {
        for statement in &script.statements {
            place = self.statement(statement, setting, place)?;
        }
        Ok(place)
    }

    fn statement(&mut self, statement: &Statement, setting: &Setting, place: Place) -> Result<Place, Refusal> {
        let mut setting = setting.clone();
        setting.background |= statement.background;
        let (mut succeeded, mut failed) = self.pipeline(&statement.first, &setting, place.clone())?;
        setting.conditional |= !statement.rest.is_empty();
        for (join, pipeline) in &statement.rest {
            match join {
                Join::And => {
                    let (then, but) = self.pipeline(pipeline, &setting, succeeded)?;
                    (succeeded, failed) = (then, failed.meet(but));
                }
                Join::Or => {
                    let (then, but) = self.pipeline(pipeline, &setting, failed)?;
                    (succeeded, failed) = (succeeded.meet(then), but);
                }
            }
        }
        Ok(if statement.background { place } else { succeeded.meet(failed) })
    }

    /// Returns where the shell is if the pipeline succeeds, and if it fails.
    fn pipeline(&mut self, pipeline: &Pipeline, setting: &Setting, place: Place) -> Result<(Place, Place), Refusal> {
        if let [part] = pipeline.parts.as_slice() {
            let (succeeded, failed) = self.part(part, setting, place)?;
            return Ok(if pipeline.negated { (failed, succeeded) } else { (succeeded, failed) });
        }
        let mut ranges = Vec::new();
        for (index, part) in (0..).zip(&pipeline.parts) {
            let start = self.commands.len();
            let setting = Setting { via: Via::Pipe(index), ..setting.clone() };
            self.part(part, &setting, place.clone())?; // each part is a process of its own: its `cd` stays in it
            ranges.push(start..self.commands.len());
        }
        for (upper, from) in ranges.iter().enumerate() {
            for to in ranges.iter().skip(upper + 1) {
                self.flow(from.clone(), to.clone())?;
            }
        }
        Ok((place.clone(), place))
    }

    /// The output of the first commands reaches the second ones.
    fn flow(&mut self, from: Range<usize>, to: Range<usize>) -> Result<(), Refusal> {
        self.flows += from.len() * to.len();
        if self.flows > MAX_FLOWS {
            let detail = format!("more than {MAX_FLOWS} pairs of commands feed each other; split the pipeline");
            return Err(Refusal { span: Span::new(0, self.text.len()), detail });
        }
        let (sources, sinks) = (ids(&from), ids(&to));
        for command in self.commands.get_mut(to).unwrap_or_default() {
            extend(&mut command.upstream, &sources);
        }
        for command in self.commands.get_mut(from).unwrap_or_default() {
            extend(&mut command.downstream, &sinks);
        }
        Ok(())
    }

    fn part(&mut self, part: &Part, setting: &Setting, place: Place) -> Result<(Place, Place), Refusal> {
        let (script, redirects) = match part {
            Part::Simple(command) => return self.simple(command, setting, place),
            Part::Subshell(script, redirects) | Part::Group(script, redirects) => (script, redirects),
        };
        let inside = Setting { depth: setting.depth + 1, ..setting.clone() };
        let start = self.commands.len();
        let end = self.script(script, &inside, place.clone())?;
        let last = self.commands.len();
        if let (Some(first), Some(final_)) = (redirects.first(), redirects.last()) {
            let span = first.span.to(final_.span);
            let opened = SimpleCommand { span, assignments: Vec::new(), words: Vec::new(), redirects: Vec::new() };
            self.command(&opened, redirects, setting, place.clone())?;
            self.flow(last..self.commands.len(), start..last)?;
        }
        Ok(match part {
            Part::Group(..) => (end.clone(), end),
            _ => (place.clone(), place),
        })
    }

    fn simple(&mut self, command: &SimpleCommand, setting: &Setting, place: Place) -> Result<(Place, Place), Refusal> {
        self.command(command, &command.redirects, setting, place)
    }

    /// One simple command with the redirections that apply to it, its substitutions, and what it runs.
    fn command(
        &mut self,
        simple: &SimpleCommand,
        redirects: &[Redirect],
        setting: &Setting,
        place: Place,
    ) -> Result<(Place, Place), Refusal> {
        let index = self.commands.len();
        let assigned = simple.assignments.iter().map(|assign| &assign.value);
        let texts = || redirects.iter().map(|redirect| &redirect.target);
        let nested = || assigned.clone().chain(&simple.words).chain(texts()).flat_map(|arg| &arg.substitutions);
        let notes = || assigned.clone().chain(&simple.words).chain(texts()).flat_map(|arg| &arg.notes);

        let words: Vec<program::Arg> = simple.words.iter().map(|arg| mapped(arg, setting.frame)).collect();
        let run = Run {
            span: setting.frame.map(simple.span),
            words: &words,
            assignments: simple.assignments.iter().map(|assign| self.assignment(assign, simple, setting)).collect(),
            redirects,
            assigns: !simple.assignments.is_empty(),
        };
        let known = self.opaque.len();
        let ran = self.run(run, setting, &place)?;
        for note in notes() {
            let note = Note { span: setting.frame.map(note.span), ..note.clone() };
            self.finding(note, command_id(index));
        }
        let substitutions = self.commands.len();
        let inside = Setting { via: Via::Top, depth: setting.depth + 1, shell: true, ..setting.clone() };
        for script in nested() {
            self.script(script, &inside, place.clone())?;
        }
        if self.runs_what_it_is_given(known) {
            self.flow(substitutions..self.commands.len(), index..substitutions)?;
        }
        Ok(ran)
    }

    /// One of the opaque items from this one on takes code, or a program's name, from what substitutions print.
    fn runs_what_it_is_given(&self, known: usize) -> bool {
        use OpaqueReason::{DynamicProgram, InlineCode, ScriptFile, StdinCode};
        let given = |item: &Opaque| matches!(item.reason, DynamicProgram | InlineCode | StdinCode | ScriptFile);
        self.opaque.iter().skip(known).any(given)
    }

    /// Lists one command and what it runs. Returns where the shell is if it succeeds, and if it fails.
    fn run(&mut self, run: Run<'_>, setting: &Setting, place: &Place) -> Result<(Place, Place), Refusal> {
        if setting.depth + setting.wrapped > MAX_DEPTH {
            let detail = format!("nested deeper than the limit of {MAX_DEPTH}");
            return Err(Refusal { span: run.span, detail });
        }
        let reading = program::read(run.words, setting.shell, None);
        let id = command_id(self.commands.len());
        let moved = reading.cwd.is_some();
        let own_place = match reading.cwd {
            None => place.clone(),
            Some(Directory::To(to)) => place.change(&to, self.settled).0,
            Some(Directory::Unknown) => Place::Unknown,
        };
        let after = match reading.directory {
            None => (place.clone(), place.clone()),
            Some(Directory::To(to)) if !run.assigns => place.change(&to, self.settled),
            Some(_) => (Place::Unknown, Place::Unknown),
        };
        let (redirections, opened) = redirections(run.redirects, setting.frame, moved);
        let replaces_stdin = redirections.iter().any(|redirection| redirection.fd == Some(0));
        let reopens = reading.invocation.words == ["exec"] && reading.children.is_empty() && replaces_stdin;
        let nothing = || Word { span: Span::new(run.span.start, run.span.start), ..program::empty_word() };
        let command = Command {
            id,
            span: run.span,
            parent: setting.parent,
            via: setting.via.clone(),
            program: run.words.first().map_or_else(nothing, |arg| arg.word.clone()),
            resolved: reading.resolved,
            argv: run.words.iter().map(|arg| arg.word.clone()).collect(),
            invocation: reading.invocation,
            assignments: run.assignments.into_iter().chain(reading.assignments).collect(),
            redirections,
            effects: reading.effects.into_iter().chain(opened).collect(),
            cwd: own_place.cwd(),
            conditional: setting.conditional,
            background: setting.background,
            depth: setting.depth,
            upstream: Vec::new(),
            downstream: Vec::new(),
        };
        self.settled &= leaves_directories(&command);
        self.commands.push(command);
        for finding in reading.opaque {
            self.finding(finding, id);
        }
        if reopens {
            let detail = "the shell's own standard input changes, which may be where it reads commands from".to_owned();
            self.finding(Note { reason: OpaqueReason::StdinCode, span: run.span, detail }, id);
        }
        let mut ended = after;
        for child in reading.children {
            ended = self.child(child, id, run.assigns, setting, &own_place)?.unwrap_or(ended);
        }
        Ok(ended)
    }

    /// What a command runs. Returns where the shell is afterwards if it runs in the shell itself.
    fn child(
        &mut self,
        child: Child,
        parent: CommandId,
        assigns: bool,
        setting: &Setting,
        place: &Place,
    ) -> Result<Option<(Place, Place)>, Refusal> {
        let name = self.name_of(parent);
        let inherited = Setting { parent: Some(parent), wrapped: setting.wrapped + 1, ..setting.clone() };
        match child {
            Child::Command { words, assignments, elsewhere, shell } => {
                let Some(span) = words.iter().map(|arg| arg.word.span).reduce(Span::to) else { return Ok(None) };
                let place = if elsewhere { Place::Unknown } else { place.clone() };
                let inside = Setting { via: Via::Wrapper(name), shell: shell && setting.shell, ..inherited };
                let assigns = assigns || !assignments.is_empty();
                let run = Run { span, words: &words, assigns, assignments, redirects: &[] };
                let after = self.run(run, &inside, &place)?;
                Ok(inside.shell.then_some(after))
            }
            Child::Code { text, word } => {
                let inside = Setting { via: Via::Code(name), depth: setting.depth + 1, shell: true, ..inherited };
                self.code(&text, &word, &inside, place)?;
                Ok(None)
            }
        }
    }

    /// Shell code that the text holds literally: read by the same rules as the script itself.
    fn code(&mut self, text: &str, word: &Word, setting: &Setting, place: &Place) -> Result<(), Refusal> {
        let setting = Setting { frame: code_frame(self.text, text, word), ..setting.clone() };
        if let Err(detail) = limits(text.as_bytes()) {
            return Err(Refusal { span: word.span, detail });
        }
        match self.agreed(text.as_bytes(), setting.depth) {
            Ok((script, rest)) => {
                self.script(&script, &setting, place.clone())?;
                if let Some(rest) = rest {
                    self.unread(rest, &setting);
                }
            }
            Err(Stop::Refuse { span, detail } | Stop::Unsupported { span, detail, .. }) => {
                if Instant::now() >= self.deadline {
                    return Err(Refusal { span: word.span, detail });
                }
                let rest = reader::Rest { span, reason: OpaqueReason::UnknownSyntax, detail };
                self.unread(rest, &setting);
            }
        }
        Ok(())
    }

    fn assignment(&self, assign: &Assign, simple: &SimpleCommand, setting: &Setting) -> Assignment {
        let mut value = mapped(&assign.value, setting.frame).word;
        if assign.append {
            value.value = Value::Dynamic { prefix: String::new() };
        }
        let (span, name) = (setting.frame.map(assign.span), assign.name.clone());
        Assignment { span, name, value, persistent: simple.words.is_empty() }
    }

    fn finding(&mut self, note: Note, id: CommandId) {
        let text = quote(self.text, note.span);
        self.settled = false;
        self.opaque.push(Opaque { span: note.span, reason: note.reason, text, detail: note.detail, command: Some(id) });
    }

    fn name_of(&self, id: CommandId) -> String {
        let words = self.commands.get(id.0 as usize).map(|command| command.invocation.words.as_slice());
        words.and_then(<[String]>::last).cloned().unwrap_or_default()
    }
}

/// One command about to be listed: words that are already decoded, as bash or a wrapper gives them.
struct Run<'w> {
    span: Span,
    words: &'w [program::Arg],
    assignments: Vec<Assignment>,
    redirects: &'w [Redirect],
    /// Assignments stand before it, which may change what a builtin does.
    assigns: bool,
}

/// What the limits have to say against a text.
fn limits(text: &[u8]) -> Result<(), String> {
    if text.len() > MAX_BYTES {
        return Err(format!("the command is {} bytes long; the limit is {MAX_BYTES}", text.len()));
    }
    if let Some(at) = text.iter().position(|byte| *byte == 0) {
        return Err(format!("there is a NUL byte at byte {at}; bash would drop it"));
    }
    if let Err(error) = std::str::from_utf8(text) {
        return Err(format!("the command is not valid UTF-8 at byte {}", error.valid_up_to()));
    }
    Ok(())
}

/// Where two sorted token lists begin to differ.
fn first_difference(text: &[u8], ours: &[Mark], theirs: impl Iterator<Item = Mark>) -> Option<Span> {
    // tree-sitter-bash loses a `-` that stands alone before `<<`; no reading makes anything but an operand of it.
    let dash = |mark: &Mark| mark.kind == MarkKind::Word && text.get(mark.span.start..mark.span.end) == Some(b"-");
    let mut ours = ours.iter().copied().peekable();
    let mut theirs = theirs.peekable();
    loop {
        if ours.peek() != theirs.peek() && ours.next_if(dash).is_some() {
            continue;
        }
        match (ours.next(), theirs.next()) {
            (None, None) => return None,
            (Some(our), Some(their)) if our == their => {}
            (Some(our), Some(their)) => return Some(our.min(their).span),
            (Some(one), None) | (None, Some(one)) => return Some(one.span),
        }
    }
}

/// Nothing that it does can make a later `cd` fail that would succeed now.
fn leaves_directories(command: &Command) -> bool {
    let first = command.invocation.words.first().map(String::as_str);
    let alone = command.resolved == Resolved::None && command.effects.is_empty();
    alone || matches!(first, Some("cd" | "mkdir")) || command.invocation.groups.contains("read-only")
}

fn redirections(redirects: &[Redirect], frame: Frame, moved: bool) -> (Vec<Redirection>, Vec<Effect>) {
    let (mut redirections, mut effects) = (Vec::new(), Vec::new());
    for redirect in redirects {
        let target = mapped(&redirect.target, frame).word;
        effects.extend(opened(redirect, &target, moved));
        let (span, op) = (frame.map(redirect.span), redirect.op.to_owned());
        redirections.push(Redirection { span, fd: redirect.fd, op, target });
    }
    (redirections, effects)
}

/// What a redirection opens. If the command then moves elsewhere, a relative target is not what its own words would
/// mean by that name, and so is not known.
fn opened(redirect: &Redirect, target: &Word, moved: bool) -> Vec<Effect> {
    let duplicates = |text: &str| text.strip_suffix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
    let kinds: &[EffectKind] = match redirect.op {
        "<" => &[EffectKind::Read],
        "<>" => &[EffectKind::Read, EffectKind::Write],
        ">" | ">>" | ">|" | "&>" | "&>>" => &[EffectKind::Write],
        ">&" if target.value.literal().is_some_and(duplicates) => &[],
        ">&" => &[EffectKind::Write],
        "<&" | "<<" | "<<-" | "<<<" => &[],
        _ => &[EffectKind::Read, EffectKind::Write],
    };
    if let (Some(device), false) = (peer::device(&target.value), kinds.is_empty()) {
        return vec![Effect { kind: EffectKind::Connect, target: target.clone(), tree: false, peer: device.known() }];
    }
    let mut target = target.clone();
    if moved && !target.value.prefix().starts_with('/') && !matches!(target.value, Value::Home(_)) {
        target.value = Value::Dynamic { prefix: String::new() };
    }
    kinds.iter().map(|kind| Effect { kind: *kind, target: target.clone(), tree: false, peer: None }).collect()
}

/// A program that the same script may have written is not what its name says.
fn written_then_run(commands: &[Command], text: &[u8], opaque: &mut Vec<Opaque>) {
    let last = |path: &str| path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
    let mut written = BTreeSet::new();
    let mut anywhere = false;
    for effect in commands.iter().flat_map(|command| &command.effects) {
        if effect.kind == EffectKind::Write {
            match &effect.target.value {
                Value::Literal(path) | Value::Home(path) if !effect.tree => _ = written.insert(last(path)),
                _ => anywhere = true,
            }
        }
    }
    for command in commands.iter().filter(|command| command.resolved == Resolved::Path) {
        let name = command.invocation.words.first().cloned().unwrap_or_default();
        if anywhere || written.contains(&name) {
            let (span, reason) = (command.program.span, OpaqueReason::WrittenThenRun);
            let detail = format!("the script itself may write `{name}` before it runs it");
            opaque.push(Opaque { span, reason, text: quote(text, span), detail, command: Some(command.id) });
        }
    }
}

/// Where code stands that a word holds: exactly, if the word is nothing but the code in quotes.
fn code_frame(script: &[u8], code: &str, word: &Word) -> Frame {
    let at = |skip: usize| {
        let start = word.span.start + skip;
        script.get(start..start + code.len()).filter(|there| *there == code.as_bytes()).map(|_| Frame::At(start))
    };
    let fits = |skip: usize| word.raw.len() == code.len() + 2 * skip;
    let exact = if fits(1) && word.raw.starts_with(['\'', '"']) { at(1) } else { None };
    exact.or_else(|| if fits(0) { at(0) } else { None }).unwrap_or(Frame::Within(word.span))
}

fn mapped(arg: &Arg, frame: Frame) -> program::Arg {
    let mut word = arg.word.clone();
    word.span = frame.map(word.span);
    program::Arg { word, count: arg.count }
}

/// The script's text at a span, shortened at a character boundary.
fn quote(script: &[u8], span: Span) -> String {
    let mut text = String::from_utf8_lossy(script.get(span.start..span.end).unwrap_or_default()).into_owned();
    if text.len() > MAX_QUOTE {
        let end = (0..=MAX_QUOTE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
    }
    text
}

fn command_id(index: usize) -> CommandId {
    CommandId(u32::try_from(index).unwrap_or(u32::MAX))
}

fn ids(range: &Range<usize>) -> Vec<CommandId> {
    range.clone().map(command_id).collect()
}

fn extend(into: &mut Vec<CommandId>, more: &[CommandId]) {
    into.extend_from_slice(more);
    into.sort_unstable();
    into.dedup();
}
