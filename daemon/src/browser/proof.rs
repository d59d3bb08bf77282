//! PKCE (RFC 7636): what proves that whoever brings the code to AWS is who sent the browser there.

use aws_lc_rs::{constant_time, digest};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use secrecy::{ExposeSecret as _, SecretString};
use stormtunnel_engine::ports::Entropy;
use url::form_urlencoded;

/// The two secrets of one login. No `Debug`.
pub(super) struct Proof {
    /// Never leaves the machine but to AWS, with the code.
    pub(super) verifier: SecretString,
    /// Comes back with the code: this login's, and no other's.
    state: SecretString,
}

impl Proof {
    /// Fresh ones, 43 characters each as RFC 7636 advises.
    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        let random = || SecretString::from(BASE64_URL_SAFE_NO_PAD.encode(entropy.seed()));
        Self { verifier: random(), state: random() }
    }

    /// The page that the browser is sent to.
    pub(super) fn url(&self, endpoint: &str, client: &str, redirect_uri: &str, scopes: &[String]) -> String {
        let scopes = scopes.join(" ");
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", client)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("state", self.state.expose_secret())
            .append_pair("code_challenge_method", "S256")
            // Plural, as the AWS CLI has it; the standard's parameter is `scope`.
            .append_pair("scopes", &scopes)
            .append_pair("code_challenge", &challenge(self.verifier.expose_secret()))
            .finish();
        // A plus is a space only in forms; a real one is `%2B` here.
        format!("{}/authorize?{}", endpoint.trim_end_matches('/'), query.replace('+', "%20"))
    }

    /// Whether the answer is this login's.
    pub(super) fn is_of_this_login(&self, state: &str) -> bool {
        is_same(state, self.state.expose_secret())
    }
}

/// Compares in a time that does not depend on where the texts differ.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

fn challenge(verifier: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use stormtunnel_engine::sign_in::ports::SignInSite;

    use super::*;
    use crate::system::SystemEntropy;

    #[test]
    fn the_challenge_is_that_of_the_standard() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn each_login_has_secrets_of_its_own() {
        let (one, other) = (Proof::new(&SystemEntropy), Proof::new(&SystemEntropy));
        let state = one.state.expose_secret();
        assert_eq!((state.len(), one.verifier.expose_secret().len()), (43, 43));
        assert!(state != one.verifier.expose_secret());
        assert!(one.is_of_this_login(state) && !other.is_of_this_login(state) && !one.is_of_this_login(""));
    }

    #[test]
    fn the_page_is_told_everything_but_the_verifier() {
        let proof = Proof::new(&SystemEntropy);
        let redirect = "http://127.0.0.1:7/oauth/callback";
        let scopes = ["a:b".to_owned(), "c+d".to_owned()];
        let url = proof.url("https://oidc.eu-west-1.amazonaws.com/", "id&1", redirect, &scopes);
        assert!(url.contains("&redirect_uri=http%3A%2F%2F127.0.0.1%3A7%2Foauth%2Fcallback&"), "{url}");
        assert!(url.contains("scopes=a%3Ab%20c%2Bd"), "{url}");
        let parsed = url::Url::parse(&url).unwrap();
        assert_eq!((parsed.host_str(), parsed.path()), (Some("oidc.eu-west-1.amazonaws.com"), "/authorize"));
        let query: BTreeMap<_, _> = parsed.query_pairs().into_owned().collect();
        let value = |name: &str| query.get(name).map(String::as_str);
        assert_eq!(value("response_type"), Some("code"));
        assert_eq!(value("client_id"), Some("id&1"));
        assert_eq!(value("code_challenge_method"), Some("S256"));
        assert_eq!(value("scopes"), Some("a:b c+d"));
        assert_eq!(value("state"), Some(proof.state.expose_secret()));
        assert_eq!(value("code_challenge"), Some(challenge(proof.verifier.expose_secret()).as_str()));
        assert!(!url.contains(proof.verifier.expose_secret()));
    }

    #[test]
    fn without_scopes_the_usual_one_is_asked_for() {
        let site = SignInSite {
            name: "corp".parse().unwrap(),
            start_url: "https://x.awsapps.com/start".to_owned(),
            region: "eu-west-1".parse().unwrap(),
            scopes: Vec::new(),
        };
        let scopes = site.code_scopes();
        let url = Proof::new(&SystemEntropy).url("https://o", "id", "http://127.0.0.1:7/", &scopes);
        assert!(url.contains("scopes=sso%3Aaccount%3Aaccess&"), "{url}");
    }
}
