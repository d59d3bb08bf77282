//! AWS files of a place, section by section, and tunnels that live on their profiles.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use aws_emulator::AccessKey;
use serde_json::Value;

use crate::DEADLINE;
use crate::local;
use crate::process::Output;
use crate::scene::{HOST, PORT, Scene};
use crate::sign_in::{self, START_URL};

/// Where the profiles' resources are, and the emulator's instance.
pub const REGION: &str = "eu-central-1";
/// The account of the emulator's user.
pub const ACCOUNT: &str = "123456789012";

/// The config file of a place.
#[must_use]
pub fn config_file(scene: &Scene) -> PathBuf {
    scene.sandbox().home().join(".aws/config")
}

/// The credentials file of a place.
#[must_use]
pub fn credentials_file(scene: &Scene) -> PathBuf {
    scene.sandbox().home().join(".aws/credentials")
}

/// Writes both files of a place.
///
/// # Errors
/// They cannot be written.
pub fn write(scene: &Scene, config: &str, credentials: &str) -> Result<()> {
    replace(&config_file(scene), config)?;
    replace(&credentials_file(scene), credentials)
}

/// Writes a file beside and renames it, as careful editors do.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let directory = path.parent().context("a file in no directory")?;
    // 0600, whatever the machine's umask.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

/// A section of the config file.
#[must_use]
pub fn profile(name: &str, lines: &str) -> String {
    format!("[profile {name}]\nregion = {REGION}\n{lines}\n")
}

/// The section of an `[sso-session]` at the emulator's portal, with which tokens can be renewed.
#[must_use]
pub fn session(name: &str) -> String {
    format!(
        "[sso-session {name}]\nsso_region = {REGION}\nsso_start_url = {START_URL}\n\
         sso_registration_scopes = sso:account:access\n"
    )
}

/// A profile that takes a permission set through an `[sso-session]`.
#[must_use]
pub fn of_session(name: &str, session: &str, account: &str, role: &str) -> String {
    let lines = format!("sso_session = {session}\nsso_account_id = {account}\nsso_role_name = {role}");
    profile(name, &lines)
}

/// A profile that assumes a role with what another profile has.
#[must_use]
pub fn of_role(name: &str, arn: &str, source: &str, more: &str) -> String {
    profile(name, &format!("role_arn = {arn}\nsource_profile = {source}\n{more}"))
}

/// The section of the credentials file for an access key.
#[must_use]
pub fn keys(name: &str, key: &AccessKey) -> String {
    let token = key.session_token().map(|token| format!("aws_session_token = {token}\n"));
    format!(
        "[{name}]\naws_access_key_id = {}\naws_secret_access_key = {}\n{}",
        key.id,
        key.secret(),
        token.unwrap_or_default()
    )
}

/// Makes a tunnel to what [`HOST`] is mapped to; without a profile it lives on what the machine has.
///
/// # Errors
/// `stctl tunnel add` fails.
pub async fn add(scene: &Scene, name: &str, profile: Option<&str>) -> Result<()> {
    let (target, remote) = (scene.emulator().instance(), format!("{HOST}:{PORT}"));
    let add = ["tunnel", "add", name, "--target", target, "--remote", &remote, "--region", REGION];
    let named = profile.map(|profile| ["--profile", profile]);
    scene.ok(&[&add[..], named.as_ref().map_or(&[], |named| &named[..])].concat()).await.map(drop)
}

/// Sends a line through a tunnel that is up, to the echo service behind it, and answers whom AWS takes its session for.
///
/// # Errors
/// The line does not come back, or AWS does not tell.
pub async fn carries(scene: &Scene, name: &str) -> Result<String> {
    let mut connection = local::connect(scene.port(name).await?, DEADLINE).await?;
    local::echo(&mut connection, &format!("through {name}\n"), DEADLINE).await?;
    let principal = |tunnel: &Value| tunnel["status"]["sessions"][0]["principal"].as_str().map(str::to_owned);
    let mut watch = scene.watch(name).await?;
    let mut known = watch.history().last().and_then(|line| principal(&line["tunnels"][0]));
    if known.is_none() {
        known = principal(&watch.until_tunnel(DEADLINE, |tunnel| principal(tunnel).is_some()).await?);
    }
    known.context("nobody")
}

/// Starts a tunnel in vain: exit code, and what is said of it.
///
/// # Errors
/// `stctl up` does not end.
pub async fn refused(scene: &Scene, name: &str) -> Result<Output> {
    scene.stctl(&["up", name]).await
}

/// Signs in as a user who agrees to a code without any browser, which is for the emulator's habits to say.
///
/// # Errors
/// `stctl sso login` fails.
pub async fn log_in(scene: &Scene, which: &[&str]) -> Result<()> {
    let words = [&["sso", "login", "--use-device-code", "--no-browser"][..], which].concat();
    scene.ok(&words).await.map(drop)
}

/// Lets programs of a place find the browser of a person there, who agrees to everything.
pub fn have_browser(scene: &mut Scene) {
    let browser = sign_in::browser(scene);
    scene.set_variable("BROWSER", browser);
    scene.set_variable("DISPLAY", ":0");
}
