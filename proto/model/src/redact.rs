//! Takes secrets out of text that leaves the machine: a second line behind types that cannot be printed.

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// Names behind which a value is a secret, in lower case. What is told by a name needs no pattern of its own.
const SECRET_NAMES: [&str; 13] = [
    "secret",
    "token",
    "password",
    "passwd",
    "credential",
    "authorization",
    "cookie",
    "signature",
    "private_key",
    "privatekey",
    "api_key",
    "apikey",
    "user_code",
];

/// Access keys of AWS begin so and have 16 more characters.
const KEY_PREFIXES: [&str; 6] = ["AKIA", "ASIA", "ABIA", "ACCA", "AROA", "AIDA"];
const KEY_LENGTH: usize = 20;

/// Runs of characters that only a machine can have made: secret keys have 40 characters, digests and tokens more.
const OPAQUE_LENGTH: usize = 40;
/// Directories have shorter names than this, mostly.
const LEAST_RANDOM: usize = 12;

/// Takes secrets out of text.
#[derive(Clone, Debug, Default)]
pub struct Redactor;

impl Redactor {
    /// The text line by line, without what looks like a secret: what follows a name such as `token` or `password`, user
    /// names and passwords in URLs, parameters of URLs, access keys, and long runs of random characters.
    pub fn text(text: &str) -> String {
        let ends = text.ends_with('\n');
        let mut lines: Vec<String> = text.lines().map(Self::line).collect();
        if ends {
            lines.push(String::new());
        }
        lines.join("\n")
    }

    fn line(line: &str) -> String {
        let line = named_values(line);
        let line = each_word(&line, url);
        each_run(&line)
    }
}

/// `name = value`, `name: value`, `"name":"value"`: the value goes where the name says that it is a secret.
fn named_values(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['=', ':']) {
        let (before, after) = rest.split_at(at);
        kept.push_str(before);
        let sign = after.chars().next().unwrap_or('=');
        kept.push(sign);
        rest = &after[sign.len_utf8()..];
        if !is_secret_name(before) {
            continue;
        }
        let value = rest.trim_start_matches([' ', '"', '\'', '\\']);
        kept.push_str(&rest[..rest.len() - value.len()]);
        let end = value_end(before, value);
        // "token: it is gone" is a sentence; of secrets nothing is lost by saying less.
        if end > 0 {
            kept.push_str(REDACTED);
        }
        rest = &value[end..];
    }
    kept.push_str(rest);
    kept
}

/// A header's value goes to the end of the line: `Authorization: Bearer …` has blanks in it.
fn value_end(name: &str, value: &str) -> usize {
    let name = name.to_ascii_lowercase();
    if name.ends_with("authorization") || name.ends_with("cookie") {
        return value.len();
    }
    value
        .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '&' | ';' | '}' | ')'))
        .unwrap_or(value.len())
}

fn is_secret_name(before: &str) -> bool {
    let name = before.trim_end_matches(['"', '\'', ' ', '\\']);
    let start = name
        .rfind(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')))
        .map_or(0, |at| at + 1);
    let name = name.get(start..).unwrap_or(name).to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

fn each_word(line: &str, change: impl Fn(&str) -> String) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        kept.push_str(&change(&rest[..end]));
        rest = &rest[end..];
        let blank = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        kept.push_str(&rest[..blank]);
        rest = &rest[blank..];
    }
    kept
}

/// A URL without its user and its parameters.
fn url(word: &str) -> String {
    let Some(at) = word.find("://") else { return word.to_owned() };
    let (scheme, rest) = word.split_at(at + 3);
    let authority = rest.find(['/', '?', '#', '"', '\'', ',', ')']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority);
    let host = match authority.rsplit_once('@') {
        Some((_user, host)) => format!("{REDACTED}@{host}"),
        None => authority.to_owned(),
    };
    let path = match path.split_once('?') {
        Some((path, _query)) => format!("{path}?{REDACTED}"),
        None => path.to_owned(),
    };
    format!("{scheme}{host}{}", url(&path))
}

/// Access keys, and runs that are long and random.
fn each_run(line: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-');
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        kept.push_str(if is_opaque(&rest[..end]) { REDACTED } else { &rest[..end] });
        rest = &rest[end..];
        let next = rest.find(is_part).unwrap_or(rest.len());
        kept.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    kept
}

/// Paths, names and ids that people know have separators every few characters, or no digits, or one case only.
fn is_opaque(run: &str) -> bool {
    let parts = || run.split(['/', '_', '-', '=']).filter(|part| !part.is_empty());
    let is_key =
        |part: &str| part.len() == KEY_LENGTH && KEY_PREFIXES.iter().any(|prefix| part.starts_with(prefix));
    let is_base64 = |part: &str| {
        let longest = part.split('/').map(str::len).max().unwrap_or_default();
        part.len() >= OPAQUE_LENGTH && longest >= LEAST_RANDOM && is_mixed(part)
    };
    parts().any(|part| is_key(part) || part.len() >= OPAQUE_LENGTH)
        || run.split(['_', '-']).any(is_base64)
        || (run.len() >= 2 * OPAQUE_LENGTH && !run.contains('/') && is_mixed(run))
}

fn is_mixed(text: &str) -> bool {
    let has = |test: fn(&char) -> bool| text.chars().any(|c| test(&c));
    has(char::is_ascii_digit) && has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_and_what_is_around_them_stays() {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        for (text, expected) in [
            ("aws_secret_access_key = abc", "aws_secret_access_key = [redacted]"),
            (r#"{"accessToken":"abc","region":"r"}"#, r#"{"accessToken":"[redacted]","region":"r"}"#),
            ("Authorization: Bearer a b c", "Authorization: [redacted]"),
            ("network.proxy = http://me:pw@proxy:3128", "network.proxy = http://[redacted]@proxy:3128"),
            ("at wss://host/data?X-Amz-Security=1&b=2 now", "at wss://host/data?[redacted] now"),
            ("key AKIAIOSFODNN7EXAMPLE was used", "key [redacted] was used"),
            ("PASSWORD='hunter2'", "PASSWORD='[redacted]'"),
        ] {
            assert_eq!(Redactor::text(text), expected);
        }
        assert_eq!(Redactor::text(&format!("said {secret}.\n")), "said [redacted].\n");
        assert_eq!(Redactor::text(&"0f".repeat(32)), REDACTED);
    }

    #[test]
    fn what_helps_to_find_a_fault_stays() {
        for text in [
            "tunnel db is up: localhost:15432 -> db.internal:5432 via i-0abcdef1234567890",
            "/home/me/.local/state/stormtunnel/stormtunneld.log",
            "2026-01-02T03:04:05.678901Z  INFO stormtunneld::app: serving socket=/run/user/1000/stormtunnel/daemon.sock",
            "session ada-0123456789abcdef0 of 01890a5d-ac96-774b-bcce-b302099a8057",
            "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Developer_0123456789abcdef/ada",
        ] {
            assert_eq!(Redactor::text(text), text);
        }
    }
}
