//! The gRPC services over the engine.
//!
//! Every handler parses its request, asks, and writes the answer; deciding is the engine's business, storing the
//! daemon's. A failed call carries its [`Fault`] typed in the status details.
//!
//! Beside our services there are health (`grpc.health.v1`) and reflection (v1 and v1alpha), so that a client needs no
//! `.proto` files.

mod daemon;
mod doctor;
mod events;
mod page;
mod profiles;
mod prompts;
mod settings;
mod sign_in;
mod targets;
mod tunnels;
mod watch;

use std::fmt;
use std::sync::Arc;

use futures_util::Stream;
use stormtunnel_engine::EngineHandle;
use stormtunnel_engine::doctor::Doctor;
use stormtunnel_engine::ports::PortFuture;
use stormtunnel_engine::prompts::Prompts;
use stormtunnel_model::Fault;
use stormtunnel_proto::FILE_DESCRIPTOR_SET;
use stormtunnel_proto::calls::{
    DaemonInfo, ReplacedSettings, SettingChange, SettingState, SettingsFile, SettingsState,
};
use stormtunnel_proto::v1::daemon_service_server::DaemonServiceServer;
use stormtunnel_proto::v1::doctor_service_server::DoctorServiceServer;
use stormtunnel_proto::v1::event_service_server::EventServiceServer;
use stormtunnel_proto::v1::profile_service_server::ProfileServiceServer;
use stormtunnel_proto::v1::prompt_service_server::PromptServiceServer;
use stormtunnel_proto::v1::settings_service_server::SettingsServiceServer;
use stormtunnel_proto::v1::sign_in_service_server::SignInServiceServer;
use stormtunnel_proto::v1::target_service_server::TargetServiceServer;
use stormtunnel_proto::v1::tunnel_service_server::TunnelServiceServer;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::{Connected, Router};
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};
use tonic_reflection::server::Builder as Reflection;

use daemon::DaemonApi;
use doctor::DoctorApi;
use events::EventApi;
use profiles::ProfileApi;
use prompts::PromptApi;
use settings::SettingsApi;
use sign_in::SignInApi;
use targets::TargetApi;
use tunnels::TunnelApi;

/// Reads and changes settings.
pub trait SettingsControl: Send + Sync {
    /// The settings of those names, or all when none is named.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is unknown.
    fn settings(&self, keys: &[String]) -> Result<SettingsState, Fault>;

    /// Makes all the changes or none, and answers the changed settings. Goes on when the future is dropped.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown name or a value out of range, `Internal` when the file cannot be written.
    fn update(&self, changes: Vec<SettingChange>) -> PortFuture<'_, Result<Vec<SettingState>, Fault>>;

    /// Where the settings file is, for an editor.
    ///
    /// # Errors
    /// `Internal` when it cannot be read.
    fn file(&self) -> PortFuture<'_, Result<SettingsFile, Fault>>;

    /// Puts another text into the file that had this etag when it was read. Goes on when the future is dropped.
    ///
    /// # Errors
    /// `Internal` when the file cannot be read or written.
    fn replace(&self, text: String, etag: String) -> PortFuture<'_, Result<ReplacedSettings, Fault>>;
}

/// The daemon itself.
pub trait DaemonControl: Send + Sync {
    /// What it is.
    fn info(&self) -> DaemonInfo;

    /// Begins to stop; returns at once.
    fn shutdown(&self);

    /// Puts a log filter in force and answers it.
    ///
    /// # Errors
    /// `InvalidArgument` for a filter that cannot be parsed.
    fn set_log_filter(&self, filter: &str) -> Result<String, Fault>;
}

/// What the services speak to.
#[derive(Clone)]
pub struct Api {
    /// Tunnels.
    pub engine: EngineHandle,
    /// Checks.
    pub doctor: Doctor,
    /// Questions to persons.
    pub prompts: Prompts,
    /// Settings.
    pub settings: Arc<dyn SettingsControl>,
    /// The daemon.
    pub daemon: Arc<dyn DaemonControl>,
    /// Fires when no more calls are to be taken: watches end then.
    pub stopping: CancellationToken,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// The API cannot be served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The compiled contract cannot be read back: a defect of the build.
    #[error("the API's description cannot be read")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The server failed.
    #[error("the API server failed")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves connections until [`Api::stopping`] fires, then until the calls in progress are done: the caller bounds that.
///
/// # Errors
/// [`ServeError`].
pub async fn serve<C, E>(api: Api, connections: impl Stream<Item = Result<C, E>>) -> Result<(), ServeError>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stopping = api.stopping.clone();
    let (router, health) = router(api).await?;
    let stopped = async {
        stopping.cancelled().await;
        set_health(&health, ServingStatus::NotServing).await;
    };
    Ok(router.serve_with_incoming_shutdown(connections, stopped).await?)
}

/// All services, for any transport.
async fn router(api: Api) -> Result<(Router, HealthReporter), ServeError> {
    let (reporter, health) = health_reporter();
    set_health(&reporter, ServingStatus::Serving).await;
    let reflection = || {
        Reflection::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let router = Server::builder()
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(DaemonServiceServer::new(DaemonApi::new(api.daemon)))
        .add_service(DoctorServiceServer::new(DoctorApi::new(api.doctor, api.stopping.clone())))
        .add_service(EventServiceServer::new(EventApi::new(api.engine.clone(), api.stopping.clone())))
        .add_service(ProfileServiceServer::new(ProfileApi::new(&api.engine, api.stopping.clone())))
        .add_service(PromptServiceServer::new(PromptApi::new(api.prompts, api.stopping.clone())))
        .add_service(SettingsServiceServer::new(SettingsApi::new(api.settings)))
        .add_service(SignInServiceServer::new(SignInApi::new(&api.engine, api.stopping.clone())))
        .add_service(TargetServiceServer::new(TargetApi::new(api.engine.clone())))
        .add_service(TunnelServiceServer::new(TunnelApi::new(api.engine, api.stopping)));
    Ok((router, reporter))
}

/// Services whose health is told; the empty name stands for all of them.
const SERVICES: [&str; 10] = [
    "",
    "stormtunnel.v1.TunnelService",
    "stormtunnel.v1.EventService",
    "stormtunnel.v1.ProfileService",
    "stormtunnel.v1.PromptService",
    "stormtunnel.v1.SettingsService",
    "stormtunnel.v1.SignInService",
    "stormtunnel.v1.TargetService",
    "stormtunnel.v1.DaemonService",
    "stormtunnel.v1.DoctorService",
];

async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        health.set_service_status(service, status).await;
    }
}
