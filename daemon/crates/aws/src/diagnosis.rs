//! What a person has to know of the way to AWS: where calls go, and whether anything comes back from there.

use std::sync::Arc;

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::date_time::{DateTime, Format};
use stormtunnel_engine::doctor::Place;
use stormtunnel_engine::ports::AwsScope;
use stormtunnel_engine::sign_in::ports::SignInSite;
use stormtunnel_model::{Fault, Profile, Region, SignIn, Target, TargetForm, Timestamp};
use url::Url;

use crate::access::AwsAccess;
use crate::address::partition_suffixes;
use crate::classify::{chain, find};
use crate::http_client::single_connector;
use crate::network::{AwsNetwork, Route, at_endpoint};
use crate::proxy::Proxy;
use crate::quote::{quote, with_trust_hint};
use crate::sdk_endpoint;
use crate::service::ServiceAccess;
use crate::sign_in::{AwsOidc, portal_url};
use crate::targets::Finders;

/// Where data channels are.
const CHANNELS: &str = "ssmmessages";
/// What the HTTP client says of a connection that stood, and was closed behind the request, with TLS and without.
const CLOSED: [&str; 2] = [
    "connection closed before message completed",
    "(SendRequest): connection error: peer closed connection without sending TLS close_notify",
];

/// Looks at the way to AWS without anybody's credentials.
pub struct AwsDiagnosis {
    network: Arc<AwsNetwork>,
    access: Arc<AwsAccess>,
    finders: Finders,
}

impl AwsDiagnosis {
    /// The way that `access` takes, and that `finders` take to look nodes up.
    pub fn new(network: Arc<AwsNetwork>, access: Arc<AwsAccess>, finders: Finders) -> Self {
        Self { network, access, finders }
    }

    /// What is wrong with the certificate authorities that are to be trusted: those of the setting and of the variable, and those
    /// of profiles. Each is `InvalidArgument` with the file.
    pub async fn authorities(&self) -> Vec<Fault> {
        let of_all = self.network.extra_roots(None).await;
        let mut faults: Vec<Fault> = of_all.err().into_iter().collect();
        if faults.is_empty() {
            for (profile, endpoints) in self.access.trusting() {
                if let Err(Fault { kind, detail }) = self.network.extra_roots(Some(&endpoints)).await {
                    faults.push(Fault::new(kind, format!("profile {profile}: {detail}")));
                }
            }
        }
        faults
    }

    /// Whether there is a profile, or are credentials, for whoever names no profile.
    pub fn has_default(&self) -> bool {
        self.access.has_default()
    }

    /// Where calls for that scope go: STS and Session Manager, where data channels are, and what looks up those of `targets` that
    /// are no node's id.
    ///
    /// # Errors
    /// Faults of the profile, of the region and of endpoints that cannot be used.
    pub async fn places(&self, scope: &AwsScope, targets: &[Target]) -> Result<Vec<Place>, Fault> {
        let client = self.access.client(scope).await?;
        let region = client.subject.region.clone();
        let at = |endpoint: &Option<String>| at_endpoint(&client.config, endpoint.as_deref());
        let mut urls = vec![
            ("sts", sdk_endpoint!(aws_sdk_sts, at(&client.endpoints.sts))?),
            ("ssm", sdk_endpoint!(aws_sdk_ssm, at(&client.endpoints.ssm))?),
            (CHANNELS, self.channels(&region)?),
        ];
        let asks = |wanted: fn(&TargetForm<'_>) -> bool| targets.iter().any(|target| wanted(&target.form()));
        let service = ServiceAccess::new(&self.access, Arc::clone(&client));
        if asks(|form| matches!(form, TargetForm::Instances(_)))
            && let Some(instances) = &self.finders.instances
        {
            urls.push(("ec2", instances.url(&service).await?));
        }
        if asks(|form| matches!(form, TargetForm::Containers(_)))
            && let Some(containers) = &self.finders.containers
        {
            urls.push(("ecs", containers.url(&service).await?));
        }
        let trusts = |name: &Profile| self.access.trusting().iter().any(|(trusting, _)| trusting == name);
        let trusted_by = scope.profile.clone().filter(trusts);
        let place = |(service, url)| Place {
            name: format!("{service} {region}"),
            url,
            trusted_by: trusted_by.clone(),
        };
        Ok(urls.into_iter().map(place).collect())
    }

    /// AWS names the host of a data channel itself, and it is this one, wherever FIPS and dual stack were not asked for.
    fn channels(&self, region: &Region) -> Result<String, Fault> {
        let [suffix, _] = partition_suffixes(region);
        let configured = self.network.channel_endpoint()?.map(|endpoint| endpoint.api_url());
        Ok(configured.unwrap_or_else(|| format!("https://{CHANNELS}.{region}.{suffix}")))
    }

    /// Where a sign-in gets its tokens, and credentials for them.
    ///
    /// # Errors
    /// Faults of the region and of endpoints that cannot be used.
    pub async fn places_of_sign_in(&self, sign_in: &SignIn) -> Result<Vec<Place>, Fault> {
        let SignIn { name, start_url, region, .. } = sign_in.clone();
        let site = SignInSite { name, start_url, region, scopes: Vec::new() };
        let oidc = AwsOidc::new(Arc::clone(&self.network)).base_url(&site)?;
        let urls = [("oidc", oidc), ("portal.sso", portal_url(&self.network, &site).await?)];
        let place =
            |(service, url)| Place { name: format!("{service} {}", site.region), url, trusted_by: None };
        Ok(urls.map(place).into())
    }

    /// The proxy that calls leave through, if there is one.
    ///
    /// # Errors
    /// `InvalidArgument` for a variable that names none.
    pub fn proxy(&self) -> Result<Option<Proxy>, Fault> {
        Ok(self.network.proxies()?.proxy().cloned())
    }

    /// Whether a proxy is asked for a place, which then looks its name up as well.
    pub fn is_proxied(&self, place: &Place) -> bool {
        let asked = || {
            let url = Url::parse(&place.url).ok()?;
            let (host, port) = (url.host_str()?, url.port_or_known_default()?);
            let proxies = self.network.proxies().ok()?;
            proxies.way_to(url.scheme() == "https", host, port).map(drop)
        };
        asked().is_some()
    }

    async fn route(&self, place: &Place) -> Result<Route, Fault> {
        match &place.trusted_by {
            Some(profile) => self.access.route(profile).await,
            None => self.network.route(None).await,
        }
    }

    /// Asks for the page of a place, through proxies and with the certificate authorities of all calls, and answers the clock of
    /// whoever answers, whatever the answer is.
    ///
    /// # Errors
    /// Why nothing came back, as a sentence part.
    pub async fn visit(&self, place: &Place) -> Result<Option<Timestamp>, String> {
        let Route { extra_roots, proxies, .. } =
            self.route(place).await.map_err(|fault| fault.to_string())?;
        let connector = single_connector(extra_roots, proxies).map_err(|fault| fault.to_string())?;
        let request = HttpRequest::get(&place.url).map_err(|error| error.to_string())?;
        let answer = match connector.call(request).await {
            Ok(answer) => answer,
            Err(error) => {
                let said = chain(&error);
                // A gateway of data channels owes no answer to what is no WebSocket: it was reached.
                if place.name.starts_with(CHANNELS) && CLOSED.iter().any(|closed| said.contains(closed)) {
                    return Ok(None);
                }
                let of_proxy = find::<Fault>(&error).map(|fault| fault.detail.clone());
                return Err(of_proxy.unwrap_or_else(|| quote(&with_trust_hint(said), &[])));
            }
        };
        let date =
            answer.headers().get("date").and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        let millis =
            date.and_then(|date| date.to_millis().ok()).and_then(|millis| u64::try_from(millis).ok());
        Ok(millis.map(Timestamp::from_millis))
    }
}
