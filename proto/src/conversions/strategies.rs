//! Values of every type that crosses the API, for round-trip tests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use stormtunnel_model::{
    AgentStatus, Attempt, BoundAddress, Candidate, ConnectStep, Epoch, Etag, Event, EventId, EventKind,
    EventSubject, Fault, FaultKind, Intent, Keep, Labels, LocalAddress, LocalEndpoint, LocalPort, Principal,
    Profile, Reason, Region, RemoteEndpoint, RemoteHealth, RequestId, ResolvedTarget, Revision, RunTerms,
    SessionCount, SessionStatus, SocketPath, SsmSessionId, StartOptions, Statistics, Target, Timestamp,
    Traffic, Ttl, Tunnel, TunnelId, TunnelLimit, TunnelName, TunnelSpec, TunnelSpecPatch, TunnelState,
    TunnelStatistics, TunnelStatus,
};
use uuid::Uuid;

use super::sign_in_strategies;
use crate::calls::{
    CreateTunnel, DaemonInfo, EventUpdate, EventWatchUpdate, ListEvents, ListTargets, ReplacedSettings,
    SettingChange, SettingState, SettingsFile, SettingsProblem, SettingsState, StartTunnels, TargetList,
    TunnelOutcome, TunnelPage, UpdateTunnel, UpdatedTunnel, WatchEvent, WatchEvents, WatchTunnels,
    WatchUpdate,
};

fn name() -> impl Strategy<Value = TunnelName> {
    "[a-z0-9][a-z0-9-]{0,20}".prop_map(|text| text.parse().unwrap())
}

pub(super) fn profile() -> impl Strategy<Value = Profile> {
    "[A-Za-z0-9 @/._-]{1,20}".prop_map(|text| text.parse().unwrap())
}

pub(super) fn region() -> impl Strategy<Value = Region> {
    select(vec!["eu-west-1", "us-gov-east-1", "ap-southeast-12"]).prop_map(|text| text.parse().unwrap())
}

fn target() -> impl Strategy<Value = Target> {
    let text = prop_oneof![
        "(i|mi)-[0-9a-f]{8,17}",
        "(name|asg):[A-Za-z0-9 ._-]{0,20}[a-z]".prop_filter("no leading space", |text| !text.contains(": ")),
        "tag:[A-Za-z]{1,10}=[a-z0-9]{1,10}",
        any::<Ipv4Addr>().prop_map(|address| format!("ip:{address}")),
    ];
    text.prop_map(|text| text.parse().unwrap())
}

fn node() -> impl Strategy<Value = ResolvedTarget> {
    "(i|mi)-[0-9a-f]{8,17}".prop_map(|text| text.parse().unwrap())
}

fn principal() -> impl Strategy<Value = Principal> {
    "arn:aws:sts::[0-9]{12}:assumed-role/[A-Za-z@/.-]{1,20}".prop_map(|text| text.parse().unwrap())
}

/// In milliseconds, and within what the message can hold.
fn span() -> impl Strategy<Value = Duration> {
    (0..1_u64 << 50).prop_map(Duration::from_millis)
}

pub(super) fn list_targets() -> impl Strategy<Value = ListTargets> {
    (option::of(profile()), option::of(region()), option::of(target()))
        .prop_map(|(profile, region, target)| ListTargets { profile, region, target })
}

pub(super) fn target_list() -> impl Strategy<Value = TargetList> {
    let text = "\\PC{0,20}";
    let agent =
        select(vec![AgentStatus::Online, AgentStatus::Unknown, AgentStatus::Lost, AgentStatus::Unregistered]);
    let names = (node(), option::of(text), option::of(any::<IpAddr>()));
    let candidate = (names, agent, option::of(text), option::of(time())).prop_map(
        |((node, name, address), agent, platform, launched_at)| Candidate {
            node,
            name,
            address,
            agent,
            platform,
            launched_at,
        },
    );
    (region(), vec(candidate, 0..4), vec(text, 0..3)).prop_map(|(region, candidates, notes)| TargetList {
        region,
        candidates,
        notes,
    })
}

fn remote() -> impl Strategy<Value = RemoteEndpoint> {
    let ip = any::<IpAddr>().prop_map(|ip| ip.to_string());
    let host = prop_oneof!["[a-z0-9.-]{1,30}", ip];
    (option::of(host), any::<NonZeroU16>()).prop_map(|(host, port)| RemoteEndpoint { host, port })
}

fn local() -> impl Strategy<Value = LocalEndpoint> {
    let address = prop_oneof![Just(LocalAddress::Localhost), any::<IpAddr>().prop_map(LocalAddress::Ip)];
    let tcp = |(address, port)| LocalEndpoint::Tcp { address, port: LocalPort::from(port) };
    prop_oneof![
        4 => (address, any::<u16>()).prop_map(tcp),
        1 => socket_path().prop_map(LocalEndpoint::Unix),
    ]
}

fn socket_path() -> impl Strategy<Value = SocketPath> {
    "(/[a-z0-9_ -]{1,20}){1,4}".prop_map(|text| text.parse().unwrap())
}

fn listening() -> impl Strategy<Value = BoundAddress> {
    let tcp = (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from).prop_map(BoundAddress::Tcp);
    prop_oneof![tcp, socket_path().prop_map(BoundAddress::Unix)]
}

fn reason() -> impl Strategy<Value = Option<Reason>> {
    option::of("[ -~]{1,40}".prop_map(|text| text.parse().unwrap()))
}

fn ttl() -> impl Strategy<Value = Option<Ttl>> {
    option::of((Ttl::MIN..=Ttl::MAX).prop_map(|seconds| seconds.try_into().unwrap()))
}

pub(super) fn start() -> impl Strategy<Value = StartTunnels> {
    let names = vec("[a-z0-9-]{1,20}", 0..3);
    (names, any::<bool>(), reason(), ttl()).prop_map(|(tunnels, confirmed, reason, ttl)| StartTunnels {
        tunnels,
        options: StartOptions { confirmed, reason, ttl },
    })
}

pub(super) fn spec() -> impl Strategy<Value = TunnelSpec> {
    let flag = any::<bool>();
    let sessions = (1..=SessionCount::MAX).prop_map(|count| count.try_into().unwrap());
    let more = (labels(), select(&Keep::ALL[..]), sessions, reason(), ttl());
    (name(), option::of(profile()), option::of(region()), target(), remote(), local(), flag, more).prop_map(
        |(name, profile, region, target, remote, local, allow_non_loopback, more)| {
            let (labels, keep, sessions, reason, ttl) = more;
            TunnelSpec {
                name,
                profile,
                region,
                target,
                remote,
                local,
                allow_non_loopback,
                labels,
                keep,
                sessions,
                reason,
                ttl,
            }
        },
    )
}

fn labels() -> impl Strategy<Value = Labels> {
    let label = ("[a-zA-Z0-9][a-z._/-]{0,20}", "[a-zA-Z0-9._/-]{0,20}");
    let parsed = |(key, value): (String, String)| (key.parse().unwrap(), value.parse().unwrap());
    vec(label.prop_map(parsed), 0..4).prop_map(|labels| labels.into_iter().collect())
}

pub(super) fn patch() -> impl Strategy<Value = TunnelSpecPatch> {
    let changed = (any::<[bool; 12]>(), spec())
        .prop_filter("a change changes something", |(named, _)| named.contains(&true));
    changed.prop_map(
        |(
            [name, profile, region, target, remote, local, allow, labels, keep, sessions, reason, ttl],
            spec,
        )| {
            TunnelSpecPatch {
                name: name.then_some(spec.name),
                profile: profile.then_some(spec.profile),
                region: region.then_some(spec.region),
                target: target.then_some(spec.target),
                remote: remote.then_some(spec.remote),
                local: local.then_some(spec.local),
                allow_non_loopback: allow.then_some(spec.allow_non_loopback),
                labels: labels.then_some(spec.labels),
                keep: keep.then_some(spec.keep),
                sessions: sessions.then_some(spec.sessions),
                reason: reason.then_some(spec.reason),
                ttl: ttl.then_some(spec.ttl),
            }
        },
    )
}

pub(super) fn fault() -> impl Strategy<Value = Fault> {
    let text = "\\PC{0,20}";
    let kind = prop_oneof![
        4 => select(FaultKind::one_of_each()),
        1 => text.prop_map(|profile| FaultKind::ProfileNotFound { profile }),
        1 => (text, option::of(text)).prop_map(|(address, holder)| FaultKind::PortInUse { address, holder }),
        1 => (text, text, text).prop_map(|(principal, action, resource)| {
            FaultKind::PermissionDenied { principal, action, resource }
        }),
    ];
    (kind, text).prop_map(|(kind, detail)| Fault { kind, detail })
}

fn state() -> impl Strategy<Value = TunnelState> {
    let step =
        select(vec![ConnectStep::Listener, ConnectStep::Session, ConnectStep::Channel, ConnectStep::Resume]);
    prop_oneof![
        Just(TunnelState::Stopped),
        step.prop_map(|step| TunnelState::Connecting { step }),
        Just(TunnelState::Up),
        Just(TunnelState::Idle),
        (time(), fault()).prop_map(|(at, fault)| TunnelState::Retrying { at, fault }),
        fault().prop_map(|fault| TunnelState::Blocked { fault }),
        Just(TunnelState::Stopping),
    ]
}

pub(super) fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_millis)
}

fn session_id() -> impl Strategy<Value = SsmSessionId> {
    "[a-z0-9-]{1,30}".prop_map(SsmSessionId)
}

fn session_status() -> impl Strategy<Value = SessionStatus> {
    (session_id(), node(), option::of(principal()), time(), any::<u32>(), traffic()).prop_map(
        |(id, node, principal, since, connections, traffic)| SessionStatus {
            id,
            node,
            principal,
            since,
            connections,
            traffic,
        },
    )
}

fn status() -> impl Strategy<Value = TunnelStatus> {
    let health = select(vec![RemoteHealth::Unknown, RemoteHealth::Ok, RemoteHealth::Refused]);
    let listening = vec(listening(), 0..3);
    let session = (option::of(session_id()), option::of(node()), option::of("[0-9.]{1,12}"));
    let session = (session, vec(session_status(), 0..3));
    let counts = (any::<u32>(), any::<u64>(), any::<u64>());
    let limit = any::<u64>().prop_map(|waiting_bytes| TunnelLimit::AgentResend { waiting_bytes });
    let troubles = (option::of(fault()), option::of(limit), option::of(time()));
    (state(), time(), any::<u64>(), health, listening, session, counts, troubles).prop_map(
        |(
            state,
            since,
            attempt,
            remote,
            listening,
            ((session, node, agent_version), sessions),
            counts,
            (last_fault, limit, turn_at),
        )| {
            let (connections, sent, received) = counts;
            let attempt = Attempt(attempt);
            let traffic = Traffic { sent, received };
            TunnelStatus {
                state,
                since,
                attempt,
                remote,
                listening,
                session,
                node,
                sessions,
                agent_version,
                connections,
                traffic,
                last_fault,
                limit,
                turn_at,
            }
        },
    )
}

pub(super) fn tunnel() -> impl Strategy<Value = Tunnel> {
    let intent = select(vec![Intent::Run, Intent::Stop]);
    let terms = (reason(), option::of(time())).prop_map(|(reason, stops_at)| RunTerms { reason, stops_at });
    // On the heap: the stack of a test's thread does not hold several of these at once.
    (id(), any::<u64>(), time(), spec().boxed(), intent, terms, status().boxed()).prop_map(
        |(id, etag, created_at, spec, intent, terms, status)| Tunnel {
            id,
            etag: Etag(etag),
            created_at,
            spec,
            intent,
            terms,
            status,
        },
    )
}

fn id() -> impl Strategy<Value = TunnelId> {
    any::<u128>().prop_map(|number| TunnelId::from(Uuid::from_u128(number)))
}

pub(super) fn revision() -> impl Strategy<Value = Revision> {
    (any::<u64>(), any::<u64>()).prop_map(|(epoch, counter)| Revision { epoch: Epoch(epoch), counter })
}

pub(super) fn create() -> impl Strategy<Value = CreateTunnel> {
    (option::of("[ -~]{1,64}".prop_map(RequestId)), spec(), any::<bool>())
        .prop_map(|(request_id, spec, start)| CreateTunnel { request_id, spec, start })
}

pub(super) fn update() -> impl Strategy<Value = UpdateTunnel> {
    (name(), patch(), option::of(any::<u64>().prop_map(Etag)), any::<bool>()).prop_map(
        |(tunnel, patch, etag, validate_only)| UpdateTunnel {
            tunnel: tunnel.into(),
            patch,
            etag,
            validate_only,
        },
    )
}

pub(super) fn updated() -> impl Strategy<Value = UpdatedTunnel> {
    (tunnel(), any::<bool>(), any::<bool>()).prop_map(|(tunnel, reconnects, rebinds)| UpdatedTunnel {
        tunnel,
        reconnects,
        rebinds,
    })
}

pub(super) fn outcome() -> impl Strategy<Value = TunnelOutcome> {
    let outcome = prop_oneof![tunnel().prop_map(Ok), fault().prop_map(Err)];
    (name(), outcome).prop_map(|(name, outcome)| TunnelOutcome { requested: name.into(), outcome })
}

pub(super) fn page() -> impl Strategy<Value = TunnelPage> {
    (vec(tunnel(), 0..3), option::of("[ -~]{1,20}"))
        .prop_map(|(tunnels, next_page_token)| TunnelPage { tunnels, next_page_token })
}

pub(super) fn watch() -> impl Strategy<Value = WatchTunnels> {
    (option::of(revision()), vec("[a-z0-9-]{1,20}", 0..3))
        .prop_map(|(since, tunnels)| WatchTunnels { since, tunnels })
}

pub(super) fn watch_update() -> impl Strategy<Value = WatchUpdate> {
    let event = prop_oneof![
        vec(tunnel(), 0..3).prop_map(WatchEvent::Snapshot),
        tunnel().prop_map(|tunnel| WatchEvent::Changed(Box::new(tunnel))),
        (id(), name()).prop_map(|(id, name)| WatchEvent::Deleted { id, name }),
        Just(WatchEvent::Resumed),
    ];
    (revision(), event).prop_map(|(revision, event)| WatchUpdate { revision, event })
}

pub(super) fn daemon_info() -> impl Strategy<Value = DaemonInfo> {
    let text = "\\PC{1,20}";
    let numbers = (any::<u32>(), any::<u64>(), any::<u32>());
    let program = (option::of(text), option::of(text), any::<bool>());
    (text, numbers, time(), option::of(text), text, vec(text, 0..3), program).prop_map(
        |(version, (api_level, epoch, pid), started_at, log_path, state_directory, warnings, program)| {
            let (build, program, program_replaced) = program;
            DaemonInfo {
                version,
                api_level,
                started_at,
                epoch: Epoch(epoch),
                pid,
                log_path,
                state_directory,
                warnings,
                build,
                program,
                program_replaced,
            }
        },
    )
}

fn setting() -> impl Strategy<Value = SettingState> {
    let text = "\\PC{0,20}";
    (text, text, text, text, text, any::<bool>()).prop_map(
        |(key, value, default_value, range, meaning, is_set)| SettingState {
            key,
            value,
            default_value,
            range,
            meaning,
            is_set,
        },
    )
}

pub(super) fn settings_file() -> impl Strategy<Value = SettingsFile> {
    let text = "\\PC{0,20}";
    (text, text, text).prop_map(|(path, etag, template)| SettingsFile { path, etag, template })
}

pub(super) fn replaced_settings() -> impl Strategy<Value = ReplacedSettings> {
    let problem = (option::of(any::<(u32, u32)>()), "\\PC{0,20}")
        .prop_map(|(at, message)| SettingsProblem { at, message });
    prop_oneof![
        vec(setting(), 0..3).prop_map(ReplacedSettings::Written),
        vec(problem, 1..3).prop_map(ReplacedSettings::Refused),
        Just(ReplacedSettings::ChangedMeanwhile),
    ]
}

pub(super) fn settings() -> impl Strategy<Value = SettingsState> {
    let text = "\\PC{0,20}";
    (vec(setting(), 0..3), text, option::of(text)).prop_map(|(settings, path, problem)| SettingsState {
        settings,
        path,
        problem,
    })
}

pub(super) fn setting_change() -> impl Strategy<Value = SettingChange> {
    ("[a-z._]{1,20}", option::of("\\PC{0,20}")).prop_map(|(key, value)| SettingChange { key, value })
}

fn traffic() -> impl Strategy<Value = Traffic> {
    (any::<u64>(), any::<u64>()).prop_map(|(sent, received)| Traffic { sent, received })
}

fn event_kind() -> impl Strategy<Value = EventKind> {
    let attempt = || any::<u64>().prop_map(Attempt);
    let intent = select(vec![Intent::Run, Intent::Stop]);
    let plain = vec![
        EventKind::DaemonStarted,
        EventKind::DaemonStopping,
        EventKind::Created,
        EventKind::Deleted,
        EventKind::TtlOver,
        EventKind::Restarted,
        EventKind::Idle,
        EventKind::Stopped,
        EventKind::SessionStarted,
        EventKind::SessionResumed,
        EventKind::NetworkChanged,
    ];
    prop_oneof![
        select(plain),
        any::<u64>().prop_map(|count| EventKind::EventsLost { count }),
        vec("[a-z_]{1,10}", 1..3).prop_map(|fields| EventKind::Changed { fields }),
        intent.prop_map(|intent| EventKind::IntentChanged { intent }),
        (attempt(), option::of(fault()))
            .prop_map(|(attempt, fault)| EventKind::Connecting { attempt, fault }),
        attempt().prop_map(|attempt| EventKind::Up { attempt }),
        (attempt(), fault()).prop_map(|(attempt, fault)| EventKind::Retrying { attempt, fault }),
        fault().prop_map(|fault| EventKind::Blocked { fault }),
        (option::of(fault()), traffic(), span())
            .prop_map(|(fault, traffic, lasted)| EventKind::SessionEnded { fault, traffic, lasted }),
        (span(), any::<bool>()).prop_map(|(slept, dark)| EventKind::Woke { slept, dark }),
        any::<i64>().prop_map(|by_ms| EventKind::ClockJumped { by_ms }),
        fault().prop_map(|fault| EventKind::ConnectionRefused { fault }),
        fault().prop_map(|fault| EventKind::ReaderReset { fault }),
        fault().prop_map(|fault| EventKind::AgentStalled { fault }),
        any::<u64>().prop_map(|limit| EventKind::PayloadReduced { limit }),
        (node(), option::of("[a-z ]{1,20}"), any::<u32>())
            .prop_map(|(node, name, candidates)| EventKind::NodeChosen { node, name, candidates }),
        (sign_in_strategies::name(), sign_in_strategies::event())
            .prop_map(|(sign_in, event)| EventKind::SignIn { sign_in, event }),
        "[a-z ]{1,20}".prop_map(|headline| EventKind::Unknown { headline }),
    ]
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let names = (id(), name(), option::of(profile()), option::of(region()), target());
    let session = (option::of(session_id()), option::of(node()), option::of(principal()));
    let subject =
        (names, session).prop_map(|((tunnel, name, profile, region, target), (session, node, principal))| {
            EventSubject { tunnel, name, profile, region, target, session, node, principal }
        });
    (any::<u64>().prop_map(EventId), time(), option::of(subject), event_kind())
        .prop_map(|(id, at, subject, kind)| Event { id, at, subject, kind })
}

pub(super) fn list_events() -> impl Strategy<Value = ListEvents> {
    let names = vec("[a-z0-9-]{1,20}", 0..3);
    (names, option::of(time()), any::<u32>(), option::of((1..u64::MAX).prop_map(EventId)))
        .prop_map(|(tunnels, since, limit, before)| ListEvents { tunnels, since, limit, before })
}

pub(super) fn watch_events() -> impl Strategy<Value = WatchEvents> {
    let names = vec("[a-z0-9-]{1,20}", 0..3);
    (names, option::of(any::<u64>().prop_map(EventId)), option::of(time()), any::<u32>())
        .prop_map(|(tunnels, after, since, limit)| WatchEvents { tunnels, after, since, limit })
}

pub(super) fn event_watch_update() -> impl Strategy<Value = EventWatchUpdate> {
    let update = prop_oneof![
        vec(event(), 0..3).prop_map(EventUpdate::Snapshot),
        event().prop_map(|event| EventUpdate::Recorded(Box::new(event))),
        Just(EventUpdate::Resumed),
    ];
    (any::<u64>().prop_map(EventId), update).prop_map(|(last, update)| EventWatchUpdate { last, update })
}

pub(super) fn tunnel_statistics() -> impl Strategy<Value = TunnelStatistics> {
    let statistics = || {
        let counts = (any::<u64>(), any::<u64>(), any::<u64>());
        (traffic(), counts, span()).prop_map(|(traffic, (connections, sessions, reconnects), uptime)| {
            Statistics { traffic, connections, sessions, reconnects, uptime }
        })
    };
    (id(), name(), time(), statistics(), statistics()).prop_map(
        |(id, name, created_at, since_created, since_started)| TunnelStatistics {
            id,
            name,
            created_at,
            since_created,
            since_started,
        },
    )
}
