//! What upstream's conformance suite asks of an API server without a kubelet, asked of ours.
//!
//! One server is started. Every kind that its discovery lists goes through the same walk (`walk/`), with the objects of
//! `samples.yaml`; beside that the areas of the API have lives of their own (`lives/`). Everything that is wrong is told at once.
//! `TRICORN_CONFORMANCE` picks cases whose names hold it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod api;
mod case;
mod discovery;
mod gaps;
mod lives;
mod samples;
mod walk;

use futures::StreamExt;
use futures::future::LocalBoxFuture;
use serde_json::json;
use tricorn_e2e::LoneServer;

use api::Api;
use case::Case;
use walk::Subject;

/// This many cases run at a time.
const AT_ONCE: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_conforms() {
    let server = LoneServer::start().await;
    let api = Api::new(server.client().await);
    let chosen = std::env::var("TRICORN_CONFORMANCE").unwrap_or_default();
    let begun = std::time::Instant::now();
    lives::custom::define(&api).await;
    let (samples, kinds) = (samples::read(), discovery::kinds(&api).await);
    let mut cases: Vec<LocalBoxFuture<'_, Case>> = Vec::new();
    for kind in kinds.iter().filter(|kind| kind.id().contains(&chosen)) {
        cases.push(Box::pin(walked(&api, kind, samples.get(&kind.id()))));
    }
    cases.extend(lives::all(&api).into_iter().filter(|(name, _)| name.contains(&chosen)).map(|(_, life)| life));
    let count = cases.len();
    let mut done: Vec<Case> = futures::stream::iter(cases).buffer_unordered(AT_ONCE).collect().await;
    if "what is forgotten".contains(&chosen) {
        // Alone, since it takes the past away from all others.
        done.push(lives::forgotten::life(&api, &server).await);
    }
    eprintln!("{} kinds in discovery, {count} cases in {:.1?}", kinds.len(), begun.elapsed());
    let mut failures: Vec<String> = done.iter().flat_map(Case::failures).collect();
    failures.sort();
    let (known, mut failures): (Vec<String>, Vec<String>) = failures.into_iter().partition(|failure| gaps::of(failure).is_some());
    for failure in &known {
        let reason = gaps::of(failure).map(|at| gaps::GAPS[at].2).unwrap_or_default();
        eprintln!("known, since {reason}: {}", failure.chars().take(120).collect::<String>());
    }
    for (at, (case, words, _)) in gaps::GAPS.iter().enumerate().filter(|(_, (case, ..))| case.contains(&chosen)) {
        if !known.iter().any(|failure| gaps::of(failure) == Some(at)) {
            failures.push(format!("{case}: {words:?} is listed in gaps.rs, and is not missing any more"));
        }
    }
    assert!(failures.is_empty(), "{} things are not as upstream has them:\n{}", failures.len(), failures.join("\n"));
}

async fn walked(api: &Api, kind: &discovery::Kind, sample: Option<&samples::Sample>) -> Case {
    let case = Case::new(kind.id());
    let Some(sample) = sample else {
        case.fail("samples.yaml has no object of this kind");
        return case;
    };
    let namespace = format!("walk-{}", kind.id().replace(['/', '.'], "-"));
    if kind.namespaced {
        namespaced(api, &case, &namespace).await;
    }
    walk::walk(&Subject { api, case: &case, kind, sample, namespace }).await;
    case
}

/// A namespace in which pods may be made, and to which nothing comes by itself any more.
async fn namespaced(api: &Api, case: &Case, namespace: &str) {
    let made = api.post("/api/v1/namespaces", &json!({"metadata": {"name": namespace}})).await;
    case.code("a namespace is created", &made, 201);
    for given in ["serviceaccounts/default", "configmaps/kube-root-ca.crt"] {
        let path = format!("/api/v1/namespaces/{namespace}/{given}");
        case.soon(&format!("the namespace has its {given}"), async || match api.get(&path).await.code {
            200 => Ok(()),
            code => Err(code),
        })
        .await;
    }
}
