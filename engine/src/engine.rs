//! The front door: an [`Engine`] holds the policies and the groups that they name, and answers everything that other crates ask.
//!
//! Decides nothing itself: each method hands its question to the module that does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use palisade_grammar::Inventory;

use crate::acts::{Act, Approval, FileAction, Oversight};
use crate::bundle::Bundle;
use crate::decision_cache::{DecisionCache, RequestCache};
use crate::facts::Facts;
use crate::kernel_coverage::Unheld;
use crate::path::AbsolutePath;
use crate::peers::Connection;
use crate::replay::{Again, Groups};
use crate::replay_input::ReplayInput;
use crate::report::Report;
use crate::request::{PolicyContext, RequestBuilder};
use crate::standing_permits::{Given, Standing, StandingYes, Unfit};
use crate::verdict::{ApprovalRequest, Authority, Verdict};
use crate::visible_policies::VisiblePolicy;
use crate::vocabulary::Vocabulary;
use crate::{kernel_coverage, peers, replay, separate_shell, verdict, visible_policies};

/// Decides scripts: a validated set of policies, and the groups that they name.
#[derive(Debug)]
pub struct Engine {
    pub(crate) bundle: Bundle,
    pub(crate) vocabulary: Vocabulary,
    /// See [`Self::beyond_places`]; asked for with every script.
    unheld: OnceLock<Vec<Unheld>>,
    request_cache: RequestCache,
    pub(crate) decision_cache: DecisionCache,
}

impl Engine {
    /// An engine that decides with these policies and groups.
    pub fn new(bundle: Bundle, vocabulary: Vocabulary) -> Self {
        Self {
            bundle: bundle.counting(&vocabulary),
            vocabulary,
            unheld: OnceLock::new(),
            request_cache: RequestCache::default(),
            decision_cache: DecisionCache::default(),
        }
    }

    /// Judges a script: allowed if every request that it raises is allowed.
    pub fn decide(&self, inventory: Inventory, facts: &Facts) -> Verdict {
        verdict::decide(self.policies(), self.decision_cache(), inventory, facts)
    }

    /// Judges a script for show, as if a person had said yes where `approved`. Makes no grant.
    pub fn rehearse(&self, inventory: Inventory, facts: &Facts, approved: bool) -> Report {
        verdict::rehearse(self.policies(), inventory, facts, approved)
    }

    /// Asks again what was asked before, under the policies and groups of this engine. `then` is what [`Self::path_groups`] told
    /// of the set of the time; without it every path group counts as changed.
    pub fn ask_again(&self, asked: &ReplayInput<String>, then: Option<&Groups>) -> Again {
        replay::ask(self.policies(), asked, then)
    }

    /// What tells the path groups of this set from others of the same name.
    pub fn path_groups(&self) -> Groups {
        replay::groups(&self.vocabulary)
    }

    /// Judges a program at its `execve`: `inventory` is what [`palisade_grammar::execution`] makes of its words, and `acts`
    /// are the variables that its environment changes. Everything short of a plain allow is a no, for nobody can be
    /// asked meanwhile; `approved` says that a person has allowed the very command that this is.
    pub fn decide_execution(&self, inventory: &Inventory, facts: &Facts, acts: &[Act], approved: bool) -> Report {
        verdict::execution(self.policies(), inventory, facts, acts, approved)
    }

    /// Whether policy lets this person say yes to an execution, of which `shown` says what is asked.
    pub fn may_approve_execution(
        &self,
        (inventory, facts, acts): (&Inventory, &Facts, &[Act]),
        shown: &Report,
        person: &Approval,
    ) -> Authority {
        verdict::may_approve_execution(self.policies(), (inventory, facts, acts), shown, person)
    }

    /// Judges an execution again after the yes of these people to what `shown` says. Never [`Decision::Ask`](crate::Decision::Ask).
    pub fn approve_execution(
        &self,
        (inventory, facts, acts): (&Inventory, &Facts, &[Act]),
        shown: &Report,
        people: &[Approval],
    ) -> Report {
        verdict::approve_execution(self.policies(), (inventory, facts, acts), shown, people)
    }

    /// Whether some policy looks at what changes by itself: the clock, or the session.
    pub fn reads_what_passes(&self) -> bool {
        self.bundle.reads.what_passes()
    }

    /// Whether some policy looks at the clock.
    pub fn reads_clock(&self) -> bool {
        self.bundle.reads.clock()
    }

    /// Judges a script again after the yes of these people, on the facts that they were shown. Never [`Verdict::Ask`].
    pub fn approve(&self, request: ApprovalRequest, people: &[Approval]) -> Verdict {
        verdict::approve(self.policies(), request, people)
    }

    /// The permits by which this person's yes to a question holds for as long as it says: one for each request that asks, each as narrow as
    /// the request.
    ///
    /// # Errors
    /// The same words may run something else the next time, or policy wants the yes of several people.
    pub fn standing(
        &self,
        request: &ApprovalRequest,
        person: &Approval,
        given: &Given<'_>,
    ) -> Result<StandingYes, Unfit> {
        verdict::standing(self.policies(), request, person, given)
    }

    /// The standing yeses to this very call that cover all that it asks for, each by itself.
    pub fn stands<'s>(&self, request: &ApprovalRequest, standing: &'s Standing, call: &str) -> Vec<&'s StandingYes> {
        verdict::stands(self.policies(), request, standing, call)
    }

    /// Makes the permit that remembers this person's yes to a session at a target. `report` is the decision that asked for the yes.
    ///
    /// # Errors
    /// Nothing tells that the same target stands there the next time, or policy wants the yes of several people.
    pub fn standing_visit(
        &self,
        facts: &Facts,
        report: &Report,
        person: &Approval,
        given: &Given<'_>,
    ) -> Result<StandingYes, Unfit> {
        verdict::standing_visit(self.policies(), facts, report, person, given)
    }

    /// The standing yeses to a session at this very target.
    pub fn stands_for_visit<'s>(
        &self,
        facts: &Facts,
        report: &Report,
        standing: &'s Standing,
        call: &str,
    ) -> Vec<&'s StandingYes> {
        verdict::stands_for_visit(self.policies(), facts, report, standing, call)
    }

    /// Whether policy lets this person say yes to all that the question asks for.
    pub fn may_approve(&self, request: &ApprovalRequest, person: &Approval) -> Authority {
        verdict::may_approve(self.policies(), request, person)
    }

    /// The same for something other than a script, of which `shown` says what is asked.
    pub fn may_approve_act(&self, facts: &Facts, act: &Act, shown: &Report, person: &Approval) -> Authority {
        self.may_approve_on(facts, act, &[], shown, person)
    }

    /// The same for an act together with the files that it touches.
    pub fn may_approve_on(
        &self,
        facts: &Facts,
        act: &Act,
        files: &[(FileAction, AbsolutePath)],
        shown: &Report,
        person: &Approval,
    ) -> Authority {
        verdict::may_approve_act(self.policies(), facts, act, files, shown, person)
    }

    /// Whether policy lets this person see, stop or remove. Of the facts only the principal and the clock count.
    pub fn oversees(&self, facts: &Facts, person: &Approval, what: &Oversight) -> Authority {
        verdict::oversees(self.policies(), facts, person, what)
    }

    /// What the principal may do to single paths, no approval given: what kernel rules are made from.
    pub fn permissions<'a>(&'a self, facts: &'a Facts) -> Permissions<'a> {
        Permissions { bundle: &self.bundle, builder: self.builder(facts) }
    }

    /// Whether policy lets nothing of this path group be read: not what lies at its places, nor in the workspace under its names.
    pub fn keeps_closed(&self, facts: &Facts, group: &str) -> bool {
        let permissions = self.permissions(facts);
        let mut examples = self.vocabulary.examples(group, &facts.workspace);
        !examples.any(|path| permissions.permits(FileAction::Read, &path))
    }

    /// Judges something other than a script, as if a person had said yes where `approved`.
    pub fn judge(&self, facts: &Facts, act: &Act, approved: bool) -> Report {
        verdict::rehearse_act(self.policies(), facts, act, &[], approved)
    }

    /// Judges something other than a script again after the yes of these people to what `shown` says. Never
    /// [`Decision::Ask`](crate::Decision::Ask).
    pub fn approve_act(&self, facts: &Facts, act: &Act, shown: &Report, people: &[Approval]) -> Report {
        verdict::approve_act(self.policies(), facts, act, &[], shown, people)
    }

    /// Judges something together with all files that it would write or delete: each of them is a request of its own.
    pub fn judge_on(&self, facts: &Facts, act: &Act, files: &[(FileAction, AbsolutePath)]) -> Report {
        verdict::rehearse_act(self.policies(), facts, act, files, false)
    }

    /// The same again after the yes of these people to what `shown` says. Never [`Decision::Ask`](crate::Decision::Ask).
    pub fn approve_on(
        &self,
        facts: &Facts,
        act: &Act,
        files: &[(FileAction, AbsolutePath)],
        shown: &Report,
        people: &[Approval],
    ) -> Report {
        verdict::approve_act(self.policies(), facts, act, files, shown, people)
    }

    /// Whether the principal may open a session on the facts' host.
    pub fn permits_session(&self, facts: &Facts) -> bool {
        self.permits(facts, &Act::OpenSession)
    }

    /// Whether the principal may call this MCP tool.
    pub fn permits_tool(&self, facts: &Facts, tool: &str) -> bool {
        self.permits(facts, &Act::UseTool(tool.to_owned()))
    }

    /// Whether some connection might be permitted to the principal, with a person's yes or without: where not, a session
    /// needs no network.
    pub fn may_connect(&self, facts: &Facts) -> bool {
        peers::may_connect(&self.bundle, facts)
    }

    /// Whether policies permit a connection because of the very address that it goes to, and not to whatever address the
    /// name means, or to all there are.
    pub fn grants_address(&self, facts: &Facts, connection: &Connection<'_>, approved: bool) -> bool {
        peers::grants_address(&self.bundle, &self.builder(facts), connection, approved)
    }

    /// Whether the principal may do something that is no command, and the policies that decide it. No approval lifts a
    /// no.
    pub fn answer(&self, facts: &Facts, act: &Act) -> (bool, Vec<String>) {
        let builder = self.builder(facts);
        verdict::because(&self.bundle, &builder, &builder.act(act))
    }

    fn permits(&self, facts: &Facts, act: &Act) -> bool {
        verdict::permits_act(self.policies(), self.decision_cache(), facts, act)
    }

    /// Whether some policy permits something only behind a checkpoint.
    pub fn demands_checkpoints(&self) -> bool {
        self.bundle.ids().any(|id| self.bundle.takes_checkpoint(id))
    }

    /// The policies that decide.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The policies that can decide about the principal, by id, as it may be told of them.
    pub fn visible_policies(&self, facts: &Facts) -> Vec<VisiblePolicy> {
        visible_policies::about(&self.bundle, facts)
    }

    /// Whether there is a policy of this id.
    pub fn has_policy(&self, id: &str) -> bool {
        self.bundle.index.policies().iter().any(|policy| policy.id().to_string() == id)
    }

    /// Whether the kernel can hold every path rule but those `accepted`, where masks cover every name that policy forbids.
    pub fn paths_held(&self, accepted: &BTreeSet<String>) -> bool {
        self.beyond_places().iter().all(|rule| rule.is_masked() || accepted.contains(&rule.policy))
    }

    /// The same where nothing keeps masks on: rules by name count as held only if they are `accepted`.
    pub fn paths_held_without_masks(&self, accepted: &BTreeSet<String>) -> bool {
        self.beyond_places().iter().all(|rule| accepted.contains(&rule.policy))
    }

    /// Forbids on files that go by more than where a file lies: by name patterns, which masks hold, or by attributes of the file or
    /// what changes while a session lives, which the decision alone holds. Each with what it reads.
    pub fn beyond_places(&self) -> &[Unheld] {
        self.unheld.get_or_init(|| kernel_coverage::beyond_places(&self.bundle, &self.vocabulary))
    }

    /// Whether an invocation of a trusted program has a right that the agent's own code lacks: then a variable that makes it load
    /// other code is asked about. `words` and `groups` are those of its [`palisade_grammar::Invocation`]; `hidden` says that it is open
    /// which options it has ([`hides_options`](crate::hides_options)).
    pub fn is_privileged(&self, words: &[String], groups: &[String], hidden: bool) -> bool {
        self.bundle.privileged.holds(words, groups, hidden, true)
    }

    /// Whether some policy says which variables this program may set for those that it starts.
    pub fn may_set(&self, program: &str) -> bool {
        self.bundle.privileged.may_set(program)
    }

    /// Every program that has such a right, with the policies that give it; `*` stands for all programs.
    pub fn privileged_programs(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.bundle.privileged.programs()
    }

    /// Whether the no-gain principle holds for a session on these facts: the kernel and the exec guard hold every rule, and policy lets
    /// the agent's own code run.
    pub fn is_no_gain(&self, facts: &Facts) -> bool {
        self.builder(facts).no_gain()
    }

    /// What runs in place of a script that the session's own shell is not given: one that was not read completely becomes the code of
    /// another shell, where the agent could as well write it into a file and run that. None if the script stays as it is.
    pub fn apart(&self, inventory: &Inventory, facts: &Facts) -> Option<Vec<u8>> {
        separate_shell::instead(inventory, facts, || self.is_no_gain(facts))
    }

    /// Whether a decision on these facts can depend on what lies below a directory. Where the no-gain principle holds, the shipped
    /// policies give way, and the runner leaves the search out.
    pub fn asks_about_trees(&self, facts: &Facts) -> bool {
        self.bundle.asks_about_trees || !self.is_no_gain(facts)
    }

    /// The groups that policies can name.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Fingerprint of the policies and of all groups that they can name, `sha256:<hex>`: two engines with the same one decide
    /// alike. Groups that the settings or the command line add to count.
    pub fn policy_set(&self) -> &str {
        self.bundle.fingerprint()
    }

    /// SHA-256 of the schema: `sha256:<hex>`.
    pub fn schema(&self) -> &str {
        self.bundle.schema_fingerprint()
    }

    /// Every place that groups and policies name: where kernel rules may begin.
    pub fn roots(&self) -> BTreeSet<AbsolutePath> {
        let named = self.bundle.literals.of("Path").filter_map(AbsolutePath::new);
        self.vocabulary.roots().into_iter().chain(named).collect()
    }

    /// Where decisions are cached; `None` if some policy reads what changes by itself, so that none would be found again.
    fn decision_cache(&self) -> Option<&DecisionCache> {
        (!self.reads_what_passes()).then_some(&self.decision_cache)
    }

    /// What requests are made and answered with.
    pub(crate) fn policies(&self) -> PolicyContext<'_> {
        PolicyContext { bundle: &self.bundle, vocabulary: &self.vocabulary, cache: &self.request_cache }
    }

    fn builder<'a>(&'a self, facts: &'a Facts) -> RequestBuilder<'a> {
        RequestBuilder::new(self.policies(), facts)
    }
}

/// Answers about single paths on one set of facts; cheaper for many than asking anew each time.
pub struct Permissions<'a> {
    bundle: &'a Bundle,
    builder: RequestBuilder<'a>,
}

impl Permissions<'_> {
    /// Whether the principal may do `action` to exactly `path`.
    pub fn permits(&self, action: FileAction, path: &AbsolutePath) -> bool {
        verdict::permits(self.bundle, &self.builder, &self.builder.path(action, path))
    }

    /// The same with the policies that decide it.
    pub fn because(&self, action: FileAction, path: &AbsolutePath) -> (bool, Vec<String>) {
        verdict::because(self.bundle, &self.builder, &self.builder.path(action, path))
    }
}

impl std::fmt::Debug for Permissions<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Permissions").field("bundle", &self.bundle).finish_non_exhaustive()
    }
}
