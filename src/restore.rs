//! The restore job: find what to restore, plan (a value one can print), verify, execute, report.

mod elsewhere;
mod execute;
mod find;
pub mod plan;
pub mod preview;
mod safety;
mod source;
mod work;

pub use plan::{Described, MemberPlan, NamespaceRestore, RestorePlan};
pub use preview::{Looked, MemberPreview, NamespacePreview, RestorePreview, SafetyPlace, look};
pub use source::Source;
pub use work::RestoreWork;
