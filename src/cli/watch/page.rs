//! The page: one text that any browser on this machine shows, and the stream that fills it.
//!
//! Any program of this user's could send what a page can send. So an answer takes more than the page has: a code that stands in the
//! terminal of whoever started this, and nowhere else. The page is the same for everybody and holds nothing of the record; the stream
//! takes the token.

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
use palisade_audit::{Followed, From};
use palisade_runner::control;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use super::access::{Access, Code, Shut};
use super::approvals::{self, Given};
use super::connections;
use super::model::{Changes, Model};
use crate::cli::commands;
use crate::cli::report::{self, CliError};

/// How often the pages are told, at most.
const TURN: Duration = Duration::from_millis(100);

/// What may wait for a page. One that is slower is told what it missed, and gets all there is.
const WAITING: usize = 32;

/// Pages that may look at the same time.
const PAGES: usize = 16;

/// How often the servers are asked what waits, while a page looks.
const ASKED: Duration = Duration::from_secs(1);

/// Bytes of an answer.
const MAX_ANSWER: usize = 4096;

const SKELETON: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// Serves the page on a loopback address until the process is asked to end. With `answers`, requests can be answered there.
pub(crate) fn run(directory: &Path, address: &str, control: control::Settings, answers: bool) -> Result<(), CliError> {
    let address = loopback(address)?;
    let records = super::follow(directory, From::Last(super::HISTORY))?;
    let failed =
        |error: io::Error| CliError::new(format!("cannot serve on `{address}`: {error}"), "name another port, or none");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
        let access = Access::new(listener.local_addr().map_err(failed)?)
            .map_err(|error| CliError::new(format!("there is no random number for a token: {error}"), ""))?;
        report::print(&format!("{}\n", access.address()));
        let desk = answers.then(|| Desk::new(&control)).transpose();
        let desk = desk.map_err(|error| CliError::new(format!("there is no random number for a code: {error}"), ""))?;
        if let Some(desk) = &desk {
            report::print(&format!("to answer a request there, type {}\n", desk.code.shown()));
        }
        let shared = Arc::new(Shared::new(access, desk));
        let (asking, filled) = (Arc::clone(&shared), Arc::clone(&shared));
        std::thread::Builder::new().name("waiting".to_owned()).spawn(move || ask(&asking, &control)).map_err(failed)?;
        // A page that nothing fills any more would look like one on which nothing happens.
        let (filling, filled_no_more) = tokio::sync::oneshot::channel::<()>();
        let fill = move || {
            let _until_it_ends = filling;
            fill(&filled, &records);
        };
        std::thread::Builder::new().name("page".to_owned()).spawn(fill).map_err(failed)?;
        let service = Router::new().fallback(answer).with_state(shared);
        tokio::select! {
            served = connections::serve(&listener, &service) => served.map_err(failed),
            asked = asked_to_end() => asked.map_err(failed),
            _ = filled_no_more => Err(CliError::new("the record is followed no more", "start `palisade watch --serve` again")),
        }
    })
}

/// The address, if nobody but this machine reaches it.
fn loopback(text: &str) -> Result<SocketAddr, CliError> {
    let help =
        "give a loopback address with a port, such as `127.0.0.1:8080`; to look from elsewhere, forward it by ssh";
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        Ok(_) => {
            Err(CliError::new(format!("`{text}` is no loopback address, and the page is for this machine alone"), help))
        }
        Err(_) => Err(CliError::new(format!("`{text}` is no address with a port"), help)),
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
    /// Where answers are given, if they are.
    desk: Option<Desk>,
    waiting: Mutex<Waits>,
    page: String,
    policy: HeaderValue,
    model: Mutex<Model>,
    told: broadcast::Sender<PageUpdate>,
    seats: Arc<Semaphore>,
}

/// Where answers from the page go.
struct Desk {
    code: Code,
    control: control::Settings,
}

/// What waits for a person.
#[derive(Debug, Default)]
struct Waits {
    requests: Vec<PendingRequest>,
    /// Why nothing is known of it.
    said: String,
    /// The pages have not been told.
    is_new: bool,
}

/// A request that waits, as a page is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct PendingRequest {
    id: String,
    agent: String,
    command: String,
    /// Since when, and until when, in milliseconds since 1970.
    since: i64,
    until: i64,
    quorum: u64,
    granted_by: Vec<String>,
    /// All that a person has to see before an answer.
    text: String,
}

/// What changed, for every page, and how many records there were by then.
#[derive(Clone, Debug)]
struct PageUpdate {
    json: Arc<str>,
    records: u64,
}

/// What a page is told.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(flatten)]
    changes: Changes<'a>,
    /// What waits, if that is another than before.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<&'a [PendingRequest]>,
    /// Records that it was not told of in time.
    missed: u64,
}

impl Shared {
    fn new(access: Access, desk: Option<Desk>) -> Self {
        let page = SKELETON.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
        let page = page.replace("/*answers*/", if desk.is_some() { "here" } else { "" });
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
        let (waiting, model, seats) = (Mutex::default(), Mutex::default(), Arc::new(Semaphore::new(PAGES)));
        Self { access, desk, waiting, page, policy, model, told, seats }
    }

    fn waiting(&self) -> MutexGuard<'_, Waits> {
        // Nothing that holds the lock can fail half-way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is shown. A thread that failed while it held the lock has left the model as it was before that record.
    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All there is, and what comes behind it.
    fn all(&self, missed: impl FnOnce(u64) -> u64) -> (PageUpdate, broadcast::Receiver<PageUpdate>) {
        let model = self.model();
        let next = self.told.subscribe();
        let records = model.totals().records;
        let waiting = self.waiting();
        let json = json(&Message { changes: model.all(), waiting: Some(&waiting.requests), missed: missed(records) });
        (PageUpdate { json, records }, next)
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
        let mut model = shared.model();
        let mut waiting = shared.waiting();
        let others_wait = std::mem::take(&mut waiting.is_new);
        if others_wait && !waiting.said.is_empty() {
            model.tell(std::mem::take(&mut waiting.said), false);
        }
        if std::mem::take(&mut is_new) || others_wait {
            if shared.told.receiver_count() > 0 {
                let records = model.totals().records;
                let waiting = others_wait.then_some(waiting.requests.as_slice());
                let json = json(&Message { changes: model.changes(), waiting, missed: 0 });
                // Whoever has left in between misses nothing.
                let _ = shared.told.send(PageUpdate { json, records });
            }
            model.seen();
        }
    }
}

/// Asks the servers what waits, while a page looks: whoever looks is there to be asked.
fn ask(shared: &Shared, control: &control::Settings) {
    let mut complaint = String::new();
    loop {
        if shared.told.receiver_count() > 0 {
            let (requests, said) = approvals::requests(control).unwrap_or_else(|said| (Vec::new(), said));
            let mut waiting = shared.waiting();
            let requests: Vec<PendingRequest> =
                requests.iter().map(|request| PendingRequest::of(request, &waiting.requests)).collect();
            let complains = std::mem::replace(&mut complaint, said.clone()) != said && !said.is_empty();
            if complains {
                waiting.said = said;
            }
            waiting.is_new |= complains || requests != waiting.requests;
            waiting.requests = requests;
        } else {
            // The next page that looks is told what waits by then.
            shared.waiting().requests.clear();
        }
        std::thread::sleep(ASKED);
    }
}

impl PendingRequest {
    /// A request as it stands. When it began is told once, since it is known in seconds alone.
    fn of(request: &control::wire::Request<String>, known: &[Self]) -> Self {
        let short = &request.short;
        let before = |seconds: u64| i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let now = jiff::Timestamp::now().as_millisecond();
        let since = now.saturating_sub(before(short.age_s));
        let known = known.iter().find(|known| known.id == short.id);
        Self {
            id: short.id.clone(),
            agent: short.agent.clone(),
            command: short.command.clone(),
            since: known.map_or(since, |known| known.since),
            until: known.map_or(now.saturating_add(before(short.expires_s)), |known| known.until),
            quorum: short.quorum,
            granted_by: short.granted_by.clone(),
            text: known.map_or_else(|| commands::approvals::about(request), |known| known.text.clone()),
        }
    }
}

/// What a page sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    id: String,
    /// `yes` or `no`, as the person has typed it.
    word: String,
    code: String,
}

impl Desk {
    fn new(control: &control::Settings) -> Result<Self, rustix::io::Errno> {
        Ok(Self { code: Code::new()?, control: control.clone() })
    }

    /// Gives an answer to the server whose request it is; what became of it, or why it was not given.
    async fn take(&self, body: Body) -> (StatusCode, String) {
        let unread = || (StatusCode::BAD_REQUEST, "this is no answer".to_owned());
        let body = tokio::time::timeout(connections::BODY, axum::body::to_bytes(body, MAX_ANSWER)).await;
        let Ok(Ok(body)) = body else { return unread() };
        let Ok(Sent { id, word, code }) = serde_json::from_slice(&body) else { return unread() };
        match self.code.opens(&code) {
            Ok(()) => {}
            Err(Shut::Wrong) => return (StatusCode::FORBIDDEN, "the code is not the one that was printed".to_owned()),
            Err(Shut::ForGood) => {
                let said = "too many codes were wrong: answer in a terminal, or start the page again";
                return (StatusCode::FORBIDDEN, said.to_owned());
            }
        }
        let yes = match word.trim() {
            "yes" | "y" => true,
            "no" | "n" => false,
            _ => return (StatusCode::BAD_REQUEST, "no answer was given: type yes or no".to_owned()),
        };
        let control = self.control.clone();
        let given = tokio::task::spawn_blocking(move || approvals::answer(&control, Given { id, yes })).await;
        given.map_or_else(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()), |said| (StatusCode::OK, said))
    }
}

/// The one way in: three places, of which one takes something.
async fn answer(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let answer = match shared.access.is_ours(request.headers()) {
        Err(status) => status.into_response(),
        Ok(()) if request.uri().path() == "/answer" && request.method() == Method::POST => match &shared.desk {
            None => StatusCode::NOT_FOUND.into_response(),
            Some(_) if !shared.access.has_token(request.headers()) => StatusCode::UNAUTHORIZED.into_response(),
            Some(desk) => desk.take(request.into_body()).await.into_response(),
        },
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
fn turns(shared: Arc<Shared>, seat: OwnedSemaphorePermit) -> impl Stream<Item = (&'static str, PageUpdate)> {
    let begin = (shared, seat, None, 0);
    stream::unfold(begin, |(shared, seat, next, records)| async move {
        let (name, told, next): (_, PageUpdate, broadcast::Receiver<PageUpdate>) = match next {
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
        let shared = Arc::new(Shared::new(Access::new("127.0.0.1:1".parse().unwrap()).unwrap(), None));
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
            let changes = json(&Message { changes: model.changes(), waiting: None, missed: 0 });
            let records = model.totals().records;
            shared.told.send(PageUpdate { json: changes, records }).unwrap();
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
