//! The browser that a person's environment names, in `BROWSER`: commands with colons between, as `xdg-open` takes them. The daemon
//! has an environment of its own, and never sees this one.

use std::path::{Path, PathBuf};

use stormtunnel_model::quoted;

use crate::world::Environment;

/// The first command whose program is there, with the program's whole path: the daemon may look for programs elsewhere.
pub(crate) fn named(env: &Environment, is_program: impl Fn(&Path) -> bool) -> Option<String> {
    let path = env.value("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path).filter(|one| one.is_absolute()).collect();
    let find = |program: &str| {
        let candidates = if program.contains('/') {
            vec![std::path::absolute(program).ok()?]
        } else {
            directories.iter().map(|directory| directory.join(program)).collect()
        };
        candidates.into_iter().find(|candidate| is_program(candidate))
    };
    let commands = env.text("BROWSER")?;
    commands.split(':').find_map(|command| {
        let (program, arguments) = split(command.trim())?;
        let found = find(program)?;
        Some(format!("{}{arguments}", quoted(found.to_str()?)))
    })
}

/// The program, and the rest with the blank before it.
fn split(command: &str) -> Option<(&str, &str)> {
    let quote = command.chars().next().filter(|first| "'\"".contains(*first));
    let (program, rest) = match quote {
        Some(quote) => command[1..].split_once(quote)?,
        None => command.split_at(command.find(char::is_whitespace).unwrap_or(command.len())),
    };
    (!program.is_empty()).then_some((program, rest))
}

/// Whether that is a file that somebody may execute.
pub(crate) fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named_in(browser: &str) -> Option<String> {
        let env: Environment =
            [("BROWSER", browser), ("PATH", "relative:/usr/bin:/opt/my apps")].into_iter().collect();
        let there = ["/usr/bin/firefox", "/opt/my apps/brave", "/opt/my apps/it's"];
        named(&env, |path| there.iter().any(|one| Path::new(one) == path))
    }

    #[test]
    fn the_first_command_that_is_there_is_taken() {
        for (browser, taken) in [
            ("firefox", "/usr/bin/firefox"),
            ("chrome:firefox --new-tab %s:brave", "/usr/bin/firefox --new-tab %s"),
            (" : firefox", "/usr/bin/firefox"),
            ("/usr/bin/firefox %s", "/usr/bin/firefox %s"),
            ("brave --url=%s", "'/opt/my apps/brave' --url=%s"),
            ("'/opt/my apps/brave' -n", "'/opt/my apps/brave' -n"),
            ("\"/opt/my apps/it's\"", r"'/opt/my apps/it'\''s'"),
        ] {
            assert_eq!(named_in(browser).as_deref(), Some(taken), "{browser}");
        }
    }

    #[test]
    fn without_a_command_that_is_there_it_is_the_systems_browser() {
        for browser in ["", ":", "chrome", "/usr/bin/chrome:lynx", "'firefox", "relative"] {
            assert_eq!(named_in(browser), None, "{browser}");
        }
    }
}
