//! Who AWS takes us for, against an STS that answers from a script.

use std::sync::Arc;

use stormtunnel_aws::AwsIdentity;
use stormtunnel_engine::ports::Identity as _;
use stormtunnel_model::{Fault, FaultKind, Principal};

use super::{Fixture, GRANTED, SECRET, SESSION_TOKEN, scope};

const ADA: &str = "arn:aws:sts::123456789012:assumed-role/Dev/ada";

fn answer(arn: &str) -> String {
    format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>{arn}</Arn><UserId>AROAEXAMPLE:ada</UserId><Account>123456789012</Account></GetCallerIdentityResult>\
         <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )
}

fn refusal(code: &str) -> String {
    format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{SECRET} Sorry.</Message></Error>\
         </ErrorResponse>"
    )
}

struct Asking {
    fixture: Fixture,
    identity: AwsIdentity,
}

impl Asking {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let url = fixture.server.url.clone();
        fixture.change(|settings| settings.endpoint_sts = Some(url));
        let identity = AwsIdentity::new(Arc::clone(&fixture.access));
        Self { fixture, identity }
    }

    async fn ask(&self) -> Result<Principal, Fault> {
        self.identity.caller(&scope(None, None)).await
    }
}

#[tokio::test]
async fn sts_is_asked_once_per_credentials() {
    let asking = Asking::new().await;
    asking.fixture.server.answer(200, &answer(ADA));
    let scope = scope(None, None);
    let (one, other) = tokio::join!(asking.identity.caller(&scope), asking.identity.caller(&scope));
    assert_eq!((one.unwrap().as_str(), other.unwrap().as_str()), (ADA, ADA));
    assert_eq!(asking.ask().await.unwrap().as_str(), ADA);
    let sent = asking.fixture.server.requests();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].contains("Action=GetCallerIdentity"), "{}", sent[0]);
    assert!(sent[0].contains("/eu-west-1/sts/aws4_request"), "{}", sent[0]);

    let keys = "[prod]\naws_access_key_id = AKIDNEW\naws_secret_access_key = x\n";
    std::fs::write(asking.fixture.directory.path().join("credentials"), keys).unwrap();
    let bob = "arn:aws:iam::123456789012:user/bob";
    asking.fixture.server.answer(200, &answer(bob));
    assert_eq!(asking.ask().await.unwrap().as_str(), bob);
    assert_eq!(asking.fixture.server.requests().len(), 1);
}

#[tokio::test]
async fn a_question_that_failed_is_not_asked_again_at_once_and_breaks_nothing() {
    let asking = Asking::new().await;
    asking.fixture.server.answer(400, &refusal("SomethingNew"));
    for _ in 0..3 {
        let fault = asking.ask().await.unwrap_err();
        assert!(matches!(fault.kind, FaultKind::Network), "{fault}");
        assert!(!fault.detail.contains(SECRET) && !fault.detail.contains(SESSION_TOKEN), "{fault}");
    }
    assert_eq!(asking.fixture.server.requests().len(), 1);
    asking.fixture.server.answer(200, GRANTED);
    asking.fixture.start_in(scope(None, None)).await.unwrap();
    asking.ask().await.unwrap_err();
    assert_eq!(asking.fixture.server.requests().len(), 1, "what failed is still remembered");
}

#[tokio::test]
async fn keys_that_were_refused_may_be_good_the_next_time() {
    let asking = Asking::new().await;
    asking.fixture.server.answer(403, &refusal("InvalidClientTokenId"));
    let fault = asking.ask().await.unwrap_err();
    assert!(matches!(fault.kind, FaultKind::CredentialsInvalid { .. }), "{fault}");
    asking.fixture.server.answer(200, &answer(ADA));
    assert_eq!(asking.ask().await.unwrap().as_str(), ADA);
}

#[tokio::test]
async fn an_answer_that_is_no_arn_is_not_shown_to_anybody() {
    for strange in [answer("ada"), answer("arn:aws:iam::1:user/&#10;ada"), "<html/>".to_owned()] {
        let asking = Asking::new().await;
        asking.fixture.server.answer(200, &strange);
        let fault = asking.ask().await.unwrap_err();
        assert!(!fault.detail.contains("ada"), "{fault}");
    }
}
