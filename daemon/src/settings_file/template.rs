//! What a new settings file may begin with: every setting in a comment, so that setting one means to take a `#` away.

use std::fmt::Write as _;

use super::document::{all, split, to_value};

const HEAD: &str = "\
# Settings of StormTunnel. A line that begins with # says nothing: take the # away to set what is
# behind it. What is shown is the default.
";

/// Longest line of a comment, without its sign.
const WIDTH: usize = 100;

/// All settings as comments, with meaning, range and default, in the order of the table.
pub(super) fn of_all() -> String {
    let (mut text, mut last) = (HEAD.to_owned(), "");
    for setting in all() {
        let (section, name) = split(setting.key);
        if section != last {
            let _ = write!(text, "\n[{section}]\n");
            last = section;
        } else {
            text.push('\n');
        }
        for line in wrapped(&format!("{} ({})", capitalised(setting.meaning), setting.range())) {
            let _ = writeln!(text, "# {line}");
        }
        let _ = writeln!(text, "#{name} = {}", to_value(setting, &setting.default_value()));
    }
    text
}

fn capitalised(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use stormtunnel_model::settings::{SETTINGS, Settings};

    use super::super::document::{Reading, read};
    use super::*;

    #[test]
    fn as_it_is_it_says_nothing_and_without_the_signs_it_says_the_defaults() {
        let template = of_all();
        let reading = read(&template, &Reading::default());
        assert_eq!(reading, Reading::default(), "{template}");
        let is_setting = |line: &str| line.starts_with('#') && !line.starts_with("# ");
        let set: String = template
            .lines()
            .map(|line| format!("{}\n", if is_setting(line) { &line[1..] } else { line }))
            .collect();
        let reading = read(&set, &Reading::default());
        assert_eq!((reading.problems, reading.settings), (Vec::new(), Settings::default()), "{set}");
        assert_eq!(reading.set, SETTINGS.iter().map(|setting| setting.key).collect::<BTreeSet<_>>());
    }

    #[test]
    fn each_setting_has_meaning_range_and_default() {
        let template = of_all();
        let timeout = "\n[tunnels]\n# How long one attempt to connect may take, from StartSession to Up (whole seconds from 10 to 120)\n\
                       #connect_timeout = 30\n";
        assert!(template.contains(timeout), "{template}");
        assert!(template.lines().all(|line| line.chars().count() <= WIDTH + 2), "{template}");
        assert_eq!(template.matches("\n[").count(), 6, "a section stands once: {template}");
    }
}
