//! What is left of a login after a logout: nothing.

use stormtunnel_aws::testing::FileProfiles;
use stormtunnel_aws::{AwsAccess, AwsIdentity};
use stormtunnel_engine::ports::{AwsScope, Identity as _};

use super::*;

/// One profile with a role of IAM Identity Center, and one with a role that is assumed from there.
fn config() -> String {
    format!(
        "[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = {START_URL}\n\
         [profile direct]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Developer\n\
         region = eu-central-1\n\
         [profile chain]\nrole_arn = {OUTER}\nexternal_id = xyz\nsource_profile = direct\nregion = eu-central-1\n"
    )
}

#[tokio::test]
async fn neither_the_credentials_of_roles_nor_what_was_made_of_them_outlive_the_login() {
    let world = World::new(Ok("123456")).await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("config"), config()).unwrap();
    let World { network, broker, sign_in, .. } = &world;
    let known = sign_in.clone();
    let finder = move |_: &SignInName| Ok(known.clone());
    let codes = Arc::clone(&world.person) as _;
    let providers = Providers::new(Arc::clone(network), Arc::clone(broker), Arc::new(finder), codes);
    let files = Arc::new(FileProfiles(directory.path().to_owned()));
    let identity = AwsIdentity::new(AwsAccess::new(Arc::clone(network), files, providers));
    let scope = |profile: &str| AwsScope { profile: Some(profile.parse().unwrap()), region: None };
    for profile in ["direct", "chain"] {
        identity.check(&scope(profile)).await.unwrap_or_else(|fault| panic!("{profile}: {fault}"));
    }
    sign_in.logout().await.unwrap();
    broker.forget(sign_in.name());
    for profile in ["direct", "chain"] {
        let fault = identity.check(&scope(profile)).await.expect_err(profile);
        assert!(matches!(fault.kind, FaultKind::SignInNeeded { .. }), "{profile}: {fault}");
    }
}
