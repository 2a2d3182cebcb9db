//! A short game against every reader, and the inputs that were defects once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use tricorn_fuzz::{TARGETS, Target, play};

const INPUTS: u64 = 40_000;
const TIME: Duration = Duration::from_secs(2);

#[test]
fn every_reader_answers_whatever_it_is_given() {
    for target in TARGETS {
        let mut outcome = play(target, 1, INPUTS, TIME).unwrap();
        let (defect, input) = outcome.defect.take().unwrap_or_default();
        assert!(defect.is_empty(), "{}: {defect}: {:?}", target.name, String::from_utf8_lossy(&input));
        // Seeds that nobody takes would reach nothing; if all were taken, nothing would have been changed.
        assert!(outcome.taken > 0 && outcome.taken < outcome.inputs, "{}: {outcome:?}", target.name);
    }
}

#[test]
fn a_reader_with_a_defect_is_found_out() {
    fn seeds() -> anyhow::Result<Vec<Vec<u8>>> {
        Ok(vec![b"good".to_vec()])
    }
    fn read(bytes: &[u8]) -> bool {
        assert!(bytes.len() < 5, "too long for me");
        true
    }
    let outcome = play(&Target { name: "bad", seeds, read }, 1, INPUTS, TIME).unwrap();
    let (defect, input) = outcome.defect.unwrap();
    assert!(defect.contains("too long for me") && input.len() >= 5, "{defect}");
}
