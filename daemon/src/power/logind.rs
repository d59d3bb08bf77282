//! Waking, as logind tells it over D-Bus: at once, before the next look at the clocks.
//!
//! The signal says only that the machine is about to sleep (true) or is back (false); how long it slept is read from the
//! clocks. Systems without a bus, or without logind on it, are common (containers, other init systems): nothing is said
//! about that, and the bus is looked for again now and then.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use stormtunnel_engine::incidents::Bulletin;
use stormtunnel_engine::ports::PortFuture;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, MatchRule, Message, MessageStream};

use super::Watch;
use super::clocks::Sleeps;

const SERVICE: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const INTERFACE: &str = "org.freedesktop.login1.Manager";
const SIGNAL: &str = "PrepareForSleep";

/// How long a bus may take to let us in.
const CONNECT: Duration = Duration::from_secs(10);
/// How long until a bus that is not there is looked for again. It is a local socket, and only a restart of the bus takes it away.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Signals that may wait: two for each sleep, and a machine does not sleep faster than this is read.
const SIGNALS: usize = 4;

/// Listens to logind.
#[derive(Debug)]
pub struct Logind {
    /// Absent: the system's bus.
    bus: Option<String>,
    look_again: Duration,
    sleeps: Arc<Sleeps>,
}

impl Logind {
    /// The one of this machine.
    pub fn of_system(sleeps: Arc<Sleeps>) -> Self {
        Self { bus: None, look_again: LOOK_AGAIN, sleeps }
    }

    /// One on another bus, by its address, which is looked for so often.
    pub fn on_bus(address: String, look_again: Duration, sleeps: Arc<Sleeps>) -> Self {
        Self { bus: Some(address), look_again, sleeps }
    }

    /// Listens until the bus goes away.
    async fn listen(&self, bulletin: &Bulletin) -> zbus::Result<()> {
        let bus = self.connect().await?;
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(SERVICE)?
            .path(PATH)?
            .interface(INTERFACE)?
            .member(SIGNAL)?
            .build();
        let mut signals = MessageStream::for_match_rule(rule, &bus, Some(SIGNALS)).await?;
        while let Some(signal) = signals.next().await {
            if is_back(&signal?) {
                // Nobody can say whether somebody is there: a lid or a timer wakes a machine in the same way.
                self.sleeps.woke(false, bulletin);
            }
        }
        Ok(())
    }

    async fn connect(&self) -> zbus::Result<Connection> {
        let builder = match &self.bus {
            Some(address) => Builder::address(address.as_str())?,
            None => Builder::system()?,
        };
        let late = |_elapsed| zbus::Error::Failure("the bus does not answer".to_owned());
        tokio::time::timeout(CONNECT, builder.method_timeout(CONNECT).build()).await.map_err(late)?
    }
}

impl Watch for Logind {
    fn name(&self) -> &'static str {
        "watch sleep"
    }

    fn watch(self: Box<Self>, bulletin: Bulletin) -> PortFuture<'static, ()> {
        Box::pin(async move {
            loop {
                match self.listen(&bulletin).await {
                    Ok(()) => tracing::debug!("the system's bus went away; the clocks are still watched"),
                    Err(error) => {
                        tracing::debug!(%error, "no news of sleep over D-Bus; the clocks are still watched");
                    }
                }
                tokio::time::sleep(self.look_again).await;
            }
        })
    }
}

fn is_back(signal: &Message) -> bool {
    signal.body().deserialize::<bool>().is_ok_and(|about_to_sleep| !about_to_sleep)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_a_sleep_is_one() {
        let signal = |body: &dyn Fn(zbus::message::Builder<'_>) -> zbus::Result<Message>| {
            body(Message::signal(PATH, INTERFACE, SIGNAL).unwrap()).unwrap()
        };
        assert!(is_back(&signal(&|builder| builder.build(&false))));
        assert!(!is_back(&signal(&|builder| builder.build(&true))));
        assert!(!is_back(&signal(&|builder| builder.build(&"false"))));
        assert!(!is_back(&signal(&|builder| builder.build(&()))));
    }
}
