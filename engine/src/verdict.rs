//! Many answers to one verdict. Makes [`Grant`] and [`Denial`]; errors and opaque items deny.
//!
//! Decided here: which requests a script raises together, whether a person's yes lifts them, and what follows from all answers. Not decided
//! here: the answer to a single request (`answer`).

use std::collections::BTreeSet;

use cedar_policy::EvalResult;
use palisade_grammar::{Inventory, OpaqueReason, Span};

use crate::acts::{Act, Approval, FileAction, Oversight};
use crate::answer::{CedarAnswer, answer};
use crate::bound_request::BoundRequest;
use crate::bundle::Bundle;
use crate::decision_cache::DecisionCache;
use crate::explain;
use crate::facts::Facts;
use crate::obligation;
use crate::path::AbsolutePath;
use crate::questions;
use crate::report::{Decision, Judged, Reason, Report, Unread};
use crate::request::{PolicyContext, RequestBatch, RequestBuilder, RequestDraft};
use crate::standing_permits::{Given, MAKES_WHAT_IT_NAMES, Standing, StandingYes, Unfit};

/// Requests that one script may raise. 64 KiB of `a;` would raise 30,000, each of which costs a decision.
pub(crate) const MAX_REQUESTS: usize = 1_000;

/// The same for one program at its `execve`: `xargs` hands out some thousand names at a time.
const MAX_REQUESTS_AT_EXECVE: usize = 20_000;

/// Our answer to a whole script.
#[derive(Debug)]
pub enum Verdict {
    /// It may run.
    Allow(Grant),
    /// It may run once a person has said yes.
    Ask(ApprovalRequest),
    /// It may not run.
    Deny(Denial),
}

impl Verdict {
    /// What was asked and answered, whatever the answer.
    pub fn report(&self) -> &Report {
        match self {
            Self::Allow(grant) => &grant.report,
            Self::Ask(request) => &request.report,
            Self::Deny(denial) => &denial.report,
        }
    }

    /// What the script runs, whatever the answer.
    pub fn inventory(&self) -> &Inventory {
        match self {
            Self::Allow(grant) => &grant.inventory,
            Self::Ask(request) => &request.inventory,
            Self::Deny(denial) => &denial.inventory,
        }
    }
}

/// Proof that one script was allowed for one session. Only [`crate::Engine`] makes one, and running uses it up.
#[must_use = "a grant that is dropped allows nothing"]
#[derive(Debug)]
pub struct Grant {
    inventory: Inventory,
    facts: Box<Facts>,
    report: Report,
    approved: bool,
}

impl Grant {
    /// The session that the script was judged for; it must run in no other.
    pub fn session(&self) -> &str {
        &self.facts.session.id
    }

    /// What it was judged on.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the script runs, as far as its text tells.
    pub fn commands(&self) -> &[palisade_grammar::Command] {
        self.inventory.commands()
    }

    /// Whether it took a person's yes.
    pub fn is_approved(&self) -> bool {
        self.approved
    }

    /// Whether a person's yes has lifted a request about this command: to run it, or something that it touches.
    pub fn is_lifted(&self, command: &palisade_grammar::Command) -> bool {
        let span = command.span;
        // A wrapper and what it runs are two commands, of which one lies in the other.
        let is_about = |request: &Judged| match request.action {
            "exec" => request.span == span,
            _ => span.start <= request.span.start && request.span.end <= span.end,
        };
        self.report.requests.iter().any(|request| request.lifted && is_about(request))
    }

    /// What was asked and answered.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What the script runs.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// What the script leaves behind in its shell.
    pub fn leaves(&self) -> &palisade_grammar::Shell {
        self.inventory.leaves()
    }

    /// Whether the script may change something in the workspace: all do that are not known to leave it alone.
    pub fn may_change_workspace(&self) -> bool {
        obligation::may_change_workspace(&self.inventory, &self.facts)
    }

    /// Whether the script may leave its shell other than it was: its variables, functions, options or directory.
    pub fn changes_shell(&self) -> bool {
        self.inventory.changes_shell()
    }

    /// The programs that the script runs, and whether what each reads may be code to it. One that is not known has no
    /// name, and may.
    pub fn programs(&self) -> impl Iterator<Item = (&str, bool)> {
        self.inventory.programs()
    }

    /// Uses the proof up and hands out what it allows: exactly the text that was judged.
    pub fn spend(self) -> Vec<u8> {
        self.inventory.script().to_vec()
    }
}

/// A script that a person may allow: each of its denied requests would be allowed with `context.approved`.
#[derive(Clone, Debug)]
pub struct ApprovalRequest {
    inventory: Inventory,
    facts: Box<Facts>,
    report: Report,
}

impl ApprovalRequest {
    /// What was asked and answered.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The facts that the person is shown an answer to.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the script runs.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }
}

/// What policy says to something that a person wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// It may be done.
    pub allowed: bool,
    /// The policies that say so; none for a no if nothing permits it.
    pub policies: Vec<String>,
    /// Why not, in the policies' words or in ours; empty for a yes.
    pub why: String,
}

/// A script that may not run, and why.
#[derive(Debug)]
pub struct Denial {
    inventory: Inventory,
    report: Report,
}

impl Denial {
    /// What was asked and answered.
    pub fn report(&self) -> &Report {
        &self.report
    }
}

/// Asks everything about a script and makes the verdict. `cache`: what these very policies and groups have allowed.
pub(crate) fn decide(
    policies: PolicyContext<'_>,
    cache: Option<&DecisionCache>,
    inventory: Inventory,
    facts: &Facts,
) -> Verdict {
    let questions = questions::script(&inventory, facts);
    let mut report = match cache.and_then(|cache| cache.script(&questions, facts)) {
        Some(judged) => report(policies.bundle, &inventory, facts, judged, Vec::new()),
        None => {
            let builder = RequestBuilder::new(policies, facts);
            let drafts = builder.drafts(&questions);
            if drafts.len() > MAX_REQUESTS {
                let report = too_many(policies.bundle, &inventory, drafts.len());
                return Verdict::Deny(Denial { inventory, report });
            }
            let batch = builder.batch(drafts);
            let judged: Vec<_> =
                batch.drafts.iter().map(|draft| judge(policies.bundle, &builder, &batch, draft)).collect();
            if let Some(cache) = cache.filter(|_| strictest(&judged) == Decision::Allow) {
                cache.keep_script(&questions, facts, &judged);
            }
            let reasons = explain::reasons(policies.bundle, &builder, &batch, &judged);
            report(policies.bundle, &inventory, facts, judged, reasons)
        }
    };
    report.asked = Some(Box::new(questions.replay_input(facts, &[])));
    match report.decision {
        Decision::Allow => Verdict::Allow(Grant { inventory, facts: Box::new(facts.clone()), report, approved: false }),
        Decision::Ask => Verdict::Ask(ApprovalRequest { inventory, facts: Box::new(facts.clone()), report }),
        Decision::Deny => Verdict::Deny(Denial { inventory, report }),
    }
}

/// The report alone, with every request asked as approved where `approved`.
pub(crate) fn rehearse(policies: PolicyContext<'_>, inventory: Inventory, facts: &Facts, approved: bool) -> Report {
    if !approved {
        return decide(policies, None, inventory, facts).report().clone();
    }
    let builder = RequestBuilder::new(policies, facts);
    let drafts = builder.drafts(&questions::script(&inventory, facts));
    if drafts.len() > MAX_REQUESTS {
        return too_many(policies.bundle, &inventory, drafts.len());
    }
    let batch = builder.batch(drafts);
    let judged =
        batch.drafts.iter().map(|draft| judged(draft, answer(policies.bundle, builder.bind(&batch, draft, true))));
    let judged: Vec<_> = judged.collect();
    let reasons = explain::reasons(policies.bundle, &builder, &batch, &judged);
    report(policies.bundle, &inventory, facts, judged, reasons)
}

/// The report on executing a program with these words, in an environment that these acts have made.
pub(crate) fn execution(
    policies: PolicyContext<'_>,
    inventory: &Inventory,
    facts: &Facts,
    acts: &[Act],
    approved: bool,
) -> Report {
    let builder = RequestBuilder::new(policies, facts);
    let drafts = match drafts_at_execve(&builder, inventory, facts, acts) {
        Ok(drafts) => drafts,
        Err(count) => return too_many(policies.bundle, inventory, count),
    };
    let batch = builder.batch(drafts);
    let ask = |draft| match approved {
        false => judge(policies.bundle, &builder, &batch, draft),
        true => judged(draft, answer(policies.bundle, builder.bind(&batch, draft, true))),
    };
    let judged: Vec<_> = batch.drafts.iter().map(ask).collect();
    let reasons = explain::reasons(policies.bundle, &builder, &batch, &judged);
    report(policies.bundle, inventory, facts, judged, reasons)
}

/// The requests of an execution; their number if none or too many are raised.
fn drafts_at_execve(
    builder: &RequestBuilder<'_>,
    inventory: &Inventory,
    facts: &Facts,
    acts: &[Act],
) -> Result<Vec<RequestDraft>, usize> {
    let mut drafts = builder.drafts(&questions::execution(inventory, facts));
    if drafts.is_empty() || drafts.len() > MAX_REQUESTS_AT_EXECVE {
        return Err(drafts.len());
    }
    drafts.extend(acts.iter().map(|act| builder.act(act)));
    Ok(drafts)
}

/// As [`may_approve`], for an execution.
pub(crate) fn may_approve_execution(
    policies: PolicyContext<'_>,
    (inventory, facts, acts): (&Inventory, &Facts, &[Act]),
    shown: &Report,
    person: &Approval,
) -> Authority {
    let builder = RequestBuilder::new(policies, facts);
    let drafts = drafts_at_execve(&builder, inventory, facts, acts).unwrap_or_default();
    may_lift(policies.bundle, &builder, &drafts, shown, person)
}

/// As [`approve_act`], for an execution.
pub(crate) fn approve_execution(
    policies: PolicyContext<'_>,
    (inventory, facts, acts): (&Inventory, &Facts, &[Act]),
    shown: &Report,
    people: &[Approval],
) -> Report {
    let builder = RequestBuilder::new(policies, facts);
    let drafts = match drafts_at_execve(&builder, inventory, facts, acts) {
        Ok(drafts) => drafts,
        Err(count) => return too_many(policies.bundle, inventory, count),
    };
    let batch = builder.batch(drafts);
    let requests = batch.drafts.iter().zip(&shown.requests).map(|(draft, shown)| match shown.decision {
        Decision::Ask => lift(policies.bundle, &builder, &batch, draft, people),
        Decision::Allow | Decision::Deny => judge(policies.bundle, &builder, &batch, draft),
    });
    let requests: Vec<Judged> = requests.collect();
    let complete = requests.len() == batch.drafts.len() && requests.len() == shown.requests.len();
    let reasons = explain::reasons(policies.bundle, &builder, &batch, &requests);
    let mut report = report(policies.bundle, inventory, facts, requests, reasons);
    if !complete || report.decision != Decision::Allow {
        report.decision = Decision::Deny;
    }
    report
}

/// The report on something other than a script and on the files that it touches, asked as approved where `approved`.
pub(crate) fn rehearse_act(
    policies: PolicyContext<'_>,
    facts: &Facts,
    act: &Act,
    files: &[(FileAction, AbsolutePath)],
    approved: bool,
) -> Report {
    let builder = RequestBuilder::new(policies, facts);
    let batch = builder.batch(builder.act_on(act, files));
    let judge = |draft| match approved {
        false => judge(policies.bundle, &builder, &batch, draft),
        true => judged(draft, answer(policies.bundle, builder.bind(&batch, draft, true))),
    };
    let requests: Vec<Judged> = batch.drafts.iter().map(judge).collect();
    act_report(policies.bundle, &builder, &batch, act, requests)
}

/// Whether policy lets this person say yes to all that is shown as `ask`. The first no counts.
pub(crate) fn may_approve(policies: PolicyContext<'_>, request: &ApprovalRequest, person: &Approval) -> Authority {
    let builder = RequestBuilder::new(policies, &request.facts);
    let drafts = builder.drafts(&questions::script(&request.inventory, &request.facts));
    may_lift(policies.bundle, &builder, &drafts, &request.report, person)
}

/// As [`may_approve`], for an act.
pub(crate) fn may_approve_act(
    policies: PolicyContext<'_>,
    facts: &Facts,
    act: &Act,
    files: &[(FileAction, AbsolutePath)],
    shown: &Report,
    person: &Approval,
) -> Authority {
    let builder = RequestBuilder::new(policies, facts);
    may_lift(policies.bundle, &builder, &builder.act_on(act, files), shown, person)
}

/// See [`crate::Engine::standing`].
pub(crate) fn standing(
    policies: PolicyContext<'_>,
    request: &ApprovalRequest,
    person: &Approval,
    given: &Given<'_>,
) -> Result<StandingYes, Unfit> {
    let people = request.report.quorum();
    if people > 1 {
        return Err(Unfit::Quorum { people });
    }
    // Any part of the script runs with what the yes opens.
    if let Some(opaque) = request.report.opaque.first() {
        return Err(Unfit::Unclear { what: opaque.text.clone(), why: "it runs code that is not in its words" });
    }
    let all = bound(policies, request).ok_or(Unfit::Unsaid)?;
    if let Some((_, bound)) = all.iter().find(|(asked, bound)| may_run_own_code(*asked, bound)) {
        return Err(Unfit::Unclear {
            what: bound.text(),
            why: "it may run code that is not in its words, or copy what can change",
        });
    }
    if let Some(what) = is_told_by_variables(&all) {
        return Err(Unfit::Unclear {
            what,
            why: "a variable is set for it, which may make it run what is not in its words",
        });
    }
    let asked = only_asked(all).ok_or(Unfit::Unsaid)?;
    let made = StandingYes::of(&asked, person, given)?;
    // What does not cover the very thing that it was made of would be found out only when a person is asked again.
    if asked.iter().all(|bound| made.covers(bound)) { Ok(made) } else { Err(Unfit::Unsaid) }
}

/// See [`crate::Engine::standing_visit`].
pub(crate) fn standing_visit(
    policies: PolicyContext<'_>,
    facts: &Facts,
    report: &Report,
    person: &Approval,
    given: &Given<'_>,
) -> Result<StandingYes, Unfit> {
    let people = report.quorum();
    if people > 1 {
        return Err(Unfit::Quorum { people });
    }
    let bound = bound_visit(policies, facts).ok_or(Unfit::Unsaid)?;
    let made = StandingYes::of(std::slice::from_ref(&bound), person, given)?;
    if made.covers(&bound) { Ok(made) } else { Err(Unfit::Unsaid) }
}

/// See [`crate::Engine::stands_for_visit`].
pub(crate) fn stands_for_visit<'s>(
    policies: PolicyContext<'_>,
    facts: &Facts,
    report: &Report,
    standing: &'s Standing,
    call: &str,
) -> Vec<&'s StandingYes> {
    let same: Vec<&StandingYes> = standing.yeses().filter(|yes| yes.call == call).collect();
    if same.is_empty() || report.quorum() > 1 {
        return Vec::new();
    }
    let Some(bound) = bound_visit(policies, facts) else { return Vec::new() };
    same.into_iter().filter(|yes| yes.covers(&bound)).collect()
}

fn bound_visit(policies: PolicyContext<'_>, facts: &Facts) -> Option<BoundRequest> {
    let builder = RequestBuilder::new(policies, facts);
    builder.bind_alone(&builder.act(&Act::OpenSession), false).ok()
}

/// See [`crate::Engine::stands`].
pub(crate) fn stands<'s>(
    policies: PolicyContext<'_>,
    request: &ApprovalRequest,
    standing: &'s Standing,
    call: &str,
) -> Vec<&'s StandingYes> {
    let same: Vec<&StandingYes> = standing.yeses().filter(|yes| yes.call == call).collect();
    if same.is_empty() || request.report.quorum() > 1 || !request.report.opaque.is_empty() {
        return Vec::new();
    }
    let Some(all) = bound(policies, request) else { return Vec::new() };
    if all.iter().any(|(asked, bound)| may_run_own_code(*asked, bound)) || is_told_by_variables(&all).is_some() {
        return Vec::new();
    }
    let Some(asked) = only_asked(all) else { return Vec::new() };
    same.into_iter().filter(|yes| asked.iter().all(|bound| yes.covers(bound))).collect()
}

/// The requests of a question as they stand, and whether a yes would lift each. None if one of them cannot be said.
fn bound(policies: PolicyContext<'_>, request: &ApprovalRequest) -> Option<Vec<(bool, BoundRequest)>> {
    let builder = RequestBuilder::new(policies, &request.facts);
    let batch = builder.batch(builder.drafts(&questions::script(&request.inventory, &request.facts)));
    let shown = &request.report.requests;
    if batch.drafts.len() != shown.len() {
        return None;
    }
    let each = batch.drafts.iter().zip(shown);
    each.map(|(draft, shown)| Some((shown.decision == Decision::Ask, builder.bind(&batch, draft, false).ok()?)))
        .collect()
}

/// Those that a yes would lift; none if there are none.
fn only_asked(all: Vec<(bool, BoundRequest)>) -> Option<Vec<BoundRequest>> {
    let asked: Vec<BoundRequest> = all.into_iter().filter(|(asked, _)| *asked).map(|(_, bound)| bound).collect();
    Some(asked).filter(|asked| !asked.is_empty())
}

/// Whether a command may run what the agent has written, with all that a yes to the script opens: what builds, interprets or installs,
/// and, of commands that policy does not ask about, each that does more than read or make what its words name.
fn may_run_own_code(asked: bool, bound: &BoundRequest) -> bool {
    const RUNS: [&str; 3] = ["toolchain", "interpreter", "package-install"];
    bound.is_command()
        && !keeps_to_its_words(bound)
        && match asked {
            true => RUNS.iter().any(|group| bound.is_in_group(group)),
            false => !bound.is_builtin() && !bound.is_in_group("read-only"),
        }
}

/// Whether this is a program of the machine's own that runs no other program and makes what its words name, and nothing else.
fn keeps_to_its_words(bound: &BoundRequest) -> bool {
    let origin = bound.attribute("origin");
    let is_system = matches!(origin, Some(EvalResult::EntityUid(origin)) if origin.id().unescaped() == "system");
    is_system && MAKES_WHAT_IT_NAMES.iter().any(|program| bound.is_of(program))
}

/// A command that policy does not ask about, and for which a variable is set: the loader of any program runs what some variables name.
fn is_told_by_variables(all: &[(bool, BoundRequest)]) -> Option<String> {
    let mut beside = all
        .iter()
        .filter(|(asked, bound)| bound.is_command() && !bound.is_builtin() && (!asked || keeps_to_its_words(bound)));
    let (_, first) = beside.clone().next()?;
    if all.iter().any(|(_, bound)| bound.action().id().unescaped() == "setEnv") {
        return Some(first.text());
    }
    let has_none =
        |bound: &BoundRequest| matches!(bound.attribute("envNames"), Some(EvalResult::Set(names)) if names.is_empty());
    beside.find(|(_, bound)| !has_none(bound)).map(|(_, bound)| bound.text())
}

fn may_lift(
    bundle: &Bundle,
    builder: &RequestBuilder<'_>,
    drafts: &[RequestDraft],
    shown: &Report,
    person: &Approval,
) -> Authority {
    let nothing = || Authority { allowed: false, policies: Vec::new(), why: "nothing was asked".to_owned() };
    if drafts.len() != shown.requests.len() {
        return nothing();
    }
    let asked = drafts.iter().zip(&shown.requests).filter(|(_, shown)| shown.decision == Decision::Ask);
    let mut last = nothing();
    for (draft, _) in asked {
        last = authority(bundle, answer(bundle, builder.approval(draft, person)));
        if !last.allowed {
            return last;
        }
    }
    last
}

/// Whether policy lets a person look after an agent, or the record.
pub(crate) fn oversees(policies: PolicyContext<'_>, facts: &Facts, person: &Approval, what: &Oversight) -> Authority {
    let builder = RequestBuilder::new(policies, facts);
    authority(policies.bundle, answer(policies.bundle, builder.oversight(&person.user, &person.roles, what)))
}

/// The same as a report, for cases.
pub(crate) fn rehearse_oversight(
    policies: PolicyContext<'_>,
    facts: &Facts,
    person: &Approval,
    what: &Oversight,
) -> Report {
    let builder = RequestBuilder::new(policies, facts);
    let answer = answer(policies.bundle, builder.oversight(&person.user, &person.roles, what));
    let (action, resource) = (what.action(), facts.principal.agent.clone());
    let span = Span::new(0, 0);
    let reasons = answer.determining.iter().filter(|_| answer.decision != Decision::Allow).map(|id| {
        let note = policies.bundle.note(id);
        let (policy, text, suggest) = (id.clone(), action.to_owned(), note.suggest);
        Reason { policy, place: note.place, text, span, reason: note.reason, suggest, nearest: String::new() }
    });
    let reasons = reasons.collect();
    let CedarAnswer { decision, determining, errors } = answer;
    let (program, via, hard) = (String::new(), Vec::new(), Vec::new());
    let judged =
        Judged { action, resource, program, span, via, decision, determining, errors, hard, quorum: 1, lifted: false };
    Report {
        decision,
        command: action.to_owned(),
        policy_set: policies.bundle.fingerprint().to_owned(),
        requests: vec![judged],
        opaque: Vec::new(),
        reasons,
        checkpoint: Vec::new(),
        asked: None,
    }
}

/// The request behind that, for coverage.
pub(crate) fn trace_oversight(
    policies: PolicyContext<'_>,
    facts: &Facts,
    person: &Approval,
    what: &Oversight,
    mut seen: impl FnMut(&BoundRequest),
) {
    let builder = RequestBuilder::new(policies, facts);
    if let Ok(bound) = builder.oversight(&person.user, &person.roles, what) {
        seen(&bound);
    }
}

fn authority(bundle: &Bundle, answer: CedarAnswer) -> Authority {
    let allowed = answer.decision == Decision::Allow;
    let mut reasons: Vec<String> = answer.determining.iter().map(|id| bundle.note(id).reason).collect();
    reasons.retain(|reason| !reason.is_empty());
    let why = match (allowed, answer.errors.is_empty(), reasons.is_empty()) {
        (true, ..) => String::new(),
        (false, false, _) => format!("the decision could not be made: {}", answer.errors.join("; ")),
        (false, true, true) => "no policy permits it".to_owned(),
        (false, true, false) => reasons.join(" "),
    };
    // What permits stands in the way of nothing when an error denies.
    let policies = if answer.errors.is_empty() { answer.determining } else { Vec::new() };
    Authority { allowed, policies, why }
}

/// As [`approve`], for an act: what was shown as `ask` must be allowed with `context.approved`, and its lifting authorised.
/// Everything short of that is a denial.
pub(crate) fn approve_act(
    policies: PolicyContext<'_>,
    facts: &Facts,
    act: &Act,
    files: &[(FileAction, AbsolutePath)],
    shown: &Report,
    people: &[Approval],
) -> Report {
    let builder = RequestBuilder::new(policies, facts);
    let batch = builder.batch(builder.act_on(act, files));
    let requests = batch.drafts.iter().zip(&shown.requests).map(|(draft, shown)| match shown.decision {
        Decision::Ask => lift(policies.bundle, &builder, &batch, draft, people),
        Decision::Allow | Decision::Deny => judge(policies.bundle, &builder, &batch, draft),
    });
    let requests: Vec<Judged> = requests.collect();
    let complete = requests.len() == batch.drafts.len() && requests.len() == shown.requests.len();
    let mut report = act_report(policies.bundle, &builder, &batch, act, requests);
    if !complete || report.decision != Decision::Allow {
        report.decision = Decision::Deny;
    }
    report
}

fn act_report(
    bundle: &Bundle,
    builder: &RequestBuilder<'_>,
    batch: &RequestBatch,
    act: &Act,
    requests: Vec<Judged>,
) -> Report {
    Report {
        decision: strictest(&requests),
        command: act.text(),
        policy_set: bundle.fingerprint().to_owned(),
        opaque: Vec::new(),
        reasons: explain::reasons(bundle, builder, batch, &requests),
        requests,
        // A restore takes one by itself, and nothing else that is no script can be permitted so.
        checkpoint: Vec::new(),
        asked: None,
    }
}

/// Every request of a script, asked as it stands, as approved, and whether each approver may approve it: what coverage is
/// counted on.
pub(crate) fn trace(
    policies: PolicyContext<'_>,
    inventory: &Inventory,
    facts: &Facts,
    approvers: &[Approval],
    mut seen: impl FnMut(&BoundRequest),
) {
    let builder = RequestBuilder::new(policies, facts);
    let batch = builder.batch(builder.drafts(&questions::script(inventory, facts)));
    trace_batch(&builder, &batch, &mut seen);
    for approver in approvers {
        for draft in batch.drafts.iter().take(MAX_REQUESTS) {
            if let Ok(bound) = builder.approval(draft, approver) {
                seen(&bound);
            }
        }
    }
}

/// As [`trace`], for an act.
pub(crate) fn trace_act(policies: PolicyContext<'_>, facts: &Facts, act: &Act, mut seen: impl FnMut(&BoundRequest)) {
    let builder = RequestBuilder::new(policies, facts);
    trace_batch(&builder, &builder.batch(vec![builder.act(act)]), &mut seen);
}

fn trace_batch(builder: &RequestBuilder<'_>, batch: &RequestBatch, seen: &mut impl FnMut(&BoundRequest)) {
    for draft in batch.drafts.iter().take(MAX_REQUESTS) {
        for approved in [false, true] {
            if let Ok(bound) = builder.bind(batch, draft, approved) {
                seen(&bound);
            }
        }
    }
}

/// Lifts what people were shown: each request that was `ask` must be allowed with `context.approved`, and its lifting
/// authorised by `Action::"approve"` for as many of them as it takes. Requests that were not shown as `ask` are asked again
/// without approval.
pub(crate) fn approve(policies: PolicyContext<'_>, request: ApprovalRequest, people: &[Approval]) -> Verdict {
    let ApprovalRequest { inventory, facts, report: shown } = request;
    let builder = RequestBuilder::new(policies, &facts);
    let questions = questions::script(&inventory, &facts);
    let batch = builder.batch(builder.drafts(&questions));
    let judged: Vec<Judged> = batch
        .drafts
        .iter()
        .zip(&shown.requests)
        .map(|(draft, shown)| match shown.decision {
            Decision::Ask => lift(policies.bundle, &builder, &batch, draft, people),
            Decision::Allow | Decision::Deny => judge(policies.bundle, &builder, &batch, draft),
        })
        .collect();
    let complete = judged.len() == batch.drafts.len() && judged.len() == shown.requests.len();
    let reasons = explain::reasons(policies.bundle, &builder, &batch, &judged);
    let mut report = report(policies.bundle, &inventory, &facts, judged, reasons);
    report.asked = Some(Box::new(questions.replay_input(&facts, people)));
    if complete && report.decision == Decision::Allow {
        return Verdict::Allow(Grant { inventory, facts, report, approved: true });
    }
    report.decision = Decision::Deny;
    Verdict::Deny(Denial { inventory, report })
}

/// Denies a script that is too long to be judged, without judging any of it.
fn too_many(bundle: &Bundle, inventory: &Inventory, requests: usize) -> Report {
    let command = String::from_utf8_lossy(inventory.script()).into_owned();
    let reason = Reason {
        policy: String::new(),
        place: String::new(),
        text: "the whole script".to_owned(),
        span: Span::new(0, inventory.script().len()),
        reason: format!("It raises {requests} questions, and {MAX_REQUESTS} is the limit."),
        suggest: "Split it, or put it into a file in the workspace.".to_owned(),
        nearest: String::new(),
    };
    Report {
        decision: Decision::Deny,
        command,
        policy_set: bundle.fingerprint().to_owned(),
        requests: Vec::new(),
        opaque: Vec::new(),
        reasons: vec![reason],
        checkpoint: Vec::new(),
        asked: None,
    }
}

/// The answer to one act of the runner's own, which no approval can lift.
pub(crate) fn permits_act(
    policies: PolicyContext<'_>,
    cache: Option<&DecisionCache>,
    facts: &Facts,
    act: &Act,
) -> bool {
    if cache.is_some_and(|cache| cache.act(act, facts)) {
        return true;
    }
    let builder = RequestBuilder::new(policies, facts);
    let permitted = permits(policies.bundle, &builder, &builder.act(act));
    if let Some(cache) = cache.filter(|_| permitted) {
        cache.keep_act(act, facts);
    }
    permitted
}

/// The answer to one request of the runner's own, which no approval can lift.
pub(crate) fn permits(bundle: &Bundle, builder: &RequestBuilder<'_>, draft: &RequestDraft) -> bool {
    answer(bundle, builder.bind_alone(draft, false)).decision == Decision::Allow
}

/// The same with the policies that decided.
pub(crate) fn because(bundle: &Bundle, builder: &RequestBuilder<'_>, draft: &RequestDraft) -> (bool, Vec<String>) {
    let answer = answer(bundle, builder.bind_alone(draft, false));
    (answer.decision == Decision::Allow, answer.determining)
}

/// The policies that permit it, where it is allowed.
pub(crate) fn permitting(
    bundle: &Bundle,
    builder: &RequestBuilder<'_>,
    draft: &RequestDraft,
    approved: bool,
) -> Option<Vec<String>> {
    let answer = answer(bundle, builder.bind_alone(draft, approved));
    (answer.decision == Decision::Allow).then_some(answer.determining)
}

/// The answer to one request as it stands, and whether a person's yes would make it another.
pub(crate) fn judge(
    bundle: &Bundle,
    builder: &RequestBuilder<'_>,
    batch: &RequestBatch,
    draft: &RequestDraft,
) -> Judged {
    let now = answer(bundle, builder.bind(batch, draft, false));
    if now.decision == Decision::Allow {
        return judged(draft, now);
    }
    let approved = answer(bundle, builder.bind(batch, draft, true));
    if approved.decision == Decision::Allow && now.errors.is_empty() {
        let quorum = quorum(bundle, now.determining.iter().chain(&approved.determining));
        return Judged { quorum, ..judged(draft, CedarAnswer { decision: Decision::Ask, ..now }) };
    }
    Judged { hard: approved.determining, ..judged(draft, now) }
}

/// How many different people these policies ask for, together.
fn quorum<'p>(bundle: &Bundle, policies: impl Iterator<Item = &'p String>) -> usize {
    policies.map(|id| bundle.note(id).quorum).max().unwrap_or(1).max(1)
}

/// The answer to one request with the yes of these people.
pub(crate) fn lift(
    bundle: &Bundle,
    builder: &RequestBuilder<'_>,
    batch: &RequestBatch,
    draft: &RequestDraft,
    people: &[Approval],
) -> Judged {
    let now = answer(bundle, builder.bind(batch, draft, false));
    let approved = answer(bundle, builder.bind(batch, draft, true));
    let takes = quorum(bundle, now.determining.iter().chain(&approved.determining));
    let mut who = BTreeSet::new();
    for person in people {
        let authorised = answer(bundle, builder.approval(draft, person));
        if authorised.decision != Decision::Allow {
            return judged(draft, authorised);
        }
        who.insert(&person.user);
    }
    if who.len() < takes {
        return judged(draft, CedarAnswer { decision: Decision::Deny, ..now });
    }
    let lifted = approved.decision == Decision::Allow;
    Judged { lifted, ..judged(draft, approved) }
}

/// A script that raises no question is one that we did not understand.
pub(crate) fn strictest(requests: &[Judged]) -> Decision {
    requests.iter().map(|judged| judged.decision).max().unwrap_or(Decision::Deny)
}

fn judged(draft: &RequestDraft, answer: CedarAnswer) -> Judged {
    Judged {
        action: draft.action,
        resource: draft.resource.clone(),
        program: draft.program.clone(),
        span: draft.span,
        via: draft.via.clone(),
        decision: answer.decision,
        // What permits stands in the way of nothing when an error denies.
        determining: if answer.errors.is_empty() { answer.determining } else { Vec::new() },
        errors: answer.errors,
        hard: Vec::new(),
        quorum: 1,
        lifted: false,
    }
}

fn report(
    bundle: &Bundle,
    inventory: &Inventory,
    facts: &Facts,
    requests: Vec<Judged>,
    reasons: Vec<Reason>,
) -> Report {
    let written = |span: Span| {
        let bytes = inventory.script().get(span.start..span.end).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    };
    let opaque = inventory.opaque().iter().map(|opaque| Unread {
        reason: opaque.reason,
        span: opaque.span,
        text: written(opaque.span),
        detail: opaque.detail.clone(),
        files: Vec::new(),
    });
    let unknown = inventory.commands().iter().filter_map(|command| {
        let reason = questions::unknown(command, facts)?;
        let (span, files) = (command.program.span, command.invocation.project.clone());
        let detail = match (reason, files.as_slice()) {
            (OpaqueReason::ProjectCode, []) => {
                "this is code of the workspace, and no guard holds what it does".to_owned()
            }
            (OpaqueReason::ProjectCode, files) => {
                format!("`{}` runs code of the project: {} decides which", written(span), files.join(", "))
            }
            _ => {
                format!("no reviewed table says what `{}` does with these words, and no guard holds it", written(span))
            }
        };
        Some(Unread { reason, span, text: written(span), detail, files })
    });
    Report {
        decision: strictest(&requests),
        command: String::from_utf8_lossy(inventory.script()).into_owned(),
        policy_set: bundle.fingerprint().to_owned(),
        opaque: opaque.chain(unknown).collect(),
        reasons,
        checkpoint: obligation::checkpoint(bundle, inventory, facts, &requests),
        requests,
        asked: None,
    }
}
