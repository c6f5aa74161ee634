//! Any bytes as a record: nothing panics, and a chain that holds stops holding when something is taken out of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_audit::verify;

fuzz_target!(|file: &[u8]| {
    let report = match verify(file, None) {
        Ok(report) => report,
        Err(broken) => {
            assert!(broken.offset <= file.len() as u64, "{broken}");
            return;
        }
    };
    assert_eq!(verify(file, Some(report.head)), Ok(report), "its own head is its anchor");

    let lines: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len() as u64, report.records);
    for taken in 0..lines.len().min(16) {
        let rest: Vec<u8> = lines
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != taken)
            .flat_map(|(_, line)| *line)
            .copied()
            .collect();
        assert!(verify(rest.as_slice(), Some(report.head)).is_err(), "record {} is gone", taken + 1);
    }
});
