//! Attempts to get out of a session, each looked at from outside: none succeeds, and each does without the sandbox.
//!
//! A file per kind holds a name and a script for bash a line; behind `py:` one for python3, after `prelude.py`. A name behind `!` is
//! not tried without the sandbox: its effects would be the whole machine's, or the kernel refuses it there too. One behind `?`
//! is not held, as `docs/threat-model.md` says. In `limits.txt` the first word of a name is the limit that is to end the attempt, where the
//! server watches it. The tables' environment:
//! `W` may be changed, `O` lies outside of it and holds secrets, `T` is a directory of the machine's `/tmp`, `V` is another process
//! and `S` the server, which holds a secret open as `F`; `P` and `Q` are ports, `N` and `A` sockets; `M` is what `sleep` is told.
//!
//! Needs a machine that offers mounts, and bash, coreutils, util-linux, procps, perl, git and python3 in `/usr`. The calls by number
//! are those of x86-64.
#![cfg(target_arch = "x86_64")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use palisade_sandbox::meter::{Exceeded, Meter, Watch};
use palisade_sandbox::plan::{Level, Limits, PathRule, Rights, SandboxPlan};
use palisade_sandbox::{Disks, Launch, Namespaces, prepare, probe, spawn};
use tempfile::TempDir;

const PRELUDE: &str = include_str!("prelude.py");

/// In every secret, and in the name of one.
const TOKEN: &str = "TOP-SECRET";

#[test]
fn fs_write() {
    hold(include_str!("fs-write.txt"));
}

#[test]
fn fs_read() {
    hold(include_str!("fs-read.txt"));
}

#[test]
fn processes() {
    hold(include_str!("processes.txt"));
}

#[test]
fn network() {
    hold(include_str!("network.txt"));
}

#[test]
fn kernel() {
    hold(include_str!("kernel.txt"));
}

#[test]
fn leftovers() {
    hold(include_str!("leftovers.txt"));
}

#[test]
fn the_limits() {
    hold_with(include_str!("limits.txt"), true);
}

#[test]
fn the_tables_are_long_enough() {
    let tables = [
        include_str!("fs-write.txt"),
        include_str!("fs-read.txt"),
        include_str!("processes.txt"),
        include_str!("network.txt"),
        include_str!("kernel.txt"),
        include_str!("leftovers.txt"),
        include_str!("limits.txt"),
    ];
    let names: Vec<_> = tables.iter().flat_map(|table| rows(table)).collect();
    assert!(names.len() >= 150, "{}", names.len());
}

struct Row<'a> {
    name: &'a str,
    script: &'a str,
    /// Tried without the sandbox as well.
    bare: bool,
    /// Not held yet: it is known to succeed.
    open: bool,
}

fn rows(table: &str) -> impl Iterator<Item = Row<'_>> {
    table.lines().map(|line| {
        let (name, script) = line.split_once(" | ").unwrap();
        let (bare, open) = (!name.starts_with('!'), name.starts_with('?'));
        Row { name: name.trim_start_matches(['!', '?']), script, bare, open }
    })
}

/// What a session may do in a network of its own that is refused to others: sockets that lead nowhere but to itself.
const OWN_NETWORK: [&str; 7] = [
    "tcp-listen",
    "tcp-listen-without-bind",
    "netlink-route",
    "inet6-stream",
    "inet6-datagram",
    "socket-high-bits",
    "resolve",
];

/// With a loopback device of its own a session still reaches nobody else.
#[test]
fn a_network_of_its_own_leads_nowhere() {
    if probe().namespaces == Namespaces::None {
        return;
    }
    let table = include_str!("network.txt");
    let mut escaped = Vec::new();
    for row in rows(table).filter(|row| !row.open && !OWN_NETWORK.contains(&row.name)) {
        let mut world = World::new();
        world.own_network = true;
        let (output, _) = world.sandboxed(row.script);
        escaped.extend(world.damage(&output).map(|how| format!("{}: {how}", row.name)));
    }
    assert!(escaped.is_empty(), "{}", escaped.join("\n"));
}

/// Rows that are open below level `strict`.
const HELD_AT_STRICT: [&str; 2] = ["getxattr-of-secret", "inotify-outside"];

/// At level `strict` programs learn less of files outside, and everyday ones still work.
#[test]
fn strict_tells_less_of_what_is_outside() {
    let offer = probe();
    if offer.meets(Level::Strict).is_err() {
        return;
    }
    let table = include_str!("fs-read.txt");
    let tried: Vec<_> = rows(table).filter(|row| row.open && HELD_AT_STRICT.contains(&row.name)).collect();
    assert_eq!(tried.len(), HELD_AT_STRICT.len());
    for row in tried {
        let mut world = World::new();
        world.level = Level::Strict;
        let (output, _) = world.sandboxed(row.script);
        assert_eq!(world.damage(&output), None, "{}", row.name);
    }
    let mut world = World::new();
    world.level = Level::Strict;
    let work = "cp -a given copy && ls -l copy >/dev/null && python3 -c 'import shutil; shutil.copy2(\"copy\", \"again\")' && cat again";
    let (output, _) = world.sandboxed(work);
    assert_eq!(output, "given\n");
}

fn hold(table: &str) {
    hold_with(table, false);
}

fn hold_with(table: &str, metered: bool) {
    if !probe().mounts {
        return;
    }
    let (mut escaped, mut harmless) = (Vec::new(), Vec::new());
    for Row { name, script, bare, open } in rows(table) {
        let mut world = World::new();
        world.metered = metered;
        let (output, limit) = world.sandboxed(script);
        let unlimited = (metered && !limits(name, limit, &output)).then(|| format!("{limit:?} ended it"));
        match world.damage(&output).or(unlimited) {
            Some(how) if !open => escaped.push(format!("{name}: {how}")),
            None if open => escaped.push(format!("{name} is held; say so in the table and in docs/threat-model.md")),
            _ => {}
        }
        // What root may do without a sandbox, others may not.
        if bare && probe().root {
            let world = World::new();
            let output = world.bare(script);
            // What it left running takes its time.
            let until = Instant::now() + Duration::from_secs(5);
            let harmed = loop {
                if world.damage(&output).is_some() || Instant::now() > until {
                    break Instant::now() <= until;
                }
                std::thread::sleep(Duration::from_millis(5));
            };
            if !harmed {
                harmless.push(format!("{name}: {output}"));
            }
        }
    }
    assert!(escaped.is_empty(), "{}", escaped.join("\n"));
    assert!(harmless.is_empty(), "nothing to hold:\n{}", harmless.join("\n"));
}

/// Whether this limit, or none that the server watches, is what is to end an attempt of this name.
fn limits(name: &str, limit: Option<Exceeded>, output: &str) -> bool {
    match (name.split('-').next().unwrap(), limit) {
        // The server ends what has gone past one limit, and may see that it has gone past another.
        ("fork" | "thread", Some(Exceeded::Processes | Exceeded::Memory)) => true,
        // The kernel's own bound may be met first, and end the program that meets it. What is held there goes on in the
        // place of what ended, until it has used up its time.
        ("fork" | "thread", None | Some(Exceeded::Cpu)) => output.contains("Resource temporarily unavailable"),
        ("fork" | "thread", _) => false,
        ("memory", limit) => limit == Some(Exceeded::Memory),
        ("cpu", limit) => limit == Some(Exceeded::Cpu),
        ("disk", limit) => limit == Some(Exceeded::Disk),
        (_, limit) => limit.is_none(),
    }
}

/// What the attempts are made on.
struct World {
    root: TempDir,
    tmp: TempDir,
    before: BTreeMap<PathBuf, String>,
    victim: Child,
    victim_before: String,
    tcp: TcpListener,
    udp: UdpSocket,
    _sockets: [UnixListener; 2],
    held: File,
    /// One that every process inherits which nobody keeps from it.
    _inherited: OwnedFd,
    mark: String,
    /// Its limits are watched, as those of a session are.
    metered: bool,
    /// It may use a loopback device of its own.
    own_network: bool,
    level: Level,
}

/// Bytes that an attempt may use.
const MEMORY: u64 = 64 << 20;

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        let tmp = tempfile::tempdir_in("/tmp").unwrap();
        let (work, outside) = (root.path().join("work"), root.path().join("outside"));
        for directory in [&work, &outside, &outside.join("dir"), &outside.join("empty")] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(work.join("given"), "given\n").unwrap();
        let secret = format!("echo {TOKEN}\n");
        for name in ["file", "secret", TOKEN, "dir/file"] {
            fs::write(outside.join(name), &secret).unwrap();
        }
        fs::write(outside.join("mod.py"), format!("print('{TOKEN}')\n")).unwrap();
        fs::write(outside.join("mod.pl"), format!("print '{TOKEN}'; 1;\n")).unwrap();
        for name in ["file", "secret"] {
            rustix::fs::setxattr(outside.join(name), "user.mark", TOKEN.as_bytes(), rustix::fs::XattrFlags::empty())
                .unwrap();
        }
        let mark = format!("{}.{}", 100_000 + std::process::id(), WORLDS.fetch_add(1, Ordering::Relaxed));
        let name = root.path().file_name().unwrap().to_str().unwrap().to_owned();
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let sockets =
            [UnixListener::bind(outside.join("socket")).unwrap(), UnixListener::bind_addr(&abstract_name).unwrap()];
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        tcp.set_nonblocking(true).unwrap();
        udp.set_nonblocking(true).unwrap();
        let held = File::open(outside.join("secret")).unwrap();
        let inherited = rustix::io::dup(&held).unwrap();
        let mut victim = Command::new("/usr/bin/perl");
        victim.args(["-e", "$| = 1; print 1; sleep 1000", TOKEN]).env("MARK", TOKEN).current_dir(&outside);
        victim.stdin(File::open(outside.join("secret")).unwrap()).stdout(Stdio::piped()).process_group(0);
        let mut victim = victim.spawn().unwrap();
        victim.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let victim_before = state(victim.id());
        let before = look(&outside);
        Self {
            root,
            tmp,
            before,
            victim,
            victim_before,
            tcp,
            udp,
            _sockets: sockets,
            held,
            _inherited: inherited,
            mark,
            metered: false,
            own_network: false,
            level: Level::Default,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let abstract_name = self.root.path().file_name().unwrap().to_owned();
        let number = |number: u32| OsString::from(number.to_string());
        let rows: [(&str, OsString); 14] = [
            ("PATH", "/usr/bin:/usr/sbin:/bin:/sbin".into()),
            ("HOME", self.path("outside").into()),
            ("W", self.path("work").into()),
            ("O", self.path("outside").into()),
            ("T", self.tmp.path().into()),
            ("V", number(self.victim.id())),
            ("S", number(std::process::id())),
            ("F", number(self.held.as_raw_fd().unsigned_abs())),
            ("P", number(self.tcp.local_addr().unwrap().port().into())),
            ("Q", number(self.udp.local_addr().unwrap().port().into())),
            ("N", self.path("outside/socket").into()),
            ("A", abstract_name),
            ("M", self.mark.clone().into()),
            ("LC_ALL", "C.UTF-8".into()),
        ];
        rows.into_iter().map(|(name, value)| (name.into(), value)).collect()
    }

    fn argv(script: &str) -> Vec<OsString> {
        match script.strip_prefix("py: ") {
            Some(code) => ["python3", "-c", &format!("{PRELUDE}\n{code}\n")].map(OsString::from).into(),
            None => ["bash", "-c", script].map(OsString::from).into(),
        }
    }

    fn program(script: &str) -> &'static str {
        if script.starts_with("py: ") { "/usr/bin/python3" } else { "/usr/bin/bash" }
    }

    fn output(&self) -> (PathBuf, [OwnedFd; 2]) {
        let path = self.path("output");
        let file = File::create(&path).unwrap();
        (path, [file.try_clone().unwrap().into(), file.into()])
    }

    fn sandboxed(&self, script: &str) -> (String, Option<Exceeded>) {
        let (path, [stdout, stderr]) = self.output();
        let launch = Launch {
            program: Self::program(script).into(),
            argv: Self::argv(script),
            env: self.environment(),
            cwd: self.path("work"),
            stdin: File::open("/dev/null").unwrap().into(),
            stdout,
            stderr,
            extra: Vec::new(),
            controlling_terminal: None,
        };
        let plan = self.plan();
        let process = Arc::new(spawn(prepare(&plan, launch).unwrap()).unwrap());
        let disks = Disks::of(&plan, &self.path("work"));
        // A machine with other work takes long to spend a second of processor time.
        let patience = if self.metered { 4 * TIMEOUT } else { TIMEOUT };
        let meter = self.metered.then(|| Meter::start(&process, plan.limits, disks).unwrap().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let limit = runtime.block_on(async {
            let mut watch = match &meter {
                Some(meter) => meter.watch().await,
                None => Watch::none(),
            };
            let limit = tokio::select! {
                _ended = tokio::time::timeout(patience, process.wait()) => None,
                // As for a command that does not end by itself when all around it does.
                limit = watch.exceeded() => Some(limit),
            };
            process.kill().unwrap();
            process.wait().await.unwrap();
            limit.or_else(|| watch.now())
        });
        (String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned(), limit)
    }

    fn bare(&self, script: &str) -> String {
        let (path, [stdout, stderr]) = self.output();
        let mut command = Command::new(Self::program(script));
        command.args(&Self::argv(script)[1..]).env_clear().envs(self.environment()).current_dir(self.path("work"));
        let mut child = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).process_group(0).spawn().unwrap();
        let until = Instant::now() + TIMEOUT;
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > until {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
    }

    fn plan(&self) -> SandboxPlan {
        let rule = |path: &str, rights| PathRule { path: path.into(), rights, optional: true };
        let run = Rights::READ | Rights::EXECUTE;
        let mut rules: Vec<_> = ["/usr", "/lib", "/lib64", "/bin", "/sbin"].map(|path| rule(path, run)).into();
        let read = ["/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/proc"];
        rules.extend(read.map(|path| rule(path, Rights::READ)));
        rules.extend(
            ["/dev/null", "/dev/zero", "/dev/tty", "/dev/ptmx", "/dev/pts"]
                .map(|path| rule(path, Rights::READ | Rights::WRITE)),
        );
        rules.push(rule(self.path("work").to_str().unwrap(), run | Rights::MOVE));
        rules.retain(|rule| !rule.path.is_symlink());
        let limits = Limits {
            memory: Some(MEMORY),
            file_size: Some(1 << 20),
            open_files: Some(200),
            // Those that the server watches, which it does for the table of limits alone.
            processes: self.metered.then_some(60),
            cpu: self.metered.then_some(Duration::from_secs(1)),
            disk: self.metered.then_some(8 << 20),
            ..Limits::default()
        };
        SandboxPlan {
            rules,
            masks: Vec::new(),
            instead: None,
            blank: Vec::new(),
            stand_ins: None,
            written: Vec::new(),
            searched: true,
            scratch: Rights::NONE,
            loopback: self.own_network,
            network: false,
            limits,
            level: self.level,
        }
    }

    /// What an attempt did, by what it printed and by what is to be seen out here.
    fn damage(&self, output: &str) -> Option<String> {
        if output.contains(TOKEN) || output.contains("ESCAPED") {
            return Some(format!("it told {output:?}"));
        }
        let after = look(&self.path("outside"));
        if after != self.before {
            return Some(format!("{:?} became {after:?}", self.before));
        }
        let victim = state(self.victim.id());
        if victim != self.victim_before {
            return Some(format!("{} became {victim}", self.victim_before));
        }
        if self.tcp.accept().is_ok() || self.udp.recv(&mut [0]).is_ok() {
            return Some("something arrived".to_owned());
        }
        let traces = ["/dev/shm", "/var/tmp"].map(|place| Path::new(place).join(format!("escaped-{}", self.mark)));
        if traces.iter().any(|trace| trace.exists()) || self.tmp.path().join("new").exists() {
            return Some("a file was made".to_owned());
        }
        (!self.sleepers().is_empty()).then(|| "something is left".to_owned())
    }

    /// Processes of this attempt's.
    fn sleepers(&self) -> Vec<i32> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let ours = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line == format!("sleep\0{}\0", self.mark).as_bytes()
        };
        numbers.filter(ours).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _gone = self.victim.kill();
        let _reaped = self.victim.wait();
        for pid in self.sleepers() {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        for place in ["/dev/shm", "/var/tmp"] {
            let _none = fs::remove_file(Path::new(place).join(format!("escaped-{}", self.mark)));
        }
    }
}

/// So that each has a mark of its own.
static WORLDS: AtomicU32 = AtomicU32::new(0);

const TIMEOUT: Duration = Duration::from_secs(20);

/// Everything below a directory: what it is, whose, since when, its contents and attributes.
fn look(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let about = fs::symlink_metadata(&path).unwrap();
        if about.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let contents = if about.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let mut names = vec![0; 1024];
        let count = rustix::fs::llistxattr(&path, &mut names[..]).unwrap_or(0);
        let line = format!(
            "{:o} {}:{} {} {}.{} {:?} {:?}",
            about.permissions().mode(),
            about.uid(),
            about.gid(),
            about.nlink(),
            about.mtime(),
            about.mtime_nsec(),
            String::from_utf8_lossy(&contents),
            String::from_utf8_lossy(&names[..count]),
        );
        seen.insert(path, line);
    }
    seen
}

/// What others can do to a process, as the kernel tells it; nothing once it is dead.
fn state(pid: u32) -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let stat = read("stat");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // The scheduler's words for a process that rests are all the same here.
    let alive = fields.first().map(|state| !matches!(*state, "Z" | "X" | "T" | "t"));
    let chosen: Vec<&str> = [15, 16, 38].iter().filter_map(|field| fields.get(*field).copied()).collect();
    let cpus: Vec<String> =
        read("status").lines().filter(|line| line.starts_with("Cpus_allowed:")).map(str::to_owned).collect();
    format!("{alive:?} {chosen:?} {cpus:?} {} {} {}", read("comm"), read("oom_score_adj"), read("limits"))
}
