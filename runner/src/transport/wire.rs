//! A program at the other end: what it is started with, and its three streams as a pair of channels. What fills and empties them is the
//! transport's.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, watch};

use crate::shell::{TerminalSize, Typed};

/// Pieces that wait at most to be taken: what waits stands before the report, and over SSH before what the other shell says.
const PIECES: usize = 16;

/// What a program at the other end is started with.
#[derive(Debug)]
pub(crate) struct Start {
    /// The program and its words. None holds a `'` or a backslash.
    pub(crate) words: Vec<Cow<'static, str>>,
    /// The variables that are set for it, as entries.
    pub(crate) variables: Vec<String>,
    /// The size of the terminal that its streams are to be; none: they are no terminal.
    pub(crate) terminal: Option<TerminalSize>,
}

/// What comes from the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes of standard output.
    Out(Vec<u8>),
    /// Bytes of standard error.
    Err(Vec<u8>),
    /// The program has ended, or the connection has: then nobody knows how.
    Ended(Option<Ending>),
}

/// How the program at the other end has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

/// Our end.
#[derive(Debug)]
pub(crate) struct Wire {
    input: mpsc::Sender<Typed>,
    output: Output,
    listening: Arc<AtomicBool>,
    /// The size of the terminal that the streams are; none: they are no terminal.
    size: Option<watch::Sender<TerminalSize>>,
}

/// What comes.
#[derive(Debug)]
pub(crate) struct Output(mpsc::Receiver<Piece>);

/// Where input goes.
#[derive(Debug)]
pub(crate) struct Input<'a>(&'a mpsc::Sender<Typed>);

impl Output {
    /// The next piece; none once nothing can come any more. Safe to drop.
    pub(crate) async fn next(&mut self) -> Option<Piece> {
        self.0.recv().await
    }
}

impl Input<'_> {
    /// Waits until there is room for more; false once none can go any more. Safe to drop.
    pub(crate) async fn room(&self) -> bool {
        self.0.reserve().await.is_ok()
    }
}

/// The transport's end.
#[derive(Debug)]
pub(crate) struct Far {
    /// What is to go to standard input.
    pub(crate) input: mpsc::Receiver<Typed>,
    /// Where to put what comes.
    pub(crate) output: Mouth,
    /// The size of the terminal that the streams are, each time that it is another.
    pub(crate) sizes: Option<watch::Receiver<TerminalSize>>,
}

/// Where a transport puts what comes.
#[derive(Clone, Debug)]
pub(crate) struct Mouth {
    output: mpsc::Sender<Piece>,
    listening: Arc<AtomicBool>,
}

impl Wire {
    /// Both ends; with the size of the terminal that the streams are, if they are one.
    pub(crate) fn new(terminal: Option<TerminalSize>) -> (Self, Far) {
        let ((input, typed), (pieces, output)) = (mpsc::channel(PIECES), mpsc::channel(PIECES));
        let listening = Arc::new(AtomicBool::new(true));
        let mouth = Mouth { output: pieces, listening: Arc::clone(&listening) };
        let (size, sizes) = terminal.map(watch::channel).unzip();
        (Self { input, output: Output(output), listening, size }, Far { input: typed, output: mouth, sizes })
    }

    /// Whether the streams are a terminal: all that is printed comes as standard output then.
    pub(crate) fn is_terminal(&self) -> bool {
        self.size.is_some()
    }

    /// Gives the terminal another size. It waits for nothing that was typed; of several sizes the last one counts.
    pub(crate) fn resize(&self, size: TerminalSize) {
        if let Some(known) = &self.size {
            known.send_replace(size);
        }
    }

    /// Sends lines; false if they cannot go.
    pub(crate) fn send(&self, lines: Vec<u8>) -> bool {
        self.pass(Typed::Bytes(lines))
    }

    /// Sends what somebody has typed; false if it cannot go.
    pub(crate) fn pass(&self, typed: Typed) -> bool {
        self.input.try_send(typed).is_ok()
    }

    /// The next piece; none once nothing can come any more. Safe to drop.
    pub(crate) async fn next(&mut self) -> Option<Piece> {
        self.output.next().await
    }

    /// What comes, and where input goes: to wait for both at once.
    pub(crate) fn halves(&mut self) -> (&mut Output, Input<'_>) {
        (&mut self.output, Input(&self.input))
    }

    /// From now on what comes is kept; what came before belongs to nobody. The end, if it has come.
    pub(crate) fn listen(&mut self) -> Option<Piece> {
        self.listening.store(true, Ordering::Release);
        loop {
            match self.output.0.try_recv() {
                Ok(Piece::Out(_) | Piece::Err(_)) => {}
                Ok(ended) => return Some(ended),
                Err(mpsc::error::TryRecvError::Empty) => return None,
                Err(mpsc::error::TryRecvError::Disconnected) => return Some(Piece::Ended(None)),
            }
        }
    }

    /// From now on what comes is let go: nobody waits for it, and it must not stand in the way of anything else.
    pub(crate) fn ignore(&self) {
        self.listening.store(false, Ordering::Release);
    }
}

impl Mouth {
    /// Puts down a piece; false once nobody will take any.
    pub(crate) async fn put(&self, piece: Piece) -> bool {
        let is_output = !matches!(piece, Piece::Ended(_));
        if is_output && !self.listening.load(Ordering::Acquire) {
            return !self.output.is_closed();
        }
        self.output.send(piece).await.is_ok()
    }
}
