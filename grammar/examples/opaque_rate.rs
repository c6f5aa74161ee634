//! How much of a list of commands is opaque, and why.
//!
//! Reads commands from standard input, one a line, or separated by NUL bytes if there is one, and prints the share with
//! at least one opaque item of each reason, then what is said about those of reason `unknown-syntax`, with examples.
//!
//! ```text
//! cargo run --release -p palisade-grammar --example opaque_rate < commands.txt
//! ```

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use palisade_grammar::OpaqueReason;

/// Causes that are listed, and examples of each.
const CAUSES: usize = 20;
const EXAMPLES: usize = 4;

/// Characters of an example that are shown.
const SHOWN: usize = 160;

#[derive(Default)]
struct Cause {
    commands: usize,
    examples: Vec<String>,
}

fn main() -> std::io::Result<()> {
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    let separator = if input.contains(&0) { 0 } else { b'\n' };
    let commands: Vec<&[u8]> =
        input.split(|byte| *byte == separator).filter(|command| !command.trim_ascii().is_empty()).collect();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let mut causes: BTreeMap<String, Cause> = BTreeMap::new();
    let mut opaque = 0;
    for command in &commands {
        let inventory = palisade_grammar::inventory(command);
        let found: BTreeSet<&str> = inventory.opaque().iter().map(|item| item.reason.as_str()).collect();
        opaque += usize::from(!found.is_empty());
        for reason in found {
            *reasons.entry(reason).or_default() += 1;
        }
        let unread = inventory.opaque().iter().find(|item| item.reason == OpaqueReason::UnknownSyntax);
        if let Some(unread) = unread {
            let cause = causes.entry(without_numbers(&unread.detail)).or_default();
            cause.commands += 1;
            if cause.examples.len() < EXAMPLES {
                cause.examples.push(String::from_utf8_lossy(command).chars().take(SHOWN).collect());
            }
        }
    }
    println!("{} commands, {}\tany opaque item", commands.len(), share(opaque, commands.len()));
    for (reason, count) in reasons {
        println!("{}\t{reason}", share(count, commands.len()));
    }
    let mut causes: Vec<(String, Cause)> = causes.into_iter().collect();
    causes.sort_by_key(|(_, cause)| std::cmp::Reverse(cause.commands));
    for (detail, cause) in causes.into_iter().take(CAUSES) {
        println!("\n{}\t{detail}", share(cause.commands, commands.len()));
        for example in cause.examples {
            println!("\t{example:?}");
        }
    }
    Ok(())
}

fn share(count: usize, all: usize) -> String {
    // In hundredths of a per cent, so that no float is needed.
    let share = (count * 10_000).checked_div(all).unwrap_or_default();
    format!("{count} ({}.{:02} %)", share / 100, share % 100)
}

/// Two complaints that differ in a place only are one.
fn without_numbers(detail: &str) -> String {
    let mut text = String::new();
    for character in detail.chars() {
        match character {
            '0'..='9' if text.ends_with('N') => {}
            '0'..='9' => text.push('N'),
            other => text.push(other),
        }
    }
    text
}
