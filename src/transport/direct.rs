//! Stand-in until addresses are raced.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::model::{Endpoint, Failure, FailureKind};
use crate::transport::socket::Socket;
use crate::transport::wire::{Dial, Dialing, Wire};

pub(crate) struct Direct {
    pub(crate) tls: Result<rustls::ClientConfig, Failure>,
    pub(crate) timeout: Duration,
}

impl Dial for Direct {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> Dialing<'a> {
        Box::pin(async move {
            if endpoint.is_https() {
                return Err(match &self.tls {
                    Ok(_) => Failure::new(FailureKind::Tls, "no TLS yet"),
                    Err(failure) => failure.clone(),
                });
            }
            let authority = endpoint.authority();
            let address = match authority.rsplit_once(':') {
                Some(_) => authority.to_owned(),
                None => format!("{authority}:80"),
            };
            let connecting = tokio::time::timeout(self.timeout, TcpStream::connect(&address)).await;
            let stream = match connecting {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    let message = format!("no connection to {endpoint}: {error}");
                    return Err(Failure::new(FailureKind::Connect, message));
                }
                Err(_) => {
                    let message = format!(
                        "{endpoint} did not accept a connection within {:?}",
                        self.timeout
                    );
                    return Err(Failure::new(FailureKind::Connect, message));
                }
            };
            let address = stream
                .peer_addr()
                .map(|it| it.to_string())
                .unwrap_or_default();
            let socket = Socket::new(stream);
            let gauge = socket.gauge();
            Ok(Wire {
                stream: Box::new(socket),
                gauge,
                address,
                proxy: None,
                plain_proxy: None,
            })
        })
    }
}
