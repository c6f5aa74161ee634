//! The system calls of a process that is a copy of a server's, as safe functions.
//!
//! Between `clone` and `execve` nothing may be allocated and no lock taken (`enforce.rs`), so that most of the standard library is
//! out of reach. Each function here is one call, or a few, and passes the kernel pointers only to its own locals or to what its
//! caller lends it. None allocates but [`ExecStrings::of`], which is for the time before.
//!
//! Nothing is decided here.
#![expect(unsafe_code, reason = "only raw system calls are safe in a copy of a process with threads")]

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_uint, c_void};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::process::Pid;
use seccompiler::BpfProgram;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(super) type Done = Result<(), Errno>;
pub(super) type Errno = c_int;

/// Texts as `execve` takes them: pointers to C strings, with a null pointer at the end.
pub(super) struct ExecStrings<'a> {
    pointers: Vec<*const c_char>,
    texts: PhantomData<&'a [CString]>,
}

impl<'a> ExecStrings<'a> {
    pub(super) fn of(texts: &'a [CString]) -> Self {
        let pointers = texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, texts: PhantomData }
    }
}

/// A filter as `seccomp` takes it.
pub(super) struct Filter<'a> {
    kernels: libc::sock_fprog,
    program: PhantomData<&'a BpfProgram>,
}

impl<'a> Filter<'a> {
    pub(super) fn of(program: &'a BpfProgram) -> io::Result<Self> {
        let len = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
        // The two types are the same struct of `linux/filter.h`, and the kernel only reads.
        let filter = program.as_ptr().cast::<libc::sock_filter>().cast_mut();
        Ok(Self { kernels: libc::sock_fprog { len, filter }, program: PhantomData })
    }
}

// Processes

/// `linux/sched.h`; beyond what the C library's `clone` takes.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A copy of this process, in this control group if any: in the parent its number and descriptor, in the child nothing.
pub(super) fn clone_process(flags: c_int, group: Option<BorrowedFd<'_>>) -> Result<Option<(Pid, OwnedFd)>, Errno> {
    let mut pidfd: c_int = -1;
    // SAFETY: without CLONE_VM the child runs in a copy of this memory and on a copy of this stack, and by the rule at the top
    // of this file does nothing but system calls there. The kernel writes one `c_int` where it is told to: behind the third argument,
    // or where `pidfd` of the structure points, of which it reads as many bytes as it is told.
    let made = unsafe {
        match group {
            None => {
                let flags = word(flags | libc::CLONE_PIDFD | libc::SIGCHLD);
                call(libc::SYS_clone, [flags, 0, ptr::from_mut(&mut pidfd).addr(), 0, 0])
            }
            // Made there, it need not move there, which the whole machine would have to wait for.
            Some(group) => {
                let mut terms: libc::clone_args = std::mem::zeroed();
                terms.flags = u64::from((flags | libc::CLONE_PIDFD).cast_unsigned()) | CLONE_INTO_CGROUP;
                terms.pidfd = ptr::from_mut(&mut pidfd).addr() as u64;
                terms.exit_signal = libc::SIGCHLD as u64;
                terms.cgroup = group.as_raw_fd() as u64;
                call(libc::SYS_clone3, [ptr::from_ref(&terms).addr(), size_of_val(&terms), 0, 0, 0])
            }
        }
    };
    match made? {
        0 => Ok(None),
        pid => {
            // SAFETY: the kernel has just made this descriptor for us, so nothing else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(c_int::try_from(pid).ok().and_then(Pid::from_raw).map(|pid| (pid, pidfd)))
        }
    }
}

/// Runs `act` in a new process that works in this one's memory until it executes something, ends, or has done it; this one rests
/// meanwhile, and gets its number.
///
/// `act` keeps to what may be done in a copy of a process with threads.
pub(super) fn clone_in_place<F: Fn()>(act: &F) -> Result<c_int, Errno> {
    extern "C" fn begin<F: Fn()>(act: *mut c_void) -> c_int {
        // SAFETY: a pointer to the `act` of below, which stays where it is while that function rests.
        let act = unsafe { &*act.cast::<F>() };
        act();
        exit(0)
    }
    let mut stack = Stack([0; STACK]);
    let top = stack.0.as_mut_ptr_range().end.cast();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the new process has a stack of its own, aligned and of ample size, and this one does not go on, so that stack and
    // argument outlive its use of them. The C library's function takes no lock and allocates nothing.
    let pid = unsafe { libc::clone(begin::<F>, top, flags, ptr::from_ref(act).cast_mut().cast()) };
    // SAFETY: as in `call`.
    if pid > 0 { Ok(pid) } else { Err(unsafe { *libc::__errno_location() }) }
}

/// Aligned as every convention wants it.
#[repr(align(16))]
struct Stack([u8; STACK]);

/// In bytes; the steps call few functions, with small frames.
const STACK: usize = 64 << 10;

/// Returns only to say why it could not.
pub(super) fn replace_program(path: &CStr, argv: &ExecStrings<'_>, env: &ExecStrings<'_>) -> Done {
    let [argv, env] = [argv, env].map(|words| words.pointers.as_ptr().addr());
    // SAFETY: the path is a C string, the others arrays of C strings with a null pointer at the end.
    unsafe { call(libc::SYS_execve, [path.as_ptr().addr(), argv, env, 0, 0]) }.map(drop)
}

pub(super) fn enter(directory: &CStr) -> Done {
    // SAFETY: the path is a C string.
    unsafe { call(libc::SYS_chdir, [directory.as_ptr().addr(), 0, 0, 0, 0]) }.map(drop)
}

/// Makes a terminal that of this process's session, which it leads.
pub(super) fn control_terminal(descriptor: RawFd) -> Done {
    /// The C libraries do not agree on the type.
    const TIOCSCTTY: usize = libc::TIOCSCTTY as usize;
    // SAFETY: TIOCSCTTY takes a number, not a pointer.
    unsafe { call(libc::SYS_ioctl, [word(descriptor), TIOCSCTTY, 0, 0, 0]) }.map(drop)
}

/// Gives up the terminal that controls this process's session, of which it is the leader: it can control another then (tty_ioctl(4),
/// TIOCNOTTY). The kernel sends SIGHUP for that.
pub fn leave_terminal(descriptor: RawFd) -> Done {
    const TIOCNOTTY: usize = libc::TIOCNOTTY as usize;
    // SAFETY: TIOCNOTTY takes nothing.
    unsafe { call(libc::SYS_ioctl, [word(descriptor), TIOCNOTTY, 0, 0, 0]) }.map(drop)
}

/// Has no signal reach this thread that can be kept from it, or all of them again.
pub fn block_signals(blocked: bool) -> Done {
    set_signal_mask(if blocked { u64::MAX } else { 0 })
}

pub(super) fn own_number() -> c_int {
    // SAFETY: no arguments, no memory.
    unsafe { call(libc::SYS_getpid, [0; 5]) }.ok().and_then(|pid| c_int::try_from(pid).ok()).unwrap_or(0)
}

pub(super) fn parent_number() -> c_int {
    // SAFETY: no arguments, no memory.
    unsafe { call(libc::SYS_getppid, [0; 5]) }.ok().and_then(|pid| c_int::try_from(pid).ok()).unwrap_or(0)
}

pub(super) fn exit(status: c_int) -> ! {
    loop {
        // SAFETY: no memory; ends the process without running anything of the C library's.
        let _ = unsafe { call(libc::SYS_exit_group, [word(status), 0, 0, 0, 0]) };
    }
}

/// The number and status of a child that has ended, number 0 where none has.
pub(super) fn next_ended_child() -> Result<(c_int, c_int), Errno> {
    let mut status: c_int = 0;
    let options = word(libc::WNOHANG | libc::__WALL);
    // SAFETY: the kernel writes one `c_int`.
    let pid = unsafe { call(libc::SYS_wait4, [word(-1), ptr::from_mut(&mut status).addr(), options, 0, 0]) }?;
    Ok((c_int::try_from(pid).map_err(|_| libc::ERANGE)?, status))
}

pub(super) fn setsid() -> Done {
    // SAFETY: no arguments, no memory.
    unsafe { call(libc::SYS_setsid, [0; 5]) }.map(drop)
}

pub(super) fn kill(pid: c_int, signal: c_int) -> Done {
    // SAFETY: no memory.
    unsafe { call(libc::SYS_kill, [word(pid), word(signal), 0, 0, 0]) }.map(drop)
}

/// A descriptor of a process.
pub(super) fn open_process(pid: c_int) -> Result<RawFd, Errno> {
    // SAFETY: no memory.
    let descriptor = unsafe { call(libc::SYS_pidfd_open, [word(pid), 0, 0, 0, 0]) }?;
    c_int::try_from(descriptor).map_err(|_| libc::EBADF)
}

pub(super) fn kill_opened(process: RawFd) -> Done {
    // SAFETY: without details of the signal, no memory.
    unsafe { call(libc::SYS_pidfd_send_signal, [word(process), word(libc::SIGKILL), 0, 0, 0]) }.map(drop)
}

// Filters and rules

/// Puts a filter on this process, for good. The descriptor means something only where a listener is asked for; it closes at `execve`.
pub(super) fn install_filter(filter: &Filter<'_>, flags: u32) -> Result<RawFd, Errno> {
    let filter = ptr::from_ref(&filter.kernels).addr();
    // SAFETY: the filter points to as many instructions as it says, which it borrows.
    let listener =
        unsafe { call(libc::SYS_seccomp, [word(libc::SECCOMP_SET_MODE_FILTER), word(flags), filter, 0, 0]) }?;
    c_int::try_from(listener).map_err(|_| libc::EBADF)
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
pub(super) const NEW_LISTENER: u32 = 1 << 3;

/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`: a caller whose question was taken up waits for the answer, whatever signals come but one
/// that kills it (Linux 5.19).
pub(super) const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// The version of the kernel's Landlock; 0 where it has none.
pub(super) fn landlock_version() -> u32 {
    const VERSION: usize = 1; // LANDLOCK_CREATE_RULESET_VERSION
    // SAFETY: with that flag the kernel wants a null pointer and a length of zero, and makes nothing.
    let version = unsafe { call(libc::SYS_landlock_create_ruleset, [0, 0, VERSION, 0, 0]) };
    version.ok().and_then(|version| u32::try_from(version).ok()).unwrap_or(0)
}

/// Whether the kernel knows filters, and this answer of theirs.
pub(super) fn filter_can_answer(action: u32) -> bool {
    let arguments = [word(libc::SECCOMP_GET_ACTION_AVAIL), 0, ptr::from_ref(&action).addr(), 0, 0];
    // SAFETY: the kernel reads one `u32` behind the pointer, which outlives the call.
    unsafe { call(libc::SYS_seccomp, arguments) }.is_ok()
}

pub(super) fn restrict_self(ruleset: RawFd) -> Done {
    // SAFETY: a descriptor and flags; no memory.
    unsafe { call(libc::SYS_landlock_restrict_self, [word(ruleset), 0, 0, 0, 0]) }.map(drop)
}

/// A rule about what has this path now; none for what is not there.
pub(super) fn add_rule(ruleset: RawFd, path: &CStr, access: u64) -> Done {
    let place = match open_place(path) {
        Ok(place) => place,
        Err(libc::ENOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    add_rule_at(ruleset, place, access)?;
    close(place);
    Ok(())
}

/// A rule about this place, whatever path leads to it.
pub(super) fn add_rule_at(ruleset: RawFd, place: RawFd, access: u64) -> Done {
    const PATH_BENEATH: usize = 1;
    let rule = PathBeneath { access, parent: place };
    // SAFETY: for a rule of this kind the kernel reads one such struct.
    unsafe { call(libc::SYS_landlock_add_rule, [word(ruleset), PATH_BENEATH, ptr::from_ref(&rule).addr(), 0, 0]) }?;
    Ok(())
}

/// The kernel's `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    access: u64,
    parent: RawFd,
}

// The network

pub(super) fn stream_socket() -> Result<RawFd, Errno> {
    let kind = word(libc::SOCK_STREAM | libc::SOCK_CLOEXEC);
    // SAFETY: no memory.
    let socket = unsafe { call(libc::SYS_socket, [word(libc::AF_INET), kind, 0, 0, 0]) }?;
    c_int::try_from(socket).map_err(|_| libc::EBADF)
}

pub(super) fn listen_on_loopback(socket: RawFd, port: u16, waiting: usize) -> Done {
    // SAFETY: zero is a value of each field.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_port = port.to_be();
    address.sin_addr.s_addr = u32::from(std::net::Ipv4Addr::LOCALHOST).to_be();
    let size = size_of_val(&address);
    // SAFETY: the kernel reads one address of the size given.
    unsafe { call(libc::SYS_bind, [word(socket), ptr::from_ref(&address).addr(), size, 0, 0]) }?;
    // SAFETY: no memory.
    unsafe { call(libc::SYS_listen, [word(socket), waiting, 0, 0, 0]) }.map(drop)
}

pub(super) fn switch_on_loopback(socket: RawFd) -> Done {
    /// `struct ifreq` of netdevice(7).
    #[repr(C)]
    struct InterfaceRequest {
        name: [u8; libc::IFNAMSIZ],
        flags: libc::c_short,
        rest: [u8; 22],
    }
    let mut name = [0; libc::IFNAMSIZ];
    for (place, byte) in name.iter_mut().zip(b"lo") {
        *place = *byte;
    }
    let request = InterfaceRequest { name, flags: libc::IFF_UP as libc::c_short, rest: [0; 22] };
    let ioctl = libc::SIOCSIFFLAGS as usize;
    // SAFETY: the kernel reads one such request.
    unsafe { call(libc::SYS_ioctl, [word(socket), ioctl, ptr::from_ref(&request).addr(), 0, 0]) }.map(drop)
}

/// Sends one descriptor over a unix socket, with the byte that must go with it (unix(7)).
pub(super) fn send_descriptor(socket: RawFd, descriptor: RawFd) -> Done {
    /// `struct cmsghdr` with one descriptor, and what aligns it.
    #[repr(C)]
    struct Control {
        length: usize,
        level: c_int,
        kind: c_int,
        descriptor: c_int,
        padding: c_int,
    }
    let length = size_of::<Control>() - size_of::<c_int>();
    let mut control = Control { length, level: libc::SOL_SOCKET, kind: libc::SCM_RIGHTS, descriptor, padding: 0 };
    let mut byte = [0_u8];
    let mut bytes = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: byte.len() };
    // SAFETY: zero is a value of each field, and there are platforms with private ones.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = ptr::from_mut(&mut bytes);
    message.msg_iovlen = 1;
    message.msg_control = ptr::from_mut(&mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    // SAFETY: the message points to one byte and one control record, which outlive the call.
    unsafe { call(libc::SYS_sendmsg, [word(socket), ptr::from_ref(&message).addr(), 0, 0, 0]) }.map(drop)
}

/// Connects a socket to an address of a kind that it knows (connect(2)).
pub(super) fn connect(socket: RawFd, address: &[u8]) -> Done {
    // SAFETY: the kernel reads as many bytes as are there.
    unsafe { call(libc::SYS_connect, [word(socket), address.as_ptr().addr(), address.len(), 0, 0]) }.map(drop)
}

// Mounts and files

/// No mount of this namespace's is seen in another, nor the other way round.
pub(super) fn keep_mounts_private() -> Done {
    // SAFETY: the kernel reads two C strings; null pointers stand for what this change of propagation does not have.
    unsafe { call(libc::SYS_mount, [0, c"/".as_ptr().addr(), 0, (libc::MS_REC | libc::MS_PRIVATE) as usize, 0]) }
        .map(drop)
}

/// A descriptor that only stands for a place; the path leads there without any symbolic link.
pub(super) fn open_place(path: &CStr) -> Result<RawFd, Errno> {
    // The kernel's `struct open_how`: flags, mode, resolve.
    let flags = u64::from((libc::O_PATH | libc::O_CLOEXEC).unsigned_abs());
    let how = [flags, 0, libc::RESOLVE_NO_SYMLINKS];
    let arguments = [word(libc::AT_FDCWD), path.as_ptr().addr(), how.as_ptr().addr(), size_of_val(&how), 0];
    // SAFETY: the kernel reads a C string, and as much of the struct as the size says.
    let place = unsafe { call(libc::SYS_openat2, arguments) }?;
    c_int::try_from(place).map_err(|_| libc::EBADF)
}

/// Takes away what is mounted at a path last. Programs that have opened a file there keep it.
pub(super) fn detach(path: &CStr) -> Done {
    let flags = (libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW).unsigned_abs();
    // SAFETY: the kernel reads a C string.
    unsafe { call(libc::SYS_umount2, [path.as_ptr().addr(), flags as usize, 0, 0, 0]) }.map(drop)
}

/// A copy of what is mounted at a place, from there downwards, that is attached nowhere; with the mounts below it or without.
pub(super) fn copy_mount(place: RawFd, below: bool) -> Result<RawFd, Errno> {
    let below = if below { libc::AT_RECURSIVE.unsigned_abs() } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH.unsigned_abs() | below;
    // SAFETY: the kernel reads an empty C string.
    let copy = unsafe { call(libc::SYS_open_tree, [word(place), c"".as_ptr().addr(), flags as usize, 0, 0]) }?;
    c_int::try_from(copy).map_err(|_| libc::EBADF)
}

/// Sets flags of a mount and of those below it.
pub(super) fn restrict_mount(mount: RawFd, set: u64) -> Done {
    // The kernel's `struct mount_attr`: set, clear, propagation, user namespace.
    let attributes = [set, 0, 0, 0];
    let flags = (libc::AT_EMPTY_PATH | libc::AT_RECURSIVE).unsigned_abs() as usize;
    let [attributes, size] = [attributes.as_ptr().addr(), size_of_val(&attributes)];
    // SAFETY: the kernel reads an empty C string, and as much of the struct as the size says.
    unsafe { call(libc::SYS_mount_setattr, [word(mount), c"".as_ptr().addr(), flags, attributes, size]) }.map(drop)
}

/// Whether something is mounted on exactly this place (statx(2), Linux 5.8).
pub(super) fn is_mounted_on(place: RawFd) -> Result<bool, Errno> {
    // `struct statx`: 256 bytes, of which the second eight are attributes.
    let mut about = [0_u64; 32];
    let flags = word(libc::AT_EMPTY_PATH);
    let arguments = [word(place), c"".as_ptr().addr(), flags, 0, about.as_mut_ptr().addr()];
    // SAFETY: the kernel reads an empty C string and writes one `statx`, which is as long as the array.
    unsafe { call(libc::SYS_statx, arguments) }?;
    let [_, attributes, ..] = about;
    Ok(attributes & MOUNT_ROOT != 0)
}

/// `STATX_ATTR_MOUNT_ROOT` of `linux/stat.h`.
const MOUNT_ROOT: u64 = 0x2000;

/// Enters a namespace of this kind, by its descriptor.
pub(super) fn enter_namespace(descriptor: RawFd, kind: c_int) -> Done {
    // SAFETY: no memory.
    unsafe { call(libc::SYS_setns, [word(descriptor), word(kind), 0, 0, 0]) }.map(drop)
}

/// Puts a copy of a mount on a place, and closes the descriptor of that.
pub(super) fn attach(copy: RawFd, place: RawFd) -> Done {
    let flags = (libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH) as usize;
    let empty = c"".as_ptr().addr();
    // SAFETY: the kernel reads two empty C strings.
    unsafe { call(libc::SYS_move_mount, [word(copy), empty, word(place), empty, flags]) }?;
    close(place);
    Ok(())
}

pub(super) fn mount(kind: &CStr, place: &CStr, flags: libc::c_ulong, options: &CStr) -> Done {
    let [kind, place, options] = [kind, place, options].map(|text| text.as_ptr().addr());
    // SAFETY: the kernel reads four C strings.
    unsafe { call(libc::SYS_mount, [kind, place, kind, flags as usize, options]) }.map(drop)
}

/// One that is there already will do.
pub(super) fn make_directory(path: &CStr, mode: usize) -> Done {
    // SAFETY: the path is a C string.
    match unsafe { call(libc::SYS_mkdirat, [word(libc::AT_FDCWD), path.as_ptr().addr(), mode, 0, 0]) } {
        Ok(_) | Err(libc::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

pub(super) fn make_link(target: &CStr, path: &CStr) -> Done {
    let words = [target.as_ptr().addr(), word(libc::AT_FDCWD), path.as_ptr().addr(), 0, 0];
    // SAFETY: both are C strings.
    unsafe { call(libc::SYS_symlinkat, words) }.map(drop)
}

pub(super) fn create(path: &CStr, mode: usize) -> Result<RawFd, Errno> {
    let flags = word(libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC);
    // SAFETY: the path is a C string.
    let file = unsafe { call(libc::SYS_openat, [word(libc::AT_FDCWD), path.as_ptr().addr(), flags, mode, 0]) }?;
    c_int::try_from(file).map_err(|_| libc::EBADF)
}

/// Opens a file of a directory for its place alone, unless it is a link.
pub(super) fn open_in(directory: RawFd, name: &CStr) -> Result<RawFd, Errno> {
    let flags = word(libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC);
    // SAFETY: the kernel reads a C string.
    let file = unsafe { call(libc::SYS_openat, [word(directory), name.as_ptr().addr(), flags, 0, 0]) }?;
    c_int::try_from(file).map_err(|_| libc::EBADF)
}

pub(super) fn is_directory(place: RawFd) -> Result<bool, Errno> {
    Ok(about(place)?.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// The device and the number of what is open.
pub(super) fn identity(place: RawFd) -> Result<(u64, u64), Errno> {
    about(place).map(|about| (about.st_dev, about.st_ino))
}

fn about(place: RawFd) -> Result<libc::stat, Errno> {
    // SAFETY: all zeroes are a valid `stat`, which is numbers alone.
    let mut about: libc::stat = unsafe { std::mem::zeroed() };
    let flags = word(libc::AT_EMPTY_PATH);
    let arguments = [word(place), c"".as_ptr().addr(), ptr::from_mut(&mut about).addr(), flags, 0];
    // SAFETY: the kernel reads an empty C string and writes one `stat`.
    unsafe { call(libc::SYS_newfstatat, arguments) }?;
    Ok(about)
}

/// Leaves nothing open for writing: what is mounted there could not be made read-only.
pub(super) fn write_file(path: &CStr, text: &[u8]) -> Done {
    let file = open(path, word(libc::O_WRONLY | libc::O_CLOEXEC))?;
    let written = write(file, text);
    close(file);
    written
}

/// For reading; the descriptor is closed at `execve`.
pub(super) fn open_to_read(path: &CStr) -> Result<RawFd, Errno> {
    open(path, word(libc::O_RDONLY | libc::O_CLOEXEC))
}

fn open(path: &CStr, flags: usize) -> Result<RawFd, Errno> {
    // SAFETY: the path is a C string.
    let file = unsafe { call(libc::SYS_openat, [word(libc::AT_FDCWD), path.as_ptr().addr(), flags, 0, 0]) }?;
    c_int::try_from(file).map_err(|_| libc::EBADF)
}

/// How many bytes were read; 0 at the end.
pub(super) fn read(descriptor: RawFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: pointer and length are one slice's.
    unsafe { call(libc::SYS_read, [word(descriptor), buffer.as_mut_ptr().addr(), buffer.len(), 0, 0]) }
}

/// How many bytes of directory entries (`struct linux_dirent64`) were read; 0 at the end.
pub(super) fn read_directory(descriptor: RawFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: pointer and length are one slice's, and the kernel writes its records byte by byte.
    unsafe { call(libc::SYS_getdents64, [word(descriptor), buffer.as_mut_ptr().addr(), buffer.len(), 0, 0]) }
}

/// Writes all of the few bytes at once, or fails.
pub(super) fn write(descriptor: RawFd, bytes: &[u8]) -> Done {
    // SAFETY: pointer and length are one slice's.
    let written = unsafe { call(libc::SYS_write, [word(descriptor), bytes.as_ptr().addr(), bytes.len(), 0, 0]) }?;
    if written == bytes.len() { Ok(()) } else { Err(libc::EIO) }
}

// Capabilities, signals, limits, time

pub(super) fn prctl(option: c_int, value: u64) -> Done {
    prctl_value(option, value).map(drop)
}

pub(super) fn prctl_value(option: c_int, value: u64) -> Result<usize, Errno> {
    let value = usize::try_from(value).map_err(|_| libc::EINVAL)?;
    // SAFETY: the options of this file take numbers, not pointers; the unused arguments must be zero.
    unsafe { call(libc::SYS_prctl, [word(option), value, 0, 0, 0]) }
}

pub(super) fn is_readable(descriptor: RawFd) -> Result<bool, Errno> {
    wait_for([descriptor], Some(0)).map(|[readable]| readable)
}

/// Which of the descriptors can be read, or have been hung up on: waits until one is, for at most so many milliseconds.
pub(super) fn wait_for<const N: usize>(descriptors: [RawFd; N], milliseconds: Option<u16>) -> Result<[bool; N], Errno> {
    let mut polls = descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    let patience = milliseconds.map(|milliseconds| libc::timespec {
        tv_sec: libc::time_t::from(milliseconds / 1000),
        tv_nsec: i64::from(milliseconds % 1000) * 1_000_000,
    });
    let patience = patience.as_ref().map_or(0, |patience| ptr::from_ref(patience).addr());
    // SAFETY: as many `pollfd` as the second argument says, and a time or a null pointer; all outlive the call.
    unsafe { call(libc::SYS_ppoll, [polls.as_mut_ptr().addr(), N, patience, 0, 0]) }?;
    Ok(polls.map(|poll| poll.revents != 0))
}

#[derive(Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Capabilities {
    pub(super) effective: u32,
    permitted: u32,
    inheritable: u32,
    /// The same three for capabilities 32 and up.
    upper: [u32; 3],
}

pub(super) const CAP_SETPCAP: u32 = 8;

/// `_LINUX_CAPABILITY_VERSION_3`, and 0 for this process.
const CAPABILITY_HEADER: [u32; 2] = [0x2008_0522, 0];

pub(super) fn capabilities() -> Result<Capabilities, Errno> {
    let mut header = CAPABILITY_HEADER;
    let mut sets = Capabilities::default();
    let arguments = [header.as_mut_ptr().addr(), ptr::from_mut(&mut sets).addr(), 0, 0, 0];
    // SAFETY: of this version the kernel writes two structs of three `u32`, which is what `Capabilities` is, and maybe the header.
    unsafe { call(libc::SYS_capget, arguments) }?;
    Ok(sets)
}

pub(super) fn set_no_capabilities() -> Done {
    let mut header = CAPABILITY_HEADER;
    let none = Capabilities::default();
    let arguments = [header.as_mut_ptr().addr(), ptr::from_ref(&none).addr(), 0, 0, 0];
    // SAFETY: as in `capabilities`, the kernel reading.
    unsafe { call(libc::SYS_capset, arguments) }.map(drop)
}

pub(super) const LAST_SIGNAL: c_int = 64;

/// Size in bytes of the kernel's set of signals.
const SIGNAL_SET: usize = size_of::<u64>();

pub(super) fn set_default_action(signal: c_int) -> Done {
    // The kernel's `struct sigaction`: handler, flags, restorer and mask, where zero means SIG_DFL and nothing special.
    let action = [0_u64; 4];
    let arguments = [word(signal), action.as_ptr().addr(), 0, SIGNAL_SET, 0];
    // SAFETY: the kernel reads one struct, no longer than the array.
    unsafe { call(libc::SYS_rt_sigaction, arguments) }.map(drop)
}

pub(super) fn set_signal_mask(mask: u64) -> Done {
    let arguments = [word(libc::SIG_SETMASK), ptr::from_ref(&mask).addr(), 0, SIGNAL_SET, 0];
    // SAFETY: the kernel reads one set of the size given.
    unsafe { call(libc::SYS_rt_sigprocmask, arguments) }.map(drop)
}

/// A descriptor, closed at `execve`, from which the signals that this process has blocked are read, without waiting.
pub(super) fn signal_descriptor() -> Result<RawFd, Errno> {
    let all = u64::MAX;
    let flags = word(libc::SFD_NONBLOCK | libc::SFD_CLOEXEC);
    // SAFETY: the kernel reads one set of the size given.
    let descriptor =
        unsafe { call(libc::SYS_signalfd4, [word(-1), ptr::from_ref(&all).addr(), SIGNAL_SET, flags, 0]) }?;
    c_int::try_from(descriptor).map_err(|_| libc::EBADF)
}

/// Milliseconds since some moment of the machine's; the clock never goes back.
pub(super) fn milliseconds() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let arguments = [word(libc::CLOCK_MONOTONIC), ptr::from_mut(&mut now).addr(), 0, 0, 0];
    // SAFETY: the kernel writes one `timespec`. It does not fail for this clock.
    let _ = unsafe { call(libc::SYS_clock_gettime, arguments) };
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

pub(super) fn close_range(first: c_uint, last: c_uint, flags: c_uint) -> Done {
    // SAFETY: no memory. Descriptors of this process alone, of which nothing that owns one runs on.
    unsafe { call(libc::SYS_close_range, [word(first), word(last), word(flags), 0, 0]) }.map(drop)
}

pub(super) fn close(descriptor: RawFd) {
    let number = descriptor.unsigned_abs();
    let _ = close_range(number, number, 0);
}

pub(super) fn duplicate(from: RawFd, to: RawFd) -> Done {
    // SAFETY: as in `close_range`.
    unsafe { call(libc::SYS_dup3, [word(from), word(to), 0, 0, 0]) }.map(drop)
}

pub(super) fn set_limit(resource: c_uint, value: u64, highest: u64) -> Done {
    let limit = libc::rlimit64 { rlim_cur: value, rlim_max: highest };
    // SAFETY: the kernel reads one limit, and writes none behind the null pointer.
    unsafe { call(libc::SYS_prlimit64, [0, word(resource), ptr::from_ref(&limit).addr(), 0, 0]) }.map(drop)
}

pub(super) fn umask(mask: usize) -> Result<usize, Errno> {
    // SAFETY: no memory.
    unsafe { call(libc::SYS_umask, [mask, 0, 0, 0, 0]) }
}

// For the server

/// A descriptor that tokio watches until it is readable. Needs a runtime with I/O.
pub(super) fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor goes into the watch and nobody can close it before.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}

/// One system call. Safe between `clone` and `execve`: it takes no lock and allocates nothing.
///
/// # Safety
///
/// The arguments are what this call takes, and its pointers are good for it.
unsafe fn call(number: c_long, [a, b, c, d, e]: [usize; 5]) -> Result<usize, Errno> {
    // SAFETY: the caller's promise; a sixth argument, where a call has one, is zero.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, 0_usize) };
    // SAFETY: the C library's `errno` of this thread, which always exists; a child has its copy.
    usize::try_from(answer).map_err(|_| unsafe { *libc::__errno_location() })
}

/// A number as a register holds it, its sign kept.
fn word<N: Into<i64>>(number: N) -> usize {
    let signed: i64 = number.into();
    signed as usize
}
