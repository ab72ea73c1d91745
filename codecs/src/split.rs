//! Cutting a long text into parts.
