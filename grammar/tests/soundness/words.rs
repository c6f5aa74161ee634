//! Literal words say what bash prints for them.

use std::process::{Command, Stdio};

use palisade_grammar::{Value, inventory};

use crate::generate::Random;

/// Words that one bash prints.
const BATCH: u64 = 500;

/// Makes 25 words for each of `count`, and compares those that we call literal.
pub(crate) fn check(seed: u64, count: u64) {
    let mut random = Random::new(seed);
    let mut compared = 0;
    let mut wrong = Vec::new();
    for _ in 0..(count * 25).div_ceil(BATCH) {
        let words: Vec<String> = (0..BATCH).map(|_| word(&mut random)).collect();
        let literal: Vec<(&str, String)> =
            words.iter().filter_map(|word| Some((word.as_str(), decoded(word)?))).collect();
        compared += literal.len();
        if printed(&literal).concat() != literal.iter().map(|(_, ours)| ours.clone() + "\0").collect::<String>() {
            // One word that ends elsewhere spoils all behind it: each by itself tells which.
            wrong.extend(literal.iter().filter_map(differs));
        }
    }
    eprintln!("words: {compared} of {} are literal", count * 25);
    assert!(wrong.is_empty(), "{} words differ\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared as u64 > count * 5, "only {compared} words were literal");
}

fn differs(one: &(&str, String)) -> Option<String> {
    let (word, ours) = one;
    let theirs = printed(std::slice::from_ref(one)).concat();
    (theirs != format!("{ours}\0"))
        .then(|| format!("{word:?}: we say {ours:?}, bash {:?}", theirs.trim_end_matches('\0')))
}

/// What we make of a word, if it is literal.
fn decoded(word: &str) -> Option<String> {
    let inventory = inventory(format!("printf '%s\\0' {word}").as_bytes());
    let [command] = inventory.commands() else { return None };
    let [_, _, read] = command.argv.as_slice() else { return None };
    let Value::Literal(text) = &read.value else { return None };
    (inventory.opaque().is_empty() && command.redirections.is_empty()).then(|| text.clone())
}

fn printed(words: &[(&str, String)]) -> Vec<String> {
    let lines: String = words.iter().map(|(word, _)| format!("printf '%s\\0' {word}\n")).collect();
    let mut bash = Command::new("bash");
    // No program can be found and no file made, should a word turn out to be more than a word.
    bash.args(["--norc", "--noprofile", "-c", &format!("PATH=/nowhere\n{lines}")]).current_dir("/proc/self/task");
    bash.env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).stderr(Stdio::null());
    let output = bash.output().unwrap().stdout;
    String::from_utf8_lossy(&output).split_inclusive('\0').map(str::to_owned).collect()
}

fn word(random: &mut Random) -> String {
    (0..random.between(1, 5)).map(|_| piece(random)).collect()
}

fn piece(random: &mut Random) -> String {
    let inside = |random: &mut Random| -> String { (0..random.below(5)).map(|_| random.pick(&LETTERS)).collect() };
    match random.below(9) {
        0 | 1 => (random.pick(&PLAIN)).to_owned(),
        2 => format!("'{}'", inside(random).replace('\'', "")),
        3 => format!("\"{}\"", inside(random).replace(['"', '\\', '$', '`'], "")),
        4 => format!("\"{}{}\"", random.pick(&IN_DOUBLE), random.pick(&PLAIN)),
        5 => format!("\\{}", random.pick(&LETTERS)),
        6 => format!("$'{}{}'", random.pick(&ANSI_C), random.pick(&["", "a", "0", "7", "\"", " ", "é"])),
        7 => format!("$'{}{}'", random.pick(&ANSI_C), random.pick(&ANSI_C)),
        _ => inside(random),
    }
}

const PLAIN: [&str; 34] = [
    "a", "b.c", "-x", "--long=v", "/usr/bin", "1", "=", "A=b", ":", "%", "@", "+", ",", "^", "!", "#", "{}", "{", "}",
    "]", "é", "日本", "$", "\\\n", "''", "\"\"", "~", "a~", "=~", ":~", "if", "[", "x\u{a0}", "\u{200b}",
];

const LETTERS: [char; 36] = [
    'a', 'b', 'x', '0', '7', ' ', '\t', '\n', '\'', '"', '\\', '$', '`', '!', '#', '%', '&', '(', ')', '*', '?', '[',
    ']', '{', '}', ',', '~', '=', ':', ';', '<', '>', '|', '^', '/', 'é',
];

const IN_DOUBLE: [&str; 20] = [
    "\\$", "\\`", "\\\"", "\\\\", "\\\n", "\\a", "\\'", "\\ ", "\\!", "!", "'", "''", "$", "$ ", "\\n", "\\}", "{a,b}",
    "*", "~", "\\\\\\\"",
];

const ANSI_C: [&str; 46] = [
    "\\n", "\\t", "\\\\", "\\'", "\\\"", "\\?", "\\a", "\\b", "\\e", "\\E", "\\f", "\\r", "\\v", "\\0", "\\1", "\\12",
    "\\101", "\\1012", "\\377", "\\400", "\\8", "\\x", "\\x4", "\\x41", "\\x414", "\\xg", "\\x{41}", "\\x00", "\\u",
    "\\u4", "\\u0041", "\\u00e9", "\\u00419", "\\U41", "\\U1F600", "\\ud800", "\\u0000", "\\ca", "\\c[", "\\c\\\\",
    "\\cé", "\\q", "\\$", "\\`", "\\\n", "`$x\"",
];
