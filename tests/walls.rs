//! The crates' walls: what each may depend on, that only the runner reaches the sandbox, and that no module needs one that needs it. And the
//! names: none for more than a few types, and none of a module that says nothing of what it holds. And the methods: a type has no more than a
//! reader can have in mind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::support::world::{cargo, repository};

/// What a crate depends on in the product, itself left out, by name.
fn dependencies(package: &str, depth: &str) -> Vec<String> {
    tree(&["--package", package], depth)
}

fn tree(of: &[&str], depth: &str) -> Vec<String> {
    let mut cargo = cargo();
    cargo.arg("tree").args(of).args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    cargo.args(["--depth", depth, "--locked", "--offline"]);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let names = text.lines().skip(1).filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

#[test]
fn leaf_crates_know_no_transport_no_git_and_no_client() {
    for package in ["palisade-redact", "palisade-sandbox"] {
        let names = dependencies(package, "99");
        assert!(names.contains(&"libc".to_owned()) && names.len() > 10, "{package}: {names:?}");
        for foreign in ["russh", "bollard", "git2", "libgit2-sys", "ureq", "rmcp", "palisade-runner"] {
            assert!(!names.contains(&foreign.to_owned()), "{package} depends on {foreign}");
        }
    }
    assert!(dependencies("palisade-runner", "99").contains(&"git2".to_owned()), "the tree is read");
}

#[test]
fn only_the_runner_depends_on_the_sandbox() {
    let sandbox = "palisade-sandbox".to_owned();
    assert!(dependencies("palisade-runner", "1").contains(&sandbox));
    for package in ["palisade", "palisade-mcp", "palisade-audit", "palisade-redact"] {
        assert!(!dependencies(package, "1").contains(&sandbox), "{package} depends on the sandbox");
    }
}

#[test]
fn the_library_alone_brings_no_transport_and_no_program() {
    let names = tree(&["--package", "palisade", "--no-default-features"], "99");
    assert!(names.contains(&"palisade-runner".to_owned()) && names.len() > 50, "the tree is read: {names:?}");
    for foreign in ["russh", "bollard", "rmcp", "clap", "ratatui", "axum", "tracing-subscriber", "palisade-mcp"] {
        assert!(!names.contains(&foreign.to_owned()), "the library alone depends on {foreign}");
    }
    let all = dependencies("palisade", "99");
    for own in ["russh", "bollard", "rmcp", "clap"] {
        assert!(all.contains(&own.to_owned()), "the program has no {own}");
    }
}

#[test]
fn redaction_and_the_record_hold_no_unsafe_code() {
    for root in ["runner/redact/src/lib.rs", "runner/audit/src/lib.rs"] {
        let text = std::fs::read_to_string(repository().join(root)).expect(root);
        assert!(text.lines().any(|line| line == "#![forbid(unsafe_code)]"), "{root}");
    }
}

/// The modules at the top of a crate and the others there that each names, with a file that does. Tests may name anything.
type Modules = BTreeMap<String, BTreeMap<String, String>>;

fn modules(source: &Path) -> Modules {
    let mut modules = Modules::new();
    let mut open = vec![source.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory").flatten() {
            let path = entry.path();
            let inside = path.strip_prefix(source).expect("below").display().to_string();
            if path.is_dir() {
                open.push(path);
            } else if inside.ends_with(".rs") && !inside.contains("tests") && !["lib.rs", "main.rs"].contains(&&*inside)
            {
                let text = fs::read_to_string(&path).expect("text");
                let top = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
                let named = modules.entry(top.clone()).or_default();
                for name in named_at_the_top(&text, &inside).into_iter().filter(|name| *name != top) {
                    named.entry(name).or_insert_with(|| inside.clone());
                }
            }
        }
    }
    modules
}

/// What stands behind `crate::`, or behind as many `super::` as lead to the crate's root, in a file without its tests and comments.
fn named_at_the_top(text: &str, file: &str) -> BTreeSet<String> {
    // Tests stand at the end; `mod tests;` stands where the modules are named.
    let is_block = |tests: &str| tests.find('{').is_some_and(|block| tests.find(';').is_none_or(|end| block < end));
    let ends =
        text.match_indices("\n#[cfg(test)]\n").find(|(at, mark)| text.get(at + mark.len()..).is_some_and(is_block));
    let text = ends.and_then(|(at, _)| text.get(..at)).unwrap_or(text);
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let depth = file.matches('/').count() + usize::from(!file.ends_with("/mod.rs"));
    let root = "super::".repeat(depth);
    let mut names = BTreeSet::new();
    for way in ["crate::", &root] {
        let mut rest = code.as_str();
        while let Some((before, behind)) = rest.split_once(way) {
            rest = behind;
            if before.ends_with("super::") || behind.starts_with("super::") {
                continue;
            }
            let group = behind.strip_prefix('{').map(|group| group.split(';').next().unwrap_or_default());
            for name in group.map_or(vec![behind], |group| group.split(',').collect()) {
                let name: String = name.trim().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                names.insert(name);
            }
        }
    }
    names
}

/// The modules that lead back to themselves.
fn circles(modules: &Modules) -> Vec<&String> {
    let leads_back = |start: &&String| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![*start]);
        while let Some(at) = open.pop() {
            for next in modules.get(at).into_iter().flat_map(BTreeMap::keys) {
                if next == *start {
                    return true;
                }
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        false
    };
    modules.keys().filter(leads_back).collect()
}

#[test]
fn no_module_needs_one_that_needs_it() {
    for (package, least) in [("grammar", 10), ("engine", 20), ("runner", 15)] {
        let modules = modules(&repository().join(package).join("src"));
        assert!(modules.len() >= least, "{package}: {modules:?}");
        let circle = circles(&modules);
        let edges = circle.iter().flat_map(|from| {
            let to = modules[*from].iter().filter(|(to, _)| circle.contains(to));
            to.map(move |(to, file)| format!("\n  {from} -> {to} ({file})"))
        });
        assert!(circle.is_empty(), "{package}: these modules need each other:{}", edges.collect::<String>());
    }
}

#[test]
fn nothing_below_the_pipeline_knows_it() {
    for (module, named) in modules(&repository().join("runner/src")) {
        let may = ["pipeline", "dry_run"].contains(&module.as_str());
        assert!(may || !named.contains_key("pipeline"), "{module} names the pipeline, in {}", named["pipeline"]);
    }
}

#[test]
fn circles_are_found() {
    let circle = Modules::from([
        ("a".to_owned(), BTreeMap::from([("b".to_owned(), String::new())])),
        ("b".to_owned(), BTreeMap::from([("a".to_owned(), String::new())])),
    ]);
    assert_eq!(circles(&circle).len(), 2, "a circle is found");
    let code =
        "use crate::{one, two::X};\nuse super::three;\n// crate::four\n#[cfg(test)]\nmod tests { use crate::five; }";
    let names = named_at_the_top(code, "x.rs");
    assert!(["one", "two", "three"].iter().all(|name| names.contains(*name)) && names.len() == 3, "{names:?}");
}

/// Directories that the test of names leaves out: those that cargo and git make, tests and benchmarks.
const NOT_PRODUCT: [&str; 5] = ["target", ".git", "tests", "benches", "fuzz"];

/// The product's own files of Rust below the repository, by their paths there, each without its test modules.
fn sources() -> BTreeMap<String, String> {
    let (root, mut sources) = (repository(), BTreeMap::new());
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory").flatten() {
            let path = entry.path();
            let inside = path.strip_prefix(root).expect("below").display().to_string();
            let name = entry.file_name().display().to_string();
            if path.is_dir() {
                // A module of the runner is called `target`, as cargo's directory is.
                if !NOT_PRODUCT.contains(&&*name) || inside.contains("/src/target") {
                    open.push(path);
                }
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = fs::read_to_string(&path).expect("text");
                sources.insert(inside, without_test_modules(&text));
            }
        }
    }
    sources
}

/// A file's text without each module that stands behind `#[cfg(test)]` and is written out, up to its closing bracket.
fn without_test_modules(text: &str) -> String {
    let (mut kept, mut attributes, mut inside) = (String::new(), false, false);
    for line in text.lines() {
        if inside {
            inside = line != "}";
        } else if attributes && line.starts_with("mod ") {
            inside = line.ends_with('{');
            attributes = false;
        } else {
            attributes = line == "#[cfg(test)]" || attributes && line.starts_with("#[");
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The types that a file defines by `struct`, `enum`, `trait` or `type`. A `type` that is indented belongs to a trait.
fn types(text: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for line in text.lines() {
        let mut words = line
            .split_whitespace()
            .skip_while(|word| word.starts_with("pub") || word.ends_with(')') || *word == "unsafe");
        if let (Some(kind), Some(rest)) = (words.next(), words.next())
            && (["struct", "enum", "trait"].contains(&kind) || kind == "type" && !line.starts_with(' '))
        {
            names.insert(rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default());
        }
    }
    names
}

/// How many files may define a type of one name.
const MOST_OF_A_NAME: usize = 3;

/// Names that more files may define. Each module that is set up has its `Settings`, which are called by the module's name.
const COMMON: [&str; 1] = ["Settings"];

/// Its types have the names of those that they wrap.
const BLOCKING: &str = "src/blocking.rs";

/// The names that too many files define, each with these files.
fn overused(sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut defined: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (file, text) in sources.iter().filter(|(file, _)| *file != BLOCKING) {
        types(text).into_iter().for_each(|name| defined.entry(name).or_default().push(file));
    }
    let too_many = |(name, files): &(&str, Vec<&str>)| files.len() > MOST_OF_A_NAME && !COMMON.contains(name);
    defined.into_iter().filter(too_many).map(|(name, files)| format!("{name}: {}", files.join(", "))).collect()
}

/// Names of modules that say nothing of what the module holds, beside the words in `-ed` and `-ing`.
const RIDDLES: [&str; 26] = [
    "again", "apart", "been", "begun", "done", "found", "given", "gone", "heard", "held", "hidden", "inert", "kept",
    "known", "left", "made", "met", "said", "seen", "sent", "shown", "stood", "taken", "there", "told", "waits",
];

/// Words in `-ed` and `-ing` that name a thing, or that the field uses for a kind of call.
const THINGS: [&str; 4] = ["blocking", "drawing", "listing", "sed"];

/// Modules that keep such a name: the first three have those of a verb's words and of a table of the settings; the last one is what other
/// crates import the file of remembered yeses by.
const KEPT: [&str; 4] = [
    "src/cli/commands/redact/learned.rs",
    "src/cli/commands/approvals/remembered.rs",
    "src/config/serving.rs",
    "runner/src/remembered.rs",
];

/// Whether a module's name is one bare word that is a participle or a riddle.
fn is_riddle(stem: &str) -> bool {
    let is_participle = ["ed", "ing"].iter().any(|end| stem.ends_with(end)) && !stem.contains('_');
    is_participle && !THINGS.contains(&stem) || RIDDLES.contains(&stem)
}

/// The files whose modules have such names.
fn riddles<'a>(files: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let stem = |file: &str| file.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
    // A directory's module has the directory's name.
    let named = |file: &&String| is_riddle(&stem(file.strip_suffix("/mod.rs").unwrap_or(file)));
    files.filter(named).filter(|file| !KEPT.contains(&file.as_str())).collect()
}

#[test]
fn names_of_types_and_modules_say_what_they_are() {
    let sources = sources();
    let has = |file: &str| sources.contains_key(file);
    assert!(sources.len() > 300 && has("runner/src/target/mod.rs") && KEPT.iter().all(|file| has(file)), "all is read");
    assert!(sources.values().map(|text| types(text).len()).sum::<usize>() > 1000, "types are found");
    let overused = overused(&sources);
    assert!(
        overused.is_empty(),
        "more than {MOST_OF_A_NAME} files define a type of this name:\n  {}",
        overused.join("\n  ")
    );
    let riddles = riddles(sources.keys());
    assert!(riddles.is_empty(), "a module is named for the thing that it holds: {riddles:?}");
}

#[test]
fn overused_names_and_riddles_are_found() {
    let text = "pub(crate) struct Place<T>(T);\n/// enum Comment {}\n    type Item = u8;\n\
                #[cfg(test)]\n#[expect(clippy::unwrap_used)]\nmod tests {\n    struct InTests;\n}\npub type Alias = u8;\n";
    let text = without_test_modules(text);
    assert_eq!(types(&text), BTreeSet::from(["Alias", "Place"]));
    let of = |files: &[&str]| files.iter().map(|file| ((*file).to_owned(), text.clone())).collect::<BTreeMap<_, _>>();
    assert!(overused(&of(&["a.rs", "b.rs", "c.rs"])).is_empty());
    assert_eq!(
        overused(&of(&["a.rs", "b.rs", "c.rs", "d.rs"])),
        ["Alias: a.rs, b.rs, c.rs, d.rs", "Place: a.rs, b.rs, c.rs, d.rs"]
    );
    let files = [
        "x/told.rs",
        "x/asked.rs",
        "x/running.rs",
        "x/kept/mod.rs",
        "x/vouch/sed.rs",
        "x/learned_values.rs",
        "x/mod.rs",
    ];
    let files = files.map(str::to_owned);
    assert_eq!(riddles(files.iter()), files[..4].iter().collect::<Vec<_>>());
}

/// How many methods a type may have in all its `impl` blocks, those for traits included.
const MOST_METHODS: usize = 40;

/// The name of the type that an `impl` is of, by the text between that word and its bracket.
fn implemented(head: &str) -> String {
    let (mut depth, mut bare) = (0_usize, String::new());
    for c in head.replace("->", "").chars() {
        match c {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 => bare.push(c),
            _ => {}
        }
    }
    let of = bare.split(" where").next().unwrap_or_default().rsplit(" for ").next().unwrap_or_default();
    of.rsplit("::").next().unwrap_or_default().trim_matches([' ', '&', '{', '}']).to_owned()
}

/// Whether a line begins a method, by its words.
fn is_method(line: &str) -> bool {
    let before = |word: &&str| {
        word.starts_with("pub") || word.ends_with(')') || ["const", "async", "unsafe", "extern", "\"C\""].contains(word)
    };
    line.split_whitespace().find(|word| !before(word)) == Some("fn")
}

/// How many methods each type has in these files, by its name.
fn methods<'a>(files: impl Iterator<Item = &'a String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for text in files {
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let begin = line.trim_start();
            let indent = " ".repeat(line.len() - begin.len());
            let behind = begin.strip_prefix("unsafe ").unwrap_or(begin).strip_prefix("impl");
            let Some(head) = behind.filter(|behind| behind.starts_with([' ', '<'])) else { continue };
            let mut head = head.to_owned();
            while !head.ends_with(['{', '}']) {
                let Some(more) = lines.next() else { break };
                head = format!("{head} {}", more.trim());
            }
            let count: &mut usize = counts.entry(implemented(&head)).or_default();
            if head.ends_with('{') {
                let (end, inside) = (format!("{indent}}}"), format!("{indent}    "));
                let inside = |line: &&str| {
                    line.strip_prefix(&inside).is_some_and(|line| !line.starts_with(' ') && is_method(line))
                };
                *count += lines.by_ref().take_while(|line| *line != end).filter(inside).count();
            }
        }
    }
    counts
}

#[test]
fn no_type_of_the_runner_has_too_many_methods() {
    let sources = sources();
    let counts = methods(sources.iter().filter(|(file, _)| file.starts_with("runner/src/")).map(|(_, text)| text));
    assert!(
        counts.len() > 200 && counts.values().sum::<usize>() > 1000 && counts["Pipeline"] > 10,
        "all is read: {counts:?}"
    );
    let large: BTreeMap<&str, usize> = counts
        .iter()
        .filter(|(_, count)| **count > MOST_METHODS)
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    assert!(
        large.is_empty(),
        "a type of the runner has at most {MOST_METHODS} methods; split by what they are about: {large:?}"
    );
}

#[test]
fn methods_are_counted_over_all_blocks() {
    let text = "impl<'a, T: Into<Vec<u8>>> a::One<'a, T>\nwhere\n    T: Copy,\n{\n    pub(in crate::x) async fn f(self) -> u8 {\n        let fn_like = \
                || 1;\n        fn inner() {}\n    }\n\n    const fn g() {}\n}\n\nimpl One<'_, u8> {\n    fn h(&self) {}\n}\n\nimpl Empty for One<'_, u8> {}\n\
                unsafe impl<F: Fn(u8) -> Vec<u8>> fmt::Debug for Other<F> {\n    fn fmt(&self) {}\n}\n    impl Nested {\n        fn i() {}\n    }\n";
    let counts = methods(std::iter::once(&text.to_owned()));
    let expected = [("One", 3), ("Other", 1), ("Nested", 1)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(counts, BTreeMap::from(expected));
}
