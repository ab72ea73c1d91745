//! The gateway process: the command line, and nothing of what it starts.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use rustix::fs::Mode;
use tidegate::operate::{kept, line};
use tidegate::{administrator, salvage, serve, settings};

/// A message's octets are allocated by the writer and freed by the archive's thread: see `docs/dependencies.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A messaging gateway: SMPP and HTTP in, SMPP out, durable, with credit.
#[derive(Parser)]
#[command(name = "tidegate", version, propagate_version = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArguments,
}

#[derive(Subcommand)]
enum Command {
    /// Start the gateway (what happens without a command, too).
    Serve(ServeArguments),
    /// Validate the settings, and the files that they name; takes no port, changes nothing.
    Check(CheckArguments),
    /// Show settings.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// What waits to be sent in a running gateway: look at it, hold it, cancel it, give it to another provider.
    Queue {
        #[command(subcommand)]
        command: line::Queue,
        #[command(flatten)]
        gateway: line::Gateway,
    },
    /// Messages in doubt in a running gateway.
    Doubt {
        #[command(subcommand)]
        command: line::Doubt,
        #[command(flatten)]
        gateway: line::Gateway,
    },
    /// Delivery receipts of a running gateway.
    Receipts {
        #[command(subcommand)]
        command: kept::Receipts,
        #[command(flatten)]
        gateway: line::Gateway,
    },
    /// Messages from phones in a running gateway.
    Inbound {
        #[command(subcommand)]
        command: kept::Inbound,
        #[command(flatten)]
        gateway: line::Gateway,
    },
    /// The providers of a running gateway.
    Provider {
        #[command(subcommand)]
        command: line::Provider,
        #[command(flatten)]
        gateway: line::Gateway,
    },
    /// The wallets of a running gateway, or in the store of one that is stopped.
    Ledger {
        #[command(subcommand)]
        command: line::Ledger,
        #[command(flatten)]
        gateway: line::Gateway,
    },
    /// The key of who may change what is running, of a gateway that is stopped.
    Administrator {
        #[command(subcommand)]
        command: administrator::Administrator,
    },
    /// Work on a journal that is not in use.
    Journal {
        #[command(subcommand)]
        command: JournalCommand,
    },
}

#[derive(Args, Clone, Default)]
struct ServeArguments {
    /// The settings file (TOML); without one the defaults hold.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Remove the ballast file first, to start on a full disk and go on while room is made.
    #[arg(long)]
    use_ballast: bool,
}

#[derive(Args)]
struct CheckArguments {
    /// The settings file (TOML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print the defaults with their documentation.
    Default,
}

#[derive(Subcommand)]
enum JournalCommand {
    /// Write every group that checks to a new store and list what is lost.
    Salvage {
        /// Where the new store is made.
        dir: PathBuf,
        /// The settings file that names the damaged store.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print one JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|broken| tidegate::say::complaint(format_args!("{}", last_words(broken)))));
    // A broken invariant ends the process; damaged files of an old month do not.
    storage::abort_on_panic();
    // Whatever is made holds texts, numbers or keys: only the account that runs it may read that.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let line = CommandLine::parse();
    let before = line.serve;
    if let Some(name) = stray(&before, line.command.as_ref()) {
        let said =
            format!("{name} says nothing to this command where it stands; see the command's own options");
        CommandLine::command().error(ErrorKind::ArgumentConflict, said).exit();
    }
    match line.command {
        None => serve::run(before.config.as_deref(), before.use_ballast),
        Some(Command::Serve(arguments)) => {
            let config = arguments.config.or(before.config);
            serve::run(config.as_deref(), arguments.use_ballast || before.use_ballast)
        }
        Some(Command::Check(arguments)) => settings::check(&arguments.config, arguments.json),
        Some(Command::Config { command: ConfigCommand::Default }) => {
            tidegate::say::answer(format_args!("{}", config::DEFAULT_TOML), ExitCode::SUCCESS)
        }
        Some(Command::Journal { command: JournalCommand::Salvage { dir, config, json } }) => {
            salvage::run(config.or(before.config).as_deref(), &dir, json)
        }
        Some(Command::Administrator { command }) => administrator::run(&command, before.config),
        Some(Command::Queue { command, gateway }) => line::queue(&command, &gateway),
        Some(Command::Receipts { command, gateway }) => kept::receipts(&command, &gateway),
        Some(Command::Inbound { command, gateway }) => kept::inbound(&command, &gateway),
        Some(Command::Doubt { command, gateway }) => line::doubt(&command, &gateway),
        Some(Command::Provider { command, gateway }) => line::provider(&command, &gateway),
        Some(Command::Ledger { command, gateway }) => line::ledger(&command, &gateway),
    }
}

/// What was given before a command that has no use for it: nothing that was written is passed over.
fn stray(before: &ServeArguments, command: Option<&Command>) -> Option<&'static str> {
    let starts = matches!(command, None | Some(Command::Serve(_)));
    let reads_its_own = matches!(command, Some(Command::Check(_) | Command::Config { .. }));
    if before.use_ballast && !starts {
        return Some("--use-ballast");
    }
    (before.config.is_some() && reads_its_own).then_some("--config")
}

/// What is said when an invariant is broken and the process stops. What a library says of its own data is left out: it may
/// hold the texts of messages.
fn last_words(broken: &std::panic::PanicHookInfo<'_>) -> String {
    let place = broken.location().map(ToString::to_string).unwrap_or_default();
    let ours = !place.contains(".cargo") && !place.contains("/rustc/");
    let what = broken.payload_as_str().filter(|_| ours).unwrap_or("no details");
    format!("tidegate: a broken invariant at {place}: {what}; stopping; what was acknowledged is on disk")
}
