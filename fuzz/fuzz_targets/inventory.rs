//! Any bytes as a script: nothing panics, and what the inventory says is about these bytes and about all of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_grammar::{Span, inventory};

fuzz_target!(|script: &[u8]| {
    let inventory = inventory(script);
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
});

fn assert_inside(span: Span, script: &[u8]) {
    assert!(span.start <= span.end && span.end <= script.len(), "{span:?} of {} bytes", script.len());
}
