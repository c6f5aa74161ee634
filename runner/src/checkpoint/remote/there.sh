# What a target is asked about its workspace, and about what is kept of it there. For any `sh`, in an environment that holds nothing of
# anybody's. A record that begins with `!` says why there is no answer.
set -f
umask 077

palisade_no() {
    printf "!%s$palisade_end" "$1"
    printf "%s$palisade_end" "$palisade_nonce"
    exit 0
}

# By their paths: some shells have their own of these names, whatever there is besides.
find() { "$palisade_find" "$@"; }
touch() { "$palisade_touch" "$@"; }

palisade_path() {
    for palisade_directory in /usr/bin /bin /usr/local/bin; do
        [ -f "$palisade_directory/$1" ] && [ -x "$palisade_directory/$1" ] && break
    done
    printf %s "$palisade_directory/$1"
}

# Programs that have to be there; two of GNU's kind.
palisade_needs() {
    palisade_find=$(palisade_path find)
    palisade_touch=$(palisade_path touch)
    for palisade_name; do
        command -v "$palisade_name" >/dev/null 2>&1 || palisade_no "lacks $palisade_name"
    done
    find / -maxdepth 0 -printf '' >/dev/null 2>&1 || palisade_no 'lacks find of GNU findutils'
    touch --version >/dev/null 2>&1 || palisade_no 'lacks touch of GNU coreutils'
}

# Stands in the workspace, and knows its real path.
palisade_workspace() {
    cd -P -- "$1" 2>/dev/null || palisade_no workspace
    palisade_work=$(pwd -P)
    [ "$palisade_work" != / ] || palisade_no root
}

# What lies in the workspace, none of it read: the time there; the workspace itself; each path and where it leads. Behind the workspace
# come the names that are not looked into.
palisade_list() {
    palisade_needs date
    palisade_workspace "$1"
    shift
    set -- -name .git "$@"
    printf '%s\0' "$(date +%s)"
    printf '%s\0' "$(find . -maxdepth 0 -printf '%D %F')"
    palisade_form='%D %i %s %m %y %U %G %T@ %C@ %P\0%l\0'
    find . -mindepth 1 -xdev \( \( "$@" \) -prune -o -true \) \
        \( -readable \( ! -type d -o -executable \) -printf "r $palisade_form" -o -printf "u $palisade_form" \)
    printf '=%s\0' "$?"
}

# A directory of the user's own, where objects are kept, outside of the workspace or in what is left out of it; and a repository that is
# there as long as this runs, so that nothing that lies in one counts. $1 is that directory, $2 the workspace, $3 what is left out.
palisade_store() {
    palisade_needs git mkdir rm chmod
    palisade_workspace "$2"
    # What somebody has put in its place is not ours to write to, and nothing in it ours to clear away.
    [ ! -L "$1" ] && [ ! -L "${1%/*}" ] || palisade_no link
    mkdir -p -- "$1/objects" 2>/dev/null && cd -P -- "$1" 2>/dev/null && [ -O . ] && [ -w . ] || palisade_no store
    palisade_kept=$(pwd -P)
    case $palisade_kept/ in
    "$palisade_work/${3:-/}"/*) ;;
    "$palisade_work"/*) palisade_no inside ;;
    esac
    chmod 700 . && [ ! -L objects ] && [ -O objects ] || palisade_no store
    # Of those that were cut short.
    find . -maxdepth 1 -regex './git[.][0-9a-f]+' -type d -mmin +120 -exec rm -rf -- {} +
    palisade_own=$palisade_kept/git.$palisade_nonce
    trap 'rm -rf -- "$palisade_own"' EXIT
    mkdir -- "$palisade_own" "$palisade_own/refs" "$palisade_own/objects" "$palisade_own/info" || palisade_no store
    printf 'ref: refs/heads/none\n' >"$palisade_own/HEAD"
    printf '* -text -filter -ident -eol -working-tree-encoding\n' >"$palisade_own/info/attributes"
    : >"$palisade_own/config"
    export GIT_DIR="$palisade_own" GIT_OBJECT_DIRECTORY="$palisade_kept/objects" GIT_CONFIG_NOSYSTEM=1 GIT_ATTR_NOSYSTEM=1
    export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_NO_REPLACE_OBJECTS=1 GIT_TERMINAL_PROMPT=0
}

palisade_git() {
    git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c core.attributesFile=/dev/null -c core.autocrlf=false \
        -c core.safecrlf=false -c core.symlinks=true -c core.looseCompression=1 -c gc.auto=0 "$@"
}

# The objects that the bytes of these files are or, with `-w` first, become.
palisade_hash() {
    cd -P -- "$palisade_work" || palisade_no workspace
    palisade_git hash-object "$@" --no-filters --stdin-paths
    palisade_status=$?
    # No checkpoint names what a power cut could take.
    case $* in -w) sync -f "$palisade_kept/objects" 2>/dev/null || sync ;; esac
    printf '=%s\n' "$palisade_status"
}

# Which of these objects are there, and their sizes.
palisade_held() {
    palisade_git cat-file --batch-check='%(objectname) %(objecttype) %(objectsize)'
    printf '=%s\n' "$?"
}

# Writes objects as files into a new directory of the workspace, under the names that come with them.
palisade_stage() {
    cd -P -- "$palisade_work" && mkdir -m 700 -- "./$1" && cd -P -- "./$1" && [ "$(pwd -P)" = "$palisade_work/$1" ] ||
        palisade_no stage
    export GIT_WORK_TREE="$palisade_work/$1" GIT_INDEX_FILE="$palisade_own/index"
    palisade_git update-index --index-info && palisade_git checkout-index --all --quiet
    printf '=%s\n' "$?"
}

# The objects that the files of that directory are.
palisade_staged() {
    cd -P -- "$palisade_work/$1" && [ "$(pwd -P)" = "$palisade_work/$1" ] || palisade_no stage
    palisade_git hash-object --no-filters --stdin-paths
    printf '=%s\n' "$?"
}

palisade_unstage() {
    cd -P -- "$palisade_work" && rm -rf -- "./$1"
    printf '=%s\n' "$?"
}

# Lets objects go.
palisade_forget() {
    cd -P -- "$palisade_kept/objects" && sed 's|^..|&/|' | xargs rm -f --
    printf '=%s\n' "$?"
}

# Lets every object go but those that are named, in the order of their names; and what nobody writes to any more.
palisade_sweep() {
    command -v comm >/dev/null 2>&1 || palisade_no 'lacks comm'
    palisade_git cat-file --batch-all-objects --batch-check='%(objectname)' >"$palisade_own/all" &&
        comm -23 "$palisade_own/all" - | palisade_forget
    find "$palisade_kept/objects" -type f -name 'tmp_obj_*' -exec rm -f -- {} +
}

# Reads the steps of a restore, and takes them.
palisade_steps() {
    palisade_needs chmod chown ln mkdir mv rm rmdir
    palisade_workspace "$1"
    export palisade_work palisade_nonce palisade_find palisade_touch
    exec sh
}
