//! Calls about what is wrong around the daemon.

use stormtunnel_model::Finding;
use tonic::Streaming;
use tonic::transport::Channel;

use super::{CallError, Client, MAX_MESSAGE, answer};
use crate::v1;
use crate::v1::doctor_service_client::DoctorServiceClient;

impl Client {
    /// Runs the daemon's checks; with `fix` it mends what it may.
    ///
    /// # Errors
    /// [`CallError`]; `Unimplemented` of a daemon that is older.
    pub async fn run_checks(&self, fix: bool) -> Result<RunningChecks, CallError> {
        let request = self.endless(v1::RunChecksRequest { fix }).await?;
        Ok(RunningChecks { messages: answer(self.doctor().run_checks(request)).await? })
    }

    /// The last lines of the daemon's log, oldest first; 0 leaves it to the daemon how many.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn log(&self, lines: u32) -> Result<Vec<String>, CallError> {
        let request = self.request(v1::GetLogRequest { lines }).await?;
        Ok(answer(self.doctor().get_log(request)).await?.lines)
    }

    fn doctor(&self) -> DoctorServiceClient<Channel> {
        DoctorServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }
}

/// Checks that run. Dropping this ends them.
#[derive(Debug)]
pub struct RunningChecks {
    messages: Streaming<v1::RunChecksResponse>,
}

impl RunningChecks {
    /// The next finding; nothing after the last one.
    ///
    /// # Errors
    /// [`CallError`] when the connection was lost.
    pub async fn next(&mut self) -> Result<Option<Finding>, CallError> {
        Ok(self.messages.message().await?.map(Finding::from))
    }
}
