//! The form in which a snapshot leaves: what etcd's clients take for a database file and its checksum.
//!
//! The store's own stream comes first, then zeros up to a multiple of 512 bytes, then 32 bytes of SHA-256 over all that.
//! Clients check the length to see that the checksum is there, so a truncated file is noticed.

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

/// Database files of etcd are made of whole pages; a multiple of this is what clients look for.
const BLOCK: usize = 512;

/// Pads and sums up what passes through.
#[derive(Default)]
pub(crate) struct Sealer {
    digest: Sha256,
    length: usize,
}

impl Sealer {
    /// Takes note of a chunk.
    pub fn pass(&mut self, chunk: &Bytes) {
        self.digest.update(chunk);
        self.length += chunk.len();
    }

    /// What follows the last chunk.
    pub fn seal(mut self) -> Bytes {
        let padding = self.length.next_multiple_of(BLOCK) - self.length;
        let mut tail = BytesMut::zeroed(padding);
        self.digest.update(&tail);
        tail.extend_from_slice(&self.digest.finalize());
        tail.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_snapshot_has_the_length_and_the_checksum_that_clients_look_for() {
        for length in [0usize, 1, 511, 512, 513, 70_000] {
            let chunk = Bytes::from(vec![7u8; length]);
            let mut sealer = Sealer::default();
            sealer.pass(&chunk);
            let file = [chunk, sealer.seal()].concat();
            assert_eq!(file.len() % BLOCK, 32, "{length}");
            let (data, sum) = file.split_at(file.len() - 32);
            assert_eq!(Sha256::digest(data).to_vec(), sum, "{length}");
            assert!(data.len() - length < BLOCK);
        }
    }
}
