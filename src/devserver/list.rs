//! Pages of a bucket, as one document or as lines, and the buckets.
//!
//! Source: protocol reference, section 9.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::devserver::exchange::Reply;
use crate::devserver::manage::{Manage, properties};
use crate::devserver::refusal::Refusal;
use crate::devserver::route::ListQuery;
use crate::devserver::store::{Listed, PageQuery};
use crate::kodo::encode::{b64u, b64u_decode};
use crate::model::Bucket;

/// What a marker says, for us: the last name of the page before. Others take it as it is.
#[derive(Serialize, Deserialize)]
struct Marker {
    /// A key or a common prefix.
    k: String,
}

/// A page, and how to get the next one.
struct Page {
    names: Vec<(String, Listed)>,
    /// Empty: there is none.
    marker: String,
}

impl Manage<'_> {
    /// `/list`: the page as one document.
    pub(crate) async fn list(&self, query: ListQuery) -> Reply {
        let need_parts = query.need_parts;
        let page = match self.page(query).await {
            Ok(page) => page,
            Err(refusal) => return refusal.into(),
        };
        let (mut items, mut prefixes) = (Vec::new(), Vec::new());
        for (name, listed) in page.names {
            match listed {
                Listed::Object(object) => {
                    items.push(with_key(name, properties(&object, need_parts)));
                }
                Listed::CommonPrefix => prefixes.push(name),
            }
        }
        let mut shown = json!({ "marker": page.marker, "items": items });
        if !prefixes.is_empty() {
            shown["commonPrefixes"] = json!(prefixes);
        }
        Reply::json(200, &shown)
    }

    /// `/v2/list`: one document per line, each with the marker of what follows it.
    pub(crate) async fn list_lines(&self, query: ListQuery) -> Reply {
        let need_parts = query.need_parts;
        let page = match self.page(query).await {
            Ok(page) => page,
            Err(refusal) => return refusal.into(),
        };
        let last = page.names.len().saturating_sub(1);
        let mut lines = String::new();
        for (index, (name, listed)) in page.names.into_iter().enumerate() {
            let marker = if index == last {
                page.marker.clone()
            } else {
                marker_after(&name)
            };
            let line = match listed {
                Listed::Object(object) => {
                    let item = with_key(name, properties(&object, need_parts));
                    json!({ "item": item, "marker": marker, "dir": "" })
                }
                Listed::CommonPrefix => json!({ "item": null, "marker": marker, "dir": name }),
            };
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        Reply::bytes(200, "application/json", lines)
    }

    /// `/buckets`: those that were named, or those that have ever had an object.
    pub(crate) async fn bucket_names(&self) -> Reply {
        let names: Vec<String> = match self.buckets {
            Some(buckets) => buckets.iter().map(Bucket::to_string).collect(),
            None => match self.store.bucket_names().await {
                Ok(names) => names,
                Err(error) => return error.into(),
            },
        };
        Reply::json(200, &json!(names))
    }

    async fn page(&self, query: ListQuery) -> Result<Page, Refusal> {
        let bucket = Bucket::new(query.bucket)
            .ok()
            .filter(|bucket| self.has_bucket(bucket))
            .ok_or_else(Refusal::no_bucket)?;
        let limit = query.limit;
        let asked = PageQuery {
            after: name_before(&query.marker)?,
            prefix: query.prefix,
            delimiter: query.delimiter,
            // One more than the page: whether there is a next one.
            limit: limit + 1,
        };
        let mut names = self.store.list(&bucket, asked).await?;
        let is_more = names.len() > limit;
        names.truncate(limit);
        let marker = match names.last() {
            Some((name, _)) if is_more => marker_after(name),
            _ => String::new(),
        };
        Ok(Page { names, marker })
    }
}

fn with_key(key: String, mut properties: Value) -> Value {
    properties["key"] = Value::String(key);
    properties
}

fn marker_after(name: &str) -> String {
    b64u(json!({ "k": name }).to_string())
}

/// The last name of the page before; none at the start. 640 for what is no marker of ours.
fn name_before(marker: &str) -> Result<Option<String>, Refusal> {
    if marker.is_empty() {
        return Ok(None);
    }
    b64u_decode(marker)
        .and_then(|text| serde_json::from_slice::<Marker>(&text).ok())
        .map(|marker| Some(marker.k))
        .ok_or_else(|| Refusal::new(640, "invalid list marker"))
}
