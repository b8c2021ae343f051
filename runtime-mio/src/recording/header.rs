//! What a recording says of its machine.

use serde::{Deserialize, Serialize};
use std::fmt;
use xxnet_core::needs::Label;
use xxnet_core::{ClusterKey, Config, ExecutorConfig, InstanceId, Instant, Limits};

/// All that the machine was built from, but the cluster key; and which part of its recording this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Of the program that recorded.
    pub version: String,
    /// When it began, in microseconds since 1970.
    pub began: u64,
    /// The same moment on the machine's clock.
    began_at: Instant,
    /// Which part: the first, number 0, begins with the machine as it is built, every other one with its state.
    pub part: u64,
    /// Events that the machine was given before this part.
    pub events: u64,
    /// Which machine.
    pub subject: Subject,
    instance: InstanceId,
    name: String,
    seed: u64,
    limits: Limits,
    key_check: [u8; 32],
}

/// Which machine was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A registry.
    Registry,
    /// An executor; addresses as they are written, which keeps all of them.
    Executor {
        /// As in [`ExecutorConfig`].
        registries: Vec<String>,
        /// As in [`ExecutorConfig`].
        listen: String,
        /// As in [`ExecutorConfig`].
        advertise: Option<String>,
        /// As in [`ExecutorConfig`].
        slots: u32,
        /// As in [`ExecutorConfig`].
        client: bool,
        /// As in [`ExecutorConfig`].
        labels: Vec<Label>,
        /// As in [`ExecutorConfig`].
        lease_only: bool,
    },
}

/// Why no machine can be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// The header is none, or another version's.
    Unreadable,
    /// The recorded cluster had another key.
    WrongKey,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "its header cannot be read by this version",
            Self::WrongKey => "the cluster key is another one than that of the recorded daemon",
        })
    }
}

impl std::error::Error for HeaderError {}

impl From<&ExecutorConfig> for Subject {
    fn from(settings: &ExecutorConfig) -> Self {
        Self::Executor {
            registries: settings.registries.iter().map(ToString::to_string).collect(),
            listen: settings.listen.to_string(),
            advertise: settings.advertise.as_ref().map(ToString::to_string),
            slots: settings.slots,
            client: settings.client,
            labels: settings.labels.clone(),
            lease_only: settings.lease_only,
        }
    }
}

impl Subject {
    /// "registry" or "executor".
    pub fn role(&self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Executor { .. } => "executor",
        }
    }

    /// What an executor was built from; `None` for a registry.
    ///
    /// # Errors
    /// An address that is none.
    pub fn settings(&self) -> Result<Option<ExecutorConfig>, HeaderError> {
        let Self::Executor { registries, listen, advertise, slots, client, labels, lease_only } = self else {
            return Ok(None);
        };
        let address = |text: &String| text.parse().map_err(|_| HeaderError::Unreadable);
        Ok(Some(ExecutorConfig {
            registries: registries.iter().map(address).collect::<Result<_, _>>()?,
            listen: listen.parse().map_err(|_| HeaderError::Unreadable)?,
            advertise: advertise.as_ref().map(address).transpose()?,
            slots: *slots,
            client: *client,
            labels: labels.clone(),
            lease_only: *lease_only,
        }))
    }
}

impl Header {
    /// For a machine that is built from this, now. `began` is now in microseconds since 1970.
    pub fn new(config: &Config, subject: Subject, began: u64, now: Instant) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            began,
            began_at: now,
            part: 0,
            events: 0,
            subject,
            instance: config.instance,
            name: config.name.clone(),
            seed: config.seed,
            limits: config.limits.clone(),
            key_check: key_check(&config.key, config.instance),
        }
    }

    /// From a file's bytes.
    ///
    /// # Errors
    /// They are no header of this version.
    pub fn from_json(json: &[u8]) -> Result<Self, HeaderError> {
        let header: Self = serde_json::from_slice(json).map_err(|_| HeaderError::Unreadable)?;
        header.limits.validate().map_err(|_| HeaderError::Unreadable)?;
        Ok(header)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        // Numbers, texts and lists alone: nothing of it can fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Of the part behind this one, which begins after so many events.
    pub(super) fn next(&self, events: u64) -> Self {
        Self { part: self.part + 1, events, ..self.clone() }
    }

    /// Whether this one's part is the one before `next`'s, of the same run.
    pub fn leads_to(&self, next: &Self) -> bool {
        *self == Self { part: self.part, events: self.events, ..next.clone() } && self.part + 1 == next.part
    }

    /// A moment of the machine's clock, in microseconds since 1970.
    pub fn wall(&self, at: Instant) -> u64 {
        self.began.saturating_add(at.as_micros()).saturating_sub(self.began_at.as_micros())
    }

    /// The recorded daemon's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the machine was built from.
    ///
    /// # Errors
    /// The key is another one.
    pub fn config(&self, key: ClusterKey) -> Result<Config, HeaderError> {
        if key_check(&key, self.instance) != self.key_check {
            return Err(HeaderError::WrongKey);
        }
        let config = Config::new(self.instance, self.name.clone(), key, self.seed);
        Ok(Config { limits: self.limits.clone(), ..config })
    }
}

/// Tells whether a key is the right one, and nothing else of it: it has 256 random bits, so that trying is no use.
fn key_check(key: &ClusterKey, instance: InstanceId) -> [u8; 32] {
    *blake3::keyed_hash(&key.0, &[b"xxnet recording", &instance.0[..]].concat()).as_bytes()
}
