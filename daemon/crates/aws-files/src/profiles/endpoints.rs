//! Addresses that a profile puts in the place of AWS's.

use std::collections::BTreeMap;

use secrecy::ExposeSecret as _;

use super::invalid::{Invalid, InvalidKind};
use super::raw::{Raw, RawProfile};
use crate::ini::Value;

/// What `endpoint_url` and `services` of a profile say. Whoever honours them sends tokens there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
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
        let ignored = profile.found("ignore_configured_endpoint_urls");
        if ignored.is_some_and(|found| found.text.eq_ignore_ascii_case("true")) {
            return Ok(Self::default());
        }
        Ok(Self { every: profile.optional("endpoint_url")?.map(|found| found.text.to_owned()), services })
    }
}
