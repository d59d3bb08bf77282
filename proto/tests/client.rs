//! The client against a small server on a real socket: what crosses the wire, and what a failed call becomes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a broken expectation is a failed test")]

use std::future::Future;
use std::io::ErrorKind;
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::time::Duration;

use stormtunnel_model::{Epoch, Fault, FaultKind, Timestamp};
use stormtunnel_proto::calls::DaemonInfo;
use stormtunnel_proto::v1::daemon_service_server::{DaemonService, DaemonServiceServer};
use stormtunnel_proto::v1::{
    GetInfoRequest, GetInfoResponse, SetLogFilterRequest, SetLogFilterResponse, ShutdownRequest,
    ShutdownResponse,
};
use stormtunnel_proto::{API_LEVEL, CallError, Client, ConversionError, status};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

fn info() -> DaemonInfo {
    DaemonInfo {
        version: "1.2.3".to_owned(),
        api_level: API_LEVEL,
        started_at: Timestamp::from_millis(1_700_000_000_123),
        epoch: Epoch(7),
        pid: 42,
        log_path: None,
        state_directory: "/state".to_owned(),
        warnings: vec!["the disk is full".to_owned()],
        build: Some("0123abc 2026-11-28".to_owned()),
        program: Some("/usr/bin/stormtunneld".to_owned()),
        program_replaced: true,
    }
}

/// Answers `GetInfo`, fails `SetLogFilter` with the fault whose name is the filter, never answers `Shutdown`.
struct Fake;

#[tonic::async_trait]
impl DaemonService for Fake {
    async fn get_info(&self, _: Request<GetInfoRequest>) -> Result<Response<GetInfoResponse>, Status> {
        Ok(Response::new(info().into()))
    }

    async fn shutdown(&self, _: Request<ShutdownRequest>) -> Result<Response<ShutdownResponse>, Status> {
        std::future::pending().await
    }

    async fn set_log_filter(
        &self,
        request: Request<SetLogFilterRequest>,
    ) -> Result<Response<SetLogFilterResponse>, Status> {
        let wanted = request.into_inner().filter;
        let kind = FaultKind::one_of_each().into_iter().find(|kind| kind.name() == wanted);
        match kind {
            Some(kind) => Err(status::from_fault(Fault::new(kind, "détail\nof two lines".repeat(200)))),
            None if wanted.is_empty() => Err(ConversionError::Missing { field: "filter".to_owned() }.into()),
            None => Err(Status::data_loss("a status of somebody else")),
        }
    }
}

/// Runs `test` beside the server.
async fn beside_server<T>(test: impl AsyncFnOnce(Client) -> T) -> T {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("daemon.sock");
    let incoming = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
    let server = Server::builder().add_service(DaemonServiceServer::new(Fake)).serve_with_incoming(incoming);
    within(async {
        tokio::select! {
            result = server => panic!("the server ended: {result:?}"),
            answer = async { test(Client::connect(&socket).await.unwrap()).await } => answer,
        }
    })
    .await
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("done in time")
}

#[tokio::test]
async fn an_answer_is_read_into_the_model() {
    let answer = beside_server(async |client| client.daemon_info().await).await;
    assert_eq!(answer.unwrap(), info());
}

#[tokio::test]
async fn every_fault_crosses_the_wire_typed() {
    beside_server(async |client| {
        for kind in FaultKind::one_of_each() {
            match client.set_log_filter(kind.name()).await {
                Err(CallError::Fault(fault)) => {
                    assert_eq!(fault.kind, kind);
                    assert!(fault.detail.starts_with("détail\nof two lines"), "{fault}");
                }
                other => panic!("{kind:?} became {other:?}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_that_cannot_be_parsed_names_its_field() {
    let answer = beside_server(async |client| client.set_log_filter("").await).await;
    let Err(CallError::Fault(fault)) = answer else { panic!("{answer:?}") };
    assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "filter".to_owned() });
}

#[tokio::test]
async fn statuses_without_a_fault_stay_what_they_are() {
    beside_server(async |client| {
        let other = client.set_log_filter("x").await.unwrap_err();
        assert!(matches!(other, CallError::Other { code: tonic::Code::DataLoss, .. }), "{other:?}");
        let unknown_service = client.tunnel("db").await.unwrap_err();
        assert!(matches!(unknown_service, CallError::Unimplemented), "{unknown_service:?}");
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_not_answered_ends_at_its_deadline() {
    let answer =
        beside_server(async |client| client.with_deadline(Duration::from_millis(50)).shutdown().await).await;
    assert!(matches!(answer, Err(CallError::DeadlineExceeded)), "{answer:?}");
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_keeps_the_systems_reason() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.sock");
    assert_eq!(connect_error(missing).await, ErrorKind::NotFound);

    let stale = directory.path().join("stale.sock");
    drop(StdListener::bind(&stale).unwrap());
    assert_eq!(connect_error(stale).await, ErrorKind::ConnectionRefused);
}

async fn connect_error(socket: PathBuf) -> ErrorKind {
    within(Client::connect(&socket)).await.unwrap_err().source.kind()
}

#[tokio::test]
async fn a_daemon_that_dies_in_a_call_is_told_from_one_that_refuses() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("daemon.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    within(async {
        let (client, connection) = tokio::join!(Client::connect(&socket), listener.accept());
        // What a kill does: the system closes the connection and nobody listens any more.
        drop((connection, listener));
        let error = client.unwrap().daemon_info().await.unwrap_err();
        assert!(matches!(error, CallError::Disconnected(_)), "{error:?}");
    })
    .await;
}
