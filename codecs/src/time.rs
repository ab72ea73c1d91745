//! SMPP times, absolute and relative.
