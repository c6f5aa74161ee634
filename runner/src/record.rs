//! What of the flow goes on record, and in which fields. Builds entries; writes nothing.

use palisade_audit::{
    Approved, Asker, Checkpointed, CheckpointsPruned, Closed, Command, Connected, Decided, Decision as Judged,
    DecisionInput, DecisionReason, Denied, Digest, Effect, Entry, Executing, Exit, Finished, Forgotten, Groups, Id,
    Killed, Opened, Redactions, RefusedProgram, Reloaded, RequestId, Restoring, Ruling, Sandbox, SealError, SealTo,
    Signalled, Start, Stopped, Stream, Term, Transport as Reach, Unlearned, Who, Written, Yes,
};
use palisade_engine::{Approval, Decision, Engine, Principal, Transport, Verdict, What};
use palisade_redact::{Redacted, Redactor};
use palisade_sandbox::meter::Exceeded;
use palisade_sandbox::plan::Level;
use palisade_sandbox::{Enforced, probe};

use crate::call::Call;
use crate::control::peer::Peer;
use crate::facts::Occasion;
use crate::limits::{self, MAX_REASON};
use crate::policies::Policies;
use crate::result::{Cause, CheckpointNote, DeniedProgram, ExecResult, Explained, Late, Status};
use crate::shell::SessionId;

/// Reasons on record for one decision: a script can be denied for each of its thousand words, and all policies are in
/// `determining`.
const MAX_REASONS: usize = 20;

/// What entries tell of the operator's settings.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) policies: &'a Policies,
    pub(crate) redactor: &'a Redactor,
    pub(crate) principal: &'a Principal,
    pub(crate) level: Level,
    /// Whom copies of what was asked are sealed to; none: there are none.
    pub(crate) sealed_to: Option<&'a SealTo>,
}

/// The beginning of a chain: the verb that Palisade was started with, and the view that it lives in, if it lives in one.
pub(crate) fn start(context: Context<'_>, verb: &'static str, view: Option<&str>) -> Start {
    let engine = context.policies.now();
    Start::new(env!("CARGO_PKG_VERSION"), Term::new(verb), digest(engine.policy_set()), digest(engine.schema()))
        .with_groups(groups(context.redactor, &engine))
        .with_view(view.map(session))
}

/// What tells this engine's path groups from others.
fn groups(redactor: &Redactor, engine: &Engine) -> Groups {
    let short = |fingerprint: &str| Id::new(fingerprint).unwrap_or_else(Id::unknown);
    let (_, shipped) = palisade_policies::GROUPS;
    // What stands in a text of ours is no secret, and to look for one in some of these names takes longer than all else here.
    let ours =
        |name: &str| shipped.find(name).and_then(|at| shipped.get(at..at + name.len())).map(Redacted::from_static);
    let safe = |name: &str| ours(name).unwrap_or_else(|| redactor.text(name));
    engine.path_groups().iter().map(|(name, fingerprint)| (safe(name), short(fingerprint))).collect()
}

/// A session that was opened, how it is reached if it is not on this machine, and the request whose yes it took.
pub(crate) fn opened(
    context: Context<'_>,
    id: &SessionId,
    cwd: &Redacted,
    enforced: Option<&Enforced>,
    reached: Option<Reach>,
    under: Option<RequestId>,
) -> Entry {
    Opened {
        session: session(id.as_str()),
        who: who(context),
        under,
        transport: reached.unwrap_or_else(|| reach(Transport::Local)),
        cwd: cwd.clone(),
        sandbox: enforced.map_or_else(|| nothing(context.level), held),
    }
    .into()
}

/// A verdict, and how long it took to make. Its texts are shown as the session's own redactor shows them.
///
/// # Errors
/// If a sealed copy has to go with it and there can be none.
#[expect(clippy::too_many_arguments, reason = "an entry has as many parts")]
pub(crate) fn decided(
    context: Context<'_>,
    redactor: &Redactor,
    call: &Call,
    occasion: &Occasion,
    req: RequestId,
    verdict: &Verdict,
    explained: &Explained,
    under: Option<RequestId>,
    elapsed: std::time::Duration,
) -> Result<Entry, SealError> {
    let report = verdict.report();
    let mut determining: Vec<Redacted> =
        explained.requests.iter().flat_map(|request| request.determining.iter().cloned()).collect();
    determining.sort();
    determining.dedup();
    let errors = explained.requests.iter().flat_map(|request| request.errors.iter().cloned());
    let programs = explained.requests.iter().filter(|request| request.action == "exec");
    let own = occasion.session.id.as_str();
    let sealed = context.sealed_to.map(|to| to.seal(req, report)).transpose()?;
    Ok(Decided {
        req,
        session: call.session.as_deref().map(session),
        shell: (call.session.as_deref() != Some(own)).then(|| session(own)),
        who: who(context),
        transport: reach(occasion.transport),
        cwd: redactor.text(occasion.cwd.as_str()),
        reason: (!call.reason.is_empty()).then(|| limits::shown(&call.reason, MAX_REASON, redactor)),
        command: Command::shown(explained.command.clone()),
        inv: programs.map(|request| request.program.clone()).collect(),
        opaque: report.opaque.iter().map(|opaque| Term::new(opaque.reason.as_str())).collect(),
        decision: Judged {
            effect: effect(report.decision),
            determining,
            reasons: reasons(explained),
            errors: errors.collect(),
            us: micros(elapsed),
        },
        under,
        policy_set: digest(&report.policy_set),
        schema: digest(context.policies.now().schema()),
        sandbox: match occasion.transport {
            Transport::Local => offered(context.level),
            Transport::Ssh | Transport::Docker if occasion.session.sandboxed => promised(context.level),
            Transport::Ssh | Transport::Docker => nothing(context.level),
        },
        asked: asked(redactor, verdict, &explained.command),
        sealed,
    }
    .into())
}

/// Texts of one decision's questions that a record takes, in bytes, before they are redacted.
const MAX_ASKED: usize = 256 << 10;

/// What was asked, in texts that have passed the redactor. A text of which that took something is noted as cut, and so is one
/// that is part of a secret of the script's, or holds one: by itself, without the words around it, no rule may know it.
fn asked(redactor: &Redactor, verdict: &Verdict, command: &Redacted) -> DecisionInput {
    let report = verdict.report();
    let Some(asked) = &report.asked else { return DecisionInput::NotAsked(Term::new("too-many")) };
    if asked.bytes() > MAX_ASKED {
        return DecisionInput::NotAsked(Term::new("too-long"));
    }
    let suspects = redactor.suspects(verdict.inventory());
    let mut kept = asked.map(&mut |text: &String| {
        let redacted = redactor.text(text);
        if suspects.touch(text) {
            Err(Redacted::from_static(CUT))
        } else if redacted.as_str() == text {
            Ok(redacted)
        } else {
            Err(redacted)
        }
    });
    // The entry has them already, and says below `cut` if they are not what they were.
    kept.who = None;
    for item in &mut kept.items {
        if let What::Exec(exec) = &mut item.what
            && exec.text.as_ref() == Some(command)
        {
            exec.text = None;
        }
    }
    DecisionInput::Asked(Box::new(kept))
}

/// What stands for a part of a secret.
const CUT: &str = "[redacted:part-of-a-secret]";

/// Why it was not allowed, as whoever asked is told.
fn reasons(explained: &Explained) -> Vec<DecisionReason> {
    let reasons = explained.reasons.iter().take(MAX_REASONS).map(|reason| DecisionReason {
        policy: reason.policy.clone(),
        place: reason.place.clone(),
        text: reason.text.clone(),
        reason: reason.reason.clone(),
        suggest: reason.suggest.clone(),
    });
    reasons.collect()
}

/// A person's answer to a decision.
pub(crate) struct Answered<'a> {
    pub(crate) of: RequestId,
    pub(crate) granted: bool,
    pub(crate) person: &'a Approval,
    /// Who has connected with it; none: it was given at the terminal of `run`, or through the agent's client.
    pub(crate) peer: Option<&'a Peer>,
    pub(crate) reason: &'a str,
    pub(crate) quorum: usize,
    /// The permits by which it holds for longer than this one call.
    pub(crate) permit: Option<Redacted>,
    pub(crate) explained: &'a Explained,
}

impl Answered<'_> {
    /// As it goes on record.
    pub(crate) fn entry(&self, context: Context<'_>) -> Entry {
        let policies = self.explained.reasons.iter().map(|reason| reason.policy.clone());
        let mut lifted: Vec<Redacted> = policies.filter(|policy| !policy.is_empty()).collect();
        lifted.sort();
        lifted.dedup();
        Approved {
            of: self.of,
            granted: self.granted,
            by: context.redactor.text(&self.person.user),
            from: Term::new(self.person.via.as_str()),
            peer: self.peer.map(asker),
            reason: words(context, self.reason),
            quorum: self.quorum,
            lifted,
            lasts: self.permit.as_ref().map(|_| Term::new(self.person.lasts.as_str())),
            permit: self.permit.clone(),
        }
        .into()
    }
}

/// A standing yes that a person took back.
pub(crate) fn forgotten(context: Context<'_>, of: RequestId, peer: &Peer) -> Entry {
    Forgotten { of, by: context.redactor.text(&peer.user), peer: asker(peer) }.into()
}

/// Values that the redactor had learned and that a person dropped.
pub(crate) fn unlearned(context: Context<'_>, ids: &[String], peer: &Peer) -> Entry {
    let values = ids.iter().filter_map(|id| Id::new(id)).collect();
    Unlearned { values, by: context.redactor.text(&peer.user), peer: asker(peer) }.into()
}

/// Something that a person stopped, or let in again.
pub(crate) fn killed(
    context: Context<'_>,
    (what, name): (&'static str, Option<&str>),
    lifted: bool,
    peer: &Peer,
    reason: &str,
) -> Entry {
    let name = name.map(|name| context.redactor.text(name));
    let (by, reason) = (context.redactor.text(&peer.user), words(context, reason));
    Killed { what: Term::new(what), name, lifted, by, peer: asker(peer), reason }.into()
}

fn asker(peer: &Peer) -> Asker {
    Asker { pid: peer.pid, uid: peer.uid }
}

/// What somebody says of their own accord; none if they say nothing.
fn words(context: Context<'_>, reason: &str) -> Option<Redacted> {
    (!reason.is_empty()).then(|| limits::shown(reason, MAX_REASON, context.redactor))
}

/// What a script came to.
pub(crate) fn finished(id: &SessionId, persistent: bool, req: RequestId, result: &ExecResult) -> Entry {
    let exit = match (result.status, result.exit_code, result.signal) {
        (Status::Done | Status::SessionLost, Some(code), _) => Exit::Code(code),
        (Status::Done | Status::SessionLost, None, Some(signal)) => Exit::Signal(signal),
        (Status::Limited, ..) => Exit::Reason(Term::new(match result.limit {
            Some(Exceeded::Memory) => "limit-memory",
            Some(Exceeded::Processes) => "limit-processes",
            Some(Exceeded::Cpu) => "limit-cpu",
            Some(Exceeded::Disk) => "limit-disk",
            Some(Exceeded::FreeDisk) => "limit-free-disk",
            None => "limited",
        })),
        (Status::TimedOut, ..) if result.late == Some(Late::NotBegun) => Exit::Reason(Term::new("deadline-not-begun")),
        (Status::TimedOut, ..) if result.late == Some(Late::MayRun) => Exit::Reason(Term::new("deadline-may-run")),
        (status, _, _) => Exit::Reason(Term::new(result.cause.map_or(status.as_str(), Cause::as_str))),
    };
    let stream = |text: &Redacted, name: &str| {
        let omitted = result.omitted.get(name).map_or(0, |omitted| omitted.bytes);
        Stream::new(text, result.totals.get(name).copied().unwrap_or_default(), omitted)
    };
    Finished {
        req,
        session: persistent.then(|| session(id.as_str())),
        exit,
        dur_us: micros(result.duration),
        out: stream(&result.stdout, "stdout"),
        err: stream(&result.stderr, "stderr"),
        redactions: result.redactions.iter().map(|(rule, count)| (rule.clone(), *count)).collect::<Redactions>(),
        denied: result.denied.iter().map(refused).collect(),
        denied_more: result.denied_more,
        checkpoint: result.checkpoint.clone(),
    }
    .into()
}

/// A script that was allowed and then could not be started.
pub(crate) fn not_started(req: RequestId) -> Entry {
    nothing_of(req, "not_started")
}

/// A script that was allowed and that the agent's client runs itself. This server does not see its end.
pub(crate) fn by_client(req: RequestId) -> Entry {
    nothing_of(req, "by_client")
}

fn nothing_of(req: RequestId, why: &'static str) -> Entry {
    let nothing = || Stream::new(&Redacted::from_static(""), 0, 0);
    Finished {
        req,
        session: None,
        exit: Exit::Reason(Term::new(why)),
        dur_us: 0,
        out: nothing(),
        err: nothing(),
        redactions: Redactions::default(),
        denied: Vec::new(),
        denied_more: 0,
        checkpoint: None,
    }
    .into()
}

fn refused(denied: &DeniedProgram) -> RefusedProgram {
    RefusedProgram {
        program: if denied.file.is_empty() { denied.program.clone() } else { denied.file.clone() },
        argv: denied.argv.clone(),
        peer: denied.peer.clone(),
        policy: denied.policy.clone(),
    }
}

/// A program that was refused at its `execve` behind the end of what started it, or of which nobody knows that.
pub(crate) fn denial(id: &str, of: Option<RequestId>, denied: &DeniedProgram, more: u64) -> Entry {
    Denied { of, session: session(id), refused: refused(denied), more }.into()
}

/// A program that takes a person's yes at its `execve`.
pub(crate) fn execution(
    id: &str,
    of: Option<RequestId>,
    yes: Yes,
    judged: &Explained,
    program: DeniedProgram,
) -> Entry {
    let DeniedProgram { program, argv, .. } = program;
    Executing { of, yes, session: session(id), ruling: answer(judged), program, argv }.into()
}

/// Something that was to be written to the input of a job, which is known by its decision and its session; without an answer it could not be judged.
///
/// # Errors
/// If a sealed copy has to go with it and there can be none.
pub(crate) fn input(
    context: Context<'_>,
    (of, id): (RequestId, &SessionId),
    judged: Option<&Explained>,
    yes: Yes,
    input: &[u8],
    eof: bool,
) -> Result<Entry, SealError> {
    let text = String::from_utf8_lossy(input);
    let sealed = context.sealed_to.map(|to| to.seal_input(of, &text)).transpose()?;
    let unclear = || Ruling { effect: Effect::Deny, determining: Vec::new() };
    Ok(Written {
        of,
        yes,
        session: session(id.as_str()),
        ruling: judged.map_or_else(unclear, answer),
        text: Command::shown(context.redactor.keyed(id.as_str()).text(&text)),
        bytes: u64::try_from(input.len()).unwrap_or(u64::MAX),
        eof,
        sealed,
    }
    .into())
}

/// A signal that was to be sent to a job, which is known by its decision and its session.
pub(crate) fn signalled(
    (of, id): (RequestId, &SessionId),
    judged: &Explained,
    yes: Yes,
    signal: &'static str,
) -> Entry {
    let (session, signal) = (session(id.as_str()), Term::new(signal));
    Signalled { of, yes, session, ruling: answer(judged), signal }.into()
}

/// A connection that was to be made.
pub(crate) fn connection(
    id: &str,
    decision: Decision,
    determining: Vec<Redacted>,
    peer: Redacted,
    addresses: Vec<Redacted>,
    program: Redacted,
) -> Entry {
    let ruling = Ruling { effect: effect(decision), determining };
    Connected { session: session(id), ruling, peer, addresses, program }.into()
}

/// A checkpoint that was to be taken, and the one that was.
pub(crate) fn checkpoint(id: &str, judged: &Explained, taken: Option<&CheckpointNote>) -> Entry {
    Checkpointed {
        of: None,
        session: session(id),
        ruling: answer(judged),
        checkpoint: taken.map(|note| note.checkpoint.clone()),
        label: taken.map(|note| note.label.clone()).unwrap_or_default(),
        files: taken.map_or(0, |note| note.files),
        bytes: taken.map_or(0, |note| note.bytes),
        uncovered: taken.map_or(0, |note| note.uncovered),
    }
    .into()
}

/// A checkpoint that was taken before a command, because these policies want it, or the settings do.
pub(crate) fn checkpoint_before(of: RequestId, id: &str, policies: Vec<Redacted>, taken: &CheckpointNote) -> Entry {
    Checkpointed {
        of: Some(of),
        session: session(id),
        ruling: Ruling { effect: Effect::Allow, determining: policies },
        checkpoint: Some(taken.checkpoint.clone()),
        label: taken.label.clone(),
        files: taken.files,
        bytes: taken.bytes,
        uncovered: taken.uncovered,
    }
    .into()
}

/// A part of what a restore touches.
pub(crate) struct Lists {
    /// The target whose files they are; none: this machine's.
    pub(crate) target: Option<Redacted>,
    pub(crate) write: Vec<Redacted>,
    pub(crate) delete: Vec<Redacted>,
    /// From one.
    pub(crate) part: usize,
    pub(crate) parts: usize,
}

/// Who gives checkpoints up, and what policy says to it.
pub(crate) struct Pruner {
    /// None: the settings keep no more of those that nobody asked for.
    pub(crate) by: Option<Redacted>,
    /// The target whose workspace they are of; none: this machine's.
    pub(crate) target: Option<Redacted>,
    pub(crate) ruling: Ruling,
    pub(crate) keep: usize,
}

/// Checkpoints that are to go.
pub(crate) fn checkpoints_pruned(pruner: Pruner, gone: &[CheckpointNote]) -> Entry {
    let Pruner { by, target, ruling, keep } = pruner;
    let checkpoints = gone.iter().map(|note| note.checkpoint.clone()).collect();
    CheckpointsPruned { by, target, ruling, keep, checkpoints }.into()
}

/// A restore that is to be done, with what it touches.
pub(crate) fn restore(id: &str, to: Redacted, judged: &Explained, force: bool, yes: Yes, lists: Lists) -> Entry {
    let Ruling { effect, determining } = answer(judged);
    let Lists { target, write, delete, part, parts } = lists;
    let part = (parts > 1).then_some([part, parts]);
    let session = Some(session(id));
    Restoring {
        yes,
        session,
        target,
        effect: Some(effect),
        determining,
        checkpoint: to,
        force,
        write,
        delete,
        part,
        ..Restoring::default()
    }
    .into()
}

/// A restore that is done.
pub(crate) fn restored(id: &str, undo: Redacted, failed: &[Redacted]) -> Entry {
    Restoring { session: Some(session(id)), undo: Some(undo), failed: failed.to_vec(), ..Restoring::default() }.into()
}

/// The decision, and the policies that stand in the way.
fn answer(judged: &Explained) -> Ruling {
    let mut policies: Vec<Redacted> = judged.reasons.iter().map(|reason| reason.policy.clone()).collect();
    policies.retain(|policy| !policy.is_empty());
    Ruling { effect: effect(judged.decision), determining: policies }
}

/// A session that was closed.
pub(crate) fn closed(id: &str, reason: &'static str) -> Entry {
    Closed { session: session(id), reason: Term::new(reason) }.into()
}

/// Policies in place of others.
pub(crate) fn reloaded(redactor: &Redactor, before: &Engine, after: &Engine) -> Entry {
    let (set, groups) = (digest(after.policy_set()), groups(redactor, after));
    Reloaded { policy_set: set, before: digest(before.policy_set()), refused: None, groups }.into()
}

/// Policies that were found and are not taken.
pub(crate) fn refused_reload(engine: &Engine, why: Redacted) -> Entry {
    let set = digest(engine.policy_set());
    Reloaded { policy_set: set, before: set, refused: Some(why), groups: Groups::new() }.into()
}

/// The end of a chain.
pub(crate) fn stop() -> Entry {
    Stopped { reason: Term::new("shutdown") }.into()
}

fn who(context: Context<'_>) -> Who {
    let principal = context.principal;
    let redactor = context.redactor;
    Who {
        agent: redactor.text(&principal.agent),
        user: redactor.text(&principal.user),
        roles: principal.roles.iter().map(|role| redactor.text(role)).collect(),
        verified: principal.verified,
        auth: Term::new(principal.auth.as_str()),
    }
}

/// How a session is reached of whose place nothing else is told.
fn reach(transport: Transport) -> Reach {
    Reach::of(Term::new(transport.as_str()))
}

/// Nothing holds a session at a target.
fn nothing(asked: Level) -> Sandbox {
    Sandbox { level: level(asked), landlock_abi: None, layers: Vec::new(), degraded: vec![Term::new("elsewhere")] }
}

/// What holds a session at a target, as every one of its level is held there; its opening says the rest.
fn promised(asked: Level) -> Sandbox {
    let layers = ["landlock", "seccomp", "no-new-privs", "no-capabilities", "exec-guard"];
    Sandbox { level: level(asked), landlock_abi: None, layers: layers.map(Term::new).into(), degraded: Vec::new() }
}

fn held(enforced: &Enforced) -> Sandbox {
    let namespaces = enforced.namespaces.iter().copied();
    let layers = ["landlock", "seccomp", "no-new-privs", "no-capabilities"].into_iter().chain(namespaces);
    let layers = layers.chain(enforced.guarded.then_some("exec-guard"));
    Sandbox {
        level: level(enforced.level),
        landlock_abi: Some(enforced.landlock_abi),
        layers: layers.map(Term::new).collect(),
        degraded: enforced.misses_names().then(|| Term::new("names-not-searched")).into_iter().collect(),
    }
}

/// What would hold a session that is not open yet.
fn offered(asked: Level) -> Sandbox {
    let offer = probe();
    let namespaces = offer.namespaces.names(offer.mounts).iter().copied();
    let layers = ["landlock", "seccomp", "no-new-privs", "no-capabilities"].into_iter().chain(namespaces);
    let layers = layers.chain(offer.guards().is_ok().then_some("exec-guard"));
    Sandbox {
        level: level(asked),
        landlock_abi: Some(offer.landlock_abi),
        layers: layers.map(Term::new).collect(),
        degraded: Vec::new(),
    }
}

fn level(level: Level) -> Term {
    Term::new(match level {
        Level::Strict => "strict",
        Level::Default => "default",
        Level::Compat => "compat",
    })
}

fn effect(decision: Decision) -> Effect {
    match decision {
        Decision::Allow => Effect::Allow,
        Decision::Ask => Effect::Ask,
        Decision::Deny => Effect::Deny,
    }
}

/// A session's name; one that is none of ours would be a fault, and shows as what it is.
fn session(id: &str) -> Id {
    Id::new(id).unwrap_or_else(Id::unknown)
}

/// A fingerprint of the engine's, which is always a SHA-256.
fn digest(fingerprint: &str) -> Digest {
    fingerprint.parse().unwrap_or(Digest::ZERO)
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
