//! DefaultIngressClass: an ingress that names no class gets the default one.

use async_trait::async_trait;
use tricorn_meta::Status;

use super::default_storage_class::newest_default;
use crate::{Objects, Plugin, Request};

const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
const OLD_CLASS: &str = "kubernetes.io/ingress.class";

/// See the module.
pub struct DefaultIngressClass;

#[async_trait]
impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn mutates(&self, request: &Request<'_>) -> bool {
        if !request.creates("networking.k8s.io", "ingresses") {
            return false;
        }
        let ingress = request.new_object();
        let class = ingress.pointer("/spec/ingressClassName").is_some_and(|c| !c.is_null());
        !class && ingress.pointer("/metadata/annotations").is_none_or(|a| a.get(OLD_CLASS).is_none())
    }

    async fn mutate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        let classes = objects.list("networking.k8s.io", "ingressclasses", "").await?;
        if let (Some(class), Some(ingress)) = (newest_default(&classes, &[IS_DEFAULT]), request.object.as_mut()) {
            tricorn_meta::json::set(ingress, "spec.ingressClassName", class);
        }
        Ok(())
    }
}
