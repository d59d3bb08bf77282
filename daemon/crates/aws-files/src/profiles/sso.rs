//! Sign-ins, and the roles that profiles take through them.

use std::collections::BTreeMap;

use secrecy::ExposeSecret as _;
use stormtunnel_model::{Region, SignInForm, SignInName};

use super::credentials::SsoRole;
use super::invalid::{Invalid, InvalidKind};
use super::raw::{Found, Keys, Raw, RawProfile};
use super::start_url::normalized;
use crate::ini::Value;
use crate::keys;
use crate::problem::{Problem, ProblemKind};

/// A sign-in: one token, for all profiles that name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// Its name.
    pub name: SignInName,
    /// `sso_start_url`, as it was written.
    pub start_url: String,
    /// `sso_region`: where IAM Identity Center is.
    pub region: Region,
    /// `sso_registration_scopes`; none if nothing is said.
    pub scopes: Vec<String>,
}

/// What is known of IAM Identity Center while profiles are resolved.
pub(crate) struct Sso<'a> {
    raw: &'a Raw,
    /// Of each start URL, in its normal form, that stands beside a region.
    regions: BTreeMap<String, Region>,
    default_region: Option<&'a Region>,
}

impl<'a> Sso<'a> {
    pub(crate) fn new(raw: &'a Raw, default_region: Option<&'a Region>) -> Self {
        let of_session = |keys: &'a Keys| (keys.found("sso_start_url"), keys.found("sso_region"));
        let of_profile =
            |profile: &'a RawProfile| (profile.found("sso_start_url"), profile.found("sso_region"));
        let sessions = raw.sessions.values().map(of_session);
        let pairs = sessions.chain(raw.profiles.values().map(of_profile));
        let mut regions = BTreeMap::new();
        for (url, region) in pairs.filter_map(|(url, region)| Some((url?, region?.text.parse().ok()?))) {
            regions.entry(normalized(url.text)).or_insert(region);
        }
        Self { raw, regions, default_region }
    }

    /// The role that the profile takes. To the AWS CLI the account or the role says that it does; then all four values
    /// have to be there.
    pub(crate) fn role(&self, profile: &RawProfile) -> Result<Option<SsoRole>, Invalid> {
        if !profile.has("sso_account_id") && !profile.has("sso_role_name") {
            return Ok(None);
        }
        let session = self.session_of(profile)?;
        let required = |key| match session.and_then(|session| session.found(key)) {
            Some(found) if !profile.has(key) => Ok(found),
            Some(_) | None => profile.required(key),
        };
        let account = required("sso_account_id")?.checked("an account has twelve digits", |text| {
            text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
        })?;
        let role = required("sso_role_name")?;
        let Some(sign_in) = self.sign_in_of(profile)? else { return Err(profile.missing("sso_start_url")) };
        Ok(Some(SsoRole {
            // The portal is asked where the profile says it is, the token comes from where the sign-in says.
            region: self.region_of(profile)?.unwrap_or(sign_in.region),
            sign_in: sign_in.name,
            start_url: sign_in.start_url,
            account: account.text.to_owned(),
            role: role.text.to_owned(),
        }))
    }

    /// The sign-in that stands in the profile, whether it takes a role through it or not.
    pub(crate) fn sign_in_of(&self, profile: &RawProfile) -> Result<Option<SignIn>, Invalid> {
        if let (Some(name), Some(session)) = (profile.optional("sso_session")?, self.session_of(profile)?) {
            return self.session(name.text, session).map(Some);
        }
        let Some(url) = profile.optional("sso_start_url")? else { return Ok(None) };
        let url = start_url(url)?;
        let name = url.text.parse().map_err(|_| url.malformed(URL_RULE))?;
        let known = || self.regions.get(&normalized(url.text)).or(self.default_region).cloned();
        let region = match self.region_of(profile)? {
            Some(region) => region,
            None => known().ok_or_else(|| profile.missing("sso_region"))?,
        };
        Ok(Some(SignIn { name, start_url: url.text.to_owned(), region, scopes: Vec::new() }))
    }

    /// Every sign-in there is: of each session, used or not, and of each start URL in a profile without one.
    pub(crate) fn sign_ins(
        &self,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<SignInName, Result<SignIn, Invalid>> {
        let mut sign_ins: BTreeMap<SignInName, Result<SignIn, Invalid>> = BTreeMap::new();
        for (name, session) in &self.raw.sessions {
            match name.parse::<SignInName>() {
                Ok(name) => {
                    let sign_in = self.session(name.as_str(), session);
                    sign_ins.insert(name, sign_in);
                }
                Err(error) => {
                    let kind = ProblemKind::SessionName { rule: error.rule };
                    problems.push(Problem { place: session.place(), kind });
                }
            }
        }
        for profile in self.raw.profiles.values().filter(|profile| !profile.has("sso_session")) {
            let Ok(Some(sign_in)) = self.sign_in_of(profile) else { continue };
            match sign_ins.get(&sign_in.name) {
                Some(Ok(first)) if first.region != sign_in.region => {
                    let place =
                        profile.found("sso_region").map_or(profile.place.clone(), |found| found.place);
                    problems.push(Problem { place, kind: ProblemKind::SsoRegionsDiffer });
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    sign_ins.insert(sign_in.name.clone(), Ok(sign_in));
                }
            }
        }
        sign_ins
    }

    fn session(&self, name: &str, session: &Keys) -> Result<SignIn, Invalid> {
        let unusable = |rule| {
            let kind = InvalidKind::Malformed { rule };
            Invalid { place: session.place(), key: "sso_session", kind }
        };
        let name: SignInName = name.parse().map_err(|_| unusable("the session's name cannot be used"))?;
        if matches!(name.form(), SignInForm::StartUrl(_)) {
            return Err(unusable("a session cannot have an address as its name"));
        }
        let url = start_url(session.required("sso_start_url")?)?;
        let region = region(&session.required("sso_region")?)?;
        let scopes = session.found("sso_registration_scopes").map_or("", |found| found.text);
        let scopes = scopes.split(',').map(str::trim).filter(|scope| !scope.is_empty());
        Ok(SignIn {
            name,
            start_url: url.text.to_owned(),
            region,
            scopes: scopes.map(str::to_owned).collect(),
        })
    }

    /// The session that the profile names. It must not say another thing than the profile does.
    fn session_of(&self, profile: &RawProfile) -> Result<Option<&'a Keys>, Invalid> {
        let Some(name) = profile.optional("sso_session")? else { return Ok(None) };
        let Some(session) = self.raw.sessions.get(name.text) else {
            return Err(name.invalid(InvalidKind::Unknown { section: format!("sso-session {}", name.text) }));
        };
        for (key, value) in session.values() {
            if profile.value(key).is_some_and(|own| !same(own, value)) {
                let kind = InvalidKind::Inconsistent { session: name.text.to_owned() };
                let place = keys::known(key).and_then(|key| profile.found(key)).unwrap_or(name);
                return Err(place.invalid(kind));
            }
        }
        Ok(Some(session))
    }

    fn region_of(&self, profile: &RawProfile) -> Result<Option<Region>, Invalid> {
        profile.optional("sso_region")?.map(|found| region(&found)).transpose()
    }
}

const URL_RULE: &str = "a start URL begins with https:// and names a host";

fn start_url(found: Found<'_>) -> Result<Found<'_>, Invalid> {
    found.checked(URL_RULE, |text| {
        let host = normalized(text).strip_prefix("https://").map(str::len);
        host.is_some_and(|length| length > 0) && !text.contains(char::is_whitespace)
    })
}

fn region(found: &Found<'_>) -> Result<Region, Invalid> {
    found.text.parse().map_err(|_| found.malformed("a region looks like \"eu-west-1\""))
}

fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Text(one), Value::Text(other)) => one.expose_secret() == other.expose_secret(),
        (Value::Block(one), Value::Block(other)) => {
            let pairs = one.iter().zip(other);
            one.len() == other.len()
                && pairs.into_iter().all(|((key, value), (other_key, other_value))| {
                    key == other_key && value.expose_secret() == other_value.expose_secret()
                })
        }
        (Value::Text(_), Value::Block(_)) | (Value::Block(_), Value::Text(_)) => false,
    }
}
