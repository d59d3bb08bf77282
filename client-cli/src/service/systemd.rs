//! systemd: a socket and a service among the units of the user.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::{filled, for_user, text, unit_value, unit_word, value};
use super::{Change, Manager, ServiceFile, State, home, is_mask, run};
use crate::autostart::Plan;
use crate::context::Paths;
use crate::exit::{Failure, Problem};
use crate::world::Programs;

const SERVICE: &str = "stormtunneld.service";
const SOCKET: &str = "stormtunneld.socket";

const SERVICE_TEMPLATE: &str = include_str!("../../../launchd/stormtunneld.service");
const SOCKET_TEMPLATE: &str = include_str!("../../../launchd/stormtunneld.socket");

/// Where an administrator enables units for every user.
const FOR_EVERYBODY: &str = "/etc/systemd/user";

/// What to do when systemd does not answer.
const NO_MANAGER: &str = "log in as this user (not with su or sudo), so that a systemd of the user runs; where there is none, \
     do without the service: any command starts the daemon";

const LOGOUT: &str = "the daemon ends when you log out for the last time; `loginctl enable-linger` keeps it running, and \
     starts it when the machine starts (`stctl daemon install --linger` asks for it)";

/// The systemd of the user.
pub(super) struct Systemd<'a> {
    directory: PathBuf,
    /// What `%t` and `%h` in a unit mean.
    runtime: String,
    home: String,
    paths: &'a Paths,
    programs: &'a dyn Programs,
}

impl<'a> Systemd<'a> {
    pub(super) fn new(plan: &Plan<'a>) -> Result<Self, Failure> {
        let Plan { paths, env, programs, .. } = *plan;
        let config = env.value("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = home(env)?;
        let config = config.unwrap_or_else(|| home.join(".config"));
        let runtime = env.text("XDG_RUNTIME_DIR").unwrap_or_default();
        let home = text(&home)?.to_owned();
        Ok(Self { directory: config.join("systemd/user"), runtime, home, paths, programs })
    }

    fn systemctl(&self, arguments: &[&str]) -> Result<String, Failure> {
        run(self.programs, "systemctl", &[&["--user"], arguments].concat(), NO_MANAGER)
    }

    /// The units that run this program, as we write them.
    fn own(&self, daemon: &Path) -> Result<Vec<ServiceFile>, Failure> {
        let Paths { socket, state_dir, config } = self.paths;
        let word = |path: &Path| text(path).map(unit_word);
        let values = [
            ("STORMTUNNELD", word(daemon)?),
            ("SOCKET", word(socket)?),
            ("STATE_DIR", word(state_dir)?),
            ("CONFIG", word(config)?),
        ];
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let listen = unit_value(text(socket)?);
        let file = |name: &str, text: String| ServiceFile { path: self.directory.join(name), text };
        Ok(vec![
            file(SOCKET, filled(SOCKET_TEMPLATE, &[("SOCKET", &listen)])),
            file(SERVICE, filled(SERVICE_TEMPLATE, &values)),
        ])
    }

    /// Whether a package has brought units that start what these start, for the same socket.
    fn is_packaged(&self, own: &[ServiceFile]) -> Result<bool, Failure> {
        let said = self.systemctl(&["show", "--property=UnitPath", "--value"])?;
        let mut directories = said.split_whitespace().map(Path::new).filter(|path| *path != self.directory);
        // The first one is the one that systemd takes.
        let found = directories.find(|directory| directory.join(SERVICE).exists());
        Ok(found.is_some_and(|found| {
            own.iter().all(|ServiceFile { path, text }| {
                let theirs = path.file_name().and_then(|name| self.read(&found.join(name)));
                let is_same =
                    |key: &str| theirs.as_deref().and_then(|theirs| value(theirs, key)) == value(text, key);
                theirs.is_some() && ["ListenStream", "ExecStart"].into_iter().all(is_same)
            })
        }))
    }

    /// Whether a link to nothing is in the place of a unit, which is how systemd is told never to start it.
    fn is_masked(&self) -> bool {
        self.places().iter().any(|place| is_mask(place))
    }

    /// A unit, as this user has it.
    fn read(&self, path: &Path) -> Option<String> {
        fs::read_to_string(path).ok().map(|text| for_user(&text, &self.runtime, &self.home))
    }

    /// A service that has failed several times is started no more, however it is asked, and is remembered when its files are
    /// gone. Where there is nothing to forget the call fails, which is as good.
    fn forget_failures(&self) {
        let _ = self.systemctl(&["reset-failed", SOCKET, SERVICE]);
    }
}

impl Manager for Systemd<'_> {
    fn name(&self) -> &'static str {
        "systemd"
    }

    /// A copy would hide what the next version of a package brings.
    fn files(&self, daemon: &Path) -> Result<Vec<ServiceFile>, Failure> {
        if self.is_masked() {
            let headline = "the service is masked: somebody has forbidden it to start";
            let remedy = format!("`systemctl --user unmask {SOCKET} {SERVICE}` allows it again");
            return Err(Problem { remedy, ..Problem::failure("service", headline) }.into());
        }
        // A package names its program without links.
        let real = fs::canonicalize(daemon).unwrap_or_else(|_| daemon.to_owned());
        if self.is_packaged(&self.own(&real)?)? { Ok(Vec::new()) } else { self.own(daemon) }
    }

    fn places(&self) -> Vec<PathBuf> {
        [SOCKET, SERVICE].map(|name| self.directory.join(name)).into()
    }

    fn in_force(&self) -> Vec<String> {
        if self.is_masked() {
            return Vec::new();
        }
        let places = self.places();
        if places.iter().any(|place| place.exists()) {
            return places.iter().map(|place| self.read(place).unwrap_or_default()).collect();
        }
        // Those of a package count once they are enabled: that is a link to them.
        let enabled = [self.directory.as_path(), Path::new(FOR_EVERYBODY)];
        let mut links = enabled.iter().map(|place| place.join("sockets.target.wants").join(SOCKET));
        links.find_map(|link| self.read(&link)).into_iter().collect()
    }

    fn reload(&self) -> Result<(), Failure> {
        self.systemctl(&["daemon-reload"]).map(drop)
    }

    fn enable(&self, change: Change) -> Result<(), Failure> {
        let was_active = self.state().active;
        if change == Change::Place {
            self.systemctl(&["stop", SOCKET, SERVICE])?;
        }
        // Anew: a link may still lead to files that are no longer those in force.
        self.systemctl(&["reenable", SOCKET, SERVICE])?;
        self.start()?;
        match change {
            Change::Program | Change::Files if was_active => self.restart(),
            Change::None | Change::Program | Change::Files | Change::Place => Ok(()),
        }
    }

    fn disable(&self) -> Result<(), Failure> {
        self.systemctl(&["disable", "--now", SOCKET, SERVICE])?;
        self.forget_failures();
        Ok(())
    }

    fn start(&self) -> Result<(), Failure> {
        self.forget_failures();
        self.systemctl(&["start", SOCKET, SERVICE]).map(drop)
    }

    fn restart(&self) -> Result<(), Failure> {
        self.forget_failures();
        self.systemctl(&["restart", SERVICE]).map(drop)
    }

    fn state(&self) -> State {
        let properties = "--property=UnitFileState,ActiveState,MainPID";
        let Ok(said) = self.systemctl(&["show", properties, SERVICE]) else { return State::default() };
        let value = |key: &str| value(&said, key);
        State {
            enabled: value("UnitFileState") == Some("enabled"),
            active: matches!(value("ActiveState"), Some("active" | "activating")),
            pid: value("MainPID").and_then(|pid| pid.parse().ok()).filter(|pid| *pid != 0),
        }
    }

    fn log_reader(&self, lines: u32, follow: bool) -> Option<(&'static str, Vec<String>)> {
        let mut arguments =
            vec![format!("--user-unit={SERVICE}"), format!("--lines={lines}"), "--no-pager".to_owned()];
        arguments.extend(follow.then(|| "--follow".to_owned()));
        Some(("journalctl", arguments))
    }

    fn logout(&self, linger: bool) -> Result<Option<&'static str>, Failure> {
        let remedy = "ask whoever runs this machine to allow it";
        if linger {
            run(self.programs, "loginctl", &["enable-linger"], remedy)?;
            return Ok(None);
        }
        let uid = rustix::process::getuid().as_raw().to_string();
        let said =
            run(self.programs, "loginctl", &["show-user", "--property=Linger", "--value", &uid], remedy);
        Ok((!said.is_ok_and(|said| said.trim() == "yes")).then_some(LOGOUT))
    }
}
