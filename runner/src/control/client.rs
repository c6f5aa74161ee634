//! The other end of the control socket: finds the living servers and asks them.
//!
//! Decides nothing. What a server says is text for a person: it goes through whatever keeps it from acting on a terminal.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::wire::{self, Answer, Ask, MAX_ANSWER};
use super::{ControlError, SUFFIX};

/// How long an answer may take: stopping waits for what runs to end.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long a server may have no room for one more connection.
const CONNECT: Duration = Duration::from_secs(10);

/// A server that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    directory: PathBuf,
    chain: String,
}

/// The servers whose sockets lie in this directory, by the chains of their records. One that has died is among them until it is
/// asked. No directory: no server.
///
/// # Errors
/// If the directory is there and cannot be looked through.
pub fn servers(directory: &Path) -> Result<Vec<Server>, ControlError> {
    let error = |source| ControlError::Directory { path: directory.to_owned(), source };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(error(source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(error)?.file_name();
        let chain = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).filter(|chain| !chain.starts_with('.'));
        found.extend(chain.map(|chain| Server { directory: directory.to_owned(), chain: chain.to_owned() }));
    }
    found.sort_by(|one, other| one.chain.cmp(&other.chain));
    Ok(found)
}

/// A server that was asked, and its answer; none from one that has ended.
pub type ServerReply<'s> = (&'s Server, Result<Option<Answer<String>>, ControlError>);

/// Asks all of them at once, so that one that does not answer keeps nobody from the others.
pub fn ask_all<'s>(servers: &'s [Server], ask: &Ask) -> Vec<ServerReply<'s>> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = servers.iter().map(|server| (server, scope.spawn(|| server.ask(ask)))).collect();
        let lost = |server: &Server| ControlError::NoAnswer {
            chain: server.chain.clone(),
            why: "it could not be asked".to_owned(),
        };
        let answers = asked.into_iter();
        answers.map(|(server, answer)| (server, answer.join().unwrap_or_else(|_panic| Err(lost(server))))).collect()
    })
}

impl Server {
    /// The chain of its record, with which the ids of its requests begin.
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// Opens a connection; none if nobody listens any more.
    ///
    /// # Errors
    /// If the socket cannot be connected to for another reason.
    pub fn connect(&self) -> Result<Option<UnixStream>, ControlError> {
        let error = |source| {
            let (chain, path) = (self.chain.clone(), self.directory.clone());
            ControlError::Unreachable { chain, path, source }
        };
        // A socket's address holds 108 bytes, and a directory's name may be longer.
        let directory = File::open(&self.directory).map_err(error)?;
        let path = format!("/proc/self/fd/{}/{}{SUFFIX}", directory.as_raw_fd(), self.chain);
        let begun = Instant::now();
        loop {
            match super::connect(Path::new(&path)) {
                Ok(stream) => return Ok(Some(stream)),
                Err(gone) if matches!(gone.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
                    return Ok(None);
                }
                // It has more guests than it can take at this moment.
                Err(full) if full.kind() == io::ErrorKind::WouldBlock && begun.elapsed() < CONNECT => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(source) => return Err(error(source)),
            }
        }
    }

    /// Asks it one thing; none if it has ended.
    ///
    /// # Errors
    /// If it cannot be connected to, or gives no answer.
    pub fn ask(&self, ask: &Ask) -> Result<Option<Answer<String>>, ControlError> {
        let Some(mut stream) = self.connect()? else { return Ok(None) };
        let failed = |why: String| ControlError::NoAnswer { chain: self.chain.clone(), why };
        let line = wire::encode(ask).map_err(|error| failed(error.to_string()))?;
        let mut exchange = || -> io::Result<Vec<u8>> {
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            stream.write_all(&line)?;
            let mut answer = Vec::new();
            let limit = u64::try_from(MAX_ANSWER).unwrap_or(u64::MAX);
            BufReader::new(&stream).take(limit).read_until(b'\n', &mut answer)?;
            Ok(answer)
        };
        let answer = exchange().map_err(|error| failed(error.to_string()))?;
        if answer.last() != Some(&b'\n') {
            return Err(failed("it ends in the middle".to_owned()));
        }
        wire::decode(&answer).map(Some).map_err(|error| failed(error.to_string()))
    }
}
