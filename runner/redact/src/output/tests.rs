use std::sync::LazyLock;

use proptest::prelude::*;

use super::lines::{chars, count, line_breaks};
use super::*;
use crate::{Redacted, RedactedBytes, Redactor};

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::builtin().unwrap());

fn safe(bytes: &[u8]) -> RedactedBytes {
    let mut stream = REDACTOR.stream();
    let mut safe = stream.push(bytes);
    safe.append(&stream.finish());
    assert_eq!(safe.as_bytes(), bytes, "the tests' texts hold no secrets");
    safe
}

fn captured(keep: usize, chunks: &[&[u8]]) -> Capture {
    let mut capture = Capture::new(keep);
    for chunk in chunks {
        capture.push(&safe(chunk));
    }
    capture.flush();
    capture
}

fn shape(keep: usize, text: &str, view: &View) -> Shown {
    captured(keep, &[text.as_bytes()]).shape(view)
}

const WHOLE: usize = 1 << 20;

fn view(keep: &str, grep: &str, context: usize) -> View {
    let keep = Some(keep).filter(|keep| !keep.is_empty()).map(|keep| keep.parse().unwrap());
    let grep = Some(grep).filter(|grep| !grep.is_empty()).map(|grep| Grep::new(grep, context).unwrap());
    View { keep, grep, ..View::chars(WHOLE) }
}

fn numbered(count: usize) -> String {
    (0..count).map(|n| format!("line {n:03}\n")).collect()
}

#[test]
fn small_output_is_shown_whole() {
    let shown = captured(100, &[b"one\n", b"two\n"]).shape(&View::chars(100));
    let whole = Shown {
        text: Redacted::from_static("one\ntwo\n"),
        omitted_bytes: 0,
        omitted_lines: 0,
        total_bytes: 8,
        lossy: false,
        search: None,
    };
    assert_eq!(shown, whole);
}

#[test]
fn the_middle_is_counted() {
    for (keep, max_chars) in [(400, 100_000), (100_000, 400)] {
        let shown = shape(keep, &numbered(1000), &View::chars(max_chars));
        assert_eq!((shown.total_bytes, shown.omitted_lines, shown.omitted_bytes), (9000, 956, 956 * 9));
        let text = shown.text.as_str();
        assert!(text.starts_with("line 000\n") && text.ends_with("line 999\n"), "{text}");
        assert!(text.contains("line 010\n[… 8604 bytes, 956 lines omitted …]\nline 967\n"), "{text}");
    }
}

#[test]
fn cuts_fall_between_characters() {
    let text = "\u{e9}\u{1f600}\u{20ac}".repeat(500);
    for keep in 40..60 {
        for max_chars in [10, 17, 10_000] {
            let shown = shape(keep, &text, &View::chars(max_chars));
            assert!(!shown.lossy, "{keep} {max_chars}: {}", shown.text);
        }
    }
}

#[test]
fn what_is_no_utf8_is_said_to_be() {
    for (bytes, text) in
        [(&b"a\xffb"[..], "a\u{fffd}b"), (b"a\xe2\x82", "a\u{fffd}"), (b"\x82\xac", "\u{fffd}\u{fffd}")]
    {
        let shown = captured(100, &[bytes]).shape(&View::chars(100));
        assert!(shown.lossy);
        assert_eq!(shown.text.as_str(), text);
    }
}

#[test]
fn nothing_to_keep_still_counts() {
    let shown = shape(0, "one\ntwo\n", &View::chars(0));
    assert_eq!(shown.text.as_str(), "[… 8 bytes, 2 lines omitted …]\n");
}

#[test]
fn one_huge_line_has_a_beginning_and_an_end() {
    let text = format!("first{}last", "\u{e9}".repeat(10_000));
    for (keep, max_chars) in [(1000, WHOLE), (WHOLE, 500)] {
        let shown = shape(keep, &text, &View::chars(max_chars));
        assert!(shown.text.as_str().starts_with("first") && shown.text.as_str().ends_with("last"), "{}", shown.text);
        assert!(!shown.lossy && shown.omitted_bytes > 0 && shown.omitted_lines == 0);
    }
    let shown = shape(1000, &text, &view("tail:1", "last", 0));
    let search = Search { matched: 0, unsearched_bytes: 20_009, unsearched_lines: 0, gave_up: false };
    assert_eq!(shown.search, Some(search), "it is not searched in pieces");
}

#[test]
fn lines_are_kept_from_both_ends() {
    for (text, keep, expected) in [
        ("a\nb\nc\nd\n", "head:2", "a\nb\n[… 2 lines …]\n"),
        ("a\nb\nc\nd\n", "tail:1", "[… 3 lines …]\nd\n"),
        ("a\nb\nc\nd\n", "head:1,tail:2", "a\n[… 1 line …]\nc\nd\n"),
        ("a\nb\nc\nd\n", "head_tail:3", "a\n[… 1 line …]\nc\nd\n"),
        ("a\nb\nc\nd\n", "head:2,tail:2", "a\nb\nc\nd\n"),
        ("a\nb\nc\nd\n", "head:9", "a\nb\nc\nd\n"),
        ("a\nb\nc\nd\n", "head:0", "[… 4 lines …]\n"),
        ("a\nb\nc\nd\n", "tail:0", "[… 4 lines …]\n"),
        ("a\n\n\nb", "tail:2", "[… 2 lines …]\n\nb"),
        ("a\nb", "head:1", "a\n[… 1 bytes, 0 lines omitted …]\n"),
        ("", "head:1", ""),
    ] {
        assert_eq!(shape(1000, text, &view(keep, "", 0)).text.as_str(), expected, "{text:?} {keep}");
    }
}

#[test]
fn lines_that_match_are_shown_with_those_around_them() {
    let text = "a\nb\nerror 1\nc\nd\ne\nerror 2\nf\n";
    for (pattern, context, expected) in [
        ("error", 0, "[… 2 lines …]\nerror 1\n[… 3 lines …]\nerror 2\n[… 1 line …]\n"),
        ("error", 1, "[… 1 line …]\nb\nerror 1\nc\n[… 1 line …]\ne\nerror 2\nf\n"),
        ("error", 2, text),
        ("error", usize::MAX, text),
        ("^[a-c]$", 0, "a\nb\n[… 1 line …]\nc\n[… 4 lines …]\n"),
        ("no such line", 3, "[… 8 lines …]\n"),
        (".", 0, text),
    ] {
        assert_eq!(shape(1000, text, &view("", pattern, context)).text.as_str(), expected, "{pattern} {context}");
    }
}

#[test]
fn patterns_are_over_lines_and_characters() {
    for (pattern, line, matches) in [
        ("^b$", "b\r", true),
        ("^.$", "\u{20ac}", true),
        ("[✓✗] ok", "✗ ok", true),
        (r"^\w+$", "caf\u{e9}", true),
        ("(?i)STRA\u{df}E", "stra\u{df}e", true),
        (r"\bpanic\b", "\u{e9}: panic!", true),
        (r"\bpanic\b", "panicked", false),
        (r"\<go\>", "a go b", true),
        ("a.b", "a\u{e9}b", true),
        ("", "", true),
        (r"\n", "", false),
        ("(?m)^x", "x", true),
        ("(a)|(b)", "b", true),
    ] {
        let grep = Grep::new(pattern, 0).unwrap();
        let view = View { grep: Some(grep), ..View::chars(WHOLE) };
        let search = shape(1000, &format!("{line}\n"), &view).search.unwrap();
        assert_eq!(
            search,
            Search { matched: matches.into(), unsearched_bytes: 0, unsearched_lines: 0, gave_up: false },
            "{pattern}"
        );
    }
    let shown = captured(1000, &[b"a\n\xff bad\nb\n"]).shape(&view("", "bad$", 0));
    assert_eq!(shown.text.as_str(), "[… 1 line …]\n\u{fffd} bad\n[… 1 line …]\n");
    assert!(shown.lossy);
}

#[test]
fn a_line_cut_where_bytes_were_dropped_never_matches() {
    // Whole are the first line and the last eight. Of the others each part is kept that a match would need.
    let text = format!("one\ntwo thr{}fo\n{}end\n", "x".repeat(500), "ok\n".repeat(7));
    for keep in [44, 60] {
        let capture = captured(keep, &[text.as_bytes()]);
        let unsearched_bytes = count("two thr".len() + 500 + "fo\n".len());
        for (pattern, matched) in
            [("two", 0), ("^two thr", 0), ("fo$", 0), ("^x*fo$", 0), ("^one$", 1), ("^end$", 1), ("o", 8)]
        {
            let search = capture.shape(&view("", pattern, 0)).search;
            let expected = Search { matched, unsearched_bytes, unsearched_lines: 1, gave_up: false };
            assert_eq!(search, Some(expected), "{pattern} {keep}");
        }
        let shown = capture.shape(&view("", "^one$|^end$", 0));
        assert_eq!(shown.text.as_str(), "one\n[… 531 bytes, 8 lines omitted, not all of them searched …]\nend\n");
    }
}

#[test]
fn the_first_lines_of_a_search_are_kept() {
    let view = view("head:2,tail:1", "5", 0);
    let shown = shape(WHOLE, &numbered(60), &view);
    let expected = "[… 5 lines …]\nline 005\n[… 9 lines …]\nline 015\n[… 43 lines …]\nline 059\n";
    assert_eq!(shown.text.as_str(), expected);
    assert_eq!(shown.search.map(|search| search.matched), Some(15), "also those that are not shown");
    assert_eq!((shown.omitted_lines, shown.omitted_bytes), (57, 57 * 9));
}

#[test]
fn many_small_selections_do_not_break_the_budget() {
    for (count, max_chars) in [(5000, 0), (5000, 1), (5000, 100), (5000, 1000), (30, 100)] {
        let shown = shape(WHOLE, &"x\n\n".repeat(count), &View { max_chars, ..view("", "x", 0) });
        assert!(chars(shown.text.as_str().as_bytes()) <= max_chars + 150, "{max_chars}: {}", shown.text);
    }
}

#[test]
fn a_malformed_pattern_says_where() {
    for (pattern, why, at) in [
        ("a(b", "unclosed group", 2),
        ("\u{e9}[z-a]", "invalid character class range, the start must be <= the end", 3),
        ("a{x}", "repetition quantifier expects a valid decimal", 3),
        (r"\p{Nonsense}", "Unicode property not found", 1),
        ("(?<n>a)(?<n>b)", "duplicate capture group name", 11),
        ("(", "unclosed group", 1),
    ] {
        let expected = GrepError::Syntax { pattern: pattern.to_owned(), why: why.to_owned(), at };
        let error = Grep::new(pattern, 0).unwrap_err();
        assert_eq!(error, expected);
        assert_eq!(error.to_string(), format!("`{pattern}` is not a regular expression: {why}, at character {at}"));
    }
}

#[test]
fn a_hostile_pattern_is_refused() {
    for pattern in [
        r"(\w{100}){100}",
        "(((((a{99}){99}){99}){99}){99})",
        "(a?){50000}",
        r"(?i)(\W\w){400}",
        r"[\w&&\W]{0,99999999}x",
    ] {
        match Grep::new(pattern, 0) {
            Err(GrepError::TooLarge { .. }) => {}
            other => panic!("{pattern}: {other:?}"),
        }
    }
    assert_eq!(Grep::new(&"a".repeat(1001), 0).unwrap_err(), GrepError::TooLong { length: 1001 });
    assert!(matches!(Grep::new(&"(".repeat(1000), 0), Err(GrepError::Syntax { .. })));
    let nested = format!("{}a{}", "(".repeat(499), ")".repeat(499));
    assert!(matches!(Grep::new(&nested, 0), Err(GrepError::Syntax { .. })));
    assert!(Grep::new(r"(?i)(failed to \w+|cannot \w+|unable to \w{1,16}|undefined \w+)", 0).is_ok());
}

#[test]
fn a_costly_search_gives_up_and_says_so() {
    let mut seed = 1_u64;
    let mut letter = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        if seed & 1 == 0 { 'a' } else { 'b' }
    };
    let line: String = (0..200_000).map(|_| letter()).collect();
    let text = format!("first ac\n{line}\nlast ac\n");
    let shown = shape(WHOLE, &text, &view("", "(^|[ab]*a[ab]{450}| a)c", 0));
    let unsearched_bytes = count(line.len() + "\nlast ac\n".len());
    let expected = Search { matched: 1, unsearched_bytes, unsearched_lines: 2, gave_up: true };
    assert_eq!(shown.search, Some(expected));
    assert!(shown.text.as_str().ends_with(" bytes, 2 lines omitted, not all of them searched …]\n"), "{}", shown.text);
}

#[test]
fn a_reading_goes_on_where_the_last_one_ended() {
    let text = numbered(1000);
    let text = text.as_bytes();
    let capture = captured(400, &[text]);
    // The first 100 bytes and the last 300 are kept.
    for (bytes, head, dropped, tail) in [
        (0, 0..100, 8600, 8700..9000),
        (9, 9..100, 8600, 8700..9000),
        (13, 13..100, 8600, 8700..9000),
        (100, 100..100, 8600, 8700..9000),
        (4500, 0..0, 4200, 8700..9000),
        (8699, 0..0, 1, 8700..9000),
        (8700, 0..0, 0, 8700..9000),
        (8991, 0..0, 0, 8991..9000),
        (9000, 0..0, 0, 0..0),
        (90_000, 0..0, 0, 0..0),
    ] {
        let (before, rest) = text.split_at(text.len().min(bytes));
        let since = capture.since(Position { bytes: count(bytes), ..Position::of(before) });
        assert_eq!(since.position(), Position::of(rest), "{bytes}");
        let kept = since.kept();
        assert_eq!(kept.bytes.as_bytes(), [&text[head], &text[tail]].concat(), "{bytes}");
        assert_eq!(kept.dropped.bytes, dropped, "{bytes}");
    }
}

#[test]
fn a_reading_within_a_character_begins_behind_it() {
    let text = "a\u{20ac}b\u{1f600}c";
    for (keep, at, expected) in [
        (100, 2, "[… 2 bytes, 0 lines omitted …]\nb\u{1f600}c"),
        (100, 3, "[… 1 bytes, 0 lines omitted …]\nb\u{1f600}c"),
        (100, 4, "b\u{1f600}c"),
        (100, 7, "[… 2 bytes, 0 lines omitted …]\nc"),
        (8, 7, "[… 2 bytes, 0 lines omitted …]\nc"),
        (4, 2, "[… 7 bytes, 0 lines omitted …]\nc"),
        (12, 3, "[… 1 bytes, 0 lines omitted …]\nb\u{1f600}c"),
        (8, 3, "[… 1 bytes, 0 lines omitted …]\nb\u{1f600}c"),
    ] {
        let since = captured(keep, &[text.as_bytes()]).since(Position { bytes: at, lines: 0 });
        let shown = since.shape(&View::chars(100));
        assert_eq!(shown.text.as_str(), expected, "{keep} {at}");
        assert_eq!((shown.lossy, shown.total_bytes), (false, count(text.len()) - at));
        let again = captured(keep, &[text.as_bytes()]).since(Position { bytes: at - 1, lines: 0 });
        assert_eq!(again.since(Position { bytes: 1, lines: 0 }).shape(&View::chars(100)), shown, "in two steps");
    }
}

#[test]
fn a_character_is_shown_when_it_is_whole() {
    let mut capture = Capture::new(100);
    capture.push(&safe(b"a\xe2\x82"));
    assert_eq!((capture.position().bytes, capture.shape(&View::chars(9)).text.as_str()), (1, "a"));
    let cursor = capture.position();
    capture.push(&safe(b"\xacb\xc3"));
    assert_eq!(capture.since(cursor).shape(&View::chars(9)).text.as_str(), "\u{20ac}b");
    let cursor = capture.position();
    capture.flush();
    let shown = capture.since(cursor).shape(&View::chars(9));
    assert_eq!((shown.text.as_str(), shown.lossy), ("\u{fffd}", true));
    capture.push(&safe(b"c"));
    assert_eq!(capture.shape(&View::chars(9)).text.as_str(), "a\u{20ac}b\u{fffd}c", "more may come after all");
}

#[test]
fn memory_does_not_grow_with_the_stream() {
    let mut capture = Capture::new(1000);
    let chunk = safe(&[b'.'; 10_000]);
    let mut reading = capture.clone();
    for _ in 0..1000 {
        capture.push(&chunk);
        reading.push(&chunk);
        reading = reading.since(Position { bytes: 7, lines: 0 });
        assert!(capture.held_bytes() <= 2000 && reading.held_bytes() <= 2000);
    }
}

/// Where in `original` a shown text can end if it begins at the beginning. A line that says what is missing moves on by
/// what it says; the line break that it needed before it may or may not be one of the text.
fn walk(original: &[u8], shown: &str) -> Vec<usize> {
    let mut places = vec![0];
    for line in shown.split_inclusive('\n') {
        places = places.into_iter().flat_map(|at| step(original, at, line)).collect();
        places.dedup();
    }
    places
}

fn step(original: &[u8], at: usize, line: &str) -> Vec<usize> {
    let rest = &original[at..];
    let Some(words) = line.strip_prefix("[… ") else {
        let bare = line.trim_end_matches('\n');
        let whole = rest.starts_with(line.as_bytes()).then(|| at + line.len());
        let inserted = (bare != line && rest.starts_with(bare.as_bytes())).then(|| at + bare.len());
        return whole.into_iter().chain(inserted).collect();
    };
    let number = |word: &str| {
        words
            .split(' ')
            .zip(words.split(' ').skip(1))
            .find(|(_, of)| of.starts_with(word))
            .map(|(n, _)| n.parse::<usize>().unwrap())
    };
    let lines = number("line").unwrap();
    let end = match number("bytes") {
        Some(bytes) => at + bytes,
        None => at + rest.split_inclusive(|&byte| byte == b'\n').take(lines).map(<[u8]>::len).sum::<usize>(),
    };
    let exact = original.get(at..end).is_some_and(|left_out| line_breaks(left_out) == count(lines));
    exact.then_some(end).into_iter().collect()
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-e\u{e9}\u{20ac} \n]{0,30}", 0..40)
}

fn views() -> impl Strategy<Value = View> {
    let keep = prop::option::of((0_usize..12, 0_usize..12).prop_map(|(head, tail)| Keep { head, tail }));
    let patterns = prop::sample::select(vec!["a", "^b", "c.d", "e$", "^$", "\u{e9}", "[a-c]{3}"]);
    let grep =
        prop::option::of((patterns, 0_usize..4).prop_map(|(pattern, context)| Grep::new(pattern, context).unwrap()));
    let max_chars = prop_oneof![0_usize..600, Just(WHOLE)];
    (max_chars, keep, grep).prop_map(|(max_chars, keep, grep)| View { max_chars, keep, grep })
}

/// Pieces of a text, cut anywhere.
fn cut(text: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).chain([0, text.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| text[cut[0]..cut[1]].to_vec()).collect()
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..12)
}

/// The lines that a search shows, by the simplest means.
fn grep_naively(text: &str, letter: char, context: usize) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let near = |at: usize| at.saturating_sub(context)..=at + context;
    let matching: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].contains(letter)).collect();
    let shown = |at: usize| matching.iter().any(|&matching| near(matching).contains(&at));
    let mut out = String::new();
    let mut at = 0;
    while at < lines.len() {
        let missing = (at..lines.len()).take_while(|&at| !shown(at)).count();
        match missing {
            0 => out.push_str(lines[at]),
            _ if at + missing == lines.len() && !text.ends_with('\n') => {
                let bytes: usize = lines[at..].iter().map(|line| line.len()).sum();
                out.push_str(&format!("[… {bytes} bytes, {} lines omitted …]\n", missing - 1));
            }
            1 => out.push_str("[… 1 line …]\n"),
            _ => out.push_str(&format!("[… {missing} lines …]\n")),
        }
        at += missing.max(1);
    }
    out
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same(
        texts in texts(),
        cuts in cuts(),
        keep in 0_usize..600,
        view in views(),
        from in 0_u64..700,
    ) {
        let text = texts.concat().into_bytes();
        let chunks = cut(&text, &cuts);
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let (one, other) = (captured(keep, &chunks), captured(keep, &[&text]));
        prop_assert_eq!(one.shape(&view), other.shape(&view));
        let from = Position { bytes: from, lines: from / 20 };
        prop_assert_eq!(one.since(from).shape(&view), other.since(from).shape(&view));
    }

    #[test]
    fn what_is_shown_and_what_is_omitted_are_the_whole(texts in texts(), keep in 0_usize..600, view in views()) {
        let text = texts.concat();
        let shown = shape(keep, &text, &view);
        let ends = walk(text.as_bytes(), shown.text.as_str());
        prop_assert!(ends.contains(&text.len()), "{:?} of {}", ends, text.len());
        prop_assert_eq!(shown.total_bytes, count(text.len()));
        prop_assert!(!shown.lossy);
        let lines = shown.text.as_str().split_inclusive('\n');
        let (marks, own): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("[… "));
        let inserted = shown.omitted_bytes + count(own.concat().len()) - count(text.len());
        prop_assert!(inserted <= count(marks.len()), "no more than a line break for each mark");
        prop_assert!(chars(own.concat().as_bytes()) <= view.max_chars + marks.len());
        if let Some(search) = shown.search {
            prop_assert!(search.unsearched_bytes <= count(text.len()));
            prop_assert!(search.unsearched_lines <= line_breaks(text.as_bytes()));
            prop_assert!(keep < text.len() || search.unsearched_bytes == 0);
        }
    }

    #[test]
    fn a_search_finds_what_the_simplest_one_does(texts in texts(), context in 0_usize..5) {
        let text = texts.concat();
        let shown = shape(WHOLE, &text, &view("", "d", context));
        prop_assert_eq!(shown.text.as_str(), grep_naively(&text, 'd', context));
    }

    #[test]
    fn where_nothing_was_dropped_a_reading_is_the_capture_of_the_rest(
        texts in texts(),
        at in any::<prop::sample::Index>(),
        view in views(),
        slack in 0_usize..9,
    ) {
        let (before, rest) = texts.split_at(at.index(texts.len() + 1));
        let (before, rest) = (before.concat(), rest.concat());
        let keep = before.len() + rest.len() + slack;
        let since = captured(keep, &[before.as_bytes(), rest.as_bytes()]).since(Position::of(before.as_bytes()));
        prop_assert_eq!(since.position(), Position::of(rest.as_bytes()));
        prop_assert_eq!(since.shape(&view), shape(keep, &rest, &view));
    }

    #[test]
    fn two_readings_are_one(
        text in "[a\u{e9}\u{20ac}\u{1f600}\n]{0,80}",
        keep in 0_usize..200,
        one in 0_usize..100,
        two in 0_usize..100,
        more in "[ab\n]{0,60}",
    ) {
        let place = |at: usize, from: usize| Position::of(&text.as_bytes()[from.min(text.len())..at.min(text.len())]);
        let mut capture = captured(keep, &[text.as_bytes()]);
        let mut first = capture.since(place(one, 0));
        let at_once = |capture: &Capture| capture.since(place(one + two, 0)).shape(&View::chars(WHOLE));
        prop_assert_eq!(first.since(place(one + two, one)).shape(&View::chars(WHOLE)), at_once(&capture));
        // A reading that goes on by itself keeps no more than the whole does, and counts the same.
        capture.push(&safe(more.as_bytes()));
        first.push(&safe(more.as_bytes()));
        prop_assert_eq!(first.position(), capture.since(place(one, 0)).position());
        prop_assert!(first.held_bytes() <= 2 * keep);
        let rest = [text.as_bytes(), more.as_bytes()].concat().split_off(one.min(text.len()));
        let ends = walk(&rest, first.shape(&View::chars(WHOLE)).text.as_str());
        let is_place = text.is_char_boundary(one.min(text.len()));
        prop_assert!(!is_place || ends.contains(&rest.len()), "what comes later is shown later");
    }

    #[test]
    fn readings_of_a_growing_stream_hand_out_every_kept_byte_once(
        texts in texts(),
        cuts in cuts(),
        keep in 0_usize..300,
        readings in prop::collection::vec(any::<bool>(), 14),
    ) {
        let text = texts.concat();
        let (mut capture, mut cursor) = (Capture::new(keep), Position::default());
        let (mut pushed, mut handed_out) = (Vec::new(), 0);
        for (chunk, read) in cut(text.as_bytes(), &cuts).into_iter().zip(readings) {
            capture.push(&safe(&chunk));
            pushed.extend(chunk);
            if !read {
                continue;
            }
            let reading = capture.since(cursor);
            let fresh = &pushed[cursor.bytes as usize..capture.position().bytes as usize];
            let shown = reading.shape(&View::chars(WHOLE));
            prop_assert!(!shown.lossy);
            prop_assert!(walk(fresh, shown.text.as_str()).contains(&fresh.len()));
            // What is kept of it is what the whole has of it.
            let whole = capture.kept();
            let (from, to) = (cursor.bytes as usize, capture.position().bytes as usize);
            let kept = (from..to).filter(|&at| at < whole.seam || at >= whole.seam + whole.dropped.bytes as usize);
            let kept: Vec<u8> = kept.map(|at| pushed[at]).collect();
            let handed = reading.kept();
            prop_assert_eq!(handed.bytes.as_bytes(), &kept);
            handed_out += handed.bytes.len() + handed.dropped.bytes as usize;
            cursor = capture.position();
            prop_assert_eq!(cursor, Position::of(&pushed[..to]));
        }
        prop_assert_eq!(handed_out, cursor.bytes as usize);
    }

    #[test]
    fn a_cursor_that_lies_gets_counts_that_could_be(
        texts in texts(),
        keep in 0_usize..300,
        bytes in 0_u64..1500,
        lines in prop_oneof![0_u64..100, any::<u64>()],
    ) {
        let text = texts.concat();
        let capture = captured(keep, &[text.as_bytes()]);
        let since = capture.since(Position { bytes, lines });
        let kept = since.kept();
        prop_assert_eq!(since.total_bytes(), count(text.len()).saturating_sub(bytes));
        prop_assert!(kept.dropped.lines <= kept.dropped.bytes);
        let whole = capture.kept().dropped;
        if kept.dropped.bytes > 0 {
            prop_assert!(whole.lines <= kept.dropped.lines + (whole.bytes - kept.dropped.bytes));
        }
        prop_assert!(since.position().lines <= capture.position().lines);
        let shown = since.shape(&View::chars(WHOLE));
        prop_assert!(shown.omitted_lines <= shown.omitted_bytes);
    }
}

/// Also a line that head and tail have no room for, in whatever pieces it comes.
#[test]
fn a_search_that_goes_along_finds_what_is_not_kept() {
    let middle = "before\nNEEDLE one\nbehind\n".to_owned() + &numbered(300) + "NEEDLE two\nlast\n";
    let text = numbered(300) + &middle + &numbered(300);
    for (piece, context, expected) in [
        (7, 0, "NEEDLE one\nNEEDLE two\n"),
        (4096, 0, "NEEDLE one\nNEEDLE two\n"),
        (1, 1, "before\nNEEDLE one\nbehind\nline 299\nNEEDLE two\nlast\n"),
        (100_000, 1, "before\nNEEDLE one\nbehind\nline 299\nNEEDLE two\nlast\n"),
    ] {
        let mut capture = Capture::new(400).searching(Grep::new("NEEDLE", context).unwrap());
        for piece in text.as_bytes().chunks(piece) {
            capture.push(&safe(piece));
        }
        let shown = capture.since(Position::default()).shape(&view("", "NEEDLE", context));
        assert_eq!(shown.text.as_str(), expected, "{piece}");
        let all = u64::try_from(text.len()).unwrap();
        assert_eq!(shown.search, Some(Search { matched: 2, unsearched_bytes: 0, unsearched_lines: 0, gave_up: false }));
        assert_eq!(shown.total_bytes, all);
        assert_eq!(shown.omitted_bytes, all - u64::try_from(expected.len()).unwrap());
        assert_eq!(capture.shape(&view("tail:1", "NEEDLE", 0)).search.unwrap().matched, 2 * u64::from(context == 0));
        // A search for another pattern sees only the bytes that were kept.
        let other = capture.shape(&view("", "line 150", 0));
        assert!(other.search.unwrap().unsearched_bytes > 0, "{other:?}");
    }
}

#[test]
fn a_line_that_is_too_long_is_counted_as_not_searched() {
    let long = "x".repeat(200_000);
    let mut capture = Capture::new(400).searching(Grep::new("NEEDLE", 1).unwrap());
    for piece in format!("one\n{long}NEEDLE{long}\nNEEDLE\n{}", numbered(100)).as_bytes().chunks(1000) {
        capture.push(&safe(piece));
    }
    let shown = capture.shape(&view("", "NEEDLE", 1));
    assert_eq!(shown.text.as_str(), "NEEDLE\nline 000\n");
    let search = shown.search.unwrap();
    assert_eq!((search.matched, search.unsearched_bytes, search.unsearched_lines), (1, 400_007, 1));
}

#[test]
fn what_has_not_ended_is_searched_as_a_line() {
    let mut capture = Capture::new(40).searching(Grep::new("b$", 0).unwrap());
    capture.push(&safe(format!("{}a b", numbered(50)).as_bytes()));
    assert_eq!(capture.shape(&view("", "b$", 0)).text.as_str(), "a b");
    capture.push(&safe(b"c\n"));
    assert_eq!(capture.shape(&view("", "b$", 0)).search.unwrap().matched, 0);
}

#[test]
fn the_last_line_is_told_without_what_is_around_it() {
    for (text, last) in [
        ("", ""),
        ("one", "one"),
        ("one\ntwo\n\n", "two"),
        ("10 %\r20 %\r", "20 %"),
        ("\u{20ac}\u{20ac}\u{20ac}\u{20ac}\u{20ac}\u{20ac}", "\u{20ac}\u{20ac}\u{20ac}\u{20ac}"),
    ] {
        assert_eq!(captured(100, &[text.as_bytes()]).last_line(4).as_str(), last.chars().take(4).collect::<String>());
    }
}
