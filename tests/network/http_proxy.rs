//! An HTTP proxy of the test's own: it tunnels by `CONNECT` and forwards plain requests. Wherever it
//! is asked to go, it goes to one server, so that names need not exist.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What a proxy does, and what it saw.
#[derive(Clone, Default)]
pub(crate) struct HttpProxy {
    /// Value that `Proxy-Authorization` must have.
    pub(crate) authorization: Option<&'static str>,
    /// What it answers to whoever is authorized, in place of doing what is asked.
    pub(crate) refuses: Option<StatusCode>,
    /// Everything asked, as `CONNECT host:port` or `POST http://host/path`, and whether it was let
    /// through.
    pub(crate) asked: Arc<Mutex<Vec<(String, bool)>>>,
}

impl HttpProxy {
    /// Starts it; its address. With an acceptor it is spoken to by TLS.
    pub(crate) async fn start(&self, server: SocketAddr, tls: Option<TlsAcceptor>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (proxy, tls) = (proxy.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => proxy.serve(stream, server).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                proxy.serve(stream, server).await;
                            }
                        }
                    }
                });
            }
        });
        address
    }

    /// What was asked and let through.
    pub(crate) fn let_through(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let through = asked.iter().filter(|(_, through)| *through);
        through.map(|(what, _)| what.clone()).collect()
    }

    async fn serve<S>(&self, stream: S, server: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service =
            service_fn(
                |request| async move { Ok::<_, Infallible>(self.answer(request, server).await) },
            );
        let serving = hyper::server::conn::http1::Builder::new();
        let connection = serving.serve_connection(TokioIo::new(stream), service);
        let _ = connection.with_upgrades().await;
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        server: SocketAddr,
    ) -> Response<BoxBody<Bytes, hyper::Error>> {
        let given = request.headers_mut().remove(PROXY_AUTHORIZATION);
        let wanted = self.authorization.map(str::as_bytes);
        let may = wanted.is_none() || given.as_ref().map(|value| value.as_bytes()) == wanted;
        let what = format!("{} {}", request.method(), request.uri());
        let through = may && self.refuses.is_none();
        self.asked.lock().unwrap().push((what, through));
        if !may {
            let mut answer = empty(StatusCode::PROXY_AUTHENTICATION_REQUIRED);
            let basic = http::HeaderValue::from_static("Basic realm=\"test\"");
            answer.headers_mut().insert(PROXY_AUTHENTICATE, basic);
            return answer;
        }
        if let Some(status) = self.refuses {
            return empty(status);
        }
        if request.method() == Method::CONNECT {
            return connect(request, server).await;
        }
        forward(request, server).await
    }
}

/// Carries bytes once the client has taken the answer.
async fn connect(
    request: Request<Incoming>,
    server: SocketAddr,
) -> Response<BoxBody<Bytes, hyper::Error>> {
    let Ok(mut outside) = TcpStream::connect(server).await else {
        return empty(StatusCode::BAD_GATEWAY);
    };
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let _ = copy_bidirectional(&mut TokioIo::new(upgraded), &mut outside).await;
        }
    });
    empty(StatusCode::OK)
}

/// Sends the request on, with the path alone in its first line.
async fn forward(
    mut request: Request<Incoming>,
    server: SocketAddr,
) -> Response<BoxBody<Bytes, hyper::Error>> {
    let target = request.uri().path_and_query().unwrap().as_str().to_owned();
    *request.uri_mut() = target.parse().unwrap();
    let sent = async {
        let stream = TcpStream::connect(server).await.ok()?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.ok()?;
        tokio::spawn(connection);
        sender.send_request(request).await.ok()
    };
    match sent.await {
        Some(answer) => answer.map(BodyExt::boxed),
        None => empty(StatusCode::BAD_GATEWAY),
    }
}

fn empty(status: StatusCode) -> Response<BoxBody<Bytes, hyper::Error>> {
    let nothing = Empty::new().map_err(|never: Infallible| match never {});
    let mut answer = Response::new(nothing.boxed());
    *answer.status_mut() = status;
    answer
}
