//! Users, and what they may do.

use super::{Scene, invalid, valid};
use crate::check::auth::{ACCESS, AUTH_REVISION, Access, PERMIT, Permit, Revision, Rights, Tried, check};
use serde_json::json;

const NONE: Rights = Rights { read: false, write: false };
const READ: Rights = Rights { read: true, write: false };
const WRITE: Rights = Rights { read: false, write: true };
const BOTH: Rights = Rights { read: true, write: true };

fn permit(rights: Rights) -> Permit {
    Permit { user: "u".into(), rights, how: String::new() }
}

fn access(needs: Option<Rights>, value: &str) -> Access {
    Access { user: "u".into(), what: "try".into(), needs, value: value.into() }
}

impl Scene {
    fn permitted(&mut self, rights: Rights) -> &mut Self {
        self.call(0, PERMIT, permit(rights), json!({}))
    }

    fn reads(&mut self, allowed: bool, seen: &[&str]) -> &mut Self {
        let seen = seen.iter().map(|value| (*value).to_owned()).collect();
        self.call(1, ACCESS, access(Some(READ), ""), Tried { allowed, seen })
    }

    fn writes(&mut self, allowed: bool, value: &str) -> &mut Self {
        self.call(2, ACCESS, access(Some(WRITE), value), Tried { allowed, seen: Vec::new() })
    }

    fn auth_revision(&mut self, revision: u64) -> &mut Self {
        self.call(0, AUTH_REVISION, json!({}), Revision { revision })
    }
}

#[test]
fn rights_that_are_kept_are_good() {
    let mut scene = Scene::new();
    scene.reads(false, &[]).auth_revision(3).permitted(BOTH).auth_revision(4).writes(true, "a").reads(true, &["a"]);
    scene.permitted(READ).writes(false, "b").reads(true, &["a"]).permitted(WRITE).reads(false, &[]).writes(true, "c");
    // While it is changed either may be so.
    scene.invoke(0, PERMIT, permit(BOTH)).reads(true, &["c"]).reads(false, &[]).ok(0, PERMIT, json!({})).reads(true, &["c"]);
    // And ever after when nobody knows.
    scene.invoke(0, PERMIT, permit(NONE)).info(0, PERMIT).reads(false, &[]).reads(true, &["c"]).auth_revision(7);
    valid(&check(&scene.history()));
}

#[test]
fn what_was_revoked_is_refused_and_what_was_granted_is_not() {
    let mut late = Scene::new();
    late.permitted(BOTH).permitted(NONE).reads(true, &[]);
    invalid(&check(&late.history()), "u was allowed to try");
    let mut denied = Scene::new();
    denied.permitted(READ).reads(false, &[]);
    invalid(&check(&denied.history()), "u was denied to try");
    let mut never = Scene::new();
    never.permitted(BOTH).call(1, ACCESS, access(None, ""), Tried { allowed: true, seen: Vec::new() });
    invalid(&check(&never.history()), "u was allowed to try");
    let mut failed = Scene::new();
    failed.invoke(0, PERMIT, permit(READ)).fail(0, PERMIT).reads(true, &[]);
    invalid(&check(&failed.history()), "u was allowed to try");
}

#[test]
fn a_refusal_shows_nothing_and_writes_nothing() {
    let mut leak = Scene::new();
    leak.reads(false, &["a"]);
    invalid(&check(&leak.history()), "u was denied to try, and shown");
    let mut written = Scene::new();
    written.permitted(READ).writes(false, "a").reads(true, &["a"]);
    invalid(&check(&written.history()), "a was refused, and yet u saw it");
}

#[test]
fn the_revision_of_users_rises() {
    let mut back = Scene::new();
    back.auth_revision(4).auth_revision(3);
    invalid(&check(&back.history()), "was 4, and 3");
    let mut still = Scene::new();
    still.auth_revision(4).permitted(READ).auth_revision(4);
    invalid(&check(&still.history()), "was 4, and 4 after 1 changes");
}
