//! Which profiles there are.

use std::collections::BTreeMap;

use stormtunnel_model::{
    AwsProfile, Fault, FileProblem, OnDemand, Profile, ProfileKind, ProfileState, Region, SignInName,
};

/// The profiles of the AWS files, and what is wrong in these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfiguredProfiles {
    /// By name.
    pub profiles: BTreeMap<Profile, ConfiguredProfile>,
    /// What a person should mend, in the order of the files.
    pub problems: Vec<FileProblem>,
}

/// A profile of the AWS files. Two that are equal have the same credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredProfile {
    /// Another number whenever the profile, or what it depends on, is another one: keys are not in here.
    pub version: u64,
    /// Where its credentials come from; absent where that cannot be told.
    pub kind: Option<ProfileKind>,
    /// Its region.
    pub region: Option<Region>,
    /// Where to ask AWS about it when nobody says a region. That of its sign-in is in the right partition.
    pub home_region: Option<Region>,
    /// The sign-in that it names.
    pub sign_in: Option<SignInName>,
    /// The account that it is configured for.
    pub account: Option<String>,
    /// The permission set or role that it is configured for.
    pub role: Option<String>,
    /// Why it has no credentials at all.
    pub invalid: Option<Fault>,
    /// Why it is not checked by itself.
    pub on_demand: Option<OnDemand>,
}

impl ConfiguredProfile {
    /// The sign-in without whose token there are no credentials. One that has only a token takes them from the machine.
    pub(super) fn lives_on(&self) -> Option<&SignInName> {
        self.sign_in.as_ref().filter(|_| self.kind != Some(ProfileKind::Ambient))
    }

    pub(super) fn shown(&self, name: &Profile, state: ProfileState) -> AwsProfile {
        AwsProfile {
            name: name.clone(),
            kind: self.kind,
            region: self.region.clone(),
            sign_in: self.sign_in.clone(),
            account: self.account.clone(),
            role: self.role.clone(),
            state,
        }
    }
}
