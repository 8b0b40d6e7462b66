//! What a put policy demands of a finished object.

use http::HeaderValue;

use crate::devserver::finish::Protocol;
use crate::devserver::refusal::Refusal;
use crate::devserver::store::Overwrite;
use crate::kodo::commit::{METADATA_LEN_MAX, METADATA_NAME_LEN_MAX};
use crate::kodo::{PutPolicy, Scope};

/// When an object that is there may be replaced: the table of section 7.2.
pub(super) fn overwrite(policy: &PutPolicy, protocol: Protocol) -> Overwrite {
    match &policy.scope {
        _ if policy.force_insert_only => Overwrite::Never,
        _ if policy.insert_only => Overwrite::SameHashOnly,
        Scope::Key(..) => Overwrite::Replace,
        Scope::Bucket(_) if protocol == Protocol::V1 => Overwrite::Replace,
        Scope::Bucket(_) | Scope::Prefix(..) => Overwrite::SameHashOnly,
    }
}

/// 400 for a policy that contradicts itself.
pub(super) fn check_policy(policy: &PutPolicy) -> Result<(), Refusal> {
    if policy.callback_url.is_some() && policy.callback_body.is_none() {
        return Err(Refusal::new(400, "callbackbodynotspecified"));
    }
    policy
        .check()
        .map_err(|error| Refusal::new(400, error.to_string()))
}

/// 413 above `fsizeLimit`, 403 below `fsizeMin`.
pub(super) fn check_size(policy: &PutPolicy, size: u64) -> Result<(), Refusal> {
    if policy.fsize_limit.is_some_and(|limit| size > limit) {
        return Err(too_large());
    }
    if policy.fsize_min.is_some_and(|min| size < min) {
        return Err(Refusal::new(403, "the file is smaller than fsizeMin"));
    }
    Ok(())
}

/// 413: also used while a body is still coming.
pub(crate) fn too_large() -> Refusal {
    Refusal::new(413, "exceed FsizeLimit")
}

/// The limits of section 5.4. A name with `!` sets a header of the object, so its value must be
/// fit for one.
pub(crate) fn check_metadata<'a>(
    metadata: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<(), Refusal> {
    let mut len = 0;
    for (name, value) in metadata {
        len += name.len() + value.len();
        let bare = name.strip_prefix('!').unwrap_or(name);
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let fine = !bare.is_empty()
            && bare.len() <= METADATA_NAME_LEN_MAX
            && bare.bytes().all(letter)
            && (bare == name || HeaderValue::from_str(value).is_ok());
        if !fine {
            return Err(Refusal::new(400, "invalid x-qn-meta name or value"));
        }
    }
    if len > METADATA_LEN_MAX {
        return Err(Refusal::new(400, "x-qn-meta is too large"));
    }
    Ok(())
}
