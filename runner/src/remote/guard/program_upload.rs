//! Brings the program to the target, and believes nothing of what lies there but its digest.
//!
//! It lies in a directory of the login's user alone, under its SHA-256. At every session its bytes are hashed there again; if they are not
//! what they have to be they are sent anew, beside it, and moved into its place once they are. Whoever is that user can do as he likes all
//! the same: a session that nothing holds, at the same account, is none to open beside one that is guarded.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use palisade_engine::AbsolutePath;
use sha2::{Digest as _, Sha256};

use super::DIRECTORY;
use crate::remote::{Base, Records, Task};
use crate::shell::posix;
use crate::target::TargetError;

/// What the far end of the upload is told; functions for any `sh`.
const WORDS: &str = include_str!("place.sh");

/// Bytes that it may tell.
const MOST: usize = 64 << 10;

/// Bytes of a program that is sent; the largest build of this one has half of that.
const MAX_PROGRAM: u64 = 1 << 30;

/// The program at the target.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    /// Where it lies there.
    pub(super) program: String,
    /// Its SHA-256.
    pub(super) digest: String,
}

/// Sees to it that the program is there: this one, or the one that the settings name.
///
/// # Errors
/// If it cannot be read here, or cannot be brought there or does not run there.
pub(super) async fn place(base: &Base, state: &AbsolutePath, binary: Option<&Path>) -> Result<Placed, TargetError> {
    let file = binary.map_or_else(|| PathBuf::from("/proc/self/exe"), Path::to_owned);
    let hashed = file.clone();
    let digest = tokio::task::spawn_blocking(move || digest(&hashed)).await;
    let unreadable = |source: io::Error| TargetError::GuardProgram { file: file.clone(), source };
    let digest = digest.map_err(|error| unreadable(io::Error::other(error)))?.map_err(unreadable)?;
    let directory = state.child(DIRECTORY).and_then(|directory| directory.child(&digest).map(|_| directory));
    // It is a word of a login shell's line.
    let directory = directory.filter(|directory| is_plain(directory.as_str()));
    let directory = directory.ok_or_else(|| guard(format!("its directory cannot be named: `{state}`")))?;
    let placed = Placed { program: format!("{directory}/{digest}"), digest };
    match probe(base, &directory, &placed.digest, "palisade_look", Vec::new()).await? {
        ProgramProbe::Runs => return Ok(placed),
        ProgramProbe::Lacks => {}
    }
    let read = file.clone();
    let bytes = tokio::task::spawn_blocking(move || std::fs::read(read)).await;
    let bytes = bytes.map_err(|error| unreadable(io::Error::other(error)))?.map_err(unreadable)?;
    tracing::info!(bytes = bytes.len(), digest = %placed.digest, "the guard is brought to a target");
    match probe(base, &directory, &placed.digest, "palisade_bring", bytes).await? {
        ProgramProbe::Runs => Ok(placed),
        ProgramProbe::Lacks => Err(guard("it has not come there whole".to_owned())),
    }
}

/// Whether any login shell takes it for one word between single quotes.
pub(super) fn is_plain(word: &str) -> bool {
    !word.contains(['\'', '\\', '!', '\n', '\r'])
}

/// How the program stands at the target.
enum ProgramProbe {
    Runs,
    Lacks,
}

async fn probe(
    base: &Base,
    directory: &AbsolutePath,
    digest: &str,
    what: &str,
    input: Vec<u8>,
) -> Result<ProgramProbe, TargetError> {
    let version = format!("palisade {}", env!("CARGO_PKG_VERSION"));
    let words = [directory.as_str(), digest, &version].map(|word| posix::quoted(word.as_bytes()));
    let call = format!("{what} {}", words.join(" "));
    let task = Task { words: WORDS, call: &call, input, records: Records::Lines, most: MOST };
    let mut last = String::new();
    base.perform(
        task,
        || true,
        |record| {
            last = String::from_utf8_lossy(record).into_owned();
            ControlFlow::Continue(())
        },
    )
    .await?;
    match last.split_once(' ').unwrap_or((&last, "")) {
        ("runs", _) => Ok(ProgramProbe::Runs),
        ("lacks", _) => Ok(ProgramProbe::Lacks),
        ("fails", why) => Err(guard(plain(why))),
        ("noexec", mount) => Err(not_executed(base.name(), directory, &plain(mount))),
        _ => Err(guard("it cannot be brought there".to_owned())),
    }
}

/// Nothing that lies in `directory` can be executed; `mount` is what forbids it, where that is known.
fn not_executed(target: &str, directory: &AbsolutePath, mount: &str) -> TargetError {
    let by = if mount.is_empty() { String::new() } else { format!(": `{mount}` is mounted `noexec`") };
    TargetError::Guard {
        why: format!("no program in `{directory}` can be executed there{by}"),
        help: format!("set `targets.{target}.state` to a directory there from which programs can be executed"),
    }
}

fn guard(why: String) -> TargetError {
    TargetError::Guard { why, help: PROGRAM.to_owned() }
}

const PROGRAM: &str = "the target needs a Linux on which this very program runs, and a `state` directory in its settings where files can \
                       be executed; `remote_guard_binary` names another build of the same version, a static one for instance";

fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// The SHA-256 of a file, which is read anew only if it may be another one.
fn digest(file: &Path) -> io::Result<String> {
    static LAST: Mutex<Option<(Identity, String)>> = Mutex::new(None);
    let mut opened = File::open(file)?;
    let about = opened.metadata()?;
    if !about.is_file() || about.len() > MAX_PROGRAM {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let identity = Identity {
        file: (about.dev(), about.ino(), about.len()),
        modified: (about.mtime(), about.mtime_nsec()),
        changed: (about.ctime(), about.ctime_nsec()),
    };
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, digest)) = last.as_ref().filter(|(known, _)| *known == identity) {
        return Ok(digest.clone());
    }
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let read = opened.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hash.update(bytes);
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    *last = Some((identity, digest.clone()));
    Ok(digest)
}

/// What tells a file from what it was before.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    file: (u64, u64, u64),
    modified: (i64, i64),
    changed: (i64, i64),
}
