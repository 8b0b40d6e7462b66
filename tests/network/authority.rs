//! A certificate authority of the test's own, and a relay that speaks TLS before a server that does
//! not.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Issues certificates; its own is in a file.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: TempDir,
}

/// How a certificate is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    /// Name that it is for.
    pub(crate) name: &'a str,
    /// Whether its time is over.
    pub(crate) expired: bool,
    /// Whether the server shows a certificate that may issue others.
    pub(crate) is_authority: bool,
    /// Whether the server speaks TLS 1.2 and nothing newer.
    pub(crate) only_1_2: bool,
}

impl<'a> Order<'a> {
    pub(crate) fn good(name: &'a str) -> Self {
        Self {
            name,
            expired: false,
            is_authority: false,
            only_1_2: false,
        }
    }
}

impl Authority {
    /// One of this name.
    pub(crate) fn new(called: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, called);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let authority = Self {
            issuer: Issuer::new(params, key),
            dir,
        };
        let mut file = std::fs::File::create(authority.file()).unwrap();
        std::io::Write::write_all(&mut file, own.pem().as_bytes()).unwrap();
        authority
    }

    /// The file that holds its own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// What a server needs to speak TLS as ordered.
    pub(crate) fn acceptor(&self, order: Order<'_>) -> TlsAcceptor {
        let mut params = CertificateParams::new(vec![order.name.to_owned()]).unwrap();
        if order.expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 3);
        }
        if order.is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let versions: &[_] = match order.only_1_2 {
            true => &[&rustls::version::TLS12],
            false => rustls::ALL_VERSIONS,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Starts a relay that takes TLS off what it carries to `server`; the address to call.
pub(crate) async fn relay(acceptor: TlsAcceptor, server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who refuses our certificate ends it here.
                let Ok(mut inside) = acceptor.accept(stream).await else {
                    return;
                };
                let Ok(mut outside) = TcpStream::connect(server).await else {
                    return;
                };
                let _ = copy_bidirectional(&mut inside, &mut outside).await;
            });
        }
    });
    address
}
