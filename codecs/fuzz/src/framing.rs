//! Frames: a stream cut where it comes in pieces is cut as when it comes whole, and never inside what is not there.

use codecs::smpp::frame::{FrameError, HEADER_OCTETS, next_frame};

use crate::front;

pub fn check(octets: &[u8]) {
    let ([piece, max_high, max_low], stream) = front(octets);
    let octets_max = usize::from(u16::from_be_bytes([max_high, max_low]));
    let whole = cut(stream, stream.len().max(1), octets_max);
    let pieces = cut(stream, usize::from(piece).max(1), octets_max);
    assert_eq!(whole, pieces);
    let (frames, error) = whole;
    assert!(frames.iter().all(|length| (HEADER_OCTETS..=octets_max).contains(length)));
    assert!(frames.iter().sum::<usize>() <= stream.len());
    match error {
        Some(FrameError::TooShort { length }) => assert!((length as usize) < HEADER_OCTETS),
        Some(FrameError::TooLong { length, max }) => assert!(length as usize > max && max == octets_max),
        None => {}
    }
}

/// The lengths of the frames of a stream that comes `piece` octets at a time, and the error that ended it.
fn cut(stream: &[u8], piece: usize, octets_max: usize) -> (Vec<usize>, Option<FrameError>) {
    let (mut buffer, mut frames) = (Vec::new(), Vec::new());
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match next_frame(&buffer, octets_max) {
                Ok(Some(length)) => {
                    buffer.drain(..length);
                    frames.push(length);
                }
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}
