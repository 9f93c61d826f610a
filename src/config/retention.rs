//! `backup-policies.<name>.retention` (abs.md 2.6, 4.3); age and tiers are ours.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::reader::{Read, Section};
use crate::model::retention::{Policy, Tiers};

/// The longest `max-age`: a century, in hours.
const HOURS_MAX: i64 = 24 * 36_525;

/// `retention`, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Retention {
    /// How many fulls are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<u32>,
    /// Of how many fulls the incrementals are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incremental: Option<u32>,
    /// How long fulls are kept: a number of hours, days or weeks (`36h`, `30d`, `8w`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
    /// Of how many periods the newest full is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<KeepTiers>,
    /// How many fulls are always kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_fulls: Option<u32>,
}

/// `retention.keep`: of how many periods the newest full is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct KeepTiers {
    /// Days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily: Option<u32>,
    /// Weeks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weekly: Option<u32>,
    /// Months.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly: Option<u32>,
    /// Years.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yearly: Option<u32>,
}

/// How much is kept, per namespace (rules.md 5.1); at least one of these says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RetentionConfig {
    /// How many fulls are kept, from 1; none = all, or none by number where age or periods are given.
    pub full: Option<u32>,
    /// Of how many fulls the incrementals are kept; none = of all that stay.
    pub incremental: Option<u32>,
    /// Fulls that are no older are kept, in hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_hours: Option<u32>,
    /// Of how many periods the newest full is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = keep_as_written)]
    pub keep: Option<KeepTiers>,
    /// How many fulls are always kept, from 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub min_fulls: u32,
}

/// The section of the documents.
fn keep_as_written() -> utoipa::openapi::Ref {
    utoipa::openapi::Ref::from_schema_name("KeepTiers")
}

const fn one() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
const fn is_one(count: &u32) -> bool {
    *count == 1
}

impl Retention {
    /// None where nothing is asked for: everything is kept.
    pub fn resolve(&self) -> Option<RetentionConfig> {
        let Self { full, incremental, max_age, keep, min_fulls } = self;
        let max_age_hours = max_age.as_deref().and_then(hours);
        let asked = full.is_some() || incremental.is_some() || max_age_hours.is_some() || keep.is_some();
        asked.then_some(RetentionConfig {
            full: *full,
            incremental: *incremental,
            max_age_hours,
            keep: *keep,
            min_fulls: min_fulls.unwrap_or(1),
        })
    }
}

/// The hours of `36h`, `30d` or `8w`; none for anything else, or more than a century.
fn hours(text: &str) -> Option<u32> {
    let unit = match text.chars().last()? {
        'h' => 1,
        'd' => 24,
        'w' => 168,
        _ => return None,
    };
    let digits = text.get(..text.len() - 1)?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: i64 = if plain { digits.parse().ok()? } else { return None };
    let hours = count.checked_mul(unit).filter(|hours| (1..=HOURS_MAX).contains(hours))?;
    u32::try_from(hours).ok()
}

impl RetentionConfig {
    /// What is kept, in words; none: everything.
    pub fn in_words(retention: Option<Self>) -> String {
        retention.map_or_else(|| "keeps everything".to_owned(), |retention| retention.to_string())
    }

    /// By numbers alone.
    pub const fn counts(full: Option<u32>, incremental: Option<u32>) -> Self {
        Self { full, incremental, max_age_hours: None, keep: None, min_fulls: 1 }
    }

    /// What the plan goes by.
    pub fn policy(self) -> Policy {
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let otherwise = self.max_age_hours.is_some() || self.keep.is_some();
        let keep = self.keep.unwrap_or_default();
        let of = |tier: Option<u32>| tier.unwrap_or(0);
        Policy {
            full: self.full.map_or(if otherwise { 0 } else { usize::MAX }, count),
            incremental: self.incremental.map(count),
            max_age_ms: self.max_age_hours.map(|hours| i64::from(hours) * 3_600_000),
            keep: Tiers {
                daily: of(keep.daily),
                weekly: of(keep.weekly),
                monthly: of(keep.monthly),
                yearly: of(keep.yearly),
            },
            min_fulls: count(self.min_fulls),
        }
    }

    /// What keeps fulls, one phrase each.
    fn rules(&self) -> Vec<String> {
        let mut rules = Vec::new();
        rules.extend(self.full.map(|full| match full {
            1 => "the newest full".to_owned(),
            full => format!("the {full} newest fulls"),
        }));
        rules.extend(self.max_age_hours.map(|hours| match hours {
            hours if hours % 24 == 0 => format!("fulls up to {} days old", hours / 24),
            hours => format!("fulls up to {hours} hours old"),
        }));
        let keep = self.keep.unwrap_or_default();
        let tiers =
            [(keep.daily, "days"), (keep.weekly, "weeks"), (keep.monthly, "months"), (keep.yearly, "years")];
        for (count, periods) in tiers {
            let count = count.filter(|count| *count > 0);
            rules.extend(count.map(|count| format!("the last full of each of {count} {periods}")));
        }
        if self.min_fulls > 1 {
            rules.push(format!("at least {} fulls", self.min_fulls));
        }
        rules
    }
}

/// In words: `keeps the 3 newest fulls of each namespace, with the incrementals of the newest one`.
impl fmt::Display for RetentionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.rules();
        if self.full.is_none() && self.max_age_hours.is_none() && self.keep.is_none() {
            f.write_str("keeps every full")?;
        } else if rules.is_empty() {
            f.write_str("keeps the newest full of each namespace")?;
        } else {
            write!(f, "keeps {} of each namespace", rules.join(", "))?;
        }
        match self.incremental {
            None => f.write_str(", with all their incrementals"),
            Some(0) => f.write_str(", and removes the incrementals after each full"),
            Some(1) => f.write_str(", with the incrementals of the newest one"),
            Some(kept) => write!(f, ", with the incrementals of the {kept} newest"),
        }
    }
}

impl Read for Retention {
    const KIND: Kind = Kind::Retention;

    fn read(section: &mut Section<'_>) -> Self {
        let retention = Self {
            full: section.int("full", 1..=i64::from(i32::MAX)),
            incremental: section.int("incremental", 0..=i64::from(i32::MAX)),
            max_age: section.text("max-age"),
            keep: section.child("keep"),
            min_fulls: section.int("min-fulls", 1..=i64::from(i32::MAX)),
        };
        let by_number_alone = retention.max_age.is_none() && retention.keep.is_none();
        if let (Some(full), Some(incremental), true) =
            (retention.full, retention.incremental, by_number_alone)
            && incremental > full
        {
            section.reject(
                "incremental",
                format!("validation error: incremental {incremental} must not be greater than full {full}"),
            );
        }
        if let Some(age) = retention.max_age.as_deref()
            && hours(age).is_none()
        {
            section.reject("max-age", format!("{age:?} is no age: say 36h, 30d or 8w, at most a century"));
        }
        retention
    }
}

impl Read for KeepTiers {
    const KIND: Kind = Kind::Keep;

    fn read(section: &mut Section<'_>) -> Self {
        let mut count = |key| section.int(key, 0..=10_000);
        let keep = Self {
            daily: count("daily"),
            weekly: count("weekly"),
            monthly: count("monthly"),
            yearly: count("yearly"),
        };
        let counts = [keep.daily, keep.weekly, keep.monthly, keep.yearly];
        if counts.into_iter().flatten().all(|count| count == 0) {
            section.reject_all("it names no period: give daily, weekly, monthly or yearly");
        }
        keep
    }
}

#[cfg(test)]
mod tests {
    use super::{KeepTiers, RetentionConfig, hours};

    #[test]
    fn an_age_is_a_number_with_a_unit() {
        assert_eq!([hours("36h"), hours("30d"), hours("8w")], [Some(36), Some(720), Some(1344)]);
        for bad in
            ["", "d", "30", "-1d", "+1d", "1.5d", "0d", "30 d", "1y", "99999999999999999999d", "36526d", "٣d"]
        {
            assert_eq!(hours(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_document_of_before_reads_as_it_did_and_the_words_say_every_rule() {
        let old: RetentionConfig = serde_json::from_str(r#"{"full":3,"incremental":1}"#).unwrap();
        assert_eq!(old, RetentionConfig::counts(Some(3), Some(1)));
        assert_eq!(serde_json::to_string(&old).unwrap(), r#"{"full":3,"incremental":1}"#);
        assert_eq!(
            old.to_string(),
            "keeps the 3 newest fulls of each namespace, with the incrementals of the newest one"
        );
        let keep = Some(KeepTiers { daily: Some(7), monthly: Some(12), ..KeepTiers::default() });
        let all = RetentionConfig {
            max_age_hours: Some(72),
            keep,
            min_fulls: 2,
            ..RetentionConfig::counts(None, None)
        };
        assert_eq!(
            all.to_string(),
            "keeps fulls up to 3 days old, the last full of each of 7 days, the last full of each of 12 months, \
             at least 2 fulls of each namespace, with all their incrementals"
        );
        assert_eq!(
            (all.policy().full, RetentionConfig::counts(None, Some(0)).policy().full),
            (0, usize::MAX)
        );
    }
}
