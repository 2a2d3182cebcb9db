//! Who asks: the name in a certificate, a signed token, another client library's token; and what ends the process of an older etcd.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use support::{Ours, Trust, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tricorn_etcd_api::TokenMode;
use tricorn_proto::etcdserverpb::auth_client::AuthClient;
use tricorn_proto::etcdserverpb::kv_client::KvClient;
use tricorn_proto::etcdserverpb::*;
use tricorn_proto::v3lockpb::LockRequest;
use tricorn_proto::v3lockpb::lock_client::LockClient;
use tricorn_store::Store;

async fn guard(store: &Store) {
    let user = |name: &str| AuthUserAddRequest { name: name.into(), password: name.into(), ..AuthUserAddRequest::default() };
    store.user_add(user("root")).await.unwrap();
    store.user_add(user("alice")).await.unwrap();
    store.user_grant_role(AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() }).await.unwrap();
    store.auth_enable(AuthEnableRequest {}).await.unwrap();
}

fn get(key: &'static str) -> RangeRequest {
    RangeRequest { key: key.into(), ..RangeRequest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_names_a_user_and_a_token_counts_for_more() {
    let trust = Trust::new();
    for client_cert_auth in [true, false] {
        let ours = Ours::start(|config| {
            config.tls = Some(trust.required());
            config.client_cert_auth = client_cert_auth;
        })
        .await;
        guard(&ours.store).await;
        // The certificate is root's.
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(trust.authority.certificate_pem()))
            .identity(Identity::from_pem(&trust.client.certificate_pem, &trust.client.key_pem));
        let endpoint = Channel::from_shared(format!("https://{}", ours.address)).unwrap().tls_config(tls).unwrap();
        let channel = within(endpoint.connect()).await.unwrap();
        let mut kv = KvClient::new(channel.clone());
        let answer = within(kv.range(get("k"))).await.map_err(|status| status.code());
        assert_eq!(answer.map(drop), if client_cert_auth { Ok(()) } else { Err(Code::InvalidArgument) });
        // What comes through a gateway carries the gateway's certificate.
        let mut passed_on = tonic::Request::new(get("k"));
        passed_on.metadata_mut().insert("grpcgateway-accept", "*/*".parse().unwrap());
        assert_eq!(within(kv.range(passed_on)).await.unwrap_err().code(), Code::InvalidArgument);
        let log_in = AuthenticateRequest { name: "alice".into(), password: "alice".into() };
        let token = within(AuthClient::new(channel).authenticate(log_in)).await.unwrap().into_inner().token;
        for name in ["token", "authorization"] {
            let mut request = tonic::Request::new(get("k"));
            request.metadata_mut().insert(name, token.parse().unwrap());
            assert_eq!(within(kv.range(request)).await.unwrap_err().code(), Code::PermissionDenied, "alice may nothing");
        }
        ours.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_tokens_are_checked_and_age() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "a secret that all members share").unwrap();
    let mode = TokenMode::parse(&format!("jwt,sign-method=HS256,priv-key={},ttl=5m", secret.display())).unwrap();
    let ours = Ours::start(|config| config.tokens = mode).await;
    let mut clients = ours.clients().await;
    guard(&ours.store).await;
    let log_in = AuthenticateRequest { name: "root".into(), password: "root".into() };
    let token = within(clients.auth.authenticate(log_in.clone())).await.unwrap().into_inner().token;
    assert_eq!(token.split('.').count(), 3);
    let ask = |token: &str| {
        let mut request = tonic::Request::new(get("k"));
        request.metadata_mut().insert("token", token.parse().unwrap());
        request
    };
    within(clients.kv.range(ask(&token))).await.unwrap();
    let wrong = within(clients.kv.range(ask("a.b.c"))).await.unwrap_err();
    assert_eq!((wrong.code(), wrong.message()), (Code::Unauthenticated, "etcdserver: invalid auth token"));
    ours.store.role_add(AuthRoleAddRequest { name: "new".into() }).await.unwrap();
    let old = within(clients.kv.range(ask(&token))).await.unwrap_err();
    assert_eq!((old.code(), old.message()), (Code::InvalidArgument, "etcdserver: revision of auth store is old"));
    let token = within(clients.auth.authenticate(log_in)).await.unwrap().into_inner().token;
    within(clients.kv.range(ask(&token))).await.unwrap();
    ours.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_client_library_logs_in() {
    let ours = Ours::start(|_| {}).await;
    let endpoint = format!("http://{}", ours.address);
    let mut before = etcd_client::Client::connect([&endpoint], None).await.unwrap();
    before.user_add("root", "r", None).await.unwrap();
    before.user_grant_role("root", "root").await.unwrap();
    before.auth_enable().await.unwrap();
    assert!(before.put("k", "v", None).await.is_err());
    let options = etcd_client::ConnectOptions::new().with_user("root", "r");
    let mut client = etcd_client::Client::connect([&endpoint], Some(options)).await.unwrap();
    client.put("k", "v", None).await.unwrap();
    assert_eq!(client.get("k", None).await.unwrap().count(), 1);
    client.auth_disable().await.unwrap();
    before.put("k", "v", None).await.unwrap();
    ours.stop().await;
}

async fn post(ours: &Ours, path: &str, token: Option<&str>, body: &str) -> String {
    let mut stream = TcpStream::connect(ours.address).await.unwrap();
    let token = token.map(|token| format!("Authorization: {token}\r\n")).unwrap_or_default();
    let head = format!("POST {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{token}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).await.unwrap();
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await.unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_and_json_are_held_to_users_too() {
    let ours = Ours::start(|_| {}).await;
    let mut clients = ours.clients().await;
    guard(&ours.store).await;
    let mut locks = LockClient::new(Channel::from_shared(format!("http://{}", ours.address)).unwrap().connect().await.unwrap());
    let mut tokens = Vec::new();
    for name in ["root", "alice"] {
        let log_in = AuthenticateRequest { name: name.into(), password: name.into() };
        tokens.push(within(clients.auth.authenticate(log_in)).await.unwrap().into_inner().token);
    }
    let mut lock = async |token: Option<&str>| {
        let mut request = tonic::Request::new(LockRequest { name: "l".into(), lease: 0 });
        if let Some(token) = token {
            request.metadata_mut().insert("token", token.parse().unwrap());
        }
        within(locks.lock(request)).await.map(drop).map_err(|status| status.message().to_owned())
    };
    assert_eq!(lock(None).await, Err("etcdserver: user name is empty".into()));
    assert_eq!(lock(Some(&tokens[1])).await, Err("etcdserver: permission denied".into()));
    assert_eq!(lock(Some(&tokens[0])).await, Ok(()));

    let ask = r#"{"key":"aw=="}"#;
    assert!(post(&ours, "/v3/kv/range", None, ask).await.contains("etcdserver: user name is empty"));
    assert!(post(&ours, "/v3/kv/range", Some(&tokens[1]), ask).await.contains("etcdserver: permission denied"));
    let answer = post(&ours, "/v3/auth/authenticate", None, r#"{"name":"root","password":"root"}"#).await;
    let token = answer.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect(&answer);
    assert!(post(&ours, "/v3/kv/range", Some(token), ask).await.starts_with("HTTP/1.1 200"));
    ours.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_requests_are_answered() {
    let ours = Ours::start(|_| {}).await;
    let mut clients = ours.clients().await;
    let none = within(clients.auth.role_grant_permission(AuthRoleGrantPermissionRequest::default())).await.unwrap_err();
    assert_eq!((none.code(), none.message()), (Code::InvalidArgument, "etcdserver: permission not given"));
    let long = AuthUserAddRequest { name: "a".into(), password: "x".repeat(73), ..AuthUserAddRequest::default() };
    let long = within(clients.auth.user_add(long)).await.unwrap_err();
    assert_eq!((long.code(), long.message()), (Code::Unknown, "bcrypt: password length exceeds 72 bytes"));
    let status = within(clients.auth.auth_status(AuthStatusRequest {})).await.unwrap().into_inner();
    assert_eq!((status.enabled, status.auth_revision), (false, 1));
    guard(&ours.store).await;
    // The number asks to wait for an entry that will never be.
    let mut request = tonic::Request::new(get("k"));
    request.metadata_mut().insert("token", "18446744073709551615.18446744073709551615".parse().unwrap());
    assert_eq!(within(clients.kv.range(request)).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(within(clients.auth.auth_status(AuthStatusRequest {})).await.unwrap_err().code(), Code::InvalidArgument);
    ours.stop().await;
}
