use super::super::{Setting, Settings};
use super::*;

#[test]
fn a_proxy_has_a_scheme_a_host_and_perhaps_a_port_and_a_login() {
    for (value, tls, host, port) in [
        ("http://proxy.corp.example:3128", false, "proxy.corp.example", 3128),
        ("https://proxy/", true, "proxy", 443),
        ("http://10.0.0.1", false, "10.0.0.1", 80),
        ("http://me:pw@[2001:db8::1]:8080", false, "2001:db8::1", 8080),
    ] {
        let proxy: ProxyUrl = value.parse().unwrap();
        assert_eq!((proxy.is_tls(), proxy.host(), proxy.port()), (tls, host, port), "{value}");
        assert_eq!(proxy.reveal().parse(), Ok(proxy), "{value}");
    }
    assert_eq!(ProxyUrl::from_variable("proxy:3128").unwrap().to_string(), "http://proxy:3128");
}

#[test]
fn user_and_password_are_decoded() {
    let login = |value: &str| value.parse::<ProxyUrl>().unwrap().login();
    let bytes = |user: &str, password: &str| Some((user.as_bytes().to_vec(), password.as_bytes().to_vec()));
    assert_eq!(login("http://CORP%5Cme:p%40s%3As%C3%A4@proxy:1"), bytes("CORP\\me", "p@s:sä"));
    assert_eq!(login("http://me@proxy:1"), bytes("me", ""));
    assert_eq!(login("http://proxy:1"), None);
}

#[test]
fn anything_else_is_refused_with_what_to_write_and_without_the_password() {
    let setting = Setting::by_key("network.proxy").unwrap();
    for bad in [
        "proxy:3128",
        "socks5://proxy:1080",
        "http://",
        "http://:3128",
        "http://proxy:0",
        "http://proxy:x",
        "http://proxy/path",
        "http://me:CANARY@",
        "http://:CANARY@proxy",
        "http://me:CAN@ARY@proxy",
        "http://me:CAN:ARY@proxy",
        "http://me:CANARY%4@proxy",
        "http://me:***@proxy:3128",
        "me:CANARY@proxy:3128",
        "http://me:CANARY",
        "http://me:CANARY@pro xy",
    ] {
        let mut settings = Settings::default();
        let error = setting.assign(&mut settings, bad).expect_err(bad).to_string();
        assert!(error.contains("write http://"), "{error}");
        assert!(!error.contains("CAN"), "{error}");
        assert_eq!(settings, Settings::default());
    }
}

#[test]
fn the_password_is_kept_and_never_shown() {
    let setting = Setting::by_key("network.proxy").unwrap();
    let mut settings = Settings::default();
    setting.assign(&mut settings, "http://me:CANARY@proxy:3128").unwrap();
    assert_eq!(setting.value(&settings), "http://me:CANARY@proxy:3128");
    assert_eq!(setting.shown(&settings), "http://me:***@proxy:3128");
    assert!(!format!("{settings:?}").contains("CANARY"));
    let timeout = Setting::by_key("tunnels.connect_timeout").unwrap();
    assert_eq!(timeout.shown(&settings), timeout.value(&settings));
    assert_eq!(setting.shown(&Settings::default()), "");
}

#[test]
fn hosts_without_a_proxy_are_found_by_name_network_and_port() {
    let list: NoProxy =
        "corp.example, .Internal,*.lab,10.0.0.0/8,192.0.2.7:8443,[2001:db8::1]:443,fd00::/8 db:5432"
            .parse()
            .unwrap();
    for (host, port) in [
        ("corp.example", 443),
        ("VPCE.corp.example.", 443),
        ("internal", 1),
        ("a.b.internal", 1),
        ("x.lab", 1),
        ("10.255.0.1", 443),
        ("192.0.2.7", 8443),
        ("[2001:db8::1]", 443),
        ("fd12::1", 443),
        ("db", 5432),
    ] {
        assert!(list.contains(host, port), "{host}:{port}");
    }
    for (host, port) in [
        ("notcorp.example", 443),
        ("corp.example.evil", 443),
        ("11.0.0.1", 443),
        ("192.0.2.7", 443),
        ("2001:db8::1", 444),
        ("10.0.0.0.evil", 443),
        ("db", 5433),
        ("", 443),
    ] {
        assert!(!list.contains(host, port), "{host}:{port}");
    }
    assert_eq!(list.to_string().parse(), Ok(list), "what is shown means the same");
    assert!("*".parse::<NoProxy>().unwrap().contains("anything", 1));
    assert!("0.0.0.0/0".parse::<NoProxy>().unwrap().contains("192.0.2.1", 1));
    assert!(!NoProxy::default().contains("anything", 1));
}

#[test]
fn a_list_that_means_nothing_is_refused_and_a_variable_is_read_as_far_as_it_goes() {
    for bad in ["10.0.0.0/33", "a b/c", "x:0", "ex*mple", "http://x"] {
        assert!(bad.parse::<NoProxy>().is_err(), "{bad}");
    }
    let list = NoProxy::from_variable("10.0.0.0/33,corp.example,http://x");
    assert_eq!(list.to_string(), "corp.example");
}
