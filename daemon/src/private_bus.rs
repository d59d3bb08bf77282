//! For tests: a D-Bus of their own, on which nothing of the machine's is.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a program may take to be there.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often it is looked for: there is no other sign of it.
const AGAIN: Duration = Duration::from_millis(50);

/// Says that a test checks nothing here; where nothing may be skipped (`REQUIRE_ALL`), that is a failure.
pub(crate) fn skip(what: &str) {
    let required = std::env::var_os("REQUIRE_ALL").is_some_and(|value| !value.is_empty());
    assert!(!required, "{what}, and REQUIRE_ALL allows no test to be skipped");
    eprintln!("skipped: {what}");
}

/// A program that ends with the value.
pub(crate) struct Program(Child);

impl Program {
    /// Starts it; nothing where there is no such program. What it says is not shown.
    pub(crate) fn start(command: &mut Command) -> Option<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => Some(Self(child)),
            Err(error) => {
                skip(&format!("{name} cannot be started ({error})"));
                None
            }
        }
    }

    /// Tells it something, once.
    pub(crate) fn tell(&mut self, text: &str) {
        use std::io::Write as _;
        self.0.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Starts a bus in that directory; nothing where there is no dbus-daemon.
pub(crate) async fn start(directory: &Path) -> Option<Program> {
    let config = directory.join("bus.conf");
    let socket = directory.join("bus");
    let _old = std::fs::remove_file(&socket);
    std::fs::write(&config, config_for(&address_in(directory))).unwrap();
    let mut command = Command::new("dbus-daemon");
    command.arg("--nofork").arg(format!("--config-file={}", config.display())).stdin(Stdio::null());
    let bus = Program::start(&mut command)?;
    // The path is there before anybody listens.
    until(async || UnixStream::connect(&socket).is_ok()).await;
    Some(bus)
}

/// The address of the bus in that directory.
pub(crate) fn address_in(directory: &Path) -> String {
    format!("unix:path={}", directory.join("bus").display())
}

/// Waits until it is so.
pub(crate) async fn until(is_so: impl AsyncFn() -> bool) {
    let seen = async {
        let mut look = tokio::time::interval(AGAIN);
        while !is_so().await {
            look.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, seen).await.expect("it happens before the deadline");
}

fn config_for(address: &str) -> String {
    format!(
        "<busconfig><listen>{address}</listen><policy context=\"default\">\
         <allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>"
    )
}
