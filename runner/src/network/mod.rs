//! A session's one way out: a proxy in the server, which asks policy about each connection.
//!
//! ```text
//! program ─ TCP, 127.0.0.1:3128 in the session's own network ─▶ proxy.rs ─ host, port ─▶ Proxy ─▶ engine, record
//!                                                                  ▲ bytes                 │ names looked up once (address.rs)
//!                                                                  └──────── peer ◀────────┘ the address that was judged is dialled
//! ```
//!
//! The session's network holds nothing but a loopback device, and on it a socket that the session's first process has opened and
//! handed out. No other session is in that network. Where policy lets the session use that device, its programs listen and connect there
//! by themselves; otherwise they can reach the proxy alone. What a program is told to use
//! ([`variables`]) is a convenience: whoever does without has no network.
//!
//! Decided here: which connections a session gets (the engine is asked in [`Proxy::decide`] alone), and what of them is on record.
//! Not decided here: whether a session has a network at all (`sandbox/plan.rs`), and what is said inside a tunnel.

mod address;
mod http;
mod inspection;
mod proxy;
mod relay;
mod socks;

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palisade_audit::{Audit, Entry};
use palisade_engine::{Act, Connection, Decision, Facts, Grant, Report, canonical_host};
use palisade_grammar::{Command, Span};
use palisade_redact::{Redacted, Redactor};
use palisade_sandbox::PROXY_PORT;
use tokio::net::TcpStream;

use self::http::Authority;
pub use self::inspection::Inspector;
pub use self::proxy::ProxyServer;
use crate::guard::{Caller, Programs};
use crate::policies::Policies;
use crate::record;
use crate::result::DeniedProgram;
use crate::shell::progress::Progress;

/// How long a name may take to be looked up.
const LOOKING_UP: Duration = Duration::from_secs(10);

/// How long one address may take to answer.
const DIALLING: Duration = Duration::from_secs(15);

/// Addresses of a name that are judged and tried.
const MAX_ADDRESSES: usize = 8;

/// Refusals of one script that are recorded each by itself; a loop may meet any number, and those beyond are counted.
const MAX_REFUSALS: usize = 256;

/// The variables that tell programs of the proxy, in the spellings that there are. It is named as an HTTP proxy throughout:
/// it speaks SOCKS at the same place, but programs without that give up on a name that says so.
///
/// With a loopback device of its `own`, what a session's programs look for there is not asked of the proxy.
pub fn variables(own: bool) -> impl Iterator<Item = (OsString, OsString)> {
    let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
    let set = VARIABLES.iter().map(move |name| (OsString::from(name), OsString::from(&proxy)));
    let none = if own { OWN_LOOPBACK } else { "" };
    set.chain(["no_proxy", "NO_PROXY"].map(|name| (name.into(), none.into())))
}

/// In the spellings that programs know: Go's takes a range of addresses, curl and Python names and single ones.
const OWN_LOOPBACK: &str = "localhost,127.0.0.1,127.0.0.0/8,::1,[::1],0.0.0.0";

const VARIABLES: [&str; 6] = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The facts for a connection that leaves the session: what the server finds at a loopback address is the machine's.
fn outside(facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    facts.session.own_network = false;
    facts
}

/// What decides on the connections of one session.
pub struct Proxy {
    policies: Policies,
    redactor: Redactor,
    audit: Audit,
    programs: Arc<Programs>,
    /// Without one, an agent's own copy of an installer fetches nothing.
    inspector: Option<Arc<Inspector>>,
    state: Mutex<ScriptState>,
}

/// What the current script may reach, and what was refused to it.
struct ScriptState {
    /// What the current script was judged on.
    facts: Facts,
    /// Peers that a person was shown in the current script, and has allowed.
    approved: HashSet<(String, u16)>,
    /// Programs that a person has allowed to install packages in the current script: what it starts may reach what they may.
    installers: BTreeSet<String>,
    /// Where the current script's refusals go.
    progress: Option<Arc<Progress>>,
    /// What was refused to it.
    refused: BTreeSet<(String, u16, String)>,
    /// How often something else was, once that was full.
    more: u64,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NoConnection {
    /// Policy does not permit it; in words for the program.
    Denied(Redacted),
    /// The peer has no address, or none answers.
    Unreachable(&'static str),
    /// It could not be put on record.
    Unrecorded,
}

/// A peer that may be connected to.
struct Permitted {
    addresses: Vec<IpAddr>,
    policies: Vec<String>,
    use_of_it: Use,
}

/// What a connection may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Whatever the two sides say.
    Anything,
    /// One request that only fetches, which the proxy reads.
    Fetching,
}

/// How a program has asked for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProxyProtocol {
    /// A tunnel that a TLS session is expected in.
    Tunnel,
    /// A plain HTTP request.
    Plain,
    /// A tunnel for any protocol.
    Socks,
}

/// A connection that there is.
struct Connected {
    stream: TcpStream,
    /// The peer's one spelling.
    host: String,
    use_of_it: Use,
}

/// Why a peer may not be connected to.
#[derive(Debug, Default, PartialEq, Eq)]
struct PeerDenial {
    policy: String,
    reason: String,
    suggest: String,
}

/// What becomes of a refusal on record.
enum Noted {
    /// Nothing: it is there already, or is counted with others.
    Known,
    /// It goes there by itself.
    New,
    /// It stands for so many.
    TooMany { session: String, more: u64 },
}

/// A connection that a program wants.
struct Wanted<'a> {
    /// The peer, in the one spelling that policies see.
    host: &'a str,
    port: u16,
    caller: &'a Caller,
    form: ProxyProtocol,
}

impl Proxy {
    /// For a session that is opened on these facts.
    pub fn new(
        policies: Policies,
        redactor: Redactor,
        audit: Audit,
        facts: &Facts,
        inspector: Option<Arc<Inspector>>,
    ) -> Arc<Self> {
        let facts = outside(facts);
        let state = ScriptState {
            facts,
            approved: HashSet::new(),
            installers: BTreeSet::new(),
            progress: None,
            refused: BTreeSet::new(),
            more: 0,
        };
        Arc::new(Self { policies, redactor, audit, programs: Arc::default(), inspector, state: Mutex::new(state) })
    }

    /// What the session's processes have become, for its guard to say.
    pub fn programs(&self) -> &Arc<Programs> {
        &self.programs
    }

    fn inspector(&self) -> Option<&Inspector> {
        self.inspector.as_deref()
    }

    /// The next script begins.
    pub fn begin(&self, grant: &Grant, progress: &Arc<Progress>) {
        // Only what the person was asked about as a connection: another command may name a peer as well (`git remote add NAME URL`).
        let requests = &grant.report().requests;
        let connects = |command: &&Command| {
            let span = command.span;
            let is_within = |other: Span| span.start <= other.start && other.end <= span.end;
            requests.iter().any(|request| request.lifted && request.action == "connect" && is_within(request.span))
        };
        let effects = grant.commands().iter().filter(connects).flat_map(|command| &command.effects);
        let peers = effects.filter_map(|effect| effect.peer.as_ref());
        let approved = peers.filter_map(|peer| Some((one_spelling(&peer.host)?, peer.port))).collect();
        let asked = grant.commands().iter().filter(|command| grant.is_approved() && grant.is_lifted(command));
        let asked = asked.filter(|command| command.invocation.groups.iter().any(|group| group.starts_with("install-")));
        let installers = asked.filter_map(|command| command.invocation.words.first().cloned()).collect();
        *self.state() = ScriptState {
            facts: outside(grant.facts()),
            approved,
            installers,
            progress: Some(Arc::clone(progress)),
            refused: BTreeSet::new(),
            more: 0,
        };
    }

    /// Listens for a session whose first process is `first`, until the proxy is dropped.
    ///
    /// # Errors
    /// If the runtime does not take the socket.
    pub(crate) fn serve(self: &Arc<Self>, listener: OwnedFd, first: i32) -> std::io::Result<ProxyServer> {
        ProxyServer::serve(Arc::clone(self), listener, first)
    }

    fn state(&self) -> MutexGuard<'_, ScriptState> {
        // Nothing that holds the lock can fail half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects to a peer, if policy permits that and it is on record.
    async fn connect(&self, peer: &Authority, caller: &Caller, form: ProxyProtocol) -> Result<Connected, NoConnection> {
        let Authority { host, port } = peer;
        let port = *port;
        let Some(name) = one_spelling(host) else {
            let refused = PeerDenial { reason: NO_NAME.to_owned(), ..PeerDenial::default() };
            return Err(self.refuse(&Wanted { host, port, caller, form }, refused).await);
        };
        let wanted = Wanted { host: &name, port, caller, form };
        let permitted = match self.permit(&wanted).await {
            Ok(Ok(permitted)) => permitted,
            Ok(Err(refused)) => return Err(self.refuse(&wanted, refused).await),
            Err(unreachable) => return Err(unreachable),
        };
        self.record(&wanted, Decision::Allow, &permitted.policies, &permitted.addresses).await?;
        for address in permitted.addresses {
            let dialled = TcpStream::connect(SocketAddr::new(address, port));
            if let Ok(Ok(stream)) = tokio::time::timeout(DIALLING, dialled).await {
                return Ok(Connected { stream, host: name, use_of_it: permitted.use_of_it });
            }
        }
        Err(NoConnection::Unreachable("the peer does not answer"))
    }

    /// Asks about the name, and if that is permitted about each address that it means. Nothing is looked up for a name that is
    /// not: the question alone would tell its keeper something.
    async fn permit(&self, wanted: &Wanted<'_>) -> Result<Result<Permitted, PeerDenial>, NoConnection> {
        let literal = wanted.host.parse::<IpAddr>().ok();
        let found = match literal {
            Some(address) => vec![address],
            None => {
                if let Err(refused) = self.decide(wanted, None) {
                    return Ok(Err(refused));
                }
                look_up(wanted.host, wanted.port).await?
            }
        };
        let mut permitted = Permitted { addresses: Vec::new(), policies: Vec::new(), use_of_it: Use::Anything };
        let mut first = None;
        for address in found.into_iter().map(address::canonical).take(MAX_ADDRESSES) {
            match self.decide(wanted, Some(address)) {
                Ok((policies, use_of_it)) if !permitted.addresses.contains(&address) => {
                    permitted.addresses.push(address);
                    permitted.policies = policies;
                    if use_of_it == Use::Fetching {
                        permitted.use_of_it = use_of_it;
                    }
                }
                Ok(_) => {}
                Err(refused) => first = first.or(Some(refused)),
            }
        }
        match first {
            Some(refused) if permitted.addresses.is_empty() => Ok(Err(refused)),
            _ if permitted.addresses.is_empty() => Err(NoConnection::Unreachable("the name has no address")),
            _ => Ok(Ok(permitted)),
        }
    }

    /// The engine's answer: the policies that permit it, to the program or to one that a person let install packages. An agent's own copy
    /// of an installer may fetch what the installer may connect to.
    fn decide(&self, wanted: &Wanted<'_>, address: Option<IpAddr>) -> Result<(Vec<String>, Use), PeerDenial> {
        let installers = self.state().installers.clone();
        let permits = |program: &str| self.decide_for(wanted, program, address);
        let any = |programs: &BTreeSet<String>| programs.iter().find_map(|program| permits(program).ok());
        match permits(&wanted.caller.name) {
            Ok(policies) => Ok((policies, Use::Anything)),
            Err(refused) => any(&installers)
                .map(|policies| (policies, Use::Anything))
                .or_else(|| {
                    let may_fetch = self.inspector.is_some() && wanted.form != ProxyProtocol::Socks;
                    any(&wanted.caller.copies).filter(|_| may_fetch).map(|policies| (policies, Use::Fetching))
                })
                .ok_or(refused),
        }
    }

    fn decide_for(
        &self,
        wanted: &Wanted<'_>,
        program: &str,
        address: Option<IpAddr>,
    ) -> Result<Vec<String>, PeerDenial> {
        let (facts, approved) = {
            let state = self.state();
            (state.facts.clone(), state.approved.contains(&(wanted.host.to_owned(), wanted.port)))
        };
        let engine = self.policies.now();
        let (host, port) = (wanted.host, wanted.port);
        let act = Act::Connect { host: host.to_owned(), address, port, program: program.to_owned() };
        let report = engine.judge(&facts, &act, approved);
        if report.decision != Decision::Allow {
            return Err(PeerDenial::of(&report));
        }
        let Some(address) = address.filter(|address| !address::is_public(*address)) else {
            return Ok(report.policies().into_iter().collect());
        };
        let is_shown = approved && host.parse::<IpAddr>().is_ok_and(|literal| address::canonical(literal) == address);
        // The operator has named this very host, and it is in the operator's network.
        let is_own = address::may_be_own(address) && engine.vocabulary().is_own_host(host);
        if is_shown || is_own || engine.grants_address(&facts, &Connection { host, address, port, program }, approved) {
            return Ok(report.policies().into_iter().collect());
        }
        let reason = format!("`{host}` means {address}, and no policy permits that very address or its range.");
        Err(PeerDenial { policy: String::new(), reason, suggest: GRANT_ADDRESS.to_owned() })
    }

    /// Tells and records a refusal, once for each script. There is no connection either way.
    async fn refuse(&self, wanted: &Wanted<'_>, refused: PeerDenial) -> NoConnection {
        let peer = format!("{}:{}", wanted.host, wanted.port);
        let told = if refused.policy.is_empty() {
            refused.reason.clone()
        } else {
            format!("{}: {}", refused.policy, refused.reason)
        };
        let told = NoConnection::Denied(self.redactor.text(&told));
        let (policy, reason, suggest) = (&refused.policy, &refused.reason, &refused.suggest);
        let program = &wanted.caller.name;
        let denied = DeniedProgram::connection(program, &peer, policy, reason, suggest, &self.redactor);
        let unrecorded = match self.note(wanted, &denied) {
            Noted::Known => None,
            Noted::New => {
                let policies = Some(refused.policy).filter(|policy| !policy.is_empty()).into_iter().collect::<Vec<_>>();
                self.record(wanted, Decision::Deny, &policies, &[]).await.err()
            }
            Noted::TooMany { session, more } => self.append(record::denial(&session, None, &denied, more)).await.err(),
        };
        unrecorded.unwrap_or(told)
    }

    /// Counts a refusal, and tells it in the result of the script that runs.
    fn note(&self, wanted: &Wanted<'_>, denied: &DeniedProgram) -> Noted {
        let mut state = self.state();
        let key = (wanted.host.to_owned(), wanted.port, wanted.caller.name.clone());
        if state.refused.contains(&key) {
            return Noted::Known;
        }
        let is_told = state.progress.as_ref().is_some_and(|progress| progress.denied(denied));
        if state.refused.len() < MAX_REFUSALS {
            state.refused.insert(key);
            return Noted::New;
        }
        state.more += 1;
        // The outcome of a script that runs holds their number; behind its end fewer and fewer of them go on record.
        if is_told || !state.more.is_power_of_two() {
            return Noted::Known;
        }
        Noted::TooMany { session: state.facts.session.id.clone(), more: state.more }
    }

    async fn record(
        &self,
        wanted: &Wanted<'_>,
        decision: Decision,
        policies: &[String],
        addresses: &[IpAddr],
    ) -> Result<(), NoConnection> {
        let session = self.state().facts.session.id.clone();
        let text = |text: &str| self.redactor.text(text);
        let peer = text(&format!("{}:{}", wanted.host, wanted.port));
        let policies = policies.iter().map(|policy| text(policy)).collect();
        let addresses = addresses.iter().map(|address| text(&address.to_string())).collect();
        self.append(record::connection(&session, decision, policies, peer, addresses, text(&wanted.caller.name))).await
    }

    async fn append(&self, entry: Entry) -> Result<(), NoConnection> {
        match self.audit.append(entry).await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(%error, "a connection cannot be recorded");
                Err(NoConnection::Unrecorded)
            }
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Proxy").finish_non_exhaustive()
    }
}

impl PeerDenial {
    fn of(report: &Report) -> Self {
        match report.reasons.first() {
            Some(first) => {
                Self { policy: first.policy.clone(), reason: first.reason.clone(), suggest: first.suggest.clone() }
            }
            None => Self { reason: "It could not be decided.".to_owned(), ..Self::default() },
        }
    }
}

const NO_NAME: &str = "This is no name or address of a host as policies know them; one in another script than ASCII is written in its `xn--` form.";

const GRANT_ADDRESS: &str = "Name the host itself in a host group of the settings ([groups.hosts]) if it is in your own network; or permit the address by a policy that looks at `resource.ip`.";

/// The peer as policies name it; none for what is neither a name nor an address. An IPv6 address that wraps an IPv4 one
/// becomes that.
fn one_spelling(host: &str) -> Option<String> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    if host.is_empty() || host.len() > MAX_NAME || !host.bytes().all(known) {
        return None;
    }
    let name = canonical_host(host)?;
    match name.parse::<IpAddr>() {
        Ok(address) => Some(address::canonical(address).to_string()),
        Err(_) => {
            let label = |label: &str| (1..=MAX_LABEL).contains(&label.len());
            (!name.contains(':') && name.split('.').all(label)).then_some(name)
        }
    }
}

/// Bytes of a name, and of what stands between two dots (RFC 1035).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

async fn look_up(name: &str, port: u16) -> Result<Vec<IpAddr>, NoConnection> {
    match tokio::time::timeout(LOOKING_UP, tokio::net::lookup_host((name, port))).await {
        Ok(Ok(found)) => Ok(found.map(|address| address.ip()).collect()),
        Ok(Err(_)) => Err(NoConnection::Unreachable("the name has no address")),
        Err(_) => Err(NoConnection::Unreachable("the name could not be looked up in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        for (host, expected) in [
            ("GitHub.com.", Some("github.com")),
            ("a_b.example", Some("a_b.example")),
            ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
            ("b\u{fc}cher.example", None),
            ("\u{ff11}27.0.0.1", None),
            ("127\u{3002}0.0.1", None),
            ("0x7f.1", Some("127.0.0.1")),
            ("0X7F.1", Some("127.0.0.1")),
            ("2130706433", Some("127.0.0.1")),
            ("017700000001", Some("127.0.0.1")),
            ("127.1", Some("127.0.0.1")),
            ("::ffff:169.254.169.254", Some("169.254.169.254")),
            ("::ffff:a9fe:a9fe", Some("169.254.169.254")),
            ("64:ff9b::a9fe:a9fe", Some("169.254.169.254")),
            ("2002:a9fe:a9fe::", Some("169.254.169.254")),
            ("FD00:EC2::254", Some("fd00:ec2::254")),
            ("fe80::1%lo", None),
            ("a..example", None),
            ("", None),
            (".", None),
            ("a b", None),
            ("a/b", None),
            ("1.2.3.4.5", None),
            ("a:b", None),
        ] {
            assert_eq!(one_spelling(host).as_deref(), expected, "{host}");
        }
        assert_eq!(one_spelling(&"a".repeat(64)), None);
        assert_eq!(one_spelling(&"a.".repeat(127)), None);
    }
}
