//! Keys on disk: written whole or not at all, and readable by their owner only.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::{Error, Identity};

/// Writes a secret to `path` with mode 0600: a reader sees the old content or the new one, whatever happens.
pub fn write_private(path: &Path, contents: &str) -> Result<(), Error> {
    replace(path, contents, 0o600)
}

/// Writes something that everybody may read to `path` with mode 0644, as atomically as [`write_private`].
pub fn write_public(path: &Path, contents: &str) -> Result<(), Error> {
    replace(path, contents, 0o644)
}

/// Writes `NAME.crt` and `NAME.key` in the folder `dir`, the key with mode 0600. The folder is made if missing.
pub fn write_identity(dir: &Path, name: &str, identity: &Identity) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(|source| Error::File { operation: "make folder", path: dir.to_owned(), source })?;
    // The key first: a certificate without its key would be taken for a finished pair.
    write_private(&dir.join(format!("{name}.key")), &identity.key_pem)?;
    write_public(&dir.join(format!("{name}.crt")), &identity.certificate_pem)
}

/// Reads what [`write_identity`] wrote.
pub fn read_identity(dir: &Path, name: &str) -> Result<Identity, Error> {
    Ok(Identity { certificate_pem: read(&dir.join(format!("{name}.crt")))?, key_pem: read(&dir.join(format!("{name}.key")))? })
}

/// Reads a PEM or token file as text.
pub fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File { operation: "read", path: path.to_owned(), source })
}

fn replace(path: &Path, contents: &str, mode: u32) -> Result<(), Error> {
    let mut temporary: PathBuf = path.to_owned();
    temporary.as_mut_os_string().push(format!(".tmp{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        // The file may be left over from an earlier attempt with another mode.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(contents.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&temporary);
        Error::File { operation: "write", path: path.to_owned(), source }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_are_private_and_files_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity { certificate_pem: "certificate".into(), key_pem: "key".into() };
        write_identity(&dir.path().join("pki"), "server", &identity).unwrap();
        write_identity(&dir.path().join("pki"), "server", &identity).unwrap();
        let mode = |name: &str| fs::metadata(dir.path().join("pki").join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("server.key"), mode("server.crt")), (0o600, 0o644));
        let read = read_identity(&dir.path().join("pki"), "server").unwrap();
        assert_eq!((read.certificate_pem, read.key_pem), (identity.certificate_pem, identity.key_pem));
        assert_eq!(fs::read_dir(dir.path().join("pki")).unwrap().count(), 2, "no temporary file may stay");
        let error = read_identity(dir.path(), "absent").unwrap_err().to_string();
        assert!(error.contains("absent.crt"), "{error}");
    }
}
