//! Settings: one table with key, kind, default, range and meaning of each; one typed struct that the daemon reads.
//!
//! Values travel as text (in the settings file, over the API and on the command line) and are parsed here, once.

mod endpoint;
mod proxy;
mod table;

use std::time::Duration;

use thiserror::Error;

use crate::key_store::KeyStoreChoice;
use crate::name::{Profile, Region};
use crate::sharing::Sharing;
use crate::sso_config::StartUrl;

pub use endpoint::ENDPOINT_RULE;
pub use proxy::{NoProxy, PROXY_RULE, ProxyUrl};
pub use table::SETTINGS;

/// All settings, with their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `tunnels.connect_timeout`
    pub connect_timeout: Duration,
    /// `tunnels.half_close_grace`
    pub half_close_grace: Duration,
    /// `tunnels.stalled_reader_grace`
    pub stalled_reader_grace: Duration,
    /// `tunnels.payload_bytes`
    pub payload_bytes: u32,
    /// `tunnels.message_rate`; zero means no limit.
    pub message_rate: u32,
    /// `tunnels.max_connections`
    pub max_connections: u32,
    /// `tunnels.max_held_connections`
    pub max_held_connections: u32,
    /// `aws.default_profile`
    pub default_profile: Option<Profile>,
    /// `aws.default_region`
    pub default_region: Option<Region>,
    /// `aws.endpoint_ec2`
    pub endpoint_ec2: Option<String>,
    /// `aws.endpoint_ecs`
    pub endpoint_ecs: Option<String>,
    /// `aws.endpoint_ssm`
    pub endpoint_ssm: Option<String>,
    /// `aws.endpoint_ssmmessages`
    pub endpoint_ssmmessages: Option<String>,
    /// `aws.endpoint_sso`
    pub endpoint_sso: Option<String>,
    /// `aws.endpoint_sso_oidc`
    pub endpoint_sso_oidc: Option<String>,
    /// `aws.endpoint_sts`
    pub endpoint_sts: Option<String>,
    /// `aws.use_fips`
    pub use_fips: bool,
    /// `aws.use_dual_stack`
    pub use_dual_stack: bool,
    /// `network.ca_bundle`
    pub ca_bundle: Option<String>,
    /// `network.proxy`
    pub proxy: Option<ProxyUrl>,
    /// `network.no_proxy`
    pub no_proxy: Option<NoProxy>,
    /// `sso.enabled`
    pub sso: bool,
    /// `sso.start_url`
    pub sso_start_url: Option<StartUrl>,
    /// `sso.region`
    pub sso_region: Option<Region>,
    /// `sso.auto_refresh`
    pub sso_auto_refresh: bool,
    /// `sso.refresh_threshold`
    pub sso_refresh_threshold: Duration,
    /// `sso.check_interval`
    pub sso_check_interval: Duration,
    /// `sso.early_renewal`
    pub sso_early_renewal: bool,
    /// `sso.share_with_aws_cli`
    pub sso_sharing: Sharing,
    /// `sso.key_store`; read at the start only.
    pub key_store: KeyStoreChoice,
    /// `notifications.enabled`
    pub notifications: bool,
    /// `notifications.sign_in`
    pub notify_sign_in: bool,
    /// `notifications.tunnels`
    pub notify_tunnels: bool,
    /// `log.filter`
    pub log_filter: String,
    /// `log.json`; read at the start only.
    pub log_json: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(30),
            half_close_grace: Duration::from_secs(30),
            stalled_reader_grace: Duration::from_secs(30),
            payload_bytes: 16_384,
            message_rate: 900,
            max_connections: 256,
            max_held_connections: 32,
            default_profile: None,
            default_region: None,
            endpoint_ec2: None,
            endpoint_ecs: None,
            endpoint_ssm: None,
            endpoint_ssmmessages: None,
            endpoint_sso: None,
            endpoint_sso_oidc: None,
            endpoint_sts: None,
            use_fips: false,
            use_dual_stack: false,
            ca_bundle: None,
            proxy: None,
            no_proxy: None,
            sso: true,
            sso_start_url: None,
            sso_region: None,
            sso_auto_refresh: true,
            sso_refresh_threshold: Duration::from_secs(300),
            sso_check_interval: Duration::from_secs(60),
            sso_early_renewal: true,
            sso_sharing: Sharing::default(),
            key_store: KeyStoreChoice::default(),
            notifications: true,
            notify_sign_in: true,
            notify_tunnels: true,
            log_filter: "info".to_owned(),
            log_json: false,
        }
    }
}

/// One row of the settings table.
#[derive(Debug)]
pub struct Setting {
    /// Section and name, such as `tunnels.connect_timeout`.
    pub key: &'static str,
    /// What values look like.
    pub kind: SettingKind,
    /// What it is for, in one sentence.
    pub meaning: &'static str,
    read: fn(&Settings) -> String,
    write: fn(&mut Settings, &str) -> Result<(), String>,
}

/// What the values of a setting look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// Whole seconds from `min` to `max`.
    Seconds {
        /// Least value.
        min: u32,
        /// Greatest value.
        max: u32,
    },
    /// A whole number from `min` to `max`.
    Integer {
        /// Least value.
        min: u32,
        /// Greatest value.
        max: u32,
    },
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Text; empty means not set.
    Text,
}

/// A settings key or value that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingError {
    /// No setting has that key.
    #[error("there is no setting \"{key}\"; `stctl settings get` lists all")]
    UnknownKey {
        /// The key asked for.
        key: String,
    },
    /// The value is out of range or cannot be parsed.
    #[error("{key} = \"{value}\" cannot be taken: {rule}")]
    InvalidValue {
        /// The setting.
        key: &'static str,
        /// What was written, without a password.
        value: String,
        /// What is accepted.
        rule: String,
    },
}

impl Setting {
    /// The setting with that key.
    ///
    /// # Errors
    /// [`SettingError::UnknownKey`].
    pub fn by_key(key: &str) -> Result<&'static Self, SettingError> {
        let unknown = || SettingError::UnknownKey { key: key.to_owned() };
        SETTINGS.iter().find(|setting| setting.key == key).ok_or_else(unknown)
    }

    /// The value in `settings`, as text that [`Setting::assign`] takes: for the settings file. A password may be in it.
    pub fn value(&self, settings: &Settings) -> String {
        (self.read)(settings)
    }

    /// The value in `settings`, as it may be shown: without a password.
    pub fn shown(&self, settings: &Settings) -> String {
        self.without_password(&self.value(settings))
    }

    fn without_password(&self, value: &str) -> String {
        if self.key == table::PROXY_KEY { proxy::hidden(value) } else { value.to_owned() }
    }

    /// The default, as text.
    pub fn default_value(&self) -> String {
        self.value(&Settings::default())
    }

    /// Puts a value into `settings`, which stay as they were when it cannot be taken.
    ///
    /// # Errors
    /// [`SettingError::InvalidValue`] with the accepted range.
    pub fn assign(&self, settings: &mut Settings, value: &str) -> Result<(), SettingError> {
        let invalid =
            |rule| SettingError::InvalidValue { key: self.key, value: self.without_password(value), rule };
        let in_range = match self.kind {
            SettingKind::Seconds { min, max } | SettingKind::Integer { min, max } => {
                value.parse().is_ok_and(|number: u32| (min..=max).contains(&number))
            }
            SettingKind::Switch => value.parse::<bool>().is_ok(),
            SettingKind::Choice(words) => words.contains(&value),
            SettingKind::Text => true,
        };
        if !in_range {
            return Err(invalid(self.range()));
        }
        (self.write)(settings, value).map_err(invalid)
    }

    /// What is accepted, in words.
    pub fn range(&self) -> String {
        match self.kind {
            SettingKind::Seconds { min, max } => format!("whole seconds from {min} to {max}"),
            SettingKind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            SettingKind::Switch => "true or false".to_owned(),
            SettingKind::Choice(words) => format!("one of {}", words.join(", ")),
            SettingKind::Text => "text; empty means not set".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_inside_its_own_range() {
        for setting in SETTINGS {
            let mut settings = Settings::default();
            let default = setting.default_value();
            assert_eq!(setting.assign(&mut settings, &default), Ok(()), "{}", setting.key);
            assert_eq!(settings, Settings::default(), "{}", setting.key);
        }
    }

    #[test]
    fn numbers_are_refused_just_outside_their_range() {
        for setting in SETTINGS {
            let (SettingKind::Seconds { min, max } | SettingKind::Integer { min, max }) = setting.kind else {
                continue;
            };
            let mut settings = Settings::default();
            assert!(setting.assign(&mut settings, &min.to_string()).is_ok());
            assert!(setting.assign(&mut settings, &max.to_string()).is_ok());
            let before = settings.clone();
            for outside in [u64::from(max) + 1, u64::from(min).wrapping_sub(1)] {
                assert!(
                    setting.assign(&mut settings, &outside.to_string()).is_err(),
                    "{} {outside}",
                    setting.key
                );
            }
            assert!(setting.assign(&mut settings, "ten").is_err());
            assert_eq!(settings, before, "a refused value changes nothing");
        }
    }

    #[test]
    fn a_switch_is_true_or_false() {
        let setting = Setting::by_key("notifications.sign_in").unwrap();
        let mut settings = Settings::default();
        assert_eq!(setting.assign(&mut settings, "false"), Ok(()));
        assert_eq!((settings.notify_sign_in, setting.value(&settings).as_str()), (false, "false"));
        for bad in ["", "no", "0", "True"] {
            let error = setting.assign(&mut settings, bad).expect_err(bad).to_string();
            assert!(error.ends_with("true or false"), "{error}");
        }
        assert!(!settings.notify_sign_in, "a refused value changes nothing");
    }

    #[test]
    fn a_choice_is_one_of_its_words() {
        let setting = Setting::by_key("sso.key_store").unwrap();
        let mut settings = Settings::default();
        for word in KeyStoreChoice::NAMES {
            assert_eq!(setting.assign(&mut settings, word), Ok(()));
            assert_eq!(setting.value(&settings), *word);
        }
        for bad in ["", "Auto", "keyring", "auto "] {
            let error = setting.assign(&mut settings, bad).expect_err(bad).to_string();
            assert!(error.ends_with("one of auto, keychain, secret-service, file, memory"), "{error}");
        }
        assert_eq!(settings.key_store, KeyStoreChoice::Memory, "a refused value changes nothing");
    }

    #[test]
    fn a_ca_bundle_is_found_from_any_directory() {
        let setting = Setting::by_key("network.ca_bundle").unwrap();
        let mut settings = Settings::default();
        assert_eq!(setting.assign(&mut settings, "/etc/ssl/corp.pem"), Ok(()));
        for bad in ["corp.pem", "./corp.pem", "~/corp.pem"] {
            let error = setting.assign(&mut settings, bad).expect_err(bad).to_string();
            assert!(error.contains("absolute path"), "{error}");
        }
        assert_eq!(settings.ca_bundle.as_deref(), Some("/etc/ssl/corp.pem"));
        assert_eq!(setting.assign(&mut settings, ""), Ok(()));
        assert!(setting.meaning.contains("absolute path"), "{}", setting.meaning);
    }

    #[test]
    fn an_unknown_key_says_how_to_list_the_known_ones() {
        let error = Setting::by_key("tunnels.speed").map(|setting| setting.key);
        assert_eq!(error, Err(SettingError::UnknownKey { key: "tunnels.speed".to_owned() }));
    }
}
