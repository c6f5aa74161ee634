//! A policy case: who, what they do, and what must come of it. Reads case files and checks each case.
//!
//! A case is judged in a machine that it tells of, never in the one that it is judged on. What a case does not say is
//! taken from the file's `[defaults]`, and what those do not say takes the value that forbids most.

use std::collections::{BTreeMap, BTreeSet};

use miette::Diagnostic;
use palisade_grammar::Inventory;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::Datetime;

use crate::acts::{Act, Approval, Oversight, Receiver};
use crate::bound_request::BoundRequest;
use crate::case_facts::World;
use crate::command_facts::Repository;
use crate::engine::Engine;
use crate::facts::{Auth, Channel, Clock, Facts, Lasts, Machine, Principal, Scratch, Session, SessionShell, Transport};
use crate::no_gain::{hides_options, is_lock_bound};
use crate::path::AbsolutePath;
use crate::replay::{self, Again};
use crate::report::{Decision, Report};
use crate::request::{PolicyContext, RequestBuilder};
use crate::separate_shell;
use crate::source::Source;
use crate::verdict::{self, ApprovalRequest, Verdict};
use crate::vocabulary::Vocabulary;

/// When cases happen that do not say so: a Wednesday, during the day.
const NOW: Moment = Moment { year: 2026, month: 11, day: 18, hour: 10, minute: 0, second: 0, is_utc: false };

/// Says what a clock shows in the time zone of this name. The engine has no database of time zones, so the caller brings one.
///
/// Its error says what is wrong with the name, or with the moment there.
pub type TimeZones = fn(&str, Moment) -> Result<Clock, String>;

/// One file of cases.
#[derive(Debug)]
pub struct Cases {
    file: String,
    profile: Option<String>,
    home: AbsolutePath,
    cases: Vec<Case>,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    name: String,
    place: String,
    facts: Facts,
    world: World,
    readable: Vec<AbsolutePath>,
    hosts: Vec<(String, String)>,
    step: Step,
    approved: bool,
    approvers: Vec<Approval>,
    expect: Decision,
    by: Option<By>,
}

/// What came of a case.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The case's name.
    pub name: String,
    /// File and line.
    pub place: String,
    /// What is wrong; `None`: it came out as expected.
    pub failure: Option<String>,
    /// What was asked and answered.
    pub report: Report,
}

/// Why a file of cases was refused.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{place}: {message}")]
#[diagnostic(help("docs/authoring.md lists what a case can say"))]
pub struct CaseError {
    place: String,
    message: String,
}

#[derive(Clone, Debug)]
enum Step {
    Run(String),
    Act(Act),
    /// Somebody looks after the agent, or after the record.
    Oversee(Approval, Oversight),
}

#[derive(Clone, Debug)]
enum By {
    Exactly(BTreeSet<String>),
    AtLeast(BTreeSet<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTable {
    policies: Option<String>,
    #[serde(default)]
    defaults: Table,
    #[serde(default)]
    case: Vec<CaseTable>,
}

/// The tables of a file. serde cannot refuse unknown keys in a flattened table, so the circumstances, which a case can
/// tell as well as the defaults of its file, are fields of both.
macro_rules! tables {
    ($($key:ident: $kind:ty,)*) => {
        /// The circumstances of a case.
        #[derive(Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
        struct Table {
            /// It holds for a file.
            home: Option<String>,
            $($key: Option<$kind>,)*
        }

        impl Table {
            fn over(self, defaults: &Self) -> Self {
                let under = defaults.clone();
                Self { home: None, $($key: self.$key.or(under.$key),)* }
            }
        }

        /// One `[[case]]`: its circumstances, and what is done and expected.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        struct CaseTable {
            name: Spanned<String>,
            run: Option<String>,
            tool: Option<String>,
            #[serde(default)]
            open_session: bool,
            #[serde(default)]
            checkpoint: bool,
            #[serde(default)]
            restore: bool,
            #[serde(default)]
            own_changes: bool,
            signal: Option<SignalTable>,
            input: Option<InputTable>,
            env: Option<BTreeMap<String, String>>,
            /// The trusted program that sets the variable of `env` for those that it starts.
            #[serde(default)]
            set_by: String,
            /// The installed program that gets it, with its words; without it the case does not say.
            given_to: Option<String>,
            approver: Option<Who>,
            /// Those who say yes, where it takes more than one.
            #[serde(default)]
            approvers: Vec<Who>,
            /// Who sees, stops, reads or prunes.
            person: Option<Who>,
            #[serde(default)]
            observe: bool,
            /// The session that is stopped; empty for all that the agent does.
            stop: Option<String>,
            /// The same, let in again.
            lift: Option<String>,
            /// Whose record is read.
            read_record: Option<String>,
            /// Whose record is pruned.
            prune: Option<String>,
            expect: Expect,
            by: Option<BTreeSet<String>>,
            by_at_least: Option<BTreeSet<String>>,
            $($key: Option<$kind>,)*
        }

        impl CaseTable {
            fn circumstances(&mut self) -> Table {
                Table { home: None, $($key: self.$key.take(),)* }
            }
        }
    };
}

tables! {
    r#as: Who,
    transport: String,
    target: String,
    workspace: String,
    cwd: String,
    temp: String,
    files: Vec<String>,
    programs: BTreeMap<String, String>,
    trusted: Vec<String>,
    read: Vec<String>,
    write: Vec<String>,
    guarded: bool,
    sandboxed: bool,
    paths_held: bool,
    own_network: bool,
    scratch: Vec<String>,
    shell: SessionShell,
    approved: bool,
    at: Datetime,
    time_zone: String,
    age: String,
    commands: u64,
    labels: BTreeSet<String>,
    started_by: BTreeSet<String>,
    host_groups: BTreeMap<String, Vec<String>>,
    host: HostTable,
    git: GitTable,
}

/// What the configuration of the workspace's repository says.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GitTable {
    /// The branch that is checked out.
    branch: Option<String>,
    /// URLs by the remotes' names.
    remotes: BTreeMap<String, String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Who {
    agent: Option<String>,
    user: Option<String>,
    roles: BTreeSet<String>,
    verified: Option<bool>,
    auth: Option<String>,
    scopes: BTreeSet<String>,
    client: String,
    /// The way that a person's answer comes.
    via: Channel,
    /// Of an approver: how long the yes is to hold.
    lasts: Lasts,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignalTable {
    name: String,
    program: String,
    session: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputTable {
    text: String,
    program: String,
    session: Option<String>,
    #[serde(default)]
    interpreter: bool,
}

/// The machine at the other end of a transport.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct HostTable {
    user: String,
    key_verified: bool,
    image: String,
    privileged: Option<bool>,
}

impl HostTable {
    fn machine(self) -> Machine {
        let Self { user, key_verified, image, privileged } = self;
        Machine { user, key_verified, image, privileged: privileged.unwrap_or(true) }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Allow,
    Ask,
    Deny,
}

impl Cases {
    /// Reads a file of cases that name no time zone.
    ///
    /// # Errors
    /// As [`Self::parse_with`], and if a case names a time zone.
    pub fn parse(file: &str, text: &str) -> Result<Self, CaseError> {
        Self::parse_with(file, text, |_, _| Err("no time zone is known here".to_owned()))
    }

    /// Reads a file of cases.
    ///
    /// # Errors
    /// If the text is no such file, a key is unknown, a case says nothing or two things to do, or its time zone is none.
    pub fn parse_with(file: &str, text: &str, zones: TimeZones) -> Result<Self, CaseError> {
        let at = |offset: usize, message: String| CaseError { place: place(file, text, offset), message };
        let table: FileTable = toml::from_str(text).map_err(|error| {
            let source = Source { name: file.to_owned(), text: text.to_owned() };
            at(error.span().map_or(0, |span| span.start), source.misread(&error).message)
        })?;
        let home = absolute("home", table.defaults.home.as_deref().unwrap_or("/home/agent"));
        let home = home.map_err(|error| at(0, error))?;
        let mut cases = Vec::new();
        for (index, case) in table.case.into_iter().enumerate() {
            let offset = case.name.span().start;
            let place = place(file, text, offset);
            let case = Case::of(case, &table.defaults, &home, zones, place);
            cases.push(case.map_err(|error| at(key_of(text, index, &error).unwrap_or(offset), error))?);
        }
        Ok(Self { file: file.to_owned(), profile: table.policies, home, cases })
    }

    /// The file's name.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The profile that the cases are about; `None`: the policies that they lie beside.
    pub fn profile(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    /// What `~` stands for in the groups that the cases are judged with.
    pub fn home(&self) -> &AbsolutePath {
        &self.home
    }

    /// The cases, in the order of the file.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }
}

impl Case {
    fn of(
        mut table: CaseTable,
        defaults: &Table,
        home: &AbsolutePath,
        zones: TimeZones,
        place: String,
    ) -> Result<Self, String> {
        let setting = table.circumstances().over(defaults);
        let facts = setting.facts(home, zones)?;
        let step = table.step(&facts)?;
        let by = match (table.by, table.by_at_least) {
            (None, None) => None,
            (Some(by), None) => Some(By::Exactly(by)),
            (None, Some(by)) => Some(By::AtLeast(by)),
            (Some(_), Some(_)) => return Err("`by` and `by-at-least` exclude each other".to_owned()),
        };
        let approvers = table.approver.into_iter().chain(table.approvers).map(Who::person).collect();
        Ok(Self {
            name: table.name.into_inner(),
            place,
            readable: setting.paths(setting.read.as_deref(), &facts, home)?,
            world: setting.world(&facts, home)?,
            hosts: setting.hosts()?,
            facts,
            step,
            approved: setting.approved.unwrap_or_default(),
            approvers,
            expect: match table.expect {
                Expect::Allow => Decision::Allow,
                Expect::Ask => Decision::Ask,
                Expect::Deny => Decision::Deny,
            },
            by,
        })
    }

    /// The case's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The roles that the case gives to somebody.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        let person = match &self.step {
            Step::Oversee(person, _) => Some(person),
            Step::Run(_) | Step::Act(_) => None,
        };
        let people = self.approvers.iter().chain(person).flat_map(|person| &person.roles);
        self.facts.principal.roles.iter().chain(people).map(String::as_str)
    }

    /// What is done, for people: the script, or the action.
    pub fn text(&self) -> String {
        match &self.step {
            Step::Run(script) => script.clone(),
            Step::Act(act) => act.text(),
            Step::Oversee(person, what) => format!("{} by {}", what.action(), person.user),
        }
    }

    /// Judges the case with an engine's policies and groups.
    pub fn judge(&self, engine: &Engine) -> Report {
        let vocabulary = self.vocabulary(engine);
        let policies = PolicyContext { vocabulary: &vocabulary, ..engine.policies() };
        match &self.step {
            Step::Act(act) => verdict::rehearse_act(policies, &self.facts, act, &[], self.approved),
            Step::Oversee(person, what) => verdict::rehearse_oversight(policies, &self.facts, person, what),
            Step::Run(script) => {
                let inventory = self.inventory(policies, script);
                let facts = self.world.gather(self.facts.clone(), &inventory, &vocabulary);
                if self.approvers.is_empty() {
                    return verdict::rehearse(policies, inventory, &facts, self.approved);
                }
                match verdict::decide(policies, None, inventory, &facts) {
                    // As many yeses as it takes are not there yet: it still waits.
                    Verdict::Ask(request) if self.too_few(policies, &request) => request.report().clone(),
                    Verdict::Ask(request) => verdict::approve(policies, request, &self.approvers).report().clone(),
                    decided => decided.report().clone(),
                }
            }
        }
    }

    /// Whether each of its people may say yes, and these are fewer than policy wants.
    fn too_few(&self, policies: PolicyContext<'_>, request: &ApprovalRequest) -> bool {
        let people: BTreeSet<&str> = self.approvers.iter().map(|person| person.user.as_str()).collect();
        let may = |person| verdict::may_approve(policies, request, person).allowed;
        people.len() < request.report().quorum() && self.approvers.iter().all(may)
    }

    /// Judges the case and compares with what it expects.
    pub fn check(&self, engine: &Engine) -> Checked {
        let report = self.judge(engine);
        let failure = self.failure(&report);
        Checked { name: self.name.clone(), place: self.place.clone(), failure, report }
    }

    /// Whether, for each request that the case raises, the policies that are asked answer as the whole set would: for
    /// tests and fuzzing.
    pub fn slices_agree(&self, engine: &Engine) -> bool {
        let mut agree = true;
        self.trace(engine, |bound| agree &= crate::slice::agrees(&engine.bundle.index, bound));
        agree
    }

    /// The case's script judged as it stands, or with its approver's yes, and asked again from what that leaves, with the
    /// case's own groups: for tests and fuzzing. `None` for what is no script, and for one that is not asked about.
    pub fn judged_and_asked_again(&self, engine: &Engine) -> Option<(Report, Again)> {
        let Step::Run(_) = &self.step else { return None };
        let report = Self { approved: false, ..self.clone() }.judge(engine);
        let vocabulary = self.vocabulary(engine);
        let policies = PolicyContext { vocabulary: &vocabulary, ..engine.policies() };
        let then = replay::groups(&vocabulary);
        let again = replay::ask(policies, report.asked.as_ref()?, Some(&then));
        Some((report, again))
    }

    /// Every request that the case raises, without and with approval.
    pub(crate) fn trace(&self, engine: &Engine, seen: impl FnMut(&BoundRequest)) {
        let vocabulary = self.vocabulary(engine);
        let policies = PolicyContext { vocabulary: &vocabulary, ..engine.policies() };
        match &self.step {
            Step::Act(act) => verdict::trace_act(policies, &self.facts, act, seen),
            Step::Oversee(person, what) => {
                verdict::trace_oversight(policies, &self.facts, person, what, seen);
            }
            Step::Run(script) => {
                let inventory = self.inventory(policies, script);
                let facts = self.world.gather(self.facts.clone(), &inventory, &vocabulary);
                verdict::trace(policies, &inventory, &facts, &self.approvers, seen);
            }
        }
    }

    /// What a script is read as, or what would run in its place.
    fn inventory(&self, policies: PolicyContext<'_>, script: &str) -> Inventory {
        let inventory = palisade_grammar::inventory(script.as_bytes());
        let no_gain = || RequestBuilder::new(policies, &self.facts).no_gain();
        let instead = separate_shell::instead(&inventory, &self.facts, no_gain);
        instead.map_or(inventory, |instead| palisade_grammar::inventory(&instead))
    }

    fn vocabulary(&self, engine: &Engine) -> Vocabulary {
        let mut vocabulary = engine.vocabulary.clone();
        for (group, directories) in [("granted-read", &self.readable), ("granted-write", &self.world.writable)] {
            for directory in directories {
                vocabulary.add_directory(group, directory);
            }
        }
        for (group, host) in &self.hosts {
            // Checked when the case was read.
            let _ = vocabulary.add_host(group, host);
        }
        vocabulary
    }

    fn failure(&self, report: &Report) -> Option<String> {
        let policies = report.policies();
        let shown = |policies: &BTreeSet<String>| {
            let shown: Vec<&str> = policies.iter().map(String::as_str).collect();
            if shown.is_empty() { "no policy".to_owned() } else { shown.join(", ") }
        };
        if report.decision != self.expect {
            return Some(format!(
                "expected {}, got {} by {}",
                self.expect.as_str(),
                report.decision.as_str(),
                shown(&policies)
            ));
        }
        match &self.by {
            Some(By::Exactly(by)) if *by != policies => {
                Some(format!("expected by {}, got by {}", shown(by), shown(&policies)))
            }
            Some(By::AtLeast(by)) if !by.is_subset(&policies) => {
                Some(format!("expected at least by {}, got by {}", shown(by), shown(&policies)))
            }
            _ => None,
        }
    }
}

/// The program that a variable is given to, as its table reads its words.
fn receiver(words: &str) -> Receiver<String> {
    let inventory = palisade_grammar::inventory(words.as_bytes());
    let Some(command) = inventory.commands().first() else { return Receiver::Unknown };
    Receiver::Program {
        words: command.invocation.words.clone(),
        groups: command.invocation.groups.iter().cloned().collect(),
        hidden: is_lock_bound(&command.invocation.flags)
            || inventory.opaque().iter().any(|opaque| hides_options(opaque.reason)),
    }
}

impl CaseTable {
    fn step(&mut self, facts: &Facts) -> Result<Step, String> {
        let own = &facts.session.id;
        let mut steps: Vec<Step> = Vec::new();
        steps.extend(self.run.take().map(Step::Run));
        steps.extend(self.tool.take().map(|name| Step::Act(Act::UseTool(name))));
        steps.extend(self.open_session.then_some(Step::Act(Act::OpenSession)));
        steps.extend(self.checkpoint.then_some(Step::Act(Act::Checkpoint)));
        steps.extend(self.restore.then_some(Step::Act(Act::Restore { own: self.own_changes })));
        steps.extend(self.signal.take().map(|signal| {
            let session = signal.session.unwrap_or_else(|| own.clone());
            Step::Act(Act::Signal { program: signal.program, session, signal: signal.name })
        }));
        steps.extend(self.input.take().map(|input| {
            let session = input.session.unwrap_or_else(|| own.clone());
            let InputTable { text, program, interpreter, .. } = input;
            Step::Act(Act::SendInput { program, session, interpreter, text })
        }));
        for (name, value) in self.env.take().into_iter().flatten() {
            let receiver = self.given_to.as_deref().map_or(Receiver::Unknown, receiver);
            steps.push(Step::Act(Act::SetEnv { name, value, program: self.set_by.clone(), receiver }));
        }
        let person = self.person.take().map(Who::person);
        let overseen = [
            self.observe.then_some(Oversight::Observe),
            self.stop.take().map(|session| Oversight::Stop { session, lift: false }),
            self.lift.take().map(|session| Oversight::Stop { session, lift: true }),
            self.read_record.take().map(|owner| Oversight::ReadRecord { owner }),
            self.prune.take().map(|owner| Oversight::Prune { owner }),
        ];
        for what in overseen.into_iter().flatten() {
            let person = person
                .clone()
                .ok_or("a case with `observe`, `stop`, `lift`, `read-record` or `prune` has a `person`")?;
            steps.push(Step::Oversee(person, what));
        }
        match (steps.pop(), steps.is_empty()) {
            (Some(step), true) => Ok(step),
            _ => Err("a case does one thing: `run`, `tool`, `open-session`, `checkpoint`, `restore`, `signal`, \
                      `input` or `env` with one variable, `observe`, `stop`, `lift`, `read-record` or `prune`"
                .to_owned()),
        }
    }
}

impl Table {
    fn facts(&self, home: &AbsolutePath, zones: TimeZones) -> Result<Facts, String> {
        let transport = match self.transport.as_deref() {
            None => Transport::Local,
            Some(id) => {
                Transport::from_id(id).ok_or(format!("`transport` is `{id}`, which is none of local, ssh, docker"))?
            }
        };
        let target = self.target.as_deref().unwrap_or("unnamed");
        let host = match transport {
            Transport::Local => "localhost".to_owned(),
            Transport::Ssh => target.to_owned(),
            Transport::Docker => format!("docker/{target}"),
        };
        let workspace = match self.workspace.as_deref() {
            Some(path) => absolute("workspace", path)?,
            None => home.child("app").ok_or("the home directory cannot hold a workspace")?,
        };
        let cwd = match self.cwd.as_deref() {
            Some(path) => join(path, &workspace, home)?,
            None => workspace.clone(),
        };
        let principal = self.r#as.clone().unwrap_or_default().principal()?;
        let session = Session {
            age_ms: self.age.as_deref().map_or(Ok(0), milliseconds)?,
            commands: self.commands.unwrap_or_default(),
            labels: self.labels.clone().unwrap_or_default(),
            sandboxed: self.sandboxed.unwrap_or_default(),
            guarded: self.guarded.unwrap_or_default(),
            paths_held: self.paths_held.unwrap_or_default(),
            own_network: self.own_network.unwrap_or_default(),
            shell: self.shell.unwrap_or_default(),
            ..Session::opened("case")
        };
        let moment = self.at.as_ref().map_or(Ok(NOW), Moment::of)?;
        let clock = match self.time_zone.as_deref() {
            None => moment.clock(),
            Some(zone) => zones(zone, moment).map_err(|error| format!("`time-zone`: {error}"))?,
        };
        let places = self.scratch.iter().flatten().map(|place| absolute("scratch", place)).collect::<Result<_, _>>()?;
        let scratch = Scratch { places, except: BTreeSet::from([workspace.clone(), home.clone()]) };
        Ok(Facts {
            transport,
            host,
            cwd,
            temp: self.temp.as_deref().map(|path| absolute("temp", path)).transpose()?,
            scratch,
            started_by: self.started_by.clone(),
            machine: self.host.clone().map(HostTable::machine).unwrap_or_default(),
            ..Facts::new(principal, workspace, session, clock)
        })
    }

    fn world(&self, facts: &Facts, home: &AbsolutePath) -> Result<World, String> {
        let files = match &self.files {
            Some(files) => Some(self.paths(Some(files), facts, home)?.into_iter().collect()),
            None => None,
        };
        let mut programs = BTreeMap::new();
        for (name, path) in self.programs.iter().flatten() {
            programs.insert(name.clone(), join(path, &facts.workspace, home)?);
        }
        Ok(World {
            home: home.clone(),
            files,
            trusted: self.paths(self.trusted.as_deref(), facts, home)?,
            writable: self.paths(self.write.as_deref(), facts, home)?,
            programs,
            repository: self.git.clone().map(|git| Repository::of(facts.workspace.as_str(), git.branch, git.remotes)),
        })
    }

    fn hosts(&self) -> Result<Vec<(String, String)>, String> {
        let groups = self.host_groups.iter().flatten();
        let hosts: Vec<(String, String)> =
            groups.flat_map(|(group, hosts)| hosts.iter().map(|host| (group.clone(), host.clone()))).collect();
        let mut checked = Vocabulary::default();
        for (group, host) in &hosts {
            checked.add_host(group, host).map_err(|error| error.to_string())?;
        }
        Ok(hosts)
    }

    fn paths(&self, paths: Option<&[String]>, facts: &Facts, home: &AbsolutePath) -> Result<Vec<AbsolutePath>, String> {
        paths.unwrap_or_default().iter().map(|path| join(path, &facts.workspace, home)).collect()
    }
}

impl Who {
    /// Somebody who is no agent.
    fn person(self) -> Approval {
        Approval { user: self.user.unwrap_or_default(), roles: self.roles, via: self.via, lasts: self.lasts }
    }

    fn principal(self) -> Result<Principal, String> {
        let auth = match self.auth.as_deref() {
            None => Auth::OsUser,
            Some(id) => Auth::from_id(id).ok_or(format!("`auth` is `{id}`, which is no way to prove an identity"))?,
        };
        Ok(Principal {
            agent: self.agent.unwrap_or_else(|| "agent".to_owned()),
            user: self.user.unwrap_or_else(|| "user".to_owned()),
            roles: self.roles,
            verified: self.verified.unwrap_or(true),
            auth,
            scopes: self.scopes,
            client: self.client,
        })
    }
}

/// A moment that a case names.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The year, of four digits.
    pub year: u16,
    /// The month, from 1.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
    /// The hour.
    pub hour: u8,
    /// The minute.
    pub minute: u8,
    /// The second.
    pub second: u8,
    /// Whether these are of UTC. Otherwise a clock in the case's time zone shows them.
    pub is_utc: bool,
}

impl Moment {
    fn of(datetime: &Datetime) -> Result<Self, String> {
        let date = datetime.date.ok_or("`at` has no date")?;
        let (hour, minute, second) =
            datetime.time.map_or((0, 0, 0), |time| (time.hour, time.minute, time.second.unwrap_or_default()));
        if datetime.offset.is_some_and(|offset| offset != toml::value::Offset::Z) {
            return Err(
                "`at` has an offset from UTC: leave it out and name the place's `time-zone`, or write `Z`".to_owned()
            );
        }
        let is_utc = datetime.offset.is_some();
        Ok(Self { year: date.year, month: date.month, day: date.day, hour, minute, second, is_utc })
    }

    /// What a clock shows in UTC.
    fn clock(self) -> Clock {
        let Self { year, month, day, hour, minute, second, is_utc: _ } = self;
        let [year, month, day] = [year.into(), month.into(), day.into()];
        let [hour, minute, second] = [hour, minute, second].map(u32::from);
        Clock {
            now: format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z"),
            time_of_day_ms: ((hour * 60 + minute) * 60 + second) * 1000,
            weekday: u8::try_from(weekday(year, month, day)).unwrap_or(u8::MAX),
        }
    }
}

/// Days since a Monday, by Zeller's way of letting the year begin in March; 0 is Monday.
fn weekday(year: u32, month: u32, day: u32) -> u32 {
    let (year, month) = if month < 3 { (year.saturating_sub(1), month + 12) } else { (year, month) };
    (day + 13 * (month + 1) / 5 + year + year / 4 + year / 400 + 5 - year / 100 % 7 + 7) % 7
}

/// `90s`, `15m`, `8h`.
fn milliseconds(text: &str) -> Result<u64, String> {
    let factor = match text.chars().last() {
        Some('s') => 1_000,
        Some('m') => 60_000,
        Some('h') => 3_600_000,
        _ => 0,
    };
    let number = text.strip_suffix(['s', 'm', 'h']).and_then(|number| number.parse::<u64>().ok());
    let value = number.and_then(|number| number.checked_mul(factor));
    value.ok_or(format!("`age` is `{text}`, which is not a time such as `90s`, `15m` or `8h`"))
}

fn absolute(key: &str, path: &str) -> Result<AbsolutePath, String> {
    AbsolutePath::new(path).ok_or(format!("`{key}` is `{path}`, which is not an absolute path"))
}

/// Relative paths are the workspace's, and `~` is the home.
fn join(path: &str, workspace: &AbsolutePath, home: &AbsolutePath) -> Result<AbsolutePath, String> {
    let whole = match path.strip_prefix("~/") {
        Some(rest) => format!("{home}/{rest}"),
        None if path.starts_with('/') => path.to_owned(),
        None => format!("{workspace}/{path}"),
    };
    AbsolutePath::new(&whole).ok_or(format!("`{path}` leads to no absolute path"))
}

/// Where the case of this number sets the key that a message begins with, or else where the defaults do.
fn key_of(text: &str, case: usize, message: &str) -> Option<usize> {
    fn within(value: &DeValue<'_>, key: &str) -> Option<usize> {
        let DeValue::Table(table) = value else { return None };
        let own = table.iter().find(|(name, _)| name.get_ref() == key).map(|(name, _)| name.span().start);
        own.or_else(|| table.values().find_map(|below| within(below.get_ref(), key)))
    }
    let (key, _) = message.strip_prefix('`')?.split_once('`')?;
    let root = DeTable::parse(text).ok()?.into_inner();
    let of = |name: &str| root.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value.get_ref());
    let case = match of("case")? {
        DeValue::Array(cases) => cases.get(case)?.get_ref(),
        _ => return None,
    };
    within(case, key).or_else(|| within(of("defaults")?, key))
}

fn place(file: &str, text: &str, offset: usize) -> String {
    let lines = text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    format!("{file}:{}", lines + 1)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_week() {
        for (year, month, day, expected) in [
            (2026, 11, 21, 5),
            (2026, 11, 18, 2),
            (2024, 2, 29, 3),
            (2000, 1, 1, 5),
            (1999, 12, 31, 4),
            (2027, 1, 4, 0),
        ] {
            assert_eq!(weekday(year, month, day), expected, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn a_file_that_makes_no_sense_is_refused_with_its_line() {
        for (text, line, said) in [
            ("[[case]]\nname = 'a'\nexpect = 'allow'", 2, "does one thing"),
            ("[[case]]\nname = 'a'\nrun = 'ls'\ntool = 'exec'\nexpect = 'allow'", 2, "does one thing"),
            ("[[case]]\nname = 'a'\nrun = 'ls'\nexpekt = 'allow'", 4, "expekt"),
            ("[[case]]\nname = 'a'\nrun = 'ls'\nexpect = 'maybe'", 4, "maybe"),
            ("[[case]]\nname = 'a'\nrun = 'ls'\nexpect = 'deny'\nby = []\nby-at-least = []", 5, "exclude"),
            ("[[case]]\nname = 'a'\nrun = 'ls'\nexpect = 'deny'\ntransport = 'sssh'", 5, "sssh"),
            (
                "[defaults]\nworkspace = 'app'\n[[case]]\nname = 'a'\nrun = 'ls'\nexpect = 'deny'",
                2,
                "`workspace` is `app`",
            ),
            ("[[case]]\nname = 'a'\nrun = 'ls'\nexpect = 'deny'\nas = { auth = 'x' }", 5, "`auth` is `x`"),
            (
                "[[case]]\nname = 'a'\nrun = 'ls'\nexpect = 'deny'\nas = 'alice'",
                5,
                "`case.as` is a text; write a table",
            ),
            ("[[case]]\nname = 'a'\nrun = 'ls'\nexpect = 'deny'\nat = 2026-01-01T10:00:00+02:00", 5, "UTC"),
        ] {
            let error = Cases::parse("c.toml", text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("c.toml:{line}: ")) && error.contains(said), "{error}\n{text}");
        }
    }
}
