//! What strangers, mistakes and broken disks do to the real binary: each has a typed answer or a refusal that names the place,
//! nobody else notices, and nothing acknowledged is lost.

mod bits;
mod disk;
mod json;
mod pdus;
mod peers;
mod store;
