//! What is to be written into the config file of AWS, what was, and what a person may use.

use std::collections::BTreeSet;

use stormtunnel_model::{
    Account, ConfiguredSection, InvalidName, SectionChange, SsoConfig, SsoConfigured, SsoProfile, SsoSection,
    SsoSession,
};

use super::{ConversionError, known, parsed, required};
use crate::v1;
use crate::v1::configure_request::{Profile, Session};
use crate::v1::configure_response::{Section, section};

impl From<Account> for v1::Account {
    fn from(Account { id, name, email }: Account) -> Self {
        Self { id, name, email }
    }
}

impl From<v1::Account> for Account {
    fn from(v1::Account { id, name, email }: v1::Account) -> Self {
        Self { id, name, email }
    }
}

impl From<SsoConfig> for v1::ConfigureRequest {
    fn from(SsoConfig { session, profiles, overwrite }: SsoConfig) -> Self {
        let SsoSession { name, start_url, region, scopes } = session;
        let session = Session {
            name: name.into(),
            start_url: start_url.into(),
            region: region.into(),
            scopes: scopes.into_iter().map(Into::into).collect(),
        };
        let profile = |SsoProfile { name, account, role, region, output }: SsoProfile| Profile {
            name: name.into(),
            account: account.into(),
            role: role.into(),
            region: region.map(Into::into),
            output: output.map(Into::into),
        };
        Self { session: Some(session), profiles: profiles.into_iter().map(profile).collect(), overwrite }
    }
}

impl TryFrom<v1::ConfigureRequest> for SsoConfig {
    type Error = ConversionError;

    fn try_from(request: v1::ConfigureRequest) -> Result<Self, Self::Error> {
        let v1::ConfigureRequest { session, profiles, overwrite } = request;
        let profile =
            |profile: Profile| SsoProfile::try_from(profile).map_err(|error| error.inside("profiles"));
        let profiles = profiles.into_iter().map(profile).collect::<Result<Vec<_>, _>>()?;
        let mut names = BTreeSet::new();
        if let Some(twice) = profiles.iter().find(|profile| !names.insert(&profile.name)) {
            return Err(ConversionError::invalid(
                "profiles.name",
                &twice.name,
                "each profile has another name",
            ));
        }
        Ok(Self { session: parsed("session", session)?, profiles, overwrite })
    }
}

impl TryFrom<Session> for SsoSession {
    type Error = ConversionError;

    fn try_from(Session { name, start_url, region, scopes }: Session) -> Result<Self, Self::Error> {
        Ok(Self {
            name: name.parse().map_err(|error| named(&error))?,
            start_url: start_url.parse()?,
            region: region.parse()?,
            scopes: scopes.iter().map(|scope| scope.parse()).collect::<Result<_, InvalidName>>()?,
        })
    }
}

impl TryFrom<Profile> for SsoProfile {
    type Error = ConversionError;

    fn try_from(Profile { name, account, role, region, output }: Profile) -> Result<Self, Self::Error> {
        Ok(Self {
            name: name.parse().map_err(|error| named(&error))?,
            account: account.parse()?,
            role: role.parse()?,
            region: region.map(|region| region.parse()).transpose()?,
            output: output.map(|output| output.parse()).transpose()?,
        })
    }
}

/// The field is called `name` here, whatever it names.
fn named(error: &InvalidName) -> ConversionError {
    ConversionError::invalid("name", &error.value, error.rule)
}

impl From<SsoConfigured> for v1::ConfigureResponse {
    fn from(SsoConfigured { file, backup, sections }: SsoConfigured) -> Self {
        Self { file, backup, sections: sections.into_iter().map(Into::into).collect() }
    }
}

impl TryFrom<v1::ConfigureResponse> for SsoConfigured {
    type Error = ConversionError;

    fn try_from(response: v1::ConfigureResponse) -> Result<Self, Self::Error> {
        let v1::ConfigureResponse { file, backup, sections } = response;
        let sections = sections.into_iter().map(|section| parsed("sections", Some(section)));
        Ok(Self { file, backup, sections: sections.collect::<Result<_, _>>()? })
    }
}

impl From<ConfiguredSection> for Section {
    fn from(ConfiguredSection { section, change }: ConfiguredSection) -> Self {
        let section = match section {
            SsoSection::Session(name) => section::Section::Session(name.into()),
            SsoSection::Profile(name) => section::Section::Profile(name.into()),
        };
        let change = match change {
            SectionChange::Added => v1::SectionChange::Added,
            SectionChange::Changed => v1::SectionChange::Changed,
            SectionChange::Unchanged => v1::SectionChange::Unchanged,
        };
        Self { section: Some(section), change: change.into() }
    }
}

impl TryFrom<Section> for ConfiguredSection {
    type Error = ConversionError;

    fn try_from(Section { section, change }: Section) -> Result<Self, Self::Error> {
        let section = match required("section", section)? {
            section::Section::Session(name) => SsoSection::Session(name.parse()?),
            section::Section::Profile(name) => SsoSection::Profile(name.parse()?),
        };
        let change = match known(change) {
            v1::SectionChange::Added => SectionChange::Added,
            v1::SectionChange::Changed | v1::SectionChange::Unspecified => SectionChange::Changed,
            v1::SectionChange::Unchanged => SectionChange::Unchanged,
        };
        Ok(Self { section, change })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sign_in_strategies as strategies;
    use super::*;

    proptest! {
        #[test]
        fn messages_read_back_as_written(
            config in strategies::sso_config(),
            configured in strategies::sso_configured(),
            account in strategies::account(),
        ) {
            prop_assert_eq!(SsoConfig::try_from(v1::ConfigureRequest::from(config.clone())), Ok(config));
            let read = SsoConfigured::try_from(v1::ConfigureResponse::from(configured.clone()));
            prop_assert_eq!(read, Ok(configured));
            prop_assert_eq!(Account::from(v1::Account::from(account.clone())), account);
        }
    }

    fn request(edit: impl FnOnce(&mut Session, &mut Profile)) -> Result<SsoConfig, ConversionError> {
        let mut session = Session {
            name: "corp".to_owned(),
            start_url: "https://x.awsapps.com/start".to_owned(),
            region: "eu-west-1".to_owned(),
            scopes: Vec::new(),
        };
        let mut profile = Profile {
            name: "dev".to_owned(),
            account: "123456789012".to_owned(),
            role: "Admin".to_owned(),
            region: None,
            output: None,
        };
        edit(&mut session, &mut profile);
        v1::ConfigureRequest { session: Some(session), profiles: vec![profile], overwrite: false }.try_into()
    }

    #[test]
    fn what_cannot_be_right_is_refused_with_its_field() {
        assert!(request(|_, _| {}).is_ok());
        let field = |edit: fn(&mut Session, &mut Profile)| request(edit).unwrap_err().field().to_owned();
        assert_eq!(field(|session, _| session.name.clear()), "session.name");
        assert_eq!(field(|session, _| session.start_url = "x.awsapps.com".to_owned()), "session.start_url");
        assert_eq!(field(|session, _| session.region = "moon".to_owned()), "session.region");
        assert_eq!(field(|session, _| session.scopes = vec!["a,b".to_owned()]), "session.scopes");
        assert_eq!(field(|_, profile| profile.name = "a]".to_owned()), "profiles.name");
        assert_eq!(field(|_, profile| profile.account = "1".to_owned()), "profiles.account");
        assert_eq!(field(|_, profile| profile.role = "a\nb".to_owned()), "profiles.role");
        assert_eq!(field(|_, profile| profile.region = Some("moon".to_owned())), "profiles.region");
        assert_eq!(field(|_, profile| profile.output = Some("xml".to_owned())), "profiles.output");
    }

    #[test]
    fn two_profiles_of_one_name_are_a_mistake() {
        let mut twice = v1::ConfigureRequest::from(request(|_, _| {}).unwrap());
        twice.profiles.extend(twice.profiles.clone());
        let error = SsoConfig::try_from(twice).unwrap_err();
        assert_eq!(error.to_string(), "profiles.name \"dev\" is not valid: each profile has another name");
    }
}
