//! What OpenSSH's own configuration says of a host (ssh_config(5)): the reading of these files, and nothing else.
//!
//! As OpenSSH has it the first value counts, and a line is about the hosts of the last `Host` before it. What would change where we
//! connect, as whom, or which key is believed, and is not understood here, is an error that names file and line; so is a keyword
//! that nobody knows. What changes neither is passed over: ciphers, forwardings and the like are Palisade's own. Three things are
//! stricter: a `Match` that is not understood is refused wherever it stands, every file has to be safe from other users, and so is a name
//! that stands for another file wherever Palisade is started.
//!
//! This file reads files into an answer; `config/lines.rs` takes a line apart, `config/matches.rs` decides which `Match` is about the
//! host, `config/values.rs` which keyword counts, and `config/files.rs` which file may.

mod files;
mod lines;
mod matches;
mod values;

use std::path::{Path, PathBuf};

use self::files::{matching, text};
use self::lines::{expand, is_about, is_word, split, words};
use self::values::{Found, Route};

/// Files that may be read for one host.
const MAX_FILES: usize = 128;

/// How deep files may include others (OpenSSH's `READCONF_MAX_DEPTH`).
const MAX_DEPTH: usize = 16;

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
    /// The name by which its key is looked up; none: its own.
    pub host_key_alias: Option<String>,
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
        let mut active = !level.never;
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
                "match" => active = matches::is_about(self, (rest, &words), asked, found, &spot)? && !level.never,
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
            Some(Route::Jumps(jumps, spot)) => {
                let expanded = jumps.into_iter().map(|jump| {
                    let value = Value { text: jump.alias, spot: spot.clone() };
                    let alias = expand(&value, &[('h', &host), ('n', &asked.alias), ('p', &at), ('r', &user)])?;
                    if is_word(&alias) { Ok(Jump { alias, ..jump }) } else { Err(spot.refuses("names no host")) }
                });
                expanded.collect::<Result<Vec<_>, Unusable>>()?
            }
            Some(Route::Command(spot)) => {
                return Err(spot.refuses("`ProxyCommand` is not followed; name the hosts on the way with `ProxyJump`"));
            }
            Some(Route::Direct) | None => Vec::new(),
        };
        let agent = match &found.agent {
            Some(value) if value.is_none() => None,
            Some(value) if value.text == "SSH_AUTH_SOCK" || value.text.starts_with('$') => {
                return Err(value.spot.refuses("no variable names an agent; set `agent` in the target's settings"));
            }
            Some(value) => Some(path(value)?),
            None => None,
        };
        let host_key_alias = found.host_key_alias.as_ref().map(|value| {
            // It stands for nothing but itself, and any pattern of a file could mean it.
            if is_word(&value.text) && !value.text.contains(['*', '?', '!', ',', '%', '$', '[', ']', '|', '@']) {
                Ok(value.text.to_ascii_lowercase())
            } else {
                Err(value.spot.refuses(&format!("`{}` is no name of a host", value.text)))
            }
        });
        Ok(Alias {
            host_key_alias: host_key_alias.transpose()?,
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
