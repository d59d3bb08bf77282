//! Rows to values and back.

use std::str::FromStr;

use rusqlite::{Connection, Row, named_params, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stormtunnel_engine::ports::{AwsScope, OpenSession, StoredState, StoredTunnel};
use stormtunnel_model::{
    Etag, Intent, LocalEndpoint, RemoteEndpoint, RequestId, RunTerms, SsmSessionId, Timestamp, Ttl, TunnelId,
    TunnelSpec,
};

pub(super) struct Loaded {
    pub(super) state: StoredState,
    /// A sentence for each row that this program cannot read; the row stays as it is.
    pub(super) unreadable: Vec<String>,
}

pub(super) fn load(connection: &Connection) -> rusqlite::Result<Loaded> {
    let mut unreadable = Vec::new();
    let mut tunnels = connection.prepare_cached("SELECT * FROM tunnels ORDER BY name")?;
    let tunnels = collect(tunnels.query_map([], |row| Ok(tunnel(row)))?, &mut unreadable)?;
    let mut sessions = connection.prepare_cached("SELECT * FROM open_sessions ORDER BY id")?;
    let open_sessions = collect(sessions.query_map([], |row| Ok(session(row)))?, &mut unreadable)?;
    Ok(Loaded { state: StoredState { tunnels, open_sessions }, unreadable })
}

pub(super) fn put_tunnel(connection: &Connection, tunnel: &StoredTunnel) -> rusqlite::Result<()> {
    let StoredTunnel { id, etag, created_at, spec, intent, terms, kept_port, request_id } = tunnel;
    let (local_address, local_port) = local_columns(&spec.local);
    let labels = json(&spec.labels)?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO tunnels VALUES (:id, :etag, :created_at, :name, :profile, :region, :target, :remote_host,
             :remote_port, :local_address, :local_port, :allow_non_loopback, :intent, :kept_port, :request_id, :labels,
             :keep, :sessions, :reason, :ttl, :run_reason, :stops_at)
         ON CONFLICT (id) DO UPDATE SET etag = :etag, name = :name, profile = :profile, region = :region,
             target = :target, remote_host = :remote_host, remote_port = :remote_port,
             local_address = :local_address, local_port = :local_port, allow_non_loopback = :allow_non_loopback,
             intent = :intent, kept_port = :kept_port, request_id = :request_id, labels = :labels,
             keep = :keep, sessions = :sessions, reason = :reason, ttl = :ttl, run_reason = :run_reason,
             stops_at = :stops_at",
    )?;
    statement.execute(named_params! {
        ":id": id.to_string(),
        ":etag": signed(etag.0)?,
        ":created_at": signed(created_at.as_millis())?,
        ":name": spec.name.as_str(),
        ":profile": spec.profile.as_ref().map(|profile| profile.as_str()),
        ":region": spec.region.as_ref().map(|region| region.as_str()),
        ":target": spec.target.as_str(),
        ":remote_host": spec.remote.host.as_deref(),
        ":remote_port": spec.remote.port.get(),
        ":local_address": local_address,
        ":local_port": local_port,
        ":allow_non_loopback": spec.allow_non_loopback,
        ":intent": intent_text(*intent),
        ":kept_port": kept_port,
        ":request_id": request_id.as_ref().map(|id| id.0.as_str()),
        ":labels": labels,
        ":keep": spec.keep.name(),
        ":sessions": spec.sessions.get(),
        ":reason": spec.reason.as_ref().map(|reason| reason.as_str()),
        ":ttl": spec.ttl.map(|ttl| ttl.as_secs()),
        ":run_reason": terms.reason.as_ref().map(|reason| reason.as_str()),
        ":stops_at": terms.stops_at.map(|end| signed(end.as_millis())).transpose()?,
    })?;
    Ok(())
}

pub(super) fn delete_tunnel(connection: &Connection, id: TunnelId) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM tunnels WHERE id = ?1")?.execute([id.to_string()])?;
    Ok(())
}

pub(super) fn put_session(connection: &Connection, session: &OpenSession) -> rusqlite::Result<()> {
    let OpenSession { id, scope: AwsScope { profile, region }, target } = session;
    let mut statement =
        connection.prepare_cached("INSERT OR REPLACE INTO open_sessions VALUES (?1, ?2, ?3, ?4)")?;
    statement.execute(params![
        id.0.as_str(),
        profile.as_ref().map(|profile| profile.as_str()),
        region.as_ref().map(|region| region.as_str()),
        target.as_str()
    ])?;
    Ok(())
}

pub(super) fn delete_session(connection: &Connection, id: &SsmSessionId) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM open_sessions WHERE id = ?1")?.execute([id.0.as_str()])?;
    Ok(())
}

/// A value as the database keeps it when it is never asked for in parts.
pub(super) fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

pub(super) fn from_json<T: DeserializeOwned>(row: &Row<'_>, name: &str) -> Result<T, String> {
    serde_json::from_str(&column::<String>(row, name)?).map_err(|error| format!("{name}: {error}"))
}

/// Values of the rows that can be read. An error of the database itself ends it; a bad value only skips its row.
fn collect<T>(
    rows: impl Iterator<Item = rusqlite::Result<Result<T, String>>>,
    unreadable: &mut Vec<String>,
) -> rusqlite::Result<Vec<T>> {
    let mut values = Vec::new();
    for row in rows {
        match row? {
            Ok(value) => values.push(value),
            Err(problem) => {
                unreadable.push(format!("a row of the database cannot be read and is left alone: {problem}"));
            }
        }
    }
    Ok(values)
}

fn tunnel(row: &Row<'_>) -> Result<StoredTunnel, String> {
    let spec = TunnelSpec {
        name: parsed(row, "name")?,
        profile: optional(row, "profile")?,
        region: optional(row, "region")?,
        target: parsed(row, "target")?,
        remote: RemoteEndpoint {
            host: column(row, "remote_host")?,
            port: column::<u16>(row, "remote_port")?
                .try_into()
                .map_err(|error| format!("remote_port: {error}"))?,
        },
        local: local(row)?,
        allow_non_loopback: column(row, "allow_non_loopback")?,
        labels: from_json(row, "labels")?,
        keep: parsed(row, "keep")?,
        sessions: column::<u8>(row, "sessions")?.try_into().map_err(|error| format!("sessions: {error}"))?,
        reason: optional(row, "reason")?,
        ttl: column::<Option<u32>>(row, "ttl")?
            .map(Ttl::try_from)
            .transpose()
            .map_err(|error| format!("ttl: {error}"))?,
    };
    let stops_at = column::<Option<i64>>(row, "stops_at")?.map(u64::try_from).transpose();
    let stops_at = stops_at.map_err(|error| format!("stops_at: {error}"))?.map(Timestamp::from_millis);
    Ok(StoredTunnel {
        id: parsed(row, "id")?,
        etag: Etag(unsigned(row, "etag")?),
        created_at: Timestamp::from_millis(unsigned(row, "created_at")?),
        spec,
        intent: intent(&column::<String>(row, "intent")?)?,
        terms: RunTerms { reason: optional(row, "run_reason")?, stops_at },
        kept_port: column(row, "kept_port")?,
        request_id: column::<Option<String>>(row, "request_id")?.map(RequestId),
    })
}

/// Address and port as the columns hold them.
fn local_columns(local: &LocalEndpoint) -> (String, u16) {
    match local {
        LocalEndpoint::Tcp { address, port } => (address.to_string(), (*port).into()),
        LocalEndpoint::Unix(_) => (local.to_string(), 0),
    }
}

fn local(row: &Row<'_>) -> Result<LocalEndpoint, String> {
    let text: String = column(row, "local_address")?;
    if text.starts_with("unix:") {
        return text.parse().map_err(|error| format!("local_address: {error}"));
    }
    let port = column::<u16>(row, "local_port")?.into();
    Ok(LocalEndpoint::Tcp { address: parsed(row, "local_address")?, port })
}

fn session(row: &Row<'_>) -> Result<OpenSession, String> {
    let scope = AwsScope { profile: optional(row, "profile")?, region: optional(row, "region")? };
    Ok(OpenSession { id: SsmSessionId(column(row, "id")?), scope, target: parsed(row, "target")? })
}

pub(super) fn column<T: rusqlite::types::FromSql>(row: &Row<'_>, name: &str) -> Result<T, String> {
    row.get(name).map_err(|error| format!("{name}: {error}"))
}

pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(row: &Row<'_>, name: &str) -> Result<T, String> {
    column::<String>(row, name)?.parse().map_err(|error| format!("{name}: {error}"))
}

pub(super) fn optional<T: FromStr<Err: std::fmt::Display>>(
    row: &Row<'_>,
    name: &str,
) -> Result<Option<T>, String> {
    let text: Option<String> = column(row, name)?;
    text.map(|text| text.parse().map_err(|error| format!("{name}: {error}"))).transpose()
}

pub(super) fn unsigned(row: &Row<'_>, name: &str) -> Result<u64, String> {
    column::<i64>(row, name)?.try_into().map_err(|error| format!("{name}: {error}"))
}

/// SQLite's integers are signed. Counters and times of ours reach 2^63 in no lifetime.
pub(super) fn signed(value: u64) -> rusqlite::Result<i64> {
    i64::try_from(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn intent_text(intent: Intent) -> &'static str {
    match intent {
        Intent::Run => "run",
        Intent::Stop => "stop",
    }
}

fn intent(text: &str) -> Result<Intent, String> {
    match text {
        "run" => Ok(Intent::Run),
        "stop" => Ok(Intent::Stop),
        other => Err(format!("intent: \"{other}\" is neither run nor stop")),
    }
}
