//! What people type and write wrongly, each with the exact text that tells them. None of it runs anything.

use std::collections::BTreeMap;
use std::fs;

use crate::support::world::{Ended, World, repository};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    input: Vec<Input>,
}

/// One wrong input. Paths are below the world's root, which is written `{root}` in what is shown.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    name: String,
    /// What is there before; a name that ends in `/` is a directory.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// The same, for what is no text.
    #[serde(default)]
    bytes: BTreeMap<String, Vec<u8>>,
    call: Vec<String>,
    stdin: Option<String>,
    code: i32,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
}

#[test]
fn a_wrong_input_is_told_in_these_very_words() {
    let text = fs::read_to_string(repository().join("tests/wrong-input.toml")).expect("the table");
    let table: Table = toml::from_str(&text).expect("a table");
    assert!(table.input.len() >= 60, "{} inputs", table.input.len());
    let mut wrong = String::new();
    for input in &table.input {
        let world = World::new();
        put(&world, input);
        let before = work(&world);
        let ended = call(&world, input);
        let root = world.path("");
        let root = root.to_str().expect("UTF-8").trim_end_matches('/');
        let shown = |text: &str| text.replace(root, "{root}");
        let (stdout, stderr) = (shown(&ended.stdout), shown(&ended.stderr));
        for (what, expected, got) in [
            ("status", format!("{:?}", Some(input.code)), format!("{:?}", ended.code)),
            ("stdout", input.stdout.clone(), stdout),
            ("stderr", input.stderr.clone(), stderr),
            ("work", before, work(&world)),
        ] {
            if expected != got {
                wrong += &format!("{}: {what}\n--- expected\n{expected}\n--- got\n{got}\n", input.name);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Writes what is there before.
fn put(world: &World, input: &Input) {
    let texts = input.files.iter().map(|(path, text)| (path, text.as_bytes()));
    for (path, bytes) in texts.chain(input.bytes.iter().map(|(path, bytes)| (path, bytes.as_slice()))) {
        let file = world.path(path);
        if path.ends_with('/') {
            fs::create_dir_all(file).expect("a directory");
        } else {
            fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
            fs::write(file, bytes).expect("written");
        }
    }
}

fn call(world: &World, input: &Input) -> Ended {
    let mut palisade = world.palisade();
    palisade.args(&input.call);
    if let Some(text) = &input.stdin {
        palisade.stdin(fs::File::open(world.write("stdin", text)).expect("a file"));
    }
    Ended::of(&mut palisade)
}

/// The names in the workspace: nothing that is refused may have begun.
fn work(world: &World) -> String {
    let entries = fs::read_dir(world.workspace()).expect("a directory");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    format!("{names:?}")
}
