//! Records as plain lines, as `audit show` prints them, for as long as somebody reads.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use palisade_audit::{Filter, Followed, Follower, From, Selector};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cli::commands::audit::plain;
use crate::cli::report::{self, CliError};

/// Prints what the filter keeps, until nobody reads it any more.
pub(crate) fn run(directory: &Path, from: From, filter: &Filter, as_json: bool) -> Result<(), CliError> {
    let unreadable = |error: io::Error| {
        CliError::new(format!("cannot read `{}`: {error}", directory.display()), "name the directory of a record")
    };
    let mut follower = Follower::open(directory, from).map_err(unreadable)?;
    // What belongs together is in one chain, and its sessions have names of their own.
    let mut selectors: HashMap<Arc<str>, Selector> = HashMap::new();
    while !nobody_reads() {
        let found = follower.news().map_err(unreadable)?;
        if found.is_empty() {
            follower.wait(super::TIMEOUT);
        }
        for one in &found {
            let Followed::Record(seen) = one else {
                if let Followed::Notice(notice) = one {
                    report::complain(&format!("warning: {}\n", report::one_line(&notice.to_string())));
                }
                continue;
            };
            let record = seen.value();
            let selector = selectors.entry(Arc::clone(&seen.chain)).or_insert_with(|| Selector::new(filter.clone()));
            let keeps = selector.keeps(&record);
            if &*seen.record.kind == "stop" {
                selectors.remove(&seen.chain);
            }
            let text = if as_json { format!("{}\n", seen.line) } else { plain(&record) };
            if keeps && !report::print(&text) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Whether standard output is a pipe whose other end is closed: with nothing to print, no write would tell.
fn nobody_reads() -> bool {
    let stdout = io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok() && fds.iter().any(|fd| fd.revents().contains(PollFlags::ERR))
}
