//! Client and agent of one session under a virtual clock. Who uses it carries the messages.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ssm_session::{
    AgentConfig, AgentEvent, AgentSession, Config, Habits, Now, Output, PortSession, SessionEvent, StreamId,
    Token, WsMessage,
};

use crate::pattern;

/// From one end to the other.
pub(crate) const ONE_WAY: Duration = Duration::from_millis(10);
/// Exchanges after which what is waited for will not come any more.
const PATIENCE: usize = 1000;
/// Streams that may wait for their connection at once.
const WAVE: usize = 64;
/// Room for messages under way, so that no iteration counts the growth of a queue that is not the session's.
pub(crate) const UNDER_WAY: usize = 4096;

/// Any instant serves as the origin of a virtual clock.
#[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of a virtual clock")]
pub(crate) fn origin() -> Now {
    Now::new(Instant::now(), 1_700_000_000_000)
}

/// A session with both its ends.
pub(crate) struct Pair {
    pub(crate) client: PortSession,
    pub(crate) agent: AgentSession,
    pub(crate) now: Now,
    /// The client's streams.
    pub(crate) streams: Vec<StreamId>,
    /// The same streams by the agent's ids.
    pub(crate) remotes: Vec<StreamId>,
    /// Bytes that the client read.
    pub(crate) downloaded: usize,
    /// Bytes that the agent's destinations read.
    pub(crate) uploaded: usize,
    /// Bytes that the client took over from its applications.
    pub(crate) written: usize,
}

impl Pair {
    /// A session that is up, with that many streams, and an agent without its pause of 1 ms after each message.
    pub(crate) fn new(config: Config, message_bytes: usize, streams: usize) -> Self {
        let habits = Habits { message_bytes, pacing: None, not_ready: Duration::ZERO, ..Habits::default() };
        let now = origin();
        let mut pair = Self {
            client: PortSession::new(config, now, [1; 32]),
            agent: AgentSession::new(AgentConfig { habits, ..AgentConfig::default() }, now, [2; 32]),
            now,
            streams: Vec::new(),
            remotes: Vec::new(),
            downloaded: 0,
            uploaded: 0,
            written: 0,
        };
        pair.agent.handle_connected(&Token::new("agent"), now);
        pair.client.handle_connected(&Token::new("client"), now);
        while pair.streams.len() < streams {
            pair.open(WAVE.min(streams - pair.streams.len()));
        }
        assert!(pair.client.is_up(), "the session does not come up");
        pair
    }

    /// Opens streams; the first byte from the agent proves that they are connected, and makes room for more.
    fn open(&mut self, count: usize) {
        let known = self.remotes.len();
        for _ in 0..count {
            self.streams.push(self.client.open(self.now).expect("the session is not over"));
        }
        self.settle();
        assert_eq!(self.remotes.len(), self.streams.len(), "streams are missing");
        for remote in &self.remotes[known..] {
            let mut first = Bytes::from_static(b"!");
            self.agent.write(*remote, &mut first, self.now).expect("the stream is open");
        }
        self.settle();
    }

    /// Uploads until messages have their full size and the window has at least this one.
    pub(crate) fn grow(&mut self, payload: usize, window: usize) {
        let data = pattern(64 << 10);
        for _ in 0..PATIENCE {
            if self.client.payload_size() == payload && self.client.statistics().window >= window {
                return self.settle();
            }
            self.write_all(&data);
            self.exchange();
        }
        panic!("the window does not grow: {:?}", self.client.statistics());
    }

    /// Writes that again and again to each stream, until none takes any more.
    pub(crate) fn write_all(&mut self, data: &Bytes) {
        for stream in &self.streams {
            loop {
                let mut data = data.clone();
                self.written += self.client.write(*stream, &mut data, self.now).expect("the stream is open");
                if !data.is_empty() {
                    break;
                }
            }
        }
    }

    /// Carries messages until none is left.
    pub(crate) fn settle(&mut self) {
        for _ in 0..PATIENCE {
            if !self.exchange() {
                assert_eq!(self.written, self.uploaded, "bytes are missing");
                return;
            }
        }
        panic!("there is no end: {:?}", self.client.statistics());
    }

    /// What the client has to say goes to the agent, and the answers come back; answers whether there was anything.
    fn exchange(&mut self) -> bool {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        self.drain_client(&mut up);
        self.pass(ONE_WAY);
        let mut busy = !up.is_empty();
        self.drain_agent(&mut down);
        self.give_agent(&mut up, &mut down);
        self.pass(ONE_WAY);
        busy |= !down.is_empty();
        for frame in down {
            self.give_client(frame);
        }
        busy
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    pub(crate) fn give_client(&mut self, frame: Bytes) {
        self.client.handle_message(WsMessage::Binary(frame), self.now).expect("the agent keeps the rules");
    }

    /// Hands messages to the agent; what it has to say to them is appended to `answers`.
    pub(crate) fn give_agent(&mut self, frames: &mut Vec<Bytes>, answers: &mut Vec<Bytes>) {
        for frame in frames.drain(..) {
            self.agent
                .handle_message(WsMessage::Binary(frame), self.now)
                .expect("the client keeps the rules");
            self.drain_agent(answers);
        }
    }

    /// Pulls what the client has to send, and reads what it has received.
    pub(crate) fn drain_client(&mut self, out: &mut Vec<Bytes>) {
        loop {
            match self.client.poll_output(self.now) {
                Output::Send(WsMessage::Binary(frame)) => out.push(frame),
                Output::Send(WsMessage::Text(_) | WsMessage::Ping(_) | WsMessage::Pong(_)) => {}
                Output::Event(SessionEvent::Readable(stream)) => {
                    while let Some(bytes) = self.client.read(stream, self.now) {
                        self.downloaded += bytes.len();
                    }
                }
                Output::Event(SessionEvent::Ended(end)) => panic!("the session ended: {end}"),
                Output::Event(_) => {}
                Output::Timeout(_) => return,
            }
        }
    }

    /// Pulls what the agent has to send, connects what it wants connected, and reads what it has received.
    pub(crate) fn drain_agent(&mut self, out: &mut Vec<Bytes>) {
        loop {
            match self.agent.poll_output(self.now) {
                Output::Send(WsMessage::Binary(frame)) => out.push(frame),
                Output::Send(WsMessage::Text(_) | WsMessage::Ping(_) | WsMessage::Pong(_)) => {}
                Output::Event(AgentEvent::Dial(stream)) => {
                    self.remotes.push(stream);
                    self.agent.dial_succeeded(stream, self.now);
                }
                Output::Event(AgentEvent::Readable(stream)) => {
                    while let Some(bytes) = self.agent.read(stream, self.now) {
                        self.uploaded += bytes.len();
                    }
                }
                Output::Event(_) => {}
                Output::Timeout(_) => return,
            }
        }
    }
}
