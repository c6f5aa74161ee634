//! The schema is shipped twice: as people read it, and as a program that starts reads it four times as fast.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests, of which this one writes down what it has made"
)]

use std::path::Path;

use cedar_policy::SchemaFragment;
use serde_json::Value;

#[test]
fn the_schema_in_json_is_the_one_in_cedar() {
    let (written, warnings) = SchemaFragment::from_cedarschema_str(palisade_policies::SCHEMA).unwrap();
    assert_eq!(warnings.count(), 0);
    let made = written.to_json_value().unwrap();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("palisade.cedarschema.json");
    std::fs::write(&path, format!("{made:#}\n")).unwrap();
    let shipped: Value = serde_json::from_str(palisade_policies::SCHEMA_JSON).unwrap();
    assert!(made == shipped, "the schema has changed: cp {} policies/", path.display());
}
