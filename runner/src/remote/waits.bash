# Whether a command waits for input: told to the second shell only where somebody wants to know, behind `control_shell.bash`.

# So many bytes of a process's memory, as numbers of this size. Each time takes three programs: whoever runs hundreds of processes must not
# keep everybody else waiting who asks this shell.
/palisade/memory() {
    builtin command dd if="/proc/$1/mem" bs=1 skip="$(($2))" count="$3" 2>/dev/null | builtin command od -An -v "-tu$4" 2>/dev/null
}

# Fills `descriptors` with those that a process waits to read from in its system call, if that is told (proc(5), /proc/PID/syscall).
/palisade/awaited() {
    builtin local call first second rest memory n
    descriptors=()
    builtin read -r call first second rest 2>/dev/null <"/proc/$1/syscall" || builtin return
    [[ $first == 0x* && $second == 0x* ]] || builtin return
    case $palisade_machine.$call in
    # read, readv
    x86_64.0 | x86_64.19 | aarch64.63 | aarch64.65) descriptors=("$((first))") ;;
    # poll, ppoll
    x86_64.7 | x86_64.271 | aarch64.73)
        ((second <= 64 && ++memories <= 32)) || builtin return
        memory=($(/palisade/memory "$1" "$first" "$((second * 8))" 4))
        for ((n = 0; n + 1 < ${#memory[@]}; n += 2)); do ((memory[n + 1] & 1)) && descriptors+=("${memory[n]}"); done
        ;;
    # select, pselect6
    x86_64.23 | x86_64.270 | aarch64.72)
        ((first <= 1024 && ++memories <= 32)) || builtin return
        memory=($(/palisade/memory "$1" "$second" "$(((first + 7) / 8))" 1))
        for ((n = 0; n < first; n++)); do ((memory[n / 8] >> n % 8 & 1)) && descriptors+=("$n"); done
        ;;
    # epoll_wait, epoll_pwait, epoll_pwait2
    x86_64.232 | x86_64.281 | aarch64.22 | *.441)
        while builtin read -r call n rest; do
            [[ $call != tfd: ]] || descriptors+=("$n")
            ((${#descriptors[@]} < 64)) || builtin break
        done 2>/dev/null <"/proc/$1/fdinfo/$((first))"
        ;;
    esac
}

# The number of a process's terminal: `terminal`.
/palisade/terminal() {
    builtin local s
    terminal=0
    IFS= builtin read -r s 2>/dev/null <"/proc/$1/stat" || builtin return
    s=(${s##*) })
    terminal=${s[4]}
}

# Whether the shell or what the session runs waits for the shell's input, by this name or as `/dev/tty`.
/palisade/waits() {
    builtin local p d is terminal own descriptors found memories=0
    palisade_machine=${palisade_machine:-$(builtin command uname -m)}
    if [[ ${palisade_inputs[$1]} ]]; then
        /palisade/find "$1" "$2"
        /palisade/terminal "$1"
        own=$terminal
        for p in "$1" "${found[@]}"; do
            /palisade/awaited "$p"
            for d in "${descriptors[@]:0:64}"; do
                /palisade/is "$p" "$d"
                /palisade/terminal "$p"
                if [[ $is == "${palisade_inputs[$1]}" || ($own != 0 && $terminal == "$own" && "/proc/$p/fd/$d" -ef /dev/tty) ]]; then
                    builtin printf 1
                    builtin return
                fi
            done
        done
    fi
    builtin printf 0
}
