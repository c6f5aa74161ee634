//! Retention: which files of the record may go, and what is left of them.
//!
//! A file goes when its last record is older than the operator keeps records, nothing writes to its chain or it is not the
//! chain's last, all before it have gone, and it verifies: one that does not is evidence and stays. What is left is a
//! signed note of how far the chain was pruned, so that a beginning that is missing without one shows.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::chain::rfc3339;
use super::key::{RecordKey, Signature, write_all};
use super::series::{self, ChainFiles, Name};
use super::verify::{ChainWalk, MAX_SEQ, signed_text};
use super::{Anchor, BrokenKind, Digest, Expected, FORMAT, PublicKey};

/// How far a chain was pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The last of its files that is gone.
    pub file: u32,
    /// The last record in it.
    pub head: Anchor,
}

/// A file that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) name: Name,
    pub(super) path: PathBuf,
    /// Its last record.
    pub(super) head: Anchor,
}

/// The files that hold nothing younger than `before`. `writing` is the file that the caller itself writes to.
pub(super) fn due(directory: &Path, writing: &Name, before: Timestamp) -> Vec<Due> {
    let Ok(chains) = series::chains(directory) else { return Vec::new() };
    chains.iter().flat_map(|chain| due_of(chain, writing, before)).collect()
}

fn due_of(chain: &ChainFiles, writing: &Name, before: Timestamp) -> Vec<Due> {
    let own = chain.stem() == writing.stem;
    if chain.open && !own {
        return Vec::new();
    }
    let expected = Expected::default();
    let mut walk = ChainWalk::new(&expected);
    let pruned = match chain.pruned(&expected) {
        Ok(pruned) => pruned,
        Err(fault) => {
            tracing::warn!(%fault, "no file of this chain is pruned");
            return Vec::new();
        }
    };
    if let Some(pruned) = pruned {
        walk.continues(pruned.head);
    }
    let mut due = Vec::new();
    let done = pruned.map_or(0, |pruned| pruned.file);
    // Whoever left the note died before the file was gone.
    for path in chain.numbered().range(..=done).map(|(_, path)| path) {
        let _ = fs::unlink(path);
    }
    for (number, path) in chain.numbered().range(done.saturating_add(1)..) {
        let current = own && *number >= writing.number;
        if current || *number != done + 1 + u32::try_from(due.len()).unwrap_or(u32::MAX) || !is_old(path, before) {
            break;
        }
        walk.next_file(Some(*number));
        let walked = std::fs::File::open(path).map_err(|error| error.to_string()).and_then(|file| {
            let file = std::io::BufReader::with_capacity(1 << 20, file);
            walk.through(file, |_, _| ()).map_err(|broken| broken.to_string())
        });
        if let Err(error) = walked {
            tracing::warn!(file = %path.display(), error, "the file does not hold and is not pruned");
            break;
        }
        if walk.last().is_none_or(|last| last >= before) {
            break;
        }
        let name = Name { stem: chain.stem().to_owned(), number: *number };
        due.push(Due { name, path: path.clone(), head: walk.head() });
    }
    due
}

/// By its own time: what is younger is not read at all.
fn is_old(path: &Path, before: Timestamp) -> bool {
    let changed = path.metadata().and_then(|file| file.modified());
    changed.ok().and_then(|changed| Timestamp::try_from(changed).ok()).is_some_and(|changed| changed < before)
}

/// Keeps other processes from pruning the same directory until it is dropped; `None`: another one does.
pub(super) fn lock(directory: &Path) -> Option<impl Drop + use<>> {
    let opened = std::fs::File::open(directory).ok()?;
    fs::flock(&opened, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(Locked(opened))
}

struct Locked(std::fs::File);

impl Drop for Locked {
    fn drop(&mut self) {
        // It goes with the descriptor anyway, unless a child has a copy.
        let _ = fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// Leaves the note and takes the file away, each of them durable before the next.
pub(super) fn take(directory: &Path, key: &RecordKey, due: &Due, at: Timestamp) -> Result<(), Errno> {
    let opened = fs::open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let note = note(key, due, at).ok_or(Errno::INVAL)?;
    let (name, new) = (format!("{}.pruned", due.name.stem), format!("{}.pruned-new", due.name.stem));
    let _ = fs::unlinkat(&opened, &new, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(&opened, &new, flags, Mode::RUSR | Mode::WUSR)?;
    write_all(&file, &note)?;
    fs::fsync(&file)?;
    fs::renameat(&opened, &new, &opened, &name)?;
    fs::fsync(&opened)?;
    match fs::unlinkat(&opened, due.name.file(), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => fs::fsync(&opened),
        Err(cause) => Err(cause),
    }
}

/// What is left of a chain's files.
#[derive(Serialize)]
struct PruneNote<'a> {
    v: u32,
    pruned: &'a str,
    file: u32,
    seq: u64,
    head: Digest,
    #[serde(serialize_with = "rfc3339")]
    at: Timestamp,
    key: PublicKey,
}

fn note(key: &RecordKey, due: &Due, at: Timestamp) -> Option<Vec<u8>> {
    let Due { name, head, .. } = due;
    let note = PruneNote {
        v: FORMAT,
        pruned: &name.stem,
        file: name.number,
        seq: head.seq,
        head: head.head,
        at,
        key: key.public(),
    };
    let mut line = serde_json::to_vec(&note).ok()?;
    key.sign_line(&mut line);
    line.push(b'\n');
    Some(line)
}

/// Reads the note of a chain. With keys given, one of them has to have signed it.
pub(super) fn read(text: &[u8], stem: &str, keys: &[PublicKey]) -> Result<Pruned, BrokenKind> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        v: u64,
        pruned: &'a str,
        file: u32,
        seq: u64,
        head: &'a str,
        key: &'a str,
        sig: &'a str,
    }
    let fields: Fields<'_> = serde_json::from_slice(text).map_err(|_| BrokenKind::NotRecord)?;
    if fields.v != u64::from(FORMAT) {
        return Err(BrokenKind::Version { found: fields.v });
    }
    let key: PublicKey = fields.key.parse().map_err(|_| BrokenKind::NotRecord)?;
    let head = fields.head.parse().map_err(|_| BrokenKind::NotRecord)?;
    if !keys.is_empty() && !keys.contains(&key) {
        return Err(BrokenKind::ForeignKey { key });
    }
    let fits = signed_text(text, fields.sig).zip(Signature::parse(fields.sig));
    if !fits.is_some_and(|(text, signature)| key.signed(&text, &signature)) {
        return Err(BrokenKind::Signature);
    }
    if fields.pruned != stem || !(1..MAX_SEQ).contains(&fields.seq) || fields.file == 0 {
        return Err(BrokenKind::OtherChain);
    }
    Ok(Pruned { file: fields.file, head: Anchor { seq: fields.seq, head } })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::{Audit, AuditSettings, Fault, Sync, public_key, sample, verify_directory};
    use super::*;

    fn settings(directory: &Path, retention: Option<Duration>) -> AuditSettings {
        AuditSettings { rotate_size: 4000, retention, ..AuditSettings::new(directory.to_owned(), Sync::None) }
    }

    /// A chain of so many decisions, in small files.
    fn write(directory: &Path, decisions: usize, stop: bool) -> Audit {
        let audit = Audit::open(&settings(directory, None), sample::start()).unwrap();
        (0..decisions).for_each(|_| {
            audit.append_blocking(sample::decided(audit.request(), "make")).unwrap();
        });
        if stop {
            audit.append_blocking(sample::stopped()).unwrap();
        }
        audit
    }

    fn faults(directory: &Path) -> Vec<Fault> {
        let key = public_key(directory).unwrap();
        let mut faults = Vec::new();
        verify_directory(directory, &[key], |_, found| {
            faults.extend(found.err());
            true
        })
        .unwrap();
        faults
    }

    fn records(directory: &Path) -> Vec<PathBuf> {
        let chains = series::chains(directory).unwrap();
        chains.iter().flat_map(|chain| chain.files().map(Path::to_owned).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn what_is_old_goes_on_record_and_leaves_a_signed_note() {
        let home = tempfile::tempdir().unwrap();
        let old = write(home.path(), 20, true);
        let gone = records(home.path());
        let audit = Audit::open(&settings(home.path(), Some(Duration::ZERO)), sample::start()).unwrap();
        assert_eq!(records(home.path()).len(), gone.len() + 1, "nothing goes that nobody has permitted");
        audit.let_prune(true);
        assert_eq!(records(home.path()), [audit.path()]);
        let text = std::fs::read_to_string(audit.path()).unwrap();
        let pruned: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let pruned: Vec<_> = pruned.iter().filter(|record| record["kind"] == "prune").collect();
        assert_eq!(pruned.len(), gone.len());
        for (record, file) in pruned.iter().zip(&gone) {
            assert_eq!(record["file"].as_str(), file.file_name().unwrap().to_str());
        }
        assert_eq!(pruned.last().unwrap()["last"]["head"], old.head().head.to_string());
        assert_eq!(faults(home.path()), []);

        // The note vouches for what is gone: without it, or changed, the chain is missed.
        let note = old.path().with_extension("pruned");
        let whole = std::fs::read_to_string(&note).unwrap();
        for changed in
            [whole.replace("\"seq\":", "\"seq\":1"), whole.replace("\"file\":", "\"file\":1"), "{}".to_owned()]
        {
            std::fs::write(&note, changed).unwrap();
            assert_eq!(faults(home.path()).len(), 1);
        }
        std::fs::remove_file(&note).unwrap();
        assert!(matches!(faults(home.path())[0].broken.what, BrokenKind::ChainMissing { .. }));
        // That of another chain says nothing of this one.
        std::fs::write(home.path().join("other.pruned"), &whole).unwrap();
        assert!(faults(home.path()).iter().any(|fault| fault.broken.what == BrokenKind::OtherChain));
    }

    #[test]
    fn of_a_chain_that_is_written_only_what_is_done_goes() {
        let home = tempfile::tempdir().unwrap();
        let audit = write(home.path(), 20, false);
        let files = records(home.path());
        let last = Name::of(files.last().unwrap()).unwrap();
        let now = Timestamp::now() + Duration::from_secs(1);
        let due: Vec<_> = due(home.path(), &last, now).into_iter().map(|due| due.path).collect();
        assert_eq!(due, files[..files.len() - 1]);
        // To anybody else all of it is in use.
        assert_eq!(super::due(home.path(), &Name { stem: "x".to_owned(), number: 1 }, now), []);
        // Nothing is older than its youngest record.
        assert_eq!(super::due(home.path(), &last, Timestamp::UNIX_EPOCH), []);

        let key = RecordKey::open(&std::fs::File::open(home.path()).unwrap().into(), home.path()).unwrap();
        let all = super::due(home.path(), &last, now);
        for file in &all[..2] {
            let text = std::fs::read(&file.path).unwrap();
            take(home.path(), &key, file, now).unwrap();
            assert_eq!(faults(home.path()), []);
            // As if its taker had died before it was gone: the note counts, and the next one takes it.
            std::fs::write(&file.path, text).unwrap();
            assert_eq!(faults(home.path()), []);
            super::due(home.path(), &last, now);
            assert!(!file.path.exists());
        }
        let seq = audit.head().seq;
        let chain = &series::chains(home.path()).unwrap()[0];
        audit.append_blocking(sample::stopped()).unwrap();
        let report = chain.verify(&Expected::default()).unwrap().unwrap();
        assert_eq!(report.begins, all[1].head.seq + 1);
        assert!(chain.prove(seq).unwrap().check(&[key.public()]).is_ok());
        assert!(chain.prove(2).is_err());
        // One file more than the note says is gone.
        std::fs::remove_file(&files[2]).unwrap();
        assert_eq!(faults(home.path())[0].broken.what, BrokenKind::FileMissing { number: 3 });
    }

    #[test]
    fn what_does_not_hold_stays() {
        let home = tempfile::tempdir().unwrap();
        write(home.path(), 20, true);
        let files = records(home.path());
        let text = std::fs::read_to_string(&files[1]).unwrap();
        std::fs::write(&files[1], text.replacen("make", "mkae", 1)).unwrap();
        let audit = Audit::open(&settings(home.path(), Some(Duration::ZERO)), sample::start()).unwrap();
        audit.let_prune(true);
        let left = records(home.path());
        assert_eq!(left, [&files[1..], &[audit.path().to_owned()]].concat());
    }
}
