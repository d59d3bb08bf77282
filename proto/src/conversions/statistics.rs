//! Figures of tunnels.

use stormtunnel_model::{Statistics, TunnelStatistics};

use super::{ConversionError, parse_span, parse_timestamp, required, span, timestamp};
use crate::v1;

impl From<Statistics> for v1::Statistics {
    fn from(statistics: Statistics) -> Self {
        let Statistics { traffic, connections, sessions, reconnects, uptime } = statistics;
        Self { traffic: Some(traffic.into()), connections, sessions, reconnects, uptime: Some(span(uptime)) }
    }
}

impl TryFrom<v1::Statistics> for Statistics {
    type Error = ConversionError;

    fn try_from(statistics: v1::Statistics) -> Result<Self, Self::Error> {
        let v1::Statistics { traffic, connections, sessions, reconnects, uptime } = statistics;
        Ok(Self {
            traffic: traffic.unwrap_or_default().into(),
            connections,
            sessions,
            reconnects,
            uptime: parse_span("uptime", uptime)?,
        })
    }
}

impl From<TunnelStatistics> for v1::TunnelStatistics {
    fn from(statistics: TunnelStatistics) -> Self {
        let TunnelStatistics { id, name, created_at, since_created, since_started } = statistics;
        Self {
            tunnel_id: id.to_string(),
            name: name.into(),
            created_at: Some(timestamp(created_at)),
            since_created: Some(since_created.into()),
            since_started: Some(since_started.into()),
        }
    }
}

impl TryFrom<v1::TunnelStatistics> for TunnelStatistics {
    type Error = ConversionError;

    fn try_from(statistics: v1::TunnelStatistics) -> Result<Self, Self::Error> {
        let v1::TunnelStatistics { tunnel_id, name, created_at, since_created, since_started } = statistics;
        Ok(Self {
            id: super::tunnels::parse_id(&tunnel_id)?,
            name: name.parse()?,
            created_at: parse_timestamp("created_at", created_at)?,
            since_created: required("since_created", since_created)?.try_into()?,
            since_started: required("since_started", since_started)?.try_into()?,
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
        fn statistics_read_back_as_written(statistics in strategies::tunnel_statistics()) {
            let message = v1::TunnelStatistics::from(statistics.clone());
            prop_assert_eq!(TunnelStatistics::try_from(message), Ok(statistics));
        }
    }
}
