//! Accounts and roles to choose from, and a sign-in that is there once it is written.

use stormtunnel_model::{AccountId, SsoConfig, SsoProfile, SsoSection, SsoSession};

use super::*;

const ACCOUNT: &str = "111122223333";

fn account() -> AccountId {
    ACCOUNT.parse().unwrap()
}

fn setup() -> Setup {
    let setup = Setup::of(World::signed_in(30 * MINUTE), &["corp"]);
    setup.accounts.put(ACCOUNT, &["Admin", "Reader"]);
    setup.accounts.put("444455556666", &["Reader"]);
    setup
}

#[tokio::test(start_paused = true)]
async fn accounts_and_roles_are_listed_with_the_token_of_the_sign_in() {
    let setup = setup();
    let profile = SignInChoice::OfProfile("corp-3".parse().unwrap());
    let accounts = setup.sign_ins.accounts(&profile).await.unwrap();
    assert_eq!(accounts.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), [ACCOUNT, "444455556666"]);
    assert_eq!(setup.sign_ins.roles(&named("corp"), &account()).await.unwrap(), ["Admin", "Reader"]);
    assert_eq!(setup.accounts.tokens(), ["first", "first"]);
    let unknown = setup.sign_ins.accounts(&named("crop")).await.unwrap_err();
    assert_eq!(unknown.kind.name(), "sign_in_not_found");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_portal_does_not_take_is_renewed_once() {
    let setup = setup();
    setup.accounts.refuse_next("UnauthorizedException", 401);
    assert_eq!(setup.sign_ins.accounts(&named("corp")).await.unwrap().len(), 2);
    let tokens = setup.accounts.tokens();
    assert!(tokens.len() == 2 && tokens[0] != tokens[1], "{tokens:?}");
    for _ in 0..2 {
        setup.accounts.refuse_next("UnauthorizedException", 401);
    }
    let lost = setup.sign_ins.roles(&named("corp"), &account()).await.unwrap_err();
    assert_eq!(lost.kind, FaultKind::SignInNeeded { sign_in: "corp".to_owned() });
}

#[tokio::test(start_paused = true)]
async fn an_account_of_somebody_else_is_named_in_the_refusal() {
    let setup = setup();
    setup.accounts.refuse_next("ForbiddenException", 403);
    let denied = setup.sign_ins.roles(&named("corp"), &account()).await.unwrap_err();
    let kind = FaultKind::PermissionDenied {
        principal: String::new(),
        action: "sso:ListAccountRoles".to_owned(),
        resource: "account 111122223333".to_owned(),
    };
    assert_eq!(denied.kind, kind);
    setup.accounts.refuse_next("ForbiddenException", 403);
    let denied = setup.sign_ins.accounts(&named("corp")).await.unwrap_err();
    assert!(denied.kind.to_string().ends_with("to do sso:ListAccounts"), "{denied}");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_signed_in_for_a_list() {
    let setup = Setup::of(World::new(), &["corp"]);
    let needed = setup.sign_ins.accounts(&named("corp")).await.unwrap_err();
    assert_eq!(needed.kind, FaultKind::SignInNeeded { sign_in: "corp".to_owned() });
    assert!(setup.accounts.tokens().is_empty() && setup.world.browser.opened().is_empty());
}

fn config(url: &str) -> SsoConfig {
    let profile = SsoProfile {
        name: "dev".parse().unwrap(),
        account: account(),
        role: "Admin".parse().unwrap(),
        region: None,
        output: None,
    };
    let session = SsoSession {
        name: "lab".parse().unwrap(),
        start_url: url.parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
        scopes: Vec::new(),
    };
    SsoConfig { session, profiles: vec![profile], overwrite: false }
}

#[tokio::test(start_paused = true)]
async fn what_is_configured_is_there_when_the_answer_is() {
    let setup = setup();
    for url in ["https://lab.awsapps.com/start", "https://moved.awsapps.com/start"] {
        let configured = setup.sign_ins.configure(&config(url)).await.unwrap();
        assert_eq!(configured.sections[1].section, SsoSection::Profile("dev".parse().unwrap()));
        assert_eq!(setup.handle("lab").site().start_url, url);
        let profile = SignInChoice::OfProfile("dev".parse().unwrap());
        assert_eq!(setup.sign_ins.refresh(&profile).await.unwrap_err().kind.name(), "sign_in_needed");
    }
    let kind = FaultKind::SectionExists { section: "[profile dev]".to_owned() };
    setup.config.refuse(Fault::new(kind.clone(), ""));
    assert_eq!(setup.sign_ins.configure(&config("https://other")).await.unwrap_err().kind, kind);
    assert_eq!(setup.handle("lab").site().start_url, "https://moved.awsapps.com/start");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_nobody_follows_is_not_waited_for_for_ever() {
    let world = World::new();
    let (nowhere, _) = watch::channel(Arc::default());
    let sign_ins = SignIns::start(SignInWorld {
        ports: world.ports(),
        accounts: Arc::new(MemoryAccounts::default()),
        config: Arc::new(MemoryConfig::new(nowhere)),
        configured: watch::channel(Arc::default()).1,
        policy: world.policy.subscribe(),
        tasks: world.tasks.clone(),
    });
    let written = sign_ins.unwrap().configure(&config("https://lab")).await.unwrap();
    assert_eq!(written.sections.len(), 2);
    let none = SignIns::none().configure(&config("https://lab")).await.unwrap_err();
    assert!(none.detail.contains("this daemon cannot sign in"), "{none}");
}
