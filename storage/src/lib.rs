//! Journal, archive and catalog: opaque bytes on disk. It does not know what a record means.
