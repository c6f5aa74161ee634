//! The settings of a repository (`.git/config`), which git may change in a session and no other program.
//!
//! git runs what some settings name: an editor, a hook directory, an alias with `!`. So policy forbids to write the file, a mask holds it,
//! and a session's `git remote add` would fail. git writes a new file beside it, `config.lock`, and renames that. The exec guard holds the
//! rename; where git makes it, the server compares the two files, and carries over what differs if all of it is harmless: a
//! name, a remote, what a branch follows. The kernel is not let do it, since another program may have put other text there meanwhile.
//!
//! What is not harmless to a person's git, and gives the session's own git nothing that its programs lack, is kept for sessions alone
//! (`own_settings`): a remote in the workspace, hooks, other values for what a person has set.
//!
//! A git that connects to nothing may have other code loaded into it. So who makes the call proves little, and all rests on the comparison.
//!
//! Decided here: which differences are harmless, and which are for sessions alone. Not decided here: who is git (`guard`), and which settings are harmless whatever their
//! value (`harmless.rs`).

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use git2::Config;
use libc::c_int;
use palisade_sandbox::file_marks::Earlier;
use palisade_sandbox::own_settings::{OwnSettings, SettingValues, Store, Values, values};
use palisade_sandbox::repositories::{Around, Difference, SettingsChange, Taken, has_one_worktree};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::harmless;

/// The longest file of settings that is carried over, in bytes.
const LONGEST: u64 = 1 << 20;

/// Tools that git-mergetool(1) and git-difftool(1) know by name. They are looked for where a person has programs.
const KNOWN_TOOLS: [&str; 14] = [
    "bc", "emerge", "gvimdiff", "kdiff3", "meld", "nvimdiff", "opendiff", "p4merge", "smerge", "tkdiff", "vimdiff",
    "vimdiff2", "vscode", "xxdiff",
];

/// Flags of a file that a session may have replaced by a pipe.
const QUIET: c_int = libc::O_CLOEXEC | libc::O_NONBLOCK;

/// A file of settings after a change.
#[derive(Debug, PartialEq, Eq)]
struct Merged {
    text: Vec<u8>,
    difference: Difference,
}

/// Has git read settings for each worktree. Where there is only one and it has none, that changes nothing.
const FOR_EACH_WORKTREE: &str = "extensions.worktreeconfig";

/// Reads the settings that a process of the session has written to a file that git calls `config.lock`, changes the repository's by what
/// differs from what sessions see there, or keeps that for sessions, and removes the new file.
///
/// # Errors
/// The error that the caller gets: `EACCES` where something is neither harmless nor can be kept, or the files are not what git leaves.
pub(super) fn take_over(change: &SettingsChange<'_>, around: &Around<'_>) -> Result<Taken, c_int> {
    let refused = |_| libc::EACCES;
    let SettingsChange { written, new, place, of_worktree } = *change;
    let mut written = text_of(written).map_err(refused)?;
    let _changing = Store::changing();
    let (file, present) = present(place)?;
    let own = around.own.map(|store| store.of(place)).unwrap_or_default();
    if of_worktree {
        let base = if around.sees_own { seen(&present, &own).map_err(refused)? } else { Some(present.clone()) };
        let more = if has_includes(&written) { None } else { settings_of(&written).map_err(refused).map(Some)? };
        let both = base.zip(more).map(|(base, more)| with(&base, &more)).transpose().map_err(refused)?;
        written = both.flatten().ok_or(libc::EACCES)?;
    }
    let one = has_one_worktree(place);
    let outcome = judged(&present, &own, &written, one, around).map_err(refused)?.ok_or(libc::EACCES)?;
    let shown = |own: &OwnSettings, text: &[u8]| -> Result<Option<String>, c_int> {
        let Some(store) = around.own else { return Ok(None) };
        let text = seen(text, own).map_err(refused)?.ok_or(libc::EACCES)?;
        store.show(place, &text).map(Some).map_err(number)
    };
    let taken = match outcome {
        Merge::Over(merged) => {
            // In place: a new file would come out from under the masks of all sessions.
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let mut open = OpenOptions::new().write(true).custom_flags(libc::O_CLOEXEC).open(path).map_err(refused)?;
            let save = |open: &mut File| {
                open.write_all(&merged.text)?;
                open.set_len(u64::try_from(merged.text.len()).unwrap_or(u64::MAX))?;
                open.sync_data()
            };
            save(&mut open).map_err(number)?;
            // Also where none is left: the session goes on to see the other file.
            if around.sees_own || !own.is_empty() {
                shown(&own, &merged.text)?;
            }
            Taken::Over(merged.difference)
        }
        Merge::Kept(own) => {
            let name = shown(&own, &present)?.ok_or(libc::EACCES)?;
            around.own.map_or(Ok(()), |store| store.keep(place, &own)).map_err(number)?;
            Taken::Kept(name)
        }
    };
    // git takes its lock for gone; one that cannot be removed stops the next writer, who says so.
    let _removed = fs::remove_file(new);
    Ok(taken)
}

/// What the caller of the call that failed gets told.
fn number(error: io::Error) -> c_int {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// The file of settings that the server sees there, on which no mask stands, and its text.
fn present(place: &Path) -> Result<(OwnedFd, Vec<u8>), c_int> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let file =
        openat2(CWD, place, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).map_err(|errno| errno.raw_os_error())?;
    let text = text_of(&file).map_err(|_| libc::EACCES)?;
    Ok((file, text))
}

/// The file that sessions see in the place of a repository's settings, made anew: its name in the directory of the store. None if sessions
/// have set nothing there for themselves, or what they have set cannot be read: then they see the repository's own. `seen_before`: a session sees
/// such a file already, and goes on to do so where nothing is left in it of its own.
pub(super) fn shown(store: &Store, place: &Path, seen_before: bool) -> Option<String> {
    let _changing = Store::changing();
    let own = Some(store.of(place)).filter(|own| seen_before || !own.is_empty())?;
    let (_, present) = present(place).ok()?;
    let text = seen(&present, &own).ok().flatten()?;
    store.show(place, &text).ok()
}

/// The text of a repository's settings as sessions see it, if that is another one than the repository's.
pub(crate) fn seen_by_sessions(earlier: &Earlier, place: &Path) -> Option<String> {
    let own = Some(earlier.own_settings()?.of(place)).filter(|own| !own.is_empty())?;
    let (_, present) = present(place).ok()?;
    String::from_utf8(seen(&present, &own).ok().flatten()?).ok()
}

/// Whether sessions have given a setting all of these values.
fn are_of_session(around: &Around<'_>, name: &str, values: &[Option<String>]) -> bool {
    values.iter().all(|value| value.as_deref().is_some_and(|value| (around.is_of_session)(name, value)))
}

/// Whether sessions have made a remote: its name and all that is said of it.
fn made_remote(around: &Around<'_>, settings: &SettingValues, remote: &str) -> bool {
    let section = format!("remote.{remote}.");
    let mut about = settings.iter().filter(|(name, _)| name.starts_with(&section));
    about.all(|(name, values)| are_of_session(around, name, values))
}

/// What a command of git does to the settings of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A setting gets one value.
    Set(String, String),
    /// Settings of each worktree are read as well, where git asks for that by itself.
    ForEachWorktree,
    /// All settings of a section go, or change their names: `remote.NAME`.
    Remove(String),
}

/// Whether the guard would refuse these changes of the file at `place`, for a verdict before git runs. What cannot be read or written is not
/// foretold: the guard decides when git writes.
pub(crate) fn refuses(place: &Path, changes: &[Change], around: &Around<'_>) -> Option<bool> {
    let foretold = || -> io::Result<bool> {
        let flags = libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW;
        let present = text_of(&OpenOptions::new().read(true).custom_flags(flags).open(place)?)?;
        let own = around.own.map(|store| store.of(place)).unwrap_or_default();
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("written");
        fs::write(&file, seen(&present, &own)?.unwrap_or_else(|| present.clone()))?;
        change(&file, changes).map_err(io::Error::other)?;
        let one = changes.contains(&Change::ForEachWorktree) && has_one_worktree(place);
        Ok(judged(&present, &own, &fs::read(&file)?, one, around)?.is_none())
    };
    foretold().ok()
}

fn change(file: &Path, changes: &[Change]) -> Result<(), git2::Error> {
    let mut config = Config::open(file)?;
    for change in changes {
        match change {
            Change::Set(name, value) => config.set_str(name, value)?,
            Change::ForEachWorktree => config.set_bool(FOR_EACH_WORKTREE, true)?,
            Change::Remove(section) => {
                let inside =
                    |name: &&String| name.strip_prefix(section.as_str()).is_some_and(|rest| rest.starts_with('.'));
                let all = settings(file)?;
                let of_branches = branches_of(&all, section.strip_prefix("remote.").unwrap_or_default());
                for name in all.keys().filter(inside).chain(&of_branches) {
                    config.remove_multivar(name, ".*")?;
                }
            }
        }
    }
    Ok(())
}

/// What branches follow of a remote, which git forgets with it.
fn branches_of(settings: &SettingValues, remote: &str) -> Vec<String> {
    let following = settings.iter().filter(|(name, values)| {
        general(name) == "branch.*.remote" && values.iter().flatten().any(|value| value == remote)
    });
    let both = following
        .flat_map(|(name, _)| [name.clone(), format!("{}.merge", name.strip_suffix(".remote").unwrap_or(name))]);
    both.filter(|name| settings.contains_key(name)).collect()
}

fn text_of(file: &impl AsRawFd) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(QUIET).open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut text = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}

/// What becomes of settings that git has written.
#[derive(Debug, PartialEq, Eq)]
enum Merge {
    /// The repository gets them.
    Over(Merged),
    /// They are for sessions alone.
    Kept(OwnSettings),
}

/// What becomes of a written text; none if it is refused. `present` is the repository's own text, over which sessions see `own`.
/// `one_worktree`: [`has_one_worktree`].
fn judged(
    present: &[u8],
    own: &OwnSettings,
    written: &[u8],
    one_worktree: bool,
    around: &Around<'_>,
) -> io::Result<Option<Merge>> {
    if has_includes(written) {
        return Ok(None);
    }
    let (before, mut after) = (settings_of(present)?, settings_of(written)?);
    // The process that has set it goes on as if it stood there.
    if one_worktree && !before.contains_key(FOR_EACH_WORKTREE) {
        after.remove(FOR_EACH_WORKTREE);
    }
    let over = if around.sees_own { own.over(&before) } else { SettingValues::new() };
    let base: SettingValues = before.iter().chain(&over).map(|(name, values)| (name.clone(), values.clone())).collect();
    let names: BTreeSet<&String> = base.keys().chain(after.keys()).collect();
    let differ = names.into_iter().filter(|name| values(&base, name) != values(&after, name));
    let changed: SettingValues = differ.map(|name| (name.clone(), values(&after, name).to_vec())).collect();
    if !changed.keys().any(|name| own.is_about(name))
        && let Some(changed) = with(present, &changed)?
        && let Some(merged) = merged(present, &changed, around)?
    {
        return Ok(Some(Merge::Over(merged)));
    }
    let may_be_kept = |(name, has): (&String, &Values)| {
        let had = values(&before, name);
        let goes = has.is_empty() && (name.starts_with("alias.") || name.starts_with("submodule."));
        let were = |value: &Option<String>| is_for_sessions(name, value.as_deref(), None);
        let are = |value: &Option<String>| is_for_sessions(name, value.as_deref(), Some(&after));
        had == has.as_slice() || goes || had.iter().all(were) && has.iter().all(are)
    };
    if around.own.is_none() || !changed.iter().all(may_be_kept) {
        return Ok(None);
    }
    let Some(own) = own.clone().with(&before, &changed) else { return Ok(None) };
    // What git reads of it is what it wrote, or the file is not made.
    let Some(text) = seen(present, &own)? else { return Ok(None) };
    let as_written = !around.sees_own || settings_of(&text)? == after;
    Ok(as_written.then_some(Merge::Kept(own)))
}

/// A repository's text as sessions see it; none if it cannot be made.
fn seen(present: &[u8], own: &OwnSettings) -> io::Result<Option<Vec<u8>>> {
    with(present, &own.over(&settings_of(present)?))
}

/// A text with other values for some settings; none if the library would not write them as git reads them.
fn with(text: &[u8], changed: &SettingValues) -> io::Result<Option<Vec<u8>>> {
    let failed = |error: git2::Error| io::Error::other(error);
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("settings");
    fs::write(&file, text)?;
    let mut expected = settings(&file).map_err(failed)?;
    let mut config = Config::open(&file).map_err(failed)?;
    for (name, has) in changed {
        if !write(&mut config, name, values(&expected, name), has).map_err(failed)? {
            return Ok(None);
        }
    }
    drop(config);
    expected.extend(changed.iter().map(|(name, has)| (name.clone(), has.clone())));
    expected.retain(|_, values| !values.is_empty());
    let written = settings(&file).map_err(failed)?;
    if written == expected { Ok(Some(fs::read(&file)?)) } else { Ok(None) }
}

/// Gives a setting other values. Whether the library writes each as it is.
fn write(config: &mut Config, name: &str, had: &[Option<String>], has: &[Option<String>]) -> Result<bool, git2::Error> {
    if let ([] | [_], [Some(value)]) = (had, has) {
        config.set_str(name, value)?;
        return Ok(true);
    }
    if !had.is_empty() {
        config.remove_multivar(name, ".*")?;
    }
    for value in has {
        // A setting without a value, and of several values what has to be escaped.
        let Some(value) = value.as_deref().filter(|value| !value.contains(['"', '\\'])) else { return Ok(false) };
        // No value fits this expression: each is added.
        config.set_multivar(name, "a^", value)?;
    }
    Ok(true)
}

/// Whether a setting is no danger to the session's own git, which may reach hosts that other programs may not: what git runs for it is decided
/// by itself at its `execve`, and it leads to no host. A person's yes to a push is to where that leads, and must not be led elsewhere
/// meanwhile. `value`: none for a setting without one. `all`: the settings that it is to be among, or none if it is to go.
fn is_for_sessions(name: &str, value: Option<&str>, all: Option<&SettingValues>) -> bool {
    const NAMES: [&str; 26] = [
        "branch.*.merge",
        "branch.*.rebase",
        "branch.*.remote",
        "commit.gpgsign",
        "core.hookspath",
        "diff.*.binary",
        "diff.*.cachetextconv",
        "diff.*.command",
        "diff.*.textconv",
        "diff.guitool",
        "diff.tool",
        "filter.*.clean",
        "filter.*.process",
        "filter.*.required",
        "filter.*.smudge",
        "gpg.format",
        "merge.*.driver",
        "merge.*.name",
        "merge.guitool",
        "merge.tool",
        "remote.*.fetch",
        "remote.*.prune",
        "remote.*.tagopt",
        "remote.*.url",
        "tag.gpgsign",
        "user.signingkey",
    ];
    let general = general(name);
    let Some(value) = value.filter(|value| !value.chars().any(char::is_control)) else { return false };
    let is_near = |value: &str| !value.contains(':') && !value.starts_with(['-', '~']);
    let leads_nowhere = |all: &SettingValues| match general.as_str() {
        "remote.*.url" => is_near(value),
        "branch.*.remote" => {
            let urls = values(all, &format!("remote.{value}.url"));
            // Without any, git takes the name for a path.
            value == "." || is_name(value) && urls.iter().all(|url| url.as_deref().is_some_and(is_near))
        }
        _ => true,
    };
    let is_listed = NAMES.binary_search(&general.as_str()).is_ok() || is_harmless(name, value);
    let is_plain = !name.starts_with("remote.") || has_plain_name(name);
    is_listed && is_plain && all.is_none_or(leads_nowhere)
}

/// Whether sessions can have these changes for themselves, whatever the repository is.
pub(crate) fn may_be_kept(changes: &[Change]) -> bool {
    let has = |change: &Change| match change {
        Change::Set(name, value) => {
            // Sections and last names are the same in capitals.
            let parts = name.split_once('.').map(|(section, rest)| (section, rest.rsplit_once('.')));
            let name = match parts {
                Some((section, Some((middle, last)))) => {
                    format!("{}.{middle}.{}", section.to_ascii_lowercase(), last.to_ascii_lowercase())
                }
                _ => name.to_ascii_lowercase(),
            };
            let all = SettingValues::from([(name.clone(), vec![Some(value.clone())])]);
            is_for_sessions(&name, Some(value), Some(&all))
        }
        Change::Remove(_) | Change::ForEachWorktree => false,
    };
    changes.iter().all(has)
}

/// Whether other files are read for what stands in a text.
fn has_includes(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    text.split('[').skip(1).any(|section| section.trim_start().starts_with("include"))
}

fn settings_of(text: &[u8]) -> io::Result<SettingValues> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("settings");
    fs::write(&file, text)?;
    settings(&file).map_err(io::Error::other)
}

/// The present text with the settings of the written one; none if a difference is not harmless. The result holds the present text and
/// what libgit2 writes, and no byte of the written text: git need not read that as libgit2 does.
fn merged(present: &[u8], written: &[u8], around: &Around<'_>) -> io::Result<Option<Merged>> {
    // No other file is read for what stands in these.
    if has_includes(present) || has_includes(written) {
        return Ok(None);
    }
    let directory = tempfile::tempdir()?;
    let [old, new] = ["present", "written"].map(|name| directory.path().join(name));
    fs::write(&old, present)?;
    fs::write(&new, written)?;
    let failed = |error: git2::Error| io::Error::other(error);
    let (before, after) = (settings(&old).map_err(failed)?, settings(&new).map_err(failed)?);
    if loses_a_remote(&before, &after) {
        return Ok(None);
    }
    let mut config = Config::open(&old).map_err(failed)?;
    let mut difference = Difference::default();
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let [had, has] = [&before, &after].map(|all| values(all, name));
        if had == has {
            continue;
        }
        let are_harmless = |values: &[Option<String>], all: &SettingValues| {
            values.iter().all(|value| value.as_deref().is_some_and(|value| may_have(name, value, all, around)))
        };
        let harmless = are_harmless(has, &after) && (are_of_session(around, name, had) || are_harmless(had, &before));
        if !harmless || keeps_its_meaning(name, &before, &after, around) {
            return Ok(None);
        }
        let only = |one: &[Option<String>], other: &[Option<String>]| -> Vec<(String, String)> {
            let values = one.iter().filter(|value| !other.contains(value)).flatten();
            values.map(|value| (name.clone(), value.clone())).collect()
        };
        difference.set.extend(only(has, had));
        difference.unset.extend(only(had, has));
        if !write(&mut config, name, had, has).map_err(failed)? {
            return Ok(None);
        }
    }
    drop(config);
    // Word for word what git wrote, as far as settings go.
    if settings(&old).map_err(failed)? != after {
        return Ok(None);
    }
    Ok(Some(Merged { text: fs::read(&old)?, difference }))
}

/// Whether a setting may have a value among all these settings.
fn may_have(name: &str, value: &str, all: &SettingValues, around: &Around<'_>) -> bool {
    (is_harmless(name, value) && (has_no_remote(name, value) || is_remote(all, value)))
        || general(name) == "remote.*.url"
            && has_plain_name(name)
            && is_path(value)
            && (around.is_beyond)(Path::new(value))
}

/// Whether a change would take a setting away, or give it another meaning, that a person has made or may rely on.
fn keeps_its_meaning(name: &str, before: &SettingValues, after: &SettingValues, around: &Around<'_>) -> bool {
    let [had, has] = [before, after].map(|all| values(all, name));
    let remote = name.strip_prefix("remote.").and_then(|rest| rest.rsplit_once('.'));
    let is_of_session = || match remote {
        Some((remote, _)) => made_remote(around, before, remote),
        None => are_of_session(around, name, had),
    };
    if let Some((remote, "fetch")) = remote {
        // Without a URL git takes the name of the remote for the path of one.
        return had.iter().any(|value| !has.contains(value)) && !is_of_session()
            || !has.is_empty() && !is_remote(after, remote);
    }
    is_only_added(name) && is_known(before, name) && !is_of_session() || takes_the_lead(before, name, around)
}

/// Whether a setting names a remote that is no longer one: git would take the name for the path of a repository, whose hooks it runs.
fn loses_a_remote(before: &SettingValues, after: &SettingValues) -> bool {
    let names_one = |name: &str| {
        name == "remote.pushdefault" || ["branch.*.remote", "branch.*.pushremote"].contains(&general(name).as_str())
    };
    let named = after.iter().filter(|(name, _)| names_one(name)).flat_map(|(_, values)| values.iter().flatten());
    let described = after.keys().filter_map(|name| Some(name.strip_prefix("remote.")?.rsplit_once('.')?.0));
    let mut all = named.map(String::as_str).chain(described);
    all.any(|remote| is_remote(before, remote) && !is_remote(after, remote))
}

/// The values of each setting of this file, without those of others that it includes.
fn settings(file: &Path) -> Result<SettingValues, git2::Error> {
    let config = Config::open(file)?;
    let mut entries = config.entries(None)?;
    let mut all = SettingValues::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if entry.include_depth() == 0 {
            let value = entry.has_value().then(|| String::from_utf8_lossy(entry.value_bytes()).into_owned());
            all.entry(String::from_utf8_lossy(entry.name_bytes()).into_owned()).or_default().push(value);
        }
    }
    Ok(all)
}

/// The name of a setting with `*` for what stands between the section and the last part.
fn general(name: &str) -> String {
    let parts = name.split_once('.').and_then(|(section, rest)| Some((section, rest.rsplit_once('.')?.1)));
    parts.map_or_else(|| name.to_owned(), |(section, last)| format!("{section}.*.{last}"))
}

/// Whether a setting says where something comes from or goes to, or what a person works with.
fn is_only_added(name: &str) -> bool {
    let general = general(name);
    name.starts_with("remote.")
        || name.starts_with("alias.")
        || [
            "branch.*.remote",
            "branch.*.merge",
            "submodule.*.url",
            "core.pager",
            "core.editor",
            "sequence.editor",
            "merge.tool",
            "merge.guitool",
            "diff.tool",
            "diff.guitool",
        ]
        .contains(&general.as_str())
}

/// Whether a new remote would be the one that git takes where none is named, in the place of one that a person has made.
fn takes_the_lead(settings: &SettingValues, name: &str, around: &Around<'_>) -> bool {
    let is_of_others = |known: &str| {
        let remote = known.strip_prefix("remote.").and_then(|rest| rest.rsplit_once('.'));
        remote.is_some_and(|(remote, _)| remote != "origin" && !made_remote(around, settings, remote))
    };
    name.starts_with("remote.origin.")
        && !is_remote(settings, "origin")
        && settings.keys().any(|known| is_of_others(known))
}

/// Whether the remote that a setting is about is there, or else the setting itself.
fn is_known(settings: &SettingValues, name: &str) -> bool {
    let remote = name.strip_prefix("remote.").and_then(|rest| rest.rsplit_once('.'));
    match remote {
        Some((remote, _)) => settings.keys().any(|known| known.starts_with(&format!("remote.{remote}."))),
        None => settings.contains_key(name),
    }
}

/// Whether a setting of this value names no remote. git takes the name of none for the path of a repository, whose hooks it runs.
fn has_no_remote(name: &str, value: &str) -> bool {
    general(name) != "branch.*.remote" || value == "."
}

fn is_remote(settings: &SettingValues, name: &str) -> bool {
    settings.contains_key(&format!("remote.{name}.url"))
}

/// Whether git runs nothing for a setting of this value, and reads nothing else for it.
fn is_harmless(name: &str, value: &str) -> bool {
    if value.chars().any(char::is_control) {
        return false;
    }
    match general(name).as_str() {
        "remote.*.url" => has_plain_name(name) && is_of_a_host(value),
        "remote.*.fetch" => has_plain_name(name) && is_of_tracking(value),
        // The repository itself, or a remote by its name.
        "branch.*.remote" => value == "." || is_name(value),
        // git clones from there and runs nothing, unless it starts a helper (`ext::sh -c x`, gitremote-helpers(7)).
        "submodule.*.url" => is_of_a_host(value) || !value.contains(':') && !value.starts_with('-'),
        "push.default" => ["simple", "nothing"].contains(&value),
        name if name.starts_with("alias.") => is_plain_alias(value),
        // Programs that a person has, under names that no workspace gives a meaning.
        "core.pager" => ["", "cat", "less", "less -F", "less -R", "less -FRX"].contains(&value),
        "core.editor" | "sequence.editor" => ["true", ":", "cat", "vi", "vim", "nano"].contains(&value),
        // git knows how to start these, and nothing in the repository says otherwise.
        "merge.tool" | "merge.guitool" | "diff.tool" | "diff.guitool" => KNOWN_TOOLS.contains(&value),
        name if name.starts_with("pager.") => ["true", "false"].contains(&value),
        "core.repositoryformatversion" => ["0", "1"].contains(&value),
        "submodule.*.update" => ["checkout", "merge", "rebase", "none"].contains(&value),
        general => harmless::is_harmless(general),
    }
}

/// Whether git takes an address for a path from the root.
fn is_path(value: &str) -> bool {
    value.starts_with('/') && !value.chars().any(|letter| letter == ':' || letter.is_control())
}

/// Whether git takes the name of a remote for nothing else: for a URL or a path it looks for a remote of that name first.
fn has_plain_name(name: &str) -> bool {
    let remote = name.strip_prefix("remote.").and_then(|rest| rest.rsplit_once('.'));
    remote.is_some_and(|(remote, _)| is_name(remote))
}

/// Whether an alias stands for what looks around or prepares, and what git does for it runs and sends nothing. A person may have another
/// alias of that name.
fn is_plain_alias(value: &str) -> bool {
    const SUBCOMMANDS: [&str; 14] = [
        "add",
        "blame",
        "branch",
        "checkout",
        "commit",
        "diff",
        "log",
        "ls-files",
        "restore",
        "rev-parse",
        "shortlog",
        "show",
        "status",
        "switch",
    ];
    const OPTIONS: [&str; 32] = [
        "-a",
        "-am",
        "-b",
        "-c",
        "-m",
        "-p",
        "-s",
        "-sb",
        "-u",
        "-v",
        "-vv",
        "--abbrev-commit",
        "--abbrev-ref",
        "--all",
        "--amend",
        "--branch",
        "--cached",
        "--decorate",
        "--graph",
        "--name-only",
        "--name-status",
        "--no-edit",
        "--no-merges",
        "--oneline",
        "--patch",
        "--reverse",
        "--short",
        "--staged",
        "--stat",
        "--word-diff",
        "HEAD",
        "--",
    ];
    let is_count = |word: &str| word.strip_prefix('-').is_some_and(|count| count.parse::<u16>().is_ok());
    // `%G` runs what checks signatures, and `%x1b` is a byte that a terminal obeys.
    let is_form = |word: &str| {
        let form = ["--format=", "--pretty=", "--date="].iter().find_map(|option| word.strip_prefix(option));
        form.is_some_and(|form| !form.contains("%G") && !form.contains("%x"))
    };
    let Some(words) = shell_words(value) else { return false };
    let mut words = words.iter().map(String::as_str);
    words.next().is_some_and(|word| SUBCOMMANDS.contains(&word))
        && words.all(|word| OPTIONS.contains(&word) || is_count(word) || is_form(word))
}

/// The words of an alias, as git splits it: quotes hold together what they enclose. None if it has a backslash or a quote is open.
fn shell_words(value: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for letter in value.chars() {
        match (letter, quote) {
            ('\\', _) => return None,
            ('\'' | '"', None) => quote = Some(letter),
            (letter, Some(open)) if letter == open => quote = None,
            (' ', None) => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            (letter, _) => word.push(letter),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    quote.is_none().then_some(words)
}

/// Whether what is fetched becomes branches of remotes, and none of the repository's own. Of another remote, too: git names the section
/// of a remote anew before it names its branches anew, and a session can change those anyway.
fn is_of_tracking(value: &str) -> bool {
    let value = value.strip_prefix('+').unwrap_or(value);
    value.split_once(':').is_some_and(|(from, to)| {
        from.starts_with("refs/heads/")
            && to
                .strip_prefix("refs/remotes/")
                .and_then(|to| to.split_once('/'))
                .is_some_and(|(remote, _)| is_name(remote))
    })
}

fn is_name(value: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    !value.is_empty() && !value.starts_with(['.', '-']) && value.chars().all(plain)
}

/// Whether an address is one of a repository on a host. Pushing to a path runs what lies there.
fn is_of_a_host(value: &str) -> bool {
    if value.contains("::") || value.starts_with('-') {
        return false;
    }
    match value.split_once("://") {
        Some((scheme, rest)) => {
            ["https", "http", "ssh"].contains(&scheme) && !rest.is_empty() && !rest.starts_with('-')
        }
        // `user@host:path`, as git tells it from a path.
        None => value.split_once(':').is_some_and(|(host, _)| {
            let name = host.rsplit('@').next().unwrap_or_default();
            is_name(name) && host.split('@').all(is_name)
        }),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const PRESENT: &str =
        "[core]\n\tbare = false # kept\n\teditor = vim\n[remote \"o\"]\n\turl = https://example.com/a\n";

    fn merged_with(present: &str, written: &str, of_session: &[(&str, &str)]) -> Option<String> {
        let around = Around {
            is_beyond: &|path| !path.starts_with("/w"),
            is_of_session: &|name, value| of_session.contains(&(name, value)),
            own: None,
            sees_own: false,
        };
        let merged = merged(present.as_bytes(), written.as_bytes(), &around).unwrap();
        merged.map(|merged| String::from_utf8(merged.text).unwrap())
    }

    fn merge(written: &str) -> Option<String> {
        merged_with(PRESENT, written, &[])
    }

    #[test]
    fn harmless_settings_are_carried_over() {
        let text = merge(&format!(
            "{PRESENT}[user]\n\tname = \"A \\\"x\\\" #1\"\n[branch \"x.y\"]\n\tremote = o\n\tmerge = refs/heads/x\n"
        ));
        let text = text.unwrap();
        assert!(text.starts_with("[core]\n\tbare = false # kept\n\teditor = vim\n"), "{text}");
        assert!(text.contains("[branch \"x.y\"]") && text.contains("#1"), "{text}");
        let text = merge(&format!("{PRESENT}[user]\n\tname = a\\\\b\n")).unwrap();
        assert!(text.ends_with("\tname = a\\\\b\n"), "{text}");
        let added = "[remote \"p\"]\n\turl = git@example.com:b\n\tfetch = +refs/heads/a:refs/remotes/p/a\n\
                     \tfetch = +refs/heads/b:refs/remotes/p/b\n";
        let text = merge(&format!("{PRESENT}{added}")).unwrap();
        assert!(
            text.contains("git@example.com:b") && text.contains("remotes/p/a") && text.contains("remotes/p/b"),
            "{text}"
        );
        let text = merge(&PRESENT.replace("bare = false # kept", "filemode = false")).map(|_| ());
        assert_eq!(text, None, "what is no harmless setting is not taken away either");
        assert_eq!(merge(PRESENT).unwrap(), PRESENT);
    }

    #[test]
    fn an_alias_may_stand_for_what_looks_around() {
        for (value, carried) in [
            ("checkout", true),
            ("log --oneline --graph", true),
            ("log -1 --format='%h --output=x'", true),
            ("log -1 --format='%h\\\\' --output=x", false),
            ("log --format='%G?'", false),
            ("log '--output=x'", false),
            ("log --format='%h", false),
            ("push", false),
            ("log --output=x", false),
            ("-c core.pager=./x log", false),
            ("!./x", false),
            ("reset --hard", false),
            ("commit -n", false),
        ] {
            let merged = merge(&format!("{PRESENT}[alias]\n\tco = {value}\n"));
            assert_eq!(merged.is_some(), carried, "{value}");
        }
    }

    #[test]
    fn a_remote_may_lie_where_those_outside_have_nothing() {
        for (value, carried) in
            [("/tmp/r.git", true), ("/w/evil", false), ("evil", false), ("../r.git", false), ("~/r.git", false)]
        {
            let merged = merge(&format!("{PRESENT}[remote \"p\"]\n\turl = {value}\n"));
            assert_eq!(merged.is_some(), carried, "{value}");
        }
    }

    #[test]
    fn what_a_person_has_set_keeps_its_meaning() {
        const OWN: &str = "[remote \"up\"]\n\turl = https://h/a\n\tfetch = +refs/heads/*:refs/remotes/up/*\n[alias]\n\tci = commit\n\
                           [submodule \"s\"]\n\turl = https://h/s\n[branch \"main\"]\n\tremote = up\n\tmerge = refs/heads/main\n";
        let merge = |written: &str| merged_with(OWN, written, &[]).is_some();
        assert!(merge(&format!("{OWN}[remote \"p\"]\n\turl = https://h/p\n")));
        assert!(merge(&format!("{OWN}[merge]\n\ttool = vimdiff\n[diff]\n\ttool = meld\n")));
        assert!(merge(
            &OWN.replace("refs/remotes/up/*\n", "refs/remotes/up/*\n\tfetch = +refs/heads/x:refs/remotes/up/x\n")
        ));
        for added in [
            // Which remote is meant where none is named, and what a person's word for a remote means.
            "[remote \"origin\"]\n\turl = https://evil/a\n",
            "[remote \"git@h:a\"]\n\turl = https://evil/a\n",
            "[remote \"../a\"]\n\turl = https://evil/a\n",
            "[remote \".\"]\n\turl = https://evil/a\n",
            "[remote \"up\"]\n\ttagopt = --no-tags\n",
            "[push]\n\tdefault = current\n",
            "[merge]\n\ttool = ./x\n",
            "[mergetool \"meld\"]\n\tpath = ./x\n",
            "[remote \"p\"]\n\tfetch = +refs/heads/*:refs/remotes/p/*\n",
            "[extensions]\n\tworktreeConfig = true\n",
        ] {
            assert!(!merge(&format!("{OWN}{added}")), "{added}");
        }
        for (from, to) in [
            ("ci = commit", "ci = commit -a"),
            ("+refs/heads/*:refs/remotes/up/*", "+refs/heads/x:refs/remotes/up/main"),
            ("\tfetch = +refs/heads/*:refs/remotes/up/*\n", ""),
            ("[submodule \"s\"]\n\turl = https://h/s\n", ""),
            ("\tremote = up\n", ""),
        ] {
            assert!(!merge(&OWN.replace(from, to)), "{from} {to}");
        }
    }

    #[test]
    fn what_a_session_has_set_may_change_and_go() {
        const ADDED: &str = "[remote \"p\"]\n\turl = https://h/p\n\tfetch = +refs/heads/*:refs/remotes/p/*\n\
                             [branch \"x\"]\n\tremote = p\n\tmerge = refs/heads/x\n[alias]\n\tci = commit\n";
        const SET: &[(&str, &str)] = &[
            ("remote.p.url", "https://h/p"),
            ("remote.p.fetch", "+refs/heads/*:refs/remotes/p/*"),
            ("branch.x.remote", "p"),
            ("branch.x.merge", "refs/heads/x"),
            ("alias.ci", "commit"),
        ];
        let (present, part) = (format!("{PRESENT}{ADDED}"), SET.get(..1).unwrap());
        let half = present.replace("\"p\"", "\"q\"").replace("remote = p", "remote = q");
        let moved = half.replace("p/*", "q/*");
        let without_branch = present.replace("[branch \"x\"]\n\tremote = p\n\tmerge = refs/heads/x\n", "");
        for (written, carried) in [
            (PRESENT.to_owned(), true),
            (half, true),
            (moved, true),
            (present.replace("https://h/p", "https://h/q"), true),
            (present.replace("ci = commit", "ci = commit -a"), true),
            (without_branch, true),
            // The name of a remote that is none is the path of a repository.
            (present.replace("\turl = https://h/p\n", ""), false),
            (format!("{PRESENT}[branch \"x\"]\n\tremote = p\n\tmerge = refs/heads/x\n"), false),
            (present.replace("https://h/p", "ext::./x"), false),
            (present.replace("https://h/p", "./evil"), false),
        ] {
            assert_eq!(merged_with(&present, &written, SET).is_some(), carried, "{written}");
            assert_eq!(merged_with(&present, &written, part), None, "a part is not all: {written}");
        }
        let lead = format!("{ADDED}[remote \"origin\"]\n\turl = https://h/o\n");
        for (of_session, carried) in [(SET, true), (&[], false)] {
            assert_eq!(merged_with(ADDED, &lead, of_session).is_some(), carried);
        }
    }

    /// What sessions see after git has written a text for them, of a repository with the present settings.
    fn kept_of(present: &str, own: &OwnSettings, written: &str) -> Option<OwnSettings> {
        match outcome_of(present, own, written, true)? {
            Merge::Kept(own) => Some(own),
            Merge::Over(merged) => {
                assert_ne!(merged.text, present.as_bytes(), "nothing has changed: {written}");
                None
            }
        }
    }

    fn outcome_of(present: &str, own: &OwnSettings, written: &str, sees_own: bool) -> Option<Merge> {
        let place = tempfile::tempdir().unwrap();
        let store = Earlier::in_directory(place.path()).own_settings().unwrap();
        let around = Around { is_beyond: &|_| false, is_of_session: &|_, _| false, own: Some(&store), sees_own };
        judged(present.as_bytes(), own, written.as_bytes(), false, &around).unwrap()
    }

    /// What one session has set for itself another one that does not see it leaves alone.
    #[test]
    fn who_does_not_see_a_setting_does_not_take_it_away() {
        let hub = format!("{PRESENT}[remote \"hub\"]\n\turl = ./hub\n");
        let own = kept_of(PRESENT, &OwnSettings::default(), &hub).unwrap();
        let named = format!("{PRESENT}[user]\n\tname = Ada\n");
        assert!(matches!(outcome_of(PRESENT, &own, &named, false), Some(Merge::Over(_))));
        let hooks = format!("{PRESENT}[core]\n\thooksPath = hooks\n");
        let kept = outcome_of(PRESENT, &own, &hooks, false).and_then(|outcome| match outcome {
            Merge::Kept(own) => Some(own),
            Merge::Over(_) => None,
        });
        let both = kept.unwrap();
        let seen = seen(PRESENT.as_bytes(), &both).unwrap().unwrap();
        let seen = settings_of(&seen).unwrap();
        assert!(seen.contains_key("core.hookspath") && seen.contains_key("remote.hub.url"), "{seen:?}");
    }

    #[test]
    fn what_would_mislead_a_persons_git_is_for_sessions_alone() {
        let kept = |present: &str, own: &OwnSettings, written: &str| {
            let own = kept_of(present, own, written)?;
            let text = seen(present.as_bytes(), &own).unwrap().unwrap();
            assert_eq!(settings_of(&text).unwrap(), settings_of(written.as_bytes()).unwrap(), "{written}");
            Some(own)
        };
        let hub = format!("{PRESENT}[remote \"hub\"]\n\turl = ./hub\n");
        let none = OwnSettings::default();
        let own = kept(PRESENT, &none, &hub).unwrap();
        // What belongs to it goes with it, and comes back.
        let fetch = format!("{hub}\tfetch = +refs/heads/*:refs/remotes/hub/*\n");
        let both = kept(PRESENT, &own, &fetch).unwrap();
        assert_eq!(kept(PRESENT, &both, &hub).unwrap(), own);
        assert!(kept(PRESENT, &own, PRESENT).unwrap().is_empty());
        // All else goes where it went.
        let named = format!("{hub}[user]\n\tname = Ada\n");
        assert_eq!(kept(PRESENT, &own, &named), None);
        for written in [
            format!("{PRESENT}[core]\n\thooksPath = .husky\n"),
            format!("{PRESENT}[filter \"lfs\"]\n\tsmudge = git-lfs smudge -- %f\n"),
            format!("{PRESENT}[diff \"hex\"]\n\ttextconv = xxd -p\n"),
            format!("{PRESENT}[merge \"ours\"]\n\tdriver = true\n"),
            format!("{hub}[branch \"x\"]\n\tremote = hub\n"),
            PRESENT.replace("https://example.com/a", "../a"),
            PRESENT.replace("[remote \"o\"]\n\turl = https://example.com/a\n", ""),
        ] {
            assert!(kept(PRESENT, &none, &written).is_some_and(|own| !own.is_empty()), "{written}");
        }
    }

    /// A git that may reach hosts runs these in its own place, or takes them for what it connects to or with.
    #[test]
    fn what_speaks_to_hosts_is_for_nobody() {
        for added in [
            "[core]\n\tsshCommand = ./x\n",
            "[core]\n\tgitProxy = ./x\n",
            "[core]\n\taskPass = ./x\n",
            "[core]\n\tworktree = /\n",
            "[alias]\n\tco = !./x\n",
            "[alias]\n\tx = push https://example.com/x\n",
            "[include]\n\tpath = ../x\n",
            "[includeIf \"gitdir:/\"]\n\tpath = ../x\n",
            "[remote \"x\"]\n\turl = ext::./x\n",
            "[remote \"x\"]\n\turl = x::y\n",
            "[remote \"x\"]\n\turl = -x\n",
            "[remote \"x\"]\n\tuploadpack = ./x\n",
            "[remote \"x\"]\n\tproxy = http://x\n",
            "[remote \"o\"]\n\turl = https://example.com/b\n",
            "[remote \"o\"]\n\tpushurl = https://example.com/b\n",
            "[remote \"x\"]\n\tpush = refs/heads/a:refs/heads/b\n",
            "[branch \"x\"]\n\tpushRemote = o\n",
            "[push]\n\tdefault = matching\n",
            "[remote \"x\"]\n\tvcs = x\n",
            "[remote \"https://example.com/a\"]\n\turl = ./x\n",
            "[url \"./x\"]\n\tinsteadOf = https:\n",
            "[credential]\n\thelper = ./x\n",
            "[http]\n\tproxy = http://x\n",
            "[http]\n\tsslVerify = false\n",
            "[protocol \"ext\"]\n\tallow = always\n",
            "[extensions]\n\tworktreeConfig = true\n",
        ] {
            let written = format!("{PRESENT}{added}");
            assert_eq!(kept_of(PRESENT, &OwnSettings::default(), &written), None, "{added}");
        }
        // What a person has set leads to a host, and stays where it does.
        let theirs = format!("{PRESENT}[remote \"p\"]\n\turl = https://example.com/p\n[branch \"x\"]\n\tremote = o\n");
        for written in [theirs.replace("example.com/p", "example.com/q"), theirs.replace("remote = o", "remote = p")] {
            assert_eq!(kept_of(&theirs, &OwnSettings::default(), &written), None, "{written}");
        }
        for (present, written) in [
            ("[http]\n\tproxy = http://proxy\n", "[user]\n\tname = a\n"),
            ("[url \"https://a\"]\n\tinsteadOf = b\n", ""),
        ] {
            assert_eq!(kept_of(present, &OwnSettings::default(), written), None, "{present}");
        }
    }

    #[test]
    fn settings_for_each_worktree_change_nothing_where_there_is_one() {
        let around = Around { is_beyond: &|_| true, is_of_session: &|_, _| false, own: None, sees_own: false };
        let written = format!("{PRESENT}[extensions]\n\tworktreeConfig = true\n");
        let of =
            |one: bool| judged(PRESENT.as_bytes(), &OwnSettings::default(), written.as_bytes(), one, &around).unwrap();
        assert!(of(false).is_none());
        let unchanged = Merged { text: PRESENT.as_bytes().to_vec(), difference: Difference::default() };
        assert_eq!(of(true), Some(Merge::Over(unchanged)));
    }

    #[test]
    fn what_git_runs_or_includes_is_not() {
        for added in [
            "[core]\n\thooksPath = hooks\n",
            "[core]\n\tsshCommand = ./x\n",
            "[CORE]\n\tFsMonitor = ./x\n",
            "[alias]\n\tco = !./x\n",
            "[include]\n\tpath = ../x\n",
            "[includeIf \"gitdir:/\"]\n\tpath = ../x\n",
            "[remote \"x\"]\n\turl = ext::./x\n",
            "[remote \"x\"]\n\tuploadpack = ./x\n",
            "[remote \"x\"]\n\tvcs = x\n",
            "[branch \"x\"]\n\tremote = ext::./x\n",
            "[url \"ext::x\"]\n\tinsteadOf = https:\n",
            "[credential]\n\thelper = ./x\n",
            "[filter \"x\"]\n\tclean = ./x\n",
            "[submodule \"x\"]\n\tupdate = !./x\n",
            "[diff \"x\"]\n\ttextconv = ./x\n",
            "[core]\n\tworktree = /\n",
            "[core]\n\tworktree = ../../../libs/a\n",
            "[core]\n\tbare = true\n",
            "[extensions]\n\tworktreeConfig = true\n",
            "[remote \"o\"]\n\tpushurl = https://example.com/b\n",
            "[remote \"o\"]\n\tfetch = +refs/heads/*:refs/heads/*\n",
            "[remote \"p\"]\n\turl = ./evil\n",
            "[remote \"p\"]\n\turl = file:///evil\n",
            "[remote \"p\"]\n\turl = ext://x\n",
            "[remote \"p\"]\n\turl = -x@y:z\n",
            "[remote]\n\tpushDefault = p\n",
            "[branch \"x\"]\n\tremote = ./evil\n",
            "[branch \"x\"]\n\tpushRemote = p\n",
            "[includeIf \"x\"]\n",
            "[user]\n\tname\n",
        ] {
            assert_eq!(merge(&format!("{PRESENT}{added}")), None, "{added}");
        }
        // Nor is what a person has set taken away, or what they push sent elsewhere.
        assert_eq!(merge(&PRESENT.replace("\teditor = vim\n", "")), None);
        assert_eq!(merge(&PRESENT.replace("example.com/a", "example.com/b")), None);
        let around = Around { is_beyond: &|_| true, is_of_session: &|_, _| true, own: None, sees_own: false };
        assert!(merged(PRESENT.as_bytes(), b"[core\n", &around).is_err());
    }
}
