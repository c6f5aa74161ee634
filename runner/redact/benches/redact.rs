//! What redaction costs, beside two yardsticks on the same bytes: copying them, and walking a bare automaton over them.
//!
//! The ratio to `automaton` says more than the figures themselves, which follow the machine.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot start may stop")]

use aho_corasick::automaton::Automaton as _;
use aho_corasick::{Anchored, dfa};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use palisade_redact::{KnownValue, Redactor, Rules};

const SIZE: usize = 4 * 1024 * 1024;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// What a pipe is read in.
const CHUNK: usize = 64 * 1024;

fn main() {
    divan::main();
}

#[divan::bench(args = [Input::Log, Input::Base64], consts = [0, 10, 100, 2000])]
fn redact<const KNOWN: usize>(bencher: Bencher<'_, '_>, input: &Input) {
    let (data, redactor) = (input.bytes(), Redactor::builtin().unwrap().with_known(&known(KNOWN)));
    bencher.counter(BytesCount::of_slice(&data)).bench_local(|| redacted(&redactor, &data));
}

/// The dearest text that was found: the names of variables that never get a value.
#[divan::bench(sample_count = 10)]
fn flood(bencher: Bencher<'_, '_>) {
    let (data, redactor) = ("_PASS=".repeat(40_000).into_bytes(), Redactor::builtin().unwrap());
    bencher.counter(BytesCount::of_slice(&data)).bench_local(|| redacted(&redactor, &data));
}

fn redacted(redactor: &Redactor, data: &[u8]) -> usize {
    let mut stream = redactor.stream();
    let pushed: usize = data.chunks(CHUNK).map(|chunk| stream.push(chunk).len()).sum();
    pushed + stream.finish().len()
}

/// Tokens of 24 bytes, as variables hold them.
fn known(count: usize) -> Vec<KnownValue> {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut value = || (0..24).filter_map(|_| ALPHABET.get(random.below(64))).copied().collect::<Vec<u8>>();
    (0..count).map(|number| KnownValue::new(format!("VARIABLE_{number}"), value())).collect()
}

/// The search for the same anchors, and nothing else.
#[divan::bench(args = [Input::Log, Input::Base64])]
fn automaton(bencher: Bencher<'_, '_>, input: &Input) {
    let (data, rules) = (input.bytes(), Rules::builtin().unwrap());
    let dfa = dfa::DFA::builder().ascii_case_insensitive(true).prefilter(false).build(rules.anchors()).unwrap();
    bencher.counter(BytesCount::of_slice(&data)).bench_local(|| {
        let mut state = dfa.start_state(Anchored::No).unwrap();
        let mut matches = 0_usize;
        for &byte in black_box(&data) {
            state = dfa.next_state(Anchored::No, state, byte);
            matches += usize::from(dfa.is_special(state) && dfa.is_match(state));
        }
        matches
    });
}

#[divan::bench(args = [Input::Log, Input::Base64])]
fn copy(bencher: Bencher<'_, '_>, input: &Input) {
    let data = input.bytes();
    bencher.counter(BytesCount::of_slice(&data)).bench_local(|| black_box(&data).clone());
}

#[divan::bench]
fn load_rules() -> Redactor {
    Redactor::builtin().unwrap()
}

#[derive(Debug)]
enum Input {
    /// Build output, source lines and request logs, with a secret now and then.
    Log,
    /// Random bytes in Base64: long runs of what tokens are made of.
    Base64,
}

impl std::fmt::Display for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Input {
    fn bytes(&self) -> Vec<u8> {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut bytes = Vec::with_capacity(SIZE + 256);
        while bytes.len() < SIZE {
            match self {
                Self::Log => bytes.extend_from_slice(log_line(&mut random).as_bytes()),
                Self::Base64 => {
                    bytes.extend((0..76).filter_map(|_| ALPHABET.get(random.below(64))));
                    bytes.push(b'\n');
                }
            }
        }
        bytes.truncate(SIZE);
        bytes
    }
}

fn log_line(random: &mut Random) -> String {
    let (a, b) = (random.below(1000), random.below(100_000));
    match random.below(4000) {
        0 => format!("DB_PASSWORD=EXAMPLEpw{b}\n"),
        1 => format!("> Authorization: Bearer EXAMPLE{b:020}\n"),
        2 => format!("    let token = self.tokens.next().ok_or(Error::UnexpectedEnd({a}))?;\n"),
        3 => format!("origin https://git.example.com/team{a}/project.git (fetch)\n"),
        4..800 => format!("   Compiling some-crate-{a} v0.{a}.{b}\n"),
        800..1600 => {
            format!("src/module{a}.rs:{b}:    fn handle(&self, request: &Request) -> Result<Response, Error> {{\n")
        }
        1600..2400 => format!("test module{a}::tests::case_{b} ... ok\n"),
        2400..3200 => format!("2026-01-02T03:04:05Z INFO  worker-{a} handled GET /items/{b}?page=2 200 in {a} us\n"),
        _ => format!("-rw-r--r-- 1 build build {b:>8} Jan  2 03:04 target/release/deps/libitem{a}-{b:016x}.rlib\n"),
    }
}

/// A small generator (xorshift), so that every run sees the same bytes.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % bound
    }
}
