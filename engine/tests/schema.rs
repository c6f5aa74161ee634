//! The schema is shipped twice: as people read it, and as a program that starts reads it four times as fast.

use std::path::Path;

use cedar_policy::SchemaFragment;
use serde_json::Value;

#[test]
fn the_schema_in_json_is_the_one_in_cedar() {
    let (written, warnings) = SchemaFragment::from_cedarschema_str(palisade_policies::SCHEMA).expect("a schema");
    assert_eq!(warnings.count(), 0);
    let made = written.to_json_value().expect("JSON");
    let shipped: Value = serde_json::from_str(palisade_policies::SCHEMA_JSON).expect("JSON");
    if made != shipped {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("palisade.cedarschema.json");
        std::fs::write(&path, format!("{made:#}\n")).expect("written");
        panic!("the schema has changed: cp {} policies/", path.display());
    }
}
