//! Where the files are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The files that are shared with the AWS CLI and the SDKs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsPaths {
    /// `~/.aws/config`, unless `AWS_CONFIG_FILE` says otherwise.
    pub config: PathBuf,
    /// `~/.aws/credentials`, unless `AWS_SHARED_CREDENTIALS_FILE` says otherwise.
    pub credentials: PathBuf,
    /// `~/.aws/sso/cache`. No variable moves it.
    pub sso_cache: PathBuf,
}

impl AwsPaths {
    /// Those of a home directory, as `var` has the variables. An empty variable is none.
    pub fn new(home: &Path, var: impl Fn(&str) -> Option<OsString>) -> Self {
        let directory = home.join(".aws");
        let file = |name: &str, default: &str| match var(name).filter(|value| !value.is_empty()) {
            Some(value) => expanded(Path::new(&value), home),
            None => directory.join(default),
        };
        Self {
            config: file("AWS_CONFIG_FILE", "config"),
            credentials: file("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            sso_cache: directory.join("sso/cache"),
        }
    }
}

/// The AWS CLI takes `~` in these variables, also where no shell expanded it.
fn expanded(path: &Path, home: &Path) -> PathBuf {
    path.strip_prefix("~").map_or_else(|_| path.to_owned(), |rest| home.join(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(vars: &[(&str, &str)]) -> [String; 3] {
        let found = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into());
        let AwsPaths { config, credentials, sso_cache } = AwsPaths::new(Path::new("/home/me"), found);
        [config, credentials, sso_cache].map(|path| path.display().to_string())
    }

    #[test]
    fn they_lie_in_the_home_directory() {
        let expected = ["/home/me/.aws/config", "/home/me/.aws/credentials", "/home/me/.aws/sso/cache"];
        assert_eq!(paths(&[]), expected);
        assert_eq!(paths(&[("AWS_CONFIG_FILE", "")]), expected);
    }

    #[test]
    fn variables_move_the_files_and_not_the_cache() {
        let vars = [("AWS_CONFIG_FILE", "~/corp/aws"), ("AWS_SHARED_CREDENTIALS_FILE", "/etc/keys")];
        assert_eq!(paths(&vars), ["/home/me/corp/aws", "/etc/keys", "/home/me/.aws/sso/cache"]);
    }

    #[test]
    fn a_home_directory_of_somebody_else_is_not_ours_to_find() {
        assert_eq!(paths(&[("AWS_CONFIG_FILE", "~you/aws")])[0], "~you/aws");
    }
}
