//! The agent: one `AgentSession` per session, driven with real sockets.
//!
//! It reaches the gateway through the session's lines instead of a WebSocket of its own; everything else is as on a
//! managed node: it connects, reconnects after 100 to 199 ms, dials, refuses forbidden hosts, and can crash.

mod stream;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ssm_session::{
    AgentConfig, AgentEnd, AgentEvent, AgentSession, Habits, Output, ProtocolError, Resend, StreamId, Token,
    WsMessage,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::stream::{Events, StreamEvent, StreamHandle, Way};
use crate::clock;
use crate::config::AgentHabits;
use crate::counters::Counter;
use crate::credentials::fill_random;
use crate::gateway::frames;
use crate::gateway::session::{Session, Wires};
use crate::hosts::{Destination, is_service_address};
use crate::world::World;

/// Events of connections on their way to the driver: each connection has at most three there.
const EVENT_CAPACITY: usize = 64;
/// Frames taken in before what they caused is sent: few enough that they are little beside what destinations may leave
/// untaken.
const BATCH: usize = 16;
/// The agent resends at most once per this time when it resends only the oldest message.
const RESEND_TICK: Duration = Duration::from_millis(100);
/// What the service says when the session's worker is gone.
const CRASH_OUTPUT: &str = "document process failed unexpectedly: ipc messaging received timeout signal , check \
                            [ssm-document-worker]/[ssm-session-worker] log for crash reason";

/// How one connection to the gateway ended.
enum Exit {
    /// Cut: reconnect.
    Cut,
    /// The session is over.
    Over,
    /// The agent ended it.
    Ended(AgentEnd),
    /// The worker died.
    Crashed,
    /// The client broke the protocol.
    Violated(ProtocolError),
}

/// Serves one session until it is over.
pub(crate) async fn run(world: Arc<World>, session: Arc<Session>) {
    let Some(mut offline) = world.instance(&session.target, &session.request.region) else { return };
    tokio::time::sleep(Duration::from_millis(session.habits.start_delay_ms)).await;
    let mut driver = Driver::new(Arc::clone(&world), Arc::clone(&session));
    loop {
        let present = async { offline.wait_for(|offline| !offline).await.is_ok() };
        if session.over.run_until_cancelled(present).await != Some(true) {
            return;
        }
        let Some(mut wires) = session.attach_agent() else { return };
        world.counters.increment(Counter::AgentConnects);
        let exit = driver.drive(&mut wires).await;
        session.detach_agent(wires.generation);
        match exit {
            Exit::Cut => driver.agent.handle_disconnected(clock::now()),
            Exit::Over => return,
            Exit::Ended(AgentEnd::Terminated) => return session.end(""),
            Exit::Ended(AgentEnd::Failed { output } | AgentEnd::ServiceClosed { output }) => {
                return session.end(&output);
            }
            Exit::Violated(error) => {
                world.counters.increment(Counter::AgentViolations);
                tracing::warn!(%error, session = session.id, "the client broke the protocol");
                return session.end(&error.to_string());
            }
            Exit::Crashed => {
                drop(driver);
                let notice = Duration::from_millis(session.habits.crash_notice_ms);
                session.over.run_until_cancelled(tokio::time::sleep(notice)).await;
                return session.end(CRASH_OUTPUT);
            }
        }
        session.over.run_until_cancelled(tokio::time::sleep(reconnect_delay())).await;
    }
}

/// 100 to 199 ms, as AWS's agent begins.
fn reconnect_delay() -> Duration {
    let mut random = [0];
    fill_random(&mut random);
    Duration::from_millis(100 + u64::from(random[0]) % 100)
}

struct Driver {
    world: Arc<World>,
    session: Arc<Session>,
    agent: AgentSession,
    streams: HashMap<StreamId, StreamHandle>,
    events: Events,
    events_end: mpsc::Receiver<(StreamId, StreamEvent)>,
    /// Between the end of the handshake and the agent's readiness.
    not_ready: bool,
    /// Resolved when the session started.
    destination: Option<Destination>,
    exit: Option<Exit>,
}

impl Driver {
    fn new(world: Arc<World>, session: Arc<Session>) -> Self {
        let mut seed = [0; 32];
        fill_random(&mut seed);
        let (events, events_end) = mpsc::channel(EVENT_CAPACITY);
        let agent = AgentSession::new(agent_config(&session), clock::now(), seed);
        Self {
            world,
            session,
            agent,
            streams: HashMap::new(),
            events,
            events_end,
            not_ready: false,
            destination: None,
            exit: None,
        }
    }

    /// Runs the session over one connection to the gateway.
    async fn drive(&mut self, wires: &mut Wires) -> Exit {
        // The gateway knows its own agent: the token in its open message is not looked at.
        self.agent.handle_connected(&Token::new(self.session.grant().token), clock::now());
        let session = Arc::clone(&self.session);
        let mut arrived = Vec::with_capacity(BATCH);
        loop {
            let (deadline, full) = self.drain();
            if let Some(exit) = self.exit.take() {
                return exit;
            }
            let wants_input = self.agent.wants_input();
            tokio::select! {
                biased;
                () = session.over.cancelled() => return Exit::Over,
                () = session.crash.cancelled() => return Exit::Crashed,
                () = wires.cut.cancelled() => return Exit::Cut,
                room = session.to_client.entrance.reserve(), if full => match room {
                    Ok(room) => drop(room),
                    Err(_) => return Exit::Over,
                },
                () = sleep_until(deadline) => self.agent.handle_timeout(clock::now()),
                received = wires.frames.recv_many(&mut arrived, BATCH), if wants_input => {
                    if received == 0 {
                        return Exit::Cut;
                    }
                    for frame in arrived.drain(..) {
                        if let Err(error) = self.on_frame(frame) {
                            return Exit::Violated(error);
                        }
                    }
                }
                event = self.events_end.recv() => if let Some((stream, event)) = event {
                    self.on_stream_event(stream, event);
                },
            }
        }
    }

    fn on_frame(&mut self, frame: Bytes) -> Result<(), ProtocolError> {
        if self.not_ready && frames::is_numbered(&frame) {
            self.world.counters.increment(Counter::AgentNotReady);
        }
        self.agent.handle_message(WsMessage::Binary(frame), clock::now())
    }

    /// Everything the session has to say now; then when to come back, and whether the line was full.
    fn drain(&mut self) -> (Option<Instant>, bool) {
        let session = Arc::clone(&self.session);
        loop {
            let now = clock::now();
            let room = session.to_client.entrance.try_reserve().ok();
            let output =
                if room.is_some() { self.agent.poll_output(now) } else { self.agent.poll_event(now) };
            match (output, room) {
                (Output::Send(WsMessage::Binary(frame)), Some(room)) => room.send(frame),
                (Output::Send(WsMessage::Ping(payload)), _) => self.on_pong(payload),
                // The open message, see above; pongs have nobody who waits for them.
                (Output::Send(_), _) => {}
                (Output::Event(event), _) => self.on_event(event),
                (Output::Timeout(at), room) => {
                    let full = room.is_none();
                    let soonest = Instant::now() + Duration::from_millis(1);
                    let at = at.map(Instant::from_std);
                    // A full line makes overdue what only room in it can help.
                    return (if full { at.map(|at| at.max(soonest)) } else { at }, full);
                }
            }
        }
    }

    /// The gateway answers pings of its own agent.
    fn on_pong(&mut self, payload: Bytes) {
        if let Err(error) = self.agent.handle_message(WsMessage::Pong(payload), clock::now()) {
            self.exit = Some(Exit::Violated(error));
        }
    }

    fn on_event(&mut self, event: AgentEvent) {
        match event {
            AgentEvent::HandshakeComplete { .. } => {
                self.world.counters.increment(Counter::AgentHandshakes);
                self.not_ready = true;
                match self.resolve() {
                    Ok(destination) => self.destination = Some(destination),
                    Err(output) => self.agent.fail(output, clock::now()),
                }
            }
            AgentEvent::Dial(stream) => self.dial(stream),
            AgentEvent::Readable(stream) => self.feed_destination(stream),
            AgentEvent::Writable(stream) => self.feed_session(stream),
            AgentEvent::PeerFinished(stream) => {
                if let Some(handle) = self.streams.get_mut(&stream) {
                    handle.close();
                }
            }
            AgentEvent::Closed(stream) => {
                self.streams.remove(&stream);
            }
            AgentEvent::ChannelDead => self.exit = Some(Exit::Cut),
            AgentEvent::Ended(end) => self.exit = Some(Exit::Ended(end)),
            AgentEvent::Ready => self.not_ready = false,
            AgentEvent::Terminated => {}
        }
    }

    fn on_stream_event(&mut self, stream: StreamId, event: StreamEvent) {
        let now = clock::now();
        let Some(handle) = self.streams.get_mut(&stream) else { return };
        match event {
            StreamEvent::Connected => self.agent.dial_succeeded(stream, now),
            StreamEvent::Refused => self.refused(stream),
            StreamEvent::Data(data) => {
                handle.pending = data;
                self.feed_session(stream);
            }
            StreamEvent::Finished => self.agent.finish(stream, now),
            StreamEvent::Written(chunks) => {
                handle.written(chunks);
                self.feed_destination(stream);
            }
            StreamEvent::Broken => {
                self.agent.abort(stream, now);
                self.streams.remove(&stream);
            }
        }
    }

    /// Where the session forwards to, or the text that ends it.
    fn resolve(&self) -> Result<Destination, String> {
        let request = &self.session.request;
        let habits = &self.session.habits;
        let host = request.host.as_deref();
        let destination = self.world.hosts.resolve(host, request.port).map_err(|error| error.to_string())?;
        let forbidden = |address: IpAddr| {
            let loopback = destination.loopback && host.is_some() && habits.deny_loopback;
            loopback || (habits.deny_service_addresses && is_service_address(address))
        };
        match destination.addresses.iter().find(|address| forbidden(address.ip())) {
            Some(address) => Err(format!("Forwarding to IP address {} is forbidden.", address.ip())),
            None => Ok(destination),
        }
    }

    fn dial(&mut self, stream: StreamId) {
        self.world.counters.increment(Counter::AgentDials);
        let anew = if self.session.habits.resolve_once { None } else { self.resolve().ok() };
        let destination = anew.or_else(|| self.destination.clone());
        let addresses = destination.map(|destination| destination.addresses).unwrap_or_default();
        let way = match self.world.silence_of_next_dial(&self.session.id) {
            Some(silence) => Way::Silent(silence),
            None => Way::To(addresses),
        };
        let gauge = self.world.counters.hold(Counter::AgentStreams);
        let surroundings = (self.events.clone(), self.session.over.clone(), gauge);
        let (handle, task) = StreamHandle::new(stream, way, surroundings);
        self.streams.insert(stream, handle);
        self.world.tasks.spawn("agent connection", task.run());
        if !self.session.habits.serial_dialling {
            // The session asks for the next one only after an answer.
            self.agent.dial_succeeded(stream, clock::now());
        }
    }

    fn refused(&mut self, stream: StreamId) {
        self.world.counters.increment(Counter::AgentDialsFailed);
        self.streams.remove(&stream);
        if self.session.habits.serial_dialling {
            self.agent.dial_failed(stream, clock::now());
        } else {
            self.agent.abort(stream, clock::now());
        }
    }

    /// Moves what the destination sent into the session, and lets it read on when all of it is in.
    fn feed_session(&mut self, stream: StreamId) {
        let Some(handle) = self.streams.get_mut(&stream) else { return };
        if handle.pending.is_empty() {
            return;
        }
        if self.agent.write(stream, &mut handle.pending, clock::now()).is_err() {
            // The client is gone; what the destination still says goes nowhere.
            handle.pending.clear();
        }
        if handle.pending.is_empty() {
            handle.read_on();
        }
    }

    /// Moves what the task has room for from the session to the destination.
    fn feed_destination(&mut self, stream: StreamId) {
        let Some(handle) = self.streams.get_mut(&stream) else { return };
        while handle.has_room()
            && let Some(chunk) = self.agent.read(stream, clock::now())
        {
            handle.write(chunk);
        }
    }
}

fn agent_config(session: &Session) -> AgentConfig {
    let habits: &AgentHabits = &session.habits;
    AgentConfig {
        agent_version: habits.agent_version.clone(),
        instance_id: session.target.clone(),
        session_id: session.id.clone(),
        properties: Some(session.request.properties.clone()),
        habits: Habits {
            message_bytes: habits.message_bytes,
            pacing: (habits.pacing_us > 0).then(|| Duration::from_micros(habits.pacing_us)),
            resend: if habits.head_only_resend {
                Resend::HeadOnly { tick: RESEND_TICK }
            } else {
                Resend::AllOverdue
            },
            not_ready: Duration::from_millis(habits.not_ready_ms),
            drain: Duration::from_millis(habits.drain_ms),
        },
        receive_buffer: habits.receive_bucket,
        ..AgentConfig::default()
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
