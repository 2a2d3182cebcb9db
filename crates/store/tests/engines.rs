//! One contract for every disk.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use std::sync::Arc;
use tricorn_store::mvcc::{Change, Table, View};
use tricorn_store::{Disk, Engine, MemoryDisk, Purpose, RocksDisk, RocksOptions};

fn row(table: Table, key: &str, value: Option<&str>) -> Change {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Change { table, key: bytes(key), value: value.map(bytes) }
}

fn keys(view: &dyn View, table: Table, start: &str, end: Option<&str>) -> Vec<String> {
    let mut cursor = view.scan(table, start.as_bytes(), end.map(str::as_bytes)).unwrap();
    let mut found = Vec::new();
    while cursor.valid() {
        found.push(String::from_utf8(cursor.key().to_vec()).unwrap());
        cursor.advance().unwrap();
    }
    found
}

fn contract(disk: &dyn Disk) {
    for purpose in [Purpose::Log, Purpose::State] {
        let name = format!("{purpose:?}");
        let engine: Arc<dyn Engine> = disk.open(&name, purpose).unwrap();
        let table = Table::CURRENT;
        engine.write(["a", "b", "c", "d"].map(|key| row(table, key, Some(key))).to_vec(), true).unwrap();
        let before = engine.view().unwrap();
        engine.write(vec![row(table, "b", None), row(table, "e", Some("")), row(Table::LOG, "a", Some("x"))], false).unwrap();
        let after = engine.view().unwrap();
        assert_eq!(keys(before.as_ref(), table, "", None), ["a", "b", "c", "d"], "a view does not change");
        assert_eq!(before.get(table, b"b").unwrap().unwrap(), "b");
        assert_eq!(keys(after.as_ref(), table, "", None), ["a", "c", "d", "e"]);
        assert_eq!(keys(after.as_ref(), table, "b", Some("d")), ["c"]);
        assert!(keys(after.as_ref(), table, "d", Some("b")).is_empty());
        assert_eq!(keys(after.as_ref(), Table::LOG, "", None), ["a"], "tables are apart");
        assert_eq!(after.get(table, b"b").unwrap(), None);
        assert_eq!(after.get(table, b"e").unwrap().unwrap(), "", "empty is not absent");
        drop((before, after));
        engine.delete_range(table, b"c", b"e").unwrap();
        assert_eq!(keys(engine.view().unwrap().as_ref(), table, "", None), ["a", "e"]);
        engine.flush().unwrap();
        engine.reclaim().unwrap();
        drop(engine);
        let again = disk.open(&name, purpose).unwrap();
        assert_eq!(keys(again.view().unwrap().as_ref(), table, "", None), ["a", "e"], "it is still there");
        assert!(disk.engines().unwrap().contains(&name));
        drop(again);
        disk.remove(&name).unwrap();
        disk.remove(&name).unwrap();
        assert!(!disk.engines().unwrap().contains(&name));
    }
    assert_eq!(disk.read("file").unwrap(), None);
    disk.replace("file", b"one").unwrap();
    disk.replace("file", b"two").unwrap();
    assert_eq!(disk.read("file").unwrap().unwrap(), b"two");
}

#[test]
fn rocksdb_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract(&RocksDisk::new(dir.path().join("not/there/yet"), RocksOptions::default()));
}

#[test]
fn memory_keeps_the_contract() {
    contract(&MemoryDisk::default());
}

#[test]
fn a_crash_loses_exactly_what_was_not_synced() {
    let disk = MemoryDisk::default();
    let engine = disk.open("log", Purpose::Log).unwrap();
    engine.write(vec![row(Table::LOG, "a", Some("1"))], true).unwrap();
    engine.write(vec![row(Table::LOG, "b", Some("2"))], false).unwrap();
    let after = disk.crash();
    assert!(engine.write(vec![row(Table::LOG, "c", Some("3"))], true).is_err(), "the machine is off");
    let survivor = after.open("log", Purpose::Log).unwrap();
    assert_eq!(keys(survivor.view().unwrap().as_ref(), Table::LOG, "", None), ["a"]);
}
