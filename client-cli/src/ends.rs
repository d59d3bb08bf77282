//! What ends a command from outside: Ctrl-C, and a reader that has all that it wanted.

use std::future::pending;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::SIGINT;
use signal_hook::flag;
use stormtunnel_model::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// What ends a command from outside. By default nothing does.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// Ctrl-C was typed once. Absent where signals and streams are not those of the process.
    interrupted: Option<Arc<AtomicBool>>,
}

impl Ends {
    /// Those of this process. From now on the first Ctrl-C is told, and a second one ends the process at once, whatever it
    /// waits for: a program of the system may take its time.
    pub(crate) fn of_process() -> Self {
        let interrupted = Arc::new(AtomicBool::new(false));
        let code = ExitCode::Interrupted as i32;
        // The order counts: at the first Ctrl-C the flag is not set yet.
        let registered = flag::register_conditional_shutdown(SIGINT, code, Arc::clone(&interrupted))
            .and_then(|_| flag::register(SIGINT, Arc::clone(&interrupted)));
        // Without it the system ends the process at the first one.
        Self { interrupted: registered.is_ok().then_some(interrupted) }
    }

    /// Whether Ctrl-C was typed.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.as_ref().is_some_and(|interrupted| interrupted.load(Ordering::SeqCst))
    }

    /// Waits for Ctrl-C.
    pub(crate) async fn interrupt(&self) {
        let (true, Ok(mut interrupts)) = (self.interrupted.is_some(), signal(SignalKind::interrupt())) else {
            return pending().await;
        };
        // One that came before anybody listened is not told again.
        if !self.is_interrupted() {
            interrupts.recv().await;
        }
    }

    /// Waits until nobody reads standard output any more. Whoever writes seldom would not notice that for long.
    pub(crate) async fn reader_gone(&self) {
        // A terminal that goes sends a signal.
        if self.interrupted.is_some() && !io::stdout().is_terminal() {
            let gone = tokio::task::spawn_blocking(reader_gone).await;
            if gone.is_ok_and(|gone| gone) {
                return;
            }
        }
        pending::<()>().await;
    }
}

/// Waits for the end of the pipe that standard output is; for ever where it is a file.
fn reader_gone() -> bool {
    let out = io::stdout();
    // Errors and the end of the other side are told without being asked for.
    let mut watched = [PollFd::new(&out, PollFlags::empty())];
    loop {
        match poll(&mut watched, None) {
            Err(Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => return watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP),
        }
    }
}
