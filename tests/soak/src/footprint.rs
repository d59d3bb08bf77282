//! What the daemon holds: threads, descriptors, memory.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// How often a daemon that still holds too much is looked at again.
const LOOK: Duration = Duration::from_millis(100);

/// What one process holds at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
    /// Resident memory.
    pub(crate) bytes: u64,
}

impl Footprint {
    /// Of a process of this user, now.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let status = std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
        let of = |name| field(&status, name).with_context(|| format!("{path} has no {name}"));
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        Ok(Self {
            threads: of("Threads:")?,
            descriptors: u64::try_from(descriptors)?,
            bytes: of("VmRSS:")? << 10,
        })
    }

    /// Waits until a process holds no more than this and `slack` bytes of memory; answers what it holds then. What is
    /// still being closed takes a moment.
    pub(crate) async fn regained(self, pid: u32, slack: u64, deadline: Duration) -> Result<Self> {
        let mut looks = tokio::time::interval(LOOK);
        let mut last = Self::of(pid)?;
        let settling = async {
            loop {
                looks.tick().await;
                last = Self::of(pid)?;
                let grown = last.threads > self.threads
                    || last.descriptors > self.descriptors
                    || last.bytes > self.bytes + slack;
                if !grown {
                    return Ok(last);
                }
            }
        };
        match tokio::time::timeout(deadline, settling).await {
            Ok(settled) => settled,
            Err(_) => bail!("the daemon grew: {self} before, {last} after, and it stays so for {deadline:?}"),
        }
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { threads, descriptors, bytes } = self;
        write!(f, "{threads} threads, {descriptors} descriptors, {:.1} MB", *bytes as f64 / 1e6)
    }
}

/// The number behind a name, such as `VmRSS:`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_opens_a_file_has_grown_until_it_closes_it() {
        let pid = std::process::id();
        let before = Footprint { threads: u64::MAX, bytes: u64::MAX - 1, ..Footprint::of(pid).unwrap() };
        let less = Footprint { descriptors: before.descriptors - 1, ..before };
        let error = less.regained(pid, 0, Duration::from_millis(300)).await.unwrap_err();
        assert!(error.to_string().contains("the daemon grew"), "{error}");
        before.regained(pid, 0, Duration::from_secs(20)).await.unwrap();
    }
}
