//! What real bash runs is in the inventory.
//!
//! Scripts run under bash in a cage, with programs that do nothing in place of all but wrappers and interpreters, and every
//! program that is executed and every file that is changed must be told by the inventory of the script, where that
//! claims to tell all of it. The scripts are the examples of the program tables, the rows of `rows.toml`, and what
//! `generate` makes; a script that fails is cut down to what still fails and belongs into `rows.toml` then.
//!
//! `PALISADE_SOUNDNESS=all` runs thousands of generated scripts, `PALISADE_SOUNDNESS=SEED:COUNT` those of another seed.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "bash itself is the oracle")]

mod cage;
mod cover;
mod follow;
mod generate;
mod options;
mod posix;
mod shrink;
mod trace;
mod words;

use std::collections::BTreeSet;

use cage::{Cage, Ran};
use palisade_grammar::inventory;
use serde::Deserialize;

/// Runs the scripts whose inventories claim to tell all, and fails with what they did not tell. How many programs ran.
fn check(cage: Cage, what: &str, scripts: &BTreeSet<String>) -> usize {
    let claimed: Vec<&str> = scripts.iter().map(String::as_str).filter(|script| claims(script)).collect();
    let ran = cage.run(&claimed);
    eprintln!("{what}: {} of {} scripts claim to be determined", claimed.len(), scripts.len());
    judge(cage, &claimed, &ran);
    ran.iter().map(|ran| ran.trace.execs.len() - 1).sum()
}

fn judge(cage: Cage, scripts: &[&str], ran: &[Ran]) {
    let known = gaps();
    let open = |script: &str, miss: &String| known.iter().any(|gap| gap.holds(script, miss));
    let judged = scripts.iter().zip(ran).map(|(script, ran)| (*script, missed(script, ran)));
    let wrong: Vec<_> = judged.filter(|(script, misses)| !misses.iter().all(|miss| open(script, miss))).collect();
    let shown = wrong.iter().take(SHRUNK).map(|(script, misses)| report(cage, script, misses));
    let more = wrong.iter().skip(SHRUNK).map(|(script, misses)| format!("--- {script:?}: {misses:?}"));
    let shown: Vec<String> = shown.chain(more).collect();
    assert!(wrong.is_empty(), "{} scripts did what their inventories do not tell\n{}", wrong.len(), shown.join("\n"));
}

/// Failures that are cut down before they are told: that takes seconds each.
const SHRUNK: usize = 10;

/// What the script's own inventory does not tell, where it claims to tell all.
fn missed(script: &str, ran: &Ran) -> BTreeSet<String> {
    let inventory = inventory(script.as_bytes());
    if cover::determined(&inventory) { cover::misses(&inventory, ran) } else { BTreeSet::new() }
}

fn claims(script: &str) -> bool {
    !script.contains('\0') && cover::determined(&inventory(script.as_bytes()))
}

fn fails(cage: Cage, scripts: &[String]) -> Vec<bool> {
    let claimed: Vec<&str> = scripts.iter().map(String::as_str).filter(|script| claims(script)).collect();
    let mut ran = cage.run(&claimed).into_iter();
    let fails = |script: &String| claims(script) && ran.next().is_some_and(|ran| !missed(script, &ran).is_empty());
    scripts.iter().map(fails).collect()
}

fn report(cage: Cage, script: &str, misses: &BTreeSet<String>) -> String {
    let small = shrink::shrink(script, |scripts| fails(cage, scripts));
    let misses: Vec<&str> = misses.iter().map(String::as_str).collect();
    format!("--- as a row: {small:?}\n    from: {script:?}\n    {}", misses.join("\n    "))
}

/// `gaps.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gaps {
    #[serde(default)]
    gap: Vec<Gap>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gap {
    script: String,
    misses: Vec<String>,
    /// How such a miss begins in other scripts, where other options or names stand around it.
    everywhere: Option<String>,
    #[serde(rename = "reason")]
    _reason: String,
}

impl Gap {
    fn holds(&self, script: &str, miss: &str) -> bool {
        self.script == script && self.misses.iter().any(|known| known == miss)
            || self.everywhere.as_ref().is_some_and(|begin| miss.starts_with(begin))
    }
}

fn gaps() -> Vec<Gap> {
    toml::from_str::<Gaps>(include_str!("gaps.toml")).unwrap().gap
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    rows: Vec<Category>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Category {
    #[serde(rename = "category")]
    _category: String,
    scripts: Vec<String>,
}

#[test]
fn examples_of_the_tables() {
    let Some(cage) = Cage::available() else { return };
    let scripts = tables().into_iter().flat_map(|table| table.example).map(|example| example.script).collect();
    let programs = check(cage, "examples of the tables", &chosen(scripts, 3));
    assert!(programs > 100, "only {programs} programs ran");
}

#[test]
fn options_of_the_tables() {
    let Some(cage) = Cage::available() else { return };
    let scripts = tables().iter().flat_map(options::scripts).collect();
    check(cage, "options of the tables", &chosen(scripts, 1));
}

/// So many times the number of scripts that is asked for. Neighbours differ little: what is left out is much like what is
/// tried, and every run by a seed tries others.
fn chosen(scripts: BTreeSet<String>, times: u64) -> BTreeSet<String> {
    let (seed, count) = amount();
    let every = (scripts.len() as u64).div_ceil(count * times).max(1);
    (0_u64..).zip(scripts).filter(|(index, _)| index % every == seed % every).map(|(_, script)| script).collect()
}

fn tables() -> Vec<options::Table> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/programs");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.map(|path| toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()).collect()
}

#[test]
fn rows() {
    let Some(cage) = Cage::available() else { return };
    let rows: Rows = toml::from_str(include_str!("rows.toml")).unwrap();
    let scripts: BTreeSet<String> = rows.rows.into_iter().flat_map(|row| row.scripts).collect();
    assert!(scripts.len() > 1000, "only {} rows", scripts.len());
    let all: Vec<&str> = scripts.iter().map(String::as_str).collect();
    let ran = cage.run(&all);
    judge(cage, &all, &ran);

    // What is not determined runs as well: a row in which bash runs nothing would prove nothing when it is.
    let mut wrong = Vec::new();
    for (script, ran) in all.iter().zip(ran) {
        let programs: Vec<&str> = ran.trace.execs.iter().skip(1).map(|exec| trace::base(&exec.path)).collect();
        if programs.is_empty() || programs.contains(&"m9") {
            wrong.push(format!("{script:?}: {programs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} rows run nothing, or m9\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn generated() {
    let Some(cage) = Cage::available() else { return };
    let (seed, count) = amount();
    let seeds = || (0..count).map(|index| seed.wrapping_add(index));
    for (what, make) in [("generated", generate::script as fn(u64) -> String), ("followed", follow::script)] {
        let scripts = seeds().map(make).collect();
        let programs = check(cage, &format!("{what} from {seed}"), &scripts);
        assert!(programs as u64 * 20 >= count, "only {programs} programs ran in {count} scripts");
    }
}

#[test]
fn gaps_are_open() {
    let Some(cage) = Cage::available() else { return };
    let gaps = gaps();
    let scripts: Vec<&str> = gaps.iter().map(|gap| gap.script.as_str()).collect();
    for (gap, ran) in gaps.iter().zip(cage.run(&scripts)) {
        let misses: Vec<String> = missed(&gap.script, &ran).into_iter().collect();
        assert_eq!(misses, gap.misses, "{}: this is told now, so its row in gaps.toml must go", gap.script);
    }
}

/// The first seed, and how many scripts.
fn amount() -> (u64, u64) {
    let asked = std::env::var("PALISADE_SOUNDNESS").unwrap_or_default();
    match (asked.as_str(), asked.split_once(':')) {
        ("", _) => (1, 250),
        ("all", _) => (1_000_000, 20_000),
        (_, Some((seed, count))) => (seed.parse().unwrap(), count.parse().unwrap()),
        _ => panic!("PALISADE_SOUNDNESS is `all` or `SEED:COUNT`, not `{asked}`"),
    }
}

/// The oracle sees what scripts do: programs with their words, `>` and `-` before files that were written and removed.
#[test]
fn the_cage_sees() {
    let Some(cage) = Cage::available() else { return };
    let rows: [(&str, &[&str]); 11] = [
        ("m0 a 'b c' \"$(m1)\"", &["m0 a b c ", "m1"]),
        ("m0 | m1 > f & wait", &[">f", "m0", "m1"]),
        ("find a -exec m0 {} \\;", &["find a -exec m0 {} ;", "m0 a"]),
        ("env m0 <(m1)", &["env m0 /dev/fd/63", "m0 /dev/fd/63", "m1"]),
        ("cd dir; echo > ../f; mv none y; echo >> f", &[">dir/f", ">f", "mv none y"]),
        ("cd dir && rm f && mkdir n && mv n o", &["-dir/f", "-dir/n", ">dir/n", ">dir/o", "mkdir n", "mv n o", "rm f"]),
        ("rm -r dir", &["-dir", "-dir/f", "rm -r dir"]),
        ("(sleep 1; m0) & disown; m1", &["m0", "m1", "sleep 1"]),
        ("./none; /usr/bin/m0", &["./none", "/usr/bin/m0"]),
        ("m0 é $'\\n'", &["m0 é \n"]),
        ("while :; do m0; done", &["m0"]), // until its time is up
    ];
    let scripts: Vec<&str> = rows.iter().map(|(script, _)| *script).collect();
    for ((script, expected), ran) in rows.iter().zip(cage.run(&scripts)) {
        let programs = ran.trace.execs.iter().skip(1).map(|exec| exec.argv.join(" "));
        let files = ran.trace.touches.iter().filter_map(|touch| {
            let path = touch.path.strip_prefix(&ran.cwd)?.trim_start_matches('/');
            Some(format!("{}{path}", if touch.removed { "-" } else { ">" }))
        });
        let seen: BTreeSet<String> = programs.chain(files).collect();
        assert!(seen.iter().eq(expected.iter()), "{script}: {seen:?}");
    }
}

/// A script that does more than an inventory says is caught: each is judged by the inventory of another.
#[test]
fn what_is_not_told_is_a_miss() {
    let Some(cage) = Cage::available() else { return };
    let rows = [
        ("m0 $(m1)", "m0 $(m2)", "executed [\"m1\"]"),
        ("m0 a b", "m0 a", "executed [\"m0\", \"a\", \"b\"]"),
        ("m0 a", "m0 b$x", "executed [\"m0\", \"a\"]"),
        ("m0 a b", "m0 \"$x\"", "executed [\"m0\", \"a\", \"b\"]"),
        ("m0", "./m0", "executed [\"m0\"]"),
        ("./m0", "m0", "executed [\"./m0\"]"),
        ("cd dir && m0", "m0", "executed [\"m0\"]"),
        ("m0", "cd dir && m0", "executed [\"m0\"]"),
        ("env -C dir m0", "env -C dir m0", ""),
        ("m0() { m1; }; command m0", "command -v m0; m1", "executed [\"m0\"]"),
        ("find . -name a -exec m0 {} \\;", "find . -name a -exec m1 {} \\;", "executed"),
        ("echo > f", "echo > g", "bash wrote f"),
        ("cd dir; echo > f", "echo > f", "bash wrote dir/f"),
        ("rm a", "echo > a; rm b; rm a > c $x", ""),
        ("rm a", "rm b", "executed"),
        ("rm -r dir", "rm -r \"$x\" dir/", "executed"),
        ("rm -r dir", "rm -r dir", ""),
        ("xargs rm <<< a", "xargs rm <<< b", ""),
        ("mv a b", "mv a b", ""),
        (
            "python3 -c 'import os; os.system(\"m0\"); open(\"f\", \"w\")'; m1",
            "python3 -c 'import os; os.system(\"m0\"); open(\"f\", \"w\")'; m2",
            "executed [\"m1\"]",
        ),
    ];
    let scripts: Vec<&str> = rows.iter().map(|(script, ..)| *script).collect();
    for ((script, other, expected), ran) in rows.iter().zip(cage.run(&scripts)) {
        let misses = cover::misses(&inventory(other.as_bytes()), &ran);
        let all: Vec<&str> = misses.iter().map(String::as_str).collect();
        let found = if expected.is_empty() { all.is_empty() } else { all.join("\n").starts_with(expected) };
        assert!(found, "{script} by `{other}`: {all:?}");
    }
}

#[test]
fn literal_words_are_what_bash_prints() {
    let (seed, count) = amount();
    words::check(seed, count);
}
