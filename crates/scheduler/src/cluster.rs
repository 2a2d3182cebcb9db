//! What is known of the cluster: nodes, and the pods on them, those on their way included.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use tricorn_client::Key;

use crate::pod_info::{HostPort, PodInfo};
use crate::resources::{Resources, scaled};
use crate::terms::Namespaces;

/// A node and what is on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeInfo {
    /// The node; none while only pods of it are known.
    pub(crate) node: Option<Arc<Node>>,
    pub(crate) allocatable: Resources,
    pub(crate) allowed_pods: i64,
    pub(crate) requested: Resources,
    pub(crate) estimated: Resources,
    pub(crate) pods: Vec<Arc<PodInfo>>,
    /// Those of the pods that have affinity terms of any kind.
    pub(crate) caring: Vec<Arc<PodInfo>>,
    pub(crate) ports: Vec<HostPort>,
    /// Sizes of the images that are there, in bytes, by name.
    pub(crate) images: HashMap<String, i64>,
}

impl NodeInfo {
    fn set_node(&mut self, node: Arc<Node>) {
        let status = node.status.as_ref();
        let allocatable = status.and_then(|status| status.allocatable.as_ref());
        self.allocatable = Resources::of(allocatable);
        self.allowed_pods = allocatable.and_then(|all| all.get("pods")).map_or(0, |pods| scaled(pods, 1));
        let images = status.and_then(|status| status.images.as_deref()).unwrap_or_default();
        let sizes = images.iter().flat_map(|image| {
            let size = image.size_bytes.unwrap_or(0);
            image.names.iter().flatten().map(move |name| (name.clone(), size))
        });
        self.images = sizes.collect();
        self.node = Some(node);
    }

    /// Puts a pod there.
    pub(crate) fn add(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.estimated.add(&pod.estimate);
        self.ports.extend(pod.ports.iter().cloned());
        if pod.cares_for_others() {
            self.caring.push(pod.clone());
        }
        self.pods.push(pod);
    }

    /// Takes a pod away.
    pub(crate) fn remove(&mut self, pod: &PodInfo) {
        let same = |other: &Arc<PodInfo>| other.namespace() == pod.namespace() && other.name() == pod.name();
        let Some(at) = self.pods.iter().position(same) else { return };
        let known = self.pods.swap_remove(at);
        self.caring.retain(|other| !same(other));
        self.requested.subtract(&known.requests);
        self.estimated.subtract(&known.estimate);
        for port in &known.ports {
            if let Some(at) = self.ports.iter().position(|taken| taken == port) {
                self.ports.swap_remove(at);
            }
        }
    }

    /// The node's name.
    pub(crate) fn name(&self) -> &str {
        self.node.as_ref().and_then(|node| node.metadata.name.as_deref()).unwrap_or("")
    }
}

/// The nodes with their pods. A clone shares everything until it is changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    nodes: BTreeMap<String, Arc<NodeInfo>>,
    places: HashMap<Key, (String, Arc<PodInfo>)>,
    /// Labels of the namespaces.
    pub(crate) namespaces: Arc<Namespaces>,
    /// How many nodes have pods with affinity terms, so that the search for them can be skipped.
    caring_pods: usize,
}

impl Cluster {
    /// Adds or changes a node.
    pub(crate) fn set_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone().unwrap_or_default();
        Arc::make_mut(self.nodes.entry(name).or_default()).set_node(node);
    }

    /// Forgets a node; its pods stay known until they are deleted.
    pub(crate) fn remove_node(&mut self, name: &str) {
        if let Some(info) = self.nodes.get_mut(name) {
            if info.pods.is_empty() {
                self.nodes.remove(name);
            } else {
                Arc::make_mut(info).node = None;
            }
        }
    }

    /// Puts a pod on a node, or changes it there, or moves it.
    pub(crate) fn place(&mut self, pod: Arc<PodInfo>, node: &str) {
        let key = Key::new(pod.namespace(), pod.name());
        self.remove_pod(&key);
        self.caring_pods += usize::from(pod.cares_for_others());
        Arc::make_mut(self.nodes.entry(node.to_owned()).or_default()).add(pod.clone());
        self.places.insert(key, (node.to_owned(), pod));
    }

    /// Takes a pod away; true if it was there.
    pub(crate) fn remove_pod(&mut self, key: &Key) -> bool {
        let Some((node, pod)) = self.places.remove(key) else { return false };
        self.caring_pods -= usize::from(pod.cares_for_others());
        if let Some(info) = self.nodes.get_mut(&node) {
            Arc::make_mut(info).remove(&pod);
            if info.node.is_none() && info.pods.is_empty() {
                self.nodes.remove(&node);
            }
        }
        true
    }

    /// The node that a pod is on, and the pod as it is known.
    pub(crate) fn place_of(&self, key: &Key) -> Option<(&str, &Arc<Pod>)> {
        self.places.get(key).map(|(node, pod)| (node.as_str(), &pod.pod))
    }

    /// The cluster as it would be with `node` in place of the one of that name. It cannot tell where pods are.
    pub(crate) fn with_node(&self, node: NodeInfo) -> Self {
        let mut nodes = self.nodes.clone();
        nodes.insert(node.name().to_owned(), Arc::new(node));
        Self { nodes, places: HashMap::new(), namespaces: self.namespaces.clone(), caring_pods: self.caring_pods }
    }

    /// The cluster as it would be with more pods on their nodes. It cannot tell where pods are.
    pub(crate) fn with_pods<'a>(&self, pods: impl Iterator<Item = (&'a String, &'a Arc<PodInfo>)>) -> Self {
        let nodes = self.nodes.clone();
        let mut all = Self { nodes, places: HashMap::new(), namespaces: self.namespaces.clone(), caring_pods: self.caring_pods };
        for (node, pod) in pods {
            if let Some(info) = all.nodes.get_mut(node) {
                all.caring_pods += usize::from(pod.cares_for_others());
                Arc::make_mut(info).add(pod.clone());
            }
        }
        all
    }

    /// All nodes that are there.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Arc<NodeInfo>> {
        self.nodes.values().filter(|info| info.node.is_some())
    }

    /// Whether any pod has affinity terms.
    pub(crate) fn has_caring_pods(&self) -> bool {
        self.caring_pods > 0
    }
}
