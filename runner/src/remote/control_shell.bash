PATH=/usr/bin:/bin
builtin cd /
builtin unset CDPATH BASH_ENV ENV
# Each shell's number with the mark of all that it starts: what is ended with this shell.
declare -A palisade_held
# And with what its input is: mount and inode, as the kernel has them.
declare -A palisade_inputs

# Fills `found` with the processes of the session, but its shell: $1 is the shell's number, which is that of its session as well, and
# $2 the mark in the environment of all that it starts. With $3 only those that started at this tick or later. Only builtins, so that it is
# no process of its own. What a process is called is its owner's, and may have lines and brackets: only what stands behind the last bracket of the
# last line is the kernel's, and no word of it is ever evaluated.
/palisade/find() {
    builtin local d p s l f e
    found=()
    for d in /proc/[0-9]*; do
        p=${d#/proc/}
        [[ -O $d && $p != "$1" && $p != "$$" ]] || builtin continue
        s=
        while IFS= builtin read -r l; do s=$l; done 2>/dev/null <"$d/stat"
        [[ $s ]] || builtin continue
        f=(${s##*) })
        [[ ${f[0]} != Z ]] || builtin continue
        [[ ! ${f[19]} || ${f[19]} == *[!0-9]* ]] || [ "${f[19]}" -ge "${3:-0}" ] || builtin continue
        if [[ ${f[3]} != "$1" ]]; then
            e=()
            builtin mapfile -d '' e 2>/dev/null <"$d/environ"
            [[ " ${e[*]} " == *" PALISADE_SESSION=$2 "* ]] || builtin continue
        fi
        found+=("$p")
    done
}

# Ends all that is held, and nothing if that is nothing.
/palisade/end() {
    builtin local p n found
    for p in "${!palisade_held[@]}"; do
        builtin kill -KILL "$p"
        for n in 1 2 3 4 5 6 7 8; do
            /palisade/find "$p" "${palisade_held[$p]}"
            [[ $found ]] || builtin break
            builtin kill -KILL "${found[@]}"
        done
    done
}

# For each path its real one and what is there, each with a NUL behind it.
/palisade/look() {
    builtin local p
    for p; do
        builtin command realpath -mz -- "$p" 2>/dev/null || builtin printf '\0'
        if [[ -d $p && -x $p ]]; then
            builtin printf 'd\0'
        elif [[ -e $p ]]; then
            builtin printf 'f\0'
        else
            builtin printf 'n\0'
        fi
    done
}

# What a descriptor of a process is (proc(5), /proc/PID/fdinfo; the inode since Linux 5.14): `is`, empty if that is not told.
/palisade/is() {
    builtin local name value mount inode
    is= mount= inode=
    while builtin read -r name value; do
        case $name in
        mnt_id:) mount=$value ;;
        ino:) inode=$value ;;
        esac
    done 2>/dev/null <"/proc/$1/fdinfo/$2"
    [[ ! $mount || ! $inode ]] || is=$mount.$inode
}

/palisade/hold() {
    builtin local is
    /palisade/is "$1" 0
    palisade_inputs[$1]=$is
    palisade_held[$1]=$2
}
/palisade/let_go() { builtin unset -v "palisade_held[$1]" "palisade_inputs[$1]"; }
/palisade/end_all() { /palisade/end; palisade_held=(); }
/palisade/interrupt() { builtin kill -INT -- "-$1" || builtin kill -INT "$1"; }
/palisade/signal() { /palisade/find "$1" "$2" "$4"; [[ ! $found ]] || builtin kill "-$3" "${found[@]}"; }
/palisade/kill_shell() { builtin kill -KILL "$1"; }
/palisade/cwd() { builtin cd -P "/proc/$1/cwd" && builtin pwd -P; builtin cd /; }

# The tick that it is, by the clock that starts are counted with: that of a process which starts now.
/palisade/now() {
    builtin local s f
    s=$(IFS= builtin read -r s </proc/self/stat; builtin printf '%s' "$s")
    f=(${s##*) })
    builtin printf '%s' "${f[19]}"
}

# Kills all but the shell, or all that started at the tick $3 or later, and says how many there were.
/palisade/kill_rest() {
    /palisade/find "$1" "$2" "$3"
    [[ ! $found ]] || builtin kill -KILL "${found[@]}"
    builtin printf '%s' "${#found[@]}"
}

builtin trap '' HUP PIPE
builtin trap /palisade/end EXIT
builtin printf ready
