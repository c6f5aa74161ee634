//! Which system calls a session's programs can make.
//!
//! The rules are data, `seccomp/<architecture>.json`, with a reason for each call. They deny and let the rest pass, because an
//! agent's shell runs whatever a developer's would; two ways round a deny list are closed by a filter of our own that comes
//! first: numbers that are newer than the list, or that name the same call by another convention (x32). The filters are compiled
//! here, in the server; the child only installs them.
//!
//! A filter answers with one error, so there are several: `EPERM` for what is refused, `ENOSYS` where programs have another way
//! and take it, `EACCES` for the network, and none for what is only said to be done.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use seccompiler::{BpfProgram, TargetArch, sock_filter};
use sha2::{Digest, Sha256};

use super::{Namespaces, SandboxError};

/// Compiled filters in the order of their installation.
pub(super) struct Set {
    pub(super) programs: Vec<BpfProgram>,
    /// `sha256:` and the hash of all instructions: two sessions with the same digest can make the same calls.
    pub(super) digest: String,
}

/// The filters for the sessions of one kind.
pub(super) struct Filters {
    pub(super) plain: Set,
    /// For a session whose guard is asked who traces whom.
    pub(super) guarded: Set,
    /// The same where the guard makes the connections, too.
    pub(super) connecting: Set,
}

/// What the filters of a session depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) kind: Isolation,
    /// The session's shell has a terminal.
    pub(super) at_terminal: bool,
    /// The session's level is `strict`.
    pub(super) strict: bool,
}

/// The filters for sessions of this shape; made once for each shape.
///
/// # Errors
///
/// There are no rules for this architecture, or they cannot be read.
pub(super) fn filters(shape: Shape) -> Result<&'static Filters, SandboxError> {
    static MADE: LazyLock<Mutex<HashMap<Shape, &'static Filters>>> = LazyLock::new(Mutex::default);
    // Nothing that holds the lock can fail half-way.
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(filters) = made.get(&shape) {
        return Ok(filters);
    }
    // There are few shapes, and the server keeps the filters of each for as long as it runs.
    let filters = &*Box::leak(Box::new(make(shape)?));
    made.insert(shape, filters);
    Ok(filters)
}

/// What a session has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Isolation {
    /// Namespaces, and a network in which it may listen and connect; there may be a proxy in it.
    Own,
    /// Namespaces, and in its network a proxy, the only peer.
    Proxied,
    /// Namespaces.
    Apart,
    /// Nothing.
    Among,
}

impl Isolation {
    /// Of a session in these namespaces, with a proxy or without, and with its loopback open or not.
    pub(super) fn of(namespaces: Namespaces, proxied: bool, loopback: bool) -> Self {
        match (namespaces, loopback, proxied) {
            (Namespaces::Root | Namespaces::User, true, _) => Self::Own,
            (Namespaces::Root | Namespaces::User, false, true) => Self::Proxied,
            (Namespaces::Root | Namespaces::User, false, false) => Self::Apart,
            // Without a network of its own a session's sockets would be the machine's.
            (Namespaces::None, ..) => Self::Among,
        }
    }
}

fn make(Shape { kind, at_terminal, strict }: Shape) -> Result<Filters, SandboxError> {
    let compiled = COMPILED.as_ref().map_err(|reason| SandboxError::Filters { reason: reason.clone() })?;
    let programs = vec![known_numbers(machine()?)];
    let [mut plain, mut guarded, mut connecting] = [programs.clone(), programs.clone(), programs];
    for (name, kinds) in FILTERS {
        let applies = match name {
            PRETENDED => !at_terminal,
            STRICT_ABSENT | STRICT_ATTRIBUTES => strict,
            _ => true,
        };
        if applies && kinds.contains(&kind) {
            let program = compiled.get(name);
            let program = program.ok_or_else(|| SandboxError::Filters { reason: format!("`{name}` is missing") })?;
            plain.push(program.clone());
            // Without process numbers of its own a session's tracers would reach the machine's processes.
            if name == TRACING && kind != Isolation::Among {
                continue;
            }
            guarded.push(program.clone());
            if name != LOCAL_SOCKETS {
                connecting.push(program.clone());
            }
        }
    }
    let [plain, guarded, connecting] =
        [plain, guarded, connecting].map(|programs| Set { digest: digest(&programs), programs });
    Ok(Filters { plain, guarded, connecting })
}

/// The filters of the data file, and which sessions get each. With process numbers and IPC objects of its own a session reaches
/// nobody else by them, and databases and thread pools need them.
const FILTERS: [(&str, &[Isolation]); 12] = [
    (TRACING, &[Isolation::Own, Isolation::Proxied, Isolation::Apart, Isolation::Among]),
    ("refused", &[Isolation::Own, Isolation::Proxied, Isolation::Apart, Isolation::Among]),
    ("absent", &[Isolation::Own, Isolation::Proxied, Isolation::Apart, Isolation::Among]),
    ("network", &[Isolation::Apart, Isolation::Among]),
    ("proxied", &[Isolation::Proxied]),
    ("own-network", &[Isolation::Own]),
    (LOCAL_SOCKETS, &[Isolation::Own]),
    ("other-processes", &[Isolation::Among]),
    ("shared-ipc", &[Isolation::Among]),
    (STRICT_ABSENT, &[Isolation::Own, Isolation::Proxied, Isolation::Apart, Isolation::Among]),
    (STRICT_ATTRIBUTES, &[Isolation::Own, Isolation::Proxied, Isolation::Apart, Isolation::Among]),
    (PRETENDED, &[Isolation::Own, Isolation::Proxied, Isolation::Apart, Isolation::Among]),
];

/// What tells of files that no path rule opens, and that level `strict` goes without.
const STRICT_ABSENT: &str = "strict-absent";
const STRICT_ATTRIBUTES: &str = "strict-attributes";

/// What the guard is asked about where a session has one.
const TRACING: &str = "tracing";

/// The filter that refuses local sockets. A session does without it if the guard makes its connections.
const LOCAL_SOCKETS: &str = "local-sockets";

/// What is not done and said to be: bash puts the modes of its terminal back when a signal has ended a program, and complains into the
/// command's own output where there is none.
const PRETENDED: &str = "pretended";

static COMPILED: LazyLock<Result<HashMap<String, BpfProgram>, String>> = LazyLock::new(|| {
    let machine = machine().map_err(|error| error.to_string())?;
    compile(machine)
});

fn compile(machine: &Machine) -> Result<HashMap<String, BpfProgram>, String> {
    seccompiler::compile_from_json(machine.rules.as_bytes(), machine.target).map_err(|error| error.to_string())
}

/// What differs between processor architectures.
struct Machine {
    /// As the compiler's standard library names it.
    name: &'static str,
    target: TargetArch,
    /// The number by which the kernel tells a filter which convention a call uses (`AUDIT_ARCH_*`).
    convention: u32,
    rules: &'static str,
}

const MACHINES: [Machine; 2] = [
    Machine {
        name: "x86_64",
        target: TargetArch::x86_64,
        convention: 0xC000_003E,
        rules: include_str!("../seccomp/x86_64.json"),
    },
    Machine {
        name: "aarch64",
        target: TargetArch::aarch64,
        convention: 0xC000_00B7,
        rules: include_str!("../seccomp/aarch64.json"),
    },
];

fn machine() -> Result<&'static Machine, SandboxError> {
    let name = std::env::consts::ARCH;
    let unknown = || SandboxError::Filters { reason: format!("no rules exist for the architecture `{name}`") };
    MACHINES.iter().find(|machine| machine.name == name).ok_or_else(unknown)
}

/// The highest system call number that the rules were written for: `mseal`, Linux 6.10, the same on every architecture. Raise it
/// only after reading what was added. x32 sets bit 30 and so lies above it as well.
const NEWEST: u32 = 462;

/// Kills a process that calls by another convention (32-bit code on a 64-bit kernel), and takes numbers above [`NEWEST`] for
/// calls that do not exist, as an older kernel would.
fn known_numbers(machine: &Machine) -> BpfProgram {
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        step(LOAD, 0, 0, OFFSET_OF_CONVENTION),
        step(JUMP_IF_EQUAL, 1, 0, machine.convention),
        step(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        step(LOAD, 0, 0, OFFSET_OF_NUMBER),
        step(JUMP_IF_GREATER, 0, 1, NEWEST),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | ENOSYS),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

// The instructions, as `linux/bpf_common.h` composes them, and the places in `struct seccomp_data` that they read.
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const RETURN: u16 = 0x06;
const OFFSET_OF_NUMBER: u32 = 0;
const OFFSET_OF_CONVENTION: u32 = 4;
/// The lower half of the first argument, on machines that begin with it; the others lie eight bytes apart.
const OFFSET_OF_ARGUMENTS: u32 = 16;
const JUMP_IF_SET: u16 = 0x45;
const ENOSYS: u32 = libc::ENOSYS.unsigned_abs();

/// Holds `execve`, `execveat` and what begins to trace a process until the exec guard has answered; with `names` also each call that
/// makes a name in a directory, and with `connects` each `connect`. The other conventions by which the same call could be made,
/// [`known_numbers`] has refused.
pub(super) fn guard(names: bool, connects: bool) -> Result<BpfProgram, SandboxError> {
    machine()?;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let number = |call: libc::c_long| u32::try_from(call).unwrap_or(u32::MAX);
    let mut held = vec![libc::SYS_execve, libc::SYS_execveat];
    let mut opening: &[(libc::c_long, u32)] = &[];
    if names {
        held.extend(MAKING.iter().map(|(call, _)| *call));
        opening = &OPENING;
    }
    if connects {
        held.push(libc::SYS_connect);
    }
    let tracing = [libc::PTRACE_TRACEME, libc::PTRACE_ATTACH, libc::PTRACE_SEIZE];
    let mut program = vec![step(LOAD, 0, 0, OFFSET_OF_NUMBER)];
    // Each call that opens is followed by two more steps, and `ptrace` by one for each request; the last two steps answer.
    let length = 1 + held.len() + 3 * opening.len() + 2 + tracing.len() + 2;
    let to_answer = |at: usize| u8::try_from(length - 1 - at - 1).unwrap_or(u8::MAX);
    for call in held {
        program.push(step(JUMP_IF_EQUAL, to_answer(program.len()), 0, number(call)));
    }
    for (call, flags) in opening {
        let to_next = 2;
        program.push(step(JUMP_IF_EQUAL, 0, to_next, number(*call)));
        program.push(step(LOAD, 0, 0, OFFSET_OF_ARGUMENTS + 8 * flags));
        let at = program.len();
        program.push(step(JUMP_IF_SET, to_answer(at), to_answer(at) - 1, libc::O_CREAT.unsigned_abs()));
    }
    let at = program.len();
    program.push(step(JUMP_IF_EQUAL, 0, to_answer(at) - 1, number(libc::SYS_ptrace)));
    // The kernel takes a request of 64 bits, so that one with a higher half is none of these, nor any other.
    program.push(step(LOAD, 0, 0, OFFSET_OF_ARGUMENTS));
    for request in tracing {
        program.push(step(JUMP_IF_EQUAL, to_answer(program.len()), 0, request));
    }
    program.push(step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    program.push(step(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF));
    Ok(program)
}

/// Where a call that makes a name has the directory's descriptor, if it has one, and the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NameArguments {
    pub(super) directory: Option<usize>,
    pub(super) path: usize,
    pub(super) kind: Made,
    /// The arguments with the directory and the path of what gets the name, where that is something that is there.
    pub(super) from: Option<(Option<usize>, usize)>,
}

/// What gets the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// A new file, or the one that a link leads to.
    File,
    /// An empty directory.
    Directory,
    /// Something that is there, with all that it holds.
    Moved,
    /// A file that is there, under one more name.
    Linked,
    /// A symbolic link, or a special file.
    Other,
}

const fn at(directory: usize, path: usize, kind: Made) -> NameArguments {
    NameArguments { directory: Some(directory), path, kind, from: None }
}

/// A call with two names. What is there comes first.
const fn again_at(kind: Made) -> NameArguments {
    NameArguments { directory: Some(2), path: 3, kind, from: Some((Some(0), 1)) }
}

#[cfg(target_arch = "x86_64")]
const fn plain(path: usize, kind: Made) -> NameArguments {
    NameArguments { directory: None, path, kind, from: None }
}

#[cfg(target_arch = "x86_64")]
const fn again(kind: Made) -> NameArguments {
    NameArguments { directory: None, path: 1, kind, from: Some((None, 0)) }
}

/// Calls that make names, each whatever its other arguments are. `openat2` has its flags in memory.
#[cfg(target_arch = "x86_64")]
pub(super) const MAKING: [(libc::c_long, NameArguments); 13] = [
    (libc::SYS_openat2, at(0, 1, Made::File)),
    (libc::SYS_renameat, again_at(Made::Moved)),
    (libc::SYS_renameat2, again_at(Made::Moved)),
    (libc::SYS_linkat, again_at(Made::Linked)),
    (libc::SYS_symlinkat, at(1, 2, Made::Other)),
    (libc::SYS_mkdirat, at(0, 1, Made::Directory)),
    (libc::SYS_mknodat, at(0, 1, Made::Other)),
    (libc::SYS_creat, plain(0, Made::File)),
    (libc::SYS_rename, again(Made::Moved)),
    (libc::SYS_link, again(Made::Linked)),
    (libc::SYS_symlink, plain(1, Made::Other)),
    (libc::SYS_mkdir, plain(0, Made::Directory)),
    (libc::SYS_mknod, plain(0, Made::Other)),
];
/// The same where older calls do not exist.
#[cfg(not(target_arch = "x86_64"))]
pub(super) const MAKING: [(libc::c_long, NameArguments); 7] = [
    (libc::SYS_openat2, at(0, 1, Made::File)),
    (libc::SYS_renameat, again_at(Made::Moved)),
    (libc::SYS_renameat2, again_at(Made::Moved)),
    (libc::SYS_linkat, again_at(Made::Linked)),
    (libc::SYS_symlinkat, at(1, 2, Made::Other)),
    (libc::SYS_mkdirat, at(0, 1, Made::Directory)),
    (libc::SYS_mknodat, at(0, 1, Made::Other)),
];

/// Calls that make a name if their flags, the argument of this number, say so.
#[cfg(target_arch = "x86_64")]
const OPENING: [(libc::c_long, u32); 2] = [(libc::SYS_openat, 2), (libc::SYS_open, 1)];
#[cfg(not(target_arch = "x86_64"))]
const OPENING: [(libc::c_long, u32); 1] = [(libc::SYS_openat, 2)];

/// Where a held call has its path; none for `execve` and `execveat`.
pub(super) fn making(call: libc::c_long) -> Option<NameArguments> {
    #[cfg(target_arch = "x86_64")]
    if call == libc::SYS_open {
        return Some(plain(0, Made::File));
    }
    if call == libc::SYS_openat {
        return Some(at(0, 1, Made::File));
    }
    MAKING.iter().find(|(held, _)| *held == call).map(|(_, arguments)| *arguments)
}

fn digest(programs: &[BpfProgram]) -> String {
    let mut hash = Sha256::new();
    for program in programs {
        hash.update(program.len().to_le_bytes());
        for step in program {
            hash.update(step.code.to_le_bytes());
            hash.update([step.jt, step.jf]);
            hash.update(step.k.to_le_bytes());
        }
    }
    let hexadecimal: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hexadecimal}")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::*;

    fn rows(machine: &Machine) -> Vec<(String, Value)> {
        let filters: BTreeMap<String, Value> = serde_json::from_str(machine.rules).unwrap();
        let of = |(name, filter): (String, Value)| {
            filter["filter"].as_array().unwrap().iter().map(|row| (name.clone(), row.clone())).collect::<Vec<_>>()
        };
        filters.into_iter().flat_map(of).collect()
    }

    #[test]
    fn every_file_holds_every_filter_and_nothing_else() {
        let expected: BTreeSet<&str> = FILTERS.iter().map(|(name, _)| *name).collect();
        for machine in &MACHINES {
            let compiled = compile(machine).unwrap();
            assert_eq!(compiled.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{}", machine.name);
        }
    }

    #[test]
    fn every_row_gives_its_reason() {
        for machine in &MACHINES {
            for (filter, row) in rows(machine) {
                assert!(row["comment"].as_str().is_some_and(|reason| reason.contains(' ')), "{filter}: {row}");
            }
        }
    }

    /// Of two filters with different errors the kernel takes the answer of the one installed last: not to be relied on.
    #[test]
    fn a_call_is_in_one_filter_only_or_has_one_error() {
        for machine in &MACHINES {
            let mut seen = BTreeMap::new();
            // What is only pretended is of one descriptor, and of no request that is refused.
            for (_, row) in rows(machine).iter().filter(|(filter, _)| filter == PRETENDED) {
                assert_eq!((&row["args"][0]["index"], &row["args"][0]["val"]), (&0.into(), &255.into()), "{row}");
                let request = &row["args"][1];
                assert!(!rows(machine).iter().any(|(_, other)| &other["args"][0] == request), "{row}");
            }
            for (filter, row) in rows(machine).into_iter().filter(|(filter, _)| filter != PRETENDED) {
                let call = row["syscall"].as_str().unwrap().to_owned();
                let first = seen.entry(call.clone()).or_insert_with(|| filter.clone());
                let together = FILTERS.iter().filter(|(name, _)| *name == first.as_str() || *name == filter);
                let together: Vec<_> = together.collect();
                let shared = |kind: &Isolation| together.iter().all(|(_, kinds)| kinds.contains(kind));
                let errors: BTreeMap<String, Value> = serde_json::from_str(machine.rules).unwrap();
                let error = |filter: &str| &errors[filter]["match_action"]["errno"];
                let apart = error(first) == error(&filter)
                    || ![Isolation::Own, Isolation::Proxied, Isolation::Apart, Isolation::Among].iter().any(shared);
                assert!(*first == filter || apart, "{call}: {first} and {filter}");
            }
        }
    }

    /// Registers are 64 bits wide; the kernel looks at the low half of the arguments that we judge.
    #[test]
    fn arguments_are_compared_by_their_low_half() {
        for machine in &MACHINES {
            for (_, row) in rows(machine) {
                for argument in row["args"].as_array().into_iter().flatten() {
                    assert_eq!(argument["type"], "dword", "{row}");
                }
            }
        }
    }

    #[test]
    fn architectures_differ_by_what_only_one_has() {
        let x86_only = ["iopl", "ioperm", "modify_ldt", "uselib", "chmod", "creat", "mknod", "open", "inotify_init"];
        let [x86_64, aarch64] = &MACHINES;
        let shared: Vec<_> =
            rows(x86_64).into_iter().filter(|(_, row)| !x86_only.contains(&row["syscall"].as_str().unwrap())).collect();
        assert_eq!(shared, rows(aarch64));
    }

    #[test]
    fn namespaces_lift_the_filters_that_they_replace() {
        let of = |namespaces, proxied, loopback, at_terminal| {
            filters(Shape { kind: Isolation::of(namespaces, proxied, loopback), at_terminal, strict: false }).unwrap()
        };
        let fenced = of(Namespaces::Root, false, false, false);
        let shared = of(Namespaces::None, false, false, false);
        assert_eq!((fenced.plain.programs.len(), shared.plain.programs.len()), (6, 8));
        assert_eq!((fenced.guarded.programs.len(), shared.guarded.programs.len()), (5, 8));
        assert_eq!(of(Namespaces::Root, false, false, true).plain.programs.len(), 5);
        assert_ne!(fenced.plain.digest, shared.plain.digest);
        assert_eq!(fenced.plain.digest, of(Namespaces::User, false, false, false).plain.digest);
        let proxied = of(Namespaces::User, true, false, false);
        assert_ne!(fenced.plain.digest, proxied.plain.digest);
        let own = of(Namespaces::User, true, true, false);
        assert!(
            own.plain.digest != proxied.plain.digest
                && own.plain.digest == of(Namespaces::Root, false, true, false).plain.digest
        );
        assert_eq!(
            shared.plain.digest,
            of(Namespaces::None, true, true, false).plain.digest,
            "sockets of the machine's own network"
        );
    }

    #[test]
    fn strict_goes_without_what_tells_of_files_elsewhere() {
        let of = |strict| filters(Shape { kind: Isolation::Apart, at_terminal: false, strict }).unwrap();
        for (strict, usual) in [(&of(true).plain, &of(false).plain), (&of(true).guarded, &of(false).guarded)] {
            assert_eq!(strict.programs.len(), usual.programs.len() + 2);
            assert_ne!(strict.digest, usual.digest);
        }
    }
}
