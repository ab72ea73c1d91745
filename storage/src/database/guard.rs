//! Turns a panic of sled over damaged files into an error, on the thread that called it. Any other panic is none of its
//! business; in the gateway it ends the process.
//!
//! Panics unwind in every profile, because this is the one place that has to catch them. A process that wants them to be its
//! end says so once ([`abort_on_panic`]): then the hook aborts, before anything unwinds, unless the panicking thread is in a
//! guarded call. sled's own threads are in none: what they write and truncate is every database's.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::path::Path;
use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::StoreError;

/// Whether a panic outside of a guarded call ends the process.
static ABORTS: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread is in a guarded call.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on a panic ends the process, whichever thread it is on, after it has been printed: a thread that is missing would
/// leave half a gateway. Only damaged files are no reason for that.
pub fn abort_on_panic() {
    ABORTS.store(true, Ordering::Relaxed);
    set_hook();
}

/// Runs `call`; a panic in it is damage of the database at `path`. Calls do not wait for each other, and may be inside of each
/// other.
pub(crate) fn guarded<T>(path: &Path, call: impl FnOnce() -> T) -> Result<T, StoreError> {
    set_hook();
    let around = IS_GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    IS_GUARDED.set(around);
    result.map_err(|_| {
        let what = LAST_PANIC.take().unwrap_or_else(|| "sled cannot read it".to_owned());
        StoreError::damaged(path, what)
    })
}

fn set_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if IS_GUARDED.get() {
                LAST_PANIC.set(Some(place(info)));
                return;
            }
            previous(info);
            if ABORTS.load(Ordering::Relaxed) {
                process::abort();
            }
        }));
    });
}

/// Where sled stopped. The panic's own text is left out: sled prints whole pages into it, and pages hold what tenants wrote.
fn place(info: &PanicHookInfo<'_>) -> String {
    match info.location() {
        Some(place) => {
            format!("sled cannot read it (it stopped at {}:{})", file_name(place.file()), place.line())
        }
        None => "sled cannot read it".to_owned(),
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::OpenError;

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

    /// The child is this test again.
    #[test]
    fn a_panic_ends_the_process_unless_it_is_in_a_guarded_call() {
        use std::os::unix::process::ExitStatusExt;
        const CHILD: &str = "TIDEGATE_GUARD_CHILD";
        const NAME: &str = "database::guard::tests::a_panic_ends_the_process_unless_it_is_in_a_guarded_call";
        if std::env::var_os(CHILD).is_some() {
            abort_on_panic();
            let inside = || {
                guarded(Path::new("/somewhere"), || panic!("as sled does")).is_err_and(|_: StoreError| true)
            };
            assert!(std::thread::spawn(inside).join().unwrap());
            eprintln!("still alive");
            let _ = std::thread::spawn(|| panic!("a broken invariant")).join();
            process::exit(0);
        }
        let mut child = process::Command::new(std::env::current_exe().unwrap());
        let ended = child.args([NAME, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.signal(), Some(6), "{said}");
        assert!(said.contains("still alive") && said.contains("a broken invariant"), "{said}");
        assert!(!said.contains("as sled does"), "{said}");
    }
}
