//! One TLS configuration for both planes, and its failures in words.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, InvalidMessage, RootCertStore};
use rustls_platform_verifier::Verifier;

use crate::model::{Failure, FailureKind, Remedy, chain};

/// What the verifier calls a server that shows its authority's certificate as its own. Its error's type
/// is no part of this crate's tree of types.
const AUTHORITY_AS_SERVER: &str = "CaUsedAsEndEntity";

/// Names of a certificate that an error shows: some have hundreds.
const NAMES_SHOWN: usize = 4;

/// How servers are to be trusted. There is no way to trust everybody.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsSetup {
    /// PEM file of certificate authorities to trust beside the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// Oldest version of the protocol to speak.
    pub(crate) min_version: TlsVersion,
}

/// A version of TLS, for [`tls_min_version`](crate::UploaderBuilder::tls_min_version).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersion {
    /// 1.2, of 2008: the oldest that is still safe.
    #[default]
    V1_2,
    /// 1.3, of 2018.
    V1_3,
}

impl TlsSetup {
    /// The configuration. Certificates are judged by the platform's own verifier, cryptography is
    /// `ring`'s. Fails when the file cannot be read or holds no certificate.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, Failure> {
        let refuse = |error: &rustls::Error| {
            Failure::new(FailureKind::Tls, format!("no TLS here: {}", chain(error)))
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let extra = match &self.ca_file {
            Some(path) => certificates(path)?,
            None => Vec::new(),
        };
        let verifier = verifier(extra, &provider).map_err(|error| refuse(&error))?;
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = match self.min_version {
            TlsVersion::V1_2 => builder.with_safe_default_protocol_versions(),
            TlsVersion::V1_3 => builder.with_protocol_versions(&[&rustls::version::TLS13]),
        };
        Ok(builder
            .map_err(|error| refuse(&error))?
            // The name is rustls' own: the verifier is the platform's.
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth())
    }
}

/// Judges certificates by the system's authorities and `extra`.
///
/// A machine that has none at all, as an empty container, gets Mozilla's, which are compiled in.
fn verifier(
    extra: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
    // Without `extra`, so that it does not hide that the system has none.
    let system = Verifier::new(Arc::clone(provider));
    if let Err(error) = system {
        tracing::debug!(%error, "no certificate authorities here: those compiled in are used");
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for certificate in extra {
            roots.add(certificate)?;
        }
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let verifier = builder.build();
        return Ok(verifier.map_err(|error| rustls::Error::General(error.to_string()))?);
    }
    if extra.is_empty() {
        return Ok(Arc::new(system?));
    }
    let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(provider))?;
    Ok(Arc::new(verifier))
}

/// The certificates of a PEM file: at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let refuse = |why: String| {
        let why = format!("cannot use the CA file {}: {why}", path.display());
        Failure::new(FailureKind::Tls, why)
    };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = read.map_err(|error| refuse(chain(&error)))?;
    if found.is_empty() {
        return Err(refuse("it holds no PEM certificate".to_owned()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in &found {
        let added = roots.add(certificate.clone());
        added.map_err(|error| refuse(chain(&error)))?;
    }
    Ok(found)
}

/// Why a TLS connection was not made, in words that a person can act on.
pub(crate) fn explain(error: &rustls::Error) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage as Garbled};
    match error {
        InvalidCertificate(error) => certificate(error),
        AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(_)
        | Garbled(InvalidMessage::UnknownProtocolVersion) => {
            format!("it speaks no version of TLS that is allowed here (`tls_min_version`): {error}")
        }
        Garbled(InvalidMessage::InvalidContentType) => {
            "it does not speak TLS there; is the right URL an `http://` one?".to_owned()
        }
        other => format!("TLS failed: {}", chain(other)),
    }
}

/// What a person has to do before `error` goes away; none where it may be the line's doing.
pub(crate) fn remedy(error: &rustls::Error) -> Option<Remedy> {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage as Garbled};
    match error {
        InvalidCertificate(error) => Some(certificate_remedy(error)),
        AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(_)
        | Garbled(InvalidMessage::UnknownProtocolVersion) => Some(Remedy::TlsVersion),
        Garbled(InvalidMessage::InvalidContentType) => Some(Remedy::Scheme),
        _ => None,
    }
}

fn certificate_remedy(error: &CertificateError) -> Remedy {
    use CertificateError as C;
    match error {
        C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. } => {
            Remedy::Clock
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => Remedy::Name,
        C::UnknownIssuer | C::BadSignature => Remedy::Authority,
        _ => Remedy::Certificate,
    }
}

/// What is wrong with a certificate.
fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("its certificate expired on {}", date(*not_after))
        }
        CertificateError::NotValidYet => "its certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { not_before, time } => format!(
            "its certificate is valid only from {}; this machine's clock says {}",
            date(*not_before),
            date(*time)
        ),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let names = names(presented);
            format!(
                "its certificate is for {names}, not for {}",
                expected.to_str()
            )
        }
        CertificateError::UnknownIssuer => {
            "the issuer of its certificate is not known to this machine; if your organisation \
             issued it, name the file of its certificate authority (`ca_file`)"
                .to_owned()
        }
        CertificateError::BadSignature => {
            "its certificate is not signed by the issuer that it names; an authority that was made \
             anew under its old name has another certificate now (`ca_file`)"
                .to_owned()
        }
        CertificateError::Other(other) if other.to_string() == AUTHORITY_AS_SERVER => {
            "its certificate is an authority's own, which may issue others and not serve itself"
                .to_owned()
        }
        CertificateError::Other(other) => format!("its certificate is not valid: {other}"),
        other => format!(
            "its certificate is not valid: {}",
            rustls::Error::from(other.clone())
        ),
    }
}

/// Names as a certificate presents them: `DnsName("a.example")`, `IpAddress(127.0.0.1)`.
fn names(presented: &[String]) -> String {
    let bare = presented.iter().map(|name| {
        let inside = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
        inside.trim_matches(['(', ')', '"']).to_owned()
    });
    let mut shown: Vec<String> = bare.take(NAMES_SHOWN).collect();
    match presented.len().saturating_sub(NAMES_SHOWN) {
        0 if shown.is_empty() => shown.push("no name at all".to_owned()),
        0 => {}
        more => shown.push(format!("{more} more")),
    }
    shown.join(", ")
}

/// A day and time, in UTC.
fn date(time: UnixTime) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    // The formatter knows four-digit years only.
    let known = Duration::from_secs(253_402_300_800);
    match time.filter(|time| {
        time.duration_since(SystemTime::UNIX_EPOCH)
            .is_ok_and(|at| at < known)
    }) {
        Some(time) => httpdate::fmt_http_date(time),
        None => "a day beyond the year 9999".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    /// What rustls finds, and what a person is told to do about it.
    #[test]
    fn failures_in_words() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let many: Vec<_> = (0..9)
            .map(|it| format!("DnsName(\"{it}.example\")"))
            .collect();
        let wrong_name = |presented| CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("up.example").unwrap(),
            presented,
        };
        let rows = [
            (
                CertificateError::ExpiredContext {
                    time: at(2_000_000_000),
                    not_after: at(1_580_688_000),
                },
                "expired on Mon, 03 Feb 2020",
            ),
            (
                CertificateError::NotValidYetContext {
                    time: at(0),
                    not_before: at(u64::MAX),
                },
                "only from a day beyond the year 9999; this machine's clock says Thu, 01 Jan 1970",
            ),
            (
                wrong_name(vec!["IpAddress(127.0.0.1)".to_owned()]),
                "for 127.0.0.1, not for up.example",
            ),
            (wrong_name(Vec::new()), "for no name at all, not for"),
            (
                wrong_name(many),
                "0.example, 1.example, 2.example, 3.example, 5 more, not",
            ),
            (CertificateError::UnknownIssuer, "`ca_file`"),
            (CertificateError::BadSignature, "`ca_file`"),
            (CertificateError::Revoked, "not valid: "),
        ];
        for (error, expected) in rows {
            let said = explain(&rustls::Error::from(error));
            assert!(said.contains(expected), "{said}");
        }
        let alert = rustls::Error::AlertReceived(AlertDescription::ProtocolVersion);
        assert!(explain(&alert).contains("`tls_min_version`"));
    }
}
