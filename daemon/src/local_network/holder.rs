//! Who has the port that we wanted. Linux tells through `/proc`; elsewhere nobody is named.

use std::net::SocketAddr;

/// The process that listens where `at` could not be bound, such as `pid 123 (nginx)`.
pub(super) async fn find(at: SocketAddr) -> Option<String> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    // Hundreds of small files of the kernel: not slow, but nothing for an async worker.
    tokio::task::spawn_blocking(move || proc::find(at)).await.ok().flatten()
}

/// The process that listens on the Unix socket at that path.
pub(super) async fn find_at(path: &str) -> Option<String> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || proc::find_at(&path)).await.ok().flatten()
}

/// A process, such as `pid 123 (nginx)`.
pub(super) fn process(pid: i32) -> String {
    // Empty where there is no `/proc`.
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if name.is_empty() { format!("pid {pid}") } else { format!("pid {pid} ({})", name.trim_end()) }
}

mod proc {
    use std::fs;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

    /// The kernel's number for a listening socket.
    const LISTEN: &str = "0A";
    /// The kernel's flag of a Unix socket that listens.
    const ACCEPTS: &str = "00010000";

    pub(super) struct Listener {
        pub(super) at: SocketAddr,
        pub(super) uid: u32,
        pub(super) inode: u64,
    }

    pub(super) fn find(wanted: SocketAddr) -> Option<String> {
        let tables =
            ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
        let listener =
            tables.iter().flat_map(|table| table.lines()).filter_map(parse).find(|l| blocks(l.at, wanted))?;
        // Descriptors of other users' processes cannot be seen.
        Some(process_with(listener.inode).unwrap_or_else(|| format!("a process of uid {}", listener.uid)))
    }

    pub(super) fn find_at(path: &str) -> Option<String> {
        let table = fs::read_to_string("/proc/net/unix").ok()?;
        let inode = table.lines().find_map(|line| listens_at(line, path))?;
        Some(process_with(inode).unwrap_or_else(|| "another process".to_owned()))
    }

    /// The inode in a line of `/proc/net/unix`, when it is of a listener at that path: `num refs protocol flags type state
    /// inode path`.
    pub(super) fn listens_at(line: &str, path: &str) -> Option<u64> {
        let mut fields = line.split_ascii_whitespace();
        let (flags, inode) = (fields.nth(3)?, fields.nth(2)?.parse().ok()?);
        let (_, at) = line.split_once(&format!(" {inode} "))?;
        (flags == ACCEPTS && at == path).then_some(inode)
    }

    /// A line of `/proc/net/tcp{,6}`, when it is of a listener: `sl local remote st tx:rx tr:when retrnsmt uid timeout
    /// inode ..`.
    pub(super) fn parse(line: &str) -> Option<Listener> {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let uid = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        let (ip, port) = local.split_once(':')?;
        let at = SocketAddr::new(parse_ip(ip)?, u16::from_str_radix(port, 16).ok()?);
        (state == LISTEN).then_some(Listener { at, uid, inode })
    }

    /// The kernel prints addresses as 32-bit words in the machine's byte order.
    fn parse_ip(hex: &str) -> Option<IpAddr> {
        let word = |index: usize| {
            let digits = hex.get(index * 8..index * 8 + 8)?;
            Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
        };
        if hex.len() == 8 {
            return Some(Ipv4Addr::from(word(0)?).into());
        }
        let words = [word(0)?, word(1)?, word(2)?, word(3)?];
        let octets: [u8; 16] = words.concat().try_into().ok()?;
        let ip = Ipv6Addr::from(octets);
        Some(ip.to_ipv4_mapped().map_or(ip.into(), IpAddr::from))
    }

    /// Whether a listener at `held` keeps us from binding `wanted`.
    pub(super) fn blocks(held: SocketAddr, wanted: SocketAddr) -> bool {
        let wildcard = held.ip().is_unspecified() && (held.is_ipv6() || wanted.is_ipv4());
        held.port() == wanted.port() && (held.ip() == wanted.ip() || wildcard || wanted.ip().is_unspecified())
    }

    fn process_with(inode: u64) -> Option<String> {
        let socket = format!("socket:[{inode}]");
        let pids = fs::read_dir("/proc")
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let has_socket = |pid: &i32| {
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            descriptors
                .filter_map(|entry| fs::read_link(entry.path()).ok())
                .any(|link| link.as_os_str() == socket.as_str())
        };
        { pids }.find(has_socket).map(super::process)
    }
}

#[cfg(test)]
mod tests {
    use super::proc::{blocks, listens_at, parse};

    #[test]
    #[cfg(target_endian = "little")]
    fn kernel_tables_are_read() {
        let v4 = "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   113        0 24688 1 0 100 0";
        let listener = parse(v4).unwrap();
        assert_eq!(
            (listener.at, listener.uid, listener.inode),
            ("127.0.0.1:5432".parse().unwrap(), 113, 24688)
        );
        let v6 = "   1: 00000000000000000000000001000000:1538 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 7 1 0";
        assert_eq!(parse(v6).unwrap().at, "[::1]:5432".parse().unwrap());
        assert!(parse(&v4.replace(" 0A ", " 01 ")).is_none(), "an open connection is no listener");
        assert!(
            parse("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid")
                .is_none()
        );
    }

    #[test]
    fn wildcards_block_and_other_ports_do_not() {
        let at = |text: &str| text.parse().unwrap();
        assert!(blocks(at("127.0.0.1:80"), at("127.0.0.1:80")));
        assert!(blocks(at("0.0.0.0:80"), at("127.0.0.1:80")));
        assert!(blocks(at("[::]:80"), at("127.0.0.1:80")), "dual stack");
        assert!(blocks(at("127.0.0.1:80"), at("0.0.0.0:80")));
        assert!(!blocks(at("127.0.0.1:80"), at("127.0.0.1:81")));
        assert!(!blocks(at("127.0.0.1:80"), at("[::1]:80")));
        assert!(!blocks(at("0.0.0.0:80"), at("[::1]:80")));
    }

    #[test]
    fn a_socket_that_listens_is_found_by_its_whole_path() {
        let line = "0000000012345678: 00000002 00000000 00010000 0001 01 25161 /run/user/1000/my db.sock";
        assert_eq!(listens_at(line, "/run/user/1000/my db.sock"), Some(25161));
        assert_eq!(listens_at(line, "db.sock"), None);
        assert_eq!(listens_at(&line.replace("00010000", "00000000"), "/run/user/1000/my db.sock"), None);
        assert_eq!(listens_at("Num       RefCount Protocol Flags    Type St Inode Path", "Path"), None);
        assert_eq!(listens_at("0000000012345678: 00000002 00000000 00010000 0001 01 25161", ""), None);
    }
}
