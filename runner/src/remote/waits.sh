# As `waits.bash`, for dash and busybox's ash. There are no terminals here.

palisade_memory() {
    dd if="/proc/$1/mem" bs=1 skip="$(($2))" count="$3" 2>/dev/null | od -An -v "-tu$4" 2>/dev/null
}

palisade_awaited() {
    descriptors=
    first=
    second=
    { read -r call first second rest <"/proc/$1/syscall"; } 2>/dev/null || return 0
    case $first,$second in 0x*,0x*) ;; *) return 0 ;; esac
    case $palisade_machine.$call in
    x86_64.0 | x86_64.19 | aarch64.63 | aarch64.65) descriptors=$((first)) ;;
    x86_64.7 | x86_64.271 | aarch64.73)
        [ "$((second))" -le 64 ] && [ "$memories" -lt 32 ] || return 0
        memories=$((memories + 1))
        entry=
        for number in $(palisade_memory "$1" "$first" "$((second * 8))" 4); do
            if [ ! "$entry" ]; then
                entry=$number
            else
                [ "$((number & 1))" = 0 ] || descriptors="$descriptors $entry"
                entry=
            fi
        done
        ;;
    x86_64.23 | x86_64.270 | aarch64.72)
        [ "$((first))" -le 1024 ] && [ "$memories" -lt 32 ] || return 0
        memories=$((memories + 1))
        entry=0
        for number in $(palisade_memory "$1" "$second" "$(((first + 7) / 8))" 1); do
            while [ "$number" -gt 0 ] && [ "$entry" -lt "$((first))" ]; do
                [ "$((number & 1))" = 0 ] || descriptors="$descriptors $entry"
                number=$((number / 2))
                entry=$((entry + 1))
            done
            entry=$(((entry + 7) / 8 * 8))
        done
        ;;
    x86_64.232 | x86_64.281 | aarch64.22 | *.441)
        entry=0
        { while read -r name number rest; do
            [ "$name" != tfd: ] || descriptors="$descriptors $number"
            entry=$((entry + 1))
            [ "$entry" -lt 64 ] || break
        done <"/proc/$1/fdinfo/$((first))"; } 2>/dev/null
        ;;
    esac
}

palisade_waits() {
    palisade_machine=${palisade_machine:-$(uname -m)}
    input=
    memories=0
    for held in $palisade_inputs; do
        [ "${held%%=*}" != "$1" ] || input=${held#*=}
    done
    if [ "$input" ]; then
        palisade_find "$1" "$2"
        for p in "$1" $found; do
            palisade_awaited "$p"
            for d in $descriptors; do
                palisade_is "$p" "$d"
                if [ "$is" = "$input" ]; then
                    printf 1
                    return 0
                fi
            done
        done
    fi
    printf 0
}
