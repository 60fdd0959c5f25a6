//! Sources that misbehave: a camera that sends an MPEG transport stream over UDP, and networks that lose and delay.

use crate::common::{demo, ffmpeg};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bits per second of every transport stream here: constant, so that bytes are time.
const RATE: f64 = 3e6;
/// Seven packets to a datagram, as everywhere.
const DATAGRAM: usize = 7 * 188;
/// ffmpeg's first stream is the picture, its second the sound.
const SOUND_PID: u16 = 0x101;

/// A transport stream of the demo from `from` s on, `seconds` long, of `size` at `fps`, its time stamps moved by `shift` s.
pub fn stream(dir: &Path, (from, seconds): (u32, u32), size: &str, fps: u32, shift: u32) -> Vec<u8> {
    let file = dir.join("part.ts");
    ffmpeg(
        &format!(
            "-ss {from} -t {seconds} -vf scale={size},fps={fps} -c:v libx264 -preset ultrafast -tune zerolatency -g {fps} -b:v 1500k \
             -maxrate 1500k -bufsize 750k -c:a aac -b:a 128k -ar 48000 -f mpegts -muxrate {RATE} -output_ts_offset {shift}"
        ),
        &[&demo()],
        &file,
    );
    std::fs::read(file).unwrap()
}

/// Sends `bytes` to a UDP port by the clock, `speed` times as fast as they should; `mute` are seconds without sound.
pub fn send(bytes: &[u8], port: u16, speed: f64, mute: std::ops::Range<f64>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    let mut sent = 0;
    for datagram in bytes.chunks(DATAGRAM) {
        let due = sent as f64 * 8.0 / RATE / speed;
        std::thread::sleep(Duration::from_secs_f64(due).saturating_sub(begun.elapsed()));
        let muted = mute.contains(&due);
        let pid = |p: &[u8]| u16::from_be_bytes([p[1] & 0x1F, p[2]]);
        let left: Vec<u8> = datagram.chunks(188).filter(|p| !muted || pid(p) != SOUND_PID).flatten().copied().collect();
        // Nobody listens yet, or any more: that is no matter of a camera.
        drop(socket.send_to(&left, ("127.0.0.1", port)));
        sent += datagram.len();
    }
}

/// What a network does to the datagrams that go through it.
#[derive(Clone, Copy)]
pub struct Weather {
    /// Share that is lost.
    pub loss: f64,
    /// The longest delay of one; each has its own, by chance, so that they overtake one another.
    pub jitter: Duration,
}

/// SplitMix64 (Steele, Lea, Flood 2014), as a number in 0…1.
fn chance(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Gives datagrams that come in at `from` to `to`, through the weather, until `stop`; answers go back as they are.
fn carry(from: UdpSocket, to: std::net::SocketAddr, weather: Weather, both: bool, stop: &Arc<AtomicBool>) {
    let stop = Arc::clone(stop);
    from.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    std::thread::spawn(move || {
        let back = UdpSocket::bind("127.0.0.1:0").unwrap();
        back.set_nonblocking(true).unwrap();
        let mut waiting: Vec<(Instant, bool, Vec<u8>)> = Vec::new();
        let (mut state, mut buffer, mut client) = (1, [0; 2048], None);
        while !stop.load(Ordering::Relaxed) {
            let mut take = |got: std::io::Result<(usize, std::net::SocketAddr)>, onward: bool, bytes: &[u8]| {
                let Ok((n, who)) = got else { return };
                if onward {
                    client = Some(who);
                }
                let bad = onward || both;
                if bad && chance(&mut state) < weather.loss {
                    return;
                }
                let late = if bad { weather.jitter.mul_f64(chance(&mut state)) } else { Duration::ZERO };
                waiting.push((Instant::now() + late, onward, bytes[..n].to_vec()));
            };
            let got = from.recv_from(&mut buffer);
            take(got, true, &buffer);
            let got = back.recv_from(&mut buffer);
            take(got, false, &buffer);
            let now = Instant::now();
            waiting.retain(|(due, onward, bytes)| {
                if now < *due {
                    return true;
                }
                match (onward, client) {
                    (true, _) => drop(back.send_to(bytes, to)),
                    (false, Some(who)) => drop(from.send_to(bytes, who)),
                    (false, None) => {}
                }
                false
            });
        }
    });
}

/// A UDP port through which `to` is reached, in bad weather both ways.
pub fn udp(to: u16, weather: Weather, stop: &Arc<AtomicBool>) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    carry(socket, ([127, 0, 0, 1], to).into(), weather, true, stop);
    port
}

/// A TCP port through which the RTSP server at `to` is reached: RTSP itself goes as it is, RTP and RTCP over UDP from the server
/// through bad weather. For that the client's ports in its SETUP requests are replaced by ours.
pub fn rtsp(to: u16, weather: Weather, stop: &Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            let (mut answers, mut into) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || drop(std::io::copy(&mut answers, &mut into)));
            let (mut client, mut server, stop) = (client, server, Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut buffer = [0; 65536];
                while let Ok(n @ 1..) = client.read(&mut buffer) {
                    let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
                    if server.write_all(through(&text, weather, &stop).as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// The request with our ports for `client_port=A-B`.
fn through(request: &str, weather: Weather, stop: &Arc<AtomicBool>) -> String {
    let Some((before, rest)) = request.split_once("client_port=") else { return request.to_owned() };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
    let (theirs, after) = rest.split_at(end);
    let (rtp, rtcp) = theirs.split_once('-').unwrap();
    let ours = [rtp, rtcp].map(|port| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let ours = socket.local_addr().unwrap().port();
        carry(socket, ([127, 0, 0, 1], port.parse().unwrap()).into(), weather, false, stop);
        ours
    });
    format!("{before}client_port={}-{}{after}", ours[0], ours[1])
}
