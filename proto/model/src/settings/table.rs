//! The rows of the settings table, and how the text of each is read.

use std::path::Path;
use std::time::Duration;

use super::endpoint::{parse_api_endpoint, parse_channel_endpoint};
use super::proxy::{ProxyUrl, parse_no_proxy, parse_proxy};
use super::{Setting, SettingKind};
use crate::key_store::KeyStoreChoice;
use crate::name::{Profile, Region};
use crate::sharing::Sharing;
use crate::sso_config::StartUrl;

/// A number of seconds in a setting.
macro_rules! seconds {
    ($key:literal, $field:ident, $min:literal, $max:literal, $meaning:literal) => {
        Setting {
            key: $key,
            kind: SettingKind::Seconds { min: $min, max: $max },
            meaning: $meaning,
            read: |settings| settings.$field.as_secs().to_string(),
            write: |settings, value| {
                settings.$field = Duration::from_secs(value.parse().map_err(|_| "not a number".to_owned())?);
                Ok(())
            },
        }
    };
}

/// A whole number in a setting.
macro_rules! integer {
    ($key:literal, $field:ident, $min:literal, $max:literal, $meaning:literal) => {
        Setting {
            key: $key,
            kind: SettingKind::Integer { min: $min, max: $max },
            meaning: $meaning,
            read: |settings| settings.$field.to_string(),
            write: |settings, value| {
                settings.$field = value.parse().map_err(|_| "not a number".to_owned())?;
                Ok(())
            },
        }
    };
}

/// Something that is on or off.
macro_rules! switch {
    ($key:literal, $field:ident, $meaning:literal) => {
        Setting {
            key: $key,
            kind: SettingKind::Switch,
            meaning: $meaning,
            read: |settings| settings.$field.to_string(),
            write: |settings, value| {
                settings.$field = value.parse().map_err(|_| "neither true nor false".to_owned())?;
                Ok(())
            },
        }
    };
}

/// Text that may be absent and that a parser may refuse.
macro_rules! text {
    ($key:literal, $field:ident, $parse:expr, $meaning:literal) => {
        Setting {
            key: $key,
            kind: SettingKind::Text,
            meaning: $meaning,
            read: |settings| settings.$field.as_ref().map(ToString::to_string).unwrap_or_default(),
            write: |settings, value| {
                settings.$field = if value.is_empty() { None } else { Some($parse(value)?) };
                Ok(())
            },
        }
    };
}

/// The setting that may hold a password.
pub(super) const PROXY_KEY: &str = "network.proxy";

/// THE settings table.
pub static SETTINGS: &[Setting] = &[
    seconds!(
        "tunnels.connect_timeout",
        connect_timeout,
        10,
        120,
        "how long one attempt to connect may take, from StartSession to Up"
    ),
    seconds!(
        "tunnels.half_close_grace",
        half_close_grace,
        0,
        3600,
        "how long a connection whose local side finished sending waits for the last remote byte"
    ),
    seconds!(
        "tunnels.stalled_reader_grace",
        stalled_reader_grace,
        5,
        3600,
        "how long a local application may leave more than 16 MiB unread, while other connections are open, before its \
         connection is reset"
    ),
    integer!(
        "tunnels.payload_bytes",
        payload_bytes,
        1024,
        32768,
        "greatest payload of one data message to the agent, in bytes"
    ),
    integer!(
        "tunnels.message_rate",
        message_rate,
        0,
        100_000,
        "data messages sent per second and session; 0 means no limit (the service is known to end sessions above 1000)"
    ),
    integer!(
        "tunnels.max_connections",
        max_connections,
        1,
        4096,
        "local connections open at once per tunnel"
    ),
    integer!(
        "tunnels.max_held_connections",
        max_held_connections,
        0,
        1024,
        "local connections that wait per tunnel while it connects"
    ),
    text!("aws.default_profile", default_profile, parse_profile, "profile of tunnels that name none"),
    text!("aws.default_region", default_region, parse_region, "region of tunnels whose profile names none"),
    text!(
        "aws.endpoint_ec2",
        endpoint_ec2,
        parse_api_endpoint,
        "URL of the EC2 endpoint instead of AWS's own (PrivateLink): https://HOST[:PORT], or http to loopback"
    ),
    text!(
        "aws.endpoint_ecs",
        endpoint_ecs,
        parse_api_endpoint,
        "URL of the ECS endpoint instead of AWS's own (PrivateLink): https://HOST[:PORT], or http to loopback"
    ),
    text!(
        "aws.endpoint_ssm",
        endpoint_ssm,
        parse_api_endpoint,
        "URL of the SSM endpoint instead of AWS's own (PrivateLink): https://HOST[:PORT], or http to loopback"
    ),
    text!(
        "aws.endpoint_ssmmessages",
        endpoint_ssmmessages,
        parse_channel_endpoint,
        "URL of the data-channel endpoint instead of AWS's own (PrivateLink): https://HOST[:PORT] or wss, or http \
         or ws to loopback"
    ),
    text!(
        "aws.endpoint_sso",
        endpoint_sso,
        parse_api_endpoint,
        "URL of the endpoint of the AWS access portal, which gives credentials of roles, instead of AWS's own: \
         https://HOST[:PORT], or http to loopback"
    ),
    text!(
        "aws.endpoint_sso_oidc",
        endpoint_sso_oidc,
        parse_api_endpoint,
        "URL of the endpoint of SSO-OIDC, which signs in and renews tokens, instead of AWS's own: \
         https://HOST[:PORT], or http to loopback"
    ),
    text!(
        "aws.endpoint_sts",
        endpoint_sts,
        parse_api_endpoint,
        "URL of the STS endpoint, which tells whose credentials these are and gives those of roles, instead of AWS's own (PrivateLink): \
         https://HOST[:PORT], or http to loopback"
    ),
    switch!(
        "aws.use_fips",
        use_fips,
        "whether AWS's FIPS endpoints are asked, also where the profile has no use_fips_endpoint"
    ),
    switch!(
        "aws.use_dual_stack",
        use_dual_stack,
        "whether AWS's endpoints with IPv6 are asked, also where the profile has no use_dualstack_endpoint"
    ),
    text!(
        "network.ca_bundle",
        ca_bundle,
        parse_absolute_path,
        "absolute path of a PEM file with certificate authorities to trust beside the system's"
    ),
    Setting {
        key: PROXY_KEY,
        kind: SettingKind::Text,
        meaning: "proxy to AWS instead of that of HTTPS_PROXY or ALL_PROXY: http://[USER[:PASSWORD]@]HOST[:PORT], or https://…; \
                  the password stands in the settings file and is shown nowhere",
        read: |settings| settings.proxy.as_ref().map(ProxyUrl::reveal).unwrap_or_default(),
        write: |settings, value| {
            settings.proxy = if value.is_empty() { None } else { Some(parse_proxy(value)?) };
            Ok(())
        },
    },
    text!(
        "network.no_proxy",
        no_proxy,
        parse_no_proxy,
        "hosts to reach without the proxy, instead of those of NO_PROXY: HOST, .SUFFIX, ADDRESS or NETWORK/BITS, with a :PORT if it \
         counts, separated by commas; * for all"
    ),
    switch!(
        "sso.enabled",
        sso,
        "whether the daemon keeps SSO logins fresh and uses them; without it no profile with SSO has credentials here"
    ),
    text!(
        "sso.start_url",
        sso_start_url,
        parse_start_url,
        "start URL to sign in to where no profile says it, with sso.region: https://d-1234567890.awsapps.com/start"
    ),
    text!(
        "sso.region",
        sso_region,
        parse_region,
        "region of the IAM Identity Center instance of sso.start_url, and of profiles that have a start URL and no sso_region"
    ),
    switch!(
        "sso.auto_refresh",
        sso_auto_refresh,
        "whether tokens are renewed by themselves; else when somebody needs one that is over, or types `stctl sso refresh`"
    ),
    seconds!(
        "sso.refresh_threshold",
        sso_refresh_threshold,
        60,
        3600,
        "how long before its end a token is renewed"
    ),
    seconds!(
        "sso.check_interval",
        sso_check_interval,
        10,
        3600,
        "how often the clock and the token files of the AWS CLI are looked at; changes of the files are noticed at once as well"
    ),
    switch!(
        "sso.early_renewal",
        sso_early_renewal,
        "whether tokens that are shared with the AWS CLI are renewed ahead of it: 20 minutes before their end, or a third of their \
         lifetime, if that is less"
    ),
    Setting {
        key: "sso.share_with_aws_cli",
        kind: SettingKind::Choice(Sharing::NAMES),
        meaning: "what the AWS CLI and the SDKs get in ~/.aws/sso/cache: the login and what renews it, the access token alone, or \
                  nothing, and then nothing is taken from there either",
        read: |settings| settings.sso_sharing.to_string(),
        write: |settings, value| {
            settings.sso_sharing =
                value.parse().map_err(|error: crate::name::InvalidName| error.rule.to_owned())?;
            Ok(())
        },
    },
    Setting {
        key: "sso.key_store",
        kind: SettingKind::Choice(KeyStoreChoice::NAMES),
        meaning: "where SSO tokens are kept, from the next start of the daemon on: the Keychain of macOS, the Secret Service of a Linux \
                  desktop, files, or memory, which ends with the daemon; auto takes the system's own, or files where there is none",
        read: |settings| settings.key_store.to_string(),
        write: |settings, value| {
            settings.key_store =
                value.parse().map_err(|error: crate::name::InvalidName| error.rule.to_owned())?;
            Ok(())
        },
    },
    switch!(
        "notifications.enabled",
        notifications,
        "whether the desktop shows what needs a person; events tell of it in any case"
    ),
    switch!(
        "notifications.sign_in",
        notify_sign_in,
        "whether the desktop shows that running tunnels need an SSO login, or will soon"
    ),
    switch!(
        "notifications.tunnels",
        notify_tunnels,
        "whether the desktop shows that tunnels are blocked until a person mends something"
    ),
    Setting {
        key: "log.filter",
        kind: SettingKind::Text,
        meaning: "what is logged, as tracing directives such as \"info,stormtunnel_engine=debug\" or, for one tunnel, \
                  \"info,[{tunnel=db}]=debug\"",
        read: |settings| settings.log_filter.clone(),
        write: |settings, value| {
            value.clone_into(&mut settings.log_filter);
            Ok(())
        },
    },
    switch!(
        "log.json",
        log_json,
        "whether each line of the log is a JSON object, from the next start of the daemon on; without it, a service of systemd \
         writes fields of the journal"
    ),
];

fn parse_profile(value: &str) -> Result<Profile, String> {
    value.parse().map_err(|error: crate::name::InvalidName| error.rule.to_owned())
}

fn parse_start_url(value: &str) -> Result<StartUrl, String> {
    value.parse().map_err(|error: crate::name::InvalidName| error.rule.to_owned())
}

fn parse_region(value: &str) -> Result<Region, String> {
    value.parse().map_err(|error: crate::name::InvalidName| error.rule.to_owned())
}

/// The daemon has a working directory of its own, and no shell that would expand `~`.
fn parse_absolute_path(value: &str) -> Result<String, String> {
    if Path::new(value).is_absolute() {
        Ok(value.to_owned())
    } else {
        Err("write an absolute path, one that begins with / (~ is not expanded)".to_owned())
    }
}
