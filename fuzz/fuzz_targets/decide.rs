//! Any text as a script, under every shipped profile: the policies whose scope fits a request answer as all policies
//! do, and one more forbid never allows what was denied.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use palisade_engine::{Bundle, Cases, Decision, Engine, Source, Vocabulary};

static ENGINES: LazyLock<Vec<Engine>> = LazyLock::new(|| {
    let profiles = ["developer", "readonly", "regulated"];
    profiles.iter().map(|profile| engine(Bundle::profile(profile).expect("shipped"))).collect()
});

static FORBIDDEN: LazyLock<Engine> = LazyLock::new(|| {
    let forbid = "@id(\"never\") forbid (principal, action, resource in CommandGroup::\"read-only\");";
    let (_, text) = palisade_policies::PROFILES.first().expect("a profile").1;
    let base = palisade_policies::BASE.iter().map(|(_, text)| *text);
    let all: Vec<&str> = base.chain([text, forbid]).collect();
    let source = Source { name: "fuzz.cedar".to_owned(), text: all.join("\n") };
    engine(Bundle::load(vec![source]).expect("valid"))
});

fn engine(bundle: Bundle) -> Engine {
    let (file, text) = palisade_policies::GROUPS;
    let home = palisade_engine::AbsolutePath::new("/home/u").expect("absolute");
    Engine::new(bundle, Vocabulary::parse(file, text, &home).expect("the shipped groups"))
}

fuzz_target!(|text: &str| {
    // The text stands in a case, so that facts are made for it without any machine.
    let quoted = toml_string(text);
    let case = format!(
        "[defaults]\nas = {{ roles = ['developer'] }}\nsandboxed = true\n[[case]]\nname = 'x'\nrun = {quoted}\nexpect = 'deny'\n"
    );
    let cases = Cases::parse("fuzz.toml", &case).expect("a case");
    let case = cases.cases().first().expect("one");
    for engine in ENGINES.iter() {
        assert!(case.slices_agree(engine), "a slice and the whole set disagree");
    }
    let developer = ENGINES.first().expect("developer");
    if case.judge(developer).decision == Decision::Deny {
        assert_eq!(case.judge(&FORBIDDEN).decision, Decision::Deny, "a forbid allowed something");
    }
});

fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if character.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(character))),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
