//! Which session a new connection goes to, and how many sessions there are to be: pure decisions.
//!
//! A session is a pipe of its own: AWS's agent sends about a megabyte per second into each, and a connection that fills one
//! delays whatever else is in it. So a connection goes where the fewest are and no bulk flows, and while connections are
//! open one session more than they need is kept ready, up to what the spec allows.

/// From this rate on, in bytes per second, a session carries bulk: a tenth of what the agent sends.
const BULK: u64 = 100_000;

/// One session, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// It takes connections.
    pub(crate) up: bool,
    /// It is on its way to that.
    pub(crate) coming: bool,
    /// Connections in it.
    pub(crate) connections: usize,
    /// Bytes per second, both ways, lately.
    pub(crate) rate: u64,
}

/// Where a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// To that session.
    On(usize),
    /// It waits for one that is on its way.
    Wait,
}

/// The place of a new connection. `patient`: it has not waited for long yet.
pub(crate) fn place(loads: &[Load], patient: bool) -> Place {
    let best = loads.iter().enumerate().filter(|(_, load)| load.up).min_by_key(|(_, load)| cost(load));
    let Some((index, load)) = best else { return Place::Wait };
    let better_comes = loads.iter().any(|load| load.coming) && load.connections > 0;
    if better_comes && patient { Place::Wait } else { Place::On(index) }
}

fn cost(load: &Load) -> (bool, usize, u64) {
    (load.rate >= BULK, load.connections, load.rate)
}

/// How many sessions there are to be while `waiting` connections have no place yet: none more than one while nobody uses it.
pub(crate) fn wanted(loads: &[Load], waiting: usize, most: usize) -> usize {
    let connections = loads.iter().map(|load| load.connections).sum::<usize>() + waiting;
    let spare = usize::from(connections > 0);
    (connections + spare).clamp(1, most.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Load = Load { up: true, coming: false, connections: 0, rate: 0 };
    const COMING: Load = Load { up: false, coming: true, ..EMPTY };
    const DOWN: Load = Load { up: false, ..EMPTY };

    fn with(connections: usize, rate: u64) -> Load {
        Load { connections, rate, ..EMPTY }
    }

    #[test]
    fn an_empty_session_takes_it_at_once() {
        assert_eq!(place(&[with(1, 0), EMPTY, COMING], true), Place::On(1));
        assert_eq!(place(&[EMPTY], true), Place::On(0));
    }

    #[test]
    fn it_waits_a_moment_for_one_that_comes_rather_than_share() {
        assert_eq!(place(&[with(1, 0), COMING], true), Place::Wait);
        assert_eq!(place(&[with(1, 0), COMING], false), Place::On(0));
        assert_eq!(place(&[with(1, 0), DOWN], true), Place::On(0), "that one does not come");
        assert_eq!(place(&[COMING], false), Place::Wait, "there is no other");
    }

    #[test]
    fn bulk_is_avoided_before_company() {
        assert_eq!(place(&[with(1, 900_000), with(3, 2_000)], true), Place::On(1));
        assert_eq!(place(&[with(2, 900_000), with(1, 900_000)], true), Place::On(1));
        assert_eq!(place(&[with(1, 900_000), with(1, 800_000)], true), Place::On(1));
    }

    #[test]
    fn there_is_one_more_than_connections_while_there_are_any() {
        assert_eq!(wanted(&[EMPTY], 0, 8), 1);
        assert_eq!(wanted(&[with(1, 0)], 0, 8), 2);
        assert_eq!(wanted(&[EMPTY], 7, 8), 8);
        assert_eq!(wanted(&[with(5, 0), with(5, 0)], 3, 8), 8);
        assert_eq!(wanted(&[with(5, 0)], 3, 1), 1);
    }
}
