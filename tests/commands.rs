//! The corpus in `tests/commands/`: what is hostile is never allowed, what is harmless nearly always.
//!
//! `hostile.jsonl` holds commands behind each of which an effect hides that the policy below does not permit: another
//! program, a write outside the workspace, a secret, a connection, code that the text does not hold. `must` is `deny`
//! where the text alone tells it, `not-allow` where asking a person is right too. `harmless.jsonl` holds what agents
//! write every day, and what looks worse than it is. `programs.toml` says which programs the policy permits: `base` to
//! each hostile command, and besides what is listed for its kind; `harmless` to the harmless ones. In both files
//! `/home/u` stands for the home directory, `/wd` for the workspace and `../etc` for `/etc`.
//!
//! `gaps.toml` holds what is not judged as it should be yet. Its rows count in every share below, and one that is judged
//! rightly has to move into the corpus. Nothing hostile in it is allowed but what runs a project's own code by the name of a
//! program that the policy permits (`docs/threat-model.md`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::world::{World, repository};

/// Of a hundred commands that the text alone condemns, so many are denied without a question.
const DENIED_OUTRIGHT: usize = 95;
/// Of a hundred harmless commands, so many are allowed.
const ALLOWED: usize = 98;

/// What besides the programs is permitted.
const POLICY: &str = r#"
@id("reads")
@reason("Anything but secrets.")
permit(principal, action == Action::"read", resource);
@id("no-secrets")
@reason("Secrets stay secret.")
forbid(principal, action == Action::"read", resource)
when { resource in PathGroup::"secrets" || resource.contains.contains(PathGroup::"secrets") };
@id("changes")
@reason("The workspace is the agent's own.")
permit(principal, action in Action::"fileChange", resource) when { resource in context.workspace };
@id("devices")
@reason("They hold nothing.")
permit(principal, action == Action::"write", resource in PathGroup::"devices");
@id("variables")
@reason("All that the guards leave.")
permit(principal, action == Action::"setEnv", resource);
"#;

#[derive(serde::Deserialize)]
struct Line {
    id: String,
    kind: String,
    command: String,
    must: String,
}

/// A command that is not judged as it should be.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Gap {
    kind: String,
    command: String,
    must: String,
    is: String,
    reason: String,
}

impl Gap {
    fn line(&self) -> Line {
        let (kind, command, must) = (self.kind.clone(), self.command.clone(), self.must.clone());
        Line { id: "gap".to_owned(), kind, command, must }
    }
}

type Programs = BTreeMap<String, Vec<String>>;

/// The kind of gaps that may be allowed: programs that run a project's own code.
const BY_NAME: &str = "project_code";

#[test]
fn nothing_hostile_is_allowed_and_what_the_text_tells_is_denied() {
    let lines = read("hostile.jsonl");
    let programs = programs();
    let mut kinds: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    for line in &lines {
        kinds.entry(&line.kind).or_default().push(line);
    }
    let (mut allowed, mut asked, mut decidable) = (Vec::new(), Vec::new(), 0);
    for (kind, lines) in kinds {
        let permitted = programs["base"].iter().chain(programs.get(kind).into_iter().flatten());
        for (line, decision) in lines.iter().zip(judge(permitted, &lines)) {
            let must_deny = match line.must.as_str() {
                "deny" => true,
                "not-allow" => false,
                other => panic!("{}: `must` is `{other}`", line.id),
            };
            decidable += usize::from(must_deny);
            match decision.as_str() {
                "allow" => allowed.push(told(line, &decision)),
                "ask" if must_deny => asked.push(told(line, &decision)),
                _ => {}
            }
        }
    }
    assert!(allowed.is_empty(), "{} hostile commands are allowed:\n{}", allowed.len(), allowed.concat());
    for gap in gaps().iter().filter(|gap| gap.must == "deny") {
        decidable += 1;
        asked.push(format!("{}\tgap\t{}\t{:?}\n", gap.is, gap.kind, gap.command));
    }
    assert!(
        asked.len() * 100 <= decidable * (100 - DENIED_OUTRIGHT),
        "{} of {decidable} are only asked about:\n{}",
        asked.len(),
        asked.concat()
    );
}

#[test]
fn what_is_harmless_is_allowed() {
    let lines = read("harmless.jsonl");
    let programs = programs();
    let references: Vec<&Line> = lines.iter().collect();
    let decisions = judge(programs["harmless"].iter(), &references);
    let mut refused: Vec<String> =
        lines.iter().zip(&decisions).filter(|(_, is)| *is != "allow").map(|(line, is)| told(line, is)).collect();
    let gaps = gaps();
    let gaps = gaps.iter().filter(|gap| gap.must == "allow");
    refused.extend(gaps.clone().map(|gap| format!("{}\tgap\t{}\t{:?}\n", gap.is, gap.kind, gap.command)));
    let all = lines.len() + gaps.count();
    assert!(
        refused.len() * 100 <= all * (100 - ALLOWED),
        "{} of {all} harmless commands are refused:\n{}",
        refused.len(),
        refused.concat()
    );
}

#[test]
fn gaps_are_still_there_and_only_programs_by_name_are_allowed() {
    let programs = programs();
    let mut kinds: BTreeMap<String, Vec<Gap>> = BTreeMap::new();
    for gap in gaps() {
        let kind = if gap.must == "allow" { "harmless" } else { gap.kind.as_str() };
        kinds.entry(kind.to_owned()).or_default().push(gap);
    }
    for (kind, gaps) in kinds {
        let base = programs["base"].iter().filter(|_| kind != "harmless");
        let permitted = base.chain(programs.get(&kind).into_iter().flatten());
        let lines: Vec<Line> = gaps.iter().map(Gap::line).collect();
        for (gap, is) in gaps.iter().zip(judge(permitted, &lines.iter().collect::<Vec<_>>())) {
            assert_eq!(is, gap.is, "what it is in gaps.toml: {:?}", gap.command);
            let right = if gap.must == "not-allow" { is != "allow" } else { is == gap.must };
            assert!(!right, "no gap any more, so that it belongs into the corpus: {:?}", gap.command);
            let named = gap.must == "allow" || gap.kind == BY_NAME;
            assert!(named || is != "allow", "hostile, and allowed: {:?}", gap.command);
            assert!(gap.reason.len() > 20, "why? {:?}", gap.command);
        }
    }
}

/// The decision, as if each table had been compared with its program: what these corpora try is what the tables say. Where no guard
/// stands, other programs are asked about whatever their words are; [`what_no_reviewed_table_knows_is_not_allowed`] tries that.
fn by_tables(verdict: &Value) -> String {
    let decision = verdict["decision"].as_str().unwrap_or_else(|| panic!("{verdict}"));
    let by_guard =
        |request: &Value| request["decision"] == "allow" || request["determining"] == json!(["guard-opaque"]);
    let unheld = |opaque: &Value| ["not-reviewed", "project-code"].map(Value::from).contains(&opaque["reason"]);
    let all =
        |list: &str, fits: &dyn Fn(&Value) -> bool| verdict[list].as_array().is_some_and(|all| all.iter().all(fits));
    let is_review = decision == "ask" && all("requests", &by_guard) && all("opaque", &unheld);
    if is_review { "allow" } else { decision }.to_owned()
}

/// Ways to a shell or to files through programs that are permitted by name, and what tables without a review take for harmless.
#[test]
fn what_no_reviewed_table_knows_is_not_allowed() {
    let world = World::new();
    world.write("work/json.py", "");
    std::fs::create_dir(world.path("work/sub")).expect("a directory");
    world.write("work/sub/HEAD", "ref: refs/heads/main\n");
    let policy = world.write("site.cedar", &format!("{POLICY}@id(\"all\")\npermit(principal, action, resource);\n"));
    let policy = policy.display().to_string();
    for (command, expected) in [
        ("python3 -c 'import json'", "ask"),
        ("fdfind x -xsh", "ask"),
        ("git -C sub status", "ask"),
        ("cargo --version", "ask"),
        ("man ./x.1", "ask"),
        ("xmllint --schema s.xsd x.xml", "ask"),
        ("make", "ask"),
        ("no-table-for-this", "ask"),
        ("grep -R x sub", "ask"),
        ("diff -r sub other", "ask"),
        ("find -L sub", "ask"),
        ("ls --no-such-option", "ask"),
        ("env -C sub git status", "ask"),
        ("who $(cat json.py)", "ask"),
        ("who *", "ask"),
        ("cp *p sub", "ask"),
        ("cp *.py sub", "allow"),
        ("who utmp", "allow"),
        ("x=$(cat json.py); echo \"$x\"", "allow"),
        ("find sub -name '*.py' | xargs echo", "allow"),
        ("ls -l sub | sort -n | head -3", "allow"),
        ("grep -rn x sub", "allow"),
        ("find sub -name HEAD", "allow"),
        ("tar -cf a.tar sub", "allow"),
        ("x=1; echo $x; [[ -f sub/HEAD ]]", "allow"),
    ] {
        let is = world.call(&["check", "--json", "--unguarded", "--policies", &policy, command]).json();
        assert_eq!(is["decision"], expected, "{command}: {is}");
        let guarded = world.call(&["check", "--json", "--policies", &policy, command]).json();
        let reasons = guarded["opaque"].as_array().into_iter().flatten();
        assert!(reasons.into_iter().all(|item| item["reason"] != "not-reviewed"), "{guarded}");
    }
}

fn gaps() -> Vec<Gap> {
    #[derive(serde::Deserialize)]
    struct Gaps {
        gap: Vec<Gap>,
    }
    let text = std::fs::read_to_string(repository().join("tests/commands/gaps.toml")).expect("gaps.toml");
    toml::from_str::<Gaps>(&text).expect("a table").gap
}

fn read(name: &str) -> Vec<Line> {
    let text = std::fs::read_to_string(repository().join("tests/commands").join(name)).expect(name);
    let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.len() > 300, "{name} holds {} commands only", lines.len());
    lines
}

fn programs() -> Programs {
    let text = std::fs::read_to_string(repository().join("tests/commands/programs.toml")).expect("programs.toml");
    toml::from_str(&text).expect("a table")
}

fn told(line: &Line, decision: &str) -> String {
    format!("{decision}\t{}\t{}\t{:?}\n", line.id, line.kind, line.command)
}

/// The decision on each command, under a policy that permits these programs.
fn judge<'p>(programs: impl Iterator<Item = &'p String>, lines: &[&Line]) -> Vec<String> {
    let world = World::new();
    std::fs::create_dir_all(world.workspace().join("dir")).expect("a directory");
    for file in ["a.txt", "b.txt", "a.json", "dir/x", "home/.bashrc", "home/.ssh/id_rsa"] {
        let below = if file.starts_with("home/") { "" } else { "work/" };
        world.write(&format!("{below}{file}"), "1\n");
    }
    let mut policy = POLICY.to_owned();
    for (index, program) in programs.enumerate() {
        let program = json!(program);
        write!(policy, "@id(\"program-{index}\")\n@reason(\"Permitted.\")\n").expect("written");
        writeln!(policy, "permit(principal, action == Action::\"exec\", resource in Program::{program});")
            .expect("written");
    }
    let policy = world.write("site.cedar", &policy);
    let input: String = lines.iter().map(|line| format!("{}\n", json!({ "command": placed(&world, line) }))).collect();
    let mut child = world.palisade();
    child.args(["check", "--batch", "--unguarded", "--policies"]).arg(policy);
    // What a person has installed in the home directory is no part of this.
    child.env("PATH", "/usr/bin:/bin").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().expect("the binary starts");
    let mut standard_input = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || standard_input.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it ends").expect("written");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let decisions: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a JSON line"))
        .map(|verdict| by_tables(&verdict))
        .collect();
    assert_eq!(decisions.len(), lines.len());
    decisions
}

fn placed(world: &World, line: &Line) -> String {
    let text = |path: std::path::PathBuf| path.to_str().expect("UTF-8").to_owned();
    let up = "../".repeat(world.workspace().components().count().saturating_sub(1));
    let command = line.command.replace("../etc/", &format!("{up}etc/"));
    command.replace("/home/u", &text(world.path("home"))).replace("/wd", &text(world.workspace()))
}
