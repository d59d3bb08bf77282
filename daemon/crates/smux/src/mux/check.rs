//! What must hold after every mutation; for the fuzz target and the unit tests.

use super::Mux;
use crate::{Command, StreamId};

impl Mux {
    /// Panics if a counter or a queue disagrees with the streams.
    pub(crate) fn assert_consistent(&self) {
        let sum = |len: fn(&crate::stream::Stream) -> usize| self.streams.values().map(len).sum::<usize>();
        assert_eq!(self.order.payload, sum(|stream| stream.outbox.len()), "bytes to send");
        assert_eq!(self.budget.unread(), sum(|stream| stream.inbox.len()), "bytes unread");

        for (id, stream) in &self.streams {
            let turn = &stream.turn;
            let entries =
                |queue: &std::collections::VecDeque<_>| queue.iter().filter(|&entry| entry == id).count();
            let in_bulk = entries(&self.order.bulk) + usize::from(self.order.holder == Some(*id));
            assert_eq!(
                entries(&self.order.sparse),
                usize::from(turn.in_sparse),
                "stream {id} among the sparse"
            );
            assert_eq!(in_bulk, usize::from(turn.in_bulk), "stream {id} in the bulk round");
            assert!(
                stream.outbox.is_empty() || turn.in_sparse || turn.in_bulk,
                "stream {id} is never served"
            );
            assert!(!stream.is_over(), "stream {id} is over but not forgotten");
            assert!(
                stream.inbox.is_empty() || stream.readable_told,
                "data of stream {id} was never announced"
            );
            let reported = self.budget.over_limit().any(|over| over.id == *id);
            assert_eq!(
                reported,
                stream.inbox.len() > self.budget.limits().stream,
                "stream {id} over its limit"
            );
        }
        let known = |id: &StreamId| self.streams.contains_key(id);
        assert!(
            self.order.sparse.iter().chain(&self.order.bulk).chain(&self.order.holder).all(known),
            "stale ids"
        );
        assert!(self.budget.over_limit().all(|over| known(&over.id)), "stale ids over the limit");

        let nops = self.order.control.iter().filter(|header| header.command == Command::Nop).count();
        assert_eq!(nops, usize::from(self.order.nop_queued), "queued NOPs");
    }
}
