//! Requests, made once and patched: a message's digits are all that differs between two of them.

use super::Options;
use crate::{numbers::Numbers, texts::Texts, wire::patch};

/// Digits of a message's serial number, in its destination and at the beginning of its text.
const SERIAL_DIGITS: usize = 8;

/// What each request of a run is made of.
#[derive(Debug)]
pub struct Requests {
    head: String,
    message: Vec<u8>,
    /// What follows the serial in the text.
    texts: Texts,
    serial_at: usize,
    text_at: Option<usize>,
    batch: u32,
    whole: Template,
    numbers: Numbers,
}

/// A request for a given number of messages, and where each message begins in it.
#[derive(Debug)]
struct Template {
    octets: Vec<u8>,
    places: Vec<usize>,
}

impl Requests {
    #[must_use]
    pub fn new(options: &Options, address: &str, numbers: Numbers) -> Self {
        let head = format!("Host: {address}\r\nAuthorization: Bearer {}\r\n", options.key);
        let text = "0".repeat(usize::from(options.text_length));
        let to = numbers.sample();
        let from = serde_json::Value::from(options.from.as_str());
        let before = r#"{"to":"+"#;
        let between = format!(r#"","from":{from},"text":""#);
        let message = format!(r#"{before}{to}{between}{text}"}}"#).into_bytes();
        let mut requests = Self {
            head,
            serial_at: before.len() + numbers.serial_at(),
            text_at: (text.len() >= 8).then_some(before.len() + to.len() + between.len()),
            message,
            texts: Texts::new(text.len().saturating_sub(SERIAL_DIGITS)),
            batch: options.batch,
            whole: Template { octets: Vec::new(), places: Vec::new() },
            numbers,
        };
        requests.whole = requests.template(options.batch as usize);
        requests
    }

    /// Writes the request for these messages.
    pub fn write(&self, serials: &[u32], out: &mut Vec<u8>) {
        let rest;
        let template = if serials.len() == self.whole.places.len() {
            &self.whole
        } else {
            rest = self.template(serials.len());
            &rest
        };
        out.clear();
        out.extend_from_slice(&template.octets);
        for (serial, place) in serials.iter().zip(&template.places) {
            let digits = self.numbers.digits(*serial);
            patch(out, place + self.serial_at, &digits);
            if let Some(text_at) = self.text_at {
                patch(out, place + text_at, &digits);
                patch(out, place + text_at + SERIAL_DIGITS, self.texts.of(*serial));
            }
        }
    }

    /// The question how a message is doing.
    #[must_use]
    pub fn status(&self, id: &str) -> Vec<u8> {
        format!("GET /v1/messages/{id} HTTP/1.1\r\n{}\r\n", self.head).into_bytes()
    }

    fn template(&self, count: usize) -> Template {
        let (mut body, mut places) = (Vec::new(), Vec::new());
        if self.batch > 1 {
            body.extend_from_slice(br#"{"messages":["#);
        }
        for index in 0..count {
            if index > 0 {
                body.push(b',');
            }
            places.push(body.len());
            body.extend_from_slice(&self.message);
        }
        if self.batch > 1 {
            body.extend_from_slice(b"]}");
        }
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.head,
            body.len()
        );
        let places = places.into_iter().map(|place| place + head.len()).collect();
        Template { octets: [head.into_bytes(), body].concat(), places }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn body(batch: u32, serials: &[u32]) -> Value {
        let options = Options { batch, text_length: 12, from: "A\"C".into(), ..Options::default() };
        let requests = Requests::new(&options, "host:1", Numbers::new("2547", 0, 1_000).unwrap());
        let mut out = Vec::new();
        requests.write(serials, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(
            "POST /v1/messages HTTP/1.1\r\nHost: host:1\r\nAuthorization: Bearer tg_live_bench\r\n"
        ));
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn a_single_message_and_a_batch_carry_their_serials() {
        let texts = Texts::new(4);
        let message = |serial: u32| {
            let text = String::from_utf8_lossy(texts.of(serial));
            json!({"to": format!("+2547{serial:08}"), "from": "A\"C", "text": format!("{serial:08}{text}")})
        };
        assert_eq!(body(1, &[17]), message(17));
        assert_eq!(body(2, &[17, 999]), json!({"messages": [message(17), message(999)]}));
        assert_eq!(body(3, &[5]), json!({"messages": [message(5)]}));
    }
}
