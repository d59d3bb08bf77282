//! Messages of the API that hold a secret.

use crate::{Violation, files::File};

/// Where such messages are listed.
const LIST: &str = "proto/build.rs";

/// Names of fields that hold one.
const SECRETS: &[&str] = &[
    "access_token",
    "answer",
    "code",
    "password",
    "refresh_token",
    "secret",
    "secret_access_key",
    "session_token",
    "token",
];

/// A message with a field whose name says that it holds a secret is listed, so that it gets no `Debug` of its content.
pub fn unlisted(files: &[File]) -> Vec<Violation> {
    let listed = files.iter().find(|file| file.path == LIST).map_or("", |file| file.text.as_str());
    let protos = files.iter().filter(|file| file.path.ends_with(".proto"));
    protos.flat_map(|file| of_one(file, listed)).collect()
}

fn of_one(file: &File, listed: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    // The messages that the line is in, the innermost last.
    let mut inside: Vec<&str> = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let words: Vec<&str> = code.split_whitespace().collect();
        let field =
            words.iter().position(|word| *word == "=").and_then(|equals| words.get(equals.checked_sub(1)?));
        match (words.as_slice(), field) {
            (["message", name, ..], _) => inside.push(name),
            ([.., "{"], _) => inside.push(""),
            (_, Some(field)) if SECRETS.contains(field) => {
                let path: Vec<&str> = inside.iter().copied().filter(|name| !name.is_empty()).collect();
                let message = path.join(".");
                if !listed.contains(&format!("\".stormtunnel.v1.{message}\"")) {
                    violations.push(Violation {
                        place: format!("{}:{}", file.path, number + 1),
                        found: format!("{message}.{field}"),
                        reason: "a secret in a message with a derived Debug ends up in a log sooner or later: list the message in \
                                 SECRETS of proto/build.rs",
                    });
                }
            }
            _ => {}
        }
        if code.contains('}') {
            inside.pop();
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{files::workspace, report};

    #[test]
    fn messages_with_secrets_are_listed() {
        let report = report(&unlisted(workspace()));
        assert!(report.is_empty(), "{report}");
    }

    #[test]
    fn a_message_with_a_secret_that_is_not_listed_is_rejected() {
        let proto = "message Plain {}\nmessage Reply {\n  oneof kind {\n    string a = 1;\n  }\n  // code = 3\n  \
                     message Keys {\n    string user_code = 1;\n    optional string session_token = 2;\n  }\n  \
                     string code = 3;\n}\n";
        let found = |list: &str| -> Vec<String> {
            let files = [File::planted("proto/x.proto", proto), File::planted(LIST, list)];
            unlisted(&files).into_iter().map(|violation| violation.found).collect()
        };
        assert_eq!(found(""), ["Reply.Keys.session_token", "Reply.code"]);
        assert_eq!(found("[\".stormtunnel.v1.Reply\"]"), ["Reply.Keys.session_token"]);
        assert_eq!(found("[\".stormtunnel.v1.Reply\", \".stormtunnel.v1.Reply.Keys\"]"), [""; 0]);
    }
}
