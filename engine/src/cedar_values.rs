//! Cedar's terms for plain values: ids, sets, records.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::str::FromStr;
use std::sync::LazyLock;

use cedar_policy::{EntityId, EntityTypeName, EntityUid, RestrictedExpression};

/// A request could not be put into Cedar's terms: the reason, for the record.
pub(crate) type Built<T> = Result<T, String>;

/// Every entity type of the schema: looked up, since reading a name costs more than all else about an id.
static TYPES: LazyLock<HashMap<&'static str, EntityTypeName>> = LazyLock::new(|| {
    const NAMES: [&str; 24] = [
        "Action",
        "Agent",
        "AuthMethod",
        "Channel",
        "Clock",
        "Command",
        "CommandGroup",
        "Effect",
        "EnvVar",
        "Host",
        "HostGroup",
        "Label",
        "Lasts",
        "Opaque",
        "Origin",
        "Path",
        "PathGroup",
        "Process",
        "Program",
        "Record",
        "Role",
        "Session",
        "Transport",
        "User",
    ];
    let parsed = |name: &'static str| Some((name, EntityTypeName::from_str(name).ok()?));
    NAMES.into_iter().chain(["Signal", "Tool", "Weekday"]).filter_map(parsed).collect()
});

pub(crate) fn uid(kind: &str, id: &str) -> Built<EntityUid> {
    let kind = TYPES.get(kind).ok_or_else(|| format!("the schema has no entity type `{kind}`"))?;
    Ok(EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id)))
}

pub(crate) fn role_uids(roles: &BTreeSet<String>) -> Built<HashSet<EntityUid>> {
    roles.iter().map(|role| uid("Role", role)).collect()
}

pub(crate) fn entity(kind: &str, id: &str) -> Built<RestrictedExpression> {
    uid(kind, id).map(RestrictedExpression::new_entity_uid)
}

pub(crate) fn uids<T: AsRef<str>>(kind: &str, ids: impl IntoIterator<Item = T>) -> Built<RestrictedExpression> {
    let set: Vec<_> = ids.into_iter().map(|id| entity(kind, id.as_ref())).collect::<Built<_>>()?;
    Ok(RestrictedExpression::new_set(set))
}

pub(crate) fn named<'n>(
    pairs: impl IntoIterator<Item = (&'n str, RestrictedExpression)>,
) -> Vec<(String, RestrictedExpression)> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(crate) fn bool(value: bool) -> RestrictedExpression {
    RestrictedExpression::new_bool(value)
}

pub(crate) fn string(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

pub(crate) fn strings<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> RestrictedExpression {
    RestrictedExpression::new_set(texts.into_iter().map(|text| string(text.as_ref())))
}

pub(crate) fn long(count: usize) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::try_from(count).unwrap_or(i64::MAX))
}

pub(crate) fn clamped(count: u64) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::try_from(count).unwrap_or(i64::MAX))
}

pub(crate) fn duration(milliseconds: u64) -> RestrictedExpression {
    RestrictedExpression::new_duration(format!("{}ms", i64::try_from(milliseconds).unwrap_or(i64::MAX)))
}

pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
