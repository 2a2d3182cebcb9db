//! What a request's HTTP headers mean to the call that is made of it.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use tonic::Status;
use tonic::metadata::MetadataMap;

/// A header with this in front of its name is metadata of the call.
const METADATA: &str = "grpc-metadata-";
/// How long the client waits: digits and a unit, as in gRPC.
const TIMEOUT: &str = "grpc-timeout";

/// The call's metadata. Who the client is comes from its token alone: as in etcd, a certificate names nobody here.
pub(crate) fn metadata(headers: &HeaderMap) -> MetadataMap {
    let mut metadata = HeaderMap::new();
    if let Some(token) = headers.get(header::AUTHORIZATION) {
        metadata.insert(HeaderName::from_static("token"), token.clone());
    }
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(METADATA) else { continue };
        // What gRPC keeps for itself is not the client's to say.
        if name.starts_with("grpc-") || name.ends_with("-bin") {
            continue;
        }
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            metadata.append(name, value.clone());
        }
    }
    MetadataMap::from_headers(metadata)
}

/// How long the client waits for the answer, if it has said so.
pub(crate) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get(TIMEOUT) else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(parse);
    parsed.map(Some).ok_or_else(|| Status::invalid_argument(format!("invalid grpc-timeout: {value:?}")))
}

fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok().filter(|_| number.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue};

    use super::{metadata, timeout};

    #[test]
    fn timeouts_are_read_as_in_grpc() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("Grpc-Timeout", HeaderValue::from_static(text));
            timeout(&headers).ok().flatten()
        };
        assert_eq!(of("5S"), Some(Duration::from_secs(5)));
        assert_eq!(of("200m"), Some(Duration::from_millis(200)));
        for text in ["", "S", "5", "-5S", "999999999S", "5s"] {
            assert_eq!(of(text), None, "{text}");
        }
        assert!(timeout(&HeaderMap::new()).unwrap().is_none());
    }

    #[test]
    fn metadata_is_what_the_client_may_say() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "secret"),
            ("grpc-metadata-hasleader", "true"),
            ("grpc-metadata-grpc-timeout", "1n"),
            ("grpc-metadata-x-bin", "AA"),
            ("cookie", "c"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let metadata = metadata(&headers);
        assert_eq!(metadata.len(), 2);
        assert_eq!(metadata.get("token").unwrap(), "secret");
        assert_eq!(metadata.get("hasleader").unwrap(), "true");
    }
}
