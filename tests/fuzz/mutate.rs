//! Changes of valid inputs that damage, a bug of a writer or malice could make. All of it follows from one number.

/// A generator of numbers whose sequence is ours, so that a seed means the same for ever (splitmix64, public domain).
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }
}

/// Bytes that mean something to one of the formats.
const TELLING: &[u8] = b"\0\x01\x02\x03\x16\x7f\x80\xff \n\t\\+-*#!:;,=[]{}\"&|>'";
/// What numbers in text are replaced by.
const NUMBERS: [&str; 16] = [
    "",
    "0",
    "-0",
    "-1",
    "00",
    "255",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e999",
];

/// One to four changes of `input`; `other` is what it may be spliced with. No longer than `bytes_max`.
pub fn mutated(input: &[u8], other: &[u8], bytes_max: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        change(&mut bytes, other, random);
        bytes.truncate(bytes_max);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let length = bytes.len();
    match random.below(11) {
        _ if length == 0 => bytes.extend_from_slice(other),
        0 => bytes[random.below(length)] ^= 1 << random.below(8),
        1 => bytes[random.below(length)] = TELLING[random.below(TELLING.len())],
        2 => bytes[random.below(length)] = random.next() as u8,
        3 => bytes.truncate(random.below(length)),
        4 => drop(bytes.drain(span(length, random))),
        5 => {
            // something more, at times a lot of the same
            let byte = TELLING[random.below(TELLING.len())];
            let count = 1 << random.below(14);
            insert(bytes, &vec![byte; count], random);
        }
        6 => {
            let again = bytes[span(length, random)].to_vec();
            insert(bytes, &again, random);
        }
        7 => {
            let part = other[span(other.len(), random)].to_vec();
            insert(bytes, &part, random);
        }
        8 => {
            let end = &other[random.below(other.len())..];
            bytes.truncate(random.below(length));
            bytes.extend_from_slice(end);
        }
        9 => length_field(bytes, random),
        _ => number(bytes, random),
    }
}

/// A part of `length` bytes, more often a short one.
fn span(length: usize, random: &mut Random) -> std::ops::Range<usize> {
    let at = random.below(length);
    let most = (length - at).min(1 << random.below(17));
    at..at + random.below(most + 1)
}

fn insert(bytes: &mut Vec<u8>, part: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    bytes.splice(at..at, part.iter().copied());
}

/// Takes 1, 2, 4, 6 or 8 bytes for a big-endian length and gives it another value.
fn length_field(bytes: &mut [u8], random: &mut Random) {
    let width = [1, 2, 4, 6, 8][random.below(5)].min(bytes.len());
    // most lengths stand near the front
    let places = bytes.len() - width + 1;
    let reach = if random.below(2) == 0 { places.min(64) } else { places };
    let at = random.below(reach);
    let found = bytes[at..at + width].iter().fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
    let rest = (bytes.len() - at - width) as u64;
    let value = match random.below(10) {
        0 => 0,
        1 => found.wrapping_add(1),
        2 => found.wrapping_sub(1),
        3 => u64::MAX,
        4 => u64::MAX >> 1,
        5 => rest,
        6 => rest + 1,
        7 => 1 << random.below(64),
        8 => (128 << 20) + 1,
        _ => random.next(),
    };
    bytes[at..at + width].copy_from_slice(&value.to_be_bytes()[8 - width..]);
}

/// Replaces a number in text.
fn number(bytes: &mut Vec<u8>, random: &mut Random) {
    let from = random.below(bytes.len());
    let digit = |byte: &u8| byte.is_ascii_digit();
    let Some(start) = bytes[from..].iter().position(digit).map(|at| from + at) else { return };
    let end = bytes[start..].iter().position(|byte| !digit(byte)).map_or(bytes.len(), |at| start + at);
    let found = std::str::from_utf8(&bytes[start..end]).ok().and_then(|text| text.parse::<u64>().ok());
    let near = |step: u64| found.unwrap_or_default().wrapping_add(step).to_string();
    let text = match random.below(NUMBERS.len() + 2) {
        0 => near(1),
        1 => near(u64::MAX),
        choice => NUMBERS[choice - 2].to_owned(),
    };
    bytes.splice(start..end, text.bytes());
}
