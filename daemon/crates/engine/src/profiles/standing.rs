//! What a sign-in means for the profiles that live on it.

use stormtunnel_model::{Fault, Renewal, SignIn, SignInState, SignInStatus, Timestamp};

/// Whether there is a token to ask AWS with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is.
    Good {
        /// When it expires; tells one token from the next.
        until: Timestamp,
    },
    /// Not known yet, or about to be renewed: more will be told.
    Awaited {
        /// What stands in the way.
        trouble: Option<Fault>,
    },
    /// It would have to be renewed, which is left to whoever needs it.
    OnDemand,
    /// Only a login helps.
    Lost {
        /// Why.
        fault: Fault,
    },
}

impl Standing {
    pub(super) fn of(sign_in: &SignIn) -> Self {
        let SignInStatus { state, trouble, .. } = &sign_in.status;
        if let Some(fault) = state.fault(&sign_in.name) {
            return Self::Lost { fault };
        }
        match (state.good_until(), state) {
            (Some(until), _) => Self::Good { until },
            (None, SignInState::Expired { renewal: Renewal::OnDemand, .. }) => Self::OnDemand,
            (None, _) => Self::Awaited { trouble: trouble.clone() },
        }
    }
}
