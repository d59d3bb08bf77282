//! `status`: how tunnels are, for a person; the exit code says whether they are up.

use stormtunnel_model::{ExitCode, Intent, Tunnel, TunnelState};
use stormtunnel_proto::calls::TunnelOutcome;

use super::{Ending, filtered};
use crate::cli::{Format, StatusArgs};
use crate::context::Context;
use crate::exit::{Failure, Problem, Subject};
use crate::follow::Settled;
use crate::render::views::{ResultView, TunnelView};
use crate::render::{details, names};

pub(super) async fn run(context: &mut Context<'_>, args: &StatusArgs) -> Ending {
    let client = context.client().await?;
    let names = filtered(&client, &args.filter).await?;
    if names.is_empty() {
        let tunnels = client.list_tunnels().await?;
        show(context, &tunnels)?;
        return Ok(tunnels
            .iter()
            .filter(|tunnel| tunnel.intent == Intent::Run)
            .map(code)
            .max()
            .unwrap_or(ExitCode::Ok));
    }
    let mut outcomes = Vec::new();
    for requested in names {
        let outcome = match client.tunnel(&requested).await {
            Ok(tunnel) => Ok(tunnel),
            Err(stormtunnel_proto::CallError::Fault(fault)) => Err(fault),
            Err(error) => return Err(error.into()),
        };
        outcomes.push(TunnelOutcome { requested, outcome });
    }
    show_outcomes(context, &outcomes)?;
    let codes = outcomes.iter().map(|outcome| match &outcome.outcome {
        Ok(tunnel) => code(tunnel),
        Err(fault) => fault.kind.exit_code(),
    });
    Ok(codes.max().unwrap_or(ExitCode::Ok))
}

fn show(context: &mut Context<'_>, tunnels: &[Tunnel]) -> Result<(), Failure> {
    let out = &mut context.out;
    match out.format {
        Format::Table | Format::Wide if tunnels.is_empty() => {
            out.note("there are no tunnels; `stctl tunnel add` makes one");
            Ok(())
        }
        Format::Table | Format::Wide => {
            let (now, style) = (out.now(), out.style());
            let texts: Vec<String> =
                tunnels.iter().map(|tunnel| details::status(tunnel, now, style)).collect();
            out.words(&texts.join("\n"), details::INDENT)
        }
        Format::Name => out.text(&names(tunnels)),
        Format::Json | Format::Yaml => out.document(&tunnels.iter().map(TunnelView::of).collect::<Vec<_>>()),
    }
}

fn show_outcomes(context: &mut Context<'_>, outcomes: &[TunnelOutcome]) -> Result<(), Failure> {
    match context.out.format {
        Format::Json | Format::Yaml => {
            let settled: Vec<Settled> = outcomes.iter().cloned().map(Settled::of_command).collect();
            return context.out.document(&settled.iter().map(ResultView::of).collect::<Vec<_>>());
        }
        Format::Table | Format::Wide | Format::Name => {}
    }
    let found: Vec<Tunnel> = outcomes.iter().filter_map(|outcome| outcome.outcome.clone().ok()).collect();
    if !found.is_empty() {
        show(context, &found)?;
    }
    for TunnelOutcome { requested, outcome } in outcomes {
        if let Err(fault) = outcome {
            context.out.problem(&Problem::of_fault(fault, Subject::named(requested)));
        }
    }
    Ok(())
}

/// Up or not; a login that is needed is told apart.
fn code(tunnel: &Tunnel) -> ExitCode {
    match &tunnel.status.state {
        TunnelState::Up | TunnelState::Idle => ExitCode::Ok,
        TunnelState::Blocked { fault } | TunnelState::Retrying { fault, .. }
            if fault.kind.exit_code() == ExitCode::LoginNeeded =>
        {
            ExitCode::LoginNeeded
        }
        TunnelState::Blocked { .. }
        | TunnelState::Retrying { .. }
        | TunnelState::Stopped
        | TunnelState::Connecting { .. }
        | TunnelState::Stopping => ExitCode::NotUp,
    }
}
