//! The stream of a program at a terminal in a container.
//!
//! It is asked for without the engine's client, which reads the frames that other programs' output comes in: at a terminal there are none, and
//! what a program prints there could pass for one that has no end.

use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::exec::ResizeExecOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::watch;

use super::{ANSWER, ending, give};
use crate::shell::{Nonce, TerminalSize};
use crate::target::TargetError;
use crate::transport::wire::{Far, Mouth, Piece};

/// Bytes that the engine's answer may have before the stream begins.
const MAX_HEAD: usize = 16 << 10;

/// Bytes that are read at once.
const PIECE: usize = 32 << 10;

/// The keys by which the engine would leave the program alone, all behind one another: some that nobody can type by intent or by chance, for the
/// usual ones would end the job's input and output. An engine holds the first of them back until it sees the next, so that it is one that no
/// program has a use for.
pub(super) fn no_keys() -> Result<String, TargetError> {
    let nonce =
        Nonce::new().map_err(|_| TargetError::NoTerminal { why: "this machine's kernel gives no random bytes" })?;
    Ok(nonce.as_str().chars().fold("ctrl-^".to_owned(), |keys, key| format!("{keys},{key}")))
}

/// Starts a program that has been made, and passes on what it prints, what is typed, and the terminal's size.
///
/// # Errors
/// If the engine does not start it.
pub(super) async fn start(engine: Docker, socket: &Path, exec: String, far: Far) -> Result<(), TargetError> {
    let asked = tokio::time::timeout(Duration::from_secs(ANSWER), ask(socket, &exec)).await;
    let failed = |why: String| TargetError::Engine { why };
    let (stream, first) =
        asked.map_err(|_| failed("it does not answer".to_owned()))?.map_err(|error| failed(error.to_string()))?;
    let (output, input) = stream.into_split();
    let Far { input: typed, output: mouth, sizes } = far;
    if let Some(sizes) = sizes {
        tokio::spawn(resize(engine.clone(), exec.clone(), sizes));
    }
    tokio::spawn(take(engine, exec, first, output, mouth));
    tokio::spawn(give(Box::pin(input), typed));
    Ok(())
}

/// Asks the engine to start it and to make the connection its stream; what of that has come already.
async fn ask(socket: &Path, exec: &str) -> std::io::Result<(UnixStream, Vec<u8>)> {
    let wrong = |what: &str| std::io::Error::other(what.to_owned());
    if exec.is_empty() || !exec.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(wrong("the engine gave a program no name"));
    }
    let body = r#"{"Detach":false,"Tty":true}"#;
    let mut stream = UnixStream::connect(socket).await?;
    let head = format!(
        "POST /exec/{exec}/start HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    let end = loop {
        if let Some(end) = memchr::memmem::find(&answer, b"\r\n\r\n") {
            break end + 4;
        }
        if answer.len() > MAX_HEAD || stream.read_buf(&mut answer).await? == 0 {
            return Err(wrong("the engine starts no program at a terminal"));
        }
    };
    let first = answer.split_off(end);
    // RFC 9110, 15.2.2: from here on the connection is the program's.
    if !answer.starts_with(b"HTTP/1.1 101 ") {
        let status = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        return Err(wrong(&format!("the engine answers `{}`", String::from_utf8_lossy(status))));
    }
    Ok((stream, first))
}

/// Takes what comes until the stream ends, and then asks how the program did.
async fn take(engine: Docker, exec: String, first: Vec<u8>, mut output: OwnedReadHalf, mouth: Mouth) {
    let mut buffer = vec![0; PIECE];
    let mut goes_on = first.is_empty() || mouth.put(Piece::Out(first)).await;
    let mut cut = !goes_on;
    while goes_on {
        let bytes = match output.read(&mut buffer).await {
            Ok(0) => break,
            Ok(count) => buffer.get(..count).unwrap_or_default().to_vec(),
            Err(_) => {
                cut = true;
                break;
            }
        };
        goes_on = mouth.put(Piece::Out(bytes)).await;
        cut = !goes_on;
    }
    let ended = if cut { None } else { ending(&engine, &exec).await };
    mouth.put(Piece::Ended(ended)).await;
}

/// Tells the terminal's size each time that it is another.
async fn resize(engine: Docker, exec: String, mut sizes: watch::Receiver<TerminalSize>) {
    while sizes.changed().await.is_ok() {
        let TerminalSize { rows, cols } = *sizes.borrow_and_update();
        // The program may have ended.
        let _gone = engine.resize_exec(&exec, ResizeExecOptions { height: rows, width: cols }).await;
    }
}
