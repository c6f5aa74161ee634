//! The protocol on a pair of streams: one message a line, and an answer to each line that is none.
//!
//! Decides how long a line may be and what its sender is told; what a message means is the protocol library's affair. An answer
//! is written before the next line is read, so that whoever writes and never reads is soon not read any more either.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use rmcp::RoleServer;
use rmcp::model::{JsonRpcMessage, ServerResult};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::Mutex;

use crate::message::MessageError;

/// Bytes of a line. The largest that is of use is a job's input of 1 MiB, every byte of it escaped.
const MAX_LINE: usize = 16 << 20;

/// What is kept between lines for the next one.
const USUAL: usize = 64 << 10;

/// A mark that some programs put before a text, and that means nothing (RFC 8259, section 8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The two streams.
pub(crate) struct Lines<R, W> {
    reader: BufReader<R>,
    /// What has come of the line that is being read.
    line: Vec<u8>,
    /// That one is too long, and its rest is passed over.
    passes_over: bool,
    /// None once it is closed.
    writer: Arc<Mutex<Option<W>>>,
    /// An answer of our own that is not written to its end.
    answering: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send>>>,
    /// The revision that was agreed upon in greeting.
    revision: Option<String>,
}

/// What a line is.
enum LineRead {
    Whole,
    TooLong,
    /// There are no more.
    End,
}

impl<R: AsyncRead + Send + Unpin, W: AsyncWrite + Send + Unpin + 'static> Lines<R, W> {
    pub(crate) fn new(reader: R, writer: W) -> Self {
        Self {
            reader: BufReader::new(reader),
            line: Vec::new(),
            passes_over: false,
            writer: Arc::new(Mutex::new(Some(writer))),
            answering: None,
            revision: None,
        }
    }

    /// Reads to the end of a line. What is dropped in the middle of it goes on where it was.
    async fn read(&mut self) -> LineRead {
        loop {
            let Ok(available) = self.reader.fill_buf().await else { return LineRead::End };
            if available.is_empty() {
                // What has no end is no line.
                return LineRead::End;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let (part, taken) = match end {
                Some(end) => (available.get(..end).unwrap_or_default(), end + 1),
                None => (available, available.len()),
            };
            let is_too_long = !self.passes_over && self.line.len() + part.len() > MAX_LINE;
            if is_too_long {
                self.passes_over = true;
                self.line = Vec::new();
            }
            if !self.passes_over {
                self.line.extend_from_slice(part);
            }
            self.reader.consume(taken);
            if end.is_some() {
                return if std::mem::take(&mut self.passes_over) { LineRead::TooLong } else { LineRead::Whole };
            }
        }
    }

    /// The message in a line that is read; none if nothing is in it.
    fn message(&self) -> Option<Result<RxJsonRpcMessage<RoleServer>, MessageError>> {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        if line.is_empty() {
            return None;
        }
        Some(serde_json::from_slice(line).map_err(|_| MessageError::of(line)))
    }

    fn answer(&mut self, error: &MessageError) {
        if let Some(told) = error.told(self.revision.as_deref()) {
            tracing::debug!(?told, "a line is no message");
            self.answering = Some(Box::pin(write(Arc::clone(&self.writer), told)));
        }
    }
}

/// Writes a line.
async fn write<W: AsyncWrite + Unpin>(writer: Arc<Mutex<Option<W>>>, message: impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(&message)?;
    line.push(b'\n');
    let mut writer = writer.lock().await;
    let writer = writer.as_mut().ok_or(io::ErrorKind::NotConnected)?;
    writer.write_all(&line).await?;
    writer.flush().await
}

impl<R, W> Transport<RoleServer> for Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        if let JsonRpcMessage::Response(response) = &message
            && let ServerResult::InitializeResult(greeting) = &response.result
        {
            self.revision = Some(greeting.protocol_version.as_str().to_owned());
        }
        write(Arc::clone(&self.writer), message)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            if let Some(answering) = &mut self.answering {
                let written = answering.as_mut().await;
                self.answering = None;
                written.ok()?;
            }
            let message = match self.read().await {
                LineRead::End => return None,
                LineRead::TooLong => Some(Err(MessageError::TooLong)),
                LineRead::Whole => self.message(),
            };
            self.line.clear();
            self.line.shrink_to(USUAL);
            match message {
                Some(Ok(message)) => return Some(message),
                Some(Err(error)) => self.answer(&error),
                None => {}
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.writer.lock().await.take();
        Ok(())
    }
}
