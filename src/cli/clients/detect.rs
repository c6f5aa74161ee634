//! What the clients of this user have been told of Palisade, and whether it holds.
//!
//! Reads files that others than the operator may have written: nothing of them is run but a program that the user or root owns.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser as _;
use serde::Serialize;
use serde_json::Value;

use super::{CLIENTS, Client, Form, ShellBan, installation};
use crate::cli::args::{Cli, Verb};
use crate::cli::report::{CliError, printable};
use crate::config;

/// How long another program may take to say what it is.
const ANSWER: Duration = Duration::from_secs(5);

/// Most of a client's file that is read.
const MOST: u64 = 16 << 20;

/// One client whose settings are there, and how it stands with one server in them.
#[derive(Debug, Serialize)]
pub(crate) struct ClientFinding {
    /// As `setup` has it.
    pub(crate) client: &'static str,
    /// It starts Palisade, and Palisade would serve it.
    pub(crate) ready: bool,
    /// As a sentence.
    pub(crate) text: String,
}

/// A server in a client's settings.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    name: String,
    program: String,
    arguments: Vec<String>,
    is_off: bool,
}

/// One or more for each client whose file is there; `workspace`: where it works.
pub(crate) fn findings(workspace: Option<&Path>) -> Vec<ClientFinding> {
    let hooks = installation::findings(workspace);
    // A client that asks the hook needs no server.
    let hooked: Vec<&str> = hooks.iter().map(|hook| hook.client).collect();
    let needs_server = |client: &&Client| !hooked.contains(&client.name) || client.starts_palisade();
    let servers = CLIENTS.iter().filter(needs_server).flat_map(|client| of(client, workspace));
    let servers: Vec<ClientFinding> = servers.collect();
    hooks.into_iter().chain(servers).collect()
}

impl Client {
    /// Whether its file of servers names Palisade.
    fn starts_palisade(&self) -> bool {
        let path = self.servers.path().filter(|path| path.is_file());
        path.is_some_and(|path| read(&path, self).is_ok_and(|listed| !listed.is_empty()))
    }
}

fn of(client: &'static Client, workspace: Option<&Path>) -> Vec<ClientFinding> {
    let Some(path) = client.servers.path().filter(|path| path.is_file()) else { return Vec::new() };
    let file = path.display();
    let finding = |ready, text: String| ClientFinding { client: client.name, ready, text: printable(&text) };
    let listed = match read(&path, client) {
        Ok(listed) => listed,
        Err(why) => return vec![finding(false, format!("{file} cannot be read: {why}"))],
    };
    if listed.is_empty() {
        let how = format!("`palisade setup {}` prints what it needs", client.name);
        return vec![finding(false, format!("{file} does not name Palisade; {how}"))];
    }
    let tell = |server: &Listed| match server.stands() {
        Ok(answer) => finding(true, format!("{file} starts {answer}")),
        Err(why) => finding(false, format!("{file} names `{}`, {why}", server.program)),
    };
    let near = |name: &&str| workspace.map(|directory| directory.join(name)).filter(|path| path.exists());
    let otherwise = |path: PathBuf| {
        finding(false, format!("{} is within the agent's reach and can tell the client otherwise", path.display()))
    };
    let shell = has_shell(client).map(|path| {
        let how = format!("`palisade setup {}` prints what does", client.name);
        finding(
            false,
            format!("{} does not say all that keeps it from running commands by itself; {how}", path.display()),
        )
    });
    listed.iter().map(tell).chain(shell).chain(client.nearby.files.iter().filter_map(near).map(otherwise)).collect()
}

/// The servers of a client's file that are Palisade by their own name or by their program's.
fn read(path: &Path, client: &Client) -> Result<Vec<Listed>, String> {
    let settings = settings(path, client.form)?;
    // Claude Code keeps those of single directories further down.
    let projects = settings.get("projects").and_then(Value::as_object);
    let tables = std::iter::once(&settings).chain(projects.into_iter().flat_map(|projects| projects.values()));
    let servers = tables.filter_map(|table| table.get(client.key)?.as_object()).flatten();
    Ok(servers.filter_map(|(name, entry)| listed(name, entry)).collect())
}

/// What a file says.
pub(super) fn settings(path: &Path, form: Form) -> Result<Value, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(MOST).read_to_string(&mut text).map_err(|error| error.to_string())?;
    parsed(&text, form)
}

fn parsed(text: &str, form: Form) -> Result<Value, String> {
    match form {
        Form::Json => serde_json::from_str(&without_comments(text)).map_err(|error| error.to_string()),
        Form::Toml => toml::from_str(text).map_err(|error| error.message().to_owned()),
    }
}

/// The file that does not say all of what keeps this client from a shell of its own, if one could.
fn has_shell(client: &Client) -> Option<PathBuf> {
    let ShellBan::File(place, text) = &client.shell else { return None };
    let path = place.path()?;
    let form = if path.extension().is_some_and(|extension| extension == "toml") { Form::Toml } else { Form::Json };
    let wanted = parsed(text, form).ok();
    let told = if path.is_file() { settings(&path, form).ok() } else { None };
    let is_said = told.zip(wanted).is_some_and(|(told, wanted)| holds(&told, &wanted));
    (!is_said).then_some(path)
}

/// Whether all of `wanted` is said, whatever else is.
fn holds(told: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::Object(fields) => {
            fields.iter().all(|(key, wanted)| told.get(key).is_some_and(|told| holds(told, wanted)))
        }
        Value::Array(values) => {
            let told = told.as_array().map(Vec::as_slice).unwrap_or_default();
            values.iter().all(|wanted| told.iter().any(|told| holds(told, wanted)))
        }
        plain => told == plain,
    }
}

fn listed(name: &str, entry: &Value) -> Option<Listed> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
    };
    // One client has the program and its arguments in one list.
    let (program, arguments) = match entry.get("command")? {
        Value::String(program) => (program.clone(), entry.get("args").map(texts).unwrap_or_default()),
        words => {
            let mut words = texts(words).into_iter();
            (words.next()?, words.collect())
        }
    };
    let is_ours = name == super::NAME || Path::new(&program).file_name().is_some_and(|name| name == "palisade");
    let says = |key: &str, value: bool| entry.get(key) == Some(&Value::Bool(value));
    let is_off = says("enabled", false) || says("disabled", true);
    is_ours.then(|| Listed { name: name.to_owned(), program, arguments, is_off })
}

impl Listed {
    /// What starts and for whom, or why nothing would.
    fn stands(&self) -> Result<String, String> {
        let program = Path::new(&self.program);
        if self.is_off {
            return Err(format!("and `{}` is switched off", self.name));
        }
        if !program.is_absolute() {
            return Err("which is no absolute path: the client takes the first of that name on its own PATH".to_owned());
        }
        let real = program.canonicalize().map_err(|_| "which is not there".to_owned())?;
        let itself = std::env::current_exe().ok().and_then(|path| path.canonicalize().ok());
        if itself.as_ref() == Some(&real) {
            return self.serves().map(|whom| format!("this program {whom}"));
        }
        version(&real).map(|version| format!("{} ({version}), which is another than this program", self.program))
    }

    /// Whom this very program would serve with these arguments, and where; or why it would not.
    fn serves(&self) -> Result<String, String> {
        let words = std::iter::once(&self.program).chain(&self.arguments);
        let cli = Cli::try_parse_from(words).map_err(|_| "with arguments that it does not take".to_owned())?;
        let Verb::Serve(serve) = cli.verb else { return Err("without the verb `serve`".to_owned()) };
        let settings = config::load(&serve.context, "serve")
            .map_err(|error| format!("which would not start: {}", CliError::from(error)))?;
        let around = settings.surroundings;
        Ok(format!("for `{}` in {}", around.principal.agent, around.workspace))
    }
}

/// What another program says that it is.
fn version(program: &Path) -> Result<String, String> {
    let about = program.metadata().map_err(|error| format!("which cannot be looked at: {error}"))?;
    if !about.is_file() || about.mode() & 0o111 == 0 {
        return Err("which is no program".to_owned());
    }
    // Root may look at a user's settings: what they name is not run with more than its owner has.
    let own = rustix::process::geteuid().as_raw();
    if ![0, own].contains(&about.uid()) || about.mode() & 0o002 != 0 {
        return Err("which others than you and root can change".to_owned());
    }
    let told = answer(program).ok_or_else(|| "which does not answer".to_owned())?;
    let told = told.lines().next().unwrap_or_default();
    if told.starts_with("palisade ") { Ok(told.to_owned()) } else { Err("which is not Palisade".to_owned()) }
}

/// What it prints for `--version`, unless it takes too long.
fn answer(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version").current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let deadline = Instant::now() + ANSWER;
    while child.try_wait().ok()?.is_none() {
        if Instant::now() > deadline {
            let _gone = child.kill().and_then(|()| child.wait().map(drop));
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut told = Vec::new();
    child.stdout?.take(1024).read_to_end(&mut told).ok()?;
    Some(String::from_utf8_lossy(&told).into_owned())
}

/// JSON as clients' own readers take it: comments become nothing, and so does a comma behind the last value.
fn without_comments(text: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(character) = rest.chars().next() {
        let taken = match character {
            '"' => quoted(rest),
            '/' if rest.starts_with("//") => {
                rest = rest.find('\n').and_then(|end| rest.get(end..)).unwrap_or_default();
                continue;
            }
            '/' if rest.starts_with("/*") => {
                rest = rest.split_once("*/").map_or("", |(_, behind)| behind);
                continue;
            }
            '}' | ']' => {
                let kept = plain.trim_end().len();
                if plain.trim_end().ends_with(',') {
                    plain.truncate(kept - 1);
                }
                1
            }
            other => other.len_utf8(),
        };
        let (this, behind) = rest.split_at_checked(taken).unwrap_or((rest, ""));
        plain.push_str(this);
        rest = behind;
    }
    plain
}

/// The length of the text in quotation marks that `text` begins with.
fn quoted(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_last_commas_are_read_over() {
        for (text, expected) in [
            ("{\"a\": 1} // b", "{\"a\": 1} "),
            ("{\"a//b\": \"/* c */\", /* d */ \"e\": [1, 2, ],\n}", "{\"a//b\": \"/* c */\",  \"e\": [1, 2]}"),
            ("\"a\\\"//b\"", "\"a\\\"//b\""),
            ("{ /* é", "{ "),
            ("\"é", "\"é"),
            ("[1, // one\n]", "[1]"),
        ] {
            assert_eq!(without_comments(text), expected, "{text}");
        }
    }

    #[test]
    fn all_that_is_wanted_has_to_be_said() {
        use serde_json::json;
        let wanted = json!({ "deny": ["Bash"], "shell": false });
        for (told, expected) in [
            (json!({ "deny": ["Read", "Bash"], "shell": false, "more": 1 }), true),
            (json!({ "deny": ["Read"], "shell": false }), false),
            (json!({ "deny": "Bash", "shell": false }), false),
            (json!({ "deny": ["Bash"], "shell": true }), false),
            (json!({}), false),
        ] {
            assert_eq!(holds(&told, &wanted), expected, "{told}");
        }
    }

    #[test]
    fn a_server_is_ours_by_its_name_or_its_program() {
        let of = |name: &str, entry: Value| listed(name, &entry).map(|found| (found.program, found.arguments));
        let ours = |program: &str, arguments: &[&str]| {
            Some((program.to_owned(), arguments.iter().map(|word| (*word).to_owned()).collect()))
        };
        use serde_json::json;
        assert_eq!(
            of("shell", json!({ "command": "/x/palisade", "args": ["serve"] })),
            ours("/x/palisade", &["serve"])
        );
        assert_eq!(of("palisade", json!({ "command": ["/x/y", "serve"] })), ours("/x/y", &["serve"]));
        assert_eq!(of("files", json!({ "command": "/x/files" })), None);
        assert_eq!(of("palisade", json!({ "url": "https://palisade.example/mcp" })), None);
        assert_eq!(of("palisade", json!({ "command": [] })), None);
        assert_eq!(of("palisade", json!("palisade")), None);
    }
}
