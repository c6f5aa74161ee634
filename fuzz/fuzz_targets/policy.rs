//! Any text as an operator's policy file: nothing panics or overflows the stack, and what is refused is refused at a
//! place in that file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_engine::{Bundle, BundleError, Source};

const NAME: &str = "fuzz.cedar";

fuzz_target!(|text: &str| {
    let sources = vec![Source { name: NAME.to_owned(), text: text.to_owned() }];
    match Bundle::load(sources.clone()) {
        Ok(bundle) => {
            let again = Bundle::load(sources).expect("what loads once loads twice");
            assert_eq!(bundle.fingerprint(), again.fingerprint(), "one text, one fingerprint");
        }
        Err(BundleError::Invalid(findings)) => {
            assert!(!findings.0.is_empty(), "refused without a finding");
            // The end of the text is a place too: what is missing is missing there.
            let lines = text.lines().count() + 1;
            for finding in findings.0.iter().filter(|finding| finding.file == NAME) {
                assert!((1..=lines).contains(&finding.line), "{finding:?} of {lines} lines");
            }
        }
        Err(error) => drop(error.to_string()),
    }
});
