//! Who we are, as the test wants it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use stormtunnel_model::{Fault, Principal, Profile};
use tokio::sync::watch;

use crate::ports::{AwsScope, Identity, PortFuture};

type Answer = Result<Principal, Fault>;

/// Tells what it was told to tell; until then nothing.
#[derive(Debug)]
pub struct ScriptedIdentity {
    answers: watch::Sender<Answers>,
    scopes: Mutex<Vec<AwsScope>>,
    open: AtomicU32,
}

#[derive(Debug, Default)]
struct Answers {
    of_all: Option<Answer>,
    of_profile: BTreeMap<Profile, Answer>,
}

impl Answers {
    fn to(&self, scope: &AwsScope) -> Option<Answer> {
        let of_profile = scope.profile.as_ref().and_then(|profile| self.of_profile.get(profile));
        of_profile.or(self.of_all.as_ref()).cloned()
    }
}

impl Default for ScriptedIdentity {
    /// Of nobody: questions are received and not answered.
    fn default() -> Self {
        let answers = watch::Sender::new(Answers::default());
        Self { answers, scopes: Mutex::default(), open: AtomicU32::new(0) }
    }
}

impl ScriptedIdentity {
    /// Answers all questions from now on, those that wait included.
    pub fn answer(&self, answer: Answer) {
        self.answers.send_modify(|answers| answers.of_all = Some(answer));
    }

    /// Answers those about one profile otherwise.
    pub fn answer_of(&self, profile: &Profile, answer: Answer) {
        self.answers.send_modify(|answers| drop(answers.of_profile.insert(profile.clone(), answer)));
    }

    /// Questions so far.
    pub fn asked(&self) -> u32 {
        u32::try_from(self.scopes().len()).unwrap_or(u32::MAX)
    }

    /// What they were about, in their order.
    pub fn asked_of(&self) -> Vec<AwsScope> {
        self.scopes().clone()
    }

    /// Questions that wait for their answers.
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::SeqCst)
    }

    fn scopes(&self) -> MutexGuard<'_, Vec<AwsScope>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Identity for ScriptedIdentity {
    fn caller<'a>(&'a self, scope: &'a AwsScope) -> PortFuture<'a, Answer> {
        Box::pin(async move {
            self.scopes().push(scope.clone());
            let _open = Open::new(&self.open);
            let mut answers = self.answers.subscribe();
            let answered = answers.wait_for(|answers| answers.to(scope).is_some()).await;
            // The sender lives as long as `self`.
            let answer = answered.ok().and_then(|answers| answers.to(scope));
            answer.unwrap_or_else(|| Err(Fault::internal("the test is over")))
        })
    }

    /// Nothing is remembered here.
    fn check<'a>(&'a self, scope: &'a AwsScope) -> PortFuture<'a, Answer> {
        self.caller(scope)
    }
}

/// A question that was not answered yet.
struct Open<'a>(&'a AtomicU32);

impl<'a> Open<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
