//! Executions that take a person's yes: what of one is asked, and what becomes of it while it waits.
//!
//! ```text
//! judge ─ Open, for each answer that a yes would lift ─▶ settle ─ Asking ─▶ Clerk (pipeline/executions.rs) ─▶ yes | no | it waits
//!                                                          ▲                                                      │
//!                                                          └── judged again, as it is then ◀── an answer ── look ─┘
//! ```
//!
//! Not decided here: who can be asked, and whose yes counts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_audit::RequestId;
use palisade_engine::{Act, Approval, Authority, Decision, Engine, Facts, Report};
use palisade_grammar::Inventory;
use palisade_sandbox::{Execution, Patience, Settled, WaitState};

use super::{ExecDenial, Guard, not_forbidden};

/// Something about an execution that a person's yes would lift.
#[derive(Debug)]
pub struct Open {
    what: What,
    /// What was answered.
    pub(crate) report: Report,
    /// What is told if nobody says yes.
    refused: ExecDenial,
    /// The step that it is about, by number.
    step: usize,
}

#[derive(Debug)]
enum What {
    /// The words of a program, and the variables that it gets.
    Words { inventory: Inventory, facts: Box<Facts>, acts: Vec<Act> },
    /// The same by another name of its, where only what forbids it counts.
    Name { inventory: Inventory, facts: Box<Facts> },
    /// A variable.
    Variable { facts: Box<Facts>, act: Act },
}

impl Open {
    /// What the question rests on.
    pub(crate) fn facts(&self) -> &Facts {
        match &self.what {
            What::Words { facts, .. } | What::Name { facts, .. } | What::Variable { facts, .. } => facts,
        }
    }

    /// The program's words, as they were read.
    pub(crate) fn inventory(&self) -> Option<&Inventory> {
        match &self.what {
            What::Words { inventory, .. } | What::Name { inventory, .. } => Some(inventory),
            What::Variable { .. } => None,
        }
    }

    /// Whether policy lets this person say yes to it.
    pub(crate) fn authority(&self, engine: &Engine, person: &Approval) -> Authority {
        match &self.what {
            What::Words { inventory, facts, acts } => {
                engine.may_approve_execution((inventory, facts, acts), &self.report, person)
            }
            What::Name { inventory, facts } => {
                engine.may_approve_execution((inventory, facts, &[]), &self.report, person)
            }
            What::Variable { facts, act } => engine.may_approve_act(facts, act, &self.report, person),
        }
    }

    /// What policy says to it with the yes of these people, if that is a no.
    pub(crate) fn lifted(&self, engine: &Engine, people: &[Approval]) -> Result<(), Box<Report>> {
        let (report, lifted) = match &self.what {
            What::Words { inventory, facts, acts } => {
                let report = engine.approve_execution((inventory, facts, acts), &self.report, people);
                let lifted = report.decision == Decision::Allow;
                (report, lifted)
            }
            What::Name { inventory, facts } => {
                let report = engine.approve_execution((inventory, facts, &[]), &self.report, people);
                let lifted = not_forbidden(&report).is_ok();
                (report, lifted)
            }
            What::Variable { facts, act } => {
                let report = engine.approve_act(facts, act, &self.report, people);
                let lifted = report.decision == Decision::Allow;
                (report, lifted)
            }
        };
        if lifted { Ok(()) } else { Err(Box::new(report)) }
    }
}

/// An execution that is put to a person.
#[derive(Debug)]
pub struct Asking<'a> {
    /// A script before its interpreter.
    pub(crate) steps: &'a [Execution],
    /// What a yes has to lift.
    pub(crate) open: &'a Arc<[Open]>,
    /// The programs above; none if the agent's script starts it.
    pub(crate) started_by: Option<BTreeSet<String>>,
    /// The variables that its parent has changed for it: name, value, setter.
    pub(crate) variables: Vec<(String, String, String)>,
    /// The decision that let its script run.
    pub(crate) of: Option<RequestId>,
    /// What it waits under already.
    pub(crate) waits: Option<RequestId>,
}

/// What becomes of it.
#[derive(Debug)]
pub enum Answered {
    /// It waits, under this id.
    Waits(RequestId),
    /// It has its yes, which is used up, and that is on record.
    Lifted,
    /// It is refused, for this reason besides that of policy.
    Refused(String),
}

/// Puts executions to people.
pub trait Clerk: Send + Sync + fmt::Debug {
    /// Takes the yes or the no to an execution, or has it wait for one.
    fn ask(&self, asking: Asking<'_>) -> Answered;

    /// Whether what waits under this id, by these policies, is to be judged again.
    fn is_over(&self, id: RequestId, policy_set: &str) -> bool;

    /// Nobody waits under this id any more.
    fn withdraw(&self, id: RequestId);

    /// How long an execution waits at most.
    fn patience(&self) -> Duration;
}

/// Why nobody is asked about an execution at a target.
const NOT_THERE: &str = "nobody can be asked about what a program starts at a target: name it in the command itself";

/// An execution that waits.
#[derive(Debug)]
pub(super) struct Held {
    id: RequestId,
    policy_set: String,
    since: Instant,
    /// What is told if nobody says yes in time, and about what.
    refused: ExecDenial,
    execution: Execution,
    script: Option<u64>,
}

/// Those of a shell.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    held: BTreeMap<u64, Held>,
    last: u64,
    /// The last executions that were not started after somebody was asked.
    refused: VecDeque<NotStarted>,
}

/// An execution that was not started after somebody was asked.
#[derive(Debug)]
struct NotStarted {
    thread: i32,
    words: Vec<Vec<u8>>,
    why: String,
    since: Instant,
}

/// Executions that are remembered as not started.
const MAX_NOT_STARTED: usize = 16;

/// How long they are: longer than a shell takes to try the directories of its search path.
const REMEMBERED: Duration = Duration::from_secs(5);

impl Waiting {
    /// Why the same words of the same thread were not started just now, if that is so.
    fn no_to(&self, execution: &Execution) -> Option<String> {
        let same = |refused: &&NotStarted| {
            refused.thread == execution.thread
                && refused.words == execution.argv
                && refused.since.elapsed() < REMEMBERED
        };
        self.refused.iter().find(same).map(|refused| refused.why.clone())
    }

    fn said_no(&mut self, execution: &Execution, why: &str) {
        if self.refused.len() >= MAX_NOT_STARTED {
            self.refused.pop_front();
        }
        let (thread, words) = (execution.thread, execution.argv.clone());
        self.refused.push_back(NotStarted { thread, words, why: why.to_owned(), since: Instant::now() });
    }
}

impl Guard {
    /// Takes note of something that a yes would lift.
    pub(super) fn open_words(
        &mut self,
        (inventory, facts, acts): (Inventory, Facts, Vec<Act>),
        (report, refused): (Report, ExecDenial),
    ) {
        self.open(What::Words { inventory, facts: Box::new(facts), acts }, report, refused);
    }

    /// The same of another name.
    pub(super) fn open_name(&mut self, (inventory, facts): (Inventory, Facts), report: Report) {
        let refused = ExecDenial::of(&report);
        self.open(What::Name { inventory, facts: Box::new(facts) }, report, refused);
    }

    /// The same of a variable.
    pub(super) fn open_variable(&mut self, (facts, act): (Facts, Act), report: Report) {
        let refused = ExecDenial::of(&report).about(&act);
        self.open(What::Variable { facts: Box::new(facts), act }, report, refused);
    }

    fn open(&mut self, what: What, report: Report, refused: ExecDenial) {
        let step = self.steps.len();
        self.open.push(Open { what, report, refused, step });
    }

    /// What becomes of steps of which each may be taken, with a yes where one is open.
    pub(super) fn settle_open(&mut self, steps: &[Execution], patience: Patience) -> Settled {
        let open: Arc<[Open]> = std::mem::take(&mut self.open).into();
        let before = match patience {
            Patience::Waited(ticket) => self.forget(ticket).map(|held| (ticket, held)),
            Patience::New | Patience::None => None,
        };
        let Some(first) = open.first() else {
            if let (Some((_, held)), Some(clerk)) = (before, &self.desk.clerk) {
                clerk.withdraw(held.id);
            }
            return Settled::Goes;
        };
        let refused = first.refused.clone();
        let Some(execution) = steps.get(first.step).or(steps.last()) else { return Settled::Refused };
        if patience == Patience::None {
            self.desk.refuse(execution, refused, self.script);
            return Settled::Refused;
        }
        let Some(clerk) = self.desk.clerk.clone() else {
            self.desk.refuse(
                execution,
                refused.though(&format!("A person could allow it, and {NOT_THERE}.")),
                self.script,
            );
            return Settled::Refused;
        };
        // A shell tries the same words with each directory of its search path: it has its answer.
        if let Some(why) = self.waiting.no_to(execution) {
            self.desk.refuse(execution, refused.though(&why), self.script);
            return Settled::Refused;
        }
        let first_step = self.steps.first();
        let answered = clerk.ask(Asking {
            steps,
            open: &open,
            started_by: first_step.and_then(|step| step.above.clone()),
            variables: std::mem::take(&mut self.told),
            of: self.script.and_then(|script| self.desk.decision(script)),
            waits: before.as_ref().map(|(_, held)| held.id),
        });
        match answered {
            Answered::Lifted => {
                for open in open.iter() {
                    if let Some(step) = self.steps.get_mut(open.step) {
                        step.approved = true;
                    }
                }
                // Only now it is one that may stand at the other end of a pipe.
                for step in &self.steps {
                    self.crowd.extend(&step.words, &step.groups);
                }
                Settled::Goes
            }
            Answered::Refused(why) => {
                self.waiting.said_no(execution, &why);
                self.desk.refuse(execution, refused.though(&why), self.script);
                Settled::Refused
            }
            Answered::Waits(id) => {
                let (ticket, since) = match before {
                    Some((ticket, held)) => (ticket, held.since),
                    None => {
                        self.waiting.last += 1;
                        (self.waiting.last, Instant::now())
                    }
                };
                let (execution, policy_set) = (execution.clone(), first.report.policy_set.clone());
                self.desk.waits(self.script, id, true);
                let held = Held { id, policy_set, since, refused, execution, script: self.script };
                self.waiting.held.insert(ticket, held);
                Settled::Waits(ticket)
            }
        }
    }

    /// How an execution stands that waits. One that has waited too long is refused.
    pub(super) fn look_at(&mut self, ticket: u64) -> WaitState {
        let (Some(held), Some(clerk)) = (self.waiting.held.get(&ticket), self.desk.clerk.clone()) else {
            return WaitState::Over;
        };
        let patience = clerk.patience();
        if held.since.elapsed() >= patience {
            if let Some(held) = self.forget(ticket) {
                clerk.withdraw(held.id);
                let why = format!("A person was asked, and nobody answered within {} s.", patience.as_secs());
                self.desk.refuse(&held.execution, held.refused.though(&why), held.script);
            }
            return WaitState::Over;
        }
        let other_policies = held.policy_set != self.desk.policies.now().policy_set();
        if other_policies || clerk.is_over(held.id, &held.policy_set) { WaitState::Again } else { WaitState::Waits }
    }

    /// Nobody waits under this ticket any more.
    pub(super) fn leave(&mut self, ticket: u64) {
        if let (Some(held), Some(clerk)) = (self.forget(ticket), &self.desk.clerk) {
            clerk.withdraw(held.id);
        }
    }

    fn forget(&mut self, ticket: u64) -> Option<Held> {
        let held = self.waiting.held.remove(&ticket)?;
        if !self.waiting.held.values().any(|other| other.id == held.id) {
            self.desk.waits(held.script, held.id, false);
        }
        Some(held)
    }
}

impl ExecDenial {
    /// The same, with what stood in the way of a yes.
    fn though(self, why: &str) -> Self {
        let reason = if self.reason.is_empty() { why.to_owned() } else { format!("{} {why}", self.reason) };
        Self { reason, ..self }
    }
}

/// What of a process's files is looked at as the process sees it.
pub(crate) fn root_of(execution: &Execution) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root", execution.thread))
}
