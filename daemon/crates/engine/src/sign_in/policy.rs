//! The settings of sign-ins, and when they have a token renewed.

use std::time::Duration;

use stormtunnel_model::RenewalRule;
pub use stormtunnel_model::Sharing;
use stormtunnel_model::settings::Settings;

/// `early_renewal` is so long before the end: botocore and the AWS CLI begin to renew at 15 minutes, the SDKs for Rust and
/// JavaScript at 5.
pub const EARLY: Duration = Duration::from_secs(20 * 60);
/// Lifetime of a token whose beginning nobody saw: those that can be renewed are issued for an hour.
pub const USUAL_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How long before the end of a token that only a person can replace this person is told.
pub const PERSON_NEEDS: Duration = Duration::from_secs(15 * 60);

/// The settings of a sign-in, each within its range. They may change at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignInPolicy {
    /// Renew by schedule; else only when somebody needs the token.
    pub auto_refresh: bool,
    /// Renew so long before the token expires: 1 to 60 minutes.
    pub refresh_threshold: Duration,
    /// How often the clock and the shared file are looked at: 10 s to 1 hour.
    pub check_interval: Duration,
    /// Renew before other tools do, while the token is shared with them.
    pub early_renewal: bool,
    /// What other tools get.
    pub sharing: Sharing,
}

impl Default for SignInPolicy {
    fn default() -> Self {
        Self::of(&Settings::default())
    }
}

impl SignInPolicy {
    /// As the settings have it.
    pub fn of(settings: &Settings) -> Self {
        Self {
            auto_refresh: settings.sso_auto_refresh,
            refresh_threshold: settings.sso_refresh_threshold,
            check_interval: settings.sso_check_interval,
            early_renewal: settings.sso_early_renewal,
            sharing: settings.sso_sharing,
        }
    }

    /// How long before its end a token that is good for `lifetime` is renewed, and the rule that says so.
    pub fn lead(&self, lifetime: Duration) -> (Duration, RenewalRule) {
        let early = match lifetime / 3 {
            third if third < EARLY => (third, RenewalRule::EarlyThird),
            _ => (EARLY, RenewalRule::EarlyTwentyMinutes),
        };
        let threshold = (self.refresh_threshold, RenewalRule::Threshold);
        let shared = self.early_renewal && self.sharing != Sharing::Off;
        let chosen = if shared && early.0 > threshold.0 { early } else { threshold };
        let half = lifetime / 2;
        if chosen.0 > half { (half, RenewalRule::HalfOfLifetime) } else { chosen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn lead(policy: SignInPolicy, lifetime: u32) -> (u64, RenewalRule) {
        let (lead, rule) = policy.lead(MINUTE * lifetime);
        (lead.as_secs(), rule)
    }

    #[test]
    fn a_shared_token_is_renewed_ahead_of_everybody_else() {
        let policy = SignInPolicy::default();
        assert_eq!(lead(policy, 480), (1200, RenewalRule::EarlyTwentyMinutes));
        assert_eq!(lead(policy, 60), (1200, RenewalRule::EarlyTwentyMinutes), "a third of it is 20 minutes");
        assert_eq!(lead(policy, 45), (900, RenewalRule::EarlyThird));
        let access_only = SignInPolicy { sharing: Sharing::AccessOnly, ..policy };
        assert_eq!(
            lead(access_only, 60),
            (1200, RenewalRule::EarlyTwentyMinutes),
            "its readers depend on us"
        );
    }

    #[test]
    fn otherwise_the_threshold_counts() {
        let late = SignInPolicy { early_renewal: false, ..SignInPolicy::default() };
        assert_eq!(lead(late, 60), (300, RenewalRule::Threshold));
        let private = SignInPolicy { sharing: Sharing::Off, ..SignInPolicy::default() };
        assert_eq!(lead(private, 60), (300, RenewalRule::Threshold));
        let earlier = SignInPolicy { refresh_threshold: MINUTE * 30, ..SignInPolicy::default() };
        assert_eq!(lead(earlier, 480), (1800, RenewalRule::Threshold), "whichever is earlier");
        assert_eq!(lead(SignInPolicy::default(), 12), (300, RenewalRule::Threshold), "a third is less");
    }

    #[test]
    fn a_short_token_is_not_renewed_all_the_time() {
        let eager = SignInPolicy { refresh_threshold: MINUTE * 60, ..SignInPolicy::default() };
        assert_eq!(lead(eager, 60), (1800, RenewalRule::HalfOfLifetime));
        assert_eq!(lead(SignInPolicy::default(), 4), (120, RenewalRule::HalfOfLifetime));
    }
}
