//! `tricorn completion`.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;

/// Prints a script that completes tricorn's commands and flags in a shell.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  tricorn completion bash > /etc/bash_completion.d/tricorn\n  source <(tricorn completion zsh)")]
pub struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    /// Prints it.
    pub fn run(self) -> Result<()> {
        clap_complete::generate(self.shell, &mut Cli::command(), "tricorn", &mut std::io::stdout());
        Ok(())
    }
}
