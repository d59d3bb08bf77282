//! File descriptors: a tunnel takes two listeners, a WebSocket, and one more for each connection.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// macOS refuses more than `OPEN_MAX` although it calls the hard limit infinite.
const OPEN_MAX: u64 = 10_240;

/// Raises the soft limit of open files to the hard one, as far as the system allows; answers the limit in force.
pub fn raise_descriptor_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = [maximum, Some(maximum.unwrap_or(OPEN_MAX).min(OPEN_MAX))];
    let more = |limit: &Option<u64>| match (limit, current) {
        (None, Some(_)) => true,
        (Some(limit), Some(current)) => *limit > current,
        (_, None) => false,
    };
    for limit in wanted.into_iter().filter(more) {
        if setrlimit(Resource::Nofile, Rlimit { current: limit, maximum }).is_ok() {
            break;
        }
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_never_falls() {
        let before = getrlimit(Resource::Nofile).current;
        let after = raise_descriptor_limit();
        assert!(after.is_none() || after >= before, "{before:?} became {after:?}");
        assert_eq!(raise_descriptor_limit(), after, "a second call changes nothing");
    }
}
