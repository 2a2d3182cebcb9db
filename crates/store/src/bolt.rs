//! Reads a bbolt database, which is what a snapshot of another etcd is: the rows of its buckets, in order. Nothing is ever written.
//!
//! A file is made of pages. The first two are meta pages, of which the sound one with the higher transaction counts; it names the page
//! where the root bucket begins. A bucket is a tree of branch and leaf pages; small ones lie inside the row that names them. All
//! numbers are little-endian (bbolt's `internal/common/{page,meta,bucket}.go`).

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const HEADER: usize = 16;
const META: usize = 64;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
/// The row of a leaf is a bucket.
const IS_BUCKET: u32 = 0x01;
/// Bytes of a branch's and of a leaf's entries, and of the head of a bucket.
const ENTRY: usize = 16;
/// Page sizes there are; a file is tried with the usual ones when its first meta page is damaged.
const PAGE_SIZES: [u64; 3] = [4096, 16384, 65536];
/// Trees are never this deep.
const MAX_DEPTH: usize = 40;
/// The largest page with its overflow that is believed.
const MAX_PAGE: u64 = 1 << 30;
/// Snapshots that were taken through the API end in their checksum; database files are made of whole blocks.
const BLOCK: u64 = 512;
const CHECKSUM: u64 = 32;

fn damaged(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged database: {what}"))
}

fn u16_at(bytes: &[u8], at: usize) -> io::Result<u16> {
    let found = bytes.get(at..at + 2).and_then(|found| found.try_into().ok());
    found.map(u16::from_le_bytes).ok_or_else(|| damaged("a page ends too soon"))
}

fn u32_at(bytes: &[u8], at: usize) -> io::Result<u32> {
    let found = bytes.get(at..at + 4).and_then(|found| found.try_into().ok());
    found.map(u32::from_le_bytes).ok_or_else(|| damaged("a page ends too soon"))
}

fn u64_at(bytes: &[u8], at: usize) -> io::Result<u64> {
    let found = bytes.get(at..at + 8).and_then(|found| found.try_into().ok());
    found.map(u64::from_le_bytes).ok_or_else(|| damaged("a page ends too soon"))
}

fn place(number: u32) -> io::Result<usize> {
    usize::try_from(number).map_err(damaged)
}

/// `length` bytes at `offset` from the entry that begins at `entry`.
fn piece(page: &[u8], entry: usize, offset: u32, length: u32) -> io::Result<&[u8]> {
    let begin = entry.checked_add(place(offset)?).ok_or_else(|| damaged("an entry points outside of its page"))?;
    let end = begin.checked_add(place(length)?).ok_or_else(|| damaged("an entry points outside of its page"))?;
    page.get(begin..end).ok_or_else(|| damaged("an entry points outside of its page"))
}

/// FNV-1a of 64 bits, which meta pages are summed with.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Whether a file begins as a bbolt database does.
pub(crate) fn is_bolt(file: &File) -> io::Result<bool> {
    let mut head = [0; HEADER + 4];
    match file.read_exact_at(&mut head, 0) {
        Ok(()) => Ok(u32_at(&head, HEADER)? == MAGIC),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[derive(Clone, Copy)]
struct Meta {
    page_size: u64,
    root: u64,
    /// Pages from here on are not part of the database.
    end: u64,
    transaction: u64,
}

/// An open database.
pub(crate) struct Bolt<'a> {
    file: &'a File,
    length: u64,
    meta: Meta,
}

/// Where a bucket's tree begins.
enum Root {
    Page(u64),
    Inline(Vec<u8>),
}

/// Takes a row's key and value.
type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> io::Result<()> + 'v;
/// Takes a row's flags too, and so buckets.
type VisitAny<'v> = dyn FnMut(u32, &[u8], &[u8]) -> io::Result<()> + 'v;

impl<'a> Bolt<'a> {
    /// Finds the state that was committed last.
    pub fn open(file: &'a File) -> io::Result<Self> {
        let first = read_meta(file, 0);
        let sizes: Vec<u64> = first.iter().map(|meta| meta.page_size).chain(PAGE_SIZES).collect();
        let second = sizes.iter().find_map(|size| read_meta(file, *size).ok().filter(|meta| meta.page_size == *size));
        let meta = first.into_iter().chain(second).max_by_key(|meta| meta.transaction);
        let meta = meta.ok_or_else(|| damaged("neither meta page is sound"))?;
        Ok(Self { file, length: file.metadata()?.len(), meta })
    }

    /// The file's length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Checks the checksum that a snapshot ends in. A file without one is refused unless `copied` says that it never had one.
    pub fn check(file: &File, copied: bool) -> io::Result<()> {
        let length = file.metadata()?.len();
        if length % BLOCK != CHECKSUM {
            if copied {
                return Ok(());
            }
            return Err(damaged("it has no checksum, as if it had been copied from a data directory instead of being saved"));
        }
        let (mut digest, mut at, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
        while at < length - CHECKSUM {
            let rest = usize::try_from(length - CHECKSUM - at).unwrap_or(usize::MAX);
            let chunk = &mut buffer[..rest.min(1 << 20)];
            file.read_exact_at(chunk, at)?;
            digest.update(&chunk);
            at += chunk.len() as u64;
        }
        let mut said = [0; 32];
        file.read_exact_at(&mut said, length - CHECKSUM)?;
        if digest.finalize()[..] == said { Ok(()) } else { Err(damaged("its checksum does not match")) }
    }

    /// Visits the rows of a bucket at the top, in the order of their keys; nothing when there is no such bucket.
    pub fn rows(&self, bucket: &[u8], visit: &mut Visit<'_>) -> io::Result<()> {
        let mut found = None;
        self.walk(&Root::Page(self.meta.root), &mut |flags, key, value| {
            if flags & IS_BUCKET != 0 && key == bucket {
                found = Some(match u64_at(value, 0)? {
                    0 => Root::Inline(value.get(ENTRY..).unwrap_or_default().to_vec()),
                    page => Root::Page(page),
                });
            }
            Ok(())
        })?;
        let Some(root) = found else { return Ok(()) };
        self.walk(&root, &mut |flags, key, value| if flags & IS_BUCKET == 0 { visit(key, value) } else { Ok(()) })
    }

    /// One row of a bucket.
    pub fn get(&self, bucket: &[u8], wanted: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut found = None;
        self.rows(bucket, &mut |key, value| {
            if key == wanted {
                found = Some(value.to_vec());
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn walk(&self, root: &Root, visit: &mut VisitAny<'_>) -> io::Result<()> {
        // Pages of a sound tree are all different, so there cannot be more than there are pages.
        let mut budget = self.meta.end;
        match root {
            Root::Page(page) => self.descend(*page, MAX_DEPTH, &mut budget, visit),
            Root::Inline(page) => visit_leaf(page, visit),
        }
    }

    fn descend(&self, number: u64, depth: usize, budget: &mut u64, visit: &mut VisitAny<'_>) -> io::Result<()> {
        *budget = budget.checked_sub(1).ok_or_else(|| damaged("its pages form a circle"))?;
        let depth = depth.checked_sub(1).ok_or_else(|| damaged("its tree is too deep"))?;
        let page = self.page(number)?;
        match u16_at(&page, 8)? {
            LEAF => visit_leaf(&page, visit),
            BRANCH => {
                for n in 0..usize::from(u16_at(&page, 10)?) {
                    self.descend(u64_at(&page, HEADER + n * ENTRY + 8)?, depth, budget, visit)?;
                }
                Ok(())
            }
            flags => Err(damaged(format!("page {number} is neither branch nor leaf but {flags:#x}"))),
        }
    }

    /// A page with its overflow.
    fn page(&self, number: u64) -> io::Result<Vec<u8>> {
        let outside = || damaged(format!("page {number} is not in the file"));
        if number < 2 || number >= self.meta.end {
            return Err(outside());
        }
        let begin = number.checked_mul(self.meta.page_size).ok_or_else(outside)?;
        let mut head = [0; HEADER];
        self.file.read_exact_at(&mut head, begin)?;
        if u64_at(&head, 0)? != number {
            return Err(damaged(format!("page {number} says that it is another")));
        }
        let pages = u64::from(u32_at(&head, 12)?) + 1;
        let length = pages.checked_mul(self.meta.page_size).filter(|length| *length <= MAX_PAGE).ok_or_else(outside)?;
        if number + pages > self.meta.end || begin + length > self.length {
            return Err(outside());
        }
        let mut page = vec![0; usize::try_from(length).map_err(damaged)?];
        self.file.read_exact_at(&mut page, begin)?;
        Ok(page)
    }
}

fn read_meta(file: &File, at: u64) -> io::Result<Meta> {
    let mut page = [0; HEADER + META];
    file.read_exact_at(&mut page, at)?;
    let meta = &page[HEADER..];
    if u32_at(meta, 0)? != MAGIC || u32_at(meta, 4)? != VERSION {
        return Err(damaged("not a meta page"));
    }
    if u64_at(meta, 56)? != fnv(&meta[..56]) {
        return Err(damaged("a meta page's checksum does not match"));
    }
    let page_size = u64::from(u32_at(meta, 8)?);
    if !page_size.is_power_of_two() || !(512..=1 << 20).contains(&page_size) {
        return Err(damaged(format!("pages of {page_size} bytes")));
    }
    Ok(Meta { page_size, root: u64_at(meta, 16)?, end: u64_at(meta, 40)?, transaction: u64_at(meta, 48)? })
}

fn visit_leaf(page: &[u8], visit: &mut VisitAny<'_>) -> io::Result<()> {
    if u16_at(page, 8)? != LEAF {
        return Err(damaged("a leaf is none"));
    }
    for n in 0..usize::from(u16_at(page, 10)?) {
        let entry = HEADER + n * ENTRY;
        let [flags, offset, key, value] =
            [u32_at(page, entry)?, u32_at(page, entry + 4)?, u32_at(page, entry + 8)?, u32_at(page, entry + 12)?];
        let behind = offset.checked_add(key).ok_or_else(|| damaged("an entry points outside of its page"))?;
        visit(flags, piece(page, entry, offset, key)?, piece(page, entry, behind, value)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    const PAGE: usize = 4096;

    fn meta(transaction: u64, end: u64) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        let mut body = Vec::new();
        for word in [MAGIC, VERSION, PAGE as u32, 0] {
            body.extend(word.to_le_bytes());
        }
        for word in [2, 0, 0, end, transaction] {
            body.extend(u64::to_le_bytes(word));
        }
        body.extend(fnv(&body).to_le_bytes());
        page[HEADER..HEADER + META].copy_from_slice(&body);
        page
    }

    fn page(number: u64, flags: u16, entries: &[Vec<u8>], data: &[u8]) -> Vec<u8> {
        let mut page = number.to_le_bytes().to_vec();
        page.extend(flags.to_le_bytes());
        page.extend((entries.len() as u16).to_le_bytes());
        page.extend(0u32.to_le_bytes());
        page.extend(entries.concat());
        page.extend(data);
        page
    }

    fn leaf(number: u64, rows: &[(u32, &[u8], &[u8])]) -> Vec<u8> {
        let (mut entries, mut data) = (Vec::new(), Vec::new());
        for (n, (flags, key, value)) in rows.iter().enumerate() {
            let offset = (rows.len() - n) * ENTRY + data.len();
            let words = [*flags, offset as u32, key.len() as u32, value.len() as u32];
            entries.push(words.iter().flat_map(|word| word.to_le_bytes()).collect());
            data.extend_from_slice(key);
            data.extend_from_slice(value);
        }
        page(number, LEAF, &entries, &data)
    }

    fn branch(number: u64, children: &[u64]) -> Vec<u8> {
        let entry = |child: &u64| [&0u32.to_le_bytes()[..], &0u32.to_le_bytes(), &child.to_le_bytes()].concat();
        page(number, BRANCH, &children.iter().map(entry).collect::<Vec<_>>(), &[])
    }

    fn bucket(root: u64, inline: &[u8]) -> Vec<u8> {
        [&root.to_le_bytes()[..], &0u64.to_le_bytes(), inline].concat()
    }

    /// Two buckets: one over two leaves, one within its row.
    fn database() -> Vec<u8> {
        let inline = leaf(0, &[(0, b"x", b"inline")]);
        let pages = [
            meta(6, 6),
            meta(7, 6),
            leaf(2, &[(IS_BUCKET, b"key", &bucket(3, &[])), (IS_BUCKET, b"lease", &bucket(0, &inline))]),
            branch(3, &[4, 5]),
            leaf(4, &[(0, b"a", b"1"), (0, b"b", b"")]),
            leaf(5, &[(0, b"c", &[7; 3000])]),
        ];
        pages
            .into_iter()
            .flat_map(|mut page| {
                page.resize(PAGE, 0);
                page
            })
            .collect()
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn all(bytes: &[u8], bucket: &[u8]) -> io::Result<Vec<(Vec<u8>, usize)>> {
        let file = file(bytes);
        let mut rows = Vec::new();
        Bolt::open(&file)?.rows(bucket, &mut |key, value| {
            rows.push((key.to_vec(), value.len()));
            Ok(())
        })?;
        Ok(rows)
    }

    #[test]
    fn buckets_are_read_over_pages_and_within_rows() {
        let bytes = database();
        assert!(is_bolt(&file(&bytes)).unwrap() && !is_bolt(&file(b"TRICSNAP")).unwrap());
        assert_eq!(all(&bytes, b"key").unwrap(), [(b"a".to_vec(), 1), (b"b".to_vec(), 0), (b"c".to_vec(), 3000)]);
        assert_eq!(all(&bytes, b"lease").unwrap(), [(b"x".to_vec(), 6)]);
        assert_eq!(all(&bytes, b"none").unwrap(), []);
        // Either meta page will do.
        for lost in [0, PAGE] {
            let mut bytes = bytes.clone();
            bytes[lost + HEADER + 8] ^= 1;
            assert_eq!(all(&bytes, b"key").unwrap().len(), 3, "{lost}");
        }
    }

    #[test]
    fn damage_is_told_and_a_checksum_is_wanted() {
        let mut bytes = database();
        let circle = branch(5, &[3]);
        bytes[5 * PAGE..5 * PAGE + circle.len()].copy_from_slice(&circle);
        assert!(all(&bytes, b"key").unwrap_err().to_string().contains("circle"));
        let bytes = database();
        assert!(all(&bytes[..4 * PAGE], b"key").is_err());
        assert!(Bolt::check(&file(&bytes), false).unwrap_err().to_string().contains("no checksum"));
        Bolt::check(&file(&bytes), true).unwrap();
        let mut sealed = [&bytes[..], &Sha256::digest(&bytes)].concat();
        Bolt::check(&file(&sealed), false).unwrap();
        sealed[5000] ^= 1;
        assert!(Bolt::check(&file(&sealed), true).unwrap_err().to_string().contains("does not match"));
    }

    proptest! {
        #[test]
        fn no_damage_does_more_than_fail(at in 0..6 * PAGE, bytes in proptest::collection::vec(any::<u8>(), 1..24)) {
            let mut damaged = database();
            let end = (at + bytes.len()).min(damaged.len());
            damaged[at..end].copy_from_slice(&bytes[..end - at]);
            let _ = all(&damaged, b"key");
            let _ = all(&damaged, b"lease");
        }
    }
}
