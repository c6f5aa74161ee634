//! `inventory`: what a text would run, without any policy.

use std::io::BufRead;
use std::os::unix::ffi::OsStrExt;

use palisade_runner::redact::Redactor;
use serde::{Deserialize, Serialize};

use crate::args::Inventory;
use crate::exit::Exit;
use crate::report::{self, Trouble};
use crate::{commands, config};

#[derive(Debug, Deserialize)]
struct Line {
    id: Option<String>,
    command: String,
}

#[derive(Serialize)]
struct Named<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(flatten)]
    inventory: &'a palisade_grammar::Inventory,
}

pub(crate) fn run(args: &Inventory) -> Result<Exit, Trouble> {
    let redactor = config::redactor()?;
    if args.batch {
        return batch(&redactor);
    }
    let command = args.command.as_ref().map(|command| command.as_bytes()).unwrap_or_default();
    let inventory = palisade_grammar::inventory(command);
    let safe = commands::redacted(&inventory, &redactor)?;
    // And once more as a whole: a name and its value are two texts here.
    report::print(&format!("{}\n", redactor.text(&format!("{safe:#}"))));
    Ok(Exit::Fine)
}

fn batch(redactor: &Redactor) -> Result<Exit, Trouble> {
    let mut exit = Exit::Fine;
    for (index, line) in std::io::stdin().lock().split(b'\n').enumerate() {
        let line = line.map_err(|error| Trouble::new(format!("cannot read standard input: {error}"), ""))?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let text = match serde_json::from_slice::<Line>(&line) {
            Ok(line) => {
                let inventory = palisade_grammar::inventory(line.command.as_bytes());
                commands::json(&commands::redacted(&Named { id: line.id, inventory: &inventory }, redactor)?)?
            }
            Err(error) => {
                exit = Exit::Error;
                commands::bad_line(&line, index + 1, &error.to_string(), redactor)?
            }
        };
        if !report::print(redactor.text(&text).as_str()) {
            return Ok(exit);
        }
    }
    Ok(exit)
}
