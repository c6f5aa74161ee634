//! A decision of the usual size, for benches of the record.

use palisade_audit::{
    Audit, Command, Decided, Decision, DecisionInput, Digest, Effect, Id, Sandbox, Term, Transport, Who,
};
use palisade_redact::Redactor;

/// A decision on this script.
pub(crate) fn decision(audit: &Audit, redactor: &Redactor, script: &str, asked: DecisionInput) -> Decided {
    let text = |text: &str| redactor.text(text);
    Decided {
        req: audit.request(),
        session: Id::new("s-5f3a9c01"),
        shell: None,
        who: Who {
            agent: text("build-agent"),
            user: text("alice"),
            roles: vec![text("developer")],
            verified: true,
            auth: Term::new("os-user"),
        },
        transport: Transport::of(Term::new("local")),
        cwd: text("/srv/app"),
        reason: None,
        command: Command::shown(text(script)),
        inv: vec![text("cargo"), text("git")],
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
        sandbox: Sandbox {
            level: Term::new("default"),
            landlock_abi: Some(6),
            layers: ["landlock", "seccomp", "no-new-privs", "no-capabilities"].map(Term::new).to_vec(),
            degraded: vec![],
        },
        asked,
        sealed: None,
    }
}
