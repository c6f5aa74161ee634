//! Ast → inventory: every simple command, how bash gets to it, what feeds it and where it runs.
//!
//! This file decides what the text runs. It owns recursion into code that the text holds, and every limit.
//! [`compound`] walks what branches and repeats; what a program makes of its words is
//! [`crate::program`]'s decision.

mod brace;
mod compound;
mod directory;
mod state;
pub(crate) mod variables;
mod words;

use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use crate::ast::{
    Arg, Assign, Count, Join, Nested, NestedKind, Note, Part, Pipeline, Redirect, Script, SimpleCommand, Statement,
};
use crate::collect::directory::WorkingDirectory;
use crate::collect::state::{ShellState, VariableValue};
use crate::cross_check::Readers;
use crate::inventory::{
    Assignment, Command, CommandId, Effect, EffectKind, Inventory, Opaque, Parser, Redirection, Resolved, Shell, Via,
};
use crate::limits::{MAX_BYTES, MAX_DEPTH, PARSE_DEADLINE};
use crate::opaque::OpaqueReason;
use crate::peer;
use crate::posix;
use crate::program::{self, Child, Directory, Runs};
use crate::reader::{self, ReadError};
use crate::span::{Frame, Span};
use crate::word::{Value, Word, is_name};

/// Pairs of commands of which one feeds the other; beyond it a script is refused rather than described in gigabytes.
const MAX_FLOWS: usize = 65_536;

/// Commands beyond which loops are not unrolled and functions not followed any more.
const MANY_COMMANDS: usize = 2_000;

/// Steps beyond which that is so as well, and beyond which a script is refused: what is neither listed nor a loop's turn
/// takes time all the same.
const MANY_STEPS: usize = 100_000;
const MAX_STEPS: usize = 2_000_000;

/// Words that the commands of a script may come to, and their bytes: braces and variables make many of a few.
const MAX_WORDS: usize = 65_536;
const MAX_WORD_BYTES: usize = 16 * 1024 * 1024;

/// Functions that a script may define, as what is known of them is compared wherever two ways meet.
const MAX_DEFINITIONS: usize = 1_000;

/// Variables that are what bash itself looks commands up in, or that end a function in its middle.
const RESERVED: [&str; 3] = ["BASH_ALIASES", "BASH_CMDS", "FUNCNEST"];

/// Reads a script. What is wrong with it becomes opaque items; it never fails.
pub(crate) fn inventory(script: &[u8], shell: &Shell) -> Inventory {
    let mut collector = Collector::new(script, shell);
    match collector.top().and_then(|()| collector.is_same()) {
        Ok(()) => collector.finish(),
        Err(Refusal { span, detail }) => {
            // What takes too long is not read once more.
            let formed = Instant::now() < collector.deadline && is_well_formed(script);
            refused(script, shell, span, detail, formed)
        }
    }
}

/// Reads the words of a program at its `execve`, the file's path first: nothing in them is left to expand, and no
/// limit holds for their length. The text that the inventory speaks of is the words, quoted.
pub(crate) fn execution(words: &[&[u8]]) -> Inventory {
    let mut text = Vec::new();
    let mut args = Vec::with_capacity(words.len());
    for bytes in words {
        if !text.is_empty() {
            text.push(b' ');
        }
        let start = text.len();
        let as_written = String::from_utf8_lossy(bytes);
        let raw = format!("'{}'", as_written.replace('\'', r"'\''"));
        text.extend_from_slice(raw.as_bytes());
        let value = match std::str::from_utf8(bytes) {
            Ok(word) => Value::Literal(word.to_owned()),
            // No policy can name it.
            Err(error) => Value::Dynamic {
                prefix: as_written
                    .chars()
                    .take_while(|c| *c != char::REPLACEMENT_CHARACTER)
                    .take(error.valid_up_to())
                    .collect(),
            },
        };
        let span = Span::new(start, text.len());
        args.push(program::Arg { word: Word { span, raw, value, quoted: true }, count: Count::One });
    }
    let mut collector = Collector::new(&text, &Shell::new());
    collector.executed(&args);
    collector.finish()
}

/// Whether a script has a command and no syntax error that our own reader sees.
fn is_well_formed(script: &[u8]) -> bool {
    let read = || crate::reader::read(script, 0).ok();
    limits(script).is_ok()
        && read().is_some_and(|reading| !reading.script.statements.is_empty() || reading.rest.is_some())
}

/// Nothing is said about a script but why.
fn refused(script: &[u8], shell: &Shell, span: Span, detail: String, formed: bool) -> Inventory {
    let span = Span::new(span.start.min(script.len()), span.end.min(script.len()));
    let (reason, text) = (OpaqueReason::UnknownSyntax, quote(script, span));
    Inventory {
        script: script.to_vec(),
        commands: Vec::new(),
        opaque: vec![Opaque { span, reason, text, detail, command: None }],
        parser: Parser { ts: false, own: false, formed },
        truncated: true,
        shell: Shell { unread: true, ..shell.clone() },
    }
}

/// Why a whole script is refused.
struct Refusal {
    span: Span,
    detail: String,
}

struct Collector<'a> {
    text: &'a [u8],
    /// The shell before the script, and then the one behind it.
    shell: Shell,
    deadline: Instant,
    readers: Readers,
    commands: Vec<Command>,
    opaque: Vec<Opaque>,
    /// Functions that the text defines, in order.
    definitions: Vec<Definition>,
    /// Code that runs at a time of its own (traps), read when everything else is known.
    later: Vec<(String, Word, Setting)>,
    /// Functions that are being followed right now.
    following: Vec<usize>,
    /// Loops around this place that are not followed turn by turn.
    turning: u32,
    /// Where the shell may be when bash gives up the line that it runs.
    escaped: Option<ShellState>,
    /// Where the shell may be when the function ends early that is being followed.
    returned: Option<ShellState>,
    /// Functions may reach shells that the script starts (`set -a`).
    exports: bool,
    flows: usize,
    steps: usize,
    /// Words that were told, and their bytes.
    told: (usize, usize),
    /// Nothing so far can have made or removed a directory other than by `mkdir`.
    settled: bool,
    /// Substitutions in what is run right now may.
    disturbed: u32,
    /// Processes around this place that the shell makes of itself.
    processes: u32,
    /// Shells around this place that are processes of their own, and read code that the text holds.
    others: u32,
    /// Something of the text that the shell itself reads is of an unknown kind.
    unclear: bool,
}

/// A function that the text defines.
struct Definition {
    name: String,
    /// As written.
    raw: Rc<str>,
    body: Rc<crate::ast::Compound>,
    setting: Setting,
    /// Some call of it was followed.
    called: bool,
    /// Not every call of it was.
    open: bool,
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
    /// Functions and aliases go before everything else.
    functions: bool,
}

impl Setting {
    /// Where nothing stands around it.
    fn top() -> Self {
        Self {
            parent: None,
            via: Via::Top,
            depth: 0,
            wrapped: 0,
            conditional: false,
            background: false,
            frame: Frame::At(0),
            shell: true,
            functions: true,
        }
    }
}

/// How words stand that are carried by no command of their own.
struct Stands {
    span: Span,
    /// All of them are expanded.
    sure: bool,
    /// Something that has to be answered for in any case.
    doubt: Option<Note>,
}

/// Where the shell is when something succeeds, and when it fails.
type Ends = (ShellState, ShellState);

impl<'a> Collector<'a> {
    fn new(text: &'a [u8], shell: &Shell) -> Self {
        Self {
            text,
            shell: shell.clone(),
            deadline: Instant::now() + PARSE_DEADLINE,
            readers: Readers::default(),
            commands: Vec::new(),
            opaque: Vec::new(),
            definitions: Vec::new(),
            later: Vec::new(),
            following: Vec::new(),
            turning: 0,
            escaped: None,
            returned: None,
            exports: false,
            flows: 0,
            steps: 0,
            told: (0, 0),
            settled: true,
            disturbed: 0,
            processes: 0,
            others: 0,
            unclear: false,
        }
    }

    /// A program that is executed with words that it gets as they are. What it refuses to be read for, it runs unread.
    fn executed(&mut self, words: &[program::Arg]) {
        let whole = Span::new(0, self.text.len());
        // No shell looks it up, and nothing is known of where it stands but that it is there.
        let setting = Setting { shell: false, functions: false, ..Setting::top() };
        let state = Shell::new().state();
        let run =
            ListedCommand { span: whole, words, assignments: Vec::new(), redirects: &[], assigns: false, stdin: None };
        let ran = self.run(run, &setting, state).and_then(|(state, _)| self.afterwards(state));
        if let Err(Refusal { span, detail }) = ran {
            self.commands.truncate(1);
            self.opaque.retain(|item| item.command == Some(command_id(0)));
            self.finding(Note { reason: OpaqueReason::InlineCode, span, detail }, command_id(0));
        }
    }

    fn top(&mut self) -> Result<(), Refusal> {
        let text = self.text;
        let whole = Span::new(0, text.len());
        limits(text).map_err(|detail| Refusal { span: whole, detail })?;
        self.same_forms(text, None)?;
        let (script, rest) = self.readers.read(text, 0, self.deadline).map_err(|error| match error {
            ReadError::Refuse { span, detail } | ReadError::Unsupported { span, detail, .. } => {
                Refusal { span, detail }
            }
        })?;
        let empty = script.statements.is_empty() && rest.is_none();
        let setting = Setting::top();
        let state = self.inherited(&setting)?;
        let mut state = self.lines(&script, &setting, state, true)?;
        if let Some(rest) = rest {
            state.forget();
            self.unread(rest, &setting);
        }
        self.leave(&state);
        self.afterwards(state)?;
        if empty {
            let detail = "the command is empty; write a command besides blanks and comments".to_owned();
            return Err(Refusal { span: whole, detail });
        }
        Ok(())
    }

    /// What earlier scripts of the shell left behind. Their functions were judged where they were defined, and are
    /// judged again where they are called: one that cannot be read in time would stand for a program that it is not.
    fn inherited(&mut self, setting: &Setting) -> Result<ShellState, Refusal> {
        let mut state = self.shell.state();
        for (name, (texts, certain)) in &self.shell.functions.clone() {
            for text in texts {
                let read = self.readers.read(text.as_bytes(), 0, self.deadline);
                let Ok((script, None)) = read else {
                    let detail = format!("the session's function `{name}` cannot be read; open another session");
                    return Err(Refusal { span: Span::new(0, self.text.len()), detail });
                };
                let parts = script.statements.iter().flat_map(|statement| &statement.first.parts);
                for part in parts {
                    let Part::Function(function) = part else { continue };
                    let index = self.definitions.len();
                    let whole = Setting { frame: Frame::Within(Span::new(0, self.text.len())), ..setting.clone() };
                    (state, _) = self.define(function, &whole, state);
                    if let Some(definition) = self.definitions.get_mut(index) {
                        definition.called = true;
                    }
                }
            }
            if !certain || self.shell.unread {
                state.doubt_function(name);
            }
        }
        Ok(state)
    }

    /// What the script leaves behind.
    fn leave(&mut self, state: &ShellState) {
        let mut shell = self.shell.then(state);
        for (name, defined) in state.functions() {
            let bodies = defined.bodies.iter().filter_map(|index| self.definitions.get(*index));
            let texts = bodies.map(|definition| definition.raw.as_ref().to_owned()).collect();
            shell.functions.insert(name.clone(), (texts, defined.certain));
        }
        self.shell = shell;
    }

    /// What runs at a time of its own, and functions that nothing in the text calls: something else may.
    fn afterwards(&mut self, state: ShellState) -> Result<(), Refusal> {
        let mut state = ShellState { place: WorkingDirectory::Unknown, stdin: None, ..state };
        state.forget();
        for (index, definition) in self.definitions.iter().enumerate() {
            if !state.function(&definition.name).is_some_and(|defined| defined.bodies.contains(&index)) {
                state.define(&definition.name, index, false);
            }
        }
        if self.exports {
            self.definitions.iter_mut().for_each(|definition| definition.open = true);
        }
        // A trap may set a trap: each is deeper than the one before.
        while let Some((text, word, setting)) = self.later.pop() {
            self.code(&text, &word, &setting, state.clone(), false)?;
        }
        let mut index = 0;
        while let Some(definition) = self.definitions.get_mut(index) {
            // bash itself calls this one.
            let open = definition.open || definition.name == "command_not_found_handle";
            if !std::mem::replace(&mut definition.called, true) || open {
                let body = Rc::clone(&definition.body);
                let setting = Setting { conditional: true, ..definition.setting.clone() };
                self.following.push(index);
                self.compound(&body, &setting, state.clone())?;
                self.following.pop();
            }
            index += 1;
        }
        Ok(())
    }

    fn finish(mut self) -> Inventory {
        written_then_run(&self.commands, self.text, &mut self.opaque);
        self.disclaim();
        let ts = !self.opaque.iter().any(|item| item.reason == OpaqueReason::UnknownSyntax);
        let script = self.text.to_vec();
        let (commands, opaque) = (self.commands, self.opaque);
        let shell = self.shell.exporting(&commands);
        Inventory {
            script,
            commands,
            opaque,
            parser: Parser { ts, own: !self.unclear, formed: true },
            truncated: false,
            shell,
        }
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

    fn unread(&mut self, rest: reader::Rest, setting: &Setting) {
        let span = setting.frame.map(rest.span);
        let (reason, text) = (rest.reason, quote(self.text, span));
        self.unclear |= reason == OpaqueReason::UnknownSyntax && self.others == 0;
        self.opaque.push(Opaque { span, reason, text, detail: rest.detail, command: setting.parent });
    }

    /// A text that bash reads line by line: what goes wrong in one gives up the rest of that line, or of the whole text,
    /// and the shell goes on behind it.
    fn lines(
        &mut self,
        script: &Script,
        setting: &Setting,
        mut state: ShellState,
        each: bool,
    ) -> Result<ShellState, Refusal> {
        let outer = self.escaped.take();
        for statement in &script.statements {
            state = self.statement(statement, setting, state)?;
            if let Some(escaped) = self.escaped.clone().filter(|_| statement.ends_line) {
                state = state.meet(escaped);
                if each {
                    self.escaped = None;
                }
            }
        }
        if let Some(escaped) = std::mem::replace(&mut self.escaped, outer) {
            state = state.meet(escaped);
        }
        Ok(state)
    }

    /// bash may go on behind the line from here.
    fn escape(&mut self, state: ShellState) {
        self.escaped = Some(match self.escaped.take() {
            Some(escaped) => escaped.meet(state),
            None => state,
        });
    }

    /// What runs in a process of its own: giving up there gives up nothing here.
    fn apart<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let outer = self.escaped.take();
        self.processes += 1;
        let done = run(self)?;
        self.processes -= 1;
        self.escaped = outer;
        Ok(done)
    }

    fn script(&mut self, script: &Script, setting: &Setting, mut state: ShellState) -> Result<ShellState, Refusal> {
        for statement in &script.statements {
            state = self.statement(statement, setting, state)?;
        }
        Ok(state)
    }

    /// The script as a condition: where the shell is if it succeeds, and if it fails.
    fn condition(&mut self, script: &Script, setting: &Setting, mut state: ShellState) -> Result<Ends, Refusal> {
        let Some((last, before)) = script.statements.split_last() else { return Ok((state.clone(), state)) };
        for statement in before {
            state = self.statement(statement, setting, state)?;
        }
        self.outcome(last, setting, state)
    }

    fn statement(
        &mut self,
        statement: &Statement,
        setting: &Setting,
        state: ShellState,
    ) -> Result<ShellState, Refusal> {
        let (succeeded, failed) = self.outcome(statement, setting, state)?;
        Ok(succeeded.meet(failed))
    }

    fn outcome(&mut self, statement: &Statement, setting: &Setting, mut state: ShellState) -> Result<Ends, Refusal> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(self.too_much(&format!("following this script takes more than {MAX_STEPS} steps")));
        }
        if statement.background {
            self.apart(|collector| collector.chain(statement, setting, state.clone()))?;
            state.stdin = None; // it may have read some of it
            return Ok((state.clone(), state));
        }
        self.chain(statement, setting, state)
    }

    fn chain(&mut self, statement: &Statement, setting: &Setting, state: ShellState) -> Result<Ends, Refusal> {
        let alone = statement.rest.is_empty();
        if alone && !statement.background {
            return self.pipeline(&statement.first, setting, state);
        }
        let mut setting = setting.clone();
        setting.background |= statement.background;
        let (mut succeeded, mut failed) = self.pipeline(&statement.first, &setting, state)?;
        setting.conditional |= !alone;
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
        Ok((succeeded, failed))
    }

    /// Returns where the shell is if the pipeline succeeds, and if it fails.
    fn pipeline(&mut self, pipeline: &Pipeline, setting: &Setting, state: ShellState) -> Result<Ends, Refusal> {
        if let [part] = pipeline.parts.as_slice() {
            let (succeeded, failed) = self.part(part, setting, state)?;
            return Ok(if pipeline.negated { (failed, succeeded) } else { (succeeded, failed) });
        }
        let mut ranges = Vec::new();
        let mut stdin = state.stdin.clone();
        for (index, part) in (0..).zip(&pipeline.parts) {
            let start = self.commands.len();
            let setting = Setting { via: Via::Pipe(index), ..setting.clone() };
            let inside = ShellState { stdin, ..state.clone() };
            // What `set -x` shows goes through `|&` as well.
            stdin = inside.printed(part).filter(|_| pipeline.both == 0);
            // Each part is a process of its own: what it changes stays in it.
            self.apart(|collector| collector.part(part, &setting, inside))?;
            ranges.push(start..self.commands.len());
        }
        for (upper, from) in ranges.iter().enumerate() {
            for to in ranges.iter().skip(upper + 1) {
                self.flow(from.clone(), to.clone())?;
            }
        }
        let state = ShellState { stdin: None, ..state };
        Ok((state.clone(), state))
    }

    /// A limit of the whole script that is reached.
    fn too_much(&self, detail: &str) -> Refusal {
        Refusal { span: Span::new(0, self.text.len()), detail: format!("{detail}; split it") }
    }

    /// One more word is told.
    fn tell(&mut self, word: &Word) -> Result<(), Refusal> {
        let (words, bytes) = (self.told.0 + 1, self.told.1 + word.value.prefix().len());
        self.told = (words, bytes);
        if words > MAX_WORDS {
            return Err(self.too_much(&format!("the commands of this script come to more than {MAX_WORDS} words")));
        }
        if bytes > MAX_WORD_BYTES {
            return Err(self.too_much(&format!("the words of this script come to more than {MAX_WORD_BYTES} bytes")));
        }
        Ok(())
    }

    /// So are the words of redirections, once they are filled in.
    fn tell_targets(&mut self, redirects: &[Redirect], state: &ShellState) -> Result<(), Refusal> {
        let targets = redirects.iter().filter(|redirect| redirect.body.is_none()).map(|redirect| &redirect.target);
        for arg in targets.filter(|arg| !arg.holes.is_empty()) {
            let words = state.expand(arg);
            words.iter().try_for_each(|(word, _)| self.tell(word))?;
        }
        Ok(())
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

    fn part(&mut self, part: &Part, setting: &Setting, state: ShellState) -> Result<Ends, Refusal> {
        match part {
            Part::Simple(command) => self.simple(command, setting, state),
            Part::Compound(compound) => self.compound(compound, setting, state),
            Part::Function(function) if self.definitions.len() < MAX_DEFINITIONS => {
                Ok(self.define(function, setting, state))
            }
            Part::Function(_) => Err(self.too_much(&format!("more than {MAX_DEFINITIONS} functions are defined"))),
            Part::Coproc(coproc) => {
                let inside = Setting { via: Via::Coproc, background: true, ..setting.clone() };
                let entered = ShellState { stdin: None, ..state.clone() };
                self.apart(|collector| collector.part(&coproc.body, &inside, entered))?;
                let mut state = ShellState { stdin: None, ..state };
                self.named(&coproc.name, coproc.span, setting, &mut state)?;
                state.set(&format!("{}_PID", coproc.name), VariableValue::Unknown); // gone again when it ends
                Ok((state.clone(), state))
            }
        }
    }

    fn simple(&mut self, simple: &SimpleCommand, setting: &Setting, mut state: ShellState) -> Result<Ends, Refusal> {
        let index = self.commands.len();
        let known = self.opaque.len();
        let persistent = simple.words.is_empty();
        let (mut assignments, mut inside) = (Vec::new(), Vec::new());
        let mut words = Vec::with_capacity(simple.words.len());
        for arg in &simple.words {
            let during = self.expanded(arg, true, index, setting, &mut state, &mut assignments);
            for word in during.as_ref().unwrap_or(&state).words(arg, setting.frame) {
                self.tell(&word.word)?;
                words.push(word);
            }
            if !arg.nested.is_empty() {
                inside.push((arg, during.unwrap_or_else(|| state.clone())));
            }
            if let Some((name, _)) = arg.word.raw.split_once("=(") {
                state.set(name.trim_end_matches('+'), VariableValue::Unknown);
            }
        }
        if !inside.is_empty() || simple.assignments.iter().any(|assign| !assign.value.nested.is_empty()) {
            state.stdin = None; // a substitution may have read some of it
        }
        let kept = state.clone();
        for assign in &simple.assignments {
            let during = self.expanded(&assign.value, true, index, setting, &mut state, &mut assignments);
            if !assign.value.nested.is_empty() {
                inside.push((&assign.value, during.unwrap_or_else(|| state.clone())));
            }
            if state.refuses(&assign.name) {
                self.escape(state.clone());
            }
            let told = assignment(assign, persistent, setting, &state);
            self.tell(&told.value)?;
            assignments.push(told);
            // A prefix is seen by the command alone; what it is to code that the command runs here is not followed.
            let lasts = persistent && !assign.partial;
            let value = if lasts { state.assigned(&assign.value, assign.number) } else { VariableValue::Unknown };
            state.set(&assign.name, value);
        }
        self.tell_targets(&simple.redirects, &state)?;
        for arg in simple.redirects.iter().flat_map(redirect_args) {
            // Some are done in the process of the program, some are never come to.
            let during = self.expanded(arg, false, index, setting, &mut state, &mut assignments);
            if !arg.nested.is_empty() {
                inside.push((arg, during.unwrap_or_else(|| state.clone()).meet(kept.clone())));
                state.stdin = None;
            }
        }
        let disturbed = inside.iter().any(|(arg, state)| !state.leaves_directories(arg));
        let stdin = state.input(&simple.redirects);
        if words.is_empty() && !persistent {
            state.forget(); // all words vanish, so that the assignments last
        }
        let unrun = if may_fail(&simple.redirects) { Some(state.clone().meet(kept.clone())) } else { None };
        let span = setting.frame.map(simple.span);
        let assigns = !simple.assignments.is_empty();
        let redirects = &simple.redirects;
        let run = ListedCommand { span, words: &words, assignments, redirects, assigns, stdin };
        self.disturbed += u32::from(disturbed);
        let (mut succeeded, mut failed) = self.run(run, setting, state)?;
        self.disturbed -= u32::from(disturbed);
        if !persistent {
            for assign in &simple.assignments {
                let lasts = self.commands.get(index).is_none_or(|command| may_keep(command, &assign.name));
                for state in [&mut succeeded, &mut failed] {
                    state.restore(&assign.name, &kept, lasts);
                }
            }
        }
        if persistent
            && simple.redirects.is_empty()
            && simple.assignments.iter().all(|assign| assign.value.nested.is_empty())
        {
            failed = failed.never(); // an assignment ends well, or the script ends
        }
        let stays = failed.may_stay() || failed.function("exit").is_some();
        if self.commands.get(index).is_some_and(|command| leaves(command, &simple.redirects)) && !stays {
            (succeeded, failed) = (succeeded.never(), failed.never());
        }
        if let Some(unrun) = unrun {
            failed = failed.meet(unrun);
        }
        let substitutions = self.commands.len();
        for (arg, state) in inside {
            self.nested(arg, index, setting, &state)?;
        }
        if self.runs_what_it_is_given(known) {
            self.flow(substitutions..self.commands.len(), index..substitutions)?;
        }
        Ok((succeeded, failed))
    }

    /// What a word evaluates, and the variables that it sets by that. Returns what is known while that goes on, if that
    /// is not what is known then.
    fn expanded(
        &mut self,
        arg: &Arg,
        sure: bool,
        index: usize,
        setting: &Setting,
        state: &mut ShellState,
        assignments: &mut Vec<Assignment>,
    ) -> Option<ShellState> {
        for note in &arg.notes {
            let note = Note { span: setting.frame.map(note.span), ..note.clone() };
            self.finding(note, command_id(index));
        }
        if state.gives_up(arg) {
            self.escape(state.clone());
        }
        if arg.arithmetic.is_empty() {
            return None;
        }
        let before = state.clone();
        for arithmetic in &arg.arithmetic {
            let plain = state.is_plain(arithmetic);
            let span = setting.frame.map(arithmetic.span);
            if !plain {
                let detail = "arithmetic runs code that a variable's value, or text from elsewhere, may hold";
                let note = Note { reason: OpaqueReason::Arithmetic, span, detail: detail.to_owned() };
                self.finding(note, command_id(index));
            }
            if arithmetic.fallible || arithmetic.assigns.iter().any(|name| state.refuses(name)) {
                self.escape(state.clone());
            }
            for name in &arithmetic.assigns {
                let sure =
                    sure && arithmetic.sure.contains(name) || state.value(name).is_some_and(VariableValue::is_number);
                let number = plain && sure && !arithmetic.unset;
                state.set(name, if number { VariableValue::Number } else { VariableValue::Unknown });
                let value = Value::Dynamic { prefix: String::new() };
                let value = Word { span, value, ..program::empty_word() };
                assignments.push(Assignment { span, name: name.clone(), value, persistent: true });
            }
        }
        Some(before.meet(state.clone()))
    }

    /// A variable that syntax sets (`for`, `coproc`), to something that is not known.
    fn named(&mut self, name: &str, span: Span, setting: &Setting, state: &mut ShellState) -> Result<(), Refusal> {
        let span = setting.frame.map(span);
        let value = Word { span, value: Value::Dynamic { prefix: String::new() }, ..program::empty_word() };
        let assignments = vec![Assignment { span, name: name.to_owned(), value, persistent: true }];
        let run = ListedCommand { span, words: &[], assignments, redirects: &[], assigns: false, stdin: None };
        self.run(run, setting, state.clone())?;
        state.set(name, VariableValue::Unknown);
        Ok(())
    }

    /// Words and redirections that stand without a command of their own: what is in them runs all the same.
    fn carried(
        &mut self,
        span: Span,
        words: Vec<&Arg>,
        redirects: &[Redirect],
        setting: &Setting,
        state: &mut ShellState,
    ) -> Result<Range<usize>, Refusal> {
        self.carried_with(Stands { span, sure: true, doubt: None }, words, redirects, setting, state)
    }

    /// The same, with something that has to be answered for in any case.
    fn carried_with(
        &mut self,
        stands: Stands,
        words: Vec<&Arg>,
        redirects: &[Redirect],
        setting: &Setting,
        state: &mut ShellState,
    ) -> Result<Range<usize>, Refusal> {
        let Stands { span, sure, doubt } = stands;
        let index = self.commands.len();
        let quiet = |arg: &&Arg| arg.nested.is_empty() && arg.arithmetic.is_empty() && arg.notes.is_empty();
        if words.iter().any(|arg| state.gives_up(arg)) {
            self.escape(state.clone());
        }
        if redirects.is_empty() && doubt.is_none() && words.iter().all(quiet) {
            return Ok(index..index);
        }
        self.tell_targets(redirects, state)?;
        let (mut assignments, mut inside) = (Vec::new(), Vec::new());
        if let Some(doubt) = doubt {
            self.finding(doubt, command_id(index));
        }
        let all: Vec<&Arg> = words.into_iter().chain(redirects.iter().flat_map(redirect_args)).collect();
        for arg in &all {
            let during = self.expanded(arg, sure, index, setting, state, &mut assignments);
            if !arg.nested.is_empty() {
                inside.push((*arg, during.unwrap_or_else(|| state.clone())));
                state.stdin = None; // a substitution may have read some of it
            }
        }
        let stdin = state.input(redirects);
        let span = setting.frame.map(span);
        let run = ListedCommand { span, words: &[], assignments, redirects, assigns: false, stdin };
        let (after, _) = self.run(run, setting, state.clone())?;
        *state = after;
        let own = index..self.commands.len();
        for (arg, state) in inside {
            self.nested(arg, index, setting, &state)?;
        }
        Ok(own)
    }

    fn nested(&mut self, arg: &Arg, index: usize, setting: &Setting, state: &ShellState) -> Result<(), Refusal> {
        for Nested { kind, script, frame } in &arg.nested {
            let via = match kind {
                NestedKind::Substitution => Via::Substitution,
                NestedKind::Input | NestedKind::Output => Via::ProcessSubstitution,
            };
            let frame = setting.frame.around(*frame);
            let (depth, shell, functions) = (setting.depth + 1, true, true);
            let inside = Setting { via, depth, shell, functions, frame, ..setting.clone() };
            let start = self.commands.len();
            let entered = ShellState { stdin: None, ..state.clone() };
            self.apart(|collector| collector.script(script, &inside, entered))?;
            let ran = start..self.commands.len();
            match kind {
                NestedKind::Substitution => {}
                NestedKind::Input => self.flow(ran, index..index + 1)?,
                NestedKind::Output => self.flow(index..index + 1, ran)?,
            }
        }
        Ok(())
    }

    /// One of the opaque items from this one on takes code, or a program's name, from what substitutions print.
    fn runs_what_it_is_given(&self, known: usize) -> bool {
        use OpaqueReason::{DynamicProgram, InlineCode, ScriptFile, StdinCode};
        let given = |item: &Opaque| matches!(item.reason, DynamicProgram | InlineCode | StdinCode | ScriptFile);
        self.opaque.iter().skip(known).any(given)
    }

    /// Lists one command and what it runs. Returns where the shell is if it succeeds, and if it fails.
    fn run(&mut self, run: ListedCommand<'_>, setting: &Setting, mut state: ShellState) -> Result<Ends, Refusal> {
        if setting.depth + setting.wrapped > MAX_DEPTH {
            let detail = format!("nested deeper than the limit of {MAX_DEPTH}");
            return Err(Refusal { span: run.span, detail });
        }
        let own_name = run.words.first().filter(|arg| arg.count == Count::One);
        let own_name = own_name.and_then(|arg| arg.word.value.literal()).filter(|_| setting.functions);
        let defined = own_name.and_then(|name| state.function(name)).cloned().unwrap_or_default();
        let alias = own_name.is_some_and(|name| state.is_alias(name));
        let stdin = run.stdin.as_deref();
        let mut reading = if defined.certain {
            program::Reading::of_function(own_name.unwrap_or_default(), run.words)
        } else {
            program::read(run.words, setting.shell, stdin)
        };
        if let Some(outward) = &mut reading.invocation.outward {
            let of_its_own = |name: &str| run.assignments.iter().rev().find(|assignment| assignment.name == name);
            outward.with_variables(|name| of_its_own(name).and_then(|assignment| assignment.value.value.literal()));
        }
        if alias {
            let detail = "an alias changes what this is read as; write the command itself".to_owned();
            reading.opaque.push(Note { reason: OpaqueReason::UnknownSyntax, span: run.span, detail });
        }
        let id = command_id(self.commands.len());
        let moved = reading.cwd.is_some();
        let own_place = match reading.cwd.take() {
            None => state.place.clone(),
            Some(Directory::To(to)) => state.place.change(&to, self.is_settled(&state)).0,
            Some(Directory::Unknown) => WorkingDirectory::Unknown,
        };
        let directory = reading.directory.take();
        let (redirections, opened) = redirections(run.redirects, setting.frame, moved, &state);
        let outer_stdin = state.stdin.clone();
        self.changed(&reading, setting, &mut state);
        let (entered, stayed) = match directory {
            None => (state.place.clone(), state.place.clone()),
            Some(Directory::To(to)) if !run.assigns => state.place.change(&to, self.is_settled(&state)),
            Some(_) => (WorkingDirectory::Unknown, WorkingDirectory::Unknown),
        };
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
            start: moved.then(|| state.place.cwd()),
            conditional: setting.conditional,
            background: setting.background,
            depth: setting.depth,
            upstream: Vec::new(),
            downstream: Vec::new(),
        };
        self.settled &= leaves_directories(&command);
        if command.resolved == Resolved::Builtin && command.invocation.words == ["return"] {
            self.returned = Some(match self.returned.take() {
                Some(returned) => returned.meet(state.clone()),
                None => state.clone(),
            });
        }
        let consumes = !leaves_stdin(&command);
        let variables = command.assignments.clone();
        if let Some(assignment) = variables.iter().find(|assignment| RESERVED.contains(&assignment.name.as_str())) {
            state.forget();
            let detail = format!("`{}` changes which program or function a name stands for", assignment.name);
            reading.opaque.push(Note { reason: OpaqueReason::ReservedVariable, span: assignment.span, detail });
        }
        self.commands.push(command);
        for finding in reading.opaque {
            self.finding(finding, id);
        }
        if reopens {
            let detail = "the shell's own standard input changes, which may be where it reads commands from".to_owned();
            self.finding(Note { reason: OpaqueReason::StdinCode, span: run.span, detail }, id);
        }
        let inner = ShellState { place: own_place, stdin: run.stdin.clone(), ..state.clone() };
        if consumes {
            state.stdin = None;
        }
        let mut ended = (ShellState { place: entered, ..state.clone() }, ShellState { place: stayed, ..state });
        for child in reading.children {
            let after = self.child(child, id, run.assigns, setting, &inner)?;
            ended = after.unwrap_or(ended);
        }
        for variable in &variables {
            self.variable(variable, id, setting, &inner)?;
        }
        if !defined.bodies.is_empty() {
            let through = self.call(own_name.unwrap_or_default(), &defined, id, run.words, setting, inner)?;
            let through = (through.clone(), through);
            ended = match defined.certain {
                true => through,
                false => (ended.0.meet(through.0), ended.1.meet(through.1)),
            };
        }
        if run.redirects.iter().any(|redirect| redirect.fd == Some(0)) {
            // What the command read was its own; a copied descriptor may still be the outer one.
            let copied = run.redirects.iter().any(|redirect| matches!(redirect.op, "<&" | ">&"));
            for end in [&mut ended.0, &mut ended.1] {
                end.stdin = outer_stdin.clone().filter(|_| !copied);
            }
        }
        Ok(ended)
    }

    /// Whether a directory that can be entered now can be entered here.
    fn is_settled(&self, state: &ShellState) -> bool {
        self.settled && self.disturbed == 0 && !state.hazards.directories
    }

    /// What a command does to the shell that runs it, besides changing its directory.
    fn changed(&mut self, reading: &program::Reading, setting: &Setting, state: &mut ShellState) {
        if !setting.shell {
            return;
        }
        let first = reading.invocation.words.first().map(String::as_str);
        if reading.resolved == Resolved::Builtin {
            let lasting = !reading.invocation.flags.is_empty() && first != Some("export") || first == Some("readonly");
            for assignment in &reading.assignments {
                let value = match &assignment.value.value {
                    _ if lasting && !matches!(first, Some("read" | "mapfile" | "readarray" | "printf")) => {
                        VariableValue::Fixed
                    }
                    _ if first == Some("local") && !state.in_function => VariableValue::Unknown,
                    value if matches!(first, Some("export" | "declare" | "typeset" | "local")) => state
                        .exported(&assignment.name, &assignment.value.raw)
                        .unwrap_or_else(|| VariableValue::of(value)),
                    _ => VariableValue::Unknown,
                };
                state.set(&assignment.name, value);
            }
            for operand in reading.invocation.operands.iter().filter(|_| lasting) {
                if let Some(name) = operand.value.literal() {
                    state.set(name, VariableValue::Fixed); // `readonly x`: set before, and not any more
                }
            }
            let named = |name: &str| reading.invocation.operands.iter().any(|word| word.value.literal() == Some(name));
            if first == Some("shopt") && named("nullglob") {
                state.let_patterns_vanish();
            }
            let flags = &reading.invocation.flags;
            let option_named =
                |name: &str| reading.invocation.options.get("-o").is_some_and(|values| values.contains(name));
            self.exports |= first == Some("set") && (flags.contains("-a") || option_named("allexport"));
            if matches!(first, Some("set" | "shopt"))
                && (flags.contains("-m") || option_named("monitor") || named("monitor"))
            {
                state.monitor();
            }
            if first == Some("unset") {
                for operand in &reading.invocation.operands {
                    match operand.value.literal() {
                        Some(name) => state.doubt_function(name), // without `-f` too, if no variable has the name
                        None => state.doubt_functions(),
                    }
                }
            }
            if matches!(first, Some("declare" | "typeset" | "local")) && !lasting {
                // In a function it is another variable from here on.
                let names = reading.invocation.operands.iter().filter_map(|word| word.value.literal());
                names.filter(|name| name.bytes().all(is_name)).for_each(|name| state.set(name, VariableValue::Unknown));
            }
            state.hazards.unset |= first == Some("set") && (flags.contains("-u") || option_named("nounset"));
            state.hazards.limits |= first == Some("ulimit") && sets_limits(&reading.invocation.operands);
            if matches!(first, Some("set" | "shift")) {
                state.set_arguments(None);
            }
            for name in &reading.aliases {
                state.alias(name);
            }
        }
        let here = matches!(reading.resolved, Resolved::Builtin | Resolved::Unknown);
        let unread =
            |note: &Note| note.reason != OpaqueReason::Arithmetic || first != Some("test") && first != Some("[");
        if here && reading.opaque.iter().any(unread) {
            state.forget();
        }
        use OpaqueReason::{DynamicProgram, InlineCode, ScriptFile, StdinCode, UnknownSyntax};
        let code =
            |note: &Note| matches!(note.reason, DynamicProgram | InlineCode | ScriptFile | StdinCode | UnknownSyntax);
        if here && reading.opaque.iter().any(code) {
            state.place = WorkingDirectory::Unknown;
        }
    }

    /// What a command runs. Returns where the shell is afterwards if it runs in the shell itself.
    fn child(
        &mut self,
        child: Child,
        parent: CommandId,
        assigns: bool,
        setting: &Setting,
        state: &ShellState,
    ) -> Result<Option<Ends>, Refusal> {
        let name = self.name_of(parent);
        let wrapped = setting.wrapped + 1;
        let inherited = Setting { parent: Some(parent), wrapped, functions: false, ..setting.clone() };
        match child {
            Child::Command { words, assignments, elsewhere, shell } => {
                let Some(span) = words.iter().map(|arg| arg.word.span).reduce(Span::to) else { return Ok(None) };
                let place = if elsewhere { WorkingDirectory::Unknown } else { state.place.clone() };
                let inside = Setting { via: Via::Wrapper(name), shell: shell && setting.shell, ..inherited };
                let assigns = assigns || !assignments.is_empty();
                let stdin = state.stdin.clone();
                let run = ListedCommand { span, words: &words, assigns, assignments, redirects: &[], stdin };
                let ends = self.run(run, &inside, ShellState { place, ..state.clone() })?;
                Ok(inside.shell.then_some(ends))
            }
            Child::Code { text, word, runs } => {
                let via = match runs {
                    Runs::Elsewhere | Runs::Begun | Runs::Stdin | Runs::Here => Via::Code(name),
                    Runs::Later => Via::Trap,
                    Runs::Alias => Via::Alias,
                };
                let here = runs == Runs::Here && setting.shell;
                let depth = setting.depth + 1;
                let mut inside = Setting { via, depth, shell: true, functions: true, ..inherited };
                inside.conditional |= matches!(runs, Runs::Later | Runs::Alias);
                if runs == Runs::Later {
                    let after = self.trapped(&text, parent, &word, &inside, state.clone());
                    self.later.push((text, word, inside));
                    return Ok(Some((after.clone(), after)));
                }
                let other = matches!(runs, Runs::Elsewhere | Runs::Begun | Runs::Stdin);
                let state = if other { state.elsewhere() } else { state.clone() };
                let state = if runs == Runs::Stdin { ShellState { stdin: None, ..state } } else { state };
                let start = self.commands.len();
                self.others += u32::from(other);
                let after = self.code(&text, &word, &inside, state, runs == Runs::Begun)?;
                self.others -= u32::from(other);
                if runs == Runs::Stdin && text.trim_end().contains('\n') {
                    self.read_on(start, parent, &word);
                }
                Ok(here.then(|| (after.clone(), after)))
            }
        }
    }

    /// What a program may run that gets this variable.
    fn variable(
        &mut self,
        variable: &Assignment,
        parent: CommandId,
        setting: &Setting,
        state: &ShellState,
    ) -> Result<(), Refusal> {
        let word = &variable.value;
        match variables::run(&variable.name, word.value.literal()) {
            variables::Runs::Nothing => Ok(()),
            variables::Runs::Unknown => {
                let detail = format!("a program runs what `{}` holds, which is not known", variable.name);
                self.finding(Note { reason: OpaqueReason::InlineCode, span: variable.span, detail }, parent);
                Ok(())
            }
            variables::Runs::Code(text) => {
                let inside = Setting {
                    parent: Some(parent),
                    via: Via::Variable(variable.name.clone()),
                    depth: setting.depth + 1,
                    wrapped: setting.wrapped + 1,
                    conditional: true,
                    shell: true,
                    functions: true,
                    ..setting.clone()
                };
                let elsewhere = ShellState { place: WorkingDirectory::Unknown, stdin: None, ..state.elsewhere() };
                self.code(&text, word, &inside, elsewhere, false).map(|_| ())
            }
        }
    }

    /// What is known behind a trap, which may run at any time unless it is one that runs at the end.
    fn trapped(
        &mut self,
        text: &str,
        parent: CommandId,
        word: &Word,
        setting: &Setting,
        mut state: ShellState,
    ) -> ShellState {
        let command = self.commands.get(parent.0 as usize);
        let behind = |signal: &&Word| signal.span.start > word.span.start;
        let mut signals = command.iter().flat_map(|command| &command.argv).filter(behind);
        let at_end = signals.all(|signal| matches!(signal.value.literal(), Some("EXIT" | "0")));
        if at_end && self.processes == 0 {
            return state;
        }
        match self.readers.read(text.as_bytes(), setting.depth, self.deadline) {
            Ok((script, None)) => {
                let calm = state.script_leaves_directories(&script);
                self.settled &= calm;
                state.hazards.directories |= !calm;
                if at_end { state } else { self.changes(&[&script], &state).at_any_time(state) }
            }
            _ => {
                state.forget();
                state.forget_functions();
                state.forget_arguments();
                state.hazards.directories = true;
                self.settled = false;
                ShellState { place: WorkingDirectory::Unknown, ..state }
            }
        }
    }

    /// A shell reads its code line by line: what an earlier line runs may swallow the beginning of a later one.
    fn read_on(&mut self, start: usize, shell: CommandId, word: &Word) {
        let Some((_, earlier)) = self.commands.get(start..).and_then(<[Command]>::split_last) else { return };
        let fed = |command: &Command| {
            let redirected = command.redirections.iter().any(|redirection| redirection.fd == Some(0));
            redirected || matches!(command.via, Via::Pipe(part) if part > 0) || command.parent != Some(shell)
        };
        if earlier.iter().all(|command| leaves_stdin(command) || fed(command)) {
            return;
        }
        let detail = "a command in this code may read the lines behind it, which then begin elsewhere".to_owned();
        self.finding(Note { reason: OpaqueReason::StdinCode, span: word.span, detail }, shell);
    }

    /// Shell code that the text holds literally: read by the same rules as the script itself. Returns where the shell
    /// is that runs it. `begun`: that it is not known in full is said already.
    fn code(
        &mut self,
        text: &str,
        word: &Word,
        setting: &Setting,
        mut state: ShellState,
        begun: bool,
    ) -> Result<ShellState, Refusal> {
        let setting = Setting { frame: code_frame(self.text, text, word), ..setting.clone() };
        if let Err(detail) = limits(text.as_bytes()) {
            if self.others == 0 {
                return Err(Refusal { span: word.span, detail });
            }
            // The shell that gets it reads it, and not the one that reads this text.
            let note = Note { reason: OpaqueReason::UnknownSyntax, span: word.span, detail };
            setting.parent.into_iter().for_each(|parent| self.finding(note.clone(), parent));
            state.forget();
            return Ok(ShellState { place: WorkingDirectory::Unknown, ..state });
        }
        self.same_forms(text.as_bytes(), Some(word.span))?;
        let rest = match self.readers.read(text.as_bytes(), setting.depth, self.deadline) {
            Ok((script, rest)) => {
                state = self.lines(&script, &setting, state, false)?;
                rest
            }
            Err(ReadError::Refuse { span, detail } | ReadError::Unsupported { span, detail, .. }) => {
                if Instant::now() >= self.deadline {
                    return Err(Refusal { span: word.span, detail });
                }
                Some(reader::Rest { span, reason: OpaqueReason::UnknownSyntax, detail })
            }
        };
        if let Some(rest) = rest {
            state.forget();
            state.place = WorkingDirectory::Unknown;
            if !begun || rest.reason != OpaqueReason::UnknownSyntax {
                self.unread(rest, &setting);
            }
        }
        Ok(state)
    }

    /// In a `sh` nothing is said about a text with a form that bash alone reads so. `code` is where it stands that is code in a word.
    fn same_forms(&self, text: &[u8], code: Option<Span>) -> Result<(), Refusal> {
        if !self.shell.posix {
            return Ok(());
        }
        posix::forms(text)
            .map_err(|differs| Refusal { span: code.unwrap_or(differs.span), detail: in_sh(&differs.what) })
    }

    /// The same of its commands, once all are known.
    fn is_same(&self) -> Result<(), Refusal> {
        if !self.shell.posix {
            return Ok(());
        }
        let whole = Span::new(0, self.text.len());
        let defined = self.definitions.iter().map(|definition| definition.name.clone());
        let functions: BTreeSet<String> = defined.chain(self.shell.functions.keys().cloned()).collect();
        if let Some(name) = functions.iter().find(|name| !posix::commands::is_function(name)) {
            return Err(Refusal { span: whole, detail: in_sh(&format!("a function of the name `{name}`")) });
        }
        let differs = self.commands.iter().find_map(|command| posix::commands::check(command, &functions).err());
        differs.map_or(Ok(()), |differs| Err(Refusal { span: differs.span, detail: in_sh(&differs.what) }))
    }

    fn finding(&mut self, note: Note, id: CommandId) {
        let text = quote(self.text, note.span);
        self.settled = false;
        self.unclear |= note.reason == OpaqueReason::UnknownSyntax && self.others == 0;
        self.opaque.push(Opaque { span: note.span, reason: note.reason, text, detail: note.detail, command: Some(id) });
    }

    fn name_of(&self, id: CommandId) -> String {
        let words = self.commands.get(id.0 as usize).map(|command| command.invocation.words.as_slice());
        words.and_then(<[String]>::last).cloned().unwrap_or_default()
    }
}

/// One command about to be listed: words that are already decoded, as bash or a wrapper gives them.
struct ListedCommand<'w> {
    span: Span,
    words: &'w [program::Arg],
    assignments: Vec<Assignment>,
    redirects: &'w [Redirect],
    /// Assignments stand before it, which may change what a builtin does.
    assigns: bool,
    /// What it finds on standard input, if that is literal text.
    stdin: Option<Rc<str>>,
}

/// Code that a command runs in the shell, or the command itself, may keep what a prefix sets.
fn may_keep(command: &Command, name: &str) -> bool {
    let first = command.invocation.words.first().map(String::as_str);
    let runs_code = matches!(first, Some("eval" | "." | "source" | "command" | "builtin" | "exec"));
    let marks = matches!(first, Some("export" | "readonly" | "declare" | "typeset" | "local")); // `x=a export x`
    let sets = command.assignments.iter().any(|assignment| assignment.persistent && assignment.name == name);
    match command.resolved {
        Resolved::Name | Resolved::Path => false,
        Resolved::Builtin => runs_code || marks || sets,
        Resolved::None | Resolved::Function | Resolved::Unknown => true,
    }
}

/// One of them may not open, so that the command does not run at all.
fn may_fail(redirects: &[Redirect]) -> bool {
    let mut opened = Vec::new();
    !redirects.iter().all(|redirect| {
        let target = redirect.target.word.value.literal();
        let opens = match redirect.op {
            "<&" | ">&" => target.and_then(|text| text.parse().ok()).is_some_and(|fd: u32| opened.contains(&fd)),
            "<<" | "<<-" | "<<<" => true,
            _ => target == Some("/dev/null"),
        };
        opened.extend(redirect.fd);
        opens
    })
}

fn redirect_args(redirect: &Redirect) -> impl Iterator<Item = &Arg> {
    let body = redirect.body.as_ref().and_then(|body| body.get());
    // The delimiter of a here-document is no word that bash expands.
    Some(&redirect.target).filter(|_| redirect.body.is_none()).into_iter().chain(body)
}

fn assignment(assign: &Assign, persistent: bool, setting: &Setting, state: &ShellState) -> Assignment {
    let mut value = assign.value.word.clone();
    value.span = setting.frame.map(value.span);
    value.value = match state.assigned(&assign.value, false) {
        _ if assign.partial => Value::Dynamic { prefix: String::new() },
        VariableValue::Text(text) => Value::Literal(text.as_ref().to_owned()),
        VariableValue::Home(path) => Value::Home(path.as_ref().to_owned()),
        // Of another home, or not one word.
        _ if matches!(value.value, Value::Home(_)) => Value::Dynamic { prefix: String::new() },
        _ => value.value,
    };
    let (span, name) = (setting.frame.map(assign.span), assign.name.clone());
    Assignment { span, name, value, persistent }
}

fn in_sh(what: &str) -> String {
    format!("the session's shell is `sh`, and this may be something else there than in bash: {what}")
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

/// Whether `ulimit` does more with these words than to show limits and to change that of core files.
fn sets_limits(words: &[Word]) -> bool {
    let option = |word: &Word| {
        let letters = word.value.literal()?.strip_prefix('-')?;
        Some(letters.replace(['S', 'H'], ""))
    };
    let options: Vec<String> = words.iter().filter_map(option).collect();
    let shows = options.len() == words.len() && options.iter().all(|letters| letters.len() <= 1);
    let core = options.iter().any(|letters| letters == "c");
    let alone = core && options.iter().all(|letters| letters.is_empty() || letters == "c");
    !(shows || alone)
}

/// Nothing that it does can make a later `cd` fail that would succeed now.
fn leaves_directories(command: &Command) -> bool {
    let first = command.invocation.words.first().map(String::as_str);
    let alone = command.resolved == Resolved::None && command.effects.is_empty();
    alone || matches!(first, Some("cd" | "mkdir")) || command.invocation.groups.contains("read-only")
}

/// `exit` with at most a number: nothing behind it runs.
fn leaves(command: &Command, redirects: &[Redirect]) -> bool {
    let [_, status @ ..] = command.argv.as_slice() else { return false };
    let plain = |word: &Word| word.value.literal().is_some_and(|text| !text.starts_with('-'));
    command.resolved == Resolved::Builtin
        && command.invocation.words == ["exit"]
        && redirects.is_empty()
        && status.len() <= 1
        && status.iter().all(plain)
}

/// It surely reads nothing from standard input.
fn leaves_stdin(command: &Command) -> bool {
    const BUILTINS: [&str; 12] =
        [":", "true", "false", "echo", "printf", "cd", "test", "[", "export", "set", "pwd", "trap"];
    const PROGRAMS: [&str; 14] = [
        "basename", "date", "df", "dirname", "du", "id", "ls", "mkdir", "seq", "sleep", "stat", "touch", "uname",
        "whoami",
    ];
    let first = command.invocation.words.first().map_or("", String::as_str);
    match command.resolved {
        Resolved::None => true,
        Resolved::Builtin => BUILTINS.contains(&first),
        Resolved::Name => PROGRAMS.contains(&first),
        Resolved::Function | Resolved::Path | Resolved::Unknown => false,
    }
}

fn redirections(
    redirects: &[Redirect],
    frame: Frame,
    moved: bool,
    state: &ShellState,
) -> (Vec<Redirection>, Vec<Effect>) {
    let (mut redirections, mut effects) = (Vec::new(), Vec::new());
    for redirect in redirects {
        let target = match redirect.body {
            Some(_) => Word { span: frame.map(redirect.target.word.span), ..redirect.target.word.clone() },
            None => state.target(&redirect.target, frame),
        };
        effects.extend(opened(redirect, &target, moved));
        let (span, op) = (frame.map(redirect.span), redirect.op.to_owned());
        redirections.push(Redirection { span, fd: redirect.fd, op, target });
    }
    (redirections, effects)
}

/// What a redirection opens. If the command then moves elsewhere, a relative target is not what its own words would
/// mean by that name.
fn opened(redirect: &Redirect, target: &Word, moved: bool) -> Vec<Effect> {
    // bash looks at the word as it is written: `>&'2-'` opens a file.
    let duplicates = |text: &str| {
        let number = text.strip_suffix('-').unwrap_or(text);
        target.raw == text && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let kinds: &[EffectKind] = match redirect.op {
        "<" => &[EffectKind::Read],
        "<>" => &[EffectKind::Read, EffectKind::Write],
        ">" | ">>" | ">|" | "&>" | "&>>" => &[EffectKind::Write],
        ">&" if target.value.literal().is_some_and(duplicates) => &[],
        ">&" => &[EffectKind::Write],
        "<&" | "<<" | "<<-" | "<<<" => &[],
        _ => &[EffectKind::Read, EffectKind::Write],
    };
    if target.value.is_pipe() {
        return Vec::new();
    }
    if let (Some(device), false) = (peer::device(&target.value), kinds.is_empty()) {
        let (kind, target) = (EffectKind::Connect, target.clone());
        return vec![Effect { kind, target, tree: false, from_start: false, peer: device.known(), weighed: false }];
    }
    let mut target = target.clone();
    let from_start = moved && !program::is_absolute(&target.value);
    if from_start && target.value.literal().is_none() {
        target.value = Value::Dynamic { prefix: String::new() };
    }
    let opens = |kind: &EffectKind| Effect {
        kind: *kind,
        target: target.clone(),
        tree: false,
        from_start,
        peer: None,
        weighed: false,
    };
    kinds.iter().map(opens).collect()
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

/// The script's text at a span, shortened at a character boundary.
fn quote(script: &[u8], span: Span) -> String {
    let text = String::from_utf8_lossy(script.get(span.start..span.end).unwrap_or_default());
    Opaque::quoted(&text).to_owned()
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
