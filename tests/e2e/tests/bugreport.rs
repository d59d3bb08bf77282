//! `stctl bugreport` says what is inside, and no secret is.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use stormtunnel_e2e::household::{CODE, Household};
use stormtunnel_e2e::profiles::ACCOUNT;
use stormtunnel_e2e::scene::Scene;
use stormtunnel_e2e::secrets::{self, Secrets};
use stormtunnel_e2e::{DEADLINE, process, profiles};

/// Of the login and its client, of roles, of sessions, and the keys that a program prints.
const AT_LEAST: usize = 12;

/// Texts of our own that no secret type ever held: keys in a file, a token of another tool, proxies in the settings and in the
/// environment, what a program says when it fails, and what a careless log has.
const CANARIES: [&str; 8] = [
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYCANARYKEY0",
    "AKIACANARYCANARY0001",
    "canary-of-a-token",
    "canary-of-the-variable",
    "canary-of-the-setting",
    "canary-of-a-program",
    "canary-of-the-log",
    "canary-of-the-terminal",
];

#[tokio::test]
async fn no_secret_is_in_a_report() -> Result<()> {
    let mut household = Household::new().await?;
    let [key, id, _, variable, setting, _, logged, terminal] = CANARIES;
    household.scene.set_variable("HTTPS_PROXY", format!("http://me:{variable}@127.0.0.1:1"));
    plant(&household.scene)?;
    household.live().await?;
    let scene = &household.scene;
    scene.ok(&["sso", "refresh"]).await?;
    // A wrong name, a wrong secret and a program that fails leave their traces.
    for profile in ["old", "broken"] {
        scene.stctl(&["whoami", "--profile", profile]).await?;
    }
    // Behind a proxy that is not there nothing works, and much is said of it.
    scene.ok(&["settings", "set", "aws.endpoint_sts", "https://aws.invalid"]).await?;
    scene.stctl(&["whoami"]).await?;
    scene.ok(&["settings", "set", "network.proxy", &format!("http://me:{setting}@127.0.0.1:1")]).await?;
    scene.stctl(&["whoami"]).await?;
    let mut log = fs::OpenOptions::new().append(true).open(scene.sandbox().log_file())?;
    let careless = format!("token={logged} {id} {key} http://u:{variable}@h/\n");
    std::io::Write::write_all(&mut log, careless.as_bytes())?;

    let known = token_file(scene)?;
    let secrets = Secrets::of(scene, AT_LEAST, &known)?;
    for anonymous in [false, true] {
        let text = report(scene, anonymous, terminal).await?;
        ensure!(text.contains("[redacted]") && text.contains("serving"), "the log is not in it");
        let leaked = secrets.found_in("the report", text.as_bytes());
        ensure!(leaked.is_none(), "{leaked:?}");
        for canary in CANARIES.iter().chain(&[CODE]) {
            ensure!(!text.contains(canary), "{canary} is in the report");
        }
        // Whose account it is helps, and is no secret; who does not want to tell it says so.
        for named in [ACCOUNT, "bastion", "db.internal", &household.start_url] {
            ensure!(text.contains(named) != anonymous, "{named}, and --anonymous is {anonymous}");
        }
    }
    println!(
        "promise doctor.bugreport: {} secrets that AWS handed out, a code and {} canaries in keys, token files, variables, settings, a \
         program and the log, none in 2 reports",
        secrets.count(),
        CANARIES.len()
    );
    Ok(())
}

/// Secrets where a person may have them.
fn plant(scene: &Scene) -> Result<()> {
    let [key, id, token, _, _, program, ..] = CANARIES;
    let credentials = profiles::credentials_file(scene);
    let old = format!("\n[old]\naws_access_key_id = {id}\naws_secret_access_key = {key}\n");
    profiles::replace(&credentials, &(fs::read_to_string(&credentials)? + &old))?;
    let config = profiles::config_file(scene);
    let script = scene.sandbox().home().join("fails.sh");
    fs::write(&script, format!("echo 'password={program}' >&2; exit 3\n"))?;
    let broken = profiles::profile("broken", &format!("credential_process = sh \"{}\"", script.display()));
    let old = profiles::profile("old", "");
    profiles::replace(&config, &(fs::read_to_string(&config)? + &broken + &old))?;
    let cache = scene.sandbox().home().join(".aws/sso/cache");
    fs::create_dir_all(&cache)?;
    let other = cache.join("c.json");
    fs::write(&other, format!("{{\"accessToken\":\"{token}\"}}"))?;
    Ok(fs::set_permissions(&other, Permissions::from_mode(0o600))?)
}

/// A file that holds a token.
fn token_file(scene: &Scene) -> Result<std::path::PathBuf> {
    let files = secrets::files_under(&scene.sandbox().home().join(".aws/sso/cache"))?;
    let other = files.into_iter().find(|path| !path.ends_with("c.json"));
    other.ok_or_else(|| anyhow::anyhow!("no token is shared"))
}

/// The whole text of a report, which nobody else can read and which lists what is in it.
async fn report(scene: &Scene, anonymous: bool, terminal: &str) -> Result<String> {
    let file = scene.sandbox().directory().join(format!("report-{anonymous}.tar.gz"));
    let mut command = scene.command(&["bugreport", "--file"]);
    command.arg(&file);
    command.env("AWS_SECRET_ACCESS_KEY", terminal).env("HTTPS_PROXY", format!("http://me:{terminal}@h:1"));
    if anonymous {
        command.arg("--anonymous");
    }
    let said = process::run(command, 2 * DEADLINE).await?.success()?;
    ensure!(fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600, "others can read it");
    let unpacked = unpack(&["-xzOf"], &file, &[]).await?;
    let contents = unpack(&["-xzOf"], &file, &["stormtunnel-bugreport/contents.txt"]).await?;
    for line in unpack(&["-tzf"], &file, &[]).await?.lines() {
        let name = line.strip_prefix("stormtunnel-bugreport/").unwrap_or(line);
        ensure!(said.contains(name), "{name} is not told: {said}");
        ensure!(contents.contains(name), "{name} is not listed: {contents}");
    }
    Ok(unpacked)
}

async fn unpack(flags: &[&str], file: &Path, members: &[&str]) -> Result<String> {
    let mut tar = Command::new("tar");
    tar.args(flags).arg(file).args(members);
    process::run(tar, DEADLINE).await?.success()
}
