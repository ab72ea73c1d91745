//! The load generator and the provider simulator.
