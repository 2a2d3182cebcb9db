use super::kv::{all, delete, deleted, event, get, gone, kv, message, put_op, read};
use super::{Scene, invalid, valid};
use crate::check::lease::{Remaining, TIME_TO_LIVE, TimeToLive, check};
use crate::kv::{Answer, KeyValue, OpResult, Request, Result, Txn};
use serde_json::json;

fn ttl(ttl: i64) -> Answer {
    Answer { revision: 1, result: Result::Lease { ttl } }
}

fn with_lease() -> KeyValue {
    KeyValue { lease: 7, ..kv("a", "1", 2, 2, 1) }
}

impl Scene {
    /// A lease of ten seconds with a key.
    fn leased() -> Self {
        let mut scene = Self::new();
        let answer = Answer { revision: 2, result: Result::Txn { succeeded: true, results: vec![OpResult::Put] } };
        scene.kv(1, Request::Grant { id: 7, ttl: 10 }, ttl(10));
        scene.kv(1, Request::Txn(Txn { then: vec![put_op("a", "1", 7)], ..Txn::default() }), answer);
        scene
    }

    fn sees_it_go(&mut self) -> &mut Self {
        let now = self.now();
        self.watched(9, all(1), 1, &[message(0, 2, &[event(with_lease())]), message(now, 3, &[gone("a", 3)])])
    }

    fn remaining(&mut self, left: i64) -> &mut Self {
        self.call(1, TIME_TO_LIVE, TimeToLive { id: 7 }, Remaining { ttl: left, granted: if left < 0 { 0 } else { 10 }, keys: Vec::new() })
    }
}

#[test]
fn a_lease_that_ends_in_time_is_good() {
    let mut scene = Scene::leased();
    scene.wait(5.0).kv(1, Request::KeepAlive { id: 7 }, ttl(10)).remaining(9).wait(10.5).sees_it_go();
    scene.kv(1, Request::KeepAlive { id: 7 }, ttl(0)).remaining(-1).kv(2, get("a"), read(3, &[]));
    valid(&check(&scene.history()));
}

#[test]
fn a_lease_that_ends_early_is_bad() {
    let mut scene = Scene::leased();
    scene.wait(5.0).kv(1, Request::KeepAlive { id: 7 }, ttl(10)).wait(6.0).sees_it_go();
    invalid(&check(&scene.history()), "lease 7 ended, with a, 4.0 s before its time");
    let mut asked = Scene::leased();
    asked.wait(5.0).remaining(-1);
    invalid(&check(&asked.history()), "lease 7 was not there 5.0 s before its time");
    let mut renewed = Scene::leased();
    renewed.wait(5.0).kv(1, Request::KeepAlive { id: 7 }, ttl(0));
    invalid(&check(&renewed.history()), "could not be renewed");
}

#[test]
fn a_lease_that_is_ended_ends() {
    let mut scene = Scene::leased();
    scene.kv(1, Request::Revoke { id: 7 }, Answer { revision: 3, result: Result::Done }).sees_it_go().remaining(-1);
    valid(&check(&scene.history()));
    scene.kv(1, Request::KeepAlive { id: 7 }, ttl(10));
    invalid(&check(&scene.history()), "renewed after it had been ended");
}

#[test]
fn a_key_that_somebody_deletes_says_nothing_of_its_lease() {
    let mut scene = Scene::leased();
    scene.kv(1, delete("a"), deleted(3, 1)).sees_it_go();
    valid(&check(&scene.history()));
    let mut unknown = Scene::leased();
    unknown.unknown(1, delete("a")).sees_it_go();
    valid(&check(&unknown.history()));
}

#[test]
fn a_lease_that_never_ends_is_bad() {
    let mut scene = Scene::leased();
    scene.wait(30.0).kv(2, get("a"), read(2, &[with_lease()]));
    invalid(&check(&scene.history()), "a was there 20.0 s after the time of lease 7");
    let mut broken = Scene::leased();
    broken.wait(20.0).nemesis("heal", json!({})).wait(10.0).kv(2, get("a"), read(2, &[with_lease()]));
    valid(&check(&broken.history()));
}

#[test]
fn what_is_left_is_no_more_than_was_granted() {
    let mut scene = Scene::leased();
    scene.remaining(11);
    invalid(&check(&scene.history()), "11 of 10 s left");
    let mut short = Scene::new();
    short.kv(1, Request::Grant { id: 7, ttl: 10 }, ttl(3));
    invalid(&check(&short.history()), "granted for 3 s instead of 10");
}
