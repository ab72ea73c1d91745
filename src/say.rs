//! Words on standard output and standard error. Where nobody listens any more, as behind a closed pipe or on a full disk, they
//! are lost, and nothing else is: `println!` would end the process. A command that was asked for words has then not done its work.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// A line on standard output.
pub fn line(words: Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{words}");
}

/// What a command was asked for, as it is, on standard output. Where it could not be written the command has failed; who has gone, as behind a
/// closed pipe, wants no more of it.
pub fn answer(words: Arguments<'_>, done: ExitCode) -> ExitCode {
    let mut out = io::stdout();
    match write!(out, "{words}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complaint(format_args!("tidegate: cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
        _ => done,
    }
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
