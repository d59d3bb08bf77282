//! Drives one session over the WebSockets that it goes through in its life.
//!
//! One poll does everything that can be done: it takes what arrived, hands out what is due, flushes once. Messages
//! are pulled out of the state machine only while the WebSocket takes them, because a message counts as sent from the
//! moment it is pulled. Without a WebSocket everything stays as it is, until the actor brings the next one.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::SinkExt as _;
use secrecy::SecretString;
use ssm_session::{Backlog, Output, ResetReason, SessionEvent, Token, WsMessage};
use stormtunnel_model::{Attempt, Fault, FaultKind, Principal, RemoteHealth, TunnelLimit, TunnelSpec};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::clock::Now;
use crate::ports::{BoxChannel, Clock};
use crate::publish::Meter;
use crate::tunnel::about::About;
use crate::tunnel::machine::SessionNews;
use crate::tunnel::session_end::{Ending, ending, violation};
use crate::tunnel::shared_session::{SharedSession, Wakers};

/// Messages taken from the WebSocket before what they caused is sent: acknowledgements must not wait for the end of
/// a burst.
const RECEIVE_BATCH: usize = 32;
/// How long the closing handshake of a WebSocket may take.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// A fresh WebSocket for the session.
pub(crate) struct Connect {
    pub(crate) attempt: Attempt,
    pub(crate) channel: BoxChannel,
    pub(crate) token: SecretString,
}

/// What the driver tells the tunnel's actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// For the machine.
    Machine(SessionNews),
    /// The agent named its version.
    Agent(String),
    /// A connection told something of the remote end.
    Remote(RemoteHealth),
    /// Something went wrong that the session survives.
    Trouble(Fault),
    /// Whether the service asks for silence.
    Paused(bool),
    /// The agent confirms again what it is sent.
    AgentBack,
    /// The node is gone, or another one has to take its place.
    NodeLost(Fault),
    /// What holds its transfers up from now on; the figure in it is the meter's.
    Limit(Option<TunnelLimit>),
    /// Payloads beyond this break the connection.
    PayloadLimit(usize),
    /// Who opened the session.
    Opener(Principal),
}

/// What one poll came to.
pub(crate) enum Step {
    /// Tell the actor, then go on.
    News(News),
    /// The session is over.
    Ended(Ending),
}

/// The driver of one session.
pub(crate) struct Driver {
    shared: Arc<SharedSession>,
    clock: Arc<dyn Clock>,
    spec: TunnelSpec,
    meter: Arc<Meter>,
    connects: mpsc::Receiver<Connect>,
    /// Fires when the session is to be ended.
    end: Pin<Box<WaitForCancellationFutureOwned>>,
    ending: bool,
    was_up: bool,
    link: Option<Link>,
    timer: Pin<Box<Sleep>>,
    /// What the timer is set to; absent when nothing is due.
    due: Option<Instant>,
    /// The WebSocket was left unread, because local readers are behind.
    held_back: bool,
    remote: RemoteHealth,
    /// The agent was named as what holds downloads up.
    limited: bool,
    steps: VecDeque<Step>,
    /// What its lines in the log are about.
    about: About,
}

/// The present WebSocket.
struct Link {
    channel: BoxChannel,
    attempt: Attempt,
    /// Something was written and not flushed.
    dirty: bool,
    /// Something came.
    proven: bool,
    /// What comes wakes the driver.
    watched: bool,
}

impl Link {
    fn new(channel: BoxChannel, attempt: Attempt) -> Self {
        Self { channel, attempt, dirty: false, proven: false, watched: true }
    }

    /// Lets arrivals wake the driver or not. Answers whether they do from now on: then it must look once more.
    fn watch(&mut self, watched: bool) -> bool {
        if self.watched == watched {
            return false;
        }
        self.watched = watched;
        self.channel.as_mut().set_watched(watched);
        watched
    }
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<SharedSession>,
        clock: Arc<dyn Clock>,
        spec: TunnelSpec,
        meter: Arc<Meter>,
        connects: mpsc::Receiver<Connect>,
        end: CancellationToken,
        about: About,
    ) -> Self {
        Self {
            shared,
            clock,
            spec,
            meter,
            connects,
            end: Box::pin(end.cancelled_owned()),
            ending: false,
            was_up: false,
            link: None,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            due: None,
            held_back: false,
            remote: RemoteHealth::Unknown,
            limited: false,
            steps: VecDeque::new(),
            about,
        }
    }

    /// Runs until there is something to tell.
    pub(crate) async fn step(&mut self) -> Step {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Says goodbye on the WebSocket.
    pub(crate) async fn close(&mut self) {
        if let Some(mut link) = self.link.take() {
            link.watch(true);
            // The session is over either way; the goodbye is for the gateway's logs.
            let _closed_or_late = tokio::time::timeout(CLOSE_WAIT, link.channel.close()).await;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        loop {
            if let Some(step) = self.steps.pop_front() {
                return Poll::Ready(step);
            }
            if self.shared.is_broken() {
                let fault = Fault::internal("the session failed");
                return Poll::Ready(Step::Ended(Ending { fault, over: false }));
            }
            let now = Now::read(self.clock.as_ref());
            self.poll_orders(cx, now);
            // First, because a WebSocket that takes nothing hides what is overdue: it must not stop the clock.
            self.poll_timer(cx, now);
            let more = self.poll_receive(cx, now);
            self.poll_transmit(cx, now);
            let expired = self.poll_timer(cx, now);
            if !(more || expired || self.is_freed(cx, now) || !self.steps.is_empty()) {
                return Poll::Pending;
            }
        }
    }

    /// Takes what the actor wants: the end, or another WebSocket.
    fn poll_orders(&mut self, cx: &mut Context<'_>, now: Now) {
        if !self.ending && self.end.as_mut().poll(cx).is_ready() {
            self.ending = true;
            self.shared.lock().session.terminate(now.for_session());
        }
        while let Poll::Ready(Some(Connect { attempt, channel, token })) = self.connects.poll_recv(cx) {
            let mut inner = self.shared.lock();
            if self.link.is_some() {
                inner.session.handle_disconnected(now.for_session());
            }
            inner.session.handle_connected(&Token::from(token), now.for_session());
            self.link = Some(Link::new(channel, attempt));
        }
    }

    /// Takes what arrived; answers whether more may be there.
    fn poll_receive(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        if self.shared.lock().session.rests_until().is_some_and(|until| until > now.mono) {
            return false;
        }
        self.held_back = self.is_full(cx, now);
        for _ in 0..RECEIVE_BATCH {
            if self.held_back {
                return false;
            }
            match self.poll_link(cx, now) {
                Poll::Pending => return false,
                Poll::Ready(Some(Ok(message))) => {
                    let mut inner = self.shared.lock();
                    let handled = inner.session.handle_message(message, now.for_session());
                    self.held_back = !inner.session.wants_input();
                    if let Err(error) = handled {
                        self.steps.push_back(Step::Ended(violation(&error)));
                        return false;
                    }
                }
                Poll::Ready(Some(Err(fault))) => self.lose_link(fault, now),
                Poll::Ready(None) => self.lose_link(closed(), now),
            }
        }
        true
    }

    /// Reads one message. When there is none, a rest may begin, or be over.
    fn poll_link(&mut self, cx: &mut Context<'_>, now: Now) -> Poll<Option<Result<WsMessage, Fault>>> {
        let Some(link) = &mut self.link else { return Poll::Pending };
        let mut item = link.channel.as_mut().poll_next(cx);
        if item.is_pending() {
            let rests = self.shared.lock().session.rest(now.for_session());
            if link.watch(!rests) {
                item = link.channel.as_mut().poll_next(cx);
            }
        }
        link.proven |= matches!(item, Poll::Ready(Some(Ok(WsMessage::Binary(_)))));
        item
    }

    /// Whether the WebSocket must be left unread.
    fn is_full(&self, cx: &Context<'_>, now: Now) -> bool {
        let mut inner = self.shared.lock();
        inner.bound(now.for_session(), cx.waker());
        !inner.session.wants_input()
    }

    /// Hands out everything that is due, as far as the WebSocket takes it.
    fn poll_transmit(&mut self, cx: &mut Context<'_>, now: Now) {
        loop {
            let room = self.poll_room(cx, now);
            let (output, wakers) = {
                let mut inner = self.shared.lock();
                let session_now = now.for_session();
                let output = if room {
                    inner.session.poll_output(session_now)
                } else {
                    inner.session.poll_event(session_now)
                };
                let wakers = match &output {
                    Output::Event(event) => inner.deliver(event),
                    Output::Timeout(_) => {
                        if self.limited {
                            self.meter.set_waiting(inner.session.early_bytes());
                        }
                        inner.park_driver(cx.waker())
                    }
                    Output::Send(_) => Wakers::default(),
                };
                (output, wakers)
            };
            wakers.wake();
            match output {
                Output::Send(message) => self.send(message, now),
                Output::Event(event) => self.on_event(event, now),
                Output::Timeout(due) => {
                    self.set_timer(due, now);
                    if self.poll_flush(cx, now) {
                        return;
                    }
                }
            }
        }
    }

    /// Whether a message can leave.
    fn poll_room(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let Some(link) = &mut self.link else { return false };
        match link.channel.as_mut().poll_ready(cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(fault)) => {
                self.lose_link(fault, now);
                false
            }
            Poll::Pending => false,
        }
    }

    fn send(&mut self, message: WsMessage, now: Now) {
        let Some(link) = &mut self.link else { return };
        link.dirty = true;
        if let Err(fault) = link.channel.as_mut().start_send(message) {
            self.lose_link(fault, now);
        }
    }

    /// Flushes what was written. Answers false when that cost the WebSocket: there is news to be drained then.
    fn poll_flush(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let Some(link) = self.link.as_mut().filter(|link| link.dirty) else { return true };
        match link.channel.as_mut().poll_flush(cx) {
            Poll::Ready(Ok(())) => link.dirty = false,
            Poll::Ready(Err(fault)) => {
                self.lose_link(fault, now);
                return false;
            }
            Poll::Pending => {}
        }
        true
    }

    fn on_event(&mut self, event: SessionEvent, now: Now) {
        match event {
            SessionEvent::HandshakeComplete { agent_version, customer_message } => {
                if !customer_message.is_empty() {
                    let told = || tracing::info!("message of the administrator: {customer_message}");
                    self.about.span().in_scope(told);
                }
                self.tell(News::Agent(agent_version.as_str().to_owned()));
            }
            SessionEvent::Up => {
                self.was_up = true;
                self.tell(News::Machine(SessionNews::HandshakeUp));
            }
            SessionEvent::Readable(stream) | SessionEvent::RemoteFinished(stream) => {
                if self.shared.lock().is_first_word(stream) {
                    self.learn_remote(RemoteHealth::Ok);
                }
            }
            SessionEvent::Reset { reason: ResetReason::RefusedByRemote, .. }
            | SessionEvent::RemoteConnectFailed => {
                self.learn_remote(RemoteHealth::Refused);
            }
            SessionEvent::Reset { reason: ResetReason::StalledReader(backlog), .. } => {
                self.tell(News::Trouble(reader_stalled(backlog, "while others were open")));
            }
            SessionEvent::Reset { reason: ResetReason::GaveWay(backlog), .. } => {
                self.tell(News::Trouble(reader_stalled(backlog, "because others waited for the room")));
            }
            SessionEvent::Reset { reason: ResetReason::SessionEnded, .. }
            | SessionEvent::Writable(_)
            | SessionEvent::Closed(_) => {}
            SessionEvent::AgentRecovered => self.tell(News::AgentBack),
            SessionEvent::Paused => self.tell(News::Paused(true)),
            SessionEvent::Unpaused => self.tell(News::Paused(false)),
            SessionEvent::AgentStalled { maybe_remote, .. } => {
                let detail = if maybe_remote {
                    "it stopped confirming what it is sent: either it is in trouble, or the service behind it takes nothing"
                } else {
                    "it stopped confirming what it is sent; a new session is started if that goes on"
                };
                self.tell(News::Trouble(Fault::new(FaultKind::AgentUnresponsive, detail)));
            }
            SessionEvent::AgentResendsSlowly { missing, waiting } => {
                let told = || {
                    tracing::info!(
                        missing,
                        waiting,
                        "downloads wait for the SSM agent to resend lost messages"
                    );
                };
                self.about.span().in_scope(told);
                let waiting_bytes = waiting as u64;
                self.limit(Some(TunnelLimit::AgentResend { waiting_bytes }));
            }
            SessionEvent::AgentCaughtUp => self.limit(None),
            SessionEvent::PayloadReduced { limit } => self.tell(News::PayloadLimit(limit)),
            SessionEvent::ChannelDead => {
                let detail = "the gateway did not answer a ping in time";
                self.lose_link(Fault::new(FaultKind::Network, detail), now);
            }
            SessionEvent::Ended(end) => {
                self.steps.push_back(Step::Ended(ending(end, self.was_up, &self.spec)));
            }
        }
    }

    fn learn_remote(&mut self, health: RemoteHealth) {
        if self.remote != health {
            self.remote = health;
            self.tell(News::Remote(health));
        }
    }

    fn limit(&mut self, limit: Option<TunnelLimit>) {
        self.limited = limit.is_some();
        self.tell(News::Limit(limit));
    }

    fn lose_link(&mut self, fault: Fault, now: Now) {
        let Some(link) = self.link.take() else { return };
        self.shared.lock().session.handle_disconnected(now.for_session());
        let Link { attempt: channel, proven, .. } = link;
        self.tell(News::Machine(SessionNews::ChannelLost { channel, proven, fault }));
    }

    fn tell(&mut self, news: News) {
        self.steps.push_back(Step::News(news));
    }

    fn set_timer(&mut self, due: Option<Instant>, now: Now) {
        if let Some(at) = due
            && self.due != due
        {
            self.timer.as_mut().reset(now.timer_at(at));
        }
        self.due = due;
    }

    /// Whether somebody made room after the WebSocket was left unread, and before the driver left its waker: nobody else
    /// would come back to the WebSocket. Another bound counts as well, because the timer was set without it.
    fn is_freed(&self, cx: &Context<'_>, now: Now) -> bool {
        if !self.held_back || self.link.is_none() {
            return false;
        }
        let mut inner = self.shared.lock();
        inner.bound(now.for_session(), cx.waker()) || inner.session.wants_input()
    }

    /// Lets the session do what is due; answers whether it did.
    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        if self.due.is_none() || self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.due = None;
        self.shared.lock().session.handle_timeout(now.for_session());
        true
    }
}

fn reader_stalled(Backlog { unread, idle }: Backlog, why: &str) -> Fault {
    let (kibibytes, seconds) = (unread.div_ceil(1 << 10), idle.as_secs());
    let detail =
        format!("its connection, {kibibytes} KiB unread and nothing read for {seconds} s, was reset {why}");
    Fault::new(FaultKind::LocalReaderStalled, detail)
}

fn closed() -> Fault {
    Fault::new(FaultKind::Network, "the gateway closed the data channel")
}
