#!/usr/bin/env bash
# Runs scripts under real bash where they can harm nothing, and records what each does.
#
#   cage.sh probe            exit status 0: this machine can
#   cage.sh run DIRECTORY    runs DIRECTORY/in/N, each by the words in the lines of DIRECTORY/shell, with the script in the
#                            place of SCRIPT, and leaves strace's record in DIRECTORY/log/N
#
# The cage is a set of namespaces of its own (user, mount, process, network, System V, host name) with a new root on a tmpfs.
# Every script has a process namespace of its own as well, whose first process is strace: what a script leaves behind
# ends with it. Programs that are named in DIRECTORY/real are this machine's, read-only; the names in
# DIRECTORY/stubs are all one program that does nothing, DIRECTORY/stub.
set -euo pipefail

CALLS=execve,execveat,clone,clone3,fork,vfork,chdir,fchdir,open,openat,openat2,creat,truncate,mkdir,mkdirat,mknod,mknodat
CALLS+=,unlink,unlinkat,rmdir,rename,renameat,renameat2,link,linkat,symlink,symlinkat
CALLS+=,chmod,fchmodat,chown,lchown,fchownat

main() {
    case ${1-} in
    probe) enter "${BASH_SOURCE[0]}" probe-inside ;;
    probe-inside) probe ;;
    run) enter "${BASH_SOURCE[0]}" build "$2" ;;
    build) build "$2" ;;
    scripts) run_scripts ;;
    *) exit 2 ;;
    esac
}

enter() { # root needs no user namespace where those are switched off
    local user=(--user --map-root-user)
    unshare "${user[@]}" true 2>/dev/null || [ "$(id -u)" != 0 ] || user=()
    exec unshare "${user[@]}" --mount --net --pid --ipc --uts --fork --kill-child bash "$@"
}

probe() {
    mount -t tmpfs none /mnt
    mount -t proc proc /proc
    strace -f --seccomp-bpf -o /mnt/log -e trace=execve true
    grep -q execve /mnt/log
}

build() { # DIRECTORY: the new root, from inside the namespaces
    local given root=$1/root name
    given=$(realpath "$1")
    mount -t tmpfs none "$root"
    cd "$root"
    mkdir -p real usr/bin etc proc dev tmp home/user given fixture
    chmod 1777 tmp
    mount --rbind /usr real
    mount -o remount,bind,ro real
    mount --bind "$given" given
    libraries
    for name in null zero full random urandom; do
        : >"dev/$name"
        mount --bind "/dev/$name" "dev/$name"
    done
    ln -s /proc/self/fd dev/fd
    ln -s fd/0 dev/stdin
    ln -s fd/1 dev/stdout
    ln -s fd/2 dev/stderr
    mount -t proc proc proc
    cp "$given/stub" stub
    while read -r name; do ln -sf /stub "usr/bin/$name"; done <"$given/stubs"
    while read -r name; do real "$name"; done <"$given/real"
    fixture
    name=$(PATH=$PATH:/usr/sbin:/sbin type -P chroot)
    exec env -i PATH=/real/bin:/real/sbin:/usr/bin "$name" . /real/bin/bash /given/cage.sh scripts
}

libraries() { # what programs load, where they look for it
    local path
    for path in /lib* /bin /sbin; do
        if [ -L "$path" ]; then
            cp -P "$path" ".$path"
        elif [ -d "$path" ] && [[ $path = /lib* ]]; then
            mkdir -p ".$path"
            mount --rbind "$path" ".$path"
        fi
    done
    for path in real/*; do
        case $path in
        real/bin | real/sbin) ;;
        *) ln -s "/$path" "usr/${path#real/}" ;;
        esac
    done
    ln -s bin usr/sbin
    [ -e bin ] || ln -s usr/bin bin
    [ ! -e /etc/ld.so.cache ] || cp /etc/ld.so.cache etc/
    echo 'root:x:0:0::/home/user:/bin/bash' >etc/passwd
    echo 'root:x:0:' >etc/group
}

real() { # NAME: as this machine has it, wherever its links lead
    local path
    # This machine's own before what a version manager puts in front of it.
    path=$(PATH=/usr/bin:/bin:$PATH:/usr/sbin:/sbin type -P "$1") || return 0
    path=$(realpath "$path")
    case $path in
    /usr/*) ln -sf "/real${path#/usr}" "usr/bin/$1" ;;
    *)
        rm -f "usr/bin/$1"
        cp "$path" "usr/bin/$1"
        ;;
    esac
}

fixture() { # where every script starts: a copy of this
    local name
    cd fixture
    while read -r name || [ -n "$name" ]; do mkdir "$name"; done <../given/directories
    for name in a b c f g x y z in out a.txt b.txt main.c dir/f src/a.o src/b.c sub/x 'sp ace/f' s.sh; do
        echo 1 >"$name"
    done
    tar -cf a.tar a.txt b.txt
    gzip -k a.tar
    cp a.tar.gz a.tgz
    cd ..
}

run_scripts() { # inside the new root
    local file name text shell
    mapfile -t shell </given/shell
    mkdir /scene
    for file in /given/in/*; do
        name=${file##*/}
        cp -r /fixture "/scene/$name"
        cd "/scene/$name"
        IFS= read -r -d '' text <"$file" || true # to the very end: there is no NUL
        run_script "$name" "$text" || true
    done
}

run_script() ( # NAME TEXT: at most three seconds, one gigabyte and eight megabytes a file
    local word words=()
    for word in "${shell[@]}"; do
        [ "$word" != SCRIPT ] || word=$2
        words+=("$word")
    done
    ulimit -v 1048576 -f 16384 -c 0 2>/dev/null || true
    exec </dev/null >/dev/null 2>&1
    export PATH=/usr/bin HOME=/home/user LC_CTYPE=C.UTF-8 FUNCNEST=30
    exec /real/bin/timeout -s KILL 3 /real/bin/unshare --mount --pid --fork --kill-child --mount-proc \
        /real/bin/strace -f --seccomp-bpf -y -xx -s 70000 -e signal=none -e trace=$CALLS -o "/given/log/$1" \
        "${words[@]}"
)

main "$@"
