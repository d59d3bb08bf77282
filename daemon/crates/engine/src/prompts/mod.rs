//! Questions to a person, for which any front end that has one lends itself.
//!
//! Whoever needs to know something asks and waits; a front end watches, asks its person, and answers. While nobody watches there is
//! nobody to ask: the question fails at once, and says what to do. So it does when the last one who watched is gone.
//!
//! A prompt is open while somebody waits for its answer. However many ask the same, it is one prompt with one answer for all.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, stream};
use secrecy::SecretString;
use stormtunnel_model::{Fault, FaultKind, Profile, Prompt, PromptId, PromptKind, quoted};
use tokio::sync::watch;

use crate::ports::Clock;

/// Digits of a code.
const CODE_LENGTH: usize = 6;

/// How long a person may take to find the device and type its code, which lives for half a minute.
pub const CODE_TIMEOUT: Duration = Duration::from_secs(120);

/// How many codes are tried: people mistype.
pub const CODES: u32 = 3;

/// A code that an MFA device shows, and who needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeQuestion<'a> {
    /// The profile.
    pub profile: &'a Profile,
    /// The device.
    pub serial: &'a str,
    /// A code was typed a moment ago, and AWS did not accept it.
    pub refused: bool,
    /// How long the answer is waited for.
    pub patience: Duration,
}

/// What a watcher is told. The first message is a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptChange {
    /// What is open, in the order of opening.
    Snapshot(Vec<Prompt>),
    /// One more is open.
    Opened(Prompt),
    /// One is closed, answered or not.
    Closed(PromptId),
}

/// All prompts. Cheap to clone.
#[derive(Clone)]
pub struct Prompts(Arc<Shared>);

struct Shared {
    board: Mutex<Board>,
    /// Counts changes of what is open.
    changes: watch::Sender<u64>,
    clock: Arc<dyn Clock>,
}

struct Board {
    next: u64,
    open: BTreeMap<PromptId, Open>,
    watchers: usize,
}

/// A prompt that somebody waits for.
struct Open {
    prompt: Prompt,
    askers: usize,
    outcome: watch::Sender<Outcome>,
}

/// What becomes of a prompt.
enum Outcome {
    Waiting,
    Answered(SecretString),
    /// Nobody is there any more who could answer.
    Deserted,
}

impl fmt::Debug for Prompts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prompts").finish_non_exhaustive()
    }
}

impl Prompts {
    /// None is open. The seed keeps numbers of two daemon lives apart: an answer that comes late answers nothing else.
    pub fn new(clock: Arc<dyn Clock>, seed: [u8; 32]) -> Self {
        // Half of all numbers are left to count on.
        let next = u64::from_be_bytes(*seed.first_chunk().unwrap_or(&[0; 8])) >> 1;
        let board = Mutex::new(Board { next, open: BTreeMap::new(), watchers: 0 });
        Self(Arc::new(Shared { board, changes: watch::Sender::new(0), clock }))
    }

    /// Asks for a code. Dropped, the question is withdrawn; and it is after its patience.
    ///
    /// # Errors
    /// `CredentialsInvalid` when nobody is there to ask, or nobody answers in time; the detail says what to do.
    pub async fn ask_code(&self, question: CodeQuestion<'_>) -> Result<SecretString, Fault> {
        let absent = || nobody(&question, "nobody is at a terminal to type it");
        let mut asked = self.open(&question).ok_or_else(absent)?;
        match tokio::time::timeout(question.patience, asked.answer()).await {
            Ok(Some(code)) => Ok(code),
            Ok(None) => Err(absent()),
            Err(_late) => {
                let late = format!("nobody typed it within {} s", question.patience.as_secs());
                Err(nobody(&question, &late))
            }
        }
    }

    /// Answers a prompt. Only the first answer is taken.
    ///
    /// # Errors
    /// `InvalidArgument`: of `id` when the prompt is not open any more, of `answer` when it cannot be right; then the prompt stays.
    pub fn answer(&self, id: PromptId, typed: &str) -> Result<(), Fault> {
        // Devices and people write codes in groups.
        let code: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
        if code.len() != CODE_LENGTH || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid("answer", "a code has six digits"));
        }
        let answered = self.0.board().open.remove(&id);
        let gone = || invalid("id", "it is answered already, or nobody waits for it any more");
        let Open { outcome, .. } = answered.ok_or_else(gone)?;
        outcome.send_replace(Outcome::Answered(code.into()));
        self.0.changed();
        Ok(())
    }

    /// What is open, then each change. Who watches is there to be asked, until the watcher is dropped.
    pub fn watch(&self) -> PromptWatcher {
        let changes = self.0.changes.subscribe();
        self.0.board().watchers += 1;
        let shared = Arc::clone(&self.0);
        let reader = Reader { shared, changes, told: None, ahead: VecDeque::new() };
        let news = stream::unfold(reader, |mut reader| async move { Some((reader.next().await, reader)) });
        PromptWatcher { news: Box::pin(news) }
    }

    /// Joins the prompt that asks the same, or opens one; nothing where nobody watches.
    fn open(&self, question: &CodeQuestion<'_>) -> Option<Asked> {
        let mut board = self.0.board();
        if board.watchers == 0 {
            return None;
        }
        let shared = Arc::clone(&self.0);
        if let Some(open) = board.open.values_mut().find(|open| asks(&open.prompt.kind, question)) {
            open.askers += 1;
            return Some(Asked { shared, id: open.prompt.id, outcome: open.outcome.subscribe() });
        }
        let id = PromptId(board.next);
        board.next += 1;
        let CodeQuestion { profile, serial, refused, patience } = question;
        let kind = PromptKind::MfaCode {
            profile: (*profile).clone(),
            serial: (*serial).to_owned(),
            refused: *refused,
        };
        let prompt = Prompt { id, kind, deadline: self.0.clock.wall().plus(*patience) };
        let (sender, outcome) = watch::channel(Outcome::Waiting);
        board.open.insert(id, Open { prompt, askers: 1, outcome: sender });
        drop(board);
        self.0.changed();
        Some(Asked { shared, id, outcome })
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        // Nothing that can panic runs between two changes of what it holds.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Somebody's wait for an answer. Dropped, it is over.
struct Asked {
    shared: Arc<Shared>,
    id: PromptId,
    outcome: watch::Receiver<Outcome>,
}

impl Asked {
    /// The answer; nothing when nobody is there any more to give one.
    async fn answer(&mut self) -> Option<SecretString> {
        let outcome = self.outcome.wait_for(|outcome| !matches!(outcome, Outcome::Waiting)).await;
        match outcome.as_deref() {
            Ok(Outcome::Answered(code)) => Some(code.clone()),
            Ok(Outcome::Waiting | Outcome::Deserted) | Err(_) => None,
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut board = self.shared.board();
        let Some(open) = board.open.get_mut(&self.id) else { return };
        open.askers -= 1;
        if open.askers == 0 {
            board.open.remove(&self.id);
            drop(board);
            self.shared.changed();
        }
    }
}

/// A stream of [`PromptChange`]. Somebody is there to be asked as long as it lives. A prompt that is closed before it was told of is
/// never told of.
pub struct PromptWatcher {
    news: Pin<Box<dyn Stream<Item = PromptChange> + Send>>,
}

impl fmt::Debug for PromptWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromptWatcher").finish_non_exhaustive()
    }
}

impl Stream for PromptWatcher {
    type Item = PromptChange;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.news.as_mut().poll_next(cx)
    }
}

/// The state of one watcher.
struct Reader {
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
    /// What it takes for open; nothing before the snapshot.
    told: Option<BTreeSet<PromptId>>,
    /// Changes that were found and not told yet.
    ahead: VecDeque<PromptChange>,
}

impl Reader {
    async fn next(&mut self) -> PromptChange {
        loop {
            if let Some(change) = self.ahead.pop_front() {
                return change;
            }
            if self.told.is_some() && self.changes.changed().await.is_err() {
                // The sender lives as long as `shared`.
                std::future::pending::<()>().await;
            }
            self.look();
        }
    }

    /// Compares what is open with what was told.
    fn look(&mut self) {
        self.changes.mark_unchanged();
        let open: Vec<Prompt> = self.shared.board().open.values().map(|open| open.prompt.clone()).collect();
        let ids: BTreeSet<PromptId> = open.iter().map(|prompt| prompt.id).collect();
        match self.told.replace(ids.clone()) {
            None => self.ahead.push_back(PromptChange::Snapshot(open)),
            Some(told) => {
                let closed = told.difference(&ids).copied().map(PromptChange::Closed);
                let opened = open.into_iter().filter(|prompt| !told.contains(&prompt.id));
                self.ahead.extend(closed.chain(opened.map(PromptChange::Opened)));
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut board = self.shared.board();
        board.watchers -= 1;
        if board.watchers > 0 {
            return;
        }
        for (_, Open { outcome, .. }) in std::mem::take(&mut board.open) {
            outcome.send_replace(Outcome::Deserted);
        }
    }
}

/// Whether that prompt asks for the same code.
fn asks(kind: &PromptKind, question: &CodeQuestion<'_>) -> bool {
    match kind {
        PromptKind::MfaCode { profile, serial, .. } => {
            profile == question.profile && serial == question.serial
        }
        PromptKind::Unknown { .. } => false,
    }
}

fn nobody(question: &CodeQuestion<'_>, why: &str) -> Fault {
    let CodeQuestion { profile, serial, .. } = question;
    let detail = format!(
        "the code of MFA device {serial} is needed, and {why}; `stctl up NAME` or `stctl whoami --profile {}` asks for it",
        quoted(profile.as_str())
    );
    Fault::new(FaultKind::CredentialsInvalid { profile: profile.to_string() }, detail)
}

fn invalid(field: &str, why: &str) -> Fault {
    Fault::new(FaultKind::InvalidArgument { field: field.to_owned() }, why)
}
