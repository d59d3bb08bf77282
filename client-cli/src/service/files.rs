//! Fills in the templates. A path is written by the rules of the file that it gets into.

use std::path::Path;

use crate::exit::{Failure, Problem};

/// One word of a command line in a unit file.
pub(super) fn unit_word(path: &str) -> String {
    let path = unit_value(path).replace('$', "$$");
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:%$".contains(c);
    if path.chars().all(is_plain) {
        return path;
    }
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The whole value of a line in a unit file.
pub(super) fn unit_value(path: &str) -> String {
    path.replace('%', "%%")
}

/// Text of a property list.
pub(super) fn plist_text(path: &str) -> String {
    path.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A path as text. What no line of a file can hold is refused.
pub(super) fn text(path: &Path) -> Result<&str, Failure> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control));
    text.ok_or_else(|| {
        let headline = format!("the path {} cannot be written into a service's file", path.display());
        Problem::usage(headline, "choose a path that is text").into()
    })
}

/// Puts each value in the place of its name.
pub(super) fn filled(template: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
}

/// The program that a filled file starts.
pub(crate) fn program_in(text: &str) -> Option<String> {
    if let Some(line) = text.lines().find_map(|line| line.trim().strip_prefix("ExecStart=")) {
        return first_word(line).filter(|word| !word.is_empty());
    }
    let arguments = text.split_once("<key>ProgramArguments</key>")?.1;
    let program = arguments.split_once("<string>")?.1.split_once("</string>")?.0;
    Some(program.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))
}

/// The first word of a command line in a unit file, as [`unit_word`] wrote it.
fn first_word(line: &str) -> Option<String> {
    let word = match line.strip_prefix('"') {
        None => line.split_whitespace().next()?.to_owned(),
        Some(quoted) => {
            let mut word = String::new();
            let mut characters = quoted.chars();
            loop {
                match characters.next()? {
                    '"' => break word,
                    '\\' => word.push(characters.next()?),
                    other => word.push(other),
                }
            }
        }
    };
    Some(word.replace("$$", "$").replace("%%", "%"))
}

/// Whether a filled file is about that socket.
pub(super) fn names_socket(text: &str, socket: &str) -> bool {
    [unit_word(socket), unit_value(socket), plist_text(socket)].iter().any(|written| {
        text.lines().any(|line| {
            line == format!("ListenStream={written}")
                || line.contains(&format!("--socket {written} "))
                || line.trim() == format!("<string>{written}</string>")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_whatever_is_in_it() {
        assert_eq!(unit_word("/home/u/bin/stormtunneld"), "/home/u/bin/stormtunneld");
        assert_eq!(unit_word("/home/a b/100%/$x\"\\"), "\"/home/a b/100%%/$$x\\\"\\\\\"");
        assert_eq!(unit_value("/home/a b/100%"), "/home/a b/100%%");
        assert_eq!(plist_text("/Users/u/A & B"), "/Users/u/A &amp; B");
        assert!(text(Path::new("/home/u\n/x")).is_err());
    }

    #[test]
    fn the_program_is_read_back_as_it_was_written() {
        for path in ["/home/u/bin/stormtunneld", "/home/a b/100%/$x\"\\/d", "/Users/u/A & <B>"] {
            let unit = format!("[Service]\nType=notify\nExecStart={} --socket /s\n", unit_word(path));
            assert_eq!(program_in(&unit).as_deref(), Some(path), "{unit}");
            let agent = format!(
                "<key>Label</key><string>x</string><key>ProgramArguments</key><array><string>{}</string>",
                plist_text(path)
            );
            assert_eq!(program_in(&agent).as_deref(), Some(path), "{agent}");
        }
        assert_eq!(program_in("[Socket]\nListenStream=/s\n"), None);
        assert_eq!(program_in("ExecStart=\"/never ends"), None);
    }

    #[test]
    fn a_file_is_about_one_socket() {
        let unit = "[Socket]\nListenStream=/run/user/1/daemon.sock\n";
        assert!(names_socket(unit, "/run/user/1/daemon.sock"));
        assert!(!names_socket(unit, "/run/user/1/daemon.soc"));
    }
}
