//! Types whose content has no text form.

use crate::{
    Violation,
    files::File,
    tokens::{self, Item},
};

/// A type that holds a secret, and where it is defined.
pub struct Secret {
    /// The name of the type.
    pub name: &'static str,
    /// The directory below which it is defined; the same name elsewhere is another type.
    pub directory: &'static str,
    /// Whether it has a written `Debug` that leaves the content out, because types around it are shown.
    pub redacted_debug: bool,
}

/// Every type that holds the content of a secret. Add a type here when it is written.
pub const SECRETS: &[Secret] = &[
    Secret { name: "Token", directory: "daemon/crates/ssm-session", redacted_debug: false },
    Secret { name: "SecretText", directory: "daemon/crates/ssm-session", redacted_debug: true },
    Secret { name: "SessionGrant", directory: "daemon/crates/engine", redacted_debug: true },
    Secret { name: "SsoToken", directory: "daemon/crates/engine", redacted_debug: true },
    Secret { name: "OidcClient", directory: "daemon/crates/engine", redacted_debug: true },
    Secret { name: "RefreshGrant", directory: "daemon/crates/engine", redacted_debug: false },
    Secret { name: "IssuedToken", directory: "daemon/crates/engine", redacted_debug: true },
    Secret { name: "StoredToken", directory: "daemon/crates/engine", redacted_debug: true },
    Secret { name: "RoleCredentials", directory: "daemon/crates/engine", redacted_debug: true },
    Secret { name: "DeviceLogin", directory: "daemon/crates/engine", redacted_debug: false },
    Secret { name: "AuthorizationCode", directory: "daemon/crates/engine", redacted_debug: false },
    Secret { name: "Outcome", directory: "daemon/crates/engine/src/prompts", redacted_debug: false },
    Secret { name: "Open", directory: "daemon/crates/engine/src/prompts", redacted_debug: false },
    Secret { name: "Asked", directory: "daemon/crates/engine/src/prompts", redacted_debug: false },
    Secret { name: "MemoryVault", directory: "daemon/src/keystore", redacted_debug: false },
    Secret { name: "Inputs", directory: "daemon/crates/aws", redacted_debug: false },
    Secret { name: "Chosen", directory: "daemon/crates/aws", redacted_debug: false },
    Secret { name: "ProfileCredentials", directory: "daemon/crates/aws", redacted_debug: true },
    Secret { name: "SignInProvider", directory: "daemon/crates/aws", redacted_debug: true },
    Secret { name: "ProcessProvider", directory: "daemon/crates/aws", redacted_debug: true },
    Secret { name: "Ran", directory: "daemon/crates/aws", redacted_debug: false },
    Secret { name: "ProfileFile", directory: "daemon/crates/aws-files", redacted_debug: false },
    Secret { name: "Document", directory: "daemon/crates/aws-files", redacted_debug: false },
    Secret { name: "Section", directory: "daemon/crates/aws-files/src/ini", redacted_debug: false },
    Secret { name: "Entry", directory: "daemon/crates/aws-files", redacted_debug: false },
    Secret { name: "Value", directory: "daemon/crates/aws-files", redacted_debug: false },
    Secret { name: "Raw", directory: "daemon/crates/aws-files", redacted_debug: false },
    Secret { name: "Keys", directory: "daemon/crates/aws-files", redacted_debug: false },
    Secret { name: "Found", directory: "daemon/crates/aws-files", redacted_debug: false },
    Secret { name: "ProfileSet", directory: "daemon/crates/aws-files", redacted_debug: false },
    Secret { name: "StaticKeys", directory: "daemon/crates/aws-files", redacted_debug: false },
    Secret { name: "CredentialProcess", directory: "daemon/crates/aws-files", redacted_debug: false },
    Secret { name: "Token", directory: "daemon/crates/aws-files", redacted_debug: false },
    Secret { name: "Client", directory: "daemon/crates/aws-files", redacted_debug: false },
    Secret { name: "OtherFields", directory: "daemon/crates/aws-files", redacted_debug: false },
    Secret { name: "Fields", directory: "daemon/crates/aws-files", redacted_debug: false },
    Secret { name: "ProfilesSnapshot", directory: "daemon/src/aws_dir", redacted_debug: false },
    Secret { name: "State", directory: "daemon/src/aws_dir", redacted_debug: false },
    Secret { name: "Proof", directory: "daemon/src/browser", redacted_debug: false },
];

/// Traits that would turn the content into text.
const TEXT: &[&str] = &["Debug", "Display", "Serialize"];

/// Secrets have no `Debug`, `Display` or `Serialize`, neither derived nor written, but for a redacted
/// `Debug`. Secrets that are gone are violations too: the list would protect nothing.
pub fn text_forms(files: &[File], secrets: &[Secret]) -> Vec<Violation> {
    secrets.iter().flat_map(|secret| of_one(files, secret)).collect()
}

fn of_one(files: &[File], secret: &Secret) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut defined = false;
    for file in files.iter().filter(|file| file.is_rust() && file.is_below(&[secret.directory])) {
        let tokens = tokens::tokens(&file.text).unwrap_or_default();
        for item in tokens::items(&tokens).iter().filter(|item| item.name == secret.name) {
            defined = true;
            violations.extend(derived(file, item));
        }
        for text in TEXT.iter().filter(|text| !(secret.redacted_debug && **text == "Debug")) {
            let lines = tokens::find(&tokens, &format!("{text} for {}", secret.name));
            violations.extend(
                lines
                    .into_iter()
                    .map(|line| violation(file, line, format!("implements {text} for {}", secret.name))),
            );
        }
    }
    if !defined {
        violations.push(Violation {
            place: secret.directory.to_owned(),
            found: format!("defines no type {}", secret.name),
            reason: "a secret that was renamed or moved is no longer watched: change SECRETS with it",
        });
    }
    violations
}

fn derived(file: &File, item: &Item) -> Vec<Violation> {
    let derived = TEXT.iter().filter(|text| item.derives(text));
    derived.map(|text| violation(file, item.line, format!("derives {text} for {}", item.name))).collect()
}

fn violation(file: &File, line: usize, found: String) -> Violation {
    Violation {
        place: format!("{}:{line}", file.path),
        found,
        reason: "a secret with a text form ends up in a log, an error or an event sooner or later",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{files::workspace, report};

    const TOKEN: Secret = Secret { name: "TokenValue", directory: "daemon", redacted_debug: false };

    #[test]
    fn no_secret_has_a_text_form() {
        let report = report(&text_forms(workspace(), SECRETS));
        assert!(report.is_empty(), "{report}");
    }

    #[test]
    fn a_text_form_is_rejected() {
        for text in TEXT {
            let derived = format!("#[derive(Clone, {text})]\npub struct TokenValue(String);");
            assert_eq!(violations(&derived), [format!("derives {text} for TokenValue")]);
            let written = format!("struct TokenValue(String);\nimpl std::fmt::{text} for TokenValue {{}}");
            assert_eq!(violations(&written), [format!("implements {text} for TokenValue")]);
        }
        assert_eq!(violations("#[derive(Clone)]\npub struct TokenValue(String);"), [""; 0]);
    }

    #[test]
    fn only_a_written_debug_can_be_redacted() {
        let redacted = Secret { redacted_debug: true, ..TOKEN };
        let written = "struct TokenValue(String);\nimpl fmt::Debug for TokenValue {}";
        assert_eq!(violations_of(&redacted, written), [""; 0]);
        let derived = "#[derive(Debug)]\nstruct TokenValue(String);";
        assert_eq!(violations_of(&redacted, derived), ["derives Debug for TokenValue"]);
        let displayed = "struct TokenValue(String);\nimpl fmt::Display for TokenValue {}";
        assert_eq!(violations_of(&redacted, displayed), ["implements Display for TokenValue"]);
    }

    #[test]
    fn a_secret_that_is_gone_is_rejected() {
        assert_eq!(violations("struct Token(String);"), ["defines no type TokenValue"]);
    }

    fn violations(source: &str) -> Vec<String> {
        violations_of(&TOKEN, source)
    }

    fn violations_of(secret: &Secret, source: &str) -> Vec<String> {
        let file = File::planted("daemon/src/token.rs", source);
        of_one(&[file], secret).into_iter().map(|violation| violation.found).collect()
    }
}
