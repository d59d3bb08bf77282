//! `wait`: for scripts that need a tunnel. 0 up, 3 blocked or stopped, 4 login needed, 124 timeout.

use stormtunnel_model::ExitCode;

use super::{Ending, Reporter, chosen, conclude};
use crate::cli::WaitArgs;
use crate::context::Context;
use crate::follow::{Follower, Goal, Limit, Settled};
use crate::render::sentences;

pub(super) async fn run(context: &mut Context<'_>, args: &WaitArgs) -> Ending {
    let client = context.client().await?;
    let desk = context.desk(&client).await;
    let (follower, tunnels) = Follower::subscribe(&client, Limit::Wait(args.timeout)).await?;
    let follower = follower.attended(desk);
    let outcomes = chosen(&args.selection, tunnels)?;
    let mut reporter = Reporter::new(&mut context.out, sentences::is_up, false);
    let settled = follower.follow(outcomes, Goal::UpPatiently, &mut reporter).await?;
    let told = conclude(&mut context.out, &settled)?;
    Ok(settled.iter().map(exit_code).max().unwrap_or(told))
}

/// A script asks one question, so the many codes of faults become one: not up. Only a login is told apart.
fn exit_code(settled: &Settled) -> ExitCode {
    let code = settled.problem().map_or(ExitCode::Ok, |problem| problem.exit);
    let has_its_own = matches!(code, ExitCode::Ok | ExitCode::LoginNeeded | ExitCode::Timeout);
    if has_its_own || settled.tunnel().is_none() { code } else { ExitCode::NotUp }
}
