//! An engine as plain data, for another process of the same program that is to decide alike.
//!
//! What is made of it is only taken if its fingerprint is the one that it was sent under: a policy that is read otherwise at the other
//! end, or a group that has lost a member on the way, is no engine.

use serde::{Deserialize, Serialize};

use crate::bundle::{Bundle, BundleError};
use crate::engine::Engine;
use crate::path::AbsolutePath;
use crate::source::Source;
use crate::vocabulary::Vocabulary;

/// What an engine is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineSpec {
    /// The policy files, without the guards.
    sources: Vec<Source>,
    /// The group table beside them.
    groups: Option<Source>,
    /// All groups, those of the settings among them.
    vocabulary: Vocabulary,
    /// [`Engine::policy_set`] of the engine that it is of.
    policy_set: String,
}

/// Why nothing can be made of it.
#[derive(Debug, thiserror::Error)]
pub enum EngineSpecError {
    /// The policies are refused.
    #[error("the policies are refused: {0}")]
    Refused(#[from] BundleError),
    /// They are others.
    #[error("the policies came out as {found}, and should be {expected}")]
    Other {
        /// What was made.
        found: String,
        /// What was meant.
        expected: String,
    },
}

impl EngineSpec {
    /// The engine that decides as the one that this is of.
    ///
    /// # Errors
    /// If the policies are refused, or the engine would be another one.
    pub fn make(self) -> Result<Engine, EngineSpecError> {
        let Self { sources, groups, vocabulary, policy_set } = self;
        let engine = Engine::new(Bundle::with_groups(sources, groups)?, vocabulary);
        if engine.policy_set() != policy_set {
            return Err(EngineSpecError::Other { found: engine.policy_set().to_owned(), expected: policy_set });
        }
        Ok(engine)
    }

    /// The same on another machine: there a group also means what its directories are really called (`real`), and what is `own`ed by
    /// Palisade belongs to its group.
    ///
    /// # Errors
    /// As [`Self::make`], before anything is added.
    pub fn make_at(
        self,
        real: impl Fn(&AbsolutePath) -> Option<AbsolutePath>,
        own: &[AbsolutePath],
    ) -> Result<Engine, EngineSpecError> {
        let Engine { bundle, mut vocabulary, .. } = self.make()?;
        own.iter().for_each(|path| vocabulary.add_directory("palisade", path));
        vocabulary.add_real_paths(real);
        Ok(Engine::new(bundle, vocabulary))
    }
}

impl Engine {
    /// What it is made of.
    pub fn spec(&self) -> EngineSpec {
        let (sources, groups) = self.bundle.parts();
        EngineSpec { sources, groups, vocabulary: self.vocabulary.clone(), policy_set: self.policy_set().to_owned() }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_engine_comes_out_as_it_went_in_or_not_at_all() {
        let home = AbsolutePath::new("/home/a").unwrap();
        let (name, text) = palisade_policies::GROUPS;
        let vocabulary = Vocabulary::parse(name, text, &home).unwrap();
        let engine = Engine::new(Bundle::profile("developer").unwrap(), vocabulary);
        let text = serde_json::to_string(&engine.spec()).unwrap();
        let same: EngineSpec = serde_json::from_str(&text).unwrap();
        assert_eq!(same.make().unwrap().policy_set(), engine.policy_set());
        // One member of one group less.
        let less = text.replacen("\"last\":\".ssh\"", "\"last\":\".shh\"", 1);
        assert_ne!(less, text);
        let other: EngineSpec = serde_json::from_str(&less).unwrap();
        assert!(matches!(other.make(), Err(EngineSpecError::Other { .. })));
        // A policy that says something else.
        let other: EngineSpec = serde_json::from_str(&text.replacen("no-sudo", "no-sudoo", 1)).unwrap();
        assert!(matches!(other.make(), Err(EngineSpecError::Other { .. })));
    }
}
