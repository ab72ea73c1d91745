//! The allocator's memory, back to the system. It allocates nothing and is only asked when nothing else is to be done.

/// Gives back what the calling thread has freed, and what others have freed of its allocations. The allocator does so by itself
/// only while the thread goes on allocating: after a burst what it held would stay for as long as the quiet lasts.
pub fn give_back() {
    #[allow(
        unsafe_code,
        reason = "the allocator has no other door for this, and any thread may call it at any time"
    )]
    unsafe {
        libmimalloc_sys::mi_collect(true);
    }
}
