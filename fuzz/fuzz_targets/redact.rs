//! Any bytes cut into any chunks: what leaves is the same as if they had come in one piece. A secret that shows when
//! a read happens to end inside it is a leak. A known value is gone, and silence between the chunks shows nothing of it.
//!
//! An input is a list of chunk lengths (one byte each, used in turn; 0 stands for an empty chunk), a 0xff byte, and the
//! text.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use palisade_redact::output::Stripper;
use palisade_redact::{KnownValue, Redactor};

const KNOWN: &str = "fuzz-known-value-0";

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| {
    Redactor::builtin().expect("the shipped rules load").with_known(&[KnownValue::new("KNOWN", KNOWN)])
});

fuzz_target!(|input: &[u8]| {
    let Some(end) = input.iter().position(|byte| *byte == 0xff) else { return };
    let (lengths, text) = (&input[..end], &input[end + 1..]);
    // Empty chunks alone would never get to the end of the text.
    if lengths.iter().all(|length| *length == 0) {
        return;
    }
    let out = redact(chunks(text, lengths));
    assert_eq!(out, redact([text]), "chunks of {lengths:?}");
    for out in [out, redact_with_pauses(chunks(text, lengths))] {
        assert!(!shows(&out), "a known value shows");
        // What a result shows of it: terminal control must not have kept apart what then stands together.
        let mut stripper = Stripper::default();
        let stripped = [stripper.push(&out), stripper.finish()].concat();
        assert!(!shows(&stripped), "a known value shows without terminal control");
    }
});

fn shows(out: &[u8]) -> bool {
    out.windows(KNOWN.len()).any(|part| part == KNOWN.as_bytes())
}

fn redact_with_pauses<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut stream = REDACTOR.stream();
    let mut out = Vec::new();
    for chunk in chunks {
        out.extend_from_slice(stream.push(chunk).as_bytes());
        out.extend_from_slice(stream.idle().as_bytes());
    }
    out.extend_from_slice(stream.finish().as_bytes());
    out
}

fn redact<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut stream = REDACTOR.stream();
    let mut out = Vec::new();
    for chunk in chunks {
        out.extend_from_slice(stream.push(chunk).as_bytes());
    }
    out.extend_from_slice(stream.finish().as_bytes());
    out
}

fn chunks<'a>(mut text: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    for length in lengths.iter().cycle() {
        if text.is_empty() {
            break;
        }
        let (chunk, rest) = text.split_at(text.len().min(usize::from(*length)));
        chunks.push(chunk);
        text = rest;
    }
    chunks
}
