//! What the fake says of itself.

use stormtunnel_model::{Epoch, Timestamp};
use stormtunnel_proto::calls::DaemonInfo;
use stormtunnel_proto::v1;
use stormtunnel_proto::v1::daemon_service_server::DaemonService;
use tokio::net::UnixListener;
use tonic::{Request, Response, Status};

use super::Fake;
use crate::support::now;

/// Where a daemon listens whose socket, beside it, is its own and no service manager's.
pub(crate) const OWN_SOCKET: &str = "served.sock";

impl Fake {
    /// Another program takes the place of the daemon's.
    pub(crate) fn is_replaced_on_disk(&self) {
        self.lock().replaced = true;
    }

    /// How often somebody asked what the daemon is.
    pub(crate) fn looks(&self) -> u32 {
        self.lock().looks
    }
}

#[tonic::async_trait]
impl DaemonService for Fake {
    async fn get_info(
        &self,
        _: Request<v1::GetInfoRequest>,
    ) -> Result<Response<v1::GetInfoResponse>, Status> {
        let (level, replaced) = {
            let mut state = self.lock();
            state.looks += 1;
            (state.level, state.replaced)
        };
        let info = DaemonInfo {
            version: "1.2.3".to_owned(),
            api_level: level,
            started_at: Timestamp::from_millis(now().as_millis() - 7_200_000),
            epoch: Epoch(u64::MAX),
            pid: 4711,
            log_path: Some("/home/u/.local/state/stormtunnel/daemon.log".to_owned()),
            state_directory: "/home/u/.local/state/stormtunnel".to_owned(),
            warnings: vec!["the limit of open files is 256".to_owned()],
            build: Some("0123abc 2026-11-28".to_owned()),
            program: Some("/usr/bin/stormtunneld".to_owned()),
            program_replaced: replaced,
        };
        Ok(Response::new(info.into()))
    }

    /// Removes the socket, which is how clients learn of the end.
    async fn shutdown(
        &self,
        _: Request<v1::ShutdownRequest>,
    ) -> Result<Response<v1::ShutdownResponse>, Status> {
        self.heard("shutdown".to_owned())?;
        let lock = self.socket.with_file_name("daemon.sock.lock");
        if lock.exists() {
            // The next daemon has the lock.
            std::fs::write(lock, "4712\n").unwrap();
            if !self.socket.with_file_name(OWN_SOCKET).exists() {
                // A service manager's socket stays.
                return Ok(Response::new(v1::ShutdownResponse {}));
            }
        }
        std::fs::remove_file(&self.socket).unwrap();
        if self.lock().successor {
            drop(UnixListener::bind(&self.socket).unwrap());
        }
        Ok(Response::new(v1::ShutdownResponse {}))
    }

    async fn set_log_filter(
        &self,
        request: Request<v1::SetLogFilterRequest>,
    ) -> Result<Response<v1::SetLogFilterResponse>, Status> {
        Ok(Response::new(v1::SetLogFilterResponse { filter: request.into_inner().filter }))
    }
}
