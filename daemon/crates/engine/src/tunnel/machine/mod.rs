//! Every decision about a tunnel, without a clock, a task or a socket.
//!
//! One input, then [`TunnelMachine::poll_output`] until it answers [`Output::Timeout`]. Work that the machine asks
//! for carries an [`Attempt`]; its answer must carry the same, and is dropped when the machine has moved on.
//!
//! A row reads: in that state, on that input, go there and have that done. What is not in the table changes nothing.
//!
//! | state | input | next | effects |
//! |---|---|---|---|
//! | Stopped | Run, Restart | Binding | BindListener |
//! | Binding | ListenerBound, on demand and nobody waits | Idle | |
//! | Idle | a local connection waits; Run, unless on demand | Starting | StartSession |
//! | Stopped | Delete | Stopped | Finished |
//! | Binding | ListenerBound | Starting | StartSession |
//! | Starting | Admitted | Starting, connect timeout runs | |
//! | Starting | SessionStarted | Opening | Dial |
//! | Opening | ChannelOpened | Opening, handshake awaited | |
//! | Opening | HandshakeUp | Up | |
//! | Opening, Up | ChannelLost | Resuming | after a wait: ResumeSession |
//! | Resuming | Resumed | Resuming | Dial |
//! | Resuming | ChannelOpened | Up, or Opening when the handshake is still to come | |
//! | Resuming | ResumeFailed, ChannelFailed: the network | Resuming | after a wait: ResumeSession |
//! | Up, Resuming | SessionEnded, SessionGone: by AWS, and nobody used it, and it is not kept warm | Idle | EndSession |
//! | Up, Resuming | other SessionEnded, SessionGone: first since it proved itself | Starting | EndSession, StartSession |
//! | Binding .. Resuming | any other failure that passes | Retrying | EndSession; a timer |
//! | Binding .. Resuming | any other failure that a person ends | Blocked | EndSession, ResetHeld |
//! | Starting .. Resuming | the connect timeout | Retrying | EndSession; a timer |
//! | Retrying | its time has come, Run | Binding or Starting | BindListener or StartSession |
//! | Retrying | a local connection waits | Retrying, in 5 s at most | |
//! | Retrying, on demand | none waits any more | Idle | |
//! | Opening, Up: a channel is open | Disturbed | as before | Verify |
//! | Resuming | Disturbed | Resuming, at once; a step that was under way begins anew | |
//! | Retrying | Disturbed | Retrying, at once | |
//! | Blocked | Run; for a sign-in: a minute passed | Binding or Starting | BindListener or StartSession |
//! | Blocked by a taken port | 5 s passed | Blocked | BindListener |
//! | Blocked by a taken port | ListenerBound | Starting or Idle | StartSession |
//! | any of the above | Restart | Binding or Starting, failures forgotten | EndSession, StartSession |
//! | any of the above | SpecChanged | as Restart for another session; another listener alone leaves the session | CloseListener, BindListener |
//! | any but Stopped | Stop, Delete | Stopping | CloseListener, ResetHeld, EndSession |
//! | Stopping | Run, Restart, Stop, Delete | Stopping, which remembers what comes next | |
//! | Stopping | all sessions closed, or its time is over | Stopped, or Binding for Restart | Finished after Delete |
//! | any | SessionStarted that nobody waits for any more | | EndSession |
//! | Up | 60 s passed | Up, failures forgotten | |
//!
//! Blocked stays on Disturbed: what a person must mend is not mended by a network, and a network that fails is Retrying.
//! "At once" is somewhere in the next second, so that a thousand tunnels do not leave together.

mod disturbed;
mod transitions;

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use stormtunnel_model::{
    Attempt, ConnectStep, Fault, FaultKind, Keep, Recovery, SessionCount, Timestamp, TunnelState,
};

pub use self::disturbed::RETURN_WITHIN;
use crate::clock::Now;
use crate::retry::Backoff;

/// Longest wait between two attempts.
pub const RETRY_CAP: Duration = Duration::from_secs(15);
/// The same while a local connection waits for the tunnel.
pub const RETRY_CAP_WAITING: Duration = Duration::from_secs(5);
/// A tunnel that was up for so long has proved itself: earlier failures are forgotten.
pub const PROVED_AFTER: Duration = Duration::from_secs(60);
/// A channel that lived for so long is resumed without any wait.
pub const RESUME_AT_ONCE_AFTER: Duration = Duration::from_secs(10);
/// How often a tunnel that waits for a sign-in looks whether it happened.
pub const SIGN_IN_RECHECK: Duration = Duration::from_secs(60);
/// How often a tunnel whose port is taken tries to take it.
pub const PORT_RECHECK: Duration = Duration::from_secs(5);
/// How long a stop waits for AWS to confirm the end of the session. The ending itself goes on after it.
pub const STOP_WAIT: Duration = Duration::from_secs(10);

/// Attempts of machines that share an actor are this far apart, so that no two of them ever have one in common.
pub const LANES: u64 = SessionCount::MAX as u64;

/// What a tunnel is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The user's will.
    Command(Command),
    /// What became of work that the machine asked for.
    Answer(Attempt, Answer),
    /// News of the session that was started in that attempt.
    Session(Attempt, SessionNews),
    /// Whether local connections wait for the tunnel.
    Waiting(bool),
    /// Something happened to the machine that may have cost connections, or may have brought them back: it slept, its
    /// network changed, its clock was set.
    Disturbed,
}

/// The user's will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run; now, if it is waiting to try again.
    Run,
    /// End the session, close the listener.
    Stop,
    /// A new session; the listener stays.
    Restart,
    /// Stop for good.
    Delete,
    /// The spec is another one.
    SpecChanged {
        /// The session does not fit it any more.
        session: bool,
        /// The listener does not fit it any more.
        listener: bool,
    },
}

/// What became of work that the machine asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The local port is bound.
    ListenerBound,
    /// It is not.
    ListenerFailed(Fault),
    /// The call that starts the session is sent now: the connect timeout runs.
    Admitted {
        /// The connect timeout.
        within: Duration,
        /// How much longer the session may take to start, because a person types a code for its credentials.
        patience: Duration,
    },
    /// The session exists.
    SessionStarted,
    /// It does not.
    SessionFailed(Fault),
    /// The session has a new token.
    Resumed,
    /// It has none, for now.
    ResumeFailed(Fault),
    /// The session is over.
    SessionGone {
        /// No local connection had used it for a while.
        unused: bool,
    },
    /// The data channel is open.
    ChannelOpened,
    /// It is not.
    ChannelFailed(Fault),
}

/// News of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionNews {
    /// The handshake is complete and the agent acknowledged a message sent after it.
    HandshakeUp,
    /// The data channel that was dialled in `channel` is gone.
    ChannelLost {
        /// Which.
        channel: Attempt,
        /// Something came through it.
        proven: bool,
        /// Why.
        fault: Fault,
    },
    /// The session can not go on.
    Ended {
        /// Why.
        fault: Fault,
        /// AWS ended it: there is nothing left to end.
        over: bool,
        /// No local connection had used it for a while.
        unused: bool,
    },
    /// Nothing of it is left, at AWS and here.
    Closed,
}

/// What the tunnel has to have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Bind the local port.
    BindListener(Attempt),
    /// Close the local port.
    CloseListener,
    /// Start a session.
    StartSession(Attempt),
    /// Open a data channel for the session with the token it got last.
    Dial(Attempt),
    /// Get a new token for the session.
    ResumeSession(Attempt),
    /// Have the data channel of the session that was started in that attempt prove that it works.
    Verify(Attempt),
    /// End the session that was started in that attempt, and all its connections.
    EndSession {
        /// Which.
        session: Attempt,
        /// AWS ended it: only clean up here.
        over: bool,
        /// What it ended of; absent when the user's will was the reason.
        fault: Option<Fault>,
    },
    /// Reset the connections that wait for the tunnel.
    ResetHeld,
    /// Remember this fault: it happened, even if the tunnel recovers at once.
    Note(Fault),
    /// Show this.
    Publish(TunnelState),
    /// The tunnel is deleted: nothing follows.
    Finished,
}

impl Command {
    /// Whether it ends all sessions that there are.
    pub fn ends_session(self) -> bool {
        match self {
            Self::Run | Self::SpecChanged { session: false, .. } => false,
            Self::Stop | Self::Restart | Self::Delete | Self::SpecChanged { session: true, .. } => true,
        }
    }
}

impl Effect {
    /// Whether it is about a session, not about the tunnel as a whole.
    pub fn is_of_session(&self) -> bool {
        match self {
            Self::StartSession(_)
            | Self::Dial(_)
            | Self::ResumeSession(_)
            | Self::Verify(_)
            | Self::EndSession { .. } => true,
            Self::BindListener(_)
            | Self::CloseListener
            | Self::ResetHeld
            | Self::Note(_)
            | Self::Publish(_)
            | Self::Finished => false,
        }
    }
}

/// Answer of [`TunnelMachine::poll_output`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Have this done.
    Effect(Effect),
    /// Nothing more to do before that instant; `None`: before the next input.
    Timeout(Option<Instant>),
}

/// What comes after Stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Rest,
    /// A new start.
    Restart,
    /// The end.
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Stopped,
    Binding,
    /// The next local connection starts a session.
    Idle,
    Starting {
        attempt: Attempt,
        /// Absent until the call is sent.
        deadline: Option<Instant>,
    },
    Opening {
        attempt: Attempt,
        dialling: bool,
        deadline: Instant,
    },
    Up {
        since: Instant,
        /// When the failures are forgotten; absent once they are.
        proved_at: Option<Instant>,
    },
    Resuming {
        step: Resume,
        /// The connect timeout, when the session has not been up yet.
        up_by: Option<Instant>,
    },
    Retrying {
        at: Instant,
        /// `at` as shown: computed once, or each look at the clocks would differ by a rounding.
        shown: Timestamp,
        fault: Fault,
    },
    Blocked {
        fault: Fault,
        recheck: Option<Instant>,
    },
    Stopping {
        then: Then,
        deadline: Instant,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resume {
    Waiting { at: Instant },
    Asking { attempt: Attempt, deadline: Instant },
    Dialling { attempt: Attempt, deadline: Instant },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listener {
    Closed,
    Binding(Attempt),
    Bound,
}

/// The session in use.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    /// The attempt that started it: its name here.
    started: Attempt,
    /// The attempt that opened its present or last channel.
    channel: Attempt,
    /// It was up once.
    was_up: bool,
}

/// The machine of one tunnel.
#[derive(Debug)]
pub struct TunnelMachine {
    state: State,
    listener: Listener,
    session: Option<Session>,
    /// Last number given to work.
    attempt: Attempt,
    /// How often it tried to connect.
    connects: Attempt,
    /// Start calls that were sent and not answered.
    starting: BTreeSet<Attempt>,
    /// Sessions that are being ended.
    closing: BTreeSet<Attempt>,
    /// The connect timeout as it was at the last start; each step of a resume may take as long.
    step_timeout: Duration,
    keep: Keep,
    waiting: bool,
    backoff: Backoff,
    resume_backoff: Backoff,
    effects: VecDeque<Effect>,
    published: Option<TunnelState>,
}

impl TunnelMachine {
    /// A tunnel that is stopped.
    pub fn new(seed: [u8; 32]) -> Self {
        let resume_seed = seed.map(|byte| byte ^ 0x5a);
        Self {
            state: State::Stopped,
            listener: Listener::Closed,
            session: None,
            attempt: Attempt::default(),
            connects: Attempt::default(),
            starting: BTreeSet::new(),
            closing: BTreeSet::new(),
            step_timeout: Duration::from_secs(30),
            keep: Keep::Auto,
            waiting: false,
            backoff: Backoff::new(seed),
            resume_backoff: Backoff::new(resume_seed),
            effects: VecDeque::new(),
            published: Some(TunnelState::Stopped),
        }
    }

    /// A machine of a further session of a tunnel. It has no listener of its own: connections come to it from outside, and it
    /// is to be stopped when they are few. `last` is the last attempt of its predecessor, or its number among the lanes.
    pub fn lane(seed: [u8; 32], last: Attempt) -> Self {
        Self { listener: Listener::Bound, attempt: last, ..Self::new(seed) }
    }

    /// Last number given to work.
    pub fn last_attempt(&self) -> Attempt {
        self.attempt
    }

    /// When to hold a session that nobody uses. Heeded from the next input on.
    pub fn set_keep(&mut self, keep: Keep) {
        self.keep = keep;
    }

    /// Whether a session is on its way, for the first time or again.
    pub fn is_connecting(&self) -> bool {
        matches!(self.state, State::Starting { .. } | State::Opening { .. } | State::Resuming { .. })
    }

    /// Whether its last attempt failed.
    pub fn has_failed(&self) -> bool {
        matches!(self.state, State::Retrying { .. } | State::Blocked { .. })
    }

    /// Whether it waits for somebody who needs a session.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// A tunnel whose actor failed `failures` times in a row: it tries again, later each time.
    pub fn crashed(now: Now, seed: [u8; 32], failures: u32, fault: Fault) -> Self {
        let mut machine = Self::new(seed);
        (1..failures).for_each(|_| machine.backoff.note_failure());
        machine.fail(fault, now);
        machine.publish();
        machine
    }

    /// Takes an input.
    pub fn handle_input(&mut self, input: Input, now: Now) {
        match input {
            Input::Command(command) => self.handle_command(command, now),
            Input::Answer(attempt, answer) => self.handle_answer(attempt, answer, now),
            Input::Session(session, news) => self.handle_news(session, news, now),
            Input::Waiting(waiting) => self.handle_waiting(waiting, now),
            Input::Disturbed => self.disturbed(now),
        }
        self.settle();
    }

    /// Does what is due. Calling it early does no harm.
    pub fn handle_timeout(&mut self, now: Now) {
        self.expire(now);
        self.settle();
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Output {
        match self.effects.pop_front() {
            Some(effect) => Output::Effect(effect),
            None => Output::Timeout(self.next_timeout()),
        }
    }

    /// Whether a listener bound in that attempt is still wanted.
    pub fn wants_listener(&self, attempt: Attempt) -> bool {
        self.listener == Listener::Binding(attempt)
    }

    /// Whether a start call of that attempt is still wanted.
    pub fn wants_session(&self, attempt: Attempt) -> bool {
        matches!(self.state, State::Starting { attempt: current, .. } if current == attempt)
    }

    /// The session that a channel dialled in that attempt belongs to, if it is still wanted.
    pub fn wants_channel(&self, attempt: Attempt) -> Option<Attempt> {
        let current = match self.state {
            State::Opening { attempt, dialling: true, .. }
            | State::Resuming { step: Resume::Dialling { attempt, .. }, .. } => Some(attempt),
            State::Stopped
            | State::Binding
            | State::Idle
            | State::Starting { .. }
            | State::Opening { .. }
            | State::Up { .. }
            | State::Resuming { .. }
            | State::Retrying { .. }
            | State::Blocked { .. }
            | State::Stopping { .. } => None,
        };
        current.filter(|current| *current == attempt)?;
        self.session.as_ref().map(|session| session.started)
    }

    /// Whether a new token asked for in that attempt is still wanted.
    pub fn wants_resumption(&self, attempt: Attempt) -> bool {
        matches!(self.state, State::Resuming { step: Resume::Asking { attempt: current, .. }, .. } if current == attempt)
    }

    /// The session to open connections on, while the tunnel is up.
    pub fn session_up(&self) -> Option<Attempt> {
        let session = self.session.as_ref().map(|session| session.started);
        session.filter(|_| matches!(self.state, State::Up { .. }))
    }

    /// The session in use, up or not.
    pub fn session(&self) -> Option<Attempt> {
        self.session.as_ref().map(|session| session.started)
    }

    /// Whether a local connection may wait for the tunnel.
    pub fn holds_connections(&self) -> bool {
        !matches!(self.state, State::Stopped | State::Blocked { .. } | State::Stopping { .. })
    }

    /// Whether nothing runs and nothing is left.
    pub fn is_stopped(&self) -> bool {
        self.state == State::Stopped
    }

    /// Number of the current or last attempt to connect.
    pub fn connects(&self) -> Attempt {
        self.connects
    }

    /// What to show.
    pub fn shown(&self) -> TunnelState {
        let connecting = |step| TunnelState::Connecting { step };
        match &self.state {
            State::Stopped => TunnelState::Stopped,
            State::Binding => connecting(ConnectStep::Listener),
            State::Idle => TunnelState::Idle,
            State::Starting { .. } => connecting(ConnectStep::Session),
            State::Opening { .. } => connecting(ConnectStep::Channel),
            State::Up { .. } => TunnelState::Up,
            State::Resuming { .. } => connecting(ConnectStep::Resume),
            State::Retrying { shown, fault, .. } => {
                TunnelState::Retrying { at: *shown, fault: fault.clone() }
            }
            State::Blocked { fault, .. } => TunnelState::Blocked { fault: fault.clone() },
            State::Stopping { .. } => TunnelState::Stopping,
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Stopped | State::Binding | State::Idle => None,
            State::Starting { deadline, .. } => *deadline,
            State::Opening { deadline, .. } | State::Stopping { deadline, .. } => Some(*deadline),
            State::Up { proved_at, .. } => *proved_at,
            State::Resuming { step, up_by } => Some(up_by.map_or(step.due(), |up_by| up_by.min(step.due()))),
            State::Retrying { at, .. } => Some(*at),
            State::Blocked { recheck, .. } => *recheck,
        }
    }
}

impl Resume {
    fn due(self) -> Instant {
        match self {
            Self::Waiting { at: due }
            | Self::Asking { deadline: due, .. }
            | Self::Dialling { deadline: due, .. } => due,
        }
    }
}

#[cfg(test)]
mod tests;
