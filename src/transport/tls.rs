//! One TLS configuration for both planes.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;

use crate::model::{Failure, FailureKind};

/// Certificates are judged by the platform's own verifier; cryptography is `ring`'s.
///
/// Fails where the machine has no certificate authorities at all, as in an empty container. Plain
/// HTTP still works there, so the caller keeps the failure until a host needs TLS.
pub(crate) fn client_config() -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_platform_verifier())
        .map_err(|error| Failure::new(FailureKind::Tls, format!("no TLS here: {error}")))?;
    Ok(config.with_no_client_auth())
}
