//! The signals that ask a tool to end: SIGINT and SIGTERM. What is done about the first is the tool's own affair.

use std::{io, process::exit, thread};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code of a run that was not brought to its end.
const BROKEN_OFF: i32 = 1;

/// Calls `first` at the first signal, on a thread of its own. A second one ends the process at once.
///
/// # Errors
/// The system lets nobody listen for signals.
pub fn at_first(first: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // From here on a signal does not end the process by itself.
    let mut signals = {
        let _entered = runtime.enter();
        [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?]
    };
    thread::spawn(move || {
        runtime.block_on(either(&mut signals));
        first();
        runtime.block_on(either(&mut signals));
        exit(BROKEN_OFF);
    });
    Ok(())
}

/// Waits for one of the signals.
async fn either([interrupt, terminate]: &mut [Signal; 2]) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
