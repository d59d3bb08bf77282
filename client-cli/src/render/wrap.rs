//! Sentences in lines that fit. Commands between backticks are never broken: people copy them.

/// The text in lines of at most `width` columns, where its words allow that; all but the first begin with `indent` spaces.
/// Line ends that it has stay.
pub fn wrapped(text: &str, width: Option<u16>, indent: usize) -> String {
    let Some(width) = width.map(usize::from) else { return text.to_owned() };
    let lines: Vec<String> = text.split('\n').map(|line| folded(line, width, indent)).collect();
    lines.join("\n")
}

fn folded(line: &str, width: usize, indent: usize) -> String {
    if columns(line) <= width {
        return line.to_owned();
    }
    let mut folded = String::new();
    let mut used = 0;
    for piece in pieces(line) {
        let (word, needed) = (piece.trim_end(), columns(piece.trim_end()));
        if used > indent && used + needed > width && !word.is_empty() {
            let kept = folded.trim_end().len();
            folded.truncate(kept);
            folded.push('\n');
            folded.push_str(&" ".repeat(indent));
            used = indent;
        }
        folded.push_str(piece);
        used += columns(piece);
    }
    let kept = folded.trim_end().len();
    folded.truncate(kept);
    folded
}

/// Words with the spaces behind them; what stands between backticks is one.
fn pieces(line: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut is_command, mut is_behind) = (0, false, false);
    for (at, character) in line.char_indices() {
        if is_behind && character != ' ' {
            pieces.push(&line[start..at]);
            start = at;
        }
        is_command ^= character == '`';
        // Spaces at the beginning of a line are its indentation.
        is_behind = character == ' ' && !is_command && !line[..at].trim().is_empty();
    }
    pieces.push(&line[start..]);
    pieces
}

/// Columns that a text takes: colours take none.
pub(super) fn columns(text: &str) -> usize {
    plain(text).chars().count()
}

/// The text without its colours.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_on_in_the_next_line() {
        assert_eq!(wrapped("one two three", Some(9), 2), "one two\n  three");
        assert_eq!(wrapped("one two\nthree four", Some(9), 0), "one two\nthree\nfour");
        assert_eq!(wrapped("one two three", None, 2), "one two three");
        assert_eq!(wrapped("  fix: one two", Some(10), 4), "  fix: one\n    two");
    }

    #[test]
    fn a_command_stays_whole() {
        assert_eq!(wrapped("do `stctl up db` now", Some(10), 2), "do\n  `stctl up db`\n  now");
    }

    #[test]
    fn a_word_that_is_too_long_stands_alone() {
        assert_eq!(
            wrapped("a https://example.com/start b", Some(10), 1),
            "a\n https://example.com/start\n b"
        );
    }

    #[test]
    fn colours_take_no_columns() {
        let red = "\u{1b}[31merror:\u{1b}[39m one two";
        assert_eq!(wrapped(red, Some(14), 2), red);
        assert_eq!(columns(red), 14);
    }
}
