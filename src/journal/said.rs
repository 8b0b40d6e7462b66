//! What an upload says about its object, kept so that whoever goes on with it can say it again. Pure.
//!
//! Only what the caller gave: what it left out follows from the source, today as then. What a put
//! policy says is not here, only that there was one: it is part of tokens, and of those nothing is ever
//! written.

use serde::{Deserialize, Serialize};

/// Most bytes that names and values have together to be kept. Metadata has 1 KiB at most, variables
/// have no limit of their own. Escaped with six bytes for one, these are 30 KiB: that and the longest
/// path fit a line.
pub(crate) const SAID_LEN_MAX: usize = 5 * 1024;

/// What was said. An empty list and an absent text are left out, so that each has one encoding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Said {
    /// The original name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) file_name: Option<String>,
    /// The object's type.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) mime_type: Option<String>,
    /// Names and values of metadata.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) metadata: Vec<(String, String)>,
    /// Names and values of custom variables.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) vars: Vec<(String, String)>,
    /// Another object is never replaced.
    #[serde(skip_serializing_if = "is_false", default)]
    pub(crate) insert_only: bool,
    /// The file's time of change goes with the object.
    #[serde(skip_serializing_if = "is_false", default)]
    pub(crate) keep_last_modified: bool,
    /// A put policy or a token was given for this upload alone: who goes on has to give one again.
    #[serde(skip_serializing_if = "is_false", default)]
    pub(crate) has_policy: bool,
    /// There was more than can be kept: who goes on has to say it again.
    #[serde(skip_serializing_if = "is_false", default)]
    pub(crate) is_cut: bool,
}

impl Said {
    /// What can be kept of it; none of nothing.
    pub(crate) fn kept(self) -> Option<Self> {
        let pairs = self.metadata.iter().chain(&self.vars);
        let texts = self.file_name.iter().chain(&self.mime_type);
        let len = texts.map(String::len).sum::<usize>()
            + pairs
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>();
        let kept = match len > SAID_LEN_MAX {
            false => self,
            true => Self {
                file_name: None,
                mime_type: None,
                metadata: Vec::new(),
                vars: Vec::new(),
                is_cut: true,
                ..self
            },
        };
        (kept != Self::default()).then_some(kept)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}
