//! AI clients that can start Palisade: what each has to be told, and where.
//!
//! Knowledge, one row a client. `entry.rs` writes it down for a person, `detect.rs` reads what a client has been told. `hooks.rs` says
//! how each asks a hook, `edit.rs` writes that into its files, and `installation.rs` says whether it is there. What a client reads from the
//! directory that it works in is the agent's to write, and is never written here.

pub(crate) mod detect;
pub(crate) mod edit;
pub(crate) mod entry;
pub(crate) mod hooks;
pub(crate) mod installation;

use std::path::PathBuf;

use serde_json::{Value, json};

use self::entry::ServerEntry;

/// The name that clients know the server by.
pub(crate) const NAME: &str = "palisade";

/// How long a client waits for an answer, in seconds, where it can be told: a command or a person may take their time.
const TIMEOUT: u32 = 600;

/// How long it waits for the server to start, in seconds, where else it would be some: policies are read first.
const START: u32 = 60;

/// A program that speaks to a model and starts MCP servers for it.
pub(crate) struct Client {
    /// As it is typed; also the agent's name where the settings give none.
    pub(crate) name: &'static str,
    /// Its maker's name for it.
    pub(crate) title: &'static str,
    /// The file that lists its servers.
    pub(crate) servers: ClientFile,
    /// How that is written.
    pub(crate) form: Form,
    /// The key that they are listed under.
    pub(crate) key: &'static str,
    /// What is said of one server.
    entry: fn(&ServerEntry) -> Value,
    /// Its own command that says the same.
    command: Option<fn(&ServerEntry) -> Vec<String>>,
    /// What keeps it from running commands by itself.
    pub(crate) shell: ShellBan,
    /// What it reads from the directory that it works in, and what that can do.
    pub(crate) nearby: Nearby,
    /// What it puts something else in place of, in what it reads here.
    expands: &'static [&'static str],
}

/// A file of a client's, in the user's own directories.
pub(crate) struct ClientFile {
    /// A variable that names its directory, and the file in that.
    moved: Option<(&'static str, &'static str)>,
    /// Below the home directory.
    home: &'static str,
}

/// How a file is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// JSON; comments and commas behind the last value are read.
    Json,
    /// TOML.
    Toml,
}

/// A client's files in the directory that it works in: whoever writes there, or has written what was cloned, says what they say.
pub(crate) struct Nearby {
    /// Relative to that directory.
    pub(crate) files: &'static [&'static str],
    /// What they can do in spite of the user's own files, or what keeps them from it; as a sentence.
    pub(crate) what: &'static str,
}

/// How a client is kept from running commands around Palisade.
pub(crate) enum ShellBan {
    /// By this text in this file, which also spares the person a second question about what Palisade decides.
    File(ClientFile, &'static str),
    /// By hand alone.
    Hand(&'static str),
}

/// The clients, in the order in which they are listed.
pub(crate) static CLIENTS: &[Client] = &[
    Client {
        name: "claude",
        title: "Claude Code",
        servers: ClientFile { moved: Some(("CLAUDE_CONFIG_DIR", ".claude.json")), home: ".claude.json" },
        form: Form::Json,
        key: "mcpServers",
        // Else its models have to search for a tool before they see that it is there.
        entry: |server| {
            with_environment(
                server,
                "env",
                json!({ "type": "stdio", "command": server.program, "args": server.arguments, "alwaysLoad": true }),
            )
        },
        command: Some(|server| {
            let words = ["claude", "mcp", "add-json", "--scope", "user", NAME];
            words.map(str::to_owned).into_iter().chain([row("claude", server).to_string()]).collect()
        }),
        shell: ShellBan::File(
            ClientFile { moved: Some(("CLAUDE_CONFIG_DIR", "settings.json")), home: ".claude/settings.json" },
            r#"{
  "permissions": { "deny": ["Bash", "Monitor"], "allow": ["mcp__palisade"] },
  "allowedMcpServers": [{ "serverName": "palisade" }],
  "disabledMcpjsonServers": ["palisade"]
}"#,
        ),
        nearby: Nearby {
            files: &[".mcp.json", ".claude/settings.json", ".claude/settings.local.json"],
            what: "With the last two lines above they start no server; started with `--setting-sources user`, Claude Code runs no hook of theirs either.",
        },
        expands: &["${"],
    },
    Client {
        name: "codex",
        title: "Codex",
        servers: ClientFile { moved: Some(("CODEX_HOME", "config.toml")), home: ".codex/config.toml" },
        form: Form::Toml,
        key: "mcp_servers",
        // Without an approval mode `codex exec` runs no tool at all; a server that is not required it goes on without.
        entry: |server| {
            with_environment(
                server,
                "env",
                json!({
                    "command": server.program, "args": server.arguments, "required": true, "startup_timeout_sec": START,
                    "default_tools_approval_mode": "approve", "tool_timeout_sec": TIMEOUT
                }),
            )
        },
        command: None,
        shell: ShellBan::File(
            ClientFile { moved: Some(("CODEX_HOME", "config.toml")), home: ".codex/config.toml" },
            "[features]\nshell_tool = false",
        ),
        nearby: Nearby {
            files: &[".codex/config.toml"],
            what: "Where Codex has been told to trust the directory, they can name another program and switch the shell on again.",
        },
        expands: &[],
    },
    Client {
        name: "gemini",
        title: "Gemini CLI",
        servers: ClientFile {
            moved: Some(("GEMINI_CLI_HOME", ".gemini/settings.json")),
            home: ".gemini/settings.json",
        },
        form: Form::Json,
        key: "mcpServers",
        entry: |server| {
            with_environment(
                server,
                "env",
                json!({ "command": server.program, "args": server.arguments, "timeout": TIMEOUT * 1000 }),
            )
        },
        command: None,
        shell: ShellBan::File(
            ClientFile {
                moved: Some(("GEMINI_CLI_HOME", ".gemini/policies/palisade.toml")),
                home: ".gemini/policies/palisade.toml",
            },
            "[[rule]]\ntoolName = \"run_shell_command\"\ndecision = \"deny\"\npriority = 999\n\n\
             [[rule]]\nmcpName = \"palisade\"\ntoolName = \"*\"\ndecision = \"allow\"\npriority = 998",
        ),
        nearby: Nearby {
            files: &[".gemini/settings.json"],
            what: "Where Gemini CLI has been told to trust the directory, they can name another program.",
        },
        expands: &["$"],
    },
    Client {
        name: "cursor",
        title: "Cursor",
        servers: ClientFile { moved: None, home: ".cursor/mcp.json" },
        form: Form::Json,
        key: "mcpServers",
        entry: |server| {
            with_environment(
                server,
                "env",
                json!({ "type": "stdio", "command": server.program, "args": server.arguments }),
            )
        },
        command: None,
        shell: ShellBan::Hand(
            "In Cursor's settings, let its agent run nothing in the terminal without asking: no file switches that tool off.",
        ),
        nearby: Nearby {
            files: &[".cursor/mcp.json"],
            what: "They can name other programs: look before you switch one on.",
        },
        expands: &["${"],
    },
    Client {
        name: "vscode",
        title: "VS Code",
        servers: ClientFile {
            moved: Some(("XDG_CONFIG_HOME", "Code/User/mcp.json")),
            home: ".config/Code/User/mcp.json",
        },
        form: Form::Json,
        key: "servers",
        entry: |server| {
            with_environment(
                server,
                "env",
                json!({ "type": "stdio", "command": server.program, "args": server.arguments }),
            )
        },
        command: Some(|server| {
            let mut row = row("vscode", server);
            if let Value::Object(fields) = &mut row {
                fields.insert("name".to_owned(), NAME.into());
            }
            vec!["code".to_owned(), "--add-mcp".to_owned(), row.to_string()]
        }),
        shell: ShellBan::Hand(
            "In the chat's list of tools, take away those of the terminal: no file of the user's switches them off.",
        ),
        nearby: Nearby {
            files: &[".vscode/mcp.json"],
            what: "They can name other programs: look before you start one.",
        },
        expands: &["${"],
    },
    Client {
        name: "opencode",
        title: "opencode",
        servers: ClientFile {
            moved: Some(("XDG_CONFIG_HOME", "opencode/opencode.json")),
            home: ".config/opencode/opencode.json",
        },
        form: Form::Json,
        key: "mcp",
        entry: |server| {
            let command: Vec<&String> = std::iter::once(&server.program).chain(&server.arguments).collect();
            with_environment(
                server,
                "environment",
                json!({ "type": "local", "command": command, "enabled": true, "timeout": TIMEOUT * 1000 }),
            )
        },
        command: None,
        shell: ShellBan::File(
            ClientFile {
                moved: Some(("XDG_CONFIG_HOME", "opencode/opencode.json")),
                home: ".config/opencode/opencode.json",
            },
            r#"{ "permission": { "bash": "deny" } }"#,
        ),
        nearby: Nearby {
            files: &["opencode.json", "opencode.jsonc", ".opencode"],
            what: "They hold before the user's own: start opencode with OPENCODE_DISABLE_PROJECT_CONFIG=1, or put the same into /etc/opencode/opencode.json, which holds before them.",
        },
        expands: &["{env:", "{file:"],
    },
];

/// The client of that name.
pub(crate) fn client(name: &str) -> Option<&'static Client> {
    CLIENTS.iter().find(|client| client.name == name)
}

/// The names, for a person.
pub(crate) fn names() -> String {
    CLIENTS.iter().map(|client| client.name).collect::<Vec<_>>().join(", ")
}

fn row(name: &str, server: &ServerEntry) -> Value {
    client(name).map_or(Value::Null, |client| (client.entry)(server))
}

fn with_environment(server: &ServerEntry, key: &str, mut entry: Value) -> Value {
    if let (Value::Object(fields), false) = (&mut entry, server.environment.is_empty()) {
        fields.insert(key.to_owned(), json!(server.environment));
    }
    entry
}

impl ClientFile {
    /// Where that is for the user of now; none without a home.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let moved = self.moved.and_then(|(name, file)| Some(variable(name)?.join(file)));
        moved.or_else(|| Some(variable("HOME")?.join(self.home)))
    }
}
