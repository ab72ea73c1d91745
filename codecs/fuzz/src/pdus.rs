//! The body of every PDU: the same octets read as each, and what is read, written strictly, reads the same again.

use codecs::address;
use codecs::smpp::alert::{AlertNotification, alert_notification_body};
use codecs::smpp::congestion::congestion_state;
use codecs::smpp::frame::HEADER_OCTETS;
use codecs::smpp::masked::{Masked, MaskedHead};
use codecs::smpp::multi::{
    Around, Destination, SubmitMulti, SubmitMultiResponse, Unsuccess, submit_multi_body,
    submit_multi_response_body,
};
use codecs::smpp::pdu::{
    self, Bind, BindResponse, CancelSm, DataSm, Header, MessageIdResponse, Outbind, QuerySm, QuerySmResponse,
    ReplaceSm, Sm, SmeAddress,
};
use codecs::smpp::write::{self, Carrier, ReplaceFields, SmFields, WriteError};

/// The longest line that the log gets of a PDU: names, addresses and numbers in hexadecimal, and the heads of TLVs.
const MASKED_MAX: usize = 4_096;

pub fn check(body: &[u8]) {
    assert!(Masked(body).to_string().len() <= MASKED_MAX);
    assert!(MaskedHead(body).to_string().len() <= 2 * HEADER_OCTETS);
    let _ = congestion_state(body);
    if let Some(header) = Header::read(body) {
        assert_eq!(header.command.is_response(), header.command.0 >> 31 == 1);
        assert_eq!(pdu::body(body).len() + 16, body.len());
    }
    binds(body);
    messages(body);
    multi(body);
    questions(body);
    alerts(body);
    let response = MessageIdResponse::read(body);
    let _ = response.tlvs().count();
    if let Some(again) = written(|out| write::message_id_body(out, response.message_id)) {
        assert_eq!(MessageIdResponse::read(&again).message_id, response.message_id);
    }
}

fn binds(body: &[u8]) {
    if let Ok(bind) = Bind::read(body)
        && let Some(again) = written(|out| write::bind_body(out, &bind))
    {
        // An over-long password is written, and counted again.
        let anomalies = Bind::read(&again).map(|bind| bind.anomalies);
        assert_eq!(Bind::read(&again), Ok(Bind { anomalies: anomalies.unwrap_or_default(), ..bind }));
    }
    if let Ok(outbind) = Outbind::read(body) {
        assert!(outbind.system_id.len() + outbind.password.len() <= body.len());
    }
    let response = BindResponse::read(body);
    let version = response.sc_interface_version;
    if let Some(again) = written(|out| write::bind_response_body(out, response.system_id, version)) {
        assert_eq!(BindResponse::read(&again), response);
    }
}

fn messages(body: &[u8]) {
    if let Ok(sm) = Sm::read(body) {
        addresses(sm.source);
        addresses(sm.destination);
        sm_again(&sm);
    }
    if let Ok(data) = DataSm::read(body) {
        addresses(data.destination);
        assert!(data.content().len() <= body.len() && data.tlvs().count() <= body.len());
        data_again(&data);
    }
    if let Ok(replace) = ReplaceSm::read(body) {
        assert!(replace.content().len() <= body.len() && replace.tlvs().count() <= body.len());
        replace_again(&replace);
    }
}

fn replace_again(replace: &ReplaceSm<'_>) {
    let fields = ReplaceFields {
        message_id: replace.message_id,
        source: replace.source,
        schedule_delivery_time: replace.schedule_delivery_time,
        validity_period: replace.validity_period,
        registered_delivery: replace.registered_delivery,
        text: replace.content(),
    };
    if let Some(again) = written(|out| write::replace_sm_body(out, &fields)) {
        let read = ReplaceSm::read(&again).expect("what we write is read");
        assert_eq!((read.content(), read.anomalies, read.sm_default_msg_id), (replace.content(), 0, 0));
        assert_eq!((read.message_id, read.source), (replace.message_id, replace.source));
        assert_eq!(read.schedule_delivery_time, replace.schedule_delivery_time);
        assert_eq!(read.validity_period, replace.validity_period);
    }
}

fn multi(body: &[u8]) {
    if let Ok(multi) = SubmitMulti::read(body) {
        let destinations: Vec<Destination<'_>> = multi.destinations().collect();
        assert!(!destinations.is_empty() && destinations.len() <= body.len());
        let sm = multi.to(SmeAddress::default());
        let fields = fields(&sm, Carrier::ShortMessage);
        if let Some(again) = written(|out| submit_multi_body(out, &fields, &destinations)) {
            let read = SubmitMulti::read(&again).expect("what we write is read");
            assert_eq!(read.destinations().collect::<Vec<_>>(), destinations);
            assert_eq!(read.to(SmeAddress::default()).content(), sm.content());
        }
    }
    // What goes to one destination goes to a list of it, and reads the same.
    if let (Ok(around), Ok(sm)) = (Around::read(body), Sm::read(body)) {
        let (mut list, mut as_multi) = (Vec::new(), Vec::new());
        around.write_destination(&mut list);
        around.write_multi(&mut as_multi, 1, &list);
        if let Ok(multi) = SubmitMulti::read(&as_multi) {
            assert_eq!(multi.destinations().collect::<Vec<_>>(), [Destination::Sme(sm.destination)]);
            assert_eq!(multi.to(sm.destination).content(), sm.content());
        }
    }
    let response = SubmitMultiResponse::read(body);
    let unsuccess: Vec<Unsuccess<'_>> = response.unsuccess().collect();
    assert!(unsuccess.len() <= body.len());
    if let Some(again) = written(|out| submit_multi_response_body(out, response.message_id, &unsuccess)) {
        let read = SubmitMultiResponse::read(&again);
        assert_eq!(read.message_id, response.message_id);
        assert_eq!(read.unsuccess().collect::<Vec<_>>(), unsuccess);
    }
}

fn data_again(data: &DataSm<'_>) {
    let fields = SmFields {
        service_type: data.service_type,
        source: data.source,
        destination: data.destination,
        esm_class: data.esm_class,
        registered_delivery: data.registered_delivery,
        data_coding: data.data_coding,
        text: data.content(),
        ..SmFields::default()
    };
    if let Some(again) = written(|out| write::data_sm_body(out, &fields, None)) {
        let read = DataSm::read(&again).expect("what we write is read");
        assert_eq!((read.content(), read.anomalies), (data.content(), 0));
        assert_eq!((read.source, read.destination), (data.source, data.destination));
    }
}

fn sm_again(sm: &Sm<'_>) {
    for carrier in [Carrier::ShortMessage, Carrier::MessagePayload] {
        let fields = fields(sm, carrier);
        let Some(again) = written(|out| write::sm_body(out, &fields)) else { continue };
        let read = Sm::read(&again).expect("what we write is read");
        assert_eq!((read.content(), read.anomalies), (sm.content(), 0));
        assert_eq!((read.source, read.destination), (sm.source, sm.destination));
        assert_eq!((read.esm_class, read.data_coding), (sm.esm_class, sm.data_coding));
        assert!(!{
            let mut tlvs = read.tlvs();
            let _ = tlvs.by_ref().count();
            tlvs.malformed()
        });
    }
}

fn fields<'a>(sm: &Sm<'a>, carrier: Carrier) -> SmFields<'a> {
    SmFields {
        service_type: sm.service_type,
        source: sm.source,
        destination: sm.destination,
        esm_class: sm.esm_class,
        protocol_id: sm.protocol_id,
        priority_flag: sm.priority_flag,
        schedule_delivery_time: sm.schedule_delivery_time,
        validity_period: sm.validity_period,
        registered_delivery: sm.registered_delivery,
        replace_if_present_flag: sm.replace_if_present_flag,
        data_coding: sm.data_coding,
        sm_default_msg_id: sm.sm_default_msg_id,
        header: &[],
        text: sm.content(),
        carrier,
    }
}

fn addresses(address: SmeAddress<'_>) {
    if let Ok(number) = address::destination_octets(address.ton, address.octets) {
        let mut digits = Vec::new();
        number.write_digits(&mut digits);
        assert_eq!(address::destination_octets(1, &digits), Ok(number));
    }
    if let Ok(sender) = address::sender_octets(address.ton, address.npi, address.octets) {
        assert_eq!(sender.octets(), address.octets);
    }
}

fn questions(body: &[u8]) {
    if let Ok(query) = QuerySm::read(body)
        && let Some(again) = written(|out| write::query_sm_body(out, &query))
    {
        assert_eq!(QuerySm::read(&again), Ok(QuerySm { anomalies: 0, ..query }));
    }
    if let Ok(response) = QuerySmResponse::read(body)
        && let Some(again) = written(|out| write::query_sm_response_body(out, &response))
    {
        assert_eq!(QuerySmResponse::read(&again), Ok(QuerySmResponse { anomalies: 0, ..response }));
    }
    if let Ok(cancel) = CancelSm::read(body)
        && let Some(again) = written(|out| write::cancel_sm_body(out, &cancel))
    {
        assert_eq!(CancelSm::read(&again), Ok(CancelSm { anomalies: 0, ..cancel }));
    }
}

fn alerts(body: &[u8]) {
    if let Ok(alert) = AlertNotification::read(body)
        && let Some(again) = written(|out| alert_notification_body(out, &alert))
    {
        assert_eq!(AlertNotification::read(&again), Ok(AlertNotification { anomalies: 0, ..alert }));
    }
}

/// What was written, or None where a field is refused; then nothing may stay behind.
fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), WriteError>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match write(&mut out) {
        Ok(()) => Some(out),
        Err(_) => {
            assert!(out.is_empty());
            None
        }
    }
}
