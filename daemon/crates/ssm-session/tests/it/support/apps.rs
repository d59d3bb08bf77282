//! The applications at both ends: each stream uploads and downloads a known pattern, every byte is checked.

use std::collections::BTreeMap;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use ssm_session::{AgentSession, Now, PortSession, StreamId};

const CHUNK: usize = 10_000;
const HEADER: usize = 20;

/// What one connection transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) number: u32,
    pub(crate) upload: u64,
    pub(crate) download: u64,
}

fn pattern(number: u32, direction: u8, from: u64, size: usize) -> Vec<u8> {
    let byte = |at: u64| {
        let mixed =
            at.wrapping_mul(0x9e37_79b9).wrapping_add(u64::from(number) * 7919 + u64::from(direction));
        (mixed >> 13) as u8
    };
    (from..from + size as u64).map(byte).collect()
}

fn check(number: u32, direction: u8, from: u64, data: &[u8]) {
    assert_eq!(
        data,
        pattern(number, direction, from, data.len()),
        "job {number} direction {direction} at {from}"
    );
}

/// The local application of one stream.
#[derive(Debug)]
pub(crate) struct LocalApp {
    pub(crate) job: Job,
    written: u64,
    unsent: Bytes,
    pub(crate) received: u64,
    pub(crate) finished: bool,
    pub(crate) closed: bool,
}

impl LocalApp {
    pub(crate) fn start(job: Job) -> Self {
        let mut header = BytesMut::with_capacity(HEADER);
        header.put_u32(job.number);
        header.put_u64(job.upload);
        header.put_u64(job.download);
        Self { job, written: 0, unsent: header.freeze(), received: 0, finished: false, closed: false }
    }

    /// Writes until the session takes no more or all is written.
    pub(crate) fn write(&mut self, stream: StreamId, session: &mut PortSession, now: Now) {
        loop {
            if self.unsent.is_empty() {
                let size = (self.job.upload - self.written).min(CHUNK as u64) as usize;
                if size == 0 {
                    return;
                }
                self.unsent = pattern(self.job.number, 0, self.written, size).into();
                self.written += size as u64;
            }
            let before = self.unsent.len();
            let accepted = session.write(stream, &mut self.unsent, now).expect("stream is open");
            assert_eq!(before - accepted, self.unsent.len());
            if !self.unsent.is_empty() {
                return;
            }
        }
    }

    pub(crate) fn read(&mut self, stream: StreamId, session: &mut PortSession, now: Now) {
        while let Some(data) = session.read(stream, now) {
            check(self.job.number, 1, self.received, &data);
            self.received += data.len() as u64;
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.closed && self.finished && self.received == self.job.download
    }
}

/// The destination of one stream: reads the header, takes the upload, sends the download, closes.
#[derive(Debug, Default)]
pub(crate) struct RemoteApp {
    header: BytesMut,
    job: Option<Job>,
    received: u64,
    written: u64,
    unsent: Bytes,
    finished: bool,
}

impl RemoteApp {
    pub(crate) fn read(&mut self, stream: StreamId, session: &mut AgentSession, now: Now) {
        while let Some(mut data) = session.read(stream, now) {
            if self.job.is_none() {
                let missing = HEADER - self.header.len();
                self.header.extend_from_slice(&data.split_to(missing.min(data.len())));
                if self.header.len() < HEADER {
                    continue;
                }
                let mut header = self.header.split();
                let (number, upload, download) = (header.get_u32(), header.get_u64(), header.get_u64());
                self.job = Some(Job { number, upload, download });
            }
            if let Some(job) = self.job {
                check(job.number, 0, self.received, &data);
                self.received += data.len() as u64;
            }
        }
        self.write(stream, session, now);
    }

    pub(crate) fn write(&mut self, stream: StreamId, session: &mut AgentSession, now: Now) {
        let Some(job) = self.job else { return };
        loop {
            if self.unsent.is_empty() {
                let size = (job.download - self.written).min(CHUNK as u64) as usize;
                if size == 0 {
                    break;
                }
                self.unsent = pattern(job.number, 1, self.written, size).into();
                self.written += size as u64;
            }
            // The client may have closed in the meantime.
            if session.write(stream, &mut self.unsent, now).is_err() || !self.unsent.is_empty() {
                return;
            }
        }
        if self.received == job.upload && !self.finished {
            self.finished = true;
            session.finish(stream, now);
        }
    }
}

/// Applications by stream.
pub(crate) type Apps<A> = BTreeMap<StreamId, A>;
