//! What a shell at the other end says to lines of our own, where nothing of the agent's runs.

use super::MAX_GREETING;
use super::READY;
use super::scan::{Found, ReportScanner};
use crate::shell::{Nonce, SessionError, posix};
use crate::target::TargetError;
use crate::transport::wire::{Ending, Piece, Wire};

/// Makes a fresh bash a shell of ours; its number and its home.
pub(super) async fn boot(wire: &mut Wire, lines: Vec<u8>, nonce: &Nonce) -> Result<(String, String), SessionError> {
    let (told, status) = answer(wire, lines, nonce, MAX_GREETING).await?;
    let told = told.filter(|_| status == 0).ok_or(SessionError::NotReady)?;
    let mut lines = told.rsplit(|byte| *byte == b'\n').skip(1).map(|line| String::from_utf8_lossy(line).into_owned());
    let (home, pid) = (lines.next().ok_or(SessionError::NotReady)?, lines.next().ok_or(SessionError::NotReady)?);
    // It goes into what the other shell is told.
    if pid.is_empty() || !pid.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SessionError::NotReady);
    }
    Ok((pid, home))
}

/// What a `sh` is, if it says so and that is not too much; `status` is that of the command before.
pub(super) async fn kept(wire: &mut Wire, status: i32) -> Result<Option<posix::PosixState>, SessionError> {
    let nonce = Nonce::new()?;
    let (told, _) = answer(wire, posix::state_told(status, &nonce), &nonce, posix::MAX_KEPT).await?;
    Ok(told.and_then(|told| posix::PosixState::read(&told)))
}

/// Sends lines of our own; what they print, if that is not more than `most`, and their status.
pub(super) async fn answer(
    wire: &mut Wire,
    lines: Vec<u8>,
    nonce: &Nonce,
    most: usize,
) -> Result<(Option<Vec<u8>>, i32), SessionError> {
    if !wire.send(lines) {
        return Err(TargetError::Closed.into());
    }
    let (mut out, mut err) = (ReportScanner::new(nonce.clone(), true), ReportScanner::new(nonce.clone(), false));
    // At a terminal there is one stream.
    let (mut told, mut status, mut quiet) = (Some(Vec::new()), None, wire.is_terminal());
    let heard = async {
        loop {
            // The streams have no order among themselves: a report that is left in one would stand in the next command's.
            if let (Some(status), true) = (status, quiet) {
                return Ok((told.take(), status));
            }
            match wire.next().await {
                Some(Piece::Out(bytes)) => {
                    for found in out.push(&bytes) {
                        match found {
                            Found::Bytes(bytes) => {
                                told = told.filter(|told| told.len() + bytes.len() <= most);
                                told.iter_mut().for_each(|told| told.extend(&bytes));
                            }
                            Found::Forged => return Err(SessionError::NotReady),
                            Found::Report(_, told) => status = Some(told.unwrap_or(-1)),
                        }
                    }
                }
                Some(Piece::Err(bytes)) => {
                    quiet |= err.push(&bytes).iter().any(|found| matches!(found, Found::Report(..)));
                }
                Some(Piece::Ended(Some(Ending::Exited(posix::FOREIGN)))) => {
                    return Err(TargetError::PoorShell { why: "it is neither dash nor busybox's ash" }.into());
                }
                // As a shell says it, and as an engine does.
                Some(Piece::Ended(Some(Ending::Exited(126 | 127)))) => return Err(TargetError::NoBash.into()),
                Some(Piece::Ended(_)) | None => return Err(TargetError::Closed.into()),
            }
        }
    };
    tokio::time::timeout(READY, heard).await.unwrap_or(Err(SessionError::NotReady))
}
