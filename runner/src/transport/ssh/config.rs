//! What OpenSSH's own configuration says of a host (ssh_config(5)): the reading of these files, and nothing else.
//!
//! As OpenSSH has it the first value counts, and a line is about the hosts of the last `Host` before it. What would change where we
//! connect, as whom, or which key is believed, and is not understood here, is an error that names file and line; so is a keyword
//! that nobody knows. What changes neither is passed over: ciphers, forwardings and the like are Palisade's own. Three things are
//! stricter: `Match` is refused wherever it stands but for `Match all`, every file has to be safe from other users, and so is a name that
//! stands for another file wherever Palisade is started.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::host_key::fits;

/// Bytes of one file.
const MAX_FILE: u64 = 1 << 20;

/// Files that may be read for one host.
const MAX_FILES: usize = 128;

/// How deep files may include others (OpenSSH's `READCONF_MAX_DEPTH`).
const MAX_DEPTH: usize = 16;

/// Values of one keyword that may add up.
const MAX_VALUES: usize = 32;

/// Whose files are read, and for whom.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The home of the user that runs Palisade.
    pub home: PathBuf,
    /// The name of that user.
    pub user: String,
    /// The one file that is read; none: the user's own, and then the system's.
    pub file: Option<PathBuf>,
}

/// What is asked for. What is given here stands before whatever a file says.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The name that a person would give to `ssh`.
    pub alias: String,
    /// Where it is.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// The user there.
    pub user: Option<String>,
    /// How it is reached is known already.
    pub jumps: bool,
}

/// What the files say of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user there.
    pub user: String,
    /// The keys of the user, in the order in which they are tried; one need not be there.
    pub identities: Vec<PathBuf>,
    /// Certificates for them.
    pub certificates: Vec<PathBuf>,
    /// Of an agent's keys only these are tried.
    pub identities_only: bool,
    /// The socket of an agent.
    pub agent: Option<PathBuf>,
    /// Files with the keys of hosts.
    pub known_hosts: Vec<PathBuf>,
    /// By way of whom it is reached, in the order from here.
    pub jumps: Vec<Jump>,
    /// The files that were read.
    pub files: Vec<PathBuf>,
}

/// A host on the way to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jump {
    /// The name that a person would give to `ssh`.
    pub alias: String,
    /// The user there, if that is said.
    pub user: Option<String>,
    /// Its port, if that is said.
    pub port: Option<u16>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A line says what cannot be followed.
    #[error("`{}` line {line}: {why}", .file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line in it, from 1.
        line: usize,
        /// Why.
        why: String,
    },
    /// All of it.
    #[error("`{}` cannot be used: {why}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
}

/// Where something stands.
#[derive(Clone, Debug)]
struct Spot {
    file: PathBuf,
    line: usize,
}

/// A value that is still to be expanded.
#[derive(Clone, Debug)]
struct Value {
    text: String,
    spot: Spot,
}

/// How a host is reached.
#[derive(Clone, Debug)]
enum Way {
    Direct,
    Jumps(Vec<Jump>, Spot),
    Command(Spot),
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Found {
    host: Option<Value>,
    port: Option<u16>,
    user: Option<String>,
    identities: Vec<Value>,
    certificates: Vec<Value>,
    identities_only: Option<bool>,
    agent: Option<Value>,
    user_known: Option<Vec<Value>>,
    global_known: Option<Vec<Value>>,
    way: Option<Way>,
    unknown: Option<Vec<String>>,
    files: Vec<PathBuf>,
}

/// One file while it is read.
#[derive(Clone, Copy, Debug)]
struct Level<'a> {
    file: &'a Path,
    /// It is the user's own: names without a directory are about the user's.
    own: bool,
    depth: usize,
    /// No line in it can be about the host.
    never: bool,
}

/// What changes neither where we connect, nor as whom, nor which key is believed.
const PASSED_OVER: &str = "
    addkeystoagent afstokenpassing batchmode canonicaldomains canonicalizefallbacklocal canonicalizemaxdots
    canonicalizepermittedcnames casignaturealgorithms challengeresponseauthentication channeltimeout checkhostip
    cipher ciphers clearallforwardings compression compressionlevel connectionattempts connecttimeout
    controlmaster controlpath controlpersist dsaauthentication dynamicforward enableescapecommandline
    enablesshkeysign escapechar exitonforwardfailure fallbacktorsh fingerprinthash forkafterauthentication
    forwardagent forwardx11 forwardx11timeout forwardx11trusted gatewayports globalknownhostsfile2
    gssapiauthentication gssapiclientidentity gssapidelegatecredentials gssapikexalgorithms gssapikeyexchange
    gssapirenewalforcesrekey gssapiserveridentity gssapitrustdns hashknownhosts hostbasedacceptedalgorithms
    hostbasedauthentication hostbasedkeytypes hostkeyalgorithms ipqos kbdinteractiveauthentication
    kbdinteractivedevices keepalive kexalgorithms localcommand localforward loglevel logverbose macs
    nohostauthenticationforlocalhost numberofpasswordprompts obscurekeystroketiming passwordauthentication
    permitlocalcommand permitremoteopen preferredauthentications protocol proxyusefdpass pubkeyacceptedalgorithms
    pubkeyacceptedkeytypes pubkeyauthentication rekeylimit remoteforward requesttty requiredrsasize
    rhostsauthentication rhostsrsaauthentication rsaauthentication securitykeyprovider sendenv serveralivecountmax
    serveraliveinterval sessiontype setenv skeyauthentication smartcarddevice stdinnull streamlocalbindmask
    streamlocalbindunlink stricthostkeychecking syslogfacility tag tcpkeepalive tisauthentication tunnel
    tunneldevice updatehostkeys useprivilegedport userknownhostsfile2 useroaming usersh verifyhostkeydns
    versionaddendum visualhostkey warnweakcrypto xauthlocation
";

/// What does, and is not followed here: the value that says nothing, and why any other is refused.
const REFUSED: &[(&str, &str, &str)] = &[
    ("addressfamily", "any", "the system says by which family of addresses a host is reached"),
    ("bindaddress", "", "the system says from which address a host is reached"),
    ("bindinterface", "", "the system says from which interface a host is reached"),
    ("canonicalizehostname", "no", "it leads to hosts that the file does not name"),
    ("hostkeyalias", "", "a host's key is looked up by the name of the host; give it that name in `known-hosts`"),
    ("knownhostscommand", "none", "the keys of hosts are read from files, never from a program"),
    ("pkcs11provider", "none", "keys are read from files or asked of an agent"),
    ("refuseconnection", "", "it says that nobody should connect"),
    ("remotecommand", "none", "a session there is a shell of Palisade's"),
    ("revokedhostkeys", "none", "a list of revoked keys is not read; mark them with `@revoked` in `known-hosts`"),
];

impl Reader {
    /// What the files say of a host.
    ///
    /// # Errors
    /// If one of them cannot be read, or says what cannot be followed.
    pub fn read(&self, asked: &Asked) -> Result<Alias, Unusable> {
        let mut found = Found::of(asked);
        let own = self.home.join(".ssh/config");
        let files = match &self.file {
            Some(file) => vec![(file.as_path(), true, true)],
            None => vec![(own.as_path(), true, false), (Path::new("/etc/ssh/ssh_config"), false, false)],
        };
        for (file, own, has_to_be) in files {
            match text(file) {
                Ok(Some(text)) => self.parse(&text, Level { file, own, depth: 0, never: false }, asked, &mut found)?,
                Ok(None) if has_to_be => {
                    return Err(Unusable::File { file: file.to_owned(), why: "it is not there".to_owned() });
                }
                Ok(None) => {}
                Err(why) => return Err(Unusable::File { file: file.to_owned(), why }),
            }
        }
        self.settle(found, asked)
    }

    /// What one text would say of a host, were it the only file.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_text(&self, text: &[u8], asked: &Asked) -> Result<Alias, Unusable> {
        let mut found = Found::of(asked);
        let file = Path::new("ssh_config");
        self.parse(text, Level { file, own: true, depth: 0, never: false }, asked, &mut found)?;
        self.settle(found, asked)
    }

    fn parse(&self, text: &[u8], level: Level<'_>, asked: &Asked, found: &mut Found) -> Result<(), Unusable> {
        let (mut active, begun) = (!level.never, !level.never);
        found.files.push(level.file.to_owned());
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let spot = Spot { file: level.file.to_owned(), line: index + 1 };
            let line = std::str::from_utf8(line).ok().filter(|line| !line.contains('\0'));
            let line = line.ok_or_else(|| spot.refuses("is not text"))?;
            let Some((keyword, rest)) = split(line).map_err(|why| spot.refuses(why))? else { continue };
            let words = words(rest).ok_or_else(|| spot.refuses("has a quote that does not end"))?;
            if words.is_empty() {
                return Err(spot.refuses(&format!("`{keyword}` says nothing")));
            }
            match keyword.as_str() {
                "host" => active = is_about(&words, &asked.alias, &spot)? && !level.never,
                "match" if words.len() == 1 && words.first().is_some_and(|word| word == "all") => active = begun,
                "match" => {
                    return Err(
                        spot.refuses("`Match` is not followed; say it with `Host`, or name another file in `config`")
                    );
                }
                "include" => {
                    for pattern in &words {
                        self.include(pattern, &spot, Level { never: !active, ..level }, asked, found)?;
                    }
                }
                _ => found.take(&keyword, rest, words, active, spot)?,
            }
        }
        Ok(())
    }

    /// Reads the files that a pattern names, in the order of their names.
    fn include(
        &self,
        pattern: &str,
        spot: &Spot,
        level: Level<'_>,
        asked: &Asked,
        found: &mut Found,
    ) -> Result<(), Unusable> {
        if level.depth >= MAX_DEPTH {
            return Err(spot.refuses("files include one another too deep"));
        }
        let path = match pattern.strip_prefix("~/") {
            Some(rest) if level.own => self.home.join(rest),
            _ if pattern.starts_with('~') => return Err(spot.refuses(&format!("`{pattern}` is not followed"))),
            _ if level.own => self.home.join(".ssh").join(pattern),
            _ => Path::new("/etc/ssh").join(pattern),
        };
        for file in matching(&path).map_err(|why| spot.refuses(&format!("`Include {pattern}`: {why}")))? {
            if found.files.len() >= MAX_FILES {
                return Err(spot.refuses("too many files are included"));
            }
            let refused = |why: String| spot.refuses(&format!("`{}`: {why}", file.display()));
            if let Some(text) = text(&file).map_err(refused)? {
                let inner = Level { file: &file, depth: level.depth + 1, ..level };
                self.parse(&text, inner, asked, found)?;
            }
        }
        Ok(())
    }

    /// The values of what was found, and what holds where nothing was.
    fn settle(&self, found: Found, asked: &Asked) -> Result<Alias, Unusable> {
        let host = match &found.host {
            None => asked.alias.clone(),
            Some(value) => expand(value, &[('h', &asked.alias)])?,
        };
        let nowhere = Spot { file: PathBuf::from("ssh_config"), line: 0 };
        let spot = found.host.as_ref().map_or(&nowhere, |value| &value.spot);
        if !is_word(&host) {
            return Err(spot.refuses(&format!("`{host}` is no name of a host")));
        }
        let host = host.to_ascii_lowercase();
        let (port, user) = (found.port.unwrap_or(22), found.user.unwrap_or_else(|| self.user.clone()));
        let (home, at) = (self.home.to_string_lossy(), port.to_string());
        let tokens: [(char, &str); 6] =
            [('h', &host), ('n', &asked.alias), ('p', &at), ('r', &user), ('u', &self.user), ('d', &home)];
        let path = |value: &Value| {
            let text = expand(value, &tokens)?;
            let path = match text.strip_prefix("~/") {
                Some(rest) => self.home.join(rest),
                None => PathBuf::from(&text),
            };
            // A user's home, or a place that depends on where the server was started.
            if path.is_absolute() {
                Ok(path)
            } else {
                Err(value.spot.refuses(&format!("`{text}` is no absolute path")))
            }
        };
        let paths = |values: &[Value]| {
            values.iter().filter(|value| !value.is_none()).map(path).collect::<Result<Vec<_>, Unusable>>()
        };
        let identities = if found.identities.is_empty() {
            ["id_rsa", "id_ecdsa", "id_ed25519"].map(|name| self.home.join(".ssh").join(name)).into()
        } else {
            paths(&found.identities)?
        };
        let known = |values: Option<Vec<Value>>, usual: [PathBuf; 2]| match values {
            Some(values) => paths(&values),
            None => Ok(usual.into()),
        };
        let beside = |name: &str| self.home.join(".ssh").join(name);
        let mut known_hosts = known(found.user_known, [beside("known_hosts"), beside("known_hosts2")])?;
        let system = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"].map(PathBuf::from);
        known_hosts.extend(known(found.global_known, system)?);
        let jumps = match found.way {
            Some(Way::Jumps(jumps, spot)) => {
                let expanded = jumps.into_iter().map(|jump| {
                    let value = Value { text: jump.alias, spot: spot.clone() };
                    let alias = expand(&value, &[('h', &host), ('n', &asked.alias), ('p', &at), ('r', &user)])?;
                    if is_word(&alias) { Ok(Jump { alias, ..jump }) } else { Err(spot.refuses("names no host")) }
                });
                expanded.collect::<Result<Vec<_>, Unusable>>()?
            }
            Some(Way::Command(spot)) => {
                return Err(spot.refuses("`ProxyCommand` is not followed; name the hosts on the way with `ProxyJump`"));
            }
            Some(Way::Direct) | None => Vec::new(),
        };
        let agent = match &found.agent {
            Some(value) if value.is_none() => None,
            Some(value) if value.text == "SSH_AUTH_SOCK" || value.text.starts_with('$') => {
                return Err(value.spot.refuses("no variable names an agent; set `agent` in the target's settings"));
            }
            Some(value) => Some(path(value)?),
            None => None,
        };
        Ok(Alias {
            certificates: paths(&found.certificates)?,
            identities_only: found.identities_only.unwrap_or(false),
            files: found.files,
            host,
            port,
            user,
            identities,
            agent,
            known_hosts,
            jumps,
        })
    }
}

impl Found {
    fn of(asked: &Asked) -> Self {
        let spot = Spot { file: PathBuf::from("palisade.toml"), line: 0 };
        Self {
            // It is what it is, whatever stands in it.
            host: asked.host.as_ref().map(|host| Value { text: host.replace('%', "%%"), spot }),
            port: asked.port,
            user: asked.user.clone(),
            way: asked.jumps.then_some(Way::Direct),
            ..Self::default()
        }
    }

    /// One line that is about values.
    fn take(
        &mut self,
        keyword: &str,
        rest: &str,
        words: Vec<String>,
        active: bool,
        spot: Spot,
    ) -> Result<(), Unusable> {
        let listed = words.clone();
        let one = || match <[String; 1]>::try_from(listed.clone()) {
            Ok([word]) if !word.is_empty() => Ok(word),
            _ => Err(spot.refuses(&format!("`{keyword}` takes one value"))),
        };
        let value = |text: String| Value { text, spot: spot.clone() };
        match keyword {
            "hostname" => set(&mut self.host, value(one()?), active),
            "port" => {
                let port = one()?;
                let digits = port.bytes().all(|byte| byte.is_ascii_digit());
                let number = port.parse().ok().filter(|number| digits && *number > 0);
                set(&mut self.port, number.ok_or_else(|| spot.refuses(&format!("`{port}` is no port")))?, active);
            }
            "user" => {
                let user = one()?;
                // Newer versions of OpenSSH expand them, and older ones do not.
                if active && self.user.is_none() && (!is_word(&user) || user.contains(['%', '$'])) {
                    return Err(spot.refuses(&format!("`{user}` is no plain name of a user")));
                }
                set(&mut self.user, user, active);
            }
            "identityfile" | "identityfile2" => add(&mut self.identities, value(one()?), active)?,
            "certificatefile" => add(&mut self.certificates, value(one()?), active)?,
            "identitiesonly" => {
                let only = match one()?.as_str() {
                    "yes" | "true" => true,
                    "no" | "false" => false,
                    other => return Err(spot.refuses(&format!("`{other}` is neither yes nor no"))),
                };
                set(&mut self.identities_only, only, active);
            }
            "identityagent" => set(&mut self.agent, value(one()?), active),
            "userknownhostsfile" | "globalknownhostsfile" => {
                if words.len() > MAX_VALUES || words.iter().any(String::is_empty) {
                    return Err(spot.refuses("names too many files, or one without a name"));
                }
                let files = words.into_iter().map(value).collect();
                let place = if keyword == "userknownhostsfile" { &mut self.user_known } else { &mut self.global_known };
                set(place, files, active);
            }
            "proxyjump" => {
                let jumps = jumps(rest).ok_or_else(|| spot.refuses("`ProxyJump` names no hosts that can be read"))?;
                let way = if jumps.is_empty() { Way::Direct } else { Way::Jumps(jumps, spot) };
                set(&mut self.way, way, active);
            }
            "proxycommand" => {
                let is_none = rest.trim_start_matches(['=', ' ', '\t']) == "none";
                set(&mut self.way, if is_none { Way::Direct } else { Way::Command(spot) }, active);
            }
            "ignoreunknown" => {
                let patterns = one()?.split(',').map(str::to_ascii_lowercase).collect();
                set(&mut self.unknown, patterns, active);
            }
            other => {
                if let Some((_, harmless, why)) = REFUSED.iter().find(|(name, ..)| *name == other) {
                    let says = words.first().is_some_and(|word| word.eq_ignore_ascii_case(harmless));
                    if active && !says {
                        return Err(spot.refuses(&format!("`{keyword}` is not followed: {why}")));
                    }
                } else if !PASSED_OVER.split_ascii_whitespace().any(|name| name == other) && !self.ignores(other) {
                    return Err(spot.refuses(&format!("`{keyword}` is not known here")));
                }
            }
        }
        Ok(())
    }

    fn ignores(&self, keyword: &str) -> bool {
        let patterns = self.unknown.iter().flatten();
        // A pattern with `!` in front shuts the list.
        let mut ignores = false;
        for pattern in patterns {
            match pattern.strip_prefix('!') {
                Some(pattern) if fits(keyword.as_bytes(), pattern.as_bytes()) => return false,
                Some(_) => {}
                None => ignores |= fits(keyword.as_bytes(), pattern.as_bytes()),
            }
        }
        ignores
    }
}

impl Spot {
    fn refuses(&self, why: &str) -> Unusable {
        Unusable::Line { file: self.file.clone(), line: self.line, why: why.to_owned() }
    }
}

impl Value {
    fn is_none(&self) -> bool {
        self.text.eq_ignore_ascii_case("none")
    }
}

/// The first value counts.
fn set<T>(place: &mut Option<T>, value: T, active: bool) {
    if active && place.is_none() {
        *place = Some(value);
    }
}

/// All values count, each once.
fn add(place: &mut Vec<Value>, value: Value, active: bool) -> Result<(), Unusable> {
    if !active || place.iter().any(|known| known.text == value.text) {
        return Ok(());
    }
    if place.len() >= MAX_VALUES {
        return Err(value.spot.refuses("too many files are named"));
    }
    place.push(value);
    Ok(())
}

/// The keyword of a line in lower case, and what stands behind it; none for a line that says nothing.
fn split(line: &str) -> Result<Option<(String, &str)>, &'static str> {
    const BLANKS: [char; 3] = [' ', '\t', '\r'];
    let line = line.trim_end_matches([' ', '\t', '\r', '\u{c}']).trim_start_matches(BLANKS);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let behind = rest.trim_start_matches(BLANKS);
    // One may stand between, with blanks about it.
    let value = behind.strip_prefix('=').map_or(behind, |value| value.trim_start_matches(BLANKS));
    if keyword.is_empty() || rest.len() == value.len() && !rest.is_empty() {
        return Err("begins with no keyword");
    }
    Ok(Some((keyword.to_ascii_lowercase(), value)))
}

/// The words of a line, as OpenSSH takes them apart (`argv_split`): quotes of both kinds, a backslash before a quote, a backslash or a
/// blank, and a comment where a word would begin. None if a quote does not end.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|letter| matches!(letter, ' ' | '\t')).is_some() {}
        if rest.peek().is_none_or(|letter| *letter == '#') {
            return Some(words);
        }
        let (mut word, mut quote) = (String::new(), None);
        while let Some(letter) = rest.next_if(|letter| quote.is_some() || !matches!(letter, ' ' | '\t')) {
            match letter {
                '\\' => {
                    let escaped = |next: &char| matches!(next, '\'' | '"' | '\\') || quote.is_none() && *next == ' ';
                    word.push(rest.next_if(escaped).unwrap_or('\\'));
                }
                '"' | '\'' if quote.is_none() => quote = Some(letter),
                letter if quote == Some(letter) => quote = None,
                letter => word.push(letter),
            }
        }
        if quote.is_some() {
            return None;
        }
        words.push(word);
    }
}

/// Whether a `Host` line is about a name: one pattern fits, and none with `!` does.
fn is_about(patterns: &[String], alias: &str, spot: &Spot) -> Result<bool, Unusable> {
    let mut is_about = false;
    for pattern in patterns {
        if pattern.is_empty() {
            return Err(spot.refuses("`Host` has an empty pattern"));
        }
        match pattern.strip_prefix('!') {
            Some(pattern) if fits(alias.as_bytes(), pattern.as_bytes()) => return Ok(false),
            Some(_) => {}
            None => is_about |= fits(alias.as_bytes(), pattern.as_bytes()),
        }
    }
    Ok(is_about)
}

/// `[USER@]HOST[:PORT]`, with commas between; nothing for `none`.
fn jumps(text: &str) -> Option<Vec<Jump>> {
    let text = text.trim_start_matches(['=', ' ', '\t']);
    let text = text.split('#').next().unwrap_or_default().trim_end_matches([' ', '\t', '\r', '\n']);
    if text.eq_ignore_ascii_case("none") {
        return Some(Vec::new());
    }
    let jumps: Option<Vec<Jump>> = text.split(',').map(Jump::parse).collect();
    jumps.filter(|jumps| jumps.len() <= MAX_VALUES)
}

impl Jump {
    /// `[USER@]HOST[:PORT]`.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, text),
        };
        let (alias, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (alias, behind) = rest.split_once(']')?;
                (alias, if behind.is_empty() { None } else { Some(behind.strip_prefix(':')?) })
            }
            None => match place.split_once(':') {
                Some((alias, port)) => (alias, Some(port)),
                None => (place, None),
            },
        };
        let digits = |port: &&str| port.bytes().all(|byte| byte.is_ascii_digit());
        let port = match port {
            Some("") | None => None,
            Some(port) => Some(Some(port).filter(digits)?.parse().ok().filter(|port: &u16| *port > 0)?),
        };
        let plain = |text: &str| is_word(text) && !text.contains(['/', '"', '\'', '\\', '$']);
        let is_plain = plain(alias) && user.is_none_or(|user| plain(user) && !user.contains('%'));
        is_plain.then(|| Self { alias: alias.to_owned(), user: user.map(str::to_owned), port })
    }
}

fn is_word(text: &str) -> bool {
    let odd = |letter: char| letter.is_whitespace() || letter.is_control();
    !text.is_empty() && !text.starts_with('-') && !text.contains(odd)
}

/// A value with its tokens replaced; any other token is an error, and so is a variable.
fn expand(value: &Value, tokens: &[(char, &str)]) -> Result<String, Unusable> {
    let mut text = String::new();
    let mut rest = value.text.chars();
    if value.text.contains("${") {
        return Err(value.spot.refuses(&format!("`{}`: variables are not expanded here", value.text)));
    }
    while let Some(letter) = rest.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let token = rest.next();
        match tokens.iter().find(|(name, _)| Some(*name) == token) {
            Some((_, meaning)) => text.push_str(meaning),
            None if token == Some('%') => text.push('%'),
            None => {
                let token = token.map(String::from).unwrap_or_default();
                return Err(value.spot.refuses(&format!("`{}`: `%{token}` is not expanded here", value.text)));
            }
        }
    }
    Ok(text)
}

/// A file's text; none if it is not there.
fn text(file: &Path) -> Result<Option<Vec<u8>>, String> {
    let about = match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        about => about.map_err(|error| error.to_string())?,
    };
    if !about.is_file() || about.len() > MAX_FILE {
        return Err("it is not a file, or too long".to_owned());
    }
    // As OpenSSH has it for the user's own.
    let owner = about.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() || about.mode() & 0o022 != 0 {
        return Err("other users can change it".to_owned());
    }
    std::fs::read(file).map(Some).map_err(|error| error.to_string())
}

/// The files that a path with `*` and `?` in its last part names, in the order of their names.
fn matching(path: &Path) -> Result<Vec<PathBuf>, String> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err("names no file".to_owned());
    };
    let odd = |text: &str, odd: &[char]| text.contains(odd);
    if odd(&directory.to_string_lossy(), &['*', '?', '[', '\\', '{']) || odd(name, &['[', '\\', '{']) {
        return Err("only `*` and `?` stand for something, in the last part of a path".to_owned());
    }
    if !name.contains(['*', '?']) {
        return Ok(vec![path.to_owned()]);
    }
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| error.to_string())?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| error.to_string())?.file_name();
        let entry = entry.as_encoded_bytes();
        if fits(entry, name.as_bytes()) && (!entry.starts_with(b".") || name.starts_with('.')) {
            let entry = std::str::from_utf8(entry).map_err(|_| "a name there is not text".to_owned())?;
            names.push(directory.join(entry));
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
