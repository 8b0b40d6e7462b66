//! Text that is never shown.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::kodo::UploadToken;

/// A key, a token, or a URL that may hold a password. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub(super) struct Secret(pub(super) Zeroizing<String>);

impl Secret {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The upload token that it is.
    pub(super) fn as_token(&self) -> Result<UploadToken, Error> {
        UploadToken::parse(&self.0)
            .map_err(|error| Error::new(ErrorKind::Config, error.to_string()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
