//! Result codes of the server.

use std::fmt;

/// A result code as the server sends it (one byte; names from the server's protocol header).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResultCode(pub u8);

impl ResultCode {
    /// Done.
    pub const OK: Self = Self(0);
    /// No such record, set or job.
    pub const NOT_FOUND: Self = Self(2);
    /// The generation check refused the write: the record here is fresher.
    pub const GENERATION: Self = Self(3);
    /// The request is malformed.
    pub const PARAMETER: Self = Self(4);
    /// The record exists and was to be created.
    pub const RECORD_EXISTS: Self = Self(5);
    /// The server gave up in time; the write may have happened.
    pub const TIMEOUT: Self = Self(9);
    /// This node does not serve the partition now.
    pub const UNAVAILABLE: Self = Self(11);
    /// Too many writes of one record at once.
    pub const KEY_BUSY: Self = Self(14);
    /// Somebody aborted the query on the server.
    pub const QUERY_ABORT: Self = Self(15);
    /// The device cannot keep up.
    pub const DEVICE_OVERLOAD: Self = Self(18);
    /// Forbidden now; for a query: the node runs as many as it may.
    pub const FORBIDDEN: Self = Self(22);
    /// The server knows no users: community edition.
    pub const SECURITY_NOT_SUPPORTED: Self = Self(51);
    /// The server knows users, but does not ask who comes.
    pub const SECURITY_NOT_ENABLED: Self = Self(52);
    /// The session of this connection has ended.
    pub const EXPIRED_SESSION: Self = Self(66);
    /// Nobody has logged in on this connection.
    pub const NOT_AUTHENTICATED: Self = Self(80);
    /// The user may not come from this address.
    pub const NOT_WHITELISTED: Self = Self(82);
    /// All batch queues of the node are full.
    pub const BATCH_QUEUES_FULL: Self = Self(152);

    /// Whether it means success.
    pub fn is_ok(self) -> bool {
        self == Self::OK
    }

    /// Whether a row of a batch that ended so is worth another try by itself (wire.md 8).
    pub fn is_row_retryable(self) -> bool {
        matches!(self, Self::TIMEOUT | Self::UNAVAILABLE | Self::KEY_BUSY | Self::DEVICE_OVERLOAD)
    }

    /// Whether a whole request that was refused so is worth another try.
    pub fn is_request_retryable(self) -> bool {
        self.is_row_retryable() || matches!(self, Self::FORBIDDEN | Self::BATCH_QUEUES_FULL)
    }

    /// Whether a new login mends it: nothing of the request was done.
    pub fn is_session_lost(self) -> bool {
        matches!(self, Self::EXPIRED_SESSION | Self::NOT_AUTHENTICATED)
    }

    /// Whether it is one of the seven that `ignore-record-error` may pass over (asb.md 6.1).
    pub fn is_ignorable(self) -> bool {
        matches!(self.0, 10 | 12 | 13 | 17 | 19 | 21 | 22)
    }

    /// Its name in the field; `unnamed` where there is none.
    pub fn name(self) -> &'static str {
        match self.0 {
            0 => "ok",
            1 => "unknown server error",
            2 => "not found",
            3 => "generation",
            4 => "parameter",
            5 => "record exists",
            6 => "bin exists",
            7 => "cluster key mismatch",
            8 => "out of space",
            9 => "timeout",
            10 => "always forbidden",
            11 => "unavailable",
            12 => "incompatible bin type",
            13 => "record too big",
            14 => "key busy",
            15 => "query aborted",
            16 => "unsupported feature",
            17 => "bin not found",
            18 => "device overload",
            19 => "key mismatch",
            20 => "namespace not found",
            21 => "bin name",
            22 => "forbidden",
            23 => "element not found",
            24 => "element exists",
            25 => "enterprise only",
            26 => "operation not applicable",
            27 => "filtered out",
            28 => "lost conflict",
            32 => "xdr key busy",
            51 => "security not supported",
            52 => "security not configured",
            60 => "invalid user",
            62 => "invalid password",
            63 => "expired password",
            64 => "forbidden password",
            65 => "invalid credential",
            66 => "expired session",
            80 => "not authenticated",
            81 => "role violation",
            82 => "not whitelisted",
            83 => "quota exceeded",
            100 => "udf execution",
            150 => "batch disabled",
            151 => "batch max requests exceeded",
            152 => "batch queues full",
            160 => "invalid geojson",
            200 => "index exists",
            201 => "index not found",
            203 => "index not readable",
            206 => "too many indexes",
            _ => "unnamed",
        }
    }
}

impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ResultCode;

    #[test]
    fn the_seven_ignorable_codes_are_those_of_the_official_tools() {
        // asb.md 6.1
        let ignorable: Vec<u8> = (0..=255).filter(|code| ResultCode(*code).is_ignorable()).collect();
        assert_eq!(ignorable, [10, 12, 13, 17, 19, 21, 22]);
    }

    #[test]
    fn a_row_is_retried_for_four_codes() {
        let retried: Vec<u8> = (0..=255).filter(|code| ResultCode(*code).is_row_retryable()).collect();
        assert_eq!(retried, [9, 11, 14, 18]);
    }
}
