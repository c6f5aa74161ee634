//! The redactor's promises: every rule holds its examples, chunks do not matter, a second pass changes nothing, and
//! ordinary output stays as it is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;

/// The shipped rules. Marks have no fingerprints: those are random.
fn builtin() -> Redactor {
    static SHARED: LazyLock<Redactor> = LazyLock::new(|| Redactor { key: None, ..Redactor::builtin().unwrap() });
    SHARED.clone()
}

/// The shipped rules and two known values.
fn redactor() -> Redactor {
    static SHARED: LazyLock<Redactor> = LazyLock::new(|| {
        let phrase = KnownValue::new("DEPLOY_PHRASE", "correct horse battery staple");
        builtin().with_known(&[phrase, KnownValue::new("LONG", known_long())])
    });
    SHARED.clone()
}

/// The shipped rules that find a secret by what stands around it. Those for keys and tables go by other lines as well, which
/// [`slow_spans`] does not know.
fn of_places() -> Redactor {
    static SHARED: LazyLock<Redactor> = LazyLock::new(|| {
        let mut rules = Rules::builtin().unwrap();
        rules.list.retain(is_of_place);
        Redactor { key: None, learns: false, ..Redactor::new(rules, vec![]) }
    });
    SHARED.clone()
}

fn is_of_place(rule: &Rule) -> bool {
    rule.block_end.is_none() && !rule.columns
}

fn known_long() -> String {
    (0..400).map(|n| format!("{:05}/", n * 7919 % 100_003)).collect()
}

/// Redacts in chunks that end at `cuts`.
fn in_chunks(redactor: &Redactor, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut stream = redactor.stream();
    let mut out = RedactedBytes::default();
    let mut cuts = [cuts, &[0, text.len()]].concat();
    cuts.sort_unstable();
    for cut in cuts.windows(2) {
        out.append(&stream.push(&text[cut[0]..cut[1]]));
    }
    out.append(&stream.finish());
    out.as_bytes().to_vec()
}

fn whole(redactor: &Redactor, text: &[u8]) -> Vec<u8> {
    in_chunks(redactor, text, &[])
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// They are not looked at again when a program starts.
#[test]
fn every_shipped_rule_is_fit_to_run() {
    let shipped = Rules::builtin().unwrap();
    assert!(shipped.list.len() > 100);
    shipped.fit().unwrap();
}

#[test]
fn every_rule_holds_its_examples() {
    let failed = builtin().failed_examples();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_failed_example_is_reported() {
    let table = r#"
        [[rule]]
        id = "x"
        description = "d"
        anchors = ["abcd"]
        pattern = 'abcd[0-9]{4}'
        examples = [{ before = "", secret = "abcd12" }]
        counter-examples = ["abcd1234"]
    "#;
    let redactor = Redactor::new(Rules::parse(&[("t", table)]).unwrap(), Vec::new());
    assert_eq!(redactor.failed_examples().len(), 2);
}

#[test]
fn unfit_rules_are_refused() {
    let base = [
        ("id", "\"x\""),
        ("description", "\"d\""),
        ("anchors", "[\"abcd\"]"),
        ("pattern", "'abcd[0-9]{4}'"),
        ("examples", "[{ secret = \"abcd1234\" }]"),
        ("counter-examples", "[\"abcd\"]"),
    ];
    let load = |key: &str, value: &str| {
        let mut lines: Vec<_> =
            base.iter().filter(|(name, _)| *name != key).map(|(k, v)| format!("{k} = {v}")).collect();
        lines.push(if value.is_empty() { String::new() } else { format!("{key} = {value}") });
        Rules::parse(&[("t", &format!("[[rule]]\n{}", lines.join("\n")))])
    };
    assert!(load("entropy", "1.0").is_ok());
    for (key, value, why) in [
        ("pattern", "'abcd[0-9]+'", "Unbounded"),
        ("pattern", "'abcd[0-9]*'", "Unbounded"),
        ("pattern", "'abcd[0-9]{4,}'", "Unbounded"),
        ("pattern", "'abcd.{1021}'", "TooLong(1025)"),
        ("pattern", "'[0-9]{0,4}'", "Empty"),
        ("pattern", "'^abcd'", "EndOfText"),
        ("pattern", "'abcd$'", "EndOfText"),
        ("pattern", "'abcd('", "Expression"),
        ("pattern", "'(a)(b)(c)(d)'", "Groups"),
        ("run-on", "'[a-'", "Expression"),
        ("reject", "['(']", "Expression"),
        ("anchors", "[\"abc\"]", "ShortAnchor(\"abc\")"),
        ("anchors", "[\"\"]", "ShortAnchor(\"\")"),
        ("anchors", "[]", "NoAnchor"),
        ("max-back", "129", "TooFarBack(129)"),
        ("id", "\"X y\"", "Id"),
        ("id", "\"\"", "Id"),
        ("description", "\" \"", "NoDescription"),
        ("examples", "", "NoExample"),
        ("counter-examples", "[]", "NoCounterExample"),
        ("unknown-key", "1", "Table"),
        ("require", "[\"vowel\"]", "Table"),
    ] {
        let error = format!("{:?}", load(key, value).unwrap_err());
        assert!(error.contains(why), "{key} = {value}: {error}");
    }
    assert!(load("anchors", "[\"abc\"]\nshort-anchor-reason = \"because\"").is_ok());
    let row = base.map(|(k, v)| format!("{k} = {v}")).join("\n");
    let twice = Rules::parse(&[("a", &format!("[[rule]]\n{row}")), ("b", &format!("[[rule]]\n{row}"))]);
    assert!(format!("{:?}", twice.unwrap_err()).contains("Duplicate"));
}

#[test]
fn ordinary_output_stays() {
    let redactor = redactor();
    for text in [
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 (HEAD -> main, origin/main)",
        "index 83db48f..bf269f4 100644",
        "      \"integrity\": \"sha512-RXhhbXBsZSBpbnRlZ3JpdHkgdmFsdWUgZm9yIGEgbG9ja2ZpbGUgdGVzdCwgc2l4dHkgZm91ciBieXRlcw==\",",
        "checksum = \"c982642fa9e8606056828ee9a8505737230110bb1099153c79efe865c59d12ba\"",
        "golang.org/x/oauth2 v0.15.0 h1:s8pnnxNVzjWyrvYdFUQq5llS1PX2zhPXmccZv99h7uQ=",
        "github.com/golang-jwt/jwt-token v3.2.2+incompatible h1:IfV12K8xAKAnZqdXVzCZ+TOjboZ2keLg81eXfW3O+oY=",
        "request 550e8400-e29b-41d4-a716-446655440000 took 12 ms",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
        "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
        "pub fn password(&self) -> &str { &self.password }",
        "    let token = self.tokens.next().ok_or(Error::UnexpectedEnd)?;",
        "    const token = await getToken({ audience: 'api' });",
        "type Secret = Box<dyn Fn(&str) -> Result<Secret2, Error>>;",
        "  password: string;",
        "  max_token: 4096",
        "use_token=true",
        "token = load_token(path)",
        "Usage: login [--password PASSWORD] [--token-file FILE]",
        "drwxr-xr-x 2 root root 4096 Nov 21 03:53 secrets",
        "test redact::tests::a_token_split_over_two_writes ... ok",
        "error[E0425]: cannot find value `secret_key2` in this scope",
        "Password for 'https://user@git.example.com': ",
        "https://docs.rs/regex-automata/0.4.18/regex_automata/meta/struct.Regex.html#method.search_slots",
        "npm warn deprecated har-validator@5.1.5: this library is no longer supported",
        "uid=1000(me) gid=1000(me) groups=1000(me),998(docker)",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMP me@host",
    ] {
        assert_eq!(redactor.text(text).as_str(), text);
    }
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(100_000).collect();
    assert_eq!(whole(&redactor, &bytes), bytes, "bytes that are no text pass unchanged");
}

/// What `grep`, `rg` and `git` put before a line of source is no name of a value.
#[test]
fn lines_of_source_stay() {
    let redactor = redactor();
    let lines = [
        "pub fn verify(",
        "=head1 NAME",
        "password = get_password()",
        "    token: String,",
        "    let secret = read_secret(&path)?;",
        "    if password != expected2 {",
        "    \"password\": schema.string(),",
        "def sha256sum(data):",
        "import base64",
        "x = a[1:2]",
        "\tSecretKey  string `json:\"secret_key2\"`",
        "-FunctionPass *createCSE2Pass();",
    ];
    let files = [
        "src/password.rs",
        "token.go",
        "./secrets.py",
        "auth/password_test.go",
        "lib/api_key.h",
        "credentials.js",
        "pwd.c",
    ];
    for (file, line) in files.iter().flat_map(|file| lines.map(|line| (file, line))) {
        for text in [
            line.to_owned(),
            format!("{file}:12:{line}"),
            format!("{file}:{line}"),
            format!("{file}-12-{line}"),
            format!("{file}-{line}"),
            format!("{file}:12:7:{line}"),
            format!("{file}=12={line}"),
            format!("HEAD:{file}:12:{line}"),
            format!("12:{line}"),
            format!("+{line}"),
            format!("-{line}"),
            format!("\u{1b}[35m{file}\u{1b}[0m:\u{1b}[32m12\u{1b}[0m:{line}"),
        ] {
            assert_eq!(redactor.text(&text).as_str(), text);
        }
    }
}

/// A token behind an escape is a token, whatever the escape ends with.
#[test]
fn escapes_hide_no_secret() {
    let redactor = Redactor { learns: false, ..builtin() };
    let escapes = [
        "\\n",
        "\\t",
        "\\r\\n",
        "\\\\n",
        "\\u0027",
        "\\u003d",
        "%20",
        "%3D",
        "%253D",
        "=3D",
        "\\x27",
        "\\033[1;32m",
        "\\u001b[31m",
        "#012",
    ];
    let tokens = redactor.matcher.rules.iter().filter(|rule| rule.pattern().starts_with("\\b"));
    let cases = tokens.flat_map(|rule| rule.examples.iter().map(move |example| (rule, example)));
    let mut missed = Vec::new();
    for (rule, example) in
        cases.filter(|(_, example)| example.before.joined().is_empty() || !example.before.joined().contains('\n'))
    {
        // Only what the rule itself asks for.
        let (before, secret) = (example.before.joined(), example.secret.joined());
        let whole = format!("{before}{secret}{}", example.after.joined());
        let Some(at) = (0..=before.len()).rev().find(|&at| rule.secret_at(whole.as_bytes(), at).is_some()) else {
            continue;
        };
        for escape in escapes {
            let text = format!("{{\"log\":\"up{escape}{}", &whole[at..]);
            if redactor.text(&text).as_str().contains(&secret) {
                missed.push((rule.id.clone(), text));
            }
        }
    }
    assert!(missed.is_empty(), "{} {missed:#?}", missed.len());
    assert_eq!(redactor.text("nghp_0123456789abcdefghijEXAMPLE0123456789").as_str(), "n[redacted:github-token]");
}

/// JSON that goes in comes out as JSON.
#[test]
fn json_stays_json() {
    let redactor = redactor();
    let mut broken = Vec::new();
    let cases: Vec<String> = redactor.matcher.rules.iter().flat_map(|rule| rule.cases().map(|case| case.0)).collect();
    for case in cases.iter().map(|case| case.trim_end()) {
        let inner = serde_json::json!({ "x": case, "y": 1 }).to_string();
        for text in [case.to_owned(), format!("{case}\\"), format!("{case}\n"), format!("{case}\"z"), inner] {
            for json in
                [serde_json::json!({ "a": text, "b": 1 }).to_string(), serde_json::json!([text, "z"]).to_string()]
            {
                let out = redactor.text(&json);
                if serde_json::from_str::<serde_json::Value>(out.as_str()).is_err() {
                    broken.push((json, out));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{} {broken:#?}", broken.len());
}

/// A key in a list or a string leaves its quotes, whether its markers are there or not.
#[test]
fn keys_in_json_stay_json() {
    let redactor = redactor();
    let body = |at: usize| {
        format!("{}{at:02}", "MIIEpAIBAAKCAQEA0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ".get(..62).unwrap())
    };
    let begin = ["-----BEGIN RSA ", "PRIVATE KEY-----"].concat();
    let end = begin.replace("BEGIN", "END");
    let lines: Vec<String> = [begin].into_iter().chain((0..6).map(body)).chain(["c2hvcnQ=".to_owned(), end]).collect();
    for lines in [&lines[..], &lines[1..], &lines[1..lines.len() - 1]] {
        let texts = [
            serde_json::json!({ "key": lines, "z": 1 }).to_string(),
            serde_json::to_string_pretty(&serde_json::json!({ "key": lines, "z": 1 })).unwrap(),
            serde_json::json!({ "key": lines.join("\n"), "z": 1 }).to_string(),
            serde_json::json!({ "log": serde_json::json!({ "key": lines }).to_string() }).to_string(),
        ];
        for text in texts {
            let out = redactor.text(&text);
            assert!(serde_json::from_str::<serde_json::Value>(out.as_str()).is_ok(), "{text} -> {out:?}");
            assert!(!out.as_str().contains("abcdefgh") && !out.as_str().contains("c2hvcn"), "{text} -> {out:?}");
        }
    }
}

/// A row that comes in pieces is not let go before its cells are known; a prompt behind a table is seen.
#[test]
fn silence_in_a_table_leaks_nothing() {
    let (header, row) = ("id,name,password\n", "1,me,hunter2x\n");
    for at in 1..row.len() {
        let mut stream = redactor().stream();
        let mut out = String::new();
        for part in [header, &row[..at], &row[at..], "$ "] {
            out += &lossy(stream.push(part.as_bytes()).as_bytes());
            out += &lossy(stream.idle().as_bytes());
        }
        assert_eq!(out, "id,name,password\n1,me,[redacted:table-cell]\n$ ", "silence at {at}");
    }
}

#[test]
fn known_values_go_wherever_they_stand() {
    let redactor = redactor();
    let out = redactor.text("say correct horse battery staple, not Correct horse");
    assert_eq!(out.as_str(), "say [redacted:DEPLOY_PHRASE], not Correct horse");
    let out = redactor.text(&format!("<{}>", known_long()));
    assert_eq!(out.as_str(), "<[redacted:LONG]>", "a long value is one redaction");
    let refused = builtin().with_known(&[KnownValue::new("A", "GitHub-token")]);
    assert_eq!(refused.refused(), [RefusedValue { name: "A".to_owned(), why: UnfitValue::InMark }]);
}

#[test]
fn known_values_are_found_in_every_coat() {
    #[derive(serde::Deserialize)]
    struct Encodings {
        encoding: Vec<Encoding>,
    }
    #[derive(serde::Deserialize)]
    struct Encoding {
        name: String,
        value: String,
        text: String,
    }
    let Encodings { encoding } = toml::from_str(include_str!("tests/encodings.toml")).unwrap();
    assert!(encoding.len() > 50);
    for Encoding { name, value, text } in encoding {
        let redactor = builtin().with_known(&[KnownValue::new("K", value)]);
        let (before, after) = ("before it: ", " and after\nnext line\n");
        let whole_text = format!("{before}{text}{after}");
        let out = whole(&redactor, whole_text.as_bytes());
        let shown = lossy(&out);
        assert!(shown.contains("[redacted:K]"), "{name}: {shown:?}");
        // What is left of the encoding are quotes, padding, and digits that the value does not fill alone.
        let left: usize = shown.len() - "[redacted:K]".len();
        assert!(left <= before.len() + after.len() + text.len() / 3 + 12, "{name}: {shown:?}");
        let bytewise: Vec<usize> = (0..whole_text.len()).collect();
        assert_eq!(lossy(&in_chunks(&redactor, whole_text.as_bytes(), &bytewise)), shown, "{name}");
    }
}

#[test]
fn many_known_values_are_all_found() {
    let values: Vec<String> = (0..2000).map(|n| format!("secret-value-{:07}", n * 7919)).collect();
    let known: Vec<KnownValue> = values.iter().map(|value| KnownValue::new("V", value.as_str())).collect();
    let redactor = builtin().with_known(&known);
    for value in values.iter().step_by(97) {
        assert_eq!(redactor.text(&format!("a {value} b")).as_str(), "a [redacted:V] b");
    }
}

#[test]
fn noise_hides_no_secret() {
    let ghp = ["ghp_", "0123456789abcdefghijEXAMPLE0123456789"].concat();
    let (head, tail) = ghp.split_at(9);
    let mark = "[redacted:github-token]";
    for (text, expected) in [
        (format!("a \u{1b}[31m{head}\u{1b}[0m{tail}\u{1b}[K b"), format!("a \u{1b}[31m{mark}\u{1b}[0m\u{1b}[K b")),
        (format!("word\u{1b}[1m{ghp}\u{1b}[0m b"), format!("word\u{1b}[1m{mark}\u{1b}[0m b")),
        (format!("a {head}\r{tail} b"), format!("a {mark} b")),
        (format!("50 %\r{ghp}\r\n"), format!("50 %\r{mark}\r\n")),
        (format!("a {head}\0{tail} b"), format!("a {mark} b")),
        (format!("a {head}\u{9b}31m{tail} b"), format!("a {mark}\u{9b}31m b")),
        (format!("a {head}\u{85}{tail} b"), format!("a {mark} b")),
        (format!("a {head}\u{200b}{tail} b"), format!("a {mark} b")),
        (format!("\u{1b}]0;{ghp}\u{7}a"), format!("\u{1b}]0;{mark}\u{7}a")),
        (format!("\u{1b}]8;;https://u:{ghp}@h/\u{1b}\\text"), format!("\u{1b}]8;;https://u:{mark}@h/\u{1b}\\text")),
        ("\u{1b}[32mok\u{1b}[0m \u{2026}\r\n\0".to_owned(), "\u{1b}[32mok\u{1b}[0m \u{2026}\r\n\0".to_owned()),
    ] {
        assert_eq!(lossy(&whole(&builtin(), text.as_bytes())), expected);
        let bytewise: Vec<usize> = (0..text.len()).collect();
        assert_eq!(lossy(&in_chunks(&builtin(), text.as_bytes(), &bytewise)), expected);
    }
}

#[test]
fn what_a_rule_has_found_is_known_from_then_on() {
    let ghp = ["ghp_", "0123456789abcdefghijEXAMPLE0123456789"].concat();
    let hidden = format!("0{ghp}x"); // by itself nothing that a rule knows
    let redactor = builtin();
    let mark = "[redacted:github-token]";
    assert_eq!(redactor.text(&format!("{hidden} {ghp} {hidden}")).as_str(), format!("{hidden} {mark} 0{mark}x"));
    assert_eq!(redactor.text(&hidden).as_str(), hidden, "streams of no session share nothing");
    let session = Redactor { key: None, ..redactor.session() };
    session.text(&ghp);
    assert_eq!(session.text(&hidden).as_str(), format!("0{mark}x"));
}

/// Somebody may print as many made-up tokens as they like: the next real one is learned all the same.
#[test]
fn learning_forgets_the_oldest_and_never_stops() {
    let token = |n: usize| format!("ghp_{:016x}EXAMPLE{n:013}", (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let hidden = |n: usize| format!("0{}x", token(n)); // by itself nothing that a rule knows
    let redactor = Redactor { key: None, ..builtin().session().keyed("one") };
    let last = 2 * known_value::MOST_LEARNED + 100;
    // Now and then one of the last hundred is met again, and one that may be forgotten by then.
    let line = |n: usize| match n % 50 {
        0 => format!("{} {} {}\n", token(n), hidden(n.saturating_sub(90)), hidden(n.saturating_sub(1500))),
        _ => format!("{}\n", token(n)),
    };
    let text: String = (0..=last).map(line).collect();
    let expected = whole(&redactor, text.as_bytes());
    for shown in lossy(&expected).lines().filter(|line| line.contains(' ')) {
        assert!(shown.split(' ').take(2).all(|part| part.contains("[redacted:")), "{shown}");
    }
    let session = redactor.starting_known();
    assert!((known_value::MOST_LEARNED..=2 * known_value::MOST_LEARNED).contains(&session.len()), "{}", session.len());
    let mark = "0[redacted:github-token]x";
    for (n, shown) in [(0, hidden(0).as_str()), (last - known_value::MOST_LEARNED + 1, mark), (last, mark)] {
        assert_eq!(redactor.text(&hidden(n)).as_str(), shown, "token {n}");
    }
    let fresh = Redactor { key: None, ..builtin().session().keyed("other") };
    for size in [997, 20_011] {
        let cuts: Vec<usize> = (0..text.len()).step_by(size).collect();
        let alone = Redactor { memory: None, ..fresh.clone() };
        assert!(in_chunks(&alone, text.as_bytes(), &cuts) == expected, "chunks of {size}");
    }
}

/// Nor do tokens that begin like it keep it from being learned.
#[test]
fn a_crowd_of_tokens_keeps_none_from_being_learned() {
    let token = |n: usize| ["github_", &format!("pat_11EXAMPLE{n:010}_{}", "k3Y8".repeat(15))].concat();
    let redactor = Redactor { key: None, ..builtin().session() };
    redactor.text(&(0..100).map(|n| token(n) + "\n").collect::<String>());
    let hidden = format!("0{}x", token(99));
    let shown = redactor.text(&hidden);
    assert!(shown.as_str().starts_with("0[redacted:"), "{shown}");
}

#[test]
fn fingerprints_tell_equal_values_apart_from_others() {
    let (one, two) = (format!("ghp_{}", "a1B2".repeat(9)), format!("ghp_{}EXAMPLE", "0aZ9b8Y7".repeat(4)));
    let redactor = Redactor::builtin().unwrap();
    let shown = redactor.text(&format!("{one} {two} {one} DB_PASSWORD=hunterhunter"));
    let marks: Vec<&str> = shown.as_str().split(' ').collect();
    assert!(
        marks[0].starts_with("[redacted:github-token#") && marks[0].len() == "[redacted:github-token#123456]".len()
    );
    assert!(marks[0] == marks[2] && marks[0] != marks[1], "{shown}");
    assert_eq!(marks[3], "DB_PASSWORD=[redacted:environment-secret]", "what can be guessed has none");
    assert_ne!(redactor.session().text(&one).as_str(), marks[0], "sessions cannot be compared");
    assert_eq!(redactor.text(shown.as_str()), shown, "marks stay");
}

#[test]
fn a_session_learns_for_itself_alone() {
    let ghp = ["ghp_", "0123456789abcdefghijEXAMPLE0123456789"].concat();
    let hidden = format!("0{ghp}x"); // by itself nothing that a rule knows
    let operator = "operator-Secret-0451-value";
    let server = redactor().with_known(&[KnownValue::new("OPERATOR", operator)]);
    let server = Redactor { key: FingerprintKey::random().map(Arc::new), ..server }.session();
    let (one, other) = (server.keyed("one"), server.keyed("other"));
    let aware = one.aware_of(&palisade_grammar::inventory(b"A_TOKEN=Zx81-k3yQ-77Lm-pq9 tool"));
    drop(aware);
    one.text(&ghp);
    for learned in [hidden.as_str(), "xZx81-k3yQ-77Lm-pq9x"] {
        assert_ne!(server.keyed("one").text(learned).as_str(), learned, "the session remembers it");
        assert_eq!(other.text(learned).as_str(), learned, "no other session tells that it is a secret");
        assert_eq!(server.keyed("later").text(learned).as_str(), learned);
        assert_eq!(server.text(learned).as_str(), learned);
    }
    let marks = [&one, &other, &server].map(|redactor| redactor.text(operator).to_string());
    assert!(marks.iter().all(|mark| mark.starts_with("[redacted:OPERATOR#")), "all know it: {marks:?}");
    assert!(marks[0] != marks[1] && marks[0] != marks[2] && marks[1] != marks[2], "none can be compared: {marks:?}");
}

#[test]
fn renewed_values_reach_the_sessions_that_are_open() {
    let (former, later) = ("former-Secret-0451-value", "later-Secret-1540-value");
    let server = builtin().with_known(&[KnownValue::new("GIVEN", former)]).session();
    let server = Redactor { key: None, ..server };
    let open = server.keyed("open");
    let ghp = ["ghp_", "0123456789abcdefghijEXAMPLE0123456789"].concat();
    open.text(&ghp);
    let mut running = open.stream();
    running.push(b"begun ");
    assert_eq!(server.renew(&[KnownValue::new("GIVEN", later), KnownValue::new("SHORT", "abc")]).len(), 1);
    for redactor in [&server, &open, &server.keyed("new"), &server.keyed("open")] {
        assert_eq!(redactor.text(&format!("{former} {later}")).as_str(), format!("{former} [redacted:GIVEN]"));
    }
    let learned = Redactor { key: None, ..server.keyed("open") }.text(&format!("0{ghp}x"));
    assert_eq!(learned.as_str(), "0[redacted:github-token]x", "what was learned stays");
    running.push(former.as_bytes());
    assert!(lossy(running.finish().as_bytes()).contains("[redacted:GIVEN]"), "an open stream keeps to what it knew");
    assert!(builtin().renew(&[KnownValue::new("X", later)]).is_empty());
}

#[test]
fn hits_say_where_but_not_what() {
    let mut stream = builtin().stream().explained();
    let mut out = stream.push(b"one\nDB_PASSWORD=EXAMPLEpw0\n");
    let (rest, hits) = stream.finish_explained();
    out.append(&rest);
    assert_eq!(hits, [Hit { rule: "assigned-secret".to_owned(), line: 2, offset: 16, length: 10 }]);
}

#[test]
fn overlaps_become_one_mark() {
    let ghp = ["ghp_", "0123456789abcdefghijEXAMPLE0123456789"].concat();
    for (text, expected) in [
        (format!("my_password={ghp}"), "my_password=[redacted:github-token]"),
        (format!("my_password=x{ghp}"), "my_password=[redacted:assigned-secret]"),
        (format!("https://u:{ghp}@h/"), "https://u:[redacted:github-token]@h/"),
        (format!("{ghp} {ghp}"), "[redacted:github-token] [redacted:github-token]"),
    ] {
        assert_eq!(redactor().text(&text).as_str(), expected);
    }
}

#[test]
fn a_long_token_goes_to_its_end() {
    let token = "EXAMPLE0123456789".repeat(5000);
    let text = format!("Authorization: Bearer {token} end");
    assert_eq!(redactor().text(&text).as_str(), "Authorization: Bearer [redacted:authorization-header] end");
}

#[test]
fn every_example_survives_every_split() {
    let redactor = builtin();
    for (input, expected) in redactor.matcher.rules.iter().flat_map(Rule::cases) {
        // Texts that stay have no place that matters more than others.
        let step = if input == expected { 1 + input.len() / 4 } else { 1 };
        for cut in (0..=input.len()).step_by(step) {
            assert_eq!(lossy(&in_chunks(&redactor, input.as_bytes(), &[cut])), expected, "cut at {cut}");
        }
    }
}

#[test]
fn silence_in_the_middle_of_a_secret_leaks_nothing() {
    let redactor = builtin();
    // Where the anchor stands behind the secret, nobody can know before it comes.
    let rules = redactor.matcher.rules.iter().filter(|rule| rule.max_back == 0);
    for (input, expected) in rules.flat_map(Rule::cases).filter(|(input, expected)| input != expected) {
        for cut in 0..=input.len() {
            let mut stream = redactor.stream();
            let mut out = RedactedBytes::default();
            out.append(&stream.push(&input.as_bytes()[..cut]));
            out.append(&stream.idle());
            out.append(&stream.push(&input.as_bytes()[cut..]));
            out.append(&stream.idle());
            out.append(&stream.finish());
            assert_eq!(out.to_text().0.as_str(), expected, "silence at {cut}");
        }
    }
}

#[test]
fn silence_in_the_middle_of_a_known_value_leaks_nothing() {
    let known = [KnownValue::new("PUNCTUATED", "a.1 !b:c,d;e"), KnownValue::new("PHRASE", "correct horse battery")];
    let redactor = builtin().with_known(&known);
    let text = "x a.1 !b:c,d;e correct horse battery a.1 !b:c";
    for cut in 0..=text.len() {
        let mut stream = redactor.stream();
        let mut out = stream.push(&text.as_bytes()[..cut]);
        out.append(&stream.idle());
        out.append(&stream.push(&text.as_bytes()[cut..]));
        out.append(&stream.finish());
        assert_eq!(lossy(out.as_bytes()), "x [redacted:PUNCTUATED] [redacted:PHRASE] a.1 !b:c", "silence at {cut}");
    }
}

#[test]
fn a_prompt_is_seen_before_its_answer() {
    for prompt in [
        "Password: ",
        "Password for 'https://user@git.example.com': ",
        "Enter passphrase for key '/home/me/.ssh/id_ed25519': ",
        "Continue? [y/N] ",
        "$ ",
        "API token: ",
        "bash-5.2$ ",
    ] {
        let mut stream = redactor().stream();
        let mut out = stream.push(prompt.as_bytes());
        out.append(&stream.idle());
        assert_eq!(out.to_text().0.as_str(), prompt);
    }
}

#[test]
fn a_key_goes_line_by_line_and_what_is_printed_between_stays() {
    let begin = ["-----BEGIN OPENSSH ", "PRIVATE KEY-----"].concat();
    let end = ["-----END OPENSSH ", "PRIVATE KEY-----"].concat();
    let line = "b3BlbnNzaC1rZXktdjEAAAAAEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAM";
    let body = |prefix: &str, lines: usize| format!("{prefix}{line}\n").repeat(lines);
    let mark = "[redacted:private-key]";
    for (text, expected) in [
        (format!("{begin}\n{}AAAA==\n{end}\nls\n", body("", 200)), format!("{begin}\n{mark}\n{end}\nls\n")),
        (
            format!("{begin}\r\n{}[info] started 3 jobs\n{}{end}\n", body("", 2), body("", 2)),
            format!("{begin}\r\n{mark}\n[info] started 3 jobs\n{mark}\n{end}\n"),
        ),
        (
            format!("k:1:{begin}\n{}k:9:AAAA==\nk:10:{end}\n", body("k:2:", 7)),
            format!("k:1:{begin}\n{mark}\nk:10:{end}\n"),
        ),
        (format!("{begin}\n{}AAA\nsrc\nCargo.toml\n", body("", 2)), format!("{begin}\n{mark}\nsrc\nCargo.toml\n")),
        (format!("{begin} {} {end}", line.repeat(40)), format!("{begin}{mark}{end}")),
        (format!("{begin}\n{}", line.repeat(3)), format!("{begin}\n{mark}")),
    ] {
        let redactor = builtin();
        assert_eq!(redactor.text(&text).as_str(), expected);
        assert_eq!(redactor.text(&expected).as_str(), expected, "a second pass changes nothing");
        for size in [1, 7, 64, 1000] {
            let cuts: Vec<usize> = (0..text.len()).step_by(size).collect();
            assert_eq!(lossy(&in_chunks(&redactor, text.as_bytes(), &cuts)), expected, "chunks of {size}");
        }
    }
}

#[test]
fn an_unclosed_key_does_not_swallow_the_rest() {
    let begin = ["-----BEGIN RSA ", "PRIVATE KEY-----\n"].concat();
    let text = format!("{begin}{}", "A".repeat(200_000));
    assert!(whole(&builtin(), text.as_bytes()).len() > 100_000);
    let later = "ordinary words\n".repeat(10) + &"A".repeat(64) + "\n";
    assert_eq!(whole(&builtin(), format!("{begin}{later}").as_bytes()), format!("{begin}{later}").into_bytes());
}

/// What begins like a mark is none: a program could put that in front of any secret.
#[test]
fn a_false_mark_hides_nothing() {
    let token = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let known = [KnownValue::new("SITE_PASSWORD", "EXAMPLE-pw0/x")];
    let redactor = Redactor::builtin().unwrap().with_known(&known);
    for (text, secret) in [
        (format!("[redacted:{token}]"), token),
        (format!("[redacted:{token}"), token),
        (format!("[redacted:x#{token}]"), token),
        ("[redacted:EXAMPLE-pw0/x]".to_owned(), "EXAMPLE-pw0"),
        ("[redacted:EXAMPLE-pw0/x".to_owned(), "EXAMPLE-pw0"),
    ] {
        let out = redactor.text(&text);
        assert!(!out.as_str().contains(secret), "{text}: {out}");
        assert_eq!(redactor.text(out.as_str()).as_str(), out.as_str(), "a second pass changes nothing");
    }
}

#[test]
fn counts_are_by_rule() {
    let mut stream = redactor().stream();
    let mut out = stream.push(b"DB_PASSWORD=EXAMPLEpw0\nX_PASSWORD=EXAMPLEpw1\ncorrect horse battery staple\n");
    let (rest, counts) = stream.finish_counted();
    out.append(&rest);
    let counts: Vec<_> = counts.iter().map(|(id, &count)| (id.as_str(), count)).collect();
    assert_eq!(counts, [("DEPLOY_PHRASE", 1), ("assigned-secret", 2)], "{out:?}");
}

#[test]
fn memory_is_bounded() {
    let redactor = redactor();
    let mut stream = redactor.stream();
    for chunk in ["password=", "eyJhbGciOi", "A", "://", "-----BEGIN "] {
        for _ in 0..10 {
            stream.push(chunk.repeat(10_000).as_bytes());
        }
        let most = 3 * 64 * 1024;
        assert!(stream.buffer_len() < most && stream.open_len() < most, "{chunk}");
    }
}

#[test]
fn redacted_text_shows_itself_and_nothing_else() {
    let out = redactor().text("a \"quoted\" text");
    assert_eq!(format!("{out} {out:?}"), "a \"quoted\" text \"a \\\"quoted\\\" text\"");
    assert_eq!(serde_json::to_string(&out).unwrap(), r#""a \"quoted\" text""#);
    let mut stream = redactor().stream();
    stream.push(b"held-back-text");
    assert!(!format!("{stream:?}").contains("held-back"));
    assert_eq!(redactor().path(Path::new("/a/b")).as_str(), "/a/b");
}

/// What the rules mean, without anchors, gate, windows or chunks: each rule's pattern is tried at every position of the
/// whole text. Keys and known values are left out.
fn slow_spans(rules: &[Rule], text: &[u8]) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    for rule in rules.iter().filter(|rule| is_of_place(rule)) {
        for start in 0..text.len() {
            if let Some(mut span) = rule.secret_at(text, start) {
                span.end += (span.end..text.len()).take_while(|&at| stream::runs_on(text, at, rule.run_on)).count();
                spans.push(span);
            }
        }
    }
    spans.sort_unstable_by_key(|span| (span.start, span.end));
    let mut union: Vec<Range<usize>> = Vec::new();
    for span in spans {
        match union.last_mut() {
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            Some(_) | None => union.push(span),
        }
    }
    union
}

/// What stays of the text when the spans go.
fn without(text: &[u8], spans: &[Range<usize>]) -> Vec<u8> {
    let ends = spans.iter().map(|span| span.end);
    let starts = spans.iter().map(|span| span.start).chain([text.len()]);
    [0].into_iter().chain(ends).zip(starts).flat_map(|(from, to)| text[from..to].to_vec()).collect()
}

/// Takes the marks out of redacted text.
fn without_marks(redacted: &[u8]) -> Vec<u8> {
    let text = lossy(redacted);
    let mut parts = text.split(MARK);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(']').unwrap().1).into_bytes()
}

/// The texts between the marks. What only begins like one is text.
fn between_marks(redacted: &str) -> Vec<&str> {
    let mut parts = redacted.split(MARK);
    let first = parts.next().unwrap();
    let texts = parts.map(|part| part.split_once(']').map_or(part, |(_, text)| text));
    [first].into_iter().chain(texts).collect()
}

/// Whether these texts come in the other one, in their order.
fn comes_in(mut text: &str, parts: &[&str]) -> bool {
    parts.iter().all(|part| text.find(part).map(|at| text = &text[at + part.len()..]).is_some())
}

/// Nothing that a rule finds makes it, or another one, find anything more.
#[test]
fn a_second_pass_over_what_rules_find_changes_nothing() {
    let redactor = redactor();
    let lists = [
        // Words of a mark are no words of what stands behind it.
        "sshpass -p hunter2 ssh root@hexpect \"$ \"\nsend \"ls\\r\"".to_owned(),
        "0gpg --batch --passphrase hunter -d a.gpgkinit me <<< 'hunter2'\n".to_owned(),
    ];
    let cases = redactor.matcher.rules.iter().flat_map(|rule| rule.cases().map(|case| case.0));
    for text in cases.chain(lists) {
        for text in [text.clone(), format!("password: {text}\n{text}"), format!("{text} token={text}")] {
            let once = whole(&redactor, text.as_bytes());
            assert_eq!(lossy(&whole(&redactor, &once)), lossy(&once), "{text}");
        }
    }
}

/// Whatever the anchors are that a text is full of, its length bounds the work.
#[test]
fn floods_take_linear_time() {
    for seed in
        ["_PASS=", "?pwd=", "password= ", ".eyJ", ":5432:-", "://a:", "-----BEGIN ", "\u{1b}[m.eyJ", "a\0_PASS="]
    {
        let tries = |size: usize| {
            let mut stream = builtin().stream();
            stream.push(seed.repeat(size / seed.len()).as_bytes());
            stream.tries()
        };
        let (small, large) = (tries(20_000), tries(80_000));
        assert!(large <= 5 * small && large <= 40 * 80_000, "{seed:?}: {small} tries, four times the text {large}");
        let plain = !seed.contains(|c: char| c.is_control());
        assert!(!plain || large <= 8 * 80_000, "{seed:?}: {large} tries, so places are tried again and again");
    }
}

/// Text spliced from examples, their fragments and ordinary output.
fn spliced(pieces: Range<usize>) -> impl Strategy<Value = String> {
    let cases: Vec<String> = builtin().matcher.rules.iter().flat_map(|rule| rule.cases().map(|case| case.0)).collect();
    let example = prop::sample::select(cases);
    let fragment = (example.clone(), any::<Index>(), any::<Index>()).prop_map(|(text, a, b)| {
        let (a, b) = (a.index(text.len() + 1), b.index(text.len() + 1));
        text[a.min(b)..a.max(b)].to_owned()
    });
    let ordinary = prop::sample::select(vec![
        "   Compiling regex-automata v0.4.18\n",
        "password = \"",
        "token: ",
        "://a:",
        "@b/c ",
        " ",
        "\n",
        " correct horse battery staple.",
        "correct horse",
        "0123456789abcdefABCDEF",
        "[redacted:github-token]",
        "-----BEGIN RSA ",
        "test a::b ... ok\n",
        "\"}],\n",
    ]);
    let noise = "[a-zA-Z0-9+/=_ .:-]{1,60}";
    let piece = prop_oneof![
        3 => example,
        2 => fragment,
        3 => ordinary.prop_map(str::to_owned),
        2 => noise,
        1 => "[A-Za-z0-9_-]{200,2000}",
    ];
    prop::collection::vec(piece, pieces).prop_map(|pieces| pieces.concat())
}

/// The pattern without assertions, which the generator of texts does not know.
fn without_assertions(pattern: &str) -> String {
    let (mut plain, mut in_class, mut characters) = (String::new(), false, pattern.chars());
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next().unwrap() {
                'b' if !in_class => (),
                escaped => plain.extend(['\\', escaped]),
            },
            '^' | '$' if !in_class => (),
            _ => {
                in_class = c == '[' || in_class && c != ']';
                plain.push(c);
            }
        }
    }
    format!("(?-u){plain}")
}

/// Anchors, `next`, gates and `max-back` only say where to look: texts made from a pattern itself are all found.
#[test]
fn each_rule_finds_what_its_pattern_makes() {
    let mut runner = TestRunner::deterministic();
    let mut missed = BTreeMap::new();
    for rule in Rules::builtin().unwrap().list.into_iter().filter(is_of_place) {
        let texts = proptest::string::bytes_regex(&without_assertions(&rule.pattern())).unwrap();
        let bare = Redactor { key: None, learns: false, ..Redactor::new(Rules { list: vec![rule] }, vec![]) };
        for (before, after) in [("\n", "\n"), (" ", " "), ("a\n\"", "\",")].into_iter().cycle().take(60) {
            let mut made = texts.new_tree(&mut runner).unwrap().current();
            // What is noise to the view would not be there.
            let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) || b"\n\t\xe2\x94\x82".contains(&byte);
            made.iter_mut().filter(|byte| !is_plain(**byte)).for_each(|byte| *byte = b'!');
            let text = [before.as_bytes(), &made, after.as_bytes()].concat();
            let expected = without(&text, &slow_spans(&bare.matcher.rules, &text));
            if lossy(&without_marks(&whole(&bare, &text))) != lossy(&expected) {
                missed.insert(bare.matcher.rules[0].id.clone(), lossy(&text));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_chunking_gives_the_same(text in spliced(10..400), cuts in prop::collection::vec(any::<Index>(), 0..200)) {
        let redactor = redactor();
        let text = text.repeat(1 + 100_000 / text.len().max(1000)); // more than one block of input
        let text = text.as_bytes();
        let expected = lossy(&whole(&redactor, text));
        let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        prop_assert_eq!(&lossy(&in_chunks(&redactor, text, &cuts)), &expected);
        let text = &text[..text.len().min(20_000)];
        let bytewise: Vec<usize> = (0..text.len()).collect();
        prop_assert_eq!(in_chunks(&redactor, text, &bytewise), whole(&redactor, text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // A known value may stand in the middle of a word; the mark then divides words that were one before. The generator
    // puts a blank and a full stop around it. Keys are left to their own test.
    #[test]
    fn a_second_pass_gives_nothing_back(text in spliced(5..60)) {
        let redactor = redactor();
        let once = lossy(&whole(&redactor, text.replace("-----BEGIN ", "").as_bytes()));
        let twice = lossy(&whole(&redactor, once.as_bytes()));
        prop_assert!(comes_in(&between_marks(&once).concat(), &between_marks(&twice)), "{}\n{}", once, twice);
    }

    #[test]
    fn anchors_gate_and_windows_lose_nothing(text in spliced(2..12)) {
        let redactor = of_places();
        // Every rule is tried at every place, which takes its time.
        let text = text.replace(MARK, "");
        let text = &text[..text.floor_char_boundary(3000)];
        let expected = without(text.as_bytes(), &slow_spans(&redactor.matcher.rules, text.as_bytes()));
        prop_assert_eq!(lossy(&without_marks(&whole(&redactor, text.as_bytes()))), lossy(&expected));
    }
}

/// How a program may write a value; what is decoded from it again holds the value.
fn encoded(value: &[u8], how: usize) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let around = |before: &str| [before.as_bytes(), value, b"end"].concat();
    let each = |style: &dyn Fn(u8) -> String| value.iter().map(|&byte| style(byte)).collect::<String>();
    match how {
        0 => STANDARD.encode(value),
        1 => STANDARD.encode(around("a")),
        2 => URL_SAFE_NO_PAD.encode(around("ab")),
        3 => each(&|byte| format!("{byte:02x}")),
        4 => each(&|byte| format!("{byte:02X}:")),
        5 => each(&|byte| format!("%{byte:02X}")),
        6 => each(&|byte| format!("\\u{byte:04x}")),
        7 => each(&|byte| format!("\\x{byte:02x}")),
        8 => serde_json::to_string(&lossy(value)).unwrap(),
        9 => each(&|byte| {
            if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("\\{}", char::from(byte)) }
        }),
        10 => lossy(value).chars().rev().collect(),
        11 => STANDARD.encode(STANDARD.encode(value)),
        12 => STANDARD
            .encode(around(""))
            .chars()
            .collect::<Vec<_>>()
            .chunks(9)
            .map(|line| line.iter().collect::<String>() + "\n")
            .collect(),
        13 => lossy(value)
            .chars()
            .collect::<Vec<_>>()
            .chunks(7)
            .map(|line| line.iter().collect::<String>() + "\n")
            .collect(),
        _ => lossy(value).chars().flat_map(|c| [c, '\u{200b}']).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_encoding_of_a_known_value_comes_out(
        value in "[!-~]{10,40}",
        how in 0_usize..15,
        around in ("[a-z \\n]{0,200}", "[a-z \\n]{0,200}"),
        cuts in prop::collection::vec(any::<Index>(), 0..20),
    ) {
        let redactor = builtin().with_known(&[KnownValue::new("K", value.as_str())]);
        prop_assume!(redactor.refused().is_empty());
        let written = encoded(value.as_bytes(), how);
        let text = format!("{} {written} {}", around.0, around.1);
        let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        let out = lossy(&in_chunks(&redactor, text.as_bytes(), &cuts));
        // Of an encoding, digits that other bytes have a share in may stay at both ends.
        let core: Vec<char> = written.chars().collect();
        let core: String = core.iter().skip(4).take(core.len().saturating_sub(12)).collect();
        prop_assert!(core.len() < 4 || !out.contains(&core), "{how}: {value:?} in {out:?}");
        prop_assert!(out.contains("[redacted:"), "{how}: {value:?} in {out:?}");
    }
}

/// What is told of a session's values, and what they are printed as.
fn listed(server: &Redactor) -> Vec<(String, LearnedFrom, String, String, usize, String)> {
    let told = |value: LearnedValue| {
        let [session, name, program, shown] =
            [value.session, value.name, value.program, value.shown].map(|text| text.to_string());
        (session, value.from, name, program, value.length, shown)
    };
    server.learned().into_iter().map(told).collect()
}

#[test]
fn what_was_learned_is_told_by_its_place_and_never_by_its_value() {
    let server = Redactor::builtin().unwrap().session();
    let session = server.keyed("s-1");
    let script = b"/opt/bin/tool --password Zx81-k3yQ-77Lm-pq9; DB_TOKEN='q9$Lm2#zR1' tool; docker run -e API_KEY=Ab3-xY9-kL0m image";
    drop(session.aware_of(&palisade_grammar::inventory(script)));
    let ghp = ["ghp_", "0123456789abcdefghijEXAMPLE0123456789"].concat();
    let shown = session.text(&format!("is {ghp} and Zx81-k3yQ-77Lm-pq9"));
    let row = |from, name: &str, program: &str, length, ends: &str| {
        ("s-1".to_owned(), from, name.to_owned(), program.to_owned(), length, ends.to_owned())
    };
    let expected = [
        row(LearnedFrom::Argument, "--password", "tool", 18, "Zx…q9"),
        row(LearnedFrom::Variable, "DB_TOKEN", "", 10, ""),
        row(LearnedFrom::Argument, "API_KEY", "docker", 12, "Ab…"),
        row(LearnedFrom::Output, "github-token", "", 41, "gh…89"),
    ];
    assert_eq!(listed(&server), expected);
    let told = server.learned();
    // The marks are those that were printed, and each is counted that was made because the value was known.
    for (value, redacted) in told.iter().zip([1, 0, 0, 0]) {
        assert_eq!(value.redacted, redacted, "{value:?}");
        let mark = value.mark.as_str();
        assert_eq!(shown.as_str().contains(mark), value.length > 13, "{mark}: {shown}");
    }
    assert!(!format!("{told:?}").contains("k3yQ") && session.learned().is_empty(), "{told:?}");
}

/// The text of a command is shown and recorded, and so gone through by rules, before its words are looked at.
#[test]
fn what_a_command_names_is_told_by_that_whatever_has_seen_it_before() {
    let server = Redactor::builtin().unwrap().session();
    let (session, script) = (server.keyed("s-1"), "tool --password Zx81-k3yQ-77Lm-pq9");
    session.text(script);
    assert_eq!(server.learned()[0].from, LearnedFrom::Output);
    drop(session.aware_of(&palisade_grammar::inventory(script.as_bytes())));
    drop(session.aware_of(&palisade_grammar::inventory(b"A_TOKEN=Zx81-k3yQ-77Lm-pq9 other")));
    let told = server.learned();
    assert_eq!((told.len(), told[0].from, told[0].name.as_str()), (1, LearnedFrom::Argument, "--password"));
}

#[test]
fn what_is_dropped_is_shown_and_not_learned_again() {
    let server = Redactor::builtin().unwrap().session();
    let value = "frontend_9x-Kd72Lm";
    let script = palisade_grammar::inventory(format!("tool --password {value}").as_bytes());
    let (one, other) = (server.keyed("one"), server.keyed("other"));
    let teach = |session: &Redactor| session.aware_of(&script).text(&format!("it is {value}")).to_string();
    assert!(!teach(&one).contains(value) && !teach(&other).contains(value));
    let mut open = one.stream();
    let before = open.push(format!("{value} ").as_bytes());
    let numbers: Vec<u64> = server.learned().iter().map(|value| value.number).collect();
    assert_eq!(numbers.len(), 2, "each session has its own");
    server.drop_learned(&[u64::MAX]);
    assert_eq!(server.learned().len(), 2, "that was none of them");
    server.drop_learned(&numbers[..1]);
    assert_eq!(server.learned(), []);
    // Neither what was open, nor what comes later, in any session, and whatever teaches it again.
    let shown =
        [before, open.push(format!("{value} ").as_bytes()), open.finish()].map(|part| part.to_text().0.to_string());
    assert!(shown.concat().ends_with(&format!("{value} ")), "{shown:?}");
    server.renew(&[]);
    let kept = server.keyed("new");
    for session in [&one, &other, &kept, &server.keyed("one")] {
        assert_eq!(teach(session), format!("it is {value}"));
        session.text(&format!("password = \"{value}\""));
        assert_eq!(session.text(value).as_str(), value);
    }
    assert_eq!(server.learned(), []);
    // In a secret's place it is redacted all the same, and so is another value.
    assert!(!one.text(&format!("password = \"{value}\"")).as_str().contains(value));
    drop(one.aware_of(&palisade_grammar::inventory(b"tool --password Zx81-k3yQ-77Lm-pq9")));
    assert_ne!(one.text("Zx81-k3yQ-77Lm-pq9").as_str(), "Zx81-k3yQ-77Lm-pq9");
    // Another server has dropped nothing.
    let elsewhere = builtin().session().keyed("one");
    assert_ne!(teach(&elsewhere), format!("it is {value}"));
}

/// A program that is called like a secret tells nothing of it.
#[test]
fn a_name_that_holds_a_value_is_redacted_itself() {
    let server = Redactor::builtin().unwrap().session();
    let script = b"./Zx81-k3yQ-77Lm-pq9 --password Zx81-k3yQ-77Lm-pq9";
    drop(server.keyed("s-1").aware_of(&palisade_grammar::inventory(script)));
    let told = server.learned();
    assert!(told.len() == 1 && told[0].program.as_str().starts_with("[redacted:"), "{told:?}");
}

/// What is met again after a generation is forgotten is the same value still, under the same number.
#[test]
fn a_value_keeps_its_number() {
    let token = |n: usize| format!("ghp_{:016x}EXAMPLE{n:013}", (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let server = Redactor { key: None, ..builtin().session() };
    let session = server.keyed("one");
    session.text(&token(0));
    let first = server.learned()[0].number;
    let text: String = (1..=known_value::MOST_LEARNED).map(|n| format!("{}\n", token(n))).collect();
    session.text(&format!("{text}{}\n{}", token(known_value::MOST_LEARNED + 1), token(0)));
    let numbers: Vec<u64> = server.learned().iter().map(|value| value.number).collect();
    assert_eq!(numbers.iter().filter(|number| **number == first).count(), 1);
    assert_eq!(numbers.len(), known_value::MOST_LEARNED + 2);
}
