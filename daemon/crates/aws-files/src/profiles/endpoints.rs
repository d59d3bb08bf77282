//! How a profile gets to AWS: which addresses it asks, and what it trusts there.

use std::collections::BTreeMap;

use secrecy::ExposeSecret as _;

use super::invalid::{Invalid, InvalidKind};
use super::raw::{Raw, RawProfile};
use crate::ini::Value;

/// Where a profile asks AWS. Whoever honours `endpoint_url` and `services` sends tokens there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// `use_fips_endpoint`
    pub use_fips: Option<bool>,
    /// `use_dualstack_endpoint`
    pub use_dual_stack: Option<bool>,
    /// `ca_bundle`, as it was written: a file with the certificates to trust.
    pub ca_bundle: Option<String>,
    every: Option<String>,
    services: BTreeMap<String, String>,
}

impl Endpoints {
    /// The address for a service, by its key in a `[services]` section: `sso_oidc`, `sso`, `sts`, `ssm`.
    pub fn get(&self, service: &str) -> Option<&str> {
        self.services.get(service).or(self.every.as_ref()).map(String::as_str)
    }

    pub(crate) fn of(profile: &RawProfile, raw: &Raw) -> Result<Self, Invalid> {
        let mut services = BTreeMap::new();
        if let Some(name) = profile.optional("services")? {
            let Some(section) = raw.services.get(name.text) else {
                let section = format!("services {}", name.text);
                return Err(name.invalid(InvalidKind::Unknown { section }));
            };
            services.extend(section.values().filter_map(|(service, value)| match value {
                Value::Block(block) => {
                    Some((service.to_owned(), block.get("endpoint_url")?.expose_secret().to_owned()))
                }
                Value::Text(_) => None,
            }));
        }
        let switch = |key| profile.found(key).map(|found| found.text.eq_ignore_ascii_case("true"));
        let ca_bundle = profile.found("ca_bundle").map(|found| found.text.to_owned());
        let endpoints = Self {
            use_fips: switch("use_fips_endpoint"),
            use_dual_stack: switch("use_dualstack_endpoint"),
            ca_bundle: ca_bundle.filter(|path| !path.is_empty()),
            ..Self::default()
        };
        if switch("ignore_configured_endpoint_urls") == Some(true) {
            return Ok(endpoints);
        }
        let every = profile.optional("endpoint_url")?.map(|found| found.text.to_owned());
        Ok(Self { every, services, ..endpoints })
    }
}
