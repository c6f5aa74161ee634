//! Words that name files: what is read, written and removed, and under which names.

use super::super::table::Role;
use super::super::{Arg, Parse, decoded};
use super::unknown;
use crate::ast::Count;
use crate::inventory::EffectKind;
use crate::opaque::OpaqueReason;
use crate::word::{Value, Word};

impl Parse<'_, '_> {
    /// Where the other operands are copied to: `cp x/.envrc .` writes `./.envrc`. Whether a directory of that name is
    /// there is not known, but for those that always are.
    pub(in crate::program) fn copied_to(&mut self, to: &Arg, tree: bool) {
        let links = self.entry.operands.iter().any(|slot| slot.role == Role::LinkTarget);
        let alone = |others: &[Arg]| others.iter().all(|arg| arg.word.span == to.word.span || arg.count == Count::Any);
        if links && alone(&self.operands) && self.operands.iter().any(|arg| arg.word.span == to.word.span) {
            self.linked_here(to);
            if self.operands.len() == 1 && to.count == Count::One {
                return;
            }
        }
        let sources: Vec<&Arg> = self.operands.iter().filter(|arg| arg.word.span != to.word.span).collect();
        let option = sources.len() == self.operands.len();
        let last = to.word.value.prefix().rsplit('/').next().unwrap_or_default();
        let directory = option || matches!(to.word.value, Value::Literal(_)) && matches!(last, "." | "..");
        let places: Option<Vec<Arg>> = sources.iter().map(|source| place(to, source)).collect();
        let Some(places) = places else { return self.effect(EffectKind::Write, to, true) };
        if !directory || places.is_empty() {
            self.effect(EffectKind::Write, to, tree || to.count != Count::One);
        }
        places.iter().for_each(|place| self.effect(EffectKind::Write, place, tree));
    }

    pub(super) fn archive(&mut self, arg: &Arg, stdio: bool) {
        match arg.word.value.literal() {
            Some(_) if stdio => return,
            Some(text) if text.contains(':') => {
                self.note(OpaqueReason::UnknownOption, arg, "a remote archive is reached by running another program");
            }
            Some(_) => {}
            None => self.note(OpaqueReason::DynamicOption, arg, "this archive may turn out to be a remote one"),
        }
        self.archives.push((arg.clone(), self.from_start));
    }

    /// `gzip f` makes `f.gz` and removes `f`, `gzip -d f.gz` the other way round: both begin with the stem.
    pub(super) fn replaced(&mut self, arg: &Arg) {
        let named = ["--suffix", "--format"].iter().any(|name| self.reading.invocation.options.contains_key(*name));
        let others = match &arg.word.value {
            Value::Literal(path) if arg.count == Count::One && !named => self.renamed(path),
            _ => Vec::new(),
        };
        self.effect(EffectKind::Read, arg, false);
        self.effect(EffectKind::Delete, arg, false);
        if others.is_empty() {
            return self.written_beside(arg);
        }
        for other in others {
            self.effect(EffectKind::Write, &decoded(arg, &other), false);
        }
    }

    /// `mktemp --suffix=.pem XXXXXX` makes a file whose name ends in `.pem`; letters and digits come for the X's. Without a word for the
    /// suffix only the beginning is known.
    pub(super) fn made(&mut self, arg: &Arg) {
        const SUFFIX: &str = "--suffix";
        if !self.reading.invocation.flags.contains(SUFFIX) {
            return self.effect(EffectKind::Write, arg, false);
        }
        let suffixes = self.reading.invocation.options.get(SUFFIX).cloned().unwrap_or_default();
        let prefix = || Value::Dynamic { prefix: arg.word.value.prefix().to_owned() };
        let with = |suffix: &String| match &arg.word.value {
            Value::Literal(path) => Value::Literal(format!("{path}{suffix}")),
            Value::Home(path) => Value::Home(format!("{path}{suffix}")),
            _ => prefix(),
        };
        let mut names: Vec<Value> = suffixes.iter().map(with).collect();
        // Of several the last one counts, which is not kept in order, and one that is not literal is not kept at all.
        let times = self.chosen.iter().filter(|option| option.canonical() == SUFFIX).count();
        if times != 1 || names.is_empty() {
            names.push(prefix());
        }
        for value in names {
            let word = Word { value, ..arg.word.clone() };
            self.effect(EffectKind::Write, &Arg { word, count: arg.count }, false);
        }
    }

    /// What a packed or unpacked file may be called, if the table tells how. To unpack a file without a suffix is to look
    /// for others of its name, of which nothing is said.
    fn renamed(&self, path: &str) -> Vec<String> {
        let Some((usual, _)) = self.entry.suffixes.first().and_then(|suffix| suffix.split_once('=')) else {
            return Vec::new();
        };
        let unpacked = self.entry.suffixes.iter().filter_map(|suffix| {
            let (packed, plain) = suffix.split_once('=')?;
            path.strip_suffix(packed).map(|stem| format!("{stem}{plain}"))
        });
        let mut names: Vec<String> = unpacked.take(1).collect();
        let unpacks = self.reading.invocation.flags.contains("--decompress")
            || self.reading.invocation.words.first() != Some(&self.table.name);
        if names.is_empty() && unpacks {
            return names;
        }
        names.push(format!("{path}{usual}"));
        names
    }

    /// Another extension, so that only the stem is known.
    pub(super) fn written_beside(&mut self, arg: &Arg) {
        let prefix = arg.word.value.prefix();
        let stem = prefix.rsplit_once('.').filter(|(_, rest)| !rest.contains('/')).map_or(prefix, |(stem, _)| stem);
        let value = Value::Dynamic { prefix: stem.to_owned() };
        let other = Arg { word: Word { value, ..arg.word.clone() }, count: arg.count };
        self.effect(EffectKind::Write, &other, false);
    }

    /// A symbolic link's target is relative to where the link is, which the word alone does not tell.
    pub(super) fn linked(&mut self, arg: &Arg) {
        let climbs = arg
            .word
            .value
            .literal()
            .is_some_and(|path| !path.starts_with('/') && path.split('/').any(|part| part == ".."));
        let target = if climbs { unknown(arg) } else { arg.clone() };
        self.effect(EffectKind::Read, &target, true);
        self.effect(EffectKind::Write, &target, true);
    }

    /// `ln -s ../x/config` alone makes `./config`.
    fn linked_here(&mut self, arg: &Arg) {
        self.linked(arg);
        let here = place(&decoded(arg, "."), arg).filter(|_| arg.count == Count::One);
        let name = |place: &Arg| place.word.value.prefix().trim_start_matches("./").to_owned();
        let link = here.map_or_else(|| unknown(arg), |place| decoded(arg, &name(&place)));
        self.effect(EffectKind::Write, &link, false);
    }

    /// What a container is given it can change, unless every reading of the word says otherwise.
    pub(super) fn mount(&mut self, arg: &Arg) {
        let Some(text) = arg.word.value.literal().filter(|text| !text.contains('"')) else {
            self.effect(EffectKind::Read, &unknown(arg), true);
            return self.effect(EffectKind::Write, &unknown(arg), true);
        };
        let fields = || text.split(',').filter_map(|field| field.split_once('='));
        let named = fields().find(|(key, _)| matches!(key.trim(), "source" | "src")).map(|(_, path)| path);
        let volume = fields().any(|(key, kind)| key == "type" && matches!(kind, "volume" | "tmpfs"));
        let first = text.split(':').next().unwrap_or_default();
        let here = named.or((!text.contains('=')).then_some(first)).unwrap_or(text);
        if volume || !text.contains([':', '=']) || named.is_none() && !here.contains(['/', '.', '~']) {
            return;
        }
        self.effect(EffectKind::Read, &decoded(arg, here), true);
        if !text.ends_with(":ro") && !text.ends_with(",readonly") {
            self.effect(EffectKind::Write, &decoded(arg, here), true);
        }
    }

    /// What has no colon before the first slash is no URI.
    pub(super) fn store(&mut self, arg: &Arg) {
        let known = arg.word.value.prefix();
        let open = matches!(arg.word.value, Value::Dynamic { .. });
        match known.split_once('/') {
            _ if open && !known.contains(['/', ':']) => self.transferred(EffectKind::Read, arg),
            Some((first, _)) if !first.contains(':') => self.effect(EffectKind::Read, arg, false),
            _ if known.contains("://") => self.url(arg),
            _ if known.contains(':') => {
                self.note(OpaqueReason::UnknownOption, arg, "a URI of this kind can name any file");
                self.effect(EffectKind::Read, &unknown(arg), false);
            }
            _ => self.effect(EffectKind::Read, arg, false),
        }
    }

    /// A file whose name may hold signs that stand for something else.
    pub(super) fn globbed(&mut self, kind: EffectKind, arg: &Arg, signs: &[char]) {
        match arg.word.value.literal() {
            Some("-" | ".") => {}
            Some(text) if text.contains(signs) => self.effect(kind, &unknown(arg), false),
            _ => self.effect(kind, arg, false),
        }
    }

    /// Which sign of an item counts depends on the program: a file that any of them would name is listed.
    pub(super) fn field(&mut self, arg: &Arg) {
        let Some(text) = arg.word.value.literal() else {
            return self.effect(EffectKind::Read, &unknown(arg), false);
        };
        let behind = |sign: char| text.split_once(sign).map(|(_, rest)| rest.trim_start_matches([':', '=']));
        let marked = |rest: &str| rest.strip_prefix(['@', '<']).map(str::to_owned);
        let bare = text.split_once('@').filter(|(name, _)| !name.contains('=')).map(|(_, path)| path.to_owned());
        let headers = text.split(';').skip(1).filter_map(|part| part.trim_start().strip_prefix("headers="));
        for file in headers.filter_map(marked).filter(|file| file != "-") {
            self.effect(EffectKind::Read, &decoded(arg, file.trim_matches('"')), false);
        }
        let files = [behind('=').and_then(marked), behind(':').and_then(marked), bare];
        for file in files.into_iter().flatten().collect::<std::collections::BTreeSet<_>>() {
            let (path, rest) = file.split_once(';').unwrap_or((&file, ""));
            if path.contains(['"', ',', '\\']) || rest.contains(['@', '<']) {
                self.effect(EffectKind::Read, &unknown(arg), false);
            } else if path != "-" {
                self.effect(EffectKind::Read, &decoded(arg, path), false);
            }
        }
    }

    /// SQLite takes `file:` for a URI with parameters, `:memory:` and an empty name for no file.
    pub(super) fn database(&mut self, arg: &Arg) {
        match arg.word.value.literal() {
            Some(":memory:" | "") => return,
            Some(text) if text.starts_with("file:") => {
                return self.note(OpaqueReason::UnknownOption, arg, "a URI says more than which file this is");
            }
            _ => {}
        }
        self.effect(EffectKind::Read, arg, false);
        self.effect(EffectKind::Write, arg, false);
        match arg.word.value.literal() {
            Some(text) => {
                for beside in ["-journal", "-wal", "-shm"] {
                    self.effect(EffectKind::Write, &decoded(arg, &format!("{text}{beside}")), false);
                }
            }
            None => self.effect(EffectKind::Write, arg, false),
        }
    }

    pub(super) fn write_pattern(&mut self, arg: &Arg) {
        let known = arg.word.value.prefix();
        match known.split_once('%') {
            Some((prefix, _)) => {
                let value = Value::Dynamic { prefix: prefix.to_owned() };
                let file = Arg { word: Word { value, ..arg.word.clone() }, count: arg.count };
                self.effect(EffectKind::Write, &file, false);
            }
            None => self.effect(EffectKind::Write, arg, false),
        }
    }
}

/// The file of the source's name below a directory, if both are known.
fn place(directory: &Arg, source: &Arg) -> Option<Arg> {
    let (Value::Literal(path) | Value::Home(path)) = &source.word.value else { return None };
    let name = path.trim_end_matches('/').rsplit('/').next().filter(|name| !matches!(*name, "" | "." | ".."))?;
    let below = |path: &str| format!("{}/{name}", path.trim_end_matches('/'));
    let value = match &directory.word.value {
        Value::Literal(path) => Value::Literal(below(path)),
        Value::Home(path) => Value::Home(below(path)),
        _ => return None,
    };
    let known = source.count == Count::One && directory.count == Count::One;
    known.then(|| Arg { word: Word { value, ..directory.word.clone() }, count: Count::One })
}

/// Words that begin as the argument does.
pub(super) fn only_begins(arg: &Arg) -> Arg {
    let home = matches!(arg.word.value, Value::Home(_));
    let prefix = if home { String::new() } else { arg.word.value.prefix().to_owned() };
    Arg { word: Word { value: Value::Dynamic { prefix }, ..arg.word.clone() }, count: arg.count }
}
