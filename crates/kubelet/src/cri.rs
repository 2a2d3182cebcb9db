//! The Container Runtime Interface as the kubelet calls it: every call has a deadline, every error names its object.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};
use tricorn_proto::cri::{self, image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient};

use crate::error::{Error, Result};

const QUICK: Duration = Duration::from_secs(30);
const SLOW: Duration = Duration::from_secs(240);
const PULL: Duration = Duration::from_secs(900);
const MESSAGE_LIMIT_BYTES: usize = 16 << 20;

/// A handle on the runtime. Cheap to clone; it connects when first used and again after the runtime was restarted.
#[derive(Debug, Clone)]
pub struct Cri {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

async fn call<T>(
    operation: &'static str,
    object: &str,
    limit: Duration,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T> {
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Error::runtime(operation, object)(status)),
        Err(_) => Err(Error::Deadline { operation, object: object.to_owned(), limit }),
    }
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($client:ident, $request:ident) -> $response:ident, $operation:literal, $limit:ident;)*) => {
        $($(#[$doc])*
        pub async fn $name(&self, object: &str, request: cri::$request) -> Result<cri::$response> {
            let mut client = self.$client.clone();
            call($operation, object, $limit, client.$name(request)).await
        })*
    };
}

impl Cri {
    /// A client of the runtime behind a Unix socket.
    pub fn new(socket: &Path) -> Self {
        let socket: PathBuf = socket.to_path_buf();
        // The address is never resolved: the connector below ignores it.
        let channel = Endpoint::from_static("http://containerd.invalid").connect_with_connector_lazy(tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
        }));
        Self {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_LIMIT_BYTES),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT_BYTES),
        }
    }

    calls! {
        /// Name and version of the runtime.
        version(runtime, VersionRequest) -> VersionResponse, "ask version of", QUICK;
        /// Conditions of the runtime: RuntimeReady and NetworkReady.
        status(runtime, StatusRequest) -> StatusResponse, "ask status of", QUICK;
        /// Creates and starts a pod sandbox.
        run_pod_sandbox(runtime, RunPodSandboxRequest) -> RunPodSandboxResponse, "create sandbox for pod", SLOW;
        /// Stops a sandbox and takes its network down.
        stop_pod_sandbox(runtime, StopPodSandboxRequest) -> StopPodSandboxResponse, "stop sandbox", SLOW;
        /// Removes a sandbox and its containers.
        remove_pod_sandbox(runtime, RemovePodSandboxRequest) -> RemovePodSandboxResponse, "remove sandbox", SLOW;
        /// State and addresses of a sandbox.
        pod_sandbox_status(runtime, PodSandboxStatusRequest) -> PodSandboxStatusResponse, "ask status of sandbox", QUICK;
        /// Sandboxes that match a filter.
        list_pod_sandbox(runtime, ListPodSandboxRequest) -> ListPodSandboxResponse, "list sandboxes of", QUICK;
        /// Creates a container in a sandbox.
        create_container(runtime, CreateContainerRequest) -> CreateContainerResponse, "create container", SLOW;
        /// Starts a created container.
        start_container(runtime, StartContainerRequest) -> StartContainerResponse, "start container", SLOW;
        /// Removes a container.
        remove_container(runtime, RemoveContainerRequest) -> RemoveContainerResponse, "remove container", SLOW;
        /// Containers that match a filter.
        list_containers(runtime, ListContainersRequest) -> ListContainersResponse, "list containers of", QUICK;
        /// State of a container.
        container_status(runtime, ContainerStatusRequest) -> ContainerStatusResponse, "ask status of container", QUICK;
        /// What containers use.
        list_container_stats(runtime, ListContainerStatsRequest) -> ListContainerStatsResponse, "list container stats of", QUICK;
        /// Reopens a container's log file after rotation.
        reopen_container_log(runtime, ReopenContainerLogRequest) -> ReopenContainerLogResponse, "reopen log of container", QUICK;
        /// Prepares a streaming exec.
        exec(runtime, ExecRequest) -> ExecResponse, "exec in container", QUICK;
        /// Prepares a streaming attach.
        attach(runtime, AttachRequest) -> AttachResponse, "attach to container", QUICK;
        /// Prepares a port-forward.
        port_forward(runtime, PortForwardRequest) -> PortForwardResponse, "forward ports of sandbox", QUICK;
        /// All images.
        list_images(images, ListImagesRequest) -> ListImagesResponse, "list images of", QUICK;
        /// One image, if it is there.
        image_status(images, ImageStatusRequest) -> ImageStatusResponse, "ask status of image", QUICK;
        /// Pulls an image.
        pull_image(images, PullImageRequest) -> PullImageResponse, "pull image", PULL;
        /// What images take on disk.
        image_fs_info(images, ImageFsInfoRequest) -> ImageFsInfoResponse, "ask image file system of", QUICK;
    }

    /// Stops a container: its stop signal, then SIGKILL after `grace`.
    pub async fn stop_container(&self, id: &str, grace: Duration) -> Result<()> {
        let request = cri::StopContainerRequest { container_id: id.to_owned(), timeout: grace.as_secs() as i64 };
        let mut client = self.runtime.clone();
        call("stop container", id, grace + SLOW, client.stop_container(request)).await.map(drop)
    }

    /// Runs a command in a container to its end: exit code, standard output, standard error.
    pub async fn exec_sync(&self, id: &str, command: &[String], limit: Duration) -> Result<cri::ExecSyncResponse> {
        let request =
            cri::ExecSyncRequest { container_id: id.to_owned(), cmd: command.to_vec(), timeout: limit.as_secs_f64().ceil() as i64 };
        let mut client = self.runtime.clone();
        call("exec in container", id, limit + Duration::from_secs(10), client.exec_sync(request)).await
    }

    /// Whether an image is there, by any of its names.
    pub async fn image(&self, name: &str) -> Result<Option<cri::Image>> {
        let request =
            cri::ImageStatusRequest { image: Some(cri::ImageSpec { image: name.to_owned(), ..Default::default() }), verbose: false };
        Ok(self.image_status(name, request).await?.image)
    }
}
