//! Answers that are held until someone releases them.

use std::collections::BTreeMap;

use tokio::sync::watch;

/// Who waits under which name.
///
/// A release frees those that are held at that moment; whoever comes later waits for the next one.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    board: watch::Sender<BTreeMap<String, Held>>,
}

/// What is known of one name.
#[derive(Debug, Default)]
struct Held {
    /// How many are held now.
    waiting: usize,
    /// How often the name was released: whoever saw a smaller number is free.
    releases: u64,
}

impl Holds {
    /// Waits until `name` is released. Dropping the future gives the place up.
    pub(crate) async fn hold(&self, name: &str) {
        let mut seen = self.board.subscribe();
        let mut releases = 0;
        self.board.send_modify(|board| {
            let held = board.entry(name.to_owned()).or_default();
            held.waiting += 1;
            releases = held.releases;
        });
        let _place = Place {
            holds: self,
            name,
            releases,
        };
        // Only fails when the sender is gone, and `self` is the sender.
        let _ = seen
            .wait_for(|board| board.get(name).is_none_or(|held| held.releases > releases))
            .await;
    }

    /// How many answers are held under `name`.
    pub(crate) fn held(&self, name: &str) -> usize {
        self.board.borrow().get(name).map_or(0, |held| held.waiting)
    }

    /// Waits until at least one answer is held under `name`.
    pub(crate) async fn until_held(&self, name: &str) {
        let mut seen = self.board.subscribe();
        let _ = seen
            .wait_for(|board| board.get(name).is_some_and(|held| held.waiting > 0))
            .await;
    }

    /// Lets all answers held under `name` go; says how many there were.
    pub(crate) fn release(&self, name: &str) -> usize {
        let mut freed = 0;
        self.board.send_modify(|board| {
            if let Some(held) = board.get_mut(name) {
                // Counted out here, not when they wake: "held" must be over when this returns.
                freed = std::mem::take(&mut held.waiting);
                held.releases += 1;
            }
        });
        freed
    }
}

/// One held answer. Counts itself out when it goes away without having been released, for instance
/// because its client went.
struct Place<'a> {
    holds: &'a Holds,
    name: &'a str,
    /// The name's releases when it came.
    releases: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.holds.board.send_if_modified(|board| {
            let held = board.get_mut(self.name);
            let mine = held.filter(|held| held.releases == self.releases);
            mine.is_some_and(|held| {
                held.waiting = held.waiting.saturating_sub(1);
                true
            })
        });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Held, seen, released: all at once; a later one waits again; one that gives up is not counted.
    #[tokio::test]
    async fn holds_and_releases() {
        let holds = Holds::default();
        let mut first = Box::pin(holds.hold("a"));
        let mut second = Box::pin(holds.hold("a"));
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        holds.until_held("a").await;
        assert_eq!((holds.held("a"), holds.held("b")), (2, 0));

        assert_eq!(holds.release("a"), 2);
        assert_eq!(holds.held("a"), 0);
        first.await;

        let mut third = Box::pin(holds.hold("a"));
        assert!((&mut third).now_or_never().is_none());
        second.await;
        assert_eq!(holds.held("a"), 1);
        drop(third);
        assert_eq!((holds.held("a"), holds.release("a")), (0, 0));
        assert!(holds.until_held("a").now_or_never().is_none());
    }
}
