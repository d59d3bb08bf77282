//! The profiles as whoever calls AWS takes them.

use std::path::PathBuf;
use std::sync::Arc;

use stormtunnel_aws::ProfileSource;
use stormtunnel_aws_files::ProfileSet;
use stormtunnel_engine::ports::PortFuture;
use tokio::time::Instant;

use super::AwsDirectory;

/// The profiles of a directory that is watched.
pub struct WatchedProfiles(pub Arc<AwsDirectory>);

impl ProfileSource for WatchedProfiles {
    fn current(&self) -> Arc<ProfileSet> {
        Arc::clone(&self.0.profiles.borrow().set)
    }

    fn look_again(&self) -> PortFuture<'_, ()> {
        let directory = Arc::clone(&self.0);
        Box::pin(async move {
            // What is doubted is looked at again by the watch.
            let _panicked = tokio::task::spawn_blocking(move || directory.look(Instant::now())).await;
        })
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.0.paths.config.clone(), self.0.paths.credentials.clone()]
    }
}
