//! Other clients of the API: another language, and another user.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use aws_emulator::Config;
use serde_json::Value;
use stormtunnel_e2e::bulk::EchoServer;
use stormtunnel_e2e::process::{self, Output};
use stormtunnel_e2e::scene::{HOST, PORT, Scene, state};
use stormtunnel_e2e::{DEADLINE, local, programs};

#[tokio::test]
async fn python_lists_starts_and_watches_through_reflection_alone() -> Result<()> {
    let Some(python) = programs::python_with_grpc()? else { return Ok(()) };
    let echo = EchoServer::start().await?;
    let scene = Scene::start(Config::default()).await?;
    scene.emulator().map_service(HOST, PORT, echo.address());
    scene.add("db", &format!("{HOST}:{PORT}")).await?;

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/python/check.py");
    let mut command = Command::new(python);
    command.arg(script).arg(scene.sandbox().socket()).arg("db");
    let output = process::run(command, DEADLINE).await?.success()?;
    let steps: Vec<Value> = output.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let step = |name: &str| steps.iter().find(|step| step["step"] == name).unwrap_or(&Value::Null);

    assert_eq!(step("daemon")["pid"], scene.daemon_pid().await?);
    assert_eq!(step("list")["tunnels"]["db"], "stopped");
    assert_eq!(step("unknown")["code"], "NOT_FOUND");
    let states = step("watch")["states"].as_array().cloned().unwrap_or_default();
    assert_eq!((states.first(), states.last()), (Some(&"stopped".into()), Some(&"up".into())), "{states:?}");
    assert_eq!(state(&scene.tunnel("db").await?), "up");
    let port = scene.port("db").await?;
    assert_eq!(step("up")["listening"][0], format!("127.0.0.1:{port}"));
    local::echo(&mut local::connect(port, DEADLINE).await?, "from python's tunnel\n", DEADLINE).await?;
    println!(
        "promise main.python: {} services found, listed, started, watched through {} states",
        step("services")["services"].as_array().map_or(0, Vec::len),
        states.len()
    );
    Ok(())
}

/// `nobody`, everywhere.
const OTHER_UID: u32 = 65534;

#[tokio::test]
async fn another_user_is_refused() -> Result<()> {
    let Some(setpriv) = programs::find("setpriv")? else { return Ok(()) };
    if !rustix::process::geteuid().is_root() {
        return programs::missing::<()>("root, who can become another user,").map(drop);
    }
    let scene = Scene::start(Config::default()).await?;
    scene.add("secret-name", "80").await?;
    // The other user must be able to reach the program, wherever it was built.
    let directory = tempfile::Builder::new().prefix("st-other-").permissions(mode(0o755)).tempdir()?;
    let stctl = directory.path().join("stctl");
    std::fs::copy(&scene.sandbox().binaries().stctl, &stctl)?;
    std::fs::set_permissions(&stctl, mode(0o755))?;
    let as_other = async |socket: &Path| {
        let mut command = Command::new(&setpriv);
        command.args([
            format!("--reuid={OTHER_UID}"),
            format!("--regid={OTHER_UID}"),
            "--clear-groups".to_owned(),
        ]);
        command.arg(&stctl).args(["ls", "--socket"]).arg(socket).current_dir("/");
        command.env("HOME", directory.path()).env("STCTL_NO_AUTOSTART", "1");
        process::run(command, DEADLINE).await
    };

    let socket = scene.sandbox().socket();
    assert_eq!(permissions(&socket)?, 0o600);
    assert_eq!(permissions(socket.parent().unwrap_or(&socket))?, 0o700);
    let closed = as_other(&socket).await?;
    assert_refused(&closed, "the system does not let you connect");

    // Somebody loosened the modes: the daemon still looks at who connects.
    for path in socket.ancestors().skip(1).take_while(|path| path.starts_with(scene.sandbox().directory())) {
        std::fs::set_permissions(path, mode(0o755))?;
    }
    std::fs::set_permissions(&socket, mode(0o666))?;
    let open = as_other(&socket).await?;
    assert_refused(&open, "");
    assert!(!open.stderr.contains("does not let you connect"), "the modes were to be loose: {}", open.stderr);

    // Any failure has that exit code: the daemon itself must say that it was the user.
    let log = std::fs::read_to_string(scene.sandbox().log_file())?;
    let refusal = |line: &str| line.contains("of another user") && line.contains(&format!("uid={OTHER_UID}"));
    assert!(log.lines().any(refusal), "{log}");

    assert_eq!(scene.ok(&["ls", "-o", "name"]).await?, "secret-name\n");
    println!(
        "promise main.other-uid: uid {OTHER_UID} refused by the directory's mode, and with that loosened by the daemon"
    );
    Ok(())
}

fn assert_refused(output: &Output, sentence: &str) {
    assert_eq!(output.code, 5, "{output:?}");
    assert!(output.stderr.contains(sentence), "{output:?}");
    assert!(!output.stdout.contains("secret-name") && !output.stderr.contains("secret-name"), "{output:?}");
}

fn mode(mode: u32) -> std::fs::Permissions {
    std::fs::Permissions::from_mode(mode)
}

fn permissions(path: &Path) -> Result<u32> {
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o777)
}
