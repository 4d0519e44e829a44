//! Secrets that are kept: sealed under a key that stands in a file of its own, apart from what it seals.
//!
//! A value is sealed with ChaCha20-Poly1305 under a nonce of its own; its name is authenticated with it, so that nobody who
//! can write to the database can put one secret in another's place.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::rng::Rng;
use crate::secret::{Secret, Secrets};

const KEY_LEN: usize = 32;

/// The key with the secrets that are in use.
pub struct Vault {
    key: LessSafeKey,
    secrets: Arc<Secrets>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(***)")
    }
}

impl Vault {
    /// With the key in this file, which is made with a new key, for this user alone, where it is not there.
    ///
    /// # Errors
    /// A file that cannot be read or made, or holds no key.
    pub fn open_file(file: &Path, rng: &dyn Rng, secrets: Arc<Secrets>) -> std::io::Result<Self> {
        let mut bytes = Vec::new();
        match std::fs::File::open(file) {
            Ok(mut found) => {
                found.read_to_end(&mut bytes)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut key = [0; KEY_LEN];
                rng.fill(&mut key);
                let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
                made.write_all(&key)?;
                made.sync_all()?;
                bytes.extend(key);
            }
            Err(error) => return Err(error),
        }
        Self::new(&bytes, secrets)
            .ok_or_else(|| std::io::Error::new(ErrorKind::InvalidData, format!("this is not a key of {KEY_LEN} bytes")))
    }

    /// With this key; nothing where it has the wrong length.
    #[must_use]
    pub fn new(key: &[u8], secrets: Arc<Secrets>) -> Option<Self> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).ok()?;
        Some(Self { key: LessSafeKey::new(key), secrets })
    }

    /// The secrets that are in use.
    #[must_use]
    pub fn secrets(&self) -> &Arc<Secrets> {
        &self.secrets
    }

    /// Seals a value under its name.
    #[must_use]
    pub fn seal(&self, rng: &dyn Rng, name: &str, value: &str) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        rng.fill(&mut nonce);
        let mut sealed = value.as_bytes().to_vec();
        // Sealing fails only for values of many gigabytes.
        let done = self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name), &mut sealed);
        debug_assert!(done.is_ok(), "a value that cannot be sealed");
        let mut whole = nonce.to_vec();
        whole.extend(sealed);
        whole
    }

    /// Opens what was sealed under this name; nothing where another key sealed it, or it was changed.
    #[must_use]
    pub fn open(&self, name: &str, sealed: &[u8]) -> Option<Secret> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut rest = rest.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::from(name), &mut rest).ok()?;
        String::from_utf8(opened.to_vec()).ok().map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededRng;

    fn vault(key: u8) -> Vault {
        Vault::new(&[key; KEY_LEN], Arc::default()).expect("a key")
    }

    #[test]
    fn what_was_sealed_opens_under_its_name_and_key_alone() {
        let (vault, rng) = (vault(1), SeededRng::new(1));
        let sealed = vault.seal(&rng, "SYNQ_KEY", "hunter22");
        assert!(!sealed.windows(8).any(|part| part == b"hunter22"));
        assert_eq!(vault.open("SYNQ_KEY", &sealed).map(|s| s.expose().to_owned()).as_deref(), Some("hunter22"));
        assert_eq!(vault.open("OTHER", &sealed), None);
        assert_eq!(self::vault(2).open("SYNQ_KEY", &sealed), None);
        assert_ne!(sealed, vault.seal(&rng, "SYNQ_KEY", "hunter22"), "a nonce is used once");
    }

    #[test]
    fn what_was_changed_or_cut_does_not_open() {
        let vault = vault(1);
        let sealed = vault.seal(&SeededRng::new(1), "A", "hunter22");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(vault.open("A", &changed), None, "byte {at}");
            assert_eq!(vault.open("A", &sealed[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn the_key_file_is_made_once_for_this_user_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("allclear-vault-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("secret.key");
        let sealed = Vault::open_file(&file, &SeededRng::new(1), Arc::default()).expect("made").seal(&SeededRng::new(3), "A", "x");
        assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        let again = Vault::open_file(&file, &SeededRng::new(2), Arc::default()).expect("read");
        assert!(again.open("A", &sealed).is_some());
        std::fs::write(&file, b"short").expect("written");
        assert!(Vault::open_file(&file, &SeededRng::new(2), Arc::default()).is_err());
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
