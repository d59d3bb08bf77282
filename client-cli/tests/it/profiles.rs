//! `stctl profiles` and `stctl whoami`.

use stormtunnel_model::{
    AwsProfile, CheckedProfile, Fault, FaultKind, FileProblem, OnDemand, ProfileKind, ProfileList,
    ProfileRule, ProfileState,
};
use stormtunnel_proto::calls::ProfileWatchEvent;

use crate::fake::Fake;
use crate::support::{now, stctl, stctl_with};

fn profile(name: &str, kind: ProfileKind, state: ProfileState) -> AwsProfile {
    AwsProfile {
        name: name.parse().unwrap(),
        kind: Some(kind),
        region: Some("eu-west-1".parse().unwrap()),
        sign_in: None,
        account: None,
        role: None,
        state,
    }
}

pub(crate) fn sso(name: &str, state: ProfileState) -> AwsProfile {
    AwsProfile {
        sign_in: Some("corp".parse().unwrap()),
        account: Some("123456789012".to_owned()),
        role: Some("Admin".to_owned()),
        ..profile(name, ProfileKind::Sso, state)
    }
}

fn connected(arn: &str) -> ProfileState {
    ProfileState::Connected { principal: arn.parse().unwrap(), at: now() }
}

pub(crate) fn ada() -> ProfileState {
    connected("arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Admin_0123456789abcdef/ada@corp.example")
}

fn invalid(profile: &str, detail: &str) -> ProfileState {
    let kind = FaultKind::CredentialsInvalid { profile: profile.to_owned() };
    ProfileState::Invalid { fault: Fault::new(kind, detail) }
}

fn login_needed() -> ProfileState {
    let kind = FaultKind::SignInNeeded { sign_in: "corp".to_owned() };
    ProfileState::Invalid { fault: Fault::new(kind, "the session at the access portal is over") }
}

fn denied() -> ProfileState {
    let [principal, action, resource] =
        ["arn:aws:iam::1:user/ada", "sts:AssumeRole", "arn:aws:iam::2:role/Admin"].map(str::to_owned);
    let kind = FaultKind::PermissionDenied { principal, action, resource };
    ProfileState::Invalid { fault: Fault::new(kind, "") }
}

fn offline() -> ProfileState {
    ProfileState::Unknown { fault: Fault::new(FaultKind::Network, "dns error") }
}

/// One in each state that a person has to tell from the others.
pub(crate) fn all() -> ProfileList {
    let broken = AwsProfile {
        kind: None,
        region: None,
        ..profile(
            "broken",
            ProfileKind::AssumeRole,
            invalid("broken", "/home/u/.aws/config:12: source_profile is missing: add it"),
        )
    };
    let mfa = ProfileState::Unchecked { why: OnDemand::AsksForCode };
    let expired = "they have expired: AWS answered ExpiredToken (HTTP 403): The security token is expired";
    let problem = |line, text: &str| FileProblem {
        file: "/home/u/.aws/config".to_owned(),
        line,
        text: text.to_owned(),
    };
    ProfileList {
        profiles: vec![
            sso("admin", ada()),
            broken,
            profile("ci", ProfileKind::Static, connected("arn:aws:iam::210987654321:user/robots/ci")),
            sso("lost", login_needed()),
            profile("mfa", ProfileKind::AssumeRole, mfa),
            profile("offline", ProfileKind::WebIdentity, offline()),
            profile("old", ProfileKind::Temporary, invalid("old", expired)),
            profile("slow", ProfileKind::Ec2Metadata, ProfileState::Checking),
        ],
        problems: vec![problem(
            Some(7),
            "region is not the name of an AWS region: write a name such as eu-west-1",
        )],
    }
}

pub(crate) fn checked(profile: AwsProfile, rule: ProfileRule) -> Result<CheckedProfile, Fault> {
    Ok(CheckedProfile { profile, rule })
}

#[tokio::test]
async fn profiles_are_shown_in_every_form() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let none = stctl(fake.socket(), "profiles").await;
        assert!(none.code == 0 && none.err.contains("the AWS files have no profiles"), "{none:?}");
        fake.have_profiles(all(), Vec::new());
        let table = stctl(fake.socket(), "profiles").await;
        assert!(table.out.lines().all(|line| line.chars().count() <= 80), "{}", table.out);
        let mut shown = table.shown();
        shown += &stctl(fake.socket(), "profiles -o wide").await.shown();
        shown += &stctl(fake.socket(), "profiles --profile lost").await.shown();
        let missing = stctl(fake.socket(), "profiles --profile nosuch").await;
        assert_eq!(missing.code, 6, "{missing:?}");
        shown += &missing.shown();
        insta::assert_snapshot!("profiles", shown);
        let json = stctl(fake.socket(), "profiles -o json").await;
        assert_eq!((json.code, json.err.as_str()), (0, ""));
        insta::assert_snapshot!("profiles_json", json.out);
        let names = stctl(fake.socket(), "profiles -o name").await;
        assert_eq!(names.out, "admin\nbroken\nci\nlost\nmfa\noffline\nold\nslow\n");
    })
    .await;
}

#[tokio::test]
async fn a_table_has_the_columns_that_fit() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let profiles = vec![sso("dev", ada())];
        fake.have_profiles(ProfileList { profiles, problems: Vec::new() }, Vec::new());
        let ran = stctl(fake.socket(), "profiles").await;
        let heading = ran.out.lines().next().unwrap();
        for column in ["PROFILE", "KIND", "REGION", "ACCOUNT", "ROLE", "SIGN-IN", "STATE"] {
            assert!(heading.contains(column), "{heading}");
        }
        let long = AwsProfile {
            name: "AdministratorAccess-123456789012".parse().unwrap(),
            sign_in: Some("https://d-1234567890.awsapps.com/start".parse().unwrap()),
            ..sso("dev", ada())
        };
        fake.have_profiles(ProfileList { profiles: vec![long], problems: Vec::new() }, Vec::new());
        let ran = stctl(fake.socket(), "profiles").await;
        let headings: Vec<&str> = ran.out.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(headings, ["PROFILE", "KIND", "ACCOUNT", "ROLE", "STATE"], "{}", ran.out);
        assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.out);
    })
    .await;
}

#[tokio::test]
async fn changes_are_printed_as_they_happen() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let changes = vec![
            ProfileWatchEvent::Changed(Box::new(sso("lost", ada()))),
            ProfileWatchEvent::Changed(Box::new(sso("dev", login_needed()))),
            ProfileWatchEvent::Removed("mfa".parse().unwrap()),
            ProfileWatchEvent::Problems(Vec::new()),
        ];
        fake.have_profiles(all(), changes);
        let ran = stctl(fake.socket(), "profiles --watch").await;
        assert_eq!(ran.code, 5, "the daemon stops: {ran:?}");
        let mut shown = ran.shown();
        shown += &stctl(fake.socket(), "profiles --watch --profile lost").await.out;
        insta::assert_snapshot!("profiles_watch", shown);
        let json = stctl(fake.socket(), "profiles --watch -o json").await;
        let events: Vec<serde_json::Value> =
            json.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["snapshot", "changed", "changed", "removed", "problems"]);
        assert_eq!(events[0]["profiles"].as_array().unwrap().len(), 8);
        assert_eq!(
            (&events[1]["profile"]["user"], &events[3]["name"]),
            (&"ada@corp.example".into(), &"mfa".into())
        );
    })
    .await;
}

#[tokio::test]
async fn whoami_tells_who_by_which_profile_and_why_that_one() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let socket = fake.socket();
        fake.check(checked(sso("admin", ada()), ProfileRule::Asked));
        let mut shown = stctl(socket, "whoami --profile admin").await.shown();
        let both = [("STCTL_PROFILE", "one"), ("AWS_PROFILE", "two")];
        let flag = stctl_with(socket, &both, "whoami --profile admin -o json").await.json();
        assert_eq!((&flag["chosen_by"], &flag["role"]), (&"--profile".into(), &"Admin".into()));
        let ours = stctl_with(socket, &both, "whoami -o json").await.json();
        assert_eq!(ours["chosen_by"], "STCTL_PROFILE");
        shown += &stctl_with(socket, &both[1..], "whoami").await.shown();
        fake.check(checked(sso("admin", ada()), ProfileRule::Setting));
        let set = stctl(socket, "whoami -o json").await.json();
        assert_eq!(set["chosen_by"], "aws.default_profile");
        let user =
            profile("default", ProfileKind::Static, connected("arn:aws:iam::210987654321:user/robots/ci"));
        fake.check(checked(user, ProfileRule::Default));
        shown += &stctl(socket, "whoami").await.shown();
        assert_eq!(stctl(socket, "whoami -o name").await.out, "default\n");
        insta::assert_snapshot!("whoami", shown);
        let asked = ["admin", "admin", "one", "two", "-", "-", "-"].map(|name| format!("check {name}"));
        assert_eq!(fake.asked(), asked);
    })
    .await;
}

#[tokio::test]
async fn whoami_has_an_exit_code_for_each_remedy() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let missing = FaultKind::ProfileNotFound { profile: "nosuch".to_owned() };
        let missing = Fault::new(missing, "looked for in /home/u/.aws/config; did you mean admin?");
        let of = |state| checked(sso("dev", state), ProfileRule::Setting);
        let mut shown = String::new();
        for (answer, code) in [
            (of(login_needed()), 4),
            (Err(missing), 6),
            (of(denied()), 8),
            (of(invalid("dev", "they are wrong: the secret key is not that of the access key")), 1),
            (of(offline()), 1),
        ] {
            fake.check(answer);
            let ran = stctl(fake.socket(), "whoami").await;
            assert_eq!(ran.code, code, "{ran:?}");
            shown += &ran.shown();
        }
        insta::assert_snapshot!("whoami_fails", shown);
        fake.check(of(login_needed()));
        let json = stctl(fake.socket(), "whoami -o json").await;
        assert_eq!((json.code, json.json()["fault"]["kind"].clone()), (4, "sign_in_needed".into()));
        let named = stctl(fake.socket(), "whoami --profile dev").await;
        assert!(!named.err.contains("was chosen by"), "{named:?}");
        assert_eq!(stctl(fake.socket(), "whoami --region eu-west-1").await.code, 2);
    })
    .await;
}
