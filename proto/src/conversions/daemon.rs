//! The messages of the daemon service.

use stormtunnel_model::Epoch;

use super::{ConversionError, non_empty, parse_timestamp, timestamp};
use crate::calls::DaemonInfo;
use crate::v1;

impl From<DaemonInfo> for v1::GetInfoResponse {
    fn from(info: DaemonInfo) -> Self {
        Self {
            version: info.version,
            api_level: info.api_level,
            started_at: Some(timestamp(info.started_at)),
            epoch: info.epoch.0,
            pid: info.pid,
            log_path: info.log_path.unwrap_or_default(),
            state_directory: info.state_directory,
            warnings: info.warnings,
            build: info.build.unwrap_or_default(),
            program: info.program.unwrap_or_default(),
            program_replaced: info.program_replaced,
        }
    }
}

impl TryFrom<v1::GetInfoResponse> for DaemonInfo {
    type Error = ConversionError;

    fn try_from(response: v1::GetInfoResponse) -> Result<Self, Self::Error> {
        Ok(Self {
            version: response.version,
            api_level: response.api_level,
            started_at: parse_timestamp("started_at", response.started_at)?,
            epoch: Epoch(response.epoch),
            pid: response.pid,
            log_path: non_empty(response.log_path),
            state_directory: response.state_directory,
            warnings: response.warnings,
            build: non_empty(response.build),
            program: non_empty(response.program),
            program_replaced: response.program_replaced,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::strategies;
    use super::*;

    proptest! {
        #[test]
        fn the_daemon_reads_back_as_written(info in strategies::daemon_info()) {
            prop_assert_eq!(DaemonInfo::try_from(v1::GetInfoResponse::from(info.clone())), Ok(info));
        }
    }
}
