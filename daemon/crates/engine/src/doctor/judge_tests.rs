use stormtunnel_model::Timestamp;

use super::*;
use crate::doctor::Place;

/// 2026-01-02T03:04:05Z.
const NOW: Timestamp = Timestamp::from_millis(1_767_323_045_000);

fn place(name: &str) -> Place {
    Place { name: name.to_owned(), url: format!("https://{name}.example"), trusted_by: None }
}

/// An endpoint that answered, with a clock that is so many seconds ahead of ours.
fn told(ahead: i64) -> Visit {
    let theirs = NOW.as_millis().saturating_add_signed(ahead * 1000);
    let answer = Ok(Some(Timestamp::from_millis(theirs)));
    Visit { place: place("sts"), resolved: Some(Ok(())), answer, at: NOW }
}

fn failed(name: &str, why: &str) -> Visit {
    Visit { place: place(name), resolved: Some(Ok(())), answer: Err(why.to_owned()), at: NOW }
}

#[test]
fn a_clock_is_judged_at_its_limits_in_both_directions() {
    for (ahead, outcome, detail) in [
        (0, Outcome::Pass, "they agree"),
        (59, Outcome::Pass, "they agree"),
        (-59, Outcome::Pass, "they agree"),
        (60, Outcome::Warn, "this machine's clock is 60 s behind"),
        (-60, Outcome::Warn, "this machine's clock is 60 s ahead"),
        (299, Outcome::Warn, "299 s behind"),
        (-299, Outcome::Warn, "299 s ahead"),
        (300, Outcome::Fail, "300 s behind"),
        (-300, Outcome::Fail, "300 s ahead"),
        (86_400, Outcome::Fail, "86400 s behind"),
    ] {
        let finding = clock(&[told(ahead)]);
        assert_eq!(finding.outcome, outcome, "{ahead}: {finding:?}");
        assert!(finding.detail.contains(detail), "{ahead}: {finding:?}");
        assert_eq!(finding.remedy.is_empty(), outcome == Outcome::Pass, "{finding:?}");
    }
}

#[test]
fn the_nearest_clock_is_right_and_who_tells_none_is_not_asked() {
    // A cache on the way can only make a date older.
    assert_eq!(clock(&[told(-4000), told(2), failed("ssm", "x")]).outcome, Outcome::Pass);
    let silent = Visit { answer: Ok(None), ..told(0) };
    assert_eq!(clock(&[silent, failed("ssm", "x")]).outcome, Outcome::Skipped);
    assert_eq!(clock(&[]).outcome, Outcome::Skipped);
}

#[test]
fn each_endpoint_that_fails_is_named_with_the_remedy_of_its_kind() {
    let finding =
        endpoints(&[told(0), failed("ssm", "no answer within 10 s"), failed("oidc", "refused")], &[]);
    assert_eq!(finding.outcome, Outcome::Fail);
    let lines: Vec<&str> = finding.detail.lines().collect();
    assert_eq!(
        lines,
        ["https://ssm.example (ssm): no answer within 10 s", "https://oidc.example (oidc): refused"]
    );
    assert!(finding.remedy.contains("firewall"), "{finding:?}");
    let finding = endpoints(&[failed("ssm", "invalid peer certificate: UnknownIssuer")], &[]);
    assert!(finding.remedy.contains("network.ca_bundle"), "{finding:?}");
    let finding = endpoints(&[], &[Fault::internal("no region")]);
    assert!(finding.outcome == Outcome::Fail && finding.detail.contains("no region"), "{finding:?}");
    assert_eq!(endpoints(&[], &[]).outcome, Outcome::Skipped);
    assert_eq!(endpoints(&[told(0)], &[]).outcome, Outcome::Pass);
}

#[test]
fn names_are_judged_where_they_are_looked_up() {
    let unknown = Visit { resolved: Some(Err("no such host".to_owned())), ..failed("sts", "x") };
    assert_eq!(dns(&[unknown, told(0)]).detail, "https://sts.example (sts): no such host");
    let proxied = Visit { resolved: None, ..told(0) };
    assert_eq!(dns(std::slice::from_ref(&proxied)).outcome, Outcome::Skipped);
    assert_eq!(dns(&[proxied, told(0)]).outcome, Outcome::Pass);
}

#[test]
fn a_proxy_that_answers_one_that_does_not_and_one_that_is_none() {
    let seen = |answer| {
        Ok(Some(ProxySeen { variable: "HTTPS_PROXY".to_owned(), address: "p:1".to_owned(), answer }))
    };
    assert_eq!(proxy(Ok(None)).outcome, Outcome::Pass);
    assert_eq!(proxy(seen(Ok(()))).detail, "p:1 (HTTPS_PROXY) takes connections");
    let dead = proxy(seen(Err("refused".to_owned())));
    assert_eq!((dead.outcome, dead.detail.as_str()), (Outcome::Fail, "HTTPS_PROXY names p:1: refused"));
    assert_eq!(proxy(Err(Fault::internal("x"))).outcome, Outcome::Fail);
}

#[test]
fn files_are_fixable_as_long_as_one_of_them_can_be_closed() {
    let open = |closed| OpenPath { path: "/f".into(), mode: 0o644, wanted: 0o600, closed };
    let found = files(STATE_FILES, &[open(None)]);
    assert!(found.fixable && found.outcome == Outcome::Fail && found.detail == "/f has mode 0644, not 0600");
    let mended = files(STATE_FILES, &[open(Some(Ok(())))]);
    assert_eq!((mended.outcome, mended.fixable), (Outcome::Pass, false));
    assert_eq!(mended.fixed, "/f had mode 0644 and has 0600 now");
    let stuck = files(STATE_FILES, &[open(Some(Err("it belongs to user 0".to_owned())))]);
    assert_eq!((stuck.outcome, stuck.fixable), (Outcome::Fail, false));
    assert!(stuck.detail.ends_with("cannot be changed: it belongs to user 0"), "{stuck:?}");
    assert!(!stuck.remedy.contains("--fix"), "{stuck:?}");
}
