//! v2: parts in any order under an upload id, joined by complete.
//!
//! An upload id is bound to the bucket and to the spelling of the key in its path; anything else is
//! `no such uploadId`, as is one that expired, was aborted or is complete. Source: protocol
//! reference, sections 5 and 12.6. Uncertain there and chosen here: 406 for a wrong `Content-MD5`,
//! 400 for every fault of a part list; an empty part is taken.

use std::collections::BTreeMap;

use http::request::Parts;
use serde::Deserialize;
use serde_json::json;

use crate::clock;
use crate::devserver::exchange::{BodyStream, Overrides, Reply};
use crate::devserver::finish::{Content, Protocol};
use crate::devserver::refusal::Refusal;
use crate::devserver::route::{ObjectFields, UploadPath};
use crate::devserver::service::Service;
use crate::devserver::store::{PartRecord, UploadRecord};
use crate::devserver::upload::blocks::LIFE_SECONDS;
use crate::devserver::upload::intake::{Intake, PartHashing, read_whole};
use crate::kodo::multipart::{PART_COUNT_MAX, PART_LEN_MAX, PART_LEN_MIN};
use crate::kodo::{Etag, UploadToken};

/// Longest body of complete: 10 000 parts of 100 bytes, and room for metadata and variables.
const COMPLETE_LEN_MAX: usize = 2 * 1024 * 1024;

impl Service {
    /// `POST …/uploads`: a new upload id. Conflicts with objects are not looked for here.
    pub(crate) async fn initiate(
        &self,
        path: &UploadPath,
        head: &Parts,
        overrides: Overrides,
    ) -> Result<Reply, Refusal> {
        let token = self.multipart_token(head, path, overrides)?;
        let expires = clock::unix_seconds(clock::wall()) + LIFE_SECONDS;
        let upload = UploadRecord {
            access_key: token.access_key().to_owned(),
            bucket: path.bucket.to_string(),
            object_segment: path.object_segment.clone(),
            expires,
        };
        let id = self.store.create_upload(upload).await?;
        let answer = json!({ "uploadId": id, "expireAt": expires });
        Ok(Reply::json(200, &answer))
    }

    /// `PUT …/uploads/<id>/<number>`: one part. The same number again replaces it.
    pub(crate) async fn part(
        &self,
        path: &UploadPath,
        number: u32,
        head: &Parts,
        mut body: BodyStream,
        overrides: Overrides,
    ) -> Result<Reply, Refusal> {
        let token = self.multipart_token(head, path, overrides)?;
        self.live_upload(path, &token, overrides).await?;
        if !(1..=PART_COUNT_MAX).contains(&number) {
            return Err(Refusal::new(400, "part number must be 1 to 10000"));
        }
        let too_long = Refusal::new(400, "the part is too large");
        let mut intake = Intake::new(self, PartHashing::default(), u64::MAX, too_long).await?;
        intake.push_all(&mut body).await?;
        let (etag, md5) = intake.hashing().finish().await?;
        let expected = head.headers.get("content-md5");
        if expected
            .is_some_and(|expected| !expected.as_bytes().eq_ignore_ascii_case(md5.as_bytes()))
        {
            return Err(Refusal::new(406, "md5 mismatch"));
        }
        let taken = intake.finish().await?;
        let part = PartRecord {
            number,
            extent: taken.extent,
            etag: etag.to_string(),
            put_time: clock::unix_seconds(clock::wall()),
            head: taken.head,
        };
        // It may have been completed or aborted while the part was on its way.
        if !self.store.put_part(&path.upload_id, part).await? {
            return Err(no_such_upload());
        }
        let answer = json!({ "etag": etag.to_string(), "md5": md5 });
        Ok(Reply::json(200, &answer))
    }

    /// `GET …/uploads/<id>`: a page of the parts so far.
    pub(crate) async fn list_parts(
        &self,
        path: &UploadPath,
        (max_parts, marker): (u32, u32),
        head: &Parts,
        overrides: Overrides,
    ) -> Result<Reply, Refusal> {
        let token = self.multipart_token(head, path, overrides)?;
        let upload = self.live_upload(path, &token, overrides).await?;
        let mut parts = self.sorted_parts(path).await?;
        parts.retain(|part| part.number > marker);
        let page_len = parts.len().min(max_parts as usize);
        let next = match parts.get(page_len) {
            Some(_) => parts[..page_len].last().map_or(0, |last| last.number),
            None => 0,
        };
        let page: Vec<_> = parts[..page_len]
            .iter()
            .map(|part| {
                json!({
                    "size": part.extent.len,
                    "etag": part.etag,
                    "partNumber": part.number,
                    "putTime": part.put_time,
                })
            })
            .collect();
        let answer = json!({
            "uploadId": path.upload_id,
            "expireAt": upload.expires,
            "partNumberMarker": next,
            "parts": page,
        });
        Ok(Reply::json(200, &answer))
    }

    /// `POST …/uploads/<id>`: the listed parts become an object; success ends the upload id.
    pub(crate) async fn complete(
        &self,
        path: &UploadPath,
        head: &Parts,
        mut body: BodyStream,
        overrides: Overrides,
    ) -> Result<Reply, Refusal> {
        let token = self.multipart_token(head, path, overrides)?;
        self.live_upload(path, &token, overrides).await?;
        let json = read_whole(&mut body, COMPLETE_LEN_MAX).await?;
        let request: CompleteRequest =
            serde_json::from_slice(&json).map_err(|_| Refusal::new(400, "invalid JSON body"))?;
        let content = match join(&request, self.sorted_parts(path).await?) {
            Ok(content) => content,
            Err(refusal) => {
                // Parts also go when another request completes or aborts the upload meanwhile, and
                // then nothing is wrong with the list.
                self.live_upload(path, &token, Overrides::default()).await?;
                return Err(refusal);
            }
        };
        let fields = request.into_fields(path);
        let reply = self.finish(&token, content, fields, Protocol::V2).await?;
        self.store.remove_upload(&path.upload_id).await?;
        Ok(reply)
    }

    /// `DELETE …/uploads/<id>`: forgets the parts and the upload id.
    pub(crate) async fn abort(
        &self,
        path: &UploadPath,
        head: &Parts,
        overrides: Overrides,
    ) -> Result<Reply, Refusal> {
        let token = self.multipart_token(head, path, overrides)?;
        self.live_upload(path, &token, overrides).await?;
        self.store.remove_upload(&path.upload_id).await?;
        Ok(Reply::json(200, &json!({})))
    }

    /// The upload that the path names, if it is one of this account, bucket and key, and not over.
    async fn live_upload(
        &self,
        path: &UploadPath,
        token: &UploadToken,
        overrides: Overrides,
    ) -> Result<UploadRecord, Refusal> {
        if overrides.upload_expired {
            self.store.remove_upload(&path.upload_id).await?;
        }
        if overrides.part_expired {
            self.store.remove_first_part(&path.upload_id).await?;
        }
        let now = clock::unix_seconds(clock::wall());
        self.store
            .upload(&path.upload_id)
            .await?
            .filter(|upload| {
                upload.access_key == token.access_key()
                    && upload.bucket == path.bucket.as_str()
                    && upload.object_segment == path.object_segment
                    && now < upload.expires
            })
            .ok_or_else(no_such_upload)
    }

    async fn sorted_parts(&self, path: &UploadPath) -> Result<Vec<PartRecord>, Refusal> {
        let mut parts = self.store.parts(&path.upload_id).await?;
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }
}

fn no_such_upload() -> Refusal {
    Refusal::new(612, "no such uploadId")
}

/// The body of complete. Fields that nobody knows are passed over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CompleteRequest {
    #[serde(default)]
    parts: Option<Vec<ListedPart>>,
    #[serde(default)]
    fname: Option<String>,
    #[serde(default)]
    mime_type: Option<String>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    custom_vars: Option<BTreeMap<String, String>>,
    /// The standard headers that may be stored with the object, among what nobody knows.
    #[serde(flatten)]
    other: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedPart {
    part_number: u32,
    etag: String,
}

impl CompleteRequest {
    fn into_fields(self, path: &UploadPath) -> ObjectFields {
        let mut fields = ObjectFields {
            key: path.key.clone(),
            file_name: self.fname,
            mime_type: self.mime_type,
            ..ObjectFields::default()
        };
        let named = [self.metadata, self.custom_vars];
        for (name, value) in named.into_iter().flatten().flatten() {
            fields.take(&name, &value);
        }
        for (name, value) in &self.other {
            if let Some(value) = value.as_str() {
                fields.take(name, value);
            }
        }
        fields
    }
}

/// The content that the listed parts make, if the list is right.
fn join(request: &CompleteRequest, parts: Vec<PartRecord>) -> Result<Content, Refusal> {
    let refuse = |message: &'static str| Err(Refusal::new(400, message));
    let listed = request.parts.as_deref().unwrap_or_default();
    let Some(last) = listed.last() else {
        return refuse("parts param can't be empty");
    };
    if !listed.is_sorted_by(|one, next| one.part_number < next.part_number) {
        return refuse("parts must be in ascending order");
    }
    let mut stored: BTreeMap<u32, PartRecord> =
        parts.into_iter().map(|part| (part.number, part)).collect();
    let (mut content, mut etags, mut lens) = (Content::default(), Vec::new(), Vec::new());
    for listed in listed {
        let Some(part) = stored.remove(&listed.part_number) else {
            return refuse("no such part");
        };
        let Some(etag) = Etag::parse(&part.etag).filter(|_| part.etag == listed.etag) else {
            return refuse("the part's etag doesn't match");
        };
        let len = part.extent.len;
        if len < PART_LEN_MIN && listed.part_number != last.part_number {
            return refuse("a part before the last one is smaller than 1 MiB");
        }
        if len > PART_LEN_MAX {
            return refuse("a part is larger than 1 GiB");
        }
        if content.data.is_empty() {
            content.head = part.head;
        }
        content.size += len;
        content.data.push(part.extent);
        etags.push((len, etag));
        lens.push(len);
    }
    content.etag = Etag::of_parts(&etags);
    content.part_lens = Some(lens);
    Ok(content)
}
