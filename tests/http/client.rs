//! The reference client, over HTTP and in both eras.

use std::process::Command;

use serde_json::json;

use super::{TOKEN, with_token};
use crate::support::services::mcp_client_python;
use crate::support::world::{Ended, repository};

#[test]
fn the_reference_client_works_over_http_in_both_eras() {
    let Some(python) = mcp_client_python() else { return };
    for (mode, version) in [("auto", "2026-07-28"), ("legacy", "2025-11-25")] {
        let (world, site) = with_token("");
        let mut client = Command::new(&python);
        client.arg(repository().join("tests/support/mcp_http_client.py"));
        let seen = Ended::of(client.args([mode, &format!("http://{}/mcp", site.authority), TOKEN]));
        assert_eq!((seen.code, seen.stderr.as_str()), (Some(0), ""), "{mode}: {seen:?} {}", site.log());
        let seen = seen.json();
        assert_eq!(seen["version"], version, "{mode}");
        assert_eq!(seen["tools"].as_array().map(Vec::len), Some(10), "{mode}: {}", seen["tools"]);
        assert_eq!(seen["carried"]["structured"]["stdout"], "kept\n", "{mode}: {}", seen["carried"]);
        assert_eq!(seen["denied"]["structured"]["status"], "denied", "{mode}: {}", seen["denied"]);
        assert_eq!(
            (&seen["followed"], &seen["closed"]["structured"]["closed"]),
            (&json!("one\ntwo\n"), &json!(true)),
            "{mode}: {seen}"
        );
        let heard = seen["heard"].as_array().expect("a list").iter().filter_map(|line| line.as_str());
        assert!(heard.clone().count() > 0 && heard.clone().all(|line| line.starts_with("step ")), "{mode}: {seen}");
        assert!(seen["gone"]["text"].as_str().is_some_and(|text| text.contains("no session of that name")), "{mode}");
        assert_eq!(seen["no_such_tool"], -32602, "{mode}");
        assert_eq!(seen["refused"], 401, "{mode}");
        let (status, log) = site.stop();
        assert!(status == Some(0) && !log.contains(TOKEN), "{mode}: {log}");
        drop(world);
    }
}
