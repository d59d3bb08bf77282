//! The daemon's own environment: what the machine and the session say, never what one terminal says.
//!
//! The daemon outlives the terminal that started it. A profile, keys or a region that happened to be set there would
//! decide what all later tunnels do. The AWS SDK reads the process environment, so the only honest cure is to run with
//! another one: [`enter_clean`] replaces the process before any thread exists.
//!
//! On a headless host and in a container it is the other way round: there the variables are what the machine has, and nobody
//! else is there to have them. [`AwsVariables::Kept`] is for those, and has to be asked for.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Variables that are kept. A trailing `*` stands for any rest.
const KEPT: &[&str] = &[
    // Who and where.
    "HOME",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_*",
    "__CF_USER_TEXT_ENCODING",
    // Language.
    "LANG",
    "LANGUAGE",
    "LC_*",
    // A browser for sign-ins needs the display; the key store needs D-Bus.
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    // The way out of the network.
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "all_proxy",
    "https_proxy",
    "http_proxy",
    "no_proxy",
    "AWS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    // Where AWS and its files are: facts of the machine. Profile, keys, region and tokens are not.
    "AWS_CONFIG_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_ENDPOINT_URL*",
    "AWS_LOGIN_CACHE_DIRECTORY",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
    // The service manager's.
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_*",
    "NOTIFY_SOCKET",
    "WATCHDOG_*",
    // Ours, and the switch of Rust programs for traces in crash reports.
    "RUST_BACKTRACE",
    "STORMTUNNEL_*",
];

/// Variables with credentials, profile and region, which are kept on request alone. The trailing `*` as above.
const OF_AWS: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_CONTAINER_*",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_EC2_METADATA_*",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
];

/// Variables that hold a path. The daemon leaves the directory that a relative one is relative to.
const PATHS: &[&str] = &[
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_LOGIN_CACHE_DIRECTORY",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];

/// What becomes of the variables with credentials, profile and region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsVariables {
    /// They are some terminal's, and the daemon outlives it.
    Dropped,
    /// They are the machine's.
    Kept,
}

/// Goes on in a clean environment: returns when it is clean, else replaces this process by the same program with the
/// same arguments. Call it while there is one thread.
///
/// # Errors
/// The program cannot be found or executed again.
pub fn enter_clean(aws: AwsVariables) -> io::Result<()> {
    let present: Vec<_> = std::env::vars_os().collect();
    let clean = cleaned(present.iter().cloned(), aws);
    if clean == present {
        return Ok(());
    }
    let arguments = std::env::args_os().skip(1);
    Err(same_program()?.args(arguments).env_clear().envs(clean).exec())
}

/// This program once more, under the name that it was started by: that may be a link, which an upgrade turns, and it tells whether
/// there was one ([`crate::program`]).
///
/// # Errors
/// The program cannot be found.
pub(crate) fn same_program() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    Ok(command)
}

/// The variables that the daemon may see.
pub fn cleaned(
    variables: impl Iterator<Item = (OsString, OsString)>,
    aws: AwsVariables,
) -> Vec<(OsString, OsString)> {
    variables
        .filter(|(name, _)| is_one_of(KEPT, name) || (aws == AwsVariables::Kept && is_one_of(OF_AWS, name)))
        .map(|(name, value)| (name.clone(), absolute(&name, value)))
        .collect()
}

fn is_one_of(list: &[&str], name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    list.iter().any(|known| known.strip_suffix('*').map_or(name == *known, |start| name.starts_with(start)))
}

fn absolute(name: &OsStr, value: OsString) -> OsString {
    let holds_path = PATHS.iter().any(|path| name == *path) && !value.is_empty();
    if !holds_path || Path::new(&value).starts_with("~") {
        return value;
    }
    std::path::absolute(&value).map_or(value, OsString::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(present: &[(&str, &str)]) -> Vec<(String, String)> {
        names_with(AwsVariables::Dropped, present)
    }

    fn names_with(aws: AwsVariables, present: &[(&str, &str)]) -> Vec<(String, String)> {
        let present = present.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let text = |text: OsString| text.into_string().unwrap();
        cleaned(present, aws).into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn nothing_of_the_first_terminal_gets_in() {
        let leaks = [
            "AWS_PROFILE",
            "AWS_DEFAULT_PROFILE",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
            "AWS_ROLE_ARN",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "LD_PRELOAD",
            "PS1",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN",
            "SSH_TTY",
            "HOMEBREW_PREFIX",
        ];
        for leak in leaks {
            assert_eq!(names(&[(leak, "x")]), [], "{leak}");
        }
    }

    #[test]
    fn credentials_of_the_machine_stay_where_they_are_asked_for() {
        let asked_for = [
            "AWS_ACCESS_KEY_ID",
            "AWS_SESSION_TOKEN",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN",
            "AWS_ROLE_ARN",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            "AWS_PROFILE",
            "AWS_REGION",
        ];
        for kept in asked_for {
            let expected = [(kept.to_owned(), "x".to_owned())];
            assert_eq!(names_with(AwsVariables::Kept, &[(kept, "x")]), expected, "{kept}");
            assert_eq!(names(&[(kept, "x")]), [], "{kept}");
        }
        for leak in ["LD_PRELOAD", "SSH_TTY", "AWS_DEFAULT_PROFILE"] {
            assert_eq!(names_with(AwsVariables::Kept, &[(leak, "x")]), [], "{leak}");
        }
    }

    #[test]
    fn facts_of_the_machine_stay() {
        for kept in [
            "HOME",
            "XDG_RUNTIME_DIR",
            "LC_ALL",
            "no_proxy",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "AWS_ENDPOINT_URL_SSM",
            "STORMTUNNEL_SOCKET",
        ] {
            assert_eq!(names(&[(kept, "x")]), [(kept.to_owned(), "x".to_owned())], "{kept}");
        }
    }

    #[test]
    fn a_clean_environment_is_left_as_it_is() {
        let clean =
            [("PATH", "/bin"), ("AWS_CONFIG_FILE", "/etc/aws"), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/c")];
        let expected = clean.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(names(&clean), expected);
    }

    #[test]
    fn a_relative_file_is_found_from_anywhere() {
        let here =
            std::env::current_dir().unwrap().join("aws/config").into_os_string().into_string().unwrap();
        for name in ["AWS_CONFIG_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"] {
            let found = names_with(AwsVariables::Kept, &[(name, "aws/config")]);
            assert_eq!(found, [(name.to_owned(), here.clone())]);
        }
    }
}
