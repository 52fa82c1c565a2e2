//! `uniqueString` and `guid`: the two hashes names are made of.
//!
//! Both are checked against published results of the service (see the tests): names that people already have in the
//! cloud come out the same here.

use uuid::Uuid;

/// Thirteen letters and digits that stand for the parts.
pub(crate) fn unique_string(parts: &[String]) -> String {
    let mut rest = hash(parts.join("-").as_bytes());
    let mut text = String::with_capacity(LENGTH);
    for _ in 0..LENGTH {
        // Five bits at a time from the top; 13 characters take 65 bits, the last one is padded with a zero.
        let digit = (rest >> 59) as usize;
        text.push(ALPHABET.get(digit).copied().map_or('a', char::from));
        rest <<= 5;
    }
    text
}

/// A version 5 UUID in the namespace the service uses.
pub(crate) fn guid(parts: &[String]) -> Uuid {
    Uuid::new_v5(&NAMESPACE, parts.join("-").as_bytes())
}

/// A 64-bit hash of two 32-bit lanes in the manner of Murmur's third hash, seed 0.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let (mut first, mut second) = (0_u32, 0_u32);
    let mut blocks = bytes.chunks_exact(8);
    for block in blocks.by_ref() {
        let (left, right) = block.split_at(4);
        first ^= mix_first(word(left));
        first = first.rotate_left(19).wrapping_add(second);
        first = first.wrapping_mul(5).wrapping_add(0x561c_cd1b);
        second ^= mix_second(word(right));
        second = second.rotate_left(13).wrapping_add(first);
        second = second.wrapping_mul(5).wrapping_add(0x0bca_a747);
    }
    let tail = blocks.remainder();
    let (left, right) = tail.split_at(tail.len().min(4));
    if !right.is_empty() {
        second ^= mix_second(word(right));
    }
    if !left.is_empty() {
        first ^= mix_first(word(left));
    }
    #[expect(clippy::cast_possible_truncation, reason = "the hash takes the length modulo 2^32")]
    let length = bytes.len() as u32;
    first ^= length;
    second ^= length;
    first = first.wrapping_add(second);
    second = second.wrapping_add(first);
    first = finish(first);
    second = finish(second);
    first = first.wrapping_add(second);
    second = second.wrapping_add(first);
    (u64::from(second) << 32) | u64::from(first)
}

fn mix_first(word: u32) -> u32 {
    word.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2)
}

fn mix_second(word: u32) -> u32 {
    word.wrapping_mul(C2).rotate_left(17).wrapping_mul(C1)
}

fn finish(mut lane: u32) -> u32 {
    lane ^= lane >> 16;
    lane = lane.wrapping_mul(0x85eb_ca6b);
    lane ^= lane >> 13;
    lane = lane.wrapping_mul(0xc2b2_ae35);
    lane ^ (lane >> 16)
}

/// Up to four bytes, little-endian.
fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| (word << 8) | u32::from(*byte))
}

const C1: u32 = 0x239b_961b;
const C2: u32 = 0xab0e_9789;
const LENGTH: usize = 13;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// 11fb06fb-712d-4ddd-98c7-e71bbd588830, found by several independent public reproductions.
const NAMESPACE: Uuid = Uuid::from_u128(0x11fb_06fb_712d_4ddd_98c7_e71b_bd58_8830);

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(parts: &[&str]) -> Vec<String> {
        parts.iter().map(|part| (*part).to_owned()).collect()
    }

    #[test]
    fn unique_strings_are_those_of_the_service() {
        for (parts, expected) in [
            (&["hello", "world"][..], "a7wkljktk6wne"),
            (&["tyeth"], "zcztcwvu6iyg6"),
            (&["fu"], "6rkxbspxjmsho"),
            (&["fubar"], "cj2xpqsiwjfne"),
            (&["fu", "bar"], "q5wxoscxs5j6k"),
            (&["/subscriptions/00000000-0000-0000-0000-000000000000", "resource-id"], "cwvxuqg24sifi"),
            (&["a"], "eveiun73364hy"),
        ] {
            assert_eq!(unique_string(&strings(parts)), expected, "{parts:?}");
        }
        assert_eq!(hash(b"hello-world"), 571_013_382_255_652_050);
    }

    #[test]
    fn guids_are_name_based() {
        let made = guid(&strings(&["a", "b"]));
        assert_eq!(made, guid(&strings(&["a-b"])), "parts are joined with a dash");
        assert_eq!(made.get_version_num(), 5);
        assert_ne!(made, guid(&strings(&["A", "b"])), "case counts");
    }
}
