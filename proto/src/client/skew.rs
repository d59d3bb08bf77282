//! Beside a daemon of another level: what it would overlook is not sent, and what only it knows is passed over.

use std::sync::atomic::Ordering;

use prost::{Message, Name};
use stormtunnel_model::{Labels, confirm_label};
use tonic::{Request, Streaming};

use super::{CallError, Client};
use crate::levels;

impl Client {
    /// A request that the daemon reads all of, with the deadline of this client.
    pub(super) async fn request<M: Message + Name>(&self, message: M) -> Result<Request<M>, CallError> {
        Ok(self.timed(self.endless(message).await?))
    }

    /// The same for a watch.
    pub(super) async fn endless<M: Message + Name>(&self, message: M) -> Result<Request<M>, CallError> {
        self.has_level(levels::needed(&message).unwrap_or(1)).await?;
        Ok(Request::new(message))
    }

    /// Fails unless the daemon has this level. Asks it once per connection, again where it was too old, and not at all for the first level.
    async fn has_level(&self, needs: u32) -> Result<(), CallError> {
        if needs <= 1 {
            return Ok(());
        }
        let known = self.level.load(Ordering::Relaxed);
        // What was too old may have been replaced since: the connection is made anew with the next call only.
        let has = if known < needs { self.daemon_info().await?.api_level } else { known };
        self.level.store(has, Ordering::Relaxed);
        if has < needs { Err(CallError::OlderDaemon { needs, has }) } else { Ok(()) }
    }

    /// Fails unless the daemon knows the fields that an update names. What is taken away stands in the mask alone.
    pub(super) async fn reads_mask(&self, mask: Option<&prost_types::FieldMask>) -> Result<(), CallError> {
        let paths = mask.into_iter().flat_map(|mask| &mask.paths);
        let levels = paths.filter_map(|path| levels::of_field("TunnelSpec", path));
        self.has_level(levels.max().unwrap_or(1)).await
    }

    /// Fails unless the daemon heeds the label that these ask for a confirmation with, if they do. Before it had that meaning it
    /// was one like any other.
    pub(super) async fn guards(&self, labels: Option<&Labels>) -> Result<(), CallError> {
        if labels.is_some_and(|labels| confirm_label(labels).is_some()) {
            self.has_level(levels::of_field("StartOptions", "confirmed").unwrap_or(1)).await?;
        }
        Ok(())
    }
}

/// The next message of a watch that says something this program knows. What a newer daemon tells besides is no news here.
pub(super) async fn next_known<M>(
    messages: &mut Streaming<M>,
    is_known: impl Fn(&M) -> bool,
) -> Result<Option<M>, CallError> {
    loop {
        match messages.message().await? {
            Some(message) if !is_known(&message) => {}
            message => return Ok(message),
        }
    }
}
