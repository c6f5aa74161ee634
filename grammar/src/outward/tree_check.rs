//! Compares tables with the trees of verbs that installed tools tell in their `--help`.
//!
//! A verb without a row has every effect, which is safe and asks too often.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::inventory;
use crate::outward_facts::OutwardEffect;

/// Tools whose help lists the verbs below each verb, and whether the machine that runs all tests has them.
const TOOLS: [(&str, bool); 4] = [("docker", false), ("podman", true), ("kubectl", false), ("gh", false)];

/// Verbs below verbs that are followed.
const DEPTH: usize = 4;

/// The verbs that a help text lists below lines such as `Management Commands:` or `CORE COMMANDS`.
fn verbs(help: &str, tool: &str) -> Vec<String> {
    let (mut verbs, mut lists) = (Vec::new(), false);
    for line in help.lines().filter(|line| !line.trim().is_empty()) {
        let text = line.trim_start();
        match line.len() - text.len() {
            0 => {
                let head = text.trim_end_matches(':').to_lowercase();
                let head = head.split(" (").next().unwrap_or_default();
                lists = head.ends_with("commands") && !head.contains('"');
            }
            2..=4 if lists => {
                let verb = text.split([' ', ':', '*', '\t']).next().unwrap_or_default();
                let is_verb =
                    verb.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
                if is_verb && !verb.starts_with('-') && verb != "help" && verb != tool {
                    verbs.push(verb.to_owned());
                }
            }
            _ => {}
        }
    }
    verbs
}

/// A home of their own for the tools: some make directories there before they say anything.
fn home() -> PathBuf {
    std::env::temp_dir().join(format!("palisade-tree-check-{}", std::process::id()))
}

/// What the tool says of these words; none if it is not installed.
fn help(words: &[String]) -> Option<String> {
    let (tool, path) = words.split_first()?;
    let mut program = Command::new(tool);
    program.args(path).arg("--help").stdin(Stdio::null()).env("LC_ALL", "C").env("HOME", home());
    let output = program.output().ok()?;
    Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// The words of each verb that has none below it.
fn leaves(words: Vec<String>, above: &[String], found: &mut Vec<Vec<String>>) {
    let tool = words.first().cloned().unwrap_or_default();
    let below = help(&words).map(|help| verbs(&help, &tool)).unwrap_or_default();
    // A verb without any repeats what is said of the one above it.
    if below.is_empty() || below == above || words.len() > DEPTH {
        found.push(words);
        return;
    }
    for verb in &below {
        leaves([words.as_slice(), std::slice::from_ref(verb)].concat(), &below, found);
    }
}

#[test]
fn each_verb_that_a_tool_tells_has_a_row() {
    let required = std::env::var("PALISADE_REQUIRE").is_ok_and(|required| required == "all");
    let mut wrong = Vec::new();
    for (tool, wanted) in TOOLS {
        if help(&[tool.to_owned()]).is_none() {
            if required && wanted {
                wrong.push(format!("{tool}: not installed"));
            }
            continue;
        }
        let mut found = Vec::new();
        leaves(vec![tool.to_owned()], &[], &mut found);
        if found.len() < 60 {
            wrong.push(format!("{tool}: its help tells {} verbs", found.len()));
        }
        for words in found {
            let inventory = inventory(words.join(" ").as_bytes());
            let outward = inventory.commands().first().and_then(|command| command.invocation.outward.as_ref());
            let effects: Option<BTreeSet<_>> = outward.map(|outward| outward.effects.clone());
            if effects.is_none_or(|effects| effects.len() == OutwardEffect::ALL.len()) {
                wrong.push(format!("{}: no row", words.join(" ")));
            }
        }
    }
    let _nothing_was_made = std::fs::remove_dir_all(home());
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_help_text_tells_its_verbs() {
    for (help, expected) in [
        (
            "Usage: x\n\nManagement Commands:\n  builder     Manage builds\n  buildx*     Build\n\nOptions:\n  --all  all\n",
            "builder buildx",
        ),
        ("CORE COMMANDS\n  auth:          Log in\n  help:  Help\n\nFLAGS\n  --help   Show\n", "auth"),
        (
            "Basic Commands (Beginner):\n  create          Create\n                  more of it\n\nUse \"x --help\" for commands:\n  y\n",
            "create",
        ),
        ("Usage:  x rm\n\nRemove it\n", ""),
    ] {
        assert_eq!(verbs(help, "x").join(" "), expected, "{help}");
    }
}
