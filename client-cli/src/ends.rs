//! What ends a command from outside: Ctrl-C, SIGTERM, and a reader that has all that it wanted.

use std::future::pending;
use std::io::{self, IsTerminal, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::{emulate_default_handler, exit, pipe, unregister};
use signal_hook::{SigId, flag};
use stormtunnel_model::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// What a process returns that SIGTERM ended.
const TERMINATED: i32 = 128 + SIGTERM;

/// What ends a command from outside. By default nothing does.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// Ctrl-C. Absent where signals and streams are not those of the process.
    interrupts: Option<Arc<Listener>>,
    /// SIGTERM, likewise.
    terminations: Option<Arc<Listener>>,
}

/// Listens for a signal: the first one is told, the second one ends the process at once.
#[derive(Debug)]
struct Listener {
    signal: i32,
    /// What the process returns at the second one; without it, the process ends by the signal.
    code: Option<i32>,
    /// The first one came.
    told: Arc<AtomicBool>,
    listening: Mutex<Vec<SigId>>,
}

/// As long as this lives, Ctrl-C is for the program that has the terminal.
pub(crate) struct LeftToProgram(Option<Arc<Listener>>);

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
    /// waits for: a program of the system may take its time. Likewise SIGTERM, before which there may be a line to wipe away
    /// and a program to end.
    pub(crate) fn of_process() -> Self {
        let in_terminal =
            io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal();
        // No signal ends the first process of a container unless the process itself does it.
        let is_first = std::process::id() == 1;
        let interrupted = (is_first || !in_terminal).then_some(ExitCode::Interrupted as i32);
        Self {
            interrupts: Listener::of(SIGINT, interrupted),
            terminations: Listener::of(SIGTERM, is_first.then_some(TERMINATED)),
        }
    }

    /// The signal that came, if one did.
    pub(crate) fn told(&self) -> Option<End> {
        let is_told = |listener: &Option<Arc<Listener>>| listener.as_ref().is_some_and(|one| one.is_told());
        if is_told(&self.interrupts) {
            return Some(End::Interrupt);
        }
        is_told(&self.terminations).then_some(End::Terminate)
    }

    /// Leaves Ctrl-C to a program, such as an editor, to which it means something else.
    pub(crate) fn left_to_program(&self) -> LeftToProgram {
        let interrupts = self.interrupts.clone();
        interrupts.iter().for_each(|interrupts| interrupts.ignore());
        LeftToProgram(interrupts)
    }

    /// Waits for a signal.
    pub(crate) async fn signal(&self) -> End {
        tokio::select! {
            () = comes(self.interrupts.as_deref()) => End::Interrupt,
            () = comes(self.terminations.as_deref()) => End::Terminate,
        }
    }

    /// Ends the process as the signal does that nobody takes: the shell in a terminal sees why, and ends a loop that the
    /// command is in. Shells show the same exit code as for a process that returns it, which is what is left to do where it
    /// answers.
    pub(crate) fn pass_on(&self, end: End) {
        let listener = match end {
            End::Interrupt => &self.interrupts,
            End::Terminate => &self.terminations,
        };
        match (listener.as_deref(), end) {
            (Some(Listener { signal, code: None, .. }), _) => drop(emulate_default_handler(*signal)),
            (Some(Listener { code: Some(code), .. }), End::Terminate) => exit(*code),
            (Some(_), End::Interrupt) | (None, _) => {}
        }
    }

    /// Waits until nobody reads standard output any more. Whoever writes seldom would not notice that for long.
    pub(crate) async fn reader_gone(&self) {
        // A terminal that goes sends a signal.
        if self.interrupts.is_some() && !io::stdout().is_terminal() {
            let gone = tokio::task::spawn_blocking(reader_gone).await;
            if gone.is_ok_and(|gone| gone) {
                return;
            }
        }
        pending::<()>().await;
    }
}

/// Waits for the end of a program with that PID, which gets every SIGTERM that comes meanwhile: this process does nothing else
/// then, and would leave it behind.
pub(crate) fn terminating_with<T>(program: u32, wait: impl FnOnce() -> T) -> T {
    let program = i32::try_from(program).ok().and_then(Pid::from_raw);
    let Some((program, (mut told, tells))) = program.zip(UnixStream::pair().ok()) else { return wait() };
    let Ok(telling) = pipe::register(SIGTERM, tells) else { return wait() };
    thread::scope(|scope| {
        // Without a thread there is a second SIGTERM. It ends when nobody tells any more.
        let passes_on = move || {
            while told.read(&mut [0]).is_ok_and(|length| length > 0) {
                // One that is gone needs none.
                let _ = kill_process(program, Signal::TERM);
            }
        };
        drop(thread::Builder::new().name("program".to_owned()).spawn_scoped(scope, passes_on));
        let ended = wait();
        unregister(telling);
        ended
    })
}

impl Drop for LeftToProgram {
    fn drop(&mut self) {
        // Without it the system ends the process at the next one.
        self.0.iter().for_each(|interrupts| drop(interrupts.listen()));
    }
}

impl Listener {
    /// Nothing where that cannot be: the system ends the process at the first one.
    fn of(signal: i32, code: Option<i32>) -> Option<Arc<Self>> {
        let listener = Self { signal, code, told: Arc::default(), listening: Mutex::default() };
        listener.listen().ok()?;
        Some(Arc::new(listener))
    }

    fn listen(&self) -> io::Result<()> {
        let told = || Arc::clone(&self.told);
        // The order counts: at the first one the flag is not set yet.
        let second = match self.code {
            Some(code) => flag::register_conditional_shutdown(self.signal, code, told()),
            None => flag::register_conditional_default(self.signal, told()),
        };
        let first = flag::register(self.signal, told())?;
        self.listening().extend([second?, first]);
        Ok(())
    }

    fn ignore(&self) {
        for id in self.listening().drain(..) {
            unregister(id);
        }
    }

    fn listening(&self) -> MutexGuard<'_, Vec<SigId>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_told(&self) -> bool {
        self.told.load(Ordering::SeqCst)
    }
}

async fn comes(listener: Option<&Listener>) {
    let Some(listener) = listener else { return pending().await };
    let Ok(mut signals) = signal(SignalKind::from_raw(listener.signal)) else { return pending().await };
    // One that came before anybody listened is not told again, and one that was left to a program is not meant.
    while !listener.is_told() {
        if signals.recv().await.is_none() {
            return pending().await;
        }
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
