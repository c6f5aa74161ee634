#!/usr/bin/env bash
# Throwaway OpenSSH servers on loopback, for tests. Everything lives in DIR; root is needed for the role `password` only.
#
#   sshd.sh up   DIR [ROLE...]   start; prints DIR/env (shell variables); run again, it keeps what is already up
#   sshd.sh mitm DIR             same port, another host key: known_hosts still has the first one
#   sshd.sh heal DIR             back to the first host key
#   sshd.sh drop DIR             cut every live connection of the target, keep listening
#   sshd.sh freeze|thaw DIR      stop and continue the target's processes: the peer is dead, TCP stays open
#   sshd.sh down DIR             stop everything; DIR stays
#
# Roles (`plain` is always there):
#   plain     target: takes user keys of type ed25519, rsa and ecdsa, and one with the passphrase `test-passphrase`
#   jump      jump1 and jump2 with host keys of their own, for ProxyJump jump1,jump2 to the target (Host `far`)
#   ca        the target trusts a user CA too: key_cert has a certificate, key_certexp an expired one; neither is in authorized_keys
#   hostca    the target shows a host certificate; known_hosts_ca has nothing but its @cert-authority line
#   password  one more server (Host `pw`) that takes nothing but a password; makes the user palisade-pw
#   answers   one more server (Host `kbd`) that takes nothing but an answer to a question for the password; with `password`
#   sh        the target has no bash: what logs in finds dash as sh, and the programs of PROGRAMS below
#   bare      the target has neither git nor find nor touch: nobody there can run them (takes root)
#   limits    the target lets each login run 3 programs at once, and no more than 10 be on their way to be logged in
#   notty     the target gives no terminal
#   agent     an ssh-agent that holds key_agent, whose private file is gone
#
# In DIR: ssh_config, known_hosts, known_hosts_{hashed,revoked,ca}, key_*, env, *.log.
# Exit status 3: this machine lacks what is needed; 1: something broke.
set -euo pipefail

POLLS=150 # times 0.02 s until a daemon counts as stuck

main() {
    local verb=${1:?usage: sshd.sh up|mitm|heal|drop|freeze|thaw|down DIR [ROLE...]}
    DIR=${2:?a directory is needed}
    shift 2
    [ "$verb" = up ] && mkdir -p "$DIR"
    DIR=$(cd "$DIR" && pwd)
    SSHD=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd) || missing "openssh-server is not installed"
    command -v ssh-keygen >/dev/null || missing "openssh-client is not installed"
    ROLES=$(cat "$DIR/roles" 2>/dev/null || true)
    case $verb in
    up) up "$@" ;;
    mitm) change_host_key host_b ;;
    heal) change_host_key host_a ;;
    drop) signal_connections KILL ;;
    freeze) signal_connections STOP && kill -STOP "$(pid_of target)" ;;
    thaw) kill -CONT "$(pid_of target)" && signal_connections CONT ;;
    down) down ;;
    *) die "unknown verb \`$verb\`" ;;
    esac
}

up() {
    local role name
    for role; do
        case $role in
        plain | jump | ca | hostca | password | answers | agent | sh | bare | limits | notty) ;;
        *) die "unknown role \`$role\`" ;;
        esac
    done
    ROLES=" plain $* "
    printf '%s' "$ROLES" >"$DIR/roles"
    chmod 700 "$DIR"
    if [ "$(id -u)" = 0 ]; then mkdir -p /run/sshd; fi # sshd's privilege separation directory, missing where no sshd was ever started

    make_keys
    NAMES=(target)
    local extra=("HostKey $DIR/host_rsa")
    if has ca; then
        make_user_ca
        extra+=("TrustedUserCAKeys $DIR/user_ca.pub")
    fi
    if has hostca; then
        make_host_ca
        extra+=("HostCertificate $DIR/host_a-cert.pub")
    fi
    if has sh; then
        link_programs
        extra+=("SetEnv PATH=$DIR/bin")
    fi
    if has limits; then extra+=("MaxSessions 3" "MaxStartups 10:100:10"); fi
    if has notty; then extra+=("PermitTTY no"); fi
    serve target "$DIR/host_a" no "${extra[@]}"
    if has jump; then
        for name in jump1 jump2; do
            key ed25519 "host_$name"
            serve "$name" "$DIR/host_$name" no
            NAMES+=("$name")
        done
    fi
    if has password; then
        make_password_user
        key ed25519 host_pw
        serve pw "$DIR/host_pw" yes
        NAMES+=(pw)
    fi
    if has answers; then
        make_password_user
        key ed25519 host_kbd
        # PAM asks the question; what it does to a session needs rights that root in a container lacks.
        serve kbd "$DIR/host_kbd" no "UsePAM yes" "KbdInteractiveAuthentication yes" "AuthenticationMethods keyboard-interactive"
        NAMES+=(kbd)
    fi
    if has agent; then start_agent; fi

    write_known_hosts
    write_ssh_config
    write_env
    cat "$DIR/env"
}

down() {
    local name
    for name in target jump1 jump2 pw kbd; do stop "$name"; done
    if alive "$DIR/agent.pid"; then kill "$(cat "$DIR/agent.pid")" 2>/dev/null || true; fi
    rm -f "$DIR/agent.pid" "$DIR/agent.sock"
}

change_host_key() { # NAME: that one alone for the man in the middle, with all that belongs to it for the true host
    stop target
    sed -i "s|^HostKey $DIR/host_[ab]\$|HostKey $DIR/$1|" "$DIR/target.conf"
    if [ "$1" = host_b ]; then
        sed -i "s|^HostKey $DIR/host_rsa|#&|; s|^HostCertificate|#&|" "$DIR/target.conf"
    else
        sed -i 's|^#HostKey|HostKey|; s|^#HostCertificate|HostCertificate|' "$DIR/target.conf"
    fi
    # On another port this would be an unknown host, not a changed one.
    launch target || die "the target did not come back on its port: $(tail -n 3 "$DIR/target.log")"
}

# --- keys and accounts ---

make_keys() {
    key ed25519 host_a
    key ed25519 host_b
    key rsa host_rsa -b 2048
    key ed25519 key_ed25519
    key rsa key_rsa -b 2048
    key ecdsa key_ecdsa
    key ed25519 key_enc -N test-passphrase
    key ed25519 key_stranger # never authorised
    cat "$DIR"/key_{ed25519,rsa,ecdsa,enc}.pub >"$DIR/authorized_keys"
}

key() { # TYPE NAME [ssh-keygen option...]; an existing key stays
    local type=$1 file=$DIR/$2
    shift 2
    [[ " $* " == *" -N "* ]] || set -- -N '' "$@"
    [ -f "$file" ] || ssh-keygen -q -t "$type" -C palisade-test -f "$file" "$@"
}

make_user_ca() {
    key ed25519 user_ca
    key ed25519 key_cert
    certify user_ca key_cert -n "$(id -un)" -V -5m:+52w
    key ed25519 key_certexp
    certify user_ca key_certexp -n "$(id -un)" -V 20200101:20200102
}

make_host_ca() {
    key ed25519 host_ca
    certify host_ca host_a -h -n 127.0.0.1,localhost -V -5m:+52w
}

certify() { # CA NAME [ssh-keygen option...]
    local ca=$1 name=$2
    shift 2
    [ -f "$DIR/$name-cert.pub" ] || ssh-keygen -q -s "$DIR/$ca" -I palisade-test "$@" "$DIR/$name.pub"
}

make_password_user() {
    [ "$(id -u)" = 0 ] || missing "the role \`password\` needs root"
    id palisade-pw >/dev/null 2>&1 || useradd -m -s /bin/bash palisade-pw
    # New for each DIR, and never in an argument list, where any process could read it.
    [ -s "$DIR/password" ] || (umask 077 && head -c 18 /dev/urandom | base64 | tr -d '/+=\n' >"$DIR/password")
    printf 'palisade-pw:%s\n' "$(cat "$DIR/password")" | chpasswd
}

start_agent() {
    if ! alive "$DIR/agent.pid"; then
        rm -f "$DIR/agent.sock" "$DIR/key_agent" "$DIR/key_agent.pub"
        key ed25519 key_agent
        eval "$(ssh-agent -a "$DIR/agent.sock" -s)" >/dev/null
        echo "$SSH_AGENT_PID" >"$DIR/agent.pid"
        SSH_AUTH_SOCK=$DIR/agent.sock ssh-add -q "$DIR/key_agent"
        rm -f "$DIR/key_agent"
    fi
    cat "$DIR/key_agent.pub" >>"$DIR/authorized_keys"
}

# --- servers ---

serve() { # NAME HOSTKEY PASSWORD(yes|no) [line of sshd_config...]
    local name=$1
    if alive "$DIR/$name.pid" && banner "$(port_of "$name")" 2>/dev/null; then return; fi
    configure "$@"
    local attempt
    for attempt in 1 2 3; do
        new_port "$name"
        launch "$name" && return
    done
    die "$name did not start in $attempt attempts: $(tail -n 3 "$DIR/$name.log")"
}

PROGRAMS=(cat cp env false grep head id kill ln ls mkdir printenv ps readlink rm seq setsid sleep touch tr true wc yes)

link_programs() { # all that somebody finds there who logs in
    local program path
    mkdir -p "$DIR/bin"
    for program in "${PROGRAMS[@]}"; do
        path=$(type -P "$program") || missing "$program is not installed"
        ln -sf "$path" "$DIR/bin/$program"
    done
    path=$(type -P dash) || missing "dash is not installed"
    ln -sf "$path" "$DIR/bin/sh"
}

configure() { # as serve; of two values sshd takes the first. Limits are high so that load tests do not trip on them
    local name=$1 host_key=$2 password=$3 pubkey=yes
    shift 3
    [ "$password" = no ] || pubkey=no
    cat >"$DIR/$name.conf" <<CONF
ListenAddress 127.0.0.1:0
HostKey $host_key
PidFile $DIR/$name.pid
AuthorizedKeysFile $DIR/authorized_keys
StrictModes no
$(printf '%s\n' "$@")
UsePAM no
PasswordAuthentication $password
KbdInteractiveAuthentication no
PubkeyAuthentication $pubkey
PermitRootLogin yes
AllowTcpForwarding yes
AllowStreamLocalForwarding yes
AllowAgentForwarding yes
PermitUserEnvironment no
AcceptEnv LANG LC_* PALISADE_*
PrintMotd no
UseDNS no
LogLevel VERBOSE
MaxStartups 1000:30:2000
MaxSessions 1000
MaxAuthTries 20
Subsystem sftp internal-sftp
CONF
}

new_port() { # NAME: one that nothing listens on right now; launch finds out if somebody was faster
    local port
    for _ in $(seq 50); do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000)) # below the kernel's own range for outgoing connections
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port" >"$DIR/$1.port"
            sed -i "s/^ListenAddress .*/ListenAddress 127.0.0.1:$port/" "$DIR/$1.conf"
            return
        fi
    done
    die "no free port"
}

launch() { # NAME: fails if it does not answer. sshd forks, then writes its pid file; one that cannot bind writes none.
    rm -f "$DIR/$1.pid"
    local start=("$SSHD" -f "$DIR/$1.conf" -E "$DIR/$1.log")
    if [ "$1" = target ] && has bare; then start=(unshare --mount bash -c "$WITHOUT" bash "${start[@]}"); fi
    "${start[@]}" || return 1
    for _ in $(seq $POLLS); do
        if [ -s "$DIR/$1.pid" ] && banner "$(port_of "$1")" 2>/dev/null; then return 0; fi
        sleep 0.02
    done
    return 1
}

WITHOUT='for program in {/usr/local,/usr,}/bin/{git,find,touch}; do
    if [ -e "$program" ]; then mount --bind /dev/null "$program"; fi
done
exec "$@"'

stop() { # NAME: the listener and the processes of its connections
    [ -s "$DIR/$1.pid" ] || return 0
    local listener child
    listener=$(cat "$DIR/$1.pid")
    for child in $(descendants "$listener"); do
        kill -CONT "$child" 2>/dev/null || true # frozen ones would never see the next signal
        kill "$child" 2>/dev/null || true
    done
    kill -CONT "$listener" 2>/dev/null || true
    kill "$listener" 2>/dev/null || true
    for _ in $(seq $POLLS); do
        running "$listener" || break
        sleep 0.02
    done
    rm -f "$DIR/$1.pid"
}

signal_connections() { # SIGNAL
    local child
    for child in $(descendants "$(pid_of target)"); do kill "-$1" "$child" 2>/dev/null || true; done
}

descendants() { # PID
    local child
    for child in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
        echo "$child"
        descendants "$child"
    done
}

banner() { # PORT: an SSH server greets there
    local line
    exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
    IFS= read -r -t 2 line <&3 || line=
    exec 3>&-
    [[ $line == SSH-2.0-* ]]
}

alive() { [ -s "$1" ] && running "$(cat "$1")"; }

running() { # PID: neither gone nor a zombie, which `kill -0` would take for alive until somebody reaps it
    local state
    state=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) || return 1
    [[ -n $state && $state != [ZX]* ]]
}

# --- what the client side needs ---

write_known_hosts() {
    local port name file=$DIR/known_hosts
    port=$(port_of target)
    {
        known "$port" host_a
        known "$port" host_rsa
        for name in "${NAMES[@]:1}"; do known "$(port_of "$name")" "host_$name"; done
    } >"$file"
    cp "$file" "${file}_hashed"
    ssh-keygen -q -H -f "${file}_hashed" >/dev/null 2>&1
    rm -f "${file}_hashed.old"
    echo "@revoked $(known "$port" host_a)" >"${file}_revoked"
    if has hostca; then echo "@cert-authority $(known "$port" host_ca)" >"${file}_ca"; fi
}

known() { # PORT KEY: a line of known_hosts
    echo "[127.0.0.1]:$1 $(cut -d' ' -f1,2 "$DIR/$2.pub")"
}

write_ssh_config() {
    local name
    {
        cat <<CONF
Host *
  User $(id -un)
  IdentityFile $DIR/key_ed25519
  IdentitiesOnly yes
  UserKnownHostsFile $DIR/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  LogLevel ERROR
CONF
        for name in "${NAMES[@]}"; do printf 'Host %s\n  HostName 127.0.0.1\n  Port %s\n' "$name" "$(port_of "$name")"; done
        if has jump; then printf 'Host far\n  HostName 127.0.0.1\n  Port %s\n  ProxyJump jump1,jump2\n' "$(port_of target)"; fi
    } >"$DIR/ssh_config"
}

write_env() {
    local name
    {
        echo "PALISADE_SSH_DIR=$DIR"
        echo "PALISADE_SSH_USER=$(id -un)"
        for name in "${NAMES[@]}"; do echo "PALISADE_SSH_PORT_${name^^}=$(port_of "$name")"; done
        if has agent; then echo "PALISADE_SSH_AUTH_SOCK=$DIR/agent.sock"; fi
    } >"$DIR/env"
}

has() { [[ $ROLES == *" $1 "* ]]; }
port_of() { cat "$DIR/$1.port"; }
pid_of() { cat "$DIR/$1.pid"; }

missing() {
    echo "sshd.sh: $*" >&2
    exit 3
}

die() {
    echo "sshd.sh: $*" >&2
    exit 1
}

main "$@"
