//! Room for what recurses as deep as a policy is long: parsing, validating, translating and laying out.
//!
//! Decides nothing. Cedar's evaluator looks how much stack is left, the rest of it does not; threads of a server have
//! 2 MiB. With `MAX_OPERATORS` and `MAX_NESTING` of `depth.rs` the deepest policy fits into what is given here.

/// Bytes of address space; what is not used takes no memory.
pub(crate) const DEEP: usize = 256 * 1024 * 1024;

/// Runs something on a thread with a deep stack.
pub(crate) fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, std::io::Error> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(DEEP).spawn_scoped(scope, work)?;
        thread.join().map_err(|_panic| std::io::Error::other("it panicked"))
    })
}
