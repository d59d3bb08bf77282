//! The daemon as a service of the user: systemd or launchd starts it, holds its socket and starts it again.
//!
//! The files are the templates in `launchd/`, filled in. What is asked of the system's programs goes through [`Programs`].

mod files;
mod launchd;
mod systemd;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use stormtunnel_proto::paths::Platform;

use crate::autostart::Plan;
use crate::context::Paths;
use crate::exit::{Failure, Problem};
use crate::world::{Environment, ProgramEnd, Programs};
pub(crate) use files::program_in;
use launchd::Launchd;
use systemd::Systemd;

/// A file of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// What the service manager says of the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// It starts when the user logs in.
    pub(crate) enabled: bool,
    /// Its daemon runs or starts.
    pub(crate) active: bool,
    /// Its daemon.
    pub(crate) pid: Option<u32>,
}

/// What changes for a service that is installed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing: what runs goes on.
    None,
    /// The program: started anew it is another one.
    Program,
    /// The files: the manager has to read them again.
    Files,
    /// The socket is at another place.
    Place,
}

/// The system's service manager.
pub(crate) trait Manager {
    /// Its name.
    fn name(&self) -> &'static str;

    /// The files to write for a service with that program as the daemon: none where a package has brought them.
    fn files(&self, daemon: &Path) -> Result<Vec<ServiceFile>, Failure>;

    /// Where files are that were written.
    fn places(&self) -> Vec<PathBuf>;

    /// What the manager goes by, if the service is there: files that were written, else those of a package that are enabled.
    fn in_force(&self) -> Vec<String>;

    /// Fails when the manager does not answer; reads files that have changed.
    fn reload(&self) -> Result<(), Failure>;

    /// Has the service started now and at every login; one that runs is replaced as far as it has changed.
    fn enable(&self, change: Change) -> Result<(), Failure>;

    /// Ends the service and forgets it. Its files are still there.
    fn disable(&self) -> Result<(), Failure>;

    /// Starts what is not running.
    fn start(&self) -> Result<(), Failure>;

    /// Ends the daemon, if one runs, and starts it.
    fn restart(&self) -> Result<(), Failure>;

    /// What it says of the service; nothing when it does not answer.
    fn state(&self) -> State;

    /// The program that shows the log, where the manager has it.
    fn log_reader(&self, lines: u32, follow: bool) -> Option<(&'static str, Vec<String>)>;

    /// What has to be known of logging out; `linger` has the service stay.
    fn logout(&self, linger: bool) -> Result<Option<&'static str>, Failure>;
}

/// The service manager of this system.
pub(crate) fn manager<'a>(plan: &Plan<'a>) -> Result<Box<dyn Manager + 'a>, Failure> {
    Ok(match plan.platform {
        Platform::Linux => Box::new(Systemd::new(plan)?),
        Platform::MacOs => Box::new(Launchd::new(plan)?),
    })
}

fn home(env: &Environment) -> Result<PathBuf, Failure> {
    let home = env.value("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    home.ok_or_else(|| {
        let headline = "HOME is not set, so there is no place for a service";
        Problem::usage(headline, "set HOME to your home directory").into()
    })
}

/// Whether the service is there, and serves this socket: a daemon for another one is none of its business.
pub(crate) fn is_installed(manager: &dyn Manager, paths: &Paths) -> bool {
    let Some(socket) = paths.socket.to_str() else { return false };
    let texts = manager.in_force();
    !texts.is_empty() && texts.iter().all(|text| files::names_socket(text, socket))
}

/// Writes the files that are not there or that differ. Answers whether any did.
pub(crate) fn write(files: &[ServiceFile]) -> Result<bool, Failure> {
    let mut changed = false;
    for ServiceFile { path, text } in files {
        if fs::read_to_string(path).is_ok_and(|found| found == *text) {
            continue;
        }
        let directory = path.parent().unwrap_or(Path::new("/"));
        let written = fs::create_dir_all(directory).and_then(|()| fs::write(path, text));
        written.map_err(|error| on_disk("written", path, &error))?;
        changed = true;
    }
    Ok(changed)
}

/// Whether that is what `systemctl mask` leaves in the place of a file.
pub(crate) fn is_mask(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null"))
}

/// Removes the files, but no mask. Answers whether any was there.
pub(crate) fn remove(places: &[PathBuf]) -> Result<bool, Failure> {
    let mut found = false;
    for path in places.iter().filter(|path| !is_mask(path)) {
        match fs::remove_file(path) {
            Ok(()) => found = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(on_disk("removed", path, &error)),
        }
    }
    Ok(found)
}

fn on_disk(what: &str, path: &Path, error: &io::Error) -> Failure {
    let headline = format!("{} cannot be {what}", path.display());
    Problem { detail: error.to_string(), ..Problem::failure("service", headline) }.into()
}

/// Runs a program of the system's, which must succeed, and answers its output.
fn run(programs: &dyn Programs, program: &str, arguments: &[&str], remedy: &str) -> Result<String, Failure> {
    let shown = || format!("`{program} {}`", arguments.join(" "));
    let problem = |headline: String, detail: String| -> Failure {
        Problem { detail, remedy: remedy.to_owned(), ..Problem::failure("service", headline) }.into()
    };
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    match programs.run(Path::new(program), &arguments) {
        Ok(ProgramEnd { code: 0, stdout, .. }) => Ok(stdout),
        Ok(ProgramEnd { stderr, .. }) => {
            Err(problem(format!("{} failed", shown()), stderr.trim_end().to_owned()))
        }
        Err(error) => Err(problem(format!("{} cannot be run", shown()), error.to_string())),
    }
}
