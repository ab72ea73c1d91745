//! A process of a measurement: started with its output in a file, ended politely or at once, and never left behind.

use std::{
    fs::File,
    io,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

const LOOK: Duration = Duration::from_millis(2);

/// A running program; it is killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
}

impl Program {
    /// Starts a command; what it says goes to `log`.
    ///
    /// # Errors
    /// It cannot be started, or the log not be written.
    pub fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Self { child })
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end, and kills it when it has not by then; answers whether it ended in time.
    pub fn terminate(&mut self, within: Duration) -> bool {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            // Where it has ended already, there is nobody to ask.
            let _gone = kill_process(pid, Signal::TERM);
        }
        let in_time = until(within, || self.has_ended().then_some(())).is_some();
        self.kill();
        in_time
    }

    /// SIGKILL; waits until it has gone.
    pub fn kill(&mut self) {
        let _ended_before = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Looks again and again until there is an answer; none when it takes too long.
pub fn until<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = look() {
            return Some(answer);
        }
        if began.elapsed() >= within {
            return None;
        }
        thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_ends_when_asked_and_when_it_does_not_listen() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let shell = |script: &str| {
            let mut program = Program::start(Command::new("sh").args(["-c", script]), &log).unwrap();
            assert!(!program.has_ended());
            let says = |log: &Path| std::fs::read_to_string(log).unwrap_or_default().contains("up");
            until(Duration::from_secs(20), || says(&log).then_some(())).unwrap();
            std::fs::write(&log, "").unwrap();
            program
        };
        assert!(shell("echo up; while :; do :; done").terminate(Duration::from_secs(20)));
        assert!(!shell("trap '' TERM; echo up; while :; do :; done").terminate(Duration::from_millis(50)));
    }
}
