//! The program `palisade`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    palisade::main()
}
