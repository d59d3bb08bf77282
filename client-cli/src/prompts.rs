//! Questions of the daemon to the person at this terminal, while a command waits for something that may need an answer.
//!
//! Only where a person sits: watching tells the daemon that somebody is there.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::io;
use std::pin::{Pin, pin};

use stormtunnel_model::{FaultKind, Prompt, PromptId, PromptKind};
use stormtunnel_proto::calls::PromptEvent;
use stormtunnel_proto::{CallError, Client, PromptWatch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::context::FIRST_ANSWER;
use crate::output::Output;
use crate::world::Answer;

/// An answer on its way to the daemon.
type Sending = Pin<Box<dyn Future<Output = Result<(), CallError>>>>;

/// What the person is to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// A question; the answer is typed behind it.
    Ask(String),
    /// The answer was typed.
    Answered,
    /// What became of one.
    Tell(String),
}

impl Word {
    /// Shows it, whatever standard output is for.
    pub(crate) fn show(&self, out: &mut Output<'_>) {
        match self {
            Self::Ask(question) => out.prompt(question),
            Self::Answered => out.answered(),
            Self::Tell(text) => {
                out.answered();
                out.progress(text);
            }
        }
    }
}

/// The person, and what the daemon wants to know.
pub(crate) struct Desk {
    client: Client,
    answer: Answer,
    /// Absent once the daemon, or the person, is gone.
    watch: Option<PromptWatch>,
    /// Open prompts, the one that is asked first.
    open: VecDeque<Prompt>,
    /// The one that the person was asked.
    asked: Option<PromptId>,
    /// A line that is being typed. One that was begun for a question that is gone is the answer to the next one.
    typed: Option<JoinHandle<io::Result<String>>>,
    sending: Option<Sending>,
}

enum Happened {
    Event(Result<Option<PromptEvent>, CallError>),
    Typed(io::Result<String>),
    Sent(Result<(), CallError>),
}

impl Desk {
    /// Sits down, before anything is asked of the daemon; nothing with a daemon that asks nothing.
    pub(crate) async fn open(client: &Client, answer: Answer) -> Option<Self> {
        let watch = timeout(FIRST_ANSWER, client.watch_prompts()).await.ok()?.ok()?;
        Some(Self {
            client: client.clone(),
            answer,
            watch: Some(watch),
            open: VecDeque::new(),
            asked: None,
            typed: None,
            sending: None,
        })
    }

    /// Whether the person has a question to answer, which takes its time.
    pub(crate) fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// Waits for a call, and answers questions meanwhile.
    pub(crate) async fn during<T>(mut self, out: &mut Output<'_>, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        loop {
            tokio::select! {
                biased;
                answer = &mut call => return answer,
                word = self.next() => word.iter().for_each(|word| word.show(out)),
            }
            if !self.is_asking() {
                out.answered();
            }
        }
    }

    /// Waits until something happens, and answers what the person is to read of it. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Word> {
        if let Some(question) = self.ask() {
            return Some(Word::Ask(question));
        }
        match self.happens().await {
            Happened::Event(event) => self.hear(event).map(Word::Tell),
            Happened::Typed(line) => self.send(line),
            Happened::Sent(sent) => self.sent(sent).map(Word::Tell),
        }
    }

    /// The question that is asked now, if none is asked.
    fn ask(&mut self) -> Option<String> {
        if self.asked.is_some() {
            return None;
        }
        let prompt = self.open.front()?;
        self.asked = Some(prompt.id);
        let answer = self.answer;
        self.typed.get_or_insert_with(|| tokio::task::spawn_blocking(answer));
        Some(prompt.kind.to_string())
    }

    async fn happens(&mut self) -> Happened {
        let is_asking = self.asked.is_some() && self.sending.is_none();
        tokio::select! {
            biased;
            sent = present(self.sending.as_mut()) => {
                self.sending = None;
                Happened::Sent(sent)
            }
            event = next_event(self.watch.as_mut()) => Happened::Event(event),
            line = present(self.typed.as_mut()), if is_asking => {
                self.typed = None;
                Happened::Typed(line.unwrap_or_else(|error| Err(io::Error::other(error))))
            }
        }
    }

    fn hear(&mut self, event: Result<Option<PromptEvent>, CallError>) -> Option<String> {
        match event {
            Ok(Some(PromptEvent::Snapshot(prompts))) => self.open = prompts.into(),
            Ok(Some(PromptEvent::Opened(prompt))) => self.open.push_back(prompt),
            Ok(Some(PromptEvent::Closed(id))) => return self.close(id),
            Ok(None) | Err(_) => self.leave(),
        }
        // What a newer daemon asks is for a newer front end.
        self.open.retain(|prompt| !matches!(prompt.kind, PromptKind::Unknown { .. }));
        None
    }

    fn close(&mut self, id: PromptId) -> Option<String> {
        self.open.retain(|prompt| prompt.id != id);
        // That of one's own answer is none.
        if self.asked != Some(id) || self.sending.is_some() {
            return None;
        }
        self.asked = None;
        Some("\nthe code is not needed any more".to_owned())
    }

    fn send(&mut self, line: io::Result<String>) -> Option<Word> {
        let id = self.asked?;
        match line {
            // The end of the input: nobody will answer.
            Ok(line) if line.is_empty() => {
                self.leave();
                None
            }
            Ok(line) => {
                let client = self.client.clone();
                self.sending = Some(Box::pin(async move { client.answer_prompt(id, line.trim()).await }));
                Some(Word::Answered)
            }
            Err(error) => {
                self.leave();
                Some(Word::Tell(format!("the answer cannot be read: {error}")))
            }
        }
    }

    fn sent(&mut self, sent: Result<(), CallError>) -> Option<String> {
        let asked = self.asked.take();
        match sent {
            Ok(()) => {
                self.open.retain(|prompt| Some(prompt.id) != asked);
                None
            }
            Err(CallError::Fault(fault)) => {
                // It stays open where the answer is at fault, and is asked once more.
                let field = if let FaultKind::InvalidArgument { field } = &fault.kind { field } else { "" };
                self.open.retain(|prompt| field == "answer" || Some(prompt.id) != asked);
                Some(fault.detail)
            }
            Err(error) => {
                self.leave();
                Some(error.to_string())
            }
        }
    }

    /// The daemon takes it from here that nobody is there.
    fn leave(&mut self) {
        self.watch = None;
        self.open.clear();
        self.asked = None;
    }
}

async fn present<F: Future + Unpin>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

async fn next_event(watch: Option<&mut PromptWatch>) -> Result<Option<PromptEvent>, CallError> {
    match watch {
        Some(watch) => watch.next().await,
        None => pending().await,
    }
}
