//! What becomes of one request: for us, from whom, not too much, well-formed; then it is the protocol's.
//!
//! Nothing of a request's body is read before it is known whose it is.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE,
    RETRY_AFTER, TRANSFER_ENCODING, VARY, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use rmcp::transport::streamable_http_server::StreamableHttpService;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::{Access, AccessError, PeerCredentials};
use super::auth_log::AuthLog;
use super::hang_up::{Owed, OwedResponse};
use super::limits::{BODY, Full as TooMuch, Limits, MAX_BODY, MAX_CLIENTS};
use super::metadata::{Metadata, challenge};
use super::metrics::Counts;
use super::origin::ServerNames;
use super::seats::Seat;
use crate::message::MessageError;
use crate::server::Handler;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Which requests a page that may speak to the server can make.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");

/// What such a page may send, besides what every page may.
const SENT: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, last-event-id, mcp-method, mcp-name, mcp-protocol-version, mcp-session-id",
);

/// What such a page may read.
const READ: HeaderValue = HeaderValue::from_static("mcp-session-id, www-authenticate");

type ResponseBody = BoxBody<Bytes, Infallible>;

/// What all connections come to.
pub(super) struct Service {
    pub(super) names: ServerNames,
    /// Where the protocol is spoken.
    pub(super) path: String,
    pub(super) metadata: Option<Metadata>,
    pub(super) access: Access,
    /// What is each principal's own, by its number.
    pub(super) rooms: Vec<Room>,
    pub(super) counts: Arc<Counts>,
    pub(super) auth_log: AuthLog,
}

/// What is one principal's own: no handle, no protocol session and no pipeline is any other's.
pub(super) struct Room {
    pub(super) service: StreamableHttpService<Handler, LocalSessionManager>,
    pub(super) clients: Arc<LocalSessionManager>,
    pub(super) limits: Limits,
}

/// An answer that is no protocol message.
struct Rejection {
    status: StatusCode,
    code: i32,
    why: &'static str,
    /// Of the message that it is an answer to, if that can be told.
    id: Option<Value>,
    header: Option<(http::HeaderName, HeaderValue)>,
}

impl Rejection {
    fn new(status: StatusCode, why: &'static str) -> Self {
        Self { status, code: -32600, why, id: None, header: None }
    }

    fn with(mut self, name: http::HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }
}

impl Service {
    /// The answer to a request that came over a connection with `peer`.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: &PeerCredentials,
        seat: &Seat,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let is_measured = is_measured(request.headers());
        let mut response = match self.names.check(request.uri(), request.headers()) {
            Err(status) => refuse(&Rejection::new(status, outsider(status))),
            Ok(page) => {
                let mut response = self.inside(request, peer, seat).await.unwrap_or_else(|refused| refuse(&refused));
                if let Some(page) = page {
                    let headers = response.headers_mut();
                    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, page);
                    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, READ);
                    headers.insert(VARY, HeaderValue::from_static("origin"));
                }
                response
            }
        };
        // `strict.rs` finds the next head only behind a body whose length it has read.
        if !is_measured {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.counts.answered(response.status().as_u16());
        Ok(response)
    }

    async fn inside(
        &self,
        request: Request<Incoming>,
        peer: &PeerCredentials,
        seat: &Seat,
    ) -> Result<Response<ResponseBody>, Rejection> {
        let path = request.uri().path();
        if let Some(metadata) = self.metadata.as_ref().filter(|metadata| metadata.paths.iter().any(|own| own == path)) {
            return match *request.method() {
                Method::GET => Ok(with_type(StatusCode::OK, metadata.document.clone())),
                Method::OPTIONS => Ok(allowed()),
                _ => Err(Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here")),
            };
        }
        if path != self.path {
            return Err(Rejection::new(StatusCode::NOT_FOUND, "there is nothing here"));
        }
        match *request.method() {
            Method::POST | Method::GET | Method::DELETE => {}
            Method::OPTIONS => return Ok(allowed()),
            _ => {
                let refused = Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "only GET, POST and DELETE are answered");
                return Err(refused.with(ALLOW, METHODS));
            }
        }
        let principal = self.access.principal(request.headers(), peer).await;
        let room = principal.and_then(|principal| self.rooms.get(principal).ok_or(AccessError::Stranger));
        match room {
            Ok(room) => {
                seat.set_known();
                room.answer(request).await
            }
            Err(refusal) => {
                seat.set_refused();
                let refused = self.refused(&refusal);
                // Clients ask without a proof to be told which one is wanted.
                if refusal != AccessError::NoProof {
                    self.auth_log.turned_away(refused.why, peer).await;
                }
                Err(refused)
            }
        }
    }

    fn refused(&self, refusal: &AccessError) -> Rejection {
        let (status, why) = match refusal {
            AccessError::NoProof => (StatusCode::UNAUTHORIZED, "a token is needed"),
            AccessError::Token(fault) => (StatusCode::UNAUTHORIZED, fault.as_str()),
            AccessError::Secret => (StatusCode::UNAUTHORIZED, "the token is not known"),
            AccessError::Scope(_) => (StatusCode::FORBIDDEN, "the token says too little"),
            AccessError::Stranger => {
                (StatusCode::FORBIDDEN, "the proof is good, and its owner is no principal of this server")
            }
            AccessError::Several => (StatusCode::FORBIDDEN, "the proof fits several principals of this server"),
            AccessError::NoKeys => {
                let refused = Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "the issuer's keys cannot be had");
                return refused.with(RETRY_AFTER, HeaderValue::from_static("30"));
            }
        };
        tracing::info!(why, "a request is refused");
        let refused = Rejection::new(status, why);
        match refusal {
            // Another proof would not help.
            AccessError::Stranger | AccessError::Several => refused,
            _ => refused.with(WWW_AUTHENTICATE, challenge(self.metadata.as_ref(), refusal)),
        }
    }
}

impl Room {
    /// The protocol's answer to its own principal's request.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<ResponseBody>, Rejection> {
        let place = self.limits.admit().map_err(|full| {
            let why = match full {
                TooMuch::Rate => "there were too many requests in the last second",
                TooMuch::Places => "too many requests wait for their answers",
            };
            Rejection::new(StatusCode::TOO_MANY_REQUESTS, why).with(RETRY_AFTER, HeaderValue::from_static("1"))
        })?;
        let (owed, hang_up) = Owed::new(place);
        let (mut head, body) = request.into_parts();
        head.extensions.insert(hang_up);
        // It has done its work, and is nobody's to log or to pass on.
        head.headers.remove(AUTHORIZATION);
        let ends = head.method == Method::DELETE;
        let (body, begins) = match head.method {
            Method::POST => message(&head.headers, body).await?,
            _ => (Bytes::new(), false),
        };
        if begins {
            // Whoever says nothing for long is forgotten; until then there is an end to how many are remembered.
            let known = self.clients.sessions.read().await.len();
            if known >= MAX_CLIENTS {
                let why = "too many clients of this principal are remembered; end one with DELETE";
                return Err(Rejection::new(StatusCode::TOO_MANY_REQUESTS, why));
            }
        }
        let response = self.service.handle(Request::from_parts(head, Full::new(body.clone()))).await;
        match response.status() {
            // The library's word for what is no message of the protocol.
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Err(unread(&body)),
            StatusCode::INTERNAL_SERVER_ERROR => Err(Rejection {
                code: -32603,
                ..Rejection::new(StatusCode::INTERNAL_SERVER_ERROR, "the server has failed")
            }),
            status => {
                let mut response = response.map(|body| OwedResponse { body, owed }.boxed());
                // It has happened, and is not merely accepted: the reference client wants to know.
                if ends && status == StatusCode::ACCEPTED {
                    *response.status_mut() = StatusCode::NO_CONTENT;
                }
                Ok(response)
            }
        }
    }
}

/// Whether `strict.rs` knows how long the body of such a request is.
fn is_measured(headers: &HeaderMap) -> bool {
    let is_number = |length: &HeaderValue| length.to_str().is_ok_and(|length| length.parse::<u64>().is_ok());
    !headers.contains_key(TRANSFER_ENCODING) && headers.get_all(CONTENT_LENGTH).iter().all(is_number)
}

/// The body of a request, read within its time and size, and JSON; and whether it wants a protocol session.
async fn message(headers: &HeaderMap, body: Incoming) -> Result<(Bytes, bool), Rejection> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "requests are `application/json`"));
    }
    let too_large = || Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, "the request is larger than 4 MiB");
    let told = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|told| told > MAX_BODY) {
        return Err(too_large());
    }
    let read = tokio::time::timeout(BODY, Limited::new(body, MAX_BODY).collect()).await;
    let read = read.map_err(|_| Rejection::new(StatusCode::REQUEST_TIMEOUT, "the request took too long to arrive"))?;
    let bytes = read.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => too_large(),
        None => Rejection::new(StatusCode::BAD_REQUEST, "the request has broken off"),
    })?;
    let bytes = bytes.to_bytes();
    if let Ok(called) = serde_json::from_slice::<Called>(&bytes) {
        return Ok((bytes, called.method == "initialize"));
    }
    match MessageError::of(&bytes) {
        MessageError::Json => Err(unread(&bytes)),
        MessageError::Message(_) | MessageError::Notification | MessageError::TooLong => Ok((bytes, false)),
    }
}

/// The refusal of a body that is no message.
fn unread(body: &[u8]) -> Rejection {
    let refused = |why| Rejection::new(StatusCode::BAD_REQUEST, why);
    match MessageError::of(body) {
        MessageError::Json => Rejection { code: -32700, ..refused("the request is no JSON") },
        MessageError::Message(id) => Rejection { id, ..refused("this is no message of the protocol") },
        MessageError::Notification | MessageError::TooLong => refused("this is no message of the protocol"),
    }
}

/// What is looked at of a message here.
#[derive(Deserialize)]
struct Called {
    method: String,
}

fn outsider(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FORBIDDEN => "this page may not speak to this server: `Origin`",
        StatusCode::MISDIRECTED_REQUEST => "this server has another name: `Host`",
        _ => "the request needs one `Host`",
    }
}

fn refuse(refused: &Rejection) -> Response<ResponseBody> {
    let error = json!({ "code": refused.code, "message": refused.why });
    let mut message = json!({ "jsonrpc": "2.0", "error": error });
    // Without one, as all revisions want it of what is answered to a request that cannot be taken.
    if let (Some(fields), Some(id)) = (message.as_object_mut(), &refused.id) {
        fields.insert("id".to_owned(), id.clone());
    }
    let mut response = with_type(refused.status, message.to_string());
    if let Some((name, value)) = &refused.header {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

fn with_type(status: StatusCode, text: String) -> Response<ResponseBody> {
    let mut response = Response::new(Full::from(text).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a browser wants to know before a page's request.
fn allowed() -> Response<ResponseBody> {
    let mut response = Response::new(Full::default().boxed());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_HEADERS, SENT);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_known_if_it_is_one_number() {
        for (name, value, measured) in [
            (CONTENT_TYPE, "text/plain", true),
            (CONTENT_LENGTH, "5", true),
            (CONTENT_LENGTH, "5, 5", false),
            (TRANSFER_ENCODING, "chunked", false),
        ] {
            let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))]);
            assert_eq!(is_measured(&headers), measured, "{name}: {value}");
        }
    }
}
