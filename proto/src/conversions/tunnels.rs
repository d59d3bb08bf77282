//! The messages of the tunnel service.

use stormtunnel_model::{RequestId, Tunnel, TunnelId};

use super::spec::{patch_from_message, patch_to_message};
use super::{ConversionError, etag, non_empty, parse_etag, parsed, required};
use crate::calls::{
    CreateTunnel, TunnelOutcome, TunnelPage, UpdateTunnel, UpdatedTunnel, WatchEvent, WatchTunnels,
    WatchUpdate,
};
use crate::v1;
use crate::v1::tunnel_result::Outcome;
use crate::v1::watch_tunnels_response::{Deleted, Event, Resumed, Snapshot};

/// Longest request id: room for any UUID or hash, and a bound for the store.
const MAX_REQUEST_ID: usize = 64;

impl From<CreateTunnel> for v1::CreateTunnelRequest {
    fn from(create: CreateTunnel) -> Self {
        let request_id = create.request_id.map(|id| id.0).unwrap_or_default();
        Self { request_id, spec: Some(create.spec.into()), start: create.start }
    }
}

impl TryFrom<v1::CreateTunnelRequest> for CreateTunnel {
    type Error = ConversionError;

    fn try_from(request: v1::CreateTunnelRequest) -> Result<Self, Self::Error> {
        if request.request_id.chars().count() > MAX_REQUEST_ID {
            return Err(ConversionError::invalid(
                "request_id",
                &request.request_id,
                "it has more than 64 characters",
            ));
        }
        let request_id = non_empty(request.request_id).map(RequestId);
        Ok(Self { request_id, spec: parsed("spec", request.spec)?, start: request.start })
    }
}

impl From<UpdateTunnel> for v1::UpdateTunnelRequest {
    fn from(update: UpdateTunnel) -> Self {
        let (spec, mask) = patch_to_message(update.patch);
        Self {
            tunnel: update.tunnel,
            spec: Some(spec),
            update_mask: Some(mask),
            etag: update.etag.map(etag).unwrap_or_default(),
            validate_only: update.validate_only,
        }
    }
}

impl TryFrom<v1::UpdateTunnelRequest> for UpdateTunnel {
    type Error = ConversionError;

    fn try_from(request: v1::UpdateTunnelRequest) -> Result<Self, Self::Error> {
        Ok(Self {
            tunnel: required("tunnel", non_empty(request.tunnel))?,
            patch: patch_from_message(&required("spec", request.spec)?, request.update_mask)?,
            etag: non_empty(request.etag).map(|text| parse_etag(&text)).transpose()?,
            validate_only: request.validate_only,
        })
    }
}

impl From<UpdatedTunnel> for v1::UpdateTunnelResponse {
    fn from(updated: UpdatedTunnel) -> Self {
        let UpdatedTunnel { tunnel, reconnects, rebinds } = updated;
        Self { tunnel: Some(tunnel.into()), reconnects, rebinds }
    }
}

impl TryFrom<v1::UpdateTunnelResponse> for UpdatedTunnel {
    type Error = ConversionError;

    fn try_from(response: v1::UpdateTunnelResponse) -> Result<Self, Self::Error> {
        let v1::UpdateTunnelResponse { tunnel, reconnects, rebinds } = response;
        Ok(Self { tunnel: parsed("tunnel", tunnel)?, reconnects, rebinds })
    }
}

impl From<TunnelOutcome> for v1::TunnelResult {
    fn from(outcome: TunnelOutcome) -> Self {
        let result = match outcome.outcome {
            Ok(tunnel) => Outcome::Tunnel(tunnel.into()),
            Err(fault) => Outcome::Fault(fault.into()),
        };
        Self { requested: outcome.requested, outcome: Some(result) }
    }
}

impl TryFrom<v1::TunnelResult> for TunnelOutcome {
    type Error = ConversionError;

    fn try_from(result: v1::TunnelResult) -> Result<Self, Self::Error> {
        let outcome = match required("outcome", result.outcome)? {
            Outcome::Tunnel(tunnel) => {
                Ok(tunnel.try_into().map_err(|error: ConversionError| error.inside("tunnel"))?)
            }
            Outcome::Fault(fault) => {
                Err(fault.try_into().map_err(|error: ConversionError| error.inside("fault"))?)
            }
        };
        Ok(Self { requested: result.requested, outcome })
    }
}

impl From<TunnelPage> for v1::ListTunnelsResponse {
    fn from(page: TunnelPage) -> Self {
        let next_page_token = page.next_page_token.unwrap_or_default();
        Self { tunnels: page.tunnels.into_iter().map(Into::into).collect(), next_page_token }
    }
}

impl TryFrom<v1::ListTunnelsResponse> for TunnelPage {
    type Error = ConversionError;

    fn try_from(response: v1::ListTunnelsResponse) -> Result<Self, Self::Error> {
        let next_page_token = non_empty(response.next_page_token);
        Ok(Self { tunnels: parse_tunnels(response.tunnels)?, next_page_token })
    }
}

impl From<WatchTunnels> for v1::WatchTunnelsRequest {
    fn from(watch: WatchTunnels) -> Self {
        Self { since: watch.since.map(Into::into), tunnels: watch.tunnels }
    }
}

impl From<v1::WatchTunnelsRequest> for WatchTunnels {
    fn from(request: v1::WatchTunnelsRequest) -> Self {
        Self { since: request.since.map(Into::into), tunnels: request.tunnels }
    }
}

impl From<WatchUpdate> for v1::WatchTunnelsResponse {
    fn from(update: WatchUpdate) -> Self {
        let event = match update.event {
            WatchEvent::Snapshot(tunnels) => {
                Event::Snapshot(Snapshot { tunnels: tunnels.into_iter().map(Into::into).collect() })
            }
            WatchEvent::Changed(tunnel) => Event::Changed((*tunnel).into()),
            WatchEvent::Deleted { id, name } => {
                Event::Deleted(Deleted { id: id.to_string(), name: name.into() })
            }
            WatchEvent::Resumed => Event::Resumed(Resumed {}),
        };
        Self { revision: Some(update.revision.into()), event: Some(event) }
    }
}

impl TryFrom<v1::WatchTunnelsResponse> for WatchUpdate {
    type Error = ConversionError;

    fn try_from(response: v1::WatchTunnelsResponse) -> Result<Self, Self::Error> {
        let event = match required("event", response.event)? {
            Event::Snapshot(snapshot) => WatchEvent::Snapshot(parse_tunnels(snapshot.tunnels)?),
            Event::Changed(tunnel) => {
                let tunnel =
                    Tunnel::try_from(tunnel).map_err(|error: ConversionError| error.inside("changed"))?;
                WatchEvent::Changed(Box::new(tunnel))
            }
            Event::Deleted(Deleted { id, name }) => {
                WatchEvent::Deleted { id: parse_id(&id)?, name: name.parse()? }
            }
            Event::Resumed(Resumed {}) => WatchEvent::Resumed,
        };
        Ok(Self { revision: required("revision", response.revision)?.into(), event })
    }
}

pub(super) fn parse_id(text: &str) -> Result<TunnelId, ConversionError> {
    text.parse().map_err(|_| ConversionError::invalid("id", text, "an id is a UUID"))
}

fn parse_tunnels(tunnels: Vec<v1::Tunnel>) -> Result<Vec<Tunnel>, ConversionError> {
    let tunnel =
        |message| Tunnel::try_from(message).map_err(|error: ConversionError| error.inside("tunnels"));
    tunnels.into_iter().map(tunnel).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::strategies;
    use super::*;

    proptest! {
        #[test]
        fn requests_read_back_as_written(
            create in strategies::create(),
            update in strategies::update(),
            watch in strategies::watch(),
        ) {
            prop_assert_eq!(CreateTunnel::try_from(v1::CreateTunnelRequest::from(create.clone())), Ok(create));
            prop_assert_eq!(UpdateTunnel::try_from(v1::UpdateTunnelRequest::from(update.clone())), Ok(update));
            prop_assert_eq!(WatchTunnels::from(v1::WatchTunnelsRequest::from(watch.clone())), watch);
        }

        #[test]
        fn answers_read_back_as_written(
            updated in strategies::updated(),
            outcome in strategies::outcome(),
            page in strategies::page(),
        ) {
            prop_assert_eq!(UpdatedTunnel::try_from(v1::UpdateTunnelResponse::from(updated.clone())), Ok(updated));
            prop_assert_eq!(TunnelOutcome::try_from(v1::TunnelResult::from(outcome.clone())), Ok(outcome));
            prop_assert_eq!(TunnelPage::try_from(v1::ListTunnelsResponse::from(page.clone())), Ok(page));
        }

        #[test]
        fn watch_messages_read_back_as_written(update in strategies::watch_update()) {
            prop_assert_eq!(WatchUpdate::try_from(v1::WatchTunnelsResponse::from(update.clone())), Ok(update));
        }
    }

    #[test]
    fn a_request_id_is_bounded() {
        let request = |length: usize| v1::CreateTunnelRequest {
            request_id: "x".repeat(length),
            spec: Some(v1::TunnelSpec {
                name: "db".to_owned(),
                target: "i-0abcdef1234567890".to_owned(),
                remote: Some(v1::RemoteEndpoint { host: None, port: 1 }),
                ..Default::default()
            }),
            start: false,
        };
        assert!(CreateTunnel::try_from(request(64)).is_ok());
        assert_eq!(CreateTunnel::try_from(request(65)).unwrap_err().field(), "request_id");
    }

    #[test]
    fn an_error_in_a_request_names_the_whole_path() {
        let request = v1::CreateTunnelRequest {
            spec: Some(v1::TunnelSpec { name: "DB".to_owned(), ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(CreateTunnel::try_from(request).unwrap_err().field(), "spec.name");
        assert_eq!(CreateTunnel::try_from(v1::CreateTunnelRequest::default()).unwrap_err().field(), "spec");
    }
}
