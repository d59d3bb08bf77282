//! Bytes per second through one session, over one and over many connections.

use anyhow::Result;

use crate::Bench;
use crate::load::{self, Load};
use crate::report::{Nature, Promise, Report, Row};
use crate::scene::{LIFTED, Scene, unpaced};
use crate::traffic::Direction::{Down, Up};
use crate::traffic::Pace;

const MIB: u64 = 1 << 20;
/// Over how many connections.
const CONNECTIONS: [u64; 3] = [1, 8, 64];
/// Turns that each path takes; the one in the middle counts.
const TURNS: usize = 3;

/// Promised at the default message rate, in MB/s.
const RATE: f64 = 14.0;
/// Promised part of what the TLS relay carries, without the limit.
const PART: f64 = 0.6;

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let plans = [
        ("default settings, 1 KiB messages", 1024, true),
        ("32 KiB messages, no rate limit", 32 << 10, false),
    ];
    for (name, message_bytes, limited) in plans {
        let settings = if limited { &[] } else { LIFTED };
        let scene = Scene::start(bench.server.address(), unpaced(message_bytes), settings).await?;
        for (direction, verb) in [(Up, "up"), (Down, "down")] {
            let bytes = if limited { 64 * MIB } else { 256 * MIB };
            for connections in CONNECTIONS {
                let load = Load { direction, connections, bytes, warm_up: 16 * MIB, pace: Pace::FULL };
                let figure = format!("{verb}, {name}, {}", counted(connections));
                let [tunnel, plain, tls] = scene.measuring(measure(load, &scene, bench)).await?;
                report.row(Row::beside(figure, "MB/s", [tunnel, plain, tls]))?;
                if direction == Up && connections == 1 {
                    report.promise(if limited {
                        at_default_rate(tunnel)
                    } else {
                        beside_relay(tunnel, tls)
                    })?;
                }
            }
        }
    }
    Ok(())
}

/// The same load over the tunnel and both relays, in turns.
async fn measure(load: Load, scene: &Scene, bench: &Bench) -> Result<[f64; 3]> {
    let addresses = [scene.address(), bench.relays.plain.address(), bench.relays.near.address()];
    let mut rates = [[0.0; TURNS]; 3];
    for turn in 0..TURNS {
        for (rates, address) in rates.iter_mut().zip(addresses) {
            rates[turn] = load::carry(load, address, &[]).await?.megabytes_per_second();
        }
    }
    Ok(rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[TURNS / 2]
    }))
}

fn at_default_rate(tunnel: f64) -> Promise {
    let figure = format!("{tunnel:.1} MB/s up at the default message rate (at least {RATE})");
    Promise { id: "fast.rate", nature: Nature::Timed, figure, holds: tunnel >= RATE }
}

fn beside_relay(tunnel: f64, tls: f64) -> Promise {
    let part = tunnel / tls;
    let figure = format!(
        "{tunnel:.0} MB/s up with 32 KiB payloads, {:.0} % of a TLS relay's {tls:.0} (at least {:.0} %)",
        part * 100.0,
        PART * 100.0
    );
    Promise { id: "fast.relay", nature: Nature::Timed, figure, holds: part >= PART }
}

fn counted(connections: u64) -> String {
    if connections == 1 { "1 connection".to_owned() } else { format!("{connections} connections") }
}
