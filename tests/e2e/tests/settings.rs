//! The settings file, edited by a person and behind the daemon's back.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use aws_emulator::Config;
use stormtunnel_e2e::DEADLINE;
use stormtunnel_e2e::scene::Scene;
use stormtunnel_e2e::terminal::Terminal;

const RANGE: &str = "whole seconds from 10 to 120";

async fn settings_file(scene: &Scene) -> Result<PathBuf> {
    Ok(scene.ok(&["settings", "path"]).await?.trim().into())
}

/// A terminal whose editor is that shell script.
async fn terminal(scene: &Scene, directory: &Path, script: &str) -> Result<Terminal> {
    let editor = directory.join("editor");
    fs::write(&editor, format!("#!/bin/sh\nset -e\n{script}\n"))?;
    fs::set_permissions(&editor, Permissions::from_mode(0o755))?;
    let mut environment = scene.sandbox().environment();
    environment.push(("VISUAL".to_owned(), editor.display().to_string()));
    Terminal::open(&environment, DEADLINE).await
}

#[tokio::test]
async fn an_editor_changes_settings_and_a_wrong_value_changes_nothing() -> Result<()> {
    let scene = Scene::start(Config::default()).await?;
    let directory = tempfile::tempdir()?;
    let file = settings_file(&scene).await?;
    let _ = fs::remove_file(&file);
    let stctl = scene.sandbox().binaries().stctl.display();
    let command = format!("{stctl} settings edit");

    // A person who writes a wrong value, is told, and mends it; the answer is typed ahead of the question.
    let script = r#"if grep -q '^connect_timeout = 5$' "$1"
        then sed -i 's/^connect_timeout = 5$/connect_timeout = 60 # slow VPN/' "$1"
        else sed -i 's/^#connect_timeout = 30$/connect_timeout = 5/' "$1"; fi"#;
    let mut person = terminal(&scene, directory.path(), script).await?;
    let shown = person.command(&format!("{command}\ny"), DEADLINE).await?;
    let place = shown.lines().find(|line| line.contains(RANGE)).context(shown.clone())?;
    ensure!(place.contains(".toml:") && place.contains(":19: tunnels.connect_timeout"), "{place}");
    ensure!(place.contains("\"30\" stays in force"), "{place}");
    ensure!(shown.contains("tunnels.connect_timeout is 60"), "{shown}");
    let text = fs::read_to_string(&file)?;
    ensure!(text.contains("\nconnect_timeout = 60 # slow VPN\n"), "the comment is kept: {text}");
    ensure!(
        text.contains("#message_rate = ") && text.contains("#key_store = \"auto\""),
        "all are listed: {text}"
    );
    ensure!(scene.ok(&["settings", "get", "tunnels.connect_timeout"]).await? == "60\n");
    person.close(DEADLINE).await?;

    // One who gives up keeps the text, and the daemon its settings.
    let wrong = r#"sed -i 's/^connect_timeout = .*$/connect_timeout = 500/' "$1""#;
    let mut other = terminal(&scene, directory.path(), wrong).await?;
    let shown = other.command(&format!("{command}\nn"), DEADLINE).await?;
    ensure!(shown.contains("what you have written is kept in"), "{shown}");
    ensure!(fs::read_to_string(&file)? == text, "the file is as it was");
    let entries =
        fs::read_dir(file.parent().context("a directory")?)?.collect::<std::io::Result<Vec<_>>>()?;
    let kept = entries.iter().find(|entry| entry.file_name().to_string_lossy().contains(".edit-"));
    let kept = kept.context("no copy is kept")?.path();
    ensure!(fs::read_to_string(&kept)?.contains("connect_timeout = 500"));
    ensure!(fs::metadata(&kept)?.permissions().mode() & 0o777 == 0o600);
    fs::remove_file(&kept)?;
    other.close(DEADLINE).await?;

    // Somebody else is quicker.
    let race =
        format!(r#"printf '[tunnels]\nconnect_timeout = 61\n' >'{}'; echo '# late' >>"$1""#, file.display());
    let mut late = terminal(&scene, directory.path(), &race).await?;
    let shown = late.command(&command, DEADLINE).await?;
    ensure!(shown.contains("nothing was overwritten"), "{shown}");
    ensure!(fs::read_to_string(&file)? == "[tunnels]\nconnect_timeout = 61\n");
    late.close(DEADLINE).await?;
    println!(
        "promise settings.edit: refused with file, line, column and range, mended, written with comments kept; given up: file as it \
         was, text kept; changed meanwhile: not overwritten"
    );
    Ok(())
}

#[tokio::test]
async fn a_wrong_value_from_any_editor_leaves_the_old_one_in_force() -> Result<()> {
    let scene = Scene::start(Config::default()).await?;
    let file = settings_file(&scene).await?;
    scene.ok(&["settings", "set", "tunnels.connect_timeout", "60"]).await?;
    fs::write(&file, "# mine\n[tunnels]\nconnect_timeout = 7\nmessage_rate = 800\n")?;
    let get = async |key: &str| scene.stctl(&["settings", "get", key]).await;
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(20));
    let noticed = async {
        loop {
            let rate = get("tunnels.message_rate").await?;
            if rate.stdout == "800\n" {
                return Ok::<_, anyhow::Error>(rate);
            }
            looks.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, noticed).await.context("the file is not read again")??;
    let timeout = get("tunnels.connect_timeout").await?;
    ensure!(timeout.stdout == "60\n", "{timeout:?}");
    let place = format!("{}:3:19: tunnels.connect_timeout", file.display());
    ensure!(timeout.stderr.contains(&place) && timeout.stderr.contains(RANGE), "{timeout:?}");
    let log = fs::read_to_string(scene.sandbox().log_file())?;
    ensure!(log.contains(&place), "it is in the log, too");
    Ok(())
}
