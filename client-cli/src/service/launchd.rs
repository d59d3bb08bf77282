//! launchd: a LaunchAgent in the session of the login window.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use stormtunnel_proto::paths::log_file;

use super::files::{filled, plist_text, text};
use super::{Change, Manager, ServiceFile, State, home, on_disk, run};
use crate::autostart::Plan;
use crate::context::Paths;
use crate::exit::Failure;
use crate::world::Programs;

const LABEL: &str = "io.stormtunnel.stormtunneld";

const TEMPLATE: &str = include_str!("../../../launchd/io.stormtunnel.stormtunneld.plist");

/// What to do when launchd refuses.
const REMEDY: &str = "use a terminal of the desktop session (not ssh), then repeat the command";

/// How often launchd is asked to load what it has not yet finished to unload. It waits a while by itself each time.
const LOADS: u32 = 5;

/// The launchd of the user's desktop session.
pub(super) struct Launchd<'a> {
    agents: PathBuf,
    /// `gui/UID`.
    domain: String,
    paths: &'a Paths,
    programs: &'a dyn Programs,
}

impl<'a> Launchd<'a> {
    pub(super) fn new(plan: &Plan<'a>) -> Result<Self, Failure> {
        let Plan { paths, env, programs, .. } = *plan;
        let agents = home(env)?.join("Library/LaunchAgents");
        let domain = format!("gui/{}", rustix::process::getuid().as_raw());
        Ok(Self { agents, domain, paths, programs })
    }

    fn launchctl(&self, arguments: &[&str]) -> Result<String, Failure> {
        run(self.programs, "launchctl", arguments, REMEDY)
    }

    fn place(&self) -> PathBuf {
        self.agents.join(format!("{LABEL}.plist"))
    }

    fn target(&self) -> String {
        format!("{}/{LABEL}", self.domain)
    }

    fn is_loaded(&self) -> bool {
        self.launchctl(&["print", &self.target()]).is_ok()
    }

    /// launchd makes the socket and opens the log, but no directory for them.
    fn make_directories(&self) -> Result<(), Failure> {
        let directories = [self.paths.socket.parent(), Some(self.paths.state_dir.as_path())];
        for directory in directories.into_iter().flatten() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|error| on_disk("made", directory, &error))?;
        }
        Ok(())
    }

    fn load(&self) -> Result<(), Failure> {
        self.make_directories()?;
        self.launchctl(&["enable", &self.target()])?;
        let place = self.place();
        let place = text(&place)?;
        let mut loaded = self.launchctl(&["bootstrap", &self.domain, place]);
        for _ in 1..LOADS {
            if loaded.is_ok() || self.is_loaded() {
                return Ok(());
            }
            loaded = self.launchctl(&["bootstrap", &self.domain, place]);
        }
        loaded.map(drop)
    }
}

impl Manager for Launchd<'_> {
    fn name(&self) -> &'static str {
        "launchd"
    }

    fn files(&self, daemon: &Path) -> Result<Vec<ServiceFile>, Failure> {
        let Paths { socket, state_dir, config } = self.paths;
        let log = log_file(state_dir);
        let value = |path: &Path| text(path).map(plist_text);
        let values = [
            ("STORMTUNNELD", value(daemon)?),
            ("SOCKET", value(socket)?),
            ("STATE_DIR", value(state_dir)?),
            ("CONFIG", value(config)?),
            ("LOG", value(&log)?),
        ];
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Ok(vec![ServiceFile { path: self.place(), text: filled(TEMPLATE, &values) }])
    }

    fn places(&self) -> Vec<PathBuf> {
        vec![self.place()]
    }

    fn in_force(&self) -> Vec<String> {
        fs::read_to_string(self.place()).into_iter().collect()
    }

    /// It reads a file when it loads it.
    fn reload(&self) -> Result<(), Failure> {
        self.launchctl(&["print", &self.domain]).map(drop)
    }

    fn enable(&self, change: Change) -> Result<(), Failure> {
        match (self.is_loaded(), change) {
            (false, _) => self.load(),
            (true, Change::None) => self.start(),
            (true, Change::Program) => self.restart(),
            (true, Change::Files | Change::Place) => {
                self.launchctl(&["bootout", &self.target()])?;
                self.load()
            }
        }
    }

    fn disable(&self) -> Result<(), Failure> {
        if self.is_loaded() { self.launchctl(&["bootout", &self.target()]).map(drop) } else { Ok(()) }
    }

    fn start(&self) -> Result<(), Failure> {
        if !self.is_loaded() {
            self.load()?;
        }
        self.launchctl(&["kickstart", &self.target()]).map(drop)
    }

    fn restart(&self) -> Result<(), Failure> {
        if !self.is_loaded() {
            self.load()?;
        }
        self.launchctl(&["kickstart", "-k", &self.target()]).map(drop)
    }

    fn state(&self) -> State {
        let Ok(said) = self.launchctl(&["print", &self.target()]) else { return State::default() };
        let value =
            |key: &str| said.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(" = "));
        let pid = value("pid").and_then(|pid| pid.parse().ok());
        State { enabled: true, active: pid.is_some(), pid }
    }

    /// launchd has no journal: the daemon writes a file.
    fn log_reader(&self, _lines: u32, _follow: bool) -> Option<(&'static str, Vec<String>)> {
        None
    }

    fn logout(&self, _linger: bool) -> Result<Option<&'static str>, Failure> {
        Ok(Some("the daemon ends when you log out of the desktop, and starts again when you log in"))
    }
}
