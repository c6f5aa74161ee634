//! A file that the operator wrote, and what is wrong in it: with its name, line and column.
//!
//! Decides nothing: what counts as wrong, the readers of policies (`bundle`) and of groups (`vocabulary`) say.

mod toml_errors;

use std::fmt;

use serde::{Deserialize, Serialize};

/// One policy file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// What diagnostics call it: a path, or a name inside Palisade.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Everything that is wrong with a set of policies.
#[derive(Debug, PartialEq, Eq)]
pub struct Findings(pub Vec<Finding>);

/// One thing that is wrong with a policy file.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file's name.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong, in Cedar's words where they are Cedar's.
    pub message: String,
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{}:{}:{}: {}", finding.file, finding.line, finding.column, finding.message)?;
        }
        Ok(())
    }
}

impl Source {
    /// What is wrong at this byte of the text.
    pub(crate) fn finding(&self, offset: usize, message: String) -> Finding {
        let (line, column) = line_and_column(&self.text, offset);
        Finding { file: self.name.clone(), line, column, message }
    }
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before: String =
        text.char_indices().take_while(|(at, _)| *at < offset).map(|(_, character)| character).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
