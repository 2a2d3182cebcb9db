//! Servers of the Kubernetes API, each on a host of its own, and a client of one of them.

use super::{Builds, Failure, GroupOptions, System};
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::client::{Body, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Config};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tricorn_testbed::{Cluster, ClusterConfig, Silent, StateFile};

const PORT: u16 = 6443;
const CONNECT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(4);
/// Where everything happens.
const NAMESPACE: &str = "jepsen";

/// Servers without workers.
pub struct ApiGroup {
    cluster: Cluster,
    builds: Option<Builds>,
    names: Vec<String>,
}

/// A client of one server.
#[derive(Clone)]
pub struct ApiClient {
    /// The server.
    pub node: String,
    /// The objects that most workloads work on.
    pub objects: Api<ConfigMap>,
    client: kube::Client,
}

impl ApiGroup {
    /// Starts servers in `dir` and waits until each is ready.
    pub async fn start(dir: &Path, options: &GroupOptions) -> Result<Self> {
        let (true, Some(binary)) = (options.program.shimmed, options.program.command.first()) else {
            bail!("{} serves no Kubernetes API: this needs tricorn", options.program.name);
        };
        let (builds, servers) = (options.builds()?, options.members);
        let mut config = ClusterConfig::new(dir, binary);
        (config.servers, config.workers, config.api_port, config.subnet) = (servers, 0, 0, options.subnet);
        let cluster = Cluster::start(config, &Silent).await?;
        let names = (1..=servers).map(|number| format!("s{number}")).collect();
        let group = Self { cluster, builds, names };
        let client = group.connect("s1").await?;
        let namespace =
            Namespace { metadata: kube::api::ObjectMeta { name: Some(NAMESPACE.into()), ..Default::default() }, ..Default::default() };
        Api::<Namespace>::all(client).create(&PostParams::default(), &namespace).await.context("make the namespace")?;
        Ok(group)
    }

    async fn connect(&self, name: &str) -> Result<kube::Client> {
        let address = SocketAddr::from((self.file().read()?.host(name)?.address, PORT));
        let kubeconfig = Kubeconfig::read_from(self.cluster.kubeconfig()).context("read the kubeconfig")?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.cluster_url = format!("https://{address}").parse().context("make a server's URL")?;
        let dialer = self.cluster.dialer().clone();
        let connect = tower::service_fn(move |_: http::Uri| {
            let dialer = dialer.clone();
            async move { dialer.connect(address, CONNECT).await.map(TokioIo::new) }
        });
        let https = config.rustls_https_connector_with_connector(connect)?;
        let http: Http<_, Body> = Http::builder(TokioExecutor::new()).build(https);
        let service = tower::ServiceBuilder::new().layer(config.base_uri_layer()).service(http);
        Ok(kube::Client::new(service, NAMESPACE))
    }

    /// A client of one server.
    pub async fn client(&self, name: &str) -> Result<ApiClient> {
        let client = self.connect(name).await?;
        Ok(ApiClient { node: name.to_owned(), objects: Api::namespaced(client.clone(), NAMESPACE), client })
    }
}

#[async_trait]
impl System for ApiGroup {
    fn program(&self) -> &str {
        "tricorn-server"
    }

    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn file(&self) -> &StateFile {
        self.cluster.file()
    }

    fn builds(&self) -> Option<&Builds> {
        self.builds.as_ref()
    }

    async fn leader(&self) -> Option<String> {
        tricorn_testbed::status(self.file()).await.ok()?.leader
    }

    async fn answers(&self, name: &str) -> Result<(), Failure> {
        let client = self.client(name).await.map_err(|error| Failure::Not(format!("{error:#}")))?;
        client.list().await.map(drop)
    }

    fn api(&self) -> Option<&ApiGroup> {
        Some(self)
    }
}

/// What an error says about whether something happened.
fn failure(error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) if status.code < 500 => Failure::Not(format!("{} {}", status.code, status.reason)),
        error => Failure::Unknown(error.to_string()),
    }
}

/// Waits for the answer to something that changes what there is.
pub async fn within<T>(asked: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(answer) => answer.map_err(|error| failure(&error)),
        Err(_) => Err(Failure::Unknown(format!("no answer within {ANSWER:?}"))),
    }
}

/// A read that got no answer has certainly done nothing.
pub fn of_read<T>(answer: Result<T, Failure>) -> Result<T, Failure> {
    answer.map_err(|failure| Failure::Not(failure.to_string()))
}

/// The resourceVersion of an object.
pub fn version(object: &impl kube::Resource) -> i64 {
    object.meta().resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

impl ApiClient {
    /// The objects of another kind, where everything happens.
    pub fn of<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Reads an object, and not from the past.
    pub async fn get(&self, name: &str) -> Result<Option<ConfigMap>, Failure> {
        of_read(within(self.objects.get_opt(name)).await)
    }

    /// All objects, and not from the past, with the list's resourceVersion.
    pub async fn list(&self) -> Result<(i64, Vec<ConfigMap>), Failure> {
        let list = of_read(within(self.objects.list(&ListParams::default())).await)?;
        let revision = list.metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok((revision, list.items))
    }

    /// Makes an object.
    pub async fn create(&self, object: &ConfigMap) -> Result<ConfigMap, Failure> {
        within(self.objects.create(&PostParams::default(), object)).await
    }

    /// Replaces an object, if it is still of the version that is named in it.
    pub async fn replace(&self, name: &str, object: &ConfigMap) -> Result<ConfigMap, Failure> {
        within(self.objects.replace(name, &PostParams::default(), object)).await
    }

    /// Deletes an object.
    pub async fn delete(&self, name: &str) -> Result<(), Failure> {
        within(self.objects.delete(name, &DeleteParams::default())).await.map(drop)
    }

    /// Applies an object as `manager`.
    pub async fn apply(&self, name: &str, manager: &str, object: &ConfigMap) -> Result<ConfigMap, Failure> {
        within(self.objects.patch(name, &PatchParams::apply(manager), &Patch::Apply(object))).await
    }
}
