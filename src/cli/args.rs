//! What can be typed. No logic: `config/` says what it means.

mod hook;
mod setup;
mod sh;

pub(crate) use self::hook::{Hook, HookClient, HookMode};
pub(crate) use self::setup::{How, Off, On, Setup, SetupMode, StatusArgs};
pub(crate) use self::sh::{Sh, Standby};
pub(crate) use crate::config::flags::{Context, Transport};

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs an AI agent's commands under Cedar policies, a kernel sandbox and a tamper-evident record.
#[derive(Debug, Parser)]
#[command(name = "palisade", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Judge a command and say why; runs nothing
    Check(Check),
    /// Print what a command would run, without any policy
    Inventory(Inventory),
    /// Judge a command and, if it is allowed, run it in a sandbox
    Run(Run),
    /// Stand in for `bash -c`: the same, for callers that start a shell
    Sh(Sh),
    /// Answer an AI client that asks before it uses a tool; it starts this by itself
    Hook(Hook),
    /// Serve MCP clients, on standard input and output or over HTTP
    Serve(Serve),
    /// Replace secrets in a stream: standard input to standard output
    Redact(Redact),
    /// Look at the record
    Audit(Audit),
    /// Look at the workspace's checkpoints, and go back to one
    Checkpoint(Checkpoint),
    /// See what an agent did in its view of the workspace, and apply it
    Workspace(Workspace),
    /// Follow what sessions do, live
    Watch(Watch),
    /// Work on policies: validate, test, lint, format, compare
    Policy(Policy),
    /// See what waits for a person in running servers, and answer it
    Approvals(Approvals),
    /// End what an agent or a session runs, at once, and lock it out
    Stop(Stop),
    /// Say what this machine can enforce, and what is missing
    Doctor(Doctor),
    /// Have an AI client run its commands through Palisade: print how, write it, or take it back
    Setup(Setup),
    /// Bring all AI clients of this user under Palisade
    On(On),
    /// Take all AI clients of this user from under Palisade again
    Off(Off),
    /// Say which AI clients are under Palisade, and how
    Status(StatusArgs),
    /// Stay ready between calls of `sh`; started by them, and of no use to anybody else
    #[command(hide = true)]
    Standby(Standby),
    /// Hold a session's shells at a target; started there by a server, and of no use to anybody else
    #[command(hide = true)]
    RemoteGuard(RemoteGuard),
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) context: Context,
    /// The command
    #[arg(value_name = "COMMAND", required_unless_present = "batch", conflicts_with = "batch")]
    pub(crate) command: Option<OsString>,
    /// Judge JSON lines from standard input, one verdict a line
    #[arg(long)]
    pub(crate) batch: bool,
    /// Judge as if a person had said yes
    #[arg(long)]
    pub(crate) approved: bool,
    /// Judge as on a transport where nothing checks each program start
    #[arg(long)]
    pub(crate) unguarded: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RemoteGuard {
    #[command(subcommand)]
    pub(crate) part: RemoteGuardPart,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RemoteGuardPart {
    /// Hold what standard input says
    Serve {
        /// What stands before the first answer
        nonce: String,
    },
    /// Do the work of checkpoints that standard input asks for
    Keep {
        /// What stands before the first answer
        nonce: String,
    },
    /// Hand the standard streams over for a shell
    Attach {
        /// Where the guard's socket is
        directory: PathBuf,
        /// Whether the shell's input is the server's or its command's
        input: RemoteGuardInput,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RemoteGuardInput {
    Told,
    Read,
}

#[derive(Debug, Args)]
pub(crate) struct Inventory {
    /// The command
    #[arg(value_name = "COMMAND", required_unless_present = "batch", conflicts_with = "batch")]
    pub(crate) command: Option<OsString>,
    /// Read JSON lines from standard input, one inventory a line
    #[arg(long)]
    pub(crate) batch: bool,
    /// Print for a person, which is what a terminal gets
    #[arg(long, conflicts_with_all = ["json", "batch"])]
    pub(crate) text: bool,
    /// Print JSON, which is what anything but a terminal gets
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) context: Context,
    /// How much of standard output and standard error is passed on, each: `64KiB`, or `none` for all of it [default: 16MiB]
    #[arg(long, value_name = "SIZE", conflicts_with = "json")]
    pub(crate) max_output: Option<String>,
    /// The command, as one text
    #[arg(value_name = "COMMAND", required_unless_present = "words", conflicts_with = "words")]
    pub(crate) command: Option<OsString>,
    /// A program and its arguments, taken literally
    #[arg(last = true, value_name = "PROG")]
    pub(crate) words: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) context: Context,
    /// Serve over HTTP instead, at 127.0.0.1:8931 or unix:PATH, whoever proves to be one of the settings' principals
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Redact {
    /// Read JSON lines {"id","data","cuts","known"}, write {"id","out"}; bytes are base64
    #[arg(long)]
    pub(crate) batch: bool,
    /// A table of rules of your own, or a directory of them, besides those that Palisade has
    #[arg(long, value_name = "PATH")]
    pub(crate) rules: Option<PathBuf>,
    /// Say on standard error which rule hit where: line, offset and length in bytes
    #[arg(long, conflicts_with = "batch")]
    pub(crate) explain: bool,
    /// List what running servers have learned from commands and their output, never the values themselves; reads no input
    #[arg(long, conflicts_with_all = ["batch", "rules", "explain"])]
    pub(crate) learned: bool,
    /// Drop this value: it is no secret, later output shows it, and its server does not learn it again
    #[arg(long = "drop", value_name = "ID", requires = "learned", conflicts_with = "drop_all")]
    pub(crate) dropped: Option<String>,
    /// Drop all of them, in every running server
    #[arg(long, requires = "learned")]
    pub(crate) drop_all: bool,
    /// Settings file, with --learned
    #[arg(long, value_name = "FILE", requires = "learned")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON for machines, with --learned
    #[arg(long, requires = "learned")]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    pub(crate) action: AuditAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditAction {
    /// Check that nobody changed a record
    Verify(AuditVerify),
    /// Show what is on record
    Show(AuditShow),
    /// Make the decisions on record again by the policies of now
    Replay(AuditReplay),
    /// Write a copy of the record in a form for others
    Export(AuditExport),
    /// Print the public half of the key that the record is signed with
    Key(AuditKey),
    /// Export one record with what shows that it is on record
    Prove(AuditProve),
}

#[derive(Debug, Args)]
pub(crate) struct Checkpoint {
    #[command(subcommand)]
    pub(crate) action: CheckpointAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointAction {
    /// List the checkpoints of the workspace
    List(CheckpointList),
    /// Say what going back to one would do
    Diff(CheckpointDiff),
    /// Go back to one; a person is asked where policy says so
    Restore(CheckpointRestore),
    /// Give up old ones
    Prune(CheckpointPrune),
}

#[derive(Debug, Args)]
pub(crate) struct CheckpointList {
    #[command(flatten)]
    pub(crate) context: Context,
}

#[derive(Debug, Args)]
pub(crate) struct CheckpointDiff {
    /// The checkpoint, or the beginning of its name
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: String,
    #[command(flatten)]
    pub(crate) context: Context,
}

#[derive(Debug, Args)]
pub(crate) struct CheckpointRestore {
    /// The checkpoint, or the beginning of its name
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: String,
    /// Put back what others changed since, too
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) context: Context,
}

#[derive(Debug, Args)]
pub(crate) struct CheckpointPrune {
    /// How many of the newest to keep
    #[arg(long, value_name = "NUMBER")]
    pub(crate) keep: usize,
    #[command(flatten)]
    pub(crate) context: Context,
}

#[derive(Debug, Args)]
pub(crate) struct Workspace {
    #[command(subcommand)]
    pub(crate) action: WorkspaceAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkspaceAction {
    /// List the views that have something in them
    List(WorkspaceView),
    /// Show what applying a view would change
    Diff(WorkspaceView),
    /// Put what a view holds into the workspace; a person is asked where policy says so
    Apply(WorkspaceApply),
    /// Give up what a view holds
    Discard(WorkspaceView),
}

#[derive(Debug, Args)]
pub(crate) struct WorkspaceView {
    #[command(flatten)]
    pub(crate) context: Context,
}

#[derive(Debug, Args)]
pub(crate) struct WorkspaceApply {
    /// Only say what would be done, and how it would be decided
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also write over what others changed since
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) context: Context,
}

#[derive(Debug, Args)]
pub(crate) struct AuditVerify {
    /// A record file, or a directory of them [default: where the settings put the record]
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// A head that was noted elsewhere, as `seq:hash`; needs one file
    #[arg(long, value_name = "SEQ:HASH", requires = "path")]
    pub(crate) anchor: Option<String>,
    /// The public key that it has to be signed with, as `audit key` prints it; repeatable
    #[arg(long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// Check an export of `audit prove` instead
    #[arg(long, value_name = "FILE", requires = "keys", conflicts_with_all = ["path", "anchor"])]
    pub(crate) proof: Option<PathBuf>,
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON for machines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AuditShow {
    /// A record file, or a directory of them [default: where the settings put the record]
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) filter: RecordFilter,
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the records as they are written, one JSON line each
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which records.
#[derive(Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct RecordFilter {
    /// What this agent did
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// What was done for this user
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// What was done in this session
    #[arg(long, value_name = "NAME")]
    pub(crate) session: Option<String>,
    /// What was decided so
    #[arg(long, value_name = "DECISION")]
    pub(crate) decision: Option<DecisionName>,
    /// What this policy determined
    #[arg(long, value_name = "ID")]
    pub(crate) policy: Option<String>,
    /// Records of this kind; repeatable
    #[arg(long = "kind", value_name = "KIND")]
    pub(crate) kinds: Vec<String>,
    /// Nothing older: a time such as 2026-11-21T04:01:00Z, or so long ago, such as 2h
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Nothing younger
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AuditExport {
    /// A record file, or a directory of them [default: where the settings put the record]
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// The form
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: ExportFormat,
    #[command(flatten)]
    pub(crate) filter: RecordFilter,
    /// A new file to write to [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// OCSF events, one JSON line each
    Ocsf,
    /// A session as a recording for terminals; needs --session
    Asciicast,
    /// OpenTelemetry export requests, one JSON line each
    Otlp,
    /// RFC 5424 messages, one a line
    Syslog,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DecisionName {
    Allow,
    Ask,
    Deny,
}

#[derive(Debug, Args)]
pub(crate) struct AuditReplay {
    /// A record file, or a directory of them [default: where the settings put the record]
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// A `.cedar` file or a policy directory [default: what the settings name]
    #[arg(long, value_name = "PATH", conflicts_with = "profile")]
    pub(crate) policies: Option<PathBuf>,
    /// A profile that Palisade ships
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// A directory that the agent could read, as for `run`; repeatable
    #[arg(long = "read", value_name = "DIR")]
    pub(crate) reads: Vec<PathBuf>,
    /// A directory that the agent could write, as for `run`; repeatable
    #[arg(long = "write", value_name = "DIR")]
    pub(crate) writes: Vec<PathBuf>,
    /// The secret half of the key that copies are sealed to: what was redacted can be judged again then
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON for machines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AuditKey {
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct AuditProve {
    /// The record's number
    #[arg(value_name = "SEQ")]
    pub(crate) seq: u64,
    /// The record file that it is in
    #[arg(value_name = "FILE")]
    pub(crate) path: PathBuf,
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Approvals {
    #[command(subcommand)]
    pub(crate) action: ApprovalsAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsAction {
    /// List what waits, oldest first
    List(ApprovalsList),
    /// Show one request with all that it would do
    Show(ApprovalsShow),
    /// Say yes: the agent may run it once, or from now on
    Grant(Grant),
    /// Say no
    Deny(Vote),
    /// List the yeses that hold for longer than one call
    Remembered(ApprovalsRemembered),
    /// Take such a yes back
    Forget(ApprovalsForget),
}

#[derive(Debug, Args)]
pub(crate) struct Grant {
    #[command(flatten)]
    pub(crate) vote: Vote,
    /// For how long: in the session that asked, for its agent in any session, or for all agents of that user
    #[arg(long, value_name = "SCOPE", value_enum)]
    pub(crate) remember: Option<Remember>,
}

/// How long a yes is to hold.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Remember {
    /// In that session
    Session,
    /// For that agent, in any session
    Agent,
    /// For all agents that act for that user
    Always,
}

#[derive(Debug, Args)]
pub(crate) struct ApprovalsRemembered {
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON for machines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ApprovalsForget {
    /// The id of the request that it was given to
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ApprovalsList {
    /// Go on showing it until Ctrl-C: the list at a terminal, else a line for each request that is new or stands otherwise
    #[arg(long)]
    pub(crate) watch: bool,
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON for machines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ApprovalsShow {
    /// The request's id
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON for machines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Vote {
    /// The request's id
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Do not ask at the terminal whether it is meant
    #[arg(long)]
    pub(crate) yes: bool,
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON for machines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// A session or an agent
    #[arg(value_name = "SESSION|AGENT", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) target: Option<String>,
    /// Everything that runs, in every server
    #[arg(long)]
    pub(crate) all: bool,
    /// Let it in again
    #[arg(long)]
    pub(crate) lift: bool,
    /// Why, for the record and for the agent
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON for machines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) context: Context,
    /// Run a dozen everyday steps in a temporary workspace under these settings, and say which fail and what changes that
    #[arg(long = "try", conflicts_with_all = ["workspace", "cwd", "target", "transport"])]
    pub(crate) tries: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The directory of a record [default: where the settings put the record]
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// Print records as plain lines, from now on, or from `--since` on
    #[arg(long)]
    pub(crate) follow: bool,
    /// Serve a page on a loopback address [default: 127.0.0.1, any port]
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:0", conflicts_with = "follow")]
    pub(crate) serve: Option<String>,
    /// Let requests be answered on the page, with a code that is printed
    #[arg(long, requires = "serve")]
    pub(crate) answer: bool,
    #[command(flatten)]
    pub(crate) filter: RecordFilter,
    /// Print the records as they are written, one JSON line each
    #[arg(long, requires = "follow")]
    pub(crate) json: bool,
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    pub(crate) action: PolicyAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyAction {
    /// Parse and strictly validate; warnings are errors
    Validate(PolicyValidate),
    /// Judge the cases beside the policies
    Test(PolicyTest),
    /// Judge them again at each save, until Ctrl-C
    Watch(PolicyWatch),
    /// Look for what is valid and yet wrong
    Lint(PolicyLint),
    /// Lay policy files out in one way
    Fmt(PolicyFmt),
    /// Say which decisions change from one set to another
    Diff(PolicyDiff),
    /// Say which kernel rules a session would get, and from which policies
    ExplainSandbox(Box<PolicyExplainSandbox>),
    /// Print what this binary holds: a profile, the schema, the groups, the programs that tables describe
    Show(PolicyShow),
}

#[derive(Debug, Args)]
pub(crate) struct PolicyShow {
    /// What to print
    #[arg(value_name = "WHAT")]
    pub(crate) what: PolicyPart,
    /// One of them by its name, or for `effects` a command; without it all of them
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyPart {
    /// A profile's policies, and the guards that hold beside them
    Profile,
    /// The schema that policies are validated against, or what declares a name
    Schema,
    /// Groups of paths, hosts and programs
    Groups,
    /// Programs with their subcommands, command groups and flags
    Programs,
    /// What a command does to other systems and to this machine, and which rows say so; without a command, the tools that have a table
    Effects,
}

/// Which policies.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PolicySet {
    /// A `.cedar` file, a policy directory or a profile's name [default: what the settings name]
    #[arg(value_name = "PATH", conflicts_with = "profile")]
    pub(crate) path: Option<PathBuf>,
    /// A profile that Palisade ships
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Settings file, for the groups in it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyValidate {
    #[command(flatten)]
    pub(crate) set: PolicySet,
    /// Print JSON for machines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyTest {
    #[command(flatten)]
    pub(crate) set: PolicySet,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: TestFormat,
    /// Also say what no case tries
    #[arg(long)]
    pub(crate) coverage: bool,
    /// The coverage in percent below which it fails
    #[arg(long, value_name = "N", requires = "coverage")]
    pub(crate) min: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyWatch {
    #[command(flatten)]
    pub(crate) set: PolicySet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestFormat {
    Human,
    Json,
    Junit,
    Tap,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyLint {
    #[command(flatten)]
    pub(crate) set: PolicySet,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: LintFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LintFormat {
    Human,
    Json,
    Sarif,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyFmt {
    /// `.cedar` files, or directories of them
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Change nothing; say which files would change
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyDiff {
    /// The set in force: a policy directory, a `.cedar` file, or a profile's name
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,
    /// The set that would take its place
    #[arg(value_name = "NEW")]
    pub(crate) new: PathBuf,
    /// Compare on the decisions of this record, a file or a directory of them, instead of the cases
    #[arg(long, value_name = "RECORD")]
    pub(crate) replay: Option<PathBuf>,
    /// A directory that the agent could read, as for `run`; repeatable
    #[arg(long = "read", value_name = "DIR", requires = "replay")]
    pub(crate) reads: Vec<PathBuf>,
    /// A directory that the agent could write, as for `run`; repeatable
    #[arg(long = "write", value_name = "DIR", requires = "replay")]
    pub(crate) writes: Vec<PathBuf>,
    /// The secret half of the key that copies are sealed to: what was redacted can be judged again then
    #[arg(long, value_name = "FILE", requires = "replay")]
    pub(crate) identity: Option<PathBuf>,
    /// Settings file, for the groups in it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON for machines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyExplainSandbox {
    #[command(flatten)]
    pub(crate) context: Context,
}
