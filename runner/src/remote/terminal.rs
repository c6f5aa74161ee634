//! A terminal at the other end, for one command.
//!
//! It has one stream for all, in both directions, and edits what passes through it. So a shell at one first has it pass on everything as it
//! is, and says so; then it takes what any shell for one command takes, gives the terminal back what it does for a person, and reports that
//! (`frame::only_at_terminal`). Until that report nothing that somebody types is sent, and nothing that comes is the command's. Behind it
//! the stream is the command's alone: that it has ended, and how, the connection tells, so that no output can.

use std::sync::Arc;

use palisade_engine::AbsolutePath;

use super::scan::{Found, ReportScanner};
use super::{Base, MAX_GREETING, Purpose, READY};
use crate::guard::Ledger;
use crate::remote::guard::Shell;
use crate::shell::{Language, Nonce, SessionError, TerminalSize, Typed, frame};
use crate::target::TargetError;
use crate::transport::wire::{Ending, Piece, Wire};

/// What Ctrl-D types. A program that makes another key of it is one that no end is typed to.
const END: u8 = 4;

/// What a bash at a terminal is started with: [`frame::ONCE`] behind what makes the terminal pass on all that is written to it. `command`
/// finds a program of the system, and `echo` knows no backslash. Neither has this a quote: any login shell reads it alike.
pub(super) fn start(size: TerminalSize, ready: &Nonce) -> String {
    let TerminalSize { rows, cols } = size;
    format!("command -p stty raw -echo rows {rows} cols {cols} && builtin echo {}/ && {}", ready.as_str(), frame::ONCE)
}

/// What we have it run besides the command: that, and what [`frame::only_at_terminal`] does.
pub(super) fn errands(TerminalSize { rows, cols }: TerminalSize) -> Vec<Vec<String>> {
    let raw = format!("stty raw -echo rows {rows} cols {cols}");
    [raw.as_str(), "stty sane"].map(|line| line.split(' ').map(str::to_owned).collect()).into()
}

/// Starts a shell at a terminal of this size.
///
/// # Errors
/// If the target gives no terminal, or its shell can do nothing with one.
pub(super) async fn open(
    base: &Base,
    mark: &str,
    size: TerminalSize,
    cwd: &AbsolutePath,
    ledger: Option<Ledger>,
) -> Result<(Wire, Option<Arc<Shell>>), SessionError> {
    takes(base.language())?;
    let ready = Nonce::new()?;
    let (mut wire, held) = base.start(Purpose::Terminal(mark, size, &ready), Some(cwd), ledger).await?;
    let mut scan = ReportScanner::new(ready, false);
    let mut greeted = 0;
    let heard = async {
        loop {
            match wire.next().await {
                Some(Piece::Out(bytes)) => {
                    greeted += bytes.len();
                    for found in scan.push(&bytes) {
                        match found {
                            Found::Report(..) => return Ok(()),
                            Found::Bytes(_) if greeted <= MAX_GREETING => {}
                            Found::Bytes(_) | Found::Forged => return Err(SessionError::NotReady),
                        }
                    }
                }
                Some(Piece::Err(_)) => {}
                Some(Piece::Ended(Some(Ending::Exited(_)))) => return Err(no_terminal("`stty` is needed there")),
                Some(Piece::Ended(_)) | None => return Err(TargetError::Closed.into()),
            }
        }
    };
    tokio::time::timeout(READY, heard).await.unwrap_or(Err(SessionError::NotReady))?;
    Ok((wire, held))
}

/// That such a shell can be at a terminal. Of what it does with one that is a bash's there is no saying what a `sh` does.
///
/// # Errors
/// If it cannot.
pub(super) fn takes(language: Language) -> Result<(), SessionError> {
    match language {
        Language::Bash => Ok(()),
        Language::Sh => Err(no_terminal("that takes bash there, and its shell is `sh`")),
    }
}

fn no_terminal(why: &'static str) -> SessionError {
    TargetError::NoTerminal { why }.into()
}

/// What is typed at a terminal: of its input's end, which nothing but a key can tell, that key is made.
#[derive(Debug)]
pub(super) struct Keyboard {
    /// What was typed last; a line end where nothing was.
    last: u8,
}

impl Default for Keyboard {
    fn default() -> Self {
        Self { last: b'\n' }
    }
}

impl Keyboard {
    /// The keys for what is to be typed. At the beginning of a line the end is one key; within one the first only hands out what stands
    /// there (termios(3), VEOF).
    pub(super) fn press(&mut self, typed: Typed) -> Typed {
        match typed {
            Typed::Bytes(bytes) => {
                self.last = bytes.last().copied().unwrap_or(self.last);
                Typed::Bytes(bytes)
            }
            Typed::End => {
                let at_beginning = matches!(std::mem::replace(&mut self.last, b'\n'), b'\n' | b'\r' | END);
                Typed::Bytes(if at_beginning { vec![END] } else { vec![END, END] })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_input_is_a_key() {
        let mut keyboard = Keyboard::default();
        let keys = |typed: &[u8]| Typed::Bytes(typed.to_vec());
        assert_eq!(keyboard.press(Typed::End), keys(&[4]));
        assert_eq!(keyboard.press(keys(b"line\n")), keys(b"line\n"));
        assert_eq!(keyboard.press(Typed::End), keys(&[4]));
        assert_eq!(keyboard.press(keys(b"tail")), keys(b"tail"));
        assert_eq!(keyboard.press(Typed::End), keys(&[4, 4]));
        // Behind an end it is the beginning again.
        assert_eq!(keyboard.press(Typed::End), keys(&[4]));
    }

    #[test]
    fn any_login_shell_reads_what_a_terminal_starts_with() {
        let start = start(TerminalSize { rows: u16::MAX, cols: 1 }, &Nonce("0".repeat(32)));
        assert!(!start.contains(['\'', '\\', '!', '\n']), "{start}");
    }
}
