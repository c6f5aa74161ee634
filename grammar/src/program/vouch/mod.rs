//! Small languages inside arguments: which programs of awk, sed, jq, Python and others are surely harmless.
//!
//! These files decide which code we vouch for: code that can neither run a program nor touch a file other than those it
//! is seen to name. Each knows a small safe part of its language and says no to all else.

mod awk;
mod jq;
mod perl;
mod plain;
mod python;
mod sed;
mod shell;
mod sql;

use crate::inventory::EffectKind;

pub(crate) use awk::awk;
pub(crate) use jq::{jq, yq};
pub(crate) use perl::perl;
pub(crate) use plain::{node, php, ruby};
pub(crate) use python::{python, shadows};
pub(crate) use sed::sed;
pub(crate) use shell::{plain_shell, posix_shell};
pub(crate) use sql::sql;

/// Something done to a file whose name stands in the code.
pub(crate) type Touched = (EffectKind, String);

/// Longer code is not looked at.
const MAX_CODE: usize = 16 * 1024;
/// Deeper nesting is not looked at.
const MAX_NESTING: usize = 96;
