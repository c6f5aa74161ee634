#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "tests")]

use std::io::BufReader;
use std::time::Duration;

use proptest::prelude::*;

use super::super::chain::{Chain, ChainOrigin, SealError, Stamp};
use super::super::{Entry, Exit, Id, RequestId, Term, sample};
use super::*;

fn request() -> RequestId {
    "5f3a9c01-12".parse().unwrap()
}

fn decision(script: &str) -> Entry {
    sample::decided(request(), script).into()
}

/// `start` and so many decisions.
fn entries(decisions: usize) -> Vec<Entry> {
    let decided = (0..decisions).map(|number| decision(&format!("make {number}")));
    std::iter::once(Entry::Start(sample::start())).chain(decided).collect()
}

fn seal(entries: &[Entry]) -> Vec<Vec<u8>> {
    let origin = ChainOrigin { boot: Id::new("boot").unwrap(), host: Id::new("host").unwrap() };
    let mut chain = Chain::new(ChainId(7), sample::key());
    let line = |(number, entry): (u64, &Entry)| {
        let at = Timestamp::from_second(1_800_000_000).unwrap() + Duration::from_millis(number);
        let stamp = Stamp { at, elapsed: Duration::from_millis(number), origin: &origin };
        chain.seal(entry, &stamp).unwrap()
    };
    (0..).zip(entries).map(line).collect()
}

/// `start`, so many decisions with a signed head after each `every` of them, and `stop`.
pub(in super::super) fn chain_with_heads(decisions: usize, every: usize) -> Vec<Vec<u8>> {
    let mut all = vec![Entry::Start(sample::start())];
    for number in 1..=decisions {
        all.push(decision(&format!("make {number}")));
        if number % every == 0 {
            all.push(Entry::Head);
        }
    }
    all.push(sample::stopped().into());
    seal(&all)
}

pub(in super::super) fn text(line: &[u8]) -> String {
    String::from_utf8(line.to_vec()).unwrap()
}

fn anchor(lines: &[Vec<u8>], seq: u64) -> Anchor {
    Anchor { seq, head: Digest::of(&lines[usize::try_from(seq).unwrap() - 1]) }
}

fn check(lines: &[Vec<u8>], anchor: Option<Anchor>) -> Result<Report, (u64, BrokenKind)> {
    let whole = lines.concat();
    verify(whole.as_slice(), anchor).map_err(|broken| {
        let before: usize = lines.iter().take(usize::try_from(broken.record).unwrap() - 1).map(Vec::len).sum();
        assert_eq!(broken.offset, before as u64, "{broken}");
        (broken.record, broken.what)
    })
}

/// Puts `to` in the place of the first `from`.
fn edit(line: &mut Vec<u8>, from: &str, to: &str) {
    let text = String::from_utf8(line.clone()).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    *line = text.replacen(from, to, 1).into_bytes();
}

#[test]
fn an_untouched_chain_verifies() {
    let lines = seal(&entries(9));
    let report = check(&lines, None).unwrap();
    assert_eq!((report.records, report.head, report.complete), (10, anchor(&lines, 10), false));
    assert_eq!(report.first.to_string(), "2027-01-15T08:00:00Z");
    assert_eq!(report.last.to_string(), "2027-01-15T08:00:00.009Z");
    for seq in 1..=10 {
        assert_eq!(check(&lines, Some(anchor(&lines, seq))).unwrap(), report);
    }
}

#[test]
fn a_line_holds_its_place_its_time_and_the_hash_of_the_line_before() {
    let lines = seal(&entries(1));
    let text = str::from_utf8(&lines[1]).unwrap();
    let head = concat!(
        r#"{"v":1,"seq":2,"ts":"2027-01-15T08:00:00.001Z","mono_ns":1000000,"boot":"boot","host":"host","#,
        r#""kind":"decision","req":"5f3a9c01-12","#
    );
    assert!(text.starts_with(head), "{text}");
    assert!(text.ends_with(&format!(",\"prev\":\"{}\"}}\n", Digest::of(&lines[0]))), "{text}");
    let first = str::from_utf8(&lines[0]).unwrap();
    assert!(first.contains(&format!(",\"prev\":\"{:064}\",\"sig\":\"", 0)), "{first}");
}

/// What an attack comes to: `None` where nothing shows.
type Found = Option<(u64, BrokenKind)>;
type Attack = fn(&mut Vec<Vec<u8>>);

/// Name, attack on a chain of ten, what shows without an anchor, what shows with the anchor of record 10.
fn attacks() -> Vec<(&'static str, Attack, Found, Found)> {
    let cut = |record| Some((record, BrokenKind::AnchorNotReached { anchor: 10 }));
    let link = |record| Some((record, BrokenKind::Link { next: record + 1 }));
    let sequence = |expected, found| Some((expected, BrokenKind::Sequence { expected, found }));
    let at = |record, what| Some((record, what));
    let both = |name, attack: Attack, found: Found| (name, attack, found.clone(), found);
    vec![
        both("nothing", |_| (), None),
        both("a command changed", |l| edit(&mut l[4], "make 3", "make 4"), link(5)),
        both("a verdict changed", |l| edit(&mut l[4], "allow", "deny"), link(5)),
        both("a time changed", |l| edit(&mut l[4], "08:00:00", "08:00:01"), link(5)),
        both(
            "a host changed",
            |l| edit(&mut l[0], "\"host\":\"host\"", "\"host\":\"hose\""),
            at(1, BrokenKind::Signature),
        ),
        both("a space put in", |l| edit(&mut l[4], ",", ", "), link(5)),
        both("a field doubled", |l| edit(&mut l[4], "{", "{\"seq\":5,"), at(5, BrokenKind::NotRecord)),
        both("a brace lost", |l| edit(&mut l[4], "{", ""), at(5, BrokenKind::NotRecord)),
        both("no time", |l| edit(&mut l[4], "2027-", "2o27-"), at(5, BrokenKind::NotRecord)),
        both("a number changed", |l| edit(&mut l[4], "\"seq\":5", "\"seq\":6"), sequence(5, 6)),
        both("a version changed", |l| edit(&mut l[4], "\"v\":1", "\"v\":2"), at(5, BrokenKind::Version { found: 2 })),
        both("a link changed", |l| edit(&mut l[4], "\"prev\":\"", "\"prev\":\"sha256:"), link(5)),
        both("the first taken out", |l| drop(l.remove(0)), sequence(1, 2)),
        both("one taken out", |l| drop(l.remove(4)), sequence(5, 6)),
        both("two swapped", |l| l.swap(4, 5), sequence(5, 6)),
        both("one doubled", |l| l.insert(5, l[4].clone()), sequence(6, 5)),
        both("an empty line put in", |l| l.insert(5, b"\n".to_vec()), at(6, BrokenKind::NotRecord)),
        both("all of it gone", Vec::clear, at(1, BrokenKind::Empty)).with_anchor(cut(1)),
        both("the end cut off", |l| l.truncate(7), None).with_anchor(cut(8)),
        both(
            "the end cut in a line",
            |l| {
                l.truncate(7);
                l[6].pop();
            },
            at(7, BrokenKind::Torn { bytes: 0 }),
        )
        .with_anchor(cut(7)),
        both("the last changed", |l| edit(&mut l[9], "make 8", "make 9"), None)
            .with_anchor(at(10, BrokenKind::AnchorMismatch)),
        both("one changed, the rest written anew", |l| *l = forge(5), None)
            .with_anchor(at(10, BrokenKind::AnchorMismatch)),
    ]
}

trait WithAnchor {
    fn with_anchor(self, found: Found) -> Self;
}

impl WithAnchor for (&'static str, Attack, Found, Found) {
    fn with_anchor(mut self, found: Found) -> Self {
        self.3 = found;
        self
    }
}

/// The chain as someone writes it who can write everything: another record at `seq`, all others as they were.
fn forge(seq: usize) -> Vec<Vec<u8>> {
    let mut forged = entries(9);
    forged[seq - 1] = decision("make up");
    seal(&forged)
}

#[test]
fn attacks_show_where_they_happened() {
    for (name, attack, alone, anchored) in attacks() {
        let mut lines = seal(&entries(9));
        let last = anchor(&lines, 10);
        attack(&mut lines);
        let blunt = |(record, what): (u64, BrokenKind)| match what {
            // How much of a line is left is beside the point here.
            BrokenKind::Torn { .. } => (record, BrokenKind::Torn { bytes: 0 }),
            what => (record, what),
        };
        assert_eq!(check(&lines, None).err().map(blunt), alone, "{name}");
        assert_eq!(check(&lines, Some(last)).err().map(blunt), anchored, "{name}, with an anchor");
    }
}

/// As [`seal`], by somebody who has another key.
fn seal_with(key: [u8; 32], entries: &[Entry]) -> Vec<Vec<u8>> {
    let origin = ChainOrigin { boot: Id::new("boot").unwrap(), host: Id::new("host").unwrap() };
    let mut chain = Chain::new(ChainId(7), std::sync::Arc::new(super::super::key::RecordKey::of(&key)));
    let stamp = Stamp { at: Timestamp::UNIX_EPOCH, elapsed: Duration::ZERO, origin: &origin };
    entries.iter().map(|entry| chain.seal(entry, &stamp).unwrap()).collect()
}

#[test]
fn a_key_tells_a_chain_of_its_holder_from_one_that_was_written_anew() {
    let lines = chain_with_heads(9, 4);
    let with = |keys: &[PublicKey]| Expected { anchors: vec![], keys: keys.to_vec() };
    let ours = sample::key().public();
    let found = |lines: &[Vec<u8>], keys: &[PublicKey]| {
        verify(lines.concat().as_slice(), with(keys)).map_err(|broken| (broken.record, broken.what))
    };
    let report = found(&lines, &[ours]).unwrap();
    assert_eq!((report.signed, report.key, report.chain), (13, Some(ours), Some(ChainId(7))));
    assert_eq!(found(&lines[..8], &[ours]).unwrap().signed, 6);
    assert_eq!(found(&lines[..4], &[ours]).unwrap().signed, 1);

    let anew = seal_with([8; 32], &entries(9));
    let foreign = super::super::key::RecordKey::of(&[8; 32]).public();
    assert_eq!(found(&anew, &[]).unwrap().key, Some(foreign));
    assert_eq!(found(&anew, &[ours]), Err((1, BrokenKind::ForeignKey { key: foreign })));
    assert!(found(&anew, &[ours, foreign]).is_ok());
    let both = [entries(2), vec![Entry::Head]].concat();
    let other_head = seal_with([8; 32], &both)[3].clone();
    let chained = |lines: &[Vec<u8>], line: &str| {
        let (start, end) = (line.find("\"prev\":\"").unwrap() + 8, line.find("\",\"sig\":").unwrap_or(line.len() - 3));
        let prev = Digest::of(lines.last().unwrap());
        [lines, &[format!("{}{prev}{}", &line[..start], &line[end..]).into_bytes()]].concat()
    };
    assert_eq!(found(&chained(&lines[..3], &text(&other_head)), &[]), Err((4, BrokenKind::OtherChain)));

    // A head that somebody without the key has put in, or taken the signature from.
    let head = text(&lines[5]);
    for (changed, what) in [
        (head.replace("\"size\":5", "\"size\":4"), BrokenKind::Tree),
        (head.replace("\"boot\":\"boot\"", "\"boot\":\"root\""), BrokenKind::Signature),
        (head.replace("\",\"sig\":\"", "\",\"gis\":\""), BrokenKind::MissingSignature),
        (head.replace("\"signed\":", "\"singed\":"), BrokenKind::MissingSignature),
        (head.replace("\"chain\":\"00000007", "\"chain\":\"00000008"), BrokenKind::OtherChain),
        (head.replace("\"}\n", "\",\"x\":1}\n"), BrokenKind::Signature),
        (head.replace("\"}\n", "\" }\n"), BrokenKind::Signature),
    ] {
        assert_ne!(changed, head);
        let lines = [&lines[..5], &[changed.into_bytes()]].concat();
        assert_eq!(found(&lines, &[ours]), Err((6, what)));
    }
    let unsigned =
        |kind: &str| format!(r#"{{"v":1,"seq":6,"ts":"2027-01-15T08:00:00.001Z","kind":"{kind}","prev":""}}"#) + "\n";
    for kind in ["head", "stop"] {
        let lines = chained(&lines[..5], &unsigned(kind));
        assert_eq!(found(&lines, &[]), Err((6, BrokenKind::MissingSignature)), "{kind}");
    }
}

#[test]
fn a_file_that_claims_to_begin_at_the_end_of_numbers_is_refused() {
    let key = sample::key();
    for seq in [MAX_SEQ, u64::MAX] {
        let size = seq - 1;
        let peaks = vec![format!("\"{}\"", Digest::ZERO); usize::try_from(size.count_ones()).unwrap()].join(",");
        let tree = Tree::restored(size, vec![Digest::ZERO; usize::try_from(size.count_ones()).unwrap()]).unwrap();
        let signed = format!(
            r#"{{"chain":"00000007","size":{size},"root":"{}","file":2,"peaks":[{peaks}],"key":"{}"}}"#,
            tree.root(),
            key.public()
        );
        let ts = "2027-01-15T08:00:00.001Z";
        let prev = Digest::ZERO;
        let mut line =
            format!(r#"{{"v":1,"seq":{seq},"ts":"{ts}","kind":"rotate","signed":{signed},"prev":"{prev}"}}"#)
                .into_bytes();
        key.sign_line(&mut line);
        line.push(b'\n');
        assert!(read_signed(&line).is_ok());
        let broken = verify(line.repeat(3).as_slice(), None).unwrap_err();
        assert_eq!(broken.what, BrokenKind::Sequence { expected: 1, found: seq });
    }
}

#[test]
fn a_record_from_before_there_were_signatures_verifies_without_a_key() {
    let record = |seq: u64, kind: &str, prev: Digest| {
        format!(r#"{{"v":1,"seq":{seq},"ts":"2027-01-15T08:00:00.001Z","kind":"{kind}","prev":"{prev}"}}"#) + "\n"
    };
    let first = record(1, "start", Digest::ZERO);
    let second = record(2, "stop", Digest::of(first.as_bytes()));
    let whole = first + &second;
    let report = verify(whole.as_bytes(), None).unwrap();
    assert_eq!((report.records, report.signed, report.key, report.complete), (2, 0, None, true));
    let keys = vec![sample::key().public()];
    let broken = verify(whole.as_bytes(), Expected { anchors: vec![], keys }).unwrap_err();
    assert_eq!((broken.record, broken.what), (1, BrokenKind::Unsigned));
}

#[test]
fn an_anchor_within_the_chain_pins_what_is_before_it() {
    let lines = seal(&entries(9));
    let forged = forge(5);
    assert!(check(&forged, Some(anchor(&lines, 4))).is_ok());
    for seq in 5..=10 {
        let found = check(&forged, Some(anchor(&lines, seq))).unwrap_err();
        assert_eq!(found, (seq, BrokenKind::AnchorMismatch));
    }
}

#[test]
fn an_unfinished_last_line_is_no_tampering() {
    let lines = seal(&entries(2));
    let last = lines[2].len();
    for kept in 1..last {
        let mut torn = lines.clone();
        torn[2].truncate(kept);
        let (record, what) = check(&torn, Some(anchor(&lines, 2))).unwrap_err();
        assert_eq!((record, &what), (3, &BrokenKind::Torn { bytes: kept as u64 }));
        assert!(what.is_accidental());
    }
}

#[test]
fn a_chain_begins_with_start_and_ends_with_stop() {
    let mut whole = entries(2);
    whole.push(sample::stopped().into());
    let lines = seal(&whole);
    assert!(check(&lines, None).unwrap().complete);

    let after = |line: &str, lines: &[Vec<u8>]| {
        let prev = Digest::of(lines.last().unwrap_or(&Vec::new()));
        let line = line.replace("PREV", &prev.to_string()).replace("SEQ", &(lines.len() + 1).to_string());
        [lines, &[line.into_bytes()]].concat()
    };
    let record =
        |kind| format!(r#"{{"v":1,"seq":SEQ,"ts":"2027-01-15T08:00:00.001Z","kind":"{kind}","prev":"PREV"}}"#) + "\n";
    assert_eq!(check(&after(&record("close"), &lines), None), Err((5, BrokenKind::OutOfPlace)));
    assert_eq!(check(&after(&record("start"), &lines[..2]), None), Err((3, BrokenKind::OutOfPlace)));
    assert_eq!(check(&after(&record("decision"), &[]), None), Err((1, BrokenKind::MissingStart)));
    // A start that claims to follow something.
    assert_eq!(check(&after(&record("start"), &[]), None), Err((1, BrokenKind::MissingStart)));
    assert!(check(&after(&record("close"), &lines[..2]), None).is_ok());
}

#[test]
fn a_line_beyond_the_limit_is_neither_written_nor_read_whole() {
    let mut chain = Chain::new(ChainId(7), sample::key());
    let origin = ChainOrigin { boot: Id::new("boot").unwrap(), host: Id::new("host").unwrap() };
    let stamp = Stamp { at: Timestamp::UNIX_EPOCH, elapsed: Duration::ZERO, origin: &origin };
    chain.seal(&Entry::Start(sample::start()), &stamp).unwrap();
    let long = decision(&"x".repeat(MAX_LINE));
    assert!(matches!(chain.seal(&long, &stamp), Err(SealError::TooLong { .. })));

    let mut lines = seal(&entries(0));
    lines.push(vec![b'x'; MAX_LINE + 1]);
    assert_eq!(check(&lines, None), Err((2, BrokenKind::TooLong)));
    let endless = BufReader::new(std::io::repeat(b'x'));
    assert_eq!(verify(endless, None).unwrap_err().what, BrokenKind::TooLong);
}

fn any_entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        any::<String>().prop_map(|script| decision(&script)),
        (any::<i32>(), any::<String>()).prop_map(|(code, output)| sample::finished(
            request(),
            Exit::Code(code),
            &output
        )
        .into()),
        any::<String>().prop_map(|cwd| {
            let mut opened = sample::opened();
            opened.cwd = sample::text(&cwd);
            opened.into()
        }),
        Just(sample::closed().into()),
        Just(sample::finished(request(), Exit::Reason(Term::new("cancelled")), "").into()),
    ]
}

fn any_chain() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let start = Just(vec![Entry::Start(sample::start())]);
    (start, prop::collection::vec(any_entry(), 0..8)).prop_map(|(start, rest)| seal(&[start, rest].concat()))
}

proptest! {
    #[test]
    fn whatever_is_sealed_verifies(lines in any_chain()) {
        let report = check(&lines, None).unwrap();
        prop_assert_eq!(report.records, lines.len() as u64);
        prop_assert_eq!(report.head, anchor(&lines, report.records));
    }

    #[test]
    fn any_byte_that_changes_is_found(
        lines in any_chain(), place in any::<prop::sample::Index>(), other in 1..=255_u8,
    ) {
        let last = anchor(&lines, lines.len() as u64);
        let mut whole = lines.concat();
        let place = place.index(whole.len());
        whole[place] ^= other;
        prop_assert!(verify(whole.as_slice(), Some(last)).is_err());
        // Without an anchor nothing vouches for the last record.
        let vouched = whole.len() - lines.last().unwrap().len();
        prop_assert!(place >= vouched || verify(whole.as_slice(), None).is_err());
    }
}
