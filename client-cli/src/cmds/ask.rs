//! Values that a person types, each asked for until the answer is one.

use std::collections::BTreeSet;

use crate::context::Context;
use crate::exit::{Failure, Problem};

/// A question.
pub(super) struct Question<'a> {
    /// What is to be typed.
    pub(super) what: &'a str,
    /// How; may be empty.
    pub(super) hint: &'a str,
    /// What an empty answer means.
    pub(super) default: Option<&'a str>,
    /// How to answer where nobody can be asked.
    pub(super) flag: &'a str,
}

/// What a person answers. What cannot be an answer is told, and the question asked again.
pub(super) async fn value<T>(
    context: &mut Context<'_>,
    question: &Question<'_>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    let Question { what, hint, default, flag } = question;
    let hint = if hint.is_empty() { String::new() } else { format!(" ({hint})") };
    let default_shown = default.map(|default| format!(" [{default}]")).unwrap_or_default();
    let text = format!("{what}{hint}{default_shown}:");
    loop {
        let line = context.typed(&text).await?.ok_or_else(|| missing(what, flag))?;
        // Without even a line end there will be no other line.
        if line.is_empty() {
            return Err(
                Problem::failure("not_confirmed", "the answers ended before the last question").into()
            );
        }
        match parse(Some(line.trim()).filter(|line| !line.is_empty()).or(*default).unwrap_or_default()) {
            Ok(value) => return Ok(value),
            Err(why) => context.out.progress(&why),
        }
    }
}

fn missing(what: &str, flag: &str) -> Problem {
    Problem::usage(format!("nobody can be asked for this: {what}"), &format!("say it with {flag}"))
}

/// Which of these a person means, by their indexes; with `one` not more than one.
pub(super) async fn several(
    context: &mut Context<'_>,
    question: &Question<'_>,
    items: &[String],
    one: bool,
) -> Result<Vec<usize>, Failure> {
    if context.has_person() {
        for (number, item) in (1..).zip(items) {
            context.out.progress(&format!("{number:>4}  {item}"));
        }
    }
    value(context, question, |text| chosen(text, items.len(), one)).await
}

/// Indexes of what is chosen of so many, such as `1,3-5` or `all`.
fn chosen(text: &str, count: usize, one: bool) -> Result<Vec<usize>, String> {
    let number = |text: &str| {
        let number = text.trim().parse::<usize>().ok().filter(|number| (1..=count).contains(number));
        number.ok_or_else(|| format!("\"{}\" is none of the numbers 1 to {count}", text.trim()))
    };
    let mut found = BTreeSet::new();
    for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
        let (first, last) = match part.split_once('-') {
            None if part == "all" => (1, count),
            None => (number(part)?, number(part)?),
            Some((first, last)) => (number(first)?, number(last)?),
        };
        if first > last {
            return Err(format!("\"{part}\" begins behind its end"));
        }
        found.extend(first - 1..last);
    }
    match found.len() {
        0 => Err("type the number of what you mean".to_owned()),
        2.. if one => Err("choose one: --profile names one profile".to_owned()),
        _ => Ok(found.into_iter().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ranges_and_all_are_taken_once_each() {
        for (text, expected) in [
            ("2", vec![1]),
            ("3,1", vec![0, 2]),
            ("1-3 2", vec![0, 1, 2]),
            ("1, 4-4", vec![0, 3]),
            ("all", vec![0, 1, 2, 3]),
        ] {
            assert_eq!(chosen(text, 4, false), Ok(expected), "{text}");
        }
        assert_eq!(chosen("2", 4, true), Ok(vec![1]));
    }

    #[test]
    fn what_chooses_nothing_says_why() {
        for (text, why) in [
            ("", "type the number of what you mean"),
            (" , ", "type the number of what you mean"),
            ("0", "\"0\" is none of the numbers 1 to 4"),
            ("5", "\"5\" is none of the numbers 1 to 4"),
            ("1-9", "\"9\" is none of the numbers 1 to 4"),
            ("x", "\"x\" is none of the numbers 1 to 4"),
            ("-2", "\"\" is none of the numbers 1 to 4"),
            ("3-1", "\"3-1\" begins behind its end"),
        ] {
            assert_eq!(chosen(text, 4, false), Err(why.to_owned()), "{text}");
        }
        assert_eq!(chosen("1,2", 4, true), Err("choose one: --profile names one profile".to_owned()));
    }
}
