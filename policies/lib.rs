//! The Cedar schema, the guards, the profiles and the group tables that Palisade ships, as text.
//!
//! This crate is data: it decides nothing and checks nothing. `palisade-engine` parses and validates it.

/// The schema that every policy is validated against: `policies/palisade.cedarschema`.
pub const SCHEMA: &str = include_str!("palisade.cedarschema");

/// One policy file: the name that diagnostics show, and its text.
pub type File = (&'static str, &'static str);

/// The guards: loaded with every policy set, whatever profile or site directory is used.
pub const GUARDS: &[File] = &[("guards/guards.cedar", include_str!("guards/guards.cedar"))];

/// The profiles that `--profile` and the setting `profile` name.
pub const PROFILES: &[(&str, File)] =
    &[("developer", ("profiles/developer.cedar", include_str!("profiles/developer.cedar")))];

/// The path groups that policies can name, as TOML: `policies/groups.toml`.
pub const GROUPS: File = ("groups.toml", include_str!("groups.toml"));
