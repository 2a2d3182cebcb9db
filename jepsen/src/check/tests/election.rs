//! Leaders, and what observers are told of them.

use super::{Scene, invalid, valid};
use crate::check::election::{FOLLOW, Followed, PROCLAIM, Proclaim, Seen, check};
use crate::check::lock::{self, ACQUIRE, Acquire, Acquired, Guarded};

fn election(value: &str) -> Acquire {
    Acquire { lock: "a".into(), value: value.into() }
}

impl Scene {
    fn won(&mut self, process: u64, token: i64, value: &str) -> &mut Self {
        self.call(process, ACQUIRE, election(value), Acquired { token, revision: 0 })
    }

    fn proclaimed(&mut self, process: u64, token: i64, value: &str, revision: i64, succeeded: bool) -> &mut Self {
        self.call(process, PROCLAIM, Proclaim { lock: "a".into(), token, value: value.into() }, Guarded { revision, succeeded })
    }

    fn followed(&mut self, process: u64, seen: &[(i64, i64, &str)]) -> &mut Self {
        let seen = seen.iter().map(|(token, revision, value)| Seen { token: *token, revision: *revision, value: (*value).into() });
        self.call(process, FOLLOW, election(""), Followed { seen: seen.collect() })
    }
}

#[test]
fn leaders_that_are_told_in_order_are_good() {
    let mut scene = Scene::new();
    scene.won(1, 10, "x").proclaimed(1, 10, "y", 14, true).won(2, 12, "z").proclaimed(1, 10, "w", 15, false);
    // The second one entered before the first one's last words.
    scene.followed(3, &[(10, 10, "x"), (10, 14, "y"), (12, 12, "z"), (13, 13, "of one who was told nothing")]);
    valid(&check(&scene.history()));
    valid(&lock::check(&scene.history()));
}

#[test]
fn leaders_and_words_out_of_order_are_bad() {
    let mut back = Scene::new();
    back.followed(3, &[(12, 12, "z"), (10, 10, "x")]);
    invalid(&check(&back.history()), "10 was told to lead after 12");
    let mut twice = Scene::new();
    twice.followed(3, &[(10, 14, "y"), (10, 14, "y")]);
    invalid(&check(&twice.history()), "what 10 announced at 14 was told after");
}

#[test]
fn words_of_another_and_words_that_were_refused_are_bad() {
    let mut other = Scene::new();
    other.won(1, 10, "x").followed(3, &[(12, 12, "x")]);
    invalid(&check(&other.history()), "told as announced by 12, and 10 did");
    let mut refused = Scene::new();
    refused.won(1, 10, "x").proclaimed(1, 10, "y", 14, false).followed(3, &[(10, 14, "y")]);
    invalid(&check(&refused.history()), "y was refused, and yet it was told");
}

#[test]
fn a_leader_that_was_followed_by_another_announces_no_more() {
    let mut scene = Scene::new();
    scene.won(1, 10, "x").won(2, 12, "z").proclaimed(2, 12, "zz", 13, true).proclaimed(1, 10, "y", 14, true);
    invalid(&lock::check(&scene.history()), "10 wrote at revision 14, after 12");
}
