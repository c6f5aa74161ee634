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

palisade_run() {
    chmod 500 "$1" 2>/dev/null
    palisade_told=$("$1" --version 2>&1)
    if [ "$palisade_told" = "$2" ]; then
        palisade_say runs
    else
        palisade_say "fails the program does not start there: $(printf %.200s "$palisade_told" | tr "\n" " ")"
    fi
}

palisade_look() {
    palisade_room "$1" || return
    if palisade_is "$1/$2" "$2"; then palisade_run "$1/$2" "$3"; else palisade_say lacks; fi
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
