//! From nothing to a tunnel: `sso configure` with the real programs signs in, writes the profiles, and they work at once.

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{Config, SignInHabits};
use stormtunnel_e2e::scene::{Scene, state};

const ACCOUNT: &str = "123456789012";
const URL: &str = "https://d-1234567890.awsapps.com/start";

/// A user who agrees to a code without any browser.
fn config() -> Config {
    let sign_in = SignInHabits { agrees_after_polls: Some(1), interval_s: 1, ..SignInHabits::default() };
    Config { sign_in, ..Config::default() }
}

#[tokio::test]
async fn a_profile_that_is_configured_carries_a_tunnel_at_once() -> Result<()> {
    let scene = Scene::start(config()).await?;
    let file = scene.sandbox().home().join(".aws/config");
    let before = std::fs::read_to_string(&file)? + "# mine\n";
    std::fs::write(&file, &before)?;
    let role = format!("{ACCOUNT}:Developer=dev");
    let session = ["sso", "configure", "--session", "corp"];
    let site = ["--start-url", URL, "--sso-region", "eu-central-1"];
    let rest = ["--role", &role, "--region", "eu-central-1", "--use-device-code"];
    let written = scene.ok(&[&session[..], &site, &rest].concat()).await?;
    ensure!(
        written.contains("[sso-session corp] is new\n") && written.contains("[profile dev] is new\n"),
        "{written}"
    );
    let after = std::fs::read_to_string(&file)?;
    ensure!(after.starts_with(&before) && after.contains("sso_role_name = Developer\n"), "{after}");
    let backup =
        written.lines().find_map(|line| line.strip_prefix("as it was: ")).context(written.clone())?;
    ensure!(std::fs::read_to_string(backup)? == before, "the copy is of the file before all of it");

    let target = scene.emulator().instance();
    scene.ok(&["tunnel", "add", "db", "--target", target, "--remote", "80", "--profile", "dev"]).await?;
    scene.ok(&["up", "db"]).await?;
    ensure!(state(&scene.tunnel("db").await?) == "up", "it lives on the profile");

    let other = format!("{ACCOUNT}:Administrator=dev");
    let refused = scene.stctl(&[&session[..], &["--role", &other]].concat()).await?;
    ensure!(refused.code == 7, "{refused:?}");
    ensure!(refused.stderr.contains("sso_role_name is \"Developer\", not \"Administrator\""), "{refused:?}");
    let nobody = scene.stctl(&[&session[..], &["--role", &format!("{ACCOUNT}:Owner")]].concat()).await?;
    ensure!(nobody.code == 6 && nobody.stderr.contains("Developer, Administrator"), "{nobody:?}");
    ensure!(std::fs::read_to_string(&file)? == after, "the file is as it was");
    Ok(())
}
