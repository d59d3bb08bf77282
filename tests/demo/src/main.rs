//! One command that shows the main job, end to end, without an AWS account.
//!
//! Builds the daemon and the command line, starts an emulated AWS on loopback and a web server that only its "VPC" can
//! reach, signs in and makes a tunnel with the real `stctl`, sends bytes through it, and stays so that you can try it yourself.

mod intranet;
mod report;

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use aws_emulator::{Config, Counter, Injection, SignInHabits};
use clap::Parser;
use stormtunnel_harness::{Parts, Sandbox};
use tokio::signal::unix::{SignalKind, signal};

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

/// The profile that it signs in for.
const PROFILE: &str = "developer";
/// How the tunnel is called.
const TUNNEL: &str = "intranet";
/// What only the target can reach.
const REMOTE: &str = "intranet.vpc:80";
/// Lines of the daemon's log that a failure shows.
const LOG_LINES: usize = 30;
/// How often the WebSocket is cut in the middle of the block.
const CUTS: u32 = 2;
/// Longest wait for the emulator to notice the end of a session.
const END_DEADLINE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { check } = Arguments::parse();
    let mut report = Report::new(check);
    report.say("Building stormtunneld and stctl (some minutes the first time) ...");
    // From here on Ctrl-C ends what was started, whenever it comes.
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let sandbox =
        Sandbox::start_with(Parts::Quick, Config { sign_in: person(), ..Config::default() }).await?;
    let intranet = Intranet::start().await?;
    sandbox.emulator().map_service("intranet.vpc", 80, intranet.address());
    let shown = tokio::select! {
        shown = show(&sandbox, &mut report) => shown,
        _ = interrupt.recv() => bail!("interrupted"),
    };
    shown.with_context(|| format!("the daemon's last words:\n{}\n", sandbox.log_tail(LOG_LINES)))?;
    if !check {
        report.invite(&sandbox);
        interrupt.recv().await;
    }
    finish(&sandbox, &mut report).await
}

/// Makes a tunnel and uses it.
async fn show(sandbox: &Sandbox, report: &mut Report) -> Result<()> {
    report.say("An emulated AWS runs on loopback. This is what you would type with the real one:");
    write_profile(sandbox)?;
    report.run(sandbox, &["sso", "login", "--use-device-code", "--no-browser"]).await?;
    report.run(sandbox, &["whoami", "--profile", PROFILE]).await?;
    let target = sandbox.emulator().instance();
    let add = ["tunnel", "add", TUNNEL, "--target", target, "--remote", REMOTE, "--profile", PROFILE, "--up"];
    report.run(sandbox, &add).await?;
    report.run(sandbox, &["ls"]).await?;
    let address = address_of_tunnel(sandbox).await?;
    let page = intranet::get(address, "/").await?;
    ensure!(page == intranet::PAGE.as_bytes(), "the page came back changed");
    report.done(&format!("the page of http://{REMOTE}/ came through localhost:{}", address.port()));
    send_block(sandbox, address, report).await
}

/// Somebody who agrees to a login as soon as it is asked for; with the real AWS that is you, in a browser.
fn person() -> SignInHabits {
    SignInHabits { agrees_after_polls: Some(1), interval_s: 1, ..SignInHabits::default() }
}

/// A profile of IAM Identity Center, as `stctl sso configure` writes it, beside the one with keys.
fn write_profile(sandbox: &Sandbox) -> Result<()> {
    let emulator = sandbox.emulator();
    let (portal, region) = (emulator.portals().first().context("nobody can sign in")?, emulator.region());
    let account = portal.accounts.first().context("the portal has no account")?;
    let role = account.roles.first().context("the account has no role")?;
    let (url, id) = (&portal.start_url, &account.id);
    let session = format!("[sso-session demo]\nsso_start_url = {url}\nsso_region = {region}\n");
    let profile = format!(
        "[profile {PROFILE}]\nsso_session = demo\nsso_account_id = {id}\nsso_role_name = {role}\nregion = {region}\n"
    );
    let path = sandbox.home().join(".aws/config");
    let before = std::fs::read_to_string(&path)?;
    Ok(std::fs::write(&path, format!("{before}{session}{profile}"))?)
}

/// The connection through the tunnel outlives the WebSocket under it.
async fn send_block(sandbox: &Sandbox, address: std::net::SocketAddr, report: &mut Report) -> Result<()> {
    let emulator = sandbox.emulator();
    let bytes = u64::from(intranet::BLOCK_BYTES / (CUTS + 1));
    emulator.inject(Injection::DropClientEveryBytes { bytes, times: CUTS });
    let block = intranet::get(address, "/block").await?;
    ensure!(block == intranet::block(), "the block came back changed");
    let cuts = emulator.counters().value(Counter::InjectedClientDrops);
    ensure!(cuts == u64::from(CUTS), "the WebSocket was to be cut {CUTS} times and was {cuts} times");
    let length = block.len();
    report.done(&format!("a block of {length} bytes came through unchanged, the WebSocket cut {cuts} times"));
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
