//! `redact`: secrets out of a stream.

use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_runner::redact::{KnownValue, Redactor, Rules};
use serde::{Deserialize, Serialize};

use crate::args::Redact;
use crate::exit::Exit;
use crate::report::{self, Trouble};
use crate::{commands, config};

/// Silence after which what is held back is let go, so that prompts appear.
const IDLE: Duration = Duration::from_millis(50);

const CHUNK: usize = 64 * 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: Option<String>,
    data: String,
    #[serde(default)]
    cuts: Vec<usize>,
    #[serde(default)]
    known: Vec<Known>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    name: String,
    b: String,
}

#[derive(Debug, Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    out: String,
}

pub(crate) fn run(args: &Redact) -> Result<Exit, Trouble> {
    if args.batch { batch() } else { stream() }
}

fn stream() -> Result<Exit, Trouble> {
    let redactor = config::redactor()?;
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
    let mut stream = redactor.stream();
    loop {
        let bytes = match chunks.recv_timeout(IDLE) {
            Ok(Ok(chunk)) if chunk.is_empty() => break,
            Ok(Ok(chunk)) => stream.push(&chunk),
            Ok(Err(error)) => return Err(Trouble::new(format!("cannot read standard input: {error}"), "")),
            Err(RecvTimeoutError::Timeout) => stream.idle(),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if !write(bytes.as_bytes())? {
            return Ok(Exit::Fine);
        }
    }
    let rest = stream.finish();
    write(rest.as_bytes())?;
    Ok(Exit::Fine)
}

/// False if nobody reads any more, which is no error.
fn write(bytes: &[u8]) -> Result<bool, Trouble> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Trouble::new(format!("cannot write standard output: {error}"), "")),
    }
}

fn batch() -> Result<Exit, Trouble> {
    let redactor = config::redactor()?;
    let mut exit = Exit::Fine;
    for (index, line) in io::stdin().lock().split(b'\n').enumerate() {
        let line = line.map_err(|error| Trouble::new(format!("cannot read standard input: {error}"), ""))?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let text = match redact_line(&line) {
            Ok(answer) => commands::json(&answer)?,
            Err(error) => {
                exit = Exit::Error;
                commands::bad_line(&line, index + 1, &error, &redactor)?
            }
        };
        if !report::print(&text) {
            return Ok(exit);
        }
    }
    Ok(exit)
}

fn redact_line(line: &[u8]) -> Result<Answer, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let decode =
        |field: &str, text: &str| STANDARD.decode(text).map_err(|error| format!("`{field}` is not base64: {error}"));
    let data = decode("data", &line.data)?;
    let known = line.known.iter().map(|known| Ok(KnownValue::new(known.name.clone(), decode("b", &known.b)?)));
    let known = known.collect::<Result<Vec<_>, String>>()?;
    let rules = Rules::builtin().map_err(|error| error.to_string())?;
    let redactor = Redactor::new(rules, known).map_err(|error| error.to_string())?;
    let mut stream = redactor.stream();
    let mut out = Vec::new();
    let mut from = 0;
    for cut in line.cuts.into_iter().chain([data.len()]) {
        let chunk = data.get(from..cut).ok_or_else(|| format!("`cuts` goes back or beyond the data at {cut}"))?;
        out.extend_from_slice(stream.push(chunk).as_bytes());
        from = cut;
    }
    let rest = stream.finish();
    out.extend_from_slice(rest.as_bytes());
    Ok(Answer { id: line.id, out: STANDARD.encode(out) })
}
