//! The daemon as a service, on systems without programs: what is written, and what their managers are asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stctl::world::{Answer, ProgramEnd};
use stormtunnel_proto::API_LEVEL;
use stormtunnel_proto::paths::Platform;

use crate::doctor;
use crate::fake::{Fake, OWN_SOCKET};
use crate::starting::script;
use crate::support::{Ran, on, stopped};
use crate::system::System;

/// The fake daemon's version and process.
const VERSION: &str = "stormtunneld 1.2.3\n";
pub(crate) const ITS_OWN: &str = "UnitFileState=enabled\nActiveState=active\nMainPID=4711\n";
const NOBODYS: &str = "UnitFileState=\nActiveState=inactive\nMainPID=0\n";

fn linux() -> System {
    System::of(Platform::Linux).says("stormtunneld --version", VERSION)
}

/// A home with the daemon's program in it.
pub(crate) struct Home {
    directory: tempfile::TempDir,
    program: PathBuf,
}

impl Home {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = script(directory.path(), "exit 9");
        Self { directory, program }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn unit(&self, name: &str) -> PathBuf {
        self.path().join(".config/systemd/user").join(name)
    }

    pub(crate) fn agent(&self) -> PathBuf {
        self.path().join("Library/LaunchAgents/io.stormtunnel.stormtunneld.plist")
    }

    pub(crate) async fn run(
        &self,
        system: &System,
        socket: &Path,
        line: &str,
        answer: Option<Answer>,
    ) -> Ran {
        let home = self.path().to_str().unwrap();
        let state = self.path().join("state");
        let variables = [
            ("HOME", home),
            ("STORMTUNNEL_STATE_DIR", state.to_str().unwrap()),
            ("STCTL_DAEMON", self.program.to_str().unwrap()),
        ];
        on(system, Duration::from_secs(30), socket, &variables, line, answer).await
    }

    fn shown(&self, socket: &Path, text: &str) -> String {
        let uid = format!("gui/{}", rustix::process::getuid().as_raw());
        text.replace(socket.to_str().unwrap(), "SOCKET")
            .replace(self.path().to_str().unwrap(), "HOME")
            .replace(&uid, "gui/UID")
            .replace(&format!("--value {}", rustix::process::getuid().as_raw()), "--value UID")
    }
}

/// A daemon that serves on, and the path on which its clients look for it, which goes when it is told to end.
struct Sockets {
    directory: tempfile::TempDir,
    /// Its lock, as long as it lives.
    _lock: fs::File,
}

impl Sockets {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.sock.lock");
        fs::write(&path, "4711\n").unwrap();
        let lock = fs::File::open(&path).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        Self { directory, _lock: lock }
    }

    fn served(&self) -> PathBuf {
        self.directory.path().join(OWN_SOCKET)
    }

    fn looked_at(&self) -> PathBuf {
        self.directory.path().join("daemon.sock")
    }

    async fn beside<T>(&self, test: impl AsyncFnOnce(Fake) -> T) -> T {
        let (served, looked_at) = (self.served(), self.looked_at());
        Fake::beside_at(&served, &looked_at, vec![stopped("db", "80", "auto")], async |fake: Fake| {
            fs::hard_link(&served, &looked_at).unwrap();
            test(fake).await
        })
        .await
    }

    /// The daemon is there again once this program has run.
    fn served_after(&self, system: System, line: &'static str) -> System {
        let (served, looked_at) = (self.served(), self.looked_at());
        system.does(line, move || {
            fs::hard_link(&served, &looked_at).unwrap();
            ProgramEnd::default()
        })
    }
}

#[tokio::test]
async fn install_writes_the_units_and_starts_them_and_changes_nothing_when_repeated() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let (home, system) = (Home::new(), linux().says("systemctl --user show", ITS_OWN));
        let first = home.run(&system, fake.socket(), "daemon install", None).await;
        assert_eq!(first.code, 0, "{first:?}");
        let units = ["stormtunneld.socket", "stormtunneld.service"]
            .map(|name| format!("--- {name}\n{}", fs::read_to_string(home.unit(name)).unwrap()));
        let asked = system.asked().join("\n");
        let all = format!("{}{asked}\n{}", first.shown(), units.concat());
        insta::assert_snapshot!("install_systemd", home.shown(fake.socket(), &all));

        let second = home.run(&system, fake.socket(), "daemon install", None).await;
        assert_eq!(second.code, 0, "{second:?}");
        let asked = system.asked();
        assert!(!asked.iter().any(|line| line.contains("restart")), "{asked:?}");
        assert_eq!(fake.asked(), [""; 0], "the daemon is not stopped");
    })
    .await;
}

/// A system on which a package has brought these units.
struct Package {
    directory: tempfile::TempDir,
}

impl Package {
    fn new(program: &Path, socket: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = fs::canonicalize(program).unwrap();
        let service = format!(
            "[Service]\nExecStart={} --socket {socket} --state-dir %h/state --config %h/.config/stormtunnel/settings.toml\n",
            program.display()
        );
        fs::write(directory.path().join("stormtunneld.service"), service).unwrap();
        let socket = format!("[Socket]\nListenStream={socket}\n");
        fs::write(directory.path().join("stormtunneld.socket"), socket).unwrap();
        Self { directory }
    }

    fn system(&self, state: &'static str) -> System {
        let path = format!("/etc/systemd/user {}\n", self.directory.path().display());
        linux()
            .says("systemctl --user show --property=UnitPath", Box::leak(path.into_boxed_str()))
            .says("systemctl --user show", state)
    }

    /// What `systemctl reenable` does.
    fn enable(&self, home: &Home) {
        let wants = home.unit("sockets.target.wants");
        fs::create_dir_all(&wants).unwrap();
        let name = "stormtunneld.socket";
        std::os::unix::fs::symlink(self.directory.path().join(name), wants.join(name)).unwrap();
    }
}

#[tokio::test]
async fn units_of_a_package_are_enabled_and_not_copied() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let home = Home::new();
        let socket = home.path().join("run/daemon.sock");
        fs::create_dir(home.path().join("run")).unwrap();
        fs::hard_link(fake.socket(), &socket).unwrap();
        // Installed before there was a package: the copies go.
        let bare = linux().says("systemctl --user show", ITS_OWN);
        let before = home.run(&bare, &socket, "daemon install", None).await;
        assert_eq!(before.code, 0);
        assert!(home.unit("stormtunneld.service").exists());

        let package = Package::new(&home.program, "%h/run/daemon.sock");
        let system = package.system(ITS_OWN);
        let found = doctor::service(&home, &system, &socket).await;
        assert!(found["outcome"] == "warn" && found["detail"].to_string().contains("hide those"), "{found}");
        system.asked();
        let installed = home.run(&system, &socket, "daemon install", None).await;
        assert_eq!(installed.code, 0, "{installed:?}");
        assert!(!home.unit("stormtunneld.service").exists() && !home.unit("stormtunneld.socket").exists());
        let asked = system.asked().join("\n").replace(home.path().to_str().unwrap(), "HOME");
        let verbs = ["daemon-reload", "reenable", "reset-failed", "start", "restart"];
        let places =
            verbs.map(|verb| asked.find(&format!("--user {verb} stormtunneld")).or(asked.find(verb)));
        assert!(places.is_sorted() && places.iter().all(Option::is_some), "{asked}");

        package.enable(&home);
        let found = doctor::service(&home, &system, &socket).await;
        assert_eq!(
            (&found["outcome"], &found["detail"]),
            (&"pass".into(), &"the service of the package".into())
        );
        let status = home.run(&system, &socket, "daemon status -o json", None).await.json();
        assert_eq!(status["service"]["installed"], true, "{status}");
        let elsewhere =
            home.run(&system, &home.path().join("else.sock"), "daemon status -o json", None).await;
        assert_eq!(elsewhere.json()["service"]["installed"], false, "{elsewhere:?}");
        system.asked();
        let again = home.run(&system, &socket, "daemon install", None).await;
        let asked = system.asked();
        assert!(again.code == 0 && !asked.iter().any(|line| line.contains("restart")), "{asked:?}");
    })
    .await;
}

#[tokio::test]
async fn what_is_masked_stays_masked() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let home = Home::new();
        let names = ["stormtunneld.socket", "stormtunneld.service"];
        fs::create_dir_all(home.unit(names[0]).parent().unwrap()).unwrap();
        for name in names {
            std::os::unix::fs::symlink("/dev/null", home.unit(name)).unwrap();
        }
        let system = linux().says("systemctl --user show", ITS_OWN);
        let refused = home.run(&system, fake.socket(), "daemon install", None).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.err.contains("systemctl --user unmask stormtunneld.socket"), "{refused:?}");
        let status = home.run(&system, fake.socket(), "daemon status -o json", None).await.json();
        assert_eq!(status["service"]["installed"], false, "{status}");
        let removed = home.run(&system, fake.socket(), "daemon uninstall", None).await;
        assert!(removed.err.contains("is not installed"), "{removed:?}");
        assert_eq!(doctor::service(&home, &system, fake.socket()).await["outcome"], "pass");
        for name in names {
            assert_eq!(fs::read_link(home.unit(name)).unwrap(), Path::new("/dev/null"));
        }
        assert_eq!(fake.asked(), [""; 0], "the daemon is left alone");
    })
    .await;
}

#[tokio::test]
async fn units_of_a_package_that_mean_something_else_are_not_taken() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let socket = fake.socket().to_str().unwrap();
        for (program, named) in [("/bin/true", socket), ("", "%t/daemon.sock")] {
            let home = Home::new();
            let program = if program.is_empty() { &home.program } else { Path::new(program) };
            let package = Package::new(program, named);
            let ran = home.run(&package.system(ITS_OWN), fake.socket(), "daemon install", None).await;
            assert_eq!(ran.code, 0, "{ran:?}");
            assert!(home.unit("stormtunneld.service").exists(), "its own is written");
        }
    })
    .await;
}

#[tokio::test]
async fn uninstall_leaves_the_units_of_a_package_and_says_when_everybody_has_them() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        for is_told in [false, true] {
            let home = Home::new();
            let package = Package::new(&home.program, fake.socket().to_str().unwrap());
            package.enable(&home);
            let mut system = package.system(ITS_OWN);
            if !is_told {
                let link = home.unit("sockets.target.wants/stormtunneld.socket");
                system = system.does("systemctl --user disable", move || {
                    fs::remove_file(&link).unwrap();
                    ProgramEnd::default()
                });
            }
            let ran = home.run(&system, fake.socket(), "daemon uninstall", None).await;
            assert!(ran.code == 0 && ran.err.starts_with("the service is removed\n"), "{ran:?}");
            assert_eq!(ran.err.contains("systemctl --user mask"), is_told, "{ran:?}");
            let disable = "systemctl --user disable --now stormtunneld.socket stormtunneld.service";
            assert!(system.asked().contains(&disable.to_owned()));
            assert!(package.directory.path().join("stormtunneld.service").exists());
        }
    })
    .await;
}

#[tokio::test]
async fn install_replaces_a_daemon_of_another_version_through_the_manager() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let (home, system) = (Home::new(), linux().says("systemctl --user show", ITS_OWN));
        home.run(&system, fake.socket(), "daemon install", None).await;
        let newer = System::of(Platform::Linux)
            .says("stormtunneld --version", "stormtunneld 1.3.0\n")
            .says("systemctl --user show", ITS_OWN);
        let ran = home.run(&newer, fake.socket(), "daemon install", None).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let asked = newer.asked();
        assert!(asked.contains(&"systemctl --user restart stormtunneld.service".to_owned()), "{asked:?}");
        assert_eq!(fake.asked(), [""; 0], "its listeners stay with systemd");
    })
    .await;
}

#[tokio::test]
async fn install_replaces_a_daemon_of_an_older_build_of_the_same_version() {
    for level in [API_LEVEL - 1, API_LEVEL] {
        Fake::of_level(level, Vec::new(), async |fake: Fake| {
            let (home, system) = (Home::new(), linux().says("systemctl --user show", ITS_OWN));
            home.run(&system, fake.socket(), "daemon install", None).await;
            system.asked();
            if level == API_LEVEL {
                fake.is_replaced_on_disk();
            }
            let ran = home.run(&system, fake.socket(), "daemon install", None).await;
            assert_eq!(ran.code, 0, "{ran:?}");
            let asked = system.asked();
            assert!(asked.contains(&"systemctl --user restart stormtunneld.service".to_owned()), "{asked:?}");
            // The one that answers afterwards is as old: there is no newer one on disk.
            let older = format!("API level {level}, stctl {API_LEVEL}: replace /usr/bin/stormtunneld by");
            assert_eq!(ran.err.contains(&older), level < API_LEVEL, "{ran:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn install_ends_a_daemon_that_is_not_the_managers() {
    let (home, sockets) = (Home::new(), Sockets::new());
    sockets
        .beside(async |fake: Fake| {
            let system = linux().says("systemctl --user show", NOBODYS);
            let system = sockets.served_after(system, "systemctl --user start");
            let ran = home.run(&system, fake.socket(), "daemon install", None).await;
            assert_eq!(ran.code, 0, "{ran:?}");
            assert!(
                ran.err
                    .starts_with("the daemon that runs is replaced by the service\nthe daemon has stopped\n"),
                "{ran:?}"
            );
            assert_eq!(fake.asked(), ["shutdown"]);
            let asked = system.asked();
            assert!(!asked.iter().any(|line| line.contains("restart")), "started once: {asked:?}");
        })
        .await;
}

#[tokio::test]
async fn install_for_another_socket_has_the_manager_listen_there() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let (home, system) = (Home::new(), linux().says("systemctl --user show", ITS_OWN));
        let elsewhere = fake.socket().with_file_name("elsewhere.sock");
        fs::hard_link(fake.socket(), &elsewhere).unwrap();
        for socket in [&elsewhere, fake.socket()] {
            system.asked();
            let ran = home.run(&system, socket, "daemon install", None).await;
            assert_eq!(ran.code, 0, "{ran:?}");
        }
        let asked = system.asked();
        let stop = "systemctl --user stop stormtunneld.socket stormtunneld.service".to_owned();
        assert!(asked.contains(&stop), "{asked:?}");
    })
    .await;
}

#[tokio::test]
async fn a_manager_that_does_not_answer_costs_no_daemon() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let system = linux().fails("systemctl --user daemon-reload", "Failed to connect to bus\n");
        let (home, socket) = (Home::new(), fake.socket());
        let ran = home.run(&system, socket, "daemon install", None).await;
        insta::assert_snapshot!("install_without_systemd", home.shown(socket, &ran.shown()));
        assert_eq!(fake.asked(), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn lingering_is_told_of_or_asked_for() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let home = Home::new();
        let lingering = linux().says("systemctl --user show", ITS_OWN).says("loginctl show-user", "yes\n");
        let ran = home.run(&lingering, fake.socket(), "daemon install", None).await;
        assert!(!ran.err.contains("log out"), "{ran:?}");
        let system = linux().says("systemctl --user show", ITS_OWN);
        let ran = home.run(&system, fake.socket(), "daemon install --linger", None).await;
        assert!(!ran.err.contains("log out"), "{ran:?}");
        assert!(system.asked().contains(&"loginctl enable-linger".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn install_on_macos_loads_the_agent_and_loads_a_changed_one_again() {
    let (home, sockets) = (Home::new(), Sockets::new());
    let target = format!("gui/{}/io.stormtunnel.stormtunneld", rustix::process::getuid().as_raw());
    let print: &'static str = Box::leak(format!("launchctl print {target}").into_boxed_str());
    sockets
        .beside(async |fake: Fake| {
            let socket = fake.socket();
            let missing = System::of(Platform::MacOs).fails(print, "Could not find service");
            let missing = sockets.served_after(missing, "launchctl bootstrap");
            let first = home.run(&missing, socket, "daemon install", None).await;
            assert_eq!(first.code, 0, "{first:?}");
            let all = format!("{}{}\n", first.shown(), missing.asked().join("\n"));
            insta::assert_snapshot!("install_launchd", home.shown(socket, &all));
            assert!(home.path().join("state").is_dir(), "launchd opens the log there");

            let loaded = System::of(Platform::MacOs)
                .says(print, "\tstate = running\n\tpid = 4711\n")
                .says("stormtunneld --version", VERSION);
            home.run(&loaded, socket, "daemon install", None).await;
            let asked = loaded.asked();
            assert!(!asked.iter().any(|line| line.contains("boot") || line.contains("-k")), "{asked:?}");
            fs::write(home.agent(), "an older one").unwrap();
            home.run(&loaded, socket, "daemon install", None).await;
            let asked = loaded.asked();
            let verbs: Vec<&str> = asked.iter().filter_map(|line| line.split(' ').nth(1)).collect();
            assert!(verbs.ends_with(&["bootout", "enable", "bootstrap"]), "{verbs:?}");
        })
        .await;
}

#[tokio::test]
async fn uninstall_leaves_no_file_and_asks_before_a_purge() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let (home, system) = (Home::new(), linux().says("systemctl --user show", ITS_OWN));
        let socket = fake.socket();
        home.run(&system, socket, "daemon install", None).await;
        system.asked();
        for (answer, code) in [(None, 2), (Some((|| Ok("n\n".to_owned())) as Answer), 1)] {
            let ran = home.run(&system, socket, "daemon uninstall --purge", answer).await;
            assert_eq!((ran.code, system.asked()), (code, Vec::new()), "{ran:?}");
        }
        let ran = home.run(&system, socket, "daemon uninstall --purge --yes", None).await;
        let all = format!("{}{}\n", ran.shown(), system.asked().join("\n"));
        insta::assert_snapshot!("uninstall", home.shown(socket, &all));
        assert_eq!(fs::read_dir(home.path().join(".config/systemd/user")).unwrap().count(), 0);
        let again = home.run(&system, socket, "daemon uninstall", None).await;
        assert_eq!((again.code, again.err.as_str()), (0, "the service is not installed\n"));
        assert_eq!(system.asked(), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_command_starts_the_installed_service_and_no_daemon_of_its_own() {
    let (home, sockets) = (Home::new(), Sockets::new());
    sockets
        .beside(async |fake: Fake| {
            let system = linux().says("systemctl --user show", ITS_OWN);
            let installed = home.run(&system, fake.socket(), "daemon install", None).await;
            assert_eq!(installed.code, 0, "{installed:?}");
            fs::remove_file(fake.socket()).unwrap();
            let system = linux().fails("systemctl --user start", "Job failed.\n");
            let failed = home.run(&system, fake.socket(), "ls", None).await;
            insta::assert_snapshot!("service_not_started", failed.shown());

            let system = sockets.served_after(linux(), "systemctl --user start");
            let ran = home.run(&system, fake.socket(), "ls -o name", None).await;
            assert_eq!((ran.code, ran.out.as_str()), (0, "db\n"), "{ran:?}");
            let asked = system.asked();
            let verbs = ["reset-failed", "start"]
                .map(|verb| format!("systemctl --user {verb} stormtunneld.socket stormtunneld.service"));
            assert_eq!(asked, verbs);
        })
        .await;
}

#[tokio::test]
async fn a_service_for_another_socket_is_not_meant() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let (home, system) = (Home::new(), linux().says("systemctl --user show", ITS_OWN));
        home.run(&system, fake.socket(), "daemon install", None).await;
        system.asked();
        let other = home.path().join("other.sock");
        let ran = home.run(&system, &other, "daemon status -o json", None).await;
        let status = ran.json();
        assert_eq!(
            (status["running"].as_bool(), status["service"]["installed"].as_bool()),
            (Some(false), Some(false))
        );
        assert_eq!(system.asked(), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn status_tells_of_the_service_with_and_without_a_daemon() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let (home, system) = (Home::new(), linux().says("systemctl --user show", ITS_OWN));
        let socket = fake.socket();
        home.run(&system, socket, "daemon install", None).await;
        let ran = home.run(&system, socket, "daemon status", None).await;
        assert!(ran.out.contains("service     systemd, installed, enabled, active\n"), "{ran:?}");
        // systemd listens, and the daemon that was there has let its lock go.
        fs::write(socket.with_file_name("daemon.sock.lock"), "4711\n").unwrap();
        let system = linux().says("systemctl --user show", "UnitFileState=enabled\nActiveState=inactive\n");
        let ran = home.run(&system, socket, "daemon status", None).await;
        insta::assert_snapshot!("status_of_an_idle_service", home.shown(socket, &ran.shown()));
        assert_eq!(fake.asked(), [""; 0], "a look does not start a daemon");
    })
    .await;
}

#[tokio::test]
async fn stop_does_not_wait_for_the_daemon_that_the_managers_socket_starts_next() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let (home, system) = (Home::new(), linux().says("systemctl --user show", ITS_OWN));
        let lock = fake.socket().with_file_name("daemon.sock.lock");
        fs::write(&lock, "4711\n").unwrap();
        let held = fs::File::open(&lock).unwrap();
        rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        let ran = home.run(&system, fake.socket(), "daemon stop --timeout 20s", None).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, "the daemon has stopped\n"));
        assert_eq!(fake.asked(), ["shutdown"]);
    })
    .await;
}

#[tokio::test]
async fn logs_are_shown_from_where_they_are() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let (home, system) = (Home::new(), linux().says("systemctl --user show", ITS_OWN));
        let socket = fake.socket();
        let none = home.run(&system, socket, "daemon logs", None).await;
        assert!(none.code == 1 && none.err.contains("there is no log"), "{none:?}");
        fs::create_dir(home.path().join("state")).unwrap();
        fs::write(home.path().join("state/stormtunneld.log"), "line\n").unwrap();
        home.run(&system, socket, "daemon logs -n 5 -f", None).await;
        let file = home.shown(socket, &system.asked().join("\n"));
        assert_eq!(file, "tail -n 5 -F HOME/state/stormtunneld.log");
        home.run(&system, socket, "daemon install", None).await;
        system.asked();
        home.run(&system, socket, "daemon logs -f", None).await;
        assert_eq!(
            system.asked(),
            ["journalctl --user-unit=stormtunneld.service --lines=100 --no-pager --follow"]
        );
    })
    .await;
}

#[tokio::test]
async fn restart_leaves_the_services_daemon_to_its_manager() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let (home, system) = (Home::new(), linux().says("systemctl --user show", ITS_OWN));
        home.run(&system, fake.socket(), "daemon install", None).await;
        system.asked();
        let ran = home.run(&system, fake.socket(), "daemon restart", None).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, "the daemon is running (pid 4711)\n"));
        assert!(system.asked().contains(&"systemctl --user restart stormtunneld.service".to_owned()));
        assert_eq!(fake.asked(), [""; 0]);
        let ran = home.run(&system, fake.socket(), "daemon start", None).await;
        assert_eq!(ran.err, "the daemon runs already (pid 4711)\n");
    })
    .await;
}
