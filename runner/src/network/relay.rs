//! Bytes from one side of a connection to the other, in small buffers and not for ever.

use std::io::{Error, ErrorKind, Result};
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::http::{self, Bad, Body};

/// Silence on both sides after which a connection is given up.
const IDLE: Duration = Duration::from_secs(300);

/// Bytes that are held of each direction.
const BUFFER: usize = 16 << 10;

/// Bytes that the line before a chunk, and the fields behind the last one, may have.
const MAX_LINE: usize = 4 << 10;

/// When something was last said, on either side.
pub(super) struct Life(Mutex<Instant>);

impl Life {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn sign(&self) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
    }

    /// Done once nothing has been said for long.
    pub(super) async fn ended(&self) {
        loop {
            let until = *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) + IDLE;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// What is read of one side, some of it ahead.
pub(super) struct PeekedStream<R> {
    side: R,
    ahead: Vec<u8>,
}

impl<R: AsyncRead + Unpin> PeekedStream<R> {
    pub(super) fn new(side: R) -> Self {
        Self { side, ahead: Vec::new() }
    }

    /// What was read ahead, and the side.
    pub(super) fn into_parts(self) -> (Vec<u8>, R) {
        (self.ahead, self.side)
    }

    /// The next bytes as they come, at most so many; none at the end.
    async fn next(&mut self, most: usize) -> Result<Vec<u8>> {
        if self.ahead.is_empty() {
            self.more().await?;
        }
        let count = self.ahead.len().min(most);
        Ok(self.ahead.drain(..count).collect())
    }

    /// Exactly so many bytes.
    pub(super) async fn exactly(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.ahead.len() < count {
            if self.more().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.ahead.drain(..count).collect())
    }

    /// The first byte, which stays.
    pub(super) async fn first(&mut self) -> Result<u8> {
        if self.ahead.is_empty() {
            self.more().await?;
        }
        self.ahead.first().copied().ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }

    /// A whole head; none if there is none within so many bytes.
    pub(super) async fn head(&mut self, most: usize) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(length) = http::head_length(&self.ahead) {
                return Ok((length <= most).then(|| self.ahead.drain(..length).collect()));
            }
            if self.ahead.len() >= most {
                return Ok(None);
            }
            if self.more().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// A line without its end.
    async fn line(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(at) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.ahead.drain(..=at).collect();
                line.pop();
                return if line.pop() == Some(b'\r') { Ok(line) } else { Err(ErrorKind::InvalidData.into()) };
            }
            if self.ahead.len() >= MAX_LINE {
                return Err(ErrorKind::InvalidData.into());
            }
            if self.more().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn more(&mut self) -> Result<usize> {
        let mut buffer = [0; BUFFER];
        let count = self.side.read(&mut buffer).await?;
        self.ahead.extend(buffer.iter().take(count));
        Ok(count)
    }

    /// Waits until the other side has broken the connection; whatever it says meanwhile is nobody's. One that has only said all
    /// that it wants to say still listens, and one that is gone after that is noticed when it is written to.
    pub(super) async fn broken(&mut self) -> Error {
        let mut buffer = [0; 512];
        loop {
            match self.side.read(&mut buffer).await {
                Ok(0) => return std::future::pending().await,
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }
}

/// Everything, to the end, which is passed on.
pub(super) async fn all<R, W>(from: &mut PeekedStream<R>, to: &mut W, life: &Life) -> Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let bytes = from.next(BUFFER).await?;
        life.sign();
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        to.write_all(&bytes).await?;
        life.sign();
    }
}

/// One body, as long as it is, and nothing behind it.
pub(super) async fn body<R, W>(length: Body, from: &mut PeekedStream<R>, to: &mut W, life: &Life) -> Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    match length {
        Body::Length(length) => counted(length, from, to, life).await,
        Body::Chunked => loop {
            let length = http::chunk_length(&from.line().await?).map_err(invalid)?;
            to.write_all(format!("{length:x}\r\n").as_bytes()).await?;
            if length == 0 {
                skip_trailer(from).await?;
                return to.write_all(b"\r\n").await;
            }
            counted(length, from, to, life).await?;
            if !from.line().await?.is_empty() {
                return Err(ErrorKind::InvalidData.into());
            }
            to.write_all(b"\r\n").await?;
        },
    }
}

/// Fields behind the last chunk are taken for those of a head by some, so that nobody gets them.
async fn skip_trailer<R: AsyncRead + Unpin>(from: &mut PeekedStream<R>) -> Result<()> {
    let mut length = 0;
    loop {
        let line = from.line().await?;
        length += line.len();
        if line.is_empty() {
            return Ok(());
        }
        if length > MAX_LINE {
            return Err(ErrorKind::InvalidData.into());
        }
    }
}

async fn counted<R, W>(length: u64, from: &mut PeekedStream<R>, to: &mut W, life: &Life) -> Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut left = length;
    while left > 0 {
        let bytes = from.next(usize::try_from(left).unwrap_or(BUFFER).min(BUFFER)).await?;
        if bytes.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        left -= u64::try_from(bytes.len()).unwrap_or(left);
        life.sign();
        to.write_all(&bytes).await?;
    }
    Ok(())
}

fn invalid(bad: Bad) -> Error {
    Error::new(ErrorKind::InvalidData, bad.0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    async fn passed(length: Body, sent: &str) -> Result<(String, String)> {
        let mut from = PeekedStream::new(sent.as_bytes());
        let mut to = Vec::new();
        body(length, &mut from, &mut to, &Life::new()).await?;
        let rest = from.next(usize::MAX).await?;
        Ok((String::from_utf8(to).unwrap(), String::from_utf8(rest).unwrap()))
    }

    #[tokio::test]
    async fn a_body_ends_where_it_says() {
        let second = "GET http://b.example/ HTTP/1.1\r\n\r\n";
        let (body, rest) = passed(Body::Length(3), &format!("abc{second}")).await.unwrap();
        assert_eq!((body.as_str(), rest.as_str()), ("abc", second));
        let chunks = "3;x=y\r\nabc\r\n02\r\nde\r\n0\r\nTrailer: x\r\n\r\n";
        let (body, rest) = passed(Body::Chunked, &format!("{chunks}{second}")).await.unwrap();
        assert_eq!((body.as_str(), rest.as_str()), ("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", second));
    }

    #[tokio::test]
    async fn a_body_that_does_not_is_cut_off() {
        for sent in ["ab", ""] {
            assert!(passed(Body::Length(3), sent).await.is_err(), "{sent:?}");
        }
        for sent in ["3\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "x\r\n", "3\r\nabc", "0\r\nX: y\n\r\n", "0\r\n"] {
            assert!(passed(Body::Chunked, sent).await.is_err(), "{sent:?}");
        }
        assert!(passed(Body::Chunked, &"1".repeat(MAX_LINE + 1)).await.is_err());
    }

    #[tokio::test]
    async fn a_head_has_a_size() {
        let long = format!("GET http://a/ HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(http::MAX_HEAD));
        assert_eq!(PeekedStream::new(long.as_bytes()).head(http::MAX_HEAD).await.unwrap(), None);
        let mut short = PeekedStream::new(b"GET / HTTP/1.1\r\n\r\nmore".as_slice());
        assert_eq!(short.head(http::MAX_HEAD).await.unwrap().unwrap(), b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(short.next(9).await.unwrap(), b"more");
    }
}
