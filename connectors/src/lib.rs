//! The drivers that move bytes between sockets and the engine. No routing, prices or retry rules.
