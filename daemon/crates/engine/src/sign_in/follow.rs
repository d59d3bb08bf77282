//! What the engine makes of its sign-ins: events in the history, and tunnels that go on.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use stormtunnel_model::{SignIn, SignInName, Timestamp};
use tokio::sync::mpsc;

use super::board::SignInChange;
use super::registry::SignIns;
use crate::handle::Command;
use crate::history::History;

/// Records what happens, and tells the supervisor of each token that is good and was not known before.
pub(crate) async fn follow(sign_ins: SignIns, history: History, supervisor: mpsc::Sender<Command>) {
    let mut watcher = sign_ins.watch(None);
    let mut known = Known::default();
    loop {
        let news = tokio::select! {
            biased;
            Some(kind) = sign_ins.happened() => {
                history.record(None, kind);
                continue;
            }
            news = watcher.next() => news,
        };
        let good = match news.map(|news| news.change) {
            Some(SignInChange::Snapshot(all)) => all.into_iter().filter(|one| known.is_news(one)).collect(),
            Some(SignInChange::Changed(one)) if known.is_news(&one) => vec![*one],
            Some(SignInChange::Removed(name)) => {
                // One that comes back is news.
                known.0.remove(&name);
                Vec::new()
            }
            Some(SignInChange::Changed(_) | SignInChange::Resumed) => Vec::new(),
            None => return,
        };
        for sign_in in good {
            if supervisor.send(Command::SignedIn(Box::new(sign_in))).await.is_err() {
                return;
            }
        }
    }
}

/// Until when the tokens are good that were told of.
#[derive(Default)]
struct Known(BTreeMap<SignInName, Timestamp>);

impl Known {
    fn is_news(&mut self, sign_in: &SignIn) -> bool {
        let before = match sign_in.status.state.good_until() {
            Some(until) => self.0.insert(sign_in.name.clone(), until),
            None => {
                self.0.remove(&sign_in.name);
                return false;
            }
        };
        before != sign_in.status.state.good_until()
    }
}
