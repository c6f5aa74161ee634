//! Lines of a request's head end in CR LF, as HTTP wants it (RFC 9112, section 2.2).
//!
//! The library takes a bare LF for the end of a line as well, which a proxy in front may not: then the two would read different requests
//! out of the same bytes. So each head is looked at before the library has it. Which bytes are of a head is told by the length
//! that the head before gave; a body of chunks has none, so that its connection ends with the answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the library gets in the place of a bare LF: a byte that no head can have, so that it answers 400.
const NONE: u8 = 0;

/// A connection whose heads are looked at.
pub(super) struct Strict<S> {
    stream: S,
    place: ReadState,
}

/// Where the next byte stands.
enum ReadState {
    /// In a head, behind these bytes of its line. `body` is what its lines have said so far.
    Head { line: Vec<u8>, body: BodyFraming },
    /// In a body, of which so much is left.
    Body(u64),
    /// In something that nobody measures, to the end of the connection.
    Rest,
}

/// What follows a head.
#[derive(Clone, Copy)]
enum BodyFraming {
    Length(u64),
    Chunks,
}

/// Bytes of a line that are kept.
const MAX_LINE: usize = 256;

impl<S> Strict<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, place: ReadState::begin() }
    }
}

impl ReadState {
    fn begin() -> Self {
        Self::Head { line: Vec::new(), body: BodyFraming::Length(0) }
    }

    /// Goes on over these bytes. What may not stand there is exchanged.
    fn pass(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            match self {
                Self::Rest => return,
                Self::Body(left) => {
                    let passed = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= passed as u64;
                    if *left == 0 {
                        *self = Self::begin();
                    }
                    bytes = bytes.get_mut(passed..).unwrap_or_default();
                }
                Self::Head { line, body } => {
                    let Some((byte, rest)) = bytes.split_first_mut() else { return };
                    bytes = rest;
                    if *byte != b'\n' {
                        // The last one counts at any length: it says whether the line ends well.
                        line.truncate(MAX_LINE);
                        line.push(*byte);
                        continue;
                    }
                    let whole = line.len() <= MAX_LINE;
                    let ends_well = line.pop() == Some(b'\r');
                    let told = told(line);
                    if !ends_well || told.is_some() && !whole {
                        *byte = NONE;
                        *self = Self::Rest;
                        return;
                    }
                    match (told, &body) {
                        (Some(told), _) => *body = told,
                        (None, _) if !line.is_empty() => {}
                        // The library lets empty lines stand in front of a head.
                        (None, BodyFraming::Length(0)) => {}
                        (None, BodyFraming::Length(length)) => {
                            *self = Self::Body(*length);
                            continue;
                        }
                        (None, BodyFraming::Chunks) => {
                            *self = Self::Rest;
                            return;
                        }
                    }
                    line.clear();
                }
            }
        }
    }
}

/// What a line says of the body.
fn told(line: &[u8]) -> Option<BodyFraming> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    if name.eq_ignore_ascii_case(b"transfer-encoding") {
        return Some(BodyFraming::Chunks);
    }
    if !name.eq_ignore_ascii_case(b"content-length") {
        return None;
    }
    let value = std::str::from_utf8(value.get(1..)?).ok()?.trim();
    // What is no number is refused by the library.
    Some(value.parse().map_or(BodyFraming::Chunks, BodyFraming::Length))
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if let Some(new) = into.filled_mut().get_mut(before..) {
            self.place.pass(new);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// What is read of these bytes, however they come apart.
    async fn passed(bytes: &[u8]) -> Vec<u8> {
        let mut read = Vec::new();
        Strict::new(bytes).read_to_end(&mut read).await.unwrap();
        let (mut place, mut single) = (ReadState::begin(), bytes.to_vec());
        single.chunks_mut(1).for_each(|byte| place.pass(byte));
        assert_eq!(single, read);
        read
    }

    #[tokio::test]
    async fn lines_of_each_head_end_in_both_bytes_and_bodies_are_left_alone() {
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\nhost: h\r\n\r\n", "y".repeat(1000));
        let good = [
            "GET / HTTP/1.1\r\nhost: h\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n\na\nbGET / HTTP/1.1\r\n\r\n",
            "\r\nPOST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nhost: h\r\n\r\n1\r\n\n\r\n0\r\n\r\n",
            &long,
        ];
        for text in good {
            assert_eq!(passed(text.as_bytes()).await, text.as_bytes(), "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_line_that_ends_otherwise_makes_its_head_unreadable() {
        let long = format!("GET / HTTP/1.1\r\nx: {}\n\r\n", "y".repeat(1000));
        let number = format!("GET / HTTP/1.1\r\ncontent-length: {}5\r\n\r\n", "0".repeat(1000));
        let bad = [
            "GET / HTTP/1.1\nhost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: h\nx: y\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: h\r\n\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nhost: h\nx: y\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n\n\nGET / HTTP/1.1\nhost: h\r\n\r\n",
            &long,
            &number,
        ];
        for text in bad {
            let read = passed(text.as_bytes()).await;
            assert_eq!(read.iter().filter(|byte| **byte == NONE).count(), 1, "{text:?}");
        }
    }
}
