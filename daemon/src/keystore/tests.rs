//! One contract for every key store, kept by each of them against the real thing.

use std::collections::HashSet;

use futures_util::future::{join, join_all};
use stormtunnel_engine::sign_in::ports::SignInSite;
use stormtunnel_engine::sign_in::token::{OidcClient, RefreshGrant, SsoToken};
use stormtunnel_model::Timestamp;
use tempfile::TempDir;

use super::*;

/// Who write one token at once, and how often each of them.
const WRITERS: usize = 8;
const ROUNDS: usize = 4;

const FLOWS: [LoginFlow; 2] = [LoginFlow::AuthorizationCode, LoginFlow::DeviceCode];

/// All that there is in a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Content {
    access: String,
    expires_at: Timestamp,
    refresh: Option<(String, ClientContent)>,
    site: (String, String, Vec<String>),
    shared: bool,
    signed_out: bool,
}

type ClientContent = (String, String, Timestamp);

fn site(mark: &str) -> Arc<SignInSite> {
    Arc::new(SignInSite {
        name: name("whoever"),
        start_url: format!("https://{}.awsapps.com/start/#", mark.len()),
        region: "eu-west-1".parse().unwrap(),
        scopes: vec!["sso:account:access".to_owned(), format!("\"{mark}\"")],
    })
}

fn content(stored: &StoredToken) -> Content {
    let token = &stored.token;
    let text = |secret: &secrecy::SecretString| secret.expose_secret().to_owned();
    let refresh = token.refresh.as_ref().map(|grant| (text(&grant.token), client_content(&grant.client)));
    let SignInSite { start_url, region, scopes, .. } = (*stored.site).clone();
    let (site, access) = ((start_url, region.to_string(), scopes), text(&token.access));
    let StoredToken { shared, signed_out, .. } = *stored;
    Content { access, expires_at: token.expires_at, refresh, site, shared, signed_out }
}

fn client_content(client: &OidcClient) -> ClientContent {
    (client.id.clone(), client.secret.expose_secret().to_owned(), client.expires_at)
}

fn stored_client(mark: &str) -> StoredClient {
    let registered_at = Timestamp::from_millis(mark.len() as u64);
    StoredClient { client: client(mark), site: site(mark), registered_at }
}

/// A client that is told from others by its mark, with text that no form may trip over.
fn client(mark: &str) -> Arc<OidcClient> {
    let secret = format!("SECRET of {mark}: {{\"\\u0000\": '\u{1f511}'}}\n\t").into();
    let expires_at = Timestamp::from_millis(u64::MAX - mark.len() as u64);
    Arc::new(OidcClient { id: format!("id of {mark}"), secret, expires_at })
}

/// A token that is told from others by its mark; as long as real ones, which are signed documents.
fn token(mark: &str) -> StoredToken {
    let access = format!("SECRET access of {mark}\"\\\r\n{}", "x".repeat(4000)).into();
    let refresh = RefreshGrant { token: format!("SECRET refresh of {mark}").into(), client: client(mark) };
    let expires_at = Timestamp::from_millis(1_000 * mark.len() as u64);
    let token = Arc::new(SsoToken { access, expires_at, refresh: Some(refresh) });
    StoredToken { signed_out: mark.len() % 2 == 1, ..StoredToken::new(token, site(mark), true) }
}

/// One that cannot be renewed and is not shared.
fn simple_token(mark: &str) -> StoredToken {
    let access = format!("SECRET simple of {mark}").into();
    let expires_at = Timestamp::from_millis(7);
    StoredToken::new(Arc::new(SsoToken { access, expires_at, refresh: None }), site(mark), false)
}

fn name(text: &str) -> SignInName {
    text.parse().unwrap()
}

/// Names of all kinds: every character that a start URL may have, alone and together, and whatever a file system, a query or a
/// case-insensitive look-up could take for another one.
fn names() -> Vec<SignInName> {
    let printable: String = (' '..='~').collect();
    let mut texts: Vec<String> = [
        "corp",
        "Corp",
        " corp",
        "corp ",
        "corp.json",
        "..",
        "../corp",
        "../../corp",
        "/",
        "//",
        "tr\u{e4}ger",
        "tra\u{308}ger",
        "会社 \u{1f511}",
        "https://x.awsapps.com/start",
        "https://x.awsapps.com/start/",
        "https://x.awsapps.com/start/#",
        "https://X.awsapps.com/start",
        "https://x.awsapps.com/start?a=b&c=%2F",
        "https://x.awsapps.com/%73tart",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.extend(printable.chars().map(String::from));
    texts.push(format!("https://x.awsapps.com/{printable}"));
    texts.push("x".repeat(1024));
    texts.push("\u{1f511}".repeat(1024));
    texts.iter().map(|text| name(text)).collect()
}

async fn found(store: &dyn KeyStore, name: &SignInName) -> Option<Content> {
    store.token(name).await.unwrap().as_ref().map(content)
}

async fn found_client(store: &dyn KeyStore, name: &SignInName, flow: LoginFlow) -> Option<ClientContent> {
    let stored = store.client(name, flow).await.unwrap()?;
    let mark = stored.client.id.strip_prefix("id of ").unwrap();
    assert_eq!(
        (&stored.site.scopes, stored.registered_at),
        (&site(mark).scopes, stored_client(mark).registered_at)
    );
    Some(client_content(&stored.client))
}

/// What every key store keeps: it has what was put last, under that name and no other, also while others write, also in another
/// life if it `lasts`; and what was forgotten is gone.
async fn keeps_the_contract(id: &str, lasts: bool, open: impl AsyncFn() -> Arc<dyn KeyStore>) {
    let store = open().await;
    has_nothing_of_what_was_not_put(&*store).await;
    let names = names();
    keeps_every_name_apart(&*store, &names).await;
    replaces_and_forgets(&*store).await;
    writers_do_not_disturb_each_other(&*store).await;
    let store = if lasts {
        drop(store);
        open().await
    } else {
        store
    };
    for name in &names {
        assert_eq!(found(&*store, name).await, Some(content(&token(name.as_str()))), "{name:?}");
    }
    let life = if lasts { "all there after a re-open" } else { "until its end" };
    println!(
        "promise {id}: {} names kept apart, {WRITERS} writers of one token at once, {life}",
        names.len()
    );
}

async fn has_nothing_of_what_was_not_put(store: &dyn KeyStore) {
    let name = name("https://nobody.awsapps.com/start");
    assert_eq!(found(store, &name).await, None);
    assert_eq!(store.put_token(&name, None).await, Ok(()));
    for flow in FLOWS {
        assert_eq!(found_client(store, &name, flow).await, None);
        assert_eq!(store.put_client(&name, flow, None).await, Ok(()));
    }
}

async fn keeps_every_name_apart(store: &dyn KeyStore, names: &[SignInName]) {
    for name in names {
        assert_eq!(store.put_token(name, Some(token(name.as_str()))).await, Ok(()), "{name:?}");
    }
    let of = |name: &SignInName, flow| stored_client(&format!("{flow:?} of {name}"));
    for (name, flow) in names.iter().take(4).flat_map(|name| FLOWS.map(|flow| (name, flow))) {
        assert_eq!(store.put_client(name, flow, Some(of(name, flow))).await, Ok(()), "{name:?}");
    }
    for name in names {
        assert_eq!(found(store, name).await, Some(content(&token(name.as_str()))), "{name:?}");
    }
    for (name, flow) in names.iter().take(4).flat_map(|name| FLOWS.map(|flow| (name, flow))) {
        let expected = Some(client_content(&of(name, flow).client));
        assert_eq!(found_client(store, name, flow).await, expected, "{name:?} {flow:?}");
    }
}

async fn replaces_and_forgets(store: &dyn KeyStore) {
    let (name, other) = (name("replaced"), name("replace"));
    let (code, device) = (LoginFlow::AuthorizationCode, LoginFlow::DeviceCode);
    for token in [token("long"), simple_token("short"), token("long again")] {
        store.put_token(&name, Some(token.clone())).await.unwrap();
        let stored = store.token(&name).await.unwrap().unwrap();
        assert_eq!(content(&stored), content(&token));
        assert!(!format!("{stored:?}").contains("SECRET"), "{stored:?}");
    }
    store.put_token(&other, Some(token("other"))).await.unwrap();
    for flow in FLOWS {
        store.put_client(&name, flow, Some(stored_client("first"))).await.unwrap();
        store.put_client(&name, flow, Some(stored_client("second"))).await.unwrap();
    }
    store.put_client(&name, code, None).await.unwrap();
    assert_eq!(found_client(store, &name, code).await, None);
    assert_eq!(found_client(store, &name, device).await, Some(client_content(&client("second"))));
    assert!(found(store, &name).await.is_some());
    store.put_token(&name, None).await.unwrap();
    assert_eq!(found(store, &name).await, None);
    assert_eq!(found(store, &other).await, Some(content(&token("other"))));
    assert!(found_client(store, &name, device).await.is_some());
}

/// Whoever reads meanwhile finds one of the tokens that were put, whole; never none, and never parts of two.
async fn writers_do_not_disturb_each_other(store: &dyn KeyStore) {
    let shared = &name("written by many");
    let mark = |writer: usize, round: usize| format!("{writer} in round {round}");
    let marks = (0..WRITERS).flat_map(|writer| (0..ROUNDS).map(move |round| mark(writer, round)));
    let valid: &HashSet<Content> = &marks.map(|mark| content(&token(&mark))).collect();
    store.put_token(shared, Some(token(&mark(0, 0)))).await.unwrap();
    let writers = join_all((0..WRITERS).map(|writer| async move {
        for round in 0..ROUNDS {
            store.put_token(shared, Some(token(&mark(writer, round)))).await.unwrap();
            let own = name(&format!("written by {writer}"));
            store.put_token(&own, Some(token(&mark(writer, round)))).await.unwrap();
        }
    }));
    let readers = join_all((0..2).map(|_| async move {
        for _ in 0..ROUNDS * WRITERS {
            assert!(valid.contains(&found(store, shared).await.expect("never none")));
        }
    }));
    join(writers, readers).await;
    for writer in 0..WRITERS {
        let own = name(&format!("written by {writer}"));
        assert_eq!(found(store, &own).await, Some(content(&token(&mark(writer, ROUNDS - 1)))));
    }
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    keeps_the_contract("keystore.memory", false, async || open(KeyStoreChoice::Memory, path).await.store)
        .await;
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0, "nothing reaches the disk");
}

mod file;
#[cfg(target_os = "linux")]
mod linux;
