//! Where in a stream a report stands. No I/O.
//!
//! Reports come in the streams that the command writes to, behind what it has written. Each begins with a nonce that nothing but
//! the shell's input has held until then, so that no output can hold it; what stands before it is the command's.

use memchr::memmem;

use crate::shell::Nonce;

/// Bytes that the rest of a report may have behind its nonce; more is not a report.
const MAX_REST: usize = 8;

/// What comes out of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Bytes of the command's.
    Bytes(Vec<u8>),
    /// A report with its status; none on the stream whose reports have none.
    Report(Nonce, Option<i32>),
    /// Something else stands where a report's status should.
    Forged,
}

/// A stream that is read for reports.
#[derive(Clone, Debug)]
pub(crate) struct ReportScanner {
    held: Vec<u8>,
    awaited: Vec<Nonce>,
    /// Its reports tell a status.
    has_status: bool,
}

impl ReportScanner {
    /// For a stream in which this report will come.
    pub(crate) fn new(nonce: Nonce, has_status: bool) -> Self {
        Self { held: Vec::new(), awaited: vec![nonce], has_status }
    }

    /// One more report will come.
    pub(crate) fn await_also(&mut self, nonce: Nonce) {
        self.awaited.push(nonce);
    }

    /// Takes the next bytes, and gives what they tell.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Found> {
        self.held.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(next) = self.next() {
            found.push(next);
        }
        found
    }

    /// What is held back: the beginning of a report that did not come.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn next(&mut self) -> Option<Found> {
        let places = self.awaited.iter().enumerate();
        let first =
            places.filter_map(|(index, nonce)| Some((memmem::find(&self.held, nonce.as_str().as_bytes())?, index)));
        let Some((at, index)) = first.min() else {
            let keep = self.awaited.iter().map(|nonce| ending(&self.held, nonce.as_str().as_bytes())).max();
            let ready = self.held.len() - keep.unwrap_or_default();
            return (ready > 0).then(|| Found::Bytes(self.held.drain(..ready).collect()));
        };
        if at > 0 {
            return Some(Found::Bytes(self.held.drain(..at).collect()));
        }
        let nonce = self.awaited.get(index)?.clone();
        let rest = self.held.get(nonce.as_str().len()..).unwrap_or_default();
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return (rest.len() > MAX_REST).then(|| self.forged());
        };
        let status = rest.get(..end).and_then(|rest| status(rest, self.has_status));
        let Some(status) = status else { return Some(self.forged()) };
        self.held.drain(..nonce.as_str().len() + end + 1);
        self.awaited.remove(index);
        Some(Found::Report(nonce, status))
    }

    fn forged(&mut self) -> Found {
        self.held.clear();
        self.awaited.clear();
        Found::Forged
    }
}

/// `/ 0` or `/`.
fn status(rest: &[u8], has_status: bool) -> Option<Option<i32>> {
    let rest = std::str::from_utf8(rest).ok()?.strip_prefix('/')?;
    if !has_status {
        return rest.is_empty().then_some(None);
    }
    let status = rest.strip_prefix(' ')?.parse().ok()?;
    (0..=255).contains(&status).then_some(Some(status))
}

/// How many bytes at the end may be the beginning of `word`.
fn ending(bytes: &[u8], word: &[u8]) -> usize {
    let longest = word.len().saturating_sub(1).min(bytes.len());
    (1..=longest).rev().find(|count| word.get(..*count).is_some_and(|part| bytes.ends_with(part))).unwrap_or(0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::string_slice, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn read(stream: &[u8], nonces: &[Nonce], size: usize) -> (Vec<u8>, Vec<Option<i32>>, bool) {
        let mut scan = ReportScanner::new(nonces[0].clone(), true);
        nonces[1..].iter().for_each(|nonce| scan.await_also(nonce.clone()));
        let (mut bytes, mut reports, mut forged) = (Vec::new(), Vec::new(), false);
        for chunk in stream.chunks(size) {
            for found in scan.push(chunk) {
                match found {
                    Found::Bytes(more) => bytes.extend(more),
                    Found::Report(_, status) => reports.push(status),
                    Found::Forged => forged = true,
                }
            }
        }
        bytes.extend(scan.rest());
        (bytes, reports, forged)
    }

    #[test]
    fn a_report_is_found_whatever_the_pieces() {
        let (own, sync) = (Nonce::new().unwrap(), Nonce::new().unwrap());
        let part = &own.as_str()[..20];
        let stream = format!("out {part} {}/x\n{}/ 7\nnoise{}/ 130\n", &own.as_str()[1..], own.as_str(), sync.as_str());
        for size in 1..stream.len() {
            let (bytes, reports, forged) = read(stream.as_bytes(), &[own.clone(), sync.clone()], size);
            let expected = format!("out {part} {}/x\nnoise", &own.as_str()[1..]);
            assert_eq!(String::from_utf8(bytes).unwrap(), expected, "in pieces of {size}");
            assert_eq!((reports, forged), (vec![Some(7), Some(130)], false));
        }
    }

    #[test]
    fn what_is_no_report_behind_its_nonce_is_told() {
        let nonce = Nonce::new().unwrap();
        for rest in ["\n", "/\n", "/ 256\n", "/ -1\n", "/ 0 0\n", " 0\n", "/ 0000000000", "/ x\n"] {
            let (_, reports, forged) =
                read(format!("a{}{rest}", nonce.as_str()).as_bytes(), std::slice::from_ref(&nonce), 5);
            assert!(forged && reports.is_empty(), "{rest:?}");
        }
    }
}
