//! RFC 5424 messages, over UDP (RFC 5426), over TCP with octet counting (RFC 6587), over TLS (RFC 5425), or to a socket of this machine.
//!
//! Syslog has no receipts: over TCP and TLS the last messages are sent again when a connection breaks, over UDP what the network
//! loses is lost.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::tls::{Files, Secured, TlsError, Trust};
use super::{ExportError, ocsf, text};
use crate as audit;
use crate::RecordLine;

/// "log audit", RFC 5424 table 1.
const FACILITY: u8 = 13;

/// The enterprise number that RFC 5612 keeps for documentation, in place of one of ours.
const ENTERPRISE: u32 = 32473;

/// How long a connection, and each write, may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum SyslogTarget {
    /// `udp://host:port`
    Udp(String),
    /// `tcp://host:port`
    Tcp(String),
    /// `tls://host:port`
    Tls(String),
    /// `unix:/dev/log`
    Unix(PathBuf),
}

/// What a message holds behind its header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyslogBody {
    /// The record as it is written.
    #[default]
    Record,
    /// The OCSF event.
    Ocsf,
}

/// A text is no [`SyslogTarget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `udp://host:port`, `tcp://host:port`, `tls://host:port` or `unix:/path`")]
pub struct TargetError;

impl FromStr for SyslogTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let has_port = |address: &&str| {
            let parts = address.rsplit_once(':');
            parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        let of = |scheme: &str| text.strip_prefix(scheme);
        let udp = of("udp://").filter(has_port).map(|address| Self::Udp(address.to_owned()));
        let tcp = of("tcp://").filter(has_port).map(|address| Self::Tcp(address.to_owned()));
        let tls = of("tls://").filter(has_port).map(|address| Self::Tls(address.to_owned()));
        let path = of("unix:").map(|path| path.strip_prefix("//").unwrap_or(path)).filter(|path| path.starts_with('/'));
        udp.or(tcp).or(tls).or_else(|| path.map(|path| Self::Unix(path.into()))).ok_or(TargetError)
    }
}

impl TryFrom<String> for SyslogTarget {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

/// One record as a message, without any framing.
pub fn message(record: &RecordLine, body: SyslogBody) -> String {
    let value = &record.value;
    let mut message = header(record);
    // The mark that RFC 5424 section 6.4 puts before text in UTF-8.
    message.push('\u{feff}');
    match body {
        SyslogBody::Record => message.push_str(&record.line),
        SyslogBody::Ocsf => message.push_str(&ocsf::event(value).to_string()),
    }
    message
}

/// All but the text; what of the record stands in it suffices to find the record.
fn header(record: &RecordLine) -> String {
    let value = &record.value;
    let severity = match audit::effect_of(value) {
        Some("deny") => 4,
        Some("ask") => 5,
        _ if audit::kind(value) == "denial" => 4,
        _ if audit::kind(value) == "recovered" => 3,
        _ => 6,
    };
    let priority = u32::from(FACILITY) * 8 + severity;
    let at = match text(value, "/ts") {
        "" => "-",
        at => at,
    };
    let mut header = format!(
        "<{priority}>1 {at} {} palisade {} {} [palisade@{ENTERPRISE}",
        name(text(value, "/host"), 255),
        name(&process(record), 128),
        name(audit::kind(value), 32)
    );
    let policies: Vec<&str> = audit::policies(value).collect();
    let seq = value.get("seq").and_then(Value::as_u64).map(|seq| seq.to_string()).unwrap_or_default();
    let of = if value.get("req").is_some() { "/req" } else { "/of" };
    for (key, value) in [
        ("chain", record.chain.as_str()),
        ("seq", &seq),
        ("req", text(value, of)),
        ("effect", audit::effect_of(value).unwrap_or_default()),
        ("agent", text(value, "/who/agent")),
        ("user", text(value, "/who/user")),
        ("session", text(value, "/session")),
        ("policies", &policies.join(",")),
    ] {
        if !value.is_empty() {
            let _ = write!(header, " {key}=\"{}\"", escaped(value));
        }
    }
    header.push_str("] ");
    header
}

/// The process that wrote a chain, from the name that it gave it: `TIME-PID-ID`.
fn process(record: &RecordLine) -> String {
    record.chain.split('-').nth(1).filter(|pid| pid.parse::<u32>().is_ok()).unwrap_or_default().to_owned()
}

/// A header's field: printable ASCII without a blank, or `-`.
fn name(text: &str, most: usize) -> String {
    let fits = |character: char| if character.is_ascii_graphic() { character } else { '_' };
    let name: String = text.chars().take(most).map(fits).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

/// A parameter's value: `"`, `\` and `]` are escaped, RFC 5424 section 6.3.3.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '"' | '\\' | ']') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// Where messages go, what they hold, and how the connection is secured if it is.
#[derive(Clone, Debug)]
pub struct Syslog {
    target: SyslogTarget,
    body: SyslogBody,
    trust: Option<Trust>,
}

impl Syslog {
    /// Reads the files that secure the connection.
    ///
    /// # Errors
    /// If `tls://` lacks one, another target names one, or one cannot be used.
    pub fn new(target: SyslogTarget, body: SyslogBody, files: &Files) -> Result<Self, TlsError> {
        let trust = Trust::read(files, matches!(target, SyslogTarget::Tls(_)))?;
        Ok(Self { target, body, trust })
    }
}

/// A connection to a server, made when it is needed.
pub(super) struct SyslogClient {
    to: Syslog,
    link: Option<Link>,
}

enum Link {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<Secured>),
    Unix(UnixDatagram),
}

impl SyslogClient {
    pub(super) fn new(to: &Syslog) -> Self {
        Self { to: to.clone(), link: None }
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self.to.target, SyslogTarget::Tcp(_) | SyslogTarget::Tls(_))
    }

    /// Whether the server has not closed the connection. What it says is of no interest.
    pub(super) fn is_up(&mut self) -> bool {
        let closed = match &mut self.link {
            Some(Link::Tcp(stream)) => is_closed(stream),
            Some(Link::Tls(stream)) => stream.is_closed(),
            Some(Link::Udp(_) | Link::Unix(_)) | None => return true,
        };
        let up = !closed.unwrap_or(true);
        if !up {
            self.link = None;
        }
        up
    }

    pub(super) fn send(&mut self, records: &[RecordLine]) -> Result<(), ExportError> {
        let sent = self.try_send(records);
        if sent.is_err() {
            self.link = None;
        }
        sent.map_err(|error| ExportError::of(format!("{}: {error}", self.to.target)))
    }

    fn try_send(&mut self, records: &[RecordLine]) -> io::Result<()> {
        let link = match &mut self.link {
            Some(link) => link,
            none => none.insert(connect(&self.to)?),
        };
        for record in records {
            let message = message(record, self.to.body);
            match link {
                // Both count octets, RFC 5425 section 4.3 and RFC 6587 section 3.4.1.
                Link::Tcp(stream) => stream.write_all(format!("{} {message}", message.len()).as_bytes())?,
                Link::Tls(stream) => stream.write_all(format!("{} {message}", message.len()).as_bytes())?,
                Link::Udp(socket) => datagram(record, &message, |bytes| socket.send(bytes))?,
                Link::Unix(socket) => datagram(record, &message, |bytes| socket.send(bytes))?,
            }
        }
        Ok(())
    }
}

/// One message; of one that no datagram takes, what finds its record, and how long it is.
fn datagram(record: &RecordLine, message: &str, send: impl Fn(&[u8]) -> io::Result<usize>) -> io::Result<()> {
    match send(message.as_bytes()) {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) => {
            let left_out = format!("{}too long for a datagram: {} bytes", header(record), record.line.len());
            tracing::warn!(
                bytes = record.line.len(),
                "a record is too long for a syslog datagram; its header was sent"
            );
            send(left_out.as_bytes()).map(drop)
        }
        Err(error) => Err(error),
    }
}

fn is_closed(stream: &TcpStream) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let seen = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    match seen {
        Ok(bytes) => Ok(bytes == 0),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

fn connect(to: &Syslog) -> io::Result<Link> {
    match &to.target {
        SyslogTarget::Udp(address) => {
            let to = resolved(address)?;
            let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(from)?;
            socket.connect(to)?;
            socket.set_write_timeout(Some(TIMEOUT))?;
            Ok(Link::Udp(socket))
        }
        SyslogTarget::Tcp(address) => {
            let stream = TcpStream::connect_timeout(&resolved(address)?, TIMEOUT)?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            Ok(Link::Tcp(stream))
        }
        SyslogTarget::Tls(address) => {
            let trust = to.trust.as_ref().ok_or_else(|| io::Error::other("nobody vouches for the collector"))?;
            let stream = TcpStream::connect_timeout(&resolved(address)?, TIMEOUT)?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            Ok(Link::Tls(Box::new(trust.connect(address, stream)?)))
        }
        SyslogTarget::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            socket.set_write_timeout(Some(TIMEOUT))?;
            Ok(Link::Unix(socket))
        }
    }
}

fn resolved(address: &str) -> io::Result<std::net::SocketAddr> {
    address.to_socket_addrs()?.next().ok_or_else(|| io::Error::new(ErrorKind::NotFound, "the name has no address"))
}

impl std::fmt::Display for SyslogTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Tls(address) => write!(f, "tls://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: Value) -> RecordLine {
        RecordLine { line: value.to_string(), value, chain: "20261121T041500.000001Z-4711-5f3a9c01".to_owned() }
    }

    #[test]
    fn messages_are_those_of_the_standard() {
        let decision = record(serde_json::json!({
            "seq": 7, "ts": "2026-11-21T04:15:00.123Z", "host": "build 1", "kind": "decision", "req": "5f3a9c01-3",
            "who": {"agent": "a\"]\\b", "user": "ü"}, "cmd": "ls",
            "decision": {"effect": "deny", "determining": ["no-ls", "x"]},
        }));
        let expected = "<108>1 2026-11-21T04:15:00.123Z build_1 palisade 4711 decision [palisade@32473 \
                        chain=\"20261121T041500.000001Z-4711-5f3a9c01\" seq=\"7\" req=\"5f3a9c01-3\" effect=\"deny\" \
                        agent=\"a\\\"\\]\\\\b\" user=\"ü\" policies=\"no-ls,x\"] \u{feff}";
        assert_eq!(message(&decision, SyslogBody::Record), format!("{expected}{}", decision.line));
        let bare = RecordLine { chain: String::new(), ..record(serde_json::json!({"kind": "head"})) };
        assert!(
            message(&bare, SyslogBody::Record).starts_with("<110>1 - - palisade - head [palisade@32473] \u{feff}{")
        );
    }

    #[test]
    fn targets_have_a_form() {
        for (text, expected) in [
            ("udp://127.0.0.1:514", Some("udp://127.0.0.1:514")),
            ("tcp://[::1]:601", Some("tcp://[::1]:601")),
            ("unix:/dev/log", Some("unix:/dev/log")),
            ("unix:///dev/log", Some("unix:/dev/log")),
            ("udp://host", None),
            ("tcp://:514", None),
            ("tls://host:6514", Some("tls://host:6514")),
            ("tls://host", None),
            ("unix:dev/log", None),
            ("/dev/log", None),
            ("", None),
        ] {
            let target = text.parse::<SyslogTarget>().ok().map(|target| target.to_string());
            assert_eq!(target.as_deref(), expected, "{text}");
        }
    }
}
