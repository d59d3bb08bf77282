//! The line that says what a command waits for, once that takes longer than a second. It is the last one on the terminal,
//! and gone when there is something else to read. Scripts never get it.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long somebody is left without a word, and how often the seconds are counted.
const SECOND: Duration = Duration::from_secs(1);

/// Goes to the beginning of the line and empties it.
const WIPED: &[u8] = b"\r\x1b[K";

/// A terminal to write the line to.
pub struct LineTerminal {
    /// Standard error.
    pub err: Box<dyn Write + Send>,
    /// Its columns.
    pub width: u16,
}

/// The line. Without a terminal it does nothing.
#[derive(Default)]
pub(crate) struct StatusLine {
    shared: Option<Arc<Shared>>,
    /// Counts the seconds; it begins with the first wait. A thread, because the command may be held up by a program.
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    line: Mutex<Line>,
    changed: Condvar,
}

struct Line {
    terminal: LineTerminal,
    /// What is waited for, the newest last.
    waits: Vec<Wait>,
    /// Tells waits apart.
    next: u64,
    /// A question stands at the end of the terminal: what is typed behind it must stay readable.
    is_asking: bool,
    is_shown: bool,
    is_over: bool,
}

struct Wait {
    number: u64,
    what: String,
    since: Instant,
}

/// Something is waited for until this is dropped.
pub(crate) struct Waiting(Option<(Arc<Shared>, u64)>);

/// Nothing is written to the line as long as this lives.
pub(crate) struct Quiet<'l>(Option<MutexGuard<'l, Line>>);

impl StatusLine {
    pub(crate) fn on(terminal: Option<LineTerminal>) -> Self {
        let line = |terminal| Line {
            terminal,
            waits: Vec::new(),
            next: 0,
            is_asking: false,
            is_shown: false,
            is_over: false,
        };
        let shared = |terminal| Shared { line: Mutex::new(line(terminal)), changed: Condvar::new() };
        Self { shared: terminal.map(shared).map(Arc::new), thread: None }
    }

    /// Says what is waited for from now on.
    pub(crate) fn wait(&mut self, what: &str) -> Waiting {
        let Some(shared) = &self.shared else { return Waiting(None) };
        let begins = || {
            let shared = Arc::clone(shared);
            // Without a thread there is no line, and the command goes on.
            thread::Builder::new().name("status".to_owned()).spawn(move || shared.count()).ok()
        };
        if self.thread.is_none() {
            self.thread = begins();
        }
        let mut line = shared.line();
        let number = line.next;
        line.next += 1;
        line.waits.push(Wait { number, what: what.to_owned(), since: now() });
        drop(line);
        shared.changed.notify_all();
        Waiting(Some((Arc::clone(shared), number)))
    }

    /// Wipes the line away for something else to be written.
    pub(crate) fn quiet(&self) -> Quiet<'_> {
        Quiet(self.shared.as_deref().map(|shared| {
            let mut line = shared.line();
            line.wipe();
            line
        }))
    }

    /// The same for a question, after which there is silence until it is answered.
    pub(crate) fn ask(&self) -> Quiet<'_> {
        let mut quiet = self.quiet();
        if let Some(line) = &mut quiet.0 {
            line.is_asking = true;
        }
        quiet
    }

    /// The question has its answer.
    pub(crate) fn answered(&self) {
        if let Some(shared) = &self.shared {
            shared.line().is_asking = false;
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        if let (Some(shared), Some(thread)) = (&self.shared, self.thread.take()) {
            let mut line = shared.line();
            line.is_over = true;
            line.wipe();
            drop(line);
            shared.changed.notify_all();
            // It ends at once, and a panic of it is nobody's loss here.
            drop(thread.join());
        }
    }
}

impl Waiting {
    /// Something else is waited for; the time goes on.
    pub(crate) fn is_for(&self, what: &str) {
        let Some((shared, number)) = &self.0 else { return };
        if let Some(wait) = shared.line().waits.iter_mut().find(|wait| wait.number == *number) {
            what.clone_into(&mut wait.what);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some((shared, number)) = &self.0 else { return };
        let mut line = shared.line();
        line.waits.retain(|wait| wait.number != *number);
        line.wipe();
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the line once a second, as long as something is waited for.
    fn count(&self) {
        let mut line = self.line();
        while !line.is_over {
            // Of several waits the first one tells how long, and the last one for what.
            let waited = line.waits.first().map(|wait| now().duration_since(wait.since));
            let pause = match waited {
                Some(waited) if waited >= SECOND => {
                    line.write(waited);
                    SECOND
                }
                Some(waited) => SECOND.saturating_sub(waited),
                None => Duration::from_secs(3600),
            };
            let woken = self.changed.wait_timeout(line, pause);
            (line, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Line {
    fn write(&mut self, waited: Duration) {
        let Some(wait) = self.waits.last().filter(|_| !self.is_asking) else { return };
        let text = fitted(&wait.what, waited, usize::from(self.terminal.width));
        let bytes = [WIPED, text.as_bytes()].concat();
        self.is_shown = true;
        self.terminal.write(&bytes);
    }

    fn wipe(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            self.terminal.write(WIPED);
        }
    }
}

impl LineTerminal {
    /// A terminal that takes nothing has nobody in front of it.
    fn write(&mut self, bytes: &[u8]) {
        drop(self.err.write_all(bytes).and_then(|()| self.err.flush()));
    }
}

/// One line of a terminal: a longer one would break, and could not be wiped away.
fn fitted(what: &str, waited: Duration, width: usize) -> String {
    let time = format!("… {} s", waited.as_secs());
    let room = width.saturating_sub(time.chars().count() + 1);
    let what: String = what.chars().take(room).collect();
    format!("{what}{time}")
}

#[expect(clippy::disallowed_methods, reason = "seconds of a person; nothing is decided by them")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal that keeps what it is sent.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn line() -> (StatusLine, Kept) {
        let kept = Kept::default();
        (StatusLine::on(Some(LineTerminal { err: Box::new(kept.clone()), width: 30 })), kept)
    }

    fn shown(kept: &Kept) -> String {
        String::from_utf8(std::mem::take(&mut *kept.0.lock().unwrap())).unwrap()
    }

    /// What is written once so many seconds are over.
    fn after(status: &StatusLine, kept: &Kept, seconds: u64) -> String {
        status.shared.as_ref().unwrap().line().write(Duration::from_secs(seconds));
        shown(kept)
    }

    #[test]
    fn the_newest_wait_is_told_and_wiped_away_at_its_end() {
        let (mut status, kept) = line();
        let _first = status.wait("one");
        let second = status.wait("two");
        assert_eq!(after(&status, &kept, 3), "\r\u{1b}[Ktwo… 3 s");
        second.is_for("three");
        assert_eq!(after(&status, &kept, 4), "\r\u{1b}[Kthree… 4 s");
        drop(second);
        assert_eq!(shown(&kept), "\r\u{1b}[K");
        assert_eq!(after(&status, &kept, 5), "\r\u{1b}[Kone… 5 s");
        drop(status);
        assert_eq!(shown(&kept), "\r\u{1b}[K");
    }

    #[test]
    fn a_question_is_left_alone_until_it_is_answered() {
        let (mut status, kept) = line();
        let _wait = status.wait("one");
        drop(status.ask());
        assert_eq!(after(&status, &kept, 3), "");
        drop(status.quiet());
        let other = status.wait("two");
        assert_eq!(after(&status, &kept, 3), "", "it is open still, whatever was written meanwhile");
        drop(other);
        status.answered();
        assert_eq!(after(&status, &kept, 4), "\r\u{1b}[Kone… 4 s");
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(
            fitted("waiting for 3 tunnels: a, b, c", Duration::from_secs(12), 20),
            "waiting for 3… 12 s"
        );
        assert_eq!(fitted("one", Duration::from_secs(1), 0), "… 1 s");
    }
}
