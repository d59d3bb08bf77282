//! The database: specs, intent, the ids of open sessions, events and statistics. State and secrets are never in it.
//!
//! One thread owns the only connection and takes jobs from a bounded channel, so that no async worker ever waits for
//! the disk. A job answers after its change is durable (WAL with `synchronous=FULL`). A damaged file is set aside,
//! never overwritten; a file of a newer StormTunnel is refused.

mod history;
mod open;
mod rows;
mod schema;

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rusqlite::Connection;
use stormtunnel_engine::ports::{
    EventQuery, HistoryBatch, HistoryStore, OpenSession, PortFuture, StoredEvents, StoredHistory,
    StoredState, StoredTunnel, TunnelStore,
};
use stormtunnel_model::{Fault, SsmSessionId, Timestamp, TunnelId};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait for the disk: more than tunnels change at once, few enough to press back on a slow disk.
const QUEUED_JOBS: usize = 64;

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

enum Job {
    Do(Work),
    /// The last one; answered when the file is closed.
    Close(oneshot::Sender<()>),
}

/// A database that cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file cannot be opened or created.
    #[error("cannot open the database {}; make its directory writable or choose another with --state-dir", path.display())]
    Open {
        /// The database.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file cannot be created with the right permissions.
    #[error("cannot create the database {}; make its directory writable or choose another with --state-dir", path.display())]
    Create {
        /// The database.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A newer program wrote the file.
    #[error(
        "the database {} was written by a newer StormTunnel (schema {found}, this one knows {known}): \
         install that version again, or choose another directory with --state-dir",
        path.display()
    )]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// A damaged file cannot be moved out of the way.
    #[error("the database {} is damaged and cannot be set aside; move it away by hand", path.display())]
    SetAside {
        /// The database.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The system has no thread left.
    #[error("cannot start the database thread")]
    Thread(#[source] std::io::Error),
}

/// An open database.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

/// A store and what a person should know of it.
#[derive(Debug)]
pub struct OpenedStore {
    /// The store.
    pub store: SqliteStore,
    /// One sentence each: a damaged file that was set aside, a disk that cannot be written, rows that cannot be read.
    pub warnings: Vec<String>,
}

impl SqliteStore {
    /// Opens the database at `path`, creating it, migrating it, or setting a damaged one aside. One that cannot be written
    /// is only read. Blocks.
    ///
    /// # Errors
    /// [`StoreError`]: the file is from the future, or the directory is of no use.
    pub fn open(path: &Path, now: Timestamp) -> Result<OpenedStore, StoreError> {
        let open::Opened { connection, warnings } = open::open(path, now)?;
        let (jobs, queue) = mpsc::channel(QUEUED_JOBS);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || serve(connection, queue))
            .map_err(StoreError::Thread)?;
        Ok(OpenedStore { store: Self { path: path.to_owned(), jobs, thread }, warnings })
    }

    /// A handle that implements the engine's port.
    pub fn handle(&self) -> StoreHandle {
        StoreHandle { path: self.path.clone(), jobs: self.jobs.clone() }
    }

    /// Does what was asked for until now, folds the log into the database and closes it. Later jobs fail.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.jobs.send(Job::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
        // The thread has nothing left to do: this does not wait.
        if self.thread.join().is_err() {
            tracing::error!("the database thread had panicked");
        }
    }
}

fn serve(mut connection: Connection, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        match job {
            Job::Do(work) => work(&mut connection),
            Job::Close(done) => {
                queue.close();
                if let Err((_, error)) = connection.close() {
                    tracing::warn!(%error, "the database did not close cleanly");
                }
                let _ = done.send(());
                return;
            }
        }
    }
}

/// The store as the engine uses it.
#[derive(Clone, Debug)]
pub struct StoreHandle {
    path: PathBuf,
    jobs: mpsc::Sender<Job>,
}

impl StoreHandle {
    /// Runs `job` on the database thread. Once queued it is done, whether or not anybody waits for the answer.
    fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> PortFuture<'_, Result<T, Fault>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let work: Work = Box::new(move |connection| {
                // The caller may be gone; the job is done all the same.
                let _ = reply.send(job(connection));
            });
            let closed = || Fault::internal("the database is closed");
            self.jobs.send(Job::Do(work)).await.map_err(|_| closed())?;
            let result = answer.await.map_err(|_| closed())?;
            result.map_err(|error| Fault::internal(format!("database {}: {error}", self.path.display())))
        })
    }
}

impl TunnelStore for StoreHandle {
    fn load(&self) -> PortFuture<'_, Result<StoredState, Fault>> {
        self.run(|connection| rows::load(connection).map(|loaded| loaded.state))
    }

    fn put_tunnel(&self, tunnel: StoredTunnel) -> PortFuture<'_, Result<(), Fault>> {
        self.run(move |connection| rows::put_tunnel(connection, &tunnel))
    }

    fn delete_tunnel(&self, id: TunnelId) -> PortFuture<'_, Result<(), Fault>> {
        self.run(move |connection| rows::delete_tunnel(connection, id))
    }

    fn put_session(&self, session: OpenSession) -> PortFuture<'_, Result<(), Fault>> {
        self.run(move |connection| rows::put_session(connection, &session))
    }

    fn delete_session(&self, id: SsmSessionId) -> PortFuture<'_, Result<(), Fault>> {
        self.run(move |connection| rows::delete_session(connection, &id))
    }
}

impl HistoryStore for StoreHandle {
    fn load_history(&self) -> PortFuture<'_, Result<StoredHistory, Fault>> {
        self.run(|connection| history::load(connection))
    }

    fn add_history(&self, batch: HistoryBatch) -> PortFuture<'_, Result<(), Fault>> {
        self.run(move |connection| history::add(connection, &batch))
    }

    fn events(&self, query: EventQuery) -> PortFuture<'_, Result<StoredEvents, Fault>> {
        self.run(move |connection| history::events(connection, &query))
    }

    fn find_tunnel(&self, name_or_id: String) -> PortFuture<'_, Result<Option<TunnelId>, Fault>> {
        self.run(move |connection| history::find_tunnel(connection, &name_or_id))
    }
}

#[cfg(test)]
mod tests;
