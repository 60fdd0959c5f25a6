//! The service manager, played by a socket. Its address is an environment variable, so the service is a process of its
//! own.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{PATIENCE, child, frame, timing};
use seehear_serve::{Hub, notify};
use std::os::unix::net::UnixDatagram;
use std::process::Child;
use std::time::{Duration, Instant};

struct Manager {
    socket: UnixDatagram,
    service: Child,
    _dir: tempfile::TempDir,
}

impl Manager {
    fn start(slots: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut command = child("a_service");
        command.env("NOTIFY_SOCKET", path).env("WATCHDOG_USEC", "300000").env("SEEHEAR_TEST_SLOTS", slots.to_string());
        Self { socket, service: command.spawn().unwrap(), _dir: dir }
    }

    /// The next message, if one comes in time.
    fn told(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut buffer = [0; 4096];
        let n = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..n].to_vec()).unwrap())
    }
}

#[test]
#[ignore = "the service of the next tests"]
fn a_service() {
    let Ok(slots) = std::env::var("SEEHEAR_TEST_SLOTS") else { return };
    let hub = Hub::new("a\nWATCHDOG=trigger");
    let notifier = notify::start(&hub).unwrap().expect("NOTIFY_SOCKET is set");
    for i in 0..slots.parse().unwrap() {
        hub.frame(&frame(i, 1, 1), timing());
        std::thread::sleep(Duration::from_millis(20));
    }
    notify::reloading().unwrap();
    notify::reloaded("read anew\nWATCHDOG=trigger").unwrap();
    // Now the analysis hangs.
    std::thread::sleep(Duration::from_secs(2));
    drop(notifier);
}

#[test]
fn ready_fed_while_there_is_progress_and_starved_when_there_is_none() {
    let mut manager = Manager::start(100);
    let first = manager.told(PATIENCE).unwrap();
    assert!(first.contains("WATCHDOG=1\nREADY=1\nSTATUS="), "{first}");
    let mut fed = 1;
    let reloading = loop {
        let told = manager.told(PATIENCE).unwrap();
        if !told.starts_with("WATCHDOG=1\nSTATUS=") {
            break told;
        }
        assert!(told.contains(" slots, ") && !told.contains("READY"), "{told}");
        fed += 1;
    };
    // Two seconds of slots, a look every 100 ms.
    assert!(fed >= 5, "{fed}");
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(manager.told(PATIENCE).unwrap(), "READY=1\nSTATUS=read anew WATCHDOG=trigger\n");
    // Slots of the last look may still be told; then nothing, for more than the watchdog's 300 ms.
    let began = Instant::now();
    let mut last = manager.told(PATIENCE).unwrap();
    while last.starts_with("WATCHDOG=1") {
        assert!(began.elapsed() < Duration::from_millis(1500), "fed without progress");
        last = manager.told(PATIENCE).unwrap();
    }
    assert_eq!(last, "STOPPING=1\nSTATUS=stopping\n");
    assert!(manager.service.wait().unwrap().success());
}

#[test]
fn not_ready_before_the_first_slot() {
    let mut manager = Manager::start(0);
    let told: Vec<String> = std::iter::from_fn(|| manager.told(PATIENCE)).take(3).collect();
    assert!(told[0].starts_with("RELOADING=1") && told[2].starts_with("STOPPING=1"), "{told:?}");
    assert!(manager.service.wait().unwrap().success());
}

#[test]
fn outside_a_service_manager_nothing_happens() {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        assert!(notify::start(&Hub::new("a")).unwrap().is_none());
        notify::reloading().unwrap();
        notify::reloaded("x").unwrap();
    }
}
