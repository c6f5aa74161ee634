//! The words of a program in another process's memory: of one that asks to be executed, and of one that stands at its first
//! instruction.
#![expect(unsafe_code, reason = "another process's memory and its registers have no safe interface")]

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::ptr;

use super::execution::{MAX_WORDS, number};

/// The memory of a thread that waits.
pub(super) struct Memory(pub(super) i32);

/// What an `execve` names, as it lies in its caller's memory.
pub(super) struct ExecveArguments {
    /// The file.
    pub(super) path: Vec<u8>,
    /// The arguments.
    pub(super) argv: Vec<Vec<u8>>,
    /// The environment's entries.
    pub(super) env: Vec<Vec<u8>>,
}

/// Words, as bytes.
type Texts = Vec<Vec<u8>>;

/// Bytes that are read of a text at first: most words are shorter.
const MOST: usize = 128;

/// Bytes that are read of a list of places at first: most lists are shorter.
const MOST_PLACES: usize = 512;

/// Pages of a new program's stack that are read: more than most programs' words take.
const STACK_PAGES: usize = 6;

/// No system of those that we run on has smaller ones.
const PAGE: u64 = 4096;

/// A place, in bytes.
const PLACE: usize = size_of::<u64>();

impl Memory {
    /// What is at these three places, with as few questions to the kernel as it takes: two, unless something is long.
    ///
    /// # Errors
    /// The error that the kernel has for such a call: `EFAULT`, `E2BIG`, `ENAMETOOLONG`.
    pub(super) fn told(&self, path: u64, argv: u64, env: u64) -> Result<ExecveArguments, c_int> {
        let places = [(path, MOST), (argv, MOST_PLACES), (env, MOST_PLACES)];
        let mut bytes = places.map(|(at, most)| vec![0; to_page_end(at).min(most)]);
        let mut parts: Vec<(u64, &mut [u8])> =
            places.iter().map(|(at, _)| *at).zip(bytes.iter_mut().map(Vec::as_mut_slice)).collect();
        let total: usize = parts.iter().map(|(_, part)| part.len()).sum();
        // One of them may be a null pointer, or nowhere: then each is asked for by itself, and has its own error.
        let whole = self.read(&mut parts) == Ok(total);
        let [name, first_of_argv, first_of_env] = &bytes;
        let name = name.iter().position(|byte| *byte == 0 && whole).and_then(|end| name.get(..end));
        let path = match name {
            Some(name) => name.to_vec(),
            None => self.text(path, libc::PATH_MAX.unsigned_abs() as usize)?,
        };
        let listed = |first: &[u8], at| match until_null(first).filter(|_| whole) {
            Some(places) => Ok(places),
            None => self.pointers(at),
        };
        let (argv, env) = (listed(first_of_argv, argv)?, listed(first_of_env, env)?);
        let mut texts = self.texts_at(&[argv.as_slice(), env.as_slice()].concat())?;
        let env = texts.split_off(argv.len());
        Ok(ExecveArguments { path, argv: texts, env })
    }

    /// The arguments and the environment of a program that has run nothing yet, from its stack: how many there are, their places and
    /// a null, those of the environment and a null, and above it all the texts (System V ABI, "Process Initialization"; `create_elf_tables`
    /// in `fs/binfmt_elf.c`). None if that is not what is there, or not in the first pages.
    pub(super) fn begun(&self) -> Option<(Texts, Texts)> {
        let stack = stack_of(self.0)?;
        let mut bytes = vec![0; to_page_end(stack) + (STACK_PAGES - 1) * PAGE as usize];
        let read = {
            let (first, rest) = bytes.split_at_mut(to_page_end(stack));
            let pages = (1..).map(|page| (stack & !(PAGE - 1)).saturating_add(page * PAGE));
            let rest = pages.zip(rest.chunks_mut(PAGE as usize));
            self.read(&mut std::iter::once((stack, first)).chain(rest).collect::<Vec<_>>()).ok()?
        };
        let bytes = bytes.get(..read)?;
        let count = usize::try_from(u64::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
        let argv = until_null(bytes.get(PLACE..)?).filter(|argv| argv.len() == count)?;
        let env = until_null(bytes.get(PLACE * (count + 2)..)?)?;
        let text = |at: &u64| {
            let rest = bytes.get(usize::try_from(at.checked_sub(stack)?).ok()?..)?;
            rest.get(..rest.iter().position(|byte| *byte == 0)?).map(<[u8]>::to_vec)
        };
        let texts = |places: &[u64]| places.iter().map(text).collect::<Option<Vec<_>>>();
        Some((texts(&argv)?, texts(&env)?))
    }

    /// The texts at these places.
    fn texts_at(&self, places: &[u64]) -> Result<Vec<Vec<u8>>, c_int> {
        let mut texts = Vec::with_capacity(places.len());
        let mut total = 0;
        for some in places.chunks(MOST_AT_ONCE) {
            for (place, beginning) in some.iter().zip(self.beginnings(some)?) {
                let text = match beginning.iter().position(|byte| *byte == 0) {
                    Some(end) => beginning.get(..end).unwrap_or_default().to_vec(),
                    None => self.text(*place, MAX_WORDS)?,
                };
                total += text.len() + 1;
                if total > MAX_WORDS {
                    return Err(libc::E2BIG);
                }
                texts.push(text);
            }
        }
        Ok(texts)
    }

    /// The places in a list that a null ends; none for a null pointer.
    fn pointers(&self, array: u64) -> Result<Vec<u64>, c_int> {
        let mut pointers = Vec::new();
        if array == 0 {
            return Ok(pointers);
        }
        let mut at = array;
        loop {
            // Not beyond the page: what follows may not be there.
            let mut bytes = vec![0; to_page_end(at).max(PLACE)];
            let read = self.read(&mut [(at, &mut bytes)])?;
            for pointer in bytes.get(..read).unwrap_or_default().chunks_exact(PLACE) {
                match <[u8; 8]>::try_from(pointer).map(u64::from_ne_bytes) {
                    Ok(0) => return Ok(pointers),
                    Ok(pointer) => pointers.push(pointer),
                    Err(_) => return Err(libc::EFAULT),
                }
                at = at.checked_add(PLACE as u64).ok_or(libc::EFAULT)?;
            }
            if read < PLACE {
                return Err(libc::EFAULT);
            }
            if pointers.len() > MAX_WORDS / PLACE {
                return Err(libc::E2BIG);
            }
        }
    }

    /// How the texts at these places begin, read at once.
    fn beginnings(&self, places: &[u64]) -> Result<Vec<Vec<u8>>, c_int> {
        let mut texts: Vec<Vec<u8>> = places.iter().map(|at| vec![0xFF; to_page_end(*at).min(MOST)]).collect();
        let total: usize = texts.iter().map(Vec::len).sum();
        let mut parts: Vec<(u64, &mut [u8])> =
            places.iter().copied().zip(texts.iter_mut().map(Vec::as_mut_slice)).collect();
        if self.read(&mut parts)? < total {
            return Err(libc::EFAULT);
        }
        Ok(texts)
    }

    /// The text at a place, which ends with a NUL byte.
    pub(super) fn text(&self, at: u64, limit: usize) -> Result<Vec<u8>, c_int> {
        let mut text = Vec::new();
        let mut place = at;
        while text.len() <= limit {
            let mut bytes = vec![0; to_page_end(place)];
            let read = self.read(&mut [(place, &mut bytes)])?;
            let bytes = bytes.get(..read).unwrap_or_default();
            if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
                text.extend_from_slice(bytes.get(..end).unwrap_or_default());
                return Ok(text);
            }
            if read == 0 {
                return Err(libc::EFAULT);
            }
            text.extend_from_slice(bytes);
            place = place.checked_add(read as u64).ok_or(libc::EFAULT)?;
        }
        Err(libc::ENAMETOOLONG)
    }

    /// Reads from several places at once; how many bytes there were, up to the first place that cannot be read.
    /// Exactly so many bytes.
    ///
    /// # Errors
    /// `EFAULT`: they are not all there.
    pub(super) fn bytes(&self, at: u64, count: usize) -> Result<Vec<u8>, c_int> {
        let mut bytes = vec![0; count];
        match self.read(&mut [(at, &mut bytes)])? {
            read if read == count => Ok(bytes),
            _ => Err(libc::EFAULT),
        }
    }

    fn read(&self, parts: &mut [(u64, &mut [u8])]) -> Result<usize, c_int> {
        let iovec = |base: *mut c_void, len: usize| libc::iovec { iov_base: base, iov_len: len };
        let here: Vec<_> = parts.iter_mut().map(|(_, into)| iovec(into.as_mut_ptr().cast(), into.len())).collect();
        let there: Vec<_> = parts
            .iter()
            .map(|(at, into)| iovec(ptr::without_provenance_mut(usize::try_from(*at).unwrap_or(0)), into.len()))
            .collect();
        let count = libc::c_ulong::try_from(here.len()).map_err(|_| libc::EINVAL)?;
        // SAFETY: the first list points into slices that are ours alone and as long as it says; the addresses of the second are
        // the other process's, and the kernel checks them.
        let read = unsafe { libc::process_vm_readv(self.0, here.as_ptr(), count, there.as_ptr(), count, 0) };
        match usize::try_from(read).map_err(|_| errno()) {
            // Containers' own filters often refuse the call and not what it is for. The kernel's checks are the same here.
            Err(libc::EPERM | libc::ENOSYS) => self.read_by_file(parts),
            answer => answer,
        }
    }

    /// The same, by way of `/proc`.
    fn read_by_file(&self, parts: &mut [(u64, &mut [u8])]) -> Result<usize, c_int> {
        let memory = File::open(format!("/proc/{}/mem", self.0)).map_err(number)?;
        let mut total = 0;
        for (at, into) in parts {
            match memory.read_at(into, *at) {
                Ok(read) => {
                    total += read;
                    if read < into.len() {
                        break;
                    }
                }
                Err(_) if total > 0 => break,
                // In a file, what is mapped nowhere is EIO, and what no program can have is EINVAL.
                Err(error) => {
                    let errno = number(error);
                    return Err(if matches!(errno, libc::EIO | libc::EINVAL) { libc::EFAULT } else { errno });
                }
            }
        }
        Ok(total)
    }
}

/// Places that the kernel reads from at once (`UIO_MAXIOV`).
const MOST_AT_ONCE: usize = 1024;

fn to_page_end(at: u64) -> usize {
    (PAGE - at % PAGE) as usize
}

/// The places at the beginning of these bytes, up to a null; none if there is no null.
fn until_null(bytes: &[u8]) -> Option<Vec<u64>> {
    let mut places = Vec::new();
    for place in bytes.chunks_exact(PLACE) {
        match u64::from_ne_bytes(place.try_into().ok()?) {
            0 => return Some(places),
            place => places.push(place),
        }
    }
    None
}

/// Where the stack of a process is that this thread traces, and that stands still. None of a program whose places have 32 bits.
fn stack_of(process: i32) -> Option<u64> {
    let mut registers = MaybeUninit::<libc::user_regs_struct>::zeroed();
    let size = size_of::<libc::user_regs_struct>();
    let mut into = libc::iovec { iov_base: registers.as_mut_ptr().cast(), iov_len: size };
    let kind = ptr::without_provenance_mut::<c_void>(libc::NT_PRSTATUS as usize);
    // SAFETY: the kernel writes no more bytes than `into` says that there are, and how many it wrote.
    let answer = unsafe { libc::ptrace(libc::PTRACE_GETREGSET, process, kind, &raw mut into) };
    if answer != 0 || into.iov_len != size {
        return None;
    }
    // SAFETY: numbers only, of which any bytes make some.
    let registers = unsafe { registers.assume_init() };
    #[cfg(target_arch = "x86_64")]
    return Some(registers.rsp);
    #[cfg(target_arch = "aarch64")]
    return Some(registers.sp);
}

fn errno() -> c_int {
    number(io::Error::last_os_error())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_alike_by_call_and_by_file() {
        let memory = Memory(std::process::id().cast_signed());
        let text = *b"some words\0";
        let at = text.as_ptr().addr() as u64;
        type Reading = fn(&Memory, &mut [(u64, &mut [u8])]) -> Result<usize, c_int>;
        for places in [vec![at], vec![at, at + 5], vec![at, 16], vec![16], vec![16, at], vec![u64::MAX - 4]] {
            let read = |by: Reading| {
                let mut bytes = vec![[0; 4]; places.len()];
                let mut parts: Vec<(u64, &mut [u8])> =
                    places.iter().copied().zip(bytes.iter_mut().map(<[u8; 4]>::as_mut_slice)).collect();
                let answer = by(&memory, &mut parts);
                (answer, bytes)
            };
            assert_eq!(read(Memory::read), read(Memory::read_by_file), "{places:?}");
        }
    }

    /// What stands on the stack of a program that has run nothing is what `/proc` says of it.
    #[test]
    fn a_fresh_stack_is_read_as_proc_tells_it() {
        use std::os::unix::process::{CommandExt, ExitStatusExt};
        use std::process::Command;

        use super::super::execution::words;

        let many: Vec<(String, String)> = (0..200).map(|n| (format!("NAME_{n}"), "v".repeat(n % 40))).collect();
        let page = "p".repeat(2 * PAGE as usize);
        let long = "l".repeat(STACK_PAGES * PAGE as usize);
        let none: &[(String, String)] = &[];
        type Row<'a> = (&'a [&'a str], &'a [(String, String)], bool);
        let rows: [Row<'_>; 6] = [
            (&[], none, true),
            (&["", "", "x"], none, true),
            (&["-c", "\u{e9}\n", "= "], many.get(..3).unwrap_or_default(), true),
            (&["a"], &many, true),
            (&[&page], many.get(..40).unwrap_or_default(), true),
            (&[&long], none, false),
        ];
        for (arguments, environment, near) in rows {
            let mut command = Command::new("/usr/bin/true");
            command.args(arguments).env_clear().envs(environment.iter().cloned());
            // SAFETY: one system call, between fork and exec. It makes the new program stop before its first instruction.
            unsafe {
                command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                })
            };
            let mut child = command.spawn().unwrap();
            let process = child.id().cast_signed();
            let mut status = 0;
            // SAFETY: the kernel writes one `c_int`.
            assert_eq!(unsafe { libc::waitpid(process, &raw mut status, 0) }, process);
            assert!(libc::WIFSTOPPED(status), "{status:x}");
            let told = (words(process, "cmdline").unwrap(), words(process, "environ").unwrap());
            let begun = Memory(process).begun();
            child.kill().unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
            assert_eq!(begun, near.then_some(told), "{} arguments", arguments.len());
        }
    }
}
