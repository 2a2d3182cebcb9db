#![allow(clippy::unwrap_used)]
use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|letter| letter.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

#[test]
fn what_is_written_is_what_upstream_writes() {
    let cases = [
        (json!(null), "f6"),
        (json!([false, true]), "82 f4 f5"),
        (json!([0, 23, 24, 256, 65536, 4294967296_u64]), "86 00 17 1818 190100 1a00010000 1b0000000100000000"),
        (json!([-1, -24, -25, i64::MIN]), "84 20 37 3818 3b7fffffffffffffff"),
        // In the shortest width that keeps them: 16, 32 and 64 bits.
        (json!([1.5, 100000.0, 1.1]), "83 f93e00 fa47c35000 fb3ff199999999999a"),
        (json!("aé"), "43 61c3a9"),
        // Shorter keys come first, then those whose bytes are less.
        (json!({"bb": 1, "a": 2, "ab": 3}), "a3 4161 02 426162 03 426262 01"),
    ];
    for (value, expected) in cases {
        assert_eq!(encode_item(&value), hex(expected), "{value}");
    }
    assert_eq!(seal(&hex("a0")), hex("d9d9f7 a0"));
}

#[test]
fn lists_and_events_are_put_around_items() {
    let items: Vec<Bytes> = [json!({"a": 1}), json!({"b": [2]})].iter().map(|value| encode_item(value).into()).collect();
    let metadata = json!({"resourceVersion": "7"});
    let expected = json!({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": [{"a": 1}, {"b": [2]}]});
    let list = encode_list("v1", "PodList", &metadata, &items);
    assert_eq!(decode(&list).unwrap(), expected);
    // Keys stand where sorting would put them.
    assert_eq!(list, seal(&encode_item(&expected)));
    let mut event = Vec::new();
    write_event("ADDED", &items[0], &mut event);
    assert_eq!(decode(&event).unwrap(), json!({"type": "ADDED", "object": {"a": 1}}));
    assert_eq!(event, hex("d9d9f7 a2 4474797065 454144444544 466f626a656374 d9d9f7 a1 4161 01"));
}

#[test]
fn what_others_write_is_read() {
    let cases = [
        // Texts and bytes, whole and in parts.
        ("63 61c3a9", json!("aé")),
        ("5f 4161 4162 ff", json!("ab")),
        ("7f 6161 62c3a9 ff", json!("aé")),
        // Containers without a length.
        ("9f 01 02 ff", json!([1, 2])),
        ("bf 6161 01 4162 f6 ff", json!({"a": 1, "b": null})),
        // Bytes that are to be written as text: base64 for URLs, base64, digits.
        ("d5 43 fbff01", json!("-_8B")),
        ("d6 43 fbff01", json!("+/8B")),
        ("d7 43 fbff01", json!("FBFF01")),
        // Moments.
        ("c0 74 323031332d30332d32315432303a30343a30305a", json!("2013-03-21T20:04:00Z")),
        ("c1 1a514b67b0", json!("2013-03-21T20:04:00Z")),
        ("c1 fb41d452d9ec200000", json!("2013-03-21T20:04:00.5Z")),
        // Tags that nobody knows, and the one that says what this is.
        ("d9d9f7 d9d9f7 d903e7 01", json!(1)),
        // Numbers that are longer than they need be.
        ("1b0000000000000001", json!(1)),
        ("f93c00", json!(1.0)),
        ("3b7fffffffffffffff", json!(i64::MIN)),
        ("1b7fffffffffffffff", json!(i64::MAX)),
    ];
    for (bytes, expected) in cases {
        assert_eq!(decode(&hex(bytes)).unwrap(), expected, "{bytes}");
    }
}

#[test]
fn what_json_has_not_is_refused() {
    let cases = [
        ("", "cbor: the data ends too early or is malformed near byte 0"),
        ("a1 4161", "cbor: the data ends too early or is malformed near byte 3"),
        ("ff", "cbor: the data ends too early or is malformed near byte 1"),
        ("82 01", "cbor: the data ends too early or is malformed near byte 2"),
        ("5b ffffffffffffffff 00", "cbor: the data ends too early or is malformed near byte 9"),
        ("7b ffffffffffffffff 00", "cbor: the data ends too early or is malformed near byte 9"),
        ("01 02", "cbor: 1 bytes of extraneous data after the item"),
        ("42 c328", "cbor: invalid UTF-8 string"),
        ("62 c328", "cbor: invalid UTF-8 string"),
        ("a2 4161 01 6161 02", r#"cbor: found duplicate map key "a""#),
        ("a1 01 02", "cbor: map keys have to be strings"),
        ("1bffffffffffffffff", "cbor: a number beyond 64 bits is not supported"),
        ("3bffffffffffffffff", "cbor: a number beyond 64 bits is not supported"),
        ("c2 49 010000000000000000", "cbor: a number beyond 64 bits is not supported"),
        ("f97c00", "cbor: infinity or NaN is not supported"),
        ("f97e00", "cbor: infinity or NaN is not supported"),
        ("f7", "cbor: a simple value other than false, true and null is not supported"),
        ("c0 6161", "cbor: a time that is not RFC 3339 is not supported"),
        ("c1 fb7e37e43c8800759c", "cbor: a time beyond the years 1 to 9999 is not supported"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(decode(&hex(bytes)).unwrap_err().to_string(), expected, "{bytes}");
    }
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = |levels: usize| [vec![0x81; levels], vec![0x01]].concat();
    assert!(decode(&nested(64)).is_ok());
    assert_eq!(decode(&nested(65)).unwrap_err().to_string(), "cbor: exceeded max nested level 64");
    assert!(decode(&nested(3_000_000)).is_err());
    assert!(decode(&[vec![0xc6; 100_000], vec![0x01]].concat()).is_err());
    // Three million values, and an array that only says that it has as many.
    let many = [vec![0x9a, 0x00, 0x2d, 0xc6, 0xc0], vec![0xf6; 3_000_000]].concat();
    assert_eq!(decode(&many).unwrap_err().to_string(), "cbor: exceeded max number of values 500000");
    assert!(decode(&hex("9b ffffffffffffffff")).is_err());
    assert!(decode(&hex("bb ffffffffffffffff")).is_err());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..8).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_comes_back_as_it_was(value in any_json()) {
        let body = seal(&encode_item(&value));
        let back = decode(&body).unwrap();
        prop_assert_eq!(&back, &value);
        prop_assert_eq!(seal(&encode_item(&back)), body);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn spoilt_bodies_never_panic(value in any_json(), at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let mut body = seal(&encode_item(&value));
        let at = at.index(body.len());
        body[at] = byte;
        body.truncate(if cut { at } else { body.len() });
        let _ = decode(&body);
    }
}
