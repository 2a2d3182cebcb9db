//! Objects that are not gone before somebody has let them go.

use super::{Scene, invalid, valid};
use crate::check::finalizers::{END, End, LOOK, Look, MAKE, Named, UNFINISH, Unfinish, check};
use serde_json::json;

fn named() -> Named {
    Named { name: "a".into() }
}

fn seen(version: i64, finalizers: &[&str], deleted: Option<&str>) -> Look {
    let finalizers = finalizers.iter().map(|name| (*name).to_owned()).collect();
    Look { uid: "u".into(), version, finalizers, deleted: deleted.map(str::to_owned) }
}

impl Scene {
    fn made(&mut self) -> &mut Self {
        self.call(1, MAKE, named(), seen(2, &["x", "y"], None))
    }

    fn looked(&mut self, look: Look) -> &mut Self {
        self.call(2, LOOK, named(), look)
    }

    fn gone(&mut self) -> &mut Self {
        self.looked(Look::default())
    }

    fn unfinished(&mut self, finalizer: &str) -> &mut Self {
        let request = Unfinish { name: "a".into(), uid: "u".into(), finalizer: finalizer.into() };
        self.call(1, UNFINISH, request, json!({}))
    }

    fn ended(&mut self) -> &mut Self {
        self.call(1, END, End { name: "a".into(), uid: "u".into() }, json!({}))
    }
}

#[test]
fn an_object_that_waits_for_its_finalizers_is_good() {
    let mut scene = Scene::new();
    scene.gone().made().ended().looked(seen(3, &["x", "y"], Some("t"))).unfinished("x").looked(seen(4, &["y"], Some("t")));
    scene.unfinished("y").gone();
    valid(&check(&scene.history()));
}

#[test]
fn an_object_that_goes_too_soon_or_by_itself_is_bad() {
    let mut soon = Scene::new();
    soon.made().ended().unfinished("x").gone();
    invalid(&check(&soon.history()), "nobody had taken its finalizer y away");
    let mut alone = Scene::new();
    alone.made().unfinished("x").unfinished("y").gone();
    invalid(&check(&alone.history()), "nobody had deleted it");
    // Its name may be somebody else's by then.
    let mut other = Scene::new();
    other.made().looked(Look { uid: "v".into(), ..seen(9, &["x"], None) });
    invalid(&check(&other.history()), "is gone, and nobody had deleted it");
}

#[test]
fn a_deletion_that_is_taken_back_is_bad() {
    let mut back = Scene::new();
    back.made().looked(seen(3, &["x", "y"], Some("t"))).looked(seen(4, &["x", "y"], None));
    invalid(&check(&back.history()), "was deleted at Some(\"t\"), and later at None");
    let mut forgotten = Scene::new();
    forgotten.made().ended().looked(seen(2, &["x", "y"], None));
    invalid(&check(&forgotten.history()), "was deleted, and is not being deleted");
    let mut again = Scene::new();
    again.made().unfinished("x").looked(seen(3, &["y"], None)).looked(seen(4, &["x", "y"], None));
    invalid(&check(&again.history()), "has the finalizer x again");
}

#[test]
fn an_object_that_should_be_gone_is_bad() {
    let mut there = Scene::new();
    there.made().ended().unfinished("x").unfinished("y").looked(seen(5, &[], Some("t")));
    invalid(&check(&there.history()), "has no finalizers, and is there");
    let mut kept = Scene::new();
    kept.made().ended().unfinished("x").looked(seen(3, &["x", "y"], Some("t")));
    invalid(&check(&kept.history()), "x, which was taken away");
}
