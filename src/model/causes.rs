//! Walking along the causes of an error.

use std::error::Error as StdError;
use std::io;

/// `error` and what is behind it, the outermost first. An `io::Error` hides what it wraps from
/// `source`; here it is shown.
pub(crate) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| behind(*error))
}

fn behind<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    match wrapped {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// The first error of type `E` at or behind `error`.
pub(crate) fn cause<'a, E: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a E> {
    causes(error).find_map(<dyn StdError>::downcast_ref)
}

/// An error and its causes on one line, without repeating what a cause says again.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    causes(error)
        .map(ToString::to_string)
        .fold(String::new(), |text, more| match text.contains(&more) {
            true => text,
            false if text.is_empty() => more,
            false => format!("{text}: {more}"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the outer: {0}")]
    struct Repeats(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("the innermost")]
    struct Innermost;

    /// What an `io::Error` wraps is found, and said once.
    #[test]
    fn walks_through_io_errors() {
        let error = Repeats(io::Error::other(Innermost));
        assert!(cause::<Innermost>(&error).is_some());
        assert!(cause::<std::fmt::Error>(&error).is_none());
        assert_eq!(chain(&error), "the outer: the innermost");
        assert_eq!(chain(&io::Error::other(Innermost)), "the innermost");
    }
}
