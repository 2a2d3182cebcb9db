//! A database that is full, and is not any more.

use super::{Scene, invalid, valid};
use crate::check::quota::{ALARM, Alarm, CLEAR, Clear, DISARM, Done, FILL, FULL, Fill, KEPT, Kept, check};
use serde_json::json;

impl Scene {
    fn filled(&mut self, key: u64, revision: i64) -> &mut Self {
        self.call(1, FILL, Fill { key }, Done { revision })
    }

    fn no_room(&mut self, key: u64) -> &mut Self {
        self.invoke(1, FILL, Fill { key }).failed(1, FILL, FULL)
    }

    fn alarm(&mut self, on: bool) -> &mut Self {
        self.call(0, ALARM, json!({}), Alarm { on })
    }

    fn cleared(&mut self, below: u64, revision: i64) -> &mut Self {
        self.call(0, CLEAR, Clear { below }, Done { revision })
    }

    fn disarmed(&mut self) -> &mut Self {
        self.call(0, DISARM, json!({}), json!({}))
    }

    fn kept(&mut self, keys: &[u64]) -> &mut Self {
        self.call(0, KEPT, json!({}), Kept { keys: keys.iter().copied().collect() })
    }
}

#[test]
fn a_cure_that_works_is_good() {
    let mut scene = Scene::new();
    scene.filled(1, 2).filled(2, 3).no_room(3).alarm(true).no_room(4).cleared(2, 4).disarmed().filled(5, 5).kept(&[2, 5]);
    valid(&check(&scene.history()));
}

#[test]
fn a_write_while_the_alarm_is_on_is_bad() {
    let mut scene = Scene::new();
    scene.filled(1, 2).alarm(true).filled(2, 3).disarmed();
    invalid(&check(&scene.history()), "2 was written at revision 3, while the alarm was on");
    // One that is under way when the alarm is turned off may be written after that.
    let mut under_way = Scene::new();
    under_way.alarm(true).invoke(1, FILL, Fill { key: 1 }).disarmed().ok(1, FILL, Done { revision: 2 });
    valid(&check(&under_way.history()));
    // Nobody knows whether it was turned off.
    let mut unknown = Scene::new();
    unknown.invoke(0, DISARM, json!({})).info(0, DISARM).alarm(true).filled(1, 2);
    unknown.kept(&[1]);
    valid(&check(&unknown.history()));
}

#[test]
fn a_cure_that_does_not_help_is_bad() {
    let mut scene = Scene::new();
    scene.alarm(true).disarmed();
    (0..6).for_each(|key| _ = scene.no_room(key));
    invalid(&check(&scene.history()), "6 writes found no room");
    scene.filled(7, 2);
    valid(&check(&scene.history()));
}

#[test]
fn what_is_lost_deleted_in_vain_or_nobodys_is_found() {
    let mut lost = Scene::new();
    lost.filled(1, 2).filled(2, 3).cleared(2, 4).kept(&[]);
    invalid(&check(&lost.history()), "2 was written at revision 3 and is lost");
    let mut there = Scene::new();
    there.filled(1, 2).cleared(2, 3).kept(&[1]);
    invalid(&check(&there.history()), "1 was deleted, and is there");
    let mut refused = Scene::new();
    refused.no_room(1).kept(&[1, 9]);
    invalid(&check(&refused.history()), "1 was refused, and is there");
    invalid(&check(&refused.history()), "9 is there, and nobody wrote it");
    let mut later = Scene::new();
    later.cleared(5, 2).filled(1, 3).kept(&[]);
    invalid(&check(&later.history()), "is lost");
}
