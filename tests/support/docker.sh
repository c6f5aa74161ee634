#!/usr/bin/env bash
# A container engine and a small local image, for tests: no registry, no systemd, no docker command line.
#
#   docker.sh up   DIR          make sure that an engine answers and has palisade-test:latest; prints DOCKER_HOST=...
#   docker.sh run  DIR [NAME [BIND...]]   start a container that sleeps, with no network; prints its name
#   docker.sh rm   DIR NAME     remove it
#   docker.sh bare DIR          make palisade-bare:latest: a static bash ($PALISADE_STATIC_BASH, else bash-static) and busybox, and no C library
#   docker.sh down DIR          remove the containers of DIR, stop the engine if `up` started it; DIR stays
#
# An engine that answers on $DOCKER_HOST or /var/run/docker.sock is used as it is; else one is started with all of its
# state in DIR, which takes root. PALISADE_ENGINE=podman starts `podman system service` instead of dockerd.
# The image is made of this machine's own programs: bash, coreutils, git, grep, sed, find, tar, ps, kill, and busybox
# as /bin/sh; its users are root and agent (uid 1000), who owns /srv/app.
#
# Exit status 3: this machine lacks what is needed; 1: something broke.
set -euo pipefail

IMAGE=palisade-test:latest
ENGINE=${PALISADE_ENGINE:-docker}

main() {
    local verb=${1:?usage: docker.sh up|run|rm|down DIR [NAME]}
    DIR=${2:?a directory is needed}
    shift 2
    [ "$verb" = up ] && mkdir -p "$DIR"
    DIR=$(cd "$DIR" && pwd)
    command -v curl >/dev/null || missing "curl is not installed"
    case $verb in
    up)
        find_engine || start_engine
        request GET "images/$IMAGE/json" >/dev/null 2>&1 || build_image
        echo "DOCKER_HOST=$DOCKER_HOST"
        ;;
    run)
        find_engine || die "no engine answers: run \`up\` first"
        [ $# -gt 0 ] || set -- "palisade-test-$$"
        start_container "$@"
        ;;
    rm)
        find_engine || exit 0
        request DELETE "containers/${1:?a name is needed}?force=1&v=1" >/dev/null
        ;;
    bare)
        find_engine || die "no engine answers: run \`up\` first"
        build_bare_image
        ;;
    down)
        if find_engine; then remove_containers; fi
        stop_engine
        ;;
    *) die "unknown verb \`$verb\`" ;;
    esac
}

# --- engine ---

find_engine() { # sets DOCKER_HOST to one that answers
    local host candidates=("${DOCKER_HOST:-}" "unix://$DIR/docker.sock" unix:///var/run/docker.sock)
    if [ "$ENGINE" = podman ]; then candidates=("unix://$DIR/podman.sock"); fi
    for host in "${candidates[@]}"; do
        if [[ $host == unix://* ]] && answers "$host"; then
            export DOCKER_HOST=$host
            return
        fi
    done
    return 1
}

answers() { # HOST
    [ -S "${1#unix://}" ] && curl -fsS --max-time 5 --unix-socket "${1#unix://}" http://engine/_ping 2>/dev/null | grep -q OK
}

start_engine() {
    [ "$(id -u)" = 0 ] || missing "no engine answers, and starting one needs root"
    local pid host
    case $ENGINE in
    docker) start_dockerd ;;
    podman) start_podman ;;
    *) die "unknown engine \`$ENGINE\`" ;;
    esac
    echo "$pid" >"$DIR/engine.pid"
    for _ in $(seq 300); do
        if answers "$host"; then
            export DOCKER_HOST=$host
            return
        fi
        running "$pid" || break
        sleep 0.1
    done
    stop_engine
    die "$ENGINE did not come up: $(tail -n 5 "$DIR/engine.log")"
}

start_dockerd() { # sets pid and host
    local dockerd
    dockerd=$(PATH=$PATH:/usr/sbin:/sbin command -v dockerd) || missing "docker.io is not installed"
    host=unix://$DIR/docker.sock
    # Containers have no network here, so nothing of the machine's own bridges and firewall is touched.
    setsid "$dockerd" --data-root "$DIR/data" --exec-root "$DIR/exec" --pidfile "$DIR/dockerd.pidfile" --host "$host" \
        --bridge=none --iptables=false --ip6tables=false --live-restore=false --log-level=warn \
        >"$DIR/engine.log" 2>&1 </dev/null &
    pid=$!
}

start_podman() { # sets pid and host
    command -v podman >/dev/null || missing "podman is not installed"
    host=unix://$DIR/podman.sock
    # Without systemd: cgroupfs and file events. The limits must not exceed our own hard ones.
    cat >"$DIR/containers.conf" <<CONF
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
log_driver = "k8s-file"
cgroups = "enabled"
netns = "none"
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)", "nproc=30000:30000"]
CONF
    CONTAINERS_CONF=$DIR/containers.conf setsid podman --root "$DIR/podman-data" --runroot "$DIR/podman-run" \
        --runtime "${PALISADE_RUNTIME:-runc}" system service --time=0 "$host" >"$DIR/engine.log" 2>&1 </dev/null &
    pid=$!
}

stop_engine() {
    [ -s "$DIR/engine.pid" ] || return 0
    local pid
    pid=$(cat "$DIR/engine.pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 400); do
        running "$pid" || break
        sleep 0.05
    done
    if running "$pid"; then die "the engine (pid $pid) does not stop"; fi
    rm -f "$DIR/engine.pid"
    if mountpoint -q "$DIR/podman-data/overlay" 2>/dev/null; then umount -l "$DIR/podman-data/overlay"; fi
}

running() { # PID: neither gone nor a zombie, which `kill -0` would take for alive until somebody reaps it
    local state
    state=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) || return 1
    [[ -n $state && $state != [ZX]* ]]
}

request() { # METHOD PATH [curl option...]; no version in the path: engines differ in which ones they still take
    local method=$1 path=$2
    shift 2
    curl -fsS -g -X "$method" --unix-socket "${DOCKER_HOST#unix://}" "http://engine/$path" "$@"
}

# --- containers ---

start_container() { # NAME [FILE:PATH:ro | tmpfs:PATH:OPTIONS]...; one of that name is replaced
    local init=false bind binds= memory=
    for bind in "${@:2}"; do
        case $bind in
        tmpfs:*) bind=${bind#tmpfs:} memory+=${memory:+, }\"${bind%%:*}\":\ \"${bind#*:}\" ;;
        *) binds+=${binds:+, }\"$bind\" ;;
        esac
    done
    if [ "$ENGINE" = docker ] && command -v docker-init >/dev/null; then init=true; fi
    request DELETE "containers/$1?force=1" >/dev/null 2>&1 || true
    request POST "containers/create?name=$1" -H 'Content-Type: application/json' --data-binary @- >/dev/null <<JSON
{"Image": "$IMAGE", "Cmd": ["sleep", "infinity"], "WorkingDir": "/srv/app", "Labels": {"palisade-test": "$DIR"},
 "HostConfig": {"NetworkMode": "none", "Init": $init, "Binds": [$binds], "Tmpfs": {$memory}}}
JSON
    request POST "containers/$1/start" >/dev/null
    echo "$1"
}

remove_containers() { # those of DIR alone: somebody else may test on the same engine
    local id
    for id in $(request GET "containers/json?all=1&filters={\"label\":[\"palisade-test=$DIR\"]}" | grep -o '"Id":"[0-9a-f]*"' | cut -d'"' -f4); do
        request DELETE "containers/$id?force=1&v=1" >/dev/null
    done
}

# --- image ---

PROGRAMS=(
    bash git grep sed find xargs tar gzip awk ps kill pgrep pkill setsid
    ls cat cp mv rm mkdir rmdir ln chmod chown touch stat head tail wc sort uniq cut tr tee seq sleep env printenv id whoami
    uname date du df stty tty true false yes dd od base64 sha256sum basename dirname readlink realpath mktemp mkfifo timeout nohup
)

build_image() {
    local program helper query
    type -P busybox >/dev/null || missing "busybox is not installed"
    type -P git >/dev/null || missing "git is not installed"
    ROOT=$(mktemp -d "$DIR/image.XXXXXX")
    mkdir -p "$ROOT"/{bin,usr/bin,usr/lib/git-core,lib,lib64,etc,tmp,root,proc,sys,dev,srv/app,home/agent,var/tmp}
    chmod 755 "$ROOT"
    chmod 1777 "$ROOT/tmp" "$ROOT/var/tmp"
    for program in "${PROGRAMS[@]}"; do copy_program "$program"; done
    for helper in git-sh-setup git-submodule git-mergetool--lib; do # git's helpers that are not git itself
        cp -L "$(git --exec-path)/$helper" "$ROOT/usr/lib/git-core/" 2>/dev/null || true
    done
    for library in libgcc_s.so.1 libm.so.6 libz.so.1; do copy_library "$library"; done # of Palisade itself
    copy_program busybox
    mv "$ROOT/usr/bin/busybox" "$ROOT/bin/busybox"
    ln -s busybox "$ROOT/bin/sh"
    ln -s ../usr/bin/bash "$ROOT/bin/bash"
    for program in sh vi less ip ping nc wget; do ln -s /bin/busybox "$ROOT/usr/bin/$program"; done
    write_accounts
    query='fromSrc=-&repo=palisade-test&tag=latest&changes=ENV%20PATH%3D%2Fusr%2Fbin%3A%2Fbin&changes=ENV%20HOME%3D%2Froot&changes=WORKDIR%20%2Fsrv%2Fapp'
    tar -C "$ROOT" --numeric-owner -c . | request POST "images/create?$query" -H 'Content-Type: application/x-tar' --data-binary @- >/dev/null
    rm -rf "$ROOT"
    if [ "$ENGINE" = podman ]; then # which puts localhost/ in front of the name
        request POST "images/localhost/$IMAGE/tag?repo=palisade-test&tag=latest" >/dev/null 2>&1 || true
    fi
}

build_bare_image() {
    local bash applet
    bash=$(type -P "${PALISADE_STATIC_BASH:-bash-static}") || missing "bash-static is not installed"
    busybox --list >/dev/null || missing "busybox is not installed"
    ROOT=$(mktemp -d "$DIR/image.XXXXXX")
    chmod 755 "$ROOT"
    mkdir -p "$ROOT"/{bin,usr/bin,etc,tmp,root,home/agent,proc,sys,dev,srv/app}
    cp -L "$bash" "$ROOT/bin/bash"
    cp -L "$(type -P busybox)" "$ROOT/bin/busybox"
    if ldd "$ROOT/bin/bash" >/dev/null 2>&1 || ldd "$ROOT/bin/busybox" >/dev/null 2>&1; then missing "bash-static or busybox is not static"; fi
    for applet in $(busybox --list); do [ -e "$ROOT/bin/$applet" ] || ln -s busybox "$ROOT/bin/$applet"; done
    write_accounts
    echo 'root:*:1::::::' >"$ROOT/etc/shadow"
    tar -C "$ROOT" --numeric-owner -c . | request POST "images/create?fromSrc=-&repo=palisade-bare&tag=latest&changes=ENV%20HOME%3D%2Froot" \
        -H 'Content-Type: application/x-tar' --data-binary @- >/dev/null
    rm -rf "$ROOT"
}

copy_program() { # NAME: it and the shared libraries that it loads
    local file library
    file=$(type -P "$1") || return 0
    cp -L "$file" "$ROOT/usr/bin/$1"
    for library in $(ldd "$file" 2>/dev/null | grep -o '/[^ ]*'); do copy_file "$library"; done
}

copy_library() { # NAME: where this machine's loader finds it
    local file
    # To the end: whoever stops reading ends whoever writes, and the pipe with it.
    file=$(PATH=$PATH:/usr/sbin:/sbin ldconfig -p | awk -v name="$1" '$1 == name && !/libx32|i386/ && !found { found = $NF } END { print found }')
    if [ -n "$file" ]; then copy_file "$file"; fi
}

copy_file() { # PATH: to the same place
    mkdir -p "$ROOT$(dirname "$1")"
    [ -e "$ROOT$1" ] || cp -L "$1" "$ROOT$1"
}

write_accounts() {
    printf '%s\n' root:x:0:0:root:/root:/bin/bash agent:x:1000:1000::/home/agent:/bin/bash nobody:x:65534:65534::/:/bin/false >"$ROOT/etc/passwd"
    printf '%s\n' root:x:0: agent:x:1000: nogroup:x:65534: >"$ROOT/etc/group"
    echo palisade-test >"$ROOT/etc/hostname"
    chown -R 1000:1000 "$ROOT/home/agent" "$ROOT/srv/app" 2>/dev/null || true # on an engine of somebody else we may not be root
}

missing() {
    echo "docker.sh: $*" >&2
    exit 3
}

die() {
    echo "docker.sh: $*" >&2
    exit 1
}

main "$@"
