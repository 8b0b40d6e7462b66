//! A bucket's objects, page by page.

use std::time::SystemTime;

use http::Method;
use serde::{Deserialize, Deserializer};

use crate::kodo::etag::Etag;
use crate::kodo::failure::read_json;
use crate::kodo::region::query_value;
use crate::model::{Answer, Bucket, Failure, Request};

/// Most objects on one page. Source: protocol reference, section 9.
pub const PAGE_LEN_MAX: u32 = 1000;

/// Which objects, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery<'a> {
    /// Only keys that start with this.
    pub prefix: &'a str,
    /// Gather keys that have this after the prefix, up to it; mostly `/`.
    pub delimiter: &'a str,
    /// The page before said so; empty for the first one.
    pub marker: &'a str,
    /// At most this many, up to [`PAGE_LEN_MAX`]; 0 is that many.
    pub limit: u32,
    /// Also tell the lengths of the parts of v2 objects.
    pub with_parts: bool,
}

impl ListQuery<'_> {
    /// `GET /list?bucket=…`, on a host of rsf.
    pub fn request(&self, bucket: &Bucket) -> Request {
        let limit = match self.limit {
            0 => PAGE_LEN_MAX,
            limit => limit.min(PAGE_LEN_MAX),
        };
        let mut target = format!("/list?bucket={bucket}&limit={limit}");
        for (name, value) in [
            ("prefix", self.prefix),
            ("delimiter", self.delimiter),
            ("marker", self.marker),
        ] {
            if !value.is_empty() {
                target += &format!("&{name}={}", query_value(value));
            }
        }
        if self.with_parts {
            target += "&needparts=true";
        }
        Request::new(Method::GET, target)
    }
}

/// One page. It may have fewer objects than the limit, even none, without being the last.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListPage {
    /// Where to go on; empty after the last page.
    #[serde(default, deserialize_with = "null_is_default")]
    pub marker: String,
    /// Prefixes up to the delimiter.
    #[serde(default, deserialize_with = "null_is_default")]
    pub common_prefixes: Vec<String>,
    /// Objects in the byte order of their keys.
    #[serde(default, deserialize_with = "null_is_default")]
    pub items: Vec<ListItem>,
}

impl ListPage {
    /// Reads the answer to a list.
    pub fn read(answer: &Answer, now: SystemTime) -> Result<Self, Failure> {
        read_json(answer, now)
    }

    /// Where to go on, `None` after the last page.
    pub fn next(&self) -> Option<&str> {
        Some(self.marker.as_str()).filter(|marker| !marker.is_empty())
    }
}

/// What a list tells of an object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListItem {
    /// Its key.
    pub key: String,
    /// Its hash, as the service gives it.
    pub hash: String,
    /// Length in bytes.
    #[serde(rename = "fsize")]
    pub size: u64,
    /// Its type.
    #[serde(default)]
    pub mime_type: String,
    /// When it was stored, in units of 100 ns since 1970.
    #[serde(default)]
    pub put_time: u64,
    /// Storage class: 0 is the standard one.
    #[serde(rename = "type", default)]
    pub file_type: u8,
    /// 1: disabled.
    #[serde(default)]
    pub status: u8,
    /// Tag of the owner, from the put policy.
    pub end_user: Option<String>,
    /// MD5 in hex, if known.
    pub md5: Option<String>,
    /// Lengths of its parts in bytes, where the list was asked for them.
    pub parts: Option<Vec<u64>>,
}

impl ListItem {
    /// The hash, where it is one of this dialect's.
    pub fn etag(&self) -> Option<Etag> {
        Etag::parse(&self.hash)
    }

    /// When it was stored.
    pub fn stored_at(&self) -> SystemTime {
        crate::kodo::manage::ticks(self.put_time)
    }
}

/// An empty list is `null` in the JSON of some writers.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
