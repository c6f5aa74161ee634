//! `policy explain-sandbox`: the kernel rules that a session would get, and which policies they come from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use palisade_engine::FileAction;
use palisade_runner::dry_run;
use palisade_runner::pipeline::real_roots;
use palisade_runner::sandbox::plan::{self, Origin, Rights};
use serde_json::{Value, json};

use crate::args::PolicyExplainSandbox;
use crate::exit::Exit;
use crate::report::{self, Trouble};
use crate::{commands, config};

/// What a local session has of it, whatever the policies say.
const NETWORK: &str =
    "none, whatever `connect` rules permit: they decide commands, and what those start has no sockets to it";

pub(crate) fn run(args: &PolicyExplainSandbox) -> Result<Exit, Trouble> {
    let settings = config::load_for_check(&args.context)?;
    let facts = dry_run::facts(&settings);
    let engine = settings.engine.now();
    let origins = plan::explain(&engine, &facts, &real_roots(&engine));
    let unheld = engine.held_by_decision_alone();
    let text = if args.context.json { commands::json(&machine(&origins, &unheld))? } else { human(&origins, &unheld) };
    report::print(&text);
    let holes = origins.iter().any(|origin| origin.hole_in.is_some());
    Ok(if holes { Exit::Findings } else { Exit::Fine })
}

fn human(origins: &[Origin], unheld: &[(String, Vec<String>)]) -> String {
    let mut text = "Rules that the kernel holds:\n".to_owned();
    for origin in origins.iter().filter(|origin| !origin.rights.is_empty()) {
        let mut policies: Vec<&str> =
            granted(origin).flat_map(|(_, policies)| policies.iter().map(String::as_str)).collect();
        policies.sort_unstable();
        policies.dedup();
        let _ = writeln!(text, "  {} {}  ({})", origin.rights, origin.path, policies.join(", "));
    }
    text.push_str("Everything else is out of reach.\n");
    let _ = writeln!(text, "Network: {NETWORK}.");
    let holes: Vec<&Origin> = origins.iter().filter(|origin| origin.hole_in.is_some()).collect();
    if !holes.is_empty() {
        text.push_str("Holes: no session starts, since the kernel cannot take back below what it grants above:\n");
        for origin in holes {
            let outer = origin.hole_in.as_ref().map(ToString::to_string).unwrap_or_default();
            let refused: Vec<&str> =
                origin.because.iter().flat_map(|(_, policies)| policies.iter().map(String::as_str)).collect();
            let _ = writeln!(text, "  {} {} in {outer}  ({})", origin.rights, origin.path, refused.join(", "));
        }
    }
    if !unheld.is_empty() {
        text.push_str("Held by the decision on each command alone, since they go by name:\n");
        for (policy, groups) in unheld {
            let _ = writeln!(text, "  {policy}  ({})", groups.join(", "));
        }
    }
    text
}

/// The actions that are granted, with their policies.
fn granted(origin: &Origin) -> impl Iterator<Item = &(FileAction, Vec<String>)> {
    let right = |action: FileAction| match action {
        FileAction::Read => Rights::READ,
        FileAction::Write => Rights::WRITE,
        FileAction::Delete => Rights::DELETE,
        FileAction::Execute => Rights::EXECUTE,
    };
    origin.because.iter().filter(move |(action, _)| origin.rights.contains(right(*action)))
}

fn machine(origins: &[Origin], unheld: &[(String, Vec<String>)]) -> Value {
    let rules: Vec<_> = origins
        .iter()
        .map(|origin| {
            let because: BTreeMap<&str, &Vec<String>> =
                origin.because.iter().map(|(action, policies)| (action.as_str(), policies)).collect();
            json!({ "path": origin.path, "rights": origin.rights.to_string(), "because": because,
                    "holeIn": origin.hole_in })
        })
        .collect();
    let unheld: Vec<_> = unheld.iter().map(|(policy, groups)| json!({ "policy": policy, "groups": groups })).collect();
    json!({ "rules": rules, "heldByDecisionAlone": unheld, "network": "none" })
}
