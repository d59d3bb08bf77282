//! The calls of a front end, over the daemon's Unix socket.

mod doctor;
mod profiles;
mod prompts;
mod sign_in;
mod skew;

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use stormtunnel_model::{Event, Fault, Tunnel, TunnelStatistics};
use thiserror::Error;
use tokio::net::UnixStream;
use tokio_stream::Stream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};
use tower::service_fn;

use crate::calls::{
    CreateTunnel, DaemonInfo, EventWatchUpdate, ListEvents, ListTargets, ReplacedSettings, SettingChange,
    SettingState, SettingsFile, SettingsState, StartTunnels, TargetList, TunnelOutcome, TunnelPage,
    UpdateTunnel, UpdatedTunnel, WatchEvents, WatchTunnels, WatchUpdate,
};
use crate::conversions::{ConversionError, parse_events};
use crate::status;
use crate::v1::daemon_service_client::DaemonServiceClient;
use crate::v1::event_service_client::EventServiceClient;
use crate::v1::settings_service_client::SettingsServiceClient;
use crate::v1::target_service_client::TargetServiceClient;
use crate::v1::tunnel_service_client::TunnelServiceClient;
use crate::v1::{self, TunnelResult};

pub use self::doctor::RunningChecks;
pub use self::profiles::ProfileWatch;
pub use self::prompts::PromptWatch;
pub use self::sign_in::{RunningLogin, SignInWatch};
use self::skew::next_known;

/// The daemon could not be connected to.
#[derive(Debug, Error)]
#[error("cannot connect to {}", socket.display())]
pub struct ConnectError {
    /// The socket.
    pub socket: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// A call that did not succeed.
#[derive(Debug, Error)]
pub enum CallError {
    /// The daemon said why.
    #[error("{0}")]
    Fault(Fault),
    /// The time allowed ran out.
    #[error("the daemon did not answer in time")]
    DeadlineExceeded,
    /// The connection was lost, or the daemon is gone.
    #[error("the connection to the daemon was lost: {0}")]
    Disconnected(String),
    /// The daemon is older than this client and does not know the call.
    #[error("the daemon does not know this call")]
    Unimplemented,
    /// The daemon is older than this client and would take no notice of a part of the request. It was not sent.
    #[error("the daemon has API level {has}, and this needs level {needs}")]
    OlderDaemon {
        /// The level that the request needs.
        needs: u32,
        /// The level of the daemon.
        has: u32,
    },
    /// The daemon sent something that this client cannot read.
    #[error("the daemon's answer cannot be read")]
    Malformed(#[source] ConversionError),
    /// Anything else that gRPC reports.
    #[error("the call failed ({code}): {message}")]
    Other {
        /// gRPC status code.
        code: Code,
        /// What came with it.
        message: String,
    },
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        if let Some(fault) = status::to_fault(&status) {
            return Self::Fault(fault);
        }
        let message = status.message().to_owned();
        match status.code() {
            // This client never cancels: a cancelled call is one whose time ran out on the way.
            Code::DeadlineExceeded | Code::Cancelled => Self::DeadlineExceeded,
            Code::Unavailable => Self::Disconnected(message),
            Code::Unimplemented => Self::Unimplemented,
            // tonic reports a connection that broke in the middle of a call as "unknown", with its cause.
            Code::Unknown if status.source().is_some() => Self::Disconnected(message),
            code @ (Code::Ok
            | Code::Unknown
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Internal
            | Code::DataLoss
            | Code::Unauthenticated) => Self::Other { code, message },
        }
    }
}

impl From<ConversionError> for CallError {
    fn from(error: ConversionError) -> Self {
        Self::Malformed(error)
    }
}

/// A connection to the daemon. Cheap to clone; clones share the connection, which is made anew when it was lost.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    deadline: Option<Duration>,
    /// API level of the daemon at the other end, once it was asked; 0 before that.
    level: Arc<AtomicU32>,
}

impl Client {
    /// Connects to the daemon's socket.
    ///
    /// # Errors
    /// [`ConnectError`], with the system's reason: no such file, nobody listening, no permission.
    pub async fn connect(socket: &Path) -> Result<Self, ConnectError> {
        let path = socket.to_owned();
        let level = Arc::new(AtomicU32::new(0));
        let next = Arc::clone(&level);
        let connector = service_fn(move |_| {
            let path = path.clone();
            // It may be another daemon.
            next.store(0, Ordering::Relaxed);
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The authority of the calls; the connector does not look at it.
        let endpoint = Endpoint::from_static("http://stormtunnel");
        let connected = endpoint.connect_with_connector(connector).await;
        let channel = connected
            .map_err(|error| ConnectError { socket: socket.to_owned(), source: io_cause(&error) })?;
        Ok(Self { channel, deadline: None, level })
    }

    /// The same connection, with a time limit for each call that is answered once. Watches have none.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Makes a tunnel.
    ///
    /// # Errors
    /// [`CallError`], like every call.
    pub async fn create_tunnel(&self, create: CreateTunnel) -> Result<Tunnel, CallError> {
        self.guards(Some(&create.spec.labels)).await?;
        let request = self.request(v1::CreateTunnelRequest::from(create)).await?;
        let response = answer(self.tunnels().create_tunnel(request)).await?;
        tunnel(response.tunnel)
    }

    /// Changes a tunnel, or tells what the change would do.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn update_tunnel(&self, update: UpdateTunnel) -> Result<UpdatedTunnel, CallError> {
        self.guards(update.patch.labels.as_ref()).await?;
        let message = v1::UpdateTunnelRequest::from(update);
        self.reads_mask(message.update_mask.as_ref()).await?;
        let request = self.request(message).await?;
        Ok(answer(self.tunnels().update_tunnel(request)).await?.try_into()?)
    }

    /// Ends and forgets tunnels, by name or id; one outcome each, in the order asked.
    ///
    /// # Errors
    /// [`CallError`] when the call as a whole failed.
    pub async fn delete_tunnels(&self, tunnels: &[String]) -> Result<Vec<TunnelOutcome>, CallError> {
        let request = self.request(v1::DeleteTunnelsRequest { tunnels: tunnels.to_vec() }).await?;
        outcomes(answer(self.tunnels().delete_tunnels(request)).await?.results)
    }

    /// Sets the intent of tunnels to run; one outcome each, in the order asked.
    ///
    /// # Errors
    /// [`CallError`] when the call as a whole failed.
    pub async fn start_tunnels(&self, start: StartTunnels) -> Result<Vec<TunnelOutcome>, CallError> {
        let request = self.request(v1::StartTunnelsRequest::from(start)).await?;
        outcomes(answer(self.tunnels().start_tunnels(request)).await?.results)
    }

    /// Sets the intent of tunnels to stop; one outcome each, in the order asked.
    ///
    /// # Errors
    /// [`CallError`] when the call as a whole failed.
    pub async fn stop_tunnels(&self, tunnels: &[String]) -> Result<Vec<TunnelOutcome>, CallError> {
        let request = self.request(v1::StopTunnelsRequest { tunnels: tunnels.to_vec() }).await?;
        outcomes(answer(self.tunnels().stop_tunnels(request)).await?.results)
    }

    /// Gives tunnels a new session and the intent to run; one outcome each, in the order asked.
    ///
    /// # Errors
    /// [`CallError`] when the call as a whole failed.
    pub async fn restart_tunnels(&self, start: StartTunnels) -> Result<Vec<TunnelOutcome>, CallError> {
        let request = self.request(v1::RestartTunnelsRequest::from(start)).await?;
        outcomes(answer(self.tunnels().restart_tunnels(request)).await?.results)
    }

    /// One tunnel, by name or id.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn tunnel(&self, name_or_id: &str) -> Result<Tunnel, CallError> {
        let request = self.request(v1::GetTunnelRequest { tunnel: name_or_id.to_owned() }).await?;
        tunnel(answer(self.tunnels().get_tunnel(request)).await?.tunnel)
    }

    /// All tunnels, ordered by name, page after page.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_tunnels(&self) -> Result<Vec<Tunnel>, CallError> {
        let mut tunnels = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = self.request(v1::ListTunnelsRequest { page_size: 0, page_token }).await?;
            let page = TunnelPage::try_from(answer(self.tunnels().list_tunnels(request)).await?)?;
            tunnels.extend(page.tunnels);
            match page.next_page_token {
                Some(token) => page_token = token,
                None => return Ok(tunnels),
            }
        }
    }

    /// The tunnels as they are, then each change. Answers when the daemon has accepted the watch: what is asked of it
    /// afterwards is seen.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn watch_tunnels(&self, watch: WatchTunnels) -> Result<TunnelWatch, CallError> {
        let request = self.endless(v1::WatchTunnelsRequest::from(watch)).await?;
        Ok(TunnelWatch { messages: answer(self.tunnels().watch_tunnels(request)).await? })
    }

    /// The newest events that are asked for, oldest first; at most 1000.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_events(&self, list: ListEvents) -> Result<Vec<Event>, CallError> {
        let request = self.request(v1::ListEventsRequest::from(list)).await?;
        Ok(parse_events(answer(self.events().list_events(request)).await?.events)?)
    }

    /// The newest events, then each one as it happens. Answers when the daemon has accepted the watch: what happens
    /// afterwards is seen.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn watch_events(&self, watch: WatchEvents) -> Result<EventWatch, CallError> {
        let request = self.endless(v1::WatchEventsRequest::from(watch)).await?;
        Ok(EventWatch { messages: answer(self.events().watch_events(request)).await? })
    }

    /// The figures of these tunnels (names or ids), or of all when there are none.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn statistics(&self, tunnels: &[String]) -> Result<Vec<TunnelStatistics>, CallError> {
        let request = self.request(v1::GetStatisticsRequest { tunnels: tunnels.to_vec() }).await?;
        let response = answer(self.events().get_statistics(request)).await?;
        Ok(response.statistics.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
    }

    /// The nodes that tunnels could go through.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_targets(&self, list: ListTargets) -> Result<TargetList, CallError> {
        let request = self.request(v1::ListTargetsRequest::from(list)).await?;
        Ok(answer(self.targets().list_targets(request)).await?.try_into()?)
    }

    /// The settings with these keys, or all when there are none.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn settings(&self, keys: &[String]) -> Result<SettingsState, CallError> {
        let request = self.request(v1::GetSettingsRequest { keys: keys.to_vec() }).await?;
        Ok(answer(self.settings_service().get_settings(request)).await?.into())
    }

    /// Changes settings, all of them or none; answers with the changed ones.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn update_settings(&self, changes: Vec<SettingChange>) -> Result<Vec<SettingState>, CallError> {
        let changes = changes.into_iter().map(Into::into).collect();
        let request = self.request(v1::UpdateSettingsRequest { changes }).await?;
        let response = answer(self.settings_service().update_settings(request)).await?;
        Ok(response.settings.into_iter().map(Into::into).collect())
    }

    /// Where the settings file is, for an editor.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn settings_file(&self) -> Result<SettingsFile, CallError> {
        let request = self.request(v1::GetSettingsFileRequest {}).await?;
        Ok(answer(self.settings_service().get_settings_file(request)).await?.into())
    }

    /// Puts another text into the settings file that had this etag when it was read.
    ///
    /// # Errors
    /// [`CallError`]. A text that is refused is none.
    pub async fn replace_settings_file(
        &self,
        text: String,
        etag: String,
    ) -> Result<ReplacedSettings, CallError> {
        let request = self.request(v1::ReplaceSettingsFileRequest { text, etag }).await?;
        Ok(answer(self.settings_service().replace_settings_file(request)).await?.try_into()?)
    }

    /// What the daemon is.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn daemon_info(&self) -> Result<DaemonInfo, CallError> {
        let request = self.timed(Request::new(v1::GetInfoRequest {}));
        Ok(answer(self.daemon().get_info(request)).await?.try_into()?)
    }

    /// Ends the daemon. Answers when stopping has begun; the socket disappears when it is done.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn shutdown(&self) -> Result<(), CallError> {
        let request = self.request(v1::ShutdownRequest {}).await?;
        answer(self.daemon().shutdown(request)).await.map(|v1::ShutdownResponse {}| ())
    }

    /// Changes what the daemon logs; answers with the directives in force.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set_log_filter(&self, filter: &str) -> Result<String, CallError> {
        let request = self.request(v1::SetLogFilterRequest { filter: filter.to_owned() }).await?;
        Ok(answer(self.daemon().set_log_filter(request)).await?.filter)
    }

    fn tunnels(&self) -> TunnelServiceClient<Channel> {
        TunnelServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    fn targets(&self) -> TargetServiceClient<Channel> {
        TargetServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    fn settings_service(&self) -> SettingsServiceClient<Channel> {
        SettingsServiceClient::new(self.channel.clone())
    }

    fn daemon(&self) -> DaemonServiceClient<Channel> {
        DaemonServiceClient::new(self.channel.clone())
    }

    fn timed<M>(&self, mut request: Request<M>) -> Request<M> {
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline);
        }
        request
    }
}

/// Largest message taken from the daemon: a snapshot of thousands of tunnels (about 1 KiB each) fits. gRPC's default
/// of 4 MiB would not do.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// The tunnels as they are, then each change.
#[derive(Debug)]
pub struct TunnelWatch {
    messages: Streaming<v1::WatchTunnelsResponse>,
}

impl TunnelWatch {
    /// The next message; nothing when the daemon ended the watch.
    ///
    /// # Errors
    /// [`CallError`] when the connection was lost or a message cannot be read.
    pub async fn next(&mut self) -> Result<Option<WatchUpdate>, CallError> {
        let message = next_known(&mut self.messages, |message| message.event.is_some()).await?;
        Ok(message.map(WatchUpdate::try_from).transpose()?)
    }
}

impl Stream for TunnelWatch {
    type Item = Result<WatchUpdate, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let parse = |message: v1::WatchTunnelsResponse| Ok(message.try_into()?);
        loop {
            let message = ready!(Pin::new(&mut self.messages).poll_next(cx));
            // As in `next`.
            if !matches!(&message, Some(Ok(message)) if message.event.is_none()) {
                return Poll::Ready(message.map(|message| message.map_err(CallError::from).and_then(parse)));
            }
        }
    }
}

/// The newest events, then each one as it happens.
#[derive(Debug)]
pub struct EventWatch {
    messages: Streaming<v1::WatchEventsResponse>,
}

impl EventWatch {
    /// The next message; nothing when the daemon ended the watch.
    ///
    /// # Errors
    /// [`CallError`] when the connection was lost or a message cannot be read.
    pub async fn next(&mut self) -> Result<Option<EventWatchUpdate>, CallError> {
        let message = next_known(&mut self.messages, |message| message.update.is_some()).await?;
        Ok(message.map(EventWatchUpdate::try_from).transpose()?)
    }
}

async fn answer<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, CallError> {
    Ok(call.await?.into_inner())
}

fn tunnel(message: Option<v1::Tunnel>) -> Result<Tunnel, CallError> {
    let message = message.ok_or_else(|| ConversionError::Missing { field: "tunnel".to_owned() })?;
    Ok(message.try_into()?)
}

fn outcomes(results: Vec<TunnelResult>) -> Result<Vec<TunnelOutcome>, CallError> {
    Ok(results.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
}

/// The system's error below tonic's.
fn io_cause(error: &(dyn StdError + 'static)) -> io::Error {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(cause) = error.downcast_ref::<io::Error>() {
            return cause.raw_os_error().map_or_else(
                || io::Error::new(cause.kind(), cause.to_string()),
                io::Error::from_raw_os_error,
            );
        }
        next = error.source();
    }
    io::Error::other(error.to_string())
}
