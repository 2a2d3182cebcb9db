//! The plugins, one a file.

mod certificates;
mod default_ingress_class;
mod default_storage_class;
mod default_toleration_seconds;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod owner_references;
mod pod_security;
mod pod_topology_labels;
mod priority;
mod resource_quota;
mod runtime_class;
mod service_account;
mod storage_in_use;
mod taint_nodes;
mod volume_resize;

pub use certificates::{CertificateApproval, CertificateSigning, CertificateSubjectRestriction};
pub use default_ingress_class::DefaultIngressClass;
pub use default_storage_class::DefaultStorageClass;
pub use default_toleration_seconds::DefaultTolerationSeconds;
pub use limit_ranger::LimitRanger;
pub use namespace_lifecycle::NamespaceLifecycle;
pub use node_restriction::NodeRestriction;
pub use owner_references::OwnerReferencesPermissionEnforcement;
pub use pod_security::PodSecurity;
pub use pod_topology_labels::PodTopologyLabels;
pub use priority::Priority;
pub use resource_quota::ResourceQuota;
pub use runtime_class::RuntimeClass;
pub use service_account::ServiceAccount;
pub use storage_in_use::StorageObjectInUseProtection;
pub use taint_nodes::TaintNodesByCondition;
pub use volume_resize::PersistentVolumeClaimResize;

use crate::Plugin;

/// The plugins before policies and webhooks that upstream enables by default, in upstream's order.
pub(crate) fn default_plugins() -> Vec<Box<dyn Plugin>> {
    vec![
        Box::new(NamespaceLifecycle),
        Box::new(LimitRanger),
        Box::new(ServiceAccount::default()),
        Box::new(NodeRestriction),
        Box::new(TaintNodesByCondition),
        Box::new(PodSecurity),
        Box::new(Priority),
        Box::new(DefaultTolerationSeconds::default()),
        Box::new(DefaultStorageClass),
        Box::new(StorageObjectInUseProtection),
        Box::new(PersistentVolumeClaimResize),
        Box::new(RuntimeClass),
        Box::new(CertificateApproval),
        Box::new(CertificateSigning),
        Box::new(CertificateSubjectRestriction),
        Box::new(DefaultIngressClass),
        Box::new(PodTopologyLabels),
    ]
}
