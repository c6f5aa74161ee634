//! What can go wrong with a session and with the jobs in it, in sentences for the reader.

use palisade_engine::AbsolutePath;
use palisade_sandbox::SandboxError;

use super::ShellLoss;
use crate::target::TargetError;

/// Why a session could not be opened or used. None of these texts holds anything that a program printed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SessionError {
    /// The sandbox could not be made: no session.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sandbox(#[from] SandboxError),
    /// A target cannot be reached or used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] TargetError),
    /// The settings name no such target.
    #[error("there is no target of that name")]
    #[diagnostic(help("`list` with `kind` targets shows them; only the operator can add one"))]
    NoTarget,
    /// Policy does not permit a session there.
    #[error("denied: no session may be opened at this target{}", by(.policies))]
    #[diagnostic(help("the policies and the target are the operator's"))]
    TargetForbidden {
        /// The policies that decide it.
        policies: Vec<String>,
    },
    /// Something that sessions at a target do not have.
    #[error("{what} is not supported in a session at a target")]
    #[diagnostic(help("run it as a plain command there, or in a session on this machine"))]
    NotThere {
        /// What.
        what: &'static str,
    },
    /// A channel to the shell could not be made.
    #[error("cannot make {what} for the session")]
    Channel {
        /// What was to be made.
        what: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The shell did not answer.
    #[error("the shell did not become ready")]
    #[diagnostic(help("`palisade doctor` says what a session needs"))]
    NotReady,
    /// Where the shell stands cannot be told.
    #[error("the session's working directory cannot be told")]
    #[diagnostic(help(
        "sessions need `/proc` with `/proc/PID/task/TID/children`, and a directory whose name is UTF-8"
    ))]
    NoDirectory,
    /// A kernel rule would open what policy forbids.
    #[error("policy forbids `{inner}`, and the kernel cannot keep it from a session that may use `{outer}`")]
    #[diagnostic(help("choose a workspace or a granted directory that does not hold it"))]
    Hole {
        /// The directory that the session may use.
        outer: AbsolutePath,
        /// What lies below it and is forbidden.
        inner: AbsolutePath,
    },
    /// What may be there under names that policy forbids cannot all be masked.
    #[error(
        "not all files under names that policy forbids can be kept from the session: there are too many files, or too many such names, directly in the workspace"
    )]
    #[diagnostic(help(
        "remove files from the workspace's top directory, or choose a smaller workspace; in directories below any number may lie"
    ))]
    TooManyNames,
    /// Directories were renamed all the while when it was looked for what has to be hidden.
    #[error(
        "directories that the session may change are being moved about, so that what has to be hidden in them cannot be found"
    )]
    #[diagnostic(help("wait until what runs there is done, or end it; then try again"))]
    Restless,
    /// Directories cannot be watched, so that nobody can tell whether what has to be hidden was moved.
    #[error("the directories that the session may change cannot be watched while it begins")]
    #[diagnostic(help(
        "end programs that watch many files, or raise `fs.inotify.max_user_instances` and `fs.inotify.max_user_watches` (sysctl)"
    ))]
    Unwatched(#[source] std::io::Error),
    /// The session's own directory would lie where the agent can write.
    #[error("the temporary directory `{0}` lies where the agent can write")]
    #[diagnostic(help("set TMPDIR to a directory outside the workspace"))]
    TemporaryWithinReach(AbsolutePath),
    /// The kernel gives no random bytes.
    #[error("the kernel gives no random bytes")]
    NoRandomness,
    /// A grant was made for another session.
    #[error("this grant is for another session")]
    WrongSession,
    /// No such session, or not this principal's.
    #[error("there is no session of that name")]
    #[diagnostic(help("`list` shows the sessions; `session_open` opens one"))]
    Unknown,
    /// A job holds it.
    #[error("the session is busy: job `{job}` runs in it")]
    #[diagnostic(help("wait for the job with `job_read`, end it with `job_signal`, or run this without `session`"))]
    Busy {
        /// The job's name.
        job: String,
    },
    /// It may not go on.
    #[error("the session has ended: the policies have changed, and they permit this principal no session here")]
    #[diagnostic(help("its state is kept until it is closed or idle for long, should the policies change again"))]
    Forbidden,
    /// What it ran before has not ended, as far as its target has said.
    #[error(
        "the command's deadline has passed, and the session's target is not done with the command before: nothing has run"
    )]
    #[diagnostic(help("wait, or close the session with `session_close` and open another"))]
    NotFree,
    /// Its shell is gone.
    #[error("the session has ended: {}", .0.as_str())]
    #[diagnostic(help(
        "`session_open` with this `session` starts a shell in its place, with the state from before the command"
    ))]
    Ended(ShellLoss),
    /// Its shell is not gone.
    #[error("the session is open")]
    Lives,
    /// No such job.
    #[error("there is no job of that name")]
    #[diagnostic(help("`list` shows the jobs; one that is done is forgotten after a while"))]
    UnknownJob,
    /// All places are taken.
    #[error("{0} jobs are running, which is the limit")]
    #[diagnostic(help("end one with `job_signal`, or wait for one"))]
    TooManyJobs(usize),
    /// It cannot be written to.
    #[error("the job has no input that can be written to")]
    #[diagnostic(help("start it with `yield_ms` 0, which gives it one"))]
    NoInput,
    /// More than one call may write.
    #[error("more than {limit} bytes of input in one call")]
    #[diagnostic(help("write it in pieces"))]
    TooMuchInput {
        /// The limit in bytes.
        limit: usize,
    },
    /// It is far behind with what was written before.
    #[error("the job has not read what was written to it before")]
    #[diagnostic(help("wait for it with `job_read`, and write this again"))]
    InputFull,
    /// A shell may read it otherwise than it can be judged.
    #[error("denied: {why}")]
    #[diagnostic(help("write whole lines of plain text, or run it as a command of its own"))]
    UnclearInput {
        /// How.
        why: &'static str,
    },
    /// There is no terminal to give a size.
    #[error("`rows` and `cols` go with the signal WINCH and a job that was started with `tty`")]
    NoTerminal,
    /// It does not run any more.
    #[error("the job has ended")]
    #[diagnostic(help("`job_read` shows how"))]
    JobEnded,
    /// No such signal.
    #[error("there is no such signal for a job")]
    #[diagnostic(help("one of {names}"))]
    NoSuchSignal {
        /// Those that there are.
        names: String,
    },
    /// All places are taken.
    #[error("{0} sessions are open, which is the limit")]
    #[diagnostic(help("close one, or raise `session.max` in the settings"))]
    Full(usize),
}

fn by(policies: &[String]) -> String {
    if policies.is_empty() { "; nothing permits it".to_owned() } else { format!(", by {}", policies.join(", ")) }
}
