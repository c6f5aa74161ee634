//! `notifications/progress`: a client that sent a token with its call hears how what it waits for gets on.
//!
//! Each tells how long the call has waited, in seconds, and the last line that the command has printed, redacted as all output is.

use std::convert::Infallible;
use std::time::Duration;

use palisade_runner::Follower;
use rmcp::RoleServer;
use rmcp::model::ProgressNotificationParam;
use rmcp::service::RequestContext;

/// A client hears something at least every five seconds.
const EVERY: Duration = Duration::from_secs(4);

/// Characters of the last line.
const MAX_LINE: usize = 200;

/// Tells the client of a call, for as long as the answer is polled.
pub(crate) async fn tell(context: &RequestContext<RoleServer>, follower: Follower) -> Infallible {
    let Some(token) = context.meta.get_progress_token() else { return std::future::pending().await };
    let mut waited = Duration::ZERO;
    loop {
        tokio::time::sleep(EVERY).await;
        waited += EVERY;
        let mut told = ProgressNotificationParam::new(token.clone(), waited.as_secs_f64());
        told.message =
            follower.last_line(MAX_LINE).filter(|line| !line.is_empty()).map(|line| line.as_str().to_owned());
        if let Err(error) = context.peer.notify_progress(told).await {
            tracing::debug!(%error, "a client was not told how its call gets on");
            return std::future::pending().await;
        }
    }
}
