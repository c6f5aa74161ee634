//! Which server made something that is found at a target, and whether that one is gone.
//!
//! Decides only about servers of this machine, as this process sees its processes: of any other it says that it may be there.

use std::fmt;
use std::os::unix::fs::MetadataExt;

use palisade_sandbox::ProcessStat;

/// A server, by what no other has: the machine's start, the processes that it is among, its number, and when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    boot: String,
    among: u64,
    pid: i32,
    began: u64,
}

impl Instance {
    /// This process.
    pub(crate) fn own() -> Self {
        let pid = std::process::id().cast_signed();
        let began = ProcessStat::of(pid).map(|stat| stat.start).unwrap_or_default();
        Self { pid, began, ..Self::here() }
    }

    /// Whether the server of this name ran here, and does no more.
    pub(crate) fn is_gone(name: &str) -> bool {
        let Some(server) = Self::parse(name) else { return false };
        let here = Self::here();
        let is_here =
            !here.boot.is_empty() && here.among != 0 && server.boot == here.boot && server.among == here.among;
        is_here && !ProcessStat::may_live(server.pid, server.began)
    }

    fn here() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let among = std::fs::metadata("/proc/self/ns/pid").map(|found| found.ino()).unwrap_or_default();
        Self { boot, among, pid: 0, began: 0 }
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split(':');
        let boot = parts.next()?.to_owned();
        let (among, pid, began) =
            (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(Self { boot, among, pid, began })
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}:{}", self.boot, self.among, self.pid, self.began)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_of_this_machine_that_has_ended_is_gone() {
        let own = Instance::own();
        assert_eq!(Instance::parse(&own.to_string()), Some(own.clone()));
        assert!(!Instance::is_gone(&own.to_string()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id().cast_signed();
        let ended = Instance { pid, began: ProcessStat::of(pid).unwrap().start, ..own.clone() };
        child.wait().unwrap();
        assert!(Instance::is_gone(&ended.to_string()));
        // Its number is another's by now.
        assert!(Instance::is_gone(&Instance { began: own.began + 1, ..own.clone() }.to_string()));
        for elsewhere in
            [Instance { boot: "another".to_owned(), ..ended.clone() }, Instance { among: own.among + 1, ..ended }]
        {
            assert!(!Instance::is_gone(&elsewhere.to_string()));
        }
        for none in ["", "a", "a:b:c:d", "1234"] {
            assert!(!Instance::is_gone(none));
        }
    }
}
