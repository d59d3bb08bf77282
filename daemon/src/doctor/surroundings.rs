//! Names, proxies and programs around the daemon.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use stormtunnel_engine::doctor::{Desktop, ProxySeen};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use url::Url;

use crate::browser;

/// What names the proxy of calls to AWS: the setting, else the first of these variables.
pub(super) const SETTING: &str = "network.proxy";
const PROXIES: [&str; 5] = [SETTING, "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// How long a proxy or a name server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a proxy is named, as `var` has the setting and the variables.
pub(super) fn has_proxy(var: impl Fn(&str) -> Option<String>) -> bool {
    PROXIES.iter().any(|name| var(name).is_some_and(|value| !value.is_empty()))
}

/// The proxy that is followed, and whether it takes connections.
pub(super) async fn proxies(var: impl Fn(&str) -> Option<String>) -> Vec<ProxySeen> {
    let named = PROXIES.iter().filter_map(|name| Some((*name, var(name).filter(|value| !value.is_empty())?)));
    let named: Vec<_> = named.take(1).collect();
    let mut seen = Vec::new();
    for (variable, value) in named {
        let (address, answer) = match host_and_port(&value) {
            Some((host, port)) => (format!("{host}:{port}"), connect(&host, port).await),
            // Not shown: a password may be in it.
            None => ("something".to_owned(), Err("that is not an address".to_owned())),
        };
        seen.push(ProxySeen { variable: variable.to_owned(), address, answer });
    }
    seen
}

async fn connect(host: &str, port: u16) -> Result<(), String> {
    let host = host.trim_matches(['[', ']']);
    match timeout(PATIENCE, TcpStream::connect((host, port))).await {
        Ok(connected) => connected.map(drop).map_err(|error| error.to_string()),
        Err(_late) => Err(format!("no connection within {} s", PATIENCE.as_secs())),
    }
}

/// Looks up the name in a URL.
pub(super) async fn resolve(url: &str) -> Result<(), String> {
    let (host, port) = host_and_port(url).ok_or("it is not a URL")?;
    let host = host.trim_matches(['[', ']']).to_owned();
    match timeout(PATIENCE, lookup_host((host.as_str(), port))).await {
        Ok(found) => found.map(drop).map_err(|error| error.to_string()),
        Err(_late) => Err(format!("the name servers did not answer within {} s", PATIENCE.as_secs())),
    }
}

fn host_and_port(value: &str) -> Option<(String, u16)> {
    let url = Url::parse(value).ok().filter(Url::has_host);
    let url = url.or_else(|| Url::parse(&format!("http://{value}")).ok().filter(Url::has_host))?;
    Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
}

/// What opens login pages.
pub(super) fn browser(var: impl Fn(&str) -> Option<OsString>) -> Desktop {
    if !browser::has_display(&var) {
        return Desktop::None("there is no display: logins go by code".to_owned());
    }
    let is_program = |path: &Path| path.metadata().is_ok_and(|found| found.permissions().mode() & 0o111 != 0);
    let path = var("PATH").unwrap_or_default();
    let program = browser::OPENER;
    let found =
        std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| is_program(path));
    match found {
        Some(path) => Desktop::Found(path.display().to_string()),
        None => Desktop::Broken(format!("{program} is not on the daemon's PATH")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_proxy_is_shown_without_its_password() {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let value = format!("http://me:canary@127.0.0.1:{port}");
        let seen = proxies(|name| (name == "HTTPS_PROXY").then(|| value.clone())).await;
        assert_eq!((seen.len(), &seen[0].address), (1, &format!("127.0.0.1:{port}")));
        assert_eq!(seen[0].answer, Ok(()));
        drop(taken);
        let seen = proxies(|name| (name == "https_proxy").then(|| format!("127.0.0.1:{port}"))).await;
        assert!(seen[0].answer.is_err(), "{seen:?}");
    }

    #[tokio::test]
    async fn the_setting_beats_the_variables() {
        let seen = proxies(|name| Some(format!("http://me:canary@127.0.0.1:1/{name}"))).await;
        assert_eq!((seen.len(), seen[0].variable.as_str()), (1, SETTING));
        assert!(has_proxy(|name| (name == SETTING).then(|| "http://127.0.0.1:1".to_owned())));
    }

    #[test]
    fn an_opener_is_missed_only_where_there_is_a_display() {
        let bare = |_: &str| None;
        let display = |name: &str| (name == "DISPLAY").then(|| ":0".into());
        if cfg!(target_os = "linux") {
            assert!(matches!(browser(bare), Desktop::None(_)));
        }
        assert!(matches!(browser(display), Desktop::Broken(_)));
    }
}
