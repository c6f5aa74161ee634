//! The engine that decides now, for all who ask it, and the places that its policies name. Decides nothing itself.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use palisade_engine::{AbsolutePath, Engine};

use crate::facts::real_path;

/// The engine that decides: one at a time, exchanged as a whole.
#[derive(Clone, Debug)]
pub struct Policies(Arc<RwLock<Arc<Engine>>>);

impl Policies {
    /// These, until others take their place.
    pub fn new(engine: Engine) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(engine))))
    }

    /// This one, which somebody else has, too.
    pub(crate) fn shared(engine: Arc<Engine>) -> Self {
        Self(Arc::new(RwLock::new(engine)))
    }

    /// The engine that decides now; whoever asks several questions asks this one all of them.
    pub fn now(&self) -> Arc<Engine> {
        // Nothing that holds the lock can fail half-way.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets this one decide from now on.
    pub(crate) fn replace(&self, engine: Engine) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(engine);
    }
}

/// The roots that path groups and policies name, as the kernel knows them. One that does not exist gets no rule, but a forbid on it
/// counts: it may be made later. What lies behind a link below /proc (`/dev/stdin`) is another file for every process.
pub fn real_roots(engine: &Engine) -> BTreeSet<AbsolutePath> {
    let roots = engine.roots();
    let real = roots.iter().filter_map(|root| real_path(Path::new(root.as_str())));
    let is_link = |root: &AbsolutePath| std::fs::symlink_metadata(root.as_str()).is_ok_and(|file| file.is_symlink());
    real.filter(|root| !is_link(root)).collect()
}
