//! What a session has for itself, under the shipped profile `developer` and through the whole pipeline: its `/tmp`, its loopback device,
//! its terminals, and caches for the tools of its agent.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::people::call;
use crate::support::world::{Ended, World};

/// The machine gives sessions mounts and a network of their own.
fn can(world: &World) -> bool {
    let found = world.call(&["doctor", "--json"]).json();
    found["mounts"] == json!(true) && found["namespaces"] != json!("none")
}

/// Each by `check` and by `run`, with what it prints.
const TEMPORARY: &[(&str, &str)] = &[
    ("echo hi > $TMPDIR/x; cat $TMPDIR/x", "hi\n"),
    ("echo hi > \"$TMPDIR/x\" && cat \"${TMPDIR}/x\" && rm \"$TMPDIR/x\"", "hi\n"),
    ("echo a > /tmp/x && cat /tmp/x && rm /tmp/x && ls /tmp/x 2>/dev/null | wc -l", "a\n0\n"),
    ("mktemp | wc -l; mktemp -d | wc -l", "1\n1\n"),
    ("echo a > /dev/shm/x && cat /dev/shm/x", "a\n"),
    ("cd /tmp && echo a > b && cat b", "a\n"),
    ("cd $TMPDIR && echo a > b && cat b", "a\n"),
    ("mkdir -p /tmp/d/e && cp -r /tmp/d /tmp/f && rm -r /tmp/d && ls /tmp/f", "e\n"),
    ("printf '#!/bin/sh\\necho ran\\n' > /tmp/x.sh; chmod +x /tmp/x.sh; /tmp/x.sh; sh /tmp/x.sh", "ran\nran\n"),
    ("printf '#!/bin/sh\\necho ran\\n' > $TMPDIR/x.sh; chmod +x $TMPDIR/x.sh; $TMPDIR/x.sh", "ran\n"),
];

/// cargo-nextest, for one, starts the program again in which it runs.
#[test]
fn a_program_starts_itself() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    for (command, printed) in [
        (
            "echo \"import os; os.execv('/proc/self/exe', ['python3', '-c', 'print(1)'])\" > again.py; /usr/bin/python3 again.py",
            "1\n",
        ),
        ("cp /usr/bin/bash own; ./own -c 'exec /proc/self/exe -c \"echo ran\"'", "ran\n"),
        ("bash -c 'exec /proc/$$/exe -c \"echo ran\"'", "ran\n"),
    ] {
        let ended = world.run(command);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), printed), "{command}: {ended:?}");
    }
}

#[test]
fn temporary_files_are_the_sessions_own() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    let check = |command: &str| world.call(&["check", command]);
    for (command, printed) in TEMPORARY {
        let checked = check(command);
        assert_eq!(checked.code, Some(0), "{command}: {checked:?}");
        let ended = world.run(command);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), *printed), "{command}: {ended:?}");
    }
    for command in [
        "echo x > /tmp/../etc/x",
        "cat /tmp/../etc/shadow",
        "echo x > /var/tmp/x",
        "ln -s /etc/shadow /tmp/s && cat /tmp/s",
    ] {
        let checked = check(command);
        assert_ne!(checked.code, Some(0), "{command}: {checked:?}");
    }
    // A `TMPDIR` of the agent's own is no known place: the kernel decides.
    for command in
        ["TMPDIR=/etc; echo x > $TMPDIR/palisade-test", "export TMPDIR=$HOME; echo x > $TMPDIR/palisade-test"]
    {
        let ended = world.run(command);
        assert_ne!(ended.code, Some(0), "{command}: {ended:?}");
    }
    assert!(!world.path("home/palisade-test").exists() && !fs::exists("/etc/palisade-test").unwrap_or(true));
}

/// The machine's own `/tmp` is neither read nor written, and one session's is not another's.
#[test]
fn nothing_of_the_machines_tmp_is_there() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    let theirs = tempfile::tempdir_in("/tmp").expect("a directory");
    fs::write(theirs.path().join("x"), "theirs").expect("a file");
    std::os::unix::fs::symlink("/etc/shadow", theirs.path().join("link")).expect("a link");
    let path = theirs.path().display();
    let ended = world.run(&format!("cat {path}/x {path}/link; ls -a /tmp"));
    let name = theirs.path().file_name().expect("a name").to_str().expect("text").to_owned();
    assert!(!ended.stdout.contains("theirs") && !ended.stdout.contains(&name), "{ended:?}");
    assert!(!ended.stdout.contains("root:"), "{ended:?}");
    let ended = world.run(&format!("mkdir -p {path} && echo own > {path}/x && cat {path}/x"));
    assert_eq!(ended.stdout, "own\n", "{ended:?}");
    assert_eq!(fs::read_to_string(theirs.path().join("x")).expect("a file"), "theirs");
    let ended = world.run(&format!("cat {path}/x"));
    assert_ne!(ended.code, Some(0), "another session's: {ended:?}");
}

/// A link that the session itself has made is followed for the next command.
#[test]
fn what_lies_in_a_sessions_tmp_is_seen_in_its_view() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    world.write("work/link.py", "import os\nos.symlink('/etc/shadow', '/tmp/link')\n");
    let mut server = Server::start_with(&world, &[]);
    let session = call(&mut server, "session_open", &json!({}))["session"].clone();
    let exec = |server: &mut Server, command: &str| -> Value {
        call(server, "exec", &json!({ "command": command, "session": session }))
    };
    let made = exec(&mut server, "echo a > /tmp/x; mkdir /tmp/d; /usr/bin/python3 link.py; cat /tmp/x");
    assert_eq!(made["stdout"], "a\n", "{made}");
    let read = exec(&mut server, "cat /tmp/*");
    assert_ne!(read["status"], "done", "a link to a secret is among it: {read}");
    let read = exec(&mut server, "cat /tmp/link");
    assert!(read.to_string().contains("secrets-unreadable"), "{read}");
    let read = exec(&mut server, "cd /tmp/d && cat ../x && rm /tmp/link && cat /tmp/x $TMPDIR/../../x");
    assert_eq!(read["stdout"], "a\na\na\n", "{read}");
}

const SERVER: &str = "import http.server, sys\nhttp.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), \
                      http.server.SimpleHTTPRequestHandler).serve_forever()\n";

/// Waits until the port answers, then asks for a page.
fn fetch(port: u16) -> String {
    format!(
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \
         curl -s localhost:{port}/page && break; sleep 0.5; done; curl -s http://127.0.0.1:{port}/page"
    )
}

#[test]
fn a_session_reaches_its_own_servers_and_not_the_machines() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    world.write("work/serve.py", SERVER);
    world.write("work/page", "hello\n");
    let ended = world.run(&format!("/usr/bin/python3 serve.py 8123 2>/dev/null & {}", fetch(8123)));
    assert!(ended.stdout.ends_with("hello\nhello\n"), "{ended:?}");
    // A later command of the same session finds it.
    let mut server = Server::start_with(&world, &[]);
    let session = call(&mut server, "session_open", &json!({}))["session"].clone();
    let exec = |server: &mut Server, command: &str| -> Value {
        call(server, "exec", &json!({ "command": command, "session": session }))
    };
    exec(&mut server, "/usr/bin/python3 serve.py 8124 >log 2>&1 &");
    let fetched = exec(&mut server, &fetch(8124));
    assert_eq!(fetched["stdout"], "hello\nhello\n", "{fetched}");
    // Neither directly nor through the proxy.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    for command in [
        format!("curl -s -m 3 http://127.0.0.1:{port}/"),
        format!("curl -s -m 3 http://localhost:{port}/"),
        format!("curl -s -m 3 -x http://127.0.0.1:3128 --noproxy '' http://127.0.0.1:{port}/"),
        format!("curl -s -m 3 -p -x http://127.0.0.1:3128 --noproxy '' http://localhost:{port}/"),
    ] {
        world.program("reach", &format!("#!/bin/sh\n{command}\n"));
        world.run("./reach");
        assert!(listener.accept().is_err(), "{command} reached the machine");
    }
}

/// Programs that ask for a terminal of their own get one that is nobody else's.
#[test]
fn terminals_are_the_sessions_own() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    world.write("work/t.py", "import os, pty\npty.spawn(['/bin/sh', '-c', 'tty; echo here'])\n");
    world.write("work/list.py", "import os\nprint(sorted(os.listdir('/dev/pts')))\n");
    let ended = world.run("/usr/bin/python3 t.py; /usr/bin/python3 list.py");
    assert!(ended.stdout.contains("/dev/pts/0") && ended.stdout.contains("here"), "{ended:?}");
    // The machine's are not there.
    assert!(ended.stdout.trim_end().ends_with("['ptmx']"), "{ended:?}");
}

/// The tools' caches are the agent's own and outlast a session; another agent's are out of reach.
#[test]
fn caches_outlast_a_session_and_are_one_agents() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    let run = |agent: &str, command: &str| {
        Ended::of(world.palisade().env_remove("XDG_CACHE_HOME").args(["run", "--agent", agent, command]))
    };
    world.program("fill", "#!/bin/sh\nmkdir -p \"$XDG_CACHE_HOME/x\" && echo kept > \"$XDG_CACHE_HOME/x/file\"; echo \"$XDG_CACHE_HOME\"\n");
    world.program("look", "#!/bin/sh\ncat \"$XDG_CACHE_HOME/x/file\"\n");
    let filled = run("one", "./fill");
    assert_eq!(filled.code, Some(0), "{filled:?}");
    let looked = run("one", "./look");
    assert_eq!(looked.stdout, "kept\n", "{looked:?}");
    let looked = run("two", "./look");
    assert_eq!(looked.stdout, "", "{looked:?}");
    let place = filled.stdout.trim();
    assert!(place.starts_with(&world.path("home/.cache/palisade/agents").display().to_string()), "{place}");
    world.program("peek", &format!("#!/bin/sh\ncat {place}/x/file; echo no > {place}/x/file\n"));
    let peeked = run("two", "./peek");
    assert_eq!(peeked.stdout, "", "{peeked:?}");
    assert_eq!(fs::read_to_string(format!("{place}/x/file")).expect("a file"), "kept\n");
    // Nothing else of the home can be written.
    world.program("home", "#!/bin/sh\necho x > \"$HOME/.cache/x\"; mkdir \"$HOME/.cache/palisade/agents/y\"\n");
    run("one", "./home");
    assert!(!world.path("home/.cache/x").exists() && !world.path("home/.cache/palisade/agents/y").exists());
}

/// A client runs `bash -lc`, which reads what a person has set up for shells. A session finds that empty, and nothing complains.
#[test]
fn a_login_shell_starts_without_complaint() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    // Not below `/tmp`, of which a session has its own.
    let home = tempfile::tempdir_in("/var/tmp").expect("a directory");
    for name in [".profile", ".bashrc", ".bash_profile"] {
        fs::write(home.path().join(name), "export TOKEN_OF_THE_PERSON=abc; echo from a person's file\n")
            .expect("a file");
    }
    let run = |command: &str| Ended::of(world.palisade().env("HOME", home.path()).args(["run", command]));
    let ended = run("bash -lc 'echo $HOME | wc -l; echo [$TOKEN_OF_THE_PERSON]'");
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), "1\n[]\n", ""), "{ended:?}");
    world.write("work/look.py", "import os\nprint(repr(open(os.path.expanduser('~/.bashrc')).read()))\nopen(os.path.expanduser('~/.bashrc'), 'a')\n");
    let ended = run("/usr/bin/python3 look.py");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), "''\n"), "{ended:?}");
    assert_eq!(run("cat ~/.bashrc").code, Some(126));
}

const TURNS: &str = r#"
import os
cargo = os.path.expanduser('~/.cargo')
def attempt(what, act):
    try:
        act()
        print(what, 'done')
    except OSError:
        print(what, 'refused')
attempt('crate', lambda: os.makedirs(cargo + '/registry/palisade-test', exist_ok=True))
attempt('file', lambda: open(cargo + '/palisade-test', 'w').close())
attempt('program', lambda: open(cargo + '/bin/palisade-test', 'w').close())
attempt('programs', lambda: os.rename(cargo + '/bin', cargo + '/palisade-test-bin'))
attempt('persons', lambda: os.mkdir(cargo + '/.persons/registry/palisade-test'))
"#;

/// cargo takes a crate's path for a part of what it builds. A person and an agent find it at the same one, and the agent's is its own.
#[test]
fn a_person_and_an_agent_build_in_turns() {
    let world = World::new();
    let home = std::env::var_os("HOME").unwrap_or_default();
    let cargo_home = Path::new(&home).join(".cargo");
    if !can(&world) || !cargo_home.join("registry").is_dir() {
        return;
    }
    world.write(
        "work/Cargo.toml",
        "[package]\nname = \"turns\"\nversion = \"0.1.0\"\n[dependencies]\ncfg-if = \"1\"\n[lib]\npath = \"lib.rs\"\n",
    );
    world.write("work/lib.rs", "");
    world.write("work/turns.py", TURNS);
    let build = "cargo build --offline";
    // `tests/run` has cargo lint what it builds, which is none of this person's.
    let person = || {
        let mut shell = Command::new("sh");
        Ended::of(shell.args(["-c", build]).current_dir(world.workspace()).env_remove("RUSTC_WORKSPACE_WRAPPER"))
    };
    let agent = |command: &str| {
        Ended::of(world.palisade().env("HOME", &home).env_remove("XDG_CACHE_HOME").args(["run", command]))
    };
    let built = person();
    assert!(built.code == Some(0) && built.stderr.contains("Compiling cfg-if"), "{built:?}");
    let built = agent(build);
    assert!(built.code == Some(0) && !built.stderr.contains("Compiling"), "{built:?}");
    let built = agent("echo 'pub fn more() {}' > lib.rs && cargo build --offline");
    assert!(built.stderr.contains("Compiling turns") && !built.stderr.contains("Compiling cfg-if"), "{built:?}");
    let built = person();
    assert!(built.code == Some(0) && !built.stderr.contains("Compiling"), "{built:?}");
    let tried = agent("/usr/bin/python3 turns.py");
    assert_eq!(
        tried.stdout, "crate done\nfile done\nprogram refused\nprograms refused\npersons refused\n",
        "{tried:?}"
    );
    for name in ["registry/palisade-test", "palisade-test", "bin/palisade-test"] {
        assert!(!cargo_home.join(name).exists(), "{name}");
    }
}

const TRACER: &str = r#"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def trace(request, process):
    return libc.ptrace(ctypes.c_long(request), ctypes.c_long(process), 0, 0)
ATTACH, SEIZE = 16, 0x4206
print('shell', trace(ATTACH, os.getppid()), trace(SEIZE, os.getppid()))
print('first', trace(ATTACH, 1), trace(SEIZE, 1))
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.read(read, 1)
    try:
        os.execv('/bin/echo', ['echo', 'ran'])
    except OSError:
        print('not executed', flush=True)
    os._exit(0)
print('child', trace(SEIZE, child), flush=True)
os.write(write, b'x')
os.waitpid(child, 0)
"#;

/// Own children may be traced, and execute what policy permits where own code gains nothing. The shell, which speaks for the text, may
/// not be traced.
#[test]
fn a_program_traces_its_children_and_nothing_else() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    world.write("work/tracer.py", TRACER);
    let ended = world.run("/usr/bin/python3 tracer.py");
    assert_eq!(ended.stdout, "shell -1 -1\nfirst -1 -1\nchild 0\nran\n", "{ended:?}");
    // The guard goes on.
    let ended = world.run("/usr/bin/python3 tracer.py > /dev/null; /bin/echo fine");
    assert_eq!(ended.stdout, "fine\n", "{ended:?}");
}

/// The guard looks at what a tracer holds. A child that has ended by then is no reason to kill the tracer.
#[test]
fn a_tracer_of_ended_children_goes_on() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    let tracer = "import ctypes, os, time\nlibc = ctypes.CDLL(None, use_errno=True)\nseized = 0\n\
                  for n in range(30):\n child = os.fork()\n if child == 0: time.sleep(0.001 * (n % 3)); os._exit(0)\n \
                  seized += libc.ptrace(0x4206, child, 0, 0) == 0 or ctypes.get_errno() == 1\n os.waitpid(child, 0)\nprint(seized)\n";
    world.write("work/tracer.py", tracer);
    let ended = world.run("/usr/bin/python3 tracer.py");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "30\n"), "{ended:?}");
}

/// LeakSanitizer stops the program that it looks at, by another of that program's own.
#[test]
fn leaks_are_found() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    world.write(
        "work/a.c",
        "#include <stdlib.h>\nint main(int n, char **v) { if (n > 1) v[0] = malloc(9); return 0; }\n",
    );
    let built = std::process::Command::new("gcc")
        .args(["-fsanitize=address", "-o", "a", "a.c"])
        .current_dir(world.workspace())
        .output();
    if !built.is_ok_and(|built| built.status.success()) {
        return;
    }
    let ended = world.run("./a");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
}

/// Git works in a linked worktree; hooks and configuration of the repository stay as they are, and a file that an agent wrote grants nothing.
#[test]
fn a_linked_worktree_reaches_its_repository() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    let git = |arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.args([
            "-C",
            world.path(".").to_str().expect("UTF-8"),
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.invalid",
        ]);
        assert!(git.args(arguments).status().is_ok_and(|status| status.success()), "{arguments:?}");
    };
    fs::remove_dir(world.workspace()).expect("an empty directory");
    git(&["init", "--quiet", "main"]);
    git(&["-C", "main", "commit", "--quiet", "--allow-empty", "-m", "first"]);
    git(&["-C", "main", "worktree", "add", "--quiet", "../work"]);
    world.write("home/.gitconfig", "[user]\n\tname = t\n\temail = t@example.invalid\n");
    let ended = world.run("echo x > a && git add a && git commit -qm second && git log --oneline | wc -l");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "2\n"), "{ended:?}");
    let common = world.path("main/.git").display().to_string();
    let before = fs::read_to_string(world.path("main/.git/config")).expect("a file");
    world.program("plant", &format!("#!/bin/sh\necho x > {common}/hooks/post-commit\necho '[x]' >> {common}/config\necho ../../evil > {common}/commondir\n"));
    world.run("./plant");
    assert!(!world.path("main/.git/commondir").exists());
    assert!(!world.path("main/.git/hooks/post-commit").exists());
    assert_eq!(fs::read_to_string(world.path("main/.git/config")).expect("a file"), before);
    // The same words about a repository that knows nothing of it.
    git(&["init", "--quiet", "other"]);
    fs::create_dir(world.path("other/.git/worktrees")).expect("a directory");
    fs::rename(world.path("main/.git/worktrees/work"), world.path("other/.git/worktrees/work")).expect("a move");
    world.write("other/.git/worktrees/work/gitdir", "/somewhere/else/.git\n");
    let own = world.path("other/.git/worktrees/work").display().to_string();
    world.write("work/.git", &format!("gitdir: {own}\n"));
    world.program("reach", &format!("#!/bin/sh\necho x > {own}/x\n"));
    world.run("./reach");
    assert!(!world.path("other/.git/worktrees/work/x").exists());
}

const SOCKETS: &str = r#"
import os, socket, sys, threading
def talk(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    threading.Thread(target=lambda: server.accept()[0].sendall(b"pong")).start()
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    print(client.recv(4).decode())
def reach(path):
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        print("reached")
    except OSError as error:
        print(error.errno)
if len(sys.argv) == 1:
    for path in ["work.sock", "/tmp/own.sock", os.environ["TMPDIR"] + "/own.sock", "\0own"]:
        talk(path)
    reach("nobody.sock")
    reach("talk.py")
for path in sys.argv[1:]:
    reach(path.replace("@", "\0"))
for pair in [lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM), lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_RAW), lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)]:
    try:
        pair()
        print("datagrams")
    except OSError as error:
        print(error.errno)
"#;

/// Programs of a session talk by sockets in its own places and by abstract names of its own; the machine's daemons are out of reach by
/// a path, a link or a name, and by datagrams, which say themselves where they go.
#[test]
fn local_sockets_are_the_sessions_own() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    world.write("work/talk.py", SOCKETS);
    let ended = world.run("/usr/bin/python3 talk.py");
    assert_eq!(ended.stdout, "pong\npong\npong\npong\n2\n111\n13\n13\n13\n", "{ended:?}");

    // Where a session sees it, which is not in `/tmp`.
    let elsewhere = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let outside = elsewhere.path().join("outside.sock");
    let listener = UnixListener::bind(&outside).expect("a socket");
    // The machine's `/tmp`, of which the session has its own.
    let inside = world.path("inside.sock");
    let hidden = UnixListener::bind(&inside).expect("a socket");
    let name = format!("palisade-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let named = UnixListener::bind_addr(&address).expect("a socket");
    std::os::unix::fs::symlink(&outside, world.path("work/link.sock")).expect("a link");
    for listener in [&listener, &named, &hidden] {
        listener.set_nonblocking(true).expect("a listener");
    }
    world.program(
        "reach",
        &format!(
            "#!/bin/sh\nexec /usr/bin/python3 talk.py {0} link.sock ../../..{0} @{name} \
             /proc/self/../self/root{1} /proc/self/ns/../../self/root{1} /proc/1/root{1}\n",
            outside.display(),
            inside.display()
        ),
    );
    let ended = world.run("./reach");
    assert_eq!(ended.stdout, "13\n13\n13\n111\n2\n40\n2\n13\n13\n13\n", "{ended:?}");
    assert!(listener.accept().is_err() && named.accept().is_err() && hidden.accept().is_err());
}

/// What the kernel or the server keeps a program from is told in the result, each cause once, although the program says nothing of it.
#[test]
fn what_a_program_is_kept_from_is_told() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    let elsewhere = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let outside = elsewhere.path().join("outside.sock");
    let _listener = UnixListener::bind(&outside).expect("a socket");
    world.write("work/server.key", "of the person\n");
    world.write(
        "work/try.py",
        &format!(
            "import os, socket\n\
             def attempt(act):\n    for _ in range(3):\n        try: act()\n        except OSError: pass\n\
             attempt(lambda: socket.socket(socket.AF_UNIX).connect({outside:?}))\n\
             attempt(lambda: socket.create_connection(('192.0.2.1', 25), 2))\n\
             attempt(lambda: open('.envrc', 'w'))\n",
        ),
    );
    let ended = world.run("/usr/bin/python3 try.py; ls | wc -l");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for told in [
        format!("palisade: denied: a program: connect {}\n", outside.display()),
        "palisade: denied: a program: connect 192.0.2.1:25\n".to_owned(),
        format!("palisade: denied: a program: make {}\n", world.path("work/.envrc").display()),
    ] {
        assert_eq!(ended.stderr.matches(&told).count(), 1, "{told}: {ended:?}");
    }

    world.write("work/read.py", "open(''.join(['server.k', 'ey']))\n");
    for script in ["/usr/bin/python3 read.py", "/usr/bin/python3 read.py 2>&1 | tail -1"] {
        let ended = world.run(script);
        let told = "palisade: `server.key` is closed to this session: secrets-unreadable\n";
        assert_eq!(ended.stderr.matches(told).count(), 1, "{script}: {ended:?}");
    }
}

/// The names of files that hold secrets are none, and what they hold is masked.
#[test]
fn a_pattern_that_is_listed_may_fit_secrets() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    for name in ["work/key.pem", "work/other.pem"] {
        world.write(name, "-----BEGIN PRIVATE KEY-----\n");
    }
    world.write("work/a.txt", "a\n");
    for (command, printed) in [
        ("ls *.pem", "key.pem\nother.pem\n"),
        ("ls -d *", "a.txt\nkey.pem\nother.pem\n"),
        ("stat -c %n *.pem *.txt", "key.pem\nother.pem\na.txt\n"),
    ] {
        let ended = world.run(command);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), printed), "{command}: {ended:?}");
    }
    assert_eq!(world.run("cat *.pem").code, Some(126));
}

/// A lock file that has all that a project asks for answers `npm install`; a person is asked once it lags behind. A tool that is installed
/// runs behind a file of the person's that the shell reads.
#[test]
fn what_the_project_names_is_installed_without_a_question() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    let package = |range: &str| format!(r#"{{"name": "w", "dependencies": {{"ms": "{range}"}}}}"#);
    world.write("work/package.json", &package("^2.1.0"));
    let verdict = |command: &str| {
        let ended = world.call(&["check", "--json", command]);
        let verdict: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        verdict["decision"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(verdict("npm install"), "ask");
    world.write(
        "work/package-lock.json",
        r#"{"lockfileVersion": 3, "packages": {"": {"dependencies": {"ms": "^2.1.0"}},
            "node_modules/ms": {"version": "2.1.3", "resolved": "https://registry.example.com/ms.tgz"}}}"#,
    );
    assert_eq!(verdict("npm install"), "allow");
    assert_eq!(verdict("npm install left-pad"), "ask");
    world.write("work/package.json", &package("^3.0.0"));
    assert_eq!(verdict("npm install"), "ask");

    world.write("work/settings.sh", "export GREETING=hello\n");
    for directory in ["work/node_modules/.bin", "work/node_modules/tool"] {
        fs::create_dir_all(world.path(directory)).expect("a directory");
    }
    world.program("node_modules/tool/tool.sh", "#!/bin/sh\necho $GREETING\n");
    world.write("work/node_modules/tool/package.json", r#"{"name": "tool", "version": "1.0.0", "bin": "tool.sh"}"#);
    symlink("../tool/tool.sh", world.path("work/node_modules/.bin/tool")).expect("a link");
    let unread = "[ -s \"$HOME/.unread.sh\" ] && . \"$HOME/.unread.sh\"; . ./settings.sh; npx tool";
    let ended = world.run(unread);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "hello\n"), "{ended:?}");
    assert_eq!(verdict("[ -s \"$HOME/.unread.sh\" ] && . \"$HOME/.unread.sh\"; npx other"), "ask");
}

/// What one command has made, a later one may move and remove: repositories with their settings and hooks, worktrees, packages.
#[test]
fn what_an_earlier_command_has_made_is_moved_and_removed() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    let steps = [
        "git init -q . && git -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m first",
        "git clone -q . copy && git init -q other && mkdir package && touch x",
        "cd copy && git config user.name a && git config user.email a@example.com && git commit -q --allow-empty -m second",
        "mv copy moved && git -C moved log --oneline | wc -l",
        "rm -rf moved",
        "git worktree add -q trees/fix -b fix",
        "git worktree remove trees/fix && git branch -q -D fix && test ! -e trees/fix",
        "tar -xf package.tar",
        "rm -rf node_modules other",
        "test ! -e node_modules -a ! -e moved -a ! -e other",
    ];
    let packed = world.path("package/node_modules/p");
    fs::create_dir_all(packed.join(".vscode")).expect("a directory");
    for name in [".vscode/tasks.json", ".envrc"] {
        fs::write(packed.join(name), "true\n").expect("a file");
    }
    let tar = std::process::Command::new("tar")
        .args(["-C", &world.path("package").display().to_string(), "-cf"])
        .args([&world.path("work/package.tar").display().to_string(), "node_modules"])
        .status();
    assert!(tar.is_ok_and(|tar| tar.success()));
    for step in steps {
        let ended = world.run(step);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{step}: {ended:?}");
    }
}

/// A session's programs make anew what another session has made and removed while the first one lived.
#[test]
fn what_another_session_has_removed_is_made_anew() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    let mut server = Server::start_with(&world, &[]);
    let session = call(&mut server, "session_open", &json!({}))["session"].clone();
    let make = "git init -q copy && git -C copy status --short";
    call(&mut server, "exec", &json!({ "command": "true", "session": session }));
    for _ in 0..2 {
        let beside = call(&mut server, "exec", &json!({ "command": format!("{make} && sleep 0.2 && rm -rf copy") }));
        assert_eq!((&beside["exit_code"], &beside["stderr"]), (&json!(0), &Value::Null), "{beside}");
        let own = format!("{make} && sleep 0.2 && git -C copy log 2>/dev/null; rm -rf copy && test ! -e copy");
        let ran = call(&mut server, "exec", &json!({ "command": own, "session": session }));
        assert_eq!((&ran["exit_code"], &ran["stderr"]), (&json!(0), &Value::Null), "{ran}");
    }
}

/// The workspace's own repository is covered from the second session on, whoever made it.
#[test]
fn what_is_at_the_top_of_the_workspace_stays_covered() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    world.write("work/change", "echo '[alias] x = !y' >> .git/config\n");
    assert_eq!(world.run("git init -q .").code, Some(0));
    let before = fs::read(world.path("work/.git/config")).expect("settings");
    let ended = world.run("sh change");
    assert_ne!(ended.code, Some(0), "{ended:?}");
    assert_eq!(fs::read(world.path("work/.git/config")).expect("settings"), before);
    // Nor once the session lives long enough to be watched.
    assert_ne!(world.run("sleep 0.2; sh change").code, Some(0));
    assert_eq!(fs::read(world.path("work/.git/config")).expect("settings"), before);
}

/// What somebody else has changed since is theirs: no program of a session changes it.
#[test]
fn what_somebody_has_changed_since_is_covered_again() {
    let world = World::new();
    if !can(&world) {
        return;
    }
    let repository = world.path("work/own");
    world.write("work/change", "echo '[alias] x = !y' >> own/.git/config; echo y >> own/.git/hooks/pre-push\n");
    for step in ["git init -q own", "rm -rf own", "git init -q own"] {
        assert_eq!(world.run(step).code, Some(0), "{step}");
    }
    // The time of a change is of the kernel's clock, which has ticks.
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(repository.join(".git/hooks/pre-push"), "true\n").expect("a hook");
    let mut config = fs::OpenOptions::new().append(true).open(repository.join(".git/config")).expect("settings");
    config.write_all(b"[user]\n\tname = b\n").expect("changed");
    let before = ["config", "hooks/pre-push"].map(|name| fs::read(repository.join(".git").join(name)).expect("read"));
    let ended = world.run("sh change; rm -rf own");
    assert_ne!(ended.code, Some(0), "{ended:?}");
    let after = ["config", "hooks/pre-push"].map(|name| fs::read(repository.join(".git").join(name)).expect("read"));
    assert_eq!(before, after, "{ended:?}");
}

/// An archive names users that a session cannot give files to. tar(1) tries that for root alone.
#[test]
fn archives_of_other_users_are_unpacked() {
    let world = World::new();
    let pack = "mkdir d && echo a > d/a && tar --owner=1234 --group=1234 -czf d.tgz d && rm -r d";
    let ended = Ended::of(Command::new("sh").args(["-c", pack]).current_dir(world.workspace()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = world.run("tar xzf d.tgz && cat d/a");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "a\n"), "{ended:?}");
}
