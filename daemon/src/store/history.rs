//! Events and statistics, with a bounded memory.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params, params_from_iter};
use stormtunnel_engine::ports::{EventQuery, HistoryBatch, QueryEnd, StoredEvents, StoredHistory};
use stormtunnel_model::{
    Event, EventId, EventSubject, SsmSessionId, Statistics, Timestamp, Traffic, TunnelId,
};

use super::rows::{column, from_json, json, optional, parsed, signed, unsigned};

/// Events that are kept at most.
pub(super) const MOST_EVENTS: u32 = 10_000;
/// How long events are kept.
pub(super) const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

pub(super) fn load(connection: &Connection) -> rusqlite::Result<StoredHistory> {
    let newest: Option<i64> = connection.query_row("SELECT max(id) FROM events", [], |row| row.get(0))?;
    let mut statement = connection.prepare_cached("SELECT * FROM statistics")?;
    let rows = statement.query_map([], |row| Ok(statistics(row)))?;
    let mut statistics = BTreeMap::new();
    for row in rows {
        match row? {
            Ok((id, figures)) => drop(statistics.insert(id, figures)),
            Err(problem) => tracing::warn!(problem, "figures that cannot be read begin anew"),
        }
    }
    let newest = newest.and_then(|id| u64::try_from(id).ok()).map(EventId);
    Ok(StoredHistory { newest, statistics })
}

/// Adds a batch and forgets what is too much or too old.
pub(super) fn add(connection: &mut Connection, batch: &HistoryBatch) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for event in &batch.events {
        put_event(&transaction, event)?;
    }
    for (id, figures) in &batch.statistics {
        put_statistics(&transaction, *id, figures)?;
    }
    if let Some(newest) = batch.events.last() {
        forget(&transaction, newest.at)?;
    }
    transaction.commit()
}

fn put_event(transaction: &Transaction<'_>, event: &Event) -> rusqlite::Result<()> {
    let Event { id, at, subject, kind } = event;
    let subject = subject.as_ref();
    let mut statement = transaction.prepare_cached(
        "INSERT OR IGNORE INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    statement.execute(params![
        signed(id.0)?,
        signed(at.as_millis())?,
        subject.map(|subject| subject.tunnel.to_string()),
        subject.map(|subject| subject.name.as_str()),
        subject.and_then(|subject| subject.profile.as_ref()).map(|profile| profile.as_str()),
        subject.and_then(|subject| subject.region.as_ref()).map(|region| region.as_str()),
        subject.map(|subject| subject.target.as_str()),
        subject.and_then(|subject| subject.session.as_ref()).map(|session| session.0.as_str()),
        subject.and_then(|subject| subject.node.as_ref()).map(|node| node.as_str()),
        subject.and_then(|subject| subject.principal.as_ref()).map(|principal| principal.as_str()),
        json(kind)?,
    ])?;
    Ok(())
}

/// A tunnel may be gone by now: its figures went with it.
fn put_statistics(transaction: &Transaction<'_>, id: TunnelId, figures: &Statistics) -> rusqlite::Result<()> {
    let Statistics { traffic, connections, sessions, reconnects, uptime } = figures;
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO statistics
         SELECT id, ?2, ?3, ?4, ?5, ?6, ?7 FROM tunnels WHERE id = ?1",
    )?;
    statement.execute(params![
        id.to_string(),
        signed(traffic.sent)?,
        signed(traffic.received)?,
        signed(*connections)?,
        signed(*sessions)?,
        signed(*reconnects)?,
        signed(u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX >> 1))?,
    ])?;
    Ok(())
}

fn forget(transaction: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<()> {
    let oldest = now.as_millis().saturating_sub(u64::try_from(LONGEST.as_millis()).unwrap_or(u64::MAX));
    transaction.prepare_cached("DELETE FROM events WHERE at < ?1")?.execute([signed(oldest)?])?;
    let mut surplus = transaction.prepare_cached(
        "DELETE FROM events WHERE id <= (SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?1)",
    )?;
    surplus.execute([MOST_EVENTS])?;
    Ok(())
}

/// Answers a query. A row that cannot be read is left out, and hides no other.
pub(super) fn events(connection: &Connection, query: &EventQuery) -> rusqlite::Result<StoredEvents> {
    let (condition, values) = condition(query)?;
    let order = match query.end {
        QueryEnd::Newest => "DESC",
        QueryEnd::Oldest => "ASC",
    };
    let text = format!("SELECT * FROM events WHERE {condition} ORDER BY id {order} LIMIT {}", query.limit);
    let mut statement = connection.prepare_cached(&text)?;
    let mut events = Vec::new();
    for row in statement.query_map(params_from_iter(values), |row| Ok(event(row)))? {
        match row? {
            Ok(event) => events.push(event),
            Err(problem) => tracing::warn!(problem, "an event that cannot be read is left out"),
        }
    }
    if query.end == QueryEnd::Newest {
        events.reverse();
    }
    let oldest: Option<i64> = connection.query_row("SELECT min(id) FROM events", [], |row| row.get(0))?;
    Ok(StoredEvents { events, oldest: oldest.and_then(|id| u64::try_from(id).ok()).map(EventId) })
}

/// The part after WHERE and its values.
fn condition(query: &EventQuery) -> rusqlite::Result<(String, Vec<Value>)> {
    let mut parts = vec!["1".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let bounds = [
        ("at >= ?", query.since.map(Timestamp::as_millis)),
        ("id > ?", query.after.map(|id| id.0)),
        ("id < ?", query.before.map(|id| id.0)),
    ];
    for (part, bound) in bounds {
        if let Some(bound) = bound {
            parts.push(part.to_owned());
            values.push(signed(bound.min(u64::MAX >> 1))?.into());
        }
    }
    if !query.tunnels.is_empty() {
        let marks = vec!["?"; query.tunnels.len()].join(", ");
        parts.push(format!("(tunnel_id IS NULL OR tunnel_id IN ({marks}))"));
        values.extend(query.tunnels.iter().map(|id| Value::from(id.to_string())));
    }
    Ok((parts.join(" AND "), values))
}

pub(super) fn find_tunnel(connection: &Connection, name_or_id: &str) -> rusqlite::Result<Option<TunnelId>> {
    let mut statement = connection.prepare_cached(
        "SELECT tunnel_id FROM events WHERE name = ?1 OR tunnel_id = ?1 ORDER BY id DESC LIMIT 1",
    )?;
    let found: Option<String> = statement.query_row([name_or_id], |row| row.get(0)).optional()?;
    Ok(found.and_then(|id| id.parse().ok()))
}

fn event(row: &Row<'_>) -> Result<Event, String> {
    let subject = match optional(row, "tunnel_id")? {
        Some(tunnel) => Some(EventSubject {
            tunnel,
            name: parsed(row, "name")?,
            profile: optional(row, "profile")?,
            region: optional(row, "region")?,
            target: parsed(row, "target")?,
            session: column::<Option<String>>(row, "session_id")?.map(SsmSessionId),
            node: optional(row, "node")?,
            principal: optional(row, "principal")?,
        }),
        None => None,
    };
    Ok(Event {
        id: EventId(unsigned(row, "id")?),
        at: Timestamp::from_millis(unsigned(row, "at")?),
        subject,
        kind: from_json(row, "kind")?,
    })
}

fn statistics(row: &Row<'_>) -> Result<(TunnelId, Statistics), String> {
    let figures = Statistics {
        traffic: Traffic { sent: unsigned(row, "sent")?, received: unsigned(row, "received")? },
        connections: unsigned(row, "connections")?,
        sessions: unsigned(row, "sessions")?,
        reconnects: unsigned(row, "reconnects")?,
        uptime: Duration::from_millis(unsigned(row, "uptime")?),
    };
    Ok((parsed(row, "tunnel_id")?, figures))
}
