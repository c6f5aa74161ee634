//! Who is at the other end of a control connection, and whether that can be the agent.
//!
//! The kernel tells the user and the process that has connected; one that is gone is refused. A user is who the system says: another user than the server's and its client's is not the agent. Where `/proc` does not show enough,
//! anybody may be.
//!
//! Under the same user it is told from the processes' descent. The agent lives in the server's client: that is the server's parent, or,
//! where a wrapper stands between, something above it, up to what leads the terminal session that all of them are in. A shell that
//! leads it and takes commands from its terminal is the person's, and the client is what was started in it. What descends from the
//! client, or from the server, is the agent's. A process that cuts itself loose from its parents is given to
//! another one of the agent's ancestors; so a peer that comes from one of these by a branch which is younger than the client may be
//! one that has cut itself loose, and counts as the agent's. What is older cannot be its child.
//!
//! Not decided here: what the user may do.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::{PeerCredentials, PeerPidfd};
use palisade_sandbox::ProcessStat;

use super::user_name;

/// Steps from a process up to the first one that are followed. Nobody stands that deep who means well.
const MAX_DEPTH: usize = 128;

/// Programs of root's that stand above the shells of people and never take in a process that has lost its parent. Any other of the
/// client's ancestors may (`PR_SET_CHILD_SUBREAPER`, which nobody can see from outside): to leave one out here refuses more.
const NO_REAPERS: [&str; 3] = ["sshd", "sshd-session", "login"];

/// Shells in which people type commands.
const SHELLS: [&str; 9] = ["bash", "dash", "fish", "ksh", "mksh", "nu", "sh", "tcsh", "zsh"];

/// Somebody who has connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The process that did.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// That user's name.
    pub user: String,
    /// Why it may be the agent, if it may.
    pub doubt: Option<Doubt>,
}

/// Why a peer may be the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum Doubt {
    /// It descends from the server or its client.
    #[error("you are in the process tree of the agent's own client")]
    #[diagnostic(help("answer from another terminal than the one that the agent runs in, or as another user"))]
    Descendant,
    /// It may have cut itself loose from the client.
    #[error("your terminal is younger than the agent's client, which could have opened it")]
    #[diagnostic(help(
        "under the agent's own user only what is older than its client is taken for a person: answer from a terminal that was open \
         before, over ssh, or as another user"
    ))]
    Younger,
    /// Nobody can see what it descends from.
    #[error("the processes above you cannot be seen by the server")]
    #[diagnostic(help(
        "it is another PID namespace, or `/proc` hides the processes of others: answer from the server's own view of the machine"
    ))]
    Unseen,
    /// Nobody knows which process the client is.
    #[error("it cannot be told which process the agent runs in, and you are its user")]
    #[diagnostic(help("answer as another user"))]
    NoClient,
}

/// Why nothing can be said of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Faceless {
    /// The kernel does not say who it is.
    #[error("the kernel does not say who has connected")]
    NoCredentials,
    /// It has ended.
    #[error("the process that has connected is gone")]
    Gone,
    /// It is a process of the server's own, such as a session's.
    #[error("a process that this server has started does not speak to it")]
    Own,
}

/// A process, once and for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: i32,
    start: u64,
}

/// A process that somebody descends from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ancestor {
    process: Process,
    uid: u32,
    name: String,
    /// It leads a terminal session.
    leads_terminal: bool,
    /// It is a shell that was given no code: it takes commands from its terminal.
    takes_commands: bool,
}

/// Where the server comes from, as it was when it began: its client may end before it.
#[derive(Clone, Debug)]
pub struct Descent {
    server: Process,
    uid: u32,
    /// All ancestors, the parent first.
    above: Vec<Ancestor>,
    /// How many of them the agent may be.
    client: usize,
    /// All of that could be seen.
    seen: bool,
}

impl Descent {
    /// Of this process. Where `/proc` does not show it, nobody is taken for somebody else than the agent.
    pub fn own() -> Self {
        let pid = std::process::id().cast_signed();
        ancestry(pid).and_then(Self::of).unwrap_or_else(|| Self {
            server: Process { pid, start: 0 },
            uid: rustix::process::geteuid().as_raw(),
            above: Vec::new(),
            client: 0,
            seen: false,
        })
    }

    fn of(steps: Vec<Ancestor>) -> Option<Self> {
        let mut above = steps.into_iter();
        let server = above.next()?;
        let above: Vec<Ancestor> = above.collect();
        // Whoever started the client as another user (a service manager, `sudo -u`) is not the agent, nor is the first process.
        let uid = above.first().filter(|parent| parent.process.pid != 1).map(|parent| parent.uid);
        let may_be = |step: &&Ancestor| Some(step.uid) == uid && step.process.pid != 1;
        let below = above.iter().take_while(may_be).count();
        let leader = above.iter().take(below).position(|step| step.leads_terminal);
        let is_prompt = |leader: usize| leader > 0 && above.get(leader).is_some_and(|step| step.takes_commands);
        let client = leader.map_or(below, |leader| if is_prompt(leader) { leader } else { leader + 1 });
        Some(Self { server: server.process, uid: server.uid, above, client, seen: true })
    }

    /// The uppermost process that the agent may live in, as its number and the time of its start; none where nobody can tell. Callers with the
    /// same one are the same client's.
    pub fn client(&self) -> Option<(i32, u64)> {
        self.clients().last().map(|client| (client.process.pid, client.process.start))
    }

    fn clients(&self) -> &[Ancestor] {
        self.above.get(..self.client).unwrap_or_default()
    }

    /// Whether somebody with these ancestors, itself the first, may be the agent.
    fn doubt(&self, uid: u32, steps: &[Ancestor]) -> Option<Doubt> {
        let mine = |process: Process| self.clients().iter().any(|step| step.process == process);
        if steps.iter().any(|step| mine(step.process)) {
            return Some(Doubt::Descendant);
        }
        if uid != self.uid && self.clients().first().is_none_or(|client| client.uid != uid) {
            return None;
        }
        let Some(oldest) = self.clients().iter().map(|step| step.process.start).min() else {
            return Some(Doubt::NoClient);
        };
        // From above: the first process that the peer does not share with the client and that an ancestor may have taken in.
        let takes_in = |step: &Ancestor| !(step.uid == 0 && NO_REAPERS.contains(&step.name.as_str()));
        let shared = |step: &Ancestor| self.above.iter().any(|above| above.process == step.process);
        let at = steps.iter().position(|step| step.process.pid == 1 || shared(step) && takes_in(step));
        // One that comes from neither was put here from outside of this PID namespace, where the agent is not.
        let at = at?;
        // The first of all is itself above the client.
        let branch = at.checked_sub(1).and_then(|below| steps.get(below))?;
        (branch.process.start >= oldest).then_some(Doubt::Younger)
    }
}

impl Peer {
    /// Who has connected to a server of this descent.
    ///
    /// # Errors
    /// If that cannot be told for sure.
    pub fn of(stream: &impl AsFd, server: &Descent) -> Result<Self, Faceless> {
        let credentials = getsockopt(stream, PeerCredentials).map_err(|_| Faceless::NoCredentials)?;
        let (pid, uid) = (credentials.pid(), credentials.uid());
        if !is_known(uid) {
            return Err(Faceless::NoCredentials);
        }
        let somebody = |doubt| Self { pid, uid, user: user_name(uid), doubt };
        if pid <= 0 || !server.seen {
            return Ok(somebody(Some(Doubt::Unseen)));
        }
        // Names one process for good, so that no other can have taken its number; kernels before 6.5 have none.
        let handle: Option<OwnedFd> = getsockopt(stream, PeerPidfd).ok();
        let before = ancestry(pid);
        if let Some(handle) = &handle
            && lives_as(handle) != Some(pid)
        {
            return Err(Faceless::Gone);
        }
        // Nobody has changed places meanwhile.
        let Some(before) = before.filter(|before| ancestry(pid).as_ref() == Some(before)) else {
            return Ok(somebody(Some(Doubt::Unseen)));
        };
        if before.iter().any(|step| step.process == server.server) {
            return Err(Faceless::Own);
        }
        Ok(somebody(server.doubt(uid, &before)))
    }
}

/// Whether users of this number can be told from others. In a user namespace, as a server's in a view, everybody whom it does not map
/// has the same number, which is also that of somebody outside (user_namespaces(7)).
fn is_known(uid: u32) -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map_while(|number| number.parse::<u32>().ok());
        let (first, _, count) = (numbers.next(), numbers.next(), numbers.next());
        first.zip(count).is_some_and(|(first, count)| uid.checked_sub(first).is_some_and(|above| above < count))
    })
}

/// The number of the process behind a descriptor, while it lives.
fn lives_as(handle: &OwnedFd) -> Option<i32> {
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", handle.as_raw_fd())).ok()?;
    about.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok().filter(|pid| *pid > 0)
}

/// A process and all above it, up to the first one, or to one that comes from outside of this PID namespace.
fn ancestry(pid: i32) -> Option<Vec<Ancestor>> {
    let mut steps = Vec::new();
    let mut next = pid;
    while next != 0 {
        if steps.len() == MAX_DEPTH {
            return None;
        }
        let stat = ProcessStat::of(next).ok().filter(|stat| stat.alive)?;
        let younger: Option<&Ancestor> = steps.last();
        // Its number was given to another one meanwhile: a parent is older.
        if younger.is_some_and(|child| child.process.start < stat.start) {
            return None;
        }
        let (uid, name) = owner(next)?;
        let process = Process { pid: next, start: stat.start };
        let leads_terminal = stat.has_terminal && stat.session == next;
        let takes_commands = leads_terminal && takes_commands(next);
        steps.push(Ancestor { process, uid, name, leads_terminal, takes_commands });
        next = stat.parent;
    }
    Some(steps)
}

/// Whether this is a shell without code or a script in its words.
fn takes_commands(pid: i32) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = words.strip_suffix(b"\0").unwrap_or(&words).split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let is_shell = |name: &str| SHELLS.contains(&name.trim_start_matches('-').rsplit('/').next().unwrap_or_default());
    let is_option = |word: &str| {
        let long =
            word.strip_prefix("--").is_some_and(|name| !name.starts_with("command") && !name.starts_with("exec"));
        long || word.strip_prefix('-').is_some_and(|flags| !flags.starts_with('-') && !flags.contains(['c', 'C']))
    };
    words.next().is_some_and(|name| is_shell(&name))
        && program.and_then(|program| program.file_name()?.to_str().map(is_shell)).unwrap_or(false)
        && words.all(|word| is_option(&word))
}

/// The real user of a process, and its name.
fn owner(pid: i32) -> Option<(u32, String)> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key));
    let name = field("Name:")?.trim().to_owned();
    let uid = field("Uid:")?.split_ascii_whitespace().next()?.parse().ok()?;
    Some((uid, name))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// `pid name uid start`, with `t` behind it for one that leads a terminal session, `p` for one in which a person types.
    fn steps(text: &str) -> Vec<Ancestor> {
        let step = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |at: usize| words.get(at).unwrap().parse::<u64>().unwrap();
            Ancestor {
                process: Process { pid: i32::try_from(number(0)).unwrap(), start: number(3) },
                uid: u32::try_from(number(2)).unwrap(),
                name: (*words.get(1).unwrap()).to_owned(),
                leads_terminal: words.len() > 4,
                takes_commands: words.get(4) == Some(&"p"),
            }
        };
        text.split(',').map(step).collect()
    }

    const SSH: &str = "40 sshd-session 1000 20, 39 sshd-session 0 19, 30 sshd 0 2, 1 init 0 0";

    #[test]
    fn a_peer_of_the_same_user_is_told_by_its_descent() {
        let ssh = format!("90 palisade 1000 90, 80 client 1000 80, 50 bash 1000 50 t, {SSH}");
        let wrapped = format!("90 palisade 1000 90, 85 sh 1000 85, 80 client 1000 80, 50 bash 1000 50 t, {SSH}");
        let tmux =
            "90 palisade 1000 90, 80 client 1000 80, 50 bash 1000 50 t, 20 tmux 1000 20, 9 systemd 1000 9, 1 init 0 0";
        let typed =
            "90 palisade 1000 90, 80 client 1000 80, 50 bash 1000 50 p, 20 tmux 1000 20, 9 systemd 1000 9, 1 init 0 0";
        let direct = "90 palisade 1000 90, 50 bash 1000 50 p, 20 tmux 1000 20, 9 systemd 1000 9, 1 init 0 0";
        let service = "90 palisade 1000 90, 80 client 1000 80, 1 init 0 0";
        let orphan = "90 palisade 1000 90, 1 init 0 0";
        let root = "90 palisade 0 90, 80 client 0 80, 50 bash 0 50 t, 39 sshd-session 0 19, 30 sshd 0 2, 1 init 0 0";
        let inside = "90 palisade 1000 90, 80 client 1000 80";
        let other = format!(
            "200 palisade 1000 200, 120 bash 1000 120 t, {}",
            "110 sshd-session 1000 110, 109 sshd-session 0 109, 30 sshd 0 2, 1 init 0 0"
        );
        let rows: &[(&str, &str, &str, Option<Doubt>)] = &[
            (
                "a tool of the agent's",
                &ssh,
                "200 palisade 1000 200, 150 bash 1000 150, 80 client 1000 80, 50 bash 1000 50 t",
                Some(Doubt::Descendant),
            ),
            (
                "the same behind a wrapper",
                &wrapped,
                "200 palisade 1000 200, 150 bash 1000 150, 80 client 1000 80, 50 bash 1000 50 t",
                Some(Doubt::Descendant),
            ),
            ("the same terminal", &ssh, "200 palisade 1000 200, 50 bash 1000 50 t", Some(Doubt::Descendant)),
            (
                "root by way of sudo in it",
                &ssh,
                "200 palisade 0 200, 199 sudo 0 199, 50 bash 1000 50 t",
                Some(Doubt::Descendant),
            ),
            ("another login", &ssh, &other, None),
            ("cut loose", &ssh, "200 palisade 1000 200, 150 bash 1000 150, 1 init 0 0", Some(Doubt::Younger)),
            ("cut loose, taken in by the login", &ssh, &format!("200 palisade 1000 200, {SSH}"), Some(Doubt::Younger)),
            ("a service that was there before", &ssh, "200 palisade 1000 200, 10 bash 1000 10, 1 init 0 0", None),
            (
                "a window that was there before",
                tmux,
                "200 palisade 1000 200, 45 bash 1000 45 t, 20 tmux 1000 20, 9 systemd 1000 9, 1 init 0 0",
                None,
            ),
            (
                "a window that was opened later",
                tmux,
                "200 palisade 1000 200, 95 bash 1000 95 t, 20 tmux 1000 20, 9 systemd 1000 9, 1 init 0 0",
                Some(Doubt::Younger),
            ),
            (
                "a window that is younger than the client's, and older than the client",
                typed,
                "200 palisade 1000 200, 60 bash 1000 60 p, 20 tmux 1000 20, 9 systemd 1000 9, 1 init 0 0",
                None,
            ),
            (
                "a window that the client may have opened",
                typed,
                "200 palisade 1000 200, 81 bash 1000 81 p, 20 tmux 1000 20, 9 systemd 1000 9, 1 init 0 0",
                Some(Doubt::Younger),
            ),
            (
                "the client's own window, while it is stopped",
                typed,
                "200 palisade 1000 200, 50 bash 1000 50 p, 20 tmux 1000 20, 9 systemd 1000 9, 1 init 0 0",
                Some(Doubt::Younger),
            ),
            (
                "a tool of the client's in a window",
                typed,
                "200 palisade 1000 200, 80 client 1000 80, 50 bash 1000 50 p, 20 tmux 1000 20, 9 systemd 1000 9, 1 init 0 0",
                Some(Doubt::Descendant),
            ),
            (
                "the server's own parent is the client, whatever it is",
                direct,
                "200 palisade 1000 200, 60 bash 1000 60 p, 20 tmux 1000 20, 9 systemd 1000 9, 1 init 0 0",
                Some(Doubt::Younger),
            ),
            (
                "cut loose, taken in by the user's manager",
                tmux,
                "200 palisade 1000 200, 9 systemd 1000 9, 1 init 0 0",
                Some(Doubt::Younger),
            ),
            (
                "cut loose in the same tick",
                tmux,
                "200 palisade 1000 200, 190 sh 1000 50, 9 systemd 1000 9, 1 init 0 0",
                Some(Doubt::Younger),
            ),
            (
                "a service's own child",
                service,
                "200 palisade 1000 200, 80 client 1000 80, 1 init 0 0",
                Some(Doubt::Descendant),
            ),
            ("from outside of the container", service, "200 palisade 1000 200, 150 bash 1000 150 t", None),
            (
                "no client to be told from",
                orphan,
                "200 palisade 1000 200, 10 bash 1000 10 t, 1 init 0 0",
                Some(Doubt::NoClient),
            ),
            (
                "root, another login",
                root,
                "200 palisade 0 200, 120 bash 0 120 t, 109 sshd-session 0 109, 30 sshd 0 2, 1 init 0 0",
                None,
            ),
            ("root, cut loose", root, "200 palisade 0 200, 120 bash 0 120 t, 1 init 0 0", Some(Doubt::Younger)),
            (
                "not root's own, whatever its name",
                "90 palisade 7 90, 80 client 7 80, 50 bash 7 50 t, 30 sshd 7 2, 1 init 0 0",
                "200 palisade 7 200, 30 sshd 7 2, 1 init 0 0",
                Some(Doubt::Younger),
            ),
            (
                "from the container's own first process",
                inside,
                "200 palisade 1000 200, 150 bash 1000 150, 1 init 0 0",
                Some(Doubt::Younger),
            ),
            ("another user", orphan, "200 palisade 1001 200, 150 bash 1001 150, 1 init 0 0", None),
            ("another user, cut loose", &ssh, "200 palisade 1001 200, 1 init 0 0", None),
        ];
        for (what, server, peer, expected) in rows {
            let descent = Descent::of(steps(server)).unwrap();
            let peer = steps(peer);
            assert_eq!(descent.doubt(peer.first().unwrap().uid, &peer), *expected, "{what}");
        }
    }

    #[test]
    fn this_process_has_a_line_of_ancestors() {
        let line = ancestry(std::process::id().cast_signed()).unwrap();
        assert_eq!(line.first().unwrap().process.pid, std::process::id().cast_signed());
        assert!(line.len() > 1);
        assert_eq!(ancestry(i32::MAX), None);
    }

    #[test]
    fn a_child_of_the_server_is_nobody() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        // Both ends are this process: it descends from itself.
        assert_eq!(Peer::of(&ours, &Descent::own()), Err(Faceless::Own));
        drop(theirs);
    }
}
