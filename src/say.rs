//! Words on standard output and standard error. Where nobody listens any more, as behind a closed pipe or on a full disk, they
//! are lost, and nothing else is: `println!` would end the process.

use std::fmt::Arguments;
use std::io::{self, Write};

/// A line on standard output.
pub fn line(words: Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{words}");
}

/// Words on standard output as they are.
pub fn words(words: Arguments<'_>) {
    let mut out = io::stdout();
    let _ = write!(out, "{words}").and_then(|()| out.flush());
}

/// A line on standard error.
pub fn complaint(words: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{words}");
}

/// An error with all that it came from.
pub fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Standard error for a log that must not fail: it says what cannot be written on standard error.
#[derive(Clone, Copy, Debug)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}
