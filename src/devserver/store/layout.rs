//! Names inside the store: relative paths with `/`, made only of safe pieces.
//!
//! No path derives from raw text of a client. A key becomes a hash, and what a client sends back
//! as a ctx or an upload id must first prove to be an id.

use rand::TryRngCore;
use rand::rngs::OsRng;
use sha1::{Digest, Sha1};

use crate::devserver::store::error::StoreError;
use crate::kodo::encode::hex;
use crate::model::{Bucket, ObjectKey};

/// Where bodies and records grow before they are renamed into place.
pub(crate) const INCOMING: &str = "incoming";
/// Where finished bytes are.
pub(crate) const BLOBS: &str = "blobs";
/// Where objects are.
pub(crate) const OBJECTS: &str = "objects";
/// Where v1's contexts are.
pub(crate) const CONTEXTS: &str = "contexts";
/// Where v2's uploads and their parts are.
pub(crate) const UPLOADS: &str = "uploads";
/// Where lock files are.
pub(crate) const LOCKS: &str = "locks";
/// When the last sweep began.
pub(crate) const SWEPT: &str = "swept.json";

/// Random bits of an id: nobody guesses one, and no two are ever the same.
const ID_BITS: usize = 128;
/// An id in hex.
const ID_LEN: usize = ID_BITS / 4;

/// A new id: 32 lower-case hex digits.
pub(crate) fn new_id() -> Result<String, StoreError> {
    let mut bytes = [0; ID_BITS / 8];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|_| StoreError::NoRandomness)?;
    Ok(hex(&bytes))
}

/// Whether `text` may be an id of ours, and so may stand in a path.
pub(crate) fn is_id(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == ID_LEN && text.bytes().all(digit)
}

/// An object's record. The hash covers the bucket too: on a file system that ignores case, two
/// buckets may share a folder, and their objects must not share a file.
pub(crate) fn object(bucket: &Bucket, key: &ObjectKey) -> String {
    let hash = Sha1::new()
        .chain_update(bucket.as_str())
        .chain_update([0])
        .chain_update(key.as_str())
        .finalize();
    let name = hex(&hash);
    format!("{OBJECTS}/{bucket}/{}/{name}.json", &name[..2])
}

/// The folder of a bucket's objects.
pub(crate) fn bucket(bucket: &Bucket) -> String {
    format!("{OBJECTS}/{bucket}")
}

/// A blob; none for what is no id.
pub(crate) fn blob(id: &str) -> Option<String> {
    is_id(id).then(|| format!("{BLOBS}/{}/{id}", &id[..2]))
}

/// A context's record; none for what is no ctx of ours.
pub(crate) fn context(ctx: &str) -> Option<String> {
    is_id(ctx).then(|| format!("{CONTEXTS}/{}/{ctx}.json", &ctx[..2]))
}

/// The folder of an upload; none for what is no upload id of ours.
pub(crate) fn upload_folder(id: &str) -> Option<String> {
    is_id(id).then(|| format!("{UPLOADS}/{id}"))
}

/// An upload's record in its folder.
pub(crate) fn upload(folder: &str) -> String {
    format!("{folder}/record.json")
}

/// The folder of an upload's parts in its folder.
pub(crate) fn parts(folder: &str) -> String {
    format!("{folder}/parts")
}

/// A part's record in its upload's folder.
pub(crate) fn part(folder: &str, number: u32) -> String {
    format!("{folder}/parts/{number}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client may send as a ctx or an upload id never leaves the store's folders.
    #[test]
    fn only_ids_become_paths() {
        let id = new_id().unwrap();
        assert!(is_id(&id) && blob(&id).is_some() && context(&id).is_some());
        let upper = "A".repeat(ID_LEN);
        let dots = "../".repeat(11);
        for text in [
            "",
            ".",
            "..",
            "../../etc/passwd",
            "a",
            &upper,
            &dots[..ID_LEN],
        ] {
            assert!(blob(text).is_none() && context(text).is_none(), "{text}");
            assert!(upload_folder(text).is_none(), "{text}");
        }
    }
}
