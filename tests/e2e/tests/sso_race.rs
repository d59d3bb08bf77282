//! Who renews a token that is shared, when AWS takes each refresh token once.
//!
//! A service that ended the login when a refresh token comes a second time, as for a stolen one, would end it here at once:
//! botocore refreshes with whatever the file holds, and two processes of it would end each other's login without us.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{
    Config, Counter, Injection, Lifetimes, Operation, RefreshOutcome, Rotation, SignInHabits, SignInOrder,
    Trouble,
};
use serde::Deserialize;
use stormtunnel_e2e::scene::Scene;
use stormtunnel_e2e::sign_in::{self, SESSION, Shown, TokenFile};
use stormtunnel_e2e::{DEADLINE, bulk, programs};
use stormtunnel_model::SignInChoice;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

const ROUNDS: u64 = 200;
/// In so many of them refreshes have to meet, and ours has to be among them.
const MEETINGS: u64 = 100;
/// botocore renews what has less than 15 minutes left, so it does at each look; the daemon does when it is told to, and by
/// itself when it finds a token of botocore's, whose beginning it did not see.
const ACCESS_TOKEN_S: u32 = 14 * 60;
/// Decides how long the service takes for each refresh, and with that who wins.
const SEED: u64 = 5;
/// The service takes so many milliseconds for a refresh at the least, and less than that much more.
const SERVICE_MS: (u64, u64) = (15, 60);
/// Refreshes of one round whose time is decided: more than three come only when two of them were granted.
const REFRESHES: usize = 6;

#[tokio::test]
async fn a_login_outlives_every_race_for_its_renewal() -> Result<()> {
    let Some(python) = programs::python_with_aws()? else { return Ok(()) };
    if programs::find("curl")?.is_none() {
        return Ok(());
    }
    let lifetimes = Lifetimes { access_token_s: ACCESS_TOKEN_S, ..Lifetimes::default() };
    let sign_in = SignInHabits { rotation: Rotation::OneUse, grace_ms: 0, ..SignInHabits::default() };
    let scene = Scene::start(Config { lifetimes, sign_in, ..Config::default() }).await?;
    sign_in::write_profiles(&scene)?;
    let mut shown = Shown::start(&scene).await?;
    sign_in::log_in(&scene, SESSION).await?;
    let openings = scene.emulator().counters().value(Counter::BrowserOpenings);
    let mut rivals =
        [LiveBotocore::start(&scene, &python).await?, LiveBotocore::start(&scene, &python).await?];

    let mut sum = Sum::default();
    for number in 0..ROUNDS {
        let round = race(&scene, &mut shown, &mut rivals, number).await;
        sum.add(&round.with_context(|| format!("round {number} of seed {SEED}; {sum:?}"))?);
        let opened = scene.emulator().counters().value(Counter::BrowserOpenings);
        assert_eq!(opened, openings, "a browser was opened in round {number}");
    }
    let counters = scene.emulator().counters();
    assert_eq!(counters.value(Counter::Logins), 1);
    assert!(sum.meetings >= MEETINGS, "{sum:?}");
    assert!(sum.won > 0 && sum.lost > 0 && sum.rivals_granted > 0, "one side always wins: {sum:?}");
    println!(
        "promise sso.race: {ROUNDS} rounds of the daemon and two processes with botocore {}, refresh tokens good once: in {} \
         rounds refreshes met with ours among them, {} met in all; granted were ours {} times and botocore's {} times, refused ours \
         {} times and botocore's {} times; 1 login, no browser opened after it",
        rivals[0].version,
        sum.meetings,
        counters.value(Counter::OidcRefreshesConcurrent),
        sum.won,
        sum.rivals_granted,
        sum.lost,
        sum.refused - sum.lost
    );
    Ok(())
}

/// What was seen in a round, or in all of them.
#[derive(Debug, Default)]
struct Sum {
    /// Rounds in which refreshes met and ours was among those of the round.
    meetings: u64,
    /// Refreshes that were refused, whoever's.
    refused: u64,
    /// Our refreshes that were granted.
    won: u64,
    /// Our refreshes that were refused.
    lost: u64,
    /// Refreshes of the others that were granted.
    rivals_granted: u64,
}

impl Sum {
    fn add(&mut self, round: &Self) {
        self.meetings += round.meetings;
        self.refused += round.refused;
        self.won += round.won;
        self.lost += round.lost;
        self.rivals_granted += round.rivals_granted;
    }
}

/// All three want a new token at once. In the end each has one that the portal takes, and the file one that can be renewed.
async fn race(scene: &Scene, shown: &mut Shown, rivals: &mut [LiveBotocore; 2], number: u64) -> Result<Sum> {
    let emulator = scene.emulator();
    let (tried, met) =
        (emulator.refreshes().len(), emulator.counters().value(Counter::OidcRefreshesConcurrent));
    delay_refreshes(scene, number);
    let [one, other] = rivals;
    let ours = async { Ok(shown.client().refresh(SignInChoice::Named(SESSION.parse()?)).await?) };
    let (ours, one, other) = tokio::try_join!(ours, one.renew(), other.renew())?;
    ensure!(ours.status.state.good_until().is_some(), "the daemon has no good token: {:?}", ours.status);
    ensure!(one.accepted && other.accepted, "the portal takes no token of botocore's");

    // The daemon renews what the others renewed: what the file holds may be used up at this moment.
    sign_in::until(|| renewable(scene)).await?;
    shown.until_good(SESSION).await?;
    let outcomes = || emulator.refreshes().into_iter().skip(tried).map(|attempt| attempt.outcome);
    let count = |wanted| outcomes().filter(|outcome| *outcome == wanted).count() as u64;
    let (granted, refused) = (count(RefreshOutcome::Granted), count(RefreshOutcome::Replayed));
    ensure!(granted + refused == outcomes().count() as u64, "{:?}", outcomes().collect::<Vec<_>>());
    let (rivals_granted, rivals_refused) = (one.granted + other.granted, one.refused + other.refused);
    let (won, lost) = (granted.saturating_sub(rivals_granted), refused.saturating_sub(rivals_refused));
    let met = emulator.counters().value(Counter::OidcRefreshesConcurrent) - met;
    let meetings = u64::from(met > 0 && won + lost > 0);
    Ok(Sum { meetings, refused, won, lost, rivals_granted })
}

/// The service takes its time, another one for each refresh: who comes first may be served last.
fn delay_refreshes(scene: &Scene, number: u64) {
    let (least, more) = SERVICE_MS;
    let emulator = scene.emulator();
    emulator.inject(Injection::Calm);
    for byte in bulk::bytes(SEED + number, REFRESHES) {
        let trouble = Trouble::Delay { ms: least + u64::from(byte) % more };
        emulator.inject(SignInOrder::Trouble { operation: Operation::RefreshToken, trouble, count: 1 });
    }
}

/// Fails unless the file holds a refresh token that was not used.
fn renewable(scene: &Scene) -> Result<()> {
    let held = TokenFile::read(scene, SESSION)?.fingerprint()?;
    let used = scene.emulator().refreshes().iter().any(|attempt| attempt.token == held);
    ensure!(!used, "the file holds a refresh token that was used");
    Ok(())
}

/// A process with botocore that renews whenever it is told to look.
struct LiveBotocore {
    version: String,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

#[derive(Deserialize)]
struct Ready {
    ready: String,
}

/// What became of one look.
#[derive(Deserialize)]
struct Renewed {
    granted: u64,
    refused: u64,
    accepted: bool,
}

impl LiveBotocore {
    async fn start(scene: &Scene, python: &Path) -> Result<Self> {
        let mut command = sign_in::program(scene, python, "dev");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/live_botocore.py"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start python")?;
        let input = child.stdin.take().context("no standard input")?;
        let output = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let mut live = Self { version: String::new(), input, output, _child: child };
        live.version = live.hear::<Ready>().await?.ready;
        Ok(live)
    }

    async fn renew(&mut self) -> Result<Renewed> {
        self.input.write_all(b"renew\n").await?;
        self.hear().await
    }

    async fn hear<T: for<'a> Deserialize<'a>>(&mut self) -> Result<T> {
        let line = tokio::time::timeout(DEADLINE, self.output.next_line()).await;
        let line = line.context("botocore does not answer")??.context("botocore ended")?;
        serde_json::from_str(&line).with_context(|| format!("not as expected: {line}"))
    }
}
