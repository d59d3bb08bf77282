//! Identifiers and counters.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::name::{InvalidName, checked_name};

/// Identifies a tunnel for ever: a UUIDv7, so ids sort by creation time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TunnelId(Uuid);

impl TunnelId {
    /// Builds an id from the time of creation and ten random bytes.
    pub fn new(created_at: Timestamp, random: &[u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(created_at.as_millis(), random).into_uuid())
    }

    /// The id as a UUID.
    pub fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for TunnelId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for TunnelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for TunnelId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}

/// Chosen by a client so that a repeated Create gives the tunnel made then instead of a second one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub String);

/// The id of one Session Manager session, as AWS gave it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SsmSessionId(pub String);

impl fmt::Display for SsmSessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

checked_name! {
    /// Who AWS takes a caller for: an ARN such as `arn:aws:sts::123456789012:assumed-role/Dev/ada`. At most 2048 bytes, as
    /// IAM bounds ARNs, none of them white space or a control character.
    Principal, "principal", check_principal
}

impl Principal {
    /// The number of the account that it belongs to, where the ARN has one.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.as_str().split(':').nth(4).filter(|account| !account.is_empty())
    }

    /// The role that was assumed: its name, or that of the permission set that it was made of.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        let role = self.resource()?.strip_prefix("assumed-role/")?.split('/').next()?;
        let set = role.strip_prefix("AWSReservedSSO_").and_then(|rest| rest.rsplit_once('_'));
        Some(set.map_or(role, |(set, _suffix)| set))
    }

    /// The user, or the session of a role, which is named after its user where IAM Identity Center made it.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.resource()?.rsplit('/').next().filter(|user| !user.is_empty())
    }

    fn resource(&self) -> Option<&str> {
        self.as_str().splitn(6, ':').nth(5)
    }
}

fn check_principal(text: &str) -> Result<(), &'static str> {
    if !text.starts_with("arn:") {
        Err("an ARN begins with \"arn:\"")
    } else if text.len() > 2048 {
        Err("it has more than 2048 bytes")
    } else if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Err("white space and control characters cannot stand in an ARN")
    } else {
        Ok(())
    }
}

/// Generation of a tunnel's work. Answers that carry an older one are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attempt(pub u64);

impl Attempt {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Version of a stored tunnel: changes with every change of its spec or intent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Etag(pub u64);

/// One life of the daemon: random, so that revisions of two lives are never compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// Counts the published changes of one daemon life; lets a watcher resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// The daemon life that counts.
    pub epoch: Epoch,
    /// Number of changes published so far in that life.
    pub counter: u64,
}

/// Wall-clock time in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This time plus `duration`, saturating.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Time that passed since `earlier`; zero when the clock stepped back in between.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<SystemTime> for Timestamp {
    /// Times before 1970 become 1970.
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_an_arn_that_a_terminal_can_show() {
        for arn in
            ["arn:aws:iam::123456789012:user/ada", "arn:aws-cn:sts::1:assumed-role/Dev/ada@corp.example"]
        {
            assert_eq!(arn.parse::<Principal>().map(|principal| principal.to_string()), Ok(arn.to_owned()));
        }
        let ada: Principal = "arn:aws:sts::123456789012:assumed-role/Dev/ada".parse().unwrap();
        assert_eq!(ada.account(), Some("123456789012"));
        assert_eq!("arn:aws".parse::<Principal>().unwrap().account(), None);
        let long = format!("arn:{}", "a".repeat(2045));
        for (arn, role, user) in [
            ("arn:aws:sts::1:assumed-role/Dev/ada", Some("Dev"), Some("ada")),
            (
                "arn:aws:sts::1:assumed-role/AWSReservedSSO_Power_User_0123456789abcdef/ada@x",
                Some("Power_User"),
                Some("ada@x"),
            ),
            ("arn:aws:iam::1:user/team/ada", None, Some("ada")),
            ("arn:aws:iam::1:root", None, Some("root")),
            ("arn:aws", None, None),
        ] {
            let principal: Principal = arn.parse().unwrap();
            assert_eq!((principal.role(), principal.user()), (role, user), "{arn}");
        }
        for bad in ["", "ada", "arn:aws:iam::1:user/a b", "arn:aws:iam::1:user/\u{1b}[31m", &long] {
            assert!(bad.parse::<Principal>().is_err(), "{bad:?} should be refused");
        }
    }
}
