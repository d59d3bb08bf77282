//! Real programs through a tunnel: `curl`, `psql` with a real PostgreSQL, `redis-cli` with a real Redis.

use std::process::Command;

use anyhow::Result;
use aws_emulator::{AgentHabits, Config};
use stormtunnel_e2e::http::HttpServer;
use stormtunnel_e2e::postgres::Postgres;
use stormtunnel_e2e::redis::Redis;
use stormtunnel_e2e::scene::Scene;
use stormtunnel_e2e::{DEADLINE, bulk, process, programs};
use tokio::time::Instant;

const DOCUMENT_BYTES: usize = 1 << 20;
/// One row of the copied table is 100 bytes with its line end.
const ROWS: u64 = 100_000;

/// With TLS everywhere: the daemon trusts the emulator's authority alone.
#[tokio::test]
async fn curl_fetches_a_document() -> Result<()> {
    let Some(curl) = programs::find("curl")? else { return Ok(()) };
    let document = bulk::bytes(1, DOCUMENT_BYTES);
    let server = HttpServer::start(document.clone()).await?;
    let directory = tempfile::tempdir()?;
    let config = Config { tls: true, habits: AgentHabits::unpaced(), ..Config::default() };
    let (scene, port) = Scene::with_tunnel(config, server.address()).await?;
    let start = Instant::now();
    // `localhost` is both families.
    for host in ["127.0.0.1", "[::1]"] {
        let file = directory.path().join("document");
        let mut command = Command::new(&curl);
        command.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--output"]).arg(&file);
        command.arg(format!("http://{host}:{port}/document"));
        process::run(command, DEADLINE).await?.success()?;
        assert_eq!(bulk::digest_of(&std::fs::read(&file)?), bulk::digest_of(&document), "over {host}");
    }
    println!(
        "promise main.curl: 1 MiB over 127.0.0.1 and over [::1] in {} ms, TLS to AWS",
        start.elapsed().as_millis()
    );
    scene.ok(&["down", "db"]).await?;
    scene.no_session_left(DEADLINE).await
}

#[tokio::test]
async fn psql_reads_and_writes_tables() -> Result<()> {
    let Some(postgres) = Postgres::start().await? else { return Ok(()) };
    let config = Config { habits: AgentHabits::unpaced(), ..Config::default() };
    let (_scene, port) = Scene::with_tunnel(config, postgres.address()).await?;
    let psql = async |port: u16, statement: &str| {
        let mut command = postgres.psql(port);
        command.args(["-c", statement]);
        process::run(command, 2 * DEADLINE).await?.success()
    };
    assert_eq!(psql(port, "SELECT 6 * 7").await?, "42\n");

    let rows = format!("SELECT lpad(n::text, 99, md5(n::text)) FROM generate_series(1, {ROWS}) AS n");
    let copy = format!("COPY ({rows}) TO STDOUT");
    let start = Instant::now();
    let read = psql(port, &copy).await?;
    let reading = start.elapsed();
    assert_eq!(read.len() as u64, ROWS * 100);
    assert_eq!(
        bulk::digest_of(read.as_bytes()),
        bulk::digest_of(psql(postgres.address().port(), &copy).await?.as_bytes())
    );

    let directory = tempfile::tempdir()?;
    let file = directory.path().join("rows");
    std::fs::write(&file, &read)?;
    psql(port, "CREATE TABLE copied (line text)").await?;
    let start = Instant::now();
    psql(port, &format!("\\copy copied FROM '{}'", file.display())).await?;
    let writing = start.elapsed();
    let wrong = format!(
        "SELECT count(*), (SELECT count(*) FROM (SELECT line FROM copied EXCEPT {rows}) AS wrong) FROM copied"
    );
    assert_eq!(psql(port, &wrong).await?, format!("{ROWS}|0\n"));
    let seconds = [reading, writing].map(|time| format!("{:.1} s", time.as_secs_f64()));
    println!("promise main.psql: SELECT; COPY of 10 MB out in {}, in in {}", seconds[0], seconds[1]);
    postgres.stop().await
}

/// With the agent's real habits: 1024 bytes, then a millisecond of sleep.
#[tokio::test]
async fn redis_cli_sets_and_gets() -> Result<()> {
    let Some(redis) = Redis::start().await? else { return Ok(()) };
    let (_scene, port) = Scene::with_tunnel(Config::default(), redis.address()).await?;
    let ask = async |words: &[&str]| {
        let mut command = redis.cli(port);
        command.args(words);
        process::run(command, DEADLINE).await?.success()
    };
    let start = Instant::now();
    assert_eq!(ask(&["PING"]).await?, "PONG\n");
    let ping = start.elapsed();
    let value = hex::encode(bulk::bytes(5, 50_000));
    assert_eq!(ask(&["SET", "key", &value]).await?, "OK\n");
    assert_eq!(ask(&["GET", "key"]).await?, format!("{value}\n"));
    println!(
        "promise main.redis: PING in {} ms (program start included), SET and GET of 100 kB",
        ping.as_millis()
    );
    redis.stop().await
}
