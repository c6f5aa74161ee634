//! `redact`: secrets out of a stream.

use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_engine::{Findings, Source};
use palisade_redact::{Hit, KnownValue, Redactor, Rules, RulesError};
use serde::{Deserialize, Serialize};

use crate::cli::args::Redact;
use crate::cli::commands;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config;

mod learned;

/// Silence after which what is held back is let go, so that prompts appear.
const IDLE: Duration = Duration::from_millis(50);

const CHUNK: usize = 64 * 1024;

#[derive(Debug, Deserialize)]
#[serde(rename = "Line", deny_unknown_fields)]
struct RedactInput {
    id: Option<String>,
    data: String,
    #[serde(default)]
    cuts: Vec<usize>,
    #[serde(default)]
    known: Vec<KnownInput>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "Known", deny_unknown_fields)]
struct KnownInput {
    name: String,
    b: String,
}

#[derive(Debug, Serialize)]
struct RedactOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    out: String,
}

pub(crate) fn run(args: &Redact) -> Result<Exit, CliError> {
    if args.learned {
        return learned::run(args);
    }
    let tables = tables(args.rules.as_deref())?;
    let tables: Vec<(&str, &str)> = tables.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let bare = Redactor::new(rules(&tables)?, Vec::new());
    let failed = if tables.is_empty() { Vec::new() } else { bare.failed_examples() };
    if let Some(failed) = failed.first() {
        let what = format!("secret rule `{}` does not hold its example: it gives `{}`", failed.rule, failed.result);
        return Err(CliError::new(what, "correct the pattern or the example"));
    }
    if args.batch { batch(&bare) } else { stream(&bare.with_known(&config::known_values()?), args.explain) }
}

/// The tables of `--rules`: one file, or every `.toml` file of a directory, by name.
fn tables(path: Option<&Path>) -> Result<Vec<(String, String)>, CliError> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let failed = |error: io::Error| CliError::from(config::unreadable("`--rules`", path, &error));
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        files = fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>())
            .map_err(failed)?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
        files.sort();
        if files.is_empty() {
            let what = format!("there is no table of rules in `{}`", path.display());
            return Err(CliError::new(what, "a table is a file that ends in `.toml`"));
        }
    }
    let read = |file: &PathBuf| Ok((file.display().to_string(), fs::read_to_string(file)?));
    files.iter().map(read).collect::<io::Result<_>>().map_err(failed)
}

fn rules(tables: &[(&str, &str)]) -> Result<Rules, CliError> {
    Rules::builtin_and(tables).map_err(|error| {
        let help = "a rule has `id`, `description`, `anchors`, `pattern`, `examples` and `counter-examples`";
        if let RulesError::Table { table, cause } = &error
            && let Some((name, text)) = tables.iter().find(|(name, _)| name == table)
        {
            let found = Source { name: (*name).to_owned(), text: (*text).to_owned() }.misread(cause);
            return CliError::new(Findings(vec![found]).to_string(), help);
        }
        let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
        CliError::new(format!("{error}{cause}"), help)
    })
}

fn stream(redactor: &Redactor, explain: bool) -> Result<Exit, CliError> {
    let (sender, chunks) = sync_channel::<io::Result<Vec<u8>>>(4);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut buffer = vec![0; CHUNK];
            let chunk = stdin.read(&mut buffer).map(|count| {
                buffer.truncate(count);
                buffer
            });
            let last = chunk.as_ref().map_or(true, Vec::is_empty);
            if sender.send(chunk).is_err() || last {
                return;
            }
        }
    });
    let mut stream = if explain { redactor.stream().explained() } else { redactor.stream() };
    loop {
        let bytes = match chunks.recv_timeout(IDLE) {
            Ok(Ok(chunk)) if chunk.is_empty() => break,
            Ok(Ok(chunk)) => stream.push(&chunk),
            Ok(Err(error)) => return Err(CliError::new(format!("cannot read standard input: {error}"), "")),
            Err(RecvTimeoutError::Timeout) => stream.idle(),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        tell(&stream.take_hits());
        if !write(bytes.as_bytes())? {
            return Ok(Exit::Fine);
        }
    }
    let (rest, hits) = stream.finish_explained();
    tell(&hits);
    write(rest.as_bytes())?;
    Ok(Exit::Fine)
}

fn tell(hits: &[Hit]) {
    for Hit { rule, line, offset, length } in hits {
        report::complain(&format!("line {line}, byte {offset}, {length} bytes: {rule}\n"));
    }
}

/// False if nobody reads any more, which is no error.
fn write(bytes: &[u8]) -> Result<bool, CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::new(format!("cannot write standard output: {error}"), "")),
    }
}

fn batch(redactor: &Redactor) -> Result<Exit, CliError> {
    let safe = config::redactor()?;
    let mut exit = Exit::Fine;
    for (index, line) in io::stdin().lock().split(b'\n').enumerate() {
        let line = line.map_err(|error| CliError::new(format!("cannot read standard input: {error}"), ""))?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let text = match redact_line(&line, redactor) {
            Ok(answer) => commands::json(&answer)?,
            Err(error) => {
                exit = Exit::Error;
                commands::bad_line(&line, index + 1, &error, &safe)?
            }
        };
        if !report::print(&text) {
            return Ok(exit);
        }
    }
    Ok(exit)
}

fn redact_line(line: &[u8], redactor: &Redactor) -> Result<RedactOutput, String> {
    let line: RedactInput = commands::read_line(line, r#"{"data": "bHM="}"#)?;
    let decode =
        |field: &str, text: &str| STANDARD.decode(text).map_err(|error| format!("`{field}` is not base64: {error}"));
    let data = decode("data", &line.data)?;
    let known = line.known.iter().map(|known| Ok(KnownValue::new(known.name.clone(), decode("b", &known.b)?)));
    let known = known.collect::<Result<Vec<_>, String>>()?;
    let mut stream = redactor.with_known(&known).stream();
    let mut out = Vec::new();
    let mut from = 0;
    for cut in line.cuts.into_iter().chain([data.len()]) {
        let chunk = data.get(from..cut).ok_or_else(|| format!("`cuts` goes back or beyond the data at {cut}"))?;
        out.extend_from_slice(stream.push(chunk).as_bytes());
        from = cut;
    }
    let rest = stream.finish();
    out.extend_from_slice(rest.as_bytes());
    Ok(RedactOutput { id: line.id, out: STANDARD.encode(out) })
}
