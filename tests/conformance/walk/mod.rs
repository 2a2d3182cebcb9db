//! The life that every kind leads, whatever it is for: upstream's suite walks it for each kind in a test of its own.

mod actions;
mod collections;
mod creation;
mod deletion;
mod forms;
mod openapi;
mod patches;
mod scale;
mod status;
mod updates;
mod verbs;
mod watches;

use serde_json::Value;

use crate::api::{Answer, Api};
use crate::case::Case;
use crate::discovery::Kind;
use crate::samples::Sample;

/// One kind on its walk.
pub struct Subject<'a> {
    pub api: &'a Api,
    pub case: &'a Case,
    pub kind: &'a Kind,
    pub sample: &'a Sample,
    /// Its own, so that kinds that share their objects do not meet.
    pub namespace: String,
}

impl Subject<'_> {
    /// The path of all its objects, in its namespace.
    fn all(&self) -> String {
        self.kind.collection(&self.namespace)
    }

    /// The object of this number, before it is created.
    fn object(&self, number: usize) -> Value {
        self.sample.object(self.kind, &self.namespace, number)
    }

    fn name(&self, number: usize) -> String {
        self.object(number)["metadata"]["name"].as_str().unwrap_or_default().to_owned()
    }

    /// The path of the object of this number.
    fn one(&self, number: usize) -> String {
        format!("{}/{}", self.all(), self.name(number))
    }

    /// Creates the object of this number.
    async fn create(&self, number: usize) -> Answer {
        let answer = self.api.post(&self.all(), &self.object(number)).await;
        self.case.code(&format!("object {number} is created"), &answer, 201);
        answer
    }

    /// Deletes the object of this number and waits until it is gone.
    async fn remove(&self, number: usize) {
        self.api.delete(&self.one(number)).await;
        self.gone(number).await;
    }

    async fn gone(&self, number: usize) {
        let path = self.one(number);
        self.case
            .soon(&format!("object {number} is gone"), async || match self.api.get(&path).await {
                answer if answer.code == 404 => Ok(()),
                answer => Err(answer.body),
            })
            .await;
    }

    /// Whether the kind lets its objects be listed, made and changed like others.
    fn is_ordinary(&self) -> bool {
        ["create", "get", "list", "watch", "update", "patch", "delete"].iter().all(|verb| self.kind.has(verb))
    }
}

/// The whole walk.
pub async fn walk(subject: &Subject<'_>) {
    verbs::unlisted(subject).await;
    openapi::published(subject).await;
    if !subject.is_ordinary() {
        return Box::pin(actions::walk(subject)).await;
    }
    let begin = subject.api.get(&subject.all()).await.version();
    Box::pin(creation::walk(subject)).await;
    if subject.api.get(&subject.one(1)).await.code != 200 {
        return subject.case.fail("there is nothing to walk on with");
    }
    Box::pin(collections::walk(subject)).await;
    Box::pin(forms::walk(subject)).await;
    Box::pin(patches::walk(subject)).await;
    Box::pin(updates::walk(subject)).await;
    Box::pin(status::walk(subject)).await;
    Box::pin(scale::walk(subject)).await;
    Box::pin(deletion::walk(subject)).await;
    Box::pin(watches::walk(subject, &begin)).await;
}
