//! With a real broker: mosquitto, of Debian's package of that name, on a port of its own.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{PATIENCE, child, frame, header, timing, until};
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use seehear::events::Summary;
use seehear_serve::mqtt::{Address, publish};
use seehear_serve::vitals::Severity;
use seehear_serve::{Hub, Timing};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

struct Broker {
    process: Child,
    port: u16,
    dir: tempfile::TempDir,
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

impl Broker {
    fn start(extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = format!("listener {port} 127.0.0.1\n{extra}\n");
        std::fs::write(dir.path().join("conf"), config).unwrap();
        Self { process: Self::run(dir.path(), port), port, dir }
    }

    fn run(dir: &Path, port: u16) -> Child {
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        let mut command = Command::new("mosquitto");
        command.env("PATH", path).arg("-c").arg(dir.join("conf")).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("mosquitto must be installed (Debian: mosquitto)");
        until("the broker listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        process
    }

    fn again(&mut self) {
        self.process = Self::run(self.dir.path(), self.port);
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn address(&self) -> Address {
        Address::parse(&format!("mqtt://127.0.0.1:{}", self.port), "studio 1").unwrap()
    }

    /// All messages from now on, and the retained ones first: (topic, retained, JSON).
    fn listen(&self) -> Receiver<(String, bool, serde_json::Value)> {
        listen(MqttOptions::new("listener", "127.0.0.1", self.port))
    }
}

fn listen(options: MqttOptions) -> Receiver<(String, bool, serde_json::Value)> {
    let (client, mut connection) = Client::new(options, 10);
    let (tx, rx) = channel();
    let (ready, wait) = channel();
    std::thread::spawn(move || {
        client.subscribe("seehear/#", QoS::AtLeastOnce).unwrap();
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(Packet::SubAck(_))) => ready.send(()).unwrap(),
                Ok(Event::Incoming(Packet::Publish(p))) => {
                    let json = serde_json::from_slice(&p.payload).unwrap();
                    if tx.send((p.topic, p.retain, json)).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    });
    wait.recv_timeout(PATIENCE).unwrap();
    rx
}

fn next(rx: &Receiver<(String, bool, serde_json::Value)>, topic: &str) -> (bool, serde_json::Value) {
    loop {
        let (t, retained, json) = rx.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{topic}: {e}"));
        if t == format!("seehear/studio 1/{topic}") {
            return (retained, json);
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

const OPEN: &str = "allow_anonymous true";

#[test]
fn everything_arrives_and_what_holds_is_retained() {
    let broker = Broker::start(OPEN);
    let rx = broker.listen();
    let hub = Hub::new("studio 1");
    hub.header(&header());
    let publisher = publish(&broker.address(), &hub).unwrap();
    assert_eq!(next(&rx, "status").1["state"], "online");
    assert_eq!(next(&rx, "header").1["source"], "talk.mp4");
    for i in 0..100 {
        hub.frame(&frame(i, 2, 1 + i.div_euclid(50)), timing());
    }
    assert_eq!(next(&rx, "speaking").1["ids"][0], 1);
    let slots: Vec<f64> = (0..40).map(|_| next(&rx, "frame").1["t_ms"].as_f64().unwrap()).collect();
    assert!(slots.windows(2).all(|w| (w[1] - w[0] - 40.0).abs() < 1e-9), "{slots:?}");
    assert_eq!(next(&rx, "speaking").1["ids"][0], 2);
    assert_eq!(next(&rx, "offset").1["offset_ms"], 12.5);
    hub.trouble("source", Some((Severity::Failing, "lost".to_owned())));
    let failing = next(&rx, "status").1;
    assert_eq!((failing["state"].as_str(), failing["reasons"][0].as_str()), (Some("failing"), Some("source: lost")));
    hub.summary(&Summary { slots: 100, ..Summary::default() });
    publisher.stop();
    assert_eq!(next(&rx, "summary").1["slots"], 100);
    assert_eq!(next(&rx, "status").1["reason"], "stopped");
    // Who comes only now.
    let late = broker.listen();
    let mut retained: Vec<String> =
        (0..5).map(|_| late.recv_timeout(PATIENCE).unwrap()).map(|(t, r, _)| format!("{t} {r}")).collect();
    retained.sort();
    let want = ["header", "offset", "speaking", "status", "summary"].map(|t| format!("seehear/studio 1/{t} true"));
    assert_eq!(retained, want);
    assert_eq!(hub.metrics().lost_by("mqtt"), 0);
}

#[test]
fn a_broker_that_is_killed_holds_nobody_up_and_is_found_again() {
    let mut broker = Broker::start(OPEN);
    let hub = Hub::new("studio 1");
    let publisher = publish(&broker.address(), &hub).unwrap();
    let rx = broker.listen();
    hub.frame(&frame(0, 1, 1), Timing::default());
    next(&rx, "frame");
    broker.kill();
    until("it is noticed", || hub.health().warnings.iter().any(|w| w.contains("no connection to 127.0.0.1")));
    assert!(hub.health().ok, "the analysis goes on");
    let mut longest = Duration::ZERO;
    // More than the ring holds.
    for i in 1..3000 {
        let began = Instant::now();
        hub.frame(&frame(i, 4, 1), Timing::default());
        longest = longest.max(began.elapsed());
    }
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    broker.again();
    let rx = broker.listen();
    let (_, first) = next(&rx, "frame");
    assert!(first["t_ms"].as_f64().unwrap() > 40_000.0, "the oldest are gone: {first}");
    until("the newest comes", || next(&rx, "frame").1["t_ms"].as_f64().is_some_and(|t| t > 119_900.0));
    let lost = hub.metrics().lost_by("mqtt");
    assert!((1900..3100).contains(&lost), "{lost} counted");
    until("all is well again", || hub.health().warnings.is_empty());
    publisher.stop();
}

#[test]
fn no_broker_at_all() {
    let hub = Hub::new("studio 1");
    let address = Address::parse(&format!("mqtt://127.0.0.1:{}", free_port()), "a").unwrap();
    let publisher = publish(&address, &hub).unwrap();
    until("it is told", || !hub.health().warnings.is_empty());
    let began = Instant::now();
    publisher.stop();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[test]
#[ignore = "the program that is killed in the next test"]
fn publishes_for_ever() {
    let Ok(port) = std::env::var("SEEHEAR_TEST_PORT") else { return };
    let hub = Hub::new("studio 1");
    let _publisher = publish(&Address::parse(&format!("mqtt://127.0.0.1:{port}"), "studio 1").unwrap(), &hub).unwrap();
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn a_program_that_dies_leaves_its_last_will() {
    let broker = Broker::start(OPEN);
    let rx = broker.listen();
    let mut program = child("publishes_for_ever").env("SEEHEAR_TEST_PORT", broker.port.to_string()).spawn().unwrap();
    assert_eq!(next(&rx, "status").1["state"], "online");
    program.kill().unwrap();
    program.wait().unwrap();
    let will = next(&rx, "status").1;
    assert_eq!((will["state"].as_str(), will["reason"].as_str()), (Some("offline"), Some("connection lost")));
}

#[test]
fn a_wrong_password_is_told_and_a_right_one_let_in() {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users");
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    let mut made = Command::new("mosquitto_passwd");
    made.env("PATH", path).args(["-b", "-c"]).arg(&users).args(["eva", "p@ss"]);
    assert!(made.status().unwrap().success());
    let broker = Broker::start(&format!("allow_anonymous false\npassword_file {}\nuser root", users.display()));
    let hub = Hub::new("studio 1");
    let at = |password: &str| Address::parse(&format!("mqtt://eva:{password}@127.0.0.1:{}", broker.port), "a").unwrap();
    let publisher = publish(&at("wrong"), &hub).unwrap();
    until("it is told", || {
        hub.health().warnings.iter().any(|w| w.contains("BadUserNamePassword") || w.contains("NotAuthorized"))
    });
    publisher.stop();
    let mut options = MqttOptions::new("listener", "127.0.0.1", broker.port);
    options.set_credentials("eva", "p@ss");
    let rx = listen(options);
    let publisher = publish(&at("p%40ss"), &hub).unwrap();
    let (topic, _, status) = rx.recv_timeout(PATIENCE).unwrap();
    assert_eq!((topic.as_str(), status["state"].as_str()), ("seehear/a/status", Some("online")));
    publisher.stop();
}

#[cfg(feature = "tls")]
#[test]
fn over_tls_the_certificate_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let openssl = |args: &str| {
        let done = Command::new("openssl").current_dir(&dir).args(args.split(' ')).output();
        let done = done.expect("openssl must be installed (Debian: openssl)");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem");
    openssl("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr");
    std::fs::write(dir.path().join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1").unwrap();
    openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem");
    let at = dir.path().display();
    let broker =
        Broker::start(&format!("allow_anonymous true\ncertfile {at}/server.pem\nkeyfile {at}/server.key\nuser root"));
    let hub = Hub::new("studio 1");
    let url = |query: &str| Address::parse(&format!("mqtts://localhost:{}{query}", broker.port), "a").unwrap();
    let stranger = publish(&url(""), &hub);
    // A system that trusts nobody refuses at once, another when it sees the certificate.
    if let Ok(publisher) = stranger {
        until("an unknown authority is told", || hub.health().warnings.iter().any(|w| w.contains("UnknownIssuer")));
        publisher.stop();
    }
    let publisher = publish(&url(&format!("?ca={at}/ca.pem")), &hub).unwrap();
    until("it is trusted", || hub.health().warnings.is_empty());
    publisher.stop();
}
