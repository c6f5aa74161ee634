//! A client that is gone before its answer is: what runs for it then ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;

use super::limits::RequestPermit;

/// Turns true when the client of a request is gone.
#[derive(Clone, Debug)]
pub(crate) struct HangUp(watch::Receiver<bool>);

impl HangUp {
    /// The switch itself.
    pub(crate) fn switch(self) -> watch::Receiver<bool> {
        self.0
    }
}

/// Held as long as an answer is owed. Dropped before it is given, it turns the switch.
#[derive(Debug)]
pub(super) struct Owed {
    switch: Option<watch::Sender<bool>>,
    /// Free again when the answer is given.
    place: Option<RequestPermit>,
}

impl Owed {
    pub(super) fn new(place: RequestPermit) -> (Self, HangUp) {
        let (switch, gone) = watch::channel(false);
        (Self { switch: Some(switch), place: Some(place) }, HangUp(gone))
    }

    fn given(&mut self) {
        self.switch = None;
        self.place = None;
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some(switch) = &self.switch {
            switch.send_replace(true);
        }
    }
}

/// An answer that is given once it has been read to its end.
pub(super) struct OwedResponse {
    pub(super) body: BoxBody<Bytes, Infallible>,
    pub(super) owed: Owed,
}

impl Body for OwedResponse {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.owed.given();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
