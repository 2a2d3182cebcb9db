//! One small history for each bug that etcd's robustness tests list, as a client sees it, and what it looks like when it is mended.
//! The numbers are issues or pull requests of etcd-io/etcd.

use super::kv::{all, delete, deleted, done, event, get, get_at, gone, kv, message, put, put_op, read, refused, stale};
use super::{Scene, invalid, valid};
use crate::check::hash::{HASH, HashOf, Hashed};
use crate::check::{available, hash, kv as keys, revisions, watch};
use crate::kv::{Answer, Op, Request, Result, Txn, Watch};
use serde_json::json;

impl Scene {
    fn hash(&mut self, member: &str, revision: i64, hash: u32) -> &mut Self {
        self.call(50, HASH, HashOf { member: member.into() }, Hashed { revision, compact_revision: -1, hash })
    }
}

/// 13766: killed under load, a member starts with an index that is ahead of its data. It skips what it has not got, and its revisions count
/// other writes than everybody else's.
#[test]
fn issue_13766_a_member_skips_writes() {
    let scene = |on_s3, hash_s3| {
        let mut scene = Scene::new();
        scene.on("s1").kv(1, put("a", "1"), done(2)).kv(1, put("a", "2"), done(3)).kv(1, put("b", "1"), done(4));
        scene.on("s3").kv(2, stale("b"), read(4, &[on_s3])).hash("s1", 4, 1).hash("s3", 4, hash_s3);
        scene.history()
    };
    let bad = scene(kv("b", "1", 3, 3, 1), 2);
    invalid(&keys::check(&bad), "at revision 3 was seen b=\"1\"");
    invalid(&hash::check(&bad), "s1 has the hash 00000001 and s3 has 00000002");
    let good = scene(kv("b", "1", 4, 4, 1), 1);
    valid(&keys::check(&good));
    valid(&hash::check(&good));
}

/// 14370: alone, a member acknowledges a write before it is on disk, and does not have it after a crash.
#[test]
fn issue_14370_an_acknowledged_write_is_lost() {
    let scene = |revision, found| {
        let mut scene = Scene::new();
        scene.kv(1, put("a", "1"), done(2)).kv(1, put("a", "2"), done(3));
        scene.nemesis("kill", json!({"begin": {}})).nemesis("kill", json!({"end": {}}));
        scene.kv(1, get("a"), read(revision, &[found]));
        scene.history()
    };
    let bad = scene(2, kv("a", "1", 2, 2, 1));
    invalid(&keys::check(&bad), "an answer has revision 2, though revision 3 had been seen");
    invalid(&revisions::check(&bad), "after revision 3");
    valid(&keys::check(&scene(3, kv("a", "2", 2, 3, 2))));
}

/// 14571: a member that came by its users with a snapshot does not know them, refuses what the others do, and falls behind for good.
#[test]
fn issue_14571_a_member_refuses_what_others_do() {
    let scene = |revision, on_s3, hash_s3| {
        let mut scene = Scene::new();
        scene.on("s1").kv(1, put("a", "1"), done(2)).kv(1, put("a", "2"), done(3));
        scene.on("s3").kv(2, get("a"), read(revision, &[on_s3])).hash("s1", 3, 1).hash("s3", revision, hash_s3);
        scene.history()
    };
    let bad = scene(2, kv("a", "1", 2, 2, 1), 9);
    invalid(&keys::check(&bad), "an answer has revision 2");
    invalid(&hash::check(&bad), "not at one revision: s1 at 3");
    let good = scene(3, kv("a", "2", 2, 3, 2), 1);
    valid(&keys::check(&good));
    valid(&hash::check(&good));
}

/// 14685: killed while it tidies up, a member does again what it has done, and its revisions are ahead of the others'.
#[test]
fn issue_14685_a_member_does_a_write_twice() {
    let scene = |on_s2| {
        let mut scene = Scene::new();
        scene.on("s1").kv(1, put("a", "1"), done(2)).kv(1, Request::Defragment, Answer { revision: 2, result: Result::Done });
        scene.kv(1, put("a", "2"), done(3)).on("s2").kv(2, stale("a"), on_s2);
        scene.history()
    };
    let bad = scene(read(4, &[kv("a", "2", 2, 4, 3)]));
    invalid(&keys::check(&bad), "at revision 4 was seen what nobody can have written then");
    valid(&keys::check(&scene(read(3, &[kv("a", "2", 2, 3, 2)]))));
}

/// 15220: asked how far it is, a watch says a revision whose events are still under way.
#[test]
fn issue_15220_progress_is_told_before_its_events() {
    let scene = |early| {
        let mut scene = Scene::new();
        scene.kv(1, put("a", "1"), done(2)).kv(1, put("a", "2"), done(3));
        let (one, two) = (message(9, 2, &[event(kv("a", "1", 2, 2, 1))]), message(9, 3, &[event(kv("a", "2", 2, 3, 2))]));
        let progress = message(9, 3, &[]);
        let messages = if early { [one, progress, two] } else { [one, two, progress] };
        scene.watched(9, all(1), 1, &messages);
        scene.history()
    };
    invalid(&watch::check(&scene(true)), "a at revision 3 was told after progress up to 3");
    valid(&watch::check(&scene(false)));
}

/// 15271: a member that was cut off and is sent a snapshot tells its watches again what they know.
#[test]
fn issue_15271_a_watch_goes_back_in_time() {
    let scene = |again| {
        let mut scene = Scene::new();
        scene.kv(1, put("a", "1"), done(2)).kv(1, put("a", "2"), done(3)).kv(1, put("b", "1"), done(4));
        let (one, two, three) = (event(kv("a", "1", 2, 2, 1)), event(kv("a", "2", 2, 3, 2)), event(kv("b", "1", 4, 4, 1)));
        let second = if again { message(9, 4, &[two.clone(), three]) } else { message(9, 4, &[three]) };
        scene.watched(9, all(1), 1, &[message(9, 3, &[one, two]), second]);
        scene.history()
    };
    invalid(&watch::check(&scene(true)), "a at revision 3 was told twice");
    valid(&watch::check(&scene(false)));
}

/// 17247: a key that a transaction writes is told twice.
#[test]
fn issue_17247_an_event_is_told_twice() {
    let scene = |times| {
        let mut scene = Scene::new();
        scene.kv(1, put("a", "1"), done(2));
        scene.watched(9, all(1), 1, &[message(9, 2, &vec![event(kv("a", "1", 2, 2, 1)); times])]);
        scene.history()
    };
    invalid(&watch::check(&scene(2)), "a at revision 2 was told twice");
    valid(&watch::check(&scene(1)));
}

/// 17529: a stream that is too slow for its events loses some of them.
#[test]
fn issue_17529_a_slow_watch_loses_events() {
    let scene = |lost| {
        let mut scene = Scene::new();
        let mut events = Vec::new();
        for n in 1..=20 {
            scene.kv(1, put("a", &n.to_string()), done(n + 1));
            events.push(event(kv("a", &n.to_string(), 2, n + 1, n)));
        }
        if lost {
            events.drain(5..12);
        }
        let messages: Vec<_> = events.into_iter().map(|event| message(9, 21, &[event])).collect();
        scene.watched(9, all(1), 1, &messages);
        scene.history()
    };
    invalid(&watch::check(&scene(true)), "a at revision 7 was not told");
    valid(&watch::check(&scene(false)));
}

/// 17780: killed while it compacts away deleted keys, a member takes the highest revision that is left for the latest.
#[test]
fn issue_17780_revisions_go_back_after_a_compaction() {
    let scene = |written| {
        let mut scene = Scene::new();
        scene.kv(1, put("a", "1"), done(2)).kv(1, put("b", "1"), done(3)).kv(1, delete("b"), deleted(4, 1));
        scene.kv(1, Request::Compact { revision: 4 }, Answer { revision: 4, result: Result::Done });
        scene.nemesis("kill", json!({"begin": {}})).nemesis("kill", json!({"end": {}}));
        scene.kv(1, put("c", "1"), done(written));
        scene.history()
    };
    let bad = scene(3);
    invalid(&keys::check(&bad), "a write has revision 3, though revision 4 had been seen");
    invalid(&revisions::check(&bad), "after revision 4");
    valid(&keys::check(&scene(5)));
}

/// 18055: a member throws away a snapshot that it was sent and has yet to apply, and never starts again.
#[test]
fn issue_18055_a_member_does_not_come_back() {
    let scene = |serves| {
        let mut scene = Scene::new();
        scene.on("s3").kv(1, put("a", "1"), done(2)).nemesis("partition", json!({"begin": {"majority": ["s1", "s2"]}}));
        scene.on("s1").kv(1, put("a", "2"), done(3)).nemesis("partition", json!({"end": {}})).nemesis(available::HEAL, json!({}));
        scene.on("s3");
        for n in 4..20 {
            scene.wait(2.5).invoke(1, "kv", put("a", "3"));
            if serves {
                scene.ok(1, "kv", done(n))
            } else {
                scene.info(1, "kv")
            };
        }
        scene.history()
    };
    invalid(&available::check(&scene(false)), "s3 served no kv txn after the heal");
    valid(&available::check(&scene(true)));
}

/// 18089: compacted at the revision of a deletion, the store forgets that very deletion, and no watch is told.
#[test]
fn issue_18089_a_deletion_is_compacted_away() {
    let scene = |told| {
        let mut scene = Scene::new();
        scene.kv(1, put("a", "1"), done(2)).kv(1, delete("a"), deleted(3, 1));
        scene.kv(1, Request::Compact { revision: 3 }, Answer { revision: 3, result: Result::Done }).kv(1, put("b", "1"), done(4));
        let events = [gone("a", 3), event(kv("b", "1", 4, 4, 1))];
        scene.watched(9, all(3), 4, &[message(9, 4, if told { &events } else { &events[1..] })]);
        scene.history()
    };
    invalid(&watch::check(&scene(false)), "a at revision 3 was not told");
    valid(&watch::check(&scene(true)));
}

/// 18667: a transaction reads at a compacted revision. Members that nobody is waiting at do not read, so they write; the one that was asked
/// refuses.
#[test]
fn issue_18667_a_refused_transaction_is_done_elsewhere() {
    let scene = |on_s2: Answer| {
        let Request::Range(at) = get_at("a", 2) else { unreachable!() };
        let txn = Txn { then: vec![Op::Range(at), put_op("b", "1", 0)], ..Txn::default() };
        let mut scene = Scene::new();
        scene.on("s1").kv(1, put("a", "1"), done(2)).kv(1, put("a", "2"), done(3));
        scene.kv(1, Request::Compact { revision: 3 }, Answer { revision: 3, result: Result::Done });
        scene.kv(1, Request::Txn(txn), refused("etcdserver: mvcc: required revision has been compacted"));
        scene.on("s2").kv(2, stale("b"), on_s2);
        scene.history()
    };
    invalid(&keys::check(&scene(read(4, &[kv("b", "1", 4, 4, 1)]))), "b=\"1\" was refused, and yet it was seen");
    valid(&keys::check(&scene(read(3, &[]))));
}

/// 19179: a watch from the revision that is being compacted, where a key was deleted, is not told of the deletion.
#[test]
fn issue_19179_a_watch_from_a_compaction_misses_its_deletion() {
    let scene = |told| {
        let mut scene = Scene::new();
        for (n, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
            scene.kv(1, put(key, "1"), done(n as i64 + 2));
        }
        scene.kv(1, delete("a"), deleted(6, 1)).unknown(2, Request::Compact { revision: 6 });
        let watch = Watch { prev_kv: true, ..all(6) };
        let events = [crate::kv::Event { prev: Some(kv("a", "1", 2, 2, 1)), ..gone("a", 6) }];
        scene.watched(9, watch, 6, &[message(9, 6, if told { &events } else { &[] })]);
        scene.history()
    };
    invalid(&watch::check(&scene(false)), "a at revision 6 was not told");
    valid(&watch::check(&scene(true)));
}

/// 20221: on a member that is sent a snapshot, a watch from a revision that is still to come is told what was before it.
#[test]
fn issue_20221_a_watch_of_the_future_is_told_the_past() {
    let scene = |from| {
        let mut scene = Scene::new();
        scene.kv(1, put("a", "1"), done(2)).kv(1, put("a", "2"), done(3)).kv(1, put("a", "3"), done(4));
        let events: Vec<_> =
            (2..=4).map(|n| event(kv("a", &(n - 1).to_string(), 2, n, n - 1))).filter(|event| event.kv.mod_revision >= from).collect();
        scene.watched(9, all(4), 2, &[message(9, 4, &events)]);
        scene.history()
    };
    invalid(&watch::check(&scene(3)), "a at revision 3 was told, before it begins");
    valid(&watch::check(&scene(4)));
    let mut early = Scene::new();
    early.kv(1, put("a", "1"), done(2)).watched(9, all(9), 2, &[message(9, 2, &[])]);
    invalid(&watch::check(&early.history()), "progress was told up to 2, before it begins");
}

/// 20271: told to tidy up while it applies a snapshot, a member goes on writing into a file that is no longer there, and has lost it all when
/// it starts again.
#[test]
fn issue_20271_a_member_writes_into_a_deleted_file() {
    let scene = |on_s3: Answer, hash_s3| {
        let mut scene = Scene::new();
        scene.on("s1").kv(1, put("a", "1"), done(2)).on("s3").kv(3, Request::Defragment, Answer { revision: 2, result: Result::Done });
        scene.on("s1").kv(1, put("a", "2"), done(3)).kv(1, put("b", "1"), done(4));
        scene.nemesis("kill", json!({"begin": {"host": "s3"}})).nemesis("kill", json!({"end": {}}));
        scene.kv(1, put("c", "1"), done(5));
        let revision = on_s3.revision;
        scene.on("s3").kv(2, stale("a"), on_s3).hash("s1", 5, 1).hash("s3", revision, hash_s3);
        scene.history()
    };
    // It applies what comes after the restart, on top of what it lost.
    let bad = scene(read(5, &[kv("a", "1", 2, 2, 1)]), 7);
    invalid(&keys::check(&bad), "the answer at revision 5 does not fit");
    invalid(&hash::check(&bad), "s3 has 00000007");
    let good = scene(read(5, &[kv("a", "2", 2, 3, 2)]), 1);
    valid(&keys::check(&good));
    valid(&hash::check(&good));
}

/// 20418: a member that was paused asks the leader again how far it must have come, is told twice, and takes an old answer for a new one.
#[test]
fn issue_20418_a_paused_member_reads_the_past() {
    let scene = |revision, found| {
        let mut scene = Scene::new();
        scene.on("s1").kv(1, put("a", "1"), done(2)).nemesis("pause", json!({"begin": {"host": "s3"}}));
        scene.kv(1, put("a", "2"), done(3)).nemesis("pause", json!({"end": {"host": "s3"}}));
        scene.on("s3").kv(2, get("a"), read(revision, &[found]));
        scene.history()
    };
    invalid(&keys::check(&scene(2, kv("a", "1", 2, 2, 1))), "an answer has revision 2, though revision 3");
    valid(&keys::check(&scene(3, kv("a", "2", 2, 3, 2))));
}
