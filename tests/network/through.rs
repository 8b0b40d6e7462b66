//! The library through proxies: both planes, with and without credentials, and past them.

use std::net::SocketAddr;
use std::time::Duration;

use haul::devserver::DevServer;
use haul::{Error, ErrorKind, Uploader, UploaderBuilder};
use http::StatusCode;

use crate::authority::{Authority, Order, relay};
use crate::http_proxy::HttpProxy;
use crate::socks_proxy::SocksProxy;
use crate::world::content;

/// A host that no DNS knows (RFC 6761): whoever reaches it came by the proxy.
const HOST: &str = "up.haul.invalid";

/// User name and password `me:HUSH@1`, as `Proxy-Authorization` has them.
const BASIC: &str = "Basic bWU6SFVTSEAx";

/// The same in a URL.
const USER: &str = "me:HUSH%401@";

/// Two blocks: several lanes, and connections that are used again.
const LEN: usize = (5 << 20) + 1;

pub(crate) async fn server() -> (DevServer, SocketAddr) {
    let server = DevServer::builder().start().await.unwrap();
    let address = server.url().trim_start_matches("http://").parse().unwrap();
    (server, address)
}

/// An uploader for the server's account; no second attempt takes long.
pub(crate) fn builder(server: &DevServer) -> UploaderBuilder {
    let keys = server.credentials();
    Uploader::builder()
        .credentials(keys.access_key.as_str(), keys.secret_key.expose())
        .retry_budget(Duration::from_millis(300))
}

/// Uploads by form and in lanes, and asks for what is there: both planes.
pub(crate) async fn use_it(uploader: &Uploader) {
    uploader.put_data("b", "small", "x").await.unwrap();
    let done = uploader.put_data("b", "large", content(LEN)).await.unwrap();
    let info = uploader.stat("b", "large").await.unwrap();
    assert_eq!((info.size, info.hash), (LEN as u64, done.hash.to_string()));
}

/// Both planes fail with the network's kind; what they say, without a password.
async fn fails(uploader: &Uploader) -> [String; 2] {
    let put = uploader.put_data("b", "k", "x").await.unwrap_err();
    let stat = uploader.stat("b", "k").await.unwrap_err();
    [put, stat].map(|error: Error| {
        assert_eq!(error.kind(), ErrorKind::NoConnection, "{error}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("HUSH"), "{text}");
        text
    })
}

/// HTTP proxies, in plain and encrypted, before plain and encrypted servers.
#[tokio::test(flavor = "multi_thread")]
async fn http_proxies() {
    let authority = Authority::new("ours");
    for (scheme, tls_proxy, user) in [
        ("http", false, ""),
        ("http", false, USER),
        ("http", true, USER),
        ("https", false, ""),
        ("https", false, USER),
        ("https", true, USER),
    ] {
        let story = format!("{scheme} through {tls_proxy} {user}");
        let (server, address) = server().await;
        let target = match scheme {
            "http" => address,
            _ => relay(authority.acceptor(Order::good(HOST)), address).await,
        };
        let proxy = HttpProxy {
            authorization: (!user.is_empty()).then_some(BASIC),
            ..HttpProxy::default()
        };
        let tls = tls_proxy.then(|| authority.acceptor(Order::good("localhost")));
        let at = proxy.start(target, tls).await;
        let front = if tls_proxy { "https" } else { "http" };
        let uploader = builder(&server)
            .endpoint(format!("{scheme}://{HOST}"))
            .proxy(format!("{front}://{user}localhost:{}", at.port()))
            .ca_file(authority.file())
            .build()
            .unwrap();
        use_it(&uploader).await;
        let asked = proxy.let_through();
        let right = match scheme {
            "http" => format!(" http://{HOST}/"),
            _ => format!("CONNECT {HOST}:443"),
        };
        assert!(
            asked.iter().all(|what| what.contains(&right)),
            "{story}: {asked:?}"
        );
        // All that the server saw came by the proxy; one that is on its way may not be there yet.
        let connections = server.requests().connections;
        assert_ne!(connections, 0, "{story}");
        assert!(asked.len() as u64 >= connections, "{story}: {asked:?}");
    }
}

/// SOCKS5: names found by the proxy or here, with and without credentials.
#[tokio::test(flavor = "multi_thread")]
async fn socks_proxies() {
    let authority = Authority::new("ours");
    for (scheme, host, user) in [
        ("socks5h", HOST, ""),
        ("socks5h", HOST, USER),
        ("socks5", "localhost", ""),
        ("socks5", "127.0.0.1", USER),
    ] {
        for https in [false, true] {
            let story = format!("{scheme} {host} {user} {https}");
            let (server, address) = server().await;
            let target = match https {
                false => address,
                true => relay(authority.acceptor(Order::good(host)), address).await,
            };
            let proxy = SocksProxy {
                credentials: (!user.is_empty()).then_some(("me", "HUSH@1")),
                ..SocksProxy::default()
            };
            let at = proxy.start(target).await;
            let front = if https { "https" } else { "http" };
            // Port 1 is nobody's: a direct connection would fail.
            let uploader = builder(&server)
                .endpoint(format!("{front}://{host}:1"))
                .proxy(format!("{scheme}://{user}{at}"))
                .ca_file(authority.file())
                .build()
                .unwrap();
            use_it(&uploader).await;
            let asked = proxy.asked.lock().unwrap().clone();
            let name = if scheme == "socks5" { "1:1" } else { HOST };
            let right = |what: &String| what.contains(name) && what.ends_with(":1");
            assert!(asked.iter().all(right), "{story}: {asked:?}");
            let connections = server.requests().connections;
            // One that nothing was sent on may not have got as far.
            assert!(asked.len() as u64 >= connections, "{story}: {asked:?}");
            assert_ne!(connections, 0, "{story}");
        }
    }
}

/// Both planes fail at `proxy`, which is named, before the server hears of anything.
async fn fails_at(proxy: HttpProxy, scheme: &str, user: &str) -> [String; 2] {
    let (server, address) = server().await;
    let at = proxy.start(address, None).await;
    let uploader = builder(&server)
        .endpoint(format!("{scheme}://{HOST}"))
        .proxy(format!("http://{user}{at}"))
        .build()
        .unwrap();
    let both = fails(&uploader).await;
    for said in &both {
        assert!(said.contains(&format!("http://{at}")), "{said}");
    }
    assert_eq!(server.requests().connections, 0, "{both:?}");
    both
}

/// Who may not use an HTTP proxy is told which proxy, and what to do.
#[tokio::test(flavor = "multi_thread")]
async fn http_credentials() {
    let words = [
        ("", "wants a user name and password"),
        ("me:HUSH-wrong@", "does not accept"),
    ];
    for (user, words) in words {
        for scheme in ["http", "https"] {
            let proxy = HttpProxy {
                authorization: Some(BASIC),
                ..HttpProxy::default()
            };
            for said in fails_at(proxy, scheme, user).await {
                let right = said.contains("407") && said.contains(words);
                assert!(right, "{scheme} {user}: {said}");
            }
        }
    }
}

/// A password that is wrong stays so: three attempts, and what to do, whatever the way.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_end_soon() {
    let (server, address) = server().await;
    for (scheme, kind) in [
        ("http", "http"),
        ("https", "http"),
        ("http", "socks5"),
        ("http", "socks5h"),
    ] {
        let http = HttpProxy {
            authorization: Some(BASIC),
            ..HttpProxy::default()
        };
        let socks = SocksProxy {
            credentials: Some(("me", "HUSH@1")),
            ..SocksProxy::default()
        };
        let (at, host) = match kind {
            "http" => (http.start(address, None).await, HOST),
            "socks5" => (socks.start(address).await, "127.0.0.1"),
            _ => (socks.start(address).await, HOST),
        };
        let uploader = builder(&server)
            .endpoint(format!("{scheme}://{host}"))
            .proxy(format!("{kind}://me:HUSH-wrong@{at}"))
            .retry_budget(Duration::from_secs(900))
            .build()
            .unwrap();
        let error = uploader.put_data("b", "k", "x").await.unwrap_err();
        assert_eq!(error.attempts(), 3, "{scheme} {kind}: {error}");
        let step = error.next_step().unwrap_or_default();
        assert!(step.contains("user name and password"), "{kind}: {step}");
    }
}

/// A tunnel that is refused for another reason: the status is told. (The library of the other plane
/// keeps it for itself.)
#[tokio::test(flavor = "multi_thread")]
async fn http_refusals() {
    for status in [StatusCode::FORBIDDEN, StatusCode::BAD_GATEWAY] {
        let proxy = HttpProxy {
            authorization: Some(BASIC),
            refuses: Some(status),
            ..HttpProxy::default()
        };
        let [put, _] = fails_at(proxy, "https", USER).await;
        let words = format!("refused with status {status}");
        assert!(put.contains(&words), "{put}");
    }
}

/// The same of a SOCKS5 proxy, and of one that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn socks_refusals() {
    let (server, address) = server().await;
    let credentials = Some(("me", "HUSH@1"));
    let proxy = SocksProxy {
        credentials,
        ..SocksProxy::default()
    };
    let at = proxy.start(address).await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = closed.local_addr().unwrap();
    drop(closed);
    for (story, user, at, words) in [
        (
            "no credentials",
            "",
            at,
            "no user name and password are set",
        ),
        (
            "wrong ones",
            "me:HUSH-wrong@",
            at,
            "credentials not accepted",
        ),
        ("nobody there", USER, nobody, "refused"),
    ] {
        let uploader = builder(&server)
            .endpoint(format!("http://{HOST}"))
            .proxy(format!("socks5h://{user}{at}"))
            .build()
            .unwrap();
        let [put, stat] = fails(&uploader).await;
        assert!(put.contains(words), "{story}: {put}");
        for said in [&put, &stat] {
            assert!(said.contains(&format!("socks5h://{at}")), "{story}: {said}");
        }
    }
    assert_eq!(server.requests().connections, 0);
}

/// Exempt hosts are reached directly, by both planes; so are all when the proxy is `none`.
#[tokio::test(flavor = "multi_thread")]
async fn past_the_proxy() {
    let (server, address) = server().await;
    let proxy = HttpProxy::default();
    let at = proxy.start(address, None).await;
    let url = format!("http://{at}");
    let variables = [("http_proxy", url.as_str())].map(|(a, b)| (a.into(), b.into()));
    let base = || builder(&server).endpoint(server.url());
    for uploader in [
        base().proxy(&url).no_proxy("example.com, 127.0.0.0/8"),
        base().proxy(&url).no_proxy("*"),
        base().proxy_from(variables.clone()).proxy("none"),
        base().proxy_from([("HTTP_PROXY".into(), url.clone().into())]),
    ] {
        use_it(&uploader.build().unwrap()).await;
        assert!(proxy.let_through().is_empty());
    }
    use_it(&base().proxy_from(variables).build().unwrap()).await;
    assert!(!proxy.let_through().is_empty());
}
