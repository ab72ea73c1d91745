//! Kannel as a program beside Tidegate: found, configured in a directory of its own, started and ended. What it is measured by
//! is in `compare`.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    StageError,
    program::{Program, until},
    settings::free_ports,
};
use crate::{http, watch};

/// How to have it.
pub const INSTALL: &str = "apt-get install kannel";
/// Where Debian puts it, which is not in everybody's PATH.
const PLACES: [&str; 3] = ["/usr/sbin", "/usr/bin", "/usr/local/sbin"];
const READY_WITHIN: Duration = Duration::from_secs(60);
const END_WITHIN: Duration = Duration::from_secs(10);
const USER: &str = "bench";
const PASSWORD: &str = "bench";

/// The two programs that make a Kannel.
#[derive(Debug, Clone)]
pub struct Programs {
    bearerbox: PathBuf,
    smsbox: PathBuf,
}

impl Programs {
    /// Where it is installed; none where it is not.
    #[must_use]
    pub fn find() -> Option<Self> {
        Some(Self { bearerbox: find("bearerbox")?, smsbox: find("smsbox")? })
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).chain(PLACES.map(PathBuf::from)).collect();
    places.into_iter().map(|place| place.join(name)).find(|program| program.is_file())
}

/// What it is set up with.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub smsc: SocketAddr,
    pub binds: u32,
    pub window: u32,
    /// Whether messages and receipts are kept in files, so that a crash does not lose all of them (not synced, though).
    pub stores: bool,
}

/// A running Kannel.
#[derive(Debug)]
pub struct Kannel {
    /// Ended first: it is a client of the other.
    smsbox: Program,
    bearerbox: Program,
    door: SocketAddr,
}

impl Kannel {
    /// Starts both programs and waits until all binds are up and the door is open.
    ///
    /// # Errors
    /// They cannot be started, or do not become ready.
    pub fn start(programs: &Programs, directory: &Path, settings: Settings) -> Result<Self, StageError> {
        let failed = |source| StageError::Io { what: directory.display().to_string(), source };
        let _not_there = fs::remove_dir_all(directory);
        fs::create_dir_all(directory.join("store")).map_err(failed)?;
        let directory = directory.canonicalize().map_err(failed)?;
        let [admin, boxes, door] = free_ports().map_err(failed)?;
        let conf = directory.join("kannel.conf");
        fs::write(&conf, configuration(&directory, settings, [admin, boxes, door])).map_err(failed)?;
        let start = |program: &Path| {
            let mut command = Command::new(program);
            command.arg("-v").arg("4").arg(&conf).current_dir(&directory);
            Program::start(&mut command, &directory.join("log"))
                .map_err(|source| StageError::Io { what: program.display().to_string(), source })
        };
        let not_ready =
            |program: &str| StageError::NotReady { program: program.into(), log: directory.join("log") };
        let bearerbox = start(&programs.bearerbox)?;
        let open = |address: SocketAddr| TcpStream::connect(address).ok().map(drop);
        until(READY_WITHIN, || open(boxes)).ok_or_else(|| not_ready("bearerbox"))?;
        let smsbox = start(&programs.smsbox)?;
        until(READY_WITHIN, || open(door)).ok_or_else(|| not_ready("smsbox"))?;
        let online = || {
            let (_, status) = watch::get(&admin.to_string(), "/status.txt?password=bench").ok()?;
            (status.matches("(online").count() >= settings.binds as usize).then_some(())
        };
        until(READY_WITHIN, online).ok_or_else(|| not_ready("a bind of bearerbox"))?;
        Ok(Self { smsbox, bearerbox, door })
    }

    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        vec![self.bearerbox.pid(), self.smsbox.pid()]
    }

    /// The generator at its door.
    #[must_use]
    pub fn over_http(&self) -> http::Options {
        http::Options {
            target: format!("http://{}", self.door),
            door: http::Door::Kannel,
            key: format!("{USER}:{PASSWORD}"),
            quiet: true,
            ..http::Options::default()
        }
    }
}

impl Drop for Kannel {
    fn drop(&mut self) {
        self.smsbox.terminate(END_WITHIN);
        self.bearerbox.terminate(END_WITHIN);
    }
}

/// The configuration. Kannel 1.4 knows one bind a group, so there is a group for each; what would throttle it is as far up as
/// its documents let it be.
fn configuration(directory: &Path, settings: Settings, ports: [SocketAddr; 3]) -> String {
    let [admin, boxes, door] = ports.map(|address| address.port());
    let store = match settings.stores {
        true => format!("store-type = spool\nstore-location = \"{}\"\n", directory.join("store").display()),
        false => String::new(),
    };
    let core = format!(
        "group = core\nadmin-port = {admin}\nadmin-interface = \"127.0.0.1\"\nadmin-password = bench\n\
         smsbox-port = {boxes}\nsmsbox-interface = \"127.0.0.1\"\nbox-allow-ip = \"127.0.0.1\"\n\
         dlr-storage = internal\nsms-incoming-queue-limit = 10000000\nsms-outgoing-queue-limit = 10000000\n{store}\n"
    );
    let smsc = format!(
        "group = smsc\nsmsc = smpp\nsmsc-id = up\nhost = \"{}\"\nport = {}\ntransceiver-mode = true\n\
         smsc-username = bench\nsmsc-password = bench\nsystem-type = \"\"\ninterface-version = 34\n\
         max-pending-submits = {}\nthroughput = 0\nenquire-link-interval = 30\n\n",
        settings.smsc.ip(),
        settings.smsc.port(),
        settings.window,
    );
    let smsbox = format!(
        "group = smsbox\nbearerbox-host = \"127.0.0.1\"\nsendsms-port = {door}\n\
         sendsms-interface = \"127.0.0.1\"\nsendsms-chars = \"0123456789 +-\"\nmax-pending-requests = 512\n\n"
    );
    let user = format!(
        "group = sendsms-user\nusername = {USER}\npassword = {PASSWORD}\nmax-messages = 10\nconcatenation = true\n"
    );
    [core, smsc.repeat(settings.binds as usize), smsbox, user].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_group_for_each_bind_and_a_store_where_asked_for() {
        let [one, two, three, smsc] = free_ports().unwrap();
        let settings = Settings { smsc, binds: 4, window: 77, stores: false };
        let text = |settings| configuration(Path::new("here"), settings, [one, two, three]);
        let plain = text(settings);
        assert_eq!(plain.matches("group = smsc\n").count(), 4);
        assert_eq!(plain.matches("max-pending-submits = 77\n").count(), 4);
        assert!(!plain.contains("store-type"));
        assert!(text(Settings { stores: true, ..settings }).contains("store-location = \"here/store\""));
    }

    #[test]
    fn a_program_that_is_nowhere_is_not_found() {
        assert_eq!(find("no-such-box"), None);
        assert!(find("sh").is_some());
    }
}
