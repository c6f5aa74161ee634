//! Takes terminal control out of output: decides which bytes are text and which only move a cursor or paint.
//!
//! Text is never lost to a sequence that does not end: one that grows too long or meets a line break was none, and what
//! it had swallowed is text again. Control codes of 8 bits count where they are written in UTF-8 (U+0080 to U+009F), as some terminals
//! take them; single bytes of 0x80 and above are left alone, for they are parts of other characters far more often.

use crate::noise::{ends_escape, is_final};

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
/// The first byte of U+0080 to U+00BF in UTF-8.
const LEAD: u8 = 0xc2;

/// A sequence that reports or paints is short; longer ones are no sequences.
const LONGEST_CSI: usize = 64;
/// Titles, links and pictures may take this many bytes.
const LONGEST_STRING: usize = 4096;

/// Strips escape sequences and control codes from a stream, whatever the chunks it comes in.
///
/// Kept are NUL, line feed, tab, carriage return and everything from space on but DEL and U+0080 to U+009F.
#[derive(Debug, Default)]
pub struct Stripper {
    state: AnsiState,
    /// The byte behind ESC that has opened a sequence. In the forms of 8 bits there is none.
    opener: Option<u8>,
    /// What an open sequence has swallowed so far, without its beginning.
    held: Vec<u8>,
    /// Colours and other renditions of text stay.
    colours: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum AnsiState {
    #[default]
    Text,
    /// The first byte of U+0080 to U+00BF has been read.
    Lead,
    /// ESC has been read, and then perhaps intermediate bytes.
    Escape,
    /// ESC `[`: parameters until a final byte.
    Csi,
    /// ESC `]`: until BEL or ESC `\`.
    Osc,
    /// ESC `P`, `X`, `^` or `_`: until ESC `\`.
    String,
    /// ESC within one of the last two.
    StringEscape,
}

impl Stripper {
    /// One that leaves SGR in (`ESC [ numbers m`): colours, bold, underlined. All else goes as ever, for it moves the cursor over
    /// what was printed before, sets titles and clipboards, or has the terminal answer.
    pub fn with_colours() -> Self {
        Self { colours: true, ..Self::default() }
    }

    /// One that leaves in what this one does.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self { colours: self.colours, ..Self::default() }
    }

    /// Takes the next bytes and returns the text in them.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let [byte, tail @ ..] = rest {
            if self.state == AnsiState::Text {
                let plain = plain(rest);
                text.extend_from_slice(rest.get(..plain).unwrap_or_default());
                rest = rest.get(plain..).unwrap_or_default();
                if let [control, tail @ ..] = rest {
                    self.step(*control, &mut text);
                    rest = tail;
                }
            } else {
                self.step(*byte, &mut text);
                rest = tail;
            }
        }
        text
    }

    /// Ends the stream and returns what an unfinished sequence had swallowed.
    pub fn finish(mut self) -> Vec<u8> {
        let mut text = Vec::new();
        self.give_up(&mut text);
        text
    }

    fn step(&mut self, byte: u8, text: &mut Vec<u8>) {
        match (self.state, byte) {
            (AnsiState::Text, ESC) => self.state = AnsiState::Escape,
            (AnsiState::Text, LEAD) => {
                self.held.push(byte);
                self.state = AnsiState::Lead;
            }
            (AnsiState::Lead, 0x80..=0x9f) => {
                self.close();
                self.state = match byte {
                    0x9b => AnsiState::Csi,
                    0x9d => AnsiState::Osc,
                    0x90 | 0x98 | 0x9e | 0x9f => AnsiState::String,
                    _ => AnsiState::Text,
                };
            }
            (AnsiState::Lead, _) => {
                self.give_up(text);
                self.step(byte, text);
            }
            (AnsiState::Text, _) => keep(byte, text),
            (AnsiState::Escape, b'[') if self.held.is_empty() => self.open(byte, AnsiState::Csi),
            (AnsiState::Escape, b']') if self.held.is_empty() => self.open(byte, AnsiState::Osc),
            (AnsiState::Escape, b'P' | b'X' | b'^' | b'_') if self.held.is_empty() => {
                self.open(byte, AnsiState::String)
            }
            (AnsiState::Escape, 0x20..=0x2f) if self.held.len() + 1 < LONGEST_CSI => self.held.push(byte),
            (AnsiState::Csi, b'm') if self.colours && self.held.iter().all(|byte| matches!(byte, b'0'..=b';')) => {
                text.extend_from_slice(b"\x1b[");
                text.append(&mut self.held);
                text.push(b'm');
                self.close();
            }
            (AnsiState::Escape, _) if ends_escape(&self.held, byte) => self.close(),
            // The redactor takes this letter for text, so it is shown as text.
            (AnsiState::Csi, b'a'..=b'z') if !is_final(&self.held, byte) => {
                self.close();
                self.step(byte, text);
            }
            (AnsiState::Csi, 0x40..=0x7e) | (AnsiState::Osc, BEL) => self.close(),
            (AnsiState::Csi, 0x20..=0x3f) if self.held.len() + 2 < LONGEST_CSI => self.held.push(byte),
            (AnsiState::Osc | AnsiState::String, ESC) => self.state = AnsiState::StringEscape,
            (AnsiState::Osc | AnsiState::String, b'\t' | 0x20..=0x7e | 0x80..)
                if self.held.len() + 2 < LONGEST_STRING =>
            {
                self.held.push(byte);
            }
            (AnsiState::StringEscape, b'\\') => self.close(),
            (AnsiState::StringEscape, _) => {
                self.give_up(text);
                self.state = AnsiState::Escape;
                self.step(byte, text);
            }
            (AnsiState::Escape | AnsiState::Csi | AnsiState::Osc | AnsiState::String, _) => {
                self.give_up(text);
                self.step(byte, text);
            }
        }
    }

    fn open(&mut self, byte: u8, state: AnsiState) {
        self.opener = Some(byte);
        self.state = state;
    }

    fn close(&mut self) {
        self.opener = None;
        self.held.clear();
        self.state = AnsiState::Text;
    }

    /// The sequence was none. All but ESC is shown, as the redactor has taken it.
    fn give_up(&mut self, text: &mut Vec<u8>) {
        text.extend(self.opener.take());
        text.append(&mut self.held);
        self.state = AnsiState::Text;
    }
}

fn keep(byte: u8, text: &mut Vec<u8>) {
    if is_text(byte) || byte == LEAD {
        text.push(byte);
    }
}

/// How many bytes at the beginning are text. Whole blocks are looked at without a branch for each byte, which is many times
/// as fast.
fn plain(bytes: &[u8]) -> usize {
    const BLOCK: usize = 64;
    let all_text = |block: &&[u8]| block.iter().fold(true, |all, byte| all & is_text(*byte));
    let blocks = bytes.chunks_exact(BLOCK).take_while(all_text).count() * BLOCK;
    let rest = bytes.get(blocks..).unwrap_or_default();
    blocks + rest.iter().take_while(|&&byte| is_text(byte)).count()
}

fn is_text(byte: u8) -> bool {
    matches!(byte, 0 | b'\n' | b'\t' | b'\r' | 0x20..=0x7e | 0x80..) && byte != LEAD
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strip<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut stripper = Stripper::default();
        let mut text: Vec<u8> = chunks.into_iter().flat_map(|chunk| stripper.push(chunk)).collect();
        text.extend(stripper.finish());
        text
    }

    #[test]
    fn sequences_go_and_text_stays() {
        for (raw, text) in [
            ("plain\ttext\r\n", "plain\ttext\r\n"),
            ("\x1b[1;31mred\x1b[0m", "red"),
            ("\x1b[?25l\x1b[2K\x1b[38:2:1:2:3mx", "x"),
            ("\x1b]0;a title\x07x\x1b]8;;http://e\x1b\\link\x1b]8;;\x1b\\", "xlink"),
            ("\x1bPq#0;2;0~-\x1b\\x\x1b_apc\x1b\\\x1b^pm\x1b\\y", "xy"),
            ("\x1b(B\x1b7\x1b8\x1bMx\x1b#8", "x"),
            ("a\x08b\x00c\x07d\x7fe\x0bf", "ab\0cdef"),
            ("caf\u{e9} \u{a9} \u{1f600}", "caf\u{e9} \u{a9} \u{1f600}"),
            ("\u{9b}31mred\u{9b}2J \u{9d}0;a title\x07x\u{90}q\x1b\\y\u{85}z", "red xyz"),
            ("\u{9b}31\nnext line", "31\nnext line"),
            ("\x1b[31\nnext line", "[31\nnext line"),
            ("\x1b]0;never closed\nnext line", "]0;never closed\nnext line"),
            ("\x1b]0;cut by\x1b[1mcolour", "]0;cut bycolour"),
            ("\x1b]0;cancelled\x18 text", "]0;cancelled text"),
            ("\x1b\x1b[1mx", "x"),
            ("\x1bghp_a \x1b[hf_b \x1b(ghp_c", "ghp_a hf_b (ghp_c"),
            ("\x1b]0;at the end", "]0;at the end"),
            ("\x1b", ""),
            ("\x1b\u{e9}", "\u{e9}"),
        ] {
            assert_eq!(String::from_utf8_lossy(&strip([raw.as_bytes()])), text, "{raw:?}");
        }
    }

    #[test]
    fn only_renditions_stay_where_they_are_wanted() {
        for (raw, text) in [
            ("\x1b[1;31mred\x1b[0m\x1b[m", "\x1b[1;31mred\x1b[0m\x1b[m"),
            ("\x1b[38:2:1:2:3mx\x1b[38;5;8my", "\x1b[38:2:1:2:3mx\x1b[38;5;8my"),
            ("\x1b]52;c;aGk=\x07a\x1b]0;title\x1b\\b\x1b]8;;http://e\x1b\\c", "abc"),
            ("\x1bP+q544e\x1b\\a\x1b_apc\x1b\\b\x1b^pm\x1b\\c\x1bXsos\x1b\\d", "abcd"),
            ("\x1b[2Ja\x1b[1;1Hb\x1b[5nc\x1b[?25hd\x1b[6ne\x1b[1Af\x1bcg", "abcdefg"),
            ("\x1b[>4;2ma\x1b[?4mb\x1b[1 mc", "abc"),
            ("\x1b[31\nx\x08\x7f", "[31\nx"),
        ] {
            for size in [1, 2, 1000] {
                let mut stripper = Stripper::with_colours();
                let mut kept: Vec<u8> = raw.as_bytes().chunks(size).flat_map(|chunk| stripper.push(chunk)).collect();
                kept.extend(stripper.finish());
                assert_eq!(String::from_utf8_lossy(&kept), text, "{raw:?}");
            }
        }
    }

    #[test]
    fn an_open_string_swallows_no_more_than_its_bound() {
        for opener in ["\x1b]", "\x1bP", "\x1b_"] {
            let mut stripper = Stripper::default();
            let raw = format!("{opener}{}", "x".repeat(100_000));
            assert_eq!(stripper.push(raw.as_bytes()).len(), 100_001, "nothing is held back after the bound");
        }
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same(
            pieces in prop::collection::vec(prop_oneof![
                Just(b"\x1b".to_vec()), Just(b"\x1b]0;t".to_vec()), Just(b"\x1b\\".to_vec()), Just(b"\x07\n".to_vec()),
                Just(b"\x1b[1;3".to_vec()), Just(b"m".to_vec()), Just(b"\x1bP".to_vec()), Just(vec![b'y'; 5000]),
                prop::collection::vec(any::<u8>(), 0..20),
            ], 0..20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let raw = pieces.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(raw.len() + 1)).chain([0, raw.len()]).collect();
            cuts.sort_unstable();
            let chunked = strip(cuts.windows(2).map(|cut| &raw[cut[0]..cut[1]]));
            prop_assert_eq!(&chunked, &strip([raw.as_slice()]));
            prop_assert_eq!(&chunked, &strip(raw.chunks(1)));
            prop_assert!(chunked.iter().all(|&byte| is_text(byte) || byte == LEAD));
        }
    }
}
