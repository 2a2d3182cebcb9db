//! Image archives: what `docker save`, `podman save`, `buildah` and `ctr images export` write.
//!
//! An archive is either an OCI layout (`oci-layout`, `index.json`, `blobs/`) or a docker archive
//! (`manifest.json`, a configuration file, layer tars). Both become the same thing here: a list of blobs and a
//! list of names that point at one of them.

use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read, Seek, SeekFrom};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The largest JSON document (index, manifest, configuration) that is read from an archive.
const DOCUMENT_LIMIT_BYTES: u64 = 8 << 20;

/// Where a blob's bytes are.
#[derive(Debug, Clone)]
pub enum Source {
    /// A range of the archive.
    Range {
        /// Offset of the first byte.
        offset: u64,
    },
    /// Made here, such as the manifest of a docker archive.
    Memory(Vec<u8>),
}

/// One blob of an image, and the labels that keep what it refers to from being collected.
#[derive(Debug, Clone)]
pub struct Blob {
    /// `sha256:` and the hash in hexadecimal.
    pub digest: String,
    /// Length in bytes.
    pub size: u64,
    /// Where the bytes are.
    pub source: Source,
    /// containerd's garbage-collection labels.
    pub labels: BTreeMap<String, String>,
}

/// A name and the manifest or index it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The full reference, such as `docker.io/library/busybox:1.35`.
    pub name: String,
    /// Digest of the manifest or index.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
}

/// What an archive holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// Leaves first, so that what is referred to exists before what refers to it.
    pub blobs: Vec<Blob>,
    /// The images.
    pub images: Vec<Named>,
}

/// An opened archive: an index of the tar, not its bytes.
pub struct Archive<R> {
    reader: R,
    entries: HashMap<String, (u64, u64)>,
}

impl<R: Read + Seek> Archive<R> {
    /// Indexes the (uncompressed) tar.
    pub fn open(mut reader: R) -> Result<Self> {
        let invalid = |source: std::io::Error| Error::Invalid(format!("read image archive: {source}"));
        let mut entries = HashMap::new();
        let mut links = Vec::new();
        let mut tar = tar::Archive::new(&mut reader);
        for entry in tar.entries_with_seek().map_err(invalid)? {
            let entry = entry.map_err(invalid)?;
            let path = entry.path().map_err(invalid)?.to_string_lossy().into_owned();
            let path = path.trim_start_matches("./").to_owned();
            let kind = entry.header().entry_type();
            if kind.is_file() {
                entries.insert(path, (entry.raw_file_position(), entry.size()));
            } else if (kind.is_symlink() || kind.is_hard_link())
                && let Ok(Some(target)) = entry.link_name()
            {
                links.push((path, target.to_string_lossy().into_owned(), kind.is_symlink()));
            }
        }
        for (path, target, relative) in links {
            let target = if relative { join(&path, &target) } else { target };
            if let Some(found) = entries.get(&target).copied() {
                entries.insert(path, found);
            }
        }
        Ok(Self { reader, entries })
    }

    /// Lists blobs and images.
    pub fn contents(&mut self) -> Result<Contents> {
        if self.entries.contains_key("index.json") {
            let contents = self.oci()?;
            if !contents.images.is_empty() {
                return Ok(contents);
            }
        }
        if self.entries.contains_key("manifest.json") {
            return self.docker();
        }
        Err(Error::Invalid("read image archive: neither an OCI layout with a named image nor a docker archive".into()))
    }

    /// Reads part of a blob: `buffer.len()` bytes at most, from `position` within the blob.
    pub fn read_at(&mut self, blob: &Blob, position: u64, buffer: &mut [u8]) -> Result<usize> {
        let invalid = |source: std::io::Error| Error::Invalid(format!("read image archive: {source}"));
        let wanted = (blob.size.saturating_sub(position) as usize).min(buffer.len());
        match &blob.source {
            Source::Memory(bytes) => {
                let start = position as usize;
                buffer[..wanted].copy_from_slice(&bytes[start..start + wanted]);
            }
            Source::Range { offset } => {
                self.reader.seek(SeekFrom::Start(offset + position)).map_err(invalid)?;
                self.reader.read_exact(&mut buffer[..wanted]).map_err(invalid)?;
            }
        }
        Ok(wanted)
    }

    fn document(&mut self, path: &str) -> Result<Vec<u8>> {
        let (offset, size) = *self.entries.get(path).ok_or_else(|| Error::Invalid(format!("read image archive: {path} is missing")))?;
        if size > DOCUMENT_LIMIT_BYTES {
            return Err(Error::Invalid(format!("read image archive: {path} has {size} bytes")));
        }
        let mut bytes = vec![0; size as usize];
        let blob = Blob { digest: String::new(), size, source: Source::Range { offset }, labels: BTreeMap::new() };
        self.read_at(&blob, 0, &mut bytes)?;
        Ok(bytes)
    }

    fn json(&mut self, path: &str) -> Result<Value> {
        let bytes = self.document(path)?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Invalid(format!("read image archive: {path}: {error}")))
    }

    fn oci(&mut self) -> Result<Contents> {
        let index = self.json("index.json")?;
        let mut contents = Contents::default();
        let docker_names = self.docker_names();
        for descriptor in index["manifests"].as_array().into_iter().flatten() {
            if !self.add_descriptor(descriptor, &mut contents)? {
                continue;
            }
            let notes = &descriptor["annotations"];
            let named = notes["io.containerd.image.name"]
                .as_str()
                .or_else(|| notes["org.opencontainers.image.ref.name"].as_str().filter(|name| name.contains(['/', ':'])));
            let names = match named {
                Some(name) => vec![name.to_owned()],
                None => docker_names.clone(),
            };
            for name in names {
                contents.images.push(Named {
                    name: normalize(&name),
                    digest: text(&descriptor["digest"]),
                    media_type: text(&descriptor["mediaType"]),
                    size: descriptor["size"].as_u64().unwrap_or_default(),
                });
            }
        }
        Ok(contents)
    }

    /// Names that a docker manifest beside the OCI index gives, for archives of a single image.
    fn docker_names(&mut self) -> Vec<String> {
        let Ok(manifest) = self.json("manifest.json") else { return Vec::new() };
        match manifest.as_array().map(Vec::as_slice) {
            Some([only]) => only["RepoTags"].as_array().into_iter().flatten().map(text).collect(),
            _ => Vec::new(),
        }
    }

    /// Adds a blob and all it refers to. False when the archive leaves it out (another platform's manifest).
    fn add_descriptor(&mut self, descriptor: &Value, contents: &mut Contents) -> Result<bool> {
        let digest = text(&descriptor["digest"]);
        let path = format!("blobs/{}", digest.replacen(':', "/", 1));
        let Some((offset, size)) = self.entries.get(&path).copied() else { return Ok(false) };
        if contents.blobs.iter().any(|blob| blob.digest == digest) {
            return Ok(true);
        }
        let kind = descriptor["mediaType"].as_str().unwrap_or_default();
        let mut labels = BTreeMap::new();
        if kind.contains("manifest") || kind.contains("image.index") {
            let document = self.json(&path)?;
            let mut label =
                |name: String, child: &Value| labels.insert(format!("containerd.io/gc.ref.content.{name}"), text(&child["digest"]));
            let mut children = Vec::new();
            for (position, child) in document["manifests"].as_array().into_iter().flatten().enumerate() {
                label(format!("m.{position}"), child);
                children.push(child.clone());
            }
            if document["config"].is_object() {
                label("config".into(), &document["config"]);
                children.push(document["config"].clone());
            }
            for (position, child) in document["layers"].as_array().into_iter().flatten().enumerate() {
                label(format!("l.{position}"), child);
                children.push(child.clone());
            }
            for child in children {
                self.add_descriptor(&child, contents)?;
            }
        }
        contents.blobs.push(Blob { digest, size, source: Source::Range { offset }, labels });
        Ok(true)
    }

    fn docker(&mut self) -> Result<Contents> {
        let manifest = self.json("manifest.json")?;
        let mut contents = Contents::default();
        for image in manifest.as_array().into_iter().flatten() {
            let config_path = text(&image["Config"]);
            let config = self.document(&config_path)?;
            let config = Blob { size: config.len() as u64, ..memory_blob(config) };
            let mut labels = BTreeMap::from([("containerd.io/gc.ref.content.config".to_owned(), config.digest.clone())]);
            let mut layers = Vec::new();
            for (position, path) in image["Layers"].as_array().into_iter().flatten().map(text).enumerate() {
                let (layer, media_type) = self.layer(&path)?;
                labels.insert(format!("containerd.io/gc.ref.content.l.{position}"), layer.digest.clone());
                layers.push(json!({"mediaType": media_type, "digest": layer.digest, "size": layer.size}));
                if !contents.blobs.iter().any(|blob| blob.digest == layer.digest) {
                    contents.blobs.push(layer);
                }
            }
            let document = json!({
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": {"mediaType": OCI_CONFIG, "digest": config.digest, "size": config.size},
                "layers": layers,
            });
            let mut blob = memory_blob(document.to_string().into_bytes());
            blob.labels = labels;
            for name in image["RepoTags"].as_array().into_iter().flatten().map(text) {
                contents.images.push(Named {
                    name: normalize(&name),
                    digest: blob.digest.clone(),
                    media_type: OCI_MANIFEST.into(),
                    size: blob.size,
                });
            }
            contents.blobs.extend([config, blob]);
        }
        if contents.images.is_empty() {
            return Err(Error::Invalid("read image archive: no image in it has a name".into()));
        }
        Ok(contents)
    }

    /// A layer file, hashed in place.
    fn layer(&mut self, path: &str) -> Result<(Blob, &'static str)> {
        let (offset, size) =
            *self.entries.get(path).ok_or_else(|| Error::Invalid(format!("read image archive: layer {path} is missing")))?;
        let mut blob = Blob { digest: String::new(), size, source: Source::Range { offset }, labels: BTreeMap::new() };
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut position = 0;
        let mut media_type = OCI_LAYER;
        while position < size {
            let read = self.read_at(&blob, position, &mut buffer)?;
            if position == 0 && buffer.starts_with(&[0x1f, 0x8b]) {
                media_type = OCI_LAYER_GZIP;
            }
            hash.update(&buffer[..read]);
            position += read as u64;
        }
        blob.digest = format!("sha256:{}", hex(&hash.finalize()));
        Ok((blob, media_type))
    }
}

fn memory_blob(bytes: Vec<u8>) -> Blob {
    Blob {
        digest: format!("sha256:{}", hex(&Sha256::digest(&bytes))),
        size: bytes.len() as u64,
        source: Source::Memory(bytes),
        labels: BTreeMap::new(),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Resolves a symbolic link's target against the directory of the link.
fn join(link: &str, target: &str) -> String {
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The full form of an image name: registry, repository, and tag or digest. `busybox` becomes
/// `docker.io/library/busybox:latest`.
pub fn normalize(name: &str) -> String {
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    let has_registry = first.contains(['.', ':']) || first == "localhost";
    let mut full = match (has_registry, first.is_empty()) {
        (true, _) => name.to_owned(),
        (false, true) => format!("docker.io/library/{rest}"),
        (false, false) => format!("docker.io/{name}"),
    };
    let last = full.rsplit('/').next().unwrap_or_default();
    if !last.contains(':') && !last.contains('@') {
        full.push_str(":latest");
    }
    full
}

/// Writes a docker archive with one layer of the given files (path, mode, bytes), in memory.
pub fn build(name: &str, architecture: &str, files: &[(&str, u32, &[u8])], config: &Value) -> Result<Vec<u8>> {
    let failed = |source: std::io::Error| Error::Invalid(format!("build image {name}: {source}"));
    let mut layer = tar::Builder::new(Vec::new());
    for (path, mode, bytes) in files {
        let mut header = tar::Header::new_ustar();
        let (link, bytes): (Option<&str>, &[u8]) = match bytes.strip_prefix(b"->") {
            Some(target) => (std::str::from_utf8(target).ok(), &[]),
            None => (None, bytes),
        };
        header.set_size(bytes.len() as u64);
        header.set_mode(*mode);
        if let Some(target) = link {
            header.set_entry_type(tar::EntryType::Symlink);
            layer.append_link(&mut header, path, target).map_err(failed)?;
        } else if path.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
            layer.append_data(&mut header, path, Cursor::new(bytes)).map_err(failed)?;
        } else {
            layer.append_data(&mut header, path, Cursor::new(bytes)).map_err(failed)?;
        }
    }
    let layer = layer.into_inner().map_err(failed)?;
    let configuration = json!({
        "architecture": architecture,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&Sha256::digest(&layer)))]},
    })
    .to_string();
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).to_string();
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in [("config.json", configuration.as_bytes()), ("layer.tar", &layer), ("manifest.json", manifest.as_bytes())] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, Cursor::new(bytes)).map_err(failed)?;
    }
    archive.into_inner().map_err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn short_names_are_completed_as_docker_does() {
        for (short, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.35", "docker.io/library/busybox:1.35"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest"),
            ("localhost/x:1", "localhost/x:1"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("host:5000/a/b", "host:5000/a/b:latest"),
        ] {
            assert_eq!(normalize(short), full);
        }
    }

    #[test]
    fn a_docker_archive_becomes_layer_config_and_manifest_in_that_order() {
        let bytes =
            build("demo:1", "amd64", &[("bin/", 0o755, b""), ("bin/x", 0o755, b"hello"), ("bin/y", 0o777, b"->x")], &json!({})).unwrap();
        let mut archive = Archive::open(Cursor::new(bytes)).unwrap();
        let contents = archive.contents().unwrap();
        assert_eq!(contents.blobs.len(), 3);
        assert_eq!(contents.images.len(), 1);
        assert_eq!(contents.images[0].name, "docker.io/library/demo:1");
        assert_eq!(contents.images[0].digest, contents.blobs[2].digest);
        assert_eq!(contents.blobs[2].labels["containerd.io/gc.ref.content.l.0"], contents.blobs[0].digest);
        let mut layer = vec![0; contents.blobs[0].size as usize];
        archive.read_at(&contents.blobs[0], 0, &mut layer).unwrap();
        assert_eq!(contents.blobs[0].digest, format!("sha256:{}", hex(&Sha256::digest(&layer))));
    }
}
