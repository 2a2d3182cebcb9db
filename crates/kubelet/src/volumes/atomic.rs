//! Writes a volume's files so that a reader sees all old ones or all new ones: files go into a dated directory, `..data`
//! is a link to the newest, and each visible name is a link through `..data`. The swap is one rename.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

/// Contents and mode of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner, when it is not root.
    pub owner: Option<u32>,
}

/// Files by their path within the volume.
pub type Files = BTreeMap<String, File>;

const DATA: &str = "..data";

/// Makes the volume show exactly these files. Nothing is touched when it does already.
pub fn write(directory: &Path, files: &Files, group: Option<i64>) -> std::io::Result<()> {
    if same(directory, files) {
        return Ok(());
    }
    let stamp = k8s_openapi::jiff::Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S").to_string();
    let fresh = format!("{stamp}.{:09}", rand::random::<u32>() % 1_000_000_000);
    let target = directory.join(&fresh);
    std::fs::create_dir(&target)?;
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o755))?;
    for (path, file) in files {
        let full = target.join(path);
        if let Some(parent) = full.parent() {
            std::fs::create_dir_all(parent)?;
        }
        write_file(&full, file, group)?;
    }
    let old = std::fs::read_link(directory.join(DATA)).ok();
    let next = directory.join("..data_tmp");
    let _ = std::fs::remove_file(&next);
    symlink(&fresh, &next)?;
    std::fs::rename(&next, directory.join(DATA))?;
    link_names(directory, files)?;
    if let Some(old) = old {
        std::fs::remove_dir_all(directory.join(old))?;
    }
    Ok(())
}

fn write_file(path: &Path, file: &File, group: Option<i64>) -> std::io::Result<()> {
    use std::io::Write;
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    out.write_all(&file.bytes)?;
    let mut mode = file.mode;
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group as u32))?;
        mode |= 0o440;
    }
    if let Some(owner) = file.owner {
        std::os::unix::fs::chown(path, Some(owner), None)?;
    }
    out.set_permissions(std::fs::Permissions::from_mode(mode))
}

/// The visible names: the first part of each path.
fn names(files: &Files) -> BTreeSet<&str> {
    files.keys().map(|path| path.split('/').next().unwrap_or(path)).collect()
}

fn link_names(directory: &Path, files: &Files) -> std::io::Result<()> {
    let wanted = names(files);
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !wanted.contains(&*name) {
            std::fs::remove_file(directory.join(&*name))?;
        }
    }
    for name in wanted {
        let link = directory.join(name);
        if std::fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    Ok(())
}

/// Whether the volume shows these files already.
fn same(directory: &Path, files: &Files) -> bool {
    let data = directory.join(DATA);
    if !data.exists() {
        return false;
    }
    let mut found = 0;
    let mut stack = vec![data.clone()];
    while let Some(current) = stack.pop() {
        let Ok(entries) = std::fs::read_dir(&current) else { return false };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => stack.push(entry.path()),
                _ => found += 1,
            }
        }
    }
    found == files.len()
        && files.iter().all(|(path, file)| std::fs::read(data.join(path)).is_ok_and(|bytes| bytes == file.bytes))
        && names(files).iter().all(|name| std::fs::symlink_metadata(directory.join(name)).is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter().map(|(path, text)| ((*path).to_owned(), File { bytes: text.as_bytes().to_vec(), mode: 0o644, owner: None })).collect()
    }

    #[test]
    fn an_update_swaps_everything_at_once_and_leaves_nothing_old() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        write(path, &files(&[("a", "1"), ("d/b", "2")]), None).unwrap();
        assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "1");
        assert_eq!(std::fs::read_to_string(path.join("d/b")).unwrap(), "2");
        let first = std::fs::read_link(path.join(DATA)).unwrap();

        write(path, &files(&[("a", "1"), ("d/b", "2")]), None).unwrap();
        assert_eq!(std::fs::read_link(path.join(DATA)).unwrap(), first, "nothing changed, nothing written");

        write(path, &files(&[("a", "3"), ("c", "4")]), None).unwrap();
        assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "3");
        assert_eq!(std::fs::read_to_string(path.join("c")).unwrap(), "4");
        assert!(!path.join("d").exists());
        assert!(!path.join(first).exists());
    }
}
