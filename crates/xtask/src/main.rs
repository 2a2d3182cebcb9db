//! Checks and code generation of the house itself; nothing here is shipped.
//!
//! `cargo xtask house` reads the workspace graph and fails on an arrow that points up or on a library that is named
//! outside the one room it belongs to. `cargo xtask --help` lists the rest.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod house;

/// The command line of xtask.
#[derive(Parser)]
#[command(about = "Checks and code generation of the house itself")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

/// What xtask can do.
#[derive(Subcommand)]
enum Task {
    /// Check that dependencies point downwards and that each library is named only where it may be.
    House,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::House => house::check(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
