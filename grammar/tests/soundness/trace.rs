//! What a script did, from strace's record of it.
//!
//! This file decides what counts: every attempt to execute a program, and every file that was made, changed, renamed or
//! removed, or would have been if it were permitted.

use std::collections::BTreeMap;

/// What one script did.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// Programs, in order; the first is the shell itself.
    pub(crate) execs: Vec<Exec>,
    /// Files, in order.
    pub(crate) touches: Vec<Touch>,
}

/// One program executed, or tried.
#[derive(Debug)]
pub(crate) struct Exec {
    /// As given to the kernel.
    pub(crate) path: String,
    /// All words, the first included.
    pub(crate) argv: Vec<String>,
    /// The directory it began in.
    pub(crate) cwd: String,
    /// What the process, or the one that it was forked from, was running before: an index.
    pub(crate) by: Option<usize>,
}

/// One file made, changed or removed.
#[derive(Debug)]
pub(crate) struct Touch {
    /// It was removed, by this name at least.
    pub(crate) removed: bool,
    /// Absolute, without `.` and `..`.
    pub(crate) path: String,
    /// Who did it: an index of `execs`.
    pub(crate) by: usize,
}

impl Trace {
    /// Reads a record. `cwd` is where the script started.
    pub(crate) fn read(log: &str, cwd: &str) -> Self {
        let mut reader = Reader {
            cwd: cwd.to_owned(),
            parents: BTreeMap::new(),
            processes: BTreeMap::new(),
            trace: Self::default(),
        };
        let calls = calls(log);
        for call in &calls {
            if let (true, Some(child)) = (call.forks(), call.number()) {
                reader.parents.insert(child, call.process);
            }
        }
        for call in &calls {
            reader.call(call);
        }
        reader.trace
    }
}

/// The last component of a path.
pub(crate) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A path without `.`, `..` and double slashes, from `cwd` if it is relative.
pub(crate) fn resolve(cwd: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let from = if path.starts_with('/') { "" } else { cwd };
    for part in from.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// One system call.
struct Call {
    process: u32,
    name: String,
    arguments: Vec<String>,
    result: String,
}

impl Call {
    fn forks(&self) -> bool {
        matches!(self.name.as_str(), "clone" | "clone3" | "fork" | "vfork")
    }

    fn number(&self) -> Option<u32> {
        self.result.split([' ', '<']).next()?.parse().ok()
    }

    /// It happened, or only a permission was in its way.
    fn counts(&self) -> bool {
        let refused = ["EACCES", "EPERM", "EROFS"].iter().any(|error| self.result.contains(error));
        self.number().is_some() || refused
    }

    fn text(&self, at: usize) -> String {
        self.arguments.get(at).map(|raw| unescaped(raw)).unwrap_or_default()
    }
}

/// A process as it is followed.
#[derive(Clone)]
struct Process {
    exec: Option<usize>,
    cwd: String,
}

struct Reader {
    cwd: String,
    parents: BTreeMap<u32, u32>,
    processes: BTreeMap<u32, Process>,
    trace: Trace,
}

impl Reader {
    fn call(&mut self, call: &Call) {
        let process = self.process(call.process);
        match call.name.as_str() {
            "execve" => self.exec(call, &process, 0),
            "execveat" => self.exec(call, &process, 1),
            "chdir" if call.number() == Some(0) => self.moved(call, resolve(&process.cwd, &call.text(0))),
            "fchdir" if call.number() == Some(0) => self.moved(call, call.text(0)),
            _ if call.forks() => {
                if let Some(child) = call.number() {
                    self.processes.entry(child).or_insert(process);
                }
            }
            _ if call.counts() => self.touch(call, &process),
            _ => {}
        }
    }

    /// A process that was not seen before has come from its parent as that is now: a fork's own line may come later.
    fn process(&mut self, id: u32) -> Process {
        if let Some(process) = self.processes.get(&id) {
            return process.clone();
        }
        let start = || Process { exec: None, cwd: self.cwd.clone() };
        let process =
            self.parents.get(&id).and_then(|parent| self.processes.get(parent)).cloned().unwrap_or_else(start);
        self.processes.insert(id, process.clone());
        process
    }

    fn moved(&mut self, call: &Call, to: String) {
        if let Some(process) = self.processes.get_mut(&call.process) {
            process.cwd = to;
        }
    }

    fn exec(&mut self, call: &Call, process: &Process, first: usize) {
        let argv = call.arguments.get(first + 1).map(|raw| list(raw)).unwrap_or_default();
        self.trace.execs.push(Exec { path: call.text(first), argv, cwd: process.cwd.clone(), by: process.exec });
        // A file without `#!` is a script to bash, which reads it in this very process.
        if (call.number() == Some(0) || call.result.contains("ENOEXEC"))
            && let Some(process) = self.processes.get_mut(&call.process)
        {
            process.exec = Some(self.trace.execs.len() - 1);
        }
    }

    fn touch(&mut self, call: &Call, process: &Process) {
        let Some(by) = process.exec else { return };
        let at = |index: usize| {
            let directory = call.text(index);
            resolve(if directory.is_empty() { &process.cwd } else { &directory }, &call.text(index + 1))
        };
        let plain = |index: usize| resolve(&process.cwd, &call.text(index));
        let writes = |flags: usize| {
            let flags = call.arguments.get(flags).map_or("", String::as_str);
            ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_TMPFILE"].iter().any(|flag| flags.contains(flag))
        };
        let mut did = |removed: bool, path: String| self.trace.touches.push(Touch { removed, path, by });
        match call.name.as_str() {
            "open" if writes(1) => did(false, plain(0)),
            "openat" | "openat2" if writes(2) => did(false, at(0)),
            "creat" | "truncate" | "mkdir" | "mknod" | "chmod" | "chown" | "lchown" => did(false, plain(0)),
            "mkdirat" | "mknodat" | "fchmodat" | "fchownat" => did(false, at(0)),
            "unlink" | "rmdir" => did(true, plain(0)),
            "unlinkat" => did(true, at(0)),
            "rename" => {
                did(true, plain(0));
                did(false, plain(1));
            }
            "renameat" | "renameat2" => {
                did(true, at(0));
                did(false, at(2));
            }
            "link" | "symlink" => did(false, plain(1)),
            "linkat" => did(false, at(2)),
            "symlinkat" => did(false, at(1)),
            _ => {}
        }
    }
}

/// Every call of a record, in the order in which they ended.
fn calls(log: &str) -> Vec<Call> {
    let mut begun: BTreeMap<u32, String> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in log.lines() {
        let Some((process, text)) = line.split_once(' ') else { continue };
        let (Ok(process), text) = (process.parse(), text.trim_start()) else { continue };
        if let Some(start) = text.strip_suffix(" <unfinished ...>") {
            begun.insert(process, start.to_owned());
        } else if let Some(rest) = text.strip_prefix("<... ") {
            let start = begun.remove(&process).unwrap_or_default();
            let rest = rest.split_once(" resumed>").map_or("", |(_, rest)| rest);
            calls.extend(call(process, &format!("{start}{rest}")));
        } else {
            calls.extend(call(process, text));
        }
    }
    // Cut short by the time limit, or by `exit_group` of another thread: it may have happened.
    calls.extend(begun.into_iter().filter_map(|(process, start)| call(process, &format!("{start}) = ?"))));
    calls
}

/// `name(argument, argument) = result`.
fn call(process: u32, text: &str) -> Option<Call> {
    let (head, result) = text.rsplit_once(" = ")?;
    let (name, rest) = head.trim_end().split_once('(')?;
    let arguments = rest.strip_suffix(')').unwrap_or(rest);
    Some(Call { process, name: name.to_owned(), arguments: split(arguments), result: result.to_owned() })
}

/// Splits at the commas that stand in no bracket. Strings are all escapes, so that no bracket is in one.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut open) = (Vec::new(), String::new(), 0_u32);
    for letter in text.chars() {
        match letter {
            '[' | '{' | '(' | '<' => open += 1,
            ']' | '}' | ')' | '>' => open = open.saturating_sub(1),
            ',' if open == 0 => {
                parts.push(part.trim().to_owned());
                part.clear();
                continue;
            }
            _ => {}
        }
        part.push(letter);
    }
    parts.push(part.trim().to_owned());
    parts
}

/// `["\x61", "\x62"]`.
fn list(raw: &str) -> Vec<String> {
    let inside = raw.strip_prefix('[').and_then(|raw| raw.strip_suffix(']')).unwrap_or_default();
    if inside.is_empty() { Vec::new() } else { split(inside).iter().map(|word| unescaped(word)).collect() }
}

/// The text of `"\x61"`, or of the path in `3<\x61>`; nothing else holds an escape.
fn unescaped(raw: &str) -> String {
    let pair = |escape: &str| u8::from_str_radix(escape.get(..2)?, 16).ok();
    let bytes: Vec<u8> = raw.split("\\x").skip(1).filter_map(pair).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
