//! Events and statistics: what is kept, how it is found, what is forgotten.

use std::sync::Arc;
use std::time::Duration;

use stormtunnel_engine::ports::{EventQuery, HistoryBatch, HistoryStore, QueryEnd};
use stormtunnel_model::{
    Attempt, Event, EventId, EventKind, EventSubject, Fault, FaultKind, SignInEvent, Statistics, Traffic,
};

use super::*;
use crate::store::StoreHandle;
use crate::store::history::{LONGEST, MOST_EVENTS};

fn subject(name: &str) -> EventSubject {
    let StoredTunnel { id, spec, .. } = tunnel(name);
    EventSubject {
        tunnel: id,
        name: spec.name,
        profile: spec.profile,
        region: None,
        target: spec.target,
        session: Some(SsmSessionId("ada-1".to_owned())),
        node: Some("i-0abcdef1234567890".parse().unwrap()),
        principal: Some("arn:aws:sts::123456789012:assumed-role/Dev/ada".parse().unwrap()),
    }
}

fn event(id: u64, name: &str, kind: EventKind) -> Event {
    Event { id: EventId(id), at: NOW.plus(Duration::from_secs(id)), subject: Some(subject(name)), kind }
}

async fn add(handle: &StoreHandle, events: &[Event]) {
    let events = events.iter().cloned().map(Arc::new).collect();
    handle.add_history(HistoryBatch { events, statistics: Vec::new() }).await.unwrap();
}

async fn ids(handle: &StoreHandle, query: EventQuery) -> Vec<u64> {
    handle.events(query).await.unwrap().events.iter().map(|event| event.id.0).collect()
}

fn all() -> EventQuery {
    EventQuery { limit: usize::from(u16::MAX), ..EventQuery::default() }
}

/// One event of each kind, with its form in the database. The forms are part of released schemas: rows that hold them
/// exist, so a line here may be added, never changed.
fn forms() -> Vec<(EventKind, &'static str)> {
    let mut forms = vec![
        (EventKind::DaemonStarted, r#""daemon_started""#),
        (EventKind::DaemonStopping, r#""daemon_stopping""#),
        (EventKind::EventsLost { count: 7 }, r#"{"events_lost":{"count":7}}"#),
        (
            EventKind::Woke { slept: Duration::from_secs(9), dark: true },
            r#"{"woke":{"slept":{"secs":9,"nanos":0},"dark":true}}"#,
        ),
        (EventKind::NetworkChanged, r#""network_changed""#),
        (EventKind::ClockJumped { by_ms: -1500 }, r#"{"clock_jumped":{"by_ms":-1500}}"#),
        (EventKind::Created, r#""created""#),
        (EventKind::Changed { fields: vec!["local".to_owned()] }, r#"{"changed":{"fields":["local"]}}"#),
        (EventKind::Deleted, r#""deleted""#),
        (EventKind::IntentChanged { intent: Intent::Run }, r#"{"intent_changed":{"intent":"Run"}}"#),
        (EventKind::TtlOver, r#""ttl_over""#),
        (EventKind::Restarted, r#""restarted""#),
        (EventKind::Up { attempt: Attempt(2) }, r#"{"up":{"attempt":2}}"#),
        (EventKind::Idle, r#""idle""#),
        (EventKind::Stopped, r#""stopped""#),
        (EventKind::SessionStarted, r#""session_started""#),
        (EventKind::SessionResumed, r#""session_resumed""#),
        (
            EventKind::NodeChosen {
                node: "i-0abcdef12".parse().unwrap(),
                name: Some("web".to_owned()),
                candidates: 2,
            },
            r#"{"node_chosen":{"node":"i-0abcdef12","name":"web","candidates":2}}"#,
        ),
        (EventKind::PayloadReduced { limit: 1024 }, r#"{"payload_reduced":{"limit":1024}}"#),
        (EventKind::Unknown { headline: "x".to_owned() }, r#"{"unknown":{"headline":"x"}}"#),
    ];
    forms.extend(forms_with_faults());
    forms.extend(forms_of_sign_ins());
    forms
}

fn forms_of_sign_ins() -> Vec<(EventKind, &'static str)> {
    let of = |event| EventKind::SignIn { sign_in: "corp".parse().unwrap(), event };
    let (before, expires_at) = (Some(Timestamp::from_millis(7)), Timestamp::from_millis(8));
    let fault = Fault::new(FaultKind::Network, "dns error");
    vec![
        (
            of(SignInEvent::SignedIn { elsewhere: true }),
            r#"{"sign_in":{"sign_in":"corp","event":{"signed_in":{"elsewhere":true}}}}"#,
        ),
        (
            of(SignInEvent::SignedOut { elsewhere: false }),
            r#"{"sign_in":{"sign_in":"corp","event":{"signed_out":{"elsewhere":false}}}}"#,
        ),
        (
            of(SignInEvent::LoginNeeded { reason: "why".to_owned(), before }),
            r#"{"sign_in":{"sign_in":"corp","event":{"login_needed":{"reason":"why","before":7}}}}"#,
        ),
        (
            of(SignInEvent::TokenRenewed { expires_at }),
            r#"{"sign_in":{"sign_in":"corp","event":{"token_renewed":{"expires_at":8}}}}"#,
        ),
        (
            of(SignInEvent::RenewalFailed { fault }),
            r#"{"sign_in":{"sign_in":"corp","event":{"renewal_failed":{"fault":{"kind":"Network","detail":"dns error"}}}}}"#,
        ),
    ]
}

fn forms_with_faults() -> Vec<(EventKind, &'static str)> {
    let in_use = FaultKind::PortInUse { address: "127.0.0.1:1".to_owned(), holder: Some("nc".to_owned()) };
    let refused = FaultKind::RemoteRefused { remote: "db.internal:5432".to_owned() };
    let silent = || Fault::new(FaultKind::AgentUnresponsive, "");
    let traffic = Traffic { sent: 1, received: 2 };
    vec![
        (
            EventKind::Connecting { attempt: Attempt(2), fault: None },
            r#"{"connecting":{"attempt":2,"fault":null}}"#,
        ),
        (
            EventKind::Retrying { attempt: Attempt(1), fault: Fault::new(in_use, "") },
            r#"{"retrying":{"attempt":1,"fault":{"kind":{"PortInUse":{"address":"127.0.0.1:1","holder":"nc"}},"detail":""}}}"#,
        ),
        (
            EventKind::Blocked { fault: silent() },
            r#"{"blocked":{"fault":{"kind":"AgentUnresponsive","detail":""}}}"#,
        ),
        (
            EventKind::SessionEnded { fault: None, traffic, lasted: Duration::from_millis(1500) },
            r#"{"session_ended":{"fault":null,"traffic":{"sent":1,"received":2},"lasted":{"secs":1,"nanos":500000000}}}"#,
        ),
        (
            EventKind::ConnectionRefused { fault: Fault::new(refused, "why") },
            r#"{"connection_refused":{"fault":{"kind":{"RemoteRefused":{"remote":"db.internal:5432"}},"detail":"why"}}}"#,
        ),
        (
            EventKind::ReaderReset { fault: Fault::new(FaultKind::LocalReaderStalled, "") },
            r#"{"reader_reset":{"fault":{"kind":"LocalReaderStalled","detail":""}}}"#,
        ),
        (
            EventKind::AgentStalled { fault: silent() },
            r#"{"agent_stalled":{"fault":{"kind":"AgentUnresponsive","detail":""}}}"#,
        ),
    ]
}

#[tokio::test]
async fn every_kind_comes_back_and_keeps_its_form() {
    let directory = TempDir::new().unwrap();
    let opened = open(&path(&directory));
    let handle = opened.store.handle();
    let events: Vec<Event> = (1..).zip(forms()).map(|(id, (kind, _))| event(id, "db", kind)).collect();
    add(&handle, &events).await;
    drop(handle);
    opened.store.close().await;

    let connection = Connection::open(path(&directory)).unwrap();
    let mut statement = connection.prepare("SELECT kind FROM events ORDER BY id").unwrap();
    let stored: Vec<String> =
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(stored, forms().into_iter().map(|(_, form)| form).collect::<Vec<_>>());
    drop(statement);
    drop(connection);

    let handle = open(&path(&directory)).store.handle();
    assert_eq!(handle.events(all()).await.unwrap().events, events);
    assert_eq!(handle.load_history().await.unwrap().newest, Some(events.last().unwrap().id));
}

/// Every kind of fault reads back from the form in which events hold it.
#[test]
fn every_kind_of_fault_has_a_form() {
    for kind in FaultKind::one_of_each() {
        let fault = Fault::new(kind, "detail");
        let form = serde_json::to_string(&fault).unwrap();
        assert_eq!(serde_json::from_str::<Fault>(&form).unwrap(), fault, "{form}");
    }
}

#[tokio::test]
async fn events_are_found_by_tunnel_time_and_number() {
    let directory = TempDir::new().unwrap();
    let handle = open(&path(&directory)).store.handle();
    let mut events: Vec<Event> =
        (1..=9).map(|id| event(id, if id % 2 == 0 { "db" } else { "web" }, EventKind::Stopped)).collect();
    events.push(Event { subject: None, ..event(10, "db", EventKind::DaemonStarted) });
    add(&handle, &events).await;
    let of_db = || EventQuery { tunnels: vec![subject("db").tunnel], ..all() };
    assert_eq!(ids(&handle, of_db()).await, [2, 4, 6, 8, 10], "and the daemon's own");
    assert_eq!(ids(&handle, EventQuery { limit: 2, ..of_db() }).await, [8, 10], "the newest");
    let oldest = EventQuery { limit: 2, end: QueryEnd::Oldest, after: Some(EventId(2)), ..of_db() };
    assert_eq!(ids(&handle, oldest).await, [4, 6]);
    assert_eq!(ids(&handle, EventQuery { before: Some(EventId(3)), ..all() }).await, [1, 2]);
    let since = Some(NOW.plus(Duration::from_secs(9)));
    assert_eq!(ids(&handle, EventQuery { since, ..all() }).await, [9, 10]);
    assert_eq!(handle.events(of_db()).await.unwrap().oldest, Some(EventId(1)), "of all");

    let find = async |name: &str| handle.find_tunnel(name.to_owned()).await.unwrap();
    assert_eq!(find("web").await, Some(subject("web").tunnel));
    assert_eq!(find(&subject("db").tunnel.to_string()).await, Some(subject("db").tunnel));
    assert_eq!(find("nosuch").await, None);
}

/// A batch whose answer was lost is given again.
#[tokio::test]
async fn a_repeated_batch_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let handle = open(&path(&directory)).store.handle();
    let first = event(1, "db", EventKind::Created);
    add(&handle, std::slice::from_ref(&first)).await;
    add(&handle, &[event(1, "web", EventKind::Deleted), event(2, "db", EventKind::Stopped)]).await;
    let events = handle.events(all()).await.unwrap().events;
    assert_eq!(events, [first, event(2, "db", EventKind::Stopped)]);
}

#[tokio::test]
async fn what_is_too_much_or_too_old_is_forgotten() {
    let directory = TempDir::new().unwrap();
    let handle = open(&path(&directory)).store.handle();
    let most = u64::from(MOST_EVENTS);
    let many: Vec<Event> =
        (1..=most + 5).map(|id| Event { at: NOW, ..event(id, "db", EventKind::Stopped) }).collect();
    add(&handle, &many).await;
    let kept = ids(&handle, all()).await;
    assert_eq!((kept.len() as u64, kept[0]), (most, 6));

    let late = |id, after| Event { at: NOW.plus(after), ..event(id, "db", EventKind::Stopped) };
    add(&handle, &[late(most + 6, LONGEST)]).await;
    assert_eq!(ids(&handle, all()).await.len() as u64, most, "thirty days are not too old");
    add(&handle, &[late(most + 7, LONGEST + Duration::from_millis(1))]).await;
    assert_eq!(ids(&handle, all()).await, [most + 6, most + 7]);
}

#[tokio::test]
async fn figures_belong_to_their_tunnel() {
    let directory = TempDir::new().unwrap();
    let opened = open(&path(&directory));
    let handle = opened.store.handle();
    handle.put_tunnel(tunnel("db")).await.unwrap();
    let figures = Statistics {
        traffic: Traffic { sent: 1, received: 2 },
        connections: 3,
        sessions: 4,
        reconnects: 5,
        uptime: Duration::from_millis(6),
    };
    let (id, gone) = (tunnel("db").id, TunnelId::new(NOW, &[99; 10]));
    let batch = || HistoryBatch { events: Vec::new(), statistics: vec![(id, figures), (gone, figures)] };
    handle.add_history(batch()).await.unwrap();
    handle.add_history(batch()).await.unwrap();
    handle.put_tunnel(StoredTunnel { etag: Etag(9), ..tunnel("db") }).await.unwrap();
    drop(handle);
    opened.store.close().await;

    let handle = open(&path(&directory)).store.handle();
    let stored = handle.load_history().await.unwrap().statistics;
    assert_eq!(stored.into_iter().collect::<Vec<_>>(), [(id, figures)], "a tunnel that is gone has none");
    handle.delete_tunnel(id).await.unwrap();
    assert!(handle.load_history().await.unwrap().statistics.is_empty());
}

/// SQLite says of a file that may not grow what it says of a full disk.
#[tokio::test]
async fn a_full_disk_costs_no_stored_event_and_heals() {
    let directory = TempDir::new().unwrap();
    let handle = open(&path(&directory)).store.handle();
    let bound = async |pages: u32| {
        let set = handle.run(move |connection| connection.pragma_update(None, "max_page_count", pages));
        set.await.unwrap();
    };
    add(&handle, &[event(1, "db", EventKind::Created)]).await;
    bound(1).await;
    let long = Fault::new(FaultKind::Network, "x".repeat(1000));
    let many = (2..200).map(|id| Arc::new(event(id, "db", EventKind::Blocked { fault: long.clone() })));
    let batch = HistoryBatch { events: many.collect(), statistics: Vec::new() };
    let fault = handle.add_history(batch.clone()).await.unwrap_err();
    assert!(fault.detail.contains("full"), "{fault}");
    assert_eq!(ids(&handle, all()).await, [1], "all of a batch or none");
    bound(u32::MAX / 2).await;
    handle.add_history(batch).await.unwrap();
    assert_eq!(ids(&handle, all()).await.len(), 199);
}

#[tokio::test]
async fn one_event_that_cannot_be_read_hides_no_other() {
    let directory = TempDir::new().unwrap();
    let opened = open(&path(&directory));
    add(&opened.store.handle(), &[event(1, "db", EventKind::Created), event(2, "db", EventKind::Stopped)])
        .await;
    opened.store.close().await;
    let connection = Connection::open(path(&directory)).unwrap();
    connection.execute("UPDATE events SET kind = '\"of_the_future\"' WHERE id = 1", []).unwrap();
    drop(connection);
    assert_eq!(ids(&open(&path(&directory)).store.handle(), all()).await, [2]);
}
