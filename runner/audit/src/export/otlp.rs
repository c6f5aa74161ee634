//! OpenTelemetry log records, in the protocol's JSON form over HTTP (OTLP/HTTP 1.x).

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::tls::{Files, TlsError, Trust};
use super::{ExportError, text, written};
use crate as audit;
use crate::RecordLine;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a collector's answer that are read.
const MAX_ANSWER: u64 = 64 << 10;

/// A collector's address for logs: `http://host:4318/v1/logs`, or `https://…`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint(String);

/// A text is no [`Endpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a URL such as `http://127.0.0.1:4318/v1/logs`")]
pub struct EndpointError;

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let url: ureq::http::Uri = text.parse().map_err(|_| EndpointError)?;
        let is_one =
            matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|host| !host.is_empty());
        // In the one spelling that is looked at later.
        let url = if is_one { url.to_string() } else { return Err(EndpointError) };
        Ok(Self(url))
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

/// A collector, and how the connection to it is secured if it is.
#[derive(Clone, Debug)]
pub struct Otlp {
    endpoint: Endpoint,
    trust: Option<Trust>,
}

impl Otlp {
    /// Reads the files that secure the connection.
    ///
    /// # Errors
    /// If `https://` lacks one, `http://` names one, or one cannot be used.
    pub fn new(endpoint: Endpoint, files: &Files) -> Result<Self, TlsError> {
        let trust = Trust::read(files, endpoint.0.starts_with("https://"))?;
        Ok(Self { endpoint, trust })
    }
}

/// A request that exports these records.
pub fn request(records: &[RecordLine]) -> Value {
    let first = records.first().map(|record| &record.value);
    let host = first.map(|record| text(record, "/host")).unwrap_or_default();
    json!({ "resourceLogs": [{
        "resource": { "attributes": [attribute("service.name", "palisade"), attribute("host.name", host)] },
        "scopeLogs": [{
            "scope": { "name": "palisade.audit", "version": env!("CARGO_PKG_VERSION") },
            "logRecords": records.iter().map(log_record).collect::<Vec<_>>(),
        }],
    }] })
}

fn log_record(record: &RecordLine) -> Value {
    let value = &record.value;
    // The severity numbers of the data model: INFO is 9, WARN 13, ERROR 17.
    let (number, name) = match audit::effect_of(value) {
        Some("deny") => (13, "WARN"),
        _ if audit::kind(value) == "denial" => (13, "WARN"),
        _ if audit::kind(value) == "recovered" => (17, "ERROR"),
        _ => (9, "INFO"),
    };
    let policies: Vec<Value> = audit::policies(value).map(|policy| json!({ "stringValue": policy })).collect();
    let mut attributes =
        vec![attribute("palisade.kind", audit::kind(value)), attribute("palisade.chain", &record.chain)];
    if let Some(seq) = value.get("seq").and_then(Value::as_u64) {
        // 64-bit numbers are texts in this form.
        attributes.push(json!({ "key": "palisade.seq", "value": { "intValue": seq.to_string() } }));
    }
    let of = if value.get("req").is_some() { "/req" } else { "/of" };
    for (key, found) in [
        ("palisade.decision", text(value, of)),
        ("palisade.effect", audit::effect_of(value).unwrap_or_default()),
        ("palisade.agent", text(value, "/who/agent")),
        ("user.name", text(value, "/who/user")),
        ("session.id", text(value, "/session")),
        ("process.command_line", text(value, "/cmd")),
    ] {
        if !found.is_empty() {
            attributes.push(attribute(key, found));
        }
    }
    if !policies.is_empty() {
        attributes.push(json!({ "key": "palisade.policies", "value": { "arrayValue": { "values": policies } } }));
    }
    let mut log = json!({
        "severityNumber": number, "severityText": name, "eventName": format!("palisade.{}", audit::kind(value)),
        "body": { "stringValue": record.line }, "attributes": attributes,
    });
    if let (Some(at), Some(log)) = (written(value), log.as_object_mut()) {
        let nanoseconds = at.as_nanosecond().to_string();
        log.insert("timeUnixNano".to_owned(), nanoseconds.clone().into());
        log.insert("observedTimeUnixNano".to_owned(), nanoseconds.into());
    }
    log
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// Sends to one collector.
pub(super) struct OtlpClient {
    agent: ureq::Agent,
    endpoint: String,
}

impl OtlpClient {
    pub(super) fn new(to: &Otlp) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            // What is on record goes where the operator said, and nowhere else.
            .max_redirects(0)
            .proxy(None);
        let config = match &to.trust {
            Some(trust) => config.https_only(true).tls_config(trust.for_http()),
            None => config,
        };
        Self { agent: config.build().into(), endpoint: to.endpoint.0.clone() }
    }

    /// Sends all of them. A collector that refuses a request for what it holds is asked about each half of it by itself, so
    /// that one record that it will never take keeps back no other.
    pub(super) fn send(&mut self, records: &[RecordLine]) -> Result<(), ExportError> {
        let status = self.post(records)?;
        match (status, records) {
            (200..300, _) => Ok(()),
            (400 | 413 | 422, [record]) => {
                let (chain, seq) = (&record.chain, record.value.get("seq").and_then(Value::as_u64).unwrap_or_default());
                tracing::error!(chain, seq, "the otlp collector refuses this record for good (status {status})");
                Ok(())
            }
            (400 | 413 | 422, [_, _, ..]) => {
                let (first, second) = records.split_at(records.len() / 2);
                self.send(first)?;
                self.send(second)
            }
            (status, _) => Err(ExportError(format!("{}: status {status}", self.endpoint))),
        }
    }

    fn post(&self, records: &[RecordLine]) -> Result<u16, ExportError> {
        let failed = |error: ureq::Error| ExportError(format!("{}: {error}", self.endpoint));
        let request = self.agent.post(&self.endpoint).header("content-type", "application/json");
        let mut response = request.send(request_text(records)).map_err(failed)?;
        let status = response.status().as_u16();
        let answer = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(failed)?;
        // What it took only in part may not be sent again, says the protocol.
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let rejected = answer.pointer("/partialSuccess/rejectedLogRecords");
        let rejected = rejected.and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok())).unwrap_or(0);
        if rejected > 0 {
            let why = text(&answer, "/partialSuccess/errorMessage");
            tracing::error!(rejected, "the otlp collector refuses records for good: {}", why.escape_debug());
        }
        Ok(status)
    }
}

fn request_text(records: &[RecordLine]) -> String {
    request(records).to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_log_record_is_that_of_the_protocols_json_form() {
        let value = json!({ "seq": 7, "ts": "2026-11-21T04:15:00.123Z", "host": "h", "kind": "decision", "req": "r-1",
                            "cmd": "ls", "decision": { "effect": "deny", "determining": ["no-ls"] } });
        let record = RecordLine { line: value.to_string(), value, chain: "c".to_owned() };
        let request = request(std::slice::from_ref(&record));
        let log = request.pointer("/resourceLogs/0/scopeLogs/0/logRecords/0").unwrap();
        assert_eq!(log.get("timeUnixNano").unwrap(), "1795234500123000000");
        assert_eq!(log.get("severityNumber").unwrap(), 13);
        assert_eq!(log.pointer("/body/stringValue").unwrap(), &record.line);
        let attributes = log.get("attributes").unwrap();
        for (key, value) in [
            ("palisade.seq", json!({ "intValue": "7" })),
            ("palisade.effect", json!({ "stringValue": "deny" })),
            ("process.command_line", json!({ "stringValue": "ls" })),
            ("palisade.policies", json!({ "arrayValue": { "values": [{ "stringValue": "no-ls" }] } })),
        ] {
            let found = attributes.as_array().unwrap().iter().find(|attribute| attribute.get("key").unwrap() == key);
            assert_eq!(found.unwrap().get("value").unwrap(), &value, "{key}");
        }
    }

    #[test]
    fn endpoints_have_a_form() {
        for (text, expected) in [
            ("http://127.0.0.1:4318/v1/logs", Ok(())),
            ("http://collector/v1/logs", Ok(())),
            ("HTTPS://collector:4318/v1/logs", Ok(())),
            ("127.0.0.1:4318", Err(EndpointError)),
            ("/v1/logs", Err(EndpointError)),
            ("ftp://collector/v1/logs", Err(EndpointError)),
            ("", Err(EndpointError)),
        ] {
            assert_eq!(text.parse::<Endpoint>().map(drop), expected, "{text}");
        }
    }
}
