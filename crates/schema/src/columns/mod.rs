//! How objects are listed: the columns that `kubectl get` prints for each kind, those of `-o wide` with a priority above 0.

mod access;
mod cell;
mod cluster;
mod describe;
mod event;
mod network;
mod node;
mod pod;
mod storage;
mod workload;

use serde_json::{Value, json};
use tricorn_meta::Timestamp;

use cell::{Cell, Column, col};

/// The objects as a `meta.k8s.io/v1` Table. Its rows carry no objects: the caller adds those that were asked for.
pub fn table(group: &str, kind: &str, objects: &[&Value], now: Timestamp) -> Value {
    let columns = columns(group, kind);
    let texts = describe::texts(group, kind);
    let definitions: Vec<Value> = columns.iter().map(|column| column.definition(&texts)).collect();
    let is_pod = (group, kind) == ("", "Pod");
    let rows: Vec<Value> = objects.iter().map(|object| row(columns, is_pod, object, now)).collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": definitions, "rows": rows})
}

/// One object's row.
fn row(columns: &[Column], is_pod: bool, object: &Value, now: Timestamp) -> Value {
    let cells: Vec<Value> = columns.iter().map(|column| column.cell(object, now)).collect();
    match is_pod.then(|| pod::ended(object)).flatten() {
        Some(condition) => json!({"cells": cells, "conditions": [condition]}),
        None => json!({"cells": cells}),
    }
}

/// What is printed of a kind nobody thought of.
const OTHERS: &[Column] = &[col("Name", Cell::Name), col("Created At", Cell::Created)];

fn columns(group: &str, kind: &str) -> &'static [Column] {
    match (group, kind) {
        ("", "Pod") => pod::POD,
        ("", "PodTemplate") => workload::POD_TEMPLATE,
        ("apps", "Deployment") => workload::DEPLOYMENT,
        ("", "ReplicationController") | ("apps", "ReplicaSet") => workload::REPLICAS,
        ("apps", "StatefulSet") => workload::STATEFUL_SET,
        ("apps", "DaemonSet") => workload::DAEMON_SET,
        ("apps", "ControllerRevision") => workload::CONTROLLER_REVISION,
        ("batch", "Job") => workload::JOB,
        ("batch", "CronJob") => workload::CRON_JOB,
        ("autoscaling", "HorizontalPodAutoscaler") => workload::AUTOSCALER,
        ("autoscaling", "Scale") => workload::SCALE,
        ("policy", "PodDisruptionBudget") => workload::BUDGET,
        ("", "Service") => network::SERVICE,
        ("", "Endpoints") => network::ENDPOINTS,
        ("discovery.k8s.io", "EndpointSlice") => network::SLICE,
        ("networking.k8s.io", "Ingress") => network::INGRESS,
        ("networking.k8s.io", "IngressClass") => network::INGRESS_CLASS,
        ("networking.k8s.io", "NetworkPolicy") => network::POLICY,
        ("networking.k8s.io", "ServiceCIDR") => network::SERVICE_CIDR,
        ("networking.k8s.io", "IPAddress") => network::IP_ADDRESS,
        ("", "Node") => node::NODE,
        ("" | "events.k8s.io", "Event") => event::EVENT,
        ("", "PersistentVolume") => storage::VOLUME,
        ("", "PersistentVolumeClaim") => storage::CLAIM,
        ("storage.k8s.io", "StorageClass") => storage::CLASS,
        ("storage.k8s.io", "CSINode") => storage::CSI_NODE,
        ("storage.k8s.io", "CSIDriver") => storage::CSI_DRIVER,
        ("storage.k8s.io", "CSIStorageCapacity") => storage::CSI_CAPACITY,
        ("storage.k8s.io", "VolumeAttachment") => storage::ATTACHMENT,
        ("storage.k8s.io", "VolumeAttributesClass") => storage::ATTRIBUTES,
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => OTHERS,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => access::BINDING,
        ("certificates.k8s.io", "CertificateSigningRequest") => access::CSR,
        ("", "ServiceAccount") => access::SERVICE_ACCOUNT,
        ("", "Secret") => access::SECRET,
        _ => cluster::columns(group, kind).unwrap_or(OTHERS),
    }
}

#[cfg(test)]
mod tests;
