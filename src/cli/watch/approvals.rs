//! Requests that wait for a person: asked of the servers of these settings, and answered there.
//!
//! Who may see and answer what is the servers' to say. A server that does not answer holds up nothing but this thread.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use palisade_engine::Lasts;
use palisade_runner::control;
use palisade_runner::control::client::{self, Server};
use palisade_runner::control::wire::{Answer, Ask, Request, State};

use crate::cli::report::CliError;

/// How often the servers are asked what waits.
const TURN: Duration = Duration::from_secs(1);

/// Requests that are shown of all servers together.
const SHOWN: usize = 200;

/// The servers' end of the view.
#[derive(Debug)]
pub(super) struct Approvals {
    answers: Sender<Given>,
    news: Receiver<News>,
}

/// What a person answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) id: String,
    pub(super) yes: bool,
}

impl Given {
    /// What a person has to type for it.
    pub(super) fn word(&self) -> &'static str {
        if self.yes { "yes" } else { "no" }
    }

    /// Whether this is that word, or its first letter.
    pub(super) fn is_said_by(&self, typed: &str) -> bool {
        !typed.is_empty() && (typed == self.word() || self.word().get(..1) == Some(typed))
    }
}

/// What the servers say.
#[derive(Debug)]
pub(super) enum News {
    /// All requests that are there now, oldest first.
    Waiting(Vec<Request<String>>),
    /// What became of an answer, or why nothing is known.
    Said(String),
}

impl Approvals {
    /// Asks the servers whose sockets lie in this place, on a thread of its own.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub(super) fn of(settings: control::Settings) -> Result<Self, CliError> {
        let (answers, given) = channel();
        let (sender, news) = sync_channel(4);
        thread::Builder::new()
            .name("approvals".to_owned())
            .spawn(move || converse(&settings, &given, &sender))
            .map_err(|error| CliError::new(format!("cannot start a thread: {error}"), ""))?;
        Ok(Self { answers, news })
    }

    /// What has been said since.
    pub(super) fn news(&self) -> impl Iterator<Item = News> {
        self.news.try_iter()
    }

    /// Sends an answer on its way; what becomes of it is news.
    pub(super) fn give(&self, given: Given) {
        // The other end ends with the view.
        let _ = self.answers.send(given);
    }
}

fn converse(settings: &control::Settings, given: &Receiver<Given>, news: &SyncSender<News>) {
    let mut complaint = String::new();
    loop {
        let mut heard = match requests(settings) {
            Ok((requests, said)) => {
                let trouble = std::mem::replace(&mut complaint, said.clone()) != said;
                let said = Some(said).filter(|said| trouble && !said.is_empty());
                [Some(News::Waiting(requests)), said.map(News::Said)]
            }
            Err(said) if complaint == said => [None, None],
            Err(said) => {
                complaint.clone_from(&said);
                [Some(News::Said(said)), None]
            }
        };
        for said in heard.iter_mut().filter_map(Option::take) {
            if news.send(said).is_err() {
                return;
            }
        }
        use std::sync::mpsc::RecvTimeoutError;
        match given.recv_timeout(TURN) {
            Ok(given) => {
                if news.send(News::Said(answer(settings, given))).is_err() {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What waits in all servers, whole, with what one of them refuses to tell.
pub(super) fn requests(settings: &control::Settings) -> Result<(Vec<Request<String>>, String), String> {
    let (mut requests, mut refused) = (Vec::new(), String::new());
    for server in client::servers(&settings.directory).map_err(|error| error.to_string())? {
        let waiting = match server.ask(&Ask::List) {
            Ok(Some(Answer::Waiting(waiting))) => waiting,
            Ok(Some(other)) => {
                refused = said(&other);
                continue;
            }
            Ok(None) => continue,
            Err(error) => {
                refused = error.to_string();
                continue;
            }
        };
        for short in waiting.into_iter().filter(|short| short.state == State::Waiting) {
            if requests.len() >= SHOWN {
                break;
            }
            if let Ok(Some(Answer::Request(request))) = server.ask(&Ask::Show { id: short.id }) {
                requests.push(*request);
            }
        }
    }
    requests.sort_by_key(|request| std::cmp::Reverse(request.short.age_s));
    Ok((requests, refused))
}

/// Gives an answer to the server whose request it is.
pub(super) fn answer(settings: &control::Settings, Given { id, yes }: Given) -> String {
    let servers = match client::servers(&settings.directory) {
        Ok(servers) => servers,
        Err(error) => return error.to_string(),
    };
    let chain = id.split('-').next().unwrap_or_default();
    let is_its = |server: &&Server| server.chain() == chain;
    for server in servers.iter().filter(is_its) {
        match server.ask(&Ask::Answer { id: id.clone(), yes, reason: String::new(), lasts: Lasts::Once }) {
            Ok(None | Some(Answer::Unknown)) => {}
            Ok(Some(answer)) => return said(&answer),
            Err(error) => return error.to_string(),
        }
    }
    format!("{id}: no server has such a request any more")
}

/// An answer in a line.
fn said(answer: &Answer<String>) -> String {
    match answer {
        Answer::Voted(voted) => match voted.state {
            State::Waiting => format!("{}: {} of {} have said yes", voted.id, voted.yes, voted.quorum),
            State::Granted => format!("{}: granted by {}: the agent may run it once", voted.id, voted.by),
            State::Denied => format!("{}: denied by {}", voted.id, voted.by),
        },
        Answer::Refused(refused) => format!("refused: {}", refused.what),
        Answer::Failed { what, .. } => what.clone(),
        Answer::Unknown => "there is no such request any more".to_owned(),
        _ => "a server gave an answer to something else".to_owned(),
    }
}
