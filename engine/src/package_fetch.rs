//! Decides what a command fetches, by the files of the project that it stands in: nothing, since what it runs or would install is there, or
//! no more than a lock file names.
//!
//! The files are the agent's. What they claim gives it nothing: a command that is said to fetch nothing runs without the right to connect,
//! and one that is said to be bound to a lock file fetches what `npm ci` would from the same file.

use std::collections::{BTreeMap, BTreeSet};

use palisade_grammar::{Command, Inventory, OpaqueReason};
use serde::Deserialize;

/// Whether a command needs nothing from a registry: it runs a tool that is installed already, or that an earlier command of the script may
/// install. If it is not there after all, nothing else comes: a command that is told to need no peer runs without the right to connect.
///
/// `is_there` tells whether a project has a file, `read` what stands in one.
pub fn is_installed(
    inventory: &Inventory,
    command: &Command,
    is_there: impl Fn(&str) -> bool,
    read: impl Fn(&str) -> Option<String>,
) -> bool {
    const OTHERS: [&str; 10] = [
        "--package",
        "--with",
        "--with-editable",
        "--with-requirements",
        "--upgrade",
        "--upgrade-package",
        "--python",
        "--isolated",
        "--script",
        "--index",
    ];
    let assigned = |name: &str| {
        let last = command.assignments.iter().rfind(|assignment| assignment.name == name);
        last.and_then(|assignment| assignment.value.value.literal()).map(str::to_owned)
    };
    if is_offline(command, assigned) {
        return true;
    }
    let invocation = &command.invocation;
    let words: Vec<&str> = invocation.words.iter().map(String::as_str).collect();
    let installs = |command: &Command, names: &[&str]| {
        let named = |name: &String| names.contains(&name.as_str());
        command.invocation.words.first().is_some_and(named) && command.invocation.groups.contains("package-install")
    };
    let earlier = || inventory.commands().iter().take_while(|other| other.id != command.id);
    let installs_before = |names: &[&str]| earlier().any(|other| installs(other, names));
    if OTHERS.iter().any(|option| invocation.flags.contains(*option)) {
        return false;
    }
    match words.as_slice() {
        ["npx" | "bunx"] | ["bun", "bun x"] | ["npm", "npm exec" | "npm x"] => {
            let mut operands = invocation.operands.iter().map(|word| word.value.literal());
            let tool = operands.find(|word| word.is_none_or(|text| !matches!(text, "--" | "--yes" | "-y" | "--no")));
            let tool = tool.flatten().filter(|tool| is_plain(tool));
            // The words of a command line are judged by themselves. What a settings file brings besides does not come.
            if invocation.flags.contains("--call") {
                return true;
            }
            let node = ["npm", "pnpm", "yarn", "bun"];
            let is_npm = !words.iter().any(|words| words.starts_with("bun"));
            // npm looks beside itself first, whatever the package.
            if is_npm && tool.is_some_and(|tool| ["node", "npm", "npx"].contains(&tool)) {
                return true;
            }
            tool.filter(|_| !invocation.flags.contains("--workspace")).is_some_and(|tool| {
                is_there(&format!("node_modules/.bin/{tool}"))
                    || installs_before(&node)
                    || is_npm && read("package.json").is_some_and(|text| has_program(&text, tool))
            })
        }
        // `yarn workspace NAME SCRIPT`, of one of the packages that the project is made of (yarn(1)).
        ["yarn" | "yarnpkg", "yarn workspace" | "yarnpkg workspace"] => {
            let operands: Vec<_> = invocation.operands.iter().map(|word| word.value.literal()).collect();
            let (name, script) = match operands.as_slice() {
                [Some(name), Some("run"), Some(script), ..] => (*name, *script),
                [Some(name), Some(script), ..] if !PACKAGES.contains(script) => (*name, *script),
                _ => return false,
            };
            let member = |place: String| read(&format!("{place}/package.json")).filter(|text| is_named(text, name));
            let places = read("package.json").map(|text| places_of(&text, name)).unwrap_or_default();
            places.into_iter().find_map(member).is_some_and(|text| has_script(&text, script))
        }
        // A word that is none of their own commands is a script of the package, or a program in node_modules (pnpm(1), yarn(1)).
        ["yarn" | "yarnpkg" | "pnpm", whole] if invocation.groups.contains("package-install") => {
            let script = whole.split_once(' ').map(|(_, script)| script);
            script.filter(|script| !PACKAGES.contains(script)).is_some_and(|script| {
                is_plain(script) && is_there(&format!("node_modules/.bin/{script}"))
                    || read("package.json").is_some_and(|text| has_script(&text, script))
            })
        }
        ["uv", "uv run"] => is_there("uv.lock") && (is_there(".venv") || installs_before(&["uv"])),
        ["go", "go mod", "go mod tidy"] => match read("go.mod") {
            Some(text) => requires_nothing(&text),
            None => earlier().any(|other| {
                other.invocation.words.last().is_some_and(|words| words == "go mod init") && other.cwd == command.cwd
            }),
        },
        ["cargo", "cargo update" | "cargo generate-lockfile"] => {
            read("Cargo.toml").is_some_and(|text| depends_on_paths_alone(&text))
                && read("Cargo.lock").is_none_or(|text| !text.lines().any(|line| line.starts_with("source")))
        }
        ["npm", "npm install" | "npm i"] if is_plain_install(inventory, command) => {
            read("package.json").and_then(|text| Manifest::read(&text)).is_some_and(|package| package.needs_nothing())
        }
        _ => false,
    }
}

/// Whether a command installs what a lock file names, and nothing else: each package that the project asks for stands in its lock file,
/// asked for in the same words. Then `npm install` fetches what `npm ci` would.
///
/// `is_there` tells whether a project has a file, `read` what stands in one.
pub fn is_locked(
    inventory: &Inventory,
    command: &Command,
    is_there: impl Fn(&str) -> bool,
    read: impl Fn(&str) -> Option<String>,
) -> bool {
    if !is_plain_install(inventory, command) {
        return false;
    }
    let words: Vec<&str> = command.invocation.words.iter().map(String::as_str).collect();
    let package = || Manifest::read(&read("package.json")?);
    match words.as_slice() {
        ["npm", "npm install" | "npm i" | "npm in"] => {
            let lock = read("npm-shrinkwrap.json").or_else(|| read("package-lock.json"));
            lock.is_some_and(|lock| is_in_npm_lock(&lock, &read))
        }
        ["yarn" | "yarnpkg"] | ["yarn" | "yarnpkg", "yarn install"] => package()
            .zip(read("yarn.lock"))
            .is_some_and(|(package, lock)| !package.has_workspaces() && is_in_yarn_lock(&package, &lock)),
        ["pnpm", "pnpm install" | "pnpm i"] => read("pnpm-lock.yaml").is_some_and(|lock| is_in_pnpm_lock(&lock, &read)),
        ["uv", "uv sync"] => is_there("uv.lock"),
        _ => false,
    }
}

/// Whether a command is a bare installation of a project, with options that neither add packages nor lead to other files.
fn is_plain_install(inventory: &Inventory, command: &Command) -> bool {
    const HARMLESS: [&str; 34] = [
        "--all-extras",
        "--all-groups",
        "--audit-level",
        "--color",
        "--dev",
        "--extra",
        "--foreground-scripts",
        "--frozen-lockfile",
        "--fund",
        "--group",
        "--ignore-scripts",
        "--immutable",
        "--include",
        "--json",
        "--legacy-peer-deps",
        "--loglevel",
        "--no-audit",
        "--no-color",
        "--no-dev",
        "--no-fund",
        "--no-progress",
        "--non-interactive",
        "--omit",
        "--parseable",
        "--prefer-offline",
        "--prod",
        "--production",
        "--quiet",
        "--save-dev",
        "--silent",
        "--verbose",
        "--yes",
        "-P",
        "-y",
    ];
    const SETTINGS: [&str; 4] = ["npm_", "yarn_", "pnpm_", "uv_"];
    let invocation = &command.invocation;
    let opens = |reason| matches!(reason, OpaqueReason::DynamicOption | OpaqueReason::UnknownOption);
    let is_setting = |name: &str| SETTINGS.iter().any(|begin| name.to_ascii_lowercase().starts_with(begin));
    invocation.operands.is_empty()
        && invocation.flags.iter().all(|flag| HARMLESS.contains(&flag.as_str()))
        && !command.assignments.iter().any(|assignment| is_setting(&assignment.name))
        && !inventory.opaque().iter().any(|item| item.command == Some(command.id) && opens(item.reason))
}

/// The packages that a project of Node asks for, by name: package.json, and its copy in a lock file of npm.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
struct Manifest {
    dependencies: BTreeMap<String, String>,
    dev_dependencies: BTreeMap<String, String>,
    optional_dependencies: BTreeMap<String, String>,
    peer_dependencies: BTreeMap<String, String>,
    /// Directories, as patterns: a list, or a table with a list.
    workspaces: Option<serde_json::Value>,
}

impl Manifest {
    fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    fn sections(&self) -> [&BTreeMap<String, String>; 4] {
        [&self.dependencies, &self.dev_dependencies, &self.optional_dependencies, &self.peer_dependencies]
    }

    fn needs_nothing(&self) -> bool {
        !self.has_workspaces() && self.sections().into_iter().all(BTreeMap::is_empty)
    }

    fn has_workspaces(&self) -> bool {
        self.workspaces.is_some()
    }
}

/// The part of a lock file of npm that is looked at (package-lock.json(5), `lockfileVersion` 2 and 3).
#[derive(Deserialize)]
struct NpmLock {
    #[serde(default)]
    packages: BTreeMap<String, Manifest>,
}

/// The package in a directory of the project that its lock file names.
fn manifest_in(place: &str, read: impl Fn(&str) -> Option<String>) -> Option<Manifest> {
    let is_below = !place.starts_with('/') && !place.split('/').any(|part| part == "..");
    let file = if matches!(place, "" | ".") { "package.json".to_owned() } else { format!("{place}/package.json") };
    Manifest::read(&read(&file).filter(|_| is_below)?)
}

/// Whether a lock file of npm has the project's own packages as their `package.json` have them.
fn is_in_npm_lock(lock: &str, read: impl Fn(&str) -> Option<String>) -> bool {
    let Ok(NpmLock { packages }) = serde_json::from_str(lock) else { return false };
    let own = packages.iter().filter(|(place, _)| !place.split('/').any(|part| part == "node_modules"));
    let is_same = |(place, locked): (&String, &Manifest)| {
        manifest_in(place, &read).is_some_and(|package| package.sections() == locked.sections())
    };
    packages.contains_key("") && own.into_iter().all(is_same)
}

/// Whether a lock file of yarn has an entry for each request: `name@range`, or `name@npm:range` since version 2.
fn is_in_yarn_lock(package: &Manifest, lock: &str) -> bool {
    let heads = lock.lines().filter(|line| !line.starts_with([' ', '#'])).filter_map(|line| line.strip_suffix(':'));
    let entries: BTreeSet<&str> =
        heads.flat_map(|head| head.split(", ")).map(|entry| entry.trim_matches('"')).collect();
    let is_near = |range: &str| ["workspace:", "file:", "link:", "portal:"].iter().any(|kind| range.starts_with(kind));
    // yarn installs no peers by itself.
    let [dependencies, dev, optional, _] = package.sections();
    dependencies.iter().chain(dev).chain(optional).all(|(name, range)| {
        is_near(range)
            || entries.contains(format!("{name}@{range}").as_str())
            || entries.contains(format!("{name}@npm:{range}").as_str())
    })
}

/// Whether a lock file of pnpm has the requests of each package of the project (`importers`, with a `specifier` each).
fn is_in_pnpm_lock(lock: &str, read: impl Fn(&str) -> Option<String>) -> bool {
    let mut importers: BTreeMap<String, BTreeMap<&str, &str>> = BTreeMap::new();
    let (mut place, mut name) = (None, None);
    let lines = lock.lines().skip_while(|line| *line != "importers:").skip(1);
    for line in lines.take_while(|line| line.is_empty() || line.starts_with(' ')) {
        let text = line.trim_start();
        let (key, value) = text.split_once(": ").unwrap_or((text.trim_end_matches(':'), ""));
        let key = key.trim_matches('\'');
        match line.len() - text.len() {
            2 => {
                importers.entry(key.to_owned()).or_default();
                place = Some(key.to_owned());
            }
            6 => name = Some(key),
            8 if key == "specifier" => {
                if let (Some(requests), Some(name)) = (place.as_ref().and_then(|place| importers.get_mut(place)), name)
                {
                    requests.insert(name, value.trim_matches('\''));
                }
            }
            _ => {}
        }
    }
    let is_same = |(place, locked): (&String, &BTreeMap<&str, &str>)| {
        let Some(package) = manifest_in(place, &read) else { return false };
        let [dependencies, dev, optional, _] = package.sections();
        dependencies
            .iter()
            .chain(dev)
            .chain(optional)
            .all(|(name, range)| locked.get(name.as_str()).is_some_and(|locked| *locked == range))
    };
    importers.contains_key(".") && importers.iter().all(is_same)
}

/// Whether each dependency of a package of Rust lies beside it (Cargo.toml, "Specifying path dependencies"). A workspace may have more.
fn depends_on_paths_alone(manifest: &str) -> bool {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let Ok(manifest) = manifest.parse::<toml::Table>() else { return false };
    let is_path = |dependency: &toml::Value| dependency.get("path").is_some() && dependency.get("version").is_none();
    let all_paths = |table: &toml::Table| {
        let sections = KINDS.iter().filter_map(|kind| table.get(*kind));
        sections.into_iter().all(|section| section.as_table().is_some_and(|table| table.values().all(is_path)))
    };
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let mut targets = targets.into_iter().flat_map(toml::Table::values);
    manifest.contains_key("package")
        && !manifest.contains_key("workspace")
        && all_paths(&manifest)
        && targets.all(|target| target.as_table().is_some_and(all_paths))
}

/// The commands of yarn and pnpm that fetch packages. A package may have a script of the same name (`install` is one that npm runs), which
/// these do not run.
const PACKAGES: [&str; 20] = [
    "add",
    "create",
    "dedupe",
    "dlx",
    "fetch",
    "i",
    "import",
    "init",
    "install",
    "link",
    "prune",
    "rebuild",
    "remove",
    "rm",
    "un",
    "uninstall",
    "unlink",
    "up",
    "update",
    "upgrade",
];

/// Whether a word can be the name of a program in `node_modules/.bin`.
fn is_plain(tool: &str) -> bool {
    !tool.starts_with(['-', '.']) && tool.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Where a package of this name may lie in a project (`workspaces` of package.json): in directories that are called as it is, without its scope.
fn places_of(package: &str, name: &str) -> Vec<String> {
    let package = serde_json::from_str::<serde_json::Value>(package).unwrap_or_default();
    let list = package.get("workspaces").and_then(|list| list.get("packages").or(Some(list)));
    let patterns = list.and_then(serde_json::Value::as_array).into_iter().flatten();
    let own = name.rsplit('/').next().unwrap_or_default();
    let place = |pattern: &str| pattern.trim_start_matches("./").trim_end_matches('/').replacen('*', own, 1);
    let places = patterns.filter_map(serde_json::Value::as_str).map(place);
    places.filter(|place| !place.starts_with('/') && !place.split('/').any(|part| part == "..")).collect()
}

fn is_named(package: &str, name: &str) -> bool {
    let package = serde_json::from_str::<serde_json::Value>(package).unwrap_or_default();
    package.get("name").and_then(serde_json::Value::as_str) == Some(name)
}

/// Whether a Node package has a script of this name (`scripts` of package.json, npm-package-json(5)).
fn has_script(package: &str, name: &str) -> bool {
    let package = serde_json::from_str::<serde_json::Value>(package).unwrap_or_default();
    package.get("scripts").and_then(|scripts| scripts.get(name)).is_some_and(serde_json::Value::is_string)
}

/// Whether a Node package has a program of this name (`bin` of package.json, npm-package-json(5)).
fn has_program(package: &str, name: &str) -> bool {
    let Ok(package) = serde_json::from_str::<serde_json::Value>(package) else { return false };
    match package.get("bin") {
        Some(serde_json::Value::String(_)) => {
            let full = package.get("name").and_then(serde_json::Value::as_str);
            full.is_some_and(|full| full.rsplit('/').next() == Some(name))
        }
        Some(programs) => programs.get(name).is_some(),
        None => false,
    }
}

/// The program of a command that installs packages, without the version that its name may have.
#[must_use]
pub fn installer(command: &Command) -> Option<&'static str> {
    command.invocation.words.iter().find_map(|words| {
        let program =
            words.rsplit(' ').next()?.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
        ["pip", "npm", "npx", "cargo", "go", "uv", "uvx"].into_iter().find(|known| *known == program)
    })
}

/// Whether a variable tells a program that installs packages to use no network. `variable` gives its value.
pub fn is_offline(command: &Command, variable: impl Fn(&str) -> Option<String>) -> bool {
    let says = |name: &str, words: &[&str]| {
        variable(name).is_some_and(|value| words.iter().any(|word| value.eq_ignore_ascii_case(word)))
    };
    let yes = ["1", "true", "yes", "on"];
    match installer(command) {
        Some("pip") => says("PIP_NO_INDEX", &yes),
        Some("npm" | "npx") => says("npm_config_offline", &["true"]),
        Some("cargo") => says("CARGO_NET_OFFLINE", &["true"]),
        Some("go") => says("GOPROXY", &["off"]),
        Some("uv" | "uvx") => says("UV_OFFLINE", &yes),
        _ => false,
    }
}

/// Whether an option tells a program that installs packages to use no network, whatever else it says.
pub fn says_offline(command: &Command) -> bool {
    let has = |option: &str| command.invocation.flags.contains(option);
    match installer(command) {
        Some("pip") => has("--no-index"),
        Some("npm" | "npx" | "cargo") => has("--offline"),
        Some("uv") => has("--offline") || has("--no-index"),
        Some("uvx") => has("--offline"),
        _ => false,
    }
}

/// Whether a module of Go needs no other, but for those that lie beside it (`go.mod`, "Go Modules Reference").
fn requires_nothing(module: &str) -> bool {
    let (mut required, mut replaced, mut block) = (Vec::new(), BTreeSet::new(), None);
    for line in module.lines() {
        let line = line.split("//").next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let (directive, rest) = match (block, words.as_slice()) {
            (_, []) => continue,
            (Some(_), [")"]) => {
                block = None;
                continue;
            }
            (None, [directive, "("]) => {
                block = Some(*directive);
                continue;
            }
            (Some(directive), rest) => (directive, rest),
            (None, [directive, rest @ ..]) => (*directive, rest),
        };
        match (directive, rest) {
            ("require", [path, ..]) => required.push(*path),
            ("replace", [path, .., target]) if target.starts_with("./") || target.starts_with("../") => {
                replaced.insert(*path);
            }
            _ => {}
        }
    }
    required.iter().all(|path| replaced.contains(path))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::command_facts::CommandFacts;

    #[test]
    fn what_is_installed_is_run() {
        let there = |name: &str| ["node_modules/.bin/tsc", "uv.lock", ".venv"].contains(&name);
        for (script, expected) in [
            ("npx tsc --noEmit", true),
            ("npx --yes tsc", true),
            ("npx tsc@5", false),
            ("npx -p x tsc", false),
            ("npx jest", false),
            ("npx ../.bin/tsc", false),
            ("npx $X", false),
            ("npm exec tsc", true),
            ("npm exec -- tsc -p .", true),
            ("uv run pytest", true),
            ("uv run --with x pytest", false),
            ("uv sync", false),
            ("npm install tsc", false),
            ("npm ci && npx jest", true),
            ("bunx tsc", true),
            ("bun x tsc", true),
            ("bunx jest", false),
            ("bunx node", false),
            ("npx node -p 1", true),
            ("npm exec -- npm --version", true),
            ("npx -p node@4 node", false),
            ("npm exec -w @m/a -- node -p 1", true),
            ("npm exec -w @m/a -- tsc", false),
            ("pip install x && npx jest", false),
            ("npx jest; npm ci", false),
            ("go mod tidy", false),
            ("GOPROXY=off go mod tidy", true),
            ("GOPROXY=direct GOPROXY=off go get x", true),
            ("GOPROXY=off GOPROXY=$X go get x", false),
            ("PIP_NO_INDEX=1 python3 -m pip install x", true),
            ("PIP_NO_INDEX=0 pip3.11 install x", false),
            ("pip install --no-index x", false),
            ("npx -c 'tsc -p .'", true),
            ("npx -p x -c 'tsc -p .'", false),
            ("PIP_NO_INDEX=1 npm install x", false),
            ("npm_config_offline=true npm install x", true),
        ] {
            let inventory = palisade_grammar::inventory(script.as_bytes());
            let command = inventory.commands().iter().rfind(|command| command.parent.is_none()).unwrap();
            assert_eq!(is_installed(&inventory, command, there, |_| None), expected, "{script}");
        }
    }

    #[test]
    fn what_says_that_it_is_offline_has_no_peer_without_a_yes() {
        for (script, expected) in [
            ("pip install --no-index -r x", true),
            ("python3 -m pip install --no-index x", true),
            ("pip install x", false),
            ("npm install --offline --no-offline x", true),
            ("cargo install --offline x", true),
            ("uv pip install --no-index x", true),
            ("tool --offline", false),
        ] {
            let inventory = palisade_grammar::inventory(script.as_bytes());
            let says = inventory.commands().iter().any(says_offline);
            assert_eq!(says, expected, "{script}");
        }
        let told = CommandFacts { offline: true, ..CommandFacts::default() };
        assert!(told.stays_here(false) && !told.stays_here(true));
    }

    #[test]
    fn a_package_has_its_own_programs() {
        for (script, text, expected) in [
            ("npx tool", r#"{"name": "@a/tool", "bin": "tool.js"}"#, true),
            ("npx other", r#"{"name": "@a/tool", "bin": "tool.js"}"#, false),
            ("npx other", r#"{"name": "tool", "bin": {"other": "x.js"}}"#, true),
            ("npx tool", r#"{"name": "tool", "bin": {"other": "x.js"}}"#, false),
            ("npx tool", r#"{"name": "tool"}"#, false),
            ("bunx tool", r#"{"name": "tool", "bin": "tool.js"}"#, false),
            ("npx tool", "{", false),
        ] {
            let inventory = palisade_grammar::inventory(script.as_bytes());
            let command = inventory.commands().first().unwrap();
            let read = |name: &str| (name == "package.json").then(|| text.to_owned());
            assert_eq!(is_installed(&inventory, command, |_| false, read), expected, "{script}: {text}");
        }
    }

    #[test]
    fn a_package_has_its_own_scripts() {
        const PACKAGE: &str =
            r#"{"scripts": {"schema:emit": "x", "install": "y", "publish": "z", "npm": "z", "odd": 1}}"#;
        for (script, expected) in [
            ("pnpm schema:emit", true),
            ("pnpm --filter @a/core schema:emit --pretty", true),
            ("yarn schema:emit", true),
            ("pnpm eslint .", true),
            ("yarn eslint --fix .", true),
            ("pnpm ../eslint", false),
            ("pnpm odd", false),
            ("pnpm deploy", false),
            ("pnpm publish", false),
            ("yarn npm publish", false),
            ("pnpm install", false),
            ("yarn install --check-files", false),
            ("pnpm dlx eslint", false),
            ("pnpm", false),
            ("pnpm $X", false),
        ] {
            let inventory = palisade_grammar::inventory(script.as_bytes());
            let command = inventory.commands().first().unwrap();
            let read = |name: &str| (name == "package.json").then(|| PACKAGE.to_owned());
            let there = |name: &str| name == "node_modules/.bin/eslint";
            assert_eq!(is_installed(&inventory, command, there, read), expected, "{script}");
        }
    }

    #[test]
    fn a_package_of_a_project_has_its_own_scripts() {
        const FILES: [(&str, &str); 4] = [
            ("package.json", r#"{"workspaces": ["apps/*", "../*", "./tools/one/"], "scripts": {"top": "x"}}"#),
            ("apps/web/package.json", r#"{"name": "@w/web", "scripts": {"lint": "x", "add": "y"}}"#),
            ("tools/one/package.json", r#"{"name": "tool", "scripts": {"build": "x"}}"#),
            ("../out/package.json", r#"{"name": "out", "scripts": {"build": "x"}}"#),
        ];
        for (script, expected) in [
            ("yarn workspace @w/web lint --fix", true),
            ("yarn workspace @w/web run lint", true),
            ("yarn workspace tool build", true),
            ("yarn workspace web lint", false),
            ("yarn workspace @w/web add left-pad", false),
            ("yarn workspace @w/web other", false),
            ("yarn workspace tool top", false),
            ("yarn workspace out build", false),
            ("yarn workspace $X build", false),
            ("yarn workspace tool", false),
        ] {
            let inventory = palisade_grammar::inventory(script.as_bytes());
            let command = inventory.commands().first().unwrap();
            let read = |name: &str| FILES.iter().find(|file| file.0 == name).map(|file| file.1.to_owned());
            assert_eq!(is_installed(&inventory, command, |_| false, read), expected, "{script}");
        }
    }

    #[test]
    fn a_module_that_requires_nothing_is_tidied() {
        for (text, expected) in [
            ("module example.org/a\n\ngo 1.19\n", true),
            ("module a\nrequire example.org/b v1.0.0 // indirect\n", false),
            ("module a\nrequire (\n\texample.org/b v1.0.0\n)\n", false),
            ("module a\nrequire (\n\tb v1.0.0\n)\nreplace b => ./b\n", true),
            ("module a\nrequire b v1.0.0\nreplace (\n\tb v1.0.0 => ../b\n)\n", true),
            ("module a\nrequire b v1.0.0\nreplace b => example.org/c v1.0.0\n", false),
        ] {
            let inventory = palisade_grammar::inventory(b"go mod tidy");
            let command = inventory.commands().first().unwrap();
            assert_eq!(is_installed(&inventory, command, |_| false, |_| Some(text.to_owned())), expected, "{text}");
        }
    }

    #[test]
    fn a_module_that_the_script_begins_is_tidied() {
        for (script, expected) in [
            ("go mod init a && go mod tidy", true),
            ("go mod init a; go mod tidy", true),
            ("cd sub && go mod init a && go mod tidy", true),
            ("go mod init a && cd sub && go mod tidy", false),
            ("go mod tidy && go mod init a", false),
            ("go mod edit -go=1.19 && go mod tidy", false),
        ] {
            let inventory = palisade_grammar::inventory(script.as_bytes());
            let command =
                inventory.commands().iter().find(|command| command.invocation.words.ends_with(&["go mod tidy".into()]));
            assert_eq!(is_installed(&inventory, command.unwrap(), |_| false, |_| None), expected, "{script}");
        }
    }

    #[test]
    fn a_project_that_needs_no_registry_is_updated() {
        for (script, files, expected) in [
            (
                "cargo update",
                vec![("Cargo.toml", "[package]\nname='a'"), ("Cargo.lock", "[[package]]\nname='a'\n")],
                true,
            ),
            ("cargo generate-lockfile", vec![("Cargo.toml", "[package]\n[dependencies]\nb = { path = 'b' }")], true),
            ("cargo update", vec![("Cargo.toml", "[package]\n[dependencies]\nserde = '1'")], false),
            ("cargo update", vec![("Cargo.toml", "[package]\n[target.x86.dependencies]\nserde = '1'")], false),
            (
                "cargo update",
                vec![("Cargo.toml", "[package]\n[dev-dependencies]\nb = { path = 'b', version = '1' }")],
                false,
            ),
            ("cargo update", vec![("Cargo.toml", "[package]\n[workspace]\nmembers = ['b']")], false),
            ("cargo update", vec![("Cargo.toml", "[package]"), ("Cargo.lock", "source = 'registry+x'\n")], false),
            ("cargo update", vec![], false),
            ("cargo add serde", vec![("Cargo.toml", "[package]")], false),
            ("npm install", vec![("package.json", r#"{"name": "a", "scripts": {"b": "c"}}"#)], true),
            ("npm i --no-audit", vec![("package.json", r#"{"dependencies": {}}"#)], true),
            ("npm install", vec![("package.json", r#"{"devDependencies": {"b": "1"}}"#)], false),
            ("npm install", vec![("package.json", r#"{"workspaces": ["p/*"]}"#)], false),
            ("npm install x", vec![("package.json", "{}")], false),
            ("npm install -g", vec![("package.json", "{}")], false),
        ] {
            let inventory = palisade_grammar::inventory(script.as_bytes());
            let read = |name: &str| files.iter().find(|file| file.0 == name).map(|file| file.1.to_owned());
            let command = inventory.commands().first().unwrap();
            assert_eq!(is_installed(&inventory, command, |_| false, read), expected, "{script} {files:?}");
        }
    }

    const PACKAGE: &str = r#"{"dependencies": {"a": "^1.0.0"}, "devDependencies": {"@t/b": "2", "c": "file:../c"}}"#;
    const NPM: &str = r#"{"lockfileVersion": 3, "packages": {
        "": {"name": "x", "dependencies": {"a": "^1.0.0"}, "devDependencies": {"@t/b": "2", "c": "file:../c"}},
        "p/q": {"dependencies": {"a": "^1.0.0"}},
        "node_modules/a": {"version": "1.2.0", "resolved": "https://r/a.tgz", "dependencies": {"z": "1"}}}}"#;
    const YARN: &str =
        "# yarn lockfile v1\n\n\n\"@t/b@2\":\n  version \"2.0.0\"\n\na@1, a@^1.0.0:\n  version \"1.2.0\"\n";
    const BERRY: &str = "__metadata:\n  version: 8\n\n\"@t/b@npm:2\":\n  version: 2.0.0\n\n\"a@npm:^1.0.0, a@npm:1\":\n  version: 1.2.0\n";
    const PNPM: &str = "lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    dependencies:\n      a:\n        specifier: ^1.0.0\n        version: 1.2.0\n    devDependencies:\n      '@t/b':\n        specifier: '2'\n        version: 2.0.0\n      c:\n        specifier: file:../c\n        version: file:../c\n\n  p/q:\n    dependencies:\n      a:\n        specifier: ^1.0.0\n        version: 1.2.0\n\npackages:\n\n  a@1.2.0:\n    resolution: {integrity: x}\n";

    fn is_locked_by(script: &str, files: &[(&str, &str)]) -> bool {
        let inventory = palisade_grammar::inventory(script.as_bytes());
        let read = |name: &str| files.iter().find(|file| file.0 == name).map(|file| file.1.to_owned());
        let command = inventory.commands().first().unwrap();
        is_locked(&inventory, command, |name| read(name).is_some(), read)
    }

    #[test]
    fn an_installation_that_a_lock_file_answers_is_bound_to_it() {
        const MEMBER: &str = r#"{"dependencies": {"a": "^1.0.0"}}"#;
        let project = |lock| {
            let own: [(&str, &str); 3] = [("package.json", PACKAGE), ("p/q/package.json", MEMBER), lock];
            own
        };
        for (script, lock) in [
            ("npm install", ("package-lock.json", NPM)),
            ("npm i --no-audit --no-fund --silent", ("package-lock.json", NPM)),
            ("CI=1 npm install --omit=dev", ("npm-shrinkwrap.json", NPM)),
            ("yarn", ("yarn.lock", YARN)),
            ("yarn install --ignore-scripts", ("yarn.lock", YARN)),
            ("yarn install", ("yarn.lock", BERRY)),
            ("pnpm install", ("pnpm-lock.yaml", PNPM)),
            ("uv sync", ("uv.lock", "")),
            ("uv sync --all-extras", ("uv.lock", "")),
        ] {
            assert!(is_locked_by(script, &project(lock)), "{script}");
            assert!(!is_locked_by(script, &project(("other", ""))), "{script} without a lock");
        }
        for (script, lock) in [
            ("npm install x", ("package-lock.json", NPM)),
            ("npm install $X", ("package-lock.json", NPM)),
            ("npm install --registry https://r/", ("package-lock.json", NPM)),
            ("npm install --no-package-lock", ("package-lock.json", NPM)),
            ("npm install --prefix ../other", ("package-lock.json", NPM)),
            ("npm install -g", ("package-lock.json", NPM)),
            ("npm_config_package_lock=false npm install", ("package-lock.json", NPM)),
            ("npm update", ("package-lock.json", NPM)),
            ("yarn add x", ("yarn.lock", YARN)),
            ("yarn upgrade", ("yarn.lock", YARN)),
            ("pnpm update", ("pnpm-lock.yaml", PNPM)),
            ("uv sync --upgrade", ("uv.lock", "")),
            ("uv sync --script x.py", ("uv.lock", "")),
            ("uv lock", ("uv.lock", "")),
        ] {
            assert!(!is_locked_by(script, &project(lock)), "{script}");
        }
    }

    #[test]
    fn a_lock_file_that_lags_behind_binds_nothing() {
        let newer = PACKAGE.replace("^1.0.0", "^2.0.0");
        let more = PACKAGE.replace("\"a\"", "\"d\": \"1\", \"a\"");
        let member = ("p/q/package.json", r#"{"dependencies": {"a": "^1.0.0"}}"#);
        let other = ("p/q/package.json", r#"{"dependencies": {"e": "^1.0.0"}}"#);
        for (script, lock) in [
            ("npm install", ("package-lock.json", NPM)),
            ("yarn", ("yarn.lock", YARN)),
            ("yarn", ("yarn.lock", BERRY)),
            ("pnpm install", ("pnpm-lock.yaml", PNPM)),
        ] {
            assert!(is_locked_by(script, &[lock, member, ("package.json", PACKAGE)]), "{script}");
            assert!(!is_locked_by(script, &[lock, member, ("package.json", &newer)]), "{script}");
            assert!(!is_locked_by(script, &[lock, member, ("package.json", &more)]), "{script}");
            assert!(!is_locked_by(script, &[lock, member]), "{script}");
            let is_yarn = script == "yarn";
            assert_eq!(is_locked_by(script, &[lock, other, ("package.json", PACKAGE)]), is_yarn, "{script}");
        }
        let above = NPM.replace("p/q", "../q");
        let read = [("package-lock.json", above.as_str()), ("package.json", PACKAGE), ("../q/package.json", member.1)];
        assert!(!is_locked_by("npm install", &read));
    }
}
