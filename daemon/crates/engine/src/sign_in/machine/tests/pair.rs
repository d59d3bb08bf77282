//! Our machine and a modelled botocore share one file and one service, for days, under random sleep, clocks and networks. The
//! service takes each refresh token once. The login is never lost.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore as _, SeedableRng as _};

use super::*;

/// botocore renews with less left.
const BOTO_WINDOW: Duration = Duration::from_secs(15 * 60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What happens next, somewhere in the world.
enum Event {
    /// A call of the machine is answered.
    Answer(Attempt, Answer),
    /// The machine's refresh reaches the service.
    OurRefresh(Attempt, Arc<SsoToken>),
    /// Key store and file: our next operation.
    Storage(Storage),
    Watch,
    /// A process with botocore makes a call.
    BotoRuns,
    BotoRefresh(Arc<SsoToken>),
    BotoWrites(Arc<SsoToken>),
    /// Somebody uses our token.
    Used,
    Sleep,
    ClockSet,
    Network,
}

enum Storage {
    Read(Attempt),
    Write(Attempt, Arc<SsoToken>),
}

struct World {
    bench: Bench,
    rng: ChaCha8Rng,
    start: Instant,
    events: BTreeMap<(Duration, u64), Event>,
    number: u64,
    /// Time that the monotonic clock does not know.
    slept: Duration,
    file: Arc<SsoToken>,
    /// The one refresh token that the service takes.
    valid: String,
    /// Access tokens, and when they die by the service's clock.
    lives: BTreeMap<String, Duration>,
    online: bool,
    storage_free: Duration,
    issued: u64,
    /// Refresh tokens that came twice.
    races: usize,
    ours: usize,
    theirs: usize,
}

impl World {
    fn new(seed: u8) -> Self {
        let mut bench = Bench::new();
        let file = bench.token("first", 60);
        bench.holding(&file).forget_effects();
        let start = bench.now.mono;
        let mut world = Self {
            bench,
            rng: ChaCha8Rng::from_seed([seed; 32]),
            start,
            events: BTreeMap::new(),
            number: 0,
            slept: Duration::ZERO,
            file,
            valid: "refresh first".to_owned(),
            lives: BTreeMap::from([("first".to_owned(), HOUR)]),
            online: true,
            storage_free: Duration::ZERO,
            issued: 0,
            races: 0,
            ours: 0,
            theirs: 0,
        };
        for event in
            [Event::BotoRuns, Event::BotoRuns, Event::Used, Event::Sleep, Event::ClockSet, Event::Network]
        {
            world.later(1_000, 600_000, event);
        }
        world
    }

    fn mono(&self) -> Duration {
        self.bench.now.mono - self.start
    }

    /// The service's time.
    fn real(&self) -> Duration {
        self.mono() + self.slept
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.rng.next_u64() % (most - least)
    }

    fn later(&mut self, least: u64, most: u64, event: Event) {
        let at = self.mono() + Duration::from_millis(self.between(least, most));
        self.at(at, event);
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.number += 1;
        self.events.insert((at, self.number), event);
    }

    fn input(&mut self, input: Input) {
        self.bench.input(input);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        for effect in std::mem::take(&mut self.bench.effects) {
            match effect {
                Effect::ReadShared(attempt) => self.storage(Storage::Read(attempt)),
                Effect::WriteShared(attempt, token, _) => self.storage(Storage::Write(attempt, token)),
                Effect::Store(attempt, _) => {
                    self.later(1, 50, Event::Answer(attempt, Answer::Stored(Ok(()))));
                }
                Effect::Refresh(attempt, token) => self.later(10, 800, Event::OurRefresh(attempt, token)),
                Effect::Notify(notice) => panic!("the login is lost: {notice:?}"),
                Effect::BeginLogin { .. } | Effect::Wipe(_) => panic!("the login is lost"),
                Effect::Load(_)
                | Effect::DeleteShared(_)
                | Effect::Revoke(_)
                | Effect::ForgetCredentials
                | Effect::Record(_)
                | Effect::ForgetClients
                | Effect::EndLogin(_)
                | Effect::LoginEnded(_)
                | Effect::RenewalEnded(_)
                | Effect::LoggedOut(_)
                | Effect::Publish(_) => {}
            }
        }
    }

    /// One operation after the other.
    fn storage(&mut self, operation: Storage) {
        let takes = Duration::from_millis(self.between(1, 30));
        self.storage_free = self.storage_free.max(self.mono()) + takes;
        self.at(self.storage_free, Event::Storage(operation));
    }

    /// The service takes each refresh token once.
    fn refresh(&mut self, token: &SsoToken) -> Option<IssuedToken> {
        let sent = token.refresh.as_ref().unwrap().token.expose_secret();
        if self.valid != sent {
            self.races += 1;
            return None;
        }
        self.issued += 1;
        let name = format!("token {}", self.issued);
        self.valid = format!("refresh {name}");
        self.lives.insert(name.clone(), self.real() + HOUR);
        Some(issued(&name))
    }

    fn write(&mut self, token: Arc<SsoToken>) {
        self.file = token;
        // A watcher may miss something.
        if self.between(0, 5) > 0 {
            self.later(5, 300, Event::Watch);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Answer(attempt, answer) => self.input(Input::Answer(attempt, answer)),
            Event::OurRefresh(attempt, token) => {
                let answer = self.our_refresh(&token);
                self.later(10, 800, Event::Answer(attempt, answer));
            }
            Event::Storage(Storage::Read(attempt)) => {
                let file = SharedFile::Token(Arc::clone(&self.file));
                self.input(Input::Answer(attempt, Answer::Shared(file)));
            }
            Event::Storage(Storage::Write(attempt, token)) => {
                self.write(token);
                self.input(Input::Answer(attempt, Answer::Written(Ok(()))));
            }
            Event::Watch => self.input(Input::SharedChanged),
            Event::BotoRuns => self.boto_runs(),
            Event::BotoRefresh(token) => {
                let wall = self.bench.now.wall;
                if let Some(issued) = self.refresh(&token) {
                    self.theirs += 1;
                    let renewed = Arc::new(token.renewed(issued, wall));
                    self.later(5, 300, Event::BotoWrites(renewed));
                }
            }
            Event::BotoWrites(token) => self.write(token),
            Event::Used => self.used(),
            Event::Sleep => self.slumber(),
            Event::ClockSet => {
                let by_ms = i64::try_from(self.between(0, 7_200_000)).unwrap() - 3_600_000;
                self.bench.set_clock(by_ms);
                if self.between(0, 2) == 0 {
                    self.input(Input::Incident(Incident::ClockJumped { by_ms }));
                }
                self.later(3_600_000, 40_000_000, Event::ClockSet);
            }
            Event::Network => {
                self.online = !self.online;
                if self.online {
                    self.input(Input::Incident(Incident::NetworkChanged));
                }
                let until = if self.online { 20_000_000 } else { 4_000_000 };
                self.later(1_000, until, Event::Network);
            }
        }
    }

    fn our_refresh(&mut self, token: &SsoToken) -> Answer {
        if !self.online {
            return Answer::RefreshFailed(RefreshFailure::Unreachable(network()));
        }
        self.refresh(token).map_or(Answer::RefreshFailed(RefreshFailure::GrantGone), |issued| {
            self.ours += 1;
            Answer::Refreshed(issued)
        })
    }

    fn boto_runs(&mut self) {
        let left = self.file.expires_at.since(self.bench.now.wall);
        if self.online && left < BOTO_WINDOW {
            let token = Arc::clone(&self.file);
            self.later(10, 800, Event::BotoRefresh(token));
        }
        // Now and then somebody runs a script that calls it all the time.
        let pause = if self.between(0, 3) > 0 { 2_000 } else { 1_200_000 };
        self.later(500, pause, Event::BotoRuns);
    }

    fn used(&mut self) {
        self.input(Input::Needed);
        let usable = self.bench.machine.usable(self.bench.now);
        if let Usable::Token(generation, token) = usable
            && self.lives[token.access.expose_secret()] <= self.real()
        {
            self.input(Input::Rejected(generation));
        }
        self.later(1_000, 120_000, Event::Used);
    }

    fn slumber(&mut self) {
        let slept = Duration::from_millis(self.between(1_000, 9 * 3_600_000));
        self.slept += slept;
        self.bench.set_clock(i64::try_from(slept.as_millis()).unwrap());
        if self.between(0, 4) > 0 {
            let dark = self.between(0, 3) == 0;
            self.input(Input::Incident(Incident::Woke { slept, dark }));
        }
        self.later(60_000, 5_000_000, Event::Sleep);
        // The lid is opened at some time.
        let full = Input::Incident(Incident::Woke { slept: Duration::ZERO, dark: false });
        if self.between(0, 2) == 0 {
            self.input(full);
        }
    }

    fn run(&mut self, time: Duration) {
        self.carry_out();
        while self.mono() < time {
            let event = self.events.keys().next().map(|(at, _)| *at).unwrap();
            let timer = self.bench.drain().map(|due| due.saturating_duration_since(self.start));
            let next = timer.map_or(event, |timer| timer.min(event)).max(self.mono());
            self.bench.now = self.bench.now.after(next - self.mono());
            if timer.is_some_and(|timer| timer <= event) {
                self.bench.machine.handle_timeout(self.bench.now);
                self.bench.drain();
                self.carry_out();
            } else if let Some((_, event)) = self.events.pop_first() {
                self.happen(event);
            }
        }
    }
}

#[test]
fn a_login_that_is_shared_with_botocore_is_never_lost() {
    let (mut races, mut ours, mut theirs) = (0, 0, 0);
    for seed in 0..40 {
        let mut world = World::new(seed);
        world.run(DAY * 5);
        let label = world.bench.label();
        assert_ne!(label, "Needs login", "seed {seed}");
        races += world.races;
        ours += world.ours;
        theirs += world.theirs;
    }
    assert!(races > 100, "{races} refresh tokens came twice");
    assert!(ours > 1_000 && theirs > 100, "renewed {ours} times by us, {theirs} times by botocore");
}

#[test]
fn in_ordinary_days_nobody_races_us() {
    let mut world = World::new(1);
    let disturbances: BTreeSet<_> = world
        .events
        .iter()
        .filter(|(_, event)| matches!(event, Event::Sleep | Event::ClockSet | Event::Network))
        .map(|(key, _)| *key)
        .collect();
    world.events.retain(|key, _| !disturbances.contains(key));
    world.run(DAY * 10);
    assert_eq!((world.races, world.theirs), (0, 0));
    assert!(world.ours >= 10 * 24, "renewed {} times", world.ours);
}
