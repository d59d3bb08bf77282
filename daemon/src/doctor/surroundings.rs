//! Names, a proxy and programs around the daemon.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use stormtunnel_aws::Proxy;
use stormtunnel_engine::doctor::{Desktop, ProxySeen};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use url::Url;

use crate::browser;

/// How long a proxy or a name server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a proxy takes connections. Its user and password are not shown.
pub(super) async fn proxy(proxy: &Proxy) -> ProxySeen {
    let (host, port) = (proxy.url().host(), proxy.url().port());
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let answer = match timeout(PATIENCE, TcpStream::connect((host, port))).await {
        Ok(connected) => connected.map(drop).map_err(|error| error.to_string()),
        Err(_late) => Err(format!("no connection within {} s", PATIENCE.as_secs())),
    };
    ProxySeen { variable: proxy.source().to_owned(), address, answer }
}

/// Looks up the name in a URL.
pub(super) async fn resolve(url: &str) -> Result<(), String> {
    let found = || {
        let url = Url::parse(url).ok()?;
        Some((url.host_str()?.trim_matches(['[', ']']).to_owned(), url.port_or_known_default()?))
    };
    let (host, port) = found().ok_or("it is not a URL")?;
    match timeout(PATIENCE, lookup_host((host.as_str(), port))).await {
        Ok(found) => found.map(drop).map_err(|error| error.to_string()),
        Err(_late) => Err(format!("the name servers did not answer within {} s", PATIENCE.as_secs())),
    }
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
