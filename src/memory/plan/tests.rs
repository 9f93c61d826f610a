use proptest::prelude::*;

use super::*;

const fn backup(parallel: u32, parallel_write: u32, part_mib: u64) -> BackupMemory {
    let part_bytes = if part_mib == 0 { None } else { Some(part_mib * MIB) };
    BackupMemory { parallel, parallel_write, part_bytes }
}

/// Policy (scans, files, MiB of a part; 0: local) → (wish, least) in MiB.
#[test]
fn what_a_backup_wishes_and_needs() {
    for (policy, wish, least) in [
        (backup(8, 8, 0), 8 * 3 + 8 * 6, 10 + 6),
        (backup(8, 2, 0), 8 * 3 + 2 * 6, 16),
        // Never more files than scans, and never less than the least.
        (backup(2, 8, 0), 2 * 3 + 2 * 6, 16),
        (backup(1, 1, 0), 16, 16),
        (backup(8, 8, 8), 8 * 3 + 8 * 21, 10 + 21),
        (backup(1, 1, 5 << 10), 10 + 5 + 2 * (5 << 10), 10 + 5 + 2 * (5 << 10)),
    ] {
        assert_eq!(policy.need(), Need { wish: wish * MIB, least: least * MIB }, "{policy:?}");
    }
    // Once the plan knows more: three namespaces have a scan and a file each, of larger records.
    assert_eq!(backup(1, 1, 0).need_of(3, 8 * MIB).wish, 3 * (10 + 6) * MIB);
    assert_eq!(RestoreMemory { parallel: 1 }.need_of(2, 8 * MIB).wish, 2 * (22 + 18) * MIB);
    let restore = |parallel| RestoreMemory { parallel }.need();
    assert_eq!(restore(8), Need { wish: 80 * MIB, least: 40 * MIB });
    assert_eq!(restore(1), Need { wish: 40 * MIB, least: 40 * MIB });
    assert_eq!(VerifyMemory::need(), Need { wish: 24 * MIB, least: 13 * MIB });
}

/// (policy, share in MiB, namespaces, MiB of the largest record) → (namespaces at once, scans, files of each).
#[test]
fn the_stages_are_as_wide_as_the_share_allows() {
    for (policy, share, namespaces, record, expected) in [
        (backup(8, 8, 0), 72, 1, 1, (1, 8, 8)),
        (backup(8, 8, 0), 72, 2, 1, (2, 4, 4)),
        (backup(8, 8, 0), 72, 3, 1, (3, 2, 2)),
        (backup(8, 8, 0), 42, 1, 1, (1, 8, 3)),
        // First files, which weigh more, then both; of large records first scans.
        (backup(8, 8, 0), 24, 1, 1, (1, 4, 2)),
        (backup(8, 3, 0), 72, 1, 8, (1, 5, 3)),
        (backup(8, 8, 8), 88, 1, 1, (1, 8, 3)),
        (backup(8, 8, 8), 31, 1, 8, (1, 1, 1)),
        // In turn where there is no room for two.
        (backup(8, 8, 0), 16, 2, 8, (1, 1, 1)),
        (backup(8, 8, 0), 16, 2, 1, (1, 3, 1)),
        (backup(8, 8, 0), 32, 5, 8, (2, 1, 1)),
    ] {
        let widths = policy.widths(share * MIB, namespaces, record * MIB);
        let found = (widths.namespaces, widths.connections, widths.writers);
        assert_eq!(found, expected, "{policy:?} {share} {namespaces} {record}");
    }
    for (share, namespaces, record, expected) in
        [(80, 1, 1, (1, 8, 16)), (40, 1, 8, (1, 1, 18)), (40, 2, 8, (1, 1, 18)), (80, 2, 8, (2, 1, 18))]
    {
        let widths = RestoreMemory { parallel: 8 }.widths(share * MIB, namespaces, record * MIB);
        let found = (widths.namespaces, widths.readers, widths.in_flight / MIB);
        assert_eq!(found, expected, "{share} {namespaces} {record}");
    }
    assert_eq!((VerifyMemory::readers(24 * MIB), VerifyMemory::readers(13 * MIB)), (4, 2));
}

#[test]
fn what_is_lowered_is_said() {
    let policy = backup(8, 8, 8);
    let told = |share: u64, namespaces| {
        policy.lowered(&policy.widths(share, namespaces, RECORD_BYTES), share, namespaces)
    };
    assert_eq!(told(policy.need().wish, 1), None);
    assert_eq!(told(u64::MAX, 20), None);
    assert_eq!(
        told(88 * MIB, 1).unwrap(),
        "with 88 MiB of the memory budget: 3 files instead of 8 (parallel-write)"
    );
    assert_eq!(
        told(31 * MIB, 2).unwrap(),
        "with 31 MiB of the memory budget: 1 of 2 namespaces at once, 1 files instead of 8 (parallel-write), \
         3 scans instead of 8 (parallel)"
    );
}

/// What is free → what it gets: the wish, or all but one more least, or all that is of no use to another, or nothing.
#[test]
fn a_wish_that_is_not_free_leaves_room_for_another() {
    let need = Need { wish: 100, least: 20 };
    for (free, got) in
        [(100, Some(100)), (99, Some(79)), (40, Some(20)), (39, Some(39)), (20, Some(20)), (19, None)]
    {
        assert_eq!(need.of(free), got, "{free}");
    }
}

#[test]
fn a_file_has_fewer_than_ten_thousand_parts() {
    let part = 8 * MIB;
    assert_eq!(file_limit(0, None), 0);
    assert_eq!(file_limit(250 * MIB, Some(part)), 250 * MIB);
    for asked in [0, u64::MAX] {
        let limit = file_limit(asked, Some(part));
        // A block of the largest record may come behind the limit, and what a compressor held.
        assert!(limit > 0 && (limit + 20 * RECORD_BYTES_MAX).div_ceil(part) < 10_000);
    }
}

proptest! {
    /// Whatever is asked for, the stages together stay in the share, and a wish that is granted is kept.
    #[test]
    fn no_stage_goes_beyond_the_share(
        parallel in 1_u32..5000,
        parallel_write in 1_u32..5000,
        part in prop_oneof![Just(None), (1_u64..(64 << 20)).prop_map(Some)],
        more in 0_u64..(4 << 30),
        namespaces in 1_usize..100,
        record in MIB..=RECORD_BYTES_MAX,
    ) {
        let policy = BackupMemory { parallel, parallel_write, part_bytes: part };
        let share = policy.need().least + more;
        let widths = policy.widths(share, namespaces, record);
        prop_assert!(widths.namespaces >= 1 && widths.writers >= 1 && widths.connections >= widths.writers);
        let lane = widths.connections as u64 * BackupMemory::connection(record)
            + widths.writers as u64 * policy.writer();
        prop_assert!(widths.namespaces as u64 * lane <= share, "{widths:?}");
        let wish = policy.need_of(namespaces, record).wish;
        let asked = policy.widths(wish, namespaces, record);
        prop_assert_eq!(policy.lowered(&asked, wish, namespaces), None);
        prop_assert_eq!(asked.namespaces, namespaces);

        let restore = RestoreMemory { parallel };
        let share = restore.need().least + more;
        let widths = restore.widths(share, namespaces, record);
        let lane = widths.readers as u64 * RestoreMemory::reader(record) + widths.in_flight;
        prop_assert!(widths.in_flight >= RestoreMemory::batch(record));
        prop_assert!(widths.namespaces as u64 * lane <= share, "{widths:?}");
    }
}
