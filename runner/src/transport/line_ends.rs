//! What a terminal makes of line ends, taken back. No I/O.

/// Takes off the carriage return that a terminal puts in front of each line feed, wherever reads have cut.
#[derive(Debug, Default)]
pub(crate) struct LineEnds {
    held: bool,
}

impl LineEnds {
    /// The next bytes without them.
    pub(crate) fn push(&mut self, raw: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(raw.len() + 1);
        for &byte in raw {
            if std::mem::take(&mut self.held) && byte != b'\n' {
                out.push(b'\r');
            }
            self.held = byte == b'\r';
            if !self.held {
                out.push(byte);
            }
        }
        out
    }

    /// What is held back, because no more comes.
    pub(crate) fn finish(&mut self) -> &'static [u8] {
        if std::mem::take(&mut self.held) { b"\r" } else { b"" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_the_same_wherever_they_are_cut() {
        for (raw, expected) in [
            ("a\r\nb\r\n", "a\nb\n"),
            ("10%\r20%\r\n", "10%\r20%\n"),
            ("a\r\r\nb", "a\r\nb"),
            ("a\n\rb\r", "a\n\rb\r"),
            ("\r\n\r\n", "\n\n"),
        ] {
            for cut in 0..=raw.len() {
                let mut ends = LineEnds::default();
                let (first, second) = raw.as_bytes().split_at(cut);
                let mut out = [ends.push(first), ends.push(second)].concat();
                out.extend(ends.finish());
                assert_eq!(String::from_utf8_lossy(&out), expected, "{raw:?} cut at {cut}");
            }
        }
    }
}
