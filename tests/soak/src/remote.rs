//! The service behind the tunnels: does the remote end's part of every job, and reports to whoever waits for it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};
use stormtunnel_e2e::bulk::Bulk;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::job::{self, HEADER, Pace};

/// A running service. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Remote {
    address: SocketAddr,
    expected: Expected,
    _tasks: JoinSet<()>,
}

/// Who waits for which job.
type Expected = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<()>>>>>;

/// What a header asks for.
struct Request {
    number: u64,
    up: Bulk,
    down: Bulk,
    pace: Pace,
    /// Answer only when everything has arrived.
    answer: bool,
}

impl Remote {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let expected = Expected::default();
        let jobs = Arc::clone(&expected);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => drop(connections.spawn(serve(stream, Arc::clone(&jobs)))),
                        Err(_) => return,
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, expected, _tasks: tasks })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The outcome of a job that is about to begin.
    pub(crate) fn expect(&self, number: u64) -> oneshot::Receiver<Result<()>> {
        let (report, outcome) = oneshot::channel();
        lock(&self.expected).insert(number, report);
        outcome
    }
}

fn lock(expected: &Expected) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Result<()>>>> {
    expected.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut stream: TcpStream, expected: Expected) {
    let mut header = [0; HEADER];
    // A connection that says nothing belongs to no job.
    if stream.read_exact(&mut header).await.is_err() {
        return;
    }
    let request = Request::read(&header);
    let report = lock(&expected).remove(&request.number);
    let outcome = match job::prepare(&stream, request.pace) {
        Ok(()) => request.answer(&mut stream).await,
        Err(error) => Err(error),
    };
    // Whoever waited may have given up.
    report.map(|report| report.send(outcome));
}

impl Request {
    fn read(header: &[u8; HEADER]) -> Self {
        let number = |place: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&header[8 * place..8 * place + 8]);
            u64::from_le_bytes(bytes)
        };
        Self {
            number: number(0),
            up: Bulk { seed: number(1), length: number(2) },
            down: Bulk { seed: number(3), length: number(4) },
            pace: [Pace::Free, Pace::Slow, Pace::Stuck][usize::from(header[HEADER - 2]).min(2)],
            answer: header[HEADER - 1] != 0,
        }
    }

    async fn answer(&self, stream: &mut TcpStream) -> Result<()> {
        let (mut reader, mut writer) = stream.split();
        let receiving = job::receive(&mut reader, self.up, self.pace);
        if self.answer {
            receiving.await?;
            job::send(&mut writer, self.down).await?;
        } else {
            tokio::try_join!(receiving, job::send(&mut writer, self.down))?;
        }
        writer.shutdown().await?;
        let mut rest = [0; 64];
        match reader.read(&mut rest).await {
            // The agent closes both ways at once, and a system may make a reset of that.
            Ok(0) | Err(_) => Ok(()),
            Ok(_) => bail!("more came than was to come"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Ending, Job};

    #[tokio::test]
    async fn every_kind_of_job_is_done_by_both_ends() {
        let remote = Remote::start().await.unwrap();
        let port = remote.address().port();
        let job = Job::new(7, 123_457, 98_765);
        for (number, ending) in
            [Ending::Together, Ending::LocalFirst, Ending::RemoteFirst].into_iter().enumerate()
        {
            let number = u64::try_from(number).unwrap();
            Job { number, ending, ..job }.run(port, &remote).await.unwrap();
            Job { number, ending, local: Pace::Slow, remote: Pace::Slow, ..job }
                .run(port, &remote)
                .await
                .unwrap();
        }
    }

    #[tokio::test]
    async fn a_wrong_byte_and_a_missing_one_are_seen() {
        let bulk = Bulk { seed: 4, length: 200_000 };
        for (sent, words) in [
            (Bulk { seed: 6, ..bulk }, "wrong bytes"),
            (Bulk { length: 199_999, ..bulk }, "ends after 199999 of 200000"),
        ] {
            let (mut near, mut far) = tokio::io::duplex(1 << 20);
            job::send(&mut near, sent).await.unwrap();
            drop(near);
            let error = job::receive(&mut far, bulk, Pace::Free).await.unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
