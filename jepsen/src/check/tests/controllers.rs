//! Sets of pods, and how many there are.

use super::{Scene, invalid, valid};
use crate::check::available::HEAL;
use crate::check::controllers::{COUNT, Count, Of, SCALE, SETTLED, Scale, Settled, TAKE_AWAY, check};
use crate::check::{Validity, Verdict};
use serde_json::json;

fn scale(replicas: i64) -> Scale {
    Scale { set: "a".into(), replicas }
}

impl Scene {
    fn scaled(&mut self, replicas: i64) -> &mut Self {
        self.call(0, SCALE, scale(replicas), json!({}))
    }

    fn counted(&mut self, pods: i64) -> &mut Self {
        self.call(1, COUNT, Of { set: "a".into() }, Count { pods })
    }

    fn settled_at(&mut self, replicas: i64, pods: i64) -> &mut Self {
        self.call(2, SETTLED, Of { set: "a".into() }, Settled { replicas, pods })
    }
}

fn judged(scene: &Scene) -> Verdict {
    check(&scene.history())
}

#[test]
fn as_many_as_were_asked_for_or_less_are_good() {
    let mut scene = Scene::new();
    scene.counted(0).scaled(2).counted(1).counted(2).invoke(0, SCALE, scale(4)).counted(4).info(0, SCALE);
    scene.counted(3).nemesis(HEAL, json!({})).settled_at(4, 2).wait(15.0).settled_at(4, 4);
    valid(&judged(&scene));
    // The scale of which nobody knew had not been done.
    let mut scene = Scene::new();
    scene.scaled(2).invoke(0, SCALE, scale(3)).info(0, SCALE).settled_at(2, 2);
    valid(&judged(&scene));
}

#[test]
fn more_than_were_ever_asked_for_are_bad() {
    let mut scene = Scene::new();
    scene.scaled(2).counted(3);
    invalid(&check(&scene.history()), "a has 3 pods, and never should have had more than 2");
    let mut early = Scene::new();
    early.scaled(2).counted(3).scaled(3);
    invalid(&check(&early.history()), "never should have had more than 2");
    let mut refused = Scene::new();
    refused.scaled(2).invoke(0, SCALE, scale(3)).fail(0, SCALE).counted(3);
    invalid(&check(&refused.history()), "never should have had more than 2");
}

#[test]
fn fewer_or_more_in_the_end_are_bad() {
    let mut scene = Scene::new();
    scene.scaled(3).counted(2).settled_at(3, 2);
    invalid(&judged(&scene), "a ends with 2 pods, and should have 3");
    // More than it asks for, though not more than it was perhaps asked to have.
    let mut scene = Scene::new();
    scene.scaled(2).invoke(0, SCALE, scale(3)).info(0, SCALE).settled_at(2, 3);
    invalid(&judged(&scene), "a ends with 3 pods, and should have 2");
    let mut scene = Scene::new();
    scene.scaled(3).settled_at(2, 2);
    invalid(&judged(&scene), "a ends asking for 2 pods, and was scaled to 3");
}

#[test]
fn an_end_that_comes_late_or_is_not_seen_is_no_good_end() {
    let mut scene = Scene::new();
    scene.scaled(3).wait(60.0).call(3, TAKE_AWAY, "a-x", json!({})).nemesis(HEAL, json!({})).settled_at(3, 2).wait(21.0).settled_at(3, 3);
    invalid(&judged(&scene), "a had its 3 pods only 21.0 s after the last change");
    let mut scene = Scene::new();
    scene.scaled(3).counted(3).invoke(2, SETTLED, Of { set: "a".into() }).fail(2, SETTLED);
    assert_eq!(judged(&scene).valid, Validity::Unknown);
}
