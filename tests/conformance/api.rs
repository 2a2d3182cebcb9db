//! The API as its clients see it: requests and answers over HTTPS, with nothing between that knows any kind.

use std::time::Duration;

use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;

/// No answer may take longer.
const DEADLINE: Duration = Duration::from_secs(60);

pub const JSON: &str = "application/json";
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
pub const CBOR: &str = "application/cbor";
/// How `kubectl get` asks.
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
pub const METADATA: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
pub const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

pub const JSON_PATCH: &str = "application/json-patch+json";
pub const MERGE: &str = "application/merge-patch+json";
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub const APPLY: &str = "application/apply-patch+yaml";

/// What came back.
pub struct Answer {
    /// The request, for messages.
    pub asked: String,
    /// 0 if there was no answer.
    pub code: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
    /// The body, if it is JSON.
    pub body: Value,
}

impl Answer {
    /// All warnings.
    pub fn warnings(&self) -> Vec<String> {
        self.headers.get_all("warning").iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }

    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn version(&self) -> String {
        self.text("/metadata/resourceVersion").to_owned()
    }

    /// The names of a list's items.
    pub fn names(&self) -> Vec<String> {
        let items = self.body["items"].as_array().into_iter().flatten();
        items.map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// The administrator's way to the server.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
}

impl Api {
    pub fn new(client: kube::Client) -> Self {
        Self { client }
    }

    async fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<http::Response<Body>, String> {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = tokio::time::timeout(DEADLINE, self.client.send(request)).await;
        response.map_err(|_| format!("no answer within {DEADLINE:?}"))?.map_err(|error| error.to_string())
    }

    /// Any request.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let asked = format!("{method} {path}");
        let answer = async {
            let (head, body) = self.open(method, path, headers, body).await?.into_parts();
            let bytes = tokio::time::timeout(DEADLINE, body.collect_bytes()).await;
            let bytes = bytes.map_err(|_| format!("no whole answer within {DEADLINE:?}"))?.map_err(|error| error.to_string())?;
            Ok::<_, String>((head, bytes.to_vec()))
        };
        match answer.await {
            Ok((head, bytes)) => {
                let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
                Answer { asked, code: head.status.as_u16(), headers: head.headers, bytes, body }
            }
            Err(why) => Answer { asked, code: 0, headers: HeaderMap::new(), bytes: why.into_bytes(), body: Value::Null },
        }
    }

    async fn send_json(&self, method: &str, path: &str, media: &str, body: &Value) -> Answer {
        self.send(method, path, &[("content-type", media), ("accept", JSON)], body.to_string().into_bytes()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.get_as(path, JSON).await
    }

    pub async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.send("GET", path, &[("accept", accept)], Vec::new()).await
    }

    pub async fn post(&self, path: &str, object: &Value) -> Answer {
        self.send_json("POST", path, JSON, object).await
    }

    pub async fn put(&self, path: &str, object: &Value) -> Answer {
        self.send_json("PUT", path, JSON, object).await
    }

    pub async fn patch(&self, path: &str, media: &str, patch: &Value) -> Answer {
        self.send_json("PATCH", path, media, patch).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[("accept", JSON)], Vec::new()).await
    }

    pub async fn delete_with(&self, path: &str, options: &Value) -> Answer {
        self.send_json("DELETE", path, JSON, options).await
    }

    /// A stream of watch events.
    pub async fn watch(&self, path: &str) -> Watch {
        match self.open("GET", path, &[("accept", JSON)], Vec::new()).await {
            Ok(response) => Watch { code: response.status().as_u16(), body: response.into_body(), left: Vec::new() },
            Err(_) => Watch { code: 0, body: Body::empty(), left: Vec::new() },
        }
    }
}

/// Events as they come.
pub struct Watch {
    /// That of the answer; 0 if there is none.
    pub code: u16,
    body: Body,
    left: Vec<u8>,
}

impl Watch {
    /// The next event; nothing when the stream has ended, or has been silent for too long.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.left.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.left.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap_or(Value::Null));
            }
            let frame = tokio::time::timeout(DEADLINE, self.body.frame()).await.ok()??;
            if let Ok(data) = frame.ok()?.into_data() {
                self.left.extend_from_slice(&data);
            }
        }
    }

    /// Events up to the first of which `last` holds, that one included; fewer when the stream ends before.
    pub async fn until(&mut self, last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut seen = Vec::new();
        while let Some(event) = self.next().await {
            let found = last(&event);
            seen.push(event);
            if found {
                break;
            }
        }
        seen
    }
}

/// Whether an event is of this type.
pub fn is(event: &Value, kind: &str) -> bool {
    event["type"] == kind
}

/// Text for a query.
pub fn quoted(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
