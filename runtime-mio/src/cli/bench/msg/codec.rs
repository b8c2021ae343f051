//! A dict of eight keys, written and read, beside bincode of the same map.

use super::fail;
use crate::cli::errors::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;
use xxnet_core::Dict;

/// How often each is done; the fastest tenth's average counts.
const ROUNDS: usize = 100;
const EACH: u32 = 2_000;

/// The same values as bincode has them.
#[derive(Serialize, Deserialize)]
enum Plain {
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Self>),
}

/// Microseconds of ours and of bincode's, to encode and to decode.
pub(super) fn codec() -> Outcome<[(f64, f64); 2]> {
    let dict = Dict::from([
        ("id", 1_234_567.into()),
        ("name", "build-server-7".into()),
        ("done", true.into()),
        ("load", 0.75.into()),
        ("command", "cargo build --release".into()),
        ("attempt", 3.into()),
        ("codes", [1, 2, 3].into_iter().collect()),
        ("host", "node-1.lab.example".into()),
    ]);
    let plain: BTreeMap<String, Plain> = [
        ("id", Plain::Int(1_234_567)),
        ("name", Plain::Str("build-server-7".into())),
        ("done", Plain::Bool(true)),
        ("load", Plain::Float(0.75)),
        ("command", Plain::Str("cargo build --release".into())),
        ("attempt", Plain::Int(3)),
        ("codes", Plain::List(vec![Plain::Int(1), Plain::Int(2), Plain::Int(3)])),
        ("host", Plain::Str("node-1.lab.example".into())),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    let format = bincode::config::standard().with_fixed_int_encoding();
    let pack = dict.to_pack().map_err(fail)?;
    let bytes = bincode::serde::encode_to_vec(&plain, format).map_err(fail)?;
    let encode = (
        best(|| _ = black_box(black_box(&dict).to_pack())),
        best(|| _ = black_box(bincode::serde::encode_to_vec(black_box(&plain), format))),
    );
    let decode = (
        best(|| _ = black_box(Dict::from_pack(black_box(&pack)))),
        best(|| {
            let read =
                bincode::serde::decode_from_slice::<BTreeMap<String, Plain>, _>(black_box(&bytes), format);
            _ = black_box(read);
        }),
    );
    Ok([encode, decode])
}

/// Microseconds of one.
fn best(mut work: impl FnMut()) -> f64 {
    let mut took: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            (0..EACH).for_each(|_| work());
            began.elapsed().as_secs_f64() * 1e6 / f64::from(EACH)
        })
        .collect();
    took.sort_unstable_by(f64::total_cmp);
    took[..ROUNDS / 10].iter().sum::<f64>() / (ROUNDS / 10) as f64
}
