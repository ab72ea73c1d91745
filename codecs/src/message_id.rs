//! Message ids of providers: opaque strings and their canonical keys.
