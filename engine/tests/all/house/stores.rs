//! The disk of a house: its archive and its parked store, which are told when to do what, and what a start makes of them and of the journal.

use engine::flushes::Flushes;
use engine::message::{Charge, number_of};
use engine::pages::place_of;
use engine::parking::row::merge_rows;
use engine::{Released, Summary};

use super::*;

impl House {
    pub(super) fn is_archive_wanted(&self) -> bool {
        let is_idle = self.writes.is_empty() && self.parks.is_empty() && self.loads.is_empty();
        !(is_idle && self.questions.is_empty())
    }

    /// The archive does what it was asked for, and says so.
    pub fn serve_archive(&mut self) {
        let mut commands = Vec::new();
        let blocks = self.write_archive();
        if !blocks.is_empty() {
            self.flushes.0 += 1;
            let flushes = Flushes { archive: Some((0, self.flushes.0)), ..Flushes::default() };
            commands.push(Command::Archived { blocks, flushes });
        }
        let parked = self.park();
        if !parked.is_empty() {
            self.flushes.1 += 1;
            let flushes = Flushes { parked: Some(self.flushes.1), ..Flushes::default() };
            commands.push(Command::Parked { blocks: parked, flushes });
        }
        for load in std::mem::take(&mut self.loads) {
            let messages = self.held(load);
            commands.push(Command::Loaded { blocks: vec![LoadedBlock { load, messages }] });
        }
        let questions = std::mem::take(&mut self.questions);
        let numbers: Vec<u64> = questions.iter().filter_map(|hash| self.owners.get(hash).copied()).collect();
        if !numbers.is_empty() {
            commands.push(Command::Owners { numbers });
        }
        self.one_turn(commands);
    }

    /// What a store has of a block.
    fn held(&self, load: Load) -> Vec<Vec<u8>> {
        let stored = match load.shelf {
            Shelf::Archive => self.archive.get(&load.block),
            Shelf::Parked => self.parked.get(&load.block).map(|(_, messages)| messages),
        };
        stored.map(|stored| stored.values().cloned().collect()).unwrap_or_default()
    }

    /// The archive takes what it is given, which then leaves the parked store.
    pub fn write_archive(&mut self) -> Vec<u64> {
        let mut blocks = Vec::new();
        for write in std::mem::take(&mut self.writes) {
            let stored = self.archive.entry(write.block).or_default();
            for bytes in write.messages {
                let number = Message::read(bytes.clone()).expect("an archived message reads").number;
                stored.insert(number, bytes);
            }
            self.owners.extend(write.ids.iter().map(|id| (id.hash, id.number)));
            self.forget_parked(write.block, write.unpark);
            blocks.push(write.block);
        }
        blocks
    }

    /// The parked store takes what it is given.
    pub fn park(&mut self) -> Vec<u64> {
        let parks = std::mem::take(&mut self.parks);
        for write in &parks {
            let (rows, messages) = self.parked.entry(write.block).or_default();
            *rows = merge_rows(rows, &write.rows, 0).expect("rows are well formed");
            for bytes in &write.messages {
                messages.insert(number_of(bytes).expect("a message has a number"), bytes.clone());
            }
        }
        parks.iter().map(|write| write.block).collect()
    }

    fn forget_parked(&mut self, block: u64, gone: u64) {
        let Some((rows, messages)) = self.parked.get_mut(&block) else { return };
        *rows = merge_rows(rows, &[], gone).expect("rows are well formed");
        messages.retain(|number, _| gone & (1 << place_of(*number)) == 0);
        if rows.is_empty() {
            assert!(messages.is_empty(), "messages of block {block} without rows");
            self.parked.remove(&block);
        }
    }

    pub fn archived(&self, number: u64) -> Option<Message> {
        let block = engine::pages::block_of(number);
        let bytes = self.archive.get(&block)?.get(&number)?;
        Message::read(bytes.clone())
    }

    /// A message that has left memory: in the parked store, or else in the archive.
    pub fn stored(&self, number: u64) -> Option<Message> {
        let block = engine::pages::block_of(number);
        let parked = self.parked.get(&block).and_then(|(_, messages)| messages.get(&number));
        let mut on_its_way = self.parks.iter().flat_map(|write| &write.messages);
        let on_its_way = on_its_way.rfind(|bytes| number_of(bytes) == Some(number));
        let found = on_its_way.or(parked);
        found.map_or_else(|| self.archived(number), |bytes| Message::read(bytes.clone()))
    }

    /// The fold of the journal from its released start on.
    pub fn fold(&self) -> Engine {
        self.fold_from(self.release_before)
    }

    pub fn fold_from(&self, start: u64) -> Engine {
        let mut engine = Engine::new(&KEY, self.now);
        for (group, records) in self.journal.iter().filter(|(group, _)| *group >= start) {
            engine.replay(*group, records).expect("our own journal replays");
        }
        self.fold_stored(&mut engine);
        engine
    }

    /// What the stores have that the journal does not.
    pub fn fold_stored(&self, engine: &mut Engine) {
        for (block, (rows, _)) in &self.parked {
            engine.replay_row(*block, rows).expect("our own rows replay");
        }
        for shelf in [Shelf::Parked, Shelf::Archive] {
            for load in engine.apart().into_iter().filter(|load| load.shelf == shelf) {
                engine.replay_apart(load, self.held(load)).expect("our own images replay");
            }
        }
    }

    /// What a fold of the journal must be equal to: what is in memory, and what the archive has not yet answered for.
    pub fn expected(&self) -> Summary {
        let mut summary = self.engine.summary();
        for write in &self.writes {
            for bytes in &write.messages {
                let message = Message::read(bytes.clone()).expect("an archived message reads");
                summary.debts.remove(&message.number);
                summary.living.insert(message.number, (bytes.clone(), message.state));
            }
        }
        for bytes in self.parks.iter().flat_map(|write| &write.messages) {
            let message = Message::read(bytes.clone()).expect("a parked message reads");
            let (messages, waiting, reserved) = &mut summary.parked[message.tenant as usize];
            let is_waiting = matches!(message.state, State::Queued | State::Scheduled | State::Held);
            let is_reserved = message.charge == Charge::Reserved;
            *messages -= 1;
            *waiting -= u64::from(is_waiting);
            *reserved -= if is_reserved { i128::from(message.price.0) } else { 0 };
            summary.living.insert(message.number, (bytes.clone(), message.state));
        }
        summary
    }

    /// The process ends without a word and starts again.
    pub fn crash(&mut self) {
        self.restart();
        self.turn([]);
    }

    /// The same, before the first turn.
    pub fn restart(&mut self) {
        let mut engine = self.fold();
        let (archive, parked) = self.flushes;
        let known = engine.flushes();
        assert!(known.archive.is_none_or(|(_, count)| count <= archive), "{known:?} of {archive}");
        assert!(known.parked.is_none_or(|count| count <= parked), "{known:?} of {parked}");
        engine.found_flushes(Flushes { archive: Some((0, archive)), parked: Some(parked), late_ids: None });
        self.now.mono = Mono(self.now.mono.0 + 1_000_000);
        self.advance(0);
        engine.recovered(self.definitions.clone(), self.now, self.next_group).expect("the journal recovers");
        engine.check();
        self.engine = engine;
        self.released = Released::NONE;
        self.writes.clear();
        self.parks.clear();
        self.loads.clear();
        self.questions.clear();
        self.requests.clear();
    }
}
