//! Two principals under one user: what a session of one has is nothing to the other's, in both directions.

use palisade_sandbox::probe;

use crate::place::{POLICY, Place, Shell};

fn place(agent: &str) -> Place {
    // All that the policy permits of files is the principal's own.
    let temp = "@id(\"temp\") permit(principal, action in [Action::\"fileAccess\", Action::\"execute\"], resource in PathGroup::\"temp\");";
    Place::with(&format!("{POLICY}{temp}"), |settings| agent.clone_into(&mut settings.surroundings.principal.agent))
}

/// What one has, and how it may be looked for from elsewhere.
struct Belongings {
    secret: String,
    /// The number of a process of its, as the machine counts.
    process: String,
    temp: String,
}

async fn settle(shell: &Shell<'_>, place: &Place, secret: &str) -> Belongings {
    std::fs::write(place.root.path().join("work/keep.py"), KEEP).expect("a program");
    let script = format!(
        "echo {secret} > file; echo {secret} > $TMPDIR/file; echo {secret} > /tmp/file; echo {secret} > /dev/shm/file; \
         /usr/bin/python3 keep.py {secret} > ready & until [ -s ready ]; do sleep 0.02; done; echo $TMPDIR"
    );
    let temp = shell.says(&script).await.lines().last().unwrap_or_default().to_owned();
    let processes = crate::place::processes(&format!("keep.py {secret}"));
    let process = processes.first().and_then(|line| line.split(' ').next()).expect("its process").to_owned();
    Belongings { secret: secret.to_owned(), process, temp }
}

/// Holds a secret in its arguments and memory, in System V shared memory, and at an abstract socket's name if it gets one.
const KEEP: &str = r#"
import ctypes, sys, time
libc = ctypes.CDLL(None); libc.shmat.restype = ctypes.c_void_p
at = libc.shmat(libc.shmget(7007, 4096, 0o1666), None, 0)
if at and at != ctypes.c_void_p(-1).value: ctypes.memmove(at, sys.argv[1].encode(), len(sys.argv[1]))
print('ready', flush=True)
time.sleep(120)
"#;

/// Looks for another's belongings, and says what it has found. `W`, `T`, `P` and `S` are filled in.
const LOOK: &str = r#"
import ctypes, glob, os, signal
def attempt(name, act):
    try:
        found = act()
    except OSError: return
    if found: print(name, found)
def read(path):
    with open(path, 'rb') as file: return SECRET in file.read()
SECRET = bytes.fromhex('S')
attempt('workspace', lambda: read('W/file'))
attempt('workspace-list', lambda: os.listdir('W'))
attempt('workspace-write', lambda: open('W/new', 'w') and True)
attempt('workspace-link', lambda: os.link('W/file', 'stolen') or True)
attempt('temp', lambda: read('T/file'))
attempt('temp-list', lambda: os.listdir('T'))
attempt('temp-write', lambda: open('T/new', 'w') and True)
attempt('tmp', lambda: read('/tmp/file'))
attempt('shm', lambda: read('/dev/shm/file'))
attempt('command-lines', lambda: any(read(path) for path in glob.glob('/proc/[0-9]*/cmdline') if str(os.getpid()) not in path))
attempt('process', lambda: os.path.exists('/proc/P/stat') and b'keep.py' in open('/proc/P/cmdline', 'rb').read())
attempt('environment', lambda: open('/proc/P/environ', 'rb').read(1) if b'keep' in open('/proc/P/cmdline', 'rb').read() else 0)
attempt('memory', lambda: open('/proc/P/mem', 'rb') and b'keep' in open('/proc/P/cmdline', 'rb').read())
attempt('root', lambda: read('/proc/P/rootW/file'))
attempt('signal', lambda: os.kill(P, signal.SIGUSR1) or 'sent')
attempt('every-signal', lambda: [os.kill(pid, 0) for pid in range(2, 40000) if pid == P and os.kill(pid, 0) is None])
libc = ctypes.CDLL(None, use_errno=True); libc.shmat.restype = ctypes.c_void_p
def trace(): return libc.ptrace(16, P, 0, 0) == 0
attempt('trace', trace)
def shared():
    at = libc.shmat(libc.shmget(7007, 4096, 0), None, 0o10000)
    return at and at != ctypes.c_void_p(-1).value and ctypes.string_at(at, len(SECRET)) == SECRET
attempt('shared-memory', shared)
attempt('priority', lambda: os.setpriority(os.PRIO_PROCESS, P, 19) or 'set')
print('looked')
"#;

async fn found(thief: &Shell<'_>, place: &Place, other: &Place, theirs: &Belongings) -> String {
    let hex: String = theirs.secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let workspace = other.root.path().join("work").to_string_lossy().into_owned();
    let look = LOOK.replace("fromhex('S')", &format!("fromhex('{hex}')"));
    let look = look.replace("'W/", &format!("'{workspace}/")).replace("'W'", &format!("'{workspace}'"));
    let look = look.replace("rootW", &format!("root{workspace}"));
    let look = look.replace("'T/", &format!("'{}/", theirs.temp)).replace("'T'", &format!("'{}'", theirs.temp));
    let look = look.replace("/proc/P/", &format!("/proc/{}/", theirs.process));
    let look = look.replace(" P,", &format!(" {},", theirs.process)).replace("(P,", &format!("({},", theirs.process));
    let look = look.replace("== P ", &format!("== {} ", theirs.process));
    std::fs::write(place.root.path().join("work/look.py"), look).expect("a program");
    thief.says("/usr/bin/python3 look.py").await
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_finds_what_the_other_has() {
    if probe().separates_principals().is_err() {
        return;
    }
    let (alice, bob) = (place("alices-agent"), place("bobs-agent"));
    let (one, two) = (alice.open().await, bob.open().await);
    let hers = settle(&one, &alice, "alices-7f2c9d").await;
    let his = settle(&two, &bob, "bobs-51b8e0").await;
    assert_eq!(found(&two, &bob, &alice, &hers).await, "looked\n");
    assert_eq!(found(&one, &alice, &bob, &his).await, "looked\n");
    // They are as they were.
    for (belongings, place) in [(&hers, &alice), (&his, &bob)] {
        assert_eq!(crate::place::processes(&format!("keep.py {}", belongings.secret)).len(), 1);
        assert!(!place.root.path().join("work/new").exists());
    }
    // Looked for by its own principal, in the very session, it is all there.
    let own = found(&one, &alice, &alice, &hers).await;
    for name in ["workspace ", "workspace-list", "temp ", "temp-list", "tmp ", "shm ", "command-lines", "shared-memory"]
    {
        assert!(own.contains(name), "{name}: {own}");
    }
}

#[test]
fn where_sessions_cannot_be_kept_apart_it_is_said_why() {
    let mut offer = probe().clone();
    offer.mounts = false;
    let error = offer.separates_principals().expect_err("a reason");
    assert!(error.advice().is_some(), "{error}");
}
