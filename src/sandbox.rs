//! The sandbox provider: a simulated SMSC in this process, reached over a real bind on loopback, for a gateway without providers.

use config::{Config, Provider};
use loadtest::smsc::{Delay, Handle, Profile, Simulator};

/// Its id among the providers.
pub const ID: &str = "sandbox";

/// To who has tenants and no provider: that may be a slip.
pub const REMARK: &str = "there is no provider: a sandbox stands in for one, which says that messages are delivered that leave this process nowhere, and tenants pay for them";

/// Starts the sandbox for a gateway without providers.
pub async fn stand_in(config: &mut Config) -> std::io::Result<Option<Handle>> {
    if !config.is_empty_of_providers() {
        return Ok(None);
    }
    if !config.tenant.is_empty() {
        tracing::warn!("{REMARK}");
    }
    start(config).await.map(Some)
}

/// Starts the simulator on a free port and adds it to the settings as a provider.
async fn start(config: &mut Config) -> std::io::Result<Handle> {
    let password = crate::secrets::new_smpp_password();
    let profile = Profile {
        seed: u64::from_le_bytes(crate::secrets::random()),
        system_id: Some(ID.to_owned()),
        password: Some(password.clone()),
        latency: Delay::Uniform(10.0, 30.0),
        receipt_delay: Delay::Uniform(200.0, 600.0),
        record_max: 0,
        ..Profile::default()
    };
    let handle = Simulator::bind(("127.0.0.1", 0), profile).await?.spawn();
    config.provider.push(provider(handle.address().port(), &password));
    Ok(handle)
}

/// The entry that a file would hold for it.
fn provider(port: u16, password: &str) -> Provider {
    let entry = format!(
        "[[provider]]\nid = \"{ID}\"\nkind = \"smpp\"\nhost = \"127.0.0.1\"\nport = {port}\nsystem_id = \"{ID}\"\n\
         password = \"{password}\"\nwindow = 100\n"
    );
    let config = config::load(Some((ID, &entry)), []);
    let provider = config.ok().and_then(|mut config| config.provider.pop());
    provider.expect("the sandbox's entry is a valid provider")
}
