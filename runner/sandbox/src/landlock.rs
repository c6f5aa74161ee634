//! Which files a session can touch: path rules as a Landlock ruleset.
//!
//! The ruleset is made here, in the server, with everything that can fail or allocate; the child only says
//! `landlock_restrict_self` with its descriptor. What the level asks for is a hard requirement, newer rights are used where the
//! kernel has them. Of TCP at most the port of the session's own proxy is granted, and signals and abstract sockets stay inside the session.
//! What Landlock does not mediate (metadata, unix sockets by path, other protocols) is not decided here.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

use super::SandboxError;
use super::plan::{Level, PathRule, Rights};

/// The newest rights that this version of Palisade knows what to do with; the kernel may have fewer or more.
pub(super) const NEWEST: ABI = ABI::V7;

/// What TCP a session may use. Landlock knows ports and no addresses: only where the session's network holds nothing else is more than
/// none right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tcp {
    /// None.
    None,
    /// Connections to this port.
    Port(u16),
    /// All there is, in a network of the session's own.
    Own,
}

/// The descriptor of a ruleset that holds `rules` and `tcp`, for a kernel that offers the Landlock version `offered`.
///
/// # Errors
///
/// The kernel offers less than `level` asks for; a rule's path cannot be opened or passes through a symbolic link.
pub(super) fn ruleset(
    rules: &[PathRule],
    tcp: Tcp,
    level: Level,
    offered: u32,
    kernel: &str,
) -> Result<OwnedFd, SandboxError> {
    demand(level, offered, kernel)?;
    let mut ruleset = handled(required(level), tcp).map_err(SandboxError::Ruleset)?;
    if let Tcp::Port(port) = tcp {
        // Of no effect where the kernel does not hold ports at all.
        let rule = NetPort::new(port, AccessNet::ConnectTcp).set_compatibility(CompatLevel::BestEffort);
        ruleset = ruleset.add_rule(rule).map_err(SandboxError::Ruleset)?;
    }
    for rule in rules {
        ruleset = add(ruleset, rule)?;
    }
    // The crate keeps no descriptor only where it took the kernel to have no Landlock at all.
    Option::<OwnedFd>::from(ruleset).ok_or_else(|| SandboxError::NoLandlock { kernel: kernel.to_owned() })
}

/// The descriptor of a ruleset for the first process of a session without namespaces: its signals, and those of all that it makes,
/// stay among them. None where the kernel's Landlock version does not know signals. Made once.
///
/// # Errors
///
/// The kernel refuses.
pub(super) fn reach(offered: u32) -> Result<Option<OwnedFd>, SandboxError> {
    static MADE: OnceLock<OwnedFd> = OnceLock::new();
    if !holds_signals(offered) {
        return Ok(None);
    }
    let made = match MADE.get() {
        Some(made) => made,
        None => {
            let made = only_signals()?;
            MADE.get_or_init(|| made)
        }
    };
    super::out_of_the_way(made).map(Some)
}

/// Kernels refuse moves between directories wherever a ruleset does not grant them, even one that is not about files.
fn only_signals() -> Result<OwnedFd, SandboxError> {
    let root = open(Path::new("/")).map_err(|source| SandboxError::Path { path: "/".into(), source: source.into() })?;
    let made = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)
        .and_then(|ruleset| ruleset.scope(Scope::Signal))
        .and_then(|ruleset| ruleset.create())
        .and_then(|ruleset| ruleset.add_rule(PathBeneath::new(root, AccessFs::Refer)))
        .map_err(SandboxError::Ruleset)?;
    Option::<OwnedFd>::from(made)
        .ok_or(SandboxError::Server { what: "make rules for signals", source: ErrorKind::Unsupported.into() })
}

/// Refuses a kernel whose Landlock version `offered` (0: none) is below what `level` asks for.
pub(super) fn demand(level: Level, offered: u32, kernel: &str) -> Result<(), SandboxError> {
    let needed = version(required(level));
    match offered {
        0 => Err(SandboxError::NoLandlock { kernel: kernel.to_owned() }),
        _ if offered < needed => {
            Err(SandboxError::LandlockTooOld { level, needed, offered, kernel: kernel.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The Landlock version whose rights are all in force when a ruleset is, on a kernel that offers `offered`.
pub(super) fn in_force(offered: u32) -> u32 {
    offered.min(version(NEWEST))
}

/// Whether a session's signals stay inside of it, on a kernel that offers the Landlock version `offered`.
pub(super) fn holds_signals(offered: u32) -> bool {
    offered >= version(ABI::V6)
}

/// The Landlock version without which a session of this level does not start.
///
/// - Version 6 mediates signals and abstract sockets: without it one session can kill another of the same user.
/// - Version 3 mediates truncation: without it a file that may not be written can still be emptied.
fn required(level: Level) -> ABI {
    match level {
        Level::Strict | Level::Default => ABI::V6,
        Level::Compat => ABI::V3,
    }
}

fn version(abi: ABI) -> u32 {
    abi as u32
}

/// An empty ruleset: everything it handles is refused until a rule allows it.
fn handled(required: ABI, tcp: Tcp) -> Result<RulesetCreated, RulesetError> {
    let mut ruleset = Ruleset::default();
    for (abi, demand) in [(required, CompatLevel::HardRequirement), (NEWEST, CompatLevel::BestEffort)] {
        ruleset = ruleset.set_compatibility(demand).handle_access(AccessFs::from_all(abi))?;
        // The crate takes an empty set for a mistake, and old versions know no network and no scope.
        if !AccessNet::from_all(abi).is_empty() && tcp != Tcp::Own {
            ruleset = ruleset.handle_access(AccessNet::from_all(abi))?;
        }
        if !Scope::from_all(abi).is_empty() {
            ruleset = ruleset.scope(Scope::from_all(abi))?;
        }
    }
    ruleset.create()
}

fn add(ruleset: RulesetCreated, rule: &PathRule) -> Result<RulesetCreated, SandboxError> {
    let failed = |source: Errno| SandboxError::Path { path: rule.path.clone(), source: source.into() };
    let file = match open(&rule.path) {
        Err(Errno::NOENT | Errno::NOTDIR) if rule.optional => return Ok(ruleset),
        opened => opened.map_err(failed)?,
    };
    let kind = FileType::from_raw_mode(fstat(&file).map_err(failed)?.st_mode);
    let access = access(rule, kind);
    if access.is_empty() {
        return Ok(ruleset);
    }
    // Best effort, because rights above the level's version (on terminals) may be unknown to the kernel: it then refuses none.
    let beneath = PathBeneath::new(file.as_fd(), access).set_compatibility(CompatLevel::BestEffort);
    ruleset.add_rule(beneath).map_err(SandboxError::Ruleset)
}

/// Opens what the rule is about. A symbolic link anywhere in the path is refused: a plan is made from resolved paths, so a link
/// that appears later was put there to redirect the rule.
pub(super) fn open(path: &Path) -> Result<OwnedFd, Errno> {
    if !path.is_absolute() {
        return Err(Errno::INVAL);
    }
    openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

/// The rights of a rule about a place that looks like what the machine has there now, as the kernel's bits; for a rule that is
/// made where this crate cannot be used. None where there is nothing, or nothing would be granted.
pub(super) fn access_bits(rule: &PathRule, offered: u32) -> Option<u64> {
    let about = fstat(open(&rule.path).ok()?).ok()?;
    let known = AccessFs::from_all(ABI::from(in_force(offered).cast_signed()));
    let access = access(rule, FileType::from_raw_mode(about.st_mode)) & known;
    (!access.is_empty()).then(|| access.bits())
}

/// The kernel's bit for reading a file: every version of Landlock knows it.
pub(super) const READ_FILE: u64 = AccessFs::ReadFile as u64;

/// What a rule's rights are called by the kernel, for a directory or for a single file.
fn access(rule: &PathRule, kind: FileType) -> BitFlags<AccessFs> {
    let mut access: BitFlags<AccessFs> = ACCESS
        .iter()
        .filter(|(rights, _)| rule.rights.contains(*rights))
        .flat_map(|(_, access)| access.iter())
        .copied()
        .collect();
    if rule.rights.contains(Rights::WRITE) && is_terminal(&rule.path) {
        access |= AccessFs::IoctlDev;
    }
    if kind == FileType::Directory { access } else { access & AccessFs::from_file(NEWEST) }
}

/// What each right means. Never granted: `MakeChar` and `MakeBlock` (a device node is a way round every path), and controls of
/// devices other than terminals.
const ACCESS: [(Rights, &[AccessFs]); 5] = [
    (Rights::READ, &[AccessFs::ReadFile, AccessFs::ReadDir]),
    (Rights::EXECUTE, &[AccessFs::Execute]),
    (
        Rights::WRITE,
        &[
            AccessFs::WriteFile,
            AccessFs::Truncate,
            AccessFs::MakeReg,
            AccessFs::MakeDir,
            AccessFs::MakeSym,
            AccessFs::MakeFifo,
            AccessFs::MakeSock,
        ],
    ),
    (Rights::DELETE, &[AccessFs::RemoveFile, AccessFs::RemoveDir]),
    // Moving takes a file from one directory and puts it into another.
    (Rights::MOVE, &[AccessFs::Refer]),
];

/// Terminals, whose size and modes programs ask for; what types into them is refused by the system call filters.
fn is_terminal(path: &Path) -> bool {
    TERMINALS.iter().any(|terminal| path.starts_with(terminal))
}

const TERMINALS: [&str; 3] = ["/dev/tty", "/dev/ptmx", "/dev/pts"];

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn rule(path: &str, rights: Rights) -> PathRule {
        PathRule { path: PathBuf::from(path), rights, optional: false }
    }

    #[test]
    fn rights_become_these_accesses() {
        use AccessFs::*;
        let all = Rights::READ | Rights::WRITE | Rights::DELETE | Rights::EXECUTE;
        let write = WriteFile | Truncate | MakeReg | MakeDir | MakeSym | MakeFifo | MakeSock;
        let rows: &[(&str, Rights, FileType, BitFlags<AccessFs>)] = &[
            ("/d", Rights::NONE, FileType::Directory, BitFlags::EMPTY),
            ("/d", Rights::READ, FileType::Directory, ReadFile | ReadDir),
            ("/d", Rights::EXECUTE, FileType::Directory, Execute.into()),
            ("/d", Rights::WRITE, FileType::Directory, write),
            ("/d", Rights::DELETE, FileType::Directory, RemoveFile | RemoveDir),
            ("/d", Rights::WRITE | Rights::DELETE, FileType::Directory, write | RemoveFile | RemoveDir | Refer),
            ("/d", all, FileType::Directory, AccessFs::from_all(NEWEST) & !(MakeChar | MakeBlock | IoctlDev)),
            ("/f", all, FileType::RegularFile, ReadFile | WriteFile | Truncate | Execute),
            ("/f", Rights::DELETE, FileType::RegularFile, BitFlags::EMPTY),
            ("/dev/null", Rights::READ | Rights::WRITE, FileType::CharacterDevice, ReadFile | WriteFile | Truncate),
            ("/dev/ptmx", Rights::WRITE, FileType::CharacterDevice, WriteFile | Truncate | IoctlDev),
            ("/dev/pts", Rights::WRITE, FileType::Directory, write | IoctlDev),
            ("/dev/tty1", Rights::WRITE, FileType::CharacterDevice, WriteFile | Truncate),
            ("/dev/tty", Rights::READ, FileType::CharacterDevice, ReadFile.into()),
        ];
        for (path, rights, kind, expected) in rows {
            assert_eq!(access(&rule(path, *rights), *kind), *expected, "{path} {rights} {kind:?}");
        }
    }

    #[test]
    fn a_kernel_is_enough_for_a_level_or_refused_by_name() {
        let rows = [
            (Level::Default, 6, None),
            (Level::Default, 9, None),
            (Level::Strict, 6, None),
            (Level::Compat, 3, None),
            (Level::Default, 5, Some("level `default` needs Landlock 6 and the kernel (6.1.0) offers 5")),
            (Level::Strict, 1, Some("level `strict` needs Landlock 6 and the kernel (6.1.0) offers 1")),
            (Level::Compat, 2, Some("level `compat` needs Landlock 3 and the kernel (6.1.0) offers 2")),
            (Level::Compat, 0, Some("the kernel offers no Landlock (Linux 6.1.0)")),
        ];
        for (level, offered, expected) in rows {
            let answer = demand(level, offered, "6.1.0").err().map(|error| error.to_string());
            assert_eq!(answer.as_deref(), expected, "{level} on {offered}");
        }
    }

    #[test]
    fn a_path_is_opened_as_it_stands_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("inside")).unwrap();
        std::os::unix::fs::symlink("/etc", real.join("link")).unwrap();
        let rows = [
            (real.join("inside"), None),
            (real.join("absent"), Some(Errno::NOENT)),
            (real.join("link"), Some(Errno::LOOP)),
            (real.join("link/ssl"), Some(Errno::LOOP)),
            (PathBuf::from("relative"), Some(Errno::INVAL)),
        ];
        for (path, expected) in rows {
            assert_eq!(open(&path).err(), expected, "{}", path.display());
        }
    }
}
