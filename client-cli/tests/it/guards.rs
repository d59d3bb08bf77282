//! Guards and selectors on the command line: reason, time, confirmation, labels, local ends that are special.

use std::io;

use stormtunnel_model::{
    Event, EventId, EventKind, EventSubject, Intent, Label, RunTerms, Timestamp, Tunnel, TunnelState,
};

use stctl::world::Answer;

use crate::fake::Fake;
use crate::support::{asked, asked_with, now, running, stctl, stopped};

fn labelled(name: &str, labels: &[&str]) -> Tunnel {
    let mut tunnel = stopped(name, "80", "auto");
    tunnel.spec.labels = labels.iter().map(|text| text.parse::<Label>().unwrap().into()).collect();
    tunnel
}

fn three() -> Vec<Tunnel> {
    vec![labelled("a", &["env=dev"]), labelled("b", &["env=prod", "team=data"]), labelled("c", &["env=prod"])]
}

fn guarded() -> Vec<Tunnel> {
    vec![stopped("db", "80", "auto"), labelled("prod-db", &["confirm=true"])]
}

fn yes() -> io::Result<String> {
    Ok("Yes\n".to_owned())
}

fn enter() -> io::Result<String> {
    Ok("\n".to_owned())
}

#[tokio::test]
async fn a_start_says_why_and_for_how_long() {
    Fake::beside(vec![stopped("db", "80", "auto")], async |fake: Fake| {
        for (line, told) in [
            ("up db --reason INC-4711 --ttl 2h --no-wait", "start db reason=INC-4711 ttl=2h"),
            ("restart db --ttl 7d --no-wait", "restart db ttl=7d"),
            ("up db --no-wait", "start db"),
        ] {
            assert_eq!(stctl(fake.socket(), line).await.code, 0, "{line}");
            assert_eq!(fake.asked().last().unwrap(), told);
        }
        for line in
            ["up db --ttl 59s", "up db --ttl 31d", "up db --ttl soon", "tunnel edit db --ttl 2h --no-ttl"]
        {
            assert_eq!(stctl(fake.socket(), line).await.code, 2, "{line}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_defaults_of_a_tunnel_are_given_shown_and_taken_away() {
    Fake::beside(vec![stopped("db", "80", "auto")], async |fake: Fake| {
        let add = "tunnel add web --target i-0abcdef1234567890 --remote 80 --reason routine --ttl 90m";
        let made = stctl(fake.socket(), &format!("{add} -o json")).await.json();
        assert_eq!(
            (&made["spec"]["reason"], &made["spec"]["ttl_seconds"]),
            (&"routine".into(), &5400.into())
        );
        let shown = stctl(fake.socket(), "tunnel show web").await;
        assert!(shown.out.contains("at a start  it stops after 90m, reason \"routine\"\n"), "{}", shown.out);
        let edited = stctl(fake.socket(), "tunnel edit web --no-reason --no-ttl -o json").await.json();
        let spec = &edited["tunnel"]["spec"];
        assert!(spec["reason"].is_null() && spec["ttl_seconds"].is_null(), "{edited}");
    })
    .await;
}

#[tokio::test]
async fn a_guarded_tunnel_is_refused_where_nobody_can_be_asked() {
    Fake::beside(guarded(), async |fake: Fake| {
        fake.plot("db", vec![TunnelState::Up]);
        let ran = stctl(fake.socket(), "up db prod-db").await;
        insta::assert_snapshot!("up_unconfirmed", ran.shown());
        fake.plot("prod-db", vec![TunnelState::Up]);
        let ran = stctl(fake.socket(), "up prod-db --yes").await;
        assert_eq!(
            (ran.code, fake.asked().last().unwrap().as_str()),
            (0, "start prod-db confirmed"),
            "{ran:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_person_is_asked_before_anything_is_started() {
    Fake::beside(guarded(), async |fake: Fake| {
        let ran = asked(fake.socket(), "restart --all", enter).await;
        insta::assert_snapshot!("restart_not_confirmed", ran.shown());
        assert_eq!(fake.asked(), ["list "], "nothing was started");
        let ran = asked(fake.socket(), "up --all --no-wait", yes).await;
        assert_eq!(ran.err, "tunnel \"prod-db\" is labelled confirm=true; connect? [y/N] ");
        assert_eq!((ran.code, fake.asked().last().unwrap().as_str()), (0, "start db prod-db confirmed"));
        let ran = asked(fake.socket(), "up db --no-wait", || panic!("there is nothing to ask")).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    })
    .await;
}

#[tokio::test]
async fn a_guarded_tunnel_is_made_first_and_then_started() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let add = "tunnel add prod-db --target i-0abcdef1234567890 --remote 80 --label confirm=true";
        assert_eq!(
            stctl(fake.socket(), &format!("{add} --yes")).await.code,
            2,
            "there is nothing to confirm"
        );
        fake.plot("prod-db", vec![TunnelState::Up]);
        let ran = asked(fake.socket(), &format!("{add} --up"), yes).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(fake.asked(), ["watch ", "create prod-db start=false id=36", "start prod-db confirmed"]);
    })
    .await;
}

#[tokio::test]
async fn labels_select_tunnels() {
    Fake::beside(three(), async |fake: Fake| {
        for (line, told) in [
            ("up -l env=prod --no-wait", "start b c"),
            ("restart -l env!=prod --no-wait", "restart a"),
            ("down -l team --no-wait", "stop b"),
            ("down -l env=prod,!team --no-wait", "stop c"),
            ("tunnel rm -l env=dev --yes", "delete a"),
            ("events -l env=prod", "events b c"),
        ] {
            let ran = stctl(fake.socket(), line).await;
            assert_eq!(ran.code, 0, "{line}: {ran:?}");
            let asked = fake.asked();
            assert!(asked.last().unwrap().starts_with(told), "{line}: {asked:?}");
        }
        let listed = stctl(fake.socket(), "ls -l env -o name").await;
        assert_eq!(listed.out, "a\nb\nc\n");
        let waited = stctl(fake.socket(), "wait -l env=prod,team --timeout 0 -o json").await;
        assert_eq!(waited.json()[0]["requested"], "b");
        assert_eq!(waited.json().as_array().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn labels_that_select_nothing_are_not_found() {
    Fake::beside(three(), async |fake: Fake| {
        for verb in ["up", "down", "restart", "wait", "ls", "watch", "events", "stats", "tunnel rm"] {
            let ran = stctl(fake.socket(), &format!("{verb} -l env=test")).await;
            assert_eq!(ran.code, 6, "{verb}: {ran:?}");
            assert!(ran.err.contains("no tunnel is selected by the labels env=test"), "{verb}: {}", ran.err);
        }
        for line in ["up -l env=", "up -l =x", "up a -l env", "up --all -l env", "ls -l ,", "stats a -l env"]
        {
            let expected = if line == "up -l env=" { 6 } else { 2 };
            assert_eq!(stctl(fake.socket(), line).await.code, expected, "{line}");
        }
        let commands =
            fake.asked().into_iter().filter(|what| what.starts_with("start") || what.starts_with("delete"));
        assert_eq!(commands.count(), 0);
    })
    .await;
}

#[tokio::test]
async fn many_tunnels_are_removed_only_when_that_is_meant() {
    Fake::beside(three(), async |fake: Fake| {
        let ran = stctl(fake.socket(), "tunnel rm --all").await;
        insta::assert_snapshot!("rm_all_unconfirmed", ran.shown());
        let ran = asked(fake.socket(), "tunnel rm --all", enter).await;
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(ran.err.starts_with("remove 3 tunnels (a, b, c)? [y/N] "), "{}", ran.err);
        assert!(!fake.asked().iter().any(|what| what.starts_with("delete")));
        assert_eq!(asked(fake.socket(), "tunnel rm -l team", yes).await.out, "b is removed\n");
        assert_eq!(stctl(fake.socket(), "tunnel rm --all --yes -o name").await.out, "a\nb\nc\n");
        let named = asked(fake.socket(), "tunnel rm a b", || panic!("they were named")).await;
        assert_eq!(named.code, 0);
    })
    .await;
}

#[tokio::test]
async fn a_tunnel_with_an_end_says_when() {
    let mut tunnel = running("db", "db.internal:5432", "15432", TunnelState::Up);
    let stops_at = Some(Timestamp::from_millis(now().as_millis() + 2 * 3_600_000));
    tunnel.terms = RunTerms { reason: Some("INC-4711: slow".parse().unwrap()), stops_at };
    Fake::beside(vec![tunnel.clone()], async |fake: Fake| {
        let wide = stctl(fake.socket(), "ls -o wide").await;
        insta::assert_snapshot!("ls_wide_with_an_end", wide.out);
        let status = stctl(fake.socket(), "status db").await;
        insta::assert_snapshot!("status_with_an_end", status.out);
        let explained = stctl(fake.socket(), "explain db").await;
        assert!(
            explained.out.contains("It stops by itself at 2023-11-15 00:18:20Z, in 2h."),
            "{}",
            explained.out
        );
        let json = stctl(fake.socket(), "tunnel show db -o json").await.json();
        assert_eq!(
            (&json["reason"], &json["stops_at"]),
            (&"INC-4711: slow".into(), &"2023-11-15T00:18:20Z".into())
        );
    })
    .await;
}

#[tokio::test]
async fn a_tunnel_whose_time_was_over_says_so() {
    let tunnel = stopped("db", "80", "auto");
    let subject = EventSubject {
        tunnel: tunnel.id,
        name: tunnel.spec.name.clone(),
        profile: None,
        region: None,
        target: tunnel.spec.target.clone(),
        session: None,
        node: None,
        principal: None,
    };
    let kinds = [EventKind::IntentChanged { intent: Intent::Run }, EventKind::TtlOver, EventKind::Stopped];
    let event = |(number, kind): (u64, EventKind)| {
        let at = Timestamp::from_millis(1_700_000_000_000 + number);
        Event { id: EventId(number + 1), at, subject: Some(subject.clone()), kind }
    };
    let events: Vec<Event> = (0..).zip(kinds).map(event).collect();
    Fake::beside(vec![tunnel.clone()], async |fake: Fake| {
        fake.remember(events.clone(), Vec::new());
        let told = stctl(fake.socket(), "explain db").await;
        assert!(told.out.contains("because its time (ttl)\nwas over."), "{}", told.out);
        let listed = stctl(fake.socket(), "events db").await;
        assert!(listed.out.contains("db  its time (ttl) is over: it stops\n"), "{}", listed.out);
        let json = stctl(fake.socket(), "events db -o json").await.json();
        assert_eq!(json[1]["kind"], "ttl_over");
    })
    .await;
}

#[tokio::test]
async fn what_other_machines_can_use_is_marked() {
    let mut open = running("web", "80", "0.0.0.0:8080", TunnelState::Up);
    open.spec.allow_non_loopback = true;
    let tunnels = vec![running("db", "5432", "unix:/run/user/1000/db.sock", TunnelState::Up), open];
    Fake::beside(tunnels, async |fake: Fake| {
        let listed = stctl(fake.socket(), "ls").await;
        insta::assert_snapshot!("ls_open_to_network", listed.shown());
        let status = stctl(fake.socket(), "status").await;
        insta::assert_snapshot!("status_open_to_network", status.out);
        let json = stctl(fake.socket(), "ls -o json").await.json();
        let open: Vec<_> = (0..2).map(|index| json[index]["status"]["open_to_network"].clone()).collect();
        assert_eq!(open, [false, true]);
        assert_eq!(
            json[0]["spec"]["local"],
            serde_json::json!({ "address": null, "port": 0, "unix_socket": "/run/user/1000/db.sock" })
        );
        assert_eq!(json[0]["status"]["listening"], serde_json::json!(["unix:/run/user/1000/db.sock"]));
    })
    .await;
}

#[tokio::test]
async fn nobody_is_asked_who_does_not_want_to_be() {
    let tunnels = vec![stopped("db", "80", "auto")];
    Fake::beside(tunnels, async |fake: Fake| {
        let never: Answer = || panic!("a question was asked");
        let by_flag = asked(fake.socket(), "tunnel rm --all --no-input", never).await;
        let by_variable =
            asked_with(fake.socket(), &[("STCTL_NO_INPUT", "1")], "tunnel rm --all", never).await;
        for ran in [by_flag, by_variable] {
            assert_eq!(ran.code, 2, "{ran:?}");
            assert!(ran.err.contains("--yes") && !ran.err.contains("[y/N]"), "{}", ran.err);
        }
        assert!(!fake.asked().iter().any(|call| call.starts_with("delete")), "{:?}", fake.asked());
        let yes = asked(fake.socket(), "tunnel rm --all", yes).await;
        assert_eq!(yes.code, 0, "a person who may be asked is: {yes:?}");
    })
    .await;
}
