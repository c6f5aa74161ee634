//! What the lines of OpenSSH's configuration say of a host, value by value: which keywords are followed, passed over, or refused.

use std::path::PathBuf;

use super::lines::{is_word, jumps};
use super::{Asked, Jump, Spot, Unusable, Value};
use crate::transport::ssh::patterns::fits;

/// Values of one keyword that may add up.
const MAX_VALUES: usize = 32;

/// How a host is reached.
#[derive(Clone, Debug)]
pub(super) enum Route {
    Direct,
    Jumps(Vec<Jump>, Spot),
    Command(Spot),
}

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) host: Option<Value>,
    pub(super) host_key_alias: Option<Value>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) identities: Vec<Value>,
    pub(super) certificates: Vec<Value>,
    pub(super) identities_only: Option<bool>,
    pub(super) agent: Option<Value>,
    pub(super) user_known: Option<Vec<Value>>,
    pub(super) global_known: Option<Vec<Value>>,
    pub(super) way: Option<Route>,
    pub(super) unknown: Option<Vec<String>>,
    pub(super) files: Vec<PathBuf>,
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
    ("knownhostscommand", "none", "the keys of hosts are read from files, never from a program"),
    ("pkcs11provider", "none", "keys are read from files or asked of an agent"),
    ("refuseconnection", "", "it says that nobody should connect"),
    ("remotecommand", "none", "a session there is a shell of Palisade's"),
    ("revokedhostkeys", "none", "a list of revoked keys is not read; mark them with `@revoked` in `known-hosts`"),
];

impl Found {
    pub(super) fn of(asked: &Asked) -> Self {
        let spot = Spot { file: PathBuf::from("palisade.toml"), line: 0 };
        Self {
            // It is what it is, whatever stands in it.
            host: asked.host.as_ref().map(|host| Value { text: host.replace('%', "%%"), spot }),
            port: asked.port,
            user: asked.user.clone(),
            way: asked.jumps.then_some(Route::Direct),
            ..Self::default()
        }
    }

    /// One line that is about values.
    pub(super) fn take(
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
            "hostkeyalias" => set(&mut self.host_key_alias, value(one()?), active),
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
                let way = if jumps.is_empty() { Route::Direct } else { Route::Jumps(jumps, spot) };
                set(&mut self.way, way, active);
            }
            "proxycommand" => {
                let is_none = rest.trim_start_matches(['=', ' ', '\t']) == "none";
                set(&mut self.way, if is_none { Route::Direct } else { Route::Command(spot) }, active);
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
