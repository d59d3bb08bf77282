//! Start and stop of the daemon, in order.
//!
//! Start: arguments, paths, **locks**, log, database, settings, adapters (key store and sign-ins among them), socket, engine (which restores the tunnels),
//! API, `ready`. Nothing before the locks writes anything.
//!
//! Stop: no new connections and no more watches, the engine with all its sessions and the sign-ins, the remaining tasks, the database,
//! the socket's path, the locks. Each step has a bound of its own; together they stay below 20 seconds, the time that
//! launchd gives by default before it kills.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use stormtunnel_api::{Api, ServeError};
use stormtunnel_engine::Engine;
use stormtunnel_engine::doctor::Doctor;
use stormtunnel_engine::notifications;
use stormtunnel_engine::ports::Clock;
use stormtunnel_engine::tasks::{Task, TaskFailed, Tasks, TasksClosed};
use stormtunnel_model::Fault;
use stormtunnel_model::settings::Settings;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::adapters::{self, Adapters, Surroundings};
use crate::args::{Args, LogFormat};
use crate::control::{FileSettings, Process};
use crate::detach;
use crate::instance::{
    self, Claim, Holder, Instance, InstanceError, PeerStream, Socket, SocketError, Unlink,
};
use crate::local_network::SocketNetwork;
use crate::logging::{self, LogControl, LogFile, LogFileError, LoggingError};
use crate::notify;
use crate::paths::{Paths, PathsError};
use crate::program::Program;
use crate::service::Service;
use crate::settings_file::SettingsFile;
use crate::signals::{self, SignalsError};
use crate::store::{OpenedStore, SqliteStore, StoreError};
use crate::system::{NoEntropy, SystemClock};

/// How long to wait for a daemon that holds the lock but does not serve: longer than one takes to stop.
const HOLDER_PATIENCE: Duration = Duration::from_secs(25);

/// How long calls in progress may take to end.
const STOP_API: Duration = Duration::from_secs(3);
/// How long ending all sessions may take; AWS is asked for each of them.
const STOP_ENGINE: Duration = Duration::from_secs(8);
/// How long renewals that are under way may take.
const STOP_SIGN_INS: Duration = Duration::from_secs(4);
/// How long tasks that only have to look up may take.
const STOP_TASKS: Duration = Duration::from_secs(1);
/// How long the disk may take.
const STOP_STORE: Duration = Duration::from_secs(3);

/// Connections between the socket and the API server; more wait in the kernel.
const ACCEPTED_CONNECTIONS: usize = 16;

/// A daemon that did not start, or did not stay.
#[derive(Debug, Error)]
pub enum AppError {
    /// Flags or variables.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// The terminal cannot be left.
    #[error("cannot go to the background; use --detach")]
    Background(#[source] std::io::Error),
    /// Another daemon is in the way.
    #[error("{}", describe(.holder, *.serves))]
    Held {
        /// That one.
        holder: Holder,
        /// Whether it takes connections on the socket that was wanted.
        serves: bool,
    },
    /// Lock or directory.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// The log.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// The log's file.
    #[error(transparent)]
    LogFile(#[from] LogFileError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Random numbers.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The API's socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The engine.
    #[error("the engine cannot start: {0}")]
    Engine(Fault),
    /// Signals.
    #[error(transparent)]
    Signals(#[from] SignalsError),
    /// A task could not be started or did not come back.
    #[error("a part of the daemon failed: {0}")]
    Task(String),
    /// The API server ended by itself.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl From<TasksClosed> for AppError {
    fn from(error: TasksClosed) -> Self {
        Self::Task(error.to_string())
    }
}

impl From<TaskFailed> for AppError {
    fn from(error: TaskFailed) -> Self {
        Self::Task(error.to_string())
    }
}

fn describe(holder: &Holder, serves: bool) -> String {
    let pid = holder.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let socket =
        holder.socket.as_ref().map(|socket| format!(" for socket {}", socket.display())).unwrap_or_default();
    let lock = holder.lock.display();
    // A daemon that hangs, or serves elsewhere, does not hear `daemon stop` here.
    let end = match holder.pid {
        Some(pid) if !serves => format!("kill {pid}"),
        Some(_) | None => "stctl daemon stop".to_owned(),
    };
    format!(
        "another stormtunneld{pid}{socket} holds {lock}; stop it with `{end}`, \
         or choose other places with --state-dir and --socket"
    )
}

/// Runs the daemon until it is asked to stop. A daemon in the background that finds another one serving says so and is
/// done.
///
/// # Errors
/// [`AppError`].
pub async fn run(args: &Args, service: Service) -> Result<(), AppError> {
    let paths = Paths::resolve(args)?;
    if args.detached {
        detach::leave_terminal().map_err(AppError::Background)?;
    }
    let Some(instance) = claim(args, &paths, &service).await? else { return Ok(()) };
    let (stop, signal_tasks) = (CancellationToken::new(), Tasks::new());
    signals::listen(&signal_tasks, &stop)?;
    let log_file = (args.detached || args.log_to_file).then(|| LogFile::open(&paths.log())).transpose()?;
    let background = log_file.as_ref().filter(|_| args.detached).map(LogFile::now).transpose();
    let log_path = log_file.as_ref().map(|file| file.path().to_owned());
    let format = args.log_format.unwrap_or_else(|| LogFormat::of(&SettingsFile::peek(&paths.settings)));
    let log = logging::start(format, log_file)?;
    let daemon = Daemon::start(Start {
        instance,
        log_path,
        paths,
        log,
        service,
        stop: stop.clone(),
        adapters: adapters::of_system,
    })
    .await?;
    if let Some(error) =
        background.map_err(AppError::Background)?.and_then(|file| detach::let_go(detach::READY, &file).err())
    {
        tracing::warn!(%error, "serving, but still attached to the terminal");
    }
    let outcome = daemon.serve_until_stopped().await;
    let _ = signal_tasks.shutdown(Duration::ZERO).await;
    outcome
}

/// Takes the locks; nothing when another daemon serves, which a background start is content with.
async fn claim(args: &Args, paths: &Paths, service: &Service) -> Result<Option<Instance>, AppError> {
    let is_given = service.api.is_some();
    let patience = if args.detached || is_given { HOLDER_PATIENCE } else { Duration::ZERO };
    match instance::claim_or_find_serving(paths, patience, is_given).await? {
        (Claim::Mine(instance), _) => Ok(Some(instance)),
        (Claim::Held(holder), true) if args.detached => {
            tracing::debug!(?holder, "another daemon serves");
            let null = File::options().write(true).open("/dev/null").map_err(AppError::Background)?;
            detach::let_go(detach::RUNNING, &null).map_err(AppError::Background)?;
            Ok(None)
        }
        (Claim::Held(holder), serves) => Err(AppError::Held { holder, serves }),
    }
}

/// What a daemon is started with.
pub(crate) struct Start<P> {
    pub(crate) instance: Instance,
    pub(crate) paths: Paths,
    pub(crate) log: LogControl,
    pub(crate) log_path: Option<PathBuf>,
    pub(crate) service: Service,
    pub(crate) stop: CancellationToken,
    pub(crate) adapters: P,
}

/// A daemon that serves.
#[derive(Debug)]
pub(crate) struct Daemon {
    // Fields in the order in which they end.
    api: Task<Result<(), ServeError>>,
    api_stopping: CancellationToken,
    engine: Engine,
    sign_in_tasks: Tasks,
    tasks: Tasks,
    store: SqliteStore,
    unlink: Unlink,
    instance: Instance,
    service: Service,
    stop: CancellationToken,
}

impl Daemon {
    pub(crate) async fn start<P>(start: Start<P>) -> Result<Self, AppError>
    where
        P: AsyncFnOnce(Surroundings) -> Result<Adapters, AppError>,
    {
        let Start { instance, paths, log, log_path, mut service, stop, adapters } = start;
        let descriptors = instance::raise_descriptor_limit();
        let started_at = SystemClock.wall();
        let OpenedStore { store, mut warnings } = open_store(&paths, &SystemClock).await?;
        let (tasks, sign_in_tasks) = (Tasks::new(), Tasks::new());
        let settings = SettingsFile::open(&paths.settings);
        settings.watch(&tasks)?;
        follow_log_filter(&tasks, settings.subscribe(), log.clone())?;
        let surroundings = Surroundings {
            settings: settings.subscribe(),
            state_dir: paths.state_dir.clone(),
            store: store.handle(),
            network: SocketNetwork::new(Arc::clone(&service.keeper)),
            tasks: tasks.clone(),
            sign_in_tasks: sign_in_tasks.clone(),
        };
        let Adapters { ports, prompts, diagnostics, warnings: of_adapters } = adapters(surroundings).await?;
        warnings.extend(of_adapters);
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let (connections, unlink) = Socket::open(&paths.socket, service.api.take(), &instance)?
            .into_connections(rustix::process::geteuid().as_raw());
        let (engine, handle) = Engine::start(ports, settings.subscribe()).await.map_err(AppError::Engine)?;
        let (told, clock) = (settings.subscribe(), Arc::new(SystemClock));
        notifications::start(handle.clone(), told, notify::of_system(), clock, &tasks)?;
        let process = Process {
            started_at,
            engine: handle.clone(),
            log_path,
            state_dir: paths.state_dir,
            warnings,
            settings: Arc::clone(&settings),
            log,
            program: Program::of_process(),
            stop: stop.clone(),
        };
        let api_stopping = CancellationToken::new();
        let api = Api {
            doctor: Doctor::new(diagnostics, handle.clone()),
            engine: handle.clone(),
            prompts,
            settings: Arc::new(FileSettings(settings)),
            daemon: Arc::new(process),
            stopping: api_stopping.clone(),
        };
        let api = serve(&tasks, api, connections)?;
        service.ready(&tasks, handle)?;
        tracing::info!(socket = %paths.socket.display(), ?descriptors, "serving");
        Ok(Self { api, api_stopping, engine, sign_in_tasks, tasks, store, unlink, instance, service, stop })
    }

    /// Serves until somebody asks to stop, then stops.
    pub(crate) async fn serve_until_stopped(mut self) -> Result<(), AppError> {
        let outcome = tokio::select! {
            () = self.stop.cancelled() => Ok(()),
            ended = &mut self.api => match ended {
                Ok(Ok(())) => Err(AppError::Task("the API ended by itself".to_owned())),
                Ok(Err(error)) => Err(error.into()),
                Err(error) => Err(error.into()),
            },
        };
        self.stop(outcome.is_ok()).await;
        outcome
    }

    async fn stop(self, api_lives: bool) {
        let Self {
            api,
            api_stopping,
            engine,
            sign_in_tasks,
            tasks,
            store,
            unlink,
            instance,
            service,
            stop: _,
        } = self;
        tracing::info!("stopping");
        service.stopping();
        api_stopping.cancel();
        if api_lives && tokio::time::timeout(STOP_API, api).await.is_err() {
            tracing::warn!("some calls did not end in time");
        }
        engine.shutdown(STOP_ENGINE).await;
        // After the sessions, whose end takes credentials. A renewal that is cut off may cost the login: AWS has taken the old
        // token by then.
        if let Err(remain) = sign_in_tasks.shutdown(STOP_SIGN_INS).await {
            tracing::warn!(%remain, "sign-ins did not end in time");
        }
        if let Err(remain) = tasks.shutdown(STOP_TASKS).await {
            tracing::warn!(%remain, "going on without them");
        }
        if tokio::time::timeout(STOP_STORE, store.close()).await.is_err() {
            tracing::error!("the database did not close in time");
        }
        drop(unlink);
        drop(instance);
        tracing::info!("stopped");
    }
}

async fn open_store(paths: &Paths, clock: &dyn Clock) -> Result<OpenedStore, AppError> {
    let (path, now) = (paths.database(), clock.wall());
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&path, now)).await;
    Ok(opened.map_err(|error| AppError::Task(error.to_string()))??)
}

/// Serves the API on connections that a task of its own accepts: when that one ends, so does the listener, and the next
/// daemon's clients are not kept waiting by this one's.
fn serve(
    tasks: &Tasks,
    api: Api,
    mut connections: PeerStream,
) -> Result<Task<Result<(), ServeError>>, TasksClosed> {
    let (accepted, incoming) = mpsc::channel::<std::io::Result<UnixStream>>(ACCEPTED_CONNECTIONS);
    let stopping = api.stopping.clone();
    tasks.spawn("accept", async move {
        let forward = async {
            while let Some(connection) = connections.next().await {
                if accepted.send(connection).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = stopping.cancelled() => {}
            () = forward => {}
        }
    })?;
    let cancel = tasks.cancelled().clone();
    tasks.spawn("api", async move {
        tokio::select! {
            served = stormtunnel_api::serve(api, ReceiverStream::new(incoming)) => served,
            () = cancel.cancelled() => Ok(()),
        }
    })
}

/// Puts the setting `log.filter` in force, now and whenever it changes. Between two changes a filter that was set
/// through the API stays.
fn follow_log_filter(
    tasks: &Tasks,
    mut settings: watch::Receiver<Arc<Settings>>,
    log: LogControl,
) -> Result<(), TasksClosed> {
    let mut last = settings.borrow_and_update().log_filter.clone();
    put_filter_in_force(&log, &last);
    let cancel = tasks.cancelled().clone();
    tasks.spawn("log filter", async move {
        loop {
            let changed = tokio::select! {
                () = cancel.cancelled() => return,
                changed = settings.wait_for(|settings| settings.log_filter != last) => changed.map(|settings| settings.log_filter.clone()),
            };
            let Ok(filter) = changed else { return };
            put_filter_in_force(&log, &filter);
            last = filter;
        }
    })?;
    Ok(())
}

fn put_filter_in_force(log: &LogControl, filter: &str) {
    if let Err(fault) = log.set_filter(filter) {
        tracing::warn!(%fault, "log.filter is not in force");
    }
}

#[cfg(test)]
mod tests;
