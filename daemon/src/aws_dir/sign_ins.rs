//! Which sign-ins the AWS files configure, as the engine takes them.

use stormtunnel_aws_files::{Credentials, Profile, ProfileSet, SignIn, Source, SsoRole, normalized};
use stormtunnel_engine::sign_in::directory::{ConfiguredSignIn, ConfiguredSignIns};
use stormtunnel_engine::sign_in::ports::SignInSite;
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{Profile as ProfileName, SignInName, SignInProfile};

/// The sign-ins that can be used, each with its profiles. A profile whose chain of roles begins at one is of it. The settings may
/// name one more, and may switch all of them off.
pub fn configured_sign_ins(set: &ProfileSet, settings: &Settings) -> ConfiguredSignIns {
    if !settings.sso {
        return ConfiguredSignIns::new();
    }
    let usable = set.sign_ins().filter_map(|(name, sign_in)| Some((name, sign_in.as_ref().ok()?)));
    let mut sign_ins: ConfiguredSignIns =
        usable.map(|(name, sign_in)| (name.clone(), configured(name, sign_in, set))).collect();
    if let Some(site) = of_settings(settings) {
        let same = |one: &ConfiguredSignIn| normalized(&one.site.start_url) == normalized(&site.start_url);
        if !sign_ins.values().any(same) {
            sign_ins.insert(site.name.clone(), ConfiguredSignIn { site, profiles: Vec::new() });
        }
    }
    sign_ins
}

fn of_settings(settings: &Settings) -> Option<SignInSite> {
    let (start_url, region) = settings.sso_start_url.as_ref().zip(settings.sso_region.clone())?;
    let start_url = start_url.to_string();
    Some(SignInSite { name: start_url.parse().ok()?, start_url, region, scopes: Vec::new() })
}

fn configured(name: &SignInName, sign_in: &SignIn, set: &ProfileSet) -> ConfiguredSignIn {
    let SignIn { start_url, region, scopes, .. } = sign_in.clone();
    let site = SignInSite { name: name.clone(), start_url, region, scopes };
    let uses = set.profiles().filter(|(_, profile)| profile.sign_in.as_ref() == Some(name));
    ConfiguredSignIn { site, profiles: uses.map(|(name, profile)| shown(name, profile)).collect() }
}

fn shown(name: &ProfileName, profile: &Profile) -> SignInProfile {
    let role = match &profile.credentials {
        Ok(Credentials { source: Source::Sso(SsoRole { account, role, .. }), .. }) => Some((account, role)),
        Ok(_) | Err(_) => None,
    };
    SignInProfile {
        profile: name.clone(),
        account: role.map(|(account, _)| account.clone()),
        role: role.map(|(_, role)| role.clone()),
    }
}

#[cfg(test)]
mod tests {
    use stormtunnel_aws_files::ProfileFile;

    use super::*;

    const CONFIG: &str = "\
[sso-session corp]
sso_start_url = https://corp.awsapps.com/start
sso_region = eu-west-1
sso_registration_scopes = sso:account:access
[sso-session broken]
sso_start_url = https://broken.awsapps.com/start
[profile dev]
sso_session = corp
sso_account_id = 111122223333
sso_role_name = Dev
[profile admin]
role_arn = arn:aws:iam::222222222222:role/Admin
source_profile = dev
[profile token]
sso_session = corp
[profile legacy]
sso_start_url = https://old.awsapps.com/start/#
sso_region = us-east-1
sso_account_id = 111122223333
sso_role_name = Old
[profile keys]
aws_access_key_id = a
aws_secret_access_key = b
";

    fn set() -> ProfileSet {
        let file = |text: &str| ProfileFile::new("config", text.as_bytes().to_vec());
        ProfileSet::parse(&file(CONFIG), &file(""), None)
    }

    #[test]
    fn each_sign_in_comes_with_the_profiles_that_live_on_it() {
        let sign_ins = configured_sign_ins(&set(), &Settings::default());
        let shown: Vec<_> = sign_ins
            .values()
            .map(|ConfiguredSignIn { site, profiles }| {
                let profile =
                    |one: &SignInProfile| format!("{} {}", one.profile, one.role.as_deref().unwrap_or("-"));
                let profiles: Vec<_> = profiles.iter().map(profile).collect();
                (site.name.as_str(), site.region.as_str(), site.scopes.len(), profiles.join(", "))
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("corp", "eu-west-1", 1, "admin Dev, dev Dev, token -".to_owned()),
                ("https://old.awsapps.com/start/#", "us-east-1", 0, "legacy Old".to_owned()),
            ]
        );
    }

    #[test]
    fn the_settings_add_one_or_switch_all_off() {
        let names = |settings: &Settings| -> Vec<String> {
            configured_sign_ins(&set(), settings).into_keys().map(Into::into).collect()
        };
        let at = |url: &str| Settings {
            sso_start_url: Some(url.parse().unwrap()),
            sso_region: Some("eu-west-1".parse().unwrap()),
            ..Settings::default()
        };
        let others = ["corp", "https://old.awsapps.com/start/#"];
        assert_eq!(
            names(&at("https://new.awsapps.com/start")),
            [others[0], "https://new.awsapps.com/start", others[1]]
        );
        assert_eq!(names(&at("https://corp.awsapps.com/start/#")), others, "a session leads there");
        let without_region = Settings { sso_region: None, ..at("https://new.awsapps.com/start") };
        assert_eq!(names(&without_region), others);
        assert_eq!(names(&Settings { sso: false, ..Settings::default() }), [""; 0]);
    }
}
