//! `watch`: what sessions do, while they do it. It reads the record and decides nothing.
//!
//! `model` says what there is to see; `terminal` and `page` show it, `lines` prints records as they come.

mod access;
mod act;
mod approvals;
mod connections;
mod detail;
mod drawing;
pub(crate) mod lines;
mod model;
pub(crate) mod page;
pub(crate) mod terminal;
mod text;

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use palisade_audit::{Followed, Follower, From, Notice, NoticeKind};

use crate::cli::report::CliError;

/// Records of before that a view begins with.
const HISTORY: usize = 2_000;

/// Batches that may wait for a view. A view that is slower holds up the reading, and the record waits on disk.
const BATCHES: usize = 16;

/// How long one waits for a change, at most: so late it is seen that nobody looks any more.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Follows a directory on a thread of its own, which ends when nobody takes what it finds.
fn follow(directory: &Path, from: From) -> Result<Receiver<Vec<Followed>>, CliError> {
    let unreadable = {
        let name = directory.display().to_string();
        move |error: std::io::Error| {
            CliError::new(format!("cannot read `{name}`: {error}"), "name the directory of a record")
        }
    };
    let follower = Follower::open(directory, from).map_err(unreadable)?;
    let (sender, receiver) = sync_channel(BATCHES);
    thread::Builder::new()
        .name("follow".to_owned())
        .spawn(move || pass_on(follower, &sender))
        .map_err(|error| CliError::new(format!("cannot start a thread: {error}"), ""))?;
    Ok(receiver)
}

fn pass_on(mut follower: Follower, sender: &SyncSender<Vec<Followed>>) {
    let mut told = false;
    loop {
        // A directory that cannot be read is told of once, and may come back.
        let found = match follower.news() {
            Ok(found) => {
                told = false;
                found
            }
            Err(_) if std::mem::replace(&mut told, true) => Vec::new(),
            Err(error) => vec![Followed::Notice(Notice {
                chain: "".into(),
                file: "the directory".to_owned(),
                after: None,
                what: NoticeKind::Unreadable { cause: error.kind() },
            })],
        };
        let idle = found.is_empty();
        // An empty batch asks whether somebody still listens.
        if sender.send(found).is_err() {
            return;
        }
        if idle {
            follower.wait(TIMEOUT);
        }
    }
}
