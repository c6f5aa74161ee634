//! What branches, repeats and is called: compound commands and functions.
//!
//! This file decides which ways a script can take through them, and what is still known behind them. A loop over
//! literal words is followed word by word; before any other loop everything that its body may change is forgotten.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::ast::{
    Arg, Arm, Assign, Compound, CompoundKind, Count, Function, Note, Part, Pipeline, Redirect, Script, SimpleCommand,
};
use crate::collect::directory::WorkingDirectory;
use crate::collect::state::{Defined, ShellState, VariableValue};
use crate::collect::{
    Collector, Definition, Ends, MANY_COMMANDS, MANY_STEPS, Refusal, Setting, Stands, may_fail, redirect_args,
    sets_limits,
};
use crate::inventory::{CommandId, Via};
use crate::opaque::OpaqueReason;
use crate::program;
use crate::span::Span;
use crate::word::{Value, Word, is_integer, is_name};

/// Words of a loop that are followed one by one.
const MAX_TURNS: usize = 32;

impl Collector<'_> {
    pub(super) fn compound(
        &mut self,
        compound: &Compound,
        setting: &Setting,
        state: ShellState,
    ) -> Result<Ends, Refusal> {
        let inside = Setting { depth: setting.depth + 1, functions: true, shell: true, ..setting.clone() };
        let start = self.commands.len();
        let mut outer = state;
        let args = || compound.redirects.iter().flat_map(redirect_args);
        let disturbed = !args().all(|arg| outer.leaves_directories(arg));
        if args().any(|arg| !arg.nested.is_empty()) {
            outer.stdin = None; // a substitution may have read some of it
        }
        // They are expanded before anything inside runs, and listed behind it.
        let mut entered = outer.clone();
        let assigned = args().flat_map(|arg| &arg.arithmetic).flat_map(|arithmetic| &arithmetic.assigns);
        assigned.for_each(|name| entered.set(name, VariableValue::Unknown));
        entered.stdin = entered.input(&compound.redirects);
        self.disturbed += u32::from(disturbed);
        let ends = self.kind(compound, &inside, entered)?;
        self.disturbed -= u32::from(disturbed);
        let ran = start..self.commands.len();
        let mut around = outer.clone();
        let own = self.carried(
            span_of(&compound.redirects, compound.span),
            Vec::new(),
            &compound.redirects,
            setting,
            &mut around,
        )?;
        self.flow(own, ran)?;
        let ends = if may_fail(&compound.redirects) { (ends.0, ends.1.meet(around)) } else { ends };
        Ok(match &compound.kind {
            CompoundKind::Subshell(_) => both(ShellState { stdin: None, ..outer }),
            _ if compound.redirects.is_empty() => ends,
            _ => {
                let restored =
                    |end: ShellState| ShellState { stdin: outer.stdin.clone().filter(|_| end.stdin.is_some()), ..end };
                (restored(ends.0), restored(ends.1))
            }
        })
    }

    fn kind(&mut self, compound: &Compound, setting: &Setting, mut state: ShellState) -> Result<Ends, Refusal> {
        match &compound.kind {
            CompoundKind::Subshell(script) => {
                let via = if setting.via == Via::Top { Via::Subshell } else { setting.via.clone() };
                let setting = Setting { via, ..setting.clone() };
                self.apart(|collector| collector.script(script, &setting, state)).map(both)
            }
            CompoundKind::Group(script) => self.condition(script, setting, state),
            CompoundKind::If { arms, otherwise } => self.branches(arms, otherwise.as_ref(), setting, state),
            CompoundKind::While { condition, body } => self.repeat(&[condition, body], setting, state),
            CompoundKind::For { name, words, body, .. } => {
                self.carried(compound.span, words.iter().flatten().collect(), &[], setting, &mut state)?;
                self.named(name, compound.span, setting, &mut state)?;
                self.each(name, words.as_deref(), body, setting, state)
            }
            CompoundKind::Arithmetic { first, again, body } => {
                self.carried(compound.span, vec![first], &[], setting, &mut state)?;
                let changed = self.changes(&[body], &state).apply(state.clone());
                let first = state.meet(changed.clone());
                let mut at = first.clone();
                self.turning += 1;
                self.carried(compound.span, vec![again], &[], setting, &mut at)?;
                at = at.meet(first); // the last expression only runs between two turns
                let setting = Setting { conditional: true, ..setting.clone() };
                let end = self.script(body, &setting, at.clone())?;
                self.turning -= 1;
                Ok(both(at.meet(changed).meet(end)))
            }
            CompoundKind::Case { subject, arms } => self.case(compound.span, subject, arms, setting, state),
            CompoundKind::Test { words } => {
                let doubt = compared(words, &state).map(|word| {
                    let detail = "what stands here is evaluated as arithmetic, which runs code that a value may hold";
                    let span = setting.frame.map(word.word.span);
                    Note { reason: OpaqueReason::Arithmetic, span, detail: detail.to_owned() }
                });
                let stands = Stands { span: compound.span, sure: false, doubt };
                self.carried_with(stands, words.iter().collect(), &[], setting, &mut state)?;
                state.set("BASH_REMATCH", VariableValue::Unknown);
                Ok(both(state))
            }
            CompoundKind::Evaluate(expression) => {
                self.carried(compound.span, vec![expression], &[], setting, &mut state)?;
                Ok(both(state))
            }
        }
    }

    fn branches(
        &mut self,
        arms: &[(Script, Script)],
        otherwise: Option<&Script>,
        setting: &Setting,
        mut state: ShellState,
    ) -> Result<Ends, Refusal> {
        let mut setting = setting.clone();
        let mut ends: Option<ShellState> = None;
        for (condition, body) in arms {
            let (held, failed) = self.condition(condition, &setting, state)?;
            setting.conditional = true;
            let end = self.script(body, &setting, held)?;
            ends = Some(ends.map_or(end.clone(), |ends| ends.meet(end)));
            state = failed;
        }
        if let Some(otherwise) = otherwise {
            state = self.script(otherwise, &setting, state)?;
        }
        Ok(both(ends.map_or(state.clone(), |ends| ends.meet(state))))
    }

    /// A loop of which nobody knows how often it turns.
    fn repeat(&mut self, scripts: &[&Script], setting: &Setting, state: ShellState) -> Result<Ends, Refusal> {
        let changed = self.changes(scripts, &state).apply(state.clone());
        let mut at = state.meet(changed.clone());
        let mut setting = setting.clone();
        self.turning += 1;
        for script in scripts {
            at = self.script(script, &setting, at)?;
            setting.conditional = true;
        }
        self.turning -= 1;
        Ok(both(changed.meet(at)))
    }

    /// `for name in words`
    fn each(
        &mut self,
        name: &str,
        words: Option<&[Arg]>,
        body: &Script,
        setting: &Setting,
        mut state: ShellState,
    ) -> Result<Ends, Refusal> {
        let changes = self.changes(&[body], &state);
        let setting = Setting { conditional: true, ..setting.clone() };
        let values = words.filter(|_| !state.refuses(name)).and_then(|words| literal_words(&state, words));
        self.steps += values.as_ref().map_or(0, Vec::len);
        let few = values.filter(|values| values.len() <= MAX_TURNS && !self.is_long());
        let Some(values) = few.filter(|_| !changes.jumps) else {
            let numbers = words.is_some_and(|words| {
                literal_words(&state, words).is_some_and(|values| values.iter().all(|value| is_integer(value)))
            });
            let mut changed = changes.apply(state.clone());
            let matches = words
                .and_then(|words| matched(&state, words))
                .map(|(prefix, raw)| VariableValue::Match(prefix.into(), raw.into()));
            let value = if numbers { VariableValue::Number } else { matches.unwrap_or(VariableValue::Unknown) };
            changed.set(name, value.clone());
            let mut at = state.meet(changed.clone());
            at.set(name, value);
            self.turning += 1;
            let end = self.script(body, &setting, at)?;
            self.turning -= 1;
            return Ok(both(changed.meet(end)));
        };
        for value in values {
            state.set(name, VariableValue::Text(value.into()));
            state = self.script(body, &setting, state)?;
        }
        Ok(both(state))
    }

    fn case(
        &mut self,
        span: Span,
        subject: &Arg,
        arms: &[Arm],
        setting: &Setting,
        mut state: ShellState,
    ) -> Result<Ends, Refusal> {
        let patterns = arms.iter().flat_map(|arm| &arm.patterns);
        self.carried(span, vec![subject], &[], setting, &mut state)?;
        let stands = Stands { span, sure: false, doubt: None };
        self.carried_with(stands, patterns.collect(), &[], setting, &mut state)?;
        let setting = Setting { conditional: true, ..setting.clone() };
        let mut ends = state.clone();
        let mut fallen: Option<ShellState> = None;
        for arm in arms {
            let entry = fallen.take().map_or(state.clone(), |fallen| fallen.meet(state.clone()));
            let end = self.script(&arm.body, &setting, entry)?;
            if arm.falls {
                fallen = Some(end.clone());
            }
            ends = ends.meet(end);
        }
        Ok(both(ends))
    }

    pub(super) fn define(&mut self, function: &Function, setting: &Setting, mut state: ShellState) -> Ends {
        let index = self.definitions.len();
        let via = Via::Function(function.name.clone());
        self.definitions.push(Definition {
            name: function.name.clone(),
            raw: Rc::clone(&function.raw),
            body: Rc::clone(&function.body),
            setting: Setting { via, parent: setting.parent, ..setting.clone() },
            called: false,
            open: self.turning > 0,
        });
        state.define(&function.name, index, !setting.conditional);
        both(state)
    }

    /// A call of a function: its body runs here, with what is known here.
    pub(super) fn call(
        &mut self,
        name: &str,
        defined: &Defined,
        caller: CommandId,
        words: &[program::Arg],
        setting: &Setting,
        state: ShellState,
    ) -> Result<ShellState, Refusal> {
        let (mut ended, mut lost): (Option<ShellState>, bool) = (None, false);
        for index in defined.bodies.iter().copied() {
            let long = self.is_long();
            let Some(definition) = self.definitions.get_mut(index) else { continue };
            if self.following.contains(&index) || long {
                definition.open = true;
                lost = true;
                continue;
            }
            definition.called = true;
            let body = Rc::clone(&definition.body);
            let inside = Setting {
                via: Via::Function(name.to_owned()),
                parent: Some(caller),
                depth: setting.depth + 1,
                wrapped: setting.wrapped + 1,
                frame: definition.setting.frame,
                conditional: setting.conditional || defined.bodies.len() > 1 || !defined.certain,
                ..setting.clone()
            };
            let mut entered = state.clone();
            entered.set_arguments(arguments(words));
            entered.touched = Rc::default();
            entered.in_function = true;
            let outer = (self.escaped.take(), self.returned.take());
            self.following.push(index);
            let (succeeded, failed) = self.compound(&body, &inside, entered)?;
            self.following.pop();
            let mut end = succeeded.meet(failed);
            let (escaped, returned) = (self.escaped.take(), self.returned.take());
            (self.escaped, self.returned) = outer;
            if let Some(returned) = returned {
                end = end.meet(returned);
            }
            end.blur(&state);
            end.in_function = state.in_function;
            end.set_arguments(None);
            if let Some(mut escaped) = escaped {
                escaped.blur(&state);
                escaped.in_function = state.in_function;
                escaped.set_arguments(None);
                self.escape(escaped);
            }
            ended = Some(ended.map_or(end.clone(), |ended| ended.meet(end)));
        }
        if lost {
            let mut lost = ShellState { place: WorkingDirectory::Unknown, stdin: None, ..state.clone() };
            lost.forget();
            ended = Some(ended.map_or(lost.clone(), |ended| ended.meet(lost)));
        }
        Ok(ended.unwrap_or(state))
    }

    /// So much was followed already that nothing is followed twice from here on.
    fn is_long(&self) -> bool {
        self.commands.len() > MANY_COMMANDS || self.steps > MANY_STEPS
    }

    /// What a loop's body may change.
    pub(super) fn changes(&self, scripts: &[&Script], state: &ShellState) -> Changes {
        let mut changes = Changes::default();
        let around = Around { state, definitions: &self.definitions };
        for script in scripts {
            changes.script(script, around);
        }
        changes
    }
}

/// A word of `[[ … ]]` that is evaluated and may hold code: a side of `-eq`, a name behind `-v` and `-R`.
fn compared<'w>(words: &'w [Arg], state: &ShellState) -> Option<&'w Arg> {
    const NUMERIC: [&str; 6] = ["-eq", "-ne", "-lt", "-le", "-gt", "-ge"];
    words.iter().enumerate().find_map(|(index, word)| {
        let next = words.get(index + 1);
        match word.word.value.literal() {
            Some(operator) if NUMERIC.contains(&operator) => {
                let sides = [index.checked_sub(1).and_then(|at| words.get(at)), next];
                sides.into_iter().flatten().find(|side| !is_number(side, state))
            }
            Some("-v" | "-R") => next.filter(|name| name.word.value.literal().is_none_or(|name| name.contains('['))),
            _ => None,
        }
    })
}

fn is_number(word: &Arg, state: &ShellState) -> bool {
    match state.assigned(word, word.is_number()) {
        VariableValue::Number | VariableValue::Digits => true,
        VariableValue::Text(text) => is_integer(&text),
        VariableValue::Home(_) | VariableValue::Match(..) | VariableValue::Unknown | VariableValue::Fixed => {
            word.is_number() && word.arithmetic.is_empty()
        }
    }
}

/// What a script may change, whichever way it takes.
#[derive(Default)]
pub(super) struct Changes {
    names: BTreeSet<String>,
    /// Set to something that is no number.
    texts: BTreeSet<String>,
    /// Any variable.
    any: bool,
    /// The directory.
    moves: bool,
    /// Standard input is read.
    reads: bool,
    /// It may leave early: `break`, `continue`, `return`.
    jumps: bool,
    /// Functions of these names may be gone.
    gone: BTreeSet<String>,
    /// Any function may be gone.
    functions: bool,
    /// The positional parameters.
    sets: bool,
    /// A variable that is not set may be an error.
    strict: bool,
    /// The limits of `ulimit`.
    limits: bool,
    /// Functions whose bodies were looked at.
    followed: BTreeSet<usize>,
}

/// What the words of a script may stand for.
#[derive(Clone, Copy)]
struct Around<'s> {
    state: &'s ShellState,
    definitions: &'s [Definition],
}

/// Builtins that run code, or change what later commands are; behind `command` they are not looked at more closely.
const REACHES: [&str; 8] = [".", "eval", "set", "shift", "source", "trap", "ulimit", "unset"];

impl Changes {
    fn script(&mut self, script: &Script, around: Around<'_>) {
        for statement in &script.statements {
            let pipelines = [&statement.first].into_iter().chain(statement.rest.iter().map(|(_, pipeline)| pipeline));
            pipelines.for_each(|pipeline| self.pipeline(pipeline, around));
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, around: Around<'_>) {
        for part in &pipeline.parts {
            match part {
                Part::Simple(command) => self.simple(command, around),
                Part::Compound(compound) => self.compound(compound, around),
                Part::Function(function) => {
                    self.everything(); // what is called may be another function in the next turn
                    self.compound(&function.body, around);
                }
                Part::Coproc(coproc) => {
                    self.set(&coproc.name, false);
                    self.set(&format!("{}_PID", coproc.name), false);
                    self.reads = true;
                }
            }
        }
    }

    fn compound(&mut self, compound: &Compound, around: Around<'_>) {
        self.redirects(&compound.redirects);
        match &compound.kind {
            CompoundKind::Subshell(_) => self.reads = true,
            CompoundKind::Group(script) => self.script(script, around),
            CompoundKind::If { arms, otherwise } => {
                let scripts = arms.iter().flat_map(|(condition, body)| [condition, body]).chain(otherwise);
                scripts.for_each(|script| self.script(script, around));
            }
            CompoundKind::While { condition, body } => {
                self.script(condition, around);
                self.script(body, around);
            }
            CompoundKind::For { name, words, body, .. } => {
                words.iter().flatten().for_each(|word| self.word(word));
                self.set(name, false);
                self.script(body, around);
            }
            CompoundKind::Arithmetic { first, again, body } => {
                self.word(first);
                self.word(again);
                self.script(body, around);
            }
            CompoundKind::Case { subject, arms } => {
                self.word(subject);
                for arm in arms {
                    arm.patterns.iter().for_each(|pattern| self.word(pattern));
                    self.script(&arm.body, around);
                }
            }
            CompoundKind::Test { words } => {
                words.iter().for_each(|word| self.word(word));
            }
            CompoundKind::Evaluate(expression) => self.word(expression),
        }
    }

    fn simple(&mut self, command: &SimpleCommand, around: Around<'_>) {
        for Assign { name, value, number, partial, .. } in &command.assignments {
            self.word(value);
            self.set(name, *number && !partial);
        }
        command.words.iter().for_each(|word| self.word(word));
        self.redirects(&command.redirects);
        let Some(program) = command.words.first() else { return };
        let Some(name) = program.word.value.literal().filter(|_| program.count == Count::One) else {
            return self.anything();
        };
        match name {
            _ if around.state.is_alias(name) => self.anything(),
            _ if let Some(defined) = around.state.function(name) => {
                self.everything();
                self.bodies(defined, around);
            }
            "builtin" | "command" => {
                let words = command.words.iter().skip(1).map(|word| word.word.value.literal());
                match words.into_iter().find(|word| word.is_none_or(|word| !word.starts_with('-'))) {
                    Some(Some(name)) if !REACHES.contains(&name) => self.everything(),
                    _ => self.anything(),
                }
            }
            "eval" | "." | "source" => self.anything(),
            "trap" => {
                let ends = |word: &Arg| matches!(word.word.value.literal(), Some("EXIT" | "0"));
                if command.words.iter().skip(2).all(ends) { self.everything() } else { self.anything() }
            }
            "set" | "shift" => {
                self.everything();
                self.sets = true;
                self.strict |= command.words.iter().skip(1).any(|word| word.word.value.literal().is_none_or(is_strict));
            }
            "alias" | "unalias" | "shopt" | "enable" => self.everything(),
            "ulimit" => {
                let words: Vec<Word> = command.words.iter().skip(1).map(|word| word.word.clone()).collect();
                self.limits |= sets_limits(&words);
            }
            "cd" | "pushd" | "popd" => self.moves = true,
            "break" | "continue" | "return" => self.jumps = true,
            "let" => self.any = true,
            "read" | "mapfile" | "readarray" | "getopts" | "printf" | "declare" | "typeset" | "local" | "export"
            | "readonly" | "unset" | "wait" => {
                self.reads = true;
                self.declared(&command.words);
                if name == "unset" {
                    let names = command.words.iter().skip(1).map(|word| word.word.value.literal());
                    names.for_each(|name| match name {
                        Some(name) => _ = self.gone.insert(name.to_owned()),
                        None => self.functions = true,
                    });
                }
            }
            ":" | "true" | "false" | "echo" | "test" | "[" | "pwd" | "exit" => {}
            _ => self.reads = true,
        }
    }

    /// What the functions of a name do to other functions.
    fn bodies(&mut self, defined: &Defined, around: Around<'_>) {
        for index in &defined.bodies {
            if let Some(definition) = around.definitions.get(*index).filter(|_| self.followed.insert(*index)) {
                self.compound(&definition.body, around);
            }
        }
    }

    /// Operands of a builtin that sets variables by their names.
    fn declared(&mut self, words: &[Arg]) {
        for word in words.iter().skip(1) {
            let known = word.word.value.prefix();
            let length = known.bytes().take_while(|byte| is_name(*byte)).count();
            match known.get(..length) {
                Some(name) if length > 0 && (length < known.len() || word.word.value.literal().is_some()) => {
                    self.set(name, false);
                }
                // `-vname`, and `-n`, which makes another name of one.
                Some(_) if known.starts_with('-') && known.contains(['v', 'a', 'p', 'n']) && known.len() > 2 => {
                    self.any = true;
                }
                Some(_) if known == "-n" => self.any = true,
                Some(_) if known.starts_with('-') && word.word.value.literal().is_some() => {}
                Some(_) if word.word.value.literal().is_some() => {}
                _ => self.any = true,
            }
        }
    }

    fn redirects(&mut self, redirects: &[Redirect]) {
        for redirect in redirects {
            self.word(&redirect.target);
            if let Some(name) = &redirect.variable {
                self.set(name, true);
            }
            if let Some(body) = redirect.body.as_ref().and_then(|body| body.get()) {
                self.word(body);
            }
        }
    }

    fn word(&mut self, word: &Arg) {
        self.reads |= !word.nested.is_empty();
        for arithmetic in &word.arithmetic {
            arithmetic.assigns.iter().for_each(|name| self.set(name, !arithmetic.unset));
        }
    }

    fn set(&mut self, name: &str, number: bool) {
        self.names.insert(name.to_owned());
        if !number {
            self.texts.insert(name.to_owned());
        }
    }

    fn everything(&mut self) {
        (self.any, self.moves, self.reads, self.jumps) = (true, true, true, true);
    }

    /// The same, and functions, positional parameters, options and limits may be others as well.
    fn anything(&mut self) {
        self.everything();
        (self.functions, self.sets, self.strict, self.limits) = (true, true, true, true);
    }

    /// What is known from now on, if all of this may happen whenever it likes.
    pub(super) fn at_any_time(&self, mut state: ShellState) -> ShellState {
        if self.any || !self.names.is_empty() {
            state.forget();
        }
        if self.moves {
            state.place = WorkingDirectory::Unknown;
        }
        if self.functions || !self.gone.is_empty() {
            state.forget_functions();
        }
        if self.sets {
            state.forget_arguments();
        }
        self.options(&mut state);
        state
    }

    fn options(&self, state: &mut ShellState) {
        state.hazards.unset |= self.strict;
        state.hazards.limits |= self.limits;
    }

    /// What is known after any number of turns.
    fn apply(&self, mut state: ShellState) -> ShellState {
        let before = state.clone();
        for name in &self.names {
            let number = !self.texts.contains(name) && before.value(name).is_some_and(VariableValue::is_number);
            state.set(name, if number { VariableValue::Number } else { VariableValue::Unknown });
        }
        if self.any {
            state.forget_values();
        }
        if self.moves {
            state.place = WorkingDirectory::Unknown;
        }
        if self.reads {
            state.stdin = None;
        }
        if self.functions {
            state.doubt_functions();
        }
        self.gone.iter().for_each(|name| state.doubt_function(name));
        self.options(&mut state);
        state
    }
}

/// A word of `set` by which a variable that is not set may become an error.
fn is_strict(word: &str) -> bool {
    word == "nounset" || word.starts_with('-') && word.contains('u')
}

/// The words of a loop, if each is literal.
fn literal_words(state: &ShellState, words: &[Arg]) -> Option<Vec<String>> {
    let words = words.iter().flat_map(|word| state.expand(word));
    words
        .map(|(word, count): (Word, Count)| match word.value {
            Value::Literal(text) if count == Count::One => Some(text),
            _ => None,
        })
        .collect()
}

/// The words of a call behind the function's name, if there are as many as are written.
fn arguments(words: &[program::Arg]) -> Option<Vec<Word>> {
    let words = words.iter().skip(1);
    words.map(|arg| (arg.count == Count::One).then(|| arg.word.clone())).collect()
}

/// How everything begins that a loop goes over, if that is a pattern.
fn matched(state: &ShellState, words: &[Arg]) -> Option<(String, String)> {
    let [word] = words else { return None };
    match state.expand(word).as_slice() {
        [(Word { value: Value::Pattern { prefix }, raw, .. }, _)] => Some((prefix.clone(), raw.clone())),
        _ => None,
    }
}

fn both(state: ShellState) -> Ends {
    (state.clone(), state)
}

/// The place of some redirections, or of what they belong to.
fn span_of(redirects: &[Redirect], whole: Span) -> Span {
    redirects.iter().map(|redirect| redirect.span).reduce(Span::to).unwrap_or(whole)
}
