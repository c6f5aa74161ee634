//! `approvals`: what waits for a person in the running servers, and that person's answer.
//!
//! Everything that is shown comes from a server's parse of the command and from its policies; what the agent says of it stands last,
//! under a line that says whose words they are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal as _};
use std::time::Duration;

use palisade_engine::Lasts;
use palisade_runner::control::client::{self, Server};
use palisade_runner::control::wire::{Answer, Ask, Request, State, Waiting};

use crate::cli::args::{Approvals, ApprovalsAction, Context, Grant, Remember, Vote};
use crate::cli::commands;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError, age, one_line, printable};
use crate::config;

mod remembered;

/// How often `approvals list --watch` asks.
const TURN: Duration = Duration::from_secs(1);

const NOTHING: &str = "nothing waits for a person\n";

pub(crate) fn run(args: &Approvals) -> Result<Exit, CliError> {
    let context = |config: &Option<std::path::PathBuf>| Context { config: config.clone(), ..Context::default() };
    match &args.action {
        ApprovalsAction::List(list) if list.watch => watch(&context(&list.config), list.json),
        ApprovalsAction::List(list) => self::list(&servers(&context(&list.config))?, list.json),
        ApprovalsAction::Show(show) => match request(&servers(&context(&show.config))?, &show.id)? {
            RequestLookup::Request(_, request) => {
                report::print(&if show.json { commands::json(&request)? } else { text(&request) });
                Ok(Exit::Fine)
            }
            RequestLookup::Refused => Ok(Exit::Findings),
        },
        ApprovalsAction::Grant(args) => grant(&servers(&context(&args.vote.config))?, args),
        ApprovalsAction::Deny(vote) => deny(&servers(&context(&vote.config))?, vote),
        ApprovalsAction::Remembered(args) => remembered::list(&context(&args.config), args.json),
        ApprovalsAction::Forget(args) => remembered::forget(&context(&args.config), &args.id),
    }
}

/// The servers that listen where the settings say.
pub(crate) fn servers(context: &Context) -> Result<Vec<Server>, CliError> {
    let directory = config::control(context)?.directory;
    client::servers(&directory).map_err(|error| CliError::of(&error))
}

/// What a server says to something that everybody is asked; a no is told and counted, a server that is gone is not.
pub(crate) fn ask_all(servers: &[Server], ask: &Ask) -> (Vec<(String, Answer<String>)>, bool) {
    let (mut answers, mut failed) = (Vec::new(), false);
    for (server, answer) in client::ask_all(servers, ask) {
        match answer {
            Ok(Some(answer)) => answers.push((server.chain().to_owned(), answer)),
            Ok(None) => {}
            Err(error) => {
                CliError::of(&error).print();
                failed = true;
            }
        }
    }
    (answers, failed)
}

fn list(servers: &[Server], json: bool) -> Result<Exit, CliError> {
    let (waiting, exit) = waiting(servers);
    if json {
        report::print(&commands::json(&waiting)?);
    } else if waiting.is_empty() && exit == Exit::Fine {
        report::print(NOTHING);
    } else {
        let lines: String = waiting.iter().map(line).collect();
        report::print(&lines);
    }
    Ok(exit)
}

/// What waits, oldest first, and how a verb ends that asked for that.
fn waiting(servers: &[Server]) -> (Vec<Waiting<String>>, Exit) {
    let (answers, mut failed) = ask_all(servers, &Ask::List);
    let (mut waiting, mut refused) = (Vec::new(), false);
    for (_, answer) in answers {
        match answer {
            Answer::Waiting(more) => waiting.extend(more),
            other => match told(&other) {
                Exit::Findings => refused = true,
                _ => failed = true,
            },
        }
    }
    waiting.sort_by_key(|waiting: &Waiting<String>| std::cmp::Reverse(waiting.age_s));
    let exit = match (failed, refused) {
        (true, _) => Exit::Error,
        (false, true) => Exit::Findings,
        (false, false) => Exit::Fine,
    };
    (waiting, exit)
}

/// Shows what waits until it is interrupted, or nobody reads it any more: the whole list at a terminal, else a line for each request that
/// is new or stands otherwise. Servers may come and go meanwhile.
fn watch(context: &Context, json: bool) -> Result<Exit, CliError> {
    let drawn = io::stdout().is_terminal() && !json;
    let mut known = BTreeMap::new();
    loop {
        let (waiting, exit) = waiting(&servers(context)?);
        if exit != Exit::Fine {
            return Ok(exit);
        }
        let written = if drawn {
            let lines: String = waiting.iter().map(line).collect();
            let lines = if lines.is_empty() { NOTHING } else { &lines };
            report::print(&format!("{}{lines}", report::CLEARED))
        } else {
            let stands = |waiting: &Waiting<String>| (waiting.id.clone(), (waiting.state, waiting.granted_by.clone()));
            let before = std::mem::replace(&mut known, waiting.iter().map(stands).collect());
            let others = waiting.iter().filter(|waiting| {
                let (id, stands) = stands(waiting);
                before.get(&id) != Some(&stands)
            });
            let lines: Result<String, CliError> =
                others.map(|waiting| if json { commands::json(waiting) } else { Ok(line(waiting)) }).collect();
            report::print(&lines?)
        };
        if !written {
            return Ok(Exit::Fine);
        }
        std::thread::sleep(TURN);
    }
}

fn line(waiting: &Waiting<String>) -> String {
    format!(
        "{}  {:8} {:>6}, {:>6} left  {} for {}  {}{}\n",
        printable(&waiting.id),
        state(waiting),
        age(waiting.age_s),
        age(waiting.expires_s),
        printable(&waiting.agent),
        printable(&waiting.user),
        if waiting.running { "a running program: " } else { "" },
        one_line(&waiting.command)
    )
}

fn state(waiting: &Waiting<String>) -> &'static str {
    match waiting.state {
        State::Waiting => "waiting",
        State::Granted => "granted",
        State::Denied => "denied",
    }
}

enum RequestLookup<'s> {
    Request(&'s Server, Box<Request<String>>),
    /// And that has been told.
    Refused,
}

/// The request of this id, and whose it is: its id begins with the server's chain.
fn request<'s>(servers: &'s [Server], id: &str) -> Result<RequestLookup<'s>, CliError> {
    let chain = id.split('-').next().unwrap_or_default();
    for server in servers.iter().filter(|server| server.chain() == chain) {
        match server.ask(&Ask::Show { id: id.to_owned() }).map_err(|error| CliError::of(&error))? {
            Some(Answer::Request(request)) => return Ok(RequestLookup::Request(server, request)),
            Some(Answer::Unknown) | None => {}
            Some(other) => match told(&other) {
                Exit::Findings => return Ok(RequestLookup::Refused),
                _ => return Err(CliError::new("the server gave no answer to that", "")),
            },
        }
    }
    let what = format!("no request `{}` waits for a person", one_line(id));
    let longer = longer(servers, id);
    Err(CliError::new(
        what,
        match longer.is_empty() {
            true => "it was used, is too old, or its server has ended; `palisade approvals list` shows what waits"
                .to_owned(),
            false => format!("an answer needs the whole id: {}", longer.join(", ")),
        },
    ))
}

/// What waits under ids that begin so, for somebody who has typed a part of one. The whole id is asked for all the same: by the time that an
/// answer is given, a part may be that of another request.
fn longer(servers: &[Server], part: &str) -> Vec<String> {
    if part.is_empty() {
        return Vec::new();
    }
    let answers = client::ask_all(servers, &Ask::List).into_iter().filter_map(|(_, answer)| answer.ok().flatten());
    let waiting = answers.filter_map(|answer| match answer {
        Answer::Waiting(waiting) => Some(waiting),
        _ => None,
    });
    let ids = waiting.flatten().map(|waiting| waiting.id).filter(|id| id.starts_with(part));
    ids.take(5).map(|id| format!("`{}`", printable(&id))).collect()
}

fn grant(servers: &[Server], args: &Grant) -> Result<Exit, CliError> {
    let Grant { vote, remember } = args;
    let (server, request) = match request(servers, &vote.id)? {
        RequestLookup::Request(server, request) => (server, request),
        RequestLookup::Refused => return Ok(Exit::Findings),
    };
    let lasts = remember.map_or(Lasts::Once, Lasts::from);
    let permits = match lasts {
        Lasts::Once => None,
        Lasts::Session | Lasts::Agent | Lasts::Always => {
            match server.ask(&Ask::Permit { id: vote.id.clone(), lasts }).map_err(|error| CliError::of(&error))? {
                Some(Answer::Permit(permits)) => Some(permits),
                Some(other) => return Ok(told(&other)),
                None => return Err(CliError::new("the server has ended", "")),
            }
        }
    };
    if !vote.yes {
        if !report::has_person() {
            let help = "look at it with `palisade approvals show`, then give `--yes`";
            return Err(CliError::new("nobody is there to say yes", help));
        }
        report::complain(&text(&request));
        report::complain(&match &permits {
            None => "Let it run once? Type y to allow: ".to_owned(),
            Some(permits) => format!(
                "\nIt would hold by these permits:\n\n{}\nLet it run, and {} without a question? Type y to allow: ",
                lines(permits),
                from_now_on(lasts)
            ),
        });
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        read.map_err(|error| CliError::new(format!("cannot read the answer: {error}"), ""))?;
        if !report::is_yes(answer.as_bytes()) {
            report::complain("palisade: not granted; it still waits\n");
            return Ok(Exit::Error);
        }
    }
    answer(server, vote, true, lasts)
}

/// Several lines of a text that is not ours, each made printable.
fn lines(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", printable(line))).collect()
}

/// What a standing yes is about, in words.
fn from_now_on(lasts: Lasts) -> &'static str {
    match lasts {
        Lasts::Once => "this once",
        Lasts::Session => "whatever they fit in that session",
        Lasts::Agent => "whatever they fit of that agent's, from now on",
        Lasts::Always => "whatever they fit of any agent of that user's, from now on",
    }
}

impl From<Remember> for Lasts {
    fn from(remember: Remember) -> Self {
        match remember {
            Remember::Session => Self::Session,
            Remember::Agent => Self::Agent,
            Remember::Always => Self::Always,
        }
    }
}

fn deny(servers: &[Server], vote: &Vote) -> Result<Exit, CliError> {
    match request(servers, &vote.id)? {
        RequestLookup::Request(server, _) => answer(server, vote, false, Lasts::Once),
        RequestLookup::Refused => Ok(Exit::Findings),
    }
}

fn answer(server: &Server, vote: &Vote, yes: bool, lasts: Lasts) -> Result<Exit, CliError> {
    let reason = vote.reason.clone().unwrap_or_default();
    let ask = Ask::Answer { id: vote.id.clone(), yes, reason, lasts };
    let answer = server.ask(&ask).map_err(|error| CliError::of(&error))?;
    let Some(answer) = answer else { return Err(CliError::new("the server has ended", "")) };
    let Answer::Voted(voted) = answer else { return Ok(told(&answer)) };
    if vote.json {
        report::print(&commands::json(&voted)?);
        return Ok(Exit::Fine);
    }
    let (id, by) = (printable(&voted.id), printable(&voted.by));
    report::print(&match voted.state {
        State::Denied => format!("{id} denied by {by}\n"),
        State::Granted if lasts == Lasts::Once => format!("{id} granted by {by}: the agent may run it once\n"),
        State::Granted => format!(
            "{id} granted by {by}, and remembered: {}\n`palisade approvals forget {id}` takes it back\n",
            from_now_on(lasts)
        ),
        State::Waiting => format!("{id}: {} of {} people have said yes\n", voted.yes, voted.quorum),
    });
    Ok(Exit::Fine)
}

/// Tells of an answer that is a no, or none, and how the verb ends by it.
pub(crate) fn told(answer: &Answer<String>) -> Exit {
    match answer {
        Answer::Refused(refused) => {
            let policies = if refused.policies.is_empty() {
                String::new()
            } else {
                format!(" ({})", printable(&refused.policies.join(", ")))
            };
            CliError::new(format!("{}{policies}", printable(&refused.what)), printable(&refused.help)).print();
            Exit::Findings
        }
        Answer::Failed { what, help } => {
            CliError::new(printable(what), printable(help)).print();
            Exit::Error
        }
        Answer::Unknown => {
            CliError::new("there is nothing of that name", "`palisade approvals list` shows what waits").print();
            Exit::Error
        }
        _ => {
            CliError::new("the server gave another answer than asked for", "it may be of another version").print();
            Exit::Error
        }
    }
}

/// A request for a person: what was parsed, what it touches, why it is asked, and last what the agent says.
pub(crate) fn text(request: &Request<String>) -> String {
    let short = &request.short;
    let mut text = format!("{}: {}, {} s left", printable(&short.id), state(short), short.expires_s);
    if short.quorum > 1 {
        let _ = write!(text, ", {} of {} people have said yes", short.granted_by.len(), short.quorum);
    }
    if !short.granted_by.is_empty() {
        let _ = write!(text, " ({})", printable(&short.granted_by.join(", ")));
    }
    let _ = writeln!(text, "\nagent {} for {}, {} s ago", printable(&short.agent), printable(&short.user), short.age_s);
    text + &about(request)
}

/// The same without what changes while it waits.
pub(crate) fn about(request: &Request<String>) -> String {
    let (short, mut text) = (&request.short, String::new());
    let shell = if request.session.is_empty() { "a shell of its own" } else { request.session.as_str() };
    let _ = writeln!(text, "{} in {}, {}", printable(&request.kind), printable(&short.cwd), printable(shell));
    if request.joined {
        text.push_str("asked in a session and without one, where it does the same: a yes is to one of them, once\n");
    }
    let _ = writeln!(text, "the whole text:\n{}", report::marked(&short.command).trim_end());
    if short.hidden > 0 {
        let _ = writeln!(
            text,
            "NOT ALL OF IT IS SHOWN: {} characters look like secrets. A yes is to them, too.",
            short.hidden
        );
    }
    if let Some(running) = &request.process {
        text.push_str("a process waits to become this program:\n");
        let _ = writeln!(text, "  its file: {}", one_line(&running.file));
        let above = if running.started_by.is_empty() { "the script".to_owned() } else { running.started_by.join(", ") };
        let _ = writeln!(text, "  started by: {}", one_line(&above));
        if !running.of.is_empty() {
            let _ = writeln!(text, "  belongs to the script of decision {}", printable(&running.of));
        }
        for variable in &running.variables {
            let _ = writeln!(text, "  with the variable {}", one_line(variable));
        }
    }
    text.push_str("what it does:\n");
    for effect in &request.effects {
        let via = if effect.via.is_empty() { String::new() } else { format!(" via {}", effect.via.join(" › ")) };
        let policies =
            if effect.policies.is_empty() { "nothing permits it".to_owned() } else { effect.policies.join(", ") };
        let (decision, action) = (printable(&effect.decision), printable(&effect.action));
        let resource = one_line(&effect.resource);
        let _ = writeln!(text, "  {decision:5} {action:8} {resource}{}  ({})", printable(&via), printable(&policies));
    }
    for opaque in &request.opaque {
        let _ = writeln!(text, "  not known before it runs: {}", one_line(opaque));
    }
    text.push_str("why a person is asked:\n");
    for reason in &request.reasons {
        let place = if reason.place.is_empty() { String::new() } else { format!(" ({})", reason.place) };
        let policy = if reason.policy.is_empty() { "no permit" } else { reason.policy.as_str() };
        let about = one_line(&reason.text);
        let _ = writeln!(text, "  {}{}: {} — {about}", printable(policy), printable(&place), printable(&reason.reason));
    }
    if !request.files.is_empty() {
        text.push_str("a yes is to these files as they are now:\n");
        for file in &request.files {
            let hash = if file.sha256.is_empty() { "cannot be read" } else { file.sha256.as_str() };
            let _ = writeln!(text, "  {}  {}", printable(&file.path), printable(hash));
        }
    }
    if !request.opens.is_empty() {
        text.push_str("the kernel opens for it, in a shell of its own:\n");
        for opened in &request.opens {
            let _ = writeln!(text, "  {}", printable(opened));
        }
    }
    if !request.said.is_empty() {
        text.push_str("the agent says, and nobody has checked it:\n");
        text.push_str(&report::marked(&request.said));
    }
    text
}

#[cfg(test)]
mod tests {
    use palisade_runner::control::wire::Running;

    use super::*;

    #[test]
    fn what_an_agent_writes_does_not_look_like_ours() {
        let evil = "ls\u{1b}[2J\u{202e}\nwhat it does:\n  allow exec nothing\r";
        let short = Waiting {
            id: "5f3a9c01-1".to_owned(),
            agent: evil.to_owned(),
            user: evil.to_owned(),
            command: evil.to_owned(),
            hidden: 0,
            cwd: evil.to_owned(),
            running: true,
            age_s: 1,
            expires_s: 2,
            quorum: 2,
            granted_by: vec![evil.to_owned()],
            state: State::Waiting,
        };
        let request = Request {
            short: short.clone(),
            session: evil.to_owned(),
            joined: false,
            kind: "exec".to_owned(),
            effects: Vec::new(),
            reasons: Vec::new(),
            opaque: vec![evil.to_owned()],
            files: Vec::new(),
            opens: vec![evil.to_owned()],
            process: Some(Running {
                file: evil.to_owned(),
                of: evil.to_owned(),
                started_by: vec![evil.to_owned()],
                variables: vec![evil.to_owned()],
            }),
            policy_set: String::new(),
            said: evil.to_owned(),
        };
        let hides = Request { short: Waiting { hidden: 7, ..short.clone() }, ..request.clone() };
        assert!(text(&hides).contains("NOT ALL OF IT IS SHOWN: 7 characters") && !text(&request).contains("NOT ALL"));
        for shown in [text(&request), line(&short)] {
            assert!(!shown.chars().any(|shown| shown != '\n' && shown.is_control()), "{shown:?}");
            assert!(!shown.contains('\u{202e}'), "{shown:?}");
            assert_eq!(shown.lines().filter(|line| *line == "what it does:").count(), usize::from(shown.len() > 400));
        }
    }
}
