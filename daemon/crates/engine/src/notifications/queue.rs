//! Decides which notifications there are, and when. Pure: time is an argument, and so is what is true at present.
//!
//! | rule | why |
//! |---|---|
//! | what happens is looked at 2 s later, together | one login is one notification, however many tunnels it stops |
//! | only what is still so is told | what mends itself is none of a person's business |
//! | a sign-in is told of once, until somebody signed in | who knows need not hear it again |
//! | nothing is told twice within 10 minutes | a tunnel that comes and goes |
//! | 5 a minute at most; what is over waits, and is told together | a desktop is no log |
//! | a login that runs is waited for | the person is at it |

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use stormtunnel_model::{
    Event, EventKind, Fault, FaultKind, Intent, SignIn, SignInActivity, SignInEvent, Timestamp, Tunnel,
    TunnelId, TunnelState,
};

use super::{Notification, words};
use crate::clock::Now;

/// How long what happens is collected.
const SETTLE: Duration = Duration::from_secs(2);
/// How long nothing is told of the same thing.
const QUIET: Duration = Duration::from_secs(10 * 60);
/// How long a login that runs is left alone before it is looked at again.
const LOGIN: Duration = Duration::from_secs(30);
/// How many notifications there are ...
const MOST: usize = 5;
/// ... in this time.
const WINDOW: Duration = Duration::from_secs(60);

/// What is true at the time of showing.
#[derive(Debug)]
pub(super) struct Present {
    /// All tunnels, ordered by name.
    pub(super) tunnels: Vec<Tunnel>,
    /// All sign-ins.
    pub(super) sign_ins: Vec<SignIn>,
    /// Profile of tunnels that name none.
    pub(super) default_profile: String,
}

/// What something may be told of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// A sign-in that is needed, by name.
    Needed(String),
    /// A sign-in whose token ends soon.
    Expiring(String),
    /// A tunnel that is blocked.
    Blocked(TunnelId),
}

/// Something that may have to be told.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// When it is looked at.
    due: Instant,
    /// Of a token: when it ends.
    ends: Option<Timestamp>,
}

/// What waits to be told, and what was told.
#[derive(Debug, Default)]
pub(super) struct NotificationQueue {
    waiting: BTreeMap<Subject, Waiting>,
    /// What was told in the last ten minutes.
    told: BTreeMap<Subject, Instant>,
    /// Sign-ins that were told of, and that nobody signed in to since.
    known: BTreeSet<String>,
    /// When the last ones were shown.
    shown: VecDeque<Instant>,
}

impl NotificationQueue {
    /// Something happened.
    pub(super) fn hear(&mut self, event: &Event, now: Instant) {
        match (&event.kind, &event.subject) {
            (EventKind::SignIn { sign_in, event }, _) => self.hear_of_sign_in(sign_in.as_str(), event, now),
            (EventKind::Blocked { fault }, Some(subject)) => match sign_in_of(fault) {
                Some(sign_in) => self.add(Subject::Needed(sign_in.to_owned()), None, now),
                None => self.add(Subject::Blocked(subject.tunnel), None, now),
            },
            (EventKind::Deleted, Some(subject)) => {
                let gone = Subject::Blocked(subject.tunnel);
                self.waiting.remove(&gone);
                self.told.remove(&gone);
            }
            _ => {}
        }
    }

    fn hear_of_sign_in(&mut self, sign_in: &str, event: &SignInEvent, now: Instant) {
        match event {
            SignInEvent::LoginNeeded { before: Some(ends), .. } => {
                self.add(Subject::Expiring(sign_in.to_owned()), Some(*ends), now);
                // Once it has ended nobody tells of it again.
                self.add(Subject::Needed(sign_in.to_owned()), Some(*ends), now);
            }
            SignInEvent::LoginNeeded { before: None, .. } => {
                self.add(Subject::Needed(sign_in.to_owned()), None, now);
            }
            SignInEvent::SignedIn { .. } | SignInEvent::TokenRenewed { .. } => {
                self.known.remove(sign_in);
                self.waiting.remove(&Subject::Needed(sign_in.to_owned()));
                self.waiting.remove(&Subject::Expiring(sign_in.to_owned()));
            }
            SignInEvent::SignedOut { .. } | SignInEvent::RenewalFailed { .. } => {}
        }
    }

    fn add(&mut self, subject: Subject, ends: Option<Timestamp>, now: Instant) {
        if matches!(&subject, Subject::Needed(sign_in) if self.known.contains(sign_in)) {
            return;
        }
        let quiet = self.told.get(&subject).map(|told| *told + QUIET);
        let due = quiet.unwrap_or(now).max(now + SETTLE);
        let waiting = self.waiting.entry(subject).or_insert(Waiting { due, ends });
        *waiting = Waiting { due: waiting.due.min(due), ends };
    }

    /// When [`NotificationQueue::next`] is to be asked.
    pub(super) fn due(&self) -> Option<Instant> {
        let first = self.waiting.values().map(|waiting| waiting.due).min()?;
        let free = self.shown.front().filter(|_| self.shown.len() >= MOST).map(|oldest| *oldest + WINDOW);
        Some(free.map_or(first, |free| first.max(free)))
    }

    /// What is to be shown now. To be asked until there is nothing.
    pub(super) fn next(&mut self, present: &Present, now: Now) -> Option<Notification> {
        self.forget(now.mono);
        while self.due().is_some_and(|due| due <= now.mono) {
            let is_due = |(_, waiting): &(&Subject, &Waiting)| waiting.due <= now.mono;
            let (subject, waiting) =
                self.waiting.iter().find(is_due).map(|(one, two)| (one.clone(), *two))?;
            let notification = match &subject {
                Subject::Needed(sign_in) => self.needed(sign_in, waiting, present, now),
                Subject::Expiring(sign_in) => self.expiring(sign_in, waiting, present, now),
                Subject::Blocked(_) => self.blocked(present, now.mono),
            };
            if notification.is_some() {
                self.shown.push_back(now.mono);
                return notification;
            }
        }
        None
    }

    fn forget(&mut self, now: Instant) {
        self.told.retain(|_, told| *told + QUIET > now);
        while self.shown.front().is_some_and(|oldest| *oldest + WINDOW <= now) {
            self.shown.pop_front();
        }
    }

    fn needed(
        &mut self,
        sign_in: &str,
        waiting: Waiting,
        present: &Present,
        now: Now,
    ) -> Option<Notification> {
        let subject = Subject::Needed(sign_in.to_owned());
        if let Some(later) = present.later(sign_in, waiting.ends, now) {
            self.waiting.insert(subject, Waiting { due: later, ..waiting });
            return None;
        }
        self.waiting.remove(&subject);
        let tunnels = present.living_on(sign_in);
        let blocked = tunnels.iter().any(|tunnel| waits_for(tunnel, sign_in));
        let reason = present.sign_in(sign_in).and_then(|one| one.status.state.needs_login());
        if tunnels.is_empty() || !(blocked || reason.is_some()) {
            return None;
        }
        self.known.insert(sign_in.to_owned());
        self.told.insert(subject, now.mono);
        Some(words::needed(sign_in, tunnels.len(), reason))
    }

    fn expiring(
        &mut self,
        sign_in: &str,
        waiting: Waiting,
        present: &Present,
        now: Now,
    ) -> Option<Notification> {
        let subject = Subject::Expiring(sign_in.to_owned());
        if let Some(later) = present.later(sign_in, None, now) {
            self.waiting.insert(subject, Waiting { due: later, ..waiting });
            return None;
        }
        self.waiting.remove(&subject);
        let ends = waiting.ends.filter(|ends| *ends > now.wall)?;
        let tunnels = present.living_on(sign_in).len();
        if tunnels == 0 {
            return None;
        }
        self.told.insert(subject, now.mono);
        Some(words::expiring(sign_in, tunnels, ends.since(now.wall)))
    }

    /// All that are due at once.
    fn blocked(&mut self, present: &Present, now: Instant) -> Option<Notification> {
        let is_due = |subject: &Subject, waiting: &Waiting| {
            matches!(subject, Subject::Blocked(_)) && waiting.due <= now
        };
        let due: Vec<Subject> = self
            .waiting
            .iter()
            .filter(|(subject, waiting)| is_due(subject, waiting))
            .map(|(subject, _)| subject.clone())
            .collect();
        self.waiting.retain(|subject, _| !due.contains(subject));
        let still =
            |tunnel: &&Tunnel| due.contains(&Subject::Blocked(tunnel.id)) && blocked(tunnel).is_some();
        let tunnels: Vec<&Tunnel> = present.tunnels.iter().filter(still).collect();
        self.told.extend(tunnels.iter().map(|tunnel| (Subject::Blocked(tunnel.id), now)));
        let (first, others) = tunnels.split_first()?;
        Some(words::blocked(first, blocked(first)?, others))
    }
}

impl Present {
    fn sign_in(&self, name: &str) -> Option<&SignIn> {
        self.sign_ins.iter().find(|sign_in| sign_in.name.as_str() == name)
    }

    /// When to look at a sign-in again: its token has not ended, or somebody is logging in.
    fn later(&self, sign_in: &str, ends: Option<Timestamp>, now: Now) -> Option<Instant> {
        let ends = ends.filter(|ends| *ends > now.wall).map(|ends| ends.since(now.wall) + SETTLE);
        let activity = self.sign_in(sign_in).and_then(|one| one.status.activity.as_ref());
        let login = matches!(activity, Some(SignInActivity::LoggingIn(_))).then_some(LOGIN);
        ends.or(login).map(|wait| now.mono + wait)
    }

    /// The tunnels that are to run and need that sign-in.
    fn living_on(&self, sign_in: &str) -> Vec<&Tunnel> {
        let profiles = self.sign_in(sign_in).map_or(&[][..], |one| &one.profiles);
        let uses = |tunnel: &Tunnel| {
            let own = tunnel.spec.profile.as_ref().map(|profile| profile.as_str());
            let profile = own.unwrap_or(&self.default_profile);
            profiles.iter().any(|one| one.profile.as_str() == profile)
        };
        let needs =
            |tunnel: &&Tunnel| tunnel.intent == Intent::Run && (uses(tunnel) || waits_for(tunnel, sign_in));
        self.tunnels.iter().filter(needs).collect()
    }
}

/// The sign-in that would end the fault, where it is known.
fn sign_in_of(fault: &Fault) -> Option<&str> {
    let FaultKind::SignInNeeded { sign_in } = &fault.kind else { return None };
    (!sign_in.is_empty()).then_some(sign_in)
}

fn waits_for(tunnel: &Tunnel, sign_in: &str) -> bool {
    blocked(tunnel).and_then(sign_in_of) == Some(sign_in)
}

fn blocked(tunnel: &Tunnel) -> Option<&Fault> {
    if let TunnelState::Blocked { fault } = &tunnel.status.state { Some(fault) } else { None }
}
