//! One local connection: its bytes go into the session and the session's come out, with back-pressure both ways.
//!
//! A local end of file only ends our sending: the remote end may answer for a while (the session delays its FIN). A
//! remote end of file is passed on as one. A stream that failed resets the local connection: an application must not
//! take a failure for a complete answer.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use ssm_session::StreamId;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio_util::io::{poll_read_buf, poll_write_buf};
use tokio_util::sync::CancellationToken;

use crate::clock::Now;
use crate::ports::{BoxLocalStream, Clock};
use crate::publish::{Connected, Meter};
use crate::tunnel::byte_queue::ByteQueue;
use crate::tunnel::shared_session::{Exchange, Fate, SharedSession};

/// Bytes asked for in one read of the local socket: a few of the multiplexer's sending quanta, because a read costs more than
/// its bytes.
const READ_SIZE: usize = 64 << 10;
/// With less room than this in the buffer, a new one is taken.
const READ_MINIMUM: usize = 4 << 10;
/// How long a local application may go on sending after the remote end closed. Closing at once would reset the
/// connection, and the reset can destroy the answer's last bytes before the application reads them.
const LINGER: Duration = Duration::from_secs(2);

/// What a pump needs beside its connection.
pub(crate) struct PumpContext {
    pub(crate) session: Arc<SharedSession>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) meter: Arc<Meter>,
    /// The daemon stops.
    pub(crate) cancelled: CancellationToken,
}

/// The two directions of one connection.
pub(crate) struct Pump {
    context: PumpContext,
    stream: StreamId,
    local: BoxLocalStream,
    reading: Reading,
    buffer: BytesMut,
    upload: Bytes,
    download: ByteQueue,
    _connected: Connected,
}

/// How far the local application's sending has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Open,
    /// It ended; the session does not know yet.
    Ended,
    /// It ended, and the session knows.
    Told,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The remote end closed and the local application has everything.
    Remote,
    /// The stream failed.
    Reset,
    /// The local socket failed.
    Local,
}

impl Pump {
    pub(crate) fn new(context: PumpContext, stream: StreamId, local: BoxLocalStream) -> Self {
        let connected = context.meter.connect();
        Self {
            context,
            stream,
            local,
            reading: Reading::Open,
            buffer: BytesMut::new(),
            upload: Bytes::new(),
            download: ByteQueue::default(),
            _connected: connected,
        }
    }

    /// Runs to the end of the connection.
    pub(crate) async fn run(mut self) {
        let cancelled = self.context.cancelled.clone();
        let end = tokio::select! {
            biased;
            end = poll_fn(|cx| self.poll(cx)) => end,
            () = cancelled.cancelled() => End::Reset,
        };
        match end {
            End::Remote => self.linger().await,
            End::Reset => self.local.reset_on_close(),
            End::Local => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let fate = self.exchange(cx);
            let moved = match fate {
                Fate::Reset => return Poll::Ready(End::Reset),
                Fate::Finished if self.download.has_remaining() => self.poll_write(cx),
                Fate::Finished => return self.poll_shutdown(cx),
                Fate::Open => self.poll_both(cx),
            };
            match moved {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(_broken) => return Poll::Ready(End::Local),
            }
        }
    }

    fn exchange(&mut self, cx: &Context<'_>) -> Fate {
        let now = Now::read(self.context.clock.as_ref());
        let finish = self.reading == Reading::Ended && self.upload.is_empty();
        let exchange =
            Exchange { stream: self.stream, upload: &mut self.upload, finish, download: &mut self.download };
        if finish {
            self.reading = Reading::Told;
        }
        self.context.session.exchange(exchange, now, cx)
    }

    /// Gives both directions their turn; answers whether something moved.
    fn poll_both(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let wrote = self.poll_write(cx)?;
        let read = self.poll_read(cx)?;
        Ok(wrote | read)
    }

    /// Writes to the local socket; answers whether it took something.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if !self.download.has_remaining() {
            return Ok(false);
        }
        match poll_write_buf(Pin::new(&mut self.local), cx, &mut self.download) {
            Poll::Ready(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(written) => {
                let written = written?;
                self.context.meter.add_received(written);
                self.context.session.meter().add_received(written);
                Ok(true)
            }
            Poll::Pending => Ok(false),
        }
    }

    /// Reads from the local socket, once the session took the last piece; answers whether something came.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.reading != Reading::Open || !self.upload.is_empty() {
            return Ok(false);
        }
        if self.buffer.capacity() < READ_MINIMUM {
            self.buffer.reserve(READ_SIZE);
        }
        match poll_read_buf(Pin::new(&mut self.local), cx, &mut self.buffer) {
            Poll::Ready(read) => {
                let read = read?;
                if read == 0 {
                    self.reading = Reading::Ended;
                }
                self.context.meter.add_sent(read);
                self.context.session.meter().add_sent(read);
                self.upload = self.buffer.split().freeze();
                Ok(true)
            }
            Poll::Pending => Ok(false),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let shut = ready!(Pin::new(&mut self.local).poll_shutdown(cx));
        Poll::Ready(if shut.is_ok() { End::Remote } else { End::Local })
    }

    /// Lets the local application finish reading before the connection goes.
    async fn linger(&mut self) {
        self.context.session.forget(self.stream, Now::read(self.context.clock.as_ref()));
        if self.reading != Reading::Open {
            return;
        }
        let cancelled = self.context.cancelled.clone();
        let discard = async {
            while let Ok(1..) = self.local.read_buf(&mut self.buffer).await {
                self.buffer.clear();
            }
        };
        tokio::select! {
            biased;
            () = cancelled.cancelled() => {}
            _ended_or_late = tokio::time::timeout(LINGER, discard) => {}
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.context.session.forget(self.stream, Now::read(self.context.clock.as_ref()));
    }
}
