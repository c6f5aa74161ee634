//! `policy explain-sandbox`: the kernel rules that a session would get, and which policies they come from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use palisade_engine::FileAction;
use palisade_runner::Settings;
use palisade_runner::dry_run;
use palisade_runner::policies::real_roots;
use palisade_runner::sandbox::plan::{self, Cover, Hole, LimitTold, Mask, Rights, RootRights, SandboxPlan};
use palisade_runner::sandbox::{self, Network};
use serde_json::{Value, json};

use crate::cli::args::PolicyExplainSandbox;
use crate::cli::commands;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config;

pub(crate) fn run(args: &PolicyExplainSandbox) -> Result<Exit, CliError> {
    let settings = config::load_for_check(&args.context)?;
    let facts = dry_run::facts(&settings);
    let engine = settings.engine.now();
    let roots = real_roots(&engine);
    let origins = plan::explain(&engine, &facts, &roots);
    let plan = plan::derive(&engine, &facts, &roots, settings.level, settings.limits);
    let mounts = sandbox::probe().mounts;
    let rule = |rule: &'_ palisade_engine::Unheld| {
        let reads = rule.by_name.iter().chain(&rule.otherwise).cloned().collect();
        let accepted = settings.accept.contains(&rule.policy);
        Unheld { policy: rule.policy.clone(), reads, masked: mounts && rule.is_masked(), accepted }
    };
    let unheld: Vec<Unheld> = engine.beyond_places().iter().map(rule).collect();
    let paths_held = plan::local(&engine, &settings.accept, settings.level).paths_held;
    let network = Network::of(engine.may_connect(&facts), sandbox::probe().namespaces);
    let limits = settings.limits.told(sandbox::probe());
    let no_gain = engine.is_no_gain(&facts);
    let privileged = engine.privileged_programs();
    let told = SandboxReport {
        network,
        origins: &origins,
        plan: &plan,
        unheld: &unheld,
        paths_held,
        no_gain,
        privileged: &privileged,
        limits: &limits,
    };
    let text = if args.context.json { commands::json(&told.machine())? } else { told.human() };
    report::print(&text);
    Ok(if plan.is_err() { Exit::Findings } else { Exit::Fine })
}

/// A rule that goes by more than places.
struct Unheld {
    policy: String,
    /// What it goes by.
    reads: Vec<String>,
    /// Masks hold it.
    masked: bool,
    /// The settings accept that.
    accepted: bool,
}

/// What there is to tell.
struct SandboxReport<'a> {
    origins: &'a [RootRights],
    /// What a session would get, or why none would start.
    plan: &'a Result<SandboxPlan, Hole>,
    unheld: &'a [Unheld],
    paths_held: bool,
    /// The no-gain principle holds for such a session.
    no_gain: bool,
    /// The programs that it does not cover, with the policies that make them so.
    privileged: &'a BTreeMap<String, BTreeSet<String>>,
    network: Network,
    limits: &'a [LimitTold],
}

impl SandboxReport<'_> {
    fn human(&self) -> String {
        let mut text = "Rules that the kernel holds:\n".to_owned();
        for origin in self.origins.iter().filter(|origin| !origin.rights.is_empty()) {
            let mut policies: Vec<&str> =
                granted(origin).flat_map(|(_, policies)| policies.iter().map(String::as_str)).collect();
            policies.sort_unstable();
            policies.dedup();
            let _ = writeln!(text, "  {} {}  ({})", origin.rights, origin.path, policies.join(", "));
        }
        text.push_str("Everything else is out of reach.\n");
        let _ = writeln!(text, "Network: {}.", self.network.as_str());
        for LimitTold { name, value, held_by } in self.limits {
            let _ = writeln!(text, "Limit: {name} {value}, held by {}.", held_by.replace('+', " and "));
        }
        if self.limits.is_empty() {
            text.push_str("Limits: none in the settings; the server's own are in place.\n");
        }
        text.push_str(if sandbox::probe().mounts { MOUNTS } else { NO_MOUNTS });
        match self.plan {
            Ok(plan) => masks(&mut text, plan),
            Err(_) => self.holes(&mut text),
        }
        let headings = [
            (true, "Held by masks, for every file of such a name but those that the session's own programs make:\n"),
            (false, "Held by the decision on each command alone, since they go by more than places and names:\n"),
        ];
        for (masked, heading) in headings {
            let rules: Vec<_> = self.unheld.iter().filter(|rule| rule.masked == masked).collect();
            text.push_str(if rules.is_empty() { "" } else { heading });
            for Unheld { policy, reads, accepted, .. } in rules {
                let note = if *accepted { "; accepted in the settings" } else { "" };
                let _ = writeln!(text, "  {policy}  ({}{note})", reads.join(", "));
            }
        }
        let held = if self.paths_held { "true" } else { "false" };
        let _ = writeln!(text, "Policies are told `session.pathsHeld` = {held}.");
        text.push_str(if self.no_gain { NO_GAIN } else { GAIN });
        for (program, policies) in self.privileged {
            let policies: Vec<&str> = policies.iter().map(String::as_str).collect();
            let _ = writeln!(text, "  privileged: {program}  ({})", policies.join(", "));
        }
        text
    }

    fn holes(&self, text: &mut String) {
        text.push_str("Holes: no session starts, since the kernel cannot take back below what it grants above:\n");
        for origin in self.origins {
            let Some(outer) = &origin.hole_in else { continue };
            let refused: Vec<&str> =
                origin.because.iter().flat_map(|(_, policies)| policies.iter().map(String::as_str)).collect();
            let _ = writeln!(text, "  {} {} in {outer}  ({})", origin.rights, origin.path, refused.join(", "));
        }
    }

    fn machine(&self) -> Value {
        let rules: Vec<_> = self
            .origins
            .iter()
            .map(|origin| {
                let because: BTreeMap<&str, &Vec<String>> =
                    origin.because.iter().map(|(action, policies)| (action.as_str(), policies)).collect();
                json!({ "path": origin.path, "rights": origin.rights.to_string(), "because": because,
                        "holeIn": origin.hole_in })
            })
            .collect();
        let unmasked = self.unheld.iter().filter(|rule| !rule.masked);
        let masked: Vec<&str> =
            self.unheld.iter().filter(|rule| rule.masked).map(|rule| rule.policy.as_str()).collect();
        let unheld: Vec<_> = unmasked
            .map(|rule| json!({ "policy": rule.policy, "reads": rule.reads, "accepted": rule.accepted }))
            .collect();
        let mut told = session(self.plan, self.network, self.limits);
        let more = json!({ "rules": rules, "heldByMasks": masked, "heldByDecisionAlone": unheld, "pathsHeld": self.paths_held,
            "noGain": self.no_gain, "privileged": self.privileged });
        if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
            told.extend(more);
        }
        told
    }
}

/// The plan of a session in the settings' own circumstances, for a verdict: without the policies that each rule comes from, which
/// `explain-sandbox` tells.
pub(crate) fn plan_of(settings: &Settings) -> Value {
    let facts = dry_run::facts(settings);
    let engine = settings.engine.now();
    let plan = plan::derive(&engine, &facts, &real_roots(&engine), settings.level, settings.limits);
    let network = Network::of(engine.may_connect(&facts), sandbox::probe().namespaces);
    session(&plan, network, &settings.limits.told(sandbox::probe()))
}

/// What a session would get, for machines.
fn session(plan: &Result<SandboxPlan, Hole>, network: Network, limits: &[LimitTold]) -> Value {
    let rules: Vec<_> = plan.iter().flat_map(|plan| &plan.rules).collect();
    let rules: Vec<_> =
        rules.iter().map(|rule| json!({ "path": rule.path, "rights": rule.rights.to_string() })).collect();
    let masks: Vec<_> = plan.iter().flat_map(|plan| &plan.masks).collect();
    let masks: Vec<_> = masks.iter().map(|mask| json!({ "path": mask.path, "cover": mask.cover })).collect();
    json!({ "starts": plan.is_ok(), "mounts": sandbox::probe().mounts, "rules": rules, "masks": masks,
            "searched": plan.as_ref().is_ok_and(|plan| plan.searched), "network": network, "limits": limits })
}

fn masks(text: &mut String, plan: &SandboxPlan) {
    if !plan.masks.is_empty() {
        text.push_str("Covered, since policy takes it back below what it grants:\n");
    }
    for Mask { path, cover } in &plan.masks {
        let how = match cover {
            Cover::Hidden => "hidden   ",
            Cover::Empty => "empty    ",
            Cover::ReadOnly => "read-only",
            Cover::Pinned => "keeps its name",
        };
        let _ = writeln!(text, "  {how} {}", path.display());
    }
    if sandbox::probe().mounts && !plan.searched {
        let _ = writeln!(
            text,
            "Not everything was searched for names: more lies directly in the workspace than {} entries or {} names.",
            sandbox::MAX_ENTRIES,
            sandbox::MAX_NAMED
        );
    }
}

const MOUNTS: &str =
    "Mounts: everything read-only but what has `w` or `d` above; /tmp, /dev/shm and /proc are the session's own.\n";

const NO_GAIN: &str = "Own code may run here and the kernel holds every path: inline code, computed paths and loader variables are asked about for \
                       privileged programs alone.\n";

const GAIN: &str = "Inline code, computed paths and loader variables are asked about for every program: own code may not run here, or \
                    the kernel does not hold every path.\n";

const NO_MOUNTS: &str =
    "Mounts: none of its own; the machine refuses them, and masks with them (see `palisade doctor`).\n";

/// The actions that are granted, with their policies.
fn granted(origin: &RootRights) -> impl Iterator<Item = &(FileAction, Vec<String>)> {
    let right = |action: FileAction| match action {
        FileAction::Read => Rights::READ,
        FileAction::Write => Rights::WRITE,
        FileAction::Delete => Rights::DELETE,
        FileAction::Execute => Rights::EXECUTE,
    };
    origin.because.iter().filter(move |(action, _)| origin.rights.contains(right(*action)))
}
