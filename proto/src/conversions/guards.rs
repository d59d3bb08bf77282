//! What tunnels run with: reason, time, confirmation.

use std::time::Duration;

use stormtunnel_model::{Reason, StartOptions, Ttl};

use super::ConversionError;
use crate::calls::StartTunnels;
use crate::v1;

pub(super) fn parse_reason(reason: Option<String>) -> Result<Option<Reason>, ConversionError> {
    Ok(reason.map(|text| text.parse()).transpose()?)
}

pub(super) fn ttl_to_message(ttl: Ttl) -> prost_types::Duration {
    prost_types::Duration { seconds: ttl.as_secs().into(), nanos: 0 }
}

pub(super) fn parse_ttl(ttl: Option<prost_types::Duration>) -> Result<Option<Ttl>, ConversionError> {
    let Some(message) = ttl else { return Ok(None) };
    let span = Duration::try_from(message)
        .map_err(|error| ConversionError::invalid("ttl", &error, "a span of time is not negative"))?;
    Ok(Some(span.try_into()?))
}

impl From<StartOptions> for v1::StartOptions {
    fn from(options: StartOptions) -> Self {
        let StartOptions { confirmed, reason, ttl } = options;
        Self { confirmed, reason: reason.map(Into::into), ttl: ttl.map(ttl_to_message) }
    }
}

/// An older front end sends none: then nothing is confirmed, and the spec says the rest.
fn parse_options(options: Option<v1::StartOptions>) -> Result<StartOptions, ConversionError> {
    let v1::StartOptions { confirmed, reason, ttl } = options.unwrap_or_default();
    Ok(StartOptions { confirmed, reason: parse_reason(reason)?, ttl: parse_ttl(ttl)? })
}

/// Options that say nothing are left out: an older daemon understands that as well.
fn options_to_message(options: StartOptions) -> Option<v1::StartOptions> {
    (options != StartOptions::default()).then(|| options.into())
}

impl From<StartTunnels> for v1::StartTunnelsRequest {
    fn from(start: StartTunnels) -> Self {
        Self { tunnels: start.tunnels, options: options_to_message(start.options) }
    }
}

impl TryFrom<v1::StartTunnelsRequest> for StartTunnels {
    type Error = ConversionError;

    fn try_from(request: v1::StartTunnelsRequest) -> Result<Self, Self::Error> {
        Ok(Self { tunnels: request.tunnels, options: parse_options(request.options)? })
    }
}

impl From<StartTunnels> for v1::RestartTunnelsRequest {
    fn from(start: StartTunnels) -> Self {
        Self { tunnels: start.tunnels, options: options_to_message(start.options) }
    }
}

impl TryFrom<v1::RestartTunnelsRequest> for StartTunnels {
    type Error = ConversionError;

    fn try_from(request: v1::RestartTunnelsRequest) -> Result<Self, Self::Error> {
        Ok(Self { tunnels: request.tunnels, options: parse_options(request.options)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::strategies;
    use super::*;

    proptest! {
        #[test]
        fn starts_read_back_as_written(start in strategies::start()) {
            prop_assert_eq!(StartTunnels::try_from(v1::StartTunnelsRequest::from(start.clone())), Ok(start.clone()));
            prop_assert_eq!(StartTunnels::try_from(v1::RestartTunnelsRequest::from(start.clone())), Ok(start));
        }
    }

    #[test]
    fn a_request_of_an_older_front_end_confirms_nothing() {
        let request = v1::StartTunnelsRequest { tunnels: vec!["db".to_owned()], options: None };
        assert_eq!(StartTunnels::try_from(request).unwrap().options, StartOptions::default());
    }
}
