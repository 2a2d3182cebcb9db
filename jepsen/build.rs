//! Compiles the library that stands between a member and the C library; it is kept inside the harness' binary.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=shim");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("shim.so");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(compiler);
    command.args(["--edition", "2024", "--crate-type", "cdylib", "--crate-name", "shim", "-O", "-C", "panic=abort", "-C", "strip=symbols"]);
    let status = command.arg("-o").arg(&out).arg("shim/shim.rs").status();
    match status {
        Ok(status) if status.success() => {}
        other => {
            println!("cargo:warning=shim/shim.rs does not compile: {other:?}");
            std::process::exit(1);
        }
    }
}
