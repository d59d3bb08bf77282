use std::collections::BTreeMap;

use proptest::prelude::*;
use secrecy::ExposeSecret as _;

use super::*;
use crate::ini::Value;

fn profile(name: &str) -> Profile {
    name.parse().unwrap()
}

fn edited(content: &str, name: &str, values: &[(&str, Option<&str>)]) -> String {
    let name = profile(name);
    String::from_utf8(set(content.as_bytes(), Section::Profile(&name), values).unwrap()).unwrap()
}

#[test]
fn a_value_is_put_in_its_place_and_nothing_else_moves() {
    let region = [("region", Some("eu-west-1"))];
    for (before, after) in [
        ("[profile p]\nregion = us-east-1\n", "[profile p]\nregion = eu-west-1\n"),
        ("[profile p]\nregion = eu-west-1  \n", "[profile p]\nregion = eu-west-1  \n"),
        ("[profile p]\nregion=x\n", "[profile p]\nregion=eu-west-1\n"),
        ("[profile p]\n Region:\tx\n", "[profile p]\n Region:\teu-west-1\n"),
        ("[profile p]\nregion =\n", "[profile p]\nregion = eu-west-1\n"),
        ("[profile p]\nregion=", "[profile p]\nregion=eu-west-1"),
        ("[profile p]\r\nregion = x\r\n", "[profile p]\r\nregion = eu-west-1\r\n"),
        (
            "[profile p]\nregion =\n  a = b\n  # c\n  d = e\n\n[x]\n",
            "[profile p]\nregion = eu-west-1\n  # c\n\n[x]\n",
        ),
        (
            "[profile p]\n# region = x\n\n# next\n[x]\n",
            "[profile p]\nregion = eu-west-1\n# region = x\n\n# next\n[x]\n",
        ),
        (
            "[profile p]\n  output = json\n garbage\n\n[x]",
            "[profile p]\n  output = json\n garbage\nregion = eu-west-1\n\n[x]",
        ),
        ("[profile p]", "[profile p]\nregion = eu-west-1\n"),
        ("[profile p]\n\n  [x]\n", "[profile p]\n  region = eu-west-1\n\n  [x]\n"),
        ("[DEFAULT]\nregion = x\n[profile p]\n", "[DEFAULT]\nregion = x\n[profile p]\nregion = eu-west-1\n"),
        ("[profile \"p\"] # mine\n", "[profile \"p\"] # mine\nregion = eu-west-1\n"),
        ("[profile p]\n[profile 'p']\n", "[profile p]\n[profile 'p']\nregion = eu-west-1\n"),
        ("[profile p]\nregion = x\nregion = y\n", "[profile p]\nregion = x\nregion = eu-west-1\n"),
        ("", "[profile p]\nregion = eu-west-1\n"),
        ("[x]", "[x]\n\n[profile p]\nregion = eu-west-1\n"),
        ("[x]\r\nk = v\r\n", "[x]\r\nk = v\r\n\r\n[profile p]\r\nregion = eu-west-1\r\n"),
        ("# c\n\n", "# c\n\n[profile p]\nregion = eu-west-1\n"),
    ] {
        assert_eq!(edited(before, "p", &region), after, "{before:?}");
    }
}

#[test]
fn a_value_that_is_removed_is_gone_wherever_it_stood() {
    let before = "[profile p]\nregion = x\n# c\noutput = json\nregion = y\n  z\n\n[x]\nregion = w\n";
    let after = "[profile p]\n# c\noutput = json\n\n[x]\nregion = w\n";
    assert_eq!(edited(before, "p", &[("region", None)]), after);
    assert_eq!(edited(after, "p", &[("region", None)]), after);
}

#[test]
fn sections_are_named_as_the_aws_cli_names_them() {
    for (name, header) in [
        ("default", "[default]"),
        ("p", "[profile p]"),
        ("my p", "[profile 'my p']"),
        ("it's", "[profile 'it'\"'\"'s']"),
    ] {
        assert_eq!(edited("", name, &[]), format!("{header}\n"));
    }
    let corp: SignInName = "my corp".parse().unwrap();
    assert_eq!(set(b"", Section::SsoSession(&corp), &[]).unwrap(), b"[sso-session 'my corp']\n");
}

#[test]
fn what_would_not_read_back_is_refused_and_not_quoted() {
    let name = profile("p");
    let refused =
        |key: &str, value: &str| set(b"", Section::Profile(&name), &[(key, Some(value))]).unwrap_err();
    for value in ["CANARY\nrole_arn = x", "CANARY\r", " CANARY", "CANARY\u{a0}"] {
        let error = refused("region", value);
        assert_eq!(error, EditError::Value { key: "region".to_owned() });
        assert!(!error.to_string().contains("CANARY"));
    }
    for key in ["", "Region", "a b", "[x]", "a=b", "#a"] {
        assert_eq!(refused(key, "v"), EditError::Key { key: key.to_owned() });
    }
    let url: SignInName = "https://x.awsapps.com/start".parse().unwrap();
    assert_eq!(set(b"", Section::SsoSession(&url), &[]), Err(EditError::Session { name: url.clone() }));
}

/// All values by header and key, without those of `header` for `keys`.
fn values(content: &[u8], edited: &str, keys: &[&str]) -> BTreeMap<(String, String), String> {
    let mut values = BTreeMap::new();
    for section in ini::read(content).sections {
        for (key, entry) in &section.entries {
            let text = match &entry.value {
                Value::Text(text) => text.expose_secret().to_owned(),
                Value::Block(block) => block.keys().cloned().collect(),
            };
            if section.header != edited || !keys.contains(&key.as_str()) {
                values.insert((section.header.clone(), key.clone()), text);
            }
        }
    }
    values
}

proptest! {
    #[test]
    fn an_edit_gives_what_was_asked_and_keeps_all_else(
        content in "(\\[profile p\\]|\\[profile \"p\"\\]|\\[q\\]|region|output|[ =:#\\t]|[\\r\\n]{1,2}|x|\u{feff}){0,40}",
        value in prop::option::of("([a-z#;=:\\[\\] \"]{0,8}[a-z])?"),
    ) {
        let value = value.filter(|value| trim(value) == value);
        let name = profile("p");
        let section = Section::Profile(&name);
        let Ok(new) = set(content.as_bytes(), section, &[("region", value.as_deref())]) else {
            return Err(TestCaseError::fail("refused"));
        };
        let found = section.find(&new).unwrap();
        let region = found.entries.get("region").and_then(|entry| entry.value.text());
        prop_assert_eq!(region, value.as_deref(), "{:?}", String::from_utf8_lossy(&new));
        let header = found.header.as_str();
        let other = (values(content.as_bytes(), header, &["region"]), values(&new, header, &["region"]));
        prop_assert_eq!(&other.0, &other.1, "{:?}", String::from_utf8_lossy(&new));
        // What is not the key's is there still, in the same order; of a key that was removed only comments are looked at.
        let old = section.find(content.as_bytes());
        let gone = |index: usize| old.as_ref().is_some_and(|old| match value {
            Some(_) => old.entries.get("region").is_some_and(|entry| entry.lines.contains(&index)),
            None => (old.line + 1..=old.last).contains(&index),
        });
        let before = ini::lines(content.as_bytes());
        let before = before.iter().enumerate().filter(|(_, line)| !line.trimmed().is_empty());
        let kept = before.filter(|(index, line)| line.is_comment() || !gone(*index));
        let after = ini::lines(&new);
        let mut after = after.iter();
        for (_, line) in kept {
            let found = after.any(|new| new.text == line.text);
            prop_assert!(found, "{:?} is gone from {:?}", line.text, String::from_utf8_lossy(&new));
        }
    }
}
