//! Reads back what a session got that another process of this program tells of. Its words are ours: any other is refused.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::plan::Level;
use super::{Enforced, Network};

/// Every word that [`Enforced`] can hold.
const WORDS: [&str; 16] = [
    "user",
    "mount",
    "pid",
    "ipc",
    "net",
    "none",
    "processes",
    "memory",
    "file-size",
    "open-files",
    "cpu",
    "disk",
    "free-disk",
    "kernel",
    "server",
    "kernel+server",
];

/// What a session got, as it is told.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    level: Level,
    landlock_abi: u32,
    seccomp: String,
    namespaces: Vec<String>,
    masks: usize,
    searched: bool,
    no_new_privs: bool,
    capabilities: String,
    limits: Vec<String>,
    limits_held_by: BTreeMap<String, String>,
    guarded: bool,
    network: Network,
}

/// A word that is none of ours.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is nothing that holds a session")]
struct NoSuchWord(String);

/// By hand: what is derived would want words that live as long as the text that they are read from.
impl<'de> Deserialize<'de> for Enforced {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::try_from(Told::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl TryFrom<Told> for Enforced {
    type Error = NoSuchWord;

    fn try_from(told: Told) -> Result<Self, Self::Error> {
        let words = |told: &[String]| told.iter().map(|word| known(word)).collect::<Result<Vec<_>, _>>();
        let holders = told.limits_held_by.iter().map(|(name, holder)| Ok((known(name)?, known(holder)?)));
        Ok(Self {
            namespaces: words(&told.namespaces)?,
            capabilities: known(&told.capabilities)?,
            limits: words(&told.limits)?,
            limits_held_by: holders.collect::<Result<_, NoSuchWord>>()?,
            level: told.level,
            landlock_abi: told.landlock_abi,
            seccomp: told.seccomp,
            masks: told.masks,
            searched: told.searched,
            no_new_privs: told.no_new_privs,
            guarded: told.guarded,
            network: told.network,
        })
    }
}

fn known(told: &str) -> Result<&'static str, NoSuchWord> {
    WORDS.into_iter().find(|word| *word == told).ok_or_else(|| NoSuchWord(told.to_owned()))
}
