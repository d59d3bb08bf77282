//! `events`, `explain` and `stats`: what they ask, print and return.

use std::time::Duration;

use stctl::render::views::TunnelView;
use stctl::render::{Style, details, events, explain};
use stormtunnel_model::{
    Attempt, Event, EventId, EventKind, EventSubject, ExitCode, Fault, FaultKind, Intent, RemoteHealth,
    SsmSessionId, Statistics, Timestamp, Traffic, Tunnel, TunnelLimit, TunnelState, TunnelStatistics,
};
use stormtunnel_proto::calls::{EventUpdate, EventWatchUpdate};

use crate::fake::Fake;
use crate::support::{now, running, session, stctl, stopped};

const BEGINNING: u64 = 1_700_000_000;

fn network() -> Fault {
    Fault::new(FaultKind::Network, "connection reset by peer")
}

/// Something that happened to a tunnel so many seconds after the beginning.
pub(crate) fn event(second: u64, tunnel: Option<&Tunnel>, kind: EventKind) -> Event {
    let subject = tunnel.map(|tunnel| EventSubject {
        tunnel: tunnel.id,
        name: tunnel.spec.name.clone(),
        profile: tunnel.spec.profile.clone(),
        region: tunnel.spec.region.clone(),
        target: tunnel.spec.target.clone(),
        session: Some(SsmSessionId("ada-0123456789abcdef0".to_owned())),
        node: tunnel.spec.target.as_node(),
        principal: Some("arn:aws:sts::123456789012:assumed-role/Dev/ada".parse().unwrap()),
    });
    Event {
        id: EventId(1000 + second),
        at: Timestamp::from_millis((BEGINNING + second) * 1000),
        subject,
        kind,
    }
}

/// One event of each kind.
pub(crate) fn every_kind(db: &Tunnel) -> Vec<Event> {
    let stalled = Fault::new(FaultKind::LocalReaderStalled, "its connection, 17 KiB unread, was reset");
    let refused = Fault::new(FaultKind::RemoteRefused { remote: "db.internal:5432".to_owned() }, "");
    let silent = Fault::new(FaultKind::AgentUnresponsive, "it stopped confirming what it is sent");
    let blocked =
        Fault::new(FaultKind::RemoteUnresolvable { host: "db.internal".to_owned() }, "no such host");
    let traffic = Traffic { sent: 12_345, received: 4_567_890 };
    let kinds = vec![
        EventKind::Created,
        EventKind::IntentChanged { intent: Intent::Run },
        EventKind::Connecting { attempt: Attempt(1), fault: None },
        EventKind::SessionStarted,
        EventKind::Up { attempt: Attempt(1) },
        EventKind::Connecting { attempt: Attempt(1), fault: Some(network()) },
        EventKind::SessionResumed,
        EventKind::Up { attempt: Attempt(1) },
        EventKind::ConnectionRefused { fault: refused },
        EventKind::ReaderReset { fault: stalled },
        EventKind::AgentStalled { fault: silent },
        EventKind::PayloadReduced { limit: 1024 },
        EventKind::SessionEnded {
            fault: Some(Fault::new(FaultKind::SessionEnded, "timed out")),
            traffic,
            lasted: Duration::from_secs(1260),
        },
        EventKind::Retrying { attempt: Attempt(3), fault: network() },
        EventKind::Blocked { fault: blocked },
        EventKind::Changed { fields: vec!["remote".to_owned(), "labels".to_owned()] },
        EventKind::Restarted,
        EventKind::Idle,
        EventKind::IntentChanged { intent: Intent::Stop },
        EventKind::SessionEnded { fault: None, traffic, lasted: Duration::from_millis(2900) },
        EventKind::Stopped,
        EventKind::Deleted,
        EventKind::Unknown { headline: "the moon rose".to_owned() },
    ];
    let mut all = vec![event(0, None, EventKind::DaemonStarted)];
    all.extend((1..).zip(kinds).map(|(second, kind)| event(second, Some(db), kind)));
    let slept = Duration::from_secs(7 * 3600);
    all.push(event(60, None, EventKind::Woke { slept, dark: false }));
    all.push(event(61, None, EventKind::Woke { slept, dark: true }));
    all.push(event(62, None, EventKind::NetworkChanged));
    all.push(event(63, None, EventKind::ClockJumped { by_ms: -7_200_000 }));
    all.push(event(64, None, EventKind::ClockJumped { by_ms: 900 }));
    all.push(event(90, None, EventKind::EventsLost { count: 7 }));
    all.push(event(91, None, EventKind::DaemonStopping));
    all
}

fn db(state: TunnelState) -> Tunnel {
    running("db", "db.internal:5432", "15432", state)
}

#[test]
fn every_kind_of_event_has_its_line() {
    let all = every_kind(&db(TunnelState::Up));
    let lines: String = all.iter().map(|event| events::line(event, false, Style::default())).collect();
    let wide: String = all[..6].iter().map(|event| events::line(event, true, Style::default())).collect();
    insta::assert_snapshot!("event_lines", format!("{lines}---\n{wide}"));
    let coloured: String =
        all.iter().map(|event| events::line(event, false, Style { colour: true })).collect();
    assert!(coloured.contains("\u{1b}["), "{coloured}");
}

#[tokio::test]
async fn events_are_asked_for_page_by_page_and_shown_oldest_first() {
    let tunnel = db(TunnelState::Up);
    Fake::beside(vec![tunnel.clone()], async |fake: Fake| {
        let many = (0..2500).map(|second| event(second, Some(&tunnel), EventKind::SessionStarted)).collect();
        fake.remember(many, Vec::new());
        let ran = stctl(fake.socket(), "events db db --limit 2200 -o name").await;
        let shown: Vec<u64> = ran.out.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(shown, (1300..3500).collect::<Vec<_>>());
        assert_eq!(
            fake.asked(),
            [
                "events db since=None limit=1000 before=None",
                "events db since=None limit=1000 before=Some(2500)",
                "events db since=None limit=200 before=Some(1500)",
            ]
        );
        let hour_ago = now().as_millis() - 3_600_000;
        stctl(fake.socket(), "events --since 1h --limit 1").await;
        assert_eq!(fake.asked()[3], format!("events  since=Some({hour_ago}) limit=1 before=None"));
    })
    .await;
}

#[tokio::test]
async fn events_for_people_and_for_programs() {
    let tunnel = db(TunnelState::Up);
    Fake::beside(vec![tunnel.clone()], async |fake: Fake| {
        let none = stctl(fake.socket(), "events").await;
        assert_eq!((none.code, none.out.as_str(), none.err.as_str()), (0, "", "there are no events\n"));
        fake.remember(every_kind(&tunnel), Vec::new());
        let ran = stctl(fake.socket(), "events --limit 3").await;
        assert_eq!((ran.code, ran.out.lines().count(), ran.err.as_str()), (0, 3, ""), "{ran:?}");
        let json = stctl(fake.socket(), "events -o json").await.json();
        let ended = json.as_array().unwrap().iter().find(|event| event["kind"] == "session_ended").unwrap();
        insta::assert_snapshot!("event_json", serde_json::to_string_pretty(ended).unwrap());
        fake.refuse(Fault::new(FaultKind::TunnelNotFound { tunnel: "nosuch".to_owned() }, ""));
        let ran = stctl(fake.socket(), "events nosuch").await;
        assert_eq!(ran.code, 6, "{ran:?}");
        for line in ["events --limit 0", "events --since yesterday", "events --limit 10001"] {
            assert_eq!(stctl(fake.socket(), line).await.code, 2, "{line}");
        }
    })
    .await;
}

#[tokio::test]
async fn followed_events_come_one_by_one_and_a_gap_is_told() {
    let tunnel = db(TunnelState::Up);
    Fake::beside(vec![tunnel.clone()], async |fake: Fake| {
        fake.remember(every_kind(&tunnel)[..2].to_vec(), Vec::new());
        let script = async {
            let up = event(5, Some(&tunnel), EventKind::Up { attempt: Attempt(1) });
            let news = |last: u64, update| EventWatchUpdate { last: EventId(last), update };
            fake.tell(news(1005, EventUpdate::Recorded(Box::new(up.clone())))).await;
            let later = event(9, Some(&tunnel), EventKind::Stopped);
            fake.tell(news(1009, EventUpdate::Snapshot(vec![up, later]))).await;
            fake.tell(news(1009, EventUpdate::Resumed)).await;
        };
        let (ran, ()) = tokio::join!(stctl(fake.socket(), "events --follow"), script);
        insta::assert_snapshot!("events_follow", ran.shown());
        let script =
            async { fake.tell(EventWatchUpdate { last: EventId(1), update: EventUpdate::Resumed }).await };
        let (ran, ()) = tokio::join!(stctl(fake.socket(), "events -f -o json"), script);
        let kinds: Vec<serde_json::Value> = ran
            .out
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"].clone())
            .collect();
        assert_eq!(kinds, ["daemon_started", "created"]);
    })
    .await;
}

/// Each state with a history that fits it.
pub(crate) fn cases() -> Vec<(Tunnel, Vec<Event>)> {
    let up = |tunnel: &Tunnel, second| event(second, Some(tunnel), EventKind::Up { attempt: Attempt(1) });
    let quiet = db(TunnelState::Up);
    let mut limited = db(TunnelState::Up);
    limited.status.limit = Some(TunnelLimit::AgentResend { waiting_bytes: 1_300_000 });
    let broke = EventKind::Connecting { attempt: Attempt(1), fault: Some(network()) };
    let broken = vec![up(&limited, 1), event(10, Some(&limited), broke.clone()), up(&limited, 12)];
    let mut refused = db(TunnelState::Up);
    refused.status.remote = RemoteHealth::Refused;
    refused.status.last_fault =
        Some(Fault::new(FaultKind::RemoteRefused { remote: "db.internal:5432".to_owned() }, ""));
    let at = Timestamp::from_millis(now().as_millis() + 8000);
    let mut retrying = db(TunnelState::Retrying { at, fault: network() });
    retrying.status.attempt = Attempt(12);
    let retried = EventKind::Retrying { attempt: Attempt(2), fault: network() };
    let outage =
        vec![up(&retrying, 1), event(60, Some(&retrying), broke), event(75, Some(&retrying), retried)];
    let kind = FaultKind::RemoteUnresolvable { host: "db.internal".to_owned() };
    let blocked = db(TunnelState::Blocked { fault: Fault::new(kind, "no such host") });
    let kind = FaultKind::SignInNeeded { sign_in: "corp".to_owned() };
    let sign_in = db(TunnelState::Blocked { fault: Fault::new(kind, "") });
    let step = stormtunnel_model::ConnectStep::Session;
    let connecting = db(TunnelState::Connecting { step });
    let stopping = db(TunnelState::Stopping);
    let mut cases = vec![
        (quiet.clone(), vec![up(&quiet, 1)]),
        (limited, broken),
        (refused, Vec::new()),
        (retrying, outage),
        (blocked, Vec::new()),
        (sign_in, Vec::new()),
        (connecting, Vec::new()),
        (stopped("db", "db.internal:5432", "15432"), Vec::new()),
    ];
    cases.extend([(db(TunnelState::Idle), Vec::new()), (stopping, Vec::new())]);
    cases.extend(cases_with_causes());
    cases
}

/// Situations in which more than the tunnel counts.
fn cases_with_causes() -> Vec<(Tunnel, Vec<Event>)> {
    let up = |tunnel: &Tunnel, second| event(second, Some(tunnel), EventKind::Up { attempt: Attempt(1) });
    let broke = || EventKind::Connecting { attempt: Attempt(1), fault: Some(network()) };
    let woke = EventKind::Woke { slept: Duration::from_secs(7 * 3600), dark: false };
    let rested = db(TunnelState::Up);
    let morning = vec![
        up(&rested, 1),
        event(100, None, woke.clone()),
        event(100, None, EventKind::NetworkChanged),
        event(106, Some(&rested), broke()),
        up(&rested, 108),
    ];
    let at = Timestamp::from_millis(now().as_millis() + 8000);
    let waiting = db(TunnelState::Retrying { at, fault: network() });
    let retried = EventKind::Retrying { attempt: Attempt(2), fault: network() };
    let night = vec![
        up(&waiting, 1),
        // A session beside the main one ended while the tunnel was up.
        event(
            50,
            Some(&waiting),
            EventKind::SessionEnded {
                fault: None,
                traffic: Traffic::default(),
                lasted: Duration::from_secs(40),
            },
        ),
        event(104, Some(&waiting), broke()),
        event(105, None, woke),
        event(120, Some(&waiting), retried),
    ];
    let shaky = db(TunnelState::Up);
    let shakes = (0..4).flat_map(|round| {
        let second = 60 * round;
        [
            event(second, None, EventKind::NetworkChanged),
            event(second + 1, Some(&shaky), broke()),
            up(&shaky, second + 3),
        ]
    });
    let shakes = shakes.collect();
    let mut several = db(TunnelState::Up);
    several.status.sessions = ["ada-0123456789abcdef0", "ada-1", "ada-2"]
        .into_iter()
        .zip([1, 1, 0])
        .map(|(id, connections)| session(&several, id, connections))
        .collect();
    let idle = db(TunnelState::Idle);
    let traffic = Traffic { sent: 12_345, received: 4_567_890 };
    let fault = Some(Fault::new(FaultKind::SessionEnded, "timed out"));
    let unused = EventKind::SessionEnded { fault, traffic, lasted: Duration::from_secs(1260) };
    let evening = vec![up(&idle, 1), event(2, Some(&idle), unused), event(2, Some(&idle), EventKind::Idle)];
    vec![(rested, morning), (waiting, night), (shaky, shakes), (several, Vec::new()), (idle, evening)]
}

#[test]
fn a_tunnel_of_several_sessions_shows_each() {
    let mut several = db(TunnelState::Up);
    several.status.sessions = ["ada-0123456789abcdef0", "ada-1", "ada-2"]
        .into_iter()
        .zip([2, 1, 0])
        .map(|(id, connections)| session(&several, id, connections))
        .collect();
    several.status.sessions[2].node = "i-0fedcba9876543210".parse().unwrap();
    insta::assert_snapshot!("several_sessions", details::status(&several, now(), Style::default()));
    let json = serde_json::to_value(TunnelView::of(&several)).unwrap();
    let shown: Vec<&serde_json::Value> = json["status"]["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| &session["connections"])
        .collect();
    assert_eq!(shown, [2, 1, 0]);
}

#[test]
fn every_state_is_explained_in_a_paragraph() {
    let mut shown = String::new();
    for (tunnel, history) in cases() {
        let explanation = explain::explain(&tunnel, &history, now());
        let text = explain::text(&explanation, &history, Style::default());
        assert!(!explanation.summary.contains("NAME") && !explanation.summary.contains('\n'), "{text}");
        shown.push_str(&format!("{text}\n"));
    }
    insta::assert_snapshot!("explanations", shown);
}

#[tokio::test]
async fn explain_reads_tunnel_and_events_and_is_no_judgement() {
    let (tunnel, history) = cases().swap_remove(3);
    Fake::beside(vec![tunnel.clone()], async |fake: Fake| {
        fake.remember(history, Vec::new());
        let ran = stctl(fake.socket(), "explain db").await;
        assert_eq!(ran.code, ExitCode::Ok as u8, "{ran:?}");
        assert!(ran.out.starts_with("db has been retrying"), "{}", ran.out);
        assert_eq!(
            fake.asked()[..2],
            ["get db".to_owned(), format!("events {} since=None limit=200 before=None", tunnel.id)]
        );
        let json = stctl(fake.socket(), "explain db -o json").await.json();
        assert_eq!(json["next_try"], "2023-11-14T22:18:28Z");
        assert_eq!(json["not_up_since"], "2023-11-14T22:14:20Z");
        assert_eq!(json["tunnel"]["status"]["state"], "retrying");
        assert_eq!(json["events"].as_array().unwrap().len(), 3);
        assert!(json["remedy"].as_str().unwrap().contains("check the network"), "{json}");
        let missing = stctl(fake.socket(), "explain nosuch").await;
        assert_eq!(missing.code, 6, "{missing:?}");
    })
    .await;
}

pub(crate) fn figures(factor: u64) -> Statistics {
    Statistics {
        traffic: Traffic { sent: 1_234 * factor, received: 4_567_890 * factor },
        connections: 12 * factor,
        sessions: factor,
        reconnects: factor - 1,
        uptime: Duration::from_secs(4000 * factor),
    }
}

#[tokio::test]
async fn stats_show_both_spans_and_every_missing_name() {
    let tunnels = vec![db(TunnelState::Up), stopped("web", "80", "auto")];
    let statistics = tunnels
        .iter()
        .map(|tunnel| TunnelStatistics {
            id: tunnel.id,
            name: tunnel.spec.name.clone(),
            created_at: tunnel.created_at,
            since_created: figures(300),
            since_started: figures(1),
        })
        .collect();
    Fake::beside(tunnels, async |fake: Fake| {
        let none = stctl(fake.socket(), "stats").await;
        assert_eq!((none.code, none.out.as_str()), (0, ""));
        fake.remember(Vec::new(), statistics);
        let ran = stctl(fake.socket(), "stats").await;
        insta::assert_snapshot!("stats", ran.shown());
        let ran = stctl(fake.socket(), "stats web nosuch").await;
        assert_eq!((ran.code, ran.out.lines().count()), (6, 3), "{ran:?}");
        assert!(ran.err.contains("there is no tunnel \"nosuch\""), "{}", ran.err);
        let json = stctl(fake.socket(), "stats db -o json").await.json();
        assert_eq!(json[0]["since_started"]["received_bytes"], 4_567_890);
        assert_eq!(json[0]["since_created"]["uptime_seconds"], 1_200_000);
    })
    .await;
}
