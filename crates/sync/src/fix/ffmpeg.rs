//! Child processes: ffmpeg and ffprobe are started, watched, and never left behind.

use super::FixError;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The programs that do the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    /// A name that is looked for in `PATH`, or a path.
    pub ffmpeg: PathBuf,
    /// A name that is looked for in `PATH`, or a path.
    pub ffprobe: PathBuf,
}

impl Default for Tools {
    fn default() -> Self {
        Self { ffmpeg: "ffmpeg".into(), ffprobe: "ffprobe".into() }
    }
}

/// How a path is given to ffmpeg: never an option, a URL or a pattern, whatever its name.
pub(crate) fn file(path: &Path) -> OsString {
    let mut url = OsString::from("file:");
    url.push(path);
    url
}

/// A command line under construction.
#[derive(Debug)]
pub(crate) struct Line(Vec<OsString>);

impl Line {
    /// An ffmpeg that asks nothing and tells errors only.
    pub(crate) fn new() -> Self {
        let mut line = Self(Vec::new());
        line.words(&["-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-y"]);
        line
    }

    pub(crate) fn words(&mut self, words: &[&str]) -> &mut Self {
        self.0.extend(words.iter().map(OsString::from));
        self
    }

    pub(crate) fn word(&mut self, word: impl AsRef<OsStr>) -> &mut Self {
        self.0.push(word.as_ref().to_owned());
        self
    }

    /// An option with its value.
    pub(crate) fn option(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.word(name).word(value)
    }
}

/// A child process that is ended and waited for when it goes out of scope.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Gathers the last lines of standard error.
    complaints: Option<JoinHandle<String>>,
}

/// So many lines of what ffmpeg says are told on.
const LAST_LINES: usize = 4;

impl Running {
    pub(crate) fn start(program: &Path, line: &Line) -> Result<Self, FixError> {
        let started = Command::new(program)
            .args(&line.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = started.map_err(|e| FixError::Program {
            program: program.display().to_string(),
            why: match e.kind() {
                ErrorKind::NotFound => "not found; install it: apt-get install ffmpeg".into(),
                _ => format!("can't be started: {e}"),
            },
        })?;
        let stderr = child.stderr.take().expect("asked for above");
        let complaints = std::thread::spawn(move || last_lines(stderr));
        Ok(Self { child, complaints: Some(complaints) })
    }

    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("taken once")
    }

    /// Waits for the end, which must be near: the child has closed its standard output.
    pub(crate) fn finish(mut self) -> Result<(ExitStatus, String), FixError> {
        let status =
            self.child.wait().map_err(|e| FixError::Program { program: "ffmpeg".into(), why: e.to_string() })?;
        let said = self.complaints.take().and_then(|t| t.join().ok()).unwrap_or_default();
        Ok((status, said))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a child that has ended and was waited for: what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The last lines of a stream, joined by " / "; reads it to its end, so that the writer never blocks.
fn last_lines(stream: impl Read) -> String {
    let mut lines: VecDeque<String> = VecDeque::new();
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&line).trim().chars().take(300).collect::<String>();
        line.clear();
        if !text.is_empty() && lines.back() != Some(&text) {
            lines.push_back(text);
        }
        if lines.len() > LAST_LINES {
            lines.pop_front();
        }
    }
    Vec::from(lines).join(" / ")
}

/// Runs to the end and gives what is written to standard output. For what takes a moment only; `stop` is looked at
/// before.
pub(crate) fn output(
    program: &Path,
    line: &Line,
    stop: &AtomicBool,
) -> Result<(ExitStatus, Vec<u8>, String), FixError> {
    if stop.load(Ordering::Acquire) {
        return Err(FixError::Stopped);
    }
    let mut child = Running::start(program, line)?;
    let mut bytes = Vec::new();
    let read = child.stdout().read_to_end(&mut bytes);
    let (status, said) = child.finish()?;
    read.map_err(|e| FixError::Program { program: program.display().to_string(), why: e.to_string() })?;
    Ok((status, bytes, said))
}

/// Asks ffprobe, with JSON as the answer.
pub(crate) fn ask(
    tools: &Tools,
    words: &[&str],
    path: &Path,
    stop: &AtomicBool,
) -> Result<Result<Vec<u8>, String>, FixError> {
    let mut line = Line(Vec::new());
    line.words(&["-hide_banner", "-v", "error", "-of", "json"]).words(words).option("-i", file(path));
    let (status, bytes, said) = output(&tools.ffprobe, &line, stop)?;
    Ok(if status.success() { Ok(bytes) } else { Err(said) })
}

/// Runs an ffmpeg that writes `-progress` to its standard output; tells how far it is, seconds of the programme.
///
/// The inner error is what ffmpeg said.
pub(crate) fn run(
    program: &Path,
    line: &Line,
    progress: &mut dyn FnMut(f64),
    stop: &AtomicBool,
) -> Result<Result<(), String>, FixError> {
    let mut child = Running::start(program, line)?;
    let told = BufReader::new(child.stdout());
    let (send, receive) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in told.lines().map_while(Result::ok) {
            let us = line.strip_prefix("out_time_us=").and_then(|v| v.parse::<f64>().ok());
            if us.is_some_and(|us| send.send(us / 1e6).is_err()) {
                break;
            }
        }
    });
    // Dropping the child ends it; the reader then finds the end of the stream.
    loop {
        if stop.load(Ordering::Acquire) {
            drop(child);
            reader.join().ok();
            return Err(FixError::Stopped);
        }
        match receive.recv_timeout(Duration::from_millis(50)) {
            Ok(s) => progress(s),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    reader.join().ok();
    let (status, said) = child.finish()?;
    if status.success() {
        return Ok(Ok(()));
    }
    // A terminal sends Ctrl-C to ffmpeg too, which may be quicker to end than we are to hear of it.
    std::thread::sleep(Duration::from_millis(100));
    if stop.load(Ordering::Acquire) {
        return Err(FixError::Stopped);
    }
    Ok(Err(if said.is_empty() { format!("{status}") } else { said }))
}
