//! Puts the steps of a restore together, so that one program at the target does many of them. No I/O.
//!
//! What stands one behind the other, in one directory, and is done alike is done at once: all of it is looked at again by one program, and
//! the next one does it. Where anything is not as the plan has seen it, or cannot be done, each step is taken by itself: it says why.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rustix::fs::FileType;

use super::listing::{decimal, standing};
use super::word;
use crate::checkpoint::restore::{PREFIX, Step};
use crate::checkpoint::tree::{Entry, Kind, Name, Tree};

/// Steps that are taken at once, at most. What somebody changes while they are is not seen: it is that many renames.
const MOST: usize = 100;

/// Shells that set times in the stage side by side: it takes a program for each time that is not another's.
const SIDE_BY_SIDE: usize = 4;

/// The directory in which what comes back is made; and its leftovers are known by that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage<'a> {
    /// The checkpoint of what was there before.
    pub(super) mark: &'a str,
}

impl Stage<'_> {
    /// Its name in the workspace.
    pub(super) fn directory(self) -> Vec<u8> {
        [PREFIX, self.mark.as_bytes(), b"-0"].concat()
    }
}

/// All steps, and which of them are taken together.
#[derive(Debug)]
pub(super) struct Batches<'a> {
    steps: Vec<Step<'a>>,
    now: &'a Tree,
    batches: Vec<Batch<'a>>,
    /// Where each file and link is made that comes back, below the stage.
    staged: BTreeMap<&'a Name, Vec<u8>>,
}

/// Steps from one number on, counted from zero.
#[derive(Debug)]
struct Batch<'a> {
    deed: Deed,
    above: &'a [u8],
    from: usize,
    count: usize,
}

/// What is done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// Files and links go.
    Erase,
    /// Directories go.
    Remove,
    /// Files come from the stage.
    Put,
    /// Anything else is a step by itself.
    Single,
}

impl<'a> Batches<'a> {
    /// These steps, of a plan that was made for `now`.
    pub(super) fn of(steps: Vec<Step<'a>>, now: &'a Tree) -> Self {
        let mut batches: Vec<Batch<'a>> = Vec::new();
        let mut staged = BTreeMap::new();
        for (at, step) in steps.iter().enumerate() {
            let (above, file) = split(step.name());
            let deed = deed(step, now);
            let joins = |last: &&mut Batch<'a>| {
                deed != Deed::Single && last.deed == deed && last.above == above && last.count < MOST
            };
            match batches.last_mut().filter(joins) {
                Some(last) => last.count += 1,
                None => batches.push(Batch { deed, above, from: at, count: 1 }),
            }
            if let Step::Put(name, Entry { kind: Kind::File(..) | Kind::Link(_), .. }) = step {
                let place = match deed {
                    Deed::Put => [format!("B{}/", batches.len()).as_bytes(), file].concat(),
                    _ => format!("{}", at + 1).into_bytes(),
                };
                staged.insert(*name, place);
            }
        }
        Self { steps, now, batches, staged }
    }

    /// The path of a step, counted from one.
    pub(super) fn name(&self, number: usize) -> Option<&'a Name> {
        self.steps.get(number.checked_sub(1)?).map(Step::name)
    }

    /// How many steps there are.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether anything comes back that is made in the stage first.
    pub(super) fn has_stage(&self) -> bool {
        !self.staged.is_empty()
    }

    /// Where a file is made, below the stage.
    pub(super) fn staged(&self, name: &Name) -> &[u8] {
        self.staged.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The steps as `steps.sh` takes them.
    pub(super) fn script(&self, stage: Stage<'_>) -> String {
        let directory = String::from_utf8_lossy(&stage.directory()).into_owned();
        let mut script = format!("stage=$root/{directory}\n");
        if self.staged.values().len() > 0 {
            // Nothing is done anywhere else; without an end of its own the whole of it has failed.
            let _ = writeln!(script, "at {directory} >/dev/null || {{ echo 'the stage is gone' >&2; exit 1; }}");
        }
        self.settle(&mut script);
        for (at, batch) in self.batches.iter().enumerate() {
            block(&mut script, |text| self.take(text, at + 1, batch));
        }
        block(&mut script, |text| text.push_str("clear_stage\n"));
        script
    }

    /// Owner, permissions and time of all files, while they are in the stage.
    fn settle(&self, script: &mut String) {
        let mut owned: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        let mut timed: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (at, step) in self.steps.iter().enumerate() {
            if let Step::Put(_, Entry { kind: Kind::File(..), mode, owner, modified }) = step {
                owned.entry((*owner, *mode)).or_default().push(at);
                timed.entry(*modified).or_default().push(at);
            }
        }
        for (((user, group), mode), files) in &owned {
            for files in files.chunks(MOST) {
                let all = format!("owned {user} {group} {mode:04o}{}", self.places(files));
                let each = |at: usize, place: &str| format!("own {at} {mode:04o} {user}:{group} {place}\n");
                block(script, |text| self.together(text, &all, files, each));
            }
        }
        let mut lines = Vec::new();
        for (modified, files) in &timed {
            let time = decimal(*modified);
            for files in files.chunks(MOST) {
                let each = |at: usize, place: &str| format!("stamp {at} '{time}' {place}\n");
                let mut line = String::new();
                match files {
                    [only] => line = each(only + 1, &self.place(*only)),
                    files => {
                        let all = format!("stamps '{time}'{}", self.places(files));
                        self.together(&mut line, &all, files, each);
                    }
                }
                lines.push(line);
            }
        }
        for lines in lines.chunks(MOST) {
            block(script, |text| {
                for lines in lines.chunks(MOST / SIDE_BY_SIDE) {
                    let _ = writeln!(text, "(\n{}) &", lines.concat());
                }
                text.push_str("wait\n");
            });
        }
    }

    /// Something for all of these files and, where that fails, for each.
    fn together(&self, text: &mut String, all: &str, files: &[usize], each: impl Fn(usize, &str) -> String) {
        let _ = writeln!(text, "{all} || {{");
        text.extend(files.iter().map(|at| each(at + 1, &self.place(*at))));
        text.push_str("}\n");
    }

    fn place(&self, at: usize) -> String {
        let staged = self.steps.get(at).map(|step| self.staged(step.name())).unwrap_or_default();
        word(&[b"./", staged].concat())
    }

    fn places(&self, files: &[usize]) -> String {
        files.iter().flat_map(|at| [" ".to_owned(), self.place(*at)]).collect()
    }

    /// The steps of one batch.
    fn take(&self, text: &mut String, number: usize, batch: &Batch<'_>) {
        let end = batch.from + batch.count;
        let steps = self.steps.get(batch.from..end).unwrap_or_default();
        let verb = match batch.deed {
            Deed::Single => String::new(),
            Deed::Erase => "erase".to_owned(),
            Deed::Remove => "remove".to_owned(),
            Deed::Put => format!("put B{number}"),
        };
        let is_one = verb.is_empty();
        if !is_one {
            let files = steps.iter().map(|step| String::from_utf8_lossy(split(step.name()).1).into_owned());
            let files: Vec<String> = files.collect();
            let seen = steps.iter().zip(&files);
            let seen = seen.filter_map(|(step, file)| Some(format!("{} ./{file}", self.seen(step)?)));
            let seen: Vec<String> = seen.collect();
            // Names of such steps are plain: there is no quote in them.
            let _ = write!(text, "{verb} {} '{}'", word(batch.above), seen.join("\n"));
            text.extend(files.iter().map(|file| format!(" './{file}'")));
            text.push_str(" || {\n");
        }
        text.extend(steps.iter().enumerate().map(|(at, step)| self.step(batch.from + at + 1, step)));
        if !is_one {
            text.push_str("}\n");
        }
    }

    fn seen(&self, step: &Step<'_>) -> Option<String> {
        self.now.found.get(step.name()).map(standing)
    }

    /// One step.
    fn step(&self, number: usize, step: &Step<'_>) -> String {
        let (above, file) = split(step.name());
        let seen = self.seen(step).unwrap_or_default();
        let place = format!("{number} {} {} {}", word(above), word(file), word(seen.as_bytes()));
        match step {
            Step::Delete(_) => format!("delete {place}\n"),
            Step::Put(_, Entry { kind: Kind::Directory, .. }) => format!("directory {place}\n"),
            Step::Put(name, entry @ Entry { kind: Kind::Link(target), .. }) => {
                format!("link {place} {} {} {}\n", word(self.staged(name)), word(target), times(entry))
            }
            Step::Put(name, _) => format!("file {place} {}\n", word(self.staged(name))),
            Step::Finish(name, entry) => {
                format!("finish {number} {} {:04o} {}\n", word(name), entry.mode, times(entry))
            }
        }
    }
}

/// Lines that put the times of directories back, each with its name.
pub(super) fn put_times<'n>(directories: impl Iterator<Item = (&'n Name, &'n Entry)>) -> String {
    let lines: Vec<String> = directories
        .map(|(name, entry)| {
            let (above, file) = split(name);
            format!("put_time 0 {} {} '{}'\n", word(above), word(file), decimal(entry.modified))
        })
        .collect();
    let mut script = String::new();
    for lines in lines.chunks(MOST) {
        block(&mut script, |text| text.extend(lines.iter().map(String::as_str)));
    }
    script
}

/// What is taken as a whole or not at all, wherever the script is cut. What it starts must not read the rest.
fn block(script: &mut String, lines: impl FnOnce(&mut String)) {
    script.push_str("{\nalive\n");
    lines(script);
    script.push_str("} </dev/null\n");
}

fn deed(step: &Step<'_>, now: &Tree) -> Deed {
    let found = now.found.get(step.name()).map(|found| found.file_type());
    match step {
        _ if !is_plain(split(step.name()).1) => Deed::Single,
        Step::Delete(_) if found == Some(FileType::Directory) => Deed::Remove,
        Step::Delete(_) => Deed::Erase,
        // What stands in the place of a directory, or the other way round, is a matter of its own.
        Step::Put(_, Entry { kind: Kind::File(..), .. }) if found != Some(FileType::Directory) => Deed::Put,
        Step::Put(..) | Step::Finish(..) => Deed::Single,
    }
}

/// Whether a name is the same to every shell, to `find` and to git, which takes none that could be its own.
fn is_plain(file: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.+=,@%".contains(byte);
    let is_gits = file.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case(b".git"));
    !file.is_empty() && file.iter().all(plain) && !is_gits
}

/// The directory that a path lies in, and its name there.
pub(super) fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|byte| *byte == b'/') {
        Some(end) => (name.get(..end).unwrap_or_default(), name.get(end + 1..).unwrap_or_default()),
        None => (b"", name),
    }
}

/// Time and owner.
fn times(entry: &Entry) -> String {
    let (user, group) = entry.owner;
    format!("'{}' {user}:{group}", decimal(entry.modified))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::checkpoint::tree::{Found, Stamp};

    fn found(kind: FileType, inode: u64) -> Found {
        let stamp = Stamp { file: (5, inode), size: 3, mode: kind.as_raw_mode() | 0o644, owner: (7, 8), times: [1, 2] };
        Found::new(stamp, None)
    }

    fn entry(modified: i128) -> Entry {
        let object = git2::Oid::from_str("ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        Entry { kind: Kind::File(object, 3), mode: 0o640, owner: (7, 8), modified }
    }

    /// The lines of what is taken, without those of single steps that stand by in a batch, and without how they are settled.
    fn taken(batches: &Batches<'_>) -> Vec<String> {
        let script = batches.script(Stage { mark: "m" });
        let verbs = ["erase", "remove", "put", "delete", "directory", "file", "link", "finish"];
        let mut stands_by = false;
        let mut lines = Vec::new();
        for line in script.lines() {
            let is_batch = line.ends_with(" || {");
            if !stands_by && verbs.iter().any(|verb| line.strip_prefix(verb).is_some_and(|rest| rest.starts_with(' ')))
            {
                lines.push(line.to_owned());
            }
            stands_by = is_batch || stands_by && line != "}";
        }
        lines
    }

    #[test]
    fn what_stands_together_and_is_done_alike_is_done_at_once() {
        let odd = b"a/two\nlines".to_vec();
        let [gone, also, directory] = [&b"a/gone"[..], b"a/also", b"a/dir"].map(<[u8]>::to_vec);
        let [one, two, below, own] = [&b"a/one"[..], b"a/two", b"a/b/three", b"a/.gitignore"].map(<[u8]>::to_vec);
        let mut now = Tree::default();
        for (inode, name) in [&odd, &gone, &also, &two].into_iter().enumerate() {
            now.found.insert(name.clone(), found(FileType::RegularFile, inode as u64));
        }
        now.found.insert(directory.clone(), found(FileType::Directory, 9));
        let (early, late) = (entry(5), entry(6));
        let steps = vec![
            Step::Delete(&odd),
            Step::Delete(&gone),
            Step::Delete(&also),
            Step::Delete(&directory),
            Step::Put(&own, &early),
            Step::Put(&below, &early),
            Step::Put(&one, &late),
            Step::Put(&two, &late),
            Step::Put(&directory, &early),
        ];
        let batches = Batches::of(steps, &now);
        let lines = taken(&batches);
        let begin: Vec<_> = lines.iter().map(|line| line.split(" 'f ").next().unwrap()).collect();
        assert!(begin.first().unwrap().starts_with("delete 1 'a' \"$(printf %b "), "{lines:#?}");
        assert_eq!(
            begin.get(1..).unwrap(),
            [
                "erase 'a'",
                "remove 'a' 'd 5 9 ./dir' './dir' || {",
                "file 5 'a' '.gitignore' '' '5'",
                "put B5 'a/b' '' './three' || {",
                "put B6 'a'",
                "file 9 'a' 'dir' 'd 5 9' '9'",
            ],
            "a directory in the place of a file is a matter of its own"
        );
        let seen = "f 5 1 3 644 7 8 0.0000000010 0.0000000020 ./gone\nf 5 2 3 644 7 8 0.0000000010 0.0000000020 ./also";
        let script = batches.script(Stage { mark: "m" });
        assert!(script.contains(&format!("erase 'a' '{seen}' './gone' './also' || {{\ndelete 2 ")), "{script}");
        // What is not there is not looked for.
        assert!(script.contains("0.0000000010 0.0000000020 ./two' './one' './two' || {\nfile 7 "), "{script}");
        assert_eq!([&one, &own].map(|name| batches.staged(name)), [&b"B6/one"[..], b"5"]);
        let all = "owned 7 8 0640 './5' './B5/three' './B6/one' './B6/two' './9' || {\nown 5 0640 7:8 './5'\n";
        assert!(script.contains(all), "{script}");
        assert!(
            script.contains("stamps '@0.000000006' './B6/one' './B6/two' || {\nstamp 7 '@0.000000006' './B6/one'\n")
        );
        assert_eq!((batches.name(2), batches.name(0), batches.name(10)), (Some(&gone), None, None));
    }

    #[test]
    fn there_is_an_end_to_how_many_are_done_at_once() {
        let names: Vec<Name> = (0..MOST * 2 + 1).map(|at| format!("f{at}").into_bytes()).collect();
        let (entry, now) = (entry(5), Tree::default());
        let steps = names.iter().map(|name| Step::Put(name, &entry)).collect();
        let batches = Batches::of(steps, &now);
        let counts: Vec<_> = batches.batches.iter().map(|batch| batch.count).collect();
        assert_eq!(counts, [MOST, MOST, 1]);
        assert_eq!(batches.staged(names.last().unwrap()), b"B3/f200");
    }

    #[test]
    fn names_that_mean_something_are_taken_by_themselves() {
        for name in ["a", "f-1_2.txt", "-dash", "a+b=c,d@e%f", "git"] {
            assert!(is_plain(name.as_bytes()), "{name}");
        }
        for name in ["", "a b", "it's", "a\nb", "\u{e9}", ".git", ".GitIgnore", "a\\b", "a~1", "a:b", "*", "$x"] {
            assert!(!is_plain(name.as_bytes()), "{name}");
        }
    }
}
