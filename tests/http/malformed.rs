//! Requests that no good client makes: each is refused, none is taken for another, and the server answers the next one.

use std::io::Write;

use serde_json::{Value, json};

use super::{Answer, Site, TOKEN, modern, send, tool_call, with_token};

/// A good message, with one text in it exchanged for another.
fn but(message: &Value, text: &str, other: &str) -> Vec<u8> {
    let whole = message.to_string();
    assert!(whole.contains(text), "no {text} in {whole}");
    whole.replacen(text, other, 1).into_bytes()
}

/// What these bytes are answered behind a good head, in which the lines of these names are exchanged.
fn ask(site: &Site, target: &str, exchanged: &[(&str, &str)], body: &[u8]) -> Answer {
    let (message, bearer) = (tool_call("list", &json!({})), format!("Bearer {TOKEN}"));
    let length = body.len().to_string();
    let good =
        [&modern(&message)[..], &[("authorization", &bearer), ("host", &site.authority), ("content-length", &length)]]
            .concat();
    let kept = good.into_iter().filter(|(name, _)| !exchanged.iter().any(|(other, _)| other == name));
    let head: Vec<(&str, &str)> = kept.chain(exchanged.iter().copied().filter(|(_, value)| *value != GONE)).collect();
    // In one piece: what a server has not read when it refuses can cost its answer. Not all of the body is text.
    let mut whole = Vec::new();
    send(&mut whole, &format!("POST {target}"), &head, "");
    whole.extend_from_slice(body);
    let mut stream = site.connect();
    let _answered_before = stream.write_all(&whole);
    Answer::of(&mut stream)
}

/// A line that is not there.
const GONE: &str = "\u{0}";

#[test]
fn a_head_that_can_be_read_in_two_ways_is_not_read() {
    let (_world, site) = with_token("");
    let list = tool_call("list", &json!({})).to_string();
    let (bearer, length) = (format!("Bearer {TOKEN}"), list.len().to_string());
    let own = format!("http://{}/mcp", site.authority);
    let (query, long) = (format!("/mcp?access_token={TOKEN}"), "y".repeat(500_000));
    let folded = format!("{length}\r\n 7");
    for (name, target, exchanged, status) in [
        ("as it should be", "/mcp", &[][..], 200),
        ("two lengths", "/mcp", &[("content-length", length.as_str()), ("content-length", "5")], 400),
        ("a length and chunks", "/mcp", &[("content-length", &length), ("transfer-encoding", "chunked")], 400),
        ("no coding that is known", "/mcp", &[("content-length", GONE), ("transfer-encoding", "xchunked")], 400),
        ("no coding at all", "/mcp", &[("transfer-encoding", "identity")], 400),
        ("a length below nothing", "/mcp", &[("content-length", "-1")], 400),
        ("a length with a sign", "/mcp", &[("content-length", "+5")], 400),
        ("a length in two lines", "/mcp", &[("content-length", &folded)], 400),
        ("no body by its head", "/mcp", &[("content-length", GONE)], 400),
        ("a space before the colon", "/mcp", &[("x-a ", "b")], 400),
        ("a line end in a value", "/mcp", &[("x-a", "b\rc")], 400),
        ("too long a head", "/mcp", &[("x-a", &long)], 431),
        ("another server's", "http://evil.example/mcp", &[], 421),
        ("its own by name", &own, &[], 200),
        ("a path that is written otherwise", "/%6dcp", &[], 404),
        ("a path that leads there", "/x/../mcp", &[], 404),
        ("a path with a slash more", "//mcp", &[], 404),
        ("a token where it is logged", &query, &[("authorization", GONE)], 401),
        ("two tokens", "/mcp", &[("authorization", &bearer), ("authorization", "Bearer another")], 401),
        ("the same token twice", "/mcp", &[("authorization", &bearer), ("authorization", &bearer)], 401),
        ("no bearer", "/mcp", &[("authorization", "Basic dXNlcjpwYXNz")], 401),
        ("an empty token", "/mcp", &[("authorization", "Bearer ")], 401),
        ("another method than the message's", "/mcp", &[("mcp-method", "tools/list")], 400),
        ("another name than the message's", "/mcp", &[("mcp-name", "exec")], 400),
        ("two names", "/mcp", &[("mcp-name", "list"), ("mcp-name", "exec")], 400),
        ("no method", "/mcp", &[("mcp-method", GONE)], 400),
        ("a version that is none", "/mcp", &[("mcp-protocol-version", "1999-01-01")], 400),
        ("another version than the message's", "/mcp", &[("mcp-protocol-version", "2025-06-18")], 400),
        ("an answer in another form", "/mcp", &[("accept", "text/html")], 406),
        ("and again as it should be", "/mcp", &[], 200),
    ] {
        let answer = ask(&site, target, exchanged, list.as_bytes());
        // The rest of a long head may still be on its way when the connection is closed.
        assert!(answer.status == status || (status, answer.status) == (431, 0), "{name}: {answer:?}");
        assert!(status == 200 || !answer.body.contains("\"result\""), "{name}: {answer:?}");
    }
    // What follows a body that ends in two ways is nobody's request.
    let smuggled = "0\r\n\r\nGET /.well-known/oauth-protected-resource HTTP/1.1\r\nhost: x\r\n\r\n";
    let exchanged = [("content-length", "6"), ("transfer-encoding", "chunked"), ("connection", "keep-alive")];
    let answer = ask(&site, "/mcp", &exchanged, smuggled.as_bytes());
    assert!(answer.status == 400 && !answer.body.contains("HTTP/1.1"), "{answer:?}");
}

#[test]
fn a_body_that_can_be_read_in_two_ways_is_not_read() {
    let (_world, site) = with_token("");
    let list = tool_call("list", &json!({}));
    let arguments = "\"arguments\":{}";
    let nested = format!("\"arguments\":{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let mut no_text = but(&list, "by-hand", "by?hand");
    let place = no_text.iter().position(|byte| *byte == b'?').expect("its place");
    no_text[place] = 0xff;
    let whole = list.to_string();
    for (name, body, status, code) in [
        ("as it should be", whole.clone().into_bytes(), 200, None),
        ("no text", no_text, 400, Some(-32700)),
        ("another encoding", whole.encode_utf16().flat_map(u16::to_le_bytes).collect(), 400, Some(-32700)),
        ("a mark before it", format!("\u{feff}{whole}").into_bytes(), 400, Some(-32700)),
        ("two messages", format!("{whole}{whole}").into_bytes(), 400, Some(-32700)),
        ("cut off", whole.as_bytes()[..whole.len() - 1].to_vec(), 400, Some(-32700)),
        ("two methods", but(&list, "\"method\":", "\"method\":\"tools/list\",\"method\":"), 400, Some(-32600)),
        ("two ids", but(&list, "\"id\":1", "\"id\":1,\"id\":2"), 400, Some(-32600)),
        ("no id", but(&list, "\"id\":1", "\"id\":null"), 400, Some(-32600)),
        ("half an id", but(&list, "\"id\":1", "\"id\":1.5"), 400, Some(-32600)),
        ("an id beyond numbers", but(&list, "\"id\":1", "\"id\":1e400"), 400, Some(-32600)),
        ("another protocol", but(&list, "\"2.0\"", "\"1.0\""), 400, Some(-32600)),
        ("half a character", but(&list, "by-hand", "\\ud800"), 400, Some(-32600)),
        ("arguments without a floor", but(&list, arguments, &nested), 400, Some(-32600)),
        (
            "an answer to nothing",
            json!({ "jsonrpc": "2.0", "id": 1, "result": {} }).to_string().into_bytes(),
            400,
            Some(-32600),
        ),
        ("and again as it should be", whole.clone().into_bytes(), 200, None),
    ] {
        let answer = ask(&site, "/mcp", &[], &body);
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        if let Some(code) = code {
            assert_eq!(answer.message()["error"]["code"], code, "{name}: {answer:?}");
        }
    }
}
