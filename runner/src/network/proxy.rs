//! The proxy of one session: takes its connections up, reads what each wants, and has the [`Proxy`] decide.
//!
//! One connection, one peer: what follows a request on the same connection is nobody's request. Each has little memory and a time
//! by which it must have said what it wants, and there are only so many at once; the others wait in the session's own kernel queue.

use std::io::{ErrorKind, Result};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::http::{self, Authority, Body, Request};
use super::relay::{self, Life, PeekedStream};
use super::socks::{self, Reply};
use super::{Connected, NoConnection, Proxy, ProxyProtocol, Use};

/// Connections of one session at once.
const MAX_CONNECTIONS: usize = 64;

/// How long a connection may take to say what it wants.
const ASKING: Duration = Duration::from_secs(10);

/// Bytes that the head of an answer may have.
const MAX_ANSWER: usize = 64 << 10;

/// For an agent's own copy of an installer that wants more.
const ONLY_FETCHES: &str = "this program is the workspace's own code: from a registry it may fetch files by name (GET, without a query), \
                            and nothing else";

/// Rest after a connection that could not be taken up, for want of descriptors.
const REST: Duration = Duration::from_millis(100);

/// A session's proxy. Dropping it ends all of its connections.
#[derive(Debug)]
pub struct ProxyServer(JoinHandle<()>);

impl ProxyServer {
    pub(super) fn serve(gate: Arc<Proxy>, listener: OwnedFd, first: i32) -> Result<Self> {
        let listener = std::net::TcpListener::from(listener);
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Self(tokio::spawn(take_up(gate, listener, first))))
    }
}

impl Drop for ProxyServer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn take_up(gate: Arc<Proxy>, listener: TcpListener, first: i32) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // They end with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let gate = Arc::clone(&gate);
                connections.spawn(async move {
                    let ended = Client::new(gate, stream, first, from).live().await;
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection of a session's has broken");
                    }
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(REST).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

/// One connection of a program's.
struct Client {
    gate: Arc<Proxy>,
    from: PeekedStream<OwnedReadHalf>,
    to: OwnedWriteHalf,
    first: i32,
    at: SocketAddr,
}

impl Client {
    fn new(gate: Arc<Proxy>, stream: TcpStream, first: i32, at: SocketAddr) -> Self {
        let (from, to) = stream.into_split();
        Self { gate, from: PeekedStream::new(from), to, first, at }
    }

    async fn live(mut self) -> Result<()> {
        let asked = async {
            match self.from.first().await? {
                socks::VERSION => self.socks().await.map(|peer| peer.map(ProxyRequest::Socks)),
                _ => self.http().await.map(|request| request.map(ProxyRequest::Http)),
            }
        };
        let Ok(asked) = tokio::time::timeout(ASKING, asked).await else {
            return self.say(408, "Request Timeout", "the request did not come in time").await;
        };
        match asked? {
            None => Ok(()),
            Some(ProxyRequest::Socks(peer)) => match self.connect(&peer, ProxyProtocol::Socks).await {
                Ok(peer) => {
                    self.to.write_all(&Reply::Succeeded.message()).await?;
                    self.tunnel(peer.stream).await
                }
                Err(NoConnection::Denied(_)) => self.to.write_all(&Reply::NotAllowed.message()).await,
                Err(_) => self.to.write_all(&Reply::Unreachable.message()).await,
            },
            Some(ProxyRequest::Http(Request::Tunnel(peer))) => match self.connect(&peer, ProxyProtocol::Tunnel).await {
                Ok(connected) => {
                    self.to.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
                    match connected.use_of_it {
                        Use::Anything => self.tunnel(connected.stream).await,
                        Use::Fetching => self.inspect(&peer, connected).await,
                    }
                }
                Err(error) => self.apologise(error).await,
            },
            Some(ProxyRequest::Http(Request::Fetch(fetch))) => {
                match self.connect(&fetch.authority, ProxyProtocol::Plain).await {
                    Ok(Connected { stream, host, use_of_it: Use::Anything }) => {
                        self.fetch(fetch.head(&host), fetch.body, stream).await
                    }
                    Ok(Connected { stream, host, .. }) if fetch.fetches() => {
                        self.fetch(fetch.fetching_head(&host), fetch.body, stream).await
                    }
                    Ok(_) => self.say(403, "Forbidden", ONLY_FETCHES).await,
                    Err(error) => self.apologise(error).await,
                }
            }
        }
    }

    /// What an HTTP request wants; none if it has been answered.
    async fn http(&mut self) -> Result<Option<Request>> {
        let Some(head) = self.from.head(http::MAX_HEAD).await? else {
            self.say(431, "Request Header Fields Too Large", "the request's head is too long").await?;
            return Ok(None);
        };
        match http::read(&head) {
            Ok(request) => Ok(Some(request)),
            Err(bad) => {
                self.say(400, "Bad Request", bad.0).await?;
                Ok(None)
            }
        }
    }

    /// What a SOCKS request wants; none if it has been answered.
    async fn socks(&mut self) -> Result<Option<Authority>> {
        let greeting = self.from.exactly(2).await?;
        let methods = self.from.exactly(greeting.last().copied().unwrap_or(0).into()).await?;
        let Some(method) = socks::method(&methods) else {
            self.to.write_all(&socks::NO_METHOD).await?;
            return Ok(None);
        };
        self.to.write_all(&method).await?;
        let head = self.from.exactly(4).await?;
        let &[socks::VERSION, command, _, kind] = head.as_slice() else {
            return Err(ErrorKind::InvalidData.into());
        };
        let length = self.from.first().await?;
        let peer = match socks::address_length(kind, length) {
            Ok(length) => socks::peer(command, kind, &self.from.exactly(length).await?),
            Err(reply) => Err(reply),
        };
        match peer {
            Ok(peer) => Ok(Some(peer)),
            Err(reply) => {
                self.to.write_all(&reply.message()).await?;
                Ok(None)
            }
        }
    }

    async fn connect(&self, peer: &Authority, form: ProxyProtocol) -> std::result::Result<Connected, NoConnection> {
        // Some files of `/proc` are read: a thousandth of a second, in which others go on.
        let caller = tokio::task::block_in_place(|| self.gate.programs().at(self.first, self.at));
        self.gate.connect(peer, &caller, form).await
    }

    /// Passes everything on, in both directions.
    async fn tunnel(mut self, peer: TcpStream) -> Result<()> {
        let (from, mut to) = peer.into_split();
        let mut from = PeekedStream::new(from);
        let life = Life::new();
        let both = async {
            tokio::try_join!(relay::all(&mut self.from, &mut to, &life), relay::all(&mut from, &mut self.to, &life))
        };
        tokio::select! {
            ended = both => ended.map(drop),
            () = life.ended() => Ok(()),
        }
    }

    /// Passes one request and its answer on.
    async fn fetch(self, head: Vec<u8>, body: Body, peer: TcpStream) -> Result<()> {
        let (from, to) = peer.into_split();
        exchange((self.from, self.to), (head, body), (PeekedStream::new(from), to)).await
    }

    /// Takes the peer's place in the TLS session that the program begins, and passes on one request that only fetches, with its answer.
    async fn inspect(self, peer: &Authority, connected: Connected) -> Result<()> {
        let Some(inspector) = self.gate.inspector() else { return Ok(()) };
        let (ahead, from) = self.from.into_parts();
        let client = tokio::io::join(std::io::Cursor::new(ahead).chain(from), self.to);
        let acceptor = inspector.acceptor(&connected.host)?;
        let accepted = async {
            let (from, mut to) = tokio::io::split(acceptor.accept(client).await?);
            let mut from = PeekedStream::new(from);
            let head = match from.head(http::MAX_HEAD).await? {
                Some(head) => http::read_as(peer, &head).map_err(|bad| (400, "Bad Request", bad.0)),
                None => Err((431, "Request Header Fields Too Large", "the request's head is too long")),
            };
            let fetch =
                head.and_then(|fetch| if fetch.fetches() { Ok(fetch) } else { Err((403, "Forbidden", ONLY_FETCHES)) });
            match fetch {
                Ok(fetch) => Ok(Some((from, to, fetch))),
                Err((status, phrase, why)) => {
                    to.write_all(&page(status, phrase, why)).await?;
                    to.shutdown().await.map(|()| None)
                }
            }
        };
        let accepted = tokio::time::timeout(ASKING, accepted).await;
        let Some((from, mut to, fetch)) = accepted.map_err(|_| ErrorKind::TimedOut)?? else { return Ok(()) };
        let (connector, name) = inspector.connector(&connected.host)?;
        match tokio::time::timeout(ASKING, connector.connect(name, connected.stream)).await {
            Ok(Ok(peer)) => {
                let (answers, asks) = tokio::io::split(peer);
                let request = (fetch.fetching_head(&connected.host), fetch.body);
                exchange((from, to), request, (PeekedStream::new(answers), asks)).await
            }
            Ok(Err(_)) | Err(_) => {
                to.write_all(&page(
                    502,
                    "Bad Gateway",
                    "the peer does not speak TLS, or the machine does not trust its certificate",
                ))
                .await?;
                to.shutdown().await
            }
        }
    }

    async fn apologise(mut self, error: NoConnection) -> Result<()> {
        match error {
            NoConnection::Denied(why) => self.say(403, "Forbidden", why.as_str()).await,
            NoConnection::Unreachable(why) => self.say(502, "Bad Gateway", why).await,
            NoConnection::Unrecorded => self.say(503, "Service Unavailable", "the connection cannot be recorded").await,
        }
    }

    async fn say(&mut self, status: u16, phrase: &str, why: &str) -> Result<()> {
        self.to.write_all(&page(status, phrase, why)).await?;
        self.to.shutdown().await
    }
}

/// Passes one request on that was read, and its answer.
async fn exchange<R, W, F, T>(
    (mut client, mut answered): (PeekedStream<R>, W),
    (head, body): (Vec<u8>, Body),
    (mut from, mut to): (PeekedStream<F>, T),
) -> Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    F: AsyncRead + Unpin,
    T: AsyncWrite + Unpin,
{
    let life = Life::new();
    let up = async {
        to.write_all(&head).await?;
        to.flush().await?;
        relay::body(body, &mut client, &mut to, &life).await?;
        Err::<(), _>(client.broken().await)
    };
    let down = async {
        loop {
            let Some(head) = from.head(MAX_ANSWER).await? else { break };
            let Ok((head, interim)) = http::answer(&head) else { break };
            answered.write_all(&head).await?;
            if !interim {
                return relay::all(&mut from, &mut answered, &life).await;
            }
        }
        answered.write_all(&page(502, "Bad Gateway", "the peer's answer cannot be read")).await?;
        answered.shutdown().await
    };
    tokio::select! {
        ended = down => ended,
        ended = up => ended,
        () = life.ended() => Ok(()),
    }
}

/// What a client of the proxy asks for.
enum ProxyRequest {
    Http(Request),
    Socks(Authority),
}

fn page(status: u16, phrase: &str, why: &str) -> Vec<u8> {
    let text = format!("palisade: {why}\n");
    let head = format!(
        "HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    (head + &text).into_bytes()
}
