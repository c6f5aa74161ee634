//! What whole-program tests stand on.

pub(crate) mod services;
pub(crate) mod world;
