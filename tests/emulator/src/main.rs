//! `aws-emulator`: prints the environment that points any AWS tool at it and stays until Ctrl-C.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use aws_emulator::{AgentHabits, Config, Emulator, Instance, Role};
use clap::Parser;

/// AWS Session Manager in a box: API, message gateway and agent on loopback.
#[derive(Parser)]
#[command(name = "aws-emulator", version)]
struct Args {
    /// Serve https and wss with a certificate authority of its own (see --ca-file).
    #[arg(long)]
    tls: bool,
    /// Where to write the authority's certificate.
    #[arg(long, default_value = "aws-emulator-ca.pem", value_name = "FILE")]
    ca_file: PathBuf,
    /// Port of the Session Manager API; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port of the message gateway; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    gateway_port: u16,
    /// Port of the control API; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// Port of the metadata services; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    metadata_port: u16,
    /// Region of the instances.
    #[arg(long, default_value = "eu-central-1")]
    region: String,
    /// Ids of the managed nodes.
    #[arg(long, num_args = 1.., default_value = "i-0123456789abcdef0", value_name = "ID")]
    instances: Vec<String>,
    /// A host in the VPC: name:port=address:port, e.g. db.internal:5432=127.0.0.1:5432.
    #[arg(long = "map", value_name = "HOST", value_parser = mapping)]
    maps: Vec<Mapping>,
    /// ARNs of roles that everybody may assume.
    #[arg(long, num_args = 1.., value_name = "ARN")]
    roles: Vec<String>,
    /// ARN of the role of which the instance metadata service gives credentials.
    #[arg(long, value_name = "ARN")]
    instance_role: Option<String>,
    /// ARN of the role of which a container gets credentials.
    #[arg(long, value_name = "ARN")]
    task_role: Option<String>,
    /// An agent without the real one's brakes (no 1 ms sleep per message, 32 KiB messages).
    #[arg(long)]
    unpaced: bool,
}

#[derive(Clone)]
struct Mapping {
    name: String,
    port: u16,
    address: SocketAddr,
}

fn mapping(text: &str) -> Result<Mapping, String> {
    let parse = || {
        let (host, address) = text.split_once('=')?;
        let (name, port) = host.rsplit_once(':')?;
        Some(Mapping { name: name.to_owned(), port: port.parse().ok()?, address: address.parse().ok()? })
    };
    parse().ok_or_else(|| "expected name:port=address:port".to_owned())
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(run(Args::parse()))
}

async fn run(args: Args) -> anyhow::Result<()> {
    let emulator = Emulator::start(Config {
        tls: args.tls,
        ca_path: args.tls.then_some(args.ca_file),
        port: args.port,
        gateway_port: args.gateway_port,
        control_port: args.control_port,
        metadata_port: args.metadata_port,
        roles: args.roles.into_iter().map(Role::new).collect(),
        instance_role: args.instance_role,
        task_role: args.task_role,
        region: args.region,
        instances: args.instances.into_iter().map(Instance::new).collect(),
        habits: if args.unpaced { AgentHabits::unpaced() } else { AgentHabits::default() },
        ..Config::default()
    })
    .await?;
    for Mapping { name, port, address } in args.maps {
        emulator.map_service(&name, port, address);
    }
    announce(&emulator, &mut io::stdout()).context("could not write to standard output")?;
    tokio::signal::ctrl_c().await.context("no Ctrl-C handler")?;
    emulator.shutdown().await;
    Ok(())
}

/// What a file of profiles needs for a login.
fn profiles(emulator: &Emulator, out: &mut impl io::Write) -> io::Result<()> {
    for portal in emulator.portals() {
        writeln!(out, "# to sign in, unset the keys, and in ~/.aws/config:")?;
        writeln!(out, "#   [sso-session emulator]")?;
        writeln!(out, "#   sso_start_url = {}", portal.start_url)?;
        writeln!(out, "#   sso_region = {}", emulator.region())?;
        writeln!(out, "#   sso_registration_scopes = sso:account:access")?;
        for (account, role) in
            portal.accounts.iter().flat_map(|account| account.roles.iter().map(move |role| (account, role)))
        {
            writeln!(out, "#   [profile {role}]")?;
            writeln!(out, "#   sso_session = emulator")?;
            writeln!(out, "#   sso_account_id = {}", account.id)?;
            writeln!(out, "#   sso_role_name = {role}")?;
        }
    }
    Ok(())
}

fn announce(emulator: &Emulator, out: &mut impl io::Write) -> io::Result<()> {
    for (name, value) in emulator.environment() {
        writeln!(out, "export {name}='{value}'")?;
    }
    if let Some(proxy) = emulator.proxy_url() {
        writeln!(out, "# for tools that know no endpoint URL: export HTTPS_PROXY='{proxy}'")?;
    }
    profiles(emulator, out)?;
    writeln!(
        out,
        "# control API: {}/counters, POST {}/inject",
        emulator.control_url(),
        emulator.control_url()
    )?;
    writeln!(out, "# Ctrl-C ends it")?;
    out.flush()
}
