//! The connection to an MQTT broker (3.1.1).
//!
//! | topic | retained | QoS | payload |
//! |---|---|---|---|
//! | `seehear/<name>/status` | yes | 1 | `{"state":"online"}`, `failing` with reasons, `offline` (also as last will) |
//! | `…/header`, `…/summary` | yes | 1 | as in the events |
//! | `…/speaking`, `…/offset` | yes | 1 | [`crate::message::Speaking`], [`crate::message::Offset`] |
//! | `…/vitals` | no | 0 | once a second |
//! | `…/frame` | no | 0 | every slot; not with `?frames=no` |
//!
//! While there is no broker, messages wait in the hub's ring (40 s of them, `drop-oldest`, counted) and the connection
//! is tried again, half a second to half a minute apart.

mod address;

use crate::Hub;
use crate::message::{Kind, Message};
use crate::vitals::{Health, Severity};
pub use address::{Address, Error};
use rumqttc::{AsyncClient, ClientError, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS};
use serde_json::json;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::{oneshot, watch};

const READER: &str = "mqtt";
/// Requests on their way to the connection: few, because the hub's ring is the queue.
const REQUESTS: usize = 16;
/// Sent and not yet acknowledged.
const IN_FLIGHT: u16 = 64;
/// A slot of sixteen objects takes 3 kB.
const MAX_PACKET: usize = 256 * 1024;
/// The broker gives the last will after one and a half times this.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long a stop waits for the broker.
const LAST_WORDS: Duration = Duration::from_secs(2);
const HEALTH_EVERY: Duration = Duration::from_secs(1);

/// A connection that is kept until it is stopped or dropped.
#[derive(Debug)]
pub struct Publisher {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    /// Hands on what has been told so far, says `offline` and disconnects. Takes 2 s at most.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Publishes what the hub has, on a thread of its own. The broker need not be there yet.
///
/// # Errors
/// A certificate that can't be read, or no thread.
pub fn publish(address: &Address, hub: &Hub) -> Result<Publisher, Error> {
    let topics = Topics(format!("seehear/{}", address.name));
    let mut options = MqttOptions::new(format!("seehear-{}", address.name), &address.host, address.port);
    options.set_keep_alive(KEEP_ALIVE).set_inflight(IN_FLIGHT).set_max_packet_size(MAX_PACKET, MAX_PACKET);
    if let Some((user, password)) = &address.login {
        options.set_credentials(user, password);
    }
    let gone = json!({"state": "offline", "reason": "connection lost"}).to_string();
    options.set_last_will(LastWill::new(topics.status(), gone, QoS::AtLeastOnce, true));
    if let Some(transport) = address.transport()? {
        options.set_transport(transport);
    }
    let (client, events) = AsyncClient::new(options, REQUESTS);
    let (stop, stopped) = oneshot::channel();
    let (connected, connections) = watch::channel(0);
    let link = Link { hub: hub.clone(), at: format!("{}:{}", address.host, address.port), connected };
    // From here on nothing is missed, broker or not.
    let (_, messages) = hub.subscribe();
    let forward = Forward { hub: hub.clone(), client, topics, frames: address.frames, health: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    let work = move || {
        runtime.block_on(async {
            let link = tokio::spawn(link.keep(events));
            forward.run(messages, connections, stopped).await;
            // An error means that the broker did not answer in time.
            drop(tokio::time::timeout(LAST_WORDS, link).await);
        });
    };
    let thread = std::thread::Builder::new().name("mqtt".to_owned()).spawn(work).map_err(Error::Start)?;
    Ok(Publisher { stop: Some(stop), thread: Some(thread) })
}

#[derive(Clone, Debug)]
struct Topics(String);

impl Topics {
    fn status(&self) -> String {
        format!("{}/status", self.0)
    }

    fn of(&self, kind: Kind) -> String {
        format!("{}/{}", self.0, kind.name())
    }
}

/// Keeps the connection, and counts connections.
struct Link {
    hub: Hub,
    at: String,
    /// 0 while there is none; else how many there have been.
    connected: watch::Sender<u64>,
}

impl Link {
    async fn keep(self, mut events: EventLoop) {
        let mut wait = FIRST_WAIT;
        let mut count = 0;
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    wait = FIRST_WAIT;
                    count += 1;
                    self.hub.trouble(READER, None);
                    self.connected.send_replace(count);
                }
                Ok(Event::Outgoing(Outgoing::Disconnect)) => return,
                Ok(_) => {}
                Err(e) => {
                    self.connected.send_replace(0);
                    // What was on its way is not sent again: a new session begins with what holds then.
                    let lost = events.pending.len();
                    events.pending.clear();
                    self.hub.metrics().lost(READER, u64::try_from(lost).unwrap_or(0));
                    let what = format!("no connection to {}: {e}; trying again", self.at);
                    self.hub.trouble(READER, Some((Severity::Warning, what)));
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }
}

/// Takes messages from the hub to the connection, while there is one.
struct Forward {
    hub: Hub,
    client: AsyncClient,
    topics: Topics,
    frames: bool,
    health: Option<Health>,
}

impl Forward {
    async fn run(
        mut self,
        mut messages: Receiver<Message>,
        mut link: watch::Receiver<u64>,
        mut stop: oneshot::Receiver<()>,
    ) {
        let mut greeted = 0;
        let mut look = tokio::time::interval(HEALTH_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let connection = *link.borrow_and_update();
            let done = if connection == 0 {
                tokio::select! {
                    _ = &mut stop => return,
                    changed = link.changed() => changed.map_err(drop),
                }
            } else if connection != greeted {
                greeted = connection;
                self.greet().await.map_err(drop)
            } else {
                tokio::select! {
                    biased;
                    _ = &mut stop => break,
                    changed = link.changed() => changed.map_err(drop),
                    _ = look.tick() => self.status().await.map_err(drop),
                    r = messages.recv() => self.pass(r).await,
                }
            };
            if done.is_err() {
                return;
            }
        }
        // The broker is there: what waits still goes, as long as it takes it.
        drop(tokio::time::timeout(LAST_WORDS, self.farewell(messages)).await);
    }

    /// Says what holds, as somebody may only now begin to listen.
    async fn greet(&mut self) -> Result<(), ClientError> {
        self.health = None;
        self.status().await?;
        let (first, _) = self.hub.subscribe();
        for m in first.iter().filter(|m| matches!(m.kind, Kind::Header | Kind::Offset)) {
            self.message(m).await?;
        }
        Ok(())
    }

    async fn status(&mut self) -> Result<(), ClientError> {
        let mut health = self.hub.health();
        // How many seconds the last slot is ago is no news.
        health.reasons.iter_mut().filter(|r| r.starts_with("no slot")).for_each(|r| *r = "no slots".to_owned());
        if self.health.as_ref() == Some(&health) {
            return Ok(());
        }
        let state = if health.ok { "online" } else { "failing" };
        let status = json!({"state": state, "reasons": health.reasons, "warnings": health.warnings});
        self.health = Some(health);
        self.client.publish(self.topics.status(), QoS::AtLeastOnce, true, status.to_string()).await
    }

    async fn pass(&self, received: Result<Message, RecvError>) -> Result<(), ()> {
        match received {
            Ok(m) => self.message(&m).await.map_err(drop),
            Err(RecvError::Lagged(n)) => {
                self.hub.metrics().lost(READER, n);
                Ok(())
            }
            Err(RecvError::Closed) => Err(()),
        }
    }

    async fn message(&self, m: &Message) -> Result<(), ClientError> {
        let (qos, retain) = match m.kind {
            Kind::Frame if !self.frames => return Ok(()),
            // Of this page and that one, not of the run.
            Kind::Settings | Kind::History => return Ok(()),
            Kind::Frame | Kind::Vitals => (QoS::AtMostOnce, false),
            Kind::Header | Kind::Speaking | Kind::Offset | Kind::Summary => (QoS::AtLeastOnce, true),
        };
        self.client.publish(self.topics.of(m.kind), qos, retain, m.json.as_str()).await
    }

    async fn farewell(&self, mut messages: Receiver<Message>) -> Result<(), ClientError> {
        loop {
            match messages.try_recv() {
                Ok(m) => self.message(&m).await?,
                Err(tokio::sync::broadcast::error::TryRecvError::Lagged(n)) => self.hub.metrics().lost(READER, n),
                Err(_) => break,
            }
        }
        let bye = json!({"state": "offline", "reason": "stopped"}).to_string();
        self.client.publish(self.topics.status(), QoS::AtLeastOnce, true, bye).await?;
        self.client.disconnect().await
    }
}
