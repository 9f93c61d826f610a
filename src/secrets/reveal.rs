//! The one place where a literal secret is written out: the configuration's own file.

use std::cell::Cell;

thread_local! {
    static REVEALED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, in which a literal secret serializes as itself instead of [`REDACTED`](super::REDACTED).
///
/// For what goes into the configuration's file, for comparing two configurations and for hashing one; look for its
/// callers. It holds for this thread and ends with `work`, whatever its end.
pub fn revealed<T>(work: impl FnOnce() -> T) -> T {
    struct Hide(bool);
    impl Drop for Hide {
        fn drop(&mut self) {
            REVEALED.set(self.0);
        }
    }
    let _hide = Hide(REVEALED.replace(true));
    work()
}

pub(super) fn is_revealed() -> bool {
    REVEALED.get()
}

#[cfg(test)]
mod tests {
    use super::revealed;
    use crate::secrets::Secret;

    #[test]
    fn a_literal_is_written_out_inside_only_and_not_after_a_panic_either() {
        let secret = Secret::parse("hunter2").unwrap();
        let written = || serde_json::to_value(&secret).unwrap();
        assert_eq!(revealed(written), "hunter2");
        assert_eq!(written(), "[secret]");
        let panicked = std::panic::catch_unwind(|| revealed(|| panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(written(), "[secret]");
        assert_eq!(revealed(|| format!("{secret:?}")), "[secret]");
    }
}
