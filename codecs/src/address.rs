//! Addresses: TON, NPI and the canonical form of numbers.
