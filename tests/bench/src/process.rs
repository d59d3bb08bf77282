//! What a process has used so far, from `/proc`.

use std::ops::Sub;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::param::clock_ticks_per_second;

/// A process of this user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    id: u32,
}

/// Used since the process started; the difference of two is what was used between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Of all threads, in user and in kernel mode.
    pub(crate) cpu: Duration,
    /// Times that a thread went to sleep and was woken.
    pub(crate) wake_ups: u64,
}

impl Process {
    pub(crate) fn new(id: u32) -> Self {
        Self { id }
    }

    /// Its usage until now. Wake-ups of threads that have ended are not in it.
    pub(crate) fn usage(self) -> Result<Usage> {
        let ticks = cpu_ticks(&self.read("stat")?).context("/proc/PID/stat has another form")?;
        let mut wake_ups = 0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.id))? {
            // A thread may end while the others are looked at.
            let Ok(status) = std::fs::read_to_string(thread?.path().join("status")) else { continue };
            wake_ups += field(&status, "voluntary_ctxt_switches:").context("/proc has no wake-ups")?;
        }
        let cpu = Duration::from_secs(ticks) / u32::try_from(clock_ticks_per_second())?;
        Ok(Usage { cpu, wake_ups })
    }

    /// The bytes of its memory that are resident.
    pub(crate) fn resident(self) -> Result<u64> {
        let kibibytes = field(&self.read("status")?, "VmRSS:").context("/proc has no resident memory")?;
        Ok(kibibytes << 10)
    }

    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.id);
        std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            wake_ups: self.wake_ups.saturating_sub(earlier.wake_ups),
        }
    }
}

/// User and system time in `/proc/PID/stat`. The second field, a name in parentheses, may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    // Fields 14 and 15, the name being the second.
    let mut times = after_name.split_ascii_whitespace().skip(11);
    let mut next = || times.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// The number that stands behind a name, such as `VmRSS:`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "4711 (a) b) S 1 4711 4711 0 -1 4194560 100 0 0 0 123 45 0 0 20 0 5 0 99 1 2 3";
        assert_eq!(cpu_ticks(stat), Some(168));
        assert_eq!(cpu_ticks("4711 (short) S 1"), None);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status =
            "Name:\tx\nVmRSS:\t  1234 kB\nnonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t42\n";
        assert_eq!(field(status, "VmRSS:"), Some(1234));
        assert_eq!(field(status, "voluntary_ctxt_switches:"), Some(42));
        assert_eq!(field(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_resides_somewhere() {
        let resident = Process::new(std::process::id()).resident().unwrap();
        assert!((1 << 20..1 << 36).contains(&resident), "{resident}");
    }

    #[test]
    fn a_busy_process_uses_cpu() {
        let process = Process::new(std::process::id());
        let before = process.usage().unwrap();
        let mut work = 0_u64;
        while (process.usage().unwrap() - before).cpu.is_zero() {
            work = std::hint::black_box((0..1_000_000).fold(work, u64::wrapping_add));
        }
    }
}
