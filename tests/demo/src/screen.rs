//! What the demonstration prints. The only place that writes.

use std::io::{self, Write};

use stormtunnel_harness::Sandbox;

/// Where the words go.
pub(crate) struct Screen<W>(W);

impl<W: Write> Screen<W> {
    pub(crate) fn new(out: W) -> Self {
        Self(out)
    }

    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.0, "{text}")?;
        self.0.flush()
    }

    /// A step that succeeded.
    pub(crate) fn done(&mut self, text: &str) -> io::Result<()> {
        self.line(&format!("ok  {text}"))
    }

    /// A command as a person would type it.
    pub(crate) fn typed(&mut self, arguments: &[&str]) -> io::Result<()> {
        self.line(&format!("\n$ stctl {}", arguments.join(" ")))
    }

    /// What a command printed.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        self.line(text.trim_end())?;
        self.line("")
    }

    /// Everything needed to go on in another terminal.
    pub(crate) fn next_steps(&mut self, sandbox: &Sandbox, url: &str) -> io::Result<()> {
        self.line("\nIn another terminal:\n")?;
        for (name, value) in variables(sandbox) {
            self.line(&format!("export {name}='{value}'"))?;
        }
        if let Some(directory) = sandbox.binaries().stctl.parent() {
            self.line(&format!("export PATH='{}':\"$PATH\"", directory.display()))?;
        }
        let inject = format!("{}/inject", sandbox.emulator().control_url());
        self.line(&format!(
            "\nstctl ls\n\
             curl {url}\n\
             stctl watch web\n\
             curl -H 'content-type: application/json' -d '{{\"kind\":\"drop_client\"}}' {inject}   # cuts the WebSocket\n\
             stctl down web; stctl up web\n\
             \nThe daemon's log: {}\n\
             Ctrl-C ends the demonstration and removes everything it made.",
            sandbox.log_file().display()
        ))
    }

    /// The whole chain of an error. When even that cannot be written, the exit code has to do.
    pub(crate) fn failed(&mut self, error: &anyhow::Error) {
        let _ = self.line(&format!("FAILED  {error:?}"));
    }
}

/// The variables that lead to this place, without those that would change the reader's own shell.
fn variables(sandbox: &Sandbox) -> Vec<(String, String)> {
    let foreign = ["HOME", "PATH", "LC_ALL"];
    let aws_file = |name: &str, file: &str| {
        (name.to_owned(), sandbox.home().join(".aws").join(file).display().to_string())
    };
    let mut variables = sandbox.environment();
    variables.retain(|(name, _)| !foreign.contains(&name.as_str()));
    variables.push(aws_file("AWS_CONFIG_FILE", "config"));
    variables.push(aws_file("AWS_SHARED_CREDENTIALS_FILE", "credentials"));
    variables
}
