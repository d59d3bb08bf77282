//! What is known of each tunnel that is followed, and when the wait for it is over.

use std::collections::BTreeMap;

use stormtunnel_model::{Attempt, ExitCode, Fault, FaultKind, Intent, Tunnel, TunnelId, TunnelState};
use stormtunnel_proto::calls::{TunnelOutcome, WatchEvent};

use super::{Goal, Progress, Settled, Verdict};
use crate::exit::Failure;

/// What is known of each tunnel that is followed.
pub(super) struct Board {
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
    pub(super) fn new(outcomes: Vec<TunnelOutcome>, goal: Goal) -> Self {
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

    pub(super) fn is_open(&self) -> bool {
        self.rows.iter().any(|row| row.verdict.is_none())
    }

    /// Tunnels without a verdict.
    pub(super) fn open(&self) -> Vec<&Tunnel> {
        let open = self.rows.iter().filter(|row| row.verdict.is_none());
        open.filter_map(|row| Some(&row.followed.as_ref()?.tunnel)).collect()
    }

    pub(super) fn update(&mut self, event: WatchEvent, progress: &mut impl Progress) {
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

    pub(super) fn time_out(&mut self) {
        for row in self.rows.iter_mut().filter(|row| row.verdict.is_none()) {
            if let Some(followed) = &row.followed {
                row.verdict = Some(Verdict::TimedOut(Box::new(followed.tunnel.clone())));
            }
        }
    }

    pub(super) fn report(&mut self, progress: &mut impl Progress) -> Result<(), Failure> {
        for row in self.rows.iter_mut().filter(|row| !row.reported) {
            if let Some(verdict) = row.verdict.clone() {
                row.reported = true;
                progress.settled(&Settled { requested: row.requested.clone(), verdict })?;
            }
        }
        Ok(())
    }

    pub(super) fn settled(self) -> Vec<Settled> {
        let settled = |row: Row| Some(Settled { requested: row.requested, verdict: row.verdict? });
        self.rows.into_iter().filter_map(settled).collect()
    }
}

/// Whether the wait for a tunnel is over.
fn judge(goal: Goal, tunnel: &Tunnel) -> Option<Verdict> {
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

#[cfg(test)]
mod tests {
    use stormtunnel_model::{Etag, Timestamp, TunnelSpec, TunnelStatus};

    use super::*;
    use crate::prompts::Word;

    #[derive(Default)]
    struct Told(Vec<String>);

    impl Progress for Told {
        fn retrying(&mut self, tunnel: &Tunnel, fault: &Fault) {
            self.0.push(format!("{} retrying {}", tunnel.spec.name, fault.kind.name()));
        }

        fn waiting(&mut self, _: &[&Tunnel]) {}

        fn said(&mut self, word: &Word) {
            self.0.push(format!("{word:?}"));
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
