//! What servers answer under `/tricorn/v1/`: joining, tokens, members, backups, status. The API server has said who asks; who may do
//! what is decided here.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Json, Router};
use http::{StatusCode, header};
use tokio_stream::wrappers::ReceiverStream;
use tricorn_meta::UserInfo;
use tricorn_meta::names::dns1123_subdomain;
use tricorn_pki::{Profile, Role};
use tricorn_proto::etcdserverpb::AlarmMember;
use tricorn_registry::Store;

use super::tokens::{AGENT_JOINERS, SERVER_JOINERS, Tokens};
use super::trust::{CERTIFICATE_LIFETIME, Trust};
use crate::protocol::{
    AgentKit, BASE, CreateToken, Failure, JoinAgent, JoinServer, MemberInfo, NewToken, QuotaInfo, ServerKit, ServerStatus, Settings,
    TokenInfo,
};

const MASTERS: &str = "system:masters";
/// The group of nodes' own certificates.
const NODES: &str = "system:nodes";

/// What the routes work with.
pub struct Desk {
    /// This server's name.
    pub name: String,
    /// The store of this server.
    pub store: Store,
    /// The cluster's secrets.
    pub trust: Arc<Trust>,
    /// Its join tokens.
    pub tokens: Tokens,
    /// What all have agreed on.
    pub settings: Settings,
    /// The API's port, the same on every server.
    pub api_port: u16,
}

/// A refusal.
struct Refusal(StatusCode, String);

type Answer<T> = Result<Json<T>, Refusal>;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(code, message) = self;
        let failure = Failure { kind: "Status".into(), status: "Failure".into(), message, code: code.as_u16() };
        (code, Json(failure)).into_response()
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}"))
    }
}

impl From<tricorn_store::Error> for Refusal {
    fn from(error: tricorn_store::Error) -> Self {
        let code = match error {
            tricorn_store::Error::MemberNotFound => StatusCode::NOT_FOUND,
            tricorn_store::Error::InvalidUrl(_) => StatusCode::BAD_REQUEST,
            tricorn_store::Error::PeerUrlExists | tricorn_store::Error::MemberExists => StatusCode::CONFLICT,
            tricorn_store::Error::NotLearner
            | tricorn_store::Error::LearnerNotReady
            | tricorn_store::Error::BadTransferee
            | tricorn_store::Error::Unhealthy(_) => StatusCode::PRECONDITION_FAILED,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(code, error.to_string())
    }
}

fn need(user: &UserInfo, groups: &[&str], what: &str) -> Result<(), Refusal> {
    if groups.iter().chain([&MASTERS]).any(|group| user.in_group(group)) {
        return Ok(());
    }
    Err(Refusal(
        StatusCode::FORBIDDEN,
        format!("{} may not {what}: it must be in the group {}", user.name, groups.first().unwrap_or(&MASTERS)),
    ))
}

fn check_name(name: &str) -> Result<(), Refusal> {
    match dns1123_subdomain(name).first() {
        None => Ok(()),
        Some(problem) => Err(Refusal(StatusCode::BAD_REQUEST, format!("name {name:?}: {problem}"))),
    }
}

/// All routes, over `desk`.
pub fn routes(desk: Desk) -> Router {
    let routes = Router::new()
        .route("/status", get(status))
        .route("/authority", get(authority))
        .route("/servers", get(servers))
        .route("/join/server", post(join_server))
        .route("/join/agent", post(join_agent))
        .route("/tokens", get(list_tokens).post(create_token))
        .route("/tokens/{id}", delete(delete_token))
        .route("/members", get(list_members))
        .route("/members/{member}", delete(remove_member))
        .route("/members/{member}/promote", post(promote_member))
        .route("/members/{member}/lead", post(move_leader))
        .route("/quota", get(quota))
        .route("/quota/{bytes}", put(set_quota))
        .route("/snapshot", get(snapshot))
        .with_state(Arc::new(desk));
    Router::new()
        .nest(BASE, routes)
        .fallback(|| async { Refusal(StatusCode::NOT_FOUND, "the server could not find the requested resource".into()) })
}

type Shared = State<Arc<Desk>>;

async fn status(State(desk): Shared, Extension(user): Extension<UserInfo>) -> Answer<ServerStatus> {
    need(&user, &["system:monitoring", SERVER_JOINERS], "see the status of servers")?;
    let status = desk.store.status();
    let leader = desk.store.leadership().borrow().leader_name.clone();
    Ok(Json(ServerStatus {
        name: desk.name.clone(),
        leader,
        term: status.term,
        revision: status.revision,
        applied: status.applied_index,
        learner: status.is_learner,
        version: crate::cli::VERSION.to_owned(),
    }))
}

async fn quota(State(desk): Shared, Extension(user): Extension<UserInfo>) -> Answer<QuotaInfo> {
    need(&user, &["system:monitoring"], "see the quota of the store")?;
    // The quota that was set through another server is seen on this one.
    desk.store.read_index().await?;
    let status = desk.store.status();
    let alarm = |alarm: &AlarmMember| format!("{} of member {:x}", alarm.alarm().as_str_name(), alarm.member_id);
    Ok(Json(QuotaInfo { bytes: status.quota, used: status.db_size, alarms: desk.store.alarms().iter().map(alarm).collect() }))
}

async fn set_quota(State(desk): Shared, Extension(user): Extension<UserInfo>, Path(bytes): Path<u64>) -> Result<StatusCode, Refusal> {
    need(&user, &[MASTERS], "change the quota of the store")?;
    desk.store.set_quota(bytes).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Certificates are for everybody to see: a joiner compares it with the hash in its token.
async fn authority(State(desk): Shared) -> String {
    desk.trust.ca.certificate_pem().to_owned()
}

async fn servers(State(desk): Shared, Extension(user): Extension<UserInfo>) -> Answer<Vec<String>> {
    need(&user, &[NODES, AGENT_JOINERS, SERVER_JOINERS], "see the list of servers")?;
    Ok(Json(desk.servers().await?))
}

async fn join_server(State(desk): Shared, Extension(user): Extension<UserInfo>, Json(wish): Json<JoinServer>) -> Answer<ServerKit> {
    need(&user, &[SERVER_JOINERS], "join as a server")?;
    check_name(&wish.name)?;
    let members = desk.store.members(true).await?;
    let known = members.iter().find(|one| one.member.name == wish.name || one.member.peer_urls.contains(&wish.peer_url));
    match known {
        // Asked twice: an earlier try was cut off before its end.
        Some(known) if known.member.peer_urls.contains(&wish.peer_url) && known.member.name == wish.name => {}
        Some(known) => {
            let text = format!(
                "server {} at {} cannot join: {} at {} is a member already; remove it first with `tricorn member remove {}`",
                wish.name,
                wish.peer_url,
                known.member.name,
                known.member.peer_urls.join(", "),
                known.member.name
            );
            return Err(Refusal(StatusCode::CONFLICT, text));
        }
        None => {
            desk.store.member_add(wish.name.clone(), vec![wish.peer_url.clone()], vec![wish.client_url.clone()], false).await?;
            tracing::info!(server = wish.name, peer_url = wish.peer_url, "a server joins");
        }
    }
    let trust = &desk.trust;
    let peers = members.iter().flat_map(|one| one.member.peer_urls.iter().cloned()).filter(|url| *url != wish.peer_url).collect();
    Ok(Json(ServerKit {
        ca_crt: trust.ca.certificate_pem().to_owned(),
        ca_key: trust.ca.key_pem(),
        etcd_ca_crt: trust.etcd_ca.certificate_pem().to_owned(),
        etcd_ca_key: trust.etcd_ca.key_pem(),
        service_account_key: trust.service_account.private_pem(),
        peers,
        settings: desk.settings.clone(),
    }))
}

async fn join_agent(State(desk): Shared, Extension(user): Extension<UserInfo>, Json(wish): Json<JoinAgent>) -> Answer<AgentKit> {
    check_name(&wish.name)?;
    // A node that has a certificate may have it renewed, for its own name only.
    if user.name != format!("system:node:{}", wish.name) || !user.in_group(NODES) {
        need(&user, &[AGENT_JOINERS, SERVER_JOINERS], "join as a worker")?;
    }
    let address: IpAddr =
        wish.address.parse().map_err(|error| Refusal(StatusCode::BAD_REQUEST, format!("address {:?}: {error}", wish.address)))?;
    let node = format!("system:node:{}", wish.name);
    let now = SystemTime::now();
    let certify = |profile: Profile, key: &str| {
        let certified = desk.trust.ca.certify(&profile, key, now);
        certified.map_err(|error| Refusal(StatusCode::BAD_REQUEST, error.to_string()))
    };
    let kit = AgentKit {
        ca_crt: desk.trust.ca.certificate_pem().to_owned(),
        node_crt: certify(Profile::client(&node, &[NODES], CERTIFICATE_LIFETIME), &wish.node_key)?,
        serving_crt: certify(
            Profile::server(&node, vec![wish.name.clone(), address.to_string()], CERTIFICATE_LIFETIME),
            &wish.serving_key,
        )?,
        proxy_crt: certify(Profile::client("system:kube-proxy", &[], CERTIFICATE_LIFETIME), &wish.proxy_key)?,
        servers: desk.servers().await?,
        settings: desk.settings.clone(),
    };
    tracing::info!(node = wish.name, %address, "a worker joins");
    Ok(Json(kit))
}

async fn list_tokens(State(desk): Shared, Extension(user): Extension<UserInfo>) -> Answer<Vec<TokenInfo>> {
    need(&user, &[MASTERS], "see join tokens")?;
    Ok(Json(desk.tokens.list().await?))
}

async fn create_token(State(desk): Shared, Extension(user): Extension<UserInfo>, Json(wish): Json<CreateToken>) -> Answer<NewToken> {
    need(&user, &[MASTERS], "make join tokens")?;
    let role = match wish.role.as_str() {
        "server" => Role::Server,
        "agent" => Role::Agent,
        other => return Err(Refusal(StatusCode::BAD_REQUEST, format!("role {other:?}: want server or agent"))),
    };
    if wish.ttl_seconds.is_some_and(|ttl| ttl <= 0) {
        return Err(Refusal(StatusCode::BAD_REQUEST, "ttl: want more than nothing".into()));
    }
    let (token, info) = desk.tokens.create(role, &wish.description, wish.ttl_seconds).await?;
    Ok(Json(NewToken { token: token.to_string(), info }))
}

async fn delete_token(State(desk): Shared, Extension(user): Extension<UserInfo>, Path(id): Path<String>) -> Result<StatusCode, Refusal> {
    need(&user, &[MASTERS], "delete join tokens")?;
    if desk.tokens.delete(&id).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Refusal(StatusCode::NOT_FOUND, format!("there is no join token {id}; `tricorn token list` shows them")))
}

async fn list_members(State(desk): Shared, Extension(user): Extension<UserInfo>) -> Answer<Vec<MemberInfo>> {
    need(&user, &[MASTERS], "see the members")?;
    let leader = desk.store.leadership().borrow().leader;
    let members = desk.store.members(true).await?.into_iter().map(|one| MemberInfo {
        id: format!("{:x}", one.id),
        name: one.member.name,
        peer_urls: one.member.peer_urls,
        client_urls: one.member.client_urls,
        learner: one.is_learner,
        leader: leader == Some(one.id),
    });
    Ok(Json(members.collect()))
}

async fn remove_member(
    State(desk): Shared,
    Extension(user): Extension<UserInfo>,
    Path(member): Path<String>,
) -> Result<StatusCode, Refusal> {
    need(&user, &[MASTERS], "remove members")?;
    let id = desk.member(&member).await?;
    desk.store.member_remove(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn promote_member(
    State(desk): Shared,
    Extension(user): Extension<UserInfo>,
    Path(member): Path<String>,
) -> Result<StatusCode, Refusal> {
    need(&user, &[MASTERS], "promote members")?;
    let id = desk.member(&member).await?;
    desk.store.member_promote(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn move_leader(State(desk): Shared, Extension(user): Extension<UserInfo>, Path(member): Path<String>) -> Result<StatusCode, Refusal> {
    need(&user, &[MASTERS], "move leadership")?;
    let id = desk.member(&member).await?;
    desk.store.move_leader(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A backup as `tricorn snapshot restore` reads it.
async fn snapshot(State(desk): Shared, Extension(user): Extension<UserInfo>) -> Result<Response, Refusal> {
    need(&user, &[MASTERS], "save snapshots")?;
    let snapshot = desk.store.snapshot().await?;
    let body = Body::from_stream(ReceiverStream::new(snapshot.chunks));
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

impl Desk {
    /// URLs of all API servers, as far as the store's members tell.
    async fn servers(&self) -> Result<Vec<String>, Refusal> {
        let members = self.store.members(false).await?;
        let hosts = members.iter().filter_map(|one| {
            let url: http::Uri = one.member.peer_urls.first()?.parse().ok()?;
            Some(format!("https://{}:{}", url.host()?, self.api_port))
        });
        Ok(hosts.collect())
    }

    /// The member of this name or id.
    async fn member(&self, text: &str) -> Result<u64, Refusal> {
        let members = self.store.members(true).await?;
        let found = members.iter().find(|one| one.member.name == text || format!("{:x}", one.id) == text);
        found.map(|one| one.id).ok_or_else(|| {
            let names: Vec<_> = members.iter().map(|one| one.member.name.as_str()).collect();
            Refusal(StatusCode::NOT_FOUND, format!("there is no member {text}: there are {}", names.join(", ")))
        })
    }
}
