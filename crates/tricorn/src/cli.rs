//! The command line: what there is to say, and what becomes of it.

use std::process::ExitCode;
use std::time::Duration;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{commands, configuration};

/// Tricorn's own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version that clients of the Kubernetes API see.
pub const GIT_VERSION: &str = concat!("v1.36.2+tricorn", env!("CARGO_PKG_VERSION"));

/// Exit codes: what was asked for failed; it was asked for wrongly.
const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;

/// Kubernetes in one binary, standing on three corners.
#[derive(Parser)]
#[command(
    name = "tricorn",
    version = GIT_VERSION,
    arg_required_else_help = true,
    after_help = "Examples:\n  tricorn up                      a whole cluster on this machine\n  tricorn status                  what has become of it\n  tricorn server --cluster-init   the first server of a cluster on several machines\n\nEvery flag is also a variable TRICORN_* and a key of /etc/tricorn/config.yaml (TRICORN_CONFIG names another file).\nTRICORN_LOG says what is logged: info, debug, tricorn_store=debug, ..."
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Up(Box<commands::up::Args>),
    Down(commands::down::Args),
    Status(commands::status::Args),
    Host(commands::host::Args),
    Server(Box<commands::server::Args>),
    Agent(Box<commands::agent::Args>),
    Etcd(Box<commands::etcd::Args>),
    Kubeconfig(commands::kubeconfig::Args),
    Token(commands::token::Args),
    Member(commands::member::Args),
    Quota(commands::quota::Args),
    Snapshot(commands::snapshot::Args),
    Certs(commands::certs::Args),
    Image(commands::image::Args),
    History(commands::history::Args),
    Bench(Box<commands::bench::Args>),
    Version(commands::version::Args),
    Completion(commands::completion::Args),
}

/// tokio's own variable for the number of its threads.
const THREADS: &str = "TOKIO_WORKER_THREADS";

/// How long a process that has done its work waits for threads that have not.
const LEFT_OVER: Duration = Duration::from_secs(3);

impl Verb {
    /// How many threads the runtime has, where one for each processor is not the best, and nobody has said otherwise.
    fn threads(&self) -> Option<usize> {
        let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // The store's own threads, which write the log and the state, need processors too; and to hand a request from thread to thread
        // costs more than to answer it.
        let is_store = matches!(self, Self::Etcd(_)) && std::env::var_os(THREADS).is_none();
        is_store.then(|| (all / 2).max(1))
    }

    /// Gives up huge pages where nobody else would lose them: the allocator asks for them, and most of each would stay unused. Children
    /// inherit this, so an agent, under whom containers run, keeps them.
    fn save_memory(&self) {
        if matches!(self, Self::Etcd(_) | Self::Server(_))
            && let Err(error) = nix::sys::prctl::set_thp_disable(true)
        {
            tracing::debug!(%error, "huge pages could not be given up");
        }
    }

    async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Up(args) => Box::pin(args.run()).await,
            Self::Down(args) => args.run().await,
            Self::Status(args) => args.run().await,
            Self::Host(args) => args.run().await,
            Self::Server(args) => Box::pin(args.run()).await,
            Self::Agent(args) => Box::pin(args.run()).await,
            Self::Etcd(args) => Box::pin(args.run()).await,
            Self::Kubeconfig(args) => args.run().await,
            Self::Token(args) => args.run().await,
            Self::Member(args) => args.run().await,
            Self::Quota(args) => args.run().await,
            Self::Snapshot(args) => args.run().await,
            Self::Certs(args) => args.run(),
            Self::Image(args) => args.run().await,
            Self::History(args) => args.run(),
            Self::Bench(args) => Box::pin(args.run()).await,
            Self::Version(args) => args.run(),
            Self::Completion(args) => args.run(),
        }
    }
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let command = match configuration::apply(Cli::command()) {
        Ok(command) => command,
        Err(error) => return failed(&error, WRONG_USAGE),
    };
    let line = match commands::etcd_flags::tolerant(std::env::args_os()) {
        Ok(line) => line,
        Err(error) => return failed(&error, WRONG_USAGE),
    };
    let command =
        if line.from_file { command.mut_subcommand("etcd", |etcd| etcd.mut_args(|flag| flag.env(Resettable::Reset))) } else { command };
    let parsed = command.try_get_matches_from(line.arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Help that nobody can read any more is no failure worth a word.
            let _ = error.print();
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(WRONG_USAGE) };
        }
    };
    cli.verb.save_memory();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = cli.verb.threads() {
        runtime.worker_threads(threads);
    }
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("start the runtime"), FAILED),
    };
    let outcome = runtime.block_on(cli.verb.run());
    // What is left over lets go of its databases before the process ends, because their library's own ending does not wait for it and
    // would abort. A thread that is stuck (in a name look-up, say) must not keep the process for long.
    runtime.shutdown_timeout(LEFT_OVER);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, FAILED),
    }
}

fn failed(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("tricorn: {error:#}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_has_an_example() {
        fn check(command: &clap::Command) {
            let subcommands: Vec<_> = command.get_subcommands().collect();
            if subcommands.is_empty() || command.get_after_help().is_some() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{} has no example", command.get_name());
                return;
            }
            subcommands.into_iter().for_each(check);
        }
        Cli::command().get_subcommands().for_each(check);
    }
}
