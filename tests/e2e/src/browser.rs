//! A browser for the people at terminals: a program that fetches a page and follows where it leads.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::Result;

use crate::programs;
use crate::scene::Scene;

/// Fetches the page that is its last argument.
const SCRIPT: &str = "#!/bin/sh\nfor page; do :; done\nexec curl -sL -o /dev/null \"$page\"\n";

/// Lets a place have a display and a browser, which is the system's and also the one that the environment names. `None` without
/// `curl`.
///
/// # Errors
/// It cannot be written; or there is no `curl`, and nothing may be skipped.
pub fn install(scene: &mut Scene) -> Result<Option<()>> {
    if programs::find("curl")?.is_none() {
        return Ok(None);
    }
    let directory = scene.sandbox().home().join("bin");
    std::fs::create_dir_all(&directory)?;
    let program = directory.join(if cfg!(target_os = "macos") { "open" } else { "xdg-open" });
    std::fs::write(&program, SCRIPT)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let path = std::env::var("PATH").unwrap_or_default();
    scene.set_variable("PATH", format!("{}:{path}", directory.display()));
    scene.set_variable("BROWSER", program.display().to_string());
    scene.set_variable("DISPLAY", ":0");
    Ok(Some(()))
}
