//! A second shell at the other end, in which nothing of the agent's ever runs: it sends signals, says where the first one stands and
//! what names mean there. It also outlives us: once its input ends, because the connection is gone or this process was killed, it ends
//! what it was told to hold.
//!
//! It runs as the same user, whom nothing holds there: a command that sets out to stop or to fool it can. It then answers nothing
//! more, and the session is given up.

use std::time::Duration;

use palisade_engine::AbsolutePath;
use tokio::sync::{mpsc, oneshot};

use super::scan::{Found, Scan};
use super::wire::{Piece, Wire};
use crate::session::{Nonce, SessionError, frame};

/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Bytes of one answer.
const MAX_ANSWER: usize = 1 << 20;

/// Questions that wait at most.
const QUESTIONS: usize = 16;

/// How often what is to be killed is looked for, until nothing is left.
const ROUNDS: u32 = 8;

/// Fills `found` with the processes of the session, but its shell: `$1` is the shell's number, which is that of its session as
/// well, and `$2` the mark in the environment of all that it starts. Only builtins, so that it is no process of its own.
const FIND: &str = r#"/palisade/find() { builtin local d p s f e; found=(); for d in /proc/[0-9]*; do p=${d#/proc/}; [[ -O $d && $p != "$1" && $p != "$$" ]] || builtin continue; IFS= builtin read -r s 2>/dev/null <"$d/stat" || builtin continue; f=(${s##*) }); [[ ${f[0]} != Z ]] || builtin continue; if [[ ${f[3]} != "$1" ]]; then e=(); builtin mapfile -d '' e 2>/dev/null <"$d/environ"; [[ " ${e[*]} " == *" PALISADE_SESSION=$2 "* ]] || builtin continue; fi; found+=("$p"); done; }"#;

/// Ends what is in `palisade_held`, each a shell's number with the mark of all that it starts, and nothing if that is empty.
const END: &str = r#"declare -A palisade_held; /palisade/end() { builtin local p n found; for p in "${!palisade_held[@]}"; do builtin kill -KILL "$p"; for n in 1 2 3 4 5 6 7 8; do /palisade/find "$p" "${palisade_held[$p]}"; [[ $found ]] || builtin break; builtin kill -KILL "${found[@]}"; done; done; }; builtin trap '' HUP PIPE; builtin trap /palisade/end EXIT"#;

/// For each path its real one and what is there, each with a NUL behind it.
const LOOK: &str = r#"/palisade/look() { builtin local p; for p; do builtin command realpath -mz -- "$p" 2>/dev/null || builtin printf '\0'; if [[ -d $p && -x $p ]]; then builtin printf 'd\0'; elif [[ -e $p ]]; then builtin printf 'f\0'; else builtin printf 'n\0'; fi; done; }"#;

/// Asks it. Cheap to copy.
#[derive(Clone, Debug)]
pub(crate) struct Scout(mpsc::Sender<Question>);

#[derive(Debug)]
struct Question {
    line: String,
    answer: oneshot::Sender<Vec<u8>>,
}

/// What a name means at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Without symbolic links.
    pub(crate) path: AbsolutePath,
    /// Something is there.
    pub(crate) exists: bool,
    /// It is a directory that the session's user can enter.
    pub(crate) enters: bool,
}

impl Scout {
    /// Takes over a shell that has just been started.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) async fn start(mut wire: Wire) -> Result<Self, SessionError> {
        let nonce = Nonce::new()?;
        super::boot(&mut wire, frame::boot_remote(&nonce), &nonce).await?;
        let (questions, asked) = mpsc::channel(QUESTIONS);
        tokio::spawn(serve(wire, asked));
        let scout = Self(questions);
        // Programs of the system alone: what it tells must not depend on what somebody has put into a directory.
        let functions = format!(
            "PATH=/usr/bin:/bin; builtin unset CDPATH BASH_ENV ENV; {FIND}; {LOOK}; {END}; builtin printf ready"
        );
        let told = scout.ask(functions).await;
        told.filter(|told| told == b"ready").map(|_| scout).ok_or(SessionError::NotReady)
    }

    /// Has it end this shell and all that it starts, once nobody tells it anything any more.
    pub(crate) async fn hold(&self, shell: &str, mark: &str) -> Option<()> {
        self.ask(format!("palisade_held[{shell}]={mark}")).await.map(drop)
    }

    /// Of this one nothing is left.
    pub(crate) async fn let_go(&self, shell: &str) {
        let _gone = self.ask(format!("builtin unset -v \"palisade_held[{shell}]\"")).await;
    }

    /// Ends all that it holds, now.
    pub(crate) async fn end_all(&self) {
        let _gone = self.ask("/palisade/end; palisade_held=()".to_owned()).await;
    }

    /// Ctrl-C, for the shell and what it waits for.
    pub(crate) async fn interrupt(self, shell: String) -> Option<()> {
        self.ask(format!("builtin kill -INT -- -{shell} || builtin kill -INT {shell}")).await.map(drop)
    }

    /// A signal for everything that the session runs, but its shell.
    pub(crate) async fn signal(self, shell: String, mark: String, signal: i32) -> Option<()> {
        let line = format!("/palisade/find {shell} {mark}; [[ ! $found ]] || builtin kill -{signal} \"${{found[@]}}\"");
        self.ask(line).await.map(drop)
    }

    /// Kills everything that the session runs, but its shell; none if something is left.
    pub(crate) async fn kill_rest(self, shell: String, mark: String) -> Option<()> {
        for _ in 0..ROUNDS {
            let line = format!(
                "/palisade/find {shell} {mark}; [[ ! $found ]] || builtin kill -KILL \"${{found[@]}}\"; \
                 builtin printf '%s' \"${{#found[@]}}\""
            );
            if self.ask(line).await? == b"0" {
                return Some(());
            }
        }
        None
    }

    /// Kills the shell.
    pub(crate) async fn kill_shell(&self, shell: &str) {
        let _gone = self.ask(format!("builtin kill -KILL {shell}")).await;
    }

    /// Where the shell stands, as the kernel there has it.
    pub(crate) async fn cwd(&self, shell: &str) -> Option<AbsolutePath> {
        let answer = self.ask(format!("builtin cd -P /proc/{shell}/cwd && builtin pwd -P; builtin cd /")).await?;
        let path = String::from_utf8(answer).ok()?;
        AbsolutePath::new(path.strip_suffix('\n')?).filter(|path| !path.as_str().starts_with("/proc/"))
    }

    /// What these paths mean, in their order; none for one that cannot be told.
    pub(crate) async fn look(&self, paths: &[String]) -> Option<Vec<Option<Place>>> {
        let words: String = paths.iter().map(|path| format!(" {}", frame::quoted(path.as_bytes()))).collect();
        let answer = self.ask(format!("/palisade/look{words}")).await?;
        let mut fields = answer.split(|byte| *byte == 0);
        let places: Vec<Option<Place>> = paths.iter().map(|_| place(fields.next(), fields.next())).collect();
        // One NUL behind each answer, and nothing behind the last.
        (fields.next() == Some(&[]) && fields.next().is_none()).then_some(places)
    }

    async fn ask(&self, line: String) -> Option<Vec<u8>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Question { line, answer }).await.ok()?;
        tokio::time::timeout(ANSWER, answered).await.ok()?.ok()
    }
}

fn place(path: Option<&[u8]>, kind: Option<&[u8]>) -> Option<Place> {
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
    Some(Place { path, exists, enters })
}

/// One question after the other, as long as somebody may ask and it answers.
async fn serve(mut wire: Wire, mut asked: mpsc::Receiver<Question>) {
    while let Some(Question { line, answer }) = asked.recv().await {
        let Some(told) = tokio::time::timeout(ANSWER, told(&mut wire, &line)).await.ok().flatten() else { return };
        // Who asked may have gone.
        let _ = answer.send(told);
    }
}

async fn told(wire: &mut Wire, line: &str) -> Option<Vec<u8>> {
    let nonce = Nonce::new().ok()?;
    // Its own standard output is the null device, as any shell's of ours.
    let script = format!("{{ {line}\n}}");
    let lines = frame::command(script.as_bytes(), None, frame::Streams::Kept, &nonce);
    let mut scan = Scan::new(nonce, true);
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
