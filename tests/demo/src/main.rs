//! One command that shows the main job, end to end, without an AWS account.
//!
//! Builds the daemon and the command line, starts an emulated AWS on loopback and a web server that only its "VPC" can
//! reach, makes a tunnel with the real `stctl`, sends bytes through it, and stays so that you can try it yourself.

mod intranet;
mod report;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{Config, Counter};
use clap::Parser;
use stormtunnel_harness::Sandbox;

use crate::intranet::Intranet;
use crate::report::Report;

/// Shows a tunnel that works, against an emulated AWS.
#[derive(Parser)]
#[command(name = "stormtunnel-demo", after_help = "Example:\n  cargo run -p stormtunnel-demo -- --check")]
struct Arguments {
    /// Do the same, print a short report and end: 0 when all of it worked
    #[arg(long)]
    check: bool,
}

/// How the tunnel is called.
const TUNNEL: &str = "intranet";
/// What only the target can reach.
const REMOTE: &str = "intranet.vpc:80";
/// Longest wait for the emulator to notice the end of a session.
const END_DEADLINE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { check } = Arguments::parse();
    let mut report = Report::new(check);
    report.say("Building stormtunneld and stctl (some minutes the first time) ...");
    let sandbox = Sandbox::start(Config::default()).await?;
    let intranet = Intranet::start().await?;
    sandbox.emulator().map_service("intranet.vpc", 80, intranet.address());
    show(&sandbox, &mut report).await?;
    if !check {
        report.invite(&sandbox);
        tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
    }
    finish(&sandbox, &mut report).await
}

/// Makes a tunnel and uses it.
async fn show(sandbox: &Sandbox, report: &mut Report) -> Result<()> {
    report.say("An emulated AWS runs on loopback. This is what you would type with the real one:");
    let target = sandbox.emulator().instance();
    report.run(sandbox, &["tunnel", "add", TUNNEL, "--target", target, "--remote", REMOTE, "--up"]).await?;
    report.run(sandbox, &["ls"]).await?;
    let address = address_of_tunnel(sandbox).await?;
    let page = intranet::get(address, "/").await?;
    ensure!(page == intranet::PAGE.as_bytes(), "the page came back changed");
    report.done(&format!("the page of http://{REMOTE}/ came through localhost:{}", address.port()));
    let block = intranet::get(address, "/block").await?;
    ensure!(block == intranet::block(), "the block came back changed");
    report.done(&format!("a block of {} bytes came through unchanged", block.len()));
    Ok(())
}

/// Where the tunnel listens, as a program would ask.
async fn address_of_tunnel(sandbox: &Sandbox) -> Result<std::net::SocketAddr> {
    let json = sandbox.stctl_ok(&["tunnel", "show", TUNNEL, "-o", "json"]).await?;
    let shown: serde_json::Value = serde_json::from_str(&json).context("stctl -o json printed no JSON")?;
    let address = shown.pointer("/status/listening/0").and_then(serde_json::Value::as_str);
    address.context("the tunnel listens nowhere")?.parse().context("stctl printed no address")
}

/// Ends everything, and looks that nothing is left.
async fn finish(sandbox: &Sandbox, report: &mut Report) -> Result<()> {
    report.run(sandbox, &["down", TUNNEL]).await?;
    sandbox.stctl_ok(&["daemon", "stop"]).await?;
    sandbox
        .emulator()
        .counters()
        .wait_exactly(Counter::SessionsOpen, 0, END_DEADLINE)
        .await
        .context("a session was left behind at the emulated AWS")?;
    report.done("the tunnel is down, the daemon is stopped, no session is left behind");
    report.close();
    Ok(())
}
