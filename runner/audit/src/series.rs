//! Which files belong to one chain, and whether all that lie in a directory hold together.
//!
//! A chain begins in `STEM.jsonl` and goes on in `STEM_00002.jsonl` and so on, each begun by a `rotate` that is chained to
//! the last line of the file before. Files that retention has taken leave `STEM.pruned`, signed, which says up to where.
//! A chain's `start` names the newest chain before it that had ended, so that one that is gone altogether is missed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::proof::{Proof, ProveError};
use super::verify::ChainWalk;
use super::{Anchor, Broken, BrokenKind, Expected, LiveFile, MAX_LINE, Report, proof, prune};

/// The name of a file of a chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    /// What all files of the chain have in common.
    pub(super) stem: String,
    /// Which of them it is, from 1.
    pub(super) number: u32,
}

impl Name {
    /// The name that a file has; one that is not of our making is the first of its own chain.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let stem = path.file_name()?.to_str()?.strip_suffix(".jsonl")?;
        let whole = || Self { stem: stem.to_owned(), number: 1 };
        let Some((first, digits)) = stem.rsplit_once('_') else { return Some(whole()) };
        let number = digits.parse().ok().filter(|number| *number > 1 && format!("{number:05}") == digits);
        Some(number.map_or_else(whole, |number| Self { stem: first.to_owned(), number }))
    }

    /// The name as a file's.
    pub(super) fn file(&self) -> String {
        let stem = &self.stem;
        if self.number == 1 { format!("{stem}.jsonl") } else { format!("{stem}_{:05}.jsonl", self.number) }
    }

    /// That of the file after this one.
    pub(super) fn next(&self) -> Self {
        Self { stem: self.stem.clone(), number: self.number.saturating_add(1) }
    }
}

/// The files of one chain, as they lie in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainFiles {
    directory: PathBuf,
    stem: String,
    /// In the order of their numbers.
    files: BTreeMap<u32, PathBuf>,
    pruned: Option<PathBuf>,
    /// Its writer lives, or died and nobody has looked yet.
    pub(super) open: bool,
}

/// The chains of a directory, oldest first.
///
/// # Errors
/// If the directory cannot be read.
pub fn chains(directory: &Path) -> io::Result<Vec<ChainFiles>> {
    let mut found: BTreeMap<String, ChainFiles> = BTreeMap::new();
    for entry in directory.read_dir()? {
        let path = entry?.path();
        let Some(stem) = path.file_stem().and_then(OsStr::to_str).map(str::to_owned) else { continue };
        match path.extension().and_then(OsStr::to_str) {
            Some("jsonl") => {
                let Some(name) = Name::of(&path) else { continue };
                found.entry(name.stem).or_default().files.insert(name.number, path);
            }
            Some("pruned") => found.entry(stem).or_default().pruned = Some(path),
            Some("open") => found.entry(stem).or_default().open = true,
            _ => {}
        }
    }
    // A mark without a file is of a chain that is just being begun.
    found.retain(|_, chain| !chain.files.is_empty() || chain.pruned.is_some());
    for (stem, chain) in &mut found {
        (chain.stem, chain.directory) = (stem.clone(), directory.to_owned());
    }
    Ok(found.into_values().collect())
}

/// The chain that a file belongs to.
///
/// # Errors
/// If its directory cannot be read.
pub fn chain_of(file: &Path) -> io::Result<ChainFiles> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let alone = || ChainFiles { files: BTreeMap::from([(1, file.to_owned())]), ..ChainFiles::default() };
    let Some(name) = Name::of(file) else { return Ok(alone()) };
    Ok(chains(directory)?.into_iter().find(|chain| chain.stem == name.stem).unwrap_or_else(alone))
}

/// Where a chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {broken}", file.display())]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub broken: Broken,
}

impl ChainFiles {
    /// What its files' names have in common.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// Its files that are there, in order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.values().map(PathBuf::as_path)
    }

    /// Where to look: its first file, or what is left of it.
    pub fn place(&self) -> &Path {
        self.files.values().next().or(self.pruned.as_ref()).unwrap_or(&self.directory)
    }

    /// How far it was pruned; `None`: it is whole.
    ///
    /// # Errors
    /// If what pruning left was changed, or was signed with none of the keys.
    pub fn pruned(&self, expected: &Expected) -> Result<Option<prune::Pruned>, Fault> {
        let Some(path) = &self.pruned else { return Ok(None) };
        let fault = |what| Fault { file: path.clone(), broken: Broken { record: 1, offset: 0, seq: None, what } };
        let text = std::fs::read(path).map_err(|error| fault(BrokenKind::Unreadable { cause: error.kind() }))?;
        prune::read(&text, &self.stem, &expected.keys).map(Some).map_err(fault)
    }

    /// Walks over all of its files.
    ///
    /// # Errors
    /// The first place that does not hold.
    pub fn verify(&self, expected: &Expected) -> Result<Option<Report>, Fault> {
        let pruned = self.pruned(expected)?;
        let mut walk = ChainWalk::new(expected);
        self.walk(&mut walk, pruned.as_ref(), |_, _| ())?;
        let fault = |broken| Fault {
            file: self.files.values().next_back().or(self.pruned.as_ref()).cloned().unwrap_or_default(),
            broken,
        };
        if self.files.is_empty() {
            return walk.only_continues().map(|()| None).map_err(fault);
        }
        walk.finish().map(Some).map_err(fault)
    }

    fn walk(
        &self,
        walk: &mut ChainWalk<'_>,
        pruned: Option<&prune::Pruned>,
        mut see: impl FnMut(&ChainWalk<'_>, &[u8]),
    ) -> Result<(), Fault> {
        if let Some(pruned) = pruned {
            walk.continues(pruned.head);
        }
        let mut next = pruned.map_or(1, |pruned| pruned.file.saturating_add(1));
        // A file that the note covers is about to go.
        for (number, path) in self.files.range(next..) {
            let fault = |broken| Fault { file: path.clone(), broken };
            if *number != next {
                return Err(fault(walk.broken_here(None, BrokenKind::FileMissing { number: next })));
            }
            let file = LiveFile::open(path)
                .map_err(|error| fault(walk.broken_here(None, BrokenKind::Unreadable { cause: error.kind() })))?;
            walk.next_file(Some(*number));
            walk.through(file, &mut see).map_err(fault)?;
            next = number.saturating_add(1);
        }
        Ok(())
    }

    /// Finds a record of this chain and what shows that it is one.
    ///
    /// # Errors
    /// As [`super::prove`].
    pub fn prove(&self, seq: u64) -> Result<Proof, ProveError> {
        let expected = Expected::default();
        let pruned = self.pruned(&expected)?;
        let mut walk = ChainWalk::new(&expected);
        let mut gathered = proof::Gathered::new(seq);
        let walked = self.walk(&mut walk, pruned.as_ref(), |walk, line| gathered.see(walk, line));
        gathered.proved(&walk, walked.map_err(ProveError::from))
    }

    /// The chain that had ended last when this one began, by its `start`, and how it ended. `None`: it names none.
    pub fn before(&self) -> Option<(String, Anchor)> {
        #[derive(Deserialize)]
        struct Start {
            kind: String,
            before: Option<PreviousChain>,
        }
        #[derive(Deserialize)]
        struct PreviousChain {
            chain: String,
            seq: u64,
            head: String,
        }
        let mut line = Vec::new();
        let file = File::open(self.files.get(&1)?).ok()?;
        BufReader::new(file).take(MAX_LINE as u64).read_until(b'\n', &mut line).ok()?;
        let start: Start = serde_json::from_slice(&line).ok()?;
        let before = start.before.filter(|_| start.kind == "start")?;
        Some((before.chain, Anchor { seq: before.seq, head: before.head.parse().ok()? }))
    }

    /// How it ends now: its last whole line, as that line says and unverified.
    pub(super) fn end(&self) -> Option<Anchor> {
        let (_, path) = self.files.last_key_value()?;
        super::recover::last_line(path).ok().flatten()
    }

    /// Its files by their numbers.
    pub(super) fn numbered(&self) -> &BTreeMap<u32, PathBuf> {
        &self.files
    }
}

/// Verifies all chains of a directory: each by itself, and that none is missing that another names. Each outcome is given to
/// `tell` with the files that it is about; `false` from it ends the work.
///
/// # Errors
/// If the directory cannot be read.
pub fn verify_directory(
    directory: &Path,
    keys: &[super::PublicKey],
    mut tell: impl FnMut(&ChainFiles, Result<Option<Report>, Fault>) -> bool,
) -> io::Result<()> {
    let chains = chains(directory)?;
    let mut anchors: BTreeMap<String, Vec<Anchor>> = BTreeMap::new();
    let mut namers: BTreeMap<String, PathBuf> = BTreeMap::new();
    for chain in &chains {
        if let Some((stem, anchor)) = chain.before() {
            anchors.entry(stem.clone()).or_default().push(anchor);
            namers.insert(stem, chain.place().to_owned());
        }
    }
    for chain in &chains {
        let anchors = anchors.remove(&chain.stem).unwrap_or_default();
        let expected = Expected { anchors, keys: keys.to_vec() };
        if !tell(chain, chain.verify(&expected)) {
            return Ok(());
        }
    }
    for stem in anchors.into_keys() {
        let gone = ChainFiles { directory: directory.to_owned(), stem, ..ChainFiles::default() };
        let what = BrokenKind::ChainMissing { chain: gone.stem.clone() };
        let file = namers.remove(&gone.stem).unwrap_or_default();
        let broken = Broken { record: 1, offset: 0, seq: Some(1), what };
        if !tell(&gone, Err(Fault { file, broken })) {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "tests")]
mod tests {
    use std::fs;

    use super::super::{Audit, AuditSettings, PublicKey, Sync, public_key, sample};
    use super::*;

    /// A chain of so many decisions in files of some 4 KB.
    fn write(directory: &Path, decisions: usize) -> Vec<PathBuf> {
        let settings = AuditSettings { rotate_size: 4000, ..AuditSettings::new(directory.to_owned(), Sync::None) };
        let audit = Audit::open(&settings, sample::start()).unwrap();
        for number in 0..decisions {
            audit.append_blocking(sample::decided(audit.request(), &format!("make {number}"))).unwrap();
        }
        audit.append_blocking(sample::stopped()).unwrap();
        chain_of(audit.path()).unwrap().files().map(Path::to_owned).collect()
    }

    #[test]
    fn a_line_that_is_just_written_is_not_taken_for_a_crash() {
        let home = tempfile::tempdir().unwrap();
        let last = write(home.path(), 20).pop().unwrap();
        let whole = fs::read(&last).unwrap();
        let (before, rest) = whole.split_at(whole.len() - 9);
        fs::write(&last, before).unwrap();
        assert!(matches!(faults(home.path(), &[]).as_slice(), [(_, BrokenKind::Torn { .. })]));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_millis(30));
                let mut file = fs::OpenOptions::new().append(true).open(&last).unwrap();
                io::Write::write_all(&mut file, rest).unwrap();
            });
            assert_eq!(faults(home.path(), &[]), []);
        });
    }

    /// What is wrong in a directory: the file and the fault of each chain that does not hold.
    fn faults(directory: &Path, keys: &[PublicKey]) -> Vec<(PathBuf, BrokenKind)> {
        let mut faults = Vec::new();
        verify_directory(directory, keys, |_, found| {
            faults.extend(found.err().map(|fault| (fault.file, fault.broken.what)));
            true
        })
        .unwrap();
        faults
    }

    #[test]
    fn names_tell_the_chain_and_the_place_in_it() {
        for (file, stem, number) in [
            ("20261121T040100Z-12-5f3a9c01.jsonl", "20261121T040100Z-12-5f3a9c01", 1),
            ("20261121T040100Z-12-5f3a9c01_00002.jsonl", "20261121T040100Z-12-5f3a9c01", 2),
            ("a_123456.jsonl", "a", 123_456),
            ("a_00001.jsonl", "a_00001", 1),
            ("a_2.jsonl", "a_2", 1),
            ("a_000002.jsonl", "a_000002", 1),
            ("my_record.jsonl", "my_record", 1),
        ] {
            let name = Name::of(Path::new(file)).unwrap();
            assert_eq!((name.stem.as_str(), name.number), (stem, number), "{file}");
            assert_eq!(name.file(), file);
        }
        assert_eq!(Name::of(Path::new("signing.key")), None);
        let first = Name { stem: "b".to_owned(), number: 1 };
        assert!(first.file() < first.next().file() && first.next().file() < first.next().next().file());
    }

    #[test]
    fn a_chain_goes_on_in_another_file_when_one_is_full() {
        let home = tempfile::tempdir().unwrap();
        let files = write(home.path(), 20);
        assert!(files.len() > 3, "{files:?}");
        let key = public_key(home.path()).unwrap();
        let expected = Expected { anchors: vec![], keys: vec![key] };
        let chain = &chains(home.path()).unwrap()[0];
        let report = chain.verify(&expected).unwrap().unwrap();
        assert_eq!(
            (report.begins, report.records, report.signed, report.complete),
            (1, report.head.seq, report.head.seq, true)
        );
        assert_eq!(faults(home.path(), &[key]), []);

        // Each file tells by itself where it begins, and holds; all records are there once.
        let mut seen = 0;
        for file in &files {
            let alone = super::super::verify(BufReader::new(File::open(file).unwrap()), expected.clone()).unwrap();
            assert_eq!(alone.begins, seen + 1, "{file:?}");
            seen += alone.records;
            assert!(file.metadata().unwrap().len() < 6000);
        }
        assert_eq!(seen, report.records);
        for seq in 1..=report.records {
            let proven = chain.prove(seq).unwrap().check(&[key]).unwrap();
            assert_eq!(proven.seq, seq);
        }
    }

    #[test]
    fn a_file_that_is_missing_swapped_or_changed_is_named() {
        type Attack = fn(&[PathBuf]);
        fn swapped(files: &[PathBuf], one: usize, other: usize) {
            let aside = files[one].with_extension("aside");
            fs::rename(&files[one], &aside).unwrap();
            fs::rename(&files[other], &files[one]).unwrap();
            fs::rename(aside, &files[other]).unwrap();
        }
        fn shortened(file: &Path) {
            let text = fs::read_to_string(file).unwrap();
            let lines: Vec<_> = text.split_inclusive('\n').collect();
            fs::write(file, lines[..lines.len() - 1].concat()).unwrap();
        }
        let attacks: [(&str, Attack, usize, BrokenKind); 8] = [
            (
                "the first is gone",
                |files| fs::remove_file(&files[0]).unwrap(),
                1,
                BrokenKind::FileMissing { number: 1 },
            ),
            ("another is gone", |files| fs::remove_file(&files[1]).unwrap(), 2, BrokenKind::FileMissing { number: 2 }),
            ("two are swapped", |files| swapped(files, 1, 2), 1, BrokenKind::FileSwapped { expected: 2, found: 3 }),
            (
                "the first is swapped",
                |files| swapped(files, 0, 2),
                0,
                BrokenKind::FileSwapped { expected: 1, found: 3 },
            ),
            (
                "one is doubled",
                |files| assert!(fs::copy(&files[1], &files[2]).unwrap() > 0),
                2,
                BrokenKind::FileSwapped { expected: 3, found: 2 },
            ),
            ("one is cut", |files| shortened(&files[1]), 2, BrokenKind::FileLink),
            ("one is emptied", |files| fs::write(&files[1], "").unwrap(), 2, BrokenKind::FileLink),
            (
                "the last line of one is changed",
                |files| {
                    let text = fs::read_to_string(&files[1]).unwrap();
                    let at = text.rfind("\"mono_ns\":").unwrap();
                    fs::write(&files[1], format!("{}{}", &text[..at], text[at..].replacen("_ns\":", "_ns\":1", 1)))
                        .unwrap();
                },
                1,
                BrokenKind::Signature,
            ),
        ];
        for (name, attack, at, what) in attacks {
            let home = tempfile::tempdir().unwrap();
            let files = write(home.path(), 20);
            attack(&files);
            let found = faults(home.path(), &[]);
            assert_eq!(found.len(), 1, "{name}: {found:?}");
            assert_eq!(found[0].0, files[at], "{name}: {found:?}");
            assert_eq!(found[0].1, what, "{name}");
        }
    }

    #[test]
    fn a_file_of_another_chain_does_not_fit_in() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (write(home.path(), 20), write(home.path(), 20));
        fs::copy(&other[1], &one[1]).unwrap();
        let found = faults(home.path(), &[]);
        assert_eq!(found, [(one[1].clone(), BrokenKind::FileLink)]);
    }

    #[test]
    fn a_chain_that_is_gone_or_cut_off_is_missed_by_the_next() {
        let home = tempfile::tempdir().unwrap();
        let first = write(home.path(), 2);
        let second = write(home.path(), 2);
        write(home.path(), 2);
        assert_eq!(faults(home.path(), &[]), []);

        let text = fs::read_to_string(&first[0]).unwrap();
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        fs::write(&first[0], lines[..3].concat()).unwrap();
        assert_eq!(faults(home.path(), &[]), [(first[0].clone(), BrokenKind::AnchorNotReached { anchor: 4 })]);
        fs::remove_file(&first[0]).unwrap();
        let chain = Name::of(&first[0]).unwrap().stem;
        assert_eq!(faults(home.path(), &[]), [(second[0].clone(), BrokenKind::ChainMissing { chain })]);
    }
}
