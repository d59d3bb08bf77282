//! A set-up as a person has it: a login, keys that end, a role that wants a code, a program that prints keys, and tunnels on all of
//! them that are up and have carried something.

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{AccessKey, Config, Instance, Portal, Role, SignInHabits};
use serde_json::json;

use crate::bulk::EchoServer;
use crate::profiles::{self, ACCOUNT, REGION};
use crate::scene::{HOST, PORT, Scene};
use crate::terminal::Terminal;
use crate::{DEADLINE, local, secrets};

/// The code of the device that the guarded role wants.
pub const CODE: &str = "271828";
const SERIAL: &str = "arn:aws:iam::123456789012:mfa/me";
/// A role with a device.
const GUARDED: &str = "arn:aws:iam::444444444444:role/Guarded";
/// The sign-in.
pub const SIGN_IN: &str = "corp";
/// The tunnels, each with its profile and what it goes through.
pub const TUNNELS: [(&str, Option<&str>, &str); 6] = [
    ("db", None, NODE),
    ("app", Some("dev"), NODE),
    ("vault", Some("process"), NODE),
    ("device", Some("device"), NODE),
    ("web", Some("dev"), "name:bastion"),
    ("task", Some("dev"), "ecs-service:main/web"),
];

const NODE: &str = "i-0aaaaaaaaaaaaaaaa";
const CONTAINER: &str = "ecs:main_0000000000000000000000000000000a_web-1";

/// Keys that end, so that nothing is to be said of them.
#[must_use]
pub fn access_key() -> AccessKey {
    let token = "a session token of the household that is long enough to be looked for".to_owned();
    AccessKey::new("ASIATESTEXAMPLE00001", "CANARYsecretkeyofthehousehold00000000000".to_owned(), Some(token))
}

/// The emulated AWS of a household, over TLS. It serves the start page as well: a start URL has to be known before.
fn config(port: u16, start_url: &str) -> Config {
    let bastion = Instance::new(NODE).tagged("Name", "bastion").at([10, 0, 1, 2]);
    let container = Instance::new(CONTAINER).container("web", "web").at([10, 0, 9, 9]);
    let sign_in = SignInHabits { agrees_after_polls: Some(1), interval_s: 1, ..SignInHabits::default() };
    Config {
        access_keys: vec![access_key()],
        instances: vec![bastion, container],
        portals: vec![Portal::new(start_url, "ada").account(ACCOUNT, &["Developer"])],
        roles: vec![Role { mfa: Some((SERIAL.to_owned(), CODE.to_owned())), ..Role::new(GUARDED) }],
        sign_in,
        port,
        tls: true,
        ..Config::default()
    }
}

/// The whole of it. Dropped, it is gone.
pub struct Household {
    /// Where it is.
    pub scene: Scene,
    /// The start URL of its sign-in, which answers.
    pub start_url: String,
    _echo: EchoServer,
}

impl Household {
    /// A household whose daemon does not run yet: the AWS files are there, and nobody has signed in.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn new() -> Result<Self> {
        let (port, echo) = (local::free_port()?, EchoServer::start().await?);
        let start_url = format!("https://127.0.0.1:{port}/start");
        let scene = Scene::start(config(port, &start_url)).await?;
        scene.emulator().map_service(HOST, PORT, echo.address());
        write_files(&scene, &start_url)?;
        Ok(Self { scene, start_url, _echo: echo })
    }

    /// Signs in and brings all tunnels up, with a daemon that tells its log everything; each carries a line.
    ///
    /// # Errors
    /// Something of that fails.
    pub async fn live(&self) -> Result<()> {
        let scene = &self.scene;
        secrets::start_at_trace(scene).await?;
        profiles::log_in(scene, &[SIGN_IN]).await?;
        for (name, profile, target) in TUNNELS {
            let remote = format!("{HOST}:{PORT}");
            let add = ["tunnel", "add", name, "--target", target, "--remote", &remote, "--region", REGION];
            let named = profile.map(|profile| ["--profile", profile]);
            scene.ok(&[&add[..], named.as_ref().map_or(&[], |named| &named[..])].concat()).await?;
            if name == "device" {
                with_a_code(scene).await?;
            } else {
                scene.ok(&["up", name]).await?;
            }
            profiles::carries(scene, name).await?;
        }
        Ok(())
    }
}

fn write_files(scene: &Scene, start_url: &str) -> Result<()> {
    let key = access_key();
    let printed = json!({
        "Version": 1, "AccessKeyId": key.id, "SecretAccessKey": key.secret(), "SessionToken": key.session_token(),
    });
    let program = scene.sandbox().directory().join("printed");
    std::fs::write(&program, printed.to_string())?;
    let config = [
        format!("[default]\nregion = {REGION}\n"),
        format!(
            "[sso-session {SIGN_IN}]\nsso_region = {REGION}\nsso_start_url = {start_url}\n\
             sso_registration_scopes = sso:account:access\n"
        ),
        profiles::of_session("dev", SIGN_IN, ACCOUNT, "Developer"),
        profiles::of_role("device", GUARDED, "default", &format!("mfa_serial = {SERIAL}")),
        profiles::profile("process", &format!("credential_process = cat \"{}\"", program.display())),
    ];
    profiles::write(scene, &config.concat(), &profiles::keys("default", &key))
}

/// Brings the tunnel up that needs a code, as a person does at a terminal.
async fn with_a_code(scene: &Scene) -> Result<()> {
    let mut terminal = Terminal::open(&scene.sandbox().environment(), DEADLINE).await?;
    let up = format!("{} up device; echo code $?", scene.sandbox().binaries().stctl.display());
    terminal.begin(&up, |shown| shown.contains(SERIAL), DEADLINE).await?;
    terminal.type_line(CODE).await?;
    let shown = terminal.end(DEADLINE).await.context("the terminal does not end")?;
    ensure!(shown.contains("code 0"), "{shown}");
    Ok(())
}
