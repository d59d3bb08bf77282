//! `wait`: for scripts that need a tunnel. 0 up, 3 blocked or stopped, 4 login needed, 124 timeout.

use stormtunnel_model::{ExitCode, Fault, FaultKind, Tunnel};
use stormtunnel_proto::calls::TunnelOutcome;
use tokio::time::Instant;

use super::{Ending, Reporter, conclude, is_meant, without_repeats};
use crate::cli::{Selection, WaitArgs};
use crate::context::Context;
use crate::follow::{Follower, Goal, Settled};
use crate::render::sentences;

pub(super) async fn run(context: &mut Context<'_>, args: &WaitArgs) -> Ending {
    let client = context.client().await?;
    let (follower, tunnels) = Follower::subscribe(&client, Instant::now() + args.timeout).await?;
    let outcomes = chosen(&args.selection, tunnels);
    let mut reporter = Reporter { out: &mut context.out, success: sentences::is_up };
    let settled = follower.follow(outcomes, Goal::UpPatiently, &mut reporter).await?;
    let told = conclude(&mut context.out, &settled)?;
    Ok(settled.iter().map(exit_code).max().unwrap_or(told))
}

/// The tunnels of the snapshot that are meant.
fn chosen(selection: &Selection, tunnels: Vec<Tunnel>) -> Vec<TunnelOutcome> {
    if selection.all {
        let outcome =
            |tunnel: Tunnel| TunnelOutcome { requested: tunnel.spec.name.to_string(), outcome: Ok(tunnel) };
        return tunnels.into_iter().map(outcome).collect();
    }
    let find = |requested: String| {
        let found = tunnels.iter().find(|tunnel| is_meant(tunnel, &requested)).cloned();
        let missing = || Fault::new(FaultKind::TunnelNotFound { tunnel: requested.clone() }, "");
        TunnelOutcome { outcome: found.ok_or_else(missing), requested }
    };
    without_repeats(&selection.tunnels).into_iter().map(find).collect()
}

/// A script asks one question, so the many codes of faults become one: not up. Only a login is told apart.
fn exit_code(settled: &Settled) -> ExitCode {
    let code = settled.problem().map_or(ExitCode::Ok, |problem| problem.exit);
    let has_its_own = matches!(code, ExitCode::Ok | ExitCode::LoginNeeded | ExitCode::Timeout);
    if has_its_own || settled.tunnel().is_none() { code } else { ExitCode::NotUp }
}
