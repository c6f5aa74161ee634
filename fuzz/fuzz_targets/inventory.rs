//! Any bytes as a script: nothing panics or takes longer than it may, what the inventory says is about these bytes and
//! about all of them, a command behind them is never lost, and literal words are what real bash makes of them.

#![no_main]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use palisade_grammar::{Inventory, Span, inventory};

/// Far above the deadline of the parsers: this build is slow, and its machine may be busy.
const LONGEST: Duration = Duration::from_secs(5);

/// A command that stands behind every script.
const MARKER: &[u8] = b"\nmarker-9\n";

fuzz_target!(|script: &[u8]| {
    let started = Instant::now();
    let inventory = inventory(script);
    assert!(started.elapsed() < LONGEST, "it took {:?}", started.elapsed());
    assert_eq!(inventory.script(), script, "the inventory is of another script");
    for (index, command) in inventory.commands().iter().enumerate() {
        assert_eq!(command.id.0 as usize, index, "ids are indices");
        assert_inside(command.span, script);
    }
    for opaque in inventory.opaque() {
        assert_inside(opaque.span, script);
    }
    // A policy can refuse only what it is asked about.
    assert!(inventory.parsed() || !inventory.opaque().is_empty(), "damage that nothing stands for");
    assert_next_is_listed(script);
    if script.len() % 8 == 3 {
        assert_words(&inventory);
    }
});

/// Unless the script goes on with the next line, what stands there is a command of its own.
fn assert_next_is_listed(script: &[u8]) {
    if script.ends_with(b"\\") || script.windows(6).any(|part| part == b"marker") {
        return;
    }
    let longer = inventory(&[script, MARKER].concat());
    let listed = longer.commands().iter().any(|command| command.program.raw == "marker-9");
    assert!(listed || !longer.parsed(), "a command is lost");
}

/// bash prints each literal word as it was decoded.
fn assert_words(inventory: &Inventory) {
    let words = inventory
        .commands()
        .iter()
        .filter(|command| command.depth == 0 && command.parent.is_none())
        .flat_map(|command| &command.argv);
    let literal = words.filter_map(|word| Some((word.raw.as_str(), word.value.literal()?)));
    // Only words that stand for themselves: what comes out of a variable is told by its place.
    let (raw, decoded): (Vec<_>, Vec<_>) = literal.filter(|(raw, _)| !raw.contains(['$', '`', '{', '\n', '~'])).unzip();
    if raw.is_empty() {
        return;
    }
    let code = format!("printf '%s\\0' {}", raw.join(" "));
    let bash =
        Command::new("bash").args(["--norc", "--noprofile", "-c", &code]).env_clear().stdin(Stdio::null()).output();
    let Ok(printed) = bash else { return };
    let expected: Vec<u8> = decoded.iter().flat_map(|word| word.bytes().chain([0])).collect();
    assert_eq!(printed.stdout, expected, "{code}");
}

fn assert_inside(span: Span, script: &[u8]) {
    assert!(span.start <= span.end && span.end <= script.len(), "{span:?} of {} bytes", script.len());
}
