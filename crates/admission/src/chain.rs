//! The plugins in their order.

use std::sync::Arc;

use async_trait::async_trait;
use tricorn_meta::Status;

use crate::{Objects, Plugin, Request, plugins};

/// Texts for `Warning` headers.
pub type Warnings = Vec<String>;

/// Admission from outside the chain: policies and webhooks, called by the API server.
#[async_trait]
pub trait External: Send + Sync {
    /// Mutating policies, then mutating webhooks.
    async fn mutate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status>;

    /// Validating policies, then validating webhooks.
    async fn validate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status>;
}

/// The admission chain.
pub struct Chain {
    plugins: Vec<Box<dyn Plugin>>,
    external: Option<Arc<dyn External>>,
    /// Runs after everything else, so that nothing is charged for what is refused.
    last: Vec<Box<dyn Plugin>>,
}

impl Chain {
    /// A chain without plugins.
    pub fn empty() -> Self {
        Self { plugins: Vec::new(), external: None, last: Vec::new() }
    }

    /// The plugins that upstream enables by default, in upstream's order.
    pub fn builtin() -> Self {
        Self { plugins: plugins::default_plugins(), external: None, last: vec![Box::new(plugins::ResourceQuota::default())] }
    }

    /// Adds policies and webhooks.
    pub fn with_external(mut self, external: Arc<dyn External>) -> Self {
        self.external = Some(external);
        self
    }

    /// Adds a plugin behind those that are there, before policies and webhooks.
    pub fn with_plugin(mut self, plugin: Box<dyn Plugin>) -> Self {
        self.plugins.push(plugin);
        self
    }

    /// Leaves out the plugins of these names, as `--disable-admission-plugins` asks.
    pub fn without(mut self, names: &[&str]) -> Self {
        self.plugins.retain(|p| !names.contains(&p.name()));
        self.last.retain(|p| !names.contains(&p.name()));
        self
    }

    /// Names of the plugins, in order.
    pub fn names(&self) -> Vec<&'static str> {
        self.plugins.iter().chain(&self.last).map(|p| p.name()).collect()
    }

    /// The first half: completes the object.
    pub async fn mutate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        for plugin in self.plugins.iter().chain(&self.last) {
            if plugin.mutates(request) {
                plugin.mutate(request, objects).await?;
            }
        }
        match &self.external {
            Some(external) => external.mutate(request, objects).await,
            None => Ok(()),
        }
    }

    /// The second half, after schema validation: refuses what must not be stored.
    pub async fn validate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        for plugin in &self.plugins {
            if plugin.validates(request) {
                plugin.validate(request, objects).await?;
            }
        }
        if let Some(external) = &self.external {
            external.validate(request, objects).await?;
        }
        for plugin in &self.last {
            if plugin.validates(request) {
                plugin.validate(request, objects).await?;
            }
        }
        Ok(())
    }

    /// Both halves; answers the warnings.
    pub async fn admit(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<Warnings, Status> {
        self.mutate(request, objects).await?;
        self.validate(request, objects).await?;
        Ok(std::mem::take(&mut request.warnings))
    }
}
