//! Whether bytes look as if they had been drawn at random, as ciphertext does.
//!
//! Each of the checks asks how often random bytes would fail it, and is set so that this is seldom: about one in two
//! thousand, so that all of them together fail two of a hundred random messages at most. They find the structure that
//! binary messages of small devices have: zeros, small numbers, fields that repeat, values that grow slowly.

/// Below this, chance says nothing.
const MIN: usize = 16;
/// Enough to be sure, and little enough to be quick.
const MAX: usize = 1 << 14;
/// How often random bytes may fail one check.
const SELDOM: f64 = 0.0005;
/// Fields of these many bytes are common.
const LAGS: [usize; 4] = [1, 2, 4, 8];

/// Whether nothing speaks against it that these bytes are random. Says no to less than 16 bytes.
pub(super) fn looks_random(bytes: &[u8]) -> bool {
    let bytes = bytes.get(..MAX).unwrap_or(bytes);
    bytes.len() >= MIN
        && zeros_are_few(bytes)
        && bits_are_even(bytes)
        && runs_are_short(bytes)
        && words_are_few(bytes)
        && !has_measured_values(bytes)
        && !is_protobuf(bytes)
        && collisions_are_few(bytes.iter().copied(), 256)
        && collisions_are_few(bytes.iter().map(|byte| byte >> 4), 16)
        && collisions_are_few(bytes.iter().map(|byte| byte & 15), 16)
        && LAGS.iter().all(|lag| steps_are_random(bytes, *lag))
}

/// Small numbers in wide fields are mostly zeros, and negative ones mostly ones.
fn zeros_are_few(bytes: &[u8]) -> bool {
    let mean = bytes.len() as f64 / 256.0;
    let count = |value: u8| bytes.iter().filter(|byte| **byte == value).count();
    !is_too_many(count(0), mean, mean) && !is_too_many(count(0xFF), mean, mean)
}

/// Of each of the eight bits, and of all together, half are ones. Text has no eighth bit, small numbers have few of
/// all.
fn bits_are_even(bytes: &[u8]) -> bool {
    let len = bytes.len() as f64;
    let ones = |bit: u32| bytes.iter().filter(|byte| **byte >> bit & 1 == 1).count() as f64;
    let mut all = 0.0;
    for bit in 0..8 {
        let ones = ones(bit);
        all += ones;
        if (ones - len / 2.0).abs() > 4.0 * (len / 4.0).sqrt() {
            return false;
        }
    }
    (all - len * 4.0).abs() <= 3.8 * (len * 2.0).sqrt()
}

/// The same byte several times in a row: three in a short message, four in a long one.
fn runs_are_short(bytes: &[u8]) -> bool {
    let longest = if bytes.len() < 64 { 2 } else { 3 };
    bytes.chunk_by(|a, b| a == b).all(|run| run.len() <= longest)
}

/// Names within binary: more lower-case letters, or more characters of names, in a row than chance would seldom bring.
fn words_are_few(bytes: &[u8]) -> bool {
    let longest = |is: fn(&u8) -> bool| bytes.split(|byte| !is(byte)).map(<[u8]>::len).max().unwrap_or_default();
    let is_seldom =
        |length: usize, probability: f64| length > 3 && (bytes.len() as f64) * probability.powf(length as f64) < SELDOM;
    let letters = longest(u8::is_ascii_lowercase);
    let names = longest(|byte| byte.is_ascii_alphanumeric() || b"-_./:".contains(byte));
    !is_seldom(letters, 26.0 / 256.0) && !is_seldom(names, 67.0 / 256.0)
}

/// Whether the first or the last 16 bytes are numbers of everyday size, as a sensor measures: two doubles or four
/// floats. Their fractions look random; that all of them are neither huge nor tiny does not.
fn has_measured_values(bytes: &[u8]) -> bool {
    [bytes.first_chunk::<16>(), bytes.last_chunk::<16>()].into_iter().flatten().any(|part| {
        let (doubles, _) = part.as_chunks::<8>();
        let (floats, _) = part.as_chunks::<4>();
        doubles.iter().all(|double| is_everyday(f64::from_le_bytes(*double)))
            || doubles.iter().all(|double| is_everyday(f64::from_be_bytes(*double)))
            || floats.iter().all(|float| is_everyday(f32::from_le_bytes(*float).into()))
            || floats.iter().all(|float| is_everyday(f32::from_be_bytes(*float).into()))
    })
}

fn is_everyday(number: f64) -> bool {
    (1e-3..1e6).contains(&number.abs())
}

/// Whether these are fields of Protocol Buffers to the last byte: three or more with small numbers, in order, as
/// encoders write them.
fn is_protobuf(mut bytes: &[u8]) -> bool {
    let (mut fields, mut last) = (0, 1);
    while let Some((tag, rest)) = varint(bytes) {
        let skipped = match tag & 7 {
            0 => varint(rest).map(|(_, rest)| rest),
            1 => rest.get(8..),
            2 => varint(rest).and_then(|(len, rest)| rest.get(usize::try_from(len).ok()?..)),
            5 => rest.get(4..),
            _ => None,
        };
        let field = tag >> 3;
        let Some(rest) = skipped.filter(|_| (last..32).contains(&field)) else { return false };
        (bytes, fields, last) = (rest, fields + 1, field);
    }
    bytes.is_empty() && fields >= 3
}

/// Seven bits a byte, the lowest first, the eighth set on all but the last.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let len = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)? + 1;
    let (digits, rest) = bytes.split_at_checked(len)?;
    Some((digits.iter().rev().fold(0, |value, digit| value << 7 | u64::from(digit & 0x7F)), rest))
}

/// How many pairs are equal, of all pairs: the same as the test of chi-square, and exact for few bytes. Too few are no
/// chance either: a counter never repeats.
fn collisions_are_few(values: impl Iterator<Item = u8>, kinds: u16) -> bool {
    let mut counts = [0_usize; 256];
    let mut len = 0_usize;
    for value in values {
        if let Some(count) = counts.get_mut(usize::from(value)) {
            *count += 1;
        }
        len += 1;
    }
    let pairs: usize = counts.iter().map(|count| count * count.saturating_sub(1) / 2).sum();
    let all = (len * len.saturating_sub(1) / 2) as f64;
    let probability = 1.0 / f64::from(kinds);
    let mean = all * probability;
    let variance = mean * (1.0 - probability);
    !is_too_many(pairs, mean, variance) && pairs as f64 >= mean - 3.8 * variance.sqrt()
}

/// From field to field, values that are near each other make the same steps: none at all, or small ones.
fn steps_are_random(bytes: &[u8], lag: usize) -> bool {
    let steps = || bytes.iter().zip(bytes.iter().skip(lag)).map(|(before, after)| after.wrapping_sub(*before));
    let len = bytes.len().saturating_sub(lag) as f64;
    let near = steps().filter(|step| *step == 0).count();
    !is_too_many(near, len / 256.0, len / 256.0) && collisions_are_few(steps(), 256)
}

/// Whether chance would seldom bring as many of what is seldom by itself.
fn is_too_many(count: usize, mean: f64, variance: f64) -> bool {
    if mean > 100.0 {
        return count as f64 > mean + 3.8 * variance.sqrt();
    }
    // Poisson: the probability of less than `count`.
    let mut term = (-mean).exp();
    let mut less = 0.0;
    for number in 0..count {
        less += term;
        term *= mean / (number as f64 + 1.0);
    }
    1.0 - less < SELDOM
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{Kind, classify};
    use fastrand::Rng;

    const SAMPLES: usize = 1000;

    fn random_bytes(random: &mut Rng, len: usize) -> Vec<u8> {
        core::iter::repeat_with(|| random.u8(..)).take(len).collect()
    }

    #[test]
    fn random_bytes_nearly_always_look_random() {
        let mut random = Rng::with_seed(1);
        for len in [16, 17, 20, 24, 32, 48, 63, 64, 100, 200, 256, 500, 1000, 4096] {
            let samples = if len > 500 { 150 } else { SAMPLES };
            let misses = (0..samples).filter(|_| !looks_random(&random_bytes(&mut random, len))).count();
            println!("{len}: {misses} of {samples} missed");
            assert!(misses * 50 <= samples, "{len}: {misses} of {samples} missed");
        }
        assert!(!looks_random(&random_bytes(&mut random, 15)));
        // The most that is looked at of one message.
        assert!((0..10).filter(|_| looks_random(&random_bytes(&mut random, 65_536))).count() >= 8);
    }

    fn write_varint(out: &mut Vec<u8>, mut value: u64) {
        while value > 0x7F {
            out.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        out.push(value.to_le_bytes()[0]);
    }

    /// Rounded as sensors round.
    fn measured(random: &mut Rng, digits: i32) -> f64 {
        let factor = 10_f64.powi(digits);
        ((15.0 + random.f64() * 20.0) * factor).round() / factor
    }

    const NOW: i64 = 1_795_780_800;

    type Maker = fn(&mut Rng) -> Vec<u8>;

    /// Name, maker, and how many of a thousand may be taken for encrypted, by E4 or otherwise. The checks were set by
    /// these, so that their numbers say little about other messages: see [`UNSEEN`].
    const STRUCTURED: [(&str, Maker, usize); 20] = [
        ("Protocol Buffers: id, time, four floats, name", protobuf, 10),
        ("Protocol Buffers: the same without name", |random| shorter(protobuf(random), 10), 10),
        ("CBOR: a map of floats", cbor, 10),
        ("MessagePack: a map of integers", msgpack, 10),
        ("8 doubles of full precision", |random| doubles(random, 8, 15), 10),
        ("32 doubles of full precision", |random| doubles(random, 32, 15), 10),
        ("4 doubles of two digits", |random| doubles(random, 4, 2), 10),
        ("16 doubles of two digits", |random| doubles(random, 16, 2), 10),
        ("12 floats", |random| floats(random, 12), 10),
        ("64 floats", |random| floats(random, 64), 10),
        ("32 samples of 16 bits", samples, 10),
        ("a record: milliseconds, 16-bit id, three floats", record_ms, 10),
        ("a record: seconds, two doubles of one digit", |random| record(random, 2, 1), 10),
        ("a record: seconds, two doubles of two digits", |random| record(random, 2, 2), 10),
        ("a record: seconds, two doubles of full precision", |random| record(random, 2, 15), 10),
        ("a record: seconds, six doubles of full precision", |random| record(random, 6, 15), 10),
        ("a record: seconds, id of 16 bits, two doubles of full precision", record_with_id, 10),
        ("a record: seconds, two doubles of full precision, 3 bytes", |random| record_and_bytes(random, 3), 10),
        ("a record: seconds, a random id of 16 bytes, 2 small numbers", record_and_uuid, 750),
        ("a bitmap: header and a gradient", bitmap, 10),
    ];

    fn protobuf(random: &mut Rng) -> Vec<u8> {
        let mut out = vec![0x08];
        write_varint(&mut out, random.u64(1..5000));
        out.push(0x10);
        write_varint(&mut out, NOW.unsigned_abs() - random.u64(0..10_000_000));
        for field in 3..7 {
            out.push(field << 3 | 5);
            out.extend((random.f32() * 40.0).to_le_bytes());
        }
        out.extend([0x3A, 8]);
        out.extend(b"sensor-7");
        out
    }

    fn cbor(random: &mut Rng) -> Vec<u8> {
        let mut out = vec![0xA4];
        for key in ["t", "h", "p", "co2"] {
            out.push(0x60 | u8::try_from(key.len()).unwrap());
            out.extend(key.bytes());
            out.push(0xFB);
            out.extend((random.f64() * 1000.0).to_be_bytes());
        }
        out
    }

    fn msgpack(random: &mut Rng) -> Vec<u8> {
        let mut out = vec![0x85];
        for key in ["ts", "v1", "v2", "v3", "rssi"] {
            out.push(0xA0 | u8::try_from(key.len()).unwrap());
            out.extend(key.bytes());
            out.push(0xCE);
            out.extend(random.u32(0..200_000).to_be_bytes());
        }
        out
    }

    fn doubles(random: &mut Rng, count: usize, digits: i32) -> Vec<u8> {
        (0..count).flat_map(|_| measured(random, digits).to_le_bytes()).collect()
    }

    fn floats(random: &mut Rng, count: usize) -> Vec<u8> {
        (0..count).flat_map(|_| (random.f32() * 30.0).to_le_bytes()).collect()
    }

    fn samples(random: &mut Rng) -> Vec<u8> {
        let mut value = random.i16(-2000..2000);
        (0..32)
            .flat_map(|_| {
                value += random.i16(-200..200);
                value.to_le_bytes()
            })
            .collect()
    }

    fn record_ms(random: &mut Rng) -> Vec<u8> {
        let mut out = (NOW * 1000 - random.i64(0..10_000_000_000)).to_le_bytes().to_vec();
        out.extend(random.u16(0..500).to_le_bytes());
        out.extend(floats(random, 3));
        out
    }

    fn record(random: &mut Rng, count: usize, digits: i32) -> Vec<u8> {
        let mut out = (NOW - random.i64(0..10_000_000)).to_le_bytes().to_vec();
        out.extend(doubles(random, count, digits));
        out
    }

    fn record_with_id(random: &mut Rng) -> Vec<u8> {
        let mut out = record(random, 2, 15);
        out.splice(8..8, random.u16(0..500).to_le_bytes());
        out
    }

    fn record_and_bytes(random: &mut Rng, count: usize) -> Vec<u8> {
        let mut out = record(random, 2, 15);
        out.extend(random_bytes(random, count));
        out
    }

    fn record_and_uuid(random: &mut Rng) -> Vec<u8> {
        let mut out = record(random, 0, 0);
        out.extend(random_bytes(random, 16));
        out.extend([random.u8(0..4), 0, random.u8(0..100), 0]);
        out
    }

    fn shorter(mut bytes: Vec<u8>, by: usize) -> Vec<u8> {
        bytes.truncate(bytes.len() - by);
        bytes
    }

    fn bitmap(random: &mut Rng) -> Vec<u8> {
        let mut out = b"BM\x36\x0c\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x20\0\0\0\x20\0\0\0\x01\0\x18\0".to_vec();
        let start = random.u8(..);
        out.extend((0..32_u8).flat_map(|row| (0..32_u8).map(move |column| start.wrapping_add(row * 2 + column * 3))));
        out
    }

    #[test]
    fn structured_messages_are_seldom_taken_for_encrypted() {
        let mut random = Rng::with_seed(2);
        let now = jiff::Timestamp::from_second(NOW).unwrap();
        let mut failed = Vec::new();
        for (name, make, allowed) in STRUCTURED {
            let wrong =
                (0..SAMPLES).filter(|_| matches!(classify(&make(&mut random), now), Kind::E4 | Kind::Random)).count();
            let in_thousand = wrong * 1000 / SAMPLES;
            println!("{in_thousand:4} of 1000 ({allowed} allowed): {name}");
            if in_thousand > allowed {
                failed.push(name);
            }
        }
        assert!(failed.is_empty(), "{failed:?}");
    }

    /// What only one of the checks finds, so that none of them is there for nothing.
    #[test]
    fn each_kind_of_structure_is_found() {
        fn halves(random: &mut Rng) -> u8 {
            // Half of all, with as many ones as zeros, so that the bits do not tell.
            [0, 3, 5, 6, 9, 10, 12, 15][random.usize(0..8)]
        }
        let makers: [(&str, Maker); 7] = [
            ("seven bits", |random| random_bytes(random, 17).iter().map(|byte| byte & 0x7F).collect()),
            ("five equal bytes", |random| {
                let mut bytes = random_bytes(random, 500);
                bytes[100..105].fill(0x55);
                bytes
            }),
            ("a word", |random| {
                let mut bytes = random_bytes(random, 40);
                bytes[10..21].copy_from_slice(b"temperature");
                bytes
            }),
            ("high halves", |random| (0..36).map(|_| halves(random) << 4 | random.u8(0..16)).collect()),
            ("low halves", |random| (0..36).map(|_| random.u8(0..16) << 4 | halves(random)).collect()),
            ("steps", |random| {
                let mut value = random.u8(..);
                let mut step = || {
                    value = value.wrapping_add(random.u8(35..40));
                    value
                };
                (0..64).map(|_| step()).collect()
            }),
            ("each byte once", |random| {
                let mut bytes: Vec<u8> = (0..=255).collect();
                random.shuffle(&mut bytes);
                bytes
            }),
        ];
        let mut random = Rng::with_seed(3);
        for (name, make) in makers {
            let found = (0..200).filter(|_| !looks_random(&make(&mut random))).count();
            println!("{name}: {found} of 200");
            assert!(found >= 180, "{name}: {found} of 200");
        }
    }

    /// Formats that were tried when the checks stood, and that nothing was changed for: what to expect of messages
    /// from outside. Between how many of a thousand are taken for encrypted. Who makes the checks better by these
    /// should look for others to measure by.
    const UNSEEN: [(&str, Maker, core::ops::RangeInclusive<usize>); 8] = [
        ("CBOR: six floats without keys", cbor_floats, 0..=10),
        ("8 integers of 32 bits, up to a million", |random| integers(random, 8, 1_000_000, 4), 0..=10),
        ("Protocol Buffers: fields out of order", protobuf_out_of_order, 800..=1000),
        ("Modbus: 10 registers and a checksum", modbus, 800..=1000),
        ("6 samples of 24 bits", |random| integers(random, 6, 4_000_000, 3), 900..=1000),
        ("64 samples of 24 bits", |random| integers(random, 64, 4_000_000, 3), 400..=600),
        ("a position: time and degrees in 32 bits, four numbers", position, 550..=780),
        ("a record: seconds, three floats, checksum", record_and_checksum, 700..=950),
    ];

    fn cbor_floats(random: &mut Rng) -> Vec<u8> {
        let mut out = vec![0x86];
        for _ in 0..6 {
            out.push(0xFA);
            out.extend((random.f32() * 100.0).to_be_bytes());
        }
        out
    }

    fn integers(random: &mut Rng, count: usize, limit: i32, width: usize) -> Vec<u8> {
        let integer = |random: &mut Rng| random.i32(-limit..limit).to_le_bytes().into_iter().take(width);
        (0..count).flat_map(|_| integer(random).collect::<Vec<u8>>()).collect()
    }

    fn protobuf_out_of_order(random: &mut Rng) -> Vec<u8> {
        let mut out = Vec::new();
        for field in [5_u8, 1, 3, 2] {
            out.push(field << 3 | 5);
            out.extend((random.f32() * 100.0).to_le_bytes());
        }
        out.push(0x20);
        write_varint(&mut out, random.u64(0..1 << 40));
        out
    }

    fn modbus(random: &mut Rng) -> Vec<u8> {
        let mut out = vec![1, 3, 20];
        for _ in 0..10 {
            out.extend(random.u16(0..30_000).to_be_bytes());
        }
        out.extend(random.u16(..).to_be_bytes());
        out
    }

    fn position(random: &mut Rng) -> Vec<u8> {
        let mut out = (1_795_000_000 + random.u32(0..700_000)).to_le_bytes().to_vec();
        out.extend(random.i32(475_000_000..550_000_000).to_le_bytes());
        out.extend(random.i32(60_000_000..150_000_000).to_le_bytes());
        for _ in 0..4 {
            out.extend(random.u16(0..4000).to_le_bytes());
        }
        out
    }

    fn record_and_checksum(random: &mut Rng) -> Vec<u8> {
        let mut out = record(random, 0, 0);
        out.extend(floats(random, 3));
        out.extend(random.u32(..).to_le_bytes());
        out
    }

    #[test]
    fn how_wrong_the_checks_are_about_what_they_have_not_seen_is_known() {
        let mut random = Rng::with_seed(777);
        let now = jiff::Timestamp::from_second(NOW).unwrap();
        for (name, make, known) in UNSEEN {
            let wrong =
                (0..1000).filter(|_| matches!(classify(&make(&mut random), now), Kind::E4 | Kind::Random)).count();
            println!("{wrong:4} of 1000: {name}");
            assert!(known.contains(&wrong), "{name}: {wrong}");
        }
    }
}
