//! The pure core: commands in, events out, effects released by others. No I/O, no clock, no randomness.
