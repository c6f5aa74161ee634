//! Streams that are made to slip through: cut at every byte, painted, overprinted, encoded, packed.

use std::io::Write as _;
use std::process::{Command, Stdio};

use palisade_redact::{KnownValue, Redactor};

use super::maker::{Random, base64, contains, made, survives};
use super::{REDACTOR, Score};

const CARRIERS: [&str; 6] = [
    "T",
    "token: T and more",
    "{\"key\":\"T\",\"n\":1}",
    "https://h/p?x=T&y=2",
    "export A=T; b",
    "> Authorization: Bearer T",
];
const TOKENS: [&str; 6] =
    ["ghp_<an36>", "glpat-<an20>", "sk-ant-api03-<u93>AA", "xoxb-<d12>-<d13>-<an24>", "hvs.<u90>", "npm_<an36>"];

#[test]
fn hostile_streams() {
    let mut random = Random::new(5);
    let mut score = Score::default();
    for (number, template) in TOKENS.iter().enumerate() {
        let token = made(template, &mut random);
        let carrier = CARRIERS[number].replace('T', &token);
        let text = format!("first line\n{carrier}\nlast line\n");
        for (how, stream) in disguised(&text, &token) {
            score.note(how, is_gone(&token, &cut(&REDACTOR, stream.as_bytes(), &[])), || stream.clone());
        }
        // Cut at every byte, into single bytes, and into two at every pair of bytes.
        for at in 0..text.len() {
            score.note("cut once", is_gone(&token, &cut(&REDACTOR, text.as_bytes(), &[at])), || format!("{at}"));
        }
        let every: Vec<usize> = (0..text.len()).collect();
        score.note("cut at every byte", is_gone(&token, &cut(&REDACTOR, text.as_bytes(), &every)), String::new);
        let whole = cut(&REDACTOR, text.as_bytes(), &[]);
        for size in [2, 3, 7, 13, 31] {
            let cuts: Vec<usize> = (0..text.len()).step_by(size).collect();
            score.note("cuts change nothing", cut(&REDACTOR, text.as_bytes(), &cuts) == whole, || format!("{size}"));
        }
        if number > 0 {
            continue;
        }
        let long = format!("{}{carrier}{}", "x ".repeat(5_000_000), " y".repeat(100));
        score.note("in a line of 10 MB", is_gone(&token, &cut(&REDACTOR, long.as_bytes(), &[])), String::new);
    }
    encodings(&mut score, &mut random);
    containers(&mut score, &mut random);
    score.expect("hostile streams", 100.0);
}

/// The text with the token painted, overprinted and so on.
fn disguised(text: &str, token: &str) -> Vec<(&'static str, String)> {
    let with = |new: String| text.replace(token, &new);
    let between = |noise: &str| -> String { token.chars().flat_map(|c| [c.to_string(), noise.to_owned()]).collect() };
    let (head, tail) = token.split_at(token.len() / 2);
    vec![
        ("plain", text.to_owned()),
        ("painted", with(format!("\u{1b}[1;31m{token}\u{1b}[0m"))),
        ("painted in halves", with(format!("\u{1b}[31m{head}\u{1b}[0m\u{1b}[32m{tail}\u{1b}[0m"))),
        ("painted by character", with(between("\u{1b}[38;5;12m"))),
        ("zero-width between", with(between("\u{200b}"))),
        ("zero-width once", with(format!("{head}\u{feff}{tail}"))),
        ("painted in the 8-bit form", with(format!("{head}\u{9b}31m{tail}"))),
        ("soft hyphen", with(format!("{head}\u{ad}{tail}"))),
        ("NUL between", with(between("\0"))),
        ("carriage return inside", with(format!("{head}\r{tail}"))),
        ("overprinted", with(format!("loading\r{token}"))),
        ("backspace", with(format!("{head}x\u{8}{tail}")).replace("x\u{8}", "\u{8}")),
        ("erase line inside", with(format!("{head}\u{1b}[K{tail}"))),
        ("cursor inside", with(format!("{head}\u{1b}[1C{tail}"))),
        ("title", with(format!("\u{1b}]0;{token}\u{7}"))),
        ("title, string terminator", with(format!("\u{1b}]2;{token}\u{1b}\\"))),
        ("link", with(format!("\u{1b}]8;;https://h/{token}\u{1b}\\text\u{1b}]8;;\u{1b}\\"))),
        ("clipboard", with(format!("\u{1b}]52;c;{token}\u{7}"))),
        ("device string", with(format!("\u{1b}P{token}\u{1b}\\"))),
        ("unfinished colour", with(format!("\u{1b}[31{token}"))),
        ("bells", with(format!("\u{7}{token}\u{7}"))),
        ("carriage returns at the end", text.replace('\n', "\r\n")),
        ("twice", format!("{text}{text}")),
        ("no line break", text.replace('\n', " ")),
        ("bad UTF-8 around", format!("\u{fffd}{text}")),
        ("in quotes", with(format!("\"{token}\""))),
        ("escaped quotes", with(format!("\\\"{token}\\\""))),
        ("beside brackets", with(format!("[{token}]({token})"))),
    ]
}

/// Known values in every encoding that a program may put on them.
fn encodings(score: &mut Score, random: &mut Random) {
    for _ in 0..40 {
        let value = made("<pw><an6>", random);
        let redactor = REDACTOR.with_known(&[KnownValue::new("K", value.as_str())]);
        let each = |style: &dyn Fn(u8) -> String| value.bytes().map(style).collect::<String>();
        let wrapped = |text: &str, width: usize| -> String {
            text.as_bytes().chunks(width).map(|line| String::from_utf8_lossy(line).into_owned() + "\n").collect()
        };
        for (how, written) in [
            ("plain", value.clone()),
            ("base64", base64(value.as_bytes())),
            ("base64, one byte before", base64(format!("a{value}").as_bytes())),
            ("base64, two bytes before", base64(format!("ab{value}c").as_bytes())),
            ("base64 of user and value", base64(format!("user:{value}").as_bytes())),
            ("base64url", base64(value.as_bytes()).replace('+', "-").replace('/', "_")),
            ("base64 twice", base64(base64(value.as_bytes()).as_bytes())),
            ("base64 in lines", wrapped(&base64(format!("some text before {value} and after").as_bytes()), 16)),
            ("hexadecimal", each(&|byte| format!("{byte:02x}"))),
            ("hexadecimal, capitals", each(&|byte| format!("{byte:02X}"))),
            ("hexadecimal, colons", each(&|byte| format!("{byte:02x}:"))),
            ("hexadecimal, blanks", each(&|byte| format!("{byte:02x} "))),
            ("escapes of C", each(&|byte| format!("\\x{byte:02x}"))),
            ("octal escapes", each(&|byte| format!("\\{byte:03o}"))),
            ("percent, all", each(&|byte| format!("%{byte:02X}"))),
            (
                "percent, where needed",
                each(&|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).into(),
                    _ => format!("%{byte:02X}"),
                }),
            ),
            ("escapes of JSON", each(&|byte| format!("\\u{byte:04x}"))),
            ("JSON", serde_json::to_string(&value).unwrap()),
            ("JSON twice", serde_json::to_string(&serde_json::to_string(&value).unwrap()).unwrap()),
            ("entities", each(&|byte| format!("&#{byte};"))),
            ("reversed", value.chars().rev().collect()),
            ("capitals", value.to_uppercase()),
            ("split over lines", wrapped(&value, 6)),
            ("spelled with blanks", each(&|byte| format!("{} ", char::from(byte)))),
            ("shell escapes", each(&|byte| format!("\\{}", char::from(byte)))),
            ("wide characters", each(&|byte| format!("{}\0", char::from(byte)))),
        ] {
            let text = format!("before {written} after\n");
            for cuts in [vec![], (0..text.len()).collect::<Vec<_>>()] {
                let out = cut(&redactor, text.as_bytes(), &cuts);
                let marked = contains(&out, b"[redacted:");
                // What is left over at the ends of an encoding are digits that other bytes have a share in.
                let middle = &written.as_bytes()[written.len() / 4..written.len() * 3 / 4];
                score.note(how, marked && !contains(&out, middle), || format!("{value:?} in {text:?}"));
            }
        }
    }
}

/// In archives that hold the bytes as they are: tar, cpio and ar, made by the programs of this machine.
fn containers(score: &mut Score, random: &mut Random) {
    let place = tempfile::tempdir().unwrap();
    for template in TOKENS {
        let token = made(template, random);
        std::fs::write(place.path().join("f"), format!("a file\nwith {token} in it\n")).unwrap();
        for (program, args, input) in [
            ("tar", &["-cf", "-", "f"][..], ""),
            ("tar", &["--format=ustar", "-cf", "-", "f"], ""),
            ("cpio", &["-o", "--quiet"], "f\n"),
            ("base64", &["f"], ""),
            ("xxd", &["f"], ""),
        ] {
            let child = Command::new(program)
                .args(args)
                .current_dir(place.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn();
            let Ok(mut child) = child else { continue }; // not installed
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            let packed = child.wait_with_output().unwrap().stdout;
            // Dumps show the token in another encoding, which only a value that is known can be told by.
            let redactor = match program {
                "tar" | "cpio" => REDACTOR.clone(),
                _ => REDACTOR.with_known(&[KnownValue::new("K", token.as_str())]),
            };
            let out = cut(&redactor, &packed, &[]);
            let marked = contains(&out, b"[redacted:");
            score.note(&format!("in {program}"), marked && is_gone(&token, &out), || format!("{token} by {args:?}"));
        }
    }
}

fn is_gone(token: &str, out: &[u8]) -> bool {
    !survives(token, &String::from_utf8_lossy(out))
}

/// What a stream gives that takes its bytes in chunks.
fn cut(redactor: &Redactor, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut stream = redactor.stream();
    let (mut out, mut from) = (Vec::new(), 0);
    for &to in cuts.iter().chain([&text.len()]) {
        out.extend_from_slice(stream.push(&text[from..to]).as_bytes());
        from = to;
    }
    out.extend_from_slice(stream.finish().as_bytes());
    out
}
