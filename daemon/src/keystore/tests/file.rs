//! Files: the contract, who may read them, and what damages them.

use std::fs::{Permissions, read_dir, set_permissions, write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use super::super::file::{broken, file_name};
use super::*;

async fn opened(state: &Path) -> OpenedKeyStore {
    open(KeyStoreChoice::File, state).await
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o777
}

fn files(state: &Path) -> Vec<PathBuf> {
    read_dir(state.join(DIRECTORY)).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The file of a sign-in's token.
fn file_of(state: &Path, name: &SignInName) -> PathBuf {
    state.join(DIRECTORY).join(file_name(&Item::token(name)))
}

/// A state directory with the token of `corp` in it.
async fn with_token() -> (TempDir, SignInName, PathBuf) {
    let state = TempDir::new().unwrap();
    let corp = name("corp");
    opened(state.path()).await.store.put_token(&corp, Some(token("corp"))).await.unwrap();
    let file = file_of(state.path(), &corp);
    (state, corp, file)
}

#[tokio::test]
async fn files_keep_the_contract() {
    let state = TempDir::new().unwrap();
    let open = async || {
        let OpenedKeyStore { store, warnings } = opened(state.path()).await;
        assert_eq!(warnings, Vec::<String>::new());
        store
    };
    keeps_the_contract("keystore.file", true, open).await;
    assert_eq!(mode(&state.path().join(DIRECTORY)), 0o700);
    for file in files(state.path()) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
        assert_eq!(file.extension(), Some("json".as_ref()), "{}: nothing is left over", file.display());
    }
}

/// A name that changes is a login that is lost.
#[test]
fn files_keep_their_names() {
    let item = Item::client(&name("corp"), LoginFlow::DeviceCode);
    let hash = "19f4c684a3ff4f2dfa73b8d9098257cfb08e3da6b5ac7f86aa3aa36537018265";
    assert_eq!(file_name(&item), format!("device-client-{hash}.json"));
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_the_next_login_takes_its_place() {
    let (state, corp, file) = with_token().await;
    let store = opened(state.path()).await.store;
    let whole = std::fs::read(&file).unwrap();
    let broken = state.path().join(DIRECTORY).join(broken(&file_name(&Item::token(&corp))));
    let mut lengths =
        [0, 1, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec()).to_vec();
    lengths.push(b"\xff\xfe".to_vec());
    for damaged in lengths {
        write(&file, &damaged).unwrap();
        assert_eq!(found(&*store, &corp).await, None);
        assert_eq!(std::fs::read(&broken).unwrap(), damaged);
        assert_eq!((mode(&broken), file.exists()), (0o600, false));
        assert_eq!(found(&*store, &corp).await, None, "once");
        store.put_token(&corp, Some(token("new"))).await.unwrap();
        assert_eq!(found(&*store, &corp).await, Some(content(&token("new"))));
    }
    store.put_token(&corp, None).await.unwrap();
    assert_eq!(files(state.path()), Vec::<PathBuf>::new(), "parts of secrets are forgotten as well");
}

#[tokio::test]
async fn a_file_under_another_name_is_not_taken() {
    let (state, _corp, file) = with_token().await;
    let other = name("other");
    std::fs::copy(file, file_of(state.path(), &other)).unwrap();
    assert_eq!(found(&*opened(state.path()).await.store, &other).await, None);
}

#[tokio::test]
async fn what_others_could_read_is_closed_and_said() {
    let (state, corp, file) = with_token().await;
    let directory = state.path().join(DIRECTORY);
    for (path, open) in [(&directory, 0o755), (&file, 0o644), (&file, 0o660), (&directory, 0o711)] {
        set_permissions(path, Permissions::from_mode(open)).unwrap();
        let OpenedKeyStore { store, warnings } = opened(state.path()).await;
        assert!(warnings.len() == 1 && warnings[0].contains("others could read"), "{warnings:?}");
        assert_eq!((mode(&directory), mode(&file)), (0o700, 0o600));
        assert_eq!(found(&*store, &corp).await, Some(content(&token("corp"))));
        assert_eq!(opened(state.path()).await.warnings, Vec::<String>::new(), "once");
    }
}

#[tokio::test]
async fn a_directory_that_is_opened_while_the_daemon_runs_is_refused_until_it_is_closed() {
    let (state, corp, _file) = with_token().await;
    let store = opened(state.path()).await.store;
    let directory = state.path().join(DIRECTORY);
    set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
    for fault in [store.token(&corp).await.unwrap_err(), store.put_token(&corp, None).await.unwrap_err()] {
        assert!(matches!(fault.kind, FaultKind::KeyStoreUnavailable { .. }), "{fault}");
        assert!(fault.to_string().contains("close it with `chmod 700"), "{fault}");
    }
    set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
    assert!(found(&*store, &corp).await.is_some());
}

#[tokio::test]
async fn what_is_in_the_way_is_named_and_noticed_when_it_is_gone() {
    let state = TempDir::new().unwrap();
    let (corp, in_the_way) = (name("corp"), state.path().join(DIRECTORY));
    write(&in_the_way, "").unwrap();
    let OpenedKeyStore { store, warnings } = opened(state.path()).await;
    assert!(warnings[0].contains("is not a directory; move it away"), "{warnings:?}");
    assert!(store.put_token(&corp, Some(token("corp"))).await.is_err());
    std::fs::remove_file(in_the_way).unwrap();
    store.put_token(&corp, Some(token("corp"))).await.unwrap();
    assert!(found(&*store, &corp).await.is_some());
}

#[tokio::test]
async fn what_a_daemon_that_was_killed_left_is_removed() {
    let (state, corp, file) = with_token().await;
    let unfinished = file.with_extension("json.4711.new");
    write(&unfinished, "{\"version\":1,").unwrap();
    let OpenedKeyStore { store, warnings } = opened(state.path()).await;
    assert_eq!((unfinished.exists(), warnings), (false, Vec::new()));
    assert!(found(&*store, &corp).await.is_some());
}
