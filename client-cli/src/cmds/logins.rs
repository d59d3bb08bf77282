//! Tunnels that need a login: somebody at the terminal signs in, once for all of them, and they go on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stormtunnel_model::{FaultKind, SignInName, StartOptions};
use stormtunnel_proto::Client;
use stormtunnel_proto::calls::StartTunnels;

use super::{Reporter, sso};
use crate::context::Context;
use crate::exit::Failure;
use crate::follow::{Follower, Goal, Limit, Progress, Settled, Verdict};
use crate::render::sentences;

/// What is said to whoever interrupts a login that tunnels wait for.
const GIVEN_UP: &str =
    "the login is given up, unless somebody else waits for it; the tunnels go on after `stctl sso login`";

/// How tunnels are started again after a login, which takes none of their time.
pub(super) struct Again {
    pub(super) options: StartOptions,
    pub(super) goal: Goal,
    pub(super) timeout: Duration,
}

/// Has somebody sign in where tunnels wait for it, and follows these tunnels once more. Nothing was said of them yet.
pub(super) async fn carry_on(
    context: &mut Context<'_>,
    client: &Client,
    settled: &mut [Settled],
    again: Again,
) -> Result<(), Failure> {
    let needed: BTreeSet<SignInName> = settled.iter().filter_map(Settled::login_needed).collect();
    let mut signed_in = BTreeSet::new();
    // The tunnels do not go on before.
    let goes_on = std::mem::replace(&mut context.goes_on, GIVEN_UP);
    for name in needed {
        if sso::login_for_tunnels(context, client, name.clone()).await? {
            signed_in.insert(name);
        }
    }
    context.goes_on = goes_on;
    let goes_on = |one: &Settled| one.login_needed().is_some_and(|name| signed_in.contains(&name));
    let (going_on, others): (Vec<&Settled>, Vec<&Settled>) = settled.iter().partition(|one| goes_on(one));
    let desk = if going_on.is_empty() { None } else { context.desk(client).await };
    let mut reporter = Reporter::new(&mut context.out, sentences::is_up, false);
    let untold = others.into_iter().filter(|one| one.login_needed().is_some());
    untold.into_iter().try_for_each(|one| reporter.settled(one))?;
    let tunnels: Vec<String> = going_on.iter().map(|one| one.requested.clone()).collect();
    if tunnels.is_empty() {
        return Ok(());
    }
    let Again { options, goal, timeout } = again;
    let (follower, _) = Follower::subscribe(client, Limit::Wait(timeout)).await?;
    let follower = follower.attended(desk);
    let outcomes = follower.answer(client.start_tunnels(StartTunnels { tunnels, options })).await?;
    let followed = follower.follow(outcomes, goal, &mut reporter).await?;
    let mut followed: BTreeMap<String, Settled> =
        followed.into_iter().map(|one| (one.requested.clone(), one)).collect();
    for one in settled {
        if let Some(later) = followed.remove(&one.requested) {
            *one = later;
        }
    }
    Ok(())
}

impl Settled {
    /// The sign-in without which the tunnel does not go on, where the daemon knows it by name.
    pub(super) fn login_needed(&self) -> Option<SignInName> {
        let Verdict::Faulted(_, fault) = &self.verdict else { return None };
        let FaultKind::SignInNeeded { sign_in } = &fault.kind else { return None };
        sign_in.parse().ok()
    }
}
