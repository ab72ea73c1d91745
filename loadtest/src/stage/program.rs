//! A process of a measurement: started with its output in a file, ended politely or at once, and never left behind, not even by
//! a measurement that is told to end.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

const LOOK: Duration = Duration::from_millis(2);

/// The programs that run, by handles that mean no other process after their end. None once all were ended for good.
static LIVING: Mutex<Option<BTreeMap<u32, OwnedFd>>> = Mutex::new(Some(BTreeMap::new()));

fn living() -> MutexGuard<'static, Option<BTreeMap<u32, OwnedFd>>> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills all programs (SIGKILL), and lets no more be started: for a process that is about to end without dropping them.
pub fn end_all() {
    for program in living().take().unwrap_or_default().values() {
        let _ended_before = pidfd_send_signal(program, Signal::KILL);
    }
}

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
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let program = {
            // Locked until the program is in it: none may come between an `end_all` and the end of this process.
            let mut living = living();
            let living = living.as_mut().ok_or(io::ErrorKind::Interrupted)?;
            let child = command.spawn()?;
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            if let Some(Ok(handle)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
                living.insert(child.id(), handle);
            }
            Self { child }
        };
        Ok(program)
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
        if let Some(living) = living().as_mut() {
            living.remove(&self.pid());
        }
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
