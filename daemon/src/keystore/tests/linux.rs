//! The contract on Linux: GNOME Keyring on a private bus, with files of its own. And which store is opened.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::FutureExt as _;
use zbus::connection::Builder;

use super::super::secret_service::SecretService;
use super::*;
use crate::private_bus::{self, Program, address_in, until};

/// How long a service may take here. One that writes on a busy disk takes long.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same for one that will not answer.
const SHORT: Duration = Duration::from_millis(200);

/// GNOME Keyring on the bus of that directory, unlocked with the password, or locked; nothing where it is not installed.
async fn keyring(directory: &Path, password: Option<&str>) -> Option<Program> {
    let runtime = directory.join("run");
    std::fs::create_dir_all(&runtime).unwrap();
    let mut command = Command::new("gnome-keyring-daemon");
    command.args(["--foreground", "--components=secrets"]).stdin(Stdio::piped());
    command.args(password.map(|_password| "--unlock"));
    command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").env("HOME", directory);
    command.env("XDG_DATA_HOME", directory.join("data")).env("XDG_RUNTIME_DIR", runtime);
    command.env("DBUS_SESSION_BUS_ADDRESS", address_in(directory));
    let mut keyring = Program::start(&mut command)?;
    keyring.tell(password.unwrap_or_default());
    let service = service_on(directory);
    until(async || service.presence().await == Presence::Usable).await;
    Some(keyring)
}

fn service_on(directory: &Path) -> SecretService {
    SecretService::on_bus(address_in(directory), PATIENCE)
}

/// How many GNOME Keyrings may fall over. On a busy machine one ends now and then by an assertion of its own (a trap in GLib, twice in
/// some fifty runs of version 42), and what it had not answered is no failure of ours.
const FALLS: u32 = 3;

#[tokio::test]
async fn the_secret_service_keeps_the_contract() {
    for fall in 1..=FALLS {
        let directory = TempDir::new().unwrap();
        let path = directory.path();
        let Some(_bus) = private_bus::start(path).await else { return };
        let Some(mut keyring) = keyring(path, Some("password")).await else { return };
        let choice = KeyStoreChoice::SecretService;
        let open = async || open_beside(service_on(path), choice, path).await.store;
        let contract = AssertUnwindSafe(keeps_the_contract("keystore.secret-service", true, open));
        match contract.catch_unwind().await {
            Ok(()) => return assert!(!path.join(DIRECTORY).exists(), "nothing is in files"),
            Err(_) if keyring.has_ended() && fall < FALLS => eprintln!("GNOME Keyring fell over; again"),
            Err(failed) => resume_unwind(failed),
        }
    }
}

#[tokio::test]
async fn a_locked_keyring_is_a_fault_at_once_and_has_everything_when_it_is_unlocked() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let Some(_bus) = private_bus::start(path).await else { return };
    let Some(unlocked) = keyring(path, Some("password")).await else { return };
    let corp = name("corp");
    let store = open_beside(service_on(path), KeyStoreChoice::Auto, path).await.store;
    store.put_token(&corp, Some(token("corp"))).await.unwrap();
    drop(unlocked);
    let locked = keyring(path, None).await.unwrap();
    let faults = [
        store.token(&corp).await.unwrap_err(),
        store.put_token(&corp, Some(token("new"))).await.unwrap_err(),
        store.put_token(&corp, None).await.unwrap_err(),
    ];
    for fault in faults {
        assert_eq!(fault.to_string(), "the Secret Service cannot be used for SSO tokens: it is locked");
        assert!(fault.kind.remedy().starts_with("unlock"), "{}", fault.kind.remedy());
    }
    let OpenedKeyStore { store: reopened, warnings } =
        open_beside(service_on(path), KeyStoreChoice::Auto, path).await;
    assert!(
        reopened.token(&corp).await.is_err(),
        "what is locked is not gone: no other store takes its place"
    );
    assert_eq!(warnings, Vec::<String>::new());
    drop(locked);
    let _unlocked = keyring(path, Some("password")).await.unwrap();
    assert_eq!(found(&*store, &corp).await, Some(content(&token("corp"))));
}

/// Whether tokens go into files.
async fn keeps_in_files(opened: &OpenedKeyStore, state: &Path) -> bool {
    opened.store.put_token(&name("corp"), Some(token("corp"))).await.unwrap();
    state.join(DIRECTORY).exists()
}

#[tokio::test]
async fn without_a_secret_service_auto_is_files_and_the_service_itself_a_fault() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let without_bus = open_beside(service_on(path), KeyStoreChoice::SecretService, path).await;
    let fault = without_bus.store.token(&name("corp")).await.unwrap_err();
    assert!(fault.to_string().contains("the D-Bus of your session cannot be reached"), "{fault}");
    let auto = open_beside(service_on(path), KeyStoreChoice::Auto, path).await;
    assert!(auto.warnings.is_empty() && keeps_in_files(&auto, path).await, "{:?}", auto.warnings);
    let Some(_bus) = private_bus::start(path).await else { return };
    let fault = without_bus.store.token(&name("corp")).await.unwrap_err();
    assert!(fault.to_string().contains("no program offers it"), "{fault}");
    assert_eq!(service_on(path).presence().await, Presence::Absent);
}

#[tokio::test]
async fn a_service_that_does_not_answer_holds_nothing_up() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let Some(_bus) = private_bus::start(path).await else { return };
    let address = address_in(path);
    let builder = Builder::address(address.as_str()).unwrap();
    let _mute = builder.name("org.freedesktop.secrets").unwrap().build().await.unwrap();
    let service = || SecretService::on_bus(address.clone(), SHORT);
    let itself = open_beside(service(), KeyStoreChoice::SecretService, path).await;
    let fault = itself.store.token(&name("corp")).await.unwrap_err();
    assert!(fault.to_string().ends_with("it does not answer"), "{fault}");
    let auto = open_beside(service(), KeyStoreChoice::Auto, path).await;
    assert!(auto.warnings[0].contains("it does not answer"), "{:?}", auto.warnings);
    assert!(keeps_in_files(&auto, path).await);
}

#[tokio::test]
async fn a_store_of_another_system_is_said_and_replaced_by_files() {
    let state = TempDir::new().unwrap();
    let opened = open(KeyStoreChoice::Keychain, state.path()).await;
    assert!(opened.warnings[0].contains("sso.key_store is keychain"), "{:?}", opened.warnings);
    assert!(opened.warnings[0].contains("auto, secret-service or file"), "{:?}", opened.warnings);
    assert!(keeps_in_files(&opened, state.path()).await);
}
