//! Keys that must not be the same: of two devices, and of a topic and of who commands come from or go to.

use super::device::Device;
use crate::terminal::printable;
use anyhow::{bail, ensure};
use e4::{C2SecretKey, SigningKey};
use sha3::{Digest, Sha3_256};
use std::collections::{BTreeMap, HashMap};

/// All keys of a fleet, as far as they could be read.
pub(super) struct Keys<'a> {
    pub(super) c2: Option<&'a C2SecretKey>,
    pub(super) devices: &'a BTreeMap<String, Device>,
}

impl Keys<'_> {
    /// Fails if two devices have the same key, or one has the key server's.
    pub(super) fn check_distinct(&self) -> anyhow::Result<()> {
        let mut seen: HashMap<[u8; 32], &str> = HashMap::new();
        for (name, device) in self.devices {
            let Ok(key) = &device.key else { continue };
            // A hash, as secrets are not to lie about in a map that is not wiped.
            if let Some(other) = seen.insert(Sha3_256::digest(key.as_bytes()).into(), name) {
                bail!(
                    "the devices {} and {} have the same key: whoever can publish could pass commands for one on to the other. \
                     Make one of them a new key, and the device anew with it (`e4 keygen`, `e4 device init`)",
                    printable(other),
                    printable(name)
                );
            }
            ensure!(
                !self.is_c2_key(key.as_bytes()),
                "the device {} has the key of the key server: make it a key of its own",
                printable(name)
            );
        }
        Ok(())
    }

    fn is_c2_key(&self, key: &[u8; 32]) -> bool {
        let Some(c2) = self.c2 else { return false };
        is_same(c2.as_bytes(), key) || c2.public_key().as_bytes() == key
    }

    /// The device that has this key; one but those that are `except`ed.
    fn owner(&self, key: &[u8; 32], except: impl Fn(&str) -> bool) -> Option<&str> {
        let has = |device: &Device| device.key.as_ref().is_ok_and(|own| is_same(own.as_bytes(), key));
        self.devices.iter().find(|(name, device)| !except(name) && has(device)).map(|(name, _)| name.as_str())
    }

    /// Fails if the key of a topic, or one that topic keys are derived from, is that of a device or of the key server: every
    /// member of the topic could then make commands, or open those that are not for it.
    pub(super) fn check_topic_key(&self, key: &[u8; 32]) -> anyhow::Result<()> {
        let remedy = "every member of the topic could then send commands. Make the topic a key of its own, with \
                      `e4 control rotate --out` or `e4 keygen`";
        if let Some(name) = self.owner(key, |_| false) {
            bail!("the topic key is that of the device {}: {remedy}", printable(name));
        }
        ensure!(!self.is_c2_key(key), "the topic key is that of the key server: {remedy}");
        Ok(())
    }

    /// Fails if a new key for a device, which is named, is that of another one, the one that it has, or the key server's.
    pub(super) fn check_new_key(&self, device: &str, key: &NewKey<'_>) -> anyhow::Result<()> {
        let (bytes, public) = match key {
            NewKey::Client(key) => (*key, None),
            NewKey::Signing(key) => (key.as_seed(), Some(key.verifying_key())),
        };
        for bytes in [Some(bytes), public.as_ref().map(e4::VerifyingKey::as_bytes)].into_iter().flatten() {
            if let Some(other) = self.owner(bytes, |name| name == device) {
                bail!(
                    "the device {} has that key: whoever can publish could pass commands for one on to the other. Make a new \
                     key with `e4 keygen`",
                    printable(other)
                );
            }
            ensure!(!self.is_c2_key(bytes), "this is the key of the key server: make a new key with `e4 keygen`");
        }
        Ok(())
    }
}

/// What a device is to be given as its own key.
pub(crate) enum NewKey<'a> {
    Client(&'a [u8; 32]),
    Signing(&'a SigningKey),
}

/// In time that tells nothing of where they differ.
fn is_same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}
