//! Sets of pods, and how many there are.

use super::{Scene, invalid, valid};
use crate::check::controllers::{COUNT, Count, Of, SCALE, SETTLED, Scale, check};
use serde_json::json;

fn scale(replicas: i64) -> Scale {
    Scale { set: "a".into(), replicas }
}

impl Scene {
    fn scaled(&mut self, replicas: i64) -> &mut Self {
        self.call(0, SCALE, scale(replicas), json!({}))
    }

    fn counted(&mut self, f: &str, pods: i64) -> &mut Self {
        self.call(1, f, Of { set: "a".into() }, Count { pods })
    }
}

#[test]
fn as_many_as_were_asked_for_or_less_are_good() {
    let mut scene = Scene::new();
    scene.counted(COUNT, 0).scaled(2).counted(COUNT, 1).counted(COUNT, 2).invoke(0, SCALE, scale(4)).counted(COUNT, 4).info(0, SCALE);
    scene.counted(COUNT, 3).counted(SETTLED, 3);
    valid(&check(&scene.history()));
}

#[test]
fn more_than_were_ever_asked_for_are_bad() {
    let mut scene = Scene::new();
    scene.scaled(2).counted(COUNT, 3);
    invalid(&check(&scene.history()), "a has 3 pods, and never should have had more than 2");
    let mut early = Scene::new();
    early.scaled(2).counted(COUNT, 3).scaled(3);
    invalid(&check(&early.history()), "never should have had more than 2");
    let mut refused = Scene::new();
    refused.scaled(2).invoke(0, SCALE, scale(3)).fail(0, SCALE).counted(COUNT, 3);
    invalid(&check(&refused.history()), "never should have had more than 2");
}

#[test]
fn fewer_in_the_end_are_bad() {
    let mut scene = Scene::new();
    scene.scaled(3).counted(COUNT, 2).counted(SETTLED, 2);
    invalid(&check(&scene.history()), "a ends with 2 pods, and should have 3");
}
