//! The ConfigMaps of one run and what is done to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::core::Request;
use kube::{Api, Client, Resource};
use rand::Rng;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::{ApiArgs, ApiLoad};

/// Objects a page.
const PAGE: u32 = 500;
/// One of so many objects has the label that is selected.
const PARTS: u64 = 10;
/// All objects of a run have it; its value is the run's name.
const RUN: &str = "tricorn-bench-run";
const PART: &str = "tricorn-bench-part";

/// The numbers of a load's operations, each given out once.
pub(super) struct Numbers {
    next: AtomicU64,
    end: u64,
}

impl Numbers {
    pub fn up_to(end: u64) -> Self {
        Self { next: AtomicU64::new(0), end }
    }

    pub fn next(&self) -> Option<u64> {
        Some(self.next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < self.end)
    }
}

/// A list of which nobody reads the items: what reading costs would be the client's, not the server's.
#[derive(Deserialize)]
struct Page {
    metadata: ListMeta,
    items: Vec<IgnoredAny>,
}

/// The part of an object that a watch looks at.
#[derive(Clone, Deserialize)]
struct Touched {
    #[serde(default)]
    data: TouchedData,
}

#[derive(Clone, Default, Deserialize)]
struct TouchedData {
    touched: Option<String>,
}

/// The moment that an event's object holds; nothing for objects that nobody stamped.
fn moment(event: kube::Result<WatchEvent<Touched>>) -> Option<Result<Duration>> {
    match event {
        Ok(WatchEvent::Modified(object)) => object.data.touched?.parse().ok().map(|micros| Ok(Duration::from_micros(micros))),
        Ok(WatchEvent::Error(status)) => Some(Err(anyhow!("the watch ended: {}", status.message))),
        Ok(_) => None,
        Err(error) => Some(Err(error.into())),
    }
}

/// The objects as one client sees them.
#[derive(Clone)]
pub(super) struct Objects {
    client: Client,
    api: Api<ConfigMap>,
    namespace: String,
    /// Begins the name of each.
    run: Arc<str>,
    count: u64,
    value_bytes: usize,
    /// Each as it was last seen.
    known: Arc<[ConfigMap]>,
}

impl Objects {
    pub fn new(client: Client, run: &str, args: &ApiArgs) -> Self {
        Self {
            api: Api::namespaced(client.clone(), &args.namespace),
            client,
            namespace: args.namespace.clone(),
            run: run.into(),
            count: args.total,
            value_bytes: args.value_size,
            known: Arc::default(),
        }
    }

    /// The same, once they have been looked at.
    pub fn knowing(&self, known: Arc<[ConfigMap]>) -> Self {
        Self { known, ..self.clone() }
    }

    /// All objects of the run, as they are now.
    pub async fn look(&self) -> Result<Arc<[ConfigMap]>> {
        let all = ListParams::default().labels(&format!("{RUN}={}", self.run));
        Ok(self.api.list(&all).await.context("look at the objects")?.items.into())
    }

    /// One operation of a load, with the number that it has in it.
    pub async fn operation(&self, load: ApiLoad, number: u64) -> Result<()> {
        let name = self.name(number);
        match load {
            ApiLoad::Create => drop(self.api.create(&PostParams::default(), &self.object(number)).await?),
            ApiLoad::Get => drop(self.api.get(&name).await?),
            ApiLoad::List => self.list(ListParams::default(), self.count).await?,
            ApiLoad::ListPaged => self.list(ListParams::default().limit(PAGE), self.count).await?,
            ApiLoad::ListSelected => {
                let selector = format!("{RUN}={},{PART}=0", self.run);
                self.list(ListParams::default().labels(&selector), self.count.div_ceil(PARTS)).await?;
            }
            ApiLoad::Update => self.update(number).await?,
            ApiLoad::Patch | ApiLoad::Watch => self.patch(number, "true").await?,
            ApiLoad::Mixed => {
                let (turn, number) = (rand::rng().random_range(0..4), rand::rng().random_range(0..self.count.max(1)));
                match turn {
                    0 => self.patch(number, "again").await?,
                    _ => drop(self.api.get(&self.name(number)).await?),
                }
            }
            ApiLoad::Delete => drop(self.api.delete(&name, &DeleteParams::default()).await?),
        }
        Ok(())
    }

    fn name(&self, number: u64) -> String {
        format!("{}-{number}", self.run)
    }

    fn object(&self, number: u64) -> ConfigMap {
        let labels = [(RUN.to_owned(), self.run.to_string()), (PART.to_owned(), (number % PARTS).to_string())];
        let metadata = ObjectMeta { name: Some(self.name(number)), labels: Some(labels.into()), ..ObjectMeta::default() };
        let data = [("data".to_owned(), "x".repeat(self.value_bytes))];
        ConfigMap { metadata, data: Some(data.into()), ..ConfigMap::default() }
    }

    /// Merges one field into an object. Watches tell when that was, if it says so in microseconds.
    pub async fn patch(&self, number: u64, touched: &str) -> Result<()> {
        let patch = Patch::Merge(json!({ "data": { "touched": touched } }));
        self.api.patch(&self.name(number), &PatchParams::default(), &patch).await?;
        Ok(())
    }

    async fn update(&self, number: u64) -> Result<()> {
        let known =
            usize::try_from(number).ok().and_then(|number| self.known.get(number)).context("an object that was made is not there")?;
        let mut object = known.clone();
        object.data.get_or_insert_default().insert("updated".to_owned(), "true".to_owned());
        let name = object.metadata.name.clone().context("an object without a name")?;
        self.api.replace(&name, &PostParams::default(), &object).await?;
        Ok(())
    }

    /// Lists to the end, page by page where there is a limit; `least` must be in it.
    async fn list(&self, mut params: ListParams, least: u64) -> Result<()> {
        let request = self.request();
        let mut found = 0;
        loop {
            let page: Page = self.client.request(request.list(&params)?).await?;
            found += page.items.len() as u64;
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None if found < least => bail!("a list holds {found} of {least} objects"),
                None => return Ok(()),
            }
        }
    }

    /// When that was written which a new watch of the namespace tells of, counted as its writer counts.
    pub async fn watch(&self, version: &str) -> Result<impl Stream<Item = Result<Duration>> + Send + use<>> {
        let params = WatchParams { bookmarks: false, ..WatchParams::default() };
        let events = self.client.request_events::<Touched>(self.request().watch(&params, version)?).await.context("open a watch")?;
        Ok(events.filter_map(|event| std::future::ready(moment(event))))
    }

    /// The version that the namespace's objects have now.
    pub async fn version(&self) -> Result<String> {
        let page: Page = self.client.request(self.request().list(&ListParams::default().limit(1))?).await?;
        page.metadata.resource_version.context("a list without a resourceVersion")
    }

    fn request(&self) -> Request {
        Request::new(ConfigMap::url_path(&(), Some(&self.namespace)))
    }
}
