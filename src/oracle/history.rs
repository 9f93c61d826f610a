//! Everything that happened to the records of one namespace.

use crate::model::restore_order::reference::Bins;

/// One version of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// Its generation.
    pub generation: u16,
    /// Name and value of each bin; whatever else must come back with it is a bin here too.
    pub bins: Bins,
    /// From this instant on it has expired at its source; none: it never does.
    pub gone_at: Option<i64>,
}

/// One change of a record. Instants are milliseconds on an axis that never goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// The earliest and the latest instant at which it can have happened.
    pub at: (i64, i64),
    /// The instant that its node wrote into the record.
    pub stamp: i64,
    /// The stamp is older than the margin for skewed clocks explains (rules.md 9).
    pub old_stamp: bool,
    /// What the record was from then on; none: deleted.
    pub version: Option<Version>,
}

/// What a record was for some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// It had never been written.
    Never,
    /// The version of this event.
    Live(usize),
    /// Deleted.
    Deleted,
    /// The version of this event had expired.
    Expired(usize),
}

/// The changes of each record, by number, in their order.
#[derive(Debug, Clone)]
pub(crate) struct History(Vec<Vec<Event>>);

impl History {
    /// No change of any record.
    pub(crate) fn new(records: usize) -> Self {
        Self(vec![Vec::new(); records])
    }

    /// The changes of a record.
    pub(crate) fn events(&self, record: usize) -> &[Event] {
        &self.0[record]
    }

    /// Adds a change.
    pub(crate) fn push(&mut self, record: usize, event: Event) {
        self.0[record].push(event);
    }

    /// Every state that a record may have had at some instant from `from` to `until`.
    pub(crate) fn states(&self, record: usize, from: i64, until: i64) -> Vec<State> {
        let events = &self.0[record];
        let mut states = Vec::new();
        if events.first().is_none_or(|first| first.at.1 >= from) {
            states.push(State::Never);
        }
        for (place, event) in events.iter().enumerate() {
            let ends = events.get(place + 1).map_or(i64::MAX, |next| next.at.1);
            if event.at.0 > until || ends < from {
                continue;
            }
            let Some(version) = &event.version else {
                states.push(State::Deleted);
                continue;
            };
            let gone_at = version.gone_at.unwrap_or(i64::MAX);
            if gone_at > from.max(event.at.0) {
                states.push(State::Live(place));
            }
            if gone_at <= until.min(ends) {
                states.push(State::Expired(place));
            }
        }
        states
    }

    /// The place of the version that is there at an instant after the last change.
    pub(crate) fn live(&self, record: usize, now: i64) -> Option<usize> {
        let (place, last) = self.0[record].iter().enumerate().next_back()?;
        let version = last.version.as_ref()?;
        version.gone_at.is_none_or(|gone_at| gone_at > now).then_some(place)
    }

    /// The generation that the next write gives a record.
    pub(crate) fn next_generation(&self, record: usize, now: i64) -> u16 {
        let live = self.live(record, now).and_then(|place| self.0[record][place].version.as_ref());
        live.map_or(1, |version| version.generation + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deleted(at: i64) -> Event {
        Event { at: (at, at), stamp: at, old_stamp: false, version: None }
    }

    fn written(at: i64, gone_at: Option<i64>) -> Event {
        let version = Some(Version { generation: 1, bins: Bins::new(), gone_at });
        Event { version, ..deleted(at) }
    }

    #[test]
    fn a_window_shows_every_state_that_a_record_had_in_it() {
        let mut history = History::new(1);
        assert_eq!(history.states(0, 0, 100), [State::Never]);
        history.push(0, written(10, Some(20)));
        history.push(0, deleted(30));
        history.push(0, written(40, None));
        assert_eq!(history.states(0, 0, 9), [State::Never]);
        assert_eq!(history.states(0, 11, 19), [State::Live(0)]);
        assert_eq!(history.states(0, 19, 20), [State::Live(0), State::Expired(0)]);
        assert_eq!(history.states(0, 21, 29), [State::Expired(0)]);
        assert_eq!(history.states(0, 31, 99), [State::Deleted, State::Live(2)]);
        assert_eq!((history.live(0, 50), history.next_generation(0, 50)), (Some(2), 2));
    }
}
