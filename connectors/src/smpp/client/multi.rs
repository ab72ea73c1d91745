//! submit_multi to a provider (SMPP 3.4 §4.5): which of the messages that wait go as one, and what the one answer says of each. To the
//! commit loop they are messages as before, each given for itself and answered for itself.
//!
//! Messages go together that stand next to each other and are the same but for their destinations. No two of them have numbers
//! that end alike: by the end of a number a refused one is told from the others, and a receipt finds its message.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use codecs::address;
use codecs::instant::Mono;
use codecs::smpp::multi::{Around, SubmitMultiResponse};
use codecs::smpp::session::Refusal;
use codecs::smpp::{Command as Pdu, Status};
use engine::shared_ids::TAILS;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::smpp::line::Line;

/// The most destinations of one (SMPP 3.4 §5.2.24).
const DESTINATIONS_MAX: usize = 254;

/// Messages that go together, and those that went and have no answer.
pub struct Multi {
    /// The most in one PDU.
    most: usize,
    /// How long after it was given up an answer is still understood.
    late_for: Duration,
    open: HashMap<u64, Vec<Member>>,
    /// Those given up, the oldest first, and until when each is remembered.
    given_up: VecDeque<(Mono, u64)>,
    /// Groups made: their tokens count down from the end, where no message ever has its number.
    made: u64,
    /// Messages beyond the first of those that wait for an answer.
    beyond_first: usize,
    /// What goes next.
    members: Vec<Member>,
    list: Vec<u8>,
    body: Vec<u8>,
}

/// One message of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub token: u64,
    /// The end of its number.
    tail: u64,
}

/// What an answer says of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Taken,
    Refused(Status),
    /// It does not tell: the message is in doubt.
    Unclear,
}

/// What an answer says of all of a group, and how much of it made no sense.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    pub said: Vec<(u64, Said)>,
    pub senseless: usize,
}

impl Multi {
    pub fn new(most: usize, late_for: Duration) -> Multi {
        Multi {
            most: most.min(DESTINATIONS_MAX),
            late_for,
            open: HashMap::new(),
            given_up: VecDeque::new(),
            made: 0,
            beyond_first: 0,
            members: Vec::new(),
            list: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn is_offered(&self) -> bool {
        self.most > 1
    }

    /// From here on each goes by itself.
    pub fn stop(&mut self) {
        self.most = 1;
    }

    /// Moves messages from the backlog into the window, as `Line::feed` does, and together where they may go so.
    pub fn feed<S: AsyncRead + AsyncWrite + Unpin>(&mut self, now: Mono, line: &mut Line<S>) {
        while line.may_request() {
            let taken = self.gather(line.backlog.waiting());
            if taken == 0 || self.request(now, line).is_err() {
                return;
            }
            (0..taken).for_each(|_| line.backlog.pop());
        }
    }

    /// Takes what may go together from the front of what waits. How many they are.
    fn gather<'b>(&mut self, mut waiting: impl Iterator<Item = (u64, &'b [u8])>) -> usize {
        self.members.clear();
        self.list.clear();
        let Some((token, body)) = waiting.next() else { return 0 };
        let first = Around::read(body).ok().and_then(|around| Some((around, tail(around.digits())?)));
        let Some((first, first_tail)) = first else {
            self.members.push(Member { token, tail: 0 });
            return 1;
        };
        self.members.push(Member { token, tail: first_tail });
        first.write_destination(&mut self.list);
        for (token, body) in waiting.take(self.most.saturating_sub(1)) {
            let Ok(next) = Around::read(body) else { break };
            let Some(tail) = tail(next.digits()) else { break };
            let is_alike = next.before == first.before && next.after == first.after;
            if !is_alike || self.members.iter().any(|member| member.tail == tail) {
                break;
            }
            self.members.push(Member { token, tail });
            next.write_destination(&mut self.list);
        }
        self.body.clear();
        let count = u8::try_from(self.members.len()).unwrap_or(u8::MAX);
        first.write_multi(&mut self.body, count, &self.list);
        self.members.len()
    }

    /// What was gathered goes out: one message as it always does.
    fn request<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        now: Mono,
        line: &mut Line<S>,
    ) -> Result<(), Refusal> {
        if self.members.len() == 1 {
            let Some((token, body)) = line.backlog.first() else { return Ok(()) };
            return line.session.request(now, Pdu::SUBMIT_SM, token, body);
        }
        let token = u64::MAX.wrapping_sub(self.made);
        line.session.request(now, Pdu::SUBMIT_MULTI, token, &self.body)?;
        self.made = self.made.wrapping_add(1);
        self.beyond_first = self.beyond_first.saturating_add(beyond_first(&self.members));
        self.open.insert(token, self.members.clone());
        Ok(())
    }

    /// The group that an answer is for, which ends it.
    pub fn answered(&mut self, token: u64, late: bool) -> Option<Vec<Member>> {
        let members = self.open.remove(&token)?;
        if !late {
            self.beyond_first = self.beyond_first.saturating_sub(beyond_first(&members));
        }
        Some(members)
    }

    /// No answer has come in time: the messages of that group. It may still come, for a while.
    pub fn give_up(&mut self, now: Mono, token: u64) -> Option<impl Iterator<Item = u64>> {
        while let Some((_, oldest)) = self.given_up.pop_front_if(|(until, _)| *until < now) {
            self.open.remove(&oldest);
        }
        let members = self.open.get(&token)?;
        self.beyond_first = self.beyond_first.saturating_sub(beyond_first(members));
        self.given_up.push_back((now.after(self.late_for), token));
        Some(members.iter().map(|member| member.token))
    }

    /// The messages that these requests were, in order.
    pub fn messages(&self, requests: Vec<u64>) -> Vec<u64> {
        if self.open.is_empty() {
            return requests;
        }
        let mut messages = Vec::with_capacity(requests.len());
        for token in requests {
            match self.open.get(&token) {
                Some(members) => messages.extend(members.iter().map(|member| member.token)),
                None => messages.push(token),
            }
        }
        messages
    }

    /// Messages that wait for an answer beside the requests that do.
    pub fn beyond_first(&self) -> usize {
        self.beyond_first
    }
}

fn beyond_first(members: &[Member]) -> usize {
    members.len().saturating_sub(1)
}

/// The end of a number, however it is written: with `+` or `00`, or as a national one.
fn tail(digits: &[u8]) -> Option<u64> {
    address::significant_digits(digits)?.checked_rem(TAILS)
}

/// Whether a status speaks of the submit_multi and not of its messages: each may well go by itself.
pub fn refuses_the_form(status: Status) -> bool {
    [
        Status::INVCMDID,
        Status::INVCMDLEN,
        Status::INVNUMDESTS,
        Status::INVDESTFLAG,
        Status::INVDLNAME,
        Status::CNTSUBDL,
    ]
    .contains(&status)
}

/// What an answer says of each. Whoever is in its list is refused with the status there, in whatever form the number stands; all
/// others are taken (SMPP 3.4 §4.5.2.1). An error is for all of them.
///
/// What names nobody, or is cut off, refuses somebody that we cannot know: the rest counts as taken, because most of it is, and would
/// go twice otherwise; but where so many are refused as are left, they are in doubt. So is one that is listed with ESME_ROK.
pub fn verdicts(members: &[Member], status: Status, response: &SubmitMultiResponse<'_>) -> Verdicts {
    if status != Status::OK && response.unsuccess_told() == 0 {
        let said = members.iter().map(|member| (member.token, Said::Refused(status))).collect();
        return Verdicts { said, senseless: 0 };
    }
    let mut said: Vec<(u64, Said)> = members.iter().map(|member| (member.token, Said::Taken)).collect();
    let (mut named, mut repeated) = (0usize, 0usize);
    for one in response.unsuccess() {
        let tail = tail(one.destination.octets);
        let place = members.iter().position(|member| Some(member.tail) == tail);
        match place.and_then(|place| said.get_mut(place)) {
            Some((_, what @ Said::Taken)) => {
                named = named.saturating_add(1);
                *what = if one.status == Status::OK { Said::Unclear } else { Said::Refused(one.status) };
            }
            Some(_) => repeated = repeated.saturating_add(1),
            None => {}
        }
    }
    if status != Status::OK {
        // An error that lists some, which no specification knows: of the others it does not tell.
        said.iter_mut().filter(|(_, what)| *what == Said::Taken).for_each(|(_, what)| *what = Said::Unclear);
    }
    let unknown = response.unsuccess_told().saturating_sub(named).saturating_sub(repeated);
    let left = members.len().saturating_sub(named);
    if unknown > 0 && unknown >= left {
        let taken = said.iter_mut().filter(|(_, what)| *what == Said::Taken);
        taken.for_each(|(_, what)| *what = Said::Unclear);
    }
    Verdicts { said, senseless: unknown.saturating_add(repeated) }
}

#[cfg(test)]
mod tests;
