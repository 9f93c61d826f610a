//! Query parameters, each refused by name when it cannot be used (abs.md 1.1).

use actix_web::{HttpRequest, web};

use super::error::ApiError;
use crate::app::TimeBounds;
use crate::model::UnixMillis;

/// The query of one request. A parameter given twice counts once, the first (as in ABS).
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// The decoded query.
    pub fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        web::Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map(|query| Self(query.into_inner()))
            .map_err(|_| ApiError::parameter("string", "cannot be decoded"))
    }

    /// Refuses what is not among `known`; only on paths that ABS does not have, it ignores the unknown.
    pub fn only(self, known: &[&str]) -> Result<Self, ApiError> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(self),
            Some((name, _)) => {
                let known = known.join(", ");
                Err(ApiError::parameter(
                    &super::error::printable(name),
                    format!("unknown; known are {known}"),
                ))
            }
        }
    }

    /// The value of a parameter; an empty one counts as absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|v| !v.is_empty())
    }

    /// A whole number ≥ 0 that fits in 63 bits.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.text(name)
            .map(|text| {
                whole_number(text).ok_or_else(|| ApiError::parameter(name, "should be a positive integer"))
            })
            .transpose()
    }

    /// `limit`: from 1 to `max`.
    pub fn limit(&self, default: i64, max: i64) -> Result<u32, ApiError> {
        let limit = self.integer("limit")?.unwrap_or(default);
        u32::try_from(limit)
            .ok()
            .filter(|limit| (1..=max).contains(&i64::from(*limit)))
            .ok_or_else(|| ApiError::parameter("limit", format!("should be from 1 to {max}")))
    }

    /// `true` or `false`; absent is false.
    pub fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ApiError::parameter(name, "should be true or false")),
        }
    }

    /// `from` and `to`, epoch milliseconds, both inclusive; ABS names the pair `time bounds`.
    pub fn time_bounds(&self) -> Result<TimeBounds, ApiError> {
        let bound = |name: &str| {
            self.text(name)
                .map(|text| {
                    whole_number(text).map(UnixMillis).ok_or_else(|| {
                        ApiError::parameter(
                            "time bounds",
                            format!("{name} should be a positive integer of milliseconds since 1970"),
                        )
                    })
                })
                .transpose()
        };
        let bounds = TimeBounds { from: bound("from")?, to: bound("to")? };
        match (bounds.from, bounds.to) {
            (Some(from), Some(to)) if from > to => {
                Err(ApiError::parameter("time bounds", "from should not be after to"))
            }
            _ => Ok(bounds),
        }
    }
}

/// A job id from a path.
pub fn job_id(text: &str) -> Result<i64, ApiError> {
    whole_number(text).ok_or_else(|| ApiError::parameter("jobId", "should be a positive integer"))
}

/// Digits only: no sign, no blank, no overflow.
pub fn whole_number(text: &str) -> Option<i64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::{Query, TimeBounds, whole_number};
    use crate::model::UnixMillis;
    use actix_web::test::TestRequest;

    fn query(text: &str) -> Query {
        Query::of(&TestRequest::with_uri(&format!("/?{text}")).to_http_request()).unwrap()
    }

    #[test]
    fn whole_numbers_have_digits_only_and_fit() {
        assert_eq!(whole_number("0"), Some(0));
        assert_eq!(whole_number("9223372036854775807"), Some(i64::MAX));
        for bad in ["", "-1", "+1", " 1", "1.0", "1e3", "0x1", "9223372036854775808", "٣"] {
            assert_eq!(whole_number(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn bounds_may_touch_but_not_cross() {
        let touching = query("from=5&to=5").time_bounds().unwrap();
        assert_eq!(touching, TimeBounds { from: Some(UnixMillis(5)), to: Some(UnixMillis(5)) });
        assert!(query("from=6&to=5").time_bounds().is_err());
        assert!(query("to=x").time_bounds().unwrap_err().to_string().contains("to should be"));
        assert_eq!(query("from=&to=").time_bounds().unwrap(), TimeBounds::default());
    }

    #[test]
    fn an_unknown_parameter_is_named_with_the_known_ones() {
        let error = query("stats=failed").only(&["status", "limit"]).unwrap_err().to_string();
        assert_eq!(error, "invalid query param stats: unknown; known are status, limit");
    }
}
