//! Turns every `.proto` file under the workspace's `proto/` into Rust, without protoc.

#![allow(clippy::print_stdout)] // cargo reads it
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn Error>> {
    // Asked for at run time: a target directory may serve several checkouts.
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();

    let descriptors = protox::compile(&files, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    fs::write(out.join("etcd.descriptors"), described(&descriptors, "etcd/").encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").emit_rerun_if_changed(false).compile_fds(descriptors)?;
    Ok(())
}

/// What describes the messages and services of one folder, without comments.
fn described(all: &FileDescriptorSet, folder: &str) -> FileDescriptorSet {
    let mut some = all.clone();
    some.file.retain(|file| file.name().starts_with(folder));
    for file in &mut some.file {
        file.source_code_info = None;
    }
    some
}

/// Adds every `.proto` file below `dir` to `files`.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            println!("cargo::rerun-if-changed={}", path.display());
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
