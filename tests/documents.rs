//! Every command that the documents show is run as it stands there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::world::{Ended, World, repository};

/// Commands that are run by other means: the one builds what is tested here, the other runs this test.
const ELSEWHERE: [&str; 3] = ["palisade doctor --try", "cargo run --release -- run 'git status; ls'", "tests/run"];

#[test]
fn the_readmes_commands_do_what_it_says() {
    let text = fs::read_to_string(repository().join("README.md")).expect("README.md");
    let blocks = shell_blocks(&text);
    assert!(blocks.len() >= 4, "{blocks:?}");
    let world = World::new();
    workspace(&world);
    let binary = Path::new(env!("CARGO_BIN_EXE_palisade"));
    let path =
        format!("{}:{}", binary.parent().expect("a directory").display(), std::env::var("PATH").unwrap_or_default());
    for block in blocks {
        let commands: String =
            block.lines().filter(|line| !ELSEWHERE.contains(line)).map(|line| format!("{line}\n")).collect();
        for (command, status) in statements(&commands) {
            let mut bash = Command::new("bash");
            let envs = world.palisade();
            bash.current_dir(world.workspace()).arg("-c").arg(&command).env("PATH", &path);
            for (name, value) in envs.get_envs() {
                match value {
                    Some(value) => bash.env(name, value),
                    None => bash.env_remove(name),
                };
            }
            if let Some(home) = std::env::var_os("HOME").filter(|_| command.contains("cargo")) {
                bash.env("HOME", home);
            }
            let ended = Ended::of(&mut bash);
            assert_eq!(ended.code, Some(status), "{command}\n{ended:?}");
        }
    }
    // The policy works over MCP as well, from where the agent cannot change it.
    fs::rename(world.path("work/site"), world.path("site")).expect("the policies of the README");
    crate::policy::works_over_mcp(&world, &["--policies", &world.path("site").display().to_string()]);
    let main_job = world.run("git status; ls");
    assert_eq!(main_job.code, Some(0), "{main_job:?}");
}

/// A small repository with a crate in it, as a reader's project would be.
fn workspace(world: &World) {
    fs::create_dir_all(world.path("work/sub")).expect("a directory");
    fs::create_dir_all(world.path("work/src")).expect("a directory");
    world.write("work/Cargo.toml", "[package]\nname = \"example\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    world.write("work/src/lib.rs", "");
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"];
        let status = Command::new("git").args(identity).args(arguments).current_dir(world.workspace()).status();
        assert!(status.is_ok_and(|status| status.success()), "git {arguments:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "first"]);
}

#[test]
fn the_commands_about_views_do_what_their_page_says() {
    let text = fs::read_to_string(repository().join("docs/overlay.md")).expect("docs/overlay.md");
    let blocks = shell_blocks(&text);
    assert_eq!(blocks.len(), 1, "{blocks:?}");
    let world = World::new();
    for line in blocks.iter().flat_map(|block| block.lines()) {
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        let ended = world.call(&words);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{line}: {ended:?}");
    }
}

#[test]
fn the_commands_about_clients_and_the_shell_do_what_their_pages_say() {
    let binary = Path::new(env!("CARGO_BIN_EXE_palisade"));
    let path =
        format!("{}:{}", binary.parent().expect("a directory").display(), std::env::var("PATH").unwrap_or_default());
    for page in ["docs/clients.md", "docs/shell.md"] {
        let text = fs::read_to_string(repository().join(page)).expect(page);
        let blocks = shell_blocks(&text);
        assert_eq!(blocks.len(), 1, "{page}: {blocks:?}");
        let world = World::new();
        workspace(&world);
        fs::create_dir_all(world.path("home/.claude")).expect("a directory");
        for line in blocks.iter().flat_map(|block| block.lines()) {
            let mut bash = Command::new("bash");
            bash.current_dir(world.workspace()).args(["-c", line]).env("PATH", &path).env("HOME", world.path("home"));
            bash.env("XDG_STATE_HOME", world.path("state")).env_remove("XDG_RUNTIME_DIR").env_remove("XDG_CONFIG_HOME");
            for moved in ["CLAUDE_CONFIG_DIR", "CODEX_HOME", "GEMINI_CLI_HOME"] {
                bash.env_remove(moved);
            }
            let ended = Ended::of(&mut bash);
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{page}: {line}: {ended:?}");
        }
    }
}

fn shell_blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once("```sh\n") {
        let Some((block, after)) = behind.split_once("```") else { break };
        blocks.push(block.to_owned());
        rest = after;
    }
    blocks
}

/// A block's statements with the exit status that each must have: here-documents stay whole.
fn statements(block: &str) -> Vec<(String, i32)> {
    let mut statements = Vec::new();
    let mut lines = block.lines();
    while let Some(line) = lines.next() {
        let mut statement = line.to_owned();
        if line.contains("<<'EOF'") {
            for inside in lines.by_ref() {
                statement.push('\n');
                statement.push_str(inside);
                if inside == "EOF" {
                    break;
                }
            }
        }
        let denied = ["sudo", "| sh", "push origin main"].iter().any(|words| line.contains(words));
        let status = if line.starts_with("palisade check") && denied { 2 } else { 0 };
        if !statement.trim().is_empty() {
            statements.push((statement, status));
        }
    }
    statements
}

/// The glossary defines each word once, and few enough that a newcomer reads it.
#[test]
fn the_glossary_is_short_and_defines_each_word_once() {
    let text = fs::read_to_string(repository().join("docs/glossary.md")).expect("docs/glossary.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| **")?.split_once("** | "));
    let words: Vec<&str> = rows.map(|(word, _)| word).collect();
    let different: std::collections::BTreeSet<&&str> = words.iter().collect();
    assert!((20..=40).contains(&words.len()) && different.len() == words.len(), "{words:?}");
}

/// A reader who follows a file's name in the documents finds the file. `sandbox/x.rs`, `audit/x.rs` and `redact/x.rs` leave `src/` out.
#[test]
fn the_files_that_documents_name_are_there() {
    let git = Command::new("git").args(["ls-files"]).current_dir(repository()).output().expect("git runs");
    let files = String::from_utf8(git.stdout).expect("text");
    let files: Vec<String> = files.lines().map(|file| format!("/{file}")).collect();
    let mut named = 0;
    for document in files.iter().filter(|file| file.ends_with(".md") && *file != "/CHANGELOG.md") {
        let text = fs::read_to_string(repository().join(document.trim_start_matches('/'))).expect("a document");
        for name in
            text.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".rs") && !name.contains([' ', '*']))
        {
            let crates = ["sandbox/", "audit/", "redact/"].iter().find(|start| name.starts_with(**start));
            let within = crates.map(|start| name.replacen(start, &format!("{start}src/"), 1));
            let is_it = |file: &&String| {
                let ends = |name: &str| file.ends_with(&format!("/{name}"));
                ends(name) || within.as_deref().is_some_and(ends)
            };
            assert!(files.iter().any(|file| is_it(&file)), "{document} names `{name}`");
            named += 1;
        }
    }
    assert!(named > 50, "the documents are read: {named}");
}
