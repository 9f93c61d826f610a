//! What the layers before every resource know of the listener by which a request came.

use std::time::Duration;

use super::rate::Rates;

/// The listener by which a request came.
pub(super) struct Listener {
    /// What each client has used.
    pub(super) rates: Rates,
    /// How long a body may take; zero: for ever.
    pub(super) read_timeout: Duration,
    /// By TLS.
    pub(super) secure: bool,
}
