//! Frames as the simulated peers write and read them, with code of their own: a witness may not share the gateway's mistakes.

use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::net::Stream;

pub mod command {
    pub const BIND_RECEIVER: u32 = 1;
    pub const BIND_TRANSMITTER: u32 = 2;
    pub const QUERY_SM: u32 = 3;
    pub const SUBMIT_SM: u32 = 4;
    pub const DELIVER_SM: u32 = 5;
    pub const UNBIND: u32 = 6;
    pub const REPLACE_SM: u32 = 7;
    pub const CANCEL_SM: u32 = 8;
    pub const BIND_TRANSCEIVER: u32 = 9;
    pub const ENQUIRE_LINK: u32 = 0x15;
    pub const SUBMIT_MULTI: u32 = 0x21;
    pub const RESPONSE: u32 = 0x8000_0000;
}

pub const RECEIPTED_MESSAGE_ID: u16 = 0x1E;
pub const MESSAGE_STATE: u16 = 0x427;
const SAR_SEGMENT_SEQNUM: u16 = 0x20F;
pub const MESSAGE_PAYLOAD: u16 = 0x424;
/// All parts of a message.
const ALL: u8 = 255;

#[derive(Clone, Debug)]
pub struct Frame {
    pub command: u32,
    pub status: u32,
    pub sequence: u32,
    pub body: Vec<u8>,
    /// When its end was written, at the latest.
    pub written: Instant,
}

/// The fields of a submit_sm or a deliver_sm that somebody looks at.
#[derive(Clone, Debug, Default)]
pub struct Sm {
    pub source: String,
    pub destination: String,
    pub esm_class: u8,
    pub priority: u8,
    pub validity: String,
    pub registered: u8,
    pub text: Vec<u8>,
    pub tlvs: Vec<(u16, Vec<u8>)>,
}

impl Sm {
    pub fn write(&self) -> Vec<u8> {
        let mut body = vec![0, 1, 1];
        push_text(&mut body, &self.source);
        body.extend([1, 1]);
        push_text(&mut body, &self.destination);
        body.extend([self.esm_class, 0, self.priority, 0]);
        push_text(&mut body, &self.validity);
        body.extend([self.registered, 0, 0, 0, self.text.len() as u8]);
        body.extend(&self.text);
        for (tag, value) in &self.tlvs {
            body.extend(tag.to_be_bytes());
            body.extend((value.len() as u16).to_be_bytes());
            body.extend(value);
        }
        body
    }

    /// `None` when the body is cut.
    pub fn read(body: &[u8]) -> Option<Sm> {
        let mut rest = body;
        take_text(&mut rest)?;
        take(&mut rest, 2)?;
        let source = take_text(&mut rest)?;
        take(&mut rest, 2)?;
        let destination = take_text(&mut rest)?;
        Sm::read_rest(rest, source, destination)
    }

    /// A submit_multi: the message to the first of its destinations, and all of them. `None` when the body is cut, or one is a list.
    pub fn read_multi(body: &[u8]) -> Option<(Sm, Vec<String>)> {
        let mut rest = body;
        take_text(&mut rest)?;
        take(&mut rest, 2)?;
        let source = take_text(&mut rest)?;
        let mut destinations = Vec::new();
        for _ in 0..*take(&mut rest, 1)?.first()? {
            let [1, _, _] = *take(&mut rest, 3)? else { return None };
            destinations.push(take_text(&mut rest)?);
        }
        Some((Sm::read_rest(rest, source, destinations.first()?.clone())?, destinations))
    }

    fn read_rest(mut rest: &[u8], source: String, destination: String) -> Option<Sm> {
        let [esm_class, _, priority] = take(&mut rest, 3)?.try_into().ok()?;
        take_text(&mut rest)?;
        let validity = take_text(&mut rest)?;
        let [registered, _, _, _, length] = take(&mut rest, 5)?.try_into().ok()?;
        let text = take(&mut rest, usize::from(length))?.to_vec();
        let mut tlvs = Vec::new();
        while !rest.is_empty() {
            let tag = u16::from_be_bytes(take(&mut rest, 2)?.try_into().ok()?);
            let length = u16::from_be_bytes(take(&mut rest, 2)?.try_into().ok()?);
            tlvs.push((tag, take(&mut rest, usize::from(length))?.to_vec()));
        }
        Some(Sm { source, destination, esm_class, priority, validity, registered, text, tlvs })
    }

    /// The text, wherever it is.
    pub fn content(&self) -> &[u8] {
        let payload = self.tlvs.iter().find(|(tag, _)| *tag == MESSAGE_PAYLOAD);
        payload.filter(|_| self.text.is_empty()).map_or(&self.text, |(_, value)| value)
    }

    /// Which part of a long message it is, from its user data header or its sar parameters; `ALL` of one that came whole, 0 of a
    /// short one.
    pub fn part(&self) -> u8 {
        let value = |tag| self.tlvs.iter().find(|(found, _)| *found == tag).map(|(_, value)| &value[..]);
        match self.text[..] {
            [5, 0, 3, _, _, part, ..] | [6, 8, 4, _, _, _, part, ..] if self.esm_class & 0x40 != 0 => {
                part - 1
            }
            _ => match (value(SAR_SEGMENT_SEQNUM), value(MESSAGE_PAYLOAD)) {
                (Some([part]), _) => part - 1,
                (_, Some(_)) => ALL,
                _ => 0,
            },
        }
    }
}

fn push_text(body: &mut Vec<u8>, text: &str) {
    body.extend(text.as_bytes());
    body.push(0);
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

pub fn take_text(rest: &mut &[u8]) -> Option<String> {
    let end = rest.iter().position(|octet| *octet == 0)?;
    let text = take(rest, end + 1)?;
    Some(String::from_utf8_lossy(&text[..end]).into_owned())
}

/// The body of a bind: version 3.4.
pub fn bind_body(system_id: &str, password: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for text in [system_id, password, ""] {
        push_text(&mut body, text);
    }
    body.extend([0x34, 0, 0, 0]);
    body
}

/// One end of a line that speaks in frames.
pub struct Peer {
    stream: Stream,
    read: Vec<u8>,
    sequence: u32,
}

impl Peer {
    pub fn new(stream: Stream) -> Peer {
        Peer { stream, read: Vec::new(), sequence: 0 }
    }

    /// Sends a request and says its sequence number.
    pub fn request(&mut self, command: u32, body: &[u8]) -> u32 {
        self.sequence += 1;
        self.send(command, 0, self.sequence, body);
        self.sequence
    }

    pub fn respond(&mut self, to: &Frame, status: u32, body: &[u8]) {
        self.send(to.command | command::RESPONSE, status, to.sequence, body);
    }

    pub fn send(&mut self, command: u32, status: u32, sequence: u32, body: &[u8]) {
        let mut frame = Vec::with_capacity(16 + body.len());
        for word in [16 + body.len() as u32, command, status, sequence] {
            frame.extend(word.to_be_bytes());
        }
        frame.extend(body);
        self.stream.send(&frame);
    }

    /// The next frame; `None` at the end of the line. Cancel safe.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.next() {
                return Some(frame);
            }
            let mut octets = [0; 4096];
            match self.stream.read(&mut octets).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.read.extend_from_slice(&octets[..count]),
            }
        }
    }

    fn next(&mut self) -> Option<Frame> {
        let head: [u8; 16] = self.read.get(..16)?.try_into().ok()?;
        let (words, _) = head.as_chunks::<4>();
        let [length, command, status, sequence] = [0, 1, 2, 3].map(|word| u32::from_be_bytes(words[word]));
        assert!((16..=70_000).contains(&length), "the gateway writes a frame of {length} octets");
        if self.read.len() < length as usize {
            return None;
        }
        let body = self.read[16..length as usize].to_vec();
        self.read.drain(..length as usize);
        Some(Frame { command, status, sequence, body, written: self.stream.written })
    }
}
