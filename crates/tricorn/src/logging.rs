//! What is logged, and how.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The variable that says what is logged, in the syntax of `tracing`'s filters: `info`, `tricorn_store=debug`, ...
const VARIABLE: &str = "TRICORN_LOG";
/// Libraries that say at "info" what only their authors want to know; openraft warns at each try to reach a member that is away.
const DEFAULT: &str = "info,openraft=error,h2=warn,hyper=warn,tower=warn,rustls=warn,kube=warn";

/// Logs to standard error from now on: lines for people, or JSON with `TRICORN_LOG_FORMAT=json`.
pub fn start() {
    start_at(None);
}

/// The same, with a level from the command line where the variable says nothing.
pub fn start_at(level: Option<&str>) {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(level.unwrap_or(DEFAULT)));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if std::env::var("TRICORN_LOG_FORMAT").is_ok_and(|format| format == "json") {
        builder.json().try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    if let Err(error) = started {
        eprintln!("tricorn: logging could not be started: {error}");
    }
}
