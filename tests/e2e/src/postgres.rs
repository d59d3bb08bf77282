//! A PostgreSQL server of the test's own, run unprivileged as it insists on.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::local::free_port;
use crate::process::{self, Service, Signal};
use crate::programs;

/// `initdb` writes some forty megabytes; the disk may be busy.
const START: Duration = Duration::from_secs(60);
/// Debian's package makes this user. Root has to become somebody for PostgreSQL; a container without it has `nobody`.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    service: Service,
    address: SocketAddr,
    psql: PathBuf,
    // Removed last.
    _directory: TempDir,
}

impl Postgres {
    /// Starts a server with a fresh database; `None` when this machine has no PostgreSQL.
    ///
    /// # Errors
    /// It does not start, or it is missing where nothing may be.
    pub async fn start() -> Result<Option<Self>> {
        let programs = (programs::find("initdb")?, programs::find("postgres")?, programs::find("psql")?);
        let (Some(initdb), Some(postgres), Some(psql)) = programs else { return Ok(None) };
        let directory = tempfile::Builder::new().prefix("st-pg-").tempdir()?;
        let user = become_somebody(directory.path())?;
        let data = directory.path().join("data");
        let mut command = user.command(&initdb);
        command.args([
            "--auth=trust",
            "--username=tester",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
            "--pgdata",
        ]);
        process::run(unlocalised(command.arg(&data)), START).await?.success().context("initdb")?;
        let port = free_port()?;
        let mut command = user.command(&postgres);
        command.arg("-D").arg(&data).arg("-k").arg(directory.path());
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-c",
            "fsync=off",
            "-c",
            "shared_buffers=16MB",
        ]);
        let ready = "ready to accept connections";
        let service = Service::start(unlocalised(&mut command), ready, START).await?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Some(Self { service, address, psql, _directory: directory }))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `psql` for a server that seems to listen on a port of this machine; add `-c` and the statement.
    #[must_use]
    pub fn psql(&self, port: u16) -> Command {
        let mut command = Command::new(&self.psql);
        command.args([
            "-h",
            "127.0.0.1",
            "-U",
            "tester",
            "-d",
            "postgres",
            "-X",
            "-At",
            "-v",
            "ON_ERROR_STOP=1",
        ]);
        command.args(["-p", &port.to_string()]).env_remove("PGPASSWORD").env("PGCONNECT_TIMEOUT", "20");
        command
    }

    /// Ends it.
    ///
    /// # Errors
    /// It does not end.
    pub async fn stop(self) -> Result<()> {
        // Immediate shutdown: the database is thrown away.
        self.service.stop(Signal::QUIT, START).await
    }
}

/// Who runs the server.
enum User {
    Myself,
    Other { uid: u32, gid: u32 },
}

impl User {
    fn command(&self, program: &Path) -> Command {
        match self {
            Self::Myself => Command::new(program),
            Self::Other { uid, gid } => {
                let mut command = Command::new("setpriv");
                command.args([
                    format!("--reuid={uid}"),
                    format!("--regid={gid}"),
                    "--clear-groups".to_owned(),
                ]);
                command.arg(program);
                command
            }
        }
    }
}

/// Root gives the directory to another user, and is that user for the server; others stay who they are.
fn become_somebody(directory: &Path) -> Result<User> {
    if std::fs::metadata(directory)?.uid() != 0 {
        return Ok(User::Myself);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let (uid, gid) =
        USERS.iter().find_map(|name| ids(&passwd, name)).context("neither postgres nor nobody exists")?;
    std::os::unix::fs::chown(directory, Some(uid), Some(gid))?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
    Ok(User::Other { uid, gid })
}

fn ids(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Its messages are waited for, so they must be English; the caller's directory may be closed to the other user.
fn unlocalised(command: &mut Command) -> tokio::process::Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args()).env("LC_ALL", "C").current_dir("/");
    copy.into()
}
