//! Sessions at the targets that the operator's settings name.
//!
//! This file decides in what order a target is reached: looked at, asked about, and only then used. What an agent says is the
//! target's name and nothing else.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use palisade_audit::RequestId;
use palisade_engine::{AbsolutePath, Act, Approval, Decision, Facts, Machine};
use palisade_redact::Redacted;
use palisade_sandbox::plan::Promise;

use super::approval_requests::Visit;
use super::sessions::POLICY_RELOAD;
use super::state::PipelineState;
use super::{Checked, Client, Failure, Opened, Sessions};
use crate::control::approvals::RequestStatus;
use crate::environment::passed_names;
use crate::guard::Ledger;
use crate::job::Job;
use crate::record;
use crate::remote::{Base, Link, RemoteInfo, RemoteShell, Was, guard};
use crate::result::{Cause, Explained, Unanswered};
use crate::session::{RemoteSite, Session, ShellSnapshot};
use crate::shell::{SessionError, SessionId, ShellLoss, TerminalSize};
use crate::target::{Place, Target, TargetNote};
use crate::transport::{docker, ssh};

/// A target that was looked at, before anything there is used.
enum RemoteGreeting {
    Ssh(Box<ssh::Met>),
    Docker(docker::Met),
}

/// A target that may be used.
struct Reached {
    link: Link,
    place: RemoteSite,
    /// The rules by which it may, by number.
    rules: u64,
    /// The request whose yes that took.
    under: Option<RequestId>,
}

/// Shows somebody at a terminal what policy asks before a target is used, and takes their answer, whether it is a yes; none if nobody is
/// there.
pub type AtTerminal<'a> = dyn FnMut(&Explained) -> Option<(Approval, bool)> + Send + 'a;

/// What let a session at a target be opened, besides policy: nothing, or a yes to a request.
#[derive(Debug, Default)]
struct Consent {
    /// Those who have said it.
    people: Vec<Approval>,
    /// To which request.
    under: Option<RequestId>,
}

impl Sessions<'_> {
    /// Opens a session at a target.
    ///
    /// # Errors
    /// If there is no such target, it cannot be reached or is not the one that is known, policy does not permit it, all places are
    /// taken, or no shell can be started.
    pub async fn open_at(self, name: &str, cwd: Option<&str>, client: &Client) -> Result<Checked<Opened>, Failure> {
        if cwd.is_some() {
            return Err(Failure::of("a session at a target begins in its workspace: give no `cwd`"));
        }
        self.state.remote_sessions().open(name, client, &mut None).await
    }

    /// The same for the operator: where policy wants a person's yes, the one at the terminal is asked, and nobody later.
    ///
    /// # Errors
    /// As [`Self::open_at`].
    pub async fn open_from_outside(self, name: &str, person: &mut AtTerminal<'_>) -> Result<Checked<Opened>, Failure> {
        self.state.remote_sessions().open(name, &Client::default(), &mut Some(person)).await
    }

    /// Starts a shell in the place of one that is gone, wherever that was; see [`Self::restart`]. At a target it takes a new
    /// connection, for which all is asked again.
    ///
    /// # Errors
    /// As [`Self::restart`] and [`Self::open_at`]; what was left of a session at a target stays.
    pub async fn reopen(self, id: &str, client: &Client) -> Result<Checked<Opened>, Failure> {
        let Some(was) = self.state.session_registry.was_elsewhere(id) else {
            return Ok(Checked::Done(Box::new(self.restart(id, client).await?)));
        };
        self.state.remote_sessions().reopen(id, &was, client).await
    }

    /// The targets that there are.
    pub fn targets(self) -> Vec<TargetNote> {
        let note = |target: &Target| TargetNote {
            target: self.state.redact(&target.name),
            transport: target.transport().as_str(),
            place: self.state.redact(&target.description()),
        };
        self.state.settings.targets.values().map(note).collect()
    }
}

/// How sessions at targets come about, and what they are held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct RemoteSessions<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl RemoteSessions<'_> {
    async fn open(
        self,
        name: &str,
        client: &Client,
        person: &mut Option<&mut AtTerminal<'_>>,
    ) -> Result<Checked<Opened>, Failure> {
        self.state.kill_switch().goes_on(None)?;
        let room = self.state.session_registry.admit().map_err(|error| self.state.failure(&error))?;
        let Some(target) = self.state.settings.targets.get(name) else {
            return Err(self.state.failure(&SessionError::NoTarget));
        };
        let id = SessionId::new().map_err(|error| self.state.failure(&error))?;
        let Reached { link, mut place, rules, under } = match self.reach(&id, target, client, person).await? {
            Ok(reached) => reached,
            Err(unanswered) => return Ok(Checked::Unanswered(unanswered)),
        };
        let guard = self.guard_at(&id, target, &mut place);
        let shell = RemoteShell::start(link, target, None, guard).await.map_err(|error| self.state.failure(&error))?;
        if target.workspace.is_none() {
            place.workspace = shell.start_directory().clone();
        }
        self.settled_at(&mut place, &shell);
        let session = Session::elsewhere(id, shell, Arc::new(place), rules);
        Ok(Checked::Done(Box::new(self.state.sessions().take_in(session, room, false, under).await?)))
    }

    /// Starts a shell in the place of one that was at a target.
    async fn reopen(self, id: &str, was: &RemoteSite, client: &Client) -> Result<Checked<Opened>, Failure> {
        self.state.kill_switch().goes_on(Some(id))?;
        let room = self.state.session_registry.admit().map_err(|error| self.state.failure(&error))?;
        let target =
            self.state.settings.targets.get(&was.name).ok_or_else(|| self.state.failure(&SessionError::NoTarget))?;
        let fresh = SessionId::new().map_err(|error| self.state.failure(&error))?;
        let Reached { link, mut place, rules, under } = match self.reach(&fresh, target, client, &mut None).await? {
            Ok(reached) => reached,
            Err(unanswered) => return Ok(Checked::Unanswered(unanswered)),
        };
        place.workspace = was.workspace.clone();
        let remains = self.state.session_registry.take_remains(id).map_err(|error| self.state.failure(&error))?;
        let was = Was { state: remains.beginning.state.as_ref(), stood: &remains.cwd };
        let guard = self.guard_at(&remains.id, target, &mut place);
        let shell = match RemoteShell::start(link, target, Some(was), guard).await {
            Ok(shell) => shell,
            Err(error) => {
                self.state.session_registry.keep(ShellLoss::Disconnected, remains);
                return Err(self.state.failure(&error));
            }
        };
        self.settled_at(&mut place, &shell);
        let session = Session::back(remains, shell, Arc::new(place), rules);
        Ok(Checked::Done(Box::new(self.state.sessions().take_in(session, room, true, under).await?)))
    }

    /// Looks at a target, asks about it, and then makes use of it; what has to be answered first, if it is a person who decides.
    async fn reach(
        self,
        id: &SessionId,
        target: &Target,
        client: &Client,
        person: &mut Option<&mut AtTerminal<'_>>,
    ) -> Result<Result<Reached, Box<Unanswered>>, Failure> {
        let rules = self.state.reloads.load(Ordering::Acquire);
        let (mut consent, mut shown) = (Consent::default(), None);
        if matches!(&target.place, Place::Ssh(there) if !there.jumps.is_empty()) {
            // The hosts on the way are logged in to before this one is seen: that has to be permitted at its best.
            let best = self.site_of(target, None);
            match self.permitted(&self.state.facts_at(id.as_str(), &best, client), &best, consent, person).await? {
                Ok(yes) => consent = yes,
                Err(unanswered) => return Ok(Err(unanswered)),
            }
            shown = Some(best.machine);
        }
        let met = match &target.place {
            Place::Ssh(there) => ssh::Met::meet(there).await.map(|met| RemoteGreeting::Ssh(Box::new(met))),
            Place::Docker(there) => docker::Met::meet(there).await.map(RemoteGreeting::Docker),
        };
        let met = met.map_err(|error| self.state.failure(&SessionError::from(error)))?;
        let mut place = self.site_of(target, Some(&met));
        // A yes is to the target that was shown.
        if !consent.people.is_empty() && shown.is_some_and(|shown| shown != place.machine) {
            return Err(Failure::of("the target's key is not known, and nobody has said yes to that"));
        }
        let Consent { under, .. } =
            match self.permitted(&self.state.facts_at(id.as_str(), &place, client), &place, consent, person).await? {
                Ok(consent) => consent,
                Err(unanswered) => return Ok(Err(unanswered)),
            };
        self.state.usage.begin();
        let link = match (met, &target.place) {
            (RemoteGreeting::Ssh(met), Place::Ssh(there)) => met.enter(there).await.map(Link::Ssh),
            (RemoteGreeting::Docker(met), Place::Docker(there)) => met.enter(there).await.map(|container| {
                place.end.container = self.state.redact(&container.id);
                Link::Docker(container)
            }),
            _ => return Err(self.state.failure(&SessionError::NoTarget)),
        };
        let link = link.map_err(|error| self.state.failure(&SessionError::from(error)))?;
        Ok(Ok(Reached { link, place, rules, under }))
    }

    /// That policy permits a session there: the yes that it took, or how the answer stands. `consent` was there already.
    async fn permitted(
        self,
        facts: &Facts,
        place: &RemoteSite,
        consent: Consent,
        person: &mut Option<&mut AtTerminal<'_>>,
    ) -> Result<Result<Consent, Box<Unanswered>>, Failure> {
        let engine = self.state.settings.engine.now();
        let report = engine.judge(facts, &Act::OpenSession, false);
        let forbidden = || {
            let (_, policies) = engine.answer(facts, &Act::OpenSession);
            self.state.failure(&SessionError::TargetForbidden { policies })
        };
        match report.decision {
            Decision::Allow => return Ok(Ok(consent)),
            Decision::Deny => return Err(forbidden()),
            Decision::Ask => {}
        }
        let lifted = |people: &[Approval]| {
            engine.approve_act(facts, &Act::OpenSession, &report, people).decision == Decision::Allow
        };
        if !consent.people.is_empty() {
            return if lifted(&consent.people) { Ok(Ok(consent)) } else { Err(forbidden()) };
        }
        let explained = Explained::of(&report, &self.state.settings.redactor);
        if let Some(person) = person {
            let id = self.state.audit.request();
            // What was seen of it is what they say yes to.
            let RemoteInfo { host_key, by, image, .. } = &place.end;
            let seen = std::iter::once(host_key).chain(by).chain([image]).filter(|text| !text.is_empty());
            let words = std::iter::once(self.state.approval_requests().visit_in_words(place).to_string())
                .chain(seen.map(Redacted::to_string));
            let asked =
                Explained { command: self.state.redact(&words.collect::<Vec<_>>().join(" ")), ..explained.clone() };
            if let Some((approval, granted)) = person(&asked) {
                self.state.approvals().record_answer(id, &approval, granted, &report, &asked).await?;
                let consent = Consent { people: vec![approval], under: Some(id) };
                if granted {
                    return if lifted(&consent.people) { Ok(Ok(consent)) } else { Err(forbidden()) };
                }
            }
            let decision = explained.note(self.state.redact(&id.to_string()));
            let (anchor, standing) = (self.state.audit.head(), self.state.approval_requests().standing(Some(id)));
            return Ok(Err(Box::new(Unanswered { explained: asked, decision, anchor, standing })));
        }
        let visit = Visit { id: self.state.audit.request(), facts, place, report: &report, explained: &explained };
        if let Some((under, person)) = self.state.standing_approvals().yes_to_visit(&visit) {
            // Where it was given to this very visit, it is used up for that one.
            self.state.requests().withdraw(under);
            let consent = Consent { people: vec![person], under: Some(under) };
            return if lifted(&consent.people) { Ok(Ok(consent)) } else { Err(forbidden()) };
        }
        let (id, standing) = match self.state.approval_requests().register_visit(visit) {
            RequestStatus::Granted(id, people) => {
                let consent = Consent { people, under: Some(id) };
                return if lifted(&consent.people) { Ok(Ok(consent)) } else { Err(forbidden()) };
            }
            RequestStatus::Waits(id) => (id, self.state.approval_requests().standing(Some(id))),
            RequestStatus::Denied(id, no) => (id, self.state.approval_requests().denied(id, &no)),
            RequestStatus::Full => (self.state.audit.request(), self.state.approval_requests().standing(None)),
        };
        let decision = explained.note(self.state.redact(&id.to_string()));
        let anchor = self.state.audit.head();
        Ok(Err(Box::new(Unanswered { explained, decision, anchor, standing })))
    }

    /// Ends the sessions that a guard at a target holds, and their jobs: it has the policies from before, and its kernel rules too. Each
    /// can be had again, under those of now.
    pub(super) async fn end_guarded(self) -> Result<(), Failure> {
        let is_one = |job: &Job| job.elsewhere.as_ref().is_some_and(|there| there.1.session.guarded);
        self.state.job_registry.end_running_where(Cause::PolicyReload, is_one).await;
        let is_one = |session: &Session| session.place().is_some_and(|place| place.promise.guarded);
        for id in self.state.session_registry.end_where(ShellLoss::Outdated, is_one).await {
            let entry = record::closed(&id, POLICY_RELOAD);
            self.state.audit.append(entry).await.map_err(|error| self.state.failure(&error))?;
        }
        Ok(())
    }

    /// Whether a guard holds it to other policies than those of now.
    ///
    /// To be asked once a reload would find what it is about: one that came before has put its policies in force by then.
    pub(super) fn is_outdated(self, place: &RemoteSite) -> bool {
        place.held_to.as_ref().is_some_and(|held_to| held_to != self.state.settings.engine.now().policy_set())
    }

    /// Starts a shell for one command beside a session at a target.
    pub(super) async fn start_beside(
        self,
        id: &SessionId,
        (base, place): (Base, Arc<RemoteSite>),
        beginning: &ShellSnapshot,
        cwd: &AbsolutePath,
        terminal: Option<TerminalSize>,
        rules: u64,
    ) -> Result<Session, Failure> {
        let ledger = base.is_guarded().then(|| self.ledger(id));
        let shell = RemoteShell::once(base, beginning.state.as_ref(), cwd, terminal, ledger).await;
        let shell = shell.map_err(|error| self.state.failure(&error))?;
        Ok(Session::elsewhere(id.clone(), shell, place, rules))
    }

    /// Where a target is, as far as is known; before it was met it is taken for the one that the settings mean.
    fn site_of(self, target: &Target, met: Option<&RemoteGreeting>) -> RemoteSite {
        let user = target.user();
        let mut end = RemoteInfo {
            target: self.state.redact(&target.name),
            user: self.state.redact(user),
            ..RemoteInfo::default()
        };
        let over_ssh =
            |key_verified| Machine { user: user.to_owned(), key_verified, image: String::new(), privileged: true };
        let machine = match met {
            None => over_ssh(true),
            Some(RemoteGreeting::Ssh(met)) => {
                end.host_key = self.state.redact(&met.fingerprint);
                end.by = met.by().map(|host| self.state.redact(&host)).collect();
                over_ssh(met.known)
            }
            Some(RemoteGreeting::Docker(met)) => {
                end.image = self.state.redact(&met.image);
                let (image, privileged) = (met.image.clone(), met.privileged);
                Machine { user: user.to_owned(), key_verified: false, image, privileged }
            }
        };
        RemoteSite {
            name: target.name.clone(),
            transport: target.transport(),
            host: target.host(),
            machine,
            workspace: target.workspace.clone().unwrap_or_else(|| target.home.clone()),
            home: target.home.clone(),
            language: None,
            promise: match target.guard {
                Some(_) => Promise::at_target(&self.state.settings.engine.now(), &self.state.settings.accept),
                None => Promise::NOTHING,
            },
            held_to: None,
            temp: None,
            end,
        }
    }

    /// What the guard of a session at a target is told to hold; none if it is to have none.
    fn guard_at(self, id: &SessionId, target: &Target, place: &mut RemoteSite) -> Option<(guard::Terms, Ledger)> {
        let guard = target.guard.clone()?;
        let settings = &self.state.settings;
        let engine = settings.engine.now();
        place.held_to = Some(engine.policy_set().to_owned());
        let init = guard::Init {
            policies: engine.spec(),
            principal: settings.surroundings.principal.clone(),
            transport: place.transport,
            host: place.host.clone(),
            machine: place.machine.clone(),
            session: id.as_str().to_owned(),
            workspace: target.workspace.clone(),
            home: target.home.clone(),
            level: settings.level,
            limits: settings.limits,
            accept: settings.accept.clone(),
            passed: passed_names(&settings.environment),
            zone: settings.surroundings.zone.name().map(str::to_owned),
        };
        Some((guard::Terms { init, state: target.state.clone(), settings: guard }, self.ledger(id)))
    }

    /// Who hears of what is refused in a shell.
    fn ledger(self, id: &SessionId) -> Ledger {
        Ledger::new(id.as_str(), self.state.settings.redactor.keyed(id.as_str()), self.state.audit.clone())
    }

    /// What is known of a target once a shell runs there.
    fn settled_at(self, place: &mut RemoteSite, shell: &RemoteShell) {
        place.speaks(shell.language());
        if let Some(held) = shell.held() {
            place.held_by(held.outpost(), self.state.redact(held.outpost().digest()));
        }
    }

    pub(super) fn may_open(self, facts: &Facts) -> Result<(), Failure> {
        let (permitted, policies) = self.state.settings.engine.now().answer(facts, &Act::OpenSession);
        if permitted { Ok(()) } else { Err(self.state.failure(&SessionError::TargetForbidden { policies })) }
    }
}
