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
struct EnforcedReport {
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
        Self::try_from(EnforcedReport::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl TryFrom<EnforcedReport> for Enforced {
    type Error = NoSuchWord;

    fn try_from(told: EnforcedReport) -> Result<Self, Self::Error> {
        let words = |told: &[String]| {
            let mut words = Vec::new();
            for word in told {
                let word = known(word)?;
                // Each once, so that no list is longer than ours.
                if words.contains(&word) {
                    return Err(NoSuchWord(word.to_owned()));
                }
                words.push(word);
            }
            Ok(words)
        };
        let holders = told.limits_held_by.iter().map(|(name, holder)| Ok((known(name)?, known(holder)?)));
        Ok(Self {
            namespaces: words(&told.namespaces)?,
            capabilities: known(&told.capabilities)?,
            limits: words(&told.limits)?,
            limits_held_by: holders.collect::<Result<_, NoSuchWord>>()?,
            level: told.level,
            landlock_abi: told.landlock_abi,
            seccomp: Some(told.seccomp)
                .filter(|digest| is_digest(digest))
                .ok_or_else(|| NoSuchWord("seccomp".to_owned()))?,
            masks: told.masks,
            searched: told.searched,
            no_new_privs: told.no_new_privs,
            guarded: told.guarded,
            network: told.network,
        })
    }
}

/// `sha256:` and 64 digits: it is shown as it is.
fn is_digest(told: &str) -> bool {
    let digits = told.strip_prefix("sha256:").filter(|digits| digits.len() == 64);
    digits.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

fn known(told: &str) -> Result<&'static str, NoSuchWord> {
    WORDS.into_iter().find(|word| *word == told).ok_or_else(|| NoSuchWord(told.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_but_our_own_words_is_read_back_and_each_once() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let told = |seccomp: &str, namespaces: &[&str]| {
            let told = json!({
                "level": "default", "landlock_abi": 6, "seccomp": seccomp, "namespaces": namespaces, "masks": 1,
                "searched": true, "no_new_privs": true, "capabilities": "none", "limits": ["memory"],
                "limits_held_by": { "memory": "kernel" }, "guarded": true, "network": "not-permitted",
            });
            serde_json::from_value::<Enforced>(told)
        };
        assert!(told(&digest, &["user", "mount"]).is_ok());
        for (seccomp, namespaces) in
            [(&*digest, &["user", "user"][..]), (&*digest, &["users"]), ("sha256:", &[]), ("none of it", &[])]
        {
            assert!(told(seccomp, namespaces).is_err(), "{seccomp} {namespaces:?}");
        }
    }
}
