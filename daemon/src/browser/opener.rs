//! Opening a page with a program of the system, or one that was named. Without a shell, and with a look at how the program
//! ends: libraries for this tell only that it was started.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// The system's own program.
pub(super) const DEFAULT: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };

/// How long a program may take to fail. One that still runs then is the browser itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Stands for the address in commands as `BROWSER` has them.
const PLACEHOLDER: &str = "%s";

/// Runs a command with the address in the place of `%s`, or as its last argument. Answers whether it seems to have opened it.
pub(super) async fn run(command: &[String], url: &str) -> bool {
    // Openers take file names and options as well; an address from elsewhere must not become one.
    let is_page = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
    let Some((program, arguments)) = command.split_first().filter(|_| is_page) else { return false };
    let mut arguments = arguments.to_vec();
    if !arguments.iter().any(|argument| argument.contains(PLACEHOLDER)) {
        arguments.push(PLACEHOLDER.to_owned());
    }
    let arguments = arguments.iter().map(|argument| argument.replace(PLACEHOLDER, url));
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // What ends the daemon's terminal does not end the browser.
    let mut child = match command.process_group(0).spawn() {
        Ok(child) => child,
        Err(error) => {
            tracing::info!(%error, "cannot start {program} to open the login page");
            return false;
        }
    };
    match tokio::time::timeout(PATIENCE, child.wait()).await {
        Ok(Ok(status)) if status.success() => true,
        Ok(Ok(status)) => {
            tracing::info!("{program} did not open the login page: {status}");
            false
        }
        Ok(Err(error)) => {
            tracing::info!(%error, "cannot tell whether {program} opened the login page");
            false
        }
        Err(_still_running) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://oidc.example/authorize?a=b&c=$(d);`e`'f\"";

    async fn runs(command: &[&str], url: &str) -> bool {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        run(&command, url).await
    }

    #[tokio::test]
    async fn the_address_is_one_argument_whatever_is_in_it() {
        let home = tempfile::tempdir().unwrap();
        let script = home.path().join("open it.sh");
        std::fs::write(&script, "printf '%s\\n' \"$@\" > \"$0.seen\"\n").unwrap();
        let script = script.to_str().unwrap();
        for (words, seen) in [
            (vec!["sh", script, "--new"], format!("--new\n{URL}\n")),
            (vec!["sh", script, "--url=%s", "--new"], format!("--url={URL}\n--new\n")),
        ] {
            assert!(runs(&words, URL).await);
            assert_eq!(std::fs::read_to_string(format!("{script}.seen")).unwrap(), seen);
        }
    }

    #[tokio::test]
    async fn how_the_program_ends_is_what_counts() {
        assert!(runs(&["true"], URL).await);
        assert!(!runs(&["false"], URL).await);
        assert!(!runs(&["stormtunnel-has-no-such-program"], URL).await);
        assert!(!runs(&[], URL).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_stays_is_the_browser() {
        assert!(runs(&["sh", "-c", "sleep 2"], URL).await);
    }

    #[tokio::test]
    async fn only_pages_are_opened() {
        for other in ["file:///etc/passwd", "-a Calculator", "javascript:1", ""] {
            assert!(!runs(&["true"], other).await, "{other}");
        }
    }
}
