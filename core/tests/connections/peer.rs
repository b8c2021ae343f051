//! The handshake from its description, with nothing of the crate's own: what a client in another language does.

use crate::world::*;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use xxnet_core::connection::KindId;
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::*;

/// What a stranger says in its Hello.
#[derive(Clone, Debug)]
pub struct Hello {
    pub version: u16,
    pub instance: InstanceId,
    pub expected: InstanceId,
    pub kind: KindId,
    pub epoch: u64,
    pub connection: u64,
    pub name: String,
    pub nonce: [u8; 32],
}

impl Hello {
    pub fn new(kind: KindId, epoch: u64) -> Self {
        Self {
            version: 1,
            instance: InstanceId([0x66; 16]),
            expected: InstanceId::NONE,
            kind,
            epoch,
            connection: 9,
            name: "stranger".into(),
            nonce: [7; 32],
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"xxn1".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.instance.0);
        bytes.extend(self.expected.0);
        bytes.extend(self.kind.0.to_le_bytes());
        bytes.extend(self.epoch.to_le_bytes());
        bytes.extend(self.connection.to_le_bytes());
        bytes.push(0); // no address
        bytes.extend((self.name.len() as u64).to_le_bytes());
        bytes.extend(self.name.as_bytes());
        bytes.extend((4u32 << 20).to_le_bytes());
        bytes.extend(self.nonce);
        bytes
    }

    pub fn pack(&self) -> DataPack {
        DataPack::new(PackType::HELLO, self.bytes())
    }
}

/// A Welcome without its proof.
pub fn welcome_body(instance: InstanceId, nonce: [u8; 32]) -> Vec<u8> {
    let mut bytes = 1u16.to_le_bytes().to_vec();
    bytes.extend(instance.0);
    bytes.extend(77u64.to_le_bytes());
    bytes.push(0); // no address
    bytes.extend(4u64.to_le_bytes());
    bytes.extend(b"fake");
    bytes.extend((4u32 << 20).to_le_bytes());
    bytes.extend(nonce);
    bytes.extend([0; 32]); // nothing to resume
    bytes
}

pub fn proof(key: &ClusterKey, label: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).unwrap();
    mac.update(label);
    for part in parts {
        mac.update(&(part.len() as u32).to_le_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// A whole Welcome to the Hello whose bytes are given.
pub fn welcome(key: &ClusterKey, hello: &[u8], instance: InstanceId) -> DataPack {
    let mut bytes = welcome_body(instance, [8; 32]);
    let proof = proof(key, b"xxnet welcome", &[hello, &bytes]);
    bytes.extend(proof);
    DataPack::new(PackType::WELCOME, bytes)
}

/// A whole Confirm.
pub fn confirm(key: &ClusterKey, hello: &[u8], welcome: &[u8]) -> DataPack {
    let mut bytes = vec![0; 32];
    let proof = proof(key, b"xxnet confirm", &[hello, welcome, &bytes]);
    bytes.extend(proof);
    DataPack::new(PackType::CONFIRM, bytes)
}

/// Where a dialler's session stands.
pub fn resume(generation: u64, known: u64, received: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    [generation, known, received].iter().for_each(|count| bytes.extend(count.to_le_bytes()));
    bytes.extend((1_u32 << 20).to_le_bytes()); // window
    bytes.extend(60_000_u32.to_le_bytes()); // timeout in milliseconds
    bytes
}

/// A whole Confirm of a session kind.
pub fn confirm_with(key: &ClusterKey, hello: &[u8], welcome: &[u8], resume: &[u8]) -> DataPack {
    let mut bytes = resume.to_vec();
    let proof = proof(key, b"xxnet confirm", &[hello, welcome, &bytes]);
    bytes.extend(proof);
    DataPack::new(PackType::CONFIRM, bytes)
}

/// The code of a refusal.
pub fn refusal(pack: &DataPack) -> u16 {
    assert_eq!(pack.pack_type, PackType::REFUSE);
    u16::from_le_bytes(pack.head[18..20].try_into().unwrap())
}

impl World {
    /// A stranger says Hello and gets a Welcome.
    pub fn raw_hello(&mut self, at: &str, hello: &Hello) -> (Raw, DataPack) {
        let mut raw = self.raw_dial(at);
        self.raw_pack(&raw, &hello.pack());
        let welcome = self.raw_next(&mut raw).expect("an answer");
        (raw, welcome)
    }

    /// A stranger that has the key connects.
    pub fn raw_join(&mut self, at: &str, hello: &Hello) -> Raw {
        let (raw, welcome) = self.raw_hello(at, hello);
        assert_eq!(welcome.pack_type, PackType::WELCOME);
        self.raw_pack(&raw, &confirm(&KEY, &hello.bytes(), &welcome.head));
        raw
    }
}
