//! Whom the library trusts: the system's authorities, and those of a file.

use std::time::Duration;

use haul::{ErrorKind, TlsVersion, Uploader};

use crate::authority::{Authority, Order, relay};
use crate::through::{builder, server, use_it};

/// A server whose certificate a company's own authority issued.
#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_ones_own() {
    let authority = Authority::new("ours");
    let (server, address) = server().await;
    for name in ["localhost", "127.0.0.1"] {
        let at = relay(authority.acceptor(Order::good(name)), address).await;
        for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
            let uploader = builder(&server)
                .endpoint(format!("https://{name}:{}", at.port()))
                .ca_file(authority.file())
                .tls_min_version(version)
                .build()
                .unwrap();
            use_it(&uploader).await;
        }
    }
}

/// Certificates that must not be trusted, and what is said of each, on both planes. Time mends none of
/// them: three attempts are enough.
#[tokio::test(flavor = "multi_thread")]
async fn bad_certificates() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let good = Order::good("localhost");
    let expired = Order {
        expired: true,
        ..good
    };
    let old = Order {
        only_1_2: true,
        ..good
    };
    let authority = Order {
        is_authority: true,
        ..good
    };
    let (server, address) = server().await;
    for (story, issuer, order, version, expected, next) in [
        (
            "expired",
            &ours,
            expired,
            TlsVersion::V1_2,
            &["expired on Mon, 03 Feb 2020"][..],
            "this machine's clock",
        ),
        (
            "wrong name",
            &ours,
            Order::good("elsewhere.example"),
            TlsVersion::V1_2,
            &["for elsewhere.example, not for localhost"],
            "the host's name",
        ),
        (
            "unknown issuer",
            &others,
            good,
            TlsVersion::V1_2,
            &["issuer", "ca_file"],
            "`ca_file`",
        ),
        (
            "too old",
            &ours,
            old,
            TlsVersion::V1_3,
            &["tls_min_version"],
            "`tls_min_version`",
        ),
        (
            "an authority",
            &ours,
            authority,
            TlsVersion::V1_2,
            &["its certificate is an authority's own"],
            "must be replaced",
        ),
    ] {
        let at = relay(issuer.acceptor(order), address).await;
        let uploader = builder(&server)
            .endpoint(format!("https://localhost:{}", at.port()))
            .ca_file(ours.file())
            .tls_min_version(version)
            .retry_budget(Duration::from_secs(900))
            .build()
            .unwrap();
        expect_refusal(&uploader, story, expected, next).await;
    }
    assert_eq!(server.requests().connections, 0);
}

/// Both planes say these words and advise that step; an upload tries three times.
async fn expect_refusal(uploader: &Uploader, story: &str, expected: &[&str], next: &str) {
    let put = uploader.put_data("b", "k", "x").await.unwrap_err();
    let stat = uploader.stat("b", "k").await.unwrap_err();
    assert_eq!(put.attempts(), 3, "{story}: {put}");
    for error in [put, stat] {
        let step = error.next_step().unwrap_or_default();
        assert!(step.contains(next), "{story}: {step}");
        assert_eq!(error.kind(), ErrorKind::NoConnection, "{story}: {error}");
        let said = error.to_string();
        for words in expected {
            assert!(said.contains(words), "{story}: {said}");
        }
    }
}

/// A file that is not there, or is no certificate, is a wrong setting.
#[tokio::test]
async fn bad_files() {
    let (server, _) = server().await;
    let dir = tempfile::tempdir().unwrap();
    let garbage = dir.path().join("garbage.pem");
    let text = b"-----BEGIN CERTIFICATE-----\nMTIz\n-----END CERTIFICATE-----\n";
    for (path, content) in [
        (dir.path().join("missing.pem"), None),
        (garbage.clone(), Some(&b"no certificate at all"[..])),
        (garbage, Some(text)),
    ] {
        if let Some(content) = content {
            let mut file = std::fs::File::create(&path).unwrap();
            std::io::Write::write_all(&mut file, content).unwrap();
        }
        let error = builder(&server).ca_file(&path).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let named = path.display().to_string();
        assert!(error.to_string().contains(&named), "{error}");
    }
}
