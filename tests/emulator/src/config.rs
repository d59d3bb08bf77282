//! What an emulator is started with.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::credentials::AccessKey;
use crate::inject::ResumeAnswer;
use crate::sign_in::{Lifetimes, Portal, SignInHabits};

/// Settings of one emulator. `Config::default()` is plain HTTP on free ports with one instance.
#[derive(Clone, Debug)]
pub struct Config {
    /// Region of the endpoints; calls signed for another one find no instance.
    pub region: String,
    /// Account number in every ARN.
    pub account: String,
    /// Managed nodes that exist.
    pub instances: Vec<Instance>,
    /// Who may call. Empty: one long-lived key with a random secret is made at the start.
    pub access_keys: Vec<AccessKey>,
    /// Who the keys of `access_keys` belong to, as ARN. Keys that the emulator issued belong to their role.
    pub principal: String,
    /// What session ids begin with. A federated user's name holds an `@`.
    pub session_prefix: String,
    /// Serve https and wss with a certificate of the emulator's own authority.
    pub tls: bool,
    /// Where to write the authority's certificate as PEM. `None` with `tls`: only [`crate::Emulator::ca_pem`] has it.
    pub ca_path: Option<PathBuf>,
    /// With `tls`: what the proxy asks of whoever goes through it, a user and a password.
    pub proxy_login: Option<(String, String)>,
    /// Name the gateway in `StreamUrl` as AWS does, by a name that only the proxy leads to.
    pub aws_stream_urls: bool,
    /// Port of the SSM API; 0: any free one.
    pub port: u16,
    /// Port of the message gateway; 0: any free one.
    pub gateway_port: u16,
    /// Port of the control API, always plain HTTP; 0: any free one.
    pub control_port: u16,
    /// Refuse upgrades without a valid signature (the service is moving there; the official client signs).
    pub require_signature: bool,
    /// Refuse the second use of a token. The service's own rule is unknown; a strict one finds more mistakes.
    pub one_use_tokens: bool,
    /// What ResumeSession answers for a session that is over.
    pub resume_answer: ResumeAnswer,
    /// How agents behave.
    pub habits: AgentHabits,
    /// Where one can sign in.
    pub portals: Vec<Portal>,
    /// How long what sign-in and the metadata services issue lasts.
    pub lifetimes: Lifetimes,
    /// How the token service and its user behave.
    pub sign_in: SignInHabits,
    /// Roles that can be assumed.
    pub roles: Vec<Role>,
    /// ARN of the role that the instance metadata service gives credentials of; `None`: the instance has no role.
    pub instance_role: Option<String>,
    /// ARN of the role that containers get credentials of; `None`: they get none.
    pub task_role: Option<String>,
    /// Port of the metadata services, always plain HTTP; 0: any free one.
    pub metadata_port: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            region: "eu-central-1".into(),
            account: "123456789012".into(),
            instances: vec![Instance::new("i-0123456789abcdef0")],
            access_keys: Vec::new(),
            principal: "arn:aws:sts::123456789012:assumed-role/Developer/me@corp.example".into(),
            session_prefix: "me@corp.example".into(),
            tls: false,
            ca_path: None,
            proxy_login: None,
            aws_stream_urls: false,
            port: 0,
            gateway_port: 0,
            control_port: 0,
            require_signature: true,
            one_use_tokens: true,
            resume_answer: ResumeAnswer::EmptyToken,
            habits: AgentHabits::default(),
            portals: vec![
                Portal::new("https://d-1234567890.awsapps.com/start", "me@corp.example")
                    .account("123456789012", &["Developer", "Administrator"]),
            ],
            lifetimes: Lifetimes::default(),
            sign_in: SignInHabits::default(),
            roles: Vec::new(),
            instance_role: None,
            task_role: None,
            metadata_port: 0,
        }
    }
}

/// A managed node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// `i-…`, `mi-…` or `ecs:…`.
    pub id: String,
    /// Where it is; `None`: the emulator's region.
    #[serde(default)]
    pub region: Option<String>,
    /// Its tags, for EC2.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Its private address, for EC2 and ECS.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// When it was launched or started (RFC 3339).
    #[serde(default = "launch_time")]
    pub launched_at: String,
    /// Its agent is known to Session Manager; for a container: it has the agent of ECS Exec.
    #[serde(default = "registered")]
    pub registered: bool,
    /// What it is to ECS; only for `ecs:CLUSTER_TASK_RUNTIME`, of which those with the same cluster and task are one task.
    #[serde(default)]
    pub container: Option<Container>,
}

/// What a node is to ECS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// The service that its task is of.
    pub service: String,
    /// Its name in the task.
    pub name: String,
}

fn launch_time() -> String {
    "2026-01-01T00:00:00.000Z".to_owned()
}

fn registered() -> bool {
    true
}

impl Instance {
    /// A node in the emulator's region.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            region: None,
            tags: BTreeMap::new(),
            address: None,
            launched_at: launch_time(),
            registered: registered(),
            container: None,
        }
    }

    /// The same node as that container of a task of that service.
    #[must_use]
    pub fn container(self, service: impl Into<String>, name: impl Into<String>) -> Self {
        Self { container: Some(Container { service: service.into(), name: name.into() }), ..self }
    }

    /// The same node with a tag.
    #[must_use]
    pub fn tagged(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// The same node with that private address.
    #[must_use]
    pub fn at(self, address: impl Into<Ipv4Addr>) -> Self {
        Self { address: Some(address.into()), ..self }
    }

    /// The same node, launched at another time (RFC 3339).
    #[must_use]
    pub fn launched(self, at: impl Into<String>) -> Self {
        Self { launched_at: at.into(), ..self }
    }

    /// Its private DNS name, which AWS makes of the address.
    #[must_use]
    pub fn dns_name(&self, region: &str) -> Option<String> {
        let address = self.address?.to_string().replace('.', "-");
        Some(format!("ip-{address}.{region}.compute.internal"))
    }
}

/// A role of IAM that can be assumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// `arn:aws:iam::ACCOUNT:role/[PATH/]NAME`.
    pub arn: String,
    /// What the ARN of the caller has to begin with, one of these; empty: whoever has keys.
    pub trusts: Vec<String>,
    /// What the caller has to name.
    pub external_id: Option<String>,
    /// Serial number of the caller's device, and the code that it shows.
    pub mfa: Option<(String, String)>,
    /// Longest session in seconds; roles that were assumed by a role have an hour at most.
    pub max_session_s: u32,
    /// The token with which AssumeRoleWithWebIdentity is granted; absent: never.
    pub web_identity_token: Option<String>,
}

impl Role {
    /// A role that everybody with keys may assume.
    #[must_use]
    pub fn new(arn: impl Into<String>) -> Self {
        Self {
            arn: arn.into(),
            trusts: Vec::new(),
            external_id: None,
            mfa: None,
            max_session_s: 3600,
            web_identity_token: None,
        }
    }
}

/// How an agent behaves. The default is what AWS's agent was seen to do; each habit can be switched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentHabits {
    /// Announced in the handshake.
    pub agent_version: String,
    /// Largest payload of a data message to the client.
    pub message_bytes: usize,
    /// Sleep after each data message, in microseconds; 0: none.
    pub pacing_us: u64,
    /// Resend only the oldest unacknowledged message, at most every 100 ms; otherwise every overdue one.
    pub head_only_resend: bool,
    /// After the handshake, leave data unacknowledged for this long.
    pub not_ready_ms: u64,
    /// Longest wait for acknowledgements before closing.
    pub drain_ms: u64,
    /// Bytes that may wait for all destinations of a session together before the agent stops reading.
    pub receive_bucket: usize,
    /// Connect streams one after the other: one destination that does not answer delays all later ones.
    pub serial_dialling: bool,
    /// Resolve the remote host when the session starts and never again.
    pub resolve_once: bool,
    /// Refuse link-local service addresses as remote hosts.
    pub deny_service_addresses: bool,
    /// Refuse `localhost`, 127.0.0.0/8 and `::1` as remote hosts, as agents since 3.3.4851.0 do.
    pub deny_loopback: bool,
    /// Time from StartSession to the agent's connection.
    pub start_delay_ms: u64,
    /// Time from a crash of the session's worker to the service's notice of it (60 s in AWS).
    pub crash_notice_ms: u64,
}

impl Default for AgentHabits {
    fn default() -> Self {
        Self {
            agent_version: "3.3.1142.0".into(),
            message_bytes: 1024,
            pacing_us: 1000,
            head_only_resend: true,
            not_ready_ms: 2,
            drain_ms: 2000,
            receive_bucket: 4 << 20,
            serial_dialling: true,
            resolve_once: true,
            deny_service_addresses: true,
            deny_loopback: true,
            start_delay_ms: 0,
            crash_notice_ms: 60_000,
        }
    }
}

impl AgentHabits {
    /// The same agent without its brakes: no sleep, 32 KiB messages, every overdue message resent.
    #[must_use]
    pub fn unpaced() -> Self {
        Self { message_bytes: 32 << 10, pacing_us: 0, head_only_resend: false, ..Self::default() }
    }
}
