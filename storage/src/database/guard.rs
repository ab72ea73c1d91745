//! Turns a panic of sled over damaged files into a message for the operator.
//!
//! The released binary aborts on a panic, so there the hook is all that speaks; where panics unwind (tests) the caller
//! gets an error with the same text.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::error::{OpenError, StoreError};

/// Hooks belong to the whole process, so only one guarded call runs at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `call`; a panic in it is reported as damage of the database at `path`.
pub(super) fn guarded<T>(path: &Path, call: impl FnOnce() -> T) -> Result<T, StoreError> {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let place = path.to_owned();
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| report(&place, info)));
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    panic::set_hook(previous);
    result.map_err(|_| {
        let what = LAST_PANIC.take().unwrap_or_else(|| "sled cannot read it".to_owned());
        StoreError::damaged(path, what)
    })
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
