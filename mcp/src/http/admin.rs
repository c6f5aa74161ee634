//! The operator's socket: whether the server is well, and what it has counted. It changes nothing, and no agent reaches it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use palisade_runner::Pipeline;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use super::limits::HEAD;
use super::metrics::{self, Counts};

/// Connections at a time.
const MAX_CONNECTIONS: usize = 8;

/// What is shown there.
pub(super) struct Admin {
    pub(super) counts: Arc<Counts>,
    pub(super) principals: Vec<(String, Arc<Pipeline>)>,
    /// True once the server is told to stop.
    pub(super) stopping: watch::Receiver<bool>,
}

impl Admin {
    /// Answers whoever connects, as long as the future lives. Only the server's own user and root are let in.
    pub(super) async fn keep(self: Arc<Self>, listener: UnixListener) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors, most likely: they come back.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            if !is_operator(&stream) {
                continue;
            }
            let own = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(|request| own.answer(request));
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(HEAD).keep_alive(false);
                let _broken_off = server.serve_connection(TokioIo::new(stream), service).await;
                drop(place);
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (status, text) = match (request.method(), request.uri().path()) {
            (&Method::GET, "/healthz") if *self.stopping.borrow() => {
                (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned())
            }
            (&Method::GET, "/healthz") => (StatusCode::OK, "ok\n".to_owned()),
            (&Method::GET, "/metrics") => (StatusCode::OK, metrics::text(&self.counts, &self.principals).await),
            (_, "/healthz" | "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
            _ => (StatusCode::NOT_FOUND, String::new()),
        };
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        let kind = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
        Ok(response)
    }
}

fn is_operator(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| [0, own].contains(&peer.uid()))
}
