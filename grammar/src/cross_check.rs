//! Whether a text may be believed: three readings that share no code have to see the same.
//!
//! Our own reading makes the tree. tree-sitter has to see the same tokens in each text, the inside of words masked;
//! brush has to see the same simple commands and redirections in the whole. Where one of them differs nothing is said
//! about any part of the text.

use std::time::Instant;

use crate::ast::{Arg, Assign, Compound, CompoundKind, NestedKind, Part, Pipeline, Redirect, Script, SimpleCommand};
use crate::brush;
use crate::reader::{self, Mark, MarkKind, ReadError, Rest, TokenPage};
use crate::span::Span;
use crate::tree_sitter::Outliner;

/// The readers of one submitted script and of the code in it.
#[derive(Default)]
pub(crate) struct Readers {
    outliner: Outliner,
}

impl Readers {
    /// Reads one text, which is nested `depth` deep. What could not be read at its end comes beside it. A reader that misses
    /// something at the end of the text points behind the text. Such a span is cut to the text.
    pub(crate) fn read(
        &mut self,
        text: &[u8],
        depth: u32,
        deadline: Instant,
    ) -> Result<(Script, Option<Rest>), ReadError> {
        let inside = |span: Span| Span::new(span.start.min(text.len()), span.end.min(text.len()));
        self.read_all(text, depth, deadline).map_err(|error| match error {
            ReadError::Refuse { span, detail } => ReadError::Refuse { span: inside(span), detail },
            ReadError::Unsupported { span, reason, detail } => {
                ReadError::Unsupported { span: inside(span), reason, detail }
            }
        })
    }

    fn read_all(&mut self, text: &[u8], depth: u32, deadline: Instant) -> Result<(Script, Option<Rest>), ReadError> {
        let reading = reader::read(text, depth)?;
        for page in &reading.pages {
            self.tokens(page, deadline)?;
        }
        if reading.rest.is_none() {
            commands(text, &reading.script)?;
        }
        Ok((reading.script, reading.rest))
    }

    /// tree-sitter sees the same tokens. Behind a pipeline of three commands it may read on over the end of the line, if a redirection
    /// follows somewhere. So it may see them with `;` for the ends of lines as well: that it sees each of these too says no less.
    fn tokens(&mut self, page: &TokenPage, deadline: Instant) -> Result<(), ReadError> {
        self.sees(page, deadline).or_else(|error| {
            let again = page.on_one_line().map(|page| self.sees(&page, deadline));
            again.and_then(Result::ok).ok_or(error)
        })
    }

    fn sees(&mut self, page: &TokenPage, deadline: Instant) -> Result<(), ReadError> {
        let outline = self.outliner.outline(&page.text, deadline).map_err(|error| page.error(error))?;
        if let Some(span) = outline.unknown {
            let detail = "a construct that one of the parsers does not know".to_owned();
            return Err(ReadError::Refuse { span: page.place(span), detail });
        }
        if let Some(span) = first_difference(&page.text, &page.marks, &outline.marks) {
            let span = page.place(span);
            let detail = format!("two parsers read this differently, at byte {}; write it more plainly", span.start);
            return Err(ReadError::Refuse { span, detail });
        }
        Ok(())
    }
}

/// Where two sorted token lists begin to differ.
fn first_difference(text: &[u8], ours: &[Mark], theirs: &[Mark]) -> Option<Span> {
    // tree-sitter-bash loses a `-` that stands alone before a redirection; brush tells of it, and it is never a command.
    let dash = |mark: &Mark| mark.kind == MarkKind::Word && text.get(mark.span.start..mark.span.end) == Some(b"-");
    let mut theirs = theirs.iter().peekable();
    for our in ours {
        match theirs.peek() {
            Some(their) if *their == our => _ = theirs.next(),
            _ if dash(our) => {}
            Some(their) => return Some(our.min(their).span),
            None => return Some(our.span),
        }
    }
    theirs.next().map(|mark| mark.span)
}

/// brush sees the same simple commands and redirections.
fn commands(text: &[u8], script: &Script) -> Result<(), ReadError> {
    let refuse = |detail: String| ReadError::Refuse { span: Span::new(0, text.len()), detail };
    let readable = std::str::from_utf8(text).ok().and_then(brush::told);
    let mut theirs = readable.ok_or_else(|| refuse("one of three parsers cannot read this".to_owned()))?;
    let mut ours = CommandList::default();
    ours.script(script);
    ours.0.sort_unstable();
    theirs.sort_unstable();
    if ours.0 == theirs {
        return Ok(());
    }
    let differ = ours.0.iter().zip(&theirs).find(|(our, their)| our != their).map(|(our, their)| our.min(their));
    let longer = if ours.0.len() > theirs.len() { &ours.0 } else { &theirs };
    let least = ours.0.len().min(theirs.len());
    let told = differ.or(longer.get(least)).map(|words| words.replace('\0', " ")).unwrap_or_default();
    Err(refuse(format!("three parsers do not see the same commands here: `{told}`; write it more plainly")))
}

/// The commands and redirections of our own tree, in the words of the third reading.
#[derive(Default)]
struct CommandList(Vec<String>);

impl CommandList {
    fn script(&mut self, script: &Script) {
        for statement in &script.statements {
            self.pipeline(&statement.first);
            statement.rest.iter().for_each(|(_, pipeline)| self.pipeline(pipeline));
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline) {
        pipeline.parts.iter().for_each(|part| self.part(part));
        self.0.extend(std::iter::repeat_n(">& 1".to_owned(), pipeline.both)); // `|&` is short for `2>&1 |`
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::Simple(simple) => self.simple(simple),
            Part::Compound(compound) => self.compound(compound),
            Part::Function(function) => {
                self.0.push(format!("function {}", function.name));
                self.compound(&function.body);
            }
            Part::Coproc(coproc) => self.part(&coproc.body),
        }
    }

    fn compound(&mut self, compound: &Compound) {
        match &compound.kind {
            CompoundKind::Subshell(script) | CompoundKind::Group(script) => self.script(script),
            CompoundKind::If { arms, otherwise } => {
                arms.iter().flat_map(|(condition, body)| [condition, body]).for_each(|script| self.script(script));
                otherwise.iter().for_each(|script| self.script(script));
            }
            CompoundKind::While { condition, body } => {
                self.script(condition);
                self.script(body);
            }
            CompoundKind::For { words, body, .. } => {
                words.iter().flatten().for_each(|word| self.nested(word));
                self.script(body);
            }
            CompoundKind::Arithmetic { first, again, body } => {
                self.nested(first);
                self.nested(again);
                self.script(body);
            }
            CompoundKind::Case { subject, arms } => {
                self.nested(subject);
                for arm in arms {
                    arm.patterns.iter().for_each(|pattern| self.nested(pattern));
                    self.script(&arm.body);
                }
            }
            CompoundKind::Test { words } => words.iter().for_each(|word| self.nested(word)),
            CompoundKind::Evaluate(expression) => self.nested(expression),
        }
        compound.redirects.iter().for_each(|redirect| self.redirect(redirect));
    }

    fn simple(&mut self, simple: &SimpleCommand) {
        let mut words = Vec::new();
        for Assign { raw, value, .. } in &simple.assignments {
            words.push(assigned(raw));
            self.nested(value);
        }
        for word in &simple.words {
            words.push(if is_array(&word.word.raw) { assigned(&word.word.raw) } else { said(word) });
            self.nested(word);
        }
        if !words.is_empty() {
            self.0.push(words.join("\0"));
        }
        simple.redirects.iter().for_each(|redirect| self.redirect(redirect));
    }

    fn redirect(&mut self, redirect: &Redirect) {
        if let Some(body) = &redirect.body {
            self.0.push("<<".to_owned());
            return body.get().into_iter().for_each(|body| self.nested(body));
        }
        self.0.push(format!("{} {}", redirect.op, said(&redirect.target)));
        self.nested(&redirect.target);
    }

    fn nested(&mut self, word: &Arg) {
        word.nested.iter().for_each(|nested| self.script(&nested.script));
    }
}

/// A word as the third reading tells it.
fn said(word: &Arg) -> String {
    match word.nested.first().map(|nested| nested.kind) {
        Some(NestedKind::Input) if word.word.value.is_pipe() => brush::PIPE.to_owned(),
        Some(NestedKind::Output) if word.word.value.is_pipe() => brush::PIPE.replace('<', ">"),
        _ => brush::plain(&word.word.raw),
    }
}

fn assigned(raw: &str) -> String {
    if is_array(raw) { brush::array_name(raw).to_owned() } else { brush::plain(raw) }
}

/// `NAME=(`, with or without a subscript and `+`.
fn is_array(raw: &str) -> bool {
    raw.split_once("=(").is_some_and(|(name, _)| !name.contains(['\'', '"', '\\', '=', ' ', '$', '`']))
}
