//! What surrounds one command line: environment, streams, terminal, clock. An argument, so that tests own it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use stormtunnel_model::Timestamp;
use stormtunnel_proto::paths::Platform;

pub use crate::ends::Ends;
use crate::ends::terminating_with;
pub use crate::status_line::LineTerminal;

/// What surrounds one command line.
pub struct World<'w> {
    /// Variables of the environment.
    pub env: Environment,
    /// Standard output.
    pub out: &'w mut dyn Write,
    /// Standard error.
    pub err: &'w mut dyn Write,
    /// What standard output is.
    pub terminal: Terminal,
    /// This program runs in a container.
    pub in_container: bool,
    /// Reads a line that a person types; absent where nobody can be asked.
    pub answer: Option<Answer>,
    /// Reads the wall clock.
    pub clock: fn() -> Timestamp,
    /// Whose conventions hold.
    pub platform: Platform,
    /// The system's programs.
    pub programs: &'w dyn Programs,
    /// What ends a command from outside.
    pub ends: Ends,
    /// Where to say what is waited for; absent where that is no terminal.
    pub status: Option<LineTerminal>,
}

/// Runs programs of the system, such as the one that speaks to the service manager. Blocks.
pub trait Programs {
    /// Runs a program, by path or by name, to its end, without input.
    ///
    /// # Errors
    /// It cannot be started. An exit code is no error.
    fn run(&self, program: &Path, arguments: &[String]) -> io::Result<ProgramEnd>;

    /// Runs a program to its end in this terminal, and answers its exit code.
    ///
    /// # Errors
    /// It cannot be started.
    fn show(&self, program: &Path, arguments: &[String]) -> io::Result<i32>;
}

/// What a program left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramEnd {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// The programs of this machine.
#[derive(Clone, Copy, Debug)]
struct SystemPrograms;

impl Programs for SystemPrograms {
    fn run(&self, program: &Path, arguments: &[String]) -> io::Result<ProgramEnd> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn()?;
        let output = terminating_with(child.id(), || child.wait_with_output())?;
        Ok(ProgramEnd {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    fn show(&self, program: &Path, arguments: &[String]) -> io::Result<i32> {
        let mut child = Command::new(program).args(arguments).spawn()?;
        Ok(terminating_with(child.id(), || child.wait())?.code().unwrap_or(-1))
    }
}

/// Reads a line. Blocks.
pub type Answer = fn() -> io::Result<String>;

/// What output goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Columns of standard output when it is a terminal; tables are not cut otherwise.
    pub width: Option<u16>,
    /// Columns of standard error when it is a terminal; sentences are not broken otherwise.
    pub err_width: Option<u16>,
    /// Standard output shows colours.
    pub out_colour: bool,
    /// Standard error shows colours.
    pub err_colour: bool,
}

impl<'w> World<'w> {
    /// The world of this process, with the streams given.
    pub fn of_process(out: &'w mut dyn Write, err: &'w mut dyn Write) -> Self {
        let env: Environment = std::env::vars_os().collect();
        let terminal = Terminal::of_process(&env);
        // A question that is not seen, or that no key can answer, is none.
        let someone = io::stdin().is_terminal() && io::stderr().is_terminal();
        let answer = someone.then_some(typed_line as Answer);
        let is_dumb = env.text("TERM").as_deref() == Some("dumb");
        let status = terminal.err_width.filter(|_| !is_dumb);
        let status = status.map(|width| LineTerminal { err: Box::new(io::stderr()), width });
        Self {
            env,
            out,
            err,
            terminal,
            in_container: in_container(),
            answer,
            clock: wall_clock,
            platform: Platform::CURRENT,
            programs: &SystemPrograms,
            ends: Ends::of_process(),
            status,
        }
    }
}

impl fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The environment may hold credentials.
        f.debug_struct("World").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

/// Whether a container engine left its mark: Docker's, or that of Podman and its kin.
fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| Path::new(mark).exists())
}

fn typed_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line)
}

#[expect(clippy::disallowed_methods, reason = "this is the edge at which time comes in")]
fn wall_clock() -> Timestamp {
    std::time::SystemTime::now().into()
}

impl Terminal {
    fn of_process(env: &Environment) -> Self {
        Self {
            width: columns(env, io::stdout()),
            err_width: columns(env, io::stderr()),
            out_colour: shows_colour(env, io::stdout().is_terminal()),
            err_colour: shows_colour(env, io::stderr().is_terminal()),
        }
    }
}

/// Columns of a stream that is a terminal and knows them.
fn columns(env: &Environment, stream: impl IsTerminal + AsFd) -> Option<u16> {
    if !stream.is_terminal() {
        return None;
    }
    let measured = || rustix::termios::tcgetwinsize(stream).ok().map(|size| size.ws_col);
    let columns = env.text("COLUMNS").and_then(|text| text.parse().ok()).or_else(measured);
    columns.filter(|columns| *columns > 0)
}

/// Whether a stream gets colours: the conventions of no-color.org and bixense.com/clicolors, the refusal first.
fn shows_colour(env: &Environment, is_terminal: bool) -> bool {
    let is_zero = |name: &str| env.text(name).map(|text| text == "0");
    if env.text("NO_COLOR").is_some() {
        return false;
    }
    let is_forced = is_zero("CLICOLOR_FORCE") == Some(false);
    let is_refused = is_zero("CLICOLOR") == Some(true) || env.text("TERM").as_deref() == Some("dumb");
    is_forced || (is_terminal && !is_refused)
}

/// Variables of an environment. No `Debug`: they may hold credentials.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The value of a variable.
    pub fn value(&self, name: &str) -> Option<OsString> {
        self.0.get(OsStr::new(name)).cloned()
    }

    /// The value of a variable that is set, not empty, and text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.value(name).and_then(|value| value.into_string().ok()).filter(|text| !text.is_empty())
    }

    /// All variables, for a program that is started.
    pub fn variables(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.0.iter()
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(variables: T) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_conventions() {
        let of = |variables: &str| -> Environment {
            variables.split_whitespace().filter_map(|variable| variable.split_once('=')).collect()
        };
        for (variables, in_terminal, elsewhere) in [
            ("", true, false),
            ("NO_COLOR=1", false, false),
            ("NO_COLOR=", true, false),
            ("CLICOLOR=0", false, false),
            ("CLICOLOR=1", true, false),
            ("CLICOLOR_FORCE=1", true, true),
            ("CLICOLOR_FORCE=0", true, false),
            ("CLICOLOR_FORCE=1 NO_COLOR=1", false, false),
            ("TERM=dumb", false, false),
        ] {
            let env = of(variables);
            let shown = (shows_colour(&env, true), shows_colour(&env, false));
            assert_eq!(shown, (in_terminal, elsewhere), "{variables}");
        }
    }
}
