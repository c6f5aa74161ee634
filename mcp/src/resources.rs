//! What a principal can read again, as resources: the policies as they are for it, decisions, the output of jobs, the story of a session.
//!
//! Each is text that was shown before or might have been, redacted, and the principal's own: another's name is as unknown as one that
//! nobody has. Whoever may not use the tool that tells the same is not told here either. Nothing in it may be cached for anybody else.

use palisade_runner::{Client, Cursor, Failure, Pipeline};
use rmcp::ErrorData;
use rmcp::model::{
    CacheScope, ListResourceTemplatesResult, ListResourcesResult, ReadResourceResult, Resource, ResourceContents,
    ResourceTemplate,
};
use serde::Serialize;
use serde_json::json;

const SCHEME: &str = "palisade://";

const JSON: &str = "application/json";

/// The templates: form, name, what it is, and the tool that whoever reads it may use.
const TEMPLATES: [(&str, &str, &str, &str); 3] = [
    ("decisions/{id}", "decision", "What was asked and answered, under the id that a result gives.", "explain"),
    ("jobs/{id}/output{?from}", "output", "All that is kept of a job's output, from a cursor on.", "job_read"),
    (
        "sessions/{id}/transcript{?from}",
        "transcript",
        "What a session was told to run, and what came of it.",
        "job_read",
    ),
];

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ResourceName<'a> {
    Policy,
    Decision(&'a str),
    Output { job: &'a str, from: Option<Cursor> },
    Transcript { session: &'a str, from: u64 },
}

impl<'a> ResourceName<'a> {
    /// The resource of this name. There is one spelling of each: nothing is decoded, and nothing is left over.
    fn of(uri: &'a str) -> Option<Self> {
        let (path, query) = match uri.strip_prefix(SCHEME)?.split_once('?') {
            Some((path, query)) => (path, Some(query.strip_prefix("from=")?)),
            None => (uri.strip_prefix(SCHEME)?, None),
        };
        let plain = |id: &&str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let mut parts = path.split('/');
        let parts = (parts.next()?, parts.next().filter(plain), parts.next(), parts.next());
        match (parts, query) {
            (("policy", None, None, None), None) if path == "policy" => Some(Self::Policy),
            (("decisions", Some(id), None, None), None) => Some(Self::Decision(id)),
            (("jobs", Some(job), Some("output"), None), from) => {
                Some(Self::Output { job, from: from.map(str::parse).transpose().ok()? })
            }
            (("sessions", Some(session), Some("transcript"), None), from) => {
                Some(Self::Transcript { session, from: from.map_or(Some(0), number)? })
            }
            _ => None,
        }
    }

    /// The tool that tells the same.
    fn tool(&self) -> &'static str {
        match self {
            Self::Policy | Self::Decision(_) => "explain",
            Self::Output { .. } | Self::Transcript { .. } => "job_read",
        }
    }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// What there is by name.
pub(crate) async fn list(pipeline: &Pipeline, client: &Client) -> ListResourcesResult {
    let resource = |uri: String, name: &str, about: &str| {
        let mut resource = Resource::new(format!("{SCHEME}{uri}"), name);
        resource.mime_type = Some(JSON.to_owned());
        resource.description = Some(about.to_owned());
        resource
    };
    let mut resources = Vec::new();
    if pipeline.permits_tool("explain", client) {
        resources.push(resource("policy".to_owned(), "policy", "The policies that can decide about this agent."));
    }
    if pipeline.permits_tool("job_read", client) {
        for session in pipeline.sessions().list().await {
            let name = session.session.as_str();
            resources.push(resource(format!("sessions/{name}/transcript"), name, "What it was told to run."));
        }
        for job in pipeline.jobs().list() {
            let name = job.job.as_str();
            resources.push(resource(format!("jobs/{name}/output"), name, "All that is kept of its output."));
        }
    }
    let mut result = ListResourcesResult::with_all_items(resources);
    (result.ttl_ms, result.cache_scope) = (Some(0), Some(CacheScope::Private));
    result
}

/// The forms of names.
pub(crate) fn templates(pipeline: &Pipeline, client: &Client) -> ListResourceTemplatesResult {
    let permitted = TEMPLATES.iter().filter(|(.., tool)| pipeline.permits_tool(tool, client));
    let templates = permitted.map(|(form, name, about, _)| {
        let mut template = ResourceTemplate::new(format!("{SCHEME}{form}"), *name);
        template.mime_type = Some(JSON.to_owned());
        template.description = Some((*about).to_owned());
        template
    });
    let mut result = ListResourceTemplatesResult::with_all_items(templates.collect());
    (result.ttl_ms, result.cache_scope) = (Some(0), Some(CacheScope::Private));
    result
}

/// What a resource holds now.
///
/// # Errors
/// If there is none of that name for this principal.
pub(crate) async fn read(pipeline: &Pipeline, client: &Client, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let named = pipeline.redact(uri);
    let unknown = || ErrorData::resource_not_found("there is no such resource", Some(json!({ "uri": named.as_str() })));
    let named =
        ResourceName::of(uri).filter(|named| pipeline.permits_tool(named.tool(), client)).ok_or_else(unknown)?;
    let text = match named {
        ResourceName::Policy => pipeline.read_api().rules(client).map(|rules| text(&rules)),
        ResourceName::Decision(id) => match pipeline.read_api().decision(id) {
            Ok(Some(decision)) => Ok(text(&decision)),
            Ok(None) => return Err(unknown()),
            Err(failure) => Err(failure),
        },
        ResourceName::Output { job, from } => pipeline.read_api().output(job, from).await.map(|output| text(&output)),
        ResourceName::Transcript { session, from } => {
            pipeline.read_api().transcript(session, from).map(|story| text(&story))
        }
    };
    // Why not is the same for one that never was and one that is another's; a person's stop is told by every tool.
    let text = text.map_err(|Failure { .. }| unknown())?.ok_or_else(|| ErrorData::internal_error("no text", None))?;
    let contents = ResourceContents::text(text, uri).with_mime_type(JSON);
    let mut result = ReadResourceResult::new(vec![contents]);
    (result.ttl_ms, result.cache_scope) = (Some(0), Some(CacheScope::Private));
    Ok(result)
}

fn text(value: &impl Serialize) -> Option<String> {
    serde_json::to_string(value).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn each_resource_has_one_spelling() {
        let cursor = "3:1.0:0";
        for (uri, expected) in [
            ("palisade://policy", Some(ResourceName::Policy)),
            ("palisade://decisions/5f3a9c01-7", Some(ResourceName::Decision("5f3a9c01-7"))),
            ("palisade://jobs/j-1/output", Some(ResourceName::Output { job: "j-1", from: None })),
            (
                "palisade://jobs/j-1/output?from=3:1.0:0",
                Some(ResourceName::Output { job: "j-1", from: Some(cursor.parse().unwrap()) }),
            ),
            ("palisade://sessions/s-1/transcript", Some(ResourceName::Transcript { session: "s-1", from: 0 })),
            ("palisade://sessions/s-1/transcript?from=9", Some(ResourceName::Transcript { session: "s-1", from: 9 })),
            ("palisade://policy/", None),
            ("palisade://policy?from=0", None),
            ("palisade://Policy", None),
            ("Palisade://policy", None),
            ("palisade:///policy", None),
            ("palisade://policy#x", None),
            ("palisade://decisions/", None),
            ("palisade://decisions/..", None),
            ("palisade://decisions/a/b", None),
            ("palisade://decisions/%61", None),
            ("palisade://jobs/j-1", None),
            ("palisade://jobs/j-1/output/", None),
            ("palisade://jobs/j-1/output?from=", None),
            ("palisade://jobs/j-1/output?from=1", None),
            ("palisade://jobs/j-1/output?to=3:1.0:0", None),
            ("palisade://jobs/j-1/output?from=3:1.0:0&from=0:0.0:0", None),
            ("palisade://sessions/s-1/transcript?from=-1", None),
            ("palisade://sessions/s-1/transcript?from=+1", None),
            ("palisade://sessions/s-1/transcript?from=01", None),
            ("palisade://sessions/s-1/transcript?from=99999999999999999999", None),
            ("file:///etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(ResourceName::of(uri), expected, "{uri}");
        }
    }
}
