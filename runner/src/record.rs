//! What of the flow goes on record, and in which fields. Builds entries; writes nothing.

use palisade_engine::{Approval, Decision, Report, Transport};

use crate::audit::{
    Approved, Closed, Command, Connected, Decided, Decision as Verdict, Denied, Digest, Effect, Entry, Exit, Finished,
    Id, Opened, Redactions, Refused, Reloaded, RequestId, Sandbox, Signalled, Start, Stopped, Stream, Term,
    Transport as Reach, Who, Written,
};
use crate::facts::Occasion;
use crate::job::Job;
use crate::limits::{self, MAX_REASON};
use crate::pipeline::{Call, Settings};
use crate::redact::{Redacted, Redactor};
use crate::result::{Cause, DeniedProgram, ExecResult, Explained, Status};
use crate::sandbox::meter::Exceeded;
use crate::sandbox::plan::Level;
use crate::sandbox::{Enforced, probe};
use crate::session::SessionId;

/// The beginning of a chain.
pub(crate) fn start(settings: &Settings) -> Start {
    let engine = settings.engine.now();
    Start::new(
        env!("CARGO_PKG_VERSION"),
        Term::new(settings.verb),
        digest(engine.policy_set()),
        digest(engine.schema()),
    )
}

/// A session that was opened.
pub(crate) fn opened(settings: &Settings, id: &SessionId, cwd: &Redacted, enforced: &Enforced) -> Entry {
    Opened {
        session: session(id.as_str()),
        who: who(settings),
        transport: reach(Transport::Local),
        cwd: cwd.clone(),
        sandbox: held(enforced),
    }
    .into()
}

/// A verdict, and how long it took to make. Its texts are shown as the session's own redactor shows them.
#[expect(clippy::too_many_arguments, reason = "an entry has as many parts")]
pub(crate) fn decided(
    settings: &Settings,
    redactor: &Redactor,
    call: &Call,
    occasion: &Occasion,
    req: RequestId,
    report: &Report,
    explained: &Explained,
    elapsed: std::time::Duration,
) -> Entry {
    let mut determining: Vec<Redacted> =
        explained.requests.iter().flat_map(|request| request.determining.iter().cloned()).collect();
    determining.sort();
    determining.dedup();
    let errors = explained.requests.iter().flat_map(|request| request.errors.iter().cloned());
    let programs = explained.requests.iter().filter(|request| request.action == "exec");
    let own = occasion.session.id.as_str();
    Decided {
        req,
        session: call.session.as_deref().map(session),
        shell: (call.session.as_deref() != Some(own)).then(|| session(own)),
        who: who(settings),
        transport: reach(occasion.transport),
        cwd: redactor.text(occasion.cwd.as_str()),
        reason: (!call.reason.is_empty()).then(|| limits::shown(&call.reason, MAX_REASON, redactor)),
        command: Command::shown(explained.command.clone()),
        inv: programs.map(|request| request.program.clone()).collect(),
        opaque: report.opaque.iter().map(|opaque| Term::new(opaque.reason.as_str())).collect(),
        decision: Verdict {
            effect: effect(report.decision),
            determining,
            errors: errors.collect(),
            us: micros(elapsed),
        },
        policy_set: digest(&report.policy_set),
        schema: digest(settings.engine.now().schema()),
        sandbox: offered(settings.level),
    }
    .into()
}

/// A person's answer to a decision.
pub(crate) fn answered(
    settings: &Settings,
    of: RequestId,
    granted: bool,
    approval: &Approval,
    explained: &Explained,
) -> Entry {
    let lifted = explained.reasons.iter().map(|reason| reason.policy.clone()).filter(|policy| !policy.is_empty());
    Approved { of, granted, by: settings.redactor.text(&approval.user), lifted: lifted.collect() }.into()
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
    }
    .into()
}

/// A script that was allowed and then could not be started.
pub(crate) fn not_started(req: RequestId) -> Entry {
    let nothing = || Stream::new(&Redacted::from_static(""), 0, 0);
    Finished {
        req,
        session: None,
        exit: Exit::Reason(Term::new("not_started")),
        dur_us: 0,
        out: nothing(),
        err: nothing(),
        redactions: Redactions::default(),
        denied: Vec::new(),
        denied_more: 0,
    }
    .into()
}

fn refused(denied: &DeniedProgram) -> Refused {
    Refused {
        program: denied.program.clone(),
        argv: denied.argv.clone(),
        peer: denied.peer.clone(),
        policy: denied.policy.clone(),
    }
}

/// A program that was refused at its `execve` behind the end of what started it, or of which nobody knows that.
pub(crate) fn denial(id: &str, of: Option<RequestId>, denied: &DeniedProgram, more: u64) -> Entry {
    Denied { of, session: session(id), refused: refused(denied), more }.into()
}

/// Something that was to be written to a job's input; without an answer it could not be judged.
pub(crate) fn input(job: &Job, judged: Option<&Explained>, text: Redacted, bytes: usize, eof: bool) -> Entry {
    let (effect, determining) = judged.map_or((Effect::Deny, Vec::new()), answer);
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let text = Command::shown(text);
    Written { of: job.req, session: session(job.session.as_str()), effect, determining, text, bytes, eof }.into()
}

/// A signal that was to be sent to a job.
pub(crate) fn signalled(job: &Job, judged: &Explained, signal: &'static str) -> Entry {
    let (effect, determining) = answer(judged);
    let signal = Term::new(signal);
    Signalled { of: job.req, session: session(job.session.as_str()), effect, determining, signal }.into()
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
    Connected { session: session(id), effect: effect(decision), determining, peer, addresses, program }.into()
}

/// The decision, and the policies that stand in the way.
fn answer(judged: &Explained) -> (Effect, Vec<Redacted>) {
    let mut policies: Vec<Redacted> = judged.reasons.iter().map(|reason| reason.policy.clone()).collect();
    policies.retain(|policy| !policy.is_empty());
    (effect(judged.decision), policies)
}

/// A session that was closed.
pub(crate) fn closed(id: &str, reason: &'static str) -> Entry {
    Closed { session: session(id), reason: Term::new(reason) }.into()
}

/// The end of a chain.
pub(crate) fn reloaded(before: &str, after: &str, refused: Option<Redacted>) -> Entry {
    Reloaded { policy_set: digest(after), before: digest(before), refused }.into()
}

pub(crate) fn stop() -> Entry {
    Stopped { reason: Term::new("shutdown") }.into()
}

fn who(settings: &Settings) -> Who {
    let principal = &settings.surroundings.principal;
    let redactor = &settings.redactor;
    Who {
        agent: redactor.text(&principal.agent),
        user: redactor.text(&principal.user),
        roles: principal.roles.iter().map(|role| redactor.text(role)).collect(),
        verified: principal.verified,
        auth: Term::new(principal.auth.as_str()),
    }
}

fn reach(transport: Transport) -> Reach {
    Reach { kind: Term::new(transport.as_str()), target: None }
}

fn held(enforced: &Enforced) -> Sandbox {
    let namespaces = enforced.namespaces.iter().copied();
    let layers = ["landlock", "seccomp", "no-new-privs", "no-capabilities"].into_iter().chain(namespaces);
    let layers = layers.chain(enforced.guarded.then_some("exec-guard"));
    Sandbox {
        level: level(enforced.level),
        landlock_abi: Some(enforced.landlock_abi),
        layers: layers.map(Term::new).collect(),
        degraded: Vec::new(),
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
