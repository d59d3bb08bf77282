//! Waits for tunnels: subscribes first, then commands, then follows each tunnel until it is where it was wanted.

mod board;

use std::future::{Future, pending};
use std::pin::pin;
use std::time::Duration;

use stormtunnel_model::{ExitCode, Fault, FaultKind, Intent, Tunnel, TunnelState};
use stormtunnel_proto::calls::{TunnelOutcome, WatchEvent, WatchTunnels, WatchUpdate};
use stormtunnel_proto::{CallError, Client, TunnelWatch};
use tokio::time::{Instant, sleep_until, timeout_at};

use self::board::Board;
use crate::context::{CALL_DEADLINE, FIRST_ANSWER};
use crate::exit::{Failure, Problem, Subject};
use crate::prompts::{Desk, Word};
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
    /// These are waited for, and nobody is being asked anything.
    fn waiting(&mut self, open: &[&Tunnel]);
    /// The daemon has a question, or what became of one.
    fn said(&mut self, word: &Word);
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
    /// The person who is asked what tunnels need; the time that takes is not theirs.
    desk: Option<Desk>,
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
        Ok((Self { watch, limit, deadline, desk: None, answer_by }, tunnels))
    }

    /// Somebody is there to be asked.
    pub(crate) fn attended(self, desk: Option<Desk>) -> Self {
        Self { desk, ..self }
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
            if !self.is_asking() {
                progress.waiting(&board.open());
            }
            match self.next().await {
                News::Update(Ok(Some(update))) => board.update(update.event, progress),
                News::Update(Ok(None)) => return Err(daemon_stops().into()),
                News::Update(Err(error)) => return Err(error.into()),
                News::Word(word) => word.iter().for_each(|word| progress.said(word)),
                News::TimeIsOver => board.time_out(),
            }
            board.report(progress)?;
        }
        Ok(board.settled())
    }

    fn is_asking(&self) -> bool {
        self.desk.as_ref().is_some_and(Desk::is_asking)
    }

    async fn next(&mut self) -> News {
        let began = Instant::now();
        let asks = self.is_asking();
        let word = async {
            match &mut self.desk {
                Some(desk) => desk.next().await,
                None => pending().await,
            }
        };
        let news = tokio::select! {
            biased;
            update = self.watch.next() => News::Update(update),
            word = word => News::Word(word),
            () = sleep_until(self.deadline), if !asks => News::TimeIsOver,
        };
        if asks {
            self.deadline += began.elapsed();
        }
        news
    }
}

/// What comes next in a wait.
enum News {
    Update(Result<Option<WatchUpdate>, CallError>),
    Word(Option<Word>),
    TimeIsOver,
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
