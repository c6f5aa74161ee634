//! Every `execve` of a session is asked about before the new program's first instruction.
//!
//! ```text
//! execve ─▶ seccomp filter holds the caller ─▶ its words are read ─▶ Judge::may ─ no ─▶ EACCES
//!                                                                        │ yes
//!                     detached, runs ◀─ the same? Judge::may ◀─ the image that came ◀─ ptrace around the call
//! ```
//!
//! The words that the filter shows lie in memory which another thread of the caller can change while they are judged. So the
//! caller is let go on under ptrace, which stops it in its new image with nothing of it run: what stands there was copied by
//! the kernel and nobody can change it any more. If it is not what was judged, it is judged, and killed on a no. No process
//! stays traced.
//!
//! One thread per session does all this, for the kernel ties a traced process to the thread that traces it. When that thread
//! ends, however that comes, the filter answers every later `execve` with an error, and a process in the middle of one dies.
//!
//! Not decided here: what may be executed ([`Judge`], in `runner/src/guard/`).
#![expect(unsafe_code, reason = "the filter's requests, another process's memory and ptrace have no safe interface")]

use std::ffi::{OsString, c_int, c_uint, c_void};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::ptr;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::SandboxError;
use super::execution::{Execution, has_no_name, interpreter, is_deleted, link, number, open_as, open_link, place_of};
use super::memory::{Memory, Told};

/// Decides what may be executed. Lives on the session's guard thread.
pub trait Judge: Send + fmt::Debug {
    /// The session's own program is about to run, in this process.
    fn launched(&mut self, process: i32);

    /// Whether the last of these steps may be taken, a script before its interpreter. Asked for each step, and once more if
    /// something else came of them.
    fn may(&mut self, steps: &[Execution]) -> bool;

    /// It was executed: these are the steps. False if what comes of it cannot be followed; then it is killed.
    fn became(&mut self, steps: &[Execution]) -> bool;

    /// It was not executed, for this reason, which is no policy's.
    fn refused(&mut self, execution: &Execution, reason: &'static str);
}

/// Interpreters of interpreters that the kernel follows (`fs/exec.c`).
const MAX_INTERPRETERS: usize = 5;

/// Takes the listener that a new process sends, and answers for everything that the session executes, on a thread that ends with
/// it. A process that came to its end before sends none.
///
/// # Errors
///
/// The listener cannot be received, no thread can be made, or the kernel's requests are longer than known.
pub(super) fn stand(post: &UnixStream, judge: Box<dyn Judge>) -> Result<(), SandboxError> {
    let failed = |source| SandboxError::Server { what: "guard a session", source };
    match receive(post).map_err(failed)? {
        Some(listener) => watch(listener, judge).map_err(failed),
        None => Ok(()),
    }
}

/// The descriptor that a new process has sent; none where it has ended without.
pub(super) fn receive(post: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(post, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut listeners = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(listeners.next())
}

fn watch(listener: OwnedFd, judge: Box<dyn Judge>) -> io::Result<()> {
    demand_known_sizes()?;
    let guard = Guard { listener, judge };
    std::thread::Builder::new().name("palisade-guard".to_owned()).spawn(move || guard.live()).map(drop)
}

struct Guard {
    listener: OwnedFd,
    judge: Box<dyn Judge>,
}

impl Guard {
    /// The first `execve` is the session's own program, which nobody else's hand is in.
    fn live(mut self) {
        if let Some(launch) = self.next() {
            self.judge.launched(launch.thread);
            let _ = self.answer(launch.id, GO_ON);
        }
        while let Some(call) = self.next() {
            self.decide(&call);
        }
    }

    /// The next request; none once nothing of the session is left.
    fn next(&self) -> Option<Call> {
        loop {
            let mut polled = [PollFd::new(&self.listener, PollFlags::IN)];
            match poll(&mut polled, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => return None,
            }
            if !polled.iter().any(|polled| polled.revents().contains(PollFlags::IN)) {
                return None;
            }
            match receive_call(&self.listener) {
                Ok(call) => return Some(call),
                // The caller was killed meanwhile.
                Err(libc::ENOENT | libc::EINTR) => {}
                Err(_) => return None,
            }
        }
    }

    fn decide(&mut self, call: &Call) {
        let steps = match self.steps(call) {
            Ok(steps) => steps,
            Err(errno) => {
                let _ = self.answer(call.id, -errno);
                return;
            }
        };
        // What was read is the caller's only if it still waits: else its number may be another's by now.
        if !is_waiting(&self.listener, call.id) {
            return;
        }
        let may = (1..=steps.len()).all(|taken| steps.get(..taken).is_some_and(|steps| self.judge.may(steps)));
        if !may {
            let _ = self.answer(call.id, -libc::EACCES);
            return;
        }
        if let Err(errno) = trace(libc::PTRACE_SEIZE, call.thread, TRACE_OPTIONS) {
            // One that is being killed is none that anybody refuses something.
            if errno != libc::ESRCH {
                self.refuse_unseen(&steps);
            }
            let _ = self.answer(call.id, -libc::EACCES);
            return;
        }
        // A caller that was killed meanwhile ends, and that is what the wait sees.
        let _ = self.answer(call.id, GO_ON);
        let _ = trace(libc::PTRACE_INTERRUPT, call.thread, 0);
        match next_stop(call.thread) {
            Stop::Executed(process) => self.verify(process, steps),
            Stop::Returned(thread) => detach(thread),
            Stop::Gone => {}
        }
    }

    /// Looks at what stands in the process, which has run nothing of it.
    fn verify(&mut self, process: i32, mut steps: Vec<Execution>) {
        let image = Execution::of(process);
        let same = |image: &Execution| {
            steps.last().is_some_and(|judged| {
                (&judged.file, &judged.argv, &judged.env, &judged.cwd)
                    == (&image.file, &image.argv, &image.env, &image.cwd)
            })
        };
        let may = match image {
            Ok(image) if same(&image) => true,
            // Somebody else's words, a kind of file that has an interpreter of its own, or a file that was exchanged.
            Ok(image) if self.may_be(&image) => {
                steps = vec![image];
                true
            }
            Ok(_) => false,
            Err(_) => {
                self.refuse_unseen(&steps);
                false
            }
        };
        for step in &mut steps {
            step.thread = process;
        }
        if may && self.judge.became(&steps) {
            detach(process);
        } else {
            kill(process);
            // It is ours until its end is seen; the parent sees it as well.
            while !matches!(next_stop(process), Stop::Gone) {}
        }
    }

    fn may_be(&mut self, execution: &Execution) -> bool {
        if has_no_name(&execution.file) {
            self.judge.refused(execution, NAMELESS);
            return false;
        }
        self.judge.may(std::slice::from_ref(execution))
    }

    fn refuse_unseen(&mut self, steps: &[Execution]) {
        if let Some(step) = steps.first() {
            self.judge
                .refused(step, "What is executed cannot be watched: the caller is traced already, or hides itself.");
        }
    }

    /// What the call would execute: the file, and if that is a script, its interpreters.
    fn steps(&mut self, call: &Call) -> Result<Vec<Execution>, c_int> {
        let (execution, mut file) = call.read()?;
        let mut steps = vec![execution];
        for _ in 0..=MAX_INTERPRETERS {
            let Some(step) = steps.last() else { return Err(libc::EACCES) };
            if has_no_name(&step.file) {
                self.judge.refused(step, NAMELESS);
                return Err(libc::EACCES);
            }
            let Some(interpreter) = interpreter(&file) else { return Ok(steps) };
            let (next, found) = step.interpreted(interpreter)?;
            steps.push(next);
            file = found;
        }
        Err(libc::ELOOP)
    }

    fn answer(&self, id: u64, answer: c_int) -> Result<(), c_int> {
        let (error, flags) = if answer == GO_ON { (0, CONTINUE) } else { (answer, 0) };
        let mut response = Response { id, value: 0, error, flags };
        control(&self.listener, SEND, ptr::from_mut(&mut response).cast())
    }
}

const NAMELESS: &str = "A program without a file name cannot be judged.";

/// To [`Guard::answer`], where errors are negative: let the kernel go on with the call.
const GO_ON: c_int = 0;

/// One `execve` that the filter holds.
struct Call {
    id: u64,
    thread: i32,
    /// The descriptor that the path is relative to, or the working directory's.
    base: c_int,
    path: u64,
    argv: u64,
    env: u64,
    flags: c_int,
}

impl Call {
    /// What it is about, with the file, opened by name alone.
    fn read(&self) -> Result<(Execution, OwnedFd), c_int> {
        let Told { path, mut argv, env } = Memory(self.thread).told(self.path, self.argv, self.env)?;
        let path = PathBuf::from(OsString::from_vec(path));
        let cwd = link(self.thread, "cwd").filter(|cwd| cwd.is_absolute() && !is_deleted(cwd));
        let (named, file) = self.find(&path, cwd.as_deref())?;
        if argv.is_empty() {
            argv.push(Vec::new()); // as the kernel does since Linux 5.18
        }
        let execution = Execution { thread: self.thread, named, file: place_of(&file)?, argv, env, cwd };
        Ok((execution, file))
    }

    /// The file that the kernel would execute, found in the caller's own view.
    fn find(&self, path: &Path, cwd: Option<&Path>) -> Result<(PathBuf, OwnedFd), c_int> {
        let follow = self.flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        if path.as_os_str().is_empty() {
            if self.flags & libc::AT_EMPTY_PATH == 0 || self.base < 0 {
                return Err(libc::ENOENT);
            }
            let file = open_link(&format!("/proc/{}/fd/{}", self.thread, self.base))?;
            return Ok((place_of(&file)?, file));
        }
        let base = match (path.is_absolute(), self.base) {
            (true, _) => PathBuf::new(),
            (false, libc::AT_FDCWD) => cwd.ok_or(libc::ENOENT)?.to_owned(),
            (false, base) => place_of(&open_link(&format!("/proc/{}/fd/{base}", self.thread))?)?,
        };
        let named = base.join(path);
        let file = open_as(self.thread, &named, follow)?;
        Ok((named, file))
    }
}

/// Whether the kernel lets this process trace others at all: a container's filter may not.
pub(super) fn may_trace() -> bool {
    // This process is traced by nobody it could be detached from, which is what the kernel says if it gets that far.
    trace(libc::PTRACE_DETACH, std::process::id().cast_signed(), 0) == Err(libc::ESRCH)
}

/// What a process that is traced does next.
enum Stop {
    /// It stands in the image of a new program.
    Executed(i32),
    /// Its call has come back.
    Returned(i32),
    /// It has ended.
    Gone,
}

/// Waits for the one process that this thread traces. A thread that is not the first of its process takes that one's number
/// when it executes a program.
fn next_stop(thread: i32) -> Stop {
    loop {
        let mut status: c_int = 0;
        // SAFETY: the kernel writes one `c_int`. Without the last flag it would take statuses that other threads wait for.
        let process = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
        if process < 0 {
            match errno() {
                libc::EINTR => continue,
                _ => return Stop::Gone,
            }
        }
        if !libc::WIFSTOPPED(status) {
            if process == thread {
                return Stop::Gone;
            }
            continue;
        }
        match status >> 16 {
            libc::PTRACE_EVENT_EXEC => return Stop::Executed(process),
            libc::PTRACE_EVENT_STOP => return Stop::Returned(process),
            // A signal on its way.
            _ => {
                let _ = trace(libc::PTRACE_CONT, process, libc::WSTOPSIG(status));
            }
        }
    }
}

/// Stopped where it executes a program, and killed should this thread end meanwhile.
const TRACE_OPTIONS: c_int = libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_EXITKILL;

fn trace(request: c_uint, thread: i32, data: c_int) -> Result<(), c_int> {
    // SAFETY: none of the requests of this file takes a pointer.
    match unsafe { libc::ptrace(request, thread, ptr::null_mut::<c_void>(), data as usize as *mut c_void) } {
        0.. => Ok(()),
        _ => Err(errno()),
    }
}

fn detach(thread: i32) {
    let _ = trace(libc::PTRACE_DETACH, thread, 0);
}

/// A process that we trace, so that the number is still its own.
fn kill(process: i32) {
    // SAFETY: no memory.
    unsafe { libc::kill(process, libc::SIGKILL) };
}

/// `struct seccomp_notif` of `linux/seccomp.h`.
#[repr(C)]
#[derive(Default)]
struct Request {
    id: u64,
    pid: u32,
    flags: u32,
    number: c_int,
    convention: u32,
    instruction: u64,
    arguments: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

// As `linux/seccomp.h` composes them: the size of what is passed, the letter `!` and a number.
const RECEIVE: u64 = 0xC050_2100;
const SEND: u64 = 0xC018_2101;
const IS_WAITING: u64 = 0x4008_2102;
/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`.
const CONTINUE: u32 = 1;

/// The numbers above hold the sizes: a kernel whose structs were longer would write beyond them.
fn demand_known_sizes() -> io::Result<()> {
    let mut sizes = [0_u16; 3];
    let operation = libc::SECCOMP_GET_NOTIF_SIZES;
    // SAFETY: the kernel writes one `struct seccomp_notif_sizes`, which is three 16-bit numbers.
    if unsafe { libc::syscall(libc::SYS_seccomp, operation, 0, sizes.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let known = [size_of::<Request>(), size_of::<Response>()];
    let fits = sizes.iter().zip(known).all(|(kernel, ours)| usize::from(*kernel) <= ours);
    if fits { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

fn receive_call(listener: &OwnedFd) -> Result<Call, c_int> {
    let mut request = Request::default(); // the kernel wants it empty
    control(listener, RECEIVE, ptr::from_mut(&mut request).cast())?;
    let [a, b, c, d, e, _] = request.arguments;
    let thread = i32::try_from(request.pid).map_err(|_| libc::ESRCH)?;
    // Registers hold 64 bits of which the kernel takes the lower half of a descriptor.
    let low = |register: u64| register as u32 as c_int;
    Ok(if i64::from(request.number) == libc::SYS_execveat {
        Call { id: request.id, thread, base: low(a), path: b, argv: c, env: d, flags: low(e) }
    } else {
        Call { id: request.id, thread, base: libc::AT_FDCWD, path: a, argv: b, env: c, flags: 0 }
    })
}

fn is_waiting(listener: &OwnedFd, mut id: u64) -> bool {
    control(listener, IS_WAITING, ptr::from_mut(&mut id).cast()).is_ok()
}

fn control(listener: &OwnedFd, request: u64, data: *mut c_void) -> Result<(), c_int> {
    // SAFETY: every caller passes a struct of the size that is part of the request's number.
    match unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), request as _, data) } {
        0.. => Ok(()),
        _ => Err(errno()),
    }
}

fn errno() -> c_int {
    number(io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_lets_processes_be_traced() {
        assert!(may_trace());
    }
}
