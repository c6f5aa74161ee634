//! Changes to a client's files: made, shown and taken back. What others have written there stays.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// What stands behind each command that `setup` writes into a client's files, as a comment to the shell that runs it.
pub(super) const MARK: &str = "# written by palisade setup";

/// What marks our lines in a file that is no JSON.
const BEGIN: &str = "# palisade: begin (`palisade setup` writes and removes these lines)";
const END: &str = "# palisade: end";

/// Behind the name of a file that was there before.
const BACKUP: &str = ".before-palisade";

/// Bytes of a client's file, at most.
const MOST: u64 = 16 << 20;

/// A change to one file.
#[derive(Debug)]
pub(crate) struct Edit {
    /// The file.
    pub(crate) path: PathBuf,
    /// What changes.
    pub(crate) change: FileChange,
}

/// What changes in a file.
#[derive(Debug)]
pub(crate) enum FileChange {
    /// In JSON: these steps.
    Steps(Vec<JsonStep>),
    /// In any other text: these lines, at the end.
    Block(String),
    /// The file is ours, and holds this.
    Own(String),
}

/// A step in JSON, at keys from the outside in.
#[derive(Debug)]
pub(crate) enum JsonStep {
    /// This value, whatever stood there.
    Set(&'static [&'static str], Value),
    /// This element of a list, in the place of an earlier one of ours.
    Put(&'static [&'static str], Value),
}

/// A file as it is and as it is to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rewritten {
    pub(crate) path: PathBuf,
    before: Option<String>,
    /// None: the file goes.
    after: Option<String>,
    /// A line for each thing that changes.
    pub(crate) shown: Vec<String>,
    /// Our changes go: what was kept of the file from before them is of no more use.
    gives_back: bool,
}

impl Edit {
    /// The file with the change made.
    ///
    /// # Errors
    /// If it cannot be read, or is not what it should be.
    pub(crate) fn made(&self) -> Result<Rewritten, String> {
        let before = read(&self.path)?;
        let mut shown = Vec::new();
        let after = match &self.change {
            FileChange::Own(text) => {
                let is_ours = before.as_ref().is_none_or(|before| is_ours(before));
                if !is_ours {
                    return Err(format!("{} is there, and is none of Palisade's", self.path.display()));
                }
                shown.extend(text.lines().map(|line| format!("+ {line}")));
                text.clone()
            }
            FileChange::Block(lines) => {
                let before = before.as_deref().unwrap_or_default();
                if before.contains(BEGIN) && !before.contains(END) {
                    return Err(format!("{} has a line `{BEGIN}`, and none that ends it", self.path.display()));
                }
                let kept = without_block(before);
                shown.extend(lines.lines().map(|line| format!("+ {line}")));
                let gap = if kept.is_empty() || kept.ends_with("\n\n") { "" } else { "\n" };
                let text = format!("{kept}{gap}{BEGIN}\n{}\n{END}\n", lines.trim_end());
                // Such a file is TOML, and a client that cannot read it may start without any of it.
                if let Err(error) = toml::from_str::<toml::Table>(&text) {
                    let why = error.message();
                    return Err(format!(
                        "{} would not be read any more: {why}; take out what says the same",
                        self.path.display()
                    ));
                }
                text
            }
            FileChange::Steps(steps) => {
                let mut value = parsed(&self.path, before.as_deref())?;
                for step in steps {
                    step.make(&mut value, &mut shown).map_err(|why| format!("{}: {why}", self.path.display()))?;
                }
                format!("{value:#}\n")
            }
        };
        Ok(Rewritten { path: self.path.clone(), before, after: Some(after), shown, gives_back: false })
    }

    /// The file with the change taken back.
    ///
    /// # Errors
    /// As [`Edit::made`].
    pub(crate) fn taken_back(&self) -> Result<Rewritten, String> {
        let before = read(&self.path)?;
        let mut shown = Vec::new();
        let after = match (&self.change, &before) {
            (_, None) => None,
            (FileChange::Own(_), Some(text)) if is_ours(text) => {
                shown.push("- the whole file".to_owned());
                None
            }
            (FileChange::Own(_), Some(text)) => Some(text.clone()),
            (FileChange::Block(_), Some(text)) => {
                let kept = without_block(text);
                if kept != *text {
                    shown.push("- Palisade's lines".to_owned());
                }
                (!kept.trim().is_empty()).then_some(kept)
            }
            (FileChange::Steps(steps), Some(text)) => {
                let mut value = parsed(&self.path, Some(text))?;
                let backup = read(&beside(&self.path, BACKUP))?;
                let former = backup.as_deref().and_then(|text| serde_json::from_str(text).ok());
                for step in steps {
                    step.take_back(&mut value, former.as_ref(), &mut shown);
                }
                // A file that was there before stays, however little is in it.
                let stays = backup.is_some() || value.as_object().is_none_or(|fields| !fields.is_empty());
                if shown.is_empty() { Some(text.clone()) } else { stays.then(|| format!("{value:#}\n")) }
            }
        };
        Ok(Rewritten { path: self.path.clone(), before, after, shown, gives_back: true })
    }

    /// Whether the file holds the change as it stands; none if there is no such file or nothing of ours in it.
    ///
    /// # Errors
    /// As [`Edit::made`].
    pub(crate) fn command(&self) -> Result<Option<String>, String> {
        let Some(text) = read(&self.path)? else { return Ok(None) };
        match &self.change {
            FileChange::Own(_) | FileChange::Block(_) => Ok(is_ours(&text).then_some(text)),
            FileChange::Steps(steps) => {
                let value = parsed(&self.path, Some(&text))?;
                let put = steps.iter().find_map(|step| match step {
                    JsonStep::Put(keys, _) => {
                        at(&value, keys)?.as_array()?.iter().find(|element| is_ours(&element.to_string()))
                    }
                    JsonStep::Set(..) => None,
                });
                Ok(put.map(Value::to_string))
            }
        }
    }

    /// Where in a list our element stands, or would be put.
    ///
    /// # Errors
    /// As [`Edit::made`].
    pub(crate) fn position(&self, keys: &[&str]) -> Result<usize, String> {
        let value = parsed(&self.path, read(&self.path)?.as_deref())?;
        let list = at(&value, keys).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Ok(list.iter().position(|element| is_ours(&element.to_string())).unwrap_or(list.len()))
    }
}

impl Rewritten {
    /// Whether anything changes.
    pub(crate) fn changes(&self) -> bool {
        self.before != self.after
    }

    /// Writes it. A file that was there stays beside it, as it was before the first time.
    ///
    /// # Errors
    /// If it cannot be written; the file is as it was then.
    pub(crate) fn write(&self) -> io::Result<()> {
        // A link stays: the file that it leads to is written.
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let Some(after) = &self.after else {
            return if self.before.is_some() { fs::remove_file(&path) } else { Ok(()) };
        };
        let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let mask = if path.starts_with("/etc") { 0o755 } else { 0o700 };
        DirBuilder::new().recursive(true).mode(mask).create(directory)?;
        // What everybody's clients read is for everybody to read.
        let is_shared = path.starts_with("/etc");
        let mut mode = if is_shared { 0o644 } else { 0o600 };
        if self.before.is_some() {
            mode = fs::metadata(&path)?.permissions().mode();
            let backup = beside(&path, BACKUP);
            // Not a file that `setup` has made or changed itself.
            let is_untouched = self.before.as_ref().is_some_and(|before| !is_ours(before));
            if is_untouched && !self.gives_back {
                fs::copy(&path, &backup)?;
            }
        }
        let new = beside(&path, &format!(".new-{}", std::process::id()));
        let written = File::create_new(&new).and_then(|mut file| {
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.write_all(after.as_bytes())?;
            file.sync_all()
        });
        written.and_then(|()| fs::rename(&new, &path)).inspect_err(|_| {
            let _not_made = fs::remove_file(&new);
        })?;
        if self.gives_back {
            let _there_was_none = fs::remove_file(beside(&path, BACKUP));
        }
        Ok(())
    }
}

impl JsonStep {
    fn make(&self, value: &mut Value, shown: &mut Vec<String>) -> Result<(), String> {
        let (keys, new) = match self {
            Self::Set(keys, new) | Self::Put(keys, new) => (*keys, new),
        };
        let place = keys.join(".");
        let slot = made_at(value, keys)?;
        match self {
            Self::Set(..) if slot == new => {}
            Self::Set(..) => {
                let was = if slot.is_null() { String::new() } else { format!(" (it was {slot})") };
                shown.push(format!("+ {place} = {new}{was}"));
                *slot = new.clone();
            }
            Self::Put(..) => {
                if slot.is_null() {
                    *slot = Value::Array(Vec::new());
                }
                let list = slot.as_array_mut().ok_or_else(|| format!("`{place}` is no list"))?;
                let is_there = list.iter().filter(|element| is_ours(&element.to_string())).count() == 1;
                if is_there && list.iter().any(|element| is_same(element, new)) {
                    return Ok(());
                }
                // In the place of the first that is ours alone; what others have put beside ours stays there.
                let mut at = None;
                let mut kept = Vec::new();
                for mut element in std::mem::take(list) {
                    if is_ours(&element.to_string()) && strip(&mut element) {
                        at.get_or_insert(kept.len());
                    } else {
                        kept.push(element);
                    }
                }
                let sign = if at.is_some() { '~' } else { '+' };
                shown.push(format!("{sign} {place}: {new}"));
                kept.insert(at.unwrap_or(kept.len()), new.clone());
                *list = kept;
            }
        }
        Ok(())
    }

    /// `former` is the file as it was before the first change.
    fn take_back(&self, value: &mut Value, former: Option<&Value>, shown: &mut Vec<String>) {
        let (Self::Set(keys, new) | Self::Put(keys, new)) = self;
        let Some((last, above)) = keys.split_last() else { return };
        let Some(fields) = value_at(value, above).and_then(Value::as_object_mut) else { return };
        match (self, fields.get_mut(*last)) {
            (Self::Set(..), Some(set)) if set == new => match former.and_then(|former| at(former, keys)) {
                Some(former) if former == new => {}
                Some(former) => {
                    shown.push(format!("~ {} = {former}", keys.join(".")));
                    *set = former.clone();
                }
                None => {
                    fields.remove(*last);
                    shown.push(format!("- {}", keys.join(".")));
                }
            },
            (Self::Put(..), Some(Value::Array(list))) => {
                if list.iter().any(|element| is_ours(&element.to_string())) {
                    shown.push(format!("- {}", keys.join(".")));
                    list.retain_mut(|element| !is_ours(&element.to_string()) || !strip(element));
                }
                if list.is_empty() {
                    fields.remove(*last);
                }
            }
            _ => {}
        }
        // What holds nothing any more was made for it.
        for depth in (1..keys.len()).rev() {
            let Some((last, above)) = keys.get(..depth).and_then(|keys| keys.split_last()) else { continue };
            let Some(fields) = value_at(value, above).and_then(Value::as_object_mut) else { continue };
            if fields.get(*last).and_then(Value::as_object).is_some_and(Map::is_empty) {
                fields.remove(*last);
            }
        }
    }
}

/// Whether a text is something that `setup` has written.
fn is_ours(text: &str) -> bool {
    text.contains(MARK.trim_start_matches("# ")) || text.contains(BEGIN)
}

/// Takes our handlers out of an element of a list, and says whether nothing else is in it.
fn strip(element: &mut Value) -> bool {
    match element.get_mut("hooks").and_then(Value::as_array_mut) {
        Some(handlers) => {
            let before = handlers.len();
            handlers.retain(|handler| !is_ours(&handler.to_string()));
            before > 0 && handlers.is_empty()
        }
        None => is_ours(&element.to_string()),
    }
}

/// Whether two elements say the same but for a name that is made anew each time.
fn is_same(one: &Value, other: &Value) -> bool {
    let nameless = |value: &Value| {
        let mut value = value.clone();
        for hook in value.get_mut("hooks").and_then(Value::as_array_mut).into_iter().flatten() {
            hook.as_object_mut().map(|fields| fields.remove("name"));
        }
        value
    };
    nameless(one) == nameless(other)
}

fn at<'v>(value: &'v Value, keys: &[&str]) -> Option<&'v Value> {
    keys.iter().try_fold(value, |value, key| value.get(key))
}

fn value_at<'v>(value: &'v mut Value, keys: &[&str]) -> Option<&'v mut Value> {
    keys.iter().try_fold(value, |value, key| value.get_mut(key))
}

/// The slot at these keys, with all that leads to it.
fn made_at<'v>(value: &'v mut Value, keys: &[&str]) -> Result<&'v mut Value, String> {
    let mut slot = value;
    for key in keys {
        if slot.is_null() {
            *slot = Value::Object(Map::new());
        }
        let fields = slot.as_object_mut().ok_or_else(|| format!("what holds `{key}` is no object"))?;
        slot = fields.entry((*key).to_owned()).or_insert(Value::Null);
    }
    Ok(slot)
}

fn parsed(path: &Path, text: Option<&str>) -> Result<Value, String> {
    match text.map(str::trim) {
        None | Some("") => Ok(Value::Object(Map::new())),
        Some(text) => serde_json::from_str(text).map_err(|error| {
            format!("{} cannot be changed: {error}; write it as plain JSON, or change it by hand", path.display())
        }),
    }
}

fn read(path: &Path) -> Result<Option<String>, String> {
    let failed = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(about) if about.len() > MOST => return Err(format!("{} is larger than any settings file", path.display())),
        Ok(_) => {}
    }
    fs::read_to_string(path).map(Some).map_err(failed)
}

/// A file beside this one.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut name = real.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    real.with_file_name(name)
}

fn without_block(text: &str) -> String {
    let Some((before, rest)) = text.split_once(BEGIN) else { return text.to_owned() };
    let after = rest.split_once(END).map_or("", |(_, after)| after.strip_prefix('\n').unwrap_or(after));
    let before = before.strip_suffix("\n\n").map_or_else(|| before.to_owned(), |before| format!("{before}\n"));
    format!("{before}{after}")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(text: Option<&str>) -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("settings.json");
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
        }
        (place, path)
    }

    fn steps() -> FileChange {
        let hook = json!({ "hooks": [{ "command": "/usr/bin/palisade hook claude --wrap # written by palisade setup", "name": "a" }] });
        FileChange::Steps(vec![JsonStep::Put(&["hooks", "PreToolUse"], hook), JsonStep::Set(&["on"], true.into())])
    }

    #[test]
    fn a_change_is_made_once_and_taken_back_whole() {
        for text in [None, Some("{\n  \"model\": \"x\",\n  \"hooks\": {\n    \"Stop\": [\n      1\n    ]\n  }\n}\n")] {
            let (_place, path) = place(text);
            let edit = Edit { path: path.clone(), change: steps() };
            let made = edit.made().unwrap();
            assert!(made.changes() && made.shown.len() == 2, "{made:?}");
            made.write().unwrap();
            assert!(edit.command().unwrap().is_some_and(|command| command.contains("--wrap")));
            assert!(!edit.made().unwrap().changes());
            edit.taken_back().unwrap().write().unwrap();
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), text);
            assert!(!edit.taken_back().unwrap().changes());
        }
    }

    #[test]
    fn a_later_hook_takes_the_place_of_an_earlier_one_and_others_stay() {
        let text = r#"{ "hooks": { "PreToolUse": [
            { "hooks": [{ "command": "/home/palisade/bin/git-guard hook pre" }] }
        ] }, "on": false }"#;
        let (_place, path) = place(Some(text));
        let edit = Edit { path, change: steps() };
        edit.made().unwrap().write().unwrap();
        assert!(edit.path.with_file_name("settings.json.before-palisade").is_file());
        // Somebody puts a handler beside ours, and ours is of an earlier mode.
        let read = || serde_json::from_str::<Value>(&fs::read_to_string(&edit.path).unwrap()).unwrap();
        let mut value = read();
        value["hooks"]["PreToolUse"][1] = json!({ "hooks": [
            { "command": "palisade hook claude --shadow # written by palisade setup" }, { "command": "mine" }
        ] });
        fs::write(&edit.path, value.to_string()).unwrap();
        edit.made().unwrap().write().unwrap();
        let value = read();
        let list = value["hooks"]["PreToolUse"].as_array().unwrap();
        assert_eq!(list.len(), 3, "{list:?}");
        assert!(list[0].to_string().contains("git-guard") && list[2].to_string().contains("--wrap"), "{list:?}");
        assert_eq!(list[1], json!({ "hooks": [{ "command": "mine" }] }));
        assert_eq!(edit.position(&["hooks", "PreToolUse"]).unwrap(), 2);
        // What was set before is set again.
        edit.taken_back().unwrap().write().unwrap();
        let value = read();
        assert_eq!((&value["on"], value["hooks"]["PreToolUse"].as_array().unwrap().len()), (&json!(false), 2));
        assert!(!edit.path.with_file_name("settings.json.before-palisade").exists());
    }

    #[test]
    fn lines_are_added_behind_what_is_there_and_taken_away_again() {
        for text in ["", "a = 1\n", "[t]\na = 1\n\n"] {
            let (_place, path) = place(Some(text));
            let edit = Edit { path: path.clone(), change: FileChange::Block("[x]\ny = 2\n".to_owned()) };
            edit.made().unwrap().write().unwrap();
            let written = fs::read_to_string(&path).unwrap();
            assert!(written.starts_with(text) && written.contains("[x]\ny = 2\n"), "{written}");
            assert!(!edit.made().unwrap().changes());
            edit.taken_back().unwrap().write().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap_or_default().trim_end(), text.trim_end());
        }
    }

    #[test]
    fn a_file_that_is_not_understood_stays_as_it_is() {
        for text in ["{ // a comment\n}", "[1]", r#"{ "hooks": 1 }"#] {
            let (_place, path) = place(Some(text));
            let told = Edit { path: path.clone(), change: steps() }.made().unwrap_err();
            assert!(told.contains("settings.json"), "{told}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let (_place, path) = place(Some("somebody's"));
        assert!(Edit { path, change: FileChange::Own("ours".to_owned()) }.made().is_err());
    }
}
