//! Words as a shell would split and quote them, by the rules of Python's `shlex`, which the AWS CLI uses for the names
//! of sections and for `credential_process`.

use std::str::Chars;

/// The words of `text`; `None` if a quote is left open or a backslash escapes nothing.
pub fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(rest.next()?),
            '\'' | '"' => quoted(c, &mut rest, word.get_or_insert_default())?,
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

/// Takes what stands before the next `quote`. Only between double quotes does a backslash escape, and there only a
/// double quote or itself.
fn quoted(quote: char, rest: &mut Chars<'_>, word: &mut String) -> Option<()> {
    loop {
        match rest.next()? {
            c if c == quote => return Some(()),
            '\\' if quote == '"' => {
                let escaped = rest.next()?;
                if !matches!(escaped, '"' | '\\') {
                    word.push('\\');
                }
                word.push(escaped);
            }
            other => word.push(other),
        }
    }
}

/// `text` as one word: as it is if that is what it would be split into, else in single quotes, as the AWS CLI writes it.
pub(crate) fn quote(text: &str) -> String {
    match split(text).as_deref() {
        Some([word]) if word == text => text.to_owned(),
        _ => format!("'{}'", text.replace('\'', "'\"'\"'")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_those_of_shlex() {
        for (text, words) in [
            ("profile p", Some(vec!["profile", "p"])),
            ("profile\t p ", Some(vec!["profile", "p"])),
            (r#"profile "my p""#, Some(vec!["profile", "my p"])),
            (r"profile 'my p'", Some(vec!["profile", "my p"])),
            (r"profile my\ p", Some(vec!["profile", "my p"])),
            (r#"profile "a\"b\\c\d""#, Some(vec!["profile", r#"a"b\c\d"#])),
            (r"profile 'a\b'", Some(vec!["profile", r"a\b"])),
            (r#"profile """#, Some(vec!["profile", ""])),
            ("profile my p", Some(vec!["profile", "my", "p"])),
            ("profile # p", Some(vec!["profile", "#", "p"])),
            ("profile it's", None),
            ("profile p\\", None),
            ("", Some(vec![])),
        ] {
            let expected = words.map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn only_what_needs_quotes_gets_them() {
        for (text, quoted) in [
            ("corp", "corp"),
            ("team/dev@eu", "team/dev@eu"),
            ("my p", "'my p'"),
            ("it's", "'it'\"'\"'s'"),
            ("", "''"),
        ] {
            assert_eq!(quote(text), quoted);
        }
    }

    proptest! {
        #[test]
        fn a_quoted_text_is_one_word(text in ".*") {
            prop_assert_eq!(split(&quote(&text)), Some(vec![text]));
        }
    }
}
