//! This end: starts the guard at a target, tells it what to hold, and hears what it refuses.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use palisade_engine::{AbsolutePath, Grant};
use palisade_sandbox::Enforced;
use palisade_sandbox::meter::Exceeded;
use tokio::sync::{mpsc, oneshot, watch};

use super::conversation::{Conversation, Greeting, Heard};
use super::message::{Answer, Init, Launch, Launched, NoMessage, Order, Ready};
use super::program_upload;
use crate::guard::{Ledger, Script, occasion};
use crate::remote::{Base, Errands, Purpose};
use crate::shell::progress::Progress;
use crate::shell::{Nonce, SessionError, Typed};
use crate::target::{RemoteGuard, TargetError};
use crate::transport::wire::{Ending, Piece, Wire};

/// How long the guard may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// How long it may take to read the policies and to try out what the kernel there offers.
const READY: Duration = Duration::from_secs(60);

/// Bytes of what it complains about that are shown.
const MAX_COMPLAINT: usize = 300;

/// Letters of its own reason and advice that are shown.
const MAX_REASON: usize = 2_000;

/// Orders that wait at most.
const ORDERS: usize = 16;

/// What a guard is started with.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) init: Init,
    /// The directory there that is Palisade's.
    pub(crate) state: AbsolutePath,
    pub(crate) settings: RemoteGuard,
}

/// A guard at a target, for one session and its jobs. Cheap to copy; it ends with the last copy.
#[derive(Clone, Debug)]
pub(crate) struct Outpost(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Where the program lies there, and its SHA-256.
    program: program_upload::Placed,
    ready: Ready,
    orders: mpsc::Sender<PendingOrder>,
    ledgers: Arc<Ledgers>,
    shells: AtomicU64,
}

/// Who hears of what happens in each shell.
#[derive(Debug, Default)]
struct Ledgers(Mutex<BTreeMap<u64, Hearer>>);

#[derive(Clone, Debug)]
struct Hearer {
    /// Of refusals.
    ledger: Arc<Ledger>,
    /// Of a limit that the script that runs has passed.
    limit: watch::Sender<Option<Exceeded>>,
}

/// An order, and where its answer goes.
#[derive(Debug)]
struct PendingOrder {
    order: Order,
    answer: oneshot::Sender<Answer>,
}

/// A shell under a guard.
#[derive(Debug)]
pub(crate) struct Shell {
    outpost: Outpost,
    id: u64,
    launched: Launched,
    scripts: AtomicU64,
    limit: watch::Receiver<Option<Exceeded>>,
}

impl Outpost {
    /// Brings the program to the target, starts it, and tells it what to hold.
    ///
    /// # Errors
    /// If it cannot be brought there, or cannot hold there what it has to.
    pub(crate) async fn start(base: &Base, terms: Terms) -> Result<Self, SessionError> {
        let Terms { init, state, settings } = terms;
        let program = program_upload::place(base, &state, settings.binary.as_deref()).await?;
        let nonce = Nonce::new()?;
        let mut wire = base.open(Purpose::Guard { program: &program.program, nonce: &nonce }).await?;
        let rest = tokio::time::timeout(READY, greeted(&mut wire, &nonce)).await;
        let rest = rest.map_err(|_| silent())??;
        let (orders, asked) = mpsc::channel(ORDERS);
        let ledgers = Arc::<Ledgers>::default();
        tokio::spawn(serve(wire, rest, asked, Arc::clone(&ledgers)));
        let home = init.home.clone();
        let ready = match asked_in(&orders, Order::Init(Box::new(init)), READY).await? {
            Answer::Ready(ready) => ready,
            answer => return Err(failed(answer)),
        };
        if ready.home != home.as_str() {
            return Err(TargetError::Home { target: base.name().to_owned(), home: shown(&ready.home) }.into());
        }
        // It is a word of a login shell's line.
        if !program_upload::is_plain(&ready.directory) {
            return Err(failed(Answer::Done));
        }
        Ok(Self(Arc::new(Inner { program, ready, orders, ledgers, shells: AtomicU64::new(0) })))
    }

    /// Starts a shell; its streams, and itself. What is refused in it is told to `ledger`.
    ///
    /// # Errors
    /// If it cannot be started under all that has to hold it.
    pub(crate) async fn shell(
        &self,
        base: &Base,
        purpose: Purpose<'_>,
        cwd: Option<&AbsolutePath>,
        ledger: Ledger,
    ) -> Result<(Wire, Shell), SessionError> {
        let id = self.0.shells.fetch_add(1, Ordering::Relaxed) + 1;
        let token = Nonce::new()?.as_str().to_owned();
        let Errands { words, variables, errands } = base.errands(purpose);
        let launch = Launch { shell: id, token: token.clone(), words, variables, cwd: cwd.cloned(), errands };
        let limit = self.0.ledgers.put(id, ledger);
        let launched = self.launch(base, purpose, launch, token).await;
        match launched {
            Ok((wire, launched)) => {
                Ok((wire, Shell { outpost: self.clone(), id, launched, scripts: AtomicU64::new(0), limit }))
            }
            Err(error) => {
                self.0.ledgers.forget(id);
                Err(error)
            }
        }
    }

    async fn launch(
        &self,
        base: &Base,
        purpose: Purpose<'_>,
        launch: Launch,
        token: String,
    ) -> Result<(Wire, Launched), SessionError> {
        let answer = ask(&self.0.orders, Order::Launch(Box::new(launch))).await?;
        let Inner { program, ready, .. } = &*self.0;
        let (program, directory) = (program.program.as_str(), ready.directory.as_str());
        let told = matches!(purpose, Purpose::Session(_));
        let attach = Purpose::Attach { program, directory, told, terminal: purpose.terminal() };
        let wire = base.open(attach).await?;
        if !wire.send(format!("{token}\n").into_bytes()) {
            return Err(TargetError::Closed.into());
        }
        match tokio::time::timeout(ANSWER, answer).await {
            Ok(Ok(Answer::Launched(launched))) => Ok((wire, *launched)),
            Ok(Ok(answer)) => Err(failed(answer)),
            Ok(Err(_)) => Err(TargetError::Closed.into()),
            Err(_) => Err(silent().into()),
        }
    }

    /// The session's temporary directory there.
    pub(crate) fn temp(&self) -> &AbsolutePath {
        &self.0.ready.temp
    }

    /// Whether the kernel holds every path rule there.
    pub(crate) fn paths_held(&self) -> bool {
        self.0.ready.paths_held
    }

    /// Where sessions begin there, without links: looked up before anything of the session's ran.
    pub(crate) fn workspace(&self) -> &AbsolutePath {
        &self.0.ready.start
    }

    /// Where the program lies there.
    pub(crate) fn program(&self) -> &str {
        &self.0.program.program
    }

    /// The SHA-256 of the program that is the guard.
    pub(crate) fn digest(&self) -> &str {
        &self.0.program.digest
    }
}

impl Shell {
    /// Its number there.
    pub(crate) fn pid(&self) -> String {
        self.launched.pid.to_string()
    }

    /// What holds it.
    pub(crate) fn enforced(&self) -> &Enforced {
        &self.launched.enforced
    }

    /// The guard that holds it.
    pub(crate) fn outpost(&self) -> &Outpost {
        &self.outpost
    }

    /// A script begins, in a shell that was left like this. When this returns the guard knows of it.
    ///
    /// # Errors
    /// If the guard does not answer: nothing may run then.
    pub(crate) async fn begin(
        &self,
        grant: &Grant,
        left: &palisade_grammar::Shell,
        progress: &Arc<Progress>,
    ) -> Result<(), SessionError> {
        let number = self.scripts.fetch_add(1, Ordering::Relaxed) + 1;
        let text = String::from_utf8(grant.inventory().script().to_vec()).map_err(|_| SessionError::NotReady)?;
        let lifted = grant.commands().iter().filter(|command| grant.is_lifted(command));
        let script = Script {
            number,
            text,
            left: left.clone(),
            lifted: lifted.map(|command| command.id.0).collect(),
            behind_checkpoint: progress.checkpoint().is_some(),
            occasion: occasion(grant.facts()),
        };
        self.outpost.0.ledgers.begin(self.id, number, progress);
        match self.asked(Order::Script { shell: self.id, script: Box::new(script) }).await? {
            Answer::Done => Ok(()),
            answer => Err(failed(answer)),
        }
    }

    /// A script has come to its end: what was refused in it has been told. The limit that it has passed, if any, and where the shell
    /// stands, as the kernel has it. A guard that is gone has said what it had to.
    pub(crate) async fn settle(&self) -> (Option<Exceeded>, Option<AbsolutePath>) {
        match self.asked(Order::Settle { shell: self.id }).await {
            Ok(Answer::Settled { limit, cwd }) => (limit, cwd),
            _ => (None, None),
        }
    }

    /// Waits until the script that runs passes a limit. Safe to drop.
    pub(crate) async fn exceeded(&self) -> Exceeded {
        let mut limit = self.limit.clone();
        match limit.wait_for(Option::is_some).await.ok().and_then(|limit| *limit) {
            Some(limit) => limit,
            None => std::future::pending().await,
        }
    }

    /// Where it stands, as the kernel has it.
    pub(crate) async fn cwd(&self) -> Option<AbsolutePath> {
        match self.asked(Order::Stands { shell: self.id }).await {
            Ok(Answer::Stands(cwd)) => cwd,
            _ => None,
        }
    }

    /// Whether anything in it waits for its input; none if that cannot be told.
    pub(crate) async fn waits(&self) -> Option<bool> {
        match self.asked(Order::Waits { shell: self.id }).await {
            Ok(Answer::Waits(waits)) => Some(waits),
            _ => None,
        }
    }

    /// Ends it and everything in it.
    pub(crate) async fn end(&self) -> Option<()> {
        matches!(self.asked(Order::End { shell: self.id }).await, Ok(Answer::Done)).then_some(())
    }

    async fn asked(&self, order: Order) -> Result<Answer, SessionError> {
        asked_in(&self.outpost.0.orders, order, ANSWER).await
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.outpost.0.ledgers.forget(self.id);
    }
}

impl Ledgers {
    fn put(&self, shell: u64, ledger: Ledger) -> watch::Receiver<Option<Exceeded>> {
        let (limit, passed) = watch::channel(None);
        let hearer = Hearer { ledger: Arc::new(ledger), limit };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(shell, hearer);
        passed
    }

    fn of(&self, shell: u64) -> Option<Hearer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&shell).cloned()
    }

    fn begin(&self, shell: u64, script: u64, progress: &Arc<Progress>) {
        if let Some(Hearer { ledger, limit }) = self.of(shell) {
            ledger.begin(script, progress);
            limit.send_replace(None);
        }
    }

    fn forget(&self, shell: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&shell);
    }
}

async fn ask(orders: &mpsc::Sender<PendingOrder>, order: Order) -> Result<oneshot::Receiver<Answer>, SessionError> {
    let (answer, answered) = oneshot::channel();
    orders.send(PendingOrder { order, answer }).await.map_err(|_| TargetError::Closed)?;
    Ok(answered)
}

async fn asked_in(orders: &mpsc::Sender<PendingOrder>, order: Order, time: Duration) -> Result<Answer, SessionError> {
    let answered = ask(orders, order).await?;
    match tokio::time::timeout(time, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(TargetError::Closed.into()),
        Err(_) => Err(silent().into()),
    }
}

fn silent() -> TargetError {
    TargetError::Guard { why: "it does not answer".to_owned(), help: String::new() }
}

/// A text of the far end's: one line, and no more of it than somebody reads.
fn shown(text: &str) -> String {
    text.chars().take(MAX_REASON).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn failed(answer: Answer) -> SessionError {
    let (why, help) = match answer {
        Answer::Failed { what, help } => (shown(&what), shown(&help)),
        _ => ("it answers something else".to_owned(), String::new()),
    };
    TargetError::Guard { why, help }.into()
}

/// Waits for where the guard's own words begin; what of those has come already.
pub(crate) async fn greeted(wire: &mut Wire, nonce: &Nonce) -> Result<Vec<u8>, TargetError> {
    let (mut greeting, mut complaint) = (Greeting::new(nonce.as_str()), Vec::new());
    loop {
        match wire.next().await {
            Some(Piece::Out(bytes)) => {
                if let Some(rest) = greeting.hear(&bytes).map_err(|_| silent())? {
                    return Ok(rest);
                }
            }
            Some(Piece::Err(bytes)) => {
                let room = MAX_COMPLAINT.saturating_sub(complaint.len());
                complaint.extend(bytes.iter().take(room));
            }
            Some(Piece::Ended(Some(ending))) => return Err(not_started(ending, &complaint)),
            Some(Piece::Ended(None)) | None => return Err(TargetError::Closed),
        }
    }
}

fn not_started(ending: Ending, complaint: &[u8]) -> TargetError {
    let said = shown(&String::from_utf8_lossy(complaint));
    let how = match ending {
        Ending::Exited(status) => format!("it ends with status {status}"),
        Ending::Signalled(signal) => format!("signal {signal} ends it"),
    };
    let why = if said.trim().is_empty() { how } else { format!("{how}: {}", said.trim()) };
    TargetError::Guard { why, help: String::new() }
}

/// What comes next in a conversation with a guard.
enum ConversationEvent {
    Asked(Option<PendingOrder>),
    Piece(Option<Piece>),
}

/// Carries orders there and answers back, until the connection ends or nobody asks any more.
async fn serve(mut wire: Wire, rest: Vec<u8>, mut asked: mpsc::Receiver<PendingOrder>, ledgers: Arc<Ledgers>) {
    let mut talk = Conversation::new(&rest);
    loop {
        // Whatever comes that is none of its messages: nothing more of it is believed, and its end ends all that it holds.
        if answered(&mut talk, &ledgers).is_err() {
            tracing::warn!("the guard at a target says what it cannot mean, and is given up");
            return;
        }
        let (output, room) = wire.halves();
        let event = tokio::select! {
            piece = output.next() => ConversationEvent::Piece(piece),
            asked = async { if room.room().await { asked.recv().await } else { std::future::pending().await } } => ConversationEvent::Asked(asked),
        };
        match event {
            ConversationEvent::Asked(Some(PendingOrder { order, answer })) => {
                let Ok(bytes) = talk.ask(order, answer) else { return };
                if !wire.pass(Typed::Bytes(bytes)) {
                    return;
                }
            }
            ConversationEvent::Piece(Some(Piece::Out(bytes))) => talk.push(&bytes),
            ConversationEvent::Piece(Some(Piece::Err(_))) => {}
            ConversationEvent::Asked(None) | ConversationEvent::Piece(Some(Piece::Ended(_)) | None) => return,
        }
    }
}

/// Gives all that has come to those whom it is for.
fn answered(talk: &mut Conversation<oneshot::Sender<Answer>>, ledgers: &Ledgers) -> Result<(), NoMessage> {
    while let Some(heard) = talk.heard()? {
        match heard {
            // Who asked may have gone.
            Heard::Answer(who, answer) => drop(who.send(answer)),
            Heard::Refused(shell, refusal) => {
                if let Some(Hearer { ledger, .. }) = ledgers.of(shell) {
                    tokio::task::block_in_place(|| ledger.tell(&refusal));
                }
            }
            Heard::Exceeded(shell, limit) => {
                if let Some(hearer) = ledgers.of(shell) {
                    hearer.limit.send_replace(Some(limit));
                }
            }
        }
    }
    Ok(())
}
