//! The deliveries of a webhook: <https://docs.github.com/en/rest/repos/webhooks#list-deliveries-for-a-repository-webhook>.
//!
//! GitHub keeps each attempt for three days: what it sent, and what it was answered. It sends nothing again by itself, so who was
//! away asks here. It needs a token that may read webhooks (`Webhooks: read`).

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::LINK;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stream::secret::Secret;

use super::Api;
use crate::ToolError;
use crate::wire::Failure;

/// Deliveries of one page; GitHub's most.
const PAGE: &str = "100";

/// Whose webhook it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// `owner/name`.
    Repository(String),
    Organization(String),
}

/// One webhook.
pub struct Hook {
    api: Api,
    path: String,
}

/// One attempt to deliver something. Attempts for the same event have the same `guid`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    pub id: u64,
    /// `X-GitHub-Delivery`.
    pub guid: String,
    pub delivered_at: DateTime<Utc>,
    #[serde(default)]
    pub redelivery: bool,
    /// What the receiver answered; 0 or a code of GitHub's own where it did not.
    #[serde(default)]
    pub status_code: u16,
    #[serde(default)]
    pub event: String,
}

impl Delivery {
    /// The receiver said that it took it.
    pub fn taken(&self) -> bool {
        (200..300).contains(&self.status_code)
    }
}

/// Deliveries, newest first, and where the next page begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub deliveries: Vec<Delivery>,
    pub next: Option<String>,
}

/// What was sent.
#[derive(Debug)]
pub struct Sent {
    pub headers: Vec<(String, String)>,
    /// The payload as the answer writes it: the same JSON as was sent, not certainly the same bytes.
    pub payload: Box<RawValue>,
}

impl Hook {
    /// `id` of the webhook of `owner`, below the API's address `url`.
    pub fn new(
        url: &str,
        token: Secret,
        owner: &Owner,
        id: u64,
        timeout: Duration,
        max_answer_bytes: usize,
    ) -> Result<Self, ToolError> {
        let place = match owner {
            Owner::Repository(name) => format!("/repos/{name}"),
            Owner::Organization(name) => format!("/orgs/{name}"),
        };
        Ok(Hook {
            api: Api::new(url, Some(token), timeout, max_answer_bytes)?,
            path: format!("{place}/hooks/{id}/deliveries"),
        })
    }

    /// A page of deliveries; the first without a `cursor`.
    pub async fn deliveries(&self, cursor: Option<&str>) -> Result<Page, Failure> {
        let mut query = vec![("per_page", PAGE)];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let (deliveries, headers): (Vec<Delivery>, _) = self.api.get(&self.path, &query).await?;
        Ok(Page {
            deliveries,
            next: next_cursor(&headers),
        })
    }

    /// What one attempt sent; `None` where GitHub does not keep it any more.
    pub async fn sent(&self, id: u64) -> Result<Option<Sent>, Failure> {
        let answer = self.api.get::<Whole>(&format!("{}/{id}", self.path), &[]).await;
        let request = match answer {
            Ok((whole, _)) => whole.request,
            Err(Failure::Status { status: 404 | 410, .. }) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let headers = request.headers.into_iter();
        Ok(Some(Sent {
            headers: headers
                .filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())))
                .collect(),
            payload: request.payload,
        }))
    }
}

#[derive(Deserialize)]
struct Whole {
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    headers: serde_json::Map<String, serde_json::Value>,
    payload: Box<RawValue>,
}

/// The parameter `cursor` of the link that is called `next` (RFC 8288). The address itself is not followed: it could lead anywhere.
fn next_cursor(headers: &HeaderMap) -> Option<String> {
    let links = headers.get(LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains(r#"rel="next""#))?;
    let address = next.split_once('<')?.1.split_once('>')?.0;
    let address = url::Url::parse(address).ok()?;
    let cursor = address.query_pairs().find(|(name, _)| name == "cursor")?;
    Some(cursor.1.into_owned()).filter(|cursor| !cursor.is_empty() && cursor.len() <= 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors() {
        let check = |link: &str, expected: Option<&str>| {
            let headers = HeaderMap::from_iter([(LINK, link.parse().unwrap())]);
            assert_eq!(next_cursor(&headers).as_deref(), expected, "{link}");
        };
        let of =
            |cursor: &str, rel: &str| format!(r#"<https://api.github.com/x?per_page=1&cursor={cursor}>; rel="{rel}""#);
        check(&of("v1_1", "next"), Some("v1_1"));
        check(&format!("{}, {}", of("v1_0", "prev"), of("v1_2", "next")), Some("v1_2"));
        check(&of("v1_0", "prev"), None);
        check(&of("", "next"), None);
        check("nonsense; rel=\"next\"", None);
        assert_eq!(next_cursor(&HeaderMap::new()), None);
    }

    #[test]
    fn taken() {
        let delivery = |status_code| Delivery {
            id: 1,
            guid: "g".into(),
            delivered_at: DateTime::UNIX_EPOCH,
            redelivery: false,
            status_code,
            event: "push".into(),
        };
        for (code, expected) in [
            (202, true),
            (200, true),
            (0, false),
            (401, false),
            (503, false),
            (304, false),
        ] {
            assert_eq!(delivery(code).taken(), expected, "{code}");
        }
    }
}
