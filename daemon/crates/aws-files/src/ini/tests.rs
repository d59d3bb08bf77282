use proptest::prelude::*;

use super::*;

/// The sections as `header/key=value`; keys of a block stand behind their key.
fn flat(content: &[u8]) -> Vec<String> {
    let mut flat = Vec::new();
    for section in read(content).sections {
        for (key, entry) in &section.entries {
            match &entry.value {
                Value::Text(text) => flat.push(format!("{}/{key}={}", section.header, text.expose_secret())),
                Value::Block(block) => flat.extend(block.iter().map(|(inner, value)| {
                    format!("{}/{key}/{inner}={}", section.header, value.expose_secret())
                })),
            }
        }
    }
    flat
}

/// What is wrong, with the numbers of the lines.
fn problems(content: &[u8]) -> Vec<(usize, ProblemKind)> {
    read(content).problems.into_iter().map(|(index, kind)| (index + 1, kind)).collect()
}

#[test]
fn every_row_of_the_grammar_is_that_of_the_aws_cli() {
    for (text, expected) in [
        // Comments stay in values, and are comments only on lines of their own.
        ("[a]\nk = v # c\n", vec!["a/k=v # c"]),
        ("[a]\nk = v ; c\n", vec!["a/k=v ; c"]),
        ("[a]\nk = v#c\n", vec!["a/k=v#c"]),
        ("# c\n[a] # c\n  ; c\nk = v\n", vec!["a/k=v"]),
        // Delimiters, white space, case, quotes.
        ("[a]\nk: v\nl=w\nm : x=y\n", vec!["a/k=v", "a/l=w", "a/m=x=y"]),
        ("[a]\n \t Key \t=  v w \t\n", vec!["a/key=v w"]),
        ("[a]\nk = \"v\"\n", vec!["a/k=\"v\""]),
        ("[a]\nk =\n", vec!["a/k="]),
        // What stands between brackets is taken as it is, up to the last one.
        ("[ a ]\nk = v\n[b]c]\nk = w\n", vec![" a /k=v", "b]c/k=w"]),
        ("  [a]\n  k = v\n", vec!["a/k=v"]),
        // Line ends, byte order mark, no end of line at the end.
        ("[a]\r\nk = v\r\nl = w", vec!["a/k=v", "a/l=w"]),
        ("[a]\rk = v\r", vec!["a/k=v"]),
        ("\u{feff}[a]\nk = v\n", vec!["a/k=v"]),
        // Lines that are indented further continue a value, over blank lines and comments.
        ("[a]\nk = v\n  l = w\nm = x\n", vec!["a/k=v\nl = w", "a/m=x"]),
        ("[a]\n  k = v\n  l = w\n m = x\n", vec!["a/k=v", "a/l=w", "a/m=x"]),
        ("[a]\nk = v\n\n  w\n# c\n  x\n\n", vec!["a/k=v\n\nw\nx"]),
        ("[a]\nk = v\n  [b]\n", vec!["a/k=v\n[b]"]),
        // Blocks.
        ("[a]\ns3 =\n  Key = v = w\n\n  l=x\nk = y\n", vec!["a/k=y", "a/s3/Key=v = w", "a/s3/l=x"]),
        // Defaults of all sections.
        ("[a]\nk = v\n[DEFAULT]\nk = w\nl = x\n[b]\n", vec!["a/k=v", "a/l=x", "b/k=w", "b/l=x"]),
    ] {
        assert_eq!(flat(text.as_bytes()), expected, "{text:?}");
        let kinds: Vec<_> = problems(text.as_bytes()).into_iter().map(|(_, kind)| kind).collect();
        let marked = text.starts_with('\u{feff}');
        assert_eq!(kinds, if marked { vec![ProblemKind::ByteOrderMark] } else { vec![] }, "{text:?}");
    }
}

#[test]
fn what_the_aws_cli_refuses_hides_only_itself() {
    use ProblemKind::{BeforeAnySection, KeyTwice, NotAProperty, NotNested, NotUtf8, SectionTwice};
    let section = "a".to_owned();
    for (text, expected, wrong) in [
        (&b"k = v\nl = w\n[a]\nm = x\n"[..], vec!["a/m=x"], vec![(1, BeforeAnySection)]),
        (b"[a]\nk = v\ngarbage\n  l = w\nm = x\n", vec!["a/k=v", "a/m=x"], vec![(3, NotAProperty)]),
        (b"[a]\nk = v\n= w\n[]\n", vec!["a/k=v"], vec![(3, NotAProperty), (4, NotAProperty)]),
        (
            b"[a]\nk = v\nl = w\n[b]\n[a]\nk = x\n",
            vec!["a/k=x", "a/l=w"],
            vec![(5, SectionTwice { section }), (6, KeyTwice { key: None })],
        ),
        (b"[a]\nregion = v\nRegion = w\n", vec!["a/region=w"], vec![(3, KeyTwice { key: Some("region") })]),
        (b"[a]\ns3 =\n  garbage\n  k = v\n", vec!["a/s3/k=v"], vec![(2, NotNested)]),
        (b"[a]\nk = \xff\nl = w\n# \xff\n", vec!["a/l=w"], vec![(2, NotUtf8), (4, NotUtf8)]),
        (b"[a]\nk = v\n  \xff\n  w\n", vec!["a/k=v\nw"], vec![(3, NotUtf8)]),
        (b"[a]\nk = v\n[\xff]\nl = w\n[b]\nm = x\n", vec!["a/k=v", "b/m=x"], vec![(3, NotUtf8)]),
    ] {
        assert_eq!(flat(text), expected, "{}", text.escape_ascii());
        assert_eq!(problems(text), wrong, "{}", text.escape_ascii());
    }
}

#[test]
fn a_key_that_is_not_ours_is_never_named() {
    let pasted =
        b"[a]\nwJalrXUtnFEMI/K7MDENG/bPxRfiCYCANARY=\nwJalrXUtnFEMI/K7MDENG/bPxRfiCYCANARY=\nCANARY\n";
    let texts: String = problems(pasted).iter().map(|(_, kind)| format!("{kind}{kind:?}")).collect();
    assert!(!texts.is_empty() && !texts.to_lowercase().contains("canary"), "{texts}");
}

proptest! {
    #[test]
    fn no_file_is_too_strange(content in prop::collection::vec(any::<u8>(), 0..200)) {
        read(&content);
    }

    #[test]
    fn nothing_but_its_own_lines_belongs_to_a_key(content in "([\\[\\]a =:#;\\t\\r\\n\u{feff}]|DEFAULT){0,60}") {
        let document = read(content.as_bytes());
        let count = lines(content.as_bytes()).len();
        for section in &document.sections {
            prop_assert!(section.line <= section.last && section.last < count);
            for entry in section.entries.values().filter(|entry| !entry.inherited) {
                prop_assert!(section.line < entry.lines.start && entry.lines.end <= section.last + 1);
            }
        }
    }
}
