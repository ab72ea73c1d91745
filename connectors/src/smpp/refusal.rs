//! Why a submission is refused, in the words of SMPP: the one table of the server.

use codecs::smpp::Status;
use engine::command::Refusal;

/// The command_status of a submit_sm_resp. `no_credit` is the operator's choice, in the range left to vendors.
///
/// There is no standard status for an account that may not send, nor one before SMPP 5.0 for a bad data_coding:
/// ESME_RSUBMITFAIL is what every client knows.
pub fn status(refusal: Refusal, no_credit: Status) -> Status {
    match refusal {
        Refusal::InsufficientCredit => no_credit,
        Refusal::NoRoute | Refusal::NoSuchProvider | Refusal::InvalidDestination => Status::INVDSTADR,
        Refusal::InvalidSource => Status::INVSRCADR,
        Refusal::TooLong => Status::INVMSGLEN,
        Refusal::RateLimited => Status::THROTTLED,
        Refusal::QueueFull | Refusal::Unavailable => Status::MSGQFUL,
        Refusal::InvalidSchedule => Status::INVSCHED,
        Refusal::InvalidValidity => Status::INVEXPIRY,
        Refusal::UnsupportedMode => Status::INVESMCLASS,
        Refusal::MissingParameter => Status::MISSINGOPTPARAM,
        Refusal::InvalidRequest
        | Refusal::IdempotencyMismatch
        | Refusal::TenantSuspended
        | Refusal::TenantExpired
        | Refusal::TenantPaused
        | Refusal::InvalidEncoding => Status::SUBMITFAIL,
    }
}

#[cfg(test)]
mod tests {
    use codecs::smpp::Class;

    use super::*;

    #[test]
    fn nothing_refused_reads_as_accepted() {
        for refusal in Refusal::ALL {
            assert_ne!(status(refusal, Status(0x40B)), Status::OK, "{refusal:?}");
        }
        assert_eq!(status(Refusal::InsufficientCredit, Status(0x40B)), Status(0x40B));
    }

    #[test]
    fn what_may_be_sent_again_says_so() {
        for refusal in [Refusal::RateLimited, Refusal::QueueFull, Refusal::Unavailable] {
            assert_eq!(status(refusal, Status(0x40B)).class_on_submit(), Class::Throttle);
        }
        for refusal in [Refusal::NoRoute, Refusal::TooLong, Refusal::InvalidSource] {
            assert_eq!(status(refusal, Status(0x40B)).class_on_submit(), Class::Permanent);
        }
    }
}
