//! The page: one text that any browser on this machine shows, and the stream that fills it.
//!
//! It only shows. Any program of this user's could send what a page can send, so nothing is answered or changed here. The
//! page is the same for everybody and holds nothing of the record; the stream takes the token.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use futures_util::stream::{self, Stream};
use palisade_runner::audit::{Followed, From};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use super::access::Access;
use super::model::{Changes, Model};
use crate::report::{self, Trouble};

/// How often the pages are told, at most.
const TURN: Duration = Duration::from_millis(100);

/// What may wait for a page. One that is slower is told what it missed, and gets all there is.
const WAITING: usize = 32;

/// Pages that may look at the same time.
const PAGES: usize = 16;

const SKELETON: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// Serves the page on a loopback address until the process is asked to end.
pub(crate) fn run(directory: &Path, address: &str) -> Result<(), Trouble> {
    let address = loopback(address)?;
    let records = super::follow(directory, From::Last(super::HISTORY))?;
    let failed =
        |error: io::Error| Trouble::new(format!("cannot serve on `{address}`: {error}"), "name another port, or none");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
        let access = Access::new(listener.local_addr().map_err(failed)?)
            .map_err(|error| Trouble::new(format!("there is no random number for a token: {error}"), ""))?;
        report::print(&format!("{}\n", access.address()));
        let shared = Arc::new(Shared::new(access));
        let filled = Arc::clone(&shared);
        // A page that nothing fills any more would look like one on which nothing happens.
        let (filling, filled_no_more) = tokio::sync::oneshot::channel::<()>();
        let fill = move || {
            let _until_it_ends = filling;
            fill(&filled, &records);
        };
        std::thread::Builder::new().name("page".to_owned()).spawn(fill).map_err(failed)?;
        let service = Router::new().fallback(answer).with_state(shared);
        tokio::select! {
            served = async { axum::serve(listener, service).await } => served.map_err(failed),
            asked = asked_to_end() => asked.map_err(failed),
            _ = filled_no_more => Err(Trouble::new("the record is followed no more", "start `palisade watch --serve` again")),
        }
    })
}

/// The address, if nobody but this machine reaches it.
fn loopback(text: &str) -> Result<SocketAddr, Trouble> {
    let help =
        "give a loopback address with a port, such as `127.0.0.1:8080`; to look from elsewhere, forward it by ssh";
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        Ok(_) => {
            Err(Trouble::new(format!("`{text}` is no loopback address, and the page is for this machine alone"), help))
        }
        Err(_) => Err(Trouble::new(format!("`{text}` is no address with a port"), help)),
    }
}

async fn asked_to_end() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}

/// What all requests have in common.
struct Shared {
    access: Access,
    page: String,
    policy: HeaderValue,
    model: Mutex<Model>,
    told: broadcast::Sender<Told>,
    seats: Arc<Semaphore>,
}

/// What changed, for every page, and how many records there were by then.
#[derive(Clone, Debug)]
struct Told {
    json: Arc<str>,
    records: u64,
}

/// What a page is told.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(flatten)]
    changes: Changes<'a>,
    /// Records that it was not told of in time.
    missed: u64,
}

impl Shared {
    fn new(access: Access) -> Self {
        let page = SKELETON.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
        let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
        let policy = format!(
            "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            hash(SCRIPT),
            hash(STYLE)
        );
        // Base64 and our own words are a header's value; were they not, nothing could run on the page.
        let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        let (told, _) = broadcast::channel(WAITING);
        Self { access, page, policy, model: Mutex::default(), told, seats: Arc::new(Semaphore::new(PAGES)) }
    }

    /// What is shown. A thread that failed while it held the lock has left the model as it was before that record.
    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All there is, and what comes behind it.
    fn all(&self, missed: impl FnOnce(u64) -> u64) -> (Told, broadcast::Receiver<Told>) {
        let model = self.model();
        let next = self.told.subscribe();
        let records = model.totals().records;
        let json = json(&Message { changes: model.all(), missed: missed(records) });
        (Told { json, records }, next)
    }
}

fn json(message: &Message<'_>) -> Arc<str> {
    serde_json::to_string(message).unwrap_or_default().into()
}

/// Takes in what is written, and tells the pages at most once a [`TURN`].
fn fill(shared: &Shared, records: &Receiver<Vec<Followed>>) {
    let mut told = Instant::now();
    let mut is_new = false;
    loop {
        match records.recv_timeout(TURN.saturating_sub(told.elapsed())) {
            Ok(batch) if batch.is_empty() => {}
            Ok(batch) => {
                let mut model = shared.model();
                batch.iter().for_each(|one| model.take(one));
                is_new = true;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if told.elapsed() < TURN {
            continue;
        }
        told = Instant::now();
        if std::mem::take(&mut is_new) {
            let mut model = shared.model();
            if shared.told.receiver_count() > 0 {
                let records = model.totals().records;
                let json = json(&Message { changes: model.changes(), missed: 0 });
                // Whoever has left in between misses nothing.
                let _ = shared.told.send(Told { json, records });
            }
            model.seen();
        }
    }
}

/// The one way in: two places, one method.
async fn answer(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let answer = match shared.access.is_ours(request.headers()) {
        Err(status) => status.into_response(),
        Ok(()) if request.method() != Method::GET => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        Ok(()) => match request.uri().path() {
            "/" => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], shared.page.clone()).into_response(),
            "/live" if !shared.access.has_token(request.headers()) => StatusCode::UNAUTHORIZED.into_response(),
            "/live" => match Arc::clone(&shared.seats).try_acquire_owned() {
                Ok(seat) => {
                    let live = Sse::new(live(Arc::clone(&shared), seat));
                    live.keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
                }
                Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            },
            _ => StatusCode::NOT_FOUND.into_response(),
        },
    };
    fenced(answer, &shared.policy)
}

fn live(shared: Arc<Shared>, seat: OwnedSemaphorePermit) -> impl Stream<Item = Result<Event, Infallible>> {
    turns(shared, seat).map(|(name, told)| Ok(Event::default().event(name).data(&*told.json)))
}

/// All there is, then what changes. A page that falls behind gets all there is once more.
fn turns(shared: Arc<Shared>, seat: OwnedSemaphorePermit) -> impl Stream<Item = (&'static str, Told)> {
    let begin = (shared, seat, None, 0);
    stream::unfold(begin, |(shared, seat, next, records)| async move {
        let (name, told, next): (_, Told, broadcast::Receiver<Told>) = match next {
            None => {
                let (told, next) = shared.all(|_| 0);
                ("all", told, next)
            }
            Some(mut next) => match broadcast::Receiver::recv(&mut next).await {
                Ok(told) => ("more", told, next),
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    let (told, next) = shared.all(|now| now.saturating_sub(records));
                    ("all", told, next)
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            },
        };
        let records = told.records;
        Some(((name, told), (shared, seat, Some(next), records)))
    })
}

/// What every answer says to the browser: run nothing but what is in the page, show it nowhere else, keep nothing.
fn fenced(mut answer: Response, policy: &HeaderValue) -> Response {
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;
    use serde_json::{Value, json as value};

    use super::super::model::tests::{decision, followed};
    use super::*;

    #[test]
    fn a_page_that_falls_behind_is_told_of_all_there_is_and_of_what_it_missed() {
        let shared = Arc::new(Shared::new(Access::new("127.0.0.1:1".parse().unwrap()).unwrap()));
        let seat = Arc::clone(&shared.seats).try_acquire_owned().unwrap();
        let mut page = pin!(turns(Arc::clone(&shared), seat));
        let mut told = || {
            let (name, told) = page.next().now_or_never()??;
            Some((name, serde_json::from_str::<Value>(&told.json).unwrap()))
        };
        assert_eq!(told().unwrap().0, "all");
        assert!(told().is_none(), "there is nothing new");

        let many = WAITING as u64 + 1;
        let entries: Vec<Value> = (1..=many).map(|number| decision(number, None, "allow", "make")).collect();
        // A turn for each, none of which the page takes.
        let tell = |batch: Vec<Followed>| {
            let mut model = shared.model();
            batch.iter().for_each(|one| model.take(one));
            let changes = json(&Message { changes: model.changes(), missed: 0 });
            let records = model.totals().records;
            shared.told.send(Told { json: changes, records }).unwrap();
            model.seen();
        };
        let mut all = followed(&entries).into_iter();
        tell(all.by_ref().take(1).collect());
        let (name, one) = told().unwrap();
        assert_eq!((name, one["acts"].as_array().unwrap().len(), &one["missed"]), ("more", 1, &value!(0)));
        all.for_each(|one| tell(vec![one]));
        tell(Vec::new());

        let (name, again) = told().unwrap();
        assert_eq!((name, again["acts"].as_array().unwrap().len()), ("all", entries.len()));
        assert_eq!(again["missed"], many - 1);
        assert!(told().is_none(), "what it had is not told again");
        tell(Vec::new());
        assert_eq!(told().unwrap().0, "more");
    }
}
