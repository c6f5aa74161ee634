//! What there is to see, from records: sessions, what was done in them with its verdict and its end, and what is wrong.
//!
//! It reads nothing and draws nothing. What it holds is bounded, whatever the record holds: the oldest goes first. Texts are as
//! they stand on record; whoever shows them makes them harmless.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use palisade_audit::{Followed, Notice, PolicyQuestions, Record, Requester, Seen};
use serde::Serialize;

use super::act::{Act, ActKind, ActOutcome, ActReason, PersonAnswer, Verdict, time, what_was_refused};

/// Acts that are kept.
const ACTS: usize = 5_000;

/// Bytes of records whose acts are kept.
const BYTES: usize = 32 << 20;

/// Sessions and servers that are kept, each.
const SESSIONS: usize = 1_000;

/// Notices that are kept.
const NOTICES: usize = 100;

/// In place of a script of which the record has the hash alone.
const NOT_ON_RECORD: &str = "(its text is not on record)";

/// Everything that is shown.
#[derive(Debug, Default)]
pub(crate) struct Model {
    acts: VecDeque<Act>,
    weights: VecDeque<usize>,
    bytes: usize,
    next: u64,
    /// The act of each decision, by its id.
    requests: HashMap<Box<str>, u64>,
    sessions: BTreeMap<Arc<str>, SessionRow>,
    /// Where the single commands of a chain stand.
    single: BTreeMap<Arc<str>, Arc<str>>,
    servers: BTreeMap<Arc<str>, ServerRow>,
    notices: VecDeque<WatchNotice>,
    totals: Totals,
    changed: Changed,
}

/// A session; under an empty name, the commands of one agent and one hour that had a shell of their own each, from whatever servers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SessionRow {
    pub(crate) key: Arc<str>,
    pub(crate) chain: Arc<str>,
    pub(crate) name: Box<str>,
    pub(crate) agent: Box<str>,
    pub(crate) user: Box<str>,
    pub(crate) transport: String,
    pub(crate) level: Box<str>,
    pub(crate) cwd: Box<str>,
    #[serde(serialize_with = "time")]
    pub(crate) since: Timestamp,
    #[serde(serialize_with = "time")]
    pub(crate) last: Timestamp,
    pub(crate) allowed: u64,
    pub(crate) asked: u64,
    pub(crate) denied: u64,
    /// Commands that were allowed and have not ended.
    pub(crate) running: u64,
    /// Why it is over; `None`: it is not.
    pub(crate) ended: Option<Box<str>>,
    /// The chains that more may come from, where it is single commands.
    #[serde(skip)]
    chains: BTreeSet<Arc<str>>,
}

/// A process that writes a chain.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ServerRow {
    pub(crate) verb: Box<str>,
    pub(crate) pid: u32,
    pub(crate) ended: Option<Box<str>>,
    /// The last record.
    pub(crate) seq: u64,
    /// What its file holds is not what was written.
    pub(crate) broken: bool,
}

/// Something that is not as it has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct WatchNotice {
    /// Counts from 1.
    pub(crate) id: u64,
    pub(crate) text: String,
    pub(crate) alarm: bool,
}

/// Counts since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    pub(crate) records: u64,
    pub(crate) allowed: u64,
    pub(crate) asked: u64,
    pub(crate) denied: u64,
    /// Programs and connections.
    pub(crate) refused: u64,
    pub(crate) redactions: u64,
    pub(crate) alarms: u64,
}

/// What is another than it was.
#[derive(Debug, Default)]
struct Changed {
    acts: BTreeSet<u64>,
    sessions: BTreeSet<Arc<str>>,
    notices: usize,
}

/// Everything that changed, or all there is: what a view that lives elsewhere is told.
#[derive(Debug, Serialize)]
pub(crate) struct Changes<'a> {
    /// Acts below this number are not kept any more.
    pub(crate) first: u64,
    pub(crate) acts: Vec<&'a Act>,
    pub(crate) sessions: Vec<&'a SessionRow>,
    pub(crate) notices: Vec<&'a WatchNotice>,
    pub(crate) totals: Totals,
    pub(crate) servers: usize,
}

impl Model {
    /// Takes in what following came upon.
    pub(crate) fn take(&mut self, followed: &Followed) {
        match followed {
            Followed::Record(seen) => self.record(seen),
            Followed::Notice(notice) => self.notice(notice),
        }
    }

    /// Something that no record says.
    pub(crate) fn tell(&mut self, text: String, alarm: bool) {
        self.totals.alarms += u64::from(alarm);
        let id = self.notices.back().map_or(0, |last| last.id) + 1;
        self.notices.push_back(WatchNotice { id, text, alarm });
        self.changed.notices += 1;
        if self.notices.len() > NOTICES {
            self.notices.pop_front();
        }
    }

    pub(crate) fn acts(&self) -> impl DoubleEndedIterator<Item = &Act> {
        self.acts.iter()
    }

    pub(crate) fn act(&self, id: u64) -> Option<&Act> {
        self.acts.get(self.place(id)?)
    }

    /// Living ones first, each with the newest on top.
    pub(crate) fn sessions(&self) -> Vec<&SessionRow> {
        let mut sessions: Vec<&SessionRow> = self.sessions.values().collect();
        sessions.sort_by_key(|session| (session.ended.is_some(), std::cmp::Reverse(session.last)));
        sessions
    }

    pub(crate) fn session(&self, key: &str) -> Option<&SessionRow> {
        self.sessions.get(key)
    }

    /// Oldest first.
    pub(crate) fn notices(&self) -> impl DoubleEndedIterator<Item = &WatchNotice> {
        self.notices.iter()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// How many servers have not ended.
    pub(crate) fn live(&self) -> usize {
        self.servers.values().filter(|server| server.ended.is_none()).count()
    }

    /// All there is.
    pub(crate) fn all(&self) -> Changes<'_> {
        Changes {
            acts: self.acts.iter().collect(),
            sessions: self.sessions(),
            notices: self.notices().collect(),
            ..self.none()
        }
    }

    /// What changed since [`Model::seen`] was called last.
    pub(crate) fn changes(&self) -> Changes<'_> {
        Changes {
            acts: self.changed.acts.iter().filter_map(|id| self.act(*id)).collect(),
            sessions: self.changed.sessions.iter().filter_map(|key| self.sessions.get(key)).collect(),
            notices: self.notices.iter().skip(self.notices.len().saturating_sub(self.changed.notices)).collect(),
            ..self.none()
        }
    }

    /// Whoever looks has seen what there is.
    pub(crate) fn seen(&mut self) {
        self.changed = Changed::default();
    }

    fn none(&self) -> Changes<'_> {
        let first = self.acts.front().map_or(self.next, |act| act.id);
        let (acts, sessions, notices) = (Vec::new(), Vec::new(), Vec::new());
        Changes { first, acts, sessions, notices, totals: self.totals, servers: self.live() }
    }

    fn place(&self, id: u64) -> Option<usize> {
        usize::try_from(id.checked_sub(self.acts.front()?.id)?).ok()
    }

    fn notice(&mut self, notice: &Notice) {
        let alarm = notice.what.is_alarm();
        self.server(&notice.chain).broken |= alarm;
        self.tell(notice.to_string(), alarm);
    }

    fn record(&mut self, seen: &Seen) {
        self.totals.records += 1;
        self.server(&seen.chain).seq = seen.anchor.seq;
        let record = &seen.record;
        match &*record.kind {
            "start" => {
                let server = self.server(&seen.chain);
                (server.verb, server.pid) = (record.verb.clone(), record.pid);
            }
            "stop" => self.ended(&seen.chain, record.reason.clone().unwrap_or_default()),
            "open" => {
                let key = self.opened(seen, record.session.as_deref().unwrap_or_default());
                self.add(seen, ActKind::Session, key, "opened".into());
            }
            "close" => self.closed(seen),
            "decision" => self.decision(seen),
            "outcome" => self.outcome(seen),
            "approval" => self.approval(seen),
            "kill" => {
                let Record { what, name, by, lifted, .. } = record;
                let did = if *lifted == true { "let in again" } else { "stopped" };
                let words = record.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
                self.beside(seen, ActKind::Stop, format!("{did}: {what} {name} by {by}{words}").into());
            }
            "unlearn" => {
                let text = format!("learned values dropped by {}", record.by);
                self.beside(seen, ActKind::Other, text.into());
            }
            "denial" => self.denial(seen),
            "execution" => {
                let Record { program, argv, peer, .. } = record;
                let text = what_was_refused(program, argv, peer);
                self.beside(seen, ActKind::Other, format!("starts: {text}").into());
            }
            "input" => {
                let text = record.cmd.as_deref().unwrap_or(NOT_ON_RECORD);
                let text = if record.eof && text.is_empty() { "(end of input)" } else { text };
                self.beside(seen, ActKind::Input, text.into());
            }
            "signal" => {
                self.beside(seen, ActKind::Signal, record.signal.clone());
            }
            "connect" => {
                self.beside(seen, ActKind::Connection, record.peer.clone());
            }
            "policy_reload" => {
                let refused = record.refused.as_ref().and_then(|refused| refused.as_str());
                let text = refused.map_or_else(|| "other policies decide".to_owned(), |why| format!("refused: {why}"));
                self.beside(seen, ActKind::Policy, text.into());
            }
            "recovered" if &*record.cause == "crash" => {
                let chain = record.file.strip_suffix(".jsonl").unwrap_or(&record.file);
                let chain = chain.rsplit_once('_').map_or(chain, |(chain, _)| chain);
                self.ended(&chain.into(), "crash".into());
                self.tell(format!("{}: its writer ended without a word", record.file), false);
            }
            "recovered" => {
                let refused = record.refused.as_ref().and_then(serde_json::Value::as_u64).unwrap_or_default();
                self.tell(
                    format!("{refused} records could not be written for a time, and nothing ran ({})", record.cause),
                    true,
                );
            }
            // What the handle writes by itself says nothing that anybody did.
            "head" | "rotate" | "prune" => {}
            _ => {
                let text = format!("{} {}", record.kind, record.reason.as_deref().unwrap_or_default());
                self.beside(seen, ActKind::Other, text.trim_end().into());
            }
        }
    }

    fn decision(&mut self, seen: &Seen) {
        let record = &seen.record;
        let key = self.opened(seen, record.session.as_deref().unwrap_or_default());
        let text = record.cmd.as_deref().unwrap_or(NOT_ON_RECORD).into();
        let id = self.add(seen, ActKind::Command, Arc::clone(&key), text);
        let verdict = Verdict::of(record.effect().unwrap_or_default());
        match verdict {
            Verdict::Allow => self.totals.allowed += 1,
            Verdict::Ask => self.totals.asked += 1,
            Verdict::Deny => self.totals.denied += 1,
        }
        if let Some(session) = self.sessions.get_mut(&key) {
            match verdict {
                Verdict::Allow => (session.allowed, session.running) = (session.allowed + 1, session.running + 1),
                Verdict::Ask => session.asked += 1,
                Verdict::Deny => session.denied += 1,
            }
        }
        // The request that was granted is over: this is what became of it.
        if let Some(act) = self.of(record.under.as_deref()) {
            act.used = true;
        }
        if let Some(request) = &record.req {
            self.requests.insert(request.clone(), id);
        }
    }

    fn outcome(&mut self, seen: &Seen) {
        let record = &seen.record;
        let redactions: u64 = record.redactions.values().sum();
        self.totals.redactions += redactions;
        self.totals.refused += record.denied.len() as u64 + record.denied_more;
        let Some(act) = self.of(record.req.as_deref()) else { return };
        let text = record.exit.as_ref().map(ToString::to_string).unwrap_or_default();
        let fine = text == "exit 0";
        let (out, err) = (record.out.unwrap_or_default().bytes, record.err.unwrap_or_default().bytes);
        let first =
            act.outcome.replace(ActOutcome { text, fine, micros: record.dur_us, out, err, redactions }).is_none();
        for refused in &record.denied {
            act.refuse(&refused.program, &refused.argv, &refused.peer, &refused.policy);
        }
        act.refused_more += record.denied_more;
        let key = Arc::clone(&act.session);
        self.touch(&key, seen.at, |session| session.running = session.running.saturating_sub(u64::from(first)));
    }

    fn approval(&mut self, seen: &Seen) {
        let Record { of, granted, by, .. } = &seen.record;
        let granted = *granted == Some(true);
        match self.of(of.as_deref()) {
            Some(act) => act.answers.push(PersonAnswer { granted, by: by.clone() }),
            None => {
                let text = if granted { "granted by" } else { "refused by" };
                self.beside(seen, ActKind::Other, format!("an approval, {text} {by}").into());
            }
        }
    }

    fn denial(&mut self, seen: &Seen) {
        let Record { of, program, argv, peer, policy, more, .. } = &seen.record;
        self.totals.refused += 1;
        if let Some(act) = self.of(of.as_deref()) {
            act.refuse(program, argv, peer, policy);
            act.refused_more = act.refused_more.max(*more);
            return;
        }
        let text = what_was_refused(program, argv, peer);
        let id = self.beside(seen, ActKind::Refusal, text.into());
        let place = self.place(id);
        if let Some(act) = place.and_then(|place| self.acts.get_mut(place)) {
            act.verdict = Some(Verdict::Deny);
            act.policies = vec![policy.clone()];
        }
    }

    /// An act of a session that some record before has told of, or of none.
    fn beside(&mut self, seen: &Seen, kind: ActKind, text: Box<str>) -> u64 {
        let record = &seen.record;
        let known = record.session.as_deref().map(|name| key(&seen.chain, name));
        let known = known.filter(|key| self.sessions.contains_key(key));
        let key =
            known.unwrap_or_else(|| self.single.get(&seen.chain).cloned().unwrap_or_else(|| key(&seen.chain, "")));
        self.touch(&key, seen.at, |_| ());
        self.add(seen, kind, key, text)
    }

    fn add(&mut self, seen: &Seen, kind: ActKind, session: Arc<str>, text: Box<str>) -> u64 {
        let record = &seen.record;
        let id = self.next;
        self.next += 1;
        let who = record.who.clone().unwrap_or_else(|| self.asker(&session));
        let decision = record.decision.clone().unwrap_or_default();
        let reasons = decision.reasons.into_iter().map(|why| ActReason {
            policy: why.policy,
            place: why.place,
            text: why.text,
            reason: why.reason,
            suggest: why.suggest,
        });
        let mut policies = decision.determining;
        policies.extend(record.determining.iter().cloned());
        self.acts.push_back(Act {
            id,
            kind,
            chain: Arc::clone(&seen.chain),
            seq: seen.anchor.seq,
            at: seen.at,
            session,
            agent: who.agent,
            user: who.user,
            verdict: record.effect().map(Verdict::of),
            text,
            cwd: record.cwd.clone(),
            words: record.reason.clone().filter(|_| kind == ActKind::Command).unwrap_or_default(),
            request: record.req.clone().unwrap_or_default(),
            programs: record.inv.clone(),
            effects: record
                .asked
                .iter()
                .flat_map(PolicyQuestions::elsewhere)
                .map(|does| does.to_string().into())
                .collect(),
            policies,
            reasons: reasons.collect(),
            opaque: record.opaque.clone(),
            errors: decision.errors,
            answers: Vec::new(),
            used: false,
            outcome: None,
            refusals: Vec::new(),
            refused_more: 0,
        });
        self.weights.push_back(seen.line.len());
        self.bytes += seen.line.len();
        self.changed.acts.insert(id);
        while self.acts.len() > ACTS || (self.bytes > BYTES && self.acts.len() > 1) {
            self.forget();
        }
        id
    }

    /// The oldest act goes.
    fn forget(&mut self) {
        let (Some(act), Some(weight)) = (self.acts.pop_front(), self.weights.pop_front()) else { return };
        self.bytes = self.bytes.saturating_sub(weight);
        self.changed.acts.remove(&act.id);
        if self.requests.get(&act.request) == Some(&act.id) {
            self.requests.remove(&act.request);
        }
    }

    /// The act of a decision, which is about to change.
    fn of(&mut self, request: Option<&str>) -> Option<&mut Act> {
        let id = *self.requests.get(request?)?;
        self.changed.acts.insert(id);
        let place = self.place(id)?;
        self.acts.get_mut(place)
    }

    /// The session of a record that says who asked.
    fn opened(&mut self, seen: &Seen, name: &str) -> Arc<str> {
        let record = &seen.record;
        let who = record.who.clone().unwrap_or_default();
        let key = match name {
            "" => self.alone(seen, &who),
            name => key(&seen.chain, name),
        };
        let transport = record.transport.clone().unwrap_or_default();
        let transport = [Some(transport.kind), transport.target].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let held = record.sandbox.clone().unwrap_or_default();
        let begun = SessionRow {
            key: Arc::clone(&key),
            chain: Arc::clone(&seen.chain),
            name: name.into(),
            agent: who.agent,
            user: who.user,
            transport,
            level: held.level,
            cwd: record.cwd.clone(),
            since: seen.at,
            last: seen.at,
            allowed: 0,
            asked: 0,
            denied: 0,
            running: 0,
            ended: None,
            chains: BTreeSet::new(),
        };
        let session = self.sessions.entry(Arc::clone(&key)).or_insert(begun);
        (session.cwd, session.last) = (record.cwd.clone(), seen.at);
        if name.is_empty() {
            session.chains.insert(Arc::clone(&seen.chain));
            session.ended = None;
        }
        self.changed.sessions.insert(Arc::clone(&key));
        if self.sessions.len() > SESSIONS {
            let oldest = self.sessions.values().min_by_key(|session| (session.ended.is_none(), session.last));
            if let Some(oldest) = oldest.map(|session| Arc::clone(&session.key)) {
                self.sessions.remove(&oldest);
            }
        }
        key
    }

    /// Where the single commands of this agent and this hour stand. What its chain had before this hour gets no more.
    fn alone(&mut self, seen: &Seen, who: &Requester) -> Arc<str> {
        let hour = seen.at.as_second().div_euclid(3_600);
        let key: Arc<str> = format!("{hour}/{}/{}", who.agent, who.user).into();
        let before = self.single.insert(Arc::clone(&seen.chain), Arc::clone(&key));
        if let Some(before) = before.filter(|before| *before != key) {
            self.no_more(&before, &seen.chain, "its hour is over");
        }
        key
    }

    /// From this chain no single command will come any more.
    fn no_more(&mut self, key: &Arc<str>, chain: &Arc<str>, reason: &str) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.chains.remove(chain);
        if session.chains.is_empty() {
            (session.ended, session.running) = (Some(reason.into()), 0);
        }
        self.changed.sessions.insert(Arc::clone(key));
    }

    fn closed(&mut self, seen: &Seen) {
        let reason = seen.record.reason.clone().unwrap_or_default();
        let key = key(&seen.chain, seen.record.session.as_deref().unwrap_or_default());
        if self.sessions.contains_key(&key) {
            self.touch(&key, seen.at, |session| (session.ended, session.running) = (Some(reason.clone()), 0));
            self.add(seen, ActKind::Session, key, format!("closed: {reason}").into());
        }
    }

    /// A server is no more, and nothing of it either.
    fn ended(&mut self, chain: &Arc<str>, reason: Box<str>) {
        self.server(chain).ended = Some(reason.clone());
        if let Some(single) = self.single.remove(chain) {
            self.no_more(&single, chain, &reason);
        }
        let of_chain =
            |session: &&mut SessionRow| session.chain == *chain && !session.name.is_empty() && session.ended.is_none();
        for session in self.sessions.values_mut().filter(of_chain) {
            (session.ended, session.running) = (Some(reason.clone()), 0);
            self.changed.sessions.insert(Arc::clone(&session.key));
        }
    }

    fn server(&mut self, chain: &Arc<str>) -> &mut ServerRow {
        if self.servers.len() >= SESSIONS && !self.servers.contains_key(chain) {
            let old = self.servers.iter().find(|(_, server)| server.ended.is_some()).or(self.servers.iter().next());
            if let Some(old) = old.map(|(chain, _)| Arc::clone(chain)) {
                self.servers.remove(&old);
                self.single.remove(&old);
            }
        }
        self.servers.entry(Arc::clone(chain)).or_default()
    }

    fn asker(&self, key: &str) -> Requester {
        let session = self.sessions.get(key);
        session.map_or_else(Requester::default, |session| Requester {
            agent: session.agent.clone(),
            user: session.user.clone(),
            ..Requester::default()
        })
    }

    fn touch(&mut self, key: &Arc<str>, at: Timestamp, change: impl FnOnce(&mut SessionRow)) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.last = at;
            change(session);
            self.changed.sessions.insert(Arc::clone(key));
        }
    }
}

/// How one finds a session: names are of one chain.
fn key(chain: &str, name: &str) -> Arc<str> {
    format!("{chain}/{name}").into()
}

#[cfg(test)]
pub(super) mod tests;
