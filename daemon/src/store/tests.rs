//! What the store promises: durable after the answer, no damage spreads, nothing is overwritten.

mod frozen;
mod history;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use stormtunnel_engine::ports::{AwsScope, OpenSession, StoredTunnel, TunnelStore};
use stormtunnel_model::{
    Etag, Intent, Label, Labels, LocalEndpoint, RequestId, RunTerms, SsmSessionId, Timestamp, TunnelId,
    TunnelSpec,
};
use tempfile::TempDir;

use super::{OpenedStore, SqliteStore, StoreError, open::with_suffix, rows, schema};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

#[tokio::test]
async fn tunnels_and_sessions_come_back() {
    let directory = TempDir::new().unwrap();
    let full = StoredTunnel {
        kept_port: Some(40_001),
        request_id: Some(RequestId("r1".to_owned())),
        ..tunnel("db")
    };
    let bare = StoredTunnel {
        spec: TunnelSpec {
            profile: None,
            region: None,
            remote: "80".parse().unwrap(),
            local: LocalEndpoint::AUTOMATIC,
            reason: None,
            ttl: None,
            ..tunnel("web").spec
        },
        intent: Intent::Stop,
        terms: RunTerms::default(),
        ..tunnel("web")
    };
    let socket = StoredTunnel {
        spec: TunnelSpec { local: "unix:/run/user/1000/pg sock".parse().unwrap(), ..tunnel("socket").spec },
        ..tunnel("socket")
    };
    {
        let opened = open(&path(&directory));
        assert_eq!(opened.warnings, [""; 0]);
        let handle = opened.store.handle();
        handle.put_tunnel(bare.clone()).await.unwrap();
        handle.put_tunnel(full.clone()).await.unwrap();
        handle.put_tunnel(socket.clone()).await.unwrap();
        handle.put_session(session("s-1")).await.unwrap();
        handle.put_session(session("s-2")).await.unwrap();
        handle.delete_session(SsmSessionId("s-1".to_owned())).await.unwrap();
        drop(handle);
        opened.store.close().await;
    }
    let opened = open(&path(&directory));
    let state = opened.store.handle().load().await.unwrap();
    assert_eq!(state.tunnels, [full, socket, bare]);
    assert_eq!(state.open_sessions, [session("s-2")]);
}

#[tokio::test]
async fn a_second_put_replaces_and_delete_forgets() {
    let directory = TempDir::new().unwrap();
    let handle = open(&path(&directory)).store.handle();
    let first = tunnel("db");
    handle.put_tunnel(first.clone()).await.unwrap();
    let second = StoredTunnel {
        etag: Etag(8),
        intent: Intent::Stop,
        spec: TunnelSpec { name: "pg".parse().unwrap(), ..first.spec.clone() },
        ..first.clone()
    };
    handle.put_tunnel(second.clone()).await.unwrap();
    assert_eq!(handle.load().await.unwrap().tunnels, [second]);
    handle.delete_tunnel(first.id).await.unwrap();
    assert_eq!(handle.load().await.unwrap().tunnels, []);
}

#[tokio::test]
async fn two_tunnels_cannot_share_a_name() {
    let directory = TempDir::new().unwrap();
    let handle = open(&path(&directory)).store.handle();
    handle.put_tunnel(tunnel("db")).await.unwrap();
    let twin = StoredTunnel { id: TunnelId::new(NOW, &[9; 10]), ..tunnel("db") };
    let fault = handle.put_tunnel(twin).await.unwrap_err();
    assert!(fault.detail.contains("tunnels.name"), "{fault}");
    assert_eq!(handle.load().await.unwrap().tunnels, [tunnel("db")]);
}

/// What a kill leaves behind is the files as they are: every answered change must be in them, none that was not.
#[tokio::test]
async fn a_killed_daemon_loses_nothing_that_was_answered() {
    let directory = TempDir::new().unwrap();
    let store = open(&path(&directory)).store;
    store.handle().put_tunnel(tunnel("db")).await.unwrap();
    let mut half_way = Connection::open(path(&directory)).unwrap();
    let transaction = half_way.transaction().unwrap();
    rows::put_tunnel(&transaction, &tunnel("web")).unwrap();

    let after_kill = TempDir::new().unwrap();
    for suffix in ["", "-wal"] {
        fs::copy(with_suffix(&path(&directory), suffix), with_suffix(&path(&after_kill), suffix)).unwrap();
    }
    let opened = open(&path(&after_kill));
    assert_eq!(opened.warnings, [""; 0]);
    assert_eq!(opened.store.handle().load().await.unwrap().tunnels, [tunnel("db")]);
}

#[tokio::test]
async fn a_job_that_nobody_waits_for_is_done_all_the_same() {
    let directory = TempDir::new().unwrap();
    let store = open(&path(&directory)).store;
    let handle = store.handle();
    let mut put = handle.put_tunnel(tunnel("db"));
    let queued = std::future::poll_fn(|cx| std::task::Poll::Ready(put.as_mut().poll(cx)));
    let _ = queued.await;
    drop(put);
    assert_eq!(handle.load().await.unwrap().tunnels, [tunnel("db")]);
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_never_overwritten() {
    let directory = TempDir::new().unwrap();
    for round in ["first", "second"] {
        fs::write(path(&directory), format!("{round}: this is no database, whatever its name says")).unwrap();
        let opened = open(&path(&directory));
        assert_eq!(opened.warnings.len(), 1, "{:?}", opened.warnings);
        assert!(opened.warnings[0].contains(".broken-"), "{:?}", opened.warnings);
        let handle = opened.store.handle();
        handle.put_tunnel(tunnel("db")).await.unwrap();
        drop(handle);
        opened.store.close().await;
    }
    let mut aside: Vec<String> =
        names(&directory).into_iter().filter(|name| name.contains(".broken-")).collect();
    aside.sort();
    let texts: Vec<String> =
        aside.iter().map(|name| fs::read_to_string(directory.path().join(name)).unwrap()).collect();
    assert!(texts[0].starts_with("first") && texts[1].starts_with("second"), "{aside:?}");
    println!(
        "promise state.torn: {} damaged files set aside, each under a name of its own, as they were",
        aside.len()
    );
}

#[tokio::test]
async fn damage_deep_inside_is_found_at_the_start() {
    let directory = TempDir::new().unwrap();
    let opened = open(&path(&directory));
    let handle = opened.store.handle();
    for number in 0..200_u8 {
        let id = TunnelId::new(NOW, &[number; 10]);
        handle.put_tunnel(StoredTunnel { id, ..tunnel(&format!("db-{number}")) }).await.unwrap();
    }
    drop(handle);
    opened.store.close().await;
    let mut bytes = fs::read(path(&directory)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xA5);
    fs::write(path(&directory), bytes).unwrap();

    let opened = open(&path(&directory));
    assert!(opened.warnings[0].contains("damaged"), "{:?}", opened.warnings);
    assert_eq!(opened.store.handle().load().await.unwrap().tunnels, []);
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    open(&path(&directory)).store.close().await;
    let connection = Connection::open(path(&directory)).unwrap();
    connection.pragma_update(None, "user_version", schema::SCHEMA + 1).unwrap();
    drop(connection);
    let before = fs::read(path(&directory)).unwrap();

    let error = SqliteStore::open(&path(&directory), NOW).unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { .. }), "{error}");
    assert!(error.to_string().contains("install that version again"), "{error}");
    assert_eq!(fs::read(path(&directory)).unwrap(), before);
    let refusal = error.to_string().replace(path(&directory).to_str().unwrap(), "stormtunnel.db");
    println!("promise state.newer: \"{refusal}\"; the file is as it was");
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let directory = TempDir::new().unwrap();
    let store = open(&path(&directory)).store;
    let handle = store.handle();
    store.close().await;
    let fault = handle.put_tunnel(tunnel("db")).await.unwrap_err();
    assert!(fault.detail.contains("closed"), "{fault}");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let missing = TempDir::new().unwrap().path().join("gone/stormtunnel.db");
    let error = SqliteStore::open(&missing, NOW).unwrap_err();
    assert!(error.to_string().contains("--state-dir"), "{error}");
}

/// A side file that cannot be made stands for a full disk and for a directory that nobody may write to.
#[tokio::test]
async fn a_database_that_cannot_be_written_is_read_and_says_so() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("with # and ?.db");
    let opened = open(&file);
    opened.store.handle().put_tunnel(tunnel("db")).await.unwrap();
    opened.store.close().await;
    fs::create_dir(with_suffix(&file, "-wal")).unwrap();

    let opened = open(&file);
    assert!(opened.warnings[0].contains("cannot be written"), "{:?}", opened.warnings);
    let handle = opened.store.handle();
    assert_eq!(handle.load().await.unwrap().tunnels, [tunnel("db")]);
    let fault = handle.put_tunnel(tunnel("web")).await.unwrap_err();
    assert!(fault.detail.contains("readonly"), "{fault}");
    assert_eq!(handle.load().await.unwrap().tunnels, [tunnel("db")]);
}

#[tokio::test]
async fn one_unreadable_row_hides_no_other() {
    let directory = TempDir::new().unwrap();
    let opened = open(&path(&directory));
    let handle = opened.store.handle();
    handle.put_tunnel(tunnel("db")).await.unwrap();
    handle.put_tunnel(StoredTunnel { id: TunnelId::new(NOW, &[7; 10]), ..tunnel("web") }).await.unwrap();
    drop(handle);
    opened.store.close().await;
    let connection = Connection::open(path(&directory)).unwrap();
    connection.execute("UPDATE tunnels SET target = 'no target' WHERE name = 'db'", []).unwrap();
    drop(connection);

    let opened = open(&path(&directory));
    assert!(opened.warnings[0].contains("target"), "{:?}", opened.warnings);
    let names: Vec<String> = opened
        .store
        .handle()
        .load()
        .await
        .unwrap()
        .tunnels
        .iter()
        .map(|tunnel| tunnel.spec.name.to_string())
        .collect();
    assert_eq!(names, ["web"]);
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let directory = TempDir::new().unwrap();
    let store = open(&path(&directory)).store;
    store.handle().put_tunnel(tunnel("db")).await.unwrap();
    for name in names(&directory) {
        let mode = fs::metadata(directory.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

fn path(directory: &TempDir) -> PathBuf {
    directory.path().join("stormtunnel.db")
}

fn open(path: &Path) -> OpenedStore {
    SqliteStore::open(path, NOW).unwrap()
}

fn names(directory: &TempDir) -> Vec<String> {
    fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn tunnel(name: &str) -> StoredTunnel {
    StoredTunnel {
        id: TunnelId::new(NOW, &[name.len() as u8; 10]),
        etag: Etag(7),
        created_at: NOW,
        spec: TunnelSpec {
            name: name.parse().unwrap(),
            profile: Some("prod".parse().unwrap()),
            region: Some("eu-west-1".parse().unwrap()),
            target: "i-0abcdef1234567890".parse().unwrap(),
            remote: "db.internal:5432".parse().unwrap(),
            local: "127.0.0.1:15432".parse().unwrap(),
            allow_non_loopback: false,
            labels: labels(&["env=prod"]),
            keep: Default::default(),
            sessions: Default::default(),
            reason: Some("INC-4711: \"slow\" queries".parse().unwrap()),
            ttl: Some(7200.try_into().unwrap()),
        },
        intent: Intent::Run,
        terms: RunTerms { reason: Some("INC-4712".parse().unwrap()), stops_at: Some(NOW) },
        kept_port: None,
        request_id: None,
    }
}

fn session(id: &str) -> OpenSession {
    OpenSession {
        id: SsmSessionId(id.to_owned()),
        scope: AwsScope { profile: Some("prod".parse().unwrap()), region: None },
        target: "i-0abcdef1234567890".parse().unwrap(),
    }
}

fn labels(labels: &[&str]) -> Labels {
    labels.iter().map(|label| label.parse::<Label>().unwrap().into()).collect()
}
