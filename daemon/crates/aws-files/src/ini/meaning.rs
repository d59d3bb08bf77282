//! What the sections of a config file are.

use super::shell;

/// The kinds of sections that mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Profile,
    SsoSession,
    Services,
}

/// What a section's header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A section of that kind and name.
    Named(Kind, String),
    /// It begins like one of them and does not have exactly one name.
    Misnamed,
    /// Something else.
    Other,
}

/// The rules of the AWS CLI: what a section is shows how its header begins, and then it has to be two words to a shell.
pub(crate) fn meaning(header: &str) -> Meaning {
    let kinds = [("profile", Kind::Profile), ("sso-session", Kind::SsoSession), ("services", Kind::Services)];
    match kinds.into_iter().find(|(begin, _)| header.starts_with(begin)) {
        Some((_, kind)) => match shell::split(header).map(<[String; 2]>::try_from) {
            Some(Ok([_, name])) => Meaning::Named(kind, name),
            Some(Err(_)) | None => Meaning::Misnamed,
        },
        None if header == "default" => Meaning::Named(Kind::Profile, header.to_owned()),
        None => Meaning::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_mean_what_they_mean_to_the_aws_cli() {
        for (header, name) in [
            ("default", "default"),
            ("profile default", "default"),
            ("profile p", "p"),
            ("profile \"p\"", "p"),
            ("profile 'my p'", "my p"),
            ("profile\tp", "p"),
            ("profiles p", "p"),
        ] {
            assert_eq!(meaning(header), Meaning::Named(Kind::Profile, name.to_owned()), "{header}");
        }
        assert_eq!(meaning("sso-session \"corp\""), Meaning::Named(Kind::SsoSession, "corp".to_owned()));
        assert_eq!(meaning("services dev"), Meaning::Named(Kind::Services, "dev".to_owned()));
        for header in ["profile my p", "profile", "profile it's", "sso-session"] {
            assert_eq!(meaning(header), Meaning::Misnamed, "{header}");
        }
        for header in ["p", " profile p ", "Default", "preview"] {
            assert_eq!(meaning(header), Meaning::Other, "{header}");
        }
    }
}
