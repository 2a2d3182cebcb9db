//! What our server does beyond etcd 3.4, and its HTTP side.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use support::{Ours, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tricorn_proto::etcdserverpb::range_request::SortTarget;
use tricorn_proto::etcdserverpb::watch_request::RequestUnion;
use tricorn_proto::etcdserverpb::*;

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await.unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn http_shares_the_port() {
    let ours = Ours::start(|config| config.metrics_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))]).await;
    ours.clients().await.kv.put(PutRequest { key: "k".into(), ..PutRequest::default() }).await.unwrap();
    for address in [ours.address, ours.metrics_address()] {
        assert_eq!(get(address, "/health").await, (200, r#"{"health":"true","reason":""}"#.to_owned()));
        assert_eq!(get(address, "/health?serializable=true").await.0, 200);
        assert_eq!(get(address, "/livez").await, (200, "ok\n".to_owned()));
        let (status, text) = get(address, "/readyz?verbose&exclude=non_learner").await;
        assert_eq!(status, 200);
        assert!(text.contains("[+]linearizable_read ok") && text.contains("[+]non_learner excluded"), "{text}");
        assert_eq!(get(address, "/readyz/serializable_read").await.0, 200);
        assert_eq!(get(address, "/readyz/nonsense").await.0, 404);
        assert_eq!(get(address, "/nothing").await.0, 404);
        let (_, version) = get(address, "/version").await;
        assert!(version.contains(&format!("\"etcdserver\":\"{}\"", tricorn_etcd_api::ETCD_VERSION)), "{version}");
        let (_, metrics) = get(address, "/metrics").await;
        for line in [
            "\netcd_server_has_leader 1\n",
            "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\"",
            "process_resident_memory_bytes ",
        ] {
            assert!(metrics.contains(line), "{line} is not in\n{metrics}");
        }
    }
    ours.stop().await;
}

#[tokio::test]
async fn a_streamed_range_is_the_range() {
    let ours = Ours::start(|_| {}).await;
    let mut clients = ours.clients().await;
    for n in 0..700 {
        let value = vec![b'x'; if n % 7 == 0 { 20_000 } else { 10 }];
        let request = PutRequest { key: format!("s/{n:04}").into(), value: value.into(), ..PutRequest::default() };
        ours.store.put(request, None).await.unwrap();
    }
    for limit in [0, 1, 128, 129, 400, 700, 1000] {
        let request = RangeRequest { key: "s/".into(), range_end: "s0".into(), limit, ..RangeRequest::default() };
        let whole = ours.store.range(request.clone()).await.unwrap();
        let chunks: Vec<_> = within(clients.kv.range_stream(request).await.unwrap().into_inner().collect::<Vec<_>>()).await;
        let chunks: Vec<RangeResponse> = chunks.into_iter().map(|chunk| chunk.unwrap().range_response.unwrap()).collect();
        let last = chunks.last().unwrap();
        assert_eq!((last.more, last.count), (whole.more, whole.count), "limit {limit}");
        assert_eq!(last.header.unwrap().revision, whole.header.unwrap().revision);
        assert!(chunks.iter().rev().skip(1).all(|chunk| chunk.header.is_none() && chunk.count == 0));
        assert_eq!(chunks.into_iter().flat_map(|chunk| chunk.kvs).collect::<Vec<_>>(), whole.kvs, "limit {limit}");
    }
    // More than what can be under way at once, so that something is written between two chunks: it is not of this read.
    for n in 0..200 {
        let request = PutRequest { key: format!("t/{n:04}").into(), value: vec![b'x'; 100_000].into(), ..PutRequest::default() };
        ours.store.put(request, None).await.unwrap();
    }
    let request = RangeRequest { key: "t/".into(), range_end: "t0".into(), ..RangeRequest::default() };
    let mut chunks = clients.kv.range_stream(request).await.unwrap().into_inner();
    assert!(within(chunks.next()).await.is_some());
    let read_at = ours.store.revision();
    ours.store.put(PutRequest { key: "t/0199".into(), ..PutRequest::default() }, None).await.unwrap();
    let rest: Vec<_> = within(chunks.collect::<Vec<_>>()).await;
    let last = rest.last().unwrap().as_ref().unwrap().range_response.clone().unwrap();
    assert_eq!(last.header.unwrap().revision, read_at);
    let sorted = RangeRequest { key: "s/".into(), sort_target: SortTarget::Mod.into(), ..RangeRequest::default() };
    assert_eq!(clients.kv.range_stream(sorted).await.unwrap_err().code(), Code::Unimplemented);
    ours.stop().await;
}

#[tokio::test]
async fn progress_is_told_when_all_watches_have_come_that_far() {
    let ours = Ours::start(|config| config.progress_interval = Duration::from_millis(50)).await;
    let mut clients = ours.clients().await;
    let (ask, asked) = tokio::sync::mpsc::channel(8);
    let stream = clients.watch.watch(tokio_stream::wrappers::ReceiverStream::new(asked)).await.unwrap();
    let mut stream = stream.into_inner();
    let create = |key: &'static str, progress_notify| {
        RequestUnion::CreateRequest(WatchCreateRequest { key: key.into(), progress_notify, ..WatchCreateRequest::default() })
    };
    for request in [create("busy", false), create("quiet", false)] {
        ask.send(WatchRequest { request_union: Some(request) }).await.unwrap();
        assert!(within(stream.message()).await.unwrap().unwrap().created);
    }
    for round in 0..20 {
        ours.store.put(PutRequest { key: "busy".into(), ..PutRequest::default() }, None).await.unwrap();
        let least = ours.store.revision();
        ask.send(WatchRequest { request_union: Some(RequestUnion::ProgressRequest(WatchProgressRequest {})) }).await.unwrap();
        let mut events = 0;
        loop {
            let answer = within(stream.message()).await.unwrap().unwrap();
            events += answer.events.len();
            if answer.watch_id == -1 {
                assert!(answer.header.unwrap().revision >= least, "round {round}: {answer:?}");
                break;
            }
        }
        assert_eq!(events, 1, "round {round}: progress must not run ahead of the event");
    }
    ask.send(WatchRequest { request_union: Some(create("other", true)) }).await.unwrap();
    let created = within(stream.message()).await.unwrap().unwrap();
    let told = within(stream.message()).await.unwrap().unwrap();
    assert_eq!((told.watch_id, told.events.len()), (created.watch_id, 0));
    ours.stop().await;
}

#[tokio::test]
async fn a_hash_of_everything_sees_what_the_keys_do_not_show() {
    let ours = Ours::start(|_| {}).await;
    let mut clients = ours.clients().await;
    let mut hashes = Vec::new();
    for step in 0..3 {
        match step {
            1 => drop(clients.kv.put(PutRequest { key: "k".into(), ..PutRequest::default() }).await.unwrap()),
            2 => drop(clients.lease.lease_grant(LeaseGrantRequest { ttl: 300, id: 7 }).await.unwrap()),
            _ => {}
        }
        let answer = clients.maintenance.hash(HashRequest {}).await.unwrap().into_inner();
        assert_eq!(answer, clients.maintenance.hash(HashRequest {}).await.unwrap().into_inner());
        hashes.push(answer.hash);
    }
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2], "{hashes:?}");
    ours.stop().await;
}

#[tokio::test]
async fn there_is_no_version_to_go_down_to() {
    use downgrade_request::DowngradeAction::{Cancel, Enable, Validate};
    let ours = Ours::start(|_| {}).await;
    let mut clients = ours.clients().await;
    for (action, version, code, text) in [
        (Validate, "3.5.0", Code::InvalidArgument, "etcdserver: invalid downgrade target version"),
        (Enable, "3.5", Code::InvalidArgument, "etcdserver: invalid downgrade target version"),
        (Enable, "three", Code::InvalidArgument, "etcdserver: wrong downgrade target version format"),
        (Cancel, "", Code::FailedPrecondition, "etcdserver: no inflight downgrade job"),
    ] {
        let request = DowngradeRequest { action: action.into(), version: version.into() };
        let refused = clients.maintenance.downgrade(request).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (code, text), "{action:?} {version}");
    }
    ours.stop().await;
}

#[tokio::test]
async fn a_stop_ends_streams_and_refuses_nothing_silently() {
    let ours = Ours::start(|_| {}).await;
    let mut clients = ours.clients().await;
    let request = WatchCreateRequest { key: "k".into(), ..WatchCreateRequest::default() };
    let asks = futures::stream::iter([WatchRequest { request_union: Some(RequestUnion::CreateRequest(request)) }]);
    let mut stream = clients.watch.watch(asks.chain(futures::stream::pending())).await.unwrap().into_inner();
    assert!(within(stream.message()).await.unwrap().unwrap().created);
    let stopped = tokio::spawn(ours.stop());
    let status = within(stream.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    within(stopped).await.unwrap();
}

#[tokio::test]
async fn another_client_library_works() {
    let ours = Ours::start(|_| {}).await;
    let mut client = etcd_client::Client::connect([ours.address.to_string()], None).await.unwrap();
    let mut watch = client.watch("c/", Some(etcd_client::WatchOptions::new().with_prefix())).await.unwrap();
    let lease = client.lease_grant(300, None).await.unwrap().id();
    client.put("c/1", "x", Some(etcd_client::PutOptions::new().with_lease(lease))).await.unwrap();
    let created = within(watch.message()).await.unwrap().unwrap();
    assert!(created.created());
    let event = within(watch.message()).await.unwrap().unwrap();
    assert_eq!(event.events()[0].kv().unwrap().key(), b"c/1");
    client.lease_revoke(lease).await.unwrap();
    assert_eq!(client.get("c/1", None).await.unwrap().count(), 0);
    ours.stop().await;
}
