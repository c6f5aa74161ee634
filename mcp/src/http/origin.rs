//! For whom a request is meant, and which web page made it: `Host` and `Origin`.
//!
//! A page on the web can make a browser ask any server, this machine's own among them, and can give its own name this machine's
//! address (DNS rebinding). So a name has to be the server's, and a page one that the operator named.

use std::collections::BTreeSet;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};

/// The server's names, and the pages that may speak to it.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerNames {
    /// In small letters, with the port that stands in `Host`.
    pub(super) hosts: BTreeSet<String>,
    pub(super) origins: BTreeSet<String>,
}

impl ServerNames {
    /// The page that made the request, if one did and may.
    ///
    /// # Errors
    /// 400 for a request without one clear `Host`, 421 for another server's, 403 for a page that may not.
    pub(super) fn check(&self, target: &Uri, headers: &HeaderMap) -> Result<Option<HeaderValue>, StatusCode> {
        let host = only(headers, &HOST).ok_or(StatusCode::BAD_REQUEST)?;
        let host = host.to_str().map_err(|_| StatusCode::BAD_REQUEST)?;
        // A target that names a server counts for `Host` (RFC 9112, 3.2.2); here both have to be right.
        let named = target.authority().map(http::uri::Authority::as_str);
        if !std::iter::once(host).chain(named).all(|name| self.hosts.contains(&name.to_ascii_lowercase())) {
            return Err(StatusCode::MISDIRECTED_REQUEST);
        }
        if !headers.contains_key(ORIGIN) {
            return Ok(None);
        }
        let origin = only(headers, &ORIGIN).ok_or(StatusCode::FORBIDDEN)?;
        let known = origin.to_str().is_ok_and(|origin| self.origins.contains(origin));
        if known { Ok(Some(origin.clone())) } else { Err(StatusCode::FORBIDDEN) }
    }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_names_and_the_operators_pages_pass() {
        let names = ServerNames {
            hosts: ["127.0.0.1:8931", "palisade.example"].map(str::to_owned).into(),
            origins: ["https://inspector.example".to_owned()].into(),
        };
        let here = ("host", "127.0.0.1:8931");
        let page = ("origin", "https://inspector.example");
        for (pairs, expected) in [
            (&[here][..], Ok(false)),
            (&[("host", "Palisade.Example")], Ok(false)),
            (&[here, page], Ok(true)),
            (&[], Err(400)),
            (&[here, here], Err(400)),
            (&[("host", "127.0.0.1")], Err(421)),
            (&[("host", "evil.example:8931")], Err(421)),
            (&[("host", "127.0.0.1:8931.evil.example")], Err(421)),
            (&[here, ("origin", "https://evil.example")], Err(403)),
            (&[here, ("origin", "https://inspector.example.evil.example")], Err(403)),
            (&[here, ("origin", "http://127.0.0.1:8931")], Err(403)),
            (&[here, ("origin", "null")], Err(403)),
            (&[here, ("origin", "")], Err(403)),
            (&[here, page, page], Err(403)),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            }
            let seen = names
                .check(&Uri::from_static("/mcp"), &headers)
                .map(|page| page.is_some())
                .map_err(|status| status.as_u16());
            assert_eq!(seen, expected, "{pairs:?}");
        }
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("palisade.example"))]);
        for (target, passes) in [
            ("http://palisade.example/mcp", true),
            ("http://127.0.0.1:8931/mcp", true),
            ("http://evil.example/mcp", false),
            ("http://palisade.example@evil.example/mcp", false),
            ("http://evil.example@palisade.example/mcp", false),
        ] {
            assert_eq!(names.check(&Uri::from_static(target), &headers).is_ok(), passes, "{target}");
        }
    }
}
