//! One wallet's money: what may happen to it and the sum that always holds (P3). It knows no message, price or plan.
//!
//! deposited − withdrawn + adjusted = available + reserved + spent, with spent = settled − refunded, and
//! available ≥ −credit_limit. Every operation computes all new values first, checked, and only then changes any. One after which
//! what is reserved could not be settled or released any more, because a total would leave its range, is refused: a message that
//! has been accepted always comes to its end.

use crate::money::Micros;

/// The answer of an operation that spends: it may be refused for want of credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a refused operation has changed nothing"]
pub enum Reserve {
    Done,
    Insufficient,
    /// The amount is negative, or a total would leave the range of an amount.
    Overflow,
}

/// The answer of an operation that nobody's lack of credit can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a refused operation has changed nothing"]
pub enum Change {
    Done,
    /// A running total would leave the range of an amount.
    Overflow,
    /// More than was reserved or spent, or a negative amount: the books are wrong and the process must stop.
    Broken,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wallet {
    deposited: Micros,
    withdrawn: Micros,
    adjusted: Micros,
    available: Micros,
    reserved: Micros,
    settled: Micros,
    refunded: Micros,
    credit_limit: Micros,
}

impl Wallet {
    /// The length of the carry-over layout: eight totals of eight bytes, little-endian, in the order of the fields.
    pub const ENCODED_BYTES: usize = 64;

    /// Sets `amount` aside for a message that was accepted.
    pub fn reserve(&mut self, amount: Micros) -> Reserve {
        let Some((available, reserved)) = non_negative(amount).and_then(|amount| {
            let reserved = self.reserved.checked_add(amount)?;
            self.settled.checked_add(reserved)?;
            Some((self.available.checked_sub(amount)?, reserved))
        }) else {
            return Reserve::Overflow;
        };
        if !self.covers(available) {
            return Reserve::Insufficient;
        }
        self.available = available;
        self.reserved = reserved;
        Reserve::Done
    }

    /// Ends a reservation of `reserved`: `charged` of it is spent and the rest is available again.
    pub fn settle(&mut self, reserved: Micros, charged: Micros) -> Change {
        if reserved > self.reserved || charged > reserved || charged.is_negative() {
            return Change::Broken;
        }
        let Some((available, still_reserved, settled)) = self.settled_totals(reserved, charged) else {
            return Change::Overflow;
        };
        self.available = available;
        self.reserved = still_reserved;
        self.settled = settled;
        Change::Done
    }

    /// Ends a reservation of `amount` without a charge.
    pub fn release(&mut self, amount: Micros) -> Change {
        self.settle(amount, Micros::ZERO)
    }

    /// Gives back `amount` of what was charged before.
    pub fn refund(&mut self, amount: Micros) -> Change {
        if amount.is_negative() || amount > self.spent() {
            return Change::Broken;
        }
        let totals = self.available_with(amount).zip(self.refunded.checked_add(amount));
        let Some((available, refunded)) = totals else {
            return Change::Overflow;
        };
        self.available = available;
        self.refunded = refunded;
        Change::Done
    }

    /// Adds money paid in.
    pub fn deposit(&mut self, amount: Micros) -> Change {
        if amount.is_negative() {
            return Change::Broken;
        }
        let totals = self.available_with(amount).zip(self.deposited.checked_add(amount));
        let Some((available, deposited)) = totals else {
            return Change::Overflow;
        };
        self.available = available;
        self.deposited = deposited;
        Change::Done
    }

    /// Takes money out: only money that is there, never credit.
    pub fn withdraw(&mut self, amount: Micros) -> Reserve {
        let Some((available, withdrawn)) = non_negative(amount).and_then(|amount| {
            Some((self.available.checked_sub(amount)?, self.withdrawn.checked_add(amount)?))
        }) else {
            return Reserve::Overflow;
        };
        if available.is_negative() {
            return Reserve::Insufficient;
        }
        self.available = available;
        self.withdrawn = withdrawn;
        Reserve::Done
    }

    /// Corrects the balance by an operator's word, up or down.
    pub fn adjust(&mut self, amount: Micros) -> Reserve {
        let totals = self.available_with(amount).zip(self.adjusted.checked_add(amount));
        let Some((available, adjusted)) = totals else {
            return Reserve::Overflow;
        };
        if !self.covers(available) {
            return Reserve::Insufficient;
        }
        self.available = available;
        self.adjusted = adjusted;
        Reserve::Done
    }

    /// Changes the overdraft; refused while the wallet owes more than the new limit.
    pub fn set_credit_limit(&mut self, limit: Micros) -> Reserve {
        if limit.is_negative() {
            return Reserve::Overflow;
        }
        let covered = Wallet { credit_limit: limit, ..*self }.covers(self.available);
        if !covered {
            return Reserve::Insufficient;
        }
        self.credit_limit = limit;
        Reserve::Done
    }

    /// P3, in wider integers so that the check itself cannot overflow.
    pub fn holds(&self) -> bool {
        let wide = |amount: Micros| i128::from(amount.0);
        let paid_in = wide(self.deposited) - wide(self.withdrawn) + wide(self.adjusted);
        let spent = wide(self.settled) - wide(self.refunded);
        let parts_lawful =
            [self.deposited, self.withdrawn, self.reserved, self.settled, self.refunded, self.credit_limit]
                .iter()
                .all(|total| !total.is_negative());
        parts_lawful
            && spent >= 0
            && paid_in == wide(self.available) + wide(self.reserved) + spent
            && wide(self.available) >= -wide(self.credit_limit)
    }

    pub fn deposited(&self) -> Micros {
        self.deposited
    }

    pub fn withdrawn(&self) -> Micros {
        self.withdrawn
    }

    pub fn adjusted(&self) -> Micros {
        self.adjusted
    }

    pub fn available(&self) -> Micros {
        self.available
    }

    pub fn reserved(&self) -> Micros {
        self.reserved
    }

    pub fn settled(&self) -> Micros {
        self.settled
    }

    pub fn refunded(&self) -> Micros {
        self.refunded
    }

    pub fn credit_limit(&self) -> Micros {
        self.credit_limit
    }

    /// What was charged and not given back.
    pub fn spent(&self) -> Micros {
        // Both are non-negative and refunds never pass charges, so the difference is in range.
        Micros(self.settled.0 - self.refunded.0)
    }

    pub fn encode(&self) -> [u8; Wallet::ENCODED_BYTES] {
        let mut bytes = [0; Wallet::ENCODED_BYTES];
        for (place, total) in bytes.chunks_exact_mut(8).zip(self.totals()) {
            place.copy_from_slice(&total.0.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Wallet::encode`] wrote; `None` for another length or for totals that break the sum.
    pub fn decode(bytes: &[u8]) -> Option<Wallet> {
        let bytes: &[u8; Wallet::ENCODED_BYTES] = bytes.try_into().ok()?;
        let mut totals = [Micros::ZERO; 8];
        for (total, place) in totals.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *total = Micros(i64::from_le_bytes(*place));
        }
        let [deposited, withdrawn, adjusted, available, reserved, settled, refunded, credit_limit] = totals;
        let wallet =
            Wallet { deposited, withdrawn, adjusted, available, reserved, settled, refunded, credit_limit };
        wallet.holds().then_some(wallet)
    }

    fn totals(&self) -> [Micros; 8] {
        [
            self.deposited,
            self.withdrawn,
            self.adjusted,
            self.available,
            self.reserved,
            self.settled,
            self.refunded,
            self.credit_limit,
        ]
    }

    fn settled_totals(&self, reserved: Micros, charged: Micros) -> Option<(Micros, Micros, Micros)> {
        let returned = reserved.checked_sub(charged)?;
        Some((
            self.available.checked_add(returned)?,
            self.reserved.checked_sub(reserved)?,
            self.settled.checked_add(charged)?,
        ))
    }

    /// Where the reserve could come back on top of it.
    fn available_with(&self, amount: Micros) -> Option<Micros> {
        let available = self.available.checked_add(amount)?;
        available.checked_add(self.reserved).map(|_| available)
    }

    fn covers(&self, available: Micros) -> bool {
        // The limit is never negative, so its negation cannot overflow.
        available.0 >= -self.credit_limit.0
    }
}

fn non_negative(amount: Micros) -> Option<Micros> {
    (!amount.is_negative()).then_some(amount)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wallet(deposited: i64, credit_limit: i64) -> Wallet {
        let mut wallet = Wallet::default();
        assert_eq!(wallet.deposit(Micros(deposited)), Change::Done);
        assert_eq!(wallet.set_credit_limit(Micros(credit_limit)), Reserve::Done);
        wallet
    }

    #[test]
    fn credit_can_be_reserved_to_the_last_micro_and_no_further() {
        // deposited, credit limit, reserve → outcome
        let table = [
            (100, 0, 100, Reserve::Done),
            (100, 0, 101, Reserve::Insufficient),
            (0, 50, 50, Reserve::Done),
            (0, 50, 51, Reserve::Insufficient),
            (100, 0, 0, Reserve::Done),
            (100, 0, -1, Reserve::Overflow),
            (100, 0, i64::MAX, Reserve::Insufficient),
            (0, i64::MAX, i64::MAX, Reserve::Done),
        ];
        for (deposited, limit, amount, expected) in table {
            let mut wallet = wallet(deposited, limit);
            assert_eq!(wallet.reserve(Micros(amount)), expected, "{deposited} {limit} {amount}");
            assert!(wallet.holds());
        }
    }

    #[test]
    fn a_settlement_charges_and_returns_the_rest() {
        let mut wallet = wallet(100, 0);
        assert_eq!(wallet.reserve(Micros(30)), Reserve::Done);
        assert_eq!(wallet.settle(Micros(30), Micros(20)), Change::Done);
        assert_eq!(wallet.available(), Micros(80));
        assert_eq!(wallet.reserved(), Micros(0));
        assert_eq!(wallet.spent(), Micros(20));
        assert_eq!(wallet.refund(Micros(5)), Change::Done);
        assert_eq!(wallet.available(), Micros(85));
        assert_eq!(wallet.spent(), Micros(15));
    }

    #[test]
    fn more_than_was_reserved_or_spent_is_broken_and_changes_nothing() {
        let mut wallet = wallet(100, 0);
        assert_eq!(wallet.reserve(Micros(30)), Reserve::Done);
        let before = wallet;
        assert_eq!(wallet.settle(Micros(31), Micros(31)), Change::Broken);
        assert_eq!(wallet.settle(Micros(30), Micros(31)), Change::Broken);
        assert_eq!(wallet.settle(Micros(30), Micros(-1)), Change::Broken);
        assert_eq!(wallet.release(Micros(31)), Change::Broken);
        assert_eq!(wallet.release(Micros(-1)), Change::Broken);
        assert_eq!(wallet.refund(Micros(1)), Change::Broken);
        assert_eq!(wallet.refund(Micros(-1)), Change::Broken);
        assert_eq!(wallet.deposit(Micros(-1)), Change::Broken);
        assert_eq!(wallet, before);
    }

    #[test]
    fn withdrawals_take_money_and_never_credit() {
        let mut wallet = wallet(100, 50);
        assert_eq!(wallet.withdraw(Micros(101)), Reserve::Insufficient);
        assert_eq!(wallet.withdraw(Micros(-1)), Reserve::Overflow);
        assert_eq!(wallet.withdraw(Micros(100)), Reserve::Done);
        assert_eq!(wallet.available(), Micros(0));
    }

    #[test]
    fn adjustments_stop_at_the_credit_limit() {
        let mut wallet = wallet(10, 5);
        assert_eq!(wallet.adjust(Micros(-16)), Reserve::Insufficient);
        assert_eq!(wallet.adjust(Micros(-15)), Reserve::Done);
        assert_eq!(wallet.set_credit_limit(Micros(4)), Reserve::Insufficient);
        assert_eq!(wallet.set_credit_limit(Micros(-1)), Reserve::Overflow);
        assert_eq!(wallet.adjust(Micros(7)), Reserve::Done);
        assert_eq!(wallet.available(), Micros(2));
        assert_eq!(wallet.adjust(Micros(i64::MAX - 2)), Reserve::Done);
        assert_eq!(wallet.adjust(Micros(1)), Reserve::Overflow);
        assert!(wallet.holds());
    }

    #[test]
    fn totals_at_the_end_of_their_range_overflow_without_a_change() {
        let mut wallet = wallet(i64::MAX, 0);
        assert_eq!(wallet.deposit(Micros(1)), Change::Overflow);
        assert_eq!(wallet.reserve(Micros(i64::MAX)), Reserve::Done);
        assert_eq!(wallet.settle(Micros(i64::MAX), Micros(i64::MAX)), Change::Done);
        assert_eq!(wallet.refund(Micros(1)), Change::Done);
        assert_eq!(wallet.reserve(Micros(1)), Reserve::Overflow);
        assert_eq!(wallet.available(), Micros(1));
        assert!(wallet.holds());
    }

    #[test]
    fn what_would_keep_a_reserve_from_its_end_is_refused() {
        let mut spent = wallet(i64::MAX, i64::MAX);
        assert_eq!(spent.reserve(Micros(i64::MAX)), Reserve::Done);
        assert_eq!(spent.settle(Micros(i64::MAX), Micros(i64::MAX - 10)), Change::Done);
        // Its credit would do for more than can ever be settled.
        assert_eq!(spent.reserve(Micros(11)), Reserve::Overflow);
        assert_eq!(spent.reserve(Micros(10)), Reserve::Done);
        assert_eq!(spent.settle(Micros(10), Micros(10)), Change::Done);

        let mut rich = wallet(i64::MAX - 10, 0);
        assert_eq!(rich.reserve(Micros(100)), Reserve::Done);
        assert_eq!(rich.settle(Micros(50), Micros(50)), Change::Done);
        // There is room for more now, but not for the reserve beside it.
        assert_eq!(rich.adjust(Micros(61)), Reserve::Overflow);
        assert_eq!(rich.refund(Micros(50)), Change::Done);
        assert_eq!(rich.deposit(Micros(11)), Change::Overflow);
        assert_eq!(rich.deposit(Micros(10)), Change::Done);
        assert_eq!(rich.release(Micros(50)), Change::Done);
        assert_eq!(rich.available(), Micros(i64::MAX));
    }

    #[test]
    fn the_carry_over_layout_is_fixed() {
        let mut wallet = wallet(0x0102, 3);
        assert_eq!(wallet.withdraw(Micros(2)), Reserve::Done);
        assert_eq!(wallet.adjust(Micros(-1)), Reserve::Done);
        assert_eq!(wallet.reserve(Micros(0x11)), Reserve::Done);
        assert_eq!(wallet.settle(Micros(0x10), Micros(8)), Change::Done);
        assert_eq!(wallet.refund(Micros(4)), Change::Done);
        let mut expected = [0u8; Wallet::ENCODED_BYTES];
        expected[0..2].copy_from_slice(&[2, 1]);
        expected[8] = 2;
        expected[16..24].copy_from_slice(&[0xff; 8]);
        expected[24] = 0xfa;
        expected[32] = 1;
        expected[40] = 8;
        expected[48] = 4;
        expected[56] = 3;
        assert_eq!(wallet.encode(), expected);
        assert_eq!(Wallet::decode(&expected), Some(wallet));
    }

    #[test]
    fn a_planted_wrong_total_is_found() {
        let sound = wallet(100, 10).encode();
        assert_eq!(Wallet::decode(&sound[..63]), None);
        for field in 0..7 {
            let mut wrong = sound;
            wrong[field * 8] ^= 1;
            assert_eq!(Wallet::decode(&wrong), None, "total {field}");
        }
    }

    #[test]
    fn sums_that_agree_with_unlawful_totals_are_found() {
        let (five, ten) = (Micros(5), Micros(10));
        let overdrawn = Wallet { withdrawn: ten, available: Micros(-10), ..Wallet::default() };
        let refunded_unspent = Wallet { refunded: five, available: five, ..Wallet::default() };
        let negative = Wallet { reserved: Micros(-5), available: five, ..Wallet::default() };
        for unlawful in [overdrawn, refunded_unspent, negative] {
            assert!(!unlawful.holds(), "{unlawful:?}");
            assert_eq!(Wallet::decode(&unlawful.encode()), None);
        }
    }

    #[derive(Clone, Debug)]
    enum Operation {
        Reserve(i64),
        Settle(i64, i64),
        Release(i64),
        Refund(i64),
        Deposit(i64),
        Withdraw(i64),
        Adjust(i64),
        Limit(i64),
    }

    fn amount() -> impl Strategy<Value = i64> {
        let near_the_end = i64::MAX - 200..=i64::MAX;
        prop_oneof![
            20 => -5i64..200,
            3 => near_the_end,
            1 => Just(i64::MAX / 2),
            1 => Just(i64::MAX),
            1 => Just(i64::MIN),
            1 => any::<i64>(),
        ]
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            amount().prop_map(Operation::Reserve),
            (amount(), amount()).prop_map(|(reserved, charged)| Operation::Settle(reserved, charged)),
            amount().prop_map(Operation::Release),
            amount().prop_map(Operation::Refund),
            amount().prop_map(Operation::Deposit),
            amount().prop_map(Operation::Withdraw),
            amount().prop_map(Operation::Adjust),
            amount().prop_map(Operation::Limit),
        ]
    }

    /// What an operation answers.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Word {
        Done,
        Insufficient,
        Overflow,
        Broken,
    }

    /// The model: books that add up everything that was ever done, in integers that do not end.
    #[derive(Debug, Default)]
    struct Books {
        deposited: Vec<i128>,
        withdrawn: Vec<i128>,
        adjusted: Vec<i128>,
        /// Reserved, less what has ended.
        reserved: Vec<i128>,
        settled: Vec<i128>,
        refunded: Vec<i128>,
        limit: i128,
    }

    fn sum(entries: &[i128]) -> i128 {
        entries.iter().sum()
    }

    impl Books {
        fn spent(&self) -> i128 {
            sum(&self.settled) - sum(&self.refunded)
        }

        fn available(&self) -> i128 {
            let paid_in = sum(&self.deposited) - sum(&self.withdrawn) + sum(&self.adjusted);
            paid_in - sum(&self.reserved) - self.spent()
        }

        /// Whether all totals could be written down, and all that can become of what is reserved.
        fn fits(&self) -> bool {
            let books = [
                &self.deposited,
                &self.withdrawn,
                &self.adjusted,
                &self.reserved,
                &self.settled,
                &self.refunded,
            ];
            let ends = [self.available(), sum(&self.settled)].map(|total| total + sum(&self.reserved));
            let mut totals =
                books.map(|entries| sum(entries)).into_iter().chain([self.available()]).chain(ends);
            totals.all(|total| i64::try_from(total).is_ok())
        }

        fn refuses(&self, operation: &Operation) -> Option<Word> {
            match *operation {
                Operation::Reserve(amount) | Operation::Withdraw(amount) | Operation::Limit(amount) => {
                    (amount < 0).then_some(Word::Overflow)
                }
                Operation::Settle(reserved, charged) => {
                    let (reserved, charged) = (i128::from(reserved), i128::from(charged));
                    let is_lawful = 0 <= charged && charged <= reserved && reserved <= sum(&self.reserved);
                    (!is_lawful).then_some(Word::Broken)
                }
                Operation::Release(amount) => {
                    (amount < 0 || i128::from(amount) > sum(&self.reserved)).then_some(Word::Broken)
                }
                Operation::Refund(amount) => {
                    (amount < 0 || i128::from(amount) > self.spent()).then_some(Word::Broken)
                }
                Operation::Deposit(amount) => (amount < 0).then_some(Word::Broken),
                Operation::Adjust(_) => None,
            }
        }

        /// Writes it down, without a look at whether it may be; to be struck out again if not.
        fn write(&mut self, operation: &Operation) {
            match *operation {
                Operation::Reserve(amount) => self.reserved.push(amount.into()),
                Operation::Settle(reserved, charged) => {
                    self.reserved.push(-i128::from(reserved));
                    self.settled.push(charged.into());
                }
                Operation::Release(amount) => self.reserved.push(-i128::from(amount)),
                Operation::Refund(amount) => self.refunded.push(amount.into()),
                Operation::Deposit(amount) => self.deposited.push(amount.into()),
                Operation::Withdraw(amount) => self.withdrawn.push(amount.into()),
                Operation::Adjust(amount) => self.adjusted.push(amount.into()),
                Operation::Limit(amount) => self.limit = amount.into(),
            }
        }

        fn strike_out(&mut self, operation: &Operation, limit: i128) {
            match operation {
                Operation::Reserve(_) | Operation::Release(_) => drop(self.reserved.pop()),
                Operation::Settle(..) => {
                    self.reserved.pop();
                    self.settled.pop();
                }
                Operation::Refund(_) => drop(self.refunded.pop()),
                Operation::Deposit(_) => drop(self.deposited.pop()),
                Operation::Withdraw(_) => drop(self.withdrawn.pop()),
                Operation::Adjust(_) => drop(self.adjusted.pop()),
                Operation::Limit(_) => self.limit = limit,
            }
        }

        fn take(&mut self, operation: &Operation) -> Word {
            if let Some(refusal) = self.refuses(operation) {
                return refusal;
            }
            let limit = self.limit;
            self.write(operation);
            let least = if matches!(operation, Operation::Withdraw(_)) { 0 } else { -self.limit };
            let spends = matches!(
                operation,
                Operation::Reserve(_) | Operation::Withdraw(_) | Operation::Adjust(_) | Operation::Limit(_)
            );
            let word = match () {
                () if !self.fits() => Word::Overflow,
                () if spends && self.available() < least => Word::Insufficient,
                () => return Word::Done,
            };
            self.strike_out(operation, limit);
            word
        }
    }

    fn word(wallet: &mut Wallet, operation: &Operation) -> Word {
        let spent = |reserve| match reserve {
            Reserve::Done => Word::Done,
            Reserve::Insufficient => Word::Insufficient,
            Reserve::Overflow => Word::Overflow,
        };
        let changed = |change| match change {
            Change::Done => Word::Done,
            Change::Overflow => Word::Overflow,
            Change::Broken => Word::Broken,
        };
        match *operation {
            Operation::Reserve(amount) => spent(wallet.reserve(Micros(amount))),
            Operation::Settle(reserved, charged) => changed(wallet.settle(Micros(reserved), Micros(charged))),
            Operation::Release(amount) => changed(wallet.release(Micros(amount))),
            Operation::Refund(amount) => changed(wallet.refund(Micros(amount))),
            Operation::Deposit(amount) => changed(wallet.deposit(Micros(amount))),
            Operation::Withdraw(amount) => spent(wallet.withdraw(Micros(amount))),
            Operation::Adjust(amount) => spent(wallet.adjust(Micros(amount))),
            Operation::Limit(amount) => spent(wallet.set_credit_limit(Micros(amount))),
        }
    }

    proptest! {
        #[test]
        fn the_wallet_answers_and_holds_what_the_books_say(operations in prop::collection::vec(operation(), 1..100)) {
            let (mut wallet, mut books) = (Wallet::default(), Books::default());
            for operation in &operations {
                prop_assert_eq!(word(&mut wallet, operation), books.take(operation), "{:?}", operation);
                let held = [wallet.available(), wallet.reserved(), wallet.spent(), wallet.credit_limit()];
                let expected = [books.available(), sum(&books.reserved), books.spent(), books.limit];
                prop_assert_eq!(held.map(|amount| i128::from(amount.0)), expected, "{:?}", operation);
            }
        }

        #[test]
        fn any_sequence_of_operations_keeps_the_sum(operations in prop::collection::vec(operation(), 1..200)) {
            let mut wallet = Wallet::default();
            for operation in &operations {
                let before = wallet;
                let done = word(&mut wallet, operation) == Word::Done;
                prop_assert!(wallet.holds(), "{operation:?} made {wallet:?} of {before:?}");
                prop_assert!(done || wallet == before, "{operation:?} was refused and changed {before:?}");
                prop_assert_eq!(Wallet::decode(&wallet.encode()), Some(wallet));
                let reserved = wallet.reserved();
                prop_assert_eq!({ wallet }.settle(reserved, reserved), Change::Done);
                prop_assert_eq!({ wallet }.release(reserved), Change::Done);
            }
        }
    }
}
