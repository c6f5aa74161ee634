//! What the help of each verb says besides its arguments: examples, and what its exit statuses mean.
//!
//! A table and not attributes, so that a test can type every example.

use clap::{Command, CommandFactory};

use crate::cli::args::Cli;

/// A verb, examples of it, and its exit statuses besides 1, which says that Palisade could not do what it was asked to.
struct Help {
    verb: &'static str,
    examples: &'static [&'static str],
    statuses: &'static str,
}

const fn help(verb: &'static str, examples: &'static [&'static str], statuses: &'static str) -> Help {
    Help { verb, examples, statuses }
}

const FINE: &str = "0 done";
const JUDGED: &str = "0 allowed, 2 denied, 3 a person has to say yes";
const RAN: &str =
    "the command's own; 124 it did not end in time, 125 Palisade failed or its output was cut, 126 it was denied";
const FOUND: &str = "0 nothing is wrong, 2 something is";
const LOOKED: &str = "0 shown, 126 policy does not let you look";
const ANSWERED: &str = "0 done, 2 policy does not let you";
const APPLIED: &str = "0 done, 126 denied, or nobody said yes";

const TABLE: &[Help] = &[
    help(
        "check",
        &[
            "palisade check 'git log --oneline | head -5'",
            "palisade check --json --profile regulated 'make test'",
            "palisade check --batch",
        ],
        JUDGED,
    ),
    help("inventory", &["palisade inventory 'sudo make install'", "palisade inventory --batch"], FINE),
    help(
        "run",
        &[
            "palisade run 'make && ./test.sh'",
            "palisade run -- cargo metadata --no-deps",
            "palisade run --write ../shared 'cp a ../shared'",
            "palisade run --max-output 256KiB 'make test'",
        ],
        RAN,
    ),
    help(
        "sh",
        &["palisade sh -c 'make test'", "palisade sh -e < build.sh", "palisade sh --env CI -ec 'make; make check'"],
        RAN,
    ),
    help(
        "serve",
        &[
            "palisade serve",
            "palisade serve --agent builder --policies /etc/palisade/site",
            "palisade serve --http 127.0.0.1:8931",
        ],
        "0 the client is gone, or a signal ended it",
    ),
    help(
        "redact",
        &[
            "palisade redact --explain",
            "palisade redact --rules own.toml",
            "palisade redact --learned",
            "palisade redact --learned --drop 4f1c0a2b-v7",
        ],
        "0 done, 2 policy does not let you",
    ),
    help(
        "audit",
        &["palisade audit verify", "palisade audit show --decision deny --since 2026-11-21T00:00:00Z"],
        LOOKED,
    ),
    help(
        "audit verify",
        &[
            "palisade audit verify",
            "palisade audit verify --anchor 17:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 record.jsonl",
        ],
        "0 it holds, 2 it does not, 126 policy does not let you look",
    ),
    help(
        "audit show",
        &["palisade audit show --session s-4f0c2a9b71e3d586", "palisade audit show --decision deny --json"],
        LOOKED,
    ),
    help(
        "audit replay",
        &["palisade audit replay"],
        "0 all is decided as it was, 2 something is not, 126 policy does not let you look",
    ),
    help("audit export", &["palisade audit export --format asciicast --session s-4f0c2a9b71e3d586 -o s.cast"], LOOKED),
    help("audit key", &["palisade audit key"], FINE),
    help("audit prove", &["palisade audit prove 17 record.jsonl"], LOOKED),
    help("checkpoint", &["palisade checkpoint list", "palisade checkpoint restore 4f1c"], APPLIED),
    help("checkpoint list", &["palisade checkpoint list", "palisade checkpoint list --target web-01 --json"], FINE),
    help("checkpoint diff", &["palisade checkpoint diff 4f1c"], FINE),
    help(
        "checkpoint restore",
        &["palisade checkpoint restore 4f1c", "palisade checkpoint restore --force 4f1c"],
        APPLIED,
    ),
    help("checkpoint prune", &["palisade checkpoint prune --keep 10"], APPLIED),
    help(
        "workspace",
        &["palisade workspace diff --agent builder", "palisade workspace apply --agent builder"],
        APPLIED,
    ),
    help("workspace list", &["palisade workspace list"], FINE),
    help("workspace diff", &["palisade workspace diff --agent builder"], FINE),
    help("workspace apply", &["palisade workspace apply --dry-run", "palisade workspace apply"], APPLIED),
    help("workspace discard", &["palisade workspace discard --agent builder"], APPLIED),
    help("watch", &["palisade watch", "palisade watch --serve", "palisade watch --follow --decision deny"], LOOKED),
    help("policy", &["palisade policy validate site", "palisade policy test --coverage site"], FOUND),
    help("policy validate", &["palisade policy validate site", "palisade policy validate developer"], FOUND),
    help(
        "policy test",
        &["palisade policy test --coverage --min 90 site", "palisade policy test --format junit site"],
        FOUND,
    ),
    help("policy watch", &["palisade policy watch site"], FINE),
    help("policy lint", &["palisade policy lint site"], FOUND),
    help("policy fmt", &["palisade policy fmt site", "palisade policy fmt --check site"], FOUND),
    help(
        "policy diff",
        &["palisade policy diff developer site", "palisade policy diff --replay record.jsonl site new-site"],
        "0 nothing is decided otherwise, 2 something is",
    ),
    help("policy explain-sandbox", &["palisade policy explain-sandbox --policies site"], FINE),
    help(
        "policy show",
        &["palisade policy show groups secrets", "palisade policy show effects 'kubectl -n prod delete pod web'"],
        FINE,
    ),
    help("approvals", &["palisade approvals list", "palisade approvals grant 4f1c-7"], ANSWERED),
    help("approvals list", &["palisade approvals list", "palisade approvals list --watch"], ANSWERED),
    help("approvals show", &["palisade approvals show 4f1c-7"], ANSWERED),
    help(
        "approvals grant",
        &[
            "palisade approvals grant 4f1c-7",
            "palisade approvals grant --yes --reason 'seen by two' 4f1c-7",
            "palisade approvals grant --remember agent 4f1c-7",
        ],
        ANSWERED,
    ),
    help("approvals remembered", &["palisade approvals remembered"], FINE),
    help("approvals forget", &["palisade approvals forget 4f1c-7"], ANSWERED),
    help("approvals deny", &["palisade approvals deny --reason 'not on a Friday' 4f1c-7"], ANSWERED),
    help(
        "stop",
        &["palisade stop builder", "palisade stop --all --reason 'incident 12'", "palisade stop --lift builder"],
        ANSWERED,
    ),
    help("doctor", &["palisade doctor", "palisade doctor --try"], "0 ready, 2 something is missing"),
    help(
        "setup",
        &[
            "palisade setup claude",
            "palisade setup codex --agent build-agent --profile regulated",
            "palisade setup claude --apply --mode wrap",
            "palisade setup claude --remove",
        ],
        FINE,
    ),
    help("on", &["palisade on", "palisade on --mode shadow"], FINE),
    help("off", &["palisade off"], FINE),
    help("status", &["palisade status", "palisade status --json"], FINE),
    help("hook", &["palisade hook claude --wrap < request.json"], "0 the answer is on standard output, 2 denied"),
];

/// The command line with this in its help.
pub(crate) fn command() -> Command {
    TABLE.iter().fold(Cli::command(), |command, help| {
        let examples: String = help.examples.iter().map(|example| format!("  {example}\n")).collect();
        let text = format!(
            "Examples:\n{examples}\nExit status: {}; 1 Palisade could not do what it was asked to",
            help.statuses
        );
        let text = if matches!(help.verb, "run" | "sh") {
            text.replace("; 1 Palisade could not do what it was asked to", "")
        } else {
            text
        };
        match help.verb.split_once(' ') {
            None => command.mut_subcommand(help.verb, |verb| verb.after_help(text)),
            Some((verb, part)) => {
                command.mut_subcommand(verb, |verb| verb.mut_subcommand(part, |part| part.after_help(text)))
            }
        }
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Each verb that is shown, and each part of one.
    fn verbs(command: &Command) -> Vec<String> {
        let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        shown
            .flat_map(|verb| {
                let parts = verb.get_subcommands().map(|part| format!("{} {}", verb.get_name(), part.get_name()));
                std::iter::once(verb.get_name().to_owned()).chain(parts)
            })
            .collect()
    }

    #[test]
    fn every_verb_has_examples_that_can_be_typed() {
        let told: Vec<String> = TABLE.iter().map(|help| help.verb.to_owned()).collect();
        let (mut told, mut there) = (told, verbs(&Cli::command()));
        told.sort();
        there.sort();
        assert_eq!(told, there);
        for (help, example) in TABLE.iter().flat_map(|help| help.examples.iter().map(move |example| (help, example))) {
            let words = palisade_grammar::inventory(example.as_bytes());
            let words: Vec<String> = words
                .commands()
                .first()
                .unwrap()
                .argv
                .iter()
                .map(|word| word.value.literal().unwrap().to_owned())
                .collect();
            assert!(example.starts_with(&format!("palisade {}", help.verb)), "{example}");
            let typed = command().try_get_matches_from(&words);
            assert!(typed.is_ok(), "{example}: {}", typed.unwrap_err());
        }
    }

    #[test]
    fn help_is_had_by_its_verb() {
        for words in [["palisade", "help", "run"], ["palisade", "run", "--help"]] {
            let error = command().try_get_matches_from(words).unwrap_err().to_string();
            assert!(error.contains("palisade run 'make") && error.contains("126 it was denied"), "{error}");
        }
    }
}
