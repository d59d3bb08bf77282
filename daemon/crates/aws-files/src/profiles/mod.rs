//! What stands in the two profile files.

mod credentials;
mod diff;
mod endpoints;
mod invalid;
pub(crate) mod raw;
mod resolve;
mod sso;
mod start_url;

use std::collections::BTreeMap;

use stormtunnel_model::{Profile as ProfileName, Region, SignInName};

pub use self::credentials::{CredentialProcess, Credentials, Role, Source, SsoRole, StaticKeys, WebIdentity};
pub use self::diff::{Changes, Diff};
pub use self::endpoints::Endpoints;
pub use self::invalid::{Invalid, InvalidKind};
use self::raw::{Raw, RawProfile};
use self::resolve::Resolver;
pub use self::sso::SignIn;
use self::sso::Sso;
pub use self::start_url::normalized;
use crate::file::ProfileFile;
use crate::problem::{Problem, ProblemKind};

/// All profiles and sign-ins of both files, and what is wrong in them. No `Debug`: keys are in it.
pub struct ProfileSet {
    profiles: BTreeMap<ProfileName, Profile>,
    sign_ins: BTreeMap<SignInName, Result<SignIn, Invalid>>,
    problems: Vec<Problem>,
}

/// A profile. Two are equal when everything that they depend on is: an edit of a profile that this one takes
/// credentials from makes it another one. No `Debug`, as [`ProfileSet`].
#[derive(Clone, PartialEq, Eq)]
pub struct Profile {
    /// `region`, if it is one.
    pub region: Option<Region>,
    /// Where its credentials come from, or why there are none.
    pub credentials: Result<Credentials, Invalid>,
    /// The sign-in that it depends on; of a profile without credentials, the one that it names.
    pub sign_in: Option<SignInName>,
    /// Where it asks AWS.
    pub endpoints: Endpoints,
}

impl ProfileSet {
    /// Makes what can be made of two files, whatever they hold. `default_sso_region` is for profiles that have a start URL
    /// and no `sso_region`, if none with the same start URL has one.
    pub fn parse(
        config: &ProfileFile,
        credentials: &ProfileFile,
        default_sso_region: Option<&Region>,
    ) -> Self {
        let raw = Raw::read(config, credentials);
        let mut problems = raw.problems.clone();
        let sso = Sso::new(&raw, default_sso_region);
        let resolver = Resolver { raw: &raw, sso: &sso };
        let mut profiles = BTreeMap::new();
        for (name, profile) in &raw.profiles {
            match name.parse::<ProfileName>() {
                Ok(name) => {
                    let resolved = resolver.profile(&name, profile, &mut problems);
                    profiles.insert(name, resolved);
                }
                Err(error) => {
                    let kind = ProblemKind::ProfileName { rule: error.rule };
                    problems.push(Problem { place: profile.place.clone(), kind });
                }
            }
        }
        let sign_ins = sso.sign_ins(&mut problems);
        Self { profiles, sign_ins, problems }
    }

    /// One profile.
    pub fn profile(&self, name: &ProfileName) -> Option<&Profile> {
        self.profiles.get(name)
    }

    /// All profiles, by name.
    pub fn profiles(&self) -> impl Iterator<Item = (&ProfileName, &Profile)> {
        self.profiles.iter()
    }

    /// All sign-ins, by name: of each `[sso-session]` and of each start URL in a profile without one.
    pub fn sign_ins(&self) -> impl Iterator<Item = (&SignInName, &Result<SignIn, Invalid>)> {
        self.sign_ins.iter()
    }

    /// One sign-in.
    pub fn sign_in(&self, name: &SignInName) -> Option<&Result<SignIn, Invalid>> {
        self.sign_ins.get(name)
    }

    /// What the user should mend, file by file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What is new, gone or another one since `earlier`.
    pub fn changes_since(&self, earlier: &Self) -> Diff {
        Diff {
            profiles: Changes::between(&earlier.profiles, &self.profiles),
            sign_ins: Changes::between(&earlier.sign_ins, &self.sign_ins),
        }
    }
}

impl Resolver<'_> {
    fn profile(&self, name: &ProfileName, raw: &RawProfile, problems: &mut Vec<Problem>) -> Profile {
        let mut problem = |found: raw::Found<'_>, kind| problems.push(Problem { place: found.place, kind });
        let region = raw.found("region").filter(|found| !found.text.is_empty());
        let region = region.and_then(|found| match found.text.parse() {
            Ok(region) => Some(region),
            Err(_) => {
                problem(found, ProblemKind::Region);
                None
            }
        });
        if let Some(found) = raw.found("duration_seconds").filter(|found| found.text.parse::<u64>().is_err())
        {
            problem(found, ProblemKind::Duration);
        }
        let (credentials, sign_in, endpoints) = match self.usable(name, raw) {
            Ok((credentials, sign_in, endpoints)) => (Ok(credentials), sign_in, endpoints),
            Err(invalid) => (Err(invalid), None, Endpoints::default()),
        };
        Profile { region, credentials, sign_in, endpoints }
    }

    fn usable(
        &self,
        name: &ProfileName,
        raw: &RawProfile,
    ) -> Result<(Credentials, Option<SignInName>, Endpoints), Invalid> {
        let credentials = self.credentials(name, raw)?;
        let endpoints = Endpoints::of(raw, self.raw)?;
        let sign_in = if credentials.source == Source::Ambient {
            self.sso.sign_in_of(raw)?.map(|sign_in| sign_in.name)
        } else {
            credentials.sign_in().cloned()
        };
        Ok((credentials, sign_in, endpoints))
    }
}

#[cfg(test)]
mod tests;
