//! What a program's error message means here: that it was the sandbox which said no, and what it would not have said no to.
//!
//! A guess from text, for the reader alone: nothing is decided by it. It reads what has passed the redactor.

use std::path::{Component, Path, PathBuf};

/// Lines of a message that are looked at, from its end.
const MAX_LINES: usize = 200;

/// Hints that one result has.
const MAX_HINTS: usize = 3;

/// What programs say when a file is not theirs to change or to open.
const REFUSED: [&str; 3] = ["Permission denied", "Read-only file system", "Operation not permitted"];

/// What they say without a network.
const UNREACHABLE: [&str; 7] = [
    "Could not resolve host",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
    "socket: Permission denied",
    "getaddrinfo EAI_AGAIN",
    "failed to lookup address information",
];

const NO_NETWORK: &str = "this session has no network but the proxy that `http_proxy` names, if that is set; policy decides each connection there";

/// What they say when there is no such file.
const MISSING: &str = "No such file or directory";

/// What git says where it finds no repository.
const NO_REPOSITORY: &str = "not a git repository";

/// What they say at a limit of the session's, where the machine itself is not at its own.
const FULL: [(&str, &str); 6] = [
    (
        "No space left on device",
        "`/tmp` and `/dev/shm` of a session hold no more than `sandbox.limits.memory`, and 1 GiB at most",
    ),
    ("File too large", "limit: file-size (`sandbox.limits.file-size`)"),
    ("File size limit exceeded", "limit: file-size (`sandbox.limits.file-size`)"),
    ("Too many open files", "limit: open-files (`sandbox.limits.open-files`)"),
    ("fork: retry: Resource temporarily unavailable", "limit: processes (`sandbox.limits.processes`)"),
    ("fork: Resource temporarily unavailable", "limit: processes (`sandbox.limits.processes`)"),
];

/// Where a session stands.
pub(crate) struct Bounds<'a> {
    /// Where the command began and where it ended: relative names may be meant from either, or from between.
    pub(crate) cwds: &'a [&'a Path],
    /// Directories that may be changed.
    pub(crate) writable: &'a [&'a Path],
    /// How the names of the sessions' own directories begin.
    pub(crate) own: &'a str,
    /// Names of those, as a person calls them.
    pub(crate) called: &'a str,
    /// Programs and files that policy refused. The result lists them already.
    pub(crate) refused: &'a [&'a str],
    /// The result lists a refused connection already.
    pub(crate) peers: bool,
    /// The top of the repository that the workspace is only a part of, if it is.
    pub(crate) repository: Option<&'a Path>,
    /// Whether a path lies in a directory of which each session has its own: `/tmp`, for instance.
    pub(crate) scratch: &'a dyn Fn(&Path) -> bool,
    /// The policies that forbid to read a file, or an empty list where no policy permits it; none where it may be read.
    pub(crate) closed: &'a dyn Fn(&Path) -> Option<Vec<String>>,
    /// The number of the user that a file, or the directory that it would be in, belongs to; none where that is the session's own.
    pub(crate) stranger: &'a dyn Fn(&Path) -> Option<u32>,
}

/// What the messages of a command mean, most recent first. Where the command did not fail, only messages about files count: those about
/// limits and the network may come from anything.
pub(crate) fn hints(texts: [&str; 2], failed: bool, bounds: &Bounds<'_>) -> Vec<String> {
    let mut hints = Vec::new();
    for line in texts.iter().rev().flat_map(|text| text.lines().rev().take(MAX_LINES)) {
        let hint = hint(line, failed, bounds);
        if let Some(hint) = hint.filter(|hint| !hints.contains(hint)) {
            hints.push(hint);
        }
        if hints.len() == MAX_HINTS {
            break;
        }
    }
    hints
}

/// Files of variables that programs of the session found empty.
pub(crate) fn empty_files(files: &[PathBuf]) -> Option<String> {
    let (first, more) = files.split_first()?;
    let first = first.display();
    Some(match more.len() {
        0 => format!("`{first}` holds secrets: programs of this session find it empty"),
        more => format!(
            "`{first}` and {more} more files of variables hold secrets: programs of this session find them empty"
        ),
    })
}

/// A directory that the script lists and that is closed to the session. With `2>/dev/null` the output says nothing of that, and an empty
/// list reads as if there were no such file.
pub(crate) fn closed_listing(script: &str, bounds: &Bounds<'_>) -> Option<String> {
    let mut lister = None;
    for word in script.split_whitespace() {
        let name = word.rsplit(['(', '`', '"', '{', ';', '|', '&']).next().unwrap_or_default();
        if LISTERS.contains(&name) {
            lister = Some(name);
            continue;
        }
        let Some(program) = lister else { continue };
        let path = Path::new(word.trim_end_matches([';', ')', '`', '"']));
        if path.is_absolute() && (bounds.closed)(path).is_some_and(|policies| policies.is_empty()) && path.is_dir() {
            let path = path.display();
            return Some(format!(
                "`{path}` is closed to this session, so `{program} {path}` finds nothing: name directories that are not (the workspace, `/usr`)"
            ));
        }
        // Behind the first test of `find` no more directories come.
        let ends = word.contains([';', '|', '&', '>', '<']) || program == "find" && word.starts_with(['-', '(', '!']);
        if ends {
            lister = None;
        }
    }
    None
}

/// Programs that list directories.
const LISTERS: [&str; 4] = ["find", "ls", "du", "tree"];

fn hint(line: &str, failed: bool, bounds: &Bounds<'_>) -> Option<String> {
    if let Some((_, hint)) = FULL.iter().find(|(message, _)| failed && line.contains(message)) {
        return Some((*hint).to_owned());
    }
    if failed && let Some(top) = bounds.repository.filter(|_| line.contains(NO_REPOSITORY)) {
        let top = top.display();
        return Some(format!(
            "the repository of the workspace begins at `{top}`, which is closed to this session; a person starts it there, or with `--write {top}`"
        ));
    }
    if failed && !bounds.peers && UNREACHABLE.iter().any(|message| line.contains(message)) {
        return Some(NO_NETWORK.to_owned());
    }
    if failed
        && let Some(named) = line.contains(MISSING).then(|| path(line, MISSING)).flatten()
        && (bounds.scratch)(Path::new(named))
    {
        return Some(format!(
            "`{named}` lies in a directory of this session's own, which was empty when it began; what outlasts a session lies below {}",
            bounds.called.split(", ").next().unwrap_or_default()
        ));
    }
    let message = REFUSED.iter().find(|message| line.contains(*message))?;
    let named = path(line, message)?;
    if bounds.refused.contains(&named) {
        return None; // the result tells of it
    }
    let files = bounds.cwds.iter().map(|cwd| plain(&cwd.join(named)));
    let closed: Vec<Vec<String>> = files.clone().filter_map(|file| (bounds.closed)(&file)).collect();
    if let Some(policies) = closed.iter().find(|policies| !policies.is_empty()) {
        return Some(format!("`{named}` is closed to this session: {}", policies.join(", ")));
    }
    let within = |file: PathBuf| {
        let own = file.to_str().is_some_and(|file| file.starts_with(bounds.own));
        own || bounds.writable.iter().any(|directory| file.starts_with(directory))
    };
    let inside: Vec<PathBuf> = files.filter(|file| within(file.clone())).collect();
    // Root outside may write what is another user's, and root in a session has no such right.
    if let Some(user) = inside.iter().find_map(|file| (bounds.stranger)(file)) {
        return Some(format!(
            "`{named}` belongs to user {user}, and a session has no right over other users' files: change its owner (chown), or start Palisade as that user"
        ));
    }
    if !named.contains('/') || !inside.is_empty() {
        return None; // it may be the file's own mode, which the message does not tell
    }
    let may = if closed.is_empty() { "change" } else { "read or change" };
    Some(format!("`{named}` is outside of what this session may {may}; writable: {}", bounds.called))
}

/// The file that a message is about: in quotes, or what stands between colons before the message or behind it.
fn path<'l>(line: &'l str, message: &str) -> Option<&'l str> {
    for (open, close) in [('\'', '\''), ('\u{2018}', '\u{2019}'), ('"', '"'), ('`', '\'')] {
        // Not each of them opens something: `can't open file '/x'`.
        let quoted = line.match_indices(open).filter_map(|(at, sign)| {
            let rest = line.get(at + sign.len()..)?;
            rest.split_once(close).map(|(quoted, _)| quoted)
        });
        if let Some(quoted) = quoted.into_iter().find(|quoted| quoted.contains(['/', '.'])) {
            return Some(quoted);
        }
    }
    let (before, after) = line.split_once(message)?;
    let before = before.trim_end().strip_suffix(':').and_then(|before| before.rsplit(": ").next());
    let candidates = [before, after.strip_prefix(": ")];
    // `cannot create /x/y`: the name comes last.
    let last = |text: &'l str| text.split_whitespace().next_back().filter(|name| name.contains(['/', '.']));
    candidates.into_iter().flatten().find_map(last)
}

/// Without `.` and `..`, as the name reads; what links make of it is not asked.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = plain.pop(),
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_everyday_programs_are_understood() {
        let outside = |name: &str| Some(format!("`{name}` is outside of what this session may change; writable: here"));
        let unreadable = |name: &str| outside(name).map(|hint| hint.replace("may change", "may read or change"));
        let network = Some(NO_NETWORK.to_owned());
        let own_place = |name: &str| {
            Some(format!(
                "`{name}` lies in a directory of this session's own, which was empty when it began; what outlasts a session lies below here"
            ))
        };
        let cwds = [Path::new("/w/sub"), Path::new("/w/sub/deep/er")];
        let closed = |file: &Path| match file.file_name()?.to_str()? {
            ".env" => Some(vec!["secrets".to_owned()]),
            "shadow" => Some(Vec::new()),
            _ => None,
        };
        let is_closed = |name: &str, by: &str| Some(format!("`{name}` is closed to this session: {by}"));
        let bounds = Bounds {
            cwds: &cwds,
            writable: &[Path::new("/w")],
            own: "/t/s-",
            called: "here",
            refused: &["/bin/x"],
            peers: false,
            repository: Some(Path::new("/mono")),
            scratch: &|file| file.starts_with("/tmp"),
            closed: &closed,
            stranger: &|file| file.ends_with("Makefile.old").then_some(1000),
        };
        let strange = "`Makefile.old` belongs to user 1000, and a session has no right over other users' files: change its owner (chown), or start Palisade as that user";
        for (line, expected) in [
            ("bash: line 1: /x/new: Permission denied", outside("/x/new")),
            ("bash: /x/new: Read-only file system", outside("/x/new")),
            ("touch: cannot touch '/x/y z': Read-only file system", outside("/x/y z")),
            ("mkdir: cannot create directory \u{2018}/x/d\u{2019}: Permission denied", outside("/x/d")),
            ("PermissionError: [Errno 13] Permission denied: '/x/a'", outside("/x/a")),
            ("OSError: [Errno 30] Read-only file system: \"/x/a\"", outside("/x/a")),
            ("rm: cannot remove '../../../../x': Permission denied", outside("../../../../x")),
            // Outside from where it began, inside from where a `cd` led.
            ("rm: cannot remove '../../x': Permission denied", None),
            ("fatal: could not open '/x/.git/config' for writing: Permission denied", outside("/x/.git/config")),
            ("cp: cannot create regular file '../inside': Permission denied", None),
            ("touch: cannot touch '/t/s-1/mine': Permission denied", None),
            ("./x: 3: cannot create /t/new: Read-only file system", outside("/t/new")),
            ("make: *** Permission denied", None),
            ("bash: /tmp/edit.py: No such file or directory", own_place("/tmp/edit.py")),
            ("python3: can't open file '/tmp/edit.py': [Errno 2] No such file or directory", own_place("/tmp/edit.py")),
            ("cat: /w/x: No such file or directory", None),
            ("PermissionError: [Errno 13] Permission denied: '.env'", is_closed(".env", "secrets")),
            ("cat: .env: Permission denied", is_closed(".env", "secrets")),
            ("cat: config/.env: Permission denied", is_closed("config/.env", "secrets")),
            ("cat: /etc/shadow: Permission denied", unreadable("/etc/shadow")),
            ("cat: mine.txt: Permission denied", None),
            ("./configure: 864: cannot create Makefile.old: Permission denied", Some(strange.to_owned())),
            ("bash: line 1: /bin/x: Permission denied", None),
            ("bash: line 1: /bin/y: Permission denied", outside("/bin/y")),
            ("head: write error: File too large", Some(FULL[1].1.to_owned())),
            ("bash: line 1: 5 File size limit exceeded(core dumped)", Some(FULL[2].1.to_owned())),
            ("cp: error writing '/tmp/x': No space left on device", Some(FULL[0].1.to_owned())),
            ("bash: fork: retry: Resource temporarily unavailable", Some(FULL[4].1.to_owned())),
            (
                "fatal: not a git repository (or any of the parent directories): .git",
                Some("the repository of the workspace begins at `/mono`, which is closed to this session; a person starts it there, or with `--write /mono`".to_owned()),
            ),
            ("all is well with '/x/y'", None),
            ("curl: (6) Could not resolve host: example.invalid", network.clone()),
            ("bash: socket: Permission denied", network.clone()),
            ("npm error getaddrinfo EAI_AGAIN registry.example.invalid", network),
        ] {
            assert_eq!(hint(line, true, &bounds), expected, "{line}");
        }
        let told = Bounds { peers: true, ..bounds };
        assert_eq!(hint("curl: (6) Could not resolve host: example.invalid", true, &told), None);
    }

    #[test]
    fn a_list_of_what_is_closed_is_no_empty_list() {
        let closed = |file: &Path| match file.to_str()? {
            "/" | "/root" => Some(Vec::new()),
            "/etc" => Some(vec!["policy".to_owned()]),
            _ => None,
        };
        let bounds = Bounds {
            cwds: &[],
            writable: &[],
            own: "/t/s-",
            called: "here",
            refused: &[],
            peers: false,
            repository: None,
            scratch: &|_| false,
            closed: &closed,
            stranger: &|_| None,
        };
        for (script, named) in [
            ("find / -name x 2>/dev/null | head", Some("`find /`")),
            ("command -v cc; (ls -la /; true)", Some("`ls /`")),
            ("x=$(find / -maxdepth 1)", Some("`find /`")),
            ("ls /usr; echo /", None),
            ("find /usr -path / -prune", None),
            ("find /usr -name x 2>/dev/null; cat /", None),
            ("ls /etc", None),
            ("grep -r x /", None),
        ] {
            let hint = closed_listing(script, &bounds);
            assert_eq!(hint.is_some(), named.is_some(), "{script}: {hint:?}");
            assert!(
                named.is_none_or(|named| hint.as_ref().is_some_and(|hint| hint.contains(named))),
                "{script}: {hint:?}"
            );
        }
    }

    #[test]
    fn a_flood_of_messages_gives_few_hints() {
        let bounds = Bounds {
            cwds: &[Path::new("/w")],
            writable: &[],
            own: "/t/s-",
            called: "nothing",
            refused: &[],
            peers: false,
            repository: None,
            scratch: &|_| false,
            closed: &|_| None,
            stranger: &|_| None,
        };
        let text: String =
            (0..1000).map(|n| format!("rm: cannot remove '/x/{}': Permission denied\n", n / 2)).collect();
        let hints = hints(["", &text], true, &bounds);
        assert_eq!(hints.len(), MAX_HINTS);
        assert!(hints.iter().any(|hint| hint.contains("`/x/499`")), "{hints:?}");
    }
}
