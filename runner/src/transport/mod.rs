//! How bytes reach a shell. There is one way now: a shell on this machine.

pub mod local;
