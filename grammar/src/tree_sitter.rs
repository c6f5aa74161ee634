//! The second reading: tree-sitter's tree, flattened to the tokens that it sees. The only file that knows node kinds.
//!
//! This file decides what a tree says and whether it may be believed. An ERROR or MISSING node refuses the whole text;
//! a kind that is not in the tables below is something that we cannot vouch for.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Instant;

use tree_sitter::{Node, ParseOptions, Parser, Tree};

use crate::limits::PARSE_DEADLINE;
use crate::reader::{Mark, MarkKind, ReadError};
use crate::span::Span;

/// The tokens that tree-sitter sees, in order, and the first node of an unknown kind.
pub(crate) struct Outline {
    pub(crate) marks: Vec<Mark>,
    pub(crate) unknown: Option<Span>,
}

/// The second reader, used for every text of one script.
#[derive(Default)]
pub(crate) struct Outliner {
    parser: Option<Parser>,
}

impl Outliner {
    /// Parses the text and flattens the tree.
    pub(crate) fn outline(&mut self, text: &[u8], deadline: Instant) -> Result<Outline, ReadError> {
        let tree = self.parse(text, deadline)?;
        if tree.root_node().has_error() {
            return Err(syntax_error(text, &tree));
        }
        let mut walk = Walk { marks: Vec::new(), unknown: None };
        walk.tree(tree.root_node());
        walk.marks.sort_unstable();
        Ok(Outline { marks: merge_touching(walk.marks), unknown: walk.unknown })
    }

    fn parse(&mut self, text: &[u8], deadline: Instant) -> Result<Tree, ReadError> {
        let parser = self.parser.get_or_insert_with(Parser::new);
        if parser.language().is_none() && parser.set_language(&tree_sitter_bash::LANGUAGE.into()).is_err() {
            return Err(ReadError::refuse(0, "the grammar for bash does not fit the parser"));
        }
        let mut expired = |_: &_| match Instant::now() < deadline {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        let options = ParseOptions::new().progress_callback(&mut expired);
        let mut read = |at: usize, _| text.get(at..).unwrap_or_default();
        parser.parse_with_options(&mut read, None, Some(options)).ok_or_else(|| {
            parser.reset();
            let limit = PARSE_DEADLINE.as_millis();
            ReadError::refuse(0, &format!("reading the command takes longer than the limit of {limit} ms"))
        })
    }
}

/// The first ERROR or MISSING node, told by the text that stands there.
fn syntax_error(text: &[u8], tree: &Tree) -> ReadError {
    let mut open = vec![tree.root_node()];
    let mut span = Span::new(0, text.len());
    while let Some(node) = open.pop() {
        if node.is_error() || node.is_missing() {
            span = span_of(node);
            break;
        }
        let mut cursor = node.walk();
        let mut broken: Vec<_> = node.children(&mut cursor).filter(Node::has_error).collect();
        broken.reverse();
        open.append(&mut broken);
    }
    let place = String::from_utf8_lossy(text.get(span.start..).unwrap_or_default());
    let near: String = place.chars().take_while(|c| *c != '\n').take(30).collect();
    let detail = if near.trim().is_empty() {
        "syntax error: the command ends too early".to_owned()
    } else {
        format!("syntax error near `{near}`")
    };
    ReadError::Refuse { span, detail }
}

struct Walk {
    marks: Vec<Mark>,
    unknown: Option<Span>,
}

impl Walk {
    fn tree(&mut self, root: Node<'_>) {
        let mut open = vec![root];
        while let Some(node) = open.pop() {
            if self.node(node) {
                let mut cursor = node.walk();
                open.extend(node.children(&mut cursor));
            }
        }
    }

    /// Leaves the marks of one node. Returns whether its children count.
    fn node(&mut self, node: Node<'_>) -> bool {
        match node.kind() {
            "program"
            | "list"
            | "pipeline"
            | "redirected_statement"
            | "command"
            | "subshell"
            | "compound_statement"
            | "negated_command"
            | "declaration_command"
            | "unset_command"
            | "variable_assignments"
            | "file_redirect"
            | "herestring_redirect"
            | "if_statement"
            | "elif_clause"
            | "else_clause"
            | "while_statement"
            | "for_statement"
            | "do_group"
            | "case_statement"
            | "case_item" => true,
            "comment" | "\n" => false,
            "command_name" => {
                self.mark(node, MarkKind::Program);
                self.mark(node, MarkKind::Word);
                false
            }
            // Whatever a word holds is ours to read: only where it begins and ends is compared.
            "word"
            | "string"
            | "raw_string"
            | "ansi_c_string"
            | "translated_string"
            | "concatenation"
            | "number"
            | "simple_expansion"
            | "expansion"
            | "arithmetic_expansion"
            | "brace_expression"
            | "variable_assignment"
            | "variable_name"
            | "special_variable_name"
            | "test_operator"
            | "extglob_pattern"
            | "regex" => {
                self.mark(node, MarkKind::Word);
                false
            }
            "file_descriptor" => {
                self.mark(node, MarkKind::Descriptor);
                false
            }
            kind if !node.is_named() => {
                self.token(node, kind);
                false
            }
            _ => {
                self.not_known(span_of(node));
                false
            }
        }
    }

    fn token(&mut self, node: Node<'_>, kind: &str) {
        match kind {
            "[[" | "]]" | "((" | "))" => self.not_known(span_of(node)),
            "$" | "==" | "=~" => self.mark(node, MarkKind::Word),
            "declare" | "typeset" | "export" | "readonly" | "local" | "unset" | "unsetenv" => {
                self.mark(node, MarkKind::Program);
                self.mark(node, MarkKind::Word);
            }
            "&&" | "||" | "|" | "|&" | ";" | "&" | "(" | ")" | "{" | "}" | "!" | "<" | ">" | ">>" | "&>" | "&>>"
            | "<&" | ">&" | ">|" | "<<<" | ";;" | ";&" | ";;&" | "if" | "then" | "elif" | "else" | "fi" | "while"
            | "until" | "for" | "select" | "in" | "do" | "done" | "case" | "esac" => {
                self.mark(node, MarkKind::Operator)
            }
            "<&-" | ">&-" => {
                let span = span_of(node);
                self.marks.push(Mark { span: Span::new(span.start, span.start + 2), kind: MarkKind::Operator });
                self.marks.push(Mark { span: Span::new(span.start + 2, span.end), kind: MarkKind::Word });
            }
            _ => self.not_known(span_of(node)),
        }
    }

    fn mark(&mut self, node: Node<'_>, kind: MarkKind) {
        self.marks.push(Mark { span: span_of(node), kind });
    }

    fn not_known(&mut self, span: Span) {
        let earlier = self.unknown.map_or(span, |known| if known.start < span.start { known } else { span });
        self.unknown = Some(earlier);
    }
}

/// Two words that touch are one word: the grammar cuts some words up, bash cannot.
fn merge_touching(marks: Vec<Mark>) -> Vec<Mark> {
    let mut merged: Vec<Mark> = Vec::with_capacity(marks.len());
    let mut ends: HashMap<usize, usize> = HashMap::new();
    for mark in marks {
        if mark.kind == MarkKind::Word {
            let touched = ends.remove(&mark.span.start);
            if let Some((index, previous)) = touched.and_then(|index| Some((index, merged.get_mut(index)?))) {
                previous.span.end = mark.span.end;
                ends.insert(mark.span.end, index);
                continue;
            }
            ends.insert(mark.span.end, merged.len());
        }
        merged.push(mark);
    }
    merged
}

fn span_of(node: Node<'_>) -> Span {
    Span::new(node.start_byte(), node.end_byte())
}
