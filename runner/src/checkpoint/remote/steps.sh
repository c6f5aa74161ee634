# The steps of a restore, each a line below this: for any `sh`, in an environment that holds nothing of anybody's. `stage` is the
# directory in the workspace with the files that are to be moved to their places. A step that is not done says why; the others are.
set -f
umask 077
root=$palisade_work
find() { "$palisade_find" "$@"; }
touch() { "$palisade_touch" "$@"; }

no() {
    printf '%s %s\0' "$n" "$1"
    return 1
}

# Goes to the directory $1 below the workspace, through no link.
at() {
    cd -P -- "$root${1:+/$1}" 2>/dev/null || no 'its directory is not there' || return
    here=$(pwd -P; printf .)
    [ "$here" = "$root${1:+/$1}
." ] || no 'its directory is reached through a link'
}

# What stands at these paths, a line each: of a directory which one it is, of anything else all that a change of it would change.
stand() {
    find "$@" -maxdepth 0 \( -type d -printf 'd %D %i %p\n' -o -printf '%y %D %i %s %m %U %G %T@ %C@ %p\n' \) 2>/dev/null
}

# Goes to the directory $1, where what stands at the paths behind has to be what the plan has seen, $2.
as_seen() {
    at "$1" >/dev/null || return
    seen=$2
    shift 2
    [ "$(stand "$@")" = "$seen" ]
}

# A sign of life before what is taken as a whole. Nobody hears it any more if the connection is gone, and then it ends here.
alive() {
    moved=
    printf '0 \0'
}

# What stands at $1 has to be what the plan has seen there, $2, or nothing. Of a directory that is which one it is.
standing() {
    now=$(find "./$1" -maxdepth 0 -printf '%y %D %i %s %m %U %G %T@ %C@' 2>/dev/null)
    case $now in
    '') return 0 ;;
    'd '*) case $now in "$2 "*) return 0 ;; esac ;;
    "$2") return 0 ;;
    esac
    no 'it has changed meanwhile'
}

# Makes $2 belong to $1, user and group.
give() {
    [ "$1" = "$(find "$2" -maxdepth 0 -printf '%U:%G')" ] || chown -h -- "$1" "$2" 2>/dev/null
}

# Owner, permissions and time of $1, in the order in which none undoes another. Whoever may not give files away keeps them, and a
# program that runs as its owner must not become one that runs as us.
settle() {
    mode=$2
    give "$4" "$1" || mode=0${mode#?}
    chmod -- "$mode" "$1" && touch -h -d "$3" -- "$1"
}

# The same in the stage, for one of what the steps need there. What cannot be made as it was does not come back.
own() {
    n=$1 mode=$2
    give "$3" "$4" || mode=0${mode#?}
    why=$(chmod -- "$mode" "$4" 2>&1) || spoilt "$4"
}

stamp() {
    touch -h -d "$2" -- "$3" 2>/dev/null && return
    n=$1
    why=$(touch -h -d "$2" -- "$3" 2>&1) || spoilt "$3"
}

spoilt() {
    no "$why"
    rm -f -- "$1"
}

# And for many that have the same. They need no owner but the one that they have, or it is for each by itself.
owned() {
    user=$1 group=$2 mode=$3
    shift 3
    [ -z "$(find "$@" -maxdepth 0 ! \( -uid "$user" -gid "$group" \) -printf x 2>&1)" ] && chmod -- "$mode" "$@" 2>/dev/null
}

stamps() {
    time=$1
    shift
    touch -h -d "$time" -- "$@" 2>/dev/null
}

# Files and links go.
erase() {
    as_seen "$@" || return
    shift 2
    rm -f -- "$@" 2>/dev/null
}

# Directories go.
remove() {
    as_seen "$@" || return
    shift 2
    rmdir -- "$@" 2>/dev/null
}

# Files are moved from the directory $1 of the stage. `moved` is what is done, should it not be all of it.
put() {
    batch=$stage/$1
    shift
    as_seen "$@" || return
    shift 2
    for path; do
        set -- "$@" "$batch/${path#./}"
        shift
    done
    moved=$(mv -f -v -- "$@" . 2>/dev/null)
}

delete() {
    n=$1
    at "$2" && standing "$3" "$4" || return
    case $now in
    '') ;;
    'd '*) why=$(rmdir -- "./$3" 2>&1) || no "$why" ;;
    *) why=$(rm -f -- "./$3" 2>&1) || no "$why" ;;
    esac
}

directory() {
    n=$1
    at "$2" && standing "$3" "$4" || return
    case $now in
    'd '*) return ;;
    ?*) why=$(rm -f -- "./$3" 2>&1) || no "$why" || return ;;
    esac
    # Its own permissions come last: there may be none to write in it.
    why=$(mkdir -m 700 -- "./$3" 2>&1) || no "$why"
}

# Moves $1 of the stage to ./$2 once it is as it has to be.
place() {
    case $now in 'd '*) why=$(rmdir -- "./$2" 2>&1) || no "$why" || return ;; esac
    why=$(mv -f -T -- "$stage/$1" "./$2" 2>&1) || no "$why"
}

file() {
    n=$1
    case $moved in *" -> './$3'"*) return ;; esac
    at "$2" && standing "$3" "$4" && place "$5" "$3"
}

link() {
    n=$1
    at "$2" && standing "$3" "$4" || return
    why=$(ln -s -- "$6" "$stage/$5" 2>&1) || no "$why" || return
    touch -h -d "$7" -- "$stage/$5" 2>/dev/null
    give "$8" "$stage/$5"
    place "$5" "$3"
}

finish() {
    n=$1
    at "$2" || return
    why=$(settle . "$3" "$4" "$5" 2>&1) || no "$why"
}

# Times of directories, as far as it goes: what others put in its place keeps its own.
put_time() {
    n=$1
    at "$2" >/dev/null && [ -d "./$3" ] && [ ! -L "./$3" ] && touch -h -d "$4" -- "./$3" 2>/dev/null
}

# Takes the directory away that files came from.
clear_stage() {
    n=0
    at '' && rm -rf -- "$stage"
}
