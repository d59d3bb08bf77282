//! Which sign-ins there are, and who is meant by what people say.

use std::collections::BTreeMap;

use stormtunnel_model::{Fault, FaultKind, Profile, Region, SignInChoice, SignInName, SignInProfile};

use super::ports::SignInSite;

/// The sign-ins that the AWS files configure, by name.
pub type ConfiguredSignIns = BTreeMap<SignInName, ConfiguredSignIn>;

/// A sign-in that the AWS files configure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredSignIn {
    /// Where it signs in.
    pub site: SignInSite,
    /// The profiles that use it, ordered by name.
    pub profiles: Vec<SignInProfile>,
}

/// Finds what is meant among those that there are; nothing where it is one that nobody configured.
///
/// # Errors
/// `SignInNotFound`, and `InvalidArgument` where several may be meant. Both name those that there are.
pub(super) fn find(choice: &SignInChoice, known: &ConfiguredSignIns) -> Result<Option<SignInName>, Fault> {
    match choice {
        SignInChoice::Only => only(known).map(Some),
        SignInChoice::Named(name) if known.contains_key(name) => Ok(Some(name.clone())),
        SignInChoice::Named(name) => Err(not_found(name.to_string(), listed(known))),
        SignInChoice::OfProfile(profile) => of_profile(profile, known).map(Some),
        SignInChoice::At { start_url, region } => Ok(at(start_url, region, known)),
    }
}

fn only(known: &ConfiguredSignIns) -> Result<SignInName, Fault> {
    let mut names = known.keys();
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only.clone()),
        (Some(_), Some(_)) => {
            let kind = FaultKind::InvalidArgument { field: "sign_in".to_owned() };
            Err(Fault::new(kind, format!("say which one; {}", listed(known))))
        }
        (None, _) => Err(not_found(String::new(), listed(known))),
    }
}

fn of_profile(profile: &Profile, known: &ConfiguredSignIns) -> Result<SignInName, Fault> {
    let uses = |one: &&ConfiguredSignIn| one.profiles.iter().any(|other| other.profile == *profile);
    let found = known.values().find(uses).map(|one| one.site.name.clone());
    let detail = || format!("profile \"{profile}\" signs in nowhere; {}", listed(known));
    found.ok_or_else(|| not_found(String::new(), detail()))
}

/// That of the address itself goes first, because it is what other tools take; then one of another name that leads there.
fn at(start_url: &SignInName, region: &Region, known: &ConfiguredSignIns) -> Option<SignInName> {
    let plain = |url: &str| url.trim_end_matches(['#', '/']).to_owned();
    let leads_there = |one: &&ConfiguredSignIn| {
        one.site.region == *region && plain(&one.site.start_url) == plain(start_url.as_str())
    };
    let same = known.get(start_url).filter(leads_there);
    same.or_else(|| known.values().find(leads_there)).map(|one| one.site.name.clone())
}

pub(super) fn not_found(sign_in: String, detail: String) -> Fault {
    Fault::new(FaultKind::SignInNotFound { sign_in }, detail)
}

/// What is known, as a sentence part.
fn listed(known: &ConfiguredSignIns) -> String {
    if known.is_empty() {
        return "no AWS profile signs in with SSO".to_owned();
    }
    let names: Vec<&str> = known.keys().map(|name| name.as_str()).collect();
    format!("known are {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://x.awsapps.com/start";

    fn configured(name: &str, url: &str, profiles: &[&str]) -> (SignInName, ConfiguredSignIn) {
        let profile =
            |name: &&str| SignInProfile { profile: name.parse().unwrap(), account: None, role: None };
        let site = SignInSite {
            name: name.parse().unwrap(),
            start_url: url.to_owned(),
            region: "eu-west-1".parse().unwrap(),
            scopes: Vec::new(),
        };
        (site.name.clone(), ConfiguredSignIn { site, profiles: profiles.iter().map(profile).collect() })
    }

    fn at(url: &str, region: &str) -> SignInChoice {
        SignInChoice::At { start_url: url.parse().unwrap(), region: region.parse().unwrap() }
    }

    fn found(choice: &SignInChoice, known: &ConfiguredSignIns) -> Option<String> {
        find(choice, known).unwrap().map(Into::into)
    }

    #[test]
    fn what_is_meant_is_found_by_name_profile_and_address() {
        let known =
            [configured("corp", URL, &["dev", "prod"]), configured("lab", "https://lab", &["x"])].into();
        assert_eq!(found(&SignInChoice::Named("lab".parse().unwrap()), &known).as_deref(), Some("lab"));
        assert_eq!(found(&SignInChoice::OfProfile("prod".parse().unwrap()), &known).as_deref(), Some("corp"));
        assert_eq!(found(&at(&format!("{URL}/#"), "eu-west-1"), &known).as_deref(), Some("corp"));
        assert_eq!(found(&at(URL, "us-east-1"), &known), None, "another instance");
        let legacy = [configured("corp", URL, &[]), configured(URL, URL, &[])].into();
        assert_eq!(found(&at(URL, "eu-west-1"), &legacy).as_deref(), Some(URL), "its own goes first");
    }

    #[test]
    fn what_is_not_found_is_answered_with_what_there_is() {
        let two = [configured("corp", URL, &["dev"]), configured("lab", "https://lab", &[])].into();
        let fault = |choice: SignInChoice, known: &ConfiguredSignIns| find(&choice, known).unwrap_err();
        let unknown = fault(SignInChoice::Named("crop".parse().unwrap()), &two);
        assert_eq!(unknown.to_string(), "there is no sign-in \"crop\": known are corp, lab");
        let unused = fault(SignInChoice::OfProfile("keys".parse().unwrap()), &two);
        assert!(unused.detail.starts_with("profile \"keys\" signs in nowhere"), "{unused}");
        let several = fault(SignInChoice::Only, &two);
        assert_eq!(several.kind, FaultKind::InvalidArgument { field: "sign_in".to_owned() });
        let none = fault(SignInChoice::Only, &ConfiguredSignIns::new());
        assert_eq!(none.to_string(), "there is no such sign-in: no AWS profile signs in with SSO");
        let one = [configured("corp", URL, &[])].into();
        assert_eq!(found(&SignInChoice::Only, &one).as_deref(), Some("corp"));
    }
}
