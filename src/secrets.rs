//! Keys and passwords: hashing, sealing at rest, and making new ones. It keeps none of them; who may do what is elsewhere's.

use std::path::{Path, PathBuf};

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{digest, hmac};
use storage::secret::{self, SecretError};

/// SHA-256 of an API key: what is stored and looked up instead of the key.
pub type KeyHash = [u8; 32];

const NONCE_BYTES: usize = 12;
/// 64 letters, so that six bits of a random octet are one letter without a bias.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const KEY_LETTERS: usize = 32;
/// SMPP 3.4 §5.2.2: a password has at most 8 octets.
const SMPP_PASSWORD_LETTERS: usize = 8;

/// Encrypts credentials at rest with the key of the key file.
pub struct Vault {
    key: LessSafeKey,
    file: PathBuf,
}

/// The key file is another one than that which sealed it, or the bytes were changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored secret cannot be opened with the key file {}", file.display())]
pub struct Unsealable {
    file: PathBuf,
}

impl Vault {
    /// With the key of a key file, which is created when there is none.
    pub fn of_file(path: &Path) -> Result<Vault, SecretError> {
        secret::read_or_create(path, random()).map(|key| Vault::new(key, path))
    }

    /// `key` is the content of the key file.
    pub fn new(key: [u8; 32], file: &Path) -> Vault {
        let sealing = derive(&key, b"seal");
        // A key of the algorithm's own length is always taken.
        let unbound = UnboundKey::new(&aead::CHACHA20_POLY1305, &sealing);
        Vault {
            key: LessSafeKey::new(unbound.expect("32 octets are a key of this algorithm")),
            file: file.to_owned(),
        }
    }

    /// Encrypts; `place` is where the secret belongs, so that it cannot be moved to another entry.
    pub fn seal(&self, place: &str, secret: &[u8]) -> Vec<u8> {
        let nonce = random::<NONCE_BYTES>();
        let mut sealed = secret.to_vec();
        let sealing = self.key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(place.as_bytes()),
            &mut sealed,
        );
        // It fails for secrets of many gigabytes only.
        sealing.expect("a secret is short");
        [&nonce[..], &sealed].concat()
    }

    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(|| self.unsealable())?;
        let mut secret = sealed.to_vec();
        let opened = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place.as_bytes()), &mut secret)
            .map_err(|_| self.unsealable())?;
        let length = opened.len();
        secret.truncate(length);
        Ok(secret)
    }

    fn unsealable(&self) -> Unsealable {
        Unsealable { file: self.file.clone() }
    }
}

/// A key of its own for one purpose, the same at every start.
fn derive(key: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    let tag = hmac_sha256(key, &[b"tidegate 1 ", purpose].concat());
    tag.as_ref().try_into().expect("SHA-256 has 32 octets")
}

/// HMAC-SHA256; `as_ref` gives its 32 octets.
fn hmac_sha256(key: &[u8], data: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data)
}

pub fn sha256(data: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, data);
    digest.as_ref().try_into().expect("SHA-256 has 32 octets")
}

/// Octets of the operating system's random source.
pub fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).expect("the operating system has random numbers");
    octets
}

/// A new key of the HTTP API, of 192 random bits.
pub fn new_live_key() -> String {
    format!("tg_live_{}", random_letters(KEY_LETTERS))
}

/// A new key of an administrator, of 192 random bits.
pub fn new_admin_key() -> String {
    format!("tg_admin_{}", random_letters(KEY_LETTERS))
}

/// A new SMPP password, as long as the specification allows: 48 random bits.
pub fn new_smpp_password() -> String {
    random_letters(SMPP_PASSWORD_LETTERS)
}

fn random_letters(count: usize) -> String {
    let letter = |_| char::from(LETTERS[usize::from(random::<1>()[0] & 0x3f)]);
    (0..count).map(letter).collect()
}

/// Compares passwords in a time that does not tell how much of one was right. The password itself is not kept.
#[derive(Clone)]
pub struct PasswordCheck {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl PasswordCheck {
    pub fn new(password: &[u8]) -> PasswordCheck {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random::<32>());
        let tag = hmac::sign(&key, password);
        PasswordCheck { key, tag }
    }

    pub fn is_right(&self, password: &[u8]) -> bool {
        hmac::verify(&self.key, password, self.tag.as_ref()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a key of this octet.
    fn vault_of(octet: u8) -> Vault {
        Vault::new([octet; 32], Path::new("secret.key"))
    }

    #[test]
    fn a_sealed_secret_opens_in_its_place_with_its_key_only() {
        let vault = vault_of(7);
        let sealed = vault.seal("tenant/demo", b"secret");
        assert_eq!(vault.open("tenant/demo", &sealed), Ok(b"secret".to_vec()));
        assert_eq!(vault.open("tenant/other", &sealed), Err(vault.unsealable()));
        assert_eq!(vault_of(8).open("tenant/demo", &sealed), Err(vault.unsealable()));
        for cut in [0, 1, NONCE_BYTES, sealed.len() - 1] {
            assert_eq!(vault.open("tenant/demo", &sealed[..cut]), Err(vault.unsealable()), "{cut}");
        }
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(vault.open("tenant/demo", &changed), Err(vault.unsealable()), "bit {bit}");
        }
    }

    #[test]
    fn the_same_secret_is_sealed_differently_each_time() {
        let vault = vault_of(7);
        let sealed = vault.seal("a", b"secret");
        assert_ne!(sealed, vault.seal("a", b"secret"));
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
    }

    #[test]
    fn each_purpose_has_its_own_key_for_ever() {
        assert_eq!(derive(&[7; 32], b"a"), derive(&[7; 32], b"a"));
        assert_ne!(derive(&[7; 32], b"a"), derive(&[7; 32], b"b"));
        assert_ne!(derive(&[7; 32], b"a"), derive(&[8; 32], b"a"));
    }

    #[test]
    fn hashes_are_the_published_ones() {
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        // FIPS 180-2, appendix B.1; RFC 4231, test case 2.
        assert_eq!(hex(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let tag = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex(tag.as_ref()), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn new_keys_differ_and_fit_where_they_are_written() {
        let (one, other) = (new_live_key(), new_live_key());
        assert_ne!(one, other);
        assert_eq!(one.len(), "tg_live_".len() + 32);
        assert!(new_admin_key().starts_with("tg_admin_"));
        for key in [one, new_admin_key(), new_smpp_password()] {
            assert!(
                key.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet)),
                "{key}"
            );
        }
        assert_eq!(new_smpp_password().len(), 8);
    }

    #[test]
    fn only_the_right_password_is_right() {
        let check = PasswordCheck::new(b"bench");
        assert!(check.is_right(b"bench"));
        for wrong in [&b"Bench"[..], b"benc", b"bench\0", b""] {
            assert!(!check.is_right(wrong), "{wrong:?}");
        }
    }
}
