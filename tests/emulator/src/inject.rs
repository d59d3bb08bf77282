//! What can be made to go wrong. The same type is the argument of [`crate::Emulator::inject`] and the JSON body of
//! `POST /inject`.

use serde::{Deserialize, Serialize};

use crate::config::{AgentHabits, Instance};
use crate::sign_in::SignInOrder;

/// Which way a frame travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Client to agent.
    ToAgent,
    /// Agent to client.
    ToClient,
}

/// What a frame is, as far as the gateway looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    /// `input_stream_data` or `output_stream_data` with bytes of connections.
    Data,
    /// An acknowledgement.
    Ack,
    /// One of the three handshake messages.
    Handshake,
    /// A flag.
    Flag,
    /// Anything else.
    Other,
}

/// Random faults of one direction. All zero: a clean line. Probabilities are 0.0 to 1.0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LineFaults {
    /// Probability that a frame is lost.
    pub loss: f64,
    /// Probability that a frame arrives twice.
    pub duplicate: f64,
    /// Probability that a frame is held back for `reorder_ms`, so that later ones overtake it.
    pub reorder: f64,
    /// How long a reordered frame is held back.
    pub reorder_ms: u64,
    /// Added to every frame, keeping the order.
    pub latency_ms: u64,
    /// Added to the latency: a random time from 0 to this, anew for every frame.
    pub jitter_ms: u64,
    /// Whether a frame with little jitter overtakes those before it. Otherwise it waits for them.
    pub jitter_reorders: bool,
    /// Same seed, same frames, same faults.
    pub seed: u64,
}

/// What is done to a frame on its way to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Corruption {
    /// An additional frame of random bytes, now.
    Garbage,
    /// An additional frame shorter than a header, now.
    TruncatedHeader,
    /// An additional frame whose payload length contradicts its size, now.
    WrongLength,
    /// The next data message gets a wrong digest.
    BadDigest,
    /// The next data message holds bytes that are no multiplexer frame, with a right digest.
    SmuxViolation,
}

/// What ResumeSession answers for a session that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResumeAnswer {
    /// Success with an empty token.
    EmptyToken,
    /// `DoesNotExistException`.
    DoesNotExist,
}

/// One order. `session: None` means every open session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Injection {
    /// Reset the client's TCP connection under the WebSocket.
    DropClient {
        /// Which session's.
        #[serde(default)]
        session: Option<String>,
    },
    /// Reset it after every `bytes` of connection data relayed either way, `times` times per session.
    DropClientEveryBytes {
        /// Bytes between two drops; at least 1.
        bytes: u64,
        /// How often; further sessions count anew.
        times: u32,
    },
    /// Reset it every `every_ms`, `times` times.
    DropClientEvery {
        /// Time between two drops; at least 1.
        every_ms: u64,
        /// How often.
        times: u32,
    },
    /// Close the client's WebSocket politely; the service does so about hourly with 1000 and "Bye".
    CloseClient {
        /// Which session's.
        #[serde(default)]
        session: Option<String>,
        /// Close code.
        code: u16,
        /// At most 123 bytes.
        reason: String,
    },
    /// Close with a control frame larger than the 125 bytes that the WebSocket standard allows.
    OversizeClose {
        /// Which session's.
        #[serde(default)]
        session: Option<String>,
        /// Payload bytes of the frame, 126 to 65535.
        bytes: u16,
    },
    /// Cut the agent's connection; it comes back by itself.
    DropAgent {
        /// Which session's.
        #[serde(default)]
        session: Option<String>,
    },
    /// Cut the connection of every session's agent every `every_ms`, `times` times.
    DropAgentEvery {
        /// Time between two cuts; at least 1.
        every_ms: u64,
        /// How often.
        times: u32,
    },
    /// The session's worker on the node dies. The client hears of it only after `crash_notice_ms`.
    CrashAgent {
        /// Which session's.
        #[serde(default)]
        session: Option<String>,
    },
    /// Random faults of one direction from now on; replaces earlier ones.
    Line {
        /// Which.
        direction: Direction,
        /// What; default clears.
        faults: LineFaults,
    },
    /// Lose the next `count` frames of a kind.
    LoseNext {
        /// Which way.
        direction: Direction,
        /// Which frames.
        frame: FrameKind,
        /// How many.
        count: u32,
    },
    /// Damage something that travels to the client.
    Corrupt {
        /// How.
        corruption: Corruption,
    },
    /// Send the agent `pause_publication`.
    PauseAgent {
        /// Which session's.
        #[serde(default)]
        session: Option<String>,
    },
    /// Send the agent `start_publication`.
    ResumeAgent {
        /// Which session's.
        #[serde(default)]
        session: Option<String>,
    },
    /// Send every agent `pause_publication` and `start_publication` by turns, one of them every `every_ms`, until it was
    /// paused `times` times.
    PauseStorm {
        /// Time between two messages; at least 1.
        every_ms: u64,
        /// How many pauses.
        times: u32,
    },
    /// What travels in one direction over the present connections of clients vanishes, pings and pongs included. TCP stays
    /// open, and the other direction works. It lasts as long as the connection, since what vanished cannot be brought
    /// back; a new connection is whole.
    OneSidedBlackHole {
        /// Which session's.
        #[serde(default)]
        session: Option<String>,
        /// Which direction vanishes.
        direction: Direction,
    },
    /// Connections stay open, nothing passes, pings stay unanswered; `false` ends it.
    BlackHole {
        /// Whether it is on.
        on: bool,
    },
    /// The gateway accepts TCP connections and closes them at once; open ones are reset. `false` ends it.
    GatewayDown {
        /// Whether it is on.
        on: bool,
    },
    /// Refuse the next `count` upgrades.
    RefuseUpgrades {
        /// HTTP status.
        status: u16,
        /// How many.
        count: u32,
    },
    /// End a session as the service does, with a text. An absent client learns it from ResumeSession.
    KillSession {
        /// Which.
        #[serde(default)]
        session: Option<String>,
        /// The reason; may be empty.
        output: String,
    },
    /// The service as it is after a restart: connections of clients are reset, and all sessions are forgotten.
    Restart,
    /// The next `count` sessions get an agent that never speaks.
    SilentAgents {
        /// How many.
        count: u32,
    },
    /// The next `count` connections that agents make to destinations get no answer, as from a host behind a firewall that
    /// drops packets, and fail after `for_ms`.
    BlackHoleDials {
        /// Which session's agent; absent: whichever dials next.
        #[serde(default)]
        session: Option<String>,
        /// How many.
        count: u32,
        /// How long the agent's system waits (about two minutes on Linux).
        for_ms: u64,
    },
    /// Sessions from now on get agents with these habits.
    Habits {
        /// The habits.
        habits: AgentHabits,
    },
    /// A node's agent is not connected; its open sessions lose their agent until it is back.
    InstanceOffline {
        /// Which.
        instance: String,
        /// Whether it is away.
        offline: bool,
    },
    /// A node comes into being, its agent online.
    AddInstance {
        /// The node.
        instance: Instance,
    },
    /// A node is terminated, a container with its task; its agent never comes back.
    TerminateInstance {
        /// Which.
        instance: String,
        /// The service ends its sessions at once. Otherwise they stay open, silent, with their gateway answering.
        end_sessions: bool,
    },
    /// Credentials are expired from now on, or valid again.
    ExpireCredentials {
        /// Which key; absent: all.
        #[serde(default)]
        access_key_id: Option<String>,
        /// Whether they are expired.
        expired: bool,
    },
    /// An action is denied, or allowed again.
    Deny {
        /// As in IAM: `ssm:StartSession`, `ssm:ResumeSession`, `ssm:TerminateSession`, `ssmmessages:OpenDataChannel`,
        /// `ssm:GetConnectionStatus`, `ssm:DescribeInstanceInformation`, `ec2:DescribeInstances`, `ecs:ListClusters`,
        /// `ecs:ListTasks`, `ecs:DescribeTasks`, `sts:AssumeRole`, `sts:AssumeRoleWithWebIdentity`,
        /// `sso:GetRoleCredentials`.
        action: String,
        /// Whether it is denied.
        denied: bool,
    },
    /// The next `count` API calls are throttled.
    Throttle {
        /// How many.
        count: u32,
    },
    /// The next StartSession answers with this stream URL.
    StreamUrl {
        /// Any text.
        url: String,
    },
    /// What ResumeSession answers for a session that is over.
    AnswerResume {
        /// The answer.
        answer: ResumeAnswer,
    },
    /// Something about sign-in and credentials.
    SignIn {
        /// What.
        order: SignInOrder,
    },
    /// Ends every standing injection: lines clean, nothing denied, throttled, expired, offline or down, no more drops,
    /// cuts or pauses, dials without an answer fail. What was ordered "for the next …" is forgotten. Habits stay, and so
    /// do connections with a one-sided black hole.
    Calm,
}
