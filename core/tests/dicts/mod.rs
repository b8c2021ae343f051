//! Any dict, for properties.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use xxnet_core::pack::{Dict, Value};

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(|bits| Value::from(f64::from_bits(bits))),
        any::<String>().prop_map(Value::from),
        vec(any::<u8>(), 0..40).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..8).prop_map(|map| Value::Dict(map.into_iter().collect())),
        ]
    })
}

pub(crate) fn any_dict() -> impl Strategy<Value = Dict> {
    btree_map(any::<String>(), any_value(), 0..8).prop_map(|map| map.into_iter().collect())
}
