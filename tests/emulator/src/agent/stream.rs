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
use crate::world::Silence;

/// Bytes read from a destination at once: as many as a session takes of one stream.
const READ_SIZE: usize = 64 << 10;
/// Chunks that a task may have in hand: enough that it is not woken for each of them. The rest stays with the session,
/// whose budget counts it.
const CHUNKS: usize = 16;
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
    /// So many chunks are written; as many may come.
    Written(usize),
    /// A chunk could not be written.
    Broken,
}

/// The driver's end of a connection. Dropped: what it was given is written, then the connection is closed.
pub(super) struct StreamHandle {
    /// `None`: nothing more will be written.
    writer: Option<mpsc::Sender<Bytes>>,
    credit: mpsc::Sender<()>,
    /// Chunks that the task has in hand.
    unwritten: usize,
    /// Read, but not yet taken by the session.
    pub(super) pending: Bytes,
}

/// Where a connection's task sends its events.
pub(super) type Events = mpsc::Sender<(StreamId, StreamEvent)>;

/// What a dial meets.
pub(super) enum Way {
    /// These addresses, tried in order.
    To(Vec<SocketAddr>),
    /// Nobody who answers.
    Silent(Silence),
}

/// The task's end.
pub(super) struct StreamTask {
    pub(super) id: StreamId,
    pub(super) way: Way,
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
        way: Way,
        (events, over, gauge): (Events, CancellationToken, Held),
    ) -> (Self, StreamTask) {
        let (writer, chunks) = mpsc::channel(CHUNKS);
        let (credit, credit_end) = mpsc::channel(1);
        let handle = Self { writer: Some(writer), credit, unwritten: 0, pending: Bytes::new() };
        (handle, StreamTask { id, way, events, over, gauge, chunks, credit: credit_end })
    }

    /// Whether the task can be given another chunk.
    pub(super) fn has_room(&self) -> bool {
        self.unwritten < CHUNKS
    }

    /// Gives the task a chunk to write. Only while it has room.
    pub(super) fn write(&mut self, chunk: Bytes) {
        if self.writer.as_ref().is_some_and(|writer| writer.try_send(chunk).is_ok()) {
            self.unwritten += 1;
        }
    }

    /// The task has written some.
    pub(super) fn written(&mut self, chunks: usize) {
        self.unwritten = self.unwritten.saturating_sub(chunks);
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
        let Self { id, way, events, over, gauge: _gauge, chunks, credit } = self;
        let linger = async {
            over.cancelled().await;
            tokio::time::sleep(LINGER).await;
        };
        let work = async {
            let Some(socket) = way.go().await else {
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

impl Way {
    async fn go(self) -> Option<TcpStream> {
        match self {
            Self::To(addresses) => connect(&addresses).await,
            Self::Silent(silence) => {
                silence.end().await;
                None
            }
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
    let mut batch = Vec::with_capacity(CHUNKS);
    while chunks.recv_many(&mut batch, CHUNKS).await > 0 {
        for chunk in &batch {
            if socket.write_all(chunk).await.is_err() {
                let _ = events.send((id, StreamEvent::Broken)).await;
                return;
            }
        }
        // The driver may have left: what it gave is written all the same.
        let _ = events.send((id, StreamEvent::Written(batch.len()))).await;
        batch.clear();
    }
    let _ = socket.shutdown().await;
}
