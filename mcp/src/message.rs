//! What is wrong with a text that is no message of the protocol, and what its sender is told.
//!
//! JSON-RPC 2.0, section 5.1: what is no JSON is -32700, JSON that is no message -32600. That they are told at all is this server's
//! choice; a client that waits for an answer to what it wrote badly would wait for ever.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// Why a text is no message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MessageError {
    /// It is no JSON.
    Json,
    /// It is JSON, and no message; the id that it has, if an answer to that could mean nothing else.
    Message(Option<Value>),
    /// It is a notification that cannot be understood, and nobody is ever told what became of one.
    Notification,
    /// It is longer than any message.
    TooLong,
}

/// What is looked at of what could not be read.
#[derive(Deserialize)]
struct Looked {
    jsonrpc: Option<Value>,
    id: Option<Value>,
    method: Option<Value>,
    result: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

impl MessageError {
    /// What is wrong with a text that was not taken for a message.
    pub(crate) fn of(text: &[u8]) -> Self {
        // Whatever its encoding says of its bytes, JSON between programs is UTF-8 (RFC 8259, section 8.1).
        if std::str::from_utf8(text).is_err() || serde_json::from_slice::<IgnoredAny>(text).is_err() {
            return Self::Json;
        }
        // A list would be taken for an object's values in their order.
        let object = Some(text).filter(|text| text.trim_ascii_start().starts_with(b"{"));
        let looked = object.and_then(|text| serde_json::from_slice(text).ok());
        let Some(Looked { jsonrpc, id, method, result, error }) = looked else { return Self::Message(None) };
        if id.is_none() && jsonrpc == Some(json!("2.0")) && matches!(method, Some(Value::String(_))) && !has_id(text) {
            return Self::Notification;
        }
        // An error with the id of an answer would be taken for the answer to a request of the other side's.
        let asks = method.is_some() && result.is_none() && error.is_none();
        let is_id = |id: &Value| id.is_string() || id.is_i64() || id.is_u64();
        Self::Message(id.filter(|id| asks && is_id(id)))
    }

    /// The answer, if there is one. `revision` is the protocol's that was agreed upon: those until 2025-06-18 have no form for an error
    /// without an id, so that JSON-RPC's `null` stands there; later ones leave it out.
    pub(crate) fn told(&self, revision: Option<&str>) -> Option<Value> {
        let (code, why, id) = match self {
            Self::Json => (-32700, "this is no JSON", None),
            Self::Message(id) => (-32600, "this is no message of the protocol", id.clone()),
            Self::TooLong => (-32600, "this is longer than any message may be", None),
            Self::Notification => return None,
        };
        let mut told = json!({ "jsonrpc": "2.0", "error": { "code": code, "message": why } });
        let is_old = revision.is_some_and(|revision| revision <= "2025-06-18");
        if let (Some(fields), Some(id)) = (told.as_object_mut(), id.or(is_old.then_some(Value::Null))) {
            fields.insert("id".to_owned(), id);
        }
        Some(told)
    }
}

/// Whether there is an id, be it null, which counts as one that is wrong.
fn has_id(text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct IdProbe {
        #[expect(dead_code, reason = "that it is there is all")]
        id: IgnoredAny,
    }
    serde_json::from_slice::<IdProbe>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flaw_is_told_as_the_standard_wants_it() {
        let deep = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{}{}}}",
            "[".repeat(500),
            "]".repeat(500)
        );
        for (text, error) in [
            (&b"{"[..], MessageError::Json),
            (b"not JSON", MessageError::Json),
            (b"\xff\xfe", MessageError::Json),
            (b"{\"id\":1,\"method\":\"\xff\"}", MessageError::Json),
            (b"{} {}", MessageError::Json),
            (b"[]", MessageError::Message(None)),
            (b"7", MessageError::Message(None)),
            (br#"["2.0",1,"ping",null,null]"#, MessageError::Message(None)),
            (br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, MessageError::Message(None)),
            (deep.as_bytes(), MessageError::Message(Some(json!(1)))),
            (br#"{"jsonrpc":"2.0","id":1,"method":7}"#, MessageError::Message(Some(json!(1)))),
            (br#"{"jsonrpc":"1.0","id":"a","method":"ping"}"#, MessageError::Message(Some(json!("a")))),
            (br#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, MessageError::Message(None)),
            (br#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, MessageError::Message(None)),
            (br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, MessageError::Message(None)),
            (br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, MessageError::Message(None)),
            (br#"{"jsonrpc":"2.0","id":1,"result":7}"#, MessageError::Message(None)),
            (br#"{"jsonrpc":"2.0","id":1,"method":"ping","error":{}}"#, MessageError::Message(None)),
            (br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":7}"#, MessageError::Notification),
            (br#"{"jsonrpc":"1.0","method":"notifications/cancelled"}"#, MessageError::Message(None)),
            (br#"{"jsonrpc":"2.0","method":7}"#, MessageError::Message(None)),
        ] {
            assert_eq!(MessageError::of(text), error, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn an_id_that_is_not_known_is_told_as_the_revision_has_it() {
        let code = |told: &Value| told.pointer("/error/code").cloned();
        for (revision, id) in [
            (None, None),
            (Some("2024-11-05"), Some(Value::Null)),
            (Some("2025-06-18"), Some(Value::Null)),
            (Some("2025-11-25"), None),
            (Some("2026-07-28"), None),
        ] {
            let told = MessageError::Json.told(revision).unwrap_or_default();
            assert_eq!((told.get("id").cloned(), code(&told)), (id, Some(json!(-32700))), "{revision:?}");
            let told = MessageError::Message(Some(json!(7))).told(revision).unwrap_or_default();
            assert_eq!((told.get("id"), code(&told)), (Some(&json!(7)), Some(json!(-32600))), "{revision:?}");
        }
        assert_eq!(MessageError::Notification.told(None), None);
    }
}
