//! Which reports of a shell are believed, and what they say of a command's end. No I/O.
//!
//! Bytes come in any pieces; a line is a report only as a whole, and only if it answers something that was asked. All
//! else came from somebody who should not have the descriptor, and ends the session.

use super::Nonce;
use super::frame::{self, Report};

/// Longest report in bytes; more is not a report but an attack.
const MAX_REPORT: usize = 256;

/// Something came that is no report, or that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

/// Puts reports together from the pieces that come; holds what was read of one that is not complete.
#[derive(Clone, Debug, Default)]
pub struct ReportReader {
    unread: Vec<u8>,
}

impl ReportReader {
    /// Takes the next bytes of the descriptor.
    pub fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next report; none until more bytes come.
    ///
    /// # Errors
    /// If what came is no report.
    pub fn report(&mut self) -> Result<Option<Report>, Forged> {
        if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).take(end).collect();
            return frame::read(&line).map(Some).ok_or(Forged);
        }
        if self.unread.len() > MAX_REPORT { Err(Forged) } else { Ok(None) }
    }
}

/// The reports that were asked for behind one command.
#[derive(Clone, Debug)]
pub struct Hearing {
    /// The command's own is known by it.
    own: Nonce,
    /// Further ones. Once the last of them has come, nothing of ours is on its way any more.
    syncs: Vec<Nonce>,
    /// What the command's own said, once it has come.
    status: Option<i32>,
}

impl Hearing {
    /// For a command whose report is asked for with this nonce.
    pub fn new(own: Nonce) -> Self {
        Self { own, syncs: Vec::new(), status: None }
    }

    /// One more report was asked for, behind all others.
    pub fn ask(&mut self, nonce: Nonce) {
        self.syncs.push(nonce);
    }

    /// Whether the command's own report has come.
    pub fn knows_status(&self) -> bool {
        self.status.is_some()
    }

    /// Takes a report. Once nothing more of ours is on its way, what the command's own report said: the inner none where
    /// it never came, because somebody has read the line that asks for it.
    ///
    /// # Errors
    /// If nobody asked for it.
    pub fn hear(&mut self, report: &Report) -> Result<Option<Option<i32>>, Forged> {
        if report.nonce == self.own && self.status.is_none() {
            self.status = Some(report.status);
            return Ok(self.syncs.is_empty().then_some(self.status));
        }
        if !self.syncs.contains(&report.nonce) {
            return Err(Forged);
        }
        let is_last = self.syncs.last() == Some(&report.nonce);
        Ok(is_last.then_some(self.status))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn report(nonce: &Nonce, status: i32) -> Report {
        Report { nonce: nonce.clone(), status }
    }

    #[test]
    fn only_what_was_asked_for_is_believed() {
        let nonces: Vec<Nonce> = (0..4).map(|_| Nonce::new().unwrap()).collect();
        let [own, first, last, other] = nonces.as_slice() else { panic!("four") };
        let mut hearing = Hearing::new(own.clone());
        assert_eq!(hearing.hear(&report(other, 0)), Err(Forged));
        assert_eq!(hearing.hear(&report(own, 3)), Ok(Some(Some(3))));
        assert_eq!(hearing.hear(&report(own, 4)), Err(Forged), "it comes once");

        let mut hearing = Hearing::new(own.clone());
        hearing.ask(first.clone());
        hearing.ask(last.clone());
        assert_eq!(hearing.hear(&report(own, 3)), Ok(None), "more is on its way");
        assert_eq!(hearing.hear(&report(first, 0)), Ok(None));
        assert_eq!(hearing.hear(&report(last, 0)), Ok(Some(Some(3))));

        let mut hearing = Hearing::new(own.clone());
        hearing.ask(last.clone());
        assert_eq!(hearing.hear(&report(last, 0)), Ok(Some(None)), "its own was swallowed");
    }
}
