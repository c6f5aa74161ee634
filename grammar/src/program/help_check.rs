//! Compares the tables that say `reviewed` with what the installed program's own `--help` says.
//!
//! A row that is missing, or that takes another number of values, would let a word be taken for what it is not.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use super::table::{self, Arity, Entry, each_file};

/// The options that a help text tells, each with whether it takes a value.
fn told(help: &str) -> BTreeMap<String, Arity> {
    let mut told: BTreeMap<String, Arity> = BTreeMap::new();
    for line in help.lines() {
        let text = line.trim_start();
        if !text.starts_with('-') || !(1..=12).contains(&(line.len() - text.len())) {
            continue;
        }
        // What the option does stands behind two blanks or a tab, which may also part two forms.
        let parted = text.replace(",  ", ",");
        let head = parted.split("  ").next().unwrap_or_default().split('\t').next().unwrap_or_default();
        let parts = head.split([',', '|']).flat_map(|part| ways(part.trim()));
        let forms: Vec<(String, Arity)> = parts.filter_map(form).collect();
        let value = forms.iter().map(|(_, value)| *value).find(|value| *value != Arity::None);
        for (form, own) in forms {
            // The value of one form is that of all.
            let value = value.unwrap_or(own);
            let known = told.entry(form).or_insert(value);
            if *known != value {
                *known = Arity::Optional;
            }
        }
    }
    told
}

/// The forms of `-a --all`, which binutils parts by one blank.
fn ways(text: &str) -> Vec<&str> {
    let mut ways = Vec::new();
    let mut rest = text;
    while let Some((first, more)) = rest.split_once(" -").filter(|(first, more)| {
        !first.contains(' ') && (more.starts_with('-') || first.len() == 2 && more.starts_with(char::is_alphanumeric))
    }) {
        ways.push(first);
        rest = rest.get(rest.len() - more.len() - 1..).unwrap_or_default();
    }
    ways.push(rest);
    ways
}

/// One way to write an option, and its value.
fn form(text: &str) -> Option<(String, Arity)> {
    let length = text.find(|letter: char| letter.is_whitespace() || "=[<".contains(letter)).unwrap_or(text.len());
    let (name, rest) = text.split_at(length);
    let (name, rest) = name.strip_suffix(':').map_or((name, rest), |name| (name, ""));
    let value = match rest.trim_start() {
        "" | "..." => Arity::None,
        told if told.starts_with(": ") => Arity::None,
        _ if rest.starts_with('[') => Arity::Optional,
        _ => Arity::Required,
    };
    (name.len() > 1 && name.starts_with('-') && name != "--").then(|| (name.to_owned(), value))
}

/// What a table lacks or says otherwise.
fn differences(entry: &Entry, told: &BTreeMap<String, Arity>) -> Vec<String> {
    let excepted = |form: &str| entry.reviewed.iter().any(|review| review.except.iter().any(|except| except == form));
    let told = told.iter().filter(|(form, _)| !excepted(form));
    told.filter_map(|(form, value)| {
        let row = entry.options.iter().find(|option| option.forms.contains(form));
        match row.map(|option| option.value) {
            None => Some(format!("`{form}` has no row")),
            Some(own) if own == *value => None,
            // A newer version may take one.
            Some(Arity::Optional) if *value == Arity::None => None,
            Some(own) => Some(format!("`{form}` is {own:?} and the program says {value:?}")),
        }
    })
    .collect()
}

#[test]
fn a_reviewed_table_has_each_option_of_its_program() {
    let required = std::env::var("PALISADE_REQUIRE").is_ok_and(|required| required == "all");
    let (mut compared, mut wrong) = (0, Vec::new());
    for (file, entry) in each_file() {
        let entry = match entry {
            Ok(entry) if entry.reviewed.as_ref().is_some_and(|review| review.manual.is_none()) => entry,
            Ok(_) => continue,
            Err(error) => {
                wrong.push(format!("{file}: {error}"));
                continue;
            }
        };
        let Ok(Some(whole)) = table::find(&entry.name) else {
            wrong.push(format!("{file}: no table"));
            continue;
        };
        for name in entry.aliases.iter().chain([&entry.name]) {
            let mut program = Command::new(name);
            program.arg("--help").stdin(Stdio::null()).env("LC_ALL", "C").env("COLUMNS", "200");
            let Ok(output) = program.output() else {
                if required && *name == entry.name {
                    wrong.push(format!("{name}: not installed"));
                }
                continue;
            };
            let help = [output.stdout, output.stderr].concat();
            let told = told(&String::from_utf8_lossy(&help));
            if told.is_empty() && !whole.options.is_empty() {
                wrong.push(format!("{name}: its help tells no option"));
            }
            wrong.extend(differences(whole, &told).into_iter().map(|text| format!("{name}: {text}")));
            compared += 1;
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(compared >= 40, "{compared} programs were compared");
}

#[test]
fn a_help_text_is_read() {
    let help = "Usage: x [OPTION]...\n  -a, --all                  all of it\n  -n, --lines=[-]NUM         as many\n      \
                --color[=WHEN]         paints\n  -w NUM   wide\n  --time\n  --time=WORD  which\n\n-no option here\n  \
                -b -B --both  all three\n  -t\ttabs\n  -O,  --output=FILE  a file\n  -C --style[=WORD] as WORD says\n  --auto : by itself\n  --html: too\n";
    let expected = [
        ("--all", Arity::None),
        ("--auto", Arity::None),
        ("--both", Arity::None),
        ("--color", Arity::Optional),
        ("--html", Arity::None),
        ("--lines", Arity::Required),
        ("--output", Arity::Required),
        ("--style", Arity::Optional),
        ("--time", Arity::Optional),
        ("-B", Arity::None),
        ("-C", Arity::Optional),
        ("-O", Arity::Required),
        ("-a", Arity::None),
        ("-b", Arity::None),
        ("-n", Arity::Required),
        ("-t", Arity::None),
        ("-w", Arity::Required),
    ];
    assert_eq!(told(help), expected.map(|(form, value)| (form.to_owned(), value)).into_iter().collect());
}

#[test]
fn a_row_that_is_missing_or_wrong_is_found() {
    let table = "name = \"x\"\noptions = [\"-a --all\", \"-n --lines=\"]\nreviewed = { version = \"1\", date = \"2026-11-26\", except = [\"-z\"] }";
    let entry: Entry = toml::from_str(table).unwrap_or_default();
    let help = "  -a, --all=WHAT  all\n  -n, --lines=NUM  as many\n  -q  quiet\n  -z  no option\n";
    assert_eq!(
        differences(&entry, &told(help)),
        [
            "`--all` is None and the program says Required",
            "`-a` is None and the program says Required",
            "`-q` has no row"
        ]
    );
}
