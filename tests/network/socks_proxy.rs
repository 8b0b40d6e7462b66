//! A SOCKS5 proxy of the test's own (RFC 1928, RFC 1929). Wherever it is asked to go, it goes to one
//! server.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// What a proxy wants, and what it saw.
#[derive(Clone, Default)]
pub(crate) struct SocksProxy {
    /// User name and password that it wants.
    pub(crate) credentials: Option<(&'static str, &'static str)>,
    /// Whom it was asked to reach and agreed to, as `host:port`.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl SocksProxy {
    /// Starts it; its address.
    pub(crate) async fn start(&self, server: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let proxy = proxy.clone();
                tokio::spawn(async move { proxy.serve(stream, server).await });
            }
        });
        address
    }

    async fn serve(&self, mut client: TcpStream, server: SocketAddr) -> io::Result<()> {
        if !self.greet(&mut client).await? {
            return Ok(());
        }
        let mut head = [0; 4];
        client.read_exact(&mut head).await?;
        assert_eq!(head[..3], [5, 1, 0], "a request to connect");
        let host = match head[3] {
            1 => Ipv4Addr::from_bits(client.read_u32().await?).to_string(),
            4 => Ipv6Addr::from_bits(client.read_u128().await?).to_string(),
            3 => text(&mut client).await?,
            other => panic!("no type of address: {other}"),
        };
        let port = client.read_u16().await?;
        self.asked.lock().unwrap().push(format!("{host}:{port}"));
        let mut outside = TcpStream::connect(server).await?;
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
        copy_bidirectional(&mut client, &mut outside).await?;
        Ok(())
    }

    /// Agrees on a method; whether the client may go on.
    async fn greet(&self, client: &mut TcpStream) -> io::Result<bool> {
        assert_eq!(client.read_u8().await?, 5, "SOCKS 5");
        let mut methods = vec![0; client.read_u8().await?.into()];
        client.read_exact(&mut methods).await?;
        let wanted = if self.credentials.is_some() { 2 } else { 0 };
        if !methods.contains(&wanted) {
            client.write_all(&[5, 0xff]).await?;
            return Ok(false);
        }
        client.write_all(&[5, wanted]).await?;
        let Some((user, password)) = self.credentials else {
            return Ok(true);
        };
        assert_eq!(client.read_u8().await?, 1, "version of the credentials");
        let given = (text(client).await?, text(client).await?);
        let is_right = given == (user.to_owned(), password.to_owned());
        client.write_all(&[1, u8::from(!is_right)]).await?;
        Ok(is_right)
    }
}

/// A text behind its length.
async fn text(client: &mut TcpStream) -> io::Result<String> {
    let mut bytes = vec![0; client.read_u8().await?.into()];
    client.read_exact(&mut bytes).await?;
    Ok(String::from_utf8(bytes).unwrap())
}
