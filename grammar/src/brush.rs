//! The third reading: what brush's parser would run, told in the same words as our own tree.
//!
//! This file decides whether a third pair of eyes sees the same simple commands and redirections as we do, in the text
//! as it is, nothing masked. It shares no code with the other two readings. What brush cannot read is refused: it does
//! not know `select`, for one.

use brush_parser::ast::{
    self, AssignmentName, AssignmentValue, Command, CommandPrefixOrSuffixItem as Item, CompoundCommand, CompoundList,
    ExtendedTestExpr, IoFileRedirectKind, IoFileRedirectTarget, IoRedirect, Pipeline, ProcessSubstitutionKind,
    SimpleCommand,
};
use brush_parser::word::{self, Parameter, ParameterExpr, WordPiece, WordPieceWithSource};
use brush_parser::{ParserOptions, TokenizerOptions, parse_tokens, uncached_tokenize_str};

use crate::limits::MAX_DEPTH;

/// Everything that a text would run and open, in any order: one line for each simple command and each redirection.
/// `None` if brush does not read the text, or if there is no room to let it.
///
/// brush recurses as deep as it takes a text to be nested, and knows no limit. What it takes for a bracket may be none
/// to our own reading, so it gets the stack that the deepest text of this length needs, not one for the depth we know.
pub(crate) fn told(text: &str) -> Option<Vec<String>> {
    let stack = PER_BYTE * text.len();
    if stack <= ALWAYS_THERE {
        return walk(text);
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(ALWAYS_THERE + stack).spawn_scoped(scope, || walk(text));
        thread.ok()?.join().ok()?
    })
}

fn walk(text: &str) -> Option<Vec<String>> {
    let mut walk = Walk { told: Vec::new(), depth: 0, quoted: 0 };
    walk.text(text)?;
    Some(walk.told)
}

/// Bytes of stack for one byte of text: twice what the worst text that was found takes, `{({({(`. It is address space;
/// only what is used takes memory.
const PER_BYTE: usize = if cfg!(debug_assertions) { 32 * 1024 } else { 12 * 1024 };

/// Bytes of stack that any thread of ours has left.
const ALWAYS_THERE: usize = 512 * 1024;

/// A word as both sides tell it: line continuations are no part of it.
pub(crate) fn plain(raw: &str) -> String {
    raw.replace("\\\n", "")
}

/// What stands for a process substitution, whose commands are told by themselves.
pub(crate) const PIPE: &str = "<()";

struct Walk {
    told: Vec<String>,
    depth: u32,
    /// Double quotes around the piece at hand.
    quoted: u32,
}

impl Walk {
    fn text(&mut self, text: &str) -> Option<()> {
        self.depth += 1;
        let quoted = std::mem::take(&mut self.quoted);
        if self.depth > MAX_DEPTH + 2 {
            return None;
        }
        let tokens = uncached_tokenize_str(text, &TokenizerOptions::default()).ok()?;
        let program = parse_tokens(&tokens, &options()).ok()?;
        program.complete_commands.iter().try_for_each(|list| self.list(list))?;
        self.depth -= 1;
        self.quoted = quoted;
        Some(())
    }

    fn list(&mut self, list: &CompoundList) -> Option<()> {
        for ast::CompoundListItem(and_or, _) in &list.0 {
            self.pipeline(&and_or.first)?;
            for next in &and_or.additional {
                let (ast::AndOr::And(pipeline) | ast::AndOr::Or(pipeline)) = next;
                self.pipeline(pipeline)?;
            }
        }
        Some(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Option<()> {
        pipeline.seq.iter().try_for_each(|command| self.command(command))
    }

    fn command(&mut self, command: &Command) -> Option<()> {
        match command {
            Command::Simple(simple) => self.simple(simple),
            Command::Compound(compound, redirects) => {
                self.compound(compound)?;
                self.redirects(redirects.as_ref())
            }
            Command::Function(function) => {
                self.told.push(format!("function {}", function.fname.value));
                self.compound(&function.body.0)?;
                self.redirects(function.body.1.as_ref())
            }
            Command::ExtendedTest(test, redirects) => {
                self.test(&test.expr)?;
                self.redirects(redirects.as_ref())
            }
        }
    }

    fn compound(&mut self, compound: &CompoundCommand) -> Option<()> {
        match compound {
            CompoundCommand::Arithmetic(arithmetic) => self.word(&arithmetic.expr.value),
            CompoundCommand::ArithmeticForClause(head) => {
                for part in [&head.initializer, &head.condition, &head.updater].into_iter().flatten() {
                    self.word(&part.value)?;
                }
                self.list(&head.body.list)
            }
            CompoundCommand::BraceGroup(group) => self.list(&group.list),
            CompoundCommand::Subshell(subshell) => self.list(&subshell.list),
            CompoundCommand::ForClause(each) => {
                each.values.iter().flatten().try_for_each(|value| self.word(&value.value))?;
                self.list(&each.body.list)
            }
            CompoundCommand::CaseClause(case) => {
                self.word(&case.value.value)?;
                for arm in &case.cases {
                    arm.patterns.iter().try_for_each(|pattern| self.word(&pattern.value))?;
                    arm.cmd.iter().try_for_each(|list| self.list(list))?;
                }
                Some(())
            }
            CompoundCommand::IfClause(branches) => {
                self.list(&branches.condition)?;
                self.list(&branches.then)?;
                for branch in branches.elses.iter().flatten() {
                    branch.condition.iter().try_for_each(|list| self.list(list))?;
                    self.list(&branch.body)?;
                }
                Some(())
            }
            CompoundCommand::WhileClause(ast::WhileOrUntilClauseCommand(condition, body, _))
            | CompoundCommand::UntilClause(ast::WhileOrUntilClauseCommand(condition, body, _)) => {
                self.list(condition)?;
                self.list(&body.list)
            }
            CompoundCommand::Coprocess(coprocess) => self.command(&coprocess.body),
        }
    }

    fn simple(&mut self, simple: &SimpleCommand) -> Option<()> {
        let mut words = Vec::new();
        for item in simple.prefix.iter().flat_map(|prefix| &prefix.0) {
            self.item(item, &mut words)?;
        }
        if let Some(program) = &simple.word_or_name {
            words.push(plain(&program.value));
            self.word(&program.value)?;
        }
        for item in simple.suffix.iter().flat_map(|suffix| &suffix.0) {
            self.item(item, &mut words)?;
        }
        if !words.is_empty() {
            self.told.push(words.join("\0"));
        }
        Some(())
    }

    fn item(&mut self, item: &Item, words: &mut Vec<String>) -> Option<()> {
        match item {
            Item::IoRedirect(redirect) => self.redirect(redirect),
            Item::Word(word) => {
                words.push(plain(&word.value));
                self.word(&word.value)
            }
            Item::AssignmentWord(assignment, word) => {
                match &assignment.value {
                    AssignmentValue::Scalar(value) => {
                        words.push(plain(&word.value));
                        self.word(&value.value)?;
                    }
                    AssignmentValue::Array(elements) => {
                        words.push(array_name(&word.value).to_owned());
                        for (key, value) in elements {
                            key.iter().try_for_each(|key| self.word(&key.value))?;
                            self.word(&value.value)?;
                        }
                    }
                }
                match &assignment.name {
                    AssignmentName::VariableName(_) => Some(()),
                    AssignmentName::ArrayElementName(_, index) => self.word(index),
                }
            }
            Item::ProcessSubstitution(kind, subshell) => {
                words.push(pipe(kind));
                self.list(&subshell.list)
            }
        }
    }

    fn redirects(&mut self, redirects: Option<&ast::RedirectList>) -> Option<()> {
        redirects.iter().flat_map(|list| &list.0).try_for_each(|redirect| self.redirect(redirect))
    }

    fn redirect(&mut self, redirect: &IoRedirect) -> Option<()> {
        let (operator, target) = match redirect {
            IoRedirect::File(_, kind, target) => (operator(kind), target),
            IoRedirect::HereDocument(_, document) => {
                self.told.push("<<".to_owned());
                if document.requires_expansion && holds_code(&document.doc.value) {
                    let pieces = word::parse_heredoc(&document.doc.value, &options()).ok()?;
                    return self.pieces(&pieces);
                }
                return Some(());
            }
            IoRedirect::HereString(_, text) => {
                self.told.push(format!("<<< {}", plain(&text.value)));
                return self.word(&text.value);
            }
            IoRedirect::OutputAndError(target, append) => {
                let operator = if *append { "&>>" } else { "&>" };
                self.told.push(format!("{operator} {}", plain(&target.value)));
                return self.word(&target.value);
            }
        };
        match target {
            IoFileRedirectTarget::Filename(word) | IoFileRedirectTarget::Duplicate(word) => {
                self.told.push(format!("{operator} {}", plain(&word.value)));
                self.word(&word.value)
            }
            IoFileRedirectTarget::Fd(fd) => {
                self.told.push(format!("{operator} {fd}"));
                Some(())
            }
            IoFileRedirectTarget::ProcessSubstitution(kind, subshell) => {
                self.told.push(format!("{operator} {}", pipe(kind)));
                self.list(&subshell.list)
            }
        }
    }

    fn test(&mut self, expression: &ExtendedTestExpr) -> Option<()> {
        match expression {
            ExtendedTestExpr::And(left, right) | ExtendedTestExpr::Or(left, right) => {
                self.test(left)?;
                self.test(right)
            }
            ExtendedTestExpr::Not(inner) | ExtendedTestExpr::Parenthesized(inner) => self.test(inner),
            ExtendedTestExpr::UnaryTest(_, operand) => self.word(&operand.value),
            ExtendedTestExpr::BinaryTest(_, left, right) => {
                self.word(&left.value)?;
                self.word(&right.value)
            }
        }
    }

    /// What runs inside a word.
    fn word(&mut self, raw: &str) -> Option<()> {
        if !holds_code(raw) {
            return Some(());
        }
        let pieces = word::parse(raw, &options()).ok()?;
        self.pieces(&pieces)
    }

    fn pieces(&mut self, pieces: &[WordPieceWithSource]) -> Option<()> {
        for piece in pieces {
            match &piece.piece {
                WordPiece::Text(_)
                | WordPiece::SingleQuotedText(_)
                | WordPiece::AnsiCQuotedText(_)
                | WordPiece::TildeExpansion(_)
                | WordPiece::EscapeSequence(_) => {}
                WordPiece::DoubleQuotedSequence(inner) | WordPiece::GettextDoubleQuotedSequence(inner) => {
                    self.quoted += 1;
                    self.pieces(inner)?;
                    self.quoted -= 1;
                }
                WordPiece::ParameterExpansion(expression) => self.parameter(expression)?,
                WordPiece::CommandSubstitution(code) => self.text(code)?,
                // In double quotes bash takes the backslash off a quote in backticks as well.
                WordPiece::BackquotedCommandSubstitution(code) if self.quoted > 0 => {
                    self.text(&code.replace("\\\"", "\""))?;
                }
                WordPiece::BackquotedCommandSubstitution(code) => self.text(code)?,
                WordPiece::ArithmeticExpression(expression) => self.word(&expression.value)?,
            }
        }
        Some(())
    }

    fn parameter(&mut self, expression: &ParameterExpr) -> Option<()> {
        use ParameterExpr as P;
        let (parameter, inside): (Option<&Parameter>, Vec<&String>) = match expression {
            P::Parameter { parameter, .. } | P::ParameterLength { parameter, .. } | P::Transform { parameter, .. } => {
                (Some(parameter), Vec::new())
            }
            P::UseDefaultValues { parameter, default_value: word, .. }
            | P::AssignDefaultValues { parameter, default_value: word, .. }
            | P::IndicateErrorIfNullOrUnset { parameter, error_message: word, .. }
            | P::UseAlternativeValue { parameter, alternative_value: word, .. }
            | P::RemoveSmallestSuffixPattern { parameter, pattern: word, .. }
            | P::RemoveLargestSuffixPattern { parameter, pattern: word, .. }
            | P::RemoveSmallestPrefixPattern { parameter, pattern: word, .. }
            | P::RemoveLargestPrefixPattern { parameter, pattern: word, .. }
            | P::UppercaseFirstChar { parameter, pattern: word, .. }
            | P::UppercasePattern { parameter, pattern: word, .. }
            | P::LowercaseFirstChar { parameter, pattern: word, .. }
            | P::LowercasePattern { parameter, pattern: word, .. } => (Some(parameter), word.iter().collect()),
            P::Substring { parameter, offset, length, .. } => {
                let length = length.iter().map(|length| &length.value);
                (Some(parameter), [&offset.value].into_iter().chain(length).collect())
            }
            P::ReplaceSubstring { parameter, pattern, replacement, .. } => {
                (Some(parameter), [pattern].into_iter().chain(replacement).collect())
            }
            P::VariableNames { .. } | P::MemberKeys { .. } => (None, Vec::new()),
        };
        if let Some(Parameter::NamedWithIndex { index, .. }) = parameter {
            self.word(index)?;
        }
        inside.into_iter().try_for_each(|word| self.word(word))
    }
}

/// Only such text can run anything.
fn holds_code(raw: &str) -> bool {
    raw.contains('`') || raw.contains("$(")
}

/// The name in front of an array's opening bracket.
pub(crate) fn array_name(raw: &str) -> &str {
    raw.split_once('(').map_or(raw, |(name, _)| name)
}

fn pipe(kind: &ProcessSubstitutionKind) -> String {
    match kind {
        ProcessSubstitutionKind::Read => PIPE.to_owned(),
        ProcessSubstitutionKind::Write => PIPE.replace('<', ">"),
    }
}

fn operator(kind: &IoFileRedirectKind) -> &'static str {
    match kind {
        IoFileRedirectKind::Read => "<",
        IoFileRedirectKind::Write => ">",
        IoFileRedirectKind::Append => ">>",
        IoFileRedirectKind::ReadAndWrite => "<>",
        IoFileRedirectKind::Clobber => ">|",
        IoFileRedirectKind::DuplicateInput => "<&",
        IoFileRedirectKind::DuplicateOutput => ">&",
    }
}

/// bash as it reads a script: extended patterns are known inside `[[`, tildes do not matter here.
fn options() -> ParserOptions {
    ParserOptions { enable_extended_globbing: false, ..ParserOptions::default() }
}

#[cfg(test)]
mod tests {
    use super::told;

    /// Each overflows the 2 MiB of a server's thread. Our own reading refuses them, so that nothing else asks.
    #[test]
    fn has_room_for_the_deepest_text() {
        for (text, read) in [
            ("{(".repeat(500), false),
            ("{\n".repeat(500), false),
            ("if ".repeat(500), false),
            ("(a;".repeat(500), false),
            (format!("[[ {}a ]]", "! ".repeat(1000)), true),
            (format!("[[ {}a{} ]]", "( ".repeat(1000), " )".repeat(1000)), true),
            (format!("{}true{}", "{ ".repeat(500), "; }".repeat(500)), true),
        ] {
            assert_eq!(told(&text).is_some(), read, "{text}");
        }
    }
}
