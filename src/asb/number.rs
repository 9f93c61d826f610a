//! Numbers in the text: floats in every official spelling, integers (asb.md 1.7).
#![allow(clippy::indexing_slicing)] // digit buffers of fixed size, filled a few lines above

/// Most digits that the shortest form of a double needs.
const FLOAT_DIGITS_MAX: usize = 17;

/// Appends the shortest digits that read back as `value`, with an exponent iff it is below -4 or at least 6, as the
/// official Go encoder does for bins. Every NaN is `nan`, because the Go reader rejects `-nan`.
pub(super) fn push_float(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        let text: &[u8] = if value.is_nan() {
            b"nan"
        } else if value > 0.0 {
            b"inf"
        } else {
            b"-inf"
        };
        out.extend_from_slice(text);
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    if value == 0.0 {
        out.push(b'0');
        return;
    }
    let (digits, count, exponent) = few_decimals(value.abs()).unwrap_or_else(|| shortest_digits(value.abs()));
    push_digits(out, &digits[..count], exponent);
}

/// What [`shortest_digits`] says, but quickly, of a number from 1 to below 10^9 with at most six decimals, as prices and
/// measurements have them.
///
/// Six decimals and nine digits before them are the 15 digits up to which no two decimal numbers share a double: if one
/// reads as `value`, no other does, so its digits are the shortest. Both operands of the division are exact, so it
/// rounds as reading does.
fn few_decimals(value: f64) -> Option<([u8; FLOAT_DIGITS_MAX], usize, i32)> {
    const SCALE: f64 = 1e6;
    const SCALE_DIGITS: i32 = 6;
    if !(1.0..1e9).contains(&value) {
        return None;
    }
    let millionths = (value * SCALE + 0.5) as u64;
    if (millionths as f64 / SCALE).to_bits() != value.to_bits() {
        return None;
    }
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(millionths).as_bytes();
    let exponent = text.len() as i32 - 1 - SCALE_DIGITS;
    let count = text.iter().rposition(|digit| *digit != b'0')? + 1;
    let mut digits = [b'0'; FLOAT_DIGITS_MAX];
    digits.get_mut(..count)?.copy_from_slice(&text[..count]);
    Some((digits, count, exponent))
}

/// The shortest decimal digits of a positive finite value, how many, and the decimal exponent of the first.
fn shortest_digits(value: f64) -> ([u8; FLOAT_DIGITS_MAX], usize, i32) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    let (mut digits, mut count) = ([b'0'; FLOAT_DIGITS_MAX], 0);
    let (mut exponent, mut in_fraction, mut zeros) = (-1i32, false, 0usize);
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'.' => in_fraction = true,
            b'e' => {
                exponent += parse_exponent(&text[at + 1..]);
                break;
            }
            b'0' => {
                // before the first digit a zero only moves the point; after it, it counts if another digit follows
                if count > 0 {
                    zeros += 1;
                }
                exponent += i32::from(count > 0 && !in_fraction) - i32::from(count == 0 && in_fraction);
            }
            digit => {
                count += zeros; // the buffer was full of them
                zeros = 0;
                digits[count] = digit;
                count += 1;
                exponent += i32::from(!in_fraction);
            }
        }
    }
    (digits, count, exponent)
}

/// The exponent of ryu's own output: an optional minus and up to three digits.
fn parse_exponent(text: &[u8]) -> i32 {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let value = digits.iter().fold(0, |value, digit| value * 10 + i32::from(digit - b'0'));
    if negative { -value } else { value }
}

fn push_digits(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    const ZEROS: &[u8] = b"000000";
    match exponent {
        -4..=-1 => {
            out.extend_from_slice(b"0.");
            out.extend_from_slice(&ZEROS[..(-exponent - 1) as usize]);
            out.extend_from_slice(digits);
        }
        0..=5 => {
            let whole = exponent as usize + 1;
            if digits.len() <= whole {
                out.extend_from_slice(digits);
                out.extend_from_slice(&ZEROS[..whole - digits.len()]);
            } else {
                out.extend_from_slice(&digits[..whole]);
                out.push(b'.');
                out.extend_from_slice(&digits[whole..]);
            }
        }
        _ => {
            out.push(digits[0]);
            if digits.len() > 1 {
                out.push(b'.');
                out.extend_from_slice(&digits[1..]);
            }
            out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
            let magnitude = exponent.unsigned_abs();
            if magnitude < 10 {
                out.push(b'0');
            }
            out.extend_from_slice(itoa::Buffer::new().format(magnitude).as_bytes());
        }
    }
}

/// Reads a float as either official reader would: decimal or hexadecimal, `nan`, `inf` and `infinity` in any case with
/// or without a sign. A number too large for a double is none (C would make it infinite, Go rejects it).
pub(super) fn parse_float(text: &[u8]) -> Option<f64> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let magnitude = match unsigned {
        [b'0', b'x' | b'X', digits @ ..] => hex_float(digits)?,
        [b'0'..=b'9' | b'.', ..] => std::str::from_utf8(unsigned).ok()?.parse::<f64>().ok()?,
        word if word.eq_ignore_ascii_case(b"nan") => {
            return Some(if negative { -f64::NAN } else { f64::NAN });
        }
        word if word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"infinity") => {
            return Some(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        _ => return None,
    };
    magnitude.is_finite().then_some(if negative { -magnitude } else { magnitude })
}

/// `h.hhhp±d` without its `0x`, rounded to the nearest double, ties to even.
fn hex_float(text: &[u8]) -> Option<f64> {
    let power_at = text.iter().position(|byte| matches!(byte, b'p' | b'P'))?;
    let power = std::str::from_utf8(&text[power_at + 1..]).ok()?.parse::<i32>().ok()?;
    let (mut mantissa, mut exponent, mut sticky) = (0u64, i64::from(power), false);
    let (mut in_fraction, mut any_digit) = (false, false);
    for &byte in &text[..power_at] {
        if byte == b'.' && !in_fraction {
            in_fraction = true;
            continue;
        }
        let digit = u64::from((byte as char).to_digit(16)?);
        any_digit = true;
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | digit;
            exponent -= if in_fraction { 4 } else { 0 };
        } else {
            sticky |= digit != 0;
            exponent += if in_fraction { 0 } else { 4 };
        }
    }
    if !any_digit {
        return None;
    }
    if mantissa == 0 {
        return Some(0.0);
    }
    let shift = mantissa.leading_zeros();
    mantissa <<= shift;
    // value = mantissa / 2^63 * 2^exponent, 1 <= mantissa / 2^63 < 2
    exponent += 63 - i64::from(shift);
    if exponent > 1023 {
        return Some(f64::INFINITY);
    }
    // a double keeps 53 bits, fewer below 2^-1022
    let dropped = 11 + (-1022 - exponent).max(0);
    if dropped > 64 {
        return Some(0.0);
    }
    let kept = if dropped == 64 { 0 } else { mantissa >> dropped };
    let (rest, half) = (mantissa << (64 - dropped), 1u64 << 63);
    let up = rest > half || rest == half && (sticky || kept & 1 == 1);
    // rounding up may carry into the exponent, which is what it should do
    let biased = (exponent.max(-1023) + 1023) as u64;
    let hidden = if exponent >= -1022 { 1u64 << 52 } else { 0 };
    Some(f64::from_bits((biased << 52) + (kept - hidden) + u64::from(up)))
}

/// The wire integer of 1, 2, 4 or 8 bytes, sign-extended (asb.md 2.2).
pub(super) fn wire_integer(bytes: &[u8]) -> Option<i64> {
    Some(match bytes.len() {
        8 => i64::from_be_bytes(bytes.try_into().ok()?),
        4 => i64::from(i32::from_be_bytes(bytes.try_into().ok()?)),
        2 => i64::from(i16::from_be_bytes(bytes.try_into().ok()?)),
        1 => i64::from(i8::from_be_bytes(bytes.try_into().ok()?)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{few_decimals, parse_float, push_float, shortest_digits, wire_integer};

    #[test]
    fn numbers_with_few_decimals_have_the_digits_that_all_have() {
        let check = |value: f64| {
            if let Some((digits, count, exponent)) = few_decimals(value) {
                let (expected, digits_of, exponent_of) = shortest_digits(value);
                assert_eq!((&digits[..count], exponent), (&expected[..digits_of], exponent_of), "{value:e}");
                return true;
            }
            false
        };
        for value in [1.0, 1.5, 10.0, 19.99, 52.520_008, 999_999_999.999_999, 123_456.7] {
            assert!(check(value), "{value}");
        }
        for value in [0.5, 4.0 / 3.0, 19.990_000_1, 1e9, f64::MAX] {
            assert!(!check(value), "{value}");
        }
        for (units, decimals) in
            (0..200_000_u64).map(|at| (at.wrapping_mul(48_271) % 999_999_999 + 1, at % 7))
        {
            let value = (units as f64) / 10_f64.powi(decimals as i32);
            assert!(check(value) == (value >= 1.0), "{value}");
            // Its neighbours, which need all digits, if they are not refused.
            check(f64::from_bits(value.to_bits() + 1));
            check(f64::from_bits(value.to_bits() - 1));
        }
    }

    fn text(value: f64) -> String {
        let mut out = Vec::new();
        push_float(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn floats_are_written_as_go_writes_bins() {
        // the table of asb.md 1.7, column "Go bin"; specials as its REC says
        for (value, expected) in [
            (1.1, "1.1"),
            (0.1, "0.1"),
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-12.5, "-12.5"),
            (100.0, "100"),
            (1000.25, "1000.25"),
            (123_456.0, "123456"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (100_200_300.0, "1.002003e+08"),
            (1e20, "1e+20"),
            (1e100, "1e+100"),
            (1e-4, "0.0001"),
            (1.5e-4, "0.00015"),
            (0.001_002, "0.001002"),
            (1e-5, "1e-05"),
            (1.25e-5, "1.25e-05"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (123_456.5, "123456.5"),
            (1_234_567.5, "1.2345675e+06"),
            (9_007_199_254_740_993.0, "9.007199254740992e+15"),
            (8.699_637_788_021_931e-151, "8.699637788021931e-151"),
            (2.000_511e-212, "2.000511e-212"),
            (-9.799_243_036_278_548e-17, "-9.799243036278548e-17"),
            (-2.490_355e26, "-2.490355e+26"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-f64::NAN, "nan"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn every_spelling_of_the_tools_is_read() {
        for (spelling, expected) in [
            ("1.1000000000000001", 1.1),
            ("1.0000000000000001e-05", 1e-5),
            ("4.9406564584124654e-324", 5e-324),
            ("100000000000000000000", 1e20),
            ("1E+06", 1e6),
            ("+1.5", 1.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("inf", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("INFINITY", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("-inf", f64::NEG_INFINITY),
            ("0x1p-2", 0.25),
            ("-0X1.8P+1", -3.0),
            ("0x.8p0", 0.5),
            ("0x0p0", 0.0),
            ("0x1p-1074", 5e-324),
            ("0x1p-1075", 0.0),
            ("0x1.8p-1075", 5e-324),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("0x1.fffffffffffffp-1023", f64::MIN_POSITIVE),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.000000000000080000000000000001p0", 1.0 + f64::EPSILON),
        ] {
            assert_eq!(parse_float(spelling.as_bytes()), Some(expected), "{spelling}");
        }
        for (spelling, negative) in [("nan", false), ("+NaN", false), ("-nan", true), ("NAN", false)] {
            let value = parse_float(spelling.as_bytes()).unwrap();
            assert!(value.is_nan() && value.is_sign_negative() == negative, "{spelling}");
        }
        assert!(parse_float(b"-0").is_some_and(|zero| zero == 0.0 && zero.is_sign_negative()));
    }

    #[test]
    fn what_is_no_float_is_refused() {
        for spelling in [
            "",
            "-",
            "+",
            ".",
            "e5",
            "1e",
            "notafloat",
            "1.5x",
            " 1",
            "1 ",
            "--1",
            "+-1",
            "infinit",
            "nanx",
            "1e999",
            "-1e999",
            "0x",
            "0x1",
            "0xp1",
            "0x1p",
            "0x1.2.3p1",
            "0x1p1024",
            "1_000",
            "\u{661}",
        ] {
            assert_eq!(parse_float(spelling.as_bytes()), None, "{spelling}");
        }
        assert_eq!(parse_float(&[0xff, 0xfe]), None);
        assert_eq!(parse_float(b"1\xff"), None);
    }

    #[test]
    fn short_integers_are_sign_extended() {
        assert_eq!(wire_integer(&[0xff]), Some(-1));
        assert_eq!(wire_integer(&[0x80, 0]), Some(-32768));
        assert_eq!(wire_integer(&[0, 0, 1, 0]), Some(256));
        assert_eq!(wire_integer(&i64::MIN.to_be_bytes()), Some(i64::MIN));
        assert_eq!(wire_integer(&[]), None);
        assert_eq!(wire_integer(&[0; 3]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn every_double_reads_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            let read = parse_float(text(value).as_bytes()).unwrap();
            if value.is_nan() {
                prop_assert!(read.is_nan());
            } else {
                prop_assert_eq!(read.to_bits(), bits);
                // std's exponent form is as short, though of two equally near digits it may choose the other
                let digits = |text: &str| -> usize {
                    let mantissa = text.split('e').next().unwrap_or("");
                    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
                    digits.trim_matches('0').len()
                };
                prop_assert_eq!(digits(&text(value)), digits(&format!("{value:e}")));
            }
        }
    }
}
