//! A small durable map from keys to values, for what is configured while running and what a store knows of itself. It does not
//! know what they mean.

use std::path::Path;

use crate::database::{Database, Settings};
use crate::error::{OpenError, StoreError};
use crate::log::Durability;
use crate::pieces;
use crate::witness::Witness;

const SETTINGS: Settings = Settings {
    durability: Durability::Fsync,
    cache_bytes: 8 << 20,
    segment_bytes: 512 << 10,
    keep_tail: false,
    zeros_ahead: false,
    read_ahead: false,
};

/// Ends a key, so that no key is the beginning of another.
const END: u8 = 0;

pub struct Catalog {
    database: Database,
    witness: Witness,
}

impl Catalog {
    /// Opens the catalog's database in `directory`, or creates it.
    pub fn open(directory: &Path) -> Result<Catalog, OpenError> {
        let database = Database::open(directory, SETTINGS)?;
        let witness = Witness::open(&database)?;
        Ok(Catalog { database, witness })
    }

    /// Refuses a catalog that another process has; writes nothing.
    pub fn is_free(directory: &Path) -> Result<(), OpenError> {
        if !directory.exists() {
            return Ok(());
        }
        crate::database::lock(directory).map(drop)
    }

    /// Replaces the value of `key`; returns when that is on the disk. A key holds no NUL.
    pub fn put(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        pieces::put(&self.database, &name(key), value)?;
        self.witness.flush(&self.database, true)
    }

    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        pieces::get(&self.database, &name(key))
    }

    /// Forgets `key`, durably.
    pub fn remove(&mut self, key: &str) -> Result<(), StoreError> {
        pieces::remove(&self.database, &name(key))?;
        self.witness.flush(&self.database, true)
    }

    /// Every key that begins with `prefix` and its value, in order.
    pub fn iterate(&self, prefix: &str) -> impl Iterator<Item = Result<(String, Vec<u8>), StoreError>> {
        pieces::scan(&self.database, prefix.as_bytes()).map(|pair| {
            let (name, value) = pair?;
            let key = name.strip_suffix(&[END]).and_then(|key| std::str::from_utf8(key).ok());
            let key =
                key.ok_or_else(|| StoreError::damaged(self.database.path(), "a key that is no text"))?;
            Ok((key.to_owned(), value))
        })
    }

    /// Must be 0: see the rules of `database`.
    pub fn blob_files(&self) -> u64 {
        self.database.blob_files()
    }
}

fn name(key: &str) -> Vec<u8> {
    assert!(!key.as_bytes().contains(&END), "a catalog key holds no NUL");
    let mut name = key.as_bytes().to_vec();
    name.push(END);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(catalog: &Catalog, prefix: &str) -> Vec<(String, usize)> {
        let pairs = catalog.iterate(prefix).map(|pair| pair.map(|(key, value)| (key, value.len())));
        pairs.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn values_of_any_length_come_back_in_the_order_of_their_keys() {
        let directory = tempfile::tempdir().unwrap();
        let mut catalog = Catalog::open(directory.path()).unwrap();
        for (key, length) in [("tenant/b", 10), ("tenant/a", 50_000), ("tenant/ab", 0), ("route/1", 3)] {
            catalog.put(key, &vec![1; length]).unwrap();
        }
        drop(catalog);
        let mut catalog = Catalog::open(directory.path()).unwrap();
        let expected = [("tenant/a", 50_000), ("tenant/ab", 0), ("tenant/b", 10)]
            .map(|(key, length)| (key.to_owned(), length));
        assert_eq!(all(&catalog, "tenant/"), expected);
        assert_eq!(catalog.get("tenant/a").unwrap(), Some(vec![1; 50_000]));
        assert_eq!(catalog.get("tenant/").unwrap(), None);

        catalog.put("tenant/a", b"short").unwrap();
        catalog.remove("tenant/ab").unwrap();
        assert_eq!(all(&catalog, "").len(), 3);
        assert_eq!(catalog.get("tenant/a").unwrap(), Some(b"short".to_vec()));
        assert_eq!(catalog.blob_files(), 0);
    }
}
