//! Every run of every process is an instance of its own.

use std::io;
use xxnet_core::{ClusterKey, Config, InstanceId, Limits};

/// A node that was never before: its instance and its seed are the system's random numbers.
pub(crate) fn fresh(name: String, key: ClusterKey, limits: Limits) -> io::Result<Config> {
    if name.len() > Config::MAX_NAME {
        let most = format!("a name has at most {} bytes", Config::MAX_NAME);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, most));
    }
    let (mut instance, mut seed) = ([0; 16], [0; 8]);
    for bytes in [&mut instance[..], &mut seed[..]] {
        getrandom::fill(bytes).map_err(io::Error::other)?;
    }
    Ok(Config { instance: InstanceId(instance), name, key, seed: u64::from_le_bytes(seed), limits })
}
