//! A TCP socket whose readiness need not be watched.
//!
//! Whoever reads by the clock gains nothing from being told that there is something to read, and pays for each time: a
//! thread is woken for every message that he leaves where it is. Network cards are treated alike, whose interrupts are off
//! while they are polled. A system call on a socket that is not watched does or does not do something; only a write that
//! finds no room needs to be told, and brings the watch back.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A TCP connection.
pub(super) enum Socket {
    /// Registered with the runtime.
    Watched(TcpStream),
    /// Known to nobody but us.
    Unwatched(std::net::TcpStream),
    /// Inside a TLS connection to a proxy.
    Tls(Box<TlsStream<Socket>>),
    /// It could not be registered, or taken back. This is told once more by whatever is tried next.
    Lost(ErrorKind),
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self::Watched(stream)
    }

    /// Whether those who wait for the socket are woken. What arrived before a watch begins is not told of by it: a read
    /// must follow.
    pub(super) fn set_watched(&mut self, watched: bool) {
        if let Self::Tls(tls) = self {
            return tls.get_mut().0.set_watched(watched);
        }
        let changed = match std::mem::replace(self, Self::Lost(ErrorKind::NotConnected)) {
            Self::Watched(stream) if !watched => stream.into_std().map(Self::Unwatched),
            // It is still non-blocking, as the runtime wants it.
            Self::Unwatched(stream) if watched => TcpStream::from_std(stream).map(Self::Watched),
            unchanged @ (Self::Watched(_) | Self::Unwatched(_) | Self::Tls(_) | Self::Lost(_)) => {
                Ok(unchanged)
            }
        };
        *self = changed.unwrap_or_else(|error| Self::Lost(error.kind()));
    }

    /// Writes with `unwatched`, and with `watched` if there is no room for a single byte.
    fn poll_write_with(
        &mut self,
        unwatched: impl FnOnce(&std::net::TcpStream) -> io::Result<usize>,
        watched: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Self::Unwatched(stream) = self {
            match unwatched(stream) {
                Err(error) if is_passing(&error) => self.set_watched(true),
                written => return Poll::Ready(written),
            }
        }
        match self {
            Self::Watched(stream) => watched(Pin::new(stream)),
            Self::Unwatched(_) | Self::Tls(_) => Poll::Ready(Err(ErrorKind::WouldBlock.into())),
            Self::Lost(kind) => Poll::Ready(Err((*kind).into())),
        }
    }
}

/// Nothing is wrong; it is only not possible now.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Watched(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unwatched(stream) => match stream.read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    buffer.advance(read);
                    Poll::Ready(Ok(()))
                }
                // Who does not want to be told comes again.
                Err(error) if is_passing(&error) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
            Self::Lost(kind) => Poll::Ready(Err((*kind).into())),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Self::Tls(tls) = &mut *self {
            return Pin::new(tls).poll_write(context, bytes);
        }
        self.poll_write_with(|mut stream| stream.write(bytes), |stream| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Self::Tls(tls) = &mut *self {
            return Pin::new(tls).poll_write_vectored(context, slices);
        }
        self.poll_write_with(
            |mut stream| stream.write_vectored(slices),
            |stream| stream.poll_write_vectored(context, slices),
        )
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
            // TCP has no buffer of ours.
            Self::Watched(_) | Self::Unwatched(_) | Self::Lost(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Watched(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unwatched(stream) => Poll::Ready(stream.shutdown(Shutdown::Write)),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
            Self::Lost(kind) => Poll::Ready(Err((*kind).into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::{interval, timeout};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    async fn connected() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (Socket::new(near.unwrap()), far.unwrap().0)
    }

    /// What a read gives at this moment.
    async fn read_now(socket: &mut Socket) -> Poll<io::Result<Vec<u8>>> {
        let mut bytes = [0; 16];
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = poll_fn(|cx| Poll::Ready(Pin::new(&mut *socket).poll_read(cx, &mut buffer))).await;
        read.map_ok(|()| buffer.filled().to_vec())
    }

    /// Reads by the clock, as one does who is not told.
    async fn read_soon(socket: &mut Socket) -> io::Result<Vec<u8>> {
        let mut ticks = interval(Duration::from_millis(1));
        let reading = async {
            loop {
                if let Poll::Ready(read) = read_now(socket).await {
                    return read;
                }
                ticks.tick().await;
            }
        };
        timeout(DEADLINE, reading).await.expect("something to read")
    }

    #[tokio::test]
    async fn bytes_pass_in_order_whether_watched_or_not() {
        let (mut near, mut far) = connected().await;
        for watched in [true, false, false, true, true, false] {
            near.set_watched(watched);
            assert!(read_now(&mut near).await.is_pending());
            far.write_all(b"down").await.unwrap();
            assert_eq!(read_soon(&mut near).await.unwrap(), b"down");
            near.write_all(b"up").await.unwrap();
            let mut up = [0; 2];
            timeout(DEADLINE, far.read_exact(&mut up)).await.unwrap().unwrap();
            assert_eq!(&up, b"up");
        }
    }

    #[tokio::test]
    async fn what_arrived_unwatched_is_read_when_the_watch_begins() {
        let (mut near, mut far) = connected().await;
        near.set_watched(false);
        far.write_all(b"early").await.unwrap();
        near.set_watched(true);
        let mut early = [0; 5];
        timeout(DEADLINE, near.read_exact(&mut early)).await.unwrap().unwrap();
        assert_eq!(&early, b"early");
    }

    /// Nobody would come back to a write by the clock.
    #[tokio::test]
    async fn a_write_without_room_is_watched_and_ends() {
        let (mut near, mut far) = connected().await;
        near.set_watched(false);
        let data = vec![7; 16 << 20];
        let receiving = async {
            let mut received = vec![0; data.len()];
            far.read_exact(&mut received).await.unwrap();
            received
        };
        let (sent, received) = timeout(DEADLINE, async { tokio::join!(near.write_all(&data), receiving) })
            .await
            .expect("the write ends");
        sent.unwrap();
        assert!(received == data);
        assert!(matches!(near, Socket::Watched(_)));
    }

    #[tokio::test]
    async fn the_end_is_seen_unwatched_and_said_unwatched() {
        let (mut near, mut far) = connected().await;
        near.set_watched(false);
        near.shutdown().await.unwrap();
        assert_eq!(timeout(DEADLINE, far.read(&mut [0])).await.unwrap().unwrap(), 0);
        drop(far);
        assert_eq!(read_soon(&mut near).await.unwrap(), b"");
    }
}
