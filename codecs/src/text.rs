//! Text and its encodings on the wire.
