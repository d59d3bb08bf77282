//! Changes of addresses, routes and links, as the kernel tells them.
//!
//! It tells far more than matters here: containers come and go, routers repeat what they said, radios report every look
//! around. What passes is an address that others could reach, a route that leads further, and a link of real hardware that
//! comes or goes. A change too many costs each tunnel one ping.
//!
//! The messages are those of rtnetlink(7); only a few fields of each are read.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use stormtunnel_engine::incidents::Bulletin;
use stormtunnel_engine::ports::{Incident, PortFuture};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Watch;

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/// The kernel's messages are at most this long, see netlink(7).
const LONGEST: usize = 8 << 10;
/// How long until a socket that could not be had, or failed, is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(30);
/// Addresses and links that are remembered. A machine with more is told of repetitions as well.
const MOST_KNOWN: usize = 4096;

/// Listens to the kernel.
#[derive(Debug)]
pub struct Netlink;

impl Watch for Netlink {
    fn name(&self) -> &'static str {
        "watch network"
    }

    fn watch(self: Box<Self>, bulletin: Bulletin) -> PortFuture<'static, ()> {
        Box::pin(async move {
            loop {
                let Err(error) = listen(&bulletin).await;
                tracing::debug!(%error, "no news of the network; the tunnels' pings remain");
                tokio::time::sleep(TRY_AGAIN).await;
            }
        })
    }
}

async fn listen(bulletin: &Bulletin) -> io::Result<std::convert::Infallible> {
    let socket = open()?;
    let mut network = Network::default();
    let mut buffer = [0; LONGEST];
    loop {
        let received = socket
            .async_io(Interest::READABLE, |socket| {
                Ok(recv(socket, &mut buffer[..], RecvFlags::empty()).map(|(length, _)| length)?)
            })
            .await;
        let changed = match received {
            Ok(length) => network.changes(&buffer[..length.min(LONGEST)]),
            // More happened than the socket holds: that is news as well, and nothing known can be relied on.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
                network = Network::default();
                true
            }
            Err(error) => return Err(error),
        };
        if changed {
            bulletin.report(Incident::NetworkChanged);
        }
    }
}

#[expect(unsafe_code, reason = "the runtime cannot see that a descriptor stays open")]
fn open() -> io::Result<AsyncFd<OwnedFd>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // No protocol is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    // SAFETY: the socket is owned by what it is registered as, and nobody takes it out.
    Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?)
}

/// What was told of the network so far, as far as it takes to know a repetition.
#[derive(Debug, Default)]
struct Network {
    /// Family, prefix length, interface and address.
    addresses: BTreeSet<(u8, u8, u32, Vec<u8>)>,
    /// By interface: whether it carries anything.
    links: BTreeMap<u32, bool>,
}

/// Message types.
const NEW_LINK: u16 = 16;
const DELETED_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
const DELETED_ADDRESS: u16 = 21;
const NEW_ROUTE: u16 = 24;
const DELETED_ROUTE: u16 = 25;

impl Network {
    /// Whether anything that matters is in these messages.
    fn changes(&mut self, messages: &[u8]) -> bool {
        if self.addresses.len() + self.links.len() > MOST_KNOWN {
            *self = Self::default();
        }
        let mut changed = false;
        for (kind, body) in Messages(messages) {
            changed |= match kind {
                NEW_LINK | DELETED_LINK => self.link_changes(kind == NEW_LINK, body).unwrap_or_default(),
                NEW_ADDRESS | DELETED_ADDRESS => {
                    self.address_changes(kind == NEW_ADDRESS, body).unwrap_or_default()
                }
                NEW_ROUTE | DELETED_ROUTE => leads_further(body).unwrap_or_default(),
                _ => false,
            };
        }
        changed
    }

    /// `struct ifinfomsg`.
    fn link_changes(&mut self, exists: bool, body: &[u8]) -> Option<bool> {
        const LENGTH: usize = 16;
        const LOOPBACK: u32 = 0x8;
        const RUNNING: u32 = 0x40;
        const KIND: u16 = 18;
        let (index, flags) = (u32_at(body, 4)?, u32_at(body, 8)?);
        let virtual_link = Attributes(body.get(LENGTH..)?).any(|(name, _)| name == KIND);
        if virtual_link || flags & LOOPBACK != 0 {
            return Some(false);
        }
        if !exists {
            self.links.remove(&index);
            return Some(true);
        }
        let runs = flags & RUNNING != 0;
        // A link that is told of for the first time, and runs, may have run all the time.
        Some(self.links.insert(index, runs).unwrap_or(true) != runs)
    }

    /// `struct ifaddrmsg`.
    fn address_changes(&mut self, exists: bool, body: &[u8]) -> Option<bool> {
        const LENGTH: usize = 8;
        const ADDRESS: u16 = 1;
        const TENTATIVE: u8 = 0x40;
        const SCOPE_LINK: u8 = 253;
        let &[family, prefix, flags, scope, ..] = body else { return None };
        let index = u32_at(body, 4)?;
        if scope >= SCOPE_LINK || exists && flags & TENTATIVE != 0 {
            return Some(false);
        }
        let (_, address) = Attributes(body.get(LENGTH..)?).find(|(name, _)| *name == ADDRESS)?;
        let key = (family, prefix, index, address.to_vec());
        if exists {
            // Each advertisement of a router repeats the addresses that it gave.
            return Some(self.addresses.insert(key));
        }
        self.addresses.remove(&key);
        Some(true)
    }
}

/// `struct rtmsg`: whether it is a route for what is not on the same link.
fn leads_further(body: &[u8]) -> Option<bool> {
    const LENGTH: usize = 12;
    const GATEWAY: u16 = 5;
    const SEVERAL_GATEWAYS: u16 = 9;
    const VIA: u16 = 18;
    const TABLE_LOCAL: u8 = 255;
    const UNICAST: u8 = 1;
    const IPV4: u8 = 2;
    const IPV6: u8 = 10;
    let &[family, destination_length, _, _, table, _, _, kind, ..] = body else { return None };
    if !matches!(family, IPV4 | IPV6) || table == TABLE_LOCAL || kind != UNICAST {
        return Some(false);
    }
    let is_gateway = |name| matches!(name, GATEWAY | SEVERAL_GATEWAYS | VIA);
    Some(destination_length == 0 || Attributes(body.get(LENGTH..)?).any(|(name, _)| is_gateway(name)))
}

/// The messages in what was received: `struct nlmsghdr` and a body each. Ends at what makes no sense.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        const HEADER: usize = 16;
        let length = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let (kind, body) = (u16_at(self.0, 4)?, self.0.get(HEADER..length)?);
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    }
}

/// The attributes behind the fixed part of a message: `struct rtattr` and a value each.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        const HEADER: usize = 4;
        // The upper two bits say how the value is to be read.
        const NAME: u16 = 0x3fff;
        let length = usize::from(u16_at(self.0, 0)?);
        let (name, value) = (u16_at(self.0, 2)? & NAME, self.0.get(HEADER..length)?);
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((name, value))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A message as the kernel would write it.
    pub(crate) fn message(kind: u16, flags: u16, fixed: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = fixed.to_vec();
        for (name, value) in attributes {
            let length = u16::try_from(4 + value.len()).unwrap();
            body.extend([length.to_ne_bytes(), name.to_ne_bytes()].concat());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let length = u32::try_from(16 + body.len()).unwrap();
        let mut message = length.to_ne_bytes().to_vec();
        message.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
        message.extend([0; 8]);
        message.extend(body);
        message
    }

    /// An IPv4 address on an interface, or its end.
    pub(crate) fn address(exists: bool, interface: u32, scope: u8, address: [u8; 4], flags: u16) -> Vec<u8> {
        let kind = if exists { NEW_ADDRESS } else { DELETED_ADDRESS };
        let fixed = [&[2, 32, 0, scope][..], &interface.to_ne_bytes()].concat();
        message(kind, flags, &fixed, &[(1, &address), (2, &address)])
    }

    fn tentative(mut message: Vec<u8>) -> Vec<u8> {
        message[18] = 0x40;
        message
    }

    fn link(index: u32, flags: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let fixed = [&[0; 4][..], &index.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 4]].concat();
        message(NEW_LINK, 0, &fixed, attributes)
    }

    fn route(destination_length: u8, table: u8, kind: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let fixed = [2, destination_length, 0, 0, table, 0, 0, kind, 0, 0, 0, 0];
        message(NEW_ROUTE, 0, &fixed, attributes)
    }

    #[test]
    fn an_address_that_comes_or_goes_is_news_and_a_repetition_is_not() {
        let mut network = Network::default();
        assert!(network.changes(&address(true, 2, 0, [192, 168, 1, 7], 0)));
        assert!(!network.changes(&address(true, 2, 0, [192, 168, 1, 7], 0)));
        assert!(network.changes(&address(true, 3, 0, [192, 168, 1, 7], 0)), "on another interface");
        assert!(network.changes(&address(false, 2, 0, [192, 168, 1, 7], 0)));
        assert!(network.changes(&address(true, 2, 0, [192, 168, 1, 7], 0)), "back again");
    }

    #[test]
    fn addresses_that_nobody_else_can_reach_are_no_news() {
        let mut network = Network::default();
        for scope in [253, 254] {
            assert!(!network.changes(&address(true, 2, scope, [169, 254, 1, 7], 0)));
            assert!(!network.changes(&address(false, 2, scope, [169, 254, 1, 7], 0)));
        }
        assert!(!network.changes(&tentative(address(true, 2, 0, [192, 168, 1, 7], 0))), "not yet");
        assert!(network.changes(&address(true, 2, 0, [192, 168, 1, 7], 0)), "now");
    }

    #[test]
    fn routes_that_lead_further_are_news() {
        let mut network = Network::default();
        let gateway: (u16, &[u8]) = (5, &[192, 168, 1, 1]);
        assert!(network.changes(&route(0, 254, 1, &[gateway])));
        assert!(network.changes(&route(0, 254, 1, &[])), "a default route through a tunnel");
        assert!(network.changes(&route(8, 254, 1, &[(1, &[10, 0, 0, 0]), gateway])));
        assert!(!network.changes(&route(24, 254, 1, &[(1, &[192, 168, 1, 0])])), "the neighbours");
        assert!(!network.changes(&route(32, 255, 2, &[])), "our own address");
    }

    #[test]
    fn links_of_hardware_are_news_when_they_begin_or_cease_to_carry() {
        let mut network = Network::default();
        let (up, running) = (0x1, 0x41);
        assert!(!network.changes(&link(2, running, &[])), "it may have run all the time");
        assert!(!network.changes(&link(2, running, &[])), "a radio looks around");
        assert!(network.changes(&link(2, up, &[])));
        assert!(network.changes(&link(2, running, &[])));
        assert!(!network.changes(&link(7, up, &[(18, b"veth")])), "a container");
        assert!(!network.changes(&link(1, 0x9, &[])), "the loopback");
    }

    #[test]
    fn several_messages_come_together() {
        let mut network = Network::default();
        let quiet = link(7, 0x1, &[(18, b"veth")]);
        let news = address(true, 2, 0, [10, 0, 0, 1], 0);
        assert!(network.changes(&[quiet.clone(), news, quiet.clone()].concat()));
        assert!(!network.changes(&[quiet.clone(), quiet].concat()));
    }

    #[test]
    fn nonsense_is_no_news_and_no_panic() {
        let whole = address(true, 2, 0, [10, 0, 0, 1], 0);
        for length in 0..whole.len() {
            let mut network = Network::default();
            network.changes(&whole[..length]);
            let mut lying = whole[..length].to_vec();
            lying.iter_mut().take(4).for_each(|byte| *byte = 0xff);
            assert!(!network.changes(&lying));
            lying.iter_mut().take(4).for_each(|byte| *byte = 0);
            assert!(!network.changes(&lying));
        }
    }

    #[test]
    fn what_is_known_is_bounded() {
        let mut network = Network::default();
        for interface in 0..3 * u32::try_from(MOST_KNOWN).unwrap() {
            network.changes(&address(true, interface, 0, [10, 0, 0, 1], 0));
            assert!(network.addresses.len() <= MOST_KNOWN + 1);
        }
    }
}
