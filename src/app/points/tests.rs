use super::points_of;
use crate::app::TimeBounds;
use crate::catalog::History;
use crate::catalog::testkit::{Backup, storage};
use crate::model::UnixMillis;
use std::collections::BTreeSet;

const T: i64 = 1_700_000_000_000;

/// rules.md 3.4: what a restore to any moment of a window would do.
#[tokio::test]
async fn windows_lie_between_the_ends_of_backups_and_a_hole_says_why() {
    let (_dir, storage) = storage().await;
    let chain = [
        Backup::full(T, "a"),
        Backup::incremental(T + 10_000, T, "a"),
        Backup::incremental(T + 30_000, T + 20_000, "a"), // builds on what is not there
        Backup::full(T + 40_000, "a"),
    ];
    let mut ends = Vec::new();
    for backup in &chain {
        ends.push(backup.clone().files(1).write(&storage).await.finished.0);
    }
    let history = History::read(&storage, "r", &BTreeSet::new()).await.unwrap();
    let damaged = BTreeSet::from([chain[1].folder()]);
    let points = |bounds, limit| points_of(&history, "a".to_owned(), bounds, limit, &damaged);
    let all = points(TimeBounds::default(), 10);
    let found: Vec<_> = all.windows.iter().map(|one| (one.from, one.to, one.chain.len(), one.code)).collect();
    assert_eq!(
        found,
        [
            (ends[3], None, 1, None),
            (ends[2], Some(ends[3] - 1), 0, Some("chain-gap")),
            (ends[1], Some(ends[2] - 1), 2, None),
            (ends[0], Some(ends[1] - 1), 1, None),
        ]
    );
    assert!(all.windows[1].reason.as_ref().unwrap().contains("newest whole restore point"), "{all:?}");
    assert_eq!(all.windows[2].damaged, [chain[1].folder()]);
    assert_eq!(
        (points(TimeBounds::default(), 1).windows.len(), points(TimeBounds::default(), 1).more),
        (1, 3)
    );
    let bounded = TimeBounds { from: Some(UnixMillis(ends[1])), to: Some(UnixMillis(ends[1])) };
    assert_eq!(points(bounded, 10).windows.iter().map(|one| one.from).collect::<Vec<_>>(), [ends[1]]);
}
