//! `stctl sso configure`, by flags and by answers.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use stormtunnel_model::{Fault, FaultKind, LoginEnd};

use crate::fake::Fake;
use crate::sso::{all, in_the_browser};
use crate::support::{Ran, asked, asked_with, stctl, stctl_with};

const ONE: &str = "111122223333";
const TWO: &str = "444455556666";
const NEW: &str = "--session new --start-url https://new.awsapps.com/start --sso-region us-east-1";

/// A person who types these lines, and then nothing more.
macro_rules! typing {
    ($($line:literal),*) => {{
        fn next() -> io::Result<String> {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let lines = [$(concat!($line, "\n")),*];
            let line = lines.get(NEXT.fetch_add(1, Ordering::SeqCst));
            Ok(line.copied().unwrap_or_default().to_owned())
        }
        next
    }};
}

fn nobody() -> io::Result<String> {
    panic!("nothing is left to ask")
}

/// A daemon with a session `corp`, a login that works, and two accounts.
async fn beside(test: impl AsyncFnOnce(Fake)) {
    Fake::beside(Vec::new(), async |fake: Fake| {
        fake.sign_in(vec![all().remove(0)], Some(in_the_browser()));
        fake.may_use(&[(ONE, &["Admin", "Reader"]), (TWO, &["Reader"])]);
        test(fake).await;
    })
    .await;
}

async fn configure(fake: &Fake, flags: &str) -> Ran {
    stctl(fake.socket(), &format!("sso configure {flags}")).await
}

#[tokio::test]
async fn everything_is_asked_for_in_the_order_of_the_aws_cli() {
    beside(async |fake: Fake| {
        let person = typing!(
            "new", "new.awsapps.com/start", "https://new.awsapps.com/start", "moon", "us-east-1", "",
            "3", "all", "1-2", "eu-west-1", "xml", "json", "dev", "dev", "prod", ""
        );
        let ran = asked(fake.socket(), "sso configure", person).await;
        insta::assert_snapshot!("sso_configure_asked", ran.shown());
        let told = [
            "configure [sso-session new] https://new.awsapps.com/start us-east-1",
            "accounts of new",
            "login new - -",
            "accounts of new",
            "roles in 111122223333",
            "roles in 444455556666",
            "configure [sso-session new] https://new.awsapps.com/start us-east-1, \
             [profile dev] 111122223333 Admin eu-west-1 json, [profile prod] 111122223333 Reader eu-west-1 json, \
             [profile Reader-444455556666] 444455556666 Reader eu-west-1 json",
            "watch prompts",
            "check dev",
            "watch prompts",
            "check prod",
            "watch prompts",
            "check Reader-444455556666",
        ];
        assert_eq!(fake.asked(), told);
    })
    .await;
}

#[tokio::test]
async fn flags_say_all_of_it_where_nobody_can_be_asked() {
    beside(async |fake: Fake| {
        let flags = format!(
            "{NEW} --role {ONE}:Admin=prod --role {TWO}:Reader --region eu-west-1 --aws-output json --use-device-code"
        );
        let ran = configure(&fake, &flags).await;
        insta::assert_snapshot!("sso_configure_flags", ran.shown());
        assert_eq!(fake.section("[profile Reader-444455556666]").unwrap(), "444455556666 Reader eu-west-1 json");
        assert!(fake.asked().contains(&"login new device -".to_owned()), "{:?}", fake.asked());

        let again = configure(&fake, &format!("{flags} -o json")).await;
        insta::assert_snapshot!("sso_configure_json", again.out);
        assert_eq!(again.err, "", "nobody has to sign in again");
        let names = configure(&fake, &format!("{flags} -o name")).await;
        assert_eq!(names.out, "prod\nReader-444455556666\n");
    })
    .await;
}

#[tokio::test]
async fn a_session_that_is_there_is_only_named() {
    beside(async |fake: Fake| {
        let ran = configure(&fake, &format!("--session corp --role {ONE}:Admin --profile prod")).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let first = &fake.asked()[0];
        assert_eq!(first, "accounts of corp", "it is not written before the login");
        assert_eq!(fake.section("[sso-session corp]").unwrap(), "https://corp.awsapps.com/start eu-west-1");
        assert_eq!(fake.section("[profile prod]").unwrap(), format!("{ONE} Admin - -"));
        let flags = format!("--session corp --scopes sso:account:access --role {TWO}:Reader=other");
        let again = configure(&fake, &flags).await;
        assert!(again.out.contains("[sso-session corp] said this already\n"), "{again:?}");
        assert!(again.out.contains("as it was: "), "the file was changed once more: {again:?}");
        let default = typing!("", "1", "2", "", "", "");
        let ran = asked(fake.socket(), "sso configure", default).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(
            ran.err.starts_with("there are the sessions corp; another name makes a new one\n"),
            "{ran:?}"
        );
        assert_eq!(fake.section("[profile Reader-111122223333]").unwrap(), format!("{ONE} Reader - -"));
    })
    .await;
}

#[tokio::test]
async fn the_only_account_and_the_only_role_are_chosen_and_told() {
    beside(async |fake: Fake| {
        fake.may_use(&[(TWO, &["Reader"])]);
        let ran = configure(&fake, "--session corp").await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.err.contains("the only account is 444455556666  team 4\n"), "{ran:?}");
        assert!(ran.err.contains("the only role in 444455556666 is Reader\n"), "{ran:?}");
        assert!(fake.section("[profile Reader-444455556666]").is_some());
    })
    .await;
}

#[tokio::test]
async fn what_is_missing_is_named_by_its_flag() {
    beside(async |fake: Fake| {
        let mut shown = String::new();
        for flags in ["", "--session new", "--session new --start-url https://x", "--session corp"] {
            let ran = configure(&fake, flags).await;
            assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{flags}: {ran:?}");
            shown += &ran.err;
        }
        insta::assert_snapshot!("sso_configure_missing", shown);
        assert!(fake.section("[profile Admin-111122223333]").is_none());
    })
    .await;
}

#[tokio::test]
async fn command_lines_that_cannot_be_right_are_refused_before_anything_is_done() {
    beside(async |fake: Fake| {
        for flags in [
            "--session https://x",
            "--session corp --role 1:Admin",
            "--session corp --role 111122223333",
            "--session corp --role 111122223333:Ad/min",
            "--session corp --role 111122223333:Admin=a]",
            "--session corp --start-url x.awsapps.com",
            "--session corp --scopes a,,b",
            "--session corp --aws-output xml",
            "--session corp --no-login",
            "--session corp --role 111122223333:Admin --no-login --no-browser",
            "--session corp --role 111122223333:Admin --role 111122223333:Admin",
            "--session corp --role 111122223333:Admin=x --role 444455556666:Reader=x",
            "--session corp --role 111122223333:Admin=x --profile y",
            "--session corp --role 111122223333:Admin --role 444455556666:Reader --profile y",
        ] {
            let ran = configure(&fake, flags).await;
            assert_eq!(ran.code, 2, "{flags}: {ran:?}");
        }
        assert!(fake.asked().is_empty(), "{:?}", fake.asked());
    })
    .await;
}

#[tokio::test]
async fn what_is_in_the_way_stays_unless_somebody_says_so() {
    beside(async |fake: Fake| {
        let first = format!("--session corp --role {ONE}:Admin=prod");
        assert_eq!(configure(&fake, &first).await.code, 0);
        let other = format!("--session corp --role {ONE}:Reader=prod");
        let refused = configure(&fake, &other).await;
        assert_eq!(refused.code, 7);
        insta::assert_snapshot!("sso_configure_in_the_way", refused.shown());
        let line = format!("sso configure {other}");
        let declined = asked(fake.socket(), &line, typing!("", "", "n")).await;
        assert_eq!(declined.code, 1, "{declined:?}");
        assert!(declined.err.contains("nothing was overwritten: it was not confirmed"), "{declined:?}");
        assert_eq!(fake.section("[profile prod]").unwrap(), format!("{ONE} Admin - -"));
        let confirmed = asked(fake.socket(), &line, typing!("", "", "y")).await;
        assert!(
            confirmed.code == 0 && confirmed.out.contains("[profile prod] was changed\n"),
            "{confirmed:?}"
        );
        assert_eq!(configure(&fake, &format!("{first} --overwrite")).await.code, 0);
        assert_eq!(fake.section("[profile prod]").unwrap(), format!("{ONE} Admin - -"));
    })
    .await;
}

#[tokio::test]
async fn a_session_elsewhere_is_in_the_way_before_anybody_signs_in() {
    beside(async |fake: Fake| {
        let here = format!("--session corp --role {ONE}:Admin");
        assert_eq!(configure(&fake, &here).await.code, 0);
        let moved = format!("{here} --start-url https://moved");
        assert_eq!(configure(&fake, &moved).await.code, 7);
        assert_eq!(fake.asked().iter().filter(|what| what.starts_with("login")).count(), 1);
        let over = configure(&fake, &format!("{moved} --overwrite")).await;
        assert!(over.out.contains("[sso-session corp] was changed\n"), "{over:?}");
    })
    .await;
}

#[tokio::test]
async fn the_help_says_what_is_written_when() {
    beside(async |fake: Fake| {
        let help = configure(&fake, "--help").await;
        insta::assert_snapshot!("sso_configure_help", help.shown());
    })
    .await;
}

#[tokio::test]
async fn without_a_login_it_is_only_written() {
    beside(async |fake: Fake| {
        let ran = configure(&fake, &format!("{NEW} --role {ONE}:Nobody=x --no-login")).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(fake.asked().len(), 1, "{:?}", fake.asked());
        assert_eq!(fake.section("[profile x]").unwrap(), format!("{ONE} Nobody - -"));
    })
    .await;
}

#[tokio::test]
async fn roles_that_the_person_does_not_have_are_not_written() {
    beside(async |fake: Fake| {
        let mut shown = String::new();
        for role in [format!("{ONE}:Owner"), "999999999999:Admin".to_owned()] {
            let ran = configure(&fake, &format!("--session corp --role {role}")).await;
            assert_eq!(ran.code, 6, "{ran:?}");
            shown += &ran.shown();
        }
        let many: Vec<String> = (0..12).map(|number| format!("{number:012}")).collect();
        let many: Vec<(&str, &[&str])> = many.iter().map(|id| (id.as_str(), &["Admin"][..])).collect();
        fake.may_use(&many);
        let long = configure(&fake, &format!("--session corp --role {ONE}:Admin")).await;
        assert!(long.err.contains("000000000009 or 2 more\n"), "{long:?}");
        fake.may_use(&[]);
        let nothing = configure(&fake, "--session corp").await;
        assert_eq!(nothing.code, 6, "{nothing:?}");
        shown += &nothing.shown();
        insta::assert_snapshot!("sso_configure_not_assigned", shown);
        assert!(!fake.asked().iter().any(|what| what.starts_with("configure")));
    })
    .await;
}

#[tokio::test]
async fn a_login_that_fails_leaves_no_profile() {
    beside(async |fake: Fake| {
        let declined = FaultKind::LoginFailed { sign_in: "new".to_owned(), end: LoginEnd::Declined };
        fake.sign_in(Vec::new(), Some(vec![Err(Fault::new(declined, ""))]));
        let ran = configure(&fake, &format!("{NEW} --role {ONE}:Admin")).await;
        assert_eq!(ran.code, 4, "{ran:?}");
        assert!(
            ran.err.starts_with("[sso-session new] is in /home/u/.aws/config: the login needs it\n"),
            "{ran:?}"
        );
        assert!(
            fake.section("[sso-session new]").is_some()
                && fake.section("[profile Admin-111122223333]").is_none()
        );
    })
    .await;
}

#[tokio::test]
async fn answers_that_end_too_early_write_nothing() {
    beside(async |fake: Fake| {
        let ran = asked(fake.socket(), "sso configure", typing!("corp", "1")).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.err.contains("the answers ended before the last question"), "{ran:?}");
        assert!(!fake.asked().iter().any(|what| what.starts_with("configure")));
        let one = typing!("1,2", "1", "1,2", "2", "", "");
        let line = "sso configure --session corp --profile mine --no-browser";
        let ran = asked(fake.socket(), line, one).await;
        assert!(ran.code == 0 && ran.err.contains("choose one: --profile names one profile\n"), "{ran:?}");
        assert_eq!(fake.section("[profile mine]").unwrap(), format!("{ONE} Reader - -"));
        assert_eq!(asked(fake.socket(), &format!("{line} --role {ONE}:Admin=x"), nobody).await.code, 2);
    })
    .await;
}

#[tokio::test]
async fn a_person_is_offered_the_region_of_the_terminal_and_nobody_gets_one_unasked() {
    beside(async |fake: Fake| {
        let variables = [("AWS_REGION", "us-west-2")];
        let line = format!("sso configure --session corp --role {ONE}:Admin");
        let alone = stctl_with(fake.socket(), &variables, &format!("{line}=alone")).await;
        assert_eq!(alone.code, 0, "{alone:?}");
        assert_eq!(fake.section("[profile alone]").unwrap(), format!("{ONE} Admin - -"));
        let taken = asked_with(fake.socket(), &variables, &format!("{line}=taken"), typing!("", "")).await;
        assert_eq!(taken.code, 0, "{taken:?}");
        assert_eq!(fake.section("[profile taken]").unwrap(), format!("{ONE} Admin us-west-2 -"));
        let flag = format!("{line}=flag --region eu-west-1 --aws-output text");
        assert_eq!(asked_with(fake.socket(), &variables, &flag, nobody).await.code, 0);
        assert_eq!(fake.section("[profile flag]").unwrap(), format!("{ONE} Admin eu-west-1 text"));
    })
    .await;
}
