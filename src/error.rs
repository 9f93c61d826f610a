//! The one error type: a stable code, what happened, what to do next, and whether another try can help.
//!
//! Rules: say what happened, to what, and what to do next; lower case, no full stop; never a secret; the source
//! is attached, not printed into the message. Codes are kebab-case, stable, and listed in `docs/errors.md`.

use std::borrow::Cow;

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whether another try of the same thing can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It will fail again until somebody changes something.
    Permanent,
    /// The cause may pass.
    Temporary,
}

/// What went wrong, to what, and what to do next.
#[derive(Debug)]
pub struct Error {
    code: &'static str,
    retry: Retry,
    message: String,
    hint: Option<Cow<'static, str>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error that another try will not mend.
    pub fn permanent(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, retry: Retry::Permanent, message: message.into(), hint: None, source: None }
    }

    /// An error whose cause may pass.
    pub fn temporary(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, retry: Retry::Temporary, message: message.into(), hint: None, source: None }
    }

    /// Adds what to do next, as a full sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Attaches the cause.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says what was being done: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl std::fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Whether another try can help.
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// Whether another try can help.
    pub fn is_temporary(&self) -> bool {
        self.retry == Retry::Temporary
    }

    /// What to do next, if there is something to say.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The message with all its causes, joined by `: `, and the hint; for logs and job rows.
    pub fn report(&self) -> String {
        let mut text = self.report_without_hint();
        if let Some(hint) = &self.hint {
            text.push_str(". ");
            text.push_str(hint);
        }
        text
    }

    /// The message with all its causes, joined by `: `.
    pub fn report_without_hint(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::Error;

    #[test]
    fn report_names_the_causes_and_what_to_do() {
        let error = Error::temporary("cluster-unreachable", "connect to 127.0.0.1:3000")
            .source(std::io::Error::other("refused"))
            .hint("Check that the node is up.");
        assert_eq!(error.to_string(), "connect to 127.0.0.1:3000");
        assert_eq!(error.report(), "connect to 127.0.0.1:3000: refused. Check that the node is up.");
        assert!(error.is_temporary());
    }
}
