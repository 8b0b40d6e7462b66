//! What both planes share of the network's setup: one TLS configuration, one choice of proxies.

mod exempt;
mod proxies;
mod tls;

pub(crate) use proxies::{Kind, Proxies, Proxy};
#[cfg(feature = "cli")]
pub(crate) use proxies::{NO_PROXY_VARIABLES, PROXY_VARIABLES, masked};
pub use tls::TlsVersion;
pub(crate) use tls::{TlsSetup, explain, remedy};
