//! Text of at most 80 columns.

/// The widest line, in characters: what every terminal has.
const WIDTH: usize = 80;

/// Spaces before an entry of a list.
const INDENT: usize = 2;

/// A list: names in one column, what is said of them in the other.
pub(super) fn list<'a>(entries: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let entries: Vec<_> = entries.into_iter().collect();
    let names = entries.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let column = INDENT + names + 2;
    let mut shown = String::new();
    for (name, said) in entries {
        let mut first = format!("{:INDENT$}{name:names$}  ", "");
        for line in wrapped(&said, WIDTH - column) {
            shown += &format!("{first}{line}\n");
            first = " ".repeat(column);
        }
    }
    shown
}

/// A paragraph, broken between words.
pub(super) fn paragraph(text: &str) -> String {
    wrapped(text, WIDTH).join("\n") + "\n"
}

/// The lines of a text, none longer than `width` characters unless a word is.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line =
            lines.last_mut().filter(|line| line.is_empty() || length(line) + 1 + length(word) <= width);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a-word-that-is-long b", 5), ["a-word-that-is-long", "b"]);
        assert_eq!(wrapped("", 5), [""]);
    }

    #[test]
    fn a_list_has_two_columns() {
        let long = "word ".repeat(20);
        let shown = list([("a", "first".to_owned()), ("bcd", long)]);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "  a    first");
        assert!(lines[1].starts_with("  bcd  word word"), "{shown}");
        assert!(lines[2].starts_with("       word"), "{shown}");
        assert!(lines.iter().all(|line| length(line) <= WIDTH), "{shown}");
    }
}
