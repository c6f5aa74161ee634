//! The view for a terminal: keys and what they do. What it looks like is in `drawing`.
//!
//! The terminal is given back as it was however the view ends: by a key, a signal or a panic.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use palisade_audit::{Followed, From};
use palisade_runner::control;
use palisade_runner::control::wire::Request;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::act::{Act, Verdict};
use super::approvals::{Approvals, Given, News};
use super::drawing;
use super::model::Model;
use crate::cli::report::CliError;

/// How long one waits for a key before looking for records again.
const TURN: Duration = Duration::from_millis(50);

/// Records that are taken in before the view is drawn again, so that it stays usable while many come.
const TAKEN: usize = 20_000;

/// How long the view has to end by itself once it is asked to.
const GRACE: Duration = Duration::from_secs(1);

/// Shows a directory, and what waits in the servers of these settings, until the person has enough.
pub(crate) fn run(directory: &Path, control: control::Settings) -> Result<(), CliError> {
    let unusable = |error: io::Error| {
        CliError::new(format!("the terminal cannot be used: {error}"), "use `palisade watch --follow`")
    };
    let records = super::follow(directory, From::Last(super::HISTORY))?;
    let approvals = Approvals::of(control)?;
    let ended = ended_by_signal()?;
    let mut terminal = ratatui::try_init().map_err(unusable)?;
    let mut view = TerminalView::new(directory.display().to_string());
    let shown = show(&mut terminal, &mut view, &records, &approvals, &ended);
    ratatui::restore();
    shown.map_err(unusable)
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    view: &mut TerminalView,
    records: &Receiver<Vec<Followed>>,
    approvals: &Approvals,
    ended: &AtomicBool,
) -> io::Result<()> {
    let mut changed = true;
    while !view.done && !ended.load(Ordering::Relaxed) && io::stdin().is_terminal() {
        changed |= view.take(records);
        for news in approvals.news() {
            changed |= view.hear(news);
        }
        if std::mem::take(&mut changed) {
            terminal.draw(|frame| drawing::draw(frame, view))?;
        }
        // What has piled up comes first, so that a fast record is not shown late.
        let patience = if view.behind { Duration::ZERO } else { TURN };
        while event::poll(if changed { Duration::ZERO } else { patience })? {
            changed = true;
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
            {
                view.key(key);
            }
            if let Some(given) = view.given.take() {
                approvals.give(given);
            }
        }
    }
    Ok(())
}

/// Becomes true when the process is asked to end; at a terminal in raw mode Ctrl-C is a key.
fn ended_by_signal() -> Result<Arc<AtomicBool>, CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let cannot = |error: io::Error| CliError::new(format!("cannot start: {error}"), "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(cannot)?;
    let kinds = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()];
    let signals = {
        let _inside = runtime.enter();
        kinds.map(signal)
    };
    let [terminate, hangup, interrupt] = signals;
    let (mut terminate, mut hangup, mut interrupt) =
        (terminate.map_err(cannot)?, hangup.map_err(cannot)?, interrupt.map_err(cannot)?);
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    let wait = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        flag.store(true, Ordering::Relaxed);
        // At a terminal that is gone the wait for a key never comes back, and takes all the processor that it gets.
        std::thread::sleep(GRACE);
        ratatui::restore();
        std::process::exit(0);
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(cannot)?;
    Ok(ended)
}

/// What the person has chosen to see.
#[derive(Debug)]
pub(super) struct TerminalView {
    pub(super) model: Model,
    pub(super) directory: String,
    pub(super) pane: Pane,
    pub(super) mode: Mode,
    /// The session whose acts are shown; `None`: those of all.
    pub(super) session: Option<Arc<str>>,
    /// The act that the cursor is on; `None`: always the newest.
    pub(super) act: Option<u64>,
    pub(super) verdict: Option<Verdict>,
    /// In lower case.
    pub(super) search: String,
    /// Requests that wait for a person, oldest first.
    pub(super) waiting: Vec<Request<String>>,
    /// The request that the cursor is on.
    pub(super) request: Option<String>,
    /// What a server said last.
    pub(super) said: String,
    /// An answer that is to be sent.
    given: Option<Given>,
    pub(super) done: bool,
    /// Records came in faster than they were taken.
    behind: bool,
    /// Rows of a page, as they were drawn last.
    pub(super) page: usize,
}

/// Where the cursor moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Sessions,
    Acts,
    /// Requests that wait for a person.
    Requests,
}

/// What keys mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Browse,
    /// A text to look for is being typed.
    Search(String),
    /// One act is shown whole, from this line on.
    Detail(u64, u16),
    /// One request is shown whole, from this line on.
    Request(String, u16),
    /// The same, and an answer to it is being typed.
    Confirm {
        given: Given,
        typed: String,
        line: u16,
    },
}

impl TerminalView {
    pub(super) fn new(directory: String) -> Self {
        Self {
            model: Model::default(),
            directory,
            pane: Pane::Acts,
            mode: Mode::Browse,
            session: None,
            act: None,
            verdict: None,
            search: String::new(),
            waiting: Vec::new(),
            request: None,
            said: String::new(),
            given: None,
            done: false,
            behind: false,
            page: 10,
        }
    }

    /// Takes in what has come; false: nothing has.
    fn take(&mut self, records: &Receiver<Vec<Followed>>) -> bool {
        let mut taken = 0;
        loop {
            match records.try_recv() {
                Ok(batch) => {
                    taken += batch.len();
                    batch.iter().for_each(|one| self.model.take(one));
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.done = true;
                    break;
                }
            }
            if taken >= TAKEN {
                break;
            }
        }
        self.behind = taken >= TAKEN;
        self.model.seen();
        taken > 0
    }

    /// Takes in what the servers say; false: it is what they said before.
    fn hear(&mut self, news: News) -> bool {
        match news {
            News::Said(said) => self.said = said,
            // Their ages grow all the time, and are shown.
            News::Waiting(waiting) if waiting.is_empty() && self.waiting.is_empty() => return false,
            News::Waiting(waiting) => self.waiting = waiting,
        }
        if self.waiting.is_empty() && self.pane == Pane::Requests {
            self.pane = Pane::Acts;
        }
        true
    }

    /// The request of this id, while it waits.
    pub(super) fn waits(&self, id: &str) -> Option<&Request<String>> {
        self.waiting.iter().find(|request| request.short.id == id)
    }

    /// Where the cursor is among the requests.
    pub(super) fn request_at(&self) -> usize {
        let place = self.waiting.iter().position(|request| Some(&request.short.id) == self.request.as_ref());
        place.unwrap_or_default()
    }

    /// The acts that the filters leave, oldest first.
    pub(super) fn rows(&self) -> Vec<&Act> {
        self.model.acts().filter(|act| self.shows(act)).collect()
    }

    fn shows(&self, act: &Act) -> bool {
        let session = self.session.as_ref().is_none_or(|key| *key == act.session);
        let verdict = match self.verdict {
            Some(Verdict::Ask) => act.verdict == Some(Verdict::Ask),
            Some(verdict) => act.strictest() == Some(verdict),
            None => true,
        };
        session && verdict && (self.search.is_empty() || act.holds(&self.search))
    }

    /// The act that the cursor is on: the chosen one, or the next that is still there and shown.
    pub(super) fn cursor(&self, rows: &[&Act]) -> usize {
        let newest = rows.len().saturating_sub(1);
        self.act.map_or(newest, |id| rows.partition_point(|act| act.id < id).min(newest))
    }

    pub(super) fn key(&mut self, key: KeyEvent) {
        if key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('c' | 'd')) {
            self.done = true;
            return;
        }
        match self.mode.clone() {
            Mode::Browse => self.browse(key.code),
            Mode::Search(typed) => self.search(typed, key.code),
            Mode::Detail(id, line) => match scrolled(line, self.page, key.code) {
                Some(line) => self.mode = Mode::Detail(id, line),
                None => self.mode = Mode::Browse,
            },
            Mode::Request(id, line) => self.read_request(id, line, key.code),
            Mode::Confirm { given, typed, line } => self.confirm(given, typed, line, key.code),
        }
    }

    fn browse(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char('q') => self.done = true,
            KeyCode::Char('/') => self.mode = Mode::Search(self.search.clone()),
            KeyCode::Char('a') => self.judged(Verdict::Allow),
            KeyCode::Char('d') => self.judged(Verdict::Deny),
            KeyCode::Char('w') => self.judged(Verdict::Ask),
            KeyCode::Char('c') | KeyCode::Esc => {
                (self.session, self.verdict, self.act) = (None, None, None);
                self.search.clear();
            }
            KeyCode::Tab => {
                self.pane = match self.pane {
                    Pane::Sessions => Pane::Acts,
                    Pane::Acts if !self.waiting.is_empty() => Pane::Requests,
                    Pane::Acts | Pane::Requests => Pane::Sessions,
                };
            }
            KeyCode::BackTab => {
                self.pane = match self.pane {
                    Pane::Sessions if !self.waiting.is_empty() => Pane::Requests,
                    Pane::Acts => Pane::Sessions,
                    Pane::Sessions | Pane::Requests => Pane::Acts,
                };
            }
            KeyCode::Char('g') => self.about_to(true),
            KeyCode::Char('x') => self.about_to(false),
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::PageUp => self.go(-self.a_page()),
            KeyCode::PageDown => self.go(self.a_page()),
            KeyCode::Home => self.go(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.go(isize::MAX),
            KeyCode::Enter => self.enter(),
            _ => {}
        }
    }

    fn a_page(&self) -> isize {
        isize::try_from(self.page.max(1)).unwrap_or(1)
    }

    /// The same verdict once more: all of them again.
    fn judged(&mut self, verdict: Verdict) {
        self.verdict = if self.verdict == Some(verdict) { None } else { Some(verdict) };
    }

    fn go(&mut self, by: isize) {
        match self.pane {
            Pane::Acts => {
                let rows = self.rows();
                let to = self.cursor(&rows).saturating_add_signed(by);
                let chosen = rows.get(to).map(|act| act.id);
                // At the end it stays with what comes.
                self.act = chosen.filter(|_| to + 1 < rows.len());
            }
            Pane::Sessions => {
                let sessions = self.model.sessions();
                // Before the first session stand all of them.
                let at = sessions.iter().position(|session| Some(&session.key) == self.session.as_ref());
                let to = at.map_or(0, |at| at + 1).saturating_add_signed(by).min(sessions.len());
                self.session =
                    to.checked_sub(1).and_then(|to| sessions.get(to)).map(|session| Arc::clone(&session.key));
                self.act = None;
            }
            Pane::Requests => {
                let to = self.request_at().saturating_add_signed(by).min(self.waiting.len().saturating_sub(1));
                self.request = self.waiting.get(to).map(|request| request.short.id.clone());
            }
        }
    }

    /// Asks for the word that gives an answer, with all that it is about in view.
    fn about_to(&mut self, yes: bool) {
        let shown =
            if let Mode::Request(id, _) = &self.mode { self.waits(id) } else { self.waiting.get(self.request_at()) };
        if let Some(request) = shown {
            let given = Given { id: request.short.id.clone(), yes };
            self.mode = Mode::Confirm { given, typed: String::new(), line: 0 };
        }
    }

    fn read_request(&mut self, id: String, line: u16, code: KeyCode) {
        match code {
            KeyCode::Char('g') => self.about_to(true),
            KeyCode::Char('x') => self.about_to(false),
            code => {
                let line = scrolled(line, self.page, code);
                self.mode = line.map_or(Mode::Browse, |line| Mode::Request(id, line));
            }
        }
    }

    fn confirm(&mut self, given: Given, mut typed: String, line: u16, code: KeyCode) {
        let is_there = self.waits(&given.id).is_some();
        match code {
            KeyCode::Enter if is_there && given.is_said_by(&typed) => {
                self.said = format!("{}: asking the server", given.id);
                (self.given, self.mode) = (Some(given), Mode::Browse);
                return;
            }
            KeyCode::Esc | KeyCode::Enter => {
                self.said = format!("{}: no answer was given", given.id);
                self.mode = Mode::Browse;
                return;
            }
            KeyCode::Backspace => {
                typed.pop();
            }
            KeyCode::Char(character) if typed.len() < 16 => typed.push(character),
            _ => {}
        }
        // Letters belong to the word that is typed.
        let scrolls = matches!(code, KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown);
        let line = if scrolls { scrolled(line, self.page, code).unwrap_or(line) } else { line };
        self.mode = Mode::Confirm { given, typed, line };
    }

    fn enter(&mut self) {
        match self.pane {
            Pane::Sessions => self.pane = Pane::Acts,
            Pane::Requests => {
                if let Some(request) = self.waiting.get(self.request_at()) {
                    self.mode = Mode::Request(request.short.id.clone(), 0);
                }
            }
            Pane::Acts => {
                let rows = self.rows();
                if let Some(act) = rows.get(self.cursor(&rows)) {
                    self.mode = Mode::Detail(act.id, 0);
                }
            }
        }
    }

    fn search(&mut self, mut typed: String, code: KeyCode) {
        match code {
            KeyCode::Esc => self.mode = Mode::Browse,
            KeyCode::Enter => {
                (self.search, self.mode, self.act) = (typed.to_lowercase(), Mode::Browse, None);
            }
            KeyCode::Backspace => {
                typed.pop();
                self.mode = Mode::Search(typed);
            }
            KeyCode::Char(character) if typed.len() < 200 => {
                typed.push(character);
                self.mode = Mode::Search(typed);
            }
            _ => {}
        }
    }
}

/// The first line that is shown after a key; `None`: the person has read enough.
fn scrolled(line: u16, page: usize, code: KeyCode) -> Option<u16> {
    let page = u16::try_from(page).unwrap_or(u16::MAX);
    match code {
        KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q') => None,
        KeyCode::Up | KeyCode::Char('k') => Some(line.saturating_sub(1)),
        KeyCode::Down | KeyCode::Char('j') => Some(line.saturating_add(1)),
        KeyCode::PageUp => Some(line.saturating_sub(page)),
        KeyCode::PageDown | KeyCode::Char(' ') => Some(line.saturating_add(page)),
        KeyCode::Home => Some(0),
        _ => Some(line),
    }
}
