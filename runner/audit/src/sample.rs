//! Entries for tests.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use palisade_redact::Redacted;

use super::*;

pub(crate) fn key() -> Arc<key::RecordKey> {
    Arc::new(key::RecordKey::of(&[7; 32]))
}

pub(crate) fn text(text: &str) -> Redacted {
    Redacted::from_static(Box::leak(text.into()))
}

pub(crate) fn start() -> Start {
    Start::new("0.1.0", Term::new("serve"), Digest::of(b"policies"), Digest::of(b"schema"))
}

pub(crate) fn who() -> Who {
    Who {
        agent: text("build-agent"),
        user: text("alice"),
        roles: vec![text("developer")],
        verified: true,
        auth: Term::new("os-user"),
    }
}

pub(crate) fn transport() -> Transport {
    Transport::of(Term::new("local"))
}

pub(crate) fn sandbox() -> Sandbox {
    let layers = vec![Term::new("landlock"), Term::new("seccomp")];
    Sandbox { level: Term::new("default"), landlock_abi: Some(6), layers, degraded: vec![] }
}

pub(crate) fn opened() -> Opened {
    let session = Id::new("s1").unwrap();
    Opened { session, who: who(), under: None, transport: transport(), cwd: text("/srv/app"), sandbox: sandbox() }
}

pub(crate) fn decided(req: RequestId, script: &str) -> Decided {
    Decided {
        req,
        shell: None,
        session: Id::new("s1"),
        who: who(),
        transport: transport(),
        cwd: text("/srv/app"),
        reason: None,
        command: Command::shown(text(script)),
        inv: vec![text("make")],
        opaque: vec![],
        decision: Decision {
            effect: Effect::Allow,
            determining: vec![text("dev-toolchain")],
            reasons: vec![],
            errors: vec![],
            us: 85,
        },
        under: None,
        policy_set: Digest::of(b"policies"),
        schema: Digest::of(b"schema"),
        sandbox: sandbox(),
        asked: DecisionInput::NotAsked(Term::new("too-many")),
        sealed: None,
    }
}

pub(crate) fn finished(req: RequestId, exit: Exit, output: &str) -> Finished {
    Finished {
        req,
        session: Id::new("s1"),
        exit,
        dur_us: 1200,
        out: Stream::new(&text(output), output.len() as u64, 0),
        err: Stream::new(&text(""), 0, 0),
        redactions: [(text("github-token"), 2)].into_iter().collect(),
        denied: Vec::new(),
        denied_more: 0,
        checkpoint: None,
    }
}

pub(crate) fn closed() -> Closed {
    Closed { session: Id::new("s1").unwrap(), reason: Term::new("asked") }
}

pub(crate) fn stopped() -> Stopped {
    Stopped { reason: Term::new("client-left") }
}

pub(crate) fn check(path: &Path, anchor: Option<Anchor>) -> Result<Report, Broken> {
    verify(LiveFile::open(path).unwrap(), anchor)
}
