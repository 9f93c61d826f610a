//! Filter expressions, byte by byte (asb.md 5.1).

use std::sync::Arc;

use crate::sandbox::Bin;
use crate::sandbox::expression::{Filter, Subject};
use crate::sandbox::store::{Record, Set};

/// 1,000,000 s after 2010.
const NOW_MS: u64 = 1_000_000_000;

fn record() -> Record {
    let bin = |name: &[u8], kind, value: &[u8]| Bin { name: name.to_vec(), kind, value: value.to_vec() };
    Record {
        set: Arc::new(Set { name: b"demo".to_vec(), ..Set::default() }),
        key: Some(b"\x03k".to_vec()),
        bins: vec![
            bin(b"i", 1, &7_i64.to_be_bytes()),
            bin(b"s", 3, b"text"),
            bin(b"f", 2, &1.5_f64.to_be_bytes()),
            bin(b"y", 17, &[1]),
            bin(b"b", 4, &[1, 2]),
        ],
        generation: 1,
        void_time: 1_000_060,
        last_update_ms: NOW_MS - 10,
    }
}

fn matches(bytes: &[u8]) -> Option<bool> {
    let mut digest = [0; 20];
    digest[16..].copy_from_slice(&10_u32.to_le_bytes());
    let subject = Subject { digest: &digest, record: &record(), now_ms: NOW_MS };
    Filter::parse(bytes).map(|filter| filter.matches(&subject))
}

#[test]
fn what_a_backup_sends_is_understood() {
    // set name is not "<ERO~MRT"
    let no_mrt = b"\x93\x02\x91\x46\xa9\x03<ERO~MRT";
    assert_eq!(matches(no_mrt), Some(true));
    let lut_ns = (1_262_304_000_000 + NOW_MS - 10) * 1_000_000;
    let modified = |op: u8, ns: u64| [&[0x93, op, 0x91, 0x42, 0xcf][..], &ns.to_be_bytes()].concat();
    assert_eq!(matches(&modified(4, lut_ns)), Some(true), "ge at the stamp");
    assert_eq!(matches(&modified(4, lut_ns + 1)), Some(false));
    assert_eq!(matches(&modified(5, lut_ns)), Some(false), "lt at the stamp");
    assert_eq!(matches(&modified(5, lut_ns + 1)), Some(true));
    assert_eq!(matches(b"\x93\x01\x91\x45\xff"), Some(false), "ttl is not -1");
    let all = [&b"\x93\x10"[..], no_mrt, &modified(4, lut_ns)].concat();
    assert_eq!(matches(&all), Some(true));
}

#[test]
fn metadata_and_bins_are_compared() {
    let cases: [(&[u8], bool); 19] = [
        (b"\x93\x01\x91\x45\x3c", true),                              // ttl = 60
        (b"\x93\x01\x91\x43\x0a", true),                              // since update = 10 ms
        (b"\x93\x03\x91\x44\x00", true),                              // void time > 0
        (b"\x93\x01\x91\x46\xa5\x03demo", true),                      // set name
        (b"\x91\x47", true),                                          // key exists
        (b"\x91\x48", false),                                         // is tombstone
        (b"\x93\x01\x91\x41\x00", true),                              // device size in memory
        (b"\x93\x03\x91\x4a\x10", true),                              // record size > 16
        (b"\x93\x01\x92\x40\x03\x01", true),                          // digest modulo 3: 10 % 3
        (b"\x93\x01\x92\x50\x03\xa2\x03k", true),                     // user key
        (b"\x93\x01\x93\x51\x02\xa1i\x07", true),                     // bin i
        (b"\x93\x06\x93\x51\x02\xa1i\x06", false),                    // bin i <= 6
        (b"\x93\x05\x93\x51\x03\xa1s\xa5\x03text", false),            // "text" < "text"
        (b"\x93\x04\x93\x51\x07\xa1f\xcb\x3f\xf8\0\0\0\0\0\0", true), // 1.5 >= 1.5
        (b"\x93\x51\x01\xa1y", true),                                 // a bool bin is a condition
        (b"\x93\x01\x93\x51\x06\xa1b\xc4\x03\x04\x01\x02", true),     // blob bin
        (b"\x93\x01\x92\x52\xa1s\x03", true),                         // bin type
        (b"\x93\x01\x92\x52\xa1?\x00", true),                         // of a bin that is not there
        (b"\x93\x13\xc3\xc3", false),                                 // exclusive: two are true
    ];
    for (bytes, expected) in cases {
        assert_eq!(matches(bytes), Some(expected), "{bytes:02x?}");
    }
}

#[test]
fn the_unknown_is_neither_true_nor_false() {
    let missing = b"\x93\x01\x93\x51\x02\xa1?\x07";
    let of_other_type = b"\x93\x01\x93\x51\x02\xa1s\x07";
    for unknown in [&missing[..], of_other_type, b"\x91\x00"] {
        let not = [b"\x92\x12", unknown].concat();
        let and_true = [b"\x93\x10\xc3", unknown].concat();
        let or_true = [b"\x93\x11", unknown, b"\xc3"].concat();
        let not_and_false = [b"\x92\x12\x93\x10", unknown, b"\xc2"].concat();
        assert_eq!(matches(unknown), Some(false));
        assert_eq!(matches(&not), Some(false));
        assert_eq!(matches(&and_true), Some(false));
        assert_eq!(matches(&or_true), Some(true));
        assert_eq!(matches(&not_and_false), Some(true));
    }
}

#[test]
fn what_is_not_known_is_refused() {
    let nested = [[0x92, 0x12].repeat(100), vec![0xc3]].concat();
    let cases: [&[u8]; 20] = [
        b"",
        b"\xc1",
        b"\x90",
        b"\x91\x63",                                     // no such operation
        b"\x95\x07\x00\x03\xa1a\xa1b",                   // regex
        b"\x93\x14\x01\x02",                             // add
        b"\x91\x42",                                     // a number is no condition
        b"\x92\x10\xc3",                                 // AND of one
        b"\x93\x01\x91\x42\xa2\x03a",                    // a number with a string
        b"\x93\x01\x91\x46\xa1a",                        // a string without its type
        b"\x93\x01\x91\x46\xa0",                         // no type at all
        b"\x93\x01\x92\x40\x00\x01",                     // modulo 0
        b"\x93\x01\x93\x51\x04\xa1l\xc0",                // a list bin
        b"\x93\x01\x93\x51\x02\xb0aaaaaaaaaaaaaaaa\x01", // a bin name of 16 bytes
        b"\x93\x01\x91\x42",                             // cut off
        b"\xc3\xc3",                                     // bytes left over
        b"\xdd\xff\xff\xff\xff\x10\xc3",                 // hostile count
        b"\x94\x01\x91\x42\x01\x01",                     // three arguments
        b"\x81\x01\x01",                                 // a map
        &nested,
    ];
    for bytes in cases {
        assert_eq!(matches(bytes), None, "{bytes:02x?}");
    }
}
