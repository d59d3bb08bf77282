//! Line feeds where the official client changes them: alone in a message, and at the end of writes whose last byte
//! falls into a message of its own.

use anyhow::{Context as _, Result, ensure};
use aws_emulator::Config;
use stormtunnel_e2e::bulk;
use stormtunnel_e2e::scene::Scene;
use stormtunnel_e2e::{DEADLINE, local};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::plan::Plan;

/// A write and its multiplexer header fill messages of this size, and one byte is left over.
const MESSAGE: usize = 1024;
/// What the header leaves of the first message, and the one byte.
const FIRST: usize = MESSAGE - 8 + 1;

/// Writes of every critical length, both ways, against an agent with the real one's messages.
pub(crate) async fn run(plan: Plan) -> Result<String> {
    let most = plan.size(40, 400);
    let texts: Vec<Vec<u8>> = texts(plan.seed, most).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (scene, port) = Scene::with_tunnel(Config::default(), listener.local_addr()?).await?;
    for payload in ["1024", "16384"] {
        scene.ok(&["settings", "set", "tunnels.payload_bytes", payload]).await?;
        scene.ok(&["restart", "db"]).await?;
        let (near, far) = tokio::join!(local::connect(port, DEADLINE), timeout(DEADLINE, listener.accept()));
        let (mut near, (mut far, _)) = (near?, far.context("the agent does not connect")??);
        far.set_nodelay(true)?;
        for text in &texts {
            travels(&mut near, &mut far, text).await.with_context(|| format!("up, payloads of {payload}"))?;
            travels(&mut far, &mut near, text)
                .await
                .with_context(|| format!("down, payloads of {payload}"))?;
        }
    }
    Ok(format!(
        "a lone LF and {} writes of {FIRST} + k * {MESSAGE} bytes and one more that end in LF, k up to {most}, unchanged both ways with \
         messages of 1 and 16 KiB",
        texts.len() - 1,
    ))
}

fn texts(seed: u64, most: usize) -> impl Iterator<Item = Vec<u8>> {
    let lengths = (0..=most).flat_map(|k| [FIRST + k * MESSAGE, FIRST + k * MESSAGE + 1]);
    std::iter::once(1).chain(lengths).zip(0..).map(move |(length, number)| {
        let mut text = bulk::bytes(seed.wrapping_add(2 * number), length - 1);
        text.push(b'\n');
        text
    })
}

/// One write, read to its end before anything else is written: it is in no message with another.
async fn travels(from: &mut TcpStream, to: &mut TcpStream, text: &[u8]) -> Result<()> {
    let length = text.len();
    let mut arrived = vec![0; length];
    let travel = async { tokio::try_join!(from.write_all(text), to.read_exact(&mut arrived)) };
    timeout(DEADLINE, travel).await.with_context(|| format!("{length} bytes do not arrive"))??;
    ensure!(arrived == text, "{length} bytes that end in LF arrived changed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lengths_are_the_critical_ones() {
        let texts: Vec<_> = texts(7, 2).collect();
        assert_eq!(texts.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1017, 1018, 2041, 2042, 3065, 3066]);
        assert!(texts.iter().all(|text| text.ends_with(b"\n")));
    }
}
