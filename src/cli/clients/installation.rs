//! Whether clients ask Palisade's hook, and what in a directory would keep them from it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Form;
use super::detect::{ClientFinding, settings};
use super::hooks::{HOOKED, Hooked, Scope, Switch};
use crate::cli::report::printable;

/// What is known of one client's hook.
pub(crate) struct Installed {
    /// The client.
    pub(crate) client: &'static Hooked,
    /// `wrap`, `verdict` or `shadow`.
    pub(crate) mode: &'static str,
    /// The file that says so.
    pub(crate) file: String,
    /// Whose settings that are.
    pub(crate) scope: Scope,
}

/// The hooks that are in force for this user.
pub(crate) fn all() -> Vec<Installed> {
    let scopes = [Scope::System, Scope::User];
    HOOKED.iter().flat_map(|client| scopes.into_iter().filter_map(|scope| of(client, scope))).collect()
}

/// The hook of a client, if its files name one.
pub(crate) fn of(client: &'static Hooked, scope: Scope) -> Option<Installed> {
    let edits = client.edits(scope, &["palisade".to_owned(), "hook".to_owned()]).ok()?;
    let first = edits.first()?;
    let command = first.command().ok().flatten()?;
    let mode = ["wrap", "shadow"].into_iter().find(|mode| command.contains(&format!("--{mode}"))).unwrap_or("verdict");
    Some(Installed { client, mode, file: first.path.display().to_string(), scope })
}

/// A finding for each hook, and for each file of the directory that would switch one off.
pub(crate) fn findings(workspace: Option<&Path>) -> Vec<ClientFinding> {
    let mut findings = Vec::new();
    for Installed { client, mode, file, scope } in all() {
        let finding = |ready, text: String| ClientFinding { client: client.name, ready, text: printable(&text) };
        let own = std::env::current_exe().ok().and_then(|program| Some(program.to_str()?.to_owned()));
        let names_this = own.is_some_and(|own| std::fs::read_to_string(&file).is_ok_and(|text| text.contains(&own)));
        let other = if names_this { "" } else { ", as another program than this" };
        findings.push(finding(mode != "shadow", format!("{file} has it ask Palisade's hook ({mode}){other}")));
        if let Some(program) = program(&file).filter(|program| !program.is_file()) {
            findings.push(finding(false, format!("{file} names {}, which is not there", program.display())));
        }
        if let Some(why) = (client.unasked)(Path::new(&file)).filter(|_| scope == Scope::User) {
            findings.push(finding(false, format!("{file}: {why}")));
        }
        for switch in client.switches.iter().filter(|_| scope == Scope::User) {
            let place = workspace.map(|directory| directory.join(switch.file));
            if let Some(place) = place.filter(|place| switch.is_on(place)) {
                let how = switch.keys.join(".");
                findings.push(finding(
                    false,
                    format!(
                        "{} says `{how}`, which switches the hook off or undoes what it does; `palisade setup {} --apply --system` writes settings that a \
                         project cannot override",
                        place.display(),
                        client.name
                    ),
                ));
            }
        }
    }
    findings
}

/// The program that the command in this file starts, where it stands there without quotation marks of a shell.
fn program(file: &str) -> Option<PathBuf> {
    let text = std::fs::read_to_string(file).ok()?;
    let (before, _) = text.split_once(" hook ")?;
    let path = before.rsplit(['"', ' ']).next()?;
    path.starts_with('/').then(|| path.into())
}

impl Switch {
    /// Whether this file switches the hook off. One that cannot be read may.
    fn is_on(&self, place: &Path) -> bool {
        if !place.exists() {
            return false;
        }
        let is_toml = place.extension().is_some_and(|extension| extension == "toml");
        let Ok(told) = settings(place, if is_toml { Form::Toml } else { Form::Json }) else { return true };
        let said = self.keys.iter().try_fold(&told, |value, key| value.get(key));
        said.is_some_and(|said| self.value.is_none_or(|value| *said == Value::Bool(value)))
    }
}
