//! The service side: one request in, one reply out.
//!
//! [`Service::answer`] is the whole seam to the network side. It never fails: whatever is wrong with
//! a request becomes a reply in Kodo's shape. A reply may come before the body has been read to its
//! end; the network side then decides whether to drain it or to close.

use http::Method;
use http::request::Parts;

use crate::clock;
use crate::devserver::browser;
use crate::devserver::callback::Callbacks;
use crate::devserver::exchange::{BodyStream, Operation, Overrides, Reply};
use crate::devserver::manage::Manage;
use crate::devserver::refusal::Refusal;
use crate::devserver::region;
use crate::devserver::route::Call;
use crate::devserver::store::Store;
use crate::devserver::upload::read_whole;
use crate::kodo::Credentials;
use crate::model::Bucket;

/// Longest body of a management call: a batch of 1000 operations with keys of 750 bytes in base64,
/// two per operation.
const MANAGE_LEN_MAX: usize = 4 * 1024 * 1024;

/// The Kodo behind the wire. Shared by all connections; holds no lock of its own.
#[derive(Debug)]
pub(crate) struct Service {
    /// Objects and unfinished uploads.
    pub(crate) store: Store,
    /// The one account.
    pub(crate) keys: Credentials,
    /// Buckets that exist; `None`: any.
    pub(crate) buckets: Option<Vec<Bucket>>,
    /// `host:port` names that the region query hands out, in order of preference.
    pub(crate) hosts: Vec<String>,
    /// For policies with a `callbackUrl`.
    pub(crate) callbacks: Callbacks,
}

impl Service {
    /// One account on one store.
    pub(crate) fn new(
        store: Store,
        keys: Credentials,
        buckets: Option<Vec<Bucket>>,
        hosts: Vec<String>,
    ) -> Self {
        Self {
            store,
            keys,
            buckets,
            hosts,
            callbacks: Callbacks::new(),
        }
    }

    /// Answers one request. `head` is its head as it came, `call` what [`parse`] made of it.
    ///
    /// [`parse`]: crate::devserver::route::parse
    pub(crate) async fn answer(
        &self,
        call: Call,
        head: &Parts,
        body: BodyStream,
        overrides: Overrides,
    ) -> Reply {
        let is_for_pages = call.operation().is_for_pages();
        let answered = match call {
            Call::Preflight => Ok(browser::preflight(&head.headers)),
            Call::Malformed { operation, message } => {
                self.malformed(operation, message, head, overrides)
            }
            Call::WrongMethod { .. } => Err(Refusal::new(405, "method not allowed")),
            Call::Unknown | Call::Control { .. } => Err(Refusal::new(404, "no such path")),
            call if call.operation().is_upload() => self.upload(call, head, body, overrides).await,
            call => self.manage_call(call, head, body).await,
        };
        let mut reply = answered.unwrap_or_else(Reply::from);
        if is_for_pages {
            browser::open(&mut reply);
        }
        reply
    }

    /// Whether the bucket exists.
    pub(crate) fn has_bucket(&self, bucket: &str) -> bool {
        match &self.buckets {
            None => Bucket::new(bucket).is_ok(),
            Some(buckets) => buckets.iter().any(|known| known.as_str() == bucket),
        }
    }

    async fn upload(
        &self,
        call: Call,
        head: &Parts,
        body: BodyStream,
        overrides: Overrides,
    ) -> Result<Reply, Refusal> {
        match call {
            Call::Form => self.form(head, body, overrides).await,
            Call::PutBase64(call) => self.put_base64(call, head, body, overrides).await,
            Call::Mkblk { block_len } => self.mkblk(block_len, head, body, overrides).await,
            Call::Bput { ctx, offset } => self.bput(&ctx, offset, head, body, overrides).await,
            Call::Mkfile(mkfile) => self.mkfile(mkfile, head, body, overrides).await,
            Call::Initiate(path) => self.initiate(&path, head, overrides).await,
            Call::Part { path, number } => self.part(&path, number, head, body, overrides).await,
            Call::ListParts {
                path,
                max_parts,
                marker,
            } => {
                let page = (max_parts, marker);
                self.list_parts(&path, page, head, overrides).await
            }
            Call::Complete(path) => self.complete(&path, head, body, overrides).await,
            Call::Abort(path) => self.abort(&path, head, overrides).await,
            _ => Err(Refusal::new(404, "no such path")),
        }
    }

    /// A path that cannot be is still looked at only after the caller has shown who it is; a form
    /// does that in its body.
    fn malformed(
        &self,
        operation: Operation,
        message: &'static str,
        head: &Parts,
        overrides: Overrides,
    ) -> Result<Reply, Refusal> {
        if operation.is_upload() {
            self.upload_token(head, overrides)?;
        }
        Err(Refusal::new(400, message))
    }

    async fn manage_call(
        &self,
        call: Call,
        head: &Parts,
        mut body: BodyStream,
    ) -> Result<Reply, Refusal> {
        let manage = Manage {
            store: &self.store,
            buckets: self.buckets.as_deref(),
            now: clock::wall(),
        };
        // Downloads are open, as from a public bucket's domain; so is the region query of Kodo.
        match call {
            Call::Download { bucket, key } => {
                let is_head = head.method == Method::HEAD;
                let reply = manage.download(&bucket, &key, &head.headers, is_head);
                return Ok(reply.await);
            }
            Call::Query {
                version,
                access_key,
                bucket,
            } => {
                let key_known = access_key == self.keys.access_key.as_str();
                let bucket_known = self.has_bucket(&bucket);
                return Ok(region::query(version, &self.hosts, key_known, bucket_known));
            }
            _ => {}
        }
        let body = read_whole(&mut body, MANAGE_LEN_MAX).await?;
        self.management(head, &body)?;
        Ok(match call {
            Call::Batch => manage.batch(&body).await,
            Call::List(query) => manage.list(query).await,
            Call::ListLines(query) => manage.list_lines(query).await,
            Call::Buckets => manage.bucket_names().await,
            Call::Regions => region::regions(),
            call => manage.object(call).await,
        })
    }
}
