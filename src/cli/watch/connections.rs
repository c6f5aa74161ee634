//! The connections of the page: so many at a time, and none that asks for nothing is kept.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at a time; further ones wait in the system's queue.
const MOST: usize = 128;

/// How long the lines of a request's head may take, and how long a connection is kept that asks for nothing more.
const HEAD: Duration = Duration::from_secs(10);

/// How long the rest of a request may take.
pub(super) const BODY: Duration = Duration::from_secs(10);

/// Answers what is asked at this listener, for ever.
///
/// # Errors
/// Never yet; a connection that cannot be taken is waited for.
pub(super) async fn serve(listener: &TcpListener, pages: &Router) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: they come back.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let pages = TowerToHyperService::new(pages.clone());
        tokio::spawn(async move {
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD);
            // That a page has gone away is no fault.
            let _gone = server.serve_connection(TokioIo::new(stream), pages).await;
            drop(place);
        });
    }
}
