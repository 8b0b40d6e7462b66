//! Several management calls in one.

use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::kodo::failure::{not_kodo, of_item, read_json};
use crate::kodo::signature::FORM;
use crate::model::{Answer, Body, Failure, Request};

/// Most calls in one batch. Source: protocol reference, section 9.
pub const BATCH_LEN_MAX: usize = 1000;

/// `POST /batch` with the targets of these calls, at most [`BATCH_LEN_MAX`]; `None` for more, or
/// for none.
///
/// Targets go into the form as they are: those of this module hold nothing that would need escaping
/// there but the `?` and `=` of a query, which stand inside of a value.
pub fn batch(calls: &[Request]) -> Option<Request> {
    if calls.is_empty() || calls.len() > BATCH_LEN_MAX {
        return None;
    }
    let ops: Vec<String> = calls
        .iter()
        .map(|call| format!("op={}", call.target.replace('&', "%26").replace('+', "%2B")))
        .collect();
    let request = Request::new(Method::POST, "/batch")
        .header(CONTENT_TYPE, FORM)
        .body(Body::Bytes(Bytes::from(ops.join("&"))));
    Some(request)
}

/// What a batch is answered with: one item for each call, in order.
#[derive(Clone, Debug)]
pub struct BatchReply {
    items: Vec<BatchItem>,
    answer: Answer,
    now: SystemTime,
}

/// The answer to one call of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BatchItem {
    /// Its status.
    pub code: u16,
    /// Its body, `null` where it has none.
    #[serde(default)]
    pub data: Value,
}

impl BatchReply {
    /// Reads the answer (200, or 298 where some calls failed) to a batch of `len` calls.
    pub fn read(answer: &Answer, len: usize, now: SystemTime) -> Result<Self, Failure> {
        let items: Vec<BatchItem> = read_json(answer, now)?;
        if items.len() != len {
            let what = format!("{} answers to a batch of {len} calls", items.len());
            return Err(not_kodo(answer, now, &what));
        }
        Ok(Self {
            items,
            answer: answer.clone(),
            now,
        })
    }

    /// All items, in the order of the calls.
    pub fn items(&self) -> &[BatchItem] {
        &self.items
    }

    /// Whether the call at `index` succeeded; calls that were not in the batch are malformed.
    pub fn done(&self, index: usize) -> Result<(), Failure> {
        self.success(index).map(drop)
    }

    /// The body of the call at `index`, as far as it succeeded and has this form.
    pub fn data<T: DeserializeOwned>(&self, index: usize) -> Result<T, Failure> {
        let data = self.success(index)?;
        T::deserialize(data).map_err(|error| {
            let what = format!("a batch with an item of another form ({error})");
            not_kodo(&self.answer, self.now, &what)
        })
    }

    fn success(&self, index: usize) -> Result<&Value, Failure> {
        let what = "a batch without this item";
        let item = self.items.get(index);
        let item = item.ok_or_else(|| not_kodo(&self.answer, self.now, what))?;
        if (200..300).contains(&item.code) {
            return Ok(&item.data);
        }
        let said = item.data.get("error").and_then(Value::as_str);
        let said = said.unwrap_or_default();
        Err(of_item(item.code, said, &self.answer, self.now))
    }
}
