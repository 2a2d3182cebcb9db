//! Messages as JSON and as bytes, by their description: proto3's mapping, with fields under their names in the .proto files.

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Deserializer, Serializer};
use tonic::Status;

/// Reads the first JSON value of `text` as a message; none at all is an empty message. Fields and names of enums that are not
/// known are skipped, as in etcd 3.6.
pub(crate) fn to_message(kind: &MessageDescriptor, text: &[u8]) -> Result<Bytes, Status> {
    if matches!(text.trim_ascii(), b"" | b"null") {
        return Ok(Bytes::new());
    }
    let mut reader = Deserializer::from_slice(text);
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    match DynamicMessage::deserialize_with_options(kind.clone(), &mut reader, &options) {
        Ok(message) => Ok(message.encode_to_vec().into()),
        Err(error) => Err(Status::invalid_argument(error.to_string())),
    }
}

/// Appends a message as JSON. Fields with nothing in them are left out; 64-bit numbers are strings.
pub(crate) fn append(kind: &MessageDescriptor, message: Bytes, into: &mut Vec<u8>) -> Result<(), Status> {
    let failed = |error: &dyn std::fmt::Display| Status::internal(format!("etcdserver: an answer has no JSON form: {error}"));
    let message = DynamicMessage::decode(kind.clone(), message).map_err(|error| failed(&error))?;
    let options = SerializeOptions::new()
        .stringify_64_bit_integers(true)
        .use_enum_numbers(false)
        .use_proto_field_name(true)
        .skip_default_fields(true);
    message.serialize_with_options(&mut Serializer::new(into), &options).map_err(|error| failed(&error))
}

/// Finds where JSON objects end in text that comes in pieces, each byte looked at once.
#[derive(Default)]
pub(crate) struct Splitter {
    held: Vec<u8>,
    looked_at: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Splitter {
    pub fn push(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// Bytes of an object that has not ended.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there is nothing but white space.
    pub fn is_empty(&self) -> bool {
        self.held.trim_ascii().is_empty()
    }

    /// The next whole object.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, Status> {
        while let Some(byte) = self.held.get(self.looked_at) {
            self.looked_at += 1;
            if self.escaped {
                self.escaped = false;
                continue;
            }
            match byte {
                b'\\' if self.in_string => self.escaped = true,
                b'"' if self.depth > 0 => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' if self.depth > 0 || *byte == b'{' => self.depth += 1,
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        let rest = self.held.split_off(self.looked_at);
                        self.looked_at = 0;
                        return Ok(Some(std::mem::replace(&mut self.held, rest)));
                    }
                }
                byte if self.depth > 0 || byte.is_ascii_whitespace() => {}
                _ => return Err(Status::invalid_argument("a stream of requests is a sequence of JSON objects")),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::{DescriptorPool, MessageDescriptor};
    use tonic::Code;
    use tricorn_proto::ETCD_DESCRIPTORS;

    use super::{Splitter, append, to_message};

    fn kind(name: &str) -> MessageDescriptor {
        DescriptorPool::decode(ETCD_DESCRIPTORS).unwrap().get_message_by_name(name).unwrap()
    }

    #[track_caller]
    fn check(name: &str, text: &str, expect: &str) {
        let kind = kind(name);
        let mut back = Vec::new();
        append(&kind, to_message(&kind, text.as_bytes()).unwrap(), &mut back).unwrap();
        assert_eq!(String::from_utf8(back).unwrap(), expect);
    }

    #[test]
    fn both_forms_are_read_and_one_is_written() {
        let range = "etcdserverpb.RangeRequest";
        for text in ["", " ", "null", "{}", r#"{"limit":"0","keys_only":false,"unknown":[1,{"a":null}],"sort_order":"NEW"}"#] {
            check(range, text, "{}");
        }
        for text in [
            r#"{"key":"Zm9v","rangeEnd":"AA==","limit":5,"sortOrder":2,"sort_target":"MOD"}"#,
            r#"{"key":"Zm9v","range_end":"AA==","limit":"5","sort_order":"DESCEND","sortTarget":3} and more"#,
        ] {
            check(range, text, r#"{"key":"Zm9v","range_end":"AA==","limit":"5","sort_order":"DESCEND","sort_target":"MOD"}"#);
        }
        let txn = r#"{"compare":[{"key":"YQ==","version":"0"}],"success":[{"request_put":{"key":"YQ==","lease":"-1"}}]}"#;
        check("etcdserverpb.TxnRequest", txn, txn);
        check(
            "etcdserverpb.Member",
            r#"{"ID":"18446744073709551615","peerURLs":["x"],"isLearner":true}"#,
            r#"{"ID":"18446744073709551615","peerURLs":["x"],"isLearner":true}"#,
        );
        check("etcdserverpb.LeaseGrantRequest", r#"{"TTL":9,"ID":"7"}"#, r#"{"TTL":"9","ID":"7"}"#);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let deep = format!("{}{}", r#"{"success":[{"requestTxn":"#.repeat(200), "{}");
        for text in ["[]", "1", "{", r#"{"key":"***"}"#, r#"{"limit":"x"}"#, r#"{"limit":5.5}"#, r#"{"limit":{}}"#, &deep] {
            let kind = kind(if text.starts_with(r#"{"success"#) { "etcdserverpb.TxnRequest" } else { "etcdserverpb.RangeRequest" });
            assert_eq!(to_message(&kind, text.as_bytes()).unwrap_err().code(), Code::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn objects_are_found_however_they_are_cut() {
        let objects = [r#"{"a":"}{\"\\"}"#, r#"{"b":[{},[[]]]}"#, "{}"];
        let text = format!(" {}{}\n{}\n ", objects[0], objects[1], objects[2]);
        for size in 1..text.len() {
            let mut splitter = Splitter::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                splitter.push(piece);
                while let Some(object) = splitter.next().unwrap() {
                    found.push(String::from_utf8(object).unwrap().trim().to_owned());
                }
            }
            assert_eq!(found, objects);
            assert!(splitter.is_empty());
        }
        let mut splitter = Splitter::default();
        splitter.push(b" 1");
        assert_eq!(splitter.next().unwrap_err().code(), Code::InvalidArgument);
    }
}
