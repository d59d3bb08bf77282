//! Waits for tunnels: subscribes first, then commands, then follows each tunnel until it is where it was wanted.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use stormtunnel_model::{Attempt, ExitCode, Fault, FaultKind, Intent, Tunnel, TunnelId, TunnelState};
use stormtunnel_proto::calls::{TunnelOutcome, WatchEvent, WatchTunnels};
use stormtunnel_proto::{CallError, Client, TunnelWatch};
use tokio::time::{Instant, timeout_at};

use crate::context::{CALL_DEADLINE, FIRST_ANSWER};
use crate::exit::{Failure, Problem, Subject};
use crate::render::times;

/// Where a tunnel is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Up. Ends also when only a person can help: blocked, or retried because of something that a person can mend.
    Up,
    /// Up, however long it takes while the daemon tries by itself.
    UpPatiently,
    /// Stopped, with its session ended.
    Stopped,
}

/// How the wait for one tunnel ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is where it was wanted.
    Reached(Box<Tunnel>),
    /// It waits for a person: blocked, or still retried.
    Faulted(Box<Tunnel>, Fault),
    /// Somebody stopped it meanwhile.
    Stopped(Box<Tunnel>),
    /// Somebody removed it meanwhile.
    Removed(String),
    /// The time ran out.
    TimedOut(Box<Tunnel>),
    /// The command itself was refused.
    Refused(Fault),
}

/// One tunnel and its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// As the user named it.
    pub(crate) requested: String,
    /// How it ended.
    pub(crate) verdict: Verdict,
}

/// Told while the wait goes on.
pub(crate) trait Progress {
    /// A tunnel is retried, for a reason not told before.
    fn retrying(&mut self, tunnel: &Tunnel, fault: &Fault);
    /// The wait for a tunnel ended.
    fn settled(&mut self, settled: &Settled) -> Result<(), Failure>;
}

/// How long a command may take, from the subscription to the end of its wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// As the user allows. The daemon gets [`FIRST_ANSWER`] for its words in any case.
    Wait(Duration),
    /// There is no wait: the command ends when the daemon has accepted it.
    Call,
}

impl Limit {
    fn allowed(self) -> Duration {
        match self {
            Self::Wait(allowed) => allowed,
            Self::Call => CALL_DEADLINE,
        }
    }

    /// The daemon said nothing in time.
    fn unanswered(self) -> Failure {
        match self {
            Self::Wait(_) => Problem::unanswered_in_time().into(),
            Self::Call => CallError::DeadlineExceeded.into(),
        }
    }
}

/// A watch that has delivered its snapshot: what is asked of the daemon from now on is seen.
pub(crate) struct Follower {
    watch: TunnelWatch,
    limit: Limit,
    deadline: Instant,
    /// The deadline, or later when the daemon has to get its first answer out.
    answer_by: Instant,
}

impl Follower {
    /// Subscribes to all tunnels and answers with those there are.
    pub(crate) async fn subscribe(client: &Client, limit: Limit) -> Result<(Self, Vec<Tunnel>), Failure> {
        let began = Instant::now();
        let deadline = began + limit.allowed();
        let answer_by = deadline.max(began + FIRST_ANSWER);
        let (watch, tunnels) =
            timeout_at(answer_by, opened(client)).await.unwrap_or_else(|_| Err(limit.unanswered()))?;
        Ok((Self { watch, limit, deadline, answer_by }, tunnels))
    }

    /// The answer to a command that answers at once.
    pub(crate) async fn answer<T>(
        &self,
        command: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, Failure> {
        match timeout_at(self.answer_by, command).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(self.limit.unanswered()),
        }
    }

    /// The outcomes of a command to stop `chosen`. It answers when the sessions have ended; where that takes longer than
    /// the wait may, they come from the watch once it shows that the command was accepted: it is not undone by leaving.
    pub(crate) async fn stop(
        &mut self,
        command: impl Future<Output = Result<Vec<TunnelOutcome>, CallError>>,
        chosen: Vec<TunnelOutcome>,
    ) -> Result<Vec<TunnelOutcome>, Failure> {
        let (limit, answer_by) = (self.limit, self.answer_by);
        let patience = match limit {
            Limit::Wait(_) => self.deadline,
            Limit::Call => Instant::now(),
        };
        let mut command = pin!(command);
        if let Ok(answer) = timeout_at(patience, &mut command).await {
            return Ok(answer?);
        }
        let answered_or_accepted = async {
            tokio::select! {
                biased;
                answer = command => Ok(answer?),
                accepted = self.stopping(chosen) => accepted,
            }
        };
        timeout_at(answer_by, answered_or_accepted).await.unwrap_or_else(|_| Err(limit.unanswered()))
    }

    /// Waits until each of these tunnels is meant to stop.
    async fn stopping(&mut self, mut chosen: Vec<TunnelOutcome>) -> Result<Vec<TunnelOutcome>, Failure> {
        let runs =
            |one: &TunnelOutcome| one.outcome.as_ref().is_ok_and(|tunnel| tunnel.intent == Intent::Run);
        while chosen.iter().any(runs) {
            let update = self.watch.next().await?.ok_or_else(daemon_stops)?;
            for one in &mut chosen {
                learn(one, &update.event);
            }
        }
        Ok(chosen)
    }

    /// Follows the tunnels of `outcomes` until each has a verdict, in the order of the outcomes.
    pub(crate) async fn follow(
        mut self,
        outcomes: Vec<TunnelOutcome>,
        goal: Goal,
        progress: &mut impl Progress,
    ) -> Result<Vec<Settled>, Failure> {
        let mut board = Board::new(outcomes, goal);
        board.report(progress)?;
        while board.is_open() {
            match timeout_at(self.deadline, self.watch.next()).await {
                Ok(Ok(Some(update))) => board.update(update.event, progress),
                Ok(Ok(None)) => return Err(daemon_stops().into()),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => board.time_out(),
            }
            board.report(progress)?;
        }
        Ok(board.settled())
    }
}

async fn opened(client: &Client) -> Result<(TunnelWatch, Vec<Tunnel>), Failure> {
    let mut watch = client.watch_tunnels(WatchTunnels::default()).await?;
    let first = watch.next().await?.ok_or_else(|| CallError::Disconnected("the watch ended".to_owned()))?;
    match first.event {
        WatchEvent::Snapshot(tunnels) => Ok((watch, tunnels)),
        WatchEvent::Changed(_) | WatchEvent::Deleted { .. } | WatchEvent::Resumed => Err(no_snapshot()),
    }
}

/// Brings a tunnel up to date.
fn learn(one: &mut TunnelOutcome, event: &WatchEvent) {
    let Ok(known) = &one.outcome else { return };
    let id = known.id;
    let removed = || Err(removed_meanwhile(known.spec.name.as_str()));
    match event {
        WatchEvent::Changed(tunnel) if tunnel.id == id => one.outcome = Ok((**tunnel).clone()),
        WatchEvent::Deleted { id: gone, .. } if *gone == id => one.outcome = removed(),
        WatchEvent::Snapshot(tunnels) => {
            let now = tunnels.iter().find(|tunnel| tunnel.id == id).cloned();
            one.outcome = now.map_or_else(removed, Ok);
        }
        WatchEvent::Changed(_) | WatchEvent::Deleted { .. } | WatchEvent::Resumed => {}
    }
}

fn removed_meanwhile(name: &str) -> Fault {
    Fault::new(FaultKind::TunnelNotFound { tunnel: name.to_owned() }, "it was removed meanwhile")
}

fn daemon_stops() -> CallError {
    CallError::Disconnected("the daemon is stopping".to_owned())
}

fn no_snapshot() -> Failure {
    Problem::failure("call_failed", "the daemon's watch did not begin with a snapshot").into()
}

/// What is known of each tunnel that is followed.
struct Board {
    goal: Goal,
    rows: Vec<Row>,
}

struct Row {
    requested: String,
    /// Absent when the command was refused.
    followed: Option<Followed>,
    verdict: Option<Verdict>,
    reported: bool,
}

struct Followed {
    tunnel: Tunnel,
    /// Attempt after the command: news of older ones were on their way before it.
    attempt: Attempt,
    told: Option<FaultKind>,
}

impl Board {
    fn new(outcomes: Vec<TunnelOutcome>, goal: Goal) -> Self {
        let row = |TunnelOutcome { requested, outcome }| match outcome {
            Ok(tunnel) => {
                let verdict = judge(goal, &tunnel);
                let followed = Followed { attempt: tunnel.status.attempt, tunnel, told: None };
                Row { requested, followed: Some(followed), verdict, reported: false }
            }
            Err(fault) => {
                Row { requested, followed: None, verdict: Some(Verdict::Refused(fault)), reported: false }
            }
        };
        Self { goal, rows: outcomes.into_iter().map(row).collect() }
    }

    fn is_open(&self) -> bool {
        self.rows.iter().any(|row| row.verdict.is_none())
    }

    fn update(&mut self, event: WatchEvent, progress: &mut impl Progress) {
        match event {
            WatchEvent::Changed(tunnel) => self.changed(&tunnel, progress),
            WatchEvent::Deleted { id, .. } => self.removed(|other| other == id),
            WatchEvent::Snapshot(tunnels) => {
                let present: BTreeMap<TunnelId, Tunnel> =
                    tunnels.into_iter().map(|tunnel| (tunnel.id, tunnel)).collect();
                self.removed(|id| !present.contains_key(&id));
                present.values().for_each(|tunnel| self.changed(tunnel, progress));
            }
            WatchEvent::Resumed => {}
        }
    }

    fn changed(&mut self, tunnel: &Tunnel, progress: &mut impl Progress) {
        let goal = self.goal;
        for row in self.rows.iter_mut().filter(|row| row.verdict.is_none()) {
            let Some(followed) = row.followed.as_mut().filter(|followed| followed.tunnel.id == tunnel.id)
            else {
                continue;
            };
            if tunnel.status.attempt < followed.attempt {
                continue;
            }
            followed.tunnel = tunnel.clone();
            row.verdict = judge(goal, tunnel);
            if let (None, TunnelState::Retrying { fault, .. }) = (&row.verdict, &tunnel.status.state)
                && followed.told.as_ref() != Some(&fault.kind)
            {
                followed.told = Some(fault.kind.clone());
                progress.retrying(tunnel, fault);
            }
        }
    }

    fn removed(&mut self, is_gone: impl Fn(TunnelId) -> bool) {
        for row in self.rows.iter_mut().filter(|row| row.verdict.is_none()) {
            if let Some(followed) = row.followed.as_ref().filter(|followed| is_gone(followed.tunnel.id)) {
                row.verdict = Some(Verdict::Removed(followed.tunnel.spec.name.to_string()));
            }
        }
    }

    fn time_out(&mut self) {
        for row in self.rows.iter_mut().filter(|row| row.verdict.is_none()) {
            if let Some(followed) = &row.followed {
                row.verdict = Some(Verdict::TimedOut(Box::new(followed.tunnel.clone())));
            }
        }
    }

    fn report(&mut self, progress: &mut impl Progress) -> Result<(), Failure> {
        for row in self.rows.iter_mut().filter(|row| !row.reported) {
            if let Some(verdict) = row.verdict.clone() {
                row.reported = true;
                progress.settled(&Settled { requested: row.requested.clone(), verdict })?;
            }
        }
        Ok(())
    }

    fn settled(self) -> Vec<Settled> {
        let settled = |row: Row| Some(Settled { requested: row.requested, verdict: row.verdict? });
        self.rows.into_iter().filter_map(settled).collect()
    }
}

/// Whether the wait for a tunnel is over.
pub(crate) fn judge(goal: Goal, tunnel: &Tunnel) -> Option<Verdict> {
    let boxed = || Box::new(tunnel.clone());
    let unwanted = tunnel.intent == Intent::Stop;
    match (goal, &tunnel.status.state) {
        (Goal::Stopped, TunnelState::Stopped)
        | (Goal::Up | Goal::UpPatiently, TunnelState::Up | TunnelState::Idle) => {
            Some(Verdict::Reached(boxed()))
        }
        (Goal::Up | Goal::UpPatiently, TunnelState::Blocked { fault }) => {
            Some(Verdict::Faulted(boxed(), fault.clone()))
        }
        (Goal::Up, TunnelState::Retrying { fault, .. }) if needs_a_person(fault) => {
            Some(Verdict::Faulted(boxed(), fault.clone()))
        }
        (Goal::Up | Goal::UpPatiently, TunnelState::Stopped) if unwanted => Some(Verdict::Stopped(boxed())),
        (Goal::Up | Goal::UpPatiently | Goal::Stopped, _) => None,
    }
}

/// Retried by itself, but hardly to end by itself: the exit code is not the one for "not up yet".
fn needs_a_person(fault: &Fault) -> bool {
    fault.kind.exit_code() != ExitCode::NotUp
}

impl Settled {
    /// The problem to tell, if it did not go as wanted.
    pub(crate) fn problem(&self) -> Option<Problem> {
        match &self.verdict {
            Verdict::Reached(_) => None,
            Verdict::Faulted(tunnel, fault) => {
                let is_retried = matches!(tunnel.status.state, TunnelState::Retrying { .. });
                let note = format!("the daemon keeps trying; `stctl wait {}` waits for it", tunnel.spec.name);
                let note = if is_retried { note } else { String::new() };
                Some(Problem { note, ..Problem::of_tunnel(fault, tunnel) })
            }
            Verdict::Stopped(tunnel) => Some(Problem {
                exit: ExitCode::NotUp,
                tunnel: Some(tunnel.spec.name.to_string()),
                remedy: format!("start it with `stctl up {}`", tunnel.spec.name),
                ..Problem::failure("not_up", "it is stopped")
            }),
            Verdict::Removed(name) => Some(Problem::of_fault(&removed_meanwhile(name), Subject::named(name))),
            Verdict::TimedOut(tunnel) => Some(timed_out(tunnel)),
            Verdict::Refused(fault) => Some(Problem::of_fault(fault, Subject::named(&self.requested))),
        }
    }
}

fn timed_out(tunnel: &Tunnel) -> Problem {
    let state = tunnel.status.state.label();
    let headline = format!("the time ran out; it is {state}");
    let problem = match tunnel.status.state.fault() {
        Some(fault) => Problem { detail: fault.to_string(), ..Problem::of_tunnel(fault, tunnel) },
        None => {
            let remedy = format!("`stctl status {}` shows how it goes on", tunnel.spec.name);
            let queued = tunnel
                .status
                .turn_at
                .map(|at| format!("its turn to start a session is at {}", times::stamp(at)));
            let detail = queued.unwrap_or_default();
            Problem {
                tunnel: Some(tunnel.spec.name.to_string()),
                detail,
                remedy,
                ..Problem::failure("timeout", "")
            }
        }
    };
    Problem { exit: ExitCode::Timeout, kind: "timeout".to_owned(), headline, ..problem }
}

#[cfg(test)]
mod tests {
    use stormtunnel_model::{Etag, Timestamp, TunnelSpec, TunnelStatus};

    use super::*;

    #[derive(Default)]
    struct Told(Vec<String>);

    impl Progress for Told {
        fn retrying(&mut self, tunnel: &Tunnel, fault: &Fault) {
            self.0.push(format!("{} retrying {}", tunnel.spec.name, fault.kind.name()));
        }

        fn settled(&mut self, settled: &Settled) -> Result<(), Failure> {
            let problem = settled.problem().map_or_else(|| "reached".to_owned(), |problem| problem.kind);
            self.0.push(format!("{} {problem}", settled.requested));
            Ok(())
        }
    }

    fn tunnel(name: &str, attempt: u64, state: TunnelState) -> Tunnel {
        let number = name.bytes().fold(0, |sum, byte| sum * 256 + u64::from(byte));
        Tunnel {
            id: TunnelId::new(Timestamp::from_millis(number), &[0; 10]),
            etag: Etag(1),
            created_at: Timestamp::default(),
            spec: TunnelSpec {
                name: name.parse().unwrap(),
                profile: None,
                region: None,
                target: "i-0abcdef1234567890".parse().unwrap(),
                remote: "5432".parse().unwrap(),
                local: "15432".parse().unwrap(),
                allow_non_loopback: false,
                labels: Default::default(),
                keep: Default::default(),
                sessions: Default::default(),
                reason: None,
                ttl: None,
            },
            intent: Intent::Run,
            terms: Default::default(),
            status: TunnelStatus {
                state,
                attempt: Attempt(attempt),
                ..TunnelStatus::stopped(Timestamp::default())
            },
        }
    }

    fn blocked() -> TunnelState {
        TunnelState::Blocked { fault: Fault::new(FaultKind::RemoteForbidden { host: "x".to_owned() }, "") }
    }

    fn retrying(kind: FaultKind) -> TunnelState {
        TunnelState::Retrying { at: Timestamp::default(), fault: Fault::new(kind, "") }
    }

    fn connecting() -> TunnelState {
        TunnelState::Connecting { step: stormtunnel_model::ConnectStep::Session }
    }

    fn commanded(tunnels: Vec<Tunnel>, goal: Goal) -> Board {
        let outcome =
            |tunnel: Tunnel| TunnelOutcome { requested: tunnel.spec.name.to_string(), outcome: Ok(tunnel) };
        Board::new(tunnels.into_iter().map(outcome).collect(), goal)
    }

    fn told(board: &mut Board, events: Vec<WatchEvent>) -> Vec<String> {
        let mut told = Told::default();
        board.report(&mut told).unwrap();
        for event in events {
            board.update(event, &mut told);
            board.report(&mut told).unwrap();
        }
        told.0
    }

    fn changed(tunnel: Tunnel) -> WatchEvent {
        WatchEvent::Changed(Box::new(tunnel))
    }

    #[test]
    fn news_from_before_the_command_decide_nothing() {
        let mut board = commanded(vec![tunnel("db", 2, connecting())], Goal::Up);
        let told = told(
            &mut board,
            vec![changed(tunnel("db", 1, blocked())), changed(tunnel("db", 2, TunnelState::Up))],
        );
        assert_eq!(told, ["db reached"]);
        assert!(!board.is_open());
    }

    #[test]
    fn what_a_person_can_mend_ends_an_impatient_wait_only() {
        let in_use = || retrying(FaultKind::PortInUse { address: "x".to_owned(), holder: None });
        let events = || vec![changed(tunnel("db", 1, in_use())), changed(tunnel("db", 1, TunnelState::Up))];
        let mut impatient = commanded(vec![tunnel("db", 1, connecting())], Goal::Up);
        assert_eq!(told(&mut impatient, events()), ["db port_in_use"]);
        let mut patient = commanded(vec![tunnel("db", 1, connecting())], Goal::UpPatiently);
        assert_eq!(told(&mut patient, events()), ["db retrying port_in_use", "db reached"]);
    }

    #[test]
    fn what_passes_by_itself_is_told_once_and_waited_for() {
        let mut board = commanded(vec![tunnel("db", 1, connecting())], Goal::Up);
        let events = vec![
            changed(tunnel("db", 1, retrying(FaultKind::Network))),
            changed(tunnel("db", 2, connecting())),
            changed(tunnel("db", 2, retrying(FaultKind::Network))),
            changed(tunnel("db", 3, retrying(FaultKind::Throttled))),
            changed(tunnel("db", 4, TunnelState::Up)),
        ];
        assert_eq!(told(&mut board, events), ["db retrying network", "db retrying throttled", "db reached"]);
    }

    #[test]
    fn each_tunnel_has_its_own_verdict() {
        let tunnels = ["a", "b", "c", "d"].map(|name| tunnel(name, 1, connecting())).to_vec();
        let mut board = commanded(tunnels, Goal::Up);
        let stopped = Tunnel { intent: Intent::Stop, ..tunnel("c", 1, TunnelState::Stopped) };
        let others =
            vec![tunnel("a", 1, TunnelState::Up), tunnel("b", 1, blocked()), tunnel("d", 1, connecting())];
        let told = told(&mut board, vec![changed(stopped), WatchEvent::Snapshot(others)]);
        assert_eq!(told, ["c not_up", "a reached", "b remote_forbidden"]);
        board.time_out();
        let codes: Vec<u8> = board
            .settled()
            .iter()
            .map(|settled| settled.problem().map_or(0, |problem| problem.exit as u8))
            .collect();
        assert_eq!(codes, [0, 8, 3, 124]);
    }

    #[test]
    fn a_tunnel_that_is_removed_is_not_waited_for() {
        let mut board = commanded(vec![tunnel("a", 1, connecting()), tunnel("b", 1, connecting())], Goal::Up);
        let id = tunnel("a", 1, connecting()).id;
        let deleted = WatchEvent::Deleted { id, name: "a".parse().unwrap() };
        let told = told(&mut board, vec![deleted, WatchEvent::Snapshot(Vec::new())]);
        assert_eq!(told, ["a tunnel_not_found", "b tunnel_not_found"]);
    }

    #[test]
    fn down_waits_for_the_end_of_the_session() {
        let mut board = commanded(vec![tunnel("db", 1, TunnelState::Stopping)], Goal::Stopped);
        assert_eq!(
            told(&mut board, vec![changed(tunnel("db", 1, TunnelState::Stopping))]),
            Vec::<String>::new()
        );
        assert_eq!(told(&mut board, vec![changed(tunnel("db", 1, TunnelState::Stopped))]), ["db reached"]);
    }
}
