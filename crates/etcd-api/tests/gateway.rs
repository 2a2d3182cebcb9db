//! JSON over HTTP: the same requests to our server and to the machine's etcd must get the same bodies.
//!
//! Headers are compared by their revision. Where etcd 3.4 and 3.6, as which ours speaks, differ, it is said beside the case:
//! - a failed precondition is 412 in 3.4's gateway and 400 in 3.6's;
//! - 3.4 refuses names of enums that it does not know, 3.6 skips them as it skips unknown fields;
//! - texts about bad JSON are those of the language's library: only code and status are compared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod support;

use std::fmt::Write;

use serde_json::Value;
use support::{Ours, Theirs, within};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tricorn_proto::etcdserverpb::{PutRequest, RangeRequest};

/// An answer on its way.
struct Answer {
    status: u16,
    chunked: bool,
    stream: BufReader<TcpStream>,
}

async fn send(address: &str, head: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}\r\nHost: t\r\nConnection: close\r\n").as_bytes()).await.unwrap();
    // A server that has read enough answers before the end, and hangs up.
    let _refused = stream.write_all(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await;
    Answer::of(stream).await
}

async fn post(address: &str, path: &str, body: &str) -> Answer {
    send(address, &format!("POST {path} HTTP/1.1"), body).await
}

impl Answer {
    async fn of(stream: TcpStream) -> Self {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(within(stream.read_line(&mut head)).await.unwrap(), 0, "no answer: {head}");
        }
        let head = head.to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, chunked: head.contains("transfer-encoding: chunked"), stream }
    }

    /// The next piece of the body; empty at its end.
    async fn piece(&mut self) -> String {
        let mut piece = Vec::new();
        if self.chunked {
            let mut size = String::new();
            within(self.stream.read_line(&mut size)).await.unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            piece.resize(size + 2, 0);
            within(self.stream.read_exact(&mut piece)).await.unwrap();
            piece.truncate(size);
        } else {
            within(self.stream.read_to_end(&mut piece)).await.unwrap();
        }
        String::from_utf8(piece).unwrap()
    }

    async fn whole(mut self) -> (u16, String) {
        let mut text = String::new();
        loop {
            let piece = self.piece().await;
            if piece.is_empty() {
                return (self.status, text);
            }
            text += &piece;
        }
    }

    /// The next so many lines of a stream.
    async fn lines(&mut self, count: usize) -> String {
        let mut text = String::new();
        while text.matches('\n').count() < count {
            let piece = self.piece().await;
            assert!(!piece.is_empty(), "the stream has ended: {text}");
            text += &piece;
        }
        text
    }
}

/// Takes away what differs between two servers.
fn plain(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in ["cluster_id", "member_id", "raft_term"] {
                fields.shift_remove(name);
            }
            fields.values_mut().for_each(plain);
        }
        Value::Array(values) => values.iter_mut().for_each(plain),
        _ => {}
    }
}

fn plain_lines(text: &str) -> String {
    let mut lines = String::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let mut value = value.unwrap_or_else(|error| panic!("{error}: {text}"));
        plain(&mut value);
        writeln!(lines, "{value}").unwrap();
    }
    lines
}

const CASES: &[(&str, &str)] = &[
    ("/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#),
    ("/v3/kv/put", r#"{"key":"Zm9v","value":"YmF6","prev_kv":true}"#),
    ("/v3beta/kv/range", r#"{"key":"Zm9v"}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","unknown":{"a":[1]}}"#),
    ("/v3/kv/range", r#"{"key":"AA==","rangeEnd":"AA==","limit":"5","sort_order":"DESCEND","sortTarget":3}"#),
    ("/v3/kv/range", r#"{"key":"AA==","range_end":"AA==","count_only":true}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","limit":null}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v"} trailing"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","revision":99}"#),
    ("/v3/kv/range", ""),
    ("/v3/kv/range", "null"),
    ("/v3/kv/range", "{}"),
    (
        "/v3/kv/txn",
        r#"{"compare":[{"key":"Zm9v","result":"GREATER","target":"VERSION","version":"1"}],
        "success":[{"request_put":{"key":"YQ==","value":"MQ=="}},{"requestRange":{"key":"Zm9v"}},
        {"request_txn":{"failure":[{"request_put":{"key":"eA=="}}],"success":[{"request_put":{"key":"eg=="}}]}}],
        "failure":[{"request_delete_range":{"key":"Zm9v"}}]}"#,
    ),
    ("/v3/kv/txn", r#"{"success":[{"request_put":{"key":"YQ=="}},{"request_put":{"key":"YQ=="}}]}"#),
    ("/v3/kv/deleterange", r#"{"key":"YQ==","prev_kv":true}"#),
    ("/v3/kv/compaction", r#"{"revision":"3","physical":true}"#),
    ("/v3/kv/compaction", r#"{"revision":"3"}"#),
    ("/v3/lease/grant", r#"{"ID":"7","TTL":"100"}"#),
    ("/v3/lease/grant", r#"{"ID":7,"TTL":100}"#),
    ("/v3/lease/grant", r#"{"ID":"8","TTL":"99999999999"}"#),
    ("/v3/kv/put", r#"{"key":"bGVhc2Vk","lease":"7"}"#),
    ("/v3/lease/keepalive", r#"{"ID":"7"}{"ID":"9"}"#),
    ("/v3/lease/keepalive", ""),
    ("/v3/lease/timetolive", r#"{"ID":1}"#),
    ("/v3/kv/lease/timetolive", r#"{"ID":1}"#),
    ("/v3/lease/leases", "{}"),
    ("/v3/kv/lease/leases", "{}"),
    ("/v3/lock/lock", r#"{"name":"bA==","lease":"7"}"#),
    ("/v3/lock/lock", r#"{"name":"bA==","lease":"70"}"#),
    ("/v3/lock/unlock", r#"{"key":"bC83"}"#),
    ("/v3/lock/unlock", "{}"),
    ("/v3/election/leader", r#"{"name":"ZQ=="}"#),
    ("/v3/election/campaign", r#"{"name":"ZQ==","lease":"7","value":"dg=="}"#),
    ("/v3/election/leader", r#"{"name":"ZQ=="}"#),
    ("/v3/election/proclaim", "{}"),
    ("/v3/election/resign", r#"{"leader":{"name":"ZQ==","key":"ZS83","rev":"1","lease":"7"}}"#),
    ("/v3/lease/revoke", r#"{"ID":"7"}"#),
    ("/v3/kv/lease/revoke", r#"{"ID":"7"}"#),
    ("/v3/auth/authenticate", r#"{"name":"a","password":"b"}"#),
    ("/v3/maintenance/transfer-leadership", r#"{"targetID":"1"}"#),
    ("/v3/nothing", "{}"),
    ("/v3/kv/range/", r#"{"key":"Zm9v"}"#),
];

const BAD: &[&str] =
    &["[]", r#"{"key":"Zm9"#, r#"{"key":"***"}"#, r#"{"key":"Zm9v","limit":"x"}"#, r#"{"key":"Zm9v","limit":5.5}"#, r#"{"key":["Zm9v"]}"#];

const WATCHED: &[(&str, usize)] = &[
    (r#"{"create_request":{"key":"Zm9v","start_revision":"2","prev_kv":true}}"#, 2),
    (r#"{"create_request":{"key":"Zm9v","range_end":"AQ=="}}"#, 1),
    (r#"{"create_request":{"key":"Zm9v","watch_id":"5"}}{"cancel_request":{"watch_id":5}}"#, 2),
];

async fn told_by(address: &str) -> Vec<String> {
    let mut transcript = Vec::new();
    for (at, (path, body)) in CASES.iter().enumerate() {
        if at == 2 {
            for (body, lines) in WATCHED {
                let mut answer = post(address, "/v3/watch", body).await;
                let told = answer.lines(*lines).await;
                transcript.push(format!("watch {body}: {} {}", answer.status, plain_lines(&told)));
            }
        }
        let (status, text) = post(address, path, body).await.whole().await;
        let status = if status == 412 { 400 } else { status };
        let text = if text.starts_with('{') { plain_lines(&text) } else { text };
        transcript.push(format!("{path} {body}: {status} {text}"));
    }
    let observed = post(address, "/v3/election/observe", r#"{"name":"ZQ=="}"#);
    let campaign = post(address, "/v3/election/campaign", r#"{"name":"ZQ==","lease":"0","value":"dg=="}"#);
    let (mut observed, campaign) = tokio::join!(observed, campaign);
    assert_eq!(campaign.status, 200);
    let told: Value = serde_json::from_str(&observed.lines(1).await).unwrap();
    transcript.push(format!("observed: {} {}", observed.status, told["result"]["kv"]["value"]));
    for body in BAD {
        let (status, text) = post(address, "/v3/kv/range", body).await.whole().await;
        let error: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(error["error"], error["message"]);
        transcript.push(format!("{body}: {status} {}", error["code"]));
    }
    let (status, text) = send(address, "GET /v3/kv/range HTTP/1.1", "").await.whole().await;
    transcript.push(format!("GET: {status} {text}"));
    transcript
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_answers_as_etcds_does() {
    let Some(theirs) = Theirs::start().await else {
        println!("skipped: there is no etcd on this machine (package etcd-server)");
        return;
    };
    theirs.clients().await;
    let ours = Ours::start(|_| {}).await;
    let expected = told_by(theirs.endpoint.strip_prefix("http://").unwrap()).await;
    let told = told_by(&ours.address.to_string()).await;
    for (told, expected) in told.iter().zip(&expected) {
        assert_eq!(told, expected);
    }
    assert_eq!(told.len(), expected.len());
    ours.stop().await;
}

#[tokio::test]
async fn streams_go_both_ways_at_once() {
    let ours = Ours::start(|_| {}).await;
    let mut stream = TcpStream::connect(ours.address).await.unwrap();
    let piece = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let head = "POST /v3/watch HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // Cut in the middle: pieces of a body are not messages.
    for text in [r#"{"create_re"#, r#"quest":{"key":"aw=="}}"#] {
        stream.write_all(piece(text).as_bytes()).await.unwrap();
    }
    let mut answer = Answer::of(stream).await;
    assert!(answer.lines(1).await.contains(r#""created":true"#));
    ours.store.put(PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() }, None).await.unwrap();
    let event: Value = serde_json::from_str(&answer.lines(1).await).unwrap();
    assert_eq!(event["result"]["events"][0]["kv"]["value"], "dg==");
    answer.stream.get_mut().write_all(piece(r#"{"cancel_request":{}}"#).as_bytes()).await.unwrap();
    assert!(answer.lines(1).await.contains(r#""canceled":true"#));
    assert_eq!(ours.store.status().watchers, 0);
    // When the server stops, the stream says so before it ends.
    ours.stop.cancel();
    let last: Value = serde_json::from_str(&answer.lines(1).await).unwrap();
    assert_eq!(last["error"]["message"], "etcdserver: server stopped");
    assert_eq!((&last["error"]["grpc_code"], &last["error"]["http_code"]), (&14.into(), &503.into()));
    ours.stop().await;
}

#[tokio::test]
async fn who_hangs_up_waits_no_longer() {
    let ours = Ours::start(|_| {}).await;
    let address = ours.address.to_string();
    let (status, _) = post(&address, "/v3/lock/lock", r#"{"name":"bA=="}"#).await.whole().await;
    assert_eq!(status, 200);
    let head = "POST /v3/lock/lock HTTP/1.1\r\nGrpc-Timeout: 100m";
    let (status, text) = send(&address, head, r#"{"name":"bA=="}"#).await.whole().await;
    assert_eq!(status, 504, "{text}");
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let body = r#"{"name":"bA=="}"#;
    let head = format!("POST /v3/lock/lock HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    let waiting = || async {
        let range = RangeRequest { key: "l/".into(), range_end: "l0".into(), ..RangeRequest::default() };
        ours.store.range(range).await.unwrap().count
    };
    within(async { while waiting().await < 2 {} }).await;
    drop(stream);
    within(async { while waiting().await > 1 {} }).await;
    ours.stop().await;
}

#[tokio::test]
async fn requests_have_limits() {
    let ours = Ours::start(|config| config.max_request_bytes = 1000).await;
    let address = ours.address.to_string();
    let large = format!(r#"{{"key":"{}"}}"#, "A".repeat(1_100_000));
    for path in ["/v3/kv/put", "/v3/watch"] {
        let (status, text) = post(&address, path, &large).await.whole().await;
        assert_eq!((status, text.contains("request is too large")), (400, true), "{text}");
    }
    let deep = format!("{}{}", r#"{"success":[{"request_txn":"#.repeat(10_000), "{}");
    let (status, text) = post(&address, "/v3/kv/txn", &deep).await.whole().await;
    assert_eq!(status, 400, "{text}");
    // Ours says what is wrong with a request on a stream as with any other; etcd 3.4 calls it unknown.
    for body in [r#"{"bad"#, "[]", r#"{"create_request":5}"#] {
        let (status, text) = post(&address, "/v3/watch", body).await.whole().await;
        assert_eq!((status, text.contains(r#""code":3"#)), (400, true), "{text}");
    }
    // A stream that fails at once says so in the form of streams, with the status beside it.
    let head = "POST /v3/election/observe HTTP/1.1\r\nGrpc-Timeout: 50m";
    let (status, text) = send(&address, head, "{}").await.whole().await;
    assert_eq!((status, text.contains(r#"{"error":{"grpc_code":4,"http_code":504"#)), (504, true), "{text}");
    let (_, metrics) = send(&address, "GET /metrics HTTP/1.1", "").await.whole().await;
    assert!(!metrics.contains(r#"grpc_method="Txn""#), "what is refused here is no call");
    post(&address, "/v3/kv/range", r#"{"key":"aw=="}"#).await.whole().await;
    let (_, metrics) = send(&address, "GET /metrics HTTP/1.1", "").await.whole().await;
    assert!(metrics.contains(r#"grpc_server_handled_total{grpc_code="OK",grpc_method="Range""#), "{metrics}");
    ours.stop().await;
}

#[tokio::test]
async fn a_snapshot_comes_as_it_does_over_grpc() {
    let ours = Ours::start(|_| {}).await;
    ours.clients().await;
    let address = ours.address.to_string();
    let (status, text) = post(&address, "/v3/maintenance/snapshot", "{}").await.whole().await;
    assert_eq!(status, 200);
    let chunks: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(chunks.iter().all(|chunk| chunk["result"]["blob"].is_string()), "{text}");
    let (status, text) = post(&address, "/v3/cluster/member/list", "{}").await.whole().await;
    let members: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &members["members"][0]["name"]), (200, &"t".into()), "{text}");
    assert!(members["members"][0]["clientURLs"].is_array(), "{text}");
    ours.stop().await;
}
