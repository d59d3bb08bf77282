//! The language of log filters. The fuzz target of the settings file includes this file without its neighbours.

use std::collections::HashSet;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, ParseError};

/// The setting that holds the filter.
pub const FILTER_KEY: &str = "log.filter";

/// Parses a filter; an empty one means the default.
///
/// The values of fields are taken as they stand, not as regular expressions: one of a hundred characters could take
/// gigabytes.
///
/// # Errors
/// What is wrong with the first directive that cannot be read.
pub fn parse_filter(text: &str) -> Result<EnvFilter, ParseError> {
    // The parser cuts a directive with a space in front in the wrong places, be it within a character.
    // Of two for the same span and fields the last one counts. The library means that, too, but takes two such for
    // different ones, and panics about it in a debug build.
    let (mut directives, mut scopes) = (Vec::new(), HashSet::new());
    for directive in text.split(',').map(str::trim).rev() {
        if directive.rfind(']').is_none_or(|end| scopes.insert(&directive[..=end])) {
            directives.push(directive);
        }
    }
    directives.reverse();
    let builder = EnvFilter::builder().with_regex(false).with_default_directive(LevelFilter::INFO.into());
    builder.parse(directives.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_around_directives_do_not_count() {
        for text in ["warn, stormtunneld=debug", " stormtunneld=debug ,\twarn", "warn, ,stormtunneld=debug"] {
            assert_eq!(parse_filter(text).unwrap().to_string(), "stormtunneld=debug,warn", "{text:?}");
        }
        assert!(parse_filter("info,\u{a0}t\u{fc}r=debug").is_ok(), "not cut within a character");
    }

    #[test]
    fn the_last_directive_of_a_span_and_its_fields_counts() {
        let text = r#"t[s{f="v"}]=info,warn,t[s{f="w"}]=info,t[s{f="v"}]=debug"#;
        let filter = parse_filter(text).unwrap().to_string();
        assert!(filter.contains("debug") && filter.matches("t[s{f=").count() == 2, "{filter}");
    }

    /// As a regular expression it would have a state for each of 2^40 pasts.
    #[test]
    fn a_field_is_no_regular_expression() {
        let text = format!("[{{tunnel=(a|b)*a{}}}]=debug", "(a|b)".repeat(40));
        assert!(parse_filter(&text).unwrap().to_string().contains("tunnel=(a|b)*a"));
    }
}
