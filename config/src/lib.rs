//! The typed settings and the commented defaults. It validates; it starts nothing.
