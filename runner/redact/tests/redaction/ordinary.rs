//! Ordinary output, none of which may change: what tools print, made from templates, this repository's own text, and what
//! programs of this machine say.

use std::path::Path;
use std::process::Command;

use super::maker::{Random, made, unescaped};
use super::{REDACTOR, lines};

/// The share of lines that may change, in percent.
const MOST: f64 = 0.02;

#[test]
fn ordinary_lines() {
    let mut random = Random::new(6);
    let mut text: Vec<String> = Vec::new();
    for template in lines(include_str!("ordinary.txt")) {
        text.extend((0..60).map(|_| made(&unescaped(template), &mut random)));
    }
    let made = text.len();
    text.extend(own_files());
    let own = text.len() - made;
    text.extend(spoken());
    let changed: Vec<(String, String)> = text
        .iter()
        .filter_map(|line| {
            let out = REDACTOR.text(line);
            (out.as_str() != line).then(|| (line.clone(), out.to_string()))
        })
        .collect();
    let share =
        100.0 * f64::from(u32::try_from(changed.len()).unwrap()) / f64::from(u32::try_from(text.len()).unwrap());
    println!(
        "ordinary lines: {share:.4} % of {} changed ({made} made, {own} of this repository, {} printed), {MOST} % allowed",
        text.len(),
        text.len() - made - own
    );
    for (line, out) in changed.iter().take(200) {
        println!("  {line:?} -> {out:?}");
    }
    assert!(text.len() >= 20_000);
    assert!(share <= MOST);
}

/// Source code, shown as it is and as searches and `git` show it, from files with names that speak of secrets.
#[test]
fn lines_of_source() {
    let names = ["src/password", "token", "auth/secrets", "./lib/passwd_test", "internal/credentials", "api_key"];
    let code = own_files().into_iter().map(|line| ("rs", line)).chain(headers().into_iter().map(|line| ("h", line)));
    let code: Vec<(&str, String)> = code.filter(|(_, line)| !holds_test_secret(line)).collect();
    let (mut asked, mut changed) = (0_u32, Vec::new());
    for (at, (ending, line)) in code.iter().enumerate() {
        let file = format!("{}.{ending}", names[at / 50 % names.len()]);
        for text in [
            line.clone(),
            format!("{file}:{at}:{line}"),
            format!("{file}-{at}-{line}"),
            format!("{file}:{line}"),
            format!("{file}:{at}:1:{line}"),
            format!("{}{line}", if at % 2 == 0 { '+' } else { '-' }),
        ] {
            asked += 1;
            let out = REDACTOR.text(&text);
            if out.as_str() != text {
                changed.push((text, out));
            }
        }
    }
    let share = 100.0 * f64::from(u32::try_from(changed.len()).unwrap()) / f64::from(asked);
    println!("lines of source: {share:.4} % of {asked} changed, {MOST} % allowed");
    for (line, out) in changed.iter().take(50) {
        println!("  {line:?} -> {:?}", out.as_str());
    }
    assert!(asked >= 100_000);
    assert!(share <= MOST);
}

/// Keys and tokens of tests are found in source, too.
fn holds_test_secret(line: &str) -> bool {
    ["-----BEGIN", "eyJhbGciOi"].iter().any(|begin| line.contains(begin))
}

/// Headers of this machine.
fn headers() -> Vec<String> {
    let entries = std::fs::read_dir("/usr/include").into_iter().flatten().filter_map(Result::ok);
    let texts = entries.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).take(40_000).collect()
}

/// Sources, lockfiles and documents of this repository, without what is about secrets.
fn own_files() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut places = vec![root.to_owned()];
    let mut text = Vec::new();
    while let Some(place) = places.pop() {
        for entry in std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap().to_string_lossy().into_owned();
            let is_text = ["rs", "toml", "md", "lock", "cedar", "json", "yml"].iter().any(|end| name.ends_with(end));
            match entry.is_dir() {
                true if !["target", ".git", "redact", "secrets", "redaction", "corpus"].contains(&name.as_str()) => {
                    places.push(entry);
                }
                false if is_text && !std::fs::read_to_string(&entry).unwrap().contains("redact") => {
                    text.extend(std::fs::read_to_string(&entry).unwrap().lines().map(str::to_owned));
                }
                _ => (),
            }
        }
    }
    text
}

/// What programs of this machine print.
fn spoken() -> Vec<String> {
    let commands: [&[&str]; 7] = [
        &["ls", "-laR", "/usr/include"],
        &["ls", "-la", "/usr/bin"],
        &["find", "/usr/share", "-maxdepth", "3"],
        &["sha256sum", "/usr/bin/env", "/usr/bin/ls", "/usr/bin/bash"],
        &["df", "-h"],
        &["mount"],
        &["cargo", "--list"],
    ];
    let printed = commands.iter().filter_map(|command| Command::new(command[0]).args(&command[1..]).output().ok());
    printed
        .flat_map(|out| String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}
