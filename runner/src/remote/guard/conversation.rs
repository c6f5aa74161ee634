//! What the server hears of a guard: which answers are believed, and whose they are. No I/O.
//!
//! The far end is this very program, but runs as a user whom an agent may be, too. So whatever comes, in whatever pieces: an answer is given to
//! whoever asked that very question, once; what nobody has asked is a refusal or a limit that was passed, and nothing else; and what is none
//! of this ends the conversation.

use std::collections::BTreeMap;

use memchr::memmem;
use palisade_sandbox::meter::Exceeded;

use super::message::{Answer, Frames, MAX_ANSWER, NoMessage, Numbered, Order, encode};
use crate::guard::Refusal;

/// Bytes that a login may say of itself before the guard does.
const MAX_GREETING: usize = 1 << 20;

/// What a login says of itself, up to where the guard's own words begin.
#[derive(Debug)]
pub struct Greeting {
    begin: Vec<u8>,
    said: Vec<u8>,
    /// So much of it was looked through.
    seen: usize,
}

impl Greeting {
    /// For a guard that begins with this word, which nobody can know before it is started.
    pub fn new(word: &str) -> Self {
        Self { begin: [b"\0", word.as_bytes(), b"\0"].concat(), said: Vec::new(), seen: 0 }
    }

    /// Takes what comes; what has come already behind the greeting, once that is over.
    ///
    /// # Errors
    /// If it is too long.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, NoMessage> {
        self.said.extend_from_slice(bytes);
        let found = memmem::find(self.said.get(self.seen..).unwrap_or_default(), &self.begin);
        if let Some(at) = found.map(|at| self.seen + at).filter(|at| *at <= MAX_GREETING) {
            return Ok(Some(self.said.split_off(at + self.begin.len())));
        }
        if found.is_some() || self.said.len() > MAX_GREETING + self.begin.len() {
            return Err(NoMessage);
        }
        // Its beginning may stand at the end of what has come.
        self.seen = self.said.len().saturating_sub(self.begin.len());
        Ok(None)
    }
}

/// The questions that were asked of a guard, with whoever waits for the answer (`W`), and what comes back.
#[derive(Debug)]
pub struct Conversation<W> {
    frames: Frames,
    waiting: BTreeMap<u64, W>,
    last: u64,
    over: bool,
}

/// What a guard has said.
#[derive(Debug)]
pub enum Heard<W> {
    /// The answer to what somebody has asked.
    Answer(W, Answer),
    /// A program of this shell was refused.
    Refused(u64, Refusal),
    /// This shell has passed a limit.
    Exceeded(u64, Exceeded),
}

impl<W> Conversation<W> {
    /// Begins behind the greeting, with what has come behind it.
    pub fn new(rest: &[u8]) -> Self {
        let mut frames = Frames::new(MAX_ANSWER);
        frames.push(rest);
        Self { frames, waiting: BTreeMap::new(), last: 0, over: false }
    }

    /// What is to be sent to ask this, for somebody who waits for the answer.
    ///
    /// # Errors
    /// If it cannot be said.
    pub fn ask(&mut self, order: Order, who: W) -> Result<Vec<u8>, NoMessage> {
        let id = self.last + 1;
        let bytes = encode(&Numbered { id, body: order })?;
        self.last = id;
        self.waiting.insert(id, who);
        Ok(bytes)
    }

    /// Takes what comes. [`Self::heard`] is to be called until there is nothing more: what waits is bounded by that.
    pub fn push(&mut self, bytes: &[u8]) {
        self.frames.push(bytes);
    }

    /// What was said next; none until more comes.
    ///
    /// # Errors
    /// If something has come that no guard says. Nothing that comes behind it is believed.
    pub fn heard(&mut self) -> Result<Option<Heard<W>>, NoMessage> {
        let heard = if self.over { Err(NoMessage) } else { self.hear() };
        self.over |= heard.is_err();
        heard
    }

    fn hear(&mut self) -> Result<Option<Heard<W>>, NoMessage> {
        let Some(Numbered { id, body }) = self.frames.message::<Answer>()? else { return Ok(None) };
        Ok(Some(match (id, body) {
            (0, Answer::Refused { shell, refusal }) => Heard::Refused(shell, refusal),
            (0, Answer::Exceeded { shell, limit }) => Heard::Exceeded(shell, limit),
            (0, _) => return Err(NoMessage),
            (id, body) => Heard::Answer(self.waiting.remove(&id).ok_or(NoMessage)?, body),
        }))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn said(id: u64, body: Answer) -> Vec<u8> {
        encode(&Numbered { id, body }).unwrap()
    }

    fn refused() -> Answer {
        let words = String::new;
        let refusal = Refusal {
            script: None,
            program: words(),
            argv: Vec::new(),
            policy: words(),
            reason: words(),
            suggest: words(),
        };
        Answer::Refused { shell: 3, refusal }
    }

    #[test]
    fn an_answer_is_whose_question_it_answers() {
        let mut talk = Conversation::new(b"");
        for who in ["a", "b"] {
            talk.ask(Order::Stands { shell: 1 }, who).unwrap();
        }
        talk.push(&[said(2, Answer::Stands(None)), said(0, refused()), said(1, Answer::Done)].concat());
        assert!(matches!(talk.heard(), Ok(Some(Heard::Answer("b", Answer::Stands(None))))));
        assert!(matches!(talk.heard(), Ok(Some(Heard::Refused(3, _)))));
        assert!(matches!(talk.heard(), Ok(Some(Heard::Answer("a", Answer::Done)))));
        assert!(matches!(talk.heard(), Ok(None)));
    }

    #[test]
    fn nothing_is_believed_behind_what_no_guard_says() {
        let long = u32::try_from(MAX_ANSWER + 1).unwrap().to_be_bytes().to_vec();
        for bytes in [
            // Nobody has asked; somebody has had the answer; nobody may say this unasked.
            said(2, Answer::Done),
            [said(1, Answer::Done), said(1, Answer::Done)].concat(),
            said(0, Answer::Done),
            long,
        ] {
            let mut talk = Conversation::new(b"");
            talk.ask(Order::Stands { shell: 1 }, ()).unwrap();
            talk.push(&bytes);
            while talk.heard().is_ok_and(|heard| heard.is_some()) {}
            talk.push(&said(1, Answer::Done));
            assert!(talk.heard().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_greeting_ends_where_the_word_stands_whatever_the_pieces() {
        let text = b"welcome \0to\0 the\0word\0rest";
        for size in 1..text.len() {
            let mut greeting = Greeting::new("word");
            let mut pieces = text.chunks(size);
            let mut rest = pieces.find_map(|piece| greeting.hear(piece).unwrap()).unwrap();
            rest.extend(pieces.flatten());
            assert_eq!(rest, b"rest", "{size}");
        }
        let mut endless = Greeting::new("word");
        let mut pieces = std::iter::repeat_n([b'x'; 4096], 2 * MAX_GREETING / 4096);
        assert!(pieces.any(|piece| endless.hear(&piece).is_err()));
    }
}
