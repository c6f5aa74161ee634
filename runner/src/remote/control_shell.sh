# As `control_shell.bash`, of which the words are, for dash and busybox's ash. No variable is local to a function here.
PATH=/usr/bin:/bin
cd /
palisade_held=
palisade_inputs=

palisade_find() {
    found=
    # Which processes bear the mark: one program for all, that does not bear it.
    marked=$(grep -ls "PALISADE_SESSION=$2" /proc/[0-9]*/environ 2>/dev/null)
    for d in /proc/[0-9]*; do
        p=${d#/proc/}
        [ -O "$d" ] && [ "$p" != "$1" ] && [ "$p" != "$$" ] || continue
        # A name may have line ends.
        s=
        { while IFS= read -r line; do s=$line; done <"$d/stat"; } 2>/dev/null
        [ "$s" ] || continue
        # Behind the name: state, parent, group, session, and the start as the 20th.
        set -- "$1" "$2" "$3" ${s##*) }
        [ "$4" != Z ] || continue
        case ${23} in
        '' | *[!0-9]*) ;;
        *) [ "${23}" -ge "${3:-0}" ] || continue ;;
        esac
        if [ "$7" != "$1" ]; then
            case $marked in
            *"$d/environ"*) ;;
            *) continue ;;
            esac
        fi
        found="$found $p"
    done
}

palisade_end() {
    for held in $palisade_held; do
        kill -KILL "${held%%=*}" 2>/dev/null
        for round in 1 2 3 4 5 6 7 8; do
            palisade_find "${held%%=*}" "${held#*=}"
            [ "$found" ] || break
            kill -KILL $found 2>/dev/null
        done
    done
}

# Neither program tells what a path means of which several parts are not there: the deepest part that is there, and the rest behind it.
# A link or a `..` in that rest could lead elsewhere, so that nothing is said then.
palisade_real() {
    path=$1
    rest=
    while :; do
        real=$(readlink -f -- "$path" 2>/dev/null && echo .)
        case $real in
        /*)
            # Without the line end and the dot: a name may end with a line end.
            real=${real%??}
            [ ! "$rest" ] || real=${real%/}/$rest
            return 0
            ;;
        esac
        real=
        [ ! -L "$path" ] || return 1
        case ${path##*/} in
        '') ;;
        . | ..) return 1 ;;
        *) rest=${path##*/}${rest:+/$rest} ;;
        esac
        case $path in
        /) return 1 ;;
        /*[!/]*) path=${path%/*} ;;
        *) return 1 ;;
        esac
        path=${path:-/}
    done
}

palisade_look() {
    for named; do
        palisade_real "$named"
        printf '%s\0' "$real"
        if [ -d "$named" ] && [ -x "$named" ]; then
            printf 'd\0'
        elif [ -e "$named" ]; then
            printf 'f\0'
        else
            printf 'n\0'
        fi
    done
}

palisade_is() {
    is=
    mount=
    inode=
    { while read -r name value; do
        case $name in
        mnt_id:) mount=$value ;;
        ino:) inode=$value ;;
        esac
    done <"/proc/$1/fdinfo/$2"; } 2>/dev/null
    [ ! "$mount" ] || [ ! "$inode" ] || is=$mount.$inode
}

palisade_without() {
    kept=
    for held in $2; do
        [ "${held%%=*}" = "$1" ] || kept="$kept $held"
    done
}

palisade_let_go() {
    palisade_without "$1" "$palisade_held"
    palisade_held=$kept
    palisade_without "$1" "$palisade_inputs"
    palisade_inputs=$kept
}

palisade_hold() {
    palisade_is "$1" 0
    palisade_inputs="$palisade_inputs $1=$is"
    palisade_held="$palisade_held $1=$2"
}
palisade_end_all() { palisade_end; palisade_held=; }
palisade_interrupt() { kill -INT "-$1" || kill -INT "$1"; }
palisade_signal() { palisade_find "$1" "$2" "$4"; [ ! "$found" ] || kill "-$3" $found; }
palisade_kill_shell() { kill -KILL "$1"; }
palisade_cwd() { command cd -P "/proc/$1/cwd" && pwd -P; command cd /; }

palisade_now() {
    s=$(read -r s </proc/self/stat; printf '%s' "$s")
    set -- ${s##*) }
    printf '%s' "${20}"
}

palisade_kill_rest() {
    palisade_find "$1" "$2" "$3"
    [ ! "$found" ] || kill -KILL $found
    set -- $found
    printf '%s' "$#"
}

trap '' HUP PIPE
trap palisade_end EXIT
if command -v grep >/dev/null && command -v readlink >/dev/null; then printf ready; else printf lacks; fi
