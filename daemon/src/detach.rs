//! Going to the background: a process in a session of its own that keeps nothing of the terminal.
//!
//! The launcher starts the same program as a child with a clean environment and relays one word on standard output:
//! `ready` once the child serves, or `running` when another daemon does. The child keeps the launcher's standard error
//! until then, so that whoever started it reads why it failed.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{BorrowedFd, RawFd};
use std::process::{ExitCode, Stdio};

use crate::environment::{self, AwsVariables};

/// The word for: serving.
pub const READY: &str = "ready";

/// The word for: another daemon is serving already.
pub const RUNNING: &str = "running";

/// Starts the background process and answers what it said: success for [`READY`] and [`RUNNING`].
///
/// # Errors
/// The process cannot be started or waited for.
pub fn launch(aws: AwsVariables) -> io::Result<ExitCode> {
    keep_descriptors_from_children()?;
    let arguments = std::env::args_os()
        .skip(1)
        .map(|argument| if argument == "--detach" { "--detached".into() } else { argument });
    let mut child = environment::same_program()?
        .args(arguments)
        .env_clear()
        .envs(environment::cleaned(std::env::vars_os(), aws))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut word = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut word)?;
    }
    match word.trim_end() {
        READY | RUNNING => {
            io::stdout().write_all(word.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            // It ended without a word; the reason is on standard error already.
            child.wait()?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Leaves the session of the terminal and the directory that the child was started in.
///
/// # Errors
/// Not a child of [`launch`]: a leader of a process group has to stay in its session.
pub fn leave_terminal() -> io::Result<()> {
    rustix::process::setsid()?;
    std::env::set_current_dir("/")
}

/// Says `word` to the launcher and lets go of it: from now on standard output leads nowhere, and standard error (which
/// only a panic writes to) into `log`.
///
/// # Errors
/// The descriptors cannot be replaced. A launcher that is gone is no error.
pub fn let_go(word: &str, log: &File) -> io::Result<()> {
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "{word}").and_then(|()| stdout.flush());
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(log)?;
    Ok(())
}

/// Marks every descriptor beyond the standard three as not for children. Rust opens its own that way; a shell or a
/// script may have left others open, and the daemon would hold them for days.
fn keep_descriptors_from_children() -> io::Result<()> {
    let descriptors: Vec<RawFd> = std::fs::read_dir("/dev/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect();
    for descriptor in descriptors {
        // The one that listed the directory is closed by now: setting its flag fails, which is as good.
        let _ = rustix::io::fcntl_setfd(borrow(descriptor), rustix::io::FdFlags::CLOEXEC);
    }
    Ok(())
}

#[expect(unsafe_code, reason = "inherited descriptors have no owner in this process, only numbers")]
fn borrow(descriptor: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the number is positive, and the only use is one system call that a closed descriptor merely fails.
    unsafe { BorrowedFd::borrow_raw(descriptor) }
}
