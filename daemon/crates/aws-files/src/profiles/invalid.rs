//! Why a profile or a sign-in is of no use.

use std::fmt;

use thiserror::Error;

use crate::problem::Place;

/// What makes a profile or a sign-in invalid, and where. Two are equal when they say the same, wherever the line has
/// moved to.
#[derive(Clone, Debug)]
pub struct Invalid {
    /// Where: the key's line, or that of the section which lacks it.
    pub place: Place,
    /// The key.
    pub key: &'static str,
    /// What is wrong with it.
    pub kind: InvalidKind,
}

/// What is wrong with a key. Names are quoted, other values are not.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidKind {
    /// It is needed beside what is there.
    #[error("is missing")]
    Missing,
    /// It is there and has no value.
    #[error("is empty")]
    Empty,
    /// Its value cannot be right.
    #[error("is not valid: {rule}")]
    Malformed {
        /// What would be right.
        rule: &'static str,
    },
    /// It names what neither file has.
    #[error("names [{section}], which does not exist")]
    Unknown {
        /// The section.
        section: String,
    },
    /// It is none of the three sources that there are.
    #[error("is \"{name}\", which is no source of credentials")]
    UnknownSource {
        /// What was written.
        name: String,
    },
    /// `source_profile` beside `credential_source`.
    #[error("stands beside source_profile")]
    TwoSources,
    /// A chain that comes back to itself.
    #[error("leads in a circle: {}", profiles.join(" -> "))]
    Circle {
        /// The profiles, the first one twice.
        profiles: Vec<String>,
    },
    /// The profile at the end of the chain.
    #[error("names the profile \"{profile}\", which has no credentials")]
    NoCredentials {
        /// Its name.
        profile: String,
    },
    /// The profile and its session say different things.
    #[error("is another one in [sso-session {session}]")]
    Inconsistent {
        /// The session.
        session: String,
    },
}

impl InvalidKind {
    /// What to do, as a sentence part.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Missing => "add it",
            Self::Empty => "give it a value, or remove the line",
            Self::Malformed { .. } => "correct it",
            Self::Unknown { .. } => "add that section, or correct the name",
            Self::UnknownSource { .. } => "write Environment, EcsContainer or Ec2InstanceMetadata",
            Self::TwoSources => "remove one of the two",
            Self::Circle { .. } => "let one of them have credentials of its own",
            Self::NoCredentials { .. } => "give that profile credentials, or name another one",
            Self::Inconsistent { .. } => "remove it from the profile",
        }
    }
}

impl PartialEq for Invalid {
    fn eq(&self, other: &Self) -> bool {
        (&self.place.file, self.key, &self.kind) == (&other.place.file, other.key, &other.kind)
    }
}

impl Eq for Invalid {}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}: {}", self.place, self.key, self.kind, self.kind.remedy())
    }
}

#[cfg(test)]
mod tests {
    use crate::file::ProfileFile;
    use crate::profiles::ProfileSet;

    const ROLE: &str = "[profile p]\nrole_arn = arn:aws:iam::222222222222:role/T\n";
    const SSO: &str = "[sso-session s]\nsso_start_url = https://x.awsapps.com/start\nsso_region = us-east-1\n\
                       [profile p]\nsso_session = s\n";
    const PLAIN: &str = "[profile p]\n";

    /// How a file begins, how it goes on, and why its profile `p` is invalid.
    const CASES: [(&str, &str, &str); 25] = [
        (ROLE, "", "config:1: source_profile is missing: add it"),
        (ROLE, "source_profile =", "config:3: source_profile is empty: give it a value, or remove the line"),
        (
            ROLE,
            "source_profile = gone",
            "config:3: source_profile names [profile gone], which does not exist: add that section, or correct the name",
        ),
        (
            ROLE,
            "source_profile = q\ncredential_source = Environment",
            "config:4: credential_source stands beside source_profile: remove one of the two",
        ),
        (
            ROLE,
            "credential_source = environment",
            "config:3: credential_source is \"environment\", which is no source of credentials: \
             write Environment, EcsContainer or Ec2InstanceMetadata",
        ),
        (
            ROLE,
            "source_profile = p",
            "config:3: source_profile leads in a circle: p -> p: let one of them have credentials of its own",
        ),
        (
            ROLE,
            "source_profile = q\n[profile q]\nrole_arn = arn:aws:iam::1:role/T\nsource_profile = r\n\
             [profile r]\nrole_arn = arn:aws:iam::1:role/T\nsource_profile = q",
            "config:9: source_profile leads in a circle: q -> r -> q: let one of them have credentials of its own",
        ),
        (
            ROLE,
            "source_profile = q\n[profile q]\nregion = us-east-1",
            "config:3: source_profile names the profile \"q\", which has no credentials: \
             give that profile credentials, or name another one",
        ),
        (
            ROLE,
            "source_profile = q\n[profile q]\naws_access_key_id = A",
            "config:4: aws_secret_access_key is missing: add it",
        ),
        (
            ROLE,
            "source_profile = q\nduration_seconds = 60",
            "config:4: duration_seconds is not valid: AWS takes 900 to 43200 seconds: correct it",
        ),
        (
            ROLE,
            "source_profile = q\nrole_session_name = my name",
            "config:4: role_session_name is not valid: \
             it has 2 to 64 letters, digits and characters of \"_+=,.@-\": correct it",
        ),
        (
            ROLE,
            "source_profile = q\nexternal_id = x",
            "config:4: external_id is not valid: it has 2 to 1224 characters: correct it",
        ),
        (
            PLAIN,
            "role_arn = Admin\nsource_profile = q",
            "config:2: role_arn is not valid: it looks like arn:aws:iam::111111111111:role/NAME: correct it",
        ),
        (PLAIN, "web_identity_token_file = /t", "config:1: role_arn is missing: add it"),
        (PLAIN, "aws_access_key_id = AKIA", "config:1: aws_secret_access_key is missing: add it"),
        (
            PLAIN,
            "login_session = me",
            "config:2: login_session is not valid: it is the ARN of who is signed in: correct it",
        ),
        (
            PLAIN,
            "credential_process = tool 'CANARY",
            "config:2: credential_process is not valid: its quotes do not match: correct it",
        ),
        (
            PLAIN,
            "services = gone",
            "config:2: services names [services gone], which does not exist: add that section, or correct the name",
        ),
        (
            PLAIN,
            "sso_session = gone",
            "config:2: sso_session names [sso-session gone], which does not exist: \
             add that section, or correct the name",
        ),
        (SSO, "sso_account_id = 111111111111", "config:4: sso_role_name is missing: add it"),
        (
            SSO,
            "sso_account_id = \"111111111111\"\nsso_role_name = A",
            "config:6: sso_account_id is not valid: an account has twelve digits: correct it",
        ),
        (
            SSO,
            "sso_role_name = A\nsso_account_id = 111111111111\nsso_region = eu-west-1",
            "config:8: sso_region is another one in [sso-session s]: remove it from the profile",
        ),
        (
            PLAIN,
            "sso_account_id = 111111111111\nsso_role_name = A",
            "config:1: sso_start_url is missing: add it",
        ),
        (
            PLAIN,
            "sso_start_url = http://x\nsso_region = us-east-1",
            "config:2: sso_start_url is not valid: a start URL begins with https:// and names a host: correct it",
        ),
        (
            PLAIN,
            "sso_start_url = https://x\nsso_region = Ireland",
            "config:3: sso_region is not valid: a region looks like \"eu-west-1\": correct it",
        ),
    ];

    #[test]
    fn each_reason_names_file_line_and_key_with_the_remedy() {
        for (begin, end, text) in CASES {
            let config = ProfileFile::new("config", [begin, end, "\n"].concat().into_bytes());
            let set = ProfileSet::parse(&config, &ProfileFile::new("credentials", Vec::new()), None);
            let profile = set.profile(&"p".parse().unwrap()).unwrap();
            let invalid = profile.credentials.as_ref().err().map(ToString::to_string);
            assert_eq!(invalid.as_deref(), Some(text), "{begin}{end}");
        }
    }
}
