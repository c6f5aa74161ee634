//! Any bytes at the control socket, from either end: a message or an error, and a message reads as what was written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_runner::control::wire::{Answer, Ask, decode, encode};

fuzz_target!(|line: &[u8]| {
    if let Ok(ask) = decode::<Ask>(line) {
        let again = encode(&ask).expect("what was read can be written");
        assert_eq!(again.iter().filter(|byte| **byte == b'\n').count(), 1, "a message is one line");
        assert_eq!(decode::<Ask>(&again), Ok(ask));
    }
    if let Ok(answer) = decode::<Answer<String>>(line) {
        let again = encode(&answer).expect("what was read can be written");
        assert_eq!(decode::<Answer<String>>(&again), Ok(answer));
    }
});
