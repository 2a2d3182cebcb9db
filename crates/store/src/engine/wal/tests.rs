//! Crashes and damage, against the files themselves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn put(table: Table, key: &[u8], value: &[u8]) -> Change {
    Change { table, key: Bytes::copy_from_slice(key), value: Some(Bytes::copy_from_slice(value)) }
}

fn entry(index: u64, bytes: usize) -> Change {
    put(Table::LOG, &index.to_be_bytes(), &vec![u8::try_from(index % 251).unwrap(); bytes])
}

fn rows(wal: &Wal, table: Table) -> Model {
    let view = wal.view().unwrap();
    let mut cursor = view.scan(table, b"", None).unwrap();
    let mut found = Model::new();
    while cursor.valid() {
        found.insert(cursor.key().to_vec(), cursor.value().to_vec());
        cursor.advance().unwrap();
    }
    found
}

fn numbers(dir: &Path) -> Vec<u32> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            numbers.push(u32::from_str_radix(path.file_stem().unwrap().to_str().unwrap(), 16).unwrap());
        }
    }
    numbers.sort_unstable();
    numbers
}

fn refused(dir: &Path) -> String {
    Wal::open(dir).err().expect("damage is refused").to_string()
}

/// A log that has gone through several files, the first of which hold nothing any more.
fn long(dir: &Path) -> (Model, Model) {
    let wal = Wal::open(dir).unwrap();
    wal.write(vec![put(Table::META, b"vote", b"once")], true).unwrap();
    for index in 0..100 {
        wal.write(vec![entry(index, 1 << 20)], index % 3 == 0).unwrap();
        wal.write(vec![put(Table::META, b"committed", &index.to_be_bytes())], false).unwrap();
        if index >= 10 {
            wal.delete_range(Table::LOG, &0_u64.to_be_bytes(), &(index - 9).to_be_bytes()).unwrap();
        }
    }
    (rows(&wal, Table::LOG), rows(&wal, Table::META))
}

#[test]
fn files_are_left_behind_and_the_rest_is_still_there() {
    let dir = tempfile::tempdir().unwrap();
    let (log, meta) = long(dir.path());
    assert_eq!((log.len(), meta.len()), (10, 2));
    let left = numbers(dir.path());
    assert!(left.len() <= 4 && left[0] > 3, "{left:?}");
    let wal = Wal::open(dir.path()).unwrap();
    assert_eq!((rows(&wal, Table::LOG), rows(&wal, Table::META)), (log, meta));
    assert_eq!(wal.size(), 10 * (1 << 20) + 4 + 8);
}

#[test]
fn a_view_outlives_the_files_it_looks_at() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(dir.path()).unwrap();
    wal.write(vec![entry(0, 1 << 20)], true).unwrap();
    let view = wal.view().unwrap();
    for index in 1..60 {
        wal.write(vec![entry(index, 1 << 20)], false).unwrap();
        wal.delete_range(Table::LOG, b"", &index.to_be_bytes()).unwrap();
    }
    assert!(numbers(dir.path())[0] > 1);
    assert_eq!(view.get(Table::LOG, &0_u64.to_be_bytes()).unwrap().unwrap(), vec![0; 1 << 20]);
}

#[test]
fn a_batch_may_be_larger_than_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(dir.path()).unwrap();
    wal.write(vec![entry(1, 100)], true).unwrap();
    wal.write(vec![entry(2, 40 << 20)], true).unwrap();
    wal.write(vec![entry(3, 100)], true).unwrap();
    let before = rows(&wal, Table::LOG);
    drop(wal);
    assert_eq!(rows(&Wal::open(dir.path()).unwrap(), Table::LOG), before);
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Wal::open(dir.path()).unwrap();
    assert!(refused(dir.path()).contains("in use"));
}

#[test]
fn files_that_are_missing_cut_or_foreign_are_told() {
    type Harm = fn(PathBuf);
    let harms: [(&str, usize, Harm); 5] = [
        ("a missing file in the middle", 1, |path| fs::remove_file(path).unwrap()),
        ("a cut file", 1, |path| File::options().write(true).open(path).unwrap().set_len(5000).unwrap()),
        ("an emptied file", 0, |path| fs::write(path, "").unwrap()),
        ("a file of something else", 0, |path| fs::write(path, "this is no log").unwrap()),
        ("a file of zeros", 1, |path| wipe_whole(&path)),
    ];
    for (what, place, harm) in harms {
        let dir = tempfile::tempdir().unwrap();
        long(dir.path());
        let number = numbers(dir.path())[place];
        harm(files::path(dir.path(), number));
        assert!(refused(dir.path()).contains("Corruption"), "{what}");
    }
}

fn wipe_whole(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    files::wipe(&file, BEGIN, usize::try_from(file.metadata().unwrap().len()).unwrap()).unwrap();
}

/// What may happen to a log.
#[derive(Debug, Clone)]
enum Step {
    Write { sync: bool, rows: Vec<(u8, Option<u16>)> },
    Purge(u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let row = (any::<u8>(), proptest::option::weighted(0.8, any::<u16>()));
    prop_oneof![
        8 => (any::<bool>(), proptest::collection::vec(row, 1..5)).prop_map(|(sync, rows)| Step::Write { sync, rows }),
        1 => any::<u8>().prop_map(Step::Purge),
        1 => Just(Step::Reopen),
    ]
}

/// Plays the steps, and tells after each how far the file goes, how far it is synced, and what the rows are.
fn play(dir: &Path, steps: &[Step]) -> Vec<(usize, usize, Model)> {
    let mut wal = Wal::open(dir).unwrap();
    let mut model = Model::new();
    let mut past = vec![(BEGIN, BEGIN, model.clone())];
    for step in steps {
        match step {
            Step::Write { sync, rows } => {
                let row = |(key, value): &(u8, Option<u16>)| Change {
                    table: Table::LOG,
                    key: Bytes::copy_from_slice(&[*key]),
                    value: value.map(|value| Bytes::from(vec![*key; usize::from(value % 300)])),
                };
                wal.write(rows.iter().map(row).collect(), *sync).unwrap();
                for (key, value) in rows {
                    match value {
                        Some(value) => model.insert(vec![*key], vec![*key; usize::from(value % 300)]),
                        None => model.remove(&vec![*key]),
                    };
                }
            }
            Step::Purge(upto) => {
                wal.delete_range(Table::LOG, &[], &[*upto]).unwrap();
                model = model.split_off(&vec![*upto]);
            }
            Step::Reopen => {
                drop(wal);
                wal = Wal::open(dir).unwrap();
            }
        }
        assert_eq!(rows(&wal, Table::LOG), model);
        let writer = wal.writer.lock();
        past.push((writer.at, writer.synced, model.clone()));
    }
    past
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A crash keeps what was synced, and of the rest no batch without those before it, whatever the disk made of it.
    #[test]
    fn a_crash_keeps_what_was_synced(
        steps in proptest::collection::vec(step(), 1..25),
        torn in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let past = play(dir.path(), &steps);
        let (end, synced, _) = *past.last().map(|(end, synced, _)| (*end, *synced, ())).as_ref().unwrap();
        let path = files::path(dir.path(), FIRST);
        let mut bytes = fs::read(&path).unwrap();
        if synced < end {
            // What was not synced has come to the disk in part, page by page or not at all.
            let lost = synced + cut.index(end - synced);
            bytes[lost..end].fill(0);
            for (place, byte) in torn {
                bytes[synced + place.index(end - synced)] = byte;
            }
        }
        fs::write(&path, &bytes).unwrap();
        let wal = Wal::open(dir.path()).unwrap();
        let found = rows(&wal, Table::LOG);
        prop_assert!(past.iter().any(|(at, _, model)| *at >= synced && *model == found), "{found:?}");
        // It goes on from there.
        wal.write(vec![put(Table::LOG, b"new", b"row")], true).unwrap();
        drop(wal);
        let again = rows(&Wal::open(dir.path()).unwrap(), Table::LOG);
        prop_assert_eq!(again.get(&b"new"[..]).map(Vec::as_slice), Some(&b"row"[..]));
        prop_assert_eq!(again.len(), found.len() + 1);
    }

    /// A flipped bit in anything that was synced before the last batch is told; in the last batch it is as if a crash had cut it off.
    #[test]
    fn damage_is_told(steps in proptest::collection::vec(step(), 2..25), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let dir = tempfile::tempdir().unwrap();
        let steps: Vec<Step> = steps.into_iter().map(|step| match step {
            Step::Write { rows, .. } => Step::Write { sync: true, rows },
            other => other,
        }).collect();
        let past = play(dir.path(), &steps);
        let last = past.last().unwrap().0;
        let first_at_end = past.iter().position(|(end, ..)| *end == last).unwrap();
        prop_assume!(first_at_end > 0);
        // What the last batch says was safe when it was written.
        let safe = past[first_at_end - 1].1;
        let place = BEGIN + at.index(last - BEGIN);
        let path = files::path(dir.path(), FIRST);
        let mut bytes = fs::read(&path).unwrap();
        bytes[place] ^= 1 << bit;
        fs::write(&path, &bytes).unwrap();
        let found = Wal::open(dir.path()).map(|wal| rows(&wal, Table::LOG));
        match found {
            Err(error) => prop_assert!(error.to_string().contains("Corruption")),
            Ok(found) => prop_assert!(past.iter().any(|(end, _, model)| *end >= safe && *model == found)),
        }
    }
}
