//! Splits a stream into what a reader sees and what only a terminal does: decides which bytes stand between the bytes of
//! a word without being part of it.
//!
//! Rules match on the [`CleanText`], which lacks escape sequences, carriage returns, NUL and other control codes, and invisible
//! characters; what it lacks is kept as gaps, so that text that stays is given out byte by byte as it came. What an escape
//! sequence carries as text (a title, the address of a link) is handed to the caller, for it can hold a secret of its own.
//!
//! This file does not decide what a secret is, nor what a result shows: that is `crate::output`'s business.

use std::collections::VecDeque;

use super::secret::Secret;

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;

/// A sequence that paints or moves is short; a longer one is none.
const LONGEST_CSI: usize = 64;
/// Titles, links and pictures may take this many bytes.
const LONGEST_STRING: usize = 4096;
/// Each visible byte earns room for so many bytes of noise, and no more than `MOST_ROOM` are saved up. Noise beyond it
/// counts as text. So the noise that a stretch of text can hide is bounded, and memory with it.
const ROOM_PER_BYTE: usize = 32;
const MOST_ROOM: usize = 16 * 1024;

/// Text without noise, and the noise that was taken out of it.
#[derive(Debug, Default)]
pub(super) struct CleanText {
    /// What a reader sees.
    text: Secret,
    gaps: VecDeque<Gap>,
    /// The bytes of all gaps, in order.
    noise: VecDeque<u8>,
    /// Where the last gap stood that has been taken out.
    passed: Option<usize>,
}

/// Bytes that stood before the byte at `at` of the view.
#[derive(Clone, Copy, Debug)]
struct Gap {
    at: usize,
    /// How many bytes are kept of it.
    kept: usize,
    /// How many bytes it took up in the stream.
    raw: usize,
    /// An escape sequence, which a terminal needs even if the text around it goes.
    escape: bool,
}

/// A gap that has been taken out of a view.
#[derive(Debug)]
pub(super) struct Noise {
    pub(super) bytes: Vec<u8>,
    pub(super) raw: usize,
    pub(super) escape: bool,
}

impl CleanText {
    /// What a reader sees; all offsets of the redactor are into it.
    #[inline]
    pub(super) fn text(&self) -> &[u8] {
        self.text.bytes()
    }

    /// Takes the text out, for a moment.
    pub(super) fn take_text(&mut self) -> Secret {
        std::mem::take(&mut self.text)
    }

    /// Puts it back.
    pub(super) fn put_text(&mut self, text: Secret) {
        self.text = text;
    }

    /// Whether noise stands directly before the byte at `at`.
    pub(super) fn has_gap(&self, at: usize) -> bool {
        self.passed == Some(at) || self.gaps.binary_search_by_key(&at, |gap| gap.at).is_ok()
    }

    /// The first gap at or after `from`.
    pub(super) fn next_gap(&self, from: usize) -> Option<usize> {
        let next = self.gaps.partition_point(|gap| gap.at < from);
        self.gaps.get(next).map(|gap| gap.at)
    }

    /// Takes out the first gap if it stands before `limit`.
    pub(super) fn take_gap_before(&mut self, limit: usize) -> Option<(usize, Noise)> {
        let gap = *self.gaps.front().filter(|gap| gap.at < limit)?;
        self.gaps.pop_front();
        self.passed = Some(gap.at);
        let bytes = self.noise.drain(..gap.kept).collect();
        Some((gap.at, Noise { bytes, raw: gap.raw, escape: gap.escape }))
    }

    /// Drops the first `count` bytes of the text; no gap may stand before them any more.
    pub(super) fn drop_front(&mut self, count: usize) {
        self.text.drop_front(count);
        self.passed = self.passed.and_then(|at| at.checked_sub(count));
        for gap in &mut self.gaps {
            gap.at -= count;
        }
    }

    fn add_gap(&mut self, bytes: &[u8], raw: usize, escape: bool) {
        let at = self.text().len();
        self.noise.extend(bytes);
        match self.gaps.back_mut() {
            Some(last) if last.at == at && last.escape == escape => {
                last.kept += bytes.len();
                last.raw += raw;
            }
            Some(_) | None => self.gaps.push_back(Gap { at, kept: bytes.len(), raw, escape }),
        }
    }
}

/// Tells noise from text, whatever the chunks they come in.
#[derive(Debug)]
pub(super) struct Normaliser {
    state: NoiseState,
    /// What an open sequence has swallowed so far, from its first byte on.
    held: Secret,
    room: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum NoiseState {
    #[default]
    Text,
    /// The first bytes of a character that may be invisible.
    Character,
    /// ESC, and then perhaps intermediate bytes.
    Escape,
    /// ESC `[`: parameters until a final byte.
    Csi,
    /// ESC `]`: until BEL or ESC `\`.
    Osc,
    /// ESC `P`, `X`, `^` or `_`: until ESC `\`.
    String,
    /// ESC within one of the last two.
    StringEscape,
    /// A whole sequence, unless its last byte is the first of a word: the next byte tells.
    Ending,
}

impl Default for Normaliser {
    fn default() -> Self {
        Self { state: NoiseState::Text, held: Secret::default(), room: MOST_ROOM }
    }
}

impl Normaliser {
    /// Adds the next bytes to the view. `inner` is given the text that a sequence carries and returns what to keep of it.
    pub(super) fn push(&mut self, bytes: &[u8], view: &mut CleanText, inner: &mut dyn FnMut(&[u8]) -> Vec<u8>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.state == NoiseState::Text {
                let plain = plain_length(rest);
                let (text, tail) = rest.split_at(plain);
                view.text.extend(text);
                self.room = self.room.saturating_add(plain.saturating_mul(ROOM_PER_BYTE)).min(MOST_ROOM);
                rest = tail;
            }
            if let [byte, tail @ ..] = rest {
                self.step(*byte, view, inner);
                rest = tail;
            }
        }
    }

    /// Ends the stream: what an unfinished sequence had swallowed is text.
    pub(super) fn finish(&mut self, view: &mut CleanText) {
        if self.state == NoiseState::Ending {
            self.close(view);
        }
        self.give_up(view);
    }

    /// Whether something is held that is neither text nor noise yet.
    pub(super) fn is_open(&self) -> bool {
        self.state != NoiseState::Text
    }

    fn step(&mut self, byte: u8, view: &mut CleanText, inner: &mut dyn FnMut(&[u8]) -> Vec<u8>) {
        match (self.state, byte) {
            (NoiseState::Text, ESC) => self.hold(byte, NoiseState::Escape),
            (NoiseState::Text, 0xc2 | 0xcd | 0xd8 | 0xe1 | 0xe2 | 0xef) => self.hold(byte, NoiseState::Character),
            (NoiseState::Text, _) if is_control(byte) => self.noise(&[byte], 1, false, view),
            (NoiseState::Text, _) => self.text(&[byte], view),
            (NoiseState::Character, _) => self.character(byte, view, inner),
            (NoiseState::Escape, b'[') if self.held.bytes().len() == 1 => self.hold(byte, NoiseState::Csi),
            (NoiseState::Escape, b']') if self.held.bytes().len() == 1 => self.hold(byte, NoiseState::Osc),
            (NoiseState::Escape, b'P' | b'X' | b'^' | b'_') if self.held.bytes().len() == 1 => {
                self.hold(byte, NoiseState::String)
            }
            (NoiseState::Escape, 0x20..=0x2f) if self.held.bytes().len() < LONGEST_CSI => {
                self.hold(byte, NoiseState::Escape)
            }
            (NoiseState::Csi, 0x20..=0x3f) if self.held.bytes().len() < LONGEST_CSI => self.hold(byte, NoiseState::Csi),
            // `ESC [ 3 1` and then a token whose first letter would be the final byte.
            (NoiseState::Csi, b'a'..=b'z') if !is_final(self.held.bytes().get(2..).unwrap_or_default(), byte) => {
                self.state = NoiseState::Text;
                self.close(view);
                self.text(&[byte], view);
            }
            (NoiseState::Escape, _) if ends_escape(self.held.bytes().get(1..).unwrap_or_default(), byte) => {
                self.hold(byte, NoiseState::Ending);
            }
            (NoiseState::Csi, b'a'..=b'l' | b'n'..=b'z') if self.held.bytes().len() == 2 => {
                self.hold(byte, NoiseState::Ending);
            }
            (NoiseState::Csi, 0x40..=0x7e) => {
                self.hold(byte, NoiseState::Text);
                self.close(view);
            }
            // `ESC M` and then `IIEv…` in the place where a word can begin.
            (NoiseState::Ending, _)
                if self.held.bytes().last().is_some_and(u8::is_ascii_alphabetic)
                    && is_of_word(byte)
                    && !view.text().last().copied().is_some_and(is_of_word) =>
            {
                let first = self.held.bytes().last().copied();
                self.held.drop_last();
                self.close(view);
                self.text(first.as_slice(), view);
                self.state = NoiseState::Text;
                self.step(byte, view, inner);
            }
            (NoiseState::Ending, _) => {
                self.close(view);
                self.state = NoiseState::Text;
                self.step(byte, view, inner);
            }
            (NoiseState::Osc, BEL) => self.close_string(&[byte], view, inner),
            (NoiseState::Osc | NoiseState::String, ESC) => self.hold(byte, NoiseState::StringEscape),
            (NoiseState::Osc | NoiseState::String, b'\t' | 0x20..=0x7e | 0x80..)
                if self.held.bytes().len() < LONGEST_STRING =>
            {
                self.hold(byte, self.state);
            }
            (NoiseState::StringEscape, b'\\') => {
                self.held.drop_last();
                self.close_string(&[ESC, byte], view, inner);
            }
            (NoiseState::StringEscape, _) => {
                self.held.drop_last();
                self.give_up(view);
                self.hold(ESC, NoiseState::Escape);
                self.step(byte, view, inner);
            }
            (NoiseState::Escape | NoiseState::Csi | NoiseState::Osc | NoiseState::String, _) => {
                self.give_up(view);
                self.step(byte, view, inner);
            }
        }
    }

    fn hold(&mut self, byte: u8, state: NoiseState) {
        self.held.extend(&[byte]);
        self.state = state;
    }

    /// A character of two or three bytes, some of which nobody can see.
    fn character(&mut self, byte: u8, view: &mut CleanText, inner: &mut dyn FnMut(&[u8]) -> Vec<u8>) {
        if byte & 0xc0 != 0x80 {
            self.give_up(view);
            return self.step(byte, view, inner);
        }
        self.held.extend(&[byte]);
        let whole = if matches!(self.held.bytes().first(), Some(0xe1..)) { 3 } else { 2 };
        if self.held.bytes().len() < whole {
            return;
        }
        // The 8-bit forms of `ESC [`, `ESC ]` and the others, as some terminals take them: as long as those, two bytes.
        match self.held.bytes() {
            [0xc2, 0x9b] => return self.state = NoiseState::Csi,
            [0xc2, 0x9d] => return self.state = NoiseState::Osc,
            [0xc2, 0x90 | 0x98 | 0x9e | 0x9f] => return self.state = NoiseState::String,
            _ => {}
        }
        let character = std::mem::take(&mut self.held);
        self.state = NoiseState::Text;
        if is_invisible(character.bytes()) {
            self.noise(character.bytes(), character.bytes().len(), false, view);
        } else {
            self.text(character.bytes(), view);
        }
    }

    fn close(&mut self, view: &mut CleanText) {
        let sequence = std::mem::take(&mut self.held);
        self.noise(sequence.bytes(), sequence.bytes().len(), true, view);
    }

    fn close_string(&mut self, end: &[u8], view: &mut CleanText, inner: &mut dyn FnMut(&[u8]) -> Vec<u8>) {
        let sequence = std::mem::take(&mut self.held);
        self.state = NoiseState::Text;
        let (begin, carried) = sequence.bytes().split_at(sequence.bytes().len().min(2));
        let kept = [begin, &inner(carried), end].concat();
        self.noise(&kept, sequence.bytes().len() + end.len(), true, view);
    }

    /// The sequence was none: what it had swallowed is text.
    fn give_up(&mut self, view: &mut CleanText) {
        self.state = NoiseState::Text;
        let held = std::mem::take(&mut self.held);
        let rest = match held.bytes() {
            // The opener of 8 bits is a control code by itself.
            [0xc2, second @ 0x80..=0x9f, rest @ ..] => {
                self.noise(&[0xc2, *second], 2, false, view);
                rest
            }
            held => held,
        };
        for &byte in rest {
            if is_control(byte) {
                self.noise(&[byte], 1, false, view);
            } else {
                self.text(&[byte], view);
            }
        }
    }

    fn text(&mut self, bytes: &[u8], view: &mut CleanText) {
        view.text.extend(bytes);
        self.room = (self.room + bytes.len() * ROOM_PER_BYTE).min(MOST_ROOM);
    }

    fn noise(&mut self, bytes: &[u8], raw: usize, escape: bool, view: &mut CleanText) {
        match self.room.checked_sub(raw.max(bytes.len())) {
            Some(room) => {
                self.room = room;
                view.add_gap(bytes, raw, escape);
            }
            None => view.text.extend(bytes),
        }
    }
}

/// How many bytes at the beginning are text for certain.
fn plain_length(bytes: &[u8]) -> usize {
    const STRIDE: usize = 64;
    let certain =
        bytes.chunks_exact(STRIDE).take_while(|part| !part.iter().fold(false, |any, &b| any | is_doubtful(b)));
    let whole = certain.count() * STRIDE;
    let rest = bytes.get(whole..).unwrap_or_default();
    whole + rest.iter().take(STRIDE).take_while(|&&byte| !needs_a_look(byte)).count()
}

/// Cheaper than [`needs_a_look`], and true more often.
fn is_doubtful(byte: u8) -> bool {
    (byte < 0x20) & (byte != b'\n') & (byte != b'\t') | (byte >= 0x7f)
}

fn needs_a_look(byte: u8) -> bool {
    is_control(byte) || matches!(byte, 0xc2 | 0xcd | 0xd8 | 0xe1 | 0xe2 | 0xef)
}

/// Whether a byte ends a sequence that began with ESC and these bytes. Only sequences that terminals know are meant, and of small
/// letters `c` alone: any other byte behind ESC is text, for a secret can begin with it.
pub(crate) fn ends_escape(intermediates: &[u8], byte: u8) -> bool {
    match intermediates {
        [] => matches!(byte, b'7' | b'8' | b'=' | b'>' | b'D' | b'E' | b'H' | b'M' | b'N' | b'O' | b'Z' | b'\\' | b'c'),
        _ => matches!(byte, b'0'..=b'Z'),
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Whether a small letter can end a sequence with these parameters. `m` paints and is met everywhere; the others are
/// rare and want parameters of their own, if any.
pub(crate) fn is_final(parameters: &[u8], byte: u8) -> bool {
    let several = parameters.contains(&b';');
    match (byte, parameters) {
        (b'm', _) | (_, [b'<'..=b'?', ..]) => true,
        // Without any, few are ever sent: behind `ESC [` the first letter of a secret is rather its own.
        (_, []) => matches!(byte, b'c' | b'g' | b'r' | b's' | b'u'),
        (b'f' | b'r' | b's' | b't' | b'x' | b'y', _) => several,
        (b'n', [b'5' | b'6']) | (b'g', [b'0' | b'3']) | (b'c', [b'0']) | (b'i', [b'4' | b'5']) => true,
        (b'h' | b'l', _) => matches!(parameters, [b'2' | b'4'] | [b'1' | b'2', b'0']),
        (b'a' | b'b' | b'd' | b'e' | b'j' | b'k', [b'0'..=b'9'] | [b'0'..=b'9', b'0'..=b'9']) => true,
        (b'p' | b'q' | b'u' | b'v' | b'w' | b'z', _) => several || parameters.iter().any(|byte| !byte.is_ascii_digit()),
        _ => false,
    }
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 && byte != b'\n' && byte != b'\t' || byte == 0x7f
}

/// Characters that take no room: control codes of 8 bits, soft hyphen, joiners, marks of direction, selectors, the byte order mark.
fn is_invisible(character: &[u8]) -> bool {
    matches!(
        character,
        [0xc2, 0x80..=0x9f | 0xad]
            | [0xcd, 0x8f]
            | [0xd8, 0x9c]
            | [0xe1, 0xa0, 0x8b..=0x8f]
            | [0xe2, 0x80, 0x8b..=0x8f | 0xaa..=0xae]
            | [0xe2, 0x81, 0xa0..=0xaf]
            | [0xef, 0xb8, 0x80..=0x8f]
            | [0xef, 0xbb, 0xbf]
    )
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<u8>) {
        let (mut normaliser, mut view) = (Normaliser::default(), CleanText::default());
        for chunk in chunks {
            normaliser.push(chunk, &mut view, &mut |carried| carried.to_vec());
        }
        normaliser.finish(&mut view);
        let text = view.text().to_vec();
        let (mut whole, mut at) = (Vec::new(), 0);
        while let Some((gap, noise)) = view.take_gap_before(usize::MAX) {
            whole.extend_from_slice(&text[at..gap]);
            whole.extend_from_slice(&noise.bytes);
            at = gap;
        }
        whole.extend_from_slice(&text[at..]);
        (text, whole)
    }

    #[test]
    fn a_reader_sees() {
        for (raw, text) in [
            ("plain\ttext\n", "plain\ttext\n"),
            ("one\r\ntwo\rthree", "one\ntwothree"),
            ("\x1b[1;31mred\x1b[0m", "red"),
            ("\x1b]0;a title\x07shown\x1b]8;;http://a/\x1b\\link", "shownlink"),
            ("\x1bP1$r0m\x1b\\dcs \x1b(B\x1b7charset", "dcs charset"),
            ("w\0i\0d\0e\0", "wide"),
            ("zero\u{200b}width\u{feff}\u{ad}\u{2060}s", "zerowidths"),
            ("caf\u{e9} \u{20ac} \u{2026} \u{2502} \u{1f600}", "caf\u{e9} \u{20ac} \u{2026} \u{2502} \u{1f600}"),
            ("\x1b[unfinished\n\x1b]2;also\nnot", "unfinished\n]2;also\nnot"),
            ("cut \x1b[3", "cut [3"),
            ("\x1b[fuzz \x1b[hunter2 \x1b[s\x1b[u\x1b[mx", "fuzz hunter2 x"),
            (
                "\x1b[31ghp_x \x1b[31npm_x \x1b[31sk-x \x1b[3gtabs\x1b[?25hshown\x1b[s\x1b[2;9rx",
                "ghp_x npm_x sk-x tabsshownx",
            ),
            ("\u{8}\u{7f}", ""),
            ("\x1b[ghp_x a\x1b[sb\x1b[u", "ghp_x ab"),
            ("\x1bghp_x \x1bMIIx \x1b(AKIAx", "ghp_x MIIx AKIAx"),
            ("gh\x1bMp_x \x1b7\x1b[1mx\x1b8 \x1b(B\x1b[m\x1b#8 \x1b%G\x1bM", "ghp_x x  "),
        ] {
            let (seen, whole) = split([raw.as_bytes()]);
            assert_eq!(String::from_utf8_lossy(&seen), text, "{raw:?}");
            assert_eq!(whole, raw.as_bytes(), "{raw:?}");
        }
    }

    #[test]
    fn floods_of_noise_become_text() {
        for flood in ["\0", "\x1b[m", "\u{200b}"] {
            let raw = flood.repeat(100_000);
            let (seen, whole) = split([raw.as_bytes()]);
            assert!(seen.len() > raw.len() / 2, "{flood:?}");
            assert_eq!(whole, raw.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter_and_nothing_is_lost(
            parts in prop::collection::vec(
                prop_oneof![
                    "[a-z\\n]{0,80}".prop_map(String::into_bytes),
                    "\x1b[\\]\\[P][0-9;]{0,6}[mH\x07]?".prop_map(String::into_bytes),
                    prop::sample::select(vec!["\u{200b}", "\u{2026}", "\x1b\\", "\0", "\r"]).prop_map(|s| s.as_bytes().to_vec()),
                    prop::collection::vec(any::<u8>(), 0..12),
                ],
                0..40,
            ),
            size in 1_usize..20,
        ) {
            let raw = parts.concat();
            let (seen, whole) = split([raw.as_slice()]);
            prop_assert_eq!(&whole, &raw);
            prop_assert_eq!(&split(raw.chunks(size)).0, &seen);
        }
    }
}
