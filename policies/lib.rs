//! The Cedar schema, the guards, the profiles and the group tables that Palisade ships, as text.
//!
//! This crate is data: it decides nothing and checks nothing. `palisade-engine` parses and validates it.

/// The schema that every policy is validated against: `policies/palisade.cedarschema`.
pub const SCHEMA: &str = include_str!("palisade.cedarschema");

/// The same in Cedar's JSON, made of it: a test holds the two against each other (`engine/tests/schema.rs`).
pub const SCHEMA_JSON: &str = include_str!("palisade.cedarschema.json");

/// One policy file: the name that diagnostics show, and its text.
pub type File = (&'static str, &'static str);

/// The guards: loaded with every policy set, whatever profile or site directory is used.
pub const GUARDS: &[File] = &[("guards/guards.cedar", include_str!("guards/guards.cedar"))];

/// What no profile permits: loaded with each of them.
pub const BASE: &[File] = &[("base/never.cedar", include_str!("base/never.cedar"))];

/// The profiles that `--profile` and the setting `profile` name.
pub const PROFILES: &[(&str, File)] = &[
    ("developer", ("profiles/developer.cedar", include_str!("profiles/developer.cedar"))),
    ("readonly", ("profiles/readonly.cedar", include_str!("profiles/readonly.cedar"))),
    ("regulated", ("profiles/regulated.cedar", include_str!("profiles/regulated.cedar"))),
];

/// Cases that the guards and profiles must pass, as TOML.
pub const CASES: &[File] = &[
    ("cases/guards.toml", include_str!("cases/guards.toml")),
    ("cases/developer.toml", include_str!("cases/developer.toml")),
    ("cases/held.toml", include_str!("cases/held.toml")),
    ("cases/readonly.toml", include_str!("cases/readonly.toml")),
    ("cases/regulated.toml", include_str!("cases/regulated.toml")),
];

/// The path and host groups that policies can name, as TOML: `policies/groups.toml`.
pub const GROUPS: File = ("groups.toml", include_str!("groups.toml"));

/// The variables that `guard-loader-env` forbids to set, each with its reason, as TOML: `policies/variables.toml`.
pub const VARIABLES: File = ("variables.toml", include_str!("variables.toml"));
