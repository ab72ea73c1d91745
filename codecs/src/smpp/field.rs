//! The C-octet strings of SMPP 3.4: their limits, and the status that answers a bad one. One table for both directions.

use super::status::Status;

/// One field that ends in a NUL.
pub(super) struct Field {
    pub name: &'static str,
    /// With the NUL.
    pub octets_max: usize,
    pub status: Status,
}

const fn field(name: &'static str, octets_max: usize, status: Status) -> Field {
    Field { name, octets_max, status }
}

pub(super) const SYSTEM_ID: Field = field("system_id", 16, Status::INVSYSID);
/// SMPP 3.4 says 9. Longer ones are common, and some providers demand them.
pub(super) const PASSWORD: Field = field("password", 65, Status::INVPASWD);
pub(super) const SYSTEM_TYPE: Field = field("system_type", 13, Status::INVSYSTYP);
pub(super) const ADDRESS_RANGE: Field = field("address_range", 41, Status::BINDFAIL);
pub(super) const SERVICE_TYPE: Field = field("service_type", 6, Status::INVSERTYP);
pub(super) const SOURCE: Field = field("source_addr", 21, Status::INVSRCADR);
pub(super) const DESTINATION: Field = field("destination_addr", 21, Status::INVDSTADR);
/// The addresses of data_sm are longer (SMPP 3.4 §4.7.1).
pub(super) const DATA_SOURCE: Field = field("source_addr", 65, Status::INVSRCADR);
pub(super) const DATA_DESTINATION: Field = field("destination_addr", 65, Status::INVDSTADR);
/// esme_addr of an alert_notification (SMPP 3.4 §4.12.1).
pub(super) const ESME: Field = field("esme_addr", 65, Status::INVDSTADR);
pub(super) const SCHEDULE: Field = field("schedule_delivery_time", 17, Status::INVSCHED);
pub(super) const VALIDITY: Field = field("validity_period", 17, Status::INVEXPIRY);
pub(super) const MESSAGE_ID: Field = field("message_id", 65, Status::INVMSGID);
/// The name of a distribution list (SMPP 3.4 §4.5.1.1).
pub(super) const LIST_NAME: Field = field("dl_name", 21, Status::INVDLNAME);
pub(super) const FINAL_DATE: Field = field("final_date", 17, Status::QUERYFAIL);
