//! A second shell at the other end, in which nothing of the agent's ever runs: it sends signals, says where the first one stands and
//! what names mean there. It also outlives us: once its input ends, because the connection is gone or this process was killed, it ends
//! what it was told to hold.
//!
//! It runs as the same user, whom nothing holds there: a command that sets out to stop or to fool it can. It then answers nothing
//! more, and the session is given up.

use std::time::Duration;

use palisade_engine::AbsolutePath;
use palisade_sandbox::ProcessStat;
use tokio::sync::{mpsc, oneshot};

use super::scan::{Found, ReportScanner};
use crate::facts::remote_view::ResolvedPath;
use crate::shell::frame::Streams;
use crate::shell::{Language, Nonce, SessionError};
use crate::target::TargetError;
use crate::transport::wire::{Piece, Wire};

/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Bytes of one answer.
const MAX_ANSWER: usize = 1 << 20;

/// Questions that wait at most.
const QUESTIONS: usize = 16;

/// How long what was killed may take to be gone. A process ends when it is scheduled, which takes a while on a busy machine.
const GONE: Duration = Duration::from_secs(5);

/// How often what is to be killed is looked for at once. Behind that there is a pause before each look.
const ROUNDS: u32 = 8;

/// The first of these pauses. Each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(5);

/// What it is told once, in which the rest of this file finds its words.
const IN_BASH: &str = include_str!("control_shell.bash");
const IN_SH: &str = include_str!("control_shell.sh");

/// What it is told besides whenever it is asked for what waits: few ever ask.
const WAITS_IN_BASH: &str = include_str!("waits.bash");
const WAITS_IN_SH: &str = include_str!("waits.sh");

/// Asks it. Cheap to copy.
#[derive(Clone, Debug)]
pub(crate) struct ControlShell {
    questions: mpsc::Sender<PendingQuery>,
    language: Language,
}

/// Which processes of a session are meant: those that started at this tick of the clock there, or later.
#[derive(Clone, Debug)]
pub(crate) struct Since(String);

impl Since {
    /// All of them.
    pub(crate) fn ever() -> Self {
        Self("0".to_owned())
    }
}

/// A moment here, in the ticks in which Linux counts the starts of processes everywhere (`USER_HZ`, 100 a second; proc(5), /proc/PID/stat,
/// field 22).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn now() -> Self {
        Self(ProcessStat::now())
    }

    /// Rounded up.
    fn elapsed(self) -> u64 {
        ProcessStat::now().saturating_sub(self.0).saturating_add(1)
    }
}

/// A line for the control shell, and where its answer goes.
#[derive(Debug)]
struct PendingQuery {
    line: String,
    answer: oneshot::Sender<Vec<u8>>,
}

impl ControlShell {
    /// Takes over a shell that has just been started.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) async fn start(mut wire: Wire, language: Language) -> Result<Self, SessionError> {
        let nonce = Nonce::new()?;
        super::answers::boot(&mut wire, language.boot(&nonce), &nonce).await?;
        // Nobody waits for the other half: it would be a packet of its own with each answer.
        if !wire.send(language.one_report()) {
            return Err(TargetError::Closed.into());
        }
        let (questions, asked) = mpsc::channel(QUESTIONS);
        tokio::spawn(serve(wire, asked, language));
        let scout = Self { questions, language };
        // Programs of the system alone: what it tells must not depend on what somebody has put into a directory.
        let words = match language {
            Language::Bash => IN_BASH,
            Language::Sh => IN_SH,
        };
        match scout.tell(words.to_owned()).await.as_deref() {
            Some(b"ready") => Ok(scout),
            Some(b"lacks") => Err(TargetError::PoorShell { why: "`grep` and `readlink` are needed with it" }.into()),
            _ => Err(SessionError::NotReady),
        }
    }

    /// Has it end this shell and all that it starts, once nobody tells it anything any more.
    pub(crate) async fn hold(&self, shell: &str, mark: &str) -> Option<()> {
        self.ask("hold", &[shell, mark]).await.map(drop)
    }

    /// Of this one nothing is left.
    pub(crate) async fn let_go(&self, shell: &str) {
        let _gone = self.ask("let_go", &[shell]).await;
    }

    /// Ends all that it holds, now.
    pub(crate) async fn end_all(&self) {
        let _gone = self.ask("end_all", &[]).await;
    }

    /// Ctrl-C, for the shell and what it waits for.
    pub(crate) async fn interrupt(&self, shell: &str) -> Option<()> {
        self.ask("interrupt", &[shell]).await.map(drop)
    }

    /// What started then or later. However long the answer takes, nothing that did is left out: what is not meant may be, if it started less than
    /// that long before.
    pub(crate) async fn since(&self, then: Moment) -> Option<Since> {
        let now = String::from_utf8(self.ask("now", &[]).await?).ok()?;
        let now: u64 = now.parse().ok()?;
        Some(Since(now.saturating_sub(then.elapsed()).to_string()))
    }

    /// A signal for everything that the session runs, but its shell.
    pub(crate) async fn signal(&self, shell: &str, mark: &str, signal: i32, since: &Since) -> Option<()> {
        self.ask("signal", &[shell, mark, &signal.to_string(), &since.0]).await.map(drop)
    }

    /// Kills everything that the session runs, but its shell; none if something is left.
    pub(crate) async fn kill_rest(&self, shell: &str, mark: &str, since: &Since) -> Option<()> {
        let begun = tokio::time::Instant::now();
        let mut rounds = 0_u32;
        while self.ask("kill_rest", &[shell, mark, &since.0]).await? != b"0" {
            if begun.elapsed() >= GONE {
                return None;
            }
            if let Some(paused) = rounds.checked_sub(ROUNDS) {
                tokio::time::sleep(PAUSE * 2_u32.saturating_pow(paused).min(32)).await;
            }
            rounds += 1;
        }
        Some(())
    }

    /// Kills the shell.
    pub(crate) async fn kill_shell(&self, shell: &str) {
        let _gone = self.ask("kill_shell", &[shell]).await;
    }

    /// Whether the shell, or anything that the session runs, waits for the shell's input; none if that cannot be told.
    pub(crate) async fn waits(&self, shell: &str, mark: &str) -> Option<bool> {
        let words = match self.language {
            Language::Bash => WAITS_IN_BASH,
            Language::Sh => WAITS_IN_SH,
        };
        let line = self.line("waits", &[shell, mark]);
        match self.tell(format!("{words}\n{line}")).await?.as_slice() {
            b"1" => Some(true),
            b"0" => Some(false),
            _ => None,
        }
    }

    /// Where the shell stands, as the kernel there has it.
    pub(crate) async fn cwd(&self, shell: &str) -> Option<AbsolutePath> {
        let path = String::from_utf8(self.ask("cwd", &[shell]).await?).ok()?;
        AbsolutePath::new(path.strip_suffix('\n')?).filter(|path| !path.as_str().starts_with("/proc/"))
    }

    /// What these paths mean, in their order; none for one that cannot be told.
    pub(crate) async fn look(&self, paths: &[String]) -> Option<Vec<Option<ResolvedPath>>> {
        let words: Vec<&str> = paths.iter().map(String::as_str).collect();
        let answer = self.ask("look", &words).await?;
        let mut fields = answer.split(|byte| *byte == 0);
        let places: Vec<Option<ResolvedPath>> = paths.iter().map(|_| place(fields.next(), fields.next())).collect();
        // One NUL behind each answer, and nothing behind the last.
        (fields.next() == Some(&[]) && fields.next().is_none()).then_some(places)
    }

    async fn ask(&self, what: &str, words: &[&str]) -> Option<Vec<u8>> {
        self.tell(self.line(what, words)).await
    }

    fn line(&self, what: &str, words: &[&str]) -> String {
        let prefix = match self.language {
            Language::Bash => "/palisade/",
            Language::Sh => "palisade_",
        };
        let words: String = words.iter().map(|word| format!(" {}", self.language.quoted(word))).collect();
        format!("{prefix}{what}{words}")
    }

    async fn tell(&self, line: String) -> Option<Vec<u8>> {
        let (answer, answered) = oneshot::channel();
        self.questions.send(PendingQuery { line, answer }).await.ok()?;
        tokio::time::timeout(ANSWER, answered).await.ok()?.ok()
    }
}

fn place(path: Option<&[u8]>, kind: Option<&[u8]>) -> Option<ResolvedPath> {
    let path = std::str::from_utf8(path?).ok().filter(|path| path.starts_with('/'))?;
    // What lies there is something else for every process.
    let path =
        AbsolutePath::new(path).filter(|path| path.as_str() != "/proc" && !path.as_str().starts_with("/proc/"))?;
    let (exists, enters) = match kind? {
        b"d" => (true, true),
        b"f" => (true, false),
        b"n" => (false, false),
        _ => return None,
    };
    Some(ResolvedPath { path, exists, enters })
}

/// One question after the other, as long as somebody may ask and it answers.
async fn serve(mut wire: Wire, mut asked: mpsc::Receiver<PendingQuery>, language: Language) {
    while let Some(PendingQuery { line, answer }) = asked.recv().await {
        let Some(told) = tokio::time::timeout(ANSWER, told(&mut wire, &line, language)).await.ok().flatten() else {
            return;
        };
        // Who asked may have gone.
        let _ = answer.send(told);
    }
}

async fn told(wire: &mut Wire, line: &str, language: Language) -> Option<Vec<u8>> {
    let nonce = Nonce::new().ok()?;
    // Its own standard output is the null device, as any shell's of ours.
    let script = format!("{{ {line}\n}}");
    let lines = language.command(script.as_bytes(), None, Streams::Kept, &nonce);
    let mut scan = ReportScanner::new(nonce, true);
    if !wire.send(lines) {
        return None;
    }
    let mut answer = Vec::new();
    loop {
        let Piece::Out(bytes) = (match wire.next().await? {
            Piece::Err(_) => continue,
            piece => piece,
        }) else {
            return None;
        };
        for found in scan.push(&bytes) {
            match found {
                Found::Bytes(bytes) if answer.len() + bytes.len() <= MAX_ANSWER => answer.extend(bytes),
                Found::Bytes(_) | Found::Forged => return None,
                Found::Report(..) => return Some(answer),
            }
        }
    }
}
