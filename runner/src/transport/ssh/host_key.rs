//! Whether a host is the one that the operator knows: the host-key decision, and nothing else. No I/O but the reading of
//! the files.
//!
//! It is OpenSSH's own, with `StrictHostKeyChecking=yes` (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"; `hostfile.c`,
//! `sshconnect.c`): a key counts only on a line that names the host, a revoked key never counts, and where any key of the
//! host is recorded another one is a changed key, also one of another algorithm. Three things are stricter: a file that
//! is there and cannot be read refuses every key; a recorded key of a kind that cannot be parsed here is another key; and a line without a
//! port never outweighs one with it, as it does for OpenSSH where the host shows a certificate that nobody trusts.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey};
use sha1::Sha1;

use super::patterns::fits;
use crate::target::Unreadable;

/// The port that a line without one is about.
const SSH_PORT: u16 = 22;

/// Bytes of one file of known hosts; more is refused, or a file could keep a server busy for minutes.
const MAX_FILE: u64 = 16 << 20;

/// Longest pattern among a line's hosts that is looked at (OpenSSH's `match_pattern_list`).
const MAX_PATTERN: usize = 1023;

/// What the files say of one host.
#[derive(Clone, Debug, Default)]
pub struct KnownHosts {
    lines: Vec<Line>,
}

/// What a host showed.
#[derive(Clone, Debug)]
pub enum Shown {
    /// A key of its own.
    Key(PublicKey),
    /// A key that an authority vouches for.
    Certificate(Box<Certificate>),
}

/// What is to be made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKeyMatch {
    /// It is the host that is known.
    Known,
    /// Nothing is recorded of the host.
    Unknown,
    /// Another key is recorded of the host.
    Changed(Recorded),
    /// The key, or the authority that vouches for it, is marked as revoked.
    Revoked(Recorded),
}

/// A line that decided, for a message to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1.
    pub line: usize,
    /// The fingerprint of its key; empty where the key is of a kind that cannot be read here.
    pub fingerprint: String,
}

/// One line that holds a key.
#[derive(Clone, Debug)]
struct Line {
    marker: Marker,
    hosts: Hosts,
    key: Key,
    file: PathBuf,
    number: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    None,
    Authority,
    Revoked,
}

#[derive(Clone, Debug)]
enum Hosts {
    /// Patterns with commas between.
    Patterns(Vec<u8>),
    /// The salt and the digest of one name.
    Hashed { salt: Vec<u8>, digest: Vec<u8> },
}

#[derive(Clone, Debug)]
enum Key {
    Read(Box<PublicKey>),
    /// Well formed, and of a kind that cannot be told apart here from any other.
    Other,
}

impl KnownHosts {
    /// Reads files in their order; one that is not there says nothing.
    ///
    /// # Errors
    /// If one is there and cannot be read.
    pub fn read(files: &[PathBuf]) -> Result<Self, Unreadable> {
        let mut known = Self::default();
        for file in files {
            let failed = |source| Unreadable { file: file.clone(), source };
            // There is nothing in it, for good.
            if file == Path::new("/dev/null") {
                continue;
            }
            match std::fs::metadata(file) {
                Ok(found) if !found.is_file() || found.len() > MAX_FILE => {
                    return Err(failed(ErrorKind::InvalidData.into()));
                }
                Ok(_) => known.extend(file, &std::fs::read(file).map_err(failed)?),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(known)
    }

    /// Adds the lines of one file.
    pub fn extend(&mut self, file: &Path, text: &[u8]) {
        let lines = text.split(|byte| *byte == b'\n').enumerate();
        self.lines.extend(lines.filter_map(|(index, line)| Line::parse(line, file, index + 1)));
    }

    /// What is to be made of what the host showed. `now` is in seconds since 1970.
    pub fn decide(&self, host: &str, port: u16, shown: &Shown, now: u64) -> HostKeyMatch {
        match self.decide_as(&name_of(host, port), host, shown, now) {
            // As OpenSSH has it: a line without a port is about the host at any port, if the key is the same.
            HostKeyMatch::Unknown if port != SSH_PORT => {
                match self.decide_as(&name_of(host, SSH_PORT), host, shown, now) {
                    HostKeyMatch::Known => HostKeyMatch::Known,
                    HostKeyMatch::Revoked(line) => HostKeyMatch::Revoked(line),
                    HostKeyMatch::Unknown | HostKeyMatch::Changed(_) => HostKeyMatch::Unknown,
                }
            }
            answer => answer,
        }
    }

    fn decide_as(&self, name: &str, host: &str, shown: &Shown, now: u64) -> HostKeyMatch {
        let lines: Vec<&Line> = self.lines.iter().filter(|line| line.is_about(name)).collect();
        let of = |marker: Marker| lines.iter().filter(move |line| line.marker == marker);
        let (key, authority) = match shown {
            Shown::Key(key) => (key.key_data(), None),
            Shown::Certificate(certificate) => (certificate.public_key(), Some(certificate)),
        };
        let signer = authority.map(|certificate| certificate.signature_key());
        // A revoked key of an unknown kind may be any key.
        let revokes = |line: &&&Line| line.key.may_be(key) || signer.is_some_and(|signer| line.key.may_be(signer));
        if let Some(line) = of(Marker::Revoked).find(revokes) {
            return HostKeyMatch::Revoked(line.recorded());
        }
        if let Some(certificate) = authority
            && of(Marker::Authority).any(|line| line.key.is(certificate.signature_key()))
            && vouches(certificate, host, now)
        {
            return HostKeyMatch::Known;
        }
        // A certificate that nobody here trusts is worth its key.
        let mut changed = None;
        for line in of(Marker::None) {
            if line.key.is(key) {
                return HostKeyMatch::Known;
            }
            changed = changed.or_else(|| Some(line.recorded()));
        }
        changed.map_or(HostKeyMatch::Unknown, HostKeyMatch::Changed)
    }

    /// The algorithms of the keys that are recorded of a host, to ask for first: a host with several keys shows one of them.
    pub fn algorithms(&self, host: &str, port: u16) -> Vec<Algorithm> {
        let mut found: Vec<Algorithm> = Vec::new();
        for line in self.about(host, port).filter(|line| line.marker == Marker::None) {
            let Key::Read(key) = &line.key else { continue };
            if !found.contains(&key.algorithm()) {
                found.push(key.algorithm());
            }
        }
        found
    }

    /// Whether an authority may vouch for the host.
    pub fn has_authority(&self, host: &str, port: u16) -> bool {
        self.about(host, port).any(|line| line.marker == Marker::Authority)
    }

    fn about(&self, host: &str, port: u16) -> impl Iterator<Item = &Line> {
        let names = [name_of(host, port), name_of(host, SSH_PORT)];
        self.lines.iter().filter(move |line| names.iter().any(|name| line.is_about(name)))
    }
}

impl Shown {
    /// A key as `ssh-keygen` writes it; none if it is not one.
    pub fn from_openssh(text: &str) -> Option<Self> {
        PublicKey::from_openssh(text).ok().map(Self::Key)
    }

    /// The fingerprint of the host's own key.
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Key(key) => key.fingerprint(HashAlg::Sha256).to_string(),
            Self::Certificate(certificate) => certificate.public_key().fingerprint(HashAlg::Sha256).to_string(),
        }
    }
}

impl Line {
    /// A line's key and whom it is about. `None`: it is empty, a comment, or not a line of such a file, which OpenSSH skips.
    fn parse(line: &[u8], file: &Path, number: usize) -> Option<Self> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut rest = skip_blanks(line);
        if rest.first().is_none_or(|first| *first == b'#') {
            return None;
        }
        let mut marker = Marker::None;
        if rest.first() == Some(&b'@') {
            let (word, behind) = word(rest);
            marker = match word {
                b"@cert-authority" => Marker::Authority,
                b"@revoked" => Marker::Revoked,
                _ => return None,
            };
            rest = behind;
            // One marker only.
            if rest.first() == Some(&b'@') {
                return None;
            }
        }
        let (hosts, rest) = word(rest);
        let (kind, rest) = word(rest);
        let (key, _comment) = word(rest);
        Some(Self { marker, hosts: Hosts::parse(hosts)?, key: Key::parse(kind, key)?, file: file.to_owned(), number })
    }

    fn is_about(&self, name: &str) -> bool {
        match &self.hosts {
            Hosts::Patterns(patterns) => fits_list(name, patterns),
            Hosts::Hashed { salt, digest } => {
                let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(salt) else { return false };
                mac.update(name.as_bytes());
                mac.verify_slice(digest).is_ok()
            }
        }
    }

    fn recorded(&self) -> Recorded {
        let fingerprint = match &self.key {
            Key::Read(key) => key.fingerprint(HashAlg::Sha256).to_string(),
            Key::Other => String::new(),
        };
        Recorded { file: self.file.clone(), line: self.number, fingerprint }
    }
}

impl Hosts {
    fn parse(hosts: &[u8]) -> Option<Self> {
        let Some(hashed) = hosts.strip_prefix(b"|") else {
            return (!hosts.is_empty()).then(|| Self::Patterns(hosts.to_owned()));
        };
        let hashed = hashed.strip_prefix(b"1|")?;
        let bar = hashed.iter().position(|byte| *byte == b'|')?;
        let (salt, digest) = (hashed.get(..bar)?, hashed.get(bar + 1..)?);
        Some(Self::Hashed { salt: STANDARD.decode(salt).ok()?, digest: STANDARD.decode(digest).ok()? })
    }
}

impl Key {
    fn parse(kind: &[u8], blob: &[u8]) -> Option<Self> {
        let kind = std::str::from_utf8(kind).ok()?;
        let blob = STANDARD.decode(blob).ok()?;
        // What it says of itself inside has to be what stands before it.
        let length = u32::from_be_bytes(*blob.first_chunk()?);
        let inner = blob.get(4..)?.get(..usize::try_from(length).ok()?)?;
        if inner != kind.as_bytes() {
            return None;
        }
        Some(PublicKey::from_bytes(&blob).map_or(Self::Other, |key| Self::Read(Box::new(key))))
    }

    fn is(&self, key: &KeyData) -> bool {
        matches!(self, Self::Read(read) if read.key_data() == key)
    }

    fn may_be(&self, key: &KeyData) -> bool {
        matches!(self, Self::Other) || self.is(key)
    }
}

/// Whether a certificate of a trusted authority is one for this host, now.
fn vouches(certificate: &Certificate, host: &str, now: u64) -> bool {
    let principals = certificate.valid_principals();
    let host = host.to_ascii_lowercase();
    let named = principals.is_empty()
        || principals.iter().any(|principal| fits(host.as_bytes(), principal.to_ascii_lowercase().as_bytes()));
    let is_host = certificate.cert_type() == CertType::Host;
    let in_time = certificate.valid_after() <= now && now < certificate.valid_before();
    let plain = certificate.critical_options().is_empty();
    // SHA-1 is not signed with any more (ssh_config(5), CASignatureAlgorithms).
    let strong = match certificate.signature().algorithm() {
        Algorithm::Rsa { hash } => hash.is_some(),
        Algorithm::Dsa => false,
        _ => true,
    };
    is_host && in_time && named && plain && strong && certificate.verify_signature().is_ok()
}

/// The host keys that may be asked for, the recorded ones first.
pub fn preferred(recorded: &[Algorithm]) -> Vec<Algorithm> {
    let rsa = |hash| Algorithm::Rsa { hash: Some(hash) };
    let all = [
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        rsa(HashAlg::Sha512),
        rsa(HashAlg::Sha256),
    ];
    let is_rsa = |algorithm: &Algorithm| matches!(algorithm, Algorithm::Rsa { .. });
    let is_recorded =
        |algorithm: &Algorithm| recorded.iter().any(|known| known == algorithm || is_rsa(known) && is_rsa(algorithm));
    let (mut first, then): (Vec<_>, Vec<_>) = all.into_iter().partition(is_recorded);
    first.extend(then);
    first
}

/// The name under which a host at a port is recorded.
fn name_of(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == SSH_PORT { host } else { format!("[{host}]:{port}") }
}

/// Whether a name fits a list of patterns with commas between; one with `!` before it that fits shuts the list.
fn fits_list(name: &str, patterns: &[u8]) -> bool {
    let mut fits_one = false;
    for pattern in patterns.split(|byte| *byte == b',') {
        let (negated, pattern) = match pattern.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        // OpenSSH gives the whole line up.
        if pattern.len() > MAX_PATTERN {
            return false;
        }
        if fits(name.as_bytes(), &pattern.to_ascii_lowercase()) {
            if negated {
                return false;
            }
            fits_one = true;
        }
    }
    fits_one
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    text.get(blanks..).unwrap_or_default()
}

/// The first word, and what stands behind the blanks behind it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    (word, skip_blanks(rest))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKRBl+Q0zsUQvsYOqLPNlA6mvOPoH/65ns0YCa6lt9p6";
    const B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILQqV3zV9qi2wd8UCiMtj4uNp2QpZgoTEeaJLr/8sMcw";
    const OTHER_KIND: &str = "x-of-nobody AAAAC3gtb2Ytbm9ib2R5AAAAAA==";

    fn answer(text: &str, host: &str, port: u16) -> &'static str {
        let mut known = KnownHosts::default();
        known.extend(Path::new("known_hosts"), text.as_bytes());
        let shown = Shown::from_openssh(A).unwrap();
        match known.decide(host, port, &shown, 0) {
            HostKeyMatch::Known => "known",
            HostKeyMatch::Unknown => "unknown",
            HostKeyMatch::Changed(_) => "changed",
            HostKeyMatch::Revoked(_) => "revoked",
        }
    }

    /// What `ssh` itself makes of such lines is compared in the whole-program tests.
    #[test]
    fn lines_mean_what_they_mean_to_openssh() {
        for (text, host, port, expected) in [
            (format!("h {A}"), "h", 22, "known"),
            (format!("  h\t\t{A} a comment\r"), "h", 22, "known"),
            (format!("H {A}"), "h", 22, "known"),
            (format!("h {A}"), "H", 22, "known"),
            (format!("#h {A}"), "h", 22, "unknown"),
            (String::new(), "h", 22, "unknown"),
            (format!("h {B}"), "h", 22, "changed"),
            (format!("h {B}\nh {A}"), "h", 22, "known"),
            (format!("h {OTHER_KIND}"), "h", 22, "changed"),
            (format!("i,h,j {A}"), "h", 22, "known"),
            (format!("*,!h {A}"), "h", 22, "unknown"),
            (format!("!h,* {A}"), "h", 22, "unknown"),
            (format!("*.example.com {A}"), "a.example.com", 22, "known"),
            (format!("*.example.com {A}"), "example.com", 22, "unknown"),
            (format!("h? {A}"), "h1", 22, "known"),
            (format!("[h]:2222 {A}"), "h", 2222, "known"),
            (format!("[h]:2222 {A}"), "h", 22, "unknown"),
            (format!("h {A}"), "h", 2222, "known"),
            (format!("h {B}"), "h", 2222, "unknown"),
            (format!("[h]:2222 {B}\nh {A}"), "h", 2222, "changed"),
            (format!("@revoked h {A}\nh {A}"), "h", 22, "revoked"),
            (format!("h {A}\n@revoked * {A}"), "h", 22, "revoked"),
            (format!("@revoked i {A}\nh {A}"), "h", 22, "known"),
            (format!("@revoked h {B}\nh {A}"), "h", 22, "known"),
            (format!("@cert-authority h {A}"), "h", 22, "unknown"),
            (format!("@revoked @cert-authority h {A}"), "h", 22, "unknown"),
            (format!("@unknown h {A}"), "h", 22, "unknown"),
            ("h ssh-rsa ????".to_owned(), "h", 22, "unknown"),
            (format!("h ssh-rsa {}", A.split(' ').nth(1).unwrap()), "h", 22, "unknown"),
        ] {
            assert_eq!(answer(&text, host, port), expected, "{text:?} for {host}:{port}");
        }
    }

    #[test]
    fn a_hashed_name_is_the_name() {
        let salt = [7_u8; 20];
        let mut mac = Hmac::<Sha1>::new_from_slice(&salt).unwrap();
        mac.update(b"[h]:2222");
        let digest = mac.finalize().into_bytes();
        let line = format!("|1|{}|{} {A}", STANDARD.encode(salt), STANDARD.encode(digest));
        assert_eq!(answer(&line, "h", 2222), "known");
        assert_eq!(answer(&line, "h", 2223), "unknown");
        assert_eq!(answer(&format!("|1|{}", A), "h", 22), "unknown");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_an_empty_one() {
        let place = tempfile::tempdir().unwrap();
        assert!(KnownHosts::read(&[place.path().join("none")]).is_ok());
        assert!(KnownHosts::read(&[place.path().to_owned()]).is_err());
    }

    #[test]
    fn patterns_take_no_longer_than_their_length() {
        let pattern = "*a".repeat(400);
        assert!(!fits("a".repeat(399).as_bytes(), pattern.as_bytes()));
        assert!(fits("a".repeat(400).as_bytes(), pattern.as_bytes()));
    }
}
