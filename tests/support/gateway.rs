//! The gateway as a process: started in a home, found by what it prints, killed or told to end.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};

use super::home::Home;
use super::http::Http;
use super::wait::{until, until_true};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");
/// Free ports for all three, and no more of the disk than a test needs.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("TIDEGATE__HTTP__LISTEN", "127.0.0.1:0"),
    ("TIDEGATE__SMPP__LISTEN", "127.0.0.1:0"),
    ("TIDEGATE__OPS__LISTEN", "127.0.0.1:0"),
    ("TIDEGATE__STORAGE__RESERVE", "1MiB"),
    ("TIDEGATE__STORAGE__RESERVE_PERCENT", "0"),
];

/// Where a gateway listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub http: SocketAddr,
    pub smpp: SocketAddr,
    pub ops: SocketAddr,
}

/// A process that has ended by itself.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub said: String,
}

pub struct Gateway {
    child: Child,
    printed: Arc<Mutex<String>>,
    log_from: u64,
    log: std::path::PathBuf,
}

/// `tidegate` with some arguments in a home.
pub fn program(home: &Home, arguments: &[&str]) -> Command {
    let mut command = program_of(PROGRAM, home);
    command.args(arguments);
    command
}

/// A program in a home, with the settings of all tests in its environment and nothing of our own.
pub fn program_of(program: &str, home: &Home) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    command.envs(ENVIRONMENT).current_dir(home.path());
    command
}

/// Runs a command of the program to its end.
pub fn run(home: &Home, arguments: &[&str]) -> (Ended, String) {
    let output = program(home, arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let (code, signal) = (output.status.code(), output.status.signal());
    (Ended { code, signal, said }, printed)
}

/// `serve`, with the settings of the home where it has some.
pub fn serve(home: &Home) -> Command {
    match home.settings().exists() {
        true => program(home, &["serve", "--config", "tidegate.toml"]),
        false => program(home, &["serve"]),
    }
}

impl Gateway {
    /// Starts and waits until it takes messages.
    #[track_caller]
    pub fn start(home: &Home) -> Gateway {
        Gateway::ready(Gateway::spawn(home, serve(home)))
    }

    /// Waits until a spawned one takes messages.
    #[track_caller]
    pub fn ready(mut gateway: Gateway) -> Gateway {
        until_true("a gateway that is ready", || match gateway.ended() {
            Some(ended) => panic!("the gateway has ended at its start: {ended:?}"),
            None => gateway.is_ready(),
        });
        gateway
    }

    /// Starts and waits for nothing.
    pub fn spawn(home: &Home, mut command: Command) -> Gateway {
        let log = File::options().create(true).append(true).open(home.log()).unwrap();
        let log_from = log.metadata().unwrap().len();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let printed = Arc::<Mutex<String>>::default();
        let (into, from) = (Arc::clone(&printed), child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let mut printed = into.lock().unwrap();
                printed.push_str(&line);
                printed.push('\n');
            }
        });
        Gateway { child, printed, log_from, log: home.log() }
    }

    /// A start that is to be refused: how it ended.
    #[track_caller]
    pub fn refused(home: &Home) -> Ended {
        Gateway::spawn(home, serve(home)).wait()
    }

    /// All that it has printed.
    pub fn printed(&self) -> String {
        self.printed.lock().unwrap().clone()
    }

    pub fn addresses(&self) -> Addresses {
        self.look().expect("a gateway that is ready has printed its addresses")
    }

    fn look(&self) -> Option<Addresses> {
        let printed = self.printed();
        let address = |door: &str| {
            let line = printed.lines().find(|line| line.trim_start().starts_with(door))?;
            let start = line.find("127.0.0.1:")?;
            let end = line[start..].find(|letter: char| !letter.is_ascii_digit() && !".:".contains(letter));
            line[start..end.map_or(line.len(), |end| start + end)].parse().ok()
        };
        Some(Addresses { http: address("HTTP")?, smpp: address("SMPP")?, ops: address("operations")? })
    }

    pub fn http(&self, key: &str) -> Http {
        Http::new(self.addresses().http, key)
    }

    /// What the operations listener answers.
    pub fn ops(&self, path: &str) -> super::http::Answer {
        Http::new(self.addresses().ops, "").get(path)
    }

    /// Whether it takes messages.
    pub fn is_ready(&self) -> bool {
        self.look().is_some_and(|addresses| Http::new(addresses.ops, "").get("/readyz").status == 200)
    }

    /// What it holds of the machine's memory.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
    }

    /// How many file descriptors it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// SIGKILL, and its end.
    pub fn kill(mut self) {
        self.stop();
    }

    /// SIGTERM, and nothing is waited for.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGHUP, and nothing is waited for.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        // It may have ended already.
        let _ = kill_process(pid, signal);
    }

    /// SIGTERM, and its end.
    #[track_caller]
    pub fn end(self) -> Ended {
        self.terminate();
        self.wait()
    }

    /// SIGTERM, and an end with everything done.
    #[track_caller]
    pub fn end_well(self) {
        let ended = self.end();
        assert_eq!(ended.code, Some(0), "{}", ended.said);
    }

    /// Waits for an end that it comes to by itself.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        until("the end of the gateway", || self.ended())
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<Ended> {
        let status: ExitStatus = self.child.try_wait().unwrap()?;
        Some(Ended { code: status.code(), signal: status.signal(), said: self.said() })
    }

    /// What this one has written to the log.
    pub fn said(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let own = log.get(self.log_from as usize..).unwrap_or_default();
        String::from_utf8_lossy(own).into_owned()
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}
