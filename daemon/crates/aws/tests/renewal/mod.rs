//! Credentials that AWS does not take any more, though nothing here says that they are over.

use super::*;

const EXPIRED: &str =
    r#"{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}"#;

/// A profile whose program prints another key each time.
fn with_program(fixture: &Fixture) -> AwsScope {
    let directory = fixture.directory.path();
    let script = "n=$(cat \"$0.count\" 2>/dev/null || echo 0); n=$((n + 1)); echo $n > \"$0.count\"\n\
                  printf '{\"Version\":1,\"AccessKeyId\":\"AKIDRUN%s\",\"SecretAccessKey\":\"x\"}' $n\n";
    let program = directory.join("keys.sh");
    std::fs::write(&program, script).unwrap();
    let profile = format!(
        "[profile program]\nregion = eu-west-1\ncredential_process = sh {}\n[profile prod]\nregion = eu-west-1\n",
        program.display()
    );
    write_config(directory, &profile);
    scope(Some("program"), None)
}

/// The keys that signed, one per request.
fn signed_by(fixture: &Fixture) -> Vec<String> {
    let key = |request: &String| {
        let (_, rest) = request.split_once("Credential=").unwrap();
        rest.split('/').next().unwrap().to_owned()
    };
    fixture.server.requests().iter().map(key).collect()
}

#[tokio::test]
async fn others_are_fetched_and_the_call_is_made_once_more() {
    let fixture = Fixture::new().await;
    let scope = with_program(&fixture);
    fixture.server.answer(400, EXPIRED);
    fixture.server.answer(200, GRANTED);
    fixture.start_in(scope.clone()).await.unwrap();
    assert_eq!(signed_by(&fixture), ["AKIDRUN1", "AKIDRUN2"]);

    fixture.server.answer(200, GRANTED);
    fixture.start_in(scope).await.unwrap();
    assert_eq!(signed_by(&fixture), ["AKIDRUN2"], "those are kept");
}

#[tokio::test]
async fn one_more_time_and_no_more() {
    let fixture = Fixture::new().await;
    let scope = with_program(&fixture);
    for _ in 0..3 {
        fixture.server.answer(400, EXPIRED);
    }
    let fault = fixture.start_fault(scope).await;
    assert_eq!(fault.kind, FaultKind::CredentialsInvalid { profile: "program".to_owned() });
    assert_eq!(signed_by(&fixture).len(), 2);
}

#[tokio::test]
async fn keys_that_stand_in_a_file_would_be_the_same() {
    let fixture = Fixture::new().await;
    fixture.server.answer(400, EXPIRED);
    fixture.start_fault(scope(Some("prod"), None)).await;
    assert_eq!(signed_by(&fixture).len(), 1);
}

#[tokio::test]
async fn only_what_can_be_renewed_is_worth_another_dial() {
    let fixture = Fixture::new().await;
    let (program, region) = (with_program(&fixture), "eu-west-1".parse().unwrap());
    let refused = |kind| Fault::new(kind, "");
    let credentials = refused(FaultKind::CredentialsInvalid { profile: "program".to_owned() });
    assert!(fixture.access.may_renew(&program, &region, &credentials).await);
    assert!(!fixture.access.may_renew(&scope(Some("prod"), None), &region, &credentials).await);
    assert!(!fixture.access.may_renew(&program, &region, &refused(FaultKind::Network)).await);
}

#[tokio::test]
async fn a_profile_that_nobody_touched_keeps_its_credentials() {
    let fixture = Fixture::new().await;
    let scope = with_program(&fixture);
    let again = async || {
        fixture.server.answer(200, GRANTED);
        fixture.start_in(scope.clone()).await.unwrap();
        signed_by(&fixture)
    };
    assert_eq!(again().await, ["AKIDRUN1"]);
    let config = fixture.directory.path().join("config");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}[profile other]\nregion = us-east-1\n")).unwrap();
    assert_eq!(again().await, ["AKIDRUN1"]);
    std::fs::write(&config, text.replace("sh /", "sh  /").replace("keys.sh", "./keys.sh")).unwrap();
    assert_eq!(again().await, ["AKIDRUN2"], "another command is another profile");
}

#[tokio::test]
async fn what_sts_does_not_take_any_more_is_had_anew_and_the_role_assumed_once_more() {
    let fixture = Fixture::new().await;
    with_program(&fixture);
    let config = fixture.directory.path().join("config");
    let text = std::fs::read_to_string(&config).unwrap();
    let role = "[profile role]\nregion = eu-west-1\nrole_arn = arn:aws:iam::123456789012:role/Dev\nsource_profile = program\n";
    let services =
        format!("services = local\n[services local]\nsts =\n  endpoint_url = {}\n", fixture.server.url);
    std::fs::write(&config, format!("{text}{role}{services}")).unwrap();
    let over = "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>It is over.</Message></Error></ErrorResponse>";
    let assumed = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>AKIDROLE</AccessKeyId>\
                   <SecretAccessKey>x</SecretAccessKey><SessionToken>t</SessionToken>\
                   <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
    fixture.server.answer(403, over);
    fixture.server.answer(200, assumed);
    fixture.server.answer(200, GRANTED);
    fixture.start_in(scope(Some("role"), None)).await.unwrap();
    assert_eq!(signed_by(&fixture), ["AKIDRUN1", "AKIDRUN2", "AKIDROLE"]);
}
