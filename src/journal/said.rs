//! What an upload says about its object, kept so that whoever goes on with it can say it again. Pure.
//!
//! Only what the caller gave: what it left out follows from the source, today as then. What the put
//! policy says is not here: it is part of tokens, and of those nothing is ever written. That there was
//! one is: an upload that went on without it would make another object than was asked for.

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
    /// The object's `Last-Modified` is the source's.
    #[serde(skip_serializing_if = "is_false", default)]
    pub(crate) keep_last_modified: bool,
    /// It was made by a put policy or a token of its own: who goes on has to give it again.
    #[serde(skip_serializing_if = "is_false", default)]
    pub(crate) has_own_right: bool,
    /// The variables were more than can be kept: who goes on has to say them again.
    #[serde(skip_serializing_if = "is_false", default)]
    pub(crate) is_cut: bool,
    /// So were file name and type.
    #[serde(skip_serializing_if = "is_false", default)]
    pub(crate) are_texts_cut: bool,
}

impl Said {
    /// What can be kept of it; none of nothing. Variables go first: they alone are long in practice.
    pub(crate) fn kept(mut self) -> Option<Self> {
        if self.len() > SAID_LEN_MAX && !self.vars.is_empty() {
            self.vars = Vec::new();
            self.is_cut = true;
        }
        if self.len() > SAID_LEN_MAX {
            (self.file_name, self.mime_type) = (None, None);
            self.are_texts_cut = true;
        }
        (self != Self::default()).then_some(self)
    }

    /// Bytes of all names and values.
    fn len(&self) -> usize {
        let pairs = self.metadata.iter().chain(&self.vars);
        let pairs = pairs.map(|(name, value)| name.len() + value.len());
        let texts = self.file_name.iter().chain(&self.mime_type);
        pairs.sum::<usize>() + texts.map(String::len).sum::<usize>()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}
