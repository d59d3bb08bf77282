//! What a tunnel is to be, as the user asked for it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::endpoint::{LocalEndpoint, RemoteEndpoint};
use crate::guards::{Reason, Ttl, confirm_label};
use crate::keep::{Keep, SessionCount};
use crate::label::{Label, Labels};
use crate::name::{Profile, Region, TunnelName};
use crate::target::Target;

/// A tunnel as the user described it. Profile and region are what the front end resolved when it was made: the
/// daemon never looks at a terminal's environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelSpec {
    /// Unique among the user's tunnels.
    pub name: TunnelName,
    /// AWS profile; absent means the daemon's default (`aws.default_profile`, else `default`).
    pub profile: Option<Profile>,
    /// AWS region; absent means the profile's, else `aws.default_region`.
    pub region: Option<Region>,
    /// The managed node to go through.
    pub target: Target,
    /// Where it leads.
    pub remote: RemoteEndpoint,
    /// Where it listens.
    pub local: LocalEndpoint,
    /// The user agreed that other machines may connect to `local`.
    pub allow_non_loopback: bool,
    /// What the user tells it apart by. The daemon only keeps them, but for one: see [`CONFIRM_LABEL`](crate::CONFIRM_LABEL).
    pub labels: Labels,
    /// When it holds a session that nobody uses.
    #[serde(default)]
    pub keep: Keep,
    /// Over how many sessions its connections are spread, at most.
    #[serde(default)]
    pub sessions: SessionCount,
    /// Why it is used, unless a start says another reason.
    #[serde(default)]
    pub reason: Option<Reason>,
    /// How long it runs, unless a start says another time; absent means until it is stopped.
    #[serde(default)]
    pub ttl: Option<Ttl>,
}

/// Most labels of a tunnel: a bound, far above what anybody can keep in mind.
const MAX_LABELS: usize = 64;

/// A spec whose parts are valid but do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpecError {
    /// Listening beyond loopback was not agreed to.
    #[error(
        "address {0} lets other machines use the tunnel; add --allow-non-loopback if that is wanted, \
         or listen on localhost"
    )]
    NotLoopback(String),
    /// More labels than a tunnel may have.
    #[error("{0} labels are more than the {max} that a tunnel may have", max = MAX_LABELS)]
    TooManyLabels(usize),
}

impl SpecError {
    /// The field at fault, as the API calls it.
    pub fn field(&self) -> &'static str {
        match self {
            Self::NotLoopback(_) => "local",
            Self::TooManyLabels(_) => "labels",
        }
    }
}

impl TunnelSpec {
    /// Checks what no single field can show.
    ///
    /// # Errors
    /// [`SpecError::NotLoopback`] for an address that other machines can reach without the flag that allows it,
    /// [`SpecError::TooManyLabels`].
    pub fn validate(&self) -> Result<(), SpecError> {
        if self.labels.len() > MAX_LABELS {
            return Err(SpecError::TooManyLabels(self.labels.len()));
        }
        match &self.local {
            LocalEndpoint::Tcp { address, .. } if !address.is_loopback() && !self.allow_non_loopback => {
                Err(SpecError::NotLoopback(address.to_string()))
            }
            LocalEndpoint::Tcp { .. } | LocalEndpoint::Unix(_) => Ok(()),
        }
    }

    /// The label that makes it ask before it is started, if it has it; see [`CONFIRM_LABEL`](crate::CONFIRM_LABEL).
    pub fn confirm_label(&self) -> Option<Label> {
        confirm_label(&self.labels)
    }

    /// The spec with the changes of `patch`.
    #[must_use]
    pub fn patched(&self, patch: &TunnelSpecPatch) -> Self {
        let mut spec = self.clone();
        let TunnelSpecPatch {
            name,
            profile,
            region,
            target,
            remote,
            local,
            allow_non_loopback,
            labels,
            keep,
            sessions,
            reason,
            ttl,
        } = patch.clone();
        name.into_iter().for_each(|value| spec.name = value);
        profile.into_iter().for_each(|value| spec.profile = value);
        region.into_iter().for_each(|value| spec.region = value);
        target.into_iter().for_each(|value| spec.target = value);
        remote.into_iter().for_each(|value| spec.remote = value);
        local.into_iter().for_each(|value| spec.local = value);
        allow_non_loopback.into_iter().for_each(|value| spec.allow_non_loopback = value);
        labels.into_iter().for_each(|value| spec.labels = value);
        keep.into_iter().for_each(|value| spec.keep = value);
        sessions.into_iter().for_each(|value| spec.sessions = value);
        reason.into_iter().for_each(|value| spec.reason = value);
        ttl.into_iter().for_each(|value| spec.ttl = value);
        spec
    }

    /// Whether going from this spec to `next` needs another SSM session.
    pub fn needs_new_session(&self, next: &Self) -> bool {
        let Self { profile, region, target, remote, .. } = self;
        (profile, region, target, remote) != (&next.profile, &next.region, &next.target, &next.remote)
    }

    /// Whether going from this spec to `next` needs another listener.
    pub fn needs_new_listener(&self, next: &Self) -> bool {
        self.local != next.local
    }

    /// The fields in which `next` differs, as the API calls them.
    pub fn changed_fields(&self, next: &Self) -> Vec<&'static str> {
        let Self {
            name,
            profile,
            region,
            target,
            remote,
            local,
            allow_non_loopback,
            labels,
            keep,
            sessions,
            reason,
            ttl,
        } = self;
        let fields = [
            ("name", *name != next.name),
            ("profile", *profile != next.profile),
            ("region", *region != next.region),
            ("target", *target != next.target),
            ("remote", *remote != next.remote),
            ("local", *local != next.local),
            ("allow_non_loopback", *allow_non_loopback != next.allow_non_loopback),
            ("labels", *labels != next.labels),
            ("keep", *keep != next.keep),
            ("sessions", *sessions != next.sessions),
            ("reason", *reason != next.reason),
            ("ttl", *ttl != next.ttl),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
    }
}

/// Changes to a spec; absent fields stay. Where there are two options, the outer one says whether to change, the inner
/// one what to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TunnelSpecPatch {
    /// New name.
    pub name: Option<TunnelName>,
    /// New profile, or none.
    pub profile: Option<Option<Profile>>,
    /// New region, or none.
    pub region: Option<Option<Region>>,
    /// New target.
    pub target: Option<Target>,
    /// New remote end.
    pub remote: Option<RemoteEndpoint>,
    /// New local end.
    pub local: Option<LocalEndpoint>,
    /// New answer to whether other machines may connect.
    pub allow_non_loopback: Option<bool>,
    /// New labels, in place of all that there are.
    pub labels: Option<Labels>,
    /// New answer to when it holds a session that nobody uses.
    pub keep: Option<Keep>,
    /// New number of sessions.
    pub sessions: Option<SessionCount>,
    /// New reason, or none.
    pub reason: Option<Option<Reason>>,
    /// New time to run, or none.
    pub ttl: Option<Option<Ttl>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> TunnelSpec {
        TunnelSpec {
            name: "db".parse().unwrap(),
            profile: None,
            region: Some("eu-west-1".parse().unwrap()),
            target: "i-0abcdef1234567890".parse().unwrap(),
            remote: "db.internal:5432".parse().unwrap(),
            local: "15432".parse().unwrap(),
            allow_non_loopback: false,
            labels: Labels::new(),
            keep: Keep::Auto,
            sessions: SessionCount::ONE,
            reason: None,
            ttl: None,
        }
    }

    #[test]
    fn beyond_loopback_needs_consent() {
        let mut open = TunnelSpec { local: "0.0.0.0:15432".parse().unwrap(), ..spec() };
        assert_eq!(open.validate(), Err(SpecError::NotLoopback("0.0.0.0".to_owned())));
        open.allow_non_loopback = true;
        assert_eq!(open.validate(), Ok(()));
        assert_eq!(spec().validate(), Ok(()));
    }

    #[test]
    fn a_patch_changes_only_what_it_names() {
        let patch = TunnelSpecPatch {
            region: Some(None),
            local: Some(LocalEndpoint::AUTOMATIC),
            ..Default::default()
        };
        let patched = spec().patched(&patch);
        assert_eq!(patched, TunnelSpec { region: None, local: LocalEndpoint::AUTOMATIC, ..spec() });
        assert!(spec().needs_new_session(&patched));
        assert!(spec().needs_new_listener(&patched));
        assert_eq!(spec().changed_fields(&patched), ["region", "local"]);
    }

    #[test]
    fn what_needs_no_new_session_disturbs_nothing() {
        let renamed = spec().patched(&TunnelSpecPatch {
            name: Some("pg".parse().unwrap()),
            labels: Some(labels(1)),
            keep: Some(Keep::Warm),
            sessions: Some("8".parse().unwrap()),
            reason: Some(Some("INC-4711".parse().unwrap())),
            ttl: Some(Some(3600.try_into().unwrap())),
            ..Default::default()
        });
        assert!(!spec().needs_new_session(&renamed));
        assert!(!spec().needs_new_listener(&renamed));
        assert_eq!(spec().changed_fields(&renamed), ["name", "labels", "keep", "sessions", "reason", "ttl"]);
    }

    #[test]
    fn a_label_asks_for_confirmation_whatever_its_value_but_false() {
        let labelled = |text: &str| {
            let label: Label = text.parse().unwrap();
            TunnelSpec { labels: [label.into()].into(), ..spec() }.confirm_label()
        };
        for text in ["confirm=true", "confirm=yes", "confirm="] {
            assert_eq!(labelled(text).map(|label| label.to_string()).as_deref(), Some(text));
        }
        for text in ["confirm=false", "confirmed=true", "env=confirm"] {
            assert_eq!(labelled(text), None, "{text}");
        }
        assert_eq!(spec().confirm_label(), None);
    }

    #[test]
    fn labels_are_bounded() {
        assert_eq!(TunnelSpec { labels: labels(64), ..spec() }.validate(), Ok(()));
        let error = TunnelSpec { labels: labels(65), ..spec() }.validate().unwrap_err();
        assert_eq!((error.field(), error), ("labels", SpecError::TooManyLabels(65)));
    }

    fn labels(count: usize) -> Labels {
        (0..count).map(|number| (format!("k{number}").parse().unwrap(), "v".parse().unwrap())).collect()
    }
}
