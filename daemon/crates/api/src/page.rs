//! Pages of a list that is ordered by name.
//!
//! A token names the last tunnel of its page. What is made or deleted between two pages then neither repeats nor hides
//! the others.

use stormtunnel_model::{Fault, FaultKind, Tunnel, TunnelName};
use stormtunnel_proto::calls::TunnelPage;

/// Page size of callers that name none.
const DEFAULT_SIZE: u32 = 100;

/// The most that one answer holds: far below the four MiB that gRPC clients take by default.
const MAX_SIZE: u32 = 1000;

/// In front of the name: another kind of token can follow one day without being mistaken for this one.
const TOKEN_PREFIX: &str = "after:";

/// The page of `tunnels` (ordered by name) that `token` asks for; an empty token means the first.
pub(crate) fn page(tunnels: Vec<Tunnel>, size: u32, token: &str) -> Result<TunnelPage, Fault> {
    let after = parse(token)?;
    let size = match size {
        0 => DEFAULT_SIZE,
        size => size.min(MAX_SIZE),
    };
    let mut rest = tunnels
        .into_iter()
        .skip_while(|tunnel| after.as_ref().is_some_and(|after| tunnel.spec.name <= *after));
    let tunnels: Vec<Tunnel> = rest.by_ref().take(size as usize).collect();
    let last = tunnels.last().filter(|_| rest.next().is_some());
    let next_page_token = last.map(|tunnel| format!("{TOKEN_PREFIX}{}", tunnel.spec.name));
    Ok(TunnelPage { tunnels, next_page_token })
}

fn parse(token: &str) -> Result<Option<TunnelName>, Fault> {
    if token.is_empty() {
        return Ok(None);
    }
    let name = token.strip_prefix(TOKEN_PREFIX).and_then(|name| name.parse().ok());
    let invalid = || {
        let kind = FaultKind::InvalidArgument { field: "page_token".to_owned() };
        Fault::new(kind, "take it unchanged from next_page_token of the page before")
    };
    name.map(Some).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use stormtunnel_model::{
        Etag, Intent, Labels, LocalEndpoint, Timestamp, TunnelId, TunnelSpec, TunnelStatus,
    };

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1);

    fn tunnel(name: &str) -> Tunnel {
        Tunnel {
            id: TunnelId::new(NOW, &[0; 10]),
            etag: Etag(1),
            created_at: NOW,
            spec: TunnelSpec {
                name: name.parse().unwrap(),
                profile: None,
                region: None,
                target: "i-0abcdef1234567890".parse().unwrap(),
                remote: "80".parse().unwrap(),
                local: LocalEndpoint::AUTOMATIC,
                allow_non_loopback: false,
                labels: Labels::new(),
                keep: Default::default(),
                sessions: Default::default(),
                reason: None,
                ttl: None,
            },
            intent: Intent::Stop,
            terms: Default::default(),
            status: TunnelStatus::stopped(NOW),
        }
    }

    fn tunnels(count: usize) -> Vec<Tunnel> {
        (0..count).map(|number| tunnel(&format!("t{number:04}"))).collect()
    }

    fn names(page: &TunnelPage) -> Vec<&str> {
        page.tunnels.iter().map(|tunnel| tunnel.spec.name.as_str()).collect()
    }

    #[test]
    fn pages_join_to_the_whole() {
        let all = tunnels(25);
        for size in [1, 7, 24, 25, 26] {
            let mut seen = Vec::new();
            let mut token = String::new();
            loop {
                let page = page(all.clone(), size, &token).unwrap();
                seen.extend(page.tunnels);
                match page.next_page_token {
                    Some(next) => token = next,
                    None => break,
                }
            }
            assert_eq!(seen, all, "size {size}");
        }
    }

    #[test]
    fn a_page_goes_on_after_a_tunnel_that_is_gone() {
        let first = page(tunnels(4), 2, "").unwrap();
        let mut rest = tunnels(4);
        rest.remove(1);
        let second = page(rest, 2, &first.next_page_token.unwrap()).unwrap();
        assert_eq!(names(&second), ["t0002", "t0003"]);
        assert_eq!(second.next_page_token, None);
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(page(tunnels(1200), 0, "").unwrap().tunnels.len(), 100);
        assert_eq!(page(tunnels(1200), u32::MAX, "").unwrap().tunnels.len(), 1000);
        assert_eq!(
            page(Vec::new(), 5, "").unwrap(),
            TunnelPage { tunnels: Vec::new(), next_page_token: None }
        );
    }

    #[test]
    fn a_token_of_somebody_else_is_refused() {
        for token in ["t0001", "after:", "after:NOT A NAME", "before:t0001"] {
            let fault = page(tunnels(3), 1, token).unwrap_err();
            assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "page_token".to_owned() }, "{token}");
        }
    }
}
