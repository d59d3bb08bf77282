//! The board of the sign-ins.

use stormtunnel_model::{SignIn, SignInName};

use crate::board::{Change, News, Row, Watcher};

/// One message to a watcher.
pub type SignInNews = News<SignIn>;

/// What a watcher is told.
pub type SignInChange = Change<SignIn>;

/// A stream of [`SignInNews`] that ends with the engine. The first one is a snapshot, or [`Change::Resumed`].
pub type SignInWatcher = Watcher<SignIn>;

impl Row for SignIn {
    type Name = SignInName;

    fn name(&self) -> SignInName {
        self.name.clone()
    }
}
