//! The engine as its drivers see it: commands in, groups and effects out, in virtual time. One binary for all of it.

/// A gateway around an engine, without sockets or disk.
mod house;

/// What tenants and providers are promised, one behaviour at a time.
mod accepting;
mod acknowledging;
mod apart;
mod asking;
mod believing;
mod cancelling;
mod counting;
mod dialects;
mod doubting;
mod endings;
mod folding;
mod golden;
mod late_answers;
mod left_behind;
mod listing;
mod long_messages;
mod looking;
mod notices;
mod operating;
mod own_parts;
mod pacing;
mod parking;
mod phones;
mod pieces;
mod present;
mod reading_back;
mod recovering;
mod refusing;
mod replacing;
mod sending;
mod shared_ids;
mod states;
mod surgery;
mod telling;
mod untold;
