//! Where a session is that is not on this machine, and what is known of that.

use palisade_audit::Term;
use palisade_engine::{AbsolutePath, Machine, Transport};
use palisade_redact::Redacted;
use palisade_sandbox::plan::Promise;

use crate::remote;
use crate::remote::guard::Outpost;
use crate::shell::Language;

/// Where a session is that is not on this machine.
#[derive(Clone, Debug)]
pub struct RemoteSite {
    /// The operator's name for it.
    pub name: String,
    /// How it is reached.
    pub transport: Transport,
    /// The id of its host in policies.
    pub host: String,
    /// What policies are told of the machine there.
    pub machine: Machine,
    /// What policies call the workspace there.
    pub workspace: AbsolutePath,
    /// What `~` stands for there.
    pub home: AbsolutePath,
    /// The shell that its commands run in; what is not known before somebody has looked is none.
    pub language: Option<Language>,
    /// What holds its commands there, for policies to read.
    pub promise: Promise,
    /// The policies that its guard there decides with, as [`palisade_engine::Engine::policy_set`] has it; none without a guard.
    pub held_to: Option<String>,
    /// The session's temporary directory there, once it has one of its own.
    pub temp: Option<AbsolutePath>,
    /// What is shown of it.
    pub end: remote::RemoteInfo,
}

impl RemoteSite {
    /// Somebody has looked.
    pub(crate) fn speaks(&mut self, language: Language) {
        self.language = Some(language);
        self.end.shell = Some(language);
    }

    /// What its guard has reached.
    pub(crate) fn held_by(&mut self, outpost: &Outpost, digest: Redacted) {
        self.promise.paths_held &= outpost.paths_held();
        self.temp = Some(outpost.temp().clone());
        self.end.guard = digest;
    }

    /// The shell there, as scripts are read for it before any has run.
    pub(crate) fn fresh(&self) -> palisade_grammar::Shell {
        self.language.unwrap_or_default().fresh()
    }

    /// How it is reached and what was seen of it, for the record.
    pub(crate) fn on_record(&self) -> palisade_audit::Transport {
        let some = |text: &Redacted| Some(text.clone()).filter(|text| !text.is_empty());
        let remote::RemoteInfo { target, shell, user, host_key, by, container, image, guard } = &self.end;
        palisade_audit::Transport {
            kind: Term::new(self.transport.as_str()),
            target: some(target),
            user: some(user),
            host_key: some(host_key),
            by: by.clone(),
            container: some(container),
            image: some(image),
            shell: shell.map(|shell| Term::new(shell.told().as_str())),
            guard: some(guard),
        }
    }
}
