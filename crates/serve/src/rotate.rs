//! A file of lines that is rotated: `events.jsonl`, and before it `events.jsonl.1` (the newest of the old) to
//! `events.jsonl.N`.
//!
//! Every file holds whole lines, whatever happens: a line that could not be written as a whole (disk full) is taken
//! back and counted as lost. Every file begins with the same first line, the header, so that each can be read alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// When to begin a new file, and how many old ones to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Larger than this no file gets, unless a single line is.
    pub max_bytes: u64,
    /// Nor does one go on for longer.
    pub max_age: Duration,
    /// Old files kept; 0: none.
    pub keep: u32,
}

impl Default for Limits {
    /// 64 MiB (about a day of one speaker, an hour or two of many), a day, seven old ones.
    fn default() -> Self {
        Self { max_bytes: 64 << 20, max_age: Duration::from_secs(24 * 3600), keep: 7 }
    }
}

/// What is written to. Only files in a program; tests have one that fails.
pub(crate) trait Target: Write + Seek {
    /// Cuts it off after so many bytes.
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

impl Target for File {
    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        self.seek(SeekFrom::Start(len)).map(drop)
    }
}

/// Whole lines, or nothing, in one target.
struct Lines<T> {
    target: T,
    /// Bytes of whole lines.
    whole: u64,
    /// A broken line could not be taken back yet.
    torn: bool,
}

impl<T: Target> Lines<T> {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.mend()?;
        if let Err(e) = self.target.write_all(line) {
            self.torn = true;
            // If this fails too, the next line tries again.
            drop(self.mend());
            return Err(e);
        }
        self.whole += u64::try_from(line.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.target.cut(self.whole)?;
            self.torn = false;
        }
        Ok(())
    }
}

/// The file.
#[derive(Debug)]
pub struct Rotating {
    path: PathBuf,
    limits: Limits,
    lines: Lines<File>,
    began: Instant,
    /// Put at the beginning of every new file.
    first: Vec<u8>,
}

impl<T> std::fmt::Debug for Lines<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("whole", &self.whole).finish_non_exhaustive()
    }
}

impl Rotating {
    /// Begins a new file at `path`; one that is there becomes an old one. A line left broken by a crash is cut off it.
    ///
    /// # Errors
    /// Names the path.
    pub fn create(path: &Path, limits: Limits) -> io::Result<Self> {
        let named = |e| named(path, &e);
        if path.file_name().is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{}: names no file", path.display())));
        }
        if path.metadata().is_ok_and(|m| m.len() > 0) {
            whole_lines_only(path).map_err(named)?;
            shift(path, limits.keep).map_err(named)?;
        }
        let lines = open(path).map_err(named)?;
        Ok(Self { path: path.to_owned(), limits, lines, began: Instant::now(), first: Vec::new() })
    }

    /// Writes the first line, and keeps it for the files to come. Without its end.
    ///
    /// # Errors
    /// As [`Rotating::line`].
    pub fn first_line(&mut self, line: &[u8]) -> io::Result<()> {
        self.first = [line, b"\n"].concat();
        self.put(self.first.clone().as_slice())
    }

    /// Writes a line, given without its end; begins a new file before it where it is time.
    ///
    /// # Errors
    /// Names the path. The file then holds whole lines, without this one; the next may work again.
    pub fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.line_at(line, Instant::now())
    }

    fn line_at(&mut self, line: &[u8], now: Instant) -> io::Result<()> {
        let line = [line, b"\n"].concat();
        let len = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let header = u64::try_from(self.first.len()).unwrap_or(u64::MAX);
        let full = self.lines.whole.saturating_add(len) > self.limits.max_bytes && self.lines.whole > header;
        let old = now.saturating_duration_since(self.began) >= self.limits.max_age && self.lines.whole > header;
        if full || old {
            self.rotate(now)?;
        }
        self.put(&line)
    }

    /// Begins a new file now.
    ///
    /// # Errors
    /// Names the path; the present file then goes on.
    pub fn rotate(&mut self, now: Instant) -> io::Result<()> {
        self.lines.mend().map_err(|e| named(&self.path, &e))?;
        shift(&self.path, self.limits.keep).map_err(|e| named(&self.path, &e))?;
        self.lines = open(&self.path).map_err(|e| named(&self.path, &e))?;
        self.began = now;
        if self.first.is_empty() { Ok(()) } else { self.put(self.first.clone().as_slice()) }
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        self.lines.write(line).map_err(|e| named(&self.path, &e))
    }
}

fn named(path: &Path, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{}: {e}", path.display()))
}

fn open(path: &Path) -> io::Result<Lines<File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    Ok(Lines { target: file, whole: 0, torn: false })
}

fn old(path: &Path, n: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

/// Moves every old file on by one; the last one goes.
fn shift(path: &Path, keep: u32) -> io::Result<()> {
    if keep == 0 {
        return Ok(());
    }
    let missing = |r: io::Result<()>| match r {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        r => r,
    };
    for n in (1..keep).rev() {
        missing(std::fs::rename(old(path, n), old(path, n + 1)))?;
    }
    missing(std::fs::rename(path, old(path, 1)))
}

/// Cuts off what follows the last line's end.
fn whole_lines_only(path: &Path) -> io::Result<()> {
    const BLOCK: u64 = 64 * 1024;
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut end = file.metadata()?.len();
    let mut block = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(begin))?;
        block.clear();
        Read::by_ref(&mut file).take(end - begin).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|&b| b == b'\n') {
            end = begin + u64::try_from(at).unwrap_or(0) + 1;
            break;
        }
        end = begin;
    }
    file.set_len(end)
}

#[cfg(test)]
#[path = "rotate_tests.rs"]
mod tests;
