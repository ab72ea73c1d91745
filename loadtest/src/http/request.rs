//! Requests, made once and patched: a message's digits and its text are all that differs between two of them.

use std::net::SocketAddr;

use super::{Door, Options};
use crate::{numbers::Numbers, texts::Texts, wire::patch};

/// Digits of a message's serial number, in its destination and at the beginning of its text.
const SERIAL_DIGITS: usize = 8;

/// What each request of a run is made of.
#[derive(Debug)]
pub struct Requests {
    door: Door,
    /// Host and credentials.
    head: String,
    message: Message,
    /// What follows the serial in the text.
    texts: Texts,
    batch: u32,
    whole: Template,
    numbers: Numbers,
}

/// A message as the door wants it, and the places in it that are patched.
#[derive(Debug, Default)]
struct Message {
    octets: Vec<u8>,
    /// Where the eight digits of its number stand.
    digits_at: Vec<usize>,
    /// Where the rest of its text stands; spaces are written as `+` where it is in an address.
    text_at: Option<usize>,
    plus: bool,
}

/// A request for a given number of messages, and where each message begins in it.
#[derive(Debug, Default)]
struct Template {
    octets: Vec<u8>,
    places: Vec<usize>,
}

impl Requests {
    #[must_use]
    pub fn new(options: &Options, address: &str, callback: Option<SocketAddr>, numbers: Numbers) -> Self {
        let message = match options.door {
            Door::Tidegate => Message::json(options, callback, &numbers),
            Door::Kannel => Message::query(options, callback, &numbers),
        };
        let head = match options.door {
            Door::Tidegate => format!("Host: {address}\r\nAuthorization: Bearer {}\r\n", options.key),
            Door::Kannel => format!("Host: {address}\r\n"),
        };
        let mut requests = Self {
            door: options.door,
            head,
            message,
            texts: Texts::new(usize::from(options.text_length).saturating_sub(SERIAL_DIGITS)),
            batch: options.batch,
            whole: Template::default(),
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
            for digits_at in &self.message.digits_at {
                patch(out, place + digits_at, &digits);
            }
            if let Some(text_at) = self.message.text_at {
                self.patch_text(out, place + text_at, *serial);
            }
        }
    }

    /// The question how a message is doing.
    #[must_use]
    pub fn status(&self, id: &str) -> Vec<u8> {
        format!("GET /v1/messages/{id} HTTP/1.1\r\n{}\r\n", self.head).into_bytes()
    }

    fn patch_text(&self, out: &mut [u8], place: usize, serial: u32) {
        let text = self.texts.of(serial);
        patch(out, place, text);
        if self.message.plus {
            let written = out.get_mut(place..place + text.len()).unwrap_or_default();
            written.iter_mut().filter(|octet| **octet == b' ').for_each(|octet| *octet = b'+');
        }
    }

    fn template(&self, count: usize) -> Template {
        match self.door {
            Door::Tidegate => self.post(count),
            Door::Kannel => self.get(),
        }
    }

    fn get(&self) -> Template {
        let before = "GET /cgi-bin/sendsms?";
        let after = format!(" HTTP/1.1\r\n{}\r\n", self.head);
        let octets = [before.as_bytes(), &self.message.octets, after.as_bytes()].concat();
        Template { octets, places: vec![before.len()] }
    }

    fn post(&self, count: usize) -> Template {
        let (mut body, mut places) = (Vec::new(), Vec::new());
        if self.batch > 1 {
            body.extend_from_slice(br#"{"messages":["#);
        }
        for index in 0..count {
            if index > 0 {
                body.push(b',');
            }
            places.push(body.len());
            body.extend_from_slice(&self.message.octets);
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

impl Message {
    fn json(options: &Options, callback: Option<SocketAddr>, numbers: &Numbers) -> Self {
        let from = serde_json::Value::from(options.from.as_str());
        let mut message = Self::default();
        message.add(r#"{"to":"+"#);
        message.add_number(numbers);
        if let Some(address) = callback {
            message.add(&format!(r#"","callback_url":"http://{address}/?n="#));
            message.add_number(numbers);
        }
        message.add(&format!(r#"","from":{from},"text":""#));
        message.add_text(usize::from(options.text_length));
        message.add(r#""}"#);
        message
    }

    /// Kannel's parameters. `dlr-mask` 3 asks for the receipts of success and of failure; `%d` in `dlr-url` becomes 1 or 2.
    fn query(options: &Options, callback: Option<SocketAddr>, numbers: &Numbers) -> Self {
        let (user, password) = options.key.split_once(':').unwrap_or((&options.key, ""));
        let mut message = Self { plus: true, ..Self::default() };
        message.add(&format!("username={user}&password={password}&from={}&to=%2B", options.from));
        message.add_number(numbers);
        if let Some(address) = callback {
            let address = address.to_string().replace(':', "%3A");
            message.add(&format!("&dlr-mask=3&dlr-url=http%3A%2F%2F{address}%2F%3Ft%3D%25d%26n%3D"));
            message.add_number(numbers);
        }
        message.add("&text=");
        message.add_text(usize::from(options.text_length));
        message
    }

    fn add(&mut self, text: &str) {
        self.octets.extend_from_slice(text.as_bytes());
    }

    fn add_number(&mut self, numbers: &Numbers) {
        self.digits_at.push(self.octets.len() + numbers.serial_at());
        self.add(&numbers.sample());
    }

    /// The text begins with the digits as well, so that no two texts are alike.
    fn add_text(&mut self, length: usize) {
        if length >= SERIAL_DIGITS {
            self.digits_at.push(self.octets.len());
            self.text_at = Some(self.octets.len() + SERIAL_DIGITS);
        }
        self.add(&"0".repeat(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn written(options: &Options, callback: Option<SocketAddr>, serials: &[u32]) -> String {
        let requests = Requests::new(options, "host:1", callback, Numbers::new("2547", 0, 1_000).unwrap());
        let mut out = Vec::new();
        requests.write(serials, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn body(batch: u32, callback: Option<SocketAddr>, serials: &[u32]) -> Value {
        let options = Options { batch, text_length: 12, from: "A\"C".into(), ..Options::default() };
        let text = written(&options, callback, serials);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(
            "POST /v1/messages HTTP/1.1\r\nHost: host:1\r\nAuthorization: Bearer tg_live_bench\r\n"
        ));
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        serde_json::from_str(body).unwrap()
    }

    fn text(serial: u32) -> String {
        format!("{serial:08}{}", String::from_utf8_lossy(Texts::new(4).of(serial)))
    }

    #[test]
    fn a_single_message_and_a_batch_carry_their_serials() {
        let message =
            |serial: u32| json!({"to": format!("+2547{serial:08}"), "from": "A\"C", "text": text(serial)});
        assert_eq!(body(1, None, &[17]), message(17));
        assert_eq!(body(2, None, &[17, 999]), json!({"messages": [message(17), message(999)]}));
        assert_eq!(body(3, None, &[5]), json!({"messages": [message(5)]}));
    }

    #[test]
    fn a_callback_names_the_message_at_both_doors() {
        let callback = Some("127.0.0.1:99".parse().unwrap());
        assert_eq!(body(1, callback, &[17])["callback_url"], "http://127.0.0.1:99/?n=254700000017");
        let options = Options {
            door: Door::Kannel,
            key: "me:secret".into(),
            from: "ACME".into(),
            text_length: 12,
            ..Options::default()
        };
        let text = text(17).replace(' ', "+");
        let wanted = format!(
            "GET /cgi-bin/sendsms?username=me&password=secret&from=ACME&to=%2B254700000017\
             &dlr-mask=3&dlr-url=http%3A%2F%2F127.0.0.1%3A99%2F%3Ft%3D%25d%26n%3D254700000017&text={text} \
             HTTP/1.1\r\nHost: host:1\r\n\r\n"
        );
        assert_eq!(written(&options, callback, &[17]), wanted);
    }
}
