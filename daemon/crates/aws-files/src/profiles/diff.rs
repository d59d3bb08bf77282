//! What an edit of the files changed.

use std::collections::BTreeMap;

use stormtunnel_model::{Profile, SignInName};

/// The difference between two [`ProfileSet`](super::ProfileSet)s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// Of profiles.
    pub profiles: Changes<Profile>,
    /// Of sign-ins.
    pub sign_ins: Changes<SignInName>,
}

/// Names that are in one set only, or stand for something else now; each list in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes<N> {
    /// They were not there.
    pub added: Vec<N>,
    /// They are not there any more.
    pub removed: Vec<N>,
    /// They, or what they depend on, are another one.
    pub changed: Vec<N>,
}

impl Diff {
    /// Nothing changed that matters.
    pub fn is_empty(&self) -> bool {
        self.profiles.is_empty() && self.sign_ins.is_empty()
    }
}

impl<N: Clone + Ord> Changes<N> {
    /// No name in any list.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    pub(crate) fn between<V: PartialEq>(earlier: &BTreeMap<N, V>, later: &BTreeMap<N, V>) -> Self {
        let missing_in = |other: &BTreeMap<N, V>, names: &BTreeMap<N, V>| {
            names.keys().filter(|name| !other.contains_key(*name)).cloned().collect()
        };
        let is_another = |(name, value): &(&N, &V)| earlier.get(*name).is_some_and(|before| before != *value);
        Self {
            added: missing_in(earlier, later),
            removed: missing_in(later, earlier),
            changed: later.iter().filter(is_another).map(|(name, _)| name.clone()).collect(),
        }
    }
}
