//! What each client has to be told so that it asks `palisade hook` before it uses a tool.
//!
//! Knowledge, measured with the versions that `docs/clients.md` names. The command ends with status 2 and a line on standard error if the
//! program is missing or dies: clients take that for a denial, and any other failure of a hook for nothing.

use std::path::{Path, PathBuf};

use palisade_audit::Digest;
use serde_json::{Value, json};

use super::edit::{Edit, FileChange, JsonStep, MARK};

/// Whose settings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The user's own: a file in the directory that a client works in may switch them off.
    User,
    /// The machine's, which no other file switches off.
    System,
}

/// How long a client waits for the hook, in seconds: longer than the hook takes to give up.
const WAIT: u32 = 60;

/// A client that can be told to ask a hook.
pub(crate) struct Hooked {
    /// As it is typed.
    pub(crate) name: &'static str,
    /// Its maker's name for it.
    pub(crate) title: &'static str,
    /// What is there if the client is: below the home directory.
    sign: &'static str,
    /// The files and what is changed in them.
    edits: fn(&Told<'_>) -> Result<Vec<Edit>, String>,
    /// Files in the directory that it works in that can switch the user's hook off, and how.
    pub(crate) switches: &'static [Switch],
    /// Why the client would not ask the hook that its file names, if that can be told.
    pub(crate) unasked: fn(&Path) -> Option<&'static str>,
    /// What the hook does not see, as a sentence.
    pub(crate) unseen: &'static str,
}

/// A way to switch a hook off from the directory that a client works in.
pub(crate) struct Switch {
    /// The file.
    pub(crate) file: &'static str,
    /// What in it does so: keys from the outside in, and the value; none: whatever stands there.
    pub(crate) keys: &'static [&'static str],
    pub(crate) value: Option<bool>,
}

/// What is to be told.
struct Told<'a> {
    scope: Scope,
    /// The command line of the hook.
    command: String,
    /// Its words.
    words: &'a [String],
    home: PathBuf,
}

/// All of them, in the order in which they are listed.
pub(crate) static HOOKED: &[Hooked] = &[
    Hooked {
        name: "claude",
        title: "Claude Code",
        sign: ".claude",
        edits: |told| {
            let entry =
                json!({ "matcher": "*", "hooks": [{ "type": "command", "command": told.command, "timeout": WAIT }] });
            match told.scope {
                Scope::User => Ok(vec![Edit {
                    path: told.moved("CLAUDE_CONFIG_DIR", ".claude").join("settings.json"),
                    change: FileChange::Steps({
                        let own =
                            (!told.is_shadow()).then(|| JsonStep::Set(&["disableSkillShellExecution"], true.into()));
                        [JsonStep::Put(&["hooks", "PreToolUse"], entry)].into_iter().chain(own).collect()
                    }),
                }]),
                Scope::System => Ok(vec![Edit {
                    path: "/etc/claude-code/managed-settings.d/palisade.json".into(),
                    change: FileChange::Own(pretty(&json!({
                        "allowManagedHooksOnly": true, "disableSkillShellExecution": true, "hooks": { "PreToolUse": [entry] }
                    }))),
                }]),
            }
        },
        switches: &[
            Switch { file: ".claude/settings.json", keys: &["disableAllHooks"], value: Some(true) },
            Switch { file: ".claude/settings.local.json", keys: &["disableAllHooks"], value: Some(true) },
            Switch { file: ".claude/settings.json", keys: &["hooks", "PreToolUse"], value: None },
            Switch { file: ".claude/settings.local.json", keys: &["hooks", "PreToolUse"], value: None },
            Switch { file: ".claude/settings.json", keys: &["env", "CLAUDE_CODE_SHELL_PREFIX"], value: None },
            Switch { file: ".claude/settings.local.json", keys: &["env", "CLAUDE_CODE_SHELL_PREFIX"], value: None },
        ],
        unasked: switched_off,
        unseen: "A project's own hooks, status lines and MCP servers do not pass Palisade.",
    },
    Hooked {
        name: "codex",
        title: "Codex",
        sign: ".codex",
        edits: |told| {
            let hook = json!({ "type": "command", "command": told.command, "timeout": WAIT });
            let home = match told.scope {
                Scope::User => told.moved("CODEX_HOME", ".codex"),
                Scope::System => {
                    let text = format!(
                        "{MARK}\nallow_managed_hooks_only = true\n\n[features]\nhooks = true\n\n[[hooks.PreToolUse]]\n[[hooks.PreToolUse.hooks]]\n\
                         type = \"command\"\ncommand = {}\ntimeout = {WAIT}\n",
                        Value::from(told.command.as_str())
                    );
                    return Ok(vec![Edit {
                        path: "/etc/codex/requirements.toml".into(),
                        change: FileChange::Own(text),
                    }]);
                }
            };
            let hooks = Edit {
                path: home.join("hooks.json"),
                change: FileChange::Steps(vec![JsonStep::Put(&["hooks", "PreToolUse"], json!({ "hooks": [hook] }))]),
            };
            // It runs no hook that nobody has trusted, and says nothing about it.
            let at = hooks.position(&["hooks", "PreToolUse"])?;
            let place = format!("{}:pre_tool_use:{at}:0", real(&hooks.path).display());
            let trust = format!(
                "[hooks.state.{}]\ntrusted_hash = \"sha256:{}\"\n",
                Value::from(place),
                codex_digest(&told.command)
            );
            Ok(vec![hooks, Edit { path: home.join("config.toml"), change: FileChange::Block(trust) }])
        },
        switches: &[Switch { file: ".codex/config.toml", keys: &["features", "hooks"], value: Some(false) }],
        unasked: untrusted,
        unseen: "What is typed into a program that runs already (`write_stdin`) is asked of no hook; `[features] unified_exec_tty = false` \
                 takes terminals away.",
    },
    Hooked {
        name: "gemini",
        title: "Gemini CLI",
        sign: ".gemini",
        edits: |told| {
            let path = match told.scope {
                Scope::User => told.moved("GEMINI_CLI_HOME", "").join(".gemini/settings.json"),
                Scope::System => "/etc/gemini-cli/settings.json".into(),
            };
            // A file of the directory can switch off a hook whose name it knows.
            let name = format!("palisade-{}", unguessable()?);
            let hook = json!({ "type": "command", "name": name, "command": told.command, "timeout": WAIT * 1000 });
            let steps = vec![
                JsonStep::Put(&["hooks", "BeforeTool"], json!({ "hooks": [hook] })),
                JsonStep::Set(&["hooksConfig", "enabled"], true.into()),
            ];
            Ok(vec![Edit { path, change: FileChange::Steps(steps) }])
        },
        switches: &[
            Switch { file: ".gemini/settings.json", keys: &["hooksConfig", "enabled"], value: Some(false) },
            Switch { file: ".gemini/settings.json", keys: &["hooks", "BeforeTool"], value: None },
        ],
        unasked: |_| None,
        unseen: "A project's own hooks and MCP servers do not pass Palisade.",
    },
    Hooked {
        name: "cursor",
        title: "Cursor",
        sign: ".cursor",
        edits: |told| {
            let path = match told.scope {
                Scope::User => told.home.join(".cursor/hooks.json"),
                Scope::System => "/etc/cursor/hooks.json".into(),
            };
            let hook = json!({ "command": told.command, "failClosed": !told.is_shadow() });
            let steps = vec![
                JsonStep::Set(&["version"], 1.into()),
                JsonStep::Put(&["hooks", "beforeShellExecution"], hook.clone()),
                JsonStep::Put(&["hooks", "beforeReadFile"], hook.clone()),
                JsonStep::Put(&["hooks", "beforeMCPExecution"], hook),
            ];
            Ok(vec![Edit { path, change: FileChange::Steps(steps) }])
        },
        switches: &[],
        unasked: |_| None,
        unseen: "What it writes into files is asked of no hook.",
    },
    Hooked {
        name: "copilot",
        title: "Copilot CLI",
        sign: ".copilot",
        edits: |told| {
            if told.scope == Scope::System {
                return Err("Copilot CLI has no file for a whole machine".to_owned());
            }
            let hook = json!({ "type": "command", "bash": told.command, "timeoutSec": WAIT });
            let text = pretty(&json!({ "version": 1, "hooks": { "preToolUse": [hook] } }));
            Ok(vec![Edit { path: told.home.join(".copilot/hooks/palisade.json"), change: FileChange::Own(text) }])
        },
        switches: &[],
        unasked: |_| None,
        unseen: "A hook that takes too long is passed over.",
    },
    Hooked {
        name: "opencode",
        title: "opencode",
        sign: ".config/opencode",
        edits: |told| {
            if told.scope == Scope::System {
                return Err("opencode has no file of plugins for a whole machine".to_owned());
            }
            let path = told.moved("XDG_CONFIG_HOME", ".config").join("opencode/plugin/palisade.js");
            let words = Value::from(told.words).to_string();
            Ok(vec![Edit {
                path,
                change: FileChange::Own(
                    PLUGIN
                        .replace("WORDS", &words)
                        .replace("// MARK", &format!("// {}", MARK.trim_start_matches("# "))),
                ),
            }])
        },
        switches: &[],
        unasked: |_| None,
        unseen: "Plugins of the directory's own run in the same process, and can undo what this one does.",
    },
];

/// opencode has no hook that is a program: this one starts it.
const PLUGIN: &str = r#"// Written by `palisade setup opencode --apply`, and taken back by `palisade setup opencode --remove`.
// MARK
import { spawn } from "node:child_process"

const [program, ...words] = WORDS
const unanswered = "Palisade did not answer, so this is not done."
const quiet = words.includes("--shadow")

function ask(question) {
  return new Promise((resolve) => {
    const denied = (reason) => resolve(quiet ? { palisade: "go on" } : { palisade: "deny", reason })
    const child = spawn(program, words, { stdio: ["pipe", "pipe", "ignore"] })
    const clock = setTimeout(() => child.kill("SIGKILL"), 30000)
    let answer = ""
    child.on("error", () => denied(unanswered))
    child.stdin.on("error", () => {})
    child.stdout.on("data", (piece) => (answer += piece))
    child.on("close", () => {
      clearTimeout(clock)
      try {
        resolve(JSON.parse(answer))
      } catch {
        denied(unanswered)
      }
    })
    child.stdin.end(JSON.stringify(question))
  })
}

export const Palisade = async ({ directory }) => ({
  "tool.execute.before": async (input, output) => {
    const answer = await ask({ tool: input.tool, sessionID: input.sessionID, args: output.args, directory })
    if (answer?.palisade !== "go on") throw new Error(answer?.reason ?? unanswered)
    if (answer.args) Object.assign(output.args, answer.args)
  },
})
"#;

/// The client of that name.
pub(crate) fn hooked(name: &str) -> Option<&'static Hooked> {
    HOOKED.iter().find(|client| client.name == name)
}

impl Hooked {
    /// Whether the client has been used here.
    pub(crate) fn is_there(&self) -> bool {
        home().is_some_and(|home| home.join(self.sign).is_dir())
    }

    /// What has to be changed so that it asks a hook with these words.
    ///
    /// # Errors
    /// If there is no place for that, or a file of the client's cannot be read.
    pub(crate) fn edits(&self, scope: Scope, words: &[String]) -> Result<Vec<Edit>, String> {
        let home = home().ok_or("HOME is not set to an absolute path")?;
        let command: Vec<String> = words.iter().map(|word| super::entry::quoted(word)).collect();
        let command = command.join(" ");
        let command = if words.iter().any(|word| word == "--shadow") {
            format!("{command} || true {MARK}")
        } else {
            format!(
                "{command}; s=$?; case $s in 0|2) exit $s;; esac; echo 'palisade: the hook has failed' >&2; exit 2 {MARK}"
            )
        };
        (self.edits)(&Told { scope, command, words, home })
    }
}

impl Told<'_> {
    /// Nothing is to change but what is recorded.
    fn is_shadow(&self) -> bool {
        self.words.iter().any(|word| word == "--shadow")
    }

    /// The directory that a variable names, or the one of that name in the home directory.
    fn moved(&self, variable: &str, name: &str) -> PathBuf {
        let set = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        set.unwrap_or_else(|| self.home.join(name))
    }
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A path as the client has it, which follows links.
fn real(path: &Path) -> PathBuf {
    let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
    parent.and_then(|parent| Some(parent.join(path.file_name()?))).unwrap_or_else(|| path.to_owned())
}

/// Why Claude Code would run no hook of this file: it says so itself.
fn switched_off(settings: &Path) -> Option<&'static str> {
    let told = std::fs::read_to_string(settings).unwrap_or_default();
    let told: Value = serde_json::from_str(&told).unwrap_or_default();
    (told.get("disableAllHooks") == Some(&Value::Bool(true))).then_some("`disableAllHooks` there switches it off")
}

/// Why Codex would skip the hook in this file: nobody has told it to trust this very command at this very place.
fn untrusted(hooks: &Path) -> Option<&'static str> {
    let why = Some("Codex has not been told to trust it as it stands, and skips it in silence; apply it again");
    let edit = Edit { path: hooks.to_owned(), change: FileChange::Steps(Vec::new()) };
    let Ok(at) = edit.position(&["hooks", "PreToolUse"]) else { return why };
    let told = std::fs::read_to_string(hooks).unwrap_or_default();
    let told: Value = serde_json::from_str(&told).unwrap_or_default();
    let command = told.pointer(&format!("/hooks/PreToolUse/{at}/hooks/0/command")).and_then(Value::as_str);
    let Some(command) = command else { return why };
    let settings = std::fs::read_to_string(hooks.with_file_name("config.toml")).unwrap_or_default();
    let settings: toml::Table = toml::from_str(&settings).unwrap_or_default();
    if settings.get("features").and_then(|features| features.get("hooks")?.as_bool()) == Some(false) {
        return Some("`features.hooks` beside it switches it off");
    }
    let place = format!("{}:pre_tool_use:{at}:0", real(hooks).display());
    let trusted =
        settings.get("hooks").and_then(|hooks| hooks.get("state")?.get(&place)?.get("trusted_hash")?.as_str());
    let expected = format!("sha256:{}", codex_digest(command));
    if trusted == Some(expected.as_str()) { None } else { why }
}

/// What Codex takes for the hash of a hook: SHA-256 of its normal form, with sorted keys and the values that it fills in.
fn codex_digest(command: &str) -> Digest {
    let command = Value::from(command);
    let normal = format!(
        "{{\"event_name\":\"pre_tool_use\",\"hooks\":[{{\"async\":false,\"command\":{command},\"timeout\":{WAIT},\"type\":\"command\"}}]}}"
    );
    Digest::of(normal.as_bytes())
}

/// 32 hexadecimal digits that nobody can guess.
fn unguessable() -> Result<String, String> {
    let mut bytes = [0_u8; 16];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    match filled {
        Ok(count) if count == bytes.len() => Ok(format!("{:032x}", u128::from_be_bytes(bytes))),
        _ => Err("the kernel gives no random bytes".to_owned()),
    }
}
