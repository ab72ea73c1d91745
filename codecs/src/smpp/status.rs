//! Statuses (SMPP 3.4 §5.1.3, SMPP 5.0 §4.7.6), their names, and what each means for a message that was submitted.
//! It does not hold what a single provider means by them.

/// A command_status, known or not. The constants are named as in the specification, without `ESME_R`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(pub u32);

/// What a sender does about the status of a submit_sm_resp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Accepted.
    Ok,
    /// Too fast: the whole bind slows down, the message goes again.
    Throttle,
    /// Not now: the message goes again later, the bind goes on. The caller counts the tries.
    Retry,
    /// Never: this message is refused.
    Permanent,
    /// Never, and somebody must mend the settings: an alarm.
    Configuration,
    /// The session is not bound as we thought: bind again, then the message goes again.
    Session,
    /// The provider may have it, or not. No status says so by itself; a provider's entry may.
    InDoubt,
}

impl Status {
    pub const OK: Status = Status(0x0000);
    pub const INVMSGLEN: Status = Status(0x0001);
    pub const INVCMDLEN: Status = Status(0x0002);
    pub const INVCMDID: Status = Status(0x0003);
    pub const INVBNDSTS: Status = Status(0x0004);
    pub const ALYBND: Status = Status(0x0005);
    pub const INVPRTFLG: Status = Status(0x0006);
    pub const INVREGDLVFLG: Status = Status(0x0007);
    pub const SYSERR: Status = Status(0x0008);
    pub const INVSRCADR: Status = Status(0x000A);
    pub const INVDSTADR: Status = Status(0x000B);
    pub const INVMSGID: Status = Status(0x000C);
    pub const BINDFAIL: Status = Status(0x000D);
    pub const INVPASWD: Status = Status(0x000E);
    pub const INVSYSID: Status = Status(0x000F);
    pub const CANCELFAIL: Status = Status(0x0011);
    pub const REPLACEFAIL: Status = Status(0x0013);
    pub const MSGQFUL: Status = Status(0x0014);
    pub const INVSERTYP: Status = Status(0x0015);
    pub const INVNUMDESTS: Status = Status(0x0033);
    pub const INVDLNAME: Status = Status(0x0034);
    pub const INVDESTFLAG: Status = Status(0x0040);
    pub const INVSUBREP: Status = Status(0x0042);
    pub const INVESMCLASS: Status = Status(0x0043);
    pub const CNTSUBDL: Status = Status(0x0044);
    pub const SUBMITFAIL: Status = Status(0x0045);
    pub const INVSRCTON: Status = Status(0x0048);
    pub const INVSRCNPI: Status = Status(0x0049);
    pub const INVDSTTON: Status = Status(0x0050);
    pub const INVDSTNPI: Status = Status(0x0051);
    pub const INVSYSTYP: Status = Status(0x0053);
    pub const INVREPFLAG: Status = Status(0x0054);
    pub const INVNUMMSGS: Status = Status(0x0055);
    pub const THROTTLED: Status = Status(0x0058);
    pub const INVSCHED: Status = Status(0x0061);
    pub const INVEXPIRY: Status = Status(0x0062);
    pub const INVDFTMSGID: Status = Status(0x0063);
    pub const X_T_APPN: Status = Status(0x0064);
    pub const X_P_APPN: Status = Status(0x0065);
    pub const X_R_APPN: Status = Status(0x0066);
    pub const QUERYFAIL: Status = Status(0x0067);
    pub const INVOPTPARSTREAM: Status = Status(0x00C0);
    pub const OPTPARNOTALLWD: Status = Status(0x00C1);
    pub const INVPARLEN: Status = Status(0x00C2);
    pub const MISSINGOPTPARAM: Status = Status(0x00C3);
    pub const INVOPTPARAMVAL: Status = Status(0x00C4);
    pub const DELIVERYFAILURE: Status = Status(0x00FE);
    pub const UNKNOWNERR: Status = Status(0x00FF);
    pub const SERTYPUNAUTH: Status = Status(0x0100);
    pub const PROHIBITED: Status = Status(0x0101);
    pub const SERTYPUNAVAIL: Status = Status(0x0102);
    pub const SERTYPDENIED: Status = Status(0x0103);
    pub const INVDCS: Status = Status(0x0104);
    pub const INVSRCADDRSUBUNIT: Status = Status(0x0105);
    pub const INVDSTADDRSUBUNIT: Status = Status(0x0106);
    pub const INVBCASTFREQINT: Status = Status(0x0107);
    pub const INVBCASTALIAS_NAME: Status = Status(0x0108);
    pub const INVBCASTAREAFMT: Status = Status(0x0109);
    pub const INVNUMBCAST_AREAS: Status = Status(0x010A);
    pub const INVBCASTCNTTYPE: Status = Status(0x010B);
    pub const INVBCASTMSGCLASS: Status = Status(0x010C);
    pub const BCASTFAIL: Status = Status(0x010D);
    pub const BCASTQUERYFAIL: Status = Status(0x010E);
    pub const BCASTCANCELFAIL: Status = Status(0x010F);
    pub const INVBCAST_REP: Status = Status(0x0110);
    pub const INVBCASTSRVGRP: Status = Status(0x0111);
    pub const INVBCASTCHANIND: Status = Status(0x0112);

    /// The name in the specification, `ESME_RTHROTTLED`; None of vendors' and reserved numbers.
    pub fn name(self) -> Option<&'static str> {
        self.known().map(|&(_, name, _)| name)
    }

    /// What a sender does when a submit is answered so, unless its provider is known to mean something else.
    ///
    /// Numbers that no specification names are tried again: vendors use them for anything.
    pub fn class_on_submit(self) -> Class {
        if self == Status::OK {
            return Class::Ok;
        }
        self.known().map_or(Class::Retry, |&(_, _, class)| class)
    }

    fn known(self) -> Option<&'static (Status, &'static str, Class)> {
        let place = KNOWN.binary_search_by_key(&self, |&(status, _, _)| status);
        place.ok().and_then(|place| KNOWN.get(place))
    }
}

impl From<rusmpp::CommandStatus> for Status {
    fn from(status: rusmpp::CommandStatus) -> Status {
        Status(status.into())
    }
}

impl From<Status> for rusmpp::CommandStatus {
    fn from(status: Status) -> rusmpp::CommandStatus {
        status.0.into()
    }
}

/// In the order of the numbers. A failed bind has no class of its own: on a submit it says that the session is wrong.
#[rustfmt::skip]
const KNOWN: &[(Status, &str, Class)] = &[
    (Status::OK, "ESME_ROK", Class::Ok),
    (Status::INVMSGLEN, "ESME_RINVMSGLEN", Class::Permanent),
    (Status::INVCMDLEN, "ESME_RINVCMDLEN", Class::Configuration),
    (Status::INVCMDID, "ESME_RINVCMDID", Class::Configuration),
    (Status::INVBNDSTS, "ESME_RINVBNDSTS", Class::Session),
    (Status::ALYBND, "ESME_RALYBND", Class::Session),
    (Status::INVPRTFLG, "ESME_RINVPRTFLG", Class::Configuration),
    (Status::INVREGDLVFLG, "ESME_RINVREGDLVFLG", Class::Configuration),
    (Status::SYSERR, "ESME_RSYSERR", Class::Retry),
    (Status::INVSRCADR, "ESME_RINVSRCADR", Class::Permanent),
    (Status::INVDSTADR, "ESME_RINVDSTADR", Class::Permanent),
    (Status::INVMSGID, "ESME_RINVMSGID", Class::Permanent),
    (Status::BINDFAIL, "ESME_RBINDFAIL", Class::Session),
    (Status::INVPASWD, "ESME_RINVPASWD", Class::Session),
    (Status::INVSYSID, "ESME_RINVSYSID", Class::Session),
    (Status::CANCELFAIL, "ESME_RCANCELFAIL", Class::Permanent),
    (Status::REPLACEFAIL, "ESME_RREPLACEFAIL", Class::Permanent),
    (Status::MSGQFUL, "ESME_RMSGQFUL", Class::Throttle),
    (Status::INVSERTYP, "ESME_RINVSERTYP", Class::Configuration),
    (Status::INVNUMDESTS, "ESME_RINVNUMDESTS", Class::Permanent),
    (Status::INVDLNAME, "ESME_RINVDLNAME", Class::Permanent),
    (Status::INVDESTFLAG, "ESME_RINVDESTFLAG", Class::Permanent),
    (Status::INVSUBREP, "ESME_RINVSUBREP", Class::Permanent),
    (Status::INVESMCLASS, "ESME_RINVESMCLASS", Class::Configuration),
    (Status::CNTSUBDL, "ESME_RCNTSUBDL", Class::Permanent),
    (Status::SUBMITFAIL, "ESME_RSUBMITFAIL", Class::Retry),
    (Status::INVSRCTON, "ESME_RINVSRCTON", Class::Configuration),
    (Status::INVSRCNPI, "ESME_RINVSRCNPI", Class::Configuration),
    (Status::INVDSTTON, "ESME_RINVDSTTON", Class::Configuration),
    (Status::INVDSTNPI, "ESME_RINVDSTNPI", Class::Configuration),
    (Status::INVSYSTYP, "ESME_RINVSYSTYP", Class::Session),
    (Status::INVREPFLAG, "ESME_RINVREPFLAG", Class::Configuration),
    (Status::INVNUMMSGS, "ESME_RINVNUMMSGS", Class::Permanent),
    (Status::THROTTLED, "ESME_RTHROTTLED", Class::Throttle),
    (Status::INVSCHED, "ESME_RINVSCHED", Class::Permanent),
    (Status::INVEXPIRY, "ESME_RINVEXPIRY", Class::Permanent),
    (Status::INVDFTMSGID, "ESME_RINVDFTMSGID", Class::Permanent),
    (Status::X_T_APPN, "ESME_RX_T_APPN", Class::Retry),
    (Status::X_P_APPN, "ESME_RX_P_APPN", Class::Permanent),
    (Status::X_R_APPN, "ESME_RX_R_APPN", Class::Permanent),
    (Status::QUERYFAIL, "ESME_RQUERYFAIL", Class::Permanent),
    (Status::INVOPTPARSTREAM, "ESME_RINVOPTPARSTREAM", Class::Configuration),
    (Status::OPTPARNOTALLWD, "ESME_ROPTPARNOTALLWD", Class::Configuration),
    (Status::INVPARLEN, "ESME_RINVPARLEN", Class::Configuration),
    (Status::MISSINGOPTPARAM, "ESME_RMISSINGOPTPARAM", Class::Configuration),
    (Status::INVOPTPARAMVAL, "ESME_RINVOPTPARAMVAL", Class::Configuration),
    (Status::DELIVERYFAILURE, "ESME_RDELIVERYFAILURE", Class::Permanent),
    (Status::UNKNOWNERR, "ESME_RUNKNOWNERR", Class::Retry),
    (Status::SERTYPUNAUTH, "ESME_RSERTYPUNAUTH", Class::Configuration),
    (Status::PROHIBITED, "ESME_RPROHIBITED", Class::Configuration),
    (Status::SERTYPUNAVAIL, "ESME_RSERTYPUNAVAIL", Class::Retry),
    (Status::SERTYPDENIED, "ESME_RSERTYPDENIED", Class::Permanent),
    (Status::INVDCS, "ESME_RINVDCS", Class::Permanent),
    (Status::INVSRCADDRSUBUNIT, "ESME_RINVSRCADDRSUBUNIT", Class::Permanent),
    (Status::INVDSTADDRSUBUNIT, "ESME_RINVDSTADDRSUBUNIT", Class::Permanent),
    (Status::INVBCASTFREQINT, "ESME_RINVBCASTFREQINT", Class::Permanent),
    (Status::INVBCASTALIAS_NAME, "ESME_RINVBCASTALIAS_NAME", Class::Permanent),
    (Status::INVBCASTAREAFMT, "ESME_RINVBCASTAREAFMT", Class::Permanent),
    (Status::INVNUMBCAST_AREAS, "ESME_RINVNUMBCAST_AREAS", Class::Permanent),
    (Status::INVBCASTCNTTYPE, "ESME_RINVBCASTCNTTYPE", Class::Permanent),
    (Status::INVBCASTMSGCLASS, "ESME_RINVBCASTMSGCLASS", Class::Permanent),
    (Status::BCASTFAIL, "ESME_RBCASTFAIL", Class::Permanent),
    (Status::BCASTQUERYFAIL, "ESME_RBCASTQUERYFAIL", Class::Permanent),
    (Status::BCASTCANCELFAIL, "ESME_RBCASTCANCELFAIL", Class::Permanent),
    (Status::INVBCAST_REP, "ESME_RINVBCAST_REP", Class::Permanent),
    (Status::INVBCASTSRVGRP, "ESME_RINVBCASTSRVGRP", Class::Permanent),
    (Status::INVBCASTCHANIND, "ESME_RINVBCASTCHANIND", Class::Permanent),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_so_that_each_is_found() {
        assert!(KNOWN.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for &(status, name, class) in KNOWN {
            assert_eq!(status.name(), Some(name));
            assert_eq!(status.class_on_submit(), class);
        }
    }

    #[test]
    fn the_numbers_are_those_of_the_vocabulary() {
        for number in 0..0x200 {
            let status = Status(number);
            let theirs = rusmpp::CommandStatus::from(status);
            assert_eq!(Status::from(theirs), status);
            let known = !matches!(theirs, rusmpp::CommandStatus::Other(_));
            assert_eq!(status.name().is_some(), known, "{status:?} {theirs:?}");
        }
    }

    #[test]
    fn classes_of_what_the_specification_does_not_name() {
        for (number, class) in [
            (0x00, Class::Ok),
            (0x58, Class::Throttle),
            (0x14, Class::Throttle),
            (0x45, Class::Retry),
            (0x0B, Class::Permanent),
            (0xC3, Class::Configuration),
            (0x04, Class::Session),
            (0x09, Class::Retry),
            (0x40B, Class::Retry),
            (u32::MAX, Class::Retry),
        ] {
            assert_eq!(Status(number).class_on_submit(), class, "{number:#x}");
        }
    }
}
