//! The schema and its versions. Migrations only go forward; a released schema never changes any more.

use rusqlite::{Connection, TransactionBehavior};

/// The newest schema that this program knows.
pub(super) const SCHEMA: i64 = 2;

/// Brings a database from version N to N + 1; the index is N.
const MIGRATIONS: [&str; SCHEMA as usize] = [V1, V2];

/// Ids are text so that a person with `sqlite3` can read them. Times are milliseconds since the Unix epoch. A local end that
/// is a Unix socket has the address `unix:PATH` and port 0.
const V1: &str = "
    CREATE TABLE tunnels (
        id TEXT PRIMARY KEY,
        etag INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        name TEXT NOT NULL UNIQUE,
        profile TEXT,
        region TEXT,
        target TEXT NOT NULL,
        remote_host TEXT,
        remote_port INTEGER NOT NULL CHECK (remote_port BETWEEN 1 AND 65535),
        local_address TEXT NOT NULL,
        local_port INTEGER NOT NULL CHECK (local_port BETWEEN 0 AND 65535),
        allow_non_loopback INTEGER NOT NULL CHECK (allow_non_loopback IN (0, 1)),
        intent TEXT NOT NULL CHECK (intent IN ('run', 'stop')),
        kept_port INTEGER CHECK (kept_port BETWEEN 1 AND 65535),
        request_id TEXT
    ) STRICT;

    CREATE TABLE open_sessions (
        id TEXT PRIMARY KEY,
        profile TEXT,
        region TEXT,
        target TEXT NOT NULL
    ) STRICT;
";

/// Labels, when and over how many sessions, guards, events and statistics. What is an object in the model and never asked
/// for in parts is JSON. `reason` and `ttl` (in seconds) are the spec's, `run_reason` and `stops_at` belong to the intent.
/// Events outlive their tunnels, statistics do not.
const V2: &str = "
    ALTER TABLE tunnels ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE tunnels ADD COLUMN keep TEXT NOT NULL DEFAULT 'auto' CHECK (keep IN ('auto', 'warm', 'on-demand'));
    ALTER TABLE tunnels ADD COLUMN sessions INTEGER NOT NULL DEFAULT 1 CHECK (sessions BETWEEN 1 AND 8);
    ALTER TABLE tunnels ADD COLUMN reason TEXT;
    ALTER TABLE tunnels ADD COLUMN ttl INTEGER CHECK (ttl BETWEEN 60 AND 2592000);
    ALTER TABLE tunnels ADD COLUMN run_reason TEXT;
    ALTER TABLE tunnels ADD COLUMN stops_at INTEGER;

    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        tunnel_id TEXT,
        name TEXT,
        profile TEXT,
        region TEXT,
        target TEXT,
        session_id TEXT,
        node TEXT,
        principal TEXT,
        kind TEXT NOT NULL
    ) STRICT;

    CREATE INDEX events_by_time ON events (at);
    CREATE INDEX events_by_tunnel ON events (tunnel_id, id);
    CREATE INDEX events_by_name ON events (name, id);

    CREATE TABLE statistics (
        tunnel_id TEXT PRIMARY KEY REFERENCES tunnels (id) ON DELETE CASCADE,
        sent INTEGER NOT NULL,
        received INTEGER NOT NULL,
        connections INTEGER NOT NULL,
        sessions INTEGER NOT NULL,
        reconnects INTEGER NOT NULL,
        uptime INTEGER NOT NULL
    ) STRICT;
";

/// The version of a database; 0 is an empty one.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Runs the migrations that are missing, all of them or none.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = usize::try_from(version(&transaction)?).unwrap_or(0);
    for migration in MIGRATIONS.iter().skip(found) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.commit()
}
