//! The walls between this crate's modules: they form no circle, and some know nothing of the pipeline.
//!
//! Read from the text: a module knows another if it names `crate::` and that one outside of comments and test modules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Each module at the top of the crate, and those that it names.
type Graph = BTreeMap<String, BTreeSet<String>>;

fn read(directory: &Path, top: Option<&str>, graph: &mut Graph) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let module = top.unwrap_or(&name);
        if ["lib", "walls"].contains(&module) || name == "tests" {
            continue;
        }
        if path.is_dir() {
            read(&path, Some(module), graph);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let product = text.split("\nmod tests {\n").next().unwrap();
            let lines = product.lines().map(|line| line.split("//").next().unwrap());
            let named = lines.flat_map(|line| line.split("crate::").skip(1)).map(|rest| {
                let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
                rest.get(..end.unwrap_or(rest.len())).unwrap().to_owned()
            });
            graph.entry(module.to_owned()).or_default().extend(named.filter(|named| named != module));
        }
    }
}

fn modules() -> Graph {
    let mut graph = Graph::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), None, &mut graph);
    let known: BTreeSet<String> = graph.keys().cloned().collect();
    graph.values_mut().for_each(|named| named.retain(|name| known.contains(name)));
    graph
}

#[test]
fn modules_form_no_circle() {
    let mut graph = modules();
    assert!(graph.len() > 20 && graph["pipeline"].contains("session"), "the sources are read: {graph:?}");
    // Whatever names none of those that are left goes, until nothing does.
    while let Some(lowest) = graph.iter().find(|(_, named)| named.is_empty()).map(|(name, _)| name.clone()) {
        graph.remove(&lowest);
        graph.values_mut().for_each(|named| _ = named.remove(&lowest));
    }
    assert!(graph.is_empty(), "a circle: {graph:?}");
}

#[test]
fn nothing_below_the_pipeline_knows_it() {
    for (name, named) in modules() {
        assert!(["pipeline", "dry_run"].contains(&name.as_str()) || !named.contains("pipeline"), "{name}: {named:?}");
    }
}
