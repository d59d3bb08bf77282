//! Rust source as a flat list of tokens: comments and the inside of strings are no code, line breaks do not
//! matter, and the bodies of macros are seen as well.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// One token: a word, a literal, a bracket, an operator sign; `::` is one token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// As written.
    pub text: String,
    /// Its line, from 1.
    pub line: usize,
}

/// The tokens of a source file; an error names what the lexer did not understand.
pub fn tokens(source: &str) -> Result<Vec<Token>, String> {
    let stream: TokenStream = source.parse().map_err(|error| format!("{error}"))?;
    let mut tokens = Vec::new();
    flatten(stream, &mut tokens);
    Ok(tokens)
}

/// The lines where `pattern` stands: tokens separated by spaces, e.g. `Instant :: now`.
pub fn find(tokens: &[Token], pattern: &str) -> Vec<usize> {
    let pattern: Vec<&str> = pattern.split(' ').collect();
    let starts =
        tokens.windows(pattern.len()).filter(|window| window.iter().map(|token| &token.text).eq(&pattern));
    starts.map(|window| window[0].line).collect()
}

/// Parts of a file by who runs them.
#[derive(Debug, Default)]
pub struct Split {
    /// Compiled into the product.
    pub product: Vec<Token>,
    /// Inside `#[cfg(test)] mod name { .. }`.
    pub test: Vec<Token>,
}

/// Takes the unit tests out of a file.
pub fn split(tokens: &[Token]) -> Split {
    let mut split = Split::default();
    let mut at = 0;
    while at < tokens.len() {
        let end = test_module_end(tokens, at);
        let side = if end.is_some() { &mut split.test } else { &mut split.product };
        let next = end.unwrap_or(at + 1);
        side.extend_from_slice(&tokens[at..next]);
        at = next;
    }
    split
}

/// The items (`struct`, `enum`, `union`) of a file with the attributes that stand before them.
pub fn items(tokens: &[Token]) -> Vec<Item> {
    let mut items = Vec::new();
    let mut attributes = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let text = tokens[at].text.as_str();
        if text == "#" && tokens.get(at + 1).is_some_and(|token| token.text == "[") {
            let end = group_end(tokens, at + 1);
            attributes.push(tokens[at + 2..end - 1].iter().map(|token| token.text.clone()).collect());
            at = end;
        } else if text == "pub" {
            let restricted = tokens.get(at + 1).is_some_and(|token| token.text == "(");
            at = if restricted { group_end(tokens, at + 1) } else { at + 1 };
        } else {
            if let ("struct" | "enum" | "union", Some(name)) = (text, tokens.get(at + 1)) {
                let attributes = std::mem::take(&mut attributes);
                items.push(Item { name: name.text.clone(), line: name.line, attributes });
            }
            attributes.clear();
            at += 1;
        }
    }
    items
}

/// A type definition.
#[derive(Debug, Clone)]
pub struct Item {
    /// The name of the type.
    pub name: String,
    /// The line of the name.
    pub line: usize,
    /// The tokens inside each `#[..]` before it.
    pub attributes: Vec<Vec<String>>,
}

impl Item {
    /// Whether `trait_name` is derived, also under `cfg_attr` or with a path.
    pub fn derives(&self, trait_name: &str) -> bool {
        let deriving =
            self.attributes.iter().filter(|attribute| attribute.iter().any(|token| token == "derive"));
        deriving.flatten().any(|token| token == trait_name)
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = brackets(group.delimiter());
                tokens.push(Token { text: open.to_owned(), line });
                flatten(group.stream(), tokens);
                tokens.push(Token { text: close.to_owned(), line: group.span_close().start().line });
            }
            TokenTree::Punct(sign) if sign.as_char() == ':' && sign.spacing() == Spacing::Joint => {
                trees.next();
                tokens.push(Token { text: "::".to_owned(), line });
            }
            TokenTree::Punct(_) | TokenTree::Ident(_) | TokenTree::Literal(_) => {
                tokens.push(Token { text: tree.to_string(), line });
            }
        }
    }
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

/// If a test module begins at `at`: the index behind it.
fn test_module_end(tokens: &[Token], at: usize) -> Option<usize> {
    let text = |index: usize| tokens.get(index).map(|token| token.text.as_str());
    if ["#", "[", "cfg"].iter().enumerate().any(|(offset, expected)| text(at + offset) != Some(expected)) {
        return None;
    }
    let end = group_end(tokens, at + 1);
    let condition = &tokens[at..end];
    let tests = condition.iter().any(|token| token.text == "test")
        && condition.iter().all(|token| token.text != "not");
    (tests && text(end) == Some("mod") && text(end + 2) == Some("{")).then(|| group_end(tokens, end + 2))
}

/// The index behind the bracket that closes the one at `open`.
fn group_end(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, token) in tokens[open..].iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + offset + 1;
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let tokens = tokens("// Instant::now()\n/// Instant::now\nfn f() { g(\"Instant::now\") }").unwrap();
        assert_eq!(find(&tokens, "Instant :: now"), [0; 0]);
    }

    #[test]
    fn line_breaks_and_macros_hide_nothing() {
        let tokens = tokens("fn f() {\n    select! { _ = Instant\n        ::now() => {} }\n}").unwrap();
        assert_eq!(find(&tokens, "Instant :: now"), [2]);
    }

    #[test]
    fn unit_tests_are_split_off() {
        let source =
            "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { c() } }\n#[cfg(not(test))]\nmod d { fn e() {} }";
        let split = split(&tokens(source).unwrap());
        assert_eq!(find(&split.test, "c ("), [3]);
        assert_eq!(find(&split.product, "c ("), [0; 0]);
        assert_eq!(find(&split.product, "fn e"), [5]);
    }

    #[test]
    fn attributes_belong_to_the_item_that_follows() {
        let source = "#[derive(Clone, Debug)]\n#[serde(x)]\npub(crate) struct A(u8);\nstruct B;\n#[derive(Debug)] fn c() {}\nenum D {}";
        let items = items(&tokens(source).unwrap());
        let debug: Vec<_> = items.iter().map(|item| (item.name.as_str(), item.derives("Debug"))).collect();
        assert_eq!(debug, [("A", true), ("B", false), ("D", false)]);
    }
}
