//! The names that providers' entries give to TLVs, and what may be written for each. Where a message goes, and so which of them
//! will be asked for it, is not known here.

use std::collections::HashMap;

use config::Provider;
use engine::provider_form::TlvForm;

use crate::definitions;

/// By name, the forms that providers give its value.
#[derive(Debug, Default)]
pub struct TlvNames {
    forms: HashMap<String, Vec<TlvForm>>,
}

/// Why a name with its value is of no use to any provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// No provider knows the name.
    Name,
    /// Every provider that knows the name wants a value of another form.
    Value,
}

impl TlvNames {
    /// Disabled providers count: they may be enabled while a message waits.
    pub fn new<'a>(providers: impl IntoIterator<Item = &'a Provider>) -> TlvNames {
        let mut names = TlvNames::default();
        for tlv in providers.into_iter().flat_map(|provider| &provider.tlv) {
            let forms = names.forms.entry(tlv.name.clone()).or_default();
            let form = definitions::tlv_form(tlv.form);
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
        names
    }

    pub fn check(&self, name: &str, value: &str) -> Result<(), Unusable> {
        let forms = self.forms.get(name).ok_or(Unusable::Name)?;
        let fits = forms.iter().any(|form| form.octets(value.as_bytes()).is_some());
        if fits { Ok(()) } else { Err(Unusable::Value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_fits_where_one_provider_that_knows_the_name_takes_it() {
        let toml = r#"
            [[provider]]
            id = "one"
            host = "127.0.0.1"
            system_id = "one"
            tlv = [{ tag = 0x1400, name = "entity", type = "u8" }, { tag = 0x1401, name = "raw", type = "octets" }]
            [[provider]]
            id = "two"
            enabled = false
            host = "127.0.0.1"
            system_id = "two"
            tlv = [{ tag = 0x1500, name = "entity", type = "octets" }, { tag = 0x1501, name = "text" }]
        "#;
        let config = config::load(Some(("test.toml", toml)), []).unwrap();
        let names = TlvNames::new(&config.provider);
        let table = [
            ("entity", "255", Ok(())),
            ("entity", "ffff", Ok(())),
            ("entity", "256", Err(Unusable::Value)),
            ("raw", "abc", Err(Unusable::Value)),
            ("raw", "", Ok(())),
            ("text", "anything", Ok(())),
            ("Entity", "1", Err(Unusable::Name)),
            ("", "1", Err(Unusable::Name)),
        ];
        for (name, value, expected) in table {
            assert_eq!(names.check(name, value), expected, "{name} {value}");
        }
        assert_eq!(TlvNames::default().check("entity", "1"), Err(Unusable::Name));
    }
}
