//! What there is to see, from records: sessions, what was done in them with its verdict and its end, and what is wrong.
//!
//! It reads nothing and draws nothing. What it holds is bounded, whatever the record holds: the oldest goes first. Texts are as
//! they stand on record; whoever shows them makes them harmless.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use palisade_runner::audit::{Followed, Notice, Record, Requester, Seen};
use serde::Serialize;

use super::act::{Act, ActKind, Answer, Outcome, Reason, Verdict, time, what_was_refused};

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
    sessions: BTreeMap<Arc<str>, Session>,
    servers: BTreeMap<Arc<str>, Server>,
    notices: VecDeque<Told>,
    totals: Totals,
    changed: Changed,
}

/// A session; under an empty name, all commands of a server that had a session of their own each.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Session {
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
}

/// A process that writes a chain.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Server {
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
pub(crate) struct Told {
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
    pub(crate) sessions: Vec<&'a Session>,
    pub(crate) notices: Vec<&'a Told>,
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
        self.notices.push_back(Told { id, text, alarm });
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
    pub(crate) fn sessions(&self) -> Vec<&Session> {
        let mut sessions: Vec<&Session> = self.sessions.values().collect();
        sessions.sort_by_key(|session| (session.ended.is_some(), std::cmp::Reverse(session.last)));
        sessions
    }

    pub(crate) fn session(&self, key: &str) -> Option<&Session> {
        self.sessions.get(key)
    }

    /// Oldest first.
    pub(crate) fn notices(&self) -> impl DoubleEndedIterator<Item = &Told> {
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
            "denial" => self.denial(seen),
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
        let first = act.outcome.replace(Outcome { text, fine, micros: record.dur_us, out, err, redactions }).is_none();
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
            Some(act) => act.answers.push(Answer { granted, by: by.clone() }),
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
        let key = known.filter(|key| self.sessions.contains_key(key)).unwrap_or_else(|| key(&seen.chain, ""));
        self.touch(&key, seen.at, |_| ());
        self.add(seen, kind, key, text)
    }

    fn add(&mut self, seen: &Seen, kind: ActKind, session: Arc<str>, text: Box<str>) -> u64 {
        let record = &seen.record;
        let id = self.next;
        self.next += 1;
        let who = record.who.clone().unwrap_or_else(|| self.asker(&session));
        let decision = record.decision.clone().unwrap_or_default();
        let reasons = decision.reasons.into_iter().map(|why| Reason {
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
        let key = key(&seen.chain, name);
        let who = record.who.clone().unwrap_or_default();
        let transport = record.transport.clone().unwrap_or_default();
        let transport = [Some(transport.kind), transport.target].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let held = record.sandbox.clone().unwrap_or_default();
        let begun = Session {
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
        };
        let session = self.sessions.entry(Arc::clone(&key)).or_insert(begun);
        (session.cwd, session.last) = (record.cwd.clone(), seen.at);
        self.changed.sessions.insert(Arc::clone(&key));
        if self.sessions.len() > SESSIONS {
            let oldest = self.sessions.values().min_by_key(|session| (session.ended.is_none(), session.last));
            if let Some(oldest) = oldest.map(|session| Arc::clone(&session.key)) {
                self.sessions.remove(&oldest);
            }
        }
        key
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
        for session in self.sessions.values_mut().filter(|session| session.chain == *chain && session.ended.is_none()) {
            (session.ended, session.running) = (Some(reason.clone()), 0);
            self.changed.sessions.insert(Arc::clone(&session.key));
        }
    }

    fn server(&mut self, chain: &Arc<str>) -> &mut Server {
        if self.servers.len() >= SESSIONS && !self.servers.contains_key(chain) {
            let old = self.servers.iter().find(|(_, server)| server.ended.is_some()).or(self.servers.iter().next());
            if let Some(old) = old.map(|(chain, _)| Arc::clone(chain)) {
                self.servers.remove(&old);
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

    fn touch(&mut self, key: &Arc<str>, at: Timestamp, change: impl FnOnce(&mut Session)) {
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
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::fs;

    use palisade_runner::audit::{Follower, From};
    use serde_json::{Value, json};
    use sha2::{Digest as _, Sha256};

    use super::*;

    const CHAIN: &str = "20261121T040000Z-7-5f3a9c01";

    /// These entries as a follower comes upon them in a chain of a file.
    fn followed(entries: &[Value]) -> Vec<Followed> {
        let home = tempfile::tempdir().unwrap();
        let mut prev = "0".repeat(64);
        let mut text = String::new();
        for (seq, entry) in (1..).zip(entries) {
            let mut record =
                json!({ "v": 1, "seq": seq, "ts": format!("2026-11-21T04:00:{:02}.000Z", seq % 60), "prev": prev });
            record.as_object_mut().unwrap().extend(entry.as_object().unwrap().clone());
            let line = format!("{record}\n");
            prev = Sha256::digest(line.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            text.push_str(&line);
        }
        fs::write(home.path().join(format!("{CHAIN}.jsonl")), text).unwrap();
        let mut follower = Follower::open(home.path(), From::Last(usize::MAX)).unwrap();
        std::iter::from_fn(|| Some(follower.news().unwrap()).filter(|found| !found.is_empty())).flatten().collect()
    }

    fn model(entries: &[Value]) -> Model {
        let mut model = Model::default();
        followed(entries).iter().for_each(|one| model.take(one));
        model
    }

    fn decision(number: u64, session: Option<&str>, effect: &str, script: &str) -> Value {
        let reasons =
            json!([{ "policy": "p2", "place": "a.cedar:7", "text": script, "reason": "No.", "suggest": "ls" }]);
        let reasons = if effect == "allow" { json!([]) } else { reasons };
        let mut record = json!({ "kind": "decision", "req": format!("5f3a9c01-{number}"), "cmd": script, "cwd": "/w", "inv": ["make"],
            "who": { "agent": "a", "user": "alice" }, "transport": { "kind": "local" }, "sandbox": { "level": "default", "layers": [] },
            "decision": { "effect": effect, "determining": ["p1"], "reasons": reasons, "us": 9 } });
        if let Some(session) = session {
            record["session"] = json!(session);
        }
        record
    }

    fn outcome(number: u64, exit: &Value) -> Value {
        json!({ "kind": "outcome", "req": format!("5f3a9c01-{number}"), "exit": exit, "dur_us": 1200,
                "out": { "bytes": 5, "omitted": 0 }, "redactions": { "token": 2 } })
    }

    /// What is shown of each act: its kind, its verdict, its text, and what came of it.
    fn told(model: &Model) -> Vec<String> {
        let one = |act: &Act| {
            let end = act.outcome.as_ref().map(|outcome| format!(" = {}", outcome.text)).unwrap_or_default();
            let answers: String = act
                .answers
                .iter()
                .map(|answer| format!(" {}{}", if answer.granted { '+' } else { '-' }, answer.by))
                .collect();
            let refused: String =
                act.refusals.iter().map(|refused| format!(" !{} by {}", refused.what, refused.policy)).collect();
            let used = if act.used { " used" } else { "" };
            format!(
                "{:?} {} {}{end}{answers}{used}{refused}",
                act.kind,
                act.verdict.map_or("-", Verdict::as_str),
                act.text
            )
        };
        model.acts().map(one).collect()
    }

    #[test]
    fn what_belongs_to_an_act_is_shown_with_it() {
        let mut used = decision(4, Some("s1"), "allow", "git push");
        used["under"] = json!("5f3a9c01-3");
        let model = model(&[
            json!({ "kind": "start", "verb": "serve", "pid": 7 }),
            json!({ "kind": "open", "session": "s1", "who": { "agent": "a", "user": "alice" }, "cwd": "/w" }),
            decision(1, Some("s1"), "allow", "make"),
            decision(2, None, "deny", "sudo ls"),
            json!({ "kind": "outcome", "req": "5f3a9c01-1", "exit": { "code": 2 }, "dur_us": 9, "denied_more": 3,
                    "denied": [{ "program": "/bin/x", "argv": ["x", "y"], "policy": "p3" }, { "peer": "h:443", "policy": "p4" }] }),
            decision(3, Some("s1"), "ask", "git push"),
            json!({ "kind": "approval", "of": "5f3a9c01-3", "granted": true, "by": "bob", "lifted": ["p2"] }),
            used,
            outcome(4, &json!({ "signal": 9 })),
            json!({ "kind": "input", "of": "5f3a9c01-4", "session": "s1", "effect": "deny", "determining": ["p5"], "cmd": "y\n" }),
            json!({ "kind": "signal", "of": "5f3a9c01-4", "session": "s1", "effect": "allow", "signal": "INT" }),
            json!({ "kind": "connect", "session": "other", "effect": "deny", "peer": "h:22" }),
            json!({ "kind": "denial", "session": "s1", "of": "5f3a9c01-4", "program": "/bin/z", "policy": "" }),
            json!({ "kind": "denial", "session": "s1", "program": "/bin/q", "policy": "p6" }),
            json!({ "kind": "kill", "what": "agent", "name": "a", "lifted": false, "by": "carol", "reason": "enough" }),
            json!({ "kind": "policy_reload", "refused": "it does not parse" }),
            json!({ "kind": "some_new_kind", "reason": "of later" }),
            json!({ "kind": "head" }),
            json!({ "kind": "close", "session": "s1", "reason": "asked" }),
        ]);
        let expected = [
            "Session - opened",
            "Command allow make = exit 2 !/bin/x: x y by p3 !connection to h:443 by p4",
            "Command deny sudo ls",
            "Command ask git push +bob used",
            "Command allow git push = signal 9 !/bin/z by ",
            "Input deny y\n",
            "Signal allow INT",
            "Connection deny h:22",
            "Refusal deny /bin/q",
            "Stop - stopped: agent a by carol: enough",
            "Policy - refused: it does not parse",
            "Other - some_new_kind of later",
            "Session - closed: asked",
        ];
        assert_eq!(told(&model), expected);
        let totals = Totals { records: 19, allowed: 2, asked: 1, denied: 1, refused: 7, redactions: 2, alarms: 0 };
        assert_eq!(model.totals(), totals);
        let act = model.acts().nth(2).unwrap();
        let reason = &act.reasons[0];
        assert_eq!((&*reason.place, &*reason.reason, &*reason.suggest), ("a.cedar:7", "No.", "ls"));
        assert_eq!(model.acts().nth(1).unwrap().strictest(), Some(Verdict::Deny));
        let sessions: Vec<_> = model
            .sessions()
            .iter()
            .map(|session| (&*session.name, session.ended.as_deref(), session.running))
            .collect();
        assert_eq!(sessions, [("", None, 0), ("s1", Some("asked"), 0)]);
    }

    #[test]
    fn a_server_that_ends_ends_its_sessions() {
        for last in [
            json!({ "kind": "stop", "reason": "shutdown" }),
            json!({ "kind": "recovered", "cause": "crash", "file": format!("{CHAIN}_00002.jsonl") }),
        ] {
            let model = model(&[json!({ "kind": "start" }), decision(1, Some("s1"), "allow", "sleep 9"), last]);
            assert_eq!((model.sessions()[0].ended.is_some(), model.sessions()[0].running, model.live()), (true, 0, 0));
        }
    }

    #[test]
    fn a_verdict_that_is_not_known_is_taken_for_a_no() {
        let model = model(&[decision(1, None, "perhaps", "x")]);
        assert_eq!((model.acts().next().unwrap().verdict, model.totals().denied), (Some(Verdict::Deny), 1));
    }

    #[test]
    fn what_is_held_does_not_grow_with_the_record() {
        let mut entries = vec![json!({ "kind": "start" })];
        for number in 0..6_000 {
            entries.push(decision(number, Some(&format!("s{number}")), "allow", "x"));
        }
        let model = model(&entries);
        assert_eq!((model.acts.len(), model.requests.len(), model.sessions.len()), (ACTS, ACTS, SESSIONS));
        assert_eq!(
            (model.all().first, model.act(999).is_some(), model.act(1_000).map(|act| act.id)),
            (1_000, false, Some(1_000))
        );
        assert_eq!(model.totals().allowed, 6_000);

        let long = "x".repeat(1 << 20);
        let entries: Vec<Value> = (0..50).map(|number| decision(number, None, "allow", &long)).collect();
        let model = self::model(&entries);
        assert!(model.bytes <= BYTES && model.acts.len() < 32, "{}", model.acts.len());
        assert_eq!(model.weights.iter().sum::<usize>(), model.bytes);
    }

    #[test]
    fn a_view_elsewhere_is_told_of_each_change_once() {
        let mut model = Model::default();
        let ids = |model: &Model| model.changes().acts.iter().map(|act| act.id).collect::<Vec<_>>();
        let mut steps = followed(&[
            decision(1, None, "allow", "a"),
            decision(2, None, "allow", "b"),
            outcome(1, &json!({ "code": 0 })),
        ]);
        let last = steps.pop().unwrap();
        steps.iter().for_each(|one| model.take(one));
        assert_eq!(ids(&model), [0, 1]);
        model.seen();
        assert!(ids(&model).is_empty());
        model.take(&last);
        assert_eq!(ids(&model), [0]);
        model.tell("look".to_owned(), true);
        assert_eq!((model.changes().notices.len(), model.totals().alarms), (1, 1));
        model.seen();
        assert!(model.changes().notices.is_empty());
        assert_eq!((model.all().acts.len(), model.all().notices.len()), (2, 1));
    }

    #[test]
    fn a_search_looks_at_all_that_is_shown() {
        let model = model(&[decision(1, Some("s1"), "deny", "Make All")]);
        let act = model.acts().next().unwrap();
        for (wanted, there) in
            [("make", true), ("alice", true), ("p1", true), ("no.", true), ("s1", true), ("other", false)]
        {
            assert_eq!(act.holds(wanted), there, "{wanted}");
        }
    }
}
