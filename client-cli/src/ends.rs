//! What ends a command from outside: Ctrl-C, SIGTERM, and a reader that has all that it wanted.

use std::future::pending;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::emulate_default_handler;
use signal_hook::{SigId, flag};
use stormtunnel_model::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// What ends a command from outside. By default nothing does.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// Ctrl-C was typed once. Absent where signals and streams are not those of the process.
    interrupted: Option<Arc<AtomicBool>>,
    /// SIGTERM came once. Absent where the system ends the process then, which is what there is to do without a terminal.
    terminated: Option<Arc<AtomicBool>>,
}

/// A signal that asks the command to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Ends {
    /// Those of this process. From now on the first Ctrl-C is told, and a second one ends the process at once, whatever it
    /// waits for: a program of the system may take its time. Likewise SIGTERM in a terminal, where there may be a line to wipe
    /// away before.
    pub(crate) fn of_process(in_terminal: bool) -> Self {
        let code = ExitCode::Interrupted as i32;
        if !in_terminal {
            let shutdown = |told| flag::register_conditional_shutdown(SIGINT, code, told);
            return Self { interrupted: told_once(SIGINT, shutdown), terminated: None };
        }
        let by_default = |signal| told_once(signal, |told| flag::register_conditional_default(signal, told));
        Self { interrupted: by_default(SIGINT), terminated: by_default(SIGTERM) }
    }

    /// Whether Ctrl-C was typed.
    pub(crate) fn is_interrupted(&self) -> bool {
        is_set(self.interrupted.as_ref())
    }

    /// Waits for a signal.
    pub(crate) async fn signal(&self) -> End {
        tokio::select! {
            () = comes(SignalKind::interrupt(), self.interrupted.as_ref()) => End::Interrupt,
            () = comes(SignalKind::terminate(), self.terminated.as_ref()) => End::Terminate,
        }
    }

    /// Ends the process as the signal does that nobody takes, in a terminal: the shell there sees why, and ends a loop that
    /// the command is in. Shells show the same exit code as for a process that returns it.
    pub(crate) fn pass_on(&self, end: End) {
        let signal = match end {
            End::Interrupt => SIGINT,
            End::Terminate => SIGTERM,
        };
        if self.terminated.is_some() {
            drop(emulate_default_handler(signal));
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

/// The flag that the first of these signals sets; `next` is what becomes of a second one. Nothing where that cannot be: the
/// system ends the process at the first one.
fn told_once(
    signal: i32,
    next: impl FnOnce(Arc<AtomicBool>) -> io::Result<SigId>,
) -> Option<Arc<AtomicBool>> {
    let told = Arc::new(AtomicBool::new(false));
    // The order counts: at the first one the flag is not set yet.
    next(Arc::clone(&told)).and_then(|_| flag::register(signal, Arc::clone(&told))).ok()?;
    Some(told)
}

fn is_set(told: Option<&Arc<AtomicBool>>) -> bool {
    told.is_some_and(|told| told.load(Ordering::SeqCst))
}

async fn comes(kind: SignalKind, told: Option<&Arc<AtomicBool>>) {
    // Whoever listens takes the signal away from the system.
    let listens = told.map(|_| signal(kind));
    let Some(Ok(mut signals)) = listens else { return pending().await };
    // One that came before anybody listened is not told again.
    if !is_set(told) {
        signals.recv().await;
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
