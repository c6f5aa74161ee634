//! The far end: holds a session's shells as the server would on its own machine, and answers it.
//!
//! It lives as long as its standard input is open. What it cannot do it says, and does not do less.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palisade_engine::{AbsolutePath, Engine, Transport};
use palisade_sandbox::meter::Meter;
use palisade_sandbox::move_watch::MoveWatch;
use palisade_sandbox::plan::{self, Hole, Level, PathRule, Promise, Rights, SandboxPlan};
use palisade_sandbox::{Disks, SandboxError, probe};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::guarded_shell::{Held, brought};
use super::message::{Answer, Frames, Init, Launch, Launched, MAX_ORDER, Numbered, Order, Ready, encode};
use super::{attach, guard_directory};
use crate::clock::Zone;
use crate::environment::{Places, child_environment};
use crate::facts::{Occasion, Surroundings, real_directory, search_path};
use crate::guard::{Desk, Guard, Own, Post, Refusal, Teller, entries};
use crate::policies::{Policies, real_roots};
use crate::sandbox::earlier;
use crate::session_directory::SessionDirectory;
use crate::shell::SessionError;
use crate::transport::local::standing;

/// How long somebody who brings streams may take to say which shell they are for.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// Where the shell of a session may be: a directory of the system, whatever the login's `PATH` says.
const SHELLS: [&str; 3] = ["/bin", "/usr/bin", "/usr/local/bin"];

/// Bytes of one word of a refused program that are told, and how many of its words.
const MAX_WORD: usize = 16 << 10;
const MAX_WORDS: usize = 64;

/// Serves the server on standard input and output until that ends; `nonce` tells it where what is ours begins.
///
/// # Errors
/// If nothing can be read or written any more.
pub fn serve(nonce: &str) -> io::Result<()> {
    let out = Out::default();
    // What the login itself says stands before it.
    out.raw(&[b"\0", nonce.as_bytes(), b"\0"].concat())?;
    let mut input = io::stdin().lock();
    let (mut frames, mut buffer) = (Frames::new(MAX_ORDER), vec![0; 64 << 10]);
    let mut post: Option<Arc<Station>> = None;
    loop {
        while let Some(Numbered { id, body }) =
            frames.message::<Order>().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?
        {
            let answer = match (&post, body) {
                (None, Order::Init(init)) => match Station::new(*init, &out) {
                    Ok((station, ready)) => {
                        post = Some(station);
                        Some(Answer::Ready(ready))
                    }
                    Err(failure) => Some(failure.into()),
                },
                (Some(station), order) => station.obey(id, order),
                (None, _) => Some(Failure::of("nothing was said yet of what to hold").into()),
            };
            if let Some(body) = answer {
                out.put(&Numbered { id, body })?;
            }
        }
        match input.read(&mut buffer) {
            Ok(0) => {
                if let Some(station) = post {
                    station.end();
                }
                return Ok(());
            }
            Ok(count) => frames.push(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Standard output, to which several threads tell whole messages.
#[derive(Clone, Debug, Default)]
struct Out(Arc<Mutex<()>>);

impl Out {
    fn raw(&self, bytes: &[u8]) -> io::Result<()> {
        let _alone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush())
    }

    fn put(&self, answer: &Numbered<Answer>) -> io::Result<()> {
        let bytes = encode(answer).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        self.raw(&bytes)
    }

    /// The same for whoever cannot do anything about it: without a server nothing here shall go on.
    fn tell(&self, answer: &Numbered<Answer>) {
        if self.put(answer).is_err() {
            std::process::exit(1);
        }
    }
}

/// Why something was not done.
struct Failure {
    what: String,
    help: String,
}

impl Failure {
    fn of(what: impl Display) -> Self {
        Self { what: what.to_string(), help: String::new() }
    }

    fn sandbox(error: &SandboxError) -> Self {
        let mut what = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(next) = cause {
            what = format!("{what}: {next}");
            cause = next.source();
        }
        Self { what, help: error.advice().unwrap_or_default().to_owned() }
    }
}

impl From<Failure> for Answer {
    fn from(Failure { what, help }: Failure) -> Self {
        Self::Failed { what, help }
    }
}

/// What is held, and what holds it.
struct Station {
    init: Init,
    engine: Arc<Engine>,
    policies: Policies,
    surroundings: Surroundings,
    start: AbsolutePath,
    directory: SessionDirectory,
    /// What policy gives for each root, whatever shell it is for.
    shared: BTreeMap<AbsolutePath, Rights>,
    paths_held: bool,
    out: Out,
    waiting: Mutex<BTreeMap<String, (u64, Launch)>>,
    /// Something waits that did not before.
    comes: Condvar,
    shells: Mutex<BTreeMap<u64, Arc<Held>>>,
    /// Where the socket is.
    place: tempfile::TempDir,
}

impl Station {
    fn new(init: Init, out: &Out) -> Result<(Arc<Self>, Ready), Failure> {
        probe().meets(init.level).map_err(|error| Failure::sandbox(&error))?;
        probe().guards().map_err(|error| Failure::sandbox(&error))?;
        let own = guard_directory::own()
            .map_err(|error| Failure::of(format!("the guard's own directory cannot be used: {error}")))?;
        let (place, listener) = guard_directory::listen(&own)
            .map_err(|error| Failure::of(format!("the guard cannot be reached in its directory: {error}")))?;
        let real = |path: &AbsolutePath| real_directory(Path::new(path.as_str()));
        let own: Vec<AbsolutePath> = own.to_str().and_then(AbsolutePath::new).into_iter().collect();
        let engine = init.policies.clone().make_at(real, &own);
        let engine = Arc::new(engine.map_err(Failure::of)?);
        let login = std::env::current_dir().ok().and_then(|directory| real_directory(&directory));
        let named = match &init.workspace {
            Some(workspace) => real_directory(Path::new(workspace.as_str())),
            None => login,
        };
        let start = named.filter(|start| Path::new(start.as_str()).is_dir());
        let start = start.ok_or_else(|| Failure::of("the directory in which sessions begin cannot be entered"))?;
        let home = real_directory(Path::new(init.home.as_str()));
        // What a login reads lies there, and nothing holds that.
        if init.transport == Transport::Ssh && home.is_none_or(|home| home.is_within(&start)) {
            return Err(Failure::of(
                "the user's home lies in the workspace, where a session could say what the next login runs",
            ));
        }
        if own.iter().any(|own| own.is_within(&start)) {
            return Err(Failure::of("it lies in the workspace, where a session could exchange it"));
        }
        let directory = SessionDirectory::new().map_err(Failure::of)?;
        let environment = environment(&init, &start)?;
        let surroundings = Surroundings {
            principal: init.principal.clone(),
            workspace: start.clone(),
            home: init.home.clone(),
            trusted: Vec::new(),
            writable: Vec::new(),
            caches: Vec::new(),
            search: search_path(&environment),
            elsewhere: None,
            at_target: true,
            zone: zone(&init)?,
            earlier: earlier::none(),
        };
        // Nothing keeps masks on here while a session lives, so that a rule by name is held only where the settings accept that.
        let paths_held = init.level != Level::Compat && probe().mounts && engine.paths_held_without_masks(&init.accept);
        let ready = Ready {
            directory: place
                .path()
                .to_str()
                .ok_or_else(|| Failure::of("the guard's directory has no name"))?
                .to_owned(),
            start: start.clone(),
            home: std::env::var("HOME").unwrap_or_default(),
            temp: directory.temp().clone(),
            paths_held,
        };
        let mut station = Self {
            policies: Policies::shared(Arc::clone(&engine)),
            init,
            engine,
            surroundings,
            start,
            directory,
            shared: BTreeMap::new(),
            paths_held,
            out: out.clone(),
            waiting: Mutex::default(),
            comes: Condvar::new(),
            shells: Mutex::default(),
            place,
        };
        let facts = station.surroundings.facts(&station.occasion());
        let mut roots = real_roots(&station.engine);
        roots.insert(facts.workspace.clone());
        station.shared = plan::shared(&station.engine, &facts, &roots);
        // What cannot be held is said before anything is started.
        station.plan()?;
        let (engine, around) = (Arc::clone(&station.engine), facts.clone());
        // Tables are made when they are first used: meanwhile the server starts the shell, and nobody waits.
        drop(std::thread::spawn(move || drop(engine.rehearse(palisade_grammar::inventory(b"true"), &around, false))));
        let station = Arc::new(station);
        let waits = Arc::clone(&station);
        let comers = move || {
            for comer in listener.incoming().flatten() {
                let station = Arc::clone(&waits);
                let _none =
                    std::thread::Builder::new().name("palisade-shell".to_owned()).spawn(move || station.receive(comer));
            }
        };
        let thread = std::thread::Builder::new().name("palisade-door".to_owned()).spawn(comers);
        thread.map_err(|error| Failure::of(format!("there can be no thread: {error}")))?;
        Ok((station, ready))
    }

    fn occasion(&self) -> Occasion {
        let promise = Promise { sandboxed: true, guarded: true, paths_held: self.paths_held, own_network: false };
        let temp = Some(self.directory.temp().clone());
        let local = Occasion::local(&self.init.session, self.start.clone(), temp, promise);
        let Init { transport, host, machine, .. } = &self.init;
        Occasion { transport: *transport, host: host.clone(), machine: machine.clone(), ..local }
    }

    /// The kernel rules of one shell, from what lies here now.
    fn plan(&self) -> Result<SandboxPlan, Failure> {
        let facts = self.surroundings.facts(&self.occasion());
        let plan =
            plan::with_own(&self.engine, &facts, &self.shared, self.init.level, self.init.limits, &earlier::none());
        let mut plan = plan.map_err(|Hole { outer, inner }| Failure::of(SessionError::Hole { outer, inner }))?;
        if !plan.searched && probe().mounts && (self.paths_held || self.init.level == Level::Strict) {
            return Err(Failure::of(SessionError::TooManyNames));
        }
        // As in the server's own sessions.
        if let Some(home) = real_directory(Path::new(self.init.home.as_str())) {
            plan.rules.push(PathRule { path: home.as_str().into(), rights: Rights::NONE, optional: true });
        }
        // There is no proxy here, and without one no way out.
        plan.network = false;
        Ok(plan)
    }

    /// The answer; none if it comes later.
    fn obey(self: &Arc<Self>, id: u64, order: Order) -> Option<Answer> {
        let unknown = || Some(Failure::of("there is no such shell").into());
        Some(match order {
            Order::Init(_) => Failure::of("what to hold was said before").into(),
            Order::Launch(launch) => {
                lock(&self.waiting).insert(launch.token.clone(), (id, *launch));
                self.comes.notify_all();
                return None;
            }
            Order::Script { shell, script } => {
                let Some(held) = self.held(shell) else { return unknown() };
                match held.begins() {
                    Ok(()) => {
                        held.desk.begin_there(*script);
                        Answer::Done
                    }
                    Err(error) => Failure::of(format!("nothing watches over the session's limits: {error}")).into(),
                }
            }
            Order::Settle { shell } => {
                let Some(held) = self.held(shell) else { return unknown() };
                let now = held.passes();
                let limit = lock(&held.passed).take().or(now);
                *lock(&held.watch) = None;
                Answer::Settled { limit, cwd: standing(held.pid) }
            }
            Order::Stands { shell } => match self.held(shell) {
                Some(held) => Answer::Stands(standing(held.pid)),
                None => Answer::Stands(None),
            },
            Order::Waits { shell } => Answer::Waits(self.held(shell).is_some_and(|held| held.waits())),
            Order::End { shell } => {
                if let Some(held) = self.held(shell)
                    && let Err(error) = held.process.kill()
                {
                    return Some(Failure::of(format!("a shell cannot be ended: {error}")).into());
                }
                Answer::Done
            }
        })
    }

    /// Ends all shells, and takes away what was theirs. Whatever of it does not end now ends with this process.
    fn end(&self) {
        let shells: Vec<Arc<Held>> = lock(&self.shells).values().cloned().collect();
        for held in &shells {
            let _gone = held.process.kill();
        }
        for held in &shells {
            let pidfd = held.process.pidfd();
            let patience = Timespec { tv_sec: TIMEOUT.as_secs().cast_signed(), tv_nsec: 0 };
            let _ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience));
        }
        self.directory.remove();
        let _gone = std::fs::remove_dir_all(self.place.path());
    }

    fn held(&self, shell: u64) -> Option<Arc<Held>> {
        lock(&self.shells).get(&shell).cloned()
    }

    /// Takes the streams that somebody brings, starts the shell that they are for, and says to them how it ended.
    fn receive(self: &Arc<Self>, comer: UnixStream) {
        let Some((token, streams)) = brought(&comer) else { return };
        let Some((id, launch)) = self.meant(&token) else { return };
        let shell = launch.shell;
        let (held, launched) = match self.launch(launch, streams) {
            Ok(started) => started,
            Err(failure) => return self.out.tell(&Numbered { id, body: failure.into() }),
        };
        lock(&self.shells).insert(shell, Arc::clone(&held));
        self.out.tell(&Numbered { id, body: Answer::Launched(Box::new(launched)) });
        let exceeded = |limit| self.out.tell(&Numbered { id: 0, body: Answer::Exceeded { shell, limit } });
        let ending = held.end(&comer, exceeded);
        lock(&self.shells).remove(&shell);
        if let Ok(ending) = ending {
            let _gone = (&comer).write_all(&attach::told(ending));
        }
    }

    /// The shell that this word is for, once: whoever comes with it later has it from somebody else. It may come before the order does.
    fn meant(&self, token: &str) -> Option<(u64, Launch)> {
        let waiting = lock(&self.waiting);
        let waits = self.comes.wait_timeout_while(waiting, TIMEOUT, |waiting| !waiting.contains_key(token));
        let (mut waiting, _) = waits.unwrap_or_else(PoisonError::into_inner);
        waiting.remove(token)
    }

    fn launch(self: &Arc<Self>, launch: Launch, streams: [OwnedFd; 3]) -> Result<(Arc<Held>, Launched), Failure> {
        let Launch { shell, words, variables, cwd, errands, .. } = launch;
        let cwd = cwd.unwrap_or_else(|| self.start.clone());
        let still = MoveWatch::begin();
        let mut plan = self.plan()?;
        let (at_terminal, input) = (rustix::termios::isatty(&streams[0]), identity(&streams[0]));
        if at_terminal {
            // Programs open it by either name, to ask for a password.
            let name = rustix::termios::ttyname(&streams[0], Vec::new()).ok();
            let name = name.and_then(|name| name.into_string().ok().map(PathBuf::from));
            for path in [Some(PathBuf::from("/dev/tty")), name].into_iter().flatten() {
                plan.rules.push(PathRule { path, rights: Rights::READ | Rights::WRITE, optional: true });
            }
        }
        let mut environment = environment(&self.init, &self.start)?;
        environment.retain(|(name, _)| !variables.iter().any(|(own, _)| name == own.as_str()));
        environment.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        environment.push(("TMPDIR".into(), self.directory.temp().as_str().into()));
        let name = words.first().ok_or_else(|| Failure::of("a shell has no name"))?;
        let program = SHELLS.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file());
        let program = program.ok_or_else(|| Failure::of(format!("there is no `{name}` in {}", SHELLS.join(", "))))?;
        let own = Own { directory: None, files: streams.iter().filter_map(identity).collect() };
        let (out, entries) = (self.out.clone(), entries(&environment).collect());
        let teller = Teller::new(move |refusal| {
            out.tell(&Numbered { id: 0, body: Answer::Refused { shell, refusal: shortened(refusal) } });
        });
        let (policies, surroundings, occasion) = (self.policies.clone(), self.surroundings.clone(), self.occasion());
        let desk =
            Desk::at_target(Post { policies, surroundings, occasion, environment: entries, own, errands, teller });
        let [stdin, stdout, stderr] = streams;
        let launch = palisade_sandbox::Launch {
            program,
            argv: words.into_iter().map(Into::into).collect(),
            env: environment,
            cwd: cwd.as_str().into(),
            stdin,
            stdout,
            stderr,
            extra: Vec::new(),
            controlling_terminal: at_terminal.then_some(0),
        };
        let disks = Disks::of(&plan, Path::new(self.directory.temp().as_str()));
        let prepared = palisade_sandbox::prepare(&plan, launch)
            .and_then(|it| it.guarded_by(Box::new(Guard::new(Arc::clone(&desk)))));
        let prepared = prepared.map_err(|error| Failure::sandbox(&error))?;
        let enforced = prepared.enforced().clone();
        let process = Arc::new(palisade_sandbox::spawn(prepared).map_err(|error| Failure::sandbox(&error))?);
        // Nothing is asked of it yet. What else runs here may have moved what has to be hidden from it.
        match still.is_broken(&plan.granted(), |path| self.engine.vocabulary().may_have_name(path)) {
            Ok(false) => {}
            Ok(true) => return Err(Failure::of(SessionError::Restless)),
            Err(errno) => return Err(Failure::of(SessionError::Unwatched(errno.into()))),
        }
        let meter = Meter::start(&process, plan.limits, disks);
        let meter =
            meter.map_err(|error| Failure::of(format!("there is no watch over the session's limits: {error}")))?;
        let pid = process.program_pid().ok_or_else(|| Failure::of("the shell has ended at once"))?;
        let (watch, passed) = (Mutex::default(), Mutex::default());
        let held = Arc::new(Held { process, pid, input, at_terminal, desk, meter, watch, passed });
        Ok((held, Launched { pid, cwd, enforced }))
    }
}

/// The variables of every shell here.
fn environment(init: &Init, start: &AbsolutePath) -> Result<Vec<(std::ffi::OsString, std::ffi::OsString)>, Failure> {
    let places = Places { home: init.home.as_str().into(), workspace: start.as_str().into() };
    child_environment(std::env::vars_os(), &init.passed, &places).map_err(Failure::of)
}

/// Where policies read the clock: as on the server's side, if its settings say so.
fn zone(init: &Init) -> Result<Zone, Failure> {
    let named = init.zone.as_deref().map(Zone::named).transpose();
    named.map(Option::unwrap_or_default).map_err(Failure::of)
}

fn identity(stream: &OwnedFd) -> Option<(u64, u64)> {
    let about = rustix::fs::fstat(stream).ok()?;
    Some((about.st_dev, about.st_ino))
}

/// Words are left out as a whole: part of a secret is no longer known as one.
fn shortened(refusal: Refusal) -> Refusal {
    let short = |word: String| if word.len() > MAX_WORD { format!("({} bytes)", word.len()) } else { word };
    let argv = refusal.argv.into_iter().take(MAX_WORDS).map(short).collect();
    Refusal { argv, program: short(refusal.program), ..refusal }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds a lock here can fail half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::remote::guard::message::MAX_ANSWER;

    #[test]
    fn whatever_the_words_of_a_refused_program_are_they_can_be_told() {
        // Of all that a word can hold this takes the most.
        let word = || "\u{1}".repeat(MAX_WORD);
        let few = "x".repeat(100_000);
        let (policy, reason, suggest) = (few.clone(), few.clone(), few);
        let refusal =
            Refusal { script: None, program: word(), argv: vec![word(); 2 * MAX_WORDS], policy, reason, suggest };
        let told = Numbered { id: 0, body: Answer::Refused { shell: 1, refusal: shortened(refusal) } };
        let mut frames = Frames::new(MAX_ANSWER);
        frames.push(&encode(&told).unwrap());
        assert!(frames.message::<Answer>().unwrap().is_some());
    }
}
