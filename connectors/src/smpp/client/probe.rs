//! One look at a provider by hand: binds, asks whether it is there, sends what it is given and waits for the receipts. It notes what
//! came and concludes nothing. The gateway's own binds are `bind`'s.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use codecs::address;
use codecs::instant::Wall;
use codecs::message_id::{self, Form, Side};
use codecs::receipt;
use codecs::smpp::pdu::{self, BindResponse, DataSm, Header, MessageIdResponse, Sm};
use codecs::smpp::tlv::{Tlvs, tag};
use codecs::smpp::{BindKind, Command, Status, frame, write};
use codecs::text::{Encoding, encoding_of};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::{Connection, Dial, Network, ProviderBindOptions};
use crate::clock::Clock;

/// Questions whether the provider is there.
const ENQUIRIES: usize = 3;

/// What is done beside binding.
#[derive(Clone, Debug, Default)]
pub struct Probing {
    /// Bodies of messages, as the options' `submit` has them. All are sent before any answer is waited for.
    pub messages: Vec<Vec<u8>>,
    /// The number that they go to: receipts from another are not ours.
    pub phone: u64,
    /// How long receipts are waited for.
    pub receipt_wait: Duration,
    /// The receipts come on a second bind, a receiver.
    pub pair: bool,
}

/// What came.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub connected_in: Duration,
    pub bound_in: Duration,
    /// What it calls itself, and the version that it says it speaks.
    pub system_id: String,
    pub version: Option<u8>,
    /// How long each enquire_link took.
    pub keepalive: Vec<Duration>,
    /// The answers to the messages, in the order of the messages; `None` where none came in time.
    pub answers: Vec<Option<Answer>>,
    pub receipts: Vec<ReceiptFound>,
    /// Messages from phones, and receipts of other messages, that came meanwhile: they were refused for now, so that they come
    /// again, to the gateway.
    pub others: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: Status,
    pub id: Vec<u8>,
    pub waited: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiptFound {
    pub tlv_id: Vec<u8>,
    pub text_id: Vec<u8>,
    pub stat: Vec<u8>,
    pub done_date: Vec<u8>,
    pub text: Vec<u8>,
    /// message_state, where it came.
    pub state_number: Option<u8>,
    pub esm_class: u8,
    pub data_coding: u8,
    pub arrived: Wall,
    /// Since the messages were sent.
    pub waited: Duration,
}

/// Why nothing could be learned.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("no connection")]
    Connect(#[source] std::io::Error),
    #[error("the bind was refused with {}", .0.name().unwrap_or("an unknown status"))]
    Refused(Status),
    #[error("no answer to the {0}")]
    Silent(&'static str),
    #[error("the connection ended")]
    Ended,
    #[error("the connection ended")]
    Broken(#[source] std::io::Error),
    #[error("it sends what is no SMPP")]
    Garbage,
    #[error("our own settings do not fit a bind")]
    Settings,
}

/// Binds, asks, sends, waits, unbinds.
pub async fn probe(
    options: &ProviderBindOptions,
    probing: &Probing,
    clock: Clock,
) -> Result<Found, ProbeError> {
    let mut found = Found::default();
    let mut link = Link::open(options, options.kind, &mut found).await?;
    for _ in 0..ENQUIRIES {
        found.keepalive.push(link.enquire().await?);
    }
    let mut receiver = match probing.pair {
        true => Some(Link::open(options, BindKind::Receiver, &mut Found::default()).await?),
        false => None,
    };
    if !probing.messages.is_empty() {
        let sent_at = Instant::now();
        link.submit(probing, clock, &mut found).await?;
        let accepted = found.answers.iter().flatten().filter(|answer| answer.status == Status::OK).count();
        let until = later(sent_at, probing.receipt_wait);
        let receiving = receiver.as_mut().unwrap_or(&mut link);
        while found.receipts.len() < accepted {
            let Some(pdu) = receiving.next(until).await? else { break };
            receiving.delivered(&pdu, probing.phone, (sent_at, clock), &mut found).await?;
        }
    }
    for mut link in receiver.into_iter().chain([link]) {
        link.unbind().await;
    }
    Ok(found)
}

struct Pdu {
    header: Header,
    body: Vec<u8>,
}

/// One bound connection.
struct Link<'o> {
    options: &'o ProviderBindOptions,
    stream: Connection,
    buffer: Vec<u8>,
    sequence: u32,
}

impl<'o> Link<'o> {
    async fn open(
        options: &'o ProviderBindOptions,
        kind: BindKind,
        found: &mut Found,
    ) -> Result<Link<'o>, ProbeError> {
        let began = Instant::now();
        let stream = Network.dial(options, 0).await.map_err(ProbeError::Connect)?;
        found.connected_in = began.elapsed();
        let mut link = Link { options, stream, buffer: Vec::new(), sequence: 0 };
        let began = Instant::now();
        let bind = pdu::Bind {
            system_id: options.system_id.as_bytes(),
            password: options.password.0.as_bytes(),
            system_type: options.system_type.as_bytes(),
            interface_version: options.interface_version,
            ..pdu::Bind::default()
        };
        let mut body = Vec::new();
        write::bind_body(&mut body, &bind).map_err(|_| ProbeError::Settings)?;
        let asked = link.request(kind.command(), &body).await?;
        let until = later(began, options.bind_timeout);
        loop {
            let pdu = link.next(until).await?.ok_or(ProbeError::Silent("bind"))?;
            if pdu.header.sequence != asked || !pdu.header.command.is_response() {
                continue;
            }
            if pdu.header.status != Status::OK || pdu.header.command == Command::GENERIC_NACK {
                return Err(ProbeError::Refused(pdu.header.status));
            }
            found.bound_in = began.elapsed();
            let response = BindResponse::read(&pdu.body);
            found.system_id = String::from_utf8_lossy(response.system_id).into_owned();
            found.version = response.sc_interface_version;
            return Ok(link);
        }
    }

    async fn enquire(&mut self) -> Result<Duration, ProbeError> {
        let began = Instant::now();
        let asked = self.request(Command::ENQUIRE_LINK, &[]).await?;
        let until = later(began, self.options.enquire_link_response);
        loop {
            let pdu = self.next(until).await?.ok_or(ProbeError::Silent("enquire_link"))?;
            if pdu.header.command.is_response() && pdu.header.sequence == asked {
                return Ok(began.elapsed());
            }
            self.put_off(&pdu).await?;
        }
    }

    /// Sends all messages and takes their answers. Receipts may come before them.
    async fn submit(&mut self, probing: &Probing, clock: Clock, found: &mut Found) -> Result<(), ProbeError> {
        let began = Instant::now();
        let mut asked = Vec::new();
        for body in &probing.messages {
            asked.push(self.request(self.options.submit, body).await?);
        }
        found.answers = vec![None; asked.len()];
        let until = later(began, self.options.response_timeout);
        while found.answers.iter().any(Option::is_none) {
            let Some(pdu) = self.next(until).await? else { return Ok(()) };
            let Header { command, status, sequence, .. } = pdu.header;
            if !command.is_response() {
                self.delivered(&pdu, probing.phone, (began, clock), found).await?;
                continue;
            }
            let place = asked.iter().position(|asked| *asked == sequence);
            if let Some(answer) = place.and_then(|place| found.answers.get_mut(place)) {
                let status = match command == Command::GENERIC_NACK && status == Status::OK {
                    true => Status::UNKNOWNERR,
                    false => status,
                };
                let id = MessageIdResponse::read(&pdu.body).message_id.to_vec();
                *answer = Some(Answer { status, id, waited: began.elapsed() });
            }
        }
        Ok(())
    }

    /// Notes a receipt of a message of ours and takes it; anything else, also what comes before the answer that names it, is put
    /// off: it may be the gateway's, which would never see it.
    async fn delivered(
        &mut self,
        pdu: &Pdu,
        phone: u64,
        (sent_at, clock): (Instant, Clock),
        found: &mut Found,
    ) -> Result<(), ProbeError> {
        let read = match pdu.header.command {
            Command::DELIVER_SM => Sm::read(&pdu.body)
                .ok()
                .filter(|sm| is_from(phone, sm.source.octets))
                .and_then(|sm| self.receipt(sm.esm_class, sm.data_coding, sm.content(), sm.tlvs())),
            Command::DATA_SM => DataSm::read(&pdu.body)
                .ok()
                .filter(|data| is_from(phone, data.source.octets))
                .and_then(|data| self.receipt(data.esm_class, data.data_coding, data.content(), data.tlvs())),
            _ => None,
        };
        let Some(read) = read.filter(|receipt| is_of(&found.answers, receipt)) else {
            found.others = found.others.saturating_add(usize::from(is_delivery(pdu)));
            return self.put_off(pdu).await;
        };
        let (arrived, waited) = (clock.now().wall, sent_at.elapsed());
        found.receipts.push(ReceiptFound { arrived, waited, ..read });
        let mut out = Vec::new();
        write::frame(&mut out, pdu.header.command.response(), Status::OK, pdu.header.sequence, &[0]);
        self.write(&out).await
    }

    fn receipt(
        &self,
        esm_class: u8,
        data_coding: u8,
        content: &[u8],
        tlvs: Tlvs<'_>,
    ) -> Option<ReceiptFound> {
        let mut ascii = Vec::new();
        let content = match encoding_of(data_coding) {
            Encoding::Ucs2 => {
                receipt::ascii_of_ucs2(content, &mut ascii);
                &ascii
            }
            _ => content,
        };
        let tlv_id = tlvs.value_of(tag::RECEIPTED_MESSAGE_ID).unwrap_or_default();
        let is_marked = receipt::is_receipt(esm_class) || !tlv_id.is_empty();
        let text = self.options.dialect.read(content, is_marked);
        if !is_marked && text.is_none_or(|text| text.id.is_none()) {
            return None;
        }
        let text = text.unwrap_or_default();
        Some(ReceiptFound {
            tlv_id: tlv_id.iter().copied().take_while(|octet| *octet != 0).collect(),
            text_id: text.id.unwrap_or_default().to_vec(),
            stat: text.stat.to_vec(),
            done_date: text.done_date.to_vec(),
            text: text.text.to_vec(),
            state_number: tlvs.value_of(tag::MESSAGE_STATE).and_then(|value| value.last().copied()),
            esm_class,
            data_coding,
            ..ReceiptFound::default()
        })
    }

    /// What is not for us is to come again, to the gateway.
    async fn put_off(&mut self, pdu: &Pdu) -> Result<(), ProbeError> {
        if !is_delivery(pdu) {
            return Ok(());
        }
        let mut out = Vec::new();
        write::respond(&mut out, pdu.header.command, Status::X_T_APPN, pdu.header.sequence);
        self.write(&out).await
    }

    /// In good order, if the provider lets us.
    async fn unbind(&mut self) {
        let until = later(Instant::now(), self.options.closing);
        if self.request(Command::UNBIND, &[]).await.is_err() {
            return;
        }
        while let Ok(Some(pdu)) = self.next(until).await {
            if pdu.header.command == Command::UNBIND_RESP || self.put_off(&pdu).await.is_err() {
                return;
            }
        }
    }

    async fn request(&mut self, command: Command, body: &[u8]) -> Result<u32, ProbeError> {
        self.sequence = self.sequence.saturating_add(1);
        let mut out = Vec::new();
        write::frame(&mut out, command, Status::OK, self.sequence, body);
        self.write(&out).await?;
        Ok(self.sequence)
    }

    async fn write(&mut self, octets: &[u8]) -> Result<(), ProbeError> {
        let written = async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        };
        match tokio::time::timeout(self.options.stalled, written).await {
            Ok(written) => written.map_err(ProbeError::Broken),
            Err(_) => Err(ProbeError::Silent("octets that were sent")),
        }
    }

    /// The next PDU that is not about the connection itself; `None` when none has come until then.
    async fn next(&mut self, until: Instant) -> Result<Option<Pdu>, ProbeError> {
        loop {
            let length = frame::next_frame(&self.buffer, self.options.pdu_octets_max);
            let Some(length) = length.map_err(|_| ProbeError::Garbage)? else {
                match tokio::time::timeout_at(until, self.stream.read_buf(&mut self.buffer)).await {
                    Ok(Ok(1..)) => continue,
                    Ok(Ok(0)) => return Err(ProbeError::Ended),
                    Ok(Err(error)) => return Err(ProbeError::Broken(error)),
                    Err(_) => return Ok(None),
                }
            };
            let octets: Vec<u8> = self.buffer.drain(..length).collect();
            let Some(header) = Header::read(&octets) else { return Err(ProbeError::Garbage) };
            let is_about_connection = matches!(header.command, Command::ENQUIRE_LINK | Command::UNBIND);
            if !is_about_connection {
                return Ok(Some(Pdu { header, body: pdu::body(&octets).to_vec() }));
            }
            let mut out = Vec::new();
            write::respond(&mut out, header.command, Status::OK, header.sequence);
            self.write(&out).await?;
            if header.command == Command::UNBIND {
                return Err(ProbeError::Ended);
            }
        }
    }
}

/// By the last digits, for providers write numbers in many forms; one that is no number tells nothing.
fn is_from(phone: u64, source: &[u8]) -> bool {
    const COMPARED: u64 = 10_000_000;
    let number = address::destination_octets(address::TON_UNKNOWN, source).ok();
    number.is_none_or(|number| number.as_u64() % COMPARED == phone % COMPARED)
}

/// Whether an id of the receipt is one that an answer gave, however the provider writes its ids: that is yet to be learned.
fn is_of(answers: &[Option<Answer>], receipt: &ReceiptFound) -> bool {
    let key = |form, side, id: &[u8]| {
        let mut key = Vec::new();
        message_id::canonical(form, side, id, &mut key);
        key
    };
    let ours = answers.iter().flatten().filter(|answer| answer.status == Status::OK);
    let ours: Vec<Vec<u8>> = ours.map(|answer| key(Form::Text, Side::Response, &answer.id)).collect();
    let named = [&receipt.tlv_id, &receipt.text_id];
    Form::ALL.iter().any(|form| {
        let keys = named.iter().map(|id| key(*form, Side::Receipt, id));
        keys.filter(|key| !key.is_empty()).any(|key| ours.contains(&key))
    })
}

fn is_delivery(pdu: &Pdu) -> bool {
    matches!(pdu.header.command, Command::DELIVER_SM | Command::DATA_SM)
}

fn later(from: Instant, by: Duration) -> Instant {
    from.checked_add(by).unwrap_or(from)
}
