//! The physical lines of a file.

use std::borrow::Cow;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One line.
pub(crate) struct Line<'a> {
    /// Its bytes, with what ends it.
    pub(crate) raw: &'a [u8],
    /// What ends it; empty at the end of a file.
    pub(crate) ending: &'a [u8],
    /// Its text without the ending, and without the byte order mark of a file.
    pub(crate) text: Cow<'a, str>,
    /// Whether it begins with the byte order mark of a file.
    pub(crate) marked: bool,
}

impl Line<'_> {
    /// Whether the text is what stands in the file, or was made of bytes that are not UTF-8.
    pub(crate) fn is_utf8(&self) -> bool {
        matches!(self.text, Cow::Borrowed(_))
    }

    /// The text without white space around it.
    pub(crate) fn trimmed(&self) -> &str {
        trim(&self.text)
    }

    /// How far its text is indented, in characters.
    pub(crate) fn indent(&self) -> usize {
        self.margin().chars().count()
    }

    /// The white space in front of its text.
    pub(crate) fn margin(&self) -> &str {
        &self.text[..self.text.len() - self.text.trim_start_matches(is_space).len()]
    }

    /// Whether a comment is all that stands in it. A comment behind a value is a part of the value.
    pub(crate) fn is_comment(&self) -> bool {
        self.trimmed().starts_with(['#', ';'])
    }
}

/// The lines of `content`. A line ends with LF, CR LF or CR, as Python's text files have it.
pub(crate) fn lines(content: &[u8]) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut rest = content;
    while !rest.is_empty() {
        let length = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let ending = match rest.get(length..) {
            Some([b'\r', b'\n', ..]) => 2,
            Some([_, ..]) => 1,
            Some([]) | None => 0,
        };
        let (raw, next) = rest.split_at(length + ending);
        let (text, ending) = raw.split_at(length);
        let unmarked = text.strip_prefix(BYTE_ORDER_MARK).filter(|_| lines.is_empty());
        let marked = unmarked.is_some();
        let text = String::from_utf8_lossy(unmarked.unwrap_or(text));
        lines.push(Line { raw, ending, text, marked });
        rest = next;
    }
    lines
}

/// `text` without the white space around it, as Python's `strip` takes it.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// White space to Python: that of Unicode and four separators of ASCII.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_end_is_one() {
        let lines = lines(b"\xef\xbb\xbfa\r\nb\rc\n\n \xff");
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_ref()).collect();
        assert_eq!(texts, ["a", "b", "c", "", " \u{fffd}"]);
        assert_eq!(lines.iter().map(|line| line.ending.len()).collect::<Vec<_>>(), [2, 1, 1, 1, 0]);
        assert!(lines[0].marked && lines[0].is_utf8() && !lines[4].is_utf8());
        assert_eq!(lines[4].indent(), 1);
    }

    #[test]
    fn lines_are_the_file() {
        let content = b"\xef\xbb\xbf[a]\r\n\rb = \xff\n\n\xef\xbb\xbf";
        assert_eq!(lines(content).iter().flat_map(|line| line.raw).copied().collect::<Vec<_>>(), content);
    }
}
