//! What the answers of a provider say of how it speaks, and the profile that follows. It asks nothing.

use std::fmt::Write as _;
use std::time::Duration;

use codecs::instant::Wall;
use codecs::message_id::{self, Form, Side};
use codecs::receipt::Dialect;
use codecs::smpp::Status;
use codecs::smpp::status::Class;
use config::Provider;
use connectors::smpp::client::probe::{Answer, Found, ReceiptFound};
use serde_json::{Value, json};

/// What was learned of one provider.
pub struct Learned {
    id: String,
    at: Wall,
    found: Found,
    form: Option<Form>,
    tlv_side: Option<&'static str>,
    offset_minutes: Option<i64>,
}

/// Dates have minutes, and a receipt travels: further from a quarter of an hour nothing follows.
const OFFSET_DOUBT_MILLIS: u64 = 150_000;
const QUARTER_MILLIS: i64 = 15 * 60_000;
/// No place is further from UTC.
const OFFSET_QUARTERS_MAX: i64 = 14 * 4;

impl Learned {
    pub fn of(provider: &Provider, found: Found, dialect: &Dialect, at: Wall) -> Learned {
        let form = form(&found);
        Learned {
            id: provider.id.clone(),
            at,
            tlv_side: form.and_then(|form| tlv_side(&found, form)),
            offset_minutes: offset_minutes(&found, dialect),
            form,
            found,
        }
    }

    /// Whether the provider did what was asked of it: a receipt may take longer than we wait.
    pub fn is_good(&self) -> bool {
        let accepted = self.accepted();
        !self.found.keepalive.is_empty() && (self.found.answers.is_empty() || accepted > 0)
    }

    /// A profile with what was seen in its comments.
    pub fn profile(&self) -> String {
        let mut out = String::new();
        // A String takes every write.
        let _ = self.write_profile(&mut out);
        out
    }

    pub fn json(&self) -> Value {
        let found = &self.found;
        let millis = |duration: &Duration| duration.as_secs_f64() * 1_000.0;
        json!({
            "ok": self.is_good(),
            "provider": self.id,
            "connected_ms": millis(&found.connected_in),
            "bound_ms": millis(&found.bound_in),
            "system_id": found.system_id,
            "interface_version": found.version.map(|version| format!("0x{version:02X}")),
            "keepalive_ms": found.keepalive.iter().map(millis).collect::<Vec<_>>(),
            "answers": found.answers.iter().map(|answer| answer.as_ref().map(|answer| json!({
                "status": format!("0x{:08X}", answer.status.0),
                "name": answer.status.name(),
                "id": lossy(&answer.id),
                "ms": millis(&answer.waited),
            }))).collect::<Vec<_>>(),
            "receipts": found.receipts.iter().map(|receipt| json!({
                "text_id": lossy(&receipt.text_id),
                "tlv_id": lossy(&receipt.tlv_id),
                "stat": lossy(&receipt.stat),
                "message_state": receipt.state_number,
                "done_date": lossy(&receipt.done_date),
                "esm_class": receipt.esm_class,
                "data_coding": receipt.data_coding,
                "ms": millis(&receipt.waited),
            })).collect::<Vec<_>>(),
            "others": found.others,
            "profile": self.profile(),
        })
    }

    fn accepted(&self) -> usize {
        self.found.answers.iter().flatten().filter(|answer| answer.status == Status::OK).count()
    }

    fn write_profile(&self, out: &mut String) -> std::fmt::Result {
        let at = codecs::time::rfc3339_string(self.at);
        writeln!(out, "# Suggested for provider {}, seen at {at}.", self.id)?;
        self.write_link(out)?;
        self.write_answers(out)?;
        for (place, receipt) in self.found.receipts.iter().enumerate() {
            write_receipt(out, place, receipt)?;
        }
        if self.found.others > 0 {
            writeln!(
                out,
                "# {} other messages and receipts came meanwhile and were put off.",
                self.found.others
            )?;
        }
        writeln!(out)?;
        self.write_keys(out)
    }

    fn write_link(&self, out: &mut String) -> std::fmt::Result {
        let found = &self.found;
        let (connected, bound) = (found.connected_in.as_millis(), found.bound_in.as_millis());
        let name = if found.system_id.is_empty() { "nothing" } else { &found.system_id };
        writeln!(
            out,
            "# Connected in {connected} ms, bound in {bound} ms; it calls itself {}.",
            name.escape_debug()
        )?;
        match found.version {
            Some(version) => {
                writeln!(out, "# It says that it speaks version 0x{version:02X}, and so knows TLVs.")?
            }
            None => writeln!(out, "# It does not say which version it speaks; many know TLVs all the same.")?,
        }
        let slowest = found.keepalive.iter().max().copied().unwrap_or_default();
        writeln!(
            out,
            "# enquire_link: {} answered, the slowest in {} ms.",
            found.keepalive.len(),
            slowest.as_millis()
        )
    }

    fn write_answers(&self, out: &mut String) -> std::fmt::Result {
        for (place, answer) in (1..).zip(&self.found.answers) {
            match answer {
                None => writeln!(out, "# Message {place}: no answer in time.")?,
                Some(Answer { status: Status::OK, id, waited }) => {
                    writeln!(out, "# Message {place}: taken in {} ms as {}.", waited.as_millis(), shown(id))?;
                }
                Some(Answer { status, waited, .. }) => {
                    let name = status.name().unwrap_or("a status of its own");
                    let waited = waited.as_millis();
                    writeln!(
                        out,
                        "# Message {place}: refused in {waited} ms with 0x{:X}, {name}.",
                        status.0
                    )?;
                }
            }
        }
        if self.found.answers.is_empty() {
            writeln!(
                out,
                "# No message was sent (--to, --from), so nothing is known of its ids and receipts."
            )?;
        } else if self.accepted() > 0 && self.found.receipts.is_empty() {
            writeln!(out, "# No receipt came in time; --wait waits longer.")?;
        }
        Ok(())
    }

    fn write_keys(&self, out: &mut String) -> std::fmt::Result {
        match self.found.version {
            Some(..0x34) => writeln!(out, "bind = \"pair\"\ninterface_version = \"3.3\"")?,
            Some(0x50..) => writeln!(out, "interface_version = \"5.0\"")?,
            _ => writeln!(out, "interface_version = \"3.4\"")?,
        }
        if let Some(form) = self.form {
            writeln!(out, "message_id = \"{}\"", form.name())?;
        }
        if let Some(side) = self.tlv_side {
            writeln!(out, "message_id_tlv = \"{side}\"")?;
        }
        if !self.found.answers.is_empty() {
            writeln!(
                out,
                "# The phone shows what data_coding 0 means: \"probe @$\" is ascii or latin1, \"probe ¡¤\" gsm7."
            )?;
            writeln!(out, "# charset = \"gsm7\"")?;
        }
        self.write_window(out)?;
        match self.offset_minutes {
            Some(0) | None => Ok(()),
            Some(minutes) => {
                let (sign, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
                writeln!(out, "receipt = {{ offset = \"{sign}{:02}:{:02}\" }}", minutes / 60, minutes % 60)
            }
        }
    }

    /// Only where it was tried is anything known.
    fn write_window(&self, out: &mut String) -> std::fmt::Result {
        let sent = self.found.answers.len();
        let is_throttled = |answer: &&Answer| answer.status.class_on_submit() == Class::Throttle;
        let throttled = self.found.answers.iter().flatten().filter(is_throttled).count();
        if sent < 2 {
            return Ok(());
        }
        if throttled > 0 {
            writeln!(out, "# Of {sent} sent at once {throttled} were too many.")?;
            return writeln!(out, "window = {}", self.accepted().max(1));
        }
        writeln!(out, "# {sent} unanswered at once were not too many; more were not tried.")?;
        writeln!(out, "window = {sent}")
    }
}

fn write_receipt(out: &mut String, place: usize, receipt: &ReceiptFound) -> std::fmt::Result {
    let ReceiptFound { text_id, tlv_id, stat, done_date, .. } = receipt;
    writeln!(
        out,
        "# Receipt {} after {} ms: id {} in the text, {} in the TLV; stat {}, message_state {}; done date {}; esm_class 0x{:02X}, \
         data_coding {}.",
        place.saturating_add(1),
        receipt.waited.as_millis(),
        shown(text_id),
        shown(tlv_id),
        shown(stat),
        receipt.state_number.map_or_else(|| "none".to_owned(), |number| number.to_string()),
        shown(done_date),
        receipt.esm_class,
        receipt.data_coding
    )
}

/// The form under which every receipt's text names one of the messages.
fn form(found: &Found) -> Option<Form> {
    let texts: Vec<&[u8]> =
        found.receipts.iter().map(|receipt| receipt.text_id.as_slice()).filter(|id| !id.is_empty()).collect();
    let names = |form: Form, text: &&[u8]| {
        let wanted = key(form, Side::Receipt, text);
        found.answers.iter().flatten().any(|answer| key(form, Side::Response, &answer.id) == wanted)
    };
    let fits = |form: &Form| !texts.is_empty() && texts.iter().all(|text| names(*form, text));
    [Form::Text, Form::HexDec, Form::DecHex].into_iter().find(fits)
}

/// Whose form the ids in TLVs have, where that can be told.
fn tlv_side(found: &Found, form: Form) -> Option<&'static str> {
    let given: Vec<&[u8]> =
        found.receipts.iter().map(|receipt| receipt.tlv_id.as_slice()).filter(|id| !id.is_empty()).collect();
    let are_of = |side: Side| {
        let is_known = |tlv: &&[u8]| {
            let wanted = key(form, side, tlv);
            found.answers.iter().flatten().any(|answer| key(form, Side::Response, &answer.id) == wanted)
        };
        !given.is_empty() && given.iter().all(is_known)
    };
    match form {
        // Both sides are the same.
        Form::Text | Form::Hex | Form::Dec => None,
        _ if are_of(Side::Response) => Some("response"),
        _ if are_of(Side::Receipt) => Some("receipt"),
        _ => None,
    }
}

fn key(form: Form, side: Side, id: &[u8]) -> Vec<u8> {
    let mut key = Vec::new();
    message_id::canonical(form, side, id, &mut key);
    key
}

/// Its local time less UTC, from the dates of what has just been delivered; the entry's own offset is counted in.
fn offset_minutes(found: &Found, dialect: &Dialect) -> Option<i64> {
    let utc = Dialect { offset_minutes: 0, ..dialect.clone() };
    let offset = |receipt: &ReceiptFound| {
        let ahead = utc.date(&receipt.done_date, receipt.arrived)?.0.saturating_sub(receipt.arrived.0);
        let quarters = ahead.saturating_add(QUARTER_MILLIS / 2).div_euclid(QUARTER_MILLIS);
        let is_near = ahead.abs_diff(quarters.saturating_mul(QUARTER_MILLIS)) <= OFFSET_DOUBT_MILLIS;
        (is_near && quarters.abs() <= OFFSET_QUARTERS_MAX).then_some(quarters.saturating_mul(15))
    };
    let mut offsets = found.receipts.iter().map(offset);
    let first = offsets.next()??;
    offsets.all(|offset| offset == Some(first)).then_some(first)
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// What a provider wrote, on one line of a comment.
fn shown(octets: &[u8]) -> String {
    match octets {
        [] => "none".to_owned(),
        _ => octets.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests;
