//! The profile that is meant, and what is said of one that there is not.

use std::path::{Path, PathBuf};

use stormtunnel_aws_files::{
    Credentials, Endpoints, Profile as FileProfile, ProfileSet, Source, profile_not_found,
};
use stormtunnel_engine::ports::AwsScope;
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{Fault, FaultKind, Profile, Region};

use crate::classify::Subject;
use crate::environment::AwsEnvironment;

/// What credentials and region are taken from.
pub(crate) struct Chosen {
    /// As somebody named it; none where nobody did.
    pub(crate) name: Option<Profile>,
    /// What it says.
    pub(crate) profile: FileProfile,
}

impl Chosen {
    /// The profile of that name; where nobody names one, what the environment and the machine have, as the AWS CLI looks for it:
    /// keys, the profile `default`, a web identity, a container's credentials, an instance's.
    pub(crate) fn find(
        name: Option<&Profile>,
        profiles: &ProfileSet,
        environment: &AwsEnvironment,
    ) -> Option<Self> {
        if let Some(name) = name {
            let profile = profiles.profile(name)?.clone();
            return Some(Self { name: Some(name.clone()), profile });
        }
        let usual: Profile = environment.chain_profile().parse().ok()?;
        let profile = profiles.profile(&usual).filter(|_| !environment.has_keys()).cloned();
        if profile.is_none() && environment.names_profile() && !environment.has_keys() {
            return None;
        }
        let profile = profile.unwrap_or_else(|| nameless(usual, environment));
        Some(Self { name: None, profile })
    }

    /// The tunnel's region, else the profile's, else the setting, else the environment's.
    pub(crate) fn region(
        &self,
        scope: &AwsScope,
        settings: &Settings,
        environment: &AwsEnvironment,
    ) -> Result<Region, Fault> {
        let known = [&scope.region, &self.profile.region, &settings.default_region];
        if let Some(region) = known.into_iter().flatten().next() {
            return Ok(region.clone());
        }
        let invalid = |detail| Fault::new(FaultKind::InvalidArgument { field: "region".to_owned() }, detail);
        let profile = self.name.as_ref().map_or_else(|| environment.chain_profile(), Profile::as_str);
        let region = environment.region().ok_or_else(|| {
            invalid(format!(
                "no region is set; type `stctl tunnel edit NAME --region REGION`, or \
                 `stctl settings set aws.default_region REGION`, or `aws configure set region REGION --profile {profile}`"
            ))
        })?;
        region.parse().map_err(|error| invalid(format!("AWS_REGION: {error}")))
    }

    pub(crate) fn subject(&self, region: &Region) -> Subject {
        Subject {
            profile: self.name.as_ref().map(ToString::to_string).unwrap_or_default(),
            region: region.clone(),
        }
    }
}

/// What there is where no file has a profile.
fn nameless(holder: Profile, environment: &AwsEnvironment) -> FileProfile {
    let source = if environment.has_keys() {
        Source::Environment
    } else if let Some(identity) = environment.web_identity() {
        Source::WebIdentity(identity.clone())
    } else {
        Source::Ambient
    };
    FileProfile {
        region: None,
        credentials: Ok(Credentials { holder, source, roles: Vec::new() }),
        sign_in: None,
        endpoints: Endpoints::default(),
    }
}

/// Names the nearest profiles there are, and where they were looked for.
pub(crate) fn not_found(
    name: Option<&Profile>,
    environment: &AwsEnvironment,
    profiles: &ProfileSet,
    files: &[PathBuf],
) -> Fault {
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let names = profiles.profiles().map(|(name, _)| name.as_str());
    match name.cloned().or_else(|| environment.chain_profile().parse().ok()) {
        Some(name) => profile_not_found(&name, names, &files),
        None => Fault::internal("AWS_PROFILE cannot be the name of a profile"),
    }
}

#[cfg(test)]
mod tests {
    use stormtunnel_aws_files::ProfileFile;

    use super::*;

    const CONFIG: &str = "[default]\nregion = eu-central-1\n[profile prod]\nregion = eu-west-1\n[profile keys]\n\
                          [profile legacy]\n[profile \"with space\"]\n";

    fn set(config: &str) -> ProfileSet {
        let file = |text: &str| ProfileFile::new("config", text.as_bytes().to_vec());
        ProfileSet::parse(&file(config), &file(""), None)
    }

    fn environment(vars: &[(&str, &str)]) -> AwsEnvironment {
        let find =
            |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        AwsEnvironment::from_vars(find)
    }

    #[test]
    fn who_names_no_profile_gets_what_the_aws_cli_would_find() {
        let found = |vars: &[(&str, &str)], config: &str| {
            let chosen = Chosen::find(None, &set(config), &environment(vars)).unwrap();
            assert_eq!(chosen.name, None);
            let Ok(credentials) = chosen.profile.credentials else { panic!("there are credentials") };
            (credentials.source.kind().name(), chosen.profile.region.map(|region| region.to_string()))
        };
        let default = "[default]\nregion = eu-central-1\naws_access_key_id = a\naws_secret_access_key = b\n";
        let keys = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "x")];
        let identity = [("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", "arn")];
        assert_eq!(found(&[], default), ("static", Some("eu-central-1".to_owned())));
        assert_eq!(found(&keys, default), ("environment", None));
        assert_eq!(found(&identity, default).0, "static");
        assert_eq!(found(&identity, "").0, "web-identity");
        assert_eq!(found(&[], "").0, "ambient");
        let wrong = environment(&[("AWS_PROFILE", "other")]);
        assert!(
            Chosen::find(None, &set(default), &wrong).is_none(),
            "a typing error is not the machine's role"
        );
    }

    #[test]
    fn a_profile_that_is_named_beats_the_keys_of_the_environment() {
        let keys = environment(&[("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "x")]);
        let prod: Profile = "prod".parse().unwrap();
        let chosen = Chosen::find(Some(&prod), &set(CONFIG), &keys).unwrap();
        assert_eq!(chosen.profile.region.as_ref().map(Region::as_str), Some("eu-west-1"));
        assert!(Chosen::find(Some(&"prd".parse().unwrap()), &set(CONFIG), &keys).is_none());
    }

    #[test]
    fn the_region_comes_from_whoever_is_nearest() {
        let set = set(CONFIG);
        let region = |profile: &str, scope: Option<&str>, setting: Option<&str>, vars: &[(&str, &str)]| {
            let environment = environment(vars);
            let chosen = Chosen::find(Some(&profile.parse().unwrap()), &set, &environment).unwrap();
            let parsed = |text: Option<&str>| text.map(|text| text.parse().unwrap());
            let settings = Settings { default_region: parsed(setting), ..Settings::default() };
            let scope = AwsScope { profile: None, region: parsed(scope) };
            chosen.region(&scope, &settings, &environment).map(|region| region.to_string())
        };
        let variable = [("AWS_REGION", "ap-south-1")];
        let all = |profile| region(profile, None, Some("us-east-1"), &variable);
        assert_eq!(region("prod", Some("us-west-2"), None, &variable).as_deref(), Ok("us-west-2"));
        assert_eq!(all("prod").as_deref(), Ok("eu-west-1"));
        assert_eq!(all("keys").as_deref(), Ok("us-east-1"));
        assert_eq!(region("keys", None, None, &variable).as_deref(), Ok("ap-south-1"));
        let fault = region("keys", None, None, &[]).unwrap_err();
        assert!(fault.detail.contains("aws configure set region REGION --profile keys"), "{fault}");
        let fault = region("keys", None, None, &[("AWS_REGION", "Ireland")]).unwrap_err();
        assert!(fault.detail.starts_with("AWS_REGION: "), "{fault}");
    }
}
