//! A person's yes that holds for longer than one call, as Cedar permits.
//!
//! Such a permit answers a question, and nothing else: it never makes an allow out of a denial, since it is looked at only where policy
//! asks, and the person who gave it must still be one whose yes policy takes (`Action::"approve"`, with `context.lasts`). So a set of them
//! can be edited by hand without opening what policy keeps closed.
//!
//! A permit made here names the words, the program's file, the directory and the peer of the request. `@call` names the whole call, so
//! that nothing else runs along with it. Some requests get no permit: those whose code is not in the text, those with a part that is known
//! only when they run, and those to a remote that is not known.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use cedar_policy::{Authorizer, Decision, Effect, EvalResult, Policy, PolicySet};
use miette::Diagnostic;

use crate::acts::Approval;
use crate::bound_request::BoundRequest;
use crate::facts::Lasts;

/// Why a yes holds for one call only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum Unfit {
    /// It takes several people.
    #[error("this takes the yes of {people} people each time")]
    Quorum {
        /// How many.
        people: usize,
    },
    /// The same words may run or touch something else the next time.
    #[error("`{what}` may be something else the next time: {why}")]
    Unclear {
        /// The command, path or peer.
        what: String,
        /// Why.
        why: &'static str,
    },
    /// It is neither a command nor a file, peer or variable.
    #[error("a yes to `{action}` is for one call")]
    Other {
        /// The action.
        action: String,
    },
    /// It cannot be put into a policy.
    #[error("what is asked cannot be put into a policy")]
    Unsaid,
}

/// Why a text holds no standing yeses.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum StandingError {
    /// It is no Cedar.
    #[error("line {line}: {message}")]
    Cedar {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A policy lacks one of the annotations that say whose yes it is, or has one that says nothing.
    #[error("line {line}: a standing yes needs `@{annotation}`")]
    #[diagnostic(help(
        "`palisade approvals grant ID --remember agent` writes them; take the policy out of the file if you did not write it"
    ))]
    Annotation {
        /// The line, from 1.
        line: usize,
        /// Its name.
        annotation: &'static str,
    },
    /// A forbid.
    #[error("line {line}: a standing yes is a permit")]
    #[diagnostic(help("a forbid belongs into a policy directory"))]
    Forbid {
        /// The line, from 1.
        line: usize,
    },
}

/// What a standing yes is given to.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The decision's id.
    pub id: &'a str,
    /// When, in UTC.
    pub granted: &'a str,
    /// The call, in a form that two calls share only if they are the same.
    pub call: &'a str,
}

/// Standing yeses, in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub struct Standing(Vec<StandingYes>);

/// One person's standing yes: a permit for each request that it lifts.
#[derive(Clone)]
pub struct StandingYes {
    /// The decision that it was given to.
    pub id: String,
    /// Whose it is.
    pub by: String,
    /// How long it holds.
    pub lasts: Lasts,
    /// When it was given, in UTC.
    pub granted: String,
    /// The call that it was given to, in a form that two calls share only if they are the same.
    pub call: String,
    /// Its permits, as Cedar.
    pub text: String,
    permits: PolicySet,
}

impl fmt::Debug for StandingYes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("StandingYes").field(&self.text).finish()
    }
}

impl Standing {
    /// Reads a file of them.
    ///
    /// # Errors
    /// If it is no Cedar, or holds anything but standing yeses.
    pub fn parse(text: &str) -> Result<Self, StandingError> {
        let line_at = |offset: usize| text.get(..offset).unwrap_or_default().matches('\n').count() + 1;
        let set: PolicySet = text.parse().map_err(|errors: cedar_policy::ParseErrors| {
            let first = errors.iter().next();
            let label = first.and_then(|error| error.labels()?.next());
            let line = label.map_or(1, |label| line_at(label.offset()));
            StandingError::Cedar { line, message: first.map_or_else(|| errors.to_string(), ToString::to_string) }
        })?;
        // Cedar gives them in no order.
        let begin = |policy: &Policy| policy.as_ref().loc().map_or(0, |place| place.start());
        let mut policies: Vec<&Policy> = set.policies().collect();
        policies.sort_by_key(|policy| begin(policy));
        let mut all: Vec<StandingYes> = Vec::new();
        for policy in policies {
            let own = policy.to_string();
            let line = line_at(begin(policy));
            let said = |name: &'static str| {
                let value = policy.annotation(name).filter(|value| !value.is_empty());
                value.map(ToOwned::to_owned).ok_or(StandingError::Annotation { line, annotation: name })
            };
            if policy.effect() == Effect::Forbid {
                return Err(StandingError::Forbid { line });
            }
            let lasts = Lasts::from_id(&said("lasts")?).filter(|lasts| *lasts != Lasts::Once);
            let lasts = lasts.ok_or(StandingError::Annotation { line, annotation: "lasts" })?;
            let (id, by, granted, call) = (said("yes")?, said("by")?, said("granted")?, said("call")?);
            let is_same = |yes: &&mut StandingYes| (&yes.id, &yes.by, yes.lasts, &yes.call) == (&id, &by, lasts, &call);
            let known = all.iter_mut().find(is_same);
            match known {
                Some(yes) => yes.add(policy, &own),
                None => {
                    let (text, permits) = (String::new(), PolicySet::new());
                    let mut yes = StandingYes { id, by, lasts, granted, call, text, permits };
                    yes.add(policy, &own);
                    all.push(yes);
                }
            }
        }
        Ok(Self(all))
    }

    /// As [`Self::parse`] reads it.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.0.iter().map(|yes| yes.text.as_str()).collect()
    }

    /// One more. It takes the place of one to the same decision.
    pub fn add(&mut self, yes: StandingYes) {
        self.forget(&yes.id);
        self.0.push(yes);
    }

    /// Takes away all that were given to this decision; whether there were any.
    pub fn forget(&mut self, id: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|yes| yes.id != id);
        self.0.len() != before
    }

    /// All of them.
    pub fn yeses(&self) -> impl Iterator<Item = &StandingYes> {
        self.0.iter()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl StandingYes {
    fn add(&mut self, policy: &Policy, text: &str) {
        // A name of its own: a clash would lose the permit.
        let id = format!("{}", self.permits.policies().count());
        if self.permits.add(policy.new_id(cedar_policy::PolicyId::new(id))).is_ok() {
            let _infallible = writeln!(self.text, "{}\n", text.trim());
        }
    }

    /// The permits for these requests.
    pub(crate) fn of(asked: &[BoundRequest], person: &Approval, given: &Given<'_>) -> Result<Self, Unfit> {
        let mut texts: Vec<String> = Vec::new();
        for bound in asked {
            let text = permit(bound, person, given)?;
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let read = Standing::parse(&texts.concat()).map_err(|_| Unfit::Unsaid)?;
        read.0.into_iter().next().ok_or(Unfit::Unsaid)
    }

    /// Whether it permits this. A permit that errs permits nothing.
    pub(crate) fn covers(&self, bound: &BoundRequest) -> bool {
        let response = Authorizer::new().is_authorized(&bound.request, &self.permits, &bound.entities);
        response.decision() == Decision::Allow
    }
}

/// A permit for this one request.
fn permit(bound: &BoundRequest, person: &Approval, given: &Given<'_>) -> Result<String, Unfit> {
    let action = bound.action().id().unescaped();
    let resource = bound.resource();
    let shown = |name: &str| bound.attribute(name).map(|value| plain(&value)).unwrap_or_default();
    let unclear = |what: String, why| Unfit::Unclear { what, why };
    let mut conditions = Vec::new();
    let mut is = |left: &str, value: Option<EvalResult>| {
        let value = value.ok_or(Unfit::Unsaid)?;
        conditions.push(format!("{left} == {value}"));
        Ok::<_, Unfit>(())
    };
    match person.lasts {
        Lasts::Once => return Err(Unfit::Unsaid),
        Lasts::Session => is("context.session", bound.circumstance("session"))?,
        Lasts::Agent | Lasts::Always => is("principal.user", bound.of_principal("user"))?,
    }
    let scope = match person.lasts {
        Lasts::Always => "principal".to_owned(),
        Lasts::Once | Lasts::Session | Lasts::Agent => format!("principal == {}", bound.principal()),
    };
    let named = if action == "exec" { "resource".to_owned() } else { format!("resource == {resource}") };
    let attributes: &[&str] = match action {
        "exec" => {
            if bound.attribute("dynamic") != Some(EvalResult::Bool(false)) {
                return Err(unclear(shown("text"), "a part of it is known only when it runs"));
            }
            let names_a_remote = REMOTE.iter().any(|program| bound.is_of(program));
            if names_a_remote && !bound.tags().contains_key("remote-url") {
                return Err(unclear(shown("text"), "which remote it means is known only when it runs"));
            }
            &["text", "path", "origin", "spawned", "envNames", "wrappers", "upstream", "downstream"]
        }
        "read" | "write" | "delete" | "execute" | "connect" | "setEnv" => {
            if resource.id().unescaped().is_empty() {
                return Err(unclear(action.to_owned(), "it is known only when it runs"));
            }
            if action == "connect" || action == "setEnv" { &[] } else { &["contains"] }
        }
        "openSession" => {
            let holds = |name: &str| bound.attribute(name) == Some(EvalResult::Bool(true));
            let stays = match bound.attribute("transport").map(|transport| plain(&transport)).as_deref() {
                Some("ssh") => holds("keyVerified"),
                Some("docker") => holds("imagePinned"),
                _ => false,
            };
            if !stays {
                return Err(unclear(
                    resource.id().unescaped().to_owned(),
                    "neither a known key nor a pinned image says what it is",
                ));
            }
            &["transport", "keyVerified", "image", "imagePinned", "privileged"]
        }
        other => return Err(Unfit::Other { action: other.to_owned() }),
    };
    for name in attributes {
        is(&format!("resource.{name}"), bound.attribute(name))?;
    }
    let tags = if action == "exec" { bound.tags() } else { BTreeMap::new() };
    for (name, value) in tags {
        let name = EvalResult::String(name);
        is(&format!("resource.hasTag({name}) && resource.getTag({name})"), Some(value))?;
    }
    let circumstances: &[&str] = match action {
        "exec" => &["host", "cwd"],
        "connect" => &["host", "program", "port"],
        "openSession" => &["host", "workspace", "remoteUser"],
        "setEnv" => &["host", "program", "receiver", "value"],
        _ => &["host", "program", "spawned"],
    };
    for name in circumstances {
        let value = bound.circumstance(name);
        if *name == "cwd" && value.as_ref().is_none_or(|value| plain(value).is_empty()) {
            return Err(unclear(shown("text"), "its directory is known only when it runs"));
        }
        if *name == "value" && value.as_ref().is_none_or(|value| plain(value).is_empty()) {
            return Err(unclear(resource.id().unescaped().to_owned(), "its value is known only when it runs"));
        }
        is(&format!("context.{name}"), value)?;
    }
    let annotation = |name: &str, value: &str| format!("@{name}({})\n", EvalResult::String(value.to_owned()));
    let conditions = conditions.join(" &&\n  ");
    Ok([
        annotation("yes", given.id),
        annotation("by", &person.user),
        annotation("lasts", person.lasts.as_str()),
        annotation("granted", given.granted),
        annotation("call", given.call),
        format!("permit (\n  {scope},\n  action == {},\n  {named}\n)\nwhen {{\n  {conditions}\n}};\n", bound.action()),
    ]
    .concat())
}

/// Programs that make what their words name, hold nothing that comes from elsewhere but their input, and run no other program.
pub const MAKES_WHAT_IT_NAMES: [&str; 4] = ["mkdir", "rmdir", "tee", "touch"];

/// Programs that connect to what a repository's configuration says.
const REMOTE: [&str; 6] = ["git push", "git fetch", "git pull", "git ls-remote", "git remote", "git submodule"];

/// A text or an entity's id, without what Cedar puts around it.
fn plain(value: &EvalResult) -> String {
    match value {
        EvalResult::String(text) => text.clone(),
        EvalResult::EntityUid(uid) => uid.id().unescaped().to_owned(),
        other => other.to_string(),
    }
}
