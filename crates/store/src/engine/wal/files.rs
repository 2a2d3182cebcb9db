//! The files: made at their full size, used one after the other, and used again once nothing in them is needed.
//!
//! Files are filled with zeros when they are made. Whoever writes over what has been written changes no block map: such a sync waits for
//! its own bytes alone, and not for the file system's journal with all that others write meanwhile, a flush of the state for one. The next
//! file is made ready, on a thread of its own, while the current one fills.

use super::super::sync_dir;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Bytes of a file.
pub(super) const SIZE: u32 = 8 << 20;
/// Bytes that are written at once when a file is made.
const STEP: u64 = 1 << 20;
/// Files that nobody needs, kept for later.
const KEPT: usize = 8;
/// Bytes before the first batch: what this is, its size, a number that nobody can guess, and the checksum of all that.
pub(super) const BEGIN: usize = 24;
const MAGIC: &[u8; 8] = b"TRILOG01";
const EXTENSION: &str = "wal";
const FRESH: &str = "new";
const LOCK: &str = "LOCK";

/// An open file.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub number: u32,
    pub size: u32,
    /// What every batch in it begins with.
    pub mark: u32,
    pub file: Arc<File>,
}

/// What is said of a file that is not as it was written.
pub(super) fn damaged(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("Corruption: {}: {what}", path.display()))
}

/// A place in a file, as it is written down.
pub(super) fn offset(place: usize) -> io::Result<u32> {
    u32::try_from(place).map_err(|_| io::Error::other("a log file of 4 GiB or more"))
}

pub(super) fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08x}.{EXTENSION}"))
}

/// Keeps other processes out of a directory for as long as it is held.
pub(super) fn lock(dir: &Path) -> io::Result<File> {
    let file = File::options().create(true).append(true).open(dir.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::WouldBlock, "the log is in use: is this member running already?"))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The numbers of a directory's files in order; what a crash left half made is removed.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension {
            Some(FRESH) => fs::remove_file(&path)?,
            Some(EXTENSION) => {
                let number = path.file_stem().and_then(|stem| u32::from_str_radix(stem.to_str()?, 16).ok());
                numbers.push(number.ok_or_else(|| damaged(&path, "not the name of a log file"))?);
            }
            _ => {}
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn beginning(size: u32, salt: u32) -> [u8; BEGIN] {
    let mut bytes = [0; BEGIN];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&size.to_le_bytes());
    bytes[12..16].copy_from_slice(&salt.to_le_bytes());
    let sum = crc32c::crc32c(&bytes[..16]);
    bytes[16..20].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The size of a file that begins like this, and what its batches begin with when it has this number.
pub(super) fn begins(bytes: &[u8], number: u32) -> Option<(u32, u32)> {
    let bytes = bytes.get(..BEGIN)?;
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (size, salt) = (word(8), word(12));
    (bytes == beginning(size, salt)).then_some((size, number ^ salt))
}

fn opened(dir: &Path, number: u32, file: Arc<File>) -> io::Result<Ready> {
    let mut bytes = [0; BEGIN];
    match file.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        read => read?,
    }
    let (size, mark) = begins(&bytes, number).ok_or_else(|| damaged(&path(dir, number), "it does not begin like a log file"))?;
    Ok(Ready { number, size, mark, file })
}

/// Opens a file that is there, and reads it whole.
pub(super) fn open(dir: &Path, number: u32) -> io::Result<(Ready, Vec<u8>)> {
    let path = path(dir, number);
    let mut file = File::options().read(true).write(true).open(&path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let ready = opened(dir, number, Arc::new(file))?;
    if bytes.len() != ready.size as usize {
        return Err(damaged(&path, &format!("it has {} bytes and was made with {}", bytes.len(), ready.size)));
    }
    Ok((ready, bytes))
}

/// Makes a file of at least `size` bytes, out of an old one if there is one.
fn make(dir: &Path, number: u32, size: u32, old: Option<(PathBuf, Arc<File>)>) -> io::Result<Ready> {
    let path = path(dir, number);
    if let Some((old, file)) = old {
        fs::rename(old, &path)?;
        sync_dir(dir)?;
        return opened(dir, number, file);
    }
    let fresh = path.with_extension(FRESH);
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&fresh)?;
    file.write_all(&beginning(size, rand::random()))?;
    let mut left = u64::from(size) - BEGIN as u64;
    while left > 0 {
        // Bit by bit: others who sync meanwhile wait for all that the disk has been given.
        left -= io::copy(&mut io::repeat(0).take(left.min(STEP)), &mut file)?;
        file.sync_data()?;
    }
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    sync_dir(dir)?;
    opened(dir, number, Arc::new(file))
}

/// Writes zeros over a part of a file that must not be taken for batches.
pub(super) fn wipe(file: &File, from: usize, end: usize) -> io::Result<()> {
    if from < end {
        file.write_all_at(&vec![0; end - from], from as u64)?;
        file.sync_data()?;
    }
    Ok(())
}

/// Makes the next file ready before it is needed.
#[derive(Debug)]
pub(super) struct Supply {
    dir: PathBuf,
    /// The next file, when it was there already.
    ready: Option<Ready>,
    /// Who makes the next file.
    maker: Option<JoinHandle<io::Result<Ready>>>,
    /// Files that nobody needs any more.
    old: Vec<(PathBuf, Arc<File>)>,
}

impl Supply {
    /// With the next file, when it is there already.
    pub fn new(dir: &Path, ready: Option<Ready>) -> Self {
        Self { dir: dir.to_owned(), ready, maker: None, old: Vec::new() }
    }

    /// Has the file with this number made ready, unless the next one is.
    pub fn prepare(&mut self, number: u32) -> io::Result<()> {
        if self.ready.is_none() && self.maker.is_none() {
            let (dir, old) = (self.dir.clone(), self.old.pop());
            let work = move || make(&dir, number, SIZE, old);
            self.maker = Some(std::thread::Builder::new().name("raft-log-files".into()).spawn(work)?);
        }
        Ok(())
    }

    /// The file with this number, which is needed now and has to hold a batch of so many bytes.
    pub fn take(&mut self, number: u32, bytes: usize) -> io::Result<Ready> {
        self.wait();
        let needed = offset(bytes + BEGIN)?;
        match self.ready.take() {
            Some(ready) if ready.number == number && ready.size >= needed => Ok(ready),
            // One that is too small is replaced where it is.
            _ => {
                let old = if needed <= SIZE { self.old.pop() } else { None };
                make(&self.dir, number, needed.max(SIZE), old)
            }
        }
    }

    /// Takes back files that hold nothing any more. A few are kept, if nobody is looking at them, and become later ones.
    pub fn give_back(&mut self, files: Vec<(u32, Arc<File>)>) -> io::Result<()> {
        for (number, file) in files {
            let path = path(&self.dir, number);
            let usable = Arc::strong_count(&file) == 1 && file.metadata()?.len() == u64::from(SIZE);
            if self.old.len() < KEPT && usable {
                // Out of the way: it is no part of the log any more.
                let aside = path.with_extension(FRESH);
                fs::rename(&path, &aside)?;
                self.old.push((aside, file));
            } else {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Waits for the file that is being made, so that nobody works in the directory behind its owner's back.
    fn wait(&mut self) {
        let Some(maker) = self.maker.take() else { return };
        match maker.join() {
            Ok(Ok(ready)) => self.ready = Some(ready),
            // It is tried again when the file is needed, and reported then.
            Ok(Err(error)) => tracing::warn!(%error, "could not make the next log file ready"),
            Err(_) => tracing::error!("the thread that makes log files ready ended with a panic"),
        }
    }
}

impl Drop for Supply {
    fn drop(&mut self) {
        self.wait();
    }
}
