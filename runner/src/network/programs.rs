//! Which program wants a connection: the one that holds the socket, if the guard let it be executed under its own name.
//!
//! A policy may permit a peer to one program alone. The kernel tells which processes hold the other end of a connection; the exec
//! guard has seen what each process has become. A program counts only if nothing else can speak in its place:
//!
//! - all that hold the socket are the same program, or copies that it has forked;
//! - it held no socket of the kind when it was executed, connected or not: one that it is handed at birth, somebody else may speak
//!   into;
//! - a copy was forked after the program was executed, and not from what the process was before.
//!
//! Anything else is no program at all, which no permit for one fits.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sandbox::{PROXY_PORT, ProcessStat};

/// Processes that are remembered; those that have ended are forgotten first.
const MAX_KNOWN: usize = 4096;

/// Forks between a process and one that is known.
const MAX_GENERATIONS: usize = 64;

/// Programs that another one starts to do its connecting, of which each is part.
const PARTS: [(&str, &str); 4] =
    [("git-remote-http", "git"), ("git-remote-https", "git"), ("git-remote-ftp", "git"), ("git-remote-ftps", "git")];

/// What the processes of one session have become.
#[derive(Debug, Default)]
pub struct Programs(Mutex<HashMap<i32, Known>>);

#[derive(Debug)]
struct Known {
    /// When its process began, in clock ticks since the machine did.
    since: u64,
    /// When it was executed, likewise.
    executed: u64,
    /// What it is; empty if that is not what its name says.
    name: String,
}

impl Programs {
    /// A process that began at `since`, and has not run an instruction of it yet, has become a program: `name`, if it is what that says.
    pub(crate) fn became(&self, process: i32, since: u64, name: &str) {
        let name = if is_handed_a_socket(process) { "" } else { whole(name) };
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.retain(|process, known| ProcessStat::may_live(*process, known.since));
        }
        known.insert(process, Known { since, executed: ProcessStat::now(), name: name.to_owned() });
    }

    /// The program at the other end of a connection to the proxy, which comes from `port` in the network of the process
    /// `first`; empty if that cannot be said for sure.
    pub(super) fn at(&self, first: i32, port: u16) -> String {
        let holders = holders(first, port).unwrap_or_default();
        let mut names = holders.iter().map(|process| self.name_of(*process).unwrap_or_default());
        let Some(name) = names.next() else { return String::new() };
        if names.all(|other| other == name) { name } else { String::new() }
    }

    fn name_of(&self, process: i32) -> Option<String> {
        let known = self.known();
        let begun = ProcessStat::of(process).ok()?;
        let (mut at, mut stat, mut youngest) = (process, begun, u64::MAX);
        for _ in 0..MAX_GENERATIONS {
            if let Some(known) = known.get(&at).filter(|known| known.since == stat.start) {
                return (known.executed < youngest).then(|| known.name.clone());
            }
            youngest = stat.start;
            at = stat.parent;
            stat = ProcessStat::of(at).ok()?;
        }
        None
    }

    fn known(&self) -> MutexGuard<'_, HashMap<i32, Known>> {
        // Nothing that holds the lock can fail half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn whole(name: &str) -> &str {
    PARTS.iter().find(|(part, _)| *part == name).map_or(name, |(_, whole)| whole)
}

/// Whether a new program already holds a TCP socket. One that is not connected yet is in none of the kernel's tables, so that every socket
/// counts but those of other kinds.
fn is_handed_a_socket(process: i32) -> bool {
    let Ok(sockets) = sockets(process) else { return true };
    if sockets.is_empty() {
        return false;
    }
    // Its streams may be the server's.
    let (Ok(near), Ok(ours)) = (local_sockets("self"), local_sockets(&process.to_string())) else { return true };
    !sockets.iter().all(|socket| near.contains(socket) || ours.contains(socket))
}

/// The numbers of the sockets in a process's network that lead to other processes of this machine by name or by pair: those that have an
/// entry of their own even before they are connected.
fn local_sockets(process: &str) -> std::io::Result<HashSet<u64>> {
    let table = fs::read_to_string(format!("/proc/{process}/net/unix"))?;
    Ok(table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(6)?.parse().ok()).collect())
}

/// The processes in the network of `first` that hold the connection from `port` to the proxy.
fn holders(first: i32, port: u16) -> std::io::Result<Vec<i32>> {
    let wanted = |connection: &&Connection| connection.from == port && connection.to == PROXY_PORT;
    let connections = connections(first)?;
    let Some(connection) = connections.iter().find(wanted) else { return Ok(Vec::new()) };
    let own = network(first)?;
    let processes = fs::read_dir("/proc")?.flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let near = numbers.filter(|process| network(*process).is_ok_and(|network| network == own));
    Ok(near.filter(|process| sockets(*process).is_ok_and(|sockets| sockets.contains(&connection.inode))).collect())
}

fn network(process: i32) -> std::io::Result<PathBuf> {
    fs::read_link(format!("/proc/{process}/ns/net"))
}

/// The numbers of the sockets that a process holds.
fn sockets(process: i32) -> std::io::Result<Vec<u64>> {
    let number = |link: &PathBuf| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    let links = first_descriptors(process).map_or_else(|| descriptors(process), Ok)?;
    Ok(links.iter().filter_map(number).collect())
}

/// What the descriptors of a process lead to, if it has the first ones and no other, as nearly every program has that was just executed:
/// to list them takes twice as long. None also before Linux 6.2, which does not tell how many there are.
fn first_descriptors(process: i32) -> Option<Vec<PathBuf>> {
    let open = fs::metadata(format!("/proc/{process}/fd")).ok()?.len();
    let all = (0..open).map(|number| fs::read_link(format!("/proc/{process}/fd/{number}")).ok());
    (1..=8).contains(&open).then(|| all.collect()).flatten()
}

/// What the descriptors of a process lead to.
fn descriptors(process: i32) -> std::io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(format!("/proc/{process}/fd"))?.flatten();
    Ok(entries.filter_map(|entry| fs::read_link(entry.path()).ok()).collect())
}

/// One end of a TCP connection.
struct Connection {
    from: u16,
    to: u16,
    inode: u64,
}

/// The ends of TCP connections in a process's network. IPv6 there is none: the session can make no such socket.
fn connections(process: i32) -> std::io::Result<Vec<Connection>> {
    let table = fs::read_to_string(format!("/proc/{process}/net/tcp"))?;
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    let row = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let column = |at: usize| columns.get(at).copied();
        Some(Connection { from: port(column(1)?)?, to: port(column(2)?)?, inode: column(9)?.parse().ok()? })
    };
    Ok(table.lines().skip(1).filter_map(row).collect())
}
