//! What a person's yes to a call binds. What it opens says `openings.rs`.
//!
//! Decides when two calls are the same one: if they would do the same. Text, session, directory and terminal are the same then, what their
//! shells begin with, the policies and what those say, and what the files hold that the text names as scripts or programs of the agent's:
//! where some of its code is not in the text, any file that it reads may be that code. A byte more or less is another call. How long a
//! call waits, what it wants to see of the output and what the agent says of it are no part of that: a person is asked once.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use palisade_audit::Digest;
use palisade_engine::{
    AbsolutePath, ApprovalRequest, Decision, Facts, Judged, MAKES_WHAT_IT_NAMES, Machine, Origin, Principal, Report,
    Transport,
};
use palisade_grammar::{Command, EffectKind, Inventory, Resolved};
use palisade_sandbox::plan::Rights;
use rustix::fs::{Access, AtFlags};
use sha2::{Digest as _, Sha256};

use super::canonical::Parts;
use super::job_approval::Intent;
use super::openings::Openings;
use super::{Call, Pending, PendingAct};
use crate::checkpoint::plan::Plan;
use crate::guard::{Asking, Open};
use crate::remote::RemoteInfo;
use crate::session::RemoteSite;
use crate::shell::{Order, TerminalSize};

/// Bytes of all files of one call that are read for what they hold. Of a file for which there is no room left it counts which one it
/// is, and when it was last changed: no user can set that time.
const MAX_READ: u64 = 64 << 20;

/// Files of a directory that is run.
const MAX_LISTED: usize = 2_000;

/// A file that a yes binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BoundFile {
    pub(super) path: AbsolutePath,
    /// Of what it holds; none if that cannot be read, or is too much.
    pub(super) digest: Option<Digest>,
    /// Which file it is, where what it holds does not say.
    stands_for: String,
    /// The words name it as code; else it is the file that is executed.
    pub(super) is_named: bool,
}

impl Parts {
    fn principal(&mut self, facts: &Facts) -> &mut Self {
        let Principal { agent, user, roles, verified, auth, scopes, client } = &facts.principal;
        self.add(agent).add(user).texts(roles).flag(*verified).add(auth.as_str()).texts(scopes).add(client)
    }

    fn report(&mut self, report: &Report) -> &mut Self {
        self.add(&report.policy_set).requests(report)
    }

    fn requests(&mut self, report: &Report) -> &mut Self {
        self.list(&report.requests, |parts, request| {
            parts.add(request.action).add(&request.resource).add(request.decision.as_str());
            parts.texts(&request.determining);
        });
        self.list(&report.opaque, |parts, opaque| _ = parts.add(opaque.reason.as_str()).add(&opaque.text))
    }

    fn files(&mut self, files: &[BoundFile]) -> &mut Self {
        self.list(files, |parts, BoundFile { path, digest, stands_for, is_named: _ }| {
            parts.add(path.as_str()).maybe(digest.as_ref(), Parts::held).add(stands_for);
        })
    }

    fn held(&mut self, digest: &Digest) {
        self.add(digest.to_string());
    }

    fn opens(&mut self, opens: &Openings) -> &mut Self {
        self.list(&opens.places, |parts, (path, rights)| {
            let kind = opens.new.get(path).map_or("there", |kind| kind.as_str());
            parts.add(path.as_str()).add(rights.to_string()).add(kind);
        })
    }

    fn size(&mut self, size: TerminalSize) {
        self.number(u64::from(size.rows)).number(u64::from(size.cols));
    }

    fn order(&mut self, order: &Order) -> &mut Self {
        match order {
            Order::Signal(signal) => self.add("signal").add(signal.as_raw().to_string()),
            Order::Resize(size) => {
                self.add("resize").size(*size);
                self
            }
            Order::Stop { grace } => {
                self.add("stop").maybe(*grace, |parts, grace| parts.text(grace.as_nanos().to_string()))
            }
        }
    }

    fn text(&mut self, text: impl AsRef<[u8]>) {
        self.add(text);
    }
}

/// What a yes to this script binds. `files` are those that it names.
pub(super) fn script(pending: &Pending, files: &[BoundFile]) -> Digest {
    let mut parts = Parts::of("script");
    parts.maybe(pending.call.session.as_ref(), Parts::text);
    script_in(parts, pending, files)
}

/// The same, whatever session it is in.
pub(super) fn script_anywhere(pending: &Pending, files: &[BoundFile]) -> Digest {
    script_in(Parts::of("script-anywhere"), pending, files)
}

fn script_in(mut parts: Parts, pending: &Pending, files: &[BoundFile]) -> Digest {
    let Pending { question, call, state, opens, .. } = pending;
    let Call { script, cwd, terminal, .. } = call;
    let facts = question.facts();
    parts.principal(facts).add(script).maybe(cwd.as_ref(), Parts::text);
    parts.maybe(*terminal, Parts::size).flag(call.is_apart());
    parts.add(facts.cwd.as_str()).add(facts.workspace.as_str()).maybe(state.as_ref(), Parts::held);
    parts.report(question.report()).files(files).opens(opens);
    if call.input.is_some() {
        // A call without one has an empty input, and is another call.
        parts.add("input");
    }
    parts.digest()
}

/// What two calls have in common that one standing yes covers: all that they do and ask, and what policy says to each part of it. Which
/// agent makes them, and in which session, is left to the permits. What the kernel opens for it follows from the paths: a file that the
/// first call makes is the one that the next call changes. A directory that is there is opened with all that it holds, and is another
/// matter than a new one. What runs beside the programs that policy asks about runs with what the shell hands on.
pub(super) fn standing(pending: &Pending) -> Digest {
    let Pending { question, call, state, opens, .. } = pending;
    let facts = question.facts();
    let trees = opens.places.iter().filter(|(path, rights)| {
        rights.contains(Rights::WRITE) && !opens.new.contains_key(*path) && Path::new(path.as_str()).is_dir()
    });
    let trees: Vec<(&AbsolutePath, &Rights)> = trees.collect();
    let mut parts = Parts::of("standing");
    parts.add(&call.script).flag(call.terminal.is_some()).flag(call.is_apart());
    parts.add(facts.cwd.as_str()).add(facts.workspace.as_str());
    parts.requests(question.report());
    // A yes that was remembered for a call with neither stays one for it.
    if !trees.is_empty() {
        parts.list(trees, |parts, (path, rights)| _ = parts.add(path.as_str()).add(rights.to_string()));
    }
    if runs_beside(question)
        && let Some(state) = state
    {
        parts.held(state);
    }
    if call.input.is_some() {
        parts.add("input");
    }
    parts.digest()
}

/// Whether a program runs in the script that policy does not ask about, or that is there for what it makes.
fn runs_beside(question: &ApprovalRequest) -> bool {
    let asked = |request: &&Judged| request.action == "exec" && request.decision == Decision::Ask;
    let asked = question.report().requests.iter().filter(asked).count();
    let is_program = |command: &&Command| !matches!(command.resolved, Resolved::Builtin | Resolved::None);
    let programs = question.inventory().commands().iter().filter(is_program);
    let makes =
        |command: &Command| command.invocation.words.iter().any(|word| MAKES_WHAT_IT_NAMES.contains(&word.as_str()));
    programs.clone().count() > asked || programs.clone().any(makes)
}

/// What a yes to an execution binds: all that the kernel would be given, and what it was judged on.
pub(super) fn execution(asking: &Asking<'_>, files: &[BoundFile], report: &Report) -> Digest {
    let mut parts = Parts::of("execution");
    parts.maybe(asking.open.first().map(Open::facts), |parts, facts| {
        parts.principal(facts).add(&facts.session.id).add(facts.workspace.as_str());
    });
    parts.list(asking.steps, |parts, step| {
        parts.add(step.named.as_os_str().as_bytes()).add(step.file.as_os_str().as_bytes());
        parts.maybe(step.cwd.as_ref(), |parts, cwd| parts.text(cwd.as_os_str().as_bytes()));
        parts.texts(&step.argv).texts(&step.env);
    });
    parts.maybe(asking.started_by.as_ref(), |parts, programs| _ = parts.texts(programs));
    parts.maybe(asking.of.as_ref(), |parts, id| parts.text(id.to_string()));
    parts.report(report).files(files).digest()
}

/// What a yes to this binds that is to reach a job.
pub(super) fn act(pending: &PendingAct) -> Digest {
    let PendingAct { job, facts, judged, intent, told, .. } = pending;
    let mut parts = Parts::of("act");
    parts.principal(facts).add(job.id.as_str()).add(job.req.to_string()).add(told.to_string());
    match intent {
        Intent::Input { bytes, eof, .. } => parts.add("input").add(bytes).flag(*eof),
        Intent::Signal { signal, order } => parts.add("signal").add(signal.name()).order(order),
    };
    parts.report(&judged.strictest()).digest()
}

/// What a yes to a restore binds: where it goes, and all that it would do.
pub(super) fn restore(session: &str, to: &str, force: bool, facts: &Facts, plan: &Plan, report: &Report) -> Digest {
    let mut parts = Parts::of("restore");
    parts.principal(facts).add(session).add(to).flag(force);
    parts.texts(&plan.write).texts(&plan.delete).report(report).digest()
}

/// What a yes to a session at a target binds: the target, and what was seen of it.
pub(super) fn visit(facts: &Facts, place: &RemoteSite, report: &Report) -> Digest {
    let mut parts = Parts::of("visit");
    parts.principal(facts);
    target(&mut parts, place).report(report).digest()
}

/// What two visits have in common that one standing yes covers. Whose they are is left to the permit.
pub(super) fn standing_visit(place: &RemoteSite, report: &Report) -> Digest {
    target(&mut Parts::of("standing-visit"), place).requests(report).digest()
}

/// A target, and what was seen of it.
fn target<'a>(parts: &'a mut Parts, place: &RemoteSite) -> &'a mut Parts {
    parts.add(&place.name).add(&place.host).add(place.transport.as_str());
    let Machine { user, key_verified, image, privileged } = &place.machine;
    parts.add(user).flag(*key_verified).add(image).flag(*privileged);
    parts.add(place.workspace.as_str()).add(place.home.as_str());
    let RemoteInfo { target: _, shell: _, user, host_key, by, container: _, image, guard: _ } = &place.end;
    parts.add(user.as_str()).add(host_key.as_str()).add(image.as_str());
    parts.list(by, |parts, text| parts.text(text.as_str()))
}

/// The scripts and programs of the agent's that a text names, and what they hold now. Of a text that cannot be read to the end these are all
/// files that it reads: `python3 x.py`, `bash < x.sh` and `eval "$(cat x)"` all take their code from one.
pub(super) fn files(inventory: &Inventory, facts: &Facts) -> Vec<BoundFile> {
    // What lies at a target cannot be read from here.
    if facts.transport != Transport::Local {
        return Vec::new();
    }
    let root = Path::new("/");
    let (mut named, mut untold) = (BTreeSet::new(), Vec::new());
    names(root, inventory, facts, &mut named, &mut untold);
    let mut room = MAX_READ;
    let told = named.into_iter().map(|path| BoundFile::of(root, path, &mut room));
    told.chain(untold.into_iter().map(BoundFile::never)).collect()
}

/// The same of an execution, with the files of its steps, all as its process sees them: its root is another than ours.
pub(super) fn files_at_execve<'a>(
    root: &Path,
    steps: impl Iterator<Item = AbsolutePath>,
    questions: impl Iterator<Item = (&'a Inventory, &'a Facts)>,
) -> Vec<BoundFile> {
    let (mut named, mut untold) = (BTreeSet::new(), Vec::new());
    for (inventory, facts) in questions {
        names(root, inventory, facts, &mut named, &mut untold);
    }
    let steps: BTreeSet<AbsolutePath> = steps.collect();
    let mut room = MAX_READ;
    let named = named.difference(&steps).map(|path| (path.clone(), true)).collect::<Vec<_>>();
    let all = steps.into_iter().map(|path| (path, false)).chain(named);
    let told = all.map(|(path, is_named)| BoundFile { is_named, ..BoundFile::of(root, path, &mut room) });
    told.chain(untold.into_iter().map(BoundFile::never)).collect()
}

/// The files that a text takes code from, and the directories of which that cannot be told.
fn names(
    root: &Path,
    inventory: &Inventory,
    facts: &Facts,
    named: &mut BTreeSet<AbsolutePath>,
    untold: &mut Vec<AbsolutePath>,
) {
    let is_own = |origin: Origin| matches!(origin, Origin::Workspace | Origin::Temp | Origin::Unknown);
    let programs = facts.programs.values().filter(|program| is_own(program.origin));
    let programs = programs.filter_map(|program| program.path.as_ref());
    let read = inventory.commands().iter().flat_map(|command| {
        let effects = command.effects.iter().enumerate();
        let code = effects.filter(|(_, effect)| effect.kind == EffectKind::Execute);
        code.filter_map(|(index, _)| facts.paths.get(&(command.id, index)))
    });
    named.extend(programs.chain(read).cloned());
    for command in inventory.commands().iter().filter(|_| !inventory.opaque().is_empty()) {
        let read = command.effects.iter().enumerate().filter(|(_, effect)| effect.kind == EffectKind::Read);
        for (path, effect) in read.filter_map(|(index, effect)| Some((facts.paths.get(&(command.id, index))?, effect)))
        {
            let is_code = inventory.opaque().iter().any(|opaque| opaque.span == effect.target.span);
            match below(root, path).is_dir() {
                false => _ = named.insert(path.clone()),
                // `python3 DIRECTORY` runs a file in it.
                true if is_code => match within(root, path) {
                    Some(listed) => named.extend(listed),
                    None => untold.push(path.clone()),
                },
                // Of any other directory nothing is run but what is named, and it changes with every file in it.
                true => {}
            }
        }
    }
}

/// A path below another root.
fn below(root: &Path, path: &AbsolutePath) -> PathBuf {
    root.join(path.as_str().trim_start_matches('/'))
}

/// A directory, and what lies in it; none if that cannot be told, or is more than a person could look at.
fn within(root: &Path, directory: &AbsolutePath) -> Option<Vec<AbsolutePath>> {
    let mut listed = vec![directory.clone()];
    for entry in std::fs::read_dir(below(root, directory)).ok()? {
        listed.push(directory.child(entry.ok()?.file_name().to_str()?)?);
    }
    (listed.len() <= MAX_LISTED).then_some(listed)
}

impl BoundFile {
    fn of(root: &Path, path: AbsolutePath, room: &mut u64) -> Self {
        let (digest, stands_for) = match hashed(&below(root, &path), room) {
            Ok(Hashed::Held(digest)) => (Some(digest), String::new()),
            Ok(Hashed::Told(about)) => (None, about),
            Err(error) => (None, format!("error {}", error.raw_os_error().unwrap_or_default())),
        };
        Self { path, digest, stands_for, is_named: true }
    }

    /// Of which nobody can tell what it holds: no call is the same as another one.
    fn never(path: AbsolutePath) -> Self {
        let stands_for = match std::time::SystemTime::UNIX_EPOCH.elapsed() {
            Ok(now) => now.as_nanos().to_string(),
            Err(before) => format!("-{}", before.duration().as_nanos()),
        };
        Self { path, digest: None, stands_for, is_named: true }
    }
}

enum Hashed {
    Held(Digest),
    Told(String),
}

fn hashed(path: &Path, room: &mut u64) -> io::Result<Hashed> {
    // A pipe that nobody writes to would be waited for.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    let (changed, nanoseconds) = (about.ctime(), about.ctime_nsec());
    let told = format!("{} {} {} {changed}.{nanoseconds}", about.dev(), about.ino(), about.len());
    if !about.is_file() || about.len() > *room {
        return Ok(Hashed::Told(told));
    }
    let mut hash = Sha256::new();
    // One more than it may hold: it can grow meanwhile, and a part of it would pass for the whole.
    let mut reader = file.take(*room + 1);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = reader.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        let Some(left) = room.checked_sub(read as u64) else { return Ok(Hashed::Told(told)) };
        *room = left;
        hash.update(bytes);
    }
    Ok(Hashed::Held(Digest::from_bytes(hash.finalize().into())))
}

/// Whether a session can change what lies there as far as its user goes, who has no capabilities there: root's do not count.
pub(super) fn is_ours(place: &Path) -> bool {
    let Ok(about) = place.metadata() else { return false };
    if !rustix::process::geteuid().is_root() {
        return rustix::fs::accessat(rustix::fs::CWD, place, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    }
    let groups = rustix::process::getgroups().unwrap_or_default();
    let is_group =
        |gid: u32| gid == rustix::process::getegid().as_raw() || groups.iter().any(|own| own.as_raw() == gid);
    let bit = match (about.uid(), about.gid()) {
        (0, _) => 0o200,
        (_, gid) if is_group(gid) => 0o020,
        _ => 0o002,
    };
    about.mode() & bit != 0
}
