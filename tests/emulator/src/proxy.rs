//! An HTTPS proxy behind which AWS's own host names are the emulator: for tools that cannot be pointed at another
//! address. Their TLS ends at the API, whose certificate is for these names, too.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::world::World;

/// Largest head of a request.
const MAX_HEAD: usize = 8 << 10;
/// Longest wait for it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Names of a region's services that the API stands for, as a certificate has them.
pub(crate) fn host_names(region: &str) -> [String; 3] {
    [format!("*.{region}.amazonaws.com"), format!("*.sso.{region}.amazonaws.com"), "sts.amazonaws.com".into()]
}

/// Accepts clients until the emulator stops.
pub(crate) async fn serve(world: Arc<World>, listener: TcpListener, api: SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => world.tasks.spawn("proxied", async move {
                if let Err(error) = relay(client, api).await {
                    tracing::info!(%error, "a proxied connection ended");
                }
            }),
            Err(error) => {
                // Out of descriptors, most likely: it passes when connections end.
                tracing::warn!(%error, "could not accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn relay(mut client: TcpStream, api: SocketAddr) -> io::Result<()> {
    let head = tokio::time::timeout(HEAD_TIMEOUT, read_head(&mut client)).await??;
    if !is_for_aws(&head) {
        return client.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
    }
    let mut server = TcpStream::connect(api).await?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await.map(|_| ())
}

/// The client says nothing more before it is answered.
async fn read_head(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > MAX_HEAD || client.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(head)
}

/// `CONNECT` to the HTTPS port of a host of AWS; everything else stays where it is.
fn is_for_aws(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head);
    let mut words = head.split(' ');
    let connects = words.next() == Some("CONNECT");
    connects && words.next().is_some_and(|target| target.ends_with(".amazonaws.com:443"))
}
