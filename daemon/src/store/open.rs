//! Opening: permissions, version, damage.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use stormtunnel_model::Timestamp;

use super::{StoreError, rows, schema};

/// Only another program that looks into the file can hold its lock; it may take that long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// SQLite's side files. They belong to the database: without its log a database is an older one.
const SIDE_FILES: [&str; 2] = ["-wal", "-shm"];

pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) warnings: Vec<String>,
}

pub(super) fn open(path: &Path, now: Timestamp) -> Result<Opened, StoreError> {
    match open_writable(path, now) {
        Err(error) if is_unwritable(&error) => open_readable(path).unwrap_or(Err(error)),
        result => result,
    }
}

fn open_writable(path: &Path, now: Timestamp) -> Result<Opened, StoreError> {
    create_private(path).map_err(|source| StoreError::Create { path: path.to_owned(), source })?;
    match try_open(path) {
        Err(StoreError::Open { source, .. }) if is_damage(&source) => {
            let aside = set_aside(path, now)
                .map_err(|source| StoreError::SetAside { path: path.to_owned(), source })?;
            let warning = format!(
                "the database was damaged ({source}) and is now {}; a new, empty one took its place",
                aside.display()
            );
            create_private(path).map_err(|source| StoreError::Create { path: path.to_owned(), source })?;
            let mut opened = try_open(path)?;
            opened.warnings.insert(0, warning);
            Ok(opened)
        }
        result => result,
    }
}

/// SQLite gives its side files the permissions of the database: nobody else can read any of them.
fn create_private(path: &Path) -> io::Result<()> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map(drop)
}

fn try_open(path: &Path) -> Result<Opened, StoreError> {
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let mut connection = connect(path).map_err(failed)?;
    let found = schema::version(&connection).map_err(failed)?;
    if found > schema::SCHEMA {
        return Err(StoreError::NewerSchema { path: path.to_owned(), found, known: schema::SCHEMA });
    }
    check(&connection).map_err(failed)?;
    schema::migrate(&mut connection).map_err(failed)?;
    let warnings = rows::load(&connection).map_err(failed)?.unreadable;
    Ok(Opened { connection, warnings })
}

/// A full disk or a directory that nobody may write to, as opposed to a file that is of no use.
fn is_unwritable(error: &StoreError) -> bool {
    use std::io::ErrorKind as Io;
    match error {
        StoreError::Create { source, .. } => {
            matches!(source.kind(), Io::PermissionDenied | Io::ReadOnlyFilesystem | Io::StorageFull)
        }
        StoreError::Open { source, .. } => matches!(
            source.sqlite_error_code(),
            Some(
                ErrorCode::ReadOnly
                    | ErrorCode::CannotOpen
                    | ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
            )
        ),
        StoreError::NewerSchema { .. } | StoreError::SetAside { .. } | StoreError::Thread(_) => false,
    }
}

/// The database as it is, without writing anything beside it: what is stored runs, changes fail one by one. Nothing when
/// there is none of the present schema.
fn open_readable(path: &Path) -> Option<Result<Opened, StoreError>> {
    let read = |immutable: &str| {
        let connection = Connection::open_with_flags(
            uri(path, immutable),
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI,
        )?;
        let readable = schema::version(&connection)? == schema::SCHEMA && check(&connection).is_ok();
        let unreadable = if readable { Some(rows::load(&connection)?.unreadable) } else { None };
        Ok(unreadable.map(|unreadable| (connection, unreadable)))
    };
    // The log of a daemon that was killed counts, where it can be read.
    let opened: rusqlite::Result<_> = read("").or_else(|_| read("&immutable=1"));
    let (connection, mut warnings) = opened.ok().flatten()?;
    let warning = format!(
        "the database {} cannot be written: tunnels run as they were stored, and changes are refused; make room or make \
         its directory writable, then start the daemon again",
        path.display()
    );
    warnings.insert(0, warning);
    Some(Ok(Opened { connection, warnings }))
}

fn uri(path: &Path, parameter: &str) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
    let escaped = |byte: &u8| {
        if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }
    };
    format!("file:{}?mode=ro{parameter}", bytes.iter().map(escaped).collect::<String>())
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

/// Damage inside a page shows only when the page is read: read them all, once.
fn check(connection: &Connection) -> rusqlite::Result<()> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
        Some(verdict),
    ))
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Renames the database to the first free `<name>.broken-<seconds>`, its side files with it.
fn set_aside(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let seconds = now.as_millis() / 1000;
    let free = |candidate: &PathBuf| !candidate.exists();
    let aside = (seconds..)
        .map(|stamp| with_suffix(path, &format!(".broken-{stamp}")))
        .find(free)
        .ok_or_else(|| io::Error::from(io::ErrorKind::AlreadyExists))?;
    std::fs::rename(path, &aside)?;
    for side in SIDE_FILES {
        match std::fs::rename(with_suffix(path, side), with_suffix(&aside, side)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(aside)
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
