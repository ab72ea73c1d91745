//! How the simulated provider behaves: its manners, its speed and its faults. Only data; the draws are made in `faults`.

use serde::{Deserialize, Serialize};

use crate::{
    dice::Dice,
    wire::{STATES, status},
};

/// The widest window; each place of it takes memory from the bind on.
const WINDOW_MAX: usize = 100_000;
/// The longest time in milliseconds, some thirty years, and the most messages a second.
const TIME_MAX: f64 = 1e12;
const SPEED_MAX: f64 = 1e9;

/// A provider's behaviour; the default is a fast provider without faults. Rates are probabilities a message, times are milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Everything drawn follows from it, so that a run repeats.
    pub seed: u64,
    /// Who may bind; anybody when unset.
    pub system_id: Option<String>,
    pub password: Option<String>,
    /// From a submit to its response.
    pub latency: Delay,
    /// Messages a second over all binds of a system_id before ESME_RTHROTTLED; 0: no limit.
    pub throughput: u32,
    /// Messages a second of a system_id that were agreed: how far every window of a second goes beyond is counted, and nothing
    /// refused. 0: not counted.
    pub pacing: u32,
    /// Whether what arrives is held against the order of the last eight digits of the destinations.
    pub sequences: bool,
    /// Submits answered with one of `refusal_statuses`.
    pub refusals: f64,
    pub refusal_statuses: Vec<u32>,
    /// Submits accepted and never answered.
    pub lost_answers: f64,
    /// Submits accepted, after which the connection is closed without an answer.
    pub drops: f64,
    /// Submits beside whose answer a PDU is sent that no provider should send.
    pub malformed: f64,
    /// How a response writes the message id; `receipt_id` is how the receipt's text does, its optional field follows the response.
    pub message_id: IdForm,
    pub receipt_id: Option<IdForm>,
    pub receipt_form: ReceiptForm,
    /// From a response to its receipt.
    pub receipt_delay: Delay,
    /// Receipts sent before the response of their message.
    pub receipts_early: f64,
    /// Receipts that wait `late_delay` longer.
    pub receipts_late: f64,
    pub late_delay: Delay,
    /// Receipts held back by up to `reorder_within`, so that later ones overtake them.
    pub receipts_reordered: f64,
    pub reorder_within: f64,
    pub receipts_duplicated: f64,
    pub receipts_missing: f64,
    /// Whether query_sm is answered, with the first of `outcomes` for every message; else it is refused.
    pub queries: bool,
    /// Whether submit_multi is answered, with one id for all of its destinations; else it is refused.
    pub multi: bool,
    /// Of its destinations, those whose numbers end so are refused.
    pub multi_refused: Vec<String>,
    /// What becomes of the messages, by weight.
    pub outcomes: Vec<Outcome>,
    /// What people write to the tenants.
    pub phones: PhonesProfile,
    /// Receipts unanswered on one bind.
    pub window: usize,
    /// How long a receipt waits for its answer, and how long a refused one waits to be sent again.
    pub receipt_timeout: f64,
    pub receipt_retry: f64,
    /// Silence after which enquire_link is sent; the connection is closed after twice as long. 0: never.
    pub enquire_link: f64,
    /// Submits kept in the record in memory, the oldest ones; 0: none.
    pub record_max: usize,
    /// Whether the record also keeps what the messages say.
    pub record_bodies: bool,
    /// Receipts kept until they are due and taken; what comes beyond is dropped, and counted.
    pub receipts_max: usize,
    /// The first message id; 0: from the time of the start in microseconds, so that two runs do not give the same ids.
    pub first_id: u64,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            seed: 1,
            system_id: None,
            password: None,
            latency: Delay::default(),
            throughput: 0,
            pacing: 0,
            sequences: false,
            refusals: 0.0,
            refusal_statuses: vec![status::SYSTEM_ERROR, status::INVALID_DESTINATION, status::QUEUE_FULL],
            lost_answers: 0.0,
            drops: 0.0,
            malformed: 0.0,
            message_id: IdForm::Decimal,
            receipt_id: None,
            receipt_form: ReceiptForm::Both,
            receipt_delay: Delay::default(),
            receipts_early: 0.0,
            receipts_late: 0.0,
            late_delay: Delay::Fixed(2_000.0),
            receipts_reordered: 0.0,
            reorder_within: 50.0,
            receipts_duplicated: 0.0,
            receipts_missing: 0.0,
            queries: false,
            multi: false,
            multi_refused: Vec::new(),
            outcomes: vec![Outcome::default()],
            phones: PhonesProfile::default(),
            window: 1_000,
            receipt_timeout: 30_000.0,
            receipt_retry: 1_000.0,
            enquire_link: 30_000.0,
            record_max: 5_000_000,
            record_bodies: false,
            receipts_max: 5_000_000,
            first_id: 0,
        }
    }
}

impl Profile {
    /// Reads a profile from TOML.
    ///
    /// # Errors
    /// The text is no TOML, has an unknown key, or says something impossible.
    pub fn from_toml(text: &str) -> Result<Self, ProfileError> {
        let profile: Self = toml::from_str(text)?;
        profile.check()?;
        Ok(profile)
    }

    /// # Errors
    /// A rate is no probability, a time is none, or there is nothing to choose from.
    pub fn check(&self) -> Result<(), ProfileError> {
        self.check_numbers()?;
        if !(1..=WINDOW_MAX).contains(&self.window) {
            return Err(ProfileError::Window(self.window));
        }
        if self.refusal_statuses.is_empty() {
            return Err(ProfileError::Empty { key: "refusal_statuses" });
        }
        if self.outcomes.iter().all(|outcome| outcome.weight == 0) {
            return Err(ProfileError::Empty { key: "outcomes" });
        }
        match self.outcomes.iter().find(|outcome| outcome.number().is_none()) {
            Some(outcome) => Err(ProfileError::Stat(outcome.stat.clone())),
            None => Ok(()),
        }
    }

    fn check_numbers(&self) -> Result<(), ProfileError> {
        let rates = [
            ("refusals", self.refusals),
            ("lost_answers", self.lost_answers),
            ("drops", self.drops),
            ("malformed", self.malformed),
            ("receipts_early", self.receipts_early),
            ("receipts_late", self.receipts_late),
            ("receipts_reordered", self.receipts_reordered),
            ("receipts_duplicated", self.receipts_duplicated),
            ("receipts_missing", self.receipts_missing),
            ("phones.long", self.phones.long),
            ("phones.duplicated", self.phones.duplicated),
        ];
        for (key, rate) in rates {
            if !(0.0..=1.0).contains(&rate) {
                return Err(ProfileError::Rate { key, rate });
            }
        }
        let times = [
            ("reorder_within", self.reorder_within),
            ("receipt_timeout", self.receipt_timeout),
            ("receipt_retry", self.receipt_retry),
            ("enquire_link", self.enquire_link),
        ];
        let delays = [
            ("latency", self.latency),
            ("receipt_delay", self.receipt_delay),
            ("late_delay", self.late_delay),
        ];
        let delays = delays.into_iter().flat_map(|(key, delay)| delay.times().map(|time| (key, time)));
        for (key, time) in times.into_iter().chain(delays) {
            if !(0.0..=TIME_MAX).contains(&time) {
                return Err(ProfileError::Time { key, time });
            }
        }
        match self.phones.rate {
            rate if (0.0..=SPEED_MAX).contains(&rate) => Ok(()),
            rate => Err(ProfileError::Speed { key: "phones.rate", rate }),
        }
    }

    /// Nothing has to be drawn, waited for or counted: the answer and the receipt leave with the batch that brought the submit.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let drawn = [
            self.refusals,
            self.lost_answers,
            self.drops,
            self.malformed,
            self.receipts_early,
            self.receipts_late,
            self.receipts_reordered,
            self.receipts_duplicated,
            self.receipts_missing,
        ];
        drawn.iter().all(|rate| *rate == 0.0)
            && self.latency == Delay::default()
            && self.receipt_delay == Delay::default()
            && self.throughput == 0
            && self.outcomes.len() == 1
    }
}

/// Messages from phones, which every bind brings that takes receipts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PhonesProfile {
    /// Messages a second of each bind; 0: none.
    pub rate: f64,
    /// Messages in all; 0: no end.
    pub count: u64,
    /// The number that they write to.
    pub to: String,
    /// Messages of three parts.
    pub long: f64,
    /// Messages that come twice.
    pub duplicated: f64,
}

impl Default for PhonesProfile {
    fn default() -> Self {
        Self { rate: 0.0, count: 0, to: "22334".to_owned(), long: 0.0, duplicated: 0.0 }
    }
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error(transparent)]
    Toml(#[from] toml::de::Error),
    #[error("{key} = {rate} is no probability between 0 and 1")]
    Rate { key: &'static str, rate: f64 },
    #[error("{key} = {time} is no time between 0 and {TIME_MAX} ms")]
    Time { key: &'static str, time: f64 },
    #[error("{key} = {rate} is not between 0 and {SPEED_MAX} a second")]
    Speed { key: &'static str, rate: f64 },
    #[error("window = {0} is not between 1 and {WINDOW_MAX}")]
    Window(usize),
    #[error("{key} has nothing to choose from")]
    Empty { key: &'static str },
    #[error("{0} is no word of a receipt")]
    Stat(String),
}

/// A time in milliseconds: `{ fixed = 10 }`, `{ uniform = [5, 50] }` or `{ exponential = 20 }` (its mean).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delay {
    Fixed(f64),
    Uniform(f64, f64),
    Exponential(f64),
}

impl Default for Delay {
    fn default() -> Self {
        Self::Fixed(0.0)
    }
}

impl Delay {
    /// The times that it is made of.
    fn times(self) -> [f64; 2] {
        match self {
            Self::Fixed(time) | Self::Exponential(time) => [time, time],
            Self::Uniform(low, high) => [low, high],
        }
    }

    /// A delay in microseconds. Uses one draw whatever its kind.
    pub fn draw(self, dice: &mut Dice) -> u64 {
        let fraction = dice.fraction();
        microseconds(match self {
            Self::Fixed(value) => value,
            Self::Uniform(low, high) => low + (high - low) * fraction,
            Self::Exponential(mean) => -mean * (1.0 - fraction).ln(),
        })
    }
}

/// Milliseconds of a profile as whole microseconds; what is no time is none.
#[must_use]
pub fn microseconds(milliseconds: f64) -> u64 {
    (milliseconds * 1_000.0) as u64
}

/// How a message id, a number inside, is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdForm {
    #[default]
    Decimal,
    /// Twenty digits with zeros in front.
    Padded,
    Hex,
    HexUpper,
    /// Something that is no number in any radix.
    Text,
}

/// Where a receipt carries what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiptForm {
    Text,
    Tlv,
    #[default]
    Both,
}

/// One of the ends that a message can come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The word after `stat:`.
    pub stat: String,
    #[serde(default = "Outcome::even_weight")]
    pub weight: u32,
    /// The word after `err:`.
    #[serde(default = "Outcome::no_error")]
    pub error: String,
}

impl Default for Outcome {
    fn default() -> Self {
        Self { stat: "DELIVRD".into(), weight: Self::even_weight(), error: Self::no_error() }
    }
}

impl Outcome {
    /// The message_state of its word.
    #[must_use]
    pub fn number(&self) -> Option<u8> {
        STATES.iter().find(|(word, _)| *word == self.stat).map(|(_, number)| *number)
    }

    fn even_weight() -> u32 {
        1
    }

    fn no_error() -> String {
        "000".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_and_what_it_does_not_say_is_the_default() {
        let text = "seed = 9\nlatency = { uniform = [5, 50] }\nmessage_id = \"hex\"\nrefusals = 0.5\n\
                    receipt_delay = { exponential = 20.5 }\noutcomes = [{ stat = \"DELIVRD\", weight = 9 }, { stat = \"UNDELIV\", error = \"011\" }]";
        let profile = Profile::from_toml(text).unwrap();
        assert_eq!((profile.seed, profile.latency), (9, Delay::Uniform(5.0, 50.0)));
        assert_eq!((profile.message_id, profile.receipt_delay), (IdForm::Hex, Delay::Exponential(20.5)));
        assert_eq!((profile.outcomes[1].weight, profile.window), (1, 1_000));
        assert!(!profile.is_plain());
        assert!(Profile::from_toml("").unwrap().is_plain());
        assert_eq!(Profile::from_toml(&toml::to_string(&profile).unwrap()).unwrap(), profile);
    }

    #[test]
    fn an_impossible_profile_is_refused_with_its_key() {
        for (text, said) in [
            ("drops = 2.0", "drops = 2 is no probability between 0 and 1"),
            ("window = 0", "window = 0 is not between 1 and 100000"),
            ("outcomes = []", "outcomes has nothing to choose from"),
            ("refusal_statuses = []", "refusal_statuses has nothing to choose from"),
            ("outcomes = [{ stat = \"LOST\" }]", "LOST is no word of a receipt"),
            ("refusals = nan", "refusals = NaN is no probability between 0 and 1"),
            ("latency = { fixed = -5 }", "latency = -5 is no time between 0 and 1000000000000 ms"),
            (
                "late_delay = { uniform = [1, inf] }",
                "late_delay = inf is no time between 0 and 1000000000000 ms",
            ),
            ("receipt_timeout = nan", "receipt_timeout = NaN is no time between 0 and 1000000000000 ms"),
            ("enquire_link = -1.0", "enquire_link = -1 is no time between 0 and 1000000000000 ms"),
            ("phones.rate = inf", "phones.rate = inf is not between 0 and 1000000000 a second"),
        ] {
            assert_eq!(Profile::from_toml(text).unwrap_err().to_string(), said);
        }
        assert!(Profile::from_toml("dropss = 0.5").unwrap_err().to_string().contains("dropss"));
    }
}
