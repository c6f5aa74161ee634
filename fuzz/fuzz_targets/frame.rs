//! Whatever bytes come on whatever channel, in any order and any cut: the status and the output of a command stay its
//! own, and those of the next one, too; or the session is given up.
//!
//! An input is two commands, 0xff between them. A command is a list of acts, one byte each, with the bytes that it takes
//! behind it: low bits 0 and 1 print on standard output and error, 2 writes to the report's descriptor, 3 repeats a
//! report of before, 4 asks for one more report, 5 has the shell give the reports that were asked for and ends the
//! command. The high bits are how many bytes an act takes; writes are cut where the next act's byte says.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use palisade_redact::output::{Capture, Stripper};
use palisade_redact::{Redactor, Stream};
use palisade_runner::View;
use palisade_runner::shell::Nonce;
use palisade_runner::shell::report_check::{Forged, Hearing, ReportReader};

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::builtin().expect("the shipped rules load"));

/// Bytes of a stream that are kept: little, so that inputs reach it.
const KEEP: usize = 64;

fuzz_target!(|input: &[u8]| {
    // One reader for the session, as in a shell: what a command leaves in it is the next one's to meet.
    let mut reader = ReportReader::default();
    let mut known = Vec::new();
    for (number, acts) in input.splitn(2, |byte| *byte == 0xff).enumerate() {
        let status = i32::try_from(number).expect("two") + 40;
        if !command(acts, status, &mut reader, &mut known) {
            return;
        }
    }
});

/// Plays one command; whether its session lives.
fn command(acts: &[u8], status: i32, reader: &mut ReportReader, known: &mut Vec<String>) -> bool {
    let own = Nonce::new().expect("random bytes");
    let mut hearing = Hearing::new(own.clone());
    let mut asked = vec![report(&own, status)];
    let mut streams = [Out::new(), Out::new()];
    let mut whole = [Vec::new(), Vec::new()];
    let mut meddled = false;
    let mut heard = None;
    let mut rest = acts;
    while let Some((act, behind)) = rest.split_first() {
        let (bytes, behind) = behind.split_at(behind.len().min(usize::from(act >> 3)));
        rest = behind;
        match act & 7 {
            stream @ 0..=1 => {
                streams[usize::from(stream)].push(bytes);
                whole[usize::from(stream)].extend_from_slice(bytes);
            }
            2 => {
                meddled |= !bytes.is_empty();
                heard = heard.or(listen(reader, &mut hearing, bytes));
            }
            3 => {
                // Only what was reported before can be known to anybody.
                let old = known.get(bytes.len()).cloned().unwrap_or_default();
                meddled |= !old.is_empty();
                heard = heard.or(listen(reader, &mut hearing, old.as_bytes()));
            }
            4 => {
                let nonce = Nonce::new().expect("random bytes");
                hearing.ask(nonce.clone());
                asked.push(report(&nonce, 0));
            }
            5 => break,
            _ => {}
        }
        if heard.is_some() {
            break;
        }
    }
    // The shell answers, cut in two somewhere.
    let answer = asked.concat();
    let cut = rest.first().map_or(0, |byte| usize::from(*byte)).min(answer.len());
    for piece in [&answer[..cut], &answer[cut..]] {
        heard = heard.or_else(|| listen(reader, &mut hearing, piece.as_bytes()));
    }
    known.extend(asked);
    for (stream, whole) in streams.into_iter().zip(&whole) {
        let mut at_once = Out::new();
        at_once.push(whole);
        assert_eq!(stream.shown(), at_once.shown(), "a stream is the same in any pieces");
    }
    match heard {
        Some(Ok(told)) => {
            assert_eq!(told, Some(status), "a status that the shell did not give");
            true
        }
        // Given up. Nobody but a meddler may bring that about.
        Some(Err(Forged)) | None => {
            assert!(meddled, "a session is lost for nothing");
            false
        }
    }
}

/// A line of the report's descriptor, as the shell writes it.
fn report(nonce: &Nonce, status: i32) -> String {
    format!("{}/ {status}\n", nonce.as_str())
}

fn listen(reader: &mut ReportReader, hearing: &mut Hearing, bytes: &[u8]) -> Option<Result<Option<i32>, Forged>> {
    reader.push(bytes);
    loop {
        match reader.report() {
            Ok(Some(report)) => match hearing.hear(&report) {
                Ok(None) => {}
                Ok(Some(told)) => return Some(Ok(told)),
                Err(forged) => return Some(Err(forged)),
            },
            Ok(None) => return None,
            Err(forged) => return Some(Err(forged)),
        }
    }
}

/// One output stream of a command: escapes removed, redacted, kept.
struct Out {
    stripper: Stripper,
    redact: Stream,
    capture: Capture,
}

impl Out {
    fn new() -> Self {
        Self { stripper: Stripper::default(), redact: REDACTOR.stream(), capture: Capture::new(KEEP) }
    }

    fn push(&mut self, bytes: &[u8]) {
        let bytes = self.redact.push(&self.stripper.push(bytes));
        self.capture.push(&bytes);
    }

    fn shown(mut self) -> (String, u64) {
        let bytes = self.redact.push(&self.stripper.finish());
        self.capture.push(&bytes);
        self.capture.push(&self.redact.finish());
        self.capture.flush();
        let shown = self.capture.shape(&View::chars(KEEP));
        assert!(shown.text.as_str().len() <= 8 * KEEP, "more is shown than is kept");
        (shown.text.to_string(), shown.total_bytes)
    }
}
