//! Whatever a guard at a target says, in whatever pieces: an answer is whose question it answers, once and as it was said, and behind what no
//! guard says nothing is believed. The same of what a server tells a guard: a message or none, and it reads as what was written.
//!
//! The first byte says what the rest is. In a conversation that is a list of acts, one byte each: low bits 0 say the bytes behind it as they
//! are, 1 say them as one message, 2 say them as what answers a question, whose number is the first of them, 3 ask one more question. The high
//! bits are how many bytes an act takes, in steps that become longer.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use palisade_runner::remote::guard::conversation::{Conversation, Greeting, Heard};
use palisade_runner::remote::guard::message::{Answer, Frames, MAX_ANSWER, MAX_ORDER, Numbered, Order, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// How long what an act takes may be.
const LENGTHS: [usize; 32] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 200, 256, 320,
    400, 512,
];

fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else { return };
    match first % 4 {
        0 => greeting(rest),
        1 => reads_back::<Order>(rest, MAX_ORDER),
        2 => reads_back::<Answer>(rest, MAX_ANSWER),
        _ => conversation(rest, usize::from(first >> 2) + 1),
    }
});

/// What stands in front of a guard's first word, and what behind it.
fn greeting(said: &[u8]) {
    const WORD: &str = "0123";
    let whole = [said, b"\0", WORD.as_bytes(), b"\0", said].concat();
    let begin = whole.windows(WORD.len() + 2).position(|part| part == b"\x000123\0").expect("it is there");
    for size in [1, 3, whole.len()] {
        let mut greeting = Greeting::new(WORD);
        let mut pieces = whole.chunks(size);
        let mut rest = pieces.find_map(|piece| greeting.hear(piece).expect("it is short")).expect("it comes");
        rest.extend(pieces.flatten());
        assert_eq!(rest, whole[begin + WORD.len() + 2..]);
    }
}

/// One message, of which the length is right.
fn reads_back<T: Serialize + DeserializeOwned>(body: &[u8], most: usize) {
    let read = |bytes: &[u8]| {
        let mut frames = Frames::new(most);
        frames.push(bytes);
        frames.message::<T>()
    };
    let Ok(message) = read(&framed(body)) else { return };
    let written = encode(&message.expect("it is whole")).expect("what was read can be written");
    let again = read(&written).expect("what was written can be read").expect("it is whole");
    assert_eq!(encode(&again).expect("a message"), written);
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short");
    [&length.to_be_bytes()[..], body].concat()
}

/// What happens: somebody asks, or something comes.
enum Act {
    Ask,
    Say(Vec<u8>),
}

fn conversation(acts: &[u8], size: usize) {
    let acts = acted(acts);
    let at_once = played(&acts, usize::MAX);
    assert_eq!(played(&acts, size), at_once, "the same is heard in any pieces");
    let (heard, ended) = at_once;
    // What was said, read by somebody who knows no more than the lengths.
    let said: Vec<u8> =
        acts.iter().flat_map(|act| if let Act::Say(bytes) = act { &bytes[..] } else { &[] }).copied().collect();
    let mut rest = &said[..];
    for (id, body) in &heard {
        let (length, behind) = rest.split_first_chunk::<4>().expect("a message has a length");
        let (message, behind) = behind.split_at(usize::try_from(u32::from_be_bytes(*length)).expect("a length"));
        rest = behind;
        let message: Value = serde_json::from_slice(message).expect("a message is JSON");
        let told: Answer = serde_json::from_value(message["body"].clone()).expect("it was understood");
        assert_eq!(
            (message["id"].as_u64(), &shown(&told)),
            (Some(*id), body),
            "somebody heard what was not said to him"
        );
    }
    let answers: Vec<u64> = heard.iter().map(|(id, _)| *id).filter(|id| *id > 0).collect();
    let different: BTreeSet<u64> = answers.iter().copied().collect();
    assert_eq!(different.len(), answers.len(), "a question is answered once");
    assert!(ended || rest.len() < MAX_ANSWER + 4, "what waits is bounded");
}

fn acted(mut rest: &[u8]) -> Vec<Act> {
    let mut acts = Vec::new();
    while let Some((act, behind)) = rest.split_first() {
        let (bytes, behind) = behind.split_at(behind.len().min(LENGTHS[usize::from(act >> 3)]));
        rest = behind;
        acts.push(match (act & 3, bytes.split_first()) {
            (0, _) => Act::Say(bytes.to_vec()),
            (1, _) => Act::Say(framed(bytes)),
            (2, Some((id, body))) => {
                let body: Value = serde_json::from_slice(body).unwrap_or_else(|_| json!("Done"));
                Act::Say(framed(json!({ "id": id, "body": body }).to_string().as_bytes()))
            }
            _ => Act::Ask,
        });
    }
    acts
}

/// All that is heard, each with the number of the question that it answers, 0 where nobody has asked; and whether that has ended.
fn played(acts: &[Act], size: usize) -> (Vec<(u64, String)>, bool) {
    let mut talk = Conversation::new(&[]);
    let (mut asked, mut heard) = (0, Vec::new());
    for act in acts {
        match act {
            Act::Ask => {
                asked += 1;
                let bytes = talk.ask(Order::Stands { shell: asked }, asked).expect("a question");
                let mut frames = Frames::new(MAX_ORDER);
                frames.push(&bytes);
                let Numbered { id, .. } = frames.message::<Order>().expect("a message").expect("it is whole");
                assert_eq!(id, asked, "a question has a number of its own");
            }
            Act::Say(bytes) => {
                for piece in bytes.chunks(size) {
                    talk.push(piece);
                    if !listened(&mut talk, asked, &mut heard) {
                        talk.push(&framed(br#"{"id":1,"body":"Done"}"#));
                        assert!(talk.heard().is_err(), "nothing is believed behind it");
                        return (heard, true);
                    }
                }
            }
        }
    }
    (heard, false)
}

/// Whether it goes on.
fn listened(talk: &mut Conversation<u64>, asked: u64, heard: &mut Vec<(u64, String)>) -> bool {
    loop {
        let said = match talk.heard() {
            Err(_) => return false,
            Ok(None) => return true,
            Ok(Some(Heard::Answer(id, answer))) => {
                assert!((1..=asked).contains(&id), "nobody has asked that");
                (id, shown(&answer))
            }
            Ok(Some(Heard::Refused(shell, refusal))) => (0, shown(&Answer::Refused { shell, refusal })),
            Ok(Some(Heard::Exceeded(shell, limit))) => (0, shown(&Answer::Exceeded { shell, limit })),
        };
        heard.push(said);
    }
}

fn shown(answer: &Answer) -> String {
    serde_json::to_string(answer).expect("an answer")
}
