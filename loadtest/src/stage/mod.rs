//! What a measurement stands on: a simulated provider in this process, a gateway in one of its own, their settings and their
//! directory. It measures nothing.

pub mod kannel;
pub mod program;
pub mod settings;

use std::{
    fs, io,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::sync_channel,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    http, smpp,
    smsc::{Handle, Profile, Simulator},
    watch,
};
use program::{Program, until};
use settings::{SETTINGS, Settings, TENANTS};

/// How long a gateway may take to its first readiness, and to its end.
const READY_WITHIN: Duration = Duration::from_secs(120);
const END_WITHIN: Duration = Duration::from_secs(30);

/// Why there is no stage.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error("{what}")]
    Io { what: String, source: io::Error },
    #[error("{program} did not become ready; see {log}")]
    NotReady { program: String, log: PathBuf },
}

/// A simulated provider on a thread of its own.
#[derive(Debug)]
pub struct Provider {
    pub handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Provider {
    /// # Errors
    /// The address cannot be listened on.
    pub fn start(address: SocketAddr, profile: Profile) -> Result<Self, StageError> {
        let failed = |source| StageError::Io { what: format!("no simulated provider on {address}"), source };
        let (sender, receiver) = sync_channel(1);
        let thread = thread::spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(sender.send(Err(error))),
            };
            runtime.block_on(async {
                match Simulator::bind(address, profile).await {
                    Ok(simulator) => {
                        let _told = sender.send(Ok(simulator.handle()));
                        simulator.run().await;
                    }
                    Err(error) => drop(sender.send(Err(error))),
                }
            });
        });
        let handle = receiver.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())).map_err(failed)?;
        Ok(Self { handle, thread: Some(thread) })
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// A gateway that runs with settings of its own; its directory is removed with it.
#[derive(Debug)]
pub struct Gateway {
    program: PathBuf,
    pub settings: Settings,
    pub directory: PathBuf,
    process: Program,
}

impl Gateway {
    /// Starts a gateway in an empty directory and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be started, or does not become ready.
    pub fn start(program: &Path, directory: &Path, settings: Settings) -> Result<Self, StageError> {
        let failed = |source| StageError::Io { what: format!("{}", directory.display()), source };
        let _not_there = fs::remove_dir_all(directory);
        settings.write(directory).map_err(failed)?;
        let program = program
            .canonicalize()
            .map_err(|source| StageError::Io { what: program.display().to_string(), source })?;
        let directory = directory.canonicalize().map_err(failed)?;
        let process = spawn(&program, &directory)?;
        let mut gateway = Self { program, settings, directory, process };
        gateway.until_ready()?;
        Ok(gateway)
    }

    /// Kills it (SIGKILL), leaves its directory as it is, starts it again, and answers how long it took to be ready.
    ///
    /// # Errors
    /// As `start`.
    pub fn kill_and_start(&mut self) -> Result<Duration, StageError> {
        self.process.kill();
        drop_page_cache();
        let began = Instant::now();
        self.process = spawn(&self.program, &self.directory)?;
        self.until_ready()?;
        Ok(began.elapsed())
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What is to be watched of it.
    #[must_use]
    pub fn watched(&self) -> watch::Options {
        watch::Options {
            pids: vec![self.pid()],
            directory: Some(self.data()),
            metrics: Some(self.settings.ops.to_string()),
        }
    }

    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The generator at its SMPP door, as the first tenant.
    #[must_use]
    pub fn over_smpp(&self) -> smpp::Options {
        smpp::Options { target: self.settings.smpp.to_string(), quiet: true, ..smpp::Options::default() }
    }

    /// The generator at its SMPP door, as all tenants.
    #[must_use]
    pub fn over_smpp_as_all(&self) -> smpp::Options {
        smpp::Options { tenants: Some(self.directory.join(TENANTS)), ..self.over_smpp() }
    }

    /// The generator at its HTTP door, as the first tenant.
    #[must_use]
    pub fn over_http(&self) -> http::Options {
        let target = format!("http://{}", self.settings.http);
        http::Options { target, key: Settings::key(0), quiet: true, ..http::Options::default() }
    }

    fn until_ready(&mut self) -> Result<(), StageError> {
        let ops = self.settings.ops.to_string();
        let is_ready = || matches!(watch::get(&ops, "/readyz"), Ok((200, _)));
        let process = &mut self.process;
        let ready = until(READY_WITHIN, || (is_ready() || process.has_ended()).then_some(()))
            .is_some_and(|()| is_ready());
        if ready {
            return Ok(());
        }
        // Its log is what the reader needs: what has ended by itself leaves its directory.
        self.process.kill();
        let log = log(&self.directory);
        Err(StageError::NotReady { program: self.program.display().to_string(), log })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !self.process.has_ended() {
            self.process.terminate(END_WITHIN);
            let _removed = fs::remove_dir_all(&self.directory);
        }
    }
}

/// An HTTP door behind which nothing is (`empty`), in a process of its own as a gateway is.
#[derive(Debug)]
pub struct EmptyDoor {
    pub address: SocketAddr,
    process: Program,
}

impl EmptyDoor {
    /// Starts this very program as one, with its log in `directory`, and waits until it takes connections.
    ///
    /// # Errors
    /// It cannot be started, or does not listen.
    pub fn start(directory: &Path) -> Result<Self, StageError> {
        let failed = |source| StageError::Io { what: "no empty handler".into(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let [address] = settings::free_ports().map_err(failed)?;
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(&program);
        command.args(["empty", "--listen", &address.to_string()]);
        let mut process = Program::start(&mut command, &log(directory)).map_err(failed)?;
        let listens = || TcpStream::connect(address).is_ok();
        let ready = until(READY_WITHIN, || (listens() || process.has_ended()).then_some(()));
        if ready.is_some() && !process.has_ended() {
            return Ok(Self { address, process });
        }
        Err(StageError::NotReady { program: program.display().to_string(), log: log(directory) })
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

fn spawn(program: &Path, directory: &Path) -> Result<Program, StageError> {
    let mut command = Command::new(program);
    command.args(["serve", "--config", SETTINGS]).current_dir(directory);
    Program::start(&mut command, &log(directory))
        .map_err(|source| StageError::Io { what: program.display().to_string(), source })
}

fn log(directory: &Path) -> PathBuf {
    directory.join("log")
}

/// What was read or written comes from the disk the next time; only root may ask for it, for others the cache stays warm.
fn drop_page_cache() {
    rustix::fs::sync();
    let _not_root = fs::write("/proc/sys/vm/drop_caches", "3");
}
