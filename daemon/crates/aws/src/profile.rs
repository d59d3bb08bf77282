//! What has to be known of the AWS profile files before the SDK is asked: which profiles there are, and region and
//! sign-in of each.
//!
//! The reader is tolerant: a line that it does not understand hides nothing else.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use stormtunnel_aws_files::profile_not_found;
use stormtunnel_model::{Fault, FaultKind, Profile};

use crate::environment::AwsEnvironment;

/// Longest chain of `source_profile` that is followed.
const MAX_SOURCES: usize = 8;

/// Both profile files, read at one moment. No `Debug`: one of them holds keys.
pub(crate) struct ProfileFiles {
    config: String,
    credentials: String,
    /// Where they stand.
    files: Vec<PathBuf>,
    profiles: BTreeMap<String, Keys>,
}

/// The keys of one profile that matter here.
#[derive(Default)]
struct Keys {
    region: Option<String>,
    sso_session: Option<String>,
    sso_start_url: Option<String>,
    source_profile: Option<String>,
}

impl ProfileFiles {
    /// Reads the files that the environment names. A file that is not there is empty.
    pub(crate) async fn read(environment: &AwsEnvironment) -> Result<Self, Fault> {
        let config = read_file(environment.config_file()).await?;
        let credentials = read_file(environment.credentials_file()).await?;
        let files = [environment.config_file(), environment.credentials_file()];
        let files = files.into_iter().flatten().map(Path::to_owned).collect();
        Ok(Self { files, ..Self::parse(config, credentials) })
    }

    fn parse(config: String, credentials: String) -> Self {
        let mut profiles = BTreeMap::new();
        collect(&config, config_profile_name, &mut profiles);
        // Second, because a value in the credentials file beats one in the config file.
        collect(&credentials, Some, &mut profiles);
        Self { config, credentials, files: Vec::new(), profiles }
    }

    /// A number that is another one when the files have other contents.
    pub(crate) fn stamp(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.config, &self.credentials).hash(&mut hasher);
        hasher.finish()
    }

    /// The contents as the SDK takes them.
    pub(crate) fn for_sdk(&self) -> EnvConfigFiles {
        EnvConfigFiles::builder()
            .with_contents(EnvConfigFileKind::Config, self.config.as_str())
            .with_contents(EnvConfigFileKind::Credentials, self.credentials.as_str())
            .build()
    }

    /// # Errors
    /// [`FaultKind::ProfileNotFound`], with the files looked in and the nearest names there are.
    pub(crate) fn require(&self, profile: &Profile) -> Result<(), Fault> {
        if self.profiles.contains_key(profile.as_str()) {
            return Ok(());
        }
        let files: Vec<&Path> = self.files.iter().map(PathBuf::as_path).collect();
        Err(profile_not_found(profile, self.profiles.keys().map(String::as_str), &files))
    }

    /// The profile's `region`.
    pub(crate) fn region(&self, profile: &str) -> Option<&str> {
        self.profiles.get(profile)?.region.as_deref()
    }

    /// The profile's sign-in: its own, or that of the profile it takes credentials from.
    pub(crate) fn sign_in(&self, profile: &str) -> Option<&str> {
        let mut name = profile;
        for _ in 0..MAX_SOURCES {
            let keys = self.profiles.get(name)?;
            if let Some(sign_in) = keys.sso_session.as_deref().or(keys.sso_start_url.as_deref()) {
                return Some(sign_in);
            }
            name = keys.source_profile.as_deref()?;
        }
        None
    }
}

async fn read_file(path: Option<&Path>) -> Result<String, Fault> {
    let Some(path) = path else { return Ok(String::new()) };
    match tokio::fs::read(path).await {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => {
            let kind = FaultKind::CredentialsInvalid { profile: String::new() };
            Err(Fault::new(kind, format!("{} cannot be read: {error}", path.display())))
        }
    }
}

/// `[default]`, `[profile NAME]` and `[profile "NAME"]`; other sections of the config file are no profiles.
fn config_profile_name(section: &str) -> Option<&str> {
    if section == "default" {
        return Some(section);
    }
    let name = section.strip_prefix("profile")?;
    let name = name.strip_prefix([' ', '\t'])?.trim();
    Some(name.trim_matches(['"', '\'']))
}

fn collect<'a>(
    text: &'a str,
    profile_name: impl Fn(&'a str) -> Option<&'a str>,
    profiles: &mut BTreeMap<String, Keys>,
) {
    let mut current: Option<&mut Keys> = None;
    for line in text.lines() {
        let content = without_comment(line);
        if let Some(section) = content.trim().strip_prefix('[') {
            let section = section.split(']').next().unwrap_or_default().trim();
            current = profile_name(section).map(|name| profiles.entry(name.to_owned()).or_default());
            continue;
        }
        // An indented line continues a nested setting.
        let nested = line.starts_with([' ', '\t']);
        if let (Some(keys), Some((key, value)), false) =
            (current.as_deref_mut(), content.split_once('='), nested)
        {
            keys.assign(key.trim(), value.trim());
        }
    }
}

/// A comment begins a line, or stands behind white space.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with(['#', ';']) {
        return "";
    }
    let ends = [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| line.find(mark));
    &line[..ends.min().unwrap_or(line.len())]
}

impl Keys {
    fn assign(&mut self, key: &str, value: &str) {
        let slot = match key {
            "region" => &mut self.region,
            "sso_session" => &mut self.sso_session,
            "sso_start_url" => &mut self.sso_start_url,
            "source_profile" => &mut self.source_profile,
            _ => return,
        };
        *slot = Some(value.to_owned()).filter(|value| !value.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "\
[default]
region = eu-central-1
[profile prod]
region=eu-west-1 # Ireland
sso_session = corp
s3 =
  region = us-east-1
this line is garbage
[ profile \"with space\" ]
source_profile = prod
[sso-session corp]
sso_region = us-east-1
[profile legacy]
sso_start_url = https://legacy.awsapps.com/start
; region = nowhere
";

    fn files() -> ProfileFiles {
        ProfileFiles::parse(
            CONFIG.to_owned(),
            "[keys]\naws_access_key_id = AKIA\n[prod]\nregion =\n".to_owned(),
        )
    }

    #[test]
    fn profiles_of_both_files_are_found() {
        let files = files();
        for name in ["default", "prod", "with space", "legacy", "keys"] {
            assert_eq!(files.require(&name.parse().unwrap()), Ok(()), "{name}");
        }
        assert_eq!(files.region("default"), Some("eu-central-1"));
        assert_eq!(files.region("legacy"), None, "a comment sets nothing");
        assert_eq!(files.region("keys"), None);
    }

    #[test]
    fn the_credentials_file_beats_the_config_file_and_nested_keys_count_for_nothing() {
        assert_eq!(files().region("prod"), None, "set to nothing by the credentials file");
        let config_only = ProfileFiles::parse(CONFIG.to_owned(), String::new());
        assert_eq!(config_only.region("prod"), Some("eu-west-1"));
    }

    #[test]
    fn a_missing_profile_comes_with_the_nearest_names() {
        let fault = files().require(&"prd".parse().unwrap()).unwrap_err();
        assert_eq!(fault.kind, FaultKind::ProfileNotFound { profile: "prd".to_owned() });
        assert_eq!(fault.detail, "did you mean prod?");
    }

    #[test]
    fn a_sign_in_is_found_through_source_profiles() {
        let files = files();
        assert_eq!(files.sign_in("with space"), Some("corp"));
        assert_eq!(files.sign_in("legacy"), Some("https://legacy.awsapps.com/start"));
        assert_eq!(files.sign_in("keys"), None);
        let circle = ProfileFiles::parse("[profile a]\nsource_profile=a\n".to_owned(), String::new());
        assert_eq!(circle.sign_in("a"), None);
    }

    #[test]
    fn the_stamp_follows_the_contents() {
        let other = ProfileFiles::parse(CONFIG.replace("eu-west-1", "eu-west-2"), String::new());
        let same = ProfileFiles::parse(CONFIG.replace("eu-west-1", "eu-west-2"), String::new());
        assert_eq!(other.stamp(), same.stamp());
        assert_ne!(other.stamp(), files().stamp());
    }
}
