//! Small images made on the spot from the machine's static busybox, so that nothing is ever pulled.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Serves its version, its host's name and what the ConfigMap says on port 8080. On SIGTERM it goes on serving for
/// DRAIN seconds, so that requests sent before the last rule knows find an answer, then ends.
const WEB: &str = r#"#!/bin/sh
mkdir -p /www/cgi-bin
greeting="${GREETING:-hello}"
[ -r /config/greeting ] && greeting="$(cat /config/greeting)"
echo "$VERSION $(hostname) $greeting" > /www/index.html
echo "$VERSION" > /www/version
hostname > /www/hostname
echo ok > /www/healthz
httpd -f -p "${PORT:-8080}" -h /www &
server=$!
trap 'sleep "${DRAIN:-2}"; kill "$server"; exit 0' TERM INT
wait "$server"
"#;

/// Where the static busybox is.
pub fn busybox_path() -> Result<PathBuf> {
    let places = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    places.into_iter().find(|p| p.is_file()).ok_or_else(|| Error::MissingTool {
        tool: "busybox".to_owned(),
        purpose: "the test images are made of it".to_owned(),
        package: "busybox-static".to_owned(),
    })
}

/// Writes `busybox.tar`, `web-v1.tar` and `web-v2.tar` into `dir`: the images `tricorn.local/busybox:1`,
/// `tricorn.local/web:v1` and `tricorn.local/web:v2`.
pub fn build_images(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io(format!("make {}", dir.display()), e))?;
    let io = |e| Error::io(format!("build images in {}", dir.display()), e);
    let base = base_layer().map_err(io)?;
    write_image(dir, "busybox.tar", "tricorn.local/busybox:1", &[&base], &json!({ "Cmd": ["sh"] })).map_err(io)?;
    let mut web = Layer::new();
    web.file("app/serve", 0o755, WEB.as_bytes()).map_err(io)?;
    let web = web.finish().map_err(io)?;
    for version in ["v1", "v2"] {
        let config = json!({
            "Entrypoint": ["/app/serve"],
            "Env": ["PATH=/bin:/sbin:/usr/bin:/usr/sbin", format!("VERSION={version}")],
            "ExposedPorts": { "8080/tcp": {} },
        });
        let name = format!("tricorn.local/web:{version}");
        write_image(dir, &format!("web-{version}.tar"), &name, &[&base, &web], &config).map_err(io)?;
    }
    Ok(())
}

struct Layer {
    tar: tar::Builder<Vec<u8>>,
}

impl Layer {
    fn new() -> Self {
        Self { tar: tar::Builder::new(Vec::new()) }
    }

    fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header
    }

    fn dir(&mut self, path: &str, mode: u32) -> std::io::Result<()> {
        let mut header = Self::header(tar::EntryType::Directory, mode, 0);
        self.tar.append_data(&mut header, format!("{path}/"), std::io::empty())
    }

    fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
        let mut header = Self::header(tar::EntryType::Regular, mode, bytes.len() as u64);
        self.tar.append_data(&mut header, path, bytes)
    }

    fn link(&mut self, path: &str, target: &str) -> std::io::Result<()> {
        let mut header = Self::header(tar::EntryType::Symlink, 0o777, 0);
        self.tar.append_link(&mut header, path, target)
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        self.tar.into_inner()
    }
}

/// busybox, a link for each of its applets, and the few files that programs look for.
fn base_layer() -> std::io::Result<Vec<u8>> {
    let busybox = busybox_path().map_err(|e| std::io::Error::other(e.to_string()))?;
    let listed = Command::new(&busybox).arg("--list-full").output()?;
    let mut layer = Layer::new();
    for dir in ["bin", "sbin", "usr", "usr/bin", "usr/sbin", "etc", "proc", "sys", "dev", "root", "var", "run", "app"] {
        layer.dir(dir, 0o755)?;
    }
    layer.dir("tmp", 0o1777)?;
    layer.dir("www", 0o777)?;
    layer.file("bin/busybox", 0o755, &std::fs::read(&busybox)?)?;
    for applet in String::from_utf8_lossy(&listed.stdout).lines().filter(|a| *a != "bin/busybox") {
        let known = ["bin/", "sbin/", "usr/bin/", "usr/sbin/"].iter().any(|dir| applet.starts_with(dir));
        if known {
            layer.link(applet, "/bin/busybox")?;
        }
    }
    layer.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")?;
    layer.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")?;
    layer.file("etc/nsswitch.conf", 0o644, b"hosts: files dns\n")?;
    layer.finish()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Writes one archive that is an OCI layout and a docker archive at once, so that any importer reads it.
fn write_image(dir: &Path, file: &str, name: &str, layers: &[&[u8]], run: &Value) -> std::io::Result<()> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let digests: Vec<String> = layers.iter().map(|l| digest(l)).collect();
    let config = serde_json::to_vec(&json!({
        "architecture": arch,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": run,
        "rootfs": { "type": "layers", "diff_ids": digests.iter().map(|d| format!("sha256:{d}")).collect::<Vec<_>>() },
    }))?;
    let descriptor = |kind: &str, digest: &str, size: usize| json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{digest}"), "size": size });
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", &digest(&config), config.len()),
        "layers": layers.iter().zip(&digests).map(|(l, d)| descriptor("layer.v1.tar", d, l.len())).collect::<Vec<_>>(),
    }))?;
    let mut entry = descriptor("manifest.v1+json", &digest(&manifest), manifest.len());
    let tag = name.rsplit(':').next().unwrap_or("latest");
    entry["platform"] = json!({ "architecture": arch, "os": "linux" });
    entry["annotations"] = json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag });
    let index = serde_json::to_vec(&json!({ "schemaVersion": 2, "manifests": [entry] }))?;
    let docker = serde_json::to_vec(&json!([{
        "Config": format!("blobs/sha256/{}", digest(&config)),
        "RepoTags": [name],
        "Layers": digests.iter().map(|d| format!("blobs/sha256/{d}")).collect::<Vec<_>>(),
    }]))?;
    let mut archive = Layer::new();
    archive.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    archive.file("index.json", 0o644, &index)?;
    archive.file("manifest.json", 0o644, &docker)?;
    archive.dir("blobs", 0o755)?;
    archive.dir("blobs/sha256", 0o755)?;
    for blob in layers.iter().copied().chain([config.as_slice(), manifest.as_slice()]) {
        archive.file(&format!("blobs/sha256/{}", digest(blob)), 0o644, blob)?;
    }
    let fresh = dir.join(format!(".{file}.new"));
    std::fs::write(&fresh, archive.finish()?)?;
    std::fs::rename(fresh, dir.join(file))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn archives_hold_what_their_index_says() {
        if busybox_path().is_err() {
            eprintln!("skipped: no static busybox (Debian package busybox-static)");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        build_images(dir.path()).unwrap();
        let bytes = std::fs::read(dir.path().join("web-v2.tar")).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut files = std::collections::HashMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            files.insert(path, content);
        }
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let entry = &index["manifests"][0];
        assert_eq!(entry["annotations"]["io.containerd.image.name"], "tricorn.local/web:v2");
        let blob = |d: &Value| &files[&format!("blobs/sha256/{}", d["digest"].as_str().unwrap().trim_start_matches("sha256:"))];
        let manifest: Value = serde_json::from_slice(blob(entry)).unwrap();
        for layer in manifest["layers"].as_array().unwrap() {
            let bytes = blob(layer);
            assert_eq!(format!("sha256:{}", digest(bytes)), layer["digest"].as_str().unwrap());
            assert_eq!(bytes.len() as u64, layer["size"].as_u64().unwrap());
        }
        let config: Value = serde_json::from_slice(blob(&manifest["config"])).unwrap();
        assert!(config["config"]["Env"].as_array().unwrap().contains(&json!("VERSION=v2")));
    }
}
