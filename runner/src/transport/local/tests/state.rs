//! A shell's state, taken from one shell and given to another.

use super::Bare;
use crate::shell::End;

/// Changes, each with a question whose answer tells that it is there.
const CHANGES: &[(&str, &str)] = &[
    ("x='a\nb'", "echo \"$x\""),
    ("y=$'\\x01\\xff\\''", "printf '%q' \"$y\""),
    ("declare -A m=([k]='v w' ['a b']=c)", "echo \"${m[k]} ${m[a b]}\""),
    ("arr=(1 '2 3' '')", "echo \"${#arr[@]} ${arr[1]}\""),
    ("declare -i n=7", "n=n+1; echo $n"),
    ("declare -r fixed='it is'", "declare -p fixed"),
    ("export E=exported", "sh -c 'echo $E'"),
    ("declare -n ref=E", "echo $ref"),
    ("declare -u upper=abc", "upper=def; echo $upper"),
    ("f() { local y=$1; echo \"f:$y $x\"; }; export -f f", "f z; bash -c 'f sub'"),
    ("g() { cat <<EOF\nhere $1\nEOF\n}; readonly -f g", "g doc; g() { :; }"),
    ("alias ll='ls -l \\'", "alias ll"),
    ("shopt -s nullglob expand_aliases extglob", "shopt nullglob expand_aliases extglob"),
    ("set -o pipefail; set -u; set -C", "set -o | grep -E 'pipefail|nounset|noclobber'"),
    ("umask 027", "umask"),
    ("trap 'echo usr1' USR1; trap 'echo err' ERR", "trap -p USR1 ERR; false; true"),
    ("set -- p 'q r' ''", "echo \"$# $2\""),
    ("unset HOME", "echo ${HOME-none}"),
    ("PATH=/usr/bin", "echo $PATH"),
    ("IFS=:", "printf %q \"$IFS\""),
];

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_bash_tells_of_itself_comes_back() {
    let mut first = Bare::start().await;
    for (change, _) in CHANGES {
        let changed = first.run(change).await;
        assert_eq!(changed.lost, None, "{change}: {changed:?}");
        assert!(first.shell.as_mut().unwrap().state(0).await.is_ok(), "{change}");
    }
    let state = first.shell.as_mut().unwrap().state(3).await.unwrap().unwrap();
    // It changes nothing, not even the last status.
    assert_eq!(first.run("echo $?").await.stdout, "3\n");
    let mut second = Bare::like(Some(&state)).await;
    for (change, question) in CHANGES {
        let (told, again) = (first.run(question).await, second.run(question).await);
        assert!(!told.stdout.is_empty(), "{change}: {told:?}");
        assert_eq!((again.stdout, again.end), (told.stdout, told.end), "{change}: {}", again.stderr);
    }
}

/// A fresh shell's state makes no difference, and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_nothing_has_changed_stays_the_same() {
    let mut first = Bare::start().await;
    let state = first.shell.as_mut().unwrap().state(0).await.unwrap().unwrap();
    let mut second = Bare::like(Some(&state)).await;
    let ask =
        "set -o; shopt; alias; trap -p; declare -F; echo $- $#; umask; pwd -P | wc -l; test -d \"$TMPDIR\"; echo $?";
    assert_eq!(first.run(ask).await.stdout, second.run(ask).await.stdout);
    assert_eq!(second.run("true").await.end, End::Status(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_not_kept() {
    let mut shell = Bare::start().await;
    shell.run("big=$(head -c 5000000 /dev/zero | tr '\\0' x)").await;
    assert!(shell.shell.as_mut().unwrap().state(0).await.unwrap().is_none());
    shell.is_well("that").await;
}
