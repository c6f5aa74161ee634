# $1 is the directory, $2 the SHA-256 of the program and its name there, $3 what it says of its version.

palisade_say() { printf "%s$palisade_end" "$*"; }

# A directory that is the user's alone, and no link.
palisade_room() {
    umask 077
    mkdir -p -- "$1" 2>/dev/null
    if [ -L "$1" ] || [ ! -d "$1" ] || [ ! -O "$1" ]; then
        palisade_say "fails its directory cannot be made, or is not the user's own"
        return 1
    fi
    chmod 700 "$1" 2>/dev/null || { palisade_say "fails its directory cannot be closed to others"; return 1; }
    command -v sha256sum >/dev/null || { palisade_say "fails sha256sum is needed there"; return 1; }
}

# Whether a file is what it has to be.
palisade_is() {
    [ -f "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] || return 1
    palisade_sum=$(sha256sum <"$1") && [ "${palisade_sum%% *}" = "$2" ]
}

# Whether programs that lie in the directory can be executed at all. It is tried: what is mounted where, and over what, is not for a list to
# tell. The list names the mount, where it has one that forbids it.
palisade_executes() {
    palisade_try=$1/.try.$$
    # That there is no room is another matter.
    printf '#!/bin/sh\n' 2>/dev/null >"$palisade_try" && chmod 700 "$palisade_try" || return 0
    "$palisade_try" 2>/dev/null
    palisade_status=$?
    rm -f -- "$palisade_try"
    [ "$palisade_status" != 0 ] || return 0
    palisade_real=$(cd -P -- "$1" && pwd -P)
    palisade_mount=
    palisade_options=
    while read -r palisade_device palisade_at palisade_kind palisade_has palisade_rest; do
        case $palisade_real/ in
        "${palisade_at%/}"/*)
            # The longest one, and of those of one name the last.
            [ "${#palisade_at}" -lt "${#palisade_mount}" ] || { palisade_mount=$palisade_at palisade_options=$palisade_has; }
            ;;
        esac
    done </proc/self/mounts
    case ,$palisade_options, in
    *,noexec,*) palisade_say "noexec $palisade_mount" ;;
    *) palisade_say noexec ;;
    esac
    return 1
}

palisade_run() {
    chmod 500 "$1" 2>/dev/null
    palisade_told=$("$1" --version 2>&1)
    if [ "$palisade_told" = "$2" ]; then
        palisade_say runs
    else
        palisade_executes "${1%/*}" || return
        palisade_say "fails the program does not start there: $(printf %.200s "$palisade_told" | tr "\n" " ")"
    fi
}

palisade_look() {
    palisade_room "$1" || return
    if palisade_is "$1/$2" "$2"; then
        palisade_run "$1/$2" "$3"
    else
        ! palisade_executes "$1" || palisade_say lacks
    fi
}

palisade_bring() {
    palisade_room "$1" || return
    palisade_new=$1/.$2.$$
    rm -f -- "$palisade_new"
    cat >"$palisade_new" 2>/dev/null
    if palisade_is "$palisade_new" "$2"; then
        chmod 500 "$palisade_new" && mv -f -- "$palisade_new" "$1/$2" && palisade_run "$1/$2" "$3"
    else
        rm -f -- "$palisade_new"
        palisade_say "fails it does not fit there, or has come as something else"
    fi
}
