//! Making connections over the internet: name, address, proxy, TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::model::{Endpoint, Failure, FailureKind, Remedy, cause, chain};
use crate::network::{Kind, Proxies, Proxy, explain, remedy};
use crate::transport::congestion::{Congestion, CongestionControl};
use crate::transport::proxy::{self, Refused, Target};
use crate::transport::race::{interleave, race};
use crate::transport::socket::Socket;
use crate::transport::wire::{Dial, Dialing, Gauge, Stream, Wire};

/// Dials hosts of the internet. DNS is asked anew for every connection: an address that failed may
/// have been replaced.
pub(crate) struct Internet {
    tls: TlsConnector,
    proxies: Proxies,
    limit: Duration,
    stall_timeout: Duration,
    congestion: Congestion,
}

impl Internet {
    /// `connect_timeout` is for each step of its own: the name, each address, the proxy's consent,
    /// TLS. `stall_timeout` is how long a request may wait for an acknowledgement: the kernel must not
    /// end it before.
    pub(crate) fn new(
        tls: Arc<ClientConfig>,
        proxies: Proxies,
        connect_timeout: Duration,
        stall_timeout: Duration,
        congestion_control: CongestionControl,
    ) -> Self {
        Self {
            tls: TlsConnector::from(tls),
            proxies,
            limit: connect_timeout,
            stall_timeout,
            congestion: Congestion::new(congestion_control),
        }
    }
}

impl Dial for Internet {
    fn way(&self, endpoint: &Endpoint) -> String {
        match self.proxies.find(endpoint) {
            Some(proxy) => format!("{endpoint} through {proxy}"),
            None => endpoint.to_string(),
        }
    }

    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> Dialing<'a> {
        Box::pin(async move {
            let proxy = self.proxies.find(endpoint);
            let made = match proxy {
                None => self.direct(endpoint).await,
                Some(proxy) => self.through(proxy, endpoint).await,
            };
            let way = proxy.map(|proxy| format!(" through the proxy {proxy}"));
            let way = way.unwrap_or_default();
            match made {
                Ok(wire) => {
                    tracing::debug!("connected to {endpoint} at {}{way}", wire.address);
                    Ok(wire)
                }
                Err(Why { kind, text, remedy }) => {
                    let message = format!("no connection to {endpoint}{way}: {text}");
                    let mut failure = Failure::new(kind, message);
                    failure.remedy = remedy;
                    Err(failure)
                }
            }
        })
    }
}

/// Why there is no connection.
#[derive(Debug)]
struct Why {
    kind: FailureKind,
    text: String,
    remedy: Option<Remedy>,
}

impl From<Refused> for Why {
    fn from(Refused { text, remedy }: Refused) -> Self {
        let why = Self::connect(text);
        Self { remedy, ..why }
    }
}

impl Why {
    fn connect(text: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Connect,
            text: text.into(),
            remedy: None,
        }
    }
}

/// A connection on its way to become a [`Wire`].
struct Leg {
    stream: Box<dyn Stream>,
    gauge: Arc<dyn Gauge>,
    address: SocketAddr,
}

impl Leg {
    fn wire(self, proxy: Option<&Proxy>, plain_proxy: Option<&Proxy>) -> Wire {
        Wire {
            stream: self.stream,
            gauge: self.gauge,
            address: self.address.to_string(),
            proxy: proxy.map(Proxy::to_string),
            plain_proxy: plain_proxy.cloned(),
        }
    }
}

impl Internet {
    /// Straight to `endpoint`.
    async fn direct(&self, endpoint: &Endpoint) -> Result<Wire, Why> {
        let leg = self.tcp(endpoint.host(), endpoint.port()).await?;
        Ok(self.encrypted_for(endpoint, leg).await?.wire(None, None))
    }

    /// To `endpoint` through `proxy`.
    async fn through(&self, proxy: &Proxy, endpoint: &Endpoint) -> Result<Wire, Why> {
        let target = Target {
            host: endpoint.host().to_owned(),
            port: endpoint.port(),
        };
        let leg = match proxy.kind() {
            Kind::Http { .. } if !endpoint.is_https() => {
                let leg = self.to_proxy(proxy).await?;
                return Ok(leg.wire(Some(proxy), Some(proxy)));
            }
            Kind::Socks { finds_names: false } => self.by_address(proxy, &target).await?,
            _ => {
                let leg = self.to_proxy(proxy).await?;
                self.consent(leg, proxy, &target).await?
            }
        };
        let leg = self.encrypted_for(endpoint, leg).await?;
        Ok(leg.wire(Some(proxy), None))
    }

    /// To `target` through a SOCKS proxy that is given addresses, not names: they are raced as on
    /// the direct way.
    async fn by_address(&self, proxy: &Proxy, target: &Target) -> Result<Leg, Why> {
        let addresses = self.find(&target.host, target.port).await?;
        let raced = race(addresses, |address| async move {
            let leg = self.to_proxy(proxy).await?;
            let target = Target {
                host: address.ip().to_string(),
                port: address.port(),
            };
            self.consent(leg, proxy, &target).await
        });
        let (_, leg) = raced.await.map_err(|failed| {
            // What one address may mend needs nobody.
            let remedies = failed.iter().map(|(_, why)| why.remedy);
            let remedy = remedies.reduce(|one, other| one.and(other)).flatten();
            let texts = failed.into_iter().map(|(address, why)| (address, why.text));
            let why = Why::connect(reasons(texts.collect()));
            Why { remedy, ..why }
        })?;
        Ok(leg)
    }

    /// A connection to the proxy itself.
    async fn to_proxy(&self, proxy: &Proxy) -> Result<Leg, Why> {
        let leg = self.tcp(proxy.host(), proxy.port()).await;
        let leg = leg.map_err(|why| Why {
            text: format!("{}{}", why.text, proxy.assumed_port()),
            ..why
        })?;
        match proxy.kind() {
            Kind::Http { encrypted: true } => self.encrypted(proxy.host(), leg).await,
            _ => Ok(leg),
        }
    }

    /// `leg` once `proxy` agreed to carry bytes on to `target`.
    async fn consent(&self, leg: Leg, proxy: &Proxy, target: &Target) -> Result<Leg, Why> {
        let Leg {
            stream,
            gauge,
            address,
        } = leg;
        let missing = "the proxy did not agree";
        let agreed = match proxy.kind() {
            Kind::Http { .. } => {
                self.in_time(proxy::tunnel(stream, target, proxy), missing)
                    .await?
            }
            Kind::Socks { .. } => {
                self.in_time(proxy::socks(stream, target, proxy), missing)
                    .await?
            }
        };
        Ok(Leg {
            stream: agreed?,
            gauge,
            address,
        })
    }

    /// `leg` with TLS on it, if `endpoint` wants it.
    async fn encrypted_for(&self, endpoint: &Endpoint, leg: Leg) -> Result<Leg, Why> {
        match endpoint.is_https() {
            true => self.encrypted(endpoint.host(), leg).await,
            false => Ok(leg),
        }
    }

    /// `leg` with TLS on it, the other end being `host`.
    async fn encrypted(&self, host: &str, leg: Leg) -> Result<Leg, Why> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Why::connect(format!("`{host}` cannot be the name in a certificate")))?;
        let Leg {
            stream,
            gauge,
            address,
        } = leg;
        let handshake = self.tls.connect(name, stream);
        let made = self
            .in_time(handshake, "no end of the TLS handshake")
            .await?;
        let stream = made.map_err(|error| match cause::<rustls::Error>(&error) {
            Some(error) => Why {
                kind: FailureKind::Tls,
                text: format!("{} ({address})", explain(error)),
                remedy: remedy(error),
            },
            // The line's fault, not the certificate's: worth another try.
            None => Why::connect(format!("TLS handshake with {address}: {}", chain(&error))),
        })?;
        Ok(Leg {
            stream: Box::new(stream),
            gauge,
            address,
        })
    }

    /// A TCP connection to the first of the host's addresses that answers.
    async fn tcp(&self, host: &str, port: u16) -> Result<Leg, Why> {
        let addresses = self.find(host, port).await?;
        let raced = race(addresses, |address| async move {
            let connecting = self.in_time(TcpStream::connect(address), "no answer").await;
            let connected = connecting.map_err(|why| why.text)?;
            connected.map_err(|error| error.to_string())
        });
        let (address, stream) = raced
            .await
            .map_err(|failed| Why::connect(reasons(failed)))?;
        let uses_bbr = self.congestion.choose(&stream, address.ip());
        let socket = Socket::new(stream, self.stall_timeout, uses_bbr);
        Ok(Leg {
            gauge: socket.gauge(),
            stream: Box::new(socket),
            address,
        })
    }

    /// The addresses of `host`, in the order in which to try them: at least one.
    async fn find(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Why> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let asking = lookup_host((host.to_owned(), port));
        let found = self.in_time(asking, "no answer from DNS").await?;
        let found = found
            .map_err(|error| Why::connect(format!("`{host}` was not found: {}", chain(&error))))?;
        match interleave(found) {
            none if none.is_empty() => Err(Why::connect(format!("`{host}` has no address"))),
            addresses => Ok(addresses),
        }
    }

    /// `step`, unless it takes too long: then `missing` says what did not come.
    async fn in_time<T>(&self, step: impl Future<Output = T>, missing: &str) -> Result<T, Why> {
        let in_time = tokio::time::timeout(self.limit, step).await;
        let limit = self.limit.as_secs_f64();
        in_time.map_err(|_| Why::connect(format!("{missing} within {limit} s")))
    }
}

/// Every address with its reason; addresses with the same one together. The port is the endpoint's,
/// which the error names.
fn reasons(failed: Vec<(SocketAddr, String)>) -> String {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (address, reason) in failed {
        match groups.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, addresses)) => addresses.push(address.ip().to_string()),
            None => groups.push((reason, vec![address.ip().to_string()])),
        }
    }
    let told = groups.iter().map(|(reason, addresses)| {
        let addresses = addresses.join(", ");
        format!("{reason} ({addresses})")
    });
    told.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every address is named, and each reason once.
    #[test]
    fn every_address_is_named() {
        let address = |last: u8| SocketAddr::from(([192, 0, 2, last], 443));
        let failed = vec![
            (address(1), "refused".to_owned()),
            (address(2), "no answer".to_owned()),
            (address(3), "refused".to_owned()),
        ];
        let expected = "refused (192.0.2.1, 192.0.2.3); no answer (192.0.2.2)";
        assert_eq!(reasons(failed), expected);
    }

    /// A real address that swallows SYNs: its queue of connections that nobody accepts is full. The
    /// good one beside it wins.
    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_real_address_that_swallows() {
        let Some((deaf, address, held)) = swallowing().await else {
            // A kernel without IPv6, or one that goes on taking connections.
            return;
        };
        let good = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = vec![address, good.local_addr().unwrap()];
        let (winner, _) = race(addresses, TcpStream::connect).await.unwrap();
        assert!(winner.is_ipv4(), "{winner}");
        drop((deaf, held));
    }

    /// A listener whose queue is full, its address, and what fills it.
    #[cfg(target_os = "linux")]
    async fn swallowing() -> Option<(socket2::Socket, SocketAddr, Vec<TcpStream>)> {
        use socket2::{Domain, Socket, Type};
        let deaf = Socket::new(Domain::IPV6, Type::STREAM, None).ok()?;
        deaf.bind(&SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0)).into())
            .ok()?;
        deaf.listen(0).ok()?;
        let address = deaf.local_addr().unwrap().as_socket()?;
        let mut held = Vec::new();
        while held.len() < 16 {
            // Only whether the test can be made hangs on this time, not whether it passes.
            let waiting = Duration::from_millis(500);
            match tokio::time::timeout(waiting, TcpStream::connect(address)).await {
                Err(_) => return Some((deaf, address, held)),
                Ok(connected) => held.push(connected.ok()?),
            }
        }
        None
    }
}
