//! `doctor`: what is wrong, and what to do about it. Starts no daemon: that none runs is a finding.

mod local;
mod service;

use std::time::Duration;

use stormtunnel_model::{ExitCode, Finding, Outcome};
use stormtunnel_proto::{CallError, Client};
use tokio::time::timeout;

use super::Ending;
use crate::cli::{DoctorArgs, Format};
use crate::context::Context;
use crate::exit::Failure;
use crate::render::findings;
use crate::service::is_installed;

/// Longest wait for the daemon, which gives each of its checks 25 s, and all at once.
const CHECKS: Duration = Duration::from_secs(40);

pub(super) async fn run(context: &mut Context<'_>, args: &DoctorArgs) -> Ending {
    let found = examine(context, args.fix).await?;
    let out = &mut context.out;
    match out.format {
        Format::Json | Format::Yaml => out.document(&findings::FindingsView::of(&found))?,
        Format::Name => out.text(&findings::names(&found))?,
        Format::Table | Format::Wide => {
            let (style, width, all) = (out.style(), out.width, out.format == Format::Wide);
            out.text(&findings::text(&found, style, width, all))?;
        }
    }
    let fails = found.iter().any(|finding| finding.outcome == Outcome::Fail);
    Ok(if fails { ExitCode::Failure } else { ExitCode::Ok })
}

/// All findings: of this side first, then the daemon's by id.
pub(super) async fn examine(context: &mut Context<'_>, fix: bool) -> Result<Vec<Finding>, Failure> {
    let connected = context.running_client().await;
    let info = match &connected {
        Ok(client) => Some(client.daemon_info().await?),
        Err(_absent) => None,
    };
    let managed = context.service().is_ok_and(|manager| is_installed(manager.as_ref(), &context.paths));
    let mut found = vec![local::reachable(&context.paths.socket, connected.as_ref().err(), managed, fix)];
    found.push(local::socket(&context.paths.socket, fix));
    found.push(service::service(context, info.as_ref()));
    found.push(local::environment(&context.env));
    match connected {
        Ok(client) => {
            if let Some(info) = info {
                found.extend(local::of_daemon(context, &client, info).await?);
            }
            found.extend(of_daemon(&client, fix).await?);
        }
        Err(_absent) => {
            let why = "they need the daemon, see above";
            found.push(Finding::new("daemon.checks", "checks of the daemon", Outcome::Skipped, why));
        }
    }
    Ok(found)
}

async fn of_daemon(client: &Client, fix: bool) -> Result<Vec<Finding>, Failure> {
    let mut checks = match client.run_checks(fix).await {
        Err(CallError::Unimplemented) => {
            let why = "the daemon is older than stctl and does not have them";
            return Ok(vec![Finding::new("daemon.checks", "checks of the daemon", Outcome::Skipped, why)]);
        }
        begun => begun?,
    };
    let mut found = Vec::new();
    let all = async {
        while let Some(finding) = checks.next().await? {
            found.push(finding);
        }
        Ok::<(), CallError>(())
    };
    let ended = timeout(CHECKS, all).await;
    found.sort_by(|one, other| one.id.cmp(&other.id));
    match ended {
        Ok(ended) => ended?,
        Err(_elapsed) => {
            let detail = format!("the daemon did not end them within {} s", CHECKS.as_secs());
            let late = Finding::new("daemon.checks", "checks of the daemon", Outcome::Fail, detail);
            found.push(late.with_remedy("`stctl daemon restart`; if that does not help, `stctl bugreport`"));
        }
    }
    Ok(found)
}
