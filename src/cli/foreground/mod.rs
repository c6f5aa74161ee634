//! A command that its caller waits for (`run`, `sh`): its three streams, and what is said of its end.

pub(crate) mod call;
pub(crate) mod command_end;
pub(crate) mod input;
pub(crate) mod output;
pub(crate) mod terminal;
pub(crate) mod words;
