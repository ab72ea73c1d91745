//! Turns a panic of sled over damaged files into a message for the operator.
//!
//! The released binary aborts on a panic, so there the hook is all that speaks; where panics unwind (tests) the caller
//! gets an error with the same text.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use crate::error::{OpenError, StoreError};

/// How sled calls the threads that read and write for it. They can panic over damage too.
const SLED_THREADS: &str = "sled-io-";

/// The databases that are in a guarded call at this moment.
static GUARDED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

thread_local! {
    /// The database whose guarded call is on this thread.
    static HERE: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `call`; a panic in it is reported as damage of the database at `path`. Calls do not wait for each other, and a
/// panic of another thread that is not sled's is not for us.
pub(super) fn guarded<T>(path: &Path, call: impl FnOnce() -> T) -> Result<T, StoreError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| match guarded_path() {
            Some(path) => report(&path, info),
            None => previous(info),
        }));
    });
    paths(|paths| paths.push(path.to_owned()));
    HERE.set(Some(path.to_owned()));
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    HERE.set(None);
    paths(|paths| {
        if let Some(at) = paths.iter().rposition(|other| other == path) {
            paths.remove(at);
        }
    });
    result.map_err(|_| {
        let what = LAST_PANIC.take().unwrap_or_else(|| "sled cannot read it".to_owned());
        StoreError::damaged(path, what)
    })
}

fn paths<T>(with: impl FnOnce(&mut Vec<PathBuf>) -> T) -> T {
    with(&mut GUARDED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The database that a panic on this thread is about; of several that sled's threads may work for, the last begun.
fn guarded_path() -> Option<PathBuf> {
    let is_of_sled = thread::current().name().is_some_and(|name| name.starts_with(SLED_THREADS));
    HERE.with_borrow(Clone::clone).or_else(|| paths(|paths| paths.last().cloned()).filter(|_| is_of_sled))
}

/// Prints what the typed error would say, because in the released binary nothing runs after this. The panic's own text
/// is left out: sled prints whole pages into it, and pages hold what tenants wrote.
fn report(path: &Path, info: &PanicHookInfo<'_>) {
    let what = match info.location() {
        Some(place) => {
            format!("sled cannot read it (it stopped at {}:{})", file_name(place.file()), place.line())
        }
        None => "sled cannot read it".to_owned(),
    };
    eprintln!("{}", OpenError::damaged(path, what.as_str()));
    LAST_PANIC.set(Some(what));
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_names_the_place_and_no_content() {
        let path = Path::new("/somewhere/journal");
        let error = guarded(path, || panic!("page with a secret")).map(|(): ()| ()).unwrap_err();
        let text = OpenError::from(error).to_string();
        assert!(
            text.starts_with("/somewhere/journal is damaged: sled cannot read it (it stopped at guard.rs:"),
            "{text}"
        );
        assert!(text.contains("tidegate journal salvage DIR") && !text.contains("secret"), "{text}");
        assert_eq!(guarded(path, || 7).unwrap(), 7);
    }
}
