//! The policy decision point: an [`Inventory`](palisade_grammar::Inventory) and [`Facts`] to a [`Verdict`], by Cedar policies.
//!
//! ```text
//! Source ──▶ Bundle ─┐
//! groups ─▶ Vocabulary ─▶ Engine ◀── Inventory (palisade-grammar)
//!                          │    ◀── Facts (gathered by the runner)
//!                          ▼
//!          Verdict::{Allow(Grant), Ask(ApprovalRequest), Deny(Denial)}
//! ```
//!
//! Modules, each of which uses only those before it in this list:
//! - plain data: `facts`, `acts`, `replay_input`, `report`, `source`, `bound_request`
//! - one policy set: `indexed`, `slice`, `no_gain`, `vocabulary`, `bundle`
//! - a script to requests: `questions`, `decision_cache`, `answer`, which asks Cedar, and `request`
//! - answers to a verdict: `explain`, `obligation`, `standing`, `verdict`
//! - more to ask the same policies: `replay`, `peers`, `visible_policies`, `kernel_coverage`
//! - the front door: `engine`, and `engine_spec`, by which another process makes the same one
//! - for authors of policies: `case_facts`, `case`, `coverage`, `lint`
//!
//! Pure: nothing here opens a file, reads a clock or the environment, or starts anything. Given the same inventory,
//! facts and bundle, the verdict is the same.
#![forbid(unsafe_code)]

mod acts;
mod answer;
mod bound_request;
mod bundle;
mod case;
mod case_facts;
mod cedar_values;
mod command_facts;
mod coverage;
mod decision_cache;
mod depth;
mod engine;
mod engine_spec;
mod explain;
mod facts;
mod host;
mod inert_effects;
mod kernel_coverage;
mod lint;
mod nearest;
mod no_gain;
mod obligation;
mod package_fetch;
mod path;
mod peers;
mod policy_clauses;
mod policy_json;
mod questions;
mod replay;
mod replay_input;
mod report;
mod request;
mod separate_shell;
mod slice;
mod source;
mod stack;
mod standing_permits;
mod variables;
mod verdict;
mod visible_policies;
mod vocabulary;

pub use crate::acts::{Act, Approval, FileAction, Oversight, Receiver};
pub use crate::bundle::{Bundle, BundleError, Note};
pub use crate::case::{Case, CaseError, Cases, Checked, Moment, TimeZones};
pub use crate::case_facts::{makes_links, writes_module};
pub use crate::command_facts::{CommandFacts, MAX_CONFIGURATION, Remote, Repository, remotes};
pub use crate::coverage::{ClauseCoverage, Coverage, PolicyCoverage};
pub use crate::engine::{Engine, Permissions};
pub use crate::engine_spec::{EngineSpec, EngineSpecError};
pub use crate::facts::{
    AtExecve, Auth, Channel, Clock, Crowd, Facts, Lasts, Machine, Origin, Principal, Program, Scratch, Session,
    SessionShell, Transport,
};
pub use crate::host::canonical as canonical_host;
pub use crate::inert_effects::{is_staged, links_to, may_change_settings, names_remote};
pub use crate::kernel_coverage::Unheld;
pub use crate::lint::{Lint, RULES, Rule, Severity, Surroundings, lint};
pub use crate::nearest::nearest_name;
pub use crate::no_gain::{hides_options, is_lock_bound, is_of_prompts, may_connect, says_it_connects};
pub use crate::package_fetch::{installer, is_installed, is_locked, is_offline, says_offline};
pub use crate::path::AbsolutePath;
pub use crate::peers::Connection;
pub use crate::replay::{Again, Groups, LeftOut};
pub use crate::replay_input::{
    Approver, Exec, Field, Files, Host, Item, Neighbours, Peer, REPLAY_INPUT_VERSION, ReplayInput, Script,
    SessionInput, Variable, What, Who,
};
pub use crate::report::{Decision, Judged, Reason, Report, Unread};
pub use crate::separate_shell::is_apart;
pub use crate::source::{Finding, Findings, Source};
pub use crate::standing_permits::{Given, MAKES_WHAT_IT_NAMES, Standing, StandingError, StandingYes, Unfit};
pub use crate::variables::{guarded_variable, is_listed as is_listed_variable};
pub use crate::verdict::{ApprovalRequest, Authority, Denial, Grant, Verdict};
pub use crate::visible_policies::VisiblePolicy;
pub use crate::vocabulary::{LastNames, NamePattern, Vocabulary, VocabularyError};
