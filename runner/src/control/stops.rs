//! What people have stopped, and what therefore is refused until somebody lifts it. Pure; ends nothing by itself.

use std::collections::BTreeMap;

use palisade_redact::Redacted;

use super::wire::Target;

/// Everything that is locked out.
#[derive(Debug, Default)]
pub(crate) struct Stops(BTreeMap<Target, StopNote>);

/// The note that a person leaves with a stop: who it was, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StopNote {
    /// The person.
    pub(crate) by: Redacted,
    /// In that person's words; may be empty.
    pub(crate) reason: Redacted,
}

impl Stops {
    /// Locks something out. The newest word counts.
    pub(crate) fn stop(&mut self, what: Target, stopped: StopNote) {
        self.0.insert(what, stopped);
    }

    /// Lets it in again; whether it was locked out.
    pub(crate) fn lift(&mut self, what: &Target) -> bool {
        self.0.remove(what).is_some()
    }

    /// Why nothing may be done for this agent, or in this session; none if it may.
    pub(crate) fn standing(&self, agent: &str, session: Option<&str>) -> Option<&StopNote> {
        let named = |name: &str| self.0.get(&Target::Named(name.to_owned()));
        self.0.get(&Target::All).or_else(|| named(agent)).or_else(|| session.and_then(named))
    }

    /// All of it.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Target, &StopNote)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stopped_is_refused_until_that_is_lifted() {
        let mut stops = Stops::default();
        let stopped = |by| StopNote { by: Redacted::from_static(by), reason: Redacted::from_static("") };
        let named = |name: &str| Target::Named(name.to_owned());
        let by = |stops: &Stops, agent: &str, session: Option<&str>| {
            stops.standing(agent, session).map(|stopped| stopped.by.to_string())
        };
        assert_eq!(by(&stops, "a", Some("s-1")), None);
        stops.stop(named("s-1"), stopped("session"));
        assert_eq!(by(&stops, "a", Some("s-1")).as_deref(), Some("session"));
        assert_eq!(by(&stops, "a", Some("s-2")), None);
        assert_eq!(by(&stops, "a", None), None);
        stops.stop(named("a"), stopped("agent"));
        assert_eq!(by(&stops, "a", None).as_deref(), Some("agent"));
        assert_eq!(by(&stops, "b", None), None);
        stops.stop(Target::All, stopped("all"));
        assert_eq!(by(&stops, "b", None).as_deref(), Some("all"));
        assert!(stops.lift(&Target::All) && !stops.lift(&Target::All));
        assert_eq!(by(&stops, "b", None), None);
        assert_eq!(by(&stops, "a", Some("s-1")).as_deref(), Some("agent"));
    }
}
