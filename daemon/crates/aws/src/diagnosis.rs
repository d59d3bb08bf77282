//! What a person has to know of the way to AWS: where calls go, and whether anything comes back from there.

use std::sync::Arc;

use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::date_time::{DateTime, Format};
use stormtunnel_engine::doctor::Place;
use stormtunnel_engine::ports::AwsScope;
use stormtunnel_model::{Fault, Timestamp};
use url::Url;

use crate::access::AwsAccess;
use crate::address::partition_suffixes;
use crate::classify::chain;
use crate::http_client::single_connector;
use crate::network::AwsNetwork;
use crate::quote::{quote, with_trust_hint};

/// Where data channels are.
const CHANNELS: &str = "ssmmessages";
/// What the HTTP client says of a connection that was closed behind the request.
const CLOSED: &str = "connection closed before message completed";

/// Looks at the way to AWS without anybody's credentials.
pub struct AwsDiagnosis {
    network: Arc<AwsNetwork>,
    access: Arc<AwsAccess>,
}

impl AwsDiagnosis {
    /// The way that `access` takes.
    pub fn new(network: Arc<AwsNetwork>, access: Arc<AwsAccess>) -> Self {
        Self { network, access }
    }

    /// Whether the certificate authorities can be read.
    ///
    /// # Errors
    /// `InvalidArgument` with the file.
    pub async fn authorities(&self) -> Result<(), Fault> {
        self.network.route(None).await.map(drop)
    }

    /// Where calls for that scope go: STS and Session Manager, and where data channels are.
    ///
    /// # Errors
    /// Faults of the profile, of the region and of endpoints that cannot be used.
    pub async fn places(&self, scope: &AwsScope) -> Result<Vec<Place>, Fault> {
        let client = self.access.client(scope).await?;
        let region = &client.subject.region;
        let [suffix, _] = partition_suffixes(region);
        let place = |service: &str, configured: Option<String>| Place {
            name: format!("{service} {region}"),
            url: configured.unwrap_or_else(|| format!("https://{service}.{region}.{suffix}")),
        };
        let channels = self.network.channel_endpoint()?.map(|endpoint| endpoint.api_url());
        Ok(vec![
            place("sts", client.endpoints.sts.clone()),
            place("ssm", client.endpoints.ssm.clone()),
            place(CHANNELS, channels),
        ])
    }

    async fn connector(&self, place: &Place) -> Result<Connector, Fault> {
        let route = self.network.route(None).await?;
        let url = Url::parse(&place.url).map_err(|error| Fault::internal(error.to_string()))?;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(443);
        let proxy = route.proxies.way_to(url.scheme() == "https", host, port);
        single_connector(route.extra_roots.as_deref(), proxy)
    }

    /// Asks for the page of a place, through proxies and with the certificate authorities of all calls, and answers the clock of
    /// whoever answers, whatever the answer is.
    ///
    /// # Errors
    /// Why nothing came back, as a sentence part.
    pub async fn visit(&self, place: &Place) -> Result<Option<Timestamp>, String> {
        let connector = self.connector(place).await.map_err(|fault| fault.to_string())?;
        let request = HttpRequest::get(&place.url).map_err(|error| error.to_string())?;
        let answer = connector.call(request).await;
        let answer = match answer.map_err(|error| chain(&error)) {
            // A gateway of data channels owes no answer to what is no WebSocket: it was reached.
            Err(said) if place.name.starts_with(CHANNELS) && said.contains(CLOSED) => return Ok(None),
            answer => answer.map_err(|said| quote(&with_trust_hint(said), &[]))?,
        };
        let date =
            answer.headers().get("date").and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        let millis =
            date.and_then(|date| date.to_millis().ok()).and_then(|millis| u64::try_from(millis).ok());
        Ok(millis.map(Timestamp::from_millis))
    }
}
