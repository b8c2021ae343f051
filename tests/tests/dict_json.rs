//! P1 for a person: a dict is made of JSON and printed as JSON, as the command line does it.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use xxnet_core::pack::{Dict, Value};

#[test]
fn p1_json_becomes_a_dict_and_prints_as_it_was() {
    let line = r#"{"":null,"bool":true,"dict":{"k":[]},"float":1.0,"int":-9223372036854775808,"list":[1,"a",{}],"ключ":"\"\n"}"#;
    let json: serde_json::Value = serde_json::from_str(line).unwrap();
    let dict = Dict::from_serialize(&json).unwrap();
    assert_eq!(dict.get("float"), Some(&Value::Float(1.0)));
    assert_eq!(dict.get("int"), Some(&Value::Int(i64::MIN)));
    let again = Dict::decode(&dict.encode().unwrap()).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), line);
    // And straight from one to the other.
    assert_eq!(again.deserialize::<serde_json::Value>().unwrap(), json);
}

#[test]
fn bytes_print_as_numbers_and_what_json_has_no_number_for_as_null() {
    let dict = Dict::from([("bytes", vec![0_u8, 255].into()), ("nan", f64::NAN.into())]);
    assert_eq!(serde_json::to_string(&dict).unwrap(), r#"{"bytes":[0,255],"nan":null}"#);
}

#[test]
fn json_that_is_no_dict_is_refused_with_its_path() {
    let refused = |json: serde_json::Value| Dict::from_serialize(&json).unwrap_err().to_string();
    assert_eq!(refused(json!([1])), "a list where a dict is expected");
    let jobs = json!({ "jobs": [{ "size": 1 }, { "size": u64::MAX }] });
    assert_eq!(refused(jobs), "jobs[1].size: a number of 1.8446744073709551615e19 does not fit in 64 bits");
    let mut deep = json!({});
    for _ in 0..Dict::MAX_DEPTH {
        deep = json!({ "k": deep });
    }
    let path = ["k"; Dict::MAX_DEPTH].join(".");
    assert_eq!(refused(deep), format!("{path}: lists and dicts nest more than 64 deep"));
}

#[test]
fn a_type_is_the_same_through_json_and_through_a_dict() {
    // The table of `Dict::from_serialize` says "as in JSON" more than once.
    type Everything = (Option<u8>, (), Result<char, (u8, String)>, std::net::IpAddr, f32, Vec<u8>);
    let value: Everything = (Some(1), (), Err((2, "x".into())), [127, 0, 0, 1].into(), 0.5, vec![1, 2]);
    let keyed = std::collections::BTreeMap::from([(-7, value)]);
    let json = serde_json::to_value(&keyed).unwrap();
    let dict = Dict::from_serialize(&keyed).unwrap();
    assert_eq!(serde_json::to_value(&dict).unwrap(), json);
    assert_eq!(Dict::from_serialize(&json).unwrap(), dict);
    assert_eq!(dict.deserialize(), Ok(keyed));
}
