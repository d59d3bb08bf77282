//! Whether the silence of a remote end can be believed.
//!
//! A locally finished stream is given up when its remote end has been silent for the grace. What that costs is an answer
//! that looks as if it had ended, so silence counts only if it is the remote end's own. First, it begins when the agent
//! has acknowledged all that was written. Second, a path that is broken is silent as well, and it takes up to a minute to
//! notice that: once the grace is over the agent is asked, with a message that says nothing. When that and everything
//! before it is acknowledged, and nothing is missing of what came back, the remote end has had its chance.

use std::time::Instant;

use bytes::Bytes;

use super::{Control, NOP, PortSession};
use crate::event::StreamId;
use crate::kind::PayloadType;

/// What is waited for: one of each at a time, for however many streams.
#[derive(Debug, Default)]
pub(super) struct Silence {
    settling: Option<Settling>,
    question: Option<Question>,
}

/// Streams that were finished and sent in full.
#[derive(Debug)]
struct Settling {
    streams: Vec<StreamId>,
    /// The last message that may carry something of them.
    number: i64,
}

/// The message that says nothing.
#[derive(Debug)]
struct Question {
    asked_at: Instant,
    /// Once it has left.
    number: Option<i64>,
}

impl Silence {
    /// The question leaves under this number.
    pub(super) fn asked_as(&mut self, number: i64) {
        if let Some(question) = &mut self.question {
            question.number = Some(number);
        }
    }
}

impl PortSession {
    /// Something was acknowledged, came, or was finished; or time has passed.
    pub(super) fn judge_silence(&mut self, now: Instant) {
        self.settle(now);
        self.believe(now);
        if self.streams.has_silent(now) {
            self.ask(now);
        }
    }

    /// Asks the agent, unless it is being asked.
    pub(super) fn ask(&mut self, now: Instant) {
        if self.may_ask() {
            self.silence.question = Some(Question { asked_at: now, number: None });
            let payload = Bytes::from_static(&NOP);
            self.controls.push_back(Control { payload_type: PayloadType::Output, payload });
        }
    }

    /// Whether the agent can be asked: one question at a time, and none in a session that is ending.
    pub(super) fn may_ask(&self) -> bool {
        self.silence.question.is_none() && self.is_up()
    }

    /// Lets the graces begin of streams whose bytes are all acknowledged.
    fn settle(&mut self, now: Instant) {
        let outbox = self.channel.outbox();
        loop {
            if let Some(settled) =
                self.silence.settling.take_if(|settling| outbox.is_settled(settling.number))
            {
                self.streams.settled(&settled.streams, now);
            }
            if self.silence.settling.is_some() {
                return;
            }
            let streams = self.streams.take_drained();
            if streams.is_empty() {
                return;
            }
            self.silence.settling = Some(Settling { streams, number: outbox.next_number() - 1 });
        }
    }

    /// Gives up what was silent when the question was asked, if it is answered now.
    fn believe(&mut self, now: Instant) {
        let outbox = self.channel.outbox();
        let nothing_missing = self.channel.inbox.missing() == 0;
        let answered = self.silence.question.take_if(|question| {
            nothing_missing && question.number.is_some_and(|number| outbox.is_settled(number))
        });
        if let Some(question) = answered {
            self.streams.give_up_silent(question.asked_at, now);
        }
    }
}
