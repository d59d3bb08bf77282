//! The event service as a client sees it.

use stormtunnel_engine::ports::Incident;
use stormtunnel_model::{Event, EventId, EventKind, Principal, Statistics};
use stormtunnel_proto::calls::{EventUpdate, ListEvents, WatchEvents};
use stormtunnel_proto::v1::event_service_client::EventServiceClient;

use super::*;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn of(tunnels: &[&str]) -> ListEvents {
    ListEvents { tunnels: names(tunnels), ..ListEvents::default() }
}

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.kind.name()).collect()
}

#[tokio::test]
async fn events_are_listed_by_tunnel_number_and_time() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    daemon.make(&client, &["a", "b"]).await;
    let all = client.list_events(ListEvents::default()).await.unwrap();
    assert_eq!(kinds(&all), ["daemon_started", "created", "created"]);
    assert_eq!(all[0].subject, None);
    assert_eq!(kinds(&client.list_events(of(&["b"])).await.unwrap()), ["daemon_started", "created"]);
    assert_eq!(client.list_events(of(&["a", "b"])).await.unwrap(), all);
    let newest = ListEvents { limit: 1, ..ListEvents::default() };
    assert_eq!(client.list_events(newest.clone()).await.unwrap(), all[2..]);
    let before = ListEvents { before: Some(all[2].id), ..newest };
    assert_eq!(client.list_events(before).await.unwrap(), all[1..2]);
    let later = Timestamp::from_millis(all[2].at.as_millis() + 1);
    let since = ListEvents { since: Some(later), ..ListEvents::default() };
    assert_eq!(client.list_events(since).await.unwrap(), []);
    let fault = fault(client.list_events(of(&["a", "missing"])).await);
    assert_eq!(fault.kind, FaultKind::TunnelNotFound { tunnel: "missing".to_owned() });
    daemon.stop().await;
}

#[tokio::test]
async fn history_outlives_its_tunnel() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    daemon.make(&client, &["a"]).await;
    let id = client.tunnel("a").await.unwrap().id.to_string();
    client.delete_tunnels(&names(&["a"])).await.unwrap();
    for name in ["a", id.as_str()] {
        let told = client.list_events(of(&[name])).await.unwrap();
        assert_eq!(kinds(&told)[..3], ["daemon_started", "created", "deleted"], "{name}");
    }
    let gone = fault(client.statistics(&names(&["a"])).await);
    assert_eq!(gone.kind, FaultKind::TunnelNotFound { tunnel: "a".to_owned() });
    daemon.stop().await;
}

#[tokio::test]
async fn a_watch_begins_with_a_snapshot_goes_on_and_resumes() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    daemon.make(&client, &["a"]).await;
    let mut watch = client.watch_events(WatchEvents::default()).await.unwrap();
    let snapshot = within(watch.next()).await.unwrap().unwrap();
    let EventUpdate::Snapshot(events) = &snapshot.update else { panic!("{snapshot:?}") };
    assert_eq!(kinds(events), ["daemon_started", "created"]);
    assert_eq!(snapshot.last, events[1].id);

    daemon.make(&client, &["b"]).await;
    let recorded = within(watch.next()).await.unwrap().unwrap();
    let EventUpdate::Recorded(event) = &recorded.update else { panic!("{recorded:?}") };
    assert_eq!((event.kind.name(), event.id), ("created", recorded.last));
    drop(watch);

    let after = WatchEvents { after: Some(snapshot.last), ..WatchEvents::default() };
    let mut resumed = client.watch_events(after).await.unwrap();
    assert_eq!(within(resumed.next()).await.unwrap().unwrap().update, EventUpdate::Resumed);
    assert_eq!(within(resumed.next()).await.unwrap().unwrap(), recorded, "nothing is lost or comes twice");

    let strange = WatchEvents { after: Some(EventId(7)), limit: 1, ..WatchEvents::default() };
    let mut other = client.watch_events(strange).await.unwrap();
    let snapshot = within(other.next()).await.unwrap().unwrap();
    assert!(matches!(&snapshot.update, EventUpdate::Snapshot(events) if events.len() == 1), "{snapshot:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_watch_is_refused_or_ends_with_a_reason() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let missing = WatchEvents { tunnels: names(&["missing"]), ..WatchEvents::default() };
    let refused = fault(client.watch_events(missing).await);
    assert_eq!(refused.kind, FaultKind::TunnelNotFound { tunnel: "missing".to_owned() });
    let mut watch = client.watch_events(WatchEvents::default()).await.unwrap();
    within(watch.next()).await.unwrap().unwrap();
    daemon.stopping.cancel();
    let error = within(watch.next()).await.unwrap_err();
    assert!(matches!(error, CallError::Fault(Fault { kind: FaultKind::ShuttingDown, .. })), "{error}");
    daemon.stop().await;
}

#[tokio::test]
async fn statistics_come_in_order_and_a_strange_request_names_its_field() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    daemon.make(&client, &["b", "a"]).await;
    let all = client.statistics(&[]).await.unwrap();
    assert_eq!(all.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(all[0].since_created, Statistics::default());
    let asked = client.statistics(&names(&["b", "a"])).await.unwrap();
    assert_eq!(asked.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);

    let mut raw = EventServiceClient::new(daemon.channel().await);
    let mut strange = v1::ListEventsRequest { since: Some(Default::default()), ..Default::default() };
    strange.since.as_mut().unwrap().seconds = -1;
    let status = raw.list_events(strange).await.unwrap_err();
    let fault = stormtunnel_proto::status::to_fault(&status).expect("typed");
    assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "since".to_owned() });
    daemon.stop().await;
}

#[tokio::test]
async fn events_that_the_disk_did_not_take_are_listed_all_the_same() {
    let daemon = Daemon::start().await;
    daemon.world.history.break_with(Some(Fault::internal("disk full")));
    let client = daemon.client().await;
    daemon.make(&client, &["a"]).await;
    let all = client.list_events(ListEvents::default()).await.unwrap();
    assert_eq!(all.last().unwrap().kind, EventKind::Created);
    daemon.stop().await;
}

#[tokio::test]
async fn sessions_name_who_opened_them_and_the_machine_has_events_of_its_own() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let ada: Principal = "arn:aws:sts::123456789012:assumed-role/Dev/ada".parse().unwrap();
    daemon.world.identity.answer(Ok(ada.clone()));
    let create = CreateTunnel { request_id: None, spec: spec("a"), start: true };
    client.create_tunnel(create).await.unwrap();
    daemon.world.history.wait_for(|kind| *kind == EventKind::SessionStarted).await;
    let sessions = client.tunnel("a").await.unwrap().status.sessions;
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].principal, Some(ada.clone()));

    let slept = Duration::from_secs(7 * 3600);
    daemon.world.incidents.report(Incident::Woke { slept, dark: true });
    daemon.world.history.wait_for(|kind| kind.name() == "woke").await;
    let told = client.list_events(of(&["a"])).await.unwrap();
    let started = told.iter().find(|event| event.kind == EventKind::SessionStarted).unwrap();
    let subject = started.subject.as_ref().unwrap();
    assert_eq!(subject.session.as_ref(), Some(&sessions[0].id));
    assert_eq!((subject.node.as_ref(), subject.principal.as_ref()), (Some(&sessions[0].node), Some(&ada)));
    let woke = told.iter().find(|event| event.kind == EventKind::Woke { slept, dark: true }).unwrap();
    assert_eq!(woke.subject, None, "it is among the events of every tunnel");
    daemon.stop().await;
}
