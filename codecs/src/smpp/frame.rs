//! Cutting a stream of octets into frames by command_length. It does not look inside a frame.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

/// Octets of the header, which is also the smallest legal command_length (SMPP 3.4 §3.2).
pub const HEADER_OCTETS: usize = 16;

/// The default cap. SMPP sets none; the largest honest PDU carries a 64 KiB message_payload.
pub const FRAME_OCTETS_MAX: usize = 128 * 1024;

/// A command_length that cannot be believed. The stream is lost: nobody knows where the next frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("command_length {length} is shorter than a header")]
    TooShort { length: u32 },
    #[error("command_length {length} is over the limit of {max}")]
    TooLong { length: u32, max: usize },
}

/// The length of the first whole frame in `bytes`, or None while more octets are needed.
///
/// A bad command_length is refused as soon as its four octets are there.
pub fn next_frame(bytes: &[u8], octets_max: usize) -> Result<Option<usize>, FrameError> {
    let Some(head) = bytes.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*head);
    let octets = usize::try_from(length).unwrap_or(usize::MAX);
    if octets < HEADER_OCTETS {
        return Err(FrameError::TooShort { length });
    }
    if octets > octets_max {
        return Err(FrameError::TooLong { length, max: octets_max });
    }
    Ok((octets <= bytes.len()).then_some(octets))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    use super::*;

    #[test]
    fn frames_are_cut_by_command_length() {
        let header = |length: u32| length.to_be_bytes().to_vec();
        let padded = |length: u32, octets: usize| {
            let mut bytes = header(length);
            bytes.resize(octets, 0);
            bytes
        };
        let too_short = |length| Err(FrameError::TooShort { length });
        let too_long = |length| Err(FrameError::TooLong { length, max: 100 });
        for (bytes, expected) in [
            (vec![], Ok(None)),
            (vec![0, 0, 0], Ok(None)),
            (header(16), Ok(None)),
            (padded(16, 15), Ok(None)),
            (padded(16, 16), Ok(Some(16))),
            (padded(16, 40), Ok(Some(16))),
            (padded(17, 40), Ok(Some(17))),
            (padded(100, 100), Ok(Some(100))),
            (header(0), too_short(0)),
            (header(15), too_short(15)),
            (header(101), too_long(101)),
            (header(u32::MAX), too_long(u32::MAX)),
        ] {
            assert_eq!(next_frame(&bytes, 100), expected, "{bytes:02x?}");
        }
    }
}
