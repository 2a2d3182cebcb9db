//! What probes and hooks do: run a command in the container, ask over HTTP, TCP or gRPC, or sleep.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::cri::Cri;
use crate::pod::status::named_port;

/// Output of a probe that is kept for its event.
const OUTPUT_LIMIT_BYTES: usize = 10 << 10;

/// One action, with everything resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run a command in the container.
    Exec(Vec<String>),
    /// GET a URL.
    Http {
        /// Where to connect.
        address: String,
        /// TLS, without checking the certificate.
        tls: bool,
        /// Path and query.
        path: String,
        /// Value of the Host header.
        host: String,
        /// More headers.
        headers: Vec<(String, String)>,
    },
    /// Open a connection.
    Tcp(String),
    /// Ask the gRPC health service.
    Grpc {
        /// Where to connect.
        address: SocketAddr,
        /// Which service's health.
        service: String,
    },
    /// Wait.
    Sleep(Duration),
}

fn port(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => named_port(container, name).or_else(|| name.parse().ok()),
    };
    match number.map(u16::try_from) {
        Some(Ok(number)) if number > 0 => Ok(number),
        _ => Err(format!("invalid port {port:?}")),
    }
}

fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn http(get: &HTTPGetAction, container: &Container, address: IpAddr) -> Result<Action, String> {
    let port = port(container, &get.port)?;
    let host = get.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| address.to_string());
    let mut path = get.path.clone().unwrap_or_else(|| "/".into());
    if !path.starts_with('/') {
        path.insert(0, '/');
    }
    let address = join(&host, port);
    let headers: Vec<(String, String)> =
        get.http_headers.iter().flatten().map(|header| (header.name.clone(), header.value.clone())).collect();
    let own_host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")).map(|(_, value)| value.clone());
    Ok(Action::Http {
        host: own_host.unwrap_or_else(|| address.clone()),
        address,
        tls: get.scheme.as_deref() == Some("HTTPS"),
        path,
        headers,
    })
}

impl Action {
    /// A probe's action.
    pub fn of_probe(probe: &Probe, container: &Container, address: IpAddr) -> Result<Self, String> {
        if let Some(exec) = &probe.exec {
            Ok(Self::Exec(exec.command.clone().unwrap_or_default()))
        } else if let Some(get) = &probe.http_get {
            http(get, container, address)
        } else if let Some(socket) = &probe.tcp_socket {
            let host = socket.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| address.to_string());
            Ok(Self::Tcp(join(&host, port(container, &socket.port)?)))
        } else if let Some(grpc) = &probe.grpc {
            let port = u16::try_from(grpc.port).map_err(|_| format!("invalid port {}", grpc.port))?;
            Ok(Self::Grpc { address: SocketAddr::new(address, port), service: grpc.service.clone().unwrap_or_default() })
        } else {
            Err("missing probe handler".into())
        }
    }

    /// A lifecycle hook's action.
    pub fn of_hook(hook: &LifecycleHandler, container: &Container, address: IpAddr) -> Result<Self, String> {
        if let Some(exec) = &hook.exec {
            Ok(Self::Exec(exec.command.clone().unwrap_or_default()))
        } else if let Some(get) = &hook.http_get {
            http(get, container, address)
        } else if let Some(sleep) = &hook.sleep {
            Ok(Self::Sleep(Duration::from_secs(sleep.seconds.max(0) as u64)))
        } else {
            Err("invalid handler: neither exec, httpGet nor sleep".into())
        }
    }

    /// Runs it; an error says in what way it failed.
    pub async fn run(&self, cri: &Cri, container_id: &str, limit: Duration) -> Result<(), String> {
        let network = async {
            match self {
                Self::Http { address, tls, path, host, headers } => get(address, *tls, path, host, headers).await,
                Self::Tcp(address) => connect(address).await.map(drop),
                Self::Grpc { address, service } => grpc(*address, service).await,
                Self::Sleep(duration) => {
                    tokio::time::sleep(*duration).await;
                    Ok(())
                }
                Self::Exec(command) => exec(cri, container_id, command, limit).await,
            }
        };
        // A command's time is the runtime's to keep; it kills the process.
        let outer = if matches!(self, Self::Exec(_)) { limit + Duration::from_secs(15) } else { limit };
        match tokio::time::timeout(outer, network).await {
            Ok(result) => result,
            Err(_) => Err(match self {
                Self::Http { address, tls, path, .. } => format!(
                    "Get \"{}://{address}{path}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                    if *tls { "https" } else { "http" }
                ),
                Self::Tcp(address) => format!("dial tcp {address}: i/o timeout"),
                Self::Grpc { address, .. } => {
                    format!("timeout: failed to connect service \"{address}\" within {limit:?}: context deadline exceeded")
                }
                _ => format!("timed out after {limit:?}"),
            }),
        }
    }
}

async fn exec(cri: &Cri, container_id: &str, command: &[String], limit: Duration) -> Result<(), String> {
    match cri.exec_sync(container_id, command, limit).await {
        Ok(answer) if answer.exit_code == 0 => Ok(()),
        Ok(answer) => {
            let mut output = answer.stdout.to_vec();
            output.extend_from_slice(&answer.stderr);
            output.truncate(OUTPUT_LIMIT_BYTES);
            Err(String::from_utf8_lossy(&output).into_owned())
        }
        Err(crate::Error::Runtime { status, .. }) if status.code() == tonic::Code::DeadlineExceeded => {
            Err(format!("command timed out: \"{}\" timed out after {limit:?}", command.join(" ")))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// A connection, or an error in the words of Go's net package.
async fn connect(address: &str) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
            std::io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
            _ => error.to_string(),
        };
        format!("dial tcp {address}: {why}")
    })
}

async fn get(address: &str, tls: bool, path: &str, host: &str, headers: &[(String, String)]) -> Result<(), String> {
    let url = format!("{}://{address}{path}", if tls { "https" } else { "http" });
    let failed = |error: String| format!("Get \"{url}\": {error}");
    let stream = connect(address).await.map_err(failed)?;
    let status = if tls {
        let name = address.rsplit_once(':').map_or(address, |(name, _)| name).trim_matches(['[', ']']).to_owned();
        let name = rustls::pki_types::ServerName::try_from(name).map_err(|error| failed(error.to_string()))?;
        let stream =
            tokio_rustls::TlsConnector::from(trusting()?).connect(name, stream).await.map_err(|error| failed(error.to_string()))?;
        request(stream, path, host, headers).await
    } else {
        request(stream, path, host, headers).await
    };
    match status.map_err(failed)? {
        (200..400, _) => Ok(()),
        (code, _) => Err(format!("HTTP probe failed with statuscode: {code}")),
    }
}

async fn request<S>(stream: S, path: &str, host: &str, headers: &[(String, String)]) -> Result<(u16, Bytes), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    let mut request = http::Request::get(path).header("host", host);
    let has = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    if !has("user-agent") {
        request = request.header("user-agent", "kube-probe/1.36");
    }
    if !has("accept") {
        request = request.header("accept", "*/*");
    }
    for (name, value) in headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        request = request.header(name, value);
    }
    let request = request.header("connection", "close").body(Empty::<Bytes>::new()).map_err(|error| text(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| text(&error))?;
        let code = response.status().as_u16();
        // A body that is too long is not the probe's concern: only the code is.
        let body = Limited::new(response.into_body(), OUTPUT_LIMIT_BYTES).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        Ok((code, body))
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    tokio::select! {
        result = &mut exchange => result,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(text(&error)),
        },
    }
}

/// TLS without checking who answers: probes talk to pods that sign for themselves.
fn trusting() -> Result<Arc<rustls::ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Anyone(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The two messages of the standard health service.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

async fn grpc(address: SocketAddr, service: &str) -> Result<(), String> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
    let channel = endpoint.connect().await.map_err(|error| format!("error: failed to connect service \"{address}\": {error}"))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| error.to_string())?;
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let request = tonic::Request::new(HealthCheckRequest { service: service.to_owned() });
    let answer = client.unary(request, path, codec).await.map_err(|status| format!("error: health rpc failed: {}", status.message()))?;
    match answer.into_inner().status {
        SERVING => Ok(()),
        status => Err(format!("service unhealthy (responded with \"{status}\")")),
    }
}
