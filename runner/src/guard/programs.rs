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

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use palisade_sandbox::{PROXY_PORT, ProcessStat, processes_of};

/// Processes that are remembered; those that have ended are forgotten first.
const MAX_KNOWN: usize = 4096;

/// Forks between a process and one that is known.
const MAX_GENERATIONS: usize = 64;

/// Programs that another one starts to do its connecting, of which each is part.
const PARTS: [(&str, &str); 4] =
    [("git-remote-http", "git"), ("git-remote-https", "git"), ("git-remote-ftp", "git"), ("git-remote-ftps", "git")];

/// What the processes of one session have become.
#[derive(Debug, Default)]
pub struct Programs(Mutex<HashMap<i32, ProcessImage>>);

/// What one process has become.
#[derive(Debug)]
struct ProcessImage {
    /// When its process began, in clock ticks since the machine did.
    since: u64,
    /// When it was executed, likewise.
    executed: u64,
    /// What it is; empty if that is not what its name says.
    name: String,
    /// It is `env`, which a script's first line names, and becomes the interpreter with these words.
    becomes: Option<Vec<Vec<u8>>>,
    /// The installers of packages that it is an agent's own copy of.
    copies: BTreeSet<String>,
}

/// The program at the other end of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// What it is; empty if that cannot be said for sure.
    pub(crate) name: String,
    /// The installers of packages that it is an agent's own copy of: `pip` of a virtual environment in the workspace.
    pub(crate) copies: BTreeSet<String>,
}

/// A program that a process has become.
pub(crate) struct Became<'a> {
    /// What it is, if that is what its name says.
    pub(crate) name: &'a str,
    /// The words that it was executed with.
    pub(crate) words: &'a [Vec<u8>],
    /// A script was executed, of which this is the interpreter.
    pub(crate) of_script: bool,
    /// The installed program behind its words.
    pub(crate) image: &'a str,
    /// The installers of packages that it is an agent's own copy of, for an invocation that policy permits.
    pub(crate) copies: BTreeSet<String>,
}

impl Programs {
    /// A process that began at `since`, and has not run an instruction of it yet, has become a program.
    ///
    /// `#!/usr/bin/env node` makes a script two programs, one after the other in the same process: what `env` becomes, with the very words that
    /// the script's first line gives it, still is that script.
    pub(crate) fn became(&self, process: i32, since: u64, program: &Became<'_>) {
        let mut known = self.known();
        let earlier = known.get(&process).filter(|known| known.since == since);
        let script = earlier.filter(|earlier| {
            !program.of_script && !program.name.is_empty() && earlier.becomes.as_deref() == Some(program.words)
        });
        let name = script.map_or_else(|| whole(program.name).to_owned(), |script| script.name.clone());
        let copies = script.map_or_else(|| program.copies.clone(), |script| script.copies.clone());
        let (name, copies) = if is_handed_a_socket(process) { Default::default() } else { (name, copies) };
        let becomes = program
            .words
            .split_first()
            .filter(|_| program.of_script && program.image == "env")
            .map(|(_, words)| words.to_vec());
        if known.len() >= MAX_KNOWN {
            known.retain(|process, known| ProcessStat::may_live(*process, known.since));
        }
        known.insert(process, ProcessImage { since, executed: ProcessStat::now(), name, becomes, copies });
    }

    /// A process that began at `since` is in another one's hands, and no program any more.
    pub(crate) fn traced(&self, process: i32, since: u64) {
        let known = ProcessImage { since, executed: 0, name: String::new(), becomes: None, copies: BTreeSet::new() };
        self.known().insert(process, known);
    }

    /// The program at the other end of a connection to the proxy, which comes from `from` in the network of the process
    /// `first`. A session may have any number of addresses at the same port.
    pub(crate) fn at(&self, first: i32, from: SocketAddr) -> Caller {
        let IpAddr::V4(address) = from.ip().to_canonical() else { return Caller::default() };
        let holders = holders(first, (address, from.port())).unwrap_or_default();
        let mut callers = holders.iter().map(|process| self.caller(*process).unwrap_or_default());
        let Some(caller) = callers.next() else { return Caller::default() };
        if callers.all(|other| other == caller) { caller } else { Caller::default() }
    }

    fn caller(&self, process: i32) -> Option<Caller> {
        let known = self.known();
        let begun = ProcessStat::of(process).ok()?;
        let (mut at, mut stat, mut youngest) = (process, begun, u64::MAX);
        for _ in 0..MAX_GENERATIONS {
            if let Some(known) = known.get(&at).filter(|known| known.since == stat.start) {
                let caller = || Caller { name: known.name.clone(), copies: known.copies.clone() };
                return (known.executed < youngest).then(caller);
            }
            youngest = stat.start;
            at = stat.parent;
            stat = ProcessStat::of(at).ok()?;
        }
        None
    }

    fn known(&self) -> MutexGuard<'_, HashMap<i32, ProcessImage>> {
        // Nothing that holds the lock can fail half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The program that this one is a part of, or itself.
pub(crate) fn whole(name: &str) -> &str {
    PARTS.iter().find(|(part, _)| *part == name).map_or(name, |(_, whole)| whole)
}

/// Whether this program starts others to do its connecting. What such a part sends its input says, and not its words: `git remote-https`
/// fetches or pushes. So the program has a right to connect if its words name what it does at a peer, and a part if such a program has
/// started it.
pub(crate) fn has_parts(name: &str) -> bool {
    PARTS.iter().any(|(_, whole)| *whole == name)
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

/// The processes of the session with the first process `first` that hold the connection from there to the proxy. The number of a socket
/// is the same in every network, and is given to one at a time.
fn holders(first: i32, from: Endpoint) -> std::io::Result<Vec<i32>> {
    let Some(inode) = socket_of(first, from)? else { return Ok(Vec::new()) };
    let mut holders = processes_of(first)?;
    holders.retain(|process| sockets(*process).is_ok_and(|sockets| sockets.contains(&inode)));
    Ok(holders)
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

/// An address and a port.
type Endpoint = (Ipv4Addr, u16);

/// The number of the socket in a process's network that is connected from there to the proxy, of either kind.
fn socket_of(process: i32, from: Endpoint) -> std::io::Result<Option<u64>> {
    let wanted = [Some(from), Some((Ipv4Addr::LOCALHOST, PROXY_PORT))];
    let row = |line: &str| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let ends = [columns.next().and_then(place), columns.next().and_then(place)];
        (ends == wanted).then(|| columns.nth(6)?.parse().ok()).flatten()
    };
    for table in ["tcp", "tcp6"] {
        match fs::read_to_string(format!("/proc/{process}/net/{table}")) {
            Ok(table) => {
                if let Some(inode) = table.lines().skip(1).find_map(row) {
                    return Ok(Some(inode));
                }
            }
            // A kernel without IPv6.
            Err(error) if table == "tcp6" && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// As the kernel writes it: each 32 bits of an address as a number of this machine's, in hexadecimal. None for what is no IPv4 address.
fn place(told: &str) -> Option<Endpoint> {
    let (address, port) = told.split_once(':')?;
    let number = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::to_ne_bytes);
    let four = match address.len() {
        8 => address,
        32 => {
            let mapped = [[0; 4], [0; 4], [0, 0, 0xff, 0xff]];
            let parts = [address.get(..8)?, address.get(8..16)?, address.get(16..24)?];
            let is_mapped = parts.into_iter().zip(mapped).all(|(part, mapped)| number(part) == Some(mapped));
            address.get(24..).filter(|_| is_mapped)?
        }
        _ => return None,
    };
    Some((Ipv4Addr::from(number(four)?), u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn an_address_is_read_as_the_kernel_writes_it() {
        let own = |port| Some((Ipv4Addr::LOCALHOST, port));
        for (told, expected) in [
            ("0100007F:0C38", own(PROXY_PORT)),
            ("0200007F:0C38", Some((Ipv4Addr::new(127, 0, 0, 2), PROXY_PORT))),
            ("0000000000000000FFFF00000100007F:0C38", own(PROXY_PORT)),
            ("00000000000000000000000001000000:0C38", None),
            ("0000000000000001FFFF00000100007F:0C38", None),
            ("0100007F", None),
            ("0100007F:X", None),
        ] {
            assert_eq!(place(told), expected, "{told}");
        }
    }
}
