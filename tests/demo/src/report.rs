//! What the demo prints.

use std::io::{self, Write as _};

use anyhow::Result;
use stormtunnel_harness::Sandbox;

/// Where the demo prints to. With `--check`, only results and a last line.
pub(crate) struct Report {
    check: bool,
    results: u32,
}

impl Report {
    pub(crate) fn new(check: bool) -> Self {
        Self { check, results: 0 }
    }

    fn line(text: &str) {
        // Nobody may be reading any more; the demo's exit code tells what happened.
        let _ = writeln!(io::stdout(), "{text}");
    }

    /// For a person who watches.
    pub(crate) fn say(&self, text: &str) {
        if !self.check {
            Self::line(&format!("\n{text}"));
        }
    }

    /// Something worked.
    pub(crate) fn done(&mut self, text: &str) {
        self.results += 1;
        Self::line(&format!("ok: {text}"));
    }

    /// Runs `stctl` and shows it as if it had been typed.
    pub(crate) async fn run(&mut self, sandbox: &Sandbox, arguments: &[&str]) -> Result<()> {
        let printed = sandbox.stctl_ok(arguments).await?;
        let command = format!("stctl {}", arguments.join(" "));
        if self.check {
            self.done(&command);
        } else {
            Self::line(&format!("\n$ {command}\n{}", printed.trim_end()));
        }
        Ok(())
    }

    /// What to type next.
    pub(crate) fn invite(&self, sandbox: &Sandbox) {
        let quote = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        let binaries =
            sandbox.binaries().stctl.parent().map(|path| path.display().to_string()).unwrap_or_default();
        self.say("Your turn. In another terminal:");
        for (name, value) in variables(sandbox) {
            Self::line(&format!("  export {name}={}", quote(&value)));
        }
        Self::line(&format!("  export PATH={}:\"$PATH\"", quote(&binaries)));
        let tunnel = crate::TUNNEL;
        for next in [
            "ls",
            "watch",
            "sso status",
            "profiles",
            "--help",
            &format!("status {tunnel}"),
            &format!("restart {tunnel}"),
        ] {
            Self::line(&format!("  stctl {next}"));
        }
        let inject = format!("{}/inject", sandbox.emulator().control_url());
        let body = r#"'{"kind":"drop_client"}'"#;
        Self::line("  # cuts the WebSocket under the tunnel; its connections do not notice:");
        Self::line(&format!("  curl -H 'content-type: application/json' -d {body} {inject}"));
        self.say("Ctrl-C ends the demo and everything that it started.");
    }

    /// The last line.
    pub(crate) fn close(&self) {
        let results = self.results;
        if self.check {
            Self::line(&format!("promise main.demo: {results} of {results} steps worked"));
        }
    }
}

/// The variables that lead to this place. The reader's own home stays: the keys are in files that variables name.
fn variables(sandbox: &Sandbox) -> Vec<(String, String)> {
    let mut variables = sandbox.environment();
    variables.retain(|(name, _)| !["HOME", "PATH", "LC_ALL"].contains(&name.as_str()));
    for (name, file) in [("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")] {
        variables.push((name.to_owned(), sandbox.home().join(".aws").join(file).display().to_string()));
    }
    variables
}
