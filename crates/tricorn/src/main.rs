//! Kubernetes in one binary, standing on three corners: command line, configuration, wiring, signals, drain.
//!
//! This crate puts the rooms of the house together and must never decide anything that one of them could: no rule of the
//! store, the API, a controller or the kubelet lives here.

mod admin;
mod agent;
mod cli;
mod commands;
mod configuration;
mod https;
mod lock;
mod logging;
mod protocol;
mod server;
mod signals;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Several libraries each bring a provider of cryptography; the choice is made once, here. Installing fails only when it has
    // been made already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cli::main()
}
