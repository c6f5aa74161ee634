//! The input of a replay: what was asked about a script, as plain data that outlasts the policies it was asked under: the questions, and the
//! circumstances that they were asked in.
//!
//! It holds what was taken from the text and from the machine, and nothing that a policy set brings with it: which groups a
//! path or a host is in, and what policies name below a tree, each set adds for itself (`request`, `replay`). Decides nothing.
//!
//! The text in it is of any type, so that a record can hold it as text that has been redacted.

use std::collections::BTreeSet;

use palisade_grammar::OutwardEffect;
use serde::{Deserialize, Serialize};

use crate::acts::{FileAction, Receiver};
use crate::facts::{Auth, Channel, Lasts, Origin, SessionShell, Transport};

/// The version of this form, `v` in a record.
pub const REPLAY_INPUT_VERSION: u32 = 1;

/// Everything that was asked about one script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayInput<T> {
    /// The version of the form, [`REPLAY_INPUT_VERSION`].
    pub v: u32,
    /// Who asked; none: a record says it elsewhere.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub who: Option<Who<T>>,
    /// Its OAuth scopes.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<T>,
    /// The client's own name for itself.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub client: Option<T>,
    /// How commands reached the shell.
    #[serde(default, skip_serializing_if = "is_default")]
    pub transport: Transport,
    /// The host at its other end; none: this machine.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub host: Option<Host<T>>,
    /// The agent's directory.
    pub workspace: T,
    /// The session's temporary directory.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub temp: Option<T>,
    /// The directories that the session had for itself.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub scratch: Vec<T>,
    /// What was not its own in them.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub not_scratch: Vec<T>,
    /// The session.
    pub session: SessionInput<T>,
    /// UTC, milliseconds since midnight and the day of the week, the latter two in the operator's time zone.
    pub clock: (T, u32, u8),
    /// The script as a whole.
    #[serde(default, skip_serializing_if = "is_default")]
    pub script: Script,
    /// The people whose yes it was asked with.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<Approver<T>>,
    /// The questions, in the order of the text.
    pub items: Vec<Item<T>>,
    /// Circumstances that are not as they were: nothing can be asked again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<Field>,
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who<T> {
    /// The agent's name.
    pub agent: T,
    /// On whose behalf it acts.
    pub user: T,
    /// The agent's roles.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<T>,
    /// The identity is proven.
    pub verified: bool,
    /// How it was proven.
    pub auth: Auth,
}

/// A host that a session is on, other than this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host<T> {
    /// Its id in policies.
    pub name: T,
    /// The user that a session there runs as.
    pub user: T,
    /// Its key is in the known hosts.
    pub key_verified: bool,
    /// A container's image.
    pub image: T,
    /// A container with the host's privileges.
    pub privileged: bool,
}

/// The session that a script was for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInput<T> {
    /// Its id.
    pub id: T,
    /// How long it had lived, in milliseconds.
    pub age_ms: u64,
    /// Scripts it had run before.
    pub commands: u64,
    /// What it had already done.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<T>,
    /// Landlock and seccomp were in force.
    pub sandboxed: bool,
    /// Every `execve` was decided again.
    pub guarded: bool,
    /// The kernel held every path rule of the set of the time.
    pub paths_held: bool,
    /// Its network was a namespace of its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub own_network: bool,
    /// What its scripts ran in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shell: SessionShell,
}

/// What a command's context tells of its script.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// It has a syntax error, or is beyond a limit.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unparsed: bool,
    /// Only code is, which a shell of its own gets.
    #[serde(default, skip_serializing_if = "is_default")]
    pub elsewhere: bool,
    /// How many commands it holds.
    pub commands: usize,
    /// Something in it could not be read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dynamic: bool,
}

/// A person who said yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approver<T> {
    /// The name that policies know.
    pub user: T,
    /// That user's roles.
    pub roles: Vec<T>,
    /// The way that the yes came; not on record where it is the socket, which was all that there was besides the terminal.
    #[serde(default, skip_serializing_if = "Channel::is_control")]
    pub via: Channel,
    /// How long it holds; not on record where it is for the one call.
    #[serde(default, skip_serializing_if = "Lasts::is_once")]
    pub lasts: Lasts,
}

/// One thing that was asked about; a tree of files is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item<T> {
    /// What was asked.
    #[serde(flatten)]
    pub what: What<T>,
    /// The working directory; none: the workspace. Empty: it was not known.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub dir: Option<T>,
    /// What is not in it as it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<Field>,
}

/// What a question was about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What<T> {
    /// To run a command.
    Exec(Box<Exec<T>>),
    /// To set a variable.
    Env(Variable<T>),
    /// To do something to files.
    File(Files<T>),
    /// To connect to a peer.
    Connect(Peer<T>),
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec<T> {
    /// Its number in the inventory; of what no command could be made of, where it begins.
    pub at: usize,
    /// No command could be made of it: nothing else is known than its text.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unread: bool,
    /// The words of its program, widest first.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<T>,
    /// The command groups that the tables put it in.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<T>,
    /// The program's file.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub path: Option<T>,
    /// Where that comes from.
    pub origin: Origin,
    /// The text, as one would type it; none: a record has it as the whole script.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub text: Option<T>,
    /// Its options.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<T>,
    /// Its operands, in order.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub operands: Vec<T>,
    /// The values of its options.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<(T, Vec<T>)>,
    /// Names of the variables that are set for it alone.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<T>,
    /// The programs around it.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub wrappers: Vec<T>,
    /// What feeds it.
    #[serde(default = "Neighbours::none", skip_serializing_if = "Neighbours::is_none")]
    pub upstream: Neighbours<T>,
    /// What it feeds.
    #[serde(default = "Neighbours::none", skip_serializing_if = "Neighbours::is_none")]
    pub downstream: Neighbours<T>,
    /// It is given code as an argument.
    #[serde(default, skip_serializing_if = "is_default")]
    pub inline_code: bool,
    /// Some word is not known before it runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dynamic: bool,
    /// The command word is not.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dynamic_program: bool,
    /// Why it is not fully known.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub opaque: Vec<T>,
    /// The programs above it, where a running one starts it.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub started_by: Option<Vec<T>>,
    /// It runs in the background.
    #[serde(default, skip_serializing_if = "is_default")]
    pub background: bool,
    /// How deep it is nested.
    #[serde(default, skip_serializing_if = "is_default")]
    pub depth: usize,
    /// What it does to another system, or to this machine; none: no table is about its program.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub outward: Option<Outward<T>>,
}

/// What a command does beyond its workspace: see [`palisade_grammar::Outward`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outward<T> {
    /// The system that it concerns.
    pub system: T,
    /// What it does for certain.
    #[serde(default = "BTreeSet::new", skip_serializing_if = "BTreeSet::is_empty")]
    pub effects: BTreeSet<OutwardEffect>,
    /// What it may do besides, by words that are known only when it runs.
    #[serde(default = "BTreeSet::new", skip_serializing_if = "BTreeSet::is_empty")]
    pub possible: BTreeSet<OutwardEffect>,
    /// Scope words, and what stands for them.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<(T, T)>,
    /// The narrowest scope; empty: not told.
    pub narrowest: T,
    /// The operands behind the verb.
    pub target: T,
    /// What it asks a server of HTTP for; none: it is no client of HTTP.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub http: Option<Http<T>>,
    /// Every host that it talks to, or directory of its socket; none: its words do not tell.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<T>,
}

/// A request of HTTP: see [`palisade_grammar::HttpRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http<T> {
    /// `GET`, in capitals.
    pub method: T,
    /// The host, without a port.
    pub host: T,
    /// The path, without query and fragment.
    pub path: T,
}

impl Outward<String> {
    /// A sentence of these effects, for a person: ``It destroys: `pod web` (kubernetes, namespace=prod).`` Empty if it only looks.
    pub(crate) fn told(&self, effects: &BTreeSet<OutwardEffect>) -> String {
        let place = |(word, place): &(String, String)| format!("{word}={place}");
        let places: Vec<String> = std::iter::once(self.system.clone()).chain(self.scope.iter().map(place)).collect();
        let (places, target) = (places.join(", "), &self.target);
        if effects.len() == OutwardEffect::ALL.len() {
            return format!("No table knows this verb, which may do anything there ({places}).");
        }
        let does = effects.iter().filter_map(|effect| match effect {
            OutwardEffect::Observe => None,
            OutwardEffect::Create => Some("creates"),
            OutwardEffect::Change => Some("changes"),
            OutwardEffect::Destroy => Some("destroys"),
            OutwardEffect::Publish => Some("publishes"),
            OutwardEffect::Credential => Some("shows or changes secrets or rights"),
            OutwardEffect::Execute => Some("runs code"),
            OutwardEffect::Host => Some("changes this machine"),
        });
        let does: Vec<&str> = does.collect();
        match (does.is_empty(), target.is_empty()) {
            (true, _) => String::new(),
            (false, true) => format!("It {} ({places}).", does.join(", ")),
            (false, false) => format!("It {}: `{target}` ({places}).", does.join(", ")),
        }
    }
}

impl Exec<String> {
    /// A command of which nothing is said: no word, no program, and no opacity either.
    pub(crate) fn of_nothing() -> Self {
        Self {
            at: 0,
            unread: false,
            words: Vec::new(),
            groups: Vec::new(),
            path: None,
            origin: Origin::Unknown,
            text: None,
            flags: Vec::new(),
            operands: Vec::new(),
            options: Vec::new(),
            env: Vec::new(),
            wrappers: Vec::new(),
            upstream: Neighbours::none(),
            downstream: Neighbours::none(),
            inline_code: false,
            dynamic: false,
            dynamic_program: false,
            opaque: Vec::new(),
            started_by: None,
            background: false,
            depth: 0,
            outward: None,
        }
    }
}

/// The commands at the other end of a pipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbours<T> {
    /// The words of their programs.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<T>,
    /// Their command groups.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<T>,
    /// One of them is not known: it may be any that a policy names.
    #[serde(default, skip_serializing_if = "is_default")]
    pub any: bool,
}

impl<T> Neighbours<T> {
    /// Nothing is there.
    pub fn none() -> Self {
        Self { programs: Vec::new(), groups: Vec::new(), any: false }
    }

    /// Whether nothing is there.
    pub fn is_none(&self) -> bool {
        self.programs.is_empty() && self.groups.is_empty() && !self.any
    }
}

/// A variable that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable<T> {
    /// Its name.
    pub name: T,
    /// Its value.
    pub value: T,
    /// What gets it, for the no-gain principle; unknown in records of earlier versions.
    #[serde(default = "Receiver::default", skip_serializing_if = "Receiver::is_unknown")]
    pub receiver: Receiver<T>,
}

/// Files that something is done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files<T> {
    /// What is done.
    pub action: FileAction,
    /// The files; none: the file is not known.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<T>,
    /// The file as the text names it, where that is all there is.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub written: Option<T>,
    /// The trusted program that does it; empty for any other.
    pub program: T,
    /// It reaches all that lies below.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tree: bool,
    /// The path groups that had members below; none: nobody looked.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub below: Option<Vec<T>>,
    /// A running program started what does it, seen at its `execve`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub spawned: bool,
}

/// A peer that a command connects to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer<T> {
    /// Its name or address; none: it is not known.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub host: Option<T>,
    /// The port; 0 where it is not known.
    #[serde(default, skip_serializing_if = "is_default")]
    pub port: u16,
    /// The peer as the text names it, where that is all there is.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub written: Option<T>,
    /// The trusted program that connects; empty for any other.
    pub program: T,
}

/// A part of a question that can be missing from what is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// A command's text.
    Text,
    /// Its options.
    Flags,
    /// Its operands.
    Operands,
    /// The values of its options.
    Options,
    /// The names of the variables that are set for it.
    Env,
    /// The file of its program.
    Path,
    /// A variable's value.
    Value,
    /// What it is, or where: a program's name, a file's, a peer's, a directory.
    Name,
    /// Words for people, which no policy sees.
    Shown,
}

impl Field {
    /// The attributes of the schema that are made of it. `None`: more than attributes are.
    pub(crate) fn attributes(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Text => Some(&["text"]),
            Self::Flags => Some(&["flags"]),
            Self::Operands => Some(&["operands", "firstOperand", "lastOperand"]),
            // Tags, which are read by name.
            Self::Options => Some(&["getTag", "hasTag"]),
            Self::Env => Some(&["envNames"]),
            Self::Path => Some(&["path"]),
            Self::Value => Some(&["value"]),
            Self::Shown => Some(&[]),
            Self::Name => None,
        }
    }

    /// What it is called in a sentence.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Flags => "flags",
            Self::Operands => "operands",
            Self::Options => "option values",
            Self::Env => "variable names",
            Self::Path => "program file",
            Self::Value => "value",
            Self::Name => "name",
            Self::Shown => "text for people",
        }
    }
}

/// What another type makes of each text: `Err` with a text that is not the same any more.
type Make<'m, T, U> = dyn FnMut(&T) -> Result<U, U> + 'm;

impl<T> ReplayInput<T> {
    /// The same with texts of another type. What is not the same any more is noted where it stands.
    pub fn map<U>(&self, make: &mut Make<'_, T, U>) -> ReplayInput<U> {
        let mut cut = self.cut.clone();
        let mut one = |text: &T| note(make(text), Field::Name, &mut cut);
        let many = |texts: &[T], one: &mut dyn FnMut(&T) -> U| texts.iter().map(one).collect::<Vec<U>>();
        let who = self.who.as_ref().map(|who| Who {
            agent: one(&who.agent),
            user: one(&who.user),
            roles: many(&who.roles, &mut one),
            verified: who.verified,
            auth: who.auth,
        });
        let (scopes, client) = (many(&self.scopes, &mut one), self.client.as_ref().map(&mut one));
        let host = self.host.as_ref().map(|host| Host {
            name: one(&host.name),
            user: one(&host.user),
            key_verified: host.key_verified,
            image: one(&host.image),
            privileged: host.privileged,
        });
        let session = SessionInput {
            id: one(&self.session.id),
            age_ms: self.session.age_ms,
            commands: self.session.commands,
            labels: many(&self.session.labels, &mut one),
            sandboxed: self.session.sandboxed,
            guarded: self.session.guarded,
            paths_held: self.session.paths_held,
            own_network: self.session.own_network,
            shell: self.session.shell,
        };
        let person = |person: &Approver<T>| Approver {
            user: one(&person.user),
            roles: many(&person.roles, &mut one),
            via: person.via,
            lasts: person.lasts,
        };
        let approvers = self.approvers.iter().map(person).collect();
        let workspace = one(&self.workspace);
        let (temp, clock) = (self.temp.as_ref().map(&mut one), (one(&self.clock.0), self.clock.1, self.clock.2));
        let (scratch, not_scratch) = (many(&self.scratch, &mut one), many(&self.not_scratch, &mut one));
        let items = self.items.iter().map(|item| item.map(make)).collect();
        ReplayInput {
            v: self.v,
            who,
            scopes,
            client,
            transport: self.transport,
            host,
            workspace,
            temp,
            scratch,
            not_scratch,
            session,
            clock,
            script: self.script,
            approvers,
            items,
            cut,
        }
    }
}

impl ReplayInput<String> {
    /// How long all texts in it are together, in bytes.
    pub fn bytes(&self) -> usize {
        let mut bytes = 0;
        let _ = self.map::<()>(&mut |text| {
            bytes += text.len();
            Ok(())
        });
        bytes
    }
}

impl Item<String> {
    /// How long all texts in it are together, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let mut bytes = 0;
        let _ = self.map::<()>(&mut |text| {
            bytes += text.len();
            Ok(())
        });
        bytes
    }
}

impl<T> Item<T> {
    fn map<U>(&self, make: &mut Make<'_, T, U>) -> Item<U> {
        let mut cut = self.cut.clone();
        let dir = self.dir.as_ref().map(|dir| note(make(dir), Field::Name, &mut cut));
        let mut one = |field: Field, text: &T| note(make(text), field, &mut cut);
        let what = match &self.what {
            What::Exec(exec) => What::Exec(Box::new(exec.map(&mut one))),
            What::Env(Variable { name, value, receiver }) => What::Env(Variable {
                name: one(Field::Name, name),
                value: one(Field::Value, value),
                receiver: receiver.map(|text| one(Field::Name, text)),
            }),
            What::File(files) => What::File(Files {
                action: files.action,
                paths: files.paths.iter().map(|path| one(Field::Name, path)).collect(),
                written: files.written.as_ref().map(|written| one(Field::Shown, written)),
                program: one(Field::Name, &files.program),
                tree: files.tree,
                below: files.below.as_ref().map(|below| below.iter().map(|group| one(Field::Name, group)).collect()),
                spawned: files.spawned,
            }),
            What::Connect(peer) => What::Connect(Peer {
                host: peer.host.as_ref().map(|host| one(Field::Name, host)),
                port: peer.port,
                written: peer.written.as_ref().map(|written| one(Field::Shown, written)),
                program: one(Field::Name, &peer.program),
            }),
        };
        Item { what, dir, cut }
    }
}

impl<T> Exec<T> {
    fn map<U>(&self, one: &mut dyn FnMut(Field, &T) -> U) -> Exec<U> {
        fn many<T, U>(field: Field, texts: &[T], one: &mut dyn FnMut(Field, &T) -> U) -> Vec<U> {
            texts.iter().map(|text| one(field, text)).collect()
        }
        let neighbours = |from: &Neighbours<T>, one: &mut dyn FnMut(Field, &T) -> U| Neighbours {
            programs: many(Field::Name, &from.programs, one),
            groups: many(Field::Name, &from.groups, one),
            any: from.any,
        };
        let options = self.options.iter().map(|(name, values)| {
            let name = one(Field::Options, name);
            (name, many(Field::Options, values, one))
        });
        Exec {
            at: self.at,
            unread: self.unread,
            options: options.collect(),
            words: many(Field::Name, &self.words, one),
            groups: many(Field::Name, &self.groups, one),
            path: self.path.as_ref().map(|path| one(Field::Path, path)),
            origin: self.origin,
            text: self.text.as_ref().map(|text| one(Field::Text, text)),
            flags: many(Field::Flags, &self.flags, one),
            operands: many(Field::Operands, &self.operands, one),
            env: many(Field::Env, &self.env, one),
            wrappers: many(Field::Name, &self.wrappers, one),
            upstream: neighbours(&self.upstream, one),
            downstream: neighbours(&self.downstream, one),
            inline_code: self.inline_code,
            dynamic: self.dynamic,
            dynamic_program: self.dynamic_program,
            opaque: many(Field::Name, &self.opaque, one),
            started_by: self.started_by.as_ref().map(|programs| many(Field::Name, programs, one)),
            background: self.background,
            depth: self.depth,
            outward: self.outward.as_ref().map(|outward| Outward {
                system: one(Field::Name, &outward.system),
                effects: outward.effects.clone(),
                possible: outward.possible.clone(),
                scope: outward
                    .scope
                    .iter()
                    .map(|(word, place)| (one(Field::Name, word), one(Field::Operands, place)))
                    .collect(),
                narrowest: one(Field::Operands, &outward.narrowest),
                target: one(Field::Operands, &outward.target),
                http: outward.http.as_ref().map(|http| Http {
                    method: one(Field::Operands, &http.method),
                    host: one(Field::Operands, &http.host),
                    path: one(Field::Operands, &http.path),
                }),
                hosts: many(Field::Operands, &outward.hosts, one),
            }),
        }
    }
}

fn note<U>(made: Result<U, U>, field: Field, cut: &mut Vec<Field>) -> U {
    made.unwrap_or_else(|other| {
        if !cut.contains(&field) {
            cut.push(field);
        }
        other
    })
}

fn is_default<V: Default + PartialEq>(value: &V) -> bool {
    *value == V::default()
}
