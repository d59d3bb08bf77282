//! One connection of the agent to a destination. The driver holds a handle; the task moves the bytes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ssm_session::StreamId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::counters::Held;

/// Bytes read from a destination at once.
const READ_SIZE: usize = 16 << 10;
/// How long a destination may take the last bytes after the session ended.
const LINGER: Duration = Duration::from_secs(1);

/// What a connection reports.
#[derive(Debug)]
pub(super) enum StreamEvent {
    /// The destination accepted.
    Connected,
    /// No address accepted.
    Refused,
    /// Bytes came. No more are read until the handle grants it.
    Data(Bytes),
    /// The destination closed or broke.
    Finished,
    /// The last chunk is written; the next may come.
    Written,
    /// A chunk could not be written.
    Broken,
}

/// The driver's end of a connection. Dropped: what it was given is written, then the connection is closed.
pub(super) struct StreamHandle {
    /// `None`: nothing more will be written.
    writer: Option<mpsc::Sender<Bytes>>,
    credit: mpsc::Sender<()>,
    /// The task still writes a chunk.
    pub(super) writing: bool,
    /// Read, but not yet taken by the session.
    pub(super) pending: Bytes,
}

/// Where a connection's task sends its events.
pub(super) type Events = mpsc::Sender<(StreamId, StreamEvent)>;

/// The task's end.
pub(super) struct StreamTask {
    pub(super) id: StreamId,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) events: Events,
    pub(super) over: CancellationToken,
    pub(super) gauge: Held,
    chunks: mpsc::Receiver<Bytes>,
    credit: mpsc::Receiver<()>,
}

impl StreamHandle {
    /// A handle and its task, not yet running.
    pub(super) fn new(
        id: StreamId,
        addresses: Vec<SocketAddr>,
        (events, over, gauge): (Events, CancellationToken, Held),
    ) -> (Self, StreamTask) {
        // One chunk in the channel and one being written: the rest stays with the session, whose budget counts it.
        let (writer, chunks) = mpsc::channel(1);
        let (credit, credit_end) = mpsc::channel(1);
        let handle = Self { writer: Some(writer), credit, writing: false, pending: Bytes::new() };
        (handle, StreamTask { id, addresses, events, over, gauge, chunks, credit: credit_end })
    }

    /// Gives the task a chunk to write. Only while it is not `writing`.
    pub(super) fn write(&mut self, chunk: Bytes) {
        if let Some(writer) = &self.writer {
            self.writing = writer.try_send(chunk).is_ok();
        }
    }

    /// Lets the task read on.
    pub(super) fn read_on(&self) {
        // Full means that it was told already.
        let _ = self.credit.try_send(());
    }

    /// Nothing more comes: the task writes what it has and closes both ways.
    pub(super) fn close(&mut self) {
        self.writer = None;
    }
}

impl StreamTask {
    /// Connects and moves bytes until either side is done.
    pub(super) async fn run(self) {
        let Self { id, addresses, events, over, gauge: _gauge, chunks, credit } = self;
        let linger = async {
            over.cancelled().await;
            tokio::time::sleep(LINGER).await;
        };
        let work = async {
            let Some(socket) = connect(&addresses).await else {
                let _ = events.send((id, StreamEvent::Refused)).await;
                return;
            };
            if events.send((id, StreamEvent::Connected)).await.is_err() {
                return;
            }
            let (from, to) = socket.into_split();
            tokio::select! {
                () = read(id, from, credit, &events) => {}
                () = write(id, to, chunks, &events) => {}
            }
        };
        tokio::select! {
            () = work => {}
            () = linger => {}
        }
    }
}

async fn connect(addresses: &[SocketAddr]) -> Option<TcpStream> {
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, "the destination is gone already");
                }
                return Some(socket);
            }
            Err(error) => tracing::info!(%address, %error, "the agent could not connect"),
        }
    }
    None
}

async fn read(id: StreamId, mut socket: OwnedReadHalf, mut credit: mpsc::Receiver<()>, events: &Events) {
    loop {
        let mut buffer = BytesMut::with_capacity(READ_SIZE);
        match socket.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => {
                let _ = events.send((id, StreamEvent::Finished)).await;
                return;
            }
            Ok(_) => {}
        }
        if events.send((id, StreamEvent::Data(buffer.freeze()))).await.is_err()
            || credit.recv().await.is_none()
        {
            // The handle is gone: the write half finishes what it has.
            return std::future::pending().await;
        }
    }
}

async fn write(id: StreamId, mut socket: OwnedWriteHalf, mut chunks: mpsc::Receiver<Bytes>, events: &Events) {
    while let Some(chunk) = chunks.recv().await {
        let event =
            if socket.write_all(&chunk).await.is_ok() { StreamEvent::Written } else { StreamEvent::Broken };
        let broken = matches!(event, StreamEvent::Broken);
        // The driver may have left: what it gave is written all the same.
        let _ = events.send((id, event)).await;
        if broken {
            return;
        }
    }
    let _ = socket.shutdown().await;
}
