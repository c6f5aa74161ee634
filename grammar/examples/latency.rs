//! How long inventories of everyday commands take: reads commands from standard input, one per line, and prints the
//! median and the 99th percentile. Each command counts with its fastest of 20 turns.
//!
//! ```sh
//! cargo run --release -p palisade-grammar --example latency < commands.txt
//! ```

#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::io::BufRead;
use std::time::{Duration, Instant};

/// Commands up to this many bytes are counted.
const MAX_BYTES: usize = 512;

fn main() {
    let lines = std::io::stdin().lock().lines().map_while(Result::ok);
    let commands: Vec<String> = lines.filter(|line| !line.trim().is_empty() && line.len() <= MAX_BYTES).collect();
    let mut times: Vec<Duration> = commands.iter().map(|command| fastest(command.as_bytes())).collect();
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
    let shown = |time: Option<&Duration>| time.map_or_else(|| "-".to_owned(), |time| format!("{time:.1?}"));
    println!(
        "{} commands: median {}, p99 {}, slowest {}",
        times.len(),
        shown(at(50)),
        shown(at(99)),
        shown(times.last())
    );
}

fn fastest(command: &[u8]) -> Duration {
    let turn = |_| {
        let started = Instant::now();
        std::hint::black_box(palisade_grammar::inventory(std::hint::black_box(command)));
        started.elapsed()
    };
    (0..20).map(turn).min().unwrap_or_default()
}
