//! Checks and code generation of the house itself; nothing here is shipped.
//!
//! `cargo xtask house` reads the workspace graph and fails on an arrow that points up or on a library that is named
//! outside the one room it belongs to. `cargo xtask --help` lists the rest.

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

mod house;
mod protobuf_table;
mod schema_tables;

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
    /// Generate the tables of the schema crate from published packages.
    SchemaTables {
        /// Only say whether the tables are what would be written.
        #[arg(long)]
        check: bool,
        /// Only this one; all of them without it.
        #[arg(value_enum)]
        table: Option<Table>,
    },
}

/// The tables of the schema crate that are generated.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Table {
    /// How lists and maps merge; needs python3 with pip.
    Merge,
    /// The tags of Kubernetes' protobuf.
    Protobuf,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::House => house::check(),
        Task::SchemaTables { check, table } => tables(check, table),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Makes or checks the tables; the first that fails is the answer.
fn tables(check: bool, only: Option<Table>) -> anyhow::Result<()> {
    let wanted = |table| only.is_none_or(|only| only == table);
    if wanted(Table::Protobuf) {
        protobuf_table::run(check)?;
    }
    if wanted(Table::Merge) {
        schema_tables::run(check)?;
    }
    Ok(())
}
