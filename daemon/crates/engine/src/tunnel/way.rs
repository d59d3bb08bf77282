//! The settings of the way to AWS: tunnels that they held up try again when somebody has changed them.

use std::sync::Arc;

use stormtunnel_model::FaultKind;
use stormtunnel_model::settings::Settings;
use tokio::sync::{mpsc, watch};

use crate::handle::Command;

/// Tells the supervisor when one of these settings is another one than it was.
pub(crate) async fn follow(mut settings: watch::Receiver<Arc<Settings>>, supervisor: mpsc::Sender<Command>) {
    let mut known = Arc::clone(&settings.borrow_and_update());
    while settings.changed().await.is_ok() {
        let now = Arc::clone(&settings.borrow_and_update());
        if !is_same(&known, &now) && supervisor.send(Command::WayChanged).await.is_err() {
            return;
        }
        known = now;
    }
}

/// Whether both lead to AWS in the same way.
fn is_same(one: &Settings, other: &Settings) -> bool {
    let endpoints = |settings: &Settings| {
        let Settings { endpoint_ec2, endpoint_ecs, endpoint_ssm, endpoint_ssmmessages, .. } =
            settings.clone();
        let Settings { endpoint_sso, endpoint_sso_oidc, endpoint_sts, .. } = settings.clone();
        let of_tunnels = [endpoint_ec2, endpoint_ecs, endpoint_ssm, endpoint_ssmmessages];
        (
            of_tunnels,
            [endpoint_sso, endpoint_sso_oidc, endpoint_sts],
            settings.use_fips,
            settings.use_dual_stack,
        )
    };
    let network = |settings: &Settings| {
        let Settings { ca_bundle, proxy, no_proxy, default_region, default_profile, .. } = settings.clone();
        (ca_bundle, proxy, no_proxy, default_region, default_profile)
    };
    endpoints(one) == endpoints(other) && network(one) == network(other)
}

/// Whether such a setting may end it. `follows_default`: the tunnel has no profile of its own.
pub(crate) fn may_end(kind: &FaultKind, follows_default: bool) -> bool {
    if let FaultKind::InvalidArgument { field } = kind {
        let field = field.to_ascii_lowercase();
        return field == "region"
            || ["endpoint", "proxy", "ca_bundle"].iter().any(|part| field.contains(part));
    }
    (is_of_credentials(kind) && follows_default) || *kind == FaultKind::Network
}

/// Whether another profile, or another content of the same, may end it.
pub(crate) fn is_of_credentials(kind: &FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::ProfileNotFound { .. }
            | FaultKind::CredentialsInvalid { .. }
            | FaultKind::SignInNeeded { .. }
            | FaultKind::SignInNotFound { .. }
            | FaultKind::PermissionDenied { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leads_to_aws_is_another_way() {
        let before = Settings::default();
        let changed: [fn(&mut Settings); 6] = [
            |settings| settings.endpoint_ssm = Some("https://vpce.example".to_owned()),
            |settings| settings.endpoint_sts = Some("https://vpce.example".to_owned()),
            |settings| settings.use_fips = true,
            |settings| settings.proxy = "http://proxy:1".parse().ok(),
            |settings| settings.ca_bundle = Some("/corp.pem".to_owned()),
            |settings| settings.default_profile = "prod".parse().ok(),
        ];
        for change in changed {
            let mut after = before.clone();
            change(&mut after);
            assert!(!is_same(&before, &after), "{after:?}");
        }
        let others = Settings { log_filter: "trace".to_owned(), notifications: false, ..before.clone() };
        assert!(is_same(&before, &others));
    }

    #[test]
    fn a_setting_ends_what_a_setting_may_have_caused() {
        let field = |field: &str| FaultKind::InvalidArgument { field: field.to_owned() };
        for name in [
            "region",
            "aws.endpoint_ssm",
            "AWS_ENDPOINT_URL",
            "HTTPS_PROXY",
            "network.ca_bundle",
            "ca_bundle",
        ] {
            assert!(may_end(&field(name), false), "{name}");
        }
        assert!(may_end(&FaultKind::Network, false), "a proxy that was dead is another one now");
        assert!(!may_end(&field("document"), true));
        let denied = FaultKind::CredentialsInvalid { profile: String::new() };
        assert!(may_end(&denied, true) && !may_end(&denied, false));
    }
}
