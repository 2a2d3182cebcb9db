//! Import: an archive's blobs into containerd's content store, its names into containerd's image store. The CRI
//! plugin notices the new image by itself and unpacks it when a container first needs it.

use std::collections::HashMap;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use containerd_client::services::v1 as api;
use containerd_client::tonic::{Code, Request, metadata::MetadataValue, transport::Channel};
use containerd_client::types::Descriptor;
use serde_json::json;

use super::archive::{self, Archive, Blob};
use super::pause;
use crate::error::{Error, Result};

/// containerd's namespace for everything that CRI sees.
const NAMESPACE: &str = "k8s.io";
const CHUNK_BYTES: usize = 1 << 20;
const LEASE_SECONDS: u64 = 3600;

/// Imports an image archive (OCI layout or docker archive, gzip-compressed or not) through containerd's socket.
/// Returns the names of the images. `source` names the archive in errors.
pub async fn import<R: Read + Seek + Send>(socket: &Path, source: &str, mut reader: R) -> Result<Vec<String>> {
    let invalid = |error: std::io::Error| Error::Invalid(format!("read image archive {source}: {error}"));
    let mut magic = [0; 2];
    let read = reader.read(&mut magic).map_err(invalid)?;
    reader.seek(SeekFrom::Start(0)).map_err(invalid)?;
    if read == 2 && magic == [0x1f, 0x8b] {
        let mut plain = tempfile_unlinked().map_err(invalid)?;
        std::io::copy(&mut flate2::read::MultiGzDecoder::new(reader), &mut plain).map_err(invalid)?;
        plain.seek(SeekFrom::Start(0)).map_err(invalid)?;
        return import_plain(socket, source, plain).await;
    }
    import_plain(socket, source, reader).await
}

/// Imports the built-in pause image.
pub async fn import_pause(socket: &Path) -> Result<()> {
    let Some(architecture) = pause::Architecture::host() else {
        return Err(Error::NotImplemented(format!("a pause program for {}", std::env::consts::ARCH)));
    };
    let program = pause::executable(architecture);
    let image = archive::build(
        pause::IMAGE,
        architecture.oci_name(),
        &[("pause", 0o755, &program)],
        &json!({"Entrypoint": ["/pause"], "User": "65535:65535"}),
    )?;
    import_plain(socket, pause::IMAGE, Cursor::new(image)).await.map(drop)
}

/// A file without a name, so that nothing is left behind whatever happens.
fn tempfile_unlinked() -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).mode(0o600).open(std::env::temp_dir())
}

async fn import_plain<R: Read + Seek + Send>(socket: &Path, source: &str, reader: R) -> Result<Vec<String>> {
    let channel = containerd_client::connect(socket)
        .await
        .map_err(|error| Error::Invalid(format!("connect to containerd at {}: {error}", socket.display())))?;
    let mut archive = Archive::open(reader)?;
    let contents = archive.contents()?;
    let mut writer = Writer::open(channel, source).await?;
    for blob in &contents.blobs {
        writer.blob(&mut archive, blob).await?;
    }
    for image in &contents.images {
        writer.image(image).await?;
    }
    writer.close().await;
    Ok(contents.images.into_iter().map(|image| image.name).collect())
}

/// Writes under a lease, so that containerd's garbage collector leaves the blobs alone until a name holds them.
struct Writer {
    channel: Channel,
    lease: String,
    source: String,
}

impl Writer {
    async fn open(channel: Channel, source: &str) -> Result<Self> {
        let lease = format!("tricorn-import-{:016x}", rand::random::<u64>());
        let expires = k8s_openapi::jiff::Timestamp::now()
            .checked_add(std::time::Duration::from_secs(LEASE_SECONDS))
            .map_err(|error| Error::Invalid(error.to_string()))?;
        let request =
            api::CreateRequest { id: lease.clone(), labels: HashMap::from([("containerd.io/gc.expire".to_owned(), expires.to_string())]) };
        let writer = Self { channel, lease, source: source.to_owned() };
        api::leases_client::LeasesClient::new(writer.channel.clone())
            .create(writer.request(request))
            .await
            .map_err(Error::runtime("create containerd lease for", source))?;
        Ok(writer)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
        if let Ok(lease) = self.lease.parse() {
            metadata.insert("containerd-lease", lease);
        }
        request
    }

    async fn blob<R: Read + Seek>(&mut self, archive: &mut Archive<R>, blob: &Blob) -> Result<()> {
        let mut content = api::content_client::ContentClient::new(self.channel.clone());
        let info = api::InfoRequest { digest: blob.digest.clone() };
        if content.info(self.request(info)).await.is_ok() {
            return self.relabel(blob).await;
        }
        let reference = format!("tricorn-{}-{}", self.lease, blob.digest);
        let (send, receive) = tokio::sync::mpsc::channel(4);
        let request = self.request(tokio_stream::wrappers::ReceiverStream::new(receive));
        let answers = tokio::spawn(async move {
            let mut answers = content.write(request).await?.into_inner();
            while answers.message().await?.is_some() {}
            Ok::<_, containerd_client::tonic::Status>(())
        });
        let mut position = 0;
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let read = archive.read_at(blob, position, &mut buffer)?;
            let last = position + read as u64 == blob.size;
            let message = api::WriteContentRequest {
                action: if last { api::WriteAction::Commit } else { api::WriteAction::Write } as i32,
                r#ref: reference.clone(),
                total: blob.size as i64,
                expected: blob.digest.clone(),
                offset: position as i64,
                data: buffer[..read].to_vec(),
                labels: blob.labels.clone().into_iter().collect(),
            };
            position += read as u64;
            if send.send(message).await.is_err() || last {
                break;
            }
        }
        drop(send);
        let result = answers.await.map_err(|error| Error::Invalid(format!("import {}: {error}", self.source)))?;
        match result {
            Err(status) if status.code() != Code::AlreadyExists => Err(Error::runtime("write blob of image archive", &self.source)(status)),
            _ => Ok(()),
        }
    }

    /// A blob that is there already may come from an image without these references.
    async fn relabel(&self, blob: &Blob) -> Result<()> {
        if blob.labels.is_empty() {
            return Ok(());
        }
        let request = api::UpdateRequest {
            info: Some(api::Info { digest: blob.digest.clone(), labels: blob.labels.clone().into_iter().collect(), ..Default::default() }),
            update_mask: Some(prost_types::FieldMask { paths: blob.labels.keys().map(|key| format!("labels.{key}")).collect() }),
        };
        api::content_client::ContentClient::new(self.channel.clone())
            .update(self.request(request))
            .await
            .map_err(Error::runtime("label blob of image archive", &self.source))?;
        Ok(())
    }

    async fn image(&self, named: &archive::Named) -> Result<()> {
        let mut images = api::images_client::ImagesClient::new(self.channel.clone());
        let image = api::Image {
            name: named.name.clone(),
            target: Some(Descriptor {
                media_type: named.media_type.clone(),
                digest: named.digest.clone(),
                size: named.size as i64,
                ..Default::default()
            }),
            ..Default::default()
        };
        let create = api::CreateImageRequest { image: Some(image.clone()), ..Default::default() };
        match images.create(self.request(create)).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::AlreadyExists => {
                let update = api::UpdateImageRequest { image: Some(image), ..Default::default() };
                images.update(self.request(update)).await.map(drop).map_err(Error::runtime("update image", &named.name))
            }
            Err(status) => Err(Error::runtime("create image", &named.name)(status)),
        }
    }

    /// Gives up the lease; should that fail, it expires.
    async fn close(self) {
        let request = api::DeleteRequest { id: self.lease.clone(), sync: false };
        let result = api::leases_client::LeasesClient::new(self.channel.clone()).delete(self.request(request)).await;
        if let Err(status) = result {
            tracing::debug!(lease = self.lease, error = status.message(), "delete containerd lease");
        }
    }
}
