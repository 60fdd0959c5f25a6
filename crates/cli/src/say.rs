//! The only place that prints. Results go to standard output, everything else to standard error.

#![expect(clippy::print_stderr, reason = "this is the place")]

use std::io::{self, Write};

/// An error and its causes, in one line.
pub(crate) fn error(error: &anyhow::Error) {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    // thiserror's transparent errors repeat their source: say each thing once.
    let mut said: Vec<&str> = Vec::new();
    for cause in &causes {
        if !said.iter().any(|s| s.contains(cause.as_str())) {
            said.push(cause);
        }
    }
    eprintln!("seehear: {}", said.join(": "));
}

/// A line for people.
pub(crate) fn note(line: &str) {
    eprintln!("{line}");
}

/// A line of result; a reader that went away is no error.
pub(crate) fn result(line: &str) -> io::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
