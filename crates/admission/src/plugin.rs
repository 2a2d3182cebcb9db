//! One plugin of the chain.

use async_trait::async_trait;
use tricorn_meta::Status;

use crate::{Objects, Request};

/// A plugin. The two questions are asked first and must be cheap: most requests concern few plugins.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// Upstream's name for it.
    fn name(&self) -> &'static str;

    /// Whether [`Plugin::mutate`] has anything to do.
    fn mutates(&self, _request: &Request<'_>) -> bool {
        false
    }

    /// Whether [`Plugin::validate`] has anything to do.
    fn validates(&self, _request: &Request<'_>) -> bool {
        false
    }

    /// Completes the object, or refuses it.
    async fn mutate(&self, _request: &mut Request<'_>, _objects: &dyn Objects) -> Result<(), Status> {
        Ok(())
    }

    /// Refuses what must not be stored. Changes nothing but the warnings.
    async fn validate(&self, _request: &mut Request<'_>, _objects: &dyn Objects) -> Result<(), Status> {
        Ok(())
    }
}
