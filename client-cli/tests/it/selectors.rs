//! Labels in the place of names, and what is asked before much is done at once.

use std::io;

use serde_json::Value;
use stormtunnel_model::{Label, Tunnel, TunnelState};

use crate::fake::Fake;
use crate::support::{asked, running, stctl, stopped};

/// Two of production that are up, with two connections each, and one of development.
fn three() -> Vec<Tunnel> {
    let labelled = |mut tunnel: Tunnel, label: &str| {
        tunnel.spec.labels = [label.parse::<Label>().unwrap().into()].into();
        tunnel
    };
    let up = |name: &str| running(name, "db.internal:5432", "auto", TunnelState::Up);
    vec![
        labelled(up("cache"), "env=prod"),
        labelled(up("db"), "env=prod"),
        labelled(stopped("web", "80", "auto"), "env=dev"),
    ]
}

fn yes() -> io::Result<String> {
    Ok("y\n".to_owned())
}

fn no() -> io::Result<String> {
    Ok("n\n".to_owned())
}

fn names(list: &Value, pointer: &str) -> Vec<String> {
    let name = |one: &Value| one.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    list.as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn labels_select_wherever_tunnels_are_named() {
    Fake::beside(three(), async |fake: Fake| {
        for (line, pointer) in [
            ("ls", "/name"),
            ("status", "/tunnel/name"),
            ("wait", "/tunnel/name"),
            ("up --no-wait", "/tunnel/name"),
            ("explain", "/tunnel/name"),
            ("tunnel show", "/name"),
            ("tunnel edit --reason INC-1 --yes", "/tunnel/name"),
        ] {
            let ran = stctl(fake.socket(), &format!("{line} -l env=prod -o json")).await;
            assert_eq!(ran.code, 0, "{line}: {ran:?}");
            assert_eq!(names(&ran.json(), pointer), ["cache", "db"], "{line}");
            let none = stctl(fake.socket(), &format!("{line} -l env=none")).await;
            assert!(none.code == 6 && none.err.contains("no tunnel is selected"), "{line}: {none:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn one_name_is_one_document_and_all_else_a_list() {
    Fake::beside(three(), async |fake: Fake| {
        for verb in ["explain", "tunnel show", "tunnel edit --reason x --yes"] {
            let one = stctl(fake.socket(), &format!("{verb} db -o json")).await.json();
            assert!(one.is_object(), "{verb}: {one}");
            let one = stctl(fake.socket(), &format!("{verb} -l env=dev -o json")).await.json();
            assert_eq!(one.as_array().map(Vec::len), Some(1), "{verb}");
            let all = stctl(fake.socket(), &format!("{verb} --all -o json")).await.json();
            assert_eq!(all.as_array().map(Vec::len), Some(3), "{verb}");
        }
        let ran = stctl(fake.socket(), "tunnel show db nobody -o json").await;
        assert_eq!((ran.code, ran.json().as_array().map(Vec::len)), (6, Some(1)), "{ran:?}");
        assert!(ran.err.contains(r#""kind":"tunnel_not_found""#), "{}", ran.err);
        let ran = stctl(fake.socket(), "explain nobody -o json").await;
        assert_eq!((ran.code, ran.out.as_str()), (6, ""));
        let shown = stctl(fake.socket(), "tunnel show cache db").await.out;
        assert_eq!(shown.matches("\n\ndb: Up").count(), 1, "{shown}");
    })
    .await;
}

/// A script that asks about labels wants these tunnels up, whether somebody stopped them or not.
#[tokio::test]
async fn a_stopped_tunnel_that_is_meant_is_not_up() {
    Fake::beside(three(), async |fake: Fake| {
        assert_eq!(stctl(fake.socket(), "status").await.code, 0);
        assert_eq!(stctl(fake.socket(), "status -l env=prod").await.code, 0);
        assert_eq!(stctl(fake.socket(), "status -l env=dev").await.code, 3);
        assert_eq!(stctl(fake.socket(), "status web").await.code, 3);
    })
    .await;
}

#[tokio::test]
async fn what_changes_many_tunnels_is_confirmed() {
    Fake::beside(three(), async |fake: Fake| {
        let edit = "tunnel edit -l env=prod --keep warm";
        let ran = stctl(fake.socket(), edit).await;
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.err.contains("the change of 2 tunnels (cache, db) has to be confirmed"), "{}", ran.err);
        let ran = asked(fake.socket(), edit, no).await;
        assert!(ran.code == 1 && ran.err.contains("nothing was changed"), "{ran:?}");
        assert!(!fake.asked().iter().any(|call| call.starts_with("update")), "{:?}", fake.asked());
        assert_eq!(asked(fake.socket(), edit, yes).await.code, 0);
        assert_eq!(stctl(fake.socket(), &format!("{edit} --dry-run")).await.code, 0);
        for words in ["--rename x", "--local 15432"] {
            let ran = stctl(fake.socket(), &format!("tunnel edit --all --yes {words}")).await;
            assert!(ran.code == 2 && ran.err.contains("is for one tunnel"), "{ran:?}");
        }
    })
    .await;
}

/// `down` and `restart` are undone by `up`, so scripts need no flag; a person may have forgotten who is connected.
#[tokio::test]
async fn connections_are_not_cut_unasked() {
    Fake::beside(three(), async |fake: Fake| {
        for (line, verb) in [("down --all", "stop"), ("restart -l env=prod", "reconnect")] {
            let ran = asked(fake.socket(), &format!("{line} --no-wait"), no).await;
            let question =
                format!("this cuts 4 open connections of 2 tunnels (cache, db); {verb} all the same? [y/N] ");
            assert!(ran.code == 1 && ran.err.starts_with(&question), "{ran:?}");
        }
        let commands = || {
            let asked = fake.asked();
            asked.iter().filter(|call| call.starts_with("stop") || call.starts_with("restart")).count()
        };
        assert_eq!(commands(), 0);
        // Whoever names them knows them, and whoever cannot be asked has decided.
        assert_eq!(asked(fake.socket(), "restart db cache --no-wait", no).await.code, 0);
        assert_eq!(asked(fake.socket(), "restart --all --yes --no-wait", no).await.code, 0);
        assert_eq!(stctl(fake.socket(), "restart --all --no-wait").await.code, 0);
        assert_eq!(asked(fake.socket(), "down -l env=dev --no-wait", no).await.code, 0);
        assert_eq!(commands(), 4);
    })
    .await;
}
