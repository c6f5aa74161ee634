//! What a client that is refused is told of how to get a token: RFC 9728 and RFC 6750.

use http::HeaderValue;
use serde_json::json;

use super::access::AccessError;
use super::config::Url;

/// Where every server keeps what it says of itself.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What this server says of itself.
pub(super) struct Metadata {
    /// The paths that it is found at.
    pub(super) paths: [String; 2],
    /// The document, JSON.
    pub(super) document: String,
    /// Where it is.
    url: String,
    /// Scopes that every token needs.
    scopes: Vec<String>,
}

impl Metadata {
    pub(super) fn new(url: &Url, issuer: &str, scopes: &[String]) -> Self {
        let document = json!({
            "resource": url.to_string(),
            "authorization_servers": [issuer],
            "scopes_supported": scopes,
            "bearer_methods_supported": ["header"],
            "resource_name": "Palisade",
        });
        let at_path = format!("{WELL_KNOWN}{}", url.path());
        Self {
            url: format!("{}{at_path}", url.origin()),
            paths: [at_path, WELL_KNOWN.to_owned()],
            document: document.to_string(),
            scopes: scopes.to_vec(),
        }
    }
}

/// The `WWW-Authenticate` of a refusal. Nothing in it comes from the request.
pub(super) fn challenge(metadata: Option<&Metadata>, refusal: &AccessError) -> HeaderValue {
    let mut parts = Vec::new();
    let (error, why) = match refusal {
        AccessError::Token(fault) => (Some("invalid_token"), Some(fault.as_str())),
        AccessError::Secret => (Some("invalid_token"), Some("the token is not known")),
        AccessError::Scope(_) => (Some("insufficient_scope"), Some("the token says too little")),
        AccessError::NoProof | AccessError::Stranger | AccessError::Several | AccessError::NoKeys => (None, None),
    };
    parts.extend(error.map(|error| format!("error=\"{error}\"")));
    parts.extend(why.map(|why| format!("error_description=\"{why}\"")));
    if let Some(metadata) = metadata {
        let needed = if let AccessError::Scope(needed) = refusal { needed } else { &metadata.scopes };
        if !needed.is_empty() {
            parts.push(format!("scope=\"{}\"", needed.join(" ")));
        }
        parts.push(format!("resource_metadata=\"{}\"", metadata.url));
    }
    let text = format!("Bearer {}", parts.join(", "));
    // Scopes and URLs are the operator's; one that fits into no header is left out with the rest.
    HeaderValue::from_str(text.trim_end()).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::http::token::Fault;

    #[test]
    fn a_refusal_leads_to_the_issuer() {
        let url: Url = "https://Palisade.example/agents/mcp/".parse().unwrap();
        let metadata = Metadata::new(&url, "https://issuer.example", &["palisade".to_owned()]);
        assert_eq!(metadata.paths[0], "/.well-known/oauth-protected-resource/agents/mcp");
        let document: Value = serde_json::from_str(&metadata.document).unwrap();
        assert_eq!(document["resource"], "https://palisade.example/agents/mcp");
        assert_eq!(document["authorization_servers"][0], "https://issuer.example");
        let at = "resource_metadata=\"https://palisade.example/.well-known/oauth-protected-resource/agents/mcp\"";
        for (refusal, expected) in [
            (AccessError::NoProof, format!("Bearer scope=\"palisade\", {at}")),
            (
                AccessError::Token(Fault::Expired),
                format!(
                    "Bearer error=\"invalid_token\", error_description=\"the token has expired\", scope=\"palisade\", {at}"
                ),
            ),
            (
                AccessError::Scope(vec!["palisade".to_owned(), "deploy".to_owned()]),
                format!(
                    "Bearer error=\"insufficient_scope\", error_description=\"the token says too little\", scope=\"palisade deploy\", {at}"
                ),
            ),
        ] {
            assert_eq!(challenge(Some(&metadata), &refusal), expected, "{refusal:?}");
        }
        assert_eq!(challenge(None, &AccessError::NoProof), "Bearer");
    }
}
