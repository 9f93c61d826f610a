//! `storage-class` of an S3 storage.

use serde::{Deserialize, Serialize};

use crate::config::kind::Kind;
use crate::config::reader::{Read, Section};

/// Where objects are kept, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct S3StorageClass {
    /// Data files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<S3Class>,
    /// What lists and plans read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<S3Class>,
}

/// A storage class of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)] // the names are Amazon's
pub enum S3Class {
    Standard,
    Glacier,
    StandardIa,
    OnezoneIa,
    IntelligentTiering,
    DeepArchive,
    Outposts,
    GlacierIr,
    Snow,
    ExpressOnezone,
}

const CLASSES: [(&str, S3Class); 10] = [
    ("STANDARD", S3Class::Standard),
    ("GLACIER", S3Class::Glacier),
    ("STANDARD_IA", S3Class::StandardIa),
    ("ONEZONE_IA", S3Class::OnezoneIa),
    ("INTELLIGENT_TIERING", S3Class::IntelligentTiering),
    ("DEEP_ARCHIVE", S3Class::DeepArchive),
    ("OUTPOSTS", S3Class::Outposts),
    ("GLACIER_IR", S3Class::GlacierIr),
    ("SNOW", S3Class::Snow),
    ("EXPRESS_ONEZONE", S3Class::ExpressOnezone),
];

impl S3Class {
    /// The class's word.
    pub fn word(self) -> &'static str {
        CLASSES.iter().find(|(_, class)| *class == self).map_or("STANDARD", |(word, _)| word)
    }

    /// Whether objects must be thawed before they can be read.
    pub const fn is_archive(self) -> bool {
        matches!(self, Self::Glacier | Self::DeepArchive)
    }

    /// Whether lists and plans can live with it (abs.md 2.5).
    const fn is_for_metadata(self) -> bool {
        matches!(
            self,
            Self::Standard
                | Self::StandardIa
                | Self::IntelligentTiering
                | Self::ExpressOnezone
                | Self::OnezoneIa
                | Self::Outposts
        )
    }
}

impl Read for S3StorageClass {
    const KIND: Kind = Kind::S3Class;

    fn read(section: &mut Section<'_>) -> Self {
        let metadata: Vec<(&str, S3Class)> =
            CLASSES.into_iter().filter(|(_, class)| class.is_for_metadata()).collect();
        Self { data: section.word("data", &CLASSES), metadata: section.word("metadata", &metadata) }
    }
}
