//! How much the redactor finds, measured on a set that was written apart from its rules: tokens of vendors, values behind
//! names, keys, what commands print, hostile streams, and ordinary lines that must stay. The figures are printed with
//! `cargo test -p palisade-redact --test redaction -- --nocapture`.
//!
//! Nothing in here has ever been a secret: tables hold shapes, and the tests fill them in. A secret counts as missed if a
//! third of it is left.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a measurement that prints what it finds"
)]

mod hostile;
mod keys;
mod maker;
mod named;
mod ordinary;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use maker::{Random, made, marked, survives, unescaped};
use palisade_redact::Redactor;

/// How often each kind of token is made.
const TURNS: usize = 12;

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::builtin().unwrap());

#[test]
fn tokens_of_vendors() {
    let carriers: Vec<&str> = lines(include_str!("carriers.txt")).collect();
    let mut random = Random::new(1);
    let mut score = Score::default();
    for (number, line) in lines(include_str!("providers.txt")).enumerate() {
        let (kind, template) = line.split_once(char::is_whitespace).unwrap();
        for turn in 0..TURNS {
            // Quotes and backslashes are a matter of the carrier, so it goes round them all.
            let carrier = carriers[(number + turn * 5) % carriers.len()];
            let token = made(template.trim(), &mut random);
            let token = if token.contains('«') { token } else { format!("«{token}»") };
            score.ask(kind, &format!("{}\n", carrier.replace('X', &token)));
        }
    }
    assert!(score.kinds.len() >= 300);
    score.expect("tokens of vendors", 97.0);
}

#[test]
fn output_of_commands() {
    let mut random = Random::new(3);
    let mut score = Score::default();
    let mut kind = "";
    for line in lines(include_str!("shapes.txt")) {
        match line.strip_prefix("[") {
            Some(name) if line.ends_with(']') && !name.contains(' ') => kind = name.trim_end_matches(']'),
            _ => (0..TURNS).for_each(|_| score.ask(kind, &format!("{}\n", made(&unescaped(line), &mut random)))),
        }
    }
    score.expect("output of commands", 95.0);
}

/// The lines of a table that say something.
fn lines(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter(|line| !line.is_empty() && !line.starts_with("# "))
}

/// What was asked and what was missed.
#[derive(Default)]
struct Score {
    kinds: BTreeMap<String, (usize, usize)>,
    missed: Vec<(String, String)>,
}

impl Score {
    /// Redacts a text in which the secrets stand between « and ».
    fn ask(&mut self, kind: &str, text: &str) {
        let (text, secrets) = marked(text);
        let out = REDACTOR.text(&text);
        let found = secrets.iter().all(|secret| !survives(secret, out.as_str()));
        self.note(kind, found, || format!("{text:?} -> {:?}", out.as_str()));
    }

    fn note(&mut self, kind: &str, found: bool, example: impl FnOnce() -> String) {
        let (asked, missed) = self.kinds.entry(kind.to_owned()).or_default();
        *asked += 1;
        if !found {
            *missed += 1;
            self.missed.push((kind.to_owned(), example()));
        }
    }

    /// Prints the figure and the kinds that are not found, and wants at least `bar` in a hundred.
    fn expect(&self, what: &str, bar: f64) {
        let sum = |part: fn(&(usize, usize)) -> usize| {
            f64::from(u32::try_from(self.kinds.values().map(part).sum::<usize>()).unwrap())
        };
        let (asked, missed) = (sum(|kind| kind.0), sum(|kind| kind.1));
        let found = 100.0 * (asked - missed) / asked;
        println!("{what}: {found:.2} % of {asked} in {} kinds found, {bar} % wanted", self.kinds.len());
        let mut last = "";
        for (kind, example) in &self.missed {
            if kind != last || std::env::var_os("PALISADE_MISSES").is_some() {
                println!("  {kind} {:?}: {}", self.kinds[kind], example.chars().take(400).collect::<String>());
            }
            last = kind;
        }
        assert!(found >= bar, "{what}: {found:.2} %");
    }
}
