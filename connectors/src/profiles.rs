//! What is known of kinds of providers, as data: the files of `connectors/profiles`. They are read with the settings.

/// The name of each, and its text.
pub const ALL: [(&str, &str); 13] = [
    ("accepted_is_final", include_str!("../profiles/accepted_is_final.toml")),
    ("dec_hex", include_str!("../profiles/dec_hex.toml")),
    ("hex_dec", include_str!("../profiles/hex_dec.toml")),
    ("india_dlt", include_str!("../profiles/india_dlt.toml")),
    ("jasmin", include_str!("../profiles/jasmin.toml")),
    ("kannel", include_str!("../profiles/kannel.toml")),
    ("nowsms", include_str!("../profiles/nowsms.toml")),
    ("plain", include_str!("../profiles/plain.toml")),
    ("sinch", include_str!("../profiles/sinch.toml")),
    ("smpp33", include_str!("../profiles/smpp33.toml")),
    ("smsportal", include_str!("../profiles/smsportal.toml")),
    ("twilio", include_str!("../profiles/twilio.toml")),
    ("txtwire", include_str!("../profiles/txtwire.toml")),
];
