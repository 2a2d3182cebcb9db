//! A log whose bits have flipped is refused: what was acknowledged and can no longer be read must not be forgotten in silence.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use std::path::{Path, PathBuf};
use tricorn_proto::etcdserverpb::{PutRequest, RangeRequest};
use tricorn_store::{Error, Store, StoreConfig};

async fn fill(dir: &Path, puts: usize) {
    let store = Store::start(StoreConfig::new("a", dir)).await.unwrap();
    for number in 0..puts {
        let request = PutRequest { key: Bytes::from(format!("k{number}")), value: Bytes::from(vec![b'v'; 200]), ..PutRequest::default() };
        store.put(request, None).await.unwrap();
    }
    store.shutdown().await.unwrap();
}

/// The file that holds everything, and where that ends: behind it there is room.
fn first_file(dir: &Path) -> (PathBuf, usize) {
    let path = dir.join("raft/00000001.wal");
    let end = std::fs::read(&path).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (path, end)
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_in_the_log_are_told() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 100).await;
    let (log, end) = first_file(dir.path());
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[end / 2] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let refused = Store::start(StoreConfig::new("a", dir.path())).await.err().expect("a damaged log is refused");
    assert!(matches!(refused, Error::Disk { .. }) && refused.to_string().contains("orruption"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_cut_off_by_a_power_cut_is_not_damage() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 100).await;
    let (log, end) = first_file(dir.path());
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[end - 10..end].fill(0);
    std::fs::write(&log, bytes).unwrap();
    let store = Store::start(StoreConfig::new("a", dir.path())).await.unwrap();
    let found = store.range(RangeRequest { key: "k0".into(), ..RangeRequest::default() }).await.unwrap();
    assert_eq!(found.kvs.len(), 1);
    store.shutdown().await.unwrap();
}
