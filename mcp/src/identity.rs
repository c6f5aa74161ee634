//! Who is asking: what a connection proves, and what it merely says.

use palisade_runner::Client;
use rmcp::RoleServer;
use rmcp::service::RequestContext;

use crate::http::hang_up::HangUp;

/// Longest client name that is passed on.
const MAX_CLIENT: usize = 100;

/// The client's own name for itself. On standard input the principal is the operator's settings and the operating
/// system's user, over HTTP it is what a request proves (`http/access.rs`); what a client says of itself is a circumstance,
/// never an identity.
pub(crate) fn client(context: &RequestContext<RoleServer>) -> Client {
    let name = context.client_info().map(|info| info.name.chars().take(MAX_CLIENT).collect());
    Client::self_declared(name.unwrap_or_default())
}

/// What tells that the client of a call over HTTP is gone.
pub(crate) fn hang_up(context: &RequestContext<RoleServer>) -> Option<HangUp> {
    context.extensions.get::<::http::request::Parts>()?.extensions.get::<HangUp>().cloned()
}
