//! What can be ordered of sign-in and credentials while the emulator runs.

use serde::{Deserialize, Serialize};
use time::Duration;

use super::config::{Lifetimes, SignInHabits};
use crate::clock;
use crate::inject::Injection;
use crate::trouble::{Operation, Trouble};
use crate::world::World;

/// One order. `start_url: None` means every portal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SignInOrder {
    /// The service and the user behave so from now on.
    Habits {
        /// How.
        habits: SignInHabits,
    },
    /// What is issued from now on lasts so long.
    Lifetimes {
        /// How long.
        lifetimes: Lifetimes,
    },
    /// The user decides: on one device code, or on everything that waits, pages of the browser included.
    Decide {
        /// The code that the device shows; absent: everything.
        #[serde(default)]
        user_code: Option<String>,
        /// Whether the user agrees.
        agree: bool,
    },
    /// Everything that was issued gets older: registrations, codes, tokens, logins, credentials.
    Age {
        /// By so much.
        seconds: u32,
    },
    /// Logins end on the side of the service, as the portal's session does: refreshes are refused (InvalidGrantException),
    /// while access tokens live until they expire.
    EndLogins {
        /// Of which portal.
        #[serde(default)]
        start_url: Option<String>,
    },
    /// Access tokens are revoked before their time: the portal answers 401, and refreshes work.
    RevokeAccessTokens {
        /// Of which portal.
        #[serde(default)]
        start_url: Option<String>,
    },
    /// The service has forgotten every client: InvalidClientException.
    ForgetClients,
    /// The next `count` calls of an operation do not go well.
    Trouble {
        /// Which operation.
        operation: Operation,
        /// What goes wrong.
        trouble: Trouble,
        /// How many; orders for the same operation come one after the other.
        count: u32,
    },
}

impl From<SignInOrder> for Injection {
    fn from(order: SignInOrder) -> Self {
        Self::SignIn { order }
    }
}

impl World {
    /// Carries an order out.
    pub(crate) fn order_sign_in(&self, order: SignInOrder) {
        match order {
            SignInOrder::Habits { habits } => self.sign_in.state().habits = habits,
            SignInOrder::Lifetimes { lifetimes } => self.sign_in.state().lifetimes = lifetimes,
            SignInOrder::Decide { user_code, agree } => {
                self.sign_in.decide(user_code.as_deref(), agree, clock::wall());
            }
            SignInOrder::Age { seconds } => {
                let by = Duration::seconds(i64::from(seconds));
                self.sign_in.age(by);
                self.keyring.age(by);
                self.metadata.age(by);
            }
            SignInOrder::EndLogins { start_url } => {
                self.sign_in.state().tokens.end_logins(start_url.as_deref(), clock::wall());
            }
            SignInOrder::RevokeAccessTokens { start_url } => {
                self.sign_in.state().tokens.revoke_access(start_url.as_deref());
            }
            SignInOrder::ForgetClients => self.sign_in.state().clients.forget(),
            SignInOrder::Trouble { operation, trouble, count } => {
                self.troubles.order(operation, trouble, count);
            }
        }
    }
}
