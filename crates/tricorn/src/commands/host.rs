//! `tricorn host`.

use std::os::unix::process::CommandExt;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Subcommand;
use tricorn_testbed::{Delay, StateFile, cut, delay, exec_command, heal, kill, pause, restart, resume, start, status, stop};

use super::status::hosts_table;
use super::up::DataDir;

/// A hand on the hosts of `up`.
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  tricorn host list\n  tricorn host exec s1 -- ip address\n  tricorn host kill s1 && tricorn host start s1\n  tricorn host cut s1            (from everyone)\n  tricorn host cut s1 w2         (from one other)\n  tricorn host heal"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    data_dir: DataDir,
}

#[derive(Subcommand)]
enum Verb {
    /// List the hosts
    List {
        /// Print as JSON
        #[arg(short, long, value_parser = ["json"])]
        output: Option<String>,
    },
    /// Run a command on a host
    Exec {
        /// The host
        name: String,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Take hosts away at once, as a power cut would
    Kill {
        /// The hosts
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Stop hosts in an orderly way
    Stop {
        /// The hosts
        #[arg(required = true)]
        names: Vec<String>,
        /// How long each may take, in seconds
        #[arg(long, default_value_t = 20)]
        grace: u64,
    },
    /// Power hosts on
    Start {
        /// The hosts
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Stop hosts in an orderly way and power them on again
    Restart {
        /// The hosts
        #[arg(required = true)]
        names: Vec<String>,
        /// How long each may take to stop, in seconds
        #[arg(long, default_value_t = 20)]
        grace: u64,
    },
    /// Stop every process of hosts in its tracks
    Pause {
        /// The hosts
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Let paused hosts go on
    Resume {
        /// The hosts
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Cut a host's link to another, or to everyone: packets vanish
    Cut {
        /// The host
        name: String,
        /// The other host; by default all of the network
        peer: Option<String>,
    },
    /// End cuts and delays: of one host, between two, or all
    Heal {
        /// The host
        name: Option<String>,
        /// The other host
        peer: Option<String>,
    },
    /// Delay each packet on its way to a host
    Delay {
        /// The host
        name: String,
        /// Milliseconds; 0 ends it
        millis: u64,
        /// Milliseconds more, at most, drawn for each packet
        #[arg(long, default_value_t = 0)]
        jitter: u64,
    },
}

impl Args {
    /// Does what the verb says.
    pub async fn run(self) -> Result<()> {
        let file = self.data_dir.file()?;
        match self.verb {
            Verb::List { output } => list(&file, output.is_some()).await,
            Verb::Exec { name, command } => {
                // Taking this process' place leaves terminal, signals and exit code to the command.
                Err(anyhow!(exec_command(&file, &name, &command)?.as_std_mut().exec()).context(format!("run on {name}")))
            }
            Verb::Kill { names } => {
                for name in names {
                    kill(&file, &name).await?;
                    eprintln!("{name} killed");
                }
                Ok(())
            }
            Verb::Stop { names, grace } => {
                for name in names {
                    stop(&file, &name, Duration::from_secs(grace)).await?;
                    eprintln!("{name} stopped");
                }
                Ok(())
            }
            Verb::Start { names } => {
                for name in names {
                    start(&file, &name).await?;
                    eprintln!("{name} started");
                }
                Ok(())
            }
            Verb::Restart { names, grace } => {
                for name in names {
                    restart(&file, &name, Duration::from_secs(grace)).await?;
                    eprintln!("{name} restarted");
                }
                Ok(())
            }
            Verb::Pause { names } => {
                for name in names {
                    pause(&file, &name)?;
                    eprintln!("{name} paused");
                }
                Ok(())
            }
            Verb::Resume { names } => {
                for name in names {
                    resume(&file, &name)?;
                    eprintln!("{name} resumed");
                }
                Ok(())
            }
            Verb::Cut { name, peer } => Ok(cut(&file, &name, peer.as_deref()).await?),
            Verb::Heal { name, peer } => Ok(heal(&file, name.as_deref(), peer.as_deref()).await?),
            Verb::Delay { name, millis, jitter } => Ok(delay(&file, &name, Delay { ms: millis, jitter_ms: jitter }).await?),
        }
    }
}

#[allow(clippy::print_stdout)]
async fn list(file: &StateFile, json: bool) -> Result<()> {
    let status = status(file).await?;
    if json {
        println!("{}", serde_json::to_string(&status.hosts)?);
    } else {
        print!("{}", hosts_table(&status.hosts));
    }
    Ok(())
}
