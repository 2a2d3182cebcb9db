//! The file that names the engine that holds the state: replaced in one step when a snapshot takes the place of everything.

use crate::engine::Disk;
use std::io;

pub(crate) const FILE: &str = "state.current";
/// The engine a member begins with.
pub(crate) const FIRST: &str = "state-1";

/// The engine in use; none where none has been named yet, which then is [`FIRST`].
///
/// A name that is not what was written is refused, as one of an engine that is not there: the member would begin anew with an empty
/// state, behind a log that no longer reaches back to it.
pub(crate) fn read(disk: &dyn Disk) -> io::Result<Option<String>> {
    let engines: Vec<String> = disk.engines()?.into_iter().filter(|name| name.starts_with("state-")).collect();
    let Some(content) = disk.read(FILE)? else {
        return match engines.iter().find(|name| *name != FIRST) {
            Some(name) => Err(damaged(&format!("is missing, though there is {name}"))),
            None => Ok(None),
        };
    };
    let content = String::from_utf8(content).map_err(|_| damaged("holds no name"))?;
    let (name, _) = content.split_once(' ').ok_or_else(|| damaged("holds no checksum"))?;
    if content != sealed(name) {
        return Err(damaged("holds a name that its checksum does not fit"));
    }
    if name != FIRST && !engines.iter().any(|there| there == name) {
        return Err(damaged(&format!("names {name}, which is not there")));
    }
    Ok(Some(name.to_owned()))
}

/// Has `name` be the engine in use from the next start on.
pub(crate) fn write(disk: &dyn Disk, name: &str) -> io::Result<()> {
    disk.replace(FILE, sealed(name).as_bytes())
}

fn sealed(name: &str) -> String {
    format!("{name} {:08x}\n", crc32c::crc32c(name.as_bytes()))
}

fn damaged(how: &str) -> io::Error {
    let cure = "restore it from a backup, or remove the member and add it anew";
    io::Error::new(io::ErrorKind::InvalidData, format!("{FILE} is damaged: it {how}; {cure}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::engine::{MemoryDisk, Purpose};

    fn disk(engines: &[&str], current: Option<&[u8]>) -> MemoryDisk {
        let disk = MemoryDisk::default();
        for name in engines {
            disk.open(name, Purpose::State).unwrap();
        }
        if let Some(content) = current {
            disk.replace(FILE, content).unwrap();
        }
        disk
    }

    #[test]
    fn what_was_written_is_read() {
        let disk = disk(&["state-2"], None);
        write(&disk, "state-2").unwrap();
        assert_eq!(read(&disk).unwrap().as_deref(), Some("state-2"));
    }

    #[test]
    fn before_anything_is_written_there_is_no_name() {
        assert_eq!(read(&disk(&[], None)).unwrap(), None);
        // As a restored snapshot leaves it.
        assert_eq!(read(&disk(&["state-1"], None)).unwrap(), None);
    }

    #[test]
    fn the_first_is_named_before_it_is_made() {
        let disk = disk(&[], None);
        write(&disk, FIRST).unwrap();
        assert_eq!(read(&disk).unwrap().as_deref(), Some(FIRST));
    }

    #[test]
    fn whatever_bit_is_turned_and_wherever_it_is_cut_it_is_refused() {
        let whole = sealed("state-2").into_bytes();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut hit = whole.clone();
                hit[at] ^= 1 << bit;
                let refused = read(&disk(&["state-2", "state-3"], Some(&hit))).unwrap_err().to_string();
                assert!(refused.contains("state.current is damaged"), "{refused}");
            }
            read(&disk(&["state-2"], Some(&whole[..at]))).unwrap_err();
        }
    }

    #[test]
    fn an_engine_that_is_not_there_is_not_begun_anew() {
        let refused = |engines: &[&str], current: Option<&str>| {
            let sealed = current.map(sealed);
            read(&disk(engines, sealed.as_deref().map(str::as_bytes))).unwrap_err().to_string()
        };
        assert!(refused(&["state-2"], Some("state-3")).contains("names state-3, which is not there"));
        assert!(refused(&["state-2"], None).contains("is missing, though there is state-2"));
    }
}
