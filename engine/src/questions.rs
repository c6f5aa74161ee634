//! What a script raises: an inventory and the facts to the questions that are asked about it, as plain data. What Cedar is
//! asked for them is `request`'s.
//!
//! Nothing here comes from a policy set, so that the same questions can be asked under another.

use std::collections::{BTreeSet, HashMap};

use palisade_grammar::{
    Assignment, Command, CommandId, Effect, EffectKind, Inventory, Opaque, OpaqueReason, Resolved, Span, Value, Via,
    Word,
};

use crate::acts::{Approval, FileAction, Receiver};
use crate::command_facts::Remote;
use crate::facts::{AtExecve, Crowd, Facts, Machine, Origin, Program};
use crate::no_gain;
use crate::path::AbsolutePath;
use crate::replay_input::{
    Exec, Files, Host, Http, Item, Neighbours, Outward, Peer, REPLAY_INPUT_VERSION, ReplayInput, Script, SessionInput,
    Variable, What, Who,
};

/// How deep a command may stand in a text: what the grammar refuses to go beyond.
const MAX_DEPTH: usize = 64;

/// Search paths, which the guard looks at by what lies in the directories that they name.
const BY_PLACE: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];

/// The program that a condition of bash's is taken for.
const CONDITION: &str = "[[";

/// A question, and where the script raises it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) item: Item<String>,
    /// Where it stands in the script.
    pub(crate) span: Span,
    /// The program that it is about; empty if none is known.
    pub(crate) program: String,
    /// The wrappers around it, outermost first.
    pub(crate) via: Vec<String>,
}

impl From<Item<String>> for Question {
    /// A question whose script is no longer there.
    fn from(item: Item<String>) -> Self {
        let (program, via) = match &item.what {
            What::Exec(exec) => (exec.words.first().cloned().unwrap_or_default(), exec.wrappers.clone()),
            What::File(Files { program, .. }) | What::Connect(Peer { program, .. }) => (program.clone(), Vec::new()),
            What::Env(_) => (String::new(), Vec::new()),
        };
        Self { item, span: Span::default(), program, via }
    }
}

/// The questions of one script, and what they say of it as a whole.
pub(crate) struct Questions {
    pub(crate) list: Vec<Question>,
    pub(crate) script: Script,
}

impl Questions {
    /// How long all texts in the questions are together, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.list.iter().map(|question| question.item.bytes()).sum()
    }

    /// The same as plain data, with the circumstances.
    pub(crate) fn replay_input(self, facts: &Facts, people: &[Approval]) -> ReplayInput<String> {
        let Facts { principal, session, clock, machine, .. } = facts;
        let list = |texts: &BTreeSet<String>| texts.iter().cloned().collect::<Vec<_>>();
        let places =
            |paths: &BTreeSet<AbsolutePath>| paths.iter().map(|path| path.as_str().to_owned()).collect::<Vec<_>>();
        let is_here = facts.host == "localhost" && *machine == Machine::default();
        let host = || Host {
            name: facts.host.clone(),
            user: machine.user.clone(),
            key_verified: machine.key_verified,
            image: machine.image.clone(),
            privileged: machine.privileged,
        };
        ReplayInput {
            v: REPLAY_INPUT_VERSION,
            who: Some(Who {
                agent: principal.agent.clone(),
                user: principal.user.clone(),
                roles: list(&principal.roles),
                verified: principal.verified,
                auth: principal.auth,
            }),
            scopes: list(&principal.scopes),
            client: (!principal.client.is_empty()).then(|| principal.client.clone()),
            transport: facts.transport,
            host: (!is_here).then(host),
            workspace: facts.workspace.as_str().to_owned(),
            temp: facts.temp.as_ref().map(|temp| temp.as_str().to_owned()),
            scratch: places(&facts.scratch.places),
            not_scratch: places(&facts.scratch.except),
            session: SessionInput {
                id: session.id.clone(),
                age_ms: session.age_ms,
                commands: session.commands,
                labels: list(&session.labels),
                sandboxed: session.sandboxed,
                guarded: session.guarded,
                paths_held: session.paths_held,
                own_network: session.own_network,
                shell: session.shell,
            },
            clock: (clock.now.clone(), clock.time_of_day_ms, clock.weekday),
            script: self.script,
            approvers: people
                .iter()
                .map(|person| crate::replay_input::Approver {
                    user: person.user.clone(),
                    roles: list(&person.roles),
                    via: person.via,
                    lasts: person.lasts,
                })
                .collect(),
            items: self.list.into_iter().map(|question| question.item).collect(),
            cut: Vec::new(),
        }
    }
}

/// Every question that a script raises, in the order of the text. Empty only if the inventory is.
pub(crate) fn script(inventory: &Inventory, facts: &Facts) -> Questions {
    let reader = Reader { inventory, facts };
    let mut questions = Vec::new();
    let mut opaque: HashMap<CommandId, Vec<&Opaque>> = HashMap::new();
    for item in inventory.opaque() {
        let Some(command) = item.command else { continue };
        if item.is_possible_option() && facts.no_options.contains(&(command, item.span.start)) {
            continue;
        }
        opaque.entry(command).or_default().push(item);
    }
    let mut exported: Vec<&Assignment> = Vec::new();
    for command in inventory.commands() {
        let opaque = opaque.get(&command.id).map_or(&[][..], Vec::as_slice);
        // What a function runs is told by its body, which is listed by itself.
        let runs = !matches!(command.resolved, Resolved::None | Resolved::Function);
        if runs || !opaque.is_empty() {
            questions.push(reader.command(command, opaque));
        }
        let assignments = command.assignments.iter().filter(|assignment| !splits_one_read(command, assignment));
        questions.extend(assignments.map(|assignment| reader.assignment(command, assignment, opaque)));
        questions.extend(reader.bare_exports(command, &exported));
        questions.extend(reader.inherited(command, &exported, opaque));
        exported.extend(reader.exports(command));
        questions.extend(reader.effects(command, |_| true));
    }
    let unattached = inventory.opaque().iter().filter(|opaque| opaque.command.is_none());
    questions.extend(unattached.map(|opaque| reader.unread(opaque)));
    let runs_nothing = |command: &Command| matches!(command.resolved, Resolved::None);
    if questions.is_empty() && inventory.parsed() && inventory.commands().iter().all(runs_nothing) {
        questions.extend(reader.conditions());
    }
    questions.sort_by_key(|question| question.span.start);
    Questions { list: questions, script: reader.script(inventory.parsed()) }
}

/// Every question that executing a program raises: the program itself and what it touches, and of code in its words
/// what that touches without executing anything. What else the code runs is asked when it is executed; a file that
/// only its run can name is the kernel's to hold. A program that its words name outright is asked at once, since a
/// wrapper may run it without executing it, as the dynamic loader does.
pub(crate) fn execution(inventory: &Inventory, facts: &Facts) -> Questions {
    let reader = Reader { inventory, facts };
    // A program's words need no parsing at its `execve`; what of code in them cannot be read makes the command opaque.
    let script = reader.script(facts.at_execve.is_some() || inventory.parsed());
    let Some((program, inner)) = inventory.commands().split_first() else {
        return Questions { list: Vec::new(), script };
    };
    let opaque: Vec<&Opaque> = inventory.opaque().iter().collect();
    let mut questions = vec![reader.command(program, &opaque)];
    questions.extend(reader.effects(program, |_| true));
    for command in inner {
        if matches!(command.via, Via::Wrapper(_)) && command.argv.iter().all(is_literal) {
            questions.push(reader.command(command, &[]));
        }
        questions
            .extend(reader.effects(command, |at| facts.paths.contains_key(&at) || facts.matches.contains_key(&at)));
    }
    Questions { list: questions, script }
}

/// Why a command is not known by its words alone, besides what the grammar tells of it: it runs code of the project, or no guard holds a
/// program that is the agent's own or that no reviewed table describes. None for what bash itself runs, and for a word of which it is not
/// known what it runs: that is opaque already.
///
/// What is executed is not asked about the project's code again: that was told by the text, or is what such code has started.
pub(crate) fn unknown(command: &Command, facts: &Facts) -> Option<OpaqueReason> {
    if !matches!(command.resolved, Resolved::Name | Resolved::Path) {
        return None;
    }
    if !command.invocation.project.is_empty() && facts.at_execve.is_none() {
        return Some(OpaqueReason::ProjectCode);
    }
    if facts.session.guarded {
        return None;
    }
    let origin = facts.programs.get(&command.id).map_or(Origin::Unknown, |program| program.origin);
    match origin {
        Origin::Workspace | Origin::Temp => Some(OpaqueReason::ProjectCode),
        Origin::Builtin | Origin::System | Origin::Toolchain | Origin::Remote if command.invocation.reviewed => None,
        // A table says nothing of a file that only has the name of its program.
        Origin::Builtin | Origin::System | Origin::Toolchain | Origin::Remote | Origin::Unknown => {
            Some(OpaqueReason::NotReviewed)
        }
    }
}

/// A computed value is asked as it is written: its `$` or backtick makes it none of the harmless values that a policy may list. What is
/// not written anywhere, since `read` or a loop sets it, is asked as `$NAME`.
fn variable(assignment: &Assignment, receiver: Receiver<String>) -> Variable<String> {
    let name = assignment.name.clone();
    let written = known_text(&assignment.value);
    let is_told = assignment.value.value.literal().is_some() || written.contains(['$', '`', '~', '/']);
    let value = if is_told { written } else { format!("${name}") };
    Variable { name, value, receiver }
}

fn id(reason: OpaqueReason) -> String {
    reason.as_str().to_owned()
}

struct Reader<'a> {
    inventory: &'a Inventory,
    facts: &'a Facts,
}

impl Reader<'_> {
    fn script(&self, parsed: bool) -> Script {
        Script {
            unparsed: !parsed,
            elsewhere: !parsed && self.inventory.own_parsed(),
            commands: self.inventory.commands().len(),
            dynamic: !self.inventory.opaque().is_empty(),
        }
    }

    fn question(&self, command: &Command, span: Span, what: What<String>) -> Question {
        Question {
            item: Item { what, dir: self.directory(self.facts.directories.get(&command.id)), cut: Vec::new() },
            span,
            program: command.invocation.words.first().cloned().unwrap_or_default(),
            via: wrappers(self.inventory, command),
        }
    }

    /// As an item has it.
    fn directory(&self, directory: Option<&AbsolutePath>) -> Option<String> {
        match directory {
            Some(directory) if *directory == self.facts.workspace => None,
            directory => Some(directory.map_or("", AbsolutePath::as_str).to_owned()),
        }
    }

    fn command(&self, command: &Command, opaque: &[&Opaque]) -> Question {
        let program = self.facts.programs.get(&command.id);
        let invocation = &command.invocation;
        let seen = self.facts.at_execve.as_ref();
        let mut wrappers = wrappers(self.inventory, command);
        let mut upstream = self.neighbours(&command.upstream);
        let mut downstream = self.neighbours(&command.downstream);
        if let Some(AtExecve { upstream: feeding, downstream: fed, unconnected: _ }) = seen {
            upstream.join(feeding);
            downstream.join(fed);
            wrappers.extend(self.facts.started_by.iter().flatten().cloned());
        }
        let exec = Exec {
            at: command.id.0 as usize,
            unread: false,
            words: invocation.words.clone(),
            groups: self.groups(command),
            path: program.and_then(|program| program.path.as_ref()).map(|path| path.as_str().to_owned()),
            origin: program.map_or(Origin::Unknown, |program| program.origin),
            text: Some(canonical(command)),
            flags: invocation.flags.iter().cloned().collect(),
            operands: invocation.operands.iter().map(known_text).collect(),
            options: self.options(command),
            env: command.assignments.iter().map(|assignment| assignment.name.clone()).collect(),
            wrappers,
            upstream: upstream.listed(),
            downstream: downstream.listed(),
            inline_code: invocation.inline_code,
            dynamic: command.argv.iter().any(|word| !is_literal(word)),
            dynamic_program: !matches!(command.program.value, Value::Literal(_)),
            opaque: opaque.iter().map(|opaque| opaque.reason).chain(unknown(command, self.facts)).map(id).collect(),
            started_by: self.facts.started_by.as_ref().map(|programs| programs.iter().cloned().collect()),
            // Nothing at `execve` tells who waits for it, and how deep in whose text it stands.
            background: command.background || seen.is_some(),
            depth: if seen.is_some() { MAX_DEPTH } else { command.depth as usize },
            outward: invocation.outward.as_ref().map(|outward| Outward {
                system: outward.system.clone(),
                effects: outward.effects.clone(),
                possible: outward.possible.clone(),
                scope: outward.scope.iter().map(|(word, place)| (word.clone(), place.clone())).collect(),
                narrowest: outward.narrowest().to_owned(),
                target: outward.target.clone(),
                http: outward.request.as_ref().map(|request| Http {
                    method: request.method.clone(),
                    host: request.host.clone(),
                    path: request.path.clone(),
                }),
                hosts: outward.hosts.clone(),
            }),
        };
        self.question(command, command.span, What::Exec(Box::new(exec)))
    }

    /// A text of bash's own conditions alone (`[[ -f x ]]`, `((1))`), in which no command stands that runs anything: asked as the builtin that they are, so that
    /// policy has something to say to it. None for a blank text.
    fn conditions(&self) -> Option<Question> {
        let text = String::from_utf8_lossy(self.inventory.script()).trim().to_owned();
        let span = Span::new(0, self.inventory.script().len());
        let dynamic = text.contains(['$', '`']);
        let exec = Exec {
            at: 0,
            unread: false,
            words: vec![CONDITION.to_owned()],
            groups: vec!["read-only".to_owned()],
            path: None,
            origin: Origin::Builtin,
            text: Some(text).filter(|text| !text.is_empty()),
            flags: Vec::new(),
            operands: Vec::new(),
            options: Vec::new(),
            env: Vec::new(),
            wrappers: Vec::new(),
            upstream: Neighbours::none(),
            downstream: Neighbours::none(),
            inline_code: false,
            dynamic,
            dynamic_program: false,
            opaque: Vec::new(),
            started_by: None,
            background: false,
            depth: 0,
            outward: None,
        };
        exec.text.as_ref()?;
        let item = Item { what: What::Exec(Box::new(exec)), dir: None, cut: Vec::new() };
        Some(Question { item, span, program: CONDITION.to_owned(), via: Vec::new() })
    }

    /// Something that no command could be made of: asked as a command about which nothing is known.
    fn unread(&self, opaque: &Opaque) -> Question {
        // The whole text, not the item's shortened one: what is cut before it is redacted may hold half a secret.
        let written = self.inventory.script().get(opaque.span.start..opaque.span.end);
        let written = String::from_utf8_lossy(written.unwrap_or_default()).into_owned();
        let exec = Exec {
            at: opaque.span.start,
            unread: true,
            words: Vec::new(),
            groups: Vec::new(),
            path: None,
            // The construct is bash's own; no file of any name stands for it, and it has no parent that permits it.
            origin: Origin::Builtin,
            text: Some(written),
            flags: Vec::new(),
            operands: Vec::new(),
            options: Vec::new(),
            env: Vec::new(),
            wrappers: Vec::new(),
            upstream: Neighbours::none(),
            downstream: Neighbours::none(),
            inline_code: true,
            dynamic: true,
            dynamic_program: true,
            opaque: vec![opaque.reason.as_str().to_owned()],
            started_by: None,
            background: true,
            depth: 0,
            outward: None,
        };
        let item = Item { what: What::Exec(Box::new(exec)), dir: self.directory(None), cut: Vec::new() };
        Question { item, span: opaque.span, program: String::new(), via: Vec::new() }
    }

    fn assignment(&self, command: &Command, assignment: &Assignment, opaque: &[&Opaque]) -> Question {
        let is_in_shell = matches!(command.resolved, Resolved::None | Resolved::Function | Resolved::Builtin);
        let receiver = match assignment.persistent || is_in_shell {
            true if self.inventory.exports(&assignment.name) => Receiver::Shell,
            // A function, or a builtin that runs code, gives its own variables to the programs in that.
            true if !assignment.persistent => Receiver::Shell,
            true => Receiver::ShellAlone,
            false => self.receiver(command, opaque),
        };
        self.question(command, assignment.span, What::Env(variable(assignment, receiver)))
    }

    /// What the programs behind a command get from it. What only may be exported is left to the guard, which sees it.
    fn exports<'b>(&self, command: &'b Command) -> impl Iterator<Item = &'b Assignment> {
        let lasting = command.assignments.iter().filter(|assignment| assignment.persistent);
        lasting.filter(|one| self.inventory.surely_exports(&one.name) && !BY_PLACE.contains(&one.name.as_str()))
    }

    /// `export NAME` of a variable that the script has not set: what an earlier command has left in it.
    fn bare_exports(&self, command: &Command, exported: &[&Assignment]) -> Vec<Question> {
        let unset =
            command.bare_exports().filter(|(name, _)| !exported.iter().any(|assignment| assignment.name == *name));
        let questions = unset.map(|(name, word)| {
            let variable = Variable { name: name.to_owned(), value: format!("${name}"), receiver: Receiver::Shell };
            self.question(command, word.span, What::Env(variable))
        });
        questions.collect()
    }

    /// What a program that connects gets of the variables that the script has exported before. The guard asks about them again when the
    /// program starts. By then a person may not be there to answer, so they are asked about in the text.
    fn inherited(&self, command: &Command, exported: &[&Assignment], opaque: &[&Opaque]) -> Vec<Question> {
        let runs = matches!(command.resolved, Resolved::Name | Resolved::Path);
        if exported.is_empty() || !runs || !self.facts.session.guarded {
            return Vec::new();
        }
        let receiver = self.receiver(command, opaque);
        let connects = matches!(&receiver, Receiver::Program { groups, .. } if no_gain::says_it_connects(groups));
        let inherited = exported.iter().filter(|_| connects);
        let questions = inherited
            .map(|assignment| self.question(command, command.span, What::Env(variable(assignment, receiver.clone()))));
        questions.collect()
    }

    /// A program that gets a variable.
    fn receiver(&self, command: &Command, opaque: &[&Opaque]) -> Receiver<String> {
        let invocation = &command.invocation;
        if !self.facts.programs.get(&command.id).is_some_and(|program| program.origin.is_trusted()) {
            return Receiver::untrusted();
        }
        Receiver::Program {
            words: invocation.words.clone(),
            groups: invocation.groups.iter().cloned().collect(),
            hidden: no_gain::is_lock_bound(&invocation.flags)
                || opaque.iter().any(|opaque| no_gain::hides_options(opaque.reason)),
        }
    }

    /// What is there already is not installed anew, nor is what a lock file names.
    fn groups(&self, command: &Command) -> Vec<String> {
        let nothing_new = self.facts.told.get(&command.id).is_some_and(|told| told.installed || told.locked);
        let groups = command.invocation.groups.iter();
        groups.filter(|group| !nothing_new || !group.starts_with("install-")).cloned().collect()
    }

    fn options(&self, command: &Command) -> Vec<(String, Vec<String>)> {
        let told = self.facts.told.get(&command.id).into_iter().flat_map(|told| &told.tags);
        let options = command.invocation.options.iter().chain(told);
        options.map(|(name, values)| (name.clone(), values.iter().cloned().collect())).collect()
    }

    fn effects(&self, command: &Command, wanted: impl Fn((CommandId, usize)) -> bool) -> Vec<Question> {
        let all = command.effects.iter().enumerate();
        let asked = all.filter(|(index, _)| {
            let at = (command.id, *index);
            wanted(at) && !self.facts.inert.contains(&at)
        });
        asked.flat_map(|(index, effect)| self.effect_or_remotes(command, index, effect)).collect()
    }

    /// Where the machine tells what a remote's name stands for, that is asked about.
    fn effect_or_remotes(&self, command: &Command, index: usize, effect: &Effect) -> Vec<Question> {
        let told = self.facts.told.get(&command.id).and_then(|told| told.remotes.get(&index));
        let Some(remotes) = told else { return vec![self.effect(command, index, effect)] };
        let pushes = command.invocation.words.get(1).is_some_and(|words| words == "git push");
        let actions = if pushes { &[FileAction::Read, FileAction::Write][..] } else { &[FileAction::Read] };
        let one = |remote: &Remote| match remote {
            Remote::Peer(peer) => vec![self.connect(command, effect, Some(peer))],
            Remote::Path { path, below } => {
                let file = |action: &FileAction| Files {
                    action: *action,
                    written: None,
                    paths: vec![path.as_str().to_owned()],
                    program: self.trusted_program(command).to_owned(),
                    tree: true,
                    below: below.as_ref().map(|below| below.iter().cloned().collect()),
                    spawned: self.facts.started_by.is_some(),
                };
                actions
                    .iter()
                    .map(|action| self.question(command, effect.target.span, What::File(file(action))))
                    .collect()
            }
        };
        remotes.iter().flat_map(one).collect()
    }

    fn effect(&self, command: &Command, index: usize, effect: &Effect) -> Question {
        let action = match effect.kind {
            EffectKind::Read => FileAction::Read,
            EffectKind::Write => FileAction::Write,
            EffectKind::Delete => FileAction::Delete,
            EffectKind::Execute | EffectKind::Import => FileAction::Execute,
            EffectKind::Connect => return self.connect(command, effect, effect.peer.as_ref()),
        };
        let at = (command.id, index);
        let paths: Vec<String> = match self.facts.matches.get(&at) {
            Some(matches) if !matches.is_empty() => matches.iter().map(|path| path.as_str().to_owned()).collect(),
            _ => self.facts.paths.get(&at).map(|path| path.as_str().to_owned()).into_iter().collect(),
        };
        let files = Files {
            action,
            written: paths.is_empty().then(|| effect.target.raw.clone()),
            paths,
            program: self.trusted_program(command).to_owned(),
            tree: effect.tree,
            below: self.facts.below.get(&at).filter(|_| effect.tree).map(|below| below.iter().cloned().collect()),
            spawned: self.facts.started_by.is_some(),
        };
        self.question(command, effect.target.span, What::File(files))
    }

    fn connect(&self, command: &Command, effect: &Effect, peer: Option<&palisade_grammar::Peer>) -> Question {
        let peer = Peer {
            host: peer.map(|peer| peer.host.clone()),
            port: peer.map_or(0, |peer| peer.port),
            written: peer.is_none().then(|| effect.target.raw.clone()),
            program: self.trusted_program(command).to_owned(),
        };
        self.question(command, effect.target.span, What::Connect(peer))
    }

    /// The program's widest id, if it is what its name says.
    fn trusted_program<'c>(&self, command: &'c Command) -> &'c str {
        let trusted = self.facts.programs.get(&command.id).is_some_and(|Program { origin, .. }| origin.is_trusted());
        if trusted { command.invocation.words.first().map_or("", String::as_str) } else { "" }
    }

    /// By name, whatever the origin: these attributes are there for forbids. A program that is not known may be any
    /// that a policy names.
    fn neighbours(&self, ids: &[CommandId]) -> Around<'_> {
        let mut around = Around::default();
        for command in ids.iter().filter_map(|id| self.inventory.commands().get(id.0 as usize)) {
            around.programs.extend(command.invocation.words.iter().map(String::as_str));
            around.groups.extend(command.invocation.groups.iter().map(String::as_str));
            around.any |= command.resolved == Resolved::Unknown;
        }
        around
    }
}

/// The commands at the other end of a pipe, each told once.
#[derive(Default)]
struct Around<'a> {
    programs: BTreeSet<&'a str>,
    groups: BTreeSet<&'a str>,
    any: bool,
}

impl<'a> Around<'a> {
    fn join(&mut self, crowd: &'a Crowd) {
        self.programs.extend(crowd.programs.iter().map(String::as_str));
        self.groups.extend(crowd.groups.iter().map(String::as_str));
    }

    fn listed(&self) -> Neighbours<String> {
        let list = |texts: &BTreeSet<&str>| texts.iter().map(|text| (*text).to_owned()).collect();
        Neighbours { programs: list(&self.programs), groups: list(&self.groups), any: self.any }
    }
}

/// `IFS=, read -r a b`: how this one line is split, and nothing else. What bash reads is data, whatever splits it.
fn splits_one_read(command: &Command, assignment: &Assignment) -> bool {
    let is_read = command.resolved == Resolved::Builtin
        && command
            .invocation
            .words
            .first()
            .is_some_and(|name| matches!(name.as_str(), "read" | "mapfile" | "readarray"));
    assignment.name == "IFS" && !assignment.persistent && is_read
}

/// The widest program ids of the commands around this one, outermost first.
fn wrappers(inventory: &Inventory, command: &Command) -> Vec<String> {
    let mut names = Vec::new();
    let mut parent = command.parent;
    // A parent stands before its child, so that this ends however the inventory was made.
    while let Some(found) = parent.and_then(|id| inventory.commands().get(id.0 as usize)) {
        names.push(found.invocation.words.first().cloned().unwrap_or_default());
        parent = found.parent.filter(|next| *next < found.id);
    }
    names.reverse();
    names
}

/// A command's words as one would type them: literal words quoted where they must be, others as written.
pub(crate) fn canonical(command: &Command) -> String {
    let words: Vec<String> =
        command.argv.iter().map(|word| word.value.literal().map_or_else(|| word.raw.clone(), quote)).collect();
    words.join(" ")
}

fn quote(literal: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "_-./:=@%+,".contains(character);
    if !literal.is_empty() && literal.chars().all(plain) {
        return literal.to_owned();
    }
    format!("'{}'", literal.replace('\'', r"'\''"))
}

fn known_text(word: &Word) -> String {
    word.value.literal().map_or_else(|| word.raw.clone(), str::to_owned)
}

fn is_literal(word: &Word) -> bool {
    matches!(word.value, Value::Literal(_) | Value::Home(_))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn literals_are_quoted_only_where_they_must_be() {
        for (literal, expected) in
            [("a-b", "a-b"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$x", "'$x'"), ("*", "'*'")]
        {
            assert_eq!(quote(literal), expected);
        }
    }
}
