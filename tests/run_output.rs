//! How much of its output `run` passes on, and what a cut is told by. Real commands, pipes, files and signals.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};

use crate::support::people::until;
use crate::support::world::{Ended, World};

/// The default bound.
const MOST: usize = 16 << 20;

/// The line in the place of what is missing, and how many bytes and lines it says that are.
fn gap(stdout: &str) -> (&str, u64, u64, &str) {
    let (head, rest) = stdout.split_once("[… ").unwrap_or_else(|| panic!("no gap in {} bytes", stdout.len()));
    let (gap, tail) = rest.split_once(" lines omitted …]\n").expect("the end of the line");
    let (bytes, lines) = gap.split_once(" bytes, ").expect("two counts");
    (head, bytes.parse().expect("bytes"), lines.parse().expect("lines"), tail)
}

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

#[test]
fn a_command_that_prints_for_ever_is_cut_and_goes_on_to_its_end() {
    let world = World::new();
    let ended = world.call(&["run", "--max-output", "64KiB", "--timeout", "3s", "yes"]);
    assert_eq!(ended.code, Some(124), "{}", ended.stderr);
    let (head, bytes, lines, tail) = gap(&ended.stdout);
    assert!(head.len() + tail.len() <= 64 << 10, "{} and {}", head.len(), tail.len());
    assert!(head.starts_with("y\ny\n") && tail.ends_with("y\ny\n"), "{} and {}", head.len(), tail.len());
    assert!(bytes >= lines && lines > 0, "{bytes} {lines}");
    assert!(
        ended.stderr.contains(&format!("palisade: stdout: {bytes} bytes, {lines} lines omitted\n")),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_cut_that_was_asked_for_leaves_the_status_and_is_counted() {
    let world = World::new();
    let total = (1..=200_000).map(|number: u32| number.to_string().len() as u64 + 1).sum::<u64>();
    for (command, status) in [("seq 1 200000", 0), ("seq 1 200000; exit 3", 3), ("seq 1 200000 >&2", 0)] {
        let ended = world.call(&["run", "--max-output", "8KiB", command]);
        assert_eq!(ended.code, Some(status), "{command}");
        let (name, cut) = if command.ends_with("2") { ("stderr", &ended.stderr) } else { ("stdout", &ended.stdout) };
        let (head, bytes, lines, tail) = gap(cut);
        let (tail, told) = tail.split_at(tail.find("palisade: ").unwrap_or(tail.len()));
        assert!(head.starts_with("1\n2\n") && tail.ends_with("199999\n200000\n"), "{command}: {tail}");
        assert!(head.len() + tail.len() <= 8 << 10, "{command}");
        // A quarter of it is the head, and the line that it ends within is ended.
        let line_end = head.len() as u64 - (2 << 10);
        assert!(line_end <= 1, "{command}: {}", head.len());
        assert_eq!((head.len() + tail.len()) as u64 + bytes - line_end, total, "{command}");
        let shown = head.matches('\n').count() as u64 + tail.matches('\n').count() as u64;
        assert_eq!(shown + lines - line_end, 200_000, "{command}");
        let said = if name == "stderr" { told } else { &ended.stderr };
        assert_eq!(said, format!("palisade: {name}: {bytes} bytes, {lines} lines omitted\n"), "{command}");
    }
    // What fits comes whole, whoever reads how slowly.
    let mut child = spawn(world.palisade().args(["run", "--max-output", "4MiB", "seq 1 200000"]));
    let (mut stdout, mut read, mut piece) = (child.stdout.take().expect("a pipe"), Vec::new(), [0; 1000]);
    while let count @ 1.. = stdout.read(&mut piece).expect("read") {
        read.extend_from_slice(&piece[..count]);
        std::thread::yield_now();
    }
    assert_eq!(read.len() as u64, total);
    assert_eq!(child.wait().expect("reaped").code(), Some(0));
}

/// A part must not be taken for the whole: `palisade run 'tar c .' | ssh host 'cat > a.tar' && rm …`.
#[test]
fn without_a_word_a_pipe_is_bounded_and_a_cut_is_a_failure() {
    let world = World::new();
    let zeros = "head -c 60M /dev/zero | tr '\\0' '\\n'";
    let ended = world.run(zeros);
    assert_eq!(ended.code, Some(125), "{}", ended.stderr);
    let (head, bytes, lines, tail) = gap(&ended.stdout);
    assert!(head.len() + tail.len() <= MOST && head.len() + tail.len() > MOST / 2, "{}", head.len());
    assert_eq!(((head.len() + tail.len()) as u64 + bytes, bytes), (60 << 20, lines));
    for part in ["palisade: stdout: ", "error: standard output is longer than 16MiB", "status 0", "--max-output none"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    // A command that failed by itself has told that.
    assert_eq!(world.run(&format!("{zeros}; exit 3")).code, Some(3));
    // What goes into a file is whole, and so is what was asked for.
    let file = world.path("out");
    let whole = world.palisade().args(["run", zeros]).stdout(fs::File::create(&file).expect("a file")).status();
    assert_eq!(whole.expect("it starts").code(), Some(0));
    assert_eq!(fs::metadata(&file).expect("a file").len(), 60 << 20);
    let whole = world.call(&["run", "--max-output", "none", zeros]);
    assert_eq!((whole.code, whole.stdout.len()), (Some(0), 60 << 20), "{}", whole.stderr);
    // A bound that was asked for holds for a file, too.
    let bounded = ["run", "--max-output", "1MiB", zeros];
    let cut = world.palisade().args(bounded).stdout(fs::File::create(&file).expect("a file")).status();
    assert_eq!(cut.expect("it starts").code(), Some(0));
    assert!(fs::metadata(&file).expect("a file").len() < (1 << 20) + 100);
}

#[test]
fn the_settings_say_how_much_and_what_makes_no_sense_is_refused() {
    let world = World::new();
    let settings = |text: &str| world.write("state/palisade.toml", text).to_str().expect("UTF-8").to_owned();
    let small = settings("[output]\nrun-bytes = \"8KiB\"\n");
    let ended = world.call(&["run", "--config", &small, "seq 1 200000"]);
    assert!(ended.code == Some(125) && ended.stderr.contains("longer than 8KiB"), "{ended:?}");
    assert!(ended.stdout.len() < (8 << 10) + 100, "{}", ended.stdout.len());
    let whole = world.call(&["run", "--config", &small, "--max-output", "none", "seq 1 200000"]);
    assert!(whole.code == Some(0) && whole.stdout.ends_with("\n200000\n"), "{}", whole.stderr);
    let wrong = settings("[output]\nrun-bytes = \"many\"\n");
    let refused = world.call(&["run", "--config", &wrong, "touch ran"]);
    assert!(
        refused.code != Some(0) && refused.stderr.contains("palisade.toml:2") && refused.stderr.contains("`none`"),
        "{refused:?}"
    );
    for words in [&["--max-output", "0"][..], &["--max-output", "lots"], &["--max-output", "1MiB", "--json"]] {
        let refused = world.call(&[&["run"], words, &["touch ran"]].concat());
        assert!(refused.code != Some(0) && refused.stderr.contains("--max-output"), "{words:?}: {refused:?}");
    }
    assert!(!world.path("work/ran").exists());
}

#[test]
fn ctrl_c_behind_the_head_shows_the_tail_and_says_what_is_missing() {
    let world = World::new();
    world.program("flood", "#!/bin/sh\nseq 1 200000\ntouch printed\nexec sleep 600\n");
    let child = spawn(world.palisade().args(["run", "--max-output", "8KiB", "./flood"]));
    until("it has printed", || world.path("work/printed").exists());
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let stdout = String::from_utf8(output.stdout).expect("text");
    let (head, bytes, _, tail) = gap(&stdout);
    assert!(head.starts_with("1\n2\n") && tail.ends_with('\n') && bytes > 100_000, "{bytes} {tail}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("palisade: stdout: {bytes} bytes")), "{said}");
}

/// Nobody reads, and the pipe holds less than the command prints: what is beyond the head waits for nobody.
#[test]
fn a_reader_that_sleeps_holds_up_nothing_but_the_head() {
    let world = World::new();
    let mut child = spawn(world.palisade().args(["run", "--max-output", "8KiB", "seq 1 200000"]));
    until("it has ended", || child.try_wait().expect("a status").is_some());
    let output = child.wait_with_output().expect("output");
    let (_, bytes, _, tail) = gap(std::str::from_utf8(&output.stdout).expect("text"));
    assert!(tail.ends_with("\n200000\n") && bytes > 1_000_000, "{bytes} {tail}");
}

/// What is beyond the head is written to nobody, and still it is seen that nobody is there: the command ends long before its time is up.
#[test]
fn a_reader_that_goes_away_behind_the_head_ends_the_command() {
    let world = World::new();
    world.program("flood", "#!/bin/sh\nwhile :; do echo line; done\n");
    let mut child = spawn(world.palisade().args(["run", "--max-output", "8KiB", "--timeout", "1h", "./flood"]));
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut head = [0; 2 << 10];
    stdout.read_exact(&mut head).expect("the head");
    drop(stdout);
    until("it has ended", || child.try_wait().expect("a status").is_some());
    let output = child.wait_with_output().expect("output");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(141), ""));
}

#[test]
fn a_secret_is_redacted_before_the_cut() {
    let world = World::new();
    let (first, second) = ("ghp_0123456789abcdef", "ghijABCDEFGHIJ012345");
    world.program("leak", &format!("#!/bin/sh\nfor i in $(seq 1 400); do echo token {first}{second}; done\n"));
    for most in ["1KiB", "1001", "1010", "1020", "64"] {
        let ended: Ended = world.call(&["run", "--max-output", most, "./leak"]);
        assert!(
            !ended.stdout.contains(&first[..8]) && !ended.stdout.contains(&second[8..]),
            "{most}: {}",
            ended.stdout
        );
        assert!(ended.stdout.contains("omitted"), "{most}: {}", ended.stdout);
    }
}
