//! Who may bind: the question that the server asks of its surroundings. It holds no passwords.

use std::net::IpAddr;
use std::sync::Arc;

use codecs::address::National;
use codecs::smpp::BindKind;
use codecs::text::Encoding;
/// How a tenant is given message ids.
pub use engine::catalog::IdRadix;

/// The directory of tenants. It is asked on a connection's task, so it must not wait for anything.
pub trait Authenticator: Send + Sync {
    /// Compares in constant time.
    fn authenticate(&self, system_id: &[u8], password: &[u8], from: IpAddr) -> Result<TenantAccess, Denied>;
}

/// What a tenant may do on a bind. It holds for as long as the bind does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantAccess {
    pub tenant: u32,
    /// What the log calls it.
    pub tenant_id: Arc<str>,
    /// Binds at once, over all addresses.
    pub max_binds: u32,
    /// Which kinds of binds.
    pub bind_kinds: BindKinds,
    /// Where there are as many, the oldest makes room for another one; else that is refused.
    pub oldest_leaves: bool,
    /// Unanswered submissions on this bind; half as many again of deliveries, up to 1,500.
    pub window: u32,
    /// Messages a second over all doors of the tenant; 0: no limit.
    pub rate: u32,
    /// What the tenant means by data_coding 0.
    pub charset: Encoding,
    /// The same of data_coding 1.
    pub charset_1: Encoding,
    /// The same of a destination that it calls national.
    pub national: National,
    /// How message ids are written for it.
    pub message_id: IdRadix,
}

/// Kinds of binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindKinds {
    pub transmitter: bool,
    pub receiver: bool,
    pub transceiver: bool,
}

impl BindKinds {
    pub const ALL: BindKinds = BindKinds { transmitter: true, receiver: true, transceiver: true };

    pub fn allow(self, kind: BindKind) -> bool {
        match kind {
            BindKind::Transmitter => self.transmitter,
            BindKind::Receiver => self.receiver,
            BindKind::Transceiver => self.transceiver,
        }
    }
}

/// Why a bind is refused. The peer is not told the difference between the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("wrong system_id or password")]
    Credentials,
    #[error("not from this address")]
    Address,
    #[error("not now")]
    Unavailable,
}
